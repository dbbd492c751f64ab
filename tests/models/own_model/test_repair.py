"""Which optima stand for modes, and the repair made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, polygamma

from models.own_model.comparison import kl_forward, kl_forward_fitted, kl_reverse, nearer
from models.own_model.examine import _Found
from models.own_model.masses import masses
from models.own_model.mixture import best, judged, repair, weighed
from models.own_model.modes import Mode, ascend, assign, places, stand_in
from models.own_model.reference import Cells, Reference
from models.own_model.tempering import move
from models.quadrature import Estimate
from models.targets import Target, mvnormal_mixture, normal_mixture

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class LogGamma(Target):
    """The log of a Gamma variable of this shape, whose log density falls like a line on its left; not normalised."""

    shape: float

    def logp(self, points: Array) -> Array:
        x = np.reshape(points, (-1,))
        with np.errstate(over="ignore"):
            return self.shape * x - np.exp(x)


def optimum(place: list[float], sd: list[float], elbo: float, height: float = 0.0) -> Mode:
    return stand_in(np.array(place), height, np.diag(sd), elbo, np.diag(sd))


def two_ridges(points: Array) -> tuple[Array, Array]:
    """Two clusters of x beside the log of a scale, along which the density rises for ever: no modes."""
    x, v = np.asarray(points).T
    a, b = -0.5 * (x - 8) ** 2, -0.5 * (x + 8) ** 2
    return np.logaddexp(a, b) - 3 * v, np.zeros_like(points)


def test_optima_stand_for_modes_where_a_density_has_none() -> None:
    height = float(two_ridges(np.array([[8.0, 0.0]]))[0][0])
    right, left = (optimum([x, 0.0], [1.0, 0.5], elbo, height) for x, elbo in ((8.0, -1.0), (-8.0, -1.2)))
    between = optimum([0.0, 0.0], [7.0, 0.5], -4.0, -30.0)  # covers both
    beside = optimum([12.0, 0.0], [1.0, 0.5], -2.0, -8.0)  # on the flank of one: no dip between
    found = places(two_ridges, [], [right, left, between, beside])  # type: ignore[arg-type]
    assert found == [right, left]
    assert places(two_ridges, [], [right, between]) == []  # type: ignore[arg-type]
    points = np.array([[8.0, -9.0], [-8.0, -9.0], [-7.0, 2.0]])
    assert assign(found, points).tolist() == [0, 1, 1]


def test_an_optimum_far_from_its_mode_is_no_place_of_its_own_but_a_second_one_is() -> None:
    height = float(two_ridges(np.array([[8.0, 0.0]]))[0][0])
    mode = Mode(np.array([8.0, -9.0]), height + 27, np.diag([1.0, 0.5]))
    right, left = (optimum([x, 0.0], [1.0, 0.5], elbo, height) for x, elbo in ((8.0, -1.0), (-8.0, -1.2)))
    assert places(two_ridges, [mode], [right]) == [mode]  # type: ignore[arg-type]
    assert places(two_ridges, [mode], [right, left]) == [mode, left]  # type: ignore[arg-type]


def test_the_evidence_of_a_tail_like_an_exponential_is_within_its_error() -> None:
    """By draws of the Normal itself it is too low by many of its errors, whichever the seed."""
    target = LogGamma(name="log gamma", dim=1, shape=0.3)
    normal = (np.array([digamma(0.3)]), np.sqrt([[polygamma(1, 0.3)]]) * 0.5)
    off = []
    for seed in range(10):
        found = repair(target, [normal], np.zeros(1), seed=seed)
        assert found.k_hat < 0.7
        off.append((found.log_evidence.value - gammaln(0.3)) / found.log_evidence.error)
    assert np.abs(off).max() < 5
    assert np.abs(np.mean(off)) < 1.2


def test_a_normal_at_a_mode_that_is_farther_off_is_no_repair_and_a_reference_is_better_than_none_that_holds() -> None:
    """An optimum that is not at rest has no component of its own; that alone puts no Normal at a mode in its place."""
    p = LogGamma(name="log gamma", dim=1, shape=0.3)
    at_mode, fit = (np.array([6.0]), np.eye(1)), (np.array([digamma(0.3)]), 1.5 * np.eye(1))
    found = _Found(p, xr.DataTree(), 1, [fit], [], None, 0, np.inf, 100, lambda: 1.0)  # type: ignore[arg-type]
    mended = repair(p, [at_mode], np.zeros(1), seed=0)
    assert found._made(mended, ["mode 0"])[1] == ["optimum 0"]
    reference = Reference("NUTS", np.zeros((4, 10, 1)), 40.0, ())
    doubtful, good = replace(mended, k_hat=0.88), replace(mended, k_hat=0.2)
    assert best(reference, doubtful, ["optimum 0"]) == "reference"
    assert best(replace(reference, reasons=("R-hat",)), doubtful, ["optimum 0"]) == "optimum 0"
    assert best(reference, good, ["optimum 0", "optimum 1"]) == "mixture"
    assert best(reference, replace(good, lacks=(0.4, 0.3, 0.5)), ["optimum 0", "optimum 1"]) == "reference"


def test_weights_of_a_reference_are_its_shares() -> None:
    p = normal_mixture([0.25, 0.75], [-6, 6], [1, 1])
    parts = [(np.array([-6.0]), np.eye(1)), (np.array([6.0]), np.eye(1))]
    rough = repair(p, parts, np.log([0.9, 0.1]), seed=0)
    found = weighed(rough, parts, Reference("SMC", p.rvs(4000, 1).reshape(4, 1000, 1), 4000.0, ()))
    np.testing.assert_allclose(found.weights, [0.25, 0.75], atol=4 * found.weights_se.max())
    assert 0 < found.weights_se.max() < 0.05
    assert found.mixture.spec["weights"][0] == pytest.approx(found.weights[0])


def test_a_mixture_without_a_mode_that_the_reference_has_lacks_its_mass_and_the_evidence_agrees_with_the_reference() -> (
    None
):
    """Its own draws give it a k-hat of a repair, and an evidence too low by what it lacks: reverse KL came out as none."""
    p = mvnormal_mixture([0.2, 0.3, 0.5], [[-8, 0], [8, 0], [0, 90]], [np.eye(2)] * 3)
    parts = [(np.array([x, 0.0]), np.eye(2)) for x in (-8.0, 8.0)]
    blind = repair(p, parts, np.zeros(2), seed=0)
    assert blind.k_hat < 0.5
    assert blind.log_evidence.value == pytest.approx(np.log(0.5), abs=0.02)
    reference = Reference("SMC", p.rvs(4000, 1).reshape(4, 1000, 2), 4000.0, ())
    found = judged(p, blind, reference, 4000)
    assert found.lacks is not None
    assert found.lacks[1] < 0.5 < found.lacks[2]
    assert found.log_evidence.error < 0.05
    assert abs(found.log_evidence.value) < 4 * found.log_evidence.error
    np.testing.assert_allclose(found.weights, [0.2, 0.3], atol=4 * found.weights_se.max())
    assert kl_reverse(p, found.mixture, found.log_evidence, seed=0).value == pytest.approx(np.log(2), abs=0.1)
    # Modes sought from its own draws: of these the mixture has more than of the posterior, and the evidence of tempering tells.
    chosen = p.rvs(4000, 1)
    chosen = chosen[np.concatenate([np.flatnonzero(chosen[:, 1] < 40), np.flatnonzero(chosen[:, 1] > 40)[:400]])]
    kept = len(chosen) // 4
    kind = replace(reference, points=chosen[: 4 * kept].reshape(4, kept, 2), log_evidence=Estimate(0.0, 0.05, "draws"))
    beside = judged(p, blind, kind, 4000)
    assert beside.lacks is not None
    assert beside.lacks[0] == pytest.approx(0.5, abs=0.02)
    assert 0.3 < beside.lacks[1] < 0.45
    assert abs(beside.log_evidence.value) < beside.log_evidence.error
    whole = repair(p, [*parts, (np.array([0.0, 90.0]), np.eye(2))], np.zeros(3), seed=0)
    assert judged(p, whole, reference, 4000) is whole


@dataclass(frozen=True, eq=False, kw_only=True)
class Nowhere(Target):
    """A density that is no number anywhere, as that of a covariance that is none."""

    def logp(self, points: Array) -> Array:
        return np.full(len(points), np.nan)


def test_where_a_mixture_has_no_density_nothing_is_known_and_nothing_breaks() -> None:
    p = Nowhere(name="nowhere", dim=1)
    parts = [(np.array([x]), np.eye(1)) for x in (-6.0, 6.0)]
    for guess in (np.array([np.nan, 0.0]), np.array([-np.inf, -np.inf]), np.array([np.inf, 0.0])):
        found = repair(p, parts, guess, seed=0)
        assert found.k_hat == np.inf
        assert np.isnan(found.log_evidence.value)
        assert found.weights.sum() == pytest.approx(1)
        beside = judged(p, found, Reference("SMC", np.zeros((4, 10, 1)), 40.0, ()), 40)
        assert np.isnan(
            kl_reverse(LogGamma(name="g", dim=1, shape=1.0), found.mixture, beside.log_evidence, seed=0).value
        )


def test_masses_of_a_grid_are_sums_of_its_cells_and_all_masses_are_by_the_same_points() -> None:
    p = normal_mixture([0.25, 0.75], [-6, 6], [1, 0.1])
    modes = [Mode(np.array([x]), 0.0, sd * np.eye(1), np.log(w)) for x, sd, w in ((-6.0, 1.0, 0.25), (6.0, 0.1, 0.75))]
    parts = [(m.place, m.factor) for m in modes]
    mended, missed = repair(p, parts, np.zeros(2), seed=0), np.array([True, False])
    x = np.linspace(-12, 12, 20_001)[:, None]
    mass = np.exp(p.logp(x))
    cells = Cells(x, mass / mass.sum(), np.arange(len(x)) % 2 == 0, np.zeros(len(x)))
    drawn = Reference("SMC", p.rvs(400, 1).reshape(4, 100, 1), 40.0, ())
    for reference, error in ((replace(drawn, method="grid", cells=cells), 1e-6), (drawn, 0.05), (None, 0.05)):
        together, each = masses(lambda x: assign(modes, x), missed, reference, mended)
        assert together == each[0]
        assert each[0][0] == pytest.approx(0.25, abs=error)
        assert each[0][1] - 1e-9 <= each[0][0] <= each[0][2]
    exact = weighed(mended, parts, replace(drawn, method="grid", cells=cells))
    np.testing.assert_allclose(exact.weights, [0.25, 0.75], atol=1e-4)
    doubtful = replace(drawn, reasons=("R-hat",))
    together, each = masses(lambda x: assign(modes, x), missed, doubtful, replace(mended, k_hat=0.9))
    assert together is not None
    assert np.isnan(together[1])
    assert np.isnan(each[1][2])
    assert masses(lambda x: assign(modes, x), missed, None, replace(mended, k_hat=0.9))[0] is None


def test_a_repair_bears_the_burden_of_proof() -> None:
    p = mvnormal_mixture([1], [[0, 0]], [[[1, 0.8], [0.8, 1]]])
    true, flat = p, mvnormal_mixture([1], [[0, 0]], [0.36 * np.eye(2)])
    assert nearer(p, true, flat, seed=0)
    assert not nearer(p, flat, true, seed=0)
    assert not nearer(p, true, true, seed=0)
    skew = LogGamma(name="log gamma", dim=1, shape=2.0)  # of which the wide one has E exp(x) in the thousands
    narrow, wide = (normal_mixture([1], [0.3], [sd]) for sd in (0.7, 4.0))
    assert not nearer(skew, wide, narrow, seed=0)


def test_reverse_kl_of_a_mixture_is_exact_within_its_error_and_none_is_below_zero() -> None:
    p, known = normal_mixture([0.3, 0.7], [-5, 5], [1, 1]), Estimate(0.0, 0.0, "exact")
    one = kl_reverse(p, normal_mixture([1], [5], [1]), known, seed=0)
    assert one.value == pytest.approx(-np.log(0.7), abs=4 * one.error + 1e-4)
    same = kl_reverse(p, p, known, seed=0)
    assert abs(same.value) < 1e-9
    low = Estimate(-1.0, 0.01, "draws")  # a log evidence that is wrong by 100 of its errors
    assert np.isnan(kl_reverse(p, p, low, seed=0).value)
    assert np.isnan(kl_forward(p, p, p.rvs(500, 0), Estimate(1.0, 0.01, "draws"), 500.0).value)


def test_forward_kl_of_a_fitted_normal_is_not_by_the_draws_it_was_fitted_to() -> None:
    """On these it is -p / 2n of no KL at all, p its 230 parameters: here -.14 nats, of errors of .01."""
    d, known = 20, Estimate(0.0, 0.0, "exact")
    p = mvnormal_mixture([1], [np.zeros(d)], [np.eye(d)])
    found = [kl_forward_fitted(p, p.rvs(800, seed).reshape(4, 200, d), known, 800.0).value for seed in range(8)]
    parameters = d * (d + 3) / 2
    assert 0.8 * parameters / 1600 < np.mean(found) < 2 * parameters / 1600


def test_moves_enter_the_neck_of_a_funnel() -> None:
    """The scale tau is Exponential(1) and six effects N(0, tau): particles that begin above the neck reach it, which steps of one length do not."""

    def density(points: Array) -> tuple[Array, Array]:
        v, x = points[:, 0], points[:, 1:]
        with np.errstate(all="ignore"):
            square = np.square(x).sum(axis=1) * np.exp(-2 * v)
            slope = np.column_stack([-5 - np.exp(v) + square, -x * np.exp(-2 * v)[:, None]])
            return -5 * v - np.exp(v) - 0.5 * square, slope

    rng = np.random.default_rng(0)
    tau = rng.exponential(size=1500)
    v = np.log(tau[tau > 0.15])
    points = np.column_stack([v, np.exp(v)[:, None] * rng.standard_normal((len(v), 6))])
    moved, _ = move(density, points, points.std(axis=0), moves=120, seed=0, stop=lambda: False)  # type: ignore[arg-type]
    assert (moved[:, 0] < np.log(0.1)).mean() > 0.02  # of -expm1(-.1) = .095


def test_an_ascent_that_ends_where_the_curvature_is_singular_to_rounding_is_no_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As far down the neck of a funnel: of rank one, with a lowest eigenvalue that rounding makes positive."""
    way = np.array([4621236.0, 3.0, 4176008.0])
    monkeypatch.setattr("models.own_model.modes.curvature", lambda *_: np.outer(way, way))
    assert ascend(lambda x: (-0.5 * np.square(x).sum(axis=1), -x), [np.ones(3)]) == []  # type: ignore[arg-type, return-value]
