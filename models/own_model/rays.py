"""Tails of conditional densities, far beyond what any sampler draws: evidence that a variance, or a mean, is not there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.own_model.comparison import natural
from models.targets import Target

__all__ = ["endless_along_axes"]

Array = NDArray[np.float64]

_RAYS = 3  # draws from which the axes are followed
_MOST = 200  # unknowns
_STEPS = np.array([16, 18, 20])  # logarithms to base 2 of the distances, in scales of an unknown
_NEAR, _FAR = 64, 1e10  # interquartile ranges of a variable: no nearer is a tail, and farther digits are lost
_VISIBLE = np.log(
    1e-3
)  # share of the mass in such a tail, followed back to where it may begin: less no draws would show
_BEGINS = 2  # logarithm to base 2 of that distance
_FLAT = (
    0.01  # nats that the integrand of a moment may fall from the first distance to the last and still be called level
)


def endless_along_axes(target: Target, draws: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which entries (v,) of `models.own_model.comparison.natural` have no variance, and which no mean, by the density itself.

    The moment of order r of a variable x is the mean over the others of its conditional moment, int |x(u)|^r p(u | others) du along the axis of an
    unknown u; if that is infinite for some others (here: for each of a few draws), so is the moment. The integral diverges where |x|^r p(u) |du/dk|, k being
    the logarithm of the distance, does not fall as k grows. A sampler that has not been far out may show a tail that ends. A tail of next to no mass,
    as that of a Cauchy prior on what the data tell, is left out: the moments without it are what anyone means.

    Parameters
    ----------
    target : Target
    draws : ndarray (n, d)
        Of the posterior, in unconstrained space.

    Returns
    -------
    no_sd, no_mean : ndarray of bool (v,)
        True is evidence; False is none, for a tail may lie across the axes.
    """
    n, d = draws.shape
    starts = draws[np.linspace(0, n - 1, min(n, _RAYS + 2)).astype(int)[1:-1]]
    seen = np.stack(list(natural(target, draws[np.linspace(0, n - 1, min(n, 1000)).astype(int)]).values()), axis=-1)
    found = np.zeros((2, seen.shape[1]), dtype=bool)
    if d > _MOST or len(starts) < _RAYS:
        return found[0], found[1]
    low, centre, high = np.nanquantile(seen, [0.25, 0.5, 0.75], axis=0)
    spread = np.subtract(*np.quantile(draws, [0.75, 0.25], axis=0))
    doublings = _STEPS * np.log(2)
    for j in range(d):
        # An unknown that is itself far out, and one that is the logarithm of what is; either way.
        moves = np.array([sign * move for move in (spread[j] * 2.0**_STEPS, doublings) for sign in (1, -1)])
        path = np.tile(starts[:, None], (len(moves), 1, len(_STEPS), 1))
        path[..., j] += moves[:, None]
        with np.errstate(divide="ignore"):
            log_measure = np.stack([doublings, doublings, *[np.full(len(_STEPS), -np.log(spread[j]))] * 2])
        found |= _level(target, path, starts, log_measure[:, None], centre, high - low)
    return found[0], found[1]


def _level(
    target: Target, path: Array, starts: Array, log_measure: Array, centre: Array, scale: Array
) -> NDArray[np.bool_]:
    """Whether the integrands of the second moment and of the first stay level (2, v), and visible, along one of the paths (p, b, k, d) from each of b starts."""
    flat = path.reshape(-1, path.shape[-1])
    with np.errstate(all="ignore"):
        logp = target.log_density(flat)[0].reshape(path.shape[:-1]) - target.log_density(starts)[0][:, None]
        values = np.stack(list(natural(target, flat).values()), axis=-1).reshape(*path.shape[:-1], -1)
        far = np.abs(values - centre) / scale
        # The variable has to grow as its unknown does: else this is no tail of it.
        grows = np.all(far[:, :, 1:] > 2 * far[:, :, :-1], axis=2) & (far[:, :, 0] > _NEAR) & (far[:, :, -1] < _FAR)
        tail = (logp + log_measure)[..., None]
        back = (_STEPS[0] - _BEGINS) / (_STEPS[1] - _STEPS[0]) * (tail[:, :, 0] - tail[:, :, 1])
        visible = tail[:, :, 0] + back > _VISIBLE
        first, second = np.moveaxis(np.diff(np.stack([2 * np.log(far) + tail, np.log(far) + tail]), axis=3), 3, 0)
    # What falls faster the farther out, as the density of a wide lognormal, ends somewhere.
    level = grows & visible & np.isfinite(first + second) & (first + second >= -_FLAT) & (second >= first - _FLAT)
    return np.asarray(level.all(axis=2).any(axis=1))
