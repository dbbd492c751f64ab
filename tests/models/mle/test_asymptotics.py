"""J, K and the sandwich against reference answers, closed forms, and the spread of estimates over data sets."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from models.errors import InputError
from models.families import FAMILIES, normal
from models.mle import Sandwich, excess_kl, sandwich
from models.projections import forward_projection
from models.targets import TARGETS, from_distribution, from_draws, mvnormal_mixture, normal_mixture
from tests.reference import cases

LABELS = {"sd": "sigma", "w1": "w[0]", "mu1": "mu[0]", "mu2": "mu[1]", "sd1": "sigma[0]", "sd2": "sigma[1]"}


@cache
def of_case(name: str) -> Sandwich:
    inputs = cases.case(name)["inputs"]
    target = cases.target(inputs["p"])
    return sandwich(target, forward_projection(target, cases.family(inputs)))


@cases.of_kind("sandwich")
def test_sandwich_is_the_reference_answer(case: cases.Case) -> None:
    found, answer, tolerance = of_case(case["id"]), case["answer"], case["abs_tolerance"]
    rows = [found.labels.index(LABELS.get(name, name)) for name in case["inputs"]["params"]]
    for key, matrix in (
        ("J", found.j), ("K", found.k), ("sandwich", found.covariance), ("naive_inverse_J", found.naive),
    ):  # fmt: skip
        np.testing.assert_allclose(matrix[np.ix_(rows, rows)], answer[key], rtol=0, atol=tolerance, err_msg=key)
    assert found.trace == pytest.approx(answer["tic_trace"], rel=0, abs=tolerance)


def test_trace_counts_parameters_if_the_family_contains_the_target() -> None:
    member = FAMILIES["student_t"].member({"nu": 6.0, "mu": 1.0, "sigma": 2.0})
    found = sandwich(member, forward_projection(member, FAMILIES["student_t"]))
    assert found.trace == pytest.approx(3, abs=1e-5)
    np.testing.assert_allclose(found.j, found.k, atol=1e-6)


def test_trace_onto_a_normal_is_known_from_the_kurtosis() -> None:
    # tr(J^-1 K) = (1 + kurtosis) / 2; for ½N(±3, 1) the kurtosis is (3 + 6 * 9 + 81) / 100.
    found = sandwich(TARGETS["bimodal"], forward_projection(TARGETS["bimodal"], FAMILIES["normal"]))
    assert found.trace == pytest.approx((1 + 1.38) / 2, abs=1e-9)
    assert found.excess_kl(100) == pytest.approx(found.trace / 200)


def test_covariance_of_a_multivariate_mean_is_that_of_the_target() -> None:
    cov = np.array([[2.0, 0.6], [0.6, 1.0]])
    target = mvnormal_mixture([1], [[0.0, 1.0]], [cov])
    found = sandwich(target, forward_projection(target, FAMILIES["mvnormal"]))
    assert found.labels[:2] == ["mu[0]", "mu[1]"]
    np.testing.assert_allclose(found.covariance[:2, :2], cov, atol=1e-8)
    assert len(found.labels) == 5


def test_draws_give_the_sandwich_of_their_own_moments() -> None:
    x = np.random.default_rng(0).gamma(3, size=400)
    found = sandwich(from_draws(x), forward_projection(from_draws(x), FAMILIES["normal"]))
    # White's sandwich for the mean is the variance over n, whatever the shape.
    assert found.covariance[0, 0] == pytest.approx(x.var(), rel=1e-9)


@pytest.mark.exhaustive
def test_covariance_is_the_spread_of_estimates_over_data_sets() -> None:
    target = normal_mixture([0.9, 0.1], [0, 0], [1, 5])
    found = sandwich(target, forward_projection(target, FAMILIES["normal"]))
    n, sets = 1000, 2000
    x = target.rvs(n * sets, seed=3)[:, 0].reshape(sets, n)
    spread = n * np.var(x.std(axis=1))
    # The variance of a variance over 2000 sets: 3 % standard error; the naive one is off by far more.
    assert spread == pytest.approx(found.covariance[1, 1], rel=0.15)
    assert abs(found.naive[1, 1] / spread - 1) > 0.3


def test_infinite_fourth_moments_have_no_sandwich() -> None:
    target = TARGETS["heavy_tailed"]  # four degrees of freedom
    with pytest.raises(InputError, match=r"infinite variance under target 'heavy_tailed'"):
        sandwich(target, forward_projection(target, FAMILIES["normal"]))


# --- finite n --------------------------------------------------------------------------------------------------------


@cases.of_kind("tic")
def test_excess_kl_is_the_reference_answer(case: cases.Case) -> None:
    target, family, n = cases.target(case["inputs"]["p"]), cases.family(case["inputs"]), case["inputs"]["n"]
    found, answer, tolerance = excess_kl(target, family, n), case["answer"], case["abs_tolerance"]
    assert found.kind == "exact"
    assert found.value == pytest.approx(answer.get("excess_kl", answer.get("expected_kl")), rel=0, abs=tolerance)
    if target.dim == 1:
        limit = sandwich(target, forward_projection(target, family))
        first = answer.get("first_order", answer.get("tic_trace", 0) / (2 * n))
        assert limit.excess_kl(n) == pytest.approx(first, rel=0, abs=tolerance)


def test_excess_kl_is_what_simulated_estimates_lose() -> None:
    """Two dimensions at n = 12, where the first order is 30 % too low: KL of each estimate written out."""
    rng, n, sets = np.random.default_rng(5), 12, 20_000
    x = rng.normal(size=(sets, n, 2))
    mean = x.mean(axis=1)
    cov = np.einsum("sni,snj->sij", x - mean[:, None], x - mean[:, None]) / n
    inverse = np.linalg.inv(cov)
    loss = (np.einsum("sii->s", inverse) + np.einsum("si,sij,sj->s", mean, inverse, mean) - 2
            + np.linalg.slogdet(cov)[1]) / 2  # fmt: skip
    found = excess_kl(mvnormal_mixture([1], [[0, 0]], [np.eye(2)]), FAMILIES["mvnormal"], n)
    assert found.value == pytest.approx(loss.mean(), abs=4 * loss.std() / np.sqrt(sets))
    assert found.value > 1.3 * 5 / (2 * n)


def test_excess_kl_says_where_it_is_the_first_order_only() -> None:
    found = excess_kl(TARGETS["bimodal"], FAMILIES["normal"], 100)
    assert found.kind == "first order"
    assert found.value == pytest.approx((1 + 1.38) / 400, abs=1e-9)
    assert np.isnan(found.error)


def test_excess_kl_of_very_small_samples() -> None:
    standard = normal_mixture([1], [0], [1])
    assert excess_kl(standard, FAMILIES["normal"], 3).value == np.inf
    with pytest.raises(InputError, match=r"n is 1; a Normal in 1 dimension.s. needs at least 2 draws"):
        excess_kl(standard, FAMILIES["normal"], 1)
    with pytest.raises(InputError, match=r"n is 2.5; it must be a positive integer"):
        excess_kl(standard, FAMILIES["normal"], 2.5)  # type: ignore[arg-type]


def test_excess_kl_of_a_mean_needs_no_moments_known_beforehand() -> None:
    gamma = from_distribution("Gamma", {"alpha": 2.0, "beta": 0.5})  # variance 8
    found = excess_kl(gamma, normal(2.0), 10)
    assert found.value == pytest.approx(8 / 4 / 20, abs=1e-10)
    assert found.kind == "exact"
