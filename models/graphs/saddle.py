"""Log densities and masses made of log gammas, in the saddle point form of Loader (2000), which keeps its digits.

Their logarithms of gamma functions are of the size of k log k where they are large, and all but cancel: at 1e12 nothing of a
likelihood is left of them. Here each is Stirling's formula, whose leading parts cancel on paper. What is small is as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.graphs.deferred import Deferred

pytensor = Deferred("pytensor")

__all__ = [
    "beta",
    "beta_binomial",
    "binomial",
    "gamma",
    "hypergeometric",
    "inverse_gamma",
    "log_beta_at_half",
    "negative_binomial",
    "on",
    "poisson",
]

_FEW = 30.0  # from here on Stirling's formula, with four terms, is right to rounding


def on(support: Any, logp: Any) -> Any:
    """Log density on its support."""
    return pytensor.tensor.switch(support, logp, -np.inf)


def poisson(x: Any, mu: Any) -> Any:
    """Log mass of Poisson's law."""
    pt = pytensor.tensor
    k = pt.maximum(pt.cast(x, "float64"), 0.0)
    far, mean = pt.maximum(k, _FEW), pt.maximum(mu, 1e-300)
    large = -_stirling(far) - pt.log(2 * np.pi * far) / 2 - _deviance(far, mean)
    small = _times(k, pt.log(mu)) - mu - pt.gammaln(k + 1)
    return on(x >= 0, pt.switch(k < _FEW, small, large))


def gamma(x: Any, alpha: Any, scale: Any) -> Any:
    """Log density of the gamma law: that of Poisson's at alpha, times alpha / x."""
    return on(x >= 0, _gamma(x / scale, alpha, pytensor.tensor.log(x), -pytensor.tensor.log(scale)))


def inverse_gamma(x: Any, alpha: Any, beta: Any) -> Any:
    """Log density of the inverse gamma law."""
    pt = pytensor.tensor
    log_x = pt.log(x)
    return on(x > 0, _gamma(beta / x, alpha, -log_x, pt.log(beta)) - 2 * log_x)


def _gamma(z: Any, alpha: Any, log_y: Any, log_rate: Any) -> Any:
    """Log density at y of the gamma law with this rate, given z = rate y."""
    pt = pytensor.tensor
    far = pt.maximum(alpha, _FEW)
    large = pt.log(far / (2 * np.pi)) / 2 - log_y - _stirling(far) - _deviance(far, z)
    powers = alpha * log_rate + pt.switch(pt.eq(alpha, 1.0), 0.0, (alpha - 1) * log_y)
    return pt.switch(alpha < _FEW, powers - pt.gammaln(alpha) - z, large)


def binomial(x: Any, n: Any, p: Any) -> Any:
    """Log mass of the binomial law."""
    pt = pytensor.tensor
    size, k = pt.cast(n, "float64"), pt.clip(pt.cast(x, "float64"), 0.0, pt.cast(n, "float64"))
    return on(pt.and_(x >= 0, x <= n), _split(k, size - k, p, pt.log(p), pt.log1p(-p)))


def negative_binomial(x: Any, n: Any, p: Any) -> Any:
    """Log mass of the negative binomial law: that of the binomial of n out of n + x, times n / (n + x)."""
    pt = pytensor.tensor
    k = pt.maximum(pt.cast(x, "float64"), 0.0)
    log_p, log_q = pt.log(p), pt.log(1 - p)
    counted = pt.log(n) - pt.log(n + k) + _split(n, k, p, log_p, log_q)
    # As PyMC has it: 1 - p may have no digits left there.
    return on(x >= 0, pt.switch(n > 1e10, poisson(k, n * pt.exp(log_q - log_p)), counted))


def beta(x: Any, alpha: Any, beta: Any) -> Any:
    """Log density of the beta law: the mass that the binomial has at alpha, as a function of its p, times what makes it a density."""
    pt = pytensor.tensor
    log_x, log_rest = pt.log(x), pt.log1p(-x)
    front = pt.log(alpha) + pt.log(beta) - pt.log(alpha + beta)
    powers = pt.switch(pt.eq(alpha, 1.0), 0.0, (alpha - 1) * log_x)
    powers += pt.switch(pt.eq(beta, 1.0), 0.0, (beta - 1) * log_rest)
    few, many = _choices(alpha, beta) + powers, _many(alpha, beta, x) - log_x - log_rest
    inside = pt.and_(x >= 0, x <= 1)
    return on(inside, front + pt.switch(pt.minimum(alpha, beta) < _FEW, few, many))


def beta_binomial(x: Any, n: Any, alpha: Any, beta: Any) -> Any:
    """Log mass of the beta-binomial law, as three masses of binomial laws with one p, of which it does not depend."""
    pt = pytensor.tensor
    size, k = pt.cast(n, "float64"), pt.clip(pt.cast(x, "float64"), 0.0, pt.cast(n, "float64"))
    rest, a = size - k, k + alpha
    b = rest + beta
    front = pt.log(alpha) - pt.log(a) + pt.log(beta) - pt.log(b) + pt.log(a + b) - pt.log(alpha + beta)
    p, log_p, log_q = a / (a + b), -pt.log1p(b / a), -pt.log1p(a / b)
    masses = [_split(*pair, p, log_p, log_q) for pair in ((k, rest), (alpha, beta), (a, b))]
    return on(pt.and_(x >= 0, x <= n), front + masses[0] + masses[1] - masses[2])


def hypergeometric(x: Any, good: Any, bad: Any, n: Any) -> Any:
    """Log mass of the hypergeometric law, as three masses of binomial laws with p = n / (good + bad)."""
    pt = pytensor.tensor
    a, b, size = (pt.cast(v, "float64") for v in (good, bad, n))
    low, high = pt.maximum(size - b, 0.0), pt.minimum(a, size)
    k = pt.clip(pt.cast(x, "float64"), low, high)
    p = size / (a + b)
    log_p, log_q = pt.log(p), pt.log1p(-p)
    masses = [_split(*pair, p, log_p, log_q) for pair in ((k, a - k), (size - k, b - size + k), (size, a + b - size))]
    return on(pt.and_(x >= low, x <= high), masses[0] + masses[1] - masses[2])


def log_beta_at_half(a: Any, b: Any) -> Any:
    """Log of 2^(a + b - 1) B(a, b)."""
    pt = pytensor.tensor
    half = np.log(0.5)
    return pt.log(a + b) - pt.log(a) - pt.log(b) - _split(a, b, 0.5, half, half) + half


# --- parts -----------------------------------------------------------------------------------------------------------


def _split(a: Any, b: Any, p: Any, log_p: Any, log_q: Any) -> Any:
    """Log of Gamma(a + b + 1) / (Gamma(a + 1) Gamma(b + 1)) p^a (1 - p)^b: a binomial mass, of any a and b from 0 on."""
    pt = pytensor.tensor
    few = _choices(a, b) + _times(a, log_p) + _times(b, log_q)
    return pt.switch(pt.minimum(a, b) < _FEW, few, _many(a, b, p))


def _choices(a: Any, b: Any) -> Any:
    """Log of the binomial coefficient of a out of a + b, where one of them is small."""
    pt = pytensor.tensor
    k, n = pt.minimum(pt.minimum(a, b), _FEW), pt.maximum(a, b) + 1
    far, near = pt.maximum(n, 100.0), pt.minimum(n, 100.0)
    series = (far - 0.5) * pt.log1p(k / far) + k * (pt.log(far + k) - 1) + _stirling(far + k) - _stirling(far)
    return pt.switch(n > 100, series, pt.gammaln(near + k) - pt.gammaln(near)) - pt.gammaln(k + 1)


def _many(a: Any, b: Any, p: Any) -> Any:
    """As `_split`, where both are large."""
    pt = pytensor.tensor
    a, b = pt.maximum(a, _FEW), pt.maximum(b, _FEW)
    n = a + b
    value = _stirling(n) - _stirling(a) - _stirling(b) - _deviance(a, n * p) - _deviance(b, n * (1 - p))
    return value + (pt.log(n) - np.log(2 * np.pi) - pt.log(a) - pt.log(b)) / 2


def _deviance(k: Any, mean: Any) -> Any:
    """K log(k/mean) + mean - k: near k = mean both parts are of the size of sqrt(k), and no larger than what they differ by."""
    gap = k - mean
    return k * pytensor.tensor.log1p(gap / mean) - gap


def _stirling(x: Any) -> Any:
    """What Stirling's formula leaves out of log Gamma, right to rounding from x = 30 on."""
    return (1 - (1 - (2 - 1.5 / x**2) / (7 * x**2)) / (30 * x**2)) / (12 * x)


def _times(k: Any, logarithm: Any) -> Any:
    """K log p, which is 0 at k = 0."""
    return pytensor.tensor.switch(k > 0, k * logarithm, 0.0)
