"""What maximum likelihood does around its limit: J, K, the sandwich covariance and the excess KL (White, 1982).

J is the curvature of the cross-entropy at the projection, K the covariance of the scores there. They are equal if the
family contains p_data, and then tr(J^-1 K) counts parameters; if not, it is what replaces that count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.exact import exact_objective
from models.expectations import expect, nodes
from models.families import Family
from models.graphs import single_threaded
from models.objectives import forward_objective, natural_values
from models.optima import Projection
from models.results import flatten
from models.scores import scores
from models.targets import Target

__all__ = ["Sandwich", "free_parameters", "sandwich"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Asymptotics of maximum likelihood at a projection, in natural parameters.

    Attributes
    ----------
    labels : list of str
        Names of the P free parameters; of weights, which sum to 1, all but the last.
    j : ndarray (P, P)
        -E_p of the second derivatives of log p_theta.
    k : ndarray (P, P)
        E_p of the outer product of the scores.
    covariance : ndarray (P, P)
        J^-1 K J^-1, the limit of n times the covariance of the estimate.
    naive : ndarray (P, P)
        J^-1, which is right only if the family contains p_data.
    trace : float
        tr(J^-1 K). The excess KL of the estimate is about ``trace / (2 n)`` nats (Takeuchi, 1976).
    """

    labels: list[str]
    j: Array
    k: Array
    covariance: Array
    naive: Array
    trace: float

    def excess_kl(self, n: int) -> float:
        """First-order expectation of KL(p||p_theta_hat) - KL(p||p_theta*) for n draws, in nats."""
        return self.trace / (2 * n)


@single_threaded
def sandwich(target: Target, projection: Projection) -> Sandwich:
    """J, K and what follows from them at a forward projection.

    Parameters
    ----------
    target : Target
        With a density, or draws.
    projection : Projection
        From `forward_projection` of this target, in the interior.

    Returns
    -------
    Sandwich

    Raises
    ------
    InputError
        If a score has infinite variance, so that there is no sandwich.
    numpy.linalg.LinAlgError
        If J is singular: the parameters are not identified there.

    Notes
    -----
    White (1982), theorem 3.2. Where log p_theta has a kink (Laplace), J is the second derivative of the expectation,
    which the expectation of second derivatives misses.
    """
    family, theta = projection.family, projection.theta
    rule = nodes(target, [lambda x: (scores(x, family, theta) ** 2).sum(axis=1)], others=[projection.member])
    if target.draws is None and target.dim == 1:

        def squared(i: int) -> Callable[[Array], Array]:
            return lambda x: scores(x, family, theta)[:, i] ** 2

        variances = [expect(target, squared(i)) for i in range(len(theta))]
        if not np.isfinite([v.value for v in variances]).all():
            raise InputError(
                f"scores of {family.name} have infinite variance under target {target.name!r}: the estimate has no "
                "asymptotic covariance; use a family with heavier tails"
            )
    if family.smooth or target.draws is not None:
        hessian = forward_objective(family, rule).hessian(theta[None])[2][0]
    else:
        hessian = exact_objective(family, target, 1.0).at(2).hessian(theta[None])[2][0]
    s = scores(rule.points, family, theta)
    meat = (s * rule.weights[:, None]).T @ s
    labels, jacobian = free_parameters(family, theta)
    inverse = np.linalg.inv(jacobian)
    j, k = inverse.T @ hessian @ inverse, inverse.T @ meat @ inverse
    naive = np.linalg.inv(j)
    return Sandwich(labels, j, k, naive @ k @ naive, naive, float(np.trace(naive @ k)))


def free_parameters(family: Family, theta: Array) -> tuple[list[str], Array]:
    """Labels of P free natural parameters and their Jacobian (P, P) with respect to theta."""
    values, jacobians = natural_values(family, theta)
    labels, rows = [], []
    for p in family.parameters:
        names, _ = flatten({p.name: values[p.name]})
        jacobian = jacobians[p.name].reshape(-1, len(theta))
        keep = np.ones(len(names), dtype=bool)
        if p.support == "simplex":
            keep[-1] = False
        elif p.support == "covariance":
            keep = np.tril(np.ones_like(values[p.name], dtype=bool)).ravel()
        labels += [name for name, kept in zip(names, keep, strict=True) if kept]
        rows.append(jacobian[keep])
    return labels, np.concatenate(rows)
