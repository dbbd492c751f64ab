"""Tails beyond all draws: which moments are infinite is known for these laws."""

from __future__ import annotations

import numpy as np
import pymc as pm

from models.own_model.comparison import natural
from models.own_model.rays import endless_along_axes
from models.targets import from_model


def test_infinite_moments_are_seen_in_the_density_though_no_draw_has_been_far_out() -> None:
    with pm.Model() as model:
        for nu in (1.0, 2.0, 2.2, 30.0):
            pm.StudentT(f"t_{nu:g}", nu=nu, mu=0, sigma=1)
        for alpha in (1.0, 2.0, 2.2):
            pm.InverseGamma(f"inverse_gamma_{alpha:g}", alpha, 1)
        pm.LogNormal("lognormal", 0, 3)  # whose density falls faster than any power, beyond all draws
        pm.Uniform("bounded")
        pm.Normal("y_1", 0, pm.HalfFlat("tau_of_2"), shape=2, observed=[2.0, 1.0])  # falls as the square
        pm.Normal("y_2", 0, pm.HalfCauchy("tau_of_1", 1), observed=2.0)  # as the cube
        pm.Deterministic("computed", 3 * model["t_1"] + 2)
    target = from_model(model)
    draws = np.random.default_rng(0).normal(size=(400, target.dim))
    no_sd, no_mean = (
        {name for name, is_so in zip(natural(target, draws[:1]), found, strict=True) if is_so}
        for found in endless_along_axes(target, draws)
    )
    assert no_mean == {"t_1", "inverse_gamma_1", "tau_of_2", "computed"}
    assert no_sd == no_mean | {"t_2", "inverse_gamma_2", "tau_of_1"}


def test_a_tail_with_all_its_moments_given_the_others_is_none() -> None:
    """Of a funnel x has no sd that a sampler could find, and one of exp(9/4) by the density."""
    with pm.Model() as model:
        pm.Normal("x", 0, pm.math.exp(pm.Normal("v", 0, 3) / 2))
    target = from_model(model)
    found = endless_along_axes(target, np.random.default_rng(0).normal(size=(50, 2)))
    assert not np.any(found)


def test_a_tail_that_the_data_leave_next_to_no_mass_is_none() -> None:
    """Of a time constant with a Cauchy prior the tail is 60 nats down: its sd is 0.05 for all that anyone would draw."""
    at = np.linspace(0.1, 6, 25)
    y = 3 * np.exp(-at / 1.5) + 0.1 * np.random.default_rng(0).normal(size=25)
    with pm.Model() as model:
        tau = pm.HalfCauchy("tau", 5)
        pm.Deterministic("rate", 1 / tau)
        pm.Normal("y", 3 * pm.math.exp(-at / tau), 0.1, observed=y)
    target = from_model(model)
    draws = np.log(1.5) + 0.03 * np.random.default_rng(0).normal(size=(400, 1))
    assert not np.any(endless_along_axes(target, draws))
