"""How much of the posterior is in each mode: by a reference, or by the weights of a repair where these agree with it and are better known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.own_model.mixture import HOLDS, Repair, Share, shares_of
from models.own_model.reference import Reference

__all__ = ["by_reference", "masses"]

Array = NDArray[np.float64]
Owner = Callable[[Array], NDArray[np.intp]]


def by_reference(reference: Reference, owner: Owner, count: int) -> list[Share]:
    """Share of a reference in each of so many sets, by the set to which each point (n, d) belongs; without an interval where it is not to be relied on, for then neither is that."""
    found = shares_of(reference, lambda x: np.eye(count)[owner(x)])
    return found if reference.ok else [(value, float("nan"), float("nan")) for value, _, _ in found]


def masses(
    owner: Owner, missed: NDArray[np.bool_], reference: Reference | None, mended: Repair
) -> tuple[Share | None, list[Share]]:
    """Mass of the modes that are missed, together, and of each mode (k,), both by the same points; ``None`` and nan where nothing is known.

    Parameters
    ----------
    owner : callable
        Mode (n,) to which points (n, d) belong.
    missed : ndarray of bool (k,)
    reference : Reference, optional
    mended : Repair
        The mixture of all optima and modes. Where its k-hat holds, and it lacks nothing that the reference has, its importance weights give the masses
        if those are within the interval of the reference, and better known.
    """
    count, holds = len(missed), mended.k_hat < HOLDS
    seen = None
    if reference is not None and (reference.ok or not holds):
        [_, seen] = by_reference(reference, lambda x: missed[owner(x)].astype(int), 2)
    if holds and mended.lacks is None:
        own = owner(mended.points)
        mass = mended.mass(missed[own])
        if seen is None or (seen[1] <= mass[0] <= seen[2] and mass[2] - mass[1] < seen[2] - seen[1]):
            return mass, [mended.mass(own == i) for i in range(count)]
    if reference is None or seen is None:
        return None, [(float("nan"),) * 3] * count
    return seen, by_reference(reference, owner, count)
