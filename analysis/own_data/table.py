"""Rows of cells as a table: title lines, the line of names, a row of units, and columns that may hold numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from analysis.own_data.footers import Aside, filled, like_a_footer
from analysis.own_data.heads import names_at, values_among
from analysis.own_data.numerals import Cells, Marks, is_number, tidy
from analysis.own_data.units import is_unit

__all__ = ["Table", "UnfitError", "tabled"]

_ROWS = 100_000
#: The most rows at the end that may be footers; of those without a cell for every column as many as the table has rows.
_FOOTERS = 12
#: Width and kind of a column, which a row below the names gives in files of the USGS.
_WIDTH = re.compile(r"\d+[snd]")
#: Rows among which the names are looked for.
_HEAD = 100


class UnfitError(Exception):
    """Rows that are no table; how many fitted, what is wrong with the next, and whether it is that the columns have no names."""

    def __init__(self, told: str, rows: int, *, nameless: bool = False) -> None:
        super().__init__(told)
        self.rows, self.nameless = rows, nameless


@dataclass
class Table:
    """Columns of cells.

    Attributes
    ----------
    names : list of str
        "" where a column has none.
    line : int
        Of the names.
    columns : list of Cells
    titles : list of str
        Lines before the names.
    empty : int
        Rows within the table that hold nothing.
    aside : list of Aside
        Rows at the end that may be no observations; they are not in the columns.
    """

    names: list[str]
    line: int
    columns: list[Cells]
    titles: list[str] = field(default_factory=list)
    empty: int = 0
    aside: list[Aside] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.columns[0].rows if self.columns else 0

    def headed(self, marks: Marks) -> list[str]:
        """Cells of the first row in columns of numbers if all of them are text or empty, the empty ones left out; else none."""
        kinds = [k for column in self.columns if (k := column.kinds[marks]).numeric]
        if any(not k.headed and k.parts[0][0] == k.parts[0][0] for k in kinds):
            return []
        return [k.texts[0][1] for k in kinds if k.headed]

    def units(self, marks: Marks) -> bool:
        """Whether the first row names a unit above numbers, and is no row like those below: A1 and 2024-01-01 are no units."""
        headed = self.headed(marks)
        texts = [k.texts for column in self.columns if not (k := column.kinds[marks]).numeric and k.headed]
        if len(headed + texts) > 1 and all(map(_WIDTH.fullmatch, [*headed, *(t[0][1] for t in texts)])):
            return bool(headed)
        like = any(len(t) > 1 and any(map(str.isdigit, t[0][1])) and _shape(t[0][1]) == _shape(t[1][1]) for t in texts)
        named = sum(map(is_unit, headed))
        beside = any(not is_unit(t[0][1]) for t in texts)  # maybe a name of the row
        return not like and (2 * named > len(headed) if beside else named > 0)

    def above(self, marks: Marks) -> list[tuple[int, str]]:
        """Row and content of the cells of text in columns of numbers if all of them stand above all numbers; else none."""
        kinds = [self.columns[i].kinds[marks] for i in self.numeric(marks)]
        texts = sorted(cell for k in kinds for cell in k.texts)
        first = min((int(np.argmax(~np.isnan(k.parts[0]))) for k in kinds if not np.isnan(k.parts[0]).all()), default=0)
        return texts if len(texts) == self.wrong(marks) and all(row < first for row, _ in texts) else []

    def numeric(self, marks: Marks) -> list[int]:
        """Places of the columns of numbers."""
        return [i for i, column in enumerate(self.columns) if column.kinds[marks].numeric and column.codes is None]

    def wrong(self, marks: Marks) -> int:
        """Number of cells of text in columns of numbers."""
        return sum(self.columns[i].kinds[marks].wrong for i in self.numeric(marks))

    def sense(self, marks: Marks) -> tuple[int, int]:
        """How much sense these marks make: digits of the file that become numbers, and minus the cells of text among them."""
        columns = [self.columns[i] for i in self.numeric(marks)]
        digits = sum(column.digits - column.kinds[marks].text_digits for column in columns)
        return digits, -self.wrong(marks)

    def put_back(self, row: Aside) -> None:
        """Take a row that was set aside for an observation after all."""
        for column, cell in zip(self.columns, row.cells, strict=True):
            column.add([cell])


def _shape(text: str) -> str:
    """How a text is written: its runs of digits and of letters."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", text))


def tabled(
    rows: Iterable[list[str]],
    marks: Sequence[Marks],
    missing: Iterable[str],
    *,
    single: bool,
    blanks: bool = False,
    line: Callable[[], int],
    named: Callable[[], list[str]] | None = None,
    on_rows: Callable[[], None] | None = None,
) -> Table | None:
    """Read rows as a table.

    Parameters
    ----------
    rows : iterable of list of str
    marks : sequence of Marks
    missing : iterable of str
    single : bool
        One column.
    blanks : bool
        Divided at blanks.
    line : callable
        The line of the file that the last row ended in.
    named : callable, optional
        Names that a comment before the rows gives, asked for where the first row holds numbers.
    on_rows : callable, optional
        Called now and then.

    Returns
    -------
    Table or None
        None if there are no rows, no two cells stand in one row of a table of several columns, or blanks divide a column of text.

    Raises
    ------
    UnfitError
        If a row has too many or too few cells, or numbers stand where the names should.
    """
    numbered = ((line(), cells) for cells in rows)
    head = list(islice(numbered, _HEAD))
    place = names_at([cells for _, cells in head], single)
    if place is None:
        if len(head) < _HEAD:
            return None
        raise UnfitError(
            f"{{path}} has no line of names in its first {_HEAD} lines; leave lines out at the top with --skip", 0
        )
    at, cells = head[place]
    titles = [name for _, above in head[:place] for cell in above if (name := " ".join(cell.split()))]
    names = [" ".join(cell.split()) for cell in cells]
    first: list[tuple[int, list[str]]] = []
    numbers = [name for name in names if is_number(tidy(name))]
    if titles and blanks and (numbers or not all(any(map(str.isalnum, name)) for name in names)):
        return None  # a column of text, with its name above it
    if len(numbers) != sum(map(bool, names)):
        numbers = values_among(names, [below for _, below in head[place + 1 :]])
    if numbers:
        given = named() if named is not None and not titles else []
        if len(given) != len(names):
            x = ",".join(f"x{i}" for i in range(min(len(names), 3)))
            raise UnfitError(
                f"line {at} of {{path}} holds numbers ({', '.join(numbers):.40}) where the names of the columns should be; "
                f"add a first line such as {x}, or letters to names that are numbers",
                0,
                nameless=not titles,
            )
        first, names = [head[place]], given
    table = Table(names, at, [Cells(marks, missing) for _ in names], titles)
    _fill(table, chain(first, head[place + 1 :], numbered), single, on_rows or (lambda: None))
    return table


def _fill(table: Table, rows: Iterable[tuple[int, list[str]]], single: bool, on_rows: Callable[[], None]) -> None:
    part: list[list[str]] = []
    width, blanks, done = len(table.names), 0, 0
    needed = max(i + 1 for i, name in enumerate(table.names) if name)
    aside: list[Aside] = []
    for line, cells in rows:
        if not cells or not (cells[0].strip() or any(cell.strip() for cell in cells)):
            blanks += bool(cells) or single  # rows at the very end that hold nothing are none
            continue
        fits = len(cells) == width or (len(cells) >= needed and not any(cell.strip() for cell in cells[width:]))
        if fits and len(cells) != width:
            cells = [*cells, *[""] * (width - len(cells))][:width]
        # Most rows begin with a digit, and are no footers.
        if not fits or not cells[0][:1].isdigit() or aside:
            row = done + len(part) + blanks + len(aside)
            room = len(aside) < (_FOOTERS if fits else max(_FOOTERS, done + len(part)))
            if row > 1 and room and (like_a_footer(cells, fits=fits) or _goes_on(aside, cells)):
                aside.append(Aside(row, line, cells, fits))
                continue
            odd = next((other for other in aside if not other.fits), None if fits else Aside(row, line, cells, fits))
            if odd is not None:
                raise _unfit(odd, width, done + len(part))
        while aside or blanks:  # rows follow: it was none at the end, and what was empty lies within
            taken = aside.pop(0).cells if aside and aside[0].row == done + len(part) else [""] * width
            blanks, table.empty = (blanks, table.empty) if any(taken) else (blanks - 1, table.empty + 1)
            part.append(taken)
        part.append(cells)
        if len(part) >= _ROWS:
            _flush(table, part)
            on_rows()
            done, part = done + len(part), []
    _flush(table, part)
    table.aside = aside
    on_rows()


def _goes_on(aside: Sequence[Aside], cells: list[str]) -> bool:
    """Whether a row is the value that a row of one word announces."""
    return bool(aside) and len(filled(aside[-1].cells)) == len(filled(cells)) == 1


def _unfit(row: Aside, width: int, done: int) -> UnfitError:
    many = "s" if len(row.cells) != 1 else ""
    remedy = "give every row the same number of fields, and every column a name"
    if row.row == 0 and len(row.cells) == width + 1:
        remedy = "give the first column a name too: write.table of R leaves it out unless told col.names=NA"
    return UnfitError(
        f"line {row.line} of {{path}} has {len(row.cells)} field{many} and the line of names has {width}; {remedy}",
        done,
    )


def _flush(table: Table, part: list[list[str]]) -> None:
    if part:
        for column, cells in zip(table.columns, zip(*part, strict=True), strict=True):
            column.add(cells)
