"""Targets: the contract that every other part relies on, and every input that is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from models.advi import fit_advi
from models.errors import InputError
from models.families import FAMILIES
from models.graphs import numpy_mode
from models.projections import forward_projection, reverse_projections
from models.targets import (
    TARGETS,
    Target,
    find_target,
    from_distribution,
    from_draws,
    from_model,
    from_spec,
    mvnormal_mixture,
    normal_mixture,
    student_t_mixture,
)
from tests.by_pymc import log_densities

EYE = np.eye(2).tolist()


def scipy_logpdf(target: Target, x: np.ndarray) -> np.ndarray:
    """Log density of a catalogue target without PyMC."""
    spec = target.spec
    if "sds" in spec:
        return np.log(stats.norm.pdf(x, spec["means"], spec["sds"]) @ spec["weights"])
    if "nus" in spec:
        return np.log(stats.t.pdf(x, spec["nus"], spec["means"], spec["scales"]) @ spec["weights"])
    if "covs" in spec:
        parts = [stats.multivariate_normal(m, c).pdf(x) for m, c in zip(spec["means"], spec["covs"], strict=True)]
        return np.log(np.array(spec["weights"]) @ parts)
    p = spec["params"]
    return stats.t.logpdf(x[:, 0], p["nu"], p["mu"], p["sigma"])


# --- contract --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_logp_is_the_log_density_by_scipy(name: str) -> None:
    target = TARGETS[name]
    x = np.random.default_rng(0).normal(0, 3, size=(7, target.dim))
    assert target.logp(x).shape == (7,)
    np.testing.assert_allclose(target.logp(x), scipy_logpdf(target, x), rtol=1e-12)


@pytest.mark.parametrize("name", ["bimodal", "heavy_tailed", "crossed", "student_t"])
def test_model_has_one_free_variable_x_with_the_same_log_density(name: str) -> None:
    target = TARGETS[name]
    model = target.model()
    assert [v.name for v in model.free_RVs] == ["x"]
    point = np.full(target.dim, 0.7)
    value = model.compile_logp(mode=numpy_mode())({"x": point if target.dim > 1 else point[0]})
    assert float(value) == pytest.approx(target.logp(point[None])[0], rel=1e-12)


@pytest.mark.parametrize("name", ["unequal", "crossed", "student_t"])
def test_rvs_has_the_shape_asked_for_and_repeats_with_its_seed(name: str) -> None:
    target = TARGETS[name]
    first, again, other = (target.rvs(50, seed=s) for s in (1, 1, 2))
    assert first.shape == (50, target.dim)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["unequal", "crossed"])
def test_draws_have_the_stated_mean_and_covariance(name: str) -> None:
    target = TARGETS[name]
    x = target.rvs(2000, seed=3)
    error = np.sqrt(np.diag(target.cov) / len(x))
    assert np.all(np.abs(x.mean(axis=0) - target.mean) < 5 * error)
    # The relative error of a variance is about sqrt(2/n) = 0.03 for a Normal and less for separated modes.
    np.testing.assert_allclose(np.diag(np.cov(x.T).reshape(target.cov.shape)), np.diag(target.cov), rtol=0.15)


def test_moments_of_mixtures_are_exact() -> None:
    target = TARGETS["unequal"]
    assert target.mean == pytest.approx([0.8])
    assert target.cov[0, 0] == pytest.approx(0.3 * 0.25 + 0.7 * 1 + 0.3 * 0.7 * 16)
    heavy = student_t_mixture([1], [2], [3], [5])
    assert heavy.cov[0, 0] == pytest.approx(9 * 5 / 3)


@pytest.mark.parametrize(("nu", "mean", "cov"), [(0.9, False, False), (1.5, True, False), (2.5, True, True)])
def test_moments_that_do_not_exist_are_absent(nu: float, mean: bool, cov: bool) -> None:
    for target in (
        from_distribution("StudentT", {"nu": nu, "mu": 0, "sigma": 1}),
        student_t_mixture([1], [0], [1], [nu]),
    ):
        assert ((target.mean is not None), (target.cov is not None)) == (mean, cov)


def test_modes_are_where_the_density_is_highest_highest_first() -> None:
    target = TARGETS["unequal"]
    grid = np.linspace(-4, 5, 90_001)[:, None]
    density = target.logp(grid)
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])) + 1
    expected = grid[peaks[np.argsort(-density[peaks])]]
    # The grid resolves a mode to half its step of 1e-4.
    np.testing.assert_allclose(target.modes, expected, atol=1e-4)


def test_a_mixture_of_close_components_has_one_mode() -> None:
    assert normal_mixture([0.5, 0.5], [-0.9, 0.9], [1, 1]).modes == pytest.approx(np.array([[0.0]]), abs=1e-6)
    assert len(normal_mixture([0.5, 0.5], [-1.1, 1.1], [1, 1]).modes) == 2


def test_a_target_of_draws_has_their_moments_and_resamples_them() -> None:
    x = np.array([1.0, 2.0, 6.0])
    target = from_draws(x)
    assert (target.dim, target.mean[0], target.has_density) == (1, 3, False)
    assert target.cov[0, 0] == pytest.approx(x.var())
    assert set(target.rvs(20, seed=0)[:, 0]) <= set(x)


def test_a_posterior_has_the_log_joint_with_the_jacobian_of_its_transforms() -> None:
    with pm.Model() as model:
        scale = pm.HalfNormal("scale", 2.0)
        pm.Normal("y", 0.0, scale, observed=[1.0, -2.0])
    target = from_model(model)
    assert (target.dim, target.normalised) == (1, False)
    u = np.array([[-0.5], [0.4]])
    s = np.exp(u[:, 0])
    joint = stats.halfnorm.logpdf(s, scale=2) + stats.norm.logpdf([[1.0], [-2.0]], 0, s).sum(axis=0) + u[:, 0]
    # 1e-8: see the next test.
    np.testing.assert_allclose(target.logp(u), joint, atol=1e-8)
    with pytest.raises(InputError, match=r"'posterior' is a posterior.*pm\.sample"):
        target.rvs(1, seed=0)


@pytest.mark.parametrize("sd", [2, 2.0])
def test_a_posterior_is_in_double_precision_when_the_model_has_round_constants(sd: float) -> None:
    with pm.Model() as model:
        pm.Normal("x", 0, sd)
    assert from_model(model).logp([[0.0]])[0] == pytest.approx(stats.norm.logpdf(0, 0, 2), abs=1e-13)


# --- descriptions ----------------------------------------------------------------------------------------------------

SPECS = [
    {"weights": [0.25, 0.75], "means": [-3, 3], "sds": [1, 2]},
    {"weights": [0.5, 0.5], "means": [[0, 0], [1, 1]], "covs": [EYE, EYE]},
    {"weights": [0.5, 0.5], "means": [-3, 3], "scales": [1, 1], "nus": [4, 6]},
    {"distribution": "StudentT", "params": {"nu": 4, "mu": 0, "sigma": 1}},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: ",".join(s))
def test_spec_builds_the_target_it_describes_and_is_kept(spec: dict[str, Any]) -> None:
    target = from_spec(spec, name="given")
    assert target.name == "given"
    assert target.spec == spec
    x = np.full((1, target.dim), 0.4)
    np.testing.assert_allclose(target.logp(x), scipy_logpdf(target, x), rtol=1e-12)


def test_spec_with_other_keys_is_refused_with_the_forms_that_are_known() -> None:
    with pytest.raises(
        InputError, match=r"has the keys \{means, weights\}.*\{means, sds, weights\}.*\{distribution, pa"
    ):
        from_spec({"weights": [1], "means": [0]})
    with pytest.raises(InputError, match=r"params is \[1\]; it must be an object"):
        from_spec({"distribution": "Normal", "params": [1]})


@pytest.mark.parametrize(
    ("wrong", "near"), [("bimodel", "bimodal"), ("claws", "claw"), ("heavytailed", "heavy_tailed")]
)
def test_an_unknown_target_is_refused_with_the_nearest_names(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"unknown target '{wrong}'; did you mean {near}.*Known: .*trimodal"):
        find_target(wrong)
    assert find_target(near) is TARGETS[near]


# --- refusals: the value, the place and the remedy -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "means", "sds", "words"),
    [
        ([0.5, 0.4], [0, 1], [1, 1], "weights sum to 0.9; they must sum to 1"),
        ([1.5, -0.5], [0, 1], [1, 1], r"weights\[1\] is -0.5; every weight must be positive"),
        ([1.0, 0.0], [0, 1], [1, 1], r"weights\[1\] is 0; every weight must be positive"),
        ([0.5, np.nan], [0, 1], [1, 1], r"weights\[1\] is nan; it must be finite"),
        ([], [], [], "weights is empty; give at least one component"),
        ([[1]], [0], [1], r"weights has 2 dimension\(s\); it must have 1"),
        (["a"], [0], [1], r"weights is \['a'\]; it must be an array of numbers"),
        ([0.5, 0.5], [0], [1, 1], "means has length 1 but weights has length 2; make them equal"),
        ([0.5, 0.5], [0, 1], [1, 1, 1], "sds has length 3 but weights has length 2; make them equal"),
        ([0.5, 0.5], [0, np.inf], [1, 1], r"means\[1\] is inf; it must be finite"),
        ([0.5, 0.5], [0, 1], [1, 0], r"sds\[1\] is 0; every sd must be positive"),
        ([0.5, 0.5], [0, 1], [-2, 1], r"sds\[0\] is -2; every sd must be positive"),
        ([0.5, 0.5], [0, 1], [1, np.nan], r"sds\[1\] is nan; it must be finite"),
    ],
)
def test_normal_mixture_refuses(weights: Any, means: Any, sds: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        normal_mixture(weights, means, sds)


@pytest.mark.parametrize(
    ("means", "covs", "words"),
    [
        ([[0, 0]], [[[1, 2], [2, 1]]], r"covs\[0\] is not positive definite \(smallest eigenvalue -1\)"),
        ([[0, 0]], [[[1, 1], [1, 1]]], r"covs\[0\] is not positive definite"),
        ([[0, 0]], [[[1, 0.5], [0.4, 1]]], r"covs\[0\] is not symmetric"),
        ([[0, 0]], [[[1, np.nan], [np.nan, 1]]], r"covs\[0\]\[0\]\[1\] is nan; it must be finite"),
        ([[0, 0]], [[[1]]], r"covs has shape \(1, 1, 1\) but means has shape \(1, 2\); covs must be \(k, d, d\)"),
        ([[0, 0]], [EYE, EYE], "covs has length 2 but weights has length 1; make them equal"),
        ([0, 0], [EYE], r"means has 1 dimension\(s\); it must have 2"),
        ([[0, 0], [1]], [EYE], "means is .*; it must be an array of numbers"),
    ],
)
def test_mvnormal_mixture_refuses(means: Any, covs: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mvnormal_mixture([1], means, covs)


@pytest.mark.parametrize(
    ("scales", "nus", "words"),
    [([0], [4], r"scales\[0\] is 0; every scale must"), ([1], [-1], r"nus\[0\] is -1; every nu must be positive")],
)
def test_student_t_mixture_refuses(scales: Any, nus: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        student_t_mixture([1], [0], scales, nus)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("Nomal", {"mu": 0, "sigma": 1}, "unknown PyMC distribution 'Nomal'; did you mean .*Normal"),
        ("MvNormal", {"mu": [0, 0], "cov": EYE}, "'MvNormal' is not univariate; use a mixture"),
        ("Normal", {"mu": 0, "sigma": -1}, "Normal refuses params .*'sigma': -1.*scale < 0"),
        ("Normal", {"mu": np.nan, "sigma": 1}, "parameter 'mu' of Normal is nan; it must be finite"),
        ("Normal", {"mu": None, "sigma": 1}, "parameter 'mu' of Normal is None; it must be finite"),
        ("Normal", {"mu": "a", "sigma": 1}, "parameter 'mu' of Normal is 'a'; it must be a number"),
        (
            "StudentT",
            {"nu": 4, "scale": 1},
            "StudentT has no parameter 'scale'; did you mean sigma.*Known: nu, mu, sigma, lam",
        ),
    ],
)
def test_from_distribution_refuses(name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_distribution(name, params)


def test_an_end_that_is_none_is_not_given() -> None:
    given = {"mu": 0, "sigma": 1, "lower": 0}
    assert (
        from_distribution("TruncatedNormal", given | {"upper": None}).spec
        == from_distribution("TruncatedNormal", given).spec
    )


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([1.0, np.nan, 2.0], r"observation 2 is nan \(1 of 3 are not finite\); remove missing and infinite"),
        ([[1.0, 2.0], [np.inf, 1.0]], r"observation 2 is \[inf, 1.0\]"),
        ([2.0, 2.0, 2.0], "all 3 observations are 2.0: fewer than 2 of them distinct; give at least 2 distinct"),
        ([4.0], "the only observation is 4.0: fewer than 2 of them distinct"),
        ([], "there are no observations; give at least 2"),
        (["a", "b"], "not numbers; give a numeric array"),
        (3.0, "have 0 dimensions; give an array"),
        (np.zeros((2, 2, 2)), "have 3 dimensions; give an array"),
        (np.zeros((3, 0)), "no columns; give an array"),
    ],
)
def test_from_draws_refuses(x: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_draws(x)


def test_from_model_refuses_a_model_without_continuous_free_variables() -> None:
    with pm.Model() as empty:
        pm.Normal("y", 0, 1, observed=1.0)
    with pytest.raises(InputError, match="no free variables; there is nothing to approximate"):
        from_model(empty)
    with pm.Model() as discrete:
        pm.Bernoulli("k", 0.5)
        pm.Normal("x")
    with pytest.raises(InputError, match=r"discrete variables \(k\).*marginalise them.*marginalize\(model, \['k'\]\)"):
        from_model(discrete)


def test_a_free_angle_is_refused_and_one_with_a_range_is_not() -> None:
    """On the line its density has a copy of every mode each 2 pi: so its log evidence came out higher the more copies a search met."""
    with pm.Model() as circle:
        pm.VonMises("h", pm.VonMises("mu", 0.0, 1.0), 2.0, observed=[3.0, -3.1])
        pm.VonMises("other", 0.0, 1.0, shape=2)
    with pytest.raises(InputError, match=r"variables 'mu' and 'other' are angles .*circular.*Interval"):
        from_model(circle)
    with pm.Model() as turn:
        pm.VonMises("mu", 0.0, 1.0, default_transform=pm.distributions.transforms.Interval(0.0, 2 * np.pi))
    assert from_model(turn).dim == 1


@pytest.mark.parametrize("names", [("chain", "draw"), ("x_dim_0",)])
def test_a_variable_called_as_an_axis_of_draws_is_refused(names: tuple[str, ...]) -> None:
    with pm.Model() as model:
        pm.Normal("x", shape=2)
        for name in names:
            pm.Normal(name)
    with pytest.raises(InputError, match=" and ".join(map(repr, names)) + " .* axes of the draws"):
        from_model(model)


def test_variables_without_entries_are_refused_where_they_are_all() -> None:
    with pm.Model(coords={"nobody": []}) as model:
        pm.Normal("effect", dims="nobody")
        with pytest.raises(InputError, match="have no entries"):
            from_model(model)
        pm.Normal("x")
    assert from_model(model).dim == 1


def test_labels_of_any_kind_are_one_for_each_position() -> None:
    coords = {"t": [(1, "a"), (2, "b")], "n": [None, "x"], "r": [(1,), (2, 3)], "f": [0.5, 2], "b": [True, False]}
    with pm.Model(coords=coords) as model:
        pm.Normal("x", dims="t")
    found = {name: values.tolist() for name, values in from_model(model).labels()[1].items()}
    assert found == {
        "t": ["(1, 'a')", "(2, 'b')"], "n": ["None", "x"], "r": ["(1,)", "(2, 3)"], "f": [0.5, 2.0], "b": [True, False],
    }  # fmt: skip


def test_missing_counts_are_refused_with_their_remedy() -> None:
    with pm.Model() as model, pytest.warns(pm.exceptions.ImputationWarning):
        pm.Poisson("y", pm.Exponential("rate", 1), observed=np.ma.masked_equal([1, 2, -1], -1))
    with pytest.raises(InputError, match=r"missing among the observed values of y; leave these rows out"):
        from_model(model)


def regression(*, batched: bool, total: int | None = 40, shared: bool = False) -> pm.Model:
    rng = np.random.default_rng(0)
    predictor = rng.normal(size=(40, 2))
    response = predictor @ [1.0, -1.0] + rng.normal(size=40)
    with pm.Model(coords={"column": ["a", "b"]}) as model:
        if shared:
            predictor, response = pm.Data("predictor", predictor), pm.Data("response", response)
        if batched:
            predictor, response = pm.Minibatch(predictor, response, batch_size=5)
        slopes = pm.Normal("slopes", 0, 2, dims="column")
        pm.Deterministic("twice", 2 * slopes, dims="column")
        pm.Normal("y", pm.math.dot(predictor, slopes), pm.HalfNormal("sd", 1), observed=response,
                  **({"total_size": total} if batched else {}))  # fmt: skip
    return model


@pytest.mark.filterwarnings("ignore:total_size not provided")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("total", [40, None])
def test_of_minibatches_the_whole_data_are_taken(total: int | None, shared: bool) -> None:
    target = from_model(regression(batched=True, total=total, shared=shared))
    whole = from_model(regression(batched=False))
    points = np.random.default_rng(1).normal(size=(7, 3))
    np.testing.assert_allclose(log_densities(target, points), log_densities(whole, points), rtol=1e-12)
    assert (target.batched, whole.batched) == (True, False)
    assert target.coordinates == whole.coordinates
    assert target.labels()[0]["twice"] == ("column",)
    np.testing.assert_allclose(target.natural(points)["twice"], 2 * points[:, :2])
    assert target.data_groups()["observed_data"]["y"].shape == (40,)


def test_data_that_are_set_later_stand_for_minibatches_too() -> None:
    model = regression(batched=True, shared=True)
    before = from_model(model)
    (value,) = log_densities(before, np.zeros((1, 3)))
    assert from_model(model).source is before.source  # compiled once
    with model:
        pm.set_data({"response": np.full(40, 50.0)})
    point = np.zeros((1, 3))
    assert log_densities(from_model(model), point)[0] < value - 1000


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.model(),
        lambda t: reverse_projections(t, FAMILIES["normal"]),
        lambda t: fit_advi(t),
    ],
    ids=["model", "reverse", "advi"],
)
def test_a_discrete_target_refuses_what_needs_a_density(ask: Any) -> None:
    with pytest.raises(InputError, match=r"'Poisson\(mu=3.0\)' is discrete, so it has no density"):
        ask(from_distribution("Poisson", {"mu": 3}))


def test_a_discrete_target_is_at_infinite_forward_kl_from_a_density() -> None:
    with pytest.raises(InputError, match="family 'normal' has a density, so every forward KL is infinite"):
        forward_projection(from_distribution("Poisson", {"mu": 3}), FAMILIES["normal"])


def test_a_discrete_target_has_masses_and_draws() -> None:
    target = from_distribution("Categorical", {"p": [0.2, 0.3, 0.5]})
    np.testing.assert_allclose(
        target.log_mass([-1, 0, 1, 2, 3]), np.log([1e-320, 0.2, 0.3, 0.5, 1e-320]) - [np.inf, 0, 0, 0, np.inf]
    )
    assert set(target.rvs(50, seed=0)[:, 0]) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("ask", [lambda t: t.logp([[0.0]]), lambda t: t.model()])
def test_draws_refuse_what_needs_a_density(ask: Any) -> None:
    with pytest.raises(InputError, match=r"'draws' is known by draws only.*fit a density.*forward direction"):
        ask(from_draws([0.0, 1.0]))


def test_draws_have_no_known_modes() -> None:
    with pytest.raises(InputError, match="'draws' is known by draws only, so its modes are not known"):
        _ = from_draws([0.0, 1.0]).modes


@pytest.mark.parametrize("target", [TARGETS["bimodal"], from_draws([0.0, 1.0])], ids=["density", "draws"])
def test_a_negative_seed_is_refused(target: Target) -> None:
    with pytest.raises(InputError, match="seed is -1; it must be a non-negative integer"):
        target.rvs(3, seed=-1)
