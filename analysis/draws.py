"""Draws of a few one-dimensional targets by NumPy (many data sets take sixty times as long through PyMC), and what draws tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.targets import Target

__all__ = ["draw", "levels"]


def draw(target: Target, rng: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from a one-dimensional mixture of Normals, a Laplace or a logistic distribution.

    Parameters
    ----------
    target : Target
    rng : numpy.random.Generator
    size : tuple of int

    Returns
    -------
    ndarray
        Of this size.

    Examples
    --------
    >>> from models.targets import TARGETS
    >>> draw(TARGETS["bimodal"], np.random.default_rng(0), (3, 100)).shape
    (3, 100)
    """
    spec = target.spec
    if "distribution" in spec:
        params = spec["params"]
        if spec["distribution"] == "Laplace":
            return rng.laplace(params["mu"], params["b"], size)
        if spec["distribution"] == "Logistic":
            return rng.logistic(params["mu"], params["s"], size)
        raise NotImplementedError(f"no fast draws of {spec['distribution']}; use Target.rvs")
    weights, means, sds = (np.array(spec[key], dtype=float) for key in ("weights", "means", "sds"))
    which = np.searchsorted(np.cumsum(weights)[:-1], rng.random(size), side="right")
    return np.asarray(means[which] + sds[which] * rng.standard_normal(size))


def levels(q: Target) -> list[float]:
    """Density levels whose contours enclose 90% and 50% of the mass, from draws."""
    density = np.exp(q.logp(q.rvs(20_000, seed=0)))
    return [float(np.quantile(density, 1 - mass)) for mass in (0.9, 0.5)]
