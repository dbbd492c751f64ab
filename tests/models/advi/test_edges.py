"""Edges of a density that a Normal reaches and no node does, told from where floats end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from models.advi.edges import edge, edge_between
from models.graphs.log_density import LogDensity

Array = NDArray[np.float64]


def density(log_p: Callable[[Array], Array], slope: Callable[[Array], Array]) -> LogDensity:
    def of(points: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            return log_p(points[:, 0]), slope(points[:, 0])[:, None]

    return cast(LogDensity, of)


def below_zero(x: Array, value: Array) -> Array:
    return np.where(x > 0, value, -np.inf)


@pytest.mark.parametrize(
    ("log_p", "slope", "far"),
    [  # from 1.66 downwards, with an edge at 0: a scale as Normal, a rate of 300 events, and a flat density cut off
        (lambda x: below_zero(x, -2 * np.log(x) - 2.5 / x**2), lambda x: -2 / x + 5 / x**3, True),
        (lambda x: below_zero(x, 300 * np.log(x) - 180 * x), lambda x: 300 / x - 180, True),
        (lambda x: below_zero(x, -0.5 * x**2), lambda x: -x, True),
        # a sigmoid that is 1 to the last digit, what is too small for a float, and what fails by chance of its digits
        (lambda x: np.log1p(-expit(-40 * (x - 1))), lambda x: 40 * expit(-40 * (x - 1)), False),
        (lambda x: -np.exp(np.exp(-9 * (x - 1.66))), lambda x: 9 * np.exp(np.exp(-9 * (x - 1.66)) - 9 * (x - 1.66)), False),
        (lambda x: np.where(x + 0.3 * np.sin(1e4 * x) > 0.5, -x, np.nan), lambda x: -np.ones_like(x), False),
    ],
)  # fmt: skip
def test_a_density_that_ends_is_told_from_floats_that_do(
    log_p: Callable[[Array], Array], slope: Callable[[Array], Array], far: bool
) -> None:
    p, inside, outside = density(log_p, slope), np.array([1.66]), np.array([-1.34])
    assert not np.isfinite(p(outside[None])[0][0])
    found = edge_between(p, inside, outside)
    assert (found is not None) == far
    if found is not None:
        assert found == pytest.approx(1.66 / 3, abs=1e-6)


class Ordered:
    """Two standard Normals, the second of which has to be above the first by less than `gap`."""

    def __init__(self, gap: float) -> None:
        self.gap = gap

    def __call__(self, points: Array) -> tuple[Array, Array]:
        inside = points[:, 1] - points[:, 0] < self.gap
        return np.where(inside, -0.5 * np.square(points).sum(axis=1), -np.inf), -points

    def seconds(self, _point: Array) -> float:
        return 1e-6


@dataclass
class Known:
    log_density: Any


def test_an_edge_is_met_as_far_as_a_normal_has_mass_and_no_farther() -> None:
    mean, factor = np.zeros(2), np.diag([1.0, 1.0])
    found = edge(cast(Any, Known(Ordered(5.0))), mean, factor, seconds=1.0)
    assert found is not None
    point, sds = found
    assert point[1] - point[0] == pytest.approx(5, abs=1e-3)
    assert 5 / np.sqrt(2) <= sds <= 8
    assert np.linalg.norm(point) == pytest.approx(sds, abs=1e-3)
    assert edge(cast(Any, Known(Ordered(12.0))), mean, factor, seconds=1.0) is None
    assert edge(cast(Any, Known(Ordered(5.0))), mean, factor, seconds=1e-6) is None  # no time to look
