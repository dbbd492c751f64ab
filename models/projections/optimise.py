"""Descent and Newton polishing on one objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.projections.objectives import Objective
from models.projections.stationary import Smooth

__all__ = ["chord", "descend", "polish", "polish_all"]

Array = NDArray[np.float64]
_STEPS = 30  # of Newton's method


def descend(objective: Objective, start: Array) -> tuple[Array, float] | None:
    """Minimise from one start by BFGS, then Newton; ``None`` unless a minimum is reached.

    Returns
    -------
    (theta, value) : ndarray (P,), float
    """
    result = minimize(objective.value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    theta = polish(objective, result.x)
    if theta is None:
        return None
    value, _, hessian = objective.hessian(theta[None])
    return (theta, float(value[0])) if np.linalg.eigvalsh(hessian[0])[0] > -1e-8 else None


def polish(objective: Smooth, theta: Array) -> Array | None:
    """Newton's method to gradient norm 1e-14 or as far as rounding allows; ``None`` if that is above 1e-8."""
    best, norms = polish_all(objective, np.asarray(theta, dtype=float)[None])
    return best[0] if norms[0] < 1e-8 else None


def polish_all(objective: Smooth, thetas: Array) -> tuple[Array, Array]:
    """Newton's method on a batch of points.

    Parameters
    ----------
    objective : Smooth
    thetas : ndarray (m, P)

    Returns
    -------
    best : ndarray (m, P)
        The point of smallest gradient that each row came by.
    norms : ndarray (m,)
        Euclidean norms of the gradients there.
    """
    theta, best, norms = thetas.copy(), thetas.copy(), np.full(len(thetas), np.inf)
    rows = np.arange(len(thetas))
    for _ in range(_STEPS):
        _, gradient, hessian = objective.hessian(theta[rows])
        finite = np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2))
        now = np.where(finite, np.linalg.norm(gradient, axis=1), np.inf)
        going = finite & ~((now >= norms[rows]) & (norms[rows] < 1e-8))
        better = now < norms[rows]
        best[rows[better]], norms[rows[better]] = theta[rows[better]], now[better]
        going &= norms[rows] >= 1e-14
        rows, gradient, hessian = rows[going], gradient[going], hessian[going]
        if not len(rows):
            break
        hessian = np.where(np.linalg.det(hessian)[:, None, None] == 0, np.eye(thetas.shape[1]), hessian)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        theta[rows] -= step * np.minimum(1, 2 / np.maximum(length, 1e-300))  # a long step: it was no stationary point
    return best, norms


def chord(objective: Smooth, theta: Array, coarser: Smooth) -> Array:
    """Newton's method on a fine rule with the Hessian of a coarser one, while the gradient falls.

    In several dimensions a Hessian costs many gradients, and that of a coarser rule leads to the same root.

    Parameters
    ----------
    objective, coarser : Smooth
    theta : ndarray (P,)
        Nearly stationary.

    Returns
    -------
    ndarray (P,)
        The point of smallest gradient.
    """
    inverse = np.linalg.inv(coarser.hessian(theta[None])[2][0])
    best, norm = theta, np.inf
    for _ in range(_STEPS):
        gradient = objective.gradient(theta[None])[1][0]
        now = float(np.linalg.norm(gradient))
        if not np.isfinite(now) or now >= norm:
            break
        best, norm = theta, now
        if norm < 1e-13:
            break
        theta = theta - inverse @ gradient
    return best
