"""How often intervals of the KL from draws hold the truth, for skewed and bounded distributions.

Not part of the test run::

    uv run python -m tests.benchmarks.kl_coverage --runs 200 --output tests/benchmarks/kl_coverage.md

Each run draws from p_data, fits a family by maximum likelihood, and takes `kl_from_draws` of it. The truth is the KL of the family's forward
projection: to the Normal a difference of entropies, to the family that p_data is a member of zero.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from models.families import FAMILIES
from models.unknown import kl_from_draws
from tests.models.unknown.coverage import Study, coverage_study

#: p_data, and the family that it is a member of.
LAWS: Mapping[str, tuple[Any, str]] = {
    "gamma, shape 2": (stats.gamma(2), "gamma"),
    "gamma, shape 0.5": (stats.gamma(0.5), "gamma"),
    "beta(2, 5)": (stats.beta(2, 5), "beta"),
    "beta(0.5, 0.5)": (stats.beta(0.5, 0.5), "beta"),
    "lognormal, sigma 0.5": (stats.lognorm(0.5), "lognormal"),
    "lognormal, sigma 1": (stats.lognorm(1), "lognormal"),
}
#: What coverage of intervals of level 0.95 should be.
TARGET = (0.92, 0.98)


def study_of(law: Any, family: str, n: int, runs: int) -> tuple[float, Study]:
    """The true KL, and what the estimator makes of `runs` samples."""
    normal = stats.norm(law.mean(), law.std())
    truth = float(normal.entropy() - law.entropy()) if family == "normal" else 0.0
    return truth, coverage_study(
        lambda seed: law.rvs((n, 1), random_state=seed),
        lambda x: kl_from_draws(x, FAMILIES[family]),
        truth,
        replications=runs,
    )


def table(n: int, runs: int) -> str:
    """Rows of Markdown, printed as they come."""
    names = ("p_data", "family", "KL", "bias", "sd", "stated error", "coverage", "reliable", "coverage of these", "")
    rows = [names, ("---",) * len(names)]
    for name, (law, own) in LAWS.items():
        for family in ("normal", own):
            truth, s = study_of(law, family, n, runs)
            held = TARGET[0] <= s.coverage_reliable <= 1
            verdict = "few are called reliable" if s.reliable < 0.5 else "" if held else "**too low**"
            numbers = (f"{v:.4f}" for v in (truth, s.bias, s.sd, s.mean_error))
            shares = (f"{v:.1%}" for v in (s.coverage, s.reliable, s.coverage_reliable))
            rows.append((name, family, *numbers, *shares, verdict))
            print("| " + " | ".join(rows[-1]) + " |", flush=True)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    rows = table(given.n, given.runs)
    day = datetime.now(UTC)
    se = np.sqrt(0.95 * 0.05 / given.runs)
    text = (
        "# Coverage of intervals of the KL from draws\n\n"
        f"{day.day} {day:%B %Y}; {given.runs} runs of {given.n} draws each, level 95 % (standard error of a share of 95 %: {se:.1%}); "
        f"{time.perf_counter() - begun:.0f} s on {platform.machine()}, Python {platform.python_version()}. Made by "
        "`tests/benchmarks/kl_coverage.py`, whose head says what is measured. In nats.\n\n"
        f"Bias and sd are those of estimate minus truth. Wanted: {TARGET[0]:.0%} to {TARGET[1]:.0%}, or intervals that say themselves "
        "that they are not reliable.\n\n"
    )
    if given.output:
        given.output.write_text(text + rows + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
