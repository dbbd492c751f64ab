"""Numbers and truth values of the question about missed modes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from analysis.diagnosing_missed_modes.repair import LEVEL
from analysis.diagnosing_missed_modes.study import SIZE, SIZES
from analysis.reading import case_of, dataset_of
from models.quadrature import Estimate
from models.results import estimate_of

#: More than this mass outside the region that counts as covered, and a mode counts as missed.
MISSED = 0.2
#: With more than this mass covered nothing is missed, and a warning of k-hat is a false alarm.
ALL = 0.99
#: What a mixture may lack, in nats, without a word.
NEAR = 0.02


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    unseen, prediction = dataset_of(results, "unseen"), case_of(results, "prediction")
    cases = {name: case for name, case in results.children.items() if name.startswith("repair_")}
    repairs = {name.removeprefix("repair_"): _repair(case) for name, case in cases.items()}
    return {
        "settings": json.loads(results.attrs["settings"]),
        "sizes": list(SIZES),
        "size": SIZE,
        "level": LEVEL,
        "near": NEAR,
        "blind": blind(dataset_of(results, "distance")),
        "unseen": {
            "runs": int(unseen["runs"]),
            "optima": int(unseen["optima"]),
            "at_rest": bool(unseen["at_rest"]),
            "distance": float(unseen["distance"]),
            "covered": float(unseen["covered"]),
            "seen": Estimate(
                float(unseen["seen_mass"].mean()),
                float(unseen["seen_mass"].std() / np.sqrt(unseen.sizes["repeat"])),
                "draws",
            ),
            "ess": float(unseen["relative_ess"].median()),
            "combined": estimate_of(unseen, "combined"),
        },
        "repairs": repairs,
        "members": [row for case in cases.values() for row in _members(case)],
        "n_line": sum(case.attrs["family"] == "normal" for case in cases.values()),
        "largest_difference": max(abs(case["estimated"].value - case["mixture"].value) for case in repairs.values()),
        "short_of": [case for case in repairs.values() if case["mixture"].value >= NEAR],
        "overlap": _overlap(dataset_of(results, "overlap")),
        **_prediction(prediction),
    }


def _share(good: xr.DataArray) -> Estimate:
    values = good.to_numpy()
    values = values[np.isfinite(values)]
    p = float(values.mean())
    return Estimate(p, float(np.sqrt(p * (1 - p) / len(values))), "draws")


# --- diagnoses -------------------------------------------------------------------------------------------------------


def blind(data: xr.Dataset) -> dict[str, Any]:
    """How often k-hat passes fits, at each distance, and what these miss."""
    fits = {name: data.sel(fit=name) for name in ("mode", "advi", "cover")}
    distances = [float(d) for d in data["distance"].to_numpy()]

    def share(fit: str, distance: float, size: int = SIZE) -> Estimate:
        return _share(fits[fit]["good"].sel(distance=distance, size=size))

    rows: list[dict[str, Any]] = []
    for distance in distances:
        mode = fits["mode"].sel(distance=distance)
        rows.append(
            {
                "distance": distance,
                "mean": float(mode["mean"]),
                "sd": float(mode["sd"]),
                "kl": estimate_of(mode, "kl"),
                "covered": float(mode["covered"]),
                "ess": float(mode["relative_ess"].sel(size=SIZE).median()),
                "bounded": float(mode["sd"]) > 1,  # the modes of the target have unit sds
                "good": [share("mode", distance, size) for size in SIZES],
                "advi": share("advi", distance),
                "cover": share("cover", distance),
            }
        )
    #: Sets of draws at each size.
    counts = [int(np.isfinite(fits["mode"]["good"].sel(size=size).isel(distance=0)).sum()) for size in SIZES]
    missed = [row for row in rows if row["covered"] < 1 - MISSED]
    whole = [row for row in rows if row["covered"] > ALL]
    alarmed = min(whole, key=lambda row: row["good"][0].value, default=None)
    found: dict[str, Any] = {
        "table": rows,
        "counts": counts,
        "missed_from": missed[0]["distance"] if missed else None,
        "false_alarm": alarmed if alarmed and alarmed["good"][0].value < 0.5 else None,
        "cover": {
            "kl": float(fits["cover"]["kl"].sel(distance=distances[-1])),
            "passes": rows[-1]["cover"].value > 0.5,
        },
    }
    if not missed:
        return found | {"passes": False, "by_budget": None, "worst": None}
    worst = max(missed, key=lambda row: [row["good"][size].value for size in (SIZES.index(SIZE), -1)])
    exact, advi = worst["good"][SIZES.index(SIZE)].value, worst["advi"].value
    gap = float(fits["advi"]["kl"].sel(distance=worst["distance"])) - worst["kl"].value
    some = worst["good"][SIZES.index(SIZE)].value
    return found | {
        "worst": worst,
        "warns": some < 0.5,
        "passes": some > 0.5,
        "by_budget": next((row for row in missed if row["good"][-1].value < 0.5 < row["good"][0].value), None),
        "advi": {
            "exact": exact,
            "advi": advi,
            "gap": max(gap, 0.0),
            "alike": abs(exact - advi) < 0.3,
        },
    }


# --- the repair ------------------------------------------------------------------------------------------------------


def _repair(case: xr.DataTree) -> dict[str, Any]:
    totals = dataset_of(case, "combined")
    known = "exact_minima" in totals
    found: dict[str, Any] = {
        "title": case.attrs["title"],
        **{key: estimate_of(totals, key) for key in ("single", "mixture", "softmax", "estimated")},
        "exact_members": estimate_of(totals, "exact_members") if known else None,
        "optima": case["members"].sizes["member"],
        "reached": int(totals["exact_reached"]) if known else None,
        "minima": int(totals["exact_minima"]) if known else None,
    }
    missed = bool(known and found["exact_members"].value < found["mixture"].value / 2)
    return found | {
        "starts_missed": missed,
        "nearer": bool(known and found["mixture"].value < found["exact_members"].value),
    }


def _members(case: xr.DataTree) -> list[dict[str, Any]]:
    data = dataset_of(case, "members")
    return [
        {
            "target": case.attrs["title"],
            "mean": row["mean"].to_numpy().tolist(),
            "sd": row["sd"].to_numpy().tolist(),
            "kl": estimate_of(row, "kl"),
            **{key: float(row[key]) for key in ("softmax", "weight", "covered")},
            "runs": int(row["runs"]),
        }
        for row in (data.isel(member=k) for k in range(data.sizes["member"]))
    ]


def _overlap(data: xr.Dataset) -> dict[str, Any]:
    first = data.isel(separation=int(np.argmax((data["softmax"] - data["best"]).to_numpy())))
    return {
        "separation": float(first["separation"]),
        **{key: estimate_of(first, key) for key in ("best", "softmax", "single")},
        "broad_weight": float(first["broad_weight"]),
        "broad_softmax": float(first["broad_softmax"]),
        "last": float(data["separation"][-1]),
        "last_excess": float(data["softmax"][-1] - data["best"][-1]),
    }


# --- prediction ------------------------------------------------------------------------------------------------------


def _prediction(case: xr.DataTree) -> dict[str, Any]:
    members, scores = dataset_of(case, "members"), dataset_of(case, "scores")
    gain = estimate_of(scores, "gain", rule="stacking")
    return {
        "prediction": {
            "n": case["observed_data"].sizes["observation"],
            "softmax": float(members["softmax"].max()),
            "largest_k": float(members["largest_k"].max()),
            "gain": gain,
            "softmax_gain": float(scores["gain"].sel(rule="softmax of ELBOs")),
            "stacking_better": gain.value > 3 * gain.error and gain.value > 0.01,
        },
        "prediction_members": [
            {"elbo": Estimate(float(row["elbo"]), float(row["elbo_error"]), "quasi-Monte Carlo")}
            | {key: float(row[key]) for key in ("mean", "elpd_loo", "softmax", "reverse", "stacking")}
            for row in (members.isel(member=k) for k in range(members.sizes["member"]))
        ],
        "prediction_scores": [
            {"rule": str(rule), "score": estimate_of(scores, "score", rule=rule)} for rule in scores["rule"].to_numpy()
        ],
    }
