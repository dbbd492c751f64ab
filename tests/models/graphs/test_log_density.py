"""Compiled log densities: PyMC's values, gradients by differences, PyMC's checks, data as they are at the moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy.stats import norm

from models.advi import Start, fit_advi
from models.advi.runs import Gradient, Optimizer, Steps, draw_noise
from models.errors import InputError
from models.graphs import log_density
from models.graphs import store as graph_store
from models.graphs.log_density import LogDensity, of_distribution, of_model
from models.targets import TARGETS, Target, from_distribution, from_model, mvnormal_mixture, normal_mixture

CORNERS = mvnormal_mixture(
    [0.2, 0.3, 0.5], [[-2, 0, 1], [1, 1, 1], [0, 3, -1]], [np.eye(3), 2 * np.eye(3), np.diag([1, 2, 0.5])]
)


def check_gradient(density: LogDensity, x: np.ndarray) -> None:
    _, slope = density(x)
    for i, h in enumerate(1e-5 * np.eye(x.shape[1])):
        np.testing.assert_allclose(slope[:, i], (density(x + h)[0] - density(x - h)[0]) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "target",
    [TARGETS["bimodal"], TARGETS["claw"], pytest.param(TARGETS["heavy_tailed"], marks=pytest.mark.exhaustive), TARGETS["crossed"], CORNERS,
     TARGETS["student_t"], normal_mixture([1], [2], [0.5])],
    ids=["bimodal", "claw", "heavy_tailed", "crossed", "corners", "student_t", "normal"],
)  # fmt: skip
def test_values_are_those_of_the_target_and_gradients_their_slopes(target: Target) -> None:
    x = target.rvs(1100, seed=2)  # more than are taken together
    density = target.log_density
    np.testing.assert_allclose(density(x)[0], target.logp(x), rtol=1e-12, atol=1e-12)
    check_gradient(density, x)


def test_no_points_have_no_densities() -> None:
    values, slopes = CORNERS.log_density(np.empty((0, 3)))
    assert values.shape == (0,)
    assert slopes.shape == (0, 3)


def test_one_compiled_function_serves_any_number_of_components_and_dimensions() -> None:
    functions = {
        target.log_density.function for target in (TARGETS["crossed"], CORNERS, mvnormal_mixture([1], [[0.0] * 5], [np.eye(5)]))
    }  # fmt: skip
    assert len(functions) == 1


@pytest.mark.exhaustive
def test_a_bounded_support_is_seen_as_pymc_transforms_it() -> None:
    target = from_distribution("Gamma", {"alpha": 2, "beta": 3})
    z = np.linspace(-3, 2, 9)[:, None]
    x = np.exp(z[:, 0])
    assert target.distribution is not None
    expected = target.distribution.logp(x[:, None]) + z[:, 0]  # the Jacobian of exp
    np.testing.assert_allclose(of_distribution(target.distribution)(z)[0], expected, rtol=1e-12)
    check_gradient(of_distribution(target.distribution), z)


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_model_is_evaluated_as_pymc_does() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2, shape=2)
        sd = pm.HalfNormal("sd", 1)
        pm.Normal(
            "y", mu[pm.Data("group", np.array([0, 1, 1, 0]))], sd, observed=pm.Data("obs", np.array([1.0, 2, 3, 4]))
        )
    x = np.random.default_rng(0).standard_normal((6, 3))
    reference = model.compile_logp(mode="FAST_COMPILE")
    expected = [float(reference({"mu": row[:2], "sd_log__": row[2]})) for row in x]
    np.testing.assert_allclose(of_model(model)(x)[0], expected, rtol=1e-7)  # PyMC takes log(2) in single precision
    check_gradient(of_model(model), x)


def test_arrays_of_constants_in_single_precision_keep_their_shapes() -> None:
    """As in the basis of PyMC's HSGP: lengths are integers, whatever the precision of what is repeated."""
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu * pt.ones(3, dtype="float32"), 1, observed=[1.0, 2.0, 4.0])
    exact = norm.logpdf(0.5) + norm.logpdf([1, 2, 4], 0.5).sum()
    assert of_model(model)(np.array([[0.5]]))[0] == pytest.approx(exact, rel=1e-12)


def test_checks_of_parameters_are_kept() -> None:
    """A Poisson rate below zero has no likelihood, whatever its formula says (a fit would end at a rate of -23)."""
    with pm.Model() as model:
        rate = pm.Normal("rate", 1, 2)
        pm.Poisson("y", mu=rate, observed=np.zeros(6, int))
    values, _ = of_model(model)(np.array([[-2.0], [1.0]]))
    assert values[0] == -np.inf
    assert values[1] == pytest.approx(-6 + float(pm.logp(pm.Normal.dist(1, 2), 1.0).eval()))
    assert from_model(model).logp([[-2.0]])[0] == -np.inf


def test_data_are_those_of_the_moment() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 100)
        y = pm.Data("y_data", np.zeros(3))
        pm.Normal("y", mu, 1, observed=y)
    before = of_model(model)(np.array([[5.0]]))[0]
    model.set_data("y_data", np.full(4, 5.0))
    after = of_model(model)(np.array([[5.0]]))[0]
    assert after > before + 30


def test_a_density_that_draws_random_numbers_is_refused() -> None:
    data = np.random.default_rng(1).normal(3, 1, 100)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=pm.Minibatch(data, batch_size=10), total_size=100)
    with pytest.raises(InputError, match="Minibatch"):
        of_model(model)


def test_a_run_gives_the_same_numbers_in_any_company() -> None:
    """Also where draws double between rounds at different times."""
    starts = [
        Start("a", np.array([-2.0]), seed=3),
        Start("b", np.array([0.1]), seed=4),
        Start("c", np.array([9.0]), seed=5),
    ]
    together = fit_advi(TARGETS["unequal"], starts=starts, draws=2)["restarts"]
    for i, start in enumerate(starts):
        alone = fit_advi(TARGETS["unequal"], starts=[start], draws=2)["restarts"]
        np.testing.assert_array_equal(alone["mean"][0], together["mean"][i])
        np.testing.assert_array_equal(alone["sd"][0], together["sd"][i])
        assert int(alone["rounds"][0]) == int(together["rounds"][i]) <= 8


@pytest.mark.parametrize("name", ["unequal", "student_t", "crossed"])
@pytest.mark.parametrize(("gradient", "optimizer"), [("total", "adagrad_window"), ("path", "adam")])
def test_many_runs_are_to_the_last_bit_what_each_is_alone(name: str, gradient: Gradient, optimizer: Optimizer) -> None:
    """Compiled loops take several runs at a time, and the last few one by one."""
    target = TARGETS[name]
    starts = np.linspace(-5, 5, 41)

    def walk(rows: list[int]) -> tuple[np.ndarray, ...]:
        mean = starts[rows, None] + np.zeros((1, target.dim))
        raw = np.full((len(rows), target.dim * (target.dim + 1) // 2), 0.5)
        rate = np.full(len(rows), 0.01)
        steps = Steps(
            target.log_density, mean, raw, optimizer=optimizer, gradient=gradient, steps=60, high=rate, low=rate
        )
        noise = draw_noise([np.random.default_rng(i) for i in rows], 50, 3, target.dim, "independent")
        return steps.advance(noise).T, steps.mean, steps.raw

    together = walk(list(range(41)))
    for rows in ([0], [7, 9], [3, 20, 40], list(range(11, 24))):
        for all_, some in zip(together, walk(rows), strict=True):
            np.testing.assert_array_equal(all_[rows], some)


@pytest.mark.parametrize("target", [TARGETS["unequal"], TARGETS["crossed"]], ids=lambda t: t.name)
def test_where_every_term_underflows_the_density_is_zero(target: Target) -> None:
    with np.errstate(over="ignore"):
        assert of_distribution(target.distribution)(np.full((1, target.dim), 1e200))[0] == -np.inf


# --- stored ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUALITY_CACHE", str(tmp_path))
    graph_store.place.cache_clear()
    log_density.compiled_densities().clear()
    yield tmp_path
    graph_store.place.cache_clear()
    log_density.compiled_densities().clear()


@pytest.mark.exhaustive
def test_a_compiled_density_is_read_again_unless_it_is_damaged(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS["student_t"]
    made: list[int] = []

    def build(_density: object) -> tuple[pt.TensorVariable, pt.TensorVariable, pt.TensorVariable]:
        """A graph that is compiled in a moment."""
        made.append(1)
        points, numbers = pt.matrix("points"), pt.vector("numbers")
        return points, numbers, numbers[0] * -(points**2).sum(axis=1)

    monkeypatch.setattr(log_density, "_graph", build)
    x = np.array([[0.5]])

    def value() -> np.ndarray:
        log_density.compiled_densities().clear()
        return of_distribution(target.distribution)(x)[0]

    expected = value()
    np.testing.assert_array_equal(value(), expected)
    assert len(made) == 1
    (code,) = fresh.glob("*/__pycache__/*.nbc")
    code.write_bytes(code.read_bytes()[:-100])
    np.testing.assert_array_equal(value(), expected)
    (checksum,) = fresh.glob("*/*.sum")
    checksum.unlink()
    np.testing.assert_array_equal(value(), expected)
    assert len(made) == 3
    assert graph_store.clear() >= 1
    assert not list(fresh.glob("*/__pycache__/*"))
