"""Linear response: the covariance that mean field leaves out, from how its optimum moves when the log density is tilted."""

from __future__ import annotations

import numpy as np
import xarray as xr

from models.advi.members import member, normal_member
from models.errors import InputError
from models.families import FAMILIES
from models.targets import Target

__all__ = ["linear_response"]


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
