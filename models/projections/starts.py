"""Where searches for optima start: on the structure of the target, between it, and across all of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from models.families import Family, Points, Shape
from models.projections.em import plus_plus, short_runs
from models.projections.objectives import Objective
from models.projections.units import even_quantiles, quantiles
from models.quadrature import Nodes, landmarks
from models.targets import Target

__all__ = ["component_starts", "forward_starts", "member_theta", "peak_starts", "shaped", "structure"]

Array = NDArray[np.float64]


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
        shape = {family.shape.name: family.shape.starts[0]} if family.shape is not None else {}
        starts += [member_theta(family, place, c, shape) for c in options]
    return np.unique(np.round(starts, 12), axis=0), unit


def shaped(family: Family, shape: Shape, mu: float, sigma: float, value: float) -> Array:
    """A member with this value of its shape whose mean and spread are about those of a Normal."""
    mean, sd = shape.moments(value) if shape.moments is not None else (0.0, 1.0)
    return family.unconstrain(
        {str(family.location): mu - sigma / sd * mean, str(family.scale): sigma / sd, shape.name: value}, 1
    )


def structure(target: Target) -> tuple[Array, Array, Array]:
    """Locations (k, d), covariances (k, d, d) of the places with structure, and the covariance of the whole (d, d)."""
    if target.dim == 1:
        marks = landmarks(target)
        locations = np.array([[m] for m, _ in marks])
        covs = np.array([[[s**2]] for _, s in marks])
    else:
        places = target.peaks
        locations = np.array([m for m, _ in places])
        covs = np.array([s @ s.T for _, s in places])
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


def forward_starts(family: Family, s: Points, count: int, seed: int) -> Array:
    """Starts (m, P) for the cross-entropy over points: a closed form, what the family's entry says, or moments and quantiles.

    Of mixtures these are the best `count` ends of many short runs of expectation-maximisation.
    """
    dim = s.x.shape[1] if s.x.ndim == 2 else 1
    if family.closed is not None:
        return family.unconstrain(family.closed(s), dim)[None]
    if family.starts is not None:
        return np.array([family.unconstrain(params, dim) for params in family.starts(s)])
    if not family.location:  # in its units every scale is about 1
        return np.zeros((1, family.size(dim)))
    rule = Nodes(s.x.reshape(-1, dim), s.weights, "draws")
    rng = np.random.default_rng(seed)
    if family.components > 1:
        return _clustered(family, rule, count, rng) if dim == 1 else _clouds(family, rule, count, rng)
    if dim == 1 and family.tail != "gaussian":  # moments may tell little of heavy tails, or not exist
        low, middle, high = quantiles(rule.points[:, 0], rule.weights / rule.weights.sum(), [0.16, 0.5, 0.84])
        location, spread = np.array([middle]), np.array([[max((high - low) / 2, 1e-12)]])
    else:
        location, spread = _moments(rule, correlated=family.correlated)
    if family.shape is not None:
        mu, sigma = float(location[0]), float(spread[0, 0])
        return np.array([shaped(family, family.shape, mu, sigma, value) for value in family.shape.from_draws])
    return member_theta(family, location, spread @ spread.T, {})[None]


def peak_starts(family: Family, rule: Nodes, objective: Callable[[Nodes], Objective]) -> Array:
    """Starts (m, P) on the highest peaks of the likelihood across the line, for families whose likelihood may have several.

    That of a log-concave density has one peak in location and scale (Pratt, 1981); that of a power law may have one on each cluster
    of points, with a scale as small as it.

    Parameters
    ----------
    family : Family
    rule : Nodes
    objective : callable
        What is to be minimised, over nodes.
    """
    if family.tail != "power" or not family.on_a_line or family.components > 1 or family.scale in dict(family.fixed):
        return np.empty((0, family.size(rule.points.shape[1])))
    x, weights = even_quantiles(rule.points[:, 0], rule.weights / rule.weights.sum(), _CANDIDATES)
    few = rule if len(rule.points) <= len(x) else Nodes(x[:, None], weights, rule.kind)
    step = len(x) // _PLACES
    places = x[step // 2 :: step]
    near = np.sort(np.abs(x - places[:, None]), axis=1)[:, (np.array(_NEAR) * len(x)).astype(int)]
    scales = np.maximum(near, _NARROWEST)
    shape = family.shape
    shapes: list[dict[str, float]] = [{}] if shape is None else [{shape.name: v} for v in (*_HEAVY, *shape.from_draws)]
    thetas = np.array([
        [
            family.unconstrain({str(family.location): mu, str(family.scale): sigma, **extra}, 1)
            for sigma in row for extra in shapes
        ]
        for mu, row in zip(places, scales, strict=True)
    ])  # fmt: skip
    values = objective(few).gradient(thetas.reshape(-1, thetas.shape[-1]))[0].reshape(thetas.shape[:2])
    values = np.where(np.isfinite(values), values, np.inf)
    best = values.argmin(axis=1)
    profile = np.pad(values.min(axis=1), 1, constant_values=np.inf)
    peaks = np.flatnonzero((profile[1:-1] <= profile[:-2]) & (profile[1:-1] < profile[2:]))
    peaks = peaks[np.argsort(profile[1:-1][peaks])][:_PEAKS]
    return np.asarray(thetas[peaks, best[peaks]])


#: Points that starts are compared on and places are taken from, the places, the shares of all points within the scale of a start there, the least scale, heavy
#: shapes besides those of the family, and the peaks that are climbed.
_CANDIDATES, _PLACES, _NEAR, _NARROWEST, _HEAVY, _PEAKS = 504, 28, (0.08, 0.2, 0.45), 1e-3, (0.4, 1.0), 4


def _moments(rule: Nodes, *, correlated: bool = True) -> tuple[Array, Array]:
    w = rule.weights / rule.weights.sum()
    mean = w @ rule.points
    centred = rule.points - mean
    cov = (centred * w[:, None]).T @ centred
    return mean, np.linalg.cholesky(cov) if correlated else np.diag(np.sqrt(np.diag(cov)))


def _clustered(family: Family, rule: Nodes, count: int, rng: np.random.Generator) -> Array:
    """Starts of a 1-D mixture: the best distinct ends of short runs of EM, from k-means++ and from random points.

    A mixture has many maxima: short runs are cheap enough to try hundreds, of which the best go on. Where a component is too
    many, it sits on some gap between the points, and which gap is best is found for most seeds, not for all.
    """
    k = family.components
    # Each value once: rows that carry a weight, and the same rows written out, begin alike.
    x, place = np.unique(rule.points[:, 0], return_inverse=True)
    weights = np.bincount(place, weights=rule.weights / rule.weights.sum())
    if len(x) > _POINTS:
        x, weights = even_quantiles(x, weights, _POINTS)
    centre = float(weights @ x)
    spread = float(np.sqrt(weights @ (x - centre) ** 2))
    z, half = (x - centre) / spread, _RUNS // 2
    # Random points and widths as well: k-means++ overlooks a component inside another.
    mu = np.concatenate([plus_plus(z, weights, k, half, rng), rng.choice(z, (_RUNS - half, k), p=weights)])
    sigma = np.concatenate([np.full((half, k), 1 / k), np.exp(rng.uniform(np.log(0.05), 0.0, (_RUNS - half, k)))])
    mu = mu + 1e-3 * np.arange(k)  # equal components would be a saddle
    short = short_runs(z, weights, (np.full((_RUNS, k), 1 / k), mu, sigma), steps=_STEPS, floor=_FLOOR)
    # A narrow component on a cluster of points takes longer to show than a wide one.
    w, mu, sigma = (part[_ranked(short)[:_AHEAD]] for part in short[:3])
    longer = short_runs(z, weights, (w, mu, sigma), steps=_MORE, floor=_FLOOR)
    # Short ones as well: where the likelihood is unbounded, all that go on may end on the floor.
    ends = w, mu, sigma, _ = tuple(np.concatenate(parts) for parts in zip(longer, short, strict=True))
    order = np.argsort(mu, axis=1)
    shape = np.concatenate([np.take_along_axis(part, order, axis=1) for part in (w, mu, sigma)], axis=1)
    chosen: list[int] = []
    ranked = _ranked(ends)
    for i in ranked:
        if len(chosen) < count and all(np.abs(shape[i] - shape[j]).max() > 0.1 for j in chosen):
            chosen.append(i)
    chosen = (chosen + [i for i in ranked if i not in chosen])[:count]
    return np.array(
        [
            family.unconstrain(
                {"w": _positive_weights(w[i]), "mu": centre + spread * mu[i], "sigma": spread * sigma[i]}, 1
            )
            for i in chosen
        ]
    )


#: Short runs of EM and their steps; the smallest standard deviation in them, in that of the data; the most points they see.
_RUNS, _STEPS, _FLOOR, _POINTS = 600, 10, 0.03, 1000
#: Of them those that go on, and their further steps.
_AHEAD, _MORE = 60, 60


def _ranked(ends: tuple[Array, ...]) -> list[int]:
    """Places of runs, the best first; those on the floor come last: they lead where the likelihood is unbounded."""
    best = np.argsort(-ends[3])
    floored = ends[2][best].min(axis=1) < 1.001 * _FLOOR
    return [int(i) for i in (*best[~floored], *best[floored])]


def _positive_weights(w: Array) -> Array:
    raised = np.maximum(w, 1e-6)
    return np.asarray(raised / raised.sum())


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
