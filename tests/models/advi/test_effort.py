"""What a density costs decides how many nodes there are, and what the nodes leave open of an optimum is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.advi.effort import MOST_NUMBERS, draws_within, evaluations_within, looked_at, power_within
from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.propriety import improper_direction
from models.advi.refine import refine
from models.advi.shapes import MeanField
from models.graphs.log_density import LogDensity

Array = NDArray[np.float64]


def costing(seconds: float) -> LogDensity:
    found = LogDensity(lambda _x, _n: 1 / 0, np.zeros(1))
    found._seconds.append(seconds)
    return found


def skew(x: Array, _numbers: Array) -> tuple[Array, Array]:
    """Log density of two counts of a Poisson law with rate exp(2 x), x standard Normal, and its gradient."""
    return (8 * x - 2 * np.exp(2 * x) - x**2 / 2).sum(axis=1), 8 - 4 * np.exp(2 * x) - x


def test_nodes_are_as_many_as_the_seconds_and_the_memory_allow() -> None:
    point = np.zeros(3)
    assert power_within(costing(1e-6), point, 1.0, 12) == 12
    assert power_within(costing(1e-2), point, 10.0, 12) == 9  # a thousand evaluations
    assert power_within(costing(10.0), point, 10.0, 12) == 6
    assert power_within(costing(10.0), point, 10.0, 5) == 5
    wide = np.zeros(1503)
    power = power_within(costing(1e-9), wide, 10.0, 20)
    assert len(wide) * 2**power <= MOST_NUMBERS < len(wide) * 2 ** (power + 1)
    assert evaluations_within(costing(0.5), point, 10.0) == 20
    assert [draws_within(costing(c), point, 1.0, 10_000) for c in (1e-6, 1e-3, 1.0)] == [10_000, 1000, 200]
    assert looked_at(600.0) > looked_at(60.0) > looked_at(1e-3) > 0


def test_the_cost_of_an_evaluation_is_measured_once() -> None:
    calls = []

    def counted(x: Array, _numbers: Array) -> tuple[Array, Array]:
        calls.append(len(x))
        return skew(x, _numbers)

    density = LogDensity(counted, np.zeros(1))
    first = density.seconds(np.zeros(2))
    assert 0 < first < 0.1
    made = len(calls)
    assert density.seconds(np.zeros(2)) == first
    assert len(calls) == made


def test_a_hessian_that_would_take_too_long_is_not_at_hand() -> None:
    nodes, theta = fixed_nodes(2, power=4, seed=0)[0], np.array([0.3, 0.3, -1.0, -1.0])
    needed = len(nodes) * (1 + 2 * 2)
    loss = LogDensity(skew, np.zeros(1))
    assert FixedLoss(loss, MeanField(2), nodes, needed).hessian(theta) is not None
    assert FixedLoss(loss, MeanField(2), nodes, needed - 1).hessian(theta) is None
    slow = FixedLoss(loss, MeanField(2), nodes, needed - 1)
    assert rest(slow, descend(slow, theta)).kind == "unknown"


@pytest.mark.parametrize("power", [8, 11])
def test_the_nodes_error_of_an_optimum_is_how_far_other_nodes_put_it(power: int) -> None:
    density, shape = LogDensity(skew, np.zeros(1)), MeanField(1)
    found = [
        refine(density, shape, np.array([0.3, -1.0]), nats=1.0, relative=1.0, powers=(power, power), seed=100 * seed, stop=lambda: False)
        for seed in range(40)
    ]  # fmt: skip
    moments = np.array([[o.mean[0], np.log(o.sd[0])] for o in found])
    errors = np.array([np.sqrt(np.square(o.moves).sum(axis=0))[:, 0] for o in found if o.moves is not None])
    ratio = np.sqrt(np.square(errors).mean(axis=0)) / moments.std(axis=0, ddof=1)
    assert np.all((ratio > 0.6) & (ratio < 1.7))


def spiked(x: Array, _numbers: Array) -> tuple[Array, Array]:
    """Half a standard Normal, half one with an sd of 0.01, and the gradient of its log."""
    each = np.stack([-(x**2) / 2, np.log(100) - (x / 0.01) ** 2 / 2])
    value = np.logaddexp(*each)
    return value[:, 0], -x * (np.exp(each - value) * np.array([1.0, 1e4])[:, None, None]).sum(axis=0)


def test_a_spike_between_the_nodes_is_no_optimum_until_they_are_many() -> None:
    density, shape, start = LogDensity(spiked, np.zeros(1)), MeanField(1), np.array([0.034, np.log(0.957)])
    few, many = (
        refine(density, shape, start, nats=0.005, relative=0.01, powers=(11, last), seed=0, stop=lambda: False)
        for last in (11, 15)
    )
    assert few.node_shift > 0.03
    assert many.node_shift < 0.01
    assert many.mean[0] == pytest.approx(0.0, abs=0.002)
    assert many.sd[0] == pytest.approx(0.95795, abs=0.001)


@pytest.mark.parametrize(("height", "improper"), [(0.0, False), (-1e6, False), (-1e34, False), (None, True)])
def test_a_density_is_not_flat_where_rounding_hides_its_fall(height: float | None, improper: bool) -> None:
    """A start at which a scale is exp(40) has a log density of -1e34, beside which that of a mean is nothing."""

    def heights(x: Array, _numbers: Array) -> tuple[Array, Array]:
        return (np.zeros(len(x)) if height is None else height - (x[:, 0] / 2e7) ** 2 * 1e6), np.zeros_like(x)

    found = improper_direction(LogDensity(heights, np.zeros(1)), np.zeros(1), [np.ones(1)], 1.0)
    assert (found is not None) is improper
