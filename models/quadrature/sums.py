"""Sums over the integers under a discrete law: term by term where most of it is, by polynomials in blocks farther out."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import bernoulli, comb, gammaln

from models.quadrature.rules import Estimate, bisect, gauss_legendre, rounding, weighted
from models.targets import Discrete

__all__ = ["missed", "sum_over"]

Array = NDArray[np.float64]

_BLOCK = 16  # integers that are summed one by one; longer blocks are summed from as many values
_APART = (
    64  # the least integers of a block whose 16 nodes differ; shorter ones are halved until they are summed one by one
)
_DENSE = 2048  # integers on either side of the middle, and of 0, that are summed one by one
_FARTHEST = 2.0**52  # beyond it floats are not all integers
_TOLERANCE = 1e-15
_MOST = 6000  # blocks
_TOO_MANY = "the law is spread over more integers than can be summed"


def sum_over(target: Discrete, f: Callable[[Array], Array]) -> Estimate:
    """Estimate E_target f(k) as a sum over integers.

    Parameters
    ----------
    target : Discrete
    f : callable (n,) -> (n,)
        Of integers; it may be infinite.

    Returns
    -------
    Estimate
        The error holds what halving the blocks changed, and what rounding did: in the sum, in each log mass, and in all of them, by
        how far the sum of the masses is from 1. So it holds what is left out, too.
    """
    infinite: list[float] = []

    def terms(k: Array) -> Array:
        mass = np.exp(target.log_mass(k))
        with np.errstate(invalid="ignore", over="ignore"):
            part = weighted(f(k), mass)
        infinite.extend(part[np.isinf(part)][:1].tolist())
        return np.nan_to_num(np.stack([mass, part]), posinf=0.0, neginf=0.0)

    def judge(left: Array, right: Array, carried: Array | None) -> tuple[NDArray[np.bool_], Array, tuple[Array, Array]]:
        before = _blocks(terms, left, right) if carried is None else carried
        middle = np.floor((left + right) / 2)
        lower, upper = _blocks(terms, left, middle), _blocks(terms, middle, right)
        change = np.abs(before - lower - upper)
        size, off = right - left, np.any(change > _TOLERANCE * np.maximum(1, np.abs(before)), axis=1)
        rough = (size > _BLOCK) & (off | (size <= 2 * _APART))
        # Short blocks are summed one by one in the end, also where too many of them have kept them from being halved.
        return rough, np.where(size > 2 * _APART, change.max(axis=1), 0.0), (lower, upper)

    left, right, change = bisect(judge, _edges(target), whole=True, most=_MOST)
    long = right - left > 2 * _APART
    middle = np.floor((left + right) / 2)[long]
    short_left, short_right = left[~long], right[~long]
    singly = np.concatenate([np.empty(0), *(np.arange(a, b) for a, b in zip(short_left, short_right, strict=True))])
    single = terms(singly).T
    starts = np.concatenate([[0.0], np.cumsum(short_right - short_left)[:-1]]).astype(int)
    halves = np.concatenate([_blocks(terms, left[long], middle), _blocks(terms, middle, right[long])])
    sums = np.concatenate([single, halves])
    if infinite:
        return Estimate(infinite[0], 0.0, "exact")
    mass, value = (float(np.sort(part).sum()) for part in sums.T)
    if abs(mass - 1) > 1e-3:
        return Estimate(np.nan, np.inf, "exact", reason=_TOO_MANY)
    of_blocks = (
        np.concatenate([np.add.reduceat(np.abs(single), starts), np.abs(halves)]) if len(single) else np.abs(halves)
    )
    at = np.concatenate([short_left, left[long], middle])
    lost = of_blocks[:, 1] @ _noise(target.log_mass, at) + of_blocks[:, 0] @ _noise(f, at)
    error = float(change.sum()) + rounding(sums[:, 1]) + 3 * float(lost)
    return Estimate(value, error + (4e-16 + 3 * abs(mass - 1)) * (1 + abs(value)), "exact")


def _noise(f: Callable[[Array], Array], at: Array) -> Array:
    """By how much rounding scatters a function of integers (n,) about a smooth one: from its differences of the twelfth order.

    Log masses are often differences of log gamma functions, of size k log k, which is where they scatter at most.
    """
    k = at[:, None] + np.arange(13)
    with np.errstate(all="ignore"):
        scatter = np.abs(np.diff(f(k.ravel()).reshape(k.shape), 12, axis=1))[:, 0] / np.sqrt(comb(24, 12))
        most = np.finfo(float).eps * (1 + np.abs(at) * np.log1p(np.abs(at)))
    return np.where(np.isfinite(scatter), np.minimum(scatter, most), most)


def _edges(target: Discrete) -> Array:
    """Blocks [left, right) of integers to begin with: short ones where the mass may lie, and ever longer ones outside."""
    middle = float(np.round(target.distribution.quantiles[3]))
    dense = np.arange(-_DENSE, _DENSE + 1, _BLOCK)
    parts = [middle + dense, dense, middle + 2.0 ** np.arange(11, 53), middle - 2.0 ** np.arange(11, 53)]
    vectors = [np.size(v) for v in target.distribution.values() if np.ndim(v)]
    parts += [np.arange(0, n + _BLOCK, _BLOCK) for n in vectors]  # masses one by one, in no order
    named = _named(target)
    edges = np.unique(np.concatenate([*parts, named, named + 1]))
    return edges[np.abs(edges) <= _FARTHEST]


def _named(target: Discrete) -> Array:
    """The integers that the parameters name: where supports end."""
    values = np.concatenate([np.ravel(v) for v in target.distribution.values()])
    return values[(values == np.round(values)) & (np.abs(values) < _FARTHEST)]


def _blocks(terms: Callable[[Array], Array], left: Array, right: Array) -> Array:
    """Sums (m, 2) over blocks [left, right) of integers, from 16 terms each: exact for polynomials of degree 15."""
    size = right - left
    x, _ = gauss_legendre(_BLOCK)
    short = size < _APART
    one_by_one = np.minimum(np.arange(_BLOCK), np.maximum(size[:, None] - 1, 0))
    spread = np.floor((x + 1) / 2 * size[:, None])
    k = left[:, None] + np.where(short[:, None], one_by_one, spread)
    weights = np.where(np.arange(_BLOCK) < size[:, None], 1.0, 0.0)
    if not short.all():
        long = size[~short, None]
        t = (2 * spread[~short] + 1) / long - 1
        basis = np.swapaxes(legendre.legvander(t, _BLOCK - 1), 1, 2)
        weights[~short] = np.linalg.solve(basis, _sums_of_legendre(long[:, 0])[:, :, None])[:, :, 0]
    values = terms(k.ravel())
    return np.einsum("fij,ij->if", values.reshape(len(values), *k.shape), weights)


def _sums_of_legendre(size: Array) -> Array:
    """Sums (m, 16) of Legendre polynomials over the midpoints of `size` (m,) equal cells of [-1, 1].

    By the Euler-Maclaurin formula at midpoints, which ends for a polynomial.
    """
    slopes, factors = _euler_maclaurin()
    step = 2 / size[:, None]
    powers = step ** np.arange(2, 2 * len(factors) + 1, 2)
    integral = np.zeros(_BLOCK)
    integral[0] = 2.0
    return (integral + (powers * factors) @ slopes) / step


@lru_cache(maxsize=1)
def _euler_maclaurin() -> tuple[Array, Array]:
    """Differences (8, 16) of odd derivatives of Legendre polynomials between the ends, and B_2n(1/2)/(2n)! (8,)."""
    orders = np.arange(2, _BLOCK + 1, 2)
    slopes = [
        [np.diff(legendre.legval([-1.0, 1.0], legendre.legder(row, n - 1)))[0] for row in np.eye(_BLOCK)]
        for n in orders
    ]
    halves = -(1 - 2.0 ** (1 - orders)) * bernoulli(_BLOCK)[orders]
    return np.array(slopes), halves / np.exp(gammaln(orders + 1))


def missed(p: Discrete, q: Discrete) -> int | None:
    """An integer that has mass under p and none under q, however far out; ``None`` if there is none."""
    middle = np.round(p.distribution.quantiles[3])
    near, far = np.arange(-2 * _DENSE, 2 * _DENSE + 1), 2.0 ** np.arange(11, 52)
    named = np.concatenate([_named(p), _named(q)])
    k = np.unique(np.concatenate([near, middle + near, middle + far, middle - far, named - 1, named, named + 1]))
    without = np.flatnonzero(np.isfinite(p.log_mass(k)) & np.isneginf(q.log_mass(k)))
    return int(k[without[np.argmin(np.abs(k[without] - middle))]]) if len(without) else None
