"""Priors: maxima a posteriori against closed forms, at the edges of supports, and in place of observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from models.errors import ConvergenceError, InputError
from models.families import FAMILIES, normal_mixture
from models.mle import fit_map

NORMAL, LOGISTIC, FULL, DIAGONAL = (FAMILIES[k] for k in ("normal", "logistic", "mvnormal", "mvnormal_diag"))

#: Skewed and heavy-tailed, so that the sandwich differs from the inverse Hessian.
SAMPLE = np.random.default_rng(3).gamma(2.0, 1.5, 400) - 1
COV = np.array([[2.0, 1.2, 0.0], [1.2, 1.5, -0.3], [0.0, -0.3, 0.7]])
CLOUD = np.random.default_rng(4).multivariate_normal([1.0, -2.0, 0.5], COV, 300)
PAIRS = CLOUD[:, :2]


def test_map_with_a_normal_prior_on_the_mean() -> None:
    """The mean is the precision-weighted average of data and prior; the sd is around that mean."""
    x, m0, s0 = SAMPLE[:50], 4.0, 0.2
    with pm.Model():
        fit = fit_map(x, NORMAL, priors={"mu": pm.Normal.dist(m0, s0)})["fit"]
    mu, n = x.mean(), len(x)
    for _ in range(500):
        precision = n / ((x - mu) ** 2).mean()
        mu = (precision * x.mean() + m0 / s0**2) / (precision + 1 / s0**2)
    assert float(fit["mu"]) == pytest.approx(mu, rel=1e-8)
    assert float(fit["sigma"]) == pytest.approx(np.sqrt(((x - mu) ** 2).mean()), rel=1e-8)
    assert float(fit["log_prior"]) == pytest.approx(stats.norm(m0, s0).logpdf(mu), rel=1e-9)
    exact = stats.norm(mu, float(fit["sigma"])).logpdf(x).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(exact, rel=1e-9)


def test_map_with_a_half_normal_prior_on_the_sd() -> None:
    """The density is that of sigma itself: v = sigma^2 solves v^2 / tau^2 + n v = sum of squares."""
    x, tau = SAMPLE[:50], 0.3
    fit = fit_map(x, NORMAL, priors={"sigma": pm.HalfNormal.dist(tau)})["fit"]
    n, total = len(x), ((x - x.mean()) ** 2).sum()
    v = tau**2 * (-n + np.sqrt(n**2 + 4 * total / tau**2)) / 2
    assert float(fit["mu"]) == pytest.approx(x.mean(), rel=1e-8)
    assert float(fit["sigma"]) == pytest.approx(np.sqrt(v), rel=1e-8)
    assert float(fit["log_prior"]) == pytest.approx(stats.halfnorm(scale=tau).logpdf(np.sqrt(v)), rel=1e-8)


@pytest.mark.parametrize(("low", "high", "edge"), [(-2.0, 0.5, 0.5), (1e6, 2e6, 1e6)])
def test_a_prior_that_excludes_the_data_has_its_maximum_at_an_edge(low: float, high: float, edge: float) -> None:
    fit = fit_map(SAMPLE, NORMAL, priors={"mu": pm.Uniform.dist(low, high)}, draws=2)["fit"]
    assert float(fit["mu"]) == pytest.approx(edge, rel=1e-9)
    assert float(fit["sigma"]) == pytest.approx(np.sqrt(((SAMPLE - edge) ** 2).mean()), rel=1e-8)
    assert "boundary: mu at an end of the prior on 'mu', Uniform" in str(fit["status"].item())
    assert np.isnan(fit["se_hessian"][0])
    assert np.isfinite(fit["se_hessian"][1])
    assert np.isfinite(fit["log_prior"])


def test_a_half_normal_prior_on_the_mean_of_negative_data_has_its_maximum_at_zero() -> None:
    fit = fit_map(-SAMPLE - 5, NORMAL, priors={"mu": pm.HalfNormal.dist(2)}, draws=2)["fit"]
    assert float(fit["mu"]) == pytest.approx(0, abs=1e-9)
    assert str(fit["status"].item()).startswith("boundary: mu")


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (lambda: 3, "prior on 'mu' is 3 .int.; give a PyMC distribution"),
        (lambda: None, "prior on 'mu' is None"),
        (lambda: stats.norm(0, 1), "rv_continuous_frozen.; give a PyMC distribution"),
        (lambda: pm.Normal.dist(0, 1, shape=3), r"'mu', Normal, has shape \(3,\) but the parameter has shape \(\)"),
        (lambda: pm.Normal.dist(0, pm.HalfNormal.dist(1)), "depends on other random variables"),
        (lambda: pm.Normal.dist(0, -1), "'mu', Normal, is refused by PyMC"),
        (lambda: pm.Normal.dist(0, 0), "'mu', Normal, is refused by PyMC: sigma > 0"),
        (lambda: pm.Normal.dist(0, np.inf), "'mu', Normal, has no finite density"),
        (lambda: pm.Normal.dist(np.nan, 1), "'mu', Normal, has no finite density"),
        (lambda: pm.DiracDelta.dist(1.0), "DiracDelta, is discrete"),
        (lambda: pm.Poisson.dist(1.0), "Poisson, is discrete"),
    ],
)
def test_a_prior_that_cannot_be_used_is_named(prior: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_map(SAMPLE, NORMAL, priors={"mu": prior()})


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1e-12), (1e6, 1e-3)])
def test_a_prior_far_narrower_than_the_data(mean: float, sd: float) -> None:
    fit = fit_map(SAMPLE, NORMAL, priors={"mu": pm.Normal.dist(mean, sd)}, draws=2)["fit"]
    assert float(fit["mu"]) == pytest.approx(mean, abs=1e-6 * max(1, abs(mean)))
    assert float(fit["sigma"]) == pytest.approx(np.sqrt(((SAMPLE - mean) ** 2).mean()), rel=1e-6)
    assert float(fit["se_hessian"][0]) == pytest.approx(sd, rel=1e-3)


def test_flat_priors_on_a_collapsing_mixture_are_named_as_such() -> None:
    with pytest.raises(
        ConvergenceError, match=r"MAP of .* prior on 'sigma' is HalfFlat, a flat one; give a proper one"
    ):
        fit_map(np.repeat([0.0, 1.0], 20), normal_mixture(2), priors={"sigma": pm.HalfFlat.dist()}, starts=2)


@pytest.mark.exhaustive
def test_a_scalar_prior_on_the_scales_of_a_mixture_holds_for_each() -> None:
    fit = fit_map(
        np.repeat([0.0, 1.0], 20), normal_mixture(2), priors={"sigma": pm.InverseGamma.dist(3, 1)}, starts=2, draws=2
    )["fit"]
    # Each component has 20 equal values: sigma^-(20 + 3 + 1) exp(-1 / sigma) is highest at 1 / 24.
    np.testing.assert_allclose(fit["sigma"], 1 / 24, rtol=1e-6)


@pytest.mark.exhaustive
def test_proper_priors_stand_in_for_observations() -> None:
    fit = fit_map([1.0, 2.0], FAMILIES["student_t"], priors={"nu": pm.Gamma.dist(2, 0.1)}, draws=2)["fit"]
    assert float(fit["mu"]) == pytest.approx(1.5, abs=1e-6)
    with pytest.raises(InputError, match="2 observations but family 'student_t' has 3 free parameters"):
        fit_map([1.0, 2.0], FAMILIES["student_t"], priors={"nu": pm.HalfFlat.dist()})
