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

__all__ = ["LEAST_EVALUATIONS", "LowerBounds", "lower_bounds"]

Array = NDArray[np.float64]

_CHAINS, _MOVES, _LEAST_MOVES = 1000, 30, 3  # moves of each of two halves
LEAST_EVALUATIONS = _CHAINS * 2 * _LEAST_MOVES * 8  # of the density, in moves of eight leaps: below, no bound is had
_LATE = 2.0  # standard errors, by which a mean or an sd is still under way in the second half


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
    settled : ndarray of bool (v,)
        Whether neither the mean nor the sd changed over the second half of the chains by more than chance allows.
    moves : int
        That each chain made.
    """

    names: list[str]
    mean_error: Array
    sd_factor: Array
    correlation: Array
    settled: NDArray[np.bool_]
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
        ``None`` if there was no time for three moves in each half, or the density vanishes at more than half of the starts.

    Notes
    -----
    Chains that spread from a funnel's neck reach one side of it first, so that a mean moves on the way and comes back: a mean is bounded only where
    it has settled. An sd on its way is bounded by the lesser of its values at half of the way and at the end.

    Each end is compared with its own start, so that what both have of heavy tails cancels. The confidence is simultaneous, by
    Bonferroni's inequality. A mode that no chain reaches is not seen.
    """
    starts = member.rvs(_CHAINS, seed).reshape(-1, target.dim)
    with np.errstate(all="ignore"):
        starts = starts[np.isfinite(target.log_density(starts)[0])]
    if len(starts) < _CHAINS / 2:
        return None
    sd = np.sqrt(np.square(member.scales[0][1]).sum(axis=1))
    halfway, first = move(target.log_density, starts, sd, moves=_MOVES, seed=2 * seed, stop=stop)
    ends, second = move(target.log_density, halfway, halfway.std(axis=0), moves=_MOVES, seed=2 * seed + 1, stop=stop)
    if min(first, second) < _LEAST_MOVES:
        return None
    found = natural(target, starts)
    before, between, after = (_stacked(v) for v in (found, natural(target, halfway), natural(target, ends)))
    # Both means and sds, to both sides; half of the 5 % is left for their not being quite Normal.
    quantile = norm.isf(0.025 / (4 * before.shape[1]))
    with np.errstate(all="ignore"):
        shift, log_factor = _changes(before, after, quantile)
        log_factor = _lesser(log_factor, _changes(before, between, quantile)[1])
        late = np.array(_changes(between, after, _LATE))
        correlation = (_scores(before) * _scores(after)).mean(axis=0)
    varies = np.isfinite(shift) & np.isfinite(log_factor)
    settled = varies & (late == 0).all(axis=0)
    return LowerBounds(
        list(found), np.where(settled, shift, 0.0), np.exp(np.where(varies, log_factor, 0.0)),
        np.where(varies, correlation, np.nan), settled, first + second,
    )  # fmt: skip


def _stacked(values: dict[str, Array]) -> Array:
    return np.stack(list(values.values()), axis=-1)


def _scores(x: Array) -> Array:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _changes(before: Array, after: Array, quantile: float) -> tuple[Array, Array]:
    """How far means, in sds, and log sds (v,) moved between paired draws (n, v), as far as it is beyond chance."""
    scale = before.std(axis=0)
    growth = (_scores(after) ** 2 - _scores(before) ** 2) / 2 + np.log(
        after.std(axis=0) / scale
    )  # influence of each pair
    return _beyond((after - before) / scale, quantile), _beyond(growth, quantile)


def _beyond(gains: Array, quantile: float) -> Array:
    """Mean (v,) of independent gains (n, v), as far as it is beyond chance; 0 where it is not."""
    mean, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    return np.asarray(np.sign(mean) * np.maximum(np.abs(mean) - quantile * error, 0.0))


def _lesser(a: Array, b: Array) -> Array:
    """The smaller in size of each pair; 0 where their signs differ."""
    return np.where(a * b > 0, np.sign(a) * np.minimum(np.abs(a), np.abs(b)), 0.0)
