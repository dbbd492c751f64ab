"""Means and sds on the natural scale: of Normals exact, of references with what they leave open."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pymc as pm
import pytest
from scipy.stats import invgamma, norm, t

from models.own_model import examine
from models.own_model.comparison import natural
from models.own_model.grid import by_grid
from models.own_model.moments import Moments, of_normals, of_reference, tails
from models.own_model.reference import Reference, pooled
from models.targets import from_model, mvnormal_mixture

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


def test_moments_that_lie_beyond_all_nodes_have_no_error_to_go_by() -> None:
    """The mean of exp(5 z) is that of nodes about 5 sds out, of which there are none among 4096."""
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Deterministic("e", pm.math.exp(x))
    found = of_normals(from_model(model), mvnormal_mixture([1], [[0.0, 0.0, 0.0]], [np.diag([25.0, 4.0, 0.25])]))
    at = {name: i for i, name in enumerate(found.names)}
    for name, (mean, sd) in {
        "x[0]": (True, True),
        "e[0]": (False, False),
        "e[1]": (True, False),
        "e[2]": (True, True),
    }.items():
        assert (np.isfinite(found.mean_error[at[name]]), np.isfinite(found.sd_error[at[name]])) == (mean, sd)
    i = at["e[2]"]
    assert found.sd[i] == pytest.approx(np.exp(0.25) * np.sqrt(-np.expm1(-0.25)), abs=5 * found.sd_error[i])


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
    for nu, mean_open, sd_open in ((0.5, True, True), (1.3, False, True), (4, False, False), (30, False, False)):
        draws = t.rvs(nu, size=(4, 4000, 1), random_state=1)
        found = of_reference(from_model(model), Reference(method, draws, 4000.0, ()))
        assert (np.isinf(found.mean_error[0]), np.isinf(found.sd_error[0])) == (mean_open, sd_open), nu


def test_a_small_second_mode_is_no_heavy_tail() -> None:
    """By one threshold, half a hundredth of the draws 15 sds away have a Pareto shape of 2."""
    rng = np.random.default_rng(0)
    body = rng.standard_normal((4000, 3))
    draws = np.column_stack([body[:, 0] + 15 * (rng.random(4000) < 0.005), body[:, 1] + 6 * (rng.random(4000) < 0.02)])
    assert not np.any(tails(draws))
    heavy = np.column_stack([invgamma.rvs(a, size=16_000, random_state=2) for a in (0.5, 1.5)])
    no_sd, no_mean = tails(heavy)
    assert no_sd.all()
    assert no_mean.tolist() == [True, False]  # shapes of 2 and of two thirds


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


@pytest.mark.exhaustive
def test_an_improper_posterior_that_is_so_along_no_ray_is_not_called_adequate() -> None:
    """Two groups with flat priors on the mean and the sd between them: the tail of tau is that of a constant."""
    with pm.Model() as model:
        theta = pm.Normal("theta", pm.Flat("mu"), pm.HalfFlat("tau"), shape=2)
        pm.Normal("y", theta, 1, observed=[1.0, 3.0])
    tree = examine(model, budget_s=12)
    # How far the search goes, and so why, depends on the clock.
    assert tree.attrs["grade"] in ("flat direction", "cannot tell")
    assert "tau" in tree.attrs["sentence"]
    assert "use the draws" not in tree.attrs["sentence"]


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
