"""Forward KL by descent: draws, mixtures, several dimensions; and when no member is at finite forward KL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import ConvergenceError, InputError
from models.families import Domain, Family
from models.projections.maximum import Problem, highest, polished_minimum
from models.projections.objectives import forward_objective, natural_values
from models.projections.optima import Certificate, Projection, forward_divergence, natural_point, sort_components
from models.projections.units import merged, standardise
from models.quadrature import Nodes, expect, nodes
from models.targets import Discrete, Draws, Target

__all__ = ["ends_of", "finite_forward", "lowest_forward", "second_moment", "squares"]

Array = NDArray[np.float64]
#: Integers on either side of the middle of a discrete target, at most.
_WIDEST = 1_000_000


def second_moment(target: Target) -> bool:
    """Whether E x^2 is finite, as far as quadrature can tell."""
    if target.cov is not None or target.dim > 1:
        return True
    return bool(np.isfinite(expect(target, squares).value))


def squares(x: Array) -> Array:
    """Squared norms (n,) of points (n, d)."""
    with np.errstate(over="ignore"):  # where nothing is counted
        return (x**2).sum(axis=1)


def finite_forward(target: Target, family: Family) -> None:
    """Refuse a family of which no member is at finite forward KL."""
    if isinstance(target, Discrete):
        _on_integers(target, family)
        return
    bounded = family.dim == 1 and family.domain != Domain()
    if bounded and isinstance(target, Draws):
        family.check_support(target.draws, f"target {target.name!r}: observation")
    elif bounded or (family.edges and not isinstance(target, Draws)):
        _within(target, family)
    if family.tail == "gaussian" and not (_fades(target, family, 2) and second_moment(target)):
        raise InputError(
            f"target {target.name!r} has infinite variance, so its forward KL to every member of {family.name} is "
            "infinite and there is no projection; use a heavy-tailed family such as student_t"
        )
    linear = family.tail == "exponential" and target.dim == 1
    if linear and not (_fades(target, family, 1) and np.isfinite(expect(target, lambda x: np.abs(x[:, 0])).value)):
        raise InputError(
            f"target {target.name!r} has no mean, so its forward KL to every member of {family.name} is infinite "
            "and there is no projection; use a heavy-tailed family such as student_t"
        )


def _on_integers(target: Discrete, family: Family) -> None:
    """Refuse a family without masses on integers, or with none where a discrete target has mass."""
    if not family.domain.whole:
        raise InputError(
            f"target {target.name!r} puts mass on single integers and family {family.name!r} has a density, so every forward KL is "
            "infinite; use a family of counts, such as poisson, or draws of the target"
        )
    k = _masses(target).points[:, 0]
    inside = family.domain.holds(k)
    if not inside.all():
        raise InputError(
            f"target {target.name!r} has mass at {k[np.argmin(inside)]:g}, outside the support {family.domain} of family "
            f"{family.name!r}, so every forward KL is infinite and there is no projection; use a family whose support holds it"
        )


def _masses(target: Discrete) -> Nodes:
    """The integers that a discrete target puts all but 1e-12 of its mass on, and their masses."""
    middle, reach = float(np.round(target.distribution.quantiles[3])), 64
    while True:
        k: Array = middle + np.arange(-reach, reach + 1, dtype=float)
        mass: Array = np.exp(target.log_mass(k))
        if mass.sum() > 1 - 1e-12:
            return Nodes(k[mass > 0, None], mass[mass > 0], "draws")
        if reach > _WIDEST:
            raise InputError(
                f"target {target.name!r} is spread over more than {_WIDEST:,} integers, and no more are summed; give draws of it"
            )
        reach *= 4


def _within(target: Target, family: Family) -> None:
    """Refuse a density with mass where every member has none, or without the ends that the family puts its own at."""
    if family.domain.whole:
        raise InputError(
            f"target {target.name!r} has a density and family {family.name!r} puts mass on integers, so every forward KL is "
            "infinite; use a family with a density, or a discrete target"
        )
    low, high = ends_of(target)
    if low < family.domain.low or high > family.domain.high:
        side = f"below {family.domain.low:g}" if low < family.domain.low else f"above {family.domain.high:g}"
        raise InputError(
            f"target {target.name!r} has mass {side}, where every member of {family.name} has density 0, so every forward KL "
            "is infinite and there is no projection; use a family on the whole line"
        )
    for name, side in family.edges:
        if not np.isfinite(low if side == "low" else high):
            raise InputError(
                f"target {target.name!r} has mass without end, and {name!r} of family {family.name!r} is an end of its support, "
                "so every forward KL is infinite; use a family on the whole line"
            )


def ends_of(target: Target) -> tuple[float, float]:
    """Ends of the support of a 1-D target with a density."""
    if target.support is None:
        return -np.inf, np.inf
    low, high = map(float, target.support(np.array([-1e3, 1e3]))[0])
    return low, high


def _fades(target: Target, family: Family, power: int) -> bool:
    """Whether x^(power + 1) p(x) fades: quadrature in log x cannot see that a moment on the half-line diverges."""
    if isinstance(target, Draws) or family.on_a_line or target.dim > 1 or not np.isinf(ends_of(target)[1]):
        return True
    far = np.array([[1e50], [1e100]])
    tail = target.logp(far) + (power + 1) * np.log(far[:, 0])
    return not (np.isfinite(tail).all() and tail[1] > tail[0] - 0.1)


def lowest_forward(target: Target, family: Family, starts: int, seed: int) -> Projection:
    """The lowest minimum of the cross-entropy: maximum likelihood, over draws, the nodes of a density, or integers and their masses.

    Raises
    ------
    InputError
        If every member is at infinite forward KL.
    ConvergenceError
        If none is reached in the interior.
    """
    if isinstance(target, Discrete):
        rule = _masses(target)
    else:
        rule = merged(nodes(target, [squares] if family.degree == 2 else []), family)
    family = family.resolved(rule.points)
    bounded = not isinstance(target, Draws | Discrete) and target.dim == 1
    ends = ends_of(target) if bounded else None
    share = rule.weights / rule.weights.sum()
    units, z = standardise(rule.points, share, family, whiten=True, ends=ends)
    if ends is not None:
        ends = tuple((end - units.centre[0]) / units.factor[0, 0] for end in ends)
    problem = Problem(units.family, Nodes(z, rule.weights, rule.kind), ends)
    found = highest(problem, starts, seed)
    theta: Array | None = found.theta if found.reached else None
    if theta is not None and family.closed is None:
        theta = polished_minimum(problem.objective(problem.rule), theta, found.held, problem.lengths)
    limit = family.at_boundary(found.theta, target.dim)
    if theta is None or limit is not None:
        reason = f"{limit}: project onto the limiting family" if limit else "a parameter may run to its boundary"
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} reached no interior optimum from {found.ends} starts; {reason}"
        )
    params = sort_components(family, units.natural(*natural_values(units.family, theta))[0])
    low, high = ends_of(target) if bounded else (rule.points.min(), rule.points.max())
    edges = {name: np.asarray(low if side == "low" else high) for name, side in family.edges}
    theta = family.unconstrain(params | edges, target.dim)
    params, norm, eigenvalues = _described(family, rule, theta, ~found.held)
    params |= edges  # not rounded: beyond an end by one bit the divergence is infinite
    ce, divergence = forward_divergence(target, family.member(params))
    if not np.isfinite(ce.value):
        raise InputError(
            f"target {target.name!r} is at infinite forward KL from every member of {family.name}: its tails are too heavy, or "
            "it has mass where they have none; use another family"
        )
    unique: Certificate = "consistent" if family.closed is not None else "open"
    return Projection(params, divergence, "global minimum", norm, eigenvalues, family, theta, "forward", unique, ce)


def _described(
    family: Family, rule: Nodes, theta: Array, free: NDArray[np.bool_]
) -> tuple[dict[str, Array], float, Array]:
    """Parameters, gradient norm and eigenvalues of the Hessian, over the coordinates that are free."""
    _, gradients, hessians = forward_objective(family, rule).hessian(theta[None])
    gradient, hessian = gradients[0], hessians[0]
    if not family.smooth:  # the slope in the location jumps there
        free = free & ~np.array([p.name == family.location for p in family.parameters])
    if free.all():
        return natural_point(family, theta, gradient, hessian)
    norm = float(np.linalg.norm(gradient[free]))
    eigenvalues = np.linalg.eigvalsh(hessian[np.ix_(free, free)]) if free.any() else np.empty(0)
    return natural_values(family, theta)[0], norm, eigenvalues
