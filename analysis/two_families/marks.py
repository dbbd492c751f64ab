"""Drawings of two families and a target: a plane of distributions, the choice between families, and forests.

Both families are approximations in forward KL, so both are blue; a line style and a marker tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style

__all__ = ["ChoicePanel", "Forest", "GeometryPanel", "choice", "forests", "geometry"]

Array = NDArray[np.float64]
_DASH = {"normal": "dashed", "laplace": "solid"}
_MARKERS = {
    "matplotlib": {"normal": "o", "laplace": "s", "target": "*", "other": "D"},
    "plotly": {"normal": "circle", "laplace": "square", "target": "star", "other": "diamond"},
    "bokeh": {"normal": "circle", "laplace": "square", "target": "star", "other": "diamond"},
}
_CRITERIA = {"in_sample": ("solid", "normal"), "tic": ("dotted", "other"), "loo": ("dashed", "laplace")}


@dataclass(frozen=True, eq=False)
class GeometryPanel:
    """One target with two curves of members.

    Attributes
    ----------
    title : str
    sds : ndarray (m,)
        Standard deviations of the members of either curve.
    curves, divergences : mapping of str to ndarray
        By family: places (m, 2) in the plane, and forward KL (m,) in nats.
    target : ndarray (2,)
    projections : mapping of str to (ndarray (2,), float, float)
        By family: place, standard deviation and forward KL of the projection.
    nearest : mapping of str to (float, float)
        By family: standard deviation and forward KL of the member at the smallest Jensen-Shannon divergence.
    """

    title: str
    sds: Array
    curves: Mapping[str, Array]
    divergences: Mapping[str, Array]
    target: Array
    projections: Mapping[str, tuple[Array, float, float]]
    nearest: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class ChoicePanel:
    """Differences on data sets drawn from one target, and wrong choices by sample size.

    Attributes
    ----------
    title : str
    exact : float
        n times the difference of the KL of the projections.
    differences, errors : ndarray (r,)
        Leave-one-out differences of some data sets and their standard errors.
    sizes : ndarray (k,)
    rates, rate_errors : mapping of str to ndarray (k,)
        By criterion.
    predicted : ndarray (k,)
        First-order theory for the log likelihood.
    """

    title: str
    exact: float
    differences: Array
    errors: Array
    sizes: Array
    rates: Mapping[str, Array]
    rate_errors: Mapping[str, Array]
    predicted: Array


@dataclass(frozen=True, eq=False)
class Forest:
    """Differences to the best family on one data set.

    Attributes
    ----------
    title : str
    names : sequence of str
    values, errors : ndarray (k,)
        In nats per observation; not a number where there is nothing to draw.
    notes : sequence of str
        What to say instead, or nothing.
    """

    title: str
    names: Sequence[str]
    values: Array
    errors: Array
    notes: Sequence[str]


def geometry(panels: Sequence[GeometryPanel], style: Style) -> PlotCollection:
    """Draw each target's plane of distributions and, beside it, exact forward KL along both curves.

    Parameters
    ----------
    panels : sequence of GeometryPanel
    style : Style

    Returns
    -------
    PlotCollection
    """
    titles = [t for p in panels for t in (f"target: {p.title}", f"KL from {p.title}")]
    with style.settings():
        collection, axes = panel_grid(titles, style, 2, (9.8, 3.9 * len(panels)))
        for i, panel in enumerate(panels):
            _plane(panel, axes[2 * i], style)
            _along(panel, axes[2 * i + 1], style)
    return collection


def _plane(panel: GeometryPanel, axis: Any, style: Style) -> None:
    draw = style.draw
    for family, curve in panel.curves.items():
        draw.line(curve[:, 0], curve[:, 1], axis, color=style.forward, width=2, linestyle=style.dash(_DASH[family]))
        _mark(curve[[0, -1]], family, axis, style, size=3, color=style.forward)
        _text(curve[0] - [0.02, 0], f"sd {panel.sds[0]:g}", axis, style.ink, style, "right", "center")
        name = f"{family.capitalize()}, sd {panel.sds[-1]:g}"
        _text(curve[-1] + [0, 0.025], name, axis, style.forward, style, "center", "bottom")
    for family, (place, _, kl) in panel.projections.items():
        ends = np.stack([panel.target, place])
        draw.line(ends[:, 0], ends[:, 1], axis, color=style.ink, width=1.3, linestyle=style.dash("dotted"))
        _mark(place[None], family, axis, style, size=8, color=style.forward)
        below = family == "normal"
        _text(place - [0, 0.035 if below else -0.035], f"KL {kl:.4f}", axis, style.ink, style, "center",
              "top" if below else "bottom")  # fmt: skip
    _mark(panel.target[None], "target", axis, style, size=15, color=style.target)
    _text(panel.target - [0.035, 0], "p_data", axis, style.target, style, "right", "center")
    places = np.concatenate([*panel.curves.values(), panel.target[None]])
    draw.xlim((places[:, 0].min() - 0.2, places[:, 0].max() + 0.2), axis)
    if style.backend == "matplotlib":  # one unit is as long on both axes
        axis.set_aspect("equal", adjustable="datalim")
    else:
        draw.ylim((places[:, 1].min() - 0.2, places[:, 1].max() + 0.2), axis)
    draw.xlabel("first axis, mostly the spread", axis)
    draw.ylabel("second axis", axis)


def _along(panel: GeometryPanel, axis: Any, style: Style) -> None:
    draw = style.draw
    top = 2.2 * max(kl for *_, kl in panel.projections.values()) + 0.02
    x = np.log(panel.sds)
    hollow = "none" if style.backend == "matplotlib" else "rgba(0, 0, 0, 0)"
    for i, (family, kl) in enumerate(panel.divergences.items()):
        inside = kl <= top
        draw.line(x[inside], kl[inside], axis, color=style.forward, width=2, linestyle=style.dash(_DASH[family]))
        near, near_kl = panel.nearest[family]
        _mark(np.array([[np.log(near), near_kl]]), family, axis, style, size=8, facecolor=hollow, edgecolor=style.ink)
        _, sd, value = panel.projections[family]
        _mark(np.array([[np.log(sd), value]]), family, axis, style, size=7, color=style.forward)
        y = (1.26 - 0.12 * i) * top
        draw.line(x[0] + np.array([0, 0.12]), np.array([y, y]), axis, color=style.forward, width=2,
                  linestyle=style.dash(_DASH[family]))  # fmt: skip
        _mark(np.array([[x[0] + 0.06, y]]), family, axis, style, size=7, color=style.forward)
        words = f"{family.capitalize()}: least KL {value:.4f}, at sd {sd:.3f}"
        _text(np.array([x[0] + 0.15, y]), words, axis, style.ink, style, "left", "center")
    ticks = [0.6, 0.8, 1.0, 1.3, 1.7]
    draw.xticks(np.log(ticks), [f"{t:g}" for t in ticks], axis)
    draw.ylim((0.0, 1.34 * top), axis)
    draw.xlabel("standard deviation of the member", axis)
    draw.ylabel("forward KL, nats", axis)


def _mark(points: Array, marker: str, axis: Any, style: Style, *, size: float, **kwargs: Any) -> None:
    if style.backend == "matplotlib":  # above lines, whatever the order of drawing
        kwargs["zorder"] = 5
    # ArviZ's size is an area in every backend.
    style.draw.scatter(points[:, 0], points[:, 1], axis, size=size**2, marker=_MARKERS[style.backend][marker], **kwargs)


def _text(place: Array, words: str, axis: Any, color: str, style: Style, horizontal: str, vertical: str) -> None:
    if style.backend != "matplotlib" and vertical == "center":
        vertical = "middle"
    style.draw.text(
        place[0], place[1], words, axis, color=color, size=10, horizontal_align=horizontal, vertical_align=vertical
    )


def choice(panels: Sequence[ChoicePanel], style: Style, *, level: float) -> PlotCollection:
    """Draw each target's leave-one-out differences with intervals and, below, wrong choices by sample size.

    Parameters
    ----------
    panels : sequence of ChoicePanel
    style : Style
    level : float
        Normal quantile to multiply standard errors with.

    Returns
    -------
    PlotCollection
    """
    titles = [p.title for p in panels] + [f"{p.title}: wrong choices" for p in panels]
    with style.settings():
        collection, axes = panel_grid(titles, style, len(panels), (4.9 * len(panels), 7.4))
        for i, panel in enumerate(panels):
            _intervals(panel, axes[i], style, level, first=i == 0)
            _rates(panel, axes[len(panels) + i], style, level, first=i == 0)
    return collection


def _intervals(panel: ChoicePanel, axis: Any, style: Style, level: float, *, first: bool) -> None:
    draw = style.draw
    order = np.argsort(panel.differences)
    for i, k in enumerate(order):
        centre, half = panel.differences[k], level * panel.errors[k]
        misses = abs(centre - panel.exact) > half
        color = style.ink if misses else style.forward
        draw.line(np.array([i, i]), np.array([centre - half, centre + half]), axis, color=color,
                  width=2.4 if misses else 1.0, alpha=1.0 if misses else 0.6)  # fmt: skip
    places = np.stack([np.arange(len(order)), panel.differences[order]], axis=1)
    _mark(places, "normal", axis, style, size=2.6, color=style.forward)
    draw.hline(panel.exact, axis, color=style.target, width=1.8)
    draw.hline(0.0, axis, color=style.faint, width=1.0, linestyle=style.dash("dotted"))
    words = f"exact\n{panel.exact:.1f}".replace("-", "−")
    _text(np.array([1.03 * len(order), panel.exact]), words, axis, style.ink, style, "left", "bottom")
    draw.xlim((-0.03 * len(order), 1.16 * len(order)), axis)
    draw.xlabel("data sets, sorted", axis)
    if first:
        draw.ylabel("difference, Normal − Laplace, nats", axis)


def _rates(panel: ChoicePanel, axis: Any, style: Style, level: float, *, first: bool) -> None:
    draw = style.draw
    x = np.log(panel.sizes)
    draw.line(x, panel.predicted, axis, color=style.target, width=4, alpha=0.35)
    for i, (name, (dash, marker)) in enumerate(_CRITERIA.items()):
        rate, half = panel.rates[name], level * panel.rate_errors[name]
        at = x + 0.07 * (i - 1)
        draw.line(at, rate, axis, color=style.forward, width=1.4, linestyle=style.dash(dash))
        for a, r, h in zip(at, rate, half, strict=True):
            draw.line(np.array([a, a]), np.array([max(r - h, 0), r + h]), axis, color=style.forward, width=1.0)
        _mark(np.stack([at, rate], axis=1), marker, axis, style, size=5, color=style.forward)
    if first:
        entries = (("in_sample", "log likelihood (= AIC)"), ("tic", "TIC"), ("loo", "leave-one-out"))
        for i, (name, words) in enumerate(entries):
            dash, marker = _CRITERIA[name]
            y = 0.16 - 0.05 * i
            draw.line(x[0] + np.array([0, 0.5]), np.array([y, y]), axis, color=style.forward, width=1.4,
                      linestyle=style.dash(dash))  # fmt: skip
            _mark(np.array([[x[0] + 0.25, y]]), marker, axis, style, size=5, color=style.forward)
            _text(np.array([x[0] + 0.6, y]), words, axis, style.ink, style, "left", "center")
        draw.ylabel("share of wrong choices", axis)
    draw.xticks(x, [f"{n:g}" for n in panel.sizes], axis)
    draw.ylim((-0.01, 0.62), axis)
    draw.xlabel("observations", axis)


def forests(panels: Sequence[Forest], style: Style, *, level: float) -> PlotCollection:
    """Draw, for each data set, how far each family is behind the best, with intervals.

    A family has the same row in every panel, which is empty where it was not fitted.

    Parameters
    ----------
    panels : sequence of Forest
    style : Style
    level : float
        Normal quantile to multiply standard errors with.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    names = list(dict.fromkeys(name for panel in panels for name in panel.names))
    places = {name: len(names) - 1 - i for i, name in enumerate(names)}
    with style.settings():
        collection, axes = panel_grid(
            [p.title for p in panels], style, len(panels), (3.7 * len(panels), 1.0 + 0.4 * len(names))
        )
        for i, (panel, axis) in enumerate(zip(panels, axes, strict=True)):
            rows = [places[name] for name in panel.names]
            lowest = np.nanmin(panel.values - level * panel.errors)
            draw.vline(0.0, axis, color=style.faint, width=1.0, linestyle=style.dash("dotted"))
            for row, value, error, note in zip(rows, panel.values, panel.errors, panel.notes, strict=True):
                if note:
                    _text(np.array([lowest, row]), note, axis, style.ink, style, "left", "center")
                    continue
                ends = np.array([value - level * error, value + level * error])
                draw.line(ends, np.array([row, row]), axis, color=style.forward, width=1.8)
                best = value == 0
                _mark(np.array([[value, row]]), "target" if best else "normal", axis, style, size=12 if best else 6,
                      color=style.ink if best else style.forward)  # fmt: skip
            draw.yticks(np.array(list(places.values())), names if i == 0 else [""] * len(names), axis)
            draw.ylim((-0.5, len(names) - 0.5), axis)
            draw.xlabel("nats per observation", axis)
    return collection
