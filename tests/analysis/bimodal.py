"""The main question on one small case, which two files of tests look at."""

from __future__ import annotations

import xarray as xr

from analysis.mode_covering_vs_seeking import study
from tests.analysis.computed import computed_part

SETTINGS = study.Settings(
    n=500, steps=300, draws_per_step=20, centre_runs=1, default_runs=1, default_steps=300, draws=200, seed=2
)


def bimodal() -> xr.DataTree:
    """Its results."""
    return computed_part(study, SETTINGS, "bimodal")
