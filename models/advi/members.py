"""Members of Normal families as fits of ADVI have them: which runs ended at the same one, its loss, and its draws on the natural scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.runs import in_threads
from models.errors import InputError
from models.families import FAMILIES, Family
from models.graphs.log_density import LogDensity
from models.quadrature import Estimate, sobol_nodes
from models.results import draws_of, member_of, parameter_variables
from models.targets import Posterior, Target

__all__ = [
    "METHODS",
    "Ended",
    "draw_groups",
    "family_of",
    "group",
    "losses",
    "member",
    "named_draws",
    "normal_member",
    "stretch_of",
]

Array = NDArray[np.float64]

#: The family that each method fits; in one dimension all are ``normal``.
METHODS = {"advi": "mvnormal_diag", "fullrank_advi": "mvnormal"}


class Ended(Protocol):
    """Where a run ended."""

    @property
    def mean(self) -> Array:
        """Mean (d,)."""

    @property
    def sd(self) -> Array:
        """Standard deviations (d,)."""

    @property
    def converged(self) -> bool:
        """Whether it is at rest."""


def family_of(target: Target, method: str) -> Family:
    """Return the family that a method fits to a target."""
    return FAMILIES[METHODS.get(method, "mvnormal")] if target.multivariate else FAMILIES["normal"]


def normal_member(family: Family, mean: Array, cov: Array) -> Target:
    """Return the member of a Normal family with this mean (d,) and covariance (d, d)."""
    values: dict[str, Array] = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    if not family.multivariate:
        values = {"mu": mean[0], "sigma": np.sqrt(cov[0, 0])}
    return replace(family.member({p.name: values[p.name] for p in family.parameters}), mean=mean, cov=cov)


def member(fit: xr.DataTree, k: int) -> Target:
    """Return the Normal at the k-th optimum of a fit, in unconstrained space.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_advi` or `fit_dadvi`.
    k : int
        Counted from the lowest loss, 0.

    Returns
    -------
    Target
        With density and draws: what `models.advi.combine` and `models.advi.diagnostics` take.

    Raises
    ------
    InputError
        If there is no such optimum.
    """
    count = sum(name.startswith("optimum_") for name in fit.children)
    if not 0 <= k < count:
        raise InputError(f"k is {k}; the fit has {count} optima, counted from 0")
    data = fit[f"optimum_{k}/fit"].to_dataset()
    normal = member_of(data, FAMILIES[str(data.attrs["family"])])
    mean, factor = normal.scales[0]
    return replace(normal, mean=mean, cov=factor @ factor.T)


def group(runs: Sequence[Ended]) -> list[list[int]]:
    """Indices of runs that ended at the same place: means within 0.25 sd, sds within 25 %; runs at rest lead."""
    mean, sd = np.array([run.mean for run in runs]), np.array([run.sd for run in runs])
    left = np.argsort([not run.converged for run in runs], kind="stable")
    groups = []
    while len(left):
        lead = left[0]
        with np.errstate(all="ignore"):  # of runs that widened or narrowed without end
            near = (np.abs(mean[left] - mean[lead]) < 0.25 * sd[lead]) & (np.abs(np.log(sd[left] / sd[lead])) < 0.25)
        alike = near.all(axis=1)
        alike[0] = True
        groups.append(left[alike].tolist())
        left = left[~alike]
    return groups


_REPLICATES = 8


def losses(density: LogDensity, members: Sequence[tuple[Array, Array]], power: int, seed: int) -> list[Estimate]:
    """Loss of members (mean, Cholesky factor) with its standard error, on randomised Sobol nodes common to all.

    The nodes lie wider than the members, and are weighted for it (Owen, 2013, section 9.1): of a log density that falls like an
    exponential, a member's own nodes leave out the tail, nearly always by a little, now and then by far too much the other way, so
    that the means lie too low and their spread says nothing of it.
    """
    mean, factor = np.array([m for m, _ in members]), np.array([f for _, f in members])
    dim = mean.shape[1]
    z = sobol_nodes(dim, power=power, replicates=_REPLICATES, seed=seed).points

    def some(rows: slice) -> tuple[Array, Array]:
        parts = [slice(i, min(i + together, rows.stop)) for i in range(rows.start, rows.stop, together)]
        values, errors = zip(*[_losses(density, mean[p], factor[p], z, stretch_of(dim)) for p in parts], strict=True)
        return np.concatenate(values), np.concatenate(errors)

    together = max(1, _POINTS // len(z))
    value, error = (np.concatenate(column) for column in zip(*in_threads(some, len(members), 10), strict=True))
    for i in np.flatnonzero(~np.isfinite(error)):  # farther out than the member itself is asked
        (value[i],), (error[i],) = _losses(density, mean[i : i + 1], factor[i : i + 1], z, 1.0)
    return [Estimate(float(v), float(e), "quasi-Monte Carlo") for v, e in zip(value, error, strict=True)]


_POINTS = 32_768  # whose values a cache holds


def stretch_of(dim: int) -> float:
    """How many times wider than a member of `dim` dimensions its nodes lie: the variance of their weights stays below a half."""
    return float(1 + min(0.3, 0.45 / np.sqrt(dim)))


def _losses(density: LogDensity, mean: Array, factor: Array, z: Array, stretch: float) -> tuple[Array, Array]:
    """Losses of members (R, d), (R, d, d) and their standard errors, each (R,), on nodes some times wider than they are."""
    wide = stretch * z
    log_wide, log_z = _log_normal(wide), _log_normal(z)
    weights = np.exp(log_wide - log_z).reshape(_REPLICATES, -1)
    points = mean[:, None] + wide @ factor.transpose(0, 2, 1)
    log_q = log_wide - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
    with np.errstate(all="ignore"):  # where the density is no number, neither is the loss
        log_p = density(points.reshape(-1, z.shape[1]))[0].reshape(len(mean), -1)
        values = (log_q - log_p).reshape(len(mean), _REPLICATES, -1)
        by_replicate = (weights * values).sum(axis=2) / weights.sum(axis=1)
        return by_replicate.mean(axis=1), by_replicate.std(axis=1, ddof=1) / np.sqrt(_REPLICATES)


def _log_normal(z: Array) -> Array:
    return np.asarray(-0.5 * (np.square(z) + np.log(2 * np.pi)).sum(axis=1))


def draw_groups(target: Target, normal: Target, n: int, seed: int) -> dict[str, xr.Dataset]:
    """Draws of a member in ArviZ's shape.

    Returns
    -------
    dict
        ``posterior`` on the natural scale, ``sample_stats`` with ``log_p`` and ``log_q`` and, where the natural scale is another one,
        ``unconstrained_posterior`` with the same draws as ``x``.
    """
    groups = draws_of(normal, n, seed, log_p=target, log_q=normal)
    natural = named_draws(target, groups["posterior"]["x"].to_numpy()[0].reshape(-1, target.dim))
    if natural is not None:
        groups["unconstrained_posterior"] = groups["posterior"]
        groups["posterior"] = natural
    return groups


def named_draws(target: Target, points: Array) -> xr.Dataset | None:
    """Draws (n, d) of unconstrained space as the variables of a model, with its dims and coords; ``None`` where that is their scale."""
    values = target.natural(points)
    if values is None:
        return None
    dims, coords = target.labels() if isinstance(target, Posterior) else ({}, {})
    variables = {}
    for name, value in values.items():
        if name in dims:
            variables[name] = (("chain", "draw", *dims[name]), value[None])
        else:
            variables |= parameter_variables({name: value[None]}, "chain", "draw")
    used = {dim for name in dims if name in values for dim in dims[name]}
    return xr.Dataset(
        variables,
        coords={"chain": [0], "draw": np.arange(len(points)), **{d: c for d, c in coords.items() if d in used}},
    )
