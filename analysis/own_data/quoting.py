"""Fields in quotation marks: rows of a text file, and a refusal where a stray mark would swallow some of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator

from analysis.own_data.numerals import is_number, tidy

__all__ = ["QuotedError", "Rows"]

#: Put behind the last line: if it ends up within a field, a quotation mark is open there.
_END = "\x1e"


class QuotedError(Exception):
    """What is wrong with a quotation mark, and the line in which it stands."""

    def __init__(self, told: str, line: int) -> None:
        super().__init__(told)
        self.line = line


class Rows:
    r"""Lines divided into rows of fields, which quotation marks may hold together.

    Parameters
    ----------
    lines : iterable of str
    separator : str
    quoted : bool
        Whether quotation marks occur at all.

    Raises
    ------
    QuotedError
        While rows are taken: if a mark is never closed, or most of the lines that it holds together are rows of the table by themselves.

    Examples
    --------
    >>> list(Rows(["a,b\n", '1,"x\n', 'y"\n'], ","))
    [['a', 'b'], ['1', 'x\ny']]
    >>> list(Rows(["a,b\n", '"x,1\n', 'y,2\n', 'z",3\n'], ","))
    Traceback (most recent call last):
    analysis.own_data.quoting.QuotedError: a quotation mark makes 3 rows of the table one; close it or take it out
    """

    def __init__(self, lines: Iterable[str], separator: str, *, quoted: bool = True) -> None:
        self.separator, self.quoted = separator, quoted
        self._taken: list[str] = []
        self._reader = csv.reader(self._tapped(lines) if quoted else lines, delimiter=separator, skipinitialspace=True)

    @property
    def line(self) -> int:
        """Lines taken so far."""
        return self._reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self._checked() if self.quoted else iter(self._reader)

    def _tapped(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._taken.append(line)
            yield line
        yield _END

    def _checked(self) -> Iterator[list[str]]:
        width, taken, opened = 0, self._taken, "a quotation mark opens a field and is never closed"
        try:
            for cells in self._reader:
                if cells == [_END] and not taken:
                    return
                if cells and _END in cells[-1]:
                    raise QuotedError(f"{opened}; close it or take it out", self.line - len(taken))
                if len(taken) > 1 and _are_rows(taken, self.separator, width):
                    told = f"a quotation mark makes {len(taken)} rows of the table one; close it or take it out"
                    raise QuotedError(told, self.line - len(taken) + 1)
                width = len(cells)
                taken.clear()
                yield cells
        except csv.Error as error:
            raise QuotedError(f"{opened}, or closed too late ({error})", self.line - len(taken) + 1) from None


def _are_rows(lines: list[str], separator: str, width: int) -> bool:
    """Whether most lines, their quotation marks left out, have as many fields as the row before them, and numbers in the same places."""
    rows = list(csv.reader([line.replace('"', "") for line in lines], delimiter=separator, skipinitialspace=True))
    if width < 2:
        width = Counter(map(len, rows)).most_common(1)[0][0]
    places = Counter(tuple(is_number(tidy(cell)) for cell in row) for row in rows if len(row) == width)
    return any(any(place) and 2 * count > len(rows) for place, count in places.items())
