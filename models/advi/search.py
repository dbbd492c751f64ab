"""Starts that find modes: the prior, the neighbourhood of where PyMC begins, far about each optimum found, and its mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.advi.labels import Variable, exchanges, variables
from models.advi.starts import Start
from models.targets import Posterior, Target

__all__ = ["about", "images", "unseen"]

Array = NDArray[np.float64]

_REACH = (3.0, 8.0)  # sds of an optimum that starts about it lie away, by turns


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

    Labels are exchanged as by `models.advi.labels.exchanges`, a simplex among them on its natural scale; signs are those of all entries of
    one unconstrained variable, or of all together.
    """
    if not isinstance(target, Posterior):
        return [Start(f"{label} mirrored", -mean, sd=sd)]
    known = variables(target)
    found: list[Start] = []
    for length, moved, moved_sd in exchanges(target, mean, sd):
        found.append(Start(f"{label} relabelled", moved, sd=moved_sd))
        unlabelled = [v for v in known if length not in v.shape]
        found += [Start(f"{label} relabelled, mirrored", m, sd=moved_sd) for m in _mirrored(moved, unlabelled)]
    found += [Start(f"{label} mirrored", m, sd=sd) for m in [*_mirrored(mean, known), -mean]]
    return _distinct(found, mean, sd)


def _mirrored(mean: Array, turned: Sequence[Variable]) -> list[Array]:
    """The sign of each of these variables turned, as of the logit of the weights of two labels."""
    result = []
    for v in turned[:12]:
        moved = mean.copy()
        moved[v.where] *= -1
        result.append(moved)
    return result


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
