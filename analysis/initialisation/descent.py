"""Exact descent of reverse KL onto the Normal over (mean, log sd): flows, their minima, and the boundaries between basins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from analysis.judged import NONE
from models.families import FAMILIES
from models.graphs import single_threaded
from models.projections import Projection
from models.projections.objectives import Objective, reverse_objective
from models.quadrature import gaussian_nodes
from models.targets import Target

Array = NDArray[np.float64]
#: The starts: means in units of x, and natural logarithms of standard deviations.
MEANS, LOG_SDS = (-6.0, 6.0), (-2.5, 2.0)

_NODES = 257
_MAX_STEPS = 300
_STEP_TOLERANCE = 2e-3
_SPACING = 0.04  # between points of a boundary


@dataclass(frozen=True)
class Metric:
    """A diagonal metric on (mean, log sd): descent moves along -a(log sd) dF/dmean, -b(log sd) dF/dlog sd.

    Attributes
    ----------
    title : str
    rates : callable (n,) -> (n, 2), (n, 2)
        (a, b) at each log sd, and their derivatives.
    """

    title: str
    rates: Callable[[Array], tuple[Array, Array]]


def _plain_rates(log_sd: Array) -> tuple[Array, Array]:
    return np.ones((len(log_sd), 2)), np.zeros((len(log_sd), 2))


def _softplus_rates(log_sd: Array) -> tuple[Array, Array]:
    """Plain descent in (mean, rho) with sd = softplus(rho), seen in (mean, log sd): b = (dlog sd / drho)^2."""
    sd = np.exp(log_sd)
    slope = -np.expm1(-sd) / sd
    slope_derivative = np.exp(-sd) - slope
    one, zero = np.ones_like(sd), np.zeros_like(sd)
    return np.stack([one, slope**2], axis=1), np.stack([zero, 2 * slope * slope_derivative], axis=1)


METRICS = {
    "plain": Metric("exact, (mean, log sd)", _plain_rates),
    "softplus": Metric("exact, ADVI's coordinates", _softplus_rates),
}


@dataclass(frozen=True, eq=False)
class Trap:
    """Neighbourhoods of minima that descent cannot leave.

    Within `radius` of minimum k the Hessian is positive definite, and on the rim the objective is at least `level`. So the
    points inside below that level form a set that descent, in whatever metric, does not leave, with one stationary point.

    Attributes
    ----------
    thetas : ndarray (K, 2)
    radii, levels : ndarray (K,)
        In the coordinates of theta; in nats.
    """

    thetas: Array
    radii: Array
    levels: Array

    def caught(self, theta: Array, value: Array) -> NDArray[np.int_]:
        """Index of the minimum whose trap holds each theta (n, 2) with value (n,); -1 where none does."""
        distance = np.linalg.norm(theta[:, None] - self.thetas, axis=2)
        inside = (distance < self.radii) & (value[:, None] < self.levels)
        return np.where(inside.any(axis=1), inside.argmax(axis=1), NONE)


def exact_objective(target: Target) -> Objective:
    """Reverse KL onto the Normal as a function of theta = (mean, log sd), on a quadrature rule."""
    return reverse_objective(FAMILIES["normal"], target, gaussian_nodes(1, size=_NODES))


def traps(objective: Objective, exact: Sequence[Projection]) -> Trap:
    """Find for each minimum the largest of some radii within which the Hessian is positive definite."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii, levels = [], []
    for point in exact:
        for radius in (0.5, 0.35, 0.25, 0.15, 0.1, 0.05):
            rings = np.concatenate([point.theta + share * radius * circle for share in (1.0, 0.75, 0.5, 0.25)])
            value, _, hessian = objective.hessian(rings)
            if np.linalg.eigvalsh(hessian).min() > 0:
                break
        radii.append(radius)
        levels.append(value[: len(circle)].min())
    return Trap(np.array([p.theta for p in exact]), np.array(radii), np.array(levels))


@single_threaded
def descend(objective: Objective, metric: Metric, starts: Array, trap: Trap) -> tuple[NDArray[np.int_], Array]:
    """Follow the gradient flow from many starts at once until each is trapped by a minimum.

    The flow dtheta/dt = -M(theta) dF/dtheta is integrated by a linearly implicit pair of orders 2 and 3 (Shampine and
    Reichelt, 1997, ode23s) with exact Hessians, each start with its own step size. Such steps suit narrow valleys, and where
    the flow comes to rest they lengthen into Newton's. A step that raises F is refused.

    Parameters
    ----------
    objective : Objective
        Over theta = (mean, log sd).
    metric : Metric
    starts : ndarray (n, 2)
    trap : Trap

    Returns
    -------
    minimum : ndarray of int (n,)
        Index of the minimum; -1 if none was reached.
    ends : ndarray (n, 2)
        Where the integration stopped.
    """
    d, e32 = 1 / (2 + np.sqrt(2)), 6 + np.sqrt(2)
    theta = np.array(starts, dtype=float)
    minimum = np.full(len(theta), NONE)
    if not len(theta):
        return minimum, theta
    value, velocity, jacobian = field_of(objective, metric, theta)
    step = 0.1 / (1 + np.linalg.norm(velocity, axis=1))
    for _ in range(_MAX_STEPS):
        minimum = np.where(minimum == NONE, trap.caught(theta, value), minimum)
        rows = np.flatnonzero((minimum == NONE) & (step > 1e-12))
        if not len(rows):
            break
        y, h, f0 = theta[rows], step[rows, None], velocity[rows]
        solve = partial(_solve, np.eye(2) - d * h[:, :, None] * jacobian[rows])
        k1 = solve(f0)
        f1 = velocity_of(objective, metric, y + 0.5 * h * k1)
        k2 = solve(f1 - k1) + k1
        new = y + h * k2
        new_value, f2, new_jacobian = field_of(objective, metric, new)
        k3 = solve(f2 - e32 * (k2 - f1) - 2 * (k1 - f0))
        error = np.abs(h / 6 * (k1 - 2 * k2 + k3)).max(axis=1) / _STEP_TOLERANCE
        finite = np.isfinite(error) & np.isfinite(new_value) & np.isfinite(new_jacobian).all(axis=(1, 2))
        good = finite & (error <= 1) & (new_value <= value[rows] + 1e-12)
        kept = rows[good]
        theta[kept], value[kept] = new[good], new_value[good]
        velocity[kept], jacobian[kept] = f2[good], new_jacobian[good]
        growth = 0.8 * np.where(finite, np.maximum(error, 1e-6), np.inf) ** (-1 / 3)
        step[rows] *= np.clip(np.where(good, growth, np.minimum(growth, 0.5)), 0.2, 4.0)
    return minimum, theta


def _solve(matrices: Array, right: Array) -> Array:
    (a, b), (c, d) = matrices.transpose(1, 2, 0)
    x, y = right.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular step is refused as not finite
        return np.stack([d * x - b * y, a * y - c * x], axis=1) / (a * d - b * c)[:, None]


def velocity_of(objective: Objective, metric: Metric, theta: Array) -> Array:
    """Velocity (n, 2) of descent."""
    return -metric.rates(theta[:, 1])[0] * objective.gradient(theta)[1]


def field_of(objective: Objective, metric: Metric, theta: Array) -> tuple[Array, Array, Array]:
    """Value (n,), velocity of descent (n, 2) and its Jacobian (n, 2, 2)."""
    value, gradient, hessian = objective.hessian(theta)
    rates, slopes = metric.rates(theta[:, 1])
    jacobian = -rates[:, :, None] * hessian
    jacobian[:, :, 1] -= slopes * gradient
    return value, -rates * gradient, jacobian


def boundary(objective: Objective, saddle: Projection, metric: Metric) -> Array:
    """The curve (n, 2) in (mean, log sd) from which descent leads to a saddle: the boundary between two basins.

    It is followed uphill from the saddle, both ways, until it leaves the box of starts.
    """
    _, _, hessian = objective.hessian(saddle.theta[None])
    rates = metric.rates(saddle.theta[1:])[0][0]
    # M H has the eigenvalues of the symmetric M^1/2 H M^1/2.
    root = np.sqrt(rates)
    direction = root * np.linalg.eigh(root[:, None] * hessian[0] * root)[1][:, 1]

    def uphill(_: float, theta: Array) -> Array:
        velocity = -velocity_of(objective, metric, theta[None])[0]
        return np.asarray(velocity / np.linalg.norm(velocity))

    def outside(_: float, theta: Array) -> float:
        box = np.array([MEANS, LOG_SDS])
        return float(np.max([box[:, 0] - theta, theta - box[:, 1]]))

    outside.terminal = True  # type: ignore[attr-defined]
    halves = []
    for sign in (-1, 1):
        begin = saddle.theta + sign * 1e-4 * direction
        path = solve_ivp(uphill, (0, 40), begin, rtol=1e-6, atol=1e-8, events=outside, dense_output=True)
        halves.append(path.sol(np.linspace(0, path.t[-1], int(path.t[-1] / _SPACING) + 2)).T)
    return np.concatenate([halves[0][::-1], saddle.theta[None], halves[1]])


def cells(low: float, high: float, count: int) -> Array:
    """Centres of `count` equal cells that fill an interval."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


def pairs(means: Array, log_sds: Array) -> Array:
    """All pairs (n, 2) of a mean and a log sd."""
    return np.stack(np.meshgrid(means, log_sds, indexing="ij"), axis=-1).reshape(-1, 2)


def on_edge(labels: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Cells of which one of the eight neighbours has another label."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(labels, 1, mode="edge"), (3, 3))
    return np.asarray(windows.min(axis=(2, 3)) != windows.max(axis=(2, 3)))
