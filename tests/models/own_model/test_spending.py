"""What an examination spends: draws that are saved, particles, chains that are put together, and numbers that are held at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pymc as pm
import pytest

from models.graphs.log_density import LogDensity
from models.own_model import comparison
from models.own_model.comparison import natural
from models.own_model.moments import _same, unknowns
from models.own_model.reference import Reference, _unknowns_alone, pooled
from models.own_model.spending import draws_kept, evenly, particles_within
from models.targets import from_model


def costing(seconds: float) -> Any:
    density = LogDensity(lambda _x, _n: 1 / 0, np.zeros(1))
    density._seconds.append(seconds)
    return SimpleNamespace(log_density=density, initial_point=np.zeros(3))


def test_what_is_saved_fits_into_a_file() -> None:
    assert draws_kept(SimpleNamespace(numbers=5), 1, 2000) == 2000  # type: ignore[arg-type]
    kept = draws_kept(SimpleNamespace(numbers=30_003), 1, 2000)  # type: ignore[arg-type]
    assert 100 < kept < 300
    assert 5 * kept * 30_003 * 8 <= 200e6


def test_no_population_is_begun_that_would_take_all_of_the_budget() -> None:
    assert particles_within(costing(1e-6), 60.0) == 1000
    assert particles_within(costing(1e-4), 60.0) == 250
    assert particles_within(costing(1e-2), 60.0) == 0


def test_draws_are_thinned_evenly() -> None:
    assert evenly(np.arange(10.0)[:, None], 4).ravel().tolist() == [0, 3, 6, 9]
    assert len(evenly(np.arange(3.0)[:, None], 4)) == 3


def test_entries_that_are_an_earlier_one_in_all_draws() -> None:
    x = np.random.default_rng(0).standard_normal((50, 2))
    near = x[:, 0] + np.r_[np.zeros(49), 1e-3]
    values = np.column_stack([x[:, 0], x[:, 1], x[:, 0] * (1 + 1e-15), near, -x[:, 1]])
    assert _same(values).tolist() == [False, False, True, False, False]


def test_longer_chains_are_cut_to_the_length_of_the_first() -> None:
    rng = np.random.default_rng(0)
    one, other, odd = (Reference("NUTS", rng.standard_normal((4, n, 2)), 1.0, ()) for n in (500, 1000, 700))
    together = pooled(one, other, ["a", "b"])
    assert together.points.shape == (12, 500, 2)
    assert np.array_equal(together.points[4], other.points[0, :500])
    assert np.array_equal(together.points[5], other.points[0, 500:])
    assert pooled(one, odd, ["a", "b"]) is one


@pytest.fixture(scope="module")
def model() -> pm.Model:
    with pm.Model() as found:
        x = pm.HalfNormal("x", shape=2)
        pm.Deterministic("twice", 2 * x)
        pm.Deterministic("total", x.sum())
    return found


def test_a_model_has_its_deterministics_back_after_sampling(model: pm.Model) -> None:
    before = list(model.deterministics)
    with _unknowns_alone(model):
        assert not model.deterministics
    assert model.deterministics == before
    sampling = _unknowns_alone(model)
    sampling.__enter__()
    assert not sampling.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert model.deterministics == before


def test_no_more_is_computed_of_a_deterministic_than_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    with pm.Model(coords={"row": list("abcdef"), "side": ["a", "b"]}) as model:
        x = pm.HalfNormal("x", shape=2)
        pm.Deterministic(
            "long", pm.math.stack([x[0] * np.arange(6.0), x[1] * np.ones(6)], axis=1), dims=("row", "side")
        )
        pm.Deterministic("total", x.sum())
    target = from_model(model)
    points = np.random.default_rng(0).standard_normal((7, 2))
    whole = natural(target, points)
    assert target.numbers == len(whole) == 15
    assert unknowns(target) == 2
    assert [*whole][:4] == ["x[0]", "x[1]", "long[a, a]", "long[a, b]"]
    assert {name: v.shape for name, v in target.leading(points, 5).items()} == {"x": (7, 2), "long": (7, 2, 2)}
    monkeypatch.setattr("models.targets.natural_scale._NUMBERS", 45)  # three points at a time
    for most in (2, 5, 14):
        monkeypatch.setattr(comparison, "MOST_ENTRIES", most)
        parts = natural(target, points)
        assert [*parts] == [*whole][:most]
        assert all(np.array_equal(parts[name], whole[name]) for name in parts)
