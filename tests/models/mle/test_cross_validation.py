"""Leave-one-out: against new fits without each draw, closed forms, other units, and draws repeated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.errors import InputError
from models.families import FAMILIES, Family, normal_mixture
from models.mle import fit_mle, leave_one_out

RNG = np.random.default_rng


def normal(n: int, dim: int = 1, seed: int = 0) -> np.ndarray:
    return RNG(seed).normal(size=(n, dim))


SAMPLES: dict[str, tuple[Family, np.ndarray]] = {
    "normal": (FAMILIES["normal"], RNG(0).standard_t(4, (30, 1))),
    "normal_mixture": (normal_mixture(2), np.concatenate([normal(20) - 4, normal(20, seed=1) + 4])),
    "mvnormal": (FAMILIES["mvnormal"], RNG(0).standard_t(6, (25, 2))),
    "laplace": (FAMILIES["laplace"], normal(20)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_leave_one_out_is_a_new_fit_without_each_draw(name: str) -> None:
    family, x = SAMPLES[name]
    found = leave_one_out(x, family)
    for i in (0, 7, int(np.argmax(np.abs(x[:, 0])))):
        fit = fit_mle(np.delete(x, i, axis=0), family, draws=2)["fit"]
        params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
        assert found[i] == pytest.approx(float(family.logp(x[i : i + 1], params)[0]), abs=2e-3)


def test_draw_that_pulls_hard_is_left_out_by_a_new_fit() -> None:
    x = np.append(normal(39), 8.0)
    rest = x[:-1]
    found = leave_one_out(x, FAMILIES["normal"])
    assert found[-1] == pytest.approx(stats.norm.logpdf(8, rest.mean(), rest.std()), rel=1e-9)
    assert stats.norm.logpdf(8, x.mean(), x.std()) - found[-1] > 5


@pytest.mark.parametrize("scale", [1e-6, 37.3, 1e5])
@pytest.mark.parametrize("name", ["logistic", "skew_normal", "student_t", "exponential", "mvnormal"])
def test_leave_one_out_does_not_depend_on_units(name: str, scale: float) -> None:
    x = np.random.default_rng(1).standard_t(4, size=(120, 2 if name == "mvnormal" else 1))
    x = np.abs(x) if name == "exponential" else x + 3
    found = leave_one_out(scale * x, FAMILIES[name]) + x.shape[1] * np.log(scale)
    np.testing.assert_allclose(found, leave_one_out(x, FAMILIES[name]), atol=1e-7)


def test_leave_one_out_to_first_order_is_enough_for_many_draws() -> None:
    x = RNG(3).standard_t(6, 3000)
    n, mean, mean_square = len(x), x.mean(), (x**2).mean()
    means = (n * mean - x) / (n - 1)
    sds = np.sqrt((n * mean_square - x**2) / (n - 1) - means**2)
    exact = stats.norm.logpdf(x, means, sds)
    found = leave_one_out(x, FAMILIES["normal"], {"mu": mean, "sigma": x.std()})
    optimism = float((stats.norm.logpdf(x, mean, x.std()) - exact).sum())
    assert optimism > 1.5
    assert float((found - exact).sum()) == pytest.approx(0, abs=0.01 * optimism)
    assert found == pytest.approx(exact, abs=2e-4)


ENDS: dict[str, tuple[Family, list[float]]] = {
    "uniform": (FAMILIES["uniform"], [1.0, 2.0, 2.5, 4.0]),
    "pareto": (FAMILIES["pareto"], [1.0, 2.0, 2.5, 4.0]),
    "binomial": (FAMILIES["binomial"], [3, 4, 5, 5, 6, 4, 3, 5, 7]),
    "categorical": (FAMILIES["categorical"], [0, 1, 1, 2, 2, 3]),
    "skew_normal, half a normal": (FAMILIES["skew_normal"], [0.1, 0.2, 0.4, 0.5, 0.7, 0.9, 1.1, 1.4, 1.8, 2.6]),
    "skew_normal, the other half": (
        FAMILIES["skew_normal"],
        [-0.1, -0.2, -0.4, -0.5, -0.7, -0.9, -1.1, -1.4, -1.8, -2.6],
    ),
}
OUTSIDE = {"uniform": {0, 3}, "pareto": {0}, "binomial": {8}, "categorical": {0, 5}}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.exhaustive] if n in ("binomial", "skew_normal, half a normal") else [])
        for n in ENDS
    ],
)
def test_a_draw_beyond_all_others_is_outside_a_support_that_they_estimate(name: str) -> None:
    family, x = ENDS[name]
    found = leave_one_out(x, family)
    assert set(np.flatnonzero(np.isneginf(found))) == OUTSIDE.get(name, {0})
    assert np.isfinite(leave_one_out([*x, *x], family)).all()


def test_the_others_may_be_a_half_normal_where_all_are_none() -> None:
    x = np.array([53.13, 60.82, 54.78, 44.6, 47.03, 54.31, 49.78, 55.96])
    found = leave_one_out(x, FAMILIES["skew_normal"])
    for i in (1, 3, 4):
        others = np.delete(x, i)
        fit = fit_mle(others, FAMILIES["skew_normal"], draws=2)["fit"]
        params = {p.name: fit[p.name].to_numpy() for p in FAMILIES["skew_normal"].parameters}
        assert max(found[i], -1e9) == pytest.approx(
            max(FAMILIES["skew_normal"].logp([[x[i]]], params)[0], -1e9), abs=2e-3
        )


# --- weights ---------------------------------------------------------------------------------------------------------


def sample(name: str) -> tuple[Family, np.ndarray]:
    x = RNG(0).normal(size=(40, 1))
    if name == "normal_mixture":
        return normal_mixture(2), np.concatenate([x - 4, x + 4])
    if name == "mvnormal":
        return FAMILIES[name], RNG(1).standard_t(6, (30, 2))
    return FAMILIES[name], np.exp(x) if name in ("gamma", "weibull", "pareto") else x


@pytest.mark.parametrize("name", ["normal", "laplace", "gamma", "pareto", "mvnormal", "logistic", "normal_mixture"])
def test_a_weighted_draw_is_left_out_with_its_weight(name: str) -> None:
    family, x = sample(name)
    w = RNG(2).uniform(0.2, 3, len(x))
    w[5], w[6] = 0.0, 6.0
    found = leave_one_out(x, family, weights=w)
    for i in (0, 5, 6, int(np.argmax(np.abs(x[:, 0])))):
        fit = fit_mle(np.delete(x, i, axis=0), family, draws=2, weights=np.delete(w, i))["fit"]
        params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
        # Without the draw at the end of its support a family may exclude it.
        assert found[i] == pytest.approx(float(family.logp(x[i : i + 1], params)[0]), abs=2e-3)


@pytest.mark.parametrize("name", ["normal", "laplace", "gamma", "pareto", "mvnormal", "logistic"])
def test_counts_are_draws_repeated(name: str) -> None:
    family, x = sample(name)
    x = x[:20]
    counts = RNG(3).integers(1, 5, len(x))
    counts[0] += counts.sum() % 2  # the median of an odd number is one value
    repeated = leave_one_out(np.repeat(x, counts, axis=0), family)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    np.testing.assert_allclose(leave_one_out(x, family, weights=counts, counts=True), repeated[firsts], atol=1e-6)


def test_weights_count_as_parts_of_their_sum() -> None:
    family, x = sample("logistic")
    w = RNG(2).uniform(0.2, 3, len(x))
    np.testing.assert_allclose(leave_one_out(x, family, weights=50 * w), leave_one_out(x, family, weights=w), atol=1e-7)
    np.testing.assert_allclose(leave_one_out(x, family, weights=np.full(40, 7.0)), leave_one_out(x, family), atol=1e-9)


@pytest.mark.exhaustive
def test_folds_of_many_draws_with_a_kink_mind_the_weights() -> None:
    x = np.concatenate([RNG(0).normal(size=4000), RNG(1).normal(8, 1, size=4000)])[:, None]
    w = np.repeat([1.0, 0.0], 4000)
    found = leave_one_out(x, FAMILIES["laplace"], weights=w)
    near = leave_one_out(x[:4000], FAMILIES["laplace"])
    np.testing.assert_allclose(found[:4000], near, atol=0.02)


@pytest.mark.parametrize(
    ("weights", "counts", "words"),
    [
        (np.full(40, 1.5), True, r"weights\[0\] is 1.5; numbers of equal draws are whole"),
        (np.eye(40)[3], False, "one draw has all the weight"),
        (np.ones(39), False, "39 weights but 40 observations"),
        (-np.ones(40), False, "non-negative"),
    ],
)
def test_wrong_weights_are_refused(weights: np.ndarray, counts: bool, words: str) -> None:
    with pytest.raises(InputError, match=words):
        leave_one_out(sample("normal")[1], FAMILIES["normal"], weights=weights, counts=counts)


def test_the_others_may_have_their_maximum_at_the_other_sign_of_the_skewness() -> None:
    """All draws have one maximum, of negative skewness; the likelihood of all but the row that skews them most is highest at a positive one."""
    rng = np.random.default_rng(3)
    x = np.abs(rng.normal(size=120)) * 0.5 + rng.normal(size=120)
    family, found = FAMILIES["skew_normal"], leave_one_out(x, FAMILIES["skew_normal"])
    for row in (97, int(np.argmax(x)), int(np.argmin(x))):
        fit = fit_mle(np.delete(x, row), family, draws=2)["fit"]
        params = {name: fit[name].to_numpy() for name in ("mu", "sigma", "alpha")}
        assert abs(found[row] - family.logp(x[row : row + 1, None], params)[0]) < 0.02
