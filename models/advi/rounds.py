"""Runs of ADVI in rounds: all go side by side, and each is judged by its own evidence after every round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.advi.convergence import Evidence, gather, windowed_decrease
from models.advi.runs import Loss, Method, Steps, draw_noise, factors, in_threads, noise_steps, raw_scales
from models.advi.starts import Schedule, Start, spread
from models.errors import ConvergenceError
from models.targets import Posterior, Target

__all__ = ["Run", "refuse_divergence", "run_all"]

Array = NDArray[np.float64]


@dataclass(eq=False)
class Run:
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
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether it was lost before its first round was over."""
        return self.lost and not self.history

    @property
    def cov(self) -> Array:
        """Covariance (d, d)."""
        return np.asarray(self.factor @ self.factor.T)

    @property
    def sd(self) -> Array:
        """Standard deviations (d,)."""
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


def run_all(
    target: Target, method: Method, starts: Sequence[Start], schedule: Schedule, on_step: Callable[[int], None]
) -> list[Run]:
    """Take a run from every start, in rounds, until each has converged, diverges or has used up the schedule.

    Raises
    ------
    FloatingPointError
        If the loss or its gradient is not finite at any start; one at which it is not is set aside (`Run.failed`).
    """
    loss = Loss(target.log_density)
    runs = []
    for start in starts:
        raw = raw_scales(method, start.sd, target.dim)
        factor = factors(method, raw[None], target.dim)[0]
        mean = np.array(start.mean, dtype=float)
        generator = np.random.default_rng(start.seed)
        runs.append(Run(mean, raw, factor, np.diag(factor).copy(), generator, schedule.learning_rate,
                         schedule.draws_per_step, []))  # fmt: skip
    unit = spread(target)
    for _ in range(schedule.rounds):
        going = [
            (r, s)
            for r, s in zip(runs, starts, strict=True)
            if r.verdict not in ("converged", "diverging") and not r.failed
        ]
        if not going:
            break
        groups: dict[int, list[tuple[Run, Start]]] = {}
        for run, start in going:
            groups.setdefault(run.draws, []).append((run, start))
        for alike in groups.values():
            _round(target, method, [r for r, _ in alike], [s for _, s in alike], schedule, unit, on_step)
        if live := [r for r, _ in going if not r.failed]:
            _judge(loss, live, schedule)
    if all(run.failed for run in runs):
        raise FloatingPointError(runs[0].reason)
    return runs


@dataclass(frozen=True, eq=False)
class _Walked:
    """A round of some runs: parameters at its end and shortly before, and why a run could not begin."""

    mean: Array
    raw: Array
    earlier_mean: Array
    earlier_raw: Array
    reasons: list[str]


def _walk(
    target: Target, steps: Steps, runs: Sequence[Run], starts: Sequence[Start], schedule: Schedule, history: Array,
    on_step: Callable[[int], None],
) -> _Walked:  # fmt: skip
    """Take the steps of a round, whose losses fill `history` (R, steps); in the first of all, look whether loss and gradient are finite."""
    draws, dim = runs[0].draws, target.dim
    before_end = schedule.steps - max(schedule.steps // 10, 1)
    taken, done = sum(len(h) for h in runs[0].history), 0
    earlier, reasons = (steps.mean, steps.raw), [""] * len(runs)
    while done < schedule.steps:
        goal = 1 if done == 0 and not taken else before_end if done < before_end else schedule.steps
        chunk = min(noise_steps(draws, dim), goal - done)
        losses = steps.advance(draw_noise([r.generator for r in runs], chunk, draws, dim, schedule.noise))
        if not taken:
            finite = [np.isfinite(a).all(axis=1) for a in (losses.T, steps.mean, steps.raw)]
            for i in np.flatnonzero(~np.all(finite, axis=0)).tolist():
                reasons[i] = reasons[i] or _reason(steps, i, losses[:, i], done, starts[i], target)
        history[:, done : done + chunk] = losses.T
        if all(reasons):
            history[:, done + chunk :] = np.nan
            chunk = schedule.steps - done
        done += chunk
        if done == before_end:
            earlier = steps.mean, steps.raw
        on_step(chunk)
    return _Walked(steps.mean, steps.raw, *earlier, reasons)


def _round(
    target: Target,
    method: Method,
    runs: Sequence[Run],
    starts: Sequence[Start],
    schedule: Schedule,
    unit: float,
    on_step: Callable[[int], None],
) -> None:
    """One round of runs with the same number of draws: steps, and where each then stands."""
    rate = unit * np.array([run.rate for run in runs])
    low = rate * schedule.final_learning_rate / schedule.learning_rate
    mean, raw = np.array([run.mean for run in runs]), np.array([run.raw for run in runs])
    history = np.empty((len(runs), schedule.steps))

    def walk(rows: slice) -> list[_Walked]:
        size = max(1, _POINTS // runs[0].draws)  # so that the temporaries of a step stay in the cache
        parts = [slice(i, min(i + size, rows.stop)) for i in range(rows.start, rows.stop, size)]
        told = [on_step if part.start == 0 else _untold for part in parts]
        return [
            _walk(target,
                  Steps(target.log_density, mean[p], raw[p], optimizer=schedule.optimizer, gradient=schedule.gradient,
                        steps=schedule.steps, high=rate[p], low=low[p]),
                  runs[p], starts[p], schedule, history[p], tell)
            for p, tell in zip(parts, told, strict=True)
        ]  # fmt: skip

    least = _WORK // (schedule.steps * runs[0].draws)
    walked = [part for parts in in_threads(walk, len(runs), least) for part in parts]
    reasons = [r for w in walked for r in w.reasons]
    now_mean, now_raw, earlier_mean, earlier_raw = (
        np.concatenate([getattr(w, name) for w in walked]) for name in ("mean", "raw", "earlier_mean", "earlier_raw")
    )
    factor, earlier = (factors(method, r, target.dim) for r in (now_raw, earlier_raw))
    sd, sd_before = (np.sqrt(np.square(f).sum(axis=2)) for f in (factor, earlier))
    drift = np.maximum(np.abs(now_mean - earlier_mean) / sd, np.abs(np.log(sd / sd_before))).max(axis=1)
    decrease = np.stack(windowed_decrease(history), axis=1)
    moved = np.maximum(np.abs(now_mean - mean).max(axis=1), np.abs(now_raw - raw).max(axis=1))
    way = moved / (schedule.steps * (rate + low) / 2)
    for i, run in enumerate(runs):
        if reasons[i] or not np.isfinite(history[i]).all():
            # From its start on, or once its rate has been raised, on a way without end.
            run.lost, run.reason = True, reasons[i]
            continue
        run.mean, run.raw, run.factor = now_mean[i], now_raw[i], factor[i]
        run.history.append(history[i])
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


def _judge(loss: Loss, runs: Sequence[Run], schedule: Schedule) -> None:
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


def _reason(steps: Steps, i: int, losses: Array, first: int, start: Start, target: Target) -> str:
    """Say why the i-th run cannot go on from its start: its loss is not finite, or its gradient at the first step is not."""
    bad = ~np.isfinite(steps.mean[i])
    if (
        first == 0
        and np.isfinite(losses[0])
        and (len(losses) == 1 and (bad.any() or not np.isfinite(steps.raw[i]).all()))
    ):
        where = f" by {target.coordinates[int(np.argmax(bad))]!r}" if bad.any() else " by a scale"
        return (
            f"ADVI from start {start.label!r}: the loss is {losses[0]:.6g} but its gradient{where} is not finite at step 0; "
            "start elsewhere, or look for a function without derivative there"
        )
    lost = np.flatnonzero(~np.isfinite(losses))
    if not len(lost):
        return ""
    blame = target.blame(np.asarray(start.mean, dtype=float)) if isinstance(target, Posterior) else ""
    return (
        f"ADVI from start {start.label!r}: the loss is {losses[lost[0]]} at step {first + lost[0]}"
        f"{blame.replace(' at the first', '')}; start elsewhere or lower the learning rate"
    )


def refuse_divergence(target: Target, runs: Sequence[Run]) -> None:
    """Refuse runs that all diverge.

    Raises
    ------
    ConvergenceError
    """
    if not all(run.verdict == "diverging" for run in runs):
        return
    run = runs[0]
    widest = int(np.argmax(run.sd / run.start_sd))
    raise ConvergenceError(
        f"all {len(runs)} ADVI runs on {target.name!r} diverge: the ELBO rises without end while the sd of "
        f"{target.coordinates[widest]!r} has grown from {run.start_sd[widest]:.3g} to {run.sd[widest]:.3g}; the density seems to be "
        "improper (a flat prior on a parameter that the data do not inform?)"
    )
