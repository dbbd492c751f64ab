"""Results as xarray DataTrees in ArviZ's shape: schema, provenance, save and load.

One file per question, one child per role (``p_data``, ``forward_mle``, ``reverse_advi_0``, ...); each child holds
``posterior`` with draws ``x(chain, draw[, dim])``, ``sample_stats`` with log densities and ``fit`` with parameters, so
that the children feed ArviZ's plots directly.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.families import Family
from models.targets import Target

__all__ = ["SCHEMA_VERSION", "draws_of", "fit_dataset", "flatten", "load", "member_of", "save", "versions"]

Array = NDArray[np.float64]
SCHEMA_VERSION = "1"


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
    data: dict[str, Any] = {}
    for name, value in params.items():
        array = np.asarray(value, dtype=float)
        data[name] = (tuple(f"{name}_dim_{i}" for i in range(array.ndim)), array)
    data |= {name: ((), np.asarray(value)) for name, value in scalars.items()}
    data |= {name: (("parameter",), values) for name, values in per_parameter.items()}
    return xr.Dataset(data, coords={"parameter": labels} if per_parameter else {})


def member_of(fit: xr.Dataset, family: Family) -> Target:
    """Return the member of a family that a ``fit`` group describes."""
    return family.member({p.name: fit[p.name].to_numpy() for p in family.parameters})


def save(results: xr.DataTree, path: Path) -> Path:
    """Write a DataTree to netCDF, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file of that name is then untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        results.to_netcdf(part, engine="h5netcdf" if _has_h5netcdf() else "netcdf4")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _has_h5netcdf() -> bool:
    from importlib.util import find_spec

    return find_spec("h5netcdf") is not None and find_spec("h5py") is not None


def load(path: Path) -> xr.DataTree:
    """Read a DataTree written by `save`, into memory."""
    with xr.open_datatree(path) as tree:
        return tree.load()
