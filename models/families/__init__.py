"""Families {p_theta}: a PyMC likelihood with flat priors, and the map from unconstrained theta to its parameters."""

from __future__ import annotations

from models.families.catalogue import (
    FAMILIES,
    find_family,
    location_scale,
    mvnormal_mixture,
    normal,
    normal_mixture,
    student_t,
)
from models.families.family import Family, Parameter, Shape

__all__ = [
    "FAMILIES",
    "Family",
    "Parameter",
    "Shape",
    "find_family",
    "location_scale",
    "mvnormal_mixture",
    "normal",
    "normal_mixture",
    "student_t",
]
