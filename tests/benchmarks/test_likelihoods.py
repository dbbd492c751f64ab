"""Highest log likelihoods and times beside scipy's own fits, on a data set of each family: pytest tests/benchmarks/test_likelihoods.py -s."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.families import FAMILIES, normal_mixture
from models.mle import fit_mle
from tests.likelihoods import CASES

N = 10_000
#: Nats below scipy, relative, that count as none.
TOLERANCE = 1e-6


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


@pytest.fixture(scope="module")
def table() -> list[tuple[str, float, float, float, float]]:
    """Name, our log likelihood and seconds, theirs and seconds: of scipy's fit where it has one, else of Nelder and Mead."""
    rows = []
    for case in CASES:
        family, x = FAMILIES[case.name], case.draw(N, seed=3)
        fit_mle(x[:50], family, draws=2)  # graphs are compiled once a machine
        fit, ours = timed(lambda x=x, family=family: fit_mle(x, family, draws=2)["fit"])
        has_fit = getattr(case.member(case.truth), "dist", None) is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best, theirs = timed(lambda x=x, case=case, own=has_fit: case.scipys(x) if own else case.best(x))
        rows.append(
            (case.name + ("" if has_fit else " (Nelder-Mead)"), float(fit["log_likelihood"]), ours, best, theirs)
        )
    rows.append(mixture())
    print(f"\n{'family':45s} {'ours':>16s} {'s':>7s} {'scipy':>16s} {'s':>7s}  difference")
    for name, value, ours, best, theirs in rows:
        print(f"{name:45s} {value:16.6f} {ours:7.3f} {best:16.6f} {theirs:7.3f}  {value - best:+.2e}")
    print(f"{'together':45s} {'':16s} {sum(r[2] for r in rows):7.3f} {'':16s} {sum(r[4] for r in rows):7.3f}")
    return rows


def mixture() -> tuple[str, float, float, float, float]:
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(0)
    x = np.where(rng.random(N) < 0.4, rng.normal(-3, 1, N), rng.normal(2, 2, N))
    fit_mle(x[:100], normal_mixture(2), draws=2)
    fit, ours = timed(lambda: fit_mle(x, normal_mixture(2), draws=2)["fit"])
    em, theirs = timed(lambda: GaussianMixture(2, n_init=10, tol=1e-8, max_iter=2000, random_state=0).fit(x[:, None]))
    return "normal_mixture(2) (scikit-learn)", float(fit["log_likelihood"]), ours, em.score(x[:, None]) * N, theirs


def test_no_log_likelihood_is_below_theirs(table: list[tuple[str, float, float, float, float]]) -> None:
    below = {name: value - best for name, value, _, best, _ in table if value < best - TOLERANCE * abs(best)}
    assert not below


def test_the_set_takes_no_longer_than_theirs(table: list[tuple[str, float, float, float, float]]) -> None:
    assert sum(row[2] for row in table) <= sum(row[4] for row in table)
