"""Modes of a density by ascent, told apart by the dip between them, and which of them an approximation covers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.advi.propriety import curvature
from models.advi.search import images
from models.graphs.log_density import LogDensity
from models.targets import Target

__all__ = [
    "DIP",
    "Image",
    "Mode",
    "ascend",
    "assign",
    "covers",
    "has",
    "image",
    "nested",
    "places",
    "stand_in",
    "top",
    "unexplained",
]

Array = NDArray[np.float64]
Image = Literal["labels", "signs"]

_NEGLIGIBLE = 14.0  # nats of evidence below the highest: less than a millionth of the mass
DIP = 0.3  # nats that the density falls between two points before they count as two modes
_UNEXPLAINED = 2.0  # nats that a density has at a draw beyond what the modes known account for
_HOLLOW = 1.0  # nats of its ELBO, that an optimum has beyond what there is at its place: of a Normal posterior, none
_ALIKE_NATS, _ALIKE_SDS = (
    0.05,
    0.1,
)  # within which a mode is as high, and where labels exchanged put it
_ALIKE_EVIDENCE = (
    0.1  # nats, within which one has as much mass, and so the same volume: exchanges and mirrors keep that
)
_NOWHERE = 1e300  # minus the log density where it is not finite
_COVERED = 3.0  # sds of an approximation within which a place is its own
_FAIR = 0.5  # of the mass of a mode, that an approximation must have there to cover it
_NO_NARROWER = 0.8  # times as wide, but for rounding and the error of an optimum's sds
_AS_WIDE = 4.0  # times as wide in a direction, from which on one is a spike on the other, and another place though no dip is between them


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode (d,) of a density in unconstrained space, with its height and the Cholesky factor (d, d) of its curvature's inverse.

    Attributes
    ----------
    place : ndarray (d,)
    height : float
        Log density, in nats.
    factor : ndarray (d, d)
        Of the covariance of Laplace's approximation.
    elbo : float, optional
        In nats, of an optimum of reverse KL that stands where the density has no mode (see `places`).
    hollow : bool
        Whether such an optimum has its mass elsewhere than at its own place, as one between two modes.
    """

    place: Array
    height: float
    factor: Array
    elbo: float | None = None
    hollow: bool = False

    @property
    def log_evidence(self) -> float:
        """Laplace's approximation of the log integral about the mode; the ELBO where an optimum stands for one."""
        return _by_height(self.height, self.factor) if self.elbo is None else self.elbo

    def log_density(self, points: Array) -> Array:
        """Log density (n,) of Laplace's approximation."""
        z = np.linalg.solve(self.factor, (points - self.place).T)
        return (
            -0.5 * np.square(z).sum(axis=0)
            - 0.5 * len(self.place) * np.log(2 * np.pi)
            - np.log(np.diag(self.factor)).sum()
        )


def _by_height(height: float, factor: Array) -> float:
    return height + 0.5 * len(factor) * np.log(2 * np.pi) + float(np.log(np.diag(factor)).sum())


def stand_in(place: Array, height: float, factor: Array, elbo: float, own: Array) -> Mode:
    """An optimum as a mode (see `places`): with the Cholesky factor by linear response, say, beside its `own`, of which the ELBO is that of a Normal."""
    return Mode(place, height, factor, elbo, _by_height(height, own) < elbo - _HOLLOW)


def ascend(
    density: LogDensity,
    places: Iterable[Array],
    known: Sequence[Mode] = (),
    *,
    stop: Callable[[], bool] = lambda: False,
) -> list[Mode]:
    """Climb from each place; return the modes that hold mass, highest Laplace evidence first.

    An ascent that ends without a positive definite curvature, as where a density rises for ever, is no mode and is left out.

    Parameters
    ----------
    density : LogDensity
    places : iterable of ndarray (d,)
    known : sequence of Mode
        Found before; returned with the new ones.
    stop : callable
        Asked before each ascent.
    """
    found = list(known)
    for place in places:
        if stop():
            break
        mode = _climb(density, place)
        if mode is not None and not any(_same(density, mode, other) for other in found):
            found.append(mode)
    highest = max((m.log_evidence for m in found), default=0.0)
    return sorted((m for m in found if m.log_evidence > highest - _NEGLIGIBLE), key=lambda m: -m.log_evidence)


def _climb(density: LogDensity, place: Array) -> Mode | None:
    try:
        return _ascended(density, place)
    except np.linalg.LinAlgError:  # positive definite to rounding only, as far down the neck of a funnel
        return None


def top(density: LogDensity, place: Array) -> tuple[Array, float]:
    """Where a climb from a place (d,) ends, and how high that is: minus infinity where the density is not finite at its beginning."""
    from scipy.optimize import minimize

    with np.errstate(all="ignore"):
        if _falling(density, place)[0] >= _NOWHERE:
            return place, -np.inf
        found = minimize(
            lambda x: _falling(density, x), place, jac=True, method="L-BFGS-B",
            options={"maxiter": 500, "maxcor": 20, "gtol": 1e-6},
        )  # fmt: skip
    return found.x, -float(found.fun)


def _falling(density: LogDensity, x: Array) -> tuple[float, Array]:
    """Minus the log density with its gradient; a large number where it is not finite."""
    value, slope = density(x[None])
    if not (np.isfinite(value[0]) and np.isfinite(slope).all()):
        return _NOWHERE, np.zeros_like(x)
    return -float(value[0]), -slope[0]


def _ascended(density: LogDensity, place: Array) -> Mode | None:
    x, height = top(density, place)
    if height == -np.inf:
        return None
    with np.errstate(all="ignore"):
        for _ in range(3):  # Newton steps, which also say whether it is a mode at all
            hessian = curvature(density, x, np.maximum(1.0, np.abs(x)))
            if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 1e-10:
                return None
            step = np.linalg.solve(hessian, _falling(density, x)[1])
            if _falling(density, x - step)[0] > _falling(density, x)[0]:
                break
            x = x - step
    left = _falling(density, x)[1]
    if left @ np.linalg.solve(hessian, left) > 1e-2:
        return None
    return Mode(x, -_falling(density, x)[0], np.linalg.cholesky(np.linalg.inv(hessian)))


def _as_wide(mode: Mode, other: Mode) -> bool:
    """Whether no direction is much wider in one than in the other, as far as both have mass where they are."""
    if mode.hollow or other.hollow:
        return True
    ratios = np.linalg.svd(np.linalg.solve(mode.factor, other.factor), compute_uv=False)
    return bool(1 / _AS_WIDE <= ratios.min() <= ratios.max() <= _AS_WIDE)


def _same(density: LogDensity, mode: Mode, other: Mode) -> bool:
    """Whether two ends of ascents are as wide, and no dip lies between them."""
    if not _as_wide(mode, other):  # a spike on the flank of something wide: it rises all the way, and yet they are two
        return False
    way = np.linspace(0, 1, 33)[:, None]
    with np.errstate(all="ignore"):
        heights = density(mode.place + way * (other.place - mode.place))[0]
    return bool(np.isfinite(heights).all() and heights.min() > min(mode.height, other.height) - DIP)


def places(density: LogDensity, modes: Sequence[Mode], optima: Sequence[Mode]) -> list[Mode]:
    """The modes, and the optima of reverse KL where there is no mode: a density may rise for ever, as at zero of the scale of a hierarchy.

    An optimum is a place of its own if no mode is its home, and a dip of the density lies between it and every other place, or it is a spike on the
    other, or has the other as one; one that covers another as wide, or is covered by it, is none: it straddles what the other is at.

    Parameters
    ----------
    density : LogDensity
    modes : sequence of Mode
    optima : sequence of Mode
        At rest, the lowest loss first, with their ELBOs.
    """
    known: list[Mode] = []  # the optima that have a place
    for optimum in optima:
        if not any(_straddles(optimum, other) or _same(density, optimum, other) for other in known):
            known.append(optimum)
    if not modes:
        return known if len(known) > 1 else []
    near = [next((i for i, m in enumerate(modes) if _straddles(optimum, m)), None) for optimum in known]
    found, homes = list(modes), set(near)
    for optimum, mode in zip(known, near, strict=True):
        if mode is not None:
            continue
        # Where it is, whatever the shape: the mode of a funnel is far from its mass. But one mode is the home of one optimum.
        home = int(assign(modes, optimum.place[None])[0])
        if home in homes:
            found.append(optimum)
        homes.add(home)
    return found


def _straddles(one: Mode, other: Mode) -> bool:
    """Whether both are as wide, and one covers the other, or the other way round."""
    if not _as_wide(one, other):
        return False
    return covers(one.place, one.factor, other) or covers(other.place, other.factor, one)


def nested(one: Mode, other: Mode) -> bool:
    """Whether both are at one place, and one is wider, narrower in no direction: a spike on something wide, which no ridge joins."""
    each = covers(one.place, one.factor, other) and covers(other.place, other.factor, one)
    ratio = np.linalg.svd(np.linalg.solve(one.factor, other.factor), compute_uv=False)
    return bool(each and not _as_wide(one, other) and (ratio.min() > _NO_NARROWER or ratio.max() < 1 / _NO_NARROWER))


def assign(modes: Sequence[Mode], points: Array) -> NDArray[np.intp]:
    """Mode (n,) to which each of the points (n, d) belongs: the one whose Laplace approximation, with its evidence, is densest there.

    Without the evidence the border would lie half-way, and a mode of 5 % at 5 sds be given a tenth more than it has, from the flank of
    the large one. The difference of two Normals' log densities grows with the distance along the line between them and not with the
    dimension, so the rule holds in many dimensions.
    """
    return np.argmax([m.log_evidence + m.log_density(points) for m in modes], axis=0)


def unexplained(density: LogDensity, modes: Sequence[Mode], points: Array) -> NDArray[np.intp]:
    """Which of the points (n, d) are denser than Laplace's approximations at all modes together account for.

    Draws in a mode that no ascent has met are among them, however few, and those in tails that are heavier than a Normal's.
    """
    if not modes:
        return np.arange(len(points))
    with np.errstate(all="ignore"):
        height = density(points)[0]
    known = np.logaddexp.reduce([m.log_evidence + m.log_density(points) for m in modes], axis=0)
    return np.flatnonzero(height > known + _UNEXPLAINED)


def has(modes: Sequence[Mode], draws: Array, mass: Array) -> list[bool]:
    """Whether an approximation covers each mode: at least half of the mode's mass is there, by its own draws (n, d).

    That a mode lies within its sds is not enough: a spike under a wide Normal has almost none of its draws.

    Parameters
    ----------
    modes : sequence of Mode
    draws : ndarray (n, d)
        Of the approximation.
    mass : ndarray (k,)
        Of each mode, by `assign`, as that of the draws is.
    """
    if len(modes) < 2:
        return [True] * len(modes)
    own = np.bincount(assign(modes, draws), minlength=len(modes)) / len(draws)
    return [bool(there) for there in own >= _FAIR * mass]


def covers(mean: Array, factor: Array, mode: Mode) -> bool:
    """Whether the place of a mode lies within three sds of a Normal (mean, Cholesky factor)."""
    return bool(np.linalg.norm(np.linalg.solve(factor, mode.place - mean)) <= _COVERED)


def image(target: Target, mode: Mode, other: Mode) -> Image | None:
    """How another mode is this one, with labels exchanged or signs turned: there, as high, and as wide; ``None`` if it is not."""
    if abs(mode.height - other.height) > _ALIKE_NATS or abs(mode.log_evidence - other.log_evidence) > _ALIKE_EVIDENCE:
        return None
    sd, other_sd = (np.sqrt(np.square(m.factor).sum(axis=1)) for m in (mode, other))
    found: set[Image] = set()
    for start in images(target, mode.place, sd, "image"):
        if np.abs((start.mean - other.place) / other_sd).max() < _ALIKE_SDS:
            found.add("labels" if "relabelled" in start.label else "signs")
    return "labels" if "labels" in found else "signs" if found else None
