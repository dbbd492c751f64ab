"""Models whose posteriors have several modes, and how a point is told to be of the first of two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis.data.columns import load_column
from models.graphs import Deferred

if TYPE_CHECKING:
    import pymc as pm
else:
    pm = Deferred("pymc")

__all__ = ["CASES", "Case", "durations"]

Array = NDArray[np.float64]


def cauchy_model() -> pm.Model:
    """Location of a Cauchy from four observations in two pairs, the right one closer together."""
    y = np.array([-10.9, -9.1, 9.5, 10.5])
    with pm.Model(model=None) as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Cauchy("y", mu, 1, observed=pm.Data("observed", y))
    return model


def durations() -> Array:
    """Every third duration of an eruption of Old Faithful, in minutes."""
    return load_column("old_faithful_eruptions")[::3]


def faithful_model() -> pm.Model:
    """Two Normals for the durations of eruptions, with exchangeable priors: the labels can be switched."""
    with pm.Model(model=None) as model:
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", 3.5, 1.5, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        weights = pm.math.stack([w, 1 - w])
        pm.NormalMixture("y", w=weights, mu=mu, sigma=sigma, observed=pm.Data("observed", durations()))
    return model


@dataclass(frozen=True)
class Case:
    """A model with a posterior of two modes.

    Attributes
    ----------
    name, title : str
    build : callable
        Returns the PyMC model.
    column : int
        Of the parameter that is reported, in unconstrained space.
    parameter : str
    across : ndarray (d,)
        Points on its positive side, from the origin, belong to the first mode.
    side_name : str
    symmetry : ndarray (d, d), optional
        A linear map of unconstrained space that leaves the posterior as it is and exchanges the modes. Without one the posterior has one
        dimension and is normalised on a grid.
    """

    name: str
    title: str
    build: Callable[[], pm.Model]
    column: int
    parameter: str
    across: Array
    side_name: str
    symmetry: Array | None = None

    def side(self, x: Array) -> NDArray[np.bool_]:
        """Which points (..., d) belong to the first mode."""
        return np.asarray(x @ self.across > 0)

    def share(self, mean: Array, cov: Array) -> float:
        """Mass of N(mean, cov) on the side of the first mode."""
        return float(ndtr(self.across @ mean / np.sqrt(self.across @ cov @ self.across)))


#: The labels switched: the weight, on the scale of log odds, changes sign.
_SWITCH = np.zeros((5, 5))
_SWITCH[0, 0] = -1
_SWITCH[[1, 2, 3, 4], [2, 1, 4, 3]] = 1

CASES = (
    Case("cauchy", "Cauchy location", cauchy_model, 0, "mu", np.ones(1), "mu > 0"),
    Case("faithful", "Old Faithful, two components", faithful_model, 1, "mu[0]", np.array([0.0, -1, 1, 0, 0]),
         "mu[0] < mu[1]", _SWITCH),
)  # fmt: skip
