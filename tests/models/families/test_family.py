"""Families: the PyMC model of data given theta, the unconstrained coordinates and the members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from models.errors import InputError
from models.families import FAMILIES, Family, find_family, normal_mixture, student_t
from models.graphs import numpy_mode
from models.projections import alpha_projections, forward_projection, reverse_projections
from models.projections.objectives import natural_values
from models.targets import TARGETS, from_distribution, from_draws

X = np.array([-1.0, 0.3, 2.5, 4.0])
X_2D = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
COV = np.array([[1.5, -0.4], [-0.4, 0.8]])
WEIGHTED = np.array([-1.0, 2.0]), np.array([0.7, 1.5]), np.array([0.3, 0.7])


def mixture_logpdf(x: np.ndarray) -> np.ndarray:
    mu, sigma, w = WEIGHTED
    return np.log(stats.norm.pdf(x[:, None], mu, sigma) @ w)


#: Family, parameters, log density by scipy.
CASES: list[tuple[Family, dict[str, Any], Any]] = [
    (FAMILIES["normal"], {"mu": 0.3, "sigma": 1.7}, stats.norm(0.3, 1.7).logpdf),
    (FAMILIES["logistic"], {"mu": 0.3, "s": 1.7}, stats.logistic(0.3, 1.7).logpdf),
    (FAMILIES["exponential"], {"lam": 1.7}, lambda x: stats.expon(scale=1 / 1.7).logpdf(np.abs(x).ravel())),
    (student_t(), {"nu": 3.0, "mu": 0.3, "sigma": 1.7}, stats.t(3, 0.3, 1.7).logpdf),
    (student_t(4), {"mu": 0.3, "sigma": 1.7}, stats.t(4, 0.3, 1.7).logpdf),
    (normal_mixture(2), dict(zip(("mu", "sigma", "w"), WEIGHTED, strict=True)), mixture_logpdf),
    (
        FAMILIES["mvnormal"],
        {"mu": np.array([0.2, -0.4]), "cov": COV},
        stats.multivariate_normal([0.2, -0.4], COV).logpdf,
    ),
    (
        FAMILIES["mvnormal_diag"],
        {"mu": np.array([0.2, -0.4]), "sigma": np.array([1.5, 0.6])},
        stats.multivariate_normal([0.2, -0.4], np.diag([1.5, 0.6]) ** 2).logpdf,
    ),
]
each_case = pytest.mark.parametrize(("family", "params", "logpdf"), CASES, ids=[c[0].name for c in CASES])


def data(family: Family) -> np.ndarray:
    if family.domain.low == 0:
        return np.abs(X)
    return X_2D if family.multivariate else X


@each_case
def test_logp_is_the_log_density_by_scipy(family: Family, params: dict[str, Any], logpdf: Any) -> None:
    x = data(family)
    np.testing.assert_allclose(family.logp(x.reshape(len(x), -1), params), logpdf(x), rtol=1e-12)


@each_case
def test_unconstrain_and_natural_are_inverse(family: Family, params: dict[str, Any], logpdf: Any) -> None:
    dim = 2 if family.multivariate else 1
    theta = family.unconstrain(params, dim)
    assert theta.shape == (family.size(dim),)
    values, _ = natural_values(family, theta)
    assert values.keys() == params.keys()
    for name, value in params.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-13)


def model_logp(model: pm.Model, family: Family, params: dict[str, Any]) -> float:
    """Log joint density of the model at natural parameters, without the Jacobians of PyMC's transforms."""
    point: dict[str, Any] = {}
    for p in family.parameters:
        value = np.asarray(params[p.name], dtype=float)
        match p.support:
            case "positive":
                point[f"{p.name}_log__"] = np.log(value)
            case "simplex":
                point[f"{p.name}_simplex__"] = np.log(value[:-1]) - np.log(value).mean()
            case "covariance":
                point[f"{p.name}_cholesky"] = p.unconstrain(value, len(value))
            case _:
                point[p.name] = value
    return float(model.compile_fn(model.logp(jacobian=False), mode=numpy_mode())(point))


@each_case
def test_model_with_flat_priors_is_the_likelihood(family: Family, params: dict[str, Any], logpdf: Any) -> None:
    model = family.model(data(family))
    assert {v.name for v in model.observed_RVs} == {"x"}
    assert model_logp(model, family, params) == pytest.approx(logpdf(data(family)).sum(), rel=1e-12)


@each_case
def test_model_with_weights_is_the_weighted_likelihood(family: Family, params: dict[str, Any], logpdf: Any) -> None:
    x = data(family)
    weights = np.linspace(0.5, 2, len(x))
    assert model_logp(family.model(x, weights=weights), family, params) == pytest.approx(weights @ logpdf(x), rel=1e-12)


def test_model_takes_priors() -> None:
    family, params, logpdf = CASES[0]
    model = family.model(X, priors={"mu": pm.Normal.dist(1.0, 2.0)})
    expected = logpdf(X).sum() + stats.norm.logpdf(params["mu"], 1, 2)
    # 1e-8: PyTensor takes the log of the prior's constant 2.0 in float32.
    assert model_logp(model, family, params) == pytest.approx(expected, abs=1e-8)


def test_a_prior_on_an_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown parameter of family normal 'sigm'; did you mean sigma"):
        FAMILIES["normal"].model(X, priors={"sigm": pm.HalfNormal.dist(1)})


def test_a_member_is_a_target_with_the_same_density() -> None:
    for family, params, logpdf in CASES:
        member = family.member(params, name="member")
        x = data(family)
        assert (member.name, member.dim) == ("member", 2 if family.multivariate else 1)
        np.testing.assert_allclose(member.logp(x), logpdf(x), rtol=1e-12)


@pytest.mark.parametrize(("family", "params", "logpdf"), [CASES[4], CASES[7]], ids=["student_t(4)", "mvnormal_diag"])
def test_a_member_can_be_drawn_from(family: Family, params: dict[str, Any], logpdf: Any) -> None:
    member = family.member(params)
    x = member.rvs(1000, seed=0)
    assert x.shape == (1000, member.dim)
    # Five standard errors of the mean; the variance of t_4 is twice its squared scale.
    sd = np.atleast_1d(params["sigma"]) * (np.sqrt(2) if member.dim == 1 else 1)
    assert np.all(np.abs(x.mean(axis=0) - params["mu"]) < 5 * sd / np.sqrt(1000))


def test_student_t_holds_nu_when_it_is_given() -> None:
    assert [p.name for p in student_t().parameters] == ["nu", "mu", "sigma"]
    assert [p.name for p in student_t(4).parameters] == ["mu", "sigma"]


def test_a_mixture_of_one_is_the_normal_family() -> None:
    assert normal_mixture(1) is FAMILIES["normal"]


@pytest.mark.parametrize("name", [*FAMILIES, "normal_mixture(2)", "normal_mixture( 3 )"])
def test_families_are_found_by_name(name: str) -> None:
    assert find_family(name).name == name.replace(" ", "")


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "near"), [("nomal", "normal"), ("studentt", "student_t"), ("normal_mixture", r"normal_mixture\(2\)")]
)
def test_an_unknown_family_is_refused_with_the_nearest_names(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"unknown family '{wrong}'; did you mean .*{near}.*Known: "):
        find_family(wrong)


@pytest.mark.parametrize("k", [0, -1, 1.5, "2"])
def test_a_mixture_needs_a_positive_number_of_components(k: Any) -> None:
    with pytest.raises(InputError, match=rf"number of components is {k!r}; it must be a positive integer"):
        normal_mixture(k)


def test_normal_mixture_of_no_components_is_refused_by_name_too() -> None:
    with pytest.raises(InputError, match="number of components is 0"):
        find_family("normal_mixture(0)")


@pytest.mark.parametrize("nu", [0.0, -1.0, np.inf, np.nan])
def test_degrees_of_freedom_must_be_positive_and_finite(nu: float) -> None:
    with pytest.raises(InputError, match=rf"nu is {nu}; .* must be positive and finite"):
        student_t(nu)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("normal", {"mu": 0}, "family 'normal' needs the parameter.* sigma"),
        ("normal", {"mu": 0, "sigma": -1}, "parameter 'sigma' of family 'normal' is .*-1.*; it must be positive"),
        ("normal", {"mu": np.nan, "sigma": 1}, "parameter 'mu' of family 'normal' is .*nan.*; it must be finite"),
        (
            "normal_mixture(2)",
            {"w": [1.5, -0.5], "mu": [0, 1], "sigma": [1, 1]},
            "'w' .* it must be positive and sum to 1",
        ),
        ("normal_mixture(2)", {"w": [0.5, 0.5], "mu": [0, 1, 2], "sigma": [1, 1]}, "'mu' of family"),
    ],
)
def test_member_refuses_parameters_outside_their_support(name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_family(name).member(params)


@pytest.mark.parametrize("w", [[0.5, 0.4], [2.0, 3.0]])
def test_member_refuses_weights_that_do_not_sum_to_one(w: list[float]) -> None:
    with pytest.raises(InputError, match="sum"):
        normal_mixture(2).member({"w": w, "mu": [0, 1], "sigma": [1, 1]})


def test_member_refuses_a_covariance_that_is_not_positive_definite() -> None:
    with pytest.raises(InputError, match="positive definite"):
        FAMILIES["mvnormal"].member({"mu": [0, 0], "cov": [[1, 2], [2, 1]]})


@pytest.mark.parametrize(("name", "x"), [("normal", X_2D), ("student_t", X_2D)])
def test_data_of_another_dimension_is_refused(name: str, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=rf"family '{name}' has dimension 1 but the data has dimension 2"):
        FAMILIES[name].model(x)


def test_exponential_is_projected_onto_in_the_forward_direction_only() -> None:
    gamma = from_distribution("Gamma", {"alpha": 3.0, "beta": 2.0})
    found = forward_projection(gamma, FAMILIES["exponential"])
    assert float(found.params["lam"]) == pytest.approx(2 / 3, rel=1e-9)
    entropy = stats.gamma(3, scale=0.5).entropy()
    assert found.divergence.value == pytest.approx(1 + np.log(1.5) - entropy, abs=1e-9)
    assert found.certificate == "consistent"
    draws = from_draws([1.0, 2.0, 5.0])
    assert float(forward_projection(draws, FAMILIES["exponential"]).params["lam"]) == pytest.approx(3 / 8, rel=1e-9)
    for project in (reverse_projections, lambda t, f: alpha_projections(t, f, 0.5)):
        with pytest.raises(InputError, match=r"'exponential' .* is offered in the forward direction only"):
            project(gamma, FAMILIES["exponential"])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            lambda: TARGETS["bimodal"],
            "mass below 0, where every member of exponential has density 0, so every forward KL",
        ),
        (lambda: from_distribution("Uniform", {"lower": -1, "upper": 1}), "mass below 0"),
        (lambda: from_draws([1.0, -2.0]), "observation 2 is -2, outside the support"),
        (lambda: from_distribution("HalfCauchy", {"beta": 1}), "has no mean"),
    ],
)
def test_targets_at_infinite_forward_kl_from_every_exponential_are_refused(target: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        forward_projection(target(), FAMILIES["exponential"])
