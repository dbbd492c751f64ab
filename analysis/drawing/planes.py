"""Contours of two-dimensional targets and of what was fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.targets import Target

__all__ = ["PlanePanel", "levels", "planes"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlanePanel:
    """A two-dimensional target with its exact projections and the means (n, 2) at which fits ended."""

    title: str
    target: Target
    forward: Target
    reverse: Sequence[Target]
    ends: Array


def levels(q: Target, masses: Sequence[float] = (0.9, 0.5)) -> list[float]:
    """Density levels whose contours enclose the given masses, from draws."""
    density = np.exp(q.logp(q.rvs(20_000, seed=0)))
    return [float(np.quantile(density, 1 - mass)) for mass in masses]


def planes(panels: Sequence[PlanePanel], style: Style) -> PlotCollection:
    """Contours of two-dimensional targets and projections that enclose 50% and 90% of the mass.

    Parameters
    ----------
    panels : sequence of PlanePanel
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, targets = panel_grid([p.title for p in panels], style, len(panels), (9, 4.6))
        for panel, axis in zip(panels, targets, strict=True):
            centre, factor = panel.forward.scales[0]
            reach = np.abs(centre) + 2.2 * np.sqrt(
                np.square(factor).sum(axis=1)
            )  # holds the ellipse with 90% of the mass
            grid = np.linspace(-1, 1, 121) * max(5.2, float(reach.max()))
            points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)

            def contour(
                q: Target,
                color: str,
                dash: str,
                width: float,
                axis: Any = axis,
                grid: Any = grid,
                points: Any = points,
            ) -> None:
                z = np.exp(q.logp(points)).reshape(len(grid), len(grid))
                extra = {"linestyles": style.dash(dash), "linewidths": width} if style.backend == "matplotlib" else {}
                draw.contour(grid, grid, z, axis, levels=levels(q), color=color, **extra)

            z = np.exp(panel.target.logp(points)).reshape(len(grid), len(grid))
            if style.backend == "matplotlib":
                low, high = levels(panel.target)
                axis.contourf(
                    grid,
                    grid,
                    z.T,
                    levels=[low, high, z.max() * 1.01],
                    colors=[style.target] * 2,
                    alpha=style.fill_alpha,
                )
                axis.set_aspect("equal")
            contour(panel.target, style.target, "solid", 1.0)
            contour(panel.forward, style.forward, "dashed", 1.8)
            for q in panel.reverse:
                contour(q, style.reverse, "dotted", 2.0)
            draw.scatter(panel.ends[:, 0], panel.ends[:, 1], axis, size=style.size(5), color=style.reverse,
                         marker=style.marker("dot"))  # fmt: skip
            draw.xlabel("first coordinate", axis)
            draw.ylabel("second coordinate", axis)
    return collection
