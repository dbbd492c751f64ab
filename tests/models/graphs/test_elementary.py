"""Exponential and logarithm as arithmetic: against NumPy's, at the ends of what floats can hold, and wherever in an array they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from models.graphs.elementary import exp, log, log1p

RNG = np.random.default_rng(1)
CASES = [
    (exp, np.exp, RNG.uniform(-745, 709, 4096)),
    (exp, np.exp, RNG.normal(size=4096)),
    (log, np.log, np.exp(RNG.uniform(-740, 709, 4096))),
    (log, np.log, RNG.uniform(0.5, 2, 4096)),
    (log1p, np.log1p, RNG.uniform(0, 1, 4096)),
    (log1p, np.log1p, np.exp(RNG.uniform(-60, 0, 4096))),
]


def over(function: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A compiled loop, which takes several numbers at a time."""

    @njit
    def loop(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(len(x)):
            out[i] = function(x[i])

    def apply(x: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        loop(x, out)
        return out

    return apply


@pytest.mark.parametrize(("ours", "theirs", "x"), CASES)
def test_values_are_those_of_numpy_to_two_units_in_the_last_place(ours: Any, theirs: Any, x: np.ndarray) -> None:
    expected = theirs(x)
    assert np.abs((over(ours)(x) - expected) / np.spacing(np.abs(expected))).max() <= 2


@pytest.mark.parametrize(("ours", "theirs", "x"), CASES)
def test_a_value_does_not_depend_on_its_place(ours: Any, theirs: Any, x: np.ndarray) -> None:
    apply = over(ours)
    together = apply(x)
    for begin, size in ((0, 1), (1, 3), (5, 7), (3, 100)):
        np.testing.assert_array_equal(apply(x[begin : begin + size].copy()), together[begin : begin + size])


@pytest.mark.parametrize(
    ("ours", "theirs", "x"),
    [
        (
            exp,
            np.exp,
            [0.0, -0.0, np.inf, -np.inf, np.nan, 709.7, 709.79, 1e300, -708.0, -740.0, -745.1, -745.2, -1e300],
        ),
        (log, np.log, [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1.0, 5e-324, 1e-310, 2.3e-308, 1.7e308]),
        (log1p, np.log1p, [0.0, 5e-324, 1e-17, 1.0]),
    ],
)
def test_ends(ours: Any, theirs: Any, x: list[float]) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(over(ours)(np.array(x)), theirs(np.array(x)), rtol=1e-15, atol=5e-324)
