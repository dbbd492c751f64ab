"""Numbers and truth values of the question about mean field and full rank."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.judged import within_tolerance
from analysis.mean_field_vs_full_rank.normals import CHAIN_RHO, NORMALS, RHO, Normal
from analysis.mean_field_vs_full_rank.shapes import LUMPS, METHOD_NAMES, SHAPES, Method, Shape
from analysis.reading import case_of, dataset_of
from models.advi import METHODS, Schedule
from models.families import FAMILIES
from models.projections import minima
from models.results import projections_of

__all__ = ["MATCHED", "MOST_COPIES", "TOLERANCE", "findings", "full_rank", "pitchfork", "shape_findings"]

#: A run at rest further than this from the exact optimum, in nats, is counted as off.
TOLERANCE = 1e-3
#: And one with a standard deviation further off than this, relative to the exact one, too.
RELATIVE = 0.01
#: A gain of full rank below this, in nats, is said to be none, or to be small.
NOTHING, SMALL = 1e-6, 0.02
#: Of an optimum with more images than this under the symmetries of the target the figure shows one.
MOST_COPIES = 4
#: What a factorised Normal can match of a correlated one.
MATCHED = {"precision": "marginal precisions", "size": "generalised variance", "marginal": "marginal variances"}


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    normals = {c.name: of_normal(dataset_of(results, f"{c.name}/fits"), c) for c in NORMALS}
    shapes = {s.name: shape_findings(results, s) for s in SHAPES}
    searches = [shape[m] for shape in shapes.values() for m in METHODS]
    theory, along = dataset_of(results, "pitchfork/theory"), dataset_of(results, "curves/alpha")
    entropy = {c.name: float(along["entropy"].sel(case=c.name)) for c in NORMALS}
    exact = {name: dataset_of(results, f"curves/{name}_exact") for name in ("rho", "alpha")}
    return {
        "settings": json.loads(results.attrs["settings"]),
        "rho": RHO,
        "chain_rho": CHAIN_RHO,
        **normals,
        "normals": [row for normal in normals.values() for row in normal["entries"]],
        "full_rank": full_rank({name: dataset_of(results, f"{name}/fullrank_advi") for name in normals}),
        "n_exact": int(exact["rho"].sizes["point"]),
        **{
            f"{name}_difference": float(np.abs(data["sigma"] ** 2 - data["theory"]).max())
            for name, data in exact.items()
        },
        "matched": entropy
        | {
            "rising": bool((along["marginal"].diff("alpha") > 0).all()),
            "half": abs(entropy["pair"] - 0.5) < 1e-6,
            "elsewhere": abs(entropy["chain"] - 0.5) > 1e-3,
        },
        "pitchforks": [
            {"dim": int(d), "distance": float(theory["separation"].sel(dim=d)), "sd": float(theory["sd"].sel(dim=d))}
            for d in theory["dim"].to_numpy()
        ],
        "pitchfork": pitchfork(case_of(results, "pitchfork")),
        "shapes": shapes,
        "useless": [shape["title"] for shape in shapes.values() if shape["gain"] < SMALL],
        "useless_gain": max((shape["gain"] for shape in shapes.values() if shape["gain"] < SMALL), default=0.0),
        "useful": [shape["title"] for shape in shapes.values() if shape["gain"] >= SMALL],
        "searches": searches,
        "by_method": {
            name: {key: sum(s[key] for s in searches if s["method"] == name) for key in ("runs", "at_rest")}
            for name in METHOD_NAMES.values()
        },
        **{key: sum(search[key] for search in searches) for key in ("runs", "at_rest", "off", "wide")},
        **{key: max(search[key] for search in searches) for key in ("gap", "sd_error")},
        "relative": RELATIVE,
        "tolerance": TOLERANCE,
        "lumps": LUMPS,
        "most_copies": MOST_COPIES,
    }


# --- Normals, alone and in pairs -------------------------------------------------------------------------------------


def of_normal(fits: xr.Dataset, normal: Normal) -> dict[str, Any]:
    """Mean-field fits to a Normal in both directions: variances of the middle coordinate, and KL."""
    rows: list[dict[str, Any]] = []
    for direction, estimator in (("reverse", "ADVI"), ("forward", "maximum likelihood")):
        at = fits.sel(direction=direction)
        theory, fitted = at.sel(source="theory"), at.sel(source="fitted")
        rows.append(
            {
                "target": normal.title,
                "direction": direction,
                "estimator": estimator,
                "theory": float(theory["variance"][normal.dim // 2]),
                "fitted": float(fitted["variance"][normal.dim // 2]),
                "error": float(np.abs(fitted["variance"] / theory["variance"] - 1).max()),
                "kl": float(theory["kl"]),
                "gap": max(float(fitted["kl"] - theory["kl"]), 0.0),
            }
        )
    return {"entries": rows, "lost": 1 - rows[0]["theory"], "reverse": rows[0]["kl"], "forward": rows[1]["kl"]}


def full_rank(normals: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """What full-rank ADVI makes of the same Normals, which are in its family; ``exact``: where it ends *at* the target."""
    rows: list[dict[str, Any]] = []
    for name, runs in normals.items():
        gaps = runs["gap"].to_numpy()[runs["at_rest"].to_numpy()]
        rows.append(
            {"name": name, "runs": runs.sizes["run"], "at_rest": len(gaps), "gap": float(gaps.max(initial=0.0))}
        )
    return {"normals": rows, "exact": all(row["at_rest"] and row["gap"] < 1e-6 for row in rows)}


def pitchfork(case: xr.DataTree) -> dict[str, Any]:
    """Up to where the middle is a minimum, whether theory says so, and whether others compete with it before."""
    critical, data = float(case["theory/separation"].sel(dim=2)), dataset_of(case, "points")
    centre = (np.abs(data["mu"].to_numpy()) < 1e-6).all(axis=1)
    minimum, x = data["status"].str.endswith("minimum").to_numpy(), data["separation"].to_numpy()
    stable_to, lost = float(x[centre & minimum].max()), x[centre & ~minimum]
    unstable_from = float(lost.min()) if len(lost) else None
    return {
        "stable_to": stable_to,
        "unstable_from": unstable_from,
        "agrees": unstable_from is not None and stable_to < critical < unstable_from,
        "compete": bool((~centre & minimum & (x < critical)).any()),
    }


# --- shapes ----------------------------------------------------------------------------------------------------------


def shape_findings(results: xr.DataTree, shape: Shape) -> dict[str, Any]:
    """What full rank gains on a shape, and what is special about it."""
    diagonal, full = (method_findings(case_of(results, f"{shape.name}_{m}"), shape, m) for m in METHOD_NAMES)
    gain = diagonal["best"] - full["best"]
    return {
        "title": shape.title,
        "advi": diagonal,
        "fullrank_advi": full,
        "gain": gain,
        "nothing": gain < NOTHING,
        "axes_matter": shape.name == "ring" and diagonal["lowest"] < full["lowest"],
        "valley": full["barrier"] is not None and full["barrier"] < 2 * Schedule().nats,
    }


def method_findings(case: xr.DataTree, shape: Shape, method: Method) -> dict[str, Any]:
    """Minima of one family, and how near ADVI came to them; runs that are not at rest stand apart."""
    points = projections_of(dataset_of(case, "optima"), FAMILIES[METHODS[method]])
    found, runs = minima(points), dataset_of(case, "runs")
    rest, saddles = runs["at_rest"].to_numpy(), [p.divergence.value for p in points if p.status == "saddle"]
    gaps, sd_errors = np.abs(runs["gap"].to_numpy()), np.abs(runs["sd_error"].to_numpy())
    near, alike = within_tolerance(gaps, TOLERANCE), within_tolerance(gaps, np.inf, sd_errors, RELATIVE)
    return {
        "target": shape.title,
        "method": METHOD_NAMES[method],
        "minima": len(found),
        "lowest": sum(p.status == "global minimum" for p in found),
        "best": found[0].divergence.value,
        "barrier": min(saddles) - found[0].divergence.value if saddles else None,
        "runs": len(rest),
        "at_rest": int(rest.sum()),
        "reached": len(set(runs["optimum"].to_numpy()[rest])),
        "off": int((rest & ~near).sum()),
        "wide": int((rest & ~alike).sum()),
        "gap": float(gaps[rest].max(initial=0.0)),
        "sd_error": float(sd_errors[rest].max(initial=0.0)),
        "others": int((~rest).sum()),
        "others_gap": float(gaps[~rest].max(initial=0.0)),
        "others_sd": float(sd_errors[~rest].max(initial=0.0)),
    }
