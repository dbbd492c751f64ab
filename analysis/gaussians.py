"""Members of Normal families by mean and covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.families import FAMILIES
from models.targets import Target

__all__ = ["gaussian"]

Array = NDArray[np.float64]


def gaussian(family: str, mean: Array, cov: Array) -> Target:
    """Member of ``normal``, ``mvnormal_diag`` or ``mvnormal`` with mean (d,) and the (diagonal of the) covariance (d, d)."""
    sd = np.sqrt(np.diag(cov))
    params = {
        "normal": {"mu": mean[0], "sigma": sd[0]},
        "mvnormal_diag": {"mu": mean, "sigma": sd},
        "mvnormal": {"mu": mean, "cov": cov},
    }[family]
    return FAMILIES[family].member(params)
