"""One self-contained page about one thing of the user's: their data, or their model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style, to_dark
from analysis.site.chapter import words_of
from analysis.site.figure import Figure
from analysis.site.report import Section, write_report

__all__ = ["write_single"]


def write_single(
    room: str,
    draw: Callable[..., Mapping[str, Drawing]],
    findings: Mapping[str, Any],
    *,
    question: str,
    title: str,
    provenance: Mapping[str, Any],
    output: Path,
) -> list[Path]:
    """Write a page of one chapter, with its answer first.

    Parameters
    ----------
    room : str
        Folder of ``analysis`` whose ``chapter.md`` has the words.
    draw : callable
        Returns the drawings by the names that the chapter places them by; takes ``narrow``.
    findings : mapping
        What the chapter states.
    question, title : str
        Markdown.
    provenance : mapping
        Shown at the end.
    output : Path
        Folder; gets ``index.html``.

    Returns
    -------
    list of Path
    """
    import matplotlib as mpl

    mpl.use("agg")
    style = Style.of("light", "matplotlib")
    words = words_of(room, findings)
    figures = []
    slim = draw(narrow=True)
    for name, drawing in draw(narrow=False).items():
        if name not in slim:
            continue
        svg, narrow = drawing.svg(style), slim[name].svg(style)
        both = (narrow, to_dark(narrow))
        figures.append(Figure(name, svg, to_dark(svg), alt=words.alt[name], caption=words.caption[name], narrow=both))
    section = Section(room, title, {"question": question, "answer": words.answer, **findings}, figures)
    return write_report([section], provenance=provenance, output=output, formats=("html",), title=title)
