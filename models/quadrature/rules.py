"""Nodes and weights: what an expectation is here, the adaptive rule on a line, tensor and quasi-Monte Carlo rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

__all__ = [
    "Estimate",
    "Integrand",
    "Judge",
    "Nodes",
    "adapt",
    "bisect",
    "gauss_legendre",
    "gaussian_nodes",
    "halves",
    "moment_nodes",
    "panel_nodes",
    "rounding",
    "sobol_nodes",
    "weighted",
]

Array = NDArray[np.float64]
Kind = Literal["quadrature", "quasi-Monte Carlo", "draws", "exact"]
#: A function of points (n, d) with values (n,).
Integrand = Callable[[Array], Array]

_ORDER = 16  # Gauss-Legendre nodes per panel
_LEVELS = 60  # bisections of a panel; a kink or jump needs about 50 to reach rounding
_MOST = 6000  # panels in all: where rounding makes a function rough everywhere, more of them find nothing
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
    reason : str, optional
        Why the value is infinite, or not known (``nan``).
    """

    value: float
    error: float
    kind: Kind
    reason: str | None = field(default=None, kw_only=True, repr=False)

    def __float__(self) -> float:
        return self.value

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"value", "error"}`` for JSON, with the ``reason`` if there is one."""
        given = {"value": self.value, "error": self.error}
        return given if self.reason is None else given | {"reason": self.reason}


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
        values = weighted(f(self.points), self.weights)
        value = float(values.sum())
        if self.kind == "draws":
            error = float(np.std(values * len(values), ddof=1) / np.sqrt(len(values)))
        elif self.kind == "quasi-Monte Carlo":
            parts = values.reshape(self.replicates, -1).sum(axis=1) * self.replicates
            error = float(np.std(parts, ddof=1) / np.sqrt(self.replicates))
        else:
            coarse = float(weighted(f(self.coarse.points), self.coarse.weights).sum()) if self.coarse else np.nan
            error = abs(value - coarse) + rounding(values)
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


def weighted(values: Array, weights: Array) -> Array:
    """Products of values and weights (n,): a weight of zero wins over an infinite value."""
    # 0 log 0 = 0.
    return np.multiply(weights, values, out=np.zeros_like(weights), where=weights != 0)


def rounding(terms: Array) -> float:
    """What rounding may have done to the sum of terms (n,)."""
    finite = terms[np.isfinite(terms) & (terms != 0)]
    return float(8 * np.finfo(float).eps * np.abs(finite).sum() / max(1.0, np.sqrt(len(finite) / 16)))


# --- one dimension: panels of Gauss-Legendre nodes -------------------------------------------------------------------


@cache
def gauss_legendre(order: int) -> tuple[Array, Array]:
    """Nodes and weights (order,) on [-1, 1]."""
    x, w = np.polynomial.legendre.leggauss(order)
    return x, w


def panel_nodes(left: Array, right: Array) -> tuple[Array, Array]:
    """Nodes and weights (m, 16) of panels with these ends (m,)."""
    x, w = gauss_legendre(_ORDER)
    half = (right - left)[:, None] / 2
    return (left + right)[:, None] / 2 + half * x, half * w


#: Of panels (left, right) and what was carried to them, tells which to halve, how far each is off, and what to carry to its halves.
Judge = Callable[[Array, Array, Any], tuple[NDArray[np.bool_], Array, tuple[Array, Array] | None]]


def bisect(
    judge: Judge, edges: Array, *, levels: int = _LEVELS, most: int | None = None, whole: bool = False
) -> tuple[Array, Array, Array]:
    """Halve panels until they are judged good, or have been halved `levels` times, or are `most` in all.

    With `whole`, at whole numbers.

    Returns
    -------
    left, right, change : ndarray (m,)
        Panels in order, and how far each was found to be off.
    """
    left, right, carried = edges[:-1], edges[1:], None
    done: list[tuple[Array, Array, Array]] = []
    count = 0
    for level in range(levels):
        rough, change, children = judge(left, right, carried)
        middle = np.floor((left + right) / 2) if whole else (left + right) / 2
        rough &= (middle > left) & (middle < right)
        count += len(left)
        if level == levels - 1 or (most is not None and count > most):
            rough[:] = False
        keep = ~rough
        done.append((left[keep], right[keep], change[keep]))
        if not rough.any():
            break
        left, right = np.concatenate([left[rough], middle[rough]]), np.concatenate([middle[rough], right[rough]])
        carried = None if children is None else np.concatenate([part[rough] for part in children])
    lefts, rights, changes = (np.concatenate(part) for part in zip(*done, strict=True))
    order = np.argsort(lefts)
    return lefts[order], rights[order], changes[order]


def adapt(integrand: Callable[[Array], Array], edges: Array, tolerance: float) -> tuple[Array, Array, Array]:
    """Bisect panels until halving one changes no integral by more than `tolerance`.

    Parameters
    ----------
    integrand : callable
        Of points (n,), values (k, n) of k functions.
    edges : ndarray (m,)
    tolerance : float
        Relative to integrals larger than 1: rounding allows no more.

    Returns
    -------
    left, right, change : ndarray (m,)
        Accepted panels, and the change of the integral that halving each brings.
    """
    # Not scipy.integrate.cubature, which refines one region at a time: on five KL integrands (SciPy 1.18) it came to the same
    # digits with a fifth to four times the evaluations, in 5 to 120 times the time, and it does not say at which nodes.
    whole = _integrals(integrand, edges[:-1], edges[1:])
    limit = tolerance * np.maximum(1.0, np.abs(whole).sum(axis=0))

    def judge(left: Array, right: Array, carried: Array | None) -> tuple[NDArray[np.bool_], Array, tuple[Array, Array]]:
        middle = (left + right) / 2
        before = whole if carried is None else carried
        lower, upper = _integrals(integrand, left, middle), _integrals(integrand, middle, right)
        difference = np.abs(before - lower - upper)
        return np.any(difference > limit, axis=1), difference.max(axis=1), (lower, upper)

    return bisect(judge, edges, most=_MOST)


def _integrals(integrand: Callable[[Array], Array], left: Array, right: Array) -> Array:
    t, w = panel_nodes(left, right)
    values = integrand(t.ravel())
    return np.einsum("fij,ij->if", values.reshape(len(values), *t.shape), w)


def halves(left: Array, right: Array) -> tuple[Array, Array]:
    """Ends of the halves of panels."""
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
    points = _sobol_points(dim, power, replicates, seed).copy()
    return Nodes(points, np.full(len(points), 1 / len(points)), "quasi-Monte Carlo", replicates=replicates)


@lru_cache(maxsize=16)
def _sobol_points(dim: int, power: int, replicates: int, seed: int) -> Array:
    from scipy.special import ndtri
    from scipy.stats import qmc

    each = power - int(np.log2(replicates))
    parts = []
    for child in np.random.SeedSequence(seed).spawn(replicates):
        u = qmc.Sobol(dim, scramble=True, rng=np.random.default_rng(child)).random_base2(each)
        parts.append(ndtri(np.clip(u, 1e-16, 1 - 1e-16)))
    return np.concatenate(parts)
