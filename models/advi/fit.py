"""ADVI: reverse KL minimised by stochastic gradients on a PyMC model, from many explicit starts at once.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI (a test compares every
digit of a run). What is added: all starts run side by side in compiled loops, each with its own noise, so that a start
gives the same numbers alone or in company; rounds in which the learning rate falls along half a cosine, until a run has
arrived; and every run is judged by its own evidence. PyMC's defaults (``adagrad_window``, one draw a step) are kept as
``PYMC_DEFAULT`` for comparison: at the optimum of ½N(-3,1) + ½N(3,1) they inflate the standard deviation by 9 to 14 %
after 60 000 steps (pymc issue 8444).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import softmax

from models.advi.convergence import Evidence, gather, windowed_decrease
from models.advi.runs import (
    Gradient,
    Loss,
    Method,
    Noise,
    Optimizer,
    Steps,
    draw_noise,
    factors,
    in_threads,
    noise_steps,
    raw_scales,
)
from models.errors import ConvergenceError, InputError, lookup_error
from models.families import FAMILIES, Family
from models.graphs import single_threaded
from models.quadrature import Estimate, sobol_nodes
from models.results import draws_of
from models.targets import Target, from_model

__all__ = [
    "METHODS",
    "PYMC_ADAM",
    "PYMC_DEFAULT",
    "Schedule",
    "Start",
    "default_starts",
    "dispersed_starts",
    "fit_advi",
    "negative_elbo",
    "optima",
    "spread",
]

Array = NDArray[np.float64]

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
    seed : int, optional
        Of the noise of this run, as recorded in an earlier fit; drawn from the fit's seed if not given.
    """

    label: str
    mean: Array
    sd: Array | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Schedule:
    """How a run is optimised, and when it counts as converged.

    Attributes
    ----------
    steps : int
        Of one round.
    draws_per_step : int
        Monte Carlo draws in each gradient.
    optimizer : {"adam", "adagrad_window"}
        ``adam`` with a learning rate that falls from `learning_rate` to `final_learning_rate` along half a cosine in each
        round, or PyMC's default ``adagrad_window`` at its default settings.
    learning_rate, final_learning_rate : float
        In units of the target's spread (see `spread`), since Adam's steps are as long as its learning rate: a rate that
        suits modes 6 apart is too small for modes 25 apart.
    rounds : int
        At most this many. A run stops after the round in which it has converged. One that used up much of the way that its
        learning rate allows goes on with four times that rate; any other with half of it and twice the draws.
    most_draws : int
        Beyond which the draws of a step are not doubled, so that the cost of a fit is known beforehand (`evaluations`).
    gradient : {"path", "total"}
        PyMC's is the total gradient; the other has less variance near an optimum (see `models.advi.runs.Steps`).
    noise : {"latin hypercube", "independent"}
        PyMC's draws are independent; stratified ones have a smaller variance (see `models.advi.runs.draw_noise`).
    nats, relative : float
        A run has converged if less than this remains to be gained along its natural gradient: in nats, and in means (per sd)
        and sds (relative).
    """

    steps: int = 1000
    draws_per_step: int = 10
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.05
    final_learning_rate: float = 5e-5
    rounds: int = 8
    most_draws: int = 160
    gradient: Gradient = "path"
    noise: Noise = "latin hypercube"
    nats: float = 5e-4
    relative: float = 5e-3

    @property
    def evaluations(self) -> int:
        """Evaluations of the log density and its gradient that the steps of one run may take."""
        return self.steps * sum(min(self.draws_per_step << k, self.most) for k in range(self.rounds))

    @property
    def most(self) -> int:
        """Draws that a step takes at most."""
        return max(self.draws_per_step, self.most_draws)


#: What ``pm.fit(method="advi")`` does when nothing is said.
PYMC_DEFAULT = Schedule(
    steps=10_000, draws_per_step=1, optimizer="adagrad_window", rounds=1, gradient="total", noise="independent"
)

#: PyMC's gradient and noise under Adam, in one round with a falling rate: what a careful user of ``pm.fit`` gets.
PYMC_ADAM = Schedule(
    steps=3000, draws_per_step=100, learning_rate=0.02, final_learning_rate=4e-5, rounds=1, gradient="total",
    noise="independent",
)  # fmt: skip


def default_starts(target: Target) -> list[Start]:
    """PyMC's own start, and one at each mode of the target.

    Parameters
    ----------
    target : Target
        With a density.

    Returns
    -------
    list of Start
        ``centre`` is the model's initial point, where ``pm.fit`` starts; then ``mode 1``, ``mode 2``, ... from left, where the
        modes of the target are known.
    """
    if target.source is not None:  # its modes are not known: see `dispersed_starts`
        return [_centre(target)]
    modes = target.modes[np.lexsort(target.modes.T[::-1])] if len(target.modes) > 1 else target.modes[:0]
    return [_centre(target), *[Start(f"mode {i + 1}", mode) for i, mode in enumerate(modes)]]


def dispersed_starts(target: Target, count: int, seed: int = 0) -> list[Start]:
    """PyMC's own start, and others spread more widely than the target.

    Parameters
    ----------
    target : Target
        With a density.
    count : int
        Number of starts, at least 1.
    seed : int

    Returns
    -------
    list of Start
        ``centre``, then ``start 2``, ...: for a PyMC model draws from its prior, or within 2 of its initial point in every
        unconstrained coordinate where a prior cannot be drawn from (as Stan does); for other targets from a Normal with
        twice the target's spread.

    Raises
    ------
    InputError
        If `count` is not positive.
    """
    if count < 1:
        raise InputError(f"starts is {count}; give at least 1, or a list of Start")
    centre = _centre(target)
    rng = np.random.default_rng([seed, 7])
    if target.source is not None:
        means = target.prior_points(count - 1, seed)
        if means is None:
            means = centre.mean + rng.uniform(-2, 2, (count - 1, target.dim))
    else:
        places = np.array([m for m, _ in target.scales])
        means = places.mean(axis=0) + 2 * spread(target) * rng.standard_normal((count - 1, target.dim))
    return [centre, *[Start(f"start {i + 2}", mean) for i, mean in enumerate(means)]]


def _centre(target: Target) -> Start:
    return Start("centre", target.initial_point)


@single_threaded
def fit_advi(
    target_or_model: Target | Any,
    *,
    method: Method = "advi",
    starts: int | Sequence[Start] | None = None,
    seed: int = 0,
    schedule: Schedule | None = None,
    draws: int = 2000,
    progressbar: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> xr.DataTree:
    """Fit by PyMC's ADVI from several starts and say which distinct optima were reached.

    Parameters
    ----------
    target_or_model : Target or pymc.Model
        With a density; a PyMC model stands for its posterior.
    method : {"advi", "fullrank_advi"}
    starts : int or sequence of Start, optional
        A number gives `dispersed_starts`; the default is `default_starts`.
    seed : int
        Restart i uses the i-th child of this seed, so adding starts changes no earlier run.
    schedule : Schedule, optional
    draws : int
        Draws of each distinct optimum to keep.
    progressbar : bool
        Show PyMC's progress bar, over the steps of all rounds that may be needed.
    on_step : callable, optional
        Called with the number of steps finished since the last call.

    Returns
    -------
    xarray.DataTree
        ``restarts``, over ``restart``: where each run began and ended (``start_mean``, ``start_sd``, ``mean``, ``sd``,
        ``cov``, in unconstrained space), its ``seed``, ``loss`` (-ELBO, nats) with ``loss_se``, the evidence (``gap``,
        ``gap_noise``, ``shift``, ``curvature``, see `models.advi.convergence`; ``drift`` and ``loss_decrease`` with ``loss_decrease_se``
        over the last tenth of its last round), ``iterations``, ``rounds``, ``converged``, ``verdict``, ``optimum`` (the index of the
        child it belongs to) and the ``history`` of the loss over (restart, iteration), nan once it had stopped.
        Children ``optimum_0``, ... (lowest loss first): ``posterior`` (draws on the natural scale: ``x``, or the variables of the
        PyMC model), ``unconstrained_posterior`` (the same draws as ``x`` in unconstrained space, where that differs),
        ``sample_stats`` with ``log_p`` and ``log_q``, ``fit`` and ``vi_trace``. See `optima` for a table of them.

    Raises
    ------
    InputError
        If the target has no density, a start has the wrong length, there are none, or the seed is negative.
    FloatingPointError
        If the loss or its gradient is not finite at a start; the start, the step and the variable are named.
    ConvergenceError
        If every run diverges: the ELBO has no maximum, as with an improper posterior.

    Notes
    -----
    Kucukelbir et al. (2017), algorithm 1, with Adam; rounds in the spirit of Welandawe et al. (2024), who let the evidence of a
    run decide when to lower its learning rate and when to stop. A run has converged if, at the end of a round, its loss no
    longer falls and what is left to gain is below ``schedule.nats`` and ``schedule.relative``: along its natural gradient and,
    for up to 65 variational parameters, by a Newton step whose Hessian must be positive. With more parameters a run at a
    saddle, or in a valley that its gradient crosses, may pass.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> fit = fit_advi(normal_mixture([1], [1], [2]), draws=2)
    >>> bool(fit["restarts"]["converged"].all()), round(float(fit["optimum_0/fit"]["sigma"]), 1)
    (True, 2.0)
    """
    target = _as_target(target_or_model)
    schedule = schedule or Schedule()
    if method not in METHODS:
        raise lookup_error("method", method, METHODS)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    if isinstance(starts, int | np.integer):
        starts = dispersed_starts(target, int(starts), seed)
    starts = default_starts(target) if starts is None else list(starts)
    if not starts:
        raise InputError("there are no starts; give at least one")
    for start in starts:
        if len(start.mean) != target.dim:
            raise InputError(f"start {start.label!r} has {len(start.mean)} coordinates; the target has {target.dim}")
    starts = _seeded(starts, seed)
    with _watched(on_step, schedule, progressbar) as watch:
        runs = _run_all(target, method, starts, schedule, watch)
    _refuse_divergence(target, runs)
    return _tree(target, method, starts, runs, seed, schedule, draws)


def optima(fit: xr.DataTree) -> xr.Dataset:
    """Table of the distinct optima of a fit, lowest loss first.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_advi`.

    Returns
    -------
    xarray.Dataset
        Over ``optimum``: ``elbo`` with ``elbo_se`` (nats), ``weight`` (the softmax of the ELBOs: the share of each in the best
        mixture of them where they do not overlap), ``runs`` and ``converged`` (how many ended there, and how many of these had
        converged); over (optimum, dim) ``mean`` and ``sd``, in unconstrained space, ``dim`` labelled by coordinate.
    """
    restarts = fit["restarts"].to_dataset()
    chosen = [int(child["fit"].attrs["lead"]) for name, child in fit.children.items() if name.startswith("optimum_")]
    index = restarts["optimum"].to_numpy()
    elbo = np.array([-float(fit[f"optimum_{k}/fit"]["loss"]) for k in range(len(chosen))])
    lead = restarts.isel(restart=chosen)
    return xr.Dataset(
        {
            "elbo": ("optimum", elbo),
            "elbo_se": ("optimum", [float(fit[f"optimum_{k}/fit"]["loss_se"]) for k in range(len(chosen))]),
            "weight": ("optimum", softmax(elbo)),
            "runs": ("optimum", np.bincount(index, minlength=len(chosen))),
            "converged": (
                "optimum",
                np.bincount(index, weights=restarts["converged"], minlength=len(chosen)).astype(int),
            ),
            "mean": (("optimum", "dim"), lead["mean"].to_numpy()),
            "sd": (("optimum", "dim"), lead["sd"].to_numpy()),
        },
        coords={"optimum": np.arange(len(chosen)), "dim": restarts["dim"].to_numpy()},
    )


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


def spread(target: Target) -> float:
    """Root mean square sd of the target over its coordinates, from the places where it has structure; 1 for a model."""
    locations = np.array([m for m, _ in target.scales])
    variances = np.array([np.square(s).sum(axis=1) for _, s in target.scales])
    return float(np.sqrt((locations.var(axis=0) + variances.mean(axis=0)).mean()))


def _as_target(target_or_model: Target | Any) -> Target:
    target = target_or_model if isinstance(target_or_model, Target) else from_model(target_or_model)
    if not target.has_density:
        raise InputError(
            f"target {target.name!r} is known by draws only, and ADVI needs a log density; "
            "fit a density to the draws first (fit_mle), or use forward KL, which needs draws alone"
        )
    return target


def _seeded(starts: Sequence[Start], seed: int) -> list[Start]:
    children = np.random.SeedSequence(seed).spawn(len(starts))
    own = [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in children]
    return [s if s.seed is not None else replace(s, seed=k) for s, k in zip(starts, own, strict=True)]


@contextmanager
def _watched(
    on_step: Callable[[int], None] | None, schedule: Schedule, progressbar: bool
) -> Iterator[Callable[[int], None]]:
    """What is told of every step: the caller, and PyMC's progress bar."""
    told = on_step or (lambda _steps: None)
    if not progressbar:
        yield told
        return
    from pymc.progress_bar import create_simple_progress

    with create_simple_progress(progressbar=True) as progress:
        task = progress.add_task("ADVI", total=schedule.steps * schedule.rounds)

        def both(steps: int) -> None:
            progress.update(task, advance=steps)
            told(steps)

        yield both


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Run:
    """One restart as it goes: where it stands, and what is known about it."""

    mean: Array
    raw: Array
    factor: Array
    start_sd: Array
    generator: np.random.Generator
    rate: float
    draws: int
    history: list[Array]
    drift: float = np.nan
    decrease: tuple[float, float] = (np.nan, np.nan)
    evidence: tuple[float, float, float, float] = (np.nan, np.nan, np.nan, np.nan)
    converged: bool = False
    travelling: bool = False
    lost: bool = False

    @property
    def cov(self) -> Array:
        return np.asarray(self.factor @ self.factor.T)

    @property
    def sd(self) -> Array:
        return np.sqrt(np.diag(self.cov))

    @property
    def verdict(self) -> str:
        """What the evidence says."""
        gap, noise, _, curvature = self.evidence
        if self.converged:
            return "converged"
        if self.lost or (self.travelling and np.any(self.sd > _FAR * self.start_sd)):
            return "diverging"
        if curvature <= 0:
            return "not at a minimum"
        return "too noisy to tell" if gap < noise else "still moving"


def _run_all(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    schedule: Schedule,
    on_step: Callable[[int], None],
) -> list[_Run]:
    loss = Loss(target.log_density)
    runs = []
    for start in starts:
        raw = raw_scales(method, start.sd, target.dim)
        factor = factors(method, raw[None], target.dim)[0]
        mean = np.array(start.mean, dtype=float)
        generator = np.random.default_rng(start.seed)
        runs.append(_Run(mean, raw, factor, np.diag(factor).copy(), generator, schedule.learning_rate,
                         schedule.draws_per_step, []))  # fmt: skip
    unit = spread(target)
    for _ in range(schedule.rounds):
        going = [(r, s) for r, s in zip(runs, starts, strict=True) if r.verdict not in ("converged", "diverging")]
        if not going:
            break
        groups: dict[int, list[tuple[_Run, Start]]] = {}
        for run, start in going:
            groups.setdefault(run.draws, []).append((run, start))
        for alike in groups.values():
            _round(target, method, [r for r, _ in alike], [s for _, s in alike], schedule, unit, on_step)
        _judge(loss, [r for r, _ in going], schedule)
    return runs


@dataclass(frozen=True, eq=False)
class _Walked:
    """A round of some runs: losses (steps, R), and parameters at its end and shortly before."""

    history: Array
    mean: Array
    raw: Array
    earlier_mean: Array
    earlier_raw: Array


def _walk(
    target: Target, steps: Steps, runs: Sequence[_Run], starts: Sequence[Start], schedule: Schedule,
    on_step: Callable[[int], None],
) -> _Walked:  # fmt: skip
    """Take the steps of a round; at the first step of all, look whether loss and gradient are finite."""
    draws, dim = runs[0].draws, target.dim
    before_end = schedule.steps - max(schedule.steps // 10, 1)
    taken, done = sum(len(h) for h in runs[0].history), 0
    history, earlier = [], (steps.mean.copy(), steps.raw.copy())
    while done < schedule.steps:
        goal = 1 if done == 0 and not taken else before_end if done < before_end else schedule.steps
        chunk = min(noise_steps(draws, dim), goal - done)
        losses = steps.advance(draw_noise([r.generator for r in runs], chunk, draws, dim, schedule.noise))
        if not taken:
            if done == 0:
                _check_first_step(steps, losses[0], starts, target)
            _check_finite(losses, done, starts)
        history.append(losses)
        done += chunk
        if done == before_end:
            earlier = steps.mean.copy(), steps.raw.copy()
        on_step(chunk)
    return _Walked(np.concatenate(history), steps.mean, steps.raw, *earlier)


def _round(
    target: Target,
    method: Method,
    runs: Sequence[_Run],
    starts: Sequence[Start],
    schedule: Schedule,
    unit: float,
    on_step: Callable[[int], None],
) -> None:
    """One round of runs with the same number of draws: steps, and where each then stands."""
    rate = unit * np.array([run.rate for run in runs])
    low = rate * schedule.final_learning_rate / schedule.learning_rate
    mean, raw = np.array([run.mean for run in runs]), np.array([run.raw for run in runs])

    def walk(rows: slice) -> list[_Walked]:
        size = max(1, _POINTS // runs[0].draws)  # so that the temporaries of a step stay in the cache
        parts = [slice(i, min(i + size, rows.stop)) for i in range(rows.start, rows.stop, size)]
        told = [on_step if part.start == 0 else _untold for part in parts]
        return [
            _walk(target,
                  Steps(target.log_density, mean[p], raw[p], optimizer=schedule.optimizer, gradient=schedule.gradient,
                        steps=schedule.steps, high=rate[p], low=low[p]),
                  runs[p], starts[p], schedule, tell)
            for p, tell in zip(parts, told, strict=True)
        ]  # fmt: skip

    least = _WORK // (schedule.steps * runs[0].draws)
    walked = [part for parts in in_threads(walk, len(runs), least) for part in parts]
    history = np.concatenate([w.history for w in walked], axis=1)
    now_mean, now_raw, earlier_mean, earlier_raw = (
        np.concatenate([getattr(w, name) for w in walked]) for name in ("mean", "raw", "earlier_mean", "earlier_raw")
    )
    factor, earlier = (factors(method, r, target.dim) for r in (now_raw, earlier_raw))
    sd, sd_before = (np.sqrt(np.square(f).sum(axis=2)) for f in (factor, earlier))
    drift = np.maximum(np.abs(now_mean - earlier_mean) / sd, np.abs(np.log(sd / sd_before))).max(axis=1)
    decrease = np.stack(windowed_decrease(history.T), axis=1)
    moved = np.maximum(np.abs(now_mean - mean).max(axis=1), np.abs(now_raw - raw).max(axis=1))
    way = moved / (schedule.steps * (rate + low) / 2)
    for i, run in enumerate(runs):
        if not np.isfinite(history[:, i]).all():  # only once its rate has been raised, on a way without end
            run.lost = True
            continue
        run.mean, run.raw, run.factor = now_mean[i], now_raw[i], factor[i]
        run.history.append(history[:, i])
        run.drift, run.decrease = float(drift[i]), (float(decrease[i, 0]), float(decrease[i, 1]))
        run.travelling = schedule.optimizer == "adam" and schedule.steps >= _A_WAY and bool(way[i] > _MOST_OF_THE_WAY)
        if run.travelling:
            run.rate *= 4.0
        else:
            run.rate, run.draws = run.rate / 2, min(run.draws * 2, schedule.most)


def _untold(_steps: int) -> None:
    pass


_POINTS = 2048  # at which a log density is evaluated at once
_WORK = 100_000  # evaluations in a thread, below which it is not worth starting
_MOST_OF_THE_WAY = 0.3  # of what the learning rates of a round add up to, in one coordinate
_A_WAY = 50  # steps: the first few of Adam all go one way
_FAR = 1e4  # times the sd at the start, and still growing as fast as the learning rate allows
_STEADY = 0.05  # a drift over the last tenth of a round, in sds: PyMC's defaults move more than that for ever


def _judge(loss: Loss, runs: Sequence[_Run], schedule: Schedule) -> None:
    mean, factor = np.array([r.mean for r in runs]), np.array([r.factor for r in runs])
    found = gather(loss, mean, factor, nats=schedule.nats, relative=schedule.relative)
    arrived = found.arrived(schedule.nats, schedule.relative)
    for i, run in enumerate(runs):
        run.evidence = _row(found, i)
        falling = run.decrease[0] > schedule.nats + 3 * run.decrease[1]
        run.converged = bool(arrived[i]) and run.drift < _STEADY and not falling


def _row(evidence: Evidence, i: int) -> tuple[float, float, float, float]:
    gap, noise, shift, curvature = (
        float(a[i]) for a in (evidence.gap, evidence.noise, evidence.shift, evidence.curvature)
    )
    return gap, noise, shift, curvature


def _check_first_step(steps: Steps, losses: Array, starts: Sequence[Start], target: Target) -> None:
    """A loss can be finite where its gradient is not; the first step shows it."""
    mean, raw = steps.mean, steps.raw
    for i, start in enumerate(starts):
        bad = ~np.isfinite(mean[i])
        if np.isfinite(losses[i]) and (bad.any() or not np.isfinite(raw[i]).all()):
            where = f" by {target.coordinates[int(np.argmax(bad))]!r}" if bad.any() else " by a scale"
            raise FloatingPointError(
                f"ADVI from start {start.label!r}: the loss is {losses[i]:.6g} but its gradient{where} is not finite at step 0; "
                "start elsewhere, or look for a function without derivative there"
            )


def _check_finite(losses: Array, first: int, starts: Sequence[Start]) -> None:
    bad = np.argwhere(~np.isfinite(losses))
    if len(bad):
        step, restart = bad[0]
        raise FloatingPointError(
            f"ADVI from start {starts[restart].label!r}: the loss is {losses[step, restart]} at step {first + step}; "
            "start elsewhere or lower the learning rate"
        )


def _refuse_divergence(target: Target, runs: Sequence[_Run]) -> None:
    if not all(run.verdict == "diverging" for run in runs):
        return
    run = runs[0]
    widest = int(np.argmax(run.sd / run.start_sd))
    raise ConvergenceError(
        f"all {len(runs)} ADVI runs on {target.name!r} diverge: the ELBO rises without end while the sd of "
        f"{target.coordinates[widest]!r} has grown from {run.start_sd[widest]:.3g} to {run.sd[widest]:.3g}; the density seems to be "
        "improper (a flat prior on a parameter that the data do not inform?)"
    )


# --- results ---------------------------------------------------------------------------------------------------------


def _family_of(target: Target, method: Method) -> Family:
    return FAMILIES["normal"] if _scalar(target) else FAMILIES[METHODS[method]]


def _scalar(target: Target) -> bool:
    return target.distribution is not None and not target.distribution.multivariate


def _member(family: Family, mean: Array, cov: Array) -> Target:
    values: dict[str, Array] = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    if not family.multivariate:
        values = {"mu": mean[0], "sigma": np.sqrt(cov[0, 0])}
    return family.member({p.name: values[p.name] for p in family.parameters})


def _group(runs: Sequence[_Run]) -> list[list[int]]:
    """Indices of runs that ended at the same place: means within 0.25 sd, sds within 25 %; converged runs lead."""
    groups: list[list[int]] = []
    for i in sorted(range(len(runs)), key=lambda i: not runs[i].converged):
        run, sd = runs[i], runs[i].sd
        for group in groups:
            other, other_sd = runs[group[0]], runs[group[0]].sd
            near = np.all(np.abs(run.mean - other.mean) < 0.25 * other_sd)
            if near and np.all(np.abs(np.log(sd / other_sd)) < 0.25):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _losses(loss: Loss, runs: Sequence[_Run], power: int, seed: int) -> tuple[Array, Array]:
    """Losses (R,) with standard errors, on randomised Sobol nodes common to all runs."""
    mean, factor = np.array([r.mean for r in runs]), np.array([r.factor for r in runs])
    rule = sobol_nodes(mean.shape[1], power=power, replicates=_REPLICATES, seed=seed)
    values = [loss(mean, factor, z)[0] for z in np.split(rule.points, _REPLICATES)]
    return np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(_REPLICATES)


_REPLICATES = 8


def _tree(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    runs: Sequence[_Run],
    seed: int,
    schedule: Schedule,
    draws: int,
) -> xr.DataTree:
    family, loss = _family_of(target, method), Loss(target.log_density)
    value, error = _losses(loss, runs, 11, seed)
    groups = [(_lead(group, runs, value), group) for group in _group(runs)]
    fine = {lead: _losses(loss, [runs[lead]], 15, seed + 1) for lead, _ in groups}
    groups.sort(key=lambda pair: float(fine[pair[0]][0][0]))
    optimum = np.empty(len(runs), dtype=int)
    for k, (_, group) in enumerate(groups):
        optimum[group] = k
    tree: dict[str, Any] = {"restarts": _restarts(target, method, starts, runs, value, error, optimum, seed)}
    for k, (lead, group) in enumerate(groups):
        run, member = runs[lead], _member(family, runs[lead].mean, runs[lead].cov)
        for name, dataset in draws_of(member, draws, seed + 2 + k, log_p=target, log_q=member).items():
            tree[f"optimum_{k}/{name}"] = dataset
        natural = _natural(target, tree[f"optimum_{k}/posterior"])
        if natural is not None:
            tree[f"optimum_{k}/unconstrained_posterior"] = tree[f"optimum_{k}/posterior"]
            tree[f"optimum_{k}/posterior"] = natural
        data = {
            name: (tuple(f"{name}_dim_{i}" for i in range(np.ndim(number))), np.asarray(number))
            for name, number in member.spec["params"].items()
        }
        scalars = {"loss": float(fine[lead][0][0]), "loss_se": float(fine[lead][1][0]), "converged": run.converged,
                   "verdict": run.verdict}  # fmt: skip
        labels = ", ".join(starts[i].label for i in sorted(group))
        tree[f"optimum_{k}/fit"] = xr.Dataset(data | scalars, attrs={"starts": labels, "lead": lead})
        tree[f"optimum_{k}/vi_trace"] = xr.Dataset({"loss": ("iteration", np.concatenate(run.history))})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"target": target.name, "method": method, "seed": seed, **asdict(schedule),
                    "most_evaluations": schedule.evaluations * len(starts)}  # fmt: skip
    return result


def _lead(group: Sequence[int], runs: Sequence[_Run], loss: Array) -> int:
    """The run that stands for a group: the lowest loss of the converged ones, if there are any."""
    return min(group, key=lambda i: (not runs[i].converged, loss[i]))


def _restarts(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    runs: Sequence[_Run],
    loss: Array,
    error: Array,
    optimum: NDArray[np.int_],
    seed: int,
) -> xr.Dataset:
    histories = [np.concatenate(run.history) for run in runs]
    history = np.full((len(runs), max(len(h) for h in histories)), np.nan)
    for row, values in zip(history, histories, strict=True):
        row[: len(values)] = values
    evidence = np.array([run.evidence for run in runs])
    decrease = np.array([run.decrease for run in runs])
    dims = ("restart", "dim")
    return xr.Dataset(
        {
            "start_mean": (dims, np.array([s.mean for s in starts], dtype=float)),
            "start_sd": (dims, np.array([run.start_sd for run in runs])),
            "mean": (dims, np.array([run.mean for run in runs])),
            "sd": (dims, np.array([run.sd for run in runs])),
            "cov": (("restart", "dim", "dim_2"), np.array([run.cov for run in runs])),
            "seed": ("restart", [int(s.seed or 0) for s in starts]),
            "loss": ("restart", loss),
            "loss_se": ("restart", error),
            **{name: ("restart", evidence[:, i]) for i, name in enumerate(("gap", "gap_noise", "shift", "curvature"))},
            "loss_decrease": ("restart", decrease[:, 0]),
            "loss_decrease_se": ("restart", decrease[:, 1]),
            "drift": ("restart", [run.drift for run in runs]),
            "iterations": ("restart", [len(h) for h in histories]),
            "rounds": ("restart", [len(run.history) for run in runs]),
            "converged": ("restart", [run.converged for run in runs]),
            "verdict": ("restart", [run.verdict for run in runs]),
            "optimum": ("restart", optimum),
            "history": (("restart", "iteration"), history),
        },
        coords={"restart": [start.label for start in starts], "dim": target.coordinates},
        attrs={"seed": seed, "method": method},
    )


def _natural(target: Target, posterior: xr.Dataset) -> xr.Dataset | None:
    """Draws on the natural scale; ``None`` where that is the scale they are on."""
    x = posterior["x"].to_numpy()[0].reshape(-1, target.dim)
    values = target.natural(x)
    if values is None:
        return None
    variables = {
        name: (("chain", "draw", *(f"{name}_dim_{i}" for i in range(v.ndim - 1))), v[None])
        for name, v in values.items()
    }
    return xr.Dataset(variables, coords={"chain": [0], "draw": np.arange(len(x))})
