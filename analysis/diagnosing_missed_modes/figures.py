"""Drawings of what diagnostics see of a missed mode, and of local fits put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.diagnosing_missed_modes.study import SIZE, SIZES
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points
from analysis.drawing.style import Style, rim
from analysis.reading import case_of, dataset_of

__all__ = ["plot"]

Array = NDArray[np.float64]


def plot(results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib") -> dict[str, Drawing]:
    """Draw ``blind``, ``repair``, ``repair_plane``, ``overlap`` and ``stacking``."""
    style = Style.of(theme, backend)
    shown: dict[bool, dict[str, xr.DataTree]] = {True: {}, False: {}}
    for name, case in results.children.items():
        if name.startswith("repair_"):
            shown[case.attrs["family"] == "normal"][case.attrs["title"]] = case
    return {
        "blind": Drawing(_blind(dataset_of(results, "distance"), style)),
        "repair": Drawing(_mixtures(shown[True], style)),
        "repair_plane": Drawing(_planes(shown[False], style)),
        "overlap": Drawing(_overlap(dataset_of(results, "overlap"), style)),
        "stacking": Drawing(_stacking(case_of(results, "predict_cauchy"), style)),
    }


# --- lines -----------------------------------------------------------------------------------------------------------


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


def _blind(data: xr.Dataset, style: Style) -> PlotCollection:
    mode = data.sel(fit="mode")
    good, ess = mode["good"].mean("repeat"), mode["relative_ess"].mean("repeat").sel(size=SIZE)
    panels = {
        "share of runs in which k-hat says good": [
            Line(f"{size:,} draws", good.sel(size=size).to_numpy(), color, dash, at, align=align)
            for size, color, dash, at, align in (
                (SIZES[0], "reverse", "dotted", -1, "right"),
                (SIZES[1], "middle", "dashed", -3, "left"),
                (SIZES[2], "ink", "solid", 0, "left"),
            )
        ],
        "what the same fit has": [
            Line("effective draws / draws", ess.to_numpy(), "reverse", "dotted", -1),
            Line("mass covered", mode["covered"].to_numpy(), "target", "solid", -1, True),
            Line("KL, nats", mode["kl"].to_numpy(), "forward", "dashed", mode.sizes["distance"] // 2, True),
        ],
    }
    labels = ("distance between the modes", ("share of runs", "mass, share, or nats"))
    return series(panels, data["distance"].to_numpy(), labels, style)


def _overlap(data: xr.Dataset, style: Style) -> PlotCollection:
    def line(key: str, label: str, color: str, dash: str, at: int = 0, below: bool = False) -> Line:
        return Line(label, data[key].to_numpy(), color, dash, at, below)

    panels = {
        "KL of the mixture": [
            line("single", "best single fit", "target", "solid", -1),
            line("softmax", "softmax of ELBOs", "reverse", "dotted"),
            line("best", "best weights", "forward", "dashed", below=True),
        ],
        "weight of the broad fit": [
            line("broad_softmax", "softmax of ELBOs", "reverse", "dotted"),
            line("broad_weight", "best weights", "forward", "dashed", below=True),
        ],
    }
    labels = ("half the distance between the modes", ("nats", "weight"))
    return series(panels, data["separation"].to_numpy(), labels, style, top=0.75)


def series(
    panels: Mapping[str, Sequence[Line]], x: Array, labels: tuple[str, Sequence[str]], style: Style, *, top: float = 1.0
) -> PlotCollection:
    """Panels of lines over a common x, each named beside itself."""
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(panels), style, len(panels), (4.8 * len(panels), 4.2))
        for lines, axis, label in zip(panels.values(), axes, labels[1], strict=True):
            for line in lines:
                color = style.color(line.color)
                draw.line(x, line.y, axis, color=color, width=1.8, linestyle=style.dash(line.dash))
                points(x, line.y, axis, style, color=color, area=style.size(4))
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


# --- densities -------------------------------------------------------------------------------------------------------


def _mixtures(cases: Mapping[str, xr.DataTree], style: Style) -> PlotCollection:
    """Target, best single fit and mixture of the fits, in one dimension."""
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(cases), style, len(cases), (3.7 * len(cases), 3.8))
        for case, axis in zip(cases.values(), axes, strict=True):
            x, p, single, mixture = (case["shown"][key].to_numpy() for key in ("x", "target", "single", "mixture"))
            draw.fill_between_y(x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, p, axis, color=style.target, width=1.2)
            draw.line(x, single, axis, color=style.reverse, width=1.4, linestyle=style.dash("dotted"))
            draw.line(x, mixture, axis, color=style.reverse, width=2.4, linestyle=style.dash("dotted"))
            draw.remove_axis(axis, axis="y")
            draw.xlabel("x", axis)
    return collection


def _planes(cases: Mapping[str, xr.DataTree], style: Style) -> PlotCollection:
    """Contours of two-dimensional targets, forward optima and mixtures that enclose 50% and 90% of the mass."""
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(cases), style, len(cases), (9, 4.6))
        for case, axis in zip(cases.values(), axes, strict=True):
            data = case["shown"].to_dataset()
            x, ends = data["x"].to_numpy(), case["members/mean"].to_numpy()
            if style.backend == "matplotlib":
                p, levels = data["target"].to_numpy(), data["target_levels"].to_numpy()
                axis.contourf(
                    x, x, p.T, levels=[*levels, p.max() * 1.01], colors=[style.target] * 2, alpha=style.fill_alpha
                )
                axis.set_aspect("equal")
            for key, color, dash, width in (
                ("target", style.target, "solid", 1.0),
                ("forward", style.forward, "dashed", 1.8),
                ("mixture", style.reverse, "dotted", 2.0),
            ):
                look = {"linestyles": style.dash(dash), "linewidths": width} if style.backend == "matplotlib" else {}
                draw.contour(
                    x,
                    x,
                    data[key].to_numpy(),
                    axis,
                    levels=data[f"{key}_levels"].to_numpy().tolist(),
                    color=color,
                    **look,
                )
            points(ends[:, 0], ends[:, 1], axis, style, color=style.reverse, area=style.size(5))
            draw.xlabel("first coordinate", axis)
            draw.ylabel("second coordinate", axis)
    return collection


def _stacking(case: xr.DataTree, style: Style) -> PlotCollection:
    density = dataset_of(case, "density")
    x = density["x"].to_numpy()
    curves = {
        "true": ("target", "solid", (1 / (1 + (x - 10) ** 2) + 1 / (1 + (x + 10) ** 2)) / (2 * np.pi)),
        "softmax of ELBOs": ("reverse", "dotted", density["softmax of ELBOs"].to_numpy()),
        "stacking": ("forward", "dashed", density["stacking"].to_numpy()),
    }
    return predictions(case["observed_data/y"].to_numpy(), x, curves, style)


def predictions(y: Array, x: Array, curves: Mapping[str, tuple[str, str, Array]], style: Style) -> PlotCollection:
    """Predictive densities over x, with the data as a rug."""
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
        points(shown, np.full(len(shown), -0.04 * top), axis, style, color=style.ink, area=style.size(3), alpha=0.5)
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
