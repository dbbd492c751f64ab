"""The repair: a mixture of all local Normals, weighted by how much of the posterior is where each of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, softmax

from models.advi.diagnostics import shape_of_weights
from models.own_model.reference import Reference
from models.own_model.spending import evenly
from models.quadrature import Estimate
from models.targets import Target, mvnormal_mixture, normal_mixture

__all__ = ["HOLDS", "Repair", "Share", "best", "judged", "repair", "shares_of", "weighed"]

Array = NDArray[np.float64]
Share = tuple[float, float, float]  # with its 95 % interval

HOLDS = 0.7  # k-hat of weights, below which they are relied on

_DRAWS, _KEPT = 10_000, 4000  # draws of the mixture, and as many of the posterior resampled from them
_HALVES = 8  # parts of the draws, whose spread is the standard error
_LEAST_WEIGHT = 1e-6
_GOOD = 0.5  # k-hat of weights, below which what they are drawn from is a posterior as it is
_TAIL = 5.0  # degrees of freedom of Student's t
_SPARSE = float(np.log(20))  # nats by which a posterior is denser than what has next to nothing there
_LACKS = 0.02  # of the mass, that a repair may lack
_DOUBT = 3.2  # standard errors by four populations that 95 % of errors are within: of three degrees of freedom


@dataclass(frozen=True, eq=False)
class Repair:
    """A mixture of Normals in place of one.

    Attributes
    ----------
    mixture : Target
    weights, weights_se : ndarray (k,)
        Of the components, by importance sampling from the mixture itself; they sum to one but for what it `lacks`.
    log_evidence : Estimate
        Log of the integral of the density, in nats, by the same draws; nan where the density is zero at all of them.
    k_hat : float
        Pareto shape of these importance weights: above 0.7 neither is to be relied on (but `weighed` has the weights of a reference).
    draws : ndarray (n, d)
        Resampled by these weights: draws of the posterior, where `k_hat` is low.
    looks : float
        Effective number of them.
    points : ndarray (m, d)
        That were weighed.
    log_weights, log_p : ndarray (m,)
        Log of the density over that of the points, and of the density: minus infinity where it is none.
    lacks : (float, float, float), optional
        Share of the posterior where the mixture has next to nothing, with its 95 % interval, if a reference shows one (see `judged`).
    """

    mixture: Target
    weights: Array
    weights_se: Array
    log_evidence: Estimate
    k_hat: float
    draws: Array
    looks: float
    points: Array
    log_weights: Array
    log_p: Array
    lacks: Share | None = None

    def mass(self, inside: NDArray[np.bool_]) -> Share:
        """Mass of the posterior in those of the points (m,) that are `inside`, with a 95 % interval."""
        value, error = _ratio(_weights(self.log_weights)[:, None] * np.column_stack([inside, ~inside]))
        half = 1.96 * float(error[0])
        return float(value[0]), max(0.0, float(value[0]) - half), min(1.0, float(value[0]) + half)


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
    known = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    guess = np.full(k, 1 / k)
    if np.isfinite(known).any():
        guess = 0.5 * guess + 0.5 * np.exp(known - logsumexp(known))
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
        log_w = log_p - total
    log_p, log_w = (np.where(np.isfinite(log_w), each, -np.inf) for each in (log_p, log_w))
    if not np.isfinite(
        log_w
    ).any():  # a density of nothing but zeros: the weights are a guess, and nothing is known of the rest
        nowhere, unknown = _log_mean(log_w), np.full(k, np.nan)
        return Repair(
            _mixture(means, factors, guess), guess, unknown, nowhere, float("inf"), x[:_KEPT], 0.0, x, log_w, log_p
        )
    weight = _weights(log_w)
    weights, se = _ratio(np.exp(log_q - total[:, None]) * weight[:, None])
    share = weight / weight.sum()
    rows = rng.choice(_DRAWS, size=_KEPT, p=share)
    return Repair(_mixture(means, factors, weights), weights, se, _log_mean(log_w), shape_of_weights(log_w[np.isfinite(log_w)]), x[rows],
                  float(1 / np.square(share).sum()), x, log_w, log_p)  # fmt: skip


def _weights(log_weights: Array) -> Array:
    """Weights (n,), the largest 1."""
    return np.asarray(np.exp(log_weights - log_weights.max()))


def _by_part(terms: Array) -> Array:
    """Sums of terms (n, ...) over each of eight parts."""
    return np.array([part.sum(axis=0) for part in np.array_split(terms, _HALVES)])


def _ratio(terms: Array) -> tuple[Array, Array]:
    """Share of each column of terms (n, k) in the sum of all, with its standard error, by the delta method over eight parts."""
    sums = _by_part(terms)
    value = sums.sum(axis=0) / sums.sum()
    spread = sums - value * sums.sum(axis=1, keepdims=True)
    return value, np.sqrt(np.square(spread).sum(axis=0) * _HALVES / (_HALVES - 1)) / sums.sum()


def _log_mean(log_weights: Array) -> Estimate:
    """Log of the mean of weights, with its standard error; nan where all are zero."""
    if not np.isfinite(log_weights).any():
        return Estimate(float("nan"), float("nan"), "draws")
    sums = _by_part(_weights(log_weights))
    return Estimate(
        float(logsumexp(log_weights) - np.log(len(log_weights))),
        float(sums.std(ddof=1) / np.sqrt(_HALVES) / sums.mean()),
        "draws",
    )


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


def shares_of(reference: Reference, belongs: Callable[[Array], Array]) -> list[Share]:
    """Share of a reference in each of some sets, of which `belongs` says how much (n, k) of each point (n, d) is in them.

    Those of a grid that is a reference are sums over its cells, as its moments are; their interval is how far they are from those of every second cell.
    """
    cells = reference.cells
    if cells is None or not reference.ok:
        return [reference.share(column) for column in belongs(reference.flat).T]
    parts = cells.mass[:, None] * belongs(cells.points)
    fine, coarse = (p.sum(axis=0) / p.sum() for p in (parts, parts[cells.coarse]))
    half = np.abs(fine - coarse)
    return [(float(m), max(0.0, float(m - h)), min(1.0, float(m + h))) for m, h in zip(fine, half, strict=True)]


def weighed(mended: Repair, components: Sequence[tuple[Array, Array]], reference: Reference) -> Repair:
    """The same mixture with the shares that a reference has of each component, as the weights of the repair have it."""
    means, factors = np.array([m for m, _ in components]), np.array([f for _, f in components])

    def belongs(x: Array) -> Array:
        with np.errstate(divide="ignore"):
            height = np.log(mended.weights) + np.stack([_log_proposal(x, m, f) for m, f in components], axis=1)
        return np.asarray(softmax(height, axis=1))

    shares = np.array(shares_of(reference, belongs))
    se = (shares[:, 2] - shares[:, 1]) / (2 * 1.96)
    return replace(mended, mixture=_mixture(means, factors, shares[:, 0]), weights=shares[:, 0], weights_se=se)


def judged(target: Target, mended: Repair, reference: Reference, most: int) -> Repair:
    """The repair, with what it lacks of a reference, and the evidence that agrees with that.

    Its own draws cannot see where it has nothing: there the evidence, and so reverse KL of every approximation, comes out too low, and its k-hat is content.
    Let S be where the posterior is no more than 20 times as dense as the mixture. Of the evidence the weights know the part in S, and the reference which share that is.

    Parameters
    ----------
    target : Target
    mended : Repair
    reference : Reference
        To be relied on, and not of the draws of the repair.
    most : int
        Draws of the reference that are looked at.
    """
    each = max(1, most // len(reference.points))
    seen = replace(reference, points=np.stack([evenly(chain, each) for chain in reference.points]))
    limit = mended.log_evidence.value + _SPARSE

    def sparse(log_p: Array, points: Array) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            return np.asarray(~(log_p - mended.mixture.logp(points) <= limit))

    with np.errstate(all="ignore"):
        lacks = seen.share(sparse(target.logp(seen.flat), seen.flat))
    if lacks[0] < _LACKS or lacks[1] <= 0:
        return mended
    inside = _log_mean(np.where(sparse(mended.log_p, mended.points), -np.inf, mended.log_weights))
    if reference.log_evidence is not None and np.isfinite(inside.value):
        lacks = _left_out(inside, reference.log_evidence, lacks[1])
    has = 1 - lacks[0]
    error = (lacks[2] - lacks[1]) / (2 * 1.96)
    known = Estimate(float("nan"), float("nan"), "draws")
    if has > 0 and np.isfinite(inside.value):
        known = Estimate(float(inside.value - np.log(has)), float(np.hypot(inside.error, error / has)), "draws")
    if len(mended.weights) == 1 or not mended.k_hat < HOLDS:
        return replace(mended, lacks=lacks, log_evidence=known)
    se = np.hypot(has * mended.weights_se, mended.weights * error)
    return replace(mended, lacks=lacks, log_evidence=known, weights=has * mended.weights, weights_se=se)


def _left_out(inside: Estimate, whole: Estimate, least: float) -> Share:
    """Share of the evidence that one of its parts leaves out, at least so much.

    The modes of the mixture were found by ascents from draws of the reference, so that it has more of these than of the posterior; the evidence of tempering is free of that.
    """
    error, gap = float(np.hypot(inside.error, whole.error)), inside.value - whole.value
    value, low, high = (float(-np.expm1(min(0.0, gap + by * error))) for by in (0.0, _DOUBT, -_DOUBT))
    return max(value, least), max(low, least), max(high, least)


def best(reference: Reference | None, mended: Repair, names: Sequence[str]) -> str:
    """What to give as the posterior: ``reference`` if it is one and the repair is none yet, by its k-hat or for what it lacks, else what the repair is made of."""
    if reference is not None and reference.ok and (mended.lacks is not None or not mended.k_hat < _GOOD):
        return "reference"
    return "mixture" if len(names) > 1 else names[0]


def _mixture(means: Array, factors: Array, weights: Array) -> Target:
    kept = weights > _LEAST_WEIGHT
    share = weights[kept] / weights[kept].sum()
    if means.shape[1] == 1:
        return normal_mixture(share, means[kept, 0], np.abs(factors[kept, 0, 0]), name="mixture of optima")
    covs = factors[kept] @ factors[kept].transpose(0, 2, 1)
    return mvnormal_mixture(share, means[kept], covs, name="mixture of optima")
