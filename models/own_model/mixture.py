"""The repair: a mixture of all local Normals, weighted by how much of the posterior is where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from models.advi.diagnostics import pareto_k
from models.own_model.reference import Reference
from models.quadrature import Estimate
from models.targets import Target, mvnormal_mixture, normal_mixture

__all__ = ["Repair", "best", "repair", "weighed"]

Array = NDArray[np.float64]

_DRAWS, _KEPT = 10_000, 4000  # draws of the mixture, and as many of the posterior resampled from them
_HALVES = 8  # parts of the draws, whose spread is the standard error
_LEAST_WEIGHT = 1e-6
_GOOD = 0.5  # k-hat of weights, below which what they are drawn from is a posterior as it is
_TAIL = 5.0  # degrees of freedom of Student's t


@dataclass(frozen=True, eq=False)
class Repair:
    """A mixture of Normals in place of one.

    Attributes
    ----------
    mixture : Target
    weights, weights_se : ndarray (k,)
        Of the components, by importance sampling from the mixture itself.
    log_evidence : Estimate
        Log of the integral of the density, in nats, by the same draws.
    k_hat : float
        Pareto shape of these importance weights: above 0.7 neither is to be relied on (but `weighed` has the weights of a reference).
    draws : ndarray (n, d)
        Resampled by these weights: draws of the posterior, where `k_hat` is low.
    looks : float
        Effective number of them.
    """

    mixture: Target
    weights: Array
    weights_se: Array
    log_evidence: Estimate
    k_hat: float
    draws: Array
    looks: float


def repair(target: Target, components: Sequence[tuple[Array, Array]], log_weights: Array, *, seed: int) -> Repair:
    """Mix Normals (mean (d,), Cholesky factor (d, d)) with the masses that the posterior has where they are.

    Draws come from the mixture by `log_weights`, half of them from equal weights, so that a component thought light is looked at too, and
    half of them of Student's t in each Normal's place, some of it wider: a density whose log falls like a line, as that of the log of a scale, has a tail that
    the Normal leaves out, and its evidence would be too low by far more than the spread of the weights says. Each draw's importance weight is
    shared among the components as their densities are there.

    Parameters
    ----------
    target : Target
        With a density, normalised or not.
    components : sequence
    log_weights : ndarray (k,)
        A first guess, such as the ELBOs.
    seed : int
    """
    k = len(components)
    rng = np.random.default_rng([seed, 29])
    guess = 0.5 * np.exp(log_weights - logsumexp(log_weights)) + 0.5 / k
    chosen = rng.choice(k, size=_DRAWS, p=guess)
    z = rng.standard_normal((_DRAWS, target.dim))
    z[::2] *= np.sqrt(_TAIL / rng.chisquare(_TAIL, (len(z[::2]), 1)))
    z[::4] *= _reach(target.dim)
    means, factors = np.array([m for m, _ in components]), np.array([f for _, f in components])
    x = means[chosen]
    for i, factor in enumerate(factors):  # not all at once: of 1500 unknowns a factor for each draw would be 170 GB
        x[chosen == i] += z[chosen == i] @ factor.T
    log_q = np.stack([_log_proposal(x, m, f) for m, f in components], axis=1) + np.log(guess)
    total = logsumexp(log_q, axis=1)
    with np.errstate(all="ignore"):
        log_p = target.logp(x)
    log_w = np.where(np.isfinite(log_p), log_p, -np.inf) - total
    weight = np.exp(log_w - log_w.max())
    parts = np.array_split(np.exp(log_q - total[:, None]) * weight[:, None], _HALVES)
    sums = np.array([part.sum(axis=0) for part in parts])
    weights = sums.sum(axis=0) / sums.sum()
    spread = sums - weights * sums.sum(axis=1, keepdims=True)  # of a ratio, by the delta method
    se = np.sqrt(np.square(spread).sum(axis=0) * _HALVES / (_HALVES - 1)) / sums.sum()
    level = float(logsumexp(log_w) - np.log(_DRAWS))
    error = float(sums.sum(axis=1).std(ddof=1) / np.sqrt(_HALVES) / sums.sum(axis=1).mean())
    finite = log_w[np.isfinite(log_w)]
    share = weight / weight.sum()
    rows = rng.choice(_DRAWS, size=_KEPT, p=share)
    return Repair(_mixture(means, factors, weights), weights, se, Estimate(level, error, "draws"), pareto_k(finite), x[rows],
                  float(1 / np.square(share).sum()))  # fmt: skip


def _reach(dim: int) -> float:
    """Scale of the wider t: what it gives away of the middle does not grow with the dimension."""
    return float(1 + 2 / np.sqrt(dim))


def _log_proposal(x: Array, mean: Array, factor: Array) -> Array:
    """Log density (n,) of a Normal (half), and Student's t of its place and scale and of a wider one (a quarter each)."""
    square, d = np.square(np.linalg.solve(factor, (x - mean).T)).sum(axis=0), len(mean)
    parts = [np.log(2) - 0.5 * square - 0.5 * d * np.log(2 * np.pi)]
    for scale in (1.0, _reach(d)):
        tail = gammaln((_TAIL + d) / 2) - gammaln(_TAIL / 2) - 0.5 * d * np.log(_TAIL * np.pi) - d * np.log(scale)
        parts.append(tail - 0.5 * (_TAIL + d) * np.log1p(square / (_TAIL * scale**2)))
    return np.asarray(np.logaddexp.reduce(parts) - np.log(4) - np.linalg.slogdet(factor)[1])


def weighed(mended: Repair, components: Sequence[tuple[Array, Array]], reference: Reference) -> Repair:
    """The same mixture with the shares that a reference has where each component is densest, as the weights of the repair have it."""
    means, factors = np.array([m for m, _ in components]), np.array([f for _, f in components])
    with np.errstate(divide="ignore"):
        height = np.log(mended.weights) + np.stack([_log_proposal(reference.flat, m, f) for m, f in components], axis=1)
    owner = np.argmax(height, axis=1)
    shares = np.array([reference.share(owner == i) for i in range(len(means))])
    se = (shares[:, 2] - shares[:, 1]) / (2 * 1.96)
    return replace(mended, mixture=_mixture(means, factors, shares[:, 0]), weights=shares[:, 0], weights_se=se)


def best(reference: Reference | None, k_hat: float, names: Sequence[str]) -> str:
    """What to give as the posterior: ``reference`` if it is one and the k-hat of the repair says that this is none yet, else what the repair is made of."""
    if reference is not None and reference.ok and not k_hat < _GOOD:
        return "reference"
    return "mixture" if len(names) > 1 else names[0]


def _mixture(means: Array, factors: Array, weights: Array) -> Target:
    kept = weights > _LEAST_WEIGHT
    share = weights[kept] / weights[kept].sum()
    if means.shape[1] == 1:
        return normal_mixture(share, means[kept, 0], np.abs(factors[kept, 0, 0]), name="mixture of optima")
    covs = factors[kept] @ factors[kept].transpose(0, 2, 1)
    return mvnormal_mixture(share, means[kept], covs, name="mixture of optima")
