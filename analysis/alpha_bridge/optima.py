"""Optima read back: what they cover, and where they are the best."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from analysis.judged import label

__all__ = ["critical", "named", "reigns"]


def named(case: xr.DataTree, cover: ArrayLike) -> str:
    """Name the modes that a fit covers, by its cover (K,) of each."""
    return label(cover, json.loads(case.attrs["modes"]))


def critical(case: xr.DataTree, kind: str) -> xr.Dataset:
    """Return the critical points of a kind, by alpha."""
    data = case["critical"].to_dataset()
    return data.isel(point=data["kind"].to_numpy() == kind).sortby("alpha")


def reigns(case: xr.DataTree) -> list[tuple[int, float, float]]:
    """Return arc, and the lowest and the highest alpha at which it is the global minimum."""
    best = case["best"].to_dataset()
    grid, jumps = best["alpha"].to_numpy(), critical(case, "exchange")["alpha"].to_numpy()
    found = []
    for arc in best["arc"].to_numpy():
        steps = np.diff(np.concatenate([[0], best["holds"].sel(arc=arc).to_numpy(), [0]]))
        for first, last in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1, strict=True):
            before, after = jumps[jumps < grid[first]], jumps[jumps > grid[last]]
            found.append((int(arc), float(before.max(initial=0.0)), float(after.min(initial=1.0))))
    return found
