"""Targets with known densities, and data sets, between whose families the question chooses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.data.columns import load_column
from models.targets import Target, from_distribution, normal_mixture

__all__ = ["DATA", "KNOWN", "PAIR", "SPREAD", "Data", "Known"]

Array = NDArray[np.float64]
#: The two families of the known cases: f and g.
PAIR = ("normal", "laplace")
#: A member's standard deviation divided by its scale parameter.
SPREAD = {"normal": 1.0, "laplace": float(np.sqrt(2))}


@dataclass(frozen=True)
class Known:
    """A symmetric target with a known density, so that both families project onto location 0."""

    name: str
    short: str
    title: str

    @property
    def target(self) -> Target:
        """The density."""
        if self.name == "logistic":
            return from_distribution("Logistic", {"mu": 0.0, "s": np.sqrt(3) / np.pi}, label=self.title)
        return normal_mixture([0.85, 0.15], [0, 0], [0.7, 2], name=self.title)


@dataclass(frozen=True)
class Data:
    """A data set: column, the unit in which it is fitted, and the largest number of components of a mixture."""

    name: str
    title: str
    unit: str
    components: int
    divisor: float = 1.0

    @property
    def values(self) -> Array:
        """Observations (n,)."""
        return load_column(self.name) / self.divisor


KNOWN = (
    Known("logistic", "logistic", "Logistic"),
    Known("contaminated", "contaminated Normal", "0.85 N(0, 0.7²) + 0.15 N(0, 2²)"),
)
DATA = (
    Data("old_faithful_waiting", "Old Faithful, waiting times", "minutes", 4),
    Data("galaxies", "Galaxy velocities", "1000 km/s", 6, 1000.0),
)
