"""Combined fits: weights against the convex problem solved by another route, divergences against quadrature."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from models.advi import Combination, combine
from models.divergences import kl
from models.errors import InputError
from models.families import FAMILIES
from models.targets import TARGETS, Target, mvnormal_mixture, normal_mixture

SEPARATED = normal_mixture([0.3, 0.7], [-5, 5], [1, 0.5])


def members(*pairs: tuple[float, float]) -> list[Target]:
    return [normal_mixture([1], [m], [s]) for m, s in pairs]


@cache
def overlapping() -> tuple[Target, list[Target], Combination]:
    target = TARGETS["bimodal"]
    fits = members((-1.0, 2.2), (2.5, 1.6))
    return target, fits, combine(target, fits, seed=3)


def test_weights_of_overlapping_members_minimise_the_divergence() -> None:
    """Golden section on the KL by quadrature, a route without nodes, softmax or gradient."""
    target, fits, found = overlapping()

    def divergence(w: float) -> float:
        (m1, s1), (m2, s2) = ((f.scales[0][0][0], f.scales[0][1][0, 0]) for f in fits)
        return kl(normal_mixture([w, 1 - w], [m1, m2], [s1, s2]), target).value

    best = minimize_scalar(divergence, bounds=(0.01, 0.99), method="bounded", options={"xatol": 1e-6})
    assert found.weights[0] == pytest.approx(best.x, abs=2e-3)
    assert kl(found.mixture, target).value == pytest.approx(best.fun, abs=1e-6)
    assert abs(found.weights[0] - found.separated[0]) > 0.01  # they overlap, so the softmax of ELBOs is not the answer


def test_the_divergence_is_that_of_the_mixture() -> None:
    target, _, found = overlapping()
    exact = kl(found.mixture, target)
    assert abs(found.divergence.value - exact.value) < 5 * found.divergence.error
    assert found.divergence.error < 1e-3
    assert abs(kl(target, found.mixture).value - exact.value) > 0.02  # the other direction would not pass


def test_separated_members_have_the_softmax_of_their_elbos() -> None:
    found = combine(SEPARATED, members((-5, 1), (5, 0.5)))
    np.testing.assert_allclose(found.weights, [0.3, 0.7], atol=1e-4)
    np.testing.assert_allclose(found.weights, found.separated, atol=1e-4)
    assert kl(found.mixture, SEPARATED).value < 1e-6


def test_a_member_far_from_the_target_gets_no_weight() -> None:
    found = combine(SEPARATED, members((-5, 1), (40, 1), (5, 0.5)))
    assert found.weights[1] < 1e-9
    np.testing.assert_allclose(found.weights[[0, 2]], [0.3, 0.7], atol=1e-4)


def test_two_dimensions() -> None:
    target = TARGETS["crossed"]
    parts = zip(target.spec["means"], target.spec["covs"], strict=True)
    found = combine(target, [mvnormal_mixture([1], [m], [c]) for m, c in parts])
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=5e-3)
    assert found.divergence.value == pytest.approx(0, abs=1e-3)
    assert found.mixture.dim == 2


def test_an_unnormalised_target_gives_minus_its_log_evidence() -> None:
    import pymc as pm

    from models.targets import from_model

    with pm.Model() as model:
        x = pm.Normal("x", 0, 2)
        pm.Potential("likelihood", pm.logp(pm.Normal.dist(x, 1.0), 1.5))
    exact = FAMILIES["mvnormal_diag"].member({"mu": np.array([1.2]), "sigma": np.array([np.sqrt(0.8)])})
    found = combine(from_model(model), [exact])
    evidence = -0.5 * (np.log(2 * np.pi * 5) + 1.5**2 / 5)
    assert found.divergence.value == pytest.approx(-evidence, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no members"),
        ([TARGETS["crossed"]], "not a single Normal of dimension 1"),
        ([SEPARATED], "not a single Normal"),
    ],
)
def test_wrong_members(given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        combine(SEPARATED, given)
