"""Reverse KL in more than three dimensions: randomised quasi-Monte Carlo, with its standard error.

Tensor rules end at three dimensions. Here the noise of the Normal is a scrambled Sobol set in several independent
randomisations; the optimum is that of the joint set, and the spread between randomisations is the standard error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.families import Family
from models.projections.objectives import Objective, reverse_objective
from models.projections.optimise import chord
from models.projections.stationary import distinct
from models.quadrature import Estimate, Nodes, gaussian_nodes
from models.targets import Target

__all__ = ["sampled_stationary_points"]

Array = NDArray[np.float64]
_ENOUGH = 5e-4  # nats of standard error


def sampled_stationary_points(
    target: Target, family: Family, starts: Array, seed: int
) -> list[tuple[Array, Objective, Estimate]]:
    """Minima of the reverse KL reached from `starts`, on quasi-Monte Carlo nodes.

    Parameters
    ----------
    target : Target
        With a density.
    family : Family
        ``mvnormal`` or ``mvnormal_diag``.
    starts : ndarray (m, P)
    seed : int
        Of the scrambling.

    Returns
    -------
    list of (ndarray (P,), Objective, Estimate)
        Distinct minima with the objective they belong to and the KL with its standard error.
    """
    rule = gaussian_nodes(target.dim, size=3, seed=seed)
    per = len(rule.points) // rule.replicates
    small = Nodes(rule.points[: 2 * per], np.full(2 * per, 0.5 / per), rule.kind)
    coarse, fine = reverse_objective(family, target, small), reverse_objective(family, target, rule)
    ends = np.array([_minimise(coarse, start, 1e-4) for start in starts])
    unit = np.ones(ends.shape[1])
    found = []
    for end in distinct(ends, unit, 1e-2):
        theta = _minimise(fine, end, 1e-7)
        found.append(chord(fine, theta, coarse))
    return [(t, fine, _fresh_value(target, family, t, seed + 1)) for t in distinct(np.array(found), unit, 1e-5)]


def _fresh_value(target: Target, family: Family, theta: Array, seed: int) -> Estimate:
    """KL on nodes that had no part in choosing theta: the nodes of the search would flatter it."""
    for power in (13, 15, 17):
        rule = gaussian_nodes(target.dim, size=3, seed=seed, power=power)
        per = len(rule.points) // rule.replicates
        parts = []
        for r in range(rule.replicates):
            part = Nodes(rule.points[r * per : (r + 1) * per], np.full(per, 1 / per), rule.kind)
            parts.append(float(reverse_objective(family, target, part).gradient(theta[None])[0][0]))
        error = float(np.std(parts, ddof=1) / np.sqrt(rule.replicates))
        if error < _ENOUGH:
            break
    return Estimate(float(np.mean(parts)), error, "quasi-Monte Carlo")


def _minimise(objective: Objective, start: Array, tolerance: float) -> Array:
    options = {"maxiter": 2000, "maxcor": 30, "gtol": tolerance, "ftol": 1e-15}
    return np.asarray(minimize(objective.value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x)
