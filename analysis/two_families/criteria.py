"""Criteria of choice between the Normal and the Laplace family: maximum likelihood and posteriors of many data sets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import arviz as az
import numpy as np
from arviz_stats.utils import ELPDData
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.two_families.targets import PAIR
from models.families import FAMILIES
from models.graphs import compiled
from models.graphs.distributions import logp_graph

__all__ = [
    "compare", "criteria", "estimates", "estimates_without", "log_density", "optimism", "posterior", "smoothed_elpd",
]  # fmt: skip

Array = NDArray[np.float64]


@cache
def _density(name: str) -> Callable[..., Any]:
    """PyMC's log density of a family over vectors of points, locations and scales."""

    def build() -> Any:
        import pytensor.tensor as pt
        from pytensor.graph.replace import vectorize_graph

        one = [pt.scalar(label) for label in ("point", "location", "scale")]
        many = [pt.vector(f"{label}s") for label in ("point", "location", "scale")]
        graph = logp_graph(name, one[0], {"mu": one[1], str(FAMILIES[name].scale): one[2]})
        return many, vectorize_graph(graph, dict(zip(one, many, strict=True)))

    return compiled("log density of a location-scale family", name, build)


def log_density(name: str, x: Array, location: Array, scale: Array) -> Array:
    """Log density in nats of members of a family of `PAIR`; the arguments are broadcast together."""
    arrays = np.broadcast_arrays(np.asarray(x, dtype=float), location, scale)
    return np.asarray(_density(name)(*(a.ravel() for a in arrays))).reshape(arrays[0].shape)


def estimates(name: str, x: Array) -> tuple[Array, Array]:
    """Maximum likelihood location and scale (r, 1) for each row of `x` (r, n): closed forms."""
    if name == "normal":
        return x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    location = np.median(x, axis=1, keepdims=True)
    return location, np.abs(x - location).mean(axis=1, keepdims=True)


def estimates_without(name: str, x: Array) -> tuple[Array, Array]:
    """Estimates (r, n) without each observation in turn, for sorted rows of an even number n: exact, no refits.

    The median of the n - 1 others is the upper of the two middle values if an observation up to the lower one is left out,
    else the lower; the sum of distances from either is the same.
    """
    n = x.shape[1]
    if name == "normal":
        from_mean = x - x.mean(axis=1, keepdims=True)
        squares = (from_mean**2).sum(axis=1, keepdims=True) - from_mean**2 * n / (n - 1)
        return x - from_mean * n / (n - 1), np.sqrt(squares / (n - 1))
    lower, upper = x[:, n // 2 - 1 : n // 2], x[:, n // 2 : n // 2 + 1]
    location = np.where(np.arange(n) < n // 2, upper, lower)
    distances = np.abs(x - lower).sum(axis=1, keepdims=True)
    return location, (distances - np.abs(x - location)) / (n - 1)


def optimism(name: str, x: Array) -> Array:
    """Estimate of tr(J^-1 K) for each row of `x` (r, n): by how many nats the maximum likelihood is too high.

    For the Laplace the density of p_data at the median is needed, and estimated by a Gaussian kernel with Scott's width.
    """
    location, scale = estimates(name, x)
    z = (x - location) / scale
    if name == "normal":
        return np.asarray((1 + (z**4).mean(axis=1)) / 2)
    width = x.std(axis=1, ddof=1, keepdims=True) * x.shape[1] ** -0.2
    at_median = norm.pdf((x - location) / width).mean(axis=1) / width[:, 0]
    return np.asarray(1 / (2 * scale[:, 0] * at_median) + np.abs(z).var(axis=1))


def criteria(x: Array) -> dict[str, Array]:
    """Differences f - g for sorted rows of `x` (r, n), in nats over all n observations.

    Returns
    -------
    dict of str to ndarray (r,)
        ``in_sample`` (the maximised log likelihoods), ``tic`` (each less its estimated optimism), ``loo`` (leave-one-out with
        exact refits) and ``dse``, the standard error of the latter: sqrt(n var(pointwise differences)), as in ArviZ.
    """
    inside = {f: log_density(f, x, *estimates(f, x)).sum(axis=1) for f in PAIR}
    outside = [log_density(f, x, *estimates_without(f, x)) for f in PAIR]
    pointwise = outside[0] - outside[1]
    raw = inside[PAIR[0]] - inside[PAIR[1]]
    return {
        "in_sample": raw,
        "tic": raw - optimism(PAIR[0], x) + optimism(PAIR[1], x),
        "loo": pointwise.sum(axis=1),
        "dse": np.sqrt(x.shape[1] * pointwise.var(axis=1)),
    }


def posterior(name: str, x: Array, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Independent draws of location and scale from the posterior under priors flat in location and log scale.

    For the Normal by its closed form. For the Laplace the scale given the location is inverse gamma, and the location alone
    has density proportional to (sum of |x - location|)^-n, drawn by inverting its distribution function on a grid.
    """
    n = len(x)
    if name == "normal":
        sigma = np.sqrt(n * x.var() / rng.chisquare(n - 1, draws))
        return x.mean() + sigma * rng.standard_normal(draws) / np.sqrt(n), sigma
    centre, b = (float(part[0, 0]) for part in estimates(name, x[None]))
    grid = centre + np.linspace(-12, 12, 4001) * b / np.sqrt(n)
    log_sum = np.log(np.abs(x[:, None] - grid).sum(axis=0))
    density = np.exp(-n * (log_sum - log_sum.min()))
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    location = np.interp(rng.random(draws) * cumulative[-1], cumulative, grid)
    return location, np.abs(x[:, None] - location).sum(axis=0) / rng.gamma(n, size=draws)


def smoothed_elpd(x: Array, draws: int, rng: np.random.Generator) -> dict[str, ELPDData]:
    """``az.loo`` of the two families on data (n,): leave-one-out by Pareto-smoothed importance sampling of draws."""
    models = {}
    for name in PAIR:
        location, scale = posterior(name, x, draws, rng)
        fold = {"mu": location.reshape(4, -1), "scale": scale.reshape(4, -1)}
        likelihood = log_density(name, x, fold["mu"][..., None], fold["scale"][..., None])
        tree = az.from_dict({"posterior": fold, "log_likelihood": {"x": likelihood}})
        with warnings.catch_warnings():  # Pareto k is reported
            warnings.filterwarnings("ignore", message="Estimated shape parameter", category=UserWarning)
            models[name] = az.loo(tree, pointwise=True, reff=1.0)  # the draws are independent
    return models


def compare(models: dict[str, ELPDData]) -> tuple[float, float, float]:
    """``az.compare`` of the two families: ``elpd_diff`` f - g, ``dse``, and the largest Pareto k."""
    table = az.compare(models, reference=PAIR[1], round_to="none")
    worst = max(float(m.pareto_k.max()) for m in models.values())
    return float(table.loc[PAIR[0], "elpd_diff"]), float(table.loc[PAIR[0], "dse"]), worst
