"""What draws alone can say: entropy of p_data and KL(p_data||p_theta), each with an interval, and differences of KL."""

from __future__ import annotations

from models.mle import leave_one_out
from models.unknown.from_draws import cross_entropy_from_draws, entropy_from_draws, kl_difference, kl_from_draws
from models.unknown.intervals import Interval
from models.unknown.neighbours import default_neighbours
from models.unknown.rounding import rounding_unit

__all__ = [
    "Interval",
    "cross_entropy_from_draws",
    "default_neighbours",
    "entropy_from_draws",
    "kl_difference",
    "kl_from_draws",
    "leave_one_out",
    "rounding_unit",
]
