"""Two hundred restarts of ADVI as one graph, against one restart, ``pm.fit`` and NumPyro's vmapped ``SVI``, in one run.

Not part of the test run: ``uv run --group bench pytest tests/benchmarks -o addopts=--import-mode=importlib``. Times are
reported, never asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import pytest

from models.advi import PYMC_ADAM, Start, fit_advi
from models.graphs import Backend
from models.targets import TARGETS

BIMODAL = TARGETS["bimodal"]
STEPS, RESTARTS = 10_000, 200
MEANS = np.linspace(-5, 5, RESTARTS)
#: The same optimiser for all: Adam at a constant rate, PyMC's gradient and noise.
SCHEDULE = replace(PYMC_ADAM, steps=STEPS, learning_rate=0.005, final_learning_rate=0.005)


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ours(restarts: int, draws: int, backend: Backend) -> Callable[[], Any]:
    starts = [Start(f"start {i + 1}", mean) for i, mean in enumerate(MEANS[:restarts, None])]
    schedule = replace(SCHEDULE, draws_per_step=draws)
    return lambda: fit_advi(BIMODAL, starts=starts, schedule=schedule, draws=2, backend=backend)


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


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("draws", [1, 10])
def test_two_hundred_restarts(benchmark: Any, capsys: pytest.CaptureFixture[str], backend: Backend, draws: int) -> None:
    one, all_ = ours(1, draws, backend), ours(RESTARTS, draws, backend)
    cold = seconds(one)
    alone = min(seconds(one) for _ in range(2))
    benchmark.pedantic(all_, rounds=2, iterations=1)
    together = benchmark.stats.stats.min
    with_pymc(draws, 0.0)  # warm
    theirs = min(seconds(lambda mean=mean: with_pymc(draws, mean)) for mean in (-1.0, 0.0, 1.0))
    numpyro = with_numpyro(draws)
    numpyro_cold = seconds(numpyro)
    numpyro_warm = min(seconds(numpyro) for _ in range(2))
    report(
        capsys,
        benchmark,
        {
            f"{backend}, {draws} draw(s) a step, first call (s)": cold,
            "one restart (s)": alone,
            f"{RESTARTS} restarts (s)": together,
            f"{RESTARTS} restarts / one": together / alone,
            f"{RESTARTS} x one pm.fit / ours": RESTARTS * theirs / together,
            "NumPyro SVI, vmapped, first call (s)": numpyro_cold,
            "NumPyro SVI, warm (s)": numpyro_warm,
            "ours / NumPyro, both warm": together / numpyro_warm,
        },
    )
