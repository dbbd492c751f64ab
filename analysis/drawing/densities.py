"""Exact densities of one-dimensional targets and of what was fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.targets import Target

__all__ = ["Curve", "Panel", "densities"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A fitted density: role ``forward`` or ``reverse``; local optima are drawn thin."""

    role: Literal["forward", "reverse"]
    label: str
    member: Target
    local: bool = False


@dataclass(frozen=True)
class Panel:
    """A one-dimensional target with fitted densities."""

    title: str
    target: Target
    curves: Sequence[Curve]


def _range(panel: Panel) -> Array:
    centres = np.array([m[0] for m, _ in panel.target.scales])
    widths = np.array([s[0, 0] for _, s in panel.target.scales])
    wide = [(c.member.scales[0][0][0], c.member.scales[0][1][0, 0]) for c in panel.curves]
    low = min([*(centres - 4.5 * widths), *(m - 2.6 * s for m, s in wide)])
    high = max([*(centres + 4.5 * widths), *(m + 2.6 * s for m, s in wide)])
    return np.linspace(low, high, 401)


def densities(
    panels: Sequence[Panel],
    style: Style,
    *,
    cols: int = 1,
    figsize: tuple[float, float] = (8, 4),
    legend: bool = False,
) -> PlotCollection:
    """Exact densities, one panel per target: p_data filled, fitted densities as lines.

    Parameters
    ----------
    panels : sequence of Panel
    style : Style
    cols : int
        Panels per row.
    figsize : (float, float)
        Inches.
    legend : bool
        Label the curves where they peak.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, targets = panel_grid([p.title for p in panels], style, cols, figsize)
        for panel, axis in zip(panels, targets, strict=True):
            x = _range(panel)
            p = np.exp(panel.target.logp(x[:, None]))
            draw.fill_between_y(x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, p, axis, color=style.target, width=1.4)
            for curve in panel.curves:
                q = np.exp(curve.member.logp(x[:, None]))
                dash = style.dash("dashed" if curve.role == "forward" else "dotted")
                draw.line(x, q, axis, color=style.color(curve.role), width=1.4 if curve.local else 2.4, linestyle=dash)
            if legend:
                _label_curves(panel, x, axis, style)
            draw.remove_axis(axis, axis="y")
            draw.xlabel("x" if panel.target.name != "old_faithful" else "minutes", axis)
    return collection


def _label_curves(panel: Panel, x: Array, axis: Any, style: Style) -> None:
    """Say what each curve is next to it; of curves that share a label, only the rightmost."""
    seen: set[str] = set()
    rightmost = sorted(panel.curves, key=lambda c: -c.member.scales[0][0][0])
    for curve in rightmost:
        if curve.label in seen:
            continue
        seen.add(curve.label)
        q = np.exp(curve.member.logp(x[:, None]))
        m, s = curve.member.scales[0][0][0], curve.member.scales[0][1][0, 0]
        if curve.role == "forward":
            at = m - 1.75 * s
            style.draw.text(at - 0.15, np.interp(at, x, q) + 0.012, curve.label, axis, color=style.forward,
                            horizontal_align="right")  # fmt: skip
        elif curve.local:
            style.draw.text(m, q.max() + 0.02, curve.label, axis, color=style.reverse)
        else:
            style.draw.text(m + 1.1 * s, np.interp(m + 0.75 * s, x, q), curve.label, axis, color=style.reverse,
                            horizontal_align="left")  # fmt: skip
    p = np.exp(panel.target.logp(x[:, None]))
    left = min(m[0] for m, _ in panel.target.scales)
    style.draw.text(left, 0.25 * p.max(), "target", axis, color=style.target)
