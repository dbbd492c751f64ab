"""Fits to real data as ArviZ compares them: draws of the parameters, and the log likelihood of every observation."""

from __future__ import annotations

import xarray as xr

from analysis.two_families.targets import DATA, PAIR
from models.families import FAMILIES, normal_mixture
from models.mle import approximate_posterior, fit_mle

__all__ = ["comparable"]

#: Of the parameters of each fit.
DRAWS = 400


def comparable(starts: int, seed: int) -> dict[str, xr.DataTree]:
    """Return fits of both families, and of two Normals, to each data set.

    Parameters
    ----------
    starts : int
        Of each fit.
    seed : int

    Returns
    -------
    dict of str to xarray.DataTree
        By ``data set/family``: what `models.mle.approximate_posterior` says of the fit, for ``az.loo`` and ``az.compare``.
    """
    families = [*(FAMILIES[name] for name in PAIR), normal_mixture(2)]
    return {
        f"{data.name}/{family.name}": approximate_posterior(
            fit_mle(data.values, family, starts=starts, seed=seed, draws=2), family, draws=DRAWS, seed=seed
        )
        for data in DATA
        for family in families
    }
