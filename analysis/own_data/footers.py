"""Rows below a table that are no observations: totals and means, and lines of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.own_data.numerals import Cells, Marks, is_missing, is_number, number_of, tidy
from analysis.own_data.oddities import missing_codes

__all__ = ["Aside", "filled", "like_a_footer", "why_no_observation"]

Array = NDArray[np.float64]
#: What the first word of a row may announce: of German, English, French, Italian, Spanish, Portuguese and Dutch tables.
_WORDS = {
    "sum": "summe summen gesamt gesamtsumme insgesamt endsumme total totals sum grand somme totale totaux totali suma soma totaal som",
    "mean": "mittelwert mittel durchschnitt mw mean average avg moyenne media média promedio gemiddelde",
    "median": "median médiane mediana mediaan",
    "smallest value": "min minimum minimo mínimo",
    "largest value": "max maximum massimo máximo",
    "standard deviation": "standardabweichung stabw std sd stdev stddev standard",
    "number of values": "anzahl n count nombre numero número aantal",
}  # fmt: skip
_MEANS = {word: name for name, words in _WORDS.items() for word in words.split()}
_VALUES: dict[str, Callable[[Array], Sequence[float]]] = {
    "sum": lambda x: (x.sum(),),
    "mean": lambda x: (x.mean(),),
    "median": lambda x: (float(np.median(x)),),
    "smallest value": lambda x: (x.min(),),
    "largest value": lambda x: (x.max(),),
    "standard deviation": lambda x: (x.std(ddof=1), x.std()),
    "number of values": lambda x: (float(len(x)),),
}
_BEGINNINGS = frozenset(word[:3] for word in _MEANS)
_WORD = re.compile(r"[^\W\d_]+(?!\w)")


@dataclass(frozen=True)
class Aside:
    """A row at the end that may be no observation.

    Attributes
    ----------
    row : int
        Among those of the table, from 0.
    line : int
        Of the file.
    cells : list of str
    fits : bool
        Whether it has as many cells as the table has columns.
    """

    row: int
    line: int
    cells: list[str]
    fits: bool

    @property
    def where(self) -> str:
        """Where it stands and what it holds, for a message."""
        shown = " ".join(", ".join(filled(self.cells)).split())
        return f"row {self.row + 1} (line {self.line}: {shown:.60})"

    @property
    def announced(self) -> str | None:
        """What its first word announces, such as the sum."""
        return announced(self.cells)


def filled(cells: Sequence[str]) -> list[str]:
    """Cells that hold something."""
    return [cell for cell in map(tidy, cells) if not is_missing(cell)]


def announced(cells: Sequence[str]) -> str | None:
    """What the first word of a row announces: a sum, a mean or another summary of a column; None for nothing."""
    first = next((cell for cell in cells if cell.strip()), "")
    word = _WORD.match(first.strip())  # n77 is none
    return None if word is None else _MEANS.get(word.group().casefold())


def like_a_footer(cells: Sequence[str], *, fits: bool) -> bool:
    """Whether a row may be a footer: begun with the word of a summary, of one cell of text, or of text alone and of another width."""
    some = [cell for cell in cells if cell and not cell.isspace()]
    first = some[0].strip() if some else ""
    if fits and (len(some) > 1 or len(cells) == 1) and first[:3].casefold().rstrip(" .:=0123456789") not in _BEGINNINGS:
        return False  # as nearly all rows
    if first[:1].isdigit() or is_missing(first):
        return False
    if announced(cells) is not None:
        return True
    if fits:
        return len(cells) > 1 and len(filled(cells)) == 1 and not is_number(tidy(first))
    return not any(is_number(tidy(cell)) for cell in cells)


def why_no_observation(row: Aside, announced: str | None, columns: Sequence[tuple[str, Cells] | None], marks: Marks) -> str | None:  # fmt: skip
    """Why a row is no observation; None if it may be one.

    Parameters
    ----------
    row : Aside
    announced : str, optional
        What it, or the row before it, announces.
    columns : sequence of (str, Cells), or None
        Name and cells of each column of numbers; None where one holds text.
    marks : Marks
    """
    if not row.fits:
        return f"{len(row.cells)} field{'s' if len(row.cells) != 1 else ''} where the table has {len(columns)}"
    numbers, texts = 0, 0
    for cell, column in zip(map(tidy, row.cells), columns, strict=True):
        if column is None or is_missing(cell):
            continue
        read = number_of(column[1].plain(cell), marks)
        numbers, texts = numbers + (read is not None), texts + (read is None)
        if read is not None and announced is not None:
            name, values = column[0], column[1].values(marks)
            values = values[~np.isnan(values)]
            measured = values[~np.isin(values, missing_codes(values))]
            if len(values) > 1 and any(len(x) and _printed(*read, announced, x) for x in (values, measured)):
                return f"{cell} is the {announced} of column {name!r}"
    if texts:
        return "it holds text in a column of numbers"
    return None if numbers or announced is None else "it holds no number"


def _printed(value: float, unit: float, name: str, x: Array) -> bool:
    """Whether a printed value is this summary of values (n,), of which each is rounded to the same unit: their sum by more."""
    rounding = unit * (0.51 + (np.sqrt(len(x)) if name == "sum" else 0.5))
    return any(abs(value - found) <= rounding + 1e-9 * abs(found) for found in _VALUES[name](x))
