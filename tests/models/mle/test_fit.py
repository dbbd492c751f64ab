"""Maximum likelihood against closed forms, an EM of its own, and the sandwich written out by hand."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.data.columns import load_column
from models.errors import ConvergenceError, InputError
from models.families import FAMILIES, Family, mvnormal_mixture, normal, normal_mixture, student_t
from models.graphs import numpy_mode
from models.mle import fit_map, fit_mle, scores
from models.projections.starts import forward_starts
from models.projections.units import points_of
from models.quadrature import Nodes
from models.results import flatten
from models.targets import normal_mixture as mixture_target
from tests.strategies import SLOPES

NORMAL, LOGISTIC, FULL, DIAGONAL = (FAMILIES[k] for k in ("normal", "logistic", "mvnormal", "mvnormal_diag"))

#: Skewed and heavy-tailed, so that the sandwich differs from the inverse Hessian.
SAMPLE = np.random.default_rng(3).gamma(2.0, 1.5, 400) - 1
COV = np.array([[2.0, 1.2, 0.0], [1.2, 1.5, -0.3], [0.0, -0.3, 0.7]])
CLOUD = np.random.default_rng(4).multivariate_normal([1.0, -2.0, 0.5], COV, 300)
PAIRS = CLOUD[:, :2]


@cache
def normal_fit() -> xr.DataTree:
    return fit_mle(SAMPLE, NORMAL, seed=5)


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_normal_is_mean_and_standard_deviation() -> None:
    fit = normal_fit()["fit"]
    assert float(fit["mu"]) == pytest.approx(SAMPLE.mean(), rel=1e-11)
    assert float(fit["sigma"]) == pytest.approx(SAMPLE.std(), rel=1e-11)
    exact = stats.norm(SAMPLE.mean(), SAMPLE.std()).logpdf(SAMPLE).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(exact, rel=1e-12)
    assert float(fit["cross_entropy"]) == pytest.approx(-exact / len(SAMPLE), rel=1e-12)
    assert float(fit["gradient_norm"]) < 1e-8


def test_normal_standard_errors_from_the_hessian() -> None:
    n, sd = len(SAMPLE), SAMPLE.std()
    expected = [sd / np.sqrt(n), sd / np.sqrt(2 * n)]
    np.testing.assert_allclose(normal_fit()["fit"]["se_hessian"], expected, rtol=1e-9)


def test_normal_sandwich_is_written_out_by_hand() -> None:
    """J^-1 K J^-1 / n with J and K of the scores (x - mu) / sd^2 and ((x - mu)^2 - sd^2) / sd^3."""
    n, sd, z = len(SAMPLE), SAMPLE.std(), SAMPLE - SAMPLE.mean()
    score = np.stack([z / sd**2, (z**2 - sd**2) / sd**3])
    information = np.diag([1 / sd**2, 2 / sd**2])
    covariance = np.linalg.inv(information) @ (score @ score.T / n) @ np.linalg.inv(information) / n
    np.testing.assert_allclose(normal_fit()["fit"]["se_sandwich"], np.sqrt(np.diag(covariance)), rtol=1e-9)
    # The same from moments: the variance of the standard deviation is (m4 - sd^4) / (4 sd^2 n).
    se = np.sqrt(((z**4).mean() - sd**4) / (4 * sd**2 * n))
    assert float(normal_fit()["fit"]["se_sandwich"][1]) == pytest.approx(se, rel=1e-9)
    assert se > 1.2 * sd / np.sqrt(2 * n)


def test_sandwich_tends_to_the_exact_asymptotic_covariance() -> None:
    """Case sandwich_normal_bim37_a3 of the full reference set (see reference/README.md): mean, sd, sandwich, J^-1."""
    n = 200_000
    x = mixture_target([0.3, 0.7], [-3, 3], [1, 1]).rvs(n, seed=8)
    fit = fit_mle(x, NORMAL, draws=2)["fit"]
    sandwich, naive = np.array([8.56, 2.2133644859813084]), np.array([8.56, 4.28])
    np.testing.assert_allclose(fit["se_sandwich"] ** 2 * n, sandwich, rtol=0.02)
    np.testing.assert_allclose(fit["se_hessian"] ** 2 * n, naive, rtol=0.02)
    errors = fit["se_sandwich"].to_numpy()
    assert abs(float(fit["mu"]) - 1.2) < 4 * errors[0]
    assert abs(float(fit["sigma"]) - 2.9257477676655586) < 4 * errors[1]


@pytest.mark.parametrize("family", [LOGISTIC, student_t(4.0)], ids=lambda f: f.name)
def test_find_map_of_pymc_ends_where_we_do(family: Family) -> None:
    """PyMC's own model and optimiser, from its own start."""
    tree = pm.find_MAP(model=family.model(SAMPLE), progressbar=False, jitter=False, return_inferencedata=True,
                       compile_kwargs={"mode": numpy_mode()})  # fmt: skip
    found = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    fit = fit_mle(SAMPLE, family)["fit"]
    for parameter in family.parameters:
        assert float(fit[parameter.name]) == pytest.approx(float(found[parameter.name]), rel=1e-3)


def test_mvnormal_is_mean_and_covariance() -> None:
    fit = fit_mle(PAIRS, FULL)["fit"]
    centred = PAIRS - PAIRS.mean(axis=0)
    cov = centred.T @ centred / len(PAIRS)
    np.testing.assert_allclose(fit["mu"], PAIRS.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(fit["cov"], cov, rtol=1e-8, atol=1e-9)
    exact = stats.multivariate_normal(PAIRS.mean(axis=0), cov).logpdf(PAIRS).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(exact, rel=1e-11)
    labels = [str(name) for name in fit["parameter"].to_numpy()]
    se = dict(zip(labels, fit["se_hessian"].to_numpy(), strict=True))
    sandwich = dict(zip(labels, fit["se_sandwich"].to_numpy(), strict=True))
    for i in range(2):
        assert se[f"mu[{i}]"] == pytest.approx(np.sqrt(cov[i, i] / len(PAIRS)), rel=1e-7)
        for j in range(2):
            # Wishart: n var(S_ij) = S_ii S_jj + S_ij^2; without assuming Normal, n var(S_ij) = var(z_i z_j).
            wishart = np.sqrt((cov[i, i] * cov[j, j] + cov[i, j] ** 2) / len(PAIRS))
            assert se[f"cov[{i},{j}]"] == pytest.approx(wishart, rel=1e-6)
            spread = (centred[:, i] * centred[:, j]).std() / np.sqrt(len(PAIRS))
            assert sandwich[f"cov[{i},{j}]"] == pytest.approx(spread, rel=1e-6)


def test_mean_field_is_means_and_standard_deviations() -> None:
    fit = fit_mle(PAIRS, DIAGONAL)["fit"]
    np.testing.assert_allclose(fit["mu"], PAIRS.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(fit["sigma"], PAIRS.std(axis=0), rtol=1e-9)


def test_student_t_with_fixed_degrees_of_freedom_agrees_with_scipy() -> None:
    x = stats.t(3).rvs(500, random_state=6) * 2 + 1
    fit = fit_mle(x, student_t(5.0))["fit"]
    _, location, scale = stats.t.fit(x, f0=5.0)
    assert float(fit["mu"]) == pytest.approx(location, abs=1e-3)
    assert float(fit["sigma"]) == pytest.approx(scale, abs=1e-3)
    best = stats.t(5.0, location, scale).logpdf(x).sum()
    assert float(fit["log_likelihood"]) >= best - 1e-9


def test_scores_are_gradients_of_the_log_density() -> None:
    theta, step = np.array([0.3, np.log(1.7)]), 1e-6

    def logpdf(t: np.ndarray) -> np.ndarray:
        return stats.logistic(t[0], np.exp(t[1])).logpdf(SAMPLE)

    numeric = np.stack([(logpdf(theta + step * e) - logpdf(theta - step * e)) / (2 * step) for e in np.eye(2)], axis=1)
    np.testing.assert_allclose(scores(SAMPLE[:, None], LOGISTIC, theta), numeric, atol=1e-8)


# --- several maxima --------------------------------------------------------------------------------------------------


def em(x: np.ndarray, k: int, starts: int, seed: int) -> float:
    """Best log likelihood of a Normal mixture by expectation-maximisation from random starts."""
    rng, best = np.random.default_rng(seed), -np.inf
    for _ in range(starts):
        w, mu, sd = np.full(k, 1 / k), rng.choice(x, k, replace=False), np.full(k, x.std())
        for _ in range(400):
            joint = w * stats.norm.pdf(x[:, None], mu, sd)
            share = joint / joint.sum(axis=1, keepdims=True)
            count = share.sum(axis=0)
            w, mu = count / len(x), share.T @ x / count
            sd = np.sqrt((share * (x[:, None] - mu) ** 2).sum(axis=0) / count)
        if sd.min() > 0.05 * x.std():  # a component on one point has unbounded likelihood
            best = max(best, float(np.log((w * stats.norm.pdf(x[:, None], mu, sd)).sum(axis=1)).sum()))
    return best


@cache
def faithful() -> tuple[Any, list[str]]:
    """Fit of two Normals to the waiting times, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = fit_mle(load_column("old_faithful_waiting"), normal_mixture(2))["fit"]
    return fit, [str(w.message) for w in caught]


def test_a_start_that_is_polished_warns_nobody() -> None:
    assert faithful()[1] == []


def test_mixture_of_old_faithful_is_as_good_as_em() -> None:
    x, (fit, _) = load_column("old_faithful_waiting"), faithful()
    assert float(fit["log_likelihood"]) >= em(x, 2, starts=6, seed=1) - 1e-8
    w, mu, sd = (fit[name].to_numpy() for name in ("w", "mu", "sigma"))
    direct = np.log((w * stats.norm.pdf(x[:, None], mu, sd)).sum(axis=1)).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(direct, rel=1e-12)
    assert np.all(np.diff(mu) > 0)
    assert w.sum() == pytest.approx(1, abs=1e-12)
    assert int(fit["starts_reached"]) >= 1
    # The weights sum to 1, so both have the same standard error.
    se = fit["se_hessian"].to_numpy()
    assert se[0] == pytest.approx(se[1], rel=1e-6)


# --- invariance ------------------------------------------------------------------------------------------------------


@settings(max_examples=4)
@given(slope=SLOPES, shift=st.floats(-20, 20))
@pytest.mark.parametrize(("family", "scale"), [(NORMAL, "sigma"), (LOGISTIC, "s")], ids=["normal", "logistic"])
def test_an_affine_map_of_the_data_maps_the_estimate(family: Family, scale: str, slope: float, shift: float) -> None:
    x = SAMPLE[:100]
    plain, mapped = (fit_mle(data, family, draws=2)["fit"] for data in (x, slope * x + shift))
    assert float(mapped["mu"]) == pytest.approx(slope * float(plain["mu"]) + shift, abs=1e-7 * (1 + abs(shift)))
    assert float(mapped[scale]) == pytest.approx(abs(slope) * float(plain[scale]), rel=1e-7)
    expected = float(plain["log_likelihood"]) - len(x) * np.log(abs(slope))
    assert float(mapped["log_likelihood"]) == pytest.approx(expected, rel=1e-9, abs=1e-7)
    for name in ("se_hessian", "se_sandwich"):
        np.testing.assert_allclose(mapped[name], abs(slope) * plain[name], rtol=1e-5)


@pytest.mark.parametrize(("slope", "shift"), [(1e-12, 0.0), (1.0, 1e9)])
@pytest.mark.parametrize(
    "family", [NORMAL, normal_mixture(2), FAMILIES["student_t"], FAMILIES["laplace"]], ids=lambda f: f.name
)
def test_units_change_nothing_but_the_units(family: Family, slope: float, shift: float) -> None:
    x = np.concatenate([SAMPLE[:60], SAMPLE[60:90] + 12])
    plain, mapped = (fit_mle(data, family, starts=2, draws=2)["fit"] for data in (x, slope * x + shift))
    np.testing.assert_allclose(mapped["mu"], slope * plain["mu"] + shift, rtol=1e-6)
    scale = str(family.scale)
    np.testing.assert_allclose(mapped[scale], slope * plain[scale], rtol=2e-5)
    expected = float(plain["log_likelihood"]) - len(x) * np.log(slope)
    assert float(mapped["log_likelihood"]) == pytest.approx(expected, rel=1e-6)
    moved = np.array([str(label).split("[")[0] in ("mu", scale) for label in plain["parameter"].to_numpy()])
    for name in ("se_hessian", "se_sandwich"):
        np.testing.assert_allclose(mapped[name], np.where(moved, slope, 1.0) * plain[name], rtol=1e-3)


def test_columns_of_very_different_units() -> None:
    stretch = np.array([1e-6, 1e6])
    plain, mapped = (fit_mle(data, FULL, draws=2)["fit"] for data in (PAIRS, PAIRS * stretch))
    np.testing.assert_allclose(mapped["cov"], plain["cov"] * np.outer(stretch, stretch), rtol=1e-7)
    np.testing.assert_allclose(mapped["se_sandwich"][:2], plain["se_sandwich"][:2] * stretch, rtol=1e-6)


def test_standard_errors_of_huge_integers() -> None:
    fit = fit_mle([1, 2, 2**64], NORMAL, draws=2)["fit"]
    np.testing.assert_allclose(fit["se_sandwich"], [5.0205678e18, 1.7750388e18], rtol=1e-6)


# --- boundary --------------------------------------------------------------------------------------------------------


def test_student_t_on_light_tails_says_that_nu_has_run_to_its_boundary() -> None:
    x = np.random.default_rng(9).uniform(-1, 1, 300)
    fit = fit_mle(x, FAMILIES["student_t"])["fit"]
    assert "boundary" in str(fit["status"].item())
    assert "nu" in str(fit["status"].item())
    labels = [str(name) for name in fit["parameter"].to_numpy()]
    for name in ("se_hessian", "se_sandwich"):
        se = dict(zip(labels, fit[name].to_numpy(), strict=True))
        assert np.isnan(se["nu"])
        assert np.isfinite(se["mu"])
        assert np.isfinite(se["sigma"])
    # The limit is the Normal fit.
    assert float(fit["log_likelihood"]) == pytest.approx(stats.norm(x.mean(), x.std()).logpdf(x).sum(), abs=0.1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("draws", ["half-normal", "exponential"])
def test_skew_normal_on_data_that_end_abruptly_tends_to_the_half_normal(draws: str, sign: int) -> None:
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=30)) if draws == "half-normal" else rng.exponential(size=200)
    fit = fit_mle(sign * x, FAMILIES["skew_normal"], draws=2)["fit"]
    assert fit["status"].item() == f"boundary: alpha -> {'' if sign > 0 else '-'}infinity"
    supremum = stats.halfnorm(x.min(), np.sqrt(((x - x.min()) ** 2).mean())).logpdf(x).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(supremum, abs=1e-4)
    assert float(fit["mu"]) == pytest.approx(sign * x.min(), abs=1e-5)
    assert np.isnan(fit["se_hessian"][[0, 2]]).all()


@pytest.mark.parametrize("seed", range(3))
def test_skew_normal_is_at_least_as_good_as_scipy(seed: int) -> None:
    x = stats.skewnorm(3).rvs(60, random_state=seed)
    fit = fit_mle(x, FAMILIES["skew_normal"], draws=2)["fit"]
    assert float(fit["log_likelihood"]) >= stats.skewnorm.logpdf(x, *stats.skewnorm.fit(x)).sum() - 1e-5
    assert abs(float(fit["alpha"])) > 0.1


def test_student_t_on_heavy_tails_is_an_interior_optimum() -> None:
    x = stats.t(3).rvs(1000, random_state=1)
    fit = fit_mle(x, FAMILIES["student_t"])["fit"]
    assert fit["status"].item() == "converged"
    assert 2 < float(fit["nu"]) < 5
    assert np.all(np.isfinite(fit["se_hessian"]))


# --- what is handed back ---------------------------------------------------------------------------------------------


def test_schema() -> None:
    tree = normal_fit()
    assert set(tree.children) == {"fit", "posterior", "sample_stats", "observed_data"}
    assert set(tree["fit"].data_vars) >= {
        "mu", "sigma", "log_likelihood", "se_hessian", "se_sandwich", "status", "gradient_norm", "starts_reached",
    }  # fmt: skip
    assert list(tree["fit"]["parameter"].to_numpy()) == ["mu", "sigma"]
    assert tree["fit"]["status"].item() == "converged"
    assert tree["posterior"]["x"].dims == ("chain", "draw")
    assert tree["posterior"].sizes == {"chain": 1, "draw": 2000}
    np.testing.assert_array_equal(tree["observed_data"]["x"], SAMPLE)
    assert tree.attrs["family"] == "normal"
    assert tree.attrs["seed"] == 5
    fit = tree["fit"]
    expected = stats.norm(float(fit["mu"]), float(fit["sigma"])).logpdf(tree["posterior"]["x"])
    np.testing.assert_allclose(tree["sample_stats"]["log_q"], expected, rtol=1e-10)


def test_labels_follow_the_parameters() -> None:
    fit = fit_mle(PAIRS, FULL, draws=3)
    labels, values = flatten({"mu": fit["fit"]["mu"], "cov": fit["fit"]["cov"]})
    assert list(fit["fit"]["parameter"].to_numpy()) == labels
    assert values.shape == (6,)
    assert fit["posterior"]["x"].shape == (1, 3, 2)


def test_same_seed_same_numbers() -> None:
    again = fit_mle(SAMPLE, NORMAL, seed=5)
    assert again.identical(normal_fit())
    other = fit_mle(SAMPLE, NORMAL, seed=6)
    assert not np.array_equal(other["posterior"]["x"], again["posterior"]["x"])


def test_one_column_is_the_same_as_a_vector() -> None:
    column = fit_mle(SAMPLE[:, None], NORMAL, seed=5)
    np.testing.assert_array_equal(column["fit"]["sigma"], normal_fit()["fit"]["sigma"])


# --- wrong input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "family", "options", "words"),
    [
        ([1.0, np.nan, 2.0], NORMAL, {}, "observation 2 is nan"),
        ([1.0, np.inf], NORMAL, {}, "observation 2 is inf"),
        ([2.0, 2.0, 2.0], NORMAL, {}, "fewer than 2 of them distinct"),
        ([], NORMAL, {}, "no observations"),
        (["a", "b"], NORMAL, {}, "not numbers"),
        (np.full(30, 1.5), NORMAL, {}, "all 30 observations are 1.5"),
        (np.ma.array([1.0, 2.0, 2e4], mask=[0, 0, 1]), NORMAL, {}, "observation 3 is masked"),
        ([1 + 2j, 2.0], NORMAL, {}, "observations are complex"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), NORMAL, {}, "observations are dates"),
        ([True, False], NORMAL, {}, "observations are booleans"),
        (["1", "2"], NORMAL, {}, "observations are text"),
        ([b"1", b"2"], NORMAL, {}, "observations are text"),
        ([1.0, None], NORMAL, {}, "observation 2 is None"),
        (None, NORMAL, {}, "the observations are None"),
        (3.0, NORMAL, {}, "have 0 dimensions"),
        ([1.0, np.inf, -np.inf], NORMAL, {}, "observation 2 is inf"),
        ([1.0, 2.0, 1e200], NORMAL, {}, "observation 3 is 1e.200, .* overflows"),
        ([1e308, 1.0, 1e308], NORMAL, {}, "observation 1 is 1e.308, .* overflows"),
        ([1e-200, 2e-200], NORMAL, {}, "observation 2 is 2e-200, .* vanishes"),
        ([2**63 - 1, 2**63 - 2], NORMAL, {}, "not distinguishable as floats; subtract an offset"),
        (np.array([2**53, 2**53 + 1]), NORMAL, {}, "not distinguishable as floats; subtract an offset"),
        (CLOUD[:, [0, 0]] + 1e-10 * CLOUD[:, :2], FULL, {}, "lie in fewer than 2 dimensions to rounding"),
        ([1.0, 2.0, -3.0], FAMILIES["exponential"], {}, "observation 3 is -3, outside the support x >= 0"),
        ([1.0, 2.0], "normal", {}, "family is 'normal', not a Family; give one such as FAMILIES"),
        ([1.0, 2.0], NORMAL, {"starts": "3"}, "starts is '3'; it must be an integer of at least 1"),
        ([1.0, 2.0], NORMAL, {"starts": 2.5}, "starts is 2.5"),
        ([1.0, 2.0], NORMAL, {"seed": None}, "seed is None"),
        ([1.0, 2.0], NORMAL, {"draws": 0}, "draws is 0; it must be an integer of at least 1"),
        ([1.0, 2.0], NORMAL, {"draws": 2.5}, "draws is 2.5"),
        ([1.0, 2.0], NORMAL, {"weights": "abc"}, "weights is 'abc'"),
        ([1.0, 2.0], NORMAL, {"weights": [1e308, 1e308]}, "divide the weights by their mean"),
        ([1.0, 2.0, 3.0], FAMILIES["student_t"], {"weights": [1, 1, 0]}, "2 observations but family 'student_t' has 3"),
        ([1.0, 2.0], NORMAL, {"seed": -1}, "seed is -1"),
        ([1.0, 2.0], NORMAL, {"starts": 0}, "starts is 0"),
        (CLOUD, NORMAL, {}, "dimension 1 but the data has dimension 3"),
        (CLOUD @ np.diag([1.0, 1.0, 0.0]), FULL, {}, "lie in fewer than 3 dimensions"),
        (CLOUD[:3], FULL, {}, "3 observations but family 'mvnormal' has 9 free parameters"),
    ],
)
def test_wrong_input(x: Any, family: Family, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_mle(x, family, **options)


def test_a_plane_that_misses_the_axes_is_found() -> None:
    x = CLOUD.copy()
    x[:, 2] = 3 * x[:, 0] - 2 * x[:, 1] + 100
    with pytest.raises(InputError, match="lie in fewer than 3 dimensions"):
        fit_mle(x, FULL)


@pytest.mark.parametrize(("name", "family"), [("sigm", NORMAL), ("cov", FULL)])
def test_prior_on_what_takes_none(name: str, family: Family) -> None:
    with pytest.raises(InputError, match=f"takes a prior '{name}'"):
        fit_map(CLOUD if family is FULL else SAMPLE, family, priors={name: pm.HalfNormal.dist(1)})


# --- many optima, collapse, identification ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [2, pytest.param(5, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("name", "k", "best"),
    [("galaxies", 4, -763.890), ("galaxies", 5, -756.507), ("old_faithful_eruptions", 3, -263.919)],
)
def test_the_highest_maximum_of_a_mixture_does_not_depend_on_the_seed(
    name: str, k: int, best: float, seed: int
) -> None:
    """The best that scikit-learn's GaussianMixture finds from some hundred starts."""
    fit = fit_mle(load_column(name), normal_mixture(k), starts=4, seed=seed, draws=2)["fit"]
    shift = len(load_column(name)) * np.log(1000.0) if name == "galaxies" and load_column(name).mean() > 1000 else 0.0
    assert float(fit["log_likelihood"]) + shift >= best - 2e-3


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "k"),
    [
        ("old_faithful_waiting", 2),
        ("old_faithful_eruptions", 2),
        *(("galaxies", k) for k in range(1, 7)),
    ],
)
def test_mixtures_are_at_least_as_good_as_the_best_of_fifty_em_runs(name: str, k: int) -> None:
    from sklearn.mixture import GaussianMixture

    x = load_column(name)
    z = ((x - x.mean()) / x.std())[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = GaussianMixture(k, n_init=50, random_state=0, max_iter=1000, tol=1e-7, init_params="kmeans").fit(z)
    theirs = em.score(z) * len(x) - len(x) * np.log(x.std())
    ours = float(fit_mle(x, normal_mixture(k), starts=4, draws=2)["fit"]["log_likelihood"])
    assert ours >= theirs - 1e-6


def test_a_collapsing_component_is_no_estimate() -> None:
    # Ten equal values: one component can shrink onto them without end.
    x = np.concatenate([np.full(10, 2.0), np.random.default_rng(0).normal(0, 1, 30)])
    fit = fit_mle(x, normal_mixture(2), starts=12, draws=2)["fit"]
    assert int(fit["starts_degenerate"]) > 0
    assert float(fit["sigma"].min()) > 1e-3
    assert str(fit["status"].item()) == "converged"


def test_two_clusters_of_equal_values_have_no_maximum() -> None:
    x = np.repeat([0.0, 1.0], 20)
    with pytest.raises(ConvergenceError, match=r"unbounded: from all .* collapsed on single observations"):
        fit_mle(x, normal_mixture(2), draws=2)


def test_more_components_than_distinct_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 distinct values but family 'normal_mixture\(3\)' has 3 components"):
        fit_mle(np.repeat([0.0, 1.0], 20), normal_mixture(3))


def test_distinct_values_are_counted_on_all_data() -> None:
    # Tied values make the likelihood unbounded, but there are enough of them.
    with pytest.raises(ConvergenceError, match="unbounded"):
        fit_mle(np.concatenate([np.ones(10_000), np.arange(5.0)]), normal_mixture(2), starts=2, draws=2)


@pytest.mark.parametrize("size", [1e-100, 1e100])
def test_the_sandwich_does_not_change_with_the_size_of_the_weights(size: float) -> None:
    x = SAMPLE[:50]
    plain, sized = (fit_mle(x, NORMAL, weights=np.full(50, w), draws=2)["fit"] for w in (1.0, size))
    np.testing.assert_allclose(sized["se_sandwich"], plain["se_sandwich"], rtol=1e-9)
    np.testing.assert_allclose(sized["se_hessian"] * np.sqrt(size), plain["se_hessian"], rtol=1e-9)


def test_exponential_is_the_inverse_of_the_mean() -> None:
    x = np.random.default_rng(2).gamma(3.0, size=200) * 1e-9
    fit = fit_mle(x, FAMILIES["exponential"], draws=2)["fit"]
    assert float(fit["lam"]) == pytest.approx(1 / x.mean(), rel=1e-10)
    assert float(fit["log_likelihood"]) == pytest.approx(stats.expon(scale=x.mean()).logpdf(x).sum(), rel=1e-12)
    # lam is 1 / mean, so by the delta method its standard error is that of the mean over mean^2.
    se = x.std() / np.sqrt(len(x)) / x.mean() ** 2
    assert float(fit["se_sandwich"][0]) == pytest.approx(se, rel=1e-8)
    assert float(fit["se_hessian"][0]) == pytest.approx(1 / x.mean() / np.sqrt(len(x)), rel=1e-8)


def test_fewer_observations_than_parameters_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 observations but family 'student_t' has 3 free parameters"):
        fit_mle([0.0, 1.0], FAMILIES["student_t"])


def test_integers_too_large_for_a_float_are_refused() -> None:
    with pytest.raises(InputError, match=r"observation 1 is an integer too large for a float"):
        fit_mle([10**400, 1, 2], NORMAL)


# --- Laplace ---------------------------------------------------------------------------------------------------------


def test_laplace_is_the_median_and_the_mean_distance_from_it() -> None:
    x = SAMPLE[:301]
    fit = fit_mle(x, FAMILIES["laplace"], draws=2)["fit"]
    assert float(fit["mu"]) == np.median(x)
    assert float(fit["b"]) == pytest.approx(np.abs(x - np.median(x)).mean(), rel=1e-12)
    expected = stats.laplace.logpdf(x, np.median(x), float(fit["b"])).sum()
    assert float(fit["log_likelihood"]) == pytest.approx(expected, abs=1e-9)


def test_laplace_sandwich_is_the_asymptotic_error_of_a_median() -> None:
    x = np.random.default_rng(8).normal(0, 1, 20_000)
    fit = fit_mle(x, FAMILIES["laplace"], draws=2)["fit"]
    # The median of Normal draws has variance pi / (2 n); the kernel estimate of the density is biased by some percent.
    assert float(fit["se_sandwich"][0]) == pytest.approx(np.sqrt(np.pi / 2 / len(x)), rel=0.05)


# --- weights and size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [NORMAL, FAMILIES["student_t"], FAMILIES["laplace"]], ids=lambda f: f.name)
def test_counts_as_weights_are_repeated_observations(family: Family) -> None:
    counts = np.random.default_rng(2).integers(1, 4, len(SAMPLE))
    weighted = fit_mle(SAMPLE, family, weights=counts, draws=2)["fit"]
    repeated = fit_mle(np.repeat(SAMPLE, counts), family, draws=2)["fit"]
    for name in (p.name for p in family.parameters):
        assert float(weighted[name]) == pytest.approx(float(repeated[name]), rel=1e-7)
    assert float(weighted["log_likelihood"]) == pytest.approx(float(repeated["log_likelihood"]), rel=1e-10)
    np.testing.assert_allclose(weighted["se_hessian"], repeated["se_hessian"], rtol=1e-6)


def test_a_mixture_begins_alike_from_weighted_rows_and_the_same_rows_written_out() -> None:
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=60), rng.integers(1, 6, 60)
    written = rng.permutation(np.repeat(x, counts))
    rules = (
        Nodes(x[:, None], counts / counts.sum(), "draws"),
        Nodes(written[:, None], np.full(len(written), 1 / len(written)), "draws"),
    )
    family = normal_mixture(3)
    weighted, alike = (forward_starts(family, points_of(rule, family), 4, 7) for rule in rules)
    np.testing.assert_allclose(weighted, alike, rtol=1e-6)


def test_sampling_weights_give_the_sandwich_of_survey_statistics() -> None:
    w = np.random.default_rng(3).uniform(0.2, 3, len(SAMPLE))
    fit = fit_mle(SAMPLE, NORMAL, weights=w, draws=2)["fit"]
    mean = np.average(SAMPLE, weights=w)
    assert float(fit["mu"]) == pytest.approx(mean, rel=1e-10)
    # Linearisation variance of a weighted mean.
    linear = w * (SAMPLE - mean)
    assert float(fit["se_sandwich"][0]) == pytest.approx(np.sqrt((linear**2).sum()) / w.sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 2.0], "2 weights but 400 observations"),
        (np.full(400, -1.0), r"weights\[0\] is -1"),
        (np.zeros(400), "not all zero"),
    ],
)
def test_wrong_weights(weights: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_mle(SAMPLE, NORMAL, weights=weights)


def test_many_observations_are_taken_in_batches() -> None:
    x = stats.t(4, 1, 2).rvs(150_000, random_state=0)
    fit = fit_mle(x, FAMILIES["student_t"], draws=2)["fit"]
    theirs = minimum_by_scipy(x, [float(fit[k]) for k in ("nu", "mu", "sigma")])
    assert float(fit["log_likelihood"]) == pytest.approx(-theirs, rel=1e-10)
    assert float(fit["gradient_norm"]) < 1e-10
    np.testing.assert_allclose(fit["se_sandwich"], fit["se_hessian"], rtol=0.03)  # the family contains the target


def minimum_by_scipy(x: np.ndarray, start: list[float]) -> float:
    from scipy.optimize import minimize

    return float(minimize(lambda p: -stats.t.logpdf(x, *p).sum(), start, method="Nelder-Mead").fun)


@pytest.mark.exhaustive
def test_multivariate_mixture_is_as_good_as_em() -> None:
    from sklearn.mixture import GaussianMixture

    x = np.column_stack([load_column("old_faithful_eruptions"), load_column("old_faithful_waiting")])
    fit = fit_mle(x, mvnormal_mixture(2), starts=2, draws=2)["fit"]
    em = GaussianMixture(
        2,
        n_init=5,
        init_params="random_from_data",
        random_state=0,
        tol=1e-9,
        max_iter=1000,  # k-means, its default, brings OpenMP
    ).fit(x)
    assert float(fit["log_likelihood"]) >= em.score(x) * len(x) - 1e-5
    order = np.argsort(em.means_[:, 0])
    np.testing.assert_allclose(fit["mu"], em.means_[order], rtol=1e-3)
    np.testing.assert_allclose(fit["cov"], em.covariances_[order], rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("family", [NORMAL, normal(1.5)], ids=lambda f: f.name)
def test_of_very_many_observations_four_moments_are_enough(family: Family) -> None:
    """The same numbers as from every single observation, which weights of one ask for."""
    x = np.random.default_rng(8).gamma(2.0, 1.5, 100_001) - 1
    short, long = (fit_mle(x, family, draws=2, **given)["fit"] for given in ({}, {"weights": np.ones(len(x))}))
    for name in ("mu", "log_likelihood", "se_hessian", "se_sandwich"):
        np.testing.assert_allclose(short[name], long[name], rtol=1e-9)
