"""Targets whose reverse optima are known exactly, and how far a fit is from the nearest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.judged import Normals, beside, labels
from models.advi import METHODS
from models.families import FAMILIES, Family
from models.projections import Projection, minima, reverse_projections
from models.projections.objectives import Objective, reverse_objective
from models.quadrature import gaussian_nodes
from models.results import estimate_variables
from models.targets import TARGETS, Target, normal_mixture

__all__ = ["CASES", "Case", "Truth", "labels_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One target whose reverse optima are known exactly; two-dimensional ones are fitted by mean field."""

    name: str
    short: str
    title: str

    @property
    def target(self) -> Target:
        """The density to approximate."""
        if self.name == "normal":
            return normal_mixture([1.0], [1.0], [2.0], name="normal")
        return TARGETS[self.name]

    @property
    def family(self) -> Family:
        """What it is fitted with."""
        return FAMILIES["normal" if self.target.dim == 1 else METHODS["advi"]]


CASES = (
    Case("bimodal", "two modes", "½ N(−3, 1) + ½ N(3, 1)"),
    Case("normal", "a Normal", "N(1, 2²)"),
    Case("heavy_tailed", "heavy tails", "½ t₄(−4, 1) + ½ t₄(4, 1)"),
    Case("crossed", "crossed planes", "two correlated Normals in the plane, crossed (fitted by mean field)"),
)


@dataclass(frozen=True, eq=False)
class Truth:
    """The exact minima of reverse KL, and how far a fit is from one of them.

    Attributes
    ----------
    minima : sequence of Projection
        From left to right.
    objective : Objective
        Reverse KL over theta = (means, log sds), by quadrature.
    """

    minima: Sequence[Projection]
    objective: Objective

    @classmethod
    def of(cls, case: Case) -> Truth:
        """Find the minima of a case."""
        found = minima(reverse_projections(case.target, case.family))
        rule = gaussian_nodes(case.target.dim, size=513 if case.target.dim == 1 else 65)
        exact = sorted(found, key=lambda p: float(p.theta[0]))
        return cls(exact, reverse_objective(case.family, case.target, rule))

    def values(self, thetas: Array) -> Array:
        """Reverse KL (n,) in nats at thetas (n, P)."""
        return self.objective.gradient(thetas)[0]

    def judge(self, mean: Array, sd: Array) -> xr.Dataset:
        """Put fits with means and sds (n, d) beside the minimum from which each is the fewest nats away: see `beside`."""
        return beside(Normals.by_sd(mean, sd), self.values(np.concatenate([mean, np.log(sd)], axis=1)), self.minima)

    def dataset(self, case: Case) -> xr.Dataset:
        """The minima as stored."""
        return xr.Dataset(
            {
                "mean": (("minimum", "dim"), np.array([p.theta[: case.target.dim] for p in self.minima])),
                "sd": (("minimum", "dim"), np.exp([p.theta[case.target.dim :] for p in self.minima])),
                **estimate_variables("kl", [p.divergence for p in self.minima], "minimum"),
                "label": ("minimum", labels_of(self.minima, case.target)),
            }
        )


def labels_of(exact: Sequence[Projection], target: Target) -> list[str]:
    """Say which modes each minimum covers."""
    return ["the only minimum"] if len(exact) == 1 else labels(exact, target)
