"""Coordinates in which a 1-D density is short: its tails, and the poles at the ends of its support, fall exponentially.

With v the coordinate, x = c + s sinh(v) on the whole line, x = a + exp(v) on a half line, and v is the log odds of x between two ends.
A power of x, or of the distance from an end, is then an exponential in v, and what lies beyond the floats can be told from its slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.targets import Density, Target

__all__ = ["Line", "line_edges", "line_of"]

Array = NDArray[np.float64]

_OFFSETS = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 14.0])
_FAR = np.array([3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0, 30.0, 40.0, 60.0])  # in asinh units
_LARGEST = 1e300
_SPREAD = 1e3  # an end farther away than so many widths is no end to speak of


@dataclass(frozen=True)
class Line:
    """A coordinate v of the support of a 1-D density.

    Attributes
    ----------
    low, high : float
        The ends of the support.
    centre, scale : float
        Of the bulk; in x where the kind is ``sinh``, else in v.
    kind : str
        ``sinh``, ``above`` the low end, ``below`` the high end, or ``between`` them.
    """

    low: float
    high: float
    centre: float
    scale: float
    kind: Literal["sinh", "above", "below", "between"]

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The least and the largest v whose x is a float apart from the end, or is finite."""
        near = [
            max(8 * np.finfo(float).eps * abs(end), 1 / _LARGEST) if np.isfinite(end) else 0.0
            for end in (self.low, self.high)
        ]
        match self.kind:
            case "sinh":
                ends = (max(self.low, -_LARGEST), min(self.high, _LARGEST))
                first, last = (self._far(end - self.centre) for end in ends)
                return first, last
            case "above":
                return float(np.log(near[0])), float(np.log(_LARGEST))
            case "below":
                return -float(np.log(_LARGEST)), -float(np.log(near[1]))
            case "between":
                if self.odds:
                    return -690.0, 690.0
                width = self.high - self.low
                return float(np.log(near[0] / width)), -float(np.log(near[1] / width))

    def _far(self, distance: float) -> float:
        """The coordinate at a distance from the centre of a ``sinh``, which may be too many scales for a float."""
        with np.errstate(over="ignore"):
            ratio = np.float64(distance) / self.scale
        far = np.log(2 * abs(distance)) - np.log(self.scale) if np.isinf(ratio) else np.arcsinh(abs(ratio))
        return float(np.copysign(far, distance))

    @property
    def odds(self) -> bool:
        """Whether v is the log odds of x itself, in which some densities are known where x rounds to 1."""
        return self.kind == "between" and (self.low, self.high) == (0.0, 1.0)

    def place(self, v: Array) -> tuple[Array, Array]:
        """Points x(v) and log |dx/dv|, both (n,)."""
        with np.errstate(over="ignore"):
            match self.kind:
                case "sinh":
                    x = self.centre + np.sign(v) * self.distance(v)
                    slope = np.log(self.scale) + np.logaddexp(v, -v) - np.log(2)
                case "above":
                    x, slope = self.low + np.exp(v), v
                case "below":
                    x, slope = self.high - np.exp(-v), -v
                case "between":
                    width = self.high - self.low
                    part = np.exp(-np.logaddexp(0.0, np.abs(v)))  # of the width, from the nearer end
                    x = np.where(v < 0, self.low + width * part, self.high - width * part)
                    slope = np.log(width) - np.logaddexp(0.0, v) - np.logaddexp(0.0, -v)
        return np.clip(x, np.nextafter(self.low, np.inf), np.nextafter(self.high, -np.inf)), slope

    def v(self, x: Array) -> Array:
        """The coordinate of points x (n,); those outside the support are at its ends."""
        first, last = self.limits
        x = np.clip(x, self.low, self.high)
        with np.errstate(divide="ignore", invalid="ignore"):
            match self.kind:
                case "sinh":
                    v = np.arcsinh((x - self.centre) / self.scale)
                case "above":
                    v = np.log(x - self.low)
                case "below":
                    v = -np.log(self.high - x)
                case "between":
                    v = np.log(x - self.low) - np.log(self.high - x)
        return np.clip(v, first, last)

    def distance(self, v: Array) -> Array:
        """How far out v is, as a number in which exponential tails are straight lines: |x - c|, or its inverse at an end."""
        far = np.abs(v)
        with np.errstate(over="ignore"):
            if self.kind != "sinh":
                return np.exp(far)
            return np.where(far < 700, np.sinh(np.minimum(far, 700)) * self.scale, np.exp(far + np.log(self.scale / 2)))

    def logp(self, target: Target, v: Array, x: Array) -> Array:
        """Log density (n,) of a 1-D target at x; towards an end that it shares with the line, by the distance from it.

        Of that distance x keeps few digits, unless the end is 0.
        """
        if not isinstance(target, Density):
            return target.logp(x[:, None])
        if self.odds and target.ends == (0.0, 1.0):
            return target.distribution.log_odds_density(v)
        shared = [own == end and end != 0 for own, end in zip((self.low, self.high), target.ends, strict=True)]
        if self.kind == "sinh" or not any(shared):
            return target.logp(x[:, None])
        above = v > 0 if self.kind == "between" else np.full(v.shape, self.kind == "below")
        logp = np.empty(len(v))
        for side, one in ((above, 1), (~above, 0)):
            if side.any():
                at = target.distribution.beside(bool(one), self._gap(v[side])) if shared[one] else None
                logp[side] = target.logp(x[side, None]) if at is None else at
        return logp

    def _gap(self, v: Array) -> Array:
        """Distance of v from the nearer end."""
        if self.kind == "between":
            return (self.high - self.low) * np.exp(-np.logaddexp(0.0, np.abs(v)))
        return np.exp(v if self.kind == "above" else -v)


def line_of(target: Density, others: Sequence[Target] = ()) -> tuple[Line, Array]:
    """Return the coordinate of a 1-D target and the first panel edges in it: where any of the densities has structure."""
    low, high = target.ends
    line = _whole(target, low, high) if np.isinf([low, high]).all() else _with_ends(target, low, high)
    places = []
    for one in (target, *others):
        if one.dim == 1 and isinstance(one, Density):
            named = one.distribution.quantiles if one.distribution.named else np.empty(0)
            places += [m + s * np.concatenate([-_OFFSETS, _OFFSETS]) for m, s in _scales(one)] + [
                named,
                np.array(one.ends),
            ]
    first, last = line.limits
    centre, scale = (0.0, 1.0) if line.kind == "sinh" else (line.centre, line.scale)
    out = np.concatenate([_FAR, 60 * 1.4 ** np.arange(1, 8)]) if line.kind == "sinh" else _outward(scale)
    edges = np.concatenate([line.v(np.concatenate(places)), centre - out, centre + out, [first, last]])
    edges = np.unique(np.round(edges[(edges >= first) & (edges <= last)], 12))
    return line, edges[np.concatenate([[True], np.diff(edges) > 1e-12 * np.abs(edges[1:])])]


def _outward(scale: float) -> Array:
    """Offsets in v: in units of the scale first, and ever longer steps out to where the floats end."""
    far = 14 * scale * 1.4 ** np.arange(1, 60)
    return np.concatenate([scale * _OFFSETS, far[far < 1500]])


def _scales(target: Target) -> list[tuple[float, float]]:
    return [(float(m[0]), float(s[0, 0])) for m, s in target.scales]


def _whole(target: Target, low: float, high: float) -> Line:
    places = _scales(target)
    locations, widths = (np.array(part) for part in zip(*places, strict=True))
    unit = max(widths.max(), np.abs(locations).max())  # squares may leave the floats
    scale = unit * float(np.sqrt((locations / unit).var() + ((widths / unit) ** 2).mean()))
    return Line(low, high, float(locations.mean()), scale, "sinh")


def _with_ends(target: Density, low: float, high: float) -> Line:
    quantiles = np.clip(target.distribution.quantiles, -_LARGEST, _LARGEST)
    middle, width = float(quantiles[3]), float(quantiles[4] - quantiles[2]) / 2
    if min(middle - low, high - middle) > _SPREAD * width > 0:
        return Line(low, high, middle, width, "sinh")
    kind: Literal["above", "below", "between"] = "between" if np.isfinite(low) and np.isfinite(high) else "above"
    v = Line(low, high, 0.0, 1.0, "below" if np.isinf(low) else kind)
    places = v.v(quantiles)
    return Line(low, high, float(places[3]), max(float(places[4] - places[2]) / 2, 1e-8), v.kind)


def line_edges(target: Density) -> Array:
    """Edges (m,) of the panels that quadrature of a 1-D density begins with, in x."""
    line, edges = line_of(target)
    reach = 60.0 if line.kind == "sinh" else 40 * max(1.0, line.scale)
    centre = 0.0 if line.kind == "sinh" else line.centre
    return np.unique(line.place(edges[np.abs(edges - centre) <= reach])[0])
