"""Where a density ends in the open, so that reverse KL is infinite for every Normal, though no node of it fell beyond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.advi.effort import evaluations_within
from models.graphs.log_density import LogDensity
from models.targets import Posterior, Target

__all__ = ["edge", "edge_between"]

Array = NDArray[np.float64]

_REACH = (4.0, 8.0)  # sds of a Normal, beyond the last of which it has 1e-15 of its mass
_DIRECTIONS = 64  # beside the axes, either way
_FOLLOWED = 16  # ways out that are bisected
_HALVINGS = 60
_BESIDE = np.geomspace(1e-6, 1e-2, 8)  # of the way out, on either side of an edge
_FALL = 30.0  # nats, before floats end: a probability of one less than the last digit costs 36
_ABRUPT = 1e6  # times as steep, over the length of the way, as all that the log density fell: it has a pole there
_LEFT = 1e100  # nats, by which no log density falls before it ends, but one that is about to overflow does
_STILL = 1e-14  # relative change of a value, below which a step of 1 changes nothing


def edge(target: Target, mean: Array, factor: Array, *, seconds: float) -> tuple[Array, float] | None:
    """A point (d,) beyond an edge of the density, and how many sds of a Normal (mean, Cholesky factor) from its mean that is; ``None`` if none was met.

    Along the axes of the Normal and some other directions, as far as it has mass that a float can tell from none. No node and no draw need be beyond: at 4.5 sds lie 3.5 in
    a million, of which the ELBO is minus infinity all the same.

    Parameters
    ----------
    target : Target
    mean : ndarray (d,)
    factor : ndarray (d, d)
    seconds : float
        That evaluations may take; directions are left out if need be.
    """
    density, dim = target.log_density, len(mean)
    allowed = evaluations_within(density, mean, seconds)
    aside = np.random.default_rng(17).standard_normal((_DIRECTIONS if dim > 1 else 0, dim))
    ways = np.concatenate([np.eye(dim), aside / np.linalg.norm(aside, axis=1, keepdims=True)])
    ways = np.concatenate([ways, -ways]) @ factor.T
    most = allowed // (2 * len(_REACH))
    ways = ways[np.linspace(0, len(ways) - 1, min(len(ways), most)).astype(int)]
    with np.errstate(all="ignore"):
        if not len(ways) or not np.isfinite(density(mean[None])[0][0]):
            return None
        there = np.isfinite([density(mean + reach * ways)[0] for reach in _REACH])
    out = np.flatnonzero(~there.all(axis=0))
    for i in out[: min(_FOLLOWED, allowed // (4 * _HALVINGS))]:
        reach = next(r for r, finite in zip(_REACH, there[:, i], strict=True) if not finite)
        found = edge_between(density, mean, mean + reach * ways[i])
        if found is not None and not _saturated(target, mean + found * reach * ways[i], ways[i]):
            # A little beyond, where what vanishes can be named.
            return mean + (found + _BESIDE[0]) * reach * ways[i], found * reach
    return None


def edge_between(density: LogDensity, inside: Array, outside: Array) -> float | None:
    """How far from a point (d,) to another, at which it is not finite, a density ends, if it does; ``None`` where floats may be what ends.

    A density ends where all is finite on one side and nothing on the other, at once from a height that floats hold or at a pole of its log. One that is only computed
    so far, as a covariance that is singular to rounding, a probability that rounds to one, or what grows too small for a float, is not known to end.
    """

    def at(shares: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            return density(inside + np.reshape(shares, (-1, 1)) * (outside - inside))

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.isfinite(at(np.array([middle]))[0][0]):
            low = middle
        else:
            high = middle
    sharp = np.isfinite(at(low - _BESIDE * low)[0]).all() and not np.isfinite(at(high + _BESIDE)[0]).any()
    values, slopes = at(np.array([0.0, low]))
    fall, steep = values[0] - values[1], abs(float(slopes[1] @ ((outside - inside) / _ABRUPT)))
    return high if sharp and (fall < _FALL or fall < min(steep, _LEFT)) else None


def _saturated(target: Target, point: Array, way: Array) -> bool:
    """Whether some transformed variable no longer changes on the natural scale, so that double precision ends there and not the density."""
    if not isinstance(target, Posterior):
        return False
    moves = way != 0
    with np.errstate(all="ignore"):
        values = target.natural(np.array([point, point + way / np.abs(way).max()]))
        for variable, (where, _) in zip(target.source.free_RVs, target.blocks(), strict=True):
            if target.source.rvs_to_transforms.get(variable) is None or not moves[where].any():
                continue
            x, y = (np.ravel(row) for row in values[variable.name])
            still = ~(np.abs(y - x) > _STILL * np.abs(x))
            # Entry by entry where each has an unknown of its own; those of a simplex, say, hang together.
            if (still & moves[where]).any() if len(x) == where.stop - where.start else still.all():
                return True
    return False
