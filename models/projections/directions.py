"""Exact optima in every direction: all stationary points of a divergence over a family, classified and counted.

One solution is not an answer where the objective can have several minima. Points are found from many starts, polished by
Newton on a rule whose error is measured, told apart by their Hessians, and counted (`models.projections.stationary`): the sum of the
signs proves that one is missing, or says `consistent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import ConvergenceError, InputError
from models.families import FAMILIES, Family
from models.graphs import single_threaded
from models.projections.exact import Exact, check_density, exact_objective
from models.projections.forward import finite_forward, lowest_forward, second_moment, squares
from models.projections.nested_normal import limits, singular
from models.projections.objectives import forward_objective
from models.projections.optima import Certificate, Projection, describe, minima, ordered, ranked, sign
from models.projections.optimise import chord, polish_all
from models.projections.quasi_monte_carlo import sampled_stationary_points
from models.projections.starts import component_starts, member_theta, shaped, structure
from models.projections.stationary import Smooth, distinct, newton, search
from models.quadrature import Estimate, nodes
from models.targets import Draws, Posterior, Target

__all__ = [
    "alpha_projections",
    "forward_projection",
    "forward_projections",
    "reverse_projections",
    "stationary_points",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


# --- entry points ----------------------------------------------------------------------------------------------------


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
        With ``limit`` set where the infimum is reached only in the limit (student_t on tails no heavier than Normal).

    Raises
    ------
    InputError
        If the dimensions differ, or no member is at finite KL (p_data with infinite variance onto a Normal family; counts onto a
        density).
    ConvergenceError
        If no start reaches a stationary point in the interior.

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
    found = minima(forward_projections(target, family, starts=starts, seed=seed))
    if not found:
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} reached no interior optimum; "
            "a parameter may run to its boundary"
        )
    return found[0]


@single_threaded
def forward_projections(target: Target, family: Family, *, starts: int = 8, seed: int = 0) -> list[Projection]:
    """All stationary points found of forward KL, lowest divergence first; see `forward_projection`.

    From draws, in several dimensions and for mixtures only the lowest minimum is sought.

    Raises
    ------
    InputError, ConvergenceError
        As `forward_projection`.
    """
    family.check_dim(target.dim, f"target {target.name!r}")
    if isinstance(target, Posterior):
        raise InputError(f"target {target.name!r} is a posterior: forward KL needs draws of it (pm.sample, from_draws)")
    finite_forward(target, family)
    if family.on_a_line and family.components == 1 and not isinstance(target, Draws):
        return stationary_points(target, family, 1.0, seed=seed)
    return [lowest_forward(target, family, starts, seed)]


@single_threaded
def reverse_projections(
    target: Target, family: Family, *, seed: int = 0, below: Sequence[Target] | None = None
) -> list[Projection]:
    """All stationary points found of KL(p_theta||p_data) over a family, lowest divergence first.

    Parameters
    ----------
    target : Target
        With a log density.
    family : Family
        Any 1-D family; ``mvnormal`` or ``mvnormal_diag`` in more dimensions.
    seed : int
        For the additional starts that are tried while the count of signs says that a point is missing.
    below : sequence of Target, optional
        Members, in at most three dimensions: only those points are sought to which Newton's method leads downhill from these, to an
        error of 1e-8 nats, and they are not counted. Cheaper by far where a search for all of them is not needed.

    Returns
    -------
    list of Projection
        Minima, saddles and maxima; ``certificate`` tells whether the signs of their Hessians sum to 1.

    Raises
    ------
    InputError
        If the target has draws only, the dimensions differ, the target's support does not hold the family's (the KL is
        infinite everywhere), or the family is not offered in this dimension.

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
    if below is not None:
        return _downhill(target, family, below)
    if target.dim > 3:
        check_density(target, family, 0.0)
        return _from_samples(target, family, seed)
    return stationary_points(target, family, 0.0, seed=seed)


@single_threaded
def alpha_projections(target: Target, family: Family, alpha: float, *, seed: int = 0) -> list[Projection]:
    """All stationary points found of Minka's alpha-divergence over a family, lowest divergence first.

    Parameters
    ----------
    target : Target
        With a normalised density in at most three dimensions.
    family : Family
    alpha : float
        Strictly between 0 (reverse KL) and 1 (forward KL).
    seed : int
        As in `reverse_projections`.

    Returns
    -------
    list of Projection

    Raises
    ------
    InputError
        If `alpha` is outside (0, 1), or as `reverse_projections`; differing supports are allowed.

    Notes
    -----
    Minka (2005), MSR-TR-2005-173, eq. 7. At a stationary point over an exponential family, q matches the moments of
    the density proportional to p^alpha q^(1 - alpha).
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha:g}; it must be strictly between 0 and 1 (1 is forward KL, 0 is reverse KL)")
    if target.has_density and not target.normalised:
        raise InputError(f"target {target.name!r} is an unnormalised posterior; alpha-divergences need a density")
    return stationary_points(target, family, float(alpha), seed=seed)


# --- the search ------------------------------------------------------------------------------------------------------


def stationary_points(target: Target, family: Family, alpha: float, *, seed: int = 0) -> list[Projection]:
    """All stationary points in the direction of `alpha` (0 reverse, 1 forward) by quadrature, in at most 3 dimensions."""
    objective = exact_objective(family, target, alpha)
    if target.dim == 1 and family.multivariate:  # the same Normals, with parameters of another shape
        return [_as_vector(p, family) for p in stationary_points(target, FAMILIES["normal"], alpha, seed=seed)]
    starts, unit = component_starts(target, family, alpha, seed)
    nested: list[Projection] = []
    shape = family.shape
    normal_at = None if shape is None else shape.normal_at
    if shape is not None and normal_at is not None and (alpha < 1 or second_moment(target)):
        nested = stationary_points(target, FAMILIES["normal"], alpha, seed=seed)
        starts = np.array(
            [
                shaped(family, shape, float(p.params["mu"]), float(p.params["sigma"]), value)
                for p in nested
                for value in shape.starts
            ]
        )
    smooth: Smooth = objective
    if alpha == 1 and family.smooth:  # nodes of p_data that do not move: one rule for all
        smooth = forward_objective(family, nodes(target, [squares] if family.degree == 2 else []))
    # Where p and q hardly overlap, the alpha-divergence is flat at its supremum: no gradient, and no optimum.
    highest = (1 - 1e-6) / (alpha * (1 - alpha)) if 0 < alpha < 1 else np.inf
    refine = _Refinement(smooth, family, highest)
    ends: list[Projection] = []
    within: list[Projection] = []
    index_within = 0
    if normal_at is not None and np.isfinite(normal_at):
        within, index_within = singular(family, normal_at, refine.at(1), nested)
    else:
        ends = limits(target, family, alpha, nested)
    near = np.array([s.theta for s in within]).reshape(-1, len(unit))

    _, covs, spread = structure(target)
    widths = np.log([np.linalg.eigvalsh(covs).min(), np.linalg.eigvalsh(spread)[-1]]) / 2

    def inside(thetas: Array) -> Mask:
        kept = ~_escaped(family, thetas, target.dim, widths)
        for point in near:
            kept &= np.linalg.norm((thetas - point) / unit, axis=1) > 0.05
        return kept

    other = index_within + sum(sign(p) for p in ends)
    points, _, index = search(
        smooth, refine, starts, unit, inside=inside, known=list(near), other_index=other, seed=seed
    )
    coercive = family.components == 1 and (normal_at is None or normal_at == np.inf)
    certificate: Certificate = "consistent" if coercive and index == 1 else "open"
    found = [*describe(target, family, alpha, refine.final(points)), *ends, *within]
    return ranked([replace(p, certificate=certificate) for p in found])


def _downhill(target: Target, family: Family, members: Sequence[Target]) -> list[Projection]:
    objective = exact_objective(family, target, 0.0)
    thetas = np.array([member_theta(family, m, f @ f.T, {}) for m, f in (q.scales[0] for q in members)])
    unit = np.ones(thetas.shape[1])
    # Loose: nearer to a minimum the value falls by less than the error of the coarse rule, and every step would be refused.
    ends = newton(objective, distinct(thetas, unit, 0.1), unit, downhill=True, tolerance=3e-3)
    refine = _Refinement(objective, family, exact=1e-8)
    points = distinct(refine(distinct(ends, unit, 3e-2))[0], unit, 1e-4)
    return ranked(describe(target, family, 0.0, refine.final(points)))


def _as_vector(point: Projection, family: Family) -> Projection:
    sigma = np.reshape(point.params["sigma"], 1)
    scale = {"cov": sigma[:, None] ** 2} if family.correlated else {"sigma": sigma}
    return replace(point, params={"mu": np.reshape(point.params["mu"], 1), **scale}, family=family)


@dataclass
class _Refinement:
    """Polishes points on finer and finer rules, until the rule's own error is negligible."""

    objective: Smooth
    family: Family
    highest: float = np.inf
    exact: float = 1e-12  # a rule is refined until its error is below this, relative to the value where that is above 1

    def __call__(self, thetas: Array) -> tuple[Array, Array]:
        fine = self.at(1)
        polished, norms = polish_all(fine, thetas)
        points = np.array([ordered(self.family, t) for t in polished[norms < 1e-8]]).reshape(-1, thetas.shape[1])
        if not len(points):
            return points, np.empty((0, thetas.shape[1], thetas.shape[1]))
        values, _, hessians = fine.hessian(points)
        points, hessians = points[values < self.highest], hessians[values < self.highest]
        if self.family.components > 1:  # components that coincide make whole lines of stationary points: no optima
            isolated = np.abs(np.linalg.eigvalsh(hessians)).min(axis=1) > 1e-9
            points, hessians = points[isolated], hessians[isolated]
        return points, hessians

    def at(self, level: int) -> Smooth:
        return self.objective.at(level) if isinstance(self.objective, Exact) else self.objective

    def final(self, points: Array) -> list[tuple[Array, Array, Array, Estimate]]:
        """Each point with gradient, Hessian and divergence on the rule that resolves it."""
        if not len(points):
            return []
        fine = self.at(1)
        values, gradients, hessians = fine.hessian(points)
        last = self.objective.finest if isinstance(self.objective, Exact) else 1
        # Most need no more than this one comparison with the next finer rule.
        finer = self.at(2).gradient(points)[0] if last > 1 else values
        results = []
        for i, theta in enumerate(points):
            value, change = float(values[i]), abs(float(finer[i] - values[i]))
            gradient, hessian, level = gradients[i], hessians[i], 1
            while change > self.exact * max(1, abs(value)) and level < last - 1:
                level += 1
                theta = chord(self.at(level), theta, fine)
                at_level, slopes, curvatures = self.at(level).hessian(theta[None])
                value, gradient, hessian = float(at_level[0]), slopes[0], curvatures[0]
                change = abs(float(self.at(level + 1).gradient(theta[None])[0][0]) - value)
            error = change + 5e-15 * (1 + abs(value))
            results.append((theta, gradient, hessian, Estimate(value, error, "quadrature")))
        return results


def _escaped(family: Family, thetas: Array, dim: int, widths: Array) -> Mask:
    """Which of thetas (m, P) have run off: a shape to its boundary, or a scale out of proportion to the target's.

    `widths` are logarithms of the smallest and of the largest standard deviation of the target.
    """
    escaped: Mask = np.any(np.abs(thetas) > 1e6, axis=1)
    for p, part in family.slices(dim):
        if p.name == family.scale:
            logs = thetas[:, part][:, :dim] if p.support == "covariance" else thetas[:, part]
            escaped |= ((logs < widths[0] - 12) | (logs > widths[1] + 12)).any(axis=1)
        if p.support == "simplex":  # a component that has vanished may lie anywhere
            escaped |= (np.abs(thetas[:, part]) > 8).any(axis=1)
    for _, part, limit in family.limits(dim):
        escaped |= limit.passed(thetas[:, part], 0.9).any(axis=1)
    return escaped


# --- more than three dimensions -------------------------------------------------------------------------------------------


def _from_samples(target: Target, family: Family, seed: int) -> list[Projection]:
    if family.degree != 2:
        raise InputError(
            f"in {target.dim} dimensions reverse projections are available onto mvnormal and mvnormal_diag"
        )
    locations, covs, spread = structure(target)
    starts = np.array([member_theta(family, place, c, {}) for place, c in
                       [*zip(locations, covs, strict=True), (locations.mean(axis=0), spread)]])  # fmt: skip
    results = []
    for theta, objective, divergence in sampled_stationary_points(target, family, starts, seed):
        _, gradient, hessian = objective.hessian(theta[None])
        results.append((theta, gradient[0], hessian[0], divergence))
    return ranked(describe(target, family, 0.0, results))
