"""ADVI: reverse KL minimised on a PyMC model, by stochastic gradients or on nodes held still, from many explicit starts at once.

`models.advi.diagnostics` says what a fit missed; `models.advi.runs` takes single steps.
"""

from __future__ import annotations

from models.advi.combination import Combination, combine
from models.advi.dadvi import fit_dadvi
from models.advi.fit import fit_advi
from models.advi.members import METHODS, member
from models.advi.response import linear_response, response_sds, response_trusted
from models.advi.starts import PYMC_ADAM, PYMC_DEFAULT, Schedule, Start, default_starts, dispersed_starts, spread
from models.advi.tree import optima

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
    "fit_dadvi",
    "linear_response",
    "member",
    "optima",
    "response_sds",
    "response_trusted",
    "spread",
]
