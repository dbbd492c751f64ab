"""Sequential Monte Carlo with Hamiltonian moves, from a Normal wide enough to have been elsewhere to a posterior.

PyMC's own SMC starts at the prior, which an improper one cannot give, and cannot be stopped by a clock; this one needs a log density with
its gradient and no more, and returns what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from models.advi.runs import in_threads
from models.graphs.log_density import LogDensity

__all__ = ["Population", "move", "temper"]

Array = NDArray[np.float64]

_ESS = 0.6  # of the particles, kept by a step of the temperature
_LEAPS = 8
_MOVES, _LAST_MOVES = 2, 12  # at each temperature, and at the last
_SHORTEST = 0.03  # of the common step
_MOST_STEPS = 400
_TRIED = 50  # points whose evaluation is timed
_HANDED_OVER = 1e-3  # seconds of work that are worth a thread


@dataclass(frozen=True, eq=False)
class Population:
    """Particles (n, d) at the last temperature reached, which is 1 if it ended.

    Attributes
    ----------
    points : ndarray (n, d)
    ancestors : ndarray of int (n,)
        The particle at the beginning that each descends from: how many are left says how many independent looks there were.
    temperature : float
    log_evidence : float
        Log of the integral of the density, in nats, where the temperature is 1.
    acceptance : float
        Of the last moves.
    """

    points: Array
    ancestors: NDArray[np.intp]
    temperature: float
    log_evidence: float
    acceptance: float


def temper(
    density: LogDensity, centre: Array, sd: Array, *, particles: int, seed: int, stop: Callable[[], bool]
) -> Population:
    """Move particles from N(centre, sd^2) to a density along the geometric path (Del Moral, Doucet and Jasra, 2006; Chopin, 2002).

    Parameters
    ----------
    density : LogDensity
    centre, sd : ndarray (d,)
        Of the beginning: wide enough that all modes have particles.
    particles, seed : int
    stop : callable
        Asked at each temperature.

    Returns
    -------
    Population
    """
    rng = np.random.default_rng([seed, 17])
    d = len(centre)
    points = centre + sd * rng.standard_normal((particles, d))
    base = _Path(density, centre, sd, _worth_a_thread(density, points))
    state = base.at(points)
    ancestors, temperature, log_evidence, acceptance = np.arange(particles), 0.0, 0.0, 1.0
    rate = 0.5 / d**0.25
    for _ in range(_MOST_STEPS):
        if (
            stop() or temperature >= 1 or not np.isfinite(state.target).any()
        ):  # begun so wide that all are beyond the floats
            break
        ahead = _next_temperature(state, temperature)
        log_w = (ahead - temperature) * np.where(np.isfinite(state.target), state.target - state.base, -np.inf)
        log_evidence += float(logsumexp(log_w) - np.log(particles))
        rows = _resampled(log_w, rng)
        state, ancestors, temperature = state.take(rows), ancestors[rows], ahead
        scale = state.points.std(axis=0) + 1e-12 * sd
        for _ in range(_LAST_MOVES if temperature >= 1 else _MOVES):
            state, acceptance = _hamiltonian(base, state, temperature, rate * scale, rng)
            rate *= float(np.exp(0.5 * (acceptance - 0.75)))
    return Population(state.points, ancestors, temperature, log_evidence, acceptance)


def move(
    density: LogDensity, points: Array, sd: Array, *, moves: int, seed: int, stop: Callable[[], bool]
) -> tuple[Array, int]:
    """Hamiltonian moves of points (n, d), each a chain of its own that leaves the density as it is.

    Half of them are of shorter steps, which the neck of a funnel needs: with steps of one length none enters it, all populations lag in the same
    way, and nothing moves that would tell.

    Parameters
    ----------
    density : LogDensity
    points : ndarray (n, d)
        Where it is finite.
    sd : ndarray (d,)
        Units of the steps, whose common length is adapted to the acceptance of all chains.
    moves, seed : int
    stop : callable
        Asked before each move.

    Returns
    -------
    points : ndarray (n, d)
    made : int
        Moves that were made.
    """
    rng = np.random.default_rng([seed, 19])
    path = _Path(density, points.mean(axis=0), sd, _worth_a_thread(density, points))
    state, rate = path.at(points), 0.5 / points.shape[1] ** 0.25
    for made in range(moves):
        if stop():
            return state.points, made
        short = np.exp(np.log(_SHORTEST) * rng.random(len(points)))
        each = np.where(rng.random(len(points)) < 0.5, short, 1.0)[:, None]
        state, acceptance = _hamiltonian(path, state, 1.0, rate * each * sd, rng)
        rate *= float(np.exp(0.5 * (acceptance - 0.75)))
    return state.points, moves


@dataclass(frozen=True, eq=False)
class _State:
    points: Array
    target: Array
    slopes: Array
    base: Array

    def take(self, rows: NDArray[np.intp]) -> _State:
        return _State(self.points[rows], self.target[rows], self.slopes[rows], self.base[rows])

    def where(self, better: NDArray[np.bool_], other: _State) -> _State:
        wide = better[:, None]
        return _State(
            np.where(wide, other.points, self.points), np.where(better, other.target, self.target),
            np.where(wide, other.slopes, self.slopes), np.where(better, other.base, self.base),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Path:
    density: LogDensity
    centre: Array
    sd: Array
    least: int  # points that a thread is worth

    def at(self, points: Array) -> _State:
        with np.errstate(all="ignore"):
            parts = in_threads(lambda rows: self.density(points[rows]), len(points), self.least)
            target = np.concatenate([v for v, _ in parts])
            slopes = np.concatenate([s for _, s in parts])
            base = -0.5 * np.square((points - self.centre) / self.sd).sum(axis=1) - np.log(self.sd).sum()
        lost = ~(np.isfinite(target) & np.isfinite(slopes).all(axis=1))
        target[lost], slopes[lost] = -np.inf, 0.0
        return _State(points, target, slopes, base - 0.5 * len(self.centre) * np.log(2 * np.pi))

    def log_density(self, state: _State, temperature: float) -> Array:
        return temperature * state.target + (1 - temperature) * state.base

    def slope(self, state: _State, temperature: float) -> Array:
        return temperature * state.slopes - (1 - temperature) * (state.points - self.centre) / self.sd**2


def _worth_a_thread(density: LogDensity, points: Array) -> int:
    """Points whose evaluation takes longer than handing them to a thread; the values do not depend on it."""
    some = points[:_TRIED]
    started = perf_counter()
    with np.errstate(all="ignore"):
        density(some)
    return int(np.ceil(_HANDED_OVER * len(some) / (perf_counter() - started)))


def _next_temperature(state: _State, temperature: float) -> float:
    """The highest temperature at which the weights of a step keep enough particles, by bisection."""
    ratio = np.where(np.isfinite(state.target), state.target - state.base, -np.inf)

    def kept(step: float) -> float:
        log_w = step * ratio if step > 0 else np.zeros_like(ratio)
        return float(np.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w))) / len(ratio)

    if kept(1 - temperature) >= _ESS:
        return 1.0
    low, high = 0.0, 1 - temperature
    for _ in range(60):
        middle = (low + high) / 2 if low > 0 else high / 8
        low, high = (middle, high) if kept(middle) >= min(_ESS, np.isfinite(ratio).mean() * 0.98) else (low, middle)
        if low > 0 and high < 1.01 * low:
            break
    return temperature + max(low, 1e-12)


def _resampled(log_w: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Systematic resampling."""
    n = len(log_w)
    ends = np.cumsum(np.exp(log_w - logsumexp(log_w)))
    return np.minimum(np.searchsorted(ends, (rng.random() + np.arange(n)) / n), n - 1)


def _hamiltonian(
    path: _Path, state: _State, temperature: float, step: Array, rng: np.random.Generator
) -> tuple[_State, float]:
    """One Hamiltonian move of all particles, with steps jittered so that none goes round in a circle."""
    step = step * rng.uniform(0.7, 1.3)
    momentum = rng.standard_normal(state.points.shape)
    energy = path.log_density(state, temperature) - 0.5 * np.square(momentum).sum(axis=1)
    ahead = state
    with np.errstate(all="ignore"):
        for _ in range(_LEAPS):
            momentum = momentum + 0.5 * step * path.slope(ahead, temperature)
            ahead = path.at(ahead.points + step * momentum)
            momentum = momentum + 0.5 * step * path.slope(ahead, temperature)
        change = path.log_density(ahead, temperature) - 0.5 * np.square(momentum).sum(axis=1) - energy
    change = np.where(np.isfinite(change), change, -np.inf)
    accepted = np.log(rng.random(len(change))) < change
    return state.where(accepted, ahead), float(np.exp(np.minimum(change, 0)).mean())
