"""Entries of variables by name."""

from __future__ import annotations

import numpy as np
import xarray as xr

from models.own_model.comparison import entries


def test_entries_have_names_of_their_own_and_an_empty_variable_has_none() -> None:
    def draws(*shape: int) -> np.ndarray:
        return np.zeros((1, 2, *shape))

    dims = ("chain", "draw")
    data = xr.Dataset(
        {"x": ((*dims, "twice"), draws(2)), "none": ((*dims, "nobody"), draws(0)), "z": ((*dims, "site"), draws(2))},
        coords={"twice": ["a", "a"], "site": ["a", "b"]},
    )
    assert list(entries(data)) == ["x[0]", "x[1]", "z[a]", "z[b]"]
