"""Columns of numbers from CSV, Parquet, NumPy and netCDF files, read in parts; a file that cannot be used is refused in one line.

Nothing is guessed. Rows with missing values are dropped and counted; text where numbers should be, numbers where names
should be, and a file that is not what its name says are errors.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, lookup_error

pd = lazy_loader.load("pandas")
xr = lazy_loader.load("xarray")

__all__ = ["FORMATS", "Columns", "read_columns"]

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

#: What a file is, by the end of its name.
FORMATS: Mapping[str, str] = {
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "csv", ".tsv.gz": "csv", ".txt": "csv", ".dat": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".npy": "npy", ".npz": "npz",
    ".nc": "netcdf", ".nc4": "netcdf", ".cdf": "netcdf",
}  # fmt: skip
_NAMES = {"csv": "text", "parquet": "Parquet", "npy": "a NumPy array", "npz": "a NumPy archive", "netcdf": "netCDF"}
_MAGIC = (
    (b"PAR1", "parquet"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),
    (b"CDF", "netcdf"),
    (b"\x89HDF\r\n\x1a\n", "netcdf"),
)
_ROWS = 100_000
_SURPLUS = "\0surplus"
_PROBE = 65_536


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
    """

    names: tuple[str, ...]
    values: Array
    rows: int
    warnings: tuple[str, ...] = ()


def read_columns(path: Path, columns: Sequence[str] | None = None, on_progress: Progress | None = None) -> Columns:
    """Read columns of numbers.

    Parameters
    ----------
    path : Path
        CSV (also with tabs, semicolons or blanks between the fields, and compressed as ``.csv.gz``), Parquet, npy, npz or netCDF.
        A text file has names in its first line. Columns of an array without names are called x (n,), or x0, x1, ... (n, d).
    columns : sequence of str, optional
        Names in the order wanted; every numeric column if not given.
    on_progress : callable, optional
        Called with a label and the fraction read.

    Returns
    -------
    Columns

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable, empty, damaged, or not what its name says; if a column is unknown, named
        twice, not numeric, infinite somewhere, empty or constant; or if fewer than two complete rows are left.
    """
    path = Path(path)
    kind = _kind(path)
    report = on_progress or (lambda _label, _fraction: None)
    if columns is not None:
        if not columns:
            raise InputError("no column given; name some of the file, such as --columns a,b, or leave --columns out")
        _check_distinct(columns, "--columns")
    try:
        reader = {"csv": _read_csv, "parquet": _read_parquet, "netcdf": _read_netcdf}.get(kind, _read_numpy)
        names, parts, notes = reader(path, columns, report)
    except OSError as error:
        raise _unreadable(path, error) from None
    return _complete(path, names, parts, notes, chosen=columns is not None)


# --- what the file is ------------------------------------------------------------------------------------------------


def _kind(path: Path) -> str:
    """Format of a file by its name, checked against its first bytes."""
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; give one file of it, such as {str(path / 'data.csv')!r}")
    if not path.exists():
        near = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        hint = _nearest(path.name, near)
        raise InputError(f"there is no file {str(path)!r}{hint or '; give the path of a data file'}")
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not head:
        raise InputError(f"{str(path)!r} is empty; give a file with a line of names and rows of numbers")
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    lower = path.name.lower()
    suffix = next((s for s in sorted(FORMATS, key=len, reverse=True) if lower.endswith(s)), None)
    if suffix is None:
        seems = f"; by its content it is {_NAMES[found]}" if found else ""
        raise InputError(
            f"{path.name!r} does not say by its name what it holds{seems}; rename it to one of {', '.join(FORMATS)}"
        )
    kind = FORMATS[suffix]
    zipped = head.startswith(b"\x1f\x8b")
    if zipped and not suffix.endswith(".gz"):
        raise InputError(
            f"{str(path)!r} is compressed with gzip, not {_NAMES[kind]}; call it {path.name}.gz if it is CSV"
        )
    if (found or "csv") != kind or (suffix.endswith(".gz") and not zipped):
        is_ = _NAMES[found] if found else "no such file"
        raise InputError(
            f"{str(path)!r} is not what its name says: {suffix} should be {_NAMES[kind]}{' in gzip' if suffix.endswith('.gz') else ''}, "
            f"and its content is {is_}; give it the right ending, or the right file"
        )
    return kind


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{str(path)!r} cannot be read ({error.strerror or error}); check the file and its permissions")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{str(path)!r} is damaged or truncated ({what}); copy or write it again")


def _check_distinct(names: Sequence[str], where: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"{where} has the column {name!r} more than once; every column needs a name of its own")


def _chosen(columns: Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    """Check the names asked for against those of the file."""
    if columns is None:
        return None
    for name in columns:
        if name not in known:
            raise lookup_error("column", name, known)
    return list(columns)


# --- text ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dialect:
    """How a text file writes its rows: the separator, the mark of decimals, the names, and lines before the first row."""

    separator: str
    decimal: str
    names: list[str]
    before: int


def _open(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """The content as bytes, and the file itself, whose position tells how much is read."""
    file = path.open("rb")
    return (gzip.GzipFile(fileobj=file), file) if path.name.lower().endswith(".gz") else (file, file)  # type: ignore[return-value]


def _dialect(path: Path) -> _Dialect:
    stream, file = _open(path)
    with file:
        try:
            head = stream.read(_PROBE)
        except (EOFError, gzip.BadGzipFile) as error:
            raise _damaged(path, str(error)) from None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        what = "UTF-16 text" if wide else "not text: it holds zero bytes"
        raise InputError(f"{str(path)!r} is {what}; save it as CSV in UTF-8")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise _encoding(path, error.start) from None
    lines = text.splitlines()
    if len(head) == _PROBE and len(lines) > 1:
        lines.pop()  # cut off in the middle
    filled = [(i, line) for i, line in enumerate(lines) if line.strip()]
    if not filled:
        raise InputError(f"{str(path)!r} has nothing but blank lines; give a line of names and rows of numbers")
    first, header = filled[0]
    sample = [line for _, line in filled[:20]]
    separator = "\t" if ".tsv" in path.name.lower() else _separator(sample)
    names = [name.strip() for name in _fields(header, separator)]
    if all(_number(name, ".") or _number(name, ",") for name in names if name) and any(names):
        raise InputError(
            f"line {first + 1} of {str(path)!r} holds numbers ({header.strip():.40}) where the names of the columns should be; "
            f"add a first line such as {','.join(f'x{i}' for i in range(min(len(names), 3)))}"
        )
    rows = [_fields(line, separator) for line in sample[1:]]
    for (number, _), row in zip(filled[1:], rows, strict=False):
        if len(row) > len(names):
            raise InputError(
                f"line {number + 1} of {str(path)!r} has {len(row)} fields and the line of names has {len(names)}; give every column a name"
            )
    decimal = "." if separator == "," else _decimal(rows)
    _check_distinct([name for name in names if name], f"line {first + 1} of {str(path)!r}")
    return _Dialect(separator, decimal, names, first + 1)


def _separator(lines: Sequence[str]) -> str:
    """The separator that splits all lines into the same number of fields, the most of them."""
    scores = {}
    for separator in ("\t", ";", ",", r"\s+"):
        counts = [len(_fields(line, separator)) for line in lines]
        if counts[0] > 1:
            scores[separator] = (counts.count(counts[0]) / len(counts), counts[0])
    return max(scores, key=lambda s: scores[s]) if scores else ","


def _fields(line: str, separator: str) -> list[str]:
    if separator == r"\s+":
        return line.split()
    return next(csv.reader([line], delimiter=separator))


def _decimal(rows: Sequence[Sequence[str]]) -> str:
    cells = [cell.strip() for row in rows for cell in row]
    comma = any(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in cells)
    return "," if comma and not any(re.fullmatch(r"[-+]?\d*\.\d+", cell) for cell in cells) else "."


def _number(text: Any, decimal: str) -> bool:
    try:
        float(str(text).strip().replace(decimal, "."))
    except ValueError:
        return False
    return True


def _encoding(path: Path, byte: int | None = None) -> InputError:
    where = "" if byte is None else f" from byte {byte} on"
    return InputError(f"{str(path)!r} is not UTF-8 text{where}; save it as CSV in UTF-8")


class _Text:
    """Collects columns of a text file part by part, and finds out which of them hold numbers."""

    def __init__(self, path: Path, names: list[str], decimal: str, chosen: bool) -> None:
        self.path, self.decimal, self.chosen = path, decimal, chosen
        self.parts: dict[str, list[Array]] = {name: [] for name in names}
        self.words: dict[str, tuple[int, str]] = {}
        self.row = 0

    def add(self, frame: Any) -> None:
        for name in [name for name in self.parts if name not in self.words]:
            column = frame[name]
            if column.dtype.kind in "iuf":
                self.parts[name].append(column.to_numpy(dtype=float))
            elif column.isna().all():
                self.parts[name].append(np.full(len(column), np.nan))
            else:
                self._text(name, column)
        self.row += len(frame)

    def _text(self, name: str, column: Any) -> None:
        filled = column[column.notna()]
        wrong = [
            (i, value) for i, value in filled.items() if isinstance(value, bool) or not _number(value, self.decimal)
        ]
        if not wrong:  # a Python integer too large for any column of NumPy
            self.parts[name].append(
                np.array([np.nan if v is None or v != v else float(v) for v in column], dtype=float)
            )
            return
        place, value = self.row + column.index.get_loc(wrong[0][0]) + 1, str(wrong[0][1])
        numbers = any(len(part) and not np.isnan(part).all() for part in self.parts[name]) or len(wrong) < len(filled)
        if numbers or self.chosen:
            many = "text among its numbers" if numbers else "text"
            raise InputError(
                f"column {name!r} of {str(self.path)!r} holds {many}: {value!r:.40} in row {place}; "
                f"{'correct or empty that field, or ' if numbers else ''}choose other columns with --columns"
            )
        self.words[name] = (place, value)
        self.parts[name] = []


def _read_csv(path: Path, columns: Sequence[str] | None, report: Progress) -> tuple[list[str], list[Array], list[str]]:
    dialect = _dialect(path)
    known = [name for name in dialect.names if name]
    notes = []
    if unnamed := len(dialect.names) - len(known):
        notes.append(f"{unnamed} column(s) without a name left out")
    if dialect.decimal == ",":
        notes.append("a comma is read as the decimal mark")
    wanted = _chosen(columns, known) or known
    text = _Text(path, wanted, dialect.decimal, columns is not None)
    # One name more than there are columns: pandas would drop what a longer row has too much.
    labels = [*(name or f"\0{i}" for i, name in enumerate(dialect.names)), _SURPLUS]
    size = max(path.stat().st_size, 1)
    stream, file = _open(path)
    with file:
        try:
            frames = pd.read_csv(
                stream,
                sep=dialect.separator,
                decimal=dialect.decimal,
                header=None,
                names=labels,
                dtype=dict.fromkeys(set(labels) - {*wanted}, str),
                skiprows=dialect.before,
                chunksize=_ROWS,
                index_col=False,
                encoding="utf-8-sig",
                low_memory=False,
                skipinitialspace=True,
            )
            for frame in frames:
                if (surplus := frame[_SURPLUS].notna()).any():
                    raise InputError(
                        f"row {text.row + int(np.argmax(surplus)) + 1} of {str(path)!r} has more fields than the {len(dialect.names)} names; "
                        "give every row the same number of fields"
                    )
                text.add(frame)
                report(f"reading {path.name}", min(file.tell() / size, 1.0))
        except UnicodeDecodeError:
            raise _encoding(path) from None
        except (EOFError, gzip.BadGzipFile, gzip.zlib.error) as error:  # type: ignore[attr-defined]
            raise _damaged(path, str(error)) from None
        except pd.errors.EmptyDataError:
            pass
        except pd.errors.ParserError as error:
            raise InputError(
                f"{str(path)!r} is no table: {_told(error)}; give every row the same number of fields"
            ) from None
    if not text.row:
        raise InputError(f"{str(path)!r} has a line of names and no rows; give at least 2 rows of numbers")
    if text.words and len(text.words) < len(wanted):
        notes.append(f"columns of text left out: {', '.join(text.words)}")
    names = [name for name in wanted if name not in text.words]
    if not names:
        name, (_, value) = next(iter(text.words.items()))
        raise InputError(
            f"{str(path)!r} has no column of numbers: {', '.join(wanted)} hold text ({name} is {value!r:.40}); give numeric columns"
        )
    return names, [np.concatenate(text.parts[name]) for name in names], notes


def _told(error: Exception) -> str:
    return re.sub(r"^Error tokenizing data\. C error: ", "", " ".join(str(error).split()))


# --- binary ----------------------------------------------------------------------------------------------------------


def _read_parquet(
    path: Path, columns: Sequence[str] | None, report: Progress
) -> tuple[list[str], list[Array], list[str]]:
    with path.open("rb") as stream:
        stream.seek(-min(4, path.stat().st_size), os.SEEK_END)
        if stream.read() != b"PAR1" or path.stat().st_size < 12:
            raise _damaged(path, "a Parquet file ends with PAR1, this one does not")
    try:
        import pyarrow as pa  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow.parquet as pq  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise InputError(
            f"reading {path.name} needs pyarrow; install it with: uv sync --extra parquet, or save the data as CSV"
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_distinct(schema.names, repr(str(path)))
            numeric = [
                field.name for field in schema
                if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
                or pa.types.is_null(field.type)
            ]  # fmt: skip
            names, notes = _numeric(path, schema.names, numeric, columns, lambda name: str(schema.field(name).type))
            parts: dict[str, list[Array]] = {name: [] for name in names}
            rows = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=names):
                for name in names:
                    parts[name].append(_floats(batch.column(batch.schema.get_field_index(name)), pa))
                rows += batch.num_rows
                report(f"reading {path.name}", rows / max(file.metadata.num_rows, 1))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise _damaged(path, " ".join(str(error).split())[:120]) from None
    return names, [np.concatenate(parts[name]) if parts[name] else np.empty(0) for name in names], notes


def _floats(column: Any, pa: Any) -> Array:
    array = column.cast(pa.float64(), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=float)


def _numeric(
    path: Path, known: Sequence[str], numeric: Sequence[str], columns: Sequence[str] | None, kind: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Columns to read of a file that says of each what it holds, and what is left out."""
    wanted = _chosen(columns, known)
    others = [name for name in known if name not in numeric]
    if wanted is None:
        if not numeric:
            raise InputError(
                f"{str(path)!r} has no column of numbers: it has {', '.join(f'{n} ({kind(n)})' for n in others) or 'none at all'}"
            )
        return list(numeric), [f"columns that hold no numbers left out: {', '.join(others)}"] if others else []
    for name in wanted:
        if name in others:
            raise InputError(
                f"column {name!r} of {str(path)!r} holds {kind(name)}, not numbers; choose others with --columns"
            )
    return wanted, []


def _read_numpy(
    path: Path, columns: Sequence[str] | None, report: Progress
) -> tuple[list[str], list[Array], list[str]]:
    arrays: dict[str, Any] = {}
    try:
        if path.suffix.lower() == ".npy":
            arrays["x"] = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            # Opened here: NumPy leaves a damaged archive open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, EOFError) as error:
        raise _damaged(path, str(error)) from None
    except ValueError as error:
        told = " ".join(str(error).split())
        if "pickle" in told.lower() or "Object arrays" in told:
            raise InputError(
                f"{str(path)!r} holds Python objects, not numbers; save a numeric array with numpy.save"
            ) from None
        raise _damaged(path, told) from None
    report(f"reading {path.name}", 1.0)
    named: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype.names:
            named |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 1:
            named[name] = array
        elif array.ndim == 2:
            named |= {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
        else:
            raise InputError(f"array {name!r} of {str(path)!r} has shape {array.shape}; it must be (n,) or (n, d)")
    return _arrays(path, named, columns)


def _arrays(
    path: Path, named: Mapping[str, Any], columns: Sequence[str] | None
) -> tuple[list[str], list[Array], list[str]]:
    numeric = [name for name, array in named.items() if array.dtype.kind in "iuf" and array.ndim == 1]
    names, notes = _numeric(path, list(named), numeric, columns, lambda name: f"{named[name].dtype}{named[name].shape}")
    lengths = {name: len(named[name]) for name in names}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InputError(f"the columns of {str(path)!r} have different lengths ({told}); choose some with --columns")
    return names, [np.array(named[name], dtype=float) for name in names], notes


def _read_netcdf(
    path: Path, columns: Sequence[str] | None, report: Progress
) -> tuple[list[str], list[Array], list[str]]:
    named: dict[str, Any] = {}
    try:
        with xr.open_datatree(path, decode_times=False) as tree:
            group = tree["observed_data"] if not tree.data_vars and "observed_data" in tree.children else tree
            if not group.data_vars:
                groups = ", ".join(tree.children) or "none"
                raise InputError(
                    f"{str(path)!r} has no variables at its root (groups: {groups}); save them in the root group"
                )
            for name, variable in group.data_vars.items():
                if variable.ndim == 2:
                    named |= {f"{name}{i}": variable.to_numpy()[:, i] for i in range(variable.shape[1])}
                else:
                    named[str(name)] = variable.to_numpy()
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, PermissionError):
            raise
        raise _damaged(path, " ".join(str(error).split())[:120]) from None
    report(f"reading {path.name}", 1.0)
    return _arrays(path, named, columns)


# --- complete rows ---------------------------------------------------------------------------------------------------


def _complete(
    path: Path, names: Sequence[str], parts: Sequence[Array], notes: Sequence[str], *, chosen: bool
) -> Columns:
    """Rows without missing values, and a refusal of columns that have no density."""
    warnings = list(notes)
    values = np.column_stack(list(parts))
    rows = len(values)
    where = f"{str(path)!r}"

    def others(bad: str) -> str:
        rest = [name for name in names if name != bad]
        return f"leave it out: --columns {','.join(rest)}" if rest else "choose another with --columns"

    if rows < 2:
        raise InputError(
            f"{where} has {rows or 'no'} row{'s' if rows != 1 else ''}; a fit needs at least 2, an interval 20"
        )
    absent = np.isnan(values)
    for name, gone in zip(names, absent.all(axis=0), strict=True):
        if gone:
            raise InputError(f"column {name!r} of {where} has no values: all {rows} are missing; {others(name)}")
    for name, column in zip(names, values.T, strict=True):
        if np.isinf(column).any():
            row = int(np.argmax(np.isinf(column))) + 1
            raise InputError(
                f"column {name!r} of {where} is {column[row - 1]} in row {row}; remove infinite values, or {others(name)}"
            )
    incomplete = absent.any(axis=1)
    if incomplete.any():
        counts = ", ".join(f"{name} {count}" for name, count in zip(names, absent.sum(axis=0), strict=True) if count)
        dropped = int(incomplete.sum())
        warnings.append(
            f"{dropped} of {rows} rows have missing values ({counts}) and were dropped, nothing was put in their place"
        )
        values = values[~incomplete]
        if len(values) < 2:
            raise InputError(
                f"{where} has {len(values)} complete row(s): {dropped} of {rows} lack a value ({counts}); choose fewer columns with --columns"
            )
    for name, column in zip(names, values.T, strict=True):
        if (column == column[0]).all():
            raise InputError(
                f"column {name!r} of {where} is constant at {column[0]:g}: it has no density; {others(name)}"
            )
        if not chosen and len(names) > 1 and len(column) > 2 and (np.diff(column) == 1).all() and column[0] in (0, 1):
            warnings.append(f"column {name!r} counts the rows; if it is no measurement, {others(name)}")
    return Columns(tuple(names), values, rows, tuple(warnings))
