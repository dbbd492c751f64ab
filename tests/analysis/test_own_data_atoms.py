"""Mass that no density has, in one of several columns; and whole numbers in steps, which are rounded and no counts."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.own_data.findings import findings
from analysis.own_data.study import analyse
from analysis.own_data.summary import summary
from analysis.own_data.values import values_of
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
