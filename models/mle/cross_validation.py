"""Log density of each draw under the member of a family fitted to all the others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.families import Family
from models.graphs import single_threaded
from models.mle.fit import fit_mle
from models.mle.likelihood import check_weights
from models.mle.score import scores
from models.projections.maximum import LARGE, Maximum, Problem, at_limits, highest, maxima, polished_minimum
from models.projections.objectives import Objective, forward_objective, natural_values
from models.projections.units import standardise
from models.quadrature import Nodes
from models.targets import check_draws

__all__ = ["leave_one_out"]

Array = NDArray[np.float64]
_BATCH = 65_536
#: Nats that a draw adds to its own log density by pulling theta: above the first, to second order; above the second, by a new fit.
_NEWTON, _LONG = 1e-3, 0.01
#: Nats by which the likelihood without a draw may be higher at another maximum before both are fitted anew, and what two ends differ by.
_NEAR, _SAME = 0.1, 1e-3
#: Nats that a draw adds to its own log density, above which the others may have a maximum that all draws have not, where the least
#: eigenvalue of the Hessian of the likelihood is below this.
_FAR, _FLAT = 0.05, 1.1
#: The most new fits, and the most draws that they may see together.
_REFITS, _SEEN, _FOLDS = 400, 25_000_000, 20
#: Steps with the Hessian of all draws, what each must leave of the nats to be gained, and so few of these that the fit is at rest.
_CHORDS, _FALLS, _REST = 20, 0.5, 1e-14


@single_threaded
def leave_one_out(
    x: ArrayLike,
    family: Family,
    params: Mapping[str, ArrayLike] | None = None,
    *,
    seed: int = 0,
    weights: ArrayLike | None = None,
    counts: bool = False,
) -> Array:
    """Log density (n,) of each draw under the member of a family fitted to all the others.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
    family : Family
    params : mapping, optional
        Maximum likelihood estimates on all draws, if known already; natural scale.
    seed : int
        Of the starts of the fit.
    weights : array_like (n,), optional
        As of `models.mle.fit_mle`. A draw is left out whole, with its weight.
    counts : bool
        The weights are numbers of equal draws, of which one is left out: the answer is that of the draws repeated so often.

    Returns
    -------
    ndarray (n,)
        In nats; without weights the sum is elpd_loo.

    Raises
    ------
    InputError, ConvergenceError
        As `models.mle.fit_mle`; also if counts are not whole.

    Warns
    -----
    UserWarning
        If more draws pull on theta than are fitted anew: how many, and how much at most.

    Notes
    -----
    Where the family has a closed form, each draw is left out and the rest fitted anew, of up to 5000 draws all; of more, those
    that matter most. Elsewhere, to first order leaving x_i out costs s_i' A^-1 s_i, s the scores and A the Hessian of the total
    negative log likelihood (the infinitesimal jackknife; its mean is Takeuchi's tr(J^-1 K)/n); times the weight that is left
    out, if there are weights. Above 0.001 nats a Newton step
    for the fit without x_i, taken to second order, is put in its place; above 0.01 nats theta is fitted anew. A parameter at
    its boundary stays there, but for the half-normal that a skew normal ends in, and the exponential that an ex-Gaussian does, which
    are found again. Where an end of the support is an extreme of the draws (uniform, Pareto, those two), that draw lies outside the support of the others: its log density is
    -inf, as is that of the only draw of a category. A number of trials is found again if the family is binomial, or its largest draw
    is left out. Of more than 5000 draws of a density with a kink (Laplace), where there is no Hessian, theta is
    fitted anew without each of 20 parts.

    Examples
    --------
    >>> from models.families import FAMILIES, normal
    >>> x = np.array([0.0, 1.0, 5.0])  # the mean of the other two
    >>> leave_one_out(x, normal(sigma=1)).round(3)
    array([ -5.419,  -2.044, -11.044])
    """
    data = check_draws(x)
    n, dim = data.shape
    family.check_dim(dim, "the data")
    shares, out = _shares(weights, n, counts)
    if params is None:
        fit = fit_mle(data, family, seed=seed, draws=2, weights=weights)["fit"]
        params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
    family = family.resolved(data)
    if (kept := shares > 0).sum() < n:
        log_q = np.array(family.logp(data, params))
        some = np.asarray(weights)[kept]
        log_q[kept] = leave_one_out(data[kept], family, params, seed=seed, weights=some, counts=counts)
        return log_q
    if not family.smooth and n * n > _SEEN:
        return _folds(data, family, shares, seed)
    # Differences and tolerances are those of data with scale 1, whatever the units.
    units, data = standardise(data, shares, family, whiten=False)
    family, params = units.family, units.standardised(params)
    ends = float(data.min()), float(data.max())
    for name, side in family.edges:  # not rounded
        params[name] = np.asarray(ends[side != "low"])
    theta = family.unconstrain(params, dim)
    log_p = np.asarray(family.logp(data, params))
    curvature = _curvature(data, family, theta, shares) if family.smooth else None
    pull = np.full(n, np.inf) if curvature is None else _pull(data, family, theta, curvature, out)
    for own in _own_ends(family, theta):  # without the draw at its end the support is smaller
        pull[data[:, 0] == ends[own != "low"]] = np.inf
    if family.trials and not family.fixed and params[family.trials] == ends[1]:
        pull[data[:, 0] == ends[1]] = np.inf
    rivals = _rivals(data, family, theta, shares, seed)
    contested = _contested(data, family, rivals, out, log_p)
    pull, missed = _refitted(data, family, theta, shares, out, log_p, pull, curvature, seed, rivals, contested)
    if len(missed) and abs(pull[missed[0]]) >= _LONG:
        warnings.warn(
            f"leave-one-out of {family.name}: {len(missed)} of {n} draws move the fit by up to {abs(pull[missed[0]]):.2g} nats "
            "each and were not fitted anew; their log densities are right to second order only",
            stacklevel=2,
        )
    return np.asarray(log_p - pull - units.log_volumes(data))


def _shares(weights: ArrayLike | None, n: int, counts: bool) -> tuple[Array, Array]:
    """Shares (n,) of the draws in the likelihood, and the part of each (n,) that is left out."""
    w = check_weights(weights, n)
    if counts and (w != np.rint(w)).any():
        i = int(np.argmax(w != np.rint(w)))
        raise InputError(f"weights[{i}] is {w[i]:g}; numbers of equal draws are whole, leave counts=True out")
    shares = w / w.sum()
    if (shares > 0).sum() < 2 and not (counts and w.sum() > 1):
        raise InputError("one draw has all the weight; without it nothing is left to fit")
    return shares, np.minimum(w, 1.0) / w.sum() if counts else shares


def _refitted(
    data: Array,
    family: Family,
    theta: Array,
    shares: Array,
    out: Array,
    log_p: Array,
    pull: Array,
    curvature: _Curvature | None,
    seed: int,
    rivals: Sequence[tuple[Array, float]],
    contested: Array,
) -> tuple[Array, NDArray[np.intp]]:
    """Pulls (n,) with those that matter most by new fits, equal draws by one; and the draws that were wanted and not fitted."""
    n, pull = len(data), pull.copy()
    ends = None if family.edges else (float(data.min()), float(data.max()))
    budget = min(n, _SEEN // n) if family.closed else min(_REFITS, max(20, _SEEN // (10 * n)))
    matter = np.maximum(np.abs(pull), contested)
    order = np.argsort(-matter)
    wanted = order[matter[order] >= (0.0 if family.closed else _LONG)]
    done, fits = np.zeros(n, dtype=bool), 0
    flat = curvature is not None and curvature.free.all() and family.components == 1 and n * curvature.least < _FLAT
    for i in wanted:
        if done[i]:
            continue
        if fits == budget:
            break
        others = _without(data, shares, i, float(out[i]))
        again = _fitted_anew(family, others, theta, seed, ends, curvature, trials=bool(np.isfinite(pull[i])),
                             rivals=[place for place, _ in rivals] if contested[i] >= _LONG else (),
                             anywhere=bool(flat and matter[i] >= _FAR))  # fmt: skip
        equal = (data == data[i]).all(axis=1) & (out == out[i])
        if again is not None:
            params, sides = again
            beyond = _beyond(float(data[i, 0]), others.points[others.weights > 0, 0], family, sides)
            pull[equal] = np.inf if beyond else float(log_p[i] - family.logp(data[i : i + 1], params)[0])
        done, fits = done | equal, fits + 1
    return pull, wanted[~done[wanted]]


def _rivals(data: Array, family: Family, theta: Array, shares: Array, seed: int) -> list[tuple[Array, float]]:
    """Maxima of all draws beside theta, and how much lower the mean log likelihood is there.

    A skew normal near a Normal has one of either sign, and a Student-t one for each cluster.
    """
    single = family.smooth and family.closed is None and family.components == 1 and not family.trials
    if not single or family.edges or len(data) > LARGE or family.at_boundary(theta, data.shape[1]) is not None:
        return []
    problem = Problem(family, Nodes(data, shares, "draws"), (float(data.min()), float(data.max())))
    value = problem.objective(problem.rule).value_and_gradient(theta)[0]
    found = maxima(problem, seed)
    return [(place, at - value) for place, at in found if not np.allclose(place, theta, atol=_SAME)]


def _contested(data: Array, family: Family, rivals: Sequence[tuple[Array, float]], out: Array, log_p: Array) -> Array:
    """By how many nats (n,) a draw's log density differs at the maximum that the others may have; 0 where they keep theirs."""
    size = np.zeros(len(data))
    for place, lower in rivals:
        higher = log_p - family.logp(data, natural_values(family, place)[0])
        size = np.where(out * (higher + _NEAR) > lower, np.maximum(size, np.abs(higher)), size)
    return size


def _beyond(x: float, others: Array, family: Family, sides: tuple[str, ...]) -> bool:
    """Whether a draw lies outside the support of a member that maximum likelihood has put on the others (n,)."""
    if family.domain.whole and any(p.support == "simplex" for p in family.parameters):  # categories
        return bool((others != x).all())
    return bool(("low" in sides and x < others.min()) or ("high" in sides and x > others.max()))


def _without(data: Array, shares: Array, i: int, out: float) -> Nodes:
    """The others, or all with one less of those at i."""
    if out == shares[i]:
        return Nodes(np.delete(data, i, axis=0), np.delete(shares, i) / (1 - out), "draws")
    left = shares.copy()
    left[i] -= out
    return Nodes(data, left / (1 - out), "draws")


@dataclass(frozen=True)
class _Curvature:
    """Hessian of the mean negative log likelihood, in the coordinates (P,) that are not at their boundary, and its least eigenvalue."""

    free: NDArray[np.bool_]
    total: Array
    inverse: Array
    least: float


def _curvature(data: Array, family: Family, theta: Array, shares: Array) -> _Curvature:
    free = _interior(family, theta, data.shape[1])
    whole = forward_objective(family, Nodes(data, shares, "draws"))
    total = whole.hessian(theta[None])[2][0][np.ix_(free, free)]
    return _Curvature(free, total, np.linalg.inv(total), float(np.linalg.eigvalsh(total).min(initial=np.inf)))


def _pull(data: Array, family: Family, theta: Array, curvature: _Curvature, out: Array) -> Array:
    """What each draw adds to its own log density (n,), by one Newton step to the fit without the part `out` (n,)."""
    n, free, inverse, total = len(data), curvature.free, curvature.inverse, curvature.total
    pull = np.empty(n)
    for start in range(0, n, _BATCH):
        rows = np.arange(start, min(start + _BATCH, n))
        s = scores(data[rows], family, theta)[:, free]
        pull[rows] = out[rows] * np.einsum("ij,jk,ik->i", s, inverse, s)
        near = pull[rows] > _NEWTON
        if near.any():
            at = rows[near]
            pull[at] = _newton_pull(data[at], s[near], family, theta, free, total, out[at])
    return pull


def _fitted_anew(
    family: Family,
    others: Nodes,
    theta: Array,
    seed: int,
    ends: tuple[float, float] | None = None,
    curvature: _Curvature | None = None,
    trials: bool = False,
    rivals: Sequence[Array] = (),
    anywhere: bool = False,
) -> tuple[Mapping[str, ArrayLike], tuple[str, ...]] | None:
    """Maximum likelihood on the other draws, near theta or by a search of its own, and its `_own_ends`.

    With `trials` the number of trials stays, where a search for another one would take long. Of `rivals`, other maxima of all draws, one
    may be the highest of these.
    """
    free = family.trials if not family.fixed else None
    problem = Problem(family, others, None if free else ends)
    if free and (family.closed is not None or not trials):
        found = highest(problem, 4, seed)
        return (natural_values(family, found.theta)[0], ()) if found.reached else None
    if free:
        problem = replace(problem, trials=int(natural_values(family, theta)[0][free]))
    if family.closed is not None:
        return family.closed(problem.points(others)), _own_ends(family, theta)
    objective, held = problem.objective(others), ~_interior(family, theta, others.points.shape[1])
    moved, ending = None, family.ends is not None
    searched = [place for place, _ in maxima(problem, seed)] if anywhere else []
    if not _own_ends(family, theta):  # else the others may have a maximum that is none of all draws
        moved = None if curvature is None else _by_chords(objective, theta, curvature, len(others.points))
        if moved is None:
            moved = polished_minimum(objective, theta, held, problem.lengths)
    for place in (*(polished_minimum(objective, r, held, problem.lengths) for r in rivals), *searched):
        if moved is None or (place is not None and _lower(objective, place, moved)):
            moved = place
    if moved is None:
        found = highest(problem, 4, seed)
        moved = polished_minimum(objective, found.theta, found.held, problem.lengths) if found.reached else None
    elif ending:  # the likelihood of the others may be higher at a limit that theta is far from
        none = np.zeros(len(theta), dtype=bool)
        moved = at_limits(problem, objective, Maximum(moved, 0.0, none, none, None, none, 1)).theta
    return None if moved is None else (natural_values(family, moved)[0], _own_ends(family, moved))


def _lower(objective: Objective, one: Array, other: Array) -> bool:
    return objective.value_and_gradient(one)[0] < objective.value_and_gradient(other)[0]


def _own_ends(family: Family, theta: Array) -> tuple[str, ...]:
    """Ends of the support of a member at theta that maximum likelihood has put on the extremes of the draws."""
    if (side := family.end_reached(theta)) is not None:  # such as a half-normal, which begins at the smallest draw
        return (side,)
    return tuple(side for _, side in family.edges)


def _by_chords(objective: Objective, theta: Array, curvature: _Curvature, n: int) -> Array | None:
    """Newton's method with the Hessian of all draws, which one of many changes little; None if that does not lead to rest.

    A point that attracts these steps is a minimum. A Hessian costs as much as many gradients.
    """
    free, inverse, last = curvature.free, curvature.inverse, np.inf
    for _ in range(_CHORDS):
        slope = objective.gradient(theta[None])[1][0][free]
        step = inverse @ slope
        left = float(n * slope @ step)  # twice the nats to be gained
        if not 0 <= left < _FALLS * last:
            return None
        theta = theta.copy()
        theta[free] -= step
        if left < _REST:
            return theta
        last = left
    return None


def _newton_pull(
    x: Array, s: Array, family: Family, theta: Array, free: NDArray[np.bool_], total: Array, out: Array
) -> Array:
    """Change of log p (m,) by one Newton step to the fit without each draw, to second order in the step."""
    curvature = np.empty((len(x), s.shape[1], s.shape[1]))
    for column, j in enumerate(np.flatnonzero(free)):
        h = 1e-4 * max(1.0, abs(theta[j]))
        shift = h * np.eye(len(theta))[j]
        curvature[:, :, column] = (
            (scores(x, family, theta + shift) - scores(x, family, theta - shift))[:, free] / (2 * h)
        )  # fmt: skip
    curvature = (curvature + curvature.transpose(0, 2, 1)) / 2
    # Leaving a draw out takes its own part from the Hessian of the negative log likelihood.
    step = np.linalg.solve(total + out[:, None, None] * curvature, (out[:, None] * s)[..., None])[..., 0]
    return (s * step).sum(axis=1) - np.einsum("ij,ijk,ik->i", step, curvature, step) / 2


def _interior(family: Family, theta: Array, dim: int) -> NDArray[np.bool_]:
    """Which coordinates of theta are not at their boundary."""
    pinned = {name for name, _ in family.edges} | {str(family.trials)}
    free = np.ones(len(theta), dtype=bool)
    for p, part in family.slices(dim):
        free[part] = p.name not in pinned
    if family.at_boundary(theta, dim) is not None:
        for _, part, limit in family.limits(dim):
            free[part] &= ~limit.passed(theta[part])
        if _own_ends(family, theta) and not family.edges:  # the location is an end too
            for p, part in family.slices(dim):
                free[part] &= p.name != family.location
    return free


def _folds(data: Array, family: Family, shares: Array, seed: int) -> Array:
    parts = np.random.default_rng(seed).permutation(len(data)) % min(_FOLDS, len(data))
    log_p = np.empty(len(data))
    for part in np.unique(parts):
        rest = (parts != part) & (shares > 0)
        others = Nodes(data[rest], shares[rest] / shares[rest].sum(), "draws")
        again = _fitted_anew(family, others, np.empty(0), seed)
        assert again is not None  # by a closed form
        log_p[parts == part] = family.logp(data[parts == part], again[0])
    return log_p
