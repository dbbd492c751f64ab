"""Two hundred restarts of ADVI side by side, against one restart, ``pm.fit`` and NumPyro's vmapped ``SVI``, in one run.

Not part of the test run: ``uv run --group bench pytest tests/benchmarks -o addopts=--import-mode=importlib``. Times are
reported, never asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pymc as pm
import pytest

from models.advi import METHODS, PYMC_ADAM, Start, fit_advi
from models.advi.runs import Gradient, Method, Optimizer, Steps, raw_scales
from models.families import FAMILIES
from models.graphs.log_density import LogDensity, of_model
from models.mle import fit_mle
from models.targets import TARGETS, mvnormal_mixture

BIMODAL = TARGETS["bimodal"]
STEPS, RESTARTS = 10_000, 200
MEANS = np.linspace(-5, 5, RESTARTS)
#: The same optimiser for all: Adam at a constant rate, PyMC's gradient and noise.
SCHEDULE = replace(PYMC_ADAM, steps=STEPS, learning_rate=0.005, final_learning_rate=0.005)


def seconds(work: Callable[[], Any]) -> float:
    """Of processor time, in which other work on the machine counts least; of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ours(restarts: int, draws: int) -> Callable[[], Any]:
    starts = [Start(f"start {i + 1}", mean) for i, mean in enumerate(MEANS[:restarts, None])]
    schedule = replace(SCHEDULE, draws_per_step=draws)
    return lambda: fit_advi(BIMODAL, starts=starts, schedule=schedule, draws=2)


def with_pymc(draws: int, mean: float) -> None:
    with BIMODAL.model():
        pm.fit(STEPS, method="advi", start={"x": np.array(mean)}, obj_optimizer=pm.adam(learning_rate=0.02), obj_n_mc=draws,
               progressbar=False, random_seed=1)  # fmt: skip


def with_numpyro(draws: int) -> Callable[[], Any]:
    numpyro = pytest.importorskip("numpyro", reason="uv sync --group bench")
    import jax
    from numpyro import distributions as dist
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal

    jax.config.update("jax_enable_x64", True)

    def model() -> None:
        components = dist.Normal(np.array([-3.0, 3.0]), 1.0)
        numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(probs=np.array([0.5, 0.5])), components))

    svi = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.02), Trace_ELBO(num_particles=draws))

    def one(key: Any, mean: Any) -> Any:
        state = svi.init(key, init_params={"x_auto_loc": mean, "x_auto_scale": np.log(2.0)})
        state, losses = jax.lax.scan(lambda s, _: svi.update(s), state, None, length=STEPS)
        return svi.get_params(state), losses

    run = jax.jit(jax.vmap(one))
    keys = jax.random.split(jax.random.PRNGKey(0), RESTARTS)
    return lambda: jax.block_until_ready(run(keys, MEANS))


def report(capsys: pytest.CaptureFixture[str], benchmark: Any, lines: dict[str, float]) -> None:
    benchmark.extra_info.update(lines)
    with capsys.disabled():
        print("\n" + "\n".join(f"  {what}: {value:.3g}" for what, value in lines.items()))


@pytest.mark.parametrize("draws", [1, 10])
def test_two_hundred_restarts(benchmark: Any, capsys: pytest.CaptureFixture[str], draws: int) -> None:
    one, all_ = ours(1, draws), ours(RESTARTS, draws)
    cold = seconds(one)
    benchmark.pedantic(all_, rounds=2, iterations=1)
    with_pymc(draws, 0.0)  # warm
    theirs = median(seconds(lambda mean=mean: with_pymc(draws, mean)) for mean in (-1.0, 0.0, 1.0))
    numpyro = with_numpyro(draws)
    numpyro_cold = seconds(numpyro)
    turns = [(seconds(one), seconds(all_), seconds(numpyro)) for _ in range(7)]
    alone, together, numpyro_warm = (median(column) for column in zip(*turns, strict=True))
    report(
        capsys,
        benchmark,
        {
            f"{draws} draw(s) a step, first call (s)": cold,
            "one restart (s)": alone,
            f"{RESTARTS} restarts (s)": together,
            f"{RESTARTS} restarts / one": together / alone,
            f"{RESTARTS} x one pm.fit / ours": RESTARTS * theirs / together,
            "NumPyro SVI, vmapped, first call (s)": numpyro_cold,
            "NumPyro SVI, warm (s)": numpyro_warm,
            "ours / NumPyro, both warm": together / numpyro_warm,
        },
    )


SETTINGS = [(1, 1), (5, 1), (3, 100), (200, 1), (200, 10)]
WIDER = [(dim, runs, method) for dim, runs in ((5, 20), (20, 20), (20, 3)) for method in METHODS]


def test_a_step(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Nanoseconds of a draw of a step: density, affine map, gradient and optimiser, without the noise."""

    def of(density: LogDensity, runs: int, draws: int, dim: int = 1, method: Method = "advi", *, steps: int = 1000,
           optimizer: Optimizer = "adam") -> float:  # fmt: skip
        noise = np.random.default_rng(0).standard_normal((steps, draws, runs, dim))
        raw, rate = np.tile(raw_scales(method, np.ones(dim), dim), (runs, 1)), np.full(runs, 1e-3)
        gradient: Gradient = "total" if method == "advi" else "path"
        run = Steps(density, np.zeros((runs, dim)), raw, optimizer=optimizer, gradient=gradient, steps=steps, high=rate, low=rate)  # fmt: skip
        return 1e9 * min(seconds(lambda: run.advance(noise)) for _ in range(7)) / (steps * draws * runs)

    bimodal = BIMODAL.log_density
    lines = {f"{r} runs, {n} draws (ns)": of(bimodal, r, n) for r, n in SETTINGS}
    lines["200 runs, 1 draw, adagrad_window (ns)"] = of(bimodal, 200, 1, optimizer="adagrad_window")
    for dim, runs, method in WIDER:
        density = mvnormal_mixture([1], [np.zeros(dim)], [np.eye(dim)]).log_density
        lines[f"{dim} dimensions, {runs} runs, 10 draws, {method} (ns)"] = of(density, runs, 10, dim, method, steps=200)
    benchmark.pedantic(lambda: None, rounds=1)
    report(capsys, benchmark, lines)


# --- models of users -------------------------------------------------------------------------------------------------


def eight_schools() -> pm.Model:
    effects, errors = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        theta = pm.Normal("theta", mu, tau, shape=8)
        pm.Normal("y", theta, errors, observed=effects)
    return model


def two_normals() -> pm.Model:
    y = np.concatenate([np.random.default_rng(1).normal(-2, 1, 500), np.random.default_rng(2).normal(2, 1, 500)])
    with pm.Model() as model:
        mu, sd, w = pm.Normal("mu", 0, 5, shape=2), pm.HalfNormal("sd", 2, shape=2), pm.Beta("w", 2, 2)
        pm.NormalMixture("y", w=pm.math.stack([w, 1 - w]), mu=mu, sigma=sd, observed=y)
    return model


def correlated() -> pm.Model:
    y = np.random.default_rng(3).standard_normal((50, 3))
    with pm.Model() as model:
        factor, *_ = pm.LKJCholeskyCov("factor", n=3, eta=2, sd_dist=pm.HalfNormal.dist(1), compute_corr=True)
        pm.MvNormal("y", pm.Normal("mu", 0, 1, shape=3), chol=factor, observed=y)
    return model


def process() -> pm.Model:
    x = np.linspace(0, 1, 20)[:, None]
    with pm.Model() as model:
        length, height = pm.Gamma("length", 2, 4), pm.HalfNormal("height", 1)
        gp = pm.gp.Marginal(cov_func=height**2 * pm.gp.cov.ExpQuad(1, ls=length))
        gp.marginal_likelihood("y", X=x, y=np.sin(6 * x[:, 0]), sigma=pm.HalfNormal("noise", 1))
    return model


@pytest.mark.parametrize("build", [eight_schools, two_normals, correlated, process], ids=lambda f: f.__name__)
def test_a_draw_costs_a_point_of_pymc(benchmark: Any, capsys: pytest.CaptureFixture[str], build: Any) -> None:
    """One draw of one step of one run against one call of the function that PyMC compiles."""
    model = build()
    density, steps, draws = of_model(model), 200, 10
    point = np.concatenate([np.ravel(v) for v in model.initial_point().values()]).astype(float)
    theirs = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")._pytensor_function
    noise = np.random.default_rng(0).standard_normal((steps, draws, 1, len(point)))
    run = Steps(density, point[None], np.full((1, len(point)), -3.0), optimizer="adam", gradient="path", steps=steps,
                high=np.full(1, 1e-3), low=np.full(1, 1e-3))  # fmt: skip
    run.advance(noise)
    benchmark.pedantic(lambda: run.advance(noise), rounds=3, iterations=1)
    mine = min(seconds(lambda: run.advance(noise)) for _ in range(3)) / (steps * draws)
    pymc = min(seconds(lambda: [theirs(point) for _ in range(2000)]) for _ in range(3)) / 2000
    report(capsys, benchmark, {f"{build.__name__}: one draw (us)": 1e6 * mine, "one point of PyMC (us)": 1e6 * pymc,
                               "draw / point": mine / pymc})  # fmt: skip


# --- growth ----------------------------------------------------------------------------------------------------------


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of the logarithms between the last two sizes: what a tenfold size costs where it costs most."""
    return float(np.log(times[-1] / times[-2]) / np.log(sizes[-1] / sizes[-2]))


def test_growth(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds, warm, in observations, dimensions and restarts, and the exponent between the last two."""
    lines: dict[str, float] = {}

    def along(what: str, sizes: list[int], work: Callable[[int], Callable[[], Any]]) -> None:
        work(sizes[0])()
        times = [min(seconds(work(size)) for _ in range(2)) for size in sizes]
        lines.update({f"{what} = {size} (s)": t for size, t in zip(sizes, times, strict=True)})
        lines[f"{what}: exponent"] = exponent(sizes, times)

    x = TARGETS["student_t"].rvs(1_000_000, seed=1)
    along("student_t by fit_mle, n", [1000, 10_000, 100_000, 1_000_000],
          lambda n: lambda: fit_mle(x[:n], FAMILIES["student_t"], draws=2))  # fmt: skip
    one = replace(SCHEDULE, steps=1000, draws_per_step=10, rounds=1)
    along("fit_advi mean field, d", [1, 2, 5, 10, 20, 50],
          lambda d: lambda: fit_advi(mvnormal_mixture([1], [np.zeros(d)], [np.eye(d)]), schedule=one, draws=2))  # fmt: skip
    along("fit_advi, restarts", [1, 10, 100, 1000],
          lambda r: lambda: fit_advi(BIMODAL, starts=r, schedule=one, draws=2))  # fmt: skip
    benchmark.pedantic(lambda: None, rounds=1)
    report(capsys, benchmark, lines)
