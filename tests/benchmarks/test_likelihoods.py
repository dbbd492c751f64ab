"""Highest log likelihoods and times beside scipy's own fits, on a data set of each family: pytest tests/benchmarks/test_likelihoods.py -s."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.families import FAMILIES, mvnormal_mixture, normal_mixture
from models.mle import fit_mle
from tests.likelihoods import CASES

Array = NDArray[np.float64]
#: Name, our log likelihood and seconds, theirs and seconds.
Row = tuple[str, float, float, float, float]
N = 10_000
#: Nats below scipy, relative, that count as none.
TOLERANCE = 1e-6


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


@pytest.fixture(scope="module")
def table() -> list[Row]:
    """Beside scipy's fit where it has one, else Nelder and Mead's method."""
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
    rows += [*mixtures(), discrete_weibull()]
    print(f"\n{'family':45s} {'ours':>16s} {'s':>7s} {'scipy':>16s} {'s':>7s}  difference")
    for name, value, ours, best, theirs in rows:
        print(f"{name:45s} {value:16.6f} {ours:7.3f} {best:16.6f} {theirs:7.3f}  {value - best:+.2e}")
    print(f"{'together':45s} {'':16s} {sum(r[2] for r in rows):7.3f} {'':16s} {sum(r[4] for r in rows):7.3f}")
    return rows


def mixture(x: Array, k: int) -> Row:
    """A mixture of k Normals beside scikit-learn's, which begins as often."""
    from sklearn.mixture import GaussianMixture

    dim = x.shape[1]
    family = normal_mixture(k) if dim == 1 else mvnormal_mixture(k)
    fit_mle(x[:200], family, draws=2)
    fit, ours = timed(lambda: fit_mle(x, family, draws=2)["fit"])
    em, theirs = timed(lambda: GaussianMixture(k, n_init=10, tol=1e-8, max_iter=2000, random_state=0).fit(x))
    return f"{family.name} (scikit-learn)", float(fit["log_likelihood"]), ours, em.score(x) * N, theirs


def mixtures() -> list[Row]:
    rng = np.random.default_rng(0)
    pick, z = rng.random(N), rng.normal(size=(N, 2))
    two = np.where(pick < 0.4, z[:, 0] - 3, 2 * z[:, 0] + 2)
    three = np.where(pick < 0.7, two, 0.5 * z[:, 1] + 8)
    plane = np.where(pick[:, None] < 0.4, z + np.array([4.0, 0.0]), z @ np.array([[1, 0.8], [0, 0.6]]))
    return [mixture(two[:, None], 2), mixture(three[:, None], 3), mixture(plane, 2)]


def discrete_weibull() -> Row:
    """Beside Nelder and Mead's method on P(X >= k) = q^(k^beta)."""
    x = np.floor(np.random.default_rng(3).weibull(0.8, N) * 5)
    fit_mle(x[:50], FAMILIES["discrete_weibull"], draws=2)
    fit, ours = timed(lambda: fit_mle(x, FAMILIES["discrete_weibull"], draws=2)["fit"])
    values, counts = np.unique(x, return_counts=True)

    def loss(u: Array) -> float:
        log_q, beta = -np.exp(u[0]), np.exp(u[1])
        return -float(counts @ np.log(np.exp(values**beta * log_q) - np.exp((values + 1) ** beta * log_q)))

    with np.errstate(all="ignore"):
        found, theirs = timed(lambda: minimize(loss, [-1.0, 0.0], method="Nelder-Mead", options={"fatol": 1e-9}))
    return "discrete_weibull (Nelder-Mead)", float(fit["log_likelihood"]), ours, -float(found.fun), theirs


def test_no_log_likelihood_is_below_theirs(table: list[Row]) -> None:
    below = {name: value - best for name, value, _, best, _ in table if value < best - TOLERANCE * abs(best)}
    assert not below


def test_the_set_takes_no_longer_than_theirs(table: list[Row]) -> None:
    assert sum(row[2] for row in table) <= sum(row[4] for row in table)
