"""Forward KL by descent: draws, mixtures, several dimensions; and when no member is at finite forward KL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import ConvergenceError, InputError
from models.families import Domain, Family
from models.projections.objectives import forward_objective, natural_values
from models.projections.optima import Certificate, Projection, forward_divergence, natural_point, sort_components
from models.projections.optimise import best_minimum
from models.projections.starts import forward_starts
from models.projections.units import points_of
from models.quadrature import Nodes, expect, nodes
from models.targets import Draws, Target

__all__ = ["finite_forward", "kinked_mle", "kinked_projection", "lowest_forward", "second_moment", "squares"]

Array = NDArray[np.float64]


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
    if family.dim == 1 and family.domain != Domain():
        _on_the_half_line(target, family)
    if family.tail == "gaussian" and not second_moment(target):
        raise InputError(
            f"target {target.name!r} has infinite variance, so its forward KL to every member of {family.name} is "
            "infinite and there is no projection; use a heavy-tailed family such as student_t"
        )
    linear = family.tail == "exponential" and target.dim == 1
    if linear and not np.isfinite(expect(target, lambda x: np.abs(x[:, 0])).value):
        raise InputError(
            f"target {target.name!r} has no mean, so its forward KL to every member of {family.name} is infinite "
            "and there is no projection; use a heavy-tailed family such as student_t"
        )


def _on_the_half_line(target: Target, family: Family) -> None:
    """Refuse a target with mass below 0, where a density on x >= 0 is zero."""
    if isinstance(target, Draws):
        return family.check_support(target.draws, f"target {target.name!r}: observation")
    if target.support is None or target.support(np.array([-1e3]))[0][0] < 0:
        raise InputError(
            f"target {target.name!r} has mass below 0, where every member of {family.name} has density 0, so every forward KL "
            "is infinite and there is no projection; use a family on the whole line"
        )
    # Quadrature in log x cannot see that a mean diverges; the tail of x^2 p(x) does not fade then.
    far = np.array([[1e50], [1e100]])
    tail = target.logp(far) + 2 * np.log(far[:, 0])
    if np.isfinite(tail).all() and tail[1] > tail[0] - 0.1:
        raise InputError(
            f"target {target.name!r} has no mean, so its forward KL to every member of {family.name} is infinite and there is no "
            "projection"
        )
    return None


def lowest_forward(target: Target, family: Family, starts: int, seed: int) -> Projection:
    """The lowest minimum of the cross-entropy reached from several starts.

    Raises
    ------
    ConvergenceError
        If none is reached in the interior.
    """
    rule = nodes(target, [squares] if family.degree == 2 else [])
    objective = forward_objective(family, rule)
    candidates = forward_starts(family, points_of(rule, family), starts, seed)
    best = best_minimum(objective, candidates)
    if best is None or (limit := family.at_boundary(best, target.dim)) is not None:
        reason = "a parameter may run to its boundary" if best is None else f"{limit}: project onto the limiting family"
        raise ConvergenceError(
            f"forward KL of {target.name!r} onto {family.name} reached no interior optimum from {len(candidates)} starts; "
            f"{reason}"
        )
    _, gradient, hessian = objective.hessian(best[None])
    params, gradient_norm, eigenvalues = natural_point(family, best, gradient[0], hessian[0])
    params = sort_components(family, params)
    ce, divergence = forward_divergence(target, family.member(params))
    convex: Certificate = "complete" if family.degree == 2 else "incomplete"
    return Projection(
        params, divergence, "global minimum", gradient_norm, eigenvalues, family, best, "forward", convex, ce
    )


def kinked_projection(target: Target, family: Family) -> Projection:
    """Maximum likelihood of draws where the log density has a kink at its location (Laplace)."""
    rule = nodes(target)
    theta, gradient = kinked_mle(family, rule)
    params, _ = natural_values(family, theta)
    ce, divergence = forward_divergence(target, family.member(params))
    curvature = forward_objective(family, rule).hessian(theta[None])[2][0, 1, 1]
    return Projection(
        params,
        divergence,
        "global minimum",
        gradient,
        np.array([curvature]),
        family,
        theta,
        "forward",
        "incomplete",
        ce,
    )


def kinked_mle(family: Family, rule: Nodes) -> tuple[Array, float]:
    """Theta (2,) of maximum likelihood over 1-D draws: a median, and the best scale there; and the gradient in the scale.

    The mean log likelihood is a broken line in the location, so the optimum is at a draw: bisection on the sign of the
    gradient finds it.
    """
    objective = forward_objective(family, rule)
    values = np.unique(rule.points[:, 0])
    scale = np.log(max(float(np.std(rule.points)), np.finfo(float).tiny))
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        between_draws = (values[middle] + values[middle + 1]) / 2
        # A slope that is zero to rounding leaves every point of the interval a median.
        rising = objective.gradient(np.array([[between_draws, scale]]))[1][0, 0] >= -1e-15 / np.exp(scale)
        low, high = (low, middle) if rising else (middle + 1, high)
    theta = np.array([values[low], scale])
    for _ in range(50):  # the scale alone is smooth
        _, gradient, hessian = objective.hessian(theta[None])
        step = gradient[0, 1] / abs(hessian[0, 1, 1])
        theta[1] -= np.clip(step, -1, 1)
        if abs(step) < 1e-14:
            break
    return theta, abs(float(objective.gradient(theta[None])[1][0, 1]))
