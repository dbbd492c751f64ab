"""Drawings of how estimates from draws behave where the truth is known: length of intervals, bias and coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, power, short, squeeze, words
from analysis.drawing.style import Style
from analysis.reading import dataset_of, share_of
from analysis.unknown_p_data.findings import FEW, WANTED
from analysis.unknown_p_data.study import TAILS, N
from analysis.unknown_p_data.targets import NAMES

__all__ = ["plot"]

Array = NDArray[np.float64]

_LINEAR = 0.02  # nats within which the scale of bias is linear
#: Marker, role of its colour, and name of each estimator.
_LOOKS = {
    "kl": ("dot", "forward", "this project"),
    "scipy": ("square", "ink", "SciPy"),
    "kernels": ("diamond", "ink", "kernels"),
    "arviz": ("triangle", "ink", "ArviZ"),
}


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``how_much``, ``bias`` and ``interval_coverage``."""
    style, studies = Style.of(theme, backend, narrow), {name: dataset_of(results, name) for name in NAMES}
    return {
        "how_much": Drawing(how_much(studies, style)),
        "bias": Drawing(bias(studies, style)),
        "interval_coverage": Drawing(coverage(studies, dataset_of(results, "tails"), style)),
    }


def _at(x: Any) -> Any:
    return squeeze(x, _LINEAR)


def _point(
    x: Any, y: float, marker: str, color: str, axis: Any, style: Style, *, hollow: bool = False, **told: Any
) -> None:
    points(x, y, axis, style, color=color, marker=marker, area=style.size(5.5), hollow=hollow, **told)


def brief(title: str) -> str:
    """Shorten the title of a target to its name, dimension and mark.

    Examples
    --------
    >>> brief("Normal, correlation ½, 2-D †"), brief("von Mises on (−π, π), κ = 1")
    ('Normal, 2-D †', 'von Mises')
    """
    if len(title) < 16:
        return title
    first, *rest = title.removesuffix(" †").partition(" on ")[0].split(", ")
    dim = [part for part in rest[-1:] if part.endswith("-D")]
    return ", ".join([first, *dim]) + (" †" if title.endswith("†") else "")


def _rows(titles: list[str], axis: Any, style: Style) -> None:
    shown = [brief(title) if style.narrow else title for title in titles]
    style.draw.yticks(-np.arange(len(titles)), shown, axis)
    style.draw.ylim((-len(titles) + 0.4, 2.3 if style.narrow else 1.6), axis)


# --- how much data ---------------------------------------------------------------------------------------------------


def how_much(studies: Mapping[str, xr.Dataset], style: Style) -> PlotCollection:
    """Half the length of the interval of KL against the number of draws, for the Normal in one to three dimensions."""
    with style.settings():
        collection, (axis,) = panel_grid(["how much"], style, 1, (8, 4.2), height=4.2)
        draw = style.draw
        halves = []
        for dim, marker in ((1, "dot"), (2, "square"), (3, "triangle")):
            data = studies[f"normal_{dim}"]
            n, half = np.log10(data["n"].to_numpy()), np.log10(data["length"].sel(estimator="kl").to_numpy() / 2)
            halves.append(half)
            draw.line(
                n, half, axis, color=style.forward, width=2, linestyle=style.dash("dashed"), label=f"Normal, {dim}-D"
            )
            points(
                n, half, axis, style, color=style.forward, marker=marker, area=style.size(7), label=f"Normal, {dim}-D"
            )
            words(n[-1] + 0.09, half[-1], f"{dim}-D", axis, style, style.forward)
        draw.hline(np.log10(WANTED), axis, color=style.target, width=1.6)
        words(n[0] - 0.1, np.log10(WANTED) - 0.03, f"±{short(WANTED)} nats", axis, style, style.target, up="top")
        ticks = [t for t in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0) if np.min(halves) < np.log10(t) < np.max(halves)]
        draw.yticks(np.log10(ticks), [short(t) for t in ticks], axis)
        draw.xticks(n, [power(round(float(t))) for t in n], axis)
        draw.xlim((n[0] - 0.15, n[-1] + 0.35), axis)
        draw.xlabel("number of draws", axis)
        draw.ylabel("half the interval, nats", axis)
    return collection


# --- bias ------------------------------------------------------------------------------------------------------------


def bias(studies: Mapping[str, xr.Dataset], style: Style) -> PlotCollection:
    """Mean error of every estimator of KL, one row for each target; the frame holds all bars."""
    farthest = max(float((abs(d["bias"]) + 2 * d["sd"] / np.sqrt(d["count"])).sel(n=N).max()) for d in studies.values())
    with style.settings():
        collection, (axis,) = panel_grid(["bias"], style, 1, (8.6, 7.2), height=8.6)
        style.draw.vline(0, axis, color=style.faint, width=1.2)
        for i, data in enumerate(studies.values()):
            for offset, (key, (marker, role, name)) in zip((0.24, 0.08, -0.08, -0.24), _LOOKS.items(), strict=True):
                row = data.sel(estimator=key, n=N)
                mean, count = float(row["bias"]), float(row["count"])
                if not np.isfinite(mean):
                    continue
                bar = 2 * float(row["sd"]) / np.sqrt(count)
                ends = _at(np.array([mean - bar, mean + bar]))
                style.draw.line(ends, np.full(2, -i + offset), axis, color=style.color(role), width=1.3, label=name)
                _point(_at(mean), -i + offset, marker, style.color(role), axis, style, hollow=key == "arviz", label=name,
                       facts={"target": [data.attrs["title"]], "mean error in nats": [mean], "two standard errors": [bar]})  # fmt: skip
            if i:
                style.draw.hline(-i + 0.5, axis, color=style.faint, width=0.4, alpha=0.5)
        ticks = np.array([-1, -0.1, 0, 0.1, 1] if style.narrow else [-1, -0.1, -0.02, 0, 0.02, 0.1, 1])
        ticks = ticks[np.abs(ticks) <= 1.2 * farthest]
        style.draw.xticks(_at(ticks), [short(t) for t in ticks], axis)
        _rows([data.attrs["title"] for data in studies.values()], axis, style)
        low, high = float(_at(-1.2 * farthest)), float(_at(1.2 * farthest))
        style.draw.xlim((low, high), axis)
        style.draw.xlabel("mean error, nats", axis)
        for i, (marker, role, name) in enumerate(
            () if style.interactive else _LOOKS.values()
        ):  # where no legend says it
            column, y = (i % 2, 1.8 - 0.8 * (i // 2)) if style.narrow else (i, 1.1)
            x = low + (high - low) * (column + 0.5) / (2 if style.narrow else 4)
            _point(x - 0.3, y, marker, style.color(role), axis, style, hollow=marker == "triangle")
            style.draw.text(x - 0.2, y, name, axis, color=style.ink, size=10, horizontal_align="left")
    return collection


# --- coverage --------------------------------------------------------------------------------------------------------


def coverage(studies: Mapping[str, xr.Dataset], tails: xr.Dataset, style: Style) -> PlotCollection:
    """Coverage of all intervals of KL and of those marked reliable, for targets and for tails."""
    rows = [
        (data.attrs["title"] + (" †" if bool(data["new"]) else ""), data.sel(estimator="kl", n=N))
        for data in studies.values()
    ]
    rows += [(title, tails.sel(tail=name)) for name, (title, _) in TAILS.items()]
    with style.settings():
        collection, (axis,) = panel_grid(["coverage"], style, 1, (8.6, 8.6), height=10.0)
        band = np.array([0.6, -len(rows) + 0.4])
        for x in (92, 98):
            style.draw.line(np.full(2, x), band, axis, color=style.faint, width=1.0, linestyle=style.dash("dashed"))
        style.draw.line(np.full(2, 95), band, axis, color=style.faint, width=0.8)
        style.draw.hline(-len(studies) + 0.5, axis, color=style.ink, width=0.8)
        for i, (_, row) in enumerate(rows):
            marked, count = float(row["reliable"]), float(row["count"])
            _point(100 * float(row["coverage"]), -i - 0.12, "dot", style.ink, axis, style, hollow=True, label="all intervals",
                   facts={"hold the truth, %": [100 * float(row["coverage"])], "marked, %": [100 * marked]})  # fmt: skip
            if marked >= FEW:
                _share(float(row["coverage_reliable"]), marked * count, -i + 0.12, axis, style)
            style.draw.text(101.2, -i, f"{100 * marked:.0f}%", axis, color=style.ink, size=9.5, horizontal_align="left")
        style.draw.text(101.2, 1.1, "marked", axis, color=style.ink, size=9.5, horizontal_align="left")
        for left, name, hollow in () if style.interactive else ((72.0, "all", True), (80.0, "marked reliable", False)):
            _point(left, 1.1, "dot", style.ink if hollow else style.forward, axis, style, hollow=hollow)
            style.draw.text(left + 1.2, 1.1, name, axis, color=style.ink, size=10, horizontal_align="left")
        _rows([title for title, _ in rows], axis, style)
        style.draw.xlim((70, 106), axis)
        ticks = np.arange(70, 101, 10 if style.narrow else 5)
        style.draw.xticks(ticks, [str(tick) for tick in ticks], axis)
        style.draw.xlabel("hold the truth, %", axis)
    return collection


def _share(value: float, count: float, y: float, axis: Any, style: Style) -> None:
    reach = 200 * share_of(value, count).error
    ends = np.array([max(100 * value - reach, 70), min(100 * value + reach, 100)])
    style.draw.line(ends, np.full(2, y), axis, color=style.forward, width=1.4,
                    label="intervals marked reliable")  # fmt: skip
    _point(100 * value, y, "dot", style.forward, axis, style, label="intervals marked reliable",
           facts={"hold the truth, %": [100 * value]})  # fmt: skip
