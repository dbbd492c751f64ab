"""Expectation-maximisation of one-dimensional Normal mixtures, many runs at once: where a search for maxima starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["plus_plus", "short_runs"]

Array = NDArray[np.float64]


def plus_plus(x: Array, weights: Array, k: int, runs: int, rng: np.random.Generator) -> Array:
    """Centres of `runs` k-means++ seedings at once.

    Parameters
    ----------
    x, weights : ndarray (n,)
        Points, and weights that sum to 1.
    k, runs : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (runs, k)

    Notes
    -----
    Arthur and Vassilvitskii (2007): each next centre is a point, drawn in proportion to its squared distance from the
    nearest centre so far.
    """
    centres = np.empty((runs, k))
    centres[:, 0] = x[rng.choice(len(x), runs, p=weights)]
    distance = (x - centres[:, :1]) ** 2
    for j in range(1, k):
        cumulative = np.cumsum(weights * distance, axis=1)
        levels = rng.uniform(size=(runs, 1)) * cumulative[:, -1:]
        chosen = np.minimum((cumulative < levels).sum(axis=1), len(x) - 1)
        centres[:, j] = x[chosen]
        distance = np.minimum(distance, (x - centres[:, j : j + 1]) ** 2)
    return centres


def short_runs(
    x: Array, weights: Array, start: tuple[Array, Array, Array], *, steps: int, floor: float
) -> tuple[Array, Array, Array, Array]:
    """A few steps of expectation-maximisation from many starts.

    Parameters
    ----------
    x, weights : ndarray (n,)
        Points, and weights that sum to 1.
    start : tuple of ndarray (runs, k)
        Weights, means and standard deviations of the components.
    steps : int
    floor : float
        Standard deviations are kept above it: a component on one point has unbounded likelihood.

    Returns
    -------
    w, mu, sigma : ndarray (runs, k)
    value : ndarray (runs,)
        Mean log likelihood (nats) at the parameters before the last step.

    Notes
    -----
    Dempster, Laird and Rubin (1977). Biernacki, Celeux and Govaert (2003) compare short runs before long ones.

    Examples
    --------
    >>> x = np.array([-1.0, -1.2, 0.9, 1.1, 1.0])
    >>> w, mu, sigma, value = short_runs(
    ...     x, np.full(5, 0.2), (np.array([[0.5, 0.5]]), np.array([[-1.0, 1.0]]), np.ones((1, 2))), steps=30, floor=0.05
    ... )
    >>> mu.round(3)
    array([[-1.1,  1. ]])
    """
    w, mu, sigma = (np.asarray(part, dtype=float)[:, :, None] for part in start)
    value = np.full(len(w), -np.inf)
    for _ in range(steps):
        z = (x - mu) / sigma
        joint = np.exp(-0.5 * z * z) * (w / sigma)
        total = joint.sum(axis=1, keepdims=True)
        np.maximum(total, np.finfo(float).tiny, out=total)
        value = np.log(total[:, 0]) @ weights - 0.5 * np.log(2 * np.pi)
        share = joint * (weights / total)
        count = np.maximum(share.sum(axis=2, keepdims=True), 1e-300)
        mu = (share @ x)[:, :, None] / count
        spread = (share * (x - mu) ** 2).sum(axis=2, keepdims=True) / count
        sigma = np.sqrt(np.maximum(spread, floor**2))
        w = count / count.sum(axis=1, keepdims=True)
    return w[..., 0], mu[..., 0], sigma[..., 0], value
