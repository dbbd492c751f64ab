"""Along which axes a density jumps."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.graphs.log_density import LogDensity
from models.own_model.jumps import _along_axes

Array = NDArray[np.float64]


def test_a_jump_is_told_from_a_kink_a_steep_slope_and_the_end_of_the_support() -> None:
    """Along the first axis it jumps by 0.3 nats at 0.4; a Laplace's kink, a wall of 1000 nats that has a slope everywhere, and an end where it is 0 are none."""

    def density(x: Array) -> tuple[Array, Array]:
        wall = np.tanh(1e4 * (x[:, 2] - 0.3))
        value = -0.5 * x[:, 0] ** 2 + 0.3 * (x[:, 0] < 0.4) - 5 * np.abs(x[:, 1]) + 500 * wall
        slope = np.column_stack([-x[:, 0], -5 * np.sign(x[:, 1]), 5e6 * (1 - wall**2), np.zeros(len(x))])
        return np.where(x[:, 3] < 0.5, value, -np.inf), slope

    points = np.random.default_rng(0).standard_normal((200, 4))
    points[:, 3] = -np.abs(points[:, 3])
    assert _along_axes(cast("LogDensity", density), points).tolist() == [True, False, False, False]
