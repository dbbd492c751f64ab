"""Numbers and truth values: where the list of optima changes, and where ADVI ended.

``birth`` is where a single mode, of unequal ones the heavier, becomes a minimum; from ``exchange`` on it is global; ``end`` is where
the covering minimum ends, ``light`` where the lighter mode becomes a minimum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.judged import COVERED, within_tolerance
from analysis.reading import dataset_of
from analysis.separation_sweep.branches import BOTH, BOUNDS, CASES, LEFT, RIGHT, Array, pieces_of
from analysis.separation_sweep.study import BROAD_LAST
from models.quadrature import Estimate

#: Nats above its minimum up to which a run is within tolerance, and has arrived.
TOLERANCE = 0.02
#: Cells of the table closer to a fold or to an exchange than this, in units of the separation, are not compared with it.
CLEAR = 1e-3


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states, of ``equal`` and ``unequal`` weights and of all of them."""
    equal, unequal = (case_findings(results, case.name) for case in CASES)
    cusp, optima = dataset_of(results, "boundaries/cusp"), table_of(results)
    curves = dataset_of(results, "boundaries/curves")
    consistent = optima["consistent"].to_numpy()
    return {
        "settings": json.loads(results.attrs["settings"]),
        "tolerance": TOLERANCE,
        "least_cover": COVERED,
        "margin": CLEAR,
        "bounds": {"high": BOUNDS[1]},
        "equal": equal,
        "unequal": unequal,
        "cusp": {key: Estimate(float(cusp[key]), float(cusp["error"]), "quadrature") for key in ("w", "a")},
        "broad_last": {"w": BROAD_LAST, "a": _height(curves, "broad", BROAD_LAST)},
        "check": check_table(optima, curves),
        "counted": {
            "cells": int(consistent.size),
            "consistent": int(consistent.sum()),
            "most": int(optima["minima"].max()),
        },
        "table": [
            row for name, case in (("equal", equal), ("unequal", unequal)) for row in _event_rows(results, name, case)
        ],
        "runs": {key: equal["advi"][key] + unequal["advi"][key] for key in ("runs", "not_arrived")},
        "start": start_decides(equal),
        "own": own_start(equal["advi"]),
        "late": late_runs(unequal),
    }


def table_of(results: xr.DataTree) -> xr.Dataset:
    """Return the table of optima over all weights."""
    rows = [dataset_of(results, name) for name in results.children if name.startswith("optima_")]
    return xr.concat(rows, "weight", join="outer").sortby("weight")


# --- optima ----------------------------------------------------------------------------------------------------------


def case_findings(results: xr.DataTree, name: str) -> dict[str, Any]:
    """Where the optima of equal or unequal modes change, the minima at the largest separation, and runs of ADVI."""
    critical = dataset_of(results, f"branches_{name}/critical")
    exchange = critical.sel(name="exchange")
    found: dict[str, Any] = {
        "title": str(results[f"branches_{name}"].attrs["title"]),
        "weight": float(results[f"branches_{name}"].attrs["weight"]),
        "bimodal": float(results[f"branches_{name}"].attrs["bimodal_from"]),
        **{f"exchange_{key}": float(exchange[key]) for key in ("sd", "other_sd")},
        "advi": _advi_findings(dataset_of(results, f"advi_{name}")),
    }
    for key, label in EVENTS.items():
        if label in critical["name"]:
            point = critical.sel(name=label)
            found[key] = Estimate(float(point["a"]), float(point["error"]), "quadrature")
    last = {
        label: {k: float(v[np.argmax(values["a"])]) for k, v in values.items()}
        for label, status, values in pieces_of(dataset_of(results, f"branches_{name}/branches"))
        if status != "saddle" and values["a"].max() >= BOUNDS[1] - 1e-9
    }
    return found | {"last": last, "covering_stays": BOTH in last}


#: Names of the located points.
EVENTS = {"birth": f"birth of {RIGHT}", "exchange": "exchange", "end": f"end of {BOTH}", "light": f"birth of {LEFT}"}


def _event_rows(results: xr.DataTree, name: str, case: Mapping[str, Any]) -> list[dict[str, Any]]:
    critical = dataset_of(results, f"branches_{name}/critical")
    same = {"target": case["title"], "symmetric": name == "equal"}
    rows = [{**same, "event": "bimodal", "a": case["bimodal"], "apart": 2 * case["bimodal"],
             "mean": None, "sd": None, "kl": None}]  # fmt: skip
    for key in EVENTS.keys() & case.keys():
        point = critical.sel(name=EVENTS[key])
        chosen = {k: float(point[f"other_{k}"]) for k in ("mean", "sd")}
        rows.append(
            {**same, "event": key, "a": case[key], "apart": 2 * case[key].value, **chosen, "kl": float(point["kl"])}
        )
    return sorted(rows, key=lambda row: row["apart"])


def along(curves: xr.Dataset, name: str) -> tuple[Array, Array]:
    """Weights (n,), ascending, and separations (n,) of a curve."""
    chosen = curves["curve"].to_numpy() == name
    w, a = curves["w"].to_numpy()[chosen], curves["a"].to_numpy()[chosen]
    order = np.argsort(w)
    return w[order], a[order]


def _height(curves: xr.Dataset, name: str, weight: float) -> float:
    """Separation of a curve at a weight up to 1/2; infinite where the curve does not reach or has left the range."""
    w, a = along(curves, name)
    return float(np.interp(weight, w, a, left=np.inf, right=np.inf))


def check_table(table: xr.Dataset, curves: xr.Dataset) -> dict[str, int]:
    """Compare every cell of the table of optima with the curves, which were solved for without it.

    Parameters
    ----------
    table : Dataset
        As in `optima`.
    curves : Dataset
        As in `boundaries`.

    Returns
    -------
    dict of str to int
        ``cells``; ``near``: closer than `CLEAR` to a curve, and not compared; ``differ``: of the others, those with another
        number of minima or another global minimum than the curves say.
    """
    near = differ = cells = 0
    for weight in table["weight"].to_numpy():
        at = {name: _height(curves, name, float(weight)) for name in ("heavy", "light", "broad", "exchange")}
        for a in table["a"].to_numpy():
            cells += 1
            if min(abs(a - height) for height in at.values()) < CLEAR:
                near += 1
                continue
            one = table.sel(weight=weight, a=a)
            expected = 1 + (a > at["heavy"]) + (a > at["light"]) - (a > at["broad"])
            differ += int(one["minima"]) != expected or not _global_agrees(one, a, at)
    return {"cells": cells, "near": near, "differ": differ}


def _global_agrees(one: xr.Dataset, a: float, at: Mapping[str, float]) -> bool:
    """Whether the global minimum is the covering one, the widest, just where the exchange curve says so."""
    count = int(one["minima"])
    widest = int(np.argmax(one["sd"].to_numpy()[:count]))
    rightmost = int(np.argmax(one["mean"].to_numpy()[:count]))
    is_global = one["is_global"].to_numpy()[:count] == 1
    if count == 1:
        return bool(is_global[0])
    if at["heavy"] < a < at["broad"]:
        return bool(is_global[widest] == (a < at["exchange"]) and is_global[rightmost] == (a > at["exchange"]))
    return bool(is_global[rightmost])


# --- ADVI ------------------------------------------------------------------------------------------------------------


def _advi_findings(advi: xr.Dataset) -> dict[str, Any]:
    gap, labels = advi["gap"].to_numpy(), advi["label"].to_numpy()
    arrived, best = within_tolerance(gap, TOLERANCE), advi["is_global"].to_numpy()
    several = np.broadcast_to((advi["n_minima"].to_numpy() > 1)[:, None], gap.shape)
    own = np.array([str(start).startswith("pm.fit") for start in advi["start"].to_numpy()])
    rows = [
        {
            "a": float(a),
            "minima": int(advi["n_minima"][i]),
            "best": str(advi["global_label"][i].item()),
            **{key: int((labels[i] == name).sum()) for key, name in (("both", BOTH), ("left", LEFT), ("right", RIGHT))},
            "own": {name: int((labels[i][own] == name).sum()) for name in (BOTH, LEFT, RIGHT, "none")},
            "not_arrived": int((~arrived[i]).sum()),
        }
        for i, a in enumerate(advi["a"].to_numpy())
    ]
    return {
        "table": rows,
        "runs": int(gap.size),
        "separations": len(rows),
        "starts": int(own.size),
        "own": int(own.sum()),
        "not_arrived": int((~arrived).sum()),
        "choice": int(several.sum()),
        "choice_local": int((several & ~best).sum()),
    }


def _between(case: Mapping[str, Any], low: float, high: float) -> dict[str, int]:
    """Ends of ADVI runs at separations in an open interval."""
    rows = [row for row in case["advi"]["table"] if low < row["a"] < high]
    both, single = (sum(row[key] for row in rows) for key in ("both", "left"))
    return {"separations": len(rows), "both": both, "single": single + sum(row["right"] for row in rows)}


def start_decides(equal: Mapping[str, Any]) -> dict[str, Any]:
    """Ends of runs where covering is better than a single mode, though that is a minimum, and where it is worse."""
    cover = _between(equal, equal["birth"].value, equal["exchange"].value)
    beyond = _between(equal, equal["exchange"].value, np.inf)
    return {"cover": cover, "beyond": beyond, "decides": min(cover["single"], beyond["both"]) > 0}


def own_start(advi: Mapping[str, Any]) -> dict[str, Any]:
    """At how many separations a run from PyMC's own start left a mode out, and from which on, if from then on always."""
    left = [row["own"][BOTH] < advi["own"] for row in advi["table"]]
    first = left.index(True) if any(left) else None
    for_good = first is not None and all(left[first:])
    return {
        "left": sum(left),
        "of": len(left),
        "for_good": for_good,
        "first": None if first is None else advi["table"][first]["a"],
    }


def late_runs(unequal: Mapping[str, Any]) -> dict[str, int]:
    """Runs past the end of the covering minimum, and how many of them hang about where it used to be."""
    rows = [row for row in unequal["advi"]["table"] if row["a"] > unequal["end"].value]
    return {"runs": len(rows) * unequal["advi"]["starts"], "not_arrived": sum(row["not_arrived"] for row in rows)}
