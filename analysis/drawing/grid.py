"""Panels side by side, or one below the other on a narrow screen; the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection

from analysis.drawing.style import NARROW, Style

__all__ = ["panel_grid"]


def panel_grid(
    titles: Sequence[str], style: Style, cols: int, figsize: tuple[float, float], *, height: float | None = None
) -> tuple[PlotCollection, list[Any]]:
    """Begin a figure: its collection, and one axis for each title, `cols` in a row; `figsize` in inches.

    On a narrow screen a panel has the shape that it has on a wide one, within limits, or a `height` in inches.
    """
    if style.narrow:
        rows = -(-len(titles) // cols)
        alike = NARROW * (figsize[1] / rows) / (figsize[0] / cols)  # of the same shape, if it is neither flat nor tall
        cols, figsize = 1, (NARROW, len(titles) * (height or float(np.clip(alike, 2.6, 4.2))))
    data = xr.Dataset({"panels": ("panel", np.zeros(len(titles)))}, coords={"panel": list(titles)})
    figure_kwargs = style.figure_size(figsize)
    collection = PlotCollection.wrap(
        data, cols=["panel"], col_wrap=cols, backend=style.backend, figure_kwargs=figure_kwargs
    )
    plots = collection.viz["plot"]
    plots = plots["panels"] if isinstance(plots, xr.Dataset) else plots
    targets = [plots.sel(panel=title).item() for title in titles]
    if len(titles) > 1:
        for target, title in zip(targets, titles, strict=True):
            style.draw.title(title, target, color=style.ink)
    return collection, targets
