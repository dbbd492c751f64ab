"""What an analysis of your own data found, as ``duality data --json`` prints it, and the fitted members."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.own_data.curve import Curve
from analysis.own_data.naming import child_of
from analysis.own_data.values import Chart
from models.families import find_family
from models.results import member_of
from models.targets import Target

__all__ = ["DRAWN", "MARGINS", "SHOWN", "curve_of", "fitted_member", "ranked_names", "summary"]

Array = NDArray[np.float64]

DRAWN = 2000  # rows that a drawing shows one by one
SHOWN = 6  # families with a panel of their own, the closest first
MARGINS = 4  # columns drawn where there are many


def ranked_names(tree: xr.DataTree) -> list[str]:
    """Names of the fitted families, closest first."""
    return [str(name) for name in tree["ranking"]["family"].to_numpy()]


def fitted_member(tree: xr.DataTree, family: str) -> Target:
    """Return the fitted member of a family, on the points that its chart makes of the data."""
    return member_of(tree[f"{child_of(family)}/fit"].to_dataset(), find_family(family))


def curve_of(tree: xr.DataTree, name: str) -> Curve:
    """Return the fitted member of a family of one dimension in the units of the data."""
    fit, family = tree[f"{child_of(name)}/fit"].to_dataset(), find_family(name)
    chart = Chart(**json.loads(tree[child_of(name)].attrs["chart"]))
    points = chart(tree["p_data/observed_data"]["x"].to_numpy())
    family = family.resolved(points[:, None])
    spread = float(np.subtract(*np.quantile(points, [0.75, 0.25]))) or float(points.std())
    return Curve(
        family, {p.name: fit[p.name].to_numpy() for p in family.parameters}, chart, float(np.median(points)), spread
    )


def summary(tree: xr.DataTree) -> dict[str, Any]:
    """What ``duality data --json`` prints.

    Parameters
    ----------
    tree : xarray.DataTree
        From `analyse`.

    Returns
    -------
    dict
        ``n``, ``rows``, ``dim``, ``columns``, ``families`` (each with ``params``, ``se_hessian``, ``se_sandwich`` (of the shapes of the
        parameters), ``cross_entropy``, ``kl``, ``kl_interval``, ``reliable``, ``status``, ``of`` (what its parameters are of, such as
        x / 100), ``mass_outside`` the range and the support of the data), ``entropy``, ``ranking`` (KL above the best,
        best first; ``clear``, and ``carried_by`` the row that outweighs the others in the difference, by its number in the file; ``outside``, how many rows lie outside
        a support that the others estimate, where leave-one-out says nothing, and the difference on the others), ``reading`` (what was read of the file),
        ``values`` (what they are taken for; of several columns the mass that no density has), ``reverse`` and ``warnings``. In nats; ``None`` where there is no number.
    """
    families = {name: _family_summary(tree, name) for name in ranked_names(tree)}
    ranking = tree["ranking"].to_dataset()
    level = json.loads(tree.attrs["settings"])["level"]
    entropy = None
    if "entropy" in tree["p_data"].children:
        found = tree["p_data/entropy"].to_dataset()
        entropy = {k: _number(found[v]) for k, v in (("value", "entropy"), ("error", "entropy_error"))}
        entropy |= {"lower": _number(found["entropy_lower"]), "upper": _number(found["entropy_upper"]), "level": level}
        entropy |= {"reliable": bool(found["entropy_reliable"]), "warnings": json.loads(found.attrs["warnings"])}
    return {
        "n": int(tree.attrs["n"]),
        "dim": int(tree.attrs["dim"]),
        "rows": int(tree.attrs["rows"]),
        "columns": json.loads(tree.attrs["columns"]),
        "level": level,
        "families": families,
        "entropy": entropy,
        "ranking": [
            {
                "family": name,
                "kl_difference": _number(ranking["kl_difference"][i]),
                "se": _number(ranking["se"][i]),
                "clear": bool(ranking["clear"][i]),
                "carried_by": _carried(tree, ranking.isel(family=i)),
                "outside": _outside(ranking.isel(family=i)),
            }
            for i, name in enumerate(families)
        ],
        "reading": json.loads(tree.attrs["reading"]),
        "values": json.loads(tree.attrs["values"]),
        "reverse": _reverse_summary(tree),
        "failed": json.loads(tree.attrs["failed"]),
        "warnings": json.loads(tree.attrs["warnings"]),
    }


def _outside(entry: xr.Dataset) -> dict[str, Any] | None:
    count = int(entry["outside"])
    if not count:
        return None
    difference = {"kl_difference": _number(entry["elsewhere"]), "se": _number(entry["elsewhere_se"])}
    return {"rows": count, "others": {"rows": int(entry["others"]), **difference}}


def _carried(tree: xr.DataTree, entry: xr.Dataset) -> dict[str, Any] | None:
    row = int(entry["row"])
    if row < 0:
        return None
    observed = tree["p_data/observed_data"].to_dataset().isel(observation=row)
    return {"row": int(observed["row"]), "value": _list(observed["x"].to_numpy()), "share": _number(entry["row_share"])}


def _family_summary(tree: xr.DataTree, name: str) -> dict[str, Any]:
    fit = tree[f"{child_of(name)}/fit"].to_dataset()
    parameters = [p.name for p in find_family(name).parameters]
    found: dict[str, Any] = {"params": {p: _list(fit[p].to_numpy()) for p in parameters}}
    for kind in ("se_hessian", "se_sandwich"):
        flat, start = fit[kind].to_numpy(), 0
        found[kind] = {}
        for p in parameters:
            size = fit[p].size
            found[kind][p] = _list(flat[start : start + size].reshape(fit[p].shape))
            start += size
    found |= {k: _number(fit[k]) for k in ("cross_entropy", "cross_entropy_error")}
    known = "kl" in fit
    found |= {k: _number(fit[k]) if known else None for k in ("kl", "kl_error")}
    interval = [_number(fit["kl_lower"]), _number(fit["kl_upper"])] if known else None
    reliable = bool(fit["kl_reliable"]) if known else None
    outside = {k: _number(fit[f"outside_{k}"]) for k in ("range", "support") if f"outside_{k}" in fit}
    return found | {
        "of": tree[child_of(name)].attrs["of"],
        "mass_outside": outside or None,
        "kl_interval": interval,
        "reliable": reliable,
        "status": str(fit["status"].item()),
        "n": int(fit["n_fitted"]),
    }


def _reverse_summary(tree: xr.DataTree) -> dict[str, Any] | None:
    if "reverse" not in tree.children:
        return None
    facts = tree["reverse"].to_dataset()

    def point(child: str) -> dict[str, Any]:
        fit = tree[f"{child}/fit"].to_dataset()
        names = ("mu", "sigma") if "sigma" in fit else ("mu", "cov")
        numbers = {"kl": _number(fit["kl"]), "error": _number(fit["kl_error"]), "status": str(fit["status"].item())}
        return {"params": {k: _list(fit[k].to_numpy()) for k in names}, **numbers}

    return {
        "target": facts.attrs["target_family"],
        "family": facts.attrs["family"],
        "forward": point("forward_exact"),
        "minima": [point(f"reverse_exact_{i}") for i in range(int(facts["minima"]))],
        "saddles": int(facts["saddle"]),
        "certificate": facts.attrs["certificate"],
    }


def _number(value: Any) -> float | str | None:
    """A number for JSON, which has neither nan nor infinity."""
    number = float(value)
    if np.isnan(number):
        return None
    return number if np.isfinite(number) else "inf" if number > 0 else "-inf"


def _list(array: Array) -> Any:
    return _number(array) if array.ndim == 0 else [_list(part) for part in array]
