"""CITATION.cff: the keys that version 1.2.0 of the format asks for, and what it repeats of the project."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"([a-z-]+):(?: (.*))?")


@pytest.fixture(scope="module")
def cited() -> dict[str, Any]:
    """The file's own subset of YAML: keys with a word, a list of words or of names, or a folded text."""
    found: dict[str, Any] = {}
    key = ""
    for line in (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines():
        top = LINE.fullmatch(line)
        if top is not None:
            key = top[1]
            found[key] = [] if top[2] is None else "" if top[2] == ">-" else top[2]
        elif isinstance(found[key], list):
            assert line.startswith("  - "), line
            found[key].append(line[4:])
        else:
            assert line.startswith("  "), line
            found[key] = f"{found[key]} {line.strip()}".strip()
    return found


def test_required_keys_are_there(cited: dict[str, Any]) -> None:
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "version", "license", "date-released"} <= set(cited)
    assert cited["type"] == "software"
    assert cited["authors"] == ["name: The duality authors"]
    date.fromisoformat(cited["date-released"])
    assert not any(":" in str(cited[key]) for key in ("title", "message", "version", "license"))  # words, unquoted


def test_it_says_what_the_project_says(cited: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert cited["keywords"] == project["keywords"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert readme == f"# {cited['title']}"
    assert "The duality authors" in (ROOT / "LICENSE").read_text(encoding="utf-8")
