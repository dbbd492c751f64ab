"""Two families: the plane against its distances, exact leave-one-out against refits, and what is said about choices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arviz as az
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from scipy import stats

from analysis.data.columns import load_column
from analysis.site.chapter import words_of
from analysis.two_families import criteria, plane
from analysis.two_families import study as question
from analysis.two_families.figures import placed, plot
from analysis.two_families.findings import findings, judged, needed_size, note_of
from analysis.two_families.study import SIZES, Settings
from analysis.two_families.targets import KNOWN, PAIR, SPREAD, Known
from models.divergences import kl
from models.errors import ConvergenceError
from models.families import FAMILIES
from models.mle import fit_mle
from models.projections import forward_projection
from models.quadrature import Estimate
from models.results import load, save
from models.targets import normal_mixture
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

Array = np.ndarray[Any, Any]
SETTINGS = Settings(
    members=7,
    n=40,
    replications=40,
    smoothed=2,
    posterior_draws=400,
    trials=40,
    starts=2,
    components=2,
    seed=3,
)
SCIPY = {"normal": stats.norm, "laplace": stats.laplace}
SCALE = {"normal": "sigma", "laplace": "b"}


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def found(results: xr.DataTree) -> dict[str, Any]:
    return findings(results)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def sample(rows: int, n: int, seed: int = 0) -> Array:
    return np.sort(np.random.default_rng(seed).standard_t(5, (rows, n)) + 0.3, axis=1)


# --- the plane -------------------------------------------------------------------------------------------------------


def test_scaling_recovers_points_and_sees_what_is_no_distance() -> None:
    points = np.random.default_rng(1).normal(size=(9, 2))
    squared = ((points[:, None] - points) ** 2).sum(axis=2)
    coordinates, eigenvalues = plane.scaling(squared)
    again = ((coordinates[:, None, :2] - coordinates[:, :2]) ** 2).sum(axis=2)
    np.testing.assert_allclose(again, squared, atol=1e-12)
    np.testing.assert_allclose(eigenvalues.sum(), squared.sum() / 2 / len(points))
    broken = squared.copy()
    broken[0, 1] = broken[1, 0] = 400.0  # against the triangle inequality
    assert plane.scaling(broken)[1].min() < -1


def test_jensen_shannon_is_the_mean_kl_to_the_mixture() -> None:
    a, b = normal_mixture([1], [0], [1]), normal_mixture([1], [0.5], [1.4])
    middle = normal_mixture([0.5, 0.5], [0, 0.5], [1, 1.4])
    x, w = plane.line_rule()
    value = plane.jensen_shannon(a.logp(x[:, None]), b.logp(x[:, None]), w)
    assert float(value) == pytest.approx((kl(a, middle).value + kl(b, middle).value) / 2, abs=1e-12)


def test_square_of_the_distance_is_near_kl_for_neighbours() -> None:
    x, w = plane.line_rule()
    p, q = plane.member("normal", 1.0), plane.member("normal", 1.02)
    squared = 4 * plane.jensen_shannon(p.logp(x[:, None]), q.logp(x[:, None]), w)
    assert float(squared) == pytest.approx(kl(p, q).value, rel=0.03)


def test_the_plane_is_the_best_two_axes_of_an_exact_embedding(results: xr.DataTree) -> None:
    spectrum = results["geometry/spectrum"].to_dataset()
    values = spectrum["eigenvalue"].to_numpy()
    assert values.min() > -1e-12
    points = results["geometry/points"].to_dataset()
    plane = np.stack([points["x"], points["y"]], axis=1)
    np.testing.assert_allclose(plane.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((plane**2).sum(axis=0), values[:2], rtol=1e-10)
    lengths = results["geometry/projections"].to_dataset()
    assert (lengths["drawn"] <= lengths["full"] + 1e-12).all()  # a shadow is never longer


@pytest.mark.parametrize("case", KNOWN, ids=lambda c: c.name)
@pytest.mark.parametrize("family", PAIR)
def test_projection_is_the_lowest_point_of_the_curve(results: xr.DataTree, case: Known, family: str) -> None:
    best = results["geometry/projections"].to_dataset().sel(target=case.name, family=family)
    curve = results["geometry/curves"].to_dataset().sel(target=case.name, family=family)["kl"]
    assert (curve >= float(best["kl"]) - 1e-12).all()
    assert float(curve.min()) == pytest.approx(float(best["kl"]), abs=1e-3)
    other = kl(case.target, plane.member(family, float(best["js_sd"]))).value
    assert other == pytest.approx(float(best["js_kl"]), abs=1e-10)
    assert other > float(best["kl"])


def test_logistic_has_its_closed_forms(results: xr.DataTree) -> None:
    best = results["geometry/projections"].to_dataset().sel(target="logistic")
    s = np.sqrt(3) / np.pi
    entropy, b = 2 + np.log(s), 2 * s * np.log(2)
    expected = {"normal": np.log(2 * np.pi * np.e) / 2 - entropy, "laplace": 1 + np.log(2 * b) - entropy}
    for family, value in expected.items():
        assert float(best["kl"].sel(family=family)) == pytest.approx(value, abs=1e-12)
    assert float(best["sd"].sel(family="normal")) == pytest.approx(1, abs=1e-12)
    assert float(best["sd"].sel(family="laplace")) == pytest.approx(np.sqrt(2) * b, abs=1e-12)


@pytest.mark.parametrize("family", PAIR)
def test_members_have_the_standard_deviation_they_are_drawn_at(family: str) -> None:
    scale = 1.3 / SPREAD[family]
    assert SCIPY[family](0, scale).std() == pytest.approx(1.3)
    x = np.array([-1.0, 0.2, 3.0])
    np.testing.assert_allclose(plane.member(family, 1.3).logp(x[:, None]), SCIPY[family](0, scale).logpdf(x))


# --- criteria --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", PAIR)
def test_estimates_are_those_of_fit_mle(family: str) -> None:
    x = sample(1, 31)
    fit = fit_mle(x[0], FAMILIES[family], draws=2)["fit"]
    location, scale = criteria.estimates(family, x)
    assert float(location[0, 0]) == pytest.approx(float(fit["mu"]), abs=1e-8)
    assert float(scale[0, 0]) == pytest.approx(float(fit[SCALE[family]]), rel=1e-8)
    total = criteria.log_density(family, x, location, scale).sum()
    assert float(total) == pytest.approx(float(fit["log_likelihood"]), abs=1e-8)


@pytest.mark.parametrize("family", PAIR)
def test_leave_one_out_equals_refits_by_scipy(family: str) -> None:
    x = sample(2, 12)
    location, scale = criteria.estimates_without(family, x)
    for r in range(2):
        for i in range(12):
            refit = SCIPY[family].fit(np.delete(x[r], i))
            np.testing.assert_allclose((location[r, i], scale[r, i]), refit, rtol=1e-10)


def test_criteria_from_the_first_principles() -> None:
    x = sample(3, 20, seed=4)
    found = criteria.criteria(x)
    for r, row in enumerate(x):
        held = np.array(
            [
                [SCIPY[f].logpdf(row[i], *SCIPY[f].fit(np.delete(row, i))) for i in range(len(row))]
                for f in PAIR
            ]
        )  # fmt: skip
        difference = held[0] - held[1]
        assert found["loo"][r] == pytest.approx(difference.sum(), abs=1e-10)
        assert found["dse"][r] == pytest.approx(np.sqrt(len(row)) * difference.std(), abs=1e-10)
        inside = [SCIPY[f].logpdf(row, *SCIPY[f].fit(row)).sum() for f in PAIR]
        assert found["in_sample"][r] == pytest.approx(inside[0] - inside[1], abs=1e-10)


def test_optimism_of_the_laplace_is_that_of_its_sandwich() -> None:
    x = load_column("galaxies") / 1000
    fit = fit_mle(x, FAMILIES["laplace"], draws=2)["fit"]
    b = float(fit["b"])
    # se_sandwich^2 n = K_ii / J_ii^2, with J = diag(2 p(median) / b, 1 / b^2); K_11 = 1 / b^2 up to a rounding of signs.
    sandwich = fit["se_sandwich"].to_numpy() ** 2 * len(x)
    at_median = stats.gaussian_kde(x)(np.median(x))[0]
    trace = sandwich[0] * 2 * at_median / b + sandwich[1] / b**2
    assert question.fitted_trace(x, FAMILIES["laplace"], {}) == pytest.approx(trace, rel=0.01)


def test_trace_of_the_normal_is_half_of_one_plus_the_kurtosis() -> None:
    x = load_column("old_faithful_waiting")
    params = {"mu": np.array(x.mean()), "sigma": np.array(x.std())}
    expected = (1 + stats.kurtosis(x, fisher=False)) / 2
    assert question.fitted_trace(x, FAMILIES["normal"], params) == pytest.approx(expected, rel=1e-9)
    assert float(criteria.optimism("normal", x[None])[0]) == pytest.approx(expected, rel=1e-9)


# --- posteriors and az.compare ---------------------------------------------------------------------------------------


def test_posteriors_have_their_closed_moments() -> None:
    x = sample(1, 24, seed=6)[0]
    n, draws = len(x), 200_000
    mu, sigma = criteria.posterior("normal", x, draws, np.random.default_rng(0))
    assert sigma.size == draws
    assert float(np.mean(sigma**-2)) == pytest.approx((n - 1) / (n * x.var()), rel=0.01)
    assert float(mu.std()) == pytest.approx(np.sqrt(x.var() * n / (n - 3) / n), rel=0.01)
    location, b = criteria.posterior("laplace", x, draws, np.random.default_rng(0))
    grid = np.linspace(x.mean() - 3, x.mean() + 3, 20_001)
    weight = np.abs(x[:, None] - grid).sum(axis=0) ** -float(n)
    weight /= weight.sum()
    assert float(location.mean()) == pytest.approx(float(weight @ grid), abs=0.01)
    assert float(location.std()) == pytest.approx(float(np.sqrt(weight @ (grid - weight @ grid) ** 2)), rel=0.02)
    expected = float(weight @ np.abs(x[:, None] - grid).sum(axis=0)) / (n - 1)  # mean of the inverse gamma
    assert float(b.mean()) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("case", KNOWN, ids=lambda c: c.name)
def test_draws_are_those_of_the_target(case: Known) -> None:
    x = question.data_sets(case.target, 50, 200, [1])
    assert (np.diff(x, axis=1) >= 0).all()
    if case.name == "logistic":
        cdf = stats.logistic(0, np.sqrt(3) / np.pi).cdf
    else:
        cdf = lambda at: 0.85 * stats.norm.cdf(at, 0, 0.7) + 0.15 * stats.norm.cdf(at, 0, 2)  # noqa: E731
    assert stats.kstest(x.ravel(), cdf).pvalue > 1e-3
    assert stats.kstest(1.1 * x.ravel(), cdf).pvalue < 1e-3


def test_compare_agrees_with_leave_one_out_by_quadrature() -> None:
    """Integrate both leave-one-out predictive densities on a grid of (location, log scale)."""
    x = sample(1, 20, seed=8)[0]
    expected = []
    for name in PAIR:
        location, log_scale = np.meshgrid(np.linspace(-2.5, 3, 221), np.linspace(-1.5, 1.8, 181), indexing="ij")
        point = SCIPY[name].logpdf(x[:, None], location.ravel(), np.exp(log_scale.ravel()))
        rest = point.sum(axis=0) - point
        weight = np.exp(rest - rest.max(axis=1, keepdims=True))
        expected.append(np.log((weight * np.exp(point)).sum(axis=1) / weight.sum(axis=1)))
    difference = expected[0] - expected[1]
    elpd, dse, worst = criteria.compare(criteria.smoothed_elpd(x, 8000, np.random.default_rng(1)))
    assert worst < 0.7
    assert elpd == pytest.approx(difference.sum(), abs=0.1)
    assert dse == pytest.approx(np.sqrt(len(x)) * difference.std(), rel=0.1)


# --- findings --------------------------------------------------------------------------------------------------------


def test_signs_say_which_family_is_closer(found: dict[str, Any]) -> None:
    for case in KNOWN:
        entry = found[case.name]
        exact = {f: forward_projection(case.target, FAMILIES[f]).divergence.value for f in PAIR}
        assert entry["difference"].value == pytest.approx(exact["laplace"] - exact["normal"], abs=1e-12)
        assert entry["better"] == min(exact, key=lambda f: exact[f]).capitalize()
    assert (found["logistic"]["better"], found["contaminated"]["better"]) == ("Normal", "Laplace")
    assert found["flip"]


def test_wrong_choices_are_counted_against_the_exact_sign(results: xr.DataTree) -> None:
    for index, case in enumerate(KNOWN):
        wrong = results[f"{case.name}/wrong"].to_dataset()
        i = SIZES.index(200)
        x = question.data_sets(case.target, SETTINGS.trials, 200, [SETTINGS.seed, index, 1, i])
        ratio = np.array([SCIPY["normal"].logpdf(r, *SCIPY["normal"].fit(r)).sum() for r in x])
        ratio -= [SCIPY["laplace"].logpdf(r, *SCIPY["laplace"].fit(r)).sum() for r in x]
        chosen = np.where(ratio > 0, "Normal", "Laplace")
        better = {"logistic": "Normal", "contaminated": "Laplace"}[case.name]
        assert float(wrong["rate"].sel(n=200, criterion="in_sample")) == pytest.approx(float((chosen != better).mean()))


def test_standard_error_is_called_honest_only_if_it_is(found: dict[str, Any]) -> None:
    good, one = Estimate(0.95, 0.01, "draws"), Estimate(1.01, 0.02, "draws")
    first = found["errors"][0]

    def said(covered: Estimate, ratio: Estimate) -> str:
        return words_of("two_families", found | {"errors": [first | judged(covered, ratio)]}).text

    assert "within 3 standard errors" in said(good, one)
    assert "too seldom, in 85.0" in said(Estimate(0.85, 0.01, "draws"), one)
    # One rule, on either side of its limit.
    assert [judged(Estimate(c, 0.01, "draws"), one)["covers"] for c in (0.919, 0.921, 0.979, 0.981)] == [
        False,
        True,
        True,
        False,
    ]
    assert "too small on average" in said(good, Estimate(1.4, 0.05, "draws"))
    assert "too large on average" in said(good, Estimate(0.6, 0.05, "draws"))


def test_needed_size_gives_the_share_it_promises() -> None:
    n = needed_size(-0.05, 0.6)
    assert stats.norm.cdf(-np.sqrt(n) * 0.05 / 0.6) <= 0.05 < stats.norm.cdf(-np.sqrt(n - 1) * 0.05 / 0.6)


def test_real_data_scores_are_differences_on_the_same_data(results: xr.DataTree, found: dict[str, Any]) -> None:
    table = {row["family"]: row for row in found["data"][-1]["table"]}
    x = load_column("galaxies") / 1000
    gap = stats.laplace.logpdf(x, *stats.laplace.fit(x)) - stats.norm.logpdf(x, *stats.norm.fit(x))
    assert table["laplace"]["likelihood"] - table["normal"]["likelihood"] == pytest.approx(gap.mean(), abs=1e-8)
    assert table["normal"]["aic"] == pytest.approx(table["normal"]["likelihood"] - 2 / len(x))
    for data in found["data"]:
        rows = data["table"]
        best = next(row for row in rows if row["family"] == data["best"])
        assert best["difference"] == Estimate(0.0, 0.0, "draws")
        assert all(row["difference"].value <= 0 for row in rows if row["difference"] is not None)


def test_a_student_t_that_runs_to_the_normal_is_said_to_be_normal(found: dict[str, Any]) -> None:
    data = found["data"][0]
    row = next(r for r in data["table"] if r["family"] == "student t")
    assert row["status"].startswith("= normal")
    assert row["difference"] is None
    assert data["ends"][0] == {"family": "student t", "note": row["status"], "is_normal": True}
    assert "best member is the Normal" in words_of("two_families", found | {"data": [data]}).text


def test_a_family_without_a_maximum_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> xr.DataTree:
        raise ConvergenceError("flat")

    monkeypatch.setattr(question, "fit_mle", refuse)
    refused = question.fit_family(np.arange(5.0), FAMILIES["normal"], SETTINGS)
    assert refused["status"] == "no maximum: flat"
    assert np.isnan(refused["pointwise"]).all()
    assert note_of(refused["status"]) == "no maximum"


# --- settings, figures, files ----------------------------------------------------------------------------------------


def test_settings_refuse_odd_samples() -> None:
    with pytest.raises(ValidationError):
        Settings(n=41)


def test_parts_are_remembered_by_what_they_depend_on(results: xr.DataTree) -> None:
    seen: dict[str, dict[str, Any]] = {}

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        seen[name] = dict(inputs)
        return results[name].copy()  # type: ignore[return-value]

    question.run(SETTINGS, remember=remember)
    other = dict(seen)
    question.run(SETTINGS.model_copy(update={"trials": 60}), remember=remember)
    assert seen["geometry"] == other["geometry"]
    assert seen["galaxies"] == other["galaxies"]
    assert seen["logistic"] != other["logistic"]


@pytest.mark.parametrize(("name", "n"), [("old_faithful_waiting", 272), ("galaxies", 82)])
def test_saved_fits_are_what_arviz_compares(results: xr.DataTree, tmp_path: Path, name: str, n: int) -> None:
    """Stock ``az.loo`` and ``az.compare``, from the file; the same differences as those of the TIC scores, by another correction."""
    save(results, tmp_path / "r.nc")
    case = load(tmp_path / "r.nc")[name]
    fits = {family: case[family] for family in ("normal", "laplace", "normal_mixture(2)")}
    pointwise = case["fits/pointwise"]
    with warnings.catch_warnings():  # the mixture has a narrow component on few galaxies, and ArviZ says so
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto distribution", UserWarning)
        found = {family: az.loo(fit) for family, fit in fits.items()}
        table = az.compare(fits, round_to="none")
    assert list(az.summary(fits["normal"], kind="stats").index) == ["mu", "sigma"]
    for family, fit in fits.items():
        assert fit["log_likelihood"]["x"].shape == (1, 400, n)
        score = pointwise.sel(family=family) - case["fits/trace"].sel(family=family) / n
        assert found[family].elpd == pytest.approx(float(score.sum()), abs=1.5)
        assert float(table.loc[family, "elpd"]) == pytest.approx(found[family].elpd)
    assert not any(found[family].warning for family in PAIR)
    difference = pointwise.sel(family="normal") - pointwise.sel(family="laplace")
    ahead, behind = ("normal", "laplace") if difference.sum() > 0 else ("laplace", "normal")
    pair = az.compare({family: fits[family] for family in PAIR}, round_to="none")
    assert list(pair.index) == [ahead, behind]
    assert float(pair.loc[behind, "dse"]) == pytest.approx(float(np.sqrt(n) * difference.std()), rel=0.1)


def test_figures_have_words_and_survive_a_file(results: xr.DataTree, tmp_path: Any) -> None:
    save(results, tmp_path / "r.nc")
    again = load(tmp_path / "r.nc")
    assert list(plot(again)) == ["geometry", "choice"]
    words = words_of("two_families", findings(again))
    check_drawings(lambda theme: plot(again, theme=theme), words)
    assert words == words_of("two_families", findings(results))


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_a_target_is_drawn_at_its_exact_distances_from_its_projections(results: xr.DataTree, case: Known) -> None:
    points = results["geometry/points"].to_dataset()
    best = results["geometry/projections"].to_dataset().sel(target=case.name)
    index = [known.name for known in KNOWN].index(case.name)
    places = np.stack([points["x"], points["y"]], axis=1)
    role, family = points["role"].to_numpy(), points["family"].to_numpy()
    ends = [places[(role == "projection") & (family == name)][index] for name in PAIR]
    full = [float(best["full"].sel(family=name)) for name in PAIR]
    place = placed(places[role == "target"][index], *ends, (full[0], full[1]))
    np.testing.assert_allclose([np.hypot(*(place - end)) for end in ends], full, rtol=1e-12)
