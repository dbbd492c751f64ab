"""The steps of ADVI, compiled once for all targets: affine map, gradient, optimiser and schedule as loops over arrays.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI (a test compares every digit of a
run). Runs share nothing, so a run gives the same numbers alone or in company. Along the last axis of every array lie the R runs, or
the columns: each draw of each run, C = draws R, run by run for the first draw first. The innermost loops go over them, which the
compiler takes several at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from models.graphs.elementary import exp, log, log1p
from models.graphs.signature import DENSITY

__all__ = ["advance", "losses"]

_VECTOR, _MATRIX = types.float64[::1], types.float64[:, ::1]
_CUBE = types.float64[:, :, ::1]

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_EPSILON = 0.1  # of PyMC's adagrad_window
_CHUNK = 1024  # points whose temporaries a cache holds
_SETTINGS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _softplus(x, value, slope):
    """Softplus and its derivative."""
    for r in range(len(x)):
        tail = exp(-abs(x[r]))
        value[r] = max(x[r], 0.0) + log1p(tail)
        slope[r] = (1.0 if x[r] >= 0 else tail) / (1.0 + tail)


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _add_product(total, a, b):
    for r in range(len(total)):
        total[r] += a[r] * b[r]


@njit(types.void(_VECTOR, _VECTOR, _VECTOR), **_SETTINGS)
def _subtract_product(total, a, b):
    for r in range(len(total)):
        total[r] -= a[r] * b[r]


@njit(types.void(_VECTOR, _VECTOR, _VECTOR, _VECTOR, types.boolean), **_SETTINGS)
def _finish_scale(loss, gradient, factor, bend, path):
    """Entropy of a coordinate, without `path` its derivative by the scale, and the derivative of the scale by its parameter."""
    share = 0.0 if path else 1.0
    for r in range(len(loss)):
        loss[r] -= _HALF_LOG_2PI + log(factor[r])
        gradient[r] = (gradient[r] - share / factor[r]) * bend[r]


@njit(types.void(_VECTOR, _VECTOR, _VECTOR, _VECTOR, _VECTOR, types.float64), **_SETTINGS)
def _adam(x, first, second, gradient, rate, ahead):
    for r in range(len(x)):
        g = gradient[r]
        first[r] = 0.9 * first[r] + 0.1 * g
        second[r] = 0.999 * second[r] + 0.001 * g**2
        x[r] -= rate[r] * ahead * first[r] / (np.sqrt(second[r]) + 1e-8)


@njit(types.void(_VECTOR, _MATRIX, _VECTOR, _VECTOR, types.int64), **_SETTINGS)
def _adagrad_window(x, squares, gradient, rate, place):
    for r in range(len(x)):
        squares[place, r] = gradient[r] ** 2
        total = 0.0
        for v in range(len(squares)):
            total += squares[v, r]
        x[r] -= rate[r] * gradient[r] / np.sqrt(total + _EPSILON)


@njit(types.int64(types.int64, types.int64, types.boolean), **_SETTINGS)
def _at(i, j, full):
    """Place of L[i, j] among the scale parameters: the lower triangle by rows, or the diagonal alone."""
    return i * (i + 1) // 2 + j if full else i


@njit(types.void(_VECTOR, _VECTOR), **_SETTINGS)
def _spread(few, columns):
    """Repeat what R runs have for all draws: columns (draws R,)."""
    runs = len(few)
    for r in range(runs):
        columns[r] = few[r]
    done = runs
    while done < len(columns):
        for c in range(min(done, len(columns) - done)):
            columns[done + c] = columns[c]
        done *= 2


@njit(types.void(_VECTOR, _VECTOR), **_SETTINGS)
def _average(columns, few):
    """Average over draws, in place: by halves, so that the order of the sums depends on no number of runs."""
    runs = len(few)
    draws = left = len(columns) // runs
    while left > 1:
        half = left // 2
        left -= half
        for c in range(half * runs):
            columns[c] += columns[left * runs + c]
    for r in range(runs):
        few[r] = columns[r] / draws


@njit(types.void(_MATRIX, _MATRIX, _MATRIX, types.boolean, _VECTOR, _VECTOR, _MATRIX), **_SETTINGS)
def _points(mean, factor, noise, full, x, wide, points):
    """Points (C, d) of noise (d, C)."""
    for i in range(len(noise)):
        _spread(mean[i], x)
        for j in range(0 if full else i, i + 1):
            _spread(factor[_at(i, j, full)], wide)
            _add_product(x, wide, noise[j])
        for c in range(len(x)):
            points[c, i] = x[c]


@njit(types.void(_MATRIX, _MATRIX, types.boolean, _VECTOR, _MATRIX), **_SETTINGS)
def _solve_transposed(factor, noise, full, wide, back):
    """Solve L' back = z."""
    d = len(noise)
    for i in range(d - 1, -1, -1):
        for c in range(len(wide)):
            back[i, c] = noise[i, c]
        for j in range(i + 1, d if full else 0):
            _spread(factor[_at(j, i, full)], wide)
            _subtract_product(back[i], wide, back[j])
        _spread(factor[_at(i, i, full)], wide)
        for c in range(len(wide)):
            back[i, c] /= wide[c]


@njit(types.void(_VECTOR, _MATRIX, _MATRIX, types.boolean, _MATRIX, _VECTOR, _VECTOR, _VECTOR, _MATRIX), **_SETTINGS)
def _averages(values, slopes, noise, full, back, slope, wide, loss, gradient):
    """Loss and gradient by mean and scales, but for the entropy, which depends on no draw."""
    d = len(noise)
    for c in range(len(wide)):
        wide[c] = -values[c]
    for i in range(d):
        for c in range(len(wide)):
            wide[c] -= 0.5 * noise[i, c] ** 2
    _average(wide, loss)
    for i in range(d):
        for c in range(len(slope)):
            slope[c] = -slopes[c, i] - back[i, c]
        for j in range(0 if full else i, i + 1):
            for c in range(len(wide)):
                wide[c] = slope[c] * noise[j, c]
            _average(wide, gradient[d + _at(i, j, full)])
        _average(slope, gradient[i])


@njit(
    types.void(
        DENSITY, _VECTOR, _MATRIX, _CUBE, _CUBE, types.boolean, types.boolean, types.int64, types.int64, _VECTOR, _VECTOR,
        _MATRIX,
    ),
    **_SETTINGS,
)  # fmt: skip
def advance(density, numbers, theta, state, noise, path, adam, clock, horizon, high, low, history):
    """Take some steps of R runs, in place.

    Parameters
    ----------
    density : first-class function `DENSITY`
    numbers : ndarray (m,)
    theta : ndarray (d + q, R)
        PyMC's ``mu``, and its ``rho`` (q = d) or ``L_tril`` by rows (q = d (d + 1) / 2).
    state : ndarray (d + q, w, R)
        Of the optimiser; zeros at the start of a round. w is the window of ``adagrad_window``, and 2 or more for Adam.
    noise : ndarray (steps, d, draws R)
    path : bool
        Leave out of the gradient the derivative of log q by its own parameters, whose mean is zero (Roeder, Wu and Duvenaud, 2017).
    adam : bool
        Adam, or PyMC's ``adagrad_window``.
    clock, horizon : int
        Steps taken of the round, and its length: the rate falls from `high` to `low`, each (R,), along half a cosine.
    history : ndarray (steps, R)
        Gets the losses (-ELBO, nats) before each step.
    """
    steps, d, columns = noise.shape
    full = len(theta) > 2 * d
    mean, raw = theta[:d], theta[d:]
    factor, bend, gradient, rate = np.empty(raw.shape), np.empty(raw.shape), np.empty(theta.shape), np.empty(len(high))
    points, back, wide, row = np.empty((columns, d)), np.zeros((d, columns)), np.empty(columns), np.empty(columns)
    for t in range(steps):
        for k in range(len(raw) if full else 0):
            for r in range(len(rate)):
                factor[k, r] = raw[k, r]
        for i in range(d):
            k = _at(i, i, full)
            _softplus(raw[k], factor[k], bend[k])
        _points(mean, factor, noise[t], full, row, wide, points)
        values, slopes = density(points, numbers)
        if path:
            _solve_transposed(factor, noise[t], full, wide, back)
        _averages(values, slopes, noise[t], full, back, row, wide, history[t], gradient)
        for i in range(d):
            k = _at(i, i, full)
            _finish_scale(history[t], gradient[d + k], factor[k], bend[k], path)
        age = clock + t
        fall = 0.5 * (1.0 + np.cos(np.pi * min(age / horizon, 1.0)))
        ahead = np.sqrt(1.0 - 0.999 ** (age + 1)) / (1.0 - 0.9 ** (age + 1))
        for r in range(len(rate)):
            rate[r] = low[r] + (high[r] - low[r]) * fall
        for k in range(len(theta)):
            if adam:
                _adam(theta[k], state[k, 0], state[k, 1], gradient[k], rate, ahead)
            else:
                _adagrad_window(theta[k], state[k], gradient[k], rate, age % state.shape[1])


@njit(types.Tuple((_VECTOR, _MATRIX, _CUBE))(DENSITY, _VECTOR, _MATRIX, _CUBE, _MATRIX), **_SETTINGS)
def losses(density, numbers, mean, factor, noise):
    """Losses (R,) of members (mean, L) on given noise (n, d), with gradients by mean (R, d) and by L (R, d, d)."""
    runs, d = mean.shape
    n = len(noise)
    value, slope, slope_factor = np.zeros(runs), np.zeros((runs, d)), np.zeros((runs, d, d))
    log_q = -_HALF_LOG_2PI * d - 0.5 * np.square(noise).sum() / n  # of the noise, on average
    for r in range(runs):
        total = 0.0
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
                total += values[s]
                for i in range(d):
                    slope[r, i] -= slopes[s, i]
                    for j in range(d):
                        slope_factor[r, i, j] -= slopes[s, i] * noise[begin + s, j]
        value[r] = log_q - total / n
        for i in range(d):
            value[r] -= np.log(factor[r, i, i])
            slope[r, i] /= n
            for j in range(d):
                slope_factor[r, i, j] /= n
            slope_factor[r, i, i] -= 1.0 / factor[r, i, i]
    return value, slope, slope_factor
