"""Exact optima: the forward projection, and every stationary point of the reverse KL, classified and counted.

In the reverse direction one solution is not an answer: the objective can have several minima. They are found from many
starts, polished by Newton, told apart by their Hessians, and counted. For a coercive objective the signs of the Hessian
determinants at all stationary points sum to 1 (Poincare-Hopf; Milnor, 1965, section 6), so a sum other than 1 proves
that one is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.divergences import cross_entropy, entropy
from models.errors import ConvergenceError, InputError
from models.expectations import Estimate, Nodes, expect, gaussian_nodes, nodes
from models.families import Family
from models.graphs import single_threaded
from models.objectives import Objective, forward_objective, natural_values, reverse_objective
from models.targets import Target

__all__ = [
    "Projection",
    "Status",
    "descend",
    "forward_projection",
    "forward_starts",
    "minima",
    "polish",
    "reverse_projections",
]

Array = NDArray[np.float64]
Status = Literal["global minimum", "local minimum", "saddle", "maximum", "degenerate"]
Certificate = Literal["complete", "incomplete", "not applicable"]

#: Families whose reverse objective is written with Normal noise.
GAUSSIAN = ("normal", "mvnormal", "mvnormal_diag")
_GRADIENT_TOLERANCE = 1e-10
_SEARCH_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class Projection:
    """A stationary point of a divergence over a family.

    Attributes
    ----------
    params : dict of str to ndarray
        On the natural scale.
    divergence : Estimate
        In nats; ``nan`` for the forward direction from draws, where the entropy of p_data is unknown. Up to the log
        evidence for an unnormalised target.
    status : str
        ``global minimum`` means the lowest of those found.
    gradient_norm : float
        Euclidean norm of the gradient, in the coordinates of `hessian_eigenvalues`.
    hessian_eigenvalues : ndarray (P,)
        Ascending. In natural parameters where these are free coordinates (normal, student_t, mvnormal_diag, ...), else in
        unconstrained ones (log-Cholesky of a covariance, logits of weights).
    family : Family
    theta : ndarray (P,)
        Unconstrained coordinates.
    direction : str
    certificate : str
        ``complete`` if the signs of the Hessians of all points found sum to 1.
    cross_entropy : Estimate, optional
        Of the forward direction.
    """

    params: dict[str, Array]
    divergence: Estimate
    status: Status
    gradient_norm: float
    hessian_eigenvalues: Array
    family: Family
    theta: Array
    direction: Literal["forward", "reverse"]
    certificate: Certificate
    cross_entropy: Estimate | None = None

    @property
    def member(self) -> Target:
        """The member of the family at this point, as a target."""
        return self.family.member(self.params)


def minima(projections: Sequence[Projection]) -> list[Projection]:
    """Return the local and global minima, lowest divergence first."""
    return [p for p in projections if p.status in ("global minimum", "local minimum")]


# --- forward ---------------------------------------------------------------------------------------------------------


@single_threaded
def forward_projection(target: Target, family: Family, *, starts: int = 8, seed: int = 0) -> Projection:
    """Member of the family closest to p_data in forward KL: the limit of maximum likelihood.

    Parameters
    ----------
    target : Target
        A density, or draws (then this is the maximum likelihood estimate itself).
    family : Family
    starts : int
        Starts for families whose cross-entropy is not convex; the lowest optimum is returned.
    seed : int
        For the random starts.

    Returns
    -------
    Projection

    Raises
    ------
    InputError
        If the dimensions differ, or no member is at finite KL (p_data with infinite variance onto a Normal family).
    ConvergenceError
        If no start reaches a stationary point in the interior (for example nu -> infinity for student_t).

    Notes
    -----
    White (1982), equation 2.2. On the Normal families the answer matches the first two moments of p_data.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> from models.targets import TARGETS
    >>> best = forward_projection(TARGETS["bimodal"], FAMILIES["normal"])
    >>> round(float(best.params["sigma"]) ** 2, 9), round(best.divergence.value, 9)
    (10.0, 0.461994613)
    """
    family.check_dim(target.dim, f"target {target.name!r}")
    _second_moment_exists(target, family)
    rule = nodes(target, [lambda x: (x**2).sum(axis=1)] if family.name in GAUSSIAN else [])
    objective = forward_objective(family, rule)
    candidates = forward_starts(family, rule, starts, seed)
    best = best_minimum(objective, candidates)
    if best is None:
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} reached no interior optimum from {len(candidates)} starts; "
            "a parameter may run to its boundary"
        )
    if (limit := family.at_boundary(best, target.dim)) is not None:
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} has no optimum in the interior: {limit}; "
            "the projection is the limiting distribution (for student_t the Normal: project onto normal)"
        )
    params, gradient_norm, eigenvalues = _natural_point(family, objective, best)
    params = _sort_components(family, params)
    member = family.member(params)
    ce = cross_entropy(target, member)
    if target.draws is not None:
        divergence = Estimate(float("nan"), float("nan"), "draws")
    else:
        h = entropy(target)
        divergence = Estimate(ce.value - h.value, ce.error + h.error, "quadrature")
    return Projection(
        params, divergence, "global minimum", gradient_norm, eigenvalues, family, best, "forward", "not applicable", ce
    )


def _second_moment_exists(target: Target, family: Family) -> None:
    if family.name not in GAUSSIAN or target.cov is not None or target.draws is not None:
        return
    if target.dim == 1 and not np.isfinite(expect(target, lambda x: x[:, 0] ** 2).value):
        raise InputError(
            f"target {target.name!r} has infinite variance, so its forward KL to every member of {family.name} is "
            "infinite and there is no projection; use a heavy-tailed family such as student_t"
        )


def forward_starts(family: Family, rule: Nodes, count: int, seed: int) -> Array:
    """Starts (m, P) for the cross-entropy over `rule`, from its moments and quantiles."""
    dim = rule.points.shape[1]
    total = rule.weights.sum()
    location, spread = _robust_location(rule) if dim == 1 else _moments(rule)
    rng = np.random.default_rng(seed)
    starts: list[Array] = []
    if family.components > 1:
        k = family.components
        cumulative = np.cumsum(rule.weights[order := np.argsort(rule.points[:, 0])]) / total
        for i in range(count):
            levels = (np.arange(k) + 0.5) / k if i == 0 else np.sort(rng.uniform(0.02, 0.98, k))
            mu = np.interp(levels, cumulative, rule.points[order, 0])
            mu += 1e-3 * spread[0, 0] * np.arange(k)  # equal means would be a saddle
            sigma = spread[0, 0] / k * np.exp(rng.normal(0, 0.3, k) if i else np.zeros(k))
            starts.append(family.unconstrain({"w": np.full(k, 1 / k), "mu": mu, "sigma": sigma}, dim))
        return np.array(starts)
    base: dict[str, Array] = {}
    for p in family.parameters:
        if p.name == family.location:
            base[p.name] = location if p.shape else location[0]
        elif p.name == family.scale:
            base[p.name] = spread @ spread.T if p.support == "covariance" else np.sqrt(np.diag(spread @ spread.T))
            base[p.name] = base[p.name] if p.shape else base[p.name][0]
    shapes = {"nu": (5.0, 2.0, 30.0), "alpha": (2.0, -2.0, 0.5, -0.5)}
    extra = next((p.name for p in family.parameters if p.name in shapes), None)
    for value in shapes[extra] if extra else (None,):
        starts.append(family.unconstrain(base | ({extra: np.asarray(value)} if extra else {}), dim))
    return np.array(starts)


def _robust_location(rule: Nodes) -> tuple[Array, Array]:
    order = np.argsort(rule.points[:, 0])
    cumulative = np.cumsum(rule.weights[order]) / rule.weights.sum()
    low, middle, high = np.interp([0.16, 0.5, 0.84], cumulative, rule.points[order, 0])
    return np.array([middle]), np.array([[max((high - low) / 2, 1e-12)]])


def _moments(rule: Nodes) -> tuple[Array, Array]:
    w = rule.weights / rule.weights.sum()
    mean = w @ rule.points
    centred = rule.points - mean
    return mean, np.linalg.cholesky((centred * w[:, None]).T @ centred)


def best_minimum(objective: Objective, starts: Array) -> Array | None:
    """Return the lowest minimum reached from `starts`, polished; ``None`` if none converged."""
    best, lowest = None, np.inf
    for start in starts:
        found = descend(objective, start)
        if found is not None and found[1] < lowest - 1e-12:
            best, lowest = found
    return best


def descend(objective: Objective, start: Array) -> tuple[Array, float] | None:
    """Minimise from one start by BFGS, then Newton; ``None`` unless a minimum is reached.

    Returns
    -------
    (theta, value) : ndarray (P,), float
    """
    result = minimize(objective.value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    theta = polish(objective, result.x)
    if theta is None:
        return None
    value, _, hessian = objective.hessian(theta[None])
    return (theta, float(value[0])) if np.linalg.eigvalsh(hessian[0])[0] > -1e-8 else None


def polish(objective: Objective, theta: Array, steps: int = 30) -> Array | None:
    """Newton's method to gradient norm 1e-12 or as far as rounding allows; ``None`` if that is above 1e-8."""
    best, norm = theta, np.inf
    for _ in range(steps):
        _, gradient, hessian = objective.hessian(theta[None])
        if not (np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))):
            break
        now = float(np.linalg.norm(gradient[0]))
        if now >= norm and norm < 1e-8:
            break
        if now < norm:
            best, norm = theta, now
        if norm < 1e-14:
            break
        try:
            step = np.linalg.solve(hessian[0], gradient[0])
        except np.linalg.LinAlgError:
            break
        if np.linalg.norm(step) > 2:  # no longer near a stationary point: it was not one
            step *= 2 / np.linalg.norm(step)
        theta = theta - step
    return best if norm < 1e-8 else None


# --- reverse ---------------------------------------------------------------------------------------------------------


@single_threaded
def reverse_projections(target: Target, family: Family, *, seed: int = 0) -> list[Projection]:
    """All stationary points found of KL(p_theta||p_data) over a Normal family, lowest divergence first.

    Parameters
    ----------
    target : Target
        With a log density.
    family : Family
        ``normal``, ``mvnormal`` or ``mvnormal_diag``.
    seed : int
        For the additional starts that are tried while the count of signs says that a point is missing.

    Returns
    -------
    list of Projection
        Minima, saddles and maxima; ``certificate`` tells whether the signs of their Hessians sum to 1.

    Raises
    ------
    InputError
        If the target has draws only, the dimensions differ, or the family has no Normal noise.

    Notes
    -----
    At every stationary point over (m, s) in one dimension the second derivative in m is 1/s^2 (Opper and Archambeau,
    2009, by Stein's and Price's identities), so there are no maxima and minima - saddles = 1.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> from models.targets import TARGETS
    >>> points = reverse_projections(TARGETS["bimodal"], FAMILIES["normal"])
    >>> [(p.status, round(p.divergence.value, 6)) for p in minima(points)]
    [('global minimum', 0.688769), ('global minimum', 0.688769), ('local minimum', 0.840621)]
    """
    if not target.has_density:
        raise InputError(
            f"target {target.name!r} is known by draws only, and reverse KL needs its log density; "
            "fit a density to the draws first, or ask for the forward direction"
        )
    if family.name not in GAUSSIAN:
        raise InputError(f"reverse projections are available onto {', '.join(GAUSSIAN)}; not onto {family.name!r}")
    family.check_dim(target.dim, f"target {target.name!r}")
    sizes = _rule_sizes(target.dim)
    search = reverse_objective(family, target, gaussian_nodes(target.dim, size=sizes[0], seed=seed))
    starts, unit = _reverse_starts(target, family)
    rng = np.random.default_rng(seed)
    found: list[Array] = []
    index = 0
    for round_number in range(_SEARCH_ROUNDS):
        batch = starts if round_number == 0 else _more_starts(starts, found, unit, rng)
        found = _merge(found, _stationary(search, batch, unit, target.dim), unit)
        if found and round_number == 0 and len(found) > 1:
            between = _between(found)
            found = _merge(found, _roots(search, between, unit, steps=80 if target.dim == 1 else 25), unit)
        points = _distinct([_refine(family, target, theta, sizes, seed) for theta in found], unit)
        index = sum(int(np.sign(np.linalg.det(r[1].hessian(r[0][None])[2][0]))) for r in points)
        if index == 1:
            break
    certificate: Certificate = "complete" if index == 1 else "incomplete"
    return _classify(family, points, certificate)


def _rule_sizes(dim: int) -> tuple[int, ...]:
    return {1: (257, 513, 1025, 2049, 4097), 2: (33, 65, 129, 257, 385), 3: (17, 33, 49)}.get(dim, (3,))


def _reverse_starts(target: Target, family: Family) -> tuple[Array, Array]:
    """Starts (m, P) at the components, between them and across all of them; and the unit of each coordinate."""
    locations = np.array([m for m, _ in target.scales])
    covs = np.array([s @ s.T for _, s in target.scales])
    centre = locations.mean(axis=0)
    spread = np.cov(locations.T, bias=True).reshape(target.dim, target.dim) + covs.mean(axis=0)
    narrow = covs[np.argmin([np.trace(c) for c in covs])]
    places = [centre, *locations, *[(a + b) / 2 for a, b in combinations(locations, 2)]]
    starts = []
    for place in places[:40]:
        nearest = covs[np.argmin(np.linalg.norm(locations - place, axis=1))]
        options = [nearest, spread] if target.dim > 1 else [narrow / 4, narrow, nearest, (nearest + spread) / 2, spread]
        starts += [_theta(family, place, c) for c in options]
    unit = np.ones(family.size(target.dim))
    unit[: target.dim] = np.sqrt(np.diag(spread))
    return np.unique(np.round(starts, 12), axis=0), unit


def _theta(family: Family, location: Array, cov: Array) -> Array:
    scale = next(p for p in family.parameters if p.name == family.scale)
    value = cov if scale.support == "covariance" else np.sqrt(np.diag(cov))
    dim = len(location)
    return family.unconstrain({"mu": location if scale.shape else location[0],
                               scale.name: value if scale.shape else value[0]}, dim)  # fmt: skip


def _more_starts(starts: Array, found: Sequence[Array], unit: Array, rng: np.random.Generator) -> Array:
    base = np.array([*starts, *found])
    return base[rng.integers(len(base), size=40)] + rng.normal(0, 0.5, (40, len(unit))) * unit


def _between(found: Sequence[Array]) -> Array:
    return np.array([a + t * (b - a) for a, b in combinations(found, 2) for t in (0.25, 0.5, 0.75)])


def _stationary(objective: Objective, starts: Array, unit: Array, dim: int) -> Array:
    """Stationary points reached from `starts`: minima by descent, others by root finding on the gradient."""
    if dim > 1:
        ends = [descend(objective, start) for start in starts]
        minima_found = [end[0] for end in ends if end is not None]
        return np.array(minima_found).reshape(-1, len(unit))
    return np.concatenate([_roots(objective, starts, unit, downhill=True), _roots(objective, starts, unit)])


def _roots(objective: Objective, starts: Array, unit: Array, *, downhill: bool = False, steps: int = 80) -> Array:
    """Newton from a batch of starts: on the gradient (any stationary point), or downhill (minima only).

    Steps are capped in units of the target's spread and halved until the merit falls: the norm of the gradient, or the
    value. Rows that have converged, or can go no further, leave the batch.
    """
    theta = starts.copy()
    if not len(theta):
        return theta
    value, gradient, hessian = objective.hessian(theta)
    cap = np.full(len(theta), 0.5)
    active = np.ones(len(theta), dtype=bool)
    for _ in range(steps):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        step = np.array([_step(gradient[r], hessian[r], unit, cap[r], downhill) for r in rows])
        new_value, new_gradient, new_hessian = objective.hessian(theta[rows] + step)
        merit, new_merit = (
            (value[rows], new_value) if downhill else (_norm(gradient[rows] * unit), _norm(new_gradient * unit))
        )
        finite = (
            np.isfinite(new_value) & np.isfinite(new_gradient).all(axis=1) & np.isfinite(new_hessian).all(axis=(1, 2))
        )
        accept = finite & (new_merit <= merit + 1e-14 * np.abs(merit))
        good, bad = rows[accept], rows[~accept]
        theta[good] += step[accept]
        value[good], gradient[good], hessian[good] = new_value[accept], new_gradient[accept], new_hessian[accept]
        cap[good], cap[bad] = np.minimum(cap[good] * 2, 2.0), cap[bad] / 4
        active[rows] = (_norm(gradient[rows] * unit) > 1e-9) & (cap[rows] > 1e-9)
    converged = _norm(gradient * unit) < 1e-6
    return theta[converged]


def _norm(rows: Array) -> Array:
    return np.asarray(np.linalg.norm(rows, axis=-1))


def _step(gradient: Array, hessian: Array, unit: Array, cap: float, downhill: bool) -> Array:
    """Capped Newton step in scaled coordinates; downhill uses |eigenvalues| (saddle-free Newton)."""
    if not (np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))):
        return np.full(len(unit), 1e-3) * unit
    g, h = gradient * unit, hessian * np.outer(unit, unit)
    eigenvalues, vectors = np.linalg.eigh(h)
    inverse = 1 / np.maximum(np.abs(eigenvalues), 1e-8) if downhill else eigenvalues / (eigenvalues**2 + 1e-16)
    step = -vectors @ (inverse * (vectors.T @ g))
    length = np.linalg.norm(step)
    return unit * step * min(1.0, cap / max(length, 1e-300))


def _merge(known: Sequence[Array], new: Array, unit: Array) -> list[Array]:
    """Join lists of points, dropping repeats and points that ran off to a degenerate scale."""
    merged = list(known)
    for theta in new:
        if np.all(np.abs(theta[len(unit) - 1 :]) < 40) and all(_norm((theta - t) / unit) > 1e-4 for t in merged):
            merged.append(theta)
    return merged


def _distinct(
    refined: Sequence[tuple[Array, Objective, Estimate] | None], unit: Array
) -> list[tuple[Array, Objective, Estimate]]:
    kept: list[tuple[Array, Objective, Estimate]] = []
    for point in refined:
        if point is not None and all(_norm((point[0] - other[0]) / unit) > 1e-5 for other in kept):
            kept.append(point)
    return kept


def _refine(
    family: Family, target: Target, theta: Array, sizes: Sequence[int], seed: int
) -> tuple[Array, Objective, Estimate] | None:
    """Polish on finer and finer rules until the rule's own error is negligible."""
    base = gaussian_nodes(target.dim, size=sizes[0], seed=seed)
    objective = reverse_objective(family, target, base)
    inverse: Array | None = None
    for size in sizes:
        if size != sizes[0]:
            base = gaussian_nodes(target.dim, size=size, seed=seed)
            objective = reverse_objective(family, target, base)
        # In several dimensions the Hessian of a fine rule is dear; that of the first rule steers the later steps.
        polished = None if inverse is None else _chord(objective, theta, inverse)
        if polished is None:
            polished, inverse = polish(objective, theta), None
        if polished is None:
            return None  # stationary on the coarser rule only
        theta = polished
        value = float(objective.gradient(theta[None])[0][0])
        error = _rule_error(family, target, base, theta, value)
        if error < 1e-12 * max(1, abs(value)) or base.kind != "quadrature":
            break
        if target.dim > 1:
            inverse = np.linalg.inv(objective.hessian(theta[None])[2][0]) if inverse is None else inverse
    return theta, objective, Estimate(value, error, base.kind)


def _chord(objective: Objective, theta: Array, inverse: Array, steps: int = 25) -> Array | None:
    """Newton's method with a fixed inverse Hessian; ``None`` unless the gradient norm falls below 1e-8."""
    best, norm = theta, np.inf
    for _ in range(steps):
        gradient = objective.gradient(theta[None])[1][0]
        now = float(np.linalg.norm(gradient))
        if not np.isfinite(now) or now >= norm:
            break
        best, norm = theta, now
        if norm < 1e-13:
            break
        theta = theta - inverse @ gradient
    return best if norm < 1e-8 else None


def _rule_error(family: Family, target: Target, base: Nodes, theta: Array, value: float) -> float:
    if base.coarse is not None:
        coarse = reverse_objective(family, target, base.coarse).gradient(theta[None])[0][0]
        return abs(value - float(coarse)) + 1e-14 * max(1, abs(value))
    per = len(base.points) // base.replicates
    parts = []
    for r in range(base.replicates):
        part = slice(r * per, (r + 1) * per)
        rule = Nodes(base.points[part], np.full(per, 1 / per), base.kind)
        parts.append(float(reverse_objective(family, target, rule).gradient(theta[None])[0][0]))
    return float(np.std(parts, ddof=1) / np.sqrt(base.replicates))


def _classify(
    family: Family, points: Sequence[tuple[Array, Objective, Estimate]], certificate: Certificate
) -> list[Projection]:
    ordered = sorted(points, key=lambda point: point[2].value)
    results: list[Projection] = []
    lowest: float | None = None
    for theta, objective, divergence in ordered:
        params, gradient_norm, eigenvalues = _natural_point(family, objective, theta)
        status = _status(eigenvalues)
        if status == "local minimum" and (lowest is None or divergence.value <= lowest + 1e-10 + divergence.error):
            lowest = divergence.value if lowest is None else lowest
            status = "global minimum"
        results.append(
            Projection(params, divergence, status, gradient_norm, eigenvalues, family, theta, "reverse", certificate)
        )
    return results


def _status(eigenvalues: Array) -> Status:
    if np.min(np.abs(eigenvalues)) < 1e-9:
        return "degenerate"
    negative = int((eigenvalues < 0).sum())
    if negative == 0:
        return "local minimum"
    return "maximum" if negative == len(eigenvalues) else "saddle"


def _natural_point(family: Family, objective: Objective, theta: Array) -> tuple[dict[str, Array], float, Array]:
    """Parameters, gradient norm and Hessian eigenvalues, in natural coordinates where these are free."""
    values, jacobians = natural_values(family, theta)
    _, gradient, hessian = objective.hessian(theta[None])
    g, h = gradient[0], hessian[0]
    if all(p.support in ("real", "positive") for p in family.parameters):
        jacobian = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
        inverse = np.linalg.inv(jacobian)
        g, h = inverse.T @ g, inverse.T @ h @ inverse
    return values, float(np.linalg.norm(g)), np.linalg.eigvalsh(h)


def _sort_components(family: Family, params: dict[str, Array]) -> dict[str, Array]:
    if family.components == 1:
        return params
    order = np.argsort(params["mu"])
    return {name: value[order] for name, value in params.items()}
