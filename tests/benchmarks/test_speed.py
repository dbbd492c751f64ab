"""How much is gained by running restarts as one graph, and how an exact projection compares with a stochastic fit.

Not part of the test run: ``uv run pytest tests/benchmarks -o addopts=--import-mode=importlib``. Times are reported,
never asserted; ratios go to ``extra_info`` and to the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.advi import Schedule, Start, fit_advi
from models.families import FAMILIES
from models.projections import reverse_projections
from models.targets import TARGETS

BIMODAL = TARGETS["bimodal"]
SCHEDULE = Schedule(steps=500, draws_per_step=10)
STARTS = [Start(f"start {i + 1}", mean) for i, mean in enumerate(np.linspace(-5, 5, 50)[:, None])]


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def together() -> Any:
    return fit_advi(BIMODAL, starts=STARTS, schedule=SCHEDULE, draws=2)


def one_by_one() -> None:
    for start in STARTS:
        fit_advi(BIMODAL, starts=[start], schedule=SCHEDULE, draws=2)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Compile once, so that times are those of the work."""
    fit_advi(BIMODAL, starts=STARTS[:2], schedule=Schedule(steps=2, draws_per_step=10), draws=2)
    reverse_projections(BIMODAL, FAMILIES["normal"])


def report(benchmark: Any, capsys: pytest.CaptureFixture[str], what: str, ratio: float) -> None:
    benchmark.extra_info[what] = ratio
    with capsys.disabled():
        print(f"\n{what}: {ratio:.2f}")


def test_fifty_restarts_as_one_graph(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.pedantic(together, rounds=2, iterations=1)
    alone = seconds(one_by_one)
    report(benchmark, capsys, "50 runs one by one / together", alone / benchmark.stats.stats.min)


def test_exact_projections_against_advi(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.pedantic(lambda: reverse_projections(BIMODAL, FAMILIES["normal"]), rounds=3, iterations=1)
    fit = seconds(lambda: fit_advi(BIMODAL, draws=2))
    report(benchmark, capsys, "default fit_advi / all exact stationary points", fit / benchmark.stats.stats.min)
