"""Confidence intervals for means over draws, and the tails that spoil them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from models.quadrature import Estimate

__all__ = ["Interval", "enclose", "mean_interval", "not_negative", "tail_indices"]

Array = NDArray[np.float64]
#: Pareto k of a tail: from the first on the end of the interval on that side is moved out, by half the distance for each 0.2;
#: beyond the second there is no variance, which is said; beyond the third a mean of few draws is not to be trusted (Vehtari
#: et al., 2024). Chosen on KL to the Normal of 300, 1000 and 10,000 draws of t, exponential, Laplace, Gumbel, Weibull
#: and log-normal variables: of the intervals marked reliable at least 92 % held the truth, also for t with 3 degrees of freedom.
_LONG, _NO_VARIANCE, _HEAVY = 0.1, 0.5, 0.7
_STRETCH = 2.5
_FEWEST, _SHORTEST = 30, 5  # terms, of which the largest fifth is fitted, and values of a tail
_FAR_BELOW = 3.0  # standard errors below zero that no chance explains, also where a heavy tail makes the interval long
_SAME = 1e-10  # of the spread: values that differ by less are tied


@dataclass(frozen=True)
class Interval(Estimate):
    """An estimate from draws with a confidence interval, and whether to rely on it.

    Attributes
    ----------
    value, error, kind
        As `Estimate`: nats, standard error, ``draws``.
    lower, upper : float
        Ends of the confidence interval; that of a KL ends at zero (`not_negative`).
    level : float
        Confidence level.
    n : int
        Number of draws.
    reliable : bool
        False where the bias is not small against the error, or the interval cannot be trusted; see `warnings`.
    warnings : tuple of str
        One line for each reason, and what was done to the draws.
    """

    lower: float = np.nan
    upper: float = np.nan
    level: float = 0.95
    n: int = 0
    reliable: bool = True
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return every attribute but ``kind``, for JSON."""
        ends = {"lower": self.lower, "upper": self.upper, "level": self.level}
        return {**super().as_dict(), **ends, "reliable": self.reliable, "warnings": list(self.warnings)}


def mean_interval(terms: Array, level: float, reasons: Sequence[str] = (), ddof: int = 1) -> Interval:
    """Return the mean of terms (n,) that are known exactly, with its interval; infinite if any of them is.

    Examples
    --------
    >>> mean_interval(np.array([1.0, 2.0, 3.0, 6.0]), 0.95).value
    3.0
    """
    n = len(terms)
    infinite = terms[np.isinf(terms)]
    if len(infinite):
        end = float(infinite[0]) if (infinite == infinite[0]).all() else np.nan
        excluded = f"a model has density zero at {len(infinite)} of {n} draws"
        return Interval(end, np.nan, "draws", -np.inf, np.inf, level, n, False, (*reasons, excluded))
    return enclose(terms, float(np.std(terms, ddof=ddof) / np.sqrt(n)), level, reasons)


def enclose(
    terms: Array,
    error: float,
    level: float,
    reasons: Sequence[str] = (),
    notes: Sequence[str] = (),
    parts: Sequence[Array] = (),
) -> Interval:
    """Return the mean of terms (n,) with an interval for a given standard error; reliable if there are no reasons.

    Student's t, corrected for skewness by Hall's (1992) cubic transformation, and longer on the side of a heavy tail: a
    sample that happens to lack large values has a small mean and a small standard error, and the plain interval misses.
    Where the terms are a sum, tails are those of its parts (n,), if given: of a log ratio the largest values
    can come from two places, and a tail fitted to both together looks heavy.

    Examples
    --------
    >>> x = np.random.default_rng(0).exponential(size=1000)
    >>> found = enclose(x, x.std() / 1000**0.5, 0.95)
    >>> bool(found.lower < 1 < found.upper), bool(found.upper - found.value > found.value - found.lower)
    (True, True)
    """
    n, value = len(terms), float(terms.mean())
    reach = float(student.ppf((1 + level) / 2, n - 1))
    third = float(((terms - value) ** 3).mean()) / n**2
    skewness = third / error**3 if error > 0 else 0.0
    k = [max(tails) for tails in zip(*map(tail_indices, parts or (terms,)), strict=True)]
    below, above = (1 + _STRETCH * max(tail - _LONG, 0.0) for tail in k)
    lower = value - error * _unskewed(reach, skewness) * below
    upper = value - error * _unskewed(-reach, skewness) * above
    if np.isnan([lower, upper]).any():
        lower, upper = (end if end == end else away for end, away in ((lower, -np.inf), (upper, np.inf)))
        reasons = [*reasons, "the spread of the log densities does not tell the ends of the interval"]
    heaviest = max(k)
    if heaviest > _HEAVY:
        reasons = [*reasons, f"the log densities have a heavy tail (Pareto k = {heaviest:.2f} > {_HEAVY})"]
    elif heaviest > _NO_VARIANCE:
        notes = [
            *notes,
            f"a tail of the log densities may have no variance (Pareto k = {heaviest:.2f}): longer interval",
        ]
    return Interval(value, error, "draws", lower, upper, level, n, not reasons, (*reasons, *notes))


def not_negative(found: Interval) -> Interval:
    """Return the interval of a quantity that is never negative, such as a KL: no part of it lies below zero.

    An estimate further below zero than chance explains says nothing of the quantity: its interval is all numbers from zero on.

    Examples
    --------
    >>> for value in (0.01, -0.01, -0.05):
    ...     found = not_negative(Interval(value, 0.01, "draws", value - 0.02, value + 0.02))
    ...     print(found.value, found.lower, round(found.upper, 9), found.reliable)
    0.01 0.0 0.03 True
    -0.01 0.0 0.01 True
    -0.05 0.0 inf False
    """
    if np.isinf(found.value) or not found.lower < 0:
        return found
    if found.upper >= 0 and not found.value < -_FAR_BELOW * found.error:
        return replace(found, lower=0.0)
    told = (
        f"all that chance explains lies wholly below zero, where no KL is: with a right model in {(1 - found.level) / 2:.2g} of the "
        "samples, else the estimated entropy is too large; no interval is given"
    )
    return replace(found, lower=0.0, upper=np.inf, reliable=False, warnings=(told, *found.warnings))


def _unskewed(quantile: float, skewness: float) -> float:
    """Quantile of (estimate - truth) / error where a quantile of the transformed variable is given."""
    if abs(skewness) < 1e-6:
        return quantile
    return float(3 / skewness * (np.cbrt(1 + skewness * (quantile - skewness / 6)) - 1))


def tail_indices(terms: Array) -> tuple[float, float]:
    """Return the Pareto k of the left and of the right tail of terms (n,); -inf for a tail of equal values, or of too few.

    Fewer than 30 terms tell no tail. Where the lowest values of a tail are tied, as those of counts are, the tail is what lies
    beyond the tie.

    Examples
    --------
    >>> x = np.random.default_rng(0).pareto(2, size=20_000)
    >>> left, right = tail_indices(x)
    >>> bool(left < 0 < 0.4 < right < 0.6)
    True
    """
    if len(terms) < _FEWEST:
        return -np.inf, -np.inf
    unit = _SAME * float(np.subtract(*np.quantile(terms, [0.95, 0.05]))) or float(np.spacing(np.abs(terms).max()))
    steps = np.rint((terms - np.median(terms)) / unit)  # equal where only rounding tells values apart
    return _right_index(-steps), _right_index(steps)


def _right_index(terms: Array) -> float:
    """Pareto k of the right tail of terms (n,)."""
    from arviz_stats.base import array_stats

    n = len(terms)
    ordered = np.sort(terms - terms.min() + 1)  # positive: ArviZ divides by their sum
    length = int(min(n / 5, 3 * np.sqrt(n)))
    while length >= _SHORTEST:
        tail = ordered[-length:]
        if tail[int(length / 4 + 0.5) - 1] > tail[0]:  # else no Pareto distribution is near
            efficiency = 9 * n / (length + 0.5) ** 2  # of which the tail has this length
            return float(
                array_stats.pareto_khat(ordered[None], chain_axis=0, draw_axis=1, r_eff=efficiency, tail="right")
            )
        length = int((tail > tail[0]).sum())
    return -np.inf
