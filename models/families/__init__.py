"""Families {p_theta}: a PyMC likelihood with flat priors, and the map from unconstrained theta to its parameters."""

from __future__ import annotations

from models.families.catalogue import (
    FAMILIES,
    beta_binomial,
    binomial,
    find_family,
    location_scale,
    mvnormal_mixture,
    normal,
    normal_mixture,
    student_t,
    zero_inflated_binomial,
)
from models.families.estimates import Points
from models.families.family import Domain, Family, Shape
from models.families.parameter import Limit, Parameter

__all__ = [
    "FAMILIES",
    "Domain",
    "Family",
    "Limit",
    "Parameter",
    "Points",
    "Shape",
    "beta_binomial",
    "binomial",
    "find_family",
    "location_scale",
    "mvnormal_mixture",
    "normal",
    "normal_mixture",
    "student_t",
    "zero_inflated_binomial",
]
