"""Which moves are symmetries of a density: of densities written down here, about whose variables everything is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.advi import symmetries as room
from models.advi.labels import Variable
from models.advi.symmetries import Move, symmetries

Array = NDArray[np.float64]


class Known:
    """What `symmetries` asks of a target."""

    def __init__(self, dim: int, density: Callable[[Array], Array]) -> None:
        self.dim, self.initial_point, self._density = dim, np.zeros(dim), density

    def log_density(self, points: Array) -> tuple[Array, None]:
        return self._density(points), None


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[Move]]:
    def find(density: Callable[[Array], Array], *shapes: tuple[int, ...]) -> set[Move]:
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        known = tuple(Variable(slice(a, b), shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False))
        monkeypatch.setattr(room, "variables", lambda _target: known)
        target: Any = Known(int(ends[-1]), density)
        return set(symmetries(target))

    return find


ORDERS = [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def test_a_variable_that_is_merely_as_long_as_labels_are_many_stays_as_it_is(found: Callable[..., set[Move]]) -> None:
    def density(x: Array) -> Array:
        labels = np.exp(-((x[:, :3] - 1) ** 2) + x[:, 3:6]).sum(axis=1)
        return np.log(labels) - ((x[:, 6:9] - [1, 2, 3]) ** 2).sum(axis=1) - np.exp(x[:, 9])

    assert found(density, (3,), (3,), (3,), ()) == {Move(order, ((0,), (0,), (), ()), ()) for order in ORDERS}


def test_labels_told_apart_by_their_prior_have_no_symmetry(found: Callable[..., set[Move]]) -> None:
    assert found(lambda x: -((x - [0.9, 1.0, 1.1]) ** 2).sum(axis=1), (3,)) == set()


def test_the_logit_of_two_weights_changes_sign_with_their_labels(found: Callable[..., set[Move]]) -> None:
    def density(x: Array) -> Array:
        return np.logaddexp(x[:, 2] / 2 - (x[:, 0] - 1) ** 2, -x[:, 2] / 2 - (x[:, 1] - 1) ** 2)

    assert found(density, (2,), ()) == {Move((1, 0), ((0,), ()), (1,))}


def test_loadings_and_scores_change_sign_together_and_the_noise_does_not(found: Callable[..., set[Move]]) -> None:
    def density(x: Array) -> Array:
        product = x[:, :2, None] * x[:, None, 2:6]
        return -((product - np.arange(8.0).reshape(2, 4)) ** 2).sum(axis=(1, 2)) * np.exp(x[:, 6]) + 8 * x[:, 6]

    assert found(density, (2,), (4,), ()) == {Move((), ((), (), ()), (0, 1))}


def test_a_density_that_is_nowhere_finite_has_none(found: Callable[..., set[Move]]) -> None:
    assert found(lambda x: np.full(len(x), -np.inf), (3,)) == set()
