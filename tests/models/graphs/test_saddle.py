"""Log densities made of log gammas keep their digits where those are large."""

import numpy as np
import pytest

from models.families import FAMILIES
from models.graphs.distributions import INTEGERS, Distribution
from models.mle import fit_mle

#: By mpmath with 60 digits, from the definitions.
CASES = [
    ("Beta", {"alpha": 2.0, "beta": 1000000000000000.0}, 2e-15, 33.23192357547063),
    ("Beta", {"alpha": 250000000000.0, "beta": 250000000000.0}, 0.500001, 12.243145614983563),
    ("Beta", {"alpha": 1000.0, "beta": 1000000000000.0}, 1.05e-09, 21.999495564464816),
    ("Beta", {"alpha": 40.0, "beta": 35.0}, 1e-09, -755.8470413815643),
    ("BetaBinomial", {"n": 20.0, "alpha": 300000000000.0, "beta": 700000000000.0}, 6.0, -1.6521419751031667),
    ("BetaBinomial", {"n": 1000000000.0, "alpha": 2.0, "beta": 3.0}, 400000000.0, -20.176301169064548),
    ("Binomial", {"n": 1000000000000.0, "p": 5e-12}, 5.0, -1.7403021806090442),
    ("Binomial", {"n": 1000000000000.0, "p": 0.3}, 300001000000.0, -16.33507703870737),
    ("Gamma", {"alpha": 160000000.0, "beta": 1600.0}, 100008.0, -3.498574503868483),
    ("InverseGamma", {"alpha": 100000000.0, "beta": 100000000.0}, 1.0001, 7.79136850210542),
    ("HyperGeometric", {"N": 10000000000.0, "k": 3000000000.0, "n": 100000000.0}, 30001000.0, -9.367989166434732),
    ("NegativeBinomial", {"mu": 10000000000.0, "alpha": 1000000000.0}, 10003000000.0, -54.53238062718296),
    ("NegativeBinomial", {"mu": 10000000000.0, "alpha": 0.5}, 1000000000.0, -22.843496916796855),
    ("NegativeBinomial", {"mu": 3.0, "alpha": 1000000000.0}, 3.0, -1.495922604723726),
    ("Poisson", {"mu": 1000000000000.0}, 1000001000000.0, -15.234449424502197),
    ("SkewStudentT", {"a": 10000000000.0, "b": 10000000000.0, "mu": 0.0, "sigma": 1.0}, -2.0, -2.918938533117173),
]


@pytest.mark.parametrize(("name", "params", "x", "known"), CASES)
def test_log_density_of_large_parameters(name, params, x, known):
    values = {k: np.asarray(v) for k, v in params.items()}
    whole = name in INTEGERS or name in ("NegativeBinomial", "Poisson")
    found = Distribution(name, values, discrete=whole).logp(np.array([x]))[0]
    # 5e-10 is what rounding x or a parameter itself does where the sd is 1e-6 of the mean.
    assert abs(found - known) < 5e-10 * max(1, abs(known))


@pytest.mark.parametrize("name", ["gamma", "inverse_gamma"])
def test_concentrated_data_are_fitted(name):
    # A law of positive numbers whose sd is a ten-thousandth of its mean is all but Normal.
    x = 1e5 + 8 * np.random.default_rng(0).normal(size=400)
    fit, normal = (fit_mle(x, FAMILIES[family], draws=1)["fit"] for family in (name, "normal"))
    assert str(fit["status"].item()) == "converged"
    assert abs(float(fit["log_likelihood"] - normal["log_likelihood"])) < 0.02


def test_beta_of_tiny_values_is_the_gamma_law():
    z = np.random.default_rng(1).gamma(2, size=300)
    beta, gamma = (float(fit_mle(1e-13 * z, FAMILIES[f], draws=1)["fit"]["log_likelihood"]) for f in ("beta", "gamma"))
    assert abs(beta - gamma) < 1e-6
