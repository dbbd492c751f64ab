"""Normals and their mixtures in closed form: scores, and divergences on given nodes with gradients and Hessians.

A divergence is a sum of f(log q(x)) over nodes. With scores s of log q, its gradient is sum f' s and its Hessian
sum f'' s s' + f' (Hessian of log q). In mu and the Cholesky factor L of one Normal, with z = L^-1 (x - mu) and a = L^-T z, the
scores are a_i and a_i z_j - [i = j] / L_ii, and of the second derivatives only the moments 1, a, z, a z' and z z' under f' are
wanted (Magnus and Neudecker, 2019, chapter 9). Of a mixture with responsibilities r_k the score is sum r_k s_k, and the Hessian
sum r_k (H_k + s_k s_k') - s s' (Louis, 1982, equation 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import log_softmax, logsumexp

from models.families import Family

__all__ = ["Member", "divergence", "is_gaussian"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Form = Literal["reverse", "alpha", "forward"]
_DENSITIES = ("normal_mixture", "mvnormal_chol", "mvnormal_diag", "mvnormal_mixture_chol")


def is_gaussian(family: Family) -> bool:
    """Whether the members are multivariate Normals or mixtures of Normals, so that derivatives have closed forms."""
    return family.density in _DENSITIES and not family.fixed


def divergence(
    family: Family, theta: Array, nodes: tuple[Array, Array, Array], form: Form, alpha: float, *, hessian: bool
) -> tuple[Array, ...]:
    """Divergence to one member, with its derivatives in theta.

    Parameters
    ----------
    family : Family
        For which `is_gaussian` holds.
    theta : ndarray (P,)
    nodes : tuple of ndarray
        Points (n, d), their Lebesgue weights (n,), and log densities of the target there (n,).
    form : {"reverse", "alpha", "forward"}
        Which integral, see `models.projections.exact`.
    alpha : float
    hessian : bool
        Whether the Hessian is wanted.

    Returns
    -------
    value : ndarray ()
        In nats; NaN, as are the derivatives, for a member whose scales are not numbers.
    gradient : ndarray (P,)
    hessian : ndarray (P, P)
        If it is wanted.
    """
    x, h, logp = nodes
    q = Member(family, theta, x)
    value, first, second = _weights(form, q.log_density, logp, h, alpha)
    found = np.asarray(value), first @ q.scores
    return (*found, (second * q.scores.T) @ q.scores + q.curvature(first)) if hessian else found


def _weights(form: Form, logq: Array, logp: Array, h: Array, alpha: float) -> tuple[float, Array, Array]:
    """Sum of f over the nodes; f' and f'' at each (n,)."""
    if form == "forward":
        p = h * np.exp(logp)
        return -float(p @ logq), -p, np.zeros_like(p)
    q = h * np.exp(logq)
    if form == "reverse":
        gap = logq - logp
        return float(q @ gap), q * (gap + 1), q * (gap + 2)
    overlap, rest, scale = h * np.exp(alpha * logp + (1 - alpha) * logq), 1 - alpha, alpha * (1 - alpha)
    return float((q - overlap).sum() / scale), (q - rest * overlap) / scale, (q - rest**2 * overlap) / scale


class Member:
    """A member at given points.

    Parameters
    ----------
    family : Family
    theta : ndarray (P,)
    x : ndarray (n, d)
    """

    def __init__(self, family: Family, theta: Array, x: Array) -> None:
        count = family.components
        self.log_weights = log_softmax(np.append(theta[: count - 1], 0.0))
        self.size = len(theta)
        self.components = [
            _Component(theta[place], place, x, family.parameters[-1].support == "covariance")
            for place in _places(self.size, count, x.shape[1])
        ]

    @cached_property
    def _joint(self) -> Array:
        return np.array([w + c.log_density for w, c in zip(self.log_weights, self.components, strict=True)])

    @cached_property
    def log_density(self) -> Array:
        """Log density (n,) in nats."""
        return np.asarray(logsumexp(self._joint, axis=0)) if len(self._joint) > 1 else self._joint[0]

    @cached_property
    def _responsibilities(self) -> Array:
        return np.exp(self._joint - self.log_density)

    @cached_property
    def scores(self) -> Array:
        """Scores d log q(x_i) / d theta (n, P)."""
        scores = np.empty((self._joint.shape[1], self.size))
        free = len(self.components) - 1
        scores[:, :free] = (self._responsibilities.T - np.exp(self.log_weights))[:, :free]
        for r, c in zip(self._responsibilities, self.components, strict=True):
            scores[:, c.place] = r[:, None] * c.scores
        return scores

    def curvature(self, weights: Array) -> Array:
        """Weighted sum of the Hessians (P, P) of log q, for weights (n,) of the points."""
        w, free = np.exp(self.log_weights), len(self.components) - 1
        hessian = -(weights * self.scores.T) @ self.scores
        hessian[:free, :free] -= weights.sum() * (np.diag(w) - np.outer(w, w))[:free, :free]
        for k, (r, c) in enumerate(zip(weights * self._responsibilities, self.components, strict=True)):
            own = (np.eye(free + 1)[k] - w)[:free]  # the score in the weights, were the component known
            hessian[:free, :free] += r.sum() * np.outer(own, own)
            across = np.outer(own, r @ c.scores)
            hessian[:free, c.place] += across
            hessian[c.place, :free] += across.T
            hessian[np.ix_(c.place, c.place)] += (r * c.scores.T) @ c.scores + c.curvature(r)
        return hessian


def _places(size: int, count: int, dim: int) -> Iterator[Indices]:
    """Indices in theta of each component: theta has weights, then all locations, then all scales."""
    scales = (size - count + 1) // count - dim
    for k in range(count):
        mu = count - 1 + k * dim + np.arange(dim)
        yield np.concatenate([mu, count - 1 + count * dim + k * scales + np.arange(scales)])


@dataclass(frozen=True, eq=False)
class _Component:
    """One Normal at points x (n, d): theta has its location, the log diagonal of its factor, and what is below it if it is full."""

    theta: Array
    place: Indices
    x: Array
    full: bool

    @cached_property
    def entries(self) -> tuple[Indices, Indices]:
        """Rows and columns of the entries of the factor, in the order of theta."""
        diagonal, below = np.arange(self.x.shape[1]), np.tril_indices(self.x.shape[1], -1)
        return tuple(np.concatenate([diagonal, b]) if self.full else diagonal for b in below)  # type: ignore[return-value]

    @cached_property
    def factor(self) -> Array:
        dim = self.x.shape[1]
        factor = np.diag(np.exp(self.theta[dim : 2 * dim]))
        factor[self.entries] = np.concatenate([np.diag(factor), self.theta[2 * dim :]])
        return factor

    @cached_property
    def inverse(self) -> Array:
        diagonal = np.diag(self.factor)
        if not (np.isfinite(self.factor).all() and diagonal.all()):  # a step too far, which its caller refuses
            return np.full_like(self.factor, np.nan)
        return np.asarray(solve_triangular(self.factor, np.eye(len(diagonal)), lower=True))

    @cached_property
    def z(self) -> Array:
        return np.asarray((self.x - self.theta[: self.x.shape[1]]) @ self.inverse.T)

    @cached_property
    def a(self) -> Array:
        return np.asarray(self.z @ self.inverse)

    @cached_property
    def log_density(self) -> Array:
        dim = self.x.shape[1]
        constant = self.theta[dim : 2 * dim].sum() + 0.5 * dim * np.log(2 * np.pi)
        return np.asarray(-0.5 * np.einsum("ni,ni->n", self.z, self.z) - constant)

    @cached_property
    def scale(self) -> Array:
        """Of a diagonal entry theta holds the logarithm."""
        i, j = self.entries
        return np.where(i == j, self.factor[i, j], 1.0)

    @cached_property
    def scores(self) -> Array:
        i, j = self.entries
        return np.concatenate([self.a, self.scale * self.a[:, i] * self.z[:, j] - (i == j)], axis=1)

    def curvature(self, weights: Array) -> Array:
        """Weighted sum of the Hessians of the log density in theta."""
        (i, j), inverse = self.entries, self.inverse
        precision = inverse.T @ inverse
        az, zz = (weights * self.a.T) @ self.z, (weights * self.z.T) @ self.z
        between = -inverse.T[:, j] * (weights @ self.a)[i] - precision[:, i] * (weights @ self.z)[j]
        across = inverse[np.ix_(j, i)].T * az[np.ix_(i, j)].T  # of entries (i, j) and (k, l): L^-1_li (sum a_k z_j)
        within = (-across - across.T - precision[np.ix_(i, i)] * zz[np.ix_(j, j)]) * np.outer(self.scale, self.scale)
        # The second derivative of log L_ii is zero in its logarithm; of the rest, the chain rule leaves the first in L_ii.
        within[np.diag_indices(len(i))] += np.where(i == j, self.scale * az[i, j], 0.0)
        return np.block([[-weights.sum() * precision, between * self.scale], [(between * self.scale).T, within]])
