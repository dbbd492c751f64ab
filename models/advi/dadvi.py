"""Deterministic ADVI: reverse KL on nodes held still, all optima met from many starts, each with its evidence and linear response.

Giordano, Ingram and Broderick (2024) minimise the ELBO on fixed draws by Newton's method. Here the draws are quasi-Monte Carlo and
moment-matched, few while it is open where a start leads and as many as each distinct optimum needs once it is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.edges import edge
from models.advi.effort import evaluations_within, looked_at, power_within
from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.given import as_target
from models.advi.members import group
from models.advi.propriety import refuse_improper
from models.advi.refine import Optimum, refine
from models.advi.refusals import refuse_beyond, refuse_failure, refuse_infinite
from models.advi.runs import cores
from models.advi.search import about, images
from models.advi.shapes import FullRank, MeanField, Shape, shape_for
from models.advi.starts import Start, dispersed_starts
from models.advi.still import Descended, as_tree
from models.errors import InputError, lookup_error
from models.graphs import single_threaded
from models.targets import Posterior, Target

__all__ = ["FixedMethod", "fit_dadvi"]

Array = NDArray[np.float64]
FixedMethod = Literal["advi", "fullrank_advi", "lowrank_advi"]
FIXED_METHODS = ("advi", "fullrank_advi", "lowrank_advi")

_STARTS = 20
_START_SDS = (0.1, 0.7)  # by turns: a narrow start ends at a mode near by, a wide one can end at a broad optimum
_LIGHT = 30.0  # nats above the lowest optimum: one that is named, and never weighed
_OPTIMA = 8  # that are followed to finer nodes
_SEARCHED, _LEFT = 0.6, 0.1  # of the budget: for the search on coarse nodes, and for the optima at least
_HESSIAN = 0.05  # of the budget, that one Hessian may take
_DESCENT = 1000  # evaluations at each coarse node that a search takes, about
_ROUNDS = 13  # evaluations at each node with which an optimum is followed, about


@single_threaded
def fit_dadvi(
    target_or_model: Target | Any = None,
    *,
    method: FixedMethod = "advi",
    starts: int | Sequence[Start] | None = None,
    also: Sequence[Start] = (),
    seed: int = 0,
    budget_s: float = 300.0,
    draws: int = 2000,
    nats: float = 0.005,
    relative: float = 0.01,
    on_start: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Minimise reverse KL on fixed nodes from many starts, and say which distinct optima there are.

    Parameters
    ----------
    target_or_model : Target or pymc.Model, optional
        With a density; the model of the surrounding ``with`` if not given. Of one with ``pm.Minibatch`` the whole data are taken: a warning
        and ``attrs["batched"]`` say so.
    method : {"advi", "fullrank_advi", "lowrank_advi"}
        Mean field, full rank, or D^2 + U U' with a tenth to a fifth as many columns as unknowns (at most 10). The latter two begin at
        the optima of mean field, whose linear response is their scale.
    starts : int or sequence of Start, optional
        A number (20 if not given) is that of a first wave (`models.advi.dispersed_starts`); a second, half as large, spreads far about
        the optima found, and a third looks at their mirror images and exchanged labels. Starts that are given are all there are.
    also : sequence of Start
        Further starts, beside the first wave: at modes that were met elsewhere, say.
    seed : int
    budget_s : float
        Seconds; when they are used up, what has been found is returned, and ``attrs["complete"]`` is 0.
    draws : int
        Draws of each optimum to keep.
    nats, relative : float
        Nodes are added until they leave an optimum open by no more than this, in nats and in sds.
    on_start : callable, optional
        Told how many starts are done, and how many there are.

    Returns
    -------
    xarray.DataTree
        As `models.advi.fit_advi` returns: ``restarts``, and ``optimum_0``, ... (lowest loss first). ``optimum_k/fit`` also has ``cov_linear_response``
        (nan where the Hessian is not positive definite), ``k_hat`` and ``k_hat_linear_response``, ``verdict``, ``eigenvalue`` (the
        smallest, in units of the Fisher information), ``flattest`` (the coordinates of that direction), ``node_gap``, ``node_shift``,
        ``nodes``, and ``node_moves`` of means and log sds by replicate of the nodes, whose root sum of squares is the standard error that these leave. ``restarts`` has ``optimum`` -1 for a start whose loss is not finite, or that the budget left out.
        At the root, ``posterior`` and ``sample_stats`` are those of the lowest optimum, with ``observed_data`` and ``constant_data``.

    Raises
    ------
    InputError
        If the target has no density, a start has the wrong length, the method or a number is wrong, or the loss is finite at no start
        (the variable to blame is named), or the density vanishes where every Normal has mass.
    ImproperError
        If the posterior is improper along a direction that was met; it is named.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> fit = fit_dadvi(normal_mixture([0.7, 0.3], [-4, 4], [1, 1]), draws=10)
    >>> sorted(float(fit[f"optimum_{k}/fit"]["mu"].round(1)) for k in range(2))
    [-4.0, 4.0]
    """
    target = as_target(target_or_model, "reverse KL")
    _check(method, seed, budget_s, draws)
    clock = _Clock(time.monotonic() + budget_s)
    # A third of the budget at least is kept for the optima.
    search = _Search(target, seed, _Clock(time.monotonic() + _SEARCHED * budget_s), on_start, budget_s)
    if starts is None or isinstance(starts, int | np.integer):
        count = _STARTS if starts is None else int(starts)
        first = [*_first(target, count, seed), *_checked(also, target.dim)]
        search.wave(first, len(first))
        search.refuse_improper()
        search.follow(max(1, count // 2))
    else:
        if not starts:
            raise InputError("there are no starts; give at least one")
        given = _checked([*starts, *also], target.dim)
        search.wave(given, len(given))
    if not search.groups:
        refuse_failure(target, [np.asarray(start.mean, dtype=float) for start in search.starts])
    search.refuse_improper()
    search.settle()
    leads = [search.runs[alike[0]] for alike in search.groups[:_OPTIMA]]
    mean_field: list[Optimum] = []
    for run in leads:
        if mean_field and clock():
            break
        light = run.value > leads[0].value + _LIGHT
        share = max(clock.left(), _LEFT * budget_s) / (len(leads) - len(mean_field))
        mean_field.append(_refined(target, search.shape, run, clock, seed, nats, relative, share, light=light))
    refuse_infinite(target, mean_field)
    if found := edge(target, mean_field[0].mean, mean_field[0].factor, seconds=looked_at(budget_s)):
        point, sds = found
        refuse_beyond(target, [point], f"where every Normal has mass, {sds:.2g} sds from the mean of the one at rest")
    optima = mean_field
    if method != "advi" and target.dim > 1:
        optima = [_continued(target, o, method, clock, seed, nats, relative, _LEFT * budget_s) for o in mean_field]
    return as_tree(target, method, search.starts, search.runs, search.groups, optima, seed=seed, draws=draws,
                   complete=not (clock() or search.cut), seconds=looked_at(budget_s))  # fmt: skip


def _check(method: str, seed: int, budget_s: float, draws: int) -> None:
    if method not in FIXED_METHODS:
        raise lookup_error("method", method, FIXED_METHODS)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    if not budget_s > 0:
        raise InputError(f"budget_s is {budget_s}; give a positive number of seconds")
    if draws < 1:
        raise InputError(f"draws is {draws}; keep at least 1")


def _checked(starts: Sequence[Start], dim: int) -> list[Start]:
    for start in starts:
        if len(start.mean) != dim:
            raise InputError(f"start {start.label!r} has {len(start.mean)} coordinates; the target has {dim}")
    return list(starts)


def _first(target: Target, count: int, seed: int) -> list[Start]:
    """The first wave, narrow and wide by turns; from a prior that is not the posterior, half of them near the initial point."""
    starts = dispersed_starts(target, count, seed)
    rng = np.random.default_rng([seed, 13])
    result = []
    for i, start in enumerate(starts):
        mean = np.asarray(start.mean, dtype=float)
        if isinstance(target, Posterior) and i % 2 and i > 1:
            mean = target.initial_point + rng.uniform(-2, 2, target.dim)
        result.append(Start(start.label, mean, sd=np.full(target.dim, _START_SDS[i % 2])))
    return result


@dataclass(frozen=True)
class _Clock:
    end: float

    def __call__(self) -> bool:
        return self.left() < 0

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


class _Search:
    """Starts that have been descended on coarse nodes, and the groups in which they ended."""

    def __init__(
        self, target: Target, seed: int, clock: _Clock, on_start: Callable[[int, int], None] | None, budget_s: float
    ) -> None:
        self.target, self.seed, self.clock = target, seed, clock
        self.shape = MeanField(target.dim)
        density, point = target.log_density, target.initial_point
        power = power_within(density, point, _SEARCHED * budget_s / _DESCENT, 5 if target.dim <= 20 else 6, least=4)
        most = evaluations_within(density, point, _HESSIAN * budget_s)
        self.loss = FixedLoss(density, self.shape, fixed_nodes(target.dim, power=power, seed=seed)[0], most)
        self.starts: list[Start] = []
        self.runs: list[Descended] = []
        self.groups: list[list[int]] = []
        self.cut = False
        self._told, self._total = on_start or (lambda _done, _total: None), 0

    def wave(self, starts: Iterable[Start], count: int) -> None:
        """Descend from each start; what the budget leaves out is left out."""
        starts = list(starts)
        self._total += count

        def run(start: Start) -> Descended | None:
            if self.clock():
                return None
            found = self._descended(start)
            self._told(min(len(self.runs) + 1, self._total), self._total)
            return found

        with ThreadPoolExecutor(cores()) as pool:
            for start, found in zip(starts, pool.map(run, starts), strict=True):
                if found is None:
                    self.cut = True
                else:
                    self.starts.append(start)
                    self.runs.append(found)
        self._regroup()

    def follow(self, count: int) -> None:
        """Starts far about the optima met so far, by turns, and at their images."""
        if not self.groups:
            return
        leads = [self.runs[alike[0]] for alike in self.groups[:3]]
        each = -(-count // len(leads))
        spread = [
            start
            for k, lead in enumerate(leads)
            for start in about(lead.mean, lead.sd, each, self.seed + k, f"about {k + 1},")
        ]
        self.wave(spread[:count], count)
        lead = self.runs[self.groups[0][0]]
        there = images(self.target, lead.mean, lead.sd, "optimum 1", exact=False)
        finite = (s for s in there if np.isfinite(self._at(s)[1]))
        mirrored = list(islice(finite, count))
        self.wave(mirrored, len(mirrored))

    def _at(self, start: Start) -> tuple[Array, float]:
        """Parameters of a start and its loss there; with a narrower start where the density vanishes at a node."""
        sd = start.sd if start.sd is not None else np.full(self.target.dim, _START_SDS[-1])
        for shrink in (1.0, 0.1, 0.001):
            theta = self.shape.at(np.asarray(start.mean, dtype=float), shrink * np.asarray(sd))
            value = self.loss(theta)[0]
            if np.isfinite(value):
                break
        return theta, value

    def _descended(self, start: Start) -> Descended:
        theta, value = self._at(start)
        if not np.isfinite(value):
            return Descended(self.shape, theta, value, theta)
        end = descend(self.loss, theta, fine=False, stop=self.clock)
        return Descended(self.shape, end, self.loss(end)[0], theta)

    def _regroup(self) -> None:
        live = [i for i, run in enumerate(self.runs) if np.isfinite(run.value)]
        order = sorted(live, key=lambda i: self.runs[i].value)
        groups = [[order[j] for j in alike] for alike in group([self.runs[i] for i in order])]
        self.groups = sorted(groups, key=lambda alike: self.runs[alike[0]].value)

    def settle(self) -> None:
        """Go all the way from the lead of each group, still on coarse nodes, and put together what then lies together."""
        groups = self.groups[:_OPTIMA]
        for alike in groups:
            run = self.runs[alike[0]]
            end = descend(self.loss, run.theta, stop=self.clock)
            self.runs[alike[0]] = replace(run, theta=end, value=self.loss(end)[0])
        order = sorted(range(len(groups)), key=lambda j: self.runs[groups[j][0]].value)
        leads = [self.runs[groups[j][0]] for j in order]
        self.groups = [[i for j in alike for i in groups[order[j]]] for alike in group(leads)]

    def refuse_improper(self) -> None:
        """Refuse a posterior whose density does not fall along the way that a run took, or in the flattest direction where it ended.

        Raises
        ------
        ImproperError
        """
        if not isinstance(self.target, Posterior):  # what has a name is a distribution
            return
        for alike in self.groups[:3]:
            run = self.runs[alike[0]]
            here = rest(self.loss, run.theta)
            way = run.mean - run.begin[: self.target.dim]
            # A run that began at its optimum has gone no way: within rounding of it any density is flat.
            steps = [way] if np.linalg.norm(way / run.sd) > 1 else []
            if here.kind != "minimum" and len(here.eigenvalues):
                steps.insert(0, (here.direction / np.sqrt(self.shape.fisher(run.theta)))[: self.target.dim])
            refuse_improper(self.target, run.mean, run.sd, steps)


def _refined(
    target: Target,
    shape: Shape,
    run: Descended,
    clock: _Clock,
    seed: int,
    nats: float,
    relative: float,
    seconds: float,
    *,
    light: bool = False,
) -> Optimum:
    # Each replicate must be moment-matched, and be so with little bias: it falls as one over their number, and no spread shows it.
    first = max(11, 3 + int(np.ceil(np.log2(4 * target.dim))))
    density, last = target.log_density, first if light else max(first, 15)
    # A Hessian takes two evaluations more for each coordinate, at a thousand nodes or less.
    once = max(
        seconds / (_ROUNDS + 2 * target.dim), (seconds - 2048 * target.dim * density.seconds(run.mean)) / _ROUNDS
    )
    powers = [power_within(density, run.mean, once, power) for power in (first, last)]
    return refine(density, shape, run.theta, nats=nats, relative=relative, powers=(powers[0], powers[1]), seed=seed, stop=clock,
                  most=evaluations_within(density, run.mean, seconds))  # fmt: skip


def _continued(
    target: Target, optimum: Optimum, method: str, clock: _Clock, seed: int, nats: float, relative: float, least: float
) -> Optimum:
    """A richer family from an optimum of mean field: on coarse nodes, then refined."""
    mean, dim = optimum.mean, target.dim
    shape, theta = _richer(method, optimum, dim)
    nodes = fixed_nodes(shape.noise, power=int(np.ceil(np.log2(8 * dim + 32))), seed=seed)[0]
    loss = FixedLoss(target.log_density, shape, nodes)
    if not np.isfinite(loss(theta)[0]):
        shape = shape_for(method, dim) if method == "lowrank_advi" else FullRank(mean, np.diag(optimum.sd))
        theta = shape.at(mean, 0.5 * optimum.sd)
        loss = FixedLoss(target.log_density, shape, nodes)
    theta = descend(loss, theta, iterations=1000, stop=clock)
    if isinstance(shape, FullRank):  # measured from where it now is, the Fisher information is exact
        mean, factor = shape.moments(theta)
        shape = FullRank(mean, factor)
        theta = shape.of(mean, factor)
    seconds = max(clock.left(), least)
    return _refined(target, shape, Descended(shape, theta, 0.0, theta), clock, seed, nats, relative, seconds)


def _richer(method: str, optimum: Optimum, dim: int) -> tuple[Shape, Array]:
    if method == "lowrank_advi":
        shape = shape_for(method, dim)
        return shape, shape.at(optimum.mean, optimum.sd)
    factor = np.diag(optimum.sd)
    if optimum.response is not None:
        factor = np.linalg.cholesky(optimum.response)
    full = FullRank(optimum.mean, factor)
    return full, full.of(optimum.mean, factor)
