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
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

__all__ = ["alone", "clear", "folder", "keep_bytecode", "kept", "place", "usage"]

_MODELS = Path(__file__).resolve().parents[1]
_MAGIC = b"duality graph 1\n"
_WAIT = 120.0  # seconds for another process that compiles the same graph; then both do
_PLACE = "[0-9a-f]" * 20  # one folder for each state of sources and versions
_STALE = 30 * 86400.0  # seconds without use after which graphs of other versions go


def folder() -> Path:
    """Folder of the store: ``$DUALITY_CACHE`` if it is set, else the user's cache folder."""
    if given := os.environ.get("DUALITY_CACHE"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("duality")) / "graphs"


#: All that the store writes, besides its folders.
_OURS = ("*.graph", "*.lock", ".*.part", "density_*.py", "density_*.sum", "__pycache__/density_*")


def _files(*patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in folder().glob(f"{_PLACE}/{pattern}") if path.is_file()]


def usage() -> tuple[Path, int, int]:
    """Folder of the store, its number of compiled graphs and densities, and the bytes they take."""
    count = len(_files("*.graph", "density_*.py"))
    bytecode = [path for path in _bytecode().rglob("*.pyc") if path.is_file()]
    return folder(), count, sum(path.stat().st_size for path in [*_files(*_OURS), *bytecode])


def clear() -> int:
    """Remove what the store has written, and nothing else; return how many graphs and densities it held."""
    count = len(_files("*.graph", "density_*.py"))
    for path in _files(*_OURS):
        path.unlink(missing_ok=True)
    for place_ in folder().glob(_PLACE):
        for empty in (place_ / "__pycache__", place_):
            with suppress(OSError):  # what others put there stays
                empty.rmdir()
    shutil.rmtree(_bytecode(), ignore_errors=True)
    return count


def _bytecode() -> Path:
    return folder() / "bytecode"


def keep_bytecode() -> None:
    """Let Python keep bytecode in this folder where ``PYTHONDONTWRITEBYTECODE`` keeps it from the sources' own.

    Containers set it, and then every process compiles PyMC and all that it imports anew: five seconds instead of one. Where the
    installer has compiled the sources there is nothing to do.
    """
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and sys.pycache_prefix is None:
        numpy = find_spec("numpy")
        if numpy is None or numpy.origin is None or Path(cache_from_source(numpy.origin)).exists():
            return
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(_bytecode())  # of processes begun by this one too
        del os.environ["PYTHONDONTWRITEBYTECODE"]
    if sys.pycache_prefix == str(_bytecode()):  # such a process may still have been told not to write
        sys.dont_write_bytecode = False


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
    store = place()
    if store is None:
        return make()
    path = store / f"{hashlib.sha256(repr((kind, key)).encode()).hexdigest()[:40]}.graph"
    if (found := _read(path)) is not None:
        return found
    with alone(path):
        if (found := _read(path)) is not None:  # another process has made it meanwhile
            return found
        made = make()
        _write(path, made)
    return made


@cache
def place() -> Path | None:
    """Folder for these sources and versions; ``None``, said once, where it cannot be written."""
    digest = hashlib.sha256()
    for source in sorted(_MODELS.rglob("*.py")):
        digest.update(source.relative_to(_MODELS).as_posix().encode())
        digest.update(source.read_bytes())
    names = ("pytensor", "pymc", "numpy", "scipy")
    digest.update(repr([platform.python_version(), *((name, version(name)) for name in names)]).encode())
    store = folder() / digest.hexdigest()[:20]
    try:
        if not store.is_dir():
            _drop_stale()
            store.mkdir(parents=True, exist_ok=True)
        os.utime(store)
        with tempfile.TemporaryFile(dir=store):
            pass
    except OSError as error:
        warnings.warn(
            f"compiled graphs cannot be stored in {str(folder())!r} ({error.strerror}), so each process compiles its own; set "
            "DUALITY_CACHE to a folder that can be written",
            stacklevel=2,
        )
        return None
    return store


def _drop_stale() -> None:
    """Remove what was compiled from other sources or versions and has not been used for a month."""
    for store in folder().glob(_PLACE):
        if store.is_dir() and time.time() - store.stat().st_mtime > _STALE:
            shutil.rmtree(store, ignore_errors=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of an entry, so that two processes do not compile the same; after `_WAIT` seconds go on without."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_suffix(".lock"), timeout=_WAIT)
    with suppress(Timeout, OSError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
