"""Weights of rows: numbers of equal rows if they are whole, else what each row counts for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["counted", "mean_of", "shares_of"]

Array = NDArray[np.float64]


def counted(weights: Array | None) -> bool:
    """Whether weights (n,) are numbers of equal rows: all are whole."""
    return weights is not None and bool((weights == np.rint(weights)).all())


def shares_of(weights: Array | None, n: int) -> tuple[Array, Array]:
    """Shares (n,) of the rows in a mean, and how many equal rows each stands for (n,)."""
    if weights is None:
        return np.full(n, 1 / n), np.ones(n)
    return weights / weights.sum(), np.maximum(weights, 1.0) if counted(weights) else np.ones(n)


def mean_of(terms: Array, shares: Array, copies: Array) -> tuple[float, float]:
    """Mean of terms (n,) and its standard error: rows are independent, and equal ones too.

    Examples
    --------
    >>> x, counts = np.array([1.0, 2.0, 5.0]), np.array([2.0, 1.0, 3.0])
    >>> once, repeated = mean_of(x, *shares_of(counts, 3)), mean_of(np.repeat(x, [2, 1, 3]), *shares_of(None, 6))
    >>> bool(np.allclose(once, repeated))
    True
    """
    mean = float(shares @ terms)
    return mean, float(np.sqrt((shares**2 / copies) @ (terms - mean) ** 2)) if np.isfinite(mean) else np.nan
