"""Numbers and truth values of the bridge in alpha."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.alpha_bridge.following import EDGE
from analysis.alpha_bridge.optima import critical, named
from analysis.alpha_bridge.study import CASES, FLOOR, MEMBERS
from analysis.judged import COVERED
from analysis.reading import case_of, dataset_of
from models.families import FAMILIES
from models.projections import minima
from models.quadrature import Estimate
from models.results import estimate_of, projections_of

__all__ = ["across", "covers_from", "findings", "price", "story"]

#: Differences below this are those of rounding and of solving.
AGREES = 1e-6


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    trees = {case.name: case_of(results, case.name) for case in CASES}
    cases = {name: _case(tree) for name, tree in trees.items()}
    below, above = _divide(list(trees.values()))
    return {
        **cases,
        **across(list(cases.values())),
        "edge": EDGE,
        "covered": COVERED,
        "below": below,
        "above": above,
        "is_clear": below < COVERED / 1.5 and above > 1.5 * COVERED,
    }


def _divide(trees: Sequence[xr.DataTree]) -> tuple[float, float]:
    """The covers of the least covered mode, over all minima at all alphas, that are next to the threshold on either side."""
    arcs = [dataset_of(tree, "arcs") for tree in trees]
    shares = np.concatenate([a["cover"].min("mode").to_numpy()[a["minimum"].to_numpy() == 1] for a in arcs])
    return float(shares[shares < COVERED].max(initial=0.0)), float(shares[shares >= COVERED].min(initial=np.inf))


def across(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is said of all cases: two equal modes, unequal ones, and three."""
    covers = [case["covers_from"] for case in cases]
    jumps = [case for case in cases if case["covers_from"] is not None and case["covers_from"].value > 0]
    return {
        "cases": cases,
        "jumps": jumps,
        "by_jump": all(case["is_jump"] for case in jumps),
        "always": [case["title"] for case in cases if case["covers_always"]],
        "later": None if None in covers[:2] else covers[1].value > covers[0].value,
        "events": [event for case in cases for event in case["events"]],
        "all_consistent": all(case["consistent"] for case in cases),
        "all_connected": all(case["connected"] for case in cases),
        "all_agree": all(case["agrees"] for case in cases),
        "flat": [case for case in cases if case["flat_at"]],
    }


def _case(case: xr.DataTree) -> dict[str, Any]:
    best, atlas, arcs = (dataset_of(case, name) for name in ("best", "atlas", "arcs"))
    least, shown = best["cover"].min("mode"), best.sel(alpha=list(MEMBERS), method="nearest")
    reverse = projections_of(dataset_of(case, "reverse"), FAMILIES["normal"])
    exchange = critical(case, "exchange")
    jump = exchange.isel(point=0) if exchange.sizes["point"] else None
    branch, at_end = arcs["branch"].to_numpy(), np.isin(arcs["alpha"].to_numpy(), (0, 1))
    before, after = (None if jump is None else float(jump[f"{p}cover"].min()) for p in ("", "partner_"))
    difference, miss = (
        float(atlas["difference"].max()),
        float(max(case[f"{end}/miss"].max() for end in ("reverse", "forward"))),
    )
    return {
        "title": case.attrs["title"],
        "n_minima": len(minima(reverse)),
        "n_saddles": sum(p.status == "saddle" for p in reverse),
        "exchange": None if jump is None else estimate_of(jump, "alpha"),
        "exchange_divergence": None if jump is None else estimate_of(jump, "divergence"),
        "exchange_price": None if jump is None else price(float(jump["alpha"]), _held(case, jump)),
        "start_label": named(case, best["cover"][0]),
        "start_ties": int(best["ties"][0]),
        "members": [{"alpha": a, "label": named(case, c)} for a, c in zip(MEMBERS, shown["cover"], strict=True)],
        "start_cover": float(least[0]),
        "end_cover": float(least[-1]),
        **story(covers_from(case), _alone_from(case), before, after),
        "events": (events := _events(case)),
        "narrow_ends": [
            event
            for event in events
            if event["ends"] and not event["is_exchange"] and not event["label"].startswith(("both", "all"))
        ],
        "n_alphas": int(atlas.sizes["alpha"]),
        **{key: int(atlas[key].sum()) for key in ("minima", "saddles")},
        # Points where the divergence is flat are none, so they do not count.
        "consistent": bool((atlas["minima"] - atlas["saddles"] == 1).all()) and reverse[0].certificate == "consistent",
        "difference": _exponent(difference),
        "miss": _exponent(miss),
        "flat_at": atlas["alpha"].to_numpy()[atlas["flat"].to_numpy() > 0].tolist(),
        # Every branch runs into a reverse or a forward projection.
        "connected": set(branch) == set(branch[at_end]),
        "agrees": max(difference, miss) < AGREES,
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


def _exponent(value: float) -> int | None:
    """The power of ten that a difference, which rounding dominates, does not exceed; ``None`` without a limit."""
    return int(np.ceil(np.log10(max(value, 1e-15)))) if np.isfinite(value) else None


# --- what happens along alpha ----------------------------------------------------------------------------------------


def _events(case: xr.DataTree) -> list[dict[str, Any]]:
    """Folds and exchange points in the order of alpha; of mirror images the right one."""
    data, arcs = dataset_of(case, "critical").sortby("alpha"), dataset_of(case, "arcs")
    spec = json.loads(case.attrs["target"])
    symmetric = spec["weights"] == spec["weights"][::-1] and spec["means"] == [-m for m in spec["means"][::-1]]
    minimum = arcs.isel(vertex=(arcs["minimum"] == 1).to_numpy())
    events = []
    for point in (data.isel(point=i) for i in range(data.sizes["point"])):
        alpha, mean = float(point["alpha"]), float(point["mean"])
        if symmetric and mean < -AGREES:
            continue
        meets = np.hypot(minimum["alpha"].to_numpy() - alpha, minimum["mean"].to_numpy() - mean) < FLOOR
        arc = minimum.isel(vertex=np.isin(minimum["arc"], minimum["arc"][meets]))
        events.append(
            {
                "target": case.attrs["title"],
                "alpha": estimate_of(point, "alpha"),
                "is_exchange": str(point["kind"].item()) == "exchange",
                "label": named(case, point["cover"]),
                "next": named(case, point["partner_cover"]),
                "mirrored": symmetric and mean > AGREES,
                "ends": bool(meets.any()) and float(arc["alpha"].max()) <= alpha,
                "mean": 0.0 if abs(mean) <= AGREES else mean,
                "sd": float(point["sd"]),
                "divergence": estimate_of(point, "divergence"),
            }
        )
    return events


def covers_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on the global minimum covers every mode; 0 if it always does, ``None`` if it does not at 1."""
    best = dataset_of(case, "best")
    grid, covered = best["alpha"].to_numpy(), (best["cover"] >= COVERED).all("mode").to_numpy()
    if not covered[-1]:
        return None
    if covered.all():
        return Estimate(0.0, 0.0, "exact")
    low, high = grid[(last := int(np.flatnonzero(~covered)[-1])) : last + 2]
    jumps = critical(case, "exchange")
    between = jumps.isel(point=((jumps["alpha"] >= low) & (jumps["alpha"] <= high)).to_numpy())
    if between.sizes["point"] == 1:
        return estimate_of(between.isel(point=0), "alpha")
    return Estimate(float(low + high) / 2, float(high - low) / 2, "quadrature")


def _alone_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on there is one stationary point: the last fold, if one arc goes on to 1."""
    arcs, folds = dataset_of(case, "arcs"), critical(case, "fold")
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
