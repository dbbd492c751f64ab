"""Where the numbers of a report come from: versions, settings, sources, commit. Never when they were computed, or how fast."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.site.numbers import literal
from analysis.store import source_hash, versions

if TYPE_CHECKING:
    from analysis.running.answers import Answer

__all__ = ["commit", "day", "facts", "rows"]

_PACKAGE = Path(__file__).resolve().parents[1]


def facts(answers: Mapping[str, Answer], effort: str, seed: int, only: Sequence[str]) -> dict[str, Any]:
    """Return what the numbers come from; two runs of the same sources on one machine have the same.

    Parameters
    ----------
    answers : mapping of str to Answer
    effort : {"quick", "default", "full"}
    seed : int
    only : sequence of str
        The questions that were asked for by name.

    Returns
    -------
    dict
    """
    option = "" if effort == "default" else f" --{effort}"
    option += "".join(f" --only {name}" for name in only)
    settings = {name: answer.settings for name, answer in answers.items()}
    return {
        "versions": versions(),
        "settings": settings[next(iter(settings))] if len(settings) == 1 else settings,
        "sources": {name: source_hash(name) for name in answers},
        "commit": commit(),
        "date": day(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "rebuild command": f"uv run duality report{option} --seed {seed}",
    }


def commit() -> str:
    """Name of the commit of the sources."""
    return _git("describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def day() -> str:
    """Day of the sources (ISO 8601): of their commit, so that a report begun before midnight can be ended after it.

    ``SOURCE_DATE_EPOCH`` goes before that; without it and without git it is today.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return moment.date().isoformat()


def _git(*arguments: str) -> str:
    """Return what git says of the sources; empty without git."""
    try:
        command = ["git", "-C", str(_PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def rows(provenance: Mapping[str, Any]) -> list[dict[str, str]]:
    """Write provenance as rows of a table: item, value."""

    def single(key: str, value: Any) -> str:
        text = str(value)
        if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{7,}", text) and not text.isdigit():
            return f"`{text[:12]}`"  # a hash; twelve digits identify it
        if key.endswith(("command", "commit")) and text:
            return f"`{text}`"
        return literal(text)

    def written(key: str, value: Any) -> str:
        if isinstance(value, Mapping):
            parts = [f"{single('', k)} {written(str(k), v)}" for k, v in value.items()]
            return ("; " if any(isinstance(v, list | tuple) for v in value.values()) else ", ").join(parts)
        if isinstance(value, list | tuple | set | frozenset):
            return ", ".join(written(key, v) for v in (sorted(value) if isinstance(value, set | frozenset) else value))
        return single(key, value)

    found: dict[str, Any] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
            found |= {f"{key} of {name}": inner for name, inner in value.items()}  # a row for each question
        else:
            found[str(key).replace("_", " ")] = value
    return [{"item": single("", key), "value": written(key, value) or "–"} for key, value in found.items()]
