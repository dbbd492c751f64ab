"""Colours of a theme, roles of the curves, and the vocabulary of each of ArviZ's backends.

p_data is grey and filled, forward blue and dashed, reverse orange and dotted, in light and in dark (palette after Okabe
and Ito).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patheffects import withStroke

from analysis.drawing.pen import Pen
from analysis.drawing.svg import RIM, recoloured
from models.errors import lookup_error

__all__ = ["BACKENDS", "NARROW", "Rim", "Style", "counterparts", "rim", "to_dark"]

_RAMP = 60
BACKENDS = ("matplotlib", "plotly", "bokeh")
_DASHES = {
    "matplotlib": {"solid": "-", "dashed": "--", "dotted": ":"},
    "plotly": {"solid": "solid", "dashed": "dash", "dotted": "dot"},
    "bokeh": {"solid": "solid", "dashed": "dashed", "dotted": "dotted"},
}
_MARKERS = {
    "matplotlib": {
        "dot": "o", "cross": "X", "triangle": "^", "left": "<", "right": ">", "square": "s", "diamond": "D", "star": "*",
    },
    "plotly": {
        "dot": "circle", "cross": "x", "triangle": "triangle-up", "left": "triangle-left", "right": "triangle-right",
    },
    # Bokeh has no triangles that point sideways.
    "bokeh": {"dot": "circle", "cross": "x", "left": "triangle", "right": "inverted_triangle"},
}  # fmt: skip
#: Of each theme: target, forward, reverse, ink, faint, middle, paper.
_COLORS = {
    "light": ("#4d4d4d", "#0072B2", "#D55E00", "#222222", "#8a8a8a", "#AA4499", "#ffffff"),
    "dark": ("#c8c8c8", "#56B4E9", "#E69F00", "#e6e6e6", "#8f8f8f", "#CC79A7", "#16181d"),
}
#: Inches that a drawing for a narrow screen is wide: there its words are as large as those of the text.
NARROW = 4.6


@dataclass(frozen=True)
class Style:
    """Colours of a theme and the vocabulary of a backend.

    Drawings use these colours and no others, and nothing else of a drawing depends on the theme: so the dark drawing is
    the light one in other colours (`to_dark`).

    Attributes
    ----------
    target, forward, reverse : str
        Of the three curves.
    ink, faint : str
        Of words, and of lines that stay in the background.
    middle : str
        Between `reverse` and `forward`, also to the colour-blind; see `ramp`.
    paper : str
        Of the page.
    fill_alpha : float
        Opacity of the filled target.
    """

    backend: str
    theme: str
    target: str
    forward: str
    reverse: str
    ink: str
    faint: str
    middle: str
    paper: str
    fill_alpha: float = 0.24
    narrow: bool = False

    @classmethod
    def of(cls, theme: str, backend: str, narrow: bool = False) -> Style:
        """Return the style of a theme, for a wide screen or a narrow one.

        Raises
        ------
        InputError
            For an unknown theme or backend.
        """
        if backend not in BACKENDS:
            raise lookup_error("backend", backend, BACKENDS)
        if theme not in _COLORS:
            raise lookup_error("theme", theme, _COLORS)
        return cls(backend, theme, *_COLORS[theme], narrow=narrow)

    def color(self, role: str) -> str:
        """Colour of ``target``, ``forward`` or ``reverse``."""
        return str(getattr(self, role))

    def ramp(self, share: float) -> str:
        """Colour between `reverse` at 0, `middle` at one half, and `forward` at 1, in steps of a sixtieth."""
        stops = np.array([to_rgb(c) for c in (self.reverse, self.middle, self.forward)])
        at = round(_RAMP * share) / _RAMP
        red, green, blue = (float(np.interp(at, [0, 0.5, 1], channel)) for channel in stops.T)
        return str(to_hex((red, green, blue)))

    def dash(self, name: str) -> str:
        """Line style in the backend's word."""
        return _DASHES[self.backend][name]

    def marker(self, name: str) -> str:
        """Marker in the backend's word, which is ours where the table has none."""
        return _MARKERS[self.backend].get(name, name)

    @property
    def draw(self) -> Any:
        """ArviZ's drawing functions of the backend, which take names of what they draw: see `Pen`."""
        return Pen(self.backend)

    @property
    def interactive(self) -> bool:
        """Whether the backend has a legend and a hover."""
        return self.backend != "matplotlib"

    def size(self, points: float) -> float:
        """Area of a mark of a diameter."""
        return points**2

    def figure_size(self, inches: tuple[float, float]) -> dict[str, Any]:
        """Figure size in the backend's unit: inches for matplotlib, else dots at 100 to the inch; no wider than fits."""
        if self.narrow:
            inches = (min(inches[0], NARROW), inches[1])
        if self.backend == "matplotlib":
            return {"figsize": inches, "figsize_units": "inches"}
        return {"figsize": (100 * inches[0], 100 * inches[1]), "figsize_units": "dots"}

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Matplotlib settings of the theme; nothing for other backends."""
        with mpl.rc_context(
            {
                "text.color": self.ink,
                "axes.edgecolor": self.faint,
                "axes.labelcolor": self.ink,
                "axes.titlecolor": self.ink,
                "axes.titlesize": 12,
                "axes.labelsize": 11.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": self.faint,
                "ytick.color": self.faint,
                "xtick.labelcolor": self.ink,
                "ytick.labelcolor": self.ink,
                "xtick.labelsize": 10.5,
                "ytick.labelsize": 10.5,
                "figure.facecolor": "none",
                "axes.facecolor": "none",
                "savefig.facecolor": "none",
                "font.size": 11.5,
                "svg.fonttype": "path",
                "svg.hashsalt": "duality",
                "figure.constrained_layout.use": True,
                # Where panels stand one below the other, the title of one is not to be read with the axis above it.
                "figure.constrained_layout.h_pad": 0.11 if self.narrow else 0.04167,
            }
        ):
            yield


class Rim(withStroke):
    """A line around words, in the colour of the page, so that they can be read over other marks."""

    def __init__(self, width: float, color: str) -> None:
        super().__init__(linewidth=width, foreground=color)
        self.group = RIM.format(width=width, color=color)


def rim(style: Style, width: float = 3.0) -> dict[str, Any]:
    """Options of ``style.draw.text`` for a `Rim` of a width in points; nothing but for matplotlib."""
    return {"path_effects": [Rim(width, style.paper)]} if style.backend == "matplotlib" else {}


def to_dark(svg: bytes) -> bytes:
    """Return a light drawing in the colours of the dark theme: the same as drawing it anew.

    Raises
    ------
    ValueError
        For a colour that is not one of `Style`.
    """
    return recoloured(svg, counterparts())


@cache
def counterparts() -> dict[str, str]:
    """The dark colour for each light one."""
    light, dark = (Style.of(theme, "matplotlib") for theme in ("light", "dark"))
    names = ("target", "forward", "reverse", "ink", "faint", "paper")
    pairs = {getattr(light, name): getattr(dark, name) for name in names}
    pairs |= {light.ramp(share): dark.ramp(share) for share in np.linspace(0, 1, _RAMP + 1)}
    return {old.lower(): new.lower() for old, new in pairs.items()}
