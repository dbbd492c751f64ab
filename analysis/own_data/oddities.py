"""What looks odd in a column of numbers: totals, codes for missing values, and columns that count rows or time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_rows", "missing_code", "no_measurement", "total_of"]

Array = NDArray[np.float64]
#: What instruments and surveys write for a missing value, and how many ranges of all others it lies away from them.
_CODES = (
    -9.0,
    -99.0,
    -99.9,
    -999.0,
    -999.9,
    -9999.0,
    -9999.9,
    -99999.0,
    999.0,
    999.9,
    9999.0,
    9999.9,
    99999.0,
    999999.0,
)
_AWAY = 1.0
#: Rows from which on steps of one in order are no chance; and names of columns of whole numbers that tell rows apart, or when they were.
_MANY = 10
_INDEX = frozenset(["id", "idx", "index", "row", "rownum", "nr", "no", "obs", "observation", "case", "key"])
_TIMES = frozenset(["second", "minute", "hour", "day", "week", "month", "quarter", "year"])


def total_of(x: Array) -> bool:
    """Whether the last of values (n,) is the sum of the others, which are smaller.

    Examples
    --------
    >>> total_of(np.array([1.5, 2.0, 4.0, 7.5])), total_of(np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
    (True, False)
    """
    others = x[:-1]
    return bool(len(x) > 3 and x[-1] > others.max() and abs(others.sum() - x[-1]) <= 1e-9 * abs(x[-1]))


def missing_code(x: Array) -> float | None:
    """The value among x (n,) that looks like a code for a missing one: of nines, and far from all others.

    Examples
    --------
    >>> missing_code(np.array([3.5, -9999.0, 4.0, 5.5])), missing_code(np.array([3.0, -9.0, -4.0, 5.0]))
    (-9999.0, None)
    """
    for end, value in ((0, float(x.min())), (1, float(x.max()))):
        others = x[x != value]
        if value not in _CODES or len(others) < 3:
            continue
        gap = others.min() - value if end == 0 else value - others.max()
        if gap > _AWAY * np.ptp(others):
            return value
    return None


def counts_rows(name: str, x: Array) -> str | None:
    """What a column of this name with values (n,) does instead of measuring: it counts rows, or its name and its numbers say so.

    Examples
    --------
    >>> x = np.array([3.0, 1, 4, 15, 9, 2, 6, 5, 35, 8])
    >>> counts_rows("a", np.arange(10.0)), counts_rows("ID", x), counts_rows("day", np.sort(x)), counts_rows("day", x)
    ('counts the rows', 'tells rows apart', 'tells when rows were taken', None)
    """
    steps = np.diff(x)
    if len(x) < _MANY or (x != np.rint(x)).any():
        return None
    if (steps == 1).all():
        return "counts the rows"
    if name.strip().casefold() in _INDEX and len(np.unique(x)) == len(x):
        return "tells rows apart"
    return "tells when rows were taken" if name.strip().casefold() in _TIMES and (steps > 0).all() else None


def no_measurement(x: Array) -> str | None:
    """What values (n,) do that are likely no measurement: they count rows, rise in equal steps, or are dates.

    Examples
    --------
    >>> no_measurement(np.arange(1990.0, 2000)), no_measurement(np.array([20240131.0, 20240201, 20240203]))
    ('counts the rows', 'looks like dates')
    """
    steps = np.diff(x)
    if len(x) < 3:
        return None
    if (steps == 1).all():
        return "counts the rows"
    if steps[0] != 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0):
        return "goes in equal steps"
    if (x == np.rint(x)).all() and x.min() > 1.8e7 and x.max() < 2.2e7:
        month, day = x // 100 % 100, x % 100
        return "looks like dates" if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all() else None
    return None
