"""Rows of cells as a table: title lines, the line of names, a row of units, and columns that may hold numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from analysis.own_data.numerals import Cells, Marks, is_number, tidy

__all__ = ["Table", "UnfitError", "tabled"]

_ROWS = 100_000


class UnfitError(Exception):
    """Rows that are no table; how many fitted, and what is wrong with the next."""

    def __init__(self, told: str, rows: int) -> None:
        super().__init__(told)
        self.rows = rows


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
    """

    names: list[str]
    line: int
    columns: list[Cells]
    titles: list[str] = field(default_factory=list)
    empty: int = 0

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.columns[0].rows if self.columns else 0

    def units(self, marks: Marks) -> bool:
        """Whether the first row holds text wherever the others hold numbers."""
        odd = False
        for column in self.columns:
            kind = column.kinds[marks]
            if kind.numbers and kind.wrong == 0 and len(kind.parts) and kind.parts[0][0] == kind.parts[0][0]:
                return False
            odd |= kind.numbers > 0 and kind.wrong == 1 and kind.first_wrong is not None and kind.first_wrong[0] == 0
        return odd

    def numeric(self, marks: Marks) -> list[int]:
        """Places of the columns that hold nothing but numbers, a first row of units apart."""
        units = self.units(marks)
        return [
            i for i, column in enumerate(self.columns)
            if (kind := column.kinds[marks]).numbers and column.codes is None
            and (kind.wrong == 0 or (units and kind.wrong == 1 and kind.first_wrong is not None and kind.first_wrong[0] == 0))
        ]  # fmt: skip

    def digits(self, marks: Marks) -> int:
        """Digits of the file that these marks make numbers of."""
        return sum(self.columns[i].digits for i in self.numeric(marks))


def tabled(
    rows: Iterable[list[str]],
    marks: Sequence[Marks],
    missing: Iterable[str],
    *,
    single: bool,
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
    line : callable
        The line of the file that the last row ended in.
    named : callable, optional
        Names that a comment before the rows gives, asked for where the first row holds numbers.
    on_rows : callable, optional
        Called now and then.

    Returns
    -------
    Table or None
        None if there are no rows, or no two cells stand in one row of a table of several columns.

    Raises
    ------
    UnfitError
        If a row has too many or too few cells, or numbers stand where the names should.
    """
    rows = iter(rows)
    titles: list[str] = []
    for cells in rows:
        names = [" ".join(cell.split()) for cell in cells]
        filled = [name for name in names if name]
        if len(filled) > 1 or (single and filled):
            break
        titles += filled
    else:
        return None
    first: list[list[str]] = []
    if all(is_number(tidy(name)) for name in filled):
        given = named() if named is not None and not titles else []
        if len(given) != len(names):
            x = ",".join(f"x{i}" for i in range(min(len(names), 3)))
            raise UnfitError(
                f"line {line()} of {{path}} holds numbers ({', '.join(names):.40}) where the names of the columns should be; "
                f"add a first line such as {x}",
                0,
            )
        first, names = [cells], given
    table = Table(names, line(), [Cells(marks, missing) for _ in names], titles)
    _fill(table, first, rows, single, line, on_rows or (lambda: None))
    return table


def _fill(
    table: Table,
    part: list[list[str]],
    rows: Iterable[list[str]],
    single: bool,
    line: Callable[[], int],
    on_rows: Callable[[], None],
) -> None:
    width, waiting, done = len(table.names), 0, 0
    needed = max(i + 1 for i, name in enumerate(table.names) if name)
    for cells in rows:
        if not cells or not (cells[0].strip() or any(cell.strip() for cell in cells)):
            waiting += bool(cells) or single  # rows at the very end that hold nothing are none
            continue
        if waiting:
            part += [[""] * width] * waiting
            table.empty, waiting = table.empty + waiting, 0
        if len(cells) != width:
            if len(cells) < needed or any(cell.strip() for cell in cells[width:]):
                raise UnfitError(
                    f"line {line()} of {{path}} has {len(cells)} field{'s' if len(cells) != 1 else ''} and the line of names has "
                    f"{width}; give every row the same number of fields, and every column a name",
                    done + len(part),
                )
            cells = [*cells, *[""] * (width - len(cells))][:width]
        part.append(cells)
        if len(part) >= _ROWS:
            _flush(table, part)
            on_rows()
            done, part = done + len(part), []
    _flush(table, part)
    on_rows()


def _flush(table: Table, part: list[list[str]]) -> None:
    if part:
        for column, cells in zip(table.columns, zip(*part, strict=True), strict=True):
            column.add(cells)
