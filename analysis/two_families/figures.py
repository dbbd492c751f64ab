"""Drawings of two families and a target: a plane of distributions, and the choice between families.

Both families are approximations in forward KL, so both are blue and dashed; a width and a marker tell them apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, words
from analysis.drawing.style import Style
from analysis.reading import case_of, dataset_of, share_of
from analysis.two_families.findings import QUANTILE, SHOWN
from analysis.two_families.targets import KNOWN, PAIR

__all__ = ["plot"]

Array = NDArray[np.float64]
_WIDTH = {"normal": 2.4, "laplace": 1.4}
_MARKER = {"normal": "dot", "laplace": "square"}
#: Of each criterion: its words, its line and its marker.
_CRITERIA = {
    "in_sample": ("log likelihood (= AIC)", "solid", "dot"),
    "tic": ("TIC", "dotted", "diamond"),
    "loo": ("leave-one-out", "dashed", "square"),
}


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``geometry`` and ``choice``."""
    style = Style.of(theme, backend, narrow)
    return {
        "geometry": Drawing(geometry(case_of(results, "geometry"), style)),
        "choice": Drawing(choice(results, style)),
    }


def geometry(part: xr.DataTree, style: Style) -> PlotCollection:
    """Each target's plane of distributions and, beside it, exact forward KL along both curves."""
    titles = [title for case in KNOWN for title in (f"target: {case.title}", f"KL from {case.title}")]
    curves, found = part["curves"].to_dataset(), part["projections"].to_dataset()
    with style.settings():
        collection, axes = panel_grid(titles, style, 2, (9.8, 3.9 * len(KNOWN)))
        for i, case in enumerate(KNOWN):
            best = found.sel(target=case.name)
            _plane(part["points"].to_dataset(), i, best, axes[2 * i], style)
            _along(curves.sel(target=case.name), best, axes[2 * i + 1], style)
    return collection


def placed(near: Array, first: Array, second: Array, distances: tuple[float, float]) -> Array:
    """Point at these distances from two others, on the side of a place `near` it; that place if there is no such point.

    Examples
    --------
    >>> placed(np.array([1.0, 0.5]), np.array([0.0, 0.0]), np.array([8.0, 0.0]), (5.0, 5.0)).tolist()
    [4.0, 3.0]
    """
    apart = float(np.hypot(*(second - first)))
    along = (apart**2 + distances[0] ** 2 - distances[1] ** 2) / (2 * apart)
    beside = distances[0] ** 2 - along**2
    if beside < 0:
        return near
    axis = (second - first) / apart
    across = np.array([-axis[1], axis[0]])
    side = 1.0 if (near - first) @ across >= 0 else -1.0
    return np.asarray(first + along * axis + side * np.sqrt(beside) * across)


def _plane(data: xr.Dataset, index: int, best: xr.Dataset, axis: Any, style: Style) -> None:
    """Both curves, and the target of an `index` at its exact distances from its projections."""
    draw = style.draw
    places = np.stack([data["x"].to_numpy(), data["y"].to_numpy()], axis=1)
    role, families, sds = (data[key].to_numpy() for key in ("role", "family", "sd"))
    ends = {family: places[(role == "projection") & (families == family)][index] for family in PAIR}
    full = [float(best["full"].sel(family=family)) for family in PAIR]
    first, second = (ends[family] for family in PAIR)
    target = placed(places[role == "target"][index], first, second, (full[0], full[1]))
    for family in PAIR:
        here = (role == "member") & (families == family)
        curve, (low, *_, high) = places[here], sds[here]
        draw.line(
            curve[:, 0], curve[:, 1], axis, color=style.forward, width=_WIDTH[family], linestyle=style.dash("dashed"),
            label=family.capitalize(),
        )  # fmt: skip
        _mark(curve[[0, -1], 0], curve[[0, -1], 1], _MARKER[family], axis, style, size=3, label=family.capitalize(),
              facts={"sd": [low, high]})  # fmt: skip
        left, right = curve[[0, -1]]
        name, above = f"{family.capitalize()}, sd {high:g}", family == "laplace"
        words(left[0] - (0.02 if above else 0.05), left[1] + (0.025 if above else -0.03), f"sd {low:g}", axis, style, style.ink, "center",
              "bottom" if above else "top", size=10)  # fmt: skip
        if above:
            words(right[0], right[1] + 0.025, name, axis, style, style.forward, "center", "bottom", size=10)
        else:
            words(right[0] + 0.1, right[1] - 0.17, name, axis, style, style.forward, "right", "top", size=10)
    for family, place in ends.items():
        draw.line(*np.stack([target, place]).T, axis, color=style.ink, width=1.3, linestyle=style.dash("dotted"),
                  label="from the target to its projection")  # fmt: skip
        _mark(place[0], place[1], _MARKER[family], axis, style, size=8, label=f"{family.capitalize()}, projection",
              facts={"KL in nats": float(best["kl"].sel(family=family))})  # fmt: skip
        below = family == "normal"
        label = f"KL {float(best['kl'].sel(family=family)):.4f}"
        words(place[0], place[1] + (-0.035 if below else 0.035), label, axis, style, style.ink, "center",
              "top" if below else "bottom", size=10)  # fmt: skip
    _mark(target[0], target[1], "star", axis, style, size=15, color=style.target, label="target")
    words(target[0] - 0.035, target[1], "p_data", axis, style, style.target, "right", size=10)
    drawn = np.concatenate([places[role == "member"], target[None]])
    draw.xlim((drawn[:, 0].min() - 0.2, drawn[:, 0].max() + 0.2), axis)
    if style.backend == "matplotlib":  # one unit is as long on both axes
        axis.set_aspect("equal", adjustable="datalim")
    else:
        draw.ylim((drawn[:, 1].min() - 0.2, drawn[:, 1].max() + 0.2), axis)
    draw.xlabel("first axis, mostly the spread", axis)
    draw.ylabel("second axis", axis)


def _along(curves: xr.Dataset, found: xr.Dataset, axis: Any, style: Style) -> None:
    """Forward KL along both curves, with the projection and the member nearest in the metric of the plane."""
    draw = style.draw
    top = 2.2 * float(found["kl"].max()) + 0.02
    x = np.log(curves["sd"].to_numpy())
    for i, family in enumerate(PAIR):
        dash, width, marker = style.dash("dashed"), _WIDTH[family], _MARKER[family]
        kl, best = curves["kl"].sel(family=family).to_numpy(), found.sel(family=family)
        inside = kl <= top
        name = family.capitalize()
        draw.line(x[inside], kl[inside], axis, color=style.forward, width=width, linestyle=dash, label=name)
        _mark(np.log(best["js_sd"]), best["js_kl"], marker, axis, style, size=8, color=style.ink, hollow=True,
              label=f"{name}, nearest in the plane")  # fmt: skip
        _mark(np.log(best["sd"]), best["kl"], marker, axis, style, size=7, label=f"{name}, projection")
        y = (1.26 - 0.12 * i) * top
        if not style.interactive:  # there the legend has it
            draw.line(
                x[0] + np.array([0, 0.12]), np.array([y, y]), axis, color=style.forward, width=width, linestyle=dash
            )
            _mark(x[0] + 0.06, y, marker, axis, style, size=7)
        label = f"{family.capitalize()}: least KL {float(best['kl']):.4f}, at sd {float(best['sd']):.3f}"
        words(x[0] + 0.15, y, label, axis, style, style.ink, size=10)
    ticks = [0.6, 0.8, 1.0, 1.3, 1.7]
    draw.xticks(np.log(ticks), [f"{t:g}" for t in ticks], axis)
    draw.ylim((0.0, 1.34 * top), axis)
    draw.xlabel("standard deviation of the member", axis)
    draw.ylabel("forward KL, nats", axis)


def _mark(
    x: Any, y: Any, marker: str, axis: Any, style: Style, *, size: float, color: str | None = None, hollow: bool = False, **told: Any
) -> None:  # fmt: skip
    above = {"zorder": 5} if style.backend == "matplotlib" else {}  # above lines, whatever the order of drawing
    points(
        x, y, axis, style, color=color or style.forward, marker=marker, area=size**2, hollow=hollow, width=1.0, **above, **told
    )  # fmt: skip


def choice(results: xr.DataTree, style: Style) -> PlotCollection:
    """Each target's leave-one-out differences with intervals and, below, wrong choices by sample size."""
    titles = [case.title for case in KNOWN] + [f"{case.title}: wrong choices" for case in KNOWN]
    with style.settings():
        collection, axes = panel_grid(titles, style, len(KNOWN), (4.9 * len(KNOWN), 7.4))
        for case, above, below in zip(KNOWN, axes, axes[len(KNOWN) :], strict=False):
            part = case_of(results, case.name)
            sets = part["replications"].to_dataset().isel(replication=slice(SHOWN))
            _intervals(sets, float(part.attrs["n"] * part["exact/mean"]), above, style)
            _rates(part["wrong"].to_dataset(), below, style)
        style.draw.ylabel("difference, Normal − Laplace, nats", axes[0])
        style.draw.ylabel("share of wrong choices", axes[len(KNOWN)])
        _key(np.log(dataset_of(results, f"{KNOWN[0].name}/wrong")["n"].to_numpy())[0], axes[len(KNOWN)], style)
    return collection


def _intervals(sets: xr.Dataset, exact: float, axis: Any, style: Style) -> None:
    """Sorted differences with intervals, beside the exact difference."""
    draw = style.draw
    order = np.argsort(sets["loo"].to_numpy())
    centres, halves = sets["loo"].to_numpy()[order], QUANTILE * sets["dse"].to_numpy()[order]
    for i, (centre, half) in enumerate(zip(centres, halves, strict=True)):
        misses = abs(centre - exact) > half
        draw.line(np.array([i, i]), np.array([centre - half, centre + half]), axis,
                  color=style.ink if misses else style.forward, width=2.4 if misses else 1.0, alpha=1.0 if misses else 0.6,
                  label="interval that misses the exact difference" if misses else "interval that holds it")  # fmt: skip
    _mark(np.arange(len(order)), centres, "dot", axis, style, size=2.6, label="difference of a data set")
    draw.hline(exact, axis, color=style.target, width=1.8)
    draw.hline(0.0, axis, color=style.faint, width=1.0, linestyle=style.dash("dotted"))
    label = f"exact\n{exact:.1f}".replace("-", "−")
    words(1.03 * len(order), exact, label, axis, style, style.ink, up="bottom", size=10)
    draw.xlim((-0.03 * len(order), 1.16 * len(order)), axis)
    draw.xlabel("data sets, sorted", axis)


def _rates(wrong: xr.Dataset, axis: Any, style: Style) -> None:
    """Shares of wrong choices by each criterion, with intervals, over the theory for the log likelihood."""
    draw, x = style.draw, np.log(wrong["n"].to_numpy())
    draw.line(
        x, wrong["predicted"].sel(criterion="in_sample").to_numpy(), axis, color=style.target, width=4, alpha=0.35,
        label="log likelihood, theory",
    )  # fmt: skip
    for i, (name, (title, dash, marker)) in enumerate(_CRITERIA.items()):
        rate, at = wrong["rate"].sel(criterion=name).to_numpy(), x + 0.07 * (i - 1)
        draw.line(at, rate, axis, color=style.ink, width=1.4, linestyle=style.dash(dash), label=title)
        for a, r in zip(at, rate, strict=True):
            h = QUANTILE * share_of(r, int(wrong["trials"])).error
            draw.line(np.array([a, a]), np.array([max(r - h, 0), r + h]), axis, color=style.ink, width=1.0, label=title)
        _mark(at, rate, marker, axis, style, size=5, color=style.ink, label=title)
    draw.xticks(x, [f"{n:g}" for n in wrong["n"].to_numpy()], axis)
    draw.ylim((-0.01, 0.62), axis)
    draw.xlabel("observations", axis)


def _key(left: float, axis: Any, style: Style) -> None:
    """What line and marker say of each criterion."""
    if style.interactive:
        return
    for i, (name, dash, marker) in enumerate(_CRITERIA.values()):
        y = 0.16 - 0.05 * i
        style.draw.line(left + np.array([0, 0.5]), np.array([y, y]), axis, color=style.ink, width=1.4,
                        linestyle=style.dash(dash))  # fmt: skip
        _mark(left + 0.25, y, marker, axis, style, size=5, color=style.ink)
        words(left + 0.6, y, name, axis, style, style.ink, size=10)
