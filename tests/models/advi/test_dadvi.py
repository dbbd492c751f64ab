"""Reverse KL on fixed nodes: derivatives by differences, exact optima, linear response, and refusals that name what is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import cast

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from models.advi import combine, fit_advi, fit_dadvi, linear_response, member, optima
from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.members import losses
from models.advi.propriety import ends_between, improper_direction
from models.advi.search import images, unseen
from models.advi.shapes import FullRank, LowRank, MeanField, Shape
from models.advi.starts import Start
from models.errors import ImproperError, InputError
from models.families import FAMILIES
from models.graphs.log_density import LogDensity
from models.projections import reverse_projections
from models.targets import TARGETS, from_draws, from_model, mvnormal_mixture, normal_mixture

COV = np.array([[1.0, 0.9, 0.0], [0.9, 1.5, -0.3], [0.0, -0.3, 0.5]])
NORMAL = mvnormal_mixture([1], [[1.0, -0.5, 3.0]], [COV])


# --- derivatives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [MeanField(2), FullRank(np.array([0.3, -1.0]), np.array([[1.2, 0.0], [0.5, 0.7]])), LowRank(2, 1)],
    ids=lambda s: type(s).__name__,
)
def test_gradient_and_hessian_are_those_of_differences(shape: Shape) -> None:
    nodes = fixed_nodes(shape.noise, power=4, seed=1)[0]
    loss = FixedLoss(TARGETS["crossed"].log_density, shape, nodes)
    theta = shape.at(np.array([0.4, 0.9]), np.array([0.6, 1.1]))
    theta = theta + 0.2 * np.random.default_rng(0).standard_normal(len(theta))
    sides = 1e-5 * np.eye(len(theta))
    by_difference = np.array([(loss(theta + h)[0] - loss(theta - h)[0]) / 2e-5 for h in sides])
    np.testing.assert_allclose(loss(theta)[1], by_difference, rtol=1e-6, atol=1e-7)
    hessian = loss.hessian(theta)
    if isinstance(shape, LowRank):
        assert hessian is None
        return
    curved = np.array([(loss(theta + h)[1] - loss(theta - h)[1]) / 2e-5 for h in sides])
    np.testing.assert_allclose(hessian, curved, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [MeanField(3), LowRank(3, 2), FullRank(np.ones(3), np.linalg.cholesky(COV))])
def test_entropy_and_moments_are_those_of_its_points(shape: Shape) -> None:
    theta = shape.at(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 2.0]))
    mean, factor = shape.moments(theta)
    points = shape.points(theta, fixed_nodes(shape.noise, power=12, seed=0)[0])
    np.testing.assert_allclose(points.mean(axis=0), mean, atol=1e-10)
    np.testing.assert_allclose(np.cov(points.T, bias=True), factor @ factor.T, atol=1e-8)
    assert shape.entropy(theta) == pytest.approx(0.5 * np.linalg.slogdet(2 * np.pi * np.e * factor @ factor.T)[1])


# --- optima ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bimodal", "unequal"])
def test_optima_are_the_exact_minima(name: str) -> None:
    target = TARGETS[name]
    exact = [p for p in reverse_projections(target, FAMILIES["normal"]) if "minimum" in p.status]
    table = optima(fit_dadvi(target, draws=2))
    found = np.column_stack([table["mean"].values[:, 0], table["sd"].values[:, 0]])
    there = np.array([[float(p.params["mu"]), float(p.params["sigma"])] for p in exact])
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], there[np.argsort(there[:, 0])], atol=0.02)
    np.testing.assert_allclose(-table["elbo"], sorted(p.divergence.value for p in exact), atol=0.01)


def test_mean_field_and_full_rank_of_a_normal_are_exact() -> None:
    narrow = fit_dadvi(NORMAL, draws=2, starts=3)
    np.testing.assert_allclose(narrow["optimum_0/fit"]["sd"], 1 / np.sqrt(np.diag(np.linalg.inv(COV))), rtol=1e-6)
    np.testing.assert_allclose(linear_response(narrow, 0).cov, COV, atol=1e-6)
    np.testing.assert_allclose(linear_response(narrow, 0).mean, [1.0, -0.5, 3.0], atol=1e-6)
    full = fit_dadvi(NORMAL, method="fullrank_advi", draws=2, starts=3)
    np.testing.assert_allclose(member(full, 0).cov, COV, atol=1e-6)


def test_losses_beside_an_exponential_tail_lie_within_their_errors() -> None:
    """log p = a y - exp y + const: what a Normal loses there is known, and its own nodes leave out too much of exp y."""
    shape = np.array([0.3, 0.5, 1.0, 2.0])
    with pm.Model() as model:
        pm.Gamma("rate", shape, 1.0, shape=4)
    density = from_model(model).log_density
    mean, sd = np.log(shape) - 0.5 / shape, 1 / np.sqrt(shape)
    entropy = np.log(sd) + 0.5 * np.log(2 * np.pi * np.e)
    exact = float((np.exp(mean + sd**2 / 2) + gammaln(shape) - shape * mean - entropy).sum())
    found = [losses(density, [(mean, np.diag(sd))], 12, seed)[0] for seed in range(40)]
    z = np.array([(e.value - exact) / e.error for e in found])
    assert abs(z.mean()) < 3 / np.sqrt(40)
    assert z.std() < 1.6  # Student's t with 7 degrees of freedom: 1.18
    assert max(e.error for e in found) < 0.02


def test_low_rank_finds_a_covariance_of_its_form() -> None:
    rng = np.random.default_rng(2)
    direction = rng.standard_normal(12)
    cov = np.diag(rng.uniform(0.5, 2.0, 12)) + np.outer(direction, direction)
    fit = fit_dadvi(mvnormal_mixture([1], [np.zeros(12)], [cov]), method="lowrank_advi", draws=2, starts=2)
    np.testing.assert_allclose(member(fit, 0).cov, cov, atol=0.02)
    assert float(-fit["optimum_0/fit"]["loss"]) == pytest.approx(0.0, abs=1e-3)


def test_a_minimum_near_a_fork_is_no_saddle() -> None:
    """Two Normals 3 sds apart: the broad optimum curves by a hundredth there, which the nodes of the Hessian alone get wrong by more."""
    way = np.random.default_rng(3).standard_normal(30)
    way *= 1.5 / np.linalg.norm(way)
    fit = fit_dadvi(mvnormal_mixture([0.5, 0.5], [-way, way], [np.eye(30)] * 2), starts=2, seed=3, draws=10)
    assert fit["optimum_0/fit"]["verdict"].item() == "at rest"
    assert 0 < float(fit["optimum_0/fit"]["eigenvalue"]) < 0.05


def test_a_saddle_at_rest_is_called_one() -> None:
    """Two Normals 4 sds apart along a diagonal of ten dimensions: between them the loss is at rest, and falls towards both."""
    way = np.full(10, 2 / np.sqrt(10))
    target = mvnormal_mixture([0.5, 0.5], [-way, way], [np.eye(10)] * 2)
    loss = FixedLoss(target.log_density, MeanField(10), fixed_nodes(10, power=12, seed=0)[0])

    def between(log_sd: float) -> np.ndarray:
        return np.append(np.zeros(10), np.full(10, log_sd))

    widest = minimize_scalar(lambda log_sd: loss(between(log_sd))[0], bounds=(-1, 1), method="bounded").x
    here = rest(loss, between(widest))
    assert (here.kind, here.inverse) == ("saddle", None)
    assert abs(way @ here.direction[:10]) / np.linalg.norm(way) > 0.9
    assert here.gap < 0.01  # no more is left to the saddle itself, though much is below it
    assert loss(np.append(way, np.zeros(10)))[0] < loss(between(widest))[0] - 0.1


def test_the_same_optimum_as_stochastic_advi_ends_at() -> None:
    target = TARGETS["crossed"]
    still = optima(fit_dadvi(target, draws=2))
    run = fit_advi(target, starts=[Start("at", still["mean"].values[0], still["sd"].values[0])], draws=2)["restarts"]
    np.testing.assert_allclose(run["mean"][0], still["mean"][0], atol=0.02)
    np.testing.assert_allclose(run["sd"][0], still["sd"][0], rtol=0.02)


def test_a_fit_is_the_same_again_and_its_members_combine() -> None:
    target = normal_mixture([0.7, 0.3], [-4, 4], [1, 1])
    fit, again = (fit_dadvi(target, draws=5, seed=3) for _ in range(2))
    xr.testing.assert_identical(fit["restarts"].to_dataset(), again["restarts"].to_dataset())
    found = combine(target, [member(fit, 0), member(fit, 1)])
    np.testing.assert_allclose(found.weights, [0.7, 0.3], atol=0.005)
    with pytest.raises(InputError, match="has 2 optima"):
        member(fit, 2)


# --- models ----------------------------------------------------------------------------------------------------------


def schools(centred: bool) -> pm.Model:
    effect, error = np.array([28, 8, -3, 7, -1, 1, 18, 12.0]), np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        if centred:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            theta = pm.Deterministic("theta", mu + tau * pm.Normal("raw", 0, 1, dims="school"), dims="school")
        pm.Normal("y", theta, error, observed=effect, dims="school")
    return model


@cache
def schools_fit() -> xr.DataTree:
    return fit_dadvi(schools(centred=True), starts=6, draws=200)


def test_linear_response_of_eight_schools_has_the_sd_of_the_gold_standard() -> None:
    """posteriordb, eight_schools_centered: sd of mu 3.31, where mean field has 1.8."""
    fit = schools_fit()["optimum_0/fit"]
    at = list(fit["coordinate"].to_numpy()).index("mu")
    assert float(fit["sd"][at]) < 2
    assert np.sqrt(float(fit["cov_linear_response"][at, at])) == pytest.approx(3.31, rel=0.05)


def test_names_dims_coords_and_data_are_kept() -> None:
    import arviz as az

    fit = schools_fit()
    posterior = fit["optimum_0/posterior"]
    assert posterior["theta"].dims == ("chain", "draw", "school")
    assert list(posterior["school"].to_numpy()) == list("ABCDEFGH")
    assert fit["observed_data"]["y"].dims == ("school",)
    assert "theta[A]" in az.summary(fit).index
    assert list(optima(fit)["verdict"].to_numpy()) == ["at rest"]


def test_a_model_is_found_in_its_context() -> None:
    with pm.Model():
        pm.Normal("x", 2, 3)
        fit = fit_dadvi(starts=2, draws=2)
    assert float(fit["optimum_0/fit"]["sd"][0]) == pytest.approx(3, rel=1e-6)


@pytest.mark.exhaustive
def test_collinear_predictors_are_at_rest_and_linear_response_is_exact() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    design = np.column_stack([x, x + 0.01 * rng.normal(size=60)])
    y = x + rng.normal(size=60)
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 20, shape=2)
        pm.Normal("y", pm.math.dot(design, slopes), 1, observed=y)
    fit = fit_dadvi(model, starts=4, draws=2)
    exact = np.linalg.inv(design.T @ design + np.eye(2) / 400)
    assert fit["optimum_0/fit"]["verdict"].item() == "at rest"
    np.testing.assert_allclose(linear_response(fit, 0).cov, exact, rtol=1e-3)
    np.testing.assert_allclose(fit["optimum_0/fit"]["mean"], exact @ design.T @ y, rtol=1e-3)


def test_ordered_variables_have_starts_of_their_own() -> None:
    with pm.Model() as model:
        pm.Normal("cut", 0, 3, shape=2, transform=pm.distributions.transforms.ordered, initval=[-1, 1])
        pm.Normal("far", 0, 100)
    fit = fit_dadvi(model, starts=8, draws=50)
    starts = fit["restarts"]["start_mean"].sel(dim="far").to_numpy()
    assert fit.attrs["starts_failed"] == 0
    assert np.all(np.diff(fit["optimum_0/posterior"]["cut"].to_numpy(), axis=-1) > 0)
    assert len(np.unique(starts)) > 4


def flat() -> pm.Model:
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Normal("y", a + b, 1, observed=[1.0, 2.0])
    return model


def separated() -> pm.Model:
    x = np.linspace(-2, 2, 20)
    with pm.Model() as model:
        pm.Bernoulli("y", logit_p=pm.Flat("level") + pm.Flat("slope") * x, observed=(x > 0).astype(int))
    return model


def open_scale() -> pm.Model:
    """One observation leaves a flat scale open; a search that follows it far moves the mean a little too, and floats end before it does."""
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu"), pm.HalfFlat("s"), observed=[1.0])
    return model


@pytest.mark.parametrize("fit", [fit_dadvi, fit_advi])
@pytest.mark.parametrize(
    ("build", "direction"), [(flat, {"a", "b"}), (separated, {"slope"}), (open_scale, {"s_log__"})]
)
def test_improper_posteriors_are_named_with_their_direction(fit: object, build: object, direction: set[str]) -> None:
    with pytest.raises(ImproperError) as caught:
        fit(build(), starts=4, draws=2)  # type: ignore[operator]
    assert direction <= set(caught.value.direction.split())
    if direction == {"a", "b"}:
        assert "-" in caught.value.direction.split()


def free_scale() -> pm.Model:
    """What the data do not inform, beside what they do: runs follow it until squares of its sd are no floats."""
    with pm.Model() as model:
        pm.HalfFlat("s")
        pm.Normal("y", pm.Flat("a"), 1, observed=[1.0, 2.0])
    return model


@pytest.mark.parametrize("seed", [0, 2])
def test_runs_that_widen_without_end_are_no_crash(seed: int) -> None:
    with pytest.raises(ImproperError, match="along s_log__"):
        fit_dadvi(free_scale(), seed=seed, budget_s=30)


def test_a_loss_so_wide_that_its_fisher_information_is_no_float_is_infinite() -> None:
    loss = FixedLoss(NORMAL.log_density, MeanField(3), fixed_nodes(3, power=4, seed=0)[0])
    improper = replace(loss, density=cast(LogDensity, lambda x: (np.zeros(len(x)), np.zeros_like(x))))
    assert np.isfinite(improper(np.append(np.zeros(3), [200.0, 0, 0]))[0])
    assert improper(np.append(np.zeros(3), [400.0, 0, 0]))[0] == np.inf


@pytest.mark.exhaustive
def test_a_flat_direction_that_few_nodes_put_a_little_aside_is_called_one() -> None:
    """Two groups with a flat scale: far out the loss stays the same if the scale grows, and the mean's sd with it."""
    with pm.Model() as model:
        groups = pm.Normal("group", pm.Flat("mu"), pm.HalfFlat("tau"), shape=2)
        pm.Normal("y", groups, 1.0, observed=[1.0, 2.0])
    loss = FixedLoss(
        from_model(model).log_density, MeanField(4), fixed_nodes(4, power=12, replicates=8, seed=15).reshape(-1, 4)
    )
    start = loss.shape.at(np.array([1.5, 20.0, 1.0, 2.0]), np.array([2e8, 0.71, 1.0, 1.0]))
    here = rest(loss, descend(loss, start))
    assert here.kind == "flat direction"
    assert np.argmax(np.abs(here.direction[:4])) == 1


def test_a_ray_on_which_a_scale_outgrows_the_residuals_is_not_improper() -> None:
    """log p rises there by powers, from far below, before it falls again: seen of a regression with 1192 rows."""

    def regression(points: np.ndarray) -> tuple[np.ndarray]:
        slope, log_scale = points.T
        with np.errstate(all="ignore"):
            return (-1192 * log_scale - 0.5 * 1e6 * slope**2 * np.exp(-2 * log_scale),)

    density = cast(LogDensity, regression)
    ray = np.array([1.0, 1.07e-4])
    values = regression(np.array([1e4, 1e5, 1e6])[:, None] * ray)[0]
    assert (np.diff(values) > 0).all()
    assert improper_direction(density, np.zeros(2), [ray], 0.05) is None


def test_a_proper_posterior_with_heavy_tails_is_not_called_improper() -> None:
    with pm.Model() as model:
        pm.Cauchy("y", pm.Flat("x"), 1, observed=[0.0, 5.0])
    assert fit_dadvi(model, starts=4, draws=2).attrs["complete"] == 1


@pytest.mark.exhaustive
def test_a_density_that_vanishes_where_every_normal_has_mass_is_refused() -> None:
    """Checks of parameters are PyMC's: a Poisson of a negative rate has no density."""
    with pm.Model() as model:
        pm.Poisson("y", mu=pm.Normal("rate", 1, 2), observed=np.zeros(6, int))
    with pytest.raises(InputError, match=r"'y'.*infinite"):
        fit_dadvi(model, starts=6)


@pytest.mark.exhaustive
def test_a_density_that_vanishes_between_the_nodes_is_refused() -> None:
    """Below the largest observation: starts above it are finite on their nodes, on which the loss has a slope without curvature."""
    with pm.Model() as model:
        pm.Uniform("y", 0, pm.Uniform("a", 0, 1), observed=[0.3, 0.6])
    with pytest.raises(InputError, match=r"vanishes where every Normal has mass.*infinite"):
        fit_dadvi(model, starts=6)


def test_a_scale_too_small_for_floats_is_no_end_of_the_density() -> None:
    with pm.Model() as model:
        pm.Normal("y", 0, pm.math.exp(pm.Flat("v")), observed=[1.0, 2.0])
        pm.Poisson("count", mu=pm.Flat("rate"), observed=[0])
    density = from_model(model).log_density
    inside, small, negative = np.array([0.0, 1.0]), np.array([-1e4, 1.0]), np.array([0.0, -1.0])
    assert not np.isfinite(density(np.array([small, negative]))[0]).any()
    assert not ends_between(density, inside, small)
    assert ends_between(density, inside, negative)


def test_a_density_too_steep_for_floats_is_descended() -> None:
    """Its second derivatives at nodes of a wide start are finite, and their squares are not."""
    with pm.Model() as model:
        pm.Normal("y", 0, pm.math.exp(pm.Normal("v", 0, 400)), observed=[1.0, 2.0])
    fit = fit_dadvi(model, starts=20, draws=2)
    assert bool(fit["optimum_0/fit"]["converged"])
    assert abs(float(fit["optimum_0/fit"]["mu"].squeeze())) < 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in PyMC's own Simulator
def test_a_model_without_a_gradient_names_the_variable() -> None:
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Simulator("simulated", lambda rng, a, size: rng.normal(a, 1, size), a, observed=np.ones(3))
    with pytest.raises(InputError, match=r"of simulated \(test_dadvi.py, line \d+\) has no gradient"):
        fit_dadvi(model, starts=2)


def test_a_model_without_a_finite_start_names_the_variable() -> None:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        pm.Potential("never", pm.math.switch(a > -1e9, -np.inf, 0.0))
    with pytest.raises(InputError, match=r"at none of 3 starts.*'never'"):
        fit_dadvi(model, starts=3)


def test_a_start_that_is_not_finite_is_set_aside_and_counted() -> None:
    target = from_model(schools(centred=True))
    bad = Start("bad", np.full(target.dim, np.nan))
    good = Start("good", target.initial_point)
    fit = fit_dadvi(target, starts=[bad, good], draws=2)
    assert fit.attrs["starts_failed"] == 1
    assert list(fit["restarts"]["optimum"].to_numpy()) == [-1, 0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "meanfield"}, "unknown method"),
        ({"seed": -1}, "seed is -1"),
        ({"budget_s": 0}, "budget_s is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"starts": []}, "no starts"),
        ({"starts": [Start("short", np.zeros(3))]}, "3 coordinates; the target has 1"),
    ],
)
def test_wrong_input(given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_dadvi(TARGETS["bimodal"], **given)  # type: ignore[arg-type]


def test_draws_alone_have_no_density_to_descend() -> None:
    with pytest.raises(InputError, match="draws only"):
        fit_dadvi(from_draws(np.arange(30.0)))


# --- starts ----------------------------------------------------------------------------------------------------------


def test_images_of_an_optimum_hold_exchanged_labels_and_turned_signs() -> None:
    with pm.Model() as model:
        pm.Normal("mu", 0, 3, shape=2)
        pm.Normal("logit", 0, 1)
    mean, sd = np.array([1.0, -2.0, 0.5]), np.full(3, 0.1)
    places = [s.mean.tolist() for s in images(from_model(model), mean, sd, "it", exact=False)]
    assert [-2.0, 1.0, 0.5] in places
    assert [-2.0, 1.0, -0.5] in places
    assert [1.0, -2.0, 0.5] not in places


@pytest.mark.parametrize(("counts", "chance"), [([5, 1, 1], 2 / 7), ([10], 0.1), ([1], 1.0)])
def test_chance_of_something_new_is_goods(counts: list[int], chance: float) -> None:
    assert unseen(counts) == pytest.approx(chance)
