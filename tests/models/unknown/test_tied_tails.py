"""Intervals of values that are tied, as counts, rounded and cut-off ones are: never an end that is no number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.families import FAMILIES
from models.unknown import cross_entropy_from_draws, kl_difference
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
