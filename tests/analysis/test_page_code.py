"""The Python of the pages, run as it stands: each block in a namespace of its own, as a reader would paste it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted((ROOT / "analysis").glob("*/chapter.md")), *sorted((ROOT / "reports/templates/pages").glob("*.md"))]
BLOCK = re.compile(r"^```(?:python|\{\.python[^}\n]*\})[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVIDENCE = re.compile(r"<%-? evidence -?%>.*?<%-? endevidence -?%>", re.DOTALL)
#: Third parties' warnings, by their words, which a reader sees too and need not act on.
THEIRS: tuple[tuple[str, type[Warning]], ...] = ()


class Block(NamedTuple):
    """Code of a page, and the line of its first line."""

    path: Path
    line: int
    code: str

    @property
    def name(self) -> str:
        return f"{self.path.parent.name if self.path.stem == 'chapter' else self.path.stem}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of the main part: what stands between marks of evidence is blanked, so that lines keep their numbers."""
    text = EVIDENCE.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    for found in BLOCK.finditer(text):
        yield Block(path, text.count("\n", 0, found.start(1)) + 1, found[1])


ALL = [block for path in SOURCES for block in blocks(path)]


def test_blocks_are_found() -> None:
    fences = sum(EVIDENCE.sub("", p.read_text(encoding="utf-8")).count("```python") for p in SOURCES)
    assert len(ALL) == fences > 10


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_code_is_no_template(block: Block) -> None:
    """Code is the same whatever the findings are: no value, condition or comment of Jinja stands in it."""
    assert not re.search(r"<<|<%|<#", block.code)
    compile(block.code, block.name, "exec")


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_code_runs_as_it_stands(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the project's filter of warnings, in an empty folder, without a screen."""
    monkeypatch.chdir(tmp_path)
    code = compile("\n" * (block.line - 1) + block.code, str(block.path), "exec")  # lines of a traceback are the page's
    with mpl.rc_context({"backend": "agg"}), warnings.catch_warnings():
        for words, kind in THEIRS:
            warnings.filterwarnings("ignore", words, kind)
        import matplotlib.pyplot as plt

        exec(code, {"__name__": "__main__"})
        plt.close("all")
