"""The Normal approximation at a maximum likelihood fit, against closed forms and the criteria that ArviZ computes from it."""

from __future__ import annotations

import warnings

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from models.errors import InputError
from models.families import FAMILIES, Family, mvnormal_mixture, normal_mixture
from models.mle import approximate_posterior, fit_mle

X = np.random.default_rng(4).gamma(3.0, 2.0, 300)


def test_means_and_sds_are_the_estimate_and_its_standard_errors() -> None:
    fit = fit_mle(X, FAMILIES["gamma"])
    found = approximate_posterior(fit, FAMILIES["gamma"], draws=4000, seed=1)["posterior"]
    for name, se in zip(fit["fit"]["parameter"].to_numpy(), fit["fit"]["se_hessian"].to_numpy(), strict=True):
        assert float(found[name].mean()) == pytest.approx(
            float(fit["fit"][name]), abs=0.1 * se + 4 * se / np.sqrt(4000)
        )
        assert float(found[name].std()) == pytest.approx(se, rel=0.06)


def test_the_log_likelihood_is_that_of_scipy() -> None:
    tree = approximate_posterior(fit_mle(X, FAMILIES["gamma"]), FAMILIES["gamma"], draws=3)
    alpha, beta = (tree[f"posterior/{name}"].to_numpy()[0] for name in ("alpha", "beta"))
    exact = stats.gamma.logpdf(X, alpha[:, None], scale=1 / beta[:, None])
    np.testing.assert_allclose(tree["log_likelihood/x"].to_numpy()[0], exact, rtol=1e-9)


def test_leave_one_out_by_arviz_is_the_exact_one_of_the_normal() -> None:
    """Student-t predictions, the posterior flat in mean and log sigma: what each row says of itself is out."""
    x = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    n, exact = len(x), 0.0
    for i in range(n):
        rest = np.delete(x, i)
        spread = rest.std(ddof=1) * np.sqrt(1 + 1 / (n - 1))
        exact += stats.t.logpdf(x[i], n - 2, rest.mean(), spread)
    found = az.loo(approximate_posterior(fit_mle(x, FAMILIES["normal"]), FAMILIES["normal"], draws=4000))
    assert found.elpd == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize(
    ("x", "family"),
    [
        (X, normal_mixture(2)),
        (np.column_stack([X, np.sqrt(X) + np.sin(X)]), mvnormal_mixture(2)),
        (X, FAMILIES["student_t"]),
    ],
    ids=["mixture", "two columns", "boundary"],
)
def test_arviz_takes_what_is_returned(x: np.ndarray, family: Family) -> None:
    fit = fit_mle(x, family, starts=2, draws=2)
    tree = approximate_posterior(fit, family, draws=200)
    assert set(tree["posterior"].data_vars) == {p.name for p in family.parameters}
    table = az.summary(tree, kind="stats")
    assert len(table) == len(fit["fit"]["parameter"])
    with warnings.catch_warnings():  # of rows that 200 draws cannot leave out
        warnings.filterwarnings("ignore", message="Estimated shape parameter", category=UserWarning)
        assert np.isfinite(az.loo(tree).elpd)


def test_where_a_kink_leaves_no_hessian_the_information_of_the_model_stands_in() -> None:
    fit = fit_mle(X, FAMILIES["laplace"], draws=2)
    found = approximate_posterior(fit, FAMILIES["laplace"], draws=4000, pointwise=False)
    assert "log_likelihood" not in found.children
    b = float(fit["fit/b"])
    for name in ("mu", "b"):
        assert float(found[f"posterior/{name}"].std()) == pytest.approx(b / np.sqrt(len(X)), rel=0.06)


def test_what_cannot_be_approximated_is_refused() -> None:
    fit = fit_mle(X, FAMILIES["normal"], draws=2)
    with pytest.raises(InputError, match="no observations"):
        approximate_posterior(xr.DataTree(), FAMILIES["normal"])
    with pytest.raises(InputError, match="draws"):
        approximate_posterior(fit, FAMILIES["normal"], draws=0)


def test_a_parameter_at_its_boundary_stays_there() -> None:
    x = stats.norm.ppf((np.arange(200) + 0.5) / 200)  # lighter tails than any t
    fit = fit_mle(x, FAMILIES["student_t"], draws=2)
    assert str(fit["fit/status"].to_numpy()).startswith("boundary")
    found = approximate_posterior(fit, FAMILIES["student_t"], draws=1000)
    assert np.ptp(found["posterior/nu"].to_numpy()) == 0
    assert np.ptp(found["posterior/mu"].to_numpy()) > 0
    normal = approximate_posterior(fit_mle(x, FAMILIES["normal"], draws=2), FAMILIES["normal"], draws=1000)
    assert az.loo(found).elpd == pytest.approx(az.loo(normal).elpd, abs=1)
