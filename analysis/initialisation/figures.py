"""Drawings of basins of attraction over the mean and the standard deviation of a Normal.

Regions are tints of the colour of reverse KL, told apart by lightness and by a label at their minimum, so that no two need
to be told apart by hue. The shape of a marker says where a run ended, and points to the mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points
from analysis.drawing.style import Style, rim
from analysis.initialisation.findings import arrived_of, minimum_labels
from analysis.initialisation.study import OPTIMIZERS
from analysis.reading import case_of

__all__ = ["plot"]

Array = NDArray[np.float64]

_TINTS = {"right mode": 0.10, "left mode": 0.25, "both modes": 0.45}
_MARKERS = {
    "left mode": "left",
    "both modes": "square",
    "right mode": "right",
    "start": "star",
    "minimum": "dot",
    "saddle": "cross",
}
_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_KEY_ROW = 0.075  # of the height of the map, above it
_KEY_SIZE = 9.5


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``basins`` and ``agreement``."""
    style = Style.of(theme, backend, narrow)
    cases = [case_of(results, name) for name in results.children]
    maps = [panel_of(case, "adam", case.attrs["title"]) for case in cases]
    compared = [
        panel_of(case, optimizer, f"{case.attrs['short']}: {title}")
        for case in cases
        for optimizer, title in OPTIMIZERS.items()
    ]
    return {"basins": Drawing(basins(maps, style)), "agreement": Drawing(agreement(compared, style))}


@dataclass(frozen=True, eq=False)
class BasinPanel:
    """One target's basins, and the ends of runs from a grid of starts.

    Places are means and log sds (n, 2), of `minima` and `saddles` with their KL (k, 3); `regions`, `ends` (n, r) and `exact` (n,) hold
    indices of minima, -1 for none; `curves` are boundaries in (mean, log sd), `own_curves` in ADVI's own coordinates.
    """

    title: str
    labels: tuple[str, ...]
    minima: Array
    saddles: Array
    regions: xr.DataArray
    curves: Sequence[Array]
    own_curves: Sequence[Array]
    starts: Array
    ends: NDArray[np.int_]
    arrived: NDArray[np.bool_]
    exact: NDArray[np.int_]
    pymc_start: Array


def panel_of(case: xr.DataTree, optimizer: str, title: str) -> BasinPanel:
    """Read a target's basins and the runs of one optimiser."""
    stationary = case["stationary"].to_dataset()
    points = np.stack(
        [stationary["mean"].to_numpy(), np.log(stationary["sd"].to_numpy()), stationary["kl"].to_numpy()], axis=1
    )
    labels = minimum_labels(case)
    count = len(labels)
    return BasinPanel(
        title=title,
        labels=tuple(labels),
        minima=points[:count],
        saddles=points[count:],
        regions=case["map"].to_dataset()["minimum"],
        curves=curves_of(case, "plain"),
        own_curves=curves_of(case, "softplus"),
        starts=case["starts/theta"].to_numpy(),
        ends=case["runs/minimum"].sel(optimizer=optimizer).to_numpy(),
        arrived=arrived_of(case, optimizer),
        exact=case["starts/exact"].sel(metric="plain").to_numpy(),
        pymc_start=case["pymc_start/start"].to_numpy(),
    )


def curves_of(case: xr.DataTree, metric: str) -> list[Array]:
    """Boundaries (n, 2) of a metric, one for each saddle."""
    vertices = case["boundary"].to_dataset()
    points = np.stack([vertices["mean"].to_numpy(), vertices["log_sd"].to_numpy()], axis=1)
    mine, saddle = vertices["metric"].to_numpy() == metric, vertices["saddle"].to_numpy()
    return [points[mine & (saddle == i)] for i in np.unique(saddle[mine])]


def basins(panels: Sequence[BasinPanel], style: Style) -> PlotCollection:
    """Map of the minimum that exact descent reaches, with the end of the first run from each start as a marker."""
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, len(panels), (4.9 * len(panels), 5.2))
        for panel, axis in zip(panels, axes, strict=True):
            mark, ink = partial(_mark, axis, style), style.ink
            _regions(panel, axis, style, strength=1.0)
            for k, name in enumerate(panel.labels):
                chosen = panel.starts[panel.ends[:, 0] == k]
                mark(chosen, name, size=3.6, color=ink, alpha=0.75, label=f"start, ADVI ends at {name}")
            facts: dict[str, Any] = {"KL in nats": panel.saddles[:, 2]}
            mark(panel.saddles, "saddle", size=9, color=ink, label="saddle, exact", facts=facts)
            facts = {"covers": panel.labels, "KL in nats": panel.minima[:, 2]}
            mark(panel.minima, "minimum", size=10.5, color=style.reverse, label="minimum, exact", facts=facts)
            mark(panel.pymc_start[None], "start", size=14, color=ink, label="start of pm.fit")
            for (mean, log_sd, kl), label in zip(panel.minima, panel.labels, strict=True):
                # Below a mode the boundaries are far; below a broad minimum there may be PyMC's start.
                shift, align = (0.17, "bottom") if label == "both modes" else (-0.17, "top")
                text = f"{label}\nKL {kl:.3f}"
                aside = 1.2 if style.narrow else 1.0  # where PyMC's start comes near
                _words(aside * mean, log_sd + shift, text, axis, style, vertical_align=align, **rim(style, 4))
            names = {"left mode": "ADVI to left", "both modes": "to both", "right mode": "to right"}
            key = {name: text for name, text in names.items() if name in panel.labels} | {"start": "start of pm.fit"}
            _key(panel, key, axis, style, {})
            _frame(panel, axis, style, rows=1, first=panel is panels[0])
    return collection


def agreement(panels: Sequence[BasinPanel], style: Style, *, cols: int = 2) -> PlotCollection:
    """Starts from which runs end elsewhere than exact descent: large markers if all runs do, open ones if only some."""
    rows = -(-len(panels) // cols)
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, cols, (4.9 * cols, 4.7 * rows))
        for i, (panel, axis) in enumerate(zip(panels, axes, strict=True)):
            _regions(panel, axis, style, strength=0.55)
            for curve in panel.own_curves:
                style.draw.line(curve[:, 0], curve[:, 1], axis, color=style.ink, width=1.6, linestyle=style.dash("dashed"),
                                label="boundary in ADVI's coordinates")  # fmt: skip
            differs = panel.ends != panel.exact[:, None]
            same, every, there = ~differs.any(axis=1), differs.all(axis=1), panel.arrived.all(axis=1)
            mark, begin, hollow = partial(_mark, axis, style), panel.starts, {"hollow": True, "width": 1.1}
            mark(begin[same & there], "minimum", size=3, color=style.faint, label="start, ends as exact descent")
            mark(begin[same & ~there], "minimum", size=3.6, color=style.faint, hollow=True, width=0.9,
                 label="the same, but not at rest there")  # fmt: skip
            for k, name in enumerate(panel.labels):
                elsewhere = (differs & (panel.ends == k)).any(axis=1)
                for kept, how, look in (
                    (every, "every run ends", {"size": 7.5}),
                    (~every, "some runs end", {"size": 7, **hollow}),
                ):
                    mark(begin[elsewhere & kept], name, color=style.ink, label=f"{how} elsewhere: {name}", **look)
            names = {"left mode": "to left", "both modes": "to both", "right mode": "to right"}
            ends = {name: text for name, text in names.items() if name in panel.labels}
            _key(panel, {"minimum": "as exact descent", **ends}, axis, style, {"minimum": style.faint}, row=1)
            _line_key(panel, axis, style)
            _frame(panel, axis, style, rows=2, first=i % cols == 0, last=i >= len(panels) - cols)
    return collection


def _mark(axis: Any, style: Style, places: Array, marker: str, *, size: float, **look: Any) -> None:
    if len(places):
        points(places[:, 0], places[:, 1], axis, style, marker=_MARKERS[marker], area=size**2, **look)


def _words(x: float, y: float, text: str, axis: Any, style: Style, **kwargs: Any) -> None:
    style.draw.text(x, y, text, axis, color=style.ink, **{"horizontal_align": "center", **kwargs})


def _regions(panel: BasinPanel, axis: Any, style: Style, *, strength: float) -> None:
    means, log_sds = panel.regions["map_mean"].to_numpy(), panel.regions["map_log_sd"].to_numpy()
    label = panel.regions.to_numpy()
    for k, name in enumerate(panel.labels):
        alpha = strength * _TINTS[name]
        if style.backend == "matplotlib":
            inside = np.pad((label == k).astype(float), 1, mode="edge")
            (left, right), (low, high) = _limits(panel)
            x, y = np.array([left, *means, right]), np.array([low, *log_sds, high])
            axis.contourf(x, y, inside.T, levels=[0.5, 1.5], colors=[style.reverse], alpha=alpha)
        else:
            at = np.argwhere(label == k)
            places = np.stack([means[at[:, 0]], log_sds[at[:, 1]]], axis=1)
            look = {"color": style.reverse, "alpha": alpha, "label": f"exact descent ends at {name}"}
            _mark(axis, style, places, "both modes", size=6, **look)
    for curve in panel.curves:
        style.draw.line(curve[:, 0], curve[:, 1], axis, color=style.ink, width=1.6, label="boundary of exact descent")


def _limits(panel: BasinPanel) -> tuple[tuple[float, float], tuple[float, float]]:
    """The box of the map: half a cell beyond the outermost centres."""
    lows, highs = [], []
    for axis in ("map_mean", "map_log_sd"):
        centres = panel.regions[axis].to_numpy()
        half = (centres[1] - centres[0]) / 2
        lows.append(float(centres[0] - half))
        highs.append(float(centres[-1] + half))
    return (lows[0], highs[0]), (lows[1], highs[1])


def _key(
    panel: BasinPanel, entries: Mapping[str, str], axis: Any, style: Style, colors: Mapping[str, str], *, row: int = 0
) -> None:
    """What each marker means, in a strip above the map, where there is no legend."""
    if style.interactive:
        return
    (left, right), _ = _limits(panel)
    y = _row(panel, row)
    widths = np.array([len(text) + 4.5 for text in entries.values()])
    begin = left + (right - left) * np.concatenate([[0], np.cumsum(widths)[:-1]]) / widths.sum()
    for x, (marker, text) in zip(begin + 0.03 * (right - left), entries.items(), strict=True):
        size = {"start": 11.0, "minimum": 4.0}.get(marker, 6.0)
        _mark(axis, style, np.array([[x, y]]), marker, size=size, color=colors.get(marker, style.ink))
        _words(x + 0.025 * (right - left), y, text, axis, style, horizontal_align="left", size=_KEY_SIZE)


def _line_key(panel: BasinPanel, axis: Any, style: Style) -> None:
    if style.interactive:
        return
    (left, right), _ = _limits(panel)
    y = _row(panel, 0)
    for start, dash, text in ((0.01, "solid", "exact descent"), (0.36, "dashed", "in ADVI's coordinates")):
        x = left + (right - left) * np.array([start, start + 0.07])
        style.draw.line(x, np.array([y, y]), axis, color=style.ink, width=1.6, linestyle=style.dash(dash))
        _words(x[1] + 0.015 * (right - left), y, text, axis, style, horizontal_align="left", size=_KEY_SIZE)


def _row(panel: BasinPanel, row: int) -> float:
    _, (low, high) = _limits(panel)
    return high + (row + 0.5) * _KEY_ROW * (high - low)


def _frame(panel: BasinPanel, axis: Any, style: Style, *, rows: int, first: bool, last: bool = True) -> None:
    (left, right), (low, high) = _limits(panel)
    style.draw.xlim((left, right), axis)
    style.draw.ylim((low, high + (0 if style.interactive else rows) * _KEY_ROW * (high - low)), axis)
    style.draw.yticks(np.log(_TICKS), [f"{tick:g}" for tick in _TICKS], axis)
    if last:
        style.draw.xlabel("mean at the start", axis)
    if first:
        style.draw.ylabel("standard deviation at the start", axis)
