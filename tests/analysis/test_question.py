"""The question on one small case: what it stores, how it judges runs, and that its numbers are the exact ones."""

from __future__ import annotations

import json
from typing import Any

import arviz as az
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from analysis.mode_covering_vs_seeking import study as question
from analysis.mode_covering_vs_seeking.findings import defaults
from analysis.mode_covering_vs_seeking.study import CASES, TOLERANCE, Case, Settings
from models.divergences import kl
from models.families import FAMILIES
from models.targets import TARGETS
from tests.analysis.bimodal import SETTINGS, bimodal
from tests.reference import cases

(BIMODAL,) = (case for case in CASES if case.name == "bimodal")
POINTS: list[dict[str, Any]] = cases.case("rev_bim_a3")["answer"]["stationary_points"]
MINIMA = sorted((p for p in POINTS if p["type"] == "min"), key=lambda p: (p["kl"], p["m"]))


@pytest.fixture(scope="module")
def case() -> xr.DataTree:
    return bimodal()


def normal(fit: xr.Dataset | xr.DataTree) -> Any:
    return FAMILIES["normal"].member({"mu": float(fit["mu"]), "sigma": float(fit["sigma"])})


def roles(case: xr.DataTree, prefix: str) -> list[str]:
    return [name for name in case.children if name.startswith(prefix)]


def test_every_role_is_there(case: xr.DataTree) -> None:
    known = {
        "p_data",
        "forward_exact",
        "forward_mle",
        "stationary",
        "densities",
        "restarts",
        "pymc_default",
        "landscape",
    }
    assert known <= set(case.children)
    assert roles(case, "reverse_exact_") == ["reverse_exact_0", "reverse_exact_1", "reverse_exact_2"]
    assert roles(case, "reverse_advi_")
    assert all(name in known or name.startswith(("reverse_exact_", "reverse_advi_")) for name in case.children)
    assert case.attrs["target_name"] == "bimodal"
    assert json.loads(case.attrs["target"]) == {"weights": [0.5, 0.5], "means": [-3.0, 3.0], "sds": [1.0, 1.0]}


def test_exact_reverse_minima_are_the_reference(case: xr.DataTree) -> None:
    found = [case[f"reverse_exact_{i}/fit"].to_dataset() for i in range(3)]
    values = [float(fit["kl_reverse"]) for fit in found]
    assert values[0] <= values[1] + 1e-12 < values[2]
    ordered = sorted(found[:2], key=lambda fit: float(fit["mu"])) + found[2:]
    for fit, exact in zip(ordered, MINIMA, strict=True):
        assert float(fit["mu"]) == pytest.approx(exact["m"], abs=1e-8)
        assert float(fit["sigma"]) == pytest.approx(exact["s"], abs=1e-8)
        assert float(fit["kl_reverse"]) == pytest.approx(exact["kl"], abs=1e-8)
    assert [fit["status"].item() for fit in found] == ["global minimum", "global minimum", "local minimum"]


def test_all_stationary_points_are_the_reference(case: xr.DataTree) -> None:
    stationary = case["stationary"].to_dataset()
    expected = sorted((p["m"], p["s"], p["kl"]) for p in POINTS)
    triples = [stationary["mean"].to_numpy()[:, 0], stationary["sd"].to_numpy()[:, 0], stationary["kl"].to_numpy()]
    np.testing.assert_allclose(sorted(zip(*triples, strict=True)), expected, atol=1e-8)
    assert int((stationary["status"] == "saddle").sum()) == 2
    covers = (stationary["cover"] > 0.5).all("mode") & (stationary["status"] != "saddle")
    assert float(stationary["sd"][covers.to_numpy()].item()) == pytest.approx(2.743769, abs=1e-6)


def test_the_forward_optimum_matches_moments(case: xr.DataTree) -> None:
    exact = cases.case("fwd_normal_bim_a3")["answer"]
    fit = case["forward_exact/fit"]
    assert float(fit["mu"]) == pytest.approx(0, abs=1e-9)
    assert float(fit["sigma"]) == pytest.approx(exact["sd"], abs=1e-9)
    assert float(fit["kl_forward"]) == pytest.approx(exact["kl"], abs=1e-9)


def test_maximum_likelihood_is_above_the_forward_optimum(case: xr.DataTree) -> None:
    fit = case["forward_mle/fit"]
    x = TARGETS["bimodal"].rvs(SETTINGS.n, SETTINGS.seed)
    assert float(fit["mu"]) == pytest.approx(x.mean(), abs=1e-9)
    assert float(fit["sigma"]) == pytest.approx(x.std(), abs=1e-9)
    assert int(fit["n"]) == SETTINGS.n
    gap = kl(TARGETS["bimodal"], normal(fit)).value - cases.case("fwd_normal_bim_a3")["answer"]["kl"]
    assert float(fit["gap"]) == pytest.approx(gap, abs=1e-9)
    assert gap > 0
    # The cross-entropy is of the data, not of p_data: log(sd) + log(2 pi e) / 2.
    assert float(fit["cross_entropy"]) == pytest.approx(0.5 * np.log(2 * np.pi * np.e * x.var()), abs=1e-9)


def test_every_fit_has_both_divergences_the_right_way_round(case: xr.DataTree) -> None:
    for role in (*roles(case, "forward_"), *roles(case, "reverse_")):
        fit = case[f"{role}/fit"].to_dataset()
        member = normal(fit)
        assert float(fit["kl_forward"]) == pytest.approx(kl(TARGETS["bimodal"], member).value, abs=1e-9), role
        assert float(fit["kl_reverse"]) == pytest.approx(kl(member, TARGETS["bimodal"]).value, abs=1e-9), role


@pytest.mark.parametrize("group", ["restarts", "pymc_default"])
def test_every_run_is_judged_by_the_optimum_that_it_is_near(case: xr.DataTree, group: str) -> None:
    runs = case[group].to_dataset()
    for i in range(runs.sizes["restart"]):
        run = runs.isel(restart=i)
        m, s = float(run["mean"].item()), float(run["sd"].item())
        exact = case[f"reverse_exact_{int(run['optimum'])}/fit"].to_dataset()
        others = [case[f"reverse_exact_{k}/fit"].to_dataset() for k in range(3)]
        distances = [abs(m - float(o["mu"])) + abs(s - float(o["sigma"])) for o in others]
        assert int(np.argmin(distances)) == int(run["optimum"])
        member = FAMILIES["normal"].member({"mu": m, "sigma": s})
        gap = kl(member, TARGETS["bimodal"]).value - float(exact["kl_reverse"])
        assert float(run["gap"]) == pytest.approx(gap, abs=1e-9)
        assert bool(run["within_tolerance"]) == (gap <= TOLERANCE)


def test_gaps_are_not_negative(case: xr.DataTree) -> None:
    # From the modes: a run near the saddle may lie below the minimum that it is nearest to.
    restarts = case["restarts"].to_dataset()
    modes = [str(label).startswith("mode") for label in restarts["restart"].to_numpy()]
    assert sum(modes) == 2
    assert np.all(restarts["gap"].to_numpy()[modes] >= -1e-9)
    assert np.all(restarts["gap"].to_numpy()[modes] < 0.1)
    assert float(case["forward_mle/fit"]["gap"]) >= -1e-9


def test_advi_children_count_their_runs(case: xr.DataTree) -> None:
    runs = [int(case[f"{role}/fit"]["runs"]) for role in roles(case, "reverse_advi_")]
    assert sum(runs) == case["restarts"].sizes["restart"] == SETTINGS.centre_runs + 2
    assert min(runs) >= 1


def test_every_child_feeds_arviz(case: xr.DataTree) -> None:
    children = ["p_data", *roles(case, "forward_"), *roles(case, "reverse_")]
    for role in children:
        x = case[f"{role}/posterior"]["x"]
        assert x.dims == ("chain", "draw")
        assert x.sizes == {"chain": 1, "draw": SETTINGS.draws}
    table = az.summary(case["forward_exact"], kind="stats", round_to="none")
    assert float(table.loc["x", "mean"]) == pytest.approx(float(case["forward_exact/posterior"]["x"].mean()))
    log_p = case["reverse_exact_0/sample_stats"]["log_p"].to_numpy()[0]
    x = case["reverse_exact_0/posterior"]["x"].to_numpy()[0]
    np.testing.assert_allclose(log_p, TARGETS["bimodal"].logp(x[:, None]), rtol=1e-10)


def test_roles_have_their_own_draws(case: xr.DataTree) -> None:
    """One stream for each role: standardised draws of two exact fits are not the same numbers."""
    z = []
    for role in ("forward_exact", "reverse_exact_0", "reverse_exact_1", "reverse_exact_2"):
        fit, x = case[f"{role}/fit"], case[f"{role}/posterior"]["x"].to_numpy()[0]
        z.append((x - float(fit["mu"])) / float(fit["sigma"]))
    for i in range(len(z)):
        for j in range(i):
            assert not np.allclose(z[i], z[j])


def test_the_case_can_be_stored(case: xr.DataTree, tmp_path: Any) -> None:
    from models.results import load, save

    assert load(save(case, tmp_path / "case.nc")).equals(case)


def test_densities_in_the_plane_hold_their_mass_and_levels_enclose_it() -> None:
    plane, member = (
        TARGETS["crossed"],
        FAMILIES["mvnormal"].member({"mu": [0.0, 0.0], "cov": [[3.25, 2.25], [2.25, 3.25]]}),
    )
    found = question.densities(plane, [("forward", "", member)])
    cell = float(found["x"][1] - found["x"][0]) ** 2
    np.testing.assert_allclose(cell * found["density"].sum(("x", "y")), 1, atol=0.01)
    for curve in range(2):
        density = found["density"][curve].to_numpy()
        for level, mass in zip(found["level"][curve].to_numpy(), (0.9, 0.5), strict=True):
            assert cell * density[density > level].sum() == pytest.approx(mass, abs=0.02)


def test_run_gives_one_child_per_case_and_reports_progress(monkeypatch: pytest.MonkeyPatch, case: xr.DataTree) -> None:
    monkeypatch.setattr(question, "CASES", (BIMODAL, Case("again", "again", "normal", target="bimodal")))
    asked: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        assert inputs["settings"] == SETTINGS.model_dump()
        json.dumps(inputs)
        return case

    seen: list[tuple[str, float]] = []
    results = question.run(SETTINGS, remember=remember, on_progress=lambda label, done: seen.append((label, done)))
    assert sorted(asked) == ["again", "bimodal"]
    assert list(results.children) == ["bimodal", "again"]
    assert json.loads(results.attrs["settings"]) == SETTINGS.model_dump()
    fractions = [done for _, done in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


# --- findings --------------------------------------------------------------------------------------------------------


def test_what_is_found_of_the_defaults_follows_the_numbers() -> None:
    runs = xr.Dataset(
        {
            "optimum": ("restart", [2, 2, 0]),
            "sd": (("restart", "dim"), [[2.5], [2.6], [1.0]]),
            "gap": ("restart", [0.1, 0.2, 0.0]),
            "within_tolerance": ("restart", [False, False, True]),
        }
    )
    counts = {"n_minima": 3, "centre_broad": 0, "centre_runs": 2, "reverse_sds": [[1.02], [1.02], [2.74]]}
    found = defaults(runs, counts, 100)
    assert (found["broad"], found["runs"], found["within"]) == (2, 3, 1)
    assert (found["sd"].value, found["sd"].error) == pytest.approx((2.55, 0.05))
    assert found["elsewhere"]
    assert found["not_all_the_way"]
    assert found["mostly_broad"]
    few = defaults(runs.isel(restart=[0, 2]), counts | {"centre_broad": 1}, 100)
    assert few["sd"] is None
    assert [few[name] for name in ("elsewhere", "not_all_the_way", "mostly_broad")] == [False, False, False]


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SETTINGS.seed = 4  # type: ignore[misc]


def test_effort_orders_the_work() -> None:
    quick, default, full = (Settings.preset(effort, 7) for effort in ("quick", "default", "full"))
    assert quick.seed == default.seed == full.seed == 7
    assert quick.n < default.n < full.n
    assert quick.steps < default.steps < full.steps
    assert default == Settings(seed=7)
