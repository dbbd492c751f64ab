"""Drawings of optima against the separation of two modes: branches, and the plane of weight and separation.

Minima are solid and saddles dashed; the global minimum is the strongest line. Everything of reverse KL is orange, so lines
and regions are told apart by strength and by the words beside them, never by hue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style, rim

__all__ = ["Line", "Phase", "Sweep", "branches", "phase"]

Array = NDArray[np.float64]

_NAMES = {"mean": "mean of the fit", "sd": "standard deviation of the fit", "kl": "reverse KL in nats"}
_WIDTH = {"global minimum": 3.6, "local minimum": 1.5, "saddle": 1.1}
_ROW = 0.085  # of the height of the panel, for each flag above it
_LETTERS = 9.8
_APART = 0.09  # of the height of the panel, between labels at the ends of lines
_KEY_WIDTH = 0.4  # of the width of the panel


@dataclass(frozen=True, eq=False)
class Line:
    """A part of a branch with one status (``global minimum``, ``local minimum`` or ``saddle``).

    `values` holds ``a``, ``mean``, ``sd`` and ``kl``, each ndarray (n,).
    """

    label: str
    status: str
    values: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Sweep:
    """Optima for one family of targets against the separation of its modes.

    Attributes
    ----------
    lines : sequence of Line
    forward : mapping of str to ndarray (n,)
        ``a``, ``mean``, ``sd``.
    flags : sequence of (float, str)
        Separations where something changes, ascending, and what.
    ends : mapping of str to ndarray (r,)
        ``a``, ``mean``, ``sd``, ``kl`` of runs, and whether each has ``arrived``.
    span : (float, float)
        Separations to show.
    tolerance : float
        In nats: what counts as arrived.
    """

    lines: Sequence[Line]
    forward: Mapping[str, Array]
    flags: Sequence[tuple[float, str]]
    ends: Mapping[str, Array]
    span: tuple[float, float]
    tolerance: float

    def limits(self, quantity: str) -> tuple[float, float]:
        """Range of a quantity over the separations shown."""
        inside = [self.inside(line.values, quantity)[1] for line in self.lines]
        if quantity in self.forward:
            inside.append(self.inside(self.forward, quantity)[1])
        values = np.concatenate([v for v in inside if len(v)])
        low, high = float(values.min()), float(values.max())
        return low - 0.06 * (high - low), high + 0.06 * (high - low)

    def inside(self, values: Mapping[str, Array], quantity: str) -> tuple[Array, Array]:
        """The part of a curve over the separations shown, ascending, cut off at their ends."""
        order = np.argsort(values["a"], kind="stable")
        a, y = values["a"][order], values[quantity][order]
        ends = np.array([end for end in self.span if a[0] < end < a[-1]])
        shown = (a >= self.span[0]) & (a <= self.span[1])
        a, y = np.concatenate([a[shown], ends]), np.concatenate([y[shown], np.interp(ends, a, y)])
        order = np.argsort(a, kind="stable")
        return a[order], y[order]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which runs are at separations that are shown."""
        return np.asarray((self.ends["a"] >= self.span[0]) & (self.ends["a"] <= self.span[1]))


@dataclass(frozen=True, eq=False)
class Phase:
    """The plane of weight and separation, for weights up to 1/2; the other half is its mirror image.

    Attributes
    ----------
    curves : mapping of str to (ndarray (n,), ndarray (n,))
        Weights, ascending, and separations of ``heavy``, ``light``, ``broad``, ``exchange`` and ``bimodal``.
    cusp : (float, float)
        Weight and separation.
    span : (float, float)
        Separations to show.
    """

    curves: Mapping[str, tuple[Array, Array]]
    cusp: tuple[float, float]
    span: tuple[float, float]


# --- branches --------------------------------------------------------------------------------------------------------


def branches(sweep: Sweep, quantities: Sequence[str], style: Style) -> PlotCollection:
    """All stationary points against the separation, one panel above another for each quantity.

    Parameters
    ----------
    sweep : Sweep
    quantities : sequence of str
        Of ``mean``, ``sd``, ``kl``.
    style : Style

    Returns
    -------
    PlotCollection
    """
    with style.settings():
        collection, axes = panel_grid([_NAMES[q] for q in quantities], style, 1, (8.2, 1.6 + 2.75 * len(quantities)))
        for quantity, axis in zip(quantities, axes, strict=True):
            first = quantity == quantities[0]
            low, high = sweep.limits(quantity)
            _flags(sweep, (low, high), axis, style, named=first)
            for line in sorted(sweep.lines, key=lambda line: _WIDTH[line.status]):
                _stroke(*sweep.inside(line.values, quantity), line.status, axis, style)
            if quantity in sweep.forward:
                style.draw.line(*sweep.inside(sweep.forward, quantity), axis, color=style.forward, width=1.9,
                                linestyle=style.dash("dashed"), zorder=3)  # fmt: skip
            _ends(sweep, quantity, axis, style)
            _end_labels(sweep, quantity, axis, style)
            if first:
                _key(sweep, (low, high), axis, style)
            rows = len(sweep.flags) if first else 0
            style.draw.xlim((sweep.span[0], _right(sweep)), axis)
            style.draw.ylim((low, high + rows * _ROW * (high - low)), axis)
            if first:  # no ticks beside the flags
                ticks = [t for t in range(-20, 21, 2) if low <= t <= high]
                style.draw.yticks(ticks, [str(t).replace("-", "\N{MINUS SIGN}") for t in ticks], axis)
            if quantity == quantities[-1]:
                style.draw.xlabel("separation a: the modes lie at −a and a, each with standard deviation 1", axis)
    return collection


def _right(sweep: Sweep) -> float:
    """Right end of the axis, with room for labels."""
    return sweep.span[1] + 0.17 * (sweep.span[1] - sweep.span[0])


def _stroke(x: Array, y: Array, status: str, axis: Any, style: Style) -> None:
    dash = style.dash("dashed" if status == "saddle" else "solid")
    style.draw.line(x, y, axis, color=style.reverse, width=_WIDTH[status], linestyle=dash)


def _flags(sweep: Sweep, limits: tuple[float, float], axis: Any, style: Style, *, named: bool) -> None:
    """A line at each event; in the first panel a staircase of texts, each of which crosses no line of a later one."""
    low, high = limits
    for i, (a, text) in enumerate(sweep.flags):
        bottom, top = low, high
        if named:
            top = high + (len(sweep.flags) - i - 0.5) * _ROW * (high - low)
            if a < sweep.span[0] + _KEY_WIDTH * (sweep.span[1] - sweep.span[0]):
                bottom = _key_row(limits, len(_key_entries(sweep)))
            place = f"a = {a:g}" if a == round(a) else f"a = {a:.3f}"
            _words(a, top, f" {place}: {text}", axis, style, style.ink, "left")
        style.draw.line(np.array([a, a]), np.array([bottom, top]), axis, color=style.faint, width=0.9, zorder=1)


def _ends(sweep: Sweep, quantity: str, axis: Any, style: Style) -> None:
    arrived = sweep.ends["arrived"].astype(bool)
    for chosen, marker in ((sweep.shown & arrived, "dot"), (sweep.shown & ~arrived, "cross")):
        _dots(sweep.ends["a"][chosen], sweep.ends[quantity][chosen], marker, axis, style)


def _dots(x: Array, y: Array, marker: str, axis: Any, style: Style) -> None:
    if len(x):
        size = {"dot": 4.2, "cross": 6.5}[marker] ** 2  # ArviZ's size is an area in every backend
        style.draw.scatter(x, y, axis, size=size, color=style.ink, marker=style.marker(marker), alpha=0.85, zorder=5)


def _end_labels(sweep: Sweep, quantity: str, axis: Any, style: Style) -> None:
    """Say what each line is where it leaves the panel; one that ends inside it has its name at its beginning."""
    low, high = sweep.limits(quantity)
    last: dict[str, float] = {}
    for line in sweep.lines:
        a = line.values["a"]
        if line.status != "saddle" and a.min() < sweep.span[1] <= a.max():
            last[line.label] = float(np.interp(sweep.span[1], a, line.values[quantity]))
    if {"left mode", "right mode"} <= set(last) and abs(last["left mode"] - last["right mode"]) < 0.02 * (high - low):
        last = {**last, "one mode": last["right mode"]}
        del last["left mode"], last["right mode"]
    labels = [(y, text, style.reverse) for text, y in last.items()]
    if quantity in sweep.forward:
        y = float(np.interp(sweep.span[1], sweep.forward["a"], sweep.forward[quantity]))
        labels.append((y - 1e-6, "forward", style.forward))
    places = _spread([y for y, *_ in labels], _APART * (high - low))
    for place, (_, text, color) in zip(places, labels, strict=True):
        _words(sweep.span[1] + 0.012 * (sweep.span[1] - sweep.span[0]), place, text, axis, style, color, "left")
    if "both modes" not in last:
        starts = [line for line in sweep.lines if line.label == "both modes"]
        y = min(float(np.interp(sweep.span[0], v["a"], v[quantity])) for v in (starts[0].values,))
        _words(sweep.span[0], y + 0.08 * (high - low), " both modes", axis, style, style.reverse, "left")


def _spread(values: Sequence[float], least: float) -> list[float]:
    """Move places apart, symmetrically, until neighbours have the least distance."""
    places = np.array(values, dtype=float)
    order = np.argsort(places)
    for _ in range(100):
        for i, j in pairwise(order):
            short = least - (places[j] - places[i])
            if short > 1e-9:
                places[i] -= short / 2
                places[j] += short / 2
    return [float(p) for p in places]


def _key_entries(sweep: Sweep) -> list[tuple[str, str]]:
    entries = [*((name, name) for name in _WIDTH), ("dot", "end of an ADVI run")]
    if (sweep.shown & ~sweep.ends["arrived"].astype(bool)).any():
        entries.append(("cross", f"not arrived (> {sweep.tolerance} nats)"))
    return entries


def _key_row(limits: tuple[float, float], row: int) -> float:
    """Height of a row of the key, counted from below."""
    return limits[0] + (0.05 + 0.078 * row) * (limits[1] - limits[0])


def _key(sweep: Sweep, limits: tuple[float, float], axis: Any, style: Style) -> None:
    """What the strengths of lines and the markers mean, in the corner where no line can be: below the first fold."""
    width = sweep.span[1] - sweep.span[0]
    left = sweep.span[0] + 0.02 * width
    for i, (kind, text) in enumerate(_key_entries(sweep)[::-1]):
        y = _key_row(limits, i)
        if kind in _WIDTH:
            _stroke(np.array([left, left + 0.05 * width]), np.array([y, y]), kind, axis, style)
        else:
            _dots(np.array([left + 0.025 * width]), np.array([y]), kind, axis, style)
        _words(left + 0.06 * width, y, text, axis, style, style.ink, "left")


def _words(x: float, y: float, text: str, axis: Any, style: Style, color: str, align: str, **kwargs: Any) -> None:
    if style.backend == "matplotlib":
        kwargs = {**rim(style), "zorder": 6, **kwargs}
    kwargs = {"size": _LETTERS, **kwargs}
    if style.backend == "plotly":
        kwargs["vertical_align"] = "middle"
    style.draw.text(x, y, text, axis, color=color, horizontal_align=align, **kwargs)


# --- the plane -------------------------------------------------------------------------------------------------------


def phase(plane: Phase, style: Style) -> PlotCollection:
    """How many minima there are and which is global, over the weight of the left mode and the separation.

    Parameters
    ----------
    plane : Phase
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    low, high = plane.span
    inner = np.linspace(plane.cusp[0], 0.5, 400)
    whole = np.linspace(plane.curves["light"][0].min(), 0.5, 400)
    heavy, broad = (np.clip(_at(plane.curves[name], inner), low, high) for name in ("heavy", "broad"))
    light = np.clip(_at(plane.curves["light"], whole), low, high)
    with style.settings():
        collection, (axis,) = panel_grid(["phase"], style, 1, (8.2, 6.8))
        for mirror in (False, True):
            x, x_light = (_side(w, mirror) for w in (inner, whole))
            # Every further minimum is one tint more.
            draw.fill_between_y(x, heavy, broad, axis, color=style.reverse, alpha=0.19)
            draw.fill_between_y(x_light, light, np.full_like(light, high), axis, color=style.reverse, alpha=0.19)
            inside = broad < high
            for at, height in ((x, heavy), (x_light, light), (x[inside], broad[inside])):
                draw.line(at, height, axis, color=style.reverse, width=1.2)
            for name, width, dash, color in (
                ("exchange", 3.2, "solid", style.ink),
                ("bimodal", 1.8, "dotted", style.target),
            ):
                w, height = plane.curves[name]
                draw.line(_side(w, mirror), height, axis, color=color, width=width, linestyle=style.dash(dash))
            draw.scatter(_side(np.array([plane.cusp[0]]), mirror), np.array([plane.cusp[1]]), axis, size=60,
                         color=style.ink, marker=style.marker("dot"), zorder=5)  # fmt: skip
        for x_word, y_word, text in _region_words(plane):
            _words(x_word, y_word, text, axis, style, style.ink, "center")
        for place, text, begin, end in _leader_words(plane):
            draw.line(*np.array([begin, end]).T, axis, color=style.ink, width=0.9, zorder=4)
            _words(*place, text, axis, style, style.ink, "center")
        least = plane.curves["light"][0].min()
        draw.xlim((least, 1 - least), axis)
        draw.ylim((low, high), axis)
        draw.xlabel("weight w of the left mode", axis)
        draw.ylabel("separation a", axis)
    return collection


def _side(w: Array, mirror: bool) -> Array:
    return 1 - w if mirror else w


def _at(curve: tuple[Array, Array], w: Array) -> Array:
    """Separation of a curve at weights; beyond its end it has left the drawing."""
    from scipy.interpolate import PchipInterpolator

    return np.where(w > curve[0][-1], np.inf, PchipInterpolator(*curve)(np.minimum(w, curve[0][-1])))


def _region_words(plane: Phase) -> list[tuple[float, float, str]]:
    """Texts in the regions; the right half of the plane repeats the left, with left and right exchanged."""
    low, high = plane.span
    fold, top = float(plane.curves["heavy"][1].max()), float(plane.curves["exchange"][1].max())
    one_mode = float(plane.curves["bimodal"][1].min())
    sides = ((0.14, "right"), (0.86, "left"))
    return [
        (0.5, (low + one_mode) / 2, "target with one mode: 1 minimum"),
        (0.5, 0.62 * one_mode + 0.38 * fold, "1 minimum: it covers both modes,\nthough the target has two"),
        (0.5, (top + high) / 2 - 0.1, "3 minima,\nglobal: the heavier mode\n(each mode if w = ½);\ncovering is local"),
        *((w, 0.25 * fold + 0.75 * high, f"2 minima,\nglobal: {side} mode,\nlocal: the other") for w, side in sides),
        *((w, plane.cusp[1] + 0.05, f"1 minimum:\nfrom covering to the\n{side} mode, no jump") for w, side in sides),
    ]


def _leader_words(plane: Phase) -> list[tuple[tuple[float, float], str, tuple[float, float], tuple[float, float]]]:
    """Texts that stand beside what they name: place, text, and a line from beside the text to the point named."""
    fold, top, cusp = (
        float(v) for v in (plane.curves["heavy"][1].max(), plane.curves["exchange"][1].max(), plane.cusp[1])
    )
    w = 0.33
    on_line = float(_at(plane.curves["exchange"], np.array([w]))[0])
    return [
        ((0.5, cusp + 0.06), "3 minima,\nglobal: both modes", (0.5, cusp + 0.21), (0.5, fold + 0.45 * (top - fold))),
        ((0.13, top - 0.22), "covering and the heavier\nmode are equally good", (0.247, top - 0.27), (w, on_line)),
    ]
