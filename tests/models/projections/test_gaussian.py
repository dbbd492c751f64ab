"""Closed forms of Normals and their mixtures against PyMC's densities and PyTensor's derivatives."""

from __future__ import annotations

import numpy as np
import pytensor
import pytest

from models.families import FAMILIES, Family, mvnormal_mixture, normal_mixture
from models.projections.gaussian import Member, divergence, is_gaussian
from models.projections.objectives import forward_graph

CASES = [(normal_mixture(3), 1), (FAMILIES["mvnormal"], 3), (FAMILIES["mvnormal_diag"], 2), (mvnormal_mixture(2), 2)]


def drawn(family: Family, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(0, 0.7, family.size(dim)), rng.normal(0, 2, (7, dim)), rng.random(7)


@pytest.mark.parametrize(("family", "dim"), CASES, ids=lambda v: getattr(v, "name", v))
def test_value_and_gradient_are_those_of_pymc_and_pytensor(family: Family, dim: int) -> None:
    theta, x, weights = drawn(family, dim)
    symbol, shares, points, value = forward_graph(family, dim)
    function = pytensor.function([symbol, shares, points], [value, pytensor.grad(value, symbol)], mode="FAST_COMPILE")
    ours = divergence(family, theta, (x, weights, np.zeros(7)), "forward", 1.0, hessian=False)
    for found, expected in zip(ours, function(theta, weights, x if family.multivariate else x[:, 0]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(-weights @ Member(family, theta, x).scores, ours[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("form", ["forward", "reverse", "alpha"])
@pytest.mark.parametrize(("family", "dim"), CASES, ids=lambda v: getattr(v, "name", v))
def test_hessian_is_the_slope_of_the_gradient(family: Family, dim: int, form: str) -> None:
    theta, x, weights = drawn(family, dim)
    nodes = x, weights, -(x**2).sum(axis=1) / 9
    _, _, hessian = divergence(family, theta, nodes, form, 0.4, hessian=True)  # type: ignore[arg-type]
    step = 1e-5 * np.eye(len(theta))
    slopes = [
        [divergence(family, theta + s * e, nodes, form, 0.4, hessian=False)[1] for s in (1, -1)]  # type: ignore[arg-type]
        for e in step
    ]
    np.testing.assert_allclose(hessian, [(a - b) / 2e-5 for a, b in slopes], rtol=1e-6, atol=1e-7)


def test_a_member_whose_scale_is_no_number_has_no_value() -> None:
    x = np.zeros((3, 2)), np.ones(3), np.zeros(3)
    for far in (-800.0, 800.0):
        theta = np.array([0.0, 0.0, far, 0.0, 0.0])
        with np.errstate(over="ignore"):
            assert np.isnan(divergence(FAMILIES["mvnormal"], theta, x, "forward", 1.0, hessian=True)[0])


def test_other_families_have_graphs() -> None:
    assert not any(is_gaussian(FAMILIES[name]) for name in ("normal", "student_t", "laplace", "gamma"))
