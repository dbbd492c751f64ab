"""Basins: exact descent by unrelated routes, the map against its boundaries, and what is said about the runs of ADVI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PathCollection
from scipy.integrate import solve_ivp
from scipy.special import expit

from analysis.drawing.style import Style
from analysis.initialisation import descent
from analysis.initialisation import study as question
from analysis.initialisation.descent import LOG_SDS, MEANS, METRICS
from analysis.initialisation.figures import agreement, curves_of, panel_of, plot
from analysis.initialisation.findings import TOLERANCE, findings, minimum_labels, only_adam_leaves, over_noise
from analysis.initialisation.study import CASES, OPTIMIZERS, Settings
from analysis.judged import NONE
from analysis.site.chapter import words_of
from models.divergences import kl
from models.families import FAMILIES
from models.projections import minima, reverse_projections
from models.projections.objectives import Objective
from models.quadrature import Estimate
from models.results import load, save
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages
from tests.reference import cases

mpl.use("Agg")

SETTINGS = Settings(
    map_means=12, map_sds=8, refinements=1, start_means=4, start_sds=2, default_runs=2,
    steps=100, draws_per_step=5, pymc_steps=100, seed=3,
)  # fmt: skip
REFERENCE = {"bimodal": "rev_bim_a3", "unequal_weights": "rev_bim37_a3"}
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def objectives() -> dict[str, Objective]:
    return {case.name: descent.exact_objective(case.target) for case in CASES}


@pytest.fixture(scope="module")
def traps(objectives: dict[str, Objective]) -> dict[str, descent.Trap]:
    return {
        case.name: descent.traps(
            objectives[case.name],
            sorted(minima(reverse_projections(case.target, FAMILIES["normal"])), key=lambda p: float(p.params["mu"])),
        )
        for case in CASES
    }


def points(name: str, kind: str) -> list[dict[str, float]]:
    found = cases.case(REFERENCE[name])["answer"]["stationary_points"]
    return sorted((p for p in found if p["type"] == kind), key=lambda p: p["m"])


def grid(means: int, log_sds: int) -> Array:
    return descent.pairs(descent.cells(*MEANS, means), descent.cells(*LOG_SDS, log_sds))


# --- exact descent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCE)
def test_stationary_points_are_the_reference(results: xr.DataTree, name: str) -> None:
    stationary = results[f"{name}/stationary"].to_dataset()
    minimal = (stationary["label"] != "saddle").to_numpy()
    for chosen, kind in ((minimal, "min"), (~minimal, "saddle")):
        found = sorted(zip(*(stationary[v].to_numpy()[chosen] for v in ("mean", "sd", "kl")), strict=True))
        np.testing.assert_allclose(found, [(p["m"], p["s"], p["kl"]) for p in points(name, kind)], atol=1e-8)
    assert results[name].attrs["certificate"] == "consistent"


def test_minima_are_named_by_what_they_cover(results: xr.DataTree) -> None:
    assert minimum_labels(results["bimodal"]) == ["left mode", "both modes", "right mode"]
    assert minimum_labels(results["unequal_weights"]) == ["left mode", "right mode"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", REFERENCE)
def test_descent_from_beside_a_minimum_reaches_it(
    objectives: dict[str, Objective], traps: dict[str, descent.Trap], name: str, metric: str
) -> None:
    for k, point in enumerate(points(name, "min")):
        around = np.array([point["m"], np.log(point["s"])]) + 0.02 * np.array(
            [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]
        )
        assert set(descent.descend(objectives[name], METRICS[metric], around, traps[name])[0]) == {k}


@pytest.mark.parametrize("name", REFERENCE)
def test_a_trap_holds_its_minimum_and_no_other_stationary_point(traps: dict[str, descent.Trap], name: str) -> None:
    trap = traps[name]
    for kind in ("min", "saddle"):
        for i, p in enumerate(points(name, kind)):
            caught = trap.caught(np.array([[p["m"], np.log(p["s"])]]), np.array([p["kl"]]))
            assert caught == [i if kind == "min" else NONE]
    # Near the minimum, but above the level of the rim: not caught.
    assert trap.caught(trap.thetas[:1] + 0.01, trap.levels[:1] + 1e-3) == [NONE]


def velocity(name: str, metric: str, theta: Array, objective: Objective) -> Array:
    """Descent written out for each metric from the derivatives with respect to mean and log sd."""
    dm, dl = objective.gradient(theta[None])[1][0]
    sd = np.exp(theta[1])
    if metric == "softplus":
        rho = np.log(np.expm1(sd))
        slope = expit(rho)  # dsd / drho
        return np.array([-dm, -((slope / sd) ** 2) * dl])
    return np.array([-dm, -dl])


@pytest.mark.parametrize(("name", "metric"), [("bimodal", "plain"), ("unequal_weights", "softplus")])
def test_descent_ends_where_scipy_ends(
    objectives: dict[str, Objective], traps: dict[str, descent.Trap], name: str, metric: str
) -> None:
    """LSODA from a few starts, to the end: the same minimum, without traps."""
    objective = objectives[name]
    starts = np.array([[-2.3, 1.4], [0.45, -0.6], [-0.9, -0.2]])
    found, _ = descent.descend(objective, METRICS[metric], starts, traps[name])
    for start, k in zip(starts, found, strict=True):
        path = solve_ivp(
            lambda _, theta: velocity(name, metric, theta, objective),
            (0, 60),
            start,
            method="LSODA",
            rtol=1e-5,
            atol=1e-7,
        )
        distance = np.linalg.norm(path.y[:, -1] - traps[name].thetas, axis=1)
        assert int(distance.argmin()) == k
        assert distance.min() < 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_the_jacobian_is_the_derivative_of_the_velocity(objectives: dict[str, Objective], metric: str) -> None:
    theta, step = np.array([[1.2, 0.4], [-3.0, -1.5]]), 1e-5
    _, _, jacobian = descent.field_of(objectives["unequal_weights"], METRICS[metric], theta)
    for i, shift in enumerate(np.eye(2) * step):
        up, down = (
            descent.velocity_of(objectives["unequal_weights"], METRICS[metric], theta + s * shift) for s in (1, -1)
        )
        np.testing.assert_allclose(jacobian[:, :, i], (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("metric", METRICS)
def test_descent_never_climbs(objectives: dict[str, Objective], traps: dict[str, descent.Trap], metric: str) -> None:
    starts = grid(6, 5)
    minimum, ends = descent.descend(objectives["bimodal"], METRICS[metric], starts, traps["bimodal"])
    assert np.all(minimum != NONE)
    before, after = (objectives["bimodal"].gradient(theta)[0] for theta in (starts, ends))
    assert np.all(after <= before + 1e-10)
    assert np.all(after < traps["bimodal"].levels[minimum])


def test_the_objective_is_the_divergence(objectives: dict[str, Objective]) -> None:
    theta = np.array([[0.7, np.log(1.7)], [-2.0, np.log(5.0)]])
    value = objectives["unequal_weights"].gradient(theta)[0]
    for (mean, log_sd), found in zip(theta, value, strict=True):
        member = FAMILIES["normal"].member({"mu": mean, "sigma": np.exp(log_sd)})
        assert found == pytest.approx(kl(member, CASES[1].target).value, abs=1e-4)


# --- the map ---------------------------------------------------------------------------------------------------------


def test_mirror_image_of_the_equal_target(results: xr.DataTree) -> None:
    labels = results["bimodal/map/minimum"].to_numpy()
    np.testing.assert_array_equal(labels, 2 - labels[::-1])


@pytest.mark.parametrize("name", REFERENCE)
def test_every_cell_is_on_its_side_of_the_boundaries(results: xr.DataTree, name: str) -> None:
    """The boundaries, traced uphill from the saddles, count for each cell the minima to its left."""
    regions = results[f"{name}/map/minimum"]
    curves = curves_of(results[name], "plain")
    assert len(curves) == len(points(name, "saddle"))
    width = 12 / regions.sizes["map_mean"]
    for log_sd in regions["map_log_sd"].to_numpy()[1:-1]:
        crossings = np.sort([np.interp(log_sd, *curve[np.argsort(curve[:, 1])].T[::-1]) for curve in curves])
        means = regions["map_mean"].to_numpy()
        clear = np.all(np.abs(means[:, None] - crossings) > width / 4, axis=1)
        expected = (means[:, None] > crossings).sum(axis=1)
        np.testing.assert_array_equal(regions.sel(map_log_sd=log_sd).to_numpy()[clear], expected[clear])


@pytest.mark.parametrize("metric", ["plain", "softplus"])
def test_descent_from_a_boundary_goes_to_its_saddle(
    results: xr.DataTree, objectives: dict[str, Objective], metric: str
) -> None:
    (curve,) = curves_of(results["unequal_weights"], metric)
    saddle = points("unequal_weights", "saddle")[0]
    # Not far along the boundary: nearby paths part from each other exponentially.
    start = curve[np.argmin(np.abs(curve[:, 1] - np.log(saddle["s"]) - 0.3))]
    path = solve_ivp(
        lambda _, theta: velocity("unequal_weights", metric, theta, objectives["unequal_weights"]),
        (0, 12), start, method="LSODA", rtol=1e-8, atol=1e-10,
    )  # fmt: skip
    distance = np.linalg.norm(path.y.T - np.array([saddle["m"], np.log(saddle["s"])]), axis=1)
    assert distance[0] > 0.25
    assert distance.min() < 0.01


def test_only_cells_beside_a_boundary_are_divided() -> None:
    asked: list[Array] = []

    def reached(theta: Array) -> Array:
        asked.append(theta)
        return np.where(theta[:, 0] > 0.1, 1, 0)

    regions = question.basin_map(SETTINGS, reached)
    assert regions.shape == (24, 16)
    assert len(asked[0]) == 96
    assert len(asked[1]) == 4 * 2 * 8  # two columns of eight cells, each in four
    np.testing.assert_array_equal(regions.to_numpy(), np.where(regions["map_mean"] > 0.1, 1, 0)[:, None].repeat(16, 1))


def test_margin_and_distance() -> None:
    line = np.array([[2.0, -2.0], [2.0, 0.0], [2.0, 1.0]])
    assert question.margin_to(np.array([0.5, 0.3]), [line, line - [4.0, 0.0]]) == pytest.approx(1.5)
    assert question.margin_to(np.array([0.5, 3.0]), [line]) == np.inf
    np.testing.assert_allclose(question.distance_to(np.array([[0.5, 0.0], [2.0, 2.0]]), [line]), [1.5, 1.0])


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCE)
def test_runs_are_judged_by_the_divergence_of_their_end(results: xr.DataTree, name: str) -> None:
    runs = results[f"{name}/runs"].to_dataset()
    assert dict(runs["theta"].sizes) == {"optimizer": 2, "start": 8, "repeat": 2, "coordinate": 2}
    lowest = results[f"{name}/stationary/kl"].to_numpy()
    for optimizer in OPTIMIZERS:
        run = runs.sel(optimizer=optimizer).isel(start=5, repeat=1)
        mean, log_sd = run["theta"].to_numpy()
        member = FAMILIES["normal"].member({"mu": mean, "sigma": np.exp(log_sd)})
        target = next(case.target for case in CASES if case.name == name)
        assert float(run["gap"]) == pytest.approx(kl(member, target).value - lowest[int(run["minimum"])], abs=1e-4)


def test_repeats_have_their_own_noise_and_their_own_start(results: xr.DataTree) -> None:
    theta = results["bimodal/runs/theta"].to_numpy()
    assert np.all(np.abs(theta[:, :, 0] - theta[:, :, 1]) > 0)
    # A hundred steps of PyMC's defaults move little: each run is still near the start that it is filed under.
    start = results["bimodal/starts/theta"].to_numpy()
    moved = np.linalg.norm(theta[1] - start[:, None], axis=2)
    assert moved.max() < 0.7 < np.linalg.norm(np.diff(start, axis=0), axis=1).min()


def test_pymc_start(results: xr.DataTree) -> None:
    start = results["bimodal/pymc_start"].to_dataset()
    np.testing.assert_allclose(start["start"], [0, np.log(np.log(2))], atol=1e-12)
    # By symmetry exact descent cannot leave the middle.
    assert set(start["exact"].to_numpy()) == {1}
    assert float(results["unequal_weights/pymc_start/start"][0]) == pytest.approx(0.4 * 3)


def test_runs_are_the_same_each_time(results: xr.DataTree) -> None:
    """The only random part; cases share nothing, so this is also why ``--jobs`` changes no number."""
    starts, own = results["bimodal/starts/theta"].to_numpy(), results["bimodal/pymc_start"].to_dataset()
    ends = question.advi_ends(CASES[0].target, SETTINGS, starts, float(own["start"][0]))
    np.testing.assert_array_equal(ends[:, -SETTINGS.default_runs :], own["theta"])
    np.testing.assert_array_equal(question.folded(ends[:, : -SETTINGS.default_runs], SETTINGS),
                                  results["bimodal/runs/theta"])  # fmt: skip


def test_run_asks_the_store_and_reports_progress(results: xr.DataTree, tmp_path: Any) -> None:
    asked: list[str] = []
    seen: list[float] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        json.dumps(inputs)
        return results[name]

    again = question.run(SETTINGS, remember=remember, on_progress=lambda _, done: seen.append(done))
    assert asked == [case.name for case in CASES]
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert load(save(again, tmp_path / "results.nc")).equals(again)


# --- findings and figures --------------------------------------------------------------------------------------------


def test_standard_error_over_noise_is_that_of_many_repetitions() -> None:
    rng = np.random.default_rng(1)
    chances = rng.uniform(0, 1, 40)
    simulated = rng.uniform(size=(2000, 40, 3)) < chances[None, :, None]
    estimates = [over_noise(hits) for hits in simulated]
    spread = np.std([e.value for e in estimates])
    assert np.sqrt(np.mean([e.error**2 for e in estimates])) == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize("name", REFERENCE)
def test_shares_add_up(results: xr.DataTree, name: str) -> None:
    f = findings(results)[name]
    assert sum(row["share"].value for row in f["minima"]) == pytest.approx(1)
    for row in f["table"]:
        assert sum(row[key].value for key in ("left", "both", "right") if row[key] is not None) == pytest.approx(1)
    assert (f["table"][0]["same"].value, f["table"][0]["same"].kind) == (1, "exact")


def test_findings_count_runs_that_differ(results: xr.DataTree) -> None:
    """Half of the runs of one optimiser moved to another minimum by hand."""
    tree = results.copy(deep=True)
    exact = tree["bimodal/starts/exact"].sel(metric="plain").to_numpy()
    changed = np.stack([exact, (exact + 1) % 3], axis=1)
    tree["bimodal/runs/minimum"].loc[{"optimizer": "adam"}] = changed
    tree["bimodal/runs/gap"].loc[{"optimizer": "adam"}] = np.array([0.5 * TOLERANCE, 2 * TOLERANCE])
    found = findings(tree)["bimodal"]["adam"]
    assert found["same"].value == 0.5
    assert (found["runs"], found["differ"], found["noisy"]) == (16, 8, 8)
    assert found["arrived"] == 0.5
    assert found["differ_arrived"] == 0


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    found = findings(results)
    case = found["bimodal"]

    def said(key: str, **values: Any) -> str:
        return words_of("initialisation", found | {"bimodal": case | {key: case[key] | values}}).text

    kept = case["adam"] | {"same": Estimate(0.87, 0, "draws"), "same_own": Estimate(0.97, 0, "draws")}
    answer = words_of("initialisation", found | {"bimodal": case | {"adam": kept}}).answer
    assert "87% of runs with Adam" in answer, "the basins of the map, which the page draws"
    assert "All 16 runs ended where" in said("adam", differ=0)
    assert "Of 16 runs 4 ended elsewhere" in said("adam", differ=4)
    assert "without any noise. " in said("adam", differ=4, explained=3, mostly_explained=True)
    assert "do not explain" in said("adam", differ=4, explained=1, mostly_explained=False)
    assert "From 3 starts" in said("adam", differ=4, noisy=3)
    unequal = found["unequal_weights"]
    found["unequal_weights"] = unequal | {"pymc_start": unequal["pymc_start"] | {"only_adam_leaves": False}}
    assert "walks out" in said("pymc_start", only_adam_leaves=True)
    assert "walks out" not in said("pymc_start", only_adam_leaves=False)
    defaults = {"runs": 32, "arrived": 31, "differ": 2, "most_arrived": True}
    assert "\n31 of 32 runs came within" in words_of("initialisation", found | {"defaults": defaults}).text
    few = words_of("initialisation", found | {"defaults": defaults | {"most_arrived": False}}).text
    assert "agrees by construction" in few


def test_only_adam_leaves() -> None:
    assert only_adam_leaves(10, {"adam": 1, "pymc": 9})
    assert not only_adam_leaves(10, {"adam": 9, "pymc": 9})
    assert not only_adam_leaves(10, {"adam": 1, "pymc": 1})


def test_findings_are_complete(results: xr.DataTree) -> None:
    f = findings(results)
    assert len(words_of("initialisation", f).answer) > 100
    assert len(f["minima"]) == 5
    assert f["lost"] == 0


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("initialisation", findings(results)))


@pytest.mark.usefixtures("closed")
def test_figures(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert set(drawings) == {"basins", "agreement"}
    first, second = drawings["basins"].figure.viz["figure"].item().axes
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in first.collections if len(c.get_offsets())])
    for kind in ("min", "saddle"):
        for p in points("bimodal", kind):
            assert np.any(np.all(np.isclose(dots, [p["m"], np.log(p["s"])], atol=1e-6), axis=1))
    words = " ".join(text.get_text() for text in first.texts)
    assert words.count("KL 0.689") == 2
    assert "both modes" not in " ".join(text.get_text() for text in second.texts)
    assert len(drawings["agreement"].figure.viz["figure"].item().axes) == 4


@pytest.mark.usefixtures("closed")
def test_a_run_that_ends_elsewhere_is_marked(results: xr.DataTree) -> None:
    panel = panel_of(results["unequal_weights"], "adam", "title")
    same = np.stack([panel.exact, panel.exact], axis=1)
    different = same.copy()
    different[4] = 1 - different[4]

    def large(ends: Array) -> list[Array]:
        figure = agreement([replace(panel, ends=ends)], Style.of("light", "matplotlib"), cols=1)
        axis = figure.viz["figure"].item().axes[0]
        scatters = [c for c in axis.collections if isinstance(c, PathCollection)]
        marked = [np.asarray(c.get_offsets()) for c in scatters if c.get_sizes()[0] > 45]
        return [p for offsets in marked for p in offsets if p[1] < LOG_SDS[1]]

    assert large(same) == []
    np.testing.assert_allclose(large(different), panel.starts[4:5])


@pytest.mark.usefixtures("closed")
def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)


# --- settings --------------------------------------------------------------------------------------------------------


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("map_means", "map_sds", "start_means", "start_sds", "steps", "default_runs"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert default == Settings(seed=7)
