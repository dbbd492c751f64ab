"""Numbers and truth values of the question about the accuracy of ADVI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.advi_accuracy.study import (
    COST_DRAWS,
    FALLEN,
    FALLING_RATE,
    FIXED,
    GOALS,
    HOW,
    NATS,
    PYMC_WINDOW,
    RELATIVE,
    SHARE,
    WIDE_RATE,
    WIDE_WINDOW,
)
from analysis.advi_accuracy.truth import CASES
from analysis.judged import within_tolerance
from analysis.reading import case_of, dataset_of, mean_of
from models.quadrature import Estimate

__all__ = ["bias", "case_trees", "cost", "curves", "evidence", "findings", "price_of"]

_STARTS = {"centre": "centre (PyMC's)", "mode 1": "left mode", "mode 2": "right mode"}
_KINDS = {
    "default": "PyMC's adagrad_window",
    "constant": "Adam, constant rate",
    "falling": "Adam, falling rate",
    "path": "the same, path gradient and stratified draws",
}
#: Nats above every minimum from which on a run is on its way, not near one.
UNDER_WAY = 0.1
_SETS = {"independent": "independent", "stratified": "stratified"}


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = case_trees(results)
    return {
        "settings": json.loads(results.attrs["settings"]),
        "targets": "; ".join(case.attrs["title"] for case in cases.values()),
        "minima": minima(cases),
        "reached": reached(cases, HOW),
        "methods": judged(cases, HOW, NATS, RELATIVE),
        "cost": cost(dataset_of(results, "cost"), GOALS, SHARE),
        "bias": bias(case_of(results, "bias"), PYMC_WINDOW),
        "fixed": fixed({name: case_of(results, f"fixed_{name}") for name in FIXED}),
        "evidence": evidence(cases, HOW, NATS, RELATIVE),
        "how": HOW,
        "under_way": UNDER_WAY,
        "goals": list(GOALS),
        "share": SHARE,
        "nats": NATS,
        "relative": RELATIVE,
        "window": PYMC_WINDOW,
        "wide": {"window": WIDE_WINDOW, "rate": WIDE_RATE},
        "falling": {"first": FALLING_RATE, "last": FALLING_RATE * FALLEN, "draws": COST_DRAWS["default"][-1]},
    }


def case_trees(results: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return what was found for each target that was studied."""
    return {c.name: case_of(results, c.name) for c in CASES if c.name in results.children}


def within(runs: xr.Dataset, nats: float, relative: float) -> NDArray[np.bool_]:
    """Whether each run is within tolerance of its minimum."""
    return within_tolerance(runs["gap"], nats, runs["sd_error"], relative)


# --- targets and runs --------------------------------------------------------------------------------------------------


def minima(cases: Mapping[str, xr.DataTree]) -> list[dict[str, Any]]:
    """Rows of the exact minima."""
    rows = []
    for case in cases.values():
        data = case["minima"].to_dataset()
        for k in range(data.sizes["minimum"]):
            mean, sd = ([_clean(float(v)) for v in data[n][k].to_numpy()] for n in ("mean", "sd"))
            value = _clean(float(data["kl"][k]))
            kl = Estimate(value, float(data["kl_error"][k]) if value else 0.0, "quadrature")
            rows.append({"target": case.attrs["short"], "label": str(data["label"][k].item()), "mean": mean, "sd": sd,
                         "kl": kl})  # fmt: skip
    return rows


def _clean(value: float) -> float:
    return 0.0 if abs(value) < 1e-12 else value


def reached(cases: Mapping[str, xr.DataTree], how: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of which minimum the runs from each start ended near, for targets with several."""
    rows = []
    for case in cases.values():
        labels = [str(v) for v in case["minima/label"].to_numpy()]
        if len(labels) == 1:
            continue
        runs = case["runs"].to_dataset()
        for start in dict.fromkeys(str(v) for v in runs["start"].to_numpy()):
            mine = runs.isel(run=np.flatnonzero(runs["start"].to_numpy() == start))
            row: dict[str, Any] = {"target": case.attrs["short"], "start": _STARTS[start]}
            for key in how:
                of = mine.sel(how=key)
                there = of["gap"].to_numpy() <= UNDER_WAY
                counts = {label: int((there & (of["optimum"].to_numpy() == k)).sum()) for k, label in enumerate(labels)}
                counts["under way"] = int((~there).sum())
                row[key] = ", ".join(f"{n} {label}" for label, n in counts.items() if n)
            rows.append(row)
    return rows


def judged(cases: Mapping[str, xr.DataTree], how: Mapping[str, str], nats: float, relative: float) -> dict[str, Any]:
    """Table of how far the runs of each method stopped from their minimum, and the same over all targets."""
    rows, total = [], {}
    for key, title in how.items():
        mine = []
        for case in cases.values():
            runs = case["runs"].to_dataset().sel(how=key)
            good = within(runs, nats, relative)
            sd = np.abs(runs["sd_error"].to_numpy())
            rows.append(
                {
                    "target": case.attrs["short"],
                    "how": title,
                    "gap": _clean(float(runs["gap"].median())),
                    "largest": _clean(float(runs["gap"].max())),
                    "mean": _clean(float(runs["mean_error"].median())),
                    "sd": _clean(100 * float(np.median(sd))),
                    "good": int(good.sum()),
                    "runs": int(good.size),
                    "at_rest": int(runs["at_rest"].sum()),
                }
            )
            mine.append(runs[["gap", "sd_error", "mean_error"]].drop_vars("how"))
        together = xr.concat(mine, dim="run")
        good = within(together, nats, relative)
        total[key] = {
            "runs": int(good.size),
            "good": int(good.sum()),
            "median": float(together["gap"].median()),
            "largest": float(together["gap"].max()),
            "sd": float(np.median(np.abs(together["sd_error"].to_numpy()))),
            "largest_sd": float(np.abs(together["sd_error"]).max()),
        }
    order = list(dict.fromkeys(row["target"] for row in rows))
    return {"table": sorted(rows, key=lambda row: order.index(row["target"])), **total}


# --- cost ----------------------------------------------------------------------------------------------------------------


def curves(data: xr.Dataset, share: float) -> list[dict[str, Any]]:
    """For each curve its ``cost`` and, over the same checkpoints, the ``median`` gap and the gap that `share` of runs keep to."""
    found = []
    for i in range(data.sizes["curve"]):
        one = data.isel(curve=i)
        known = np.isfinite(one["cost"].to_numpy())
        gap = np.maximum(one["gap"].to_numpy()[known], 1e-12)
        found.append(
            {
                "kind": str(one["kind"].item()),
                "draws": int(one["draws"]),
                "rate": float(one["rate"]),
                "cost": one["cost"].to_numpy()[known],
                "median": np.median(gap, axis=1),
                "high": np.quantile(gap, share, axis=1),
            }
        )
    return found


def price_of(curve: Mapping[str, Any], goal: float) -> float:
    """Gradient draws after which the share of runs has reached the goal and keeps to it; inf if it never does."""
    missed = np.flatnonzero(curve["high"] > goal)
    first = missed[-1] + 1 if len(missed) else 0
    return float(curve["cost"][first]) if first < len(curve["cost"]) else np.inf


def cost(data: xr.Dataset, goals: Sequence[float], share: float) -> dict[str, Any]:
    """Table of the cost of each goal, with the best constant rate for each, and the cheapest of all."""
    found = curves(data, share)
    rows: list[dict[str, Any]] = []
    cheapest: dict[str, dict[str, Any]] = {}
    groups = list(dict.fromkeys((c["kind"], c["draws"]) for c in found))
    for kind, draws in sorted(groups, key=lambda g: (list(_KINDS).index(g[0]), g[1])):
        mine = [c for c in found if (c["kind"], c["draws"]) == (kind, draws)]
        row: dict[str, Any] = {"how": _KINDS[kind], "draws": draws}
        for name, goal in zip(("first", "second"), goals, strict=True):
            best = min(mine, key=lambda c: price_of(c, goal))
            price = price_of(best, goal)
            row[name] = int(price) if np.isfinite(price) else None
            row[f"{name}_rate"] = best["rate"] if kind == "constant" else None
            if price < cheapest.get(name, {"price": np.inf})["price"]:
                cheapest[name] = {"price": price, "how": _KINDS[kind], "kind": kind, "draws": draws}
            if price < cheapest.get(f"{kind}_{name}", {"price": np.inf})["price"]:
                cheapest[f"{kind}_{name}"] = {"price": price, "draws": draws}
        row["end"] = min(float(c["median"][-1]) for c in mine)
        row["spent"] = int(max(c["cost"][-1] for c in mine))
        rows.append(row)
    return {"table": rows, "cheapest": cheapest}


# --- the bias --------------------------------------------------------------------------------------------------------------


def bias(tree: xr.DataTree, window: int) -> dict[str, Any]:
    """What PyMC's defaults do at the optimum: measured, predicted, confirmed, and cured."""
    way, rest, by_draws = (tree[name].to_dataset() for name in ("way", "rest", "rest_draws"))
    exact = tree.to_dataset()["sd"]
    steps = way["steps"].to_numpy()
    half, last = steps > steps[-1] / 2, steps > 0.75 * steps[-1]
    rows: list[dict[str, Any]] = []
    places: dict[str, dict[str, Any]] = {}
    for place in way["place"].to_numpy():
        sd, truth = way["sd"].sel(place=place).to_numpy(), float(exact.sel(place=place))
        measured = mean_of(sd[half].mean(axis=0))
        predicted = float(rest["sd"].sel(place=place, window=window))
        change = mean_of(sd[last].mean(axis=0) - sd[half & ~last].mean(axis=0))
        found: dict[str, Any] = {
            "place": str(place),
            "exact": truth,
            "measured": measured,
            "predicted": predicted,
            "excess": Estimate(measured.value / truth - 1, measured.error / truth, "draws"),
            "predicted_excess": predicted / truth - 1,
            "gap": float(rest["gap"].sel(place=place, window=window)),
            "change": change,
        }
        places[str(place).replace(" ", "_")] = found
        rows.append(found)
    return {
        "table": rows,
        **places,
        "steps": int(steps[-1]),
        "runs": int(way.sizes["run"]),
        "windows": [_excess(rest, exact, "window", w) for w in rest["window"].to_numpy()],
        "draws": [_excess(by_draws, exact, "draws", n) for n in by_draws["draws"].to_numpy()],
        "confirmed": _confirmed(tree["wide"].to_dataset(), rest, exact),
        "settled": all(abs(p["change"].value) <= 2.5 * p["change"].error for p in places.values()),
        "agrees": all(abs(p["measured"].value - p["predicted"]) <= 0.02 * p["predicted"] for p in places.values()),
        "slope": _slope(rest, exact),
    }


def _excess(rest: xr.Dataset, exact: xr.DataArray, dim: str, at: Any) -> dict[str, Any]:
    row: dict[str, Any] = {dim: int(at)}
    for place in rest["place"].to_numpy():
        one = rest.sel(place=place, **{dim: at})
        name = str(place).replace(" ", "_")
        row[name] = 100 * (float(one["sd"]) / float(exact.sel(place=place)) - 1)
        row[f"{name}_gap"] = float(one["gap"])
    return row


def _slope(rest: xr.Dataset, exact: xr.DataArray) -> float:
    """Exponent with which the predicted excess falls as the window grows, over the two widest windows."""
    wide = rest.isel(window=slice(-2, None))
    excess = (wide["sd"] / exact - 1).mean("place").to_numpy()
    return float(np.diff(np.log(excess))[0] / np.diff(np.log(wide["window"].to_numpy()))[0])


def _confirmed(wide: xr.Dataset, rest: xr.Dataset, exact: xr.DataArray) -> list[dict[str, Any]]:
    """What runs with a wide window do, averaged over the second half of their steps."""
    second = wide["sd"].isel(steps=slice(wide.sizes["steps"] // 2, None)).mean("steps")
    return [
        {
            "window": WIDE_WINDOW,
            "place": str(place),
            "exact": float(exact.sel(place=place)),
            "measured": mean_of(second.sel(place=place).to_numpy()),
            "predicted": float(rest["sd"].sel(place=place, window=WIDE_WINDOW)),
        }
        for place in wide["place"].to_numpy()
    ]


# --- fixed draws -----------------------------------------------------------------------------------------------------------


def fixed(trees: Mapping[str, xr.DataTree]) -> dict[str, Any]:
    """Tables of deterministic ADVI: what it loses, and by how much its objective flatters it."""
    rows, found = [], {}
    for name, tree in trees.items():
        data = tree.to_dataset()
        for place in data["place"].to_numpy():
            one = data.sel(place=place)
            for kind in data["kind"].to_numpy():
                part = [_set(one.sel(kind=kind, size=size), kind) for size in data["size"].to_numpy()]
                rows += [{"target": tree.attrs["short"], "place": str(place), **row} for row in part]
                found[f"{name}_{str(place).replace(' ', '_')}_{kind}"] = _summary(one, kind)
    stayed = sum(int((t["status"] == 0).sum()) for t in trees.values())
    count = sum(int(t["status"].size) for t in trees.values())
    return {
        "table": rows,
        "sets": count,
        "stayed": stayed,
        "moved": sum(int((t["status"] == 1).sum()) for t in trees.values()),
        "none": sum(int((t["status"] == 2).sum()) for t in trees.values()),
        **found,
    }


def _set(one: xr.Dataset, kind: Any) -> dict[str, Any]:
    kept = one["status"].to_numpy() == 0
    gap, optimism = (one["exact"] - one["kl"]).to_numpy()[kept], (one["exact"] - one["fitted"]).to_numpy()[kept]
    enough = kept.sum() > 1
    return {
        "kind": _SETS[str(kind)],
        "size": int(one["size"]),
        "gap": mean_of(gap) if enough else None,
        "expected": float(one["price"]) / int(one["size"]) if kind == "independent" else None,
        "optimism": mean_of(optimism) if enough else None,
        "lost": int((~kept).sum()),
    }


def _summary(one: xr.Dataset, kind: Any) -> dict[str, Any]:
    data = one.sel(kind=kind)
    stayed = data["status"] == 0
    gap = (data["exact"] - data["kl"]).where(stayed).mean("replicate")
    wide = gap.isel(size=slice(-3, None))
    largest = data.isel(size=-1)
    kept = (largest["status"] == 0).to_numpy()
    optimism = (largest["exact"] - largest["fitted"]).to_numpy()[kept]
    return {
        "slope": float(np.polyfit(np.log(wide["size"].to_numpy()), np.log(wide.to_numpy()), 1)[0]),
        "gap": mean_of((largest["exact"] - largest["kl"]).to_numpy()[kept]),
        "optimism": mean_of(optimism),
        "expected": float(largest["price"]) / int(largest["size"]),
        "price": float(one["price"]),
        "size": int(largest["size"]),
        "lost": {int(n): int((~stayed.sel(size=n)).sum()) for n in data["size"].to_numpy()},
    }


# --- evidence --------------------------------------------------------------------------------------------------------------


def evidence(cases: Mapping[str, xr.DataTree], how: Mapping[str, str], nats: float, relative: float) -> dict[str, Any]:
    """Counts of runs by what they say of themselves and by what is true of them."""
    rows, own, exact = [], [], []
    total = {"runs": 0, "at_rest": 0, "false": 0, "flagged": 0, "flagged_good": 0}
    largest_gap, largest_sd = 0.0, 0.0
    for case in cases.values():
        groups = [("from dispersed starts, this project's default", case["evidence"].to_dataset())]
        groups += [(title, case["runs"].to_dataset().sel(how=key)) for key, title in how.items()]
        for title, runs in groups:
            yes, good = runs["at_rest"].to_numpy(), within(runs, nats, relative)
            counts = {
                "runs": int(yes.size),
                "at_rest": int(yes.sum()),
                "false": int((yes & ~good).sum()),
                "flagged": int((~yes).sum()),
                "flagged_good": int((~yes & good).sum()),
            }
            total = {key: total[key] + value for key, value in counts.items()}
            rows.append({"target": case.attrs["short"], "how": title, **counts})
            own.append(runs["own_gap"].to_numpy())
            exact.append(runs["gap"].to_numpy())
            if yes.any():
                largest_gap = max(largest_gap, float(runs["gap"].to_numpy()[yes].max()))
                largest_sd = max(largest_sd, float(np.abs(runs["sd_error"].to_numpy()[yes]).max()))
    ratio = np.concatenate(own) / np.maximum(np.concatenate(exact), 1e-300)
    truth = np.concatenate(exact)
    middle = (truth > 1e-5) & (truth < 1e-2) & np.isfinite(ratio)
    low, high = np.quantile(ratio[middle], [0.05, 0.95]) if middle.sum() > 1 else (np.nan, np.nan)
    first = cases[next(iter(cases))]["evidence"].to_dataset()
    first_good = within(first, nats, relative)
    return {
        "table": rows,
        **total,
        "largest_gap": largest_gap,
        "largest_sd": largest_sd,
        "ratio_low": float(low),
        "ratio_high": float(high),
        "in_middle": int(middle.sum()),
        "restarts": int(first_good.size),
        "restarts_at_rest": int(first["at_rest"].sum()),
        "restarts_false": int((first["at_rest"].to_numpy() & ~first_good).sum()),
        "restarts_minima": ", ".join(
            f"{int((first['optimum'] == k).sum())} {label.item()}"
            for k, label in enumerate(cases[next(iter(cases))]["minima/label"])
        ),
    }
