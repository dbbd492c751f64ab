"""A run beside its exact optimum: each rule against a route that shares nothing with it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

from analysis.judged import NONE, Normals, at_rest, beside, cover, downhill, label, nearest, within_tolerance
from models.divergences import kl
from models.families import FAMILIES
from models.projections import Projection, minima, reverse_projections
from models.projections.objectives import reverse_objective
from models.quadrature import gaussian_nodes
from models.targets import TARGETS, Target

BIMODAL = TARGETS["bimodal"]


@cache
def exact_optima() -> list[Projection]:
    """Left mode, both modes, right mode."""
    found = minima(reverse_projections(BIMODAL, FAMILIES["normal"]))
    return sorted(found, key=lambda p: float(p.params["mu"]))


def member(mean: float, sd: float) -> Target:
    return FAMILIES["normal"].member({"mu": mean, "sigma": sd})


def normals(*pairs: tuple[float, float]) -> Normals:
    return Normals.by_sd(*(np.array(pairs)[:, [k]] for k in (0, 1)))


def test_nats_between_normals_are_those_of_draws_and_not_swapped() -> None:
    rng = np.random.default_rng(0)
    means, factors = rng.normal(size=(3, 2)), np.tril(rng.normal(size=(3, 2, 2))) + 2 * np.eye(2)
    covs = factors @ factors.transpose(0, 2, 1)
    found = Normals(means[:1], covs[:1]).kl(Normals(means[1:], covs[1:]))
    p, *others = (multivariate_normal(m, c) for m, c in zip(means, covs, strict=True))
    x = p.rvs(200_000, random_state=1)
    for value, q in zip(found[0], others, strict=True):
        ratio = p.logpdf(x) - q.logpdf(x)
        assert abs(value - ratio.mean()) < 4 * ratio.std() / np.sqrt(len(x))
    narrow, wide = normals((0.0, 1.0)), normals((0.0, 3.0))
    assert narrow.kl(wide)[0, 0] == pytest.approx(kl(member(0, 1), member(0, 3)).value, abs=1e-9)
    assert narrow.kl(wide)[0, 0] < wide.kl(narrow)[0, 0]


def test_members_and_their_moments() -> None:
    both = Normals.of([member(1.0, 2.0), member(-1.0, 0.5)])
    np.testing.assert_allclose(both.mean[:, 0], [1, -1])
    np.testing.assert_allclose(both.sd[:, 0], [2, 0.5])
    plane = Normals.of([FAMILIES["mvnormal"].member({"mu": np.zeros(2), "cov": np.array([[4.0, 1.0], [1.0, 9.0]])})])
    np.testing.assert_allclose(plane.sd, [[2, 3]])


def test_the_nearest_optimum_sees_correlation() -> None:
    tilted = np.array([[[1.0, 0.8], [0.8, 1.0]], [[1.0, -0.8], [-0.8, 1.0]]])
    exact = Normals(np.zeros((2, 2)), tilted)
    runs = Normals(np.full((2, 2), 0.1), np.array([[[1.1, -0.7], [-0.7, 0.9]], [[1.0, 0.5], [0.5, 1.0]]]))
    assert list(nearest(runs, exact)) == [1, 0]


def test_a_run_is_beside_the_optimum_that_it_is_near() -> None:
    exact = exact_optima()
    pairs = [(float(p.params["mu"]) + 0.01 * float(p.params["sigma"]), 0.98 * float(p.params["sigma"])) for p in exact]
    values = [kl(member(*pair), BIMODAL) for pair in pairs]
    judged = beside(normals(*pairs), np.array([v.value for v in values]), exact, kl_error=[v.error for v in values])
    assert list(judged["optimum"].to_numpy()) == [0, 1, 2]
    np.testing.assert_allclose(judged["mean_error"], 0.01)
    np.testing.assert_allclose(judged["sd_error"], -0.02)
    for i, p in enumerate(exact):
        # To second order in the step, by the Hessian in (mean, log sd).
        step = np.array([0.01 * float(p.params["sigma"]), np.log(0.98)])
        hessian = reverse_objective(FAMILIES["normal"], BIMODAL, gaussian_nodes(1, size=513)).hessian(p.theta[None])[2][
            0
        ]
        assert float(judged["gap"][i]) == pytest.approx(step @ hessian @ step / 2, rel=0.05)
        assert float(judged["gap_error"][i]) < 1e-6


def test_a_run_that_reached_none_has_no_gap() -> None:
    runs = normals((0.5, 2.0), (3.0, 1.0))
    judged = beside(runs, np.array([1.0, 1.0]), exact_optima(), reached=np.array([NONE, 2]))
    assert np.isnan(judged["gap"].to_numpy()).tolist() == [True, False]
    assert within_tolerance(judged["gap"], 100.0).tolist() == [False, True]
    assert int(judged["optimum"][1]) == 2


def test_tolerances_hold_both_ways() -> None:
    gap, sd_error = [0.01, 0.01, 0.03, np.nan], [-0.2, 0.05, 0.0, np.nan]
    assert within_tolerance(gap, 0.02).tolist() == [True, True, False, False]
    assert within_tolerance(gap, 0.02, sd_error, 0.1).tolist() == [False, True, False, False]
    assert at_rest(xr.Dataset({"converged": ("run", [1, 0])})).tolist() == [True, False]


@pytest.mark.parametrize("start", [(-2.0, 1.5), (0.1, 3.5), (2.5, 0.6)])
def test_downhill_is_where_another_descent_ends(start: tuple[float, float]) -> None:
    exact, theta = exact_optima(), np.array([start[0], np.log(start[1])])
    objective = reverse_objective(FAMILIES["normal"], BIMODAL, gaussian_nodes(1, size=513))
    end = minimize(lambda t: kl(member(t[0], np.exp(t[1])), BIMODAL).value, theta, method="Nelder-Mead").x
    (found,) = downhill(objective, theta[None], exact)
    np.testing.assert_allclose(exact[found].theta, end, atol=1e-3)
    others = [p for i, p in enumerate(exact) if i != found]
    assert list(downhill(objective, theta[None], others)) == [NONE]


def test_cover_in_one_dimension_is_that_of_cumulative_distributions() -> None:
    target = TARGETS["unequal"]
    weights, means, sds = (np.array(target.spec[key]) for key in ("weights", "means", "sds"))
    fits = [(0.5, 1.7), (float(means[1]), float(sds[1]))]
    for row, (m, s) in zip(cover(normals(*fits), target), fits, strict=True):
        for k, share in enumerate(row):
            low, high = means[k] + norm.ppf([0.025, 0.975]) * sds[k]
            own = norm.cdf(high, m, s) - norm.cdf(low, m, s)
            whole = weights @ (norm.cdf(high, means, sds) - norm.cdf(low, means, sds))
            assert share == pytest.approx(own / whole, abs=1e-9)


@pytest.mark.exhaustive
def test_cover_in_the_plane_and_of_heavy_tails_is_that_of_draws() -> None:
    plane = TARGETS["crossed"]
    fits = Normals(np.array([[1.5, 1.5], [0.0, 0.5]]), np.array([[[1.0, 0.5], [0.5, 1.0]], np.diag([2.0, 1.0])]))
    for target, members in ((plane, fits), (TARGETS["heavy_tailed"], normals((0.0, 4.0), (4.0, 1.2)))):
        x, rng = target.rvs(200_000, seed=1), np.random.default_rng(2)
        found = cover(members, target)
        radius = np.sqrt(5.991464547) if target.dim == 2 else 1.959963985
        for i, (m, c) in enumerate(zip(members.mean, members.cov, strict=True)):
            y = rng.multivariate_normal(m, c, 200_000)
            for k, (centre, factor) in enumerate(target.scales):
                own, whole = (
                    np.mean(np.linalg.norm((v - centre) @ np.linalg.inv(factor).T, axis=1) < radius) for v in (y, x)
                )
                assert found[i, k] == pytest.approx(own / whole, abs=0.02)


def test_optima_cover_what_the_report_says() -> None:
    names = ("left", "right")
    shares = cover(Normals.of(p.member for p in exact_optima()), BIMODAL)
    assert [label(row, names) for row in shares] == ["left mode", "both modes", "right mode"]
    assert label([0.1, 0.1], names) == "no mode"
    assert label([1, 0, 1], ("left", "middle", "right")) == "left and right modes"
    assert label([1, 1, 1], ("left", "middle", "right")) == "all 3 modes"
    assert label([1.0], ("only",)) == "only mode"
