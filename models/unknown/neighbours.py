"""Nearest neighbours of draws, and the entropy that their distances tell.

The k-th neighbour of a draw among n - 1 others holds on average psi(k) - psi(n) of log mass. The bias of the entropy so
found falls with known powers of k/n: the estimates at k = 1..K are a regression of which the entropy is the intercept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln, polygamma

from models.errors import InputError
from models.unknown.memo import kept_by_content
from models.unknown.rounding import jittered, repeated, rounding_unit

__all__ = ["Distances", "Terms", "default_neighbours", "entropy_terms", "shared", "weights"]

Array = NDArray[np.float64]

_BATCH = 16_384
_THREADED = 20_000  # queries of a tree from which threads are worth their start
_DEEPEST = (
    3  # dimensions; of Normal draws in five the bias is half a standard error at 1000 draws and falls more slowly
)
_SIGNIFICANT = 3.0  # standard errors by which estimates from K and from 2 K neighbours may differ
_CHECKED = 4000  # draws, at least, of which 2 K neighbours are looked at
_UNLIKELY = 4.0  # times as many equal draws as rounding makes on average
_FEW_COPIES = 0.2  # times the root of the number of draws
_ROUGH = 0.1  # rounding, in typical distances between neighbours, that moves the estimate
#: Variance of the mean of nearest-neighbour noise over that of one draw divided by n: neighbours share their distances, so
#: it exceeds 1. For one, two and more dimensions, whatever the density: measured on uniform draws on a torus for 5 to 32
#: neighbours, which differ from it by up to 0.1 in one and two dimensions and 0.2 in three to five; a test measures it again.
_SHARED = {1: 1.72, 2: 1.60, 3: 1.65}


def default_neighbours(n: int, dim: int) -> int:
    """Return K = sqrt(n)/2, at least 5 (8 in several dimensions) and at most 32.

    Smaller gives longer intervals, larger leaves more bias where the density has fine structure.

    Examples
    --------
    >>> [default_neighbours(n, 1) for n in (20, 1000, 10**6)]
    [5, 16, 32]
    """
    return int(np.clip(round(np.sqrt(n) / 2), 5 if dim == 1 else 8, 32))


# --- weights ---------------------------------------------------------------------------------------------------------


@cache
def weights(k: int, dim: int) -> tuple[Array, float]:
    """Return weights (k,) of H_1..H_k, and the variance of the weighted noise of one draw.

    The weights sum to 1 and cancel the bias of order (k/n)^(1/d), in several dimensions also (k/n)^(2/d), at the least
    variance; with one or two neighbours they only do the former.

    Examples
    --------
    >>> w, noise = weights(16, 1)
    >>> round(float(w.sum()), 9), round(noise, 2)
    (1.0, 0.27)
    """
    ks = np.arange(1.0, k + 1)
    powers = [0] if k < 3 else [0, 1] if dim == 1 else [0, 1, 2]
    terms = np.exp([gammaln(ks + p / dim) - gammaln(ks) for p in powers])
    terms /= terms.max(axis=1, keepdims=True)
    noise = _noise(k)
    solved = np.linalg.solve(noise, terms.T)
    w = solved @ np.linalg.inv(terms @ solved)[:, 0]
    return w, float(w @ noise @ w)


def _noise(k: int) -> Array:
    # With G_1 < G_2 < .. the arrivals of a Poisson process, Cov(log G_j, log G_k) = psi'(max(j, k)).
    ranks = np.arange(k)
    return np.asarray(polygamma(1, ranks + 1)[np.maximum.outer(ranks, ranks)])


@cache
def _contrast(k: int, dim: int) -> tuple[Array, float]:
    """Weights (2k,) of the estimate from k neighbours minus that from 2k, and the variance of their noise."""
    contrast = -weights(2 * k, dim)[0]
    contrast[:k] += weights(k, dim)[0]
    return contrast, float(contrast @ _noise(2 * k) @ contrast)


def shared(dim: int) -> float:
    """Return the variance of the mean of nearest-neighbour noise, relative to independent draws."""
    return _SHARED.get(dim, _SHARED[3])


# --- distances -------------------------------------------------------------------------------------------------------


class Distances:
    """Distances from points (n, d) to their nearest others; a sorted line in one dimension, else a tree.

    Examples
    --------
    >>> [(rows.tolist(), r.tolist()) for rows, r in Distances(np.array([[0.0], [5.0], [1.0]])).parts(2)]
    [([0, 2, 1], [[1.0, 1.0, 4.0], [5.0, 4.0, 5.0]])]
    """

    def __init__(self, z: Array) -> None:
        self.tree = None if z.shape[1] == 1 else cKDTree(z, leafsize=16, balanced_tree=False)
        # Neighbours in this order are near in memory.
        self.order = np.argsort(z[:, 0]) if self.tree is None else self.tree.indices
        self.points = z[self.order]

    def parts(self, k: int, rows: NDArray[np.intp] | None = None) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Yield rows (m,) and their distances (k, m), some at a time; of all points, or those at places `rows` in order."""
        chosen = np.arange(len(self.order)) if rows is None else rows
        ends = np.array([np.inf])
        line = np.concatenate([-ends, self.points[:, 0], ends])
        workers = -1 if len(chosen) > _THREADED else 1
        for start in range(0, len(chosen), _BATCH):
            here = chosen[start : start + _BATCH]
            if self.tree is None:
                yield self.order[here], _along_line(line, here, k)
            else:
                yield self.order[here], self.tree.query(self.points[here], k + 1, workers=workers)[0][:, 1:].T


def _along_line(line: Array, here: NDArray[np.intp], k: int) -> Array:
    """Distances (k, m) on a sorted line that ends in infinities: the nearer of the next on the left and on the right."""
    x = line[here + 1]
    left, right = here.copy(), here + 2
    below, above = x - line[left], line[right] - x
    out = np.empty((k, len(here)))
    for step in range(k):
        np.minimum(below, above, out=out[step])
        nearer = below <= above
        left -= nearer
        right += ~nearer
        below, above = x - line[left], line[right] - x
    return out


# --- draws -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Whitened:
    """Points (n, d) of unit covariance, the log determinant back, and how rounding shows in them."""

    points: Array
    log_det: float
    floor: float  # of distances: half a unit of rounding
    rounding: float  # typical shift by rounding, in whitened units
    unit: float
    cell: float  # volume that one value stands for, in whitened units
    copies: int
    tied: bool
    jittered: bool
    reasons: list[str]
    notes: list[str]


def _whitened(data: Array, jitter: bool, seed: int) -> _Whitened:
    n, dim = data.shape
    units = np.array([rounding_unit(column) for column in data.T])
    unit = float(units.max())
    blurred = jitter and unit > 0
    notes: list[str] = []
    if blurred:
        data = jittered(data, units, seed)
        named = ", ".join(f"{u:.3g}" for u in units)
        notes.append(f"jittered: uniform noise as wide as the rounding ({named}) was added, seed {seed}")
    elif jitter:
        notes.append("not jittered: the values are not rounded to any unit")
    copies = repeated(data)
    middle = np.median(data, axis=0)
    scale = np.abs(data - middle).max(axis=0)
    z = (data - middle) / scale
    factor = _factor(z)
    if factor is None:
        raise InputError(f"the {n} draws lie in fewer than {dim} dimensions: they have no density; leave a column out")
    inverse = np.linalg.inv(factor)
    log_det = float(np.log(np.diag(factor)).sum() + np.log(scale).sum())
    rounding = float(np.sqrt(((inverse * (units / scale)) ** 2).sum() / 12))
    reasons = []
    if copies:
        spread = unit > 0 and not blurred
        if spread and copies <= _FEW_COPIES * np.sqrt(n):  # a nat or so each: little against the standard error
            notes.append(f"{copies} of {n} draws are repeated, as values rounded to {unit:.3g} sometimes are")
        else:
            remedy = f"values are rounded to {unit:.3g}: jitter=True spreads them" if spread else "remove copies"
            reasons.append(_repeats(copies, n, remedy))
    floor = rounding if copies and rounding and not blurred else np.finfo(float).tiny
    cell = 0.0 if blurred else float(np.prod(units) * np.exp(-log_det))
    tied = bool(reasons)
    return _Whitened(z @ inverse.T, log_det, floor, rounding, unit, cell, copies, tied, blurred, reasons, notes)


def _repeats(copies: int, n: int, remedy: str) -> str:
    return f"{copies} of {n} draws are repeated ({copies / n:.1%}), which a density forbids; {remedy}"


def _factor(z: Array) -> Array | None:
    """Cholesky factor (d, d) of the covariance; ``None`` if it is singular to rounding."""
    covariance = np.atleast_2d(np.cov(z.T))
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    if np.linalg.eigvalsh(correlation)[0] < 1e-13:
        return None
    return np.asarray(sd[:, None] * np.linalg.cholesky(correlation))


# --- entropy ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """Terms of which the entropy is the mean.

    Attributes
    ----------
    values : ndarray (n,)
        In nats, in the order of the draws.
    noise : float
        Variance of the part of a term that comes from its distances.
    dim : int
    blur : float
        Nats of structure that rounding and jitter hide.
    reasons, notes : list of str
        What is wrong with the draws, and what was done to them.
    told : bool
        Whether the terms say anything: draws that are copies, and not made equal by rounding, lie at distance 0, whose logarithm
        is any number.
    """

    values: Array
    noise: float
    dim: int
    blur: float = 0.0
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    told: bool = True


@kept_by_content(4)
def entropy_terms(x: Array, k: int | None = None, *, jitter: bool = False, seed: int = 0) -> Terms:
    """Return minus a bias-reduced log density at each of the draws x (n, d), by the distances to K neighbours.

    Parameters
    ----------
    x : ndarray (n, d)
    k : int, optional
        K; `default_neighbours` if not given.
    jitter, seed
        As `models.unknown.entropy_from_draws`.

    Raises
    ------
    InputError
        If the draws lie in a subspace, or K is out of range.

    Examples
    --------
    >>> x = np.random.default_rng(0).random((2000, 1))
    >>> abs(float(entropy_terms(x).values.mean())) < 0.05
    True
    """
    data = _whitened(x, jitter, seed)
    n, dim = data.points.shape
    k = default_neighbours(n, dim) if k is None else k
    if not 1 <= k <= (n - 1) // 2:
        raise InputError(f"neighbours is {k}; for {n} draws it must be between 1 and {(n - 1) // 2}")
    w, noise = weights(k, dim)
    contrast, _ = _contrast(k, dim)
    distances = Distances(data.points)
    log_r, closest, farthest, change = np.empty(n), np.empty(n), np.empty(n), []
    # That twice as many neighbours say the same is checked on a part of the draws where there are very many.
    deep = np.arange(n) % max(n // _CHECKED, 1) == 0
    for rows, depth in ((np.flatnonzero(deep), 2 * k), (np.flatnonzero(~deep), k)):
        for at, r in distances.parts(depth, rows):
            logs = np.log(np.maximum(r, data.floor))
            log_r[at], closest[at], farthest[at] = w @ logs[:k], logs[0], logs[k - 1]
            if depth > k:
                change.append(contrast @ logs)
    ball = dim / 2 * np.log(np.pi) - gammaln(dim / 2 + 1)
    values = digamma(n) - w @ digamma(np.arange(1, k + 1)) + ball + data.log_det + dim * log_r
    # What rounding and jitter blur: their variance times half the Fisher information, that of a Normal of this entropy.
    excess = dim / 2 * np.log(2 * np.pi * np.e) - float(values.mean()) + data.log_det
    blur = data.rounding**2 / 2 * float(np.exp(2 * excess / dim)) if data.jittered else 0.0
    reasons = list(data.reasons)
    if data.rounding > _ROUGH * np.exp(np.median(closest)) and not (data.tied or data.jittered):
        reasons.append(f"values are rounded to {data.unit:.3g}, not small against the distance between neighbours")
    if dim > _DEEPEST:
        reasons.append(f"the draws have {dim} dimensions; beyond {_DEEPEST} the bias is not small against the error")
    # As many draws share their value with another where rounding alone makes them equal.
    density = float(np.exp(np.log(k / n) - ball - dim * farthest).mean())
    told = not (data.tied and data.copies > _UNLIKELY * n**2 * data.cell * density)
    if not told:
        reasons[0] = _repeats(data.copies, n, "rounding alone would make far fewer equal: remove copies")
    else:
        reasons += _discord(np.concatenate(change), k, n, dim)
    return Terms(values, noise, dim, blur, reasons, data.notes, told)


def _discord(change: Array, k: int, n: int, dim: int) -> list[str]:
    """Whether estimates from k and from 2k neighbours differ by more than chance."""
    contrast, noise = _contrast(k, dim)
    gap = dim * float(change.mean()) - float(contrast @ digamma(np.arange(1, 2 * k + 1)))
    part = dim**2 * float(change.var()) * (1 / len(change) - 1 / n)
    if abs(gap) <= _SIGNIFICANT * np.sqrt(shared(dim) * noise / n + part):
        return []
    return [
        f"{k} and {2 * k} neighbours differ by {gap:.2g} nats, more than chance: the density varies between neighbours"
    ]
