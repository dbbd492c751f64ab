"""The pages of the site as Markdown: a front page, a page a question with its evidence, and pages about using it all.

Questions that are one idea to a reader share a page: `_SHARED`.

Nothing here knows a format. Marks stand for figures, references to them and numbers of tables; links to ``#anchor`` may lead to any
page. `analysis.site.formats` resolves both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.site.chapter import EVIDENCE, ReportError, Words, filled, headline
from analysis.site.figure import NAME, Placed
from analysis.site.numbers import CLOSE, OPEN, table
from analysis.site.provenance import rows
from models.errors import InputError

__all__ = ["Book", "Page", "Section", "book_of", "single_page"]


@dataclass(frozen=True)
class Section:
    """What one question contributes to the report.

    Parameters
    ----------
    name : str
        Name of the question; its prose is ``<name>/chapter.md``.
    title : str
        Heading, Markdown.
    context : mapping
        The findings; the template sees them as ``f``. Its ``question`` and ``answer`` open the page; the first sentences of
        all answers are on the front page, and open a page that several questions share.
    figures : sequence of Figure or Explorer
        The template sees them as ``figures``, by name, and must place each exactly once.

    Examples
    --------
    >>> Section("demo", "A demonstration", {"question": "Why?", "answer": "Because."}).name
    'demo'
    """

    name: str
    title: str
    context: Mapping[str, Any]
    figures: Sequence[Placed] = ()

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a template's or an anchor's."""
        if not NAME.match(self.name):
            raise InputError(
                f"section name {self.name!r}: use lower-case letters, digits, '-' and '_', starting with a letter"
            )


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    name : str
        Of its files, and the anchor that leads to it; ``index`` for the front page.
    title : str
        Markdown.
    lede : str
        The question, Markdown; may be empty.
    text : str
        The rest, Markdown with headings from the third level on.
    number : str
        Before the numbers of its figures and tables; empty on a page without others.
    of : str
        Name of the page whose evidence this is; empty if it is none.
    """

    name: str
    title: str
    lede: str
    text: str
    number: str = ""
    of: str = ""


@dataclass(frozen=True)
class Book:
    """All pages: the front, those one reads in order, and their evidence."""

    title: str
    front: Page
    story: Sequence[Page]
    evidence: Sequence[Page] = ()

    @property
    def pages(self) -> list[Page]:
        """All of them."""
        return [self.front, *self.story, *self.evidence]


@dataclass(frozen=True)
class _Other:
    """A page that is no question: its template is ``pages/<name>.md``, its place is after a question.

    The template may say an answer as a chapter does.
    """

    name: str
    title: str
    lede: str
    after: str = ""


_OTHERS = (
    _Other("own_model", "Your own model", "What did ADVI make of my posterior, and what did it miss?", "reference_posteriors"),
    _Other("limits", "Limits and open questions", "What does none of this tell, and what has been done about it?", "unknown_p_data"),
    _Other("practice", "In practice", "I ran ADVI, or fitted a distribution. What now?"),
)  # fmt: skip


@dataclass(frozen=True)
class _Shared:
    """A page made of the chapters of several questions, if the report has more than one of them."""

    name: str
    title: str
    lede: str
    of: tuple[str, ...]


_SHARED = (
    _Shared("when_a_mode_is_dropped", "When a mode is dropped", "When does the best fit drop a mode, and does it do so step by step?", ("separation_sweep", "alpha_bridge")),
    _Shared("where_a_run_ends", "Where a run ends", "Which optimum does a run of ADVI come to, and how near does it come?", ("initialisation", "advi_accuracy")),
    _Shared("real_posteriors", "Real posteriors", "What does each direction report of a posterior, and how far off is it?", ("posterior_modes", "reference_posteriors")),
)  # fmt: skip


def single_page(section: Section, provenance: Mapping[str, Any], title: str, templates: Sequence[Path]) -> Page:
    """Return the one page of a report about one thing."""
    main, evidence = _split(_chapter(section, templates, {section.name: section.context}))
    if evidence:
        main += f"\n\n### Evidence {{#{section.name}-evidence}}\n\n" + re.sub(
            r"^###", "####", evidence, flags=re.MULTILINE
        )
    text = _answer(section.context["answer"], section.context["question"]) + main + _provenance(provenance)
    return Page("index", title, "", text)


def book_of(sections: Sequence[Section], provenance: Mapping[str, Any], title: str, templates: Sequence[Path]) -> Book:
    """Return the pages of a report of several questions.

    Raises
    ------
    ReportError
        A template fails, or has no place for what it is given.
    """
    said = {section.name: section.context for section in sections}
    story: list[Page] = []
    evidence: list[Page] = []
    answers: dict[str, str] = {}
    for frame, parts in _by_page(sections):
        page, checks = _question_page(frame, parts, str(len(story) + 1), templates, said)
        answers[page.name] = _in_short(parts)
        story.append(page)
        evidence += checks
        names = {part.name for part in parts}
        for other in (o for o in _OTHERS if o.after in names):
            story.append(_other(other, len(story) + 1, said, templates, answers))
    for other in (o for o in _OTHERS if o.after not in said):
        story.append(_other(other, len(story) + 1, said, templates, answers))
    story.append(
        Page(
            "provenance", "Where the numbers come from", "", _provenance(provenance, heading=False), str(len(story) + 1)
        )
    )
    views = [
        {"name": p.name, "title": p.title, "question": p.lede, "number": p.number, "answer": answers.get(p.name, "")}
        for p in story
    ]
    front = filled("index.md", templates, title=title, pages=views, q=said, show=_show)
    return Book(title, Page("index", title, "", front), story, evidence)


def _by_page(sections: Sequence[Section]) -> Iterator[tuple[_Shared, list[Section]]]:
    """Return the pages of questions in the order of the first question of each, with its questions."""
    left = {section.name: section for section in sections}
    for section in sections:
        frame = next((shared for shared in _SHARED if section.name in shared.of), None)
        if section.name not in left:
            continue
        parts = [left.pop(name) for name in (frame.of if frame else [section.name]) if name in left]
        if frame is None or len(parts) == 1:
            frame = _Shared(section.name, section.title, section.context["question"], (section.name,))
        yield frame, parts


def _question_page(
    frame: _Shared, parts: Sequence[Section], number: str, templates: Sequence[Path], said: Mapping[str, Any]
) -> tuple[Page, list[Page]]:
    """Return a page of one question or several, and the evidence of each."""
    halves = [_split(_chapter(part, templates, said)) for part in parts]
    if len(parts) == 1:
        main = _answer(parts[0].context["answer"]) + halves[0][0]
    else:
        main = _answer(_in_short(parts)) + _one_text(parts, [half for half, _ in halves])
    checked = [(part, checks) for part, (_, checks) in zip(parts, halves, strict=True) if checks]
    letters = "abcdefgh" if len(checked) > 1 else [""]
    evidence = [
        Page(f"{part.name}-evidence", f"Evidence: {part.title}", part.context["question"], checks, f"E{number}{letter}", frame.name)
        for (part, checks), letter in zip(checked, letters, strict=False)
    ]  # fmt: skip
    where = [f"[{part.title}](#{part.name}-evidence)" for part, _ in checked]
    if len(where) == 1:
        where = [f"[its page of evidence](#{evidence[0].name})"]
    if where:
        main += f"\n\n### Evidence\n\nEvery table and check behind this page is on {' and '.join(where)}.\n"
    return Page(frame.name, frame.title, frame.lede, _runs(main), number), evidence


def _one_text(parts: Sequence[Section], texts: Sequence[str]) -> str:
    """Return chapters as one text: what stands under a heading that several have stands together, at the end.

    The first heading of each chapter is the place to which links to its question lead.
    """
    under: dict[str, list[str]] = {}
    anchors: dict[str, str] = {}
    for part, text in zip(parts, texts, strict=True):
        start, *rest = re.split(r"^### (.*)\n", text, flags=re.MULTILINE)
        headings, bodies = rest[::2], rest[1::2]
        if start.strip():
            headings, bodies = [part.title, *headings], [start, *bodies]
        for heading, body in zip(headings, bodies, strict=True):
            under.setdefault(heading, []).append(body.strip())
        if headings and "{#" not in headings[0]:
            anchors[headings[0]] = f" {{#{part.name}}}"
    order = sorted(under, key=lambda heading: len(under[heading]) > 1)
    return "\n\n".join(f"### {heading}{anchors.get(heading, '')}\n\n{'\n\n'.join(under[heading])}" for heading in order)


def _in_short(parts: Sequence[Section]) -> str:
    """Return the first sentence of each answer."""
    return " ".join(headline(part.context["answer"]) for part in parts)


def _show(name: str) -> str:
    """Return the mark of a drawing without number and caption, which its own page has."""
    return f"\n\n{OPEN}show:{name}{CLOSE}\n\n"


def _chapter(section: Section, templates: Sequence[Path], said: Mapping[str, Any]) -> str:
    figures = {f.name: f for f in section.figures}
    return filled(f"{section.name}/chapter.md", templates, f=section.context, figures=figures, q=said)


def _other(
    other: _Other, number: int, said: Mapping[str, Any], templates: Sequence[Path], answers: dict[str, str]
) -> Page:
    """Return a page that is no question, and keep the first sentence of its answer."""
    words = Words()
    text = filled(f"pages/{other.name}.md", templates, q=said, words=words)
    answers[other.name] = headline(words.answer)
    return Page(
        other.name, other.title, other.lede, (_answer(words.answer) if words.answer else "") + _runs(text), str(number)
    )


def _answer(answer: str, question: str = "") -> str:
    asked = f"**Question.** {question}\n\n" if question else ""
    return f"::: {{.answer}}\n{asked}**Answer.** {answer}\n:::\n\n"


def _runs(text: str) -> str:
    """Return the text with what one needs to run its code, below the heading of that."""
    needs = "Run it in a clone of this project, with `uv run python`; `models` is its code."
    return re.sub(r"^### In PyMC and ArviZ\n", rf"\g<0>\n{needs}\n", text, flags=re.MULTILINE)


def _provenance(provenance: Mapping[str, Any], heading: bool = True) -> str:
    if not provenance:
        return ""
    title = "\n\n### Provenance\n\n" if heading else "\n\n"
    return f"{title}Everything was computed from the inputs listed here and the data in `analysis/data`.\n\n{table(rows(provenance), {'item': 'item', 'value': 'value'})}\n"


def _split(text: str) -> tuple[str, str]:
    """Return the text without its evidence, and the evidence.

    Raises
    ------
    ReportError
        Evidence within evidence.
    """
    first, last = (re.escape(end.strip()) for end in EVIDENCE)
    found = re.findall(rf"{first}(.*?){last}", text, flags=re.DOTALL)
    if any(EVIDENCE[0].strip() in one for one in found):
        raise ReportError("a chapter has evidence within evidence")
    main = re.sub(rf"\s*{first}.*?{last}\s*", "\n\n", text, flags=re.DOTALL)
    return main, "\n\n".join(one.strip() for one in found)
