"""Mass that no density has, in one of several columns; and whole numbers in steps, which are rounded and no counts."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.own_data.findings import findings
from analysis.own_data.study import analyse
from analysis.own_data.summary import summary
from analysis.own_data.ties import copies_of, copies_told
from analysis.own_data.values import untried, values_of
from analysis.site.chapter import words_of


@pytest.mark.parametrize("share", [0.2, 0.02])
def test_zeros_in_one_of_several_columns_make_the_kl_of_a_joint_density_infinite(share: float) -> None:
    rng = np.random.default_rng(4)
    amounts, other = rng.gamma(2, 5, size=300), rng.normal(size=300)
    amounts[: round(300 * share)] = 0
    tree = analyse(np.column_stack([other, amounts]), ["b", "a"], ["mvnormal"])
    document = summary(tree)
    assert document["families"]["mvnormal"]["kl"] == "inf"
    assert document["entropy"]["value"] == "-inf"
    assert any(f"{share:.1%} of the rows are exactly 0 in column 'a'" in w for w in document["warnings"])
    told = words_of("own_data", findings(tree)).answer
    assert "exactly 0 in column a" in told
    assert "nothing in these data speaks against it" not in told


def test_several_columns_without_atoms_keep_their_finite_kl() -> None:
    x = np.random.default_rng(5).normal(size=(300, 2))
    document = summary(analyse(x, ["a", "b"], ["mvnormal"]))
    assert document["values"] is None
    assert document["families"]["mvnormal"]["kl_interval"][0] == 0


@pytest.mark.parametrize(("step", "low"), [(5, 0), (100, 100), (2, 0)])
def test_multiples_of_a_step_are_rounded_measurements_and_no_counts(step: int, low: int) -> None:
    x = low + step * np.round(np.random.default_rng(6).gamma(2, 3, size=350))
    found = values_of(x)
    assert found.kind == ("positive" if low else "not negative")
    assert not found.discrete
    assert found.unit == step
    assert not {"poisson", "negative_binomial"} & set(found.families)
    assert f"multiples of {step}:" in found.notes[0]


def test_counts_with_a_common_divisor_by_chance_stay_counts() -> None:
    rng = np.random.default_rng(7)
    few, several = 2.0 * rng.poisson(3, 19), 4.0 * rng.integers(0, 4, 200)
    odd_one = np.append(2.0 * rng.poisson(3, 200), 3)
    assert {values_of(x).kind for x in (few, several, odd_one)} == {"counts"}


_RNG = np.random.default_rng(8)
#: What people call counts, marks and ratings, and what are angles.
KINDS = {
    "a die": (_RNG.integers(1, 7, 400), "counts"),
    "even counts": (_RNG.choice([0, 2, 4, 6], 400), "counts"),
    "zero to six": (_RNG.integers(0, 7, 400), "counts"),
    "few even counts": (np.repeat([0, 2, 4, 6], 4), "counts"),
    "hours": (_RNG.integers(0, 24, 400), "counts"),
    "months": (_RNG.integers(1, 13, 400), "counts"),
    "minutes": (_RNG.integers(0, 60, 400), "counts"),
    "one to five": (_RNG.choice([1, 2, 3, 4, 5], 400, p=[0.1, 0.2, 0.4, 0.2, 0.1]), "counts"),
    "ages": (np.clip(np.round(_RNG.normal(40, 15, 400)), 18, 90), "whole numbers"),
    "years": (_RNG.integers(1990, 2025, 400), "whole numbers"),
    "sizes of shoes": (np.round(2 * _RNG.normal(41, 2, 400)) / 2, "positive"),
    "rounded to 5": (5 * np.round(_RNG.normal(60, 15, 400) / 5), "positive"),
    "half stars": (_RNG.integers(0, 13, 400) / 2, "not negative"),
    "differences": (_RNG.integers(-3, 4, 400), "real"),
    "degrees": (_RNG.integers(0, 360, 400), "angles"),
    "tens of degrees": (10 * _RNG.integers(0, 36, 400), "angles"),
    "degrees around zero": (_RNG.integers(-180, 180, 400), "angles"),
    "radians": (np.round(_RNG.uniform(0, 2 * np.pi, 400), 2), "angles"),
    "radians around zero": (_RNG.uniform(-np.pi, np.pi, 400), "angles"),
}


@pytest.mark.parametrize("name", KINDS)
def test_whole_and_half_numbers_are_no_radians(name: str) -> None:
    x, kind = KINDS[name]
    found = values_of(x.astype(float))
    assert found.kind == kind
    assert ("von_mises" in found.families) == (kind == "angles")


def test_ages_are_tried_with_and_without_an_upper_end() -> None:
    x, _ = KINDS["ages"]
    assert {"gamma", "beta", "negative_binomial", "normal"} <= set(values_of(x).families)


def test_families_with_an_end_are_tried_where_the_values_have_one() -> None:
    rng = np.random.default_rng(0)
    marks, ratings = rng.binomial(20, 0.85, 250).astype(float), rng.integers(1, 6, 300).astype(float)
    assert "binomial" in values_of(marks).families
    assert {"binomial", "categorical"} <= set(values_of(ratings).families)
    assert "categorical" not in values_of(np.append(ratings, 9.0)).families  # a probability of its own for one row
    even = rng.uniform(-3, 5, 500)
    assert "uniform" in values_of(even).families
    assert "uniform" not in values_of(rng.normal(size=500)).families
    for x in (marks, ratings, even, rng.uniform(0.1, 1, 200), rng.integers(40, 60, 300).astype(float)):
        families = values_of(x).families
        assert len(set(families)) == len(families)


def test_hours_are_told_to_lie_on_a_circle() -> None:
    hours = np.random.default_rng(0).normal(23, 3, 300) % 24
    assert any("hours of a day" in note for note in values_of(hours).notes)
    assert not any("hours of a day" in note for note in values_of(hours * 2).notes)


def test_values_that_all_rows_share_have_no_density_unless_they_are_spread() -> None:
    rng = np.random.default_rng(0)
    two, differences = np.where(rng.random(300) < 0.4, 1.5, 7.25), rng.poisson(5, 900) - rng.poisson(5, 900)
    prices = np.round(rng.lognormal(3, 0.5, 600)) + 0.99
    temperatures = np.round(36.8 + 0.4 * rng.normal(size=300), 1)
    told = {part.kind: str(part) for part in values_of(two).lacking(False)}
    assert "one of 2 values" in told["ties"]
    assert not values_of(two).lacking(True)
    for x in (differences, prices, temperatures):  # rounded, for all that anyone knows
        assert "have the value of another" in values_of(x).untold
        assert not values_of(x).lacking(False)
    for x in (
        rng.normal(size=300),
        np.round(rng.normal(size=300), 2),
        np.repeat(rng.normal(size=60), 5),
        rng.poisson(4, 300),
    ):
        assert not values_of(x).lacking(False)
        assert not values_of(x).untold


def test_copies_of_all_rows_are_told_from_values_that_pile_up() -> None:
    x = np.random.default_rng(0).normal(size=100)
    x[1] = x[0]
    fives = np.repeat(x, 5)
    assert not values_of(fives).atoms
    assert copies_of(fives[:, None]) == 5
    assert copies_of(np.column_stack([fives, fives**2])) == 5
    assert "5 copies of 100" in copies_told(5, 500)
    piled = np.concatenate([x, np.full(20, 0.25)])
    assert copies_of(piled[:, None]) == 1
    assert [value for value, _ in values_of(piled).atoms] == [0.25]
    assert values_of(np.repeat(piled, 3)).atoms == values_of(piled).atoms


def test_whole_numbers_too_sparse_for_counts_are_told_of_the_families_of_counts() -> None:
    large = np.random.default_rng(0).poisson(1e6, 300).astype(float)
    values = values_of(large)
    assert values.kind == "positive"
    assert {"poisson", "negative_binomial"} <= set(untried(values.families, large, values))
    halves = large + 0.5
    assert "poisson" not in untried(values.families, halves, values_of(halves))
