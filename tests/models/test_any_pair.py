"""Divergences of any pair of univariate PyMC distributions: the truth lies within the stated error, or nothing small is stated."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from models.divergences import alpha_divergence, cross_entropy, entropy, kl
from models.errors import InputError
from models.targets import Target, from_distribution, from_spec

digamma, gammaln, betaln = special.digamma, special.gammaln, special.betaln
#: Rounding of the formulas that the results are compared with.
ROUNDING = 1e-13

CASES = json.loads((Path(__file__).parents[1] / "reference" / "divergences.json").read_text())["cases"]


def law(name: str, **params: Any) -> Callable[[], Target]:
    """A target yet to be made: two hundred of them take seconds, in every process that collects these tests."""
    return partial(from_distribution, name, params)


@pytest.fixture
def p(request: pytest.FixtureRequest) -> Target:
    return request.param()


@pytest.fixture
def q(request: pytest.FixtureRequest) -> Target:
    return request.param()


def name_of(case: dict[str, Any]) -> str:
    return " to ".join(f"{d['distribution']}{tuple(d['params'].values())}" for d in (case["p"], case["q"]))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_case_from_outside_has_its_value(case: dict[str, Any]) -> None:
    if "refused" in case:
        with pytest.raises(InputError, match=case["refused"]):
            from_spec(case["p"])
        return
    estimate = kl(from_spec(case["p"]), from_spec(case["q"]))
    assert estimate.value == pytest.approx(case["kl"], abs=0.51 * 10.0 ** -case["digits"])
    assert estimate.error < 1e-6


# --- closed forms ----------------------------------------------------------------------------------------------------


def student_to_normal(nu: float) -> float:
    entropy = (nu + 1) / 2 * (digamma((nu + 1) / 2) - digamma(nu / 2)) + np.log(nu) / 2 + betaln(nu / 2, 0.5)
    return float(np.log(2 * np.pi) / 2 + nu / (nu - 2) / 2 - entropy)


def beta(a1: float, b1: float, a2: float, b2: float) -> float:
    logs = (a1 - a2) * digamma(a1) + (b1 - b2) * digamma(b1) + (a2 - a1 + b2 - b1) * digamma(a1 + b1)
    return float(betaln(a2, b2) - betaln(a1, b1) + logs)


def gamma(a1: float, b1: float, a2: float, b2: float) -> float:
    return float((a1 - a2) * digamma(a1) - gammaln(a1) + gammaln(a2) + a2 * np.log(b1 / b2) + a1 * (b2 - b1) / b1)


def weibull(k1: float, s1: float, k2: float, s2: float) -> float:
    """Bauckhage (2013), equation 4."""
    logs = np.log(k1 / s1**k1) - np.log(k2 / s2**k2) + (k1 - k2) * (np.log(s1) - np.euler_gamma / k1)
    return float(logs + (s1 / s2) ** k2 * special.gamma(k2 / k1 + 1) - 1)


def laplace_to_gumbel(b: float) -> float:
    return float(1 / (1 - b**2) - np.log(2 * b) - 1)


def von_mises(k: float, gap: float) -> float:
    return float(k * special.i1e(k) / special.i0e(k) * (1 - np.cos(gap)))


def cauchy(gap: float, b: float) -> float:
    """Chyzak and Nielsen (2019), of scales 1 and b."""
    return float(np.log(((1 + b) ** 2 + gap**2) / (4 * b)))


def pareto(a1: float, m1: float, a2: float, m2: float) -> float:
    return float(np.log(a1 / a2) + a2 * np.log(m1 / m2) + a2 / a1 - 1)


UNIT = law("Normal", mu=0, sigma=1)
CLOSED = {
    **{f"t({nu})": (law("StudentT", nu=nu, mu=0, sigma=1), UNIT, student_to_normal(nu)) for nu in (2.001, 2.01, 2.2, 3.0, 40.0)},
    **{
        f"Beta{v}": (law("Beta", alpha=v[0], beta=v[1]), law("Beta", alpha=v[2], beta=v[3]), beta(*v))
        for v in [(0.1, 0.1, 2, 2), (2, 0.3, 1, 1), (0.01, 0.02, 3, 0.5), (30, 0.2, 0.4, 7), (1e4, 2e4, 1, 1)]
    },
    **{
        f"Gamma{v}": (law("Gamma", alpha=v[0], beta=v[1]), law("Gamma", alpha=v[2], beta=v[3]), gamma(*v))
        for v in [(0.05, 1, 2, 1), (0.001, 3, 1, 1), (50, 1, 0.2, 3)]
    },
    **{
        f"InverseGamma{v}": (law("InverseGamma", alpha=v[0], beta=v[1]), law("InverseGamma", alpha=v[2], beta=v[3]), gamma(*v))
        for v in [(0.3, 1, 2, 1), (5, 2, 0.4, 1)]
    },
    **{
        f"Weibull{v}": (law("Weibull", alpha=v[0], beta=v[1]), law("Weibull", alpha=v[2], beta=v[3]), weibull(*v))
        for v in [(0.5, 1, 2, 1.5), (3, 2, 0.7, 1)]
    },
    **{f"Laplace({b})": (law("Laplace", mu=0, b=b), law("Gumbel", mu=0, beta=1), laplace_to_gumbel(b)) for b in (0.3, 0.9, 0.999)},
    **{
        f"VonMises({k}, {m})": (law("VonMises", mu=m, kappa=k), law("VonMises", mu=m + 1, kappa=k), von_mises(k, 1))
        for k, m in [(0.1, 0), (3, 2), (300, -3)]
    },
    "Cauchy": (law("Cauchy", alpha=0, beta=1), law("Cauchy", alpha=4, beta=0.3), cauchy(4, 0.3)),
    "HalfCauchy": (law("HalfCauchy", beta=1), law("HalfStudentT", nu=1, sigma=3), cauchy(0, 3)),
    "Pareto": (law("Pareto", alpha=0.4, m=3), law("Pareto", alpha=2, m=2), pareto(0.4, 3, 2, 2)),
    "LogNormal": (law("LogNormal", mu=0, sigma=30), law("LogNormal", mu=30, sigma=30), 0.5),
    "LogitNormal": (law("LogitNormal", mu=0, sigma=50), law("LogitNormal", mu=50, sigma=50), 0.5),
    "far below": (law("Normal", mu=0, sigma=30), law("Gumbel", mu=0, beta=1), np.exp(450.0)),
    "shifted": (law("Uniform", lower=2, upper=3), law("Uniform", lower=-1, upper=7), np.log(8)),
    "beside a large number": (law("Uniform", lower=1e8, upper=1e8 + 1), law("Uniform", lower=1e8, upper=1e8 + 2), np.log(2)),
    "no truncation": (law("TruncatedNormal", mu=0, sigma=1, lower=-1e10), UNIT, 0.0),
    "exponential": (law("Exponential", lam=2), law("Gamma", alpha=1, beta=0.1), np.log(20) + 0.05 - 1),
    "mode on the end": (law("Beta", alpha=3, beta=0.7), law("Triangular", lower=0, c=1, upper=1), beta(3, 0.7, 2, 1)),
    "zero on the end": (law("Uniform", lower=2, upper=5), law("Triangular", lower=2, c=3, upper=5), 1 - np.log(2)),
    "zero below, mode above": (law("Uniform", lower=-7, upper=-2), law("Triangular", lower=-7, c=-2, upper=-2), 1 - np.log(2)),
    "one end shared": (law("Uniform", lower=0, upper=3), law("Triangular", lower=-1, c=1, upper=3), np.log(4 / 3) - np.log(16) / 3 + 1),
    "pole at 1": (law("Uniform", lower=0.5, upper=1), law("Beta", alpha=1, beta=0.5), 1.5 * np.log(2) - 0.5),
    "zero at 1": (law("Uniform", lower=0.9, upper=1), law("Beta", alpha=1, beta=5), -np.log(0.5) - 4 * (np.log(0.1) - 1)),
    "power at 1": (law("Uniform", lower=0.5, upper=1), law("Kumaraswamy", a=1, b=5), -np.log(2.5) - 4 * (np.log(0.5) - 1)),
    "chi squared": (law("ChiSquared", nu=1), law("ChiSquared", nu=7), gamma(0.5, 0.5, 3.5, 0.5)),
}  # fmt: skip


@pytest.mark.parametrize(("p", "q", "truth"), CLOSED.values(), ids=CLOSED, indirect=["p", "q"])
def test_the_closed_form_lies_within_the_stated_error(p: Target, q: Target, truth: float) -> None:
    estimate = kl(p, q)
    assert abs(estimate.value - truth) <= estimate.error + ROUNDING * (1 + abs(truth))
    assert estimate.error < 1e-5 * (1 + abs(truth))


@pytest.mark.parametrize(
    ("p", "q", "truth"), [CLOSED[k] for k in ("t(2.2)", "Beta(0.1, 0.1, 2, 2)", "Cauchy")], indirect=["p", "q"]
)
def test_the_error_of_a_hard_pair_is_not_its_other_direction(p: Target, q: Target, truth: float) -> None:
    back = kl(q, p)
    assert np.isfinite(back.value)
    if p.name.startswith("Cauchy"):  # the one law whose divergence is symmetric
        assert abs(back.value - truth) <= back.error + ROUNDING
    else:
        assert abs(back.value - truth) > 0.1


@pytest.mark.parametrize("nu", [1e6, 1e10, 1e16])
def test_a_student_t_of_many_degrees_of_freedom_is_normal(nu: float) -> None:
    estimate = kl(UNIT(), law("StudentT", nu=nu, mu=0, sigma=1)())
    # log t = log phi + (z^4 - 2 z^2 - 1)/(4 nu): the mean is 0, and the KL of order 1/nu^2.
    assert abs(estimate.value) <= estimate.error + 10 / nu**2
    assert estimate.error < 1e-12


@pytest.mark.parametrize("large", [1e7, 1e9])
def test_digits_that_rounding_has_taken_are_in_the_error(large: float) -> None:
    p, q = law("Beta", alpha=large, beta=large)(), law("Beta", alpha=large, beta=2 * large)()
    estimate, truth = kl(p, q), beta(large, large, large, 2 * large)
    assert abs(estimate.value - truth) <= estimate.error + 1e-15 * large
    assert estimate.error < 1e-4 * truth


# --- infinite, and why -----------------------------------------------------------------------------------------------

INFINITE = {
    "Student-t(2)": (law("StudentT", nu=2, mu=0, sigma=1), UNIT, "inf is too heavy"),
    "Cauchy": (law("Cauchy", alpha=0, beta=1), law("Laplace", mu=0, b=1), "too heavy"),
    "exponential tail": (law("Laplace", mu=0, b=1), law("Gumbel", mu=0, beta=1), "towards -inf is too heavy"),
    "log normal tail": (law("StudentT", nu=9, mu=0, sigma=1), law("Moyal", mu=0, sigma=1), "too heavy"),
    "pole": (law("Gamma", alpha=1, beta=1), law("InverseGamma", alpha=1, beta=1), "near 0:"),
    "half normal": (law("HalfNormal", sigma=1), law("Wald", mu=1, lam=1), "near 0:"),
    "zero at an end": (law("HalfCauchy", beta=2), law("InverseGamma", alpha=1.2, beta=2), "near 0:"),
    "pole to a zero": (law("Weibull", alpha=0.7, beta=2), law("Wald", mu=2, lam=1), "near 0:"),
    "half line": (UNIT, law("Exponential", lam=1), "mass below 0"),
    "interval": (law("HalfNormal", sigma=1), law("Beta", alpha=2, beta=2), "mass above 1"),
    "circle": (UNIT, law("VonMises", mu=0, kappa=1), "mass below -3.14"),
    "shifted": (law("Wald", mu=1, lam=1, alpha=1), law("Wald", mu=1, lam=1, alpha=2), "mass below 2"),
    "one over the distance": (law("Uniform", lower=3, upper=9), law("Wald", mu=1, lam=1, alpha=3), "near 3:"),
    "Pareto": (law("Pareto", alpha=2, m=1), law("Pareto", alpha=2, m=1.5), "mass below 1.5"),
    "truncated": (UNIT, law("TruncatedNormal", mu=0, sigma=1, upper=40), "mass above 40"),
    "Poisson to Binomial": (law("Poisson", mu=3), law("Binomial", n=1000, p=0.3), "mass on 1001"),
    "die": (law("Categorical", p=[1 / 6] * 6), law("Categorical", p=[0.5, 0, 0.5]), "mass on"),
    "Poisson to Geometric": (law("Poisson", mu=3), law("Geometric", p=0.3), "mass on 0"),
    "atom": (law("Poisson", mu=3), UNIT, "single integers"),
    "no atom": (UNIT, law("Poisson", mu=3), "single integers"),
}  # fmt: skip


@pytest.mark.parametrize(("p", "q", "why"), INFINITE.values(), ids=INFINITE, indirect=["p", "q"])
def test_an_infinite_divergence_says_why(p: Target, q: Target, why: str) -> None:
    estimate = kl(p, q)
    assert estimate.value == np.inf
    assert why in (estimate.reason or "")
    assert cross_entropy(p, q).value == np.inf


FINITE = {
    "Student-t beyond 2": (law("StudentT", nu=2.000001, mu=0, sigma=1), UNIT),
    "shifted inside": (law("Wald", mu=1, lam=1, alpha=2), law("Wald", mu=1, lam=1, alpha=1)),
    "Binomial to Poisson": (law("Binomial", n=1000, p=0.3), law("Poisson", mu=3)),
    "square beyond the floats": (law("Exponential", lam=1), law("HalfCauchy", beta=1)),
    "squares on either side": (law("SkewStudentT", a=0.9, b=2, mu=0, sigma=2), law("Cauchy", alpha=1, beta=1)),
    "a vanishing end": (law("Beta", alpha=0.5, beta=0.5), law("Triangular", lower=0, c=0.5, upper=1)),
    "pole beyond 1": (law("Gamma", alpha=1.01, beta=1), law("InverseGamma", alpha=1, beta=1)),
}  # fmt: skip


@pytest.mark.parametrize(("p", "q"), FINITE.values(), ids=FINITE, indirect=["p", "q"])
def test_a_finite_divergence_beside_an_infinite_one_is_finite(p: Target, q: Target) -> None:
    assert 0 < kl(p, q).value < 1e7


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (law("Normal", mu=-1e4, sigma=1), law("Gumbel", mu=0, beta=1)),
        (law("Normal", mu=0, sigma=1000), law("Gumbel", mu=0, beta=1)),
        (law("Normal", mu=0, sigma=1e200), UNIT),
        (law("Laplace", mu=0, b=1e250), UNIT),
    ],
    ids=lambda p: p.args[0],
    indirect=["p", "q"],
)
def test_what_is_larger_than_a_float_is_not_called_infinite(p: Target, q: Target) -> None:
    estimate = kl(p, q)
    assert np.isnan(estimate.value)
    assert "larger than the largest float" in (estimate.reason or "")
    assert not np.isfinite(estimate.error)


# --- another integrator on scipy's densities -------------------------------------------------------------------------


def tanh_sinh(f: Callable[[Any], Any], low: float, high: float) -> float:
    """Integrate over a half line or an interval by a fixed rule (Takahasi and Mori, 1974)."""
    t = np.arange(-5.5, 5.5, 1 / 128)
    u, slope = np.pi / 2 * np.sinh(t), np.pi / 2 * np.cosh(t)
    with np.errstate(all="ignore"):
        if np.isinf(high):
            x, jacobian = low + np.exp(u), slope * np.exp(u)
        else:
            x, jacobian = low + (high - low) / (1 + np.exp(-2 * u)), slope * (high - low) / 2 / np.cosh(u) ** 2
        terms = f(x) * jacobian
    return float(np.nansum(np.where(np.isfinite(terms), terms, 0.0)) / 128)


PAIRS = {
    "ExGaussian": (law("ExGaussian", mu=0, sigma=1, nu=0.04), UNIT, stats.exponnorm(0.04), stats.norm(), 0.0),
    "ExGaussian, wide": (law("ExGaussian", mu=0, sigma=1, nu=2), law("Gumbel", mu=0, beta=2), stats.exponnorm(2), stats.gumbel_r(0, 2), 0.0),
    "Rice": (law("HalfNormal", sigma=9), law("Rice", nu=1, sigma=2), stats.halfnorm(0, 9), stats.rice(0.5, 0, 2), 0.0),
    "Wald": (law("Wald", mu=1, lam=2), law("LogNormal", mu=0, sigma=1), stats.invgauss(0.5, 0, 2), stats.lognorm(1), 0.0),
    "SkewNormal": (law("SkewNormal", mu=0, sigma=1, alpha=5), UNIT, stats.skewnorm(5), stats.norm(), 0.0),
    "Triangular": (law("Triangular", lower=0, c=0.3, upper=1), law("Beta", alpha=2, beta=3), stats.triang(0.3), stats.beta(2, 3), 0.3),
    "TruncatedNormal": (law("TruncatedNormal", mu=0, sigma=1, lower=2), law("Pareto", alpha=3, m=1), stats.truncnorm(2, np.inf), stats.pareto(3), 2.0),
    "AsymmetricLaplace": (law("AsymmetricLaplace", kappa=2, mu=0, b=1), law("Logistic", mu=0, s=2), stats.laplace_asymmetric(2), stats.logistic(0, 2), 0.0),
    "SkewStudentT": (law("SkewStudentT", a=5, b=3, mu=0, sigma=1), law("Cauchy", alpha=0, beta=1), stats.jf_skew_t(5, 3), stats.cauchy(), 0.0),
    "Moyal": (law("Moyal", mu=0, sigma=1), law("Logistic", mu=1, s=1), stats.moyal(), stats.logistic(1), 0.0),
}  # fmt: skip


@pytest.mark.parametrize(("p", "q", "f", "g", "cut"), PAIRS.values(), ids=PAIRS, indirect=["p", "q"])
def test_another_integrator_agrees_on_other_densities(p: Target, q: Target, f: Any, g: Any, cut: float) -> None:
    def term(x: Any) -> Any:
        return np.where(f.pdf(x) > 0, f.pdf(x) * (f.logpdf(x) - g.logpdf(x)), 0.0)

    low, high = f.support()
    right = tanh_sinh(term, cut, high)
    left = (
        0.0
        if low == cut
        else tanh_sinh(term, low, cut)
        if np.isfinite(low)
        else tanh_sinh(lambda d: term(cut - d), 0.0, np.inf)
    )
    estimate = kl(p, q)
    assert abs(estimate.value - left - right) <= estimate.error + 1e-11
    assert estimate.error < 1e-11


# --- discrete laws ---------------------------------------------------------------------------------------------------


def poisson(a: float, b: float) -> float:
    return float(b * (special.rel_entr(a / b, 1) + 1 - a / b))


def coins(n: int, p: float, q: float) -> float:
    return float(n * (special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q)))


def geometric(p: float, q: float) -> float:
    return float(np.log(p / q) + (1 - p) / p * (np.log1p(-p) - np.log1p(-q)))


DISCRETE = {
    "Poisson": (law("Poisson", mu=3), law("Poisson", mu=4), poisson(3, 4)),
    "rare": (law("Poisson", mu=1e-3), law("Poisson", mu=4), poisson(1e-3, 4)),
    "coin": (law("Bernoulli", p=0.5), law("Binomial", n=1, p=0.3), coins(1, 0.5, 0.3)),
    "Binomial": (law("Binomial", n=200, p=0.1), law("Binomial", n=200, p=0.3), coins(200, 0.1, 0.3)),
    "sure": (law("Bernoulli", p=1.0), law("Bernoulli", p=0.3), -np.log(0.3)),
    "Geometric": (law("Geometric", p=0.2), law("Geometric", p=0.3), geometric(0.2, 0.3)),
    "long": (law("Geometric", p=1e-7), law("Geometric", p=3e-7), geometric(1e-7, 3e-7)),
    "uniform": (law("DiscreteUniform", lower=1, upper=10**9), law("DiscreteUniform", lower=0, upper=10**10), np.log((1e10 + 1) / 1e9)),
    "die": (law("Categorical", p=[1 / 6] * 6), law("Categorical", p=[0.1] * 5 + [0.5]), -np.log(6) - np.log(0.1) * 5 / 6 - np.log(0.5) / 6),
    "Poisson limit": (law("Poisson", mu=3), law("NegativeBinomial", mu=3, alpha=1e9), 0.0),
    "one atom": (law("DiracDelta", c=3), law("Poisson", mu=3), 3 - 3 * np.log(3) + np.log(6)),
    "atom at 0": (law("ZeroInflatedPoisson", psi=0.5, mu=1e5), law("Poisson", mu=5e4), np.log(0.5) + (5e4 + poisson(1e5, 5e4)) / 2),
}  # fmt: skip


@pytest.mark.parametrize(("p", "q", "truth"), DISCRETE.values(), ids=DISCRETE, indirect=["p", "q"])
def test_divergences_of_discrete_laws_are_their_sums(p: Target, q: Target, truth: float) -> None:
    estimate = kl(p, q)
    assert abs(estimate.value - truth) <= estimate.error + ROUNDING * (1 + abs(truth))
    assert estimate.error < 1e-9 * (1 + truth)


LAWS = {
    "NegativeBinomial": (law("NegativeBinomial", mu=3, alpha=1.5), stats.nbinom(1.5, 1.5 / 4.5)),
    "BetaBinomial": (law("BetaBinomial", alpha=2, beta=3, n=10), stats.betabinom(10, 2, 3)),
    "HyperGeometric": (law("HyperGeometric", N=50, k=20, n=10), stats.hypergeom(50, 20, 10)),
    "Poisson": (law("Poisson", mu=60.0), stats.poisson(60)),
    "Binomial": (law("Binomial", n=100, p=0.4), stats.binom(100, 0.4)),
    "ZeroInflatedNegativeBinomial": (law("ZeroInflatedNegativeBinomial", psi=0.7, mu=3, alpha=1.5), None),
    "HurdlePoisson": (law("HurdlePoisson", psi=0.7, mu=3), None),
    "DiscreteWeibull": (law("DiscreteWeibull", q=0.7, beta=1.2), None),
}


def masses(name: str, k: Any) -> Any:
    """Mass of laws that scipy does not have, from those that it has."""
    if name == "DiscreteWeibull":
        return 0.7 ** (k**1.2) - 0.7 ** ((k + 1) ** 1.2)
    if name == "HurdlePoisson":
        return np.where(k == 0, 0.3, 0.7 * stats.poisson(3).pmf(k) / stats.poisson(3).sf(0))
    return 0.7 * stats.nbinom(1.5, 1.5 / 4.5).pmf(k) + 0.3 * (k == 0)


@pytest.mark.parametrize(("name", "p", "other"), [(n, *v) for n, v in LAWS.items()], ids=LAWS, indirect=["p"])
def test_entropy_and_alpha_divergence_of_discrete_laws_are_sums_of_scipys_masses(
    name: str, p: Target, other: Any
) -> None:
    k = np.arange(0, 400.0)
    mass = other.pmf(k) if other is not None else masses(name, k)
    estimate = entropy(p)
    assert abs(estimate.value - special.entr(mass).sum()) <= estimate.error + ROUNDING
    q, share = law("Poisson", mu=5)(), stats.poisson(5).pmf(k)
    for alpha in (0.3, 0.7):
        truth = (1 - np.sum(mass**alpha * share ** (1 - alpha))) / (alpha * (1 - alpha))
        found = alpha_divergence(p, q, alpha)
        assert abs(found.value - truth) <= found.error + 10 * ROUNDING


def test_a_law_of_many_integers_keeps_its_digits() -> None:
    a, b = 1e9, 1.00001e9
    estimate = kl(law("Poisson", mu=a)(), law("Poisson", mu=b)())
    gap = b / a - 1  # exact to 1e-16; the KL is a (gap - log(1 + gap))
    assert estimate.value == pytest.approx(a * (gap**2 / 2 - gap**3 / 3 + gap**4 / 4), rel=1e-9)
    assert estimate.error < 1e-11


def test_alpha_divergence_of_an_atom_and_a_density_is_the_largest_there_is() -> None:
    assert alpha_divergence(law("Poisson", mu=3)(), UNIT(), 0.5).value == 4


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("Normal", {"mean": 3, "sd": 2}, r"Normal has no parameter 'mean'; did you mean mu\? Known: mu, sigma, tau"),
        ("Exponential", {"rate": 2}, r"no parameter 'rate'; did you mean lam\?"),
        ("Gamma", {"alpha": 2, "betta": 1}, r"no parameter 'betta'; did you mean beta\?"),
        ("Binomial", {"n": 5.5, "p": 0.3}, "parameter 'n' of Binomial is 5.5; it must be an integer"),
        ("Categorical", {"p": [0.2, 0.3, 0.6]}, "parameter 'p' of Categorical sums to 1.1; it must sum to 1"),
        ("Normal", {"mu": 1e20, "sigma": 1}, "has no width beside 1e[+]20"),
        ("HurdleGamma", {"psi": 0.7, "alpha": 3, "beta": 1}, "an atom at 0 beside a density"),
        ("Flat", {}, "has no finite mass"),
        ("Interpolated", {"x_points": [1, 2], "pdf_points": [1, 2]}, "is no target by name"),
    ],
)
def test_what_is_no_univariate_law_is_refused(name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_distribution(name, params)
