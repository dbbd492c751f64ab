"""Means, sds and linear response on the natural scale of parameters, which is where posteriors are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.shapes import MeanField
from models.targets import Posterior, Target

__all__ = ["moments", "response_sds"]

Array = NDArray[np.float64]
_SIDE = 1e-4  # of difference quotients, in sds
_POWER = 10  # of the nodes that the Hessian is taken on


def moments(target: Posterior, normal: Target, nodes: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Means and sds (p,) of parameters under a Normal of unconstrained space.

    Parameters
    ----------
    target : Posterior
    normal : Target
        A single Normal.
    nodes : ndarray (n, d)
        Of a standard Normal.
    names : sequence of str
        Of parameters, as Stan writes them, by variable and within it in order.
    """
    location, factor = normal.scales[0]
    values = parameters(target, location + nodes @ factor.T, names)
    return values.mean(axis=0), values.std(axis=0)


def parameters(target: Posterior, points: Array, names: Sequence[str]) -> Array:
    """Parameters (n, p) at points (n, d) of unconstrained space."""
    values = target.natural(points)
    variables = dict.fromkeys(name.partition("[")[0] for name in names)
    return np.concatenate([values[name].reshape(len(points), -1) for name in variables], axis=1)


def response_sds(target: Posterior, normal: Target, names: Sequence[str], seed: int = 0) -> Array:
    """Standard deviations (p,) of parameters by linear response at an optimum of mean field.

    Tilting log p by t g(x) moves E_q[g] by t G H^-1 G', with H the Hessian of the loss by all parameters of q, and G the derivative of E_q[g]:
    an estimate of the variance of g (Giordano, Broderick and Jordan, 2018, section 3). To carry the covariance of linear response from
    unconstrained space over to a scale by a Normal there would widen it twice, since its tail is then that of a log-Normal.

    Parameters
    ----------
    target : Posterior
    normal : Target
        The optimum, in unconstrained space.
    names : sequence of str
    seed : int

    Returns
    -------
    ndarray (p,)
        nan where the Hessian is not positive definite.
    """
    location, factor = normal.scales[0]
    shape = MeanField(target.dim)
    nodes = fixed_nodes(target.dim, power=_POWER, seed=seed)[0]
    loss = FixedLoss(target.log_density, shape, nodes)
    theta = descend(loss, shape.at(location, np.diag(factor)))  # the optimum on these very nodes
    inverse = rest(loss, theta).inverse
    if inverse is None:
        return np.full(len(names), np.nan)
    sides = _SIDE / np.sqrt(shape.fisher(theta))
    moved = [
        [parameters(target, shape.points(theta + sign * step, nodes), names).mean(axis=0) for sign in (1, -1)]
        for step in np.diag(sides)
    ]
    slopes = np.array([(up - down) / (2 * side) for (up, down), side in zip(moved, sides, strict=True)])
    return np.sqrt(np.einsum("ip,ij,jp->p", slopes, inverse, slopes))
