"""Results as xarray DataTrees in ArviZ's shape: schema, provenance, save and load.

One file per question, one child per role (``p_data``, ``forward_mle``, ``reverse_advi_0``, ...); each child holds
``posterior`` with draws ``x(chain, draw[, dim])``, ``sample_stats`` with log densities and ``fit`` with parameters, so
that the children feed ArviZ's plots directly.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.families import Family
from models.projections import Projection
from models.quadrature import Estimate
from models.targets import Target

__all__ = [
    "SCHEMA_VERSION",
    "draws_of",
    "estimate_of",
    "estimate_variables",
    "fit_dataset",
    "flatten",
    "load",
    "member_of",
    "names_in_file",
    "parameter_variables",
    "projections_dataset",
    "projections_of",
    "save",
    "versions",
]

Array = NDArray[np.float64]
SCHEMA_VERSION = "1"
_NAMES = "names"  # attribute of a file: by name in it, the name that netCDF refuses


def versions() -> dict[str, str]:
    """Versions of Python and the libraries that numbers depend on."""
    names = ("pymc", "pytensor", "arviz", "numpy", "scipy", "xarray")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def draws_of(target: Target, n: int, seed: int, **log_densities: Target) -> dict[str, xr.Dataset]:
    """Draw from a target in ArviZ's shape.

    Parameters
    ----------
    target : Target
    n : int
        Number of draws.
    seed : int
    **log_densities : Target
        Densities to evaluate at the draws, by the name of their variable (``log_p``, ``log_q``).

    Returns
    -------
    dict
        Groups ``posterior`` with ``x(chain, draw[, dim])`` and, if asked for, ``sample_stats``.
    """
    x = target.rvs(n, seed)
    groups = {"posterior": _with_draws({"x": x[:, 0] if target.dim == 1 else x})}
    stats = {name: density.logp(x) for name, density in log_densities.items()}
    if stats:
        groups["sample_stats"] = _with_draws(stats)
    return groups


def _with_draws(values: Mapping[str, Array]) -> xr.Dataset:
    variables = {name: (("chain", "draw", "dim")[: v.ndim + 1], v[None]) for name, v in values.items()}
    n = len(next(iter(values.values())))
    return xr.Dataset(variables, coords={"chain": [0], "draw": np.arange(n)})


def flatten(params: Mapping[str, Any]) -> tuple[list[str], Array]:
    """Labels and values of all entries of parameters: ``mu``, ``mu[0]``, ``cov[0,1]``, ..."""
    labels, numbers = [], []
    for name, value in params.items():
        array = np.asarray(value, dtype=float)
        for index in np.ndindex(array.shape):
            labels.append(f"{name}[{','.join(map(str, index))}]" if index else name)
            numbers.append(float(array[index]))
    return labels, np.array(numbers)


def fit_dataset(
    params: Mapping[str, Any], scalars: Mapping[str, Any], per_parameter: Mapping[str, Array]
) -> xr.Dataset:
    """Dataset of a fit.

    Parameters
    ----------
    params : mapping
        Parameters on their natural scale; each becomes a variable.
    scalars : mapping
        Numbers and texts about the fit (``log_likelihood``, ``status``, ...).
    per_parameter : mapping of str to ndarray
        Arrays over all entries of the parameters, in the order of `flatten` (``se_hessian``, ``se_sandwich``).

    Returns
    -------
    xarray.Dataset
    """
    labels, _ = flatten(params)
    data = parameter_variables(params)
    data |= {name: ((), np.asarray(value)) for name, value in scalars.items()}
    data |= {name: (("parameter",), values) for name, values in per_parameter.items()}
    return xr.Dataset(data, coords={"parameter": labels} if per_parameter else {})


def parameter_variables(params: Mapping[str, Any], *dims: str) -> dict[str, Any]:
    """Return variables of a Dataset, one a parameter: over `dims`, if there are many members, then ``<name>_dim_0``, ..."""
    arrays = {name: np.asarray(value, dtype=float) for name, value in params.items()}
    return {
        name: ((*dims, *(f"{name}_dim_{i}" for i in range(array.ndim - len(dims)))), array)
        for name, array in arrays.items()
    }


def estimate_variables(
    name: str, found: Estimate | Sequence[Estimate], *dims: str, error: str = "error"
) -> dict[str, Any]:
    """Return variables of a Dataset that hold an estimate, or many over one dimension: ``<name>`` and ``<name>_<error>``.

    Parameters
    ----------
    name : str
    found : Estimate or sequence of Estimate
    *dims : str
        The dimension of many.
    error : str
        What the error is called; ``se`` for a standard error.

    Returns
    -------
    dict
        The kind of the estimates is an attribute of the first variable. `estimate_of` reads them back.

    Examples
    --------
    >>> kept = xr.Dataset(estimate_variables("kl", Estimate(0.5, 1e-9, "quadrature")))
    >>> estimate_of(kept, "kl")
    Estimate(value=0.5, error=1e-09, kind='quadrature')
    """
    many = [found] if isinstance(found, Estimate) else list(found)
    kinds = sorted({e.kind for e in many})
    shape = () if isinstance(found, Estimate) else (len(many),)
    values, errors = (np.reshape(part, shape) for part in ([e.value for e in many], [e.error for e in many]))
    return {name: (dims, values, {"kind": ", ".join(kinds), "error": error}), f"{name}_{error}": (dims, errors)}


def estimate_of(dataset: xr.Dataset, name: str, **where: Any) -> Estimate:
    """Read an estimate that `estimate_variables` describes; of many, the one at the labels or positions `where`."""
    variable = dataset[name]
    value, error = (
        float(v.sel(where) if set(where) <= set(v.coords) else v.isel(where))
        for v in (variable, dataset[f"{name}_{variable.attrs.get('error', 'error')}"])
    )
    return Estimate(value, error, variable.attrs.get("kind", "quadrature"))


def projections_dataset(points: Sequence[Projection]) -> xr.Dataset:
    """Return a Dataset of stationary points of one divergence over one family; `projections_of` reads it back.

    Parameters
    ----------
    points : sequence of Projection
        At least one.

    Returns
    -------
    xarray.Dataset
        Over ``point``: the parameters, ``divergence`` with ``divergence_error`` (nats), ``cross_entropy`` likewise in the forward
        direction, ``status``, ``certificate``, ``limit`` (empty in the interior), ``gradient_norm``; over (point, coordinate)
        ``theta`` and ``hessian_eigenvalues``, which end in nan where the point is a limit.
    """
    size = max(len(p.theta) for p in points)

    def rows(name: str) -> Array:
        return np.array([np.append(v := getattr(p, name), np.full(size - len(v), np.nan)) for p in points])

    first = points[0]
    data = parameter_variables({name: np.array([p.params[name] for p in points]) for name in first.params}, "point")
    data |= estimate_variables("divergence", [p.divergence for p in points], "point")
    if first.cross_entropy is not None:
        data |= estimate_variables("cross_entropy", [p.cross_entropy for p in points if p.cross_entropy], "point")
    data |= {name: ("point", [getattr(p, name) for p in points]) for name in ("status", "certificate", "gradient_norm")}
    data |= {name: (("point", "coordinate"), rows(name)) for name in ("theta", "hessian_eigenvalues")}
    data["limit"] = ("point", [p.limit or "" for p in points])
    alpha = {} if first.alpha is None else {"alpha": first.alpha}
    return xr.Dataset(data, attrs={"family": first.family.name, "direction": first.direction} | alpha)


def projections_of(dataset: xr.Dataset, family: Family) -> list[Projection]:
    """Read the stationary points over `family` that `projections_dataset` put there."""

    def row(name: str, i: int) -> Array:
        values = dataset[name].to_numpy()[i]
        return values[~np.isnan(values)]

    return [
        Projection(
            {p.name: dataset[p.name].to_numpy()[i] for p in family.parameters},
            estimate_of(dataset, "divergence", point=i),
            str(dataset["status"].to_numpy()[i]),  # type: ignore[arg-type]
            float(dataset["gradient_norm"][i]),
            row("hessian_eigenvalues", i),
            family,
            row("theta", i),
            dataset.attrs["direction"],
            str(dataset["certificate"].to_numpy()[i]),  # type: ignore[arg-type]
            estimate_of(dataset, "cross_entropy", point=i) if "cross_entropy" in dataset else None,
            dataset.attrs.get("alpha"),
            str(dataset["limit"].to_numpy()[i]) or None,
        )
        for i in range(dataset.sizes["point"])
    ]


def member_of(fit: xr.Dataset, family: Family) -> Target:
    """Return the member of a family that a ``fit`` group describes."""
    return family.member({p.name: fit[p.name].to_numpy() for p in family.parameters})


def save(results: xr.DataTree, path: Path) -> Path:
    """Write a DataTree to netCDF, whole or not at all.

    A name that netCDF refuses, as ``(Intercept)``, is another one in the file (see `names_in_file`); `load` gives it back.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    if names := names_in_file(results):
        results = _renamed(results, names)
        results.attrs[_NAMES] = json.dumps({other: name for name, other in names.items()})
    try:
        results.to_netcdf(part, engine="h5netcdf" if _has_h5netcdf() else "netcdf4")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def names_in_file(results: xr.DataTree) -> dict[str, str]:
    """Names of variables and dims that netCDF refuses, and what stands for each in a file: ``_(Intercept)`` for ``(Intercept)``.

    netCDF wants a letter, a digit, an underscore or what is not ASCII first, no blank last, and no control characters.

    Examples
    --------
    >>> names_in_file(xr.DataTree(xr.Dataset({"(Intercept)": 1.0, "b ": 2.0, "a (b)": 3.0})))
    {'(Intercept)': '_(Intercept)', 'b ': 'b_'}
    """
    known = dict.fromkeys(str(n) for node in results.subtree for n in (*node.to_dataset().variables, *node.sizes))
    found: dict[str, str] = {}
    for name in known:
        other = re.sub(r"[\x00-\x1f\x7f]", "_", name)
        other = re.sub(r" $", "_", re.sub(r"^(?![A-Za-z0-9_\u0080-\U0010ffff])", "_", other))
        while other != name and (other in known or other in found.values()):
            other += "_"
        if other != name:
            found[name] = other
    return found


def _renamed(results: xr.DataTree, names: Mapping[str, str]) -> xr.DataTree:
    """The same tree with other names of variables and dims."""

    def there(data: xr.Dataset) -> xr.Dataset:
        return data.rename({n: other for n, other in names.items() if n in data.variables or n in data.dims})

    found = xr.DataTree.from_dict({node.path: there(node.to_dataset(inherit=False)) for node in results.subtree})
    found.attrs = dict(results.attrs)
    return found


def _has_h5netcdf() -> bool:
    from importlib.util import find_spec

    return find_spec("h5netcdf") is not None and find_spec("h5py") is not None


def load(path: Path) -> xr.DataTree:
    """Read a DataTree written by `save`, into memory."""
    with xr.open_datatree(path) as tree:
        found = tree.load()
    names = found.attrs.pop(_NAMES, None)
    return found if names is None else _renamed(found, json.loads(names))
