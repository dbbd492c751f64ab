"""Log densities made of log gammas keep their digits where those are large."""

import numpy as np
import pytest

from models.families import FAMILIES
from models.graphs.distributions import Distribution
from models.mle import fit_mle

#: By mpmath with 60 digits, from the definitions.
CASES = [
    ("Beta", {"alpha": 2.0, "beta": 1000000000000000.0}, 2e-15, 33.23192357547063),
    ("Gamma", {"alpha": 160000000.0, "beta": 1600.0}, 100008.0, -3.498574503868483),
    ("InverseGamma", {"alpha": 100000000.0, "beta": 100000000.0}, 1.0001, 7.79136850210542),
]


@pytest.mark.parametrize(("name", "params", "x", "known"), CASES)
def test_log_density_of_large_parameters(name, params, x, known):
    values = {k: np.asarray(v) for k, v in params.items()}
    found = Distribution(name, values, discrete=False).logp(np.array([x]))[0]
    # 5e-10 is what rounding x or a parameter itself does where the sd is 1e-6 of the mean.
    assert abs(found - known) < 5e-10 * max(1, abs(known))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["gamma", "inverse_gamma"])
def test_concentrated_data_are_fitted(name):
    # A law of positive numbers whose sd is a ten-thousandth of its mean is all but Normal.
    x = 1e5 + 8 * np.random.default_rng(0).normal(size=400)
    fit, normal = (fit_mle(x, FAMILIES[family], draws=1)["fit"] for family in (name, "normal"))
    assert str(fit["status"].item()) == "converged"
    assert abs(float(fit["log_likelihood"] - normal["log_likelihood"])) < 0.02


@pytest.mark.exhaustive
def test_beta_of_tiny_values_is_the_gamma_law():
    z = np.random.default_rng(1).gamma(2, size=300)
    beta, gamma = (float(fit_mle(1e-13 * z, FAMILIES[f], draws=1)["fit"]["log_likelihood"]) for f in ("beta", "gamma"))
    assert abs(beta - gamma) < 1e-6


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", ["gamma", "inverse_gamma"])
def test_shapes_in_the_billions_are_reached(family, seed):
    """Rounding leaves a gradient there along which alpha and beta hardly matter, and a norm of it shows no step between."""
    x = 1 + 10**-4.6 * np.random.default_rng([seed, 150]).normal(size=150)
    fit = fit_mle(x, FAMILIES[family], draws=1)["fit"]
    assert str(fit["status"].item()) == "converged"
    assert abs(float(fit["alpha"]) * np.var(x) - 1) < 1e-3
