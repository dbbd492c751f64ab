"""What no joint density of several columns has: mass on values, on the whole numbers of counts, and on lines and planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from analysis.own_data.ties import FEW
from analysis.own_data.values import Singular, values_of
from models.errors import InputError
from models.unknown import rounding_unit

__all__ = ["PAIRED", "refuse_dependent", "singular_parts"]

Array = NDArray[np.float64]
#: Of the spread of a column, what counts as nothing: numbers are written, and added up, to so many digits.
_EXACT = 1e-9
_ROWS = 20_000  # that are searched for lines, chosen at random where there are more
_PAIRS = 100_000  # of rows, whose slopes are compared: between rows on one line it is the same
_SLOPES, _OFTEN = 3, 5  # the most frequent are tried, if so many pairs have them
PAIRED = 20  # columns up to which every two are looked at
_WIDEST = 8  # columns up to which every three are looked at for one that is the sum of the others
#: Mass is on a line if this share of the rows is, so many times what chance and rounding lead to expect.
_LEAST, _ABOVE, _WINDOW = 0.01, 8.0, 5.0


def singular_parts(columns: Sequence[Array], names: Sequence[str]) -> tuple[Singular, ...]:
    """Everything in columns (n,) that no joint density has; nothing if there is no such mass. Of many, relations are not looked for.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b, c = rng.normal(size=200), rng.normal(size=200), rng.poisson(2.0, 200)
    >>> b[:30] = 5 - 2 * a[:30]
    >>> [part.told for part in singular_parts([a, b, c], ["a", "b", "c"])]
    ['', 'b = -2 a + 5']
    """
    found, smooth = [], np.ones(len(columns[0]), dtype=bool)
    rest: list[int] = []
    for i, column in enumerate(columns):
        values = values_of(column)
        if values.kind == "counts":
            found.append(Singular("counts", (names[i],), 1.0))
            continue
        if values.singular and len(np.unique(column)) <= FEW:  # rounded columns may be dense together
            found.append(replace(values.singular[0], columns=(names[i],)))
            continue
        rest.append(i)
        for value, share in values.atoms:
            found.append(Singular("value", (names[i],), share, f"{value + 0.0:g}"))
            smooth &= column != value
    data = np.column_stack(columns)
    pairs = combinations(rest, 2) if len(rest) <= PAIRED else ()
    for chosen in (*pairs, *(combinations(rest, 3) if len(rest) <= _WIDEST else ())):
        found += _relations(data[smooth][:, chosen], [names[i] for i in chosen], float(smooth.mean()))
    return tuple(found)


def refuse_dependent(data: Array, names: Sequence[str]) -> None:
    """Refuse data (n, d) in which a column is constant, or follows from others in every row.

    Raises
    ------
    InputError
        That names the columns and how they hang together.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=9)
    >>> refuse_dependent(np.column_stack([x, x**2, 32 + 1.8 * x]), ["C", "square", "F"])
    Traceback (most recent call last):
    models.errors.InputError: F = 1.8 C + 32 in every row: columns 'C', 'F' have no joint density; leave one of them out
    """
    n, dim = data.shape
    middle = np.median(data, axis=0)
    scale = np.abs(data - middle).max(axis=0)
    for name, column in zip(names, data.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"column {name!r} is {column[0]:g} in every row; it has no density: leave it out")
    if n <= dim + 1:
        return
    z = (data - middle) / scale
    base: list[int] = []
    for j in range(dim):
        design = np.column_stack([np.ones(n), z[:, base]])
        slopes = np.linalg.lstsq(design, z[:, j])[0]
        if np.abs(z[:, j] - design @ slopes).max() > _EXACT:
            base.append(j)
            continue
        used = [(k, s) for k, s in zip(base, slopes[1:], strict=True) if abs(s) > 1e-6]
        coefs = [_short(s * scale[j] / scale[k]) for k, s in used]
        offset = float(np.median(data[:, j] - data[:, [k for k, _ in used]] @ np.array(coefs)))
        told = _line(names[j], [names[k] for k, _ in used], coefs, offset, scale[j])
        named = ", ".join(repr(names[k]) for k in (*(k for k, _ in used), j))
        raise InputError(f"{told} in every row: columns {named} have no joint density; leave one of them out")


def _relations(data: Array, names: Sequence[str], share: float) -> Iterator[Singular]:
    """Relations between two columns (n, 2), or sums of three (n, 3), that rows hold exactly; share is that of these rows."""
    few = data if len(data) <= _ROWS else np.random.default_rng(0).choice(data, _ROWS, replace=False)
    points = np.unique(few, axis=0)  # copies of a row are on every line
    if len(points) < 2 * _OFTEN:
        return
    units = np.array([rounding_unit(column) for column in points.T])
    for coefs in _candidates(points):
        spread = float((points * coefs).std(axis=0).max())
        for offset in _offsets(points, coefs, units, spread):
            held = float((np.abs(data @ coefs - offset) <= _EXACT * spread).mean()) * share
            yield Singular("relation", tuple(names), held, _told(names, coefs, offset, spread))


def _candidates(points: Array) -> list[Array]:
    """Coefficients (d,) of sums that may be constant: of two columns by the most frequent slopes, of three by signs."""
    if points.shape[1] == 3:
        return [np.array(signs) for signs in ((1.0, 1, -1), (1.0, -1, 1), (-1.0, 1, 1), (1.0, 1, 1))]
    i, j = np.random.default_rng(0).integers(0, len(points), (2, _PAIRS))
    steps = (points[i] - points[j])[(points[i] != points[j]).all(axis=1)]
    slopes = steps[:, 1] / steps[:, 0]
    found = [1.0, -1.0]
    for sign in (1, -1):
        alike = slopes[np.sign(slopes) == sign]
        _, at, counts = np.unique(np.round(np.log(np.abs(alike)), 7), return_index=True, return_counts=True)
        best = np.argsort(-counts)[:_SLOPES]
        found += [_short(float(alike[at[k]])) for k in best if counts[k] >= _OFTEN]
    return [np.array([-slope, 1.0]) for slope in dict.fromkeys(found)]


def _offsets(points: Array, coefs: Array, units: Array, spread: float) -> list[float]:
    """Values of a sum of columns that more rows have than rounding, and columns that know nothing of each other, explain."""
    total = points @ coefs
    shuffled = np.column_stack([points[:, :-1], np.random.default_rng(0).permutation(points[:, -1])]) @ coefs
    steps = np.abs(coefs) * units
    rounded = bool((steps > 0).all())
    _, at, counts = np.unique(np.rint(total / (_EXACT * spread)), return_index=True, return_counts=True)
    found = []
    for k in np.flatnonzero((counts >= max(_LEAST * len(total), _OFTEN)) & (counts > _ABOVE)):
        away = np.abs(total - total[at[k]])
        expected = float((np.abs(shuffled - total[at[k]]) <= _EXACT * spread).sum())
        others = away[away > _EXACT * spread]
        if rounded:
            reach = _WINDOW * steps.sum()
            expected = max(expected, float((others <= reach).sum() * steps.min() / (2 * reach)))
            if not len(others) or np.median(others) <= reach:  # all differ by little more than their rounding
                continue
        if counts[k] > _ABOVE * (expected + 1):
            found.append(float(total[at[k]]))
    return found if len(found) <= _SLOPES else []


# --- words -----------------------------------------------------------------------------------------------------------


def _short(value: float) -> float:
    """The decimal of six digits that a number is to rounding, else the number."""
    near = float(f"{value:.6g}")
    return near if abs(near - value) <= 1e-7 * abs(value) else value


def _told(names: Sequence[str], coefs: Array, offset: float, spread: float) -> str:
    """A relation as it is written: ``a = b``, ``a + b = 100``, ``b = 2 a``, ``a + b = c``."""
    if len(names) == 2 and coefs[0] != 1:
        return _line(names[1], names[:1], [-float(coefs[0])], offset, spread)
    left, right = ([name for name, c in zip(names, coefs, strict=True) if c * sign > 0] for sign in (1, -1))
    end = [f"{_short(offset):.6g}"] if not right or abs(offset) > _EXACT * spread else []
    return f"{' + '.join(left)} = {' + '.join(right + end)}"


def _line(name: str, others: Sequence[str], coefs: Sequence[float], offset: float, spread: float) -> str:
    terms = [{1.0: "", -1.0: "-"}.get(c, f"{c:.6g} ") + other for other, c in zip(others, coefs, strict=True)]
    end = [f"{_short(offset):.6g}"] if abs(offset) > _EXACT * spread else []
    return f"{name} = {' + '.join([*terms, *end])}".replace("+ -", "- ")
