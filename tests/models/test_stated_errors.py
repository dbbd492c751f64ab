"""Stated errors of divergences hold to the last digits: where terms are large or logarithms cancel, against 30 digits of mpmath."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.divergences import cross_entropy, entropy, kl
from models.targets import Target, from_distribution, normal_mixture, student_t_mixture


def law(name: str, **params: float) -> Callable[[], Target]:
    return lambda: from_distribution(name, params)


def heavy(nu: float) -> Callable[[], Target]:
    return lambda: student_t_mixture([0.3, 0.7], [0, 2], [1, 1], [nu, 30])


def two() -> Target:
    return normal_mixture([0.3, 0.7], [0, 2], [1, 1])


WIDE = law("LogNormal", mu=0, sigma=3)
#: First and second distribution, KL with the digits that a float cannot hold, and the error that is small enough.
CASES = {
    "large counts": (law("NegativeBinomial", mu=50, alpha=0.05), law("Poisson", mu=50), 123.66022990430335, 1e-9),
    "counts": (law("NegativeBinomial", mu=5, alpha=0.02), law("Poisson", mu=5), 16.346590527947772624, 1e-11),
    "larger counts": (law("NegativeBinomial", mu=500, alpha=0.05), law("Poisson", mu=500), 1247.14608679, 1e-6),
    "small KL": (two, heavy(1.2), 0.04822780776653772257, 1e-14),
    "smaller KL": (two, heavy(2.2), 0.02128974885138831957, 1e-14),
    "poles": (law("Weibull", alpha=0.05, beta=1), WIDE, 41.402647120216034, 1e-12),
    "a power": (law("Pareto", alpha=0.05, m=1), WIDE, 42.466262992763231, 1e-12),
}


@pytest.mark.parametrize(("p", "q", "truth", "enough"), CASES.values(), ids=CASES)
def test_the_error_holds_and_is_small(
    p: Callable[[], Target], q: Callable[[], Target], truth: float, enough: float
) -> None:
    found = kl(p(), q())
    assert abs(found.value - truth) <= found.error < enough


@pytest.mark.parametrize(("narrow", "wide", "truth"), [(0.01, 1, 0.0907765139), (1, 0.01, 243.0979285)])
def test_a_tail_that_is_known_of_both_logarithms_is_known_of_their_difference(
    narrow: float, wide: float, truth: float
) -> None:
    p, q = (from_distribution("ExGaussian", {"mu": 0, "sigma": s, "nu": 5}) for s in (narrow, wide))
    found = kl(p, q)
    assert found.value == pytest.approx(truth, rel=1e-9)
    assert found.value == pytest.approx(cross_entropy(p, q).value - entropy(p).value, abs=found.error)
    assert found.error < 1e-11
