"""Maximum likelihood and MAP of PyMC models, with two standard errors, scores, and what follows from them."""

from __future__ import annotations

from models.mle.asymptotics import ExcessKL, Sandwich, excess_kl, free_parameters, sandwich
from models.mle.cross_validation import leave_one_out
from models.mle.fit import fit_map, fit_mle
from models.mle.posterior import approximate_posterior
from models.mle.score import scores

__all__ = [
    "ExcessKL",
    "Sandwich",
    "approximate_posterior",
    "excess_kl",
    "fit_map",
    "fit_mle",
    "free_parameters",
    "leave_one_out",
    "sandwich",
    "scores",
]
