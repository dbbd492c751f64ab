"""Parquet, Feather, NumPy and netCDF files: columns that say themselves what they hold."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from analysis.own_data.numerals import Cells, Marks, is_number, tidy
from models.errors import InputError

xr = lazy_loader.load("xarray")

__all__ = ["BINARY", "coded", "damaged", "whole"]

Array = NDArray[np.float64]
Report = Callable[[float], None]
#: Columns of numbers, and of each other column what it holds; one in both is taken if asked for by name.
Found = tuple[dict[str, Array], dict[str, str]]
_ROWS = 100_000
_LIKE = "text that looks like numbers"


def damaged(path: Path, what: str) -> InputError:
    """Say that a file is not whole."""
    return InputError(f"{str(path)!r} is damaged or truncated ({' '.join(what.split())[:120]}); copy or write it again")


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Say of whatever a library raises while it reads a file that the file is not whole: they promise no kind of error."""
    try:
        yield
    except (InputError, MemoryError, PermissionError):
        raise
    except Exception as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def coded(column: Array, codes: Sequence[float]) -> tuple[Array, Counter[float]]:
    """A column with nan for codes of missing values, also as single precision has them; and how many there were of each.

    Examples
    --------
    >>> coded(np.array([1.5, -999.0, np.float32(1e20)]), [-999.0, 1e20])[0].tolist()
    [1.5, nan, nan]
    """
    places = {code: (column == code) | (column == np.float64(np.float32(code))) for code in codes}
    found = Counter({code: int(place.sum()) for code, place in places.items() if place.any()})
    return np.where(np.any(list(places.values()), axis=0), np.nan, column) if found else column, found


# --- Arrow -----------------------------------------------------------------------------------------------------------


def _arrow(path: Path, kind: str, mark: bytes) -> Any:
    with path.open("rb") as stream:
        stream.seek(-min(len(mark), path.stat().st_size), os.SEEK_END)
        if stream.read() != mark or path.stat().st_size < 12:
            raise damaged(path, f"a {kind} file ends with {mark.decode()}, this one does not")
    try:
        import pyarrow as pa  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise InputError(
            f"reading {path.name} needs pyarrow; install it with: uv sync --extra parquet, or save the data as CSV"
        ) from None
    return pa


def _parquet(path: Path, report: Report) -> Found:
    pa = _arrow(path, "Parquet", b"PAR1")
    import pyarrow.parquet as pq  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with whole(path), pq.ParquetFile(path) as file:
        rows = max(file.metadata.num_rows, 1)
        return _batches(
            path, file.schema_arrow, lambda names: file.iter_batches(_ROWS, columns=names), rows, report, pa
        )


def _feather(path: Path, report: Report) -> Found:
    pa = _arrow(path, "Feather", b"ARROW1")
    import pyarrow.feather as feather  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with whole(path):
        table = feather.read_table(path, memory_map=False)
        return _batches(
            path, table.schema, lambda names: table.select(names).to_batches(_ROWS), max(table.num_rows, 1), report, pa
        )


def _batches(path: Path, schema: Any, batches: Callable[[list[str]], Any], rows: int, report: Report, pa: Any) -> Found:
    kinds = pa.types
    numeric = [
        field.name for field in schema
        if kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_decimal(field.type) or kinds.is_null(field.type)
    ]  # fmt: skip
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{str(path)!r} has the column {twice!r} more than once; every column needs a name of its own")
    parts: dict[str, list[Array]] = {name: [] for name in numeric}
    done = 0
    for batch in batches(numeric):
        for name in numeric:
            column = batch.column(batch.schema.get_field_index(name)).cast(pa.float64(), safe=False)
            parts[name].append(np.asarray(column.to_numpy(zero_copy_only=False), dtype=float))
        done += batch.num_rows
        report(done / rows)
    others = {
        field.name: _text(batches, field.name)
        if kinds.is_string(field.type) or kinds.is_large_string(field.type)
        else str(field.type)
        for field in schema
        if field.name not in numeric
    }
    for name in [name for name, what in others.items() if what.startswith(_LIKE)]:
        if (found := _numbers(batches, name)) is not None:
            parts[name] = [found]
            del others[name]
    others |= {name: "the index of a pandas frame" for name in _index_of(schema) if name in numeric}
    return {name: np.concatenate(p) if p else np.empty(0) for name, p in parts.items()}, others


def _numbers(batches: Callable[[list[str]], Any], name: str) -> Array | None:
    """The numbers of a column of text, if all are written with a point for a decimal mark, or with none, and in no other way."""
    plain, groups = Marks(".", ""), Marks(",", ".")
    cells = Cells([plain, groups])
    for batch in batches([name]):
        cells.add([value or "" for value in batch.column(0).to_pylist()])
    ambiguous = "." in cells.present and not cells.kinds[groups].wrong
    return None if cells.kinds[plain].wrong or cells.codes or cells.large or ambiguous else cells.values(plain)


def _text(batches: Callable[[list[str]], Any], name: str) -> str:
    """What a column of text holds, by its first cell that holds any."""
    cells = ((row, value) for batch in batches([name]) for row, value in enumerate(batch.column(0).to_pylist(), 1))
    row, value = next((cell for cell in islice(cells, _ROWS) if cell[1]), (0, ""))
    return f"{_LIKE if is_number(tidy(value)) else 'text'}" + (f" ({value!r:.40} in row {row})" if value else "")


def _index_of(schema: Any) -> list[str]:
    """Columns that pandas keeps the index of a frame in."""
    stored = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    return [column for column in stored.get("index_columns", []) if isinstance(column, str)]


# --- arrays ----------------------------------------------------------------------------------------------------------


def _numpy(path: Path, report: Report) -> Found:
    arrays: dict[str, Any] = {}
    # Opened here: NumPy leaves a damaged archive open.
    with whole(path), path.open("rb") as stream:
        try:
            if path.suffix.lower() == ".npy":
                arrays["x"] = np.load(path, mmap_mode="r", allow_pickle=False)
            else:
                with np.load(stream, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
        except ValueError as error:
            if any(word in str(error).lower() for word in ("pickle", "object")):
                raise InputError(
                    f"{str(path)!r} holds Python objects, not numbers; save a numeric array with numpy.save"
                ) from None
            raise
    report(1.0)
    if any(not isinstance(array, np.ndarray) for array in arrays.values()):
        raise InputError(
            f"{str(path)!r} is not what its name says: it is an archive of other files than arrays; give the right file"
        )
    named: list[tuple[str, Any]] = []
    for name, array in arrays.items():
        if array.dtype.names:
            named += [(field, array[field]) for field in array.dtype.names]
        elif array.ndim == 1:
            named.append((name, array))
        elif array.ndim == 2:
            named += [(f"{name}{i}", array[:, i]) for i in range(array.shape[1])]
        else:
            named.append((name, array))
    return _sorted(path, named)


def _sorted(path: Path, columns: Sequence[tuple[str, Any]]) -> Found:
    named = dict(columns)
    if len(named) < len(columns):
        twice = next(name for name, count in Counter(name for name, _ in columns).items() if count > 1)
        raise InputError(
            f"{str(path)!r} has the column {twice!r} more than once: the columns of a table a are called a0, a1, ..., as is another "
            "array or field of it; give every one a name of its own"
        )
    numeric = {name: array for name, array in named.items() if array.dtype.kind in "iuf" and array.ndim == 1}
    others = {name: _described(array) for name, array in named.items() if name not in numeric}
    return {name: np.array(array, dtype=float) for name, array in numeric.items()}, others


def _described(array: Any) -> str:
    if array.ndim == 1:
        return str(array.dtype)
    return f"an array of shape {array.shape}, not (n,) or (n, d)" if array.ndim else "a single value"


def _netcdf(path: Path, report: Report) -> Found:
    named: list[tuple[str, Any]] = []
    with whole(path), xr.open_datatree(path, decode_times=False) as tree:
        group = tree["observed_data"] if not tree.data_vars and "observed_data" in tree.children else tree
        if not group.data_vars:
            groups = ", ".join(tree.children) or "none"
            raise InputError(
                f"{str(path)!r} has no variables at its root (groups: {groups}); save them in the root group"
            )
        for name, variable in group.data_vars.items():
            if variable.ndim == 2:
                named += [(f"{name}{i}", variable.to_numpy()[:, i]) for i in range(variable.shape[1])]
            else:
                named.append((str(name), variable.to_numpy()))
    report(1.0)
    return _sorted(path, named)


#: Readers by what a file is.
BINARY: Mapping[str, Callable[[Path, Report], Found]] = {
    "parquet": _parquet, "feather": _feather, "npy": _numpy, "npz": _numpy, "netcdf": _netcdf,
}  # fmt: skip
