"""Means and sds on the natural scale of parameters, which is where posteriors are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.targets import Posterior, Target

__all__ = ["moments", "parameters"]

Array = NDArray[np.float64]


def moments(target: Posterior, normal: Target, nodes: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Means and sds (p,) of parameters under a Normal of unconstrained space.

    Parameters
    ----------
    target : Posterior
    normal : Target
        A single Normal.
    nodes : ndarray (n, d)
        Of a standard Normal.
    names : sequence of str
        Of parameters, as Stan writes them, by variable and within it in order.
    """
    location, factor = normal.scales[0]
    values = parameters(target, location + nodes @ factor.T, names)
    return values.mean(axis=0), values.std(axis=0)


def parameters(target: Posterior, points: Array, names: Sequence[str]) -> Array:
    """Parameters (n, p) at points (n, d) of unconstrained space."""
    values = target.natural(points)
    variables = dict.fromkeys(name.partition("[")[0] for name in names)
    return np.concatenate([values[name].reshape(len(points), -1) for name in variables], axis=1)
