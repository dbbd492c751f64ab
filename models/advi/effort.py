"""What a density costs, measured once, and how many nodes or draws of it fit into some seconds.

A clock that is asked between evaluations ends nothing while one is under way: on a million observations a Hessian on a thousand nodes takes minutes.
So nodes are as many as the time allows from the beginning; of a density that takes microseconds they are as many as ever.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.graphs.log_density import LogDensity

__all__ = ["MOST_NUMBERS", "draws_within", "evaluations_within", "looked_at", "power_within"]

Array = NDArray[np.float64]

MOST_NUMBERS = 2**23  # coordinates of nodes that are held at once: 64 MB, of which there are a few copies
_LOOK, _LEAST_LOOK = 0.05, 1.0  # of the budget, and seconds at least, that one look at an optimum may take
_FEWEST_DRAWS = 200  # from which the tail of weights can still be fitted


def evaluations_within(density: LogDensity, point: Array, seconds: float) -> int:
    """Evaluations of a density with its gradient that some seconds allow, by what one takes at a point (d,)."""
    return int(min(seconds / density.seconds(point), 1e12))


def looked_at(budget_s: float) -> float:
    """Seconds of a budget that one look at an optimum, as its ELBO or its k-hat is, may take."""
    return max(_LEAST_LOOK, _LOOK * budget_s)


def power_within(density: LogDensity, point: Array, seconds: float, most: int, least: int = 6) -> int:
    """Logarithm to base 2 of the nodes that some seconds, and memory, allow; between `least` and `most`."""
    nodes = min(evaluations_within(density, point, seconds), MOST_NUMBERS // len(point))
    return int(np.clip(np.log2(max(nodes, 1)), min(least, most), most))


def draws_within(density: LogDensity, point: Array, seconds: float, most: int) -> int:
    """Draws whose density some seconds allow: no more than `most`, and no fewer than a tail can be fitted to."""
    return int(np.clip(evaluations_within(density, point, seconds), min(_FEWEST_DRAWS, most), most))
