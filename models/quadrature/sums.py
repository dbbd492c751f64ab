"""Sums over the integers under a discrete law, term by term, with a bound on what is left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.quadrature.rules import Estimate, rounding, weighted
from models.targets import Discrete

__all__ = ["missed", "sum_over"]

Array = NDArray[np.float64]

_BLOCK = 1024  # integers in the first block on either side; every next one is twice as long
_MOST = 1 << 23  # integers on either side
_LEFT_OUT = 1e-18
_FARTHEST = 1 << 52  # beyond it floats are not all integers
_TOO_MANY = "the law is spread over too many integers to be summed"


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
        The error bounds what is left out, by the last ratio of terms, and what rounding did: in the sum, and in the masses, by
        how far their sum is from 1.
    """
    middle = int(target.distribution.quantiles[3])
    terms, masses, error = [], [], 0.0
    for side in (1, -1):
        start, length = (middle, _BLOCK) if side > 0 else (middle - 1, _BLOCK)
        while True:
            k = start + side * np.arange(length)
            mass = np.exp(target.log_mass(k))
            with np.errstate(invalid="ignore", over="ignore"):
                part = weighted(f(k), mass)
            if np.isinf(part).any():
                return Estimate(float(part[np.isinf(part)][0]), 0.0, "exact")
            terms.append(part)
            masses.append(mass)
            left_out = max(_beyond(mass), _beyond(np.abs(part)))
            if left_out <= _LEFT_OUT and _settled(target, k, side):
                error += left_out
                break
            if length >= _MOST:
                return Estimate(np.nan, np.inf, "exact", _TOO_MANY)
            start, length = start + side * length, 2 * length
    summed, mass = np.concatenate(terms), np.concatenate(masses)
    value = float(np.sort(summed).sum())
    defect = abs(float(np.sort(mass).sum()) - 1)
    return Estimate(value, error + rounding(summed) + 3 * defect * (1 + abs(value)), "exact")


def _beyond(terms: Array) -> float:
    """Bound on the sum of the terms after these: at least geometric decay goes on."""
    last, before = float(terms[-1]), float(terms[-len(terms) // 2])
    if last == 0:
        return 0.0
    ratio = (last / before) ** (2 / len(terms)) if before > 0 else 1.0
    return last / (1 - ratio) if ratio < 1 else np.inf


def _settled(target: Discrete, k: Array, side: int) -> bool:
    """Whether no mass to speak of follows: farther out it only falls."""
    steps = 2 ** np.arange(1, 40)
    far = target.log_mass(k[-1] + side * steps)
    return bool(np.all(far < -40) and np.all(np.diff(np.concatenate([[0.0], np.maximum(far, -1e300)])) <= 0))


def missed(p: Discrete, q: Discrete) -> int | None:
    """An integer that has mass under p and none under q, however far out; ``None`` if there is none."""
    middle = int(p.distribution.quantiles[3])
    near = middle + np.arange(-4 * _BLOCK, 4 * _BLOCK + 1)
    far = np.concatenate([2 ** np.arange(12, 52), *(np.asarray(_landmarks(one)) for one in (p, q))]).astype(np.int64)
    k = np.unique(np.concatenate([near, middle + far, middle - far, far, far + 1, far - 1]))
    k = k[np.abs(k) <= _FARTHEST]
    without = np.flatnonzero(np.isfinite(p.log_mass(k)) & np.isneginf(q.log_mass(k)))
    return int(k[without[np.argmin(np.abs(k[without] - middle))]]) if len(without) else None


def _landmarks(target: Discrete) -> list[float]:
    """The integers that the parameters name: where supports end."""
    values = np.concatenate([np.ravel(v) for v in target.distribution.values()])
    whole = values[(values == np.round(values)) & (np.abs(values) < _FARTHEST)]
    return [*whole.tolist(), float(len(values))]
