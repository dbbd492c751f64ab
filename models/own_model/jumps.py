"""Variables along which a log density jumps: a search that follows its slope comes to rest nowhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.advi.effort import evaluations_within
from models.graphs.log_density import LogDensity
from models.targets import Posterior

__all__ = ["jumping"]

Array = NDArray[np.float64]

_LINES, _POINTS, _REACH = 3, 65, 2.0  # through so many points, along each axis, so many sds either way
_HALVINGS = 30
_JUMP = 0.01  # nats between two places that are next to one another in double precision, about
_SMOOTH = 100.0  # times what the slope makes of the way between them


def jumping(target: Posterior, points: Array, *, seconds: float) -> list[str]:
    """Name the unknowns along which the log density jumps near points (n, d), as where one is compared with numbers; none in so few seconds that this cannot be seen."""
    needed = _LINES * (_POINTS + 2 * _HALVINGS) * target.dim
    if evaluations_within(target.log_density, target.initial_point, seconds) < needed:
        return []
    found = _along_axes(target.log_density, points)
    places = zip(target.source.free_RVs, target.blocks(), strict=True)
    return [variable.name for variable, (where, _) in places if found[where].any()]


def _along_axes(density: LogDensity, points: Array) -> NDArray[np.bool_]:
    """Along which axes (d,) a log density jumps."""
    n, d = points.shape
    through = points[np.linspace(0, n - 1, _LINES + 2).astype(int)[1:-1]]
    sd, steps = points.std(axis=0), np.linspace(-_REACH, _REACH, _POINTS)
    found = np.zeros(d, dtype=bool)
    with np.errstate(all="ignore"):
        for j in range(d):
            lines = np.repeat(through[:, None], _POINTS, axis=1)
            lines[..., j] += steps * sd[j]
            values, slopes = (part.reshape(_LINES, _POINTS, -1) for part in density(lines.reshape(-1, d)))
            values, slopes = values[..., 0], slopes[..., j]
            along = np.diff(lines[..., j], axis=1) * (slopes[:, 1:] + slopes[:, :-1]) / 2
            off = np.nan_to_num(np.abs(np.diff(values, axis=1) - along), posinf=0.0)
            worst = np.argmax(off, axis=1)
            rows = np.arange(_LINES)
            found[j] = _halved(density, lines[rows, worst], lines[rows, worst + 1], j).any()
    return found


def _halved(density: LogDensity, a: Array, b: Array, j: int) -> NDArray[np.bool_]:
    """Whether a log density jumps between places a and b (k, d) that differ along axis j: what is left of its change when they are halved towards one another."""
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        low, between, high = (density(x)[0] for x in (a, middle, b))
        first = (np.abs(between - low) > np.abs(high - between))[:, None]
        a, b = np.where(first, a, middle), np.where(first, middle, b)
    (low, slope), (high, other) = density(a), density(b)
    smooth = np.abs(b - a)[:, j] * np.maximum(np.abs(slope), np.abs(other))[:, j]
    change = np.abs(high - low)
    return np.asarray(np.isfinite(change) & (change > _JUMP) & (change > _SMOOTH * smooth))
