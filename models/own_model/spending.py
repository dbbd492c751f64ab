"""What an examination may spend: particles by the budget, and draws by the size of what is saved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.advi.effort import evaluations_within
from models.targets import Posterior

__all__ = ["draws_kept", "evenly", "particles_within"]

Array = NDArray[np.float64]

_PARTICLES = (1000, 500, 250)  # few steps, so that the numbers do not hang on the last digit of a clock
_EVALUATIONS = 400  # of the density for each particle of a tempered population, about
_SAVED = 25_000_000  # numbers, of all posteriors together
_POSTERIORS = 4  # that are saved beside those of the optima
_FEWEST = 50  # draws of each


def particles_within(target: Posterior, budget_s: float) -> int:
    """The most particles that a quarter of the budget allows, by the time that one evaluation takes; 0 if the fewest would take all of it."""
    allowed = evaluations_within(target.log_density, target.initial_point, 0.25 * budget_s) / (4 * _EVALUATIONS)
    return 0 if allowed < _PARTICLES[-1] / 4 else next((n for n in _PARTICLES if n <= allowed), _PARTICLES[-1])


def draws_kept(target: Posterior, modes: int, most: int) -> int:
    """Draws of each posterior that are saved: no more than fit into a file of some 200 MB, where a deterministic has a row for each of many observations."""
    groups = modes + _POSTERIORS  # an optimum for each mode, about, each with draws
    return int(np.clip(_SAVED // (groups * target.numbers), _FEWEST, most))


def evenly(points: Array, most: int) -> Array:
    """Points (n, d), evenly thinned to no more than `most`."""
    return points[np.linspace(0, len(points) - 1, min(len(points), most)).astype(int)]
