"""Quadrature laid for every theta: values, gradients and Hessians by unrelated routes, panels and kinks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gumbel_r, laplace, logistic, norm, skewnorm, t

from models.errors import InputError
from models.families import FAMILIES, location_scale, normal_mixture
from models.mle import fit_mle
from models.projections import forward_projection, reverse_projections
from models.projections.exact import Exact, exact_objective
from models.projections.objectives import reverse_objective
from models.quadrature import gaussian_nodes, kinked, landmarks, panels
from models.targets import TARGETS, Target, from_distribution, mvnormal_mixture
from models.targets import normal_mixture as mixture

MEMBERS: dict[str, tuple[dict[str, float], Any]] = {
    "normal": ({"mu": 0.7, "sigma": 1.4}, norm(0.7, 1.4)),
    "laplace": ({"mu": 0.7, "b": 1.1}, laplace(0.7, 1.1)),
    "logistic": ({"mu": 0.7, "s": 0.8}, logistic(0.7, 0.8)),
    "student_t": ({"nu": 4.5, "mu": 0.7, "sigma": 1.2}, t(4.5, 0.7, 1.2)),
    "skew_normal": ({"mu": 0.7, "sigma": 1.6, "alpha": -3.0}, skewnorm(-3.0, 0.7, 1.6)),
}
TARGET = TARGETS["unequal"]


def at(family: str, alpha: float, target: Target = TARGET) -> tuple[Exact, np.ndarray]:
    member = FAMILIES[family]
    return exact_objective(member, target, alpha).at(2), member.unconstrain(MEMBERS[family][0], 1)


def log_p(x: float) -> float:
    return float(np.logaddexp(np.log(0.3) + norm.logpdf(x, -2, 0.5), np.log(0.7) + norm.logpdf(x, 2, 1)))


@pytest.mark.parametrize("family", MEMBERS)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8])
def test_value_is_the_integral_by_scipy(family: str, alpha: float) -> None:
    objective, theta = at(family, alpha)
    q = MEMBERS[family][1]

    def integrand(x: float) -> float:
        if q.pdf(x) == 0:  # quad goes out to where logarithms overflow
            return 0.0
        if alpha == 0:
            return float(q.pdf(x) * (q.logpdf(x) - log_p(x)))
        overlap = np.exp(alpha * log_p(x) + (1 - alpha) * q.logpdf(x))
        return float((alpha * np.exp(log_p(x)) + (1 - alpha) * q.pdf(x) - overlap) / (alpha * (1 - alpha)))

    edges = [-np.inf, -20, -8, -4, -3, -2, -1, 0, 0.7, 1, 2, 3, 4, 8, 20, np.inf]
    expected = sum(quad(integrand, a, b, epsabs=1e-12, limit=200)[0] for a, b in itertools.pairwise(edges))
    assert float(objective.gradient(theta[None])[0][0]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.exhaustive if f == "skew_normal" else ()) for f in MEMBERS]
)
@pytest.mark.parametrize("alpha", [0.0, pytest.param(0.3, marks=pytest.mark.exhaustive), 1.0])
def test_gradient_and_hessian_are_those_of_the_value(family: str, alpha: float) -> None:
    objective, theta = at(family, alpha)
    _, gradient, hessian = objective.hessian(theta[None])
    h = 1e-4
    steps = h * np.eye(len(theta))
    slopes = (objective.gradient(theta + steps)[0] - objective.gradient(theta - steps)[0]) / (2 * h)
    np.testing.assert_allclose(gradient[0], slopes, atol=3e-7)
    curvature = (objective.gradient(theta + steps)[1] - objective.gradient(theta - steps)[1]) / (2 * h)
    np.testing.assert_allclose(hessian[0], curvature, atol=3e-7)


def test_batches_give_what_single_thetas_give() -> None:
    objective, theta = at("student_t", 0.0)
    thetas = theta + np.random.default_rng(0).normal(0, 0.3, (4, 3))
    together = objective.hessian(thetas)
    for i, row in enumerate(thetas):
        for part, alone in zip(together, objective.hessian(row[None]), strict=True):
            np.testing.assert_allclose(part[i], alone[0], rtol=1e-12, atol=1e-13)


def test_levels_agree_where_the_panels_resolve() -> None:
    objective, theta = at("normal", 0.0)
    values = [float(objective.at(level).gradient(theta[None])[0][0]) for level in (1, 2, 3)]
    np.testing.assert_allclose(values, values[0], rtol=0, atol=1e-13)
    assert abs(float(objective.at(0).gradient(theta[None])[0][0]) - values[0]) < 1e-6


@pytest.mark.parametrize("family", ["mvnormal", "mvnormal_diag"])
def test_plane_agrees_with_the_rule_that_moves_with_the_member(family: str) -> None:
    member, target = FAMILIES[family], TARGETS["crossed"]
    theta = np.random.default_rng(1).normal(0, 0.4, member.size(2))
    pathwise = reverse_objective(member, target, gaussian_nodes(2, size=129))
    for ours, theirs in zip(
        exact_objective(member, target, 0.0).at(4).hessian(theta[None]), pathwise.hessian(theta[None]), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_mixture_member_is_integrated_over_its_own_components() -> None:
    family = normal_mixture(2)
    theta = family.unconstrain({"w": [0.3, 0.7], "mu": [-2.0, 2.0], "sigma": [0.5, 1.0]}, 1)
    value, gradient = exact_objective(family, TARGET, 0.0).at(1).gradient(theta[None])
    assert abs(value[0]) < 1e-14
    assert np.abs(gradient).max() < 1e-13


def test_dimensions_beyond_three_are_refused() -> None:
    target = mvnormal_mixture([1], [np.zeros(4)], [np.eye(4)])
    with pytest.raises(InputError, match=r"4 dimensions; quadrature works in at most 3"):
        exact_objective(FAMILIES["mvnormal"], target, 0.0)


def test_sampled_optimum_of_a_normal_in_ten_dimensions_is_that_normal() -> None:
    rng = np.random.default_rng(2)
    factor = rng.normal(size=(5, 5)) / 2 + np.eye(5)
    cov = factor @ factor.T
    (found,) = reverse_projections(mvnormal_mixture([1], [np.arange(5.0)], [cov]), FAMILIES["mvnormal"])
    assert found.divergence.kind == "quasi-Monte Carlo"
    assert abs(found.divergence.value) <= 4 * found.divergence.error + 1e-9
    np.testing.assert_allclose(found.params["mu"], np.arange(5.0), atol=1e-2)
    np.testing.assert_allclose(found.params["cov"], cov, atol=0.05)


# --- panels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bimodal", "claw", "heavy_tailed", "student_t"])
def test_sixteen_points_on_each_panel_interpolate_log_p(name: str) -> None:
    target = TARGETS[name]
    edges = panels(target)
    edges = edges[(edges > -30) & (edges < 30)]
    x, _ = np.polynomial.legendre.leggauss(16)
    for left, right in itertools.pairwise(edges):
        nodes = (left + right) / 2 + (right - left) / 2 * x
        fit = np.polynomial.legendre.Legendre.fit(nodes, target.logp(nodes[:, None]), 15, domain=[left, right])
        inside = np.linspace(left, right, 7)
        exact = target.logp(inside[:, None])
        np.testing.assert_allclose(fit(inside), exact, atol=1e-11 * (1 + np.abs(exact).max()))


def test_panels_crowd_where_log_p_nearly_breaks() -> None:
    edges = panels(mixture([0.5, 0.5], [-10, 10], [1, 1]))
    widths = np.diff(edges)
    at_zero = widths[np.searchsorted(edges, 1e-9) - 1]
    assert at_zero < 0.3 * np.median(widths[(edges[:-1] > -20) & (edges[1:] < 20)])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TARGETS["bimodal"], False),
        (TARGETS["student_t"], False),
        (from_distribution("Laplace", {"mu": 0.3, "b": 1}), True),
        (from_distribution("AsymmetricLaplace", {"kappa": 2, "mu": 0.123, "b": 1}), True),
        (from_distribution("Gamma", {"alpha": 3, "beta": 1}), True),
        (from_distribution("Gumbel", {"mu": 0, "beta": 1}), False),
    ],
    ids=lambda v: v.name if isinstance(v, Target) else "",
)
def test_kinks_are_seen(target: Target, expected: bool) -> None:
    assert kinked(target) is expected


def test_landmarks_of_a_density_without_components_are_its_modes() -> None:
    (mark,) = landmarks(from_distribution("Gumbel", {"mu": 1.5, "beta": 2}))
    assert mark[0] == pytest.approx(1.5, abs=0.02)


def test_a_family_of_ones_own_needs_its_entry_only() -> None:
    gumbel = location_scale("gumbel", "beta", density="Gumbel", tail="exponential")
    target = from_distribution("Gumbel", {"mu": 1.5, "beta": 2})
    for found in (forward_projection(target, gumbel), *reverse_projections(target, gumbel)):
        assert found.certificate == "consistent"
        assert {k: float(v) for k, v in found.params.items()} == pytest.approx({"mu": 1.5, "beta": 2}, abs=1e-6)
    x = target.rvs(400, seed=1)[:, 0]
    fit = fit_mle(x, gumbel, draws=2)["fit"]
    assert (float(fit["mu"]), float(fit["beta"])) == pytest.approx(gumbel_r.fit(x), rel=1e-4)
