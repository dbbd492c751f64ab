"""Log density of a Normal mixture with its gradient, as loops: the closed form that ADVI's runs on this study's targets take most of their time in.

Beside what PyTensor compiles of the same formula it takes half to a fifth of the time, since its exponentials are arithmetic
(`models.graphs.elementary`) and every loop goes over points. `tests/models/graphs/test_log_density.py` holds it against PyMC's.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from models.graphs.elementary import exp, log
from models.graphs.signature import DENSITY

__all__ = ["log_density", "numbers_of"]

Array = NDArray[np.float64]
_VECTOR = types.float64[::1]
_SETTINGS = {"cache": True, "nogil": True, "error_model": "numpy"}
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_TOGETHER = 512  # points whose temporaries a cache holds


def numbers_of(
    dim: int, mu: Array, w: Array | float = 1.0, sigma: Array | None = None, cov: Array | None = None
) -> Array:
    """Of each component of a Normal mixture: log (weight |W|), mean, and W, the inverse Cholesky factor of its covariance."""
    mu = np.reshape(mu, (-1, dim))
    if sigma is not None:
        whitening = np.eye(dim) / np.reshape(sigma, (-1, 1, dim))
    else:
        whitening = np.linalg.inv(np.linalg.cholesky(np.reshape(np.asarray(cov), (-1, dim, dim))))
    with np.errstate(divide="ignore"):  # of a weight that is 0
        log_w = np.log(w) + np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
    rows = log_w[:, None], mu, whitening.reshape(len(mu), -1)
    return np.concatenate(rows, axis=1).ravel()


@njit(types.void(_VECTOR, _VECTOR, types.float64, types.float64), **_SETTINGS)
def _add(total, x, centre, factor):
    for c in range(len(total)):
        total[c] += factor * (x[c] - centre)


@njit(types.void(_VECTOR, _VECTOR), **_SETTINGS)
def _subtract_half_square(total, z):
    for c in range(len(total)):
        total[c] -= 0.5 * z[c] * z[c]


@njit(types.void(_VECTOR, _VECTOR), **_SETTINGS)
def _raise_to(top, each):
    for c in range(len(top)):
        top[c] = max(top[c], each[c])


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _add_exponentials(total, each, top):
    """Total of the exponentials of what is below `top`; they take the place of `each`."""
    for c in range(len(total)):
        each[c] = exp(each[c] - top[c])
        total[c] += each[c]


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _logarithms(value, total, top):
    for c in range(len(value)):
        value[c] = log(total[c]) + top[c]


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _multiply_by_share(z, part, total):
    for c in range(len(z)):
        z[c] *= part[c] / total[c]


@njit(DENSITY.signature, **_SETTINGS)
def log_density(points, numbers):
    """Log densities (n,) in nats and gradients (n, d) at points (n, d).

    Parameters
    ----------
    points : ndarray (n, d)
    numbers : ndarray (k (1 + d + d^2),)
        From `numbers_of`, for any number of components k.

    Returns
    -------
    ndarray (n,), ndarray (n, d)
        Where every component underflows the log density is -inf and its gradient nan.
    """
    n, d = points.shape
    rows = numbers.reshape((-1, 1 + d + d * d))
    count = len(rows)
    values, slopes = np.empty(n), np.empty((n, d))
    size = max(1, min(n, _TOGETHER))
    x, z, each = np.empty((d, size)), np.empty((count * d, size)), np.empty((count, size))
    highest, sums, along = np.empty(size), np.empty(size), np.empty(size)
    for begin in range(0, n, size):
        m = min(size, n - begin)
        top, total, slope = highest[:m], sums[:m], along[:m]
        for i in range(d):
            for c in range(m):
                x[i, c] = points[begin + c, i]
        for c in range(m):
            top[c], total[c] = -np.inf, 0.0
        for k in range(count):
            for c in range(m):
                each[k, c] = rows[k, 0] - d * _HALF_LOG_2PI
            for i in range(d):
                for c in range(m):
                    z[k * d + i, c] = 0.0
                for j in range(i + 1):
                    w = rows[k, 1 + d + i * d + j]
                    if w != 0.0:
                        _add(z[k * d + i, :m], x[j, :m], rows[k, 1 + j], w)
                _subtract_half_square(each[k, :m], z[k * d + i, :m])
            _raise_to(top, each[k, :m])
        for c in range(m):
            top[c] = 0.0 if top[c] == -np.inf else top[c]
        for k in range(count):
            _add_exponentials(total, each[k, :m], top)
        _logarithms(values[begin : begin + m], total, top)
        for k in range(count):
            for i in range(d):
                _multiply_by_share(z[k * d + i, :m], each[k, :m], total)
        for j in range(d):
            for c in range(m):
                slope[c] = 0.0
            for k in range(count):
                for i in range(j, d):
                    w = rows[k, 1 + d + i * d + j]
                    if w != 0.0:
                        _add(slope, z[k * d + i, :m], 0.0, -w)
            for c in range(m):
                slopes[begin + c, j] = slope[c]
    return values, slopes
