"""A fitted member of one dimension in the units of the data: density or probability, distribution function and quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.special import expit, logit

from analysis.own_data.values import Chart
from models.families import Family

__all__ = ["Curve"]

Array = NDArray[np.float64]
_STEPS = 40_001
_TAIL = 1e-9


class Curve:
    """A member, and what drawings and tails ask of it.

    Parameters
    ----------
    family : Family
        Of one dimension.
    params : mapping
    chart : Chart
        From the data to its points.
    middle, spread : float
        Of the data in its points: where the steps of the summation are close.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> curve = Curve(FAMILIES["normal"], {"mu": 1.0, "sigma": 2.0})
    >>> curve.cdf(np.array([1.0, 3.0])).round(4).tolist()
    [0.5, 0.8413]
    """

    def __init__(
        self,
        family: Family,
        params: Mapping[str, ArrayLike],
        chart: Chart | None = None,
        middle: float = 0.0,
        spread: float = 1.0,
    ) -> None:
        self.family, self.chart, self.middle, self.spread = family, chart or Chart(), middle, spread or 1.0
        self.member = family.member(params)
        self.discrete = family.domain.whole

    def logp(self, x: Array) -> Array:
        """Log density, or log probability, (n,) at x (n,)."""
        inside = self.family.domain.holds(y := self.chart(np.asarray(x, dtype=float)))
        found = np.full(len(y), -np.inf)
        if inside.any():
            found[inside] = self.member.logp(y[inside][:, None])
        return found if self.discrete else found - np.log(self.chart.stretch)

    def density(self, x: Array) -> Array:
        """Density, or probability, (n,) at x (n,)."""
        return np.exp(self.logp(x))

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """Points x and the distribution function there."""
        domain = self.family.domain
        if self.discrete:
            last = max(64, int(4 * (self.middle + 10 * self.spread)))
            while True:
                k = np.arange(domain.low, last + 1)
                total = np.cumsum(np.exp(self.logp(k)))
                if total[-1] > 1 - _TAIL or last > 1_000_000:
                    return k, np.minimum(total, 1.0)
                last *= 2
        y, slope, u = _knots(domain.low, domain.high, self.middle, self.spread)
        if self.family.components > 1:  # each as narrow as it may be beside the others
            own = [
                float(m[0]) + float(c[0, 0]) * np.sinh(18 * u[:: self.family.components]) for m, c in self.member.scales
            ]
            y = np.unique(np.concatenate(own))
            u, slope = y, np.ones(len(y))
        with np.errstate(over="ignore"):
            below = cumulative_trapezoid(np.exp(self.member.logp(y[:, None])) * slope, u, initial=0.0)
        if not below[-1] > 0:  # the steps miss all of it
            return self.chart.back(y), np.full(len(y), np.nan)
        share = below / below[-1]
        if self.family.atom is None:
            return self.chart.back(y), share
        mass = float(np.exp(self.member.logp(np.array([[self.family.atom]]))[0]))
        # The atom lies below all that the density covers, and has its mass all at once.
        return self.chart.back(np.append(self.family.atom, y)), np.append(mass, mass + (1 - mass) * share)

    def cdf(self, x: Array) -> Array:
        """Distribution function (n,) at x (n,)."""
        at, below = self._table
        x = np.asarray(x, dtype=float)
        if self.chart.period:
            x = self.chart.back(self.chart(x))
        if self.discrete:
            place = np.searchsorted(at, x, side="right") - 1
            return np.where(place < 0, 0.0, below[np.clip(place, 0, None)])
        return np.where(x < at[0], 0.0, np.interp(x, at, below))

    def pit(self, x: Array, seed: int = 0) -> Array:
        """Probability integral transform (n,); drawn within the step where x has mass."""
        if not self.discrete and self.family.atom is None:
            return self.cdf(x)
        mass = np.where(np.full(len(x), self.discrete) | (x == self.family.atom), self.density(x), 0.0)
        return self.cdf(x) - mass * np.random.default_rng(seed).random(len(x))

    def quantile(self, p: Array) -> Array:
        """Smallest values (n,) at which the distribution function reaches p (n,)."""
        at, below = self._table
        if self.discrete:
            return at[np.clip(np.searchsorted(below, p), 0, len(at) - 1)]
        rising = np.concatenate([[True], np.diff(below) > 0])
        return np.interp(p, below[rising], at[rising])

    def outside(self, low: float, high: float) -> float:
        """Mass below `low` and above `high`."""
        ends = np.array([np.nextafter(low, -np.inf) if not self.discrete else low - 1, high])
        below = self.cdf(ends) if not self.chart.period else np.array([0.0, 1.0])
        return float(below[0] + 1 - below[1])


def _knots(low: float, high: float, middle: float, spread: float) -> tuple[Array, Array, Array]:
    """Points y of a domain, dy/du, and u in equal steps: close where the data are, though they spread by little of what they are.

    Towards an end, the steps are even in the logarithm of the distance to it.

    Examples
    --------
    >>> y, _, _ = _knots(0.0, np.inf, 1e6, 1e-3)
    >>> bool(np.diff(y[np.abs(y - 1e6) < 1e-3]).max() < 1e-5), bool(y[0] < 1e-200), bool(y[-1] > 1e50)
    (True, True, True)
    """
    if not np.isfinite(low):
        u = np.linspace(-1.0, 1.0, _STEPS)
        return middle + spread * np.sinh(18 * u), spread * 18 * np.cosh(18 * u), u
    if np.isfinite(high):
        width = high - low
        share = np.clip((middle - low) / width, 1e-12, 1 - 1e-12)
        step = min(1.0, spread / width / (share * (1 - share)))
        u = np.linspace(-np.arcsinh(60 / step), np.arcsinh(60 / step), _STEPS)
        t = logit(share) + step * np.sinh(u)
        y = np.clip(low + width * expit(t), np.nextafter(low, high), np.nextafter(high, low))
        return y, width * expit(t) * expit(-t) * step * np.cosh(u), u
    reach = middle - low if middle > low + spread else spread
    step = spread / reach
    u = np.linspace(-np.arcsinh(600 / step), np.arcsinh(120 / step), _STEPS)
    y = reach * np.exp(step * np.sinh(u))
    return low + y, y * step * np.cosh(u), u
