"""The evidence that a run has arrived, against exact distances from the optimum."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

from models.advi.convergence import gather, windowed_decrease
from models.advi.runs import Loss, draw_noise
from models.families import FAMILIES
from models.projections import minima, reverse_projections
from models.projections.exact import exact_objective
from models.targets import TARGETS, from_model, mvnormal_mixture

NORMAL, BIMODAL = FAMILIES["normal"], TARGETS["bimodal"]


def evidence(mean: float, sd: float):  # type: ignore[no-untyped-def]
    return gather(Loss(BIMODAL.log_density), np.array([[mean]]), np.array([[[sd]]]), nats=1e-3, relative=0.01)


@pytest.mark.parametrize(("shift", "stretch"), [(0.05, 0.0), (0.0, 0.05), (0.03, -0.04)])
def test_gap_is_the_distance_to_the_minimum_in_nats(shift: float, stretch: float) -> None:
    exact = exact_objective(NORMAL, BIMODAL, 0.0).at(2)
    for point in minima(reverse_projections(BIMODAL, NORMAL)):
        m, s = float(point.params["mu"]), float(point.params["sigma"])
        mean, sd = m + shift * s, s * np.exp(stretch)
        true = float(exact.gradient(np.array([[mean, np.log(sd)]]))[0][0]) - point.divergence.value
        found = evidence(mean, sd)
        assert float(found.gap[0]) == pytest.approx(true, rel=0.25, abs=2e-4)
        assert float(found.shift[0]) == pytest.approx(max(abs(shift), abs(stretch)), rel=0.35, abs=0.005)
        assert not found.arrived(1e-4, 1e-3)[0]


def test_at_a_minimum_nothing_is_left_to_gain() -> None:
    for point in minima(reverse_projections(BIMODAL, NORMAL)):
        found = evidence(float(point.params["mu"]), float(point.params["sigma"]))
        assert found.gap[0] < 2e-5
        assert found.arrived(1e-3, 0.01)[0]


@pytest.mark.parametrize("aside", [0.0, 0.001, 0.02])
def test_a_saddle_is_no_arrival(aside: float) -> None:
    """Between two minima the gradient vanishes, and a line along what noise leaves of it may well rise."""
    saddles = [p for p in reverse_projections(BIMODAL, NORMAL) if p.status == "saddle"]
    assert len(saddles) == 2
    for saddle in saddles:
        m, s = float(saddle.params["mu"]), float(saddle.params["sigma"])
        assert not evidence(m + aside, s * (1 + aside / 2)).arrived(1e-3, 0.01)[0]


def test_a_flat_valley_is_seen_whatever_the_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Normal with correlation 0.99, fitted by mean field: the gradient of a shift along the ridge is small, the way long."""
    cov = np.array([[1.0, 0.99], [0.99, 1.0]])
    target = mvnormal_mixture([1.0], [[0.0, 0.0]], [cov])
    sd = np.sqrt(1 / np.diag(np.linalg.inv(cov)))
    away = np.array([[0.0205, 0.0195]])  # 0.14 sds of the fit, 2e-4 nats, and the gradient points across the ridge
    loss = Loss(target.log_density)
    far, there = (gather(loss, mean, np.diag(sd)[None], nats=1e-3, relative=0.01) for mean in (away, np.zeros((1, 2))))
    assert far.shift[0] == pytest.approx(0.0205 / sd[0], rel=0.05)
    assert not far.arrived(1e-3, 0.01)[0]
    assert there.arrived(1e-3, 0.01)[0]
    # In sds of the fit the Hessian of the means is that of the Normal: eigenvalues 1 - 0.99 and 1 + 0.99.
    assert there.curvature[0] == pytest.approx(0.01, rel=0.05)
    monkeypatch.setattr("models.advi.convergence._MOST_PARAMETERS", 0)
    assert gather(loss, away, np.diag(sd)[None], nats=1e-3, relative=0.01).shift[0] < 0.05


def test_few_nodes_do_not_flag_an_exact_optimum_with_a_heavy_integrand() -> None:
    """An unknown scale: exp(-2 log s) under a Normal of log s, whose tail 1024 nodes miss in both halves alike."""
    with pm.Model() as model:
        a, s = pm.Normal("a", 0, 3), pm.HalfNormal("s", 2)
        pm.Normal("y", a**2, s, observed=np.array([3.8, 4.1, 4.4, 3.9]))
    target = from_model(model)
    best = minima(reverse_projections(target, FAMILIES["mvnormal_diag"]))[0]
    mean, factor = best.params["mu"][None], np.diag(best.params["sigma"])[None]
    loss = Loss(target.log_density)
    assert gather(loss, mean, factor, nats=5e-4, relative=5e-3).arrived(5e-4, 5e-3)[0]
    wide = factor * (1 + np.diag([0.0, 0.015]))  # 1.5% too large in one of them
    assert not gather(loss, mean, wide, nats=5e-4, relative=5e-3).arrived(5e-4, 5e-3)[0]


def test_units_do_not_matter() -> None:
    """A target stretched a thousandfold has the same evidence."""
    small = mvnormal_mixture([0.4, 0.6], [[-2, 0], [2, 1]], [np.eye(2), np.eye(2)])
    large = mvnormal_mixture([0.4, 0.6], 1e3 * np.array([[-2, 0], [2, 1]]), 1e6 * np.array([np.eye(2), np.eye(2)]))
    mean, factor = np.array([[0.3, 0.5]]), np.array([[[2.0, 0.0], [0.3, 1.2]]])
    a = gather(Loss(small.log_density), mean, factor, nats=1e-3, relative=0.01)
    b = gather(Loss(large.log_density), 1e3 * mean, 1e3 * factor, nats=1e-3, relative=0.01)
    np.testing.assert_allclose([a.gap, a.shift, a.curvature], [b.gap, b.shift, b.curvature], rtol=1e-6)


def test_windowed_decrease() -> None:
    rng = np.random.default_rng(0)
    falling, steady = np.linspace(5, 0, 1000) + rng.normal(0, 0.1, 1000), rng.normal(0, 0.1, 1000)
    decrease, error = windowed_decrease(np.stack([falling, steady]))
    assert decrease[0] == pytest.approx(0.5, abs=5 * error[0])
    assert abs(decrease[1]) < 4 * error[1]


def test_a_latin_hypercube_has_one_draw_in_every_slice() -> None:
    from scipy.stats import norm

    z = draw_noise([np.random.default_rng(i) for i in (1, 2)], 5, 8, 3, "latin hypercube")
    assert z.shape == (5, 8, 2, 3)
    slices = np.sort(np.floor(8 * norm.cdf(z)), axis=1)
    np.testing.assert_array_equal(slices, np.broadcast_to(np.arange(8.0)[:, None, None], slices.shape))
    assert not np.array_equal(z[:, :, 0], z[:, :, 1])
    independent = draw_noise([np.random.default_rng(1)], 5, 8, 3, "independent")
    np.testing.assert_array_equal(independent[:, :, 0], np.random.default_rng(1).standard_normal((5, 8, 3)))
