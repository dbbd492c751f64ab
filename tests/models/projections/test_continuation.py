"""Folds, exchange points, pitchforks and the cusp against reference answers; branches against atlases at one value."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from models.errors import ConvergenceError
from models.families import FAMILIES
from models.projections import alpha_projections, reverse_projections
from models.projections.continuation import (
    Branch,
    branches,
    curve,
    follow,
    locate_cusp,
    locate_exchange,
    locate_fold,
)
from models.projections.exact import Exact, exact_objective
from models.targets import TARGETS, Target, normal_mixture
from tests.reference import cases

NORMAL = FAMILIES["normal"]


def target(a: float, w: float = 0.5) -> Target:
    return normal_mixture([w, 1 - w], [-a, a], [1, 1])


def reverse(a: float, w: float = 0.5) -> Exact:
    return exact_objective(NORMAL, target(a, w), 0.0).at(1)


def theta(m: float, s: float) -> np.ndarray:
    return np.array([m, np.log(s)])


# Starts are a tenth away from the answers, so that the solver has something to do.
@pytest.mark.parametrize(("name", "w"), [("bif_saddle_node_w0.5", 0.5), ("bif_fold_w0.3_heavy", 0.3)])
def test_fold_is_the_reference_answer(name: str, w: float) -> None:
    expected, tolerance = cases.case(name)["answer"], cases.case(name)["abs_tolerance"]
    found = locate_fold(reverse, theta(expected["m"] + 0.1, expected["s"] * 1.1), expected["a"] + 0.1, w)
    assert found.residual < 1e-12
    np.testing.assert_allclose(found.parameters, [expected["a"], w], rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.theta, theta(expected["m"], expected["s"]), rtol=0, atol=tolerance)
    assert found.divergence == pytest.approx(expected["kl"], rel=0, abs=tolerance)


def test_exchange_point_is_the_reference_answer() -> None:
    case = cases.case("bif_maxwell_w0.5")
    expected, tolerance = case["answer"], case["abs_tolerance"]
    found = locate_exchange(reverse, theta(0, 2.7), theta(2.9, 1.0), 3.0)
    assert found.parameters[0] == pytest.approx(expected["a"], rel=0, abs=tolerance)
    assert found.divergence == pytest.approx(expected["kl"], rel=0, abs=tolerance)
    for point, name in ((found.theta, "broad"), (found.partner, "mode")):
        np.testing.assert_allclose(point, theta(**expected[name]), rtol=0, atol=tolerance)


def test_fold_in_alpha_is_the_reference_answer() -> None:
    case = cases.case("bif_alpha_sn_a3")
    expected, tolerance = case["answer"], case["abs_tolerance"]
    found = locate_fold(lambda alpha: exact_objective(NORMAL, TARGETS["bimodal"], alpha).at(1), theta(2.9, 1.15), 0.45)
    assert found.parameters[0] == pytest.approx(expected["alpha"], rel=0, abs=tolerance)
    np.testing.assert_allclose(found.theta, theta(expected["m"], expected["s"]), rtol=0, atol=tolerance)
    assert found.divergence == pytest.approx(expected["D_alpha"], rel=0, abs=tolerance)


def test_cusp_is_where_field_notes_say() -> None:
    # To six digits, from the study's notes, where it was found by two methods that share no code with this one.
    found = locate_cusp(reverse, theta(1.3, 1.6), 2.05, 0.27)
    np.testing.assert_allclose(found.parameters, [2.001763, 0.257096], rtol=0, atol=1e-6)
    assert found.residual < 1e-12


@pytest.mark.exhaustive
def test_fold_curves_meet_at_the_cusp() -> None:
    heavy = locate_fold(reverse, theta(1.75, 1.37), 2.12, 0.3)
    light = locate_fold(reverse, theta(1.15, 2.0), 2.36, 0.3)
    gaps = []
    for w in (0.29, 0.27, 0.26):
        one, two = (curve(reverse, fold, np.arange(0.295, w - 1e-9, -0.005)[:20])[-1] for fold in (heavy, light))
        gaps.append(abs(one.parameters[0] - two.parameters[0]))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02


def test_modality_threshold_is_a_fold_of_the_log_density() -> None:
    # The same solver on another function: where -log p gains a second minimum.
    case = cases.case("bif_modality_w0.3")

    class NegativeLogDensity:
        def __init__(self, a: float) -> None:
            self.target = target(a, 0.3)

        def gradient(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, slope, _ = self.target.jet(thetas)
            return -value, -slope[:, None]

        def hessian(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            _, _, curvature = self.target.jet(thetas)
            return *self.gradient(thetas), -curvature[:, None, None]

    found = locate_fold(NegativeLogDensity, np.array([-0.8]), 1.3)
    assert found.parameters[0] == pytest.approx(case["answer"]["a"], rel=0, abs=case["abs_tolerance"])
    assert found.theta[0] == pytest.approx(case["answer"]["x"], rel=0, abs=case["abs_tolerance"])


# --- branches --------------------------------------------------------------------------------------------------------


@cache
def sweep() -> list[Branch]:
    seeds = [(3.0, p.theta) for p in reverse_projections(target(3.0), NORMAL)]
    return branches(reverse, seeds, (1.5, 4.0), unit=np.array([3.0, 1.0]), largest=0.15)


@pytest.mark.exhaustive
def test_branches_join_minima_and_saddles_through_their_folds() -> None:
    assert len(sweep()) == 3
    folded = [b for b in sweep() if b.folds]
    assert len(folded) == 2
    for branch in folded:
        assert set(branch.negative) == {0, 1}
        assert branch.values.min() >= branch.folds[0].parameters[0] - 1e-9
    (broad,) = (b for b in sweep() if not b.folds)
    assert set(broad.negative) == {0}
    assert (broad.values.min(), broad.values.max()) == (1.5, 4.0)


@pytest.mark.parametrize("a", [2.0, 2.6, 3.6])
def test_branches_hold_as_many_points_as_the_atlas(a: float) -> None:
    crossings = sum(int(((b.values[:-1] - a) * (b.values[1:] - a) < 0).sum()) for b in sweep())
    assert crossings == len(reverse_projections(target(a), NORMAL))


def test_every_point_of_a_branch_is_stationary_for_an_independent_quadrature() -> None:
    z = np.linspace(-8.5, 8.5, 4001)
    weights = norm.pdf(z) / norm.pdf(z).sum()

    def divergence(m: float, log_s: float, a: float) -> float:
        x = m + np.exp(log_s) * z
        log_q = norm.logpdf(z) - log_s
        log_p = np.logaddexp(norm.logpdf(x, -a), norm.logpdf(x, a)) - np.log(2)
        return float(weights @ (log_q - log_p))

    h = 1e-5
    for branch in sweep():
        for i in range(0, len(branch.values), 7):
            m, log_s, a = *branch.thetas[i], branch.values[i]
            slopes = [
                divergence(m + h, log_s, a) - divergence(m - h, log_s, a),
                divergence(m, log_s + h, a) - divergence(m, log_s - h, a),
            ]
            assert np.abs(slopes).max() / (2 * h) < 1e-7
            assert branch.divergences[i] == pytest.approx(divergence(m, log_s, a), abs=1e-9)


def test_centred_branch_is_the_known_one() -> None:
    # At m = 0 the condition F_s = 0 reads s^2 = 1 + u^2 E sech^2(u z) with u = a s (Stein's identity).
    z = np.linspace(-9, 9, 6001)
    weights = norm.pdf(z) / norm.pdf(z).sum()
    (broad,) = (b for b in sweep() if not b.folds)
    for i in (0, len(broad.values) // 2, -1):
        a = broad.values[i]

        def condition(s: float, a: float = a) -> float:
            return s**2 - 1 - (a * s) ** 2 * float(weights @ np.cosh(a * s * z) ** -2.0)

        assert np.exp(broad.thetas[i, 1]) == pytest.approx(brentq(condition, 1.0, 8.0), abs=1e-8)


def test_a_start_that_is_not_stationary_is_refused() -> None:
    with pytest.raises(ConvergenceError, match=r"no stationary point near .* at parameter 3"):
        follow(lambda _: _Slope(), np.array([0.3]), 3.0, (1.0, 4.0))


class _Slope:
    """A function without stationary points."""

    def gradient(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return thetas[:, 0], np.ones_like(thetas)

    def hessian(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return thetas[:, 0], np.ones_like(thetas), np.full((len(thetas), 1, 1), 1e-3)


def test_following_begins_at_a_bound_as_well_as_inside() -> None:
    start = reverse_projections(target(1.5), NORMAL)[0].theta
    branch = follow(reverse, start, 1.5, (1.5, 1.8))
    assert (branch.values[0], branch.values[-1]) == (1.5, 1.8)
    assert branch.folds == []


def test_folds_of_a_branch_are_its_own() -> None:
    # The middle mode of three: far away, where the divergence is flat, other folds lie in wait.
    three = TARGETS["trimodal"]
    seeds = [p for p in alpha_projections(three, NORMAL, 0.1) if abs(p.params["mu"]) < 0.1 and p.params["sigma"] < 1.5]
    branch = follow(
        lambda alpha: exact_objective(NORMAL, three, alpha).at(1),
        seeds[0].theta,
        0.1,
        (0.01, 0.99),
        unit=np.array([5.0, 1]),
    )
    (fold,) = branch.folds
    assert abs(fold.theta[0]) < 1e-9
    assert 0.25 < fold.parameters[0] < 0.35


def test_exchange_survives_coordinates_that_are_zero_but_for_rounding() -> None:
    found = locate_exchange(reverse, np.array([-1e-16, np.log(2.7)]), theta(2.9, 1.0), 3.0)
    assert found.parameters[0] == pytest.approx(cases.case("bif_maxwell_w0.5")["answer"]["a"], abs=1e-8)
