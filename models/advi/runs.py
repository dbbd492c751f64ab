"""Runs of ADVI side by side: their parameters, the noise that drives each of them, and the loss that they minimise.

The steps themselves are compiled (`models.advi.steps`); a run gives the same numbers alone or in company, on one core or several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from threading import local
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.graphs.log_density import LogDensity

__all__ = [
    "Gradient",
    "Loss",
    "Method",
    "Noise",
    "Optimizer",
    "Steps",
    "cores",
    "draw_noise",
    "factors",
    "in_threads",
    "noise_steps",
    "raw_scales",
]

Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
Optimizer = Literal["adam", "adagrad_window"]
Gradient = Literal["path", "total"]
Noise = Literal["latin hypercube", "independent"]


class Steps:
    """A round of R runs, with PyMC's parameters.

    Parameters
    ----------
    density : LogDensity
    mean : ndarray (R, d)
    raw : ndarray (R, q)
        ``rho`` (q = d) of mean field; the lower triangle of L by rows (q = d (d + 1) / 2) of full rank. Softplus of rho, or of
        the diagonal of L, is a scale.
    optimizer : {"adam", "adagrad_window"}
    gradient : {"path", "total"}
        The ``total`` gradient of log q - log p is PyMC's. Of its terms, the derivative of log q by its own parameters has mean
        zero; the ``path`` gradient leaves it out, and so has no variance at all where q is p (Roeder, Wu and Duvenaud, 2017).
    steps : int
        Of the round, over which Adam's rate falls from `high` to `low`, each (R,).
    window : int
        Gradients in the normaliser of ``adagrad_window``, whose rate is `rate` throughout.

    Attributes
    ----------
    mean, raw : ndarray
        Where the runs are now.
    state : ndarray (d + q, window, R)
        Of the optimiser.
    """

    def __init__(
        self,
        density: LogDensity,
        mean: Array,
        raw: Array,
        *,
        optimizer: Optimizer,
        gradient: Gradient,
        steps: int,
        high: Array,
        low: Array,
        window: int = 10,
        rate: float = 0.001,
    ) -> None:
        self._theta, self._dim = np.ascontiguousarray(np.concatenate([mean, raw], axis=1, dtype=float).T), mean.shape[1]
        self._density, self._kind = density, (gradient == "path", optimizer == "adam")
        self.state = np.zeros((len(self._theta), window, len(mean)))
        self._clock, self._steps = 0, steps
        constant = np.full(len(mean), rate)
        self._high, self._low = (
            constant if optimizer == "adagrad_window" else np.array(given, dtype=float) for given in (high, low)
        )

    @property
    def mean(self) -> Array:
        """Means (R, d)."""
        return self._theta[: self._dim].T.copy()

    @property
    def raw(self) -> Array:
        """Scale parameters (R, q)."""
        return self._theta[self._dim :].T.copy()

    def advance(self, noise: Array) -> Array:
        """Take as many steps as `noise` (steps, draws, R, d) holds; return the losses (-ELBO, nats) before each, (steps, R)."""
        from models.advi.steps import advance

        history = np.empty((len(noise), noise.shape[2]))
        columns = np.moveaxis(noise, 3, 1).reshape(len(noise), self._dim, -1)
        advance(self._density.function, self._density.numbers, self._theta, self.state, np.ascontiguousarray(columns),
                *self._kind, self._clock, self._steps, self._high, self._low, history)  # fmt: skip
        self._clock += len(noise)
        return history


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of R members (mean, L) on given noise, with gradients: what the optimiser sees, without its parametrisation."""

    density: LogDensity

    def __call__(self, mean: Array, factor: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Losses (R,), gradients by mean (R, d) and by L (R, d, d), for noise (n, d) common to all runs."""
        from models.advi.steps import losses

        mean, factor, noise = (np.ascontiguousarray(a, dtype=float) for a in (mean, factor, noise))

        def some(rows: slice) -> tuple[Array, Array, Array]:
            found: tuple[Array, Array, Array] = losses(
                self.density.function, self.density.numbers, mean[rows], factor[rows], noise
            )
            return found

        parts = in_threads(some, len(mean), _EVALUATIONS // max(1, len(noise)))
        value, slope, slope_factor = (np.concatenate(column) for column in zip(*parts, strict=True))
        return value, slope, slope_factor


_EVALUATIONS = 20_000  # of a log density, below which a thread is not worth starting


def in_threads[T](work: Callable[[slice], T], count: int, least: int) -> list[T]:
    """Work on parts of `count` things in threads, at least `least` of them in each; compiled loops hold no lock.

    Returns
    -------
    list
        What `work` returns for each part, in order.
    """
    number = 1 if _LOCAL.inside else min(cores(), max(1, count // max(1, least)))
    ends = np.linspace(0, count, number + 1).astype(int)
    first, *others = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    if not others:
        return [work(first)]
    pool = _pool(cores() - 1)
    futures = [pool.submit(work, rows) for rows in others]
    try:
        return [work(first), *(future.result() for future in futures)]
    finally:
        wait(futures)


class _Local(local):
    inside = False  # a part that is itself worked on in parts takes them one by one: its thread would wait for itself


_LOCAL = _Local()


def _enter() -> None:
    _LOCAL.inside = True


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: starting one takes as long as a thousand evaluations of a density."""
    return ThreadPoolExecutor(threads, initializer=_enter)


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads are not forked


def cores() -> int:
    """Cores that this process may use: workers beside others are told by ``NUMBA_NUM_THREADS`` to use one."""
    return int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))


def noise_steps(draws: int, dim: int) -> int:
    """Steps whose noise is drawn at once: it depends on the shape of one step only, so that company changes no draw."""
    return int(np.clip(_NUMBERS // (draws * dim), 1, 1000))


_NUMBERS = 8192  # of the noise of one run


def raw_scales(method: Method, sd: Array | None, dim: int) -> Array:
    """PyMC's raw scale parameters (q,) of a start with diagonal covariance; its default scales without an `sd`."""
    diagonal = np.log(np.expm1(sd)) if sd is not None else np.full(dim, 0.0 if method == "advi" else 1.0)
    return np.asarray(diagonal) if method == "advi" else np.diag(diagonal)[np.tril_indices(dim)]


def factors(method: Method, raw: Array, dim: int) -> Array:
    """Cholesky factors (R, d, d) of raw scale parameters (R, q)."""
    result = np.zeros((len(raw), dim, dim))
    on_diagonal = np.arange(dim)
    if method == "advi":
        result[:, on_diagonal, on_diagonal] = raw
    else:
        rows, cols = np.tril_indices(dim)
        result[:, rows, cols] = raw
    with np.errstate(invalid="ignore"):  # of a run that was lost
        result[:, on_diagonal, on_diagonal] = np.logaddexp(0, result[:, on_diagonal, on_diagonal])
    return result


def draw_noise(generators: Sequence[np.random.Generator], steps: int, draws: int, dim: int, kind: Noise) -> Array:
    """Standard Normal noise (steps, draws, R, dim) for some steps, from one generator for each restart.

    A Latin hypercube puts one of the draws of a step in each of as many slices of equal probability, along every coordinate:
    what a gradient has of a sum over coordinates then loses nearly all its variance (Stein, 1987; for variational inference
    Buchholz, Wenzel and Mandt, 2018).
    """
    if kind == "independent" or draws == 1:
        return np.stack([g.standard_normal((steps, draws, dim)) for g in generators], axis=2)
    slices = np.broadcast_to(np.arange(draws)[:, None], (steps, draws, dim))
    levels = [
        ((g.permuted(slices, axis=1) if dim > 1 else slices) + g.random((steps, draws, dim))) / draws
        for g in generators
    ]
    return np.asarray(ndtri(np.stack(levels, axis=2)))
