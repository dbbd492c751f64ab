"""Columns of numbers from files; what was read is told, and a file that cannot be used is refused in one line.

Nothing is guessed. Rows with missing values are dropped and counted; text where numbers should be, numbers where names
should be, and a file that is not what its name says are errors. Names of columns are data: any text will do.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.own_data.binary import BINARY, coded
from analysis.own_data.footers import Aside, why_no_observation
from analysis.own_data.kinds import CALLED, kind_of, unreadable
from analysis.own_data.numerals import Marks, is_number
from analysis.own_data.oddities import counts_rows, frequencies, missing_codes, no_measurement, total_of
from analysis.own_data.table import Table
from analysis.own_data.text import Options, Read, read_text
from analysis.own_data.texts import remedy, told_of, without_units
from models.errors import InputError, lookup_error

__all__ = ["Columns", "Options", "read_columns"]

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

#: Of the standard deviation of a column: a step between floats that is not small against it.
_COARSE = 1e-3
#: Columns analysed jointly unless more are asked for: of hundreds, relations and covariances alone take hours.
_MOST = 20


@dataclass(frozen=True)
class Columns:
    """Numeric columns of a file.

    Attributes
    ----------
    names : tuple of str
    values : ndarray (n, d)
        Complete rows, in the order of the file.
    rows : int
        Rows of the file, those with missing values included.
    warnings : tuple of str
        What was left out, and what looks odd.
    reading : dict
        What was read and how, for JSON: ``format``, ``encoding``, ``separator``, ``decimal``, ``thousands``, ``sheet`` where they mean
        something; ``rows``, ``rows_used``; ``columns`` (each with ``name``, ``first``, ``min``, ``max``, ``missing``), ``left_out`` (names
        and why), ``notes``.
    weights : ndarray (n,), optional
        Of the rows, if a column of them was named.
    places : ndarray (n,)
        Numbers of the rows in the file, from 1 below the names; those with missing values count.
    """

    names: tuple[str, ...]
    values: Array
    rows: int
    warnings: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    weights: Array | None = None
    places: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))


@dataclass
class _Content:
    """All columns of a file: numbers, and for each other column what it holds instead."""

    numbers: dict[str, Array]
    others: dict[str, str]
    order: list[str]
    how: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)  # columns that are refused, not left out
    codes: dict[str, Array] = field(default_factory=dict)  # numbers if asked for by name
    marks: dict[str, str] = field(default_factory=dict)  # missing marks of a column
    nameless: dict[str, str] = field(default_factory=dict)  # columns without a name, by their place


def read_columns(
    path: Path,
    columns: Sequence[str] | None = None,
    on_progress: Progress | None = None,
    options: Options | None = None,
) -> Columns:
    """Read columns of numbers.

    Parameters
    ----------
    path : Path
        Text (with commas, semicolons, tabs, bars or blanks between the fields, or one column; also ``.gz``), xlsx, Parquet, Feather, npy,
        npz or netCDF. A table has names in its first line. Columns of an array without names are called x (n,), or x0, x1, ... (n, d).
    columns : sequence of str, optional
        Names in the order wanted, each alone or several with commas between them, then in quotes where a name has a comma;
        every numeric column if not given.
    on_progress : callable, optional
        Called with a label and the fraction read.
    options : Options, optional
        What is said of the file in place of what is detected.

    Returns
    -------
    Columns

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable, empty, damaged, or not what its name says; if two readings of it are
        possible; if a column is unknown, named twice, not numeric or infinite somewhere; if one asked for, or every one, is empty or constant; if a weight is negative or
        all are zero; or if fewer than two complete rows are left.
    """
    path, options = Path(path), options or Options()
    kind = kind_of(path)
    report: Callable[[float], None] = (
        (lambda _f: None) if on_progress is None else lambda f: on_progress(f"reading {path.name}", f)
    )
    if options.sheet is not None and kind != "xlsx":
        raise InputError(f"--sheet {options.sheet}: {path.name} is {CALLED[kind]}, which has no sheets")
    try:
        if kind in BINARY:
            content = _arrays(*BINARY[kind](path, report), options.na)
        elif kind == "xlsx":
            from analysis.own_data.spreadsheet import read_sheet

            content = _content(path, read_sheet(path, options, report))
        else:
            content = _content(path, read_text(path, options, report))
    except OSError as error:
        raise unreadable(path, error) from None
    content.how = {"format": CALLED[kind]} | content.how
    return _complete(path, content, _chosen(columns, content.order), options)


def _check_distinct(names: Sequence[str], where: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"{where} has the column {name!r} more than once; every column needs a name of its own")


# --- which columns ---------------------------------------------------------------------------------------------------


def _arrays(numbers: dict[str, Array], others: dict[str, str], missing: Sequence[str]) -> _Content:
    """Columns of a file that says itself what they hold."""
    content = _Content({}, others, list(numbers | others), {})
    codes = [float(mark) for mark in missing if is_number(mark)]
    for name, column in numbers.items():
        values, found = coded(column, codes)
        content.marks[name] = ", ".join(f"{count} '{code:.10g}'" for code, count in found.items())
        (content.codes if name in others else content.numbers)[name] = values
    return content


def _content(path: Path, read: Read) -> _Content:
    """Columns of a table of text."""
    table, marks = read.table, read.marks
    named = [i for i, name in enumerate(table.names) if name]
    _check_distinct([table.names[i] for i in named], f"line {table.line} of {str(path)!r}")
    found = _Content({}, {}, [table.names[i] for i in named], read.how, list(read.notes))
    if table.titles:
        found.notes.append(f"{len(table.titles)} line(s) before the names skipped, the first {table.titles[0]!r:.60}")
    if nameless := sum(bool(column.first) for name, column in zip(table.names, table.columns, strict=True) if not name):
        found.notes.append(f"{nameless} column(s) without a name left out")
    found.notes += without_units(path, table, marks)
    subtotals = sorted(column.subtotal for column in table.columns if column.subtotal is not None)
    found.notes += _without_footers(table, marks)
    for row, text in subtotals:
        found.notes.append(
            f"row {row + 1} ({text:.40}) looks like a total of others: it is kept as an observation, as are others like it; take them out of the file"
        )
    if not table.rows:
        raise InputError(f"{str(path)!r} has a line of names and no rows; give at least 2 rows of numbers")
    found.nameless = {
        f"column {i + 1}": "it has no name"
        + (f", and holds text ({k.texts[0][1]!r:.40} in row {k.texts[0][0] + 1})" if k.wrong else "")
        for i, column in enumerate(table.columns)
        if not table.names[i] and ((k := column.kinds[marks]).wrong or column.digits)
    }
    for i in named:
        name, column = table.names[i], table.columns[i]
        kind = column.kinds[marks]
        found.marks[name] = ", ".join(
            f"{count} {mark!r}" if mark else f"{count} blank" for mark, count in column.missing.items()
        )
        if kind.wrong and kind.numeric:
            told = told_of(kind)
            found.others[name] = f"text among its numbers ({told})"
            found.wrong[name] = (
                f"column {name!r} of {str(path)!r} holds text among its numbers: {told}; {remedy(kind.texts[0][1])}, "
                "or choose other columns with --columns"
            )
        elif kind.numeric and column.large is not None:
            row, value = column.large
            found.others[name] = f"numbers too large ({value:.20}... in row {row + 1})"
            found.wrong[name] = (
                f"column {name!r} of {str(path)!r} holds a number too large for double precision, which ends at 1.8e308 "
                f"({value:.20}... in row {row + 1}); divide the column by a constant, or choose other columns with --columns"
            )
        elif kind.wrong:
            row, value = kind.texts[0]
            what = (
                "text that other marks would make numbers" if any(k.numeric for k in column.kinds.values()) else "text"
            )
            found.others[name] = f"{what} ({value!r:.40} in row {row + 1})"
        elif column.codes is not None:
            found.others[name] = f"codes ({column.codes[1]!r:.40} in row {column.codes[0] + 1})"
            found.codes[name] = column.values(marks)
        else:
            found.numbers[name] = column.values(marks)
            if column.turned is not None:
                row, cell = column.turned
                found.notes.append(
                    f"{cell!r:.40} in row {row + 1} of column {name!r} is read as a number below zero, as are others like it"
                )
            if unit := "".join(column.unit or ()):
                found.notes.append(f"the numbers of column {name!r} are written with {unit!r}, which is left out")
    return found


def _without_footers(table: Table, marks: Marks) -> list[str]:
    """What is said of the rows at the end that are no observations; what may be one goes back into the table."""
    numeric = set(table.numeric(marks))
    columns = [found if i in numeric else None for i, found in enumerate(zip(table.names, table.columns, strict=True))]
    said: list[str] = []
    announced, left = None, dict[str, list[Aside]]()
    for row in table.aside:
        announced = row.announced or announced
        why = why_no_observation(row, announced, columns, marks)
        if why is not None:
            left.setdefault(why, []).append(row)
            continue
        table.put_back(row)
        if row.announced and any(columns):
            said.append(
                f"{row.where} begins with a word for the {row.announced} of a column, but its numbers are not that: it is kept as an "
                "observation; take it out of the file if it is none"
            )
    ends = (
        f"{rows[0].where} at the end is left out as no observation: {why}"
        if len(rows) == 1
        else f"{len(rows)} rows at the end are left out as no observations, from {rows[0].where} on: {why}"
        for why, rows in left.items()
    )
    return [*ends, *said]


def _chosen(columns: Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    """Names asked for."""
    if columns is None:
        return None
    found = _named(columns, known)
    if not found:
        raise InputError("no column given; name some of the file, such as --columns a,b, or leave --columns out")
    _check_distinct(found, "--columns")
    return found


def _weighing(given: str, known: Sequence[str]) -> str:
    """Name of the column of weights."""
    found = _named([given], known)
    if len(found) != 1:
        raise InputError(
            f"--weights takes one column, and {given!r} names {len(found) or 'none'}; give one of the file"
        )
    return found[0]


def _named(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names in texts that commas may separate, each checked against those of the file."""
    found: list[str] = []
    for given in columns:
        whole = " ".join(given.split())
        parts = (
            [given]
            if given in known
            else [whole]
            if whole in known
            else next(csv.reader([given], skipinitialspace=True), [])
        )
        for part in parts:
            name = part if part in known else " ".join(part.split())
            if name and name not in known:
                hint = (
                    ""
                    if not any("," in other for other in known)
                    else "; a name with a comma is put in quotes, or given in a --columns of its own"
                )
                raise InputError(f"{lookup_error('column', name, known)}{hint}")
            found += [name] if name else []
    return found


def _taken(path: Path, content: _Content, wanted: list[str] | None, without: str | None) -> dict[str, Array]:
    """Columns to analyse; what holds no numbers is refused if asked for by name, and left out if not."""
    if wanted is None:
        found = {name: content.numbers[name] for name in content.order if name in content.numbers and name != without}
        if told := next(iter(content.wrong.values()), None):
            raise InputError(told)
        if not found and without is not None:
            raise InputError(
                f"{str(path)!r} has no column of numbers besides {without!r}: only the weights are left; give a column to weight"
            )
        if not found:
            told = ", ".join(f"{name} holds {what}" for name, what in content.others.items()) or "none at all"
            raise InputError(f"{str(path)!r} has no column of numbers: {told:.200}; give numeric columns")
        return found
    for name in wanted:
        if name in content.wrong:
            raise InputError(content.wrong[name])
        if name in content.others and name not in content.codes:
            raise InputError(
                f"column {name!r} of {str(path)!r} holds {content.others[name]}, not numbers; choose others with --columns"
            )
    return {name: content.numbers[name] if name in content.numbers else content.codes[name] for name in wanted}


# --- complete rows ---------------------------------------------------------------------------------------------------


def _complete(path: Path, content: _Content, wanted: list[str] | None, options: Options) -> Columns:
    """Rows without missing values, and a refusal of columns that have no density."""
    where, warnings = f"{str(path)!r}", list(content.notes)
    weighing = None
    if options.weights is not None:
        weighing = _weighing(options.weights, content.order)
        if weighing in (wanted or ()):
            raise InputError(
                f"column {weighing!r} is named in --columns and in --weights; give another for one of them"
            )
    taken = _taken(path, content, wanted, weighing)
    weights = None if weighing is None else _taken(path, content, [weighing], None)[weighing]
    lengths = {name: len(column) for name, column in taken.items()} | (
        {} if weighing is None or weights is None else {weighing: len(weights)}
    )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InputError(f"the columns of {where} have different lengths ({told}); choose some with --columns")
    if wanted is None:
        text = [f"{name}: {what}" for name, what in content.others.items() if name not in content.codes]
        warnings += [f"columns that hold no numbers left out: {', '.join(text)}"] if text else []
        warnings += [
            f"column {name!r} holds {content.others[name]} and is left out; --columns takes it in"
            for name in content.codes
        ]
        empty = _without_spread(taken)
        warnings += [f"column {n!r} {what} and is left out" for n, what in empty.items()]
        content.others |= empty
        taken = {name: column for name, column in taken.items() if name not in empty}
        if weighing is None and (table := frequencies(list(taken), list(taken.values()))) is not None:
            warnings.append(
                f"columns {table[0]!r} and {table[1]!r} look like a table of frequencies: if {table[1]!r} says how often each value of "
                f"{table[0]!r} occurred, say --columns {_quoted(table[0])} --weights {_quoted(table[1])}"
            )
        counting = _counting(taken)
        warnings += [f"column {n!r} {what} and is left out; --columns takes it in" for n, what in counting.items()]
        content.others |= counting
        taken = {name: column for name, column in taken.items() if name not in counting}
        if len(beyond := list(taken)[_MOST:]) > 0:
            what = f"the first {_MOST} columns of numbers are analysed jointly; --columns chooses others, or more"
            place = f"{len(beyond)} column{'s' if len(beyond) > 1 else ''}, {beyond[0]!r} to {beyond[-1]!r}"
            warnings.append(f"{place}, left out: {what}")
            content.nameless[place] = what
            for name in beyond:
                del taken[name], content.numbers[name]
    names, values = list(taken), np.column_stack(list(taken.values()))
    _check_columns(where, names, values)
    rows = len(values)
    absent = np.isnan(values) if weights is None else np.isnan(np.column_stack([values, weights]))
    complete = ~absent.any(axis=1)
    used = [*names, *([] if weighing is None else [weighing])]
    if not complete.all():
        counts = ", ".join(f"{name} {count}" for name, count in zip(used, absent.sum(axis=0), strict=True) if count)
        dropped = int((~complete).sum())
        warnings.append(
            f"{dropped} of {rows} rows have missing values ({counts}) and were dropped, nothing was put in their place"
        )
        if complete.sum() < 2:
            raise InputError(
                f"{where} has {complete.sum()} complete row(s): {dropped} of {rows} lack a value ({counts}); choose fewer columns with --columns"
            )
    if weights is not None:
        _check_weights(where, str(weighing), weights, complete)
        weights = weights[complete]
    reading = _reading(content, taken, complete, str(weighing) if weighing else None, wanted)
    values = values[complete]
    warnings += _odd_columns(where, names, values, chosen=wanted is not None)
    reading |= {"notes": list(content.notes)}
    return Columns(tuple(names), values, rows, tuple(warnings), reading, weights, np.flatnonzero(complete) + 1)


def _quoted(name: str) -> str:
    """A name as a shell takes it."""
    return name if re.fullmatch(r"[\w.-]+", name) else repr(name)


def _counting(taken: Mapping[str, Array]) -> dict[str, str]:
    """Columns that count the rows, and what they do; none if no other is left."""
    found = {n: what for n, x in taken.items() if (what := counts_rows(n, x[~np.isnan(x)])) is not None}
    return found if len(found) < len(taken) else {}


def _without_spread(taken: Mapping[str, Array]) -> dict[str, str]:
    """Columns that hold no values or the same in all rows, and so have no density, and what they hold; none if no other that measures is left."""
    found = {}
    for name, column in taken.items():
        filled = column[~np.isnan(column)]
        if not len(filled):
            found[name] = "holds no values"
        elif len(filled) > 1 and (filled == filled[0]).all() and np.isfinite(filled[0]):
            found[name] = f"is constant at {filled[0]:.10g}"
    left = (counts_rows(name, column[~np.isnan(column)]) for name, column in taken.items() if name not in found)
    return found if None in left else {}


def _others(names: Sequence[str], bad: str) -> str:
    rest = [name for name in names if name != bad]
    return f"leave it out: --columns {','.join(rest)}" if rest else "choose another with --columns"


def _check_columns(where: str, names: Sequence[str], values: Array) -> None:
    rows = len(values)
    if rows < 2:
        raise InputError(
            f"{where} has {rows or 'no'} row{'s' if rows != 1 else ''}; a fit needs at least 2, an interval 20"
        )
    for name, column in zip(names, values.T, strict=True):
        if np.isnan(column).all():
            raise InputError(
                f"column {name!r} of {where} has no values: all {rows} are missing; {_others(names, name)}"
            )
        if np.isinf(column).any():
            row = int(np.argmax(np.isinf(column))) + 1
            raise InputError(
                f"column {name!r} of {where} is {column[row - 1]} in row {row}; remove infinite values, or {_others(names, name)}"
            )


def _check_weights(where: str, name: str, weights: Array, complete: NDArray[np.bool_]) -> None:
    wrong = complete & ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"weight {weights[row]:g} in row {row + 1} of column {name!r} of {where}: weights must be finite and not negative; correct it"
        )
    above = int((weights[complete] > 0).sum())
    if above < 2:
        raise InputError(f"column {name!r} of {where} has {above} weights above zero; a fit needs at least 2")


def _odd_columns(where: str, names: Sequence[str], values: Array, *, chosen: bool) -> list[str]:
    """What looks odd in columns that can be used; a constant one is refused."""
    said = []
    for name, column in zip(names, values.T, strict=True):
        gap = float(np.spacing(np.abs(column).max()))
        if (column == column[0]).all() and gap > 1:
            raise InputError(
                f"the values of column {name!r} of {where} are all near {column[0]:g}, where double precision cannot tell numbers less "
                f"than {gap:g} apart: it has no density; subtract a constant from them if they differ, or {_others(names, name)}"
            )
        if gap > _COARSE * column.std() > 0:
            said.append(
                f"the values of column {name!r} are near {column[0]:g}, where double precision rounds to {gap:.2g}, not small against "
                "their spread: subtract a constant from them in the file"
            )
        if (column == column[0]).all():
            raise InputError(
                f"column {name!r} of {where} is constant at {column[0]:g}: it has no density; {_others(names, name)}"
            )
        if not chosen and len(names) > 1 and (what := no_measurement(name, column)) is not None:
            said.append(f"column {name!r} {what}; if it is no measurement, {_others(names, name)}")
        if codes := missing_codes(column):
            counts = {f"{code:.{6 if abs(code) > 1e19 else 10}g}": int((column == code).sum()) for code in codes}
            told = " and ".join(f"{code} in {count} row{'s' if count > 1 else ''}" for code, count in counts.items())
            ways = " ".join(f"--na {code}" for code in counts)
            said.append(f"column {name!r} has {told}, unlike all others: if that means a missing value, say {ways}")
        for end, ordered in (("last", column), ("first", column[::-1])):
            if total_of(ordered):
                said.append(
                    f"the {end} row of column {name!r} ({ordered[-1]:.10g}) is the sum of all the others: if it is a total, "
                    "take it out of the file"
                )
    return said


def _reading(
    content: _Content,
    taken: Mapping[str, Array],
    complete: NDArray[np.bool_],
    weights: str | None,
    wanted: Sequence[str] | None,
) -> dict[str, Any]:
    """What was read, for people and for JSON."""
    columns = []
    for name, column in taken.items():
        filled = column[~np.isnan(column)]
        facts = {"name": name, "first": float(filled[0]), "min": float(filled.min()), "max": float(filled.max())}
        missing = int(len(column) - len(filled))
        columns.append(
            facts | {"missing": missing} | ({"missing_marks": content.marks[name]} if content.marks.get(name) else {})
        )
    left = [
        {"name": name, "why": what} for name, what in content.others.items() if wanted is None or name not in wanted
    ]
    left += [
        {"name": name, "why": "not asked for"}
        for name in content.numbers
        if name not in taken and name not in content.others and name != weights
    ]
    left += [{"name": place, "why": why} for place, why in content.nameless.items()]
    return content.how | {
        "rows": len(complete), "rows_used": int(complete.sum()), "columns": columns, "left_out": left, "weights": weights,
    }  # fmt: skip
