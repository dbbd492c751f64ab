"""Where searches for optima start: on the structure of the target, between it, and across all of it."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from models.expectations import Nodes
from models.families import Family
from models.panels import landmarks
from models.targets import Target

__all__ = ["SHAPES", "component_starts", "forward_starts", "member_theta", "shaped", "structure"]

Array = NDArray[np.float64]

#: First values of shape parameters.
SHAPES: dict[str, tuple[dict[str, float], ...]] = {
    "student_t": ({"nu": 3.0}, {"nu": 15.0}),
    "skew_normal": ({"alpha": 2.0}, {"alpha": -2.0}, {"alpha": 6.0}, {"alpha": -6.0}),
}


def component_starts(target: Target, family: Family, alpha: float, seed: int) -> tuple[Array, Array]:
    """Starts (m, P) at the components, between them and across all of them; and the unit of each coordinate."""
    locations, covs, spread = structure(target)
    unit = np.ones(family.size(target.dim))
    for p, part in family.slices(target.dim):
        if p.name == family.location:
            unit[part] = np.resize(np.sqrt(np.diag(spread)), part.stop - part.start)
    if family.components > 1:
        return _mixture_starts(
            family, locations[:, 0], np.sqrt(covs[:, 0, 0]), float(np.sqrt(spread[0, 0])), seed
        ), unit
    centre = locations.mean(axis=0)
    narrow = covs[np.argmin([np.trace(c) for c in covs])]
    places = [centre, *locations, *[(a + b) / 2 for a, b in combinations(locations, 2)]][:40]
    starts = []
    for place in places:
        nearest = covs[np.argmin(np.linalg.norm(locations - place, axis=1))]
        options = [nearest, spread] if target.dim > 1 else [narrow, nearest, (nearest + spread) / 2, spread]
        if alpha == 1:
            options = [(nearest + spread) / 2, spread]
        shape = SHAPES.get(family.name, ({},))[0]
        starts += [member_theta(family, place, c, shape) for c in options]
    return np.unique(np.round(starts, 12), axis=0), unit


def shaped(family: Family, mu: float, sigma: float, shape: dict[str, float]) -> Array:
    """A member with a shape whose mean and spread are about those of a Normal."""
    if "alpha" in shape:
        delta = shape["alpha"] / np.sqrt(1 + shape["alpha"] ** 2)
        sigma = sigma / np.sqrt(1 - 2 * delta**2 / np.pi)
        mu = mu - sigma * delta * np.sqrt(2 / np.pi)
    return family.unconstrain({"mu": mu, "sigma": sigma, **shape}, 1)


def structure(target: Target) -> tuple[Array, Array, Array]:
    """Locations (k, d), covariances (k, d, d) of the places with structure, and the covariance of the whole (d, d)."""
    if target.dim == 1:
        marks = landmarks(target)
        locations = np.array([[m] for m, _ in marks])
        covs = np.array([[[s**2]] for _, s in marks])
    else:
        locations = np.array([m for m, _ in target.scales])
        covs = np.array([s @ s.T for _, s in target.scales])
    spread = np.cov(locations.T, bias=True).reshape(target.dim, target.dim) + covs.mean(axis=0)
    return locations, covs, spread


def member_theta(family: Family, location: Array, cov: Array, shape: dict[str, float]) -> Array:
    """Unconstrained coordinates of the member at a place, with a covariance and values of its shape parameters."""
    values: dict[str, Array | float] = dict(shape)
    for p in family.parameters:
        if p.name == family.location:
            values[p.name] = location if p.shape else location[0]
        elif p.name == family.scale:
            scale = cov if p.support == "covariance" else np.sqrt(np.diag(cov))
            values[p.name] = scale if p.shape else scale[0]
    return family.unconstrain(values, len(location))


def _mixture_starts(family: Family, locations: Array, sds: Array, spread: float, seed: int) -> Array:
    """Components of the family on components of the target, one each, and at random."""
    k = family.components
    rng = np.random.default_rng(seed)
    starts = []
    for chosen in [*combinations(range(len(locations)), k)][:20]:
        mu, sigma = locations[list(chosen)], sds[list(chosen)]
        starts.append(family.unconstrain({"w": np.full(k, 1 / k), "mu": mu, "sigma": sigma}, 1))
    for _ in range(24):
        mu = rng.choice(locations, k) + rng.normal(0, 0.5, k) * spread
        sigma = spread * np.exp(rng.uniform(np.log(0.5 * sds.min() / spread), 0.3, k))
        starts.append(family.unconstrain({"w": rng.dirichlet(np.full(k, 3.0)), "mu": mu, "sigma": sigma}, 1))
    return np.array(starts)


def forward_starts(family: Family, rule: Nodes, count: int, seed: int) -> Array:
    """Starts (m, P) for the cross-entropy over `rule`, from its moments and quantiles."""
    dim = rule.points.shape[1]
    robust = dim == 1 and family.degree != 2  # where moments are sufficient they are the answer
    location, spread = _robust_location(rule) if robust else _moments(rule)
    rng = np.random.default_rng(seed)
    starts: list[Array] = []
    if family.components > 1:
        return _clustered(family, rule, count, rng) if dim == 1 else _clouds(family, rule, count, rng)
    base: dict[str, Array] = {}
    for p in family.parameters:
        if p.name == family.location:
            base[p.name] = location if p.shape else location[0]
        elif p.name == family.scale:
            base[p.name] = spread @ spread.T if p.support == "covariance" else np.sqrt(np.diag(spread @ spread.T))
            base[p.name] = base[p.name] if p.shape else base[p.name][0]
    shapes = {"nu": (5.0, 2.0, 30.0), "alpha": (2.0, -2.0, 0.5, -0.5)}
    extra = next((p.name for p in family.parameters if p.name in shapes), None)
    for value in shapes[extra] if extra else (None,):
        starts.append(family.unconstrain(base | ({extra: np.asarray(value)} if extra else {}), dim))
    return np.array(starts)


def _robust_location(rule: Nodes) -> tuple[Array, Array]:
    order = np.argsort(rule.points[:, 0])
    cumulative = np.cumsum(rule.weights[order]) / rule.weights.sum()
    low, middle, high = np.interp([0.16, 0.5, 0.84], cumulative, rule.points[order, 0])
    return np.array([middle]), np.array([[max((high - low) / 2, 1e-12)]])


def _moments(rule: Nodes) -> tuple[Array, Array]:
    w = rule.weights / rule.weights.sum()
    mean = w @ rule.points
    centred = rule.points - mean
    return mean, np.linalg.cholesky((centred * w[:, None]).T @ centred)


def _clustered(family: Family, rule: Nodes, count: int, rng: np.random.Generator) -> Array:
    """Starts of a 1-D mixture: quantiles, then alternately clusters (k-means++) and random quantiles with narrow scales."""
    from scipy.cluster.vq import kmeans2

    k = family.components
    x = rule.points[:, 0]
    order = np.argsort(x)
    cumulative = np.cumsum(rule.weights[order]) / rule.weights.sum()
    spread = float(np.sqrt(np.average((x - np.average(x, weights=rule.weights)) ** 2, weights=rule.weights)))

    def quantiles(levels: Array) -> Array:
        # Equal means would be a saddle.
        return np.interp(levels, cumulative, x[order]) + 1e-3 * spread * np.arange(k)

    starts = []
    for i in range(count):
        w, mu, sigma = np.full(k, 1 / k), quantiles((np.arange(k) + 0.5) / k), np.full(k, spread / k)
        if i % 2:
            # A resample, so that every run of the clustering sees other data.
            sample = x[rng.choice(len(x), min(len(x), 2000), p=rule.weights / rule.weights.sum())]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an empty cluster keeps the start of its centre
                centres, labels = kmeans2(sample, k, minit="++", rng=rng)
            size = np.bincount(labels, minlength=k)
            within = np.array([sample[labels == j].std() if size[j] > 1 else 0.0 for j in range(k)])
            w, mu, sigma = (size + 1) / (size + 1).sum(), np.ravel(centres), np.maximum(within, 0.03 * spread)
        elif i:
            mu = quantiles(np.sort(rng.uniform(0.01, 0.99, k)))
            sigma = spread * np.exp(rng.uniform(np.log(0.05), 0.0, k))
        starts.append(family.unconstrain({"w": w, "mu": mu, "sigma": sigma}, 1))
    return np.array(starts)


def _clouds(family: Family, rule: Nodes, count: int, rng: np.random.Generator) -> Array:
    """Starts of a multivariate mixture: clusters (k-means++) of resamples, with their covariances."""
    from scipy.cluster.vq import kmeans2

    k, dim = family.components, rule.points.shape[1]
    mean, factor = _moments(rule)
    whole = factor @ factor.T
    starts = []
    for _ in range(count):
        sample = rule.points[
            rng.choice(len(rule.points), min(len(rule.points), 2000), p=rule.weights / rule.weights.sum())
        ]
        white = np.linalg.solve(factor, (sample - mean).T).T
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            _, labels = kmeans2(white, k, minit="++", rng=rng)
        size = np.bincount(labels, minlength=k)
        mu = np.array([sample[labels == j].mean(axis=0) if size[j] else sample[j] for j in range(k)])
        covs = [np.cov(sample[labels == j].T, bias=True) if size[j] > 2 * dim else whole / k for j in range(k)]
        cov = np.array([c + 0.02 * whole for c in covs])
        starts.append(family.unconstrain({"w": (size + 1) / (size + 1).sum(), "mu": mu, "cov": cov}, dim))
    return np.array(starts)
