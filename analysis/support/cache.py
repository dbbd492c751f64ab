"""A result is computed again only when what it depends on has changed: settings, sources or library versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

from models.results import SCHEMA_VERSION, load, save, versions

__all__ = ["Store", "source_hash"]

_ROOT = Path(__file__).resolve().parents[2]


@cache
def source_hash(question: str) -> str:
    """SHA-256 of the sources that the numbers of a question come from: ``models``, its script and its data."""
    files = [*sorted((_ROOT / "models").glob("*.py")), _ROOT / "analysis" / f"{question}.py",
             *sorted((_ROOT / "analysis" / "support" / "data").glob("*.csv"))]  # fmt: skip
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


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
