"""What maximum likelihood does around its limit: J, K, the sandwich covariance and the excess KL (White, 1982).

J is the curvature of the cross-entropy at the projection, K the covariance of the scores there. They are equal if the
family contains p_data, and then tr(J^-1 K) counts parameters; if not, it is what replaces that count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from models.errors import InputError
from models.families import Family
from models.graphs import single_threaded
from models.mle.score import scores
from models.projections import Projection, forward_projection
from models.projections.exact import exact_objective
from models.projections.forward import finite_forward
from models.projections.objectives import forward_objective, natural_values
from models.quadrature import expect, nodes
from models.results import flatten
from models.targets import Density, Draws, Target

__all__ = ["ExcessKL", "Sandwich", "excess_kl", "free_parameters", "sandwich"]

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


@dataclass(frozen=True)
class ExcessKL:
    """Expected KL(p||p_theta_hat) - KL(p||p_theta*) of maximum likelihood from n draws.

    Attributes
    ----------
    value : float
        In nats; ``inf`` where the expectation diverges.
    error : float
        Of the quadrature of moments; ``nan`` for the first order, whose remainder of order n^-2 is not known.
    kind : str
        ``exact``, or ``first order``: tr(J^-1 K) / (2 n).
    """

    value: float
    error: float
    kind: Literal["exact", "first order"]


def excess_kl(target: Target, family: Family, n: int) -> ExcessKL:
    """What maximum likelihood from n draws loses, on average, against the projection.

    Parameters
    ----------
    target : Target
        With a density.
    family : Family
    n : int
        Number of draws.

    Returns
    -------
    ExcessKL
        Exact for normal, mvnormal and mvnormal_diag if they contain the target, for normal(sigma) on every target with a
        variance, and for exponential on Gamma targets; elsewhere the first order, tr(J^-1 K) / (2 n).

    Raises
    ------
    InputError
        If n is too small for the estimate to exist, or as `forward_projection` and `sandwich`.

    Notes
    -----
    The Normal's is the expectation of KL under the laws of Student and Wishart; the exponential's that under the Gamma law of
    the mean; Var_p / (2 n sigma^2) for a mean alone. The first order is that of Takeuchi (1976).

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> from models.targets import normal_mixture
    >>> found = excess_kl(normal_mixture([1], [0], [1]), FAMILIES["normal"], 20)
    >>> round(found.value, 9), found.kind
    (0.065223451, 'exact')
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n is {n!r}; it must be a positive integer")
    family.check_dim(target.dim, f"target {target.name!r}")
    finite_forward(target, family)
    cov = _normal_covariance(target)
    if family.degree == 2 and family.fixed:
        return _mean_risk(target, dict(family.fixed)[str(family.scale)], n)
    if family.degree == 2 and cov is not None:
        if family.correlated or target.dim == 1:
            return _exact(_normal_risk(n, target.dim))
        if np.count_nonzero(cov - np.diag(np.diag(cov))) == 0:
            return _exact(target.dim * _normal_risk(n, 1))
    if family.degree == 1 and (shape := _gamma_shape(target)) is not None:
        total = n * shape
        return _exact(float(digamma(total) - np.log(total) + 1 / (total - 1)) if total > 1 else np.inf)
    value = sandwich(target, forward_projection(target, family)).excess_kl(n)
    return ExcessKL(value, float("nan"), "first order")


def _exact(value: float) -> ExcessKL:
    return ExcessKL(float(value), 1e-14 * (1 + abs(value)) if np.isfinite(value) else 0.0, "exact")


def _normal_risk(n: int, dim: int) -> float:
    """Expected KL of a d-dimensional Normal to the estimate from n of its draws (Wishart; n > d + 2, else infinite)."""
    if n <= dim:
        raise InputError(f"n is {n}; a Normal in {dim} dimension(s) needs at least {dim + 1} draws")
    if n <= dim + 2:
        return float("inf")
    logs = digamma((n - np.arange(1, dim + 1)) / 2).sum() + dim * np.log(2 / n)
    return float(logs + dim * (n + 1) / (n - dim - 2) - dim) / 2


def _mean_risk(target: Target, sigma: float, n: int) -> ExcessKL:
    if target.cov is not None:
        return _exact(float(target.cov[0, 0]) / sigma**2 / (2 * n))
    mean = expect(target, lambda x: x[:, 0]).value
    variance = expect(target, lambda x: _square(x[:, 0] - mean))
    unit = 1 / (2 * n * sigma**2)
    return ExcessKL(variance.value * unit, variance.error * unit, "exact")


def _normal_covariance(target: Target) -> Array | None:
    """Covariance (d, d) of a target that is a single Normal; ``None`` for others."""
    if not isinstance(target, Density) or target.distribution.name not in (
        "normal",
        "Normal",
        "mvnormal",
        "mvnormal_diag",
    ):
        return None
    return np.atleast_2d(target.distribution.params.get("cov", np.eye(target.dim)))


def _gamma_shape(target: Target) -> float | None:
    """Shape of a Gamma target; ``None`` for others."""
    if not isinstance(target, Density) or target.distribution.name not in ("Gamma", "Exponential"):
        return None
    p = {k: float(v) for k, v in target.distribution.params.items() if np.ndim(v) == 0}
    if target.distribution.name == "Exponential":
        return 1.0
    return p["alpha"] if "alpha" in p else (p["mu"] / p["sigma"]) ** 2 if {"mu", "sigma"} <= p.keys() else None


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
    if family.edges:
        raise InputError(
            f"{family.edges[0][0]!r} of family {family.name!r} is an end of its support: the estimate is no mean to first order, "
            "and has no sandwich"
        )
    rule = nodes(target, [lambda x: _square(scores(x, family, theta)).sum(axis=1)], others=[projection.member])
    if not isinstance(target, Draws) and target.dim == 1:

        def squared(i: int) -> Callable[[Array], Array]:
            return lambda x: _square(scores(x, family, theta)[:, i])

        variances = [expect(target, squared(i)) for i in range(len(theta))]
        if not np.isfinite([v.value for v in variances]).all():
            raise InputError(
                f"scores of {family.name} have infinite variance under target {target.name!r}: the estimate has no "
                "asymptotic covariance; use a family with heavier tails"
            )
    if family.smooth or isinstance(target, Draws):
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


def _square(values: Array) -> Array:
    with np.errstate(over="ignore"):  # where nothing is counted
        return np.asarray(values**2)


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
