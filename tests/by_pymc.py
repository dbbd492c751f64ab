"""Log densities of a user's model as PyMC has them, for tests that want a few: Numba's compiler takes ten seconds a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from pymc.blocking import DictToArrayBijection, RaveledVars

from models.targets import Target


def log_densities(target: Target, points: ArrayLike) -> np.ndarray:
    """Log densities (n,) in nats at points (n, d) of unconstrained space, by PyTensor's slow linker."""
    model = target.model()
    logp, names = (
        model.compile_logp(mode="FAST_COMPILE"),
        DictToArrayBijection.map(model.initial_point()).point_map_info,
    )
    return np.array([float(logp(DictToArrayBijection.rmap(RaveledVars(x, names)))) for x in np.asarray(points)])
