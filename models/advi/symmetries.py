"""Moves of unconstrained space that leave the density of a PyMC model as it is: labels exchanged, signs turned, or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice, product

import numpy as np
from numpy.typing import NDArray

from models.advi.labels import MOST_ENTRIES, Variable, orders, variables
from models.targets import Posterior

__all__ = ["Move", "symmetries", "usual"]

Array = NDArray[np.float64]

_MOST_CHOICES = 27  # of axes, of the variables together
_MOST_TURNED = 12  # variables, the sign of each of which is turned
_LEFT_OUT = 2  # variables that are merely as long as labels are many
_TRIED, _MOST = 3, 1000  # points at which a move must leave the density as it is, and moves that are tried
_SAME = 1e-9  # of a log density, or nats where it is small: rounding


@dataclass(frozen=True)
class Move:
    """Labels exchanged, signs turned, or both.

    Attributes
    ----------
    order : tuple of int
        Of the labels; empty where none are exchanged.
    axes : tuple of tuple of int
        Of each variable, along which its entries are put in that order.
    turned : tuple of int
        Variables whose coordinates change sign.
    """

    order: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    turned: tuple[int, ...]

    @property
    def name(self) -> str:
        """What it does."""
        return ", ".join(["relabelled"] * bool(self.order) + ["mirrored"] * bool(self.turned))

    def place(self, known: Sequence[Variable], point: Array) -> Array:
        """Where a point (d,) is moved."""
        moved = point.copy()
        for i, (v, axes) in enumerate(zip(known, self.axes, strict=True)):
            if axes:
                moved[v.where] = v.place(moved[v.where], self.order, axes)
            if i in self.turned:
                moved[v.where] *= -1
        return moved

    def sds(self, known: Sequence[Variable], mean: Array, sd: Array) -> Array:
        """Sds (d,) of the coordinates of what has this mean and these sds, moved."""
        moved = sd.copy()
        for v, axes in zip(known, self.axes, strict=True):
            if axes:
                moved[v.where] = v.sds(mean[v.where], sd[v.where], self.order, axes)
        return moved


@lru_cache(maxsize=1)
def symmetries(target: Posterior) -> tuple[Move, ...]:
    """Moves that leave the density as it is at a few points: of a thousand that might, those with most variables first."""
    known = variables(target)
    kept = list(islice(dict.fromkeys([*usual(known), *_rarer(known)]), _MOST))
    points = target.initial_point + np.random.default_rng(31).uniform(-1, 1, (4 * _TRIED, target.dim))
    with np.errstate(all="ignore"):  # where a density vanishes, or a weight is zero within rounding
        heights = target.log_density(points)[0]
        finite = np.flatnonzero(np.isfinite(heights))[:_TRIED]
        for i in finite:
            if not kept:
                break
            there = target.log_density(np.array([move.place(known, points[i]) for move in kept]))[0]
            near = np.abs(there - heights[i]) <= _SAME * max(1.0, abs(heights[i]))
            kept = [move for move, same in zip(kept, near, strict=True) if same]
    return tuple(kept) if len(finite) else ()


def usual(known: Sequence[Variable]) -> Iterator[Move]:
    """All variables that have an axis of as many entries relabelled, also with the sign of another turned; each variable mirrored, and all."""
    still: tuple[tuple[int, ...], ...] = ((),) * len(known)
    first = range(min(len(known), _MOST_TURNED))
    for length in _lengths(known):
        others = [i for i in first if length not in known[i].shape]
        for move in _exchanges(known, length, ()):
            yield move
            yield from (Move(move.order, move.axes, (i,)) for i in others)
    yield from (Move((), still, (i,)) for i in first)
    yield Move((), still, tuple(range(len(known))))


def _rarer(known: Sequence[Variable]) -> Iterator[Move]:
    """Two variables mirrored; relabelled without some variables that are as long, as coefficients may be beside labels of the same number."""
    still: tuple[tuple[int, ...], ...] = ((),) * len(known)
    yield from (Move((), still, pair) for pair in combinations(range(min(len(known), _MOST_TURNED)), 2))
    for count in range(1, _LEFT_OUT + 1):
        for length in _lengths(known):
            labelled = [i for i, v in enumerate(known) if length in v.shape]
            if len(labelled) > count:
                for left in combinations(labelled, count):
                    yield from _exchanges(known, length, left)


def _lengths(known: Sequence[Variable]) -> list[int]:
    return sorted({n for v in known for n in v.shape if 2 <= n <= MOST_ENTRIES})


def _exchanges(known: Sequence[Variable], length: int, left: Sequence[int]) -> Iterator[Move]:
    """All orders and choices of axes for so many labels, without the variables that are left out."""
    axes = [v.axes(length) if length in v.shape and i not in left else [()] for i, v in enumerate(known)]
    for chosen in islice(product(*axes), _MOST_CHOICES):
        yield from (Move(order, chosen, ()) for order in orders(length))
