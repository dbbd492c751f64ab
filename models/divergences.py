"""Entropy, cross-entropy, KL in both directions and Minka's alpha-divergence: in nats, each with its error.

KL(p||q) = E_p[log p - log q] = cross_entropy(p, q) - entropy(p) (Kullback and Leibler, 1951; Cover and Thomas, 2006,
chapter 2). For the other direction swap the arguments; there is no second function, so there is no second convention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.quadrature import Estimate, expect, integrate, line_of, mass_defect, missed, sum_over
from models.targets import Density, Discrete, Draws, Target

__all__ = ["alpha_divergence", "cross_entropy", "entropy", "kl"]

Array = NDArray[np.float64]
#: Of the log densities (or log masses) of the first and the second distribution (n,), values (n,).
OfLogs = Callable[[Array, Array], Array]


def entropy(p: Target) -> Estimate:
    """Entropy -E_p[log p]: of a density the differential entropy, of a discrete law the sum over its masses.

    Parameters
    ----------
    p : Target
        With a density, or discrete.

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
    _check(p)
    return _mean(p, p, lambda log_p, _: -log_p)


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
    _check(q)
    _same_dim(p, q)
    return _apart(p, q) or _mean(p, q, lambda _, log_q: -log_q)


def kl(p: Target, q: Target) -> Estimate:
    """Kullback-Leibler divergence KL(p||q) = E_p[log p - log q].

    Parameters
    ----------
    p, q : Target
        With densities, of one dimension d; or both discrete.

    Returns
    -------
    Estimate
        In nats; ``inf``, with its ``reason``, where p has mass that q has not, or tails too heavy for it; ``nan`` where it cannot be
        told, or is larger than the largest float.

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
    _check(p, q)
    _same_dim(p, q)
    found = _apart(p, q) or _not_negative(_mean(p, q, _difference))
    return found if not np.isnan(found.value) else _by_difference(p, q) or found


def _by_difference(p: Target, q: Target) -> Estimate | None:
    """KL as a difference of two integrals whose tails are known, where that of its own integrand is not; else ``None``."""
    cross, own = cross_entropy(p, q), entropy(p)
    if not (np.isfinite(cross.value) and np.isfinite(own.value)):
        return None
    found = _not_negative(Estimate(cross.value - own.value, cross.error + own.error, cross.kind))
    return found if np.isfinite(found.value) else None


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
    _check(p, q)
    _same_dim(p, q)
    scale = alpha * (1 - alpha)
    if isinstance(p, Discrete) != isinstance(q, Discrete):
        return Estimate(1 / scale, 0.0, "exact", reason=_ATOMS)
    # Averaged under the distribution that makes the ratio to the smaller power.
    base, other, power = (p, q, 1 - alpha) if alpha >= 0.5 else (q, p, alpha)

    def shortfall(log_base: Array, log_other: Array) -> Array:
        with np.errstate(over="ignore"):  # only where the density of `base` underflows, and then it does not count
            return -np.expm1(power * _difference(log_other, log_base))

    integral = _not_negative(_mean(base, other, shortfall))
    return Estimate(integral.value / scale, integral.error / scale, integral.kind, reason=integral.reason)


_ATOMS = "one puts mass on single integers and the other on none"


def _mean(p: Target, q: Target, f: OfLogs) -> Estimate:
    """E_p f(log p, log q): by quadrature, as a sum, or over draws (then log p is nan)."""
    if isinstance(p, Discrete) and isinstance(q, Discrete):
        found = sum_over(p, lambda k: f(p.log_mass(k), q.log_mass(k)))
        defect = 0.0 if p is q else _rest(q)
        return found if not np.isfinite(found.value) else Estimate(found.value, found.error + defect, found.kind)
    if not (isinstance(p, Density) and isinstance(q, Density)) or p.dim > 1 or p.multivariate:
        known = p.has_density
        return expect(p, lambda x: f(p.logp(x) if known else np.full(len(x), np.nan), q.logp(x)), others=[q])
    line, edges = line_of(p, [q])

    def second(v: Array, x: Array, log_p: Array) -> Array:
        return log_p if q is p else line.logp(q, v, x)

    found = integrate(
        p, line, edges, lambda v, x, log_p: f(log_p, second(v, x, log_p)),
        size=lambda v, x, log_p: np.abs(log_p) + np.abs(second(v, x, log_p)),
    )  # fmt: skip
    # A constant that rounding has put into a log density stands in the integral, and in that of the density.
    defect = mass_defect(p) * (1 + abs(found.value)) + mass_defect(q)
    return found if not np.isfinite(found.value) else Estimate(found.value, found.error + 2 * defect, found.kind)


#: Standard errors, and nats, that a divergence of zero may come out below it.
_SPREADS, _ROUNDED = 5, 1e-9


def _not_negative(found: Estimate) -> Estimate:
    """A divergence as it was computed: below zero it is zero, if rounding and its error say so, and else a failure.

    Examples
    --------
    >>> for value in (-1e-17, -0.3):
    ...     found = _not_negative(Estimate(value, 1e-18, "quadrature"))
    ...     print(found.value, found.error)
    0.0 1e-17
    nan inf
    """
    if not found.value < 0:
        return found
    spread = found.error * (_SPREADS if found.kind == "quasi-Monte Carlo" else 1)
    if -found.value <= max(spread, _ROUNDED):
        return replace(found, value=0.0, error=max(found.error, -found.value))
    reason = (
        f"it came out as {found.value:.3g}, and no divergence is below zero: a density is wrong, or was not resolved"
    )
    return Estimate(np.nan, np.inf, found.kind, reason=reason)


@lru_cache(maxsize=64)
def _rest(q: Discrete) -> float:
    """What rounding may have done to the log masses of a discrete law: their sum is off 1 by so much, and somewhat more."""
    return 3 * sum_over(q, np.zeros_like).error


def _apart(p: Target, q: Target) -> Estimate | None:
    """Infinity with its reason, if p has mass where q has none."""
    if isinstance(p, Discrete) != isinstance(q, Discrete) and not isinstance(p, Draws):
        return Estimate(np.inf, 0.0, "exact", reason=_ATOMS)
    if isinstance(p, Discrete) and isinstance(q, Discrete) and (k := missed(p, q)) is not None:
        return Estimate(np.inf, 0.0, "exact", reason=f"the first puts mass on {k}, where the second has none")
    if isinstance(p, Density) and isinstance(q, Density) and p.dim == 1 and not p.multivariate and not q.multivariate:
        (low, high), (first, last) = p.ends, q.ends
        if low < first or high > last:
            side, end = ("below", first) if low < first else ("above", last)
            return Estimate(
                np.inf, 0.0, "exact", reason=f"the first has mass {side} {end:g}, where the second has none"
            )
    return None


def _check(*targets: Target) -> None:
    """Refuse what has neither a normalised density nor masses."""
    for target in targets:
        if not isinstance(target, Discrete):
            target.check_normalised()


def _difference(a: Array, b: Array) -> Array:
    # Both minus infinity only where the density that weights this is zero.
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(a) & np.isneginf(b), 0.0, a - b)


def _same_dim(p: Target, q: Target) -> None:
    if p.dim != q.dim:
        raise InputError(f"{p.name!r} has dimension {p.dim} but {q.name!r} has dimension {q.dim}; make them equal")
