"""Variables on the natural scale, and approximations beside a reference in nats."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.effort import power_within
from models.advi.members import named_draws, stretch_of
from models.errors import InputError
from models.families import FAMILIES
from models.quadrature import Estimate, sobol_nodes
from models.targets import Posterior, Target

__all__ = [
    "MOST_ENTRIES",
    "entries",
    "forward_normal",
    "kl_forward",
    "kl_reverse",
    "natural",
    "nearer",
    "pit",
    "reverse_by_set",
    "told",
]

Array = NDArray[np.float64]
MOST_ENTRIES = 500  # of variables that are compared: what a deterministic has beyond is left out
_POWER, _SETS = 12, 8  # nodes of each Normal, to base 2, and sets of them, whose spread is the standard error
_DOUBT = 2.5  # standard errors, of seven degrees of freedom
_TOLD = 0.1  # relative error of a number of nats, beyond which, and beyond a nat, it says nothing
_ERRORS, _ROUNDING = 3.0, 1e-6  # standard errors and nats, by which an estimate of a KL may be below zero


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
    if isinstance(target, Posterior) and target.numbers > MOST_ENTRIES:
        return _leading(target, points)
    found = named_draws(target, points)
    if found is None:
        return {name: points[:, j] for j, name in enumerate(target.coordinates)}
    return entries(found, target.added if isinstance(target, Posterior) else ())


def _leading(target: Posterior, points: Array) -> dict[str, Array]:
    """As `natural`, of no more rows than hold the first `MOST_ENTRIES`."""
    dims, coords = target.labels()
    found: dict[str, Array] = {}
    for name, value in target.leading(points, MOST_ENTRIES).items():
        own = dims.get(name, [f"{name}_dim_{j}" for j in range(value.ndim - 1)])
        here = {d: coords[d][:size] for d, size in zip(own, value.shape[1:], strict=True) if d in coords}
        found |= entries(xr.Dataset({name: (("chain", "draw", *own), value[None])}, coords=here))
    return dict(islice(found.items(), MOST_ENTRIES))


def pit(draws: Array, truth: Array) -> float:
    """Largest distance of the distribution function of the probability integral transform from uniform (Kolmogorov's)."""
    u = np.sort(np.searchsorted(np.sort(draws), truth) / len(draws))
    steps = np.arange(1, len(u) + 1) / len(u)
    return float(max(np.abs(steps - u).max(), np.abs(steps - 1 / len(u) - u).max()))


def forward_normal(reference: Array) -> Target | None:
    """Normal that maximises the likelihood of draws (n, d): the solution of forward KL over Normals; ``None`` where they have no proper covariance, as of a chain that stands still."""
    mean, cov = reference.mean(axis=0), np.cov(reference, rowvar=False, bias=True)
    try:
        if reference.shape[1] == 1:
            return FAMILIES["normal"].member({"mu": mean[0], "sigma": float(np.sqrt(cov))})
        return FAMILIES["mvnormal"].member({"mu": mean, "cov": cov})
    except InputError:
        return None


def reverse_by_set(target: Target, member: Target, *, seed: int, seconds: float = np.inf) -> Array:
    """E_q[log q - log p] (8,) of a Normal or a mixture of them, in nats, on as many sets of nodes; infinite where the density vanishes.

    The nodes lie wider than each Normal, as those of `models.advi.members.losses` do and for its reason. The same seed gives any two
    members the same nodes, so that a difference set by set has less noise than either. They are as many as some seconds allow for each Normal.
    """
    power = _POWER
    if seconds < np.inf:
        power = power_within(target.log_density, member.scales[0][0], seconds, _POWER)
    weights = np.asarray(member.spec.get("weights", [1.0]), dtype=float)
    z = sobol_nodes(target.dim, power=power, replicates=_SETS, seed=seed).points
    for stretch in (stretch_of(target.dim), 1.0):  # farther out than the member itself is asked, it may vanish
        wide, parts = stretch * z, []
        share = np.exp(0.5 * (np.square(z) - np.square(wide)).sum(axis=1)).reshape(_SETS, -1)
        for location, factor in member.scales:
            x = location + wide @ factor.T
            with np.errstate(all="ignore"):
                gain = (member.logp(x) - target.logp(x)).reshape(_SETS, -1)
                parts.append((share * gain).sum(axis=1) / share.sum(axis=1))
        with np.errstate(all="ignore"):
            found = np.asarray(weights @ np.array(parts))
        if np.isfinite(found).all():
            return found
    return np.full(_SETS, np.inf)


def nearer(target: Target, one: Target, other: Target, *, seed: int, seconds: float = np.inf) -> bool:
    """Whether the first is nearer to the target than the other in reverse KL, beyond doubt: by `_DOUBT` standard errors of the difference."""
    first, second = (reverse_by_set(target, member, seed=seed, seconds=seconds) for member in (one, other))
    if not np.isfinite(first).all():
        return False
    with np.errstate(all="ignore"):  # a repair may be so far off that its square overflows
        gain = second - first
        return bool(not np.isfinite(gain).all() or gain.mean() > _DOUBT * gain.std(ddof=1) / np.sqrt(_SETS))


def kl_reverse(
    target: Target, member: Target, log_evidence: Estimate, *, seed: int, seconds: float = np.inf
) -> Estimate:
    """KL(q||p) in nats of a Normal or a mixture of them: E_q[log q - log p] + log Z."""
    by_set = reverse_by_set(target, member, seed=seed, seconds=seconds)
    if not np.isfinite(by_set).all():
        return Estimate(float("inf"), 0.0, "quasi-Monte Carlo")
    with np.errstate(all="ignore"):
        error = np.hypot(by_set.std(ddof=1) / np.sqrt(_SETS), log_evidence.error)
    return _possible(float(by_set.mean() + log_evidence.value), float(error), "quasi-Monte Carlo")


def kl_forward(target: Target, member: Target, reference: Array, log_evidence: Estimate, looks: float) -> Estimate:
    """KL(p||q) in nats by draws of p: E_p[log p - log q] - log Z; `looks` are how many of them are independent."""
    with np.errstate(all="ignore"):
        return _forward(target.logp(reference) - member.logp(reference), log_evidence, looks)


def kl_forward_fitted(target: Target, chains: Array, log_evidence: Estimate, looks: float) -> Estimate:
    """KL(p||q) in nats of the Normal fitted to chains (c, n, d), c at least 2: each chain is scored by the Normal fitted to the others.

    On the draws that it was fitted to a Normal of d dimensions scores too well, by half a nat for each of its d (d + 3) / 2 parameters over the number
    of draws, and as much again than the best Normal there is (Akaike, 1974).
    """
    gains = []
    with np.errstate(all="ignore"):
        for i, chain in enumerate(chains):
            others = forward_normal(np.delete(chains, i, axis=0).reshape(-1, chains.shape[2]))
            if others is None:
                return Estimate(float("nan"), float("nan"), "draws")
            gains.append(target.logp(chain) - others.logp(chain))
        return _forward(np.concatenate(gains), log_evidence, looks)


def _forward(gain: Array, log_evidence: Estimate, looks: float) -> Estimate:
    gain = gain[np.isfinite(gain)]
    error = np.hypot(gain.std(ddof=1) / np.sqrt(max(looks, 1.0)), log_evidence.error)
    return _possible(float(gain.mean() - log_evidence.value), float(error), "draws")


def _possible(value: float, error: float, kind: Literal["quasi-Monte Carlo", "draws"]) -> Estimate:
    """A KL, or nan where it is not known (see `told`), or came out below zero by more than three errors, which none is: the draws or the evidence, and so the error, are wrong."""
    if value < -_ERRORS * error - _ROUNDING or (np.isfinite(value) and not told(value, error)):
        return Estimate(float("nan"), float("nan"), kind)
    return Estimate(value, error, kind)


def told(value: float, error: float) -> bool:
    """Whether a number of nats is known, to a nat or to a tenth.

    Beyond that a few nodes make it, as those far out do of E exp(x) where x is the log of a scale with an sd of 10, and its error is unknown as well.
    """
    return error <= max(1.0, _TOLD * abs(value))
