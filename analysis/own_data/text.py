"""Text files of numbers: every plausible reading of the whole file is tried, and what two readings give differently is refused.

A reading is a separator, a decimal mark, a mark of thousands, and a mark of comments. One that gives every row the same number of
fields stands, footers apart; of those, the ones that make numbers of the most digits, with the least text among them, are right,
if they give the same numbers. The csv module of the standard library splits the lines: pandas fills short rows without a word, and
the sniffers of DuckDB and Polars settle on a reading from a sample, by a preference that the answer does not show.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import numpy as np

from analysis.own_data.numerals import CALLED, MARKS, MISSING, Cells, Marks
from analysis.own_data.quoting import QuotedError, Rows
from analysis.own_data.table import Table, UnfitError, tabled
from models.errors import InputError

__all__ = ["NONE", "Options", "Read", "chosen_marks", "read_text", "settled"]

#: Separators, in the order in which readings that give the same are preferred; a run of blanks; and none.
NONE, _BLANKS = "\x1f", " "
_SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", _BLANKS: "blanks", NONE: "none"}
_BY_NAME = {name: mark for mark, name in _SEPARATORS.items()} | {"space": _BLANKS, "\\t": "\t", "": NONE, "none": NONE}
_MARK_BY_NAME = {name: mark for mark, name in CALLED.items()} | {"space": " ", "none": "", "": ""}
_COMMENTS = ("#", "%", "//")
_COMMENTED = re.compile(r"[\r\n][ \t]*(#|%|//)")
_PROBE = 65_536
#: A line between the rows of a printed table whose columns bars divide.
_RULE = re.compile(r"\s*[|+]?\s*:?-{2,}:?\s*(?:[|+]\s*:?-{2,}:?\s*)*[|+]?\s*")


@dataclass(frozen=True)
class Options:
    """What a user says of a file, in place of what is detected.

    Attributes
    ----------
    sep, decimal, thousands : str, optional
        A mark or its name (``tab``, ``semicolon``, ``comma``, ``bar``, ``blanks``, ``point``, ``apostrophe``, ``none``).
    na : sequence of str
        Cells that stand for missing values, besides those that always do.
    skip : int
        Lines at the top that are no part of the table.
    sheet : str, optional
        Of a spreadsheet: name or number (from 1).
    weights : str, optional
        Column of weights.
    """

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    na: Sequence[str] = ()
    skip: int = 0
    sheet: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise InputError(f"--skip is {self.skip}; give the number of lines to leave out at the top, 0 or more")
        separator, decimal, thousands = self.separator, self.mark("decimal"), self.mark("thousands")
        if decimal is not None and decimal == thousands:
            raise InputError(f"--decimal and --thousands are both {decimal!r}; give two marks")
        if separator is not None and len(separator) != 1:
            raise InputError(f"--sep is {self.sep!r}; give one character, or one of {', '.join(_SEPARATORS.values())}")

    @property
    def separator(self) -> str | None:
        """The separator as a character."""
        return None if self.sep is None else _BY_NAME.get(self.sep, self.sep)

    def mark(self, name: str) -> str | None:
        """``decimal`` or ``thousands`` as a character, "" for none.

        Raises
        ------
        InputError
        """
        given = getattr(self, name)
        if given is None:
            return None
        found = _MARK_BY_NAME.get(given, given)
        known = list(CALLED)[:2] if name == "decimal" else [*CALLED, ""]
        if found not in known:
            ways = [f"{mark} ({CALLED[mark]})" if mark.strip() else CALLED.get(mark, "none") for mark in known]
            raise InputError(f"--{name} is {given!r}; give one of: {', '.join(ways)}")
        return str(found)


@dataclass
class Read:
    """A table as it was read.

    Attributes
    ----------
    table : Table
    marks : Marks
    how : dict
        Encoding, separator and what else was detected, as it is shown.
    notes : list of str
        What was left out on the way.
    """

    table: Table
    marks: Marks
    how: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Lines:
    """Lines of a text file; comments are set aside and counted, as are the lines skipped."""

    def __init__(self, stream: io.TextIOBase, skip: int, comment: str, separator: str) -> None:
        self.stream, self.skip, self.comment = stream, skip, comment
        self.blanks, self.bars = separator == _BLANKS, separator == "|"
        self.left = self.comments = 0
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        head = list(islice(self.stream, self.skip + 1))
        keep = head[self.skip :]
        if keep and _directive(keep[0]):
            keep = []
        self.left = len(head) - len(keep)
        lines = chain(keep, self.stream)
        return self._sifted(lines) if self.comment or self.blanks or self.bars else lines

    def _sifted(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            if self.comment and _is_comment(line, self.comment):
                self.left, self.comments, self.last = self.left + 1, self.comments + 1, line
            elif self.bars and _RULE.fullmatch(line):
                self.left += 1
            else:
                yield line.replace("\t", " ").strip() + "\n" if self.blanks else line


def _is_comment(line: str, mark: str) -> bool:
    """Whether a line is a comment: #N/A and the like stand for a missing value of the first column."""
    line = line.lstrip()
    return line.startswith(mark) and re.split(r"[,;\t]|\s", line, maxsplit=1)[0].lower() not in MISSING


def _directive(line: str) -> str | None:
    """The separator of ``sep=;``, which spreadsheets write."""
    line = line.strip().strip('"')
    return line[4:] if line.lower().startswith("sep=") and len(line) == 5 else None


def read_text(path: Path, options: Options, report: Callable[[float], None]) -> Read:
    """Read a text file by the one reading that stands.

    Raises
    ------
    InputError
        If none stands, or two give different numbers.
    """
    for encoding in _encodings(path):
        try:
            return _read(path, options, report, encoding)
        except UnicodeDecodeError:
            continue
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{str(path)!r} is damaged or truncated ({error}); copy or write it again") from None
    raise InputError(f"{str(path)!r} is not text that can be read; save it as CSV in UTF-8")


def _bytes(path: Path) -> tuple[Any, Any]:
    """The content as bytes, and the file itself, whose position tells how much is read."""
    file = path.open("rb")
    return (gzip.GzipFile(fileobj=file), file) if path.name.lower().endswith(".gz") else (file, file)


def _encodings(path: Path) -> tuple[str, ...]:
    stream, file = _bytes(path)
    with file:
        try:
            head = stream.read(_PROBE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{str(path)!r} is damaged or truncated ({error}); copy or write it again") from None
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ("utf-32",)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    zeros = head[0::2].count(0), head[1::2].count(0)
    if max(zeros) > 0.3 * len(head) and min(zeros) == 0:
        return ("utf-16-be" if zeros[0] else "utf-16-le",)
    if b"\0" in head:
        raise InputError(f"{str(path)!r} is not text: it holds zero bytes; save it as CSV in UTF-8")
    return ("utf-8-sig", "cp1252", "latin-1")


def _read(path: Path, options: Options, report: Callable[[float], None], encoding: str) -> Read:
    with _bytes(path)[1] as file:
        stream = gzip.GzipFile(fileobj=file) if path.name.lower().endswith(".gz") else file
        text = io.TextIOWrapper(stream, encoding, newline="")
        head = text.read(_PROBE)
        # All is decoded now, so that a byte that is none of this encoding is met before any reading is judged.
        comments, before, quoted = set(), "\n", False
        for block in chain([head], iter(lambda: text.read(1 << 20), "")):
            comments |= set(_COMMENTED.findall(before + block))
            before, quoted = block[-80:], quoted or '"' in block
    if not head.strip():
        raise InputError(f"{str(path)!r} has nothing but blank lines; give a line of names and rows of numbers")
    lines = head.splitlines()[options.skip :]
    separators: Sequence[str]
    if options.separator is not None:
        separators = [options.separator]
    elif lines and (given := _directive(lines[0])):
        separators = [given]
    elif ".tsv" in path.name.lower():
        separators = ["\t", NONE]
    else:
        separators = [s for s in _SEPARATORS if s == NONE or s in head or (s == _BLANKS and "\t" in head)]
    marks = chosen_marks(options)
    tables, failed = [], []
    ways = list(product(separators, [*(c for c in _COMMENTS if c in comments), ""]))
    for i, (separator, comment) in enumerate(ways):

        def part(fraction: float, i: int = i) -> None:
            report((i + fraction) / len(ways))

        try:
            found = _one(path, options, encoding, separator, comment, marks, part, quoted=quoted)
        except UnfitError as error:
            failed.append((separator != NONE, error.nameless, error.rows, str(error)))
        else:
            if found is not None:
                tables.append(found)
    report(1.0)
    return settled(path, tables, failed, options)


def chosen_marks(options: Options) -> list[Marks]:
    """Marks that the options leave open."""
    decimal, thousands = options.mark("decimal"), options.mark("thousands")
    return [m for m in MARKS if decimal in (None, m.decimal) and thousands in (None, m.thousands)]


def _one(
    path: Path, options: Options, encoding: str, separator: str, comment: str, marks: Sequence[Marks], report: Callable[[float], None], *, quoted: bool
) -> tuple[Table, dict[str, Any], list[str]] | None:  # fmt: skip
    stream, file = _bytes(path)
    size = max(path.stat().st_size, 1)
    with file:
        lines = _Lines(io.TextIOWrapper(stream, encoding, newline=""), options.skip, comment, separator)
        rows = Rows(lines, separator, quoted=quoted)

        def named() -> list[str]:  # numpy.savetxt writes its names as a comment
            text = lines.last.strip().removeprefix(comment).strip() if comment else ""
            return [
                " ".join(n.split()) for n in next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
            ]

        try:
            table = tabled(
                rows,
                marks,
                options.na,
                single=separator == NONE,
                blanks=separator == _BLANKS,
                line=lambda: rows.line + lines.left,
                named=named,
                on_rows=lambda: report(min(file.tell() / size, 1.0)),
            )
        except (QuotedError, csv.Error) as error:
            line = error.line if isinstance(error, QuotedError) else rows.line
            raise UnfitError(f"{{path}} is no table from line {line + lines.left} on: {error}", line) from None
    if table is None:
        return None
    how = {
        "encoding": {"utf-8-sig": "utf-8"}.get(encoding, encoding),
        "separator": _SEPARATORS.get(separator, separator),
    }
    notes = (
        [f"{lines.comments} line{'s' if lines.comments > 1 else ''} of comment (begun with {comment}) skipped"]
        if lines.comments
        else []
    )
    if encoding in ("cp1252", "latin-1"):
        notes.append(f"the text is not UTF-8, and was read as {encoding}")
    return table, how, notes


# --- which reading ---------------------------------------------------------------------------------------------------


def _plausible(path: Path, table: Table, marks: Marks, how: dict[str, Any], options: Options) -> bool:
    present = set().union(*(column.present for column in table.columns))
    if marks.thousands and (marks.thousands not in present):
        return options.thousands is not None
    if marks.decimal == "," and "," not in present and not marks.thousands:
        return options.decimal is not None
    separator = how.get("separator")
    if marks.thousands == "." and options.thousands is None and options.mark("decimal") != ",":
        # Where commas divide, none is a decimal mark unless in quotes, and a point is one unless some number leaves doubt.
        divided = separator == "comma" or (separator == "none" and ".csv" in path.name.lower())
        if divided and not _doubtful(table, marks):
            return False
    if separator == "comma" and marks.decimal == "," and options.decimal is None and _whole_beside(table):
        return False
    if separator == "none" and "," in present:
        # Names that commas divide as they divide the rows are several columns.
        name = table.names[0]
        return options.sep is not None or "," not in name.replace(", ", "")
    return True


def _doubtful(table: Table, marks: Marks) -> bool:
    """Whether some number speaks for points between thousands, though commas divide the columns."""
    return any("," in c.present or _grouped(c, marks) for c in (table.columns[i] for i in table.numeric(marks)))


def _whole_beside(table: Table) -> bool:
    """Whether commas in quotes all stand before three digits, beside whole numbers of three: "1,163" and "938" in one column of views."""
    groups = Marks(".", ",")
    quoted = [table.columns[i] for i in table.numeric(groups) if "," in table.columns[i].present]
    sizes = [np.abs(c.values(groups)) for c in quoted if not c.kinds[groups].wrong]
    return len(sizes) == len(quoted) > 0 and any(
        ((size >= 100) & (size < 1000) & (size == np.rint(size))).any() for size in sizes
    )


def _uneven(column: Cells, marks: Marks) -> bool:
    """Whether numbers, none below zero, have one digit before the point and others more: a measure to three decimals may, so do amounts."""
    size = column.values(marks)
    size = size[np.isfinite(size)]
    return bool(len(size) and 0 <= size.min() < 1e4 <= size.max())


def _grouped(column: Cells, marks: Marks) -> bool:
    """Whether points seem to divide thousands: two in one number, or whole numbers from 1 to 999 beside three digits behind every point."""
    size = np.abs(column.values(marks))
    return "." in column.shown or ("." in column.present and bool(((size > 0) & (size < 1000)).any()))


def _readings_of(path: Path, table: Table, how: dict[str, Any], options: Options) -> list[tuple[tuple[int, int], Marks]]:  # fmt: skip
    """How much sense each plausible pair of marks makes."""
    return [(table.sense(m), m) for m in table.columns[0].kinds if _plausible(path, table, m, how, options)]


def _same(a: tuple[Table, Marks], b: tuple[Table, Marks]) -> bool:
    """Whether two readings give the same numbers."""
    columns = [[(t.columns[i].kinds[m].parts) for i in t.numeric(m)] for t, m in (a, b)]
    return len(columns[0]) == len(columns[1]) and all(
        len(p) == len(q) and all(x is y or np.array_equal(x, y, equal_nan=True) for x, y in zip(p, q, strict=True))
        for p, q in zip(*columns, strict=True)
    )


def settled(path: Path, tables: list[Any], failed: list[tuple[bool, bool, int, str]], options: Options) -> Read:
    """The reading that stands, or a refusal."""
    found = [
        (sense, table, marks, how, notes)
        for table, how, notes in tables
        for sense, marks in _readings_of(path, table, how, options)
    ]
    most = max((entry[0] for entry in found), default=(0, 0))
    worst = max(failed, key=lambda entry: entry[:3], default=None)
    if worst and not most[0] and (worst[1] or not any(len(table.names) > 1 for table, *_ in tables)):
        raise InputError(worst[3].format(path=repr(str(path))))
    best = [entry for entry in found if entry[0] == most]
    if not best:
        raise InputError(
            f"{str(path)!r} has no table of several rows with the same number of fields; say how it is written with --sep, --skip"
        )
    if not most[0]:
        best = [max(best, key=lambda entry: len(entry[1].names))]
    _, table, marks, how, notes = best[0]
    others = chain(
        (entry for entry in best[1:] if not _same((table, marks), (entry[1], entry[2]))),
        (entry for entry in found if entry[3] == how and entry[1].names == table.names and _more(entry, best[0])),
    )
    other = next(others, None)
    if other is not None:
        raise InputError(_two(path, best[0], other))
    notes = [*notes, *_alone(table, marks, how, options)]
    return Read(table, marks, how | {"decimal": marks.decimal, "thousands": marks.thousands or None}, notes)


def _alone(table: Table, marks: Marks, how: dict[str, Any], options: Options) -> list[str]:
    """What is said of points in the one column of a CSV file that may be marks of thousands, as nothing divides."""
    if (
        how.get("separator") != "none"
        or marks.decimal != "."
        or options.decimal is not None
        or options.thousands is not None
    ):
        return []
    column, groups = table.columns[0], Marks(",", ".")
    if "." not in column.present or column.kinds[groups].wrong or not _uneven(column, groups):
        return []
    return [f"column {table.names[0]!r}: every point has three digits behind it and is read as that of decimals; if it divides "
            "thousands, say --decimal comma --thousands point"]  # fmt: skip


def _more(a: Any, b: Any) -> bool:
    """Whether one reading makes numbers of all of a column that is text in another of the same table."""
    (_, table, marks, *_), (_, other, others, *_) = a, b
    return any(not table.columns[i].kinds[marks].wrong for i in set(table.numeric(marks)) - set(other.numeric(others)))


def _two(path: Path, a: Any, b: Any) -> str:
    told, ways = [], []
    for mine, others in ((a, b), (b, a)):
        _, table, marks, how, _ = mine
        differ = next((i for i in table.numeric(marks) if _differs(mine, others, i)), table.numeric(marks)[0])
        row, value = _first(mine, others, differ)
        separator, other = how.get("separator"), others[3].get("separator")
        columns = f"{len(table.names)} column{'s' if len(table.names) > 1 else ''}"
        told.append(
            f"{f'separator {separator}, ' if separator else ''}{marks}: {columns}, {table.names[differ]!r} {'begins with' if row == 0 else f'has in row {row + 1}'} {value:.12g}"
        )
        way = [] if separator == other else [f"--sep {separator}"]
        if marks.decimal != others[2].decimal or not way:
            way.append(f"--decimal {CALLED[marks.decimal]}")
        if marks.thousands != others[2].thousands:
            way.append(f"--thousands {CALLED.get(marks.thousands, 'none')}")
        ways.append(" ".join(way))
    return f"{str(path)!r} can be read in two ways: {told[0]}; or {told[1]}. Choose: {ways[0]}, or {ways[1]}"


def _first(a: Any, b: Any, column: int) -> tuple[int, float]:
    """Row (from 0) and value of the first number of a column in one reading that another has not there; 0 for the first of all."""
    values = a[1].columns[column].values(a[2])
    there = np.flatnonzero(~np.isnan(values))
    if len(a[1].names) == len(b[1].names) and len(other := b[1].columns[column].values(b[2])) == len(values):
        row = next((int(i) for i in there if values[i] != other[i]), int(there[0]))
        return (0 if row == there[0] else row), float(values[row])
    return 0, float(values[there[0]])


def _differs(a: Any, b: Any, column: int) -> bool:
    table, other = a[1], b[1]
    if len(table.names) != len(other.names):
        return True
    return not np.array_equal(table.columns[column].values(a[2]), other.columns[column].values(b[2]), equal_nan=True)
