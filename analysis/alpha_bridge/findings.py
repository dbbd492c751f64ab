"""Numbers and truth values of the bridge in alpha."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from analysis.alpha_bridge.following import EDGE
from analysis.alpha_bridge.optima import COVERED, critical, label, mixtures
from analysis.alpha_bridge.study import CASES, CORRELATED, FLOOR, MEMBERS
from analysis.reading import case_of, estimate_of
from models.quadrature import Estimate

__all__ = ["across", "covers_from", "findings", "price", "story"]

#: Differences below this are those of rounding and of solving.
AGREES = 1e-6


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    trees = mixtures(results)
    cases = {str(tree.name): _case(tree) for tree in trees}
    below, above = _divide(trees)
    return {
        **cases,
        CORRELATED: _correlated(case_of(results, CORRELATED)),
        **across([cases[case.name] for case in CASES]),
        "edge": EDGE,
        "covered": COVERED,
        "below": below,
        "above": above,
        "is_clear": below < COVERED / 3 and above > 3 * COVERED,
    }


def _divide(trees: list[xr.DataTree]) -> tuple[float, float]:
    """The covers of the least covered mode, over all minima at all alphas, that are next to the threshold on either side."""
    arcs = [tree["arcs"].to_dataset() for tree in trees]
    shares = np.concatenate([a["cover"].min("mode").to_numpy()[a["minimum"].to_numpy() == 1] for a in arcs])
    return float(shares[shares < COVERED].max(initial=0.0)), float(shares[shares >= COVERED].min(initial=np.inf))


def across(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said of all cases: two equal modes, unequal ones, and three."""
    covers, alone = ([case[key] for case in cases] for key in ("covers_from", "alone_from"))
    jumps = [case for case in cases if case["covers_from"] is not None and case["covers_from"].value > 0]
    gap = None if None in alone[::2] else abs(alone[0].value - alone[2].value)
    return {
        "cases": cases,
        "jumps": jumps,
        "by_jump": all(case["n_exchanges"] for case in jumps),
        "always": [case["short"] for case in cases if case["covers_always"]],
        "last": None if None in alone else max(estimate.value for estimate in alone),
        "outer_gap": None if gap is None or gap > 1e-3 else gap,
        "ordered": None not in covers[:2],
        "later": None not in covers[:2] and covers[1].value > covers[0].value,
        "events": [event for case in cases for event in case["events"]],
        "all_complete": all(case["complete"] and case["certificate"] == "complete" for case in cases),
        "all_connected": all(case["connected"] for case in cases),
        "all_agree": all(case["agrees"] for case in cases),
        "flat": [case for case in cases if case["flat_at"]],
    }


def _case(case: xr.DataTree) -> dict[str, Any]:
    best, ends, atlas, arcs = (case[name].to_dataset() for name in ("best", "ends", "atlas", "arcs"))
    least = best["cover"].min("mode")
    status = [str(s) for s in ends["status"].to_numpy()[ends["alpha"].to_numpy() == 0]]
    exchange, folds = critical(case, "exchange"), critical(case, "fold")
    jump = exchange.isel(point=0) if exchange.sizes["point"] else None
    shown = best.sel(alpha=list(MEMBERS), method="nearest")
    branch, at_end = arcs["branch"].to_numpy(), np.isin(arcs["alpha"].to_numpy(), (0, 1))
    before, after = (None if jump is None else float(jump[f"{p}cover"].min()) for p in ("", "partner_"))
    return {
        "short": case.attrs["short"],
        "n_minima": sum(s.endswith("minimum") for s in status),
        "n_saddles": status.count("saddle"),
        "certificate": case.attrs["certificate"],
        "exchange": None if jump is None else estimate_of(jump, "alpha"),
        "exchange_divergence": None if jump is None else estimate_of(jump, "divergence"),
        "exchange_price": None if jump is None else price(float(jump["alpha"]), _held(case, jump)),
        "exchanges": _distinct(exchange),
        "n_exchanges": int(exchange.sizes["point"]),
        "folds": _distinct(folds),
        "start_label": label(case, best["cover"][0]),
        "start_ties": int(best["ties"][0]),
        "members": [{"alpha": a, "label": label(case, c)} for a, c in zip(MEMBERS, shown["cover"], strict=True)],
        "start_cover": float(least[0]),
        "end_cover": float(least[-1]),
        **story(covers_from(case), _alone_from(case), before, after),
        "events": _events(case),
        "n_alphas": int(atlas.sizes["alpha"]),
        **{key: int(atlas[key].sum()) for key in ("found", "minima", "saddles")},
        # Points where the divergence is flat are none, so they do not count.
        "complete": bool((atlas["minima"] - atlas["saddles"] == 1).all()),
        "difference": _exponent(float(atlas["difference"].max())),
        "gap": float(ends["gap"].max()),
        "extrapolated": _exponent(float(ends["extrapolated"].max())),
        "flat_at": atlas["alpha"].to_numpy()[atlas["flat"].to_numpy() > 0].tolist(),
        # Every branch runs into a reverse or a forward projection.
        "connected": set(branch) == set(branch[at_end]),
        "agrees": bool(max(atlas["difference"].max(), ends["extrapolated"].max()) < AGREES),
    }


def story(covers: Estimate | None, alone: Estimate | None, before: float | None, after: float | None) -> dict[str, Any]:
    """From where the best fit covers every mode, from where it is alone, and its cover around the first exchange."""
    return {
        "covers_from": covers,
        "covers_always": covers is not None and covers.value == 0,
        "alone_from": alone,
        "cover_before": before,
        "cover_after": after,
        "is_jump": before is not None and after is not None and before < COVERED <= after,
        "lingers": covers is not None and alone is not None and alone.value > covers.value,
    }


def _distinct(points: xr.Dataset) -> list[float]:
    """Alphas of points, mirror images once."""
    return list(dict.fromkeys(round(float(a), 3) for a in points["alpha"]))


def _exponent(value: float) -> int | None:
    """The power of ten that a difference, which rounding dominates, does not exceed; ``None`` without a limit."""
    return int(np.ceil(np.log10(max(value, 1e-15)))) if np.isfinite(value) else None


# --- what happens along alpha ----------------------------------------------------------------------------------------


def _events(case: xr.DataTree) -> list[dict[str, Any]]:
    """Folds and exchange points in the order of alpha; mirror images are one event."""
    data = case["critical"].to_dataset().sortby(["alpha", "mean"])
    alphas = data["alpha"].to_numpy()
    groups = np.split(np.arange(len(alphas)), np.flatnonzero(np.diff(alphas) > FLOOR * 100) + 1) if len(alphas) else []
    events = []
    for group in groups:
        points = data.isel(point=group).sortby("mean")
        point = points.isel(point=-1)
        exchange, mean = bool(point["kind"] == "exchange"), float(point["mean"])
        mirrored = _mirrored(case, point) if exchange else len(group) > 1
        events.append(
            {
                "target": case.attrs["short"],
                "alpha": estimate_of(point, "alpha"),
                "is_exchange": exchange,
                "labels": [label(case, cover) for cover in points["cover"]],
                "next": label(case, point["partner_cover"]),
                "mirrored": mirrored,
                "ends": not exchange and _ends(case, points),
                "is_central": abs(mean) <= AGREES,
                "mean": 0.0 if abs(mean) <= AGREES / 2 else mean,
                "sd": float(point["sd"]),
                "divergence": estimate_of(point, "divergence"),
            }
        )
    return events


def _ends(case: xr.DataTree, points: xr.Dataset) -> bool:
    """Whether the minima that meet a saddle in folds exist below their alpha, and not above."""
    arcs = case["arcs"].to_dataset()
    alphas, index = arcs["alpha"].to_numpy(), arcs["arc"].to_numpy()
    here = np.isin(alphas, points["alpha"].to_numpy()) & (arcs["minimum"] == 1).to_numpy()
    return bool(alphas[index == index[here][0]][-1] == alphas[here][0])


def _mirrored(case: xr.DataTree, point: xr.Dataset) -> bool:
    """Whether the minimum that loses to another has a mirror image."""
    best = case["best"].to_dataset()
    before = best.isel(alpha=best["alpha"].to_numpy() < float(point["alpha"]))
    return bool(before.sizes["alpha"]) and int(before["ties"][-1]) > 1


def covers_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on the global minimum covers every mode; 0 if it always does, ``None`` if it does not at 1."""
    best = case["best"].to_dataset()
    grid, covered = best["alpha"].to_numpy(), (best["cover"] >= COVERED).all("mode").to_numpy()
    if not covered[-1]:
        return None
    if covered.all():
        return Estimate(0.0, 0.0, "exact")
    last = int(np.flatnonzero(~covered)[-1])
    jumps = critical(case, "exchange")
    places = jumps["alpha"].to_numpy()
    between = jumps.isel(point=(places >= grid[last]) & (places <= grid[last + 1]))
    if between.sizes["point"] == 1:
        return estimate_of(between.isel(point=0), "alpha")
    return Estimate(float(grid[last : last + 2].mean()), float(np.diff(grid[last : last + 2])[0] / 2), "quadrature")


def _alone_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on there is one stationary point: the last fold, if one arc goes on to 1."""
    arcs, folds = case["arcs"].to_dataset(), critical(case, "fold")
    if not folds.sizes["point"]:
        return None
    last = folds.isel(point=-1)
    beyond = np.unique(arcs["arc"].to_numpy()[arcs["alpha"].to_numpy() > float(last["alpha"])])
    return estimate_of(last, "alpha") if len(beyond) == 1 else None


def price(alpha: float, weight: float) -> float:
    """Alpha-divergence in nats from a target to one of its components, of that weight, if the others are far away.

    Parameters
    ----------
    alpha : float
        From 0, where this is -log(weight), to below 1.
    weight : float

    Returns
    -------
    float
    """
    return -float(np.log(weight)) if alpha == 0 else -float(np.expm1(alpha * np.log(weight))) / (alpha * (1 - alpha))


def _held(case: xr.DataTree, point: xr.Dataset) -> float:
    """Weight of the modes that a fit covers."""
    weights = np.array(json.loads(case.attrs["target"])["weights"])
    return float(weights[point["cover"].to_numpy() >= COVERED].sum())


# --- mean field ------------------------------------------------------------------------------------------------------


def _correlated(case: xr.DataTree) -> dict[str, Any]:
    data, curve = case["projections"].to_dataset(), case["curve"].to_dataset()["variance"]
    difference = float(np.abs(data["variance"] - data["theory"]).max())
    half = data.sel(alpha=0.5, method="nearest")
    return {
        "rho": float(case.attrs["rho"]),
        "low": float(curve[0]),
        "middle": float(curve.sel(alpha=0.5)),
        "n": int(data.sizes["alpha"]),
        "difference": _exponent(difference),
        "agrees": difference < 1e-9,
        "one_point": bool((data["points"] == 1).all()),
        "complete": bool((data["certificate"] == "complete").all()),
        "entropy_gap": _exponent(abs(float(half["entropy_gap"]))) if float(half["alpha"]) == 0.5 else None,
        "entropy_low": float(data["entropy_gap"][0]),
        "entropy_high": float(data["entropy_gap"][-1]),
    }
