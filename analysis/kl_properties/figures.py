"""Drawings of what a KL divergence is made of.

KL(p||q) has the colour of forward KL and KL(q||p) that of reverse KL: p is the target of the rest of the report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import short
from analysis.drawing.style import Style
from analysis.kl_properties.study import integrand
from analysis.reading import dataset_of

__all__ = ["plot"]

Array = NDArray[np.float64]

TITLES = {"one_mode": "q on one mode", "matched": "q with the moments of p"}
DIRECTIONS = {"pq": "KL(p‖q)", "qp": "KL(q‖p)"}
_ROLES = {"pq": "forward", "qp": "reverse"}
_DASHES = {"forward": "dashed", "reverse": "dotted"}
_DRAWN = 11.0  # values of x on either side


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``asymmetry``."""
    style, ways = Style.of(theme, backend, narrow), dataset_of(results, "ways/estimators")
    return {
        "asymmetry": Drawing(asymmetry(ways, dataset_of(results, "curves/densities"), style)),
    }


# --- asymmetry -------------------------------------------------------------------------------------------------------


def asymmetry(ways: xr.Dataset, densities: xr.Dataset, style: Style) -> PlotCollection:
    """Densities of each pair, and below them the integrands of KL(p||q) and of KL(q||p)."""
    x, names = densities["x"].to_numpy(), [str(name) for name in densities["pair"].to_numpy()]
    panels = [(kind, name) for kind in ("densities", *DIRECTIONS) for name in names]
    if style.narrow:  # one pair after the other
        panels.sort(key=lambda panel: names.index(panel[1]))
    titles = [_title(kind, name, ways) for kind, name in panels]
    labels = {"densities": "density", "pq": "p log(p / q)", "qp": "q log(q / p)"}
    with style.settings():
        collection, axes = panel_grid(titles, style, len(names), (4.6 * len(names), 7.2))
        for (kind, name), axis in zip(panels, axes, strict=True):
            p, q = densities["log_density"].sel(pair=name).to_numpy()
            if kind == "densities":
                _densities(np.exp(p), np.exp(q), x, axis, style)
            else:
                kl = float(ways["kl"].sel(pair=name, direction=kind))
                _signed_area(x, integrand(*((p, q) if kind == "pq" else (q, p))), kind, kl, axis, style)
            if style.narrow or name == names[0]:
                style.draw.ylabel(labels[kind], axis)
            if kind == "qp":
                style.draw.xlabel("x", axis)
            ticks = np.arange(-9, 10, 3)
            style.draw.xticks(ticks, [short(t) for t in ticks], axis)
    return collection


def _title(kind: str, name: str, ways: xr.Dataset) -> str:
    if kind == "densities":
        return TITLES[name]
    return f"{DIRECTIONS[kind]} = {float(ways['kl'].sel(pair=name, direction=kind)):.3f} nats"


def _densities(p: Array, q: Array, x: Array, axis: Any, style: Style) -> None:
    x, p, q = x[shown := np.abs(x) <= _DRAWN], p[shown], q[shown]
    style.draw.fill_between_y(
        x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha, label="p, the target"
    )
    style.draw.line(x, p, axis, color=style.target, width=1.4, label="p, the target", facts=_moments(x, p))
    style.draw.line(x, q, axis, color=style.ink, width=2.2, label="q, a Normal", facts=_moments(x, q))
    left = int(p[x < 0].argmax())
    style.draw.text(x[left], 0.18 * p[left], "p", axis, color=style.ink, size=13)
    # Where q stands clear of p.
    at = int((q - p).argmax())
    style.draw.text(x[at], q[at] + 0.1 * max(p.max(), q.max()), "q", axis, color=style.ink, size=13)
    style.draw.ylim((0, 1.25 * float(max(p.max(), q.max()))), axis)


def _moments(x: Array, density: Array) -> dict[str, float]:
    """Mean and sd of a density on a grid that holds its mass, to the digits of a hover."""
    weight = density / density.sum()
    mean = round(float(weight @ x), 4)
    return {"mean": mean, "sd": float(np.sqrt(weight @ (x - mean) ** 2))}


def _signed_area(x: Array, y: Array, direction: str, kl: float, axis: Any, style: Style) -> None:
    role, name, facts = _ROLES[direction], f"integrand of {DIRECTIONS[direction]}", {"KL in nats": kl}
    areas = np.maximum(y, 0).sum() * (x[1] - x[0]), np.minimum(y, 0).sum() * (x[1] - x[0])
    x, y = x[shown := np.abs(x) <= _DRAWN], y[shown]
    color, zero = style.color(role), np.zeros_like(x)
    style.draw.fill_between_y(x, zero, np.maximum(y, 0), axis, color=color, alpha=0.45, label=name, facts=facts)
    style.draw.fill_between_y(x, zero, np.minimum(y, 0), axis, color=color, alpha=0.15, label=name, facts=facts)
    style.draw.line(
        x, y, axis, color=color, width=2.0, linestyle=style.dash(_DASHES[role]), label=name, facts=facts
    )  # fmt: skip
    style.draw.hline(0, axis, color=style.faint, width=0.8)
    low, high = float(y.min()), float(y.max())
    span = high - low
    style.draw.ylim((low - 0.26 * span, high + 0.3 * span), axis)
    for area, word, height in zip(areas, ("above", "below"), (high + 0.19 * span, low - 0.15 * span), strict=True):
        size = f"{abs(area):.2f}"
        mark = "" if float(size) == 0 else "+" if area > 0 else "−"
        style.draw.text(-10.8, height, f"{word}: {mark}{size}", axis, color=style.ink, size=10.5,
                        horizontal_align="left")  # fmt: skip
