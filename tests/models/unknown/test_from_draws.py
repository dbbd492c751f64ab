"""Entropy and KL from draws alone: against closed forms, brute force, ArviZ, and what must be refused or flagged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma, gammaln

from analysis.data.columns import load_column
from models.errors import InputError
from models.families import FAMILIES, normal_mixture
from models.quadrature import Estimate
from models.targets import from_draws
from models.targets import mvnormal_mixture as mixture_target
from models.targets import normal_mixture as line_target
from models.unknown import (
    Interval,
    cross_entropy_from_draws,
    default_neighbours,
    entropy_from_draws,
    kl_difference,
    kl_from_draws,
    leave_one_out,
    rounding_unit,
)
from models.unknown.intervals import mean_interval, tail_indices
from models.unknown.neighbours import Distances, shared, weights
from tests.models.unknown.coverage import coverage_study

RNG = np.random.default_rng


def normal(n: int, dim: int = 1, seed: int = 0) -> np.ndarray:
    return RNG(seed).normal(size=(n, dim))


def log_normal_density(x: np.ndarray, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    return stats.norm.logpdf(x, mean, sd).sum(axis=1)


# --- closed forms ----------------------------------------------------------------------------------------------------


def bimodal(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-4.0, 4.0], n) + rng.normal(size=n)


LINE: dict[str, tuple[Callable[[int, np.random.Generator], np.ndarray], float]] = {
    "normal": (lambda n, r: r.normal(size=n), float(stats.norm.entropy())),
    "uniform": (lambda n, r: r.uniform(2, 5, size=n), np.log(3)),
    "exponential": (lambda n, r: r.exponential(size=n), 1.0),
    "student": (lambda n, r: r.standard_t(3, size=n), float(stats.t(3).entropy())),
    "cauchy": (lambda n, r: r.standard_cauchy(size=n), np.log(4 * np.pi)),
    "bimodal": (bimodal, float(stats.norm.entropy()) + np.log(2)),  # the modes share 2e-4 nats
}
PLANE: dict[str, tuple[Callable[[int, np.random.Generator], np.ndarray], float]] = {
    "normal": (lambda n, r: r.normal(size=(n, 2)), 2 * float(stats.norm.entropy())),
    "square": (lambda n, r: r.uniform(size=(n, 2)), 0.0),
    "exponential": (lambda n, r: r.exponential(size=(n, 2)), 2.0),
}
CASES = [(f"1-{k}", v, 400) for k, v in LINE.items()] + [(f"2-{k}", v, 400) for k, v in PLANE.items()]


@pytest.mark.parametrize(("case", "n"), [(c, n) for _, c, n in CASES], ids=[name for name, _, _ in CASES])
def test_intervals_of_the_entropy_hold_and_bias_is_small_beside_their_length(case: Any, n: int) -> None:
    draw, truth = case
    study = coverage_study(lambda seed: draw(n, RNG(seed)), entropy_from_draws, truth, replications=200)
    assert abs(study.bias) < study.sd / 5 + 3 * study.bias_error
    assert study.mean_error == pytest.approx(study.sd, rel=0.2)  # 200 standard deviations are known to 5 %
    assert 0.90 <= study.coverage <= 0.99
    assert study.reliable > 0.9


@pytest.mark.parametrize("dim", [1, 2])
def test_intervals_of_the_kl_hold_where_the_model_is_right_and_only_neighbours_bring_noise(dim: int) -> None:
    study = coverage_study(
        lambda seed: normal(400, dim, seed), lambda x: kl_from_draws(x, log_normal_density), 0.0, replications=200
    )
    assert abs(study.bias) < study.sd / 5 + 3 * study.bias_error
    assert study.mean_error == pytest.approx(study.sd, rel=0.2)
    assert study.coverage >= 0.94  # no part of an interval lies below zero, where the truth is
    assert 0.9 <= study.reliable < 1


def test_no_interval_of_a_kl_lies_below_zero() -> None:
    found = [kl_from_draws(normal(1000, seed=seed), log_normal_density) for seed in range(120, 210)]
    assert all(0 <= e.lower < e.upper for e in found)
    below = [e for e in found if any("wholly below zero" in reason for reason in e.warnings)]
    assert 0 < len(below) < 12  # by chance one in 40
    assert not any(e.reliable for e in below)
    assert all(e.value < 0 and e.upper == np.inf for e in below)  # none that the estimate itself lies outside
    plain = cross_entropy_from_draws(normal(60), log_normal_density, 0.9)
    assert plain.lower > 0.9  # others are left as they are
    assert entropy_from_draws(0.01 * normal(60)).upper < 0


@pytest.mark.exhaustive
def test_intervals_of_the_kl_of_a_fitted_family_hold() -> None:
    family = FAMILIES["normal"]
    h = LINE["bimodal"][1]

    def estimate(x: np.ndarray) -> Interval:
        return kl_from_draws(x, family, params={"mu": x.mean(), "sigma": x.std()})

    def truth(x: np.ndarray) -> float:  # E (x - m)^2 = 17 + m^2 under the mixture
        return 0.5 * np.log(2 * np.pi * x.var()) + (17 + x.mean() ** 2) / (2 * x.var()) - h

    study = coverage_study(lambda seed: bimodal(300, RNG(seed))[:, None], estimate, truth, replications=100)
    assert abs(study.bias) < study.sd / 5 + 3 * study.bias_error
    assert 0.88 <= study.coverage <= 1.0


@pytest.mark.parametrize(("n", "dim"), [(60_000, 1), (25_000, 3)])
def test_many_draws_are_taken_in_parts(n: int, dim: int) -> None:
    h = entropy_from_draws(normal(n, dim, seed=5))
    assert h.reliable
    assert abs(h.value - dim * stats.norm.entropy()) < 3 * h.error
    assert h.error < 0.03


def test_kl_sees_its_direction() -> None:
    wide, narrow = line_target([1], [1], [2]), line_target([1], [0], [1])
    there, back = kl_from_draws(wide.rvs(4000, 0), narrow), kl_from_draws(narrow.rvs(4000, 0), wide)
    assert there.lower < 2 - np.log(2) < there.upper  # (4 + 1)/2 - 1/2 - ln 2
    assert back.lower < np.log(2) + 0.25 - 0.5 < back.upper
    assert there.lower > back.upper


def test_kl_is_cross_entropy_minus_entropy() -> None:
    x, q = normal(300, 2), lambda x: log_normal_density(x, 0.3, 1.5)
    parts = cross_entropy_from_draws(x, q).value - entropy_from_draws(x).value
    assert kl_from_draws(x, q).value == pytest.approx(parts, abs=1e-12)


def test_a_target_and_its_log_density_are_one_model() -> None:
    q = mixture_target([0.4, 0.6], [[-1, 0], [1, 0]], [np.eye(2), np.eye(2)])
    x = q.rvs(200, 1)
    assert kl_from_draws(x, q) == kl_from_draws(x, q.logp)


# --- nearest neighbours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_distances_are_those_of_all_pairs(dim: int) -> None:
    z = normal(90, dim)
    expected = np.sort(cdist(z, z), axis=1)[:, 1:8].T
    found = np.empty_like(expected)
    for rows, distances in Distances(z).parts(7):
        found[:, rows] = distances
    assert found == pytest.approx(expected, abs=1e-12)
    for rows, distances in Distances(z).parts(7, np.array([3, 50])):
        assert distances == pytest.approx(expected[:, rows], abs=1e-12)


@pytest.mark.parametrize("dim", [1, 3])
def test_one_neighbour_is_kozachenko_leonenko(dim: int) -> None:
    x = normal(50, dim)
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))
    z = np.linalg.solve(factor, x.T).T
    r = np.sort(cdist(z, z), axis=1)[:, 1]
    ball = dim / 2 * np.log(np.pi) - gammaln(dim / 2 + 1)
    h = digamma(50) - digamma(1) + ball + dim * np.log(r).mean() + np.log(np.linalg.det(factor))
    assert entropy_from_draws(x, neighbours=1).value == pytest.approx(h, abs=1e-10)


@pytest.mark.parametrize(("k", "dim"), [(5, 1), (16, 1), (16, 2), (32, 3)])
def test_weights_keep_the_entropy_and_cancel_the_leading_bias(k: int, dim: int) -> None:
    w, _ = weights(k, dim)
    ks = np.arange(1, k + 1)
    assert w.sum() == pytest.approx(1)
    for power in [1] if dim == 1 else [1, 2]:
        moments = np.exp(gammaln(ks + power / dim) - gammaln(ks))
        assert abs(w @ moments) < 1e-9 * moments.max()


@pytest.mark.parametrize(("dim", "k"), [(1, 8), (2, 8)])
def test_noise_of_neighbours_is_as_tabulated(dim: int, k: int) -> None:
    # Uniform on a torus: log p is constant and there is no edge, so all variance is that of the distances.
    n, replications = 300, 1200
    w, noise = weights(k, dim)
    means, within = [], []
    for seed in range(replications):
        x = RNG(seed).random((n, dim))
        terms = dim * (np.log(cKDTree(x, boxsize=1).query(x, k + 1)[0][:, 1:]) @ w)
        means.append(terms.mean())
        within.append(terms.var(ddof=1))
    assert np.mean(within) == pytest.approx(noise, rel=0.05)
    assert n * np.var(means, ddof=1) == pytest.approx(shared(dim) * noise, rel=0.15)  # 3.5 standard errors


def test_default_number_of_neighbours_fits_the_draws() -> None:
    for n in (20, 100, 10**4, 10**6):
        for dim in (1, 2, 6):
            assert 2 * default_neighbours(n, dim) < n


# --- invariance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 3])
def test_entropy_shifts_by_the_log_determinant(dim: int) -> None:
    x, a = RNG(1).standard_t(5, (300, dim)), RNG(2).normal(size=(dim, dim)) * 50
    before, after = entropy_from_draws(x), entropy_from_draws(x @ a.T + 7)
    assert after.value - before.value == pytest.approx(np.linalg.slogdet(a)[1], abs=1e-8)
    assert after.error == pytest.approx(before.error, rel=1e-8)


def test_kl_does_not_depend_on_coordinates() -> None:
    x, a = RNG(1).standard_t(9, (300, 2)), np.array([[3.0, 1.0], [-20.0, 40.0]])
    back = np.linalg.inv(a)
    fixed = kl_from_draws(x, log_normal_density)
    moved = kl_from_draws(x @ a.T, lambda y: log_normal_density(y @ back.T) - np.linalg.slogdet(a)[1])
    assert (moved.value, moved.error) == pytest.approx((fixed.value, fixed.error), abs=1e-8)
    values = []
    for y in (x, x @ a.T):
        params = {"mu": y.mean(axis=0), "cov": np.cov(y.T, bias=True)}
        values.append(kl_from_draws(y, FAMILIES["mvnormal"], params=params).value)
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_units_of_the_columns_do_not_matter_even_at_the_ends_of_floats() -> None:
    x = normal(100, 2)
    h = entropy_from_draws(x * [1e120, 1e-120])
    assert h.value == pytest.approx(entropy_from_draws(x).value, abs=1e-8)


# --- leave-one-out ---------------------------------------------------------------------------------------------------


def test_judging_a_fit_on_its_own_draws_would_flatter_it() -> None:
    x = normal(60)
    params = {"mu": x.mean(), "sigma": x.std()}
    fixed = cross_entropy_from_draws(x, FAMILIES["normal"].member(params))
    fitted = cross_entropy_from_draws(x, FAMILIES["normal"], params=params)
    assert 1 < len(x) * (fitted.value - fixed.value) < 4  # tr(J^-1 K) is 2 for a Normal of Normal draws
    assert (
        kl_from_draws(x, FAMILIES["normal"], params=params).value
        > kl_from_draws(x, FAMILIES["normal"].member(params)).value
    )


def test_parameter_at_its_boundary_stays_there() -> None:
    x = bimodal(200, RNG(0))  # nu -> infinity: the Normal
    student, gauss = (cross_entropy_from_draws(x, FAMILIES[f]).value for f in ("student_t", "normal"))
    assert student == pytest.approx(gauss, abs=1e-3)


# --- differences -----------------------------------------------------------------------------------------------------


def elpd_of(log_p: np.ndarray) -> Any:
    import xarray as xr
    from arviz_stats.utils import ELPDData

    n = len(log_p)
    total, error = float(log_p.sum()), float(np.sqrt(n * log_p.var()))
    values = xr.DataArray(log_p, dims="observation")
    return ELPDData(
        elpd=total,
        se=error,
        p=0.0,
        n_samples=1000,
        n_data_points=n,
        scale="log",
        warning=False,
        good_k=0.7,
        elpd_i=values,
        pareto_k=0.0 * values,
    )


@pytest.mark.exhaustive
def test_difference_is_that_of_arviz_compare() -> None:
    import arviz as az

    x = bimodal(150, RNG(3))[:, None]
    pair = {"one": FAMILIES["normal"], "two": normal_mixture(2)}
    table = az.compare({k: elpd_of(leave_one_out(x, f)) for k, f in pair.items()}, round_to="none")
    d = kl_difference(x, pair["one"], pair["two"])
    assert list(table.index) == ["two", "one"]
    assert len(x) * d.value == pytest.approx(abs(float(table["elpd_diff"]["one"])), rel=1e-8)
    assert len(x) * d.error == pytest.approx(float(table["dse"]["one"]), rel=1e-8)
    assert d.reliable


def test_difference_is_positive_where_the_second_model_is_closer_and_turns_with_the_order() -> None:
    p, near, far = (line_target([1], [m], [1]) for m in (0.0, 0.5, 1.0))
    x = p.rvs(3000, 1)
    d = kl_difference(x, far, near)
    assert d.lower < 0.5 - 0.125 < d.upper
    assert d.lower > 0
    e = kl_difference(x, near, far)
    assert (e.value, e.lower, e.upper) == pytest.approx((-d.value, -d.upper, -d.lower), abs=1e-14)
    assert d.value == pytest.approx(kl_from_draws(x, far).value - kl_from_draws(x, near).value, abs=1e-12)


def test_difference_minds_no_rounding_and_no_heavy_tails_that_both_models_share() -> None:
    x = np.round(normal(400), 1)
    assert kl_difference(x, lambda y: log_normal_density(y, 1.0), log_normal_density).reliable


def test_families_that_hardly_differ_are_not_told_apart() -> None:
    d = kl_difference(normal(200), FAMILIES["normal"], FAMILIES["logistic"])
    assert d.reliable == (abs(d.value) * 200 >= 4)
    assert not kl_difference(normal(200), FAMILIES["normal"], FAMILIES["normal"]).reliable


def test_a_model_that_excludes_a_draw_is_infinitely_far() -> None:
    x = normal(100)
    cut = lambda y: np.where(y[:, 0] > 0, 0.0, -np.inf) + log_normal_density(y)  # noqa: E731
    kl = kl_from_draws(x, cut)
    assert (kl.value, kl.reliable) == (np.inf, False)
    assert "density zero" in kl.warnings[0]
    assert kl_difference(x, cut, log_normal_density).value == np.inf
    assert kl_difference(x, log_normal_density, cut).value == -np.inf
    with pytest.raises(InputError, match="both models have density zero"):
        kl_difference(x, cut, cut)


# --- reliability -----------------------------------------------------------------------------------------------------


def test_old_faithful_is_rounded_and_says_so() -> None:
    eruptions, waiting = load_column("old_faithful_eruptions"), load_column("old_faithful_waiting")
    assert rounding_unit(waiting) == 1
    assert rounding_unit(eruptions) == pytest.approx(1 / 60, rel=0.1)  # seconds, written as minutes
    for x in (eruptions, waiting, np.column_stack([eruptions, waiting])):
        h = entropy_from_draws(x)
        assert not h.reliable
        assert "repeated" in h.warnings[0]
        assert "jitter=True" in h.warnings[0]
        assert np.isfinite(h.value)


def test_jitter_restores_what_rounding_broke_and_is_recorded() -> None:
    x = normal(1000)
    clean, rounded = entropy_from_draws(x), entropy_from_draws(np.round(x, 1))
    spread = entropy_from_draws(np.round(x, 1), jitter=True, seed=4)
    assert abs(rounded.value - clean.value) > 10 * clean.error
    assert abs(spread.value - clean.value) < 2 * clean.error
    assert spread.reliable
    assert "seed 4" in spread.warnings[0]
    assert spread == entropy_from_draws(np.round(x, 1), jitter=True, seed=4)
    assert spread.value != entropy_from_draws(np.round(x, 1), jitter=True, seed=5).value


def test_rounding_that_hides_structure_is_not_mended_by_jitter() -> None:
    h = entropy_from_draws(np.round(normal(1000)), jitter=True)
    assert not h.reliable
    assert any("rounding hides" in w for w in h.warnings)


def test_rounding_is_seen_before_it_makes_ties() -> None:
    x = np.round(normal(300, 3), 1)  # in three dimensions rows hardly repeat
    assert not entropy_from_draws(x).reliable


@pytest.mark.parametrize("unit", [0.01, 1 / 3, 2.54, 1000.0])
def test_unit_of_rounding_is_found_in_any_units(unit: float) -> None:
    assert rounding_unit(np.round(normal(400)[:, 0] * 30) * unit) == pytest.approx(unit)


def test_rows_that_are_repeated_whole_keep_the_unit_they_are_written_in() -> None:
    x = np.repeat(RNG(0).normal(size=50).round(2), 3)
    assert rounding_unit(x) == pytest.approx(0.01)


def test_continuous_values_have_no_unit() -> None:
    assert [rounding_unit(RNG(s).random(300)) for s in range(20)] == [0.0] * 20
    assert entropy_from_draws(normal(300).astype(np.float32)).reliable


@pytest.mark.parametrize(
    "x",
    [
        np.concatenate([normal(100), normal(1)]),
        np.concatenate([normal(100), normal(100)]),
        np.repeat(normal(100).round(5), 2, axis=0),
        np.where(RNG(0).random((200, 1)) < 0.3, 0.0, normal(200)),
    ],
    ids=["one", "all", "in decimals", "zeros"],
)
def test_copies_are_reported_and_tell_no_number(x: np.ndarray) -> None:
    # The logarithm of a distance of 0 is any number: no value, and an interval of all numbers, rather than a narrow one.
    h, kl = entropy_from_draws(x), kl_from_draws(x, log_normal_density)
    assert "remove copies" in h.warnings[0]
    assert not entropy_from_draws(x, jitter=True).reliable
    for found, lower in ((h, -np.inf), (kl, 0.0)):
        assert (np.isnan(found.value), found.lower, found.upper, found.reliable) == (True, lower, np.inf, False)


def test_structure_finer_than_the_distance_between_neighbours_is_reported() -> None:
    rng = RNG(0)
    comb = rng.integers(0, 200, 1000) + 0.001 * rng.normal(size=1000)
    a = rng.normal(size=1000)
    thread = np.column_stack([a, a**2 + 0.001 * rng.normal(size=1000)])
    for x in (comb, thread):
        h = entropy_from_draws(x)
        assert not h.reliable
        assert "more than chance" in h.warnings[0]


def test_too_many_dimensions_are_reported() -> None:
    h = entropy_from_draws(normal(300, 8))
    assert not h.reliable
    assert "8 dimensions" in h.warnings[0]


def test_tails_too_heavy_for_the_model_are_reported() -> None:
    x = RNG(0).standard_cauchy(1000)[:, None]
    assert entropy_from_draws(x).reliable
    for estimate in (kl_from_draws(x, log_normal_density), cross_entropy_from_draws(x, log_normal_density)):
        assert not estimate.reliable
        assert "heavy tail" in estimate.warnings[0]


@pytest.mark.exhaustive
def test_the_interval_of_a_skewed_mean_is_corrected_by_hall() -> None:
    # Of the mean of 60 exponential variables, whose distribution is known: the ends are quantiles of a Gamma.
    x = RNG(0).exponential(size=(3000, 60))
    held, below, above = [], [], []
    for row in x:
        e = mean_interval(row, 0.95)
        held.append(e.lower <= 1 <= e.upper)
        below.append(e.upper < 1)
        above.append(e.lower > 1)
    plain = 1.96 * x.std(axis=1, ddof=1) / np.sqrt(60)
    missed = np.mean(x.mean(axis=1) + plain < 1)
    assert missed > 0.045  # the plain interval misses on one side
    assert np.mean(below) < 0.7 * missed
    assert 0.94 < np.mean(held) < 0.985


@pytest.mark.parametrize(("nu", "least"), [(3, 0.4), (4, 0.7)])
def test_intervals_marked_reliable_hold_also_under_heavy_tails(nu: int, least: float) -> None:
    p = stats.t(nu)
    q = stats.norm(0, p.std())

    def estimate(x: np.ndarray) -> Interval:
        return kl_from_draws(x, lambda x: q.logpdf(x[:, 0]))

    truth = float(q.entropy() - p.entropy())
    study = coverage_study(lambda s: RNG(s).standard_t(nu, (1000, 1)), estimate, truth, replications=200)
    assert study.coverage_reliable > 0.9  # 0.92 to 0.98 in 500 replications
    assert study.reliable > least


def test_tail_of_one_side_lengthens_that_side() -> None:
    x = RNG(0).pareto(2.5, size=1000)
    left, right = tail_indices(x)
    assert right > 0.25 > left
    e = mean_interval(x, 0.95)
    assert e.upper - e.value > 1.3 * (e.value - e.lower)
    mirrored = mean_interval(-x, 0.95)
    assert (mirrored.lower, mirrored.upper) == pytest.approx((-e.upper, -e.lower))


def test_light_tails_are_not_marked_where_the_log_ratio_is_bounded_on_one_side() -> None:
    # Exponential against Normal: the largest log ratios lie at zero and in the tail.
    q = stats.norm(1, 1)
    x = RNG(0).exponential(size=(10_000, 1))
    assert kl_from_draws(x, lambda x: q.logpdf(x[:, 0])).reliable


# --- input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (normal(19), "at least 20"),
        ([1.0, np.nan] * 20, "not finite"),
        ([1.0, np.inf] * 20, "not finite"),
        (["a"] * 30, "not numbers"),
        ([3.0] * 30, "fewer than 2"),
        (np.column_stack([normal(30), np.ones(30)]), "column 1 is constant"),
        (np.column_stack([normal(30), 2 * normal(30)]), "fewer than 2 dimensions"),
        (normal(25, 30), "fewer than 30 dimensions"),
        (normal(8).reshape(2, 2, 2), "3 dimensions"),
    ],
)
def test_draws_without_a_density_or_too_few_are_refused(x: Any, words: str) -> None:
    for call in (entropy_from_draws, lambda x: kl_from_draws(x, log_normal_density)):
        with pytest.raises(InputError, match=words):
            call(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": 95}, "level is 95"),
        ({"level": 0.0}, "level is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"neighbours": 15}, "between 1 and 14"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        entropy_from_draws(normal(30), **options)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (FAMILIES["normal"], "dimension 1 but the data has dimension 2"),
        (line_target([1], [0], [1]), "dimension 1 but the draws have dimension 2"),
        (from_draws(normal(30, 2)), "known by draws only"),
        (lambda x: x, "it must return"),
        (lambda x: np.full(len(x), np.nan), "nan at draw 1"),
        ("normal", "give a family, a target"),
    ],
)
def test_models_that_do_not_fit_the_draws_are_refused(model: Any, words: str) -> None:
    for call in (kl_from_draws, cross_entropy_from_draws, lambda x, m: kl_difference(x, log_normal_density, m)):
        with pytest.raises(InputError, match=words):
            call(normal(30, 2), model)


def test_one_column_is_a_line_and_twenty_draws_suffice() -> None:
    x = normal(20)
    assert entropy_from_draws(x) == entropy_from_draws(x[:, 0]) == entropy_from_draws(list(x[:, 0]))
    assert entropy_from_draws(normal(20, 2)).upper < np.inf


def test_a_higher_level_is_a_longer_interval_around_one_value() -> None:
    low, high = (entropy_from_draws(normal(200), level) for level in (0.5, 0.99))
    assert low.value == high.value
    assert high.lower < low.lower < low.value < low.upper < high.upper
    assert low.upper - low.lower == pytest.approx(2 * stats.t(199).ppf(0.75) * low.error, rel=0.1)


def test_an_interval_is_an_estimate_and_goes_to_json() -> None:
    h = entropy_from_draws(normal(100))
    assert isinstance(h, Estimate)
    assert float(h) == h.value
    assert json.loads(json.dumps(h.as_dict())) == h.as_dict()
    assert set(h.as_dict()) == {"value", "error", "lower", "upper", "level", "reliable", "warnings"}


def test_a_study_takes_estimators_without_intervals() -> None:
    study = coverage_study(
        lambda seed: normal(50, seed=seed),
        lambda x: Estimate(float(x.mean()), 50**-0.5, "draws"),
        0.0,
        replications=100,
    )
    assert np.isnan(study.coverage)
    assert study.sd == pytest.approx(50**-0.5, rel=0.3)
    with pytest.raises(InputError, match="at least 2"):
        coverage_study(lambda seed: normal(50, seed=seed), entropy_from_draws, 0.0, replications=1)


def test_a_few_chance_ties_of_printed_decimals_are_harmless() -> None:
    """Five decimals, as a file would have them: the unit is found, and the interval stands."""
    x = np.random.default_rng(12).normal(size=400).round(5)
    x[1] = x[0]
    found = entropy_from_draws(x)
    assert rounding_unit(x) == pytest.approx(1e-5)
    assert found.reliable
    assert any("repeated" in note for note in found.warnings)
    assert found.lower < 0.5 * np.log(2 * np.pi * np.e) < found.upper
    copied = np.random.default_rng(12).normal(size=400)
    copied[1] = copied[0]  # of unrounded values there are no chance ties
    assert not entropy_from_draws(copied).reliable
