"""Starts that find modes: the prior, the neighbourhood of where PyMC begins, far about each optimum found, and its mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from models.advi.starts import Start
from models.targets import Posterior, Target

__all__ = ["about", "images", "unseen"]

Array = NDArray[np.float64]

_REACH = (3.0, 8.0)  # sds of an optimum that starts about it lie away, by turns
_MOST_LABELS = 4  # of which all orders are tried; of more, exchanges of neighbours


def about(mean: Array, sd: Array, count: int, seed: int, label: str) -> Iterator[Start]:
    """Starts spread far about an optimum: wide enough in every direction to lie nearer to a mode several sds away.

    Parameters
    ----------
    mean, sd : ndarray (d,)
        Of the optimum; sds as wide as they are known to be (linear response).
    count, seed : int
    label : str
    """
    rng = np.random.default_rng([seed, 11])
    for i in range(count):
        place = mean + _REACH[i % len(_REACH)] * sd * rng.standard_normal(len(mean))
        yield Start(f"{label} {i + 1}", place, sd=0.3 * sd)


def images(target: Target, mean: Array, sd: Array, label: str) -> list[Start]:
    """Where an optimum would lie with labels exchanged or signs turned, for the variables of a model.

    Labels are the positions along an axis of the same length in several variables, or in one; signs are those of all entries of one
    unconstrained variable, or of all together. A simplex is exchanged on its natural scale.
    """
    if not isinstance(target, Posterior):
        return [Start(f"{label} mirrored", -mean, sd=sd)]
    blocks = target.blocks()
    found: list[Start] = []
    lengths = {length for _, shape in blocks for length in shape if 2 <= length <= 8}
    for length in sorted(lengths):
        for order in _orders(length):
            moved, moved_sd = mean.copy(), sd.copy()
            for where, shape in blocks:
                if length in shape:
                    axis = shape.index(length)
                    moved[where] = np.take(mean[where].reshape(shape), order, axis).ravel()
                    moved_sd[where] = np.take(sd[where].reshape(shape), order, axis).ravel()
            found.append(Start(f"{label} relabelled", moved, sd=moved_sd))
            found += [Start(f"{label} relabelled, mirrored", m, sd=moved_sd) for m in _mirrored(moved, blocks, length)]
    found += [Start(f"{label} mirrored", m, sd=sd) for m in [*_mirrored(mean, blocks, None), -mean]]
    return _distinct(found, mean, sd)


def _orders(length: int) -> list[list[int]]:
    everything = list(range(length))
    if length <= _MOST_LABELS:
        return [list(order) for order in permutations(everything)][1:]
    return [[*everything[:i], everything[i + 1], everything[i], *everything[i + 2 :]] for i in range(length - 1)]


def _mirrored(mean: Array, blocks: Sequence[tuple[slice, tuple[int, ...]]], length: int | None) -> list[Array]:
    """The sign of each variable turned; with `length`, of those that have no such axis, as the weights of two labels."""
    result = []
    for where, shape in blocks:
        if length is None or length not in shape:
            moved = mean.copy()
            moved[where] *= -1
            result.append(moved)
    return result[:12]


def _distinct(starts: Sequence[Start], mean: Array, sd: Array) -> list[Start]:
    """Leave out what lies where the optimum itself, or an earlier start, does."""
    places = [mean]
    kept = []
    for start in starts:
        if all(np.abs((start.mean - place) / sd).max() > 0.5 for place in places):
            places.append(start.mean)
            kept.append(start)
    return kept


def unseen(counts: Sequence[int]) -> float:
    """Estimated chance that one more start finds an optimum not met yet: the share of optima met once (Good, 1953).

    Parameters
    ----------
    counts : sequence of int
        How many starts ended at each optimum.

    Returns
    -------
    float
        ``nan`` for no starts; with none met once at most about 1/n may be claimed, which is returned instead of zero.
    """
    total = sum(counts)
    if not total:
        return float("nan")
    return max(sum(c == 1 for c in counts), 1) / total if total > 1 else 1.0
