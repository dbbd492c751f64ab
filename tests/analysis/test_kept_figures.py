"""Figures are drawn once for the same results, sources and libraries."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis import store as cache
from analysis.running import answers as running
from analysis.running.answers import Kept, figures_of
from analysis.site.chapter import Words

WORDS = Words(alt={"hero": "Words – ½."}, caption={"hero": "Drawn."})
SVG = b"<svg><style>.a{fill:#222222}</style></svg>"


class Question(SimpleNamespace):
    """A question that counts how often it is drawn."""

    def __init__(self) -> None:
        super().__init__(__name__="analysis.kl_properties.figures", times=0)

    def plot(self, results: Any, *, theme: str, narrow: bool) -> dict[str, Any]:
        assert theme == "light"
        self.times += not narrow
        return {"hero": SimpleNamespace(svg=lambda _: SVG.replace(b".a", f".{results}".encode()))}


@pytest.fixture
def question() -> Question:
    return Question()


def kept(folder: Path, results: str = "results", fresh: bool = False) -> Kept:
    return Kept(folder / "figures.drawn", results, fresh)


def test_the_same_figures_are_drawn_once(tmp_path: Path, question: Question) -> None:
    drawn, read = (figures_of(question, "a", WORDS, kept(tmp_path)) for _ in range(2))
    assert question.times == 1
    assert read == drawn == figures_of(question, "a", WORDS)
    (figure,) = read
    assert (figure.name, figure.light, figure.alt, figure.caption) == ("hero", SVG, "Words – ½.", "Drawn.")
    assert figure.dark == SVG.replace(b"#222222", b"#e6e6e6")


def test_other_results_are_drawn_again(tmp_path: Path, question: Question) -> None:
    figures_of(question, "old", WORDS, kept(tmp_path, "old"))
    (figure,) = figures_of(question, "new", WORDS, kept(tmp_path, "new"))
    assert b".new{" in figure.light


def test_fresh_is_drawn_again(tmp_path: Path, question: Question) -> None:
    for fresh in (False, True, False):
        figures_of(question, "a", WORDS, kept(tmp_path, fresh=fresh))
    assert question.times == 2


def test_damaged_figures_are_drawn_again(tmp_path: Path, question: Question) -> None:
    figures_of(question, "a", WORDS, kept(tmp_path))
    path = tmp_path / "figures.drawn"
    path.write_bytes(path.read_bytes().replace(b"222222", b"222223"))
    (figure,) = figures_of(question, "a", WORDS, kept(tmp_path))
    assert (question.times, figure.light) == (2, SVG)


@pytest.mark.parametrize("roots", [("kl_properties", "plot"), ("drawing",)])
def test_other_sources_are_drawn_again(
    tmp_path: Path, question: Question, monkeypatch: pytest.MonkeyPatch, roots: tuple[str, ...]
) -> None:
    figures_of(question, "a", WORDS, kept(tmp_path))
    before = cache.source_hash
    monkeypatch.setattr(
        cache, "source_hash", lambda *asked, **file: "changed" if asked == roots else before(*asked, **file)
    )
    figures_of(question, "a", WORDS, kept(tmp_path))
    assert question.times == 2


@pytest.mark.parametrize("name", ["matplotlib", "arviz-plots"])
def test_other_libraries_draw_again(
    tmp_path: Path, question: Question, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    figures_of(question, "a", WORDS, kept(tmp_path))
    before = running.version
    monkeypatch.setattr(running, "version", lambda asked: "0" if asked == name else before(asked))
    figures_of(question, "a", WORDS, kept(tmp_path))
    assert question.times == 2
