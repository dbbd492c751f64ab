"""Draws of a posterior that reach the end of double precision, beyond which no sampler sees its mass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.own_model.comparison import MOST_ENTRIES
from models.targets import Posterior

__all__ = ["saturated"]

Array = NDArray[np.float64]

_DRAWS = 1000
_STILL = 1e-14  # relative change of a value, below which a step of 1 changes nothing
_SHARE = 0.01  # of the draws
_ANYWHERE = 8  # points that show which entries of a variable vary


def saturated(target: Posterior, points: Array) -> list[str]:
    """Name the variables with a mass that double precision hides: of which draws (n, d), farther out by one sd, no longer change on the natural scale.

    A sigmoid is 1 to the last digit from a logit of 37 on, where the log density of a Beta(.02, .02) has fallen by no more than .7 nats. From
    there it is infinite or wrong, and what samplers and grids return is the posterior without that part of it. An entry that is the same wherever the
    variable is, as those above the diagonal of a Cholesky factor, reaches nothing.

    Parameters
    ----------
    target : Posterior
    points : ndarray (n, d)
        In unconstrained space.
    """
    some = points[np.linspace(0, len(points) - 1, min(len(points), _DRAWS)).astype(int)]
    anywhere = target.leading(np.random.default_rng(0).standard_normal((_ANYWHERE, points.shape[1])), MOST_ENTRIES)
    sd, found = some.std(axis=0), set()
    for way in (-1.0, 1.0):
        with np.errstate(all="ignore"):
            here, beyond = (target.leading(some + way * (sd + step), MOST_ENTRIES) for step in (0.0, 1.0))
        for variable, (where, _) in zip(target.source.free_RVs, target.blocks(), strict=True):
            if target.source.rvs_to_transforms[variable] is None:
                continue
            x, y, z = (np.reshape(v[variable.name], (-1, v[variable.name][0].size)) for v in (here, beyond, anywhere))
            varies = np.ptp(z, axis=0) > 0
            x, y = x[:, varies], y[:, varies]
            with np.errstate(all="ignore"):
                still = ~(np.abs(y - x) > _STILL * np.abs(x))
            if x.shape[1] and varies.size != where.stop - where.start:  # as of a simplex, whose entries hang together
                still = (still.all(axis=1) | (x == 0).any(axis=1))[:, None]
            if still.size and still.mean(axis=0).max() > _SHARE:
                found.add(variable.name)
    return [v.name for v in target.source.free_RVs if v.name in found]
