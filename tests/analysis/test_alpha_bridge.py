"""The bridge in alpha: optima by plain quadrature, folds and exchange points by other conditions, closed forms of mean field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.stats import norm

from analysis.alpha_bridge import study as question
from analysis.alpha_bridge.figures import plot
from analysis.alpha_bridge.findings import across, covers_from, findings, price, story
from analysis.alpha_bridge.following import EDGE, arcs_of, join_ends
from analysis.alpha_bridge.optima import critical, named, reigns
from analysis.alpha_bridge.study import CASES, MEMBERS, Case, Settings
from analysis.drawing.style import Style
from analysis.reading import case_of
from analysis.site.chapter import words_of
from models.errors import ConvergenceError
from models.families import FAMILIES
from models.projections import forward_projection, reverse_projections
from models.projections.continuation import follow
from models.projections.exact import Exact, exact_objective
from models.quadrature import Estimate
from models.results import load, save
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

Array = np.ndarray[Any, Any]
SETTINGS = Settings(step=0.08, grid=11, atlas=2, seed=3)
CASE = {case.name: case for case in CASES}
X = np.linspace(-30, 30, 2401)


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


def density(case: Case, x: Any) -> Any:
    return sum(w * norm.pdf(x, m, 1) for w, m in zip(case.weights, case.means, strict=True))


def divergence(p: Any, alpha: float, mean: float, sd: float) -> float:
    """Minka's equation 7, by adaptive quadrature, for a density p."""

    def integrand(x: float) -> float:
        q = norm.pdf(x, mean, sd)
        return float(alpha * p(x) + (1 - alpha) * q - p(x) ** alpha * q ** (1 - alpha))

    return float(
        quad(integrand, -60, 60, points=[-25, -6, -3, 0, 3, 6, 25, mean], limit=400)[0] / (alpha * (1 - alpha))
    )


def tilted_moments(case: Case, alpha: float, mean: float, sd: float) -> tuple[float, float]:
    """Mean and variance of the density proportional to p^alpha q^(1 - alpha)."""
    points = [*case.means, mean]

    def moment(power: int, centre: float) -> float:
        return float(
            quad(
                lambda x: (x - centre) ** power * density(case, x) ** alpha * norm.pdf(x, mean, sd) ** (1 - alpha),
                -60, 60, points=points, limit=400,
            )[0]
        )  # fmt: skip

    total = moment(0, 0)
    centre = moment(1, 0) / total
    return centre, moment(2, centre) / total


def points_of(results: xr.DataTree, name: str, kind: str) -> list[xr.Dataset]:
    data = critical(case_of(results, name), kind)
    return [data.isel(point=i) for i in range(data.sizes["point"])]


# --- critical points -------------------------------------------------------------------------------------------------


def test_fold_of_two_equal_modes(results: xr.DataTree) -> None:
    folds = sorted(points_of(results, "bimodal", "fold"), key=lambda p: float(p["mean"]))
    assert len(folds) == 2
    for sign, fold in zip((-1, 1), folds, strict=True):
        assert float(fold["alpha"]) == pytest.approx(0.4679488521865756, abs=1e-11)
        assert float(fold["mean"]) == pytest.approx(sign * 2.880378754735025, abs=1e-10)
        assert float(fold["sd"]) == pytest.approx(1.2065386608715594, abs=1e-10)
        assert float(fold["divergence"]) == pytest.approx(1.0934197224282147, abs=1e-11)


def test_fold_of_the_middle_mode_by_counting_roots(results: xr.DataTree) -> None:
    """On mean 0 a stationary sd is a root of one equation; below the fold there are two near it, above it none."""
    (fold, *_) = points_of(results, "trimodal", "fold")
    assert float(fold["mean"]) == pytest.approx(0, abs=1e-9)

    def roots(alpha: float) -> int:
        p = density(CASE["trimodal"], X) ** alpha
        excess = []
        for sd in np.linspace(1.1, 1.5, 201):
            r = p * norm.pdf(X, 0, sd) ** (1 - alpha)
            excess.append((X**2 @ r) / r.sum() - sd**2)
        return int((np.diff(np.sign(excess)) != 0).sum())

    assert roots(float(fold["alpha"]) - 1e-4) == 2
    assert roots(float(fold["alpha"]) + 1e-4) == 0


@pytest.mark.parametrize("name", ["bimodal", "unequal_weights"])
def test_exchanged_optima_have_the_same_divergence(results: xr.DataTree, name: str) -> None:
    (jump,) = points_of(results, name, "exchange")
    alpha = float(jump["alpha"])
    old, new = (
        divergence(partial(density, CASE[name]), alpha, float(jump[f"{p}mean"]), float(jump[f"{p}sd"]))
        for p in ("", "partner_")
    )
    assert old == pytest.approx(new, abs=1e-9)
    assert old == pytest.approx(float(jump["divergence"]), abs=1e-9)
    # Before it the narrow fit is better, after it the broad one.
    narrow, broad = (float(jump[f"{p}sd"]) for p in ("", "partner_"))
    assert narrow < 1.1 < 2 < broad


def test_global_optimum_by_brute_force(results: xr.DataTree) -> None:
    """A grid over all Normals: at 0.1 one mode is best, at 0.25 both."""
    means, sds = np.linspace(-4, 4, 33), np.geomspace(0.7, 4, 31)
    q = norm.pdf(X[:, None, None], means[:, None], sds)
    p = density(CASE["bimodal"], X)[:, None, None]
    best = results["bimodal/best"].to_dataset()
    for alpha in (0.1, 0.25):
        overlap = (p**alpha * q ** (1 - alpha)).sum(axis=0)
        m, s = np.unravel_index(int(overlap.argmax()), overlap.shape)
        here = best.sel(alpha=alpha, method="nearest")
        assert abs(means[m]) == pytest.approx(abs(float(here["mean"])), abs=0.25)
        assert sds[s] == pytest.approx(float(here["sd"]), rel=0.06)
    assert float(best["sd"].sel(alpha=0.1, method="nearest")) < 1.1
    assert float(best["sd"].sel(alpha=0.25, method="nearest")) > 2.5


def test_a_branch_is_divided_at_the_near_fold_and_not_at_one_far_away() -> None:
    """The plain search for this fold ends 250 standard deviations away, where the divergence is flat."""
    target = CASE["trimodal"].target

    def problem(alpha: float) -> Exact:
        return exact_objective(FAMILIES["normal"], target, alpha).at(1)

    start = next(p for p in reverse_projections(target, FAMILIES["normal"]) if abs(p.theta[0]) < 0.1 > abs(p.theta[1]))
    branch = follow(problem, start.theta, 2 * EDGE, (EDGE, 1 - EDGE), unit=np.array([3.0, 1.0]), largest=0.05)
    (fold,) = branch.folds
    assert fold.parameters[0] == pytest.approx(0.2925231, abs=1e-7)
    assert abs(fold.theta[0]) < 1e-9

    below, above = sorted(arcs_of(branch, 0), key=lambda arc: not arc.minimum)
    assert (below.minimum, above.minimum) == (True, False)
    for arc in (below, above):
        assert arc.alphas[-1] == fold.parameters[0]
        assert (np.diff(arc.alphas) > 0).all()
        np.testing.assert_array_equal(arc.thetas[-1], fold.theta)
    with pytest.raises(ConvergenceError, match="changes stability 1 times but turns 0 times"):
        replace(branch, folds=[]).parts()


# --- optima ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASE)
@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5, 0.75])
def test_global_optimum_has_the_moments_of_the_tilted_density(results: xr.DataTree, name: str, alpha: float) -> None:
    best = results[f"{name}/best"].to_dataset().sel(alpha=alpha, method="nearest")
    mean, sd = float(best["mean"]), float(best["sd"])
    centre, variance = tilted_moments(CASE[name], alpha, mean, sd)
    assert centre == pytest.approx(mean, abs=1e-8)
    assert variance == pytest.approx(sd**2, abs=1e-7)
    assert float(best["divergence"]) == pytest.approx(
        divergence(partial(density, CASE[name]), alpha, mean, sd), abs=1e-8
    )


@pytest.mark.parametrize("name", CASE)
def test_saddles_are_stationary_too(results: xr.DataTree, name: str) -> None:
    arcs = results[f"{name}/arcs"].to_dataset()
    inside = ((arcs["minimum"] == 0) & (arcs["alpha"] > 0.1) & (arcs["alpha"] < 0.4)).to_numpy()
    point = arcs.isel(vertex=np.flatnonzero(inside)[0])
    mean, sd = float(point["mean"]), float(point["sd"])
    centre, variance = tilted_moments(CASE[name], float(point["alpha"]), mean, sd)
    assert (centre, variance) == pytest.approx((mean, sd**2), abs=1e-7)


@pytest.mark.parametrize("name", CASE)
def test_ends_are_the_projections(results: xr.DataTree, name: str) -> None:
    target, normal = CASE[name].target, FAMILIES["normal"]
    start, stop = (results[f"{name}/{end}"].to_dataset() for end in ("reverse", "forward"))
    reverse = sorted((float(p.params["mu"]), float(p.params["sigma"])) for p in reverse_projections(target, normal))
    np.testing.assert_allclose(
        sorted(zip(start["mu"].to_numpy(), start["sigma"].to_numpy(), strict=True)), reverse, atol=1e-9
    )
    # The forward optimum has the mean and the variance of the target.
    w, m = (np.array(part) for part in (CASE[name].weights, CASE[name].means))
    np.testing.assert_allclose(stop["mu"], [w @ m], atol=1e-9)
    np.testing.assert_allclose(stop["sigma"], [np.sqrt(1 + w @ (m - w @ m) ** 2)], atol=1e-9)
    assert max(float(start["miss"].max()), float(stop["miss"].max())) < 1e-8


@pytest.mark.parametrize("name", CASE)
def test_minima_minus_saddles_is_one_at_every_alpha(results: xr.DataTree, name: str) -> None:
    arcs = results[f"{name}/arcs"].to_dataset()
    pieces = [arcs.isel(vertex=arcs["arc"].to_numpy() == i) for i in np.unique(arcs["arc"])]
    for piece in pieces:
        assert np.all(np.diff(piece["alpha"]) > 0)
    for alpha in np.linspace(0.01, 0.99, 50):
        signs = [2 * int(p["minimum"][0]) - 1 for p in pieces if p["alpha"][0] <= alpha <= p["alpha"][-1]]
        assert sum(signs) == 1


def test_atlas_agrees_with_the_branches(results: xr.DataTree) -> None:
    for name in CASE:
        atlas = results[f"{name}/atlas"].to_dataset()
        assert float(atlas["difference"].max()) < 1e-9
        assert np.all(atlas["minima"] - atlas["saddles"] == 1)


def test_points_without_overlap_are_none() -> None:
    from dataclasses import replace

    point = forward_projection(CASE["bimodal"].target, FAMILIES["normal"])

    def flat(value: float, log_sd: float = 0.0) -> bool:
        moved = replace(point, divergence=Estimate(value, 0.0, "quadrature"), theta=np.array([0.0, log_sd]))
        return question.flat(moved, 0.7)

    most = 1 / (0.7 * 0.3)  # of disjoint densities
    assert flat(most - 1e-9)
    assert not flat(0.9 * most)
    assert flat(0.0, -45.0)  # too narrow for any quadrature


def test_a_point_that_no_branch_has_shows() -> None:
    a, b = np.array([0.0, 1.0]), np.array([3.0, 0.0])
    assert question.matched([a, b], [b + 1e-9, a]) == pytest.approx(1e-9)
    assert question.matched([a], [a, b]) == np.inf
    assert question.matched([a, a + 1e-3], [a, b]) == pytest.approx(2.999)


def test_no_arc_to_an_end_shows() -> None:
    target = CASE["bimodal"].target
    (point,) = [p for p in reverse_projections(target, FAMILIES["normal"]) if abs(p.theta[0]) < 0.1]
    assert join_ends(lambda a: exact_objective(FAMILIES["normal"], target, a).at(1), [], [point], 0) == ([], [np.inf])


# --- what is covered -------------------------------------------------------------------------------------------------


def test_labels_say_what_is_covered(results: xr.DataTree) -> None:
    def said(name: str, mean: float, sd: float) -> str:
        return named(case_of(results, name), CASE[name].cover(np.array([[mean, np.log(sd)]]))[0])

    assert said("bimodal", 0, 3) == "both modes"
    assert said("bimodal", -3, 1) == "left mode"
    assert said("trimodal", 0, 5) == "all 3 modes"
    assert said("trimodal", -3, 3) == "left and middle modes"
    assert said("trimodal", 0, 1) == "middle mode"


def test_price_is_the_divergence_of_distant_modes() -> None:
    assert price(0.4, 0.7) == pytest.approx(
        divergence(lambda x: 0.3 * norm.pdf(x, -25) + 0.7 * norm.pdf(x, 25), 0.4, 25, 1), abs=1e-7
    )
    assert price(0, 0.7) == pytest.approx(-np.log(0.7))
    assert price(1e-9, 0.7) == pytest.approx(-np.log(0.7), rel=1e-6)


# --- findings and figures --------------------------------------------------------------------------------------------


def test_findings_are_consistent(results: xr.DataTree) -> None:
    f = findings(results)
    words = words_of("alpha_bridge", f)
    assert len(words.answer) > 100
    assert f["all_consistent"]
    assert f["all_agree"]
    assert f["is_clear"]
    assert f["all_connected"]
    assert [event["target"] for event in f["events"]].count("two equal modes") == 2
    assert "| ±2.9810" in words.text


def test_findings_say_from_where_all_is_covered(results: xr.DataTree) -> None:
    f = findings(results)
    words = words_of("alpha_bridge", f)
    assert f["bimodal"]["covers_from"].value == pytest.approx(0.1148961, abs=1e-6)
    assert f["bimodal"]["alone_from"].value == pytest.approx(0.4679489, abs=1e-6)
    assert f["bimodal"]["covers_from"].value < f["unequal_weights"]["covers_from"].value
    assert f["later"]
    assert f["trimodal"]["covers_always"]
    assert f["trimodal"]["start_ties"] == 1
    assert f["bimodal"]["start_ties"] == 2
    assert "for two modes at ±3" in words.answer
    assert "At equal weights that is at α = 0.11" in words.answer
    assert "three equal modes it covers every mode all the way" in words.answer
    assert "from α = 0.1149 on it covers every mode" in " ".join(words.text.split())
    assert "the right mode and its mirror image to both modes" in " ".join(words.text.split())
    assert "minimum on both modes begins" in " ".join(words.text.split())
    assert "minimum on the left mode ends" in " ".join(words.text.split())
    assert [(event["label"], event["ends"]) for event in f["unequal_weights"]["events"] if not event["is_exchange"]][
        :2
    ] == [
        ("both modes", False),
        ("left mode", True),
    ]


def test_reigns_meet_at_the_exchange(results: xr.DataTree) -> None:
    jump = float(critical(case_of(results, "unequal_weights"), "exchange")["alpha"][0])
    found = sorted((low, high) for _, low, high in reigns(case_of(results, "unequal_weights")))
    assert found == [(0.0, pytest.approx(jump)), (pytest.approx(jump), 1.0)]
    assert len(reigns(case_of(results, "bimodal"))) == 3
    assert [r[1:] for r in reigns(case_of(results, "trimodal"))] == [(0.0, 1.0)]


def test_covering_without_a_jump_is_found_between_grid_points(results: xr.DataTree) -> None:
    tree = results["trimodal"].copy(deep=True)
    tree["best/cover"][:4] = 0.01
    grid = tree["best/alpha"].to_numpy()
    found = covers_from(tree)
    assert found is not None
    assert grid[3] < found.value < grid[4]
    assert found.error == pytest.approx((grid[4] - grid[3]) / 2)
    tree["best/cover"][-1] = 0.01
    assert covers_from(tree) is None


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    found = findings(results)
    base = found["unequal_weights"]
    at, alone = Estimate(0.3, 1e-9, "quadrature"), Estimate(0.5, 1e-9, "quadrature")

    def said(*told: Any) -> str:
        text = words_of("alpha_bridge", found | {"unequal_weights": base | story(*told)}).text
        return text.partition("**Unequal modes.**")[2].partition("Weight matters")[0]

    assert "by a jump" in said(at, alone, 1e-4, 0.6)
    assert "still local minima" in said(at, alone, 1e-4, 0.6)
    assert "still local minima" not in said(alone, at, 1e-4, 0.6)
    assert "by a jump" not in said(at, alone, None, None)
    assert "not even" in said(None, None, None, None)
    assert "every α" in said(Estimate(0.0, 0.0, "exact"), alone, None, None)
    cases = [found[name] | {"flat_at": []} for name in CASE]
    assert "a search also returned" not in words_of("alpha_bridge", found | across(cases)).text
    cases[0] = cases[0] | {"flat_at": [0.7]}
    assert "α = 0.700 (two equal modes)" in words_of("alpha_bridge", found | across(cases)).text


def test_run_asks_the_store_and_reports_progress(results: xr.DataTree, tmp_path: Any) -> None:
    asked: list[str] = []
    seen: list[float] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        json.dumps(inputs)
        return results[name]

    again = question.run(SETTINGS, remember=remember, on_progress=lambda _, done: seen.append(done))
    assert sorted(asked) == sorted(CASE)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert load(save(again, tmp_path / "results.nc")).equals(again)


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("alpha_bridge", findings(results)))


@pytest.mark.usefixtures("closed")
def test_figures(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert list(drawings) == ["members", "alpha_branches"]
    axes = drawings["alpha_branches"].figure.viz["figure"].item().axes
    assert len(axes) == 9
    words = [" ".join(text.get_text() for text in axis.texts) for axis in axes]
    assert "jumps at 0.115" in words[6]
    assert "jumps" not in words[8]
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axes[3].collections if len(c.get_offsets())])
    np.testing.assert_allclose(dots, [[0.46794885, 1.20653866]] * 2, atol=1e-7)
    ridges = drawings["members"].figure.viz["figure"].item().axes
    assert [len([t for t in axis.texts if "jump" in t.get_text()]) for axis in ridges] == [1, 1, 0]
    assert len(ridges[0].get_yticklabels()) == len(MEMBERS)


def test_ramp_goes_from_reverse_to_forward() -> None:
    for theme in ("light", "dark"):
        style = Style.of(theme, "matplotlib")
        assert style.ramp(0).lower() == style.reverse.lower()
        assert style.ramp(1).lower() == style.forward.lower()


@pytest.mark.usefixtures("closed")
def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)


# --- settings --------------------------------------------------------------------------------------------------------


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("grid", "atlas"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert quick.step > default.step > full.step
    assert default == Settings(seed=7)
