"""Exponential and logarithm as plain arithmetic, which a compiler takes several numbers at a time through.

A call of the C library stops a loop over runs or points at every number: 4 ns each, against 1 here. There is no branch in them, and no
sum that the compiler may order anew, so a number has the same result wherever in an array it stands.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

__all__ = ["exp", "log", "log1p"]

_SETTINGS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(types.int64(types.float64), **_SETTINGS)
def _bits(x):
    return np.float64(x).view(np.int64)


@njit(types.float64(types.int64), **_SETTINGS)
def _number(bits):
    return np.int64(bits).view(np.float64)


_BIAS, _MANTISSA = 1023, 52
_ROUND = 1.5 * 2.0**_MANTISSA  # added to a number, it leaves the nearest integer in the last bits
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))
_LOG2E = 1.4426950408889634
#: log 2 in two parts, the first with zeros at its end, for `exp` and for `log`.
_LN2_EXP, _LN2_LOG = (
    (6.93145751953125e-1, 1.42860682030941723212e-6),
    (6.93147180369123816490e-1, 1.90821492927058770002e-10),
)
_ROOT_HALF_BITS = int(np.float64(np.sqrt(0.5)).view(np.int64))


@njit(types.float64(types.float64), **_SETTINGS)
def exp(x):
    """Exponential to one unit in the last place; the rational function is that of Cephes (Moshier, 1989)."""
    inside = min(max(x, -746.0), 710.0)
    shifted = inside * _LOG2E + _ROUND
    n, whole = _bits(shifted) - _ROUND_BITS, shifted - _ROUND
    r = (inside - whole * _LN2_EXP[0]) - whole * _LN2_EXP[1]
    s = r * r
    p = r * ((1.26177193074810590878e-4 * s + 3.02994407707441961300e-2) * s + 9.99999999999999999910e-1)
    q = ((3.00198505138664455042e-6 * s + 2.52448340349684104192e-3) * s + 2.27265548208155028766e-1) * s + 2.0
    value = 1.0 + 2.0 * (p / (q - p))
    half = n >> 1  # in two steps, for results that are infinite or subnormal
    value *= _number((half + _BIAS) << _MANTISSA)
    value *= _number((n - half + _BIAS) << _MANTISSA)
    return value if x == x else x


@njit(types.float64(types.float64), **_SETTINGS)
def log(x):
    """Natural logarithm to one unit in the last place, as in fdlibm (Sun Microsystems, 1993); nan of what is negative."""
    small = x < 2.2250738585072014e-308
    bits = _bits(x * 2.0**54 if small else x)
    n = (bits - _ROOT_HALF_BITS) >> _MANTISSA  # x = 2^n m, and m lies in [sqrt(1/2), sqrt(2)) to its last bits
    f = _number(bits - (n << _MANTISSA)) - 1.0
    k = np.float64(n - (54 if small else 0))
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-1 + w * (2.222219843214978396e-1 + w * 1.531383769920937332e-1))
    odd = z * (
        6.666666666666735130e-1
        + w * (2.857142874366239149e-1 + w * (1.818357216161805012e-1 + w * 1.479819860511658591e-1))
    )
    half = 0.5 * f * f
    value = k * _LN2_LOG[0] - ((half - (s * (half + even + odd) + k * _LN2_LOG[1])) - f)
    value = value if x < np.inf else x  # also of nan
    return value if x > 0.0 else (-np.inf if x == 0.0 else np.nan)


@njit(types.float64(types.float64), **_SETTINGS)
def log1p(x):
    """Log(1 + x) for x from 0 to 1: the logarithm of the sum, and what rounding takes off it."""
    total = 1.0 + x
    return log(total) + (x - (total - 1.0)) / total
