"""Linear response: the covariance that mean field leaves out, from how its optimum moves when the log density is tilted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.stats import multivariate_t, norm

from models.advi.effort import draws_within, evaluations_within, power_within
from models.advi.fixed import FixedLoss, descend, fixed_nodes, rest
from models.advi.members import member, normal_member
from models.advi.shapes import MeanField
from models.errors import InputError
from models.families import FAMILIES
from models.targets import Target

__all__ = ["linear_response", "response_sds", "response_trusted"]

Array = NDArray[np.float64]
_SIDE = 1e-4  # of difference quotients, in sds
_POWER = 10  # of the nodes that the Hessian is taken on
_ROUNDS = 20  # evaluations at each of them beside the Hessian, about
_DRAWS, _TAIL = 10_000, 5.0  # of which half are of Student's t with so many degrees of freedom
_NEAR, _ERRORS = 0.15, 2.0  # relative error of an sd that passes, and standard errors that are added to it
_K_HAT, _EVEN = (
    0.7,
    0.2,
)  # of weights: k-hat above which they say nothing, unless so large a share of the draws is effective
_ELSEWHERE = 0.02  # of the mass, that other optima may hold


def linear_response(fit: xr.DataTree, k: int = 0) -> Target:
    """Normal at the k-th optimum of a fit, with the covariance of linear response.

    Tilting log p by t'x moves the mean of the optimum by C t; C is the mean block of the inverse Hessian of the loss (Giordano, Broderick
    and Jordan, 2018, section 3; Giordano, Ingram and Broderick, 2024). It is exact for a Normal posterior, whatever its correlations.
    Where the fit's ``k_hat_linear_response`` is above 0.7, or ``verdict`` names a flat direction, it is not to be relied on; which of its sds
    are, `response_trusted` says.

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


def response_sds(
    target: Target, normal: Target, of: Callable[[Array], Array], *, seed: int = 0, seconds: float = np.inf
) -> Array:
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
    seconds : float
        That it may take, by fewer nodes if need be.

    Returns
    -------
    ndarray (p,)
        nan where the Hessian is not positive definite, or would take too long; and of a function that changes in steps alone, as a comparison does: its
        mean on nodes has no derivative.
    """
    location, factor = normal.scales[0]
    shape = MeanField(target.dim)
    power, most = _POWER, None
    if seconds < np.inf:
        most = evaluations_within(target.log_density, location, seconds)
        power = power_within(target.log_density, location, seconds / (_ROUNDS + 2 * target.dim), _POWER)
    nodes = fixed_nodes(target.dim, power=power, seed=seed)[0]
    loss = FixedLoss(target.log_density, shape, nodes, most)
    if loss.hessian(shape.at(location, np.sqrt(np.square(factor).sum(axis=1)))) is None:
        return np.full(of(location[None]).shape[1], np.nan)
    theta = descend(loss, shape.at(location, np.sqrt(np.square(factor).sum(axis=1))))  # the optimum on these very nodes
    inverse = rest(loss, theta).inverse
    if inverse is None:
        return np.full(of(location[None]).shape[1], np.nan)
    sides = _SIDE / np.sqrt(shape.fisher(theta))
    moved = [[of(shape.points(theta + sign * step, nodes)).mean(axis=0) for sign in (1, -1)] for step in np.diag(sides)]
    slopes = np.array([(up - down) / (2 * side) for (up, down), side in zip(moved, sides, strict=True)])
    found = np.sqrt(np.einsum("ip,ij,jp->p", slopes, inverse, slopes))
    steps = (found == 0) & (np.ptp(of(shape.points(theta, nodes)), axis=0) > 0)
    return np.where(steps, np.nan, found)


def response_trusted(
    target: Target,
    fit: xr.DataTree,
    k: int,
    of: Callable[[Array], Array],
    sds: Array,
    *,
    seed: int = 0,
    seconds: float = np.inf,
) -> NDArray[np.bool_]:
    """Which sds (p,) of linear response the density itself shows to be within 15 % of the posterior's, about this optimum.

    Draws of the Normal of linear response, and of Student's t in its place, are weighted to be draws of p, with Pareto smoothing (Vehtari et al., 2024): the sds of the
    functions under these weights are those of the posterior, also where it is skew, which is where linear response errs. An sd passes if it
    differs from that by less than 15 % with two standard errors of the latter added, so that weights which tell little let nothing pass.

    Parameters
    ----------
    target : Target
    fit : xarray.DataTree
        Of `target`, by `models.advi.fit_dadvi`.
    k : int
        Counted from the lowest loss, 0.
    of : callable
        Functions (n, p) of points (n, d) of unconstrained space.
    sds : ndarray (p,)
        Of `response_sds` for these.
    seed : int
    seconds : float
        That the density at the draws may take, by fewer of them if need be.

    Returns
    -------
    ndarray of bool (p,)
        None where there is no linear response, the weights say nothing (k-hat above 0.7, with less than a fifth of the draws effective: the
        k-hat of weights that hardly differ is of no account), or other optima at rest hold more than 2 % of the mass by their ELBOs: the sds
        about one mode are then not those of the posterior. What no draw reaches is seen by none of this.
    """
    nothing = np.zeros(len(sds), dtype=bool)
    if not np.isfinite(fit[f"optimum_{k}/fit/cov_linear_response"]).all() or _share(fit, k) < 1 - _ELSEWHERE:
        return nothing
    corrected = linear_response(fit, k)
    n = _DRAWS if seconds == np.inf else draws_within(target.log_density, corrected.scales[0][0], seconds, _DRAWS)
    x, log_q = _wider(corrected, n, seed)
    with np.errstate(all="ignore"):
        log_ratio = target.logp(x) - log_q
        log_ratio, x = log_ratio[log_ratio > -np.inf], x[log_ratio > -np.inf]  # where p is zero, so is the weight
        if not len(x) or not np.isfinite(log_ratio).all():
            return nothing
        smoothed, k_hat = array_stats.psislw(-log_ratio)
        weight = np.exp(smoothed - smoothed.max())
        weight = (weight / weight.sum())[:, None]
        if not (k_hat <= _K_HAT or 1 / np.square(weight).sum() > _EVEN * n):
            return nothing
        values = of(x)
        squares = np.square(values - (weight * values).sum(axis=0))
        variance = (weight * squares).sum(axis=0)
        error = np.sqrt(np.square(weight * (squares - variance)).sum(axis=0)) / (2 * variance)
        off = np.abs(sds / np.sqrt(variance) - 1) + _ERRORS * error
    return np.asarray((off < _NEAR) | ((variance == 0) & (sds == 0)))


def _wider(normal: Target, n: int, seed: int) -> tuple[Array, Array]:
    """So many draws (n, d) of a Normal and of Student's t of its place and scale, half of each, with the log density (n,) of the mixture."""
    location, factor = normal.scales[0]
    d = len(location)
    tail = multivariate_t(np.zeros(d), np.eye(d), df=_TAIL, seed=seed)  # of which a factor near singular takes no part
    z = np.concatenate(
        [np.random.default_rng([seed, 37]).standard_normal((n // 2, d)), tail.rvs(n // 2).reshape(-1, d)]
    )
    beside = tail.logpdf(z) - norm.logpdf(z).sum(axis=1)
    x = location + z @ factor.T
    return x, normal.logp(x) + np.logaddexp(0.0, beside) - np.log(2)


def _share(fit: xr.DataTree, k: int) -> float:
    """Weight of an optimum in the mixture of those at rest and itself, by their ELBOs."""
    fits = {name: child["fit"] for name, child in fit.children.items() if name.startswith("optimum_")}
    own = float(fits.pop(f"optimum_{k}")["loss"])
    others = [float(other["loss"]) for other in fits.values() if bool(other["converged"])]
    with np.errstate(over="ignore"):
        return float(1 / (1 + np.exp(own - np.array(others)).sum()))
