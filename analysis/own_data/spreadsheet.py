"""Sheets of Excel workbooks, read as the table of text that they show."""

from __future__ import annotations

import datetime as dt
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from analysis.own_data.binary import whole
from analysis.own_data.table import Table, UnfitError, tabled
from analysis.own_data.text import Options, Read, chosen_marks, settled
from models.errors import InputError, lookup_error

__all__ = ["read_sheet"]

#: Rows by which a sheet of one column is told.
_FIRST = 100
#: Tags of rows with cells and of columns that are not shown, as after filtering; and the places of such columns.
_HIDDEN = rb"\s[^>]*?\bhidden=[\"'](?:1|true)[\"'][^>]*"
_NOT_SHOWN = re.compile(rb"<(?:\w+:)?(?:row" + _HIDDEN + rb"(?<!/)>(?!\s*</)|col" + _HIDDEN + rb">)")
_COLUMNS = re.compile(rb"(?=.*\bmin=[\"'](\d+))(?=.*\bmax=[\"'](\d+))", re.DOTALL)
#: Text that may be a number of a comma country.
_WITH_COMMA = re.compile(r"\d,\d|^\D{0,4}[1-9]\d{0,2}(?:\.\d{3})+(?!\d|\.)")


def read_sheet(path: Path, options: Options, report: Callable[[float], None]) -> Read:
    """Read one sheet of a workbook.

    Raises
    ------
    InputError
        If openpyxl is missing, the workbook is damaged, or it has several sheets and none is chosen.
    """
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"reading {path.name} needs openpyxl; install it with: uv sync --extra excel, or save the sheet as CSV"
        ) from None
    with whole(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that hold no numbers
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        with whole(path):
            sheet = _sheet(path, book, options.sheet)
            _check_computed(path, sheet, openpyxl)
        lines = _Lines(path, sheet, options, report)
        found: list[tuple[Table, dict[str, Any], list[str]]] = []
        failed: list[tuple[bool, bool, int, str]] = []
        # Numbers are what they are; where some stand as text with a comma, all are read as if written so, too.
        for single in (False, True):
            for decimal in ".,":
                marks = [m for m in chosen_marks(options) if m.decimal == decimal]
                if not marks or (decimal == "," and not lines.commas):
                    continue
                try:
                    table = tabled(
                        lines.cells(single, decimal), marks, options.na, single=single, line=lambda: lines.at
                    )
                except UnfitError as error:
                    failed.append((not single, error.nameless, error.rows, str(error)))
                else:
                    found += [(table, {"sheet": sheet.title}, lines.left(single))] if table is not None else []
            if lines.column is None or any(table.rows for table, *_ in found):
                break
            found, failed = ([], []) if not single else (found, failed)
        unseen = [s.title for s in book.worksheets if s.sheet_state != "visible" and s.title != sheet.title]
        others = [f"hidden in the workbook, and not read: sheet {', '.join(map(repr, unseen))}"] if unseen else []
        hidden = _hidden(path, sheet, max((len(table.names) for table, *_ in found), default=0))
    finally:
        book.close()
    if not found and not failed:
        raise InputError(f"sheet {sheet.title!r} of {str(path)!r} is empty; give a line of names and rows of numbers")
    read = settled(path, found, failed, options)
    return replace(read, notes=[*read.notes, *hidden, *others])


class _Lines:
    """Rows of a sheet as text."""

    def __init__(self, path: Path, sheet: Any, options: Options, report: Callable[[float], None]) -> None:
        self.path, self.sheet, self.options, self.report = path, sheet, options, report
        self.at, self.commas = 0, options.mark("decimal") == "," or options.mark("thousands") == "."
        self._filled: Counter[int] = Counter()  # cells of the columns in the first rows

    @property
    def column(self) -> int | None:
        """Place of the only column, but for a few cells beside it such as a total."""
        if not self._filled:
            return None
        place, cells = self._filled.most_common(1)[0]
        return place if 4 * (self._filled.total() - cells) <= cells else None

    def left(self, single: bool) -> list[str]:
        """What is said of cells beside the only column."""
        beside = single and len(self._filled) > 1
        return ["the few cells beside the only column are left out"] if beside else []

    def cells(self, single: bool, decimal: str) -> Iterator[list[str]]:
        """The rows, or the only column of them."""
        rows, only = max(self.sheet.max_row or 1, 1), self.column if single else None
        with whole(self.path):
            for at, row in enumerate(self.sheet.iter_rows(values_only=True), 1):
                self.at = at
                if at > self.options.skip:
                    if not single and at <= self.options.skip + _FIRST:
                        self._filled.update(i for i, value in enumerate(row) if value is not None)
                    self.commas = self.commas or any(isinstance(v, str) and _WITH_COMMA.search(v) for v in row)
                    yield [_shown(value, decimal) for value in (row if only is None else row[only : only + 1])]
                if at % 10_000 == 0:
                    self.report(min(at / rows, 1.0))


def _hidden(path: Path, sheet: Any, width: int) -> list[str]:
    """What is said of rows with cells and of columns of the table that a workbook does not show."""
    tags: list[bytes] = []
    with whole(path), zipfile.ZipFile(path) as archive, archive.open(sheet._worksheet_path) as stream:
        before = b""
        for block in iter(lambda: stream.read(1 << 20), b""):
            done, end, before = (before + block).rpartition(b"row>")
            tags += _NOT_SHOWN.findall(done + end)
        tags += _NOT_SHOWN.findall(before)
    places = list(map(_COLUMNS.search, tags))
    rows = places.count(None)
    columns = sum(max(0, min(int(place[2]), width) - int(place[1]) + 1) for place in places if place is not None)
    told = [
        f"{count} {what}{'s' if count > 1 else ''}" for count, what in ((rows, "row"), (columns, "column")) if count
    ]
    if sheet.sheet_state != "visible":
        told.append("the sheet itself")
    return [f"hidden in the workbook, and read like all others: {' and '.join(told)}"] if told else []


def _sheet(path: Path, book: Any, wanted: str | None) -> Any:
    sheets = list(book.worksheets)
    names = [sheet.title for sheet in sheets]
    if not sheets:
        raise InputError(f"{str(path)!r} has no sheet of cells; give a workbook with a table")
    if wanted is None:
        filled = [
            sheet for sheet in sheets if any(v is not None for row in sheet.iter_rows(values_only=True) for v in row)
        ]
        filled = [sheet for sheet in filled if sheet.sheet_state == "visible"] or filled
        if len(filled) > 1:
            first = max(filled, key=_numbers).title  # of as many, the first
            raise InputError(
                f"{str(path)!r} has {len(names)} sheets ({', '.join(names)}); choose one with --sheet {first!r}"
            )
        return filled[0] if filled else sheets[0]
    if wanted in names:
        return sheets[names.index(wanted)]
    if wanted.isdigit() and 1 <= int(wanted) <= len(sheets):
        return sheets[int(wanted) - 1]
    raise lookup_error("sheet", wanted, names)


def _numbers(sheet: Any) -> int:
    """Cells of a sheet that hold numbers, among the first rows."""
    rows = sheet.iter_rows(max_row=_FIRST, values_only=True)
    return sum(isinstance(value, int | float) for row in rows for value in row)


def _check_computed(path: Path, sheet: Any, openpyxl: Any) -> None:
    """Refuse formulas without a value: programs that write workbooks leave the computing to those that show them."""
    with zipfile.ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        if not any(_has_formulas(archive, name) for name in sheets):
            return
    book = openpyxl.load_workbook(path, read_only=True)
    values, formulas = sheet.iter_rows(), book[sheet.title].iter_rows()
    try:
        # An empty text is a value, of another type.
        first = next(
            (
                (f.coordinate, f.value)
                for v, f in zip(chain.from_iterable(values), chain.from_iterable(formulas), strict=True)
                if f.data_type == "f" and v.value is None and v.data_type == "n"
            ),
            None,
        )
    finally:
        values.close()
        formulas.close()
        book.close()
    if first is not None:
        raise InputError(
            f"cell {first[0]} of sheet {sheet.title!r} of {str(path)!r} holds a formula ({first[1]!s:.40}) without its value; open the "
            "workbook in a spreadsheet program, which computes it, and save it there"
        )


def _has_formulas(archive: zipfile.ZipFile, name: str) -> bool:
    before = b""
    with archive.open(name) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            if b"<f>" in before + block or b"<f " in before + block:
                return True
            before = block[-2:]
    return False


def _shown(value: Any, decimal: str) -> str:
    """A cell as text; numbers to the last digit."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value).replace(".", decimal)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
