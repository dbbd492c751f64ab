"""Results read back: cases, data sets, means and shares with their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from models.quadrature import Estimate

__all__ = ["case_of", "dataset_of", "mean_of", "share_of"]


def case_of(results: xr.DataTree, path: str) -> xr.DataTree:
    """Return the group at a path."""
    case = results[path]
    assert isinstance(case, xr.DataTree)
    return case


def dataset_of(results: xr.DataTree, path: str) -> xr.Dataset:
    """Return the variables of the group at a path."""
    return case_of(results, path).to_dataset()


def mean_of(values: Any) -> Estimate:
    """Return the mean of independent values (n,) with its standard error."""
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))), "draws")


def share_of(value: float, count: float) -> Estimate:
    """Return a share with its binomial standard error, which is not zero for a share of all (two of each are added)."""
    p = (value * count + 2) / (count + 4)
    return Estimate(float(value), float(np.sqrt(p * (1 - p) / (count + 4))), "draws")
