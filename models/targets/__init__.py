"""Targets: p_data as a PyMC density, as draws, or as the posterior of a PyMC model."""

from __future__ import annotations

from models.targets.catalogue import TARGETS, find_target
from models.targets.checks import check_draws
from models.targets.constructors import (
    from_distribution,
    from_draws,
    from_model,
    from_spec,
    mvnormal_mixture,
    normal_mixture,
    student_t_mixture,
)
from models.targets.target import Density, Discrete, Draws, Posterior, Target

__all__ = [
    "TARGETS",
    "Density",
    "Discrete",
    "Draws",
    "Posterior",
    "Target",
    "check_draws",
    "find_target",
    "from_distribution",
    "from_draws",
    "from_model",
    "from_spec",
    "mvnormal_mixture",
    "normal_mixture",
    "student_t_mixture",
]
