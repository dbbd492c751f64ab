"""A reference that has been elsewhere, by NUTS or tempered Hamiltonian Monte Carlo, and whether its own diagnostics hold; `grid` has that of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from models.graphs import rounded_alike
from models.own_model.comparison import natural
from models.own_model.tempering import move, temper
from models.quadrature import Estimate
from models.targets import Posterior

__all__ = ["Cells", "Reference", "by_nuts", "by_tempering", "pooled", "settled"]

Array = NDArray[np.float64]

_POPULATIONS = 4
_R_HAT = {"grid": 1.05, "NUTS": 1.01, "SMC": 1.1}
_ESS, _ANCESTORS = 400, 20
_FIRST_MOVES, _MOST_MOVES = 12, 200  # of all populations, in the rounds that settle them
_ENOUGH = 150_000  # moves of all points in a round, that show a drift: of few points, more each
_DRIFT = 0.02  # sds that a mean may move in two rounds, or share by which an sd may grow,
_ON, _ERRORS = 2.0, 3.0  # beyond so many standard errors: to be moved on, and to be no reference


class Cells(NamedTuple):
    """The points of a grid that hold mass.

    Attributes
    ----------
    points : ndarray (m, d)
    mass : ndarray (m,)
    coarse : ndarray of bool (m,)
        Which are left if every second one goes, along each axis.
    beyond : ndarray (m,)
        For how many points each stands that are left out: those beyond the box, if the integrand were to go on as it is at the edge for as long as
        the box is, and those of next to no mass, if they come to as much as the faintest that are kept; 0 for the others.
    """

    points: Array
    mass: Array
    coarse: NDArray[np.bool_]
    beyond: Array


@dataclass(frozen=True, eq=False)
class Reference:
    """Draws of a posterior in unconstrained space.

    Attributes
    ----------
    method : {"grid", "NUTS", "SMC", "importance"}
    points : ndarray (chains, draws, d)
    looks : float
        How many independent looks at the whole posterior there were: between modes, effective draws of a mixing chain, or ancestors
        that are left of a population.
    reasons : tuple of str
        Why it may not be called a reference; empty if its own diagnostics hold.
    divergences : int
    cells : Cells, optional
        Of a grid.
    log_evidence : Estimate, optional
        Log of the integral of the density, in nats, where it is a by-product: of a grid, or of tempering, to a tenth or so.
    """

    method: Literal["grid", "NUTS", "SMC", "importance"]
    points: Array
    looks: float
    reasons: tuple[str, ...]
    divergences: int = 0
    cells: Cells | None = None
    log_evidence: Estimate | None = None

    @property
    def ok(self) -> bool:
        """Whether its own diagnostics hold."""
        return not self.reasons

    @property
    def diverged(self) -> bool:
        """Whether more than one in a thousand transitions did."""
        return self.divergences > 0.001 * len(self.flat)

    @property
    def flat(self) -> Array:
        """All draws (n, d)."""
        return self.points.reshape(-1, self.points.shape[-1])

    @property
    def chains(self) -> Array:
        """No more than 4000 draws (c, n, d) in all, evenly."""
        count, each, _ = self.points.shape
        return self.points[:, np.linspace(0, each - 1, min(each, 4000 // count)).astype(int)]

    @property
    def thinned(self) -> Array:
        """No more than 4000 of them, evenly."""
        points = self.flat
        return points[np.linspace(0, len(points) - 1, min(len(points), 4000)).astype(int)]

    def share(self, inside: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Share of the draws (n,) that are `inside`, with a 95 % interval (Wilson's, on as many draws as there were independent looks).

        Where the chains or populations differ by more than that allows, the interval is as wide as they say.
        """
        by_chain = inside.reshape(self.points.shape[:2]).mean(axis=1)
        p, n, z = float(by_chain.mean()), self.looks, 1.96
        between = float(by_chain.var(ddof=1) / len(by_chain)) if len(by_chain) > 1 else 0.0
        if between > p * (1 - p) / n:
            n = max(p * (1 - p) / between, 1.0)
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        return p, max(0.0, centre - half), min(1.0, centre + half)


def _reasons(method: str, points: Array, names: Sequence[str]) -> tuple[list[str], float]:
    """What R-hat says of chains (c, n, d), and the smallest bulk ESS."""
    r_hat = np.array(
        [float(array_stats.rhat(points[:, :, j], chain_axis=0, draw_axis=1)) for j in range(points.shape[2])]
    )
    ess = np.array([float(array_stats.ess(points[:, :, j], chain_axis=0, draw_axis=1)) for j in range(points.shape[2])])
    worst = int(np.nanargmax(np.where(np.isfinite(r_hat), r_hat, np.inf)))
    reasons = []
    if not r_hat[worst] <= _R_HAT[method]:
        reasons.append(f"R-hat of {names[worst]} is {r_hat[worst]:.3g}")
    return reasons, float(np.nanmin(ess))


def by_tempering(
    target: Posterior, centre: Array, sd: Array, *, particles: int, seed: int, stop: Callable[[], bool]
) -> Reference | None:
    """Four populations tempered from N(centre, sd^2), to look around by (see `settled`); ``None`` if the clock left no two of them."""
    populations = []
    for k in range(_POPULATIONS):
        if stop():
            break
        populations.append(temper(target.log_density, centre, sd, particles=particles, seed=100 * seed + k, stop=stop))
    whole = [p for p in populations if p.temperature >= 1]
    if len(whole) < 2:
        return None
    reasons = []
    looks = [len(np.unique(p.ancestors)) for p in whole]
    if min(looks) < _ANCESTORS:
        reasons.append(f"only {min(looks)} of {particles} particles have descendants left")
    if min(p.acceptance for p in whole) < 0.1:
        reasons.append("its last moves are hardly ever accepted")
    levels = np.array([p.log_evidence for p in whole])
    each = np.exp(levels - levels.max())
    evidence = Estimate(
        float(levels.max() + np.log(each.mean())), float(each.std(ddof=1) / np.sqrt(len(each)) / each.mean()), "draws"
    )
    return Reference(
        "SMC", np.array([p.points for p in whole]), float(sum(looks)), tuple(reasons), log_evidence=evidence
    )


def settled(
    target: Posterior, look: Reference, *, seed: int, stop: Callable[[], bool], alone: bool = False
) -> Reference:
    """Tempered populations moved on until they stay as they are, which makes a reference of them if they are as one.

    Where one optimum was found, and they stand `alone` since NUTS, which moves farther, could not be had or mixes slowly, they are moved as far as
    they may be: what they have yet to enter shows then.
    """
    before, points = _settled(target, look.points, seed, stop, _MOST_MOVES if alone else 0)
    # As it will be judged by: how far down its log a scale goes tells in no mean and no sd of the scale.
    there, here = (natural(target, p.reshape(-1, target.dim)) for p in (before, points))
    drifting = _drifting(np.column_stack([*there.values()]), np.column_stack([*here.values()]), list(here))
    reasons, _ = _reasons("SMC", points, target.coordinates)
    if drifting is not None:
        reasons.append(f"{drifting} had not settled")
    return replace(look, points=points, reasons=(*reasons, *look.reasons))


def _settled(target: Posterior, points: Array, seed: int, stop: Callable[[], bool], least: int) -> tuple[Array, Array]:
    """Populations (c, n, d) moved on, each round twice as far as the last, until two that are long enough leave their means and sds where they are.

    Where the moves of tempering do not mix, as in the neck of a funnel or far out on a bent ridge, all populations are off in the same way, which no
    R-hat sees; but they move towards the posterior: the sds most of all, where it is a tail that they have yet to enter. Two values: where they were two rounds ago, and
    where they are.
    """
    flat, moves = points.reshape(-1, points.shape[-1]), _FIRST_MOVES
    before = flat
    while True:
        moved, made = move(
            target.log_density, flat, flat.std(axis=0) + np.finfo(float).tiny, moves=moves, seed=seed + moves, stop=stop
        )
        moving = _drifting(before, moved, target.coordinates, _ON)
        enough = moving is None and moves * len(flat) >= _ENOUGH and moves >= least
        if enough or made < moves or moves > _MOST_MOVES:
            return before.reshape(points.shape), moved.reshape(points.shape)
        before, flat = flat, moved
        moves *= 2


def _drifting(before: Array, after: Array, names: Sequence[str], errors: float = _ERRORS) -> str | None:
    """Which mean or sd of points (n, d) moved by more than so many standard errors; ``None`` if none did."""
    least, found = np.finfo(float).tiny, {}
    with np.errstate(all="ignore"):  # a deterministic may be no number, or not vary
        sd, ends = before.std(axis=0) + least, after.std(axis=0) + least
        far, end = (before - before.mean(axis=0)) / sd, (after - after.mean(axis=0)) / ends
        growth = (np.square(end) - np.square(far)) / 2  # influence of each point on the log of the ratio of the sds
        for what, gain in {"mean": (after - before) / sd, "sd": growth + np.log(ends / sd)}.items():
            drift = np.abs(gain.mean(axis=0)) - errors * gain.std(axis=0) / np.sqrt(len(gain))
            drift = np.nan_to_num(drift, nan=-np.inf, posinf=-np.inf)
            worst = int(np.argmax(drift))
            found[f"the {what} of {names[worst]}"] = float(drift[worst])
    most = max(found, key=found.__getitem__)
    return most if found[most] > _DRIFT else None


def by_nuts(
    target: Posterior, *, seed: int, stop: Callable[[], bool], draws: int = 1000, target_accept: float = 0.9
) -> Reference | None:
    """PyMC's NUTS, four chains from its own start; ``None`` if it failed, or the clock left less than a hundred draws.

    What the clock leaves of a chain is used.
    """
    import pymc as pm

    def watch(trace: Any, draw: Any) -> None:  # noqa: ARG001  # PyMC calls it so
        if stop():
            raise KeyboardInterrupt  # PyMC keeps what it has drawn

    import logging

    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with rounded_alike(), _unknowns_alone(target.source):
            tree = pm.sample(draws=draws, tune=1000, chains=4, cores=1, random_seed=seed, progressbar=False, model=target.source,
                             callback=watch, compute_convergence_checks=False, nuts_sampler="pymc", target_accept=target_accept,
                             idata_kwargs={"include_transformed": True})  # fmt: skip
    except KeyboardInterrupt:
        if not stop():  # not the clock, but whoever waits
            raise
        return None
    except (ValueError, pm.exceptions.SamplingError):
        return None
    finally:
        logger.setLevel(level)
    points = _stacked(target, tree)
    cut = points.shape[:2] != (4, draws)
    if cut and not stop():  # PyMC keeps what it has when it is interrupted, by whom it does not say
        raise KeyboardInterrupt
    if points.shape[0] < 2 or points.shape[1] < 100:
        return None
    divergences = int(tree["sample_stats"]["diverging"].sum())
    return _judged(
        points, divergences, target.coordinates, [f"the budget ended it after {points.shape[0]} of 4 chains"] * cut
    )


@contextmanager
def _unknowns_alone(model: Any) -> Iterator[None]:
    """A model without its deterministics, which PyMC would compute and hold at each draw: one may have a row for every observation."""
    kept = list(model.deterministics)
    model.deterministics.clear()
    try:
        yield
    finally:
        model.deterministics.extend(kept)


def _judged(points: Array, divergences: int, names: Sequence[str], known: Sequence[str] = ()) -> Reference:
    """Chains (c, n, d) of NUTS with what is to be said against them, beside what is `known`."""
    reasons, ess = _reasons("NUTS", points, names)
    found = Reference("NUTS", points, max(ess, 1.0), (), divergences)
    reasons += known
    if found.diverged:
        reasons.append(f"{divergences} of {len(found.flat)} transitions diverged")
    if not ess >= _ESS:
        reasons.append(f"the smallest effective sample size is {ess:.0f}")
    return replace(found, reasons=tuple(reasons))


def pooled(one: Reference, other: Reference, names: Sequence[str]) -> Reference:
    """Chains of NUTS as of one run, those of the other cut into as many of the same length; the first alone where these are shorter, or do not come out even."""
    _, each, d = one.points.shape
    if other.points.shape[1] % each:
        return one
    return _judged(
        np.concatenate([one.points, other.points.reshape(-1, each, d)]), one.divergences + other.divergences, names
    )


def _stacked(target: Posterior, tree: Any) -> Array:
    """Draws of the value variables as points (chains, draws, d) of unconstrained space."""
    found = [
        group.to_dataset() for name, group in tree.children.items() if name in ("posterior", "unconstrained_posterior")
    ]
    parts = []
    for value in target.source.value_vars:
        values = next(data[value.name] for data in found if value.name in data).to_numpy()
        parts.append(values.reshape(*values.shape[:2], -1))
    return np.concatenate(parts, axis=2)
