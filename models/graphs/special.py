"""Functions of log densities whose terms cancel where they are large, in NumPy: each as one, with all its digits.

`models.graphs.special_ops` has them as operations of PyTensor, which differentiates them on paper: written out there, one deviance is
forty nodes, and its second derivatives are hundreds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfcx, factorial, gammaln, poch, polygamma, psi, xlog1py

__all__ = [
    "LARGE",
    "STIRLING",
    "deviance",
    "excess",
    "log_one_plus_erf",
    "log_pochhammer",
    "log_ratio",
    "stirling_error",
]

Array = NDArray[np.float64]
_CLOSE = 0.01  # relative distance, within which a series of four terms is right to rounding
_FAR = 1e3  # and beyond which nothing cancels
LARGE = 100.0  # from which Stirling's formula takes the place of log gammas
_TAIL = -25.0  # below which an asymptotic series of nine terms is right to rounding
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)


def excess(k: Array | float, mean: Array | float) -> Any:
    """K/mean - 1, as the difference over the mean, so that a small one has all its digits."""
    with np.errstate(over="ignore"):
        return (np.asarray(k) - mean) / mean


def log_ratio(k: Array | float, mean: Array | float) -> Any:
    """Log(k/mean), of their difference where they are near each other."""
    d = excess(k, mean)
    near = np.abs(d) < 0.5
    return np.where(near, np.log1p(np.where(near, d, 0.0)), np.log(k) - np.log(mean))


def deviance(k: Array | float, mean: Array | float) -> Any:
    """K log(k/mean) + mean - k, for k of 0 and more and a positive mean; near k = mean by a series (Loader, 2000)."""
    d = excess(k, mean)
    close, far = np.abs(d) < _CLOSE, d > _FAR
    small = np.where(close, d, 0.0)
    w = small / (2 + small)
    scaled = small * w + 2 * (1 + small) * w**3 * (1 / 3 + w**2 * (1 / 5 + w**2 / 7))
    if not np.all(close):
        middle = np.minimum(d, _FAR)
        scaled = np.where(close, scaled, xlog1py(1 + middle, middle) - middle)
    if not np.any(far):
        return mean * scaled
    large = np.maximum(k, mean)
    return np.where(far, large * (np.log(large) - np.log(mean)) + (mean - large), mean * scaled)


def stirling_error(x: Array | float, order: int = 0) -> Any:
    """What Stirling's formula leaves out of log Gamma, right to rounding from x = 30 on, or a derivative of it."""
    x = np.asarray(x, dtype=float)
    inverse = 1 / np.square(x)
    total: Any = 0.0
    for coefficient in reversed(_coefficients(order)):
        total = coefficient + inverse * total
    return total / x ** (1 + order)


@cache
def _coefficients(order: int) -> list[float]:
    """Of the powers -1, -3, ... of x in Stirling's series, differentiated."""
    return [float((-1) ** order * c * poch(2 * j + 1, order)) for j, c in enumerate(STIRLING)]


def log_pochhammer(n: Array | float, k: Array | float, order: int = 0) -> Any:
    """Log Gamma(n + k) - log Gamma(n) for positive n and k >= 0, or a derivative of it by n; where n is large, of Stirling's formula."""
    large = np.asarray(n) > LARGE
    near = far = 0.0
    if not np.all(large):
        few = np.minimum(n, LARGE)
        near = _log_gamma(few + k, order) - _log_gamma(few, order)
    if np.any(large):
        many = np.maximum(n, LARGE)
        far = _stirling_step(many, k, order) + stirling_error(many + k, order) - stirling_error(many, order)
    return np.where(large, far, near)


def _stirling_step(n: Any, k: Any, order: int) -> Any:
    """The step of (n - 1/2) log n - n from n to n + k, or a derivative of it by n."""
    step = np.log1p(k / n)
    if order == 0:
        return (n - 0.5) * step + k * (np.log(n + k) - 1)
    if order == 1:
        return step - _power_step(n, step, 1) / 2
    powers = factorial(order - 2) * _power_step(n, step, order - 1)
    return (-1) ** order * (powers + factorial(order - 1) / 2 * _power_step(n, step, order))


def _log_gamma(x: Any, order: int) -> Any:
    return gammaln(x) if order == 0 else psi(x) if order == 1 else polygamma(order - 1, x)


def _power_step(n: Any, step: Any, power: int) -> Any:
    """(n + k)^-p - n^-p, of log(1 + k/n)."""
    return n ** -float(power) * np.expm1(-power * step)


def log_one_plus_erf(u: Array | float, order: int = 0) -> Any:
    """Log(1 + erf(u)), or its first or second derivative, wherever u lies."""
    u = np.asarray(u, dtype=float)
    if order == 0:
        below = np.minimum(u, -1.0)
        return np.where(u < -1, np.log(erfcx(-below)) - below**2, np.log1p(erf(np.maximum(u, -1.0))))
    slope = 2 / np.sqrt(np.pi) / erfcx(-u)
    return slope if order == 1 else -slope * _slope_beyond_line(u, slope)


def _slope_beyond_line(u: Any, slope: Any) -> Any:
    """Slope + 2 u, which cancel far below, where it is by a series (Abramowitz and Stegun, 1964, 7.1.23)."""
    far = np.minimum(u, _TAIL)
    r = 1 / (2 * far**2)
    nested = 1.0
    for odd in range(17, 1, -2):
        nested = 1 - odd * r * nested
    rest = r * nested  # erfcx(-u) is that of the leading term, times 1 - rest
    return np.where(u < _TAIL, -2 * far * rest / (1 - rest), slope + 2 * np.maximum(u, _TAIL))
