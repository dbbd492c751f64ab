"""Numbers and truth values of the question about posteriors with several modes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.posterior_modes.cases import durations
from analysis.posterior_modes.study import LEVEL, TOLERANCE
from analysis.reading import dataset_of
from models.results import estimate_of

__all__ = ["both", "ends", "findings", "one_sided", "particles"]

Array = NDArray[np.float64]
#: A chain with less than this share of its draws on one side has not seen that side.
STUCK = 0.01


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = {name: _case(case) for name, case in results.children.items()}
    return {
        **cases,
        "settings": json.loads(results.attrs["settings"]),
        "level": LEVEL,
        "n_faithful": len(durations()),
        "stuck": sum(case["chains"]["stuck"] for case in cases.values()),
        "n_chains": sum(case["chains"]["n"] for case in cases.values()),
        "n_cases": len(cases),
        "smc_in_both": sum(not case["smc"]["lost"] for case in cases.values()),
        "log_z": estimate_of(dataset_of(results, "cauchy/grid"), "log_z"),
        **{key: sum(case[key] for case in cases.values()) for key in ("runs", "at_rest")},
    }


def _which(fits: xr.Dataset, **wanted: str) -> xr.Dataset:
    """Return the fits whose ``role`` or ``how`` is as wanted."""
    chosen = np.logical_and.reduce([(fits[key] == value).to_numpy() for key, value in wanted.items()])
    return fits.isel(fit=np.flatnonzero(chosen))


def _case(case: xr.DataTree) -> dict[str, Any]:
    """What samplers and fits say of a posterior; the share of its first mode is that on the grid, else one half by symmetry."""
    fits, column = dataset_of(case, "fits"), int(case.attrs["column"])
    grid = dataset_of(case, "grid") if "grid" in case.children else None
    exact_share = 0.5 if grid is None else float(grid["share"])
    advi = _which(fits, how="advi")
    nowhere = (advi["covered"] < STUCK).to_numpy()
    reverse = advi.isel(fit=np.flatnonzero(~nowhere)) if grid is None else _which(fits, role="reverse", how="exact")
    at_smc = dataset_of(case, "sources").sel(source="SMC")
    return {
        "parameter": case.attrs["parameter"],
        "side": case.attrs["side"],
        "fits": _rows(case, grid, column),
        "exact_share": exact_share,
        "chains": one_sided(case["shares/share"].to_numpy()) | {"r_hat": float(case["shares/r_hat"])},
        "smc": particles(float(at_smc["share"]), int(at_smc["n"]), exact_share),
        "ends": None if grid is None else ends(advi["gap"].to_numpy(), advi["at_rest"].to_numpy()),
        "both": both(fits.isel(fit=0), reverse, column),
        "nowhere": int((nowhere & (advi["at_rest"] > 0).to_numpy()).sum()),
        **{key: int(advi[key].sum()) for key in ("runs", "at_rest")},
    }


def _rows(case: xr.DataTree, grid: xr.Dataset | None, column: int) -> list[dict[str, Any]]:
    """The reported parameter by the exact posterior, by every sampler, and by every fit."""
    absent = dict.fromkeys(("direction", "covered", "kl_forward", "kl_reverse", "runs"))

    def of_moments(source: str, data: xr.Dataset) -> dict[str, Any]:
        sd = float(np.sqrt(data["cov"][column, column]))
        return absent | {"source": source, "mean": float(data["mean"][column]), "sd": sd, "share": float(data["share"])}

    rows = [] if grid is None else [of_moments("exact posterior", grid)]
    sources, fits = dataset_of(case, "sources"), dataset_of(case, "fits")
    for name in sources["source"].to_numpy():
        at = sources.sel(source=name)
        rows.append(absent | {"source": str(name)} | {key: float(at[key]) for key in ("mean", "sd", "share")})
    for fit in (fits.isel(fit=k) for k in range(fits.sizes["fit"])):
        direction, label = str(fit["fit"].item()).split(": ", 1)
        row = of_moments(label, fit) | {
            "direction": direction,
            "covered": float(fit["covered"]),
            "runs": int(fit["runs"]) or None,
        }
        if grid is not None:
            row["kl_forward"] = float(fit["kl_forward"])
            row["kl_reverse"] = estimate_of(fit, "kl_reverse") if direction == "reverse" else None
        rows.append(row)
    return rows


def ends(gaps: Array, at_rest: Array) -> dict[str, Any]:
    """How near to exact minima the distinct ends of ADVI (k,) are, in nats."""
    stopped = gaps > TOLERANCE
    return {
        "n": len(gaps),
        "stopped": int(stopped.sum()),
        "largest": None if stopped.all() else max(float(gaps[~stopped].max()), 0.0),
        "though_at_rest": bool((at_rest[stopped] > 0).any()),
    }


def one_sided(shares: Array) -> dict[str, Any]:
    """How many chains have stayed on one side, by their shares (chain,) of draws on the first."""
    stuck = int(((shares < STUCK) | (shares > 1 - STUCK)).sum())
    return {
        "n": len(shares),
        "shares": shares.tolist(),
        "stuck": stuck,
        "all_stuck": stuck == len(shares),
        "on_one_side": len(np.unique(shares > 0.5)) == 1,
    }


def particles(share: float, n: int, exact: float) -> dict[str, Any]:
    """Whether n particles have both modes, and in the right parts as far as independent draws would."""
    expected = float(np.sqrt(exact * (1 - exact) / n))
    return {
        "n": n,
        "share": share,
        "lost": min(share, 1 - share) < STUCK,
        "expected": expected,
        "too_far": abs(share - exact) > 4 * expected,
    }


def both(forward: xr.Dataset, reverse: xr.Dataset, column: int) -> dict[str, Any]:
    """What the forward optimum and each reverse one report of one parameter."""
    sds, means = np.sqrt(reverse["cov"].to_numpy()[:, column, column]), reverse["mean"].to_numpy()[:, column]
    sd, covered = float(np.sqrt(forward["cov"][column, column])), reverse["covered"].to_numpy()
    narrow = sds < 0.5 * sd
    return {
        "forward": {"mean": float(forward["mean"][column]), "sd": sd, "covered": float(forward["covered"])},
        "reverse": [{"mean": float(m), "sd": float(s)} for m, s in zip(means, sds, strict=True)],
        "lowest_covered": float(covered.min()),
        "highest_covered": float(covered.max()),
        "narrow": int(narrow.sum()),
        "broad_sds": sds[~narrow].tolist(),
    }
