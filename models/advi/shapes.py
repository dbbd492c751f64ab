"""Normal approximations on fixed nodes: how base noise becomes points, and what slopes and curvatures at points say of parameters.

A shape writes q_theta as x = location + factor z with z ~ N(0, I). Its entropy is closed, so reverse KL on nodes z needs from the
target nothing but log densities, gradients and, for Newton steps, Hessians at the points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["FullRank", "LowRank", "MeanField", "Shape", "shape_for"]

Array = NDArray[np.float64]


class Shape(Protocol):
    """A family of Normals in d dimensions with parameters theta (q,)."""

    @property
    def noise(self) -> int:
        """Dimension of the base noise z."""

    def at(self, mean: Array, sd: Array) -> Array:
        """Parameters of the member with this mean (d,) and diagonal covariance."""

    def points(self, theta: Array, z: Array) -> Array:
        """Points (n, d) of nodes z."""

    def entropy(self, theta: Array) -> float:
        """Differential entropy in nats."""

    def gradient(self, theta: Array, z: Array, slopes: Array) -> Array:
        """Gradient (n, q) by node of -log p at the nodes minus the entropy, from slopes (n, d) of log p."""

    def hessian(self, theta: Array, z: Array, slopes: Array, curvatures: Array) -> Array | None:
        """Hessian (q, q) of the mean over the nodes, from curvatures (n, d, d) of log p; ``None`` where it is not offered."""

    def fisher(self, theta: Array) -> Array:
        """Diagonal (q,) of the Fisher information in these coordinates."""

    def moments(self, theta: Array) -> tuple[Array, Array]:
        """Mean (d,) and Cholesky factor (d, d) of the covariance."""


@dataclass(frozen=True)
class MeanField:
    """Independent coordinates: theta is the means and the logarithms of the sds."""

    dim: int

    @property
    def noise(self) -> int:
        """Dimension of the base noise."""
        return self.dim

    def at(self, mean: Array, sd: Array) -> Array:
        """Parameters of the member with this mean and these sds."""
        return np.concatenate([mean, np.log(sd)])

    def points(self, theta: Array, z: Array) -> Array:
        """Points (n, d) of nodes z."""
        return theta[: self.dim] + np.exp(theta[self.dim :]) * z

    def entropy(self, theta: Array) -> float:
        """Differential entropy in nats."""
        return float(theta[self.dim :].sum()) + _constant(self.dim)

    def gradient(self, theta: Array, z: Array, slopes: Array) -> Array:
        """Gradient (n, q) by node."""
        moved = z * np.exp(theta[self.dim :])
        return np.concatenate([-slopes, -slopes * moved - 1.0], axis=1)

    def hessian(self, theta: Array, z: Array, slopes: Array, curvatures: Array) -> Array:
        """Hessian (q, q) of the mean over the nodes."""
        d, n = self.dim, len(z)
        moved = z * np.exp(theta[d:])
        result = np.empty((2 * d, 2 * d))
        result[:d, :d] = -curvatures.mean(axis=0)
        result[:d, d:] = -np.einsum("nij,nj->ij", curvatures, moved) / n
        result[d:, :d] = result[:d, d:].T
        result[d:, d:] = -np.einsum("nij,ni,nj->ij", curvatures, moved, moved) / n
        result[d:, d:] -= np.diag((slopes * moved).mean(axis=0))
        return result

    def fisher(self, theta: Array) -> Array:
        """Fisher information of means and log sds."""
        return np.concatenate([np.exp(-2 * theta[self.dim :]), np.full(self.dim, 2.0)])

    def moments(self, theta: Array) -> tuple[Array, Array]:
        """Mean and Cholesky factor."""
        return theta[: self.dim].copy(), np.diag(np.exp(theta[self.dim :]))


@dataclass(frozen=True, eq=False)
class FullRank:
    """All covariances, in coordinates whitened by a reference Normal: x = centre + factor (delta + T z).

    theta is delta and the lower triangle of T by rows, with the logarithm of its diagonal; near the reference the Fisher information is
    the identity, but 2 on that diagonal, so that strong correlations slow no search.
    """

    centre: Array
    factor: Array

    @property
    def noise(self) -> int:
        """Dimension of the base noise."""
        return len(self.centre)

    def _lower(self, theta: Array) -> Array:
        d = self.noise
        lower = np.zeros((d, d))
        lower[np.tril_indices(d)] = theta[d:]
        lower[np.arange(d), np.arange(d)] = np.exp(np.diag(lower))
        return lower

    def at(self, mean: Array, sd: Array) -> Array:
        """Parameters of the member with this mean and these sds."""
        return self.of(mean, np.diag(sd))

    def of(self, mean: Array, factor: Array) -> Array:
        """Parameters of the member with this mean (d,) and Cholesky factor (d, d)."""
        lower = np.linalg.solve(self.factor, factor)
        d = self.noise
        lower[np.arange(d), np.arange(d)] = np.log(np.diag(lower))
        return np.concatenate([np.linalg.solve(self.factor, mean - self.centre), lower[np.tril_indices(d)]])

    def points(self, theta: Array, z: Array) -> Array:
        """Points (n, d) of nodes z."""
        return self.centre + (theta[: self.noise] + z @ self._lower(theta).T) @ self.factor.T

    def entropy(self, theta: Array) -> float:
        """Differential entropy in nats."""
        inside = np.log(np.diag(self.factor)).sum() + np.log(np.diag(self._lower(theta))).sum()
        return float(inside) + _constant(self.noise)

    def gradient(self, theta: Array, z: Array, slopes: Array) -> Array:
        """Gradient (n, q) by node."""
        rows, cols, scale, diagonal = self._entries(theta)
        white = slopes @ self.factor
        return np.concatenate([-white, -white[:, rows] * z[:, cols] * scale - diagonal], axis=1)

    def _entries(self, theta: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, NDArray[np.bool_]]:
        """Rows and columns of the lower triangle, the derivative of each entry by its parameter, and which are on the diagonal."""
        rows, cols = np.tril_indices(self.noise)
        diagonal = rows == cols
        return rows, cols, np.where(diagonal, np.exp(np.where(diagonal, theta[self.noise :], 0.0)), 1.0), diagonal

    def hessian(self, theta: Array, z: Array, slopes: Array, curvatures: Array) -> Array:
        """Hessian (q, q) of the mean over the nodes."""
        d, n = self.noise, len(z)
        rows, cols, scale, diagonal = self._entries(theta)
        white = np.einsum("ai,nab,bj->nij", self.factor, curvatures, self.factor, optimize=True)
        q = d + len(rows)
        result = np.empty((q, q))
        result[:d, :d] = -white.mean(axis=0)
        once = np.einsum("nij,nk->ijk", white, z, optimize=True) / n  # by row, row of T and column of T
        result[:d, d:] = -once[:, rows, cols] * scale
        result[d:, :d] = result[:d, d:].T
        pairs = (white.reshape(n, -1).T @ (z[:, :, None] * z[:, None, :]).reshape(n, -1)).reshape(d, d, d, d) / n
        result[d:, d:] = -pairs[rows[:, None], rows[None, :], cols[:, None], cols[None, :]] * np.outer(scale, scale)
        inner = -((slopes @ self.factor)[:, rows] * z[:, cols]).mean(axis=0) * scale
        result[d:, d:] += np.diag(np.where(diagonal, inner, 0.0))
        return result

    def fisher(self, theta: Array) -> Array:
        """Fisher information at the reference; approximate elsewhere."""
        diagonal = self._entries(theta)[3]
        return np.concatenate([np.ones(self.noise), np.where(diagonal, 2.0, 1.0)])

    def moments(self, theta: Array) -> tuple[Array, Array]:
        """Mean and Cholesky factor."""
        return self.centre + self.factor @ theta[: self.noise], self.factor @ self._lower(theta)


@dataclass(frozen=True)
class LowRank:
    """Covariance D^2 + U U' with U (d, rank): theta is the means, the logarithms of D, and U by rows (Ong, Nott and Smith, 2018)."""

    dim: int
    rank: int

    @property
    def noise(self) -> int:
        """Dimension of the base noise: one for each coordinate, and one for each column of U."""
        return self.dim + self.rank

    def _parts(self, theta: Array) -> tuple[Array, Array, Array]:
        d = self.dim
        return theta[:d], np.exp(theta[d : 2 * d]), theta[2 * d :].reshape(d, self.rank)

    def at(self, mean: Array, sd: Array) -> Array:
        """Parameters of the member with this mean, these sds, and directions that break the symmetry U = 0."""
        directions = np.random.default_rng(0).standard_normal((self.dim, self.rank)) / np.sqrt(self.dim)
        return np.concatenate([mean, np.log(sd), (0.3 * sd[:, None] * directions).ravel()])

    def points(self, theta: Array, z: Array) -> Array:
        """Points (n, d) of nodes z."""
        mean, scale, u = self._parts(theta)
        return mean + scale * z[:, : self.dim] + z[:, self.dim :] @ u.T

    def _inner(self, scale: Array, u: Array) -> tuple[Array, float]:
        """Sigma^-1 U (d, rank), and log |Sigma| by the matrix determinant lemma."""
        over = u / scale[:, None] ** 2
        inner = np.eye(self.rank) + u.T @ over
        return np.linalg.solve(inner, over.T).T, float(2 * np.log(scale).sum() + np.linalg.slogdet(inner)[1])

    def entropy(self, theta: Array) -> float:
        """Differential entropy in nats."""
        _, scale, u = self._parts(theta)
        return 0.5 * self._inner(scale, u)[1] + _constant(self.dim)

    def gradient(self, theta: Array, z: Array, slopes: Array) -> Array:
        """Gradient (n, q) by node."""
        _, scale, u = self._parts(theta)
        solved, _ = self._inner(scale, u)
        diagonal = 1.0 - (solved * u).sum(axis=1)  # of D^2 Sigma^-1
        by_u = -slopes[:, :, None] * z[:, None, self.dim :] - solved
        by_scale = -slopes * z[:, : self.dim] * scale - diagonal
        return np.concatenate([-slopes, by_scale, by_u.reshape(len(z), -1)], axis=1)

    def hessian(self, theta: Array, z: Array, slopes: Array, curvatures: Array) -> None:  # noqa: ARG002
        """Not offered: U is known only up to a rotation, so its Hessian is singular everywhere."""
        return

    def fisher(self, theta: Array) -> Array:
        """Fisher information of the means and D if U were zero, and of U in units of D."""
        _, scale, u = self._parts(theta)
        variance = scale**2 + (u**2).sum(axis=1)
        return np.concatenate([1 / variance, np.full(self.dim, 2.0), np.repeat(1 / variance, self.rank)])

    def moments(self, theta: Array) -> tuple[Array, Array]:
        """Mean and Cholesky factor."""
        mean, scale, u = self._parts(theta)
        return mean.copy(), np.linalg.cholesky(np.diag(scale**2) + u @ u.T)


def _constant(dim: int) -> float:
    return 0.5 * dim * (1.0 + np.log(2 * np.pi))


def shape_for(method: str, dim: int) -> Shape:
    """Return the shape of a method of `models.advi.fit_dadvi` in d dimensions, full rank about the origin."""
    if method == "advi":
        return MeanField(dim)
    if method == "fullrank_advi":
        return FullRank(np.zeros(dim), np.eye(dim))
    return LowRank(dim, min(10, max(1, dim // 5)))
