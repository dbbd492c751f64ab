"""Exact optima in every direction: all stationary points of a divergence over a family, classified and counted.

One solution is not an answer where the objective can have several minima. Points are found from many starts, polished by
Newton on a rule whose error is measured, told apart by their Hessians, and counted (`models.stationary`): the sum of the
signs proves that one is missing, or says `complete`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.divergences import cross_entropy, entropy
from models.errors import ConvergenceError, InputError
from models.exact import Exact, check_density, exact_objective
from models.expectations import Estimate, expect, nodes
from models.families import FAMILIES, Family
from models.graphs import single_threaded
from models.objectives import forward_objective, natural_values
from models.optimise import best_minimum, forward_starts, polish
from models.panels import landmarks
from models.sampled import sampled_stationary_points
from models.stationary import Smooth, search
from models.targets import Target

__all__ = [
    "Projection",
    "Status",
    "alpha_projections",
    "forward_projection",
    "forward_projections",
    "minima",
    "reverse_projections",
    "stationary_points",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Status = Literal["global minimum", "local minimum", "saddle", "maximum", "degenerate"]
Certificate = Literal["complete", "incomplete"]
Direction = Literal["forward", "reverse", "alpha"]

#: Families on which the forward projection matches first and second moments.
GAUSSIAN = ("normal", "mvnormal", "mvnormal_diag")
_EXACT = 1e-12  # a rule is refined until its error is below this, relative to the value where that is above 1
#: Families that hold the Normal, at the end or in the middle of a shape parameter.
_NESTED = ("student_t", "skew_normal")


@dataclass(frozen=True, eq=False)
class Projection:
    """A stationary point of a divergence over a family.

    Attributes
    ----------
    params : dict of str to ndarray
        On the natural scale; infinite where the point is a limit.
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
        Unconstrained coordinates; of the limiting family where the point is a limit.
    direction : str
    certificate : str
        ``complete`` if the signs of the Hessians of all points found sum to the index that the behaviour at infinity
        prescribes; ``incomplete`` if not, or where nothing prescribes one.
    cross_entropy : Estimate, optional
        Of the forward direction.
    alpha : float, optional
        Of the alpha direction.
    limit : str, optional
        ``nu -> infinity`` if the point lies in the limit of a parameter: no member is reached, the limit is.
    """

    params: dict[str, Array]
    divergence: Estimate
    status: Status
    gradient_norm: float
    hessian_eigenvalues: Array
    family: Family
    theta: Array
    direction: Direction
    certificate: Certificate
    cross_entropy: Estimate | None = None
    alpha: float | None = None
    limit: str | None = None

    @property
    def member(self) -> Target:
        """The member of the family at this point, or its limit, as a target."""
        if self.limit is None:
            return self.family.member(self.params)
        return FAMILIES["normal"].member({name: self.params[name] for name in ("mu", "sigma")})


def minima(projections: Sequence[Projection]) -> list[Projection]:
    """Return the local and global minima, lowest divergence first."""
    return [p for p in projections if p.status in ("global minimum", "local minimum")]


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
        If the dimensions differ, or no member is at finite KL (p_data with infinite variance onto a Normal family).
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
    if target.source is not None:
        raise InputError(f"target {target.name!r} is a posterior: forward KL needs draws of it (pm.sample, from_draws)")
    _finite_forward(target, family)
    if target.dim == 1 and target.draws is None and family.components == 1 and not family.multivariate:
        return stationary_points(target, family, 1.0, seed=seed)
    if target.draws is not None and not family.smooth:
        return [_kinked_mle(target, family)]
    return [_lowest_forward(target, family, starts, seed)]


@single_threaded
def reverse_projections(target: Target, family: Family, *, seed: int = 0) -> list[Projection]:
    """All stationary points found of KL(p_theta||p_data) over a family, lowest divergence first.

    Parameters
    ----------
    target : Target
        With a log density.
    family : Family
        Any 1-D family; ``mvnormal`` or ``mvnormal_diag`` in more dimensions.
    seed : int
        For the additional starts that are tried while the count of signs says that a point is missing.

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
    starts, unit = _starts(target, family, alpha, seed)
    nested: list[Projection] = []
    if family.name in _NESTED and (alpha < 1 or _second_moment(target)):
        nested = stationary_points(target, FAMILIES["normal"], alpha, seed=seed)
        starts = np.array([_shaped(family, p, shape) for p in nested for shape in _SHAPES[family.name]])
    smooth: Smooth = objective
    if alpha == 1 and family.smooth:  # nodes of p_data that do not move: one rule for all
        smooth = forward_objective(family, nodes(target, [_squares] if family.name in GAUSSIAN else []))
    refine = _Refinement(smooth, family)
    limits = _limits(target, family, alpha, nested) if family.name == "student_t" else []
    singular, singular_index = _singular(family, refine.at(1), nested) if family.name == "skew_normal" else ([], 0)
    near = np.array([s.theta for s in singular]).reshape(-1, len(unit))

    def inside(thetas: Array) -> Mask:
        kept = ~_escaped(family, thetas, target.dim)
        for point in near:
            kept &= np.linalg.norm((thetas - point) / unit, axis=1) > 0.05
        return kept

    other = singular_index + sum(_sign(p) for p in limits)
    points, _, index = search(
        smooth, refine, starts, unit, inside=inside, known=list(near), other_index=other, seed=seed
    )
    coercive = family.components == 1 and family.name != "skew_normal"
    certificate: Certificate = "complete" if coercive and index == 1 else "incomplete"
    found = [*_described(target, family, alpha, refine.final(points)), *limits, *singular]
    return _ranked([replace(p, certificate=certificate) for p in found])


@dataclass
class _Refinement:
    """Polishes points on finer and finer rules, until the rule's own error is negligible."""

    objective: Smooth
    family: Family

    def __call__(self, thetas: Array) -> tuple[Array, Array]:
        fine = self.at(1)
        polished = [_ordered(self.family, t) for t in (polish(fine, theta) for theta in thetas) if t is not None]
        if not polished:
            return thetas[:0], np.empty((0, thetas.shape[1], thetas.shape[1]))
        points = np.array(polished)
        hessians = fine.hessian(points)[2]
        if self.family.components > 1:  # components that coincide make whole lines of stationary points: no optima
            isolated = np.abs(np.linalg.eigvalsh(hessians)).min(axis=1) > 1e-9
            points, hessians = points[isolated], hessians[isolated]
        return points, hessians

    def at(self, level: int) -> Smooth:
        return self.objective.at(level) if isinstance(self.objective, Exact) else self.objective

    def final(self, points: Array) -> list[tuple[Array, Smooth, Estimate]]:
        """Each point on the rule that resolves it, with its divergence and error."""
        results = []
        for theta in points:
            level, last = 1, self.objective.finest if isinstance(self.objective, Exact) else 0
            value = float(self.at(level).gradient(theta[None])[0][0])
            error = 0.0
            while level < last:
                finer = self.at(level + 1)
                change = abs(float(finer.gradient(theta[None])[0][0]) - value)
                error = change + 5e-15 * (1 + abs(value))
                if change < _EXACT * max(1, abs(value)):
                    break
                level += 1
                theta = _chord(finer, theta, self.at(min(level, 1)))
                value = float(finer.gradient(theta[None])[0][0])
            results.append((theta, self.at(level), Estimate(value, error, "quadrature")))
        return results


def _chord(objective: Smooth, theta: Array, coarser: Smooth) -> Array:
    """Newton's method on a finer rule with the Hessian of a coarser one, which is dear in several dimensions."""
    inverse = np.linalg.inv(coarser.hessian(theta[None])[2][0])
    best, norm = theta, np.inf
    for _ in range(25):
        gradient = objective.gradient(theta[None])[1][0]
        now = float(np.linalg.norm(gradient))
        if not np.isfinite(now) or now >= norm:
            break
        best, norm = theta, now
        if norm < 1e-13:
            break
        theta = theta - inverse @ gradient
    return best


def _described(
    target: Target, family: Family, alpha: float, results: Sequence[tuple[Array, Smooth, Estimate]]
) -> list[Projection]:
    direction: Direction = "reverse" if alpha == 0 else "forward" if alpha == 1 else "alpha"
    found = []
    for theta, objective, divergence in results:
        params, gradient_norm, eigenvalues = _natural_point(family, objective, theta)
        ce = None
        if alpha == 1:
            ce, divergence = _forward_divergence(target, family.member(params))
        found.append(
            Projection(params, divergence, _status(eigenvalues), gradient_norm, eigenvalues, family, theta, direction,
                       "incomplete", ce, alpha if direction == "alpha" else None)
        )  # fmt: skip
    return found


def _forward_divergence(target: Target, member: Target) -> tuple[Estimate, Estimate]:
    ce = cross_entropy(target, member)
    if target.draws is not None:
        return ce, Estimate(float("nan"), float("nan"), "draws")
    h = entropy(target)
    return ce, Estimate(ce.value - h.value, ce.error + h.error, "quadrature")


def _ranked(found: Sequence[Projection]) -> list[Projection]:
    """Lowest first; the lowest minima are called global."""
    ordered = sorted(found, key=lambda p: p.divergence.value)
    lowest = next((p.divergence for p in ordered if p.status == "local minimum"), None)
    if lowest is None:
        return ordered
    bound = lowest.value + 1e-10 + lowest.error
    return [
        replace(p, status="global minimum") if p.status == "local minimum" and p.divergence.value <= bound else p
        for p in ordered
    ]


def _status(eigenvalues: Array) -> Status:
    if np.min(np.abs(eigenvalues)) < 1e-9:
        return "degenerate"
    negative = int((eigenvalues < 0).sum())
    if negative == 0:
        return "local minimum"
    return "maximum" if negative == len(eigenvalues) else "saddle"


def _sign(point: Projection) -> int:
    return int(np.prod(np.sign(point.hessian_eigenvalues)))


def _natural_point(family: Family, objective: Smooth, theta: Array) -> tuple[dict[str, Array], float, Array]:
    """Parameters, gradient norm and Hessian eigenvalues, in natural coordinates where these are free."""
    values, jacobians = natural_values(family, theta)
    _, gradient, hessian = objective.hessian(theta[None])
    g, h = gradient[0], hessian[0]
    if all(p.support in ("real", "positive") for p in family.parameters):
        jacobian = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
        inverse = np.linalg.inv(jacobian)
        g, h = inverse.T @ g, inverse.T @ h @ inverse
    return values, float(np.linalg.norm(g)), np.linalg.eigvalsh(h)


def _escaped(family: Family, thetas: Array, dim: int) -> Mask:
    """Which of thetas (m, P) have run off: a shape to its boundary, or a coordinate out of all proportion."""
    escaped: Mask = np.any(np.abs(thetas) > 1e6, axis=1)
    for p, part in family.slices(dim):
        if p.support == "simplex":  # a component that has vanished may lie anywhere
            escaped |= (np.abs(thetas[:, part]) > 8).any(axis=1)
        if p.name == "nu":
            escaped |= (np.abs(thetas[:, part]) > 9).any(axis=1)
        elif p.name == "alpha":
            escaped |= (np.abs(thetas[:, part]) > 1e3).any(axis=1)
    return escaped


# --- starts ----------------------------------------------------------------------------------------------------------


def _starts(target: Target, family: Family, alpha: float, seed: int) -> tuple[Array, Array]:
    """Starts (m, P) at the components, between them and across all of them; and the unit of each coordinate."""
    locations, covs, spread = _structure(target)
    unit = np.ones(family.size(target.dim))
    for p, part in family.slices(target.dim):
        if p.name == family.location:
            unit[part] = np.resize(np.sqrt(np.diag(spread)), part.stop - part.start)
    if family.components > 1:
        return _mixture_starts(
            family, locations[:, 0], np.sqrt(covs[:, 0, 0]), float(np.sqrt(spread[0, 0])), seed
        ), unit
    centre = locations.mean(axis=0)
    narrow = covs[np.argmin([np.trace(c) for c in covs])]
    places = [centre, *locations, *[(a + b) / 2 for a, b in combinations(locations, 2)]][:40]
    starts = []
    for place in places:
        nearest = covs[np.argmin(np.linalg.norm(locations - place, axis=1))]
        options = [nearest, spread] if target.dim > 1 else [narrow, nearest, (nearest + spread) / 2, spread]
        if alpha == 1:
            options = [(nearest + spread) / 2, spread]
        shape = _SHAPES.get(family.name, ({},))[0]
        starts += [_theta(family, place, c, shape) for c in options]
    return np.unique(np.round(starts, 12), axis=0), unit


#: First values of shape parameters.
_SHAPES: dict[str, tuple[dict[str, float], ...]] = {
    "student_t": ({"nu": 3.0}, {"nu": 15.0}),
    "skew_normal": ({"alpha": 2.0}, {"alpha": -2.0}, {"alpha": 6.0}, {"alpha": -6.0}),
}


def _shaped(family: Family, normal: Projection, shape: dict[str, float]) -> Array:
    """A member with a shape whose mean and spread are about those of a Normal."""
    mu, sigma = float(normal.params["mu"]), float(normal.params["sigma"])
    if "alpha" in shape:
        delta = shape["alpha"] / np.sqrt(1 + shape["alpha"] ** 2)
        sigma = sigma / np.sqrt(1 - 2 * delta**2 / np.pi)
        mu = mu - sigma * delta * np.sqrt(2 / np.pi)
    return family.unconstrain({"mu": mu, "sigma": sigma, **shape}, 1)


def _structure(target: Target) -> tuple[Array, Array, Array]:
    """Locations (k, d), covariances (k, d, d) of the places with structure, and the covariance of the whole (d, d)."""
    if target.dim == 1:
        marks = landmarks(target)
        locations = np.array([[m] for m, _ in marks])
        covs = np.array([[[s**2]] for _, s in marks])
    else:
        locations = np.array([m for m, _ in target.scales])
        covs = np.array([s @ s.T for _, s in target.scales])
    spread = np.cov(locations.T, bias=True).reshape(target.dim, target.dim) + covs.mean(axis=0)
    return locations, covs, spread


def _theta(family: Family, location: Array, cov: Array, shape: dict[str, float]) -> Array:
    values: dict[str, Array | float] = dict(shape)
    for p in family.parameters:
        if p.name == family.location:
            values[p.name] = location if p.shape else location[0]
        elif p.name == family.scale:
            scale = cov if p.support == "covariance" else np.sqrt(np.diag(cov))
            values[p.name] = scale if p.shape else scale[0]
    return family.unconstrain(values, len(location))


def _mixture_starts(family: Family, locations: Array, sds: Array, spread: float, seed: int) -> Array:
    """Components of the family on components of the target, one each, and at random."""
    k = family.components
    rng = np.random.default_rng(seed)
    starts = []
    for chosen in [*combinations(range(len(locations)), k)][:20]:
        mu, sigma = locations[list(chosen)], sds[list(chosen)]
        starts.append(family.unconstrain({"w": np.full(k, 1 / k), "mu": mu, "sigma": sigma}, 1))
    for _ in range(24):
        mu = rng.choice(locations, k) + rng.normal(0, 0.5, k) * spread
        sigma = spread * np.exp(rng.uniform(np.log(0.5 * sds.min() / spread), 0.3, k))
        starts.append(family.unconstrain({"w": rng.dirichlet(np.full(k, 3.0)), "mu": mu, "sigma": sigma}, 1))
    return np.array(starts)


# --- limits and singular points --------------------------------------------------------------------------------------


def _limits(target: Target, family: Family, alpha: float, normals: Sequence[Projection]) -> list[Projection]:
    """Stationary points at nu -> infinity: those of the Normal from which the divergence rises as 1/nu does.

    On the half space 1/nu >= 0 they count like interior points where the gradient points inwards (Morse theory on a
    manifold with boundary), so the index sum still certifies.
    """
    found = []
    for point in normals:
        if _slope_in_inverse_nu(target, family, alpha, point) > 0:
            params = {"nu": np.asarray(np.inf), **point.params}
            status: Status = "local minimum" if "minimum" in point.status else point.status
            found.append(replace(point, params=params, family=family, limit="nu -> infinity", status=status))
    return found


def _slope_in_inverse_nu(target: Target, family: Family, alpha: float, point: Projection) -> float:
    objective = exact_objective(family, target, alpha).at(1)
    limiting = exact_objective(FAMILIES["normal"], target, alpha).at(1)
    base = float(limiting.gradient(point.theta[None])[0][0])
    eta = 2e-3 * np.array([1.0, 0.5])
    thetas = np.array([family.unconstrain({"nu": 1 / e, **point.params}, 1) for e in eta])
    coarse, fine = (objective.gradient(thetas)[0] - base) / eta
    return float(2 * fine - coarse)


def _singular(family: Family, objective: Smooth, normals: Sequence[Projection]) -> tuple[list[Projection], int]:
    """Points where a skew normal is Normal, and their index: stationary for every target, with a singular Hessian.

    The scores of alpha and mu are collinear at alpha = 0 (Azzalini and Capitanio, 2014, section 3.1), so the Normal's
    stationary points stay stationary. How the divergence, minimised over mu and sigma, changes to both sides tells
    whether they are minima.
    """
    found, index = [], 0
    for point in normals:
        mu, sigma = float(point.params["mu"]), float(point.params["sigma"])
        theta = family.unconstrain({"mu": mu, "sigma": sigma, "alpha": 0.0}, 1)
        rise = _profile(objective, theta, sigma) - objective.gradient(theta[None])[0][0]
        both = (
            int(np.nan_to_num(np.sign(rise)).sum()) // 2
        )  # a fourth power counts as its sign, a third power not at all
        index += both * _sign(point)
        params, norm, eigenvalues = _natural_point(family, objective, theta)
        status: Status = "local minimum" if "minimum" in point.status and both > 0 else "saddle"
        found.append(replace(point, params=params, theta=theta, family=family, status=status, gradient_norm=norm,
                             hessian_eigenvalues=eigenvalues))  # fmt: skip
    return found, index


def _profile(objective: Smooth, theta: Array, sigma: float) -> Array:
    """Values (2,) at a small skewness to either side, stationary in location and scale."""
    tilt = np.array([-np.sqrt(2 / np.pi) * sigma, 0.0, 1.0])
    sides = np.array([theta + a * tilt for a in (-0.3, 0.3)])
    for _ in range(12):
        _, gradient, hessian = objective.hessian(sides)
        step = np.linalg.solve(hessian[:, :2, :2], gradient[:, :2, None])[..., 0]
        sides[:, :2] -= np.clip(step, -0.1 * sigma, 0.1 * sigma)
    return objective.gradient(sides)[0]


# --- forward, by descent ---------------------------------------------------------------------------------------------


def _second_moment(target: Target) -> bool:
    if target.cov is not None or target.draws is not None or target.dim > 1:
        return True
    return bool(np.isfinite(expect(target, _squares).value))


def _squares(x: Array) -> Array:
    with np.errstate(over="ignore"):  # where nothing is counted
        return (x**2).sum(axis=1)


def _finite_forward(target: Target, family: Family) -> None:
    """Refuse a family of which no member is at finite forward KL."""
    if family.density in ("normal", "normal_mixture", "skew_normal", *GAUSSIAN) and not _second_moment(target):
        raise InputError(
            f"target {target.name!r} has infinite variance, so its forward KL to every member of {family.name} is "
            "infinite and there is no projection; use a heavy-tailed family such as student_t"
        )
    linear = family.density in ("laplace", "logistic") and target.draws is None and target.dim == 1
    if linear and not np.isfinite(expect(target, lambda x: np.abs(x[:, 0])).value):
        raise InputError(
            f"target {target.name!r} has no mean, so its forward KL to every member of {family.name} is infinite "
            "and there is no projection; use a heavy-tailed family such as student_t"
        )


def _lowest_forward(target: Target, family: Family, starts: int, seed: int) -> Projection:
    rule = nodes(target, [_squares] if family.name in GAUSSIAN else [])
    objective = forward_objective(family, rule)
    candidates = forward_starts(family, rule, starts, seed)
    best = best_minimum(objective, candidates)
    if best is None or (limit := family.at_boundary(best, target.dim)) is not None:
        reason = "a parameter may run to its boundary" if best is None else f"{limit}: project onto the limiting family"
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} reached no interior optimum from {len(candidates)} starts; "
            f"{reason}"
        )
    params, gradient_norm, eigenvalues = _natural_point(family, objective, best)
    params = _sort_components(family, params)
    ce, divergence = _forward_divergence(target, family.member(params))
    convex: Certificate = "complete" if family.name in GAUSSIAN else "incomplete"
    return Projection(
        params, divergence, "global minimum", gradient_norm, eigenvalues, family, best, "forward", convex, ce
    )


def _kinked_mle(target: Target, family: Family) -> Projection:
    """Maximum likelihood where the log density has a kink at its location (Laplace): a median, and the best scale there.

    The mean log likelihood is a broken line in the location, so the optimum is at a draw: bisection on the sign of the
    gradient finds it.
    """
    assert target.draws is not None
    rule = nodes(target)
    objective = forward_objective(family, rule)
    values = np.unique(target.draws[:, 0])
    scale = np.log(np.std(target.draws))
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        between_draws = (values[middle] + values[middle + 1]) / 2
        rising = objective.gradient(np.array([[between_draws, scale]]))[1][0, 0] >= 0
        low, high = (low, middle) if rising else (middle + 1, high)
    theta = np.array([values[low], scale])
    for _ in range(50):  # the scale alone is smooth
        _, gradient, hessian = objective.hessian(theta[None])
        step = gradient[0, 1] / abs(hessian[0, 1, 1])
        theta[1] -= np.clip(step, -1, 1)
        if abs(step) < 1e-14:
            break
    params, _ = natural_values(family, theta)
    ce, divergence = _forward_divergence(target, family.member(params))
    _, gradient, hessian = objective.hessian(theta[None])
    return Projection(params, divergence, "global minimum", abs(float(gradient[0, 1])), np.array([hessian[0, 1, 1]]),
                      family, theta, "forward", "incomplete", ce)  # fmt: skip


def _ordered(family: Family, theta: Array) -> Array:
    """The same mixture with its components in the order of their means."""
    if family.components == 1:
        return theta
    values, _ = natural_values(family, theta)
    return family.unconstrain(_sort_components(family, values), 1)


def _sort_components(family: Family, params: dict[str, Array]) -> dict[str, Array]:
    if family.components == 1:
        return params
    order = np.argsort(params["mu"])
    return {name: value[order] for name, value in params.items()}


# --- more than three dimensions --------------------------------------------------------------------------------------


def _from_samples(target: Target, family: Family, seed: int) -> list[Projection]:
    if family.name not in GAUSSIAN:
        raise InputError(
            f"in {target.dim} dimensions reverse projections are available onto mvnormal and mvnormal_diag"
        )
    locations, covs, spread = _structure(target)
    starts = np.array([_theta(family, place, c, {}) for place, c in
                       [*zip(locations, covs, strict=True), (locations.mean(axis=0), spread)]])  # fmt: skip
    found = []
    for theta, objective, divergence in sampled_stationary_points(target, family, starts, seed):
        params, norm, eigenvalues = _natural_point(family, objective, theta)
        found.append(Projection(params, divergence, _status(eigenvalues), norm, eigenvalues, family, theta, "reverse",
                                "incomplete"))  # fmt: skip
    return _ranked(found)
