"""Drawings of your own model: what the approximations say of each variable, beside the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, short
from analysis.drawing.style import Style
from models.own_model.comparison import entries
from models.own_model.verdict import settled

__all__ = ["DRAWN", "LISTED", "beside", "drawn_draws", "plot", "spikes", "worst"]

Array = NDArray[np.float64]

DRAWN, LISTED = 6, 20  # variables whose densities are drawn, and that have a row
_REACH = 0.003  # quantile of the draws beyond which nothing is drawn
_BANDWIDTH = "isj"  # sees how narrow each of several modes is
_TOP = (
    4.0  # times the peak of the first, above which a density goes out of the picture: a spike would flatten all others
)
_TICKS = (0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 5.0, 10.0)
_DECADES = tuple(10.0**k for k in range(-12, 13))


def plot(
    tree: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw what `analysis.own_model.study.analyse` found.

    Parameters
    ----------
    tree : xarray.DataTree
    theme : {"light", "dark"}
    backend : {"matplotlib", "plotly", "bokeh"}

    Returns
    -------
    dict of str to Drawing
        ``densities``; ``ratios`` of the variables whose sd a reference knows, if there are any; nothing for an improper posterior, or where
        no variable has a finite sd.
    """
    if "comparison" not in tree.children:
        return {}
    style, table = Style.of(theme, backend, narrow), tree["comparison"].to_dataset()
    if not (names := worst(table, DRAWN)):
        return {}
    drawings = {"densities": _densities(tree, names, style)}
    if rows := beside(table):
        drawings["ratios"] = _ratios(table, rows, style)
    return drawings


def beside(table: xr.Dataset) -> list[str]:
    """Of the variables that are listed, those whose sd the reference knows."""
    if "sd_ratio" not in table:
        return []
    known = dict(zip(table["variable"].to_numpy(), settled(table), strict=True))
    return [name for name in worst(table, LISTED) if known[name]]


def worst(table: xr.Dataset, count: int) -> list[str]:
    """Variables at which ADVI is farthest from the reference, or from the mixture where there is none: the worst first.

    The table is that of `models.own_model.moments.compare`; variables that do not vary, or have no finite sd, are left out. Those whose sd
    the reference leaves open (`models.own_model.verdict.settled`) come last.
    """
    advi, mixture = (table.sel(approximation=name) for name in ("ADVI", "mixture"))
    mean, sd = (table[f"reference_{s}"] if f"reference_{s}" in table else mixture[s] for s in ("mean", "sd"))
    with np.errstate(all="ignore"):
        far = np.asarray(np.maximum(np.abs(np.log(advi["sd"] / sd)), np.abs(advi["mean"] - mean) / sd))
        varies = np.isfinite(np.log(advi["sd"].to_numpy()))
    known, left = np.isfinite(far), np.isnan(sd.to_numpy()) & varies
    order = [i for i in np.lexsort((-np.where(known, far, -1.0), left)) if known[i] or left[i]]
    return [str(name) for name in table["variable"].to_numpy()[order[:count]]]


def drawn_draws(tree: xr.DataTree) -> dict[str, dict[str, Array]]:
    """Draws of each variable that are drawn: what is taken for the truth first, then ADVI, linear response and the mixture."""
    repair = "repair" if "posterior" in tree["repair"].children else ""
    groups = {"reference": "reference", "ADVI": "optimum_0", "linear response": "linear_response", "mixture": repair}
    found = {
        name: entries(tree[f"{group}/posterior".lstrip("/")].to_dataset())
        for name, group in groups.items()
        if not group or group in tree.children
    }
    if "reference" not in found:
        found = {"mixture": found.pop("mixture")} | found
    return found


def _title(name: str, style: Style) -> str:
    return name.replace("$", r"\$") if style.backend == "matplotlib" else name  # to which two dollars are a formula


def _densities(tree: xr.DataTree, names: Sequence[str], style: Style) -> Drawing:
    draws, draw = drawn_draws(tree), style.draw
    table = tree["comparison"].to_dataset()
    known = set(table["variable"].to_numpy()[settled(table)]) if "reference_sd" in table else set(names)
    looks = {
        "ADVI": (style.reverse, "dotted", 2.2),
        "linear response": (style.middle, "dashed", 2.0),
        "mixture": (style.ink, "solid", 1.2),
    }
    cols = min(3, len(names))
    rows = -(-len(names) // cols)
    with style.settings():
        collection, axes = panel_grid([_title(n, style) for n in names], style, cols, (max(3.2 * cols, 6), 2.5 * rows))
        for name, axis in zip(names, axes, strict=True):
            (low, high), curves = _curves(draws, name)
            (true, (x, density)), *others = curves.items()
            draw.fill_between_y(x, np.zeros_like(x), density, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, density, axis, color=style.target, width=1.4, label=true,
                      facts=_moments(draws[true][name]) if name in known else {})  # fmt: skip
            for source, (x, density) in others:
                color, dash, width = looks[source]
                draw.line(x, density, axis, color=color, width=width, linestyle=style.dash(dash), label=source,
                          facts=_moments(draws[source][name]))  # fmt: skip
            if (top := _top(curves)) is not None:
                draw.ylim((0.0, top), axis)
            if style.interactive:  # for the hover
                draw.ylabel("density", axis)
            draw.xlim((low, high), axis)
            draw.remove_axis(axis, axis="y")
            if len(names) == 1:
                draw.xlabel(_title(name, style), axis)
    return Drawing(collection)


def _curves(
    draws: Mapping[str, Mapping[str, Array]], name: str
) -> tuple[tuple[float, float], dict[str, tuple[Array, Array]]]:
    """Window of a variable, and the density of each source in it."""
    (_, first), *_ = draws.items()
    low, high = _window([first[name], draws["ADVI"][name]])
    return (low, high), {source: _density(found[name], low, high) for source, found in draws.items()}


def _top(curves: Mapping[str, tuple[Array, Array]]) -> float | None:
    """Where a panel ends above, if a density is much higher than the first, which is taken for the truth."""
    first, *others = (float(density.max()) for _, density in curves.values())
    return _TOP * first if max(others) > _TOP * first > 0 else None


def spikes(tree: xr.DataTree) -> list[str]:
    """Variables whose panel ends below the highest density."""
    draws = drawn_draws(tree)
    return [name for name in worst(tree["comparison"].to_dataset(), DRAWN) if _top(_curves(draws, name)[1]) is not None]


def _moments(draws: Array) -> dict[str, float]:
    return {"mean": float(draws.mean()), "sd": float(draws.std())}


def _window(draws: Sequence[Array]) -> tuple[float, float]:
    """Where nearly all of the draws are, those of the first at least: what is much wider goes out of the picture."""
    first = np.quantile(draws[0], [_REACH, 1 - _REACH])
    ends = np.array([np.quantile(x, [_REACH, 1 - _REACH]) for x in draws])
    width = first[1] - first[0]
    return (
        float(max(ends[:, 0].min(), first[0] - width) - 0.06 * width),
        float(min(ends[:, 1].max(), first[1] + width) + 0.06 * width),
    )


def _density(values: Array, low: float, high: float) -> tuple[Array, Array]:
    """Density on a grid, of the draws that lie in a window: one far draw would make the grid too coarse for all others."""
    inside = values[(values >= low) & (values <= high)]
    if len(inside) < 2 or not np.ptp(inside):
        return np.array([low, high]), np.zeros(2)
    x, density, _ = array_stats.kde(inside, circular=False, bw=_BANDWIDTH, bound_correction=True)
    return x, density * len(inside) / len(values)


def _ratios(table: xr.Dataset, names: Sequence[str], style: Style) -> Drawing:
    rows, draw = np.arange(len(names))[::-1], style.draw
    marks = {
        "forward": (style.forward, "triangle", False),
        "mixture": (style.ink, "square", True),
        "linear response": (style.middle, "diamond", False),
        "ADVI": (style.reverse, "dot", False),
    }
    with style.settings():
        collection, axes = panel_grid(["sd, as a share of the reference's", "mean, in sds of the reference"], style, 2,
                                      (9, 1.3 + 0.27 * len(names)))  # fmt: skip
        for column, axis in zip(("sd_ratio", "mean_shift"), axes, strict=True):
            values = table[column].sel(variable=names)
            values = xr.ufuncs.log(values) if column == "sd_ratio" else values
            draw.vline(0.0, axis, color=style.faint, width=1.0, linestyle=style.dash("dotted"))
            first = column == "sd_ratio"
            facts = {} if first else {"variable": names}  # which the ticks of the first panel say
            for approximation, (color, marker, hollow) in marks.items():
                if approximation in values["approximation"]:
                    points(values.sel(approximation=approximation).to_numpy(), rows, axis, style, color=color, marker=marker,
                           area=style.size(6), hollow=hollow, label=approximation, facts=facts)  # fmt: skip
            draw.ylim((-0.7, len(names) - 0.3), axis)
            draw.yticks(rows, [_title(n, style) for n in names] if first else [""] * len(names), axis)
            if first:
                _ratio_ticks(values.to_numpy(), axis, style)
    return Drawing(collection)


def _ratio_ticks(logs: Array, axis: Any, style: Style) -> None:
    """Ticks of a logarithmic axis that say ratios."""
    known = logs[np.isfinite(logs)]
    low, high = min(known.min(initial=0), -0.36) - 0.1, max(known.max(initial=0), 0.41) + 0.1
    wide = high - low > np.log(_TICKS[-1] / _TICKS[0])  # than all that they reach over
    ticks = [t for t in (_DECADES if wide else _TICKS) if low <= np.log(t) <= high]
    style.draw.xticks(np.log(ticks), [short(t) for t in ticks], axis)
    style.draw.xlim((low, high), axis)
