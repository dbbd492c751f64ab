"""Places of a density that are no separate modes: a ridge joins them, along which it is level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.graphs.log_density import LogDensity
from models.own_model.modes import DIP, Mode, nested, top

__all__ = ["joined"]

Array = NDArray[np.float64]

_NEIGHBOURS = 3  # of what a ridge joins already, to which it may lead next
_HALVINGS = 4  # of the way between two
_BESIDE = 1.0  # nats that the density rises from the place of an optimum to the top of the ridge that it lies along; to that of a spike it is more
_END = 0.2  # of the way, within which an ascent from its middle has slid to an end


def joined(
    density: LogDensity, modes: Sequence[Mode], *, stop: Callable[[], bool] = lambda: False
) -> tuple[list[Mode], int]:
    """One mode for all that a ridge joins: the first of them; and how many were on ridges.

    Where only r^2 is known of a vector, every point of a sphere is as good as the next, ascents end all over it, and along a straight line between
    two ends the density falls. But an ascent from the middle of the line ends on the sphere, between them; between two modes it slides to one of them.

    Parameters
    ----------
    density : LogDensity
    modes : sequence of Mode
        Or optima that stand for modes, which may lie a little beside the top of a ridge.
    stop : callable
        Asked before each pair.
    """
    if len(modes) < 2:
        return list(modes), 0
    tops = [_top(density, m) for m in modes]
    places = np.array([place for place, _ in tops])
    far = np.linalg.norm(places[:, None] - places, axis=2)
    owner = np.arange(len(modes))
    tried: set[tuple[int, int]] = set()
    for _ in modes:  # each round at least halves the groups on a ridge, or ends
        before = len(np.unique(owner))
        for group in np.unique(owner):
            inside = np.flatnonzero(owner == group)
            others = np.flatnonzero(owner != group)
            near = np.argsort(far[np.ix_(inside, others)], axis=None)[:_NEIGHBOURS]
            for i, j in ((inside[k // len(others)], others[k % len(others)]) for k in near):
                if stop() or (i, j) in tried or nested(modes[i], modes[j]):
                    continue
                tried |= {(i, j), (j, i)}
                if _level(density, tops[i], tops[j], _HALVINGS):
                    owner[(owner == owner[i]) | (owner == owner[j])] = min(owner[i], owner[j])
                    break
        if len(np.unique(owner)) == before:
            break
    counts = np.bincount(owner, minlength=len(modes))
    return [modes[i] for i in np.unique(owner)], int(counts[counts > 1].sum())


def _top(density: LogDensity, mode: Mode) -> tuple[Array, float]:
    if mode.elbo is not None:
        place, height = top(density, mode.place)
        if height <= mode.height + _BESIDE:
            return place, height
    return mode.place, mode.height


def _level(density: LogDensity, one: tuple[Array, float], other: tuple[Array, float], halvings: int) -> bool:
    """Whether a way leads from one place to another along which the density does not fall: straight, or by ascents from its middle."""
    (a, _), (b, _) = one, other
    if abs(one[1] - other[1]) > DIP:
        return False
    low = min(one[1], other[1]) - DIP
    with np.errstate(all="ignore"):
        heights = density(a + np.linspace(0, 1, 17)[:, None] * (b - a))[0]
    if np.isfinite(heights).all() and heights.min() > low:
        return True
    if not halvings:
        return False
    middle, height = top(density, (a + b) / 2)
    way = np.linalg.norm(b - a)
    if not height > low or min(np.linalg.norm(middle - a), np.linalg.norm(middle - b)) < _END * way:
        return False
    between = (middle, height)
    return _level(density, one, between, halvings - 1) and _level(density, between, other, halvings - 1)
