"""Diagnostics of an approximation: known tails, known masses, and what cannot be seen from q."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.advi.diagnostics import covered_mass, diagnose, pareto_k, shape_of_weights
from models.divergences import kl
from models.errors import InputError
from models.targets import from_draws, from_model, mvnormal_mixture, normal_mixture

STANDARD = normal_mixture([1], [0], [1])
MISSED = normal_mixture([0.7, 0.3], [-4, 4], [1, 1])


def test_elbo_is_minus_the_divergence_from_q_to_p() -> None:
    q = normal_mixture([1], [0.5], [2])
    found = diagnose(MISSED, q, n=20_000, seed=2)
    assert abs(-found.elbo.value - kl(q, MISSED).value) < 4.5 * found.elbo.error
    assert abs(kl(MISSED, q).value - kl(q, MISSED).value) > 20 * found.elbo.error


def test_k_hat_of_a_normal_too_narrow() -> None:
    """p = N(0, 1), q = N(0, s): the ratio has moments up to 1/k with k = 1 - s^2 (theory: Gaussian p and q)."""
    for s in (0.6, 0.8):
        assert diagnose(STANDARD, normal_mixture([1], [0], [s]), n=100_000, seed=1).k_hat == pytest.approx(
            1 - s**2, abs=0.15
        )


def test_k_hat_is_blind_to_a_mode_that_q_never_visits() -> None:
    """30 % of the mass is missing, and every diagnostic that looks through q's own draws is content."""
    q = normal_mixture([1], [-4], [1.02])
    found = diagnose(MISSED, q, n=4000, seed=0)
    assert found.k_says_good
    assert found.relative_ess > 0.9
    assert found.seen_mass.value == pytest.approx(0.7, abs=0.02)
    inside = covered_mass(q, MISSED.rvs(20_000, seed=3))
    assert abs(inside.value - 0.7) < 4 * inside.error + 1e-3


def test_equal_weights_are_bounded_and_so_as_good_as_weights_can_be() -> None:
    assert pareto_k(np.full(100, 0.3)) == 0.0
    rounded = 0.3 + 1e-12 * np.random.default_rng(0).standard_normal(1000)
    assert pareto_k(rounded) == 0.0
    assert np.isnan(pareto_k(np.full(24, 0.3)))  # of so few nothing can be said
    found = diagnose(STANDARD, STANDARD, n=1000)
    assert (found.k_hat, found.k_says_good) == (0.0, True)
    assert found.relative_ess == pytest.approx(1)
    assert found.seen_mass.value == pytest.approx(1)


def test_weights_that_hardly_differ_are_no_fault() -> None:
    """Of a posterior by 100 000 rows: as uneven as a skewness of .003 makes them, and the estimate of their shape was 1.1."""
    z = np.random.default_rng(3).standard_normal((10_000, 2))
    small = 1e-3 * (z[:, 0] ** 3 - 3 * z[:, 0]) + 2e-3 * (z[:, 1] ** 2 - 1) * z[:, 0]
    assert shape_of_weights(small) == 0.0
    assert shape_of_weights(small + np.where(np.arange(10_000) == 7, 3.0, 0.0)) > 0.0
    heavy = np.random.default_rng(0).pareto(1.1, 10_000)
    assert shape_of_weights(np.log1p(heavy)) > 0.7


def test_a_ratio_that_is_not_finite_is_the_worst() -> None:
    assert pareto_k(np.array([0.0] * 50 + [np.inf])) == np.inf


def test_covered_mass_of_a_wider_target() -> None:
    """p = N(0, 4 I) in the plane, q standard: the region is a disc, and |x|^2 / 4 is chi-square."""
    wide = mvnormal_mixture([1], [[0, 0]], [4 * np.eye(2)])
    q = mvnormal_mixture([1], [[0, 0]], [np.eye(2)])
    found = covered_mass(q, wide.rvs(40_000, seed=5), level=0.9)
    exact = stats.chi2.cdf(stats.chi2.ppf(0.9, 2) / 4, 2)
    assert abs(found.value - exact) < 4 * found.error
    # Not the other way round: q's draws in p's region.
    assert covered_mass(wide, q.rvs(10_000, seed=5), level=0.9).value > 0.99


def test_seen_mass_of_an_unnormalised_target_is_unknown() -> None:
    import pymc as pm

    with pm.Model() as model:
        pm.Normal("x")
        pm.Potential("c", np.log(3.0) + pm.math.zeros_like(model["x"]))
    found = diagnose(from_model(model), STANDARD, n=100)
    assert np.isnan(found.seen_mass.value)
    assert found.elbo.value == pytest.approx(np.log(3.0))


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="n is 10"):
        diagnose(STANDARD, STANDARD, n=10)
    with pytest.raises(InputError, match=r"level is 1\.0"):
        covered_mass(STANDARD, np.zeros((5, 1)), level=1.0)
    with pytest.raises(InputError, match="2 components"):
        covered_mass(MISSED, np.zeros((5, 1)))
    with pytest.raises(InputError, match="dimension 2"):
        covered_mass(STANDARD, np.zeros((5, 2)))
    with pytest.raises(InputError, match="draws only"):
        diagnose(from_draws([0.0, 1.0]), STANDARD)
