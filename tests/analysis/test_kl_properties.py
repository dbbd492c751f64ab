"""Properties of KL: closed forms by another integrator, maps by simulation, and what is said about the estimators."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy import integrate, stats

from analysis.kl_properties import figures as drawn
from analysis.kl_properties import study as question
from analysis.kl_properties.findings import coins, findings, infinite, sign, ways
from analysis.kl_properties.pairs import CORRELATED, INDEPENDENT, PAIRS, Pair, find_pair, normal_kl, student_normal_kl
from analysis.kl_properties.study import DIRECTIONS, MAPS, Settings
from analysis.site.chapter import words_of
from models.divergences import kl
from models.quadrature import Estimate
from models.targets import normal_mixture
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

SETTINGS = Settings(
    draws=2000, arviz_repeats=2, repeats=30, largest_power=3, seed=5
)  # fmt: skip
Array = np.ndarray[Any, Any]


def mixture(weights: Any, means: Any, sds: Any) -> Any:
    return lambda x: float(np.dot(weights, stats.norm.logpdf(x, means, sds)) if len(weights) == 1 else
                           np.log(np.dot(weights, stats.norm.pdf(x, means, sds)) + 1e-300))  # fmt: skip


#: Log densities of p and q by SciPy, without PyMC.
SCIPY = {
    "shifted": (stats.norm(0, 1).logpdf, stats.norm(1.5, 1).logpdf),
    "wider": (stats.norm(0, 1).logpdf, stats.norm(1, 3).logpdf),
    "exponential": (stats.expon(scale=1).logpdf, stats.expon(scale=1 / 3).logpdf),
    "cauchy": (stats.cauchy(0, 1).logpdf, stats.cauchy(2, 0.5).logpdf),
    "laplace": (stats.laplace(0, 1).logpdf, stats.norm(0, np.sqrt(2)).logpdf),
    "student": (stats.t(3).logpdf, stats.norm(0, 1).logpdf),
    "matched": (mixture([0.5, 0.5], [-3, 3], [1, 1]), stats.norm(0, np.sqrt(10)).logpdf),
    "one_mode": (mixture([0.5, 0.5], [-3, 3], [1, 1]), stats.norm(3, 1).logpdf),
    "mixtures": (mixture([0.3, 0.7], [-2, 2], [0.5, 1]), mixture([0.6, 0.4], [-1, 2.5], [1, 1.5])),
}


def by_scipy(name: str, direction: str) -> float:
    """Adaptive quadrature over pieces of the line."""
    log_p, log_q = SCIPY[name] if direction == "pq" else SCIPY[name][::-1]

    def term(x: float) -> float:
        a, b = float(log_p(x)), float(log_q(x))
        return float(np.exp(a) * (a - b)) if np.isfinite(a) and a > -600 else 0.0

    low, far = (0.0, 60.0) if name == "exponential" else (-30.0, 30.0)
    edges = np.linspace(low, far, 21)
    total = sum(integrate.quad(term, a, b, epsabs=1e-12, limit=100)[0] for a, b in pairwise(edges))
    if name in ("cauchy", "student"):
        total += integrate.quad(term, far, np.inf, epsabs=1e-12, limit=200)[0]
        total += integrate.quad(term, -np.inf, -far, epsabs=1e-12, limit=200)[0]
    return total


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


@pytest.fixture(scope="module")
def found(results: xr.DataTree) -> dict[str, Any]:
    return findings(results)


# --- four ways -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", SCIPY)
def test_divergences_are_those_of_another_integrator(results: xr.DataTree, name: str, direction: str) -> None:
    value = float(results["ways/estimators/kl"].sel(pair=name, direction=direction))
    other = by_scipy(name, direction)
    assert value == pytest.approx(other, abs=1e-7)
    exact = float(results["ways/estimators/exact"].sel(pair=name, direction=direction))
    assert np.isnan(exact) or exact == pytest.approx(other, abs=1e-7)


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.exact != (None, None)], ids=lambda p: p.name)
def test_closed_forms_fail_when_swapped(results: xr.DataTree, pair: Pair) -> None:
    both = results["ways/estimators/kl"].sel(pair=pair.name)
    for closed, direction in zip(pair.exact, DIRECTIONS, strict=True):
        if closed is not None:
            assert closed == pytest.approx(float(both.sel(direction=direction)), abs=1e-12)
            if pair.name not in ("shifted", "cauchy"):
                assert abs(closed - float(both.drop_sel(direction=direction)[0])) > 0.01


def test_student_to_normal_needs_a_variance() -> None:
    for nu in (2.5, 5.0):
        value = kl(
            question.from_distribution("StudentT", {"nu": nu, "mu": 0, "sigma": 1}), normal_mixture([1], [0], [1])
        ).value
        assert student_normal_kl(nu) == pytest.approx(value, abs=1e-6)
    assert student_normal_kl(2) == student_normal_kl(1) == np.inf


def test_correlated_normals_by_simulation(results: xr.DataTree) -> None:
    rng = np.random.default_rng(0)
    laws = [stats.multivariate_normal([0, 0], cov) for cov in (CORRELATED, INDEPENDENT)]
    for (p, q), direction in zip((laws, laws[::-1]), DIRECTIONS, strict=True):
        x = p.rvs(40_000, random_state=rng)
        ratio = p.logpdf(x) - q.logpdf(x)
        value = float(results["ways/estimators/kl"].sel(pair="correlated", direction=direction))
        assert abs(ratio.mean() - value) < 5 * ratio.std() / 200
        other = float(results["ways/estimators/kl"].sel(pair="correlated").drop_sel(direction=direction)[0])
        assert abs(ratio.mean() - other) > 5 * ratio.std() / 200


def test_monte_carlo_draws_from_its_first_argument() -> None:
    p, q = find_pair("wider").targets()
    means = [question.monte_carlo(p, q, 4000, seed) for seed in range(20)]
    spread = np.std([m for m, _ in means])
    assert np.mean([se for _, se in means]) == pytest.approx(spread, rel=0.5)
    assert abs(np.mean([m for m, _ in means]) - kl(p, q).value) < 5 * spread / np.sqrt(20)
    assert abs(np.mean([m for m, _ in means]) - kl(q, p).value) > 50 * spread / np.sqrt(20)


def test_spread_of_the_log_ratio_is_that_of_draws() -> None:
    p, q = find_pair("mixtures").targets()
    x = p.rvs(100_000, seed=1)
    assert question.log_ratio_sd(p, q, kl(p, q).value) == pytest.approx(np.std(question.log_ratio(p, q)(x)), rel=0.02)
    heavy, normal = find_pair("student").targets()
    assert question.log_ratio_sd(heavy, normal, kl(heavy, normal).value) == np.inf
    assert question.log_ratio_sd(normal, heavy, kl(normal, heavy).value) < 1


def test_nearest_neighbours_keep_the_direction_and_the_dimension() -> None:
    """Where it works at all (moderate divergences, many draws) ArviZ's estimate tells the directions apart."""
    p, q = find_pair("wider").targets()
    forward, reverse = (question.nearest_neighbour(a, b, 4, 3, size=1500).mean() for a, b in ((p, q), (q, p)))
    assert abs(forward - 0.71) < 0.15
    assert reverse > 1.2
    correlated = question.nearest_neighbour(*find_pair("correlated").targets(), 4, 3, size=1500)
    assert abs(correlated.mean() - 0.511) < 0.2


# --- the properties --------------------------------------------------------------------------------------------------


def test_pointwise_smallest_values() -> None:
    """For N(0, 1) and N(d, 1) the integrand is -phi(x) d (x - d/2)."""
    p, q = find_pair("shifted").targets()
    x = np.linspace(-8, 10, 200_001)
    first, second = question.pointwise(p, q)
    assert first == pytest.approx((-stats.norm.pdf(x) * 1.5 * (x - 0.75)).min(), abs=1e-5)
    assert second == pytest.approx(0, abs=1e-12)


def test_a_one_to_one_map_keeps_kl_and_moves_entropy(results: xr.DataTree) -> None:
    one = results["maps/one_to_one"].to_dataset()
    np.testing.assert_allclose(one["kl"].sel(when="after"), one["kl"].sel(when="before"), atol=1e-12)
    expected = [stats.lognorm(1).entropy() + 0.5, stats.lognorm(1.5).entropy() + 1]
    np.testing.assert_allclose(one["entropy"].sel(when="after"), expected, atol=1e-10)
    np.testing.assert_allclose(
        one["entropy"].sel(when="after") - one["entropy"].sel(when="before"), one["slope"], atol=1e-12
    )
    assert abs(float(one["kl"].sel(direction="pq", when="after")) - normal_kl(0.5, 1, 1, 1.5)) < 1e-12


def test_signs_have_probabilities(results: xr.DataTree) -> None:
    many = results["maps/many_to_one/kl"]
    for name in question.MAPPED:
        p, q = (
            np.dot(t.spec["weights"], stats.norm.cdf(0, t.spec["means"], t.spec["sds"]))
            for t in find_pair(name).targets()
        )
        expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        assert float(many.sel(pair=name, direction="pq", map="sign")) == pytest.approx(expected, abs=1e-9)
    order = many.sel(map=list(MAPS)).to_numpy()
    assert np.all(order[:, :, 1:] <= order[:, :, :1] + 1e-12)


def test_absolute_value_hides_everything_or_nothing(results: xr.DataTree) -> None:
    many = results["maps/many_to_one/kl"]
    assert abs(float(many.sel(pair="one_mode", direction="pq", map="fold"))) < 1e-12
    np.testing.assert_allclose(many.sel(pair="matched", map="fold"), many.sel(pair="matched", map="x"), atol=1e-12)

    def folded(log: Any, y: float) -> float:
        return float(np.logaddexp(log(y), log(-y)))

    p, q = SCIPY["mixtures"]
    value, _ = integrate.quad(
        lambda y: np.exp(folded(p, y)) * (folded(p, y) - folded(q, y)), 0, 12, points=[1, 2, 3], limit=200
    )
    assert float(many.sel(pair="mixtures", direction="pq", map="fold")) == pytest.approx(value, abs=1e-8)


def test_infinite_divergences(results: xr.DataTree, found: dict[str, Any]) -> None:
    infinite = results["limits/infinite"].to_dataset()
    kls = infinite["kl"].sel(direction="pq")
    assert list(np.isinf(kls)) == [True, False, True]
    assert np.all(np.isfinite(infinite["kl"].sel(direction="qp")))
    assert float(infinite["kl"].sel(case="missed", direction="qp")) == pytest.approx(-np.log(0.999), abs=1e-12)
    # Finite exactly where no draw has fallen into the missed part, and then log(1 - mass).
    seen = infinite["mc"].sel(case="missed")
    assert np.all(np.isinf(seen) | np.isclose(seen, np.log(0.999), atol=1e-12))
    share = float((np.abs(seen.sel(n=1000)) < np.inf).mean())
    assert abs(share - 0.999**1000) < 5 * np.sqrt(0.23 / 30)
    assert found["infinite"]["n_infinite"] == 2
    # The median of what is infinite grows with n, that of what is finite does not.
    medians = infinite["mc"].median("repeat")
    assert float(medians.sel(case="t2", n=1000)) > float(medians.sel(case="t2", n=10)) + 0.5
    assert float(medians.sel(case="t3", n=1000)) < 1


# --- what is said ----------------------------------------------------------------------------------------------------


def test_findings_are_complete(found: dict[str, Any]) -> None:
    assert len(words_of("kl_properties", found).answer) > 100
    assert len(found["ways"]["table"]) == 2 * len(PAIRS)
    assert found["ways"]["n_exact"] == 13
    assert found["ways"]["with_variance"] == 19
    assert found["ways"]["symmetric"] == ["shifted", "Cauchy"]
    assert found["sign"]["n_negative_kl"] == 0
    assert found["maps"]["n_raised"] == 0


def test_coins_are_those_of_another_route() -> None:
    """SciPy's relative entropy of two Bernoulli distributions; the terms add up; and the order matters."""
    found = coins(0.5, 0.9, 10)
    assert found["pq"] == pytest.approx(stats.entropy([0.5, 0.5], [0.9, 0.1]))
    assert found["qp"] == pytest.approx(stats.entropy([0.9, 0.1], [0.5, 0.5]))
    assert found["odds"] == pytest.approx((0.5**10) / (0.9**5 * 0.1**5))
    for key in ("pq", "qp"):
        assert sum(row[key] for row in found["table"]) == pytest.approx(found[key])


def test_a_negative_divergence_is_said(results: xr.DataTree, found: dict[str, Any]) -> None:
    data = results["ways/estimators"].to_dataset().copy(deep=True)
    data["kl"][0, 0] = -1e-3
    low = sign(data)
    assert low["n_negative_kl"] == 1
    said = words_of("kl_properties", found | {"sign": low})
    assert "Of the 20 divergences of the table 1 came out negative." in said.text


def test_truth_values_follow_the_numbers(results: xr.DataTree) -> None:
    data = results["ways/estimators"].to_dataset()
    assert not ways(data)["fewer_than_chance"]
    off = ways(data.assign(mc=data["mc"] + 3 * data["mc_se"]))
    assert off["fewer_than_chance"]
    assert off["within"] < 10
    limits = results["limits/infinite"].to_dataset().copy(deep=True)
    assert infinite(limits)["n_infinite"] == infinite(limits)["n_should"] == 2
    limits["kl"][0, 0] = 1.0
    assert infinite(limits)["n_infinite"] == 1
    assert infinite(limits.assign(mc_se=1e-9 * limits["mc_se"]))["covers_too_few"]


@pytest.mark.parametrize(
    ("part", "changed", "words"),
    [
        ("ways", {"fewer_than_chance": True}, "fewer than chance would leave there"),
        ("ways", {"fewer_than_chance": False}, "chance alone would put"),
        ("infinite", {"n_infinite": 1}, "returns ∞ for 1 of 2, and misses the rest"),
        ("infinite", {"n_infinite": 2}, "returns ∞ for both."),
        (
            "infinite",
            {"covers": Estimate(0.7, 0.05, "draws"), "covers_too_few": True},
            "70 ± 5% of the repeats at n = 1000, not in 95%",
        ),
        ("sign", {"bregman_holds": True}, "nowhere below zero"),
        ("sign", {"bregman_holds": False, "bregman": -1e-3}, "lowest value on a fine grid of x was −0.0010"),
    ],
)
def test_sentences_follow_the_truth_values(
    found: dict[str, Any], part: str, changed: dict[str, Any], words: str
) -> None:
    said = words_of("kl_properties", found | {part: found[part] | changed})
    assert words in " ".join(said.text.split())


def test_streams_are_seeded_and_apart() -> None:
    assert question.stream(0, 1, 2) == question.stream(0, 1, 2)
    assert len({question.stream(s, i, j) for s in range(3) for i in range(3) for j in range(3)}) == 27
    settings = Settings(repeats=10, largest_power=2)
    first, second = (question.run_infinite(settings) for _ in range(2))
    assert first.equals(second)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_what_is_drawn_adds_up_to_the_divergence(results: xr.DataTree) -> None:
    densities = results["curves/densities"].to_dataset()
    step = float(densities["x"][1] - densities["x"][0])
    for name in question.DRAWN:
        logs = densities["log_density"].sel(pair=name).to_numpy()
        for direction, pair in zip(DIRECTIONS, (logs, logs[::-1]), strict=True):
            expected = float(results["ways/estimators/kl"].sel(pair=name, direction=direction))
            assert question.integrand(*pair).sum() * step == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree, found: dict[str, Any]) -> None:
    check_drawings(lambda theme: drawn.plot(results, theme=theme), words_of("kl_properties", found))


@pytest.mark.usefixtures("closed")
def test_figures(results: xr.DataTree) -> None:
    drawings = drawn.plot(results)
    assert set(drawings) == {"asymmetry"}
    axes = drawings["asymmetry"].figure.viz["figure"].item().axes
    assert [a.get_title() for a in axes[2:]] == [
        "KL(p‖q) = 8.311 nats", "KL(p‖q) = 0.462 nats", "KL(q‖p) = 0.689 nats", "KL(q‖p) = 0.938 nats",
    ]  # fmt: skip


@pytest.mark.usefixtures("closed")
def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: drawn.plot(results, backend="plotly"), tmp_path)
