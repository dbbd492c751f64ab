"""Maximum likelihood and MAP of PyMC models: many starts, PyMC's find_MAP, a Newton polish, and two standard errors.

A million observations are no other problem than a hundred: starts are compared on a summary of the data, and the sums
over all observations are taken in batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import gaussian_kde

from models.errors import ConvergenceError, InputError, lookup_error
from models.expectations import Nodes, moment_nodes
from models.families import Family
from models.forward import kinked_mle
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
    weights: ArrayLike | None = None,
) -> xr.DataTree:
    """Maximum likelihood estimate of a family: forward KL with draws of p_data as nodes.

    Every start descends on the log likelihood of the family's PyMC model; the best end is handed to ``pm.find_MAP`` on that
    model with flat priors (no Jacobian enters, so the MAP is the MLE; up to 100 000 observations), then polished by Newton's
    method.

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
    weights : array_like (n,), optional
        Non-negative weight of each observation in the log likelihood, such as a count or an inverse sampling probability.

    Returns
    -------
    xarray.DataTree
        ``fit``: the parameters as variables (natural scale), ``log_likelihood`` (total, nats), ``cross_entropy``
        (-log likelihood / n), ``se_hessian`` and ``se_sandwich`` over ``parameter``, ``gradient_norm``, ``status``,
        ``starts_reached`` (how many starts ended there) and ``starts_degenerate`` (how many ran into a component that collapses
        on single observations, where the likelihood is unbounded: no estimate); ``status`` is ``converged``, or names the
        parameter that runs to its boundary and then has no standard error. Mixture components are in the order of their means.
        ``posterior``: draws of the fitted member as ``x``; ``observed_data``: the data as ``x``.

    Raises
    ------
    InputError
        If the data cannot be used, are fewer than the parameters, or have fewer distinct values than the mixture has
        components; if the dimensions differ, a weight is negative, the seed is negative or the number of starts not positive.
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
    return _fit(x, family, {}, starts, seed, draws, weights)


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
        For example ``{"mu": pm.Normal.dist(0, 10)}``; flat for parameters not named. A covariance takes no prior here.
    starts, seed, draws, weights
        As for `fit_mle`.

    Returns
    -------
    xarray.DataTree
        As `fit_mle`; ``fit`` also holds ``log_prior``. The density is that of the natural parameters (PyMC's find_MAP
        leaves the Jacobian of its transforms out).

    Raises
    ------
    InputError, ConvergenceError
        As `fit_mle`; also for a prior on an unknown parameter or on a covariance, or one that excludes all starts.
    """
    names = [p.name for p in family.parameters if p.support != "covariance"]
    for name in priors:
        if name not in names:
            raise lookup_error(f"parameter of family {family.name} that takes a prior", name, names)
    return _fit(x, family, dict(priors), starts, seed, draws, weights)


@single_threaded
def _fit(
    x: ArrayLike, family: Family, priors: dict[str, Any], starts: int, seed: int, draws: int, weights: ArrayLike | None
) -> xr.DataTree:
    data = check_draws(x)
    _check(data, family, starts, seed)
    n, dim = data.shape
    share = check_weights(weights, n)
    # Where moments are sufficient, three nodes carry all that a million observations say.
    rule = moment_nodes(data[:, 0]) if _condensed(family, n, weights) else Nodes(data, share / share.sum(), "draws")
    if not family.smooth:
        if priors:
            raise InputError(f"family {family.name!r} has a kink at its location; fit_map takes smooth families only")
        return _kinked_tree(data, family, rule, share, seed, draws)
    objective = _penalised(family, rule, priors, share.sum()) if priors else forward_objective(family, rule)
    summary = _summary(data, rule, seed)
    quick = objective if summary is rule else (
        _penalised(family, summary, priors, share.sum()) if priors else forward_objective(family, summary)
    )  # fmt: skip
    unit = _units(family, rule)
    runs = (_descend(quick, start, unit) for start in forward_starts(family, summary, starts, seed))
    ends = [end for end in runs if end is not None]
    if not ends:
        raise InputError("no start has a finite posterior density; the priors exclude what the data suggest")
    proper = [end for end in ends if not _collapsed(family, end[0], data)]
    if not proper:
        raise ConvergenceError(
            f"maximum likelihood of {family.name} on {n} observations is unbounded: from all {len(ends)} starts a component "
            "collapsed on single observations; use fewer components, or fit_map with a prior on sigma"
        )
    theta, reached = _best(quick, proper)
    if n <= _FIND_MAP and not family.at_boundary(theta, dim):
        theta = _find_map(family.model(data, share * n / share.sum(), priors), family, dim, theta)
    polished = polish(objective, theta)
    if polished is None or not _minimum(objective, polished):
        raise ConvergenceError(
            f"maximum likelihood of {family.name} on {n} observations reached no interior maximum from {len(ends)} "
            "start(s); the likelihood may be unbounded or a parameter may run to its boundary"
        )
    counts = {"starts_reached": reached, "starts_degenerate": len(ends) - len(proper)}
    return _tree(data, family, priors, objective, rule, share, polished, counts, seed, draws)


#: Above this many observations, starts are compared on a summary of `_SUMMARY` points, and find_MAP is left out.
_FIND_MAP, _LARGE, _SUMMARY = 100_000, 20_000, 4096


def _condensed(family: Family, n: int, weights: ArrayLike | None) -> bool:
    """Whether the score is a polynomial of degree 2 in x, so that the sandwich needs four moments of the data only."""
    return family.degree == 2 and n > _FIND_MAP and weights is None


def _check(data: Array, family: Family, starts: int, seed: int) -> None:
    n, dim = data.shape
    family.check_dim(dim, "the data")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    if starts < 1:
        raise InputError(f"starts is {starts}; it must be at least 1")
    if n < family.size(dim):
        raise InputError(
            f"there are {n} observations but family {family.name!r} has {family.size(dim)} free parameters; give at least as many"
        )
    if family.components > 1 and len(np.unique(data[:10_000], axis=0)) < family.components:
        raise InputError(
            f"the data have {len(np.unique(data, axis=0))} distinct values but family {family.name!r} has {family.components} components; "
            "use fewer components"
        )
    if family.multivariate and np.linalg.matrix_rank(data - data.mean(axis=0)) < dim:
        raise InputError(f"the {n} observations lie in fewer than {dim} dimensions; the likelihood is then unbounded")


def check_weights(weights: ArrayLike | None, n: int) -> Array:
    """Return weights as floats (n,); ones if there are none.

    Raises
    ------
    InputError
        For weights that are not n non-negative finite numbers with a positive sum.
    """
    if weights is None:
        return np.ones(n)
    share = np.asarray(weights, dtype=float).ravel()
    if len(share) != n:
        raise InputError(f"there are {len(share)} weights but {n} observations; give one weight for each")
    if not np.isfinite(share).all() or (share < 0).any() or share.sum() <= 0:
        row = int(np.argmax(~np.isfinite(share) | (share < 0)))
        raise InputError(f"weights[{row}] is {share[row]:g}; weights must be non-negative and finite, and not all zero")
    return share


def _summary(data: Array, rule: Nodes, seed: int) -> Nodes:
    """The data themselves; of very many, quantiles (one dimension) or a random part, to compare starts on."""
    n, dim = data.shape
    if len(rule.points) <= _LARGE:
        return rule
    if dim == 1:
        order = np.argsort(data[:, 0])
        cumulative = np.cumsum(rule.weights[order])
        levels = (np.arange(_SUMMARY) + 0.5) / _SUMMARY
        points = np.interp(levels, cumulative, data[order, 0])[:, None]
        return Nodes(points, np.full(_SUMMARY, 1 / _SUMMARY), "draws")
    rows = np.random.default_rng(seed).choice(n, _LARGE, replace=False, p=rule.weights)
    return Nodes(data[rows], np.full(_LARGE, 1 / _LARGE), "draws")


def _units(family: Family, rule: Nodes) -> Array:
    """Length of each coordinate of theta that the data call one: the spread for locations, 1 for logarithms."""
    dim = rule.points.shape[1]
    unit = np.ones(family.size(dim))
    for p, part in family.slices(dim):
        if p.name == family.location:
            spread = np.sqrt(rule.weights @ (rule.points - rule.weights @ rule.points) ** 2)
            unit[part] = np.resize(spread, part.stop - part.start)
    return unit


def _descend(objective: Objective, start: Array, unit: Array) -> tuple[Array, float] | None:
    """L-BFGS from one start, in the units of the data; ``None`` if the start has no finite value."""
    value, gradient = objective.value_and_gradient(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return None

    def guarded(scaled: Array) -> tuple[float, Array]:
        f, g = objective.value_and_gradient(scaled * unit)
        return (f, g * unit) if np.isfinite(f) and np.isfinite(g).all() else (1e10, np.zeros_like(scaled))

    options = {"maxiter": 1000, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-8}
    result = minimize(guarded, start / unit, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(result.x) * unit, float(result.fun)


def _collapsed(family: Family, theta: Array, data: Array) -> bool:
    """Whether a mixture component has shrunk onto single observations, or vanished."""
    if family.components == 1:
        return False
    values, _ = natural_values(family, theta)
    smallest = np.sqrt(np.linalg.eigvalsh(values["cov"]).min()) if "cov" in values else values["sigma"].min()
    return bool(smallest < 1e-5 * data.std(axis=0).min())


def _best(quick: Objective, ends: list[tuple[Array, float]]) -> tuple[Array, int]:
    """The lowest end that polishes to a proper minimum, and how many starts reached it."""
    ordered = sorted(ends, key=lambda end: end[1])
    for theta, value in ordered[:5]:
        polished = polish(quick, theta)
        if polished is not None and _minimum(quick, polished):
            return polished, sum(v < value + 1e-7 for _, v in ordered)
    return ordered[0][0], 1


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


def _penalised(family: Family, rule: Nodes, priors: Mapping[str, Any], n: float) -> Objective:
    """Mean negative log likelihood minus log prior / n."""
    dim = rule.points.shape[1]
    theta, weights, points, value = forward_graph(family, dim)
    natural = family.natural(theta, dim)
    penalty = sum(pm.logp(prior, natural[name]).sum() for name, prior in priors.items()) / n
    functions = differentiate(theta, value - penalty, [points, weights], batched=False)
    return bind(functions, rule.points if family.multivariate else rule.points[:, 0], rule.weights)


def _tree(
    data: Array,
    family: Family,
    priors: Mapping[str, Any],
    objective: Objective,
    rule: Nodes,
    share: Array,
    theta: Array,
    counts: Mapping[str, int],
    seed: int,
    draws: int,
) -> xr.DataTree:
    n, dim = data.shape
    params, jacobians = natural_values(family, theta)
    if family.components > 1:
        order = np.argsort(params["mu"].reshape(family.components, -1)[:, 0])
        params = {k: v[order] for k, v in params.items()}
        jacobians = {k: v[order] for k, v in jacobians.items()}
    _, gradient, hessian = objective.hessian(theta[None])
    limit = family.at_boundary(theta, dim)
    unit = _units(family, rule)
    curvature = np.linalg.eigvalsh(hessian[0] * np.outer(unit, unit))
    if limit is None and curvature[0] < 1e-11 * curvature[-1]:
        raise ConvergenceError(
            f"the parameters of {family.name} are not identified by these {n} observations: the log likelihood is flat in one "
            f"direction at its maximum (eigenvalues {curvature[0]:.1e} and {curvature[-1]:.1e}); use a simpler family or priors"
        )
    bread, total = np.linalg.inv(hessian[0]), share.sum()
    if len(rule.points) < n:
        s = scores(rule.points, family, theta)
        meat = (s * rule.weights[:, None]).T @ s
    else:
        meat = _meat(data, family, theta, share) / total
    delta = np.concatenate([jacobians[p.name].reshape(-1, len(theta)) for p in family.parameters])
    errors = {
        "se_hessian": _standard_errors(delta, bread / total),
        "se_sandwich": _standard_errors(delta, bread @ meat @ bread / total),
    }
    if limit is not None:  # at a boundary the likelihood is flat and neither standard error means anything
        runaway = np.array([label.split("[")[0] == limit.split()[0] for label in flatten(params)[0]])
        errors = {name: np.where(runaway, np.nan, values) for name, values in errors.items()}
    cross = float(forward_objective(family, rule).gradient(theta[None])[0][0])
    scalars: dict[str, Any] = {
        "log_likelihood": -total * cross,
        "cross_entropy": cross,
        "n": n,
        "gradient_norm": float(np.linalg.norm(gradient[0])),
        "status": "converged" if limit is None else f"boundary: {limit}",
        **counts,
    }
    if priors:
        scalars["log_prior"] = total * (cross - float(objective.gradient(theta[None])[0][0]))
    return _assembled(data, family, params, scalars, errors, "MAP" if priors else "maximum likelihood", seed, draws)


def _assembled(
    data: Array,
    family: Family,
    params: dict[str, Array],
    scalars: dict[str, Any],
    errors: dict[str, Array],
    method: str,
    seed: int,
    draws: int,
) -> xr.DataTree:
    dim = data.shape[1]
    member = family.member(params)
    groups: dict[str, Any] = draws_of(member, draws, seed, log_q=member)
    groups["fit"] = fit_dataset(params, scalars, errors).assign_attrs(family=family.name)
    groups["observed_data"] = xr.Dataset(
        {"x": (("observation", "dim")[: 1 if dim == 1 else 2], data[:, 0] if dim == 1 else data)}
    )
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"family": family.name, "method": method, "seed": seed}
    assert list(tree["fit"]["parameter"].to_numpy()) == flatten(params)[0]
    return tree


def _standard_errors(delta: Array, covariance: Array) -> Array:
    return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", delta, covariance, delta), 0.0))


def _meat(data: Array, family: Family, theta: Array, share: Array) -> Array:
    """Sum of w^2 s s' over observations, in batches: for a million there is no room for the scores of all at once."""
    size = family.size(data.shape[1])
    mean, total = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(data), _BATCH):
        part = slice(start, start + _BATCH)
        s = scores(data[part], family, theta) * share[part, None]
        mean += s.sum(axis=0)
        total += s.T @ s
    return np.asarray(total - np.outer(mean, mean) / len(data))


_BATCH = 65_536


def _kinked_tree(data: Array, family: Family, rule: Nodes, share: Array, seed: int, draws: int) -> xr.DataTree:
    """Maximum likelihood where the log density has a kink at its location: a median and the mean distance from it."""
    theta, gradient = kinked_mle(family, rule)
    params, _ = natural_values(family, theta)
    location, scale = (float(params[str(name)]) for name in (family.location, family.scale))
    n = len(data)
    density = float(gaussian_kde(data[:, 0], weights=share)(location)[0])
    # J = diag(2 p(median)/b, 1/b^2), in which the model itself has 1/b^2 for both (White, 1982; Koenker, 2005, section 3.2).
    squares = share**2
    s = np.stack([np.sign(data[:, 0] - location) / scale, (np.abs(data[:, 0] - location) / scale - 1) / scale])
    s -= (s * share).sum(axis=1, keepdims=True) / share.sum()
    meat = (s * squares) @ s.T / share.sum()
    bread = np.diag([scale / (2 * density), scale**2])
    errors = {
        "se_hessian": np.full(2, scale / np.sqrt(share.sum())),
        "se_sandwich": np.sqrt(np.diag(bread @ meat @ bread) / share.sum()),
    }
    cross = float(forward_objective(family, rule).gradient(theta[None])[0][0])
    scalars = {"log_likelihood": -share.sum() * cross, "cross_entropy": cross, "n": n, "gradient_norm": gradient,
               "status": "converged", "starts_reached": 1, "starts_degenerate": 0}  # fmt: skip
    return _assembled(data, family, params, scalars, errors, "maximum likelihood", seed, draws)
