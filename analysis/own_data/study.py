"""Your own data: families fitted by maximum likelihood, ranked by KL, each with what draws alone say of its distance.

The entropy of p_data cancels in a difference of KL, so the ranking needs no more than leave-one-out log densities; the
absolute KL comes with an interval from nearest neighbours. Reverse KL needs a density, which data do not have: a fitted
mixture stands in for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from analysis.parts import Part, Progress, Remember, compute_parts
from models.errors import ConvergenceError, InputError
from models.families import FAMILIES, Family, find_family
from models.mle import fit_mle
from models.projections import Projection, forward_projection, minima, reverse_projections
from models.results import SCHEMA_VERSION, member_of, versions
from models.targets import Target, check_draws, mvnormal_mixture, normal_mixture
from models.unknown import (
    Interval,
    cross_entropy_from_draws,
    entropy_from_draws,
    kl_difference,
    kl_from_draws,
    leave_one_out,
)

__all__ = [
    "CLOSE",
    "ONE",
    "SEVERAL",
    "Settings",
    "analyse",
    "check_families",
    "child_of",
    "default_families",
    "fitted_member",
    "ranked_names",
    "summary",
]

Array = NDArray[np.float64]

DRAWN = 2000  # rows that a drawing shows one by one
MARGINS = 4  # columns drawn where there are many
QUESTION = "Which family is closest to these data, and how far is it from the distribution they come from?"
#: Families for one column, and for several columns jointly.
ONE = ("normal", "laplace", "logistic", "student_t", "skew_normal", "normal_mixture(2)", "normal_mixture(3)")
SEVERAL = ("mvnormal", "mvnormal_diag", "mvnormal_mixture(2)")
#: Rows up to which the log density of each is kept.
_KEPT = 100_000
#: Nats between two fitted families, over the rows that they were fitted to, below which the error of their difference is not normal.
CLOSE = 4.0
_FEWEST = 20
_NOT_FITTED = (InputError, ConvergenceError, ArithmeticError, np.linalg.LinAlgError)


class Settings(BaseModel):
    """What the numbers depend on besides the data.

    Attributes
    ----------
    seed : int
    level : float
        Of every interval.
    draws : int
        Draws kept of every fitted member.
    mixture_rows : int
        Mixtures are fitted to at most so many rows, chosen at random: a superfluous component makes the likelihood flat, and
        a million rows then take minutes for digits that no other number here has.
    jitter : bool
        Spread rounded values over the unit that they are rounded to, for the entropy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    level: float = Field(default=0.95, gt=0, lt=1)
    draws: int = Field(default=1000, ge=2)
    mixture_rows: int = Field(default=20_000, ge=100)
    jitter: bool = False


def default_families(dim: int) -> tuple[str, ...]:
    """Names of the families for so many columns."""
    return ONE if dim == 1 else SEVERAL


def child_of(family: str) -> str:
    """Name of a family's group in the results: ``forward_normal_mixture_2``."""
    return "forward_" + family.replace("(", "_").replace(")", "").replace("=", "_")


def analyse(
    x: ArrayLike,
    columns: Sequence[str],
    families: Sequence[str] | None = None,
    *,
    name: str = "data",
    rows: int | None = None,
    warnings: Sequence[str] = (),
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
        `default_families` if not given.
    name : str
        Of the data.
    rows : int, optional
        Rows of the file, if some were left out.
    warnings : sequence of str
        About the data, to be kept with the results.
    settings : Settings, optional
    jobs : int
        Processes; the numbers do not depend on it.
    remember, on_progress : callable, optional
        As in `analysis.parts.compute_parts`.

    Returns
    -------
    xarray.DataTree
        ``p_data``: ``observed_data`` and ``entropy``; ``forward_<family>`` for each family: ``fit`` (parameters, both standard
        errors, leave-one-out cross-entropy, KL with its interval), ``posterior``, ``sample_stats``, and ``pointwise``
        (leave-one-out log densities) for up to 100 000 rows; ``ranking``; and, for one or two columns where a mixture
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
    chosen = check_families(families, dim)
    report = on_progress or (lambda _label, _fraction: None)
    values = settings.model_dump() | {
        "data": hashlib.sha256(np.ascontiguousarray(data)).hexdigest(),
        "shape": data.shape,
    }
    work = [Part("p_data", "entropy", values, partial(_entropy, data, settings), weight=0.5)]
    for family in chosen:
        compute = partial(_judged, data, family.name, settings)
        work.append(
            Part(child_of(family.name), family.name, values | {"family": family.name}, compute, weight=_weight(family))
        )
    done = compute_parts(
        work,
        question=QUESTION,
        settings=settings,
        jobs=jobs,
        remember=remember,
        on_progress=lambda label, fraction: report(label, 0.85 * fraction),
    )
    return _assembled(done, data, columns, chosen, name, rows or n, list(warnings), settings, report)


def check_families(names: Sequence[str] | None, dim: int) -> list[Family]:
    """Return the families of these names, `default_families` if there are none.

    Raises
    ------
    InputError
        If a family is unknown, named twice, or of another dimension.
    """
    names = list(default_families(dim) if names is None else names)
    if not names:
        raise InputError(f"no family given; for {dim} column(s) give some of {', '.join(default_families(dim))}")
    found = [find_family(name) for name in names]
    for family in found:
        if sum(other.name == family.name for other in found) > 1:
            raise InputError(f"family {family.name!r} is given more than once; name each family once")
        family.check_dim(dim, "the data")
    return found


def _weight(family: Family) -> float:
    return 4.0 if family.components > 1 else 2.0 if family.name in ("skew_normal", "logistic") else 1.0


# --- parts -----------------------------------------------------------------------------------------------------------


def _entropy(data: Array, settings: Settings) -> xr.DataTree:
    if len(data) < _FEWEST:
        return xr.DataTree()
    found = entropy_from_draws(data, settings.level, jitter=settings.jitter, seed=settings.seed)
    return xr.DataTree.from_dict({"entropy": _stored("entropy", found)})


def _judged(data: Array, name: str, settings: Settings) -> xr.DataTree:
    """One family: fitted, and judged by leave-one-out; a family that cannot be fitted says why."""
    family = find_family(name)
    try:
        return _fitted(data, family, settings)
    except _NOT_FITTED as error:
        tree = xr.DataTree()
        wrong = int(isinstance(error, InputError))
        tree.attrs = {"family": name, "failed": " ".join(str(error).split()), "wrong_input": wrong}
        return tree


def _fitted(data: Array, family: Family, settings: Settings) -> xr.DataTree:
    n, notes = len(data), []
    part = np.arange(n)
    if family.components > 1 and n > settings.mixture_rows:
        part = np.sort(np.random.default_rng(settings.seed).choice(n, settings.mixture_rows, replace=False))
        notes.append(
            f"fitted to {settings.mixture_rows} of {n} rows, chosen at random; its errors are those of so many"
        )
    fitted = fit_mle(data[part], family, seed=settings.seed, draws=settings.draws)
    fit = fitted["fit"].to_dataset()
    params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
    log_q = leave_one_out(data[part], family, params, seed=settings.seed)
    if len(part) < n:  # the other rows are held out as they are
        everywhere = family.member(params).logp(data)
        everywhere[part] = log_q
        log_q = everywhere
    if (status := str(fit["status"].item())) != "converged":
        notes.append(f"{status}; that parameter has no standard error")
    fit = fit.drop_vars("cross_entropy").assign(
        cross_entropy=float(-log_q.mean()),
        cross_entropy_error=float(log_q.std(ddof=1) / np.sqrt(n)),
        n_fitted=len(part),
    )
    if n >= _FEWEST:
        fixed: Callable[[Array], Array] = lambda _points: log_q  # noqa: E731
        cross = cross_entropy_from_draws(data, fixed, settings.level)
        kl = kl_from_draws(data, fixed, settings.level, jitter=settings.jitter, seed=settings.seed)
        fit = fit.merge(_stored("kl", kl)).assign(cross_entropy=cross.value, cross_entropy_error=cross.error)
        notes += [reason for reason in _said(kl) if reason not in notes]
    groups = {group: fitted[group].to_dataset() for group in ("posterior", "sample_stats")}
    groups |= {"fit": fit.assign_attrs(family=family.name), "pointwise": xr.Dataset({"log_q": ("observation", log_q)})}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"family": family.name, "warnings": json.dumps(notes)}
    return tree


def _said(found: Interval) -> list[str]:
    """Warnings, with the remedy in the words of the command."""
    return [reason.replace("jitter=True spreads them", "--jitter spreads them") for reason in found.warnings]


def _stored(name: str, found: Interval) -> xr.Dataset:
    values = {
        name: found.value,
        f"{name}_error": found.error,
        f"{name}_lower": found.lower,
        f"{name}_upper": found.upper,
    }
    data = xr.Dataset({k: ((), float(v)) for k, v in values.items()} | {f"{name}_reliable": ((), int(found.reliable))})
    return data.assign_attrs(warnings=json.dumps(_said(found)))


# --- together --------------------------------------------------------------------------------------------------------


def _assembled(
    done: xr.DataTree,
    data: Array,
    columns: Sequence[str],
    families: Sequence[Family],
    name: str,
    rows: int,
    warnings: list[str],
    settings: Settings,
    report: Progress,
) -> xr.DataTree:
    n, dim = data.shape
    failed = {f.name: done[child_of(f.name)].attrs for f in families if "failed" in done[child_of(f.name)].attrs}
    fitted = [f for f in families if f.name not in failed]
    if not fitted:
        told = "; ".join(f"{family}: {why['failed']}" for family, why in failed.items())
        kind = InputError if all(why["wrong_input"] for why in failed.values()) else ConvergenceError
        raise kind(f"no family could be fitted ({told})")
    if n < _FEWEST:
        warnings.append(
            f"{n} rows: no interval, no entropy and no KL, since fewer than {_FEWEST} say neither how far neighbours are apart nor "
            "how the log densities spread; the fits and their order are given without"
        )
    groups: dict[str, Any] = {}
    for child, tree in done.children.items():
        for group, node in tree.children.items():
            if group != "pointwise" or n <= _KEPT:
                groups[f"{child}/{group}"] = node.to_dataset()
    shape = ("observation", "dim")[: 1 if dim == 1 else 2]
    observed = xr.Dataset({"x": (shape, data[:, 0] if dim == 1 else data)})
    groups["p_data/observed_data"] = observed.assign_coords(dim=list(columns)) if dim > 1 else observed
    logs = {f.name: done[child_of(f.name)]["pointwise"]["log_q"].to_numpy() for f in fitted}
    used = {f.name: int(done[child_of(f.name)]["fit"]["n_fitted"]) for f in fitted}
    groups["ranking"], close = _ranking(data, logs, used, settings.level)
    report("reverse KL", 0.87)
    reverse, why_not = _reverse(done, [f for f in fitted if f.components > 1], logs, dim)
    groups |= reverse
    entropy = json.loads(groups["p_data/entropy"].attrs["warnings"]) if n >= _FEWEST else []
    warnings += [f"entropy and KL: {reason}" for reason in entropy]
    warnings += _together({f.name: json.loads(done[child_of(f.name)].attrs["warnings"]) for f in fitted}, entropy)
    warnings += [f"{family} could not be fitted: {why['failed']}" for family, why in failed.items()]
    warnings += [*close, *([why_not] if why_not else [])]
    tree = xr.DataTree.from_dict(groups)
    for family in fitted:
        tree[child_of(family.name)].attrs = done[child_of(family.name)].attrs
    tree.attrs = done.attrs | {
        "name": name,
        "columns": json.dumps(list(columns)),
        "n": n,
        "dim": dim,
        "rows": rows,
        "failed": json.dumps({family: why["failed"] for family, why in failed.items()}),
        "warnings": json.dumps(warnings),
        "schema_version": SCHEMA_VERSION,
        "versions": json.dumps(versions()),
    }
    report("done", 1.0)
    return tree


def _together(notes: Mapping[str, Sequence[str]], known: Sequence[str] = (), against: str = "") -> list[str]:
    """One line for each kind of note, with the families that have it; what is said of the entropy is not said again."""
    said: dict[str, tuple[str, list[str]]] = {}
    for family, reasons in notes.items():
        for reason in reasons:
            kind = reason.split(" (")[0]
            if kind not in {other.split(" (")[0] for other in known}:
                said.setdefault(kind, (reason, []))[1].append(family)
    return [
        f"{', '.join(names)}{against}: {reason if len(names) == 1 else kind}" for kind, (reason, names) in said.items()
    ]


def _ranking(
    data: Array, logs: Mapping[str, Array], used: Mapping[str, int], level: float
) -> tuple[xr.Dataset, list[str]]:
    """KL above that of the best family, best first, with paired standard errors; and which differences are too small."""
    n = len(data)
    order = sorted(logs, key=lambda family: -float(logs[family].mean()))
    best = order[0]
    values, errors, notes, close = [0.0], [0.0], {}, []
    for family in order[1:]:
        if n < _FEWEST:
            values.append(float((logs[best] - logs[family]).mean()))
            errors.append(np.nan)
            continue
        first, second = (lambda _points, log=logs[f]: log for f in (family, best))
        found = kl_difference(data, first, second, level)
        values.append(found.value)
        errors.append(found.error)
        notes[family] = found.warnings
        total = found.value * min(used[family], used[best])
        if abs(total) < CLOSE:
            close.append(
                f"{family} and {best} differ by {total:.2g} nats over the rows that they were fitted to: below {CLOSE:g} their order is "
                "open, and the error of their difference is not normal"
            )
    ranking = xr.Dataset({"kl_difference": ("family", values), "se": ("family", errors)}, coords={"family": order})
    return ranking, [*_together(notes, against=f" against {best}"), *close]


def _reverse(
    done: xr.DataTree, mixtures: Sequence[Family], logs: Mapping[str, Array], dim: int
) -> tuple[dict[str, xr.Dataset], str | None]:
    """Both directions onto the Normal, from the best mixture in place of the density that data do not have."""
    if dim > 2:
        return {}, f"reverse KL is left out: its optima are sought for one or two columns, and these are {dim}"
    if not mixtures:
        return {}, "reverse KL is left out: it needs a density, and no mixture that could stand in for it was fitted"
    best = max(mixtures, key=lambda family: float(logs[family.name].mean()))
    fit = done[f"{child_of(best.name)}/fit"].to_dataset()
    family = FAMILIES["normal" if dim == 1 else "mvnormal"]
    centre, scale, target = _standardised(fit, dim)
    try:
        points = reverse_projections(target, family)
        forward = forward_projection(target, family)
    except _NOT_FITTED as error:
        return {}, f"reverse KL is left out: {' '.join(str(error).split())}"
    found = minima(points)
    groups = {f"reverse_exact_{i}/fit": _projected(p, centre, scale) for i, p in enumerate(found)}
    groups["forward_exact/fit"] = _projected(forward, centre, scale)
    attrs = {"target_family": best.name, "certificate": found[0].certificate if found else "incomplete"}
    counts = {status: sum(p.status == status for p in points) for status in ("saddle", "maximum")}
    groups["reverse"] = xr.Dataset({"minima": len(found), **counts}, attrs=attrs | {"family": family.name})
    return groups, None


def _standardised(fit: xr.Dataset, dim: int) -> tuple[Array, Array, Target]:
    """A fitted mixture with mean 0 and standard deviations 1, and the centre (d,) and scale (d,) that lead back."""
    w = fit["w"].to_numpy()
    means = fit["mu"].to_numpy().reshape(len(w), dim)
    covs = fit["cov"].to_numpy() if dim > 1 else fit["sigma"].to_numpy()[:, None, None] ** 2
    centre = w @ means
    scale = np.sqrt(w @ (np.diagonal(covs, axis1=1, axis2=2) + (means - centre) ** 2))
    z, covs = (means - centre) / scale, covs / np.outer(scale, scale)
    if dim == 1:
        return centre, scale, normal_mixture(w, z[:, 0], np.sqrt(covs[:, 0, 0]))
    return centre, scale, mvnormal_mixture(w, z, covs)


def _projected(point: Projection, centre: Array, scale: Array) -> xr.Dataset:
    """A projection in the units of the data; KL is the same in any."""
    params = {k: np.asarray(v, dtype=float) for k, v in point.params.items()}
    if "cov" in params:
        params = {"mu": centre + scale * params["mu"], "cov": params["cov"] * np.outer(scale, scale)}
    else:
        params = {"mu": centre[0] + scale[0] * params["mu"], "sigma": scale[0] * params["sigma"]}
    data = {k: (tuple(f"{k}_dim_{i}" for i in range(v.ndim)), v) for k, v in params.items()}
    facts = {"kl": point.divergence.value, "kl_error": point.divergence.error, "status": point.status}
    return xr.Dataset(data | {k: ((), np.asarray(v)) for k, v in facts.items()})


# --- read back -------------------------------------------------------------------------------------------------------


def ranked_names(tree: xr.DataTree) -> list[str]:
    """Names of the fitted families, closest first."""
    return [str(name) for name in tree["ranking"]["family"].to_numpy()]


def fitted_member(tree: xr.DataTree, family: str) -> Target:
    """Return the fitted member of a family."""
    return member_of(tree[f"{child_of(family)}/fit"].to_dataset(), find_family(family))


def summary(tree: xr.DataTree) -> dict[str, Any]:
    """What ``duality data --json`` prints.

    Parameters
    ----------
    tree : xarray.DataTree
        From `analyse`.

    Returns
    -------
    dict
        ``n``, ``rows``, ``dim``, ``columns``, ``families`` (each with ``params``, ``se_hessian``, ``se_sandwich`` (of the shapes of the
        parameters), ``cross_entropy``, ``kl``, ``kl_interval``, ``reliable``, ``status``), ``entropy``, ``ranking`` (KL above the best,
        best first), ``reverse`` and ``warnings``. In nats; ``None`` where there is no number.
    """
    families = {name: _family_summary(tree[f"{child_of(name)}/fit"].to_dataset(), name) for name in ranked_names(tree)}
    ranking = tree["ranking"].to_dataset()
    level = json.loads(tree.attrs["settings"])["level"]
    entropy = None
    if "entropy" in tree["p_data"].children:
        found = tree["p_data/entropy"].to_dataset()
        entropy = {k: _number(found[v]) for k, v in (("value", "entropy"), ("error", "entropy_error"))}
        entropy |= {"lower": _number(found["entropy_lower"]), "upper": _number(found["entropy_upper"]), "level": level}
        entropy |= {"reliable": bool(found["entropy_reliable"]), "warnings": json.loads(found.attrs["warnings"])}
    return {
        "n": int(tree.attrs["n"]),
        "dim": int(tree.attrs["dim"]),
        "rows": int(tree.attrs["rows"]),
        "columns": json.loads(tree.attrs["columns"]),
        "level": level,
        "families": families,
        "entropy": entropy,
        "ranking": [
            {"family": name, "kl_difference": _number(ranking["kl_difference"][i]), "se": _number(ranking["se"][i])}
            for i, name in enumerate(families)
        ],
        "reverse": _reverse_summary(tree),
        "failed": json.loads(tree.attrs["failed"]),
        "warnings": json.loads(tree.attrs["warnings"]),
    }


def _family_summary(fit: xr.Dataset, name: str) -> dict[str, Any]:
    parameters = [p.name for p in find_family(name).parameters]
    found: dict[str, Any] = {"params": {p: _list(fit[p].to_numpy()) for p in parameters}}
    for kind in ("se_hessian", "se_sandwich"):
        flat, start = fit[kind].to_numpy(), 0
        found[kind] = {}
        for p in parameters:
            size = fit[p].size
            found[kind][p] = _list(flat[start : start + size].reshape(fit[p].shape))
            start += size
    found |= {k: _number(fit[k]) for k in ("cross_entropy", "cross_entropy_error")}
    known = "kl" in fit
    found |= {k: _number(fit[k]) if known else None for k in ("kl", "kl_error")}
    interval = [_number(fit["kl_lower"]), _number(fit["kl_upper"])] if known else None
    reliable = bool(fit["kl_reliable"]) if known else None
    return found | {
        "kl_interval": interval,
        "reliable": reliable,
        "status": str(fit["status"].item()),
        "n": int(fit["n_fitted"]),
    }


def _reverse_summary(tree: xr.DataTree) -> dict[str, Any] | None:
    if "reverse" not in tree.children:
        return None
    facts = tree["reverse"].to_dataset()

    def point(child: str) -> dict[str, Any]:
        fit = tree[f"{child}/fit"].to_dataset()
        names = ("mu", "sigma") if "sigma" in fit else ("mu", "cov")
        numbers = {"kl": _number(fit["kl"]), "error": _number(fit["kl_error"]), "status": str(fit["status"].item())}
        return {"params": {k: _list(fit[k].to_numpy()) for k in names}, **numbers}

    return {
        "target": facts.attrs["target_family"],
        "family": facts.attrs["family"],
        "forward": point("forward_exact"),
        "minima": [point(f"reverse_exact_{i}") for i in range(int(facts["minima"]))],
        "saddles": int(facts["saddle"]),
        "certificate": facts.attrs["certificate"],
    }


def _number(value: Any) -> float | str | None:
    """A number for JSON, which has neither nan nor infinity."""
    number = float(value)
    if np.isnan(number):
        return None
    return number if np.isfinite(number) else "inf" if number > 0 else "-inf"


def _list(array: Array) -> Any:
    return _number(array) if array.ndim == 0 else [_list(part) for part in array]
