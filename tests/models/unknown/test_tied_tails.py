"""Intervals of values that are tied, as counts, rounded and cut-off ones are: never an end that is no number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from models.errors import InputError
from models.families import FAMILIES
from models.unknown import cross_entropy_from_draws, entropy_from_draws, kl_difference, kl_from_draws
from models.unknown.intervals import enclose, mean_interval, not_negative, tail_indices

RNG = np.random.default_rng
TIED: dict[str, Callable[[int], np.ndarray]] = {
    "counts": lambda seed: RNG(seed).poisson(3, 300).astype(float),
    "rounded": lambda seed: np.round(RNG(seed).normal(0, 3, 300)),
    "cut off": lambda seed: np.minimum(RNG(seed).normal(size=300), 1),
    "two values": lambda seed: RNG(seed).binomial(1, 0.1, 300).astype(float),
}


@pytest.mark.parametrize("case", TIED)
def test_tied_tails_are_light_and_the_ends_are_numbers(case: str) -> None:
    for seed in range(30):
        x = TIED[case](seed)
        assert not np.isnan(tail_indices(x)).any()
        assert max(tail_indices(x)) < 0.7
        found = mean_interval(x, 0.95)
        assert found.reliable
        assert found.lower < found.value < found.upper < np.inf


def test_a_tail_of_equal_values_has_no_index() -> None:
    assert tail_indices(np.repeat([0.0, 1.0, 2.0], 100)) == (-np.inf, -np.inf)


def test_values_that_only_rounding_tells_apart_are_tied() -> None:
    for draw in TIED.values():
        x = draw(0)
        assert tail_indices(x + 1e-14 * RNG(1).normal(size=300)) == pytest.approx(tail_indices(x), abs=1e-3)


def test_a_heavy_tail_stays_heavy_where_its_lowest_values_are_tied() -> None:
    heavy = [tail_indices(np.floor(RNG(seed).pareto(0.7, 1000)))[1] for seed in range(20)]
    assert min(heavy) > 0.7


def test_differences_and_cross_entropies_of_counts_have_ends() -> None:
    for seed in range(5):
        x = TIED["counts"](seed)
        for found in (
            kl_difference(x, FAMILIES["poisson"], FAMILIES["normal"]),
            cross_entropy_from_draws(x, FAMILIES["poisson"]),
        ):
            assert np.isfinite([found.lower, found.upper]).all()
            assert found.reliable


def test_an_end_that_cannot_be_told_is_far_away_and_not_reliable() -> None:
    found = not_negative(enclose(RNG(0).normal(size=100), np.nan, 0.95))
    assert (found.lower, found.upper, found.reliable) == (0.0, np.inf, False)
    assert "does not tell the ends" in found.warnings[0]


def test_the_kl_of_counts_to_a_family_of_counts_has_the_entropy_of_counts() -> None:
    found = [kl_from_draws(RNG(seed).poisson(3, 1000), FAMILIES["poisson"]) for seed in range(20)]
    assert all(e.reliable for e in found)
    assert np.mean([e.lower <= 0 <= e.upper for e in found]) > 0.85
    assert max(e.upper for e in found) < 0.03
    geometric = kl_from_draws(RNG(0).geometric(0.3, 4000), FAMILIES["poisson"])
    k = np.arange(1, 200)
    p = stats.geom(0.3).pmf(k)
    truth = float(p @ (stats.geom(0.3).logpmf(k) - stats.poisson(1 / 0.3).logpmf(k)))
    assert geometric.lower < truth < geometric.upper
    with pytest.raises(InputError):
        kl_from_draws(RNG(0).normal(size=100), FAMILIES["poisson"])


def test_an_entropy_with_a_heavy_tail_makes_the_kl_unreliable_whatever_the_model() -> None:
    x = np.exp(RNG(0).standard_cauchy(300).clip(-300, 300))
    found = kl_from_draws(x, lambda points: np.zeros(len(points)))  # its own log densities are tied
    assert not np.isnan([found.lower, found.upper]).any()
    assert not found.reliable
    assert any("heavy tail" in told for told in found.warnings)


def test_a_share_of_repeated_draws_is_written_in_plain_per_cent() -> None:
    found = entropy_from_draws(np.append(np.repeat(RNG(0).normal(size=10), 20), 5.0))
    assert "200 of 201 draws are repeated (99.5%)" in found.warnings[0]
