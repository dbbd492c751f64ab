"""What cannot be fitted is refused with all variables to blame, and a remedy that fits; a prior that cannot be drawn from is no reason to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pytest

from models.advi.refusals import _remedies, refuse_failure
from models.advi.starts import NOT_DRAWN, dispersed_starts
from models.errors import InputError
from models.targets import Posterior, from_model


def blaming(model: pm.Model, logps: Callable[[dict[str, np.ndarray]], list[float]]) -> Posterior:
    """Give a posterior whose variables have these log densities, in the order of the model, without compiling them."""
    target = from_model(model)
    names = [v.name for v in [*target.source.basic_RVs, *target.source.potentials]]
    target.__dict__["_by_variable"] = names, logps
    return target


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5.0, "of the observed 'y' at no start: its data, or some of them, are impossible wherever a start lies"),
        ([1.0, np.inf], "of the observed 'y' at no start: 1 of its 2 values is infinite; leave it out"),
    ],
)
def test_data_that_are_impossible_everywhere_are_named(data: float, words: str) -> None:
    with pm.Model() as model:
        p = pm.Normal("p")
        pm.Normal("y", p, 1, observed=data)
    starts = [np.zeros(1), np.ones(1)]
    with pytest.raises(InputError) as refused:
        refuse_failure(blaming(model, lambda _values: [0.0, -np.inf]), starts)
    assert words in str(refused.value)
    assert "initval" not in str(refused.value)


def test_a_prior_without_a_density_anywhere_is_named_with_its_numbers() -> None:
    """The width of an interval of 8-bit integers overflows in PyTensor; there is no Normal with an sd of -1."""
    with pm.Model() as model:
        pm.Uniform("wide", -100, 100)
        pm.Normal("odd", 0, [1, -1], shape=2)
        pm.Normal("below", 0, 2.0 - pm.HalfNormal("s"))
        pm.Flat("flat")
    target = blaming(model, lambda _values: [np.nan] * 5)
    with pytest.raises(InputError) as refused:
        refuse_failure(target, [np.zeros(6)])
    words = str(refused.value)
    assert "'wide' (Uniform: -100, 100) are integers of 8 bits" in words
    assert "write them as floats, -100.0 for -100" in words
    assert "'odd' (Normal: [0], [1, -1]) are none that it can have" in words
    assert words.endswith("Initial values will not help")
    assert not any(name in words for name in ("'below'", "'flat'", "'s'", "initval"))


def test_where_another_start_may_help_initial_values_are_the_remedy() -> None:
    with pm.Model() as model:
        p = pm.Normal("p")
        pm.Normal("y", p, 1, observed=1.0)
    target = blaming(model, lambda values: [0.0, -np.inf if values["p"] < 0.5 else 0.0])
    with pytest.raises(InputError, match=r"of 2 starts \(of 'y' at the first\); give initial values"):
        refuse_failure(target, [np.zeros(1), np.ones(1)])


def test_each_kind_of_variable_has_its_remedy() -> None:
    with pm.Model() as model:
        u = pm.Uniform("u", default_transform=None)
        s = pm.HalfNormal("s", default_transform=None)
        pm.Potential("order", pm.math.switch(u < s, 0.0, -np.inf))
        pm.Gamma("y", u, s, observed=1.0)
    (kept, demand, support) = _remedies(model, ["u", "s", "order", "y"])
    assert kept.startswith("keep the transform of 'u' and 's'")
    assert "'order'" in demand
    assert "ordered" in demand
    assert "HalfNormal" in support
    assert _remedies(model, ["y"]) == [support]


def test_a_prior_that_divides_by_zero_gives_starts_near_the_initial_point() -> None:
    with pm.Model() as model:
        pm.InverseGamma("tau2", 0.001, 0.001)
    target = from_model(model)
    starts = dispersed_starts(target, 30, 0)
    assert np.isfinite([s.mean for s in starts]).all()
    lost = [s for s in starts if s.label.endswith(NOT_DRAWN)]
    assert 0 < len(lost) < 29
    assert all(abs(s.mean - target.initial_point) <= 2 for s in lost)
