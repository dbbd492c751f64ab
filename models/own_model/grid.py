"""A grid for one or two unknowns: along the axes of a mode, and finer only where there is mass, until its cells are smaller than what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.own_model.modes import Mode
from models.own_model.reference import Cells, Reference
from models.quadrature import Estimate
from models.targets import Target

__all__ = ["by_grid"]

Array = NDArray[np.float64]

_SIZE = {1: 2001, 2: 201}  # points along an axis, to begin with
_MOST = 400_000  # points that are evaluated at once
_FINE = 0.4  # nats that the log density may change across a cell along an axis, in the mean of squares: a Normal's sd is 2.5 cells then
_STEEP = 4.0  # nats across a cell whose centre says nothing of it
_LOST = 0.003  # of the mass, that all such cells, or a mode between centres, may have: the neck of a funnel
_BEFORE = 2.5  # times as much in the cells before they were halved
_DEEP = 35.0  # nats below the highest, at which a cell holds nothing
_WIDER = (0.5, 1.5, 3.5)  # times as long on either side: boxes for a posterior that reaches beyond its draws
_FEW = 100_000  # cells, above which one that is a reference is left as it is
_LEFT_OUT = 1e-6  # of the mass, that may lie beyond the box: moments far out are a thousand times as much
_BEYOND, _THIN = (
    "the posterior reaches beyond the box of the grid",
    "the posterior is thinner than the cells of the grid",
)
_NO_MASS, _FAINT = 1e-14, 1e-12  # of a cell, that moments do without, and next to that


def by_grid(target: Target, around: Array, modes: Sequence[Mode] = (), *, seed: int, draws: int = 1000) -> Reference:
    """A grid over a box about points (n, d) and modes, d at most 2, and draws from its cells as four chains.

    The box lies along the axes of the highest mode's curvature, or of the points' covariance, so that a ridge across the unknowns is none across the box. Cells are halved
    where they hold mass until the density hardly changes across one; where that would take too many, as of a thin bent ridge, it is said to be no reference.
    Where the posterior reaches beyond the box, be it with next to no mass, it is tried again on wider ones, as far as their cells are small enough.

    Parameters
    ----------
    target : Target
    around : ndarray (n, d)
        Such as draws of a sampler.
    modes : sequence of Mode
        The highest first; cells about them are halved whatever their own height is.
    seed, draws : int
    """
    for frame in _frames(around, modes):
        found = _on_boxes(target, frame, around, modes, seed, draws)
        if found.ok:
            break
    return found


@dataclass(frozen=True, eq=False)
class _Frame:
    """Coordinates u in which points are centre + factor u."""

    centre: Array
    factor: Array

    def inward(self, points: Array) -> Array:
        return np.linalg.solve(self.factor, (points - self.centre).T).T

    def outward(self, u: Array) -> Array:
        return np.asarray(self.centre + u @ self.factor.T)


def _frames(around: Array, modes: Sequence[Mode]) -> Iterator[_Frame]:
    """By the curvature of the highest mode, by the covariance of the points, and by their sds."""
    if modes:
        yield _Frame(modes[0].place, modes[0].factor)
    centre = around.mean(axis=0)
    with suppress(np.linalg.LinAlgError):  # of points on a line
        yield _Frame(centre, np.linalg.cholesky(np.atleast_2d(np.cov(around, rowvar=False))))
    if len(centre) > 1:
        yield _Frame(centre, np.diag(around.std(axis=0) + np.finfo(float).tiny))


def _on_boxes(target: Target, frame: _Frame, around: Array, modes: Sequence[Mode], seed: int, draws: int) -> Reference:
    inside = frame.inward(np.vstack([around, *(m.place[None] for m in modes)]))
    low, high = inside.min(axis=0), inside.max(axis=0)
    low, high = low - 0.5 * (high - low), high + 0.5 * (high - low)
    found = _on_box(target, frame, modes, low, high, seed, draws)
    for by in _WIDER:
        if not _cut(found):
            break
        wider = _on_box(target, frame, modes, low - by * (high - low), high + by * (high - low), seed, draws)
        if not wider.ok and found.ok:
            break
        # There is more in a wider box, unless its first cells passed over some of it.
        if wider.ok and not (found.ok and _evidence(wider) < _evidence(found) - _LOST):
            found = wider
    return found


def _cut(found: Reference) -> bool:
    """Whether the posterior goes on beyond the box of a grid, be it with next to no mass if a wider one costs little."""
    assert found.cells is not None
    if not found.ok:
        return _BEYOND in found.reasons
    return bool(len(found.cells.mass) < _FEW and found.cells.mass @ found.cells.beyond > _LEFT_OUT)


def _evidence(found: Reference) -> float:
    assert found.log_evidence is not None
    return found.log_evidence.value


def _on_box(
    target: Target, frame: _Frame, modes: Sequence[Mode], low: Array, high: Array, seed: int, draws: int
) -> Reference:
    d = target.dim
    size = _SIZE[d]
    index, corners = np.indices((size,) * d).reshape(d, -1).T, np.indices((2,) * d).reshape(d, -1).T
    about, before = frame.inward(np.array([m.place for m in modes]).reshape(-1, d)), np.inf
    while True:
        spacing = (high - low) / size
        with np.errstate(all="ignore"):
            values, slopes = target.log_density(frame.outward(low + spacing * (index + 0.5)))
            change = np.abs(slopes @ frame.factor) * spacing
        values, change = (np.where(np.isnan(x), by, x) for x, by in ((values, -np.inf), (change, np.inf)))
        mass = np.exp(values - values.max())
        steep = ~(change < _STEEP).all(axis=1)
        rough = _roughness(mass, change, steep)
        # At the centre of a ridge nothing changes, whatever its width; but the next centres lie beside it.
        log_mass = values.max() + np.log(mass.sum() * spacing.prod())
        seen = not _unseen(frame, modes, spacing, log_mass)
        if seen and rough <= _FINE and before <= _BEFORE * _FINE:
            break
        # What a cell holds at its highest corner, were the density to go on as it does at its centre.
        with np.errstate(invalid="ignore"):
            held = values + 0.5 * change.sum(axis=1) > values.max() - _DEEP
        for place in (about - low) / spacing - 0.5:
            held |= (np.abs(index - place) <= 1.5).all(axis=1)
        if held.sum() * len(corners) > _MOST:
            break
        index, before, size = (2 * index[held][:, None] + corners).reshape(-1, d), rough, 2 * size
    lost = float(mass[steep].sum() / mass.sum())
    if rough < np.inf:
        mass[steep] = 0.0
    edge = ((index == 0) | (index == size - 1)).any(axis=1)
    evidence = values.max() + np.log(mass.sum() * spacing.prod()) + np.linalg.slogdet(frame.factor)[1]
    mass /= mass.sum()
    beyond = np.where(edge, float(size), 0.0)
    reasons = [_BEYOND] * bool(mass @ beyond >= 0.01)
    reasons += [_THIN] * (not (seen and rough <= _FINE))
    rng = np.random.default_rng([seed, 23])
    chosen = rng.choice(len(mass), size=4 * draws, p=mass)
    u = low + spacing * (index[chosen] + rng.random((4 * draws, d)))
    kept = mass > _NO_MASS
    beyond[~edge & (mass < _FAINT)] = 1.0
    cells = Cells(
        frame.outward(low + spacing * (index[kept] + 0.5)), mass[kept], (index[kept] % 2 == 0).all(axis=1), beyond[kept]
    )
    return Reference(
        "grid", frame.outward(u).reshape(4, draws, d), 4.0 * draws, tuple(reasons), cells=cells,
        log_evidence=Estimate(float(evidence), lost + _evidence_error(mass, cells, reasons), "quadrature"),
    )  # fmt: skip


def _unseen(frame: _Frame, modes: Sequence[Mode], spacing: Array, log_mass: float) -> bool:
    """Whether a mode that is narrower than the cells, and may so fall between their centres, holds mass about its place."""
    wide = float(spacing.max())
    for mode in modes:
        sds = np.linalg.svd(np.linalg.solve(frame.factor, mode.factor), compute_uv=False)
        # No farther than a few cells: of a ridge that is narrow at one end, a "mode" there says nothing of the other.
        volume = np.minimum(np.sqrt(2 * np.pi) * sds, 3 * wide).prod()
        if sds.min() < wide and mode.height + np.log(volume) > log_mass + np.log(_LOST):
            return True
    return False


def _roughness(mass: Array, change: Array, steep: NDArray[np.bool_]) -> float:
    """Root mean square of the change (m, d) of the log density across a cell, along the axis where it is largest.

    Without steep cells, if these hold next to nothing: those at the end of a funnel, that a few centres hit by luck.
    """
    if not mass[steep].sum() < _LOST * mass.sum():
        return float("inf")
    return float(np.sqrt(mass[~steep] @ np.square(change[~steep]) / mass[~steep].sum()).max())


def _evidence_error(mass: Array, cells: Cells, reasons: Sequence[str]) -> float:
    """How far the log integral is from that of every second cell; infinite where the grid is no reference."""
    coarse = cells.mass[cells.coarse].sum() * 2 ** cells.points.shape[1]
    return float("inf") if reasons or coarse <= 0 else float(abs(np.log(coarse / mass.sum())))
