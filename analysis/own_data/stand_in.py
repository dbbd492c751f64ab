"""Reverse KL of data: a fitted mixture stands in for the density that data do not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.own_data.judging import NOT_FITTED
from analysis.own_data.naming import child_of
from models.families import FAMILIES, Family
from models.projections import Projection, forward_projection, minima, reverse_projections
from models.targets import Target, mvnormal_mixture, normal_mixture

__all__ = ["reversed_kl"]

Array = NDArray[np.float64]


def reversed_kl(
    done: xr.DataTree, mixtures: Sequence[Family], logs: Mapping[str, Array], dim: int
) -> tuple[dict[str, xr.Dataset], str | None]:
    """Both directions onto the Normal, from the best mixture in place of the density that data do not have."""
    if dim > 2:
        return {}, f"reverse KL is left out: its optima are sought for one or two columns, and these are {dim}"
    if not mixtures:
        return {}, "reverse KL is left out: it needs a density, and no mixture that could stand in for it was fitted"
    best = max(mixtures, key=lambda family: float(logs[family.name].mean()))
    fit = done[f"{child_of(best.name)}/fit"].to_dataset()
    family = FAMILIES["normal" if dim == 1 else "mvnormal"]
    centre, scale, target = _standardised(fit, dim)
    try:
        points = reverse_projections(target, family)
        forward = forward_projection(target, family)
    except NOT_FITTED as error:
        return {}, f"reverse KL is left out: {' '.join(str(error).split())}"
    found = minima(points)
    groups = {f"reverse_exact_{i}/fit": _projected(p, centre, scale) for i, p in enumerate(found)}
    groups["forward_exact/fit"] = _projected(forward, centre, scale)
    attrs = {"target_family": best.name, "certificate": found[0].certificate if found else "open"}
    counts = {status: sum(p.status == status for p in points) for status in ("saddle", "maximum")}
    groups["reverse"] = xr.Dataset({"minima": len(found), **counts}, attrs=attrs | {"family": family.name})
    return groups, None


def _standardised(fit: xr.Dataset, dim: int) -> tuple[Array, Array, Target]:
    """A fitted mixture with mean 0 and standard deviations 1, and the centre (d,) and scale (d,) that lead back."""
    w = fit["w"].to_numpy()
    means = fit["mu"].to_numpy().reshape(len(w), dim)
    covs = fit["cov"].to_numpy() if dim > 1 else fit["sigma"].to_numpy()[:, None, None] ** 2
    centre = w @ means
    scale = np.sqrt(w @ (np.diagonal(covs, axis1=1, axis2=2) + (means - centre) ** 2))
    z, covs = (means - centre) / scale, covs / np.outer(scale, scale)
    if dim == 1:
        return centre, scale, normal_mixture(w, z[:, 0], np.sqrt(covs[:, 0, 0]))
    return centre, scale, mvnormal_mixture(w, z, covs)


def _projected(point: Projection, centre: Array, scale: Array) -> xr.Dataset:
    """A projection in the units of the data; KL is the same in any."""
    params = {k: np.asarray(v, dtype=float) for k, v in point.params.items()}
    if "cov" in params:
        params = {"mu": centre + scale * params["mu"], "cov": params["cov"] * np.outer(scale, scale)}
    else:
        params = {"mu": centre[0] + scale[0] * params["mu"], "sigma": scale[0] * params["sigma"]}
    data = {k: (tuple(f"{k}_dim_{i}" for i in range(v.ndim)), v) for k, v in params.items()}
    facts = {"kl": point.divergence.value, "kl_error": point.divergence.error, "status": point.status}
    return xr.Dataset(data | {k: ((), np.asarray(v)) for k, v in facts.items()})
