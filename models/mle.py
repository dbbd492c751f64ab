"""Maximum likelihood and MAP: PyMC's find_MAP, polished by Newton, with Hessian and sandwich standard errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from models.errors import ConvergenceError, InputError, lookup_error
from models.expectations import Nodes
from models.families import Family
from models.graphs import numpy_mode, single_threaded
from models.objectives import Objective, bind, differentiate, forward_graph, forward_objective, natural_values
from models.optimise import polish
from models.results import draws_of, fit_dataset, flatten
from models.scores import scores
from models.starts import forward_starts
from models.targets import check_draws

__all__ = ["fit_map", "fit_mle", "scores"]

Array = NDArray[np.float64]


def fit_mle(
    x: ArrayLike,
    family: Family,
    *,
    starts: int = 8,
    seed: int = 0,
    draws: int = 2000,
) -> xr.DataTree:
    """Maximum likelihood estimate of a family: forward KL with draws of p_data as nodes.

    Each start is fitted by ``pm.find_MAP`` on the family's PyMC model with flat priors (no Jacobian enters, so the MAP
    is the MLE), then polished by Newton's method on the same log likelihood.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Observations; finite, at least two distinct.
    family : Family
    starts : int
        Number of starts for families whose likelihood has several maxima.
    seed : int
        Seed of the random starts and of the draws of the fitted member.
    draws : int
        Draws of the fitted member to keep under ``posterior``.

    Returns
    -------
    xarray.DataTree
        ``fit``: the parameters as variables (natural scale), ``log_likelihood`` (total, nats), ``cross_entropy``
        (-log likelihood / n), ``se_hessian`` and ``se_sandwich`` over ``parameter``, ``gradient_norm``, ``status``,
        ``starts_reached`` (how many starts ended there); ``status`` is ``converged``, or names the parameter that runs to its boundary and then
        has no standard error; ``posterior``: draws of the fitted member as ``x``;
        ``observed_data``: the data as ``x``.

    Raises
    ------
    InputError
        If the data cannot be used, the dimensions differ, the seed is negative or the number of starts not positive.
    ConvergenceError
        If no start reaches a maximum in the interior.

    Notes
    -----
    Standard errors: from the inverse Hessian J^-1/n, right if the family contains p_data, and from the sandwich
    J^-1 K J^-1/n, right also if it does not (White, 1982, theorem 3.2), carried to natural parameters by the delta
    method.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> fit = fit_mle([1.0, 2.0, 3.0, 6.0], FAMILIES["normal"])["fit"]
    >>> float(fit["mu"]), round(float(fit["sigma"]) ** 2, 9)
    (3.0, 3.5)
    """
    return _fit(x, family, {}, starts, seed, draws)


def fit_map(
    x: ArrayLike,
    family: Family,
    *,
    priors: Mapping[str, Any],
    starts: int = 8,
    seed: int = 0,
    draws: int = 2000,
) -> xr.DataTree:
    """Maximum a posteriori estimate of a family under given priors.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
    family : Family
    priors : mapping of str to PyMC distribution
        For example ``{"mu": pm.Normal.dist(0, 10)}``; flat for parameters not named. A covariance takes no prior here.
    starts, seed, draws
        As for `fit_mle`.

    Returns
    -------
    xarray.DataTree
        As `fit_mle`; ``fit`` also holds ``log_prior``. The density is that of the natural parameters (PyMC's find_MAP
        leaves the Jacobian of its transforms out).

    Raises
    ------
    InputError, ConvergenceError
        As `fit_mle`; also for a prior on an unknown parameter or on a covariance.
    """
    names = [p.name for p in family.parameters if p.support != "covariance"]
    for name in priors:
        if name not in names:
            raise lookup_error(f"parameter of family {family.name} that takes a prior", name, names)
    return _fit(x, family, dict(priors), starts, seed, draws)


@single_threaded
def _fit(x: ArrayLike, family: Family, priors: dict[str, Any], starts: int, seed: int, draws: int) -> xr.DataTree:
    data = check_draws(x)
    n, dim = data.shape
    family.check_dim(dim, "the data")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    if starts < 1:
        raise InputError(f"starts is {starts}; it must be at least 1")
    if family.multivariate and np.linalg.matrix_rank(data - data.mean(axis=0)) < dim:
        raise InputError(f"the {n} observations lie in fewer than {dim} dimensions; the likelihood is then unbounded")
    rule = Nodes(data, np.full(n, 1 / n), "draws")
    objective = _penalised(family, rule, priors) if priors else forward_objective(family, rule)
    model = family.model(data, priors=priors)
    ends = [_find_map(model, family, dim, start) for start in forward_starts(family, rule, starts, seed)]
    polished = [theta for end in ends if (theta := polish(objective, end)) is not None and _minimum(objective, theta)]
    if not polished:
        raise ConvergenceError(
            f"maximum likelihood of {family.name} on {n} observations reached no interior maximum from {len(ends)} "
            "start(s); the likelihood may be unbounded or a parameter may run to its boundary"
        )
    values = np.array([objective.gradient(theta[None])[0][0] for theta in polished])
    theta = polished[int(np.argmin(values))]
    reached = int((values < values.min() + 1e-9).sum())
    return _tree(data, family, priors, objective, rule, theta, reached, seed, draws)


def _find_map(model: Any, family: Family, dim: int, start: Array) -> Array:
    """PyMC's MAP from one start, as unconstrained theta."""
    values, _ = natural_values(family, start)
    names = {p.name: f"{p.name}_cholesky" if p.support == "covariance" else p.name for p in family.parameters}
    parts = {p.name: start[part] for p, part in family.slices(dim)}
    initial = {names[p.name]: parts[p.name] if p.support == "covariance" else values[p.name] for p in family.parameters}
    # L-BFGS-B tries steps that overflow and takes shorter ones; whether it arrived is judged by Newton, not by its flag.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The optimizer did not converge", category=UserWarning)
        point = pm.find_MAP(
            model=model,
            initvals=initial,
            jitter=False,
            progressbar=False,
            return_inferencedata=True,
            idata_kwargs={"include_transformed": False},
            compile_kwargs={"mode": numpy_mode()},
        )["posterior"]
    found = {p.name: point[names[p.name]].to_numpy()[0, 0] for p in family.parameters}
    return np.concatenate(
        [
            np.ravel(found[p.name] if p.support == "covariance" else p.unconstrain(found[p.name], dim))
            for p in family.parameters
        ]
    )


def _minimum(objective: Objective, theta: Array) -> bool:
    return bool(np.linalg.eigvalsh(objective.hessian(theta[None])[2][0])[0] > 0)


def _penalised(family: Family, rule: Nodes, priors: Mapping[str, Any]) -> Objective:
    """Mean negative log likelihood minus log prior / n."""
    dim = rule.points.shape[1]
    theta, weights, points, value = forward_graph(family, dim)
    natural = family.natural(theta, dim)
    n = len(rule.points)
    penalty = sum(pm.logp(prior, natural[name]).sum() for name, prior in priors.items()) / n
    functions = differentiate(theta, value - penalty, [points, weights], batched=False)
    return bind(functions, rule.points if family.multivariate else rule.points[:, 0], rule.weights)


def _tree(
    data: Array,
    family: Family,
    priors: Mapping[str, Any],
    objective: Objective,
    rule: Nodes,
    theta: Array,
    reached: int,
    seed: int,
    draws: int,
) -> xr.DataTree:
    n, dim = data.shape
    params, jacobians = natural_values(family, theta)
    if family.components > 1:
        order = np.argsort(params["mu"])
        params = {k: v[order] for k, v in params.items()}
        jacobians = {k: v[order] for k, v in jacobians.items()}
    _, gradient, hessian = objective.hessian(theta[None])
    bread = np.linalg.inv(hessian[0])
    s = scores(data, family, theta)
    meat = (s - s.mean(axis=0)).T @ (s - s.mean(axis=0)) / n
    delta = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
    errors = {
        "se_hessian": _standard_errors(delta, bread / n),
        "se_sandwich": _standard_errors(delta, bread @ meat @ bread / n),
    }
    limit = family.at_boundary(theta, dim)
    if limit is not None:  # at a boundary the likelihood is flat and neither standard error means anything
        runaway = np.array([label.split("[")[0] == limit.split()[0] for label in flatten(params)[0]])
        errors = {name: np.where(runaway, np.nan, values) for name, values in errors.items()}
    cross = float(forward_objective(family, rule).gradient(theta[None])[0][0])
    scalars: dict[str, Any] = {
        "log_likelihood": -n * cross,
        "cross_entropy": cross,
        "n": n,
        "gradient_norm": float(np.linalg.norm(gradient[0])),
        "status": "converged" if limit is None else f"boundary: {limit}",
        "starts_reached": reached,
    }
    if priors:
        scalars["log_prior"] = n * (cross - float(objective.gradient(theta[None])[0][0]))
    member = family.member(params)
    groups: dict[str, Any] = draws_of(member, draws, seed, log_q=member)
    groups["fit"] = fit_dataset(params, scalars, errors).assign_attrs(family=family.name)
    groups["observed_data"] = xr.Dataset(
        {"x": (("observation", "dim")[: 1 if dim == 1 else 2], data[:, 0] if dim == 1 else data)}
    )
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"family": family.name, "method": "MAP" if priors else "maximum likelihood", "seed": seed}
    assert list(tree["fit"]["parameter"].to_numpy()) == flatten(params)[0]
    return tree


def _standard_errors(delta: Array, covariance: Array) -> Array:
    return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", delta, covariance, delta), 0.0))
