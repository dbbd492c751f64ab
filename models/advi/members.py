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
    groups: list[list[int]] = []
    for i in sorted(range(len(runs)), key=lambda i: not runs[i].converged):
        run, sd = runs[i], runs[i].sd
        for alike in groups:
            other, other_sd = runs[alike[0]], runs[alike[0]].sd
            near = np.all(np.abs(run.mean - other.mean) < 0.25 * other_sd)
            if near and np.all(np.abs(np.log(sd / other_sd)) < 0.25):
                alike.append(i)
                break
        else:
            groups.append([i])
    return groups


_REPLICATES = 8


def losses(density: LogDensity, members: Sequence[tuple[Array, Array]], power: int, seed: int) -> list[Estimate]:
    """Loss of members (mean, Cholesky factor) with its standard error, on randomised Sobol nodes common to all.

    The nodes lie wider than the members, and are weighted for it (Owen, 2013, section 9.1): of a log density that falls like an
    exponential, a member's own nodes leave out the tail, nearly always by a little, now and then by far too much the other way, so
    that the means lie too low and their spread says nothing of it.
    """
    dim = len(members[0][0])
    z = sobol_nodes(dim, power=power, replicates=_REPLICATES, seed=seed).points
    found = in_threads(
        lambda rows: [_loss(density, *member, z, stretch_of(dim)) for member in members[rows]], len(members), 10
    )
    return [estimate for part in found for estimate in part]


def stretch_of(dim: int) -> float:
    """How many times wider than a member of `dim` dimensions its nodes lie: the variance of their weights stays below a half."""
    return float(1 + min(0.3, 0.45 / np.sqrt(dim)))


def _loss(density: LogDensity, mean: Array, factor: Array, z: Array, stretch: float) -> Estimate:
    wide = stretch * z
    log_q = _log_normal(wide) - np.log(np.diag(factor)).sum()
    weights = np.exp(_log_normal(wide) - _log_normal(z)).reshape(_REPLICATES, -1)
    with np.errstate(all="ignore"):  # where the density is no number, neither is the loss
        values = (log_q - density(mean + wide @ factor.T)[0]).reshape(_REPLICATES, -1)
        by_replicate = (weights * values).sum(axis=1) / weights.sum(axis=1)
        error = float(by_replicate.std(ddof=1) / np.sqrt(_REPLICATES))
    if not np.isfinite(error) and stretch > 1:  # farther out than the member itself is asked
        return _loss(density, mean, factor, z, 1.0)
    return Estimate(float(by_replicate.mean()), error, "quasi-Monte Carlo")


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
