"""Where runs of ADVI begin, and how they are optimised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.advi.runs import Gradient, Noise, Optimizer
from models.errors import InputError
from models.targets import Posterior, Target

__all__ = [
    "NOT_DRAWN",
    "PYMC_ADAM",
    "PYMC_DEFAULT",
    "Schedule",
    "Start",
    "default_starts",
    "dispersed_starts",
    "seeded",
    "spread",
]

Array = NDArray[np.float64]
NOT_DRAWN = " (no draw of the prior)"  # at the end of the label of a start that lies near the initial point instead


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
    if isinstance(target, Posterior):  # its modes are not known: see `dispersed_starts`
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
        unconstrained coordinate where its prior cannot be drawn from or the draw is not finite (as Stan does); for other targets from a Normal with
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
    if isinstance(target, Posterior):
        means = centre.mean + rng.uniform(-2, 2, (count - 1, target.dim))
        prior = target.prior_points(count - 1, seed)
        if prior is not None:
            whole = np.isfinite(prior).all(axis=1)
            means[whole] = prior[whole]
    else:
        places = np.array([m for m, _ in target.scales])
        means = places.mean(axis=0) + 2 * spread(target) * rng.standard_normal((count - 1, target.dim))
    labels = [f"start {i + 2}" for i in range(count - 1)]
    if isinstance(target, Posterior) and prior is not None:
        labels = [label if ok else label + NOT_DRAWN for label, ok in zip(labels, whole, strict=True)]
    return [centre, *[Start(label, mean) for label, mean in zip(labels, means, strict=True)]]


def _centre(target: Target) -> Start:
    return Start("centre", target.initial_point)


def seeded(starts: Sequence[Start], seed: int) -> list[Start]:
    """Give each start without a seed its own child of `seed`."""
    children = np.random.SeedSequence(seed).spawn(len(starts))
    own = [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in children]
    return [s if s.seed is not None else replace(s, seed=k) for s, k in zip(starts, own, strict=True)]


def spread(target: Target) -> float:
    """Root mean square sd of the target over its coordinates, from the places where it has structure; 1 for a model."""
    locations = np.array([m for m, _ in target.scales])
    variances = np.array([np.square(s).sum(axis=1) for _, s in target.scales])
    return float(np.sqrt((locations.var(axis=0) + variances.mean(axis=0)).mean()))
