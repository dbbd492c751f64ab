"""Descent and Newton polishing on one objective, and where maximum likelihood starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.expectations import Nodes
from models.families import Family
from models.stationary import Smooth

__all__ = ["best_minimum", "descend", "forward_starts", "polish"]

Array = NDArray[np.float64]


def forward_starts(family: Family, rule: Nodes, count: int, seed: int) -> Array:
    """Starts (m, P) for the cross-entropy over `rule`, from its moments and quantiles."""
    dim = rule.points.shape[1]
    total = rule.weights.sum()
    location, spread = _robust_location(rule) if dim == 1 else _moments(rule)
    rng = np.random.default_rng(seed)
    starts: list[Array] = []
    if family.components > 1:
        k = family.components
        cumulative = np.cumsum(rule.weights[order := np.argsort(rule.points[:, 0])]) / total
        for i in range(count):
            levels = (np.arange(k) + 0.5) / k if i == 0 else np.sort(rng.uniform(0.02, 0.98, k))
            mu = np.interp(levels, cumulative, rule.points[order, 0])
            mu += 1e-3 * spread[0, 0] * np.arange(k)  # equal means would be a saddle
            sigma = spread[0, 0] / k * np.exp(rng.normal(0, 0.3, k) if i else np.zeros(k))
            starts.append(family.unconstrain({"w": np.full(k, 1 / k), "mu": mu, "sigma": sigma}, dim))
        return np.array(starts)
    base: dict[str, Array] = {}
    for p in family.parameters:
        if p.name == family.location:
            base[p.name] = location if p.shape else location[0]
        elif p.name == family.scale:
            base[p.name] = spread @ spread.T if p.support == "covariance" else np.sqrt(np.diag(spread @ spread.T))
            base[p.name] = base[p.name] if p.shape else base[p.name][0]
    shapes = {"nu": (5.0, 2.0, 30.0), "alpha": (2.0, -2.0, 0.5, -0.5)}
    extra = next((p.name for p in family.parameters if p.name in shapes), None)
    for value in shapes[extra] if extra else (None,):
        starts.append(family.unconstrain(base | ({extra: np.asarray(value)} if extra else {}), dim))
    return np.array(starts)


def _robust_location(rule: Nodes) -> tuple[Array, Array]:
    order = np.argsort(rule.points[:, 0])
    cumulative = np.cumsum(rule.weights[order]) / rule.weights.sum()
    low, middle, high = np.interp([0.16, 0.5, 0.84], cumulative, rule.points[order, 0])
    return np.array([middle]), np.array([[max((high - low) / 2, 1e-12)]])


def _moments(rule: Nodes) -> tuple[Array, Array]:
    w = rule.weights / rule.weights.sum()
    mean = w @ rule.points
    centred = rule.points - mean
    return mean, np.linalg.cholesky((centred * w[:, None]).T @ centred)


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
