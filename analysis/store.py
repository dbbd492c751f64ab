"""A result is computed again only when what it depends on has changed: settings, sources or library versions.

Each result is a netCDF file with a record beside it: what it depends on, the SHA-256 of its bytes, and the seconds it took.
A file that is not, byte for byte, what its record says counts as missing. Files are written under another name and moved
into place, so that a run may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.sources import source_hash

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Store",
    "as_bytes",
    "from_file",
    "source_hash",
    "sweep",
    "unfinished",
    "versions",
    "write_all",
    "write_whole",
]

#: Of the records; a record of another version counts as missing.
_RECORDS = "1"
#: Settings whose seconds a record keeps.
_REMEMBERED = 8
_LEFTOVER = re.compile(r"\..+\.(?P<host>[^.~]*)~(?P<pid>\d+)\.part\Z")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on, found without importing one of them."""
    found = {"python": platform.python_version()}
    for name in ("pymc", "pytensor", "arviz", "numba", "numpy", "scipy", "xarray"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@dataclass(frozen=True)
class Store:
    """Results of one question in a folder, one netCDF file for each part.

    Attributes
    ----------
    folder : Path
    question : str
    fresh : bool
        Compute everything again.
    """

    folder: Path
    question: str
    fresh: bool = False

    def __call__(self, name: str, inputs: Mapping[str, Any], compute: Callable[[], xr.DataTree]) -> xr.DataTree:
        """Return the stored part if its inputs are the same, else compute and store it."""
        path = self.find(name, inputs)
        if path is not None:
            return from_file(path)
        started = time.perf_counter()
        tree = compute()
        self.put(name, inputs, as_bytes(tree), time.perf_counter() - started)
        return tree

    def path(self, name: str) -> Path:
        """File of a part."""
        return self.folder / self.question / f"{name}.nc"

    def find(self, name: str, inputs: Mapping[str, Any]) -> Path | None:
        """File of a stored part, or ``None`` if it is missing, damaged, or of other inputs, sources or versions."""
        path = self.path(name)
        return path if not self.fresh and is_whole(path, self.key(inputs)) else None

    def load(self, name: str, inputs: Mapping[str, Any]) -> xr.DataTree:
        """Read a part that was stored a moment ago.

        Raises
        ------
        RuntimeError
            If another report, of other settings, has put its own there.
        """
        path = self.find(name, inputs)
        if path is None:
            raise RuntimeError(
                f"part {name} has been replaced: two reports of different settings in one folder? run it again"
            )
        return from_file(path)

    def put(self, name: str, inputs: Mapping[str, Any], content: bytes, seconds: float) -> Path:
        """Store a part and the seconds it took.

        Raises
        ------
        OSError
            If it cannot be written, for want of space for example; what was stored stays as it was.
        """
        path = self.path(name)
        kept = dict(_seconds(path))
        kept.pop(digest_of(inputs), None)
        kept = dict([*kept.items(), (digest_of(inputs), round(seconds, 3))][-_REMEMBERED:])
        put_whole(path, self.key(inputs), content, {"seconds": kept})
        return path

    def seconds(self, name: str, inputs: Mapping[str, Any]) -> float | None:
        """Seconds that a part of these inputs took when it was last computed, whatever has changed since."""
        return _seconds(self.path(name)).get(digest_of(inputs))

    def key(self, inputs: Mapping[str, Any]) -> str:
        """SHA-256 of everything a part depends on."""
        return digest_of({"inputs": inputs, "sources": source_hash(self.question), "versions": versions()})


# --- one file --------------------------------------------------------------------------------------------------------


def digest_of(value: Any) -> str:
    """SHA-256 of something that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def put_whole(path: Path, key: str, content: bytes, more: Mapping[str, Any] | None = None) -> None:
    """Write a file, then its record; killed in between, the record does not fit the file, which then counts as missing."""
    write_whole(path, content)
    record = {"version": _RECORDS, "key": key, "sha256": hashlib.sha256(content).hexdigest(), **(more or {})}
    write_whole(_record_of(path), json.dumps(record, indent=1).encode())


def is_whole(path: Path, key: str) -> bool:
    """Say whether a file is there, has this key, and is byte for byte what was written."""
    record = _record(path)
    if record.get("version") != _RECORDS or record.get("key") != key:
        return False
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == record.get("sha256")
    except OSError:
        return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and move it into place: it is never there in part."""
    write_all({path: content})


def write_all(files: Mapping[Path, bytes], last: Collection[str] = ()) -> None:
    """Write files under other names, then move each to its place, those called as in `last` after all others."""
    waiting: dict[Path, Path] = {}
    try:
        for path in sorted(files, key=lambda path: path.name in last):
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = unfinished(path)
            waiting[path].write_bytes(files[path])
        for path, temporary in waiting.items():
            temporary.replace(path)
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Name of a file that this process has not finished writing: `sweep` removes it once the process is no more."""
    return path.with_name(f".{path.name}.{_host()}~{os.getpid()}.part")


def sweep(folders: Iterable[Path]) -> int:
    """Remove what killed runs have left in folders: unfinished files of processes that are no more.

    Parameters
    ----------
    folders : iterable of Path
        Looked at without the folders in them; those that do not exist are left out.

    Returns
    -------
    int
        Files removed.
    """
    removed = 0
    for folder in folders:
        for path in sorted(folder.glob(".*.part")):
            match = _LEFTOVER.match(path.name)
            if match and match["host"] == _host() and not _alive(int(match["pid"])):
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _host() -> str:
    return re.sub(r"[^\w-]", "-", platform.node())


def _alive(pid: int) -> bool:
    if os.name != "posix":  # where to ask is to end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _record(path: Path) -> dict[str, Any]:
    """Return the record of a file; empty if there is none that can be read."""
    try:
        record = json.loads(_record_of(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _seconds(path: Path) -> dict[str, float]:
    seconds = _record(path).get("seconds")
    if not isinstance(seconds, dict):
        return {}
    return {str(k): float(v) for k, v in seconds.items() if isinstance(v, int | float)}


# --- netCDF ----------------------------------------------------------------------------------------------------------


def as_bytes(tree: xr.DataTree) -> bytes:
    """Write a tree as netCDF; the same tree gives the same bytes."""
    with tempfile.TemporaryDirectory(prefix="duality-") as folder:
        path = Path(folder) / "tree.nc"
        tree.to_netcdf(path, engine="netcdf4")
        return path.read_bytes()


def from_file(path: Path) -> xr.DataTree:
    """Read a tree into memory."""
    import xarray as xr

    with xr.open_datatree(path, engine="netcdf4") as tree:
        return tree.load()
