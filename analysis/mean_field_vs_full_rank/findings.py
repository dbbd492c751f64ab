"""Numbers and truth values of the question about mean field and full rank."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.mean_field_vs_full_rank.normals import (
    CHAIN_RHO,
    NORMALS,
    RHO,
    Normal,
    chain,
    factorised,
    factorised_kl,
    matched,
)
from analysis.mean_field_vs_full_rank.shapes import LUMPS, METHOD_NAMES, SHAPES, Shape
from analysis.reading import case_of, dataset_of, estimate_of
from models.advi import METHODS, Schedule

__all__ = ["MATCHED", "MOST_COPIES", "TOLERANCE", "findings", "full_rank", "is_minimum", "pitchfork", "shape_findings"]

#: A converged run further than this from the exact optimum, in nats, is counted as off.
TOLERANCE = 1e-3
#: And one with a standard deviation further off than this, relative to the exact one, too.
RELATIVE = 0.01
#: An eigenvalue of the Hessian below this makes a direction flat, in the words of the report.
FLAT = 0.05
#: A gain of full rank below this, in nats, is said to be none, or to be small.
NOTHING, SMALL = 1e-6, 0.02
#: Of an optimum with more images than this under the symmetries of the target the figure shows one.
MOST_COPIES = 4
#: What a factorised Normal can match of a correlated one.
MATCHED = {"precision": "marginal precisions", "size": "generalised variance", "marginal": "marginal variances"}


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    normals = {c.name: of_normal(case_of(results, c.name), c) for c in NORMALS}
    shapes = {s.name: shape_findings(results, s) for s in SHAPES}
    searches = [shape[m] for shape in shapes.values() for m in METHODS]
    curves = case_of(results, "curves")
    theory, rho, along = (
        dataset_of(results, p) for p in ("pitchfork/theory", "curves/rho_exact", "curves/alpha_exact")
    )
    closed = [factorised_kl(chain(2, float(r)), "reverse") for r in rho["rho"].to_numpy()]
    return {
        "settings": json.loads(results.attrs["settings"]),
        "rho": RHO,
        "chain_rho": CHAIN_RHO,
        **normals,
        "normals": [row for normal in normals.values() for row in normal["entries"]],
        "full_rank": full_rank({name: dataset_of(results, f"{name}/full_rank") for name in normals}),
        "rho_difference": float(np.abs(rho["kl"].to_numpy() - closed).max()),
        "n_rho": int(rho.sizes["rho"]),
        "alpha_difference": float(np.abs(along["variance"] - along["theory"]).max()),
        "n_alpha": int(along.sizes["alpha"]),
        "dimension": dimension(dataset_of(curves, "dimension")),
        "matched": matches(dataset_of(curves, "alpha"), dataset_of(curves, "entropy")),
        "pitchforks": [
            {"dim": int(d), "distance": float(theory["separation"].sel(dim=d)), "sd": float(theory["sd"].sel(dim=d))}
            for d in theory["dim"].to_numpy()
            if d in (2, 3, 5, 10, 20, 50)
        ],
        "pitchfork": pitchfork(case_of(results, "pitchfork")),
        "shapes": shapes,
        "useless": [shape["title"] for shape in shapes.values() if shape["gain"] < SMALL],
        "useful": [shape["title"] for shape in shapes.values() if shape["gain"] >= SMALL],
        "searches": searches,
        "orbits": [row for search in searches for row in search["entries"]],
        **{key: sum(search[key] for search in searches) for key in ("runs", "converged", "off", "wide")},
        "largest_gap": max(search["largest_gap"] for search in searches),
        "worst": max(searches, key=lambda search: float(search["sd_error"])),
        "relative": RELATIVE,
        "tolerance": TOLERANCE,
        "small": SMALL,
        "lumps": LUMPS,
        "most_copies": MOST_COPIES,
    }  # fmt: skip


# --- correlated Normals ----------------------------------------------------------------------------------------------


def of_normal(case: xr.DataTree, normal: Normal) -> dict[str, Any]:
    """Mean-field fits to a Normal in both directions: variances of the middle coordinate, and KL."""
    fits, middle = dataset_of(case, "fits"), normal.dim // 2
    rows: list[dict[str, Any]] = []
    for direction, estimator in (("reverse", "ADVI"), ("forward", "maximum likelihood")):
        at = fits.sel(direction=direction)
        theory, exact, fitted = (at["variance"].sel(source=s) for s in ("theory", "exact", "fitted"))
        least, reached = (float(at["kl"].sel(source=s)) for s in ("theory", "fitted"))
        rows.append(
            {
                "target": normal.title,
                "direction": direction,
                "estimator": estimator,
                "theory": float(theory[middle]),
                "exact": float(exact[middle]),
                "fitted": float(fitted[middle]),
                "exact_error": float(np.abs(exact / theory - 1).max()),
                "fitted_error": float(np.abs(fitted / theory - 1).max()),
                "kl_theory": least,
                "kl_exact": estimate_of(at, "kl", case.attrs["kind"], source="exact"),
                "gap": max(reached - least, 0.0),
            }
        )
    return {
        "entries": rows,
        "lost": 1 - rows[0]["theory"],
        "reverse": rows[0]["kl_theory"],
        "forward": rows[1]["kl_theory"],
        "quadrature": case.attrs["kind"],
    }


def full_rank(normals: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """What full-rank ADVI makes of the same Normals, which are in its family; ``exact``: where it ends *at* the target."""
    rows: list[dict[str, Any]] = []
    for name, runs in normals.items():
        gaps = runs["gap"].to_numpy()[runs["converged"].to_numpy().astype(bool)]
        rows.append(
            {
                "name": name,
                "runs": int(runs.sizes["restart"]),
                "converged": len(gaps),
                "gap": float(gaps.max(initial=0.0)),
            }
        )
    return {"normals": rows, "exact": all(row["converged"] and row["gap"] < 1e-6 for row in rows)}  # fmt: skip


def dimension(data: xr.Dataset) -> dict[str, Any]:
    """What the closed forms say in the largest dimension, and whether reverse KL is ever dearer."""
    last, kl = data.isel(dim=-1), data["kl"]
    dearer = kl.sel(direction="reverse") > kl.sel(direction="forward") + 1e-12
    return {
        "dim": int(data["dim"][-1]),
        **{
            structure: {
                **{d: float(last["kl"].sel(structure=structure, direction=d)) for d in ("reverse", "forward")},
                "variance": float(last["variance"].sel(structure=structure)),
            }
            for structure in ("chain", "exchangeable")
        },
        "dearer": bool(dearer.any()),
        "grows": bool((kl.diff("dim") > 0).all()),
    }


def matches(data: xr.Dataset, entropy: xr.Dataset) -> dict[str, Any]:
    """What the best factorised Normal keeps of a correlated one, at the ends of alpha, halfway, and where entropies agree."""
    rows: list[dict[str, Any]] = []
    at = {c.name: float(entropy["alpha"].sel(case=c.name)) for c in NORMALS}
    for case in NORMALS:
        halfway = [0.5] if abs(at[case.name] - 0.5) > 1e-4 else []
        for alpha in (0.0, *halfway, at[case.name], 1.0):
            marginal, precision, size = matched(case.cov, factorised(case.cov, alpha))
            ratios = {"precision": precision, "size": size, "marginal": marginal}
            kept = [MATCHED[key] for key, ratio in ratios.items() if abs(ratio - 1) < 1e-6]
            rows.append({"target": case.title, "alpha": alpha, **ratios, "kept": kept})
    return {
        "table": rows,
        "rising": bool((data["marginal"].diff("alpha") > 0).all()),
        **at,
        "half": abs(at["pair"] - 0.5) < 1e-6,
        "elsewhere": abs(at["chain"] - 0.5) > 1e-3,
    }


# --- two modes moved apart -------------------------------------------------------------------------------------------


def is_minimum(data: xr.Dataset) -> Any:
    """Which stationary points are minima."""
    return data["status"].astype(str).str.endswith("minimum")


def pitchfork(case: xr.DataTree) -> dict[str, Any]:
    """Up to where the middle is a minimum, whether theory says so, and whether others compete with it before."""
    critical = float(case["theory/separation"].sel(dim=2))
    found: dict[str, Any] = {"critical": critical}
    for name in ("mean_field", "full_rank"):
        data = dataset_of(case, name)
        centre = data.where((np.abs(data["along"]) < 1e-6) & (np.abs(data["across"]) < 1e-6), drop=True)
        stable, x = is_minimum(centre).to_numpy(), centre["separation"].to_numpy()
        found[name] = {
            "stable_to": float(x[stable].max()),
            "unstable_from": float(x[~stable].min()) if (~stable).any() else None,
            "last": float(x.max()),
        }
    m, fits = found["mean_field"], dataset_of(case, "mean_field")
    beside = (np.abs(fits["along"]) > 1e-6) & is_minimum(fits)
    return {
        **found,
        "agrees": m["unstable_from"] is not None and m["stable_to"] < critical < m["unstable_from"],
        "compete": bool((beside & (fits["separation"] < critical)).any()),
    }


# --- shapes ----------------------------------------------------------------------------------------------------------


def shape_findings(results: xr.DataTree, shape: Shape) -> dict[str, Any]:
    """What full rank gains on a shape, and what is special about it."""
    diagonal, full = (method_findings(case_of(results, f"{shape.name}_{m}"), shape) for m in METHODS)
    gain, root = diagonal["best"] - full["best"], np.sqrt(diagonal["minima"])
    return {
        "title": shape.title,
        "advi": diagonal,
        "fullrank_advi": full,
        "gain": gain,
        "nothing": gain < NOTHING,
        "little": NOTHING <= gain < SMALL,
        "per_coordinate": int(root) if shape.name == "four_corners" and root % 1 == 0 else None,
        "axes_matter": shape.name == "ring" and diagonal["lowest_minima"] < full["lowest_minima"],
        "valley": full["barrier"] is not None and full["barrier"] < 2 * Schedule().nats,
    }


def method_findings(case: xr.DataTree, shape: Shape) -> dict[str, Any]:
    """Minima of one family, and how many ADVI runs ended at each; errors of runs that have not converged stand apart."""
    optima, runs = dataset_of(case, "optima"), dataset_of(case, "runs")
    minima = optima.isel(point=np.flatnonzero(is_minimum(optima)))
    converged = runs["converged"].to_numpy().astype(bool)
    reached = np.bincount(runs["exact"].to_numpy()[converged], minlength=minima.sizes["point"])
    named = {"target": shape.title, "method": METHOD_NAMES[case.attrs["method"]]}
    rows = []
    for orbit in dict.fromkeys(minima["orbit"].to_numpy().tolist()):
        own = np.flatnonzero(minima["orbit"].to_numpy() == orbit)
        first = minima.isel(point=own[0])
        distance = float(np.linalg.norm(first["mean"].to_numpy() - case["forward/mean"].to_numpy()))
        rows.append(
            {
                **named,
                "status": str(first["status"].item()),
                "images": len(own),
                "kl": estimate_of(first, "kl"),
                "axes": np.sqrt(np.linalg.eigvalsh(first["cov"].to_numpy()))[::-1].tolist(),
                "distance": distance if distance > 1e-6 else 0.0,  # zero by symmetry, but for rounding
                "runs": int(reached[own].sum()),
            }
        )
    gaps, sd_errors = np.abs(runs["gap"].to_numpy()), runs["sd_error"].to_numpy()
    lowest = minima["status"].astype(str).str.startswith("global").to_numpy()
    return {
        **named,
        "entries": rows,
        "minima": int(minima.sizes["point"]),
        "best": float(minima["kl"].min()),
        "runs": len(converged),
        "converged": int(converged.sum()),
        "flagged": int((~converged).sum()),
        "off": int((gaps[converged] > TOLERANCE).sum()),
        "wide": int((sd_errors[converged] > RELATIVE).sum()),
        "largest_gap": float(gaps[converged].max(initial=0.0)),
        "sd_error": float(sd_errors[converged].max(initial=0.0)),
        "flagged_gap": float(gaps[~converged].max(initial=0.0)),
        "flagged_sd": float(sd_errors[~converged].max(initial=0.0)),
        "flattest": float(minima["flattest"].min()),
        "flat": bool(minima["flattest"].min() < FLAT),
        "lowest_minima": int(lowest.sum()),
        "barrier": barrier(optima),
        "reached": int((reached > 0).sum()),
        "lowest": int(reached[lowest].sum()),
        "certificate": case.attrs["certificate"],
    }


def barrier(optima: xr.Dataset) -> float | None:
    """Height of the lowest saddle found over the lowest minimum, in nats."""
    kls = optima["kl"].to_numpy()
    saddles = kls[optima["status"].astype(str).to_numpy() == "saddle"]
    return float(saddles.min() - kls.min()) if len(saddles) else None
