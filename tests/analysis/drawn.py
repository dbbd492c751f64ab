"""What is asked of the figures of every question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style, to_dark
from analysis.site.chapter import Words


def check_drawings(
    plot: Callable[[str], Mapping[str, Drawing]], words: Words, *, alt: int = 80, caption: int = 80
) -> None:
    """Ask that there are words, and that the dark figures are the light ones in other colours, byte for byte."""
    light, dark = (plot(theme) for theme in ("light", "dark"))
    assert list(light) == list(dark)
    for name, drawing in light.items():
        assert len(words.alt[name]) > alt, name
        assert len(words.caption[name]) > caption, name
        style = Style.of("light", "matplotlib")
        svg = drawing.svg(style)
        assert style.ink.encode() in svg, name
        assert to_dark(svg) == dark[name].svg(Style.of("dark", "matplotlib")), name
