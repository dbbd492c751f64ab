"""Reverse KL on nodes held still: a smooth function of the parameters, descended by quasi-Newton and trust-region Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.advi.runs import in_threads
from models.advi.shapes import Shape
from models.graphs.log_density import LogDensity
from models.quadrature import sobol_nodes

__all__ = ["FixedLoss", "Rest", "descend", "fixed_nodes", "rest"]

Array = NDArray[np.float64]

_SIDE = 1e-4  # of the difference quotients of the gradient, in sds
_FAR = 1e12  # what stands for an infinite loss in a line search, relative to the loss at its start
_NEWTON_PARAMETERS = 400  # beyond which a Hessian and its factors cost more than they save
_HESSIAN_NODES = 1024
_LOOKED_AT = 8  # directions that are measured again, on all nodes
_STEP = 1e-3  # how far, in units of the Fisher information
_ESCAPED = 1e9  # sds at the start, beyond which a descent goes nowhere
_CLEAR = 0.05  # nats that may be left where it is clear which optimum lies ahead
_STEEPEST = 1e100  # entries of a Hessian
_WIDEST = 1e100  # coordinates of a node: sds as large, squared, times the steepest Hessian, are still floats
_LONG = (30.0, 300.0)  # steps, in the same units, by which a slow parabola is told
_PARABOLA = 0.02  # relative change of the curvature between them
_SLOWEST = 1e-12  # eigenvalue that is told from rounding
_FLAT, _FALLING = 1e-7, -1e-4  # eigenvalues, in units of the Fisher information: above, a minimum; below, a saddle


def fixed_nodes(dim: int, *, power: int, replicates: int = 1, seed: int = 0) -> Array:
    """Nodes (replicates, n, dim) for a standard Normal: scrambled Sobol points and their mirror images.

    Each replicate has mean zero and, where it has enough points, the identity as covariance, so that on a Normal target the nodes
    leave no error at all (moment matching; Giordano, Ingram and Broderick, 2024, hold independent draws still instead).

    Parameters
    ----------
    dim : int
    power : int
        There are 2**power nodes in each replicate, at least 2.
    replicates : int
        Independent randomisations, a power of 2.
    seed : int
    """
    points = sobol_nodes(dim, power=power - 1 + int(np.log2(replicates)), replicates=replicates, seed=seed).points
    result = []
    for half in np.split(points, replicates):
        z = np.concatenate([half, -half])
        if len(half) >= 2 * dim:
            z = np.linalg.solve(np.linalg.cholesky(z.T @ z / len(z)), z.T).T
        result.append(z)
    return np.array(result)


@dataclass(frozen=True, eq=False)
class FixedLoss:
    """-ELBO in nats, on nodes z (n, k) that are held still.

    Attributes
    ----------
    density : LogDensity
    shape : Shape
    nodes : ndarray (n, k)
    most : int, optional
        Evaluations that a Hessian may take; where it would take more, none is at hand.
    """

    density: LogDensity
    shape: Shape
    nodes: Array
    most: int | None = None

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Loss and gradient (q,); infinite, with a gradient of zeros, where the density vanishes at a node, or a node is farther than sds can be squared."""
        losses, gradients = self.by_node(theta)
        if losses is None:
            return np.inf, np.zeros_like(theta)
        return float(losses.mean()), gradients.mean(axis=0)

    def by_node(self, theta: Array) -> tuple[Array | None, Array]:
        """Losses (n,) and gradients (n, q) by node; no losses where one is not finite."""
        with np.errstate(all="ignore"):
            points = self.shape.points(theta, self.nodes)
            if not (np.abs(points) < _WIDEST).all():
                return None, np.zeros((0, len(theta)))
            values, slopes = self._evaluate(points)
        if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
            return None, np.zeros((0, len(theta)))
        return -values - self.shape.entropy(theta), self.shape.gradient(theta, self.nodes, slopes)

    def hessian(self, theta: Array) -> Array | None:
        """Hessian (q, q) of the loss; ``None`` where the shape offers none, it would take too long, or the density is not smooth enough, or so steep that squares overflow.

        On the first thousand nodes: steps with it go to where the gradient on all of them vanishes.
        """
        if len(theta) > _NEWTON_PARAMETERS:
            return None
        nodes = self.nodes[:_HESSIAN_NODES]
        if self.most is not None and len(nodes) * (1 + 2 * len(self.shape.moments(theta)[0])) > self.most:
            return None
        points = self.shape.points(theta, nodes)
        _, factor = self.shape.moments(theta)
        sides = _SIDE * np.sqrt(np.square(factor).sum(axis=1))
        d = points.shape[1]
        moves = np.concatenate([np.diag(sides), -np.diag(sides)])
        with np.errstate(all="ignore"):
            slopes = self._evaluate(points)[1]
            moved = self._evaluate((points[None] + moves[:, None]).reshape(-1, d))[1].reshape(2, d, -1, d)
            curvatures = ((moved[0] - moved[1]) / (2 * sides[:, None, None])).transpose(1, 0, 2)
            result = self.shape.hessian(theta, nodes, slopes, (curvatures + curvatures.transpose(0, 2, 1)) / 2)
        return result if result is not None and np.abs(result).max() < _STEEPEST else None

    def _evaluate(self, points: Array) -> tuple[Array, Array]:
        parts = in_threads(lambda rows: self.density(points[rows]), len(points), 2000)
        return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])


class _Stopped(Exception):  # noqa: N818  # no error: the clock, or a caller, has had enough
    pass


def descend(
    loss: FixedLoss,
    theta: Array,
    *,
    fine: bool = True,
    near: bool = False,
    iterations: int = 300,
    stop: Callable[[], bool] = lambda: False,
) -> Array:
    """Go down from theta (q,): L-BFGS, then trust-region Newton steps where the Hessian is at hand.

    Parameters
    ----------
    loss : FixedLoss
    theta : ndarray (q,)
        Where the loss is finite.
    fine : bool
        Go all the way; otherwise only to where it is clear which optimum lies ahead.
    near : bool
        An optimum of other nodes: Newton steps at once, where the Hessian is at hand.
    iterations : int
        Of L-BFGS.
    stop : callable
        Asked before each evaluation; when it says yes, what has been reached is returned.

    Returns
    -------
    ndarray (q,)
        The lowest point met.
    """
    from scipy.optimize import minimize

    way = _Descent(loss, theta, stop)
    tolerance = 1e-12 if fine else 1e-4 / max(1.0, abs(way.lowest))
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20, "ftol": tolerance, "gtol": 1e-7}
    try:
        with np.errstate(all="ignore"):
            if not near or loss.hessian(theta) is None:
                minimize(way, np.zeros_like(theta), jac=True, method="L-BFGS-B", options=options)
            if (fine or way.remaining() > _CLEAR) and loss.hessian(way.best) is not None:
                way.restart()
                options = {
                    "gtol": 1e-4 if fine else 1e-2,
                    "maxiter": 30,
                    "initial_trust_radius": 0.5,
                    "max_trust_radius": 10.0,
                }
                minimize(way, np.zeros_like(theta), jac=True, hess=way.hessian, method="trust-exact", options=options)
    except (_Stopped, np.linalg.LinAlgError):
        pass
    return way.best


class _Descent:
    """The loss in units of the Fisher information where a descent starts, and the lowest point met."""

    def __init__(self, loss: FixedLoss, theta: Array, stop: Callable[[], bool]) -> None:
        self.loss, self.best, self._stop = loss, theta, stop
        self.lowest, self._gradient = loss(theta)
        self._ceiling = abs(self.lowest) * _FAR + _FAR
        self.restart()

    def restart(self) -> None:
        """Measure from the lowest point met, in its own units."""
        self._start, self._units = self.best, 1 / np.sqrt(self.loss.shape.fisher(self.best))

    def remaining(self) -> float:
        """Nats that the gradient at the lowest point says are left, were the posterior Normal."""
        return 0.5 * float(np.square(self._gradient / np.sqrt(self.loss.shape.fisher(self.best))).sum())

    def __call__(self, u: Array) -> tuple[float, Array]:
        if self._stop() or np.abs(u).max() > _ESCAPED:
            raise _Stopped
        value, gradient = self.loss(self._start + self._units * u)
        if value < self.lowest:
            self.best, self.lowest, self._gradient = self._start + self._units * u, value, gradient
        return min(value, self._ceiling), self._units * gradient

    def hessian(self, u: Array) -> Array:
        """Hessian in these units; the identity where the density is not smooth."""
        if self._stop():
            raise _Stopped
        found = self.loss.hessian(self._start + self._units * u)
        return np.eye(len(u)) if found is None else self._units[:, None] * found * self._units


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left to gain at theta on its nodes, and how the loss curves there.

    Attributes
    ----------
    gap : float
        Nats down to the lowest point of the local quadratic, and along directions in which it falls up to its highest: to where the
        gradient vanishes. ``inf`` where the loss is not finite.
    eigenvalues : ndarray
        Of the Hessian in units of the Fisher information, ascending: 1 near a Normal posterior. Empty where no Hessian is at hand.
    direction : ndarray (q,)
        The flattest direction, in these units.
    inverse : ndarray (q, q), optional
        Inverse Hessian, where it is positive definite.
    """

    gap: float
    eigenvalues: Array
    direction: Array
    inverse: Array | None
    level: float = _FLAT  # eigenvalues below are not told from zero

    @property
    def kind(self) -> str:
        """``minimum``, ``saddle``, ``flat direction``, or ``unknown`` without a Hessian."""
        if not len(self.eigenvalues):
            return "unknown"
        lowest = self.eigenvalues[0]
        return "minimum" if lowest > self.level else "saddle" if lowest < _FALLING else "flat direction"


def rest(loss: FixedLoss, theta: Array) -> Rest:
    """Judge a point at which a descent ended; see `Rest`."""
    value, gradient = loss(theta)
    units = 1 / np.sqrt(loss.shape.fisher(theta))
    found = loss.hessian(theta) if np.isfinite(value) else None
    if found is None:
        # Without a Hessian the Fisher information stands for it: the gap of a Normal posterior.
        with np.errstate(over="ignore"):
            gap = 0.5 * float(np.square(units * gradient).sum()) if np.isfinite(value) else np.inf
        return Rest(gap, np.empty(0), np.zeros_like(theta), None)
    eigenvalues, vectors = np.linalg.eigh(units[:, None] * found * units)
    eigenvalues, vectors = _on_all_nodes(loss, theta, units, eigenvalues, vectors)
    eigenvalues, level = _on_long_steps(loss, theta, units, eigenvalues, vectors)
    along = vectors.T @ (units * gradient)
    firm = (eigenvalues > level) | (eigenvalues < _FALLING)
    gap = 0.5 * float((along[firm] ** 2 / np.abs(eigenvalues[firm])).sum())
    if not firm.all():
        gap += float(np.square(along[~firm]).sum()) / _FLAT
    inverse = None
    if eigenvalues[0] > level:
        scaled = units[:, None] * vectors
        inverse = (scaled / eigenvalues) @ scaled.T
    return Rest(gap, eigenvalues, vectors[:, 0], inverse, level)


def _on_long_steps(
    loss: FixedLoss, theta: Array, units: Array, eigenvalues: Array, vectors: Array
) -> tuple[Array, float]:
    """Eigenvalues too small to be told from zero by short steps, by long ones, and the level down to which they then are.

    As of the difference of two coefficients of which the data know the sum, under a prior a thousand times as wide: the loss is a parabola there,
    however slow, if the slope changes as much for each step on a step ten times as long.
    """
    low = int((eigenvalues <= _FLAT).sum())
    if not 0 < low <= _LOOKED_AT or eigenvalues[0] < _FALLING:
        return eigenvalues, _FLAT
    slow = []
    for way in (units[:, None] * vectors[:, :low]).T:
        with np.errstate(all="ignore"):
            one, other = ((loss(theta + h * way)[1] - loss(theta - h * way)[1]) @ way / (2 * h) for h in _LONG)
        if not (one > _SLOWEST and abs(other / one - 1) < _PARABOLA):
            return eigenvalues, _FLAT
        slow.append(other)
    order = np.argsort(slow)
    vectors[:, :low] = vectors[:, order]
    return np.concatenate([np.array(slow)[order], eigenvalues[low:]]), _SLOWEST


def _on_all_nodes(
    loss: FixedLoss, theta: Array, units: Array, eigenvalues: Array, vectors: Array
) -> tuple[Array, Array]:
    """Measure again, by gradients on all nodes, in the span of the lowest directions, if the nodes of the Hessian say that some do not rise.

    A thousand nodes leave a curvature in fifty dimensions open by a few hundredths, and near a fork it is smaller than that; nor do they
    have a flat direction quite where it is, and a little aside of it the loss curves.
    """
    low = int((eigenvalues <= _FLAT).sum())
    if not 0 < low <= _LOOKED_AT or len(loss.nodes) <= _HESSIAN_NODES:
        return eigenvalues, vectors
    ways = units[:, None] * vectors[:, :_LOOKED_AT]
    with np.errstate(all="ignore"):
        changes = [loss(theta + _STEP * way)[1] - loss(theta - _STEP * way)[1] for way in ways.T]
        measured = np.array(changes) @ ways / (2 * _STEP)
    if not np.isfinite(measured).all():
        return eigenvalues, vectors
    found, turn = np.linalg.eigh((measured + measured.T) / 2)
    eigenvalues = np.concatenate([found, eigenvalues[_LOOKED_AT:]])
    vectors = np.hstack([vectors[:, :_LOOKED_AT] @ turn, vectors[:, _LOOKED_AT:]])
    order = np.argsort(eigenvalues)
    return eigenvalues[order], vectors[:, order]
