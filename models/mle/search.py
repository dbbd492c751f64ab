"""The highest maximum of a likelihood or posterior: descents, Newton's method, and maxima at a boundary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from models.families import Family
from models.families.family import Ends
from models.mle.likelihood import LARGE, Sample
from models.projections.objectives import Objective, natural_values
from models.projections.optimise import polish_all

__all__ = ["at_edge", "at_limit", "best_end", "climb", "collapsed", "edge_text", "held_at", "polished_minimum"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# --- the search ------------------------------------------------------------------------------------------------------


def climb(objective: Objective, start: Array, unit: Array, box: tuple[Array, Array]) -> tuple[Array, float] | None:
    """L-BFGS from one start; ``None`` if the start has no finite value."""
    value, gradient = objective.value_and_gradient(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return None

    def guarded(scaled: Array) -> tuple[float, Array]:
        f, g = objective.value_and_gradient(scaled * unit)
        return (f, g * unit) if np.isfinite(f) and np.isfinite(g).all() else (1e10, np.zeros_like(scaled))

    options = {"maxiter": 1000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    bounds = np.transpose(box) / unit[:, None] if np.isfinite(box).any() else None
    result = minimize(guarded, start / unit, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(result.x) * unit, float(result.fun)


def collapsed(family: Family, theta: Array) -> bool:
    """Whether a mixture component has shrunk onto single observations, or vanished."""
    if family.components == 1:
        return False
    values, _ = natural_values(family, theta)
    scale = values[str(family.scale)]
    smallest = np.sqrt(np.linalg.eigvalsh(scale).min()) if family.correlated else scale.min()
    return bool(smallest < 1e-5)


def best_end(
    quick: Objective, ends: list[tuple[Array, float]], box: tuple[Array, Array], unit: Array
) -> tuple[Array, int]:
    """The lowest end that polishes to a proper minimum or lies on an edge, and how many starts reached it."""
    ordered = sorted(ends, key=lambda end: end[1])
    failed = -np.inf
    for theta, value in ordered:
        if value < failed + 1e-7:  # the same end again
            continue
        reached, failed = sum(v < value + 1e-7 for _, v in ordered), value
        if np.any(np.logical_or(*_ends(theta, box, unit))):
            return theta, reached
        polished = polished_minimum(quick, theta, np.zeros(len(theta), dtype=bool), unit)
        if polished is not None:
            return polished, reached
    return ordered[0][0], 1


def polished_minimum(objective: Objective, theta: Array, held: Mask, unit: Array) -> Array | None:
    """Newton's method over the coordinates that are not held; ``None`` unless it ends in a minimum."""
    free = ~held
    if not free.any():
        return theta
    inner = _Restricted(objective, theta, free, unit[free])
    best, norms = polish_all(inner, (theta[free] / unit[free])[None])
    _, gradient, hessian = inner.hessian(best)
    if not (np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian[0])[0] > 0):
        return None
    # A prior far narrower than its location leaves a gradient that no float can cancel: the step says whether it arrived.
    rounding = 8 * np.finfo(float).eps * (1 + np.abs(best[0]))
    if norms[0] >= 1e-8 and np.any(np.abs(np.linalg.solve(hessian[0], gradient[0])) > rounding):
        return None
    return inner.whole(best)[0]


@dataclass(frozen=True, eq=False)
class _Restricted:
    """An objective over some coordinates of theta, each in its own unit; the others are held."""

    objective: Objective
    theta: Array
    free: Mask
    unit: Array

    def whole(self, inner: Array) -> Array:
        thetas = np.tile(self.theta, (len(inner), 1))
        thetas[:, self.free] = inner * self.unit
        return thetas

    def gradient(self, inner: Array) -> tuple[Array, Array]:
        value, gradient = self.objective.gradient(self.whole(inner))
        return value, gradient[:, self.free] * self.unit

    def hessian(self, inner: Array) -> tuple[Array, Array, Array]:
        value, gradient, hessian = self.objective.hessian(self.whole(inner))
        part = hessian[:, self.free][:, :, self.free] * np.outer(self.unit, self.unit)
        return value, gradient[:, self.free] * self.unit, part


# --- boundaries ------------------------------------------------------------------------------------------------------


def at_limit(sample: Sample, objective: Objective, theta: Array) -> tuple[Array, str | None]:
    """Where a shape parameter has run off: a member close to the limit, and the name of the limit."""
    family = sample.units.family
    limit = family.at_boundary(theta, sample.dim)
    shape = family.shape
    if shape is not None and shape.ends is not None and shape.name not in sample.priors:
        return _at_end(sample, objective, theta, limit, shape.ends)
    for p, part, _ in family.shapes(sample.dim):
        if (
            p.support == "positive" and limit == f"{p.name} -> infinity"
        ):  # beyond, the gamma functions of nu cancel to noise
            theta = theta.copy()
            theta[part] = 14.0
    return theta, limit


def _at_end(
    sample: Sample, objective: Objective, theta: Array, limit: str | None, ends: Ends
) -> tuple[Array, str | None]:
    """The best member on the way to the other limit of a shape, if the likelihood is higher there than at theta."""
    z, weights = sample.rule.points[:, 0], sample.rule.weights
    family = sample.units.family
    ((p, part, _),) = family.shapes(1)
    if len(z) > LARGE and limit is None and np.abs(theta[part]) < 10:
        return theta, None
    way, bounds = ends(z, weights)

    def value(place: float) -> float:
        return objective.value_and_gradient(family.unconstrain(way(place), 1))[0]

    found = family.unconstrain(way(float(minimize_scalar(value, bounds=bounds, method="bounded").x)), 1)
    here = objective.value_and_gradient(theta)[0]
    if limit is None and not objective.value_and_gradient(found)[0] < here - 1e-9:
        return theta, None
    return found, f"{p.name} -> {'infinity' if found[part] > 0 else '-infinity'}"


def held_at(family: Family, dim: int, limit: str | None) -> Mask:
    """Coordinates (P,) that are held because a shape has run to its limit."""
    held = np.zeros(family.size(dim), dtype=bool)
    if limit is not None:
        ends = family.shape is not None and family.shape.ends is not None
        for p, part in family.slices(dim):
            # At a half-normal the location is an end of the data: its likelihood is no quadratic either.
            held[part] = p.name == limit.split()[0] or (ends and p.name == family.location)
    return held


def at_edge(objective: Objective, theta: Array, box: tuple[Array, Array], unit: Array) -> Mask:
    """Coordinates (P,) at an end of the support of their prior, where the density would rise beyond it."""
    slope, (low, high) = objective.value_and_gradient(theta)[1], _ends(theta, box, unit)
    return np.asarray((low & (slope > 0)) | (high & (slope < 0)))


def _ends(theta: Array, box: tuple[Array, Array], unit: Array) -> tuple[Mask, Mask]:
    """Coordinates at the lower and at the upper end of their support, to rounding."""
    return theta <= box[0] + 1e-9 * unit, theta >= box[1] - 1e-9 * unit


def edge_text(sample: Sample, edge: Mask) -> str | None:
    """Name the priors at an end of whose support the coordinates in `edge` (P,) are; ``None`` if there are none."""
    if not edge.any():
        return None
    names = [p.name for p, part in sample.units.family.slices(sample.dim) if edge[part].any()]
    return "; ".join(f"{name} at an end of {sample.priors[name]}" for name in names)
