"""How far an approximation is off at least, where there is no reference: short chains from its own draws leave it if it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from models.own_model.comparison import natural
from models.own_model.tempering import move
from models.targets import Target

__all__ = ["LowerBounds", "lower_bounds"]

Array = NDArray[np.float64]

_CHAINS, _MOVES, _LEAST_MOVES = 1000, 30, 3


@dataclass(frozen=True, eq=False)
class LowerBounds:
    """What short chains from an approximation show of its errors, all bounds at once with 95 % confidence.

    Attributes
    ----------
    names : list of str
        Of the v entries of all variables, on their natural scale.
    mean_error : ndarray (v,)
        The mean is off by at least this many of the approximation's own sds; 0 where nothing is shown. Positive where the true mean is higher.
    sd_factor : ndarray (v,)
        The true sd is at least this many times the approximation's if it is above 1, at most if it is below; 1 where nothing is shown.
    correlation : ndarray (v,)
        Of the ends of the chains with their starts: near 1 they have hardly moved, and that nothing is shown says nothing.
    moves : int
        That each chain made.
    """

    names: list[str]
    mean_error: Array
    sd_factor: Array
    correlation: Array
    moves: int


def lower_bounds(
    target: Target, member: Target, *, seed: int = 0, stop: Callable[[], bool] = lambda: False
) -> LowerBounds | None:
    """Bound the errors of the means and sds of a Normal from below.

    Chains that leave the target as it is begin at independent draws of the approximation. Were it right, their ends would be
    distributed as their starts; where a mean or an sd of the ends differs from that of the starts by more than chance allows, the
    approximation is off, and by at least that much, provided that the chains go towards the target and not beyond it (Wang,
    Kasprzak and Huggins, 2023, A targeted accuracy diagnostic for variational approximations).

    Parameters
    ----------
    target : Target
        With a density.
    member : Target
        A single Normal, in the same unconstrained space.
    seed : int
    stop : callable
        Asked before each move of the chains.

    Returns
    -------
    LowerBounds or None
        ``None`` if there was no time for three moves, or the density vanishes at more than half of the starts.

    Notes
    -----
    Each end is compared with its own start, so that what both have of heavy tails cancels. The confidence is simultaneous, by
    Bonferroni's inequality. A mode that no chain reaches is not seen.
    """
    starts = member.rvs(_CHAINS, seed).reshape(-1, target.dim)
    with np.errstate(all="ignore"):
        starts = starts[np.isfinite(target.log_density(starts)[0])]
    if len(starts) < _CHAINS / 2:
        return None
    sd = np.sqrt(np.square(member.scales[0][1]).sum(axis=1))
    ends, moves = move(target.log_density, starts, sd, moves=_MOVES, seed=seed, stop=stop)
    if moves < _LEAST_MOVES:
        return None
    found = natural(target, starts)
    before, after = (np.stack(list(v.values()), axis=-1) for v in (found, natural(target, ends)))
    with np.errstate(all="ignore"):
        scale = before.std(axis=0)
        # Both means and sds, to both sides; half of the 5 % is left for their not being quite Normal.
        quantile = norm.isf(0.025 / (4 * before.shape[1]))
        shift = _beyond((after - before) / scale, quantile)
        scores, end_scores = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (before, after))
        log_ratio = np.log(after.std(axis=0) / scale)
        widened = _beyond((end_scores**2 - scores**2) / 2 + log_ratio, quantile)
        correlation = (scores * end_scores).mean(axis=0)
    varies = np.isfinite(shift) & np.isfinite(widened)
    return LowerBounds(
        list(found), np.where(varies, shift, 0.0), np.where(varies, np.exp(widened), 1.0),
        np.where(varies, correlation, np.nan), moves,
    )  # fmt: skip


def _beyond(gains: Array, quantile: float) -> Array:
    """Mean (v,) of independent gains (n, v), as far as it is beyond chance; 0 where it is not."""
    mean, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    return np.asarray(np.sign(mean) * np.maximum(np.abs(mean) - quantile * error, 0.0))
