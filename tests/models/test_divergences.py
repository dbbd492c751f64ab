"""Divergences against reference answers, closed forms, other integrators and Monte Carlo; and their properties."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from models.divergences import alpha_divergence, cross_entropy, entropy, kl
from models.errors import InputError
from models.quadrature import Estimate
from models.targets import TARGETS, Target, from_distribution, from_draws, mvnormal_mixture, normal_mixture
from tests.reference import cases
from tests.strategies import SLOPES, affine, mixtures, normals

#: Rounding of sums of a few thousand terms of order 1, in this code and in the reference.
ROUNDING = 1e-13


def normal(mu: float, sigma: float) -> Target:
    return normal_mixture([1], [mu], [sigma])


def moment_match(p: Target) -> Target:
    return normal(float(p.mean[0]), float(np.sqrt(p.cov[0, 0])))


def scipy_mixture(p: Target) -> Callable[[Any], Any]:
    """Density of a 1-D Normal mixture without PyMC."""
    w, mu, sd = (np.array(p.spec[k]) for k in ("weights", "means", "sds"))
    return lambda x: stats.norm.pdf(np.asarray(x)[..., None], mu, sd) @ w


def monte_carlo(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


# --- reference answers -----------------------------------------------------------------------------------------------


@cache
def of_case(name: str) -> tuple[Estimate, float]:
    case = cases.case(name)
    inputs, answer = case["inputs"], case["answer"]
    p = cases.target(inputs["p"])
    match case["kind"]:
        case "entropy":
            return entropy(p), answer["entropy"]
        case "alpha_divergence":
            return alpha_divergence(p, cases.target(inputs["q"]), inputs["alpha"]), answer["D_alpha"]
        case kind:
            function = {"kl": kl, "cross_entropy": cross_entropy}[kind]
            return function(p, cases.target(inputs["q"])), float(answer[kind])


@cases.of_kind("entropy", "kl", "cross_entropy", "alpha_divergence", projected=False)
def test_value_is_the_reference_answer(case: cases.Case) -> None:
    estimate, truth = of_case(case["id"])
    assert estimate.value == pytest.approx(truth, rel=0, abs=case["abs_tolerance"])


@cases.of_kind("entropy", "kl", "cross_entropy", "alpha_divergence", projected=False)
def test_stated_error_bounds_the_true_error(case: cases.Case) -> None:
    estimate, truth = of_case(case["id"])
    if np.isfinite(truth):
        # Where the two methods of the reference differ by more, the reference itself is the limit.
        assert abs(estimate.value - truth) <= max(estimate.error, ROUNDING, 10 * case["max_disagreement"])
    else:
        assert estimate.value == truth


# --- closed forms, other integrators, Monte Carlo --------------------------------------------------------------------


def normal_kl(m1: float, s1: float, m2: float, s2: float) -> float:
    return np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def mvnormal_kl(m1: Any, S1: Any, m2: Any, S2: Any) -> float:
    m1, S1, m2, S2 = map(np.asarray, (m1, S1, m2, S2))
    gap, inverse = m2 - m1, np.linalg.inv(S2)
    logdet = np.linalg.slogdet(S2)[1] - np.linalg.slogdet(S1)[1]
    return float((np.trace(inverse @ S1) + gap @ inverse @ gap - len(gap) + logdet) / 2)


@pytest.mark.parametrize("params", [(0, 1, 0, 1), (1, 2, 0, 1), (0, 1, 1, 2), (-5, 0.1, 3, 4), (0, 3, 0.2, 0.3)])
def test_kl_of_normals_is_the_closed_form(params: tuple[float, ...]) -> None:
    m1, s1, m2, s2 = params
    estimate, truth = kl(normal(m1, s1), normal(m2, s2)), normal_kl(*params)
    assert abs(estimate.value - truth) <= max(estimate.error, ROUNDING)


def test_kl_of_normals_is_the_mean_log_ratio_of_draws() -> None:
    p, q = normal(1, 2), normal(0, 1.5)
    x = p.rvs(4_000, seed=1)[:, 0]
    mean, se = monte_carlo(stats.norm.logpdf(x, 1, 2) - stats.norm.logpdf(x, 0, 1.5))
    # Five standard errors; the other direction lies further away than that.
    assert abs(kl(p, q).value - mean) < 5 * se
    assert abs(kl(q, p).value - mean) > 5 * se


@pytest.mark.parametrize("swap", [False, True])
def test_kl_of_mixtures_agrees_with_another_integrator_and_with_draws(swap: bool) -> None:
    p, q = TARGETS["unequal"], normal_mixture([0.6, 0.4], [-1, 2.5], [1, 1.5])
    p, q = (q, p) if swap else (p, q)
    f, g = scipy_mixture(p), scipy_mixture(q)

    def term(x: float) -> float:
        return float(f(x) * np.log(f(x) / g(x))) if f(x) > 0 and g(x) > 0 else 0.0

    estimate = kl(p, q)
    adaptive, error = integrate.quad(term, -15, 15, points=[-2, -1, 2, 2.5], limit=200, epsabs=1e-12)
    assert abs(estimate.value - adaptive) <= error + estimate.error
    x = p.rvs(4_000, seed=2)[:, 0]
    mean, se = monte_carlo(np.log(f(x) / g(x)))
    assert abs(estimate.value - mean) < 5 * se


COVS_2D = [[2.0, 0.6], [0.6, 0.5]], [[1.0, -0.3], [-0.3, 1.5]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_kl_of_2d_normals_is_the_closed_form(order: tuple[int, int]) -> None:
    means = [0.0, 0.0], [1.0, -0.5]
    i, j = order
    p, q = (mvnormal_mixture([1], [means[k]], [COVS_2D[k]]) for k in order)
    # 1e-11: the rule ends at 7.5 standard deviations, which leaves out 4e-12 of a quadratic.
    assert kl(p, q).value == pytest.approx(mvnormal_kl(means[i], COVS_2D[i], means[j], COVS_2D[j]), abs=1e-11)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_kl_of_4d_normals_is_the_closed_form_within_its_error(order: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(2, 4, 4))
    means, covs = rng.normal(size=(2, 4)), roots @ roots.transpose(0, 2, 1) / 4 + np.eye(4) / 2
    i, j = order
    p, q = (mvnormal_mixture([1], [means[k]], [covs[k]]) for k in order)
    estimate, truth = kl(p, q), mvnormal_kl(means[i], covs[i], means[j], covs[j])
    assert estimate.kind == "quasi-Monte Carlo"
    # Five standard errors from 16 randomisations; and the error is small enough to tell the directions apart.
    assert abs(estimate.value - truth) < 5 * estimate.error
    assert estimate.error < 1e-3 * truth


def test_entropy_of_a_2d_mixture_is_the_mean_of_draws() -> None:
    p = TARGETS["crossed"]
    means, covs = p.spec["means"], p.spec["covs"]
    x = p.rvs(4_000, seed=4)
    density = sum(0.5 * stats.multivariate_normal(m, c).pdf(x) for m, c in zip(means, covs, strict=True))
    mean, se = monte_carlo(-np.log(density))
    assert abs(entropy(p).value - mean) < 5 * se


def test_entropy_of_a_normal_includes_the_constants() -> None:
    assert entropy(normal(3, 2)).value == pytest.approx(np.log(2 * np.pi * np.e * 4) / 2, abs=ROUNDING)


def test_cross_entropy_of_draws_is_their_mean_negative_log_likelihood() -> None:
    x = np.random.default_rng(5).normal(1, 2, size=50)
    estimate = cross_entropy(from_draws(x), normal(0, 1.5))
    terms = -stats.norm.logpdf(x, 0, 1.5)
    assert estimate.kind == "draws"
    assert estimate.value == pytest.approx(terms.mean(), rel=1e-13)
    assert estimate.error == pytest.approx(terms.std(ddof=1) / np.sqrt(50), rel=1e-12)


# --- bounded and half-bounded support, and infinite divergences ------------------------------------------------------


def gamma_kl(a1: float, b1: float, a2: float, b2: float) -> float:
    shape = (a1 - a2) * special.digamma(a1) - special.gammaln(a1) + special.gammaln(a2)
    return float(shape + a2 * np.log(b1 / b2) + a1 * (b2 - b1) / b1)


def beta_kl(a1: float, b1: float, a2: float, b2: float) -> float:
    ratio = special.betaln(a2, b2) - special.betaln(a1, b1)
    mean_logs = (a1 - a2) * special.digamma(a1) + (b1 - b2) * special.digamma(b1)
    return float(ratio + mean_logs + (a2 - a1 + b2 - b1) * special.digamma(a1 + b1))


def exponential_kl(l1: float, l2: float) -> float:
    return float(np.log(l1 / l2) + l2 / l1 - 1)


BOUNDED = {
    "Gamma": (("alpha", "beta"), gamma_kl, (3.0, 2.0), (1.5, 0.7)),
    "Beta": (("alpha", "beta"), beta_kl, (2.0, 5.0), (3.0, 1.5)),
    "Exponential": (("lam",), exponential_kl, (2.0,), (0.5,)),
}


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("name", ["Gamma", "Beta", "Exponential"])
def test_kl_on_bounded_support_is_the_closed_form(name: str, swap: bool) -> None:
    keys, closed_form, first, second = BOUNDED[name]
    first, second = (second, first) if swap else (first, second)
    p, q = (from_distribution(name, dict(zip(keys, values, strict=True))) for values in (first, second))
    estimate = kl(p, q)
    assert abs(estimate.value - closed_form(*first, *second)) <= max(estimate.error, ROUNDING)


@pytest.mark.parametrize(
    ("name", "params", "reference"),
    [
        pytest.param("Gamma", {"alpha": 3.0, "beta": 2.0}, stats.gamma(3, scale=0.5)),
        ("Beta", {"alpha": 2.0, "beta": 5.0}, stats.beta(2, 5)),
        pytest.param("Beta", {"alpha": 0.5, "beta": 0.5}, stats.beta(0.5, 0.5)),
        ("Exponential", {"lam": 2.0}, stats.expon(scale=0.5)),
        ("Uniform", {"lower": -1.0, "upper": 2.0}, stats.uniform(-1, 3)),
    ],
)
def test_entropy_on_bounded_support_is_scipys(name: str, params: dict[str, float], reference: Any) -> None:
    estimate = entropy(from_distribution(name, params))
    assert abs(estimate.value - reference.entropy()) <= max(estimate.error, ROUNDING)


def test_kl_is_infinite_where_the_second_density_misses_part_of_the_first() -> None:
    uniform = from_distribution("Uniform", {"lower": -1, "upper": 2})
    assert kl(normal(0, 1), uniform).value == np.inf
    assert cross_entropy(normal(0, 1), uniform).value == np.inf
    # The other way it is finite: the entropy of a Uniform is the log of its width, its second moment about 0 is 1.
    reverse = kl(uniform, normal(0, 1))
    assert abs(reverse.value - (-np.log(3) + np.log(2 * np.pi) / 2 + 0.5)) <= max(reverse.error, ROUNDING)


@pytest.mark.parametrize("nu", [1.0, 1.5])
def test_kl_from_a_law_without_variance_to_a_normal_is_infinite(nu: float) -> None:
    heavy = from_distribution("StudentT", {"nu": nu, "mu": 0, "sigma": 1})
    assert kl(heavy, normal(0, 1)).value == np.inf
    assert kl(normal(0, 1), heavy).value < 1


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e-100, 1e100, 1e200])
@pytest.mark.parametrize(
    ("name", "params", "scale", "right"),
    [
        ("Normal", {"mu": 0}, "sigma", np.log(2) + 1 / 8 - 1 / 2),
        ("Laplace", {"mu": 0}, "b", np.log(2) + 1 / 2 - 1),
        ("Cauchy", {"alpha": 0}, "beta", np.log(9 / 8)),
    ],
)
def test_kl_does_not_depend_on_the_unit(
    name: str, params: dict[str, float], scale: str, right: float, unit: float
) -> None:
    p, q = (from_distribution(name, params | {scale: factor * unit}) for factor in (1, 2))
    found = kl(p, q)
    assert abs(found.value - right) <= found.error < 1e-10


@pytest.mark.parametrize("far", [1e8, 1e13, 1e15])
@pytest.mark.parametrize(
    ("name", "location", "rest"),
    [("Normal", "mu", {"sigma": 1}), ("Laplace", "mu", {"b": 1}), ("StudentT", "mu", {"nu": 4, "sigma": 1})],
)
def test_the_error_holds_where_few_floats_lie_across_a_density(
    name: str, location: str, rest: dict[str, float], far: float
) -> None:
    near, away = (kl(*(from_distribution(name, rest | {location: at + d}) for d in (0, 2))) for at in (0, far))
    assert abs(near.value - away.value) <= away.error


def test_kl_between_disjoint_supports_is_infinite() -> None:
    p, q = (from_distribution("Uniform", {"lower": a, "upper": a + 1}) for a in (0, 5))
    assert kl(p, q).value == np.inf


# --- which way round -------------------------------------------------------------------------------------------------

P = normal_mixture([0.3, 0.7], [-2, 2], [0.5, 1.0])
Q = normal(0.5, 3)
EPS = 1e-4


def closed_form(kl: Any, alpha: Any) -> float:
    return kl(normal(1, 2), normal(0, 1)).value - normal_kl(1, 2, 0, 1)


def cross_entropy_less_entropy(kl: Any, alpha: Any) -> float:
    return kl(P, Q).value - (cross_entropy(P, Q).value - entropy(P).value)


def pythagoras(kl: Any, alpha: Any) -> float:
    best = moment_match(P)
    return kl(P, Q).value - kl(P, best).value - kl(best, Q).value


# Near its limits alpha-divergence is linear in alpha up to EPS^2 times a curvature below 1000: extrapolate linearly.
def alpha_near_1_is_forward(kl: Any, alpha: Any) -> float:
    return 2 * alpha(P, Q, 1 - EPS).value - alpha(P, Q, 1 - 2 * EPS).value - kl(P, Q).value


def alpha_near_0_is_reverse(kl: Any, alpha: Any) -> float:
    return 2 * alpha(P, Q, EPS).value - alpha(P, Q, 2 * EPS).value - kl(Q, P).value


RELATIONS = [
    (closed_form, 1e-12),
    (cross_entropy_less_entropy, 1e-12),
    (pythagoras, 1e-12),
    (alpha_near_1_is_forward, 1e3 * EPS**2),
    (alpha_near_0_is_reverse, 1e3 * EPS**2),
]


@pytest.mark.parametrize(("relation", "tolerance"), RELATIONS, ids=lambda v: getattr(v, "__name__", ""))
def test_relation_holds_and_fails_when_the_arguments_of_kl_are_swapped(relation: Any, tolerance: float) -> None:
    assert abs(relation(kl, alpha_divergence)) < tolerance
    assert abs(relation(lambda p, q: kl(q, p), alpha_divergence)) > 0.01


@pytest.mark.parametrize("relation", [alpha_near_1_is_forward, alpha_near_0_is_reverse])
def test_relation_fails_when_the_arguments_of_alpha_divergence_are_swapped(relation: Any) -> None:
    assert abs(relation(kl, lambda p, q, alpha: alpha_divergence(q, p, alpha))) > 0.01


def test_alpha_divergence_of_one_half_is_symmetric_and_any_other_is_mirrored() -> None:
    assert alpha_divergence(P, Q, 0.5).value == pytest.approx(alpha_divergence(Q, P, 0.5).value, abs=ROUNDING)
    assert alpha_divergence(P, Q, 0.2).value == pytest.approx(alpha_divergence(Q, P, 0.8).value, abs=ROUNDING)
    assert abs(alpha_divergence(P, Q, 0.2).value - alpha_divergence(Q, P, 0.2).value) > 0.01


# --- properties ------------------------------------------------------------------------------------------------------


def close(a: Estimate, b: float, *others: Estimate) -> bool:
    # The errors bound the quadrature; 1e-12 relative is for the rounding of the parameters themselves.
    return abs(a.value - b) <= a.error + sum(o.error for o in others) + 1e-12 * max(1, abs(b))


@given(p=mixtures(), q=mixtures())
def test_kl_is_not_negative(p: Target, q: Target) -> None:
    estimate = kl(p, q)
    assert estimate.value >= -estimate.error


@given(p=mixtures(), shift=st.floats(0.5, 3))
def test_kl_is_zero_to_itself_and_positive_to_a_shifted_copy(p: Target, shift: float) -> None:
    same = kl(p, p)
    assert abs(same.value) <= same.error
    # Fisher's information on a shift is at least 1/variance, and the variance at most 45: shift^2/90 to leading order.
    assert kl(p, affine(p, 1, shift)).value > 1e-3


@given(p=mixtures(), q=mixtures(), a=SLOPES, b=st.floats(-5, 5))
def test_kl_does_not_change_under_an_affine_map(p: Target, q: Target, a: float, b: float) -> None:
    before, after = kl(p, q), kl(affine(p, a, b), affine(q, a, b))
    assert close(after, before.value, before)


@given(p=mixtures(), q=mixtures(), a=SLOPES, b=st.floats(-5, 5))
def test_cross_entropy_grows_by_the_log_of_the_slope(p: Target, q: Target, a: float, b: float) -> None:
    before, after = cross_entropy(p, q), cross_entropy(affine(p, a, b), affine(q, a, b))
    assert close(after, before.value + np.log(abs(a)), before)


@given(p=mixtures(), q=normals())
def test_kl_to_a_normal_is_a_right_triangle_at_the_moment_match(p: Target, q: Target) -> None:
    best = moment_match(p)
    whole, leg, base = kl(p, q), kl(p, best), kl(best, q)
    assert close(whole, leg.value + base.value, leg, base)


@given(p=mixtures(), q=mixtures())
def test_kl_is_cross_entropy_less_entropy(p: Target, q: Target) -> None:
    whole, first, second = kl(p, q), cross_entropy(p, q), entropy(p)
    assert close(whole, first.value - second.value, first, second)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [entropy, lambda p: kl(p, Q), lambda p: cross_entropy(Q, p)])
def test_draws_are_refused_where_a_density_is_needed(call: Any) -> None:
    with pytest.raises(InputError, match=r"'draws' is known by draws only.*fit a density"):
        call(from_draws([0.0, 1.0, 2.0]))


@pytest.mark.parametrize("function", [kl, cross_entropy, lambda p, q: alpha_divergence(p, q, 0.5)])
def test_unequal_dimensions_are_refused(function: Any) -> None:
    with pytest.raises(InputError, match=r"has dimension 2 .* has dimension 1; make them equal"):
        function(TARGETS["crossed"], Q)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, 2.0, np.nan])
def test_alpha_outside_the_open_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=rf"alpha is {alpha}; it must be strictly between 0 and 1"):
        alpha_divergence(P, Q, alpha)


@pytest.mark.parametrize(("a", "b", "expected"), [(2, 2, 2 - np.log(6)), (1, 2, 1 - np.log(2)), (2, 1, 1 - np.log(2))])
def test_densities_that_vanish_at_the_end_of_the_support_are_at_finite_kl(a: float, b: float, expected: float) -> None:
    uniform = from_distribution("Uniform", {"lower": 0, "upper": 1})
    assert kl(uniform, from_distribution("Beta", {"alpha": a, "beta": b})).value == pytest.approx(expected, abs=1e-9)
