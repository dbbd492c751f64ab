"""Where a 1-D density has structure: panels on which its logarithm is a polynomial to rounding, kinks, landmarks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from models.quadrature.line import line_edges
from models.quadrature.rules import bisect, gauss_legendre
from models.targets import Density, Target

__all__ = ["CORE", "kinked", "landmarks", "panels"]

Array = NDArray[np.float64]

#: Panel edges around a location, in units of its scale.
CORE = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0])
_RESOLVED = 1e-13
_FAINT = -1e3  # log densities below this are zero in double precision, and what happens there is no kink


def panels(target: Target) -> Array:
    """Panel edges (m,) on which 16 Legendre coefficients resolve log p to rounding.

    Panels start at the places where the target has structure, and are halved until the last coefficients vanish: at the
    boundaries between modes, where log p nearly has a kink, this goes deepest.

    Parameters
    ----------
    target : Target
        One-dimensional, with a density.

    Returns
    -------
    ndarray (m,)
    """
    return _panels(target)[0]


def kinked(target: Target) -> bool:
    """Whether a 1-D density has kinks, jumps or an end."""
    return target.dim == 1 and (target.support is not None or _panels(target)[1])


def _broken(target: Target, edges: Array) -> bool:
    """Whether the slope of log p jumps at an edge of resolved panels."""
    x, _ = gauss_legendre(16)
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[1:] + edges[:-1])[:, None] / 2 + half * x
    logp = _finite_logp(target, nodes)
    slopes = legendre.legder(np.linalg.inv(legendre.legvander(x, 15)) @ logp.T)
    right = legendre.legval(1.0, slopes) / half[:, 0]
    left = legendre.legval(-1.0, slopes) / half[:, 0]
    scale = 1e-5 * (1 + np.abs(right[:-1]) + np.abs(left[1:])) + 1e-12 * np.abs(logp[1:, 0]) / half[1:, 0]
    counted = np.minimum(logp[1:].min(axis=1), logp[:-1].min(axis=1)) > _FAINT
    return bool(np.any(counted & (np.abs(left[1:] - right[:-1]) > scale)))


def _finite_logp(target: Target, nodes: Array) -> Array:
    """Log densities at nodes (m, k); where the density is 0 or rounding leaves the support, far below all others."""
    logp = target.logp(nodes.reshape(-1, 1)).reshape(nodes.shape)
    return np.maximum(np.nan_to_num(logp, nan=-1e30, posinf=-1e30, neginf=-1e30), -1e30)


@lru_cache(maxsize=512)
def _panels(target: Target) -> tuple[Array, bool]:
    """Panel edges, and whether the smallest width allowed did not resolve some."""
    edges = _edges(target)
    x, _ = gauss_legendre(16)
    to_coefficients = np.linalg.inv(legendre.legvander(x, 15))[-2:]
    smallest = 1e-8 * np.median(np.diff(edges))
    kink = False

    def judge(left: Array, right: Array, _: None) -> tuple[NDArray[np.bool_], Array, None]:
        nonlocal kink
        nodes = (left + right)[:, None] / 2 + (right - left)[:, None] / 2 * x
        logp = _finite_logp(target, nodes)
        tail = np.abs(logp @ to_coefficients.T).max(axis=1)
        rough = tail > _RESOLVED * (1 + np.abs(logp).max(axis=1))
        rough &= logp.max(axis=1) > 1e3 * _FAINT
        wide = right - left > smallest
        kink |= bool(np.any(rough & ~wide & (logp.min(axis=1) > _FAINT)))
        return rough & wide, tail, None

    left, right, _ = bisect(judge, edges, levels=40)
    resolved = np.append(left, right[-1])
    return resolved, kink or _broken(target, resolved)


def _edges(target: Target) -> Array:
    if isinstance(target, Density):
        return line_edges(target)
    offsets = np.concatenate([-CORE[:0:-1], CORE])
    return np.unique(np.concatenate([m + s * offsets for m, s in landmarks(target)]))


@lru_cache(maxsize=512)
def landmarks(target: Target) -> list[tuple[float, float]]:
    """Locations and widths of the structure of a 1-D target: its components, or the modes of its density.

    Parameters
    ----------
    target : Target

    Returns
    -------
    list of (float, float)
    """
    if target.dim == 1 and len(target.scales) > 1:
        return [(float(m[0]), float(s[0, 0])) for m, s in target.scales]
    (location, scale), *_ = target.scales
    t = np.linspace(-9, 9, 4001)
    x = location[0] + scale[0, 0] * np.sinh(t)
    logp = target.logp(x[:, None])
    logp = np.where(np.isfinite(logp), logp, -np.inf)
    peaks = np.flatnonzero((logp[1:-1] >= logp[:-2]) & (logp[1:-1] > logp[2:])) + 1
    peaks = peaks[logp[peaks] > logp.max() - 60]
    found = []
    for i in peaks[np.argsort(logp[peaks])[::-1]][:40]:
        # Half width where the density falls to exp(-1/2), looked up on the grid.
        below = np.flatnonzero(logp < logp[i] - 0.5)
        left, right = below[below < i], below[below > i]
        ends = [x[left[-1]] if len(left) else x[0], x[right[0]] if len(right) else x[-1]]
        found.append((float(x[i]), float(ends[1] - ends[0]) / 2))
    return found or [(float(location[0]), float(scale[0, 0]))]
