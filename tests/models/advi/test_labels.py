"""Labels exchanged: points where the density of a model with exchangeable labels is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from models.advi.labels import variables
from models.advi.symmetries import Move, usual
from models.targets import Posterior, from_model
from tests.by_pymc import log_densities

Y = np.concatenate([np.random.default_rng(4).normal(place, 1, 10) for place in (-4, 0, 3)])


def weighed(labels: int) -> pm.Model:
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(labels)), pm.Normal("mu", 0, 5, shape=labels)
        pm.NormalMixture("y", w, mu, sigma=pm.HalfNormal("sigma", 2, shape=labels), observed=Y)
    return model


def summing_to_zero() -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("m", 0, 5) + pm.ZeroSumNormal("mu", 5, shape=3)
        pm.NormalMixture("y", pm.Dirichlet("w", np.ones(3)), mu, sigma=1.0, observed=Y)
    return model


def on_the_second_axis() -> pm.Model:
    """Three groups have their own places of three labels, and their own weights."""
    groups = Y.reshape(3, -1) + np.array([[0.0], [1.0], [5.0]])
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(3)), pm.Normal("mu", np.array([[0.0], [1.0], [5.0]]), 5, shape=(3, 3))
        pm.NormalMixture("y", w, mu[:, None, :], sigma=1.0, observed=groups)
    return model


def transitions() -> pm.Model:
    """Two steps of a chain between three hidden states: labels of rows and columns."""
    with pm.Model() as model:
        p, mu = pm.Dirichlet("p", np.ones((3, 3))), pm.Normal("mu", 0, 5, shape=3)
        seen = [pt.exp(-0.5 * (y - mu) ** 2) for y in (-4.0, 3.0, 1.0)]
        pm.Potential("y", pt.log(pt.sum((seen[0] @ p * seen[1]) @ p * seen[2])))
    return model


def relabelled(target: Posterior) -> list[Move]:
    return [move for move in usual(variables(target)) if move.order and not move.turned]


@pytest.mark.parametrize(
    ("build", "orders"),
    [
        (lambda: weighed(2), 1),
        (lambda: weighed(3), 5),
        (lambda: weighed(5), 4),
        (summing_to_zero, 5),
        (on_the_second_axis, 5),
        (transitions, 5),
    ],
    ids=["two", "three", "five", "summing to zero", "second axis", "transitions"],
)
def test_the_density_is_the_same_at_exchanged_labels(build: Callable[[], pm.Model], orders: int) -> None:
    target = from_model(build())
    rng = np.random.default_rng(2)
    place = 0.4 * np.abs(target.initial_point) + rng.uniform(0.05, 0.3, target.dim)
    moved = [move.place(variables(target), place) for move in relabelled(target)]
    there, *values = log_densities(target, [place, *moved])
    assert np.isclose(values, there, rtol=0, atol=1e-9).sum() == orders


def test_weights_are_exchanged_on_their_natural_scale() -> None:
    target = from_model(weighed(3))
    place = np.array([0.3, -1.0, 1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    natural = target.natural(place)
    w, mu = natural["w"][0], natural["mu"][0]
    moves = relabelled(target)
    assert len(moves) == 5
    for move in moves:
        there = target.natural(move.place(variables(target), place))
        order = [mu.tolist().index(m) for m in there["mu"][0]]
        np.testing.assert_allclose(there["w"][0], w[order], rtol=1e-12)


def test_sds_are_exchanged_with_the_weights() -> None:
    """The log ratios of three weights sum to zero, so the last has the variances of the others together."""
    target = from_model(weighed(3))
    sd = np.array([0.3, 0.4, 1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    known = variables(target)
    moved = [move.sds(known, np.zeros(8), sd) for move in relabelled(target)]
    found = {tuple(s[2:5]): s[:2] for s in moved}
    np.testing.assert_allclose(found[2.0, 1.0, 3.0], [0.4, 0.3], rtol=1e-9)
    np.testing.assert_allclose(found[1.0, 3.0, 2.0], [0.3, 0.5], rtol=1e-9)


def test_variables_have_an_entry_for_each_label() -> None:
    assert [v.shape for v in variables(from_model(transitions()))] == [(3, 3), (3,)]


def test_a_weight_that_is_zero_within_rounding_has_no_image_and_no_warning() -> None:
    target = from_model(weighed(3))
    place = np.array([800.0, -800.0, 1, 2, 3, 0, 0, 0])
    assert not all(np.isfinite(move.place(variables(target), place)).all() for move in relabelled(target))
