"""Which draws reach the end of double precision."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from scipy.special import expit, softmax

from models.own_model.saturation import saturated


class Stub:
    """A posterior of a probability, a scale, a simplex of three and a location, without PyMC."""

    def __init__(self) -> None:
        free = [Variable(n) for n in ("p", "s", "w", "mu")]
        transforms = {v: None if v.name == "mu" else object() for v in free}
        self.source = SimpleNamespace(free_RVs=free, rvs_to_transforms=transforms)

    def leading(self, x: np.ndarray, _most: int) -> dict[str, np.ndarray]:
        return {
            "p": expit(x[:, 0]),
            "s": np.exp(x[:, 1]),
            "w": softmax(np.insert(x[:, 2:4], 2, 0, axis=1), axis=1),
            "mu": x[:, 4],
        }

    def blocks(self) -> list[tuple[slice, tuple[int, ...]]]:
        return [(slice(0, 1), ()), (slice(1, 2), ()), (slice(2, 4), (2,)), (slice(4, 5), ())]


class Variable:
    """A name."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_draws_that_end_where_double_precision_does_are_named() -> None:
    """The logit of a Beta(.02, .02) has an sd of 71, of which 37 is as far as doubles go; one of a Beta(.5, .5) has 3.1."""
    rng = np.random.default_rng(0)

    def logit(shape: float) -> np.ndarray:
        return np.diff(np.log(rng.gamma(shape + 1, size=(4000, 2))) + np.log(rng.random((4000, 2))) / shape)[:, 0]

    plain = np.column_stack(
        [
            logit(0.5),
            2 + 3 * rng.standard_normal(4000),
            2 * rng.standard_normal((4000, 2)),
            1e9 + rng.standard_normal(4000),
        ]
    )
    assert saturated(Stub(), plain) == []  # type: ignore[arg-type]
    cut = logit(0.02)
    cut = np.resize(cut[cut < 36.7], 4000)
    assert saturated(Stub(), np.column_stack([cut, plain[:, 1:]])) == ["p"]  # type: ignore[arg-type]
    tiny = plain.copy()
    tiny[:, 1], tiny[:, 2] = np.maximum(-1000 * rng.exponential(size=4000), -745), -900 * rng.exponential(size=4000)
    assert saturated(Stub(), tiny) == ["s", "w"]  # type: ignore[arg-type]


class Correlation(Stub):
    """A Cholesky factor of two, of which one entry is 0 and one is 1 wherever it is."""

    def __init__(self) -> None:
        variable = Variable("C")
        self.source = SimpleNamespace(free_RVs=[variable], rvs_to_transforms={variable: object()})

    def leading(self, x: np.ndarray, _most: int) -> dict[str, np.ndarray]:
        r = np.tanh(x[:, 0])
        return {"C": np.stack([np.ones_like(r), np.zeros_like(r), r, np.sqrt(1 - r**2)], axis=-1).reshape(-1, 2, 2)}

    def blocks(self) -> list[tuple[slice, tuple[int, ...]]]:
        return [(slice(0, 1), (1,))]


def test_entries_that_are_zero_wherever_a_variable_is_reach_no_end() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 1))
    assert saturated(Correlation(), draws) == []  # type: ignore[arg-type]
    assert saturated(Correlation(), 40 * draws) == ["C"]  # type: ignore[arg-type]
