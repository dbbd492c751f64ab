"""What a maximum likelihood fit says of its parameters, as draws that ArviZ compares and summarises."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.errors import InputError
from models.families import Family
from models.graphs import single_threaded
from models.mle.likelihood import check_count
from models.projections.objectives import forward_objective, natural_values
from models.quadrature import Nodes
from models.results import parameter_variables

__all__ = ["approximate_posterior"]

Array = NDArray[np.float64]


@single_threaded
def approximate_posterior(
    fit: xr.DataTree, family: Family, *, draws: int = 400, seed: int = 0, pointwise: bool = True
) -> xr.DataTree:
    """Normal approximation of the posterior under flat priors, with the log likelihood of every observation.

    In the unconstrained coordinates of the family the posterior of many observations is close to a Normal about the maximum, whose
    covariance is the inverse Hessian of the log likelihood (Bernstein-von Mises; van der Vaart, 1998, theorem 10.1), or, where a kink at
    the location leaves none, the inverse of the information of the model. With it ``az.summary``, ``az.loo`` and ``az.compare`` say of a maximum likelihood fit what they say of a sampled posterior.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_mle`, without weights.
    family : Family
        The one that was fitted.
    draws : int
        Of the parameters.
    seed : int
    pointwise : bool
        Whether to compute the log likelihood of every observation under every draw.

    Returns
    -------
    xarray.DataTree
        ``posterior``: the parameters (natural scale) over (chain, draw); one at a boundary, which has no standard error, stays where
        it is. ``log_likelihood``: ``x`` over (chain, draw, observation), nats. ``observed_data``: as in `fit`.

    Raises
    ------
    InputError
        If `fit` holds no observations, or `draws` or `seed` is no count.

    Examples
    --------
    >>> import arviz as az
    >>> import numpy as np
    >>> from models.families import FAMILIES
    >>> from models.mle import fit_mle
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> tree = approximate_posterior(fit_mle(x, FAMILIES["normal"]), FAMILIES["normal"])
    >>> float(az.loo(tree).p).__round__()  # two parameters
    2
    """
    check_count("draws", draws, 1)
    check_count("seed", seed, 0)
    if "observed_data" not in fit.children or "fit" not in fit.children:
        raise InputError("the fit holds no observations; give what fit_mle returned")
    data = fit["observed_data/x"].to_numpy().astype(float)
    data = data.reshape(len(data), -1)
    dim = data.shape[1]
    family = family.resolved(data)
    found = {p.name: fit[f"fit/{p.name}"].to_numpy() for p in family.parameters}
    theta = family.unconstrain(found, dim)
    thetas = theta + _normal(draws, _root(fit, family, data, theta), seed)
    members = [natural_values(family, one)[0] for one in thetas]
    params = {name: np.array([member[name] for member in members])[None] for name in found}
    chain = {"chain": [0], "draw": np.arange(draws)}
    groups = {"posterior": xr.Dataset(parameter_variables(params, "chain", "draw"), coords=chain)}
    if pointwise:
        likelihood = np.array([family.logp(data, member) for member in members])[None]
        groups["log_likelihood"] = xr.Dataset({"x": (("chain", "draw", "observation"), likelihood)}, coords=chain)
    tree = xr.DataTree.from_dict(groups | {"observed_data": fit["observed_data"].to_dataset()})
    tree.attrs = {"family": family.name, "method": "Normal approximation at the maximum likelihood", "seed": seed}
    return tree


def _normal(draws: int, root: Array, seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal((draws, root.shape[1])) @ root.T)


def _root(fit: xr.DataTree, family: Family, data: Array, theta: Array) -> Array:
    """Root (P, P) of the covariance of the unconstrained parameters; nothing where the likelihood is flat, or at a boundary."""
    n = len(data)
    if not family.smooth:
        jacobian = np.concatenate([j.reshape(-1, len(theta)) for j in natural_values(family, theta)[1].values()])
        return np.diag(np.nan_to_num(fit["fit/se_hessian"].to_numpy()) / np.abs(np.diag(jacobian)))
    _, _, hessian = forward_objective(family, Nodes(data, np.full(n, 1 / n), "draws")).hessian(theta[None])
    unknown = {
        name.partition("[")[0]
        for name, se in zip(fit["fit/parameter"].to_numpy(), fit["fit/se_hessian"].to_numpy(), strict=True)
        if not np.isfinite(se)
    }
    free = np.ones(len(theta), dtype=bool)
    for parameter, part in family.slices(data.shape[1]):
        free[part] = parameter.name not in unknown
    root = np.zeros((len(theta), free.sum()))
    values, vectors = np.linalg.eigh(hessian[0][np.ix_(free, free)])
    known = values > 1e-9 * values.max(initial=0.0)
    root[free] = vectors * np.where(known, 1 / np.sqrt(n * np.where(known, values, 1.0)), 0.0)
    return root
