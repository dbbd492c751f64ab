"""A grid on densities thinner than its first cells: right, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from models.graphs.log_density import LogDensity
from models.own_model.grid import by_grid
from models.own_model.modes import ascend
from models.own_model.moments import of_reference, settles
from models.targets import Target, mvnormal_mixture, normal_mixture

Array = NDArray[np.float64]


@pytest.mark.parametrize("known", [True, False])
def test_a_ridge_across_the_unknowns_is_resolved(known: bool) -> None:
    """As of a straight line over calendar years: correlated by .99999, each sd 200 times the width of the ridge."""
    cov = np.array([[1.0, -0.99999], [-0.99999, 1.0]])
    target = mvnormal_mixture([1], [[3.0, -2.0]], [cov])
    modes = ascend(target.log_density, [np.zeros(2)]) if known else []
    found = by_grid(target, target.rvs(1000, 1), modes, seed=0)
    assert found.ok
    assert found.log_evidence is not None
    assert found.log_evidence.value == pytest.approx(0, abs=1e-9)
    cells = found.cells
    assert cells is not None
    mean = cells.mass @ cells.points
    np.testing.assert_allclose(mean, [3, -2], atol=1e-8)
    np.testing.assert_allclose((cells.mass * (cells.points - mean).T) @ (cells.points - mean), cov, atol=1e-8)
    assert found.flat.sum(axis=1).std() == pytest.approx(np.sqrt(2e-5), rel=0.05)


def test_a_narrow_mode_that_is_known_has_its_mass() -> None:
    target = normal_mixture([0.3, 0.7], [1.37, 0], [1e-3, 10.0])
    modes = ascend(target.log_density, [np.array([1.37]), np.array([0.0])])
    found = by_grid(target, np.linspace(-30, 30, 100)[:, None], modes, seed=0)
    assert found.ok
    assert (np.abs(found.flat - 1.37) < 0.01).mean() == pytest.approx(0.3, abs=0.03)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ring(Target):
    """A circle of radius 3 about the origin, with this sd across it; not normalised."""

    sd: float

    @property
    def log_density(self) -> LogDensity:
        def density(points: Array) -> tuple[Array, Array]:
            radius = np.linalg.norm(points, axis=1)
            off = (radius - 3) / self.sd
            return -0.5 * off**2, -(off / self.sd / radius)[:, None] * points

        return cast("LogDensity", density)


def test_a_thin_bent_ridge_is_resolved_or_refused() -> None:
    angle = np.linspace(0, 2 * np.pi, 100)
    around = 3 * np.column_stack([np.cos(angle), np.sin(angle)])
    found = by_grid(Ring(name="ring", dim=2, sd=0.01), around, seed=0)
    assert found.ok
    assert found.log_evidence is not None
    assert found.log_evidence.value == pytest.approx(np.log(6 * np.pi * 0.01 * np.sqrt(2 * np.pi)), abs=1e-8)
    refused = by_grid(Ring(name="ring", dim=2, sd=1e-4), around, seed=0)
    assert refused.reasons == ("the posterior is thinner than the cells of the grid",)


@dataclass(frozen=True, eq=False, kw_only=True)
class Banana(Target):
    """x ~ N(0, 1) and y ~ N(x^2, .1^2), whose tail along y is that of a chi-squared."""

    @property
    def log_density(self) -> LogDensity:
        def density(points: Array) -> tuple[Array, Array]:
            x, off = points[:, 0], 100 * (points[:, 1] - points[:, 0] ** 2)
            return -0.5 * (x**2 + off**2 / 100), np.column_stack([2 * off * x - x, -off])

        return cast("LogDensity", density)


def test_a_box_grows_until_next_to_nothing_lies_beyond() -> None:
    target = Banana(name="banana", dim=2)
    x = np.linspace(-2.5, 2.5, 101)  # as few draws reach
    found = of_reference(target, by_grid(target, np.column_stack([x, x**2]), seed=0))
    np.testing.assert_allclose(found.mean, [0, 1], atol=1e-4)
    np.testing.assert_allclose(found.sd, [1, np.sqrt(2.01)], rtol=1e-4)
    assert (found.sd_error < 1e-3).all()


@dataclass(frozen=True, eq=False, kw_only=True)
class LogNormal(Target):
    """Whose logarithm has this sd."""

    sd: float

    @property
    def log_density(self) -> LogDensity:
        def density(points: Array) -> tuple[Array, Array]:
            z = points / self.sd
            return -0.5 * z[:, 0] ** 2, -z / self.sd

        return cast("LogDensity", density)

    def natural(self, points: ArrayLike) -> dict[str, Array]:
        return {"x": np.exp(np.asarray(points)[:, 0])}


@pytest.mark.parametrize(("sd", "known"), [(1.0, True), (2.0, True), (5.0, False)])
def test_moments_that_what_a_grid_leaves_out_makes_are_open(sd: float, known: bool) -> None:
    """That of a lognormal of 5 comes from 10 sds out, e^-50 times as high; none of its moments is infinite."""
    target = LogNormal(name="lognormal", dim=1, sd=sd)
    found = of_reference(target, by_grid(target, np.linspace(-4 * sd, 4 * sd, 100)[:, None], seed=0))
    assert settles(found.sd, found.sd_error)[0] == known
    assert np.isfinite([found.mean_error, found.sd_error]).all()
    if known:
        exact = np.exp(sd**2) * np.sqrt(-np.expm1(-(sd**2)))
        assert found.sd[0] == pytest.approx(exact, rel=1e-3 + 3 * found.sd_error[0] / found.sd[0])
