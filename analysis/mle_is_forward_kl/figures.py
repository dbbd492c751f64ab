"""Drawings of maximum likelihood beside its limit: curves over a parameter, convergence with the sandwich.

Cases are told apart by markers and words, never by hue: everything here is forward KL, and so blue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, power, spread, words
from analysis.drawing.style import Style
from analysis.mle_is_forward_kl.findings import SHOWN, SYMBOLS, cases_of, means
from analysis.mle_is_forward_kl.study import REACH
from analysis.reading import dataset_of

__all__ = ["plot"]

Array = NDArray[np.float64]
_THICKNESS = (0.9, 1.3, 1.7)
#: Marker of each case, and its size.
_MARKERS = {"bimodal": ("dot", 5.0), "laplace": ("cross", 6.5), "outliers": ("triangle", 6.0)}
#: The parameter of a case whose estimates are shown.
_ESTIMATES = {"bimodal": "sigma", "outliers": "nu"}


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``curves`` and ``convergence``."""
    style = Style.of(theme, backend, narrow)
    return {
        "curves": Drawing(curves(dataset_of(results, "lines/curves"), style)),
        "convergence": Drawing(convergence(cases_of(results), style)),
    }


def _line(
    x: Any, y: Any, axis: Any, style: Style, color: str, width: float, dash: str = "solid", label: str | None = None
) -> None:
    style.draw.line(
        np.asarray(x), np.asarray(y), axis, color=color, width=width, linestyle=style.dash(dash), label=label
    )


# --- curves ----------------------------------------------------------------------------------------------------------


def curves(c: xr.Dataset, style: Style) -> PlotCollection:
    """Cross-entropy, entropy and KL (left), mean negative log likelihoods (right)."""
    with style.settings():
        collection, axes = panel_grid(["exact", "from draws"], style, 2, (9.8, 3.9))
        _exact(c, axes[0], style)
        _draws(c, axes[1], style)
        style.draw.ylabel("nats", axes[0])
        for axis in axes:
            style.draw.xlabel("standard deviation σ of the fit", axis)
    return collection


def _exact(c: xr.Dataset, axis: Any, style: Style) -> None:
    x, ce, h = c["value"].to_numpy(), c["cross_entropy"].to_numpy(), float(c["entropy"])
    kl = ce - h
    top = 1.13 * float(ce.max())
    at = x[np.argmin(ce)]
    _line([at, at], [0, top], axis, style, style.faint, 1.0)
    _line(x, ce, axis, style, style.forward, 2.4, "dashed", "cross-entropy, exact")
    _line(x, kl, axis, style, style.forward, 2.4, "dashed", "forward KL, exact")
    _line(x, np.full_like(x, h), axis, style, style.target, 2.0, label="entropy of the target")
    for y in (float(ce.min()), float(kl.min())):
        points(at, y, axis, style, color=style.forward, area=30, label="forward optimum")
    right, room = x[-1], 0.035 * top
    words(right, ce[-1] + room, "cross-entropy", axis, style, style.forward, "right", "bottom")
    words(right, h - room, "entropy of the target", axis, style, style.target, "right", "top")
    words(right, kl[-1] + room, "KL", axis, style, style.forward, "right", "bottom")
    style.draw.ylim((-0.03 * top, top), axis)


def _draws(c: xr.Dataset, axis: Any, style: Style) -> None:
    x, ce = c["value"].to_numpy(), c["cross_entropy"].to_numpy()
    low = float(min(ce.min(), c["nll"].min()))
    top = low + 0.42 * float(ce.max() - low)
    shown = (ce < top) & (c["nll"] < top).all("draws").to_numpy()
    x = x[shown]
    room = 0.05 * (top - low)
    places = []
    for nll, width, n in zip(c["nll"].to_numpy()[:, shown], _THICKNESS, c["draws"].to_numpy(), strict=True):
        name = f"mean negative log likelihood, n = {n:,}"
        _line(x, nll, axis, style, style.ink, width, label=name)
        i = int(np.argmin(nll))
        points(x[i], nll[i], axis, style, color=style.ink, area=18, label=name,
               facts={"at": ["its minimum, maximum likelihood"]})  # fmt: skip
        places.append((float(nll[-1]), f"n = {n:,}", style.ink))
    _line(x, ce[shown], axis, style, style.forward, 2.8, "dashed", "cross-entropy, exact")
    places.append((float(ce[shown][-1]), "cross-entropy", style.forward))
    places.sort()
    heights = spread([y for y, *_ in places], 0.075 * (top - low))
    span = x[-1] - x[0]
    for y, (_, text, color) in zip(heights, places, strict=True):
        words(x[-1] + 0.02 * span, y, text, axis, style, color, "left", "center")
    style.draw.xlim((x[0] - 0.02 * span, x[-1] + 0.36 * span), axis)
    style.draw.ylim((low - room, max(top, heights[-1]) + room), axis)


# --- convergence -----------------------------------------------------------------------------------------------------


def convergence(cases: Mapping[str, xr.DataTree], style: Style) -> PlotCollection:
    """Estimates with the band of the sandwich, and excess KL and optimism in units of theory."""
    titles = [f"{SYMBOLS[parameter]} of {cases[name].attrs['short']}" for name, parameter in _ESTIMATES.items()]
    with style.settings():
        collection, axes = panel_grid([*titles, "times 2n / tr(J⁻¹K)"], style, 3, (11.4, 4.2))
        for (name, parameter), axis in zip(_ESTIMATES.items(), axes, strict=False):
            _funnel(cases[name], parameter, axis, style)
        _constants(cases, axes[-1], style)
        for axis in axes:
            style.draw.xlabel("number of draws n", axis)
    return collection


def _sizes(case: xr.DataTree) -> Array:
    return np.log10(case["replications/n"].to_numpy())


def _powers(x: Array, axis: Any, style: Style) -> None:
    """Ticks at whole powers of ten for an axis in decimal logarithms."""
    ticks = np.arange(int(np.floor(x.min())), int(np.ceil(x.max())) + 1)
    style.draw.xticks(ticks, [power(int(t)) for t in ticks], axis)


def _funnel(case: xr.DataTree, parameter: str, axis: Any, style: Style) -> None:
    x, best = _sizes(case), dataset_of(case, "projection").sel(parameter=parameter)
    shown = case["replications/estimate"].sel(parameter=parameter).to_numpy()
    exact, reach = float(best["best"]), REACH * float(best["se_sandwich"])
    fine = np.linspace(x[0] - 0.2, x[-1] + 0.2, 200)
    half = reach / np.sqrt(10**fine)
    style.draw.fill_between_y(
        fine, exact - half, exact + half, axis, color=style.forward, alpha=0.2, label="band of the sandwich"
    )
    _line(fine, np.full_like(fine, exact), axis, style, style.forward, 1.6, "dashed", "forward projection, exact")
    for at, row in zip(x, shown, strict=True):
        values = row[np.isfinite(row)][:SHOWN]
        shift = 0.14 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.zeros(1)
        points(at + shift, values, axis, style, color=style.ink, area=6, alpha=0.6,
               label="maximum likelihood, one data set")  # fmt: skip
    _powers(x, axis, style)
    first = shown[:, :SHOWN]
    farthest = float(np.abs(first[np.isfinite(first)] - exact).max())
    height = float(half[0]) * np.clip(1.05 * farthest / half[0], 1.3, 2.5)
    style.draw.ylim((exact - height, exact + height), axis)
    band = "projection, with the\nband of the sandwich"
    words(fine[-1], exact + 0.3 * height, band, axis, style, style.forward, "right", "bottom")


def _constants(cases: Mapping[str, xr.DataTree], axis: Any, style: Style) -> None:
    for level in (-1.0, 1.0):
        style.draw.hline(level, axis, color=style.forward, width=1.6, linestyle=style.dash("dashed"))
    for i, (name, case) in enumerate(cases.items()):
        x = _sizes(case) + 0.08 * (i - (len(cases) - 1) / 2)
        unit = 2 * case["replications/n"].to_numpy() / float(case["projection/trace"])
        for key in ("excess", "optimism"):
            scaled = np.array([[e.value, e.error] for e in means(case, key)]) * unit[:, None]
            label = f"{case.attrs['short']}: {'excess KL, out of sample' if key == 'excess' else 'optimism, in sample'}"
            for at, (value, error) in zip(x, scaled, strict=True):
                _line([at, at], [value - error, value + error], axis, style, style.ink, 1.0, label=label)
            _case_points(x, scaled[:, 0], name, axis, style, label=label, facts={"standard error": scaled[:, 1]})
    n = np.concatenate([_sizes(case) for case in cases.values()])
    _powers(n, axis, style)
    words(n.min(), 0.6, "out of sample: excess KL", axis, style, style.ink, "left", "center")
    words(n.min(), -0.6, "in sample: optimism", axis, style, style.ink, "left", "center")
    for i, (name, case) in enumerate(cases.items() if not style.interactive else ()):
        _case_points(n.min() + 0.1, 0.25 - 0.25 * i, name, axis, style)
        words(n.min() + 0.3, 0.25 - 0.25 * i, case.attrs["short"], axis, style, style.ink, "left", "center")


def _case_points(x: Any, y: Any, name: str, axis: Any, style: Style, **told: Any) -> None:
    marker, size = _MARKERS[name]
    points(x, y, axis, style, color=style.ink, marker=marker, area=size**2, alpha=0.9, **told)
