"""Modes, which of them an approximation covers, and which are no separate ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from models.own_model.modes import Mode, ascend, assign, has, places, stand_in
from models.own_model.ridges import joined

Array = NDArray[np.float64]


def mixed(weights: Array, means: Array, sds: Array) -> tuple[object, object]:
    """Log density with its slope, and a sampler, of a mixture of Normals with these sds (k, d) along the axes."""

    def density(points: Array) -> tuple[Array, Array]:
        z = (np.asarray(points)[:, None] - means) / sds
        parts = np.log(weights) - 0.5 * np.square(z).sum(axis=2) - np.log(sds).sum(axis=1)
        return logsumexp(parts, axis=1), -(softmax(parts, axis=1)[:, :, None] * z / sds).sum(axis=1)

    def draw(n: int) -> Array:
        rng = np.random.default_rng(1)
        k = rng.choice(len(weights), size=n, p=weights)
        return means[k] + sds[k] * rng.standard_normal((n, means.shape[1]))

    return density, draw


def test_a_spike_under_a_wide_optimum_is_not_covered() -> None:
    """Half of the mass within .03 of zero, where a standard Normal has 2 % of its draws: within its sds in position alone."""
    density, draw = mixed(np.array([0.5, 0.5]), np.zeros((2, 1)), np.array([[0.01], [1.0]]))
    modes = ascend(density, [np.array([x]) for x in (-1.0, 0.001, 0.5)])  # type: ignore[arg-type]
    assert len(modes) == 1
    height = float(density(np.array([[0.034]]))[0][0])  # type: ignore[operator]
    # Linear response sees the spike's flank, and makes it narrower than it is.
    wide = stand_in(np.array([0.034]), height, np.array([[0.195]]), -0.61, np.array([[0.957]]))
    assert not wide.hollow
    spike = Mode(np.zeros(1), modes[0].height, np.array([[0.0105]]), -0.66)
    found = places(density, modes, [wide, spike])  # type: ignore[arg-type]
    assert found == [modes[0], wide]
    mass = np.bincount(assign(found, draw(20_000))) / 20_000  # type: ignore[operator]
    assert abs(mass[0] - 0.5) < 0.03
    z = np.random.default_rng(0).standard_normal((2000, 1))
    assert has(found, wide.place + 0.957 * z, mass) == [False, True]
    assert has(found, 0.0105 * z, mass) == [True, False]
    assert places(density, modes, [spike]) == modes  # type: ignore[arg-type]


def test_a_spike_on_the_flank_of_a_wide_mode_is_a_mode_of_its_own() -> None:
    """The density rises all the way from the top of one to that of the other."""
    density, draw = mixed(np.array([0.4, 0.6]), np.array([[0.0, 0], [1.0, 0]]), np.array([[1.5, 1], [0.05, 1]]))
    modes = ascend(density, [np.zeros(2), np.array([1.0, 0.1])])  # type: ignore[arg-type]
    assert [round(float(m.place[0]), 1) for m in modes] == [1.0, 0.0]
    mass = np.bincount(assign(modes, draw(20_000))) / 20_000  # type: ignore[operator]
    assert abs(mass[0] - 0.6) < 0.03


def test_one_mode_is_covered_wherever_the_optimum_is() -> None:
    """As in a funnel, whose mode is far from its mass."""
    mode = Mode(np.zeros(1), 0.0, np.eye(1))
    assert has([mode], np.full((10, 1), 50.0), np.ones(1)) == [True]
    assert has([], np.zeros((10, 1)), np.empty(0)) == []


def sphere(points: Array) -> tuple[Array, Array]:
    """Of a vector in three dimensions only the square of its length is measured, as 9 +- 0.5."""
    x = np.asarray(points)
    off = (np.square(x).sum(axis=1) - 9) / 0.25
    return -0.125 * np.square(off), -off[:, None] * 2 * x


def test_a_spike_and_what_is_wide_about_it_are_no_ridge() -> None:
    spike, wide = (Mode(np.zeros(2), 0.0, sd * np.eye(2)) for sd in (0.05, 1.0))
    assert joined(sphere, [spike, wide]) == ([spike, wide], 0)  # type: ignore[arg-type]


def test_places_all_over_a_sphere_are_one_ridge() -> None:
    rng = np.random.default_rng(0)
    way = rng.standard_normal((30, 3))
    ends = 3 * way / np.linalg.norm(way, axis=1)[:, None]
    modes = [Mode(x, 0.0, np.diag(rng.uniform(1, 1000, 3))) for x in ends]
    beside = np.array([0.0, 0.0, 2.9])
    optimum = Mode(beside, float(sphere(beside[None])[0][0]), 0.5 * np.eye(3), -7.4)
    found, count = joined(sphere, [*modes, optimum])  # type: ignore[arg-type]
    assert found == modes[:1]
    assert count == 31


def test_modes_and_spikes_are_no_ridge() -> None:
    """Ascents from between two modes slide to one of them; a spike is higher than what it stands on."""
    density, _ = mixed(np.full(3, 1 / 3), np.array([[-3.0, 0], [3.0, 0], [0.0, 4.0]]), np.ones((3, 2)))
    three = ascend(density, [np.array([x, y]) for x, y in ((-3.0, 0.1), (2.9, 0.0), (0.0, 4.0))])  # type: ignore[arg-type]
    assert joined(density, three) == (three, 0)  # type: ignore[arg-type]
    density, _ = mixed(np.array([0.5, 0.5]), np.zeros((2, 1)), np.array([[0.01], [1.0]]))
    spike = ascend(density, [np.zeros(1)])  # type: ignore[arg-type]
    wide = Mode(np.array([0.3]), float(density(np.array([[0.3]]))[0][0]), np.array([[0.9]]), -0.61)  # type: ignore[operator]
    assert joined(density, [*spike, wide])[1] == 0  # type: ignore[arg-type]


def test_a_wide_optimum_between_two_modes_is_no_place_of_its_own() -> None:
    """It covers both, far wider than either, with its mass where they are: the density at its place is low."""
    density, _ = mixed(np.array([0.5, 0.5]), np.array([[-6.0], [6.0]]), np.ones((2, 1)))
    modes = ascend(density, [np.array([-5.9]), np.array([6.1])])  # type: ignore[arg-type]
    x = np.linspace(-40, 40, 4001)[:, None]
    q = np.exp(-0.5 * (x[:, 0] / 6.1) ** 2) / (6.1 * np.sqrt(2 * np.pi))
    elbo = float((q * density(x)[0]).sum() * 0.02 + 0.5 * np.log(2 * np.pi * np.e) + np.log(6.1))  # type: ignore[operator]
    between = stand_in(np.zeros(1), float(density(np.zeros((1, 1)))[0][0]), np.array([[20.0]]), elbo, np.array([[6.1]]))  # type: ignore[operator]
    assert between.hollow
    assert places(density, modes, [between]) == modes  # type: ignore[arg-type]
    homes = [stand_in(m.place, m.height, m.factor, -0.7, m.factor) for m in modes]
    assert places(density, modes, [*homes, between]) == modes  # type: ignore[arg-type]
