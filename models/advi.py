"""ADVI: reverse KL minimised by stochastic gradients on a PyMC model, from many explicit starts at once.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI (a test compares every
digit of a run). What is added: all starts run as one graph with a leading axis, each with its own noise, so that a start
gives the same numbers alone or in company; the learning rate falls along half a cosine; and every run is judged by its
own evidence. PyMC's defaults (``adagrad_window``, one draw a step) are kept as ``PYMC_DEFAULT`` for comparison: at the
optimum of ½N(-3,1) + ½N(3,1) they inflate the standard deviation by 9 to 14 % after 60 000 steps (pymc issue 8444).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from pytensor.graph.replace import vectorize_graph

from models.distributions import batched_logp
from models.errors import InputError, lookup_error
from models.expectations import Estimate
from models.families import FAMILIES, Family
from models.graphs import compile_graph, single_threaded
from models.results import draws_of
from models.targets import Target, from_model

__all__ = ["METHODS", "PYMC_DEFAULT", "Schedule", "Start", "default_starts", "fit_advi", "negative_elbo", "spread"]

Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
_CHUNK = 100  # steps whose noise is drawn at once

#: The family that each of PyMC's methods fits; in one dimension both are ``normal``.
METHODS = {"advi": "mvnormal_diag", "fullrank_advi": "mvnormal"}


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes
    ----------
    label : str
    mean : ndarray (d,)
        In unconstrained space.
    sd : ndarray (d,), optional
        PyMC's default if not given: softplus(0) = 0.693 for mean field, softplus(1) = 1.313 for full rank.
    """

    label: str
    mean: Array
    sd: Array | None = None


@dataclass(frozen=True)
class Schedule:
    """How a run is optimised.

    Attributes
    ----------
    steps : int
    draws_per_step : int
        Monte Carlo draws in each gradient.
    optimizer : {"adam", "adagrad_window"}
        ``adam`` with a learning rate that falls from `learning_rate` to `final_learning_rate` along half a cosine, or
        PyMC's default ``adagrad_window`` at its default settings.
    learning_rate, final_learning_rate : float
        In units of the target's spread (see `spread`), since Adam's steps are as long as its learning rate: a rate that
        suits modes 6 apart is too small for modes 25 apart.
    """

    steps: int = 3000
    draws_per_step: int = 100
    optimizer: Literal["adam", "adagrad_window"] = "adam"
    learning_rate: float = 0.02
    final_learning_rate: float = 4e-5


#: What ``pm.fit(method="advi")`` does when nothing is said.
PYMC_DEFAULT = Schedule(steps=10_000, draws_per_step=1, optimizer="adagrad_window")


def default_starts(target: Target) -> list[Start]:
    """PyMC's own start, and one at each mode of the target.

    Parameters
    ----------
    target : Target
        With a density.

    Returns
    -------
    list of Start
        ``centre`` is the model's initial point, where ``pm.fit`` starts; then ``mode 1``, ``mode 2``, ... from left.
    """
    point = target.model().initial_point()
    centre = np.concatenate([np.ravel(v) for v in point.values()]).astype(float)
    modes = target.modes[np.lexsort(target.modes.T[::-1])] if len(target.modes) > 1 else target.modes[:0]
    return [Start("centre", centre), *[Start(f"mode {i + 1}", mode) for i, mode in enumerate(modes)]]


@single_threaded
def fit_advi(
    target_or_model: Target | Any,
    *,
    method: Method = "advi",
    starts: Sequence[Start] | None = None,
    seed: int = 0,
    schedule: Schedule | None = None,
    draws: int = 2000,
    on_step: Callable[[int], None] | None = None,
) -> xr.DataTree:
    """Fit by PyMC's ADVI from several starts and say which distinct optima were reached.

    Parameters
    ----------
    target_or_model : Target or pymc.Model
        With a density; a PyMC model stands for its posterior.
    method : {"advi", "fullrank_advi"}
    starts : sequence of Start, optional
        Default: `default_starts`.
    seed : int
        Restart i uses the i-th child of this seed, so adding starts changes no earlier run.
    schedule : Schedule, optional
    draws : int
        Draws of each distinct optimum to keep.
    on_step : callable, optional
        Called with the number of steps finished since the last call, for a progress bar.

    Returns
    -------
    xarray.DataTree
        ``restarts``: ``start_mean``, ``start_sd``, ``mean``, ``sd``, ``cov``, ``loss`` (-ELBO, nats) with ``loss_se``,
        ``drift`` and ``converged`` over ``restart``, ``optimum`` (the index of the child it belongs to), and the loss
        history ``history`` over (restart, iteration). Children ``optimum_0``, ... (lowest loss first): ``posterior``,
        ``sample_stats`` with ``log_p`` and ``log_q``, ``fit`` and ``vi_trace``. Everything in unconstrained space.

    Raises
    ------
    InputError
        If the target has no density, a start has the wrong length, there are none, or the seed is negative.
    FloatingPointError
        If the loss is not finite at a start.

    Notes
    -----
    Kucukelbir et al. (2017), algorithm 1, with Adam. A run counts as converged if over its last tenth no mean moved by
    more than 0.05 of its sd, and no sd by more than 5 %: about a thousandth of a nat.
    """
    target = _as_target(target_or_model)
    schedule = schedule or Schedule()
    if method not in METHODS:
        raise lookup_error("method", method, METHODS)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    starts = default_starts(target) if starts is None else list(starts)
    if not starts:
        raise InputError("there are no starts; give at least one")
    for start in starts:
        if len(start.mean) != target.dim:
            raise InputError(f"start {start.label!r} has {len(start.mean)} coordinates; the target has {target.dim}")
    runs = _run_all(target, method, starts, seed, schedule, on_step)
    return _tree(target, method, starts, runs, seed, schedule, draws)


def negative_elbo(target: Target, member: Target, n: int, seed: int) -> Estimate:
    """Monte Carlo estimate of KL(member||target) (-ELBO for an unnormalised target), with its standard error.

    Parameters
    ----------
    target, member : Target
    n : int
        Number of draws of the member.
    seed : int
    """
    x = member.rvs(n, seed)
    ratio = member.logp(x) - target.logp(x)
    return Estimate(float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(n)), "draws")


def _as_target(target_or_model: Target | Any) -> Target:
    target = target_or_model if isinstance(target_or_model, Target) else from_model(target_or_model)
    if not target.has_density:
        raise InputError(
            f"target {target.name!r} is known by draws only, and ADVI needs a log density; "
            "fit a density to the draws first (fit_mle), or use forward KL, which needs draws alone"
        )
    return target


@dataclass(frozen=True, eq=False)
class _Run:
    mean: Array
    cov: Array
    history: Array
    drift: float
    start_sd: Array


@dataclass(frozen=True, eq=False)
class _Step:
    """One optimisation step of all restarts: the compiled function and PyMC-style parameters (R, ...) it updates."""

    function: Callable[[Array], Array]
    mu: Any
    raw: Any
    dim: int

    def moments(self) -> tuple[Array, Array]:
        """Means (R, d) and covariances (R, d, d)."""
        mean, raw = self.mu.get_value(), self.raw.get_value()
        if raw.shape[1] == self.dim and self.raw.name == "rho":
            return mean, np.array([np.diag(np.logaddexp(0, r) ** 2) for r in raw])
        factors = np.zeros((len(mean), self.dim, self.dim))
        rows, cols = np.tril_indices(self.dim)
        factors[:, rows, cols] = raw
        diagonal = np.arange(self.dim)
        factors[:, diagonal, diagonal] = np.logaddexp(0, factors[:, diagonal, diagonal])
        return mean, factors @ factors.transpose(0, 2, 1)


def _initial_raw(method: str, start: Start) -> Array:
    """PyMC's raw scale parameters: softplus of them is the sd (mean field) or the diagonal of L (full rank)."""
    d = len(start.mean)
    diagonal = np.log(np.expm1(start.sd)) if start.sd is not None else np.full(d, 0.0 if method == "advi" else 1.0)
    return np.asarray(diagonal) if method == "advi" else np.diag(diagonal)[np.tril_indices(d)]


def _compile_step(target: Target, method: str, starts: Sequence[Start], schedule: Schedule) -> _Step:
    restarts, d = len(starts), target.dim
    mu = pytensor.shared(np.array([s.mean for s in starts], dtype=float), "mu", shape=(restarts, d))
    raw = pytensor.shared(np.array([_initial_raw(method, s) for s in starts]), "rho" if method == "advi" else "L_tril")
    noise = pt.tensor3("noise", shape=(schedule.draws_per_step, restarts, d))
    if method == "advi":
        diagonal = pt.softplus(raw)
        x = mu + diagonal * noise
    else:
        rows, cols = np.tril_indices(d)
        entries = pt.zeros((restarts, d, d))[:, rows, cols].set(raw)
        on_diagonal = np.arange(d)
        diagonal = pt.softplus(entries[:, on_diagonal, on_diagonal])
        factor = entries[:, on_diagonal, on_diagonal].set(diagonal)
        x = mu + pt.sum(factor * noise[:, :, None, :], axis=-1)
    logq = (-0.5 * noise**2 - 0.5 * np.log(2 * np.pi) - pt.log(diagonal)).sum(axis=-1)
    logp = _target_logp(target, x.reshape((-1, d))).reshape((schedule.draws_per_step, restarts))
    loss = (logq - logp).mean(axis=0)
    # Restarts share no parameter, so the gradient of the sum is the gradient of each.
    updates = _optimizer(schedule, spread(target))(loss.sum(), [mu, raw])
    return _Step(compile_graph([noise], loss, updates=updates), mu, raw, d)


def _target_logp(target: Target, points: Any) -> Any:
    if target.source is not None:
        point, joint = target.joint_graph()
        return vectorize_graph(joint, {point: points})
    density = target.distribution
    assert density is not None, "callers check that the target has a density"
    if density.support_map is not None:
        model = target.model()
        point = model.value_vars[0]
        return vectorize_graph(model.logp(), {point: points[:, 0]})
    params = {k: pt.as_tensor_variable(v) for k, v in density.params.items()}
    flat = points if density.multivariate else points[:, 0]
    return batched_logp(density.name, params, multivariate=density.multivariate, points=flat)[1]


def spread(target: Target) -> float:
    """Root mean square sd of the target over its coordinates, from the places where it has structure; 1 for a model."""
    locations = np.array([m for m, _ in target.scales])
    variances = np.array([np.square(s).sum(axis=1) for _, s in target.scales])
    return float(np.sqrt((locations.var(axis=0) + variances.mean(axis=0)).mean()))


def _optimizer(schedule: Schedule, unit: float) -> Callable[[Any, list[Any]], Any]:
    if schedule.optimizer == "adagrad_window":
        return lambda loss, params: pm.adagrad_window(loss, params)
    high, low = schedule.learning_rate * unit, schedule.final_learning_rate * unit

    def adam(loss: Any, params: list[Any]) -> Any:
        clock = pytensor.shared(0.0, "clock")
        rate = low + 0.5 * (high - low) * (1 + pt.cos(np.pi * pt.minimum(clock / schedule.steps, 1.0)))
        updates = pm.adam(loss, params, learning_rate=rate)
        updates[clock] = clock + 1
        return updates

    return adam


def _run_all(
    target: Target,
    method: str,
    starts: Sequence[Start],
    seed: int,
    schedule: Schedule,
    on_step: Callable[[int], None] | None,
) -> list[_Run]:
    step = _compile_step(target, method, starts, schedule)
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(starts))]
    history = np.empty((schedule.steps, len(starts)))
    _, start_cov = step.moments()
    begin = schedule.steps - max(schedule.steps // 10, 1)
    earlier = step.moments()
    done = 0
    while done < schedule.steps:
        chunk = min(_CHUNK, schedule.steps - done)
        shape = (chunk, schedule.draws_per_step, target.dim)
        noise = np.stack([g.standard_normal(shape) for g in generators], axis=2)
        with np.errstate(all="ignore"):  # a diverging loss is reported below, with its step
            for i in range(chunk):
                if done + i == begin:
                    earlier = step.moments()
                history[done + i] = step.function(noise[i])
        _check_finite(history[done : done + chunk], done, starts)
        done += chunk
        if on_step is not None:
            on_step(chunk)
    mean, cov = step.moments()
    sd, sd_before = (np.sqrt(np.diagonal(c, axis1=1, axis2=2)) for c in (cov, earlier[1]))
    drift = np.maximum(np.abs(mean - earlier[0]) / sd, np.abs(np.log(sd / sd_before))).max(axis=1)
    start_sd = np.sqrt(np.diagonal(start_cov, axis1=1, axis2=2))
    return [_Run(mean[r], cov[r], history[:, r], float(drift[r]), start_sd[r]) for r in range(len(starts))]


def _check_finite(losses: Array, first: int, starts: Sequence[Start]) -> None:
    bad = np.argwhere(~np.isfinite(losses))
    if len(bad):
        step, restart = bad[0]
        raise FloatingPointError(
            f"ADVI from start {starts[restart].label!r}: the loss is {losses[step, restart]} at step {first + step}; "
            "start elsewhere or lower the learning rate"
        )


def _family_of(target: Target, method: str) -> Family:
    return FAMILIES["normal"] if _scalar(target) else FAMILIES[METHODS[method]]


def _scalar(target: Target) -> bool:
    return target.distribution is not None and not target.distribution.multivariate


def _member(family: Family, mean: Array, cov: Array) -> Target:
    values: dict[str, Array] = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    if not family.multivariate:
        values = {"mu": mean[0], "sigma": np.sqrt(cov[0, 0])}
    return family.member({p.name: values[p.name] for p in family.parameters})


def _group(runs: Sequence[_Run]) -> list[list[int]]:
    """Indices of runs that ended at the same place: means within 0.25 sd, sds within 25 %."""
    groups: list[list[int]] = []
    for i, run in enumerate(runs):
        sd = np.sqrt(np.diag(run.cov))
        for group in groups:
            other = runs[group[0]]
            other_sd = np.sqrt(np.diag(other.cov))
            near = np.all(np.abs(run.mean - other.mean) < 0.25 * other_sd)
            if near and np.all(np.abs(np.log(sd / other_sd)) < 0.25):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _tree(
    target: Target,
    method: str,
    starts: Sequence[Start],
    runs: Sequence[_Run],
    seed: int,
    schedule: Schedule,
    draws: int,
) -> xr.DataTree:
    family = _family_of(target, method)
    members = [_member(family, run.mean, run.cov) for run in runs]
    losses = [negative_elbo(target, member, 20_000, seed + 1) for member in members]
    groups = sorted(_group(runs), key=lambda group: min(losses[i].value for i in group))
    optimum = np.empty(len(runs), dtype=int)
    for k, group in enumerate(groups):
        optimum[group] = k
    dims = ("restart", "dim")
    converged = np.array([run.drift < 0.05 for run in runs])
    restarts = xr.Dataset(
        {
            "start_mean": (dims, np.array([s.mean for s in starts])),
            "start_sd": (dims, np.array([run.start_sd for run in runs])),
            "mean": (dims, np.array([run.mean for run in runs])),
            "sd": (dims, np.array([np.sqrt(np.diag(run.cov)) for run in runs])),
            "cov": (("restart", "dim", "dim_2"), np.array([run.cov for run in runs])),
            "loss": ("restart", [loss.value for loss in losses]),
            "loss_se": ("restart", [loss.error for loss in losses]),
            "drift": ("restart", [run.drift for run in runs]),
            "converged": ("restart", converged),
            "optimum": ("restart", optimum),
            "history": (("restart", "iteration"), np.array([run.history for run in runs])),
        },
        coords={"restart": [start.label for start in starts]},
        attrs={"seed": seed, "method": method},
    )
    tree: dict[str, Any] = {"restarts": restarts}
    for k, group in enumerate(groups):
        lead = min(group, key=lambda i: losses[i].value)
        for name, dataset in draws_of(members[lead], draws, seed + 2 + k, log_p=target, log_q=members[lead]).items():
            tree[f"optimum_{k}/{name}"] = dataset
        tree[f"optimum_{k}/fit"] = _fit_group(members[lead], losses[lead], bool(converged[lead]), group, starts)
        tree[f"optimum_{k}/vi_trace"] = xr.Dataset({"loss": ("iteration", runs[lead].history)})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"target": target.name, "method": method, "seed": seed, **{k: getattr(schedule, k) for k in schedule.__dataclass_fields__}}  # fmt: skip
    return result


def _fit_group(
    member: Target, loss: Estimate, converged: bool, group: Sequence[int], starts: Sequence[Start]
) -> xr.Dataset:
    params = member.spec["params"]
    data: dict[str, Any] = {
        name: (tuple(f"{name}_dim_{i}" for i in range(np.ndim(value))), np.asarray(value))
        for name, value in params.items()
    }
    data |= {"loss": loss.value, "loss_se": loss.error, "converged": converged}
    return xr.Dataset(data, attrs={"starts": ", ".join(starts[i].label for i in group)})
