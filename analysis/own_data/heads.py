"""The line of names among the first rows of a table, and whether it holds names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from analysis.own_data.footers import filled
from analysis.own_data.numerals import MARKS, is_number, number_of, tidy
from analysis.own_data.units import beside, without

__all__ = ["names_at", "values_among"]

#: Numbers of which as many rise in equal steps by more than chance, and years.
_SERIES, _YEARS = 3, range(1800, 2200)


def names_at(head: Sequence[Sequence[str]], single: bool) -> int | None:
    """Place of the names among the first rows: the first row of several cells, if no wider table of text above numbers follows it.

    Exports of banks begin with rows of two or three cells, such as the name of the account and its balance.
    """
    reach = [max((i + 1 for i, cell in enumerate(cells) if cell.strip()), default=0) for cells in head]
    named = [sum(bool(cell.strip()) for cell in cells) for cells in head]
    several = [
        i for i, count in enumerate(named)
        if count > 1 or (count and (single or _beside_an_index(head[i], head[i + 1 : i + 2])))
    ]  # fmt: skip
    if not several:
        return None
    first, widest = several[0], reach.index(max(reach))
    wide, below = filled(head[widest]), [r for r in reach[widest + 1 :] if r]
    above = [next(iter(filled(cells)), "") for cells in head[first:widest]]
    is_head = (
        len(set(wide)) == len(wide) > named[first]
        and not any(map(is_number, [*wide, *above]))
        and 2 * sum(r >= len(wide) for r in below) > len(below)
    )
    return widest if is_head and not single else first


def _beside_an_index(cells: Sequence[str], following: Sequence[Sequence[str]]) -> bool:
    """Whether a row of one cell, not the first, is the name of a column beside an index without one, as R writes it."""
    return not cells[0].strip() and any(
        len(row) == len(cells) == len(filled(row)) and any(is_number(tidy(cell)) for cell in row) for row in following
    )


def values_among(names: Sequence[str], below: Sequence[Sequence[str]]) -> list[str]:
    """Numbers among names that are values, as those of the columns below: then the line is no line of names.

    A number is a name if none such as it stands below it: with decimals, or not far from all others. Years and classes that
    follow each other are names.

    Parameters
    ----------
    names : sequence of str
    below : sequence of sequences of str
        Rows that follow.

    Examples
    --------
    >>> rows = [["a", "3.5", "7"], ["b", "4.5", "2"], ["c", "1.5", "5"]]
    >>> values_among(["x", "2.5", "4"], rows), values_among(["x", "2019", "2020"], rows), values_among(["x", "y", "z"], rows)
    (['2.5', '4'], [], [])
    """
    numbers, values = [], []
    for i, name in enumerate(names):
        column = [tidy(row[i]) for row in below if i < len(row) and row[i].strip()]
        unit = beside(column)
        plain = [without(cell, unit) or "" if any(unit) else cell for cell in (tidy(name), *column)]
        if is_number(plain[0]):
            numbers.append(_read(plain[0]))
            values += [name] if _alike(plain[0], [cell for cell in plain[1:] if is_number(cell)]) else []
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    years = len(numbers) > 1 and steps <= {1.0, -1.0} and all(n in _YEARS for n in numbers)
    series = len(numbers) >= _SERIES and len(steps) == 1 and 0.0 not in steps
    return [] if years or series else values


def _alike(name: str, cells: Sequence[str]) -> bool:
    """Whether a number is as those of the cells: with a mark of decimals only if they have one, and not far from all of them."""
    if not cells or (_divided(name) and not any(map(_divided, cells))):
        return False
    values = [_read(cell) for cell in cells]
    spread = max(values) - min(values)
    return min(values) - spread <= _read(name) <= max(values) + spread


def _divided(cell: str) -> bool:
    return "." in cell or "," in cell


def _read(cell: str) -> float:
    """A number by the plainest marks that fit."""
    return next(found[0] for marks in MARKS if (found := number_of(cell, marks)) is not None)
