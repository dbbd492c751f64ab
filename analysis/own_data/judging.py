"""One family at a time: fitted to the data, judged by leave-one-out, and how far it is from their distribution."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from analysis.own_data.cells import cell_logp
from analysis.own_data.curve import Curve
from analysis.own_data.values import Chart, Values
from analysis.own_data.weighing import counted, shares_of, weighted_mean
from models.errors import ConvergenceError, InputError
from models.families import Family, find_family
from models.mle import approximate_posterior, fit_mle
from models.unknown import (
    Interval,
    cross_entropy_from_draws,
    entropy_from_draws,
    kl_from_draws,
    leave_one_out,
    rounding_unit,
)
from models.unknown.counts import count_entropy, count_kl
from models.unknown.intervals import not_negative
from models.unknown.memo import kept_by_content
from models.unknown.neighbours import entropy_terms

__all__ = ["FEWEST", "NOT_FITTED", "Settings", "entropy_part", "family_part"]

Array = NDArray[np.float64]
FEWEST = 20
#: Rows up to which the log likelihood of each under draws of the parameters is kept, for ArviZ to compare families by.
POINTWISE = 3000
NOT_FITTED = (InputError, ConvergenceError, ArithmeticError, np.linalg.LinAlgError)
#: Share of repeated rows up to which they may be left out of the entropy, and how far that may move a KL, in standard errors.
_COINCIDENCES, _SMALL = 0.05, 0.2


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


# --- entropy ---------------------------------------------------------------------------------------------------------


def entropy_part(data: Array, settings: Settings, values: Values | None, weighted: bool) -> xr.DataTree:
    """The entropy of the distribution of data (n, d), as far as they tell it."""
    if len(data) < FEWEST or weighted:
        return xr.DataTree()
    if values is not None and values.untold and not (settings.jitter and values.tied):
        found = _untold(values, settings, len(data))
    elif values is not None and values.discrete and not settings.jitter:
        found = count_entropy(data[:, 0], settings.level)
    elif values is not None and (lacking := values.lacking(settings.jitter)):
        told = tuple(
            f"{part}: no density has it, and the KL to any is infinite"
            + ("; if they are rounded measurements, --jitter spreads them" if part.rounded else "")
            for part in lacking
        )
        found = Interval(-np.inf, np.nan, "draws", -np.inf, -np.inf, settings.level, len(data), False, told)
    elif values is not None and values.atoms and not values.discrete:
        found = _with_zeros(data, settings)
    else:
        found, _ = _entropy(data, settings)
    return xr.DataTree.from_dict({"entropy": _stored("entropy", found)})


def _untold(values: Values, settings: Settings, n: int) -> Interval:
    """What rows that are those of others tell: neighbours of a row are the row itself."""
    return Interval(np.nan, np.nan, "draws", np.nan, np.inf, settings.level, n, False, (values.untold,))


@kept_by_content(2)
def _entropy(data: Array, settings: Settings) -> tuple[Interval, NDArray[np.bool_]]:
    """Entropy, and the rows (n,) it is taken from: all, unless a few repeat others and leaving them out changes nothing.

    A few repeats that rounding explains are spread over its unit; true copies are left out, if their terms put back would move the
    estimate by less than a fraction of its error. What is more than a few is left to the user.
    """
    n = len(data)
    everything = np.ones(n, dtype=bool)
    found = entropy_from_draws(data, settings.level, jitter=settings.jitter, seed=settings.seed)
    _, place, inverse = np.unique(data, axis=0, return_index=True, return_inverse=True)
    copies = n - len(place)
    if found.reliable or not copies or copies > _COINCIDENCES * n or len(place) < FEWEST:
        return found, everything
    once = entropy_from_draws(data[place], settings.level, seed=settings.seed)
    units = np.array([rounding_unit(column) for column in data.T])
    expected = n**2 / 2 * float(np.prod(units)) * np.exp(-once.value)
    if copies <= 4 * expected + 2:
        spread = entropy_from_draws(data, settings.level, jitter=True, seed=settings.seed)
        return (spread, everything) if spread.reliable else (found, everything)
    terms = entropy_terms(data[place]).values
    moved = abs(float(terms[inverse.ravel()].mean() - terms.mean()))
    if not once.reliable or moved > _SMALL * once.error:
        return found, everything
    told = f"{copies} of {n} rows repeat another by coincidence and are left out of the entropy, which moves by {moved:.1g} of an error of {once.error:.1g}"
    first = ~everything
    first[place] = True
    return replace(once, warnings=(*once.warnings, told)), first


def _with_zeros(data: Array, settings: Settings) -> Interval:
    """Entropy of a mixture of a point mass at zero and a density, with respect to both."""
    zero = data[:, 0] == 0
    share, rest = float(zero.mean()), data[~zero]
    if len(rest) < FEWEST:
        return Interval(
            np.nan, np.nan, "draws", np.nan, np.nan, settings.level, len(data), False, ("too few rows are not zero",)
        )
    inner, _ = _entropy(rest, settings)
    if np.isnan(inner.value):
        return replace(inner, n=len(data))
    value = (1 - share) * (inner.value - np.log1p(-share)) - share * np.log(share)
    # The share moves the entropy by its slope; the rest has its own error.
    slope = np.log((1 - share) / share) - inner.value
    error = float(np.hypot((1 - share) * inner.error, slope * np.sqrt(share * (1 - share) / len(data))))
    half = (inner.upper - inner.lower) / 2 / inner.error * error if inner.error else np.nan
    return replace(inner, value=value, error=error, lower=value - half, upper=value + half, n=len(data))


# --- one family ------------------------------------------------------------------------------------------------------


def family_part(
    data: Array, name: str, settings: Settings, values: Values | None, weights: Array | None
) -> xr.DataTree:
    """One family: fitted, and judged by leave-one-out; a family that cannot be fitted says why."""
    try:
        return _fitted(data, find_family(name), settings, values, weights)
    except NOT_FITTED as error:
        tree = xr.DataTree()
        wrong = int(isinstance(error, InputError))
        tree.attrs = {"family": name, "failed": " ".join(str(error).split()), "wrong_input": wrong}
        return tree


def _fitted(
    data: Array, family: Family, settings: Settings, values: Values | None, weights: Array | None
) -> xr.DataTree:
    n, notes = len(data), []
    chart = values.chart(family) if values is not None else Chart()
    points = chart(data)
    family = family.resolved(points)
    if values is not None and (told := values.taken_for(family)):
        notes.append(told)
    part = np.arange(n)
    if family.components > 1 and n > settings.mixture_rows:
        part = np.sort(np.random.default_rng(settings.seed).choice(n, settings.mixture_rows, replace=False))
        notes.append(
            f"fitted to {settings.mixture_rows} of {n} rows, chosen at random; its errors are those of so many"
        )
    weighing = None if weights is None else weights[part]
    fitted = fit_mle(points[part], family, seed=settings.seed, draws=settings.draws, weights=weighing)
    fit = fitted["fit"].to_dataset()
    params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
    log_q = _left_out(points, part, family, params, settings.seed, weights)
    log_q = log_q - (0.0 if family.domain.whole else np.log(chart.stretch))
    # That no row has one of the whole numbers below the largest is no news.
    if (status := str(fit["status"].item())) != "converged" and family.name != "categorical":
        notes.append(f"{status}; that parameter has no standard error")
    if values is not None and values.discrete and not settings.jitter and not family.domain.whole:
        curve = _curve(points, family, params, chart)
        log_q = log_q + cell_logp(curve, data[:, 0]) - curve.logp(data[:, 0])
        notes.append("a density is judged by the mass within a half of each whole number, beside probabilities")
    mean, error = weighted_mean(-log_q, *shares_of(weights, n))
    fit = fit.drop_vars("cross_entropy").assign(cross_entropy=mean, cross_entropy_error=error, n_fitted=len(part))
    if family.dim == 1:
        fit = fit.assign(_tails(data[:, 0], points, family, params, chart, values))
    if n >= FEWEST and weights is None:
        fixed: Callable[[Array], Array] = lambda _points: log_q  # noqa: E731
        cross = cross_entropy_from_draws(data, fixed, settings.level)
        kl = _kl(data, log_q, family, settings, values)
        fit = fit.merge(_stored("kl", kl)).assign(cross_entropy=cross.value, cross_entropy_error=cross.error)
        # What lies outside an estimated support is told with the order.
        notes += [reason for reason in _said(kl) if reason not in notes and not np.isneginf(log_q).any()]
    groups = {group: fitted[group].to_dataset() for group in ("posterior", "sample_stats")}
    if weights is None and len(part) == n <= POINTWISE and not family.edges:  # an end at an observation has no draws
        groups |= _uncertain(fitted, family, chart, settings)
    groups |= {"fit": fit.assign_attrs(family=family.name), "pointwise": xr.Dataset({"log_q": ("observation", log_q)})}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "family": family.name,
        "warnings": json.dumps(notes),
        "chart": json.dumps(asdict(chart)),
        "of": str(chart),
    }
    return tree


def _uncertain(fitted: xr.DataTree, family: Family, chart: Chart, settings: Settings) -> dict[str, xr.Dataset]:
    """Groups in which draws of the parameters stand beside those of the member, and the log likelihood of each row under them."""
    count = min(settings.draws, 250)
    found = approximate_posterior(fitted, family, draws=count, seed=settings.seed)
    kept = {name: fitted[name].to_dataset().isel(draw=slice(count)) for name in ("posterior", "sample_stats")}
    volume = 0.0 if family.domain.whole else np.log(chart.stretch)
    return kept | {
        "posterior": kept["posterior"].merge(found["posterior"].to_dataset()),
        "log_likelihood": found["log_likelihood"].to_dataset() - volume,
    }


def _left_out(
    points: Array, part: NDArray[np.intp], family: Family, params: dict[str, Any], seed: int, weights: Array | None
) -> Array:  # fmt: skip
    """Log density (n,) of each row, left out of the fit if it took part in it."""
    weighing = None if weights is None else weights[part]
    log_q = leave_one_out(points[part], family, params, seed=seed, weights=weighing, counts=counted(weights))
    if len(part) == len(points):
        return log_q
    everywhere = np.array(family.member(params).logp(points))  # the other rows are held out as they are
    everywhere[part] = log_q
    return everywhere


def _kl(data: Array, log_q: Array, family: Family, settings: Settings, values: Values | None) -> Interval:
    level = settings.level
    if values is not None and values.untold and not (settings.jitter and values.tied):
        return replace(_untold(values, settings, len(data)), warnings=())
    if values is not None and values.discrete and not settings.jitter:
        return count_kl(data[:, 0], log_q, level)
    if values is not None and values.lacking(settings.jitter):
        return Interval(np.inf, np.nan, "draws", np.inf, np.inf, level, len(data), False)
    if values is not None and values.atoms and not values.discrete:
        if family.atom is None:
            told = f"{values.atoms[0][1]:.1%} of the rows are exactly 0, an atom that this family does not have: its KL is infinite"
            return Interval(np.inf, np.nan, "draws", np.inf, np.inf, level, len(data), False, (told,))
        zero = data[:, 0] == 0
        share = float(zero.mean())
        inner = _kl_of(data[~zero], log_q[~zero] - np.log1p(-share), settings)
        # What the mass at zero adds is the error of its estimate, which leave-one-out has in it.
        added = share * (np.log(share) - float(log_q[zero].mean()))
        at = {k: (1 - share) * getattr(inner, k) + added for k in ("value", "lower", "upper")}
        at["lower"] = at["lower"] if inner.lower > 0 else 0.0  # where it was cut off
        return not_negative(replace(inner, **at, error=(1 - share) * inner.error, n=len(data)))
    return _kl_of(data, log_q, settings)


def _kl_of(data: Array, log_q: Array, settings: Settings) -> Interval:
    entropy, rows = _entropy(data, settings)
    once = not rows.all()
    log_q, data = (log_q[rows], data[rows]) if once else (log_q, data)
    jitter = settings.jitter or any(note.startswith("jittered") for note in entropy.warnings)
    found = kl_from_draws(data, lambda _points: log_q, settings.level, jitter=jitter and not once, seed=settings.seed)
    return replace(found, warnings=(*found.warnings, entropy.warnings[-1])) if once else found


def _curve(points: Array, family: Family, params: dict[str, Any], chart: Chart) -> Curve:
    """The member in the units of the data."""
    x = points[:, 0]
    return Curve(
        family, params, chart, float(np.median(x)), float(np.subtract(*np.quantile(x, [0.75, 0.25]))) or x.std()
    )


def _tails(
    data: Array, points: Array, family: Family, params: dict[str, Any], chart: Chart, values: Values | None
) -> dict[str, float]:
    """Mass of the member outside the range of the data, and outside the support that they suggest."""
    curve = _curve(points, family, params, chart)
    found = {"outside_range": curve.outside(float(data.min()), float(data.max()))}
    if values is not None and values.kind != "angles" and np.isfinite(values.low):
        found["outside_support"] = 0.0 if _within(family, values) else curve.outside(values.low, values.high)
    return found


def _within(family: Family, values: Values) -> bool:
    chart = values.chart(family)
    return bool(chart.period) or (
        family.domain.low >= values.low and (family.domain.high <= values.high or chart != Chart())
    )


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
