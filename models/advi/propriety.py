"""Is a posterior proper: does its density fall fast enough along each direction in which a search has gone astray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.errors import ImproperError
from models.graphs.log_density import LogDensity
from models.targets import Target

__all__ = ["curvature", "ends_between", "flat_directions", "improper_direction", "named_direction", "refuse_improper"]

Array = NDArray[np.float64]

_DISTANCES = np.array([1e5, 1e6, 1e7])  # in units of the step
_SIDE = 1e-4  # of difference quotients, in sds
_FLAT = 1e-6  # of the curvature of a Normal as wide, below which a direction is looked into
_SHARE = 0.4  # of the largest entry of a direction, from which on a coordinate is named
_ASIDE = (0.01, 0.1)  # of the largest entry, below which an entry may be chance
_OVERFLOW = -1e100  # nats, far below all that a log density has before it ends, and far above where floats do
_RESOLVED = 0.1  # nats, to which a log density must be rounded at most
_PROPER = -1.01  # slope of log p in log t, above which the integral along the ray is infinite


def improper_direction(density: LogDensity, point: Array, steps: Iterable[Array], width: float) -> Array | None:
    """Find a direction along which the density has no finite integral.

    Parameters
    ----------
    density : LogDensity
    point : ndarray (d,)
        Where it is finite.
    steps : iterable of ndarray (d,)
        Directions to look in; both signs are tried.
    width : float
        How wide the density is there: steps are made at least as long.

    Returns
    -------
    ndarray (d,) or None
        The first, of length 1, along which log p falls no faster than -log t at a million steps and more: its integral along the
        ray is infinite then and, rays near by being alike, so is that of the density. Directions are also tried without their
        small entries. Where log p still rises from below its value at `point`, as where a scale has begun to outgrow the
        residuals, nothing is seen of what it does beyond. ``None`` is no proof that it is proper.
    """
    with np.errstate(all="ignore"):
        here = float(density(point[None])[0][0])
    for step in _straightened(steps):
        length = float(np.linalg.norm(step))
        if not (np.isfinite(length) and length > 0):
            continue
        step = step * max(1.0, width / length)
        length = max(length, width)
        for direction in (step, -step):
            with np.errstate(all="ignore"):
                values = density(point + _DISTANCES[:, None] * direction)[0]
            # Where a log density is so large that rounding hides a fall of a nat, it looks flat along whatever it rests on less.
            if not np.isfinite(values).all():
                continue
            rounding = 4 * np.finfo(float).eps * np.abs(values)
            if not ((rounding < _RESOLVED).all() or (np.abs(np.diff(values)) > rounding[1:]).all()):
                continue
            slopes = np.diff(values) / np.diff(np.log(_DISTANCES))
            recovering = slopes[-1] > -_PROPER and values[-1] < here
            if (slopes > _PROPER).all() and not recovering:
                return np.asarray(direction / length)
    return None


def _straightened(steps: Iterable[Array]) -> Iterator[Array]:
    """Each step, and where it goes a little aside, also without that: a ray that has gone far would by then leave the priors there."""
    for step in steps:
        yield step
        for aside in _ASIDE:
            small = np.abs(step) < aside * np.abs(step).max(initial=0.0)
            if (small & (step != 0)).any():
                yield np.where(small, 0.0, step)


def ends_between(density: LogDensity, inside: Array, outside: Array) -> bool:
    """Whether a density ends between two points (d,), finite at the first only, and does not just grow too small for a float.

    By bisection: before its log overflows, it falls through all that floats hold; where the density ends, it breaks off.
    """
    low, high = 0.0, 1.0
    with np.errstate(all="ignore"):
        value = float(density(inside[None])[0][0])
        for _ in range(60):
            middle = (low + high) / 2
            ahead = float(density((inside + middle * (outside - inside))[None])[0][0])
            if np.isfinite(ahead):
                low, value = middle, ahead
            else:
                high = middle
    return bool(np.isfinite(value) and value > _OVERFLOW)


def curvature(density: LogDensity, point: Array, sd: Array) -> Array:
    """Negative Hessian (d, d) of a log density, by differences of its gradient over a small part of its sds (d,)."""
    sides = _SIDE * np.diag(sd)
    slopes = density(np.concatenate([point + sides, point - sides]))[1]
    d = len(point)
    result = -(slopes[:d] - slopes[d:]) / (2 * np.diag(sides)[:, None])
    return np.asarray((result + result.T) / 2)


def flat_directions(density: LogDensity, point: Array, sd: Array) -> list[Array]:
    """Directions in which the log density does not curve at a point, in units of the sds (d,) of an approximation."""
    with np.errstate(all="ignore"):
        scaled = sd[:, None] * curvature(density, point, sd) * sd
    if not np.isfinite(scaled).all():
        return []
    eigenvalues, vectors = np.linalg.eigh(scaled)
    return [sd * vectors[:, i] for i in np.flatnonzero(np.abs(eigenvalues) < _FLAT)]


def refuse_improper(target: Target, point: Array, sd: Array, steps: Iterable[Array]) -> None:
    """Refuse a posterior that `improper_direction` finds improper, from a point where an approximation has sds (d,).

    Raises
    ------
    ImproperError
    """
    found = improper_direction(target.log_density, point, steps, float(np.linalg.norm(sd)))
    if found is not None:
        words = named_direction(target, found)
        raise ImproperError(
            f"the posterior is improper: its density does not fall along {words} (a flat prior there, on what the data "
            "do not inform, or a likelihood that rises for ever, as with separation?); give it a proper prior",
            words,
        )


def named_direction(target: Target, direction: Array) -> str:
    """Name a direction (d,) of unconstrained space by its largest coordinates, with their signs: ``a - b``."""
    size = np.abs(direction)
    if not size.max(initial=0.0):
        return ""
    largest = [i for i in np.argsort(-size, kind="stable") if size[i] >= _SHARE * size.max()][:4]
    lead = np.sign(direction[largest[0]])
    words = [f"{'+' if direction[i] * lead > 0 else '-'} {target.coordinates[i]}" for i in largest]
    return " ".join(words).removeprefix("+ ")
