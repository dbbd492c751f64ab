"""The steps of ADVI, compiled once for all targets: affine map, gradient, optimiser and schedule as loops over arrays.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI (a test compares every digit of a
run). Runs share nothing, so a run gives the same numbers alone or in company.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from models.graphs.signature import DENSITY

__all__ = ["advance", "losses"]

_VECTOR, _MATRIX = types.float64[::1], types.float64[:, ::1]
_CUBE, _BLOCK = types.float64[:, :, ::1], types.float64[:, :, :, ::1]

_EPSILON = 0.1  # of PyMC's adagrad_window
_CHUNK = 1024  # points whose temporaries a cache holds
_SETTINGS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(types.void(_MATRIX, _CUBE), **_SETTINGS)
def _set_factors(raw, factors):
    """Cholesky factors of raw scale parameters: softplus on the diagonal."""
    d = factors.shape[1]
    full = raw.shape[1] > d
    for r in range(len(raw)):
        for i in range(d):
            at = i * (i + 1) // 2 if full else i
            if full:
                for j in range(i):
                    factors[r, i, j] = raw[r, at + j]
                at += i
            factors[r, i, i] = max(raw[r, at], 0.0) + np.log1p(np.exp(-abs(raw[r, at])))


@njit(types.void(_MATRIX, _VECTOR, _VECTOR), **_SETTINGS)
def _solve_transposed(factor, z, slope):
    """Solve L' slope = z."""
    d = len(z)
    for i in range(d - 1, -1, -1):
        total = z[i]
        for j in range(i + 1, d):
            total -= factor[j, i] * slope[j]
        slope[i] = total / factor[i, i]


@njit(
    types.void(
        DENSITY, _VECTOR, _MATRIX, _MATRIX, _CUBE, _BLOCK, types.boolean, types.boolean, types.int64, types.int64,
        _VECTOR, _VECTOR, _MATRIX,
    ),
    **_SETTINGS,
)  # fmt: skip
def advance(density, numbers, mean, raw, state, noise, path, adam, clock, horizon, high, low, history):
    """Take some steps of R runs, in place.

    Parameters
    ----------
    density : first-class function `DENSITY`
    numbers : ndarray (m,)
    mean, raw : ndarray (R, d), (R, q)
        PyMC's ``mu``, and its ``rho`` (q = d) or ``L_tril`` by rows (q = d (d + 1) / 2).
    state : ndarray (R, d + q, w)
        Of the optimiser; zeros at the start of a round. w is the window of ``adagrad_window``, and 2 or more for Adam.
    noise : ndarray (steps, draws, R, d)
    path : bool
        Leave out of the gradient the derivative of log q by its own parameters, whose mean is zero (Roeder, Wu and Duvenaud, 2017).
    adam : bool
        Adam, or PyMC's ``adagrad_window``.
    clock, horizon : int
        Steps taken of the round, and its length: the rate falls from `high` to `low`, each (R,), along half a cosine.
    history : ndarray (steps, R)
        Gets the losses (-ELBO, nats) before each step.
    """
    steps, draws, runs, d = noise.shape
    q = raw.shape[1]
    full = q > d
    factors = np.zeros((runs, d, d))
    points, gradient = np.empty((draws * runs, d)), np.empty(d + q)
    z, back = np.empty(d), np.empty(d)
    for t in range(steps):
        _set_factors(raw, factors)
        for s in range(draws):
            for r in range(runs):
                for i in range(d):
                    x = mean[r, i]
                    for j in range(0 if full else i, i + 1):
                        x += factors[r, i, j] * noise[t, s, r, j]
                    points[s * runs + r, i] = x
        values, slopes = density(points, numbers)
        age = clock + t
        fall = 0.5 * (1.0 + np.cos(np.pi * min(age / horizon, 1.0)))
        ahead = np.sqrt(1.0 - 0.999 ** (age + 1)) / (1.0 - 0.9 ** (age + 1))
        for r in range(runs):
            loss = 0.0
            gradient[:] = 0.0
            for s in range(draws):
                log_q = 0.0
                for i in range(d):
                    z[i] = noise[t, s, r, i]
                    log_q -= 0.5 * z[i] ** 2
                loss += log_q - values[s * runs + r]
                if path:
                    _solve_transposed(factors[r], z, back)
                for i in range(d):
                    slope = -slopes[s * runs + r, i] - (back[i] if path else 0.0)
                    gradient[i] += slope
                    at = d + (i * (i + 1) // 2 if full else i)
                    if full:
                        for j in range(i + 1):
                            gradient[at + j] += slope * z[j]
                    else:
                        gradient[at] += slope * z[i]
            loss /= draws
            for k in range(d + q):
                gradient[k] /= draws
            for i in range(d):
                loss -= 0.5 * np.log(2 * np.pi) + np.log(factors[r, i, i])
                at = i * (i + 1) // 2 + i if full else i
                if not path:
                    gradient[d + at] -= 1.0 / factors[r, i, i]
                gradient[d + at] /= 1.0 + np.exp(-raw[r, at])  # the derivative of softplus
            history[t, r] = loss
            rate = low[r] + (high[r] - low[r]) * fall
            for k in range(d + q):
                g = gradient[k]
                if adam:
                    state[r, k, 0] = 0.9 * state[r, k, 0] + 0.1 * g
                    state[r, k, 1] = 0.999 * state[r, k, 1] + 0.001 * g**2
                    step = rate * ahead * state[r, k, 0] / (np.sqrt(state[r, k, 1]) + 1e-8)
                else:
                    state[r, k, age % state.shape[2]] = g**2
                    step = rate * g / np.sqrt(state[r, k].sum() + _EPSILON)
                if k < d:
                    mean[r, k] -= step
                else:
                    raw[r, k - d] -= step


@njit(types.Tuple((_VECTOR, _MATRIX, _CUBE))(DENSITY, _VECTOR, _MATRIX, _CUBE, _MATRIX), **_SETTINGS)
def losses(density, numbers, mean, factor, noise):
    """Losses (R,) of members (mean, L) on given noise (n, d), with gradients by mean (R, d) and by L (R, d, d)."""
    runs, d = mean.shape
    n = len(noise)
    value, slope, slope_factor = np.zeros(runs), np.zeros((runs, d)), np.zeros((runs, d, d))
    for r in range(runs):
        for begin in range(0, n, _CHUNK):
            size = min(_CHUNK, n - begin)
            points = np.empty((size, d))
            for s in range(size):
                for i in range(d):
                    x = mean[r, i]
                    for j in range(d):
                        x += factor[r, i, j] * noise[begin + s, j]
                    points[s, i] = x
            values, slopes = density(points, numbers)
            for s in range(size):
                value[r] -= values[s]
                for i in range(d):
                    value[r] -= 0.5 * noise[begin + s, i] ** 2
                    slope[r, i] -= slopes[s, i]
                    for j in range(d):
                        slope_factor[r, i, j] -= slopes[s, i] * noise[begin + s, j]
        value[r] /= n
        for i in range(d):
            value[r] -= 0.5 * np.log(2 * np.pi) + np.log(factor[r, i, i])
            slope[r, i] /= n
            for j in range(d):
                slope_factor[r, i, j] /= n
            slope_factor[r, i, i] -= 1.0 / factor[r, i, i]
    return value, slope, slope_factor
