"""Posteriors against scipy's quadrature, both directions of their fits, and what is said of samplers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import beta, cauchy, halfnorm, norm

from analysis.gaussians import gaussian
from analysis.posterior_modes import study as question
from analysis.posterior_modes.cases import CASES, durations
from analysis.posterior_modes.exact import Grid, exact_posterior
from analysis.posterior_modes.figures import plot
from analysis.posterior_modes.findings import ends, findings, one_sided, particles
from analysis.posterior_modes.study import LEVEL, TOLERANCE, Settings
from analysis.site.chapter import words_of
from models.quadrature import Estimate
from models.results import load, save
from models.targets import Target, from_model
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")
pytestmark = pytest.mark.exhaustive

SETTINGS = Settings(starts=4, steps=150, nats=1e-2, chains=2, tune=50, draws=60, particles=150, seed=1)
Array = np.ndarray[Any, Any]
Y = np.array([-10.9, -9.1, 9.5, 10.5])


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def cauchy_target() -> Target:
    return from_model(CASES[0].build())


@pytest.fixture(scope="module")
def grid(cauchy_target: Target) -> Grid:
    return exact_posterior(cauchy_target)


def joint(mu: float) -> float:
    return float(norm.pdf(mu, 0, 10) * np.prod(cauchy.pdf(Y, mu)))


def integral(f: Any, low: float = -60, high: float = 60) -> float:
    return float(quad(f, low, high, points=[-10, 0, 10], limit=400, epsabs=1e-20, epsrel=1e-10)[0])


# --- the exact posterior ---------------------------------------------------------------------------------------------


def test_the_posterior_is_that_of_scipy(grid: Grid) -> None:
    z = integral(joint)
    assert grid.log_z.value == pytest.approx(np.log(z), abs=1e-5)
    mean = integral(lambda m: m * joint(m)) / z
    assert float(grid.mean[0]) == pytest.approx(mean, abs=1e-3)
    assert float(grid.cov[0, 0]) == pytest.approx(integral(lambda m: (m - mean) ** 2 * joint(m)) / z, rel=1e-4)


def reverse_kl(mean: float, var: float) -> float:
    """KL(N(mean, var) || posterior) by scipy."""
    q, z = norm(mean, np.sqrt(var)), integral(joint)
    reach = 8 * np.sqrt(var)
    return integral(lambda m: q.pdf(m) * (q.logpdf(m) - np.log(joint(m) / z)), mean - reach, mean + reach)


def test_both_divergences_are_those_of_scipy_and_the_right_way_round(results: xr.DataTree, grid: Grid) -> None:
    q, z = norm(9.0, 1.5), integral(joint)
    forward = integral(lambda m: joint(m) / z * (np.log(joint(m) / z) - q.logpdf(m)))
    assert grid.forward(gaussian("normal", np.array([9.0]), np.array([[2.25]]))) == pytest.approx(forward, rel=1e-4)
    fits = results["cauchy/fits"].to_dataset()
    for fit in (fits.isel(fit=k) for k in np.flatnonzero((fits["role"] == "reverse").to_numpy())):
        expected = reverse_kl(float(fit["mean"][0]), float(fit["cov"][0, 0]))
        assert float(fit["kl_reverse"]) == pytest.approx(expected, abs=1e-4)
        if float(fit["cov"][0, 0]) < 9:  # on one mode: the other one costs in one direction only
            assert float(fit["kl_reverse"]) < 2 < float(fit["kl_forward"])


def test_forward_optimum_has_the_moments_and_is_lower_than_its_neighbours(grid: Grid) -> None:
    mean, var = grid.mean, grid.cov
    lowest = grid.forward(gaussian("normal", mean, var))
    for shift, scale in ((0.3, 1.0), (-0.3, 1.0), (0.0, 1.1), (0.0, 0.9)):
        assert grid.forward(gaussian("normal", mean + shift, scale * var)) > lowest


def test_reverse_minima_are_minima_and_advi_ends_at_them(results: xr.DataTree) -> None:
    fits = results["cauchy/fits"].to_dataset()
    how, role = fits["how"].to_numpy(), fits["role"].to_numpy()
    exact = fits.isel(fit=np.flatnonzero((how == "exact") & (role == "reverse")))
    sds = np.sqrt(exact["cov"].to_numpy()[:, 0, 0])
    assert exact.sizes["fit"] == 3
    assert sds[2] > 5 * max(sds[:2])  # the broad one
    for k in range(3):
        mean, var = float(exact["mean"][k, 0]), float(exact["cov"][k, 0, 0])
        value = float(exact["kl_reverse"][k])
        for shift, scale in ((0.05, 1.0), (-0.05, 1.0), (0.0, 1.1), (0.0, 0.9)):
            assert reverse_kl(mean + shift, scale * var) > value
    advi = fits.isel(fit=np.flatnonzero(how == "advi"))
    at_one = (advi["gap"] <= TOLERANCE).to_numpy()
    assert at_one.any()
    for k in range(advi.sizes["fit"]):
        assert ("at no minimum" in str(advi["fit"].to_numpy()[k])) == (not at_one[k])
        if at_one[k]:
            gaps = float(advi["kl_reverse"][k]) - exact["kl_reverse"].to_numpy()
            assert np.abs(gaps).min() == pytest.approx(abs(float(advi["gap"][k])), abs=1e-9)


def test_what_exact_fits_cover_and_where_they_lie_is_computed_and_not_drawn(results: xr.DataTree) -> None:
    fits, z = results["cauchy/fits"].to_dataset(), integral(joint)
    for k in range(fits.sizes["fit"]):
        q = norm(float(fits["mean"][k, 0]), float(np.sqrt(fits["cov"][k, 0, 0])))
        low, high = q.interval(LEVEL)
        cuts = [p for p in (-10, 0, 10) if low < p < high]
        inside = quad(
            lambda m: joint(m) / z, max(low, -60), min(high, 60), points=cuts or None, limit=400, epsabs=1e-12
        )
        assert float(fits["covered"][k]) == pytest.approx(inside[0], abs=1e-4)
        assert float(fits["share"][k]) == pytest.approx(q.sf(0), abs=1e-12)
    assert float(results["cauchy/grid/share"]) == pytest.approx(integral(joint, 0, 60) / z, abs=1e-4)


def test_the_share_of_a_normal_is_that_of_its_draws() -> None:
    case, rng = CASES[1], np.random.default_rng(2)
    factor, mean = rng.normal(size=(5, 5)), rng.normal(size=5)
    drawn = case.side(rng.multivariate_normal(mean, factor @ factor.T, 100_000)).mean()
    assert case.share(mean, factor @ factor.T) == pytest.approx(drawn, abs=0.01)


def test_a_symmetry_leaves_the_posterior_as_it_is() -> None:
    rng = np.random.default_rng(0)
    case = CASES[1]
    assert case.symmetry is not None
    target = from_model(case.build())
    x = rng.normal(0, 1, (20, target.dim))
    moved = x @ case.symmetry.T
    np.testing.assert_allclose(target.logp(moved), target.logp(x), rtol=1e-10)
    np.testing.assert_array_equal(case.side(moved), ~case.side(x))


# --- samplers --------------------------------------------------------------------------------------------------------


def test_draws_are_taken_to_unconstrained_space_in_the_order_of_the_model(results: xr.DataTree) -> None:
    """Those of the model with a transform: what the log density of the target says of them is what scipy does, Jacobians written out."""
    x = results["faithful/nuts/x"].to_numpy()[0, :5]
    w, mu, sigma = expit(x[:, 0]), x[:, 1:3], np.exp(x[:, 3:])
    assert np.ptp(x, axis=0).min() > 0
    y = durations()
    mixture = w[:, None] * norm.pdf(y, mu[:, :1], sigma[:, :1]) + (1 - w)[:, None] * norm.pdf(
        y, mu[:, 1:], sigma[:, 1:]
    )
    expected = np.log(mixture).sum(axis=1) + beta.logpdf(w, 2, 2) + norm.logpdf(mu, 3.5, 1.5).sum(axis=1)
    expected += halfnorm.logpdf(sigma).sum(axis=1) + np.log(w * (1 - w)) + np.log(sigma).sum(axis=1)
    np.testing.assert_allclose(from_model(CASES[1].build()).logp(x), expected, rtol=1e-8)
    posterior = xr.Dataset({"w": (("chain", "draw"), w[None]), "mu": (("chain", "draw", "k"), mu[None]),
                            "sigma": (("chain", "draw", "k"), sigma[None])})  # fmt: skip
    np.testing.assert_allclose(question.unconstrained(CASES[1].build(), posterior)[0], x, rtol=1e-8)


@pytest.mark.parametrize("name", [c.name for c in CASES])
def test_shares_and_moments_are_those_of_the_draws(results: xr.DataTree, name: str) -> None:
    case = next(c for c in CASES if c.name == name)
    tree = results[name]
    x = tree["nuts/x"].to_numpy()
    assert x.shape[:2] == (SETTINGS.chains, SETTINGS.draws)
    np.testing.assert_allclose(tree["shares/share"], case.side(x).mean(axis=1))
    one = tree["sources"].to_dataset().sel(source="NUTS, one chain")
    assert float(one["mean"]) == pytest.approx(x[0, :, case.column].mean())
    assert float(one["sd"]) == pytest.approx(x[0, :, case.column].std())
    smc = tree["smc/x"].to_numpy().reshape(-1, x.shape[-1])
    mle = tree["fits"].to_dataset().sel(fit="forward: MLE on SMC")
    np.testing.assert_allclose(mle["mean"], smc.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mle["cov"], np.cov(smc.T, bias=True).reshape(mle["cov"].shape), rtol=1e-4, atol=1e-6)


def test_both_labellings_are_found_by_advi(results: xr.DataTree) -> None:
    fits = results["faithful/fits"].to_dataset()
    advi = fits.isel(fit=np.flatnonzero(((fits["how"] == "advi") & (fits["covered"] > 0.01)).to_numpy()))
    assert advi.sizes["fit"] == 2
    assert str(fits["fit"].to_numpy()[0]) == "forward: MLE on SMC"
    np.testing.assert_allclose(np.sort(advi["share"]), [0, 1], atol=1e-3)
    assert np.all(advi["covered"] < 0.6)


# --- findings, figures, files ----------------------------------------------------------------------------------------


def test_findings_are_complete_and_modest(results: xr.DataTree) -> None:
    f = findings(results)
    words = words_of("posterior_modes", f)
    assert len(words.answer) > 100
    assert f["n_chains"] == 2 * SETTINGS.chains
    assert (f["faithful"]["exact_share"], f["faithful"]["ends"]) == (0.5, None)
    assert "all modes found" not in (words.answer + words.text).lower()


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    f = findings(results)

    def said(**part: Any) -> str:
        return words_of("posterior_modes", f | {"cauchy": f["cauchy"] | part}).text

    gaps, at_rest = np.array([1e-4, 0.2]), np.array([1, 1])
    assert "Of the 2 ends 1 is at no minimum, though at rest" in said(ends=ends(gaps, at_rest))
    assert "are within 0.0001 nats" in said(ends=ends(gaps[:1], at_rest[:1]))
    assert ends(gaps[:1], at_rest[:1]) == {"n": 1, "stopped": 0, "largest": 1e-4, "though_at_rest": False}
    assert ends(gaps[1:], 0 * at_rest[1:]) == {"n": 1, "stopped": 1, "largest": None, "though_at_rest": False}

    def chains(*shares: float) -> str:
        return said(chains=one_sided(np.array(shares)) | {"r_hat": 1.0101})

    assert "R-hat (1.01) has nothing to compare" in chains(1.0, 1.0)
    assert "R-hat (1.01) says so, because chains differ" in chains(1.0, 0.0)
    assert "Every chain has been on both sides" in chains(0.4, 0.6)
    assert "Of them 1 stayed on one side. R-hat is 1.01." in " ".join(chains(0.4, 1.0).split())

    assert "finds 0% with `mu > 0`: it has lost a mode" in said(smc=particles(0.0, 1000, 0.5))
    assert "(1.6 points of standard error), since particles share ancestors" in said(smc=particles(0.3, 1000, 0.5))
    assert "finds 58% with `mu > 0`, where 59% would be right.\n" in said(smc=particles(0.58, 1000, 0.59)).replace(
        " \n", "\n"
    )


def test_estimates_of_reverse_kl_have_their_error(results: xr.DataTree) -> None:
    values = [row["kl_reverse"] for row in findings(results)["cauchy"]["fits"] if row["kl_reverse"] is not None]
    assert values
    assert all(isinstance(v, Estimate) and 0 <= v.error < 0.1 for v in values)


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("posterior_modes", findings(results)))


def test_run_asks_the_store_and_the_results_can_be_kept(results: xr.DataTree, tmp_path: Path) -> None:
    asked: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        json.dumps(inputs)
        return results[name]

    again = question.run(SETTINGS, remember=remember)
    assert sorted(asked) == sorted(case.name for case in CASES)
    assert load(save(again, tmp_path / "results.nc")).equals(again)


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("starts", "steps", "tune", "draws", "particles"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert default == Settings(seed=7)


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
