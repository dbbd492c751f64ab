"""How a file writes its numbers: the marks of decimals and thousands, what stands for a missing value, and columns of cells as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from analysis.own_data.units import PLAIN, beside, signed, without

__all__ = ["CALLED", "MARKS", "MISSING", "Cells", "Kind", "Marks", "is_missing", "is_number", "number_of", "tidy"]

Array = NDArray[np.float64]
#: What stands for a missing value besides blanks and runs of a mark, in any case; among them what spreadsheets write for errors.
MISSING = frozenset(
    [
        "na",
        "n/a",
        "nan",
        "nat",
        "none",
        "null",
        "<na>",
        "#n/a",
        "#nv",
        "#na",
        "#div/0!",
        "#null!",
        "#num!",
        "#value!",
        "#ref!",
        "#wert!",
        "#bezug!",
        "#name?",
        "#zahl!",
        "#calc!",
        "#spill!",
        "k.a.",
    ]
)
#: Marks that alone in a cell, once or more, mean that nothing was measured.
_GAPS = "-.?*/_\u2013\u2014\u2026"
CALLED = {".": "point", ",": "comma", " ": "blank", "'": "apostrophe"}
#: Marks in print that stand for plain ones: blanks that do not break, a minus sign or a dash for it, apostrophes of Swiss
#: spreadsheets, the other letter for a millionth; marks without width are none.
_PLAIN = str.maketrans(
    {
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
        "\u2212": "-",
        "\u2013": "-",
        "\u2019": "'",
        "\u03bc": "\u00b5",
        **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff"),
    }
)
_DIGITS = "0123456789"
_FAR = 1e6  # a power of ten that no number of a file makes up for
#: Cells of text that are told of a column of numbers.
_TOLD = 5


@dataclass(frozen=True)
class Marks:
    """The decimal mark, and the mark between thousands ("" for none)."""

    decimal: str
    thousands: str

    def __str__(self) -> str:
        thousands = f", thousands {CALLED[self.thousands]}" if self.thousands else ""
        return f"decimal {CALLED[self.decimal]}{thousands}"


#: Every pair, the plainest first.
MARKS = tuple(Marks(d, t) for t in ("", ",", ".", " ", "'") for d in (".", ",") if d != t)


def tidy(cell: str) -> str:
    """A cell without blanks around it, its marks plain."""
    cell = cell.strip()
    return cell if cell.isascii() else cell.translate(_PLAIN).strip()


@cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """Numbers so written; without a decimal mark ("") none may stand there."""
    point = re.escape(decimal)
    behind = rf"(?:{point}\d*)?" if decimal else ""
    body = rf"(?:\d+{behind}{rf'|{point}\d+' if decimal else ''})(?:[eE][-+]?\d+)?"
    if thousands:  # groups of three, or of two above the thousands as in India; numbers of a sheet have none, nor have powers of ten
        mark = re.escape(thousands)
        indian = r"|[1-9]\d?(?:,\d\d)+,\d{3}" if thousands == "," else ""
        body = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+{indian}){behind}|{body}"
    return re.compile(rf"[-+]?(?:{body}|(?i:inf(?:inity)?))")


_SIGN_BEHIND = re.compile(r"\d ?-$|\)$|\d[.,]-$", re.MULTILINE)
_SUBTOTAL = re.compile(
    r"^(?:zwischensumme|teilsumme|sub-?total|sous-total|totale parziale|subtotaal"
    r"|(?:grand total|totals?|totaux|totale|totaal|summen?|gesamt|insgesamt|somme|suma|soma)\b)",
    re.MULTILINE | re.IGNORECASE,
)
_CODE = re.compile(r"^[-+]?0\d", re.MULTILINE)
#: 1.234.567 or 1.234,5: no decimal mark stands there.
_GROUPS = {t: re.compile(rf"^[-+]?[1-9]\d{{0,2}}{re.escape(t)}\d{{3}}[.,]\d", re.MULTILINE) for t in ".,"}


def is_number(cell: str) -> bool:
    """Whether a cell is a number under any marks."""
    return any(_pattern(m.decimal, m.thousands).fullmatch(cell) for m in MARKS)


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value."""
    return not cell or cell.lower() in MISSING or not cell.strip(_GAPS)


def number_of(cell: str, marks: Marks) -> tuple[float, float] | None:
    """A cell as a number under these marks, and the unit of its last digit; None if it is none.

    Examples
    --------
    >>> number_of("1.234,50", Marks(",", "."))
    (1234.5, 0.01)
    """
    if not _pattern(marks.decimal, marks.thousands).fullmatch(cell):
        return None
    plain = (cell.replace(marks.thousands, "") if marks.thousands else cell).replace(marks.decimal, ".").lower()
    mantissa, _, exponent = plain.partition("e")
    power = max(-_FAR, min(_FAR, float(exponent or 0)))  # beyond it all is zero or infinite, and no error
    return float(plain), float(f"1e{power - len(mantissa.partition('.')[2]):.0f}")


@dataclass
class Kind:
    """A column under one pair of marks.

    Attributes
    ----------
    parts : list of ndarray
        Its numbers, nan where missing or wrong.
    numbers, wrong : int
        Cells that are numbers, and cells that are text.
    texts : list of (int, str)
        Row (from 0) and content of the first cells that are text.
    text_digits : int
        Digits in cells that are text.
    """

    parts: list[Array] = field(default_factory=list)
    numbers: int = 0
    wrong: int = 0
    texts: list[tuple[int, str]] = field(default_factory=list)
    text_digits: int = 0

    @property
    def numeric(self) -> bool:
        """Whether it is a column of numbers: if with text among them, then of more numbers than text."""
        return 0 < self.numbers >= self.wrong

    @property
    def dead(self) -> bool:
        """Whether the rest of the column changes nothing: so far it is one of text, and not for a line of units."""
        return self.wrong > max(self.numbers, 1)

    @property
    def headed(self) -> bool:
        """Whether its first cell is text."""
        return bool(self.texts) and self.texts[0][0] == 0


class Cells:
    """A column of cells, read under several pairs of marks at once.

    Parameters
    ----------
    marks : sequence of Marks
    missing : iterable of str
        What stands for a missing value besides what always does.
    """

    def __init__(self, marks: Sequence[Marks], missing: Iterable[str] = ()) -> None:
        self.kinds = {m: Kind() for m in marks}
        self.given = frozenset(map(tidy, missing))
        self.codes_given = [float(cell) for cell in (c.replace(",", ".") for c in self.given) if is_number(cell)]
        self.rows = self.digits = 0
        self.missing: Counter[str] = Counter()
        self.codes: tuple[int, str] | None = None  # a whole number with a zero before it: 007
        self.large: tuple[int, str] | None = None  # the first number beyond the floats
        self.shown: set[str] = set()  # marks of thousands that some cell leaves no doubt about
        self.first = ""
        self.subtotal: tuple[int, str] | None = None  # the first cell that says so
        self.turned: tuple[int, str] | None = None  # the first number whose sign brackets or a dash behind it are
        self.unit: tuple[str, str] | None = None  # that its numbers have before or behind them
        self.present: set[str] = set()

    def add(self, raw: Sequence[str]) -> None:
        """Take more cells."""
        joined = "\n".join(raw)
        cells = raw
        if not joined.isascii() or joined.count("\n") != len(raw) - 1 or any(c in joined for c in " \t\r\f\v"):
            cells = [tidy(cell) for cell in raw]
            joined = "\n".join(" ".join(cell.split("\n")) for cell in cells)
        characters = set(joined) - {"\n"}
        if not characters <= PLAIN and (plain := self._plain(cells, joined, characters)) is not cells:
            cells = plain
            joined = "\n".join(" ".join(cell.split("\n")) for cell in cells)
            characters = set(joined) - {"\n"}
        self.present |= characters
        self.digits += sum(joined.count(d) for d in _DIGITS)
        self.first = self.first or next(filter(None, cells), "")
        self._look(joined, characters)
        known: dict[tuple[str, str], tuple[Array, list[int], Counter[str]]] = {}
        counted = False
        for marks, kind in self.kinds.items():
            if kind.dead:
                continue
            decimal, thousands = (m if m in characters else "" for m in (marks.decimal, marks.thousands))
            if (decimal, thousands) not in known:
                known[decimal, thousands] = self._read(cells, decimal, thousands)
            values, wrong, gone = known[decimal, thousands]
            kind.parts.append(values)
            kind.numbers += len(cells) - len(wrong) - gone.total()
            kind.texts += [(self.rows + i, cells[i]) for i in wrong[: _TOLD - len(kind.texts)]]
            kind.wrong += len(wrong)
            if not kind.dead:
                kind.text_digits += sum(c.isdigit() for i in wrong for c in cells[i])
            if not counted:  # what is missing does not depend on the marks
                self.missing, counted = self.missing + gone, True
        self.rows += len(cells)

    def plain(self, cell: str) -> str:
        """A cell without the unit of the column, and with its sign in front; a number that lacks the unit is text."""
        if cell in self.given:
            return cell
        if self.unit in (None, ("", "")):
            return signed(cell)
        number = without(cell, self.unit)
        if number is None and is_number(signed(cell)):
            return f"{cell} without {''.join(self.unit)}"
        bare = cell.removeprefix(self.unit[0]).removesuffix(self.unit[1]).strip()
        return number or (bare if bare and is_missing(bare) else cell)  # $ - is no text

    def _plain(self, cells: Sequence[str], joined: str, characters: set[str]) -> Sequence[str]:
        """Cells as plain numbers, as far as they are numbers."""
        if self.unit is None and any(c.isdigit() for c in characters):
            self.unit = beside(cells)
        if self.unit in (None, ("", "")) and not _SIGN_BEHIND.search(joined):
            return cells
        plain = [self.plain(cell) for cell in cells]
        if self.turned is None:
            turned = (
                i
                for i, c in enumerate(cells)
                if c[-1:] in ")-" and plain[i][:1] == "-" != c[:1] and is_number(plain[i])
            )
            self.turned = next(((self.rows + i, cells[i]) for i in turned), None)
        return plain

    def _look(self, joined: str, characters: set[str]) -> None:
        """Look for codes, and for marks of thousands that leave no doubt."""
        if self.codes is None and "0" in characters:
            self.codes = self._first(_CODE, joined)
        if self.subtotal is None and not characters <= PLAIN:
            self.subtotal = self._first(_SUBTOTAL, joined)
        for t in ".,":
            if t in characters and t not in self.shown and _GROUPS[t].search(joined):
                self.shown.add(t)

    def _first(self, pattern: re.Pattern[str], joined: str) -> tuple[int, str] | None:
        """Row and content of the first cell that begins with a pattern."""
        found = pattern.search(joined)
        if found is None:
            return None
        end = joined.find("\n", found.start())
        return self.rows + joined.count("\n", 0, found.start()), joined[found.start() : end if end >= 0 else None]

    def _read(self, cells: Sequence[str], decimal: str, thousands: str) -> tuple[Array, list[int], Counter[str]]:
        """Numbers of cells (n,), nan where there is none; the places of cells that are text; and the marks of missing values."""
        matched = list(map(_pattern(decimal, thousands).fullmatch, cells))
        if self.given:
            matched = [None if cell in self.given else m for cell, m in zip(cells, matched, strict=True)]
        odd = [i for i, m in enumerate(matched) if m is None]
        gone = [i for i in odd if is_missing(cells[i]) or cells[i] in self.given]
        numbers: list[str] = list(cells)
        for i in odd:
            numbers[i] = "nan"
        if thousands:
            numbers = [cell.replace(thousands, "") for cell in numbers]
        if decimal == ",":
            numbers = [cell.replace(",", ".") for cell in numbers]
        lost = set(gone)
        values = np.fromiter(map(float, numbers), dtype=float, count=len(cells))
        if self.large is None and np.isinf(values).any():
            found = ((self.rows + i, cells[i]) for i in np.flatnonzero(np.isinf(values)).tolist())
            self.large = next((cell for cell in found if cell[1][-1:].isdigit()), None)
        if self.codes_given:  # -999 stands for -999.0 too
            coded = np.flatnonzero(np.isin(values, self.codes_given))
            values[coded] = np.nan
            gone += coded.tolist()
        return values, [i for i in odd if i not in lost], Counter(cells[i] for i in gone)

    def without_first(self) -> None:
        """Leave out the first row, which holds units."""
        for kind in self.kinds.values():
            if kind.parts:
                kind.parts[0] = kind.parts[0][1:]
            if kind.headed:
                kind.wrong -= 1
            kind.texts = [(row - 1, text) for row, text in kind.texts if row > 0]
        if self.codes is not None:
            self.codes = self.codes[0] - 1, self.codes[1]
        if self.subtotal is not None:
            self.subtotal = self.subtotal[0] - 1, self.subtotal[1]
        if self.large is not None:
            self.large = self.large[0] - 1, self.large[1]
        if self.turned is not None:
            self.turned = self.turned[0] - 1, self.turned[1]
        self.rows -= 1

    def values(self, marks: Marks) -> Array:
        """The numbers (n,) under these marks."""
        parts = self.kinds[marks].parts
        return np.concatenate(parts) if parts else np.empty(0)
