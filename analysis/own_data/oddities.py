"""What looks odd in a column of numbers: totals, codes for missing values, and columns that count rows or time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_rows", "frequencies", "missing_codes", "no_measurement", "total_of"]

Array = NDArray[np.float64]
#: Codes for missing values besides numbers of nines, eights or sevens: -1, ends of integers, and fill values of netCDF and Fortran.
_FILLS = frozenset([1e20, 1e30, 1e36, 1e37, 9.96921e36, 32767.0, 65535.0, 2147483647.0, -1.0, -32768.0, -2147483648.0])
#: From the other values, codes are so many of their ranges away, or so much of one if several rows have each.
_AWAY, _NEARER, _SEVERAL = 1.0, 1 / 3, 3
_STEP = 3.0  # ranges from the others that -1 is, which differences take too
_LARGE = 97.0  # codes below it may be measured
#: -1 and 0 below other values are codes if several rows have them, the others are of so many kinds, and what lies between is so many
#: of their ranges, and of the widest gap in the lower half of them: amounts begin near zero, and changes around it.
_KINDS, _BELOW, _GAPS = 10, {-1.0: 0.2, 0.0: 0.5}, 3.0
#: A number of nines among the highest values is a code if it has so many digits, in so many rows, so many times as often as any other.
_NINES, _ROWS, _OFTEN, _HIGHEST = 3, 5, 4, 0.05
_ROUNDED = 1e-3  # of a total, that rounding leaves open at most
#: Rows from which on steps of one in order are no chance; and names of columns of whole numbers that tell rows apart, or when they were.
_MANY = 10
_INDEX = frozenset(
    ["unnamed: 0", "id", "idx", "index", "row", "rownum", "nr", "no", "obs", "observation", "case", "key"]
)
#: Names of a column that says how often each value of the other occurred.
_FREQUENCIES = frozenset(
    [
        "n",
        "count",
        "counts",
        "freq",
        "frequency",
        "frequencies",
        "anzahl",
        "häufigkeit",
        "haeufigkeit",
        "effectif",
        "fréquence",
        "numero",
    ]
)
_DATES = frozenset(["date", "datum", "datetime", "timestamp", "fecha"])
#: Words in the name of a column of whole numbers that name a customer, a place or a line.
_NAMING = frozenset(
    [
        "id",
        "ids",
        "no",
        "nr",
        "code",
        "key",
        "plz",
        "zip",
        "zipcode",
        "postcode",
        "postal",
        "phone",
        "telephone",
        "tel",
        "telefon",
        "fax",
        "mobile",
        "account",
        "konto",
        "iban",
        "isbn",
        "ean",
        "barcode",
        "serial",
        "uuid",
    ]
)
#: Seconds since 1970 at the ends of 2000 and 2036, and what other clocks count.
_CLOCK, _TICKS = (9.78e8, 2.1e9), (1.0, 1e3, 1e6, 1e9)
_TIMES = frozenset(["second", "minute", "hour", "day", "week", "month", "quarter", "year"])


def total_of(x: Array) -> bool:
    """Whether the last of values (n,) is, to rounding, the sum of the others, which are smaller.

    Examples
    --------
    >>> total_of(np.array([1.5, 2.0, 4.0, 7.5])), total_of(np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
    (True, False)
    """
    others = x[:-1]
    if len(x) <= 3 or x[-1] <= others.max():
        return False
    from models.unknown import rounding_unit

    # Each is rounded, and so is a total of what was not yet.
    rounding = min(rounding_unit(x) * (0.5 + np.sqrt(len(others))), _ROUNDED * abs(x[-1]))
    return bool(abs(others.sum() - x[-1]) <= max(rounding, 1e-9 * abs(x[-1])))


def missing_codes(x: Array) -> list[float]:
    """Values among x (n,) that look like codes for missing ones: at one end, and far from all others or alone below zero.

    Examples
    --------
    >>> missing_codes(np.array([3.5, -9999.0, 4.0, 5.5])), missing_codes(np.array([3.0, -9.0, -4.0, 5.0]))
    ([-9999.0], [])
    >>> missing_codes(np.array([-888.0, -999.0, 18000.0, 2400.0, 300.0]))  # of incomes
    [-999.0, -888.0]
    """
    found: list[float] = []
    for sign in (1.0, -1.0):  # the codes are the first values
        values, rows = np.unique(sign * x[~np.isin(x, found)], return_counts=True)
        first = next((i for i, value in enumerate(values) if not _is_code(sign * value)), len(values))
        for k in range(first, 0, -1):
            others = values[k:]
            if rows[k:].sum() < 3:
                continue
            gap, reach = others[0] - values[k - 1], others[-1] - others[0]
            code, several = sign * values[k - 1], rows[:k].min() >= _SEVERAL
            small, whole = abs(code) < _LARGE, code == np.rint(code)
            if small and not (whole and (several or code < 0)):  # a cold day, a price
                continue
            alone = code < 0 <= others[0] and (several or not small) and code != -1
            if (
                gap >= (_STEP if code == -1 else _AWAY) * reach
                or (alone and not small)
                or (several and (alone or not small) and gap > _NEARER * reach)
            ):
                found += (sign * values[:k]).tolist()
                break
    return found or _lone_code(x)


def _lone_code(x: Array) -> list[float]:
    """A value among x (n,) that is a code by how often it stands where no others do.

    Examples
    --------
    >>> ages = np.arange(20.0, 60.0)
    >>> _lone_code(np.append(ages, [-1, -1, -1])), _lone_code(np.append(ages - 19, [-1, -1, -1])), _lone_code(np.append(ages - 9, [0] * 5))
    ([-1.0], [], [])
    """
    values, rows = np.unique(x, return_counts=True)
    others = values[1:]
    if len(others) >= _KINDS and (reach := _BELOW.get(float(values[0]))) is not None and rows[0] >= _SEVERAL:
        gap, usual = others[0] - values[0], float(np.diff(others[: len(others) // 2 + 1]).max())
        if others[0] > 0 and gap > max(reach * (others[-1] - others[0]), _GAPS * usual):
            return [float(values[0])]
    most = int(np.argmax(rows))
    digits = f"{values[most]:.10g}"
    nines = len(digits) >= _NINES and set(digits) == {"9"}
    often = len(values) > _KINDS and rows[most] >= max(_ROWS, _OFTEN * np.delete(rows, most).max())
    return [float(values[most])] if nines and often and rows[most + 1 :].sum() <= _HIGHEST * len(x) else []


def _is_code(value: float) -> bool:
    """Whether a value may be a code; single precision has no 1e20."""
    digits = f"{abs(value):.10g}".replace(".", "")
    if set(digits[:-1]) == {"9"} and digits[-1] in "789" and value == np.rint(value):  # 97, 98 and 99 of surveys
        return True
    return set(digits) in ({"9"}, {"8"}, {"7"}) or (float(f"{value:.6g}") if abs(value) > 1e19 else value) in _FILLS


def counts_rows(name: str, x: Array) -> str | None:
    """What a column of this name with values (n,) does instead of measuring: it counts rows, holds dates, or its name and numbers say so.

    Examples
    --------
    >>> x = np.array([3.0, 1, 4, 15, 9, 2, 6, 5, 35, 8])
    >>> counts_rows("a", np.arange(10.0)), counts_rows("ID", x), counts_rows("day", np.sort(x)), counts_rows("day", x)
    ('counts the rows', 'tells rows apart', 'tells when rows were taken', None)
    """
    known = name.strip().casefold()
    if len(x) < 3 or not np.isfinite(x).all():
        return None
    if known in _DATES or _are_dates(x):  # a sheet counts days, with hours as their fractions
        return "holds dates"
    if len(x) < _MANY or (x != np.rint(x)).any():
        return None
    steps = np.diff(x)
    if (steps == 1).all():
        return "counts the rows"
    if (steps >= 0).all() and any(_CLOCK[0] * tick <= x[0] and x[-1] < _CLOCK[1] * tick for tick in _TICKS):
        return "holds times of a clock that counts from 1970"
    if known in _INDEX and (len(np.unique(x)) == len(x) or np.abs(x).max() >= 2.0**53):
        return "tells rows apart"
    return "tells when rows were taken" if known in _TIMES and (steps > 0).all() else None


def frequencies(names: Sequence[str], columns: Sequence[Array]) -> tuple[str, str] | None:
    """Names of a column of values, in order, and of their frequencies, if two columns (n,) are such a table.

    Examples
    --------
    >>> frequencies(["value", "n"], [np.arange(5.0), np.array([135.0, 283, 397, 463, 12])])
    ('value', 'n')
    >>> frequencies(["n", "weight"], [np.array([7.0, 7, 2, 3, 5]), np.array([71.5, 80, 90, 66, 59])])
    """
    if len(names) != 2:
        return None
    for i, j in ((0, 1), (1, 0)):
        counts, values = columns[j], columns[i]
        named = re.split(r"[^a-zäöüéê]+", names[j].strip().casefold())[0] in _FREQUENCIES
        whole = np.isfinite(counts).all() and (counts == np.rint(counts)).all() and counts.min() >= 0
        years = values.min() >= 1800 and values.max() < 2200
        steps = np.diff(values)
        ordered = len(steps) > 1 and bool((steps > 0).all() or (steps < 0).all())
        if named and whole and not years and ordered and counts.max() > 1:
            return names[i], names[j]
    return None


def no_measurement(name: str, x: Array) -> str | None:
    """What a column of this name with values (n,) does that is likely no measurement: it counts rows, goes in equal steps, or is named as a code.

    Examples
    --------
    >>> no_measurement("a", np.arange(1990.0, 2000)), no_measurement("customer_no", np.array([4171.0, 2718, 3141]))
    ('counts the rows', 'seems by its name to tell things apart')
    """
    steps = np.diff(x)
    if len(x) < 3:
        return None
    if (steps == 1).all():
        return "counts the rows"
    if steps[0] != 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0):
        return "goes in equal steps"
    words = {word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name)}
    if (x == np.rint(x)).all() and words & _NAMING and x.min() >= 0 and 2 * len(np.unique(x)) > len(x):
        return "seems by its name to tell things apart"
    return None


def _are_dates(x: Array) -> bool:
    """Whether whole numbers (n,) are dates such as 20240131."""
    month, day = x // 100 % 100, x % 100
    months = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(x.min() > 1.8e7 and x.max() < 2.2e7 and (x == np.rint(x)).all() and months.all())
