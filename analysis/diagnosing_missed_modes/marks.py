"""Drawings of what diagnostics see of a missed mode, and of local fits put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style, rim
from models.targets import Target

__all__ = ["Line", "mixtures", "predictions", "series"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """A quantity (n,) along x, drawn in a colour of `Style` with a dash, and named beside the point at index `at`."""

    label: str
    y: Array
    color: str
    dash: str = "solid"
    at: int = -1
    below: bool = False
    align: str | None = None


def series(
    panels: Mapping[str, Sequence[Line]], x: Array, labels: tuple[str, Sequence[str]], style: Style, *, top: float = 1.0
) -> PlotCollection:
    """Panels of lines over a common x, each named beside itself.

    Parameters
    ----------
    panels : mapping of str to sequence of Line
        By title.
    x : ndarray (n,)
    labels : (str, sequence of str)
        Of the horizontal axis, and of the vertical axis of each panel.
    style : Style
    top : float
        Upper end of the vertical axes.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(panels), style, len(panels), (4.8 * len(panels), 4.2))
        for lines, axis, label in zip(panels.values(), axes, labels[1], strict=True):
            for line in lines:
                color = style.color(line.color)
                draw.line(x, line.y, axis, color=color, width=1.8, linestyle=style.dash(line.dash))
                draw.scatter(x, line.y, axis, size=style.size(4), color=color, marker=style.marker("dot"))
            for line in lines:
                shift, align = (-0.03, "top") if line.below else (0.03, "bottom")
                at = max(line.at, -len(x))
                draw.text(x[at], line.y[at] + shift * top, line.label, axis, color=style.color(line.color),
                          horizontal_align=line.align or ("right" if line.at < 0 else "left" if line.at == 0 else "center"),
                          vertical_align=align, **rim(style))  # fmt: skip
            draw.ylim((-0.09 * top, 1.12 * top), axis)
            draw.xlabel(labels[0], axis)
            draw.ylabel(label, axis)
    return collection


def mixtures(panels: Sequence[tuple[str, Target, Target, Target]], style: Style) -> PlotCollection:
    """Target, best single fit and mixture of the fits, in one dimension.

    Parameters
    ----------
    panels : sequence of (title, target, single, mixture)
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid([p[0] for p in panels], style, len(panels), (3.7 * len(panels), 3.8))
        for (_, target, single, mixture), axis in zip(panels, axes, strict=True):
            centres = [m[0] for m, _ in target.scales]
            x = np.linspace(min(centres) - 4.5, max(centres) + 4.5, 401)
            p, one, all_ = (np.exp(q.logp(x[:, None])) for q in (target, single, mixture))
            draw.fill_between_y(x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, p, axis, color=style.target, width=1.2)
            draw.line(x, one, axis, color=style.reverse, width=1.4, linestyle=style.dash("dotted"))
            draw.line(x, all_, axis, color=style.reverse, width=2.4, linestyle=style.dash("dotted"))
            draw.remove_axis(axis, axis="y")
            draw.xlabel("x", axis)
    return collection


def predictions(y: Array, x: Array, curves: Mapping[str, tuple[str, str, Array]], style: Style) -> PlotCollection:
    """Predictive densities over x, with the data as a rug.

    Parameters
    ----------
    y : ndarray (n,)
        Observations; those outside of x are not drawn.
    x : ndarray (m,)
    curves : mapping of str to (color, dash, ndarray (m,))
        Name to role, line and density.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, (axis,) = panel_grid(["predictions"], style, 1, (8, 3.8))
        top = max(float(density.max()) for _, _, density in curves.values())
        for name, (color, dash, density) in curves.items():
            if color == "target":
                draw.fill_between_y(x, np.zeros_like(x), density, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, density, axis, color=style.color(color), width=2.0, linestyle=style.dash(dash))
            _name(name, x, density, top, axis, style, color)
        shown = y[(y > x[0]) & (y < x[-1])]
        draw.scatter(shown, np.full(len(shown), -0.04 * top), axis, size=style.size(3), color=style.ink, alpha=0.5,
                     marker=style.marker("dot"))  # fmt: skip
        draw.ylim((-0.09 * top, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel("new observation", axis)
    return collection


def _name(name: str, x: Array, density: Array, top: float, axis: Any, style: Style, color: str) -> None:
    at = int(np.argmax(density))
    side = {"target": -1, "forward": 1}.get(color, 0)
    style.draw.text(x[at] + side * 0.07 * (x[-1] - x[0]), density[at] * (0.75 if side else 1.0) + 0.03 * top, name, axis,
                    color=style.color(color), horizontal_align={-1: "right", 0: "center", 1: "left"}[side],
                    vertical_align="bottom", **rim(style))  # fmt: skip
