"""Exact optima in every direction: all stationary points of a divergence over a family, classified and counted.

What they are made of has modules of its own: `models.projections.objectives` (both objectives as graphs),
`models.projections.exact` (divergences by quadrature), `models.projections.stationary` and `models.projections.optimise` (searches), and
`models.projections.continuation` (optima as functions of a parameter).
"""

from __future__ import annotations

from models.projections.directions import (
    alpha_projections,
    forward_projection,
    forward_projections,
    reverse_projections,
    stationary_points,
)
from models.projections.optima import Projection, Status, minima

__all__ = [
    "Projection",
    "Status",
    "alpha_projections",
    "forward_projection",
    "forward_projections",
    "minima",
    "reverse_projections",
    "stationary_points",
]
