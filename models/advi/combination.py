"""Local fits put together: the mixture of several Normals whose weights minimise reverse KL.

Each run of ADVI finds one optimum. Where they do not overlap, KL(sum_k w_k q_k || p) = sum_k w_k (log w_k - ELBO_k), which is
lowest for w = softmax(ELBO); in general it is a convex function of w, whose minimum is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax

from models.errors import InputError
from models.graphs import Deferred, compiled, single_threaded
from models.quadrature import Estimate, sobol_nodes
from models.targets import Target, mvnormal_mixture, normal_mixture

__all__ = ["Combination", "combine"]

pytensor = Deferred("pytensor")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Combination:
    """The best mixture of given Normals.

    Attributes
    ----------
    mixture : Target
        With density and draws.
    weights : ndarray (k,)
    separated : ndarray (k,)
        Softmax of the ELBOs: the weights if the members did not overlap.
    divergence : Estimate
        KL(mixture||p) in nats with its standard error; for an unnormalised p minus the ELBO of the mixture.
    """

    mixture: Target
    weights: Array
    separated: Array
    divergence: Estimate


@single_threaded
def combine(target: Target, members: Sequence[Target], *, seed: int = 0, power: int = 14) -> Combination:
    """Mix Normal approximations with the weights that minimise reverse KL.

    Parameters
    ----------
    target : Target
        p, with a density (normalised or not), of dimension d.
    members : sequence of Target
        k Normals of dimension d, such as the distinct optima of ADVI.
    seed : int
        Of the scrambled Sobol nodes.
    power : int
        Logarithm to base 2 of the number of nodes of each member, which are 8 randomisations.

    Returns
    -------
    Combination

    Raises
    ------
    InputError
        If there are no members, one is no single Normal, or dimensions differ.

    Notes
    -----
    Weights are found on one set of nodes and the divergence is estimated on fresh ones. For mixtures as variational families:
    Jaakkola and Jordan (1998); Morningstar et al. (2021) call this the stratified ELBO.

    Examples
    --------
    >>> p = normal_mixture([0.3, 0.7], [-4, 4], [1, 1])
    >>> found = combine(p, [normal_mixture([1], [-4], [1]), normal_mixture([1], [4], [1])])
    >>> found.weights.round(3).tolist(), abs(found.divergence.value) < 1e-3
    ([0.3, 0.7], True)
    """
    if not members:
        raise InputError("there are no members to combine; give at least one")
    for member in members:
        if len(member.scales) != 1 or member.dim != target.dim:
            raise InputError(f"member {member.name!r} is not a single Normal of dimension {target.dim}")
    log_q, log_p = _tables(target, members, seed, power)
    elbo = np.array([(log_p[k] - log_q[k, :, k]).mean() for k in range(len(members))])
    weights = _lowest(log_q, log_p, elbo)
    fresh_q, fresh_p = _tables(target, members, seed + 1, power)
    return Combination(_mixture(members, weights), weights, softmax(elbo), _divergence(weights, fresh_q, fresh_p))


def _lowest(log_q: Array, log_p: Array, elbo: Array) -> Array:
    """Weights (k,) that minimise the divergence over tables of log densities.

    It is convex in the weights. In their logits a member that should have none is left with a little, since the slope vanishes with the
    weight: so the lightest members are dropped as long as that lowers the divergence.
    """
    objective = _objective()

    def value_and_gradient(theta: Array, kept: Array) -> tuple[float, Array]:
        logits = np.full(len(elbo), -np.inf)
        logits[kept] = theta
        value, gradient = objective(np.maximum(logits, -700.0), log_q, log_p)
        return float(value), np.asarray(gradient)[kept]

    from scipy.optimize import minimize

    start = np.maximum(log_softmax(elbo) - log_softmax(elbo).max(), -30.0)
    kept, best = np.ones(len(elbo), dtype=bool), None
    while True:
        found = minimize(value_and_gradient, start[kept], args=(kept,), jac=True, method="L-BFGS-B",
                         bounds=[(-40, 40)] * kept.sum())  # fmt: skip
        if best is not None and found.fun >= best[0]:
            return np.asarray(best[1])
        weights = np.zeros(len(elbo))
        weights[kept] = softmax(found.x)
        best = float(found.fun), weights
        if kept.sum() == 1:
            return weights
        kept = kept & (np.arange(len(elbo)) != np.argmin(np.where(kept, weights, np.inf)))


_REPLICATES = 8


def _tables(target: Target, members: Sequence[Target], seed: int, power: int) -> tuple[Array, Array]:
    """Log densities of all members (k, N, k) and of the target (k, N) at nodes of each member."""
    z = sobol_nodes(target.dim, power=power, replicates=_REPLICATES, seed=seed).points
    places = [location + z @ factor.T for location, factor in (m.scales[0] for m in members)]
    log_q = np.array([np.stack([m.logp(x) for m in members], axis=1) for x in places])
    return log_q, np.array([target.logp(x) for x in places])


def _divergence(weights: Array, log_q: Array, log_p: Array) -> Estimate:
    terms = logsumexp(log_q, axis=2, b=weights) - log_p
    parts = weights @ terms.reshape(len(weights), _REPLICATES, -1).mean(axis=2)
    return Estimate(float(parts.mean()), float(parts.std(ddof=1) / np.sqrt(_REPLICATES)), "quasi-Monte Carlo")


def _mixture(members: Sequence[Target], weights: Array) -> Target:
    kept = [(w, *m.scales[0]) for w, m in zip(weights, members, strict=True) if w > 1e-12]
    share = np.array([w for w, _, _ in kept])
    means = np.array([m for _, m, _ in kept])
    factors = np.array([f for _, _, f in kept])
    if not members[0].multivariate:
        return normal_mixture(share / share.sum(), means[:, 0], factors[:, 0, 0], name="combination")
    return mvnormal_mixture(share / share.sum(), means, factors @ factors.transpose(0, 2, 1), name="combination")


@cache
def _objective() -> Any:
    """Value and gradient of the divergence in the logits of the weights, over tables of log densities."""

    def build() -> Any:
        pt = pytensor.tensor
        theta, log_q, log_p = pt.vector("theta"), pt.tensor3("log_q"), pt.matrix("log_p")
        weights = pt.special.softmax(theta)
        peak = pt.max(log_q, axis=2, keepdims=True)
        log_mixture = pt.log(pt.sum(weights * pt.exp(log_q - peak), axis=2)) + peak[:, :, 0]
        value = pt.sum(weights * pt.mean(log_mixture - log_p, axis=1))
        return [theta, log_q, log_p], [value, pytensor.grad(value, theta)]

    return compiled("mixture of members", (), build)
