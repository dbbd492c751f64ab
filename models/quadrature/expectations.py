"""Expectations under a target: nodes and weights for any integrand, and integrals with an error that holds in the tails too.

Every objective of this project is a weighted mean over nodes. What the nodes are decides what the number means: draws
give maximum likelihood, quadrature gives its exact limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.quadrature.line import Line, line_of
from models.quadrature.rules import (
    Estimate,
    Integrand,
    Nodes,
    adapt,
    gaussian_nodes,
    halves,
    panel_nodes,
    rounding,
    weighted,
)
from models.quadrature.tails import beyond
from models.targets import Density, Discrete, Draws, Target

__all__ = ["expect", "integrate", "mass_defect", "nodes"]

Array = NDArray[np.float64]
#: Of points v (n,) of a line, x (n,) on the support, and log densities (n,) there, values (n,).
OnLine = Callable[[Array, Array, Array], Array]

_NEGLIGIBLE = 1e-60
_COARSE = 1e-3  # of a width: the distance between floats from which on it counts


def _mixture_nodes(target: Density, size: int, seed: int) -> Nodes:
    """Nodes of a (mixture of) multivariate Normal: each component's own whitened rule, joined."""
    w = np.atleast_1d(target.distribution.params.get("w", np.ones(1)))

    def join(base: Nodes) -> Nodes:
        # Components one inside the other within each replicate, so that replicates stay whole.
        per = len(base.points) // base.replicates
        points, weights = [], []
        for r in range(base.replicates):
            part = slice(r * per, (r + 1) * per)
            for share, (location, chol) in zip(w, target.scales, strict=True):
                points.append(location + base.points[part] @ chol.T)
                weights.append(share * base.weights[part])
        return Nodes(np.concatenate(points), np.concatenate(weights), base.kind, replicates=base.replicates)

    base = gaussian_nodes(target.dim, size=size, seed=seed)
    joined = join(base)
    if base.coarse is None:
        return joined
    return Nodes(joined.points, joined.weights, joined.kind, coarse=join(base.coarse))


def nodes(
    target: Target,
    integrands: Sequence[Integrand] = (),
    *,
    others: Sequence[Target] = (),
    tolerance: float = 1e-14,
    seed: int = 0,
) -> Nodes:
    """Nodes and weights for expectations under a target.

    Parameters
    ----------
    target : Target
        Draws give themselves with weights 1/n. A density in one dimension gives Gauss-Legendre panels, bisected until
        halving changes nothing; the mapping x = c + s sinh(t) makes heavy tails short, and PyMC's own transform takes
        care of bounded support. A mixture of Normals in 2 or 3 dimensions gives a tensor trapezoid rule for each
        component; in more dimensions scrambled Sobol points.
    integrands : sequence of callables
        Functions of points (n, d) whose expectations must be resolved, besides 1 and log p.
    others : sequence of Target
        Densities that occur in the integrands: panels start at their components too.
    tolerance : float
        Largest change of any integral that one more bisection of one panel may bring.
    seed : int
        For the scrambling of Sobol points.

    Returns
    -------
    Nodes

    Raises
    ------
    InputError
        If the target has neither draws nor a density that can be integrated.
    """
    if isinstance(target, Draws):
        n = len(target.draws)
        return Nodes(target.draws, np.full(n, 1 / n), "draws")
    if isinstance(target, Discrete):
        target.check_normalised()
    if not isinstance(target, Density):
        raise InputError(f"target {target.name!r} is a posterior: expectations under it need draws (pm.sample)")
    if target.multivariate:
        return _converged_mixture(target, integrands, tolerance, seed)
    line, edges = line_of(target, others)

    def integrand(v: Array) -> Array:
        points, logp, density = _density(target, line, v)
        parts = [density, weighted(logp, density), *(weighted(f(points), density) for f in integrands)]
        return np.nan_to_num(np.stack(parts), nan=0.0, posinf=0.0, neginf=0.0)

    with np.errstate(all="ignore"):
        left, right, _ = adapt(integrand, edges, tolerance)
        coarse = _rule(target, line, left, right)
        fine = _rule(target, line, *halves(left, right))
    return Nodes(fine.points, fine.weights, "quadrature", coarse=coarse)


def _density(target: Target, line: Line, v: Array) -> tuple[Array, Array, Array]:
    """Points (n, 1), their log densities and the density in v; zero where the log density is none."""
    x, log_slope = line.place(v)
    logp = line.logp(target, v, x)
    log_weight = logp + log_slope
    usable = np.isfinite(log_weight)
    return x[:, None], logp, np.where(usable, np.exp(np.where(usable, log_weight, 0.0)), 0.0)


def _rule(target: Target, line: Line, left: Array, right: Array) -> Nodes:
    v, w = panel_nodes(left, right)
    points, _, density = _density(target, line, v.ravel())
    weights = w.ravel() * density
    keep = weights > _NEGLIGIBLE  # farther out densities of other families overflow, and nothing is counted
    return Nodes(points[keep], weights[keep], "quadrature")


def _converged_mixture(target: Density, integrands: Sequence[Integrand], tolerance: float, seed: int) -> Nodes:
    if not target.scales or target.distribution.name not in {"mvnormal", "mvnormal_mixture", "mvnormal_diag"}:
        raise InputError(
            f"no quadrature rule for target {target.name!r} in {target.dim} dimensions; give draws instead"
        )
    sizes = (33, 65, 129, 257, 513) if target.dim <= 2 else (33, 49)
    rule = _mixture_nodes(target, sizes[0], seed)
    for size in sizes[1:]:
        checks = [rule.mean(f) for f in (target.logp, *integrands)]
        if rule.kind != "quadrature" or all(c.error <= max(1e-10, tolerance) * max(1, abs(c.value)) for c in checks):
            break
        rule = _mixture_nodes(target, size, seed)
    return rule


def expect(target: Target, f: Integrand, *, others: Sequence[Target] = (), tolerance: float = 1e-14) -> Estimate:
    """Estimate E_target f(x) with its error; ``inf`` where the tails say that the integral diverges.

    Parameters
    ----------
    target : Target
    f : callable (n, d) -> (n,)
    others : sequence of Target
        Densities that occur in `f`.
    tolerance : float

    Returns
    -------
    Estimate
        ``value`` is ``inf`` (or ``-inf``) if f is infinite on a set of positive probability, or if a tail has no finite
        contribution; ``nan``, with its reason, where it cannot be told.
    """
    if not isinstance(target, Density) or target.multivariate:
        rule = nodes(target, [f], others=others, tolerance=tolerance)
        terms = weighted(f(rule.points), rule.weights)
        if np.any(np.isinf(terms)):
            return Estimate(float(np.sum(terms[np.isinf(terms)])), 0.0, rule.kind)
        return rule.mean(f)
    line, edges = line_of(target, others)
    return integrate(target, line, edges, lambda _v, x, _logp: f(x[:, None]), tolerance)


def integrate(
    target: Density, line: Line, edges: Array, f: OnLine, tolerance: float = 1e-14, size: OnLine | None = None
) -> Estimate:
    """Estimate E_target f with f a function of the coordinate of a line and of x.

    Parameters
    ----------
    target : Density
        Of one dimension.
    line : Line
    edges : ndarray (m,)
        Of the first panels.
    f : callable
        Of points v (n,) and x (n,) and the log densities (n,) of the target there, values (n,).
    tolerance : float
    size : callable, optional
        As `f`: of what rounding leaves in it, in units of a float's last digit, if that is more than f itself; such as of two
        logarithms, of which f is the difference.

    Returns
    -------
    Estimate
    """

    def parts(v: Array) -> tuple[Array, Array]:
        x, log_slope = line.place(v)
        logp = line.logp(target, v, x)
        log_weight = logp + log_slope
        return np.where(np.isnan(log_weight), -np.inf, log_weight), f(v, x, logp)

    def terms_at(v: Array) -> Array:
        log_weight, values = parts(v)
        return weighted(values, np.exp(log_weight))

    with np.errstate(all="ignore"):
        first, last, tails = beyond(line, parts, edges)
        if odd := [t for t in tails if not np.isfinite(t.value)]:
            return max(odd, key=lambda t: np.isinf(t.value))  # infinite on one side is infinite
        inner = edges[(edges > first) & (edges < last)]
        panels = np.concatenate([[first], inner, [last]])

        def integrand(v: Array) -> Array:
            log_weight, values = parts(v)
            weight = np.exp(log_weight)
            return np.nan_to_num(np.stack([weight, weighted(values, weight)]), nan=0.0, posinf=0.0, neginf=0.0)

        left, right, change = adapt(integrand, panels, tolerance)
        v, w = panel_nodes(*halves(left, right))
        terms = np.nan_to_num(terms_at(v.ravel()), nan=0.0, posinf=0.0, neginf=0.0) * w.ravel()
        lost = np.zeros(1) if size is None else _of_size(target, line, v.ravel(), size) * w.ravel()
    # Halving a panel that was right to `change` leaves far less where the integrand is smooth.
    error = float(change.sum()) + rounding(terms) + sum(t.error for t in tails)
    error += float(8 * np.finfo(float).eps * np.nan_to_num(lost, nan=0.0, posinf=0.0).sum())
    return Estimate(float(terms.sum()) + sum(t.value for t in tails), error, "quadrature")


def _of_size(target: Density, line: Line, v: Array, size: OnLine) -> Array:
    """What `size` is on average, point by point (n,)."""
    x, _, density = _density(target, line, v)
    return weighted(size(v, x[:, 0], line.logp(target, v, x[:, 0])), density)


@lru_cache(maxsize=64)
def mass_defect(target: Density) -> float:
    """By how much the density of a 1-D target does not integrate to 1: what rounding in its constants does to log densities.

    Where so few floats lie across a target that points move by a thousandth of its width, they move by more than its mass tells.
    """
    coarse = max((float(np.spacing(np.abs(m[0])) / s[0, 0]) for m, s in target.scales), default=0.0)
    return _defect(target) + (coarse if coarse > _COARSE else 0.0)


def _defect(target: Density) -> float:
    if not target.distribution.named:  # Normals and their mixtures, whose constants are of order 1
        return 0.0
    line, edges = line_of(target)
    mass = integrate(target, line, edges, lambda _v, x, _logp: np.ones_like(x))
    return abs(mass.value - 1) if np.isfinite(mass.value) else np.inf
