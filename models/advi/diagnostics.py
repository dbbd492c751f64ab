"""What an approximation q of a density p missed: importance weights, their tail, and the mass of p where q never looks.

Diagnostics that use draws of q alone cannot see a mode that q never visits: they judge the ratio p/q where q is. The mass of
p inside q's own high-density region can, but needs something that has been everywhere: draws of p, or of a better reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import chi2

from models.advi.effort import draws_within
from models.errors import InputError
from models.quadrature import Estimate
from models.targets import Target

__all__ = ["Diagnosis", "covered_mass", "diagnose", "k_hat", "pareto_k", "shape_of_weights"]

Array = NDArray[np.float64]
_LEAST = 25  # draws, for a tail of five
_EQUAL = 1e-8  # nats, by which rounding alone tells log weights apart
_EVEN = 0.2  # nats that the largest weight may be above their mean, when no draw weighs more than another to speak of
_DRAWS = 10_000
_UNDERFLOW = 700.0  # nats, whose exponential is zero as a float


@dataclass(frozen=True)
class Diagnosis:
    """What draws of q say about q as an approximation of p.

    Attributes
    ----------
    elbo : Estimate
        E_q[log p - log q], in nats; minus KL(q||p) for a normalised p.
    k_hat : float
        Shape of the generalised Pareto law of the largest weights p/q (Vehtari et al., 2024); 0 where these are all equal, as for
        q = p.
    k_threshold : float
        min(1 - 1/log10 n, 0.7), above which importance weighting is not to be relied on (Vehtari et al., 2024, equation 13).
    relative_ess : float
        (sum w)^2 / (n sum w^2) of the weights w = p/q.
    seen_mass : Estimate
        Mean weight: the mass of p where q looks. 1 for any Normal q with draws without end; with n draws what q meets.
        ``nan`` for an unnormalised p.
    n : int
        Draws of q.
    """

    elbo: Estimate
    k_hat: float
    k_threshold: float
    relative_ess: float
    seen_mass: Estimate
    n: int

    @property
    def k_says_good(self) -> bool:
        """Whether k-hat alone would let the approximation pass."""
        return self.k_hat < self.k_threshold


def diagnose(target: Target, member: Target, *, n: int = 4000, seed: int = 0) -> Diagnosis:
    """Judge an approximation by its own draws.

    Parameters
    ----------
    target, member : Target
        p and q, of one dimension d, in the same (unconstrained) space.
    n : int
        Draws of q, at least 25 (for a tail of five).
    seed : int

    Returns
    -------
    Diagnosis

    Raises
    ------
    InputError
        If n is too small or p has no density.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> p, one_mode = normal_mixture([0.7, 0.3], [-4, 4], [1, 1]), normal_mixture([1], [-4], [1.02])
    >>> found = diagnose(p, one_mode, n=4000)
    >>> found.k_says_good, round(found.seen_mass.value, 1)
    (True, 0.7)
    """
    if n < _LEAST:
        raise InputError(f"n is {n}; at least {_LEAST} draws are needed to fit the tail of their weights")
    x = member.rvs(n, seed)
    log_ratio = target.logp(x) - member.logp(x)
    elbo = Estimate(float(log_ratio.mean()), float(log_ratio.std(ddof=1) / np.sqrt(n)), "draws")
    seen = Estimate(float("nan"), float("nan"), "draws")
    if target.normalised:
        mass = np.exp(log_ratio)
        seen = Estimate(float(mass.mean()), float(mass.std(ddof=1) / np.sqrt(n)), "draws")
    ess = float(np.exp(2 * logsumexp(log_ratio) - logsumexp(2 * log_ratio))) / n
    threshold = min(1 - 1 / np.log10(n), 0.7)
    return Diagnosis(elbo, pareto_k(log_ratio), float(threshold), ess, seen, n)


def k_hat(target: Target, member: Target, *, seed: int, seconds: float = np.inf) -> float:
    """Pareto shape of the importance weights p/q of an approximation (see `shape_of_weights`), by 10 000 draws of it, or what some seconds allow.

    By 2000 draws it is 0.7 now and then of a posterior that is Normal but for a little skewness, where by 10 000 it is 0.3.
    """
    n = _DRAWS if seconds == np.inf else draws_within(target.log_density, member.scales[0][0], seconds, _DRAWS)
    x = member.rvs(n, seed)
    with np.errstate(all="ignore"):
        return shape_of_weights(target.logp(x) - member.logp(x))


def shape_of_weights(log_ratio: Array) -> float:
    """Pareto shape as `pareto_k` has it, and 0 where no draw weighs a fifth of a nat more than they do on average.

    Of weights that hardly differ that estimate describes the last few of them, and no tail: it was 1.1 where their sd was 0.004.
    """
    enough = len(log_ratio) >= _LEAST and np.isfinite(log_ratio).all()
    if enough and log_ratio.max() - (logsumexp(log_ratio) - np.log(len(log_ratio))) < _EVEN:
        return 0.0
    return pareto_k(log_ratio)


def pareto_k(log_ratio: Array) -> float:
    """Pareto shape of the largest importance ratios (Vehtari et al., 2024), by ArviZ.

    Parameters
    ----------
    log_ratio : ndarray (n,)
        log p - log q at draws of q.

    Returns
    -------
    float
        0 where the largest are equal to rounding, as for q = p: the shape of bounded weights, which have all moments, is at most 0.
        ``nan`` where there are fewer than 25; ``inf`` where a ratio is not finite, or one draw has all the weight.
    """
    if not np.isfinite(log_ratio).all():
        return float("inf")
    if len(log_ratio) < _LEAST:
        return float("nan")
    tail = np.sort(log_ratio)[-max(5, int(np.ceil(min(0.2 * len(log_ratio), 3 * np.sqrt(len(log_ratio)))))) :]
    if tail[-1] - tail[0] < _EQUAL:
        return 0.0
    if tail[-1] - tail[0] > _UNDERFLOW:  # one draw has all the weight, and the others' are zero as floats
        return float("inf")
    # ArviZ takes log likelihoods, whose negatives are the log ratios of leave-one-out.
    found = float(array_stats.psislw(-log_ratio)[1])
    return float("inf") if np.isnan(found) else found


def covered_mass(member: Target, reference: Array, *, level: float = 0.999) -> Estimate:
    """Mass of a reference inside the region of highest density of a Normal q that holds `level` of q.

    Parameters
    ----------
    member : Target
        A single Normal, of dimension d.
    reference : ndarray (n, d)
        Draws of p, independent or thinned to be nearly so: from p itself, from MCMC, or from a mixture of all fits.
    level : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        `level` if p is q; less if p is wider than q or has mass elsewhere.

    Raises
    ------
    InputError
        If `member` is no single Normal, dimensions differ, or `level` is not between 0 and 1.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> p, one_mode = normal_mixture([0.7, 0.3], [-4, 4], [1, 1]), normal_mixture([1], [-4], [1])
    >>> round(covered_mass(one_mode, p.rvs(20_000, seed=1)).value, 1)
    0.7
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}; it must be between 0 and 1")
    if len(member.scales) != 1:
        raise InputError(
            f"member {member.name!r} has {len(member.scales)} components; covered mass is that of one Normal"
        )
    location, factor = member.scales[0]
    points = np.asarray(reference, dtype=float).reshape(len(reference), -1)
    if points.shape[1] != len(location):
        raise InputError(f"the reference has dimension {points.shape[1]} but the member has {len(location)}")
    distance = np.square(np.linalg.solve(factor, (points - location).T)).sum(axis=0)
    inside = distance <= chi2.ppf(level, len(location))
    return Estimate(float(inside.mean()), float(inside.std(ddof=1) / np.sqrt(len(inside))), "draws")
