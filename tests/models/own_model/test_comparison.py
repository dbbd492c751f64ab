"""Entries of variables by name."""

from __future__ import annotations

import numpy as np
import xarray as xr

from models.own_model.comparison import entries, forward_normal, kl_forward_fitted, told
from models.quadrature import Estimate
from models.targets import mvnormal_mixture


def test_entries_have_names_of_their_own_and_an_empty_variable_has_none() -> None:
    def draws(*shape: int) -> np.ndarray:
        return np.zeros((1, 2, *shape))

    dims = ("chain", "draw")
    data = xr.Dataset(
        {"x": ((*dims, "twice"), draws(2)), "none": ((*dims, "nobody"), draws(0)), "z": ((*dims, "site"), draws(2))},
        coords={"twice": ["a", "a"], "site": ["a", "b"]},
    )
    assert list(entries(data)) == ["x[0]", "x[1]", "z[a]", "z[b]"]


def test_a_number_of_nats_with_an_error_of_its_own_size_is_not_told() -> None:
    """Reverse KL came out as (3.8 +- 3.6) 10^7 beside an ELBO of (-8.2 +- 5.6) 10^21, which differ by the log evidence and no more."""
    assert not told(-8.2e21, 5.6e21)
    assert not told(3.8e7, 3.6e7)
    assert told(0.01, 0.3)
    assert told(-5000.0, 20.0)


def test_draws_that_stand_still_have_no_normal_and_no_forward_kl() -> None:
    """A chain of NUTS that is stuck in the neck of a funnel ended an examination."""
    p = mvnormal_mixture([1], [[0.0, 0.0]], [np.eye(2)])
    still = np.zeros((2, 50, 2))
    still[1] = p.rvs(50, 0)
    assert forward_normal(still[0]) is None
    assert np.isnan(kl_forward_fitted(p, still, Estimate(0.0, 0.0, "exact"), 50.0).value)
