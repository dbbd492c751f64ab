"""What a stored part depends on: every definition that computing reaches, and no sentence, caption or figure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from analysis.support import sources
from analysis.support.catalogue import questions
from analysis.support.sources import reached, source_hash

SCRIPT = '''"""A question."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.stats import norm, t

from analysis.support import figures as fig
from analysis.support import tools
from analysis.support.datasets import load_column
from analysis.support.parts import Part
from analysis.support.words_q import answer, label

if __name__ == "__main__":
    from analysis.support.cli import run_question

    run_question("q")

#: Its sentence.
QUESTION = "Why?"
SCALE = 2.0
OTHER = 3.0
CASES = {"one": 1, "two": 2}
np.seterr(all="ignore")


class Settings:
    """Settings."""

    seed = 0
    """Parent of all."""


def parts(settings: Settings):
    """Parts."""
    return [Part(name, "title", {}, partial(run_case, name, settings), weight=4) for name in CASES]


def run_case(name, settings):
    """Compute."""
    from analysis.support.late import later

    return helper(CASES[name]) + tools.used(later(label))


def helper(x):
    # A comment.
    return SCALE * norm.cdf(x) + load_column("d").mean()


def plot(results):
    """Draw."""
    return fig.draw(results, caption="A caption.", scale=OTHER)


def findings(results):
    return {"answer": answer(results, t)}
'''

FILES = {
    "models/a.py": "A = 1\n",
    "models/deep/b.py": "B = 1\n",
    "analysis/q.py": SCRIPT,
    "analysis/other.py": "O = 1\n",
    "analysis/support/data/d.csv": "1\n",
    "analysis/support/parts.py": "class Part:\n    def go(self):\n        return 1\n\n\ndef compute_parts():\n    return 2\n",
    "analysis/support/datasets.py": "from analysis.support.deep import depth\n\n\ndef load_column(name):\n    return depth(name)\n",
    "analysis/support/deep.py": "from analysis.support.datasets import load_column\n\n\ndef depth(name):\n    return 3\n\n\ndef unused():\n    return load_column\n",
    "analysis/support/tools.py": "def used(x):\n    return 4\n\n\ndef unused(x):\n    return 5\n",
    "analysis/support/late.py": "def later(x):\n    return 6\n",
    "analysis/support/figures.py": "def draw(results):\n    return 7\n",
    "analysis/support/words_q.py": "label = 8\n\n\ndef answer(results):\n    return 9\n",
    "analysis/support/cli.py": "def run_question(name):\n    return 10\n",
}

#: A file, what stands there, what it becomes, and whether numbers may change.
CHANGES = {
    "caption": ("analysis/q.py", "A caption.", "Another caption.", False),
    "question": ("analysis/q.py", "Why?", "Why not?", False),
    "findings": ("analysis/q.py", '{"answer": answer', '{"said": answer', False),
    "a constant of a figure": ("analysis/q.py", "OTHER = 3.0", "OTHER = 4.0", False),
    "a docstring": ("analysis/q.py", '"""Compute."""', '"""Compute a case."""', False),
    "a docstring alone": ("analysis/q.py", '"""Settings."""', "", False),
    "an attribute's docstring": ("analysis/q.py", '"""Parent of all."""', '"""Of all."""', False),
    "a comment": ("analysis/q.py", "# A comment.", "# Another.", False),
    "a weight": ("analysis/q.py", "weight=4", "weight=5", False),
    "when run": ("analysis/q.py", 'run_question("q")', 'run_question("r")', False),
    "an import of a figure": ("analysis/q.py", "norm, t", "norm, f as t", False),
    "a figure": ("analysis/support/figures.py", "7", "70", False),
    "words": ("analysis/support/words_q.py", "return 9", "return 90", False),
    "an unused tool": ("analysis/support/tools.py", "return 5", "return 50", False),
    "an unused tool below": ("analysis/support/deep.py", "return load_column", "return 0", False),
    "how parts are run": ("analysis/support/parts.py", "return 2", "return 20", False),
    "the command": ("analysis/support/cli.py", "10", "100", False),
    "another question": ("analysis/other.py", "1", "2", False),
    "a part": ("analysis/q.py", "helper(CASES[name])", "helper(CASES[name] + 1)", True),
    "a helper": ("analysis/q.py", "SCALE * norm", "SCALE - norm", True),
    "a constant of a helper": ("analysis/q.py", "SCALE = 2.0", "SCALE = 2.5", True),
    "cases": ("analysis/q.py", '"two": 2', '"two": 3', True),
    "settings": ("analysis/q.py", "seed = 0", "seed = 1", True),
    "an import of a helper": ("analysis/q.py", "norm, t", "expon as norm, t", True),
    "a statement that acts": ("analysis/q.py", 'all="ignore"', 'all="warn"', True),
    "a name of the words": ("analysis/support/words_q.py", "label = 8", "label = 80", True),
    "a tool used": ("analysis/support/tools.py", "return 4", "return 40", True),
    "a function imported": ("analysis/support/datasets.py", "depth(name)", "depth(0)", True),
    "a function below": ("analysis/support/deep.py", "return 3", "return 30", True),
    "a function imported late": ("analysis/support/late.py", "6", "60", True),
    "the class of parts": ("analysis/support/parts.py", "return 1", "return 11", True),
    "data": ("analysis/support/data/d.csv", "1", "2", True),
    "models": ("models/a.py", "1", "2", True),
    "models below": ("models/deep/b.py", "1", "2", True),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small tree of sources."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sources, "_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_changes_with_what_numbers_come_from(root: Path, change: str) -> None:
    name, old, new, counts = CHANGES[change]
    before = source_hash("q")
    assert source_hash("q") == before
    text = (root / name).read_text()
    assert text.count(old) == 1, "the change is not where it is meant to be"
    ast.parse(text.replace(old, new)) if name.endswith(".py") else None
    (root / name).write_text(text.replace(old, new))
    assert (source_hash("q") != before) == counts
    (root / name).write_text(text)
    assert source_hash("q") == before


def test_the_order_of_definitions_does_not_count(root: Path) -> None:
    before = source_hash("q")
    head, helper, rest = SCRIPT.partition("def helper(x):")
    body, plot, tail = rest.partition("def plot(results):")
    (root / "analysis/q.py").write_text(head + plot + tail + "\n\n" + helper + body)
    assert source_hash("q") == before


def test_other_roots_reach_other_definitions(root: Path) -> None:
    assert "q.plot" not in reached("q")
    assert {"q.plot", "figures.draw", "q.OTHER"} <= reached("q", "plot")
    assert source_hash("q") != source_hash("q", "parts", "plot")


def test_a_module_without_these_roots_counts_whole(root: Path) -> None:
    assert {"q.plot", "q.run_case"} <= reached("q", "nowhere")


@pytest.mark.parametrize("question", questions())
def test_numbers_of_the_questions_come_from_no_figure_and_no_sentence(question: str) -> None:
    found = reached(question)
    assert f"{question}.parts" in found
    assert "parts.Part" in found
    assert len([name for name in found if name.startswith(f"{question}.")]) > 20
    presented = {f"{question}.{name}" for name in ("plot", "findings", "explorer", "QUESTION", "TITLE")}
    assert not found & presented
    assert not {name for name in found if name.startswith(("figures", "words_", "cli"))}


def test_a_question_reaches_the_tools_that_it_uses() -> None:
    found = reached("mode_covering_vs_seeking")
    wanted = {"mode_covering_vs_seeking._judge", "datasets.load_column", "gaussians.nearest", "gaussians.moments"}
    assert wanted <= found
