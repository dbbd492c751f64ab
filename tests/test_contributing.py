"""CONTRIBUTING.md, done as it says, in a copy of the project: a target, a family and a question."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.exhaustive
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which every block that names a file is written: a new file, or an entry of the catalogue there."""
    root = tmp_path_factory.mktemp("project")
    for name in ("models", "analysis", "reports/templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "reports/references.bib"):
        shutil.copy(ROOT / name, root / name)
    blocks = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 8
    for name, text in blocks:
        path = root / name
        if path.exists():
            before = path.read_text(encoding="utf-8")
            (opening,) = re.findall(r"^(?:TARGETS|FAMILIES)\b[^{]*\{$", before, re.MULTILINE)
            (indent,) = re.findall(rf"{re.escape(opening)}\n( +)", before)
            text = before.replace(opening, f"{opening}\n{textwrap.indent(text.rstrip(), indent)}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def duality(project: Path, *arguments: str) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTENSOR_FLAGS": "cxx="}
    done = subprocess.run(
        [sys.executable, "-m", "analysis", *arguments], cwd=project, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_target_and_a_new_family_work_in_a_projection(project: Path) -> None:
    listed = duality(project, "list")
    assert "skewed" in listed
    assert "chi_squared" in listed
    found = json.loads(duality(project, "project", "skewed", "--onto", "gumbel", "--direction", "forward", "--json"))
    (solution,) = found["solutions"]
    assert set(solution["params"]) == {"mu", "beta"}
    assert 0 < solution["divergence"] < 0.1
    gamma = json.dumps({"distribution": "Gamma", "params": {"alpha": 2.5, "beta": 0.5}})
    found = json.loads(duality(project, "project", gamma, "--onto", "chi_squared", "--direction", "forward", "--json"))
    assert abs(found["solutions"][0]["params"]["nu"] - 5) < 1e-6


def test_a_new_question_is_computed_drawn_and_reported(project: Path) -> None:
    assert "tails" in duality(project, "list")
    out = project / "out"
    duality(project, "report", "--quick", "--only", "tails", "--format", "md", "--output", str(out), "--jobs", "1")
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "Maximum likelihood finds" in page
    assert "It loses 0.072" in page  # log 2π / 2 + 1/2 - (1 + log 2) + log √2: the entropies' difference
    assert (out / "figures" / "tails-light.svg").exists()


def test_what_is_new_is_as_clean_as_what_is_old(project: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "analysis/tails"], cwd=project, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
