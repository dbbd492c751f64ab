"""Weights of rows: numbers of equal rows if they are whole, else what each row counts for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["counted", "effective", "repeated", "shares_of", "size_of", "weighted_mean"]

Array = NDArray[np.float64]
_MOST = 1e6  # values in all that are looked at


def counted(weights: Array | None) -> bool:
    """Whether weights (n,) are numbers of equal rows: all are whole."""
    return weights is not None and bool((weights == np.rint(weights)).all())


def shares_of(weights: Array | None, n: int) -> tuple[Array, Array]:
    """Shares (n,) of the rows in a mean, and how many equal rows each stands for (n,)."""
    if weights is None:
        return np.full(n, 1 / n), np.ones(n)
    return weights / weights.sum(), np.maximum(weights, 1.0) if counted(weights) else np.ones(n)


def size_of(weights: Array | None, n: int) -> int:
    """Number of observations: of n rows, or of the equal rows that they stand for."""
    return int(weights.sum()) if weights is not None and counted(weights) else n


def effective(weights: Array) -> float:
    """How many rows of equal weight tell a mean as well as rows of these weights (n,) (Kish, 1965, section 11.7).

    Examples
    --------
    >>> effective(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def repeated(x: Array, weights: Array | None) -> Array:
    """Values (n,) as often as they were observed, if the weights say so; of very many as often in proportion.

    Examples
    --------
    >>> repeated(np.array([3.0, 4.0, 7.0]), np.array([2.0, 0.0, 1.0])).tolist()
    [3.0, 3.0, 7.0]
    """
    if weights is None or not counted(weights):
        return x
    return np.repeat(x, np.ceil(weights * min(1.0, _MOST / weights.sum())).astype(int))


def weighted_mean(terms: Array, shares: Array, copies: Array) -> tuple[float, float]:
    """Mean of terms (n,) and its standard error: rows are independent, and equal ones too.

    Examples
    --------
    >>> x, counts = np.array([1.0, 2.0, 5.0]), np.array([2.0, 1.0, 3.0])
    >>> once, repeated = weighted_mean(x, *shares_of(counts, 3)), weighted_mean(np.repeat(x, [2, 1, 3]), *shares_of(None, 6))
    >>> bool(np.allclose(once, repeated))
    True
    """
    mean = float(shares @ terms)
    return mean, float(np.sqrt((shares**2 / copies) @ (terms - mean) ** 2)) if np.isfinite(mean) else np.nan
