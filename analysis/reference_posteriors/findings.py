"""Numbers of the question about posteriors that others chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.reading import case_of, dataset_of
from analysis.reference_posteriors.study import WAYS

__all__ = ["errors", "findings"]

#: k-hat from which draws of a fit are not to be relied on (Vehtari et al., 2024).
K_HAT = 0.7
#: A fit is poor if a mean is further off than this many sds, or an sd by more than this factor.
POOR_MEAN, POOR_SD = 0.5, 1.5
#: Relative error of an sd that counts as small.
SMALL = 0.15


def errors(case: xr.DataTree) -> xr.Dataset:
    """Over (way, parameter): ``error`` of the mean in sds, and ``ratio`` of the sd to that of Stan's draws."""
    reference, fits = dataset_of(case, "reference"), dataset_of(case, "fits")
    return xr.Dataset(
        {"error": abs(fits["mean"] - reference["mean"]) / reference["sd"], "ratio": fits["sd"] / reference["sd"]}
    )


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states."""
    cases = {key: case_of(results, key) for key in results.children}
    rows = {key: _row(case) for key, case in cases.items()}
    one = [row for row in rows.values() if row["modes"] == 1]
    two = [row for row in rows.values() if row["modes"] > 1]
    references = [dataset_of(cases[row["key"]], "reference") for row in one]
    ways = {way: _summary(way, cases, one) for way in WAYS if any(way in row["ways"] for row in one)}
    return {
        "rows": list(rows.values()),
        "n": len(rows),
        "one": len(one),
        "parameters": sum(row["parameters"] for row in one),
        "ways": ways,
        "two": _two_modes(two[0]) if two else None,
        "k_hat": K_HAT,
        "small": SMALL,
        "poor_mean": POOR_MEAN,
        "poor_sd": POOR_SD,
        "response": _worst_response(one),
        "trust": _trust(cases.values()),
        "nearer": _nearer(rows),
        "narrowest": min(row["ways"]["mean_field"]["low"] for row in one),
        "most_unknowns": max(row["unknowns"] for row in rows.values()),
        "mcse": float(np.median(np.concatenate([data["mcse"] / data["sd"] for data in references]))),
    }


def _row(case: xr.DataTree) -> dict[str, Any]:
    """What every way says of one posterior."""
    found, fits = errors(case), dataset_of(case, "fits")
    ways = {}
    for way in fits["way"].to_numpy().tolist():
        here, fit = found.sel(way=way), fits.sel(way=way)
        error, ratio = float(here["error"].max()), here["ratio"].to_numpy()
        k_hat = float(fit["k_hat"])
        ways[way] = {
            "error": error,
            "low": float(ratio.min()),
            "high": float(ratio.max()),
            "k_hat": k_hat,
            "warned": not k_hat < K_HAT,  # also where it cannot be computed
            "poor": bool(error > POOR_MEAN or ratio.max() > POOR_SD or ratio.min() < 1 / POOR_SD),
            "found": int(fit["found"].sum()),
            "optima": int(fit["optima"]),
            "at_rest": bool(fit["at_rest"]),
            "seconds": float(fit["seconds"]),
            "weights": fit["weight"].to_numpy().tolist(),
        }
    return {
        "key": case.name,
        "title": case.attrs["title"],
        "unknowns": int(case.attrs["dim"]),
        "parameters": found.sizes["parameter"],
        "modes": fits.sizes["mode"],
        "ways": ways,
    }


def _summary(way: str, cases: Mapping[str, xr.DataTree], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One way over all posteriors with one mode, their parameters taken together."""
    rows = [row for row in rows if way in row["ways"]]
    found = [errors(cases[row["key"]]).sel(way=way) for row in rows]
    error = np.concatenate([data["error"].to_numpy() for data in found])
    off = np.abs(np.concatenate([data["ratio"].to_numpy() for data in found]) - 1)
    said = [row["ways"][way] for row in rows]
    return {
        "name": WAYS[way],
        "n": len(rows),
        "error": float(np.median(error)),
        "worst_error": float(error.max()),
        "sd_error": float(np.median(off)),
        "sd_error_90": float(np.quantile(off, 0.9)),
        "sd_small": float(np.mean(off <= SMALL)),
        "found": sum(s["found"] for s in said),
        "at_rest": sum(s["at_rest"] for s in said),
        "warned": sum(s["warned"] for s in said),
        "poor": sum(s["poor"] for s in said),
        "poor_silent": [row["title"] for row, s in zip(rows, said, strict=True) if s["poor"] and not s["warned"]],
        "good_warned": sum(s["warned"] and not s["poor"] for s in said),
        "seconds": sum(s["seconds"] for s in said),
    }


def _worst_response(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Posteriors where linear response leaves an sd off by more than `SMALL`, the worst first."""
    found = []
    for row in rows:
        said = row["ways"].get("linear_response")
        if said and max(said["high"] - 1, 1 - said["low"]) > SMALL:
            found.append({"title": row["title"], **said, "off": max(said["high"] - 1, 1 - said["low"])})
    return sorted(found, key=lambda r: -r["off"])


def _trust(cases: Iterable[xr.DataTree]) -> dict[str, int]:
    """How many sds of linear response, over all posteriors, are off by more than `SMALL`, and how many of these, and of the others, it does not trust."""
    cases = list(cases)
    off = np.concatenate([abs(errors(c)["ratio"].sel(way="linear_response").to_numpy() - 1) > SMALL for c in cases])
    named = ~np.concatenate([dataset_of(c, "fits")["trusted"].sel(way="linear_response").to_numpy() for c in cases])
    counts = {"off": off, "off_named": off & named, "good": ~off, "good_named": ~off & named}
    return {name: int(found.sum()) for name, found in counts.items()}


def _nearer(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Largest errors of mean field for both ways to write eight schools, where the one that is not centred is better."""
    if not {"schools", "schools_centred"} <= set(rows):
        return None
    error = {key: rows[key]["ways"]["mean_field"]["error"] for key in ("schools", "schools_centred")}
    if error["schools"] >= error["schools_centred"]:
        return None
    return {"not_centred": error["schools"], "centred": error["schools_centred"]}


def _two_modes(row: Mapping[str, Any]) -> dict[str, Any]:
    """The posterior with two modes: what one optimum and what the mixture says of it."""
    ways, mixture = row["ways"], row["ways"].get("mixture")
    return {
        "title": row["title"],
        "single": ways["full_rank"],
        "pymc": ways["pymc_mean_field"],
        "mixture": mixture,
        "off": None if mixture is None else max(mixture["high"] - 1, 1 - mixture["low"]),
    }
