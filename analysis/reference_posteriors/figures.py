"""Drawing of the question about posteriors that others chose: a row a posterior, errors of means and of sds side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, power, words
from analysis.drawing.style import Style, rim
from analysis.reading import case_of
from analysis.reference_posteriors.findings import errors

__all__ = ["plot"]

#: How each way is drawn: colour (all are runs of ADVI; what mends their widths has its own), mark, and its height within a row.
#: The full rank of ``pm.fit`` is in the table.
MARKS = {
    "pymc_mean_field": ("reverse", "cross", 0.27),
    "mean_field": ("reverse", "dot", 0.09),
    "linear_response": ("middle", "diamond", -0.09),
    "full_rank": ("reverse", "square", -0.27),
}
NAMES = {
    "pymc_mean_field": "pm.fit",
    "mean_field": "mean field",
    "linear_response": "linear response",
    "full_rank": "full rank",
    "mixture": "mixture of optima",
}
#: Diameters in points: a cross or a star has less ink than a dot, and is not to be told from a square when small.
SIZES = {"cross": 6.5, "star": 9.0}
_LEAST = 1e-3  # sds: less is the Monte Carlo error of the reference


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``posteriors``."""
    style = Style.of(theme, backend, narrow)
    cases = [case_of(results, key) for key in results.children]
    with style.settings():
        collection, axes = panel_grid(
            ["error of means, in sds", "sd over that of Stan's draws"], style, 2, (10.4, 1.6 + 0.42 * len(cases))
        )
        for row, case in enumerate(reversed(cases)):
            _row(case, row, axes, style)
        _frame(cases, axes, style)
    return {"posteriors": Drawing(collection)}


def _row(case: xr.DataTree, row: int, axes: list[Any], style: Style) -> None:
    """Every parameter by every way; the mixture, where there is one, as a star."""
    found = errors(case)
    for axis in axes:
        style.draw.hline(row - 0.5, axis, color=style.faint, width=0.5, linestyle=style.dash("dotted"))
    marks = MARKS | ({"mixture": ("reverse", "star", -0.42)} if "mixture" in found["way"] else {})
    for way, (color, mark, height) in marks.items():
        if way not in found["way"]:
            continue
        here = found.sel(way=way)
        shown = (np.maximum(here["error"].to_numpy(), _LEAST), here["ratio"].to_numpy())
        facts = {
            "parameter": here["parameter"].to_numpy().astype(str),
            "error in sds": shown[0],
            "sd over reference": shown[1],
        }
        for axis, values in zip(axes, shown, strict=True):
            if way == "linear_response" and axis is axes[0]:
                continue  # its means are those of mean field
            x = np.log10(values)
            y = np.full(len(x), row + height)
            points(x, y, axis, style, color=style.color(color), marker=mark, area=style.size(SIZES.get(mark, 4.5)),
                   hollow=way == "full_rank", width=1.0, label=NAMES[way], facts=facts)  # fmt: skip


def _frame(cases: list[xr.DataTree], axes: list[Any], style: Style) -> None:
    count = len(cases)
    found = [errors(case) for case in cases]
    error = np.concatenate([data["error"].to_numpy().ravel() for data in found])
    ratio = np.concatenate([data["ratio"].to_numpy().ravel() for data in found])
    ends = [(np.log10(_LEAST), np.log10(error.max())), (np.log10(ratio.min()), np.log10(ratio.max()))]
    for axis, (low, high) in zip(axes, ends, strict=True):
        low, high = np.floor(low), np.ceil(high)
        ticks = list(range(int(low), int(high) + 1, 2 if style.narrow else 1))
        style.draw.xticks(ticks, [power(t) for t in ticks], axis)
        style.draw.xlim((low - 0.15, high + 0.15), axis)
        style.draw.ylim((-0.6, count + (1.6 if style.narrow else 0.5)), axis)
    style.draw.vline(0.0, axes[1], color=style.faint, width=1.0)
    titles = [str(case.attrs["title"]) for case in reversed(cases)]
    style.draw.yticks(list(range(count)), titles, axes[0])
    style.draw.yticks(list(range(count)), titles if style.narrow else [""] * count, axes[1])
    if style.interactive:
        return
    # What the marks are stands above the first row, two names a panel: beside each other, or one above the other.
    for i, (way, (color, mark, _)) in enumerate(MARKS.items()):
        (low, high), axis = ends[i // 2], axes[i // 2]
        x, y = np.floor(low) + (np.ceil(high) - np.floor(low)) * (i % 2) / 2, count - 0.05
        if style.narrow:
            x, y = np.floor(low), count - 0.05 + (1 - i % 2)
        points(x, y, axis, style, color=style.color(color), marker=mark, area=style.size(SIZES.get(mark, 4.5)),
               hollow=way == "full_rank", width=1.0)  # fmt: skip
        words(
            x + (0.3 if style.narrow else 0.15), y, NAMES[way], axis, style, style.color(color), size=10, **rim(style)
        )
