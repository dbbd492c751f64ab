"""Optima as functions of a parameter: branches, and the points where their number or their order changes.

A branch is followed by pseudo-arclength continuation (Keller, 1977), so it passes through folds. Folds, exchange points
and cusps are then solved for as zeros of augmented systems (Seydel, 2010, chapter 5), not read off a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root

from models.errors import ConvergenceError
from models.graphs import single_threaded
from models.projections.optimise import polish
from models.projections.stationary import Smooth

__all__ = ["Branch", "Critical", "branches", "curve", "follow", "locate_cusp", "locate_exchange", "locate_fold"]

Array = NDArray[np.float64]
#: A function of theta for every value of the parameters, e.g. the reverse KL to a mixture of given separation.
Problem = Callable[..., Smooth]
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Critical:
    """A point where the number or the order of optima changes.

    Attributes
    ----------
    kind : str
        ``fold``, ``exchange`` or ``cusp``.
    parameters : ndarray (1,) or (2,)
        Values of the parameters there.
    theta : ndarray (P,)
    divergence : float
        In nats.
    partner : ndarray (P,), optional
        Of an exchange point: the other optimum, of the same divergence.
    residual : float
        Largest component of the augmented system: how exactly the point is one.
    """

    kind: str
    parameters: Array
    theta: Array
    divergence: float
    residual: float
    partner: Array | None = None


@dataclass(frozen=True, eq=False)
class Branch:
    """A connected curve of stationary points.

    Attributes
    ----------
    values : ndarray (n,)
        Of the parameter; not monotone where the branch turns.
    thetas : ndarray (n, P)
    divergences : ndarray (n,)
        In nats.
    negative : ndarray (n,)
        Number of negative Hessian eigenvalues: 0 on minima.
    folds : list of Critical
        Where the branch turns.
    """

    values: Array
    thetas: Array
    divergences: Array
    negative: NDArray[np.int64]
    folds: list[Critical]

    def parts(self) -> list[Branch]:
        """Cut the branch at its folds, which become end points of both sides: on each part nothing changes its stability.

        Raises
        ------
        ConvergenceError
            If the branch turns more or less often than its stability changes.
        """
        cuts = np.flatnonzero(np.diff(self.negative)) + 1
        if len(cuts) != len(self.folds):
            raise ConvergenceError(f"a branch changes stability {len(cuts)} times but turns {len(self.folds)} times")
        none = (self.values[:0], self.thetas[:0], self.divergences[:0])
        joints = [none, *((f.parameters[:1], f.theta[None], np.array([f.divergence])) for f in self.folds), none]
        found = []
        for (begin, end), (before, after) in zip(pairwise([0, *cuts, len(self.values)]), pairwise(joints), strict=True):
            middle = (self.values[begin:end], self.thetas[begin:end], self.divergences[begin:end])
            values, thetas, divergences = map(np.concatenate, zip(before, middle, after, strict=True))
            found.append(Branch(values, thetas, divergences, np.full(len(values), self.negative[begin]), []))
        return found


# --- following -------------------------------------------------------------------------------------------------------


@single_threaded
def follow(
    problem: Problem,
    theta: Array,
    value: float,
    bounds: tuple[float, float],
    *,
    unit: Array | None = None,
    largest: float | None = None,
) -> Branch:
    """Follow the stationary point `theta` at `value` in both directions to the ends of `bounds`.

    Parameters
    ----------
    problem : callable (float) -> Smooth
    theta : ndarray (P,)
        Stationary at `value`.
    value : float
    bounds : (float, float)
    unit : ndarray (P,), optional
        Length that counts as one in each coordinate.
    largest : float, optional
        Longest step along the curve; a fiftieth of the range if not given.

    Returns
    -------
    Branch

    Raises
    ------
    ConvergenceError
        If `theta` is not stationary at `value`.
    """
    scale = np.append(np.ones_like(theta) if unit is None else unit, bounds[1] - bounds[0])
    start = _settle(problem, theta, value)
    step = 0.02 if largest is None else largest / scale[-1]
    forth, back = (_march(problem, start, value, bounds, scale, sign, step) for sign in (1.0, -1.0))
    points = [*back[::-1], np.append(start, value), *forth]
    curve_ = np.array(points)
    values, divergences, negative = curve_[:, -1], [], []
    for point in points:
        v, _, h = problem(point[-1]).hessian(point[None, :-1])
        divergences.append(float(v[0]))
        negative.append(int((np.linalg.eigvalsh(h[0]) < 0).sum()))
    turns = np.flatnonzero(np.diff(np.sign(np.diff(values))) != 0) + 1
    folds = [_fold_near(problem, curve_[i - 1 : i + 2], scale) for i in turns]
    return Branch(values, curve_[:, :-1], np.array(divergences), np.array(negative), folds)


def _fold_near(problem: Problem, around: Array, scale: Array) -> Critical:
    """The fold at a turn of a branch, given three points (3, P + 1) around it; never one of another branch."""
    reach = 3 * np.abs(np.diff(around, axis=0) / scale).sum()
    for row in (1, 0, 2):
        fold = locate_fold(problem, around[row, :-1], float(around[row, -1]))
        if np.abs((np.append(fold.theta, fold.parameters[0]) - around[1]) / scale).max() < reach:
            return fold
    raise ConvergenceError(f"no fold found at the turn near {np.round(around[1], 6).tolist()}")


def _settle(problem: Problem, theta: Array, value: float) -> Array:
    settled = polish(problem(value), np.asarray(theta, dtype=float))
    if settled is None:
        raise ConvergenceError(f"no stationary point near {np.asarray(theta).tolist()} at parameter {value:g}")
    return settled


def _march(
    problem: Problem, theta: Array, value: float, bounds: tuple[float, float], scale: Array, sign: float, largest: float
) -> list[Array]:
    """Points along the curve in one direction, in coordinates (theta, value) divided by `scale`."""
    here = np.append(theta, value) / scale
    _, tangent = _bordered(problem, here, scale, None)
    tangent = sign * tangent
    points: list[Array] = []
    step = largest / 4
    while step > 1e-7 and len(points) < 5000:
        there, ahead = _correct(problem, here + step * tangent, tangent, scale)
        # A jump to another curve shows as a turn of more than some 20 degrees.
        if there is None or ahead @ tangent < 0.94 or np.linalg.norm(there - here) > 3 * step:
            step /= 2
            continue
        end = there[-1] * scale[-1]
        if not bounds[0] <= end <= bounds[1]:
            limit = bounds[0] if end < bounds[0] else bounds[1]
            if abs(limit / scale[-1] - here[-1]) < 1e-9:  # begun at the bound itself
                break
            share = (limit / scale[-1] - here[-1]) / (there[-1] - here[-1])
            last = polish(problem(limit), (here + share * (there - here))[:-1] * scale[:-1])
            if last is not None:
                points.append(np.append(last, limit))
            break
        if np.abs(there[:-1]).max() > 1e4:  # off to a boundary
            break
        points.append(there * scale)
        step = min(largest, step * (1.5 if ahead @ tangent > 0.99 else 1.0))
        here, tangent = there, ahead
    return points


def _bordered(problem: Problem, here: Array, scale: Array, before: Array | None) -> tuple[Array, Array]:
    """Derivative (P, P + 1) of the gradient by theta and parameter, and the tangent of the curve."""
    point = here * scale
    hessian = problem(point[-1]).hessian(point[None, :-1])[2][0] * np.multiply.outer(scale[:-1], scale[:-1])
    # By differences, since only steps depend on it, never results.
    h = 1e-5 * max(1.0, abs(point[-1]))
    up, down = (problem(point[-1] + s * h).gradient(point[None, :-1])[1][0] for s in (1, -1))
    derivative = np.column_stack([hessian, (up - down) / (2 * h) * scale[:-1] * scale[-1]])
    tangent = np.linalg.svd(derivative)[2][-1]
    sign = tangent[-1] if before is None else tangent @ before
    return derivative, tangent * (np.sign(sign) or 1.0)


def _correct(problem: Problem, guess: Array, tangent: Array, scale: Array) -> tuple[Array | None, Array]:
    """Newton's method back to the curve, across the tangent; and the tangent there.

    The derivative is that of the guess: one more step costs less than another derivative by the parameter.
    """
    derivative, ahead = _bordered(problem, guess, scale, tangent)
    try:
        inverse = np.linalg.inv(np.vstack([derivative, tangent]))
    except np.linalg.LinAlgError:
        return None, ahead
    point, smallest = guess.copy(), np.inf
    for _ in range(12):
        raw = point * scale
        gradient = problem(raw[-1]).gradient(raw[None, :-1])[1][0] * scale[:-1]
        size = float(np.abs(gradient).max())
        if size < _TOLERANCE:
            return point, ahead
        if not size < 0.7 * smallest:
            return None, ahead
        smallest = size
        point = point - inverse @ np.append(gradient, tangent @ (point - guess))
    return None, ahead


def branches(
    problem: Problem,
    seeds: Sequence[tuple[float, Array]],
    bounds: tuple[float, float],
    *,
    unit: Array | None = None,
    largest: float | None = None,
) -> list[Branch]:
    """Distinct branches through stationary points known at some values.

    Parameters
    ----------
    problem : callable (float) -> Smooth
    seeds : sequence of (float, ndarray (P,))
        Values with stationary points there, e.g. from `reverse_projections` at a few values.
    bounds, unit, largest
        As in `follow`.

    Returns
    -------
    list of Branch
    """
    found: list[Branch] = []
    scale = np.ones(len(seeds[0][1])) if unit is None else unit
    for value, theta in seeds:
        if not any(_on(branch, theta, value, scale) for branch in found):
            found.append(follow(problem, theta, value, bounds, unit=unit, largest=largest))
    return found


def _on(branch: Branch, theta: Array, value: float, unit: Array) -> bool:
    """Whether a branch passes through a point, by interpolation between its own points."""
    v = branch.values
    for i in np.flatnonzero((v[:-1] - value) * (v[1:] - value) <= 0):
        share = (value - v[i]) / (v[i + 1] - v[i]) if v[i + 1] != v[i] else 0.0
        between = branch.thetas[i] + share * (branch.thetas[i + 1] - branch.thetas[i])
        if np.linalg.norm((between - theta) / unit) < 0.02 + np.linalg.norm(np.diff(branch.thetas[i : i + 2], axis=0)):
            return True
    return False


# --- critical points -------------------------------------------------------------------------------------------------


def _solve(system: Callable[[Array], Array], guess: Array, what: str) -> tuple[Array, float]:
    """Zero of an augmented system, with its residual."""

    def jacobian(y: Array) -> Array:
        # Steps of one length: those of MINPACK are relative, and vanish with a coordinate that is zero but for rounding.
        steps = 1e-6 * np.eye(len(y))
        return np.column_stack([(system(y + h) - system(y - h)) / 2e-6 for h in steps])

    solution = root(system, guess, jac=jacobian, method="hybr", options={"xtol": 1e-14, "maxfev": 2000, "factor": 0.1})
    residual = float(np.abs(system(solution.x)).max())
    if not residual < 1e-9:
        raise ConvergenceError(f"no {what} found near {np.round(guess, 6).tolist()} (residual {residual:.1e})")
    return solution.x, residual


def _null_vector(objective: Smooth, theta: Array) -> Array:
    vectors = np.linalg.eigh(objective.hessian(theta[None])[2][0])
    return np.asarray(vectors[1][:, np.argmin(np.abs(vectors[0]))])


@single_threaded
def locate_fold(problem: Problem, theta: Array, value: float, *fixed: float) -> Critical:
    """Solve for a fold, where two stationary points meet: gradient 0, Hessian times v 0, v of length 1.

    Parameters
    ----------
    problem : callable (float, *fixed) -> Smooth
    theta : ndarray (P,)
        Near the fold.
    value : float
        Of the parameter, near the fold.
    *fixed : float
        Further parameters that stay.

    Returns
    -------
    Critical

    Raises
    ------
    ConvergenceError
        If there is no fold near.
    """
    size = len(theta)

    def system(y: Array) -> Array:
        _, gradient, hessian = problem(y[-1], *fixed).hessian(y[None, :size])
        v = y[size : 2 * size]
        return np.concatenate([gradient[0], hessian[0] @ v, [v @ v - 1]])

    guess = np.concatenate([theta, _null_vector(problem(value, *fixed), theta), [value]])
    y, residual = _solve(system, guess, "fold")
    divergence = float(problem(y[-1], *fixed).gradient(y[None, :size])[0][0])
    return Critical("fold", np.array([y[-1], *fixed]), y[:size], divergence, residual)


@single_threaded
def locate_exchange(problem: Problem, first: Array, second: Array, value: float) -> Critical:
    """Solve for the value at which two optima have the same divergence (a Maxwell point).

    Parameters
    ----------
    problem : callable (float) -> Smooth
    first, second : ndarray (P,)
        The two optima near that value.
    value : float

    Returns
    -------
    Critical
        With the second optimum as ``partner``.

    Raises
    ------
    ConvergenceError
        If there is no such value near.
    """
    size = len(first)

    def system(y: Array) -> Array:
        values, gradients = problem(y[-1]).gradient(y[:-1].reshape(2, size))
        return np.concatenate([gradients.ravel(), [values[0] - values[1]]])

    y, residual = _solve(system, np.concatenate([first, second, [value]]), "exchange point")
    divergence = float(problem(y[-1]).gradient(y[None, :size])[0][0])
    return Critical("exchange", y[-1:], y[:size], divergence, residual, partner=y[size : 2 * size])


@single_threaded
def locate_cusp(problem: Problem, theta: Array, value: float, other: float) -> Critical:
    """Solve for the two parameter values at which a pair of folds meets: also the third derivative along v is 0.

    Parameters
    ----------
    problem : callable (float, float) -> Smooth
    theta : ndarray (P,)
    value, other : float
        Near the cusp.

    Returns
    -------
    Critical

    Raises
    ------
    ConvergenceError
        If there is no cusp near.
    """
    size = len(theta)

    def system(y: Array) -> Array:
        t, v = y[:size], y[size : 2 * size]
        # Third derivative along v, from Hessians at four points on the line: right to 1e-10.
        h = 5e-3
        _, gradient, hessian = problem(y[-2], y[-1]).hessian(t + h * np.outer([0.0, 1, -1, 2, -2], v))
        along = np.einsum("i,bij,j->b", v, hessian, v)
        third = (8 * (along[1] - along[2]) - (along[3] - along[4])) / (12 * h)
        return np.concatenate([gradient[0], hessian[0] @ v, [v @ v - 1, third]])

    guess = np.concatenate([theta, _null_vector(problem(value, other), theta), [value, other]])
    y, residual = _solve(system, guess, "cusp")
    divergence = float(problem(y[-2], y[-1]).gradient(y[None, :size])[0][0])
    return Critical("cusp", y[-2:], y[:size], divergence, residual)


def curve(problem: Problem, fold: Critical, others: Sequence[float]) -> list[Critical]:
    """Follow a fold while a second parameter takes the values `others`, for as long as it exists.

    Parameters
    ----------
    problem : callable (float, float) -> Smooth
    fold : Critical
        At parameters (value, other), from ``locate_fold(problem, theta, value, other)``; `others` should begin near `other`.
    others : sequence of float

    Returns
    -------
    list of Critical
    """
    found = [fold]
    for other in others:
        guess, theta = found[-1].parameters[0], found[-1].theta
        if len(found) > 1 and (gap := found[-1].parameters[1] - found[-2].parameters[1]):
            share = (other - found[-1].parameters[1]) / gap
            guess += share * (found[-1].parameters[0] - found[-2].parameters[0])
            theta = theta + share * (theta - found[-2].theta)
        try:
            found.append(locate_fold(problem, theta, float(guess), float(other)))
        except ConvergenceError:
            break
    return found
