"""Fits to real data as ArviZ compares them: draws of the parameters, and the log likelihood of every observation."""

from __future__ import annotations

import xarray as xr

from analysis.two_families.targets import PAIR, Data
from models.families import FAMILIES, normal_mixture
from models.mle import approximate_posterior, fit_mle

__all__ = ["comparable"]

#: Of the parameters of each fit.
DRAWS = 400


def comparable(data: Data, starts: int, seed: int) -> dict[str, xr.DataTree]:
    """Return fits of both families, and of two Normals, to a data set.

    Parameters
    ----------
    data : Data
    starts : int
        Of each fit.
    seed : int

    Returns
    -------
    dict of str to xarray.DataTree
        By family: what `models.mle.approximate_posterior` says of the fit, for ``az.loo`` and ``az.compare``.
    """
    families = [*(FAMILIES[name] for name in PAIR), normal_mixture(2)]
    fits = {f.name: fit_mle(data.values, f, starts=starts, seed=seed, draws=2) for f in families}
    return {f.name: approximate_posterior(fits[f.name], f, draws=DRAWS, seed=seed) for f in families}
