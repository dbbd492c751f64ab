"""Numbers and truth values of the question about the properties of KL.

Directions are named ``pq`` for KL(p||q) and ``qp`` for KL(q||p), where p and q are the two members of a pair.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom

from analysis.kl_properties.pairs import PAIRS
from analysis.kl_properties.study import MAPS, MISSED
from analysis.reading import dataset_of, share_of
from models.quadrature import Estimate
from models.results import estimate_of

__all__ = ["coins", "findings", "infinite", "maps", "sign", "ways"]

Array = NDArray[np.float64]
DIRECTIONS = {"pq": "p‖q", "qp": "q‖p"}
TITLES = {pair.name: pair.title for pair in PAIRS}
#: Results of integration smaller than this, in nats, are rounding.
ROUNDING = 1e-14
#: Probability of heads of the coin that is tossed, and of the one that is believed in; and tosses.
HEADS, TOSSES = {"p": 0.5, "q": 0.9}, 10


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    estimators = dataset_of(results, "ways/estimators")
    return {
        "coins": coins(HEADS["p"], HEADS["q"], TOSSES),
        "pairs": [{"pair": p.title, "p": p.p_text, "q": p.q_text, "formula": p.formula} for p in PAIRS],
        "ways": ways(estimators),
        "sign": sign(estimators),
        "maps": maps(dataset_of(results, "maps/one_to_one"), dataset_of(results, "maps/many_to_one")),
        "infinite": infinite(dataset_of(results, "limits/infinite")),
        "settings": json.loads(results.attrs["settings"]),
    }


def coins(p: float, q: float, tosses: int) -> dict[str, Any]:
    """KL between two coins with these probabilities of heads, both ways, as sums of two terms.

    Examples
    --------
    >>> found = coins(0.5, 0.9, 10)
    >>> round(found["pq"], 4), round(found["qp"], 4), round(found["odds"])
    (0.5108, 0.3681, 165)
    """
    first, second = np.array([p, 1 - p]), np.array([q, 1 - q])
    ratio = np.log(first / second)
    names = ("heads", "tails")
    return {
        "table": [
            {"outcome": name, "p": a, "q": b, "ratio": c, "pq": a * c, "qp": -b * c}
            for name, a, b, c in zip(names, first.tolist(), second.tolist(), ratio.tolist(), strict=True)
        ],
        "pq": float(first @ ratio),
        "qp": float(-second @ ratio),
        "tosses": tosses,
        "odds": float(np.exp(tosses * (first @ ratio))),
    }


def ways(data: xr.Dataset) -> dict[str, Any]:
    """Every divergence by every method, and how far these agree."""
    value, exact, error, sd, mc, se, neighbours = (
        data[name].transpose("pair", "direction", ...).to_numpy()
        for name in ("kl", "exact", "kl_error", "sd", "mc", "mc_se", "arviz")
    )
    known, has_variance = np.isfinite(exact), np.isfinite(sd)
    gap = np.abs(value - exact)[known]
    score = (np.abs(mc - value) / se)[has_variance]
    within, count = int((score <= 2).sum()), len(score)
    return {
        "table": [_way(data.sel(pair=name, direction=d), name, d) for name in TITLES for d in DIRECTIONS],
        "n_pairs": len(TITLES),
        "n_values": int(value.size),
        "n_exact": int(known.sum()),
        "largest_gap": float(gap.max()),
        "largest_gap_errors": float((gap / error[known]).max()),
        "largest_error": float(error.max()),
        "within": within,
        "with_variance": count,
        "expected_within": 0.9545 * count,
        "fewer_than_chance": bool(binom.cdf(within, count, 0.9545) < 0.01),
        "farthest": float(score.max()),
        "no_variance": [f"KL({d}) of *{TITLES[str(data['pair'].to_numpy()[i])]}*"
                        for i, j in np.argwhere(~has_variance) for d in [list(DIRECTIONS.values())[j]]],
        "arviz": _arviz(neighbours, value),
        "symmetric": [title for title, (a, b) in zip(TITLES.values(), value, strict=True) if abs(a - b) < 1e-12],
        **{pair: {d: estimate_of(data, "kl", pair=pair, direction=d) for d in DIRECTIONS} for pair in ("one_mode", "matched")},
    }  # fmt: skip


def _way(row: xr.Dataset, name: str, direction: str) -> dict[str, Any]:
    value, exact, mc, se = (float(row[name]) for name in ("kl", "exact", "mc", "mc_se"))
    neighbours = row["arviz"].to_numpy() - value
    error = float(row["kl_error"])
    return {
        "pair": TITLES[name],
        "direction": DIRECTIONS[direction],
        "exact": None if np.isnan(exact) else exact,
        "kl": Estimate(value, error, "quadrature"),
        "gap": None if np.isnan(exact) else (value - exact) / error,
        "mc": Estimate(mc, se, "draws"),
        "has_variance": bool(np.isfinite(row["sd"])),
        "score": (mc - value) / se,
        "arviz": float(neighbours.mean()),
        "arviz_sd": float(neighbours.std(ddof=1)),
    }


def _arviz(neighbours: Array, value: Array) -> dict[str, Any]:
    """Where means over calls (pair, direction, repeat) are off beyond chance, and by how much at worst."""
    bias = neighbours.mean(axis=2) - value
    se = neighbours.std(axis=2, ddof=1) / np.sqrt(neighbours.shape[2])
    i, j = np.unravel_index(np.abs(bias).argmax(), bias.shape)
    return {
        "n": int(bias.size),
        "biased": int((np.abs(bias) > 3 * se).sum()),
        "low": int((bias < -3 * se).sum()),
        "worst": Estimate(float(bias[i, j]), float(se[i, j]), "draws"),
        "worst_of": {"pair": list(TITLES.values())[i], "direction": list(DIRECTIONS.values())[j], "kl": float(value[i, j])},
        "calls": int(neighbours.size),
        "zeros": int((neighbours == 0).sum()),
    }  # fmt: skip


def sign(data: xr.Dataset) -> dict[str, Any]:
    """Smallest values of divergences and of their integrands."""
    integrand, bregman = (data[name].to_numpy()[np.isfinite(data[name])] for name in ("integrand", "bregman"))
    return {
        "smallest": float(data["kl"].min()),
        "n_negative_kl": int((data["kl"] < 0).sum()),
        "n_pointwise": len(integrand),
        "n_negative": int((integrand < 0).sum()),
        "most_negative": float(integrand.min()),
        "bregman": float(bregman.min()),
        "bregman_holds": bool(bregman.min() >= -ROUNDING),
    }


def maps(one: xr.Dataset, many: xr.Dataset) -> dict[str, Any]:
    """Divergences and entropies under maps of x, and how far they keep what they should keep."""
    table = [
        {
            "direction": DIRECTIONS[d],
            "slope": float(one["slope"].sel(direction=d)),
            **{f"{what}_{when}": estimate_of(one, what, direction=d, when=when)
               for what in ("kl", "entropy") for when in ("before", "after")},
        }
        for d in DIRECTIONS
    ]  # fmt: skip
    change = {what: one[what].sel(when="after") - one[what].sel(when="before") for what in ("kl", "entropy")}
    lost = many["kl"].sel(map="x") - many["kl"]
    merged = [
        {"pair": TITLES[str(name)], "direction": DIRECTIONS[d], **{m: _merged(many, name, d, m) for m in MAPS}}
        for name in many["pair"].to_numpy()
        for d in DIRECTIONS
    ]
    return {
        "table": table,
        "largest_change": float(np.abs(change["kl"]).max()),
        "largest_entropy_change": float(np.abs(change["entropy"]).max()),
        "entropy_gap": float(np.abs(change["entropy"] - one["slope"]).max()),
        "merged": merged,
        "n_merged": int(lost.size - lost.sel(map="x").size),
        "n_raised": int((lost < -ROUNDING * np.maximum(1, many["kl"].sel(map="x"))).sum()),
        "one_mode": estimate_of(many, "kl", pair="one_mode", direction="pq", map="x"),
        "one_mode_folded": float(many["kl"].sel(pair="one_mode", direction="pq", map="fold")),
        "matched_lost": float(np.abs(lost.sel(pair="matched", map="fold")).max()),
    }


def _merged(many: xr.Dataset, pair: Any, direction: str, name: str) -> Estimate | int:
    found = estimate_of(many, "kl", pair=pair, direction=direction, map=name)
    return 0 if abs(found.value) < ROUNDING else found


def infinite(data: xr.Dataset) -> dict[str, Any]:
    """What integration says of divergences that are infinite, and what Monte Carlo says."""
    sizes = data["n"].to_numpy()
    share = (abs(data["mc"]) < np.inf).sel(case="missed").mean("repeat")
    medians = data[["mc", "mc_se"]].median("repeat")

    def typical(name: str, n: int) -> Estimate:
        row = medians.sel(case=name, n=n)
        return Estimate(float(row["mc"]), float(row["mc_se"]), "draws")

    seen = data["mc"].sel(case="missed").to_numpy()
    last, truth = data.sel(case="t3").isel(n=-1), estimate_of(data, "kl", case="t3", direction="pq")
    repeats = int(data.sizes["repeat"])
    covers = share_of(float((np.abs(last["mc"] - truth.value) <= 2 * last["mc_se"]).mean()), repeats)
    middle = float(np.median(last["mc"]))
    kl = data["kl"].sel(direction="pq", case=["missed", "t2"])
    return {
        "table": [
            {"n": int(n), "share": float(share.sel(n=n)), "chance": (1 - MISSED) ** int(n), "t3": typical("t3", n), "t2": typical("t2", n)}
            for n in sizes
        ],
        "missed": MISSED,
        "repeats": repeats,
        "largest_n": int(sizes[-1]),
        "n_infinite": int(np.isinf(kl).sum()),
        "n_should": kl.size,
        "example": typical("t2", sizes[-1]),
        "finite_value": float(np.median(seen[np.isfinite(seen)])) if np.isfinite(seen).any() else None,
        "back": estimate_of(data, "kl", case="missed", direction="qp"),
        "truth": truth,
        "covers": covers,
        "covers_too_few": covers.value < 0.9,
        "median": middle,
        "median_below": middle < truth.value,
        "growth": float(np.diff(medians["mc"].sel(case="t2"))[-2:].mean()),
        "growth_expected": float(np.log(10) / 2),
        "se_last": float(medians["mc_se"].sel(case="t2").isel(n=-1)),
    }  # fmt: skip
