"""What is said of a PyMC model: its modes and their mass, the true widths, and a sentence that can be acted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy.stats import norm

from models.errors import ImproperError, InputError
from models.own_model import examine
from models.own_model.grid import by_grid
from models.own_model.mixture import repair
from models.own_model.modes import ascend, assign, covers, image, unexplained
from models.own_model.moments import of_reference
from models.own_model.reference import _drifting, by_tempering, settled
from models.own_model.short_chains import lower_bounds
from models.own_model.tempering import temper
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("build", [separated_under_a_prior, funnel])
def test_a_repair_has_no_component_for_a_covered_mode_and_is_not_worse_than_the_optimum(
    build: Callable[[], pm.Model],
) -> None:
    """Linear response of a funnel is far too wide where the funnel is narrow; a Laplace approximation is where a likelihood breaks off."""
    tree = examine(build(), starts=6, budget_s=8)
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


@pytest.mark.exhaustive
def test_labels_that_can_be_exchanged_are_told_from_a_missed_mode() -> None:
    y = np.concatenate([np.random.default_rng(0).normal(-3, 1, 40), np.random.default_rng(1).normal(3, 1, 60)])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=2)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1.0, observed=y)
    tree = examine(model, starts=6, budget_s=120)
    assert tree.attrs["grade"] == "label switching"
    assert tree.attrs["missed_mass"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.exhaustive
def test_modes_of_three_weighed_labels_are_images_of_one_another() -> None:
    rng = np.random.default_rng(4)
    y = np.concatenate([rng.normal(-6, 1, 10), rng.normal(0, 1, 30), rng.normal(6, 1, 60)])
    with pm.Model() as model:
        pm.NormalMixture("y", pm.Dirichlet("w", np.ones(3)), pm.Normal("mu", 0, 5, shape=3), sigma=1.0, observed=y)
    target = from_model(model)
    weights, places = np.log([0.1, 0.3, 0.6]), np.array([-6.0, 0.0, 6.0])
    orders = [list(order) for order in permutations(range(3))]
    starts = [np.concatenate([(weights - weights.mean())[order][:2], places[order]]) for order in orders]
    modes = ascend(target.log_density, starts)
    assert len(modes) == 6
    assert all(image(target, modes[0], other) == "labels" for other in modes[1:])
    turned = replace(modes[1], place=modes[1].place[[1, 0, 2, 3, 4]])
    assert image(target, modes[0], turned) is None  # the places are another order of those, the weights are not
    assert image(target, modes[0], replace(modes[1], height=modes[1].height - 0.1)) is None
    assert image(target, modes[0], replace(modes[1], factor=1.2 * modes[1].factor)) is None


def test_a_mode_as_high_and_mirrored_but_not_as_wide_is_no_image() -> None:
    for sd, how in ((1.0, "signs"), (0.2, None)):
        target = normal_mixture([1 / (1 + sd), sd / (1 + sd)], [3, -3], [1, sd])
        one, other = ascend(target.log_density, [np.array([3.1]), np.array([-3.1])])
        assert one.height == pytest.approx(other.height, abs=1e-6)
        assert image(target, one, other) == how


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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_populations_that_lag_in_a_funnel_are_moved_on() -> None:
    """The scale is N(0, 2^2) whatever the effects are; tempering alone leaves it 0.8 sds too high in every population, with a good R-hat."""
    with pm.Model() as model:
        pm.Normal("x", 0, pm.math.exp(pm.Normal("v", 0, 2) / 2), shape=8)
    target = from_model(model)
    look = by_tempering(target, np.zeros(9), np.full(9, 8.0), particles=300, seed=0, stop=lambda: False)
    assert look is not None
    found = settled(target, look, seed=0, stop=lambda: False)
    assert abs(found.flat[:, target.coordinates.index("v")].mean()) < 0.8
    clock = iter(range(10_000))
    cut = settled(target, look, seed=0, stop=lambda: next(clock) > 20)
    assert "the mean of v had not settled" in cut.reasons


def test_a_tail_that_no_population_has_entered_is_seen_by_the_sds_that_grow() -> None:
    """Where it is thin and bent, all of them lack it: the sds of their means say that these are known to .03, and they are off by .15."""
    a = np.random.default_rng(0).standard_normal(4000)
    b = a**2 + 0.3 * np.random.default_rng(1).standard_normal(4000)
    inner = np.abs(a) < 1.7
    entered = np.column_stack([a, b])
    lacking = np.where(inner[:, None], entered, 0.9 * entered)
    assert _drifting(lacking, entered, ["a", "b"]) == "the sd of b"
    assert _drifting(entered, entered[::-1], ["a", "b"]) is None
    assert _drifting(entered, entered + np.array([0.0, 0.2]), ["a", "b"]) == "the mean of b"


@pytest.mark.exhaustive
def test_one_or_two_unknowns_have_a_grid_without_a_look_around() -> None:
    """Of one observation, whose ridge sends the look too far; exact by quadrature over mu of the Student t that is left."""
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 10), pm.HalfNormal("s", 3), observed=[4.0])
    tree = examine(model, budget_s=10, starts=4)
    assert tree["reference"].attrs["method"] == "grid"
    s = np.linspace(1e-4, 20, 20_000)
    density = norm.pdf(4, 0, np.sqrt(100 + s**2)) * norm.pdf(s, 0, 3)
    mean = float(density @ s / density.sum())
    assert float(tree["comparison"]["reference_mean"].sel(variable="s")) == pytest.approx(mean, rel=0.02)


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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_a_small_mode_is_named_whichever_draws_are_ascended_from() -> None:
    """Its mass is 5 %: ascents from 24 draws of all would miss it in three seeds of ten."""
    for seed in range(2):
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
    assert not by_grid(from_model(model), np.array([[1.0], [1.2]]), seed=0).ok  # the box is too small
    wider = by_grid(from_model(model), np.array([[1.0], [2.5]]), seed=0)  # and so is this, at first
    assert wider.ok
    assert wider.flat.std() == pytest.approx(precision**-0.5, rel=0.03)


def test_a_bent_ridge_that_reaches_beyond_its_draws_has_a_grid() -> None:
    """x and x^2 / 2 with noise: the tail of the square is longer than any draws of it."""
    with pm.Model() as model:
        x = pm.Flat("x", shape=2)
        pm.Potential("banana", -(x[0] ** 2) / 8 - 0.5 * ((x[1] - 0.5 * x[0] ** 2) / 0.7) ** 2)
    rng = np.random.default_rng(0)
    first = 2 * rng.standard_normal(300)
    found = by_grid(
        from_model(model), np.column_stack([first, 0.5 * first**2 + 0.7 * rng.standard_normal(300)]), seed=0
    )
    assert found.ok
    moments = of_reference(from_model(model), found)
    np.testing.assert_allclose(moments.mean, [0, 2], atol=0.02)
    np.testing.assert_allclose(moments.sd, [2, np.sqrt(8 + 0.49)], rtol=0.02)
