"""From coarse nodes to as many as an optimum needs: where it is, what its nodes leave open, and its linear response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.advi.fixed import FixedLoss, Rest, descend, fixed_nodes, rest
from models.advi.shapes import Shape
from models.graphs.log_density import LogDensity

__all__ = ["NOT_FINITE", "Optimum", "refine"]

Array = NDArray[np.float64]

NOT_FINITE = "log density not finite at a node"  # what is said of an optimum
_REPLICATES = 8
_CHORDS = 8  # steps with one Hessian, of which each leaves a fraction of the gap
_NEAR = 0.02  # sds, within which a Hessian is the same
_AT_REST = 1e-4  # nats left on the nodes themselves


@dataclass(frozen=True, eq=False)
class Optimum:
    """A stationary point of the loss, on nodes enough for it.

    Attributes
    ----------
    shape : Shape
    theta : ndarray (q,)
    rest : Rest
        On its own nodes.
    node_gap : float
        Nats by which the loss there may lie above the exact optimum, for the nodes being finitely many.
    node_shift : float
        Standard error of the means, in sds, and of log sds, for the same reason; the largest.
    nodes : int
    moves : ndarray (r, 2, d), optional
        How the means, and the log sds, would move with the nodes, by each of their replicates: the root of the sum of their squares is the standard error that
        the nodes leave (the sandwich of Giordano, Ingram and Broderick, 2024, section 4).
    response : ndarray (d, d), optional
        Covariance by linear response (Giordano, Broderick and Jordan, 2018): the mean block of the inverse Hessian.
    """

    shape: Shape
    theta: Array
    rest: Rest
    node_gap: float
    node_shift: float
    nodes: int
    response: Array | None
    moves: Array | None = None

    @property
    def mean(self) -> Array:
        """Mean (d,)."""
        return self.shape.moments(self.theta)[0]

    @property
    def factor(self) -> Array:
        """Cholesky factor (d, d) of the covariance."""
        return self.shape.moments(self.theta)[1]

    @property
    def sd(self) -> Array:
        """Standard deviations (d,)."""
        return np.sqrt(np.square(self.factor).sum(axis=1))

    @property
    def converged(self) -> bool:
        """Whether it is at rest: a finite loss, nothing left to gain on its nodes, and its Hessian (where there is one) positive."""
        return self.verdict.startswith("at rest")

    @property
    def verdict(self) -> str:
        """What the evidence says."""
        flat = self.rest.kind == "flat direction" and self.rest.gap <= _AT_REST  # as wide as nodes let it be
        if not np.isfinite(self.node_gap) and not flat:
            return NOT_FINITE
        if self.rest.gap > _AT_REST:
            return "still moving"
        return {"minimum": "at rest", "unknown": "at rest, Hessian not looked at"}.get(self.rest.kind, self.rest.kind)


def refine(
    density: LogDensity,
    shape: Shape,
    theta: Array,
    *,
    nats: float,
    relative: float,
    powers: tuple[int, int],
    seed: int,
    stop: Callable[[], bool],
    most: int | None = None,
) -> Optimum:
    """Follow an optimum to finer nodes until what they leave open is within tolerance.

    Parameters
    ----------
    density : LogDensity
    shape : Shape
    theta : ndarray (q,)
        At an optimum on coarser nodes.
    nats, relative : float
        Tolerances of `Optimum.node_gap` and `Optimum.node_shift`.
    powers : (int, int)
        Logarithms to base 2 of the nodes in all, first and last; each step takes four times as many.
    seed : int
    stop : callable
        Asked now and then; when it says yes, the optimum is returned as it stands.
    most : int, optional
        Evaluations that a Hessian may take.
    """
    found = None
    for power in range(powers[0], powers[1] + 1, 2):
        replicates = fixed_nodes(shape.noise, power=power - 3, replicates=_REPLICATES, seed=seed + power)
        loss = FixedLoss(density, shape, replicates.reshape(-1, shape.noise), most)
        if not np.isfinite(loss(theta)[0]):
            break
        theta, here = _settle(loss, theta, stop)
        found = _judged(loss, theta, here)
        if (found.node_gap <= nats and found.node_shift <= relative) or stop():
            break
    if found is None:
        loss = FixedLoss(density, shape, fixed_nodes(shape.noise, power=5, seed=seed)[0], most)
        return Optimum(shape, theta, rest(loss, theta), np.inf, np.inf, len(loss.nodes), None)
    return found


def _settle(loss: FixedLoss, theta: Array, stop: Callable[[], bool]) -> tuple[Array, Rest]:
    """Chord steps with one Hessian from an optimum on coarser nodes; a whole descent where they do not end at rest."""
    here = rest(loss, theta)
    if here.inverse is not None:
        at, (value, gradient) = theta, loss(theta)
        for _ in range(_CHORDS):
            step = here.inverse @ gradient
            if gradient @ step < 1e-10:
                break
            ahead = loss(at - step)
            if stop() or ahead[0] > value:
                break
            at, (value, gradient) = at - step, ahead
        gap = 0.5 * float(gradient @ here.inverse @ gradient)
        if gap < _AT_REST / 10:
            moved = np.abs(at - theta) * np.sqrt(loss.shape.fisher(theta))
            return at, replace(here, gap=gap) if moved.max() < _NEAR else rest(loss, at)
        theta = at
    theta = descend(loss, theta, near=True, stop=stop)
    return theta, rest(loss, theta)


def _judged(loss: FixedLoss, theta: Array, here: Rest) -> Optimum:
    """Evidence at an optimum of all nodes, and its sampling error from the gradients of the replicates."""
    shape = loss.shape
    values, gradients = loss.by_node(theta)
    fisher = shape.fisher(theta)
    inverse = here.inverse if here.inverse is not None else np.diag(1 / fisher)
    gap = shift = np.inf
    moved = None
    if values is not None:
        by_replicate = gradients.reshape(_REPLICATES, -1, len(theta)).mean(axis=1)
        noise = (by_replicate - by_replicate.mean(axis=0)) / np.sqrt(_REPLICATES * (_REPLICATES - 1))
        with np.errstate(all="ignore"):  # where a run was stuck among gradients of 1e200
            moves = (noise @ inverse) * _unresolved(shape, theta, here.inverse)
            gap = 0.5 * float((moves * noise).sum())
            shift = float(np.sqrt(np.square(moves * np.sqrt(fisher)).sum(axis=0)).max())
            moved = _moved(shape, theta, moves)
    response = None
    if here.inverse is not None:
        d = shape.moments(theta)[0].shape[0]
        factor = getattr(shape, "factor", np.eye(d))
        response = factor @ here.inverse[:d, :d] @ factor.T
    return Optimum(shape, theta, here, gap, shift, len(loss.nodes), response, moved)


def _unresolved(shape: Shape, theta: Array, inverse: Array | None) -> Array:
    """How many times too steep (q,) the loss is on its nodes in each coordinate; 1 where it is as steep as it must be.

    At an optimum the mean curvature of -log p along a coordinate is one over the variance there (Stein's identity, as Opper and Archambeau, 2009, use it). Of a
    spike that is narrower than its nodes are apart the Hessian has the curvature of a node, or of none, and a step by it is no error.
    """
    result = np.ones(len(theta))
    if inverse is not None:
        d = len(shape.moments(theta)[0])
        steep = np.diag(np.linalg.inv(inverse))[:d] / shape.fisher(theta)[:d]
        result[:d] = np.maximum(steep, 1.0)
        if len(theta) == 2 * d:  # mean field: the sd of each coordinate with its mean
            result[d:] = result[:d]
    return result


def _moved(shape: Shape, theta: Array, moves: Array) -> Array:
    """Moves (r, q) of the parameters as those of means and log sds (r, 2, d)."""

    def of(at: Array) -> Array:
        mean, factor = shape.moments(at)
        return np.array([mean, 0.5 * np.log(np.square(factor).sum(axis=1))])

    here = of(theta)
    return np.array([of(theta + move) - here for move in moves])
