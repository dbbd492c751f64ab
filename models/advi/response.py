"""Linear response: the covariance that mean field leaves out, from how its optimum moves when the log density is tilted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.members import member, normal_member
from models.advi.shapes import MeanField
from models.errors import InputError
from models.families import FAMILIES
from models.targets import Target

__all__ = ["linear_response", "response_sds"]

Array = NDArray[np.float64]
_SIDE = 1e-4  # of difference quotients, in sds
_POWER = 10  # of the nodes that the Hessian is taken on


def linear_response(fit: xr.DataTree, k: int = 0) -> Target:
    """Normal at the k-th optimum of a fit, with the covariance of linear response.

    Tilting log p by t'x moves the mean of the optimum by C t; C is the mean block of the inverse Hessian of the loss (Giordano, Broderick
    and Jordan, 2018, section 3; Giordano, Ingram and Broderick, 2024). It is exact for a Normal posterior, whatever its correlations.
    Where the fit's ``k_hat_linear_response`` is above 0.7, or ``verdict`` names a flat direction, it is not to be relied on.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_dadvi`.
    k : int
        Counted from the lowest loss, 0.

    Returns
    -------
    Target
        In unconstrained space.

    Raises
    ------
    InputError
        If there is no such optimum, the fit has no Hessian (it is one of `fit_advi`), or the Hessian is not positive definite there.

    Examples
    --------
    >>> from models.advi import fit_dadvi
    >>> from models.targets import mvnormal_mixture
    >>> fit = fit_dadvi(mvnormal_mixture([1], [[0, 0]], [[[1, 0.9], [0.9, 1]]]), draws=2)
    >>> fit["optimum_0/fit"]["sd"].values.round(2), linear_response(fit, 0).cov.round(2).tolist()
    (array([0.44, 0.44]), [[1.0, 0.9], [0.9, 1.0]])
    """
    normal = member(fit, k)
    data = fit[f"optimum_{k}/fit"].to_dataset()
    if "cov_linear_response" not in data:
        raise InputError("this fit has no Hessian; linear response needs a fit of fit_dadvi")
    cov = data["cov_linear_response"].to_numpy()
    if not np.isfinite(cov).all():
        raise InputError(
            f"optimum {k} has no linear response: its Hessian is not positive definite ({data['verdict'].item()})"
        )
    mean = normal.scales[0][0]
    return normal_member(FAMILIES["mvnormal" if normal.multivariate else "normal"], mean, cov)


def response_sds(target: Target, normal: Target, of: Callable[[Array], Array], *, seed: int = 0) -> Array:
    """Standard deviations (p,) of functions of the unknowns by linear response at an optimum of mean field.

    Tilting log p by t g(x) moves E_q[g] by t G H^-1 G', with H the Hessian of the loss by all parameters of q, and G the derivative of E_q[g]:
    an estimate of the variance of g (Giordano, Broderick and Jordan, 2018, section 3). To carry the covariance of linear response from
    unconstrained space over to a scale by a Normal there would widen it twice, since its tail is then that of a log-Normal.

    Parameters
    ----------
    target : Target
    normal : Target
        The optimum, in unconstrained space.
    of : callable
        Functions (n, p) of points (n, d) of unconstrained space: the variables of a model on their own scale, say.
    seed : int

    Returns
    -------
    ndarray (p,)
        nan where the Hessian is not positive definite.
    """
    location, factor = normal.scales[0]
    shape = MeanField(target.dim)
    nodes = fixed_nodes(target.dim, power=_POWER, seed=seed)[0]
    loss = FixedLoss(target.log_density, shape, nodes)
    theta = descend(loss, shape.at(location, np.sqrt(np.square(factor).sum(axis=1))))  # the optimum on these very nodes
    inverse = rest(loss, theta).inverse
    if inverse is None:
        return np.full(of(location[None]).shape[1], np.nan)
    sides = _SIDE / np.sqrt(shape.fisher(theta))
    moved = [[of(shape.points(theta + sign * step, nodes)).mean(axis=0) for sign in (1, -1)] for step in np.diag(sides)]
    slopes = np.array([(up - down) / (2 * side) for (up, down), side in zip(moved, sides, strict=True)])
    return np.sqrt(np.einsum("ip,ij,jp->p", slopes, inverse, slopes))
