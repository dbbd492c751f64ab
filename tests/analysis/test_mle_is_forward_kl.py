"""Maximum likelihood as forward KL: fits, products, smoothing and excess KL by unrelated routes, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.integrate import quad

from analysis.mle_is_forward_kl import findings as said
from analysis.mle_is_forward_kl import fits as many
from analysis.mle_is_forward_kl import lines
from analysis.mle_is_forward_kl import study as question
from analysis.mle_is_forward_kl.figures import plot
from analysis.mle_is_forward_kl.findings import Row
from analysis.mle_is_forward_kl.fits import CASES
from analysis.mle_is_forward_kl.study import Settings
from analysis.site.chapter import words_of
from models.divergences import kl
from models.families import FAMILIES
from models.mle import fit_mle
from models.projections import forward_projection
from models.quadrature import Estimate
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

SETTINGS = Settings(seed=3, largest=30_000, replications=60, fewest=5, budget=60_000, intervals=100)
Array = np.ndarray[Any, Any]
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def found(results: xr.DataTree) -> dict[str, Any]:
    return said.findings(results)


def draws(name: str, shape: tuple[int, ...], seed: int = 1) -> Array:
    return question.draw(BY_NAME[name].target, np.random.default_rng(seed), shape)


# --- draws and fits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_draws_are_those_of_the_target(name: str) -> None:
    x = draws(name, (100, 200)).ravel()
    grid = np.linspace(-25, 25, 20_001)
    cdf = np.cumsum(np.exp(BY_NAME[name].target.logp(grid[:, None]))) * (grid[1] - grid[0])
    assert stats.kstest(x, lambda at: np.interp(at, grid, cdf)).pvalue > 1e-3
    assert stats.kstest(x + 0.1, lambda at: np.interp(at, grid, cdf)).pvalue < 1e-3


def test_many_fits_at_once_are_fit_mle() -> None:
    best = forward_projection(BY_NAME["outliers"].target, FAMILIES["student_t"])
    x = draws("outliers", (1, 2000))
    fits, fit = (
        many.fit_rows(best.family, x, best.theta, intervals=True),
        fit_mle(x[0], best.family, starts=2, draws=2)["fit"],
    )
    np.testing.assert_allclose(fits.estimate[0], [float(fit[name]) for name in ("nu", "mu", "sigma")], atol=1e-9)
    for name in ("se_hessian", "se_sandwich"):
        np.testing.assert_allclose(getattr(fits, name)[0], fit[name], atol=1e-9)


def test_many_fits_of_student_t_are_those_of_scipy() -> None:
    best = forward_projection(BY_NAME["outliers"].target, FAMILIES["student_t"])
    x = draws("outliers", (3, 400))
    fits = many.fit_rows(best.family, x, best.theta, intervals=False)
    for row, estimate in zip(x, fits.estimate, strict=True):
        np.testing.assert_allclose(estimate, stats.t.fit(row), rtol=2e-3, atol=2e-3)
    gain = [stats.t.nnlf(e, row) - stats.t.nnlf([float(best.params[k]) for k in ("nu", "mu", "sigma")], row)
            for e, row in zip(fits.estimate, x, strict=True)]  # fmt: skip
    np.testing.assert_allclose(fits.optimism, np.array(gain) / 400, atol=1e-10)
    assert (fits.optimism < 0).all()


def test_a_row_whose_degrees_of_freedom_grow_without_end_is_a_normal_and_moves_no_other() -> None:
    """Draws lighter-tailed than any Student-t send nu to infinity; what is left is the Normal's mean and spread."""
    best = forward_projection(BY_NAME["outliers"].target, FAMILIES["student_t"])
    x = draws("outliers", (2, 200))
    light = np.linspace(-1, 1.4, 200)
    fits = many.fit_rows(best.family, np.stack([x[0], light, x[1]]), best.theta, intervals=True)
    assert fits.estimate[1, 0] == np.inf
    np.testing.assert_allclose(fits.estimate[1, 1:], [light.mean(), light.std()], rtol=1e-4)
    there = -stats.t.logpdf(light, *(float(best.params[k]) for k in ("nu", "mu", "sigma"))).mean()
    normal = -stats.norm.logpdf(light, light.mean(), light.std()).mean()
    assert fits.optimism[1] == pytest.approx(normal - there, abs=1e-5)
    assert np.isnan(fits.se_hessian[1]).all()
    gain = many.excess(BY_NAME["outliers"].target, best, fits.estimate)
    member = FAMILIES["normal"].member({"mu": light.mean(), "sigma": light.std()})
    assert gain[1] == pytest.approx(kl(BY_NAME["outliers"].target, member).value - best.divergence.value, rel=1e-4)
    alone = many.fit_rows(best.family, x, best.theta, intervals=True)
    for name in ("estimate", "se_hessian", "se_sandwich", "optimism"):
        np.testing.assert_allclose(getattr(fits, name)[[0, 2]], getattr(alone, name), rtol=1e-8)


def test_the_normal_in_closed_form() -> None:
    x = draws("laplace", (2, 50))
    fits = many.fit_normals(x, 0.3, 1.7)
    fit = fit_mle(x[1], FAMILIES["normal"])["fit"]
    np.testing.assert_allclose(fits.estimate[1], [fit["mu"], fit["sigma"]], atol=1e-9)
    np.testing.assert_allclose(fits.se_hessian[1], fit["se_hessian"], atol=1e-9)
    np.testing.assert_allclose(fits.se_sandwich[1], fit["se_sandwich"], atol=1e-9)
    there = -stats.norm.logpdf(x[1], 0.3, 1.7).mean()
    assert fits.optimism[1] == pytest.approx(float(fit["cross_entropy"]) - there, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "member"), [("laplace", {"mu": 0.2, "sigma": 1.1}), ("outliers", {"nu": 4.0, "mu": 0.1, "sigma": 1.2})]
)
def test_excess_is_a_difference_of_divergences(name: str, member: dict[str, float]) -> None:
    case = BY_NAME[name]
    best = forward_projection(case.target, FAMILIES[case.family])
    values = np.array([list(member.values()), [float(best.params[k]) for k in member]])
    found = many.excess(case.target, best, values)
    expected = kl(case.target, best.family.member(member)).value - best.divergence.value
    assert found[0] == pytest.approx(expected, abs=1e-10)
    assert found[1] == pytest.approx(0, abs=1e-13)


# --- lines -----------------------------------------------------------------------------------------------------------


def test_products_underflow_at_the_first_size_where_all_are_zero(results: xr.DataTree) -> None:
    x, sigmas = draws("bimodal", (600,)), np.linspace(2.0, 5.0, 301)
    p = lines.products(x, sigmas, 50)
    n = int(p["underflow"])
    assert stats.norm.pdf(x[: n - 1, None], 0, sigmas).prod(axis=0).max() > 0
    assert stats.norm.pdf(x[:n, None], 0, sigmas).prod(axis=0).max() == 0
    # N(0, sigma): the best sigma is the root mean square.
    for k in (50, n):
        rms = np.sqrt((x[:k] ** 2).mean())
        for objective in ("sum", "mean") if k == n else lines.OBJECTIVES:
            assert float(p["argmax"].sel(draws=k, objective=objective)) == pytest.approx(rms, abs=0.0051)
    assert np.isnan(p["argmax"].sel(draws=n, objective="product"))
    largest = p["largest"].sel(draws=50)
    assert float(np.log(largest.sel(objective="product"))) == pytest.approx(float(largest.sel(objective="sum")))
    assert float(largest.sel(objective="mean")) == pytest.approx(float(largest.sel(objective="sum")) / 50)
    with pytest.raises(ValueError, match="too few"):
        lines.products(x[:60], sigmas, 50)


def test_curves_are_the_divergences(results: xr.DataTree) -> None:
    """By scipy's adaptive quadrature, which shares nothing with ours."""
    c = results["lines/curves"].to_dataset()
    for i in (0, 200, 400):
        sigma = float(c["value"][i])

        def integrand(x: float, sigma: float = sigma) -> float:
            return -0.5 * (stats.norm.pdf(x, -3, 1) + stats.norm.pdf(x, 3, 1)) * stats.norm.logpdf(x, 0, sigma)

        assert float(c["cross_entropy"][i]) == pytest.approx(quad(integrand, -13, 13, limit=200)[0], abs=1e-8)
        own = quad(
            lambda x: (p := 0.5 * (stats.norm.pdf(x, -3, 1) + stats.norm.pdf(x, 3, 1))) * np.log(p), -13, 13, limit=200
        )[0]
        assert float(c["kl"][i]) == pytest.approx(own + quad(integrand, -13, 13, limit=200)[0], abs=1e-8)
    found = said.findings(results)["curve"]
    assert found["off"] < 1e-12
    for key in ("argmin_ce", "argmin_kl"):
        assert found[key] == pytest.approx(found["exact"], rel=1e-3)


def test_curves_from_draws_come_closer(results: xr.DataTree) -> None:
    gap = results["lines/curves/gap"].mean("repeat").to_numpy()
    assert 4 < gap[0] / gap[2] < 25  # about the square root of a hundred


def test_entropy_of_boxes_is_that_of_the_density() -> None:
    x, width = np.array([0.0, 0.3, 2.0, 2.0]), 1.0
    grid = (np.arange(400_000) + 0.5) / 400_000 * 4 - 1
    density = (np.abs(grid[:, None] - x) < width / 2).mean(axis=1) / width
    used = density[density > 0]
    assert lines.box_entropy(x, width) == pytest.approx(-(used * np.log(used)).sum() * 1e-5, abs=1e-4)
    assert lines.box_entropy(np.array([0.0, 5.0]), 0.01) == pytest.approx(np.log(0.02), abs=1e-12)


def test_smoothing_moves_the_minimum_not_the_minimiser(results: xr.DataTree) -> None:
    s = results["lines/smoothed"].to_dataset()
    f = said.findings(results)["smoothing"]
    assert f["slope"] == pytest.approx(1, abs=1e-3)
    assert float(s["argmin"][-1]) == pytest.approx(f["mle"], abs=1e-9)
    assert (np.diff(s["kl"]) > 0).all()


def test_map_is_the_root_of_its_own_equation(results: xr.DataTree) -> None:
    """At the MAP the gradient of the penalised mean log likelihood in mu is zero; sigma is the spread about it."""
    m = results["lines/map"].to_dataset()
    mean, sd = question.PRIOR
    for n, (mu, sigma), (centre, spread) in zip(
        m["n"].to_numpy(), m["map"].to_numpy(), m["mle"].to_numpy(), strict=True
    ):
        assert (centre - mu) / sigma**2 + (mean - mu) / (sd**2 * n) == pytest.approx(0, abs=1e-8)
        assert sigma**2 == pytest.approx(spread**2 + (centre - mu) ** 2, rel=1e-8)
    found = said.findings(results)["map"]
    assert found["slope"] == pytest.approx(-1, abs=0.05)
    assert found["theory"] == pytest.approx(10 * 2 / 0.25)
    assert [row["n"] for row in found["table"]] == [1000, 10_000]
    assert found["table"][-1]["map"] > found["table"][-1]["mle"]  # the prior pulls to its mean
    assert found["table"][-1]["scaled"] == pytest.approx(found["theory"], rel=0.05)


def test_well_specified(results: xr.DataTree) -> None:
    found = said.findings(results)["well"]
    assert found["error"] < 1e-8
    assert abs(found["kl"].value) < 1e-12
    assert found["difference"] < 1e-10
    assert found["trace"] == pytest.approx(3, abs=1e-6)


# --- theory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kurtosis"), [("bimodal", 1.38), ("laplace", 6.0)])
def test_trace_of_the_normal_is_half_of_one_plus_kurtosis(results: xr.DataTree, name: str, kurtosis: float) -> None:
    f = said.findings(results)[name]
    assert f["trace"] == pytest.approx((1 + kurtosis) / 2, abs=1e-9)
    ratios = [row["ratio"] for row in said.coverage_table(results) if row["case"] == f["case"]]
    np.testing.assert_allclose(ratios, [1, np.sqrt(2 / (kurtosis - 1))], atol=1e-9)


@pytest.mark.parametrize("name", BY_NAME)
def test_excess_and_optimism_are_of_the_size_of_theory(results: xr.DataTree, name: str) -> None:
    f = said.findings(results)[name]
    for key, sign in (("excess", 1), ("optimism", -1)):
        assert abs(f[key].value - sign) < 4 * f[key].error
        assert f[key].error < 0.3


def test_the_gap_to_new_draws_is_twice_the_excess() -> None:
    """Of Normal fits, by their closed form: exact cross-entropy minus the mean negative log likelihood on the same draws."""
    case, n = BY_NAME["laplace"], 500
    best = forward_projection(case.target, FAMILIES["normal"])
    x = draws("laplace", (4000, n))
    fits = many.fit_normals(x, *(float(best.params[k]) for k in ("mu", "sigma")))
    (mu, sigma), own = fits.estimate.T, np.log(x.std(axis=1)) + 0.5
    new = np.log(sigma) + (2 + mu**2) / (2 * sigma**2)  # Laplace(0, 1) has variance 2
    gap = new - own
    assert abs(gap.mean() - 3.5 / n) < 4 * gap.std() / np.sqrt(len(gap))
    other = many.excess(case.target, best, fits.estimate) - fits.optimism
    # The two differ by what the draws say of the projection itself, whose mean is zero.
    assert abs((gap - other).mean()) < 4 * (gap - other).std() / np.sqrt(len(gap))


def test_intervals_of_the_hessian_fail_as_computed(results: xr.DataTree) -> None:
    rows = {(row["case"], row["parameter"]): row for row in said.coverage_table(results)}
    laplace, bimodal = rows["Laplace, Normal", "σ"], rows["two modes, Normal", "σ"]
    assert abs(laplace["hessian"].value - laplace["expected"]) < 4 * laplace["hessian"].error
    assert laplace["hessian"].value < laplace["sandwich"].value - 0.05
    assert bimodal["hessian"].value > 0.98
    assert all(row["sandwich"].value > 0.85 for row in rows.values())


def test_pooled_means_have_the_errors_of_repetitions() -> None:
    rng = np.random.default_rng(0)
    n = np.array([100, 1000, 10_000])
    noise = np.array([0.02, 0.05, 0.1])
    found = []
    for _ in range(2000):
        values = 3 / n * (1 + noise * rng.standard_normal(3))
        found.append(
            said.pooled([Estimate(v, v * e, "draws") for v, e in zip(values, noise, strict=True)], n / 3, noise**-2)
        )
    z = np.array([(e.value - 1) / e.error for e in found])
    assert abs(z.mean()) < 0.2
    assert z.std() == pytest.approx(1, abs=0.1)


# --- the computation -------------------------------------------------------------------------------------------------


def test_fits_do_not_depend_on_how_they_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    case = BY_NAME["laplace"]
    best = forward_projection(case.target, FAMILIES["normal"])
    monkeypatch.setattr(many, "CHUNK", 10_000)
    one = many.fit_many(case, best, np.random.default_rng(1), 100, 30, intervals=True)
    monkeypatch.setattr(many, "CHUNK", 700)
    two = many.fit_many(case, best, np.random.default_rng(1), 100, 30, intervals=True)
    np.testing.assert_allclose(one.estimate, two.estimate)


def test_counts(results: xr.DataTree) -> None:
    for case in CASES:
        r = results[f"{case.name}/replications"].to_dataset()
        assert list(r["n"].to_numpy()) == [100, 300, 1000, 3000, 10_000]
        assert list(r["count"].to_numpy()) == [60, 60, 60, 20, 6]
        assert (np.isfinite(r["excess"]).sum("replication") <= r["count"]).all()
        assert (r["excess"].to_numpy()[np.isfinite(r["excess"])] > 0).all()


def test_the_same_seed_gives_the_same_numbers(results: xr.DataTree) -> None:
    again = question.run_case(BY_NAME["laplace"], SETTINGS)
    np.testing.assert_array_equal(again["intervals/estimate"], results["laplace/intervals/estimate"])
    other = question.run_case(BY_NAME["laplace"], SETTINGS.model_copy(update={"seed": 4}))
    assert not np.array_equal(other["intervals/estimate"], again["intervals/estimate"])


# --- findings and figures --------------------------------------------------------------------------------------------


def test_findings_are_complete(found: dict[str, Any]) -> None:
    assert len(words_of("mle_is_forward_kl", found).answer) > 100
    assert len(found["summary"]) == 3
    assert len(found["coverage"]["table"]) == 7


def text_of(found: dict[str, Any], **changed: Any) -> str:
    return words_of("mle_is_forward_kl", found | changed).text


def test_failures_of_the_hessian_are_told_apart(found: dict[str, Any]) -> None:
    def row(sandwich: float, hessian: float) -> dict[str, Any]:
        shares = {k: Estimate(v, 0.005, "draws") for k, v in (("sandwich", sandwich), ("hessian", hessian))}
        return found["coverage"]["table"][0] | {"case": "A", "parameter": "σ"} | shares

    failing = said.coverage([row(0.95, 0.78), row(0.94, 1.0), row(0.95, 0.96)])
    assert ([len(failing[key]) for key in ("short", "long")], failing["rest"]) == ([1, 1], 1)
    text = text_of(found, coverage=failing)
    assert "in 94.0% to 95.0%" in text
    assert "too short for σ of *A* (78.0%)." in text
    assert "too long for σ of *A* (100.0%). For the other 1 they hold it in 96.0% to 96.0%." in text
    text = text_of(found, coverage=said.coverage([row(0.95, 0.95)]))
    assert "too short" not in text
    assert "no failure of the Hessian intervals" in text


def test_theory_is_said_to_hold_only_if_it_does(found: dict[str, Any]) -> None:
    near, far = Estimate(1.0, 0.02, "draws"), Estimate(-1.2, 0.02, "draws")
    constants = said.constants(
        [{"case": "A", "excess": near, "optimism": far}, {"case": "B", "excess": near, "optimism": far}]
    )
    assert constants == {"of": 4, "far": 2, "cases": ["A", "B"]}
    assert "2 of the 4 constants (A, B)" in text_of(found, constants=constants)
    right = said.constants([{"case": "A", "excess": near, "optimism": Estimate(-1.0, 0.02, "draws")}])
    assert "All constants" in text_of(found, constants=right)


def test_standard_errors_are_said_to_agree_only_if_they_do(found: dict[str, Any]) -> None:
    def row(ratio: float) -> Row:
        return {
            "case": "A",
            "parameter": "σ",
            "ratio": ratio,
            "seen": Estimate(ratio, 0.03, "draws"),
            "same_side": 0.99,
        }

    case = {"case": "A", "kl": Estimate(0.018, 1e-12, "quadrature")}
    assert "Here the two standard errors agree" in text_of(found, seen=said.seen([row(1.01)]))
    apart = text_of(found, seen=said.seen([row(1.01), row(0.6)]))
    assert "σ of *A*, 0.60 ± 0.03, on" in apart
    assert "1.01 ±" not in apart
    assert "the two agree to 1.0%" in text_of(found, fit=said.fit(case, [row(1.01)]))
    assert "still differ by 12.7%" in text_of(found, fit=said.fit(case, [row(1.01), row(1.127)]))


def test_infinite_estimates_are_said_where_they_are(found: dict[str, Any]) -> None:
    assert "rise without end" not in text_of(found, endless=[])
    row = {"case": "A", "parameter": "ν", "n": 100, "count": 2000, "infinite": 7}
    assert "ν of *A* in 7 of 2000 data sets of 100 draws." in text_of(found, endless=[row])


def test_infinite_estimates_are_counted(results: xr.DataTree) -> None:
    cases = said.cases_of(results)
    assert all(row["parameter"] == "ν" for row in said.endless(cases))
    cases["laplace"]["replications/estimate"][1, :3, 0] = np.inf
    (row,) = (row for row in said.endless(cases) if row["case"] == cases["laplace"].attrs["short"])
    assert (row["n"], row["parameter"], row["infinite"], row["count"]) == (300, "μ", 3, 60)


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree, found: dict[str, Any]) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("mle_is_forward_kl", found))


@pytest.mark.usefixtures("closed")
def test_figures(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert set(drawings) == {"curves", "convergence"}
    # Each mark of the last panel is a mean in units of theory.
    axis = drawings["convergence"].figure.viz["figure"].item().axes[2]
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections])
    for case in said.cases_of(results).values():
        unit = 2 * case["replications/n"].to_numpy() / float(case["projection/trace"])
        for key in ("excess", "optimism"):
            for mean, scale in zip(said.means(case, key), unit, strict=True):
                assert np.isclose(dots[:, 1], mean.value * scale).any()


@pytest.mark.usefixtures("closed")
def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
