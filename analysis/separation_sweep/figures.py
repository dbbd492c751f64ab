"""Drawings of optima against the separation of two modes: branches, and the plane of weight and separation.

Minima are dotted, the global one is the strongest line; saddles are thin and grey, for no fit ends there. Everything else of
reverse KL, runs of ADVI too, is orange, so lines and regions are told apart by strength and by the words beside them, never by hue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, short, spread
from analysis.drawing.style import Style, rim
from analysis.judged import within_tolerance
from analysis.reading import dataset_of
from analysis.separation_sweep.branches import BOUNDS, HALF, pieces_of
from analysis.separation_sweep.findings import EVENTS, TOLERANCE, along, table_of

__all__ = ["explorer", "plot"]

Array = NDArray[np.float64]

_NAMES = {"mean": "mean of the fit", "sd": "standard deviation of the fit", "kl": "reverse KL in nats"}
_WIDTH = {"global minimum": 3.6, "local minimum": 1.5, "saddle": 1.1}
_ROW = 0.085  # of the height of the panel, for each flag above it
_LETTERS = 9.8
_APART = 0.09  # of the height of the panel, between labels at the ends of lines
_KEY_WIDTH = 0.4  # of the width of the panel


#: What is written at a located point; ``bimodal`` is where the target gets its second mode.
_EQUAL = {
    "bimodal": "target has two modes",
    "birth": "one mode is a minimum",
    "exchange": "one mode is best",
}
_UNEQUAL = {
    "bimodal": "target has two modes",
    "birth": "heavier mode is a minimum",
    "exchange": "heavier mode is best",
    "end": "covering minimum ends",
    "light": "lighter mode is a minimum",
}
_LINES = {"exchange": "two minima are equally good", "bimodal": "target gets its second mode"}
_PHASE = (0.5, BOUNDS[1])  # separations of the plane


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``branches``, ``branches_unequal`` and ``phase``."""
    style = Style.of(theme, backend, narrow)
    unequal = sweep_of(results, "unequal", (1.2, 3.4), _UNEQUAL)
    return {
        "branches": Drawing(branches(sweep_of(results, "equal", BOUNDS, _EQUAL), ("mean", "sd", "kl"), style)),
        "branches_unequal": Drawing(branches(unequal, ("mean", "kl"), style)),
        "phase": Drawing(_phase(results, style)),
    }


def explorer(results: xr.DataTree) -> dict[str, Any]:
    """Return the table of the interactive figure: see `analysis.site.explorer.Explorer`."""
    table = table_of(results)
    half = table["weight"].to_numpy()
    full = [*((float(w), False) for w in half), *((float(np.round(1 - w, 9)), True) for w in half[::-1] if w < HALF)]
    separations = [float(a) for a in table["a"].to_numpy()]
    return {
        "separations": separations,
        "weights": [w for w, _ in full],
        "initial": {"a": min(separations, key=lambda a: abs(a - 3.0)), "w": HALF},
        "cells": [[_explorer_cell(table, i, w, mirror) for w, mirror in full] for i in range(len(separations))],
    }


def _explorer_cell(table: xr.Dataset, i: int, weight: float, mirror: bool) -> dict[str, Any]:
    """One cell; the mirror image of the target has the mirror images of its optima."""
    one = table.sel(weight=1 - weight if mirror else weight, method="nearest").isel(a=i)
    sign = np.array([-1 if mirror else 1, 1, 1])
    count = int(one["minima"])
    points = np.stack([one[name].to_numpy()[:count] for name in ("mean", "sd", "kl", "is_global")], axis=1)
    return {
        "forward": [float(v) for v in sign * one["forward"].to_numpy()],
        "reverse": [[*(float(v) for v in sign * p[:3]), int(p[3])] for p in points],
    }


# --- branches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sweep:
    """What `branches` draws: pieces (see `pieces_of`), the forward optimum, events (ascending), ends of runs; over a span."""

    pieces: Sequence[tuple[str, str, Mapping[str, Array]]]
    forward: Mapping[str, Array]
    flags: Sequence[tuple[float, str]]
    ends: Mapping[str, NDArray[Any]]
    span: tuple[float, float]

    def limits(self, quantity: str) -> tuple[float, float]:
        """Range of a quantity over the separations shown."""
        inside = [self.inside(values, quantity)[1] for *_, values in self.pieces]
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


def sweep_of(results: xr.DataTree, name: str, span: tuple[float, float], events: Mapping[str, str]) -> Sweep:
    """Read the branches, located points and runs of equal or unequal modes."""
    critical, forward = (dataset_of(results, f"branches_{name}/{child}") for child in ("critical", "forward"))
    advi = dataset_of(results, f"advi_{name}")
    at = {key: float(critical["a"].sel(name=EVENTS[key])) for key in events if key in EVENTS}
    at["bimodal"] = float(results[f"branches_{name}"].attrs["bimodal_from"])
    separations = np.broadcast_to(advi["a"].to_numpy()[:, None], advi["gap"].shape)
    columns = {key: advi[key].to_numpy().ravel() for key in ("mean", "sd", "kl")}
    return Sweep(
        pieces_of(dataset_of(results, f"branches_{name}/branches")),
        forward={key: forward[key].to_numpy() for key in ("a", "mean", "sd")},
        flags=sorted((at[key], text) for key, text in events.items()),
        ends={"a": separations.ravel(), **columns, "arrived": within_tolerance(advi["gap"], TOLERANCE).ravel()},
        span=span,
    )


def branches(sweep: Sweep, quantities: Sequence[str], style: Style) -> PlotCollection:
    """All stationary points against the separation, one panel above another for each quantity."""
    with style.settings():
        collection, axes = panel_grid([_NAMES[q] for q in quantities], style, 1, (8.2, 1.6 + 2.75 * len(quantities)))
        for quantity, axis in zip(quantities, axes, strict=True):
            first = quantity == quantities[0]
            low, high = sweep.limits(quantity)
            _flags(sweep, (low, high), axis, style, named=first)
            for place, status, values in sorted(sweep.pieces, key=lambda piece: _WIDTH[piece[1]]):
                _stroke(*sweep.inside(values, quantity), status, axis, style, place)
            if quantity in sweep.forward:
                style.draw.line(*sweep.inside(sweep.forward, quantity), axis, color=style.forward, width=1.9,
                                linestyle=style.dash("dashed"), zorder=3, label="forward, exact")  # fmt: skip
            _ends(sweep, quantity, axis, style)
            _end_labels(sweep, quantity, axis, style)
            if first and not style.narrow and not style.interactive:  # there the caption or the legend says it
                _key(sweep, (low, high), axis, style)
            rows = len(sweep.flags) * _taller(style) if first else 0
            right = sweep.span[1] + 0.17 * (sweep.span[1] - sweep.span[0])  # with room for labels
            style.draw.xlim((sweep.span[0], right), axis)
            style.draw.ylim((low, high + rows * _ROW * (high - low)), axis)
            if first:  # no ticks beside the flags
                ticks = [t for t in range(-20, 21, 2) if low <= t <= high]
                style.draw.yticks(ticks, [short(t) for t in ticks], axis)
            if quantity == quantities[-1]:
                style.draw.xlabel("separation a" if style.narrow else "separation a: the modes lie at −a and a", axis)
    return collection


def _taller(style: Style) -> float:
    """How much taller a row of words is on a narrow screen, against the panel."""
    return 1.5 if style.narrow else 1.0


def _stroke(x: Array, y: Array, status: str, axis: Any, style: Style, place: str = "") -> None:
    saddle = status == "saddle"
    color, dash = style.faint if saddle else style.reverse, style.dash("solid" if saddle else "dotted")
    style.draw.line(x, y, axis, color=color, width=_WIDTH[status], linestyle=dash, label=status if saddle else f"reverse, {status}",
                    facts={"on": place} if place and not saddle else {})  # fmt: skip


def _flags(sweep: Sweep, limits: tuple[float, float], axis: Any, style: Style, *, named: bool) -> None:
    """A line at each event; in the first panel a staircase of texts, each of which crosses no line of a later one."""
    low, high = limits
    for i, (a, text) in enumerate(sweep.flags):
        bottom, top = low, high
        if named:
            top = high + (len(sweep.flags) - i - 0.5) * _ROW * _taller(style) * (high - low)
            if not style.narrow and a < sweep.span[0] + _KEY_WIDTH * (sweep.span[1] - sweep.span[0]):
                bottom = _key_row(limits, len(_key_entries(sweep)))
            place = f"a = {a:g}" if a == round(a) else f"a = {a:.3f}"
            crowded = style.narrow and len(sweep.flags) > len(_EQUAL)  # then the caption says what happens there
            _words(a, top, f" {place}" if crowded else f" {place}: {text}", axis, style, style.ink, "left")
        style.draw.line(np.array([a, a]), np.array([bottom, top]), axis, color=style.faint, width=0.9, zorder=1, label="event",
                        facts={"here": text})  # fmt: skip


def _ends(sweep: Sweep, quantity: str, axis: Any, style: Style) -> None:
    arrived = sweep.ends["arrived"]
    for chosen, marker in ((sweep.shown & arrived, "dot"), (sweep.shown & ~arrived, "cross")):
        _dots(sweep.ends["a"][chosen], sweep.ends[quantity][chosen], marker, axis, style)


def _dots(x: Array, y: Array, marker: str, axis: Any, style: Style) -> None:
    if len(x):
        size = {"dot": 5.2, "cross": 6.5}[marker] ** 2  # ArviZ's size is an area in every backend
        if marker == "dot":
            style.draw.scatter(x, y, axis, size=size, marker=style.marker(marker), facecolor=style.paper,
                               edgecolor=style.reverse, width=1.3, zorder=5, label="end of an ADVI run")  # fmt: skip
        else:
            points(x, y, axis, style, color=style.ink, marker=marker, area=size, alpha=0.85, zorder=5,
                   label=f"end of an ADVI run, more than {TOLERANCE:g} nats off")  # fmt: skip


def _end_labels(sweep: Sweep, quantity: str, axis: Any, style: Style) -> None:
    """Say what each line is where it leaves the panel; one that ends inside it has its name at its beginning."""
    low, high = sweep.limits(quantity)
    last: dict[str, float] = {}
    for label, status, values in sweep.pieces:
        a = values["a"]
        if status != "saddle" and a.min() < sweep.span[1] <= a.max():
            last[label] = float(np.interp(sweep.span[1], a, values[quantity]))
    if {"left mode", "right mode"} <= set(last) and abs(last["left mode"] - last["right mode"]) < 0.02 * (high - low):
        last = {**last, "one mode": last["right mode"]}
        del last["left mode"], last["right mode"]
    labels = [(y, text, style.reverse) for text, y in last.items()]
    if quantity in sweep.forward:
        y = float(np.interp(sweep.span[1], sweep.forward["a"], sweep.forward[quantity]))
        labels.append((y - 1e-6, "forward", style.forward))
    places = spread([y for y, *_ in labels], _APART * (high - low))
    for place, (_, text, color) in zip(places, labels, strict=True):
        _words(sweep.span[1] + (0.03 if style.narrow else 0.014) * (sweep.span[1] - sweep.span[0]), place, text,
               axis, style, color, "left")  # fmt: skip
    if "both modes" not in last:
        values = next(values for label, _, values in sweep.pieces if label == "both modes")
        y = float(np.interp(sweep.span[0], values["a"], values[quantity]))
        _words(sweep.span[0], y + 0.08 * (high - low), " both modes", axis, style, style.reverse, "left")


def _key_entries(sweep: Sweep) -> list[tuple[str, str]]:
    entries = [*((name, name) for name in _WIDTH), ("dot", "end of an ADVI run")]
    if (sweep.shown & ~sweep.ends["arrived"]).any():
        entries.append(("cross", f"not arrived (> {TOLERANCE} nats)"))
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


def _phase(results: xr.DataTree, style: Style) -> PlotCollection:
    """How many minima there are and which is global, over weight and separation; right of 1/2 is the mirror image of left."""
    draw, (low, high) = style.draw, _PHASE
    data, bimodal, corner = (dataset_of(results, f"boundaries/{name}") for name in ("curves", "bimodal", "cusp"))
    cusp = (float(corner["w"]), float(corner["a"]))
    curves = {name: along(data, name) for name in ("heavy", "light", "broad", "exchange")}
    curves["bimodal"] = (bimodal["w"].to_numpy(), bimodal["a"].to_numpy())
    least = curves["light"][0].min()
    inner, whole = np.linspace(cusp[0], 0.5, 400), np.linspace(least, 0.5, 400)
    heavy, broad = (np.clip(_at(curves[name], inner), low, high) for name in ("heavy", "broad"))
    light = np.clip(_at(curves["light"], whole), low, high)
    with style.settings():
        collection, (axis,) = panel_grid(["phase"], style, 1, (8.2, 6.8))
        for mirror in (False, True):
            x, x_light = (_side(w, mirror) for w in (inner, whole))
            # Every further minimum is one tint more.
            for at, low_end, high_end in ((x, heavy, broad), (x_light, light, np.full_like(light, high))):
                draw.fill_between_y(
                    at, low_end, high_end, axis, color=style.reverse, alpha=0.19, label="one minimum more"
                )
            inside = broad < high
            for at, height in ((x, heavy), (x_light, light), (x[inside], broad[inside])):
                draw.line(at, height, axis, color=style.reverse, width=1.2, label="a minimum begins or ends")
            for name, width, color in (("exchange", 3.2, style.ink), ("bimodal", 1.8, style.target)):
                w, height = curves[name]
                draw.line(_side(w, mirror), height, axis, color=color, width=width, label=_LINES[name])
            points(_side(cusp[0], mirror), cusp[1], axis, style, color=style.ink, area=60, zorder=5, label="cusp")
        for x_word, y_word, text in (_few_words if style.narrow else _region_words)(curves, cusp[1]):
            _words(x_word, y_word, text, axis, style, style.ink, "center")
        for place, text, begin, end in () if style.narrow else _leader_words(curves, cusp[1]):
            draw.line(*np.array([begin, end]).T, axis, color=style.ink, width=0.9, zorder=4)
            _words(*place, text, axis, style, style.ink, "center")
        draw.xlim((least, 1 - least), axis)
        draw.ylim((low, high), axis)
        draw.xlabel("weight w of the left mode", axis)
        draw.ylabel("separation a", axis)
    return collection


def _side(w: Any, mirror: bool) -> Any:
    return 1 - w if mirror else w


def _at(curve: tuple[Array, Array], w: Array) -> Array:
    """Separation of a curve at weights; beyond its end it has left the drawing."""
    return np.where(w > curve[0][-1], np.inf, PchipInterpolator(*curve)(np.minimum(w, curve[0][-1])))


def _region_words(curves: Mapping[str, tuple[Array, Array]], cusp: float) -> list[tuple[float, float, str]]:
    """Texts in the regions; the right half of the plane repeats the left, with left and right exchanged."""
    low, high = _PHASE
    fold, top = (float(curves[name][1].max()) for name in ("heavy", "exchange"))
    one_mode = float(curves["bimodal"][1].min())
    sides = ((0.14, "right"), (0.86, "left"))
    return [
        (0.5, (low + one_mode) / 2, "target with one mode: 1 minimum"),
        (0.5, 0.62 * one_mode + 0.38 * fold, "1 minimum: it covers both modes,\nthough the target has two"),
        (0.5, (top + high) / 2 - 0.1, "3 minima,\nglobal: the heavier mode\n(each mode if w = ½);\ncovering is local"),
        *((w, 0.25 * fold + 0.75 * high, f"2 minima,\nglobal: {side} mode,\nlocal: the other") for w, side in sides),
        *((w, cusp + 0.05, f"1 minimum:\nfrom covering to the\n{side} mode, no jump") for w, side in sides),
    ]


def _few_words(curves: Mapping[str, tuple[Array, Array]], cusp: float) -> list[tuple[float, float, str]]:
    """Texts in the regions of a narrow drawing, whose caption says the rest."""
    (low, high), fold = _PHASE, float(curves["heavy"][1].max())
    one_mode, middle = float(curves["bimodal"][1].min()), 0.3 * fold + 0.7 * high
    return [
        (0.5, (low + one_mode) / 2, "target with one mode"),
        (0.5, 0.6 * one_mode + 0.4 * fold, "1 minimum:\nit covers both"),
        (0.5, middle, "3 minima"),
        *((w, middle, "2 minima") for w in (0.16, 0.84)),
        *((w, cusp + 0.35, "1 minimum") for w in (0.14, 0.86)),
    ]


def _leader_words(
    curves: Mapping[str, tuple[Array, Array]], cusp: float
) -> list[tuple[tuple[float, float], str, tuple[float, float], tuple[float, float]]]:
    """Texts that stand beside what they name: place, text, and a line from beside the text to the point named."""
    fold, top = (float(curves[name][1].max()) for name in ("heavy", "exchange"))
    w = 0.33
    on_line = float(_at(curves["exchange"], np.array([w]))[0])
    return [
        ((0.5, cusp + 0.06), "3 minima,\nglobal: both modes", (0.5, cusp + 0.21), (0.5, fold + 0.45 * (top - fold))),
        ((0.13, top - 0.22), "covering and the heavier\nmode are equally good", (0.247, top - 0.27), (w, on_line)),
    ]
