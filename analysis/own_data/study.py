"""Your own data: families fitted by maximum likelihood, ranked by KL, each with what draws alone say of its distance.

The entropy of p_data cancels in a difference of KL, so the ranking needs no more than leave-one-out log densities; the
absolute KL comes with an interval from nearest neighbours. Reverse KL needs a density, which data do not have: a fitted
mixture stands in for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from analysis.own_data.judging import FEWEST, Settings, entropy_part, family_part
from analysis.own_data.naming import child_of
from analysis.own_data.ranking import ranked, together
from analysis.own_data.singular import PAIRED, refuse_dependent, singular_parts
from analysis.own_data.stand_in import reversed_kl
from analysis.own_data.ties import copies_of, copies_told
from analysis.own_data.values import COMPONENTS, SEVERAL, Values, default_families, untried, values_of
from analysis.own_data.weighing import counted, effective, repeated, size_of
from analysis.parts import Part, Progress, Remember, compute_parts
from models.errors import ConvergenceError, InputError
from models.families import Family, find_family
from models.mle.likelihood import check_data
from models.results import SCHEMA_VERSION, versions
from models.targets import check_draws

__all__ = ["QUESTION", "Settings", "analyse", "check_families"]

Array = NDArray[np.float64]

QUESTION = "Which family is closest to these data, and how far is it from the distribution they come from?"
#: Rows up to which the log density of each is kept.
_KEPT = 100_000
#: Rows up to which a family is fitted sooner than a process is begun, if its graphs are stored; seconds that tell that they are.
_QUICK, _PATIENCE = 5000, 3.0
#: Rows from which on families are ranked at all.
_RANKED = 5


def analyse(
    x: ArrayLike,
    columns: Sequence[str],
    families: Sequence[str] | None = None,
    *,
    name: str = "data",
    rows: int | None = None,
    warnings: Sequence[str] = (),
    reading: Mapping[str, Any] | None = None,
    weights: ArrayLike | None = None,
    places: ArrayLike | None = None,
    settings: Settings | None = None,
    jobs: int = 1,
    remember: Remember | None = None,
    on_progress: Progress | None = None,
) -> xr.DataTree:
    """Fit families to data and say how far each is from the distribution that the data come from.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Independent observations; the d columns are analysed jointly.
    columns : sequence of str (d,)
    families : sequence of str, optional
        Those that fit the support of the data if not given.
    name : str
        Of the data.
    rows : int, optional
        Rows of the file, if some were left out.
    warnings : sequence of str
        About the data, to be kept with the results.
    reading : mapping, optional
        What was read of the file, to be kept with the results.
    weights : array_like (n,), optional
        Of the rows, not negative; whole ones are numbers of equal rows.
    places : array_like (n,), optional
        Numbers of the rows in the file, by which they are told; 1, 2, ... if not given.
    settings : Settings, optional
    jobs : int
        Processes; the numbers do not depend on it.
    remember, on_progress : callable, optional
        As in `analysis.parts.compute_parts`.

    Returns
    -------
    xarray.DataTree
        ``p_data``: ``observed_data`` (``x``, and ``row``, the number of the row in the file) and ``entropy``;
        ``forward_<family>`` for each family: ``fit`` (parameters, both standard errors, leave-one-out cross-entropy, KL with its
        interval), ``posterior``, ``sample_stats``, and ``pointwise`` (leave-one-out log densities) for up to 100 000 rows;
        ``ranking``; and, for one or two columns where a mixture
        could be fitted, ``reverse_exact_0``, ... (minima of reverse KL from the Normal to that mixture) and ``forward_exact``.
        What could not be computed is in the attributes ``failed`` and ``warnings`` (JSON).

    Raises
    ------
    InputError
        If the data cannot be used, or a family is unknown, named twice or of another dimension.
    ConvergenceError
        If no family could be fitted.

    Examples
    --------
    >>> from analysis.own_data.summary import summary
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> tree = analyse(x, ["x"], ["normal", "laplace"])
    >>> [entry["family"] for entry in summary(tree)["ranking"]]
    ['normal', 'laplace']
    """
    settings = settings or Settings()
    data = check_draws(x)
    n, dim = data.shape
    if len(columns) != dim:
        raise InputError(f"there are {dim} columns of data and {len(columns)} names; give one name for each")
    weighing = None if weights is None else np.asarray(weights, dtype=float)
    report = on_progress or (lambda _label, _fraction: None)
    report("looking at the values" if dim == 1 else f"looking for relations between {dim} columns", 0.0)
    seen = [repeated(column, weighing) for column in data.T]
    found = values_of(seen[0]) if dim == 1 else _joint(data, seen, columns)
    told = [*warnings, *_wide(dim, families)]
    if weighing is None and (copies := copies_of(data)) > 1:
        found = replace(found or Values("", -np.inf, np.inf, 0.0), copies=copies)
        told.append(copies_told(copies, n))
    size = size_of(weighing, n)
    if families is None and size < _RANKED:
        raise InputError(
            f"there are {size} rows, and fewer than {_RANKED} rank no families; give more rows, or name what to fit (--families)"
        )
    chosen = check_families(families, dim, found)
    numbers = np.arange(1, n + 1) if places is None else np.asarray(places, dtype=np.intp)
    excluded = _excluded(chosen, data, found, weighing, numbers)
    zeros = float((seen[0] == 0).mean())
    if found is not None and zeros and any(f.atom == 0 for f in chosen) and all(value for value, _ in found.atoms):
        # A family that gives zero a probability is compared with densities: a difference of the two would depend on the unit.
        found = replace(found, atoms=((0.0, zeros), *found.atoms))
    if (
        families is None
        and found is not None
        and dim == 1
        and (others := untried([f.name for f in chosen], data[:, 0], found))
    ):
        told.append(f"not tried, though their support fits: {', '.join(others)}; name them with --families")
    inputs = settings.model_dump() | {
        "data": hashlib.sha256(np.ascontiguousarray(data)).hexdigest(),
        "weights": None if weighing is None else hashlib.sha256(weighing).hexdigest(),
        "shape": data.shape,
    }
    judged = [f for f in chosen if f.name not in excluded]
    done = compute_parts(
        _parts(judged, data, inputs, settings, found, weighing),
        question=QUESTION,
        settings=settings,
        jobs=jobs,
        patience=_PATIENCE if n <= _QUICK else 0.0,
        remember=remember,
        on_progress=lambda label, fraction: report(label, 0.85 * fraction),
    )
    tree = _assembled(done, data, numbers, columns, excluded, told, settings, found, weighing, report)
    tree.attrs |= {"name": name, "rows": rows or n, "reading": json.dumps(dict(reading) if reading else None)}
    return tree


def check_families(names: Sequence[str] | None, dim: int, values: Values | None = None) -> list[Family]:
    """Return the families of these names, `default_families` if there are none.

    Raises
    ------
    InputError
        If a family is unknown, named twice, or of another dimension.
    """
    names = list(default_families(dim, values) if names is None else names)
    if not names:
        raise InputError(f"no family given; for {dim} column(s) give some of {', '.join(default_families(dim))}")
    found = [find_family(name) for name in names]
    for family in found:
        if sum(other.name == family.name for other in found) > 1:
            raise InputError(f"family {family.name!r} is given more than once; name each family once")
        family.check_dim(dim, "the data")
    return found


def _joint(data: Array, seen: Sequence[Array], columns: Sequence[str]) -> Values | None:
    """What several columns have that no joint density has; None if there is nothing."""
    refuse_dependent(data, columns)
    parts = singular_parts(seen, columns)
    return Values("", -np.inf, np.inf, 0.0, singular=parts) if parts else None


def _wide(dim: int, families: Sequence[str] | None) -> list[str]:
    """What is not done of many columns."""
    told = []
    if dim > PAIRED:
        told.append(
            f"relations between columns are not looked for among more than {PAIRED}, these are {dim}: a KL is wrong if one holds in some rows"
        )
    if dim > COMPONENTS and families is None:
        count = (dim + 1) * (dim + 2) - 1
        told.append(
            f"{SEVERAL[-1]} is not tried of more than {COMPONENTS} columns, as it has {count} parameters of {dim}: name it with "
            "--families, which takes from minutes to hours"
        )
    return told


def _excluded(
    families: Sequence[Family],
    data: Array,
    values: Values | None,
    weights: Array | None,
    places: NDArray[np.intp],
) -> dict[str, str]:
    """Families that no fit to data (n, d) can have, and why: rows outside their support, or fewer than their parameters.

    Raises
    ------
    InputError
        If there is no other: before anything is compiled.
    """
    found: dict[str, str] = {}
    for family in families:
        points = data if values is None else values.chart(family)(data)
        try:
            family.check_support(points)
            check_data(points if weights is None else points[weights > 0], family.resolved(points), {})
        except InputError as error:
            found[family.name] = _by_row(str(error), places)
    if len(found) == len(families):
        raise _none_fits(found, InputError)
    return found


def _none_fits(failed: Mapping[str, str], kind: type[InputError | ConvergenceError]) -> InputError | ConvergenceError:
    return kind(f"no family could be fitted ({'; '.join(f'{family}: {why}' for family, why in failed.items())})")


def _parts(
    families: Sequence[Family],
    data: Array,
    inputs: dict[str, Any],
    settings: Settings,
    values: Values | None,
    weights: Array | None,
) -> list[Part]:
    entropy = partial(entropy_part, data, settings, values, weights is not None)
    work = [Part("p_data", "entropy", inputs, entropy, weight=0.5)]
    for family in families:
        compute = partial(family_part, data, family.name, settings, values, weights)
        own = inputs | {"family": family.name}
        work.append(Part(child_of(family.name), family.name, own, compute, weight=_weight(family)))
    return work


def _weight(family: Family) -> float:
    return 4.0 if family.components > 1 else 2.0 if family.name in ("skew_normal", "logistic") else 1.0


# --- together --------------------------------------------------------------------------------------------------------


def _assembled(
    done: xr.DataTree,
    data: Array,
    places: NDArray[np.intp],
    columns: Sequence[str],
    excluded: Mapping[str, str],
    warnings: list[str],
    settings: Settings,
    values: Values | None,
    weights: Array | None,
    report: Progress,
) -> xr.DataTree:
    n, dim = data.shape
    tried = [tree for child, tree in done.children.items() if child != "p_data"]
    unfit = [tree.attrs for tree in tried if "failed" in tree.attrs]
    failed = {why["family"]: _by_row(why["failed"], places) for why in unfit} | dict(excluded)
    fitted = [find_family(tree.attrs["family"]) for tree in tried if "failed" not in tree.attrs]
    if not fitted:
        raise _none_fits(failed, InputError if all(why["wrong_input"] for why in unfit) else ConvergenceError)
    size = size_of(weights, n)
    warnings += _of_rows(size, weights)
    warnings += values.notes if values is not None else ()
    groups: dict[str, Any] = {}
    for child, tree in done.children.items():
        for group, node in tree.children.items():
            if group != "pointwise" or n <= _KEPT:
                groups[f"{child}/{group}"] = node.to_dataset()
    shape = ("observation", "dim")[: 1 if dim == 1 else 2]
    observed = xr.Dataset({"x": (shape, data[:, 0] if dim == 1 else data)}, coords={"row": ("observation", places)})
    if weights is not None:
        observed["weights"] = ("observation", weights)
    groups["p_data/observed_data"] = observed.assign_coords(dim=list(columns)) if dim > 1 else observed
    logs = {f.name: done[child_of(f.name)]["pointwise"]["log_q"].to_numpy() for f in fitted}
    outside = {name: np.isneginf(log_q) for name, log_q in logs.items()}
    used = {f.name: int(done[child_of(f.name)]["fit"]["n_fitted"]) for f in fitted}
    if values is not None and values.atoms and not values.discrete and any(f.atom is not None for f in fitted):
        # Beside a family that has the mass at zero, a density has probability zero there.
        zero = data[:, 0] == 0
        logs = {f.name: np.where(zero & (f.atom is None), -np.inf, logs[f.name]) for f in fitted}
    sizes = {f.name: sum(done[child_of(f.name)]["fit"][p.name].size for p in f.parameters) for f in fitted}
    groups["ranking"], close = ranked(data, logs, used, settings.level, weights, places, sizes=sizes, outside=outside)
    report("reverse KL", 0.87)
    reverse: dict[str, xr.Dataset] = {}
    why_not = None
    if values is None or not (values.kind == "counts" or values.lacking(settings.jitter)):
        mixtures = [f for f in fitted if f.components > 1]
        reverse, why_not = reversed_kl(done, mixtures, logs, dim)
    groups |= reverse
    entropy = json.loads(groups["p_data/entropy"].attrs["warnings"]) if "p_data/entropy" in groups else []
    warnings += [f"entropy and KL: {reason}" for reason in entropy]
    warnings += together({f.name: json.loads(done[child_of(f.name)].attrs["warnings"]) for f in fitted}, entropy)
    warnings += [f"{family} could not be fitted: {why}" for family, why in failed.items()]
    warnings += [*close, *([why_not] if why_not else [])]
    tree = xr.DataTree.from_dict(groups)
    for family in fitted:
        tree[child_of(family.name)].attrs = done[child_of(family.name)].attrs
    tree.attrs = done.attrs | {
        "columns": json.dumps(list(columns)),
        "n": n,
        "size": size,
        "dim": dim,
        "values": json.dumps(None if values is None else values.as_dict()),
        "failed": json.dumps(failed),
        "warnings": json.dumps(warnings),
        "schema_version": SCHEMA_VERSION,
        "versions": json.dumps(versions()),
    }
    report("done", 1.0)
    return tree


def _of_rows(size: int, weights: Array | None) -> list[str]:
    """What few rows, or weighted ones, do not tell."""
    found = []
    if size < FEWEST:
        found.append(
            f"{size} rows: no interval, no entropy and no KL, since fewer than {FEWEST} say neither how far neighbours are apart nor "
            "how the log densities spread; the fits and their order are given without"
        )
    if weights is not None:
        found.append(
            "the rows are weighted: no entropy and no KL, which need rows that count alike; the order needs neither. "
            + (
                f"The weights are whole and taken for numbers of equal rows, {size} in all, of which one at a time is left out. If they are "
                f"weights of a survey, errors are far too small: {len(weights)} rows so weighted tell as much as {effective(weights):.0f} "
                "alike; divide the weights by their mean, so that they are not whole"
                if counted(weights)
                else "A row is left out whole, with its weight"
            )
        )
    return found


def _by_row(told: str, places: NDArray[np.intp]) -> str:
    """A message about an observation, with the number of its row in the file."""
    return re.sub(r"^observation (\d+)", lambda found: f"row {places[int(found[1]) - 1]}", told)
