"""Drawings along Minka's alpha: optima as curves, and the best members as ridges.

Alpha has a colour ramp, from the colour of reverse KL (0, dotted) over purple to that of forward KL (1, dashed). Every line also
has a label or a place on an axis of alpha, so no two need to be told apart by hue.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.alpha_bridge.optima import critical, named, reigns
from analysis.alpha_bridge.study import CASES, MEMBERS
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points
from analysis.drawing.style import Style, rim
from analysis.reading import case_of

__all__ = ["plot"]

Array = NDArray[np.float64]

_PIECES = 30  # of a line in many colours
_FEWER = 10  # on a page, where each is a thing to point at
_QUANTITIES = {"mean": "mean", "sd": "standard deviation", "cover": "cover of the\nleast covered mode"}
_SMALL = 9.5
_ENDS = {0.0: "dotted", 1.0: "dashed"}  # of the ramp: the lines of reverse and of forward KL
_ALPHA = "α (0 reverse, 1 forward)"


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``members`` and ``alpha_branches``."""
    style, cases = Style.of(theme, backend, narrow), [case_of(results, case.name) for case in CASES]
    return {"members": Drawing(members(cases, style)), "alpha_branches": Drawing(branches(cases, style))}


def _ramp_line(alphas: Array, y: Array, axis: Any, style: Style, width: float, label: str) -> None:
    """A line against alpha in the colours of alpha; pieces share their ends."""
    cuts = np.unique([alphas[0], *np.linspace(0, 1, (_FEWER if style.interactive else _PIECES) + 1), alphas[-1]])
    cuts = cuts[(cuts >= alphas[0]) & (cuts <= alphas[-1])]
    for low, high in pairwise(cuts):
        inner = (alphas > low) & (alphas < high)
        x = np.array([low, *alphas[inner], high])
        values = np.array([np.interp(low, alphas, y), *y[inner], np.interp(high, alphas, y)])
        style.draw.line(x, values, axis, color=style.ramp((low + high) / 2), width=width, label=label)


def _words(x: float, y: float, text: str, axis: Any, style: Style, **kwargs: Any) -> None:
    style.draw.text(x, y, text, axis, **{"color": style.ink, "horizontal_align": "left", **kwargs})


# --- branches --------------------------------------------------------------------------------------------------------


def branches(cases: Sequence[xr.DataTree], style: Style) -> PlotCollection:
    """Mean, standard deviation and cover of every optimum against alpha; a column for each target."""
    titles, lines = [case.attrs["title"] for case in cases], [_lines(case) for case in cases]
    if style.narrow:
        return _stacked(cases, titles, lines, style)
    data = xr.Dataset(
        {"panels": (("quantity", "target"), np.zeros((len(_QUANTITIES), len(cases))))},
        coords={"quantity": list(_QUANTITIES), "target": titles},
    )
    with style.settings():
        size = style.figure_size((3.5 * len(cases), 8.0))
        if style.backend == "matplotlib":
            size |= {"sharex": "col"}
        collection = PlotCollection.grid(
            data, cols=["target"], rows=["quantity"], backend=style.backend, figure_kwargs=size
        )
        plots = collection.viz["plot"]
        plots = plots["panels"] if isinstance(plots, xr.Dataset) else plots
        for case, title, own in zip(cases, titles, lines, strict=True):
            for quantity in _QUANTITIES:
                axis = plots.sel(quantity=quantity, target=title).item()
                _panel(case, own, lines, quantity, axis, style)
        for title in titles:
            style.draw.title(title, plots.sel(quantity="mean", target=title).item(), color=style.ink)
            style.draw.xlabel(_ALPHA, plots.sel(quantity="cover", target=title).item())
        for quantity, name in _QUANTITIES.items():
            style.draw.ylabel(name, plots.sel(quantity=quantity, target=titles[0]).item())
    return collection


def _stacked(
    cases: Sequence[xr.DataTree], titles: Sequence[str], lines: Sequence[Sequence[xr.Dataset]], style: Style
) -> PlotCollection:
    """The same panels one below another, the target named in each."""
    names = [f"{title}: {name.partition(' of')[0]}" for title in titles for name in _QUANTITIES.values()]
    with style.settings():
        collection, axes = panel_grid(names, style, 1, (4.6, 2.6 * len(names)))
        places = [(case, own, quantity) for case, own in zip(cases, lines, strict=True) for quantity in _QUANTITIES]
        for (case, own, quantity), axis in zip(places, axes, strict=True):
            _panel(case, own, lines, quantity, axis, style)
            if quantity == "cover":
                style.draw.xlabel(_ALPHA, axis)
    return collection


def _panel(
    case: xr.DataTree,
    own: Sequence[xr.Dataset],
    lines: Sequence[Sequence[xr.Dataset]],
    quantity: str,
    axis: Any,
    style: Style,
) -> None:
    """One quantity of one target's optima; covers have the same scale for every target."""
    limits = _limits([line for some in lines for line in some] if quantity == "cover" else own, quantity)
    _optima(case, own, quantity, limits, axis, style)
    style.draw.ylim(limits, axis)
    style.draw.xlim((-0.02, 1.02), axis)


def _lines(case: xr.DataTree) -> list[xr.Dataset]:
    """Curves of optima along which alpha increases, with the cover of the least covered mode.

    Attributes say whether they are minima, what they cover, and in which ranges of alpha they are the global minimum.
    """
    data = case["arcs"].to_dataset()
    lines = []
    for arc in np.unique(data["arc"].to_numpy()):
        piece = data.isel(vertex=data["arc"].to_numpy() == arc)
        alphas, minimum = piece["alpha"].to_numpy(), bool(piece["minimum"][0])
        # Named where it is farthest from a fold or an exchange.
        at = int(np.argmin(np.abs(alphas - (0 if alphas[0] == 0 else 1))))
        ranges = [(low, high) for i, low, high in reigns(case) if i == arc]
        lines.append(
            piece.assign(cover=piece["cover"].min("mode")).assign_attrs(
                minimum=minimum, label=named(case, piece["cover"][at]), reigns=ranges
            )
        )
    return lines


def _limits(lines: Sequence[xr.Dataset], quantity: str) -> tuple[float, float]:
    values = np.concatenate([line[quantity].to_numpy() for line in lines])
    low, high = float(values.min()), float(values.max())
    if quantity == "mean":
        return low - 0.16 * (high - low), high + 0.16 * (high - low)
    return -0.03 if quantity == "cover" else 0.0, 1.12 * high


def _optima(
    case: xr.DataTree, lines: Sequence[xr.Dataset], quantity: str, limits: tuple[float, float], axis: Any, style: Style
) -> None:
    """One quantity of every optimum, with folds and exchanges."""
    folds, jumps = critical(case, "fold"), critical(case, "exchange")["alpha"].to_numpy()
    folds = folds.assign(cover=folds["cover"].min("mode"))
    for alpha in jumps:
        style.draw.line(
            np.array([alpha, alpha]), np.array(limits), axis, color=style.ink, width=0.9, label="global minimum jumps"
        )
    for line in sorted(lines, key=lambda line: line.attrs["minimum"]):
        alphas, y = line["alpha"].to_numpy(), line[quantity].to_numpy()
        if not line.attrs["minimum"]:
            style.draw.line(alphas, y, axis, color=style.faint, width=1.2, label="saddle")
            continue
        name = line.attrs["label"]
        _ramp_line(alphas, y, axis, style, 1.5, f"minimum: {name}")
        for low, high in line.attrs["reigns"]:
            inner = (alphas > low) & (alphas < high)
            ends = np.interp([low, high], alphas, y)
            _ramp_line(np.array([low, *alphas[inner], high]), np.array([ends[0], *y[inner], ends[1]]), axis, style, 4.0,
                       f"global minimum: {name}")  # fmt: skip
    points(folds["alpha"].to_numpy(), folds[quantity].to_numpy(), axis, style, color=style.ink,
           area=style.size(5.5), label="fold")  # fmt: skip
    if quantity == "mean":
        _mean_labels(lines, limits[1] - limits[0], axis, style)
    elif quantity == "cover":
        for alpha in jumps:
            _words(alpha + 0.02, limits[0] + 0.55 * (limits[1] - limits[0]), f"global minimum\njumps at {alpha:.3f}", axis,
                   style, size=_SMALL, vertical_align="center")  # fmt: skip


def _mean_labels(lines: Sequence[xr.Dataset], height: float, axis: Any, style: Style) -> None:
    """Name the minima beside their curves."""
    for line in lines:
        alphas, mean = line["alpha"].to_numpy(), line["mean"].to_numpy()
        if not line.attrs["minimum"]:
            continue
        # A curve that goes on to forward KL is named where no other is; the others where they begin.
        if alphas[-1] == 1:
            x, y, sides = 0.98, float(np.interp(0.98, alphas, mean)) + 0.03 * height, ("right", "bottom")
        else:
            y = float(mean[0])
            below = y < 1e-3 * height
            x, y, sides = 0.01, y + (-0.03 if below else 0.03) * height, ("left", "top" if below else "bottom")
        _words(x, y, line.attrs["label"], axis, style, horizontal_align=sides[0], vertical_align=sides[1], **rim(style))


# --- members ---------------------------------------------------------------------------------------------------------


def members(cases: Sequence[xr.DataTree], style: Style) -> PlotCollection:
    """Densities of the best Normals over their target, one row for each alpha, from 0 at the top."""
    with style.settings():
        titles = [case.attrs["title"] for case in cases]
        collection, axes = panel_grid(titles, style, len(cases), (3.5 * len(cases), 5.6))
        for case, axis in zip(cases, axes, strict=True):
            _ridges(case, axis, style)
        for i, axis in enumerate(axes):
            if i == 0 or style.narrow:
                _name_rows(axis, style)
            else:
                style.draw.remove_axis(axis, axis="y")
    return collection


def _ridges(case: xr.DataTree, axis: Any, style: Style) -> None:
    """One target, with the best Normal at each alpha and where it jumps."""
    draw, count, spec = style.draw, len(MEMBERS), json.loads(case.attrs["target"])
    best = case["best"].to_dataset().sel(alpha=list(MEMBERS), method="nearest")
    centres = np.array(spec["means"])
    reach = float(max(np.abs(centres).max() + 4, 2.2 * best["sd"].max()))
    x, middle = np.linspace(-reach, reach, 301), float(centres.mean())
    p = norm.pdf(x[:, None], centres, spec["sds"]) @ spec["weights"]
    curves = norm.pdf(x, best["mean"].to_numpy()[:, None], best["sd"].to_numpy()[:, None])
    # Every ridge has the height of the tallest.
    unit = 1.12 * max(p.max(), curves.max())
    for i, (alpha, q) in enumerate(zip(MEMBERS, curves, strict=True)):
        base, color = float(count - 1 - i), style.ramp(alpha)
        dash = style.dash(_ENDS.get(alpha, "solid"))
        name = f"best Normal, α = {alpha:g}"
        facts = {"mean": float(best["mean"][i]), "sd": float(best["sd"][i])}
        draw.fill_between_y(x, np.full_like(x, base), base + p / unit, axis, color=style.target, alpha=style.fill_alpha + 0.08,
                            label="target")  # fmt: skip
        if best["ties"][i] > 1:
            mirrored = np.interp(2 * middle - x, x, q)
            draw.line(x, base + mirrored / unit, axis, color=color, width=1.1, linestyle=dash, label=name,
                      facts={**facts, "mean": 2 * middle - facts["mean"]})  # fmt: skip
        draw.line(x, base + q / unit, axis, color=color, width=2.4, linestyle=dash, label=name, facts=facts)
    for jump in critical(case, "exchange")["alpha"].to_numpy():
        y = count - 1 - np.floor(np.interp(jump, MEMBERS, np.arange(count))) - 0.06
        draw.line(np.array([-reach, reach]), np.array([y, y]), axis, color=style.ink, width=0.9, label="best Normal jumps",
                  facts={"α": float(jump)})  # fmt: skip
        _words(reach, y - 0.04, f"jump at α = {jump:.3f}", axis, style, horizontal_align="right", vertical_align="top",
               size=_SMALL)  # fmt: skip
    draw.ylim((-0.1, count + 0.02), axis)
    draw.xlim((-reach, reach), axis)
    draw.xlabel("x", axis)


def _name_rows(axis: Any, style: Style) -> None:
    ends = {0.0: "reverse KL\n", 1.0: "forward KL\n"}
    names = [f"{ends.get(alpha, '')}α = {alpha:g}" for alpha in MEMBERS]
    style.draw.yticks(len(MEMBERS) - 1 - np.arange(len(MEMBERS)) + 0.2, names, axis)
    if style.backend == "matplotlib":
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        for alpha, label in zip(MEMBERS, axis.get_yticklabels(), strict=True):
            label.set_color(style.ramp(alpha))
