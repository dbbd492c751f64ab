"""What a stored part depends on: every definition that computing reaches, and no sentence, caption or figure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from analysis import sources
from analysis.catalogue import questions
from analysis.sources import reached, source_hash

SCRIPT = '''"""A question."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, t

from analysis.drawing import style as fig
from analysis.room import tools
from analysis.data.columns import load_column
from analysis.parts import Part
from analysis.room.words_q import answer, label

if TYPE_CHECKING:
    from pathlib import Path

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
    from analysis.room.late import later

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
    "analysis/q/study.py": SCRIPT,
    "analysis/other/study.py": "O = 1\n",
    "analysis/data/d.csv": "1\n",
    "analysis/parts.py": "class Part:\n    def go(self):\n        return 1\n\n\ndef compute_parts():\n    return 2\n",
    "analysis/data/columns.py": "from analysis.room.deep import depth\n\n\ndef load_column(name):\n    return depth(name)\n",
    "analysis/room/deep.py": "from analysis.data.columns import load_column\n\n\ndef depth(name):\n    return 3\n\n\ndef unused():\n    return load_column\n",
    "analysis/room/tools.py": "def used(x):\n    return 4\n\n\ndef unused(x):\n    return 5\n",
    "analysis/room/late.py": "def later(x):\n    return 6\n",
    "analysis/drawing/style.py": "def draw(results):\n    return 7\n",
    "analysis/room/words_q.py": "label = 8\n\n\ndef answer(results):\n    return 9\n",
    "analysis/command/main.py": "def run_question(name):\n    return 10\n",
}

#: A file, what stands there, what it becomes, and whether numbers may change.
CHANGES = {
    "caption": ("analysis/q/study.py", "A caption.", "Another caption.", False),
    "question": ("analysis/q/study.py", "Why?", "Why not?", False),
    "findings": ("analysis/q/study.py", '{"answer": answer', '{"said": answer', False),
    "a constant of a figure": ("analysis/q/study.py", "OTHER = 3.0", "OTHER = 4.0", False),
    "a docstring": ("analysis/q/study.py", '"""Compute."""', '"""Compute a case."""', False),
    "a docstring alone": ("analysis/q/study.py", '"""Settings."""', "", False),
    "an attribute's docstring": ("analysis/q/study.py", '"""Parent of all."""', '"""Of all."""', False),
    "a comment": ("analysis/q/study.py", "# A comment.", "# Another.", False),
    "a weight": ("analysis/q/study.py", "weight=4", "weight=5", False),
    "what types need": ("analysis/q/study.py", "import Path", "import PurePath", False),
    "an import of a figure": ("analysis/q/study.py", "norm, t", "norm, f as t", False),
    "a figure": ("analysis/drawing/style.py", "7", "70", False),
    "words": ("analysis/room/words_q.py", "return 9", "return 90", False),
    "an unused tool": ("analysis/room/tools.py", "return 5", "return 50", False),
    "an unused tool below": ("analysis/room/deep.py", "return load_column", "return 0", False),
    "how parts are run": ("analysis/parts.py", "return 2", "return 20", False),
    "the command": ("analysis/command/main.py", "10", "100", False),
    "another question": ("analysis/other/study.py", "1", "2", False),
    "a part": ("analysis/q/study.py", "helper(CASES[name])", "helper(CASES[name] + 1)", True),
    "a helper": ("analysis/q/study.py", "SCALE * norm", "SCALE - norm", True),
    "a constant of a helper": ("analysis/q/study.py", "SCALE = 2.0", "SCALE = 2.5", True),
    "cases": ("analysis/q/study.py", '"two": 2', '"two": 3', True),
    "settings": ("analysis/q/study.py", "seed = 0", "seed = 1", True),
    "an import of a helper": ("analysis/q/study.py", "norm, t", "expon as norm, t", True),
    "a statement that acts": ("analysis/q/study.py", 'all="ignore"', 'all="warn"', True),
    "a name of the words": ("analysis/room/words_q.py", "label = 8", "label = 80", True),
    "a tool used": ("analysis/room/tools.py", "return 4", "return 40", True),
    "a function imported": ("analysis/data/columns.py", "depth(name)", "depth(0)", True),
    "a function below": ("analysis/room/deep.py", "return 3", "return 30", True),
    "a function imported late": ("analysis/room/late.py", "6", "60", True),
    "the class of parts": ("analysis/parts.py", "return 1", "return 11", True),
    "data": ("analysis/data/d.csv", "1", "2", True),
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
    (root / "analysis/q/study.py").write_text(head + plot + tail + "\n\n" + helper + body)
    assert source_hash("q") == before


def test_other_roots_reach_other_definitions(root: Path) -> None:
    assert "q.study.plot" not in reached("q")
    assert {"q.study.plot", "drawing.style.draw", "q.study.OTHER"} <= reached("q", "plot")
    assert source_hash("q") != source_hash("q", "parts", "plot")


def test_a_module_without_these_roots_counts_whole(root: Path) -> None:
    assert {"q.study.plot", "q.study.run_case"} <= reached("q", "nowhere")


@pytest.mark.parametrize("question", questions())
def test_numbers_of_the_questions_come_from_no_figure_and_no_sentence(question: str) -> None:
    found = reached(question)
    assert f"{question}.study.parts" in found
    assert "parts.Part" in found
    assert len([name for name in found if name.startswith(f"{question}.study.")]) > 20
    presented = {f"{question}.study.{name}" for name in ("plot", "findings", "explorer")}
    assert not found & presented
    rooms = (
        "drawing",
        "site",
        "command",
        "running",
        f"{question}.figures",
        f"{question}.findings",
        f"{question}.marks",
    )
    assert not {name for name in found if name.startswith(rooms)}


def test_a_question_reaches_the_tools_that_it_uses() -> None:
    found = reached("mode_covering_vs_seeking")
    wanted = {
        "mode_covering_vs_seeking.study._judge",
        "data.columns.load_column",
        "judged.nearest",
        "gaussians.gaussian",
    }
    assert wanted <= found
