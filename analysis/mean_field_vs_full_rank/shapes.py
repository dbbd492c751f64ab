"""Targets in the plane that are no Normal, and the stationary points of reverse KL to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.gaussians import gaussian
from models.families import FAMILIES
from models.graphs import Deferred
from models.projections import Projection, reverse_projections
from models.targets import Target, from_model, mvnormal_mixture

__all__ = [
    "BEND",
    "DIAGONAL",
    "LUMPS",
    "METHOD_NAMES",
    "SHAPES",
    "Method",
    "Shape",
    "banana",
    "moments_of_shape",
    "points_below",
    "target_of_shape",
]

# Imported when something is computed with it: drawing does not need it.
pm = Deferred("pymc")

Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
METHOD_NAMES: dict[Method, str] = {"advi": "mean field", "fullrank_advi": "full rank"}
#: y given x of the banana is Normal with sd 1 around this much of x² - 4, and x has sd 2.
BEND = 0.5
_RADIUS, _WIDTH, LUMPS, DIAGONAL = 3.0, 0.6, 12, 2.0


@dataclass(frozen=True)
class Shape:
    """A two-dimensional target that is no Normal.

    Attributes
    ----------
    box : tuple of float
        What its figure shows.
    turns : dict of str to int
        By method, equal turns about the origin after which target and family are the same: mean field allows quarter turns.
    """

    name: str
    title: str
    box: tuple[float, float, float, float]
    turns: dict[Method, int]


SHAPES = (
    Shape("two_modes", "two modes on the diagonal", (-5.0, 5.0, -5.0, 5.0), {"advi": 2, "fullrank_advi": 2}),
    Shape("ring", "a ring of twelve", (-5.2, 5.2, -5.2, 5.2), {"advi": 4, "fullrank_advi": LUMPS}),
    Shape("banana", "a banana", (-6.0, 6.0, -5.0, 10.0), {"advi": 1, "fullrank_advi": 1}),
)


def banana() -> Any:
    """PyMC model of the banana: a variable and a parabola of it, with noise."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 2)
        pm.Normal("y", BEND * (x**2 - 4), 1)
    return model


def target_of_shape(name: str) -> Target:
    """Return the target of a shape."""
    if name == "two_modes":
        return mvnormal_mixture([0.5, 0.5], [[-DIAGONAL] * 2, [DIAGONAL] * 2], [np.eye(2)] * 2, name=name)
    if name == "ring":
        return mvnormal_mixture([1 / LUMPS] * LUMPS, _circle(LUMPS), [_WIDTH**2 * np.eye(2)] * LUMPS, name=name)
    return from_model(banana(), name=name)


def _circle(points: int) -> Array:
    angles = 2 * np.pi * np.arange(points) / points
    return _RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def moments_of_shape(name: str) -> tuple[Array, Array]:
    """Mean (2,) and covariance (2, 2) of a shape: what forward KL matches. Those of the banana are E x⁴ = 3 (E x²)²."""
    if name == "banana":
        return np.zeros(2), np.diag([4.0, 1 + BEND**2 * 2 * 4.0**2])
    target = target_of_shape(name)
    assert target.mean is not None
    assert target.cov is not None
    return target.mean, target.cov


def _guesses(name: str) -> list[tuple[Array, Array]]:
    """Means and covariances to begin at: a broad one, ones on components, and ones that join components."""
    found = [moments_of_shape(name)]
    if name == "two_modes":
        found.append((np.full(2, DIAGONAL), np.eye(2)))
    if name == "ring":
        for place in _circle(2 * LUMPS):  # arcs that follow the circle, on lumps and between them
            along = np.array([-place[1], place[0]]) / _RADIUS
            found.append((0.9 * place, _WIDTH**2 * np.eye(2) + 1.5 * np.outer(along, along)))
    return found


def points_below(shape: Shape, method: Method, family: str, ends: Sequence[tuple[Array, Array]]) -> list[Projection]:
    """Stationary points below guesses and the ends (mean, cov) of runs, with their images under the turns of the target."""
    target, turns = target_of_shape(shape.name), shape.turns[method]
    starts = [_first_image(m, c, turns) for m, c in [*_guesses(shape.name), *ends]]
    found = reverse_projections(target, FAMILIES[family], below=[gaussian(family, m, c) for m, c in starts])
    if turns == 1:
        return found
    scales = [p.member.scales[0] for p in found]
    images = [_turned(m, f @ f.T, k / turns) for m, f in scales for k in range(turns)]
    return reverse_projections(target, FAMILIES[family], below=[gaussian(family, m, c) for m, c in images])


def _turned(mean: Array, cov: Array, share: float) -> tuple[Array, Array]:
    """Turn a Normal about the origin by a share of the full turn."""
    c, s = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    turn = np.array([[c, -s], [s, c]])
    return turn @ mean, turn @ cov @ turn.T


def _first_image(mean: Array, cov: Array, turns: int) -> tuple[Array, Array]:
    """Return the image of a Normal whose mean is nearest to the direction of the first axis."""
    angle = np.arctan2(mean[1], mean[0]) / (2 * np.pi) if np.linalg.norm(mean) > 1e-3 else 0.0
    return _turned(mean, cov, -round(angle * turns) / turns)
