"""The highest maximum of a likelihood: of data, of a density by quadrature, or with a prior; and maxima at a boundary.

Draws with weights and the nodes of a quadrature are one objective (`models.projections.objectives`), and this is the one search
for its minimum: maximum likelihood, MAP and forward projections all end here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from models.families import Family, Points
from models.families.family import Ends
from models.projections.objectives import Objective, forward_objective, natural_values
from models.projections.optimise import polish_all
from models.projections.starts import forward_starts, peak_starts
from models.projections.stationary import Smooth
from models.projections.units import even_quantiles, points_of
from models.quadrature import Nodes

__all__ = ["LARGE", "Maximum", "Problem", "at_limits", "highest", "maxima", "polished_minimum", "summary"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Above this many points, starts are compared on a summary of `_SUMMARY` quantiles, or `_ROWS` points of several dimensions.
LARGE, _SUMMARY, _ROWS = 5000, 2048, 20_000
#: What rounding may do to a mean log density near the limit of a parameter, where log gamma functions cancel.
_ROUNDING = 1e-8
#: Nats of an average log likelihood: a step of Newton's that gains less moves no estimate by a thousandth of its error at n = 1e6.
_GAIN = 1e-13
_SAME = 1e-4  # between two ends of one maximum, in any coordinate


@dataclass(frozen=True, eq=False)
class Problem:
    """A mean log density over nodes, perhaps with a penalty, to be maximised over a family.

    Attributes
    ----------
    family : Family
    rule : Nodes
        In units in which all numbers are about 1.
    ends : tuple of float, optional
        Of the support of a density; data have their extremes.
    penalised : callable, optional
        The objective on nodes, if it is not the cross-entropy alone.
    box : tuple of ndarray (P,), optional
        Ends of each coordinate of theta.
    unit : ndarray (P,), optional
        Length of each coordinate.
    bound : frozenset of str
        Parameters that a penalty keeps from their limits.
    more : callable, optional
        All starts, from those that the nodes suggest.
    trials : int, optional
        The integer parameter, if the family has one.
    """

    family: Family
    rule: Nodes
    ends: tuple[float, float] | None = None
    penalised: Callable[[Nodes], Objective] | None = None
    box: tuple[Array, Array] | None = None
    unit: Array | None = None
    bound: frozenset[str] = frozenset()
    more: Callable[[list[Array]], list[Array]] | None = field(default=None)
    trials: int | None = None

    @property
    def dim(self) -> int:
        """Dimension of a point."""
        return self.rule.points.shape[1]

    @property
    def lengths(self) -> Array:
        """Length (P,) of each coordinate of theta."""
        return np.ones(self.family.size(self.dim)) if self.unit is None else self.unit

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Ends (P,) of each coordinate of theta."""
        free = np.full(self.family.size(self.dim), np.inf)
        return (-free, free) if self.box is None else self.box

    def points(self, rule: Nodes) -> Points:
        """Nodes with the ends and the number of trials that starts are taken from."""
        s = points_of(rule, self.family, self.ends)
        return s if self.trials is None else replace(s, trials=self.trials)

    def objective(self, rule: Nodes) -> Objective:
        """What is minimised, over these nodes."""
        return forward_objective(self.family, rule) if self.penalised is None else self.penalised(rule)

    def coordinates(self, names: set[str]) -> Mask:
        """Coordinates (P,) of these parameters."""
        mask = np.zeros(self.family.size(self.dim), dtype=bool)
        for p, part in self.family.slices(self.dim):
            mask[part] = p.name in names
        return mask


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where a search has ended.

    Attributes
    ----------
    theta : ndarray (P,)
        Without meaning if `reached` is 0.
    value : float
        Of the objective there, in nats.
    held, unknown : ndarray (P,)
        Coordinates that lie at an end, where the likelihood is no quadratic; and those that have no standard error.
    limit : str, optional
        Name of the end.
    edge : ndarray (P,)
        Coordinates at an end of the box.
    ends, reached, degenerate : int
        Starts that came to an end, that came to this one, and that collapsed on single points.
    """

    theta: Array
    value: float
    held: Mask
    unknown: Mask
    limit: str | None
    edge: Mask
    ends: int
    reached: int = 1
    degenerate: int = 0


def highest(problem: Problem, starts: int, seed: int) -> Maximum:
    """The highest maximum found.

    Parameters
    ----------
    problem : Problem
    starts : int
        Of mixtures; other families have theirs in their entries.
    seed : int

    Returns
    -------
    Maximum
    """
    family = problem.family
    if family.trials is not None and not family.fixed:
        return _over_trials(problem, starts, seed)
    return _given_trials(problem, starts, seed)


def _over_trials(problem: Problem, starts: int, seed: int) -> Maximum:
    """The best number of trials: doubled until the likelihood falls, then between the last three.

    Where it never falls the limit is a law of counts without an upper end (Olkin, Petkau and Zidek, 1981).
    """
    found: dict[int, Maximum] = {}

    def value(n: int) -> float:
        if n not in found:
            found[n] = _given_trials(replace(problem, trials=n), starts, seed)
        return found[n].value

    family, least = problem.family, max(1, int(problem.points(problem.rule).high))
    p = next(p for p in family.parameters if p.name == family.trials)
    (limit,) = p.limits
    low, middle, high = least, least, least + 1
    while value(high) < value(middle):
        low, middle, high = middle, high, least + 2 * (high - least)
        if high > limit.beyond * least:
            best = found[middle]
            text = "; ".join(filter(None, (f"{p.name} -> {limit.text}", best.limit)))
            return replace(best, limit=text, unknown=np.ones_like(best.unknown))
    while high - low > 2:
        probe = (middle + high) // 2 if high - middle > middle - low else (low + middle) // 2
        if value(probe) < value(middle):
            low, middle, high = (middle, probe, high) if probe > middle else (low, probe, middle)
        else:
            low, high = (low, probe) if probe > middle else (probe, high)
    return found[min(range(low, high + 1), key=value)]


def _given_trials(problem: Problem, starts: int, seed: int) -> Maximum:
    family, rule, unit, box = problem.family, problem.rule, problem.lengths, problem.bounds
    pinned = problem.coordinates({name for name, _ in family.edges} | {str(family.trials)})
    none = np.zeros(len(unit), dtype=bool)
    objective = problem.objective(rule)
    if family.closed is not None and problem.penalised is None:
        (theta,) = forward_starts(family, problem.points(rule), 1, seed)
        end = Maximum(theta, 0.0, pinned, pinned, _edge_names(family), none, 1)
        end = at_limits(problem, objective, end)
        return replace(end, value=objective.value_and_gradient(end.theta)[0])
    fewer = summary(rule, seed)
    quick = objective if fewer is rule else problem.objective(fewer)
    first = list(forward_starts(family, problem.points(rule if family.starts else fewer), starts, seed))
    first = [*first, *peak_starts(family, fewer, problem.objective)]
    first = first if problem.more is None else problem.more(first)
    ends = [e for start in first if (e := _climb(quick, start, unit, box, pinned)) is not None]
    proper = [e for e in ends if not _collapsed(problem, e[0])]
    if not proper:
        return Maximum(np.zeros(len(unit)), np.inf, pinned, pinned, None, none, len(ends), 0, len(ends))
    theta, reached = _best_end(problem, quick, proper, pinned)
    if fewer is not rule and (again := _climb(objective, theta, unit, box, pinned)) is not None:
        theta = again[0]
    degenerate = len(ends) - len(proper)
    best = Maximum(theta, 0.0, pinned, pinned, _edge_names(family), none, len(ends), reached, degenerate)
    best = at_limits(problem, objective, best)
    edge, value = _at_edge(objective, best.theta, box, unit), objective.value_and_gradient(best.theta)[0]
    return replace(best, value=value, held=best.held | edge, unknown=best.unknown | edge, edge=edge)


def maxima(problem: Problem, seed: int) -> list[tuple[Array, float]]:
    """Each interior maximum (theta, value of the objective) that the starts of a family lead to, the highest first."""
    objective, held = problem.objective(problem.rule), np.zeros(len(problem.lengths), dtype=bool)
    starts = [
        *forward_starts(problem.family, problem.points(problem.rule), 1, seed),
        *peak_starts(problem.family, problem.rule, problem.objective),
    ]
    climbs = [_climb(objective, start, problem.lengths, problem.bounds, held) for start in starts]
    found: list[tuple[Array, float]] = []
    for theta, _ in sorted((c for c in climbs if c is not None), key=lambda end: end[1]):
        if _collapsed(problem, theta) or problem.family.at_boundary(theta, problem.dim) is not None:
            continue
        polished = polished_minimum(objective, theta, held, problem.lengths)
        if polished is not None and not any(np.allclose(polished, known, atol=_SAME) for known, _ in found):
            found.append((polished, objective.value_and_gradient(polished)[0]))
    return found


def summary(rule: Nodes, seed: int) -> Nodes:
    """The nodes themselves; of very many, quantiles (one dimension) or a random part, to compare starts on."""
    n, dim = rule.points.shape
    if n <= (LARGE if dim == 1 else _ROWS) or rule.kind != "draws":
        return rule
    if dim == 1:
        points, weights = even_quantiles(rule.points[:, 0], rule.weights, _SUMMARY)
        return Nodes(points[:, None], weights, "draws")
    rows = np.random.default_rng(seed).choice(n, _ROWS, replace=False, p=rule.weights)
    return Nodes(rule.points[rows], np.full(_ROWS, 1 / _ROWS), "draws")


# --- descents --------------------------------------------------------------------------------------------------------


def _climb(
    objective: Objective, start: Array, unit: Array, box: tuple[Array, Array], held: Mask
) -> tuple[Array, float] | None:
    """L-BFGS from one start; ``None`` if the start has no finite value."""
    value, gradient = objective.value_and_gradient(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return None
    free = ~held
    inner = _Restricted(objective, start, free, unit[free])
    lowest = np.inf, start[free] / unit[free]

    def guarded(scaled: Array) -> tuple[float, Array]:
        nonlocal lowest
        f, g = inner.gradient(scaled[None])
        if not (np.isfinite(f).all() and np.isfinite(g).all()):
            return 1e10, np.zeros_like(scaled)
        if f[0] < lowest[0]:
            lowest = float(f[0]), scaled.copy()
        return float(f[0]), g[0]

    options = {"maxiter": 1000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    bounds = np.transpose(box)[free] / unit[free, None] if np.isfinite(box).any() else None
    result = minimize(guarded, start[free] / unit[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    # Where its line search fails it goes back to where it began, and forgets that the likelihood is unbounded.
    value, place = (float(result.fun), result.x) if result.success else lowest
    return inner.whole(place[None])[0], value


def _collapsed(problem: Problem, theta: Array) -> bool:
    """Whether a component, or a density with tails of a power law, has shrunk onto single observations, or vanished.

    Other tails vanish at all other observations then; those of a power law with a small exponent do not lose as much as is gained at one.
    """
    family = problem.family
    bounded = family.tail != "power" or not family.on_a_line or family.scale in {*dict(family.fixed), *problem.bound}
    if family.components == 1 and bounded:
        return False
    values, _ = natural_values(family, theta)
    scale = values[str(family.scale)]
    smallest = np.sqrt(np.linalg.eigvalsh(scale).min()) if family.correlated else scale.min()
    return bool(smallest < 1e-5)


def _best_end(problem: Problem, quick: Objective, ends: list[tuple[Array, float]], pinned: Mask) -> tuple[Array, int]:
    """The lowest end that polishes to a proper minimum or lies on an edge, and how many starts reached it."""
    family, unit = problem.family, problem.lengths
    ordered = sorted(ends, key=lambda end: end[1])
    failed = -np.inf
    for theta, value in ordered:
        if value < failed + 1e-7:  # the same end again
            continue
        reached, failed = sum(v < value + 1e-7 for _, v in ordered), value
        on_edge = np.any(np.logical_or(*_ends(theta, problem.bounds, unit)))
        if on_edge or family.at_boundary(theta, problem.dim) is not None:
            return theta, reached
        polished = polished_minimum(quick, theta, pinned, unit)
        if polished is not None:
            return polished, reached
    return ordered[0][0], 1


def polished_minimum(objective: Objective, theta: Array, held: Mask, unit: Array) -> Array | None:
    """Newton's method over the coordinates that are not held; ``None`` unless it ends in a minimum."""
    free = ~held
    if not free.any():
        return theta
    inner = _Restricted(objective, theta, free, unit[free])
    best, norms = polish_all(inner, (theta[free] / unit[free])[None])
    gain = _gain(inner, best)
    if gain is None:
        return None
    # A prior far narrower than its location, or a shape in the millions, leaves a gradient that no float can cancel, and along which a
    # step is seen in no norm: whether it arrived is said by what another step would gain, in nats.
    while norms[0] >= 1e-8 and gain[0] > _GAIN:
        further = best - gain[1]
        then = _gain(inner, further)
        if then is None or then[0] > gain[0] / 2:
            return None
        best, gain = further, then
    return inner.whole(best)[0]


def _gain(objective: Smooth, theta: Array) -> tuple[float, Array] | None:
    """Twice what a step of Newton's would gain at theta (1, P), and the step (P,); ``None`` where there is no minimum."""
    _, gradient, hessian = objective.hessian(theta)
    if not (np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian[0])[0] > 0):
        return None
    step = np.linalg.solve(hessian[0], gradient[0])
    return float(gradient[0] @ step), step


@dataclass(frozen=True, eq=False)
class _Restricted:
    """An objective over some coordinates of theta, each in its own unit; the others are held."""

    objective: Objective
    theta: Array
    free: Mask
    unit: Array

    def whole(self, inner: Array) -> Array:
        thetas = np.tile(self.theta, (len(inner), 1))
        thetas[:, self.free] = inner * self.unit
        return thetas

    def gradient(self, inner: Array) -> tuple[Array, Array]:
        value, gradient = self.objective.gradient(self.whole(inner))
        return value, gradient[:, self.free] * self.unit

    def hessian(self, inner: Array) -> tuple[Array, Array, Array]:
        value, gradient, hessian = self.objective.hessian(self.whole(inner))
        part = hessian[:, self.free][:, :, self.free] * np.outer(self.unit, self.unit)
        return value, gradient[:, self.free] * self.unit, part


# --- boundaries ------------------------------------------------------------------------------------------------------


def _edge_names(family: Family) -> str | None:
    """Name the parameters that are ends of the support."""
    words = {"low": "smallest", "high": "largest"}
    return "; ".join(f"{name} at the {words[side]} observation" for name, side in family.edges) or None


def at_limits(problem: Problem, objective: Objective, end: Maximum) -> Maximum:
    """Where a parameter has run off: a member close to the limit, unless the likelihood is higher before it."""
    family, theta, held, names = problem.family, end.theta, end.held, []
    if family.ends is not None and family.ends.name not in problem.bound:
        beyond = _at_end(problem, objective, end, family.ends)
        if beyond is not None:
            return beyond
    for p, part, limit in family.limits(problem.dim):
        if p.name in problem.bound or p.name == family.trials or not limit.reached(theta[part]):
            continue
        mask = np.zeros(len(theta), dtype=bool)
        mask[part] = limit.passed(theta[part])
        if limit.held is not None:
            moved = theta.copy()
            moved[part] = limit.held
            polished = polished_minimum(objective, moved, held | mask, problem.lengths)
            moved = moved if polished is None else polished
            here, there = (objective.value_and_gradient(t)[0] for t in (theta, moved))
            passed = np.abs(theta[part]).max() > abs(limit.held)
            size = np.exp(min(np.abs(theta[part]).max(), 25.0))  # log gamma functions of this cancel
            if not (passed or there <= here + max(_ROUNDING, 100 * np.finfo(float).eps * size)):
                continue
            theta = moved
        held = held | mask
        names.append(f"{p.name} -> {limit.text}")
    # Parameters that went along, such as both shapes of a beta-binomial, mean nothing on their own either.
    unknown = end.unknown | held
    for p, part, limit in family.limits(problem.dim):
        if p.name not in problem.bound and p.name != family.trials:
            unknown[part] |= limit.passed(theta[part])
    text = "; ".join(filter(None, (end.limit, *names))) or None
    return replace(end, theta=theta, held=held, unknown=unknown, limit=text)


def _at_end(problem: Problem, objective: Objective, end: Maximum, ends: Ends) -> Maximum | None:
    """The best member close to the limit of `ends`, if the likelihood is higher there than at theta, or theta has run there."""
    family, theta = problem.family, end.theta
    own = [(part, limit) for p, part, limit in family.limits(1) if p.name == ends.name]
    part, ran = own[0][0], family.end_reached(theta) is not None
    z, weights = problem.rule.points[:, 0], problem.rule.weights
    way, bounds = ends.members(z, weights / weights.sum())
    if bounds[1] > bounds[0] and len(z) > LARGE and not ran and np.abs(theta[part]) < 10:
        return None

    def value(place: float) -> float:
        return objective.value_and_gradient(family.unconstrain(way(place), 1))[0]

    best = minimize_scalar(value, bounds=bounds, method="bounded").x if bounds[1] > bounds[0] else bounds[0]
    found = family.unconstrain(way(float(best)), 1)
    here = objective.value_and_gradient(theta)[0]
    if not ran and not objective.value_and_gradient(found)[0] < here - 1e-9:
        return None
    # The location is an end of the data then: its likelihood is no quadratic either.
    held = problem.coordinates({ends.name, str(family.location)})
    text = next(limit.text for at, limit in own if limit.reached(found[at]))
    return replace(end, theta=found, held=held, unknown=held, limit=f"{ends.name} -> {text}")


def _at_edge(objective: Objective, theta: Array, box: tuple[Array, Array], unit: Array) -> Mask:
    """Coordinates (P,) at an end of the box, where the likelihood would rise beyond it."""
    slope, (low, high) = objective.value_and_gradient(theta)[1], _ends(theta, box, unit)
    return np.asarray((low & (slope > 0)) | (high & (slope < 0)))


def _ends(theta: Array, box: tuple[Array, Array], unit: Array) -> tuple[Mask, Mask]:
    """Coordinates at the lower and at the upper end of their support, to rounding."""
    return theta <= box[0] + 1e-9 * unit, theta >= box[1] - 1e-9 * unit
