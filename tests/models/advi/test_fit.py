"""ADVI: digit by digit PyMC's own, the exact optimum at the end, and a clear answer to what cannot be fitted."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from pymc.variational import KLqp
from pytensor.tensor.random.type import RandomType

from models import advi
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Schedule, Start, default_starts, fit_advi, fit_dadvi, optima
from models.advi.runs import Method, Steps, factors, raw_scales
from models.divergences import kl
from models.errors import ConvergenceError, InputError
from models.families import FAMILIES
from models.graphs import numpy_mode
from models.results import member_of
from models.targets import TARGETS, Target, from_draws, mvnormal_mixture, normal_mixture
from tests.reference import cases

#: Correlated, off centre, of unequal spread: nothing about it is symmetric.
PLANE = mvnormal_mixture([1], [[1.0, -0.5]], [[[1.0, 0.6], [0.6, 2.0]]])
CROSSED = TARGETS["crossed"]
SHORT = replace(PYMC_ADAM, steps=100, draws_per_step=5)


# --- the same as PyMC ------------------------------------------------------------------------------------------------


def pymc_run(approximation: Any, optimizer: Any, steps: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """PyMC's own run: its losses and parameters at the end, and the noise that it drew."""
    step = KLqp(approximation).objective.step_function(
        obj_optimizer=optimizer, obj_n_mc=1, score=True, compile_kwargs={"mode": numpy_mode()}
    )
    (source,) = [v for v in step.get_shared() if isinstance(v.type, RandomType)]
    generator = copy.deepcopy(source.get_value())
    losses = np.array([float(step()) for _ in range(steps)])
    noise = generator.standard_normal((steps, 1, approximation.ddim))
    return losses, [p.get_value() for p in approximation.params], noise


def our_run(
    target: Target, method: Method, schedule: Schedule, start: Start, noise: np.ndarray, **window: Any
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Our steps on given noise (steps, 1, d)."""
    rate = np.array([schedule.learning_rate * advi.spread(target)])
    raw = raw_scales(method, start.sd, target.dim)[None]
    steps = Steps(target.log_density, start.mean[None], raw, optimizer=schedule.optimizer, gradient=schedule.gradient,
                  steps=schedule.steps, high=rate, low=rate, **window)  # fmt: skip
    losses = steps.advance(noise[:, :, None, :])[:, 0]
    return losses, [steps.mean[0], steps.raw[0]]


def constant_adam(target: Target, rate: float, steps: int) -> tuple[Schedule, Callable[[Any, Any], Any]]:
    """Adam at a constant rate: as our schedule, and as PyMC's optimiser."""
    schedule = replace(PYMC_ADAM, steps=steps, draws_per_step=1, learning_rate=rate, final_learning_rate=rate)
    unit = advi.spread(target)
    return schedule, lambda loss, params: pm.adam(loss, params, learning_rate=rate * unit)


@pytest.mark.parametrize("method", ["advi", "fullrank_advi"])
@pytest.mark.parametrize(
    ("optimizer", "target"),
    [("adam", PLANE), ("adam", CROSSED), ("adagrad_window", CROSSED)],
    ids=["adam-normal", "adam-crossed", "adagrad_window-crossed"],
)
def test_every_step_is_that_of_pymc(target: Target, method: Method, optimizer: str) -> None:
    steps, window = 25, {"window": 7, "rate": 0.01}
    if optimizer == "adam":
        schedule, theirs = constant_adam(target, 0.05, steps)
    else:
        schedule, theirs = PYMC_DEFAULT, partial(pm.adagrad_window, n_win=7, learning_rate=0.01)
    model, origin = target.model(), np.array([0.4, -0.2])
    kind = pm.MeanField if method == "advi" else pm.FullRank
    approximation = kind(model=model, start={"x": origin}, random_seed=11)
    losses, parameters, noise = pymc_run(approximation, theirs, steps)
    our_losses, ours = our_run(target, method, schedule, Start("here", origin), noise, **window)
    np.testing.assert_allclose(our_losses, losses, rtol=1e-10, atol=1e-10)
    by_name = {p.name: value for p, value in zip(approximation.params, parameters, strict=True)}
    np.testing.assert_allclose(ours[0], by_name["mu"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ours[1], by_name["rho" if method == "advi" else "L_tril"], rtol=1e-10, atol=1e-10)
    assert np.abs(ours[0] - origin).max() > 1e-3  # it has moved


def test_a_fit_of_pymc_ends_where_ours_does() -> None:
    """``pm.fit`` itself, with nothing said but the seed and the number of steps."""
    target, steps = normal_mixture([0.5, 0.5], [-3, 3], [1, 1]), 60
    with target.model():
        approximation = pm.MeanField(random_seed=3)
        losses, parameters, noise = pymc_run(approximation, pm.adagrad_window, steps)
        fitted = pm.fit(
            steps, method=KLqp(pm.MeanField(random_seed=3)), progressbar=False, compile_kwargs={"mode": numpy_mode()}
        )
    our_losses, ours = our_run(target, "advi", PYMC_DEFAULT, default_starts(target)[0], noise)
    np.testing.assert_allclose(our_losses, losses, rtol=1e-10)
    np.testing.assert_allclose(ours, parameters, rtol=1e-10)
    np.testing.assert_allclose(our_losses, fitted.hist, rtol=1e-10)


def test_start_sds_are_those_of_pymc() -> None:
    methods: tuple[tuple[Any, Method], ...] = ((pm.MeanField, "advi"), (pm.FullRank, "fullrank_advi"))
    for kind, method in methods:
        theirs = kind(model=PLANE.model()).std.eval(mode=numpy_mode())
        ours = factors(method, raw_scales(method, None, 2)[None], 2)[0]
        np.testing.assert_allclose(np.sqrt(np.diag(ours @ ours.T)), theirs, rtol=1e-12)


# --- alone or in company ---------------------------------------------------------------------------------------------


@cache
def crossed_fit() -> xr.DataTree:
    return fit_advi(CROSSED, method="fullrank_advi", seed=4, schedule=SHORT, draws=50)


def test_same_seed_same_numbers() -> None:
    again = fit_advi(CROSSED, method="fullrank_advi", seed=4, schedule=SHORT, draws=50)
    assert again.identical(crossed_fit())
    other = fit_advi(CROSSED, method="fullrank_advi", seed=5, schedule=SHORT, draws=50)
    assert not np.array_equal(other["restarts"]["mean"], again["restarts"]["mean"])


def test_a_start_gives_the_same_numbers_alone_or_in_company() -> None:
    alone = fit_advi(
        CROSSED, method="fullrank_advi", starts=default_starts(CROSSED)[:1], seed=4, schedule=SHORT, draws=50
    )
    assert crossed_fit()["restarts"].sizes["restart"] == 3
    for name in ("mean", "cov", "history"):
        company = crossed_fit()["restarts"][name].isel(restart=0)
        np.testing.assert_allclose(alone["restarts"][name].isel(restart=0), company, rtol=1e-10, atol=1e-10)


def test_restarts_from_one_place_have_their_own_noise() -> None:
    starts = [Start(name, np.zeros(2)) for name in ("a", "b")]
    history = fit_advi(CROSSED, starts=starts, schedule=SHORT, draws=5)["restarts"]["history"].to_numpy()
    assert not np.any(history[0] == history[1])


# --- the exact optimum -----------------------------------------------------------------------------------------------


@cache
def bimodal_fit() -> xr.DataTree:
    return fit_advi(TARGETS["bimodal"], draws=100, seed=1)


def test_runs_on_two_modes_end_near_exact_minima() -> None:
    """KL of each end, by quadrature, against the reference minimum that it is nearest to."""
    target, restarts = TARGETS["bimodal"], bimodal_fit()["restarts"]
    points = [p for p in cases.case("rev_bim_a3")["answer"]["stationary_points"] if p["type"] == "min"]
    for label in restarts["restart"].to_numpy():
        run = restarts.sel(restart=label)
        m, s = float(run["mean"].item()), float(run["sd"].item())
        nearest = min(points, key=lambda p: (p["m"] - m) ** 2 + (p["s"] - s) ** 2)
        if str(label).startswith("mode"):
            assert abs(nearest["m"]) > 2.9, label
        gap = kl(FAMILIES["normal"].member({"mu": m, "sigma": s}), target).value - nearest["kl"]
        assert run["converged"], label
        assert -1e-9 <= gap < 1e-3, label
        assert abs(s / nearest["s"] - 1) < 0.01, label
        # The evidence knew it without the optimum.
        assert float(run["gap"]) == pytest.approx(gap, abs=2e-4)
        # The loss is an estimate of that KL, with its standard error.
        assert abs(float(run["loss"]) - nearest["kl"] - gap) < 4.5 * float(run["loss_se"])


def test_children_are_the_distinct_optima_lowest_loss_first() -> None:
    tree = bimodal_fit()
    children = [name for name in tree.children if name != "restarts"]
    assert children == [f"optimum_{k}" for k in range(len(children))]
    assert len(children) >= 2
    losses = [float(tree[f"{name}/fit"]["loss"]) for name in children]
    assert losses == sorted(losses)
    restarts = tree["restarts"].to_dataset()
    contract = {"start_mean", "start_sd", "mean", "sd", "cov", "seed", "loss", "loss_se", "gap", "gap_noise", "shift", "curvature",
                "drift", "loss_decrease", "iterations", "rounds", "converged", "verdict", "optimum"}  # fmt: skip
    assert contract <= set(restarts.data_vars)
    assert restarts["history"].dims == ("restart", "iteration")
    assert list(restarts["restart"].to_numpy()) == ["centre", "mode 1", "mode 2"]
    for k, name in enumerate(children):
        mine = restarts.isel(restart=restarts["optimum"].to_numpy() == k)
        assert ", ".join(mine["restart"].to_numpy()) == tree[f"{name}/fit"].attrs["starts"]
        lead = mine.isel(restart=int(np.argmin(mine["loss"].to_numpy())))
        assert abs(losses[k] - float(lead["loss"])) < 5 * float(lead["loss_se"])
        assert tree[f"{name}/posterior"]["x"].dims == ("chain", "draw")
        assert tree[f"{name}/posterior"].sizes["draw"] == 100
        assert {"log_p", "log_q"} <= set(tree[f"{name}/sample_stats"].data_vars)
        member = member_of(tree[f"{name}/fit"].to_dataset(), FAMILIES["normal"])
        x = tree[f"{name}/posterior"]["x"].to_numpy().T
        np.testing.assert_allclose(tree[f"{name}/sample_stats"]["log_q"][0], member.logp(x), rtol=1e-10)
        np.testing.assert_allclose(tree[f"{name}/sample_stats"]["log_p"][0], TARGETS["bimodal"].logp(x), rtol=1e-10)


def test_starts_are_those_of_the_target() -> None:
    restarts = bimodal_fit()["restarts"]
    np.testing.assert_allclose(restarts["start_mean"].to_numpy()[:, 0], [0, -3, 3], atol=1e-6)
    np.testing.assert_allclose(restarts["start_sd"], np.log(2), rtol=1e-12)


def test_a_given_start_sd_is_kept() -> None:
    start = Start("wide", np.array([0.0, 1.0]), np.array([2.0, 0.1]))
    methods: tuple[Method, ...] = ("advi", "fullrank_advi")
    for method in methods:
        factor = factors(method, raw_scales(method, start.sd, 2)[None], 2)[0]
        np.testing.assert_allclose(factor @ factor.T, np.diag([4, 0.01]), rtol=1e-12, atol=1e-15)
        restarts = fit_advi(CROSSED, method=method, starts=[start], schedule=replace(SHORT, steps=2), draws=2)[
            "restarts"
        ]
        np.testing.assert_allclose(restarts["start_mean"], [[0, 1]])
        np.testing.assert_allclose(restarts["start_sd"], [[2.0, 0.1]], rtol=1e-12)


def test_full_rank_reaches_the_correlated_normal() -> None:
    tree = fit_advi(PLANE, method="fullrank_advi", draws=10)
    fit = tree["optimum_0/fit"]
    np.testing.assert_allclose(fit["mu"], [1, -0.5], atol=0.02)
    np.testing.assert_allclose(fit["cov"], [[1, 0.6], [0.6, 2]], atol=0.04)
    # No gap: the family contains the target.
    assert abs(float(fit["loss"])) < 4 * float(fit["loss_se"]) + 1e-3


def test_mean_field_reaches_the_conditional_sds() -> None:
    """For a correlated Normal the exact mean-field sds are 1 / sqrt of the diagonal of the precision."""
    tree = fit_advi(PLANE, draws=10)
    exact = 1 / np.sqrt(np.diag(np.linalg.inv([[1, 0.6], [0.6, 2]])))
    np.testing.assert_allclose(tree["optimum_0/fit"]["mu"], [1, -0.5], atol=0.02)
    np.testing.assert_allclose(tree["optimum_0/fit"]["sigma"], exact, rtol=0.01)


def conjugate(data: np.ndarray) -> Any:
    with pm.Model() as model:
        location = pm.Normal("location", 1.0, 2.0)
        pm.Normal("y", location, 1.5, observed=data)
    return model


def test_posterior_of_a_conjugate_model() -> None:
    data = np.random.default_rng(2).normal(3, 1.5, 20)
    precision = 1 / 2.0**2 + len(data) / 1.5**2
    mean, sd = (1 / 2.0**2 + data.sum() / 1.5**2) / precision, precision**-0.5
    tree = fit_advi(conjugate(data), draws=10)
    fit = tree["optimum_0/fit"]
    assert float(fit["mu"].item()) == pytest.approx(mean, rel=0.01)
    assert float(fit["sigma"].item()) == pytest.approx(sd, rel=0.01)
    assert bool(fit["converged"])
    # Minus the ELBO is minus the log evidence: data ~ N(1, 1.5^2 I + 2^2 J).
    cov = 1.5**2 * np.eye(20) + 2.0**2 * np.ones((20, 20))
    _, logdet = np.linalg.slogdet(cov)
    z = data - 1
    evidence = -0.5 * (z @ np.linalg.solve(cov, z) + logdet + 20 * np.log(2 * np.pi))
    assert float(fit["loss"]) == pytest.approx(-evidence, abs=0.01)


def test_progress_adds_up_to_the_steps() -> None:
    seen: list[int] = []
    fit_advi(PLANE, schedule=replace(SHORT, steps=150, draws_per_step=2), draws=5, on_step=seen.append)
    assert sum(seen) == 150
    assert min(seen) > 0


# --- wrong input -----------------------------------------------------------------------------------------------------


def discrete() -> Any:
    with pm.Model() as model:
        pm.Normal("y", pm.Bernoulli("which", 0.5) * 2.0, 1.0, observed=[0.0, 1.0])
    return model


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        (PLANE, {"starts": [Start("short", np.zeros(1))]}, "start 'short' has 1 coordinates; the target has 2"),
        (PLANE, {"starts": []}, "no starts"),
        (PLANE, {"starts": 0}, "starts is 0; give at least 1"),
        (PLANE, {"seed": -2}, "seed is -2"),
        (PLANE, {"method": "adiv"}, "unknown method 'adiv'; did you mean advi"),
        (from_draws([1.0, 2.0, 3.0]), {}, "known by draws only.*needs a log density"),
    ],
)
def test_wrong_input(target: Target, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_advi(target, **options)


def test_discrete_variables_are_refused() -> None:
    with pytest.raises(InputError, match=r"discrete variables.*which.*marginalise"):
        fit_advi(discrete())


def test_a_loss_that_is_not_finite_names_the_start_and_the_step() -> None:
    with pytest.raises(FloatingPointError, match=r"start 'far away': the loss is (inf|nan) at step 0"):
        fit_advi(PLANE, starts=[Start("far away", np.full(2, 1e200))], schedule=SHORT)


def test_one_bad_start_is_set_aside_and_changes_no_other() -> None:
    bad, good = Start("far away", np.full(2, 1e200)), Start("good", np.zeros(2), seed=5)
    alone = fit_advi(PLANE, starts=[good], schedule=SHORT, draws=30)
    beside = fit_advi(PLANE, starts=[bad, good], schedule=SHORT, draws=30)
    assert (beside.attrs["starts_tried"], beside.attrs["starts_failed"]) == (2, 1)
    assert list(beside["restarts"]["restart"].to_numpy()) == ["good"]
    np.testing.assert_array_equal(beside["restarts"]["mean"], alone["restarts"]["mean"])


def flat() -> Any:
    with pm.Model() as model:
        pm.Flat("level")
        pm.Normal("noise")
    return model


def test_an_improper_posterior_is_named() -> None:
    with pytest.raises(ConvergenceError, match=r"improper: its density does not fall along level"):
        fit_advi(flat())


def test_a_gradient_that_is_not_finite_is_named() -> None:
    with pm.Model() as model:
        pm.Normal("fine")
        root = pm.Normal("root", initval=0.0)
        pm.Potential("cusp", -pm.math.sqrt(pm.math.maximum(root, 0.0)))  # 0 to the left, with gradient 0/0
    with pytest.raises(FloatingPointError, match=r"start 'centre'.*gradient by 'root' is not finite at step 0"):
        fit_advi(model)


# --- convergence, seeds, natural scale -------------------------------------------------------------------------------


def test_a_run_that_is_stopped_early_is_flagged() -> None:
    """Far from any minimum, with too few steps to get there."""
    start = Start("far", np.array([40.0]))
    run = fit_advi(TARGETS["bimodal"], starts=[start], schedule=Schedule(steps=50, rounds=1), draws=2)["restarts"]
    assert not bool(run["converged"][0])
    assert str(run["verdict"].values[0]) == "still moving"
    assert float(run["gap"][0]) > 0.1


def test_pymc_defaults_are_not_called_converged() -> None:
    """At the broad minimum they inflate the sd by a tenth, however long they run."""
    schedule = replace(PYMC_DEFAULT, steps=4000)
    start = Start("at the optimum", np.zeros(1), np.array([2.7438]))
    run = fit_advi(TARGETS["bimodal"], starts=[start], schedule=schedule, draws=2)["restarts"]
    assert not bool(run["converged"][0])
    assert float(run["sd"][0, 0]) > 2.85


def test_a_recorded_seed_repeats_a_run_alone() -> None:
    recorded = crossed_fit()["restarts"].isel(restart=1)
    start = replace(default_starts(CROSSED)[1], seed=int(recorded["seed"]))
    again = fit_advi(CROSSED, method="fullrank_advi", starts=[start], seed=99, schedule=SHORT, draws=5)["restarts"]
    np.testing.assert_allclose(again["history"][0], recorded["history"], rtol=1e-10, atol=1e-10)


@pytest.mark.exhaustive
def test_same_numbers_in_another_process() -> None:
    code = (
        "from models.advi import fit_advi; from models.targets import normal_mixture as n\n"
        "r = fit_advi(n([0.5, 0.5], [-3, 3], [1, 1]), starts=3, seed=2, draws=2)['restarts']\n"
        "print(r['mean'].values.tobytes().hex(), r['sd'].values.tobytes().hex())"
    )
    here = fit_advi(normal_mixture([0.5, 0.5], [-3, 3], [1, 1]), starts=3, seed=2, draws=2)["restarts"]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert there == [here[name].to_numpy().tobytes().hex() for name in ("mean", "sd")]


@cache
def pair_model() -> Any:
    """Two label-switched modes, each component given an initial value, and a positive variable."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=2, initval=[-1.0, 1.0])
        sd = pm.HalfNormal("sd", 2)
        pm.Deterministic("distance", mu[1] - mu[0])
        pm.NormalMixture(
            "y", w=[0.5, 0.5], mu=mu, sigma=sd, observed=np.r_[np.linspace(-4, -2, 15), np.linspace(2, 4, 15)]
        )
    return model


@pytest.mark.exhaustive
def test_many_starts_find_both_labellings_and_report_on_both_scales() -> None:
    fit = fit_advi(pair_model(), starts=8, draws=200, seed=1)
    table = optima(fit)
    assert list(table["dim"].to_numpy()) == ["mu[0]", "mu[1]", "sd_log__"]
    assert int(table["runs"].sum()) == 8
    best = table.isel(optimum=slice(0, 2))
    np.testing.assert_allclose(np.sort(best["mean"].sel(dim="mu[0]")), [-3, 3], atol=0.2)
    np.testing.assert_allclose(best["elbo"][0], best["elbo"][1], atol=0.02)  # mirror images
    child = fit["optimum_0"]
    assert set(child["posterior"].data_vars) == {"mu", "sd", "distance"}
    x = child["unconstrained_posterior"]["x"].to_numpy()[0]
    np.testing.assert_allclose(child["posterior"]["sd"][0], np.exp(x[:, 2]))
    np.testing.assert_allclose(child["posterior"]["distance"][0], x[:, 1] - x[:, 0])


@pytest.mark.parametrize("method", ["advi", "fullrank_advi"])
def test_path_gradient_has_the_mean_of_the_total_gradient(method: Method) -> None:
    """The same descent direction from one first step of plain length on many draws, and none at all where q is p."""
    noise = np.random.default_rng(5).standard_normal((40_000, 1, 2))
    moved = {}
    for gradient in ("total", "path"):
        raw = raw_scales(method, np.array([0.8, 1.5]), 2)[None]
        steps = Steps(CROSSED.log_density, np.array([[0.5, -1.0]]), raw, optimizer="adam", gradient=gradient,  # type: ignore[arg-type]
                      steps=10, high=np.ones(1), low=np.ones(1))  # fmt: skip
        steps.advance(noise[None])
        moved[gradient] = steps.state[:, 0, 0]  # Adam's first moment after one step is a tenth of the gradient
    np.testing.assert_allclose(moved["path"], moved["total"], atol=0.004)
    assert np.abs(moved["total"]).max() > 0.02


def test_a_fit_costs_no_more_than_its_schedule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.advi import rounds

    drawn: list[int] = []

    def counted(generators: Any, steps: int, draws: int, dim: int, kind: Any) -> Any:
        drawn.append(len(generators) * steps * draws)
        return noise(generators, steps, draws, dim, kind)

    noise = rounds.draw_noise
    monkeypatch.setattr(rounds, "draw_noise", counted)
    schedule = Schedule(steps=100, draws_per_step=4, rounds=5, most_draws=16, nats=1e-12, relative=1e-12)
    assert schedule.evaluations == 100 * (4 + 8 + 16 + 16 + 16)
    fit = fit_advi(TARGETS["student_t"], starts=2, schedule=schedule, draws=2)
    assert fit.attrs["most_evaluations"] == 2 * schedule.evaluations
    assert 2 * 100 * (4 + 8) < sum(drawn) <= 2 * schedule.evaluations


@pytest.mark.exhaustive
@pytest.mark.parametrize("fit", [fit_advi, fit_dadvi])
def test_that_minibatches_are_replaced_is_said(fit: Any) -> None:
    data = np.random.default_rng(0).normal(3, 1, 200)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("m", 0, 10), 1, observed=pm.Minibatch(data, batch_size=10), total_size=200)
    with pytest.warns(UserWarning, match="whole data"):
        found = fit(model, starts=2, draws=10)
    assert found.attrs["batched"] == 1
    assert float(found["optimum_0/fit"]["mean"][0]) == pytest.approx(data.mean(), abs=0.05)
    assert fit(normal_mixture([1], [0], [1]), starts=2, draws=10).attrs["batched"] == 0
