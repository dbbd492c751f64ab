"""What is asked of the figures of every question."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from analysis.drawing.drawn import Drawing
from analysis.drawing.interactive import finish, write_page
from analysis.drawing.style import Style, to_dark
from analysis.site.chapter import Words


def check_drawings(
    plot: Callable[[str], Mapping[str, Drawing]], words: Words, *, alt: int = 80, caption: int = 80
) -> dict[str, bytes]:
    """Ask that there are words, and that every colour has one in the dark theme; return the drawings.

    That nothing but colours depends on the theme is what `tests/test_architecture.py` reads from the sources.
    """
    style, found = Style.of("light", "matplotlib"), {}
    for name, drawing in plot("light").items():
        assert len(words.alt[name]) > alt, name
        assert len(words.caption[name]) > caption, name
        found[name] = drawing.svg(style)
        assert style.ink.encode() in found[name], name
        to_dark(found[name])
    return found


def check_pages(plot: Callable[[], Mapping[str, Drawing]], folder: Path) -> None:
    """Ask of plotly's figures that marks and curves have names and a hover, and that a page is small and asks for nothing elsewhere."""
    style = Style.of("light", "plotly")
    for name, drawing in plot().items():
        figure = finish(drawing.figure.viz["figure"].item(), style)
        shown = [
            t for t in figure.data if t.mode == "markers" or (t.mode == "lines" and len(t.x) > 2 and t.line.width != 0)
        ]
        assert shown, name
        nameless = [t for t in shown if not t.name]
        assert not nameless, (name, len(nameless))
        assert all(t.name in t.hovertemplate for t in shown), name
        sizes = [t.marker.size for t in shown if t.mode == "markers"]
        assert all(5.99 <= size <= 9.01 for size in sizes), name
        legend = [t.name for t in figure.data if t.showlegend]
        assert sorted(legend) == sorted({t.name for t in shown} | set(legend)), name
        page = write_page(figure, folder / f"{name}.html", style)
        assert page.stat().st_size < 1_000_000, name
        assert set(re.findall(r"(?:src|href)=\"([^\"]*)\"", page.read_text(encoding="utf-8"))) == {"plotly.min.js"}
