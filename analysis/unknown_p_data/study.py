"""KL from draws alone: how far a fitted model is from the truth when the truth is known by a sample only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from analysis.data.columns import load_column
from analysis.parts import Part, StudySettings, runner
from analysis.unknown_p_data import QUESTION
from analysis.unknown_p_data.targets import NAMES, find
from models.families import FAMILIES, Family, normal_mixture
from models.unknown import (
    Interval,
    cross_entropy_from_draws,
    entropy_from_draws,
    kl_difference,
    kl_from_draws,
    leave_one_out,
)

Array = NDArray[np.float64]
SIZES = (100, 1000, 10_000)
#: Draws of the studies with one sample size.
N = 1000
#: Beyond these sizes kernels and ArviZ, whose work grows as n², are left out.
LARGEST_KERNEL, ARVIZ = 1000, 1000


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    replications : int
        Samples at each of the smaller sizes.
    large : int
        Samples of 10,000 draws.
    rivals : int
        Samples given to kernel density estimation and to ArviZ, which are slow.
    """

    replications: int = Field(default=20, ge=10)
    large: int = Field(default=2, ge=2)
    rivals: int = Field(default=6, ge=2)

    quick: ClassVar = {"replications": 10, "rivals": 2}
    full: ClassVar = {"replications": 500, "large": 60, "rivals": 60}


def _rng(settings: Settings, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([settings.seed, *key]))


# --- what others offer -----------------------------------------------------------------------------------------------

#: An estimate of KL from draws x of p, the log density of the Normal at them, and draws of the Normal.
Rival = Callable[[Array, Array, Array], float]


def by_scipy(x: Array, log_q: Array, _: Array) -> float:
    """Cross-entropy minus ``scipy.stats.differential_entropy``."""
    return float(-log_q.mean() - stats.differential_entropy(x[:, 0]))


def by_kernels(x: Array, log_q: Array, _: Array) -> float:
    """Mean log ratio with the density from ``scipy.stats.gaussian_kde`` at the draws that made it."""
    return float((stats.gaussian_kde(x.T).logpdf(x.T) - log_q).mean())


def by_arviz(x: Array, _: Array, y: Array) -> float:
    """``az.kl_divergence`` of draws of both, with its own defaults but for rounding."""
    import arviz as az

    a, b = (az.from_dict({"posterior": {"x": z[None]}}) for z in (x, y))
    return float(az.kl_divergence(a, b, round_to="none"))


def rivals(dim: int, n: int) -> dict[str, Rival]:
    """Estimators to compare with at a dimension and a sample size."""
    found: dict[str, Rival] = {"scipy": by_scipy} if dim == 1 else {}
    if n <= LARGEST_KERNEL:
        found["kernels"] = by_kernels
    if n == ARVIZ:
        found["arviz"] = by_arviz
    return found


# --- part 1: targets, sizes, estimators ------------------------------------------------------------------------------

ESTIMATORS = ("entropy", "kl", "scipy", "kernels", "arviz")
SUMMARIES = ("count", "bias", "sd", "mean_error", "coverage", "reliable", "coverage_reliable", "length")


def run_target(name: str, settings: Settings, more: Mapping[str, Rival] | None = None) -> xr.DataTree:
    """Estimates of one target at every size: of its entropy, and of its KL to the Normal of the same moments."""
    p = find(name)
    estimators = (*ESTIMATORS, *(more or {}))
    data = {key: np.full((len(estimators), len(SIZES)), np.nan) for key in SUMMARIES}
    for j, n in enumerate(SIZES):
        count = settings.large if n > N else settings.replications
        ours: dict[str, list[Interval]] = {"entropy": [], "kl": []}
        others: dict[str, list[float]] = {}
        for r in range(count):
            rng = _rng(settings, 1, NAMES.index(name), n, r)
            x = p.draw(rng, n)
            ours["entropy"].append(entropy_from_draws(x))
            ours["kl"].append(kl_from_draws(x, p.log_normal))
            log_q = p.log_normal(x)
            for key, rival in rivals(p.dim, n).items() if r < settings.rivals else ():
                y = rng.multivariate_normal(p.mean, p.cov, n) if key == "arviz" else x
                others.setdefault(key, []).append(rival(x, log_q, y))
            for key, rival in (more or {}).items():
                others.setdefault(key, []).append(rival(x, log_q, x))
        for key, intervals in ours.items():
            _enter(data, estimators.index(key), j, summary(intervals, p.entropy if key == "entropy" else p.kl))
        for key, values in others.items():
            error = np.array(values) - p.kl
            _enter(data, estimators.index(key), j,
                   {"count": len(error), "bias": error.mean(), "sd": error.std(ddof=1)})  # fmt: skip
    dims = ("estimator", "n")
    dataset = xr.Dataset(
        {key: (dims, values) for key, values in data.items()}, {"estimator": list(estimators), "n": list(SIZES)}
    )
    return xr.DataTree(dataset.assign(entropy=p.entropy, kl=p.kl, dim=p.dim, new=p.new).assign_attrs(title=p.title))


def _enter(data: Mapping[str, Array], i: int, j: int, found: Mapping[str, float]) -> None:
    for key, value in found.items():
        data[key][i, j] = value


def summary(intervals: list[Interval], truth: float) -> dict[str, float]:
    """Errors and coverage of intervals for one truth."""
    error = np.array([e.value for e in intervals]) - truth
    held = np.array([e.lower <= truth <= e.upper for e in intervals])
    trusted = np.array([e.reliable for e in intervals])
    return {
        "count": len(error),
        "bias": float(error.mean()),
        "sd": float(error.std(ddof=1)),
        "mean_error": float(np.sqrt(np.mean([e.error**2 for e in intervals]))),
        "coverage": float(held.mean()),
        "reliable": float(trusted.mean()),
        "coverage_reliable": float(held[trusted].mean()) if trusted.any() else np.nan,
        "length": float(np.nanmean([_length(e) for e in intervals])),
    }


def _length(found: Interval) -> float:
    """Length of an interval, as if it were not cut at zero: the half below the estimate is then as long as the other; nan of none."""
    if _below(found):
        return np.nan
    return found.upper - found.lower if found.lower != 0 else 2 * (found.upper - found.value)


def _below(found: Interval) -> bool:
    """Whether an interval lay below zero as a whole, so that none is given."""
    return any("wholly below zero" in reason for reason in found.warnings)


# --- part 2: tails ---------------------------------------------------------------------------------------------------

#: Targets against the Normal of the same moments: name, law, and whether the log ratio has a variance.
TAILS: dict[str, tuple[str, Any]] = {
    **{f"t{nu}": (f"t with {nu} df", stats.t(nu)) for nu in (3, 4, 5, 6, 10, 30)},
    "exponential": ("exponential", stats.expon()),
    "laplace": ("Laplace", stats.laplace()),
    "lognormal": ("log-normal", stats.lognorm(1)),
}


def _log_pdf(law: Any, x: Array) -> Array:
    return np.asarray(law.logpdf(x[:, 0]))


def run_tails(settings: Settings) -> xr.DataTree:
    """Coverage of KL where the log ratio has heavy tails: of all intervals, and of those marked reliable."""
    found = []
    for i, (_, law) in enumerate(TAILS.values()):
        mean, sd = float(law.mean()), float(law.std())
        q = stats.norm(mean, sd)
        truth = float(q.entropy() - law.entropy())
        intervals = []
        for r in range(2 * settings.replications):
            x = np.asarray(law.rvs(size=(N, 1), random_state=_rng(settings, 2, i, r)))
            intervals.append(kl_from_draws(x, partial(_log_pdf, q)))
        found.append({**summary(intervals, truth), "kl": truth})
    return xr.DataTree(_stacked("tail", list(TAILS), found))


def _stacked(dim: str, names: list[Any], rows: list[dict[str, float]]) -> xr.Dataset:
    return xr.Dataset({key: (dim, [row[key] for row in rows]) for key in rows[0]}, {dim: names})


# --- part 3: ties ----------------------------------------------------------------------------------------------------

UNITS = (0.0, 0.01, 0.1, 1.0)


def run_ties(settings: Settings) -> xr.DataTree:
    """Entropy of Normal draws rounded to a unit, as it is and with jitter, beside SciPy and kernels."""
    truth = float(stats.norm.entropy())
    keys = ("plain", "jittered", "scipy", "kernels")
    bias, flagged = np.full((len(keys), len(UNITS)), np.nan), np.full((2, len(UNITS)), np.nan)
    covered = flagged.copy()
    for j, unit in enumerate(UNITS):
        errors: dict[str, list[float]] = {key: [] for key in keys}
        found: list[list[Interval]] = [[], []]
        for r in range(settings.replications):
            x = _rng(settings, 3, r).normal(size=(N, 1))
            if unit:
                x = np.round(x / unit) * unit
            for i, jitter in enumerate((False, True)):
                found[i].append(entropy_from_draws(x, jitter=jitter, seed=r))
                errors[keys[i]].append(found[i][-1].value - truth)
            with np.errstate(divide="ignore"):  # equal values have distance zero: the estimate is minus infinity
                errors["scipy"].append(float(stats.differential_entropy(x[:, 0])) - truth)
            if r < settings.rivals:
                errors["kernels"].append(float(-stats.gaussian_kde(x.T).logpdf(x.T).mean()) - truth)
        bias[:, j] = [np.mean(errors[key]) for key in keys]
        flagged[:, j] = [np.mean([not e.reliable for e in group]) for group in found]
        covered[:, j] = [np.mean([e.lower <= truth <= e.upper for e in group]) for group in found]
    coords = {"estimator": list(keys), "unit": list(UNITS)}
    dataset = xr.Dataset({"bias": (("estimator", "unit"), bias)}, coords)
    dataset["flagged"] = (("how", "unit"), flagged)
    dataset["coverage"] = (("how", "unit"), covered)
    return xr.DataTree(dataset.assign_coords(how=["plain", "jittered"]))


# --- part 4: below zero ----------------------------------------------------------------------------------------------

#: Standard deviation of a narrow Normal whose cross-entropy is negative.
NARROW = 0.1


def run_sign(settings: Settings) -> xr.DataTree:
    """A model that is right: its cross-entropy, estimates of its KL, and those of ArviZ, which never go below zero."""
    q = stats.norm(0, NARROW)
    values, lower, below, arviz, ce = [], [], [], [], np.nan
    for r in range(3 * settings.replications):
        rng = _rng(settings, 4, r)
        x = rng.normal(0, NARROW, (N, 1))
        found = kl_from_draws(x, partial(_log_pdf, q))
        values.append(found.value)
        lower.append(found.lower)
        below.append(int(_below(found)))
        if r == 0:
            ce = cross_entropy_from_draws(x, partial(_log_pdf, q)).value
        if r < settings.rivals:
            arviz.append(by_arviz(x, x, rng.normal(0, NARROW, (N, 1))))
    return xr.DataTree(
        xr.Dataset(
            {"value": ("draw", values), "lower": ("draw", lower), "below": ("draw", below), "arviz": ("repeat", arviz),
             "cross_entropy": ce, "cross_entropy_exact": float(q.entropy())}
        )
    )  # fmt: skip


# --- part 5: differences ---------------------------------------------------------------------------------------------

DATA = "old_faithful_waiting"


def candidates() -> dict[str, Family]:
    """Families compared on real data."""
    return {"normal": FAMILIES["normal"], "logistic": FAMILIES["logistic"], "two Normals": normal_mixture(2)}


def _known(values: Array, _: Array) -> Array:
    return values


def run_differences(settings: Settings) -> xr.DataTree:
    """Families on Old Faithful: KL differences from the best, with paired and unpaired standard errors."""
    x = load_column(DATA)[:, None]
    families = candidates()
    log_p = {name: leave_one_out(x, family, seed=settings.seed) for name, family in families.items()}
    best = max(log_p, key=lambda name: log_p[name].mean())
    rows = []
    for name in families:
        # Log densities by leave-one-out are at hand: a fixed model of these values is the fitted family left out.
        d = kl_difference(x, partial(_known, log_p[name]), partial(_known, log_p[best]))
        unpaired = np.sqrt((log_p[name].var() + log_p[best].var()) / len(x))
        rows.append(
            {
                "difference": d.value,
                "error": d.error,
                "unpaired": float(unpaired),
                "cross_entropy": float(-log_p[name].mean()),
            }
        )
    dataset = _stacked("family", list(families), rows)
    whole = kl_from_draws(x, partial(_known, log_p[best]), jitter=True, seed=settings.seed)
    raw = entropy_from_draws(x)
    return xr.DataTree(
        dataset.assign(
            n=len(x), kl=whole.value, kl_lower=whole.lower, kl_upper=whole.upper, kl_error=whole.error,
            raw_reliable=raw.reliable,
        ).assign_attrs(best=best, raw_warning=raw.warnings[0] if raw.warnings else "")
    )  # fmt: skip


# --- run -------------------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    rest = {"tails": run_tails, "ties": run_ties, "sign": run_sign, "differences": run_differences}
    return [
        *(Part(n, f"draws of {n}", {"target": n, "settings": s}, partial(run_target, n, settings), 2) for n in NAMES),
        *(Part(key, key, {"part": key, "settings": s}, partial(compute, settings)) for key, compute in rest.items()),
    ]


#: One child per target of ``NAMES``, and ``tails``, ``ties``, ``sign``, ``differences``.
run = runner(QUESTION, Settings, parts)
