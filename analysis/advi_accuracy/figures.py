"""Drawings of how far runs of ADVI stop from an optimum: against cost, window, fixed draws, and their own evidence.

Every run is one of reverse KL, so runs are orange and dotted, and told apart by marks, widths and the words beside them; what is
computed without a run is a thin solid line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.advi_accuracy.findings import bias, case_trees, curves
from analysis.advi_accuracy.study import (
    CONSTANT_RATES,
    COST_DRAWS,
    FALLING_RATE,
    GOALS,
    NATS,
    PYMC_WINDOW,
    SHARE,
)
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, power
from analysis.drawing.style import Style, rim
from analysis.reading import case_of, dataset_of

__all__ = ["plot"]

Array = NDArray[np.float64]
_SIZE = 10.0
_SPAN = (1e-8, 10.0)  # of gaps, in nats
_ROW = 0.05  # of the height of a panel, between labels


@dataclass(frozen=True, eq=False)
class Line:
    """Runs of ADVI, as a line if it has a width, with marks (``dot``, ``square``, ``triangle``) or without; or what is predicted."""

    x: Array
    y: Array
    name: str
    mark: str | None = None
    width: float = 1.9
    predicted: bool = False


@dataclass(frozen=True)
class Label:
    """Words in a panel, in its units; `align` is where they are from the point's view, `color` a role of `Style`."""

    x: float
    y: float
    text: str
    align: str = "left"
    color: str = "reverse"


@dataclass(frozen=True, eq=False)
class LinePanel:
    """One panel of lines; `levels` are heights of faint horizontal lines, with words at their left ends."""

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


def side_by_side(style: Style, *panels: LinePanel) -> Drawing:
    """Panels of lines side by side."""
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, 2, (10.0, 4.2))
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
    return Drawing(collection)


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
    x, y = fx(line.x[shown]), fy(line.y[shown])
    color, dash = (style.ink, "solid") if line.predicted else (style.reverse, "dotted")
    if line.width and len(x):
        style.draw.line(x, y, axis, color=color, width=line.width, linestyle=style.dash(dash), label=line.name)
    if line.mark and len(x):
        points(x, y, axis, style, color=color, marker=line.mark, area=24, label=line.name)


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
    return power(exponent)


# --- panels of the results ---


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``accuracy_cost``, ``accuracy_bias``, ``accuracy_fixed`` and ``accuracy_evidence``."""
    style = Style.of(theme, backend, narrow)
    return {
        "accuracy_cost": _cost_drawing(results, style),
        "accuracy_bias": _bias_drawing(results, style),
        "accuracy_fixed": _fixed_drawing(results, style),
        "accuracy_evidence": Drawing(evidence(results, style)),
    }


def _cost_drawing(results: xr.DataTree, style: Style) -> Drawing:
    spent = {(c["kind"], c["draws"], c["rate"]): c for c in curves(dataset_of(results, "cost"), SHARE)}
    draws = COST_DRAWS["default"][-1]
    levels = [(goal, "") for goal in GOALS]
    xlim = (30.0, 1.2 * max(float(c["cost"][-1]) for c in spent.values()))
    low = min(float(c["median"].min()) for c in spent.values())
    ylim = (10 ** np.floor(np.log10(max(low, 1e-9))), 30.0)  # the upper part is for words

    def line(key: tuple[str, int, float], mark: str | None = None, width: float = 1.9) -> Line:
        kind, n, rate = key
        name = {"default": "PyMC's defaults", "constant": f"Adam, rate {rate:g}", "falling": "Adam, falling rate, PyMC's gradient",
                "path": "Adam, falling rate, path gradient"}[kind] + f", {n} draw{'s' if n > 1 else ''}"  # fmt: skip
        return Line(spent[key]["cost"], spent[key]["median"], name, mark, width)

    steady = [line(("default", n, 0.001), mark, 2.6) for n, mark in ((1, "dot"), (draws, "square"))]
    names = [Label(1.3 * xlim[0], ylim[1] / 4.2, f"PyMC: ● 1 draw, ■ {draws} draws")]
    for rate in CONSTANT_RATES:
        steady.append(line(("constant", draws, rate), width=1.4))
        last = spent["constant", draws, rate]
        names.append(Label(float(last["cost"][-1]) * 1.35, float(last["median"][-1]), f"{rate:g}"))
    wide = (xlim[0], 8 * xlim[1])
    falling = []
    begins: dict[int, tuple[float, float]] = {}
    for kind, mark in (("falling", "dot"), ("path", "square")):
        for n in COST_DRAWS[kind]:
            falling.append(line((kind, n, FALLING_RATE), mark))
            first = spent[kind, n, FALLING_RATE]
            x, y = float(first["cost"][0]), float(first["median"][0])
            begins[n] = (x, max(y, begins.get(n, (x, y))[1]))
    ends = [Label(x, 2.2 * y, f"{n} draw{'s' if n > 1 else ''}", "center") for n, (x, y) in begins.items()]
    top = ylim[1] / 1.6
    key = wide[1] / 1.3
    ends += [
        Label(key, top, "● PyMC's gradient", "right"),
        Label(key, top / 2.6, "■ path gradient, stratified", "right"),
    ]
    names += [Label(key, top, f"Adam, {draws} draws, rate:", "right")]
    xlabel = "gradient draws spent"
    return side_by_side(
        style,
        LinePanel("constant rates", xlabel, "median gap in nats", steady, names, wide, ylim, levels),
        LinePanel("falling rates", xlabel, "", falling, ends, wide, ylim, levels),
    )


def _bias_drawing(results: xr.DataTree, style: Style) -> Drawing:
    data = case_of(results, "bias")
    found = bias(data, PYMC_WINDOW)
    way, rest, exact = data["way"].to_dataset(), data["rest"].to_dataset(), data.to_dataset()["sd"]
    steps = way["steps"].to_numpy().astype(float)
    lines, labels, across = [], [], []
    highest = 0.0
    for place, mark in (("both modes", "dot"), ("right mode", "square")):
        truth = float(exact.sel(place=place))
        measured = 100 * (way["sd"].sel(place=place).mean("run").to_numpy() / truth - 1)
        predicted = 100 * (float(rest["sd"].sel(place=place, window=PYMC_WINDOW)) / truth - 1)
        name = "broad optimum" if place == "both modes" else "one-mode optimum"
        rest_at = f"predicted, {name}"
        lines.append(Line(np.array([0.0, steps[-1]]), np.repeat(predicted, 2), rest_at, width=0.9, predicted=True))
        lines.append(Line(np.append(0.0, steps), np.append(0.0, measured), f"runs, {name}", width=2.6))
        labels.append(Label(steps[-1], predicted * 1.02 + 0.9, name, "right"))
        highest = max(highest, predicted, float(measured.max()))
        excess = 100 * (rest["sd"].sel(place=place).to_numpy() / truth - 1)
        across.append(Line(rest["window"].to_numpy().astype(float), excess, rest_at, width=0.9, predicted=True))
        key = place.replace(" ", "_")
        at, value = [float(PYMC_WINDOW)], [100 * found[key]["excess"].value]
        for row in found["confirmed"]:
            if row["place"] == place:
                at.append(float(row["window"]))
                value.append(100 * (row["measured"].value / row["exact"] - 1))
        across.append(Line(np.array(at), np.array(value), f"runs, {name}", mark, width=0))
    labels.append(Label(steps[-1], 0.9, "the exact optimum", "right", "ink"))
    marks = [
        Label(1300.0, 40.0, "lines: predicted", "right", "ink"),
        Label(1300.0, 22.0, "● broad, ■ one mode: runs", "right"),
    ]
    ylabel = "standard deviation, % too large"
    return side_by_side(
        style,
        LinePanel("PyMC's defaults, from the optimum", "steps", ylabel, lines, labels, (0.0, steps[-1]),
                  (-2.0, 1.15 * highest + 2), [(0.0, "")], False, False),
        LinePanel("where the rule rests", "gradients in the window", ylabel, across, marks, (2.5, 1500.0), (0.03, 60.0)),
    )  # fmt: skip


def _fixed_drawing(results: xr.DataTree, style: Style) -> Drawing:
    data = dataset_of(results, "fixed_bimodal").sel(place="both modes")
    size = data["size"].to_numpy().astype(float)
    kept = data["status"] == 0
    gap = (data["exact"] - data["kl"]).where(kept)
    average = gap.mean("replicate").to_numpy()
    fitted = data["fitted"].where(kept).mean("replicate").to_numpy()
    true = data["exact"].where(kept).mean("replicate").to_numpy()
    price_, lowest = float(data["price"]), float(data["kl"])
    lines = [
        Line(size, price_ / size, "theory for independent draws", width=0.9, predicted=True),
        Line(size, average[0], "independent draws, mean gap", "dot"),
        Line(size, average[1], "stratified draws, mean gap", "square"),
    ]
    labels = [
        Label(size[2] * 1.1, price_ / size[2] * 2.0, "independent"),
        Label(size[1], average[1][1] / 20, "stratified", "right"),
    ]
    low = 10 ** np.floor(np.log10(np.nanmin(average)))
    flat = [
        Line(size, true[0], "true KL of the fit", "dot"),
        Line(size, fitted[0], "the minimised objective", "triangle"),
    ]
    span = float(np.nanmax(np.abs(np.concatenate([true[0], fitted[0]]) - lowest))) * 1.25
    told = [
        Label(size[1], lowest + 0.45 * span, "true KL of the fit"),
        Label(size[1] * 1.25, lowest - 0.65 * span, "the minimised objective"),
    ]
    xlim = (size[0] / 1.3, size[-1] * 1.3)
    return side_by_side(
        style,
        LinePanel("what fixed draws lose", "draws", "mean gap in nats", lines, labels, xlim, (low, 10.0)),
        LinePanel("what they promise", "draws", "nats", flat, told, xlim, (lowest - span, lowest + span),
                  [(lowest, "exact optimum")], True, False),
    )  # fmt: skip


def evidence(results: xr.DataTree, style: Style) -> PlotCollection:
    """Gaps as runs estimate them against the exact ones: filled marks for runs that say they are at rest, open ones for the others."""
    groups = [
        group
        for case in case_trees(results).values()
        for group in (case["evidence"].to_dataset(), case["runs"].to_dataset().stack(all=("how", "run")))
    ]
    low, high = np.log10(_SPAN)
    own, exact = (
        np.clip(np.log10(np.maximum(np.concatenate([g[key].to_numpy() for g in groups]), 1e-300)), low, high)
        for key in ("own_gap", "gap")
    )
    yes = np.concatenate([g["at_rest"].to_numpy() for g in groups]).astype(bool)
    # Of marks that would lie on one another one is drawn.
    shown = np.unique(np.round(np.stack([exact, own, yes], axis=1) / [0.05, 0.05, 1]), axis=0, return_index=True)[1]
    own, exact, yes = own[shown], exact[shown], yes[shown]
    with style.settings():
        collection, (axis,) = panel_grid(["evidence"], style, 1, (7.4, 5.4))
        draw, limit, across = style.draw, np.log10(NATS), np.array([low, high])
        draw.line(across, across, axis, color=style.faint, width=1.2, label="where a run is right")
        draw.line(np.repeat(limit, 2), across, axis, color=style.ink, width=1.2, linestyle=style.dash("dashed"),
                  label="tolerance")  # fmt: skip
        points(exact[~yes], own[~yes], axis, style, color=style.reverse, area=26, hollow=True, width=1.0,
               label="ADVI run, not at rest")  # fmt: skip
        points(exact[yes], own[yes], axis, style, color=style.reverse, area=16, alpha=0.6, label="ADVI run, at rest")
        left, row = low + 0.03 * (high - low), 0.06 * (high - low)
        for x, y, text, color in (
            (limit, low + 1.5 * row, f" {NATS:g} nats", style.ink),
            (left, high, "open: not at rest", style.reverse),
            (left, high - row, "filled: at rest", style.reverse),
        ):
            draw.text(x, y, text, axis, color=color, horizontal_align="left", vertical_align="top", size=_SIZE + 0.5,
                      **rim(style))  # fmt: skip
        span = LinePanel("", "exact gap in nats", "gap by the run itself, in nats", [], [], _SPAN, _SPAN)
        _frame(span, np.log10, np.log10, axis, style)
    return collection
