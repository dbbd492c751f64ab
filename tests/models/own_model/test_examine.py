"""What is said of a PyMC model: its modes and their mass, the true widths, and a sentence that can be acted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy.stats import norm, t

from models.errors import ImproperError, InputError
from models.own_model import examine
from models.own_model.comparison import natural
from models.own_model.mixture import repair
from models.own_model.modes import ascend, assign, covers, unexplained
from models.own_model.moments import Moments, of_normals, of_reference
from models.own_model.reference import Reference, by_grid, pooled
from models.own_model.short_chains import lower_bounds
from models.own_model.tempering import temper
from models.own_model.verdict import Evidence, judge
from models.targets import from_model, mvnormal_mixture, normal_mixture


def planted(dim: int, weight: float, apart: float) -> pm.Model:
    """½|x|² with a second mode of this weight, `apart` sds away along the first coordinate, under a wide prior."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 10, shape=dim)
        place = np.zeros(dim)
        place[0] = apart
        near, far = -0.5 * pm.math.sum(x**2), -0.5 * pm.math.sum((x - place) ** 2)
        pm.Potential("modes", pm.math.logaddexp(np.log(1 - weight) + near, np.log(weight) + far))
    return model


def planted_share(weight: float, apart: float) -> float:
    """Mass of the second mode: the prior weighs it down by the ratio of N(0, 101) at both places."""
    ratio = weight / (1 - weight) * np.exp(-0.5 * apart**2 / 101)
    return float(ratio / (1 + ratio))


@cache
def missed() -> xr.DataTree:
    return examine(planted(4, 0.3, 5.0), starts=6, budget_s=120)


def test_a_planted_mode_is_named_with_its_mass() -> None:
    """At 5 sds it is no optimum of reverse KL, only a mode of the density."""
    tree = missed()
    share = planted_share(0.3, 5.0)
    assert tree.attrs["grade"] == "missed mode"
    assert tree.attrs["missed_lower"] - 0.02 < share < tree.attrs["missed_upper"] + 0.02
    np.testing.assert_allclose(tree["repair"]["weight"].values.max(), 1 - share, atol=0.05)
    assert "misses a mode holding" in tree.attrs["sentence"]


def test_the_mixture_repairs_what_was_missed() -> None:
    table = missed()["comparison"].to_dataset().sel(variable="x[0]")
    share = planted_share(0.3, 5.0)
    sd = np.sqrt(1 + share * (1 - share) * 25)
    assert float(table["sd"].sel(approximation="mixture")) == pytest.approx(sd, rel=0.06)
    assert float(table["reference_sd"]) == pytest.approx(sd, rel=0.08)
    kl = missed()["divergences"].to_dataset()
    assert float(kl["reverse"].sel(approximation="mixture")) < 0.1 < float(kl["forward"].sel(approximation="ADVI"))


def separated_under_a_prior() -> pm.Model:
    """A posterior whose only mode is far from the optimum of reverse KL, which covers it by its own width."""
    x = np.array([-3.0, -2, -1, 1, 2, 3])
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 100), pm.Normal("b", 0, 100)
        pm.Bernoulli("y", logit_p=a + b * x, observed=(x > 0).astype(int))
    return model


def funnel() -> pm.Model:
    with pm.Model() as model:
        pm.Normal("x", 0, pm.math.exp(pm.Normal("v", 0, 3) / 2), shape=3)
    return model


@pytest.mark.parametrize("build", [separated_under_a_prior, funnel])
def test_a_repair_has_no_component_for_a_covered_mode_and_is_not_worse_than_the_optimum(
    build: Callable[[], pm.Model],
) -> None:
    """Linear response of a funnel is far too wide where the funnel is narrow; a Laplace approximation is where a likelihood breaks off."""
    tree = examine(build(), starts=6, budget_s=15)
    assert tree["modes"]["covered"].values.all()
    assert tree["repair"]["component"].values.tolist() == ["optimum 0"]
    assert tree["repair"]["weight"].values.tolist() == [1.0]
    kl = tree["divergences"].to_dataset()["reverse"]
    assert float(kl.sel(approximation="mixture")) == pytest.approx(float(kl.sel(approximation="ADVI")), abs=0.2)
    assert float(kl.sel(approximation="linear response")) > 5


def test_a_normal_posterior_is_adequate_and_keeps_its_names() -> None:
    import arviz as az

    rng = np.random.default_rng(0)
    y = rng.normal(1.0, 1.0, (40, 2))
    with pm.Model(coords={"side": ["left", "right"]}) as model:
        mu = pm.Normal("mu", 0, 10, dims="side")
        pm.Normal("y", mu, 1, observed=y)
    tree = examine(model, starts=4, budget_s=60)
    assert tree.attrs["grade"] == "adequate"
    assert tree["reference"].attrs["method"] == "grid"
    precision = 40 + 1 / 100
    mean = float(tree["comparison"]["reference_mean"].sel(variable="mu[left]"))
    assert mean == pytest.approx(y[:, 0].sum() / precision, abs=0.02)
    assert list(az.summary(tree).index) == ["mu[left]", "mu[right]"]


def test_labels_that_can_be_exchanged_are_told_from_a_missed_mode() -> None:
    y = np.concatenate([np.random.default_rng(0).normal(-3, 1, 40), np.random.default_rng(1).normal(3, 1, 60)])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=2)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1.0, observed=y)
    tree = examine(model, starts=6, budget_s=120)
    assert tree.attrs["grade"] == "label switching"
    assert tree.attrs["missed_mass"] == pytest.approx(0.5, abs=0.1)


def test_an_improper_posterior_is_refused_by_name() -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Flat("a") + pm.Flat("b"), 1, observed=[1.0, 2.0])
    with pytest.raises(ImproperError, match=r"b - a|a - b"):
        examine(model, starts=4)


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(InputError, match="budget_s is -1"):
        examine(planted(1, 0.5, 3.0), budget_s=-1)


# --- lower bounds ---------------------------------------------------------------------------------------------------

TILTED = mvnormal_mixture([1], [[0.0, 1.0]], [[[1.0, 0.6], [0.6, 2.0]]])


def test_short_chains_bound_the_errors_of_a_wrong_normal_from_below() -> None:
    """The mean of the first is off by one of its sds; the sds are half and 1.41 times what they should be."""
    found = lower_bounds(TILTED, mvnormal_mixture([1], [[0.5, 1.0]], [np.diag([0.25, 4.0])]), seed=1)
    assert found is not None
    assert -1 < found.mean_error[0] < -0.5
    assert found.mean_error[1] == 0
    assert 1.5 < found.sd_factor[0] < 2
    assert 2**-0.5 < found.sd_factor[1] < 0.9
    assert np.abs(found.correlation).max() < 0.2


def test_short_chains_from_the_right_normal_show_nothing() -> None:
    """In 95 % of the seeds at least: 48 of 50 or more have a probability of .54 if it is just that, and all but 6 one of .99."""
    shown = 0
    for seed in range(50):
        found = lower_bounds(TILTED, TILTED, seed=seed)
        assert found is not None
        shown += bool((found.mean_error != 0).any() or (found.sd_factor != 1).any())
    assert shown <= 6


def test_short_chains_in_a_funnel_claim_no_error_of_a_mean_that_is_right() -> None:
    """From its neck they reach the mouth first, so that v moves up on the way; its sd is 3, where mean field has 0.46."""
    with pm.Model() as model:
        v = pm.Normal("v", 0, 3)
        pm.Normal("x", 0, pm.math.exp(v / 2), shape=9)
    found = lower_bounds(from_model(model), mvnormal_mixture([1], [np.zeros(10)], [np.diag([0.46, *[0.95] * 9]) ** 2]))
    assert found is not None
    assert not found.mean_error.any()
    assert 2 < found.sd_factor[0] < 3 / 0.46
    assert (found.sd_factor[1:] > 1).all()
    assert not found.settled[0]


def test_short_chains_without_time_show_nothing() -> None:
    assert lower_bounds(TILTED, TILTED, stop=lambda: True) is None


# --- its pieces ------------------------------------------------------------------------------------------------------


def test_tempering_weighs_modes_and_gives_the_evidence() -> None:
    target = normal_mixture([0.3, 0.7], [-5, 5], [0.5, 1.0])
    found = temper(target.log_density, np.zeros(1), np.full(1, 8.0), particles=2000, seed=0, stop=lambda: False)
    assert found.temperature == 1.0
    assert found.log_evidence == pytest.approx(0.0, abs=0.1)
    assert (found.points[:, 0] < 0).mean() == pytest.approx(0.3, abs=0.06)
    assert found.points[found.points[:, 0] < 0].std() == pytest.approx(0.5, abs=0.06)


def test_a_clock_that_has_run_out_stops_tempering() -> None:
    target = normal_mixture([1], [0], [1])
    found = temper(target.log_density, np.full(1, 50.0), np.ones(1), particles=100, seed=0, stop=lambda: True)
    assert found.temperature == 0.0


@pytest.mark.parametrize("dim", [1, 10, 60])
def test_assignment_to_modes_holds_in_any_dimension(dim: int) -> None:
    """What a region of 99.9 % probability gives grows from .70 to .99 with the dimension."""
    place = np.zeros(dim)
    place[0] = 5.0
    p = mvnormal_mixture([0.7, 0.3], [np.zeros(dim), place], [np.eye(dim)] * 2)
    modes = ascend(p.log_density, [np.zeros(dim) + 0.1, place + 0.1])
    assert len(modes) == 2
    near = int(np.argmin([m.place[0] for m in modes]))
    assert (assign(modes, p.rvs(20_000, seed=1)) == near).mean() == pytest.approx(0.7, abs=0.02)
    assert covers(np.zeros(dim), np.eye(dim), modes[near])
    assert not covers(np.zeros(dim), np.eye(dim), modes[1 - near])


def test_a_small_mode_is_given_its_own_mass_and_not_the_flank_of_the_large_one() -> None:
    """A border half-way would give it Phi(-2.5) of the other: 0.0556."""
    p = normal_mixture([0.95, 0.05], [0, 5], [1, 1])
    modes = ascend(p.log_density, [np.array([0.1]), np.array([4.9])])
    small = int(np.argmax([m.place[0] for m in modes]))
    share = (assign(modes, p.rvs(400_000, seed=3).reshape(-1, 1)) == small).mean()
    assert share == pytest.approx(0.05, abs=0.002)


def test_draws_in_a_mode_that_was_not_met_are_unexplained() -> None:
    """However few: an ascent from each of some draws meets a mode of 1 % by luck only."""
    target = mvnormal_mixture([0.99, 0.01], [[0, 0, 0], [6, 0, 0]], [np.eye(3), np.eye(3)])
    points = target.rvs(4000, 0)
    density = target.log_density
    home = ascend(density, [np.zeros(3)])
    left = unexplained(density, home, points)
    assert set(np.flatnonzero(points[:, 0] > 4)) <= set(left)
    assert len(left) < 80
    both = ascend(density, points[left[:1]], home)
    assert len(both) == 2
    assert len(unexplained(density, both, points)) == 0
    assert len(unexplained(density, [], points)) == 4000


def test_a_small_mode_is_named_whichever_draws_are_ascended_from() -> None:
    """Its mass is 5 %: ascents from 24 draws of all would miss it in three seeds of ten."""
    for seed in range(4):
        tree = examine(planted(2, 0.06, 5.0), starts=2, seed=seed, budget_s=60)
        assert tree.attrs["grade"] == "missed mode"


def test_repair_has_the_weights_and_the_evidence_of_the_mixture() -> None:
    p = normal_mixture([0.2, 0.8], [-4, 4], [1, 0.5])
    parts = [(np.array([-4.0]), np.array([[1.0]])), (np.array([4.0]), np.array([[0.5]]))]
    found = repair(p, parts, np.zeros(2), seed=0)
    np.testing.assert_allclose(found.weights, [0.2, 0.8], atol=4 * found.weights_se.max())
    assert found.weights_se.max() < 0.01
    assert abs(found.log_evidence.value) < 4 * found.log_evidence.error < 0.05


def test_grid_draws_are_those_of_the_posterior() -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("x", 0, 2), 1, observed=[1.0, 2.0, 3.0])
    reference = by_grid(from_model(model), np.array([[-3.0], [6.0]]), seed=0)
    precision = 3 + 0.25
    assert reference.ok
    assert reference.flat.mean() == pytest.approx(6 / precision, abs=0.03)
    assert reference.flat.std() == pytest.approx(precision**-0.5, rel=0.03)
    assert not by_grid(from_model(model), np.array([[1.0], [1.5]]), seed=0).ok  # the box is too small


# --- moments on the natural scale ------------------------------------------------------------------------------------


def scales() -> pm.Model:
    """Natural scales of a Normal: as it is, its exponential, and a square."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 3)
        pm.Deterministic("square", a**2)
        pm.HalfNormal("s", 2)
    return model


def test_moments_of_a_normal_are_exact_where_linear_and_within_their_errors_elsewhere() -> None:
    target = from_model(scales())
    cov = np.array([[0.5, 0.1], [0.1, 0.2]])
    found = of_normals(target, mvnormal_mixture([1], [[1.0, -0.5]], [cov]))
    at = {name: i for i, name in enumerate(found.names)}
    variance = 4 * 1.0**2 * 0.5 + 2 * 0.5**2
    growth = np.exp(-0.5 + 0.1)
    exact = {"a": (1.0, 0.5**0.5), "square": (1.5, variance**0.5), "s": (growth, growth * np.sqrt(np.expm1(0.2)))}
    for name, (mean, sd) in exact.items():
        i = at[name]
        assert found.mean[i] == pytest.approx(mean, abs=1e-10 + 5 * found.mean_error[i])
        assert found.sd[i] == pytest.approx(sd, abs=1e-10 + 5 * found.sd_error[i])
        assert max(found.mean_error[i], found.sd_error[i]) < 0.01 * sd
    assert found.mean_error[at["a"]] < 1e-10


def test_moments_of_a_mixture_weigh_its_components() -> None:
    target = from_model(scales())
    mixture = mvnormal_mixture([0.3, 0.7], [[-4.0, 0.0], [4.0, 0.0]], [np.eye(2), 0.25 * np.eye(2)])
    found = of_normals(target, mixture)
    assert found.mean[0] == pytest.approx(1.6, abs=1e-9)
    assert found.sd[0] == pytest.approx(np.sqrt(0.3 * (16 + 1) + 0.7 * (16 + 0.25) - 1.6**2), abs=1e-9)


def test_moments_of_a_grid_are_those_of_the_posterior_to_all_digits() -> None:
    """Where its 4000 draws leave a mean open by a fiftieth of an sd."""
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("x", 0, 2), 1, observed=[1.0, 2.0, 3.0])
    target = from_model(model)
    found = of_reference(target, by_grid(target, np.array([[-3.0], [6.0]]), seed=0))
    assert found.mean[0] == pytest.approx(6 / 3.25, abs=1e-6)
    assert found.sd[0] == pytest.approx(3.25**-0.5, abs=1e-6)
    assert max(found.mean_error[0], found.sd_error[0]) < 1e-6


def student(nu: float) -> Moments:
    """What a grid says of Student's t, about draws such as a sampler has."""
    with pm.Model() as model:
        pm.StudentT("x", nu=nu, mu=0, sigma=1)
    around = t.ppf((np.arange(4000) + 0.5) / 4000, nu)[:, None]
    return of_reference(from_model(model), by_grid(from_model(model), around, seed=0))


def test_a_grid_leaves_open_what_its_tails_do() -> None:
    """The sd is infinite for 2 degrees of freedom and less, the mean for 1."""
    for nu in (1.0, 1.5, 2.0):
        found = student(nu)
        assert found.sd_error[0] > 0.1 * found.sd[0]
        assert np.isinf(found.mean_error[0]) == (nu == 1)
    for nu in (3.0, 4.0, 30.0):
        found = student(nu)
        assert abs(found.sd[0] - (nu / (nu - 2)) ** 0.5) < 1.05 * found.sd_error[0] + 1e-6 < 0.1
        assert found.mean_error[0] < 0.02


def test_a_grid_leaves_a_scale_open_whose_tail_is_too_heavy() -> None:
    """Of one observation about zero, tau has a density that falls as its cube or, with a flat prior and two, as its square."""
    with pm.Model() as cubed:
        pm.Normal("y", 0, pm.HalfCauchy("tau", 1), observed=[2.0])
    with pm.Model() as squared:
        pm.Normal("y", 0, pm.HalfFlat("tau"), observed=[1.0, 2.0])
    for model, endless in ((cubed, False), (squared, True)):
        target = from_model(model)
        found = of_reference(target, by_grid(target, np.array([[-2.0], [5.0]]), seed=0))
        assert found.sd_error[0] > 0.3 * found.sd[0]
        assert np.isinf(found.mean_error[0]) == endless


@pytest.mark.parametrize("method", ["NUTS", "SMC"])
def test_draws_leave_open_what_their_tails_do(method: Literal["NUTS", "SMC"]) -> None:
    """The errors of ArviZ and those by looks take a variance for granted."""
    with pm.Model() as model:
        pm.Normal("x")
    for nu, mean_open, sd_open in ((1, True, True), (1.3, True, True), (4, False, False), (30, False, False)):
        draws = t.rvs(nu, size=(4, 4000, 1), random_state=1)
        found = of_reference(from_model(model), Reference(method, draws, 4000.0, ()))
        assert (np.isinf(found.mean_error[0]), np.isinf(found.sd_error[0])) == (mean_open, sd_open), nu


def test_what_does_not_vary_or_ends_at_a_bound_has_no_heavy_tail() -> None:
    """As the diagonal of a correlation matrix, 1 to rounding, and a deterministic that is cut."""
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Deterministic("one", 1 + 1e-16 * a)
        pm.Deterministic("rounded", 1 + 2e-16 * (a > 0))
        pm.Deterministic("cut", pm.math.clip(a, -0.1, 0.1))
    draws = np.random.default_rng(0).standard_normal((4, 1000, 1))
    found = of_reference(from_model(model), Reference("NUTS", draws, 4000.0, ()))
    assert np.isfinite(found.mean_error).all()
    assert np.isfinite(found.sd_error).all()


def test_an_improper_posterior_that_no_search_meets_is_not_called_adequate() -> None:
    """Two groups with flat priors on the mean and the sd between them: the tail of tau is that of a constant."""
    with pm.Model() as model:
        theta = pm.Normal("theta", pm.Flat("mu"), pm.HalfFlat("tau"), shape=2)
        pm.Normal("y", theta, 1, observed=[1.0, 3.0])
    tree = examine(model, budget_s=25)
    assert tree.attrs["grade"] == "cannot tell"  # by which reference, and so why, depends on the clock
    assert "tau" in tree.attrs["sentence"]


@pytest.mark.parametrize("method", ["NUTS", "SMC"])
def test_errors_of_draws_are_their_spread_over_references(method: Literal["NUTS", "SMC"]) -> None:
    with pm.Model() as model:
        pm.Normal("x")
    target, rng = from_model(model), np.random.default_rng(0)
    found = [of_reference(target, Reference(method, rng.standard_normal((4, 100, 1)), 400.0, ())) for _ in range(200)]
    for stat in ("mean", "sd"):
        spread = np.std([getattr(m, stat)[0] for m in found])
        said = np.median([getattr(m, f"{stat}_error")[0] for m in found])
        assert 0.8 * spread < said < 1.6 * spread


@pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")
def test_what_pymc_adds_to_a_model_is_not_counted_among_its_variables() -> None:
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Deterministic("a_probs", 2 * a)  # the author's own
        pm.Normal("y", a, 1, observed=np.array([1.0, np.nan, 2.0, np.nan]))
        pm.OrderedLogistic("grade", eta=a, cutpoints=[-1.0, 1.0], observed=[0, 1, 2])
    target = from_model(model)
    assert set(natural(target, np.zeros((5, 3)))) == {"a", "a_probs", "y_unobserved[0]", "y_unobserved[1]"}
    assert {"y", "grade_probs"} <= set(target.natural(np.zeros((5, 3))))  # though they are saved


def test_chains_are_pooled_and_judged_together() -> None:
    rng = np.random.default_rng(0)
    slow = [
        Reference("NUTS", rng.normal(size=(4, 80, 1)), 300.0, ("the smallest effective sample size is 300",))
        for _ in range(2)
    ]
    both = pooled(*slow, ["x"])
    assert both.ok
    assert both.points.shape == (8, 80, 1)
    assert both.looks > 400
    apart = replace(slow[1], points=slow[1].points + 2)
    assert "R-hat of x" in pooled(slow[0], apart, ["x"]).reasons[0]
    diverged = replace(slow[1], divergences=5)
    assert pooled(slow[0], diverged, ["x"]).reasons == ("5 of 640 transitions diverged",)
    assert pooled(slow[0], replace(slow[1], points=slow[1].points[:, :50]), ["x"]) is slow[0]


def test_interval_of_a_share_is_wilsons_and_wider_where_chains_differ() -> None:
    alike = np.tile(np.arange(100) < 30, (4, 1))
    even = Reference("SMC", np.zeros((4, 100, 1)), 400.0, ())
    p, low, high = even.share(alike.ravel())
    z = norm.ppf(0.975)
    centre, half = (0.3 + z**2 / 800) / (1 + z**2 / 400), z * np.sqrt(0.21 / 400 + z**2 / 640_000) / (1 + z**2 / 400)
    assert (p, low, high) == pytest.approx((0.3, centre - half, centre + half), abs=1e-4)
    apart = np.array([np.arange(100) < k for k in (5, 20, 40, 55)])
    _, lower, upper = even.share(apart.ravel())
    assert upper - lower > 3 * (high - low)


def table(sd: float, shift: float, response: float, error: float = 0.01, mean_error: float = 0.01) -> xr.Dataset:
    dims = ("approximation", "variable")
    return xr.Dataset(
        {
            "sd": (dims, [[sd], [response]]),
            "sd_ratio": (dims, [[sd], [response]]),
            "mean_shift": (dims, [[shift], [0.0]]),
            "reference_sd": ("variable", [1.0]),
            "reference_sd_se": ("variable", [error]),
            "reference_mean_se": ("variable", [mean_error]),
        },
        coords={"approximation": ["ADVI", "linear response"], "variable": ["tau"]},
    )


def pair(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    return xr.concat([a, b], "variable").assign_coords(variable=["a", "b"])


def bounds(factor: float, shift: float) -> xr.Dataset:
    dims = ("optimum", "variable")
    return xr.Dataset({"sd_factor": (dims, [[factor]]), "mean_error": (dims, [[shift]])}, coords={"variable": ["tau"]})


def evidence(**changes: object) -> Evidence:
    plain = {
        "at_rest": True, "optimum_verdict": "at rest", "flattest": "a - b", "eigenvalue": 0.5, "cut": False, "k_hat": 0.3, "k_hat_response": 0.2, "k_hat_repair": 0.2,
        "missed": (0.0, 0.0, 0.0), "images": False, "modes": 1, "covered": 1, "reference": "NUTS", "reasons": (),
        "comparison": table(1.0, 0.0, 1.0),
    }  # fmt: skip
    return Evidence(**(plain | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "grade", "words"),
    [
        ({}, "adequate", "adequate for its only variable"),
        (
            {"comparison": table(0.6, 0.0, 0.99)},
            "too narrow",
            "ADVI is too narrow; it underestimates the sd of tau by 40 %; linear response gives it an sd of 0.99 where the reference (NUTS) has 1$",
        ),
        (
            {"comparison": table(1.4, 0.0, 1.3)},
            "cannot tell",
            "ADVI is too wide; it overestimates the sd of tau by 40 %; linear response gives it an sd of 1.3 where the reference (NUTS) has 1: "
            "use the draws of the reference$",
        ),
        (
            {"comparison": table(1.0, 0.8, 1.0)},
            "cannot tell",
            "ADVI is off in the mean; it has the mean of tau off by 0.8 sds; linear response keeps the means: use the draws of the reference (NUTS)$",
        ),
        (
            {"comparison": table(0.6, 0.8, 1.0)},
            "too narrow",
            "ADVI is too narrow and off in the mean; it has the mean of tau off",
        ),
        (
            {"comparison": table(0.6, 0.3, 0.99)},
            "too narrow",
            "has 1, but it keeps the means: use the draws of the reference$",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 0.91},
            "too narrow",
            "has 1, but linear response's k-hat is 0.91: use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.3, 0.7), table(0.7, 0.0, 0.7)), "k_hat_response": 0.91},
            "too narrow",
            "within 10 % for 0 of 2 (linear response's k-hat is 0.91; it keeps the means): use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.7), table(0.7, 0.0, 0.98))},
            "too narrow",
            "ADVI is too narrow for both variables; at worst it underestimates the sd of a by 40 %; linear response gives it an sd of 0.7 where the "
            "reference (NUTS) has 1, and is within 10 % for 1 of 2: for the others use the draws of the reference$",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.99), table(0.95, 0.0, 0.98))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates",
        ),
        (
            {"comparison": pair(table(0.6, 0.0, 0.99), table(1.0, 0.5, 0.98))},
            "too narrow",
            "ADVI is too narrow for 1 and off in the mean for 1 of 2 variables; at worst",
        ),
        ({"comparison": table(np.inf, 0.0, 0.99)}, "cannot tell", "it overestimates the sd of tau without bound"),
        (
            {"comparison": table(0.6, 0.0, 0.99, error=0.2)},
            "cannot tell",
            "the reference (NUTS) leaves the sd of tau open (heavy tails, or too few draws); a heavy tail that it cannot measure may be that of an "
            "improper posterior, as of a flat prior on a scale$",
        ),
        (
            {"comparison": table(0.6, 0.0, 1, error=0.2, mean_error=np.inf)},
            "cannot tell",
            "leaves the mean and sd of tau open (",
        ),
        ({"comparison": table(0.6, 0.0, 1, error=np.nan)}, "cannot tell", "leaves the sd of tau open ("),
        (
            {"comparison": pair(table(0.95, 0, 1), table(0.1, 0, 1, error=0.5))},
            "cannot tell",
            "leaves the sd of b open (heavy tails, or too few draws); a heavy tail that it cannot measure may be that of an improper posterior, as of "
            "a flat prior on a scale; ADVI agrees for 1 of 2 variables: means",
        ),
        (
            {"comparison": pair(table(0.1, 0, 1, error=0.5, mean_error=np.inf), table(0.1, 0, 1, error=0.5))},
            "cannot tell",
            "leaves the sd of a and b open, and even the mean of a (",
        ),
        (
            {"comparison": pair(table(0.6, 0, 1), table(0.1, 0, 1, error=0.5))},
            "too narrow",
            "ADVI is too narrow for 1 of 2 variables; it underestimates the sd of a by 40 %; linear response gives it an sd of 1 where the reference "
            "(NUTS) has 1; but the reference (NUTS) leaves the sd of b open",
        ),
        (
            {
                "comparison": xr.concat([table(0.1, 0, 1, error=0.5)] * 7, "variable").assign_coords(
                    variable=list("abcdefg")
                )
            },
            "cannot tell",
            "leaves the sd of a, b, c, d and 3 more open",
        ),
        (
            {"reasons": ("R-hat of x is 1.3",), "bounds": bounds(1.3, 0.0)},
            "cannot tell",
            "the sd of tau is at least 1.30 times ADVI's",
        ),
        ({"reasons": ("R-hat of x is 1.3",), "bounds": bounds(0.7, -0.2)}, "cannot tell", "at most 0.70 times"),
        (
            {"reasons": ("R-hat of x is 1.3",), "bounds": bounds(0.7, -0.2)},
            "cannot tell",
            "the mean of tau is off by at least 0.20 of",
        ),
        (
            {"reference": None, "bounds": bounds(1.0, 0.0)},
            "cannot tell",
            "which says nothing of what they do not reach",
        ),
        ({"missed": (0.38, 0.31, 0.45), "modes": 2}, "missed mode", "misses a mode holding 38 % [31, 45]"),
        ({"missed": (0.38, 0.31, 0.45), "modes": 2, "images": True}, "label switching", "labels exchanged"),
        ({"at_rest": False, "optimum_verdict": "flat direction"}, "flat direction", "a - b"),
        (
            {"at_rest": False, "optimum_verdict": "still moving", "cut": True},
            "cannot tell",
            "still moving); give more seconds",
        ),
        ({"at_rest": False, "optimum_verdict": "still moving"}, "cannot tell", "more seconds will not help"),
        (
            {"at_rest": False, "optimum_verdict": "saddle", "eigenvalue": -0.31},
            "cannot tell",
            "a saddle, which is at rest but",
        ),
        (
            {"at_rest": False, "optimum_verdict": "saddle", "eigenvalue": -0.31},
            "cannot tell",
            "rises along a - b (curvature -0.31",
        ),
        ({"reference": None}, "cannot tell", "no reference could be had in the budget; give more seconds. "),
        (
            {"reasons": ("R-hat of x is 1.3",)},
            "cannot tell",
            "R-hat of x is 1.3; give more seconds, or write the model in another parametrisation. ",
        ),
        (
            {"reasons": ("R-hat of x is 1.3",), "k_hat": 0.9},
            "cannot tell",
            "R-hat of x is 1.3; give more seconds, or write the model in another parametrisation$",
        ),
        ({"reference": None}, "cannot tell", "(ADVI's k-hat is 0.30)"),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 5.9},
            "too narrow",
            "but linear response's k-hat is > 1",
        ),
        (
            {"comparison": table(0.6, 0.0, 0.99), "k_hat_response": 0.91},
            "too narrow",
            "but linear response's k-hat is 0.91",
        ),
        (
            {"missed": (0.38, 0.31, 0.45), "modes": 2, "k_hat_repair": 4.6},
            "missed mode",
            "the mixture of all optima does not repair it (its k-hat is > 1)",
        ),
    ],
)
def test_verdicts(changes: dict[str, object], grade: str, words: str) -> None:
    found = judge(evidence(**changes))
    assert found.grade == grade
    assert words in f"{found.sentence}$"  # the end of it
