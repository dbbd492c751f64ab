"""Variables on the natural scale, and approximations beside a reference in nats."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.members import named_draws
from models.families import FAMILIES
from models.quadrature import Estimate
from models.targets import Posterior, Target

__all__ = ["MOST_ENTRIES", "entries", "forward_normal", "kl_forward", "kl_reverse", "natural", "pit"]

Array = NDArray[np.float64]
MOST_ENTRIES = 500  # of variables that are compared: what a deterministic has beyond is left out


def entries(posterior: xr.Dataset, without: Collection[str] = ()) -> dict[str, Array]:
    """Draws (n,) of every entry of every variable, by its name and coordinates, ``theta[Choate]``: of the first `MOST_ENTRIES`."""
    result: dict[str, Array] = {}
    for name, variable in posterior.data_vars.items():
        if name in without:
            continue
        own = [d for d in variable.dims if d not in ("chain", "draw")]
        labels = [_labels(variable[d]) for d in own]
        values = variable.transpose("chain", "draw", *own).to_numpy()
        values = values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
        for index in np.ndindex(*values.shape[1:]):
            words = ", ".join(c[i] for c, i in zip(labels, index, strict=True))
            result[f"{name}[{words}]" if words else str(name)] = values[(slice(None), *index)]
            if len(result) >= MOST_ENTRIES:
                return result
    return result


def _labels(coords: xr.DataArray) -> list[str]:
    """Texts of the coords of a dimension; positions where it has none, or two of them are the same."""
    found = [str(label) for label in coords.to_numpy()]
    return found if len(set(found)) == len(found) else [str(i) for i in range(len(found))]


def natural(target: Target, points: Array) -> dict[str, Array]:
    """Draws (n, d) of unconstrained space as entries on the natural scale, without what PyMC adds to a model."""
    found = named_draws(target, points)
    if found is None:
        names = target.coordinates
        return {name: points[:, i] for i, name in enumerate(names)}
    return entries(found, target.added if isinstance(target, Posterior) else ())


def pit(draws: Array, truth: Array) -> float:
    """Largest distance of the distribution function of the probability integral transform from uniform (Kolmogorov's)."""
    u = np.sort(np.searchsorted(np.sort(draws), truth) / len(draws))
    steps = np.arange(1, len(u) + 1) / len(u)
    return float(max(np.abs(steps - u).max(), np.abs(steps - 1 / len(u) - u).max()))


def forward_normal(reference: Array) -> Target:
    """Normal that maximises the likelihood of draws (n, d): the solution of forward KL over Normals."""
    mean, cov = reference.mean(axis=0), np.cov(reference, rowvar=False, bias=True)
    if reference.shape[1] == 1:
        return FAMILIES["normal"].member({"mu": mean[0], "sigma": float(np.sqrt(cov))})
    return FAMILIES["mvnormal"].member({"mu": mean, "cov": cov})


def kl_reverse(target: Target, member: Target, log_evidence: Estimate, *, seed: int) -> Estimate:
    """KL(q||p) in nats by draws of q: E_q[log q - log p] + log Z."""
    x = member.rvs(4000, seed)
    with np.errstate(all="ignore"):
        gain = member.logp(x) - target.logp(x)
    if not np.isfinite(gain).all():
        return Estimate(float("inf"), 0.0, "draws")
    error = np.hypot(gain.std(ddof=1) / np.sqrt(len(gain)), log_evidence.error)
    return Estimate(float(gain.mean() + log_evidence.value), float(error), "draws")


def kl_forward(target: Target, member: Target, reference: Array, log_evidence: Estimate, looks: float) -> Estimate:
    """KL(p||q) in nats by draws of p: E_p[log p - log q] - log Z; `looks` are how many of them are independent."""
    with np.errstate(all="ignore"):
        gain = target.logp(reference) - member.logp(reference)
    gain = gain[np.isfinite(gain)]
    error = np.hypot(gain.std(ddof=1) / np.sqrt(max(looks, 1.0)), log_evidence.error)
    return Estimate(float(gain.mean() - log_evidence.value), float(error), "draws")
