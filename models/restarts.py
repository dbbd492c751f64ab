"""One step of ADVI for all restarts at once: parameters with a leading axis, and the noise that drives each of them.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI. Restarts share no
parameter, so the gradient of the sum of their losses is the gradient of each, and a restart gives the same numbers alone
or in company.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import disconnected_grad
from pytensor.graph.replace import vectorize_graph
from scipy.special import ndtri

from models.distributions import MULTIVARIATE, batched_logp, symbols
from models.graphs import Backend, compile_graph
from models.targets import Target

__all__ = [
    "Gradient",
    "Loss",
    "Noise",
    "Optimizer",
    "Step",
    "compile_loss",
    "compile_step",
    "draw_noise",
    "factors",
    "raw_scales",
]

Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
Optimizer = Literal["adam", "adagrad_window"]
Gradient = Literal["path", "total"]
Noise = Literal["latin hypercube", "independent"]


@dataclass(frozen=True, eq=False)
class Step:
    """One optimisation step of R restarts, with PyMC's parameters as shared variables.

    Attributes
    ----------
    function : callable (draws, R, d) -> (R,)
        Takes standard Normal noise, updates the parameters, and returns the losses (-ELBO, nats) before the update.
    mu : shared variable (R, d)
    raw : shared variable (R, q)
        ``rho`` (q = d) of mean field; the lower triangle of L by rows (q = d (d + 1) / 2) of full rank. Softplus of rho, or of
        the diagonal of L, is a scale.
    """

    function: Callable[[Array], Array]
    mu: Any
    raw: Any
    _state: Sequence[Any]
    _rate: Sequence[Any]
    _density: Sequence[Any]

    def reset(self, target: Target, mean: Array, raw: Array, *, steps: int, high: Array, low: Array) -> None:
        """Put R restarts at their starts, with a fresh optimiser whose rate falls from `high` to `low`, each (R,)."""
        self.mu.set_value(np.array(mean, dtype=float))
        self.raw.set_value(np.array(raw, dtype=float))
        for shared in self._state:
            value = shared.get_value()
            shared.set_value(np.zeros((len(mean), *value.shape[1:]) if value.ndim else (), dtype=value.dtype))
        clock, horizon, first, last = self._rate
        clock.set_value(np.asarray(0.0))
        horizon.set_value(np.asarray(float(steps)))
        first.set_value(np.asarray(high, dtype=float)[:, None])
        last.set_value(np.asarray(low, dtype=float)[:, None])
        for shared, number in zip(self._density, _numbers(target), strict=True):
            shared.set_value(number)


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of R members (mean, L) on given noise, with gradients: what the optimiser sees, without its parametrisation."""

    function: Callable[..., list[Array]]
    target: Target

    def __call__(self, mean: Array, factor: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Losses (R,), gradients by mean (R, d) and by L (R, d, d), for noise (n, d) common to all restarts."""
        size, dim = mean.shape
        share = max(1, int(_MOST_ENTRIES // max(1, noise.size * (dim if self._full(factor) else 1))))
        parts = [slice(i, i + share) for i in range(0, size, share)]
        with np.errstate(all="ignore"):  # not finite is an answer here
            rows = [self.function(mean[p], factor[p], noise[:, None, :], *_numbers(self.target)) for p in parts]
        value, slope, slope_factor = (np.concatenate(column) for column in zip(*rows, strict=True))
        return value, slope, slope_factor

    @staticmethod
    def _full(factor: Array) -> bool:
        return bool(np.any(np.tril(factor, -1)))


_MOST_ENTRIES = 1e5  # numbers in one array: what a cache holds


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


def compile_step(
    target: Target, method: Method, optimizer: Optimizer, gradient: Gradient = "total", backend: Backend = "numpy"
) -> Step:
    """Compile one step; targets of one kind share it, and so do all numbers of restarts and draws.

    The ``total`` gradient of log q - log p is PyMC's. Of its terms, the derivative of log q by its own parameters has mean zero;
    the ``path`` gradient leaves it out, and so has no variance at all where q is p (Roeder, Wu and Duvenaud, 2017).
    """
    return _step(_subject(target), target.dim, method, optimizer, gradient, backend)


def compile_loss(target: Target, backend: Backend = "numpy") -> Loss:
    """Compile the loss on given noise."""
    return Loss(_loss(_subject(target), target.dim, backend), target)


# --- graphs ----------------------------------------------------------------------------------------------------------


class _Same:
    """A key that holds what the graph was made of: the same object, with the same variables."""

    def __init__(self, target: Target) -> None:
        self.target = target
        model = target.source
        self._key = (id(target), 0) if model is None else (id(model), len(model.basic_RVs) + len(model.potentials))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key == other._key


def _by_key(target: Target) -> bool:
    return target.distribution is not None and target.distribution.support_map is None


def _subject(target: Target) -> Any:
    """What a compiled graph depends on: the kind of density if its numbers can be inputs, else the target itself."""
    return target.distribution.key if target.distribution is not None and _by_key(target) else _Same(target)


def _numbers(target: Target) -> list[Array]:
    if target.distribution is None or not _by_key(target):
        return []
    return [np.asarray(v, dtype=float) for v in target.distribution.params.values()]


def _logp(subject: Any, params: dict[str, Any], points: Any) -> Any:
    """Log densities (n,) in unconstrained space at points (n, d)."""
    if not isinstance(subject, _Same):
        multivariate = subject[0] in MULTIVARIATE
        flat = points if multivariate else points[:, 0]
        return batched_logp(subject[0], params, multivariate=multivariate, points=flat)[1]
    target = subject.target
    if target.source is not None:
        point, joint = target.joint_graph()
        return vectorize_graph(joint, {point: points})
    model = target.model()
    return vectorize_graph(model.logp(), {model.value_vars[0]: points[:, 0]})


def _log_ratio(
    subject: Any,
    params: dict[str, Any],
    mean: Any,
    factor: Any,
    diagonal: Any,
    noise: Any,
    gradient: Gradient = "total",
) -> Any:
    """Log q - log p at x = mean + L noise, as (draws, R); `factor` is ``None`` for a diagonal L."""
    dim = mean.type.shape[1]
    x = mean + (diagonal * noise if factor is None else pt.sum(factor * noise[:, :, None, :], axis=-1))
    logq = (-0.5 * noise**2 - 0.5 * np.log(2 * np.pi) - pt.log(diagonal)).sum(axis=-1)
    if gradient == "path":
        # The derivative of log q by x is -L^-T noise; as a fixed slope along x it has that derivative and no other.
        if factor is None:
            slope = noise / diagonal
        else:
            inverse: Any = pt.linalg.inv(factor)
            slope = (inverse.mT * noise[:, :, None, :]).sum(axis=-1)
        along = (disconnected_grad(slope) * (x - disconnected_grad(x))).sum(axis=-1)
        logq = disconnected_grad(logq) - along
    return logq - _logp(subject, params, x.reshape((-1, dim))).reshape(x.shape[:2])


@lru_cache(maxsize=32)
def _step(subject: Any, dim: int, method: Method, optimizer: Optimizer, gradient: Gradient, backend: Backend) -> Step:
    size = dim if method == "advi" else dim * (dim + 1) // 2
    mu = pytensor.shared(np.zeros((1, dim)), "mu", shape=(None, dim))
    raw = pytensor.shared(np.zeros((1, size)), "rho" if method == "advi" else "L_tril", shape=(None, size))
    params = {} if isinstance(subject, _Same) else {
        name: pytensor.shared(np.zeros(shape), name, shape=shape) for name, shape in subject[1]
    }  # fmt: skip
    noise = pt.tensor3("noise", shape=(None, None, dim))
    factor = None
    if method == "advi":
        diagonal = pt.softplus(raw)
    else:
        rows, cols = np.tril_indices(dim)
        entries = pt.zeros((raw.shape[0], dim, dim))[:, rows, cols].set(raw)
        on_diagonal = np.arange(dim)
        diagonal = pt.softplus(entries[:, on_diagonal, on_diagonal])
        factor = entries[:, on_diagonal, on_diagonal].set(diagonal)
    loss = _log_ratio(subject, params, mu, factor, diagonal, noise, gradient).mean(axis=0)
    rate = [pytensor.shared(np.asarray(0.0), name) for name in ("clock", "steps")]
    rate += [pytensor.shared(np.zeros((1, 1)), name, shape=(None, 1)) for name in ("high", "low")]
    updates = _updates(optimizer, loss.sum(), [mu, raw], *rate)
    function = compile_graph([noise], loss, updates=updates, backend=backend)
    function.trust_input = True
    state = [v for v in updates if v not in (mu, raw, *rate)]
    return Step(function, mu, raw, state, rate, list(params.values()))


def _updates(optimizer: Optimizer, loss: Any, params: list[Any], clock: Any, steps: Any, high: Any, low: Any) -> Any:
    if optimizer == "adagrad_window":
        return pm.adagrad_window(loss, params)
    rate = low + 0.5 * (high - low) * (1 + pt.cos(np.pi * pt.minimum(clock / steps, 1.0)))
    updates = pm.adam(loss, params, learning_rate=rate)
    updates[clock] = clock + 1
    return updates


@lru_cache(maxsize=32)
def _loss(subject: Any, dim: int, backend: Backend) -> Any:
    mean, noise = pt.matrix("mean", shape=(None, dim)), pt.tensor3("noise", shape=(None, 1, dim))
    factor = pt.tensor3("factor", shape=(None, dim, dim))
    params = {} if isinstance(subject, _Same) else symbols(subject)
    on_diagonal = np.arange(dim)
    ratio = _log_ratio(subject, params, mean, factor, factor[:, on_diagonal, on_diagonal], noise)
    loss = ratio.mean(axis=0)
    slopes: Any = pt.grad(loss.sum(), [mean, factor])
    return compile_graph([mean, factor, noise, *params.values()], [loss, *slopes], backend=backend)
