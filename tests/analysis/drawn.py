"""What is asked of the figures of every question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from analysis.drawing.drawn import Drawing
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
