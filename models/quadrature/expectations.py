"""Expectations as nodes and weights: quadrature with a measured error, quasi-Monte Carlo, or draws.

Every objective of this project is a weighted mean over nodes. What the nodes are decides what the number means: draws
give maximum likelihood, quadrature gives its exact limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.targets import Density, Draws, Target

__all__ = [
    "Estimate",
    "Nodes",
    "expect",
    "gauss_legendre",
    "gaussian_nodes",
    "line_edges",
    "moment_nodes",
    "nodes",
    "sobol_nodes",
]

Array = NDArray[np.float64]
Kind = Literal["quadrature", "quasi-Monte Carlo", "draws", "exact"]
#: A function of points (n, d) with values (n,).
Integrand = Callable[[Array], Array]

_ORDER = 16  # Gauss-Legendre nodes per panel
_MAX_LEVELS = 60  # bisections of a panel; a kink or jump needs about 50 to reach rounding
_OFFSETS = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 14.0])
_FAR = np.array([3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0, 30.0, 40.0, 60.0])  # in asinh units
_NEGLIGIBLE = 1e-60
_QMC_POWER, _QMC_REPLICATES = 13, 16


@dataclass(frozen=True)
class Estimate:
    """A number with its error.

    Attributes
    ----------
    value : float
        In nats for divergences and entropies; ``inf`` where the integral diverges.
    error : float
        For quadrature the change that the last refinement brought plus rounding, an upper estimate where the integrand
        is smooth between nodes; for draws and quasi-Monte Carlo a standard error.
    kind : str
        How it was obtained: ``quadrature``, ``quasi-Monte Carlo``, ``draws`` or ``exact``.
    """

    value: float
    error: float
    kind: Kind

    def __float__(self) -> float:
        return self.value

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"value", "error"}`` for JSON."""
        return {"value": self.value, "error": self.error}


@dataclass(frozen=True, eq=False)
class Nodes:
    """Points (n, d) with weights (n,) such that sum(w f(x)) approximates E f.

    Attributes
    ----------
    points : ndarray (n, d)
    weights : ndarray (n,)
    kind : str
    coarse : Nodes, optional
        A coarser rule; the change from it bounds the error of this one.
    replicates : int
        For quasi-Monte Carlo: the nodes are this many independent randomisations, one after the other.
    """

    points: Array
    weights: Array
    kind: Kind
    coarse: Nodes | None = None
    replicates: int = 1

    def mean(self, f: Integrand) -> Estimate:
        """Estimate E f(x), with the error that this kind of rule allows."""
        values = _weighted(f(self.points), self.weights)
        value = float(values.sum())
        if self.kind == "draws":
            error = float(np.std(values * len(values), ddof=1) / np.sqrt(len(values)))
        elif self.kind == "quasi-Monte Carlo":
            parts = values.reshape(self.replicates, -1).sum(axis=1) * self.replicates
            error = float(np.std(parts, ddof=1) / np.sqrt(self.replicates))
        else:
            coarse = float(_weighted(f(self.coarse.points), self.coarse.weights).sum()) if self.coarse else np.nan
            error = abs(value - coarse) + _rounding(values)
        return Estimate(value, error, self.kind)


def moment_nodes(x: Array) -> Nodes:
    """Three nodes with the moments of draws up to the fourth: for polynomials of that degree they are the draws.

    Parameters
    ----------
    x : ndarray (n,)
        Draws, not all equal.

    Returns
    -------
    Nodes
        Of Gauss's rule for the empirical measure, from its Jacobi matrix (Golub and Welsch, 1969, section 4).

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 2.5, 7.0])
    >>> rule = moment_nodes(x)
    >>> float(rule.weights @ rule.points[:, 0] ** 4).__round__(6), float(np.mean(x**4))
    (614.265625, 614.265625)
    """
    mean, size = x.mean(), len(x)
    unit = float(np.abs(x[:_MOMENT_CHUNK] - mean).max()) or 1.0
    sums = np.zeros(4)
    for start in range(0, size, _MOMENT_CHUNK):  # in pieces that stay in the processor's cache
        u = (x[start : start + _MOMENT_CHUNK] - mean) / unit
        square = u * u
        sums += u.sum(), u @ u, square @ u, square @ square
    first, second, third, fourth = sums / size
    sd = np.sqrt(second)
    skewness, kurtosis = third / sd**3, fourth / sd**4
    below = np.sqrt(max(kurtosis - 1 - skewness**2, 0.0))
    jacobi = np.array([[0.0, 1.0, 0.0], [1.0, skewness, below], [0.0, below, 0.0]])
    roots, vectors = np.linalg.eigh(jacobi)
    return Nodes((mean + unit * (first + sd * roots))[:, None], vectors[0] ** 2, "draws")


_MOMENT_CHUNK = 16_384


def _weighted(values: Array, weights: Array) -> Array:
    # A weight of zero wins over an infinite value: 0 log 0 = 0.
    return np.multiply(weights, values, out=np.zeros_like(weights), where=weights != 0)


def _rounding(terms: Array) -> float:
    finite = terms[np.isfinite(terms)]
    return float(8 * np.finfo(float).eps * np.abs(finite).sum() / max(1.0, np.sqrt(len(finite) / 16)))


# --- one dimension: panels of Gauss-Legendre nodes -------------------------------------------------------------------


@cache
def gauss_legendre(order: int) -> tuple[Array, Array]:
    """Nodes and weights (order,) on [-1, 1]."""
    x, w = np.polynomial.legendre.leggauss(order)
    return x, w


def _panel_nodes(left: Array, right: Array) -> tuple[Array, Array]:
    x, w = gauss_legendre(_ORDER)
    half = (right - left)[:, None] / 2
    return (left + right)[:, None] / 2 + half * x, half * w


@dataclass(frozen=True)
class _Line:
    """The real line as t -> x = centre + scale sinh(t), then PyMC's transform to the support: tails become finite."""

    centre: float
    scale: float
    support: Callable[[Array], tuple[Array, Array]] | None

    def points(self, t: Array) -> tuple[Array, Array]:
        """Points x(t) and log |dx/dt|, both shaped like t."""
        u = self.centre + self.scale * np.sinh(t)
        log_slope = np.log(self.scale) + np.logaddexp(t, -t) - np.log(2)
        if self.support is None:
            return u, log_slope
        x, log_jacobian = self.support(u.ravel())
        return x.reshape(t.shape), log_slope + log_jacobian.reshape(t.shape)

    def density(self, target: Target, t: Array) -> tuple[Array, Array, Array]:
        """Points (n, 1), their log densities and the density in t; zero where rounding has left the support."""
        x, log_slope = self.points(t)
        points = x[:, None]
        logp = target.logp(points)
        usable = np.isfinite(x) & ~np.isnan(logp) & ~np.isposinf(logp)
        if self.support is not None:  # rounding may have put a node on the end itself, where other densities vanish
            low, high = self.support(np.array([-1e3, 1e3]))[0]
            usable &= (x > low) & (x < high)
        with np.errstate(over="ignore", invalid="ignore"):
            density = np.where(usable, np.exp(np.where(usable, logp + log_slope, 0.0)), 0.0)
        return points, logp, density

    def t(self, u: Array) -> Array:
        return np.arcsinh((u - self.centre) / self.scale)


def _line(target: Target, others: Sequence[Target]) -> tuple[_Line, Array]:
    """Return the line of a 1-D target and the first panel edges in t: where any of the densities has structure."""
    support = target.support
    if support is not None:
        draws = target.rvs(4096, seed=0)[:, 0]
        u = _inverse(support, draws)
        centre, scale = float(np.median(u)), float(np.std(u))
        line = _Line(centre, scale, support)
        edges = [line.t(centre + scale * np.concatenate([-_OFFSETS, _OFFSETS]))]
    else:
        places = [(float(m[0]), float(s[0, 0])) for m, s in target.scales]
        locations = np.array([m for m, _ in places])
        widths = np.array([s for _, s in places])
        line = _Line(float(locations.mean()), float(np.sqrt(locations.var() + (widths**2).mean())), None)
        for other in others:
            if other.dim == 1 and isinstance(other, Density) and other.support is None:
                places += [(float(m[0]), float(s[0, 0])) for m, s in other.scales]
        edges = [line.t(m + s * np.concatenate([-_OFFSETS, _OFFSETS])) for m, s in places]
    return line, np.unique(np.round(np.concatenate([*edges, -_FAR, _FAR]), 12))


def line_edges(target: Target) -> Array:
    """Edges (m,) of the panels that quadrature of a 1-D density begins with, in x."""
    line, t = _line(target, ())
    x = np.unique(line.points(t)[0])
    return x[np.isfinite(x)]


def _inverse(support: Callable[[Array], tuple[Array, Array]], x: Array) -> Array:
    """Solve support(u) = x for u by interpolation: only the scale of u is wanted."""
    grid = np.concatenate([-np.geomspace(700, 1e-3, 2000), np.geomspace(1e-3, 700, 2000)])
    values, _ = support(grid)
    order = np.argsort(values)
    return np.interp(x, values[order], grid[order])


def _adapt(integrand: Callable[[Array], Array], edges: Array, tolerance: float) -> tuple[Array, Array, Array, float]:
    """Bisect panels until halving one changes no integral by more than `tolerance`.

    Returns
    -------
    left, right, change : ndarray (m,)
        Accepted panels, and the change of the integral that halving each brings.
    unresolved : float
        Sum of the changes of panels that were still above `tolerance` at the last level.
    """
    left, right = edges[:-1], edges[1:]
    done: list[tuple[Array, Array, Array]] = []
    unresolved = 0.0
    whole = _panel_integrals(integrand, left, right)
    # Relative to the integrals where these are large: rounding allows no more.
    limit = tolerance * np.maximum(1.0, np.abs(whole).sum(axis=0))
    for level in range(_MAX_LEVELS):
        middle = (left + right) / 2
        lower = _panel_integrals(integrand, left, middle)
        upper = _panel_integrals(integrand, middle, right)
        difference = np.abs(whole - lower - upper)
        change = np.max(difference, axis=1)
        rough = np.any(difference > limit, axis=1) & (middle > left) & (middle < right)
        if level == _MAX_LEVELS - 1:
            unresolved, rough = float(change[rough].sum()), np.zeros_like(rough)
        keep = ~rough
        done.append((left[keep], right[keep], change[keep]))
        if not rough.any():
            break
        left, right = (np.concatenate([left[rough], middle[rough]]), np.concatenate([middle[rough], right[rough]]))
        whole = np.concatenate([lower[rough], upper[rough]])
    lefts, rights, changes = (np.concatenate(part) for part in zip(*done, strict=True))
    order = np.argsort(lefts)
    return lefts[order], rights[order], changes[order], unresolved


def _panel_integrals(integrand: Callable[[Array], Array], left: Array, right: Array) -> Array:
    t, w = _panel_nodes(left, right)
    values = integrand(t.ravel())
    return np.einsum("fij,ij->if", values.reshape(len(values), *t.shape), w)


def _halves(left: Array, right: Array) -> tuple[Array, Array]:
    middle = (left + right) / 2
    return np.concatenate([left, middle]), np.concatenate([middle, right])


# --- several dimensions ----------------------------------------------------------------------------------------------


def gaussian_nodes(dim: int, *, size: int, seed: int = 0, power: int = _QMC_POWER) -> Nodes:
    """Nodes for a standard Normal in `dim` dimensions, the base noise of a Normal family.

    Parameters
    ----------
    dim : int
    size : int
        Nodes per axis for the tensor trapezoid rule (dim <= 3); the coarse rule takes every other node. The rule
        converges exponentially for analytic integrands, where Gauss-Hermite does not (Trefethen and Weideman, 2014).
    seed : int
        Seeds the scrambling of the Sobol points used when dim > 3.
    power : int
        Of these there are 2**power, in 16 independent randomisations.

    Returns
    -------
    Nodes
    """
    if dim > 3:
        return sobol_nodes(dim, power=power, seed=seed)
    if size % 2 == 0:
        raise InputError(f"size is {size}; it must be odd, so that every other node is a rule of its own")
    fine = _trapezoid(dim, size)
    return Nodes(*fine, kind="quadrature", coarse=Nodes(*_trapezoid(dim, size // 2 + 1), kind="quadrature"))


@cache
def _trapezoid(dim: int, size: int) -> tuple[Array, Array]:
    # Beyond 8.5 there is 2e-17 of the mass; in several dimensions 8 (1e-15) buys nodes where they count.
    reach = 8.5 if dim == 1 else 8.0
    z = np.linspace(-reach, reach, size)
    w = np.exp(-(z**2) / 2)
    w /= w.sum()
    grid = np.stack(np.meshgrid(*[z] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    weights = w
    for _ in range(dim - 1):
        weights = np.multiply.outer(weights, w)
    weights = weights.ravel()
    keep = weights > 1e-18
    return grid[keep], weights[keep]


def sobol_nodes(dim: int, *, power: int, replicates: int = _QMC_REPLICATES, seed: int = 0) -> Nodes:
    """Scrambled Sobol nodes for a standard Normal, in independent randomisations.

    Parameters
    ----------
    dim : int
    power : int
        There are 2**power nodes in all.
    replicates : int
        Independent randomisations, a power of 2; the spread between them is the standard error (Owen, 1997).
    seed : int

    Returns
    -------
    Nodes
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    seeds = np.random.SeedSequence(seed).spawn(replicates)
    each = power - int(np.log2(replicates))
    parts = []
    for child in seeds:
        u = qmc.Sobol(dim, scramble=True, rng=np.random.default_rng(child)).random_base2(each)
        parts.append(ndtri(np.clip(u, 1e-16, 1 - 1e-16)))
    points = np.concatenate(parts)
    return Nodes(points, np.full(len(points), 1 / len(points)), "quasi-Monte Carlo", replicates=replicates)


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


# --- entry points ----------------------------------------------------------------------------------------------------


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
    if not isinstance(target, Density):
        raise InputError(f"target {target.name!r} is a posterior: expectations under it need draws (pm.sample)")
    if target.multivariate:
        return _converged_mixture(target, integrands, tolerance, seed)
    line, edges = _line(target, others)
    integrand = _integrand(target, line, integrands)
    left, right, _, _ = _adapt(integrand, edges, tolerance)
    coarse = _rule(target, line, left, right)
    fine = _rule(target, line, *_halves(left, right))
    return Nodes(fine.points, fine.weights, "quadrature", coarse=coarse)


def _integrand(target: Target, line: _Line, integrands: Sequence[Integrand]) -> Callable[[Array], Array]:
    def values(t: Array) -> Array:
        points, logp, density = line.density(target, t)
        parts = [density, _weighted(logp, density), *(_weighted(f(points), density) for f in integrands)]
        return np.nan_to_num(np.stack(parts), nan=0.0, posinf=0.0, neginf=0.0)

    return values


def _rule(target: Target, line: _Line, left: Array, right: Array) -> Nodes:
    t, w = _panel_nodes(left, right)
    points, _, density = line.density(target, t.ravel())
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
        ``value`` is ``inf`` (or ``-inf``) if f is infinite on a set of positive probability, or if the contributions
        of the outer panels do not fade.
    """
    if not isinstance(target, Density) or target.multivariate:
        rule = nodes(target, [f], others=others, tolerance=tolerance)
        terms = _weighted(f(rule.points), rule.weights)
        if np.any(np.isinf(terms)):
            return Estimate(float(np.sum(terms[np.isinf(terms)])), 0.0, rule.kind)
        return rule.mean(f)
    line, edges = _line(target, others)

    def weighted(t: Array) -> Array:
        points, _, density = line.density(target, t)
        return _weighted(f(points), density)[None, :]

    diverges = _divergence(weighted, edges)
    if diverges:
        return Estimate(diverges, 0.0, "quadrature")
    left, right, change, unresolved = _adapt(lambda t: np.nan_to_num(weighted(t)), edges, tolerance)
    t, w = _panel_nodes(*_halves(left, right))
    terms = weighted(t.ravel())[0] * w.ravel()
    # Halving a panel that was right to `change` leaves far less where the integrand is smooth.
    return Estimate(float(terms.sum()), float(change.sum()) + unresolved + _rounding(terms), "quadrature")


def _divergence(weighted: Callable[[Array], Array], edges: Array) -> float:
    """Return +-inf if the integrand is infinite at a node or does not fade in a tail, else 0."""
    t, w = _panel_nodes(edges[:-1], edges[1:])
    values = weighted(t.ravel())[0].reshape(t.shape)
    infinite = values[np.isinf(values)]
    if len(infinite):
        return float(np.sign(infinite[0])) * np.inf
    sums = (values * w).sum(axis=1)
    for outer, inner in ((sums[-1], sums[-2]), (sums[0], sums[1])):
        if abs(outer) > 1e-10 and abs(outer) > abs(inner):
            return float(np.sign(outer)) * np.inf
    return 0.0
