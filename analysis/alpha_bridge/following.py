"""Branches of optima followed along alpha: divided at folds, led into the projections at the ends, compared for the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.projections import Projection
from models.projections.continuation import Branch, Critical, locate_exchange
from models.projections.exact import Exact
from models.projections.optimise import polish

__all__ = [
    "EDGE",
    "UNIT",
    "Arc",
    "Problem",
    "arcs_of",
    "exchanges",
    "join_ends",
    "lowest",
    "point_at",
]

Array = NDArray[np.float64]
#: Divergence at an alpha.
Problem = Callable[[float], Exact]
#: Branches are followed from this alpha to one minus it; at 0 and 1 the divergence has other formulas.
EDGE = 1e-3
#: Lengths in (mean, log sd) that count as one when a branch is followed.
UNIT = np.array([3.0, 1.0])
_TIE = 1e-9  # nats
_SAME = 0.05  # in (mean, log sd): further apart, points are not of one branch


@dataclass(frozen=True, eq=False)
class Arc:
    """A piece of a branch between folds or ends, along which alpha increases.

    Attributes
    ----------
    alphas : ndarray (n,)
    thetas : ndarray (n, 2)
        Mean and log sd.
    divergences : ndarray (n,)
        In nats.
    minimum : bool
        Whether its points are minima; saddles if not.
    branch : int
    """

    alphas: Array
    thetas: Array
    divergences: Array
    minimum: bool
    branch: int

    def spans(self, alpha: float) -> bool:
        """Whether the arc has a point at alpha."""
        return bool(self.alphas[0] <= alpha <= self.alphas[-1])

    def near(self, alpha: float) -> Array:
        """Theta (2,) at alpha by interpolation."""
        return np.array([np.interp(alpha, self.alphas, column) for column in self.thetas.T])

    def extended(self, alpha: float, point: Projection) -> Arc:
        """The same arc with one more point, before or after all others."""
        at = 0 if alpha < self.alphas[0] else len(self.alphas)
        return replace(
            self,
            alphas=np.insert(self.alphas, at, alpha),
            thetas=np.insert(self.thetas, at, point.theta, axis=0),
            divergences=np.insert(self.divergences, at, point.divergence.value),
        )


def arcs_of(branch: Branch, index: int) -> list[Arc]:
    """Divide a branch, of this index, at its folds; both sides keep the fold."""
    arcs = []
    for part in branch.parts():
        way = slice(None, None, -1 if part.values[0] > part.values[-1] else 1)
        arcs.append(Arc(part.values[way], part.thetas[way], part.divergences[way], not part.negative[0], index))
    return arcs


def point_at(problem: Problem, arc: Arc, alpha: float) -> tuple[Array, float] | None:
    """The stationary point of an arc at an alpha, solved for anew: theta (2,) and nats; ``None`` if it is not found."""
    for at, row in ((arc.alphas[0], 0), (arc.alphas[-1], -1)):
        if alpha == at:
            return arc.thetas[row], float(arc.divergences[row])
    objective, guess = problem(alpha), arc.near(alpha)
    theta = polish(objective, guess)
    if theta is None or np.linalg.norm(theta - guess) > _SAME:
        return None
    return theta, float(objective.gradient(theta[None])[0][0])


def join_ends(
    problem: Problem, arcs: Sequence[Arc], points: Sequence[Projection], end: float
) -> tuple[list[Arc], list[float]]:
    """Lead the arcs that come close to alpha = 0 or 1 into the projections there.

    Parameters
    ----------
    problem : callable (float) -> Exact
    arcs : sequence of Arc
    points : sequence of Projection
        All stationary points at the end.
    end : {0, 1}

    Returns
    -------
    arcs : list of Arc
    misses : list of float
        For each projection, how far from it in (mean, log sd) the arc that leads there ends when extrapolated; infinite where no arc leads.
    """
    ways = end + (1 - 2 * end) * EDGE * np.arange(1, 5)
    joined, limits = list(arcs), {}
    for i, arc in enumerate(arcs):
        reached = [point_at(problem, arc, float(a)) if arc.spans(float(a)) else None for a in ways]
        thetas = [found[0] for found in reached if found is not None]
        if len(thetas) == len(ways):  # the cubic through four points, at the end
            limits[i] = np.array([4, -6, 4, -1]) @ np.array(thetas)
    misses = []
    for point in points:
        away = {i: float(np.abs(limit - point.theta).max()) for i, limit in limits.items()}
        nearest = min(away, key=away.__getitem__, default=None)
        if nearest is None or away[nearest] > _SAME:
            misses.append(np.inf)
            continue
        joined[nearest] = joined[nearest].extended(float(end), point)
        misses.append(away[nearest])
    return joined, misses


def lowest(problem: Problem, arcs: Sequence[Arc], alpha: float) -> dict[int, tuple[Array, float]]:
    """The global minima at an alpha, several if they tie: theta and nats by index of the arc."""
    found = {i: point_at(problem, arc, alpha) for i, arc in enumerate(arcs) if arc.minimum and arc.spans(alpha)}
    values = {i: point for i, point in found.items() if point is not None}
    least = min(value for _, value in values.values())
    return {i: point for i, point in values.items() if point[1] <= least + _TIE}


def exchanges(problem: Problem, arcs: Sequence[Arc], grid: Array, best: Sequence[Mapping[int, Any]]) -> list[Critical]:
    """Solve for the alphas between which the global minimum passes from one arc to another.

    Parameters
    ----------
    problem : callable (float) -> Exact
    arcs : sequence of Arc
    grid : ndarray (n,)
        Alphas.
    best : sequence of mapping
        From `lowest`, for every alpha of the grid.

    Returns
    -------
    list of Critical
        With the minimum that takes over as ``partner``.
    """
    found = []
    for (low, high), (before, after) in zip(pairwise(grid), pairwise(best), strict=True):
        if set(before) & set(after):
            continue
        # Of mirror images, the right one.
        old, new = (max(side, key=lambda i: side[i][0][0]) for side in (before, after))
        alpha = min(max((low + high) / 2, arcs[new].alphas[0]), arcs[old].alphas[-1])
        found.append(locate_exchange(problem, arcs[old].near(alpha), arcs[new].near(alpha), float(alpha)))
    return found
