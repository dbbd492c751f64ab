"""Per-observation scores: the gradient of log p_theta at each point, in closed form where it is Normal, else by PyTensor."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.families import Family
from models.graphs import Deferred, compiled
from models.graphs.distributions import logp_graph
from models.projections.gaussian import Member, is_gaussian

pytensor = Deferred("pytensor")

__all__ = ["scores"]

Array = NDArray[np.float64]


def scores(x: Array, family: Family, theta: Array) -> Array:
    """Per-observation scores d log p_theta(x_i) / d theta.

    Parameters
    ----------
    x : ndarray (n, d)
    family : Family
    theta : ndarray (P,)
        Unconstrained coordinates.

    Returns
    -------
    ndarray (n, P)
    """
    if is_gaussian(family):
        return Member(family, theta, x).scores
    dim = x.shape[1]
    points = x if family.multivariate else x[:, 0]
    return np.asarray(_score_graph(family, dim)(theta, points))


@cache
def _score_graph(family: Family, dim: int) -> Any:
    def build() -> Any:
        pt = pytensor.tensor
        theta = pt.vector("theta", shape=(family.size(dim),))
        point = pt.vector("point", shape=(dim,)) if family.multivariate else pt.scalar("point")
        points = pt.matrix("points", shape=(None, dim)) if family.multivariate else pt.vector("points")
        gradient: Any = pytensor.grad(logp_graph(family.density, point, family.constrain(theta, dim)), theta)
        return [theta, points], pytensor.graph.replace.vectorize_graph(gradient, {point: points})

    return compiled("scores", (family, dim), build)
