"""Every stationary point of a smooth function of a few parameters: many starts, Newton, and a count of Hessian signs.

For a function that grows to its supremum in every direction, the signs of the Hessian determinants at all stationary
points sum to 1 (Poincare-Hopf; Milnor, 1965, section 6). Another sum proves that a point is missing, so the search goes
on; the sum 1 is what the certificate `consistent` states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Smooth", "between", "distinct", "index_sum", "newton", "search"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_ROUNDS = 5
_STEPS = 60  # of Newton's method
_FAR = 40.0  # unconstrained coordinates beyond this have run off to a boundary


class Smooth(Protocol):
    """What is searched: a function with gradient and Hessian over batches of points."""

    def gradient(self, thetas: Array) -> tuple[Array, Array]:
        """Values (B,) and gradients (B, P)."""
        ...

    def hessian(self, thetas: Array) -> tuple[Array, Array, Array]:
        """Values (B,), gradients (B, P) and Hessians (B, P, P)."""
        ...


def search(
    coarse: Smooth,
    refine: Callable[[Array], tuple[Array, Array]],
    starts: Array,
    unit: Array,
    *,
    inside: Callable[[Array], Mask],
    known: Sequence[Array] = (),
    other_index: int = 0,
    seed: int = 0,
) -> tuple[Array, Array, int]:
    """Find stationary points until the index sum is 1, or the rounds are used up.

    Parameters
    ----------
    coarse : Smooth
        The function on a rule that is cheap and nearly right.
    refine : callable
        Polishes points (m, P) on the exact function; returns those that stay stationary (k, P) with their Hessians
        (k, P, P).
    starts : ndarray (m, P)
    unit : ndarray (P,)
        Length that counts as one in each coordinate.
    inside : callable (m, P) -> (m,)
        Which points have not run off to a boundary.
    known : sequence of ndarray (P,)
        Stationary points found otherwise: places to start between.
    other_index : int
        What stationary points found otherwise (limits, singular ones) contribute to the index sum.
    seed : int
        For the additional starts of later rounds.

    Returns
    -------
    points : ndarray (k, P)
    hessians : ndarray (k, P, P)
    index : int
    """
    rng = np.random.default_rng(seed)
    size = len(unit)
    points, hessians, index = np.empty((0, size)), np.empty((0, size, size)), 0
    batch = starts
    for attempt in range(_ROUNDS):
        # Half of the batch goes downhill, to minima; the other half to any zero of the gradient.
        downhill = np.repeat([True, False], len(batch))
        ends = newton(coarse, np.concatenate([batch, batch]), unit, downhill=downhill, inside=inside)
        points, hessians = _extend(points, hessians, ends, refine, unit, inside)
        index = index_sum(hessians) + other_index
        if index == 1:
            break
        together = np.concatenate([points, np.reshape(known, (-1, size))])
        if len(together) > 1 and attempt < 2:
            batch = between(together, points, 2 + attempt, 3 + 4 * attempt)
        else:
            base = np.concatenate([starts, points])
            wide = 0.6 * 2.0 ** max(attempt - 2, 0)
            batch = base[rng.integers(len(base), size=30)] + rng.normal(0, wide, (30, size)) * unit
    return points, hessians, index


def _extend(
    points: Array,
    hessians: Array,
    ends: Array,
    refine: Callable[[Array], tuple[Array, Array]],
    unit: Array,
    inside: Callable[[Array], Mask],
) -> tuple[Array, Array]:
    ends = distinct(ends[inside(ends)], unit, 1e-4, known=points)
    if not len(ends):
        return points, hessians
    refined, curvature = refine(ends)
    keep = inside(refined)
    refined, curvature = refined[keep], curvature[keep]
    chosen = _distinct_rows(refined, unit, 1e-6, points)
    return np.concatenate([points, refined[chosen]]), np.concatenate([hessians, curvature[chosen]])


def index_sum(hessians: Array) -> int:
    """Sum of the signs of the determinants of Hessians (k, P, P)."""
    return int(np.sign(np.linalg.det(hessians)).sum()) if len(hessians) else 0


def between(points: Array, near: Array, closest: int, count: int) -> Array:
    """`count` points that divide the way from each of `near` to its closest others into equal parts."""
    starts = []
    for a in near:
        others = sorted((b for b in points if not np.array_equal(a, b)), key=lambda b: float(np.linalg.norm(a - b)))
        starts += [a + t * (b - a) for b in others[:closest] for t in np.arange(1, count + 1) / (count + 1)]
    return np.array(starts).reshape(-1, points.shape[1])


def distinct(points: Array, unit: Array, tolerance: float, *, known: Array | Sequence[Array] = ()) -> Array:
    """Points (m, P) without repeats of one another or of `known`, in units of `unit`."""
    return points[_distinct_rows(points, unit, tolerance, known)]


def _distinct_rows(points: Array, unit: Array, tolerance: float, known: Array | Sequence[Array]) -> list[int]:
    kept = [np.asarray(k) / unit for k in known]
    chosen = []
    for row, point in enumerate(points / unit):
        if not kept or np.min(np.linalg.norm(np.array(kept) - point, axis=1)) > tolerance:
            kept.append(point)
            chosen.append(row)
    return chosen


def newton(
    objective: Smooth,
    starts: Array,
    unit: Array,
    *,
    downhill: Mask | bool,
    inside: Callable[[Array], Mask] | None = None,
    tolerance: float = 1e-7,
) -> Array:
    """Newton's method from a batch of starts; returns the rows that converged.

    Parameters
    ----------
    objective : Smooth
    starts : ndarray (m, P)
    unit : ndarray (P,)
        Steps are capped in these units, and halved twice whenever the merit does not fall.
    downhill : bool or ndarray (m,)
        True: the value must fall, and eigenvalues count by their size, so that only minima attract (saddle-free Newton,
        Dauphin and others, 2014). False: the norm of the gradient must fall, so that any stationary point attracts.
    inside : callable, optional
        Rows that leave this region are given up.
    tolerance : float
        Norm of the scaled gradient at which a row has converged.

    Returns
    -------
    ndarray (k, P)
    """
    theta = np.array(starts, dtype=float)
    if not len(theta):
        return theta
    downhill = np.broadcast_to(downhill, len(theta))
    value, gradient, hessian = objective.hessian(theta)
    cap = np.full(len(theta), 0.5)
    active = np.isfinite(value) & np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2))
    done = np.zeros(len(theta), dtype=bool)
    before = np.full(len(theta), np.inf)
    for count in range(_STEPS):
        size = np.linalg.norm(gradient * unit, axis=1)
        if count % 8 == 7:  # root finding that stalls has met a minimum of the norm that is no root
            active &= downhill | (size < 0.3 * before)
            before = size
        done |= active & (size < tolerance)
        active &= ~done & (cap > 1e-7) & (np.abs(theta / unit) < 1e3).all(axis=1)
        if inside is not None:
            active &= inside(theta)
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        step = _steps(gradient[rows], hessian[rows], unit, cap[rows], downhill[rows])
        v, g, h = objective.hessian(theta[rows] + step)
        finite = np.isfinite(v) & np.isfinite(g).all(axis=1) & np.isfinite(h).all(axis=(1, 2))
        new_size = np.linalg.norm(g * unit, axis=1)
        better = np.where(downhill[rows], v <= value[rows] + 1e-14 * np.abs(v), new_size <= size[rows])
        accept = finite & better
        good, bad = rows[accept], rows[~accept]
        theta[good] += step[accept]
        value[good], gradient[good], hessian[good] = v[accept], g[accept], h[accept]
        cap[good], cap[bad] = np.minimum(cap[good] * 2, 2.0), cap[bad] / 4
    return theta[done]


def _steps(gradient: Array, hessian: Array, unit: Array, cap: Array, downhill: Mask) -> Array:
    g, h = gradient * unit, hessian * np.multiply.outer(unit, unit)
    eigenvalues, vectors = np.linalg.eigh(h)
    along = np.einsum("bij,bi->bj", vectors, g)
    size = np.maximum(np.abs(eigenvalues), 1e-8)
    inverse = np.where(downhill[:, None], 1 / size, eigenvalues / size**2)
    step = -np.einsum("bij,bj->bi", vectors, inverse * along)
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-300)
    return step * np.minimum(1.0, cap / length)[:, None] * unit
