"""Entropy, cross-entropy, KL in both directions and Minka's alpha-divergence: in nats, each with its error.

KL(p||q) = E_p[log p - log q] = cross_entropy(p, q) - entropy(p) (Kullback and Leibler, 1951; Cover and Thomas, 2006,
chapter 2). For the other direction swap the arguments; there is no second function, so there is no second convention.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.quadrature import Estimate, expect
from models.targets import Target

__all__ = ["alpha_divergence", "cross_entropy", "entropy", "kl"]

Array = NDArray[np.float64]


def entropy(p: Target) -> Estimate:
    """Differential entropy -E_p[log p].

    Parameters
    ----------
    p : Target
        With a density.

    Returns
    -------
    Estimate
        In nats.

    Raises
    ------
    InputError
        If `p` is known by draws only, or its density is unnormalised.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> round(entropy(normal_mixture([1], [0], [1])).value, 6)
    1.418939
    """
    p.check_normalised()
    return expect(p, lambda x: -p.logp(x))


def cross_entropy(p: Target, q: Target) -> Estimate:
    """Cross-entropy -E_p[log q]; for draws p it is the mean negative log likelihood, with its standard error.

    Parameters
    ----------
    p : Target
        Density or draws.
    q : Target
        With a density.

    Returns
    -------
    Estimate
        In nats; ``inf`` where q misses part of p or p's tails are too heavy.

    Raises
    ------
    InputError
        If `q` has no normalised density, or the dimensions differ.
    """
    q.check_normalised()
    _same_dim(p, q)
    return expect(p, lambda x: -q.logp(x), others=[q])


def kl(p: Target, q: Target) -> Estimate:
    """Kullback-Leibler divergence KL(p||q) = E_p[log p - log q].

    Parameters
    ----------
    p, q : Target
        With densities, of one dimension d.

    Returns
    -------
    Estimate
        In nats; ``inf`` unless p is absolutely continuous with respect to q with fading log ratio.

    Raises
    ------
    InputError
        If either is known by draws only or unnormalised, or the dimensions differ.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> wide, narrow = normal_mixture([1], [1], [2]), normal_mixture([1], [0], [1])
    >>> round(kl(wide, narrow).value, 6), round(kl(narrow, wide).value, 6)
    (1.306853, 0.443147)
    """
    p.check_normalised()
    q.check_normalised()
    _same_dim(p, q)
    return expect(p, lambda x: _difference(p.logp(x), q.logp(x)), others=[q])


def alpha_divergence(p: Target, q: Target, alpha: float) -> Estimate:
    """Minka's alpha-divergence (1 - int p^alpha q^(1-alpha)) / (alpha (1 - alpha)) for 0 < alpha < 1.

    It tends to KL(p||q) as alpha -> 1 and to KL(q||p) as alpha -> 0 (Minka, 2005, MSR-TR-2005-173, eq. 7).

    Parameters
    ----------
    p, q : Target
        With densities, of one dimension d.
    alpha : float
        Strictly between 0 and 1.

    Returns
    -------
    Estimate
        In nats in both limits.

    Raises
    ------
    InputError
        If `alpha` is outside (0, 1), a density is missing, or the dimensions differ.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; it must be strictly between 0 and 1 (1 is forward KL, 0 is reverse KL)")
    p.check_normalised()
    q.check_normalised()
    _same_dim(p, q)
    # Averaged under the distribution that makes the ratio to the smaller power.
    if alpha >= 0.5:
        base, other, power = p, q, 1 - alpha
    else:
        base, other, power = q, p, alpha

    def missing(x: Array) -> Array:
        with np.errstate(over="ignore"):  # only where the density of `base` underflows, and then it does not count
            return -np.expm1(power * _difference(other.logp(x), base.logp(x)))

    integral = expect(base, missing, others=[other])
    scale = alpha * (1 - alpha)
    return Estimate(integral.value / scale, integral.error / scale, integral.kind)


def _difference(a: Array, b: Array) -> Array:
    # Both minus infinity only where the density that weights this is zero.
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(a) & np.isneginf(b), 0.0, a - b)


def _same_dim(p: Target, q: Target) -> None:
    if p.dim != q.dim:
        raise InputError(f"{p.name!r} has dimension {p.dim} but {q.name!r} has dimension {q.dim}; make them equal")
