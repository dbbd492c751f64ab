"""Posteriors in one or two dimensions on a grid, divergences to and from them, and the minima of reverse KL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from analysis.gaussians import moments
from models.families import FAMILIES
from models.projections import minima, reverse_projections
from models.projections.objectives import natural_values, reverse_objective
from models.projections.optimise import descend
from models.projections.starts import member_theta
from models.quadrature import Estimate, gaussian_nodes
from models.targets import Target

__all__ = ["Grid", "exact_minima", "exact_posterior", "gap", "reverse_kl"]

Array = NDArray[np.float64]
#: Nodes of quadrature in each dimension.
NODES = {1: 257, 2: 65}


@dataclass(frozen=True, eq=False)
class Grid:
    """A posterior on a grid of equal cells.

    Attributes
    ----------
    axis : ndarray (k,)
        Common to all coordinates.
    points : ndarray (k^d, d)
    mass : ndarray (k^d,)
        Of each cell; they sum to 1.
    log_p : ndarray (k^d,)
        Normalised log density.
    log_z : Estimate
        Log evidence; its error is the change from a grid of every other point.
    """

    axis: Array
    points: Array
    mass: Array
    log_p: Array
    log_z: Estimate

    @property
    def mean(self) -> Array:
        """Posterior mean (d,)."""
        return np.asarray(self.mass @ self.points)

    @property
    def cov(self) -> Array:
        """Posterior covariance (d, d)."""
        centred = self.points - self.mean
        return np.asarray((centred * self.mass[:, None]).T @ centred)

    def forward(self, member: Target) -> float:
        """KL(posterior||member) in nats."""
        kept = self.mass > 1e-25
        return float(self.mass[kept] @ (self.log_p[kept] - member.logp(self.points[kept])))

    def rvs(self, n: int, rng: np.random.Generator) -> Array:
        """Draws (n, d), uniform within a cell."""
        chosen = rng.choice(len(self.mass), n, p=self.mass)
        step = self.axis[1] - self.axis[0]
        return np.asarray(self.points[chosen] + step * rng.uniform(-0.5, 0.5, (n, self.points.shape[1])))


def exact_posterior(target: Target, reach: float) -> Grid:
    """Normalise a posterior in one or two dimensions on a grid from -reach to reach."""
    axis = np.linspace(-reach, reach, 8001 if target.dim == 1 else 901)
    points = np.stack(np.meshgrid(*[axis] * target.dim, indexing="ij"), axis=-1).reshape(-1, target.dim)
    log_joint = np.concatenate([target.logp(part) for part in np.array_split(points, max(1, len(points) // 20_000))])
    step = axis[1] - axis[0]
    log_z = float(logsumexp(log_joint) + target.dim * np.log(step))
    every_other = log_joint.reshape([len(axis)] * target.dim)[(slice(None, None, 2),) * target.dim]
    coarse = float(logsumexp(every_other) + target.dim * np.log(2 * step))
    log_p = log_joint - log_z
    mass = np.exp(log_p + target.dim * np.log(step))
    return Grid(axis, points, mass / mass.sum(), log_p, Estimate(log_z, abs(log_z - coarse), "quadrature"))


def reverse_kl(target: Target, member: Target, log_z: float) -> Estimate:
    """KL(member||posterior) in nats, by quadrature over the noise of the member."""
    location, factor = member.scales[0]

    def log_ratio(z: Array) -> Array:
        x = location + z @ factor.T
        return member.logp(x) - target.logp(x) + log_z

    return gaussian_nodes(target.dim, size=2 * NODES[target.dim] - 1).mean(log_ratio)


def exact_minima(target: Target, family: str, starts: Sequence[Target]) -> list[Target]:
    """Minima of reverse KL by quadrature, lowest first: in one dimension all of them, else those below the ends of ADVI."""
    if target.dim == 1:
        return [p.member for p in minima(reverse_projections(target, FAMILIES[family]))]
    objective = reverse_objective(FAMILIES[family], target, gaussian_nodes(target.dim, size=NODES[target.dim]))
    found: list[tuple[float, Array]] = []
    for start in starts:
        location, factor = start.scales[0]
        end = descend(objective, member_theta(FAMILIES[family], location, factor @ factor.T, {}))
        if end is not None and all(np.linalg.norm(end[0] - other) > 1e-4 for _, other in found):
            found.append((end[1], end[0]))
    ordered = sorted(found, key=lambda pair: (round(pair[0], 9), tuple(-pair[1])))
    return [FAMILIES[family].member(natural_values(FAMILIES[family], theta)[0]) for _, theta in ordered]


def gap(target: Target, member: Target, exact: Sequence[Target]) -> float:
    """Nats of reverse KL above the exact minimum that is nearest, in means per sd and log sds."""
    mean, sd = moments(member)

    def distance(other: Target) -> float:
        other_mean, other_sd = moments(other)
        return float(np.sum(((mean - other_mean) / other_sd) ** 2 + np.log(sd / other_sd) ** 2))

    return reverse_kl(target, member, 0.0).value - reverse_kl(target, min(exact, key=distance), 0.0).value
