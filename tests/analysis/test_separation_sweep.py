"""The sweep: located points against reference answers, branches against an independent quadrature, counts and sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import expit

from analysis.drawing.style import Style
from analysis.judged import labels
from analysis.separation_sweep import figures
from analysis.separation_sweep import study as question
from analysis.separation_sweep.branches import (
    BOTH,
    BOUNDS,
    CASES,
    LEFT,
    NORMAL,
    RIGHT,
    bimodal_from,
    pieces_of,
    target,
)  # fmt: skip
from analysis.separation_sweep.figures import plot
from analysis.separation_sweep.findings import TOLERANCE, along, check_table, findings, own_start, table_of
from analysis.separation_sweep.study import Settings
from analysis.site.chapter import words_of
from models.divergences import kl
from models.projections import forward_projection, minima, reverse_projections
from models.results import load, save
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")
pytestmark = pytest.mark.exhaustive

Array = np.ndarray[Any, Any]
SETTINGS = Settings(
    separations=3, weights=5, largest_step=0.5, curve_points=4, advi_separations=(2.6,), advi_unequal=(2.8,), repeats=1,
    steps=100, draws_per_step=5, seed=3,
)  # fmt: skip

#: Computed outside this project, by float64 trapezoid rules and by mpmath at 40 digits, which agree to all digits shown:
#: separation, mean, standard deviation and KL of folds and of the exchange.
EQUAL = {
    "birth of right mode": {"a": 2.412229718012819, "mean": 2.1457236485357063, "sd": 1.2909851301122697},
    "exchange": {"a": 2.800082217583239, "sd": 2.601496993164386, "other_mean": 2.7680000039878365,
                 "other_sd": 1.0443108864997834, "kl": 0.6842661000351467},
}  # fmt: skip
UNEQUAL = {"birth of right mode": {"a": 2.1190010337749854}, "end of both modes": {"a": 2.35579}}
CUSP = {"w": 0.25709635, "a": 2.00176304}


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


# --- an independent reverse KL ---------------------------------------------------------------------------------------


def log_target(x: Array, a: float, w: float) -> Array:
    return np.logaddexp(np.log(w) - (x + a) ** 2 / 2, np.log1p(-w) - (x - a) ** 2 / 2) - np.log(2 * np.pi) / 2


def score(x: Any, a: float, w: float) -> tuple[Any, Any]:
    """First and second derivative of the log density, from the responsibility of the right mode."""
    right = expit(2 * a * x + np.log((1 - w) / w))
    return -x - a + 2 * a * right, -1 + 4 * a**2 * right * (1 - right)


def expectation(f: Any) -> float:
    return float(
        quad(lambda z: f(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -12, 12, limit=400, epsabs=1e-12, epsrel=1e-12)[
            0
        ]
    )


def reverse_kl(m: float, s: float, a: float, w: float) -> float:
    entropy = 0.5 + np.log(s * np.sqrt(2 * np.pi))
    return -entropy - expectation(lambda z: log_target(np.asarray(m + s * z), a, w))


def derivatives(m: float, s: float, a: float, w: float) -> tuple[Array, Array]:
    """Gradient and Hessian in (m, s), under the integral sign."""
    first = [expectation(lambda z, k=k: z**k * score(m + s * z, a, w)[0]) for k in (0, 1)]
    second = [expectation(lambda z, k=k: z**k * score(m + s * z, a, w)[1]) for k in (0, 1, 2)]
    return np.array([-first[0], -1 / s - first[1]]), -np.array([[second[0], second[1]], [second[1], second[2] - s**-2]])


@cache
def counted(a: float, w: float) -> int:
    """Number of minima by BFGS on a trapezoid rule, from many starts."""
    z = np.linspace(-8, 8, 1601)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])

    def value(theta: Array) -> tuple[float, Array]:
        s = np.exp(theta[1])
        x = theta[0] + s * z
        slope = score(x, a, w)[0]
        gradient = -np.array([weight @ slope, 1 + s * (weight @ (slope * z))])
        return float(-theta[1] - weight @ log_target(x, a, w)), gradient

    found: list[Array] = []
    for m in (-a, -0.8 * a, -0.5 * a, 0.0, 0.1 * a, 0.4, 0.5 * a, 0.8 * a, a):
        for s in (0.9, 1.3, 0.8 * a, np.sqrt(1 + a**2)):
            end = minimize(value, [m, np.log(s)], jac=True, method="BFGS", options={"gtol": 1e-9}).x
            if all(np.linalg.norm(end - other) > 0.02 for other in found):
                found.append(end)
    return len(found)


# --- located points --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "name", "expected"),
    [
        (case, name, values)
        for case, known in (("equal", EQUAL), ("unequal", UNEQUAL))
        for name, values in known.items()
    ],
)
def test_located_points_are_the_reference(
    results: xr.DataTree, case: str, name: str, expected: dict[str, float]
) -> None:
    point = results[f"branches_{case}/critical"].to_dataset().sel(name=name)
    for key, value in expected.items():
        assert float(point[key]) == pytest.approx(value, abs=5e-6 if value == 2.35579 else 1e-10)
    assert 0 < float(point["error"]) < 1e-9


def test_cusp_is_the_reference(results: xr.DataTree) -> None:
    cusp = results["boundaries/cusp"].to_dataset()
    for key, value in CUSP.items():
        assert float(cusp[key]) == pytest.approx(value, abs=6e-9)
    for name in ("heavy", "broad", "exchange"):
        w, a = along(results["boundaries/curves"].to_dataset(), name)
        assert (w[0], a[0]) == pytest.approx((CUSP["w"], CUSP["a"]), abs=1e-8)
        assert np.all(np.diff(a) > 0)


@pytest.mark.parametrize(
    ("w", "a", "below", "above"),
    [(0.5, 2.412229718, 1, 3), (0.3, 2.119001034, 1, 2), (0.3, 2.355786, 2, 1), (0.3, 2.625851, 1, 2), (0.2, 2.742356, 1, 2),
     (0.4, 5.009205, 3, 2)],
)  # fmt: skip
def test_number_of_minima_on_both_sides_of_a_boundary(
    results: xr.DataTree, w: float, a: float, below: int, above: int
) -> None:
    assert (counted(a - 0.03, w), counted(a + 0.03, w)) == (below, above)
    curves = results["boundaries/curves"].to_dataset()
    heights = [np.interp(w, *along(curves, name), left=np.inf, right=np.inf) for name in ("heavy", "light", "broad")]
    assert min(abs(h - a) for h in heights) < 1e-6


def test_exchange_curve_has_two_optima_of_equal_divergence(results: xr.DataTree) -> None:
    curves = results["boundaries/curves"].to_dataset()
    chosen = np.flatnonzero(curves["curve"].to_numpy() == "exchange")[::4]
    for i in chosen[:-1]:
        a, w = float(curves["a"][i]), float(curves["w"][i])
        low = sorted(p.divergence.value for p in minima(reverse_projections(target(a, w), NORMAL)))[:2]
        assert low == pytest.approx([float(curves["kl"][i])] * 2, abs=1e-9)
        m, s = float(curves["mean"][i]), float(curves["sd"][i])
        assert reverse_kl(m, s, a, w) == pytest.approx(low[0], abs=1e-9)


# --- branches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_points_of_branches_are_stationary_and_what_they_are_said_to_be(results: xr.DataTree, case: Any) -> None:
    for _, status, v in pieces_of(results[f"branches_{case.name}/branches"].to_dataset()):
        for i in {len(v["a"]) // 3, len(v["a"]) // 2, len(v["a"]) - 2}:
            m, s, a = v["mean"][i], v["sd"][i], v["a"][i]
            gradient, hessian = derivatives(m, s, a, case.weight)
            assert np.abs(gradient).max() < 1e-8
            assert reverse_kl(m, s, a, case.weight) == pytest.approx(v["kl"][i], abs=1e-9)
            assert (np.linalg.det(hessian) > 0) == (status != "saddle")
            assert hessian[0, 0] == pytest.approx(s**-2, abs=1e-8)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("a", [1.7, 2.25, 2.5, 2.9, 4.4])
def test_branches_hold_all_optima_and_rank_them(results: xr.DataTree, case: Any, a: float) -> None:
    pieces = pieces_of(results[f"branches_{case.name}/branches"].to_dataset())
    expected = sorted(
        (p.status, round(float(p.params["mu"]), 6)) for p in reverse_projections(target(a, case.weight), NORMAL)
    )
    here = [piece for piece in pieces if piece[2]["a"].min() < a <= piece[2]["a"].max()]
    assert sorted(status for _, status, _ in here) == [status for status, _ in expected]
    for label, status, values in here:
        order = np.argsort(values["a"])
        mean = np.interp(a, values["a"][order], values["mean"][order])
        assert min(abs(mean - m) for other, m in expected if other == status) < 0.05
        for p in minima(reverse_projections(target(a, case.weight), NORMAL)):
            if abs(float(p.params["mu"]) - mean) < 0.05:
                assert labels([p], target(a, case.weight)) == [label]


@pytest.mark.parametrize("a", [1.1, 2.6, 4.3])
def test_covering_minimum_solves_the_equation_of_the_report(a: float) -> None:
    """The centred fit, from one equation in one unknown."""

    def excess(s: float) -> float:
        return 1 - s**-2 - a**2 * expectation(lambda z: 1 / np.cosh(min(a * s * abs(z), 300)) ** 2)

    s = brentq(excess, 0.5, 1.5 * a + 1, xtol=1e-12)
    centred = min(minima(reverse_projections(target(a, 0.5), NORMAL)), key=lambda p: abs(float(p.params["mu"])))
    assert float(centred.params["sigma"]) == pytest.approx(s, abs=1e-8)


@pytest.mark.parametrize("weight", [0.5, 0.3, 0.04])
def test_second_mode_of_the_target(weight: float) -> None:
    x = np.linspace(-8, 8, 160_001)
    for a, modes in ((bimodal_from(weight) - 1e-3, 1), (bimodal_from(weight) + 1e-3, 2)):
        rises = np.diff(log_target(x, max(a, 0.0), weight)) > 0
        assert int((rises[:-1] & ~rises[1:]).sum()) == modes
    assert bimodal_from(0.5) == 1


# --- the table -------------------------------------------------------------------------------------------------------


def test_table_agrees_with_the_curves_and_would_say_if_not(results: xr.DataTree) -> None:
    table, curves = table_of(results), results["boundaries/curves"].to_dataset()
    assert check_table(table, curves) == {"cells": 15, "near": 0, "differ": 0}
    wrong = table.copy(deep=True)
    wrong["minima"].loc[{"weight": 0.5, "a": 5.0}] = 2
    wrong["is_global"].loc[{"weight": 0.2, "a": 5.0}] = [0, 1, np.nan]
    assert check_table(wrong, curves)["differ"] == 2
    assert bool(table["consistent"].all())
    np.testing.assert_array_equal(table["minima"] - table["saddles"], 1)


def test_explorer_is_symmetric_and_exact(results: xr.DataTree) -> None:
    table = figures.explorer(results)
    assert table["weights"] == pytest.approx(np.arange(1, 10) / 10)
    assert table["separations"][-1] == BOUNDS[1]
    cell = table["cells"][-1][6]
    direct = minima(reverse_projections(target(5.0, 0.7), NORMAL))
    np.testing.assert_allclose(
        cell["reverse"],
        [
            [float(p.params["mu"]), float(p.params["sigma"]), p.divergence.value, p.status == "global minimum"]
            for p in direct
        ],
        atol=1e-7,
    )
    best = forward_projection(target(5.0, 0.7), NORMAL)
    expected = [float(best.params["mu"]), float(best.params["sigma"]), best.divergence.value]
    assert cell["forward"] == pytest.approx(expected, abs=1e-8)
    assert expected[:2] == pytest.approx([-2.0, np.sqrt(26 - 4)])


@pytest.mark.parametrize("effort", ["quick", "default", "full"])
def test_explorer_begins_at_a_position_of_its_table(effort: Any) -> None:
    settings = Settings.preset(effort)
    assert 3.0 in settings.grid
    assert settings.half[-1] == 0.5
    assert 0.3 in settings.half


# --- ADVI ------------------------------------------------------------------------------------------------------------


def test_ends_are_judged_by_their_own_divergence(results: xr.DataTree) -> None:
    advi = results["advi_equal"].to_dataset().sel(a=2.6)
    found = minima(reverse_projections(target(2.6, 0.5), NORMAL))
    exact = dict(zip(labels(found, target(2.6, 0.5)), found, strict=True))
    for i in (1, 2, 8):
        run = advi.isel(start=i)
        member = NORMAL.member({"mu": float(run["mean"]), "sigma": float(run["sd"])})
        lowest = exact[str(run["label"].item())]
        assert float(run["gap"]) == pytest.approx(
            kl(member, target(2.6, 0.5)).value - lowest.divergence.value, abs=1e-9
        )
        assert bool(run["is_global"]) == (lowest.status == "global minimum")
    assert int(advi["n_minima"]) == 3
    assert str(advi["global_label"].item()) == BOTH


def test_ends_at_a_minimum_belong_to_it_and_others_to_none() -> None:
    exact = minima(reverse_projections(target(3.2, 0.5), NORMAL))
    theta = np.add([p.theta for p in exact], [0.05, -0.05])
    judged = question.judged(theta, 3.2, 0.5)
    assert [str(label) for label in judged["label"].to_numpy()] == labels(exact, target(3.2, 0.5))
    assert np.all(judged["gap"] > 0)


def test_runs_are_the_same_each_time(results: xr.DataTree) -> None:
    """The only random part; parts share nothing, so this is also why ``--jobs`` changes no number."""
    again = question.advi_runs(CASES[1], SETTINGS.advi_unequal, SETTINGS).to_dataset()
    xr.testing.assert_equal(again, results["advi_unequal"].to_dataset())
    other = question.advi_runs(CASES[1], SETTINGS.advi_unequal, SETTINGS.model_copy(update={"seed": 4}))
    assert np.all(other["mean"] != again["mean"])


def test_run_asks_the_store_and_reports_progress(results: xr.DataTree, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[float] = []
    asked: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        json.dumps(inputs)
        return results[name]  # type: ignore[return-value]

    again = question.run(SETTINGS, remember=remember, on_progress=lambda _, done: seen.append(done))
    assert sorted(asked) == sorted(results.children)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    xr.testing.assert_equal(load(save(again, tmp_path / "results.nc")), results)


def test_parts_depend_on_what_they_are_made_from() -> None:
    before = {part.name: dict(part.inputs) for part in question.parts(SETTINGS)}
    changed = {part.name: dict(part.inputs) for part in question.parts(SETTINGS.model_copy(update={"seed": 9}))}
    assert {name for name in before if before[name] != changed[name]} == {"advi_equal", "advi_unequal"}


# --- findings and figures --------------------------------------------------------------------------------------------


def test_findings_are_complete(results: xr.DataTree) -> None:
    f = findings(results)
    assert not any("rows" in entry for entry in f.values() if isinstance(entry, dict))  # `duality run` prints these
    words = words_of("separation_sweep", f)
    assert "5.6 standard deviations" in words.answer
    for text in ("$a$ = 2.412", "$a$ = 2.800", "past 2.356", "$w$ = 0.257096", "does not stop being a minimum"):
        assert text in words.text
    assert [row["event"] for row in f["table"][:3]] == ["bimodal", "birth", "exchange"]
    assert [row["event"] for row in f["table"][3:]] == ["bimodal", "birth", "exchange", "end", "light"]
    for event in ("the target gets its second mode", "single modes become minima", "the heavier mode becomes global"):
        assert f"| {event} " in words.text
    assert len(f["table"]) == 8
    assert (
        sum(f["equal"]["advi"]["table"][0][key] for key in ("both", "left", "right"))
        == f["equal"]["advi"]["starts"]
        == 9
    )
    assert f["equal"]["last"][BOTH]["kl"] > 3 > f["equal"]["last"][LEFT]["kl"] == pytest.approx(np.log(2), abs=1e-4)


def test_findings_count_what_happened(results: xr.DataTree) -> None:
    tree = results.copy(deep=True)
    advi = tree["advi_equal"].to_dataset()
    labels = np.array([[BOTH] * 4 + [LEFT] * 3 + [RIGHT] * 2])
    gaps = np.full((1, 9), TOLERANCE / 2)
    gaps[0, :2] = 2 * TOLERANCE
    tree["advi_equal"] = xr.DataTree(
        advi.assign(
            label=(advi["label"].dims, labels),
            gap=(advi["gap"].dims, gaps),
            is_global=(advi["gap"].dims, labels == BOTH),
        )
    )
    tree["advi_unequal/gap"] = tree["advi_unequal/gap"] * 0
    f = findings(tree)
    assert f["runs"] == {"runs": 18, "not_arrived": 2}
    assert f["start"]["cover"] == {"separations": 1, "both": 4, "single": 5}
    assert f["equal"]["advi"]["choice_local"] == 5
    words = words_of("separation_sweep", f)
    assert "5 of 9 runs at equal weights ended on a single mode." in words.text
    assert "Of 18 runs of ADVI, 16 ended within 0.02 nats" in words.text


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    f = findings(results)
    none, some = {"separations": 0, "both": 0, "single": 0}, {"separations": 1, "both": 3, "single": 7}

    def words(**changes: Any) -> str:
        return words_of("separation_sweep", f | changes).text

    def by_start(cover: Any, beyond: Any, decides: bool) -> str:
        return words(start={"cover": cover, "beyond": beyond, "decides": decides})

    assert "single mode is better, 3 of 10 still covered both. So the start decides" in by_start(some, some, True)
    assert "ended on a single mode; beyond $a$ = 2.800, where" in by_start(some, some, True)
    assert "start decides" not in by_start(some, some, False)
    assert "Beyond $a$ = 2.800, where" in by_start(none, some, False)
    assert "is better, " not in by_start(none, none, False)
    assert "All 5 runs of ADVI ended" in words(runs={"runs": 5, "not_arrived": 0})
    row = {"a": 2.0, "own": {BOTH: 2, LEFT: 0}}
    stays = own_start({"table": [row, row | {"a": 3.0}], "own": 2})
    assert "every run covered both modes, at every separation" in words(own=stays)
    moved = own_start({"table": [row, {"a": 3.0, "own": {BOTH: 1, LEFT: 1}}], "own": 2})
    assert "both modes at the separations tried below $a$ = 3.0; from" in words(own=moved)
    back = own_start({"table": [row, {"a": 3.0, "own": {BOTH: 0, LEFT: 2}}, row | {"a": 4.0}], "own": 2})
    assert "both modes, except at 1 of 3 separations." in words(own=back)
    assert "all 9 runs found their way to a mode." in words(late={"runs": 9, "not_arrived": 0})
    assert "4 of 9 runs had not arrived when they stopped. Where" in words(late={"runs": 9, "not_arrived": 4})


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("separation_sweep", findings(results)))


@pytest.mark.usefixtures("closed")
def test_figures(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert set(drawings) == {"branches", "branches_unequal", "phase"}
    mean, sd, divergence = drawings["branches"].figure.viz["figure"].item().axes
    words = " ".join(text.get_text() for text in mean.texts)
    for text in ("a = 2.412", "a = 2.800", "a = 1:", RIGHT, "forward"):
        assert text in words
    assert "one mode" in [text.get_text() for text in divergence.texts]
    fold = EQUAL["birth of right mode"]
    for axis, key in ((mean, "mean"), (sd, "sd")):
        vertices = np.concatenate([line.get_xydata() for line in axis.lines])
        assert np.linalg.norm(vertices - [fold["a"], fold[key]], axis=1).min() < 1e-9
    (plane,) = drawings["phase"].figure.viz["figure"].item().axes
    thick = max(plane.lines, key=lambda line: line.get_linewidth())
    assert np.linalg.norm(thick.get_xydata() - [0.5, EQUAL["exchange"]["a"]], axis=1).min() < 1e-9


@pytest.mark.usefixtures("closed")
def test_global_minima_are_the_strongest_lines_and_late_runs_are_crosses(results: xr.DataTree) -> None:
    sweep = figures.sweep_of(results, "equal", BOUNDS, {"exchange": "exchange"})
    figure = partial(figures.branches, quantities=("kl",), style=Style.of("light", "matplotlib"))
    axis = figure(sweep).viz["figure"].item().axes[0]
    lowest = [line for line in axis.lines if line.get_linewidth() > 3 and len(line.get_xdata()) > 2]
    for line in lowest:
        x, y = line.get_xydata().T
        others = [other for other in axis.lines if other.get_linewidth() < 2 and other.get_color() == line.get_color()]
        for other in others:
            inside = (x > min(other.get_xdata())) & (x < max(other.get_xdata()))
            assert np.all(y[inside] < np.interp(x[inside], *other.get_xydata().T) + 0.02)
    late = replace(sweep, ends={**sweep.ends, "arrived": np.zeros(9, dtype=bool)})
    texts = [text.get_text() for text in figure(late).viz["figure"].item().axes[0].texts]
    assert any("not arrived" in text for text in texts)
    arrived = replace(sweep, ends={**sweep.ends, "arrived": np.ones(9, dtype=bool)})
    texts = [text.get_text() for text in figure(arrived).viz["figure"].item().axes[0].texts]
    assert not any("not arrived" in text for text in texts)


def test_labels_are_moved_apart() -> None:
    assert figures.spread([1.0, 1.0, 5.0], 1.0) == pytest.approx([0.5, 1.5, 5.0])
    assert figures.spread([3.0], 1.0) == [3.0]


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("backend", ["plotly"])
def test_other_backends_draw_without_a_warning(results: xr.DataTree, backend: str) -> None:
    assert set(plot(results, backend=backend)) == {"branches", "branches_unequal", "phase"}


# --- settings --------------------------------------------------------------------------------------------------------


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    for name in ("separations", "weights", "curve_points", "steps"):
        assert getattr(quick, name) < getattr(default, name) < getattr(full, name)
    assert default == Settings(seed=7)


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
