"""What a data file is: told by its name, and checked against what it begins with."""

from __future__ import annotations

import difflib
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from analysis.own_data.binary import whole
from models.errors import InputError

__all__ = ["CALLED", "FORMATS", "kind_of", "unreadable"]

#: What a file is, by the end of its name.
FORMATS: Mapping[str, str] = {
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "csv", ".tsv.gz": "csv", ".txt": "csv", ".txt.gz": "csv", ".dat": "csv",
    ".xlsx": "xlsx", ".xlsm": "xlsx",
    ".parquet": "parquet", ".pq": "parquet", ".feather": "feather", ".arrow": "feather",
    ".npy": "npy", ".npz": "npz",
    ".nc": "netcdf", ".nc4": "netcdf", ".cdf": "netcdf",
}  # fmt: skip
CALLED = {
    "csv": "text", "xlsx": "an Excel workbook", "parquet": "Parquet", "feather": "Feather", "npy": "a NumPy array", "npz": "a NumPy archive",
    "netcdf": "netCDF",
}  # fmt: skip
_MAGIC = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "feather"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),
    (b"CDF", "netcdf"),
    (b"\x89HDF\r\n\x1a\n", "netcdf"),
)
#: Text that is no table, by what it begins with.
_OTHER = {
    "a web page (HTML)": re.compile(
        rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|table|head|body)\b", re.I | re.S
    ),
    "XML": re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\b", re.I),
    "JSON": re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)*(?:\{\s*"|\[\s*\[)'),
    "ARFF": re.compile(rb"(?:\s*%[^\n]*\n)*\s*@relation\b", re.I),
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def kind_of(path: Path) -> str:
    """Format of a file by its name, checked against its first bytes.

    Raises
    ------
    InputError
        If it is missing, a folder, unreadable, empty, or not what its name says.
    """
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
        raise unreadable(path, error) from None
    if not head:
        raise InputError(f"{str(path)!r} is empty; give a file with a line of names and rows of numbers")
    if head.startswith(_OLE):
        raise _old_office(path)
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    lower = path.name.lower()
    suffix = next((s for s in sorted(FORMATS, key=len, reverse=True) if lower.endswith(s)), None)
    if found == "npz" and suffix in (".xlsx", ".xlsm"):
        return _workbook(path)
    if suffix is None:
        seems = f"; by its content it is {_called(path, found)}" if found else ""
        raise InputError(
            f"{path.name!r} does not say by its name what it holds{seems}; rename it to one of {', '.join(FORMATS)}"
        )
    kind = FORMATS[suffix]
    zipped = head.startswith(b"\x1f\x8b")
    if zipped and not suffix.endswith(".gz"):
        raise InputError(
            f"{str(path)!r} is compressed with gzip, not {CALLED[kind]}; call it {path.name}.gz if it is CSV"
        )
    if kind == "csv" and found is None and not zipped and (other := _other_text(path)):
        raise InputError(f"{str(path)!r} holds {other}, not a table of fields; save the table as CSV")
    if (found or "csv") != kind or (suffix.endswith(".gz") and not zipped):
        is_ = _called(path, found) if found else "no such file"
        raise InputError(
            f"{str(path)!r} is not what its name says: {suffix} should be {CALLED[kind]}{' in gzip' if suffix.endswith('.gz') else ''}, "
            f"and its content is {is_}; give it the right ending, or the right file"
        )
    return kind


def _other_text(path: Path) -> str | None:
    """What a text file is by its first characters, if it is no table of fields."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    return next((what for what, pattern in _OTHER.items() if pattern.match(head)), None)


def _old_office(path: Path) -> InputError:
    if "EncryptedPackage".encode("utf-16-le") in path.read_bytes():
        return InputError(f"{str(path)!r} is protected with a password; save it without one, or as CSV")
    return InputError(f"{str(path)!r} is an old Office file (.xls); save it as .xlsx or CSV")


def _called(path: Path, kind: str) -> str:
    """What a file is by its content: of an archive, what it holds."""
    if kind != "npz":
        return CALLED[kind]
    try:
        with whole(path), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except InputError:
        return "a damaged ZIP archive"
    if "xl/workbook.xml" in names:
        return CALLED["xlsx"]
    if names and all(name.endswith(".npy") for name in names):
        return CALLED["npz"]
    return f"a ZIP archive ({', '.join(names) or 'empty':.60}), which has to be unpacked"


def _workbook(path: Path) -> str:
    with whole(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "xl/workbook.xml" not in names:
        raise InputError(
            f"{str(path)!r} is not what its name says: it is an archive and no workbook; give the right file"
        )
    return "xlsx"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def unreadable(path: Path, error: OSError) -> InputError:
    """Say that the system does not let a file be read."""
    return InputError(f"{str(path)!r} cannot be read ({error.strerror or error}); check the file and its permissions")
