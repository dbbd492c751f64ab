"""Maximum likelihood and MAP of PyMC models: many starts, a Newton polish, and two standard errors.

A million observations are no other problem than a hundred: starts are compared on a summary of the data, and the sums
over all observations are taken in batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import gaussian_kde

from models.errors import ConvergenceError, InputError
from models.families import Family
from models.graphs import Deferred, numpy_mode, single_threaded
from models.mle.likelihood import (
    FIND_MAP,
    Sample,
    advice,
    check_count,
    check_data,
    check_family,
    check_weights,
    is_condensed,
    unbounded,
)
from models.mle.score import scores
from models.projections.maximum import Maximum, highest, polished_minimum
from models.projections.objectives import Objective, forward_objective, natural_values
from models.projections.units import condensed, merged, standardise
from models.quadrature import Nodes
from models.results import draws_of, fit_dataset, flatten
from models.targets import check_draws

if TYPE_CHECKING:
    from models.mle.priors import Prior

pm = Deferred("pymc")

__all__ = ["fit_map", "fit_mle", "scores"]

Array = NDArray[np.float64]


def fit_mle(
    x: ArrayLike, family: Family, *, starts: int = 8, seed: int = 0, draws: int = 2000, weights: ArrayLike | None = None
) -> xr.DataTree:
    """Maximum likelihood estimate of a family: forward KL with draws of p_data as nodes.

    Every start descends on the log likelihood of the family's PyMC model, and the best end is polished by Newton's method.
    ``pm.find_MAP`` on ``family.model(x)``, whose priors are flat, ends there (no Jacobian enters, so the MAP is the MLE; a
    test runs it), but compiles a graph for each data set first: with priors `fit_map` hands it the best end.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Observations; finite, at least two distinct. Booleans, text, dates, complex and masked entries are refused.
    family : Family
    starts : int
        Number of starts for mixtures, whose likelihood has several maxima: the best ends of 600 short runs of
        expectation-maximisation (Biernacki, Celeux and Govaert, 2003).
    seed : int
        Seed of the random starts and of the draws of the fitted member.
    draws : int
        Draws of the fitted member to keep under ``posterior``; at least 1.
    weights : array_like (n,), optional
        Non-negative weight of each observation in the log likelihood, such as a count or an inverse sampling probability.

    Returns
    -------
    xarray.DataTree
        ``fit``: the parameters as variables (natural scale), ``log_likelihood`` (total, nats), ``cross_entropy``
        (-log likelihood / n), ``se_hessian`` and ``se_sandwich`` over ``parameter``, ``gradient_norm``, ``status``,
        ``starts_reached`` (how many starts ended there) and ``starts_degenerate`` (how many ran into a component that collapses
        on single observations, or a Student-t or Cauchy that does, where the likelihood is unbounded: no estimate); ``status`` is ``converged``, or names the
        parameter that runs to its boundary and then has no standard error (nu of a Student-t, alpha of a skew normal, whose
        limit is the half-normal, sigma of an ex-Gaussian, whose limit is an exponential). Mixture components are in the order of their means. ``gradient_norm`` is that of the mean
        log likelihood in the unconstrained coordinates of the standardised data.
        ``posterior``: draws of the fitted member as ``x``; ``observed_data``: the data as ``x``.

    Raises
    ------
    InputError
        If the data cannot be used, are fewer than the parameters (rows of weight zero do not count), lie outside the support
        of the family or in fewer dimensions, or have fewer distinct values than the mixture has components; if the dimensions
        differ, a weight is negative, or `family`, `starts`, `seed` or `draws` is none of its kind.
    ConvergenceError
        If no start reaches a maximum in the interior, or the parameters are not identified there.

    Notes
    -----
    Standard errors: from the inverse Hessian J^-1/n, right if the family contains p_data, and from the sandwich
    J^-1 K J^-1/n, right also if it does not (White, 1982, theorem 3.2), carried to natural parameters by the delta
    method. For the location of a Laplace the first is that of the information 1/b^2 and the second needs the density of p_data
    at the median, estimated by a kernel; its likelihood has no second derivative there.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> fit = fit_mle([1.0, 2.0, 3.0, 6.0], FAMILIES["normal"])["fit"]
    >>> float(fit["mu"]), round(float(fit["sigma"]) ** 2, 9)
    (3.0, 3.5)
    """
    return _fit(x, family, None, starts, seed, draws, weights)


def fit_map(
    x: ArrayLike,
    family: Family,
    *,
    priors: Mapping[str, Any],
    starts: int = 8,
    seed: int = 0,
    draws: int = 2000,
    weights: ArrayLike | None = None,
) -> xr.DataTree:
    """Maximum a posteriori estimate of a family under given priors.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
    family : Family
    priors : mapping of str to PyMC distribution
        For example ``{"mu": pm.Normal.dist(0, 10)}``; flat for parameters not named. A scalar prior holds for every entry of a
        vector alike. A covariance takes no prior here. Proper priors may stand in for observations: the data may be fewer
        than the parameters by as many as have one.
    starts, seed, draws, weights
        As for `fit_mle`.

    Returns
    -------
    xarray.DataTree
        As `fit_mle`; ``fit`` also holds ``log_prior``. The density is that of the natural parameters (PyMC's find_MAP
        leaves the Jacobian of its transforms out). Where the density is highest at an end of the support of a prior,
        ``status`` says ``boundary`` and names it, and that parameter has no standard error.

    Raises
    ------
    InputError, ConvergenceError
        As `fit_mle`; also for a prior on an unknown parameter or on a covariance, or one that is no continuous PyMC
        distribution with numbers as parameters, has another shape, or no finite density where the parameter may be.

    Examples
    --------
    >>> import pymc as pm
    >>> from models.families import normal
    >>> fit = fit_map([1.0, 2.0, 3.0, 6.0], normal(sigma=1.0), priors={"mu": pm.Normal.dist(0, 1)})["fit"]
    >>> round(float(fit["mu"]), 9)
    2.4
    """
    return _fit(x, family, priors, starts, seed, draws, weights)


@single_threaded
def _fit(
    x: ArrayLike,
    family: Family,
    priors: Mapping[str, Any] | None,
    starts: int,
    seed: int,
    draws: int,
    weights: ArrayLike | None,
) -> xr.DataTree:
    check_family(family)
    for name, value, least in (("starts", starts, 1), ("seed", seed, 0), ("draws", draws, 1)):
        check_count(name, value, least)
    data = check_draws(x)
    family.check_dim(data.shape[1], "the data")
    family.check_support(data)
    family = family.resolved(data)
    checked = _checked_priors(family, data.shape[1], priors)
    share = check_weights(weights, len(data))
    used = data if share.all() else check_draws(data[share > 0])
    if priors is not None and not family.smooth:
        raise InputError(f"family {family.name!r} has a kink at its location; fit_map takes smooth families only")
    check_data(used, family, checked)
    # Where moments are sufficient, three nodes carry all that a million observations say.
    short = is_condensed(family, len(used), weights) and not checked
    if short:
        units, rule = condensed(used, family)
    else:
        given = share[share > 0]
        portion = given / given.sum()
        units, z = standardise(used, portion, family, whiten=not checked)
        rule = Nodes(z, portion, "draws")
        if weights is None and not checked:
            rule = merged(rule, family)
    sample = Sample(data, family, units, rule, share, checked, "MAP" if priors is not None else "maximum likelihood")
    problem = sample.problem
    found = highest(problem, starts, seed)
    if not found.ends:
        named = "; ".join(map(str, checked.values())) or "the data"
        raise InputError(f"no start has a finite posterior density; the priors exclude what the data suggest ({named})")
    if not found.reached:
        raise ConvergenceError(unbounded(sample, found.ends))
    if not family.smooth:
        return _kinked_tree(sample, found.theta, seed, draws)
    objective, theta = problem.objective(rule), found.theta
    if checked and len(used) <= FIND_MAP and not found.held.any():
        theta = _find_map(sample, theta)
    if family.closed is None or checked:
        polished = polished_minimum(objective, theta, found.held, problem.lengths)
        if polished is None:
            raise ConvergenceError(
                f"{sample.method} of {family.name} on {len(data)} observations reached no interior maximum from {found.ends} "
                f"start(s); {advice(sample)}"
            )
        theta = polished
    return _tree(sample, objective, replace(found, theta=theta), seed, draws)


def _checked_priors(family: Family, dim: int, priors: Mapping[str, Any] | None) -> Mapping[str, Prior]:
    if not priors:
        return {}
    from models.mle.priors import check_priors

    return check_priors(family, dim, priors)


def _find_map(sample: Sample, start: Array) -> Array:
    """PyMC's MAP from one start, as unconstrained theta; the start itself where PyMC cannot begin there."""
    family, dim = sample.units.family, sample.dim
    values, _ = natural_values(family, start)
    names = {p.name: f"{p.name}_cholesky" if p.support == "covariance" else p.name for p in family.parameters}
    parts = {p.name: start[part] for p, part in family.slices(dim)}
    initial = {names[p.name]: parts[p.name] if p.support == "covariance" else values[p.name] for p in family.parameters}
    # L-BFGS-B tries steps that overflow and takes shorter ones; whether it arrived is judged by Newton, not by its flag.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The optimizer did not converge", category=UserWarning)
        try:
            point = pm.find_MAP(
                model=sample.model(),
                initvals=initial,
                jitter=False,
                progressbar=False,
                return_inferencedata=True,
                idata_kwargs={"include_transformed": False},
                compile_kwargs={"mode": numpy_mode()},
            )["posterior"]
        except pm.exceptions.SamplingError:  # values that it cannot evaluate: Newton goes on from here
            return start
    found = {p.name: point[names[p.name]].to_numpy()[0, 0] for p in family.parameters}
    return np.concatenate(
        [
            np.ravel(found[p.name] if p.support == "covariance" else p.unconstrain(found[p.name], dim))
            for p in family.parameters
        ]
    )


def _tree(sample: Sample, objective: Objective, found: Maximum, seed: int, draws: int) -> xr.DataTree:
    theta = found.theta
    family, units, total, n = sample.family, sample.units, sample.total, len(sample.data)
    params, jacobians = units.natural(*natural_values(units.family, theta))
    if family.components > 1:
        order = np.argsort(params["mu"].reshape(family.components, -1)[:, 0])
        params = {k: v[order] for k, v in params.items()}
        jacobians = {k: v[order] for k, v in jacobians.items()}
    _, gradient, hessian = objective.hessian(theta[None])
    free = ~found.held
    diagonal = np.sqrt(np.maximum(np.diag(hessian[0]), 1.0))
    curvature = np.linalg.eigvalsh((hessian[0] / np.outer(diagonal, diagonal))[np.ix_(free, free)])
    if free.any() and curvature[0] < 1e-11 * curvature[-1]:
        raise ConvergenceError(
            f"the parameters of {family.name} are not identified by these {n} observations: the log likelihood is flat in one "
            f"direction at its maximum (eigenvalues {curvature[0]:.1e} and {curvature[-1]:.1e}); use a simpler family or priors"
        )
    bread = np.zeros_like(hessian[0])
    bread[np.ix_(free, free)] = np.linalg.inv(hessian[0][np.ix_(free, free)])
    # The sandwich does not change when all weights are multiplied: they enter as parts of their sum.
    delta = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
    errors = {
        "se_hessian": _standard_errors(delta, bread) / np.sqrt(total),
        "se_sandwich": _standard_errors(delta, bread @ _meat(sample, theta) @ bread),
    }
    # At a boundary the likelihood is no quadratic, and neither standard error means anything.
    if found.unknown.any():
        size = np.abs(delta).max(axis=1, initial=0.0)
        unknown = np.abs(delta[:, found.unknown]).max(axis=1) > 1e-9 * size
        errors = {name: np.where(unknown, np.nan, values) for name, values in errors.items()}
    standardised = float(forward_objective(units.family, sample.rule).gradient(theta[None])[0][0])
    portion = sample.rule.weights
    cross = standardised + float(portion @ units.log_volumes(sample.rule.points)) / float(portion.sum())
    limit = "; ".join(filter(None, (found.limit, _edge_text(sample, found.edge))))
    scalars: dict[str, Any] = {
        "log_likelihood": -total * cross,
        "cross_entropy": cross,
        "n": n,
        "gradient_norm": float(np.linalg.norm(gradient[0][free])),
        "status": f"boundary: {limit}" if limit else "converged",
        "starts_reached": found.reached,
        "starts_degenerate": found.degenerate,
    }
    if sample.priors:
        scalars["log_prior"] = total * (standardised - float(objective.gradient(theta[None])[0][0]))
    return _assembled(sample, params, scalars, errors, seed, draws)


def _assembled(
    sample: Sample, params: dict[str, Array], scalars: dict[str, Any], errors: dict[str, Array], seed: int, draws: int
) -> xr.DataTree:
    data, family, dim = sample.data, sample.family, sample.dim
    for name, side in family.edges:  # an observation, not rounded
        params[name] = np.asarray(data[sample.share > 0].min() if side == "low" else data[sample.share > 0].max())
    member = family.member(params)
    groups: dict[str, Any] = draws_of(member, draws, seed, log_q=member)
    scalars = {name: value for name, value in scalars.items() if name not in params}  # n may be a parameter
    groups["fit"] = fit_dataset(params, scalars, errors).assign_attrs(family=family.name)
    groups["observed_data"] = xr.Dataset(
        {"x": (("observation", "dim")[: 1 if dim == 1 else 2], data[:, 0] if dim == 1 else data)}
    )
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"family": family.name, "method": sample.method, "seed": seed}
    assert list(tree["fit"]["parameter"].to_numpy()) == flatten(params)[0]
    return tree


def _edge_text(sample: Sample, edge: NDArray[np.bool_]) -> str | None:
    """Name the priors at an end of whose support the coordinates in `edge` (P,) are; ``None`` if there are none."""
    names = [p.name for p, part in sample.units.family.slices(sample.dim) if edge[part].any()]
    return "; ".join(f"{name} at an end of {sample.priors[name]}" for name in names) or None


def _standard_errors(delta: Array, covariance: Array) -> Array:
    size = np.maximum(np.abs(delta).max(axis=1, keepdims=True), np.finfo(float).tiny)  # squares of units may overflow
    unit = delta / size
    return np.asarray(size[:, 0] * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", unit, covariance, unit), 0.0)))


def _meat(sample: Sample, theta: Array) -> Array:
    """Covariance of the mean score, in batches: for a million there is no room for the scores of all at once."""
    rule, family = sample.rule, sample.units.family
    if len(rule.points) < np.count_nonzero(sample.share):  # nodes that stand for equally weighted data
        s = scores(rule.points, family, theta)
        return np.asarray((s * rule.weights[:, None]).T @ s / len(sample.data))
    size = family.size(sample.dim)
    mean, total = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(rule.points), _BATCH):
        part = slice(start, start + _BATCH)
        s = scores(rule.points[part], family, theta) * rule.weights[part, None]
        mean += s.sum(axis=0)
        total += s.T @ s
    return np.asarray(total - np.outer(mean, mean) / len(rule.points))


_BATCH = 65_536


def _kinked_tree(sample: Sample, theta: Array, seed: int, draws: int) -> xr.DataTree:
    """Maximum likelihood where the log density has a kink at its location: a median and the mean distance from it."""
    family, units, rule, total = sample.units.family, sample.units, sample.rule, sample.total
    inner, jacobians = natural_values(family, theta)
    params, _ = units.natural(inner, jacobians)
    z = rule.points[:, 0]
    location, scale = (float(inner[str(name)]) for name in (family.location, family.scale))
    used = sample.data[sample.share > 0, 0]
    params[str(family.location)] = np.asarray(used[np.argmin(np.abs(z - location))])  # an observation, not rounded
    parts = rule.weights
    density = float(gaussian_kde(z, weights=parts)(location)[0])
    # J = diag(2 p(median)/b, 1/b^2), in which the model itself has 1/b^2 for both (White, 1982; Koenker, 2005, section 3.2).
    s = np.stack([np.sign(z - location) / scale, (np.abs(z - location) / scale - 1) / scale])
    s -= (s * parts).sum(axis=1, keepdims=True)
    meat = (s * parts**2) @ s.T
    bread = np.diag([scale / (2 * density), scale**2])
    stretch = float(units.factor[0, 0])
    errors = {
        "se_hessian": np.full(2, stretch * scale / np.sqrt(total)),
        "se_sandwich": stretch * np.sqrt(np.diag(bread @ meat @ bread)),
    }
    value, slope = forward_objective(family, rule).value_and_gradient(theta)
    cross, gradient = value + units.log_volume, float(abs(slope[1]))  # in the scale: in the location there is none
    scalars = {"log_likelihood": -total * cross, "cross_entropy": cross, "n": len(sample.data), "gradient_norm": gradient,
               "status": "converged", "starts_reached": 1, "starts_degenerate": 0}  # fmt: skip
    return _assembled(sample, params, scalars, errors, seed, draws)
