"""Rounded and repeated values, which a density forbids: found, and blurred only on request."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["jittered", "repeated", "rounding_unit"]

Array = NDArray[np.float64]


def rounding_unit(values: ArrayLike) -> float:
    """Return the unit that values (n,) are rounded to: all their differences are its multiples; 0 if there is none.

    Where most values are repeated, the unit is the common gap between neighbouring values, also if decimals
    make it look finer (seconds written as minutes with three decimals): if hardly any gap is smaller.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=500)
    >>> rounding_unit(x), round(rounding_unit(np.round(x, 2) / 3) * 3, 9), rounding_unit([0.1502, 0.1504, 0.1507, 0.151])
    (0.0, 0.01, 0.0001)
    """
    array = np.asarray(values, dtype=float)
    distinct = np.unique(array)
    gaps = np.diff(distinct)
    if not len(gaps):
        return 0.0
    resolution = 4 * np.spacing(np.abs(distinct).max())
    smallest = gaps[gaps > resolution].min() if (gaps > resolution).any() else gaps.min()
    # A gap is known to rounding, and so is the unit, which counts once for every multiple.
    allowed = 1e-6 + resolution / smallest * (1 + gaps / smallest)
    multiples = gaps / smallest
    decidable = allowed < 0.05
    if decidable.sum() < min(10, len(gaps)) or (np.abs(multiples - np.rint(multiples)) > allowed)[decidable].any():
        unit = _decimal_unit(distinct, resolution)
    else:
        unit = float(smallest)
    if unit and len(distinct) < 0.75 * len(array):
        # Rows that are repeated whole have gaps of all sizes, and the common one is no unit.
        common = float(np.quantile(gaps, 0.25))
        if common > 3 * unit and (gaps < common - 1.5 * unit).mean() < 0.05:
            return common
    return unit


def _decimal_unit(distinct: Array, resolution: float) -> float:
    """The power of ten that all values are multiples of, if it is coarse enough for that to be no accident; else 0."""
    top = int(np.floor(np.log10(np.abs(distinct).max() or 1.0)))
    for power in range(top, top - 13, -1):
        multiples = distinct / 10.0**power
        allowed = resolution / 10.0**power + 1e-12
        if allowed > 1e-3:
            break
        if (np.abs(multiples - np.rint(multiples)) <= allowed).all():
            return 10.0**power
    return 0.0


def repeated(data: Array) -> int:
    """Return the number of rows of (n, d) that are equal to another.

    Examples
    --------
    >>> repeated(np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]]))
    2
    """
    order = np.lexsort(data.T)
    same = (data[order[1:]] == data[order[:-1]]).all(axis=1)
    return int((np.append(same, False) | np.append(False, same)).sum())


def jittered(data: Array, units: Array, seed: int) -> Array:
    """Return values (n, d) with uniform noise as wide as the units (d,) of their columns."""
    return np.asarray(data + np.random.default_rng(seed).uniform(-0.5, 0.5, data.shape) * units)
