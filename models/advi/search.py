"""Starts that find modes: the prior, the neighbourhood of where PyMC begins, far about each optimum found, and its mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.advi.labels import variables
from models.advi.starts import Start
from models.advi.symmetries import symmetries, usual
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


def images(target: Target, mean: Array, sd: Array, label: str, *, exact: bool = True) -> list[Start]:
    """Where an optimum would lie with labels exchanged or signs turned, for the variables of a model.

    Labels are the positions along an axis of the same length in several variables, or in one; a simplex among them is exchanged on its natural scale.

    Parameters
    ----------
    target : Target
    mean, sd : ndarray (d,)
    label : str
    exact : bool
        Only those that leave the density as it is (`models.advi.symmetries`). If not, these come first, and then all that move every variable which may
        belong together: labels that are told apart by a weak prior have images that are nearly as high.
    """
    if not isinstance(target, Posterior):
        return [Start(f"{label} mirrored", -mean, sd=sd)]
    known = variables(target)
    moves = symmetries(target) if exact else dict.fromkeys([*symmetries(target), *usual(known)])
    found = [Start(f"{label} {m.name}", m.place(known, mean), sd=m.sds(known, mean, sd)) for m in moves]
    return _distinct(found, mean, sd)


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
