"""Families that hold the Normal: at the end of their shape (Student-t, nu -> infinity), or within (skew normal, alpha = 0).

There the Normal's stationary points are stationary too, at the end of a parameter or with a singular Hessian. Neither
Newton's method nor a determinant can deal with them, so they are found and counted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.families import FAMILIES, Family
from models.projections.exact import exact_objective
from models.projections.optima import Projection, Status, natural_point, sign
from models.projections.stationary import Smooth
from models.targets import Target

__all__ = ["limits", "singular"]

Array = NDArray[np.float64]


def limits(target: Target, family: Family, alpha: float, normals: Sequence[Projection]) -> list[Projection]:
    """Stationary points at nu -> infinity: those of the Normal from which the divergence rises as 1/nu does.

    On the half space 1/nu >= 0 they count like interior points where the gradient points inwards (Morse theory on a
    manifold with boundary), so the index sum still says so.
    """
    found = []
    for point in normals:
        shape = family.shape
        assert shape is not None
        if _slope_in_inverse(shape.name, target, family, alpha, point) > 0:
            params = {shape.name: np.asarray(np.inf), **point.params}
            status: Status = "local minimum" if "minimum" in point.status else point.status
            found.append(replace(point, params=params, family=family, limit=f"{shape.name} -> infinity", status=status))
    return found


def _slope_in_inverse(name: str, target: Target, family: Family, alpha: float, point: Projection) -> float:
    objective = exact_objective(family, target, alpha).at(1)
    limiting = exact_objective(FAMILIES["normal"], target, alpha).at(1)
    base = float(limiting.gradient(point.theta[None])[0][0])
    eta = 2e-3 * np.array([1.0, 0.5])
    thetas = np.array([family.unconstrain({name: 1 / e, **point.params}, 1) for e in eta])
    coarse, fine = (objective.gradient(thetas)[0] - base) / eta
    return float(2 * fine - coarse)


def singular(
    family: Family, normal_at: float, objective: Smooth, normals: Sequence[Projection]
) -> tuple[list[Projection], int]:
    """Points where a skew normal is Normal, and their index: stationary for every target, with a singular Hessian.

    The scores of alpha and mu are collinear at alpha = 0 (Azzalini and Capitanio, 2014, section 3.1), so the Normal's
    stationary points stay stationary. How the divergence, minimised over mu and sigma, changes to both sides tells
    whether they are minima.
    """
    found, index = [], 0
    for point in normals:
        shape, part = next((p, part) for p, part in family.slices(1) if family.shape and p.name == family.shape.name)
        theta = family.unconstrain({**point.params, shape.name: normal_at}, 1)
        value, gradient, hessian = objective.hessian(theta[None])
        rise = _profile(objective, theta, part.start, hessian[0], float(point.params["sigma"])) - value[0]
        # A fourth power counts as its sign, a third power not at all.
        both = int(np.nan_to_num(np.sign(rise)).sum()) // 2
        index += both * sign(point)
        params, norm, eigenvalues = natural_point(family, theta, gradient[0], hessian[0])
        status: Status = "local minimum" if "minimum" in point.status and both > 0 else "saddle"
        found.append(replace(point, params=params, theta=theta, family=family, status=status, gradient_norm=norm,
                             hessian_eigenvalues=eigenvalues))  # fmt: skip
    return found, index


def _profile(objective: Smooth, theta: Array, shape: int, hessian: Array, sigma: float) -> Array:
    """Values (2,) at a little more and less of the coordinate `shape`, stationary in location and scale."""
    rest = np.delete(np.arange(len(theta)), shape)
    tilt = np.eye(len(theta))[shape]
    tilt[rest] = -np.linalg.solve(hessian[np.ix_(rest, rest)], hessian[rest, shape])  # the direction without curvature
    sides = theta + np.multiply.outer([-0.3, 0.3], tilt)
    for _ in range(12):
        _, gradient, hessians = objective.hessian(sides)
        step = np.linalg.solve(hessians[:, rest][:, :, rest], gradient[:, rest, None])[..., 0]
        sides[:, rest] -= np.clip(step, -0.1 * sigma, 0.1 * sigma)
    return objective.gradient(sides)[0]
