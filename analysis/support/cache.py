"""A result is computed again only when what it depends on has changed: settings, sources or library versions."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from models.results import SCHEMA_VERSION, load, save, versions

__all__ = ["Store", "source_hash"]

_ROOT = Path(__file__).resolve().parents[2]
_SUPPORT = "analysis.support"
#: Modules of ``analysis.support`` that draw and write, by the beginning of their names: no number comes from them.
_PRESENTATION = ("figures", "words_", "report", "explorer", "cli")


@cache
def source_hash(question: str) -> str:
    """SHA-256 of the sources that the numbers of a question come from.

    These are ``models``, its script, the data, and every module of ``analysis.support`` that the script imports, directly
    or through another one, except those that only draw and write (``figures*``, ``words_*``, ``report``, ``explorer``,
    ``cli``): a new colour or sentence computes nothing again.
    """
    script = _ROOT / "analysis" / f"{question}.py"
    files = [*sorted((_ROOT / "models").glob("*.py")), script, *_support(script),
             *sorted((_ROOT / "analysis" / "support" / "data").glob("*.csv"))]  # fmt: skip
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _support(script: Path) -> list[Path]:
    """Modules of ``analysis.support`` that a script depends on for its numbers."""
    found: set[Path] = set()
    new = {script}
    while new:
        imported = {_ROOT / "analysis" / "support" / f"{name}.py" for file in new for name in _imported(file)}
        new = {file for file in imported if file.is_file()} - found
        found |= new
    return sorted(found)


def _imported(file: Path) -> Iterator[str]:
    """Names of the modules of ``analysis.support``, other than those of presentation, that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # ``from analysis.support import a`` names the module a; ``from analysis.support.a import b`` an object in it.
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            package, _, name = module.rpartition(".")
            if package == _SUPPORT and not name.startswith(_PRESENTATION):
                yield name


@dataclass(frozen=True)
class Store:
    """Results of one question in a folder, one netCDF file per part.

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
        key = self.key(inputs)
        path = self.folder / self.question / f"{name}.nc"
        if not self.fresh and path.exists():
            kept = _read(path)
            if kept is not None and kept.attrs.get("key") == key:
                return kept
        result = compute()
        result.attrs = {**result.attrs, "key": key, "schema_version": SCHEMA_VERSION}
        save(result, path)
        return result

    def key(self, inputs: Mapping[str, Any]) -> str:
        """SHA-256 of everything a part depends on."""
        payload = {"inputs": inputs, "sources": source_hash(self.question), "versions": versions()}
        return hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path) -> xr.DataTree | None:
    """Return a stored part, or ``None`` if the file is damaged: then it is computed again."""
    try:
        return load(path)
    except (OSError, ValueError, KeyError):
        return None
