"""What diagnostics say of fits that miss a mode, by unrelated routes; the repair against quadrature; stacking against scipy."""

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
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import cauchy, norm

from analysis.diagnosing_missed_modes import prediction
from analysis.diagnosing_missed_modes import study as question
from analysis.diagnosing_missed_modes.figures import plot
from analysis.diagnosing_missed_modes.findings import blind, findings
from analysis.diagnosing_missed_modes.repair import HEAVY, LEVEL, REPAIRS, mixed, two_modes
from analysis.diagnosing_missed_modes.study import SIZE, SIZES, Settings
from analysis.site.chapter import Words, words_of
from models.advi.diagnostics import covered_mass
from models.families import FAMILIES
from models.quadrature import Estimate
from models.results import load, save
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

SETTINGS = Settings(
    distances=(2, 8), repeats=30, large_repeats=2, starts=4, steps=200, nats=5e-3,
    separations=(3, 6), held_out=500, draws=400, seed=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


def density(x: float, distance: float) -> float:
    return float(HEAVY * norm.pdf(x) + (1 - HEAVY) * norm.pdf(x, distance))


def reverse_kl(mean: float, sd: float, distance: float) -> float:
    """By scipy's quadrature of the definition, with the fit as the first argument."""
    q = norm(mean, sd)
    points = [mean - 3 * sd, mean, mean + 3 * sd]
    return float(
        quad(lambda x: q.pdf(x) * (q.logpdf(x) - np.log(density(x, distance))), mean - 9 * sd, mean + 9 * sd,
             points=points, limit=200)[0]
    )  # fmt: skip


# --- diagnoses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["mode", "advi", "cover"])
def test_divergences_and_covered_mass_are_those_of_scipy(results: xr.DataTree, fit: str) -> None:
    for distance in SETTINGS.distances:
        facts = results["distance"].to_dataset().sel(fit=fit, distance=distance)
        mean, sd = float(facts["mean"]), float(facts["sd"])
        assert float(facts["kl"]) == pytest.approx(reverse_kl(mean, sd, distance), abs=1e-7)
        low, high = norm(mean, sd).interval(LEVEL)
        assert float(facts["covered"]) == pytest.approx(quad(density, low, high, args=(distance,))[0], abs=1e-6)


def test_the_mode_fit_misses_the_light_mode_and_the_broad_one_covers_it(results: xr.DataTree) -> None:
    far = results["distance"].to_dataset().sel(distance=8)
    assert float(far["covered"].sel(fit="mode")) == pytest.approx(HEAVY * LEVEL, abs=1e-3)
    assert float(far["covered"].sel(fit="cover")) > 0.999
    # The ELBO prefers the one that misses a mode.
    assert float(far["kl"].sel(fit="mode")) < float(far["kl"].sel(fit="cover"))
    assert float(far["kl"].sel(fit="mode")) == pytest.approx(-np.log(HEAVY), abs=1e-3)


def test_the_optimum_is_one_and_advi_ends_at_it(results: xr.DataTree) -> None:
    for distance in SETTINGS.distances:
        facts = results["distance"].to_dataset().sel(distance=distance)
        mean, sd, kl = (float(facts[name].sel(fit="mode")) for name in ("mean", "sd", "kl"))
        for dm, ds in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02)):
            assert reverse_kl(mean + dm, sd + ds, distance) > kl
        assert 0 <= float(facts["kl"].sel(fit="advi")) - kl + 1e-9 < SETTINGS.nats


def test_verdicts_are_counted_for_every_size(results: xr.DataTree) -> None:
    mode = results["distance"].to_dataset().sel(fit="mode")
    made = mode["k_hat"].notnull() | (mode["good"] == 1)
    counts = made.sum("repeat").transpose("size", "distance").to_numpy()
    assert counts[0].tolist() == counts[1].tolist() == [SETTINGS.repeats] * 2
    assert counts[2].tolist() == [SETTINGS.large_repeats] * 2
    for size in SIZES:
        threshold = min(1 - 1 / np.log10(size), 0.7)
        at = mode.sel(size=size)
        good = at["good"].to_numpy()[at["k_hat"].notnull().to_numpy()]
        k = at["k_hat"].to_numpy()[at["k_hat"].notnull().to_numpy()]
        np.testing.assert_array_equal(good == 1, k < threshold)


def test_exact_cover_is_the_limit_of_covered_mass() -> None:
    target = two_modes(3)
    member = FAMILIES["normal"].member({"mu": 0.4, "sigma": 1.2})
    found = covered_mass(member, target.rvs(40_000, 1), level=LEVEL)
    assert question.exact_cover(member, target) == pytest.approx(found.value, abs=4 * found.error)


def test_nothing_tells_of_a_mode_that_no_start_visits(results: xr.DataTree) -> None:
    unseen = results["unseen"].to_dataset()
    assert int(unseen["optima"]) == 1
    assert bool(unseen["at_rest"])
    assert float(unseen["covered"]) == pytest.approx(HEAVY * LEVEL, abs=1e-3)
    assert float(unseen["relative_ess"].median()) > 0.95
    assert float(unseen["combined"]) == pytest.approx(-np.log(HEAVY), abs=1e-3)


# --- the repair ------------------------------------------------------------------------------------------------------


def test_two_equal_modes_are_recovered(results: xr.DataTree) -> None:
    totals = results["repair_equal/combined"].to_dataset()
    assert float(totals["single"]) == pytest.approx(np.log(2), abs=1e-3)
    assert float(totals["mixture"]) < 0.01


@pytest.mark.parametrize("name", [r.name for r in REPAIRS])
def test_the_estimate_of_the_mixture_is_that_of_quadrature(results: xr.DataTree, name: str) -> None:
    totals = results[f"repair_{name}/combined"].to_dataset()
    assert abs(float(totals["estimated"]) - float(totals["mixture"])) < 0.02
    assert float(totals["mixture"]) <= float(totals["softmax"]) + 1e-3
    assert float(totals["mixture"]) <= float(totals["single"]) + 1e-3


def test_weights_are_the_best_ones_and_softmax_is_softmax(results: xr.DataTree) -> None:
    """By search over the one free weight, on a grid of scipy's, with the local fits at a = 3."""
    overlap = results["overlap"].to_dataset()
    members = results["repair_equal/members"].to_dataset()
    elbo = -members["kl"].to_numpy()
    np.testing.assert_allclose(members["softmax"], np.exp(elbo - logsumexp(elbo)), atol=1e-3)
    x = np.linspace(-12, 12, 4801)
    means, sds = members["mean"].to_numpy()[:, 0], members["sd"].to_numpy()[:, 0]
    q = norm.pdf(x[:, None], means, sds)
    p = (norm.pdf(x, -4) + norm.pdf(x, 4)) / 2

    def divergence(w: float) -> float:
        mix = q[:, :2] @ np.array([w, 1 - w])
        return float(np.sum(mix * np.log(np.maximum(mix, 1e-300) / p)) * (x[1] - x[0]))

    assert len(means) == 2
    best = minimize_scalar(divergence, bounds=(0.01, 0.99), method="bounded")
    assert float(members["weight"][0]) == pytest.approx(best.x, abs=5e-3)
    assert float(results["repair_equal/combined/mixture"]) == pytest.approx(best.fun, abs=1e-4)
    assert np.all(overlap["best"] < overlap["softmax"])


def test_softmax_counts_the_broad_fit_too_much(results: xr.DataTree) -> None:
    near = results["overlap"].to_dataset().sel(separation=3)
    # Exact minima at a = 3: 0.688769 twice and 0.840621.
    expected = np.exp(-0.840621431) / (np.exp(-0.840621431) + 2 * np.exp(-0.688768996))
    assert float(near["broad_softmax"]) == pytest.approx(expected, abs=2e-3)
    assert float(near["broad_weight"]) < 0.01
    assert float(near["softmax"]) - float(near["best"]) > 0.1


def test_mixed_keeps_weights_and_dimension() -> None:
    members = [FAMILIES["mvnormal"].member({"mu": np.full(2, m), "cov": np.eye(2)}) for m in (-3.0, 0.0, 3.0)]
    mixture = mixed(members, np.array([0.25, 0.0, 0.75]))
    assert mixture.spec["weights"] == [0.25, 0.75]
    assert mixture.mean is not None
    np.testing.assert_allclose(mixture.mean, [1.5, 1.5])


# --- prediction ------------------------------------------------------------------------------------------------------


def test_pointwise_is_the_log_likelihood_of_scipy() -> None:
    y, mu = np.array([-1.0, 0.5, 12.0]), np.array([[0.3], [-9.0]])
    found = prediction.pointwise(prediction.cauchy_model(y))(mu)
    np.testing.assert_allclose(found, cauchy.logpdf(y, mu), rtol=1e-10)


def test_stacking_takes_both_fits_where_the_model_is_wrong(results: xr.DataTree) -> None:
    case = results["prediction"]
    members, scores = case["members"].to_dataset(), case["scores"].to_dataset()
    assert members.sizes["member"] == 2
    assert float(members["softmax"].max()) > 0.99
    assert float(members["stacking"].min()) > 0.2
    gain = scores.sel(rule="stacking")
    assert float(gain["gain"]) > 5 * float(gain["gain_error"])
    assert float(scores["gain"].sel(rule="best single fit")) == 0


# --- findings, figures, files ----------------------------------------------------------------------------------------


def test_findings_are_complete_and_modest(results: xr.DataTree) -> None:
    f = findings(results)
    words = words_of("diagnosing_missed_modes", f)
    assert len(words.answer) > 100
    assert len(f["blind"]["table"]) == 2
    assert not any("rows" in entry for entry in f.values() if isinstance(entry, dict))  # `duality run` prints these
    assert f["largest_difference"] < 0.02
    chapter = Path(question.__file__).with_name("chapter.md").read_text(encoding="utf-8")  # also what is not said here
    said = (words.answer + words.text + chapter).lower()
    assert "all modes found" not in said
    assert "all modes were found" not in said


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    f = findings(results)

    def words(**changes: Any) -> Words:
        return words_of("diagnosing_missed_modes", f | changes)

    data = results["distance"].to_dataset().copy(deep=True)
    data["good"] = data["good"] * 0
    never = blind(data)
    assert (never["warns"], never["passes"], never["advi"]["alike"]) == (True, False, True)
    assert "it warns" in words(blind=never).text
    assert "about the same verdicts" in words(blind=never).text
    assert words(blind=never).answer.startswith("What an approximation has missed its own draws tell only by chance")
    apart = never | {"advi": never["advi"] | {"alike": False}}
    assert "Nor is the verdict one about the fit" in words(blind=apart).text
    often = never | {"warns": False, "passes": True, "by_budget": never["worst"]}
    assert "the verdict depends on their number." in words(blind=often).text
    assert "passed k-hat, the usual check, in" in words(blind=often).answer
    whole = data.copy(deep=True)
    whole["covered"] = whole["covered"] * 0 + 1
    assert blind(whole)["false_alarm"]["distance"] == float(whole["distance"][0])
    assert "It errs the other way" in words(blind=blind(whole)).text
    bounded = float(whole["sd"].sel(fit="mode")[0]) > 1
    assert ("so the weights are bounded" in words(blind=blind(whole)).text) == bounded
    whole["good"] = whole["good"] * 0 + 1
    assert blind(whole)["false_alarm"] is None
    assert "It errs the other way" not in words(blind=blind(whole)).text
    data["covered"] = data["covered"] * 0 + 1
    assert blind(data)["missed_from"] is None
    assert "At none of these" in words(blind=blind(data)).text
    case = {
        "title": "t", "mixture": Estimate(0.2, 0, "quadrature"), "exact_members": Estimate(0.001, 0, "quadrature"),
        "starts_missed": True,
    }  # fmt: skip
    one = f["repairs"]["equal"]
    assert one["nearer"] == (one["mixture"].value < one["exact_members"].value)
    for nearer in (True, False):
        text = words(repairs={"equal": one | {"nearer": nearer}}).text
        assert ("mix better than all exact minima" in text) == nearer
    said = words(short_of=[case, case | {"title": "u", "starts_missed": False}]).text
    assert "Where it stays short: *t*, with 0.200 nats left, though" in said
    assert "did not find them all; *u*, with 0.200 nats left." in said
    assert "comes within 0.02 nats of it." in words(short_of=[]).text
    assert "by nothing, since it is that fit." in words(prediction=f["prediction"] | {"softmax_gain": 0.0}).text
    assert "All rules predict alike" in words(prediction=f["prediction"] | {"stacking_better": False}).text


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("diagnosing_missed_modes", findings(results)))


def test_run_asks_the_store_and_the_results_can_be_kept(results: xr.DataTree, tmp_path: Path) -> None:
    asked: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        json.dumps(inputs)
        return results[name]

    again = question.run(SETTINGS, remember=remember)
    assert sorted(asked) == sorted(results.children)
    assert load(save(again, tmp_path / "results.nc")).equals(again)


def test_diagnoses_are_the_same_each_time_and_differ_between_repeats(results: xr.DataTree) -> None:
    again = question.run_unseen(SETTINGS)
    xr.testing.assert_identical(again.to_dataset(), results["unseen"].to_dataset())
    seen = results["unseen/seen_mass"].sel(size=SIZE).to_numpy()
    assert len(np.unique(seen[np.isfinite(seen)])) == SETTINGS.repeats


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("repeats", "large_repeats", "starts", "held_out", "draws"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert default == Settings(seed=7)


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
