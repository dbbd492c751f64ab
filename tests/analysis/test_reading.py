"""Means and shares read from results have the error of repetitions."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.reading import mean_of, share_of


def test_a_share_has_its_binomial_error_and_a_share_of_all_one_too() -> None:
    assert share_of(0.8, 100).error == pytest.approx(0.04, rel=0.05)
    assert 0 < share_of(1.0, 100).error < 0.02
    assert 0 < share_of(0.0, 50).error < 0.04


def test_a_mean_has_the_error_of_repetitions() -> None:
    found = [mean_of(row) for row in np.random.default_rng(0).exponential(2.0, (500, 40))]
    values = np.array([e.value for e in found])
    assert values.mean() == pytest.approx(2, abs=0.05)
    assert np.mean([e.error for e in found]) == pytest.approx(values.std(), rel=0.1)
