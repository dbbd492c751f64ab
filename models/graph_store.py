"""What is compiled once a machine: compiled graphs in the user's cache folder, shared by all processes.

An entry is a pickle, which is code: the store lives in the user's own cache folder, never in a project's, and holds nothing
that was not made there. Its key is all that a graph is made of: kind, shapes, the sources of ``models``, the versions of PyTensor,
PyMC and NumPy. A damaged or foreign entry is none, and is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["clear", "folder", "kept", "usage"]

_MAGIC = b"duality graph 1\n"
_WAIT = 120.0  # seconds for another process that compiles the same graph; then both do
_STALE = 30 * 86400.0  # seconds without use after which graphs of other versions go


def folder() -> Path:
    """Folder of the store: ``$DUALITY_CACHE`` if it is set, else the user's cache folder."""
    if given := os.environ.get("DUALITY_CACHE"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("duality")) / "graphs"


def usage() -> tuple[Path, int, int]:
    """Folder of the store, its number of entries and their size in bytes."""
    sizes = [path.stat().st_size for path in folder().glob("*/*.graph")]
    return folder(), len(sizes), sum(sizes)


def clear() -> int:
    """Remove all entries, and nothing that is none; return how many they were."""
    entries = list(folder().glob("*/*.graph"))
    for path in [*entries, *folder().glob("*/*.lock"), *folder().glob("*/.*.part")]:
        path.unlink(missing_ok=True)
    for place in folder().glob("*"):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    return len(entries)


def kept(kind: str, key: object, make: Callable[[], Any]) -> Any:
    """Return what `make` returns, from the store if it holds it.

    Parameters
    ----------
    kind : str
        What it is.
    key : object
        Everything else it depends on, besides the sources of ``models`` and the versions of the libraries; told apart by
        its ``repr``.
    make : callable
        Without arguments; what it returns is stored unless it is ``None`` or a function that cannot be pickled.

    Returns
    -------
    object
    """
    place = _place()
    if place is None:
        return make()
    path = place / f"{hashlib.sha256(repr((kind, key)).encode()).hexdigest()[:40]}.graph"
    if (found := _read(path)) is not None:
        return found
    with _alone(path):
        if (found := _read(path)) is not None:  # another process has made it meanwhile
            return found
        made = make()
        _write(path, made)
    return made


@cache
def _place() -> Path | None:
    """Folder for these sources and versions; ``None``, said once, where it cannot be written."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("**/*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    names = ("pytensor", "pymc", "numpy", "scipy")
    digest.update(repr([platform.python_version(), *((name, version(name)) for name in names)]).encode())
    place = folder() / digest.hexdigest()[:20]
    try:
        if not place.is_dir():
            _drop_stale()
            place.mkdir(parents=True, exist_ok=True)
        os.utime(place)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        warnings.warn(
            f"compiled graphs cannot be stored in {str(folder())!r} ({error.strerror}), so each process compiles its own; set "
            "DUALITY_CACHE to a folder that can be written",
            stacklevel=2,
        )
        return None
    return place


def _drop_stale() -> None:
    for place in folder().glob("*"):
        if place.is_dir() and time.time() - place.stat().st_mtime > _STALE and not any(place.glob("[!.]*[!hk]")):
            shutil.rmtree(place, ignore_errors=True)


class _alone:
    """Hold the lock of an entry, so that two processes do not compile the same; after `_WAIT` seconds go on without."""

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self._lock = FileLock(path.with_suffix(".lock"), timeout=_WAIT)

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire()
        except (Timeout, OSError):
            pass

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
        head, checksum, payload = content[: len(_MAGIC)], content[len(_MAGIC) :][:32], content[len(_MAGIC) + 32 :]
        if head != _MAGIC or hashlib.sha256(payload).digest() != checksum:
            return None
        return pickle.loads(payload)
    except Exception:  # whatever is wrong with an entry, it is compiled again
        return None


def _write(path: Path, made: Any) -> None:
    """Write an entry whole or not at all; a full disk costs a compilation later, not this result."""
    if made is None:
        return
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        payload = pickle.dumps(made, protocol=pickle.HIGHEST_PROTOCOL)
        part.write_bytes(_MAGIC + hashlib.sha256(payload).digest() + payload)
        part.replace(path)
    except (OSError, pickle.PicklingError, TypeError, AttributeError):
        pass
    finally:
        part.unlink(missing_ok=True)
