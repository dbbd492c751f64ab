"""What an integral along a line has beyond the floats: nothing, a known amount, infinity, or what cannot be told.

Where a density or its integrand leaves the floats while there is still something to count (a Student-t with 2.01 degrees of
freedom has 3 per cent of its second moment beyond 1e154), its logarithm is continued: power laws are straight lines in the
coordinate of `Line`, exponentials in the distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.quadrature.line import Line
from models.quadrature.rules import Estimate, adapt, panel_nodes

__all__ = ["beyond"]

Array = NDArray[np.float64]
#: Of points v (n,), log weights (n,) and values (n,).
Parts = Callable[[Array], tuple[Array, Array]]

_NOTHING = 1e-18  # of the whole
_HUGE = 1e280  # a function that is larger just before it is infinite has left the floats, and is not infinite
_OVERFLOW = 1e100  # the square of a distance may leave the floats beyond
_STRAIGHT = 1e-7  # relative: a logarithm bent less than this is a straight line
_FAR = 1e8  # how many times farther out an exponential is followed
_NONE = Estimate(0.0, 0.0, "quadrature")
_MISSED = "the integrand is infinite on a set of positive probability"
_TOO_LARGE = "it is larger than the largest float"
_UNKNOWN = "the tail beyond the largest float is of no kind that is known here"


def beyond(line: Line, parts: Parts, edges: Array) -> tuple[float, float, list[Estimate]]:
    """Find where along a line an integrand is known, and what is beyond.

    Returns
    -------
    first, last : float
        Ends of the part where both the log weight and the values are finite.
    tails : list of Estimate
        Of what is to the left and to the right of it: ``inf`` or ``nan`` with the reason.
    """
    v = np.concatenate([edges[:1], panel_nodes(edges[:-1], edges[1:])[0].ravel(), edges[-1:]])
    log_weight, values = parts(v)
    widths = np.gradient(v)
    density = np.exp(log_weight) * widths
    good = np.isfinite(log_weight) & np.isfinite(values)
    whole = float(density[good] @ np.abs(values[good])) + 1e-300
    middle = int(np.argmax(np.where(np.isfinite(log_weight), log_weight + np.log(widths), -np.inf)))
    if not good[middle]:
        return np.nan, np.nan, [_in_the_bulk(line, parts, v, good, middle)]
    size = log_weight + np.log(np.abs(values))
    faint = size < np.log(_NOTHING * whole)
    tails, ends = [], []
    for sign in (-1, 1):
        outward = np.arange(middle, -1, -1) if sign < 0 else np.arange(middle, len(v))
        bad = np.flatnonzero(~good[outward])
        end, infinite = float(v[outward[-1]]), None
        if len(bad):
            inner, inside, outside = outward[max(bad[0] - 2, 0)], outward[bad[0] - 1], outward[bad[0]]
            end = float(v[inside])
            near = float(line.distance(v[outside : outside + 1])[0]) < _OVERFLOW
            infinite_there = near and np.isinf(values[outside]) and np.isfinite(log_weight[outside])
            if infinite_there or not (faint[inside] and size[inside] < size[inner]):
                end, infinite = _boundary(line, parts, end, float(v[outside]))
        ends.append(end)
        tails.append(infinite or _Tail(line, parts, end, float(v[middle]), sign, whole).value())
    return ends[0], ends[1], tails


def _boundary(line: Line, parts: Parts, inside: float, outside: float) -> tuple[float, Estimate | None]:
    """Where an integrand stops to be known, and whether it is infinite from there on."""
    while True:
        between = np.linspace(inside, outside, 66)
        log_weight, values = parts(between)
        first = int(np.argmin(np.append(np.isfinite(log_weight[1:-1]) & np.isfinite(values[1:-1]), False))) + 1
        if {float(between[first - 1]), float(between[first])} == {inside, outside}:
            break
        inside, outside = float(between[first - 1]), float(between[first])
    log_weight, values = parts(np.array([inside, outside]))
    near = float(line.distance(np.array([outside]))[0]) < _OVERFLOW
    if near and np.isinf(values[1]) and np.isfinite(log_weight[1]) and abs(values[0]) < _HUGE:
        return inside, Estimate(float(values[1]), 0.0, "quadrature", reason=_MISSED)
    return inside, None


def _in_the_bulk(line: Line, parts: Parts, v: Array, good: NDArray[np.bool_], middle: int) -> Estimate:
    """What to say of an integrand that is not finite where most of the weight is."""
    known = np.flatnonzero(good)
    if len(known):
        nearest = int(known[np.argmin(np.abs(known - middle))])
        infinite = _boundary(line, parts, float(v[nearest]), float(v[middle]))[1]
        return infinite or Estimate(np.nan, np.inf, "quadrature", reason=_TOO_LARGE)
    value = float(parts(v[middle : middle + 1])[1][0])
    if np.isinf(value) and abs(line.place(v[middle : middle + 1])[0][0]) > _OVERFLOW:
        return Estimate(np.nan, np.inf, "quadrature", reason=_TOO_LARGE)
    return Estimate(
        value, 0.0 if np.isinf(value) else np.inf, "quadrature", reason=_MISSED if np.isinf(value) else _UNKNOWN
    )


@dataclass(frozen=True)
class _Tail:
    """What is beyond `end` of a line, outward from its middle."""

    line: Line
    parts: Parts
    end: float
    middle: float
    sign: int
    whole: float

    def value(self) -> Estimate:
        if self.line.kind == "sinh" and np.isfinite(self.line.low if self.sign < 0 else self.line.high):
            return _NONE  # the end of the support, far from all mass
        step = 0.04 * abs(self.end - self.middle)
        v: Array = self.end - self.sign * step * np.arange(4.0)
        log_weight, f = self.parts(v)
        if f[0] == 0 or step == 0:
            return _NONE
        size = log_weight + np.log(np.abs(f))
        if size[0] < np.log(_NOTHING * self.whole) and size[0] < size[1]:
            return _NONE
        if not np.isfinite(size).all():
            return _nothing_known()
        return self._straight(step, log_weight, f) or self._continued(v, log_weight, f)

    def _straight(self, step: float, log_weight: Array, f: Array) -> Estimate | None:
        """What a weight adds whose logarithm is a straight line in v, if it is one; a bound if it is ever steeper."""
        fall, bend = -_slope(log_weight, step), _bend(log_weight, step)
        bent = bend > _STRAIGHT * max(1.0, abs(fall))
        if bent and not log_weight[0] - log_weight[1] < log_weight[1] - log_weight[2] < log_weight[2] - log_weight[3]:
            return None
        slack = bend + 1e-14 * np.abs(log_weight).max() / step
        if abs(f[0] - 3 * f[1] + 3 * f[2] - f[3]) <= 1e-9 * np.abs(f).max():  # of degree 2 at most: of logs of powers
            if fall <= slack:
                return None
            first, second = (3 * f[0] - 4 * f[1] + f[2]) / (2 * step), (f[0] - 2 * f[1] + f[2]) / step**2
            value = np.exp(log_weight[0]) * (f[0] + (first + second / fall) / fall) / fall
            return Estimate(float(value), float(abs(value)) * (1.0 if bent else 4 * slack / fall + 1e-9), "quadrature")
        size = np.log(np.abs(f))
        fall -= _slope(size, step)
        bend = _bend(size, step)
        if bend > _STRAIGHT * max(1.0, abs(_slope(size, step))):
            return None
        slack += bend + 1e-14 * np.abs(size).max() / step
        if bent and fall <= 0:
            return None
        if not bent and fall <= 3 * slack:
            return self._infinite(float(np.sign(f[0])))
        log_value = log_weight[0] + size[0] - np.log(fall)
        return self._known(log_value, float(np.sign(f[0])), 1.0 if bent else 2 * slack / fall + 1e-9)

    def _continued(self, v: Array, log_weight: Array, f: Array) -> Estimate:
        """What a function adds that has left the floats before the weight has vanished."""
        size, sign = np.log(np.abs(f)), float(np.sign(f[0]))
        if abs(f[0]) < _HUGE:
            return _nothing_known()
        for rule in (np.abs, self.line.distance):  # a power, an exponential
            out = rule(v)
            slope = (size[0] - size[1]) / (out[0] - out[1])
            if abs(size[2] - size[0] - slope * (out[2] - out[0])) <= _STRAIGHT * abs(size[2] - size[0]):
                break
        else:
            return _nothing_known()
        first, last = (
            abs(self.end),
            min(np.log(_FAR) + np.log1p(abs(self.end)) + abs(self.end), max(np.abs(self.line.limits))),
        )

        def log_terms(d: Array) -> Array:
            v = self.sign * d
            return np.nan_to_num(self.parts(v)[0] + size[0] + slope * (rule(v) - out[0]), nan=-np.inf)

        edges = np.linspace(first, last, max(3, int(4 * (last - first))))
        logs = log_terms(panel_nodes(edges[:-1], edges[1:])[0].ravel())
        top = float(logs.max())
        if logs[-1] > top - 50:
            faster = self._faster(rule, v, log_weight, last)
            return Estimate(np.nan, np.inf, "quadrature", reason=_TOO_LARGE) if faster else self._infinite(sign)
        left, right, change = adapt(lambda d: np.exp(log_terms(d) - top)[None, :], edges, 1e-12)
        d, w = panel_nodes(left, right)
        total = float((np.exp(log_terms(d.ravel()) - top) * w.ravel()).sum())
        return self._known(top + np.log(total), sign, float(change.sum()) / total + 1e-7)

    def _infinite(self, sign: float) -> Estimate:
        end = self.line.low if self.sign < 0 else self.line.high
        where = (
            f"the tail towards {end:g} is too heavy" if np.isinf(end) else f"the integrand grows too fast near {end:g}"
        )
        return Estimate(sign * np.inf, 0.0, "quadrature", reason=f"{where}: what it adds does not fade")

    def _faster(self, rule: Callable[[Array], Array], v: Array, log_weight: Array, last: float) -> bool:
        """Whether the weight falls faster than any power, or any exponential, as the rule has it."""
        ends = self.sign * np.array([last, last - 1.0])
        far, out = self.parts(ends)[0], rule(ends)
        near = (log_weight[0] - log_weight[1]) / (rule(v)[0] - rule(v)[1])
        return bool(
            np.isneginf(far[0]) or (far[0] - far[1]) / (out[0] - out[1]) < (1.05 if rule is np.abs else 1.5) * near
        )

    def _known(self, log_value: float, sign: float, relative: float) -> Estimate:
        if log_value > 709:
            return Estimate(np.nan, np.inf, "quadrature", reason=_TOO_LARGE)
        return Estimate(sign * float(np.exp(log_value)), float(np.exp(log_value)) * relative, "quadrature")


def _nothing_known() -> Estimate:
    return Estimate(np.nan, np.inf, "quadrature", reason=_UNKNOWN)


def _slope(y: Array, step: float) -> float:
    return float(y[0] - y[1]) / step


def _bend(y: Array, step: float) -> float:
    """By how much the slope changes over a step."""
    return float(max(abs(y[0] - 2 * y[1] + y[2]), abs(y[1] - 2 * y[2] + y[3]))) / step
