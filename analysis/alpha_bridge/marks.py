"""Drawings along Minka's alpha: optima as curves, the best members as ridges, and the spread of mean field.

Alpha has a colour ramp, from the colour of reverse KL (0) over purple to that of forward KL (1). Every line also has a
label or a place on an axis of alpha, so no two need to be told apart by hue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.families import FAMILIES
from models.targets import Target

__all__ = ["Bridge", "Line", "Ridges", "Spread", "branches", "correlated", "members"]

Array = NDArray[np.float64]

_PIECES = 30  # of a line in many colours
_QUANTITIES = ("mean", "sd", "cover")
_NAMES = {"mean": "mean", "sd": "standard deviation", "cover": "cover of the\nleast covered mode"}
_SMALL = 9.5


@dataclass(frozen=True, eq=False)
class Line:
    """A curve of optima along which alpha increases.

    Attributes
    ----------
    alphas, mean, sd, cover : ndarray (n,)
        `cover` of the least covered mode.
    minimum : bool
    label : str
        What the optimum covers.
    reigns : tuple of (float, float)
        Ranges of alpha in which it is the global minimum.
    """

    alphas: Array
    mean: Array
    sd: Array
    cover: Array
    minimum: bool
    label: str
    reigns: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Bridge:
    """All optima for one target.

    Attributes
    ----------
    title : str
    lines : tuple of Line
    folds : ndarray (k, 4)
        Alpha, mean, sd and cover.
    exchanges : ndarray (j,)
        Alphas at which the global minimum changes.
    """

    title: str
    lines: tuple[Line, ...]
    folds: Array
    exchanges: Array


@dataclass(frozen=True, eq=False)
class Ridges:
    """The best Normal at some alphas, for one target.

    Attributes
    ----------
    title : str
    target : Target
        One-dimensional.
    alphas, mean, sd : ndarray (n,)
    ties : ndarray of int (n,)
        More than 1 where mirror images are as good.
    exchanges : ndarray (j,)
    """

    title: str
    target: Target
    alphas: Array
    mean: Array
    sd: Array
    ties: NDArray[np.int_]
    exchanges: Array


@dataclass(frozen=True, eq=False)
class Spread:
    """Variance of the mean-field fit of a correlated Normal: a curve by theory, and computed points."""

    rho: float
    alphas: Array
    variance: Array
    computed_alphas: Array
    computed: Array


def _ramp_line(alphas: Array, y: Array, axis: Any, style: Style, width: float) -> None:
    """A line against alpha in the colours of alpha; pieces share their ends."""
    cuts = np.unique([alphas[0], *np.linspace(0, 1, _PIECES + 1), alphas[-1]])
    cuts = cuts[(cuts >= alphas[0]) & (cuts <= alphas[-1])]
    for low, high in pairwise(cuts):
        inner = (alphas > low) & (alphas < high)
        x = np.array([low, *alphas[inner], high])
        values = np.array([np.interp(low, alphas, y), *y[inner], np.interp(high, alphas, y)])
        style.draw.line(x, values, axis, color=style.ramp((low + high) / 2), width=width)


def _words(x: float, y: float, text: str, axis: Any, style: Style, **kwargs: Any) -> None:
    if kwargs.get("vertical_align") == "center" and style.backend != "matplotlib":
        kwargs["vertical_align"] = "middle"
    style.draw.text(x, y, text, axis, **{"color": style.ink, "horizontal_align": "left", **kwargs})


# --- branches --------------------------------------------------------------------------------------------------------


def branches(bridges: Sequence[Bridge], style: Style) -> PlotCollection:
    """Mean, standard deviation and cover of every optimum against alpha; a column for each target.

    Parameters
    ----------
    bridges : sequence of Bridge
    style : Style

    Returns
    -------
    PlotCollection
    """
    data = xr.Dataset(
        {"panels": (("quantity", "target"), np.zeros((len(_QUANTITIES), len(bridges))))},
        coords={"quantity": list(_QUANTITIES), "target": [b.title for b in bridges]},
    )
    with style.settings():
        size = style.figure_size((3.5 * len(bridges), 8.0))
        if style.backend == "matplotlib":
            size |= {"sharex": "col"}
        collection = PlotCollection.grid(
            data, cols=["target"], rows=["quantity"], backend=style.backend, figure_kwargs=size
        )
        plots = collection.viz["plot"]
        plots = plots["panels"] if isinstance(plots, xr.Dataset) else plots
        for column, bridge in enumerate(bridges):
            for row, quantity in enumerate(_QUANTITIES):
                axis = plots.sel(quantity=quantity, target=bridge.title).item()
                limits = _limits(bridges, quantity) if quantity == "cover" else _limits([bridge], quantity)
                _optima(bridge, quantity, limits, axis, style)
                if quantity == "sd" and column == 0:
                    _kind_labels(bridge, limits[1] - limits[0], axis, style)
                style.draw.ylim(limits, axis)
                style.draw.xlim((-0.02, 1.02), axis)
                if row == 0:
                    style.draw.title(bridge.title, axis, color=style.ink)
                if row == len(_QUANTITIES) - 1:
                    style.draw.xlabel("α    (0 reverse KL, 1 forward KL)", axis)
                if column == 0:
                    style.draw.ylabel(_NAMES[quantity], axis)
    return collection


def _limits(bridges: Sequence[Bridge], quantity: str) -> tuple[float, float]:
    values = np.concatenate([getattr(line, quantity) for bridge in bridges for line in bridge.lines])
    low, high = float(values.min()), float(values.max())
    if quantity == "cover":
        return -0.03, 1.12 * high
    if quantity == "sd":
        return 0.0, 1.12 * high
    return low - 0.16 * (high - low), high + 0.16 * (high - low)


def _optima(bridge: Bridge, quantity: str, limits: tuple[float, float], axis: Any, style: Style) -> None:
    height = limits[1] - limits[0]
    for alpha in bridge.exchanges:
        style.draw.line(
            np.array([alpha, alpha]),
            np.array(limits),
            axis,
            color=style.faint,
            width=1.0,
            linestyle=style.dash("dotted"),
        )
    for line in sorted(bridge.lines, key=lambda line: line.minimum):
        y = getattr(line, quantity)
        if not line.minimum:
            style.draw.line(line.alphas, y, axis, color=style.faint, width=1.2, linestyle=style.dash("dashed"))
            continue
        _ramp_line(line.alphas, y, axis, style, 1.5)
        for low, high in line.reigns:
            inner = (line.alphas > low) & (line.alphas < high)
            x = np.array([low, *line.alphas[inner], high])
            ends = np.interp([low, high], line.alphas, y)
            _ramp_line(x, np.array([ends[0], *y[inner], ends[1]]), axis, style, 4.0)
    at = 1 + _QUANTITIES.index(quantity)
    style.draw.scatter(
        bridge.folds[:, 0], bridge.folds[:, at], axis, size=style.size(5.5), color=style.ink, marker=style.marker("dot")
    )
    if quantity == "mean":
        _mean_labels(bridge, height, axis, style)
    elif quantity == "sd":
        _fold_labels(bridge, height, axis, style)
    else:
        _jump_labels(bridge, limits, axis, style)


def _mean_labels(bridge: Bridge, height: float, axis: Any, style: Style) -> None:
    """Name the minima beside their curves."""
    for line in bridge.lines:
        if not line.minimum:
            continue
        # A curve that goes on to forward KL is named where no other is; the others where they begin.
        if line.alphas[-1] == 1:
            y = float(np.interp(0.98, line.alphas, line.mean))
            x, y, sides = 0.98, y + 0.03 * height, ("right", "bottom")
        else:
            y = float(line.mean[0])
            below = y < 1e-3 * height
            x, y, sides = 0.01, y + (-0.03 if below else 0.03) * height, ("left", "top" if below else "bottom")
        _words(x, y, line.label, axis, style, horizontal_align=sides[0], vertical_align=sides[1])


def _fold_labels(bridge: Bridge, height: float, axis: Any, style: Style) -> None:
    """Write the alpha of each fold beside it, where no curve is; mirror images get one label."""
    seen: list[tuple[float, float]] = []
    folds = sorted(bridge.folds[:, [0, 2]].tolist())
    for alpha, sd in folds:
        if any(abs(alpha - a) < 1e-6 and abs(sd - s) < 1e-3 * height for a, s in seen):
            continue
        seen.append((alpha, sd))
        begins = any(line.minimum and line.alphas[0] == alpha for line in bridge.lines)
        crowded = any(0.01 < a - alpha < 0.25 and abs(s - sd) < 0.1 * height for a, s in folds)
        if begins:
            x, y, sides = alpha - 0.025, sd, ("right", "center")
        elif crowded:
            x, y, sides = alpha, sd - 0.1 * height, ("center", "top")
        else:
            x, y, sides = alpha + 0.025, sd, ("left", "center")
        _words(x, y, f"{alpha:.3f}", axis, style, size=_SMALL, horizontal_align=sides[0], vertical_align=sides[1])


def _kind_labels(bridge: Bridge, height: float, axis: Any, style: Style) -> None:
    """Say what thick, thin and dashed lines are."""
    broad = max((line for line in bridge.lines if line.minimum), key=lambda line: line.sd.max())
    y = float(np.interp(0.98, broad.alphas, broad.sd)) - 0.05 * height
    _words(0.98, y, "global minimum", axis, style, size=_SMALL, horizontal_align="right", vertical_align="top")
    saddle = next((line for line in bridge.lines if not line.minimum), None)
    narrow = min((line for line in bridge.lines if line.minimum), key=lambda line: line.sd.min())
    if saddle is not None:
        at = 0.3 * saddle.alphas[-1]
        y = float(np.interp(at, saddle.alphas, saddle.sd)) + 0.03 * height
        _words(at, y, "saddle", axis, style, size=_SMALL, vertical_align="bottom")
    if narrow is not broad:
        at = 0.97 * narrow.alphas[-1]
        y = float(np.interp(at, narrow.alphas, narrow.sd)) - 0.06 * height
        _words(at, y, "local minimum", axis, style, size=_SMALL, horizontal_align="right", vertical_align="top")


def _jump_labels(bridge: Bridge, limits: tuple[float, float], axis: Any, style: Style) -> None:
    for alpha in bridge.exchanges:
        y = limits[0] + 0.55 * (limits[1] - limits[0])
        _words(
            alpha + 0.02, y, f"global minimum\njumps at {alpha:.3f}", axis, style, size=_SMALL, vertical_align="center"
        )


# --- members ---------------------------------------------------------------------------------------------------------


def members(panels: Sequence[Ridges], style: Style) -> PlotCollection:
    """Densities of the best Normals over their target, one row for each alpha, from 0 at the top.

    Parameters
    ----------
    panels : sequence of Ridges
        Of the same alphas.
    style : Style

    Returns
    -------
    PlotCollection
    """
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, len(panels), (3.5 * len(panels), 5.6))
        for panel, axis in zip(panels, axes, strict=True):
            _ridges(panel, axis, style, first=panel is panels[0])
    return collection


def _ridges(panel: Ridges, axis: Any, style: Style, *, first: bool) -> None:
    draw, count = style.draw, len(panel.alphas)
    centres = np.array([m[0] for m, _ in panel.target.scales])
    reach = float(max(np.abs(centres).max() + 4, 2.2 * panel.sd.max()))
    x = np.linspace(-reach, reach, 301)
    p = np.exp(panel.target.logp(x[:, None]))
    middle = float(centres.mean())
    fits = [FAMILIES["normal"].member({"mu": m, "sigma": s}) for m, s in zip(panel.mean, panel.sd, strict=True)]
    curves = [np.exp(q.logp(x[:, None])) for q in fits]
    # Every ridge has the height of the tallest.
    unit = 1.12 * max(curve.max() for curve in [p, *curves])
    for i, (alpha, q) in enumerate(zip(panel.alphas, curves, strict=True)):
        base, color = float(count - 1 - i), style.ramp(float(alpha))
        draw.fill_between_y(
            x, np.full_like(x, base), base + p / unit, axis, color=style.target, alpha=style.fill_alpha + 0.08
        )
        if panel.ties[i] > 1:
            mirrored = np.interp(2 * middle - x, x, q)
            draw.line(x, base + mirrored / unit, axis, color=color, width=1.1)
        draw.line(x, base + q / unit, axis, color=color, width=2.4)
    for jump in panel.exchanges:
        row = float(np.interp(jump, panel.alphas, np.arange(count)))
        y = count - 1 - np.floor(row) - 0.06
        draw.line(
            np.array([-reach, reach]),
            np.array([y, y]),
            axis,
            color=style.ink,
            width=1.0,
            linestyle=style.dash("dashed"),
        )
        _words(
            reach,
            y - 0.04,
            f"jump at α = {jump:.3f}",
            axis,
            style,
            horizontal_align="right",
            vertical_align="top",
            size=_SMALL,
        )
    if first:
        _name_rows(panel.alphas, axis, style)
    else:
        draw.remove_axis(axis, axis="y")
    draw.ylim((-0.1, count + 0.02), axis)
    draw.xlim((-reach, reach), axis)
    draw.xlabel("x", axis)


def _name_rows(alphas: Array, axis: Any, style: Style) -> None:
    ends = {0.0: "reverse KL\n", 1.0: "forward KL\n"}
    names = [f"{ends.get(float(alpha), '')}α = {alpha:g}" for alpha in alphas]
    style.draw.yticks(len(alphas) - 1 - np.arange(len(alphas)) + 0.2, names, axis)
    if style.backend == "matplotlib":
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        for alpha, label in zip(alphas, axis.get_yticklabels(), strict=True):
            label.set_color(style.ramp(float(alpha)))


# --- mean field ------------------------------------------------------------------------------------------------------


def correlated(spread: Spread, style: Style) -> PlotCollection:
    """A correlated Normal with factorised fits, and their variance against alpha.

    Parameters
    ----------
    spread : Spread
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, (plane, curve) = panel_grid(["the fits", "their variance"], style, 2, (9.4, 4.3))
        _ellipses(spread, plane, style)
        _ramp_line(spread.alphas, spread.variance, curve, style, 3.0)
        draw.scatter(spread.computed_alphas, spread.computed, curve, size=style.size(5.5), color=style.ink,
                     marker=style.marker("dot"))  # fmt: skip
        low, middle = spread.variance[0], float(np.interp(0.5, spread.alphas, spread.variance))
        _words(0.04, low - 0.05, f"1 − ρ² = {low:.2f}\nconditional variance", curve, style, vertical_align="top")
        _words(0.54, middle - 0.03, f"√(1 − ρ²) = {middle:.3f}\nequal entropy", curve, style, vertical_align="top")
        _words(0.97, 1.04, "1, marginal variance", curve, style, horizontal_align="right", vertical_align="bottom")
        draw.xlim((-0.02, 1.02), curve)
        draw.ylim((-0.08, 1.15), curve)
        draw.xlabel("α    (0 reverse KL, 1 forward KL)", curve)
        draw.ylabel("variance of the fit", curve)
    return collection


def _ellipses(spread: Spread, axis: Any, style: Style) -> None:
    """Contours that enclose 90% of the mass."""
    angles = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angles), np.sin(angles)]) * np.sqrt(2 * np.log(10))
    x, y = np.linalg.cholesky(np.array([[1, spread.rho], [spread.rho, 1]])) @ circle
    if style.backend == "matplotlib":
        axis.fill(x, y, color=style.target, alpha=style.fill_alpha, linewidth=0)
        axis.set_aspect("equal")
    style.draw.line(x, y, axis, color=style.target, width=1.4)
    for alpha, name in ((0.0, "α = 0"), (0.5, "α = ½"), (1.0, "α = 1")):
        sd = np.sqrt(np.interp(alpha, spread.alphas, spread.variance))
        style.draw.line(sd * circle[0], sd * circle[1], axis, color=style.ramp(alpha), width=2.4)
        _words(0, sd * circle[1].min() - 0.07, name, axis, style, color=style.ramp(alpha), horizontal_align="center",
               vertical_align="top")  # fmt: skip
    style.draw.xlim((-2.7, 2.7), axis)
    style.draw.ylim((-2.7, 2.5), axis)
    style.draw.xlabel("first coordinate", axis)
    style.draw.ylabel("second coordinate", axis)
