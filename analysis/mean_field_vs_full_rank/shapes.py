"""Targets in the plane that are no Normal, and descent to the stationary points of reverse KL to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.families import Family
from models.graphs import Deferred
from models.projections import Projection
from models.projections.exact import exact_objective
from models.projections.objectives import natural_values
from models.projections.optima import describe, ranked
from models.projections.optimise import chord, polish_all
from models.projections.stationary import distinct, newton
from models.quadrature import Estimate
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
    "cov_of",
    "descend",
    "guesses",
    "moments_of_shape",
    "target_of_shape",
    "theta_of",
    "turns_of",
]

# Imported when something is computed with it: drawing does not need it.
pm = Deferred("pymc")

Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
METHOD_NAMES: dict[Method, str] = {"advi": "mean field", "fullrank_advi": "full rank"}
#: A rule is refined until its error is below this, in nats.
_EXACT = 1e-8
#: y given x of the banana is Normal with sd 1 around this much of x² - 4, and x has sd 2.
BEND = 0.5


@dataclass(frozen=True)
class Shape:
    """A two-dimensional target that is no Normal, and the box its figure shows.

    Attributes
    ----------
    search : tuple of str
        Methods for which all stationary points are sought and counted; else those that descent reaches from `guesses` and from
        the ends of ADVI.
    """

    name: str
    title: str
    search: tuple[Method, ...]
    box: tuple[float, float, float, float]


SHAPES = (
    Shape("two_modes", "two modes on the diagonal", ("advi",), (-5.0, 5.0, -5.0, 5.0)),
    Shape("four_corners", "four corners", (), (-6.0, 6.0, -6.0, 6.0)),
    Shape("ring", "a ring of twelve", (), (-5.2, 5.2, -5.2, 5.2)),
    Shape("banana", "a banana", ("advi", "fullrank_advi"), (-6.0, 6.0, -5.0, 10.0)),
)
_CORNER, _RADIUS, _WIDTH, LUMPS, DIAGONAL = 3.0, 3.0, 0.6, 12, 2.0


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
    if name == "four_corners":
        corners = [[x, y] for x in (-_CORNER, _CORNER) for y in (-_CORNER, _CORNER)]
        return mvnormal_mixture([0.25] * 4, corners, [np.eye(2)] * 4, name=name)
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


def guesses(name: str) -> list[tuple[Array, Array]]:
    """Means and covariances to start descent from: broad ones, ones on components, and ones that join components."""
    mean, cov = moments_of_shape(name)
    found = [(mean, cov)]
    if name == "two_modes":
        found += [(np.full(2, side), np.eye(2)) for side in (-DIAGONAL, DIAGONAL)]
    if name == "four_corners":  # a product: all pairs of what one coordinate can do, and the two diagonals
        sides = [(-_CORNER, 1.0), (0.0, _CORNER), (_CORNER, 1.0)]
        found += [(np.array([a, b]), np.diag([s**2, t**2])) for a, s in sides for b, t in sides]
        found += [(mean, np.array([[9.0, r], [r, 9.0]])) for r in (-8.0, 8.0)]
    if name == "ring":
        for place in _circle(2 * LUMPS):  # arcs that follow the circle, on lumps and between them
            along = np.array([-place[1], place[0]]) / _RADIUS
            found.append((0.9 * place, _WIDTH**2 * np.eye(2) + 1.5 * np.outer(along, along)))
    return found


def turns_of(name: str, method: Method) -> int:
    """Equal turns after which target and family are the same: mean field allows quarter turns."""
    return {"two_modes": 2, "four_corners": 4, "ring": LUMPS if method == "fullrank_advi" else 4}.get(name, 1)


def descend(target: Target, family: Family, starts: Sequence[tuple[Array, Array]], turns: int = 1) -> list[Projection]:
    """Stationary points of the exact reverse KL that Newton's method reaches downhill from Normals (mean, cov), lowest first.

    Parameters
    ----------
    target : Target
        Two-dimensional, the same after each of `turns` equal turns about the origin.
    family : Family
    starts : sequence of (ndarray (2,), ndarray (2, 2))
    turns : int
        Turns that leave the family as it is, too: one start of each sector is enough, and all images of an optimum are returned.
    """
    exact = exact_objective(family, target, 0.0)
    fine = exact.at(1)
    thetas = np.array([theta_of(family, *_first_image(m, c, turns)) for m, c in starts])
    unit = np.ones(thetas.shape[1])
    # Loose: nearer to a minimum the value falls by less than the error of the coarse rule, and every step would be refused.
    ends = newton(exact, distinct(thetas, unit, 0.1), unit, downhill=True, tolerance=3e-3)
    polished, norms = polish_all(fine, distinct(ends, unit, 3e-2))
    results: list[tuple[Array, Array, Array, Estimate]] = []
    for theta in distinct(polished[norms < 1e-8], unit, 1e-4):
        level, change = 1, np.inf
        while change > _EXACT and level < exact.finest:
            value = float(exact.at(level).gradient(theta[None])[0][0])
            level += 1
            theta = chord(exact.at(level), theta, fine)
            change = abs(float(exact.at(level).gradient(theta[None])[0][0]) - value)
        value = float(exact.at(level).gradient(theta[None])[0][0])
        params, _ = natural_values(family, theta)
        cov = params["cov"] if "cov" in params else np.diag(params["sigma"] ** 2)
        images = [theta_of(family, *_turned(params["mu"], cov, k / turns)) for k in range(turns)]
        known = np.array([r[0] for r in results]).reshape(-1, len(unit))
        new = distinct(np.array(images), unit, 1e-3, known=known)
        if len(new):
            _, gradients, hessians = fine.hessian(new)
            at = Estimate(value, change + 5e-15, "quadrature")
            results += [(t, g, h, at) for t, g, h in zip(new, gradients, hessians, strict=True)]
    return ranked(describe(target, family, 0.0, results))


def _turned(mean: Array, cov: Array, share: float) -> tuple[Array, Array]:
    """A Normal turned about the origin by a share of the full turn."""
    c, s = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    turn = np.array([[c, -s], [s, c]])
    return turn @ mean, turn @ cov @ turn.T


def _first_image(mean: Array, cov: Array, turns: int) -> tuple[Array, Array]:
    """The image of a Normal whose mean is nearest to the direction of the first axis."""
    angle = np.arctan2(mean[1], mean[0]) / (2 * np.pi) if np.linalg.norm(mean) > 1e-3 else 0.0
    return _turned(mean, cov, -round(angle * turns) / turns)


def theta_of(family: Family, mean: Array, cov: Array) -> Array:
    """Unconstrained parameters of the member of a family that has a mean and a covariance."""
    params = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    return family.unconstrain({p.name: params[p.name] for p in family.parameters}, len(mean))


def cov_of(point: Projection) -> Array:
    """Covariance (2, 2) of a projection."""
    return np.asarray(point.params["cov"] if "cov" in point.params else np.diag(point.params["sigma"] ** 2))
