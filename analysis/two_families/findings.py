"""Numbers and truth values of the choice between two families."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.reading import case_of, mean_of, share_of
from analysis.two_families.plane import RANGE
from analysis.two_families.study import SIZES
from analysis.two_families.targets import DATA, KNOWN, PAIR, Known
from models.quadrature import Estimate
from models.results import estimate_of

__all__ = ["findings", "judged", "needed_size", "note_of", "scores"]

Array = NDArray[np.float64]
LEVEL = 0.95
#: What a standard error is multiplied with for an interval of this level.
QUANTILE = float(norm.ppf((1 + LEVEL) / 2))
#: Standard errors from which on a deviation is called one. At three, chance alone is taken for one in 370 cases.
CLEAR = 3.0
#: Data sets whose intervals are drawn.
SHOWN = 60
NAMES = {"in_sample": "log likelihood", "tic": "TIC", "loo": "leave-one-out"}
#: Sample sizes of which sentences speak.
SPOKEN = {"few": SIZES[0], "some": 200, "most": SIZES[-1]}


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    settings = json.loads(results.attrs["settings"])
    cases = {case.name: _choice(case_of(results, case.name), case) for case in KNOWN}
    data = [case_of(results, d.name) for d in DATA]
    return {
        "geometry": _geometry(case_of(results, "geometry")),
        **cases,
        "data": [_data(part) for part in data],
        "settings": settings,
        **{key: [row for case in cases.values() for row in case[key]] for key in ("differences", "wrong")},
        "errors": [case["error"] for case in cases.values()],
        "brief": [
            {"target": case["short"], "closer": case["better"], "difference": abs(case["difference"].value), "sd": case["sd"],
             "needed": case["needed"], **case["at"]}
            for case in cases.values()
        ],
        "level": 100 * LEVEL,
        "quantile": QUANTILE,
        "threshold": CLEAR,
        "shown": min(SHOWN, settings["replications"]),
        "flip": len({case["better"] for case in cases.values()}) > 1,
    }  # fmt: skip


# --- the plane -------------------------------------------------------------------------------------------------------


def _geometry(part: xr.DataTree) -> dict[str, Any]:
    spectrum, found = part["spectrum"].to_dataset(), part["projections"].to_dataset()
    values = spectrum["eigenvalue"].to_numpy()
    table: list[dict[str, Any]] = [
        {
            "target": case.short,
            "family": f.capitalize(),
            "kl": estimate_of(found, "kl", target=case.name, family=f),
            **{key: float(found[key].sel(target=case.name, family=f)) for key in ("sd", "js_sd", "drawn", "full")},
            "js_excess": float((found["js_kl"] - found["kl"]).sel(target=case.name, family=f)),
        }
        for case in KNOWN
        for f in PAIR
    ]
    nearer = [np.argmin(found[key].transpose("target", "family").to_numpy(), axis=1) for key in ("full", "kl")]
    return {
        "table": table,
        "share": float(values[:2].sum() / np.abs(values).sum()),
        "smallest": float(values.min()),
        "worst_distance": float(spectrum["worst_distance"]),
        "longest": float(spectrum["longest"]),
        "members": int(spectrum["members"]),
        "location": float(np.abs(found["location"]).max()),
        "shift": float(np.abs(found["js_sd"] / found["sd"] - 1).max()),
        "shortest": min(table, key=lambda row: row["drawn"] / row["full"]),
        "worst": max(table, key=lambda row: abs(row["js_sd"] / row["sd"] - 1)),
        "agree": bool((nearer[0] == nearer[1]).all()),
        "range": RANGE,
    }


# --- the choice ------------------------------------------------------------------------------------------------------


def _choice(part: xr.DataTree, case: Known) -> dict[str, Any]:
    exact, sets, wrong = (part[key].to_dataset() for key in ("exact", "replications", "wrong"))
    n, mean, sd, trials = int(part.attrs["n"]), float(exact["mean"]), float(exact["sd"]), int(wrong["trials"])
    half_gap = float(exact["trace"][0] - exact["trace"][1]) / 2
    rates = {key: [share_of(float(r), trials) for r in wrong["rate"].sel(criterion=key).to_numpy()] for key in NAMES}
    return {
        "title": case.title,
        "short": case.short,
        "n": n,
        "count": sets.sizes["replication"],
        "trials": trials,
        "better": PAIR[0 if mean > 0 else 1].capitalize(),
        "kl": {f: estimate_of(exact, "kl", family=f) for f in PAIR},
        "trace": {f: float(exact["trace"].sel(family=f)) for f in PAIR},
        "difference": estimate_of(exact, "mean"),
        "sd": sd,
        "differences": [
            {"target": case.short, "criterion": name, "mean": mean_of(sets[key].to_numpy()), "exact": n * mean,
             "theory": n * mean + (half_gap if key == "in_sample" else -half_gap)}
            for key, name in NAMES.items()
        ],
        "error": {"target": case.short, **_intervals(sets["loo"].to_numpy(), sets["dse"].to_numpy(), n * mean)},
        "wrong": [
            {"target": case.short, "n": size, "predicted": float(wrong["predicted"].sel(n=size, criterion="in_sample")),
             **{key: rate[i] for key, rate in rates.items()}}
            for i, size in enumerate(SIZES)
        ],
        "at": {
            key: {"n": size, "rate": rates["in_sample"][SIZES.index(size)]}
            for key, size in SPOKEN.items()
        },
        "needed": needed_size(mean, sd),
        "compare": _compare(part),
    }  # fmt: skip


def _intervals(difference: Array, error: Array, truth: float) -> dict[str, Any]:
    """What differences (r,) and their standard errors (r,) say over data sets, against what they are to estimate."""
    spread, reported = _sd(difference), mean_of(error)
    ratio = spread.value / reported.value
    relative = float(np.hypot(spread.error / spread.value, reported.error / reported.value))
    covered = share_of(float((np.abs(difference - truth) <= QUANTILE * error).mean()), len(difference))
    return {"spread": spread, "reported": reported, **judged(covered, Estimate(ratio, ratio * relative, "draws"))}


def judged(covered: Estimate, ratio: Estimate) -> dict[str, Any]:
    """Whether a standard error can be trusted, by its coverage and by the spread over data sets; one rule for all."""
    return {
        "covered": covered,
        "ratio": ratio,
        "as_large": abs(ratio.value - 1) < CLEAR * ratio.error,
        "covers": abs(covered.value - LEVEL) < CLEAR * covered.error,
        "too_seldom": covered.value < LEVEL,
    }


def _compare(part: xr.DataTree) -> dict[str, Any]:
    """ArviZ, given draws of posteriors, against exact refits of the same data sets."""
    smoothed = part["smoothed"].to_dataset()
    sets = part["replications"].to_dataset().isel(replication=slice(smoothed.sizes["replication"]))
    return {
        "smoothed": smoothed.sizes["replication"],
        "gap": float(np.abs(smoothed["elpd_diff"] - sets["loo"]).mean()),
        "dse": float((smoothed["dse"] / sets["dse"]).mean()),
        "pareto": int((smoothed["pareto_k"] > 0.7).sum()),
    }


def needed_size(mean: float, sd: float, wrong: float = 0.05) -> int:
    """Observations from which first-order theory, without the shift, puts wrong choices below a share."""
    return int(np.ceil((norm.ppf(1 - wrong) * sd / mean) ** 2))


def _sd(values: Array) -> Estimate:
    """Standard deviation with its standard error, fourth moment included."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    error = np.sqrt(max(float((centred**4).mean()) - variance**2, 0) / len(values)) / (2 * np.sqrt(variance))
    return Estimate(float(values.std(ddof=1)), float(error), "draws")


# --- real data -------------------------------------------------------------------------------------------------------


def _data(part: xr.DataTree) -> dict[str, Any]:
    scored = scores(part)
    best = max((row for row in scored if not row["note"]), key=lambda row: float(row["tic"]))
    rivals = [row for row in scored if not row["note"] and row is not best]
    runner = max((row for row in rivals if "mixture" not in row["family"]), key=lambda row: float(row["tic"]))
    return {
        **{key: part.attrs[key] for key in ("title", "unit", "n", "distinct")},
        "table": scored,
        "best": best["family"],
        "runner": runner["family"],
        "behind": Estimate(-runner["difference"].value, runner["difference"].error, "draws"),
        "close": [r["family"] for r in rivals if -r["difference"].value <= QUANTILE * r["difference"].error],
        "ends": [
            {"family": row["family"], "note": row["note"], "is_normal": "normal" in row["note"]}
            for row in scored
            if row["note"]
        ],
        "reached_once": [
            row["family"] for row in scored if not row["note"] and "mixture" in row["family"] and row["reached"] == 1
        ],
    }


def scores(part: xr.DataTree) -> list[dict[str, Any]]:
    """One row per family: scores per observation, difference to the best in TIC's score with a paired standard error."""
    fits = part["fits"].to_dataset()
    n = fits.sizes["observation"]
    point = fits["pointwise"].to_numpy()
    mean = point.mean(axis=1)
    trace, size, status = (fits[key].to_numpy() for key in ("trace", "size", "status"))
    tic = np.where(status == "converged", mean - trace / n, -np.inf)
    best = int(np.argmax(tic))
    rows = []
    for k, name in enumerate(fits["family"].to_numpy()):
        good = bool(status[k] == "converged")
        paired = float((point[k] - point[best]).std(ddof=1) / np.sqrt(n)) if good else np.nan
        rows.append(
            {
                "family": str(name).replace("_", " "),
                "note": "" if good else note_of(str(status[k])),
                "likelihood": float(mean[k]) if np.isfinite(mean[k]) else None,
                "aic": float(mean[k] - size[k] / n) if good else None,
                "tic": float(tic[k]) if good else None,
                "size": int(size[k]),
                "trace": float(trace[k]) if good else None,
                "difference": Estimate(float(tic[k] - tic[best]), paired, "draws") if good else None,
                "status": "maximum" if good else note_of(str(status[k])),
                "reached": int(fits["starts_reached"][k]),
                "degenerate": int(fits["starts_degenerate"][k]),
            }
        )
    return rows


def note_of(status: str) -> str:
    """What to say of a fit that has no maximum in the interior, by its status."""
    if status == "boundary: nu -> infinity":
        return "= normal (ν → ∞)"
    return "no maximum" if status.startswith("no maximum") else status.removeprefix("boundary: ")
