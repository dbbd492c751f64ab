"""Which reference an examination has: a grid, NUTS, or tempered populations, by what was met and what time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.effort import MOST_NUMBERS, evaluations_within
from models.advi.members import member
from models.own_model.comparison import natural
from models.own_model.grid import by_grid
from models.own_model.modes import Mode
from models.own_model.moments import compare, of_normals
from models.own_model.reference import Reference, by_nuts, pooled, settled
from models.own_model.saturation import saturated
from models.own_model.verdict import wanting
from models.targets import Posterior

__all__ = ["judged_whole", "reference_of", "run_longer"]

Array = NDArray[np.float64]

_SAME = 0.1  # sds, or relative, by which two samplers may differ
_ON_A_GRID = {1: 10_000, 2: 100_000}  # evaluations that a grid takes, about
_RUNS = 4  # of NUTS, each as long as all before, beyond the one whose diagnostics hold
_DRAWN = 50  # draws of the optimum, which are not looked at where only moments are asked for


def reference_of(
    target: Posterior,
    look: Reference | None,
    around: Array,
    optima: int,
    modes: Sequence[Mode],
    seed: int,
    late: Callable[[], bool],
    left: Callable[[], float],
    compiling: float,
) -> Reference | None:
    """A grid where there are one or two unknowns, NUTS where one mode was met, else tempered populations; what there is, if none of them holds."""
    affordable = evaluations_within(target.log_density, target.initial_point, left()) > _ON_A_GRID.get(
        target.dim, np.inf
    )
    grid = by_grid(target, around, modes, seed=seed) if affordable else None
    if grid is not None and grid.ok:
        return grid
    chains, one = None, optima == 1 and len(modes) <= 1
    # No clock stops PyMC while it compiles the model for NUTS, which takes about as long as compiling the density did.
    if one and not late() and left() > compiling:
        chains = _by_nuts(target, seed, left)
        if chains is not None and chains.ok:
            return chains
    found = None if look is None else settled(target, look, seed=seed, stop=lambda: left() < 0, alone=one)
    found = found if chains is None else _agreed(target, chains, found)
    return found if grid is None or (found is not None and found.ok) else grid


def judged_whole(target: Posterior, reference: Reference | None) -> Reference | None:
    """The reference, with what is to be said against it where double precision ends before the posterior does."""
    if reference is None or not (names := saturated(target, reference.flat)):
        return reference
    hidden = f"{' and '.join(names)} {'reaches' if len(names) == 1 else 'reach'} the end of double precision, as a probability of exactly 0 or 1, beyond which its mass is not seen"
    return replace(reference, reasons=(*reference.reasons, hidden))


def _by_nuts(target: Posterior, seed: int, left: Callable[[], float]) -> Reference | None:
    """NUTS, and where its diagnostics do not hold and so many seconds are left, again: with smaller steps if it diverged, else as many chains more."""

    def over() -> bool:
        return left() < 0

    begun = time.monotonic()
    found = by_nuts(target, seed=seed + 1, stop=over)
    took = time.monotonic() - begun
    if found is None or found.ok or left() < took:
        return found
    if not found.diverged:
        again = by_nuts(target, seed=seed + 2, stop=over)
        return found if again is None else pooled(found, again, target.coordinates)
    again = by_nuts(target, seed=seed + 2, stop=over, draws=2000, target_accept=0.99)
    return again if again is not None and len(again.reasons) <= len(found.reasons) else found


def run_longer(
    target: Posterior, fit: xr.DataTree, reference: Reference | None, seed: int, left: Callable[[], float]
) -> Reference | None:
    """NUTS run on, each time for as long as all before, while its errors are what leaves the verdict open and there is time."""
    if reference is None or reference.method != "NUTS" or not reference.ok:
        return reference
    own, took = member(fit, 0), 0.0
    moments, draws = (
        {"ADVI": of_normals(target, own, seed=seed)},
        {"ADVI": own.rvs(_DRAWN, seed).reshape(-1, target.dim)},
    )
    for k in range(_RUNS):
        each = len(reference.flat) // 4
        if not wanting(compare(target, moments, draws, reference), "NUTS"):
            break
        if left() < 2 * took or 8 * each * target.dim > MOST_NUMBERS:
            break
        begun = time.monotonic()
        more = by_nuts(target, seed=seed + 11 + k, stop=lambda: left() < 0, draws=each)
        took = time.monotonic() - begun
        together = reference if more is None else pooled(reference, more, target.coordinates)
        if together is reference or not together.ok:
            break
        reference = together
    return reference


def _agreed(target: Posterior, chains: Reference, look: Reference | None) -> Reference:
    """The tempered populations, if they are a reference and NUTS, which is none, saw the same; else NUTS."""
    if look is None or not look.ok:
        return chains
    seen, there = (natural(target, r.thinned) for r in (chains, look))
    with np.errstate(all="ignore"):
        apart = [
            max(abs(seen[v].mean() - x.mean()) / x.std(), abs(np.log(seen[v].std() / x.std())))
            for v, x in there.items()
        ]
    worst = int(np.argmax(np.nan_to_num(apart, posinf=0.0)))
    if not apart[worst] > _SAME:
        return look
    return replace(
        chains, reasons=(*chains.reasons, f"tempering and NUTS differ in the mean or sd of {list(there)[worst]}")
    )
