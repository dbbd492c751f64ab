"""ADVI: reverse KL minimised by stochastic gradients on a PyMC model, from many explicit starts at once.

`models.advi.diagnostics` says what a fit missed; `models.advi.runs` takes single steps.
"""

from __future__ import annotations

from models.advi.combination import Combination, combine
from models.advi.fit import fit_advi
from models.advi.starts import PYMC_ADAM, PYMC_DEFAULT, Schedule, Start, default_starts, dispersed_starts, spread
from models.advi.tree import METHODS, optima

__all__ = [
    "METHODS",
    "PYMC_ADAM",
    "PYMC_DEFAULT",
    "Combination",
    "Schedule",
    "Start",
    "combine",
    "default_starts",
    "dispersed_starts",
    "fit_advi",
    "optima",
    "spread",
]
