"""Results read back: cases, data sets, values with their errors, and the targets that a question has stored."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from models.quadrature import Estimate
from models.targets import Target, from_spec

__all__ = ["case_of", "dataset_of", "estimate_of", "target_of"]


def case_of(results: xr.DataTree, path: str) -> xr.DataTree:
    """Return the group at a path."""
    case = results[path]
    assert isinstance(case, xr.DataTree)
    return case


def dataset_of(results: xr.DataTree, path: str) -> xr.Dataset:
    """Return the variables of the group at a path."""
    return case_of(results, path).to_dataset()


def estimate_of(data: xr.Dataset, name: str, kind: Any = "quadrature", **at: Any) -> Estimate:
    """Return the scalar ``name`` with its ``name_error``, at the given coordinates."""
    return Estimate(float(data[name].sel(at)), float(data[f"{name}_error"].sel(at)), kind)


def target_of(case: xr.DataTree) -> Target:
    """Return the target that a case has stored in its attributes ``target`` (JSON) and ``target_name``."""
    return from_spec(json.loads(case.attrs["target"]), name=case.attrs["target_name"])
