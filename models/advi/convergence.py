"""Has a run of ADVI arrived? Judged from where it stands, not from how long it ran.

At its end a run is moved, in thought, along its natural gradient to the lowest point of that line. How many nats that would
gain, and by how much it would change means and scales, needs two evaluations of the loss on common nodes, no optimum and no
number of steps. A line can miss a valley that it crosses, or the one direction in which a saddle falls. So a run that
passes is asked again: a Newton step with the whole Hessian, whose smallest eigenvalue must be positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.advi.runs import Loss
from models.quadrature import sobol_nodes

__all__ = ["Evidence", "gather", "windowed_decrease"]

Array = NDArray[np.float64]
_PROBE = 0.1  # how far along the natural gradient the second evaluation lies
_POWERS = (10, 12, 14)  # logarithms to base 2 of the nodes in each half
_SIDE = 0.01  # difference quotients of the gradient, in sds and relative scales
_FLAT = 0.1  # an eigenvalue, in units of the Fisher information, that asks for more nodes
_DROWNED = 256  # noise, in tolerances, that four doublings of the nodes cannot mend: at best each takes three quarters
_MOST_PARAMETERS = 65  # full rank in ten dimensions: above it the line must do


@dataclass(frozen=True, eq=False)
class Evidence:
    """What R runs would gain by going on.

    Attributes
    ----------
    gap : ndarray (R,)
        Nats to the lowest point along the natural gradient or, for a run that is near, of the quadratic with the whole
        Hessian; ``inf`` where the loss has no lowest point there.
    noise : ndarray (R,)
        What of `gap` the sampling error of the gradient can account for, in nats.
    shift : ndarray (R,)
        Largest change of a mean, in sds, or of a scale, relative, on the way there.
    curvature : ndarray (R,)
        Second derivative along that line or, for a run that is near, in the flattest direction, in units of the Fisher
        information: 1 or more near a Normal posterior, at most 0 where there is no minimum.
    """

    gap: Array
    noise: Array
    shift: Array
    curvature: Array

    def arrived(self, nats: float, relative: float) -> NDArray[np.bool_]:
        """Whether gap and shift are within these tolerances, and known that well."""
        return (self.curvature > 0) & (self.gap <= nats) & (self.shift <= relative) & (self.noise <= nats)


def gather(loss: Loss, mean: Array, factor: Array, *, nats: float, relative: float, seed: int = 0) -> Evidence:
    """Evidence of R runs at means (R, d) and Cholesky factors (R, d, d).

    Parameters
    ----------
    loss : Loss
    mean, factor : ndarray (R, d), (R, d, d)
    nats, relative : float
        Nodes are added, up to 2 x 16 384, where sampling error alone could exceed half of either, and where the shift is
        between a third of `relative` and four times it.
    seed : int
        Of the scrambled nodes, which are common to all runs: a run is judged the same in any company.

    Returns
    -------
    Evidence

    Notes
    -----
    Natural gradient of a Normal in (mean, L): Amari (1998); in L (I + A), A lower triangular, the Fisher information of an
    entry of A is 1, on the diagonal 2. The squared norm of the gradient is the product of those on two independent halves
    of the nodes, so that its sampling error does not look like a distance from the optimum.
    """
    fields = [np.full(len(mean), np.nan) for _ in range(4)]
    rows, whole = np.arange(len(mean)), _count(mean, factor) <= _MOST_PARAMETERS
    for power in _POWERS[:1] if whole else _POWERS:  # where the Hessian is asked, it asks for more nodes itself
        parts = _evidence(loss, mean[rows], factor[rows], power, seed)
        for field, part in zip(fields, parts, strict=True):
            field[rows] = part
        gap, noise, shift, curvature = (field[rows] for field in fields)
        error = np.sqrt(2 * noise / np.maximum(curvature, 0.01))  # of the shift
        unsure = (noise > nats / 2) | (error > relative / 2) | _close(shift, relative)
        told = noise <= _DROWNED * nats
        rows = rows[unsure & told & (gap < 100 * nats)]  # what is far off is so whatever the noise
        if not len(rows):
            break
    # Ten standard errors: an estimate so far above a tolerance is above it.
    near = np.flatnonzero(told & (gap <= 4 * nats + 10 * noise) & (shift <= 4 * relative + 10 * error))
    if whole and len(near):
        parts = _newton(loss, mean[near], factor[near], nats, relative, seed)
        for field, part in zip(fields, parts, strict=True):
            field[near] = part
    return Evidence(*fields)


def _evidence(loss: Loss, mean: Array, factor: Array, power: int, seed: int) -> tuple[Array, Array, Array, Array]:
    dim = mean.shape[1]
    halves = _halves(dim, power, seed)
    full = bool(np.any(np.tril(factor, -1)))
    first, second = (_whitened(loss, mean, factor, z, full) for z in halves)
    fisher = _fisher(dim)
    difference = [a - b for a, b in zip(first, second, strict=True)]
    squared = np.maximum(_inner(first, second, fisher), 0.0)
    noise = _inner(difference, difference, fisher) / 4
    # Along the natural direction of the mean gradient, v = -F^-1 g, the loss falls at the rate g' F^-1 g.
    direction = [-(a + b) / 2 / f for a, b, f in zip(first, second, fisher, strict=True)]
    length = _inner(direction, direction, [1 / f for f in fisher])
    near = mean + _PROBE * np.einsum("rij,rj->ri", factor, direction[0])
    near_factor = factor @ (np.eye(dim) + _PROBE * direction[1])
    moved = np.einsum("rij,rj->ri", factor, direction[0]), factor @ direction[1]
    slope = np.zeros(len(mean))
    for z in halves:
        _, g, g_factor = loss(near, near_factor, z)
        slope += ((g * moved[0]).sum(axis=1) + (g_factor * moved[1]).sum(axis=(1, 2))) / 2
    with np.errstate(all="ignore"):
        bend = (slope + length) / _PROBE
        curvature = bend / length
        share = np.where(length > 0, squared / length, 0.0)  # of the decrement that is not sampling error
        gap = np.where(curvature > 0, share * length**2 / (2 * bend), np.inf)
        reach = np.sqrt(share) * np.abs(length / bend)
        largest = np.maximum(
            np.abs(direction[0]).max(axis=1), np.abs(np.diagonal(direction[1], axis1=1, axis2=2)).max(axis=1)
        )
        shift = np.where(curvature > 0, reach * largest, np.inf)
    still = length < 1e-24
    gap, shift, curvature = np.where(still, 0.0, gap), np.where(still, 0.0, shift), np.where(still, 1.0, curvature)
    lost = ~np.isfinite(slope + length)
    return np.where(lost, np.inf, gap), np.where(lost, 0.0, noise), np.where(lost, np.inf, shift), curvature


def _newton(
    loss: Loss, mean: Array, factor: Array, nats: float, relative: float, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Gap, noise, shift and smallest eigenvalue of a Newton step in the coordinates u, A of (mean + L u, L (I + A))."""
    dim = mean.shape[1]
    full = bool(np.any(np.tril(factor, -1)))
    within = np.tril_indices(dim) if full else np.diag_indices(dim)
    scale = np.sqrt(np.concatenate([np.ones(dim), _fisher(dim)[1][within]]))

    def gradient(off: Array, nodes: Array, rows: NDArray[np.intp]) -> Array:
        """In the coordinates of the runs, at a point `off` each: (R, p), divided by the roots of the Fisher information."""
        a = np.zeros((dim, dim))
        a[within] = off[dim:]
        m, own = mean[rows], factor[rows]
        _, slope, slope_factor = loss(m + own @ off[:dim], own @ (np.eye(dim) + a), nodes)
        inner = own.transpose(0, 2, 1) @ slope_factor
        return np.concatenate([np.einsum("rji,rj->ri", own, slope), inner[:, *within]], axis=1) / scale

    def spectrum(power: int, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Eigenvalues of the Hessians, each as small as two halves of the nodes leave it, and eigenvectors."""
        both = np.empty((2, len(rows), len(scale), len(scale)))
        for hessian, z in zip(both, _halves(dim, power, seed), strict=True):
            for j, side in enumerate(np.diag(_SIDE / scale)):
                hessian[:, :, j] = (gradient(side, z, rows) - gradient(-side, z, rows)) / (2 * _SIDE)
        both = (both + both.transpose(0, 1, 3, 2)) / 2
        both[:, ~np.isfinite(both).all(axis=(0, 2, 3))] = -np.eye(len(scale))  # no minimum that could be told
        value, vector = np.linalg.eigh(both.mean(axis=0))
        return value - np.abs(np.einsum("rpi,rpq,rqi->ri", vector, both[0] - both[1], vector)) / 2, vector

    rows = np.arange(len(mean))
    value, vector = spectrum(_POWERS[0], rows)
    flat = np.flatnonzero(value.min(axis=1) < _FLAT)
    if len(flat):
        value[flat], vector[flat] = spectrum(_POWERS[-1] - 1, flat)
    smallest = value.min(axis=1)
    usable = np.maximum(value, 1e-12)[:, None, :]
    counted = np.concatenate([np.arange(dim), dim + np.flatnonzero(within[0] == within[1])])  # means and the diagonal
    fields = [np.full(len(mean), np.nan) for _ in range(3)]
    for power in _POWERS[1:]:
        halves = np.stack([gradient(np.zeros(len(scale)), z, rows) for z in _halves(dim, power, seed)], axis=1)
        along = halves @ vector[rows]  # (R, 2, p)
        split = (along[:, :1] - along[:, 1:]) / 2
        gap = np.maximum((along[:, 0] * along[:, 1] / usable[rows, 0]).sum(axis=1), 0.0) / 2
        noise = (split**2 / usable[rows])[:, 0].sum(axis=1)
        whole = (along.mean(axis=1) ** 2 / usable[rows, 0]).sum(axis=1) / 2
        share = np.where(whole > 0, gap / np.maximum(whole, 1e-300), 0.0)
        step, error = (
            np.abs(np.einsum("rpq,rq->rp", vector[rows], x / usable[rows, 0]) / scale)[:, counted]
            for x in (along.mean(axis=1), split[:, 0])
        )
        error = error.max(axis=1)  # in a flat valley a small gradient says nothing unless it is known well
        shift = np.hypot(np.sqrt(np.minimum(share, 1.0)) * step.max(axis=1), error)
        for field, part in zip(fields, (gap, noise, shift), strict=True):
            field[rows] = part
        rows = rows[(noise > nats / 2) | (error > relative / 2) | _close(shift, relative)]
        if not len(rows):
            break
    gap, noise, shift = fields
    lost = smallest <= 0
    return np.where(lost, np.inf, gap), noise, np.where(lost, np.inf, shift), smallest


def _close(shift: Array, relative: float) -> NDArray[np.bool_]:
    """Too near the tolerance for few nodes: what they all leave out of a tail does not show in their spread."""
    return np.asarray((shift > relative / 3) & (shift < 4 * relative))


def _count(mean: Array, factor: Array) -> int:
    dim = mean.shape[1]
    return dim + (dim * (dim + 1) // 2 if np.any(np.tril(factor, -1)) else dim)


def _halves(dim: int, power: int, seed: int) -> Array:
    """Two independent sets of nodes, (2, n, d)."""
    return sobol_nodes(dim, power=power + 1, replicates=2, seed=seed).points.reshape(2, -1, dim)


def _whitened(loss: Loss, mean: Array, factor: Array, z: Array, full: bool) -> tuple[Array, Array]:
    """Gradients by the mean, in sds, and by A in L (I + A)."""
    _, slope, slope_factor = loss(mean, factor, z)
    inner = factor.transpose(0, 2, 1) @ slope_factor
    inner = np.tril(inner) if full else inner * np.eye(mean.shape[1])
    return np.einsum("rji,rj->ri", factor, slope), inner


def _fisher(dim: int) -> tuple[Array, Array]:
    return np.ones(dim), np.ones((dim, dim)) + np.eye(dim)


def _inner(a: Sequence[Array], b: Sequence[Array], metric: Sequence[Array]) -> Array:
    """Inner product a' F^-1 b of gradients, for each run."""
    return np.asarray((a[0] * b[0] / metric[0]).sum(axis=1) + (a[1] * b[1] / metric[1]).sum(axis=(1, 2)))


def windowed_decrease(history: Array, windows: int = 10) -> tuple[Array, Array]:
    """How much the mean loss still fell between the last two of some windows, with its standard error.

    Parameters
    ----------
    history : ndarray (R, steps)
        Losses in nats.
    windows : int
        Windows that the history is cut into.

    Returns
    -------
    decrease, error : ndarray (R,)
        In nats; positive while the loss falls.
    """
    size = max(history.shape[1] // windows, 2)
    before, last = history[:, -2 * size : -size], history[:, -size:]
    if before.shape[1] < 2:
        return np.full(len(history), np.nan), np.full(len(history), np.nan)
    variance = before.var(axis=1, ddof=1) / before.shape[1] + last.var(axis=1, ddof=1) / last.shape[1]
    return before.mean(axis=1) - last.mean(axis=1), np.sqrt(variance)
