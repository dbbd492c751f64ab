"""What a maximum likelihood fit says of its parameters, as draws that ArviZ compares and summarises."""

from __future__ import annotations

import numpy as np
import xarray as xr

from models.errors import InputError
from models.families import Family
from models.graphs import single_threaded
from models.mle.likelihood import check_count
from models.projections.objectives import forward_objective, natural_values
from models.quadrature import Nodes
from models.results import parameter_variables

__all__ = ["approximate_posterior"]


@single_threaded
def approximate_posterior(fit: xr.DataTree, family: Family, *, draws: int = 400, seed: int = 0) -> xr.DataTree:
    """Normal approximation of the posterior under flat priors, with the log likelihood of every observation.

    In the unconstrained coordinates of the family the posterior of many observations is close to a Normal about the maximum, whose
    covariance is the inverse Hessian of the log likelihood (Bernstein-von Mises; van der Vaart, 1998, theorem 10.1). With it
    ``az.summary``, ``az.loo`` and ``az.compare`` say of a maximum likelihood fit what they say of a sampled posterior.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_mle`, without weights.
    family : Family
        The one that was fitted.
    draws : int
        Of the parameters.
    seed : int

    Returns
    -------
    xarray.DataTree
        ``posterior``: the parameters (natural scale) over (chain, draw); one at a boundary, which has no standard error, stays where
        it is. ``log_likelihood``: ``x`` over (chain, draw, observation), nats. ``observed_data``: as in `fit`.

    Raises
    ------
    InputError
        If `fit` holds no observations, or `draws` or `seed` is no count; if the family has a kink, whose posterior is another.

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
    if not family.smooth:
        raise InputError(f"family {family.name!r} has a kink at its location: no Hessian stands for its posterior there")
    data = fit["observed_data/x"].to_numpy().astype(float)
    data = data.reshape(len(data), -1)
    n, dim = data.shape
    family = family.resolved(data)
    found = {p.name: fit[f"fit/{p.name}"].to_numpy() for p in family.parameters}
    theta = family.unconstrain(found, dim)
    _, _, hessian = forward_objective(family, Nodes(data, np.full(n, 1 / n), "draws")).hessian(theta[None])
    values, vectors = np.linalg.eigh(hessian[0])
    known = values > 1e-9 * values[-1]  # of what is flat, nothing is said
    root = vectors[:, known] / np.sqrt(n * values[known])
    thetas = theta + np.random.default_rng(seed).standard_normal((draws, known.sum())) @ root.T
    members = [natural_values(family, one)[0] for one in thetas]
    params = {name: np.array([member[name] for member in members])[None] for name in found}
    likelihood = np.array([family.logp(data, member) for member in members])[None]
    chain = {"chain": [0], "draw": np.arange(draws)}
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(parameter_variables(params, "chain", "draw"), coords=chain),
            "log_likelihood": xr.Dataset({"x": (("chain", "draw", "observation"), likelihood)}, coords=chain),
            "observed_data": fit["observed_data"].to_dataset(),
        }
    )
    tree.attrs = {"family": family.name, "method": "Normal approximation at the maximum likelihood", "seed": seed}
    return tree
