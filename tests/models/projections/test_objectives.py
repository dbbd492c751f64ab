"""The two objectives against hand-made averages of scipy's densities, finite differences and the divergences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.divergences import cross_entropy, kl
from models.errors import InputError
from models.families import FAMILIES, Family, normal_mixture, student_t
from models.projections.objectives import Objective, forward_objective, natural_values, reverse_objective
from models.quadrature import Nodes, gaussian_nodes, nodes
from models.targets import TARGETS, from_draws

RNG = np.random.default_rng(7)
DRAWS = RNG.standard_t(5, size=30) + 1
DRAWS_2D = RNG.normal(size=(30, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])
NOISE = RNG.normal(size=(25, 1))

NORMAL, FULL, MIXTURE = FAMILIES["normal"], FAMILIES["mvnormal"], normal_mixture(2)

PARAMS = {
    "normal": {"mu": 0.3, "sigma": 1.7},
    "student_t": {"nu": 4.0, "mu": 0.3, "sigma": 1.7},
    "normal_mixture(2)": {"w": np.array([0.3, 0.7]), "mu": np.array([-1.0, 2.0]), "sigma": np.array([0.7, 1.5])},
    "mvnormal": {"mu": np.array([0.2, -0.4]), "cov": np.array([[1.5, -0.4], [-0.4, 0.8]])},
}


def mixture_logpdf(x: np.ndarray) -> np.ndarray:
    p = PARAMS["normal_mixture(2)"]
    return np.log(stats.norm.pdf(x[:, None], p["mu"], p["sigma"]) @ p["w"])


LOGPDF = {
    "normal": lambda x: stats.norm.logpdf(x, 0.3, 1.7),
    "student_t": lambda x: stats.t.logpdf(x, 4, 0.3, 1.7),
    "normal_mixture(2)": mixture_logpdf,
    "mvnormal": stats.multivariate_normal(PARAMS["mvnormal"]["mu"], PARAMS["mvnormal"]["cov"]).logpdf,
}
FORWARD = [NORMAL, student_t(), MIXTURE, FULL]


def data(family: Family) -> np.ndarray:
    return DRAWS_2D if family.multivariate else DRAWS


def theta_of(family: Family) -> np.ndarray:
    return family.unconstrain(PARAMS[family.name], 2 if family.multivariate else 1)


def rule_over(values: np.ndarray) -> Nodes:
    return Nodes(values, np.full(len(values), 1 / len(values)), "draws")


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FORWARD, ids=lambda f: f.name)
def test_forward_over_draws_is_minus_the_mean_log_likelihood(family: Family) -> None:
    objective = forward_objective(family, nodes(from_draws(data(family))))
    value, _ = objective.value_and_gradient(theta_of(family))
    assert value == pytest.approx(-LOGPDF[family.name](data(family)).mean(), rel=1e-12)


def test_forward_over_quadrature_is_the_cross_entropy_to_the_member() -> None:
    target = TARGETS["bimodal"]
    member = NORMAL.member(PARAMS["normal"])
    value, _ = forward_objective(NORMAL, nodes(target)).value_and_gradient(theta_of(NORMAL))
    assert value == pytest.approx(cross_entropy(target, member).value, rel=1e-12)


def target_logpdf(x: np.ndarray) -> np.ndarray:
    return np.log(stats.norm.pdf(x[:, None], [-2, 2], [0.5, 1.0]) @ [0.3, 0.7])


def test_reverse_over_draws_of_the_noise_is_the_mean_log_ratio_at_the_moved_points() -> None:
    value, _ = reverse_objective(NORMAL, TARGETS["unequal"], rule_over(NOISE)).value_and_gradient(theta_of(NORMAL))
    x = 0.3 + 1.7 * NOISE[:, 0]
    by_hand = np.mean(stats.norm.logpdf(x, 0.3, 1.7) - target_logpdf(x))
    assert value == pytest.approx(by_hand, rel=1e-12)


def test_reverse_of_a_mixture_gives_every_component_its_own_copy_of_the_noise() -> None:
    objective = reverse_objective(MIXTURE, TARGETS["unequal"], rule_over(NOISE))
    value, _ = objective.value_and_gradient(theta_of(MIXTURE))
    p = PARAMS["normal_mixture(2)"]
    by_hand = 0.0
    for w, mu, sigma in zip(p["w"], p["mu"], p["sigma"], strict=True):
        x = mu + sigma * NOISE[:, 0]
        by_hand += w * np.mean(mixture_logpdf(x) - target_logpdf(x))
    assert value == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("family", [NORMAL, MIXTURE], ids=lambda f: f.name)
def test_reverse_over_quadrature_is_the_kl_from_the_member(family: Family) -> None:
    target, member = TARGETS["unequal"], family.member(PARAMS[family.name])
    value, _ = reverse_objective(family, target, gaussian_nodes(1, size=1025)).value_and_gradient(theta_of(family))
    assert value == pytest.approx(kl(member, target).value, abs=1e-11)
    assert abs(value - kl(target, member).value) > 0.05


# --- derivatives -----------------------------------------------------------------------------------------------------

OBJECTIVES = {
    "forward normal": (NORMAL, lambda: forward_objective(NORMAL, rule_over(DRAWS[:, None]))),
    "forward student_t": (student_t(), lambda: forward_objective(student_t(), rule_over(DRAWS[:, None]))),
    "forward mixture": (MIXTURE, lambda: forward_objective(MIXTURE, rule_over(DRAWS[:, None]))),
    "forward mvnormal": (FULL, lambda: forward_objective(FULL, rule_over(DRAWS_2D))),
    "reverse normal": (NORMAL, lambda: reverse_objective(NORMAL, TARGETS["unequal"], rule_over(NOISE))),
    "reverse mixture": (MIXTURE, lambda: reverse_objective(MIXTURE, TARGETS["unequal"], rule_over(NOISE))),
}


def central_difference(f: object, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    columns = [(f(theta + step * e) - f(theta - step * e)) / (2 * step) for e in np.eye(len(theta))]
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_and_hessian_are_those_of_finite_differences(name: str) -> None:
    family, build = OBJECTIVES[name]
    objective: Objective = build()
    theta = theta_of(family)
    _, gradient, hessian = objective.hessian(theta[None])

    def value(t: np.ndarray) -> np.ndarray:
        return objective.gradient(t[None])[0][0]

    def slope(t: np.ndarray) -> np.ndarray:
        return objective.gradient(t[None])[1][0]

    # Central differences with step 1e-5 are wrong by 1e-10 times third derivatives, plus 1e-11 of rounding.
    np.testing.assert_allclose(gradient[0], central_difference(value, theta), atol=1e-8)
    np.testing.assert_allclose(hessian[0], central_difference(slope, theta), atol=1e-8)
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("name", ["forward normal", "reverse normal", "forward mvnormal"])
def test_a_batch_of_thetas_is_each_theta_alone(name: str) -> None:
    family, build = OBJECTIVES[name]
    objective = build()
    batch = theta_of(family) + np.linspace(0, 0.3, 3)[:, None]
    together = objective.hessian(batch)
    for i, theta in enumerate(batch):
        for whole, single in zip(together, objective.hessian(theta[None]), strict=True):
            np.testing.assert_allclose(whole[i], single[0], rtol=1e-12, atol=1e-13)


# --- natural parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FORWARD, ids=lambda f: f.name)
def test_natural_values_undo_unconstrain_and_come_with_their_jacobians(family: Family) -> None:
    theta = theta_of(family)
    values, jacobians = natural_values(family, theta)
    for name, value in PARAMS[family.name].items():
        np.testing.assert_allclose(values[name], value, rtol=1e-13)
        numeric = central_difference(lambda t, n=name: natural_values(family, t)[0][n], theta)
        np.testing.assert_allclose(jacobians[name], numeric, atol=1e-8)


def test_an_objective_refuses_points_of_another_dimension() -> None:
    with pytest.raises(InputError, match=r"'normal' has dimension 1 but the target has dimension 2"):
        forward_objective(NORMAL, rule_over(DRAWS_2D))
    with pytest.raises(InputError, match=r"'normal' has dimension 1 but target 'crossed' has dimension 2"):
        reverse_objective(NORMAL, TARGETS["crossed"], gaussian_nodes(2, size=17))
