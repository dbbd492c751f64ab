"""Drawings of maximum likelihood beside its limit: curves over a parameter, convergence with the sandwich, coverage.

Cases are told apart by markers and words, never by hue: everything here is forward KL, and so blue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.quadrature import Estimate

__all__ = ["SHOWN", "Funnel", "Interval", "Risk", "convergence", "coverage", "curves"]

Array = NDArray[np.float64]
#: Most estimates drawn for one size of data set.
SHOWN = 60
_MARKERS = ("dot", "cross", "triangle")
_THICKNESS = (0.9, 1.3, 1.7)


@dataclass(frozen=True, eq=False)
class Funnel:
    """Estimates (size, replication) by sizes n, around the projection `exact`; the band is exact ± half / sqrt(n)."""

    title: str
    n: Array
    estimates: Array
    exact: float
    half: float


@dataclass(frozen=True, eq=False)
class Risk:
    """Mean excess KL and mean optimism by sizes n, each (size, 2) with standard errors, and tr(J^-1 K)."""

    title: str
    n: Array
    excess: Array
    optimism: Array
    trace: float


@dataclass(frozen=True, eq=False)
class Interval:
    """Coverage of one parameter's intervals."""

    title: str
    sandwich: Estimate
    hessian: Estimate


# --- curves ----------------------------------------------------------------------------------------------------------


def curves(drawn: Mapping[str, xr.Dataset], style: Style) -> PlotCollection:
    """Cross-entropy, entropy and KL (left), mean negative log likelihoods (right), one row of panels per case.

    Parameters
    ----------
    drawn : mapping of str to Dataset
        By title, with ``cross_entropy(value)``, ``entropy`` and ``nll(draws, value)``.
    style : Style

    Returns
    -------
    PlotCollection
    """
    titles = [f"{title}: {what}" for title in drawn for what in ("exact", "from draws")]
    with style.settings():
        collection, axes = panel_grid(titles, style, 2, (9.8, 3.9 * len(drawn)))
        for i, c in enumerate(drawn.values()):
            _exact(c, axes[2 * i], style)
            _draws(c, axes[2 * i + 1], style)
            style.draw.ylabel("nats", axes[2 * i])
        for axis in axes[-2:]:
            style.draw.xlabel("scale σ of the fit", axis)
    return collection


def _exact(c: xr.Dataset, axis: Any, style: Style) -> None:
    x, ce, h = c["value"].to_numpy(), c["cross_entropy"].to_numpy(), float(c["entropy"])
    kl, dash = ce - h, style.dash("dashed")
    top = 1.13 * float(ce.max())
    at = x[np.argmin(ce)]
    style.draw.line(np.array([at, at]), np.array([0, top]), axis, color=style.faint, width=1.0)
    style.draw.line(x, ce, axis, color=style.forward, width=2.4, linestyle=dash)
    style.draw.line(x, kl, axis, color=style.forward, width=2.4, linestyle=dash)
    style.draw.line(x, np.full_like(x, h), axis, color=style.target, width=2.0)
    for y in (float(ce.min()), float(kl.min())):
        style.draw.scatter(
            np.array([at]), np.array([y]), axis, size=30, color=style.forward, marker=style.marker("dot")
        )
    right, room = x[-1], 0.035 * top
    _text(right, ce[-1] + room, "cross-entropy", axis, style, style.forward, "right", "bottom")
    _text(right, h - room, "entropy of the target", axis, style, style.target, "right", "top")
    _text(right, kl[-1] + room, "KL", axis, style, style.forward, "right", "bottom")
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
        style.draw.line(x, nll, axis, color=style.ink, width=width)
        i = int(np.argmin(nll))
        style.draw.scatter(x[i : i + 1], nll[i : i + 1], axis, size=18, color=style.ink, marker=style.marker("dot"))
        places.append((float(nll[-1]), f"n = {n:,}", style.ink))
    style.draw.line(x, ce[shown], axis, color=style.forward, width=2.8, linestyle=style.dash("dashed"))
    places.append((float(ce[shown][-1]), "cross-entropy", style.forward))
    places.sort()
    heights = _apart([y for y, *_ in places], 0.075 * (top - low))
    span = x[-1] - x[0]
    for y, (_, text, color) in zip(heights, places, strict=True):
        _text(x[-1] + 0.02 * span, y, text, axis, style, color, "left", "center")
    style.draw.xlim((x[0] - 0.02 * span, x[-1] + 0.36 * span), axis)
    style.draw.ylim((low - room, max(top, heights[-1]) + room), axis)


def _apart(values: Sequence[float], least: float) -> list[float]:
    """Ascending places, moved symmetrically until neighbours have the least distance."""
    places = np.array(values, dtype=float)
    for _ in range(100):
        for i in range(len(places) - 1):
            short = least - (places[i + 1] - places[i])
            if short > 1e-9:
                places[i] -= short / 2
                places[i + 1] += short / 2
    return [float(p) for p in places]


def _text(x: float, y: float, text: str, axis: Any, style: Style, color: str, horizontal: str, vertical: str) -> None:
    # Plotly calls the centre "middle".
    word = "middle" if vertical == "center" and style.backend != "matplotlib" else vertical
    style.draw.text(x, y, text, axis, color=color, horizontal_align=horizontal, vertical_align=word)


# --- convergence -----------------------------------------------------------------------------------------------------


def convergence(funnels: Sequence[Funnel], risks: Sequence[Risk], style: Style) -> PlotCollection:
    """Estimates with the band of the sandwich (above), and excess KL with its line and constant (below).

    Parameters
    ----------
    funnels : sequence of Funnel
        Two.
    risks : sequence of Risk
        At most three.
    style : Style

    Returns
    -------
    PlotCollection
    """
    titles = [*(f.title for f in funnels), "excess KL, nats", "excess KL and optimism, times 2n / tr(J⁻¹K)"]
    with style.settings():
        collection, axes = panel_grid(titles, style, 2, (9.8, 8.0))
        for funnel, axis in zip(funnels, axes, strict=False):
            _funnel(funnel, axis, style)
        _excess(risks, axes[-2], style)
        _constants(risks, axes[-1], style)
        for axis in axes[-2:]:
            style.draw.xlabel("number of draws n", axis)
    return collection


def _powers(values: Array, style: Style, axis: Any, *, vertical: bool = False) -> None:
    """Ticks at whole powers of ten for an axis in decimal logarithms."""
    ticks = np.arange(int(np.floor(values.min())), int(np.ceil(values.max())) + 1)
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    labels = [f"10{str(t).translate(raised)}" for t in ticks]
    (style.draw.yticks if vertical else style.draw.xticks)(ticks, labels, axis)


def _funnel(funnel: Funnel, axis: Any, style: Style) -> None:
    x = np.log10(funnel.n)
    fine = np.linspace(x[0] - 0.2, x[-1] + 0.2, 200)
    half = funnel.half / np.sqrt(10**fine)
    style.draw.fill_between_y(fine, funnel.exact - half, funnel.exact + half, axis, color=style.forward, alpha=0.2)
    style.draw.line(
        fine, np.full_like(fine, funnel.exact), axis, color=style.forward, width=1.6, linestyle=style.dash("dashed")
    )
    for at, row in zip(x, funnel.estimates, strict=True):
        values = row[np.isfinite(row)][:SHOWN]
        shift = 0.14 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.zeros(1)
        style.draw.scatter(at + shift, values, axis, size=6, color=style.ink, marker=style.marker("dot"), alpha=0.6)
    _powers(x, style, axis)
    shown = funnel.estimates[:, :SHOWN]
    farthest = float(np.abs(shown[np.isfinite(shown)] - funnel.exact).max())
    reach = float(half[0]) * np.clip(1.05 * farthest / half[0], 1.3, 2.5)
    style.draw.ylim((funnel.exact - reach, funnel.exact + reach), axis)
    _text(
        fine[-1],
        funnel.exact + 0.3 * reach,
        "projection, with the\nband of the sandwich",
        axis,
        style,
        style.forward,
        "right",
        "bottom",
    )


def _excess(risks: Sequence[Risk], axis: Any, style: Style) -> None:
    for risk, marker in zip(risks, _MARKERS, strict=False):
        x = np.log10(risk.n)
        line = np.log10(risk.trace / 2) - x
        style.draw.line(x, line, axis, color=style.forward, width=1.6, linestyle=style.dash("dashed"))
        _points(x, np.log10(risk.excess[:, 0]), marker, axis, style)
    every = np.concatenate([np.log10(r.excess[:, 0]) for r in risks])
    _powers(every, style, axis, vertical=True)
    x = np.log10(np.concatenate([r.n for r in risks]))
    _powers(x, style, axis)
    low, high = float(every.min()), float(every.max())
    for i, (risk, marker) in enumerate(zip(risks, _MARKERS, strict=False)):
        y = low + (0.02 + 0.09 * i) * (high - low)
        _points(np.array([x.min()]), np.array([y]), marker, axis, style)
        _text(x.min() + 0.12, y, risk.title, axis, style, style.ink, "left", "center")


def _constants(risks: Sequence[Risk], axis: Any, style: Style) -> None:
    for level in (-1.0, 1.0):
        style.draw.hline(level, axis, color=style.forward, width=1.6, linestyle=style.dash("dashed"))
    for i, (risk, marker) in enumerate(zip(risks, _MARKERS, strict=False)):
        x = np.log10(risk.n) + 0.08 * (i - (len(risks) - 1) / 2)
        for values in (risk.excess, risk.optimism):
            scaled = values * (2 * risk.n / risk.trace)[:, None]
            for at, (value, error) in zip(x, scaled, strict=True):
                style.draw.line(
                    np.array([at, at]), np.array([value - error, value + error]), axis, color=style.ink, width=1.0
                )
            _points(x, scaled[:, 0], marker, axis, style)
    n = np.concatenate([r.n for r in risks])
    _powers(np.log10(n), style, axis)
    _text(np.log10(n.min()), 0.45, "out of sample: excess KL", axis, style, style.ink, "left", "center")
    _text(np.log10(n.min()), -0.45, "in sample: optimism", axis, style, style.ink, "left", "center")


def _points(x: Array, y: Array, marker: str, axis: Any, style: Style) -> None:
    size = {"dot": 5.0, "cross": 6.5, "triangle": 6.0}[marker] ** 2  # ArviZ's size is an area in every backend
    style.draw.scatter(x, y, axis, size=size, color=style.ink, marker=style.marker(marker), alpha=0.9)


# --- coverage --------------------------------------------------------------------------------------------------------


def coverage(intervals: Sequence[Interval], level: float, style: Style) -> PlotCollection:
    """Coverage of sandwich and Hessian intervals, one row for each parameter.

    Parameters
    ----------
    intervals : sequence of Interval
    level : float
        Nominal coverage.
    style : Style

    Returns
    -------
    PlotCollection
    """
    rows = np.arange(len(intervals))[::-1]
    with style.settings():
        collection, (axis,) = panel_grid(["coverage"], style, 1, (8.4, 1.4 + 0.5 * len(intervals)))
        top = len(intervals) - 0.35
        style.draw.line(
            np.array([level, level]) * 100,
            np.array([-0.6, top]),
            axis,
            color=style.ink,
            width=1.2,
            linestyle=style.dash("dashed"),
        )
        for row, interval in zip(rows, intervals, strict=True):
            for estimate, shift, marker, color in (
                (interval.sandwich, 0.13, "dot", style.forward),
                (interval.hessian, -0.13, "cross", style.ink),
            ):
                y, value = row + shift, 100 * estimate.value
                ends = np.clip([value - 200 * estimate.error, value + 200 * estimate.error], 0, 100)
                style.draw.line(ends, np.array([y, y]), axis, color=color, width=1.3)
                size = {"dot": 6.5, "cross": 7.5}[marker] ** 2
                style.draw.scatter(
                    np.array([value]), np.array([y]), axis, size=size, color=color, marker=style.marker(marker)
                )
        style.draw.yticks(rows, [i.title for i in intervals], axis)
        style.draw.ylim((-0.6, len(intervals) + 0.3), axis)
        low = min(95.0, *(100 * (i.hessian.value - 2 * i.hessian.error) for i in intervals))
        left = low - 0.05 * (100 - low)
        style.draw.xlim((left, 100 + 0.03 * (100 - low)), axis)
        for share, marker, color, text in (
            (0.02, "dot", style.forward, "sandwich"),
            (0.3, "cross", style.ink, "Hessian alone"),
        ):
            x = left + share * (100 - left)
            style.draw.scatter(
                np.array([x]), np.array([len(intervals) - 0.1]), axis, size=45, color=color, marker=style.marker(marker)
            )
            _text(x + 0.015 * (100 - left), len(intervals) - 0.1, text, axis, style, color, "left", "center")
        style.draw.xlabel("coverage, %", axis)
    return collection
