"""Maximum likelihood of every family of one dimension: against scipy's densities and optimisers, at limits, and refused data."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from models.errors import InputError
from models.families import FAMILIES, binomial, find_family
from models.mle import fit_mle, leave_one_out, sandwich
from models.projections import forward_projection
from models.targets import from_distribution, from_draws
from tests.likelihoods import CASES, Case

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
QUICK = [c for c in CASES if c.name in ("gamma", "beta", "von_mises", "hurdle_lognormal", "pareto")]


@cache
def fitted(name: str, n: int = 400) -> tuple[np.ndarray, xr.Dataset]:
    case = next(c for c in CASES if c.name == name)
    x = case.draw(n, seed=1)
    return x, fit_mle(x, FAMILIES[name], draws=2)["fit"].to_dataset()


def params_of(case: Case, fit: xr.Dataset) -> dict[str, float]:
    return {name: float(fit[name]) for name in case.truth}


def as_good_as_scipy(case: Case) -> None:
    x, fit = fitted(case.name)
    total = float(fit["log_likelihood"])
    assert total == pytest.approx(case.logp(x, params_of(case, fit)), rel=1e-9)
    assert total >= case.best(x) - 1e-6 * abs(total)
    assert float(fit["gradient_norm"]) < 1e-8


@pytest.mark.parametrize("case", QUICK, ids=lambda c: c.name)
def test_the_likelihood_is_as_high_as_that_of_nelder_and_mead(case: Case) -> None:
    as_good_as_scipy(case)


@pytest.mark.exhaustive
@each_case
def test_every_likelihood_is_as_high_as_that_of_nelder_and_mead(case: Case) -> None:
    as_good_as_scipy(case)


@pytest.mark.exhaustive
@each_case
def test_standard_errors_agree_where_the_family_contains_the_data(case: Case) -> None:
    """And the truth is within five of them. At a kink the second needs a kernel's density of the median, which is low at a peak."""
    _, fit = fitted(case.name)
    # Of the other parameters the errors are those given the number of trials: if that is another, they do not reach the truth.
    given = "n" not in case.truth or float(fit["n"]) == case.truth["n"]
    for label, naive, robust in zip(
        fit["parameter"].to_numpy(), fit["se_hessian"].to_numpy(), fit["se_sandwich"].to_numpy(), strict=True
    ):
        if np.isfinite(naive):
            assert robust == pytest.approx(naive, rel=0.3 if FAMILIES[case.name].smooth else 0.5)
            assert not given or abs(float(fit[str(label)]) - case.truth[str(label)]) < 5 * robust


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("name", ["gamma", "hurdle_lognormal", "pareto"])
def test_units_move_a_positive_family_and_nothing_else(name: str, unit: float) -> None:
    x, fit = fitted(name)
    moved = fit_mle(x * unit, FAMILIES[name], draws=2)["fit"]
    shift = np.count_nonzero(x) * np.log(unit)  # zeros have mass, not density
    assert float(moved["log_likelihood"]) == pytest.approx(float(fit["log_likelihood"]) - shift, rel=1e-9)
    for p in FAMILIES[name].parameters:
        by = {"scale": unit, "rate": 1 / unit}.get(str(p.role), 1.0)
        added = np.log(unit) if p.role == "log" else 0.0
        assert float(moved[p.name]) == pytest.approx(float(fit[p.name]) * by + added, rel=1e-7)


def test_counts_as_weights_are_repeated_observations() -> None:
    x, _ = fitted("gamma")
    counts = np.random.default_rng(2).integers(0, 4, len(x))
    weighted = fit_mle(x, FAMILIES["gamma"], weights=counts, draws=2)["fit"]
    repeated = fit_mle(np.repeat(x, counts), FAMILIES["gamma"], draws=2)["fit"]
    for name in ("alpha", "beta", "log_likelihood"):
        assert float(weighted[name]) == pytest.approx(float(repeated[name]), rel=1e-8)
    np.testing.assert_allclose(weighted["se_hessian"], repeated["se_hessian"], rtol=1e-6)


# --- ends and limits -------------------------------------------------------------------------------------------------


def test_ends_of_a_support_are_observations_and_have_no_standard_error() -> None:
    x, fit = fitted("pareto")
    assert fit["status"].item() == "boundary: m at the smallest observation"
    assert float(fit["m"]) == x.min()
    assert np.isnan(fit["se_hessian"].sel(parameter="m"))
    assert float(fit["se_hessian"].sel(parameter="alpha")) == pytest.approx(
        float(fit["alpha"]) / np.sqrt(len(x)), rel=1e-6
    )
    flat = fit_mle([3.0, 1.0, 2.5], FAMILIES["uniform"], draws=2)["fit"]
    assert (float(flat["lower"]), float(flat["upper"])) == (1.0, 3.0)
    assert float(flat["log_likelihood"]) == pytest.approx(-3 * np.log(2))


@pytest.mark.exhaustive
def test_counts_less_spread_than_poisson_send_a_negative_binomial_to_it() -> None:
    x = np.random.default_rng(0).binomial(20, 0.5, 300)
    fit = fit_mle(x, FAMILIES["negative_binomial"], draws=2)["fit"]
    assert fit["status"].item() == "boundary: alpha -> infinity"
    assert float(fit["log_likelihood"]) == pytest.approx(stats.poisson(x.mean()).logpmf(x).sum(), rel=1e-9)
    assert np.isnan(fit["se_hessian"].sel(parameter="alpha"))
    assert float(fit["se_hessian"].sel(parameter="mu")) == pytest.approx(np.sqrt(x.mean() / len(x)), rel=1e-4)


@pytest.mark.exhaustive
def test_counts_without_more_zeros_send_psi_to_one() -> None:
    x = np.random.default_rng(0).poisson(4, 300) + 1
    fit = fit_mle(x, FAMILIES["zero_inflated_poisson"], draws=2)["fit"]
    assert fit["status"].item() == "boundary: psi -> 1"
    assert float(fit["mu"]) == pytest.approx(x.mean(), rel=1e-9)


def test_the_number_of_trials_is_the_integer_of_highest_likelihood() -> None:
    x = np.random.default_rng(5).binomial(12, 0.7, 200)
    fit = fit_mle(x, FAMILIES["binomial"], draws=2)["fit"]
    by_hand = {n: stats.binom(n, x.mean() / n).logpmf(x).sum() for n in range(x.max(), 60)}
    assert int(fit["n"]) == max(by_hand, key=by_hand.__getitem__)
    overspread = fit_mle(stats.nbinom(3, 0.3).rvs(200, random_state=1), FAMILIES["binomial"], draws=2)["fit"]
    assert "n -> infinity" in overspread["status"].item()


@pytest.mark.exhaustive
def test_a_number_of_trials_can_be_given() -> None:
    x = np.random.default_rng(5).binomial(12, 0.7, 200)
    fit = fit_mle(x, binomial(15), draws=2)["fit"]
    assert float(fit["log_likelihood"]) == pytest.approx(stats.binom(15, x.mean() / 15).logpmf(x).sum(), rel=1e-10)


def test_categories_are_shares() -> None:
    x = np.repeat([0, 1, 3], [2, 3, 5])
    fit = fit_mle(x, FAMILIES["categorical"], draws=2)["fit"]
    np.testing.assert_allclose(fit["p"], [0.2, 0.3, 0.0, 0.5], atol=1e-12)
    assert find_family("categorical").name == "categorical"


@pytest.mark.parametrize("rest", [pytest.param("gamma", marks=pytest.mark.exhaustive), "lognormal"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_hurdle_without_zeros_is_the_law_beyond_it(rest: str, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.gamma(2, 3, 200)
    weights = rng.random(200) if weighted else None  # whose shares sum to 1 but for rounding
    hurdle, law = (fit_mle(x, FAMILIES[name], draws=2, weights=weights)["fit"] for name in (f"hurdle_{rest}", rest))
    assert hurdle["status"].item() == "boundary: psi -> 1"
    assert float(hurdle["log_likelihood"]) == pytest.approx(float(law["log_likelihood"]), rel=1e-9)
    assert np.isnan(hurdle["se_sandwich"].sel(parameter="psi"))


@pytest.mark.exhaustive
def test_an_ex_gaussian_of_data_with_a_tail_to_the_left_runs_to_the_normal() -> None:
    """Close to it the density in closed form loses its digits."""
    x = -np.random.default_rng(11).gamma(2, 1, 300)
    fit = fit_mle(x, FAMILIES["ex_gaussian"], draws=2)["fit"]
    assert fit["status"].item() == "boundary: nu -> 0"
    assert float(fit["log_likelihood"]) == pytest.approx(stats.norm(x.mean(), x.std()).logpdf(x).sum(), abs=1e-8)
    assert np.isfinite(fit["se_sandwich"].sel(parameter=["mu", "sigma"])).all()


@pytest.mark.parametrize(("n", "seed", "offset"), [(6, 2, 0.0), (10, 4, 0.0), (20, 7, 1e6), (1000, 0, 0.0)])
def test_an_ex_gaussian_of_data_that_begin_abruptly_runs_to_the_exponential(n: int, seed: int, offset: float) -> None:
    """From the smallest observation on, whose likelihood has a closed form."""
    x = offset + np.random.default_rng(seed).exponential(1, n)
    fit = fit_mle(x, FAMILIES["ex_gaussian"], draws=2)["fit"]
    assert fit["status"].item() == "boundary: sigma -> 0"
    assert float(fit["log_likelihood"]) == pytest.approx(-n * np.log(x.mean() - x.min()) - n, abs=1e-7 * n)
    assert float(fit["nu"]) == pytest.approx(x.mean() - x.min(), rel=1e-5)
    assert np.isnan(fit["se_hessian"].sel(parameter=["mu", "sigma"])).all()
    assert float(fit["se_hessian"].sel(parameter="nu")) == pytest.approx(float(fit["nu"]) / np.sqrt(n), rel=1e-5)


def test_a_maximum_of_the_ex_gaussian_above_that_of_the_exponential_is_kept() -> None:
    x = np.random.default_rng(9).exponential(1, 10)
    fit = fit_mle(x, FAMILIES["ex_gaussian"], draws=2)["fit"]
    assert fit["status"].item() == "converged"
    assert float(fit["log_likelihood"]) > -10 * np.log(x.mean() - x.min()) - 10 + 0.06


# --- wrong data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "words"),
    [
        ("gamma", [1.0, -2.0, 3.0], "observation 2 is -2, outside the support x > 0 of family 'gamma'"),
        ("lognormal", [1.0, 0.0, 3.0], "observation 2 is 0, outside the support x > 0"),
        ("poisson", [1.0, 2.5, 3.0], r"observation 2 is 2.5, outside the support 0, 1, \.\.\."),
        ("geometric", [1, 0, 3], r"observation 2 is 0, outside the support 1, 2, \.\.\."),
        ("beta", [0.5, 1.0, 0.2], "observation 2 is 1, outside the support 0 < x < 1"),
        ("beta", [0.5, 50.0, 0.2], "observation 2 is 50, outside the support 0 < x < 1"),
        ("von_mises", [1.0, 7.0, 2.0], "observation 2 is 7, outside the support -3.14159 <= x <= 3.14159"),
        ("binomial(4)", [1, 5, 2], r"observation 2 is 5, outside the support 0, 1, \.\.\., 4"),
        ("poisson", [3.0, 1e20, 4.0], "observation 2 is 1e\\+20, and floats beyond .* are not all whole numbers"),
        ("hurdle_gamma", [0.0, -1.0, 2.0], "observation 2 is -1, outside the support x >= 0"),
    ],
)
def test_data_outside_the_support_are_refused(name: str, x: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_mle(x, find_family(name))


# --- projections of densities, and leave-one-out -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gamma", "beta", "pareto", "uniform"])
def test_a_member_is_its_own_projection(name: str) -> None:
    case, family = next(c for c in CASES if c.name == name), FAMILIES[name]
    found = forward_projection(from_distribution(family.density, dict(case.truth)), family)
    for key, value in case.truth.items():
        assert float(found.params[key]) == pytest.approx(value, rel=1e-7)
    assert found.divergence.value == pytest.approx(0, abs=1e-9)


def test_projection_matches_the_sufficient_statistics() -> None:
    """A Weibull onto the lognormal: mean and variance of its logarithm, which is Gumbel."""
    found = forward_projection(from_distribution("Weibull", {"alpha": 2.0, "beta": 3.0}), FAMILIES["lognormal"])
    assert float(found.params["mu"]) == pytest.approx(np.log(3) - np.euler_gamma / 2, abs=1e-9)
    assert float(found.params["sigma"]) == pytest.approx(np.pi / np.sqrt(6) / 2, rel=1e-9)
    assert found.certificate == "consistent"
    assert sandwich(from_distribution("Weibull", {"alpha": 2.0, "beta": 3.0}), found).trace > 2


@pytest.mark.parametrize(
    ("target", "name", "words"),
    [
        (("Normal", {"mu": 0, "sigma": 1}), "gamma", "mass below 0, where every member of gamma has density 0"),
        (("Gamma", {"alpha": 2, "beta": 1}), "beta", "mass above 1"),
        (("Gamma", {"alpha": 2, "beta": 1}), "poisson", "puts mass on integers"),
        (("Poisson", {"mu": 3}), "normal", "puts mass on single integers and family 'normal' has a density"),
        (("Poisson", {"mu": 3}), "geometric", "has mass at 0, outside the support"),
        (("Gamma", {"alpha": 2, "beta": 1}), "uniform", "mass without end"),
        (("HalfCauchy", {"beta": 1}), "half_normal", "infinite variance"),
    ],
)
def test_families_at_infinite_forward_kl_are_refused(target: Any, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        forward_projection(from_distribution(*target), FAMILIES[name])


@pytest.mark.exhaustive
def test_projection_of_a_discrete_target_is_maximum_likelihood_with_its_masses() -> None:
    target = from_distribution("BetaBinomial", {"n": 20, "alpha": 2, "beta": 3})
    found = forward_projection(target, FAMILIES["poisson"])
    k, law = np.arange(21), stats.betabinom(20, 2, 3)
    assert float(found.params["mu"]) == pytest.approx(8, rel=1e-12)
    assert found.divergence.value == pytest.approx(law.pmf(k) @ (law.logpmf(k) - stats.poisson(8).logpmf(k)), rel=1e-9)


def test_projection_of_draws_is_maximum_likelihood() -> None:
    x, fit = fitted("gamma")
    found = forward_projection(from_draws(x), FAMILIES["gamma"])
    assert float(found.params["alpha"]) == pytest.approx(float(fit["alpha"]), rel=1e-9)


def test_leave_one_out_of_an_outlier_is_a_new_fit() -> None:
    x = np.append(np.random.default_rng(0).normal(size=299), 1000.0)
    found = leave_one_out(x, FAMILIES["normal"])
    for i in (0, 150, 299):
        rest = np.delete(x, i)
        assert found[i] == pytest.approx(stats.norm(rest.mean(), rest.std()).logpdf(x[i]), rel=1e-9)


@pytest.mark.parametrize("name", ["gamma", "negative_binomial"])
def test_leave_one_out_by_one_step_is_a_new_fit(name: str) -> None:
    x = fitted(name)[0][:80]
    x[0] *= 20
    found, family = leave_one_out(x, FAMILIES[name]), FAMILIES[name]
    for i in (0, 1, 40):
        fit = fit_mle(np.delete(x, i), family, draws=2)["fit"]
        again = family.logp(x[i : i + 1, None], {p.name: fit[p.name].to_numpy() for p in family.parameters})[0]
        assert found[i] == pytest.approx(again, abs=1e-3)


def test_without_its_least_draw_a_pareto_leaves_it_out() -> None:
    x, _ = fitted("pareto")
    assert np.flatnonzero(np.isneginf(leave_one_out(x, FAMILIES["pareto"]))).tolist() == [int(x.argmin())]
