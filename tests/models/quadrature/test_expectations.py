"""Nodes and weights: what they integrate exactly, and whether the stated error holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from models.errors import InputError
from models.quadrature import Estimate, Nodes, expect, gaussian_nodes, moment_nodes, nodes
from models.targets import TARGETS, from_distribution, from_draws, from_model, mvnormal_mixture, normal_mixture

#: Rounding of sums of a few thousand terms of order 1.
ROUNDING = 1e-13

STANDARD = normal_mixture([1], [0], [1])
NORMAL_IN_4D = mvnormal_mixture([1], [np.zeros(4)], [np.eye(4)])


def square(x: np.ndarray) -> np.ndarray:
    return (x**2).sum(axis=1)


@pytest.mark.parametrize("name", ["bimodal", "claw", "heavy_tailed", "crossed"])
def test_nodes_give_the_exact_mean_and_covariance(name: str) -> None:
    target = TARGETS[name]
    rule = nodes(target, [square])
    assert rule.weights.min() > 0
    assert rule.weights.sum() == pytest.approx(1, abs=1e-12)
    mean = rule.weights @ rule.points
    centred = rule.points - mean
    # 1e-9 for tails: a power of 2 of a Student-t with nu = 4, and the 2-D rule that ends at 7.5 standard deviations.
    np.testing.assert_allclose(mean, target.mean, atol=1e-9)
    np.testing.assert_allclose((centred * rule.weights[:, None]).T @ centred, target.cov, atol=1e-9)


def test_nodes_of_draws_are_the_draws_with_equal_weights() -> None:
    x = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
    rule = nodes(from_draws(x))
    np.testing.assert_array_equal(rule.points, x)
    np.testing.assert_array_equal(rule.weights, [1 / 3] * 3)
    assert rule.kind == "draws"


def test_error_over_draws_is_the_standard_error_of_the_mean() -> None:
    x = np.random.default_rng(0).exponential(size=200)
    estimate = expect(from_draws(x), square)
    assert estimate.value == pytest.approx(np.mean(x**2), rel=1e-13)
    assert estimate.error == pytest.approx(stats.sem(x**2), rel=1e-12)


@pytest.mark.parametrize(
    ("f", "truth"),
    [
        (lambda x: np.abs(x[:, 0]), np.sqrt(2 / np.pi)),  # a kink at a node of the first panels
        (lambda x: np.abs(x[:, 0] - 0.3), stats.foldnorm(0.3).mean()),  # a kink between them
        (lambda x: (x[:, 0] > 0.3).astype(float), stats.norm.sf(0.3)),  # a jump
        (lambda x: np.exp(np.minimum(2 * x[:, 0], 700)), np.exp(2.0)),  # the mass is two standard deviations away
        (lambda x: np.cos(20 * x[:, 0]), np.exp(-200.0)),  # nearly everything cancels
        (lambda x: x[:, 0] ** 8, 105.0),
    ],
    ids=["kink", "kink between nodes", "jump", "exponential", "oscillation", "eighth moment"],
)
def test_quadrature_error_bounds_the_true_error(f: Any, truth: float) -> None:
    estimate = expect(STANDARD, f)
    assert estimate.kind == "quadrature"
    assert abs(estimate.value - truth) <= max(estimate.error, ROUNDING)
    assert estimate.error < 1e-9


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_quadrature_error_bounds_an_error_that_is_not_rounding(tolerance: float) -> None:
    estimate = expect(STANDARD, lambda x: np.abs(x[:, 0] - 0.3), tolerance=tolerance)
    assert 10 * ROUNDING < abs(estimate.value - stats.foldnorm(0.3).mean()) <= estimate.error


@pytest.mark.parametrize(("nu", "finite"), [(2.0, False), (2.5, True)])
def test_second_moment_is_infinite_exactly_where_it_does_not_exist(nu: float, finite: bool) -> None:
    estimate = expect(from_distribution("StudentT", {"nu": nu, "mu": 0, "sigma": 1}), square)
    if finite:
        assert estimate.value == pytest.approx(nu / (nu - 2), rel=1e-8)
    else:
        assert estimate.value == np.inf


def test_infinite_values_on_positive_probability_keep_their_sign() -> None:
    assert expect(STANDARD, lambda x: np.where(x[:, 0] > 1, -np.inf, 0.0)).value == -np.inf


def test_a_weight_of_zero_wins_over_an_infinite_value() -> None:
    rule = Nodes(np.array([[0.0], [1.0]]), np.array([1.0, 0.0]), "exact")
    assert rule.mean(lambda x: np.where(x[:, 0] > 0, np.inf, 2.0)).value == 2


@pytest.mark.parametrize(("dim", "size"), [(1, 129), (2, 65), (3, 33)])
def test_gaussian_nodes_integrate_standard_normal_moments(dim: int, size: int) -> None:
    rule = gaussian_nodes(dim, size=size)
    assert rule.kind == "quadrature"
    # The rule ends at 7.5 standard deviations in 2 and 3 dimensions: 1e-9 of a fourth moment.
    np.testing.assert_allclose((rule.points * rule.weights[:, None]).T @ rule.points, np.eye(dim), atol=1e-9)
    assert rule.mean(lambda z: z[:, 0] ** 4).value == pytest.approx(3, abs=1e-9)


def test_gaussian_nodes_measure_their_own_error() -> None:
    rule = gaussian_nodes(1, size=33)  # too coarse for a wiggle of this frequency, and it must say so
    estimate = rule.mean(lambda z: np.cos(8 * z[:, 0]))
    assert abs(estimate.value - np.exp(-32)) <= estimate.error
    assert estimate.error > 1e-3


def test_gaussian_nodes_refuse_an_even_size() -> None:
    with pytest.raises(InputError, match="size is 64; it must be odd"):
        gaussian_nodes(1, size=64)


@pytest.mark.parametrize("seed", [0, 1])
def test_quasi_monte_carlo_lies_within_five_of_its_errors(seed: int) -> None:
    rule = nodes(NORMAL_IN_4D, seed=seed)
    estimate = rule.mean(lambda x: np.exp(x.sum(axis=1) / 2))
    assert estimate.kind == "quasi-Monte Carlo"
    assert abs(estimate.value - np.exp(0.5)) < 5 * estimate.error
    # Plain Monte Carlo with as many points would have a standard error of sd/sqrt(n) = 1.3/90.
    assert estimate.error < np.sqrt(np.exp(2) - np.exp(1)) / np.sqrt(len(rule.points)) / 2


def test_the_seed_decides_the_quasi_monte_carlo_points() -> None:
    first, again, other = (nodes(NORMAL_IN_4D, seed=s).points for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("ask", [nodes, lambda target: expect(target, square)])
def test_a_posterior_has_no_nodes(ask: Any) -> None:
    with pm.Model() as model:
        pm.Normal("x")
    with pytest.raises(InputError, match=r"'posterior' is a posterior.*pm\.sample"):
        ask(from_model(model))


def test_an_estimate_is_a_number_with_an_error() -> None:
    estimate = Estimate(1.5, 1e-3, "quadrature")
    assert float(estimate) == 1.5
    assert estimate.as_dict() == {"value": 1.5, "error": 1e-3}


def test_three_nodes_carry_four_moments_of_the_draws() -> None:
    x = 1e3 + 0.01 * np.random.default_rng(3).gamma(2.0, size=50_000)
    rule = moment_nodes(x)
    assert rule.points.shape == (3, 1)
    np.testing.assert_allclose(rule.weights.sum(), 1, rtol=1e-14)
    for k in (1, 2, 3, 4):  # about the mean: about zero they would agree for any rule near it
        about = ((x - x.mean()) / x.std()) ** k
        nodes_ = (rule.points[:, 0] - x.mean()) / x.std()
        np.testing.assert_allclose(rule.weights @ nodes_**k, about.mean(), rtol=1e-9, atol=1e-9)


def test_three_nodes_for_two_values() -> None:
    rule = moment_nodes(np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose([rule.weights @ rule.points[:, 0] ** k for k in (1, 2, 3, 4)], 1 / 3, rtol=1e-12)
