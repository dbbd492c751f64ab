"""Rows that are the same as others: copies of a whole file, and values so often repeated that they have no density."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEW", "copies_of", "copies_told", "tied", "times"]

Array = NDArray[np.float64]
#: Different rows from which on their numbers, nearly all multiples of one, are no chance.
_ROWS, _NEARLY = 20, 0.9
#: Rows for each value from which on neighbours say nothing of a density; values so few that they are no rounding.
_EACH, FEW = 5, 12


def times(counts: NDArray[np.intp]) -> int:
    """How many times everything is there, by the numbers (k,) of equal rows: what nearly all of them are multiples of.

    Examples
    --------
    >>> times(np.array([5] * 98 + [10])), times(np.array([1] * 98 + [10])), times(np.array([129, 171]))
    (5, 1, 1)
    """
    common = int(np.median(counts))
    if len(counts) < _ROWS or common < 2:
        return 1
    return next((k for k in range(common, 1, -1) if (counts % k == 0).mean() >= _NEARLY), 1)


def copies_of(data: Array) -> int:
    """How many times every row of data (n, d) is there."""
    return times(np.unique(data, axis=0, return_counts=True)[1])


def copies_told(count: int, n: int) -> str:
    """What copies of every row do to the numbers."""
    return (
        f"nearly every row is there {count} times or a multiple of it: {n} rows look like {count} copies of {n // count}. Errors are then "
        f"too small, by a factor of {np.sqrt(count):.2g}, and leaving one row out leaves its copies in; keep one of each"
    )


def tied(counts: NDArray[np.intp]) -> tuple[float, str] | None:
    """Share of the rows that repeat others, and how that is said, if values are so often repeated that neighbours tell no density.

    Parameters
    ----------
    counts : ndarray (k,)
        Rows with each value, copies of the whole left out.

    Examples
    --------
    >>> tied(np.array([129, 171])), tied(np.array([1, 1, 2, 3]))
    ((1.0, 'all 300 rows have one of 2 values'), None)
    """
    n, k = int(counts.sum()), len(counts)
    if not k or _EACH * k > n:
        return None
    share = float(counts[counts > 1].sum() / n)
    if k <= FEW:
        return share, f"all {n} rows have one of {k} values"
    return share, f"{share:.1%} of the rows have the value of another ({k} values in {n} rows)"
