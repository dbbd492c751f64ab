"""Descent and Newton polishing on one objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.stationary import Smooth

__all__ = ["best_minimum", "descend", "polish"]

Array = NDArray[np.float64]


def best_minimum(objective: Smooth, starts: Array) -> Array | None:
    """Return the lowest minimum reached from `starts`, polished; ``None`` if none converged."""
    best, lowest = None, np.inf
    for start in starts:
        found = descend(objective, start)
        if found is not None and found[1] < lowest - 1e-12:
            best, lowest = found
    return best


def descend(objective: Smooth, start: Array) -> tuple[Array, float] | None:
    """Minimise from one start by BFGS, then Newton; ``None`` unless a minimum is reached.

    Returns
    -------
    (theta, value) : ndarray (P,), float
    """

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        value, gradient = objective.gradient(theta[None])
        return float(value[0]), gradient[0]

    result = minimize(value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    theta = polish(objective, result.x)
    if theta is None:
        return None
    value, _, hessian = objective.hessian(theta[None])
    return (theta, float(value[0])) if np.linalg.eigvalsh(hessian[0])[0] > -1e-8 else None


def polish(objective: Smooth, theta: Array, steps: int = 30) -> Array | None:
    """Newton's method to gradient norm 1e-12 or as far as rounding allows; ``None`` if that is above 1e-8."""
    best, norm = theta, np.inf
    for _ in range(steps):
        _, gradient, hessian = objective.hessian(theta[None])
        if not (np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))):
            break
        now = float(np.linalg.norm(gradient[0]))
        if now >= norm and norm < 1e-8:
            break
        if now < norm:
            best, norm = theta, now
        if norm < 1e-14:
            break
        try:
            step = np.linalg.solve(hessian[0], gradient[0])
        except np.linalg.LinAlgError:
            break
        if np.linalg.norm(step) > 2:  # no longer near a stationary point: it was not one
            step *= 2 / np.linalg.norm(step)
        theta = theta - step
    return best if norm < 1e-8 else None
