"""What draws alone can say: entropy of p_data and KL(p_data||p_theta), each with an interval, and differences of KL.

Maximum likelihood minimises a KL whose value it cannot tell, since the entropy of p_data is unknown. Nearest neighbours
estimate that entropy. Differences of KL between two models need no entropy at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.families import Family
from models.mle import leave_one_out
from models.targets import Target, check_draws
from models.unknown.counts import count_kl
from models.unknown.intervals import Interval, enclose, mean_interval, not_negative
from models.unknown.neighbours import Terms, entropy_terms, shared

__all__ = ["cross_entropy_from_draws", "entropy_from_draws", "kl_difference", "kl_from_draws"]

Array = NDArray[np.float64]
#: A family fitted to the draws, a density, or a log density: points (n, d) to (n,).
Model = Family | Target | Callable[[Array], ArrayLike]

_FEWEST = 20
_SMALL = 0.2  # of a standard error: a bias below it leaves the interval as it is


def entropy_from_draws(
    x: ArrayLike, level: float = 0.95, *, neighbours: int | None = None, jitter: bool = False, seed: int = 0
) -> Interval:
    """Differential entropy of the distribution that draws come from, with a confidence interval.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Independent draws, n at least 20.
    level : float
        Confidence level, strictly between 0 and 1.
    neighbours : int, optional
        K, the number of neighbours regressed on; `default_neighbours` if not given.
    jitter : bool
        Add uniform noise as wide as the unit that the values are rounded to; recorded in ``warnings``.
    seed : int
        Of the jitter.

    Returns
    -------
    Interval
        In nats; nan where draws are copies, more than rounding makes. Shifts by log |det A| when the draws are mapped by A: they are whitened first.

    Raises
    ------
    InputError
        For fewer than 20 draws, missing or infinite values, constant columns, draws in a subspace, or a level, seed or
        number of neighbours out of range.

    Notes
    -----
    H_k = psi(n) - psi(k) + log V_d + (d/n) sum_i log r_k(i) (Kozachenko and Leonenko, 1987; Kraskov, Stögbauer and Grassberger,
    2004, eq. 20). Its bias is a series in (k/n)^(l/d): even l from the curvature of the density (Berrett, Samworth and Yuan,
    2019), odd l from edges. In one dimension l = 1 is cancelled, in more l = 1 and 2, by weights w_k with
    sum w_k = 1 and sum w_k Γ(k + l/d)/Γ(k) = 0, of least variance under Cov(log r_j, log r_k) ∝ psi'(max(j, k)), which is that of
    a Poisson process. Cancelling costs variance and buys a bias well below the standard error, without which no interval
    holds.

    The variance is Var(log p) + c, where c belongs to the distances alone and is the same for every density
    (Delattre and Fournier, 2017): the sample variance of the terms has Var(log p) and the noise of each distance; the
    latter is replaced by its part in the mean, which is larger, since neighbours share distances. The
    bootstrap is not valid: it repeats draws, and repeated draws are at distance zero.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=2000)
    >>> h = entropy_from_draws(x)
    >>> bool(h.lower < 0.5 * np.log(2 * np.pi * np.e) < h.upper), h.reliable
    (True, True)
    """
    found = entropy_terms(_checked(x, level, seed), neighbours, jitter=jitter, seed=seed)
    return _interval(found, [found.values], level)


def kl_from_draws(
    x: ArrayLike,
    model: Model,
    level: float = 0.95,
    *,
    params: Mapping[str, ArrayLike] | None = None,
    neighbours: int | None = None,
    jitter: bool = False,
    seed: int = 0,
) -> Interval:
    """KL(p_data||p_theta) of a model from draws of p_data alone, with a confidence interval.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Independent draws of p_data, n at least 20.
    model : Family, Target or callable (n, d) -> (n,)
        A family is fitted to these draws by maximum likelihood, and judged by leave-one-out: the estimate is of the KL of
        the fitted member, without the optimism of judging it on the draws that chose it. A target, or a normalised log
        density in nats, is taken as fixed: it must not have been fitted to these draws. A family of counts has probabilities
        in the place of densities, and the entropy is that of counts.
    level : float
    params : mapping, optional
        Maximum likelihood estimates of a family, if known already; natural scale.
    neighbours, jitter, seed
        As `entropy_from_draws`; counts need neither neighbours nor jitter.

    Returns
    -------
    Interval
        Cross-entropy minus entropy, in nats; infinite if the model excludes a draw, nan where no entropy is told. A KL is never negative, the estimate
        of a small one can be, by chance; the interval ends at zero, and one that would lie below it is not reliable.
        Invariant if draws and model are mapped together.

    Raises
    ------
    InputError
        As `entropy_from_draws`; also if the dimensions differ, the log density is not (n,) numbers, or the target has no
        normalised density.
    ConvergenceError
        If the family cannot be fitted to the draws.

    Notes
    -----
    The log ratio of each draw enters whole, so the covariance of its two parts is in the standard error. The expected KL of
    the fitted member exceeds that of the projection by about tr(J^-1 K)/2n, far less than the standard error: the
    interval is for either.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> p, q = normal_mixture([1], [1], [2]), normal_mixture([1], [0], [1])
    >>> there, back = kl_from_draws(p.rvs(4000, seed=1), q), kl_from_draws(q.rvs(4000, seed=1), p)
    >>> there.lower < 1.306853 < there.upper, back.lower < 0.443147 < back.upper
    (True, True)
    """
    data = _checked(x, level, seed)
    if isinstance(model, Family) and model.domain.whole:
        return count_kl(data[:, 0], _log_density(data, model, params, seed), level)
    found = entropy_terms(data, neighbours, jitter=jitter, seed=seed)
    log_q = _log_density(data, model, params, seed)
    if np.isneginf(log_q).any():
        return mean_interval(-log_q, level)
    return not_negative(_interval(found, [-found.values, -log_q], level))


def cross_entropy_from_draws(
    x: ArrayLike, model: Model, level: float = 0.95, *, params: Mapping[str, ArrayLike] | None = None, seed: int = 0
) -> Interval:
    """Cross-entropy -E[log p_theta] under p_data from draws; by leave-one-out for a family fitted to them.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
    model, level, params, seed
        As `kl_from_draws`.

    Returns
    -------
    Interval
        In nats; for a family, -elpd_loo / n.

    Raises
    ------
    InputError, ConvergenceError
        As `kl_from_draws`.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> x = np.random.default_rng(0).normal(size=500)
    >>> fitted, fixed = (cross_entropy_from_draws(x, m).value for m in (FAMILIES["normal"], FAMILIES["normal"].member(
    ...     {"mu": x.mean(), "sigma": x.std()})))
    >>> round((fitted - fixed) * len(x))  # optimism: about one nat for each parameter
    2
    """
    data = _checked(x, level, seed)
    return mean_interval(-_log_density(data, model, params, seed), level)


def kl_difference(
    x: ArrayLike,
    a: Model,
    b: Model,
    level: float = 0.95,
    *,
    params: tuple[Mapping[str, ArrayLike] | None, Mapping[str, ArrayLike] | None] = (None, None),
    seed: int = 0,
) -> Interval:
    """KL(p_data||a) - KL(p_data||b) from draws of p_data: positive where b is the closer model.

    The entropy of p_data cancels, so no neighbours are needed, and rounding does no harm.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
    a, b : Family, Target or callable (n, d) -> (n,)
        As in `kl_from_draws`.
    level : float
    params : pair of mappings, optional
        Maximum likelihood estimates of a and of b, if known already.
    seed : int
        Of the starts of a fit.

    Returns
    -------
    Interval
        Mean of log b(x) - log a(x) in nats, with the standard error of the paired differences: (elpd_b - elpd_a)/n and dse/n of
        ``az.compare`` (Vehtari, Gelman and Gabry, 2017, eq. 24; divisor n).

    Raises
    ------
    InputError, ConvergenceError
        As `kl_from_draws`; also if both models exclude one draw.

    Notes
    -----
    For families that hardly differ the normal approximation fails (Sivula, Magnusson, Matamoros and Vehtari, 2025): where the
    leave-one-out log scores of two fitted families, summed over the draws (elpd), differ by less than 4 nats, the interval is
    marked unreliable. It is not the difference of their log likelihoods, in which the number of parameters counts.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> p, near, far = (normal_mixture([1], [m], [1]) for m in (0, 0.5, 1))
    >>> d = kl_difference(p.rvs(4000, seed=1), far, near)  # 1/2 - 1/8
    >>> d.lower < 0.375 < d.upper
    True
    """
    data = _checked(x, level, seed)
    log_a, log_b = (_log_density(data, m, p, seed) for m, p in zip((a, b), params, strict=True))
    both = np.isneginf(log_a) & np.isneginf(log_b)
    if both.any():
        raise InputError(
            f"both models have density zero at draw {int(np.argmax(both)) + 1}; their difference is undefined there"
        )
    reasons = []
    total = abs(float((log_b - log_a).sum()))
    if isinstance(a, Family) and isinstance(b, Family) and total < 4:
        reasons = [
            f"the leave-one-out log scores of the families differ by {total:.2g} nats in all: below 4 the error is not normal"
        ]
    return mean_interval(log_b - log_a, level, reasons, ddof=0)


def _interval(found: Terms, parts: list[Array], level: float) -> Interval:
    """Mean of the sum of parts, one of which has nearest-neighbour noise in it."""
    terms = np.sum(parts, axis=0)
    if not found.told:
        why = (*found.reasons, *found.notes)
        return Interval(np.nan, np.nan, "draws", -np.inf, np.inf, level, len(terms), False, why)
    first_order = max(float(terms.var(ddof=1)) - found.noise, 0.0)
    error = float(np.sqrt((first_order + shared(found.dim) * found.noise) / len(terms)))
    reasons = list(found.reasons)
    if found.blur > _SMALL * error:
        reasons.append(
            f"rounding hides about {found.blur:.2g} nats of structure, not small against the error {error:.2g}"
        )
    return enclose(terms, error, level, reasons, found.notes, parts)


def _checked(x: ArrayLike, level: float, seed: int) -> Array:
    if not 0 < level < 1:
        raise InputError(f"level is {level}; a confidence level lies strictly between 0 and 1, such as 0.95")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    data = check_draws(x)
    n = len(data)
    if n < _FEWEST:
        raise InputError(
            f"there are {n} draws, and an interval needs at least {_FEWEST}: with fewer, neither the distances between neighbours "
            "nor the spread of the log densities are known well enough"
        )
    spread = np.ptp(data, axis=0)
    if (spread == 0).any():
        column = int(np.argmax(spread == 0))
        raise InputError(f"column {column} is constant at {data[0, column]:g}; it has no density: leave it out")
    if not np.isfinite(spread).all():
        raise InputError("the draws spread wider than a float can hold; rescale them")
    return data


def _log_density(data: Array, model: Model, params: Mapping[str, ArrayLike] | None, seed: int) -> Array:
    """Log density (n,) of the model at the draws; leave-one-out if it is fitted to them."""
    n, dim = data.shape
    if isinstance(model, Family):
        return leave_one_out(data, model, params, seed=seed)
    if isinstance(model, Target):
        model.check_normalised()
        if model.dim != dim:
            raise InputError(f"target {model.name!r} has dimension {model.dim} but the draws have dimension {dim}")
        values = model.logp(data)
    elif callable(model):
        values = np.asarray(model(data), dtype=float)
    else:
        raise InputError(f"the model is {model!r}; give a family, a target, or a log density (n, d) -> (n,)")
    if values.shape != (n,):
        raise InputError(f"the log density has shape {values.shape} for {n} draws; it must return ({n},)")
    wrong = np.isnan(values) | np.isposinf(values)
    if wrong.any():
        raise InputError(
            f"the log density is {values[wrong][0]} at draw {int(np.argmax(wrong)) + 1}; it must be a number or -inf"
        )
    return values
