"""The search on functions whose stationary points are known, with and without the help of the index sum."""

from __future__ import annotations

import numpy as np
import pytest

from models.projections.stationary import between, distinct, index_sum, newton, search

UNIT = np.ones(2)


class Himmelblau:
    """(x^2 + y - 11)^2 + (x + y^2 - 7)^2: four minima, four saddles, one maximum."""

    def gradient(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = thetas.T
        a, b = x**2 + y - 11, x + y**2 - 7
        return a**2 + b**2, np.stack([4 * a * x + 2 * b, 2 * a + 4 * b * y], axis=1)

    def hessian(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = thetas.T
        xx, yy, xy = 12 * x**2 + 4 * y - 42, 12 * y**2 + 4 * x - 26, 4 * (x + y)
        return *self.gradient(thetas), np.moveaxis(np.array([[xx, xy], [xy, yy]]), 2, 0)


#: Himmelblau (1972), p. 428: the minima to six digits.
MINIMA = np.array([[3.0, 2.0], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848127]])


def everywhere(thetas: np.ndarray) -> np.ndarray:
    return np.ones(len(thetas), dtype=bool)


def refine(thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    function = Himmelblau()
    for _ in range(5):
        _, gradient, hessian = function.hessian(thetas)
        thetas = thetas - np.linalg.solve(hessian, gradient[..., None])[..., 0]
    return thetas, function.hessian(thetas)[2]


def test_search_goes_on_until_the_signs_sum_to_one() -> None:
    # A single start cannot see the other eight points: the index sum keeps asking for them.
    points, hessians, index = search(Himmelblau(), refine, np.array([[1.0, 1.0]]), UNIT, inside=everywhere)
    assert index == 1
    assert np.abs(Himmelblau().gradient(points)[1]).max() < 1e-9
    kinds = np.sign(np.linalg.eigvalsh(hessians)).sum(axis=1)
    assert (kinds == 2).sum() + (kinds == -2).sum() - (kinds == 0).sum() == 1
    assert len(points) > 1


def test_search_from_a_grid_finds_all_nine() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-5, 5, 7), np.linspace(-5, 5, 7)), axis=-1).reshape(-1, 2)
    points, hessians, index = search(Himmelblau(), refine, grid, UNIT, inside=everywhere)
    eigenvalues = np.linalg.eigvalsh(hessians)
    found = points[eigenvalues[:, 0] > 0]
    assert (len(points), index) == (9, 1)
    for minimum in MINIMA:
        assert np.linalg.norm(found - minimum, axis=1).min() < 1e-6


def test_search_honours_the_region_and_the_index_found_elsewhere() -> None:
    def right(thetas: np.ndarray) -> np.ndarray:
        return thetas[:, 0] > 0

    grid = np.stack(np.meshgrid(np.linspace(-5, 5, 7), np.linspace(-5, 5, 7)), axis=-1).reshape(-1, 2)
    points, hessians, index = search(Himmelblau(), refine, grid, UNIT, inside=right, other_index=3)
    assert (points[:, 0] > 0).all()
    assert index == index_sum(hessians) + 3


def test_downhill_reaches_minima_only_and_root_finding_any_point() -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(-5, 5, (60, 2))
    down = newton(Himmelblau(), starts, UNIT, downhill=True)
    assert (np.linalg.eigvalsh(Himmelblau().hessian(down)[2]) > 0).all()
    any_ = newton(Himmelblau(), starts, UNIT, downhill=False)
    assert (np.linalg.eigvalsh(Himmelblau().hessian(any_)[2])[:, 0] < 0).any()


def test_distinct_drops_repeats_of_one_another_and_of_known_points() -> None:
    points = np.array([[0.0, 0.0], [1e-6, 0.0], [1.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(distinct(points, UNIT, 1e-3, known=[np.array([2.0, 0.0])]), [[0, 0], [1, 0]])
    # A coordinate counts in its own unit.
    assert len(distinct(points, np.array([1e4, 1.0]), 1e-3)) == 1


def test_between_divides_the_way_to_the_closest() -> None:
    points = np.array([[0.0, 0.0], [4.0, 0.0], [100.0, 0.0]])
    np.testing.assert_allclose(between(points, points[:1], 1, 3), [[1, 0], [2, 0], [3, 0]])


@pytest.mark.parametrize(("eigenvalues", "sign"), [((1, 2), 1), ((-1, 2), -1), ((-1, -2), 1)])
def test_index_counts_signs_of_determinants(eigenvalues: tuple[float, float], sign: int) -> None:
    assert index_sum(np.diag(eigenvalues)[None].astype(float)) == sign
