"""Drawings of how far runs of ADVI stop from an optimum: against cost, window, fixed draws, and their own evidence.

Everything is on logarithmic axes. Lines are told apart by dash and by the words beside them, never by hue alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style, rim

__all__ = ["EvidencePanel", "Label", "Line", "LinePanel", "evidence", "lines"]

Array = NDArray[np.float64]
_SIZE = 10.0
_ROW = 0.05  # of the height of a panel, between labels
_MARKS = {
    "matplotlib": {"dot": "o", "square": "s", "triangle": "^"},
    "plotly": {"dot": "circle", "square": "square", "triangle": "triangle-up"},
    "bokeh": {"dot": "circle", "square": "square", "triangle": "triangle"},
}


@dataclass(frozen=True, eq=False)
class Line:
    """A line, or marks, in one panel.

    Attributes
    ----------
    x, y : ndarray (n,)
    color : str
        A role of `Style`.
    dash : str, optional
        ``solid``, ``dashed`` or ``dotted``; no line without it.
    mark : str, optional
        ``dot``, ``square`` or ``triangle``.
    width : float
    """

    x: Array
    y: Array
    color: str
    dash: str | None = "solid"
    mark: str | None = None
    width: float = 1.9


@dataclass(frozen=True)
class Label:
    """Words in a panel, in its units; `align` is where they are from the point's view."""

    x: float
    y: float
    text: str
    color: str
    align: str = "left"


@dataclass(frozen=True, eq=False)
class LinePanel:
    """One panel of lines.

    Attributes
    ----------
    title, xlabel, ylabel : str
    lines : sequence of Line
    labels : sequence of Label
    xlim, ylim : (float, float)
    levels : sequence of (float, str)
        Heights of faint horizontal lines, with words at their left ends.
    log_x, log_y : bool
    """

    title: str
    xlabel: str
    ylabel: str
    lines: Sequence[Line]
    labels: Sequence[Label]
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    levels: Sequence[tuple[float, str]] = ()
    log_x: bool = True
    log_y: bool = True


@dataclass(frozen=True, eq=False)
class EvidencePanel:
    """Gaps of runs as they estimate them, against the exact ones, both in nats.

    Attributes
    ----------
    own, exact : ndarray (n,)
    converged : ndarray of bool (n,)
    limit : float
        What a converged run is held to.
    span : (float, float)
        Of both axes.
    """

    own: Array
    exact: Array
    converged: NDArray[np.bool_]
    limit: float
    span: tuple[float, float]


def lines(panels: Sequence[LinePanel], style: Style, *, cols: int = 2, height: float = 4.2) -> PlotCollection:
    """Panels of lines side by side.

    Parameters
    ----------
    panels : sequence of LinePanel
    style : Style
    cols : int
    height : float
        Of a row, in inches.

    Returns
    -------
    PlotCollection
    """
    rows = -(-len(panels) // cols)
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, cols, (5.0 * cols, height * rows))
        for panel, axis in zip(panels, axes, strict=True):
            fx, fy = (np.log10 if log else np.asarray for log in (panel.log_x, panel.log_y))
            for level, text in panel.levels:
                ends = fx(np.array(panel.xlim))
                style.draw.line(ends, np.repeat(fy(level), 2), axis, color=style.faint, width=1.0,
                                linestyle=style.dash("dotted"))  # fmt: skip
                if text:
                    style.draw.text(ends[0], fy(level), " " + text, axis, color=style.ink, horizontal_align="left",
                                    vertical_align="bottom", size=_SIZE - 0.5, **rim(style))  # fmt: skip
            for line in panel.lines:
                _stroke(line, fx, fy, axis, style)
            for label in _apart(panel):
                style.draw.text(fx(label.x), fy(label.y), label.text, axis, color=style.color(label.color),
                                horizontal_align=label.align, size=_SIZE, **rim(style))  # fmt: skip
            _frame(panel, fx, fy, axis, style)
    return collection


def _apart(panel: LinePanel) -> list[Label]:
    """The labels, those at the ends of lines moved up until each has a row of its own."""
    scale = np.log10 if panel.log_y else np.asarray
    low, high = scale(np.array(panel.ylim))
    row, placed = _ROW * (high - low), []
    below = -np.inf
    for label in sorted(panel.labels, key=lambda label: label.y):
        at = max(float(scale(label.y)), below + row)
        below = at
        placed.append(replace(label, y=float(10**at if panel.log_y else at)))
    return placed


def _stroke(line: Line, fx: Any, fy: Any, axis: Any, style: Style) -> None:
    shown = np.isfinite(line.x) & np.isfinite(line.y) & (line.y > 0 if fy is np.log10 else True)
    x, y, color = fx(line.x[shown]), fy(line.y[shown]), style.color(line.color)
    if line.dash and len(x):
        style.draw.line(x, y, axis, color=color, width=line.width, linestyle=style.dash(line.dash))
    if line.mark and len(x):
        style.draw.scatter(x, y, axis, size=30, marker=_MARKS[style.backend][line.mark], color=color)


def _frame(panel: LinePanel, fx: Any, fy: Any, axis: Any, style: Style) -> None:
    style.draw.xlim(tuple(fx(np.array(panel.xlim))), axis)
    style.draw.ylim(tuple(fy(np.array(panel.ylim))), axis)
    for log, lims, ticks in (
        (panel.log_x, panel.xlim, style.draw.xticks),
        (panel.log_y, panel.ylim, style.draw.yticks),
    ):
        if log:
            powers = _powers(lims)
            ticks(powers, [_power(p) for p in powers], axis)
    style.draw.xlabel(panel.xlabel, axis)
    style.draw.ylabel(panel.ylabel, axis)


def _powers(span: tuple[float, float]) -> list[int]:
    low, high = np.log10(span)
    every = 1 if high - low < 7 else 2
    return [p for p in range(int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9)) + 1) if p % every == 0]


def _power(exponent: int) -> str:
    if 0 <= exponent <= 3:
        return f"{10**exponent}"
    if -3 <= exponent < 0:
        return f"{10.0**exponent:g}"
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "10" + str(exponent).translate(digits)


def evidence(panel: EvidencePanel, style: Style) -> PlotCollection:
    """Estimated against exact gap: filled marks for runs that call themselves converged, open ones for the others.

    Parameters
    ----------
    panel : EvidencePanel
    style : Style

    Returns
    -------
    PlotCollection
    """
    low, high = np.log10(panel.span)
    clear = "none" if style.backend == "matplotlib" else "rgba(0, 0, 0, 0)"
    with style.settings():
        collection, (axis,) = panel_grid(["evidence"], style, 1, (7.4, 5.4))
        draw, limit = style.draw, np.log10(panel.limit)
        draw.line(np.array([low, high]), np.array([low, high]), axis, color=style.faint, width=1.2)
        draw.line(np.array([limit, limit]), np.array([low, high]), axis, color=style.ink, width=1.2,
                  linestyle=style.dash("dashed"))  # fmt: skip
        x, y = (np.clip(np.log10(np.maximum(v, 1e-300)), low, high) for v in (panel.exact, panel.own))
        yes = panel.converged
        draw.scatter(x[~yes], y[~yes], axis, size=26, marker=style.marker("dot"), facecolor=clear,
                     edgecolor=style.reverse, width=1.0)  # fmt: skip
        draw.scatter(x[yes], y[yes], axis, size=16, marker=style.marker("dot"), color=style.forward, alpha=0.6)
        words = {"size": _SIZE + 0.5, **rim(style)}
        draw.text(limit, high, f" {panel.limit:g} nats", axis, color=style.ink, horizontal_align="left",
                  vertical_align="top", **words)  # fmt: skip
        draw.text(low + 0.03 * (high - low), high, "open: flagged by the run itself", axis, color=style.reverse,
                  horizontal_align="left", vertical_align="top", **words)  # fmt: skip
        draw.text(low + 0.03 * (high - low), high - 0.06 * (high - low), "filled: called converged", axis,
                  color=style.forward, horizontal_align="left", vertical_align="top", **words)  # fmt: skip
        span = LinePanel("", "exact gap in nats", "gap that the run estimates, in nats", [], [], panel.span, panel.span)
        _frame(span, np.log10, np.log10, axis, style)
    return collection
