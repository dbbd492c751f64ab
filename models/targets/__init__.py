"""Targets: p_data as a PyMC density, as draws, or as the posterior of a PyMC model."""

from __future__ import annotations

from models.targets.target import (
    TARGETS,
    Target,
    check_draws,
    find_target,
    from_distribution,
    from_draws,
    from_model,
    from_spec,
    mvnormal_mixture,
    normal_mixture,
    student_t_mixture,
)

__all__ = [
    "TARGETS",
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
