"""Means and sds of a model's variables on their own scale, with errors: of approximations, and of a reference beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from models.advi.effort import MOST_NUMBERS
from models.advi.fixed import fixed_nodes
from models.own_model.comparison import natural, pit
from models.own_model.rays import endless_along_axes
from models.own_model.reference import Cells, Reference
from models.targets import Posterior, Target

__all__ = ["Moments", "compare", "of_normals", "of_reference", "settles", "tails", "unknowns", "with_sds"]

Array = NDArray[np.float64]

_REPLICATES = 8
_POWER = 9  # logarithm to base 2 of the nodes of each, at least
_ROWS = 4096  # of points that are carried to the natural scale at once
_OF_ONE_NODE = 0.1  # of a moment about the mean, above which the nodes do not reach what makes it
_OF_FEW = 40.0  # times its share, that a node may have: of a Normal's variance the farthest of some 100 has 7
_ROUNDING = 1e-13  # relative sd of what is a constant
_FIRM = 0.1  # relative error of an sd, above which it is open
_NO_SD, _NO_MEAN = 0.5, 1.0  # shape of a tail, above which the variance is infinite, and the mean
_NEAR = 0.9  # times the shape without a mean, from which on there may be none: that of Cauchy's law is 1
_LEAST_TAIL, _TAIL_ERRORS = (
    20,
    1.64,
)  # draws that a shape is fitted to, and standard errors by which it must be below a limit to speak against it


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and sds (v,) of the entries of all variables, with their standard errors.

    Attributes
    ----------
    names : list of str
    mean, sd, mean_error, sd_error : ndarray (v,)
    """

    names: list[str]
    mean: Array
    sd: Array
    mean_error: Array
    sd_error: Array


def of_normals(target: Target, member: Target, *, seed: int = 0, moves: Array | None = None) -> Moments:
    """Moments of a Normal of unconstrained space, or of a mixture of them, on eight sets of quasi-Monte Carlo nodes.

    What is linear in the unknowns is exact, for the nodes have the mean and the covariance of a Normal (the latter up to some 500 unknowns); the errors of
    what is not are the spread over the sets, and infinite where a single node makes a tenth of it: then most of it lies farther out than the nodes, as the
    mean of exp(x) does where x has an sd of 5, of which 3.5 sds hold a sixteenth.

    Parameters
    ----------
    target : Target
        Whose variables are meant.
    member : Target
        A Normal or a mixture of Normals, with its components as ``scales``.
    seed : int
    moves : ndarray (r, 2, d), optional
        ``node_moves`` of the optimum that a Normal is (see `models.advi.fit_dadvi`): where nodes put it is a part of the errors then.
    """
    weights = np.asarray(member.spec.get("weights", [1.0]), dtype=float)
    power = max(_POWER, int(np.ceil(np.log2(4 * target.dim))))
    power = min(power, int(np.log2(MOST_NUMBERS / (_REPLICATES * target.dim))))
    z = fixed_nodes(target.dim, power=power, replicates=_REPLICATES, seed=seed)
    parts = []
    with np.errstate(all="ignore"):
        for location, factor in member.scales:
            found = natural(target, (location + z @ factor.T).reshape(-1, target.dim))
            parts.append(np.stack(list(found.values()), axis=-1).reshape(_REPLICATES, -1, len(found)))
        centre = np.einsum("k,krnv->v", weights, parts) / (z.shape[0] * z.shape[1])
        first = np.einsum("k,krv->rv", weights, [(part - centre).mean(axis=1) for part in parts])
        second = np.einsum("k,krv->rv", weights, [np.square(part - centre).mean(axis=1) for part in parts])
        sds = np.sqrt(second - first**2)
        sd = np.sqrt(second.mean(axis=0))
        errors = [by_set.std(axis=0, ddof=1) / np.sqrt(_REPLICATES) for by_set in (first, sds)]
        most = max(_OF_ONE_NODE, _OF_FEW / (z.shape[0] * z.shape[1]))
        errors = [
            np.where(_of_one_node(weights, parts, centre, power) > most, np.inf, error)
            for power, error in enumerate(errors, 1)
        ]
        if moves is not None and np.isfinite(moves).all():
            [(location, factor)] = member.scales
            by_nodes = _by_nodes(target, location, factor, moves, z[0])
            errors = [np.hypot(error, part) for error, part in zip(errors, by_nodes, strict=True)]
    return Moments(list(found), centre, sd, *errors)


def _of_one_node(weights: Array, parts: Sequence[Array], centre: Array, power: int) -> Array:
    """Share (v,) that a single node has of an absolute moment about a centre, of values (r, n, v) under each of a few Normals."""
    most, whole = np.zeros((2, len(centre)))
    for weight, part in zip(weights, parts, strict=True):
        apart = weight * np.abs(part - centre) ** power
        most, whole = np.maximum(most, apart.max(axis=(0, 1))), whole + apart.sum(axis=(0, 1))
    return np.asarray(most / whole)


def _by_nodes(target: Target, location: Array, factor: Array, moves: Array, z: Array) -> tuple[Array, Array]:
    """Standard errors (v,) of means and sds on the natural scale that come of moves (r, 2, d) of the means and log sds, on common nodes z (n, d)."""

    def of(shift: Array, log_scale: Array) -> tuple[Array, Array]:
        points = location + shift + np.exp(log_scale) * (z @ factor.T)
        found = np.stack(list(natural(target, points).values()), axis=-1)
        return found.mean(axis=0), found.std(axis=0)

    here = of(*np.zeros((2, len(location))))
    there = [of(*move) for move in moves]
    mean, sd = (np.sqrt(np.square([at[i] - here[i] for at in there]).sum(axis=0)) for i in (0, 1))
    return mean, sd


def of_reference(target: Target, reference: Reference) -> Moments:
    """Moments of a reference: those of a grid by its cells, and of draws with Monte Carlo errors.

    The error of a grid is how far it is from one with every second point, or what its moments at the edge let lie beyond, whichever is larger; that of NUTS is ArviZ's; that of populations and of
    importance sampling is by as many independent looks as there were, or by how much the populations differ, whichever is larger.
    Where the tail of the draws is too heavy for a mean or an sd (see `tails`), or that of the density (`models.own_model.rays`), the error is infinite: that of ArviZ and those by
    looks rest on moments that are then not there.
    """
    endless = endless_along_axes(target, reference.flat)
    if reference.cells is not None:
        return _without(_of_cells(target, reference.cells), *endless)
    found = natural(target, reference.flat)
    values = np.stack(list(found.values()), axis=-1).reshape(*reference.points.shape[:2], -1)
    flat = values.reshape(-1, values.shape[-1])
    mean, sd = flat.mean(axis=0), flat.std(axis=0)
    if reference.method == "NUTS":
        errors = [_mcse(values, method) for method in ("mean", "sd")]
    else:
        with np.errstate(all="ignore"):
            fourth = np.square(np.square(flat - mean) - sd**2).mean(axis=0)
            by_looks = np.array([sd, np.where(sd > 0, np.sqrt(fourth) / (2 * sd), 0.0)]) / np.sqrt(reference.looks)
        by_chain = np.array([values.mean(axis=1), values.std(axis=1)])
        errors = list(np.maximum(by_looks, by_chain.std(axis=1, ddof=1) / np.sqrt(len(values))))
    # Draws of a chain follow one another far out; those of a population are moved each by itself.
    seen = tails(flat, effective=min(1.0, reference.looks / len(flat)) if reference.method == "NUTS" else 1.0)
    no_sd, no_mean = np.logical_or(seen, endless)
    far = (
        np.abs(flat - mean).max(axis=0) / reference.looks
    )  # what the farthest draw adds to the mean: without a variance, about its error
    errors[0] = np.where(no_sd, np.maximum(errors[0], far), errors[0])
    return _without(Moments(list(found), mean, sd, *errors), no_sd, no_mean)


def _without(moments: Moments, no_sd: NDArray[np.bool_], no_mean: NDArray[np.bool_]) -> Moments:
    """Moments with infinite errors where there is no sd, and no mean."""
    return replace(
        moments,
        mean_error=np.where(no_mean, np.inf, moments.mean_error),
        sd_error=np.where(no_sd, np.inf, moments.sd_error),
    )


def tails(draws: Array, *, effective: float = 1.0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whose draws (n, v) have tails too heavy for an sd, and for a mean; neither where the largest values are all the same, as at a bound.

    The largest draws of either side are fitted by a generalised Pareto law above four thresholds (Zhang and Stephens, 2009; Vehtari et al., 2024). Its
    shape is above a half where the variance is infinite, and above 1 where there is no mean: which is said of one that is about 1 or more, and by no
    threshold below that by more than its error, of which the share `effective` of the draws is made; a shape of 0.7 is one with a mean. Draws of a small second mode look like such a tail above one threshold, and above a higher one like what they are.
    """
    n, count = draws.shape
    most = int(3 * np.sqrt(n))
    sizes = np.array([most // k for k in (1, 2, 4, 8) if k == 1 or effective * (most // k) >= _LEAST_TAIL])
    found = np.zeros((2, count), dtype=bool)
    for j in np.flatnonzero(np.ptp(draws, axis=0) > 0):
        for side in ("left", "right"):
            shape = np.array([_shape(draws[:, j], size, side) for size in sizes])
            error = np.maximum(1 + shape, 0.5) / np.sqrt(effective * sizes)
            highest = (shape + _TAIL_ERRORS * error).min()
            found[0, j] |= shape[0] > _NO_SD and highest >= _NO_SD
            found[1, j] |= shape[0] > _NEAR * _NO_MEAN and highest >= _NO_MEAN
    return found[0], found[1]


def _shape(draws: Array, size: int, side: str) -> float:
    """Pareto shape of so many of the largest draws (n,), or of the smallest; 0 where these are all the same."""
    with np.errstate(all="ignore"), suppress(ValueError):  # which ArviZ raises there
        # It takes 3 (n / r_eff)^(1/2) draws.
        shape = array_stats.pareto_khat(
            draws[None], chain_axis=0, draw_axis=1, tail=side, r_eff=9 * len(draws) / (size + 0.5) ** 2
        )
        return float(np.nan_to_num(shape))
    return 0.0


def _mcse(values: Array, method: str) -> Array:
    """Monte Carlo standard errors (v,) of chains (c, n, v); 0 for what does not vary."""
    varies = np.ptp(values, axis=(0, 1)) > 0
    found = [
        float(array_stats.mcse(values[:, :, j], chain_axis=0, draw_axis=1, method=method)) if varies[j] else 0.0
        for j in range(values.shape[2])
    ]
    return np.array(found)


def _of_cells(target: Target, cells: Cells) -> Moments:
    shares = np.stack([cells.mass, np.where(cells.coarse, cells.mass, 0.0)])
    shares /= shares.sum(axis=1, keepdims=True)
    shares = np.vstack([shares, shares[0] * cells.beyond])
    at_top = natural(target, cells.points[[np.argmax(cells.mass)]])
    centre = np.stack(list(at_top.values()), axis=-1)[0]
    first, distance, second = np.zeros((3, 3, len(centre)))
    for rows in np.split(np.arange(len(cells.points)), np.arange(_ROWS, len(cells.points), _ROWS)):
        apart = np.stack(list(natural(target, cells.points[rows]).values()), axis=-1) - centre
        first += shares[:, rows] @ apart
        distance += shares[:, rows] @ np.abs(apart)
        second += shares[:, rows] @ np.square(apart)
    means, sds = (centre + first)[:2], np.sqrt(np.maximum(second - first**2, 0.0))[:2]
    mean_error = np.maximum(np.abs(means[0] - means[1]), distance[2])
    with np.errstate(all="ignore"):
        tail = np.where(sds[0] > 0, second[2] / (2 * sds[0]), 0.0)
    return Moments(list(at_top), means[0], sds[0], mean_error, np.maximum(np.abs(sds[0] - sds[1]), tail))


def compare(
    target: Target,
    approximations: Mapping[str, Moments],
    draws: Mapping[str, Array],
    reference: Reference | None,
) -> xr.Dataset:
    """Means and sds of approximations, and how far they are from those of a reference.

    Parameters
    ----------
    target : Target
    approximations : mapping of str to Moments
    draws : mapping of str to ndarray (n, d)
        Of the same, in unconstrained space.
    reference : Reference, optional

    Returns
    -------
    xarray.Dataset
        Over (approximation, variable): ``mean``, ``sd`` and their errors ``mean_se``, ``sd_se``; beside a reference also ``mean_shift`` (in its sds),
        ``sd_ratio`` and ``pit`` (see `models.own_model.comparison.pit`); over (variable): ``reference_mean``, ``reference_sd``,
        ``reference_mean_se``, ``reference_sd_se``, ``unknown`` (whether it is an unknown of the model, and not computed from these), ``same`` (whether it
        is the same number as an earlier one in all draws) and ``reference_lost``, the share of the draws in which it is no finite number. A mean or an sd that the reference leaves open is nan, and so is what is divided by it.
    """
    dims = ("approximation", "variable")
    names = next(iter(approximations.values())).names
    columns = {"mean": "mean", "sd": "sd", "mean_se": "mean_error", "sd_se": "sd_error"}
    data: dict[str, object] = {
        name: (dims, np.array([getattr(m, field) for m in approximations.values()])) for name, field in columns.items()
    }
    if reference is not None:
        truth = of_reference(target, reference)
        # What is a constant comes out of a transform with the rounding of one.
        constant = np.asarray(truth.sd <= _ROUNDING * np.abs(truth.mean))
        truth = replace(truth, sd=np.where(constant, 0.0, truth.sd), sd_error=np.where(constant, 0.0, truth.sd_error))
        truth = replace(
            truth,
            mean=np.where(np.isfinite(truth.mean_error), truth.mean, np.nan),
            sd=np.where(settles(truth.sd, truth.sd_error) | (truth.sd == 0), truth.sd, np.nan),
        )
        data |= {f"reference_{name}": ("variable", getattr(truth, field)) for name, field in columns.items()}
        with np.errstate(all="ignore"):
            data["mean_shift"] = (dims, [(m.mean - truth.mean) / truth.sd for m in approximations.values()])
            data["sd_ratio"] = (dims, [m.sd / truth.sd for m in approximations.values()])
        seen = natural(target, reference.thinned)
        values = np.stack(list(seen.values()), axis=-1)
        data["unknown"] = ("variable", np.arange(len(names)) < unknowns(target))
        data["same"] = ("variable", _same(values))
        data["reference_lost"] = ("variable", 1 - np.isfinite(values).mean(axis=0))
        data["pit"] = (dims, [[pit(x, seen[v]) for v, x in natural(target, draws[a]).items()] for a in approximations])
    return xr.Dataset(data, coords={"approximation": list(approximations), "variable": names})


def unknowns(target: Target) -> int:
    """How many of the entries of `models.own_model.comparison.natural` are unknowns of a model: the first ones."""
    if not isinstance(target, Posterior):
        return target.dim
    found = target.natural(target.initial_point[None])
    return sum(found[rv.name][0].size for rv in target.source.free_RVs)


def _same(values: Array) -> NDArray[np.bool_]:
    """Which columns of draws (n, v) are an earlier one once more, as the other half of a correlation matrix."""
    known: dict[tuple[float, ...], list[int]] = {}
    found = np.zeros(values.shape[1], dtype=bool)
    for j, column in enumerate(values.T):
        alike = known.setdefault(tuple(float(f"{x:.6g}") for x in column[:3]), [])
        found[j] = any(np.allclose(column, values[:, i], rtol=1e-9, atol=0, equal_nan=True) for i in alike)
        alike.append(j)
    return found


def settles(sd: Array, error: Array) -> NDArray[np.bool_]:
    """Which sds (v,) are known to a tenth; the others, as those with heavy tails or of too few draws, are open."""
    return np.asarray(error < _FIRM * sd)


def with_sds(moments: Moments, sds: Array) -> Moments:
    """Put other sds (v,) in place where these are finite, whose errors are not known."""
    known = np.isfinite(sds)
    return replace(moments, sd=np.where(known, sds, moments.sd), sd_error=np.where(known, np.nan, moments.sd_error))
