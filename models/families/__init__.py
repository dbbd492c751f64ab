"""Families {p_theta}: a PyMC likelihood with flat priors, and the map from unconstrained theta to its parameters."""

from __future__ import annotations

from models.families.family import (
    FAMILIES,
    Family,
    Parameter,
    find_family,
    mvnormal_mixture,
    normal,
    normal_mixture,
    student_t,
)

__all__ = [
    "FAMILIES",
    "Family",
    "Parameter",
    "find_family",
    "mvnormal_mixture",
    "normal",
    "normal_mixture",
    "student_t",
]
