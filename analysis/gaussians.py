"""Members of Normal families by mean and covariance, and which exact optimum a fit is nearest to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.families import FAMILIES
from models.projections import Projection
from models.targets import Target

__all__ = ["gaussian", "moments", "nearest"]

Array = NDArray[np.float64]


def moments(q: Target) -> tuple[Array, Array]:
    """Mean (d,) and standard deviations (d,) of a Normal."""
    assert q.scales, "members of Normal families have one component"
    location, factor = q.scales[0]
    return location, np.sqrt(np.diag(factor @ factor.T))


def nearest(q: Target, exact: Sequence[Projection]) -> int:
    """Index of the exact minimum nearest to a fit: in means, per sd, and in log sds."""
    mean, sd = moments(q)
    distances = []
    for optimum in exact:
        other_mean, other_sd = moments(optimum.member)
        distances.append(float(np.sum(((mean - other_mean) / other_sd) ** 2 + np.log(sd / other_sd) ** 2)))
    return int(np.argmin(distances))


def gaussian(family: str, mean: Array, cov: Array) -> Target:
    """Member of ``normal``, ``mvnormal_diag`` or ``mvnormal`` with mean (d,) and the (diagonal of the) covariance (d, d)."""
    sd = np.sqrt(np.diag(cov))
    params = {
        "normal": {"mu": mean[0], "sigma": sd[0]},
        "mvnormal_diag": {"mu": mean, "sigma": sd},
        "mvnormal": {"mu": mean, "cov": cov},
    }[family]
    return FAMILIES[family].member(params)
