"""Clustered data, on which the likelihood of densities with heavy tails has a maximum at each cluster: the highest is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize

from models.errors import ConvergenceError
from models.families import FAMILIES, Family, student_t
from models.mle import fit_mle

Array = NDArray[np.float64]
FAMILY: dict[str, tuple[Family, Callable[[Array], float | None]]] = {
    "student_t": (FAMILIES["student_t"], lambda theta: float(np.exp(np.clip(theta[2], -5, 10)))),
    "student_t(2)": (student_t(2.0), lambda _theta: 2.0),
    "cauchy": (FAMILIES["cauchy"], lambda _theta: 1.0),
    "logistic": (FAMILIES["logistic"], lambda _theta: None),
}


def clusters(weights: list[float], places: list[float], n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.choice(places, n, p=weights) + rng.normal(size=n))


def highest(name: str, x: Array, places: list[float]) -> float:
    """By Nelder and Mead's method from every place, narrow and wide."""

    def loss(theta: Array) -> float:
        nu, sigma = FAMILY[name][1](theta), np.exp(np.clip(theta[1], -10, 10))
        law = stats.logistic(theta[0], sigma) if nu is None else stats.t(nu, theta[0], sigma)
        return -float(law.logpdf(x).sum())

    ends = [
        minimize(
            loss, [m, s, -0.5][: 3 if name == "student_t" else 2], method="Nelder-Mead", options={"fatol": 1e-9}
        ).fun
        for m in places
        for s in (0.0, float(np.log(x.std())))
    ]
    return -float(min(ends))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(
    ("weights", "places", "n"),
    [([0.35, 0.65], [-20.0, 20.0], 120), ([0.45, 0.55], [-8.0, 8.0], 60), ([0.3, 0.3, 0.4], [-30.0, 0.0, 9.0], 120)],
)
def test_no_likelihood_is_below_that_at_a_cluster(name: str, weights: list[float], places: list[float], n: int) -> None:
    x = clusters(weights, places, n, seed=103)
    found = float(fit_mle(x, FAMILY[name][0], draws=2)["fit"]["log_likelihood"])
    assert found >= highest(name, x, places) - 1e-6


def test_a_student_t_is_no_farther_than_the_cauchy_that_it_contains() -> None:
    x = clusters([0.35, 0.65], [-20.0, 20.0], 2000, seed=1)
    t, cauchy = (fit_mle(x, FAMILIES[name], draws=2)["fit"] for name in ("student_t", "cauchy"))
    assert float(t["log_likelihood"]) > float(cauchy["log_likelihood"])
    assert t["status"].item() == "converged"
    assert int(t["starts_degenerate"]) == 0


@pytest.mark.parametrize("name", ["student_t", "cauchy"])
def test_a_value_that_most_rows_have_leaves_no_maximum(name: str) -> None:
    x = np.concatenate([np.zeros(60), np.random.default_rng(1).normal(size=50)])
    with pytest.raises(ConvergenceError, match=r"unbounded: from all \d starts it collapsed on single observations"):
        fit_mle(x, FAMILIES[name], draws=2)
