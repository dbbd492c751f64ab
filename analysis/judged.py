"""A run beside its exact optimum: which one it reached, how far off it stopped, and which modes a member covers.

*Reached*: the optimum from which the run is the fewest nats away, as Normals go (`nearest`), or the minimum to which Newton's method
leads down the exact divergence (`downhill`); a run may reach none (`NONE`). *Gap*: divergence of the run less that of the optimum it
reached, in nats. *At rest*: the run's own evidence, nothing left to gain, Hessian positive; says nothing about truth. *Within
tolerance*: beside the optimum, gap and, where asked for, standard deviations below a stated tolerance. *Covers*: a member covers a
mode if it has at least a stated share (`COVERED`) of the mass that the target has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma, gammainc, gammaincinv, ndtr

from models.projections import Projection
from models.projections.stationary import Smooth, newton
from models.quadrature import sobol_nodes
from models.targets import Target

__all__ = [
    "COVERED",
    "NONE",
    "Normals",
    "at_rest",
    "beside",
    "cover",
    "downhill",
    "label",
    "nearest",
    "within_tolerance",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int_]
#: The index of no optimum.
NONE = -1
#: Share of the target's mass at a mode from which on a member covers the mode.
COVERED = 0.2
#: Mass of a component in the region that is its mode.
CENTRAL = 0.95
_POWER = 13  # logarithm to base 2 of the nodes in several dimensions
_SAME = 1e-3  # an end of Newton's method nearer than this in every coordinate is the optimum


@dataclass(frozen=True, eq=False)
class Normals:
    """Normals, by means (n, d) and covariances (n, d, d)."""

    mean: Array
    cov: Array

    @classmethod
    def of(cls, members: Iterable[Target]) -> Normals:
        """Of members of Normal families."""
        scales = [member.scales[0] for member in members]
        return cls(np.array([m for m, _ in scales]), np.array([f @ f.T for _, f in scales]))

    @classmethod
    def by_sd(cls, mean: Array, sd: Array) -> Normals:
        """With independent coordinates, of these means and sds (n, d)."""
        return cls(mean, sd[:, :, None] ** 2 * np.eye(sd.shape[1]))

    @property
    def sd(self) -> Array:
        """Standard deviations (n, d)."""
        return np.sqrt(np.diagonal(self.cov, axis1=1, axis2=2))

    def kl(self, others: Normals) -> Array:
        """Nats (n, m) of each from each of the others, KL(one || other)."""
        inverse = np.linalg.inv(others.cov)
        shift = self.mean[:, None] - others.mean
        logdet = np.linalg.slogdet(others.cov)[1] - np.linalg.slogdet(self.cov)[1][:, None]
        trace = np.einsum("kij,rji->rk", inverse, self.cov)
        return np.asarray((trace + np.einsum("rki,kij,rkj->rk", shift, inverse, shift) + logdet - shift.shape[2]) / 2)


def nearest(runs: Normals, exact: Normals) -> Indices:
    """Index (n,) of the optimum from which each run is the fewest nats away, KL(run || optimum)."""
    return np.asarray(runs.kl(exact).argmin(axis=1))


def downhill(objective: Smooth, thetas: Array, exact: Sequence[Projection]) -> Indices:
    """Index (n,) of the minimum to which Newton's method leads downhill from each of thetas (n, P); `NONE` if to none."""
    found = np.full(len(thetas), NONE)
    places = np.array([p.theta for p in exact])
    for i, theta in enumerate(thetas):
        for end in newton(objective, theta[None], np.ones(len(theta)), downhill=True):
            distance = np.abs(places - end).max(axis=1)
            found[i] = distance.argmin() if distance.min() < _SAME else NONE
    return found


def beside(runs: Normals, kl: Array, exact: Sequence[Projection], *, kl_error: ArrayLike = 0.0,
           reached: Indices | None = None) -> xr.Dataset:  # fmt: skip
    """Put runs beside the exact optima that they reached.

    Parameters
    ----------
    runs : Normals (n of them)
    kl : ndarray (n,)
        Their reverse divergences, in nats.
    exact : sequence of Projection
        Onto a Normal family.
    kl_error : array_like (n,)
        Of `kl`.
    reached : ndarray of int (n,), optional
        What each reached, by another rule than `nearest`.

    Returns
    -------
    Dataset
        Over ``run``: ``optimum``, its index; ``gap`` in nats with ``gap_error``; ``mean_error``, the largest over coordinates, in sds
        of the optimum; ``sd_error``, the largest, relative and with its sign. nan for a run that reached none.
    """
    at = Normals.of(p.member for p in exact)
    k = nearest(runs, at) if reached is None else np.asarray(reached)
    best, error = (np.array([getattr(p.divergence, name) for p in exact])[k] for name in ("value", "error"))
    off = runs.sd / at.sd[k] - 1
    columns = {
        "gap": kl - best,
        "gap_error": error + kl_error,
        "mean_error": np.abs((runs.mean - at.mean[k]) / at.sd[k]).max(axis=1),
        "sd_error": np.take_along_axis(off, np.abs(off).argmax(axis=1)[:, None], axis=1)[:, 0],
    }
    values = {name: ("run", np.where(k == NONE, np.nan, column)) for name, column in columns.items()}
    return xr.Dataset({"optimum": ("run", k), **values})


def at_rest(restarts: xr.Dataset) -> NDArray[np.bool_]:
    """Whether each run of `fit_advi` is at rest by its own evidence."""
    return restarts["converged"].to_numpy().astype(bool)


def within_tolerance(
    gap: ArrayLike, nats: float, sd_error: ArrayLike = 0.0, relative: float = np.inf
) -> NDArray[np.bool_]:
    """Whether gaps and errors of sds, by `beside`, are below tolerances; never so for a run that reached none."""
    return np.asarray((np.asarray(gap) <= nats) & (np.abs(sd_error) <= relative))


def cover(members: Normals, target: Target) -> Array:
    """Mass that members have at each mode, relative to what the target has there.

    Parameters
    ----------
    members : Normals (n of them)
    target : Target
        A mixture of K components. A mode is the ellipsoid that holds 95% of the Normal with a component's location and scale.

    Returns
    -------
    ndarray (n, K)
        1 where a member has as much mass as the target. In one dimension exact to rounding, else to about 0.01.
    """
    radius = float(np.sqrt(2 * gammaincinv(target.dim / 2, CENTRAL)))  # by the chi-squared distribution
    u, weights = _ball(target.dim)
    size = np.pi ** (target.dim / 2) * radius**target.dim / gamma(target.dim / 2 + 1)
    shares = []
    for centre, factor in target.scales:
        mass = size * abs(np.linalg.det(factor)) * weights @ np.exp(target.logp(centre + radius * u @ factor.T))
        shares.append(_inside(members, centre, factor, radius) / mass)
    return np.array(shares).T


def _ball(dim: int) -> tuple[Array, Array]:
    """Points (m, d) spread evenly over the unit ball, and weights that sum to 1."""
    if dim == 1:
        x, w = np.polynomial.legendre.leggauss(200)
        return x[:, None], w / 2
    z = sobol_nodes(dim, power=_POWER, replicates=1, seed=0).points
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    # Of normal noise the probability of a smaller norm is uniform, and independent of the direction.
    return z / norm * gammainc(dim / 2, norm**2 / 2) ** (1 / dim), np.full(len(z), 1 / len(z))


def _inside(members: Normals, centre: Array, factor: Array, radius: float) -> Array:
    """Mass (n,) of members within `radius` of a centre, in units of a factor (d, d)."""
    if len(centre) == 1:
        reach = radius * factor[0, 0]
        low, high = (ndtr((centre[0] + side * reach - members.mean) / members.sd)[:, 0] for side in (-1, 1))
        return np.asarray(high - low)
    z = sobol_nodes(len(centre), power=_POWER, replicates=1, seed=0).points
    x = members.mean[:, None] + z @ np.linalg.cholesky(members.cov).transpose(0, 2, 1)
    distance = np.linalg.norm(np.linalg.solve(factor, (x - centre).swapaxes(1, 2)), axis=1)
    return np.asarray((distance < radius).mean(axis=1))


def label(shares: ArrayLike, names: Sequence[str]) -> str:
    """Name the modes that a member covers, by its `cover` (K,) of each, as in ``left mode`` or ``both modes``."""
    hit = [name for name, share in zip(names, np.asarray(shares), strict=True) if share >= COVERED]
    if len(hit) == len(names) > 1:
        return "both modes" if len(names) == 2 else f"all {len(names)} modes"
    return f"{' and '.join(hit) or 'no'} mode{'s' if len(hit) > 1 else ''}"


def labels(exact: Sequence[Projection], target: Target) -> list[str]:
    """Name the modes that each of some exact optima covers, of two."""
    return [label(row, ("left", "right")) for row in cover(Normals.of(p.member for p in exact), target)]
