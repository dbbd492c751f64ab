"""Numbers and truth values: the basins of exact descent, and where runs of ADVI ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.initialisation.descent import LOG_SDS, MEANS, METRICS, on_edge
from analysis.initialisation.study import OPTIMIZERS
from analysis.judged import NONE, within_tolerance
from analysis.reading import case_of
from models.quadrature import Estimate

#: Nats above its minimum up to which a run is within tolerance, and has arrived.
TOLERANCE = 0.02
#: A start closer than this to a boundary, in (mean, log sd), is called near it.
NEAR = 0.5


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states: one entry per case, and tables and counts across cases."""
    cases = {name: case_findings(case_of(results, name)) for name in results.children}
    return {
        **cases,
        "settings": json.loads(results.attrs["settings"]),
        "tolerance": TOLERANCE,
        "near": NEAR,
        "box": {"mean": MEANS[1], "sd_low": float(np.exp(LOG_SDS[0])), "sd_high": float(np.exp(LOG_SDS[1]))},
        "minima": [row for case in cases.values() for row in case["minima"]],
        "shares": [row for case in cases.values() for row in case["table"]],
        "pymc_starts": [case["pymc_start"] for case in cases.values()],
        "defaults": default_runs([case["pymc"] for case in cases.values()]),
        "lost": sum(case["map_lost"] + sum(case[name]["lost"] for name in OPTIMIZERS) for case in cases.values()),
    }


def case_findings(case: xr.DataTree) -> dict[str, Any]:
    """One target: its minima and their basins, and both optimisers against exact descent."""
    stationary, exact, runs = case["stationary"].to_dataset(), case["starts/exact"], case["runs/minimum"]
    labels, shares = minimum_labels(case), map_shares(case)
    found = {name: optimizer_findings(case, name) for name in OPTIMIZERS}
    table = [_row(case, METRICS[name].title, exact.sel(metric=name).to_numpy()[:, None], None) for name in METRICS]
    table += [
        _row(case, f"ADVI, {title}", runs.sel(optimizer=name).to_numpy(), found[name]["arrived"])
        for name, title in OPTIMIZERS.items()
    ]
    return {
        "short": case.attrs["short"],
        "minima": [
            {
                "target": case.attrs["short"],
                "label": label,
                "mean": float(stationary["mean"][k]) if abs(stationary["mean"][k]) > 5e-7 else 0.0,
                "sd": float(stationary["sd"][k]),
                "kl": Estimate(float(stationary["kl"][k]), float(stationary["kl_error"][k]), "quadrature"),
                "status": str(stationary["status"][k].item()),
                "share": shares[label],
            }
            for k, label in enumerate(labels)
        ],
        "n_minima": len(labels),
        "n_saddles": int((stationary["status"] == "saddle").sum()),
        "certificate": case.attrs["certificate"],
        "map_error": max(share.error for share in shares.values()),
        "map_lost": int((case["map/minimum"] == NONE).sum()),
        "starts": int(exact.sizes["start"]),
        "moved": int((exact.sel(metric="softplus") != exact.sel(metric="plain")).sum()),
        "table": table,
        "pymc_start": _start_findings(case),
        **found,
    }


# --- exact descent ---------------------------------------------------------------------------------------------------


def minimum_labels(case: xr.DataTree) -> list[str]:
    """What each minimum covers, from left to right."""
    return [str(label) for label in case["stationary/label"].to_numpy() if label != "saddle"]


def map_shares(case: xr.DataTree) -> dict[str, Estimate]:
    """Share of the box in each basin; the error is half of the share of the cells that lie on its boundary."""
    labels = case["map/minimum"].to_numpy()
    edge = on_edge(labels)
    return {
        name: Estimate(float((labels == k).mean()), float((edge & (labels == k)).mean() / 2), "quadrature")
        for k, name in enumerate(minimum_labels(case))
    }


# --- runs ------------------------------------------------------------------------------------------------------------


def arrived_of(case: xr.DataTree, optimizer: str) -> NDArray[np.bool_]:
    """Whether each run (start, repeat) came within the tolerance of its minimum."""
    return within_tolerance(case["runs/gap"].sel(optimizer=optimizer), TOLERANCE)


def over_noise(hits: NDArray[np.bool_]) -> Estimate:
    """Mean of hits (start, repeat), with its standard error over the noise of the runs; the starts are fixed."""
    variances = hits.var(axis=1, ddof=1) / hits.shape[1]
    return Estimate(float(hits.mean()), float(np.sqrt(variances.sum()) / len(hits)), "draws")


def _mean(hits: NDArray[np.bool_]) -> Estimate:
    """Share of hits (start, repeat); a single column is exact."""
    return over_noise(hits) if hits.shape[1] > 1 else Estimate(float(hits.mean()), 0.0, "exact")


_COLUMNS = {"left": "left mode", "both": "both modes", "right": "right mode"}


def _row(case: xr.DataTree, how: str, reached: NDArray[np.int_], arrived: float | None) -> dict[str, Any]:
    labels, exact = minimum_labels(case), case["starts/exact"]
    alike = {name: _mean(reached == exact.sel(metric=name).to_numpy()[:, None]) for name in ("plain", "softplus")}
    return {
        "target": case.attrs["short"],
        "how": how,
        **{key: _mean(reached == labels.index(name)) if name in labels else None for key, name in _COLUMNS.items()},
        "same": alike["plain"],
        "same_own": alike["softplus"],
        "arrived": arrived,
    }


def optimizer_findings(case: xr.DataTree, optimizer: str) -> dict[str, Any]:
    """How the runs of one optimiser end against exact descent."""
    exact = case["starts/exact"]
    reached = case["runs/minimum"].sel(optimizer=optimizer).to_numpy()
    arrived = arrived_of(case, optimizer)
    same, same_own = (reached == exact.sel(metric=name).to_numpy()[:, None] for name in ("plain", "softplus"))
    differs = ~same
    distance = np.broadcast_to(case["starts/distance"].to_numpy()[:, None], differs.shape)
    explained = int((differs & same_own).sum())
    return {
        "same": over_noise(same),
        "same_own": over_noise(same_own),
        "runs": int(reached.size),
        "differ": int(differs.sum()),
        "explained": explained,
        "mostly_explained": bool(explained > differs.sum() / 2),
        "near": int((differs & (distance < NEAR)).sum()),
        "farthest": float(distance[differs].max()) if differs.any() else 0.0,
        "noisy": int((reached.min(axis=1) != reached.max(axis=1)).sum()),
        "arrived": float(arrived.mean()),
        "n_arrived": int(arrived.sum()),
        "differ_arrived": int((differs & arrived).sum()),
        "lost": int((reached == NONE).sum()),
    }


def default_runs(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What PyMC's defaults reach, over all targets."""
    runs, arrived, differ = (sum(one[key] for one in found) for key in ("runs", "n_arrived", "differ_arrived"))
    return {"runs": runs, "arrived": arrived, "differ": differ, "most_arrived": arrived > 0.9 * runs}


def _start_findings(case: xr.DataTree) -> dict[str, Any]:
    start, labels = case["pymc_start"].to_dataset(), minimum_labels(case)
    exact = [labels[k] if k >= 0 else "no minimum" for k in start["exact"].to_numpy()]
    mean, log_sd = start["start"].to_numpy()
    counts = {
        name: {label: int((start["minimum"].sel(optimizer=name) == k).sum()) for k, label in enumerate(labels)}
        for name in OPTIMIZERS
    }
    runs, stay = int(start.sizes["run"]), {name: count.get(exact[0], 0) for name, count in counts.items()}
    return {
        "target": case.attrs["short"],
        "mean": float(mean),
        "sd": float(np.exp(log_sd)),
        "exact": exact[0],
        "exact_own": exact[1],
        "margin": float(start["margin"][0]),
        "margin_own": float(start["margin"][1]),
        "runs": runs,
        "stay": stay,
        "only_adam_leaves": only_adam_leaves(runs, stay),
        "ends": {
            name: [{"label": label, "runs": n} for label, n in count.items() if n] for name, count in counts.items()
        },
    }


def only_adam_leaves(runs: int, stay: Mapping[str, int]) -> bool:
    """Whether most runs with Adam leave the basin of PyMC's own start, and most with its defaults do not."""
    return stay["adam"] < runs / 2 < stay["pymc"]
