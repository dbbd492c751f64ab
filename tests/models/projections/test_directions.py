"""Exact optima against reference answers, closed forms and identities that every stationary point satisfies."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pymc as pm
import pytest
from hypothesis import given, settings

from models.divergences import cross_entropy, kl
from models.errors import InputError
from models.families import FAMILIES, normal_mixture, student_t
from models.projections import Projection, alpha_projections, forward_projection, minima, reverse_projections
from models.projections.objectives import reverse_objective
from models.quadrature import gaussian_nodes
from models.targets import TARGETS, Target, from_distribution, from_draws, from_model, mvnormal_mixture
from tests.reference import cases
from tests.strategies import mixtures

NORMAL, DIAGONAL, FULL = FAMILIES["normal"], FAMILIES["mvnormal_diag"], FAMILIES["mvnormal"]


# --- reverse: every stationary point ---------------------------------------------------------------------------------


@cache
def reverse(name: str) -> list[Projection]:
    """Stationary points of a reference case, searched once for all tests."""
    inputs = cases.case(name)["inputs"]
    return reverse_projections(cases.target(inputs["p"]), cases.family(inputs))


def expected_points(case: cases.Case) -> list[dict[str, Any]]:
    answer = case["answer"]
    if "stationary_points" in answer:
        return answer["stationary_points"]
    return [{"mean": [0, 0], "cov": np.diag(answer["variances"]), "kl": answer["kl"], "type": "min"}]


def numbers(point: dict[str, Any]) -> np.ndarray:
    if "m" in point:
        return np.array([point["m"], point["s"], point["kl"], *point["eigenvalues"]])
    return np.concatenate([point["mean"], np.ravel(point["cov"]), [point["kl"]]])


def numbers_found(found: Projection) -> np.ndarray:
    params, divergence = found.params, found.divergence.value
    if found.family is NORMAL:
        return np.array([params["mu"], params["sigma"], divergence, *found.hessian_eigenvalues])
    cov = params["cov"] if "cov" in params else np.diag(params["sigma"] ** 2)
    return np.concatenate([params["mu"], cov.ravel(), [divergence]])


def nearest(point: dict[str, Any], found: list[Projection]) -> Projection:
    return min(found, key=lambda f: float(np.abs(numbers_found(f) - numbers(point)).max()))


@cases.of_kind("reverse_stationary_points")
def test_reverse_finds_every_stationary_point_and_no_other(case: cases.Case) -> None:
    found, expected = reverse(case["id"]), expected_points(case)
    assert len(found) == len(expected)
    for point in expected:
        match = nearest(point, found)
        np.testing.assert_allclose(numbers_found(match), numbers(point), rtol=0, atol=case["abs_tolerance"])
        assert match.status.split()[-1] == {"min": "minimum"}.get(point["type"], point["type"])
        if "n_negative_hessian_eigs" in point:
            assert (match.hessian_eigenvalues < 0).sum() == point["n_negative_hessian_eigs"]


@cases.of_kind("reverse_stationary_points")
def test_reverse_has_a_consistent_count_ordered_and_stationary(case: cases.Case) -> None:
    found = reverse(case["id"])
    values = [f.divergence.value for f in found]
    assert {f.certificate for f in found} == {"consistent"}
    assert values == sorted(values)
    assert found[0].status == "global minimum"
    assert all(f.status == "local minimum" for f in minima(found) if f.divergence.value > values[0] + 1e-8)
    assert max(f.gradient_norm for f in found) < 1e-10


@cases.of_kind("reverse_stationary_points")
def test_reverse_error_bounds_the_true_error(case: cases.Case) -> None:
    # The reference answers themselves agree to 1e-11 in two dimensions.
    rounding = 1e-11 if len(np.ravel(reverse(case["id"])[0].params["mu"])) == 2 else 1e-13
    for point in expected_points(case):
        match = nearest(point, reverse(case["id"]))
        assert abs(match.divergence.value - point["kl"]) <= max(match.divergence.error, rounding)


def test_reverse_value_is_the_kl_from_the_member_to_the_target() -> None:
    found, target = reverse("rev_bim37_a3"), cases.target(cases.case("rev_bim37_a3")["inputs"]["p"])
    for f in found:
        estimate = kl(f.member, target)
        assert abs(estimate.value - f.divergence.value) <= estimate.error + f.divergence.error
        assert abs(kl(target, f.member).value - f.divergence.value) > 0.01


def test_mirror_minima_are_both_global() -> None:
    statuses = [f.status for f in minima(reverse("rev_bim_a3"))]
    assert statuses == ["global minimum", "global minimum", "local minimum"]


# Each example is a search of some 0.3 s, so there are few.
@settings(max_examples=6)
@given(p=mixtures())
def test_stationary_points_are_complete_and_curve_by_the_precision_in_the_mean(p: Target) -> None:
    found = reverse_projections(p, NORMAL)
    assert {f.certificate for f in found} == {"consistent"}
    assert len(minima(found)) - sum(f.status == "saddle" for f in found) == 1
    objective = reverse_objective(NORMAL, p, gaussian_nodes(1, size=4097))
    for f in found:
        _, gradient, hessian = objective.hessian(f.theta[None])
        assert np.abs(gradient).max() < 1e-8
        # Stein and Price: F_mm = 1/s^2, to the rounding of second derivatives over narrow components (1/0.3^2).
        assert hessian[0, 0, 0] * f.params["sigma"] ** 2 == pytest.approx(1, abs=1e-8)


@pytest.mark.exhaustive
def test_reverse_of_a_model_in_the_plane_starts_at_every_mode() -> None:
    """A mixture written as a PyMC model, whose initial point is none of its modes: the optima are those of the mixture."""
    weights, means = [0.3, 0.7], np.array([[-3.0, -2.0], [2.0, 3.0]])
    with pm.Model() as model:
        x = pm.Flat("x", shape=2)
        parts = [np.log(w) - np.log(2 * np.pi) - ((x - m) ** 2).sum() / 2 for w, m in zip(weights, means, strict=True)]
        pm.Potential("mixture", pm.math.logsumexp(pm.math.stack(parts)))
    family = FAMILIES["mvnormal_diag"]
    found = reverse_projections(from_model(model), family)
    expected = reverse_projections(mvnormal_mixture(weights, means, [np.eye(2)] * 2), family)
    assert [p.status for p in found] == [p.status for p in expected]
    assert [p.divergence.value for p in found] == pytest.approx([p.divergence.value for p in expected], abs=1e-6)
    assert len(minima(found)) >= 2


def test_reverse_of_a_posterior_is_minus_the_log_evidence_where_the_family_holds_it() -> None:
    with pm.Model() as model:
        x = pm.Normal("x", 0.0, 2.0)
        pm.Normal("y", x, 1.0, observed=3.0)
    (found,) = reverse_projections(from_model(model), NORMAL)
    # Conjugate: precision 1/4 + 1, and y is marginally N(0, 5).
    assert found.params["mu"] == pytest.approx(3 / 1.25, abs=1e-9)
    assert found.params["sigma"] == pytest.approx(1.25**-0.5, abs=1e-9)
    log_evidence = -0.5 * np.log(2 * np.pi * 5) - 9 / 10
    # 1e-8: PyTensor takes the log of the constant 2.0 in float32.
    assert found.divergence.value == pytest.approx(-log_evidence, abs=1e-8)


# --- forward ---------------------------------------------------------------------------------------------------------

NAMES = {"mu": "mu", "sd": "sigma", "sigma": "sigma", "nu": "nu", "mean": "mu", "cov": "cov"}


@cache
def forward(name: str) -> Projection:
    """Forward projection of a reference case."""
    inputs = cases.case(name)["inputs"]
    return forward_projection(cases.target(inputs["p"]), cases.family(inputs))


def expected_params(answer: dict[str, Any], family: str) -> dict[str, Any]:
    if family == "normal_mixture_2":
        w = answer["w1"]
        return {"w": [w, 1 - w]} | {k: [answer[f"{n}1"], answer[f"{n}2"]] for k, n in (("mu", "mu"), ("sigma", "sd"))}
    params = {ours: answer[theirs] for theirs, ours in NAMES.items() if theirs in answer}
    return params | ({"sigma": np.sqrt(answer["variances"])} if "variances" in answer else {})


@cases.of_kind("forward_projection")
def test_forward_is_the_reference_optimum(case: cases.Case) -> None:
    found, tolerance = forward(case["id"]), case["abs_tolerance"]
    points = case["answer"].get("stationary_points", [case["answer"]])
    lowest = min(p["kl"] for p in points)
    assert found.divergence.value == pytest.approx(lowest, rel=0, abs=tolerance)
    # Mirror images are equally good: any of the lowest will do.
    matches = [
        all(np.allclose(found.params[k], v, rtol=0, atol=tolerance) for k, v in expected.items())
        for p in points
        if p["kl"] < lowest + tolerance
        for expected in [expected_params(p, case["inputs"]["q_family"])]
    ]
    assert any(matches), found.params


@cases.of_kind("forward_projection")
def test_forward_is_a_minimum_with_a_cross_entropy(case: cases.Case) -> None:
    found = forward(case["id"])
    assert found.gradient_norm < 1e-10
    assert found.hessian_eigenvalues.min() > 0
    expected = case["answer"].get("cross_entropy")
    if expected is not None:
        assert found.cross_entropy.value == pytest.approx(expected, rel=0, abs=case["abs_tolerance"])


@pytest.mark.parametrize("name", ["unequal", "heavy_tailed", "claw"])
def test_forward_onto_a_normal_matches_the_moments(name: str) -> None:
    target = TARGETS[name]
    found = forward_projection(target, NORMAL)
    assert found.params["mu"] == pytest.approx(target.mean[0], abs=1e-9)
    assert found.params["sigma"] ** 2 == pytest.approx(target.cov[0, 0], rel=1e-9)


def test_forward_of_a_member_of_the_family_is_that_member() -> None:
    member = student_t().member({"nu": 3.5, "mu": -1.0, "sigma": 2.0})
    found = forward_projection(member, student_t())
    # 1e-6: the likelihood is flat in nu, and the optimum is resolved to the square root of the rule's rounding.
    assert [float(found.params[k]) for k in ("nu", "mu", "sigma")] == pytest.approx([3.5, -1, 2], abs=1e-6)
    assert abs(found.divergence.value) <= found.divergence.error


def test_forward_of_draws_is_the_maximum_likelihood_estimate() -> None:
    x = np.random.default_rng(6).gamma(2, size=80)
    found = forward_projection(from_draws(x), NORMAL)
    assert found.params["mu"] == pytest.approx(x.mean(), abs=1e-9)
    assert found.params["sigma"] == pytest.approx(x.std(), abs=1e-9)
    assert np.isnan(found.divergence.value)
    assert found.cross_entropy.value == pytest.approx(np.log(2 * np.pi * np.e * x.var()) / 2, abs=1e-12)


# --- alpha -----------------------------------------------------------------------------------------------------------


@cache
def alpha(name: str) -> list[Projection]:
    inputs = cases.case(name)["inputs"]
    return alpha_projections(cases.target(inputs["p"]), cases.family(inputs), inputs["alpha"])


@cases.of_kind("alpha_divergence", projected=True)
def test_alpha_finds_every_stationary_point_and_no_other(case: cases.Case) -> None:
    found, answer = alpha(case["id"]), case["answer"]
    if "variance" in answer:
        (only,) = found
        np.testing.assert_allclose(only.params["sigma"] ** 2, answer["variance"], rtol=0, atol=case["abs_tolerance"])
        assert only.divergence.value == pytest.approx(answer["D_alpha"], rel=0, abs=case["abs_tolerance"])
        return
    points = sorted(answer["stationary_points"], key=lambda point: (point["D_alpha"], point["m"]))
    assert len(found) == len(points)
    for point in points:
        expected = np.array([point["m"], point["s"], point["D_alpha"], *point["eigenvalues"]])
        match = min(found, key=lambda f: float(np.abs(numbers_found(f) - expected).max()))
        np.testing.assert_allclose(numbers_found(match), expected, rtol=0, atol=case["abs_tolerance"])
    assert {f.certificate for f in found} == {"consistent"}


def test_alpha_goes_from_reverse_to_forward() -> None:
    target = TARGETS["unequal"]
    backwards = reverse_projections(target, NORMAL)[0]
    forwards = forward_projection(target, NORMAL)
    near_reverse, near_forward = (alpha_projections(target, NORMAL, a)[0] for a in (1e-4, 1 - 1e-4))
    for name in ("mu", "sigma"):
        assert float(near_reverse.params[name]) == pytest.approx(float(backwards.params[name]), abs=2e-3)
        assert float(near_forward.params[name]) == pytest.approx(float(forwards.params[name]), abs=2e-3)


# --- other families --------------------------------------------------------------------------------------------------

FREE = {"normal": ("mu", "sigma"), "laplace": ("mu", "b"), "logistic": ("mu", "s"), "student_t": ("nu", "mu", "sigma"),
        "skew_normal": ("mu", "sigma", "alpha")}  # fmt: skip


@cache
def reverse_onto(family: str) -> list[Projection]:
    return reverse_projections(TARGETS["unequal"], FAMILIES[family])


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.exhaustive if f in ("skew_normal", "student_t") else ()) for f in FREE]
)
def test_reverse_points_of_every_family_are_stationary_for_an_independent_quadrature(family: str) -> None:
    for found in minima(reverse_onto(family)):
        assert found.divergence.value == pytest.approx(kl(found.member, TARGETS["unequal"]).value, abs=1e-10)
        for name in FREE[family]:
            # A step along one parameter costs to second order only: a tenth of the step, a hundredth of the cost.
            up, down, far = (
                kl(
                    FAMILIES[family].member({**found.params, name: found.params[name] * (1 + h)}), TARGETS["unequal"]
                ).value
                for h in (1e-3, -1e-3, 1e-2)
            )
            assert abs(up - down) < 1e-2 * max(far - found.divergence.value, 1e-7)
            assert min(up, down) > found.divergence.value - 1e-12


@pytest.mark.parametrize(
    "family", ["laplace", *(pytest.param(f, marks=pytest.mark.exhaustive) for f in ("logistic", "student_t"))]
)
def test_reverse_onto_other_families_has_a_consistent_count(family: str) -> None:
    assert {f.certificate for f in reverse_onto(family)} == {"consistent"}


@pytest.mark.exhaustive
def test_reverse_onto_skew_normal_has_an_open_count_and_holds_the_singular_normals() -> None:
    found = reverse_onto("skew_normal")
    assert {f.certificate for f in found} == {"open"}
    singular = {round(float(f.params["mu"]), 9) for f in found if f.params["alpha"] == 0}
    assert singular == {round(float(f.params["mu"]), 9) for f in reverse_onto("normal")}
    # Skewness helps here, so none of the Normal points is a minimum any more.
    assert all(f.status == "saddle" for f in found if f.params["alpha"] == 0)
    assert found[0].divergence.value < reverse_onto("normal")[0].divergence.value


def test_reverse_onto_student_t_reports_the_broad_minimum_as_a_limit() -> None:
    found = reverse_projections(TARGETS["bimodal"], FAMILIES["student_t"])
    normals = reverse_projections(TARGETS["bimodal"], NORMAL)
    limits = [f for f in found if f.limit]
    assert {f.limit for f in limits} == {"nu -> infinity"}
    assert all(np.isinf(f.params["nu"]) for f in limits)
    broad = next(f for f in limits if f.status == "local minimum")
    assert broad.divergence.value == pytest.approx(minima(normals)[-1].divergence.value, abs=1e-12)
    assert kl(broad.member, TARGETS["bimodal"]).value == pytest.approx(broad.divergence.value, abs=1e-12)
    # Heavier tails help the narrow ones.
    assert found[0].divergence.value < normals[0].divergence.value
    assert {f.certificate for f in found} == {"consistent"}


def test_forward_onto_student_t_reaches_the_normal_in_the_limit_on_light_tails() -> None:
    found = forward_projection(TARGETS["bimodal"], student_t())
    assert found.limit == "nu -> infinity"
    assert found.divergence.value == pytest.approx(
        forward_projection(TARGETS["bimodal"], NORMAL).divergence.value, abs=1e-12
    )


@pytest.mark.exhaustive
def test_reverse_of_a_mixture_within_the_family_is_that_mixture() -> None:
    best = reverse_projections(TARGETS["unequal"], normal_mixture(2))[0]
    assert best.divergence.value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(best.params["mu"], [-2, 2], atol=1e-7)
    np.testing.assert_allclose(best.params["w"], [0.3, 0.7], atol=1e-7)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("Laplace", {"mu": 0.3, "b": 1.0}, {"mu": 0.3, "b": 1.0}),
        ("Exponential", {"lam": 1.0}, {"mu": np.log(2), "b": np.log(2)}),  # median and mean distance from it
        ("Uniform", {"lower": 0.0, "upper": 1.0}, {"mu": 0.5, "b": 0.25}),
    ],
)
def test_forward_onto_laplace_is_the_median_and_the_mean_distance(
    name: str, params: dict[str, float], expected: dict[str, float]
) -> None:
    found = forward_projection(from_distribution(name, params), FAMILIES["laplace"])
    assert {k: float(v) for k, v in found.params.items()} == pytest.approx(expected, abs=1e-8)


def test_forward_of_draws_onto_laplace_is_a_median() -> None:
    x = np.random.default_rng(3).gamma(2, size=81)
    found = forward_projection(from_draws(x), FAMILIES["laplace"])
    assert float(found.params["mu"]) == np.median(x)
    assert float(found.params["b"]) == pytest.approx(np.abs(x - np.median(x)).mean(), rel=1e-12)


def test_reverse_onto_laplace_of_a_laplace_has_a_hessian_in_spite_of_two_kinks() -> None:
    (found,) = reverse_projections(from_distribution("Laplace", {"mu": 0.3, "b": 1}), FAMILIES["laplace"])
    # KL(Laplace(d, 1) || Laplace(0, 1)) = |d| + exp(-|d|) - 1 = d^2/2 + O(d^3)
    np.testing.assert_allclose(found.hessian_eigenvalues, [1, 1], atol=1e-3)


# --- which way round -------------------------------------------------------------------------------------------------


def test_mean_field_forward_keeps_variances_and_reverse_keeps_precisions() -> None:
    cov = np.array([[2.0, 1.2], [1.2, 1.0]])
    target = mvnormal_mixture([1], [[1.0, -1.0]], [cov])
    marginal, conditional = np.diag(cov), 1 / np.diag(np.linalg.inv(cov))
    forwards = forward_projection(target, DIAGONAL)
    (backwards,) = reverse_projections(target, DIAGONAL)
    for found, variances in ((forwards, marginal), (backwards, conditional)):
        np.testing.assert_allclose(found.params["mu"], [1, -1], atol=1e-9)
        np.testing.assert_allclose(found.params["sigma"] ** 2, variances, rtol=1e-9)
    # The two differ by a factor of more than three, so a swap cannot pass.
    assert (marginal / conditional).min() > 3


@cache
def both_projections() -> tuple[Projection, Projection]:
    target = TARGETS["unequal"]
    return forward_projection(target, NORMAL), reverse_projections(target, NORMAL)[0]


@pytest.mark.parametrize("step", [{"mu": 0.05}, {"sigma": 0.05}])
def test_each_projection_minimises_its_own_direction_only(step: dict[str, float]) -> None:
    target = TARGETS["unequal"]
    best_forward, best_reverse = both_projections()

    def nearby(found: Projection, sign: int) -> Target:
        return NORMAL.member({k: v + sign * step.get(k, 0) for k, v in found.params.items()})

    for sign in (-1, 1):
        assert kl(target, nearby(best_forward, sign)).value > best_forward.divergence.value
        assert kl(nearby(best_reverse, sign), target).value > best_reverse.divergence.value
    # Stationary in one direction, not in the other.
    assert min(kl(nearby(best_forward, s), target).value for s in (-1, 1)) < kl(best_forward.member, target).value
    assert min(kl(target, nearby(best_reverse, s)).value for s in (-1, 1)) < kl(target, best_reverse.member).value


def test_forward_covers_both_modes_and_reverse_settles_on_one() -> None:
    target = TARGETS["bimodal"]
    assert forward_projection(target, NORMAL).params["sigma"] == pytest.approx(np.sqrt(10))
    assert reverse_projections(target, NORMAL)[0].params["sigma"] < 1.1


# --- refusals --------------------------------------------------------------------------------------------------------


def test_reverse_refuses_draws() -> None:
    with pytest.raises(InputError, match=r"'draws' is known by draws only, and reverse KL needs .* forward direction"):
        reverse_projections(from_draws([0.0, 1.0, 2.0]), NORMAL)


def test_reverse_onto_a_target_that_ends_is_infinite_and_refused() -> None:
    target = from_distribution("Gamma", {"alpha": 3, "beta": 1}, label="gamma")
    with pytest.raises(InputError, match=r"'gamma' has a bounded support.*every reverse KL is infinite"):
        reverse_projections(target, NORMAL)


@pytest.mark.parametrize("alpha", [-0.1, 0.0, 1.0, 2.0])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=rf"alpha is {alpha:g}; it must be strictly between 0 and 1"):
        alpha_projections(TARGETS["bimodal"], NORMAL, alpha)


def test_forward_onto_laplace_refuses_a_target_without_a_mean() -> None:
    target = from_distribution("Cauchy", {"alpha": 0, "beta": 1}, label="heavy")
    with pytest.raises(InputError, match=r"'heavy' has no mean.*student_t"):
        forward_projection(target, FAMILIES["laplace"])


@pytest.mark.parametrize("project", [forward_projection, reverse_projections])
def test_a_family_of_another_dimension_is_refused(project: Any) -> None:
    with pytest.raises(InputError, match=r"'normal' has dimension 1 but target 'crossed' has dimension 2"):
        project(TARGETS["crossed"], NORMAL)


@pytest.mark.parametrize("nu", [1.0, 2.0])
def test_forward_onto_a_normal_refuses_infinite_variance(nu: float) -> None:
    target = from_distribution("StudentT", {"nu": nu, "mu": 0, "sigma": 1}, label="heavy")
    with pytest.raises(InputError, match=r"'heavy' has infinite variance.*student_t"):
        forward_projection(target, NORMAL)


def test_forward_reports_mixture_components_in_the_order_of_their_means() -> None:
    found = forward_projection(TARGETS["unequal"], normal_mixture(2))
    np.testing.assert_allclose(found.params["mu"], [-2, 2], atol=1e-8)
    np.testing.assert_allclose(found.params["w"], [0.3, 0.7], atol=1e-8)
    assert found.cross_entropy.value == pytest.approx(cross_entropy(TARGETS["unequal"], found.member).value)


@pytest.mark.parametrize("a", [2 / 3, 0.7])
def test_alpha_finds_no_optimum_on_the_plateau_where_nothing_overlaps(a: float) -> None:
    target = cases.target(cases.case("alpha_proj_bim37_a3_0.9")["inputs"]["p"])
    (only,) = alpha_projections(target, NORMAL, a)
    assert (only.status, only.certificate) == ("global minimum", "consistent")


@pytest.mark.parametrize("family", [DIAGONAL, FULL], ids=lambda f: f.name)
def test_one_dimension_is_a_case_of_many(family: Any) -> None:
    found, scalar = (reverse_projections(TARGETS["unequal"], f) for f in (family, NORMAL))
    assert [f.status for f in found] == [s.status for s in scalar]
    for f, s in zip(found, scalar, strict=True):
        variance = f.params["cov"][0, 0] if "cov" in f.params else f.params["sigma"][0] ** 2
        assert (f.params["mu"][0], variance) == pytest.approx((float(s.params["mu"]), float(s.params["sigma"]) ** 2))
        assert kl(f.member, TARGETS["unequal"]).value == pytest.approx(f.divergence.value, abs=1e-9)
