"""Targets outside their family, and maximum likelihood on many data sets of one at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.draws import draw
from models.families import Family
from models.mle import scores
from models.projections import Projection
from models.projections.objectives import (
    Objective,
    Scalar,
    bind,
    differentiate,
    forward_graph,
    forward_objective,
    portions,
    summed,
)
from models.quadrature import nodes
from models.targets import TARGETS, Target, from_distribution
from models.targets import normal_mixture as mixture_target

__all__ = ["CASES", "CHUNK", "Case", "Fits", "excess", "fit_many", "fit_normals", "fit_rows"]

Array = NDArray[np.float64]
#: Observations fitted at once: more do not fit the processor's cache.
CHUNK = 200_000
_STEPS = 40
_GRADIENT = 1e-9


@dataclass(frozen=True)
class Case:
    """A target outside a family."""

    name: str
    short: str
    title: str
    family: str

    @property
    def target(self) -> Target:
        """The density that the family does not contain."""
        return _target(self.name)


@cache
def _target(name: str) -> Target:
    if name == "outliers":
        return mixture_target([0.9, 0.1], [0, 0], [1, 5], name=name)
    return from_distribution("Laplace", {"mu": 0, "b": 1}, label=name) if name == "laplace" else TARGETS[name]


CASES = (
    Case("bimodal", "two modes, Normal", "½ N(±3, 1) onto the Normal", "normal"),
    Case("laplace", "Laplace, Normal", "Laplace(0, 1) onto the Normal", "normal"),
    Case("outliers", "outliers, Student-t", "0.9 N(0, 1) + 0.1 N(0, 25) onto the Student-t", "student_t"),
)


@dataclass(frozen=True, eq=False)
class Fits:
    """Maximum likelihood on B data sets, in natural parameters.

    Attributes
    ----------
    estimate : ndarray (B, P)
        ``inf`` for a parameter whose growth raises the likelihood without end, beside the limits of the others; all ``nan``
        where there is no maximum near the projection either.
    optimism : ndarray (B,)
        Mean negative log likelihood at the estimate minus that at the projection, on the same draws; in nats.
    se_hessian, se_sandwich : ndarray (B, P)
        ``nan`` where there is no interior maximum.
    """

    estimate: Array
    optimism: Array
    se_hessian: Array
    se_sandwich: Array


def fit_normals(x: Array, mu: float, sigma: float) -> Fits:
    """Maximum likelihood of the Normal on each row of x (B, n), in closed form; (mu, sigma) is the projection."""
    n = x.shape[1]
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    squares = centred**2
    variance = squares.mean(axis=1)
    sd = np.sqrt(variance)
    kurtosis = (squares**2).mean(axis=1) / variance**2
    here = np.log(sd) + 0.5
    best = np.log(sigma) + (variance + (mean - mu) ** 2) / (2 * sigma**2)
    hessian = np.stack([sd, sd / np.sqrt(2)], axis=1)
    robust = np.stack([sd, sd * np.sqrt(kurtosis - 1) / 2], axis=1)
    return Fits(np.stack([mean, sd], axis=1), here - best, hessian / np.sqrt(n), robust / np.sqrt(n))


@cache
def _batch_functions(family: Family) -> tuple[Any, Any]:
    def build() -> Scalar:
        theta, weights, points, value = forward_graph(family, 1)
        return theta, value, [points, weights], [points]

    return differentiate("cross-entropy of rows", family, build, batched=True, each=1)


def fit_rows(family: Family, x: Array, start: Array, *, intervals: bool) -> Fits:
    """Maximum likelihood on each row of x (B, n) by Newton's method on PyMC's own density, from theta `start` (P,).

    Standard errors cost as much again, and are ``nan`` unless asked for.
    """
    n = x.shape[1]
    theta, optimism, gradient, hessian = _newton(family, x, np.tile(start, (len(x), 1)))
    good = (np.linalg.norm(gradient, axis=1) < _GRADIENT) & (np.linalg.eigvalsh(hessian)[:, 0] > 0)
    positive = np.array([p.support == "positive" for p in family.parameters])
    natural = np.where(positive, np.exp(theta), theta)
    slope = np.where(positive, natural, 1.0)
    errors = np.full((2, *theta.shape), np.nan)
    if intervals:
        for i in np.flatnonzero(good):
            bread = np.linalg.inv(hessian[i])
            s = scores(x[i][:, None], family, theta[i])
            errors[0, i] = np.sqrt(np.diag(bread) / n)
            errors[1, i] = np.sqrt(np.diag(bread @ (s.T @ s / n) @ bread) / n)
    for i in np.flatnonzero(~good):
        limit = family.at_boundary(theta[i], 1)
        if limit is None or not limit.endswith("> infinity"):
            natural[i], optimism[i] = np.nan, np.nan
        else:
            natural[i, [p.name for p in family.parameters].index(limit.split()[0])] = np.inf
    return Fits(natural, optimism, errors[0] * slope, errors[1] * slope)


def _on_rows(family: Family, x: Array) -> Objective:
    """Mean negative log likelihood of as many thetas as there are data sets, each on its own row of x (B, n)."""
    functions, weights = _batch_functions(family), np.full(x.shape[1], 1 / x.shape[1])
    return summed([bind(functions, x[:, part], weights[part]) for part in portions(x.shape[1])])


def _newton(family: Family, x: Array, theta: Array) -> tuple[Array, Array, Array, Array]:
    """Newton's method on each row: downhill where the Hessian is not positive definite, in steps of at most 1.

    Returns
    -------
    theta, change, gradient, hessian : ndarray (B, P), (B,), (B, P), (B, P, P)
        Where each row stopped, and by how much the value changed on the way; it has converged if the gradient says so.
    """
    theta = theta.copy()
    first, gradient, hessian = _on_rows(family, x).hessian(theta)
    value = first.copy()
    for _ in range(_STEPS):
        going = np.linalg.norm(gradient, axis=1) >= _GRADIENT
        going &= np.isfinite(hessian).all(axis=(1, 2))
        if not going.any():
            break
        values, vectors = np.linalg.eigh(hessian[going])
        along = np.einsum("bji,bj->bi", vectors, gradient[going]) / np.maximum(np.abs(values), 1e-6)
        step = np.einsum("bij,bj->bi", vectors, along)
        theta[going] -= step / np.maximum(1.0, np.linalg.norm(step, axis=1, keepdims=True))
        value[going], gradient[going], hessian[going] = _on_rows(family, x[going]).hessian(theta[going])
    return theta, value - first, gradient, hessian


def fit_many(case: Case, best: Projection, rng: np.random.Generator, n: int, count: int, *, intervals: bool) -> Fits:
    """Draw `count` data sets of size n and fit each, in parts that fit into memory."""
    rows = max(1, CHUNK // n)
    parts = []
    for begin in range(0, count, rows):
        x = draw(case.target, rng, (min(rows, count - begin), n))
        if case.family == "normal":
            parts.append(fit_normals(x, float(best.params["mu"]), float(best.params["sigma"])))
        else:
            parts.append(fit_rows(best.family, x, best.theta, intervals=intervals))
    return Fits(*(np.concatenate([getattr(p, name) for p in parts]) for name in Fits.__dataclass_fields__))


def excess(target: Target, best: Projection, estimates: Array) -> Array:
    """KL(p_data||member) - KL(p_data||projection) of members (B, P) in natural parameters, by quadrature.

    Infinite degrees of freedom are taken as a million.
    """
    family = best.family
    objective = forward_objective(family, nodes(target, others=[best.member]))
    positive = np.array([p.support == "positive" for p in family.parameters])
    with np.errstate(invalid="ignore"):
        thetas = np.where(positive, np.log(np.where(positive, np.minimum(estimates, 1e6), 1.0)), estimates)
    return objective.gradient(thetas)[0] - objective.gradient(best.theta[None])[0][0]
