"""A posterior in one dimension, normalised on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtri

from models.quadrature import Estimate
from models.targets import Target

__all__ = ["Grid", "exact_posterior"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A posterior on a grid of equal cells.

    Attributes
    ----------
    points : ndarray (k, 1)
    mass : ndarray (k,)
        Of each cell; they sum to 1.
    log_p : ndarray (k,)
        Normalised log density.
    log_z : Estimate
        Log evidence; its error is the change from a grid of every other point.
    """

    points: Array
    mass: Array
    log_p: Array
    log_z: Estimate

    @property
    def mean(self) -> Array:
        """Posterior mean (1,)."""
        return np.asarray(self.mass @ self.points)

    @property
    def cov(self) -> Array:
        """Posterior variance (1, 1)."""
        return np.asarray((self.mass @ (self.points - self.mean) ** 2)[:, None])

    def forward(self, member: Target) -> float:
        """KL(posterior||member) in nats."""
        kept = self.mass > 1e-25
        return float(self.mass[kept] @ (self.log_p[kept] - member.logp(self.points[kept])))

    def between(self, low: float, high: float) -> float:
        """Mass in an interval, the cells at its ends in part."""
        x = self.points[:, 0]
        edges = np.append(x, x[-1] + x[1] - x[0]) - (x[1] - x[0]) / 2
        at = np.interp([low, high], edges, np.append(0.0, np.cumsum(self.mass)))
        return float(at[1] - at[0])

    def covered(self, member: Target, level: float) -> float:
        """Mass in the interval of highest density of a Normal that holds `level` of it."""
        mean, factor = member.scales[0]
        half = float(ndtri((1 + level) / 2) * abs(factor[0, 0]))
        return self.between(float(mean[0]) - half, float(mean[0]) + half)


def exact_posterior(target: Target, reach: float = 40.0, cells: int = 8001) -> Grid:
    """Normalise a posterior in one dimension on a grid from -reach to reach."""
    points = np.linspace(-reach, reach, cells)[:, None]
    log_joint, step = target.logp(points), 2 * reach / (cells - 1)
    log_z = float(logsumexp(log_joint) + np.log(step))
    coarse = float(logsumexp(log_joint[::2]) + np.log(2 * step))
    mass = np.exp(log_joint - log_z + np.log(step))
    return Grid(points, mass / mass.sum(), log_joint - log_z, Estimate(log_z, abs(log_z - coarse), "quadrature"))
