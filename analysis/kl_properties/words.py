"""Numbers of the question about the properties of KL as tables, entries and sentences that follow them.

Directions are named ``pq`` for KL(p||q) and ``qp`` for KL(q||p), where p and q are the two members of a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import binom

from analysis.reading import estimate_of
from analysis.site.numbers import est, num, signed
from models.quadrature import Estimate

__all__ = ["answer", "bounds", "figure_texts", "infinite", "maps", "path", "sign", "ways"]

DIRECTIONS = {"pq": "KL(p‖q)", "qp": "KL(q‖p)"}
#: Results of integration smaller than this, in nats, are rounding.
ROUNDING = 1e-14


def _flat(data: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(data.transpose("pair", "direction", ...).to_numpy(), dtype=float)


# --- four ways to compute it -----------------------------------------------------------------------------------------


def ways(data: xr.Dataset, titles: Mapping[str, str]) -> dict[str, Any]:
    """Table of every divergence by every method, and counts of how far these agree."""
    table = [
        _way(data.sel(pair=name, direction=d), title, DIRECTIONS[d])
        for name, title in titles.items()
        for d in DIRECTIONS
    ]
    value, exact, error = (_flat(data[name]) for name in ("kl", "exact", "kl_error"))
    known = np.isfinite(exact)
    gap = np.abs(value - exact)[known]
    score = np.abs(_flat(data["mc"]) - value) / _flat(data["mc_se"])
    has_variance = np.isfinite(_flat(data["sd"]))
    within, count = int((score[has_variance] <= 2).sum()), int(has_variance.sum())
    neighbours = _flat(data["arviz"])
    bias = neighbours.mean(axis=2) - value
    bias_se = neighbours.std(axis=2, ddof=1) / np.sqrt(neighbours.shape[2])
    worst = np.unravel_index(np.abs(bias).argmax(), bias.shape)
    asymmetry = np.abs(value[:, 0] - value[:, 1])
    names = list(titles)
    symmetric = [titles[names[i]] for i in np.flatnonzero(asymmetry < 1e-12)]
    one_mode = data.sel(pair="one_mode")
    return {
        "table": table,
        "n_pairs": len(titles),
        "n_values": int(value.size),
        "n_exact": int(known.sum()),
        "largest_gap": float(gap.max()),
        "largest_gap_errors": float((gap / error[known]).max()),
        "largest_error": float(error.max()),
        "within": within,
        "with_variance": count,
        "farthest": float(score[has_variance].max()),
        "monte_carlo_sentence": _chance(within, count),
        "no_variance_sentence": _no_variance(data, titles),
        "arviz_sentence": _arviz(bias, bias_se, neighbours, worst, value, [titles[n] for n in names]),
        "arviz_worst": float(bias[worst]),
        "symmetric": " and ".join(f"*{title}*" for title in symmetric) or "none of them",
        "n_symmetric": len(symmetric),
        "one_mode": {d: estimate_of(one_mode, "kl", direction=d) for d in DIRECTIONS},
        "matched": {d: estimate_of(data.sel(pair="matched"), "kl", direction=d) for d in DIRECTIONS},
    }  # fmt: skip


def _way(row: xr.Dataset, title: str, direction: str) -> dict[str, Any]:
    value, exact, se = (float(row[name]) for name in ("kl", "exact", "mc_se"))
    gap = value - exact
    neighbours = row["arviz"].to_numpy() - value
    return {
        "pair": title,
        "direction": direction.removeprefix("KL(").removesuffix(")"),
        "exact": None if np.isnan(exact) else num(exact, digits=6),
        "kl": Estimate(value, float(row["kl_error"]), "quadrature"),
        "gap": None if np.isnan(exact) else signed(gap / float(row["kl_error"]), 1.0),
        "mc": est(Estimate(float(row["mc"]), se, "draws")) + ("" if np.isfinite(float(row["sd"])) else "†"),
        "score": signed((float(row["mc"]) - value) / se, 1.0) + ("" if np.isfinite(float(row["sd"])) else "†"),
        "arviz": f"{signed(neighbours.mean(), neighbours.std(ddof=1))}\u00a0±\u00a0{num(neighbours.std(ddof=1), digits=2)}",
    }


def _chance(within: int, count: int) -> str:
    """Whether as many estimates lie within two standard errors as should."""
    start = f"Of the {count} Monte Carlo means whose terms have a variance, {within} lie within two standard errors of the integral"
    if binom.cdf(within, count, 0.9545) < 0.01:
        return f"{start}, fewer than chance would leave there ({0.9545 * count:.1f} on average)."
    return f"{start}; chance alone would put {0.9545 * count:.1f} there on average."


def _no_variance(data: xr.Dataset, titles: Mapping[str, str]) -> str:
    marked = [
        (title, d) for name, title in titles.items() for d in DIRECTIONS
        if not np.isfinite(float(data["sd"].sel(pair=name, direction=d)))
    ]  # fmt: skip
    if not marked:
        return ""
    text = " and ".join(f"{DIRECTIONS[d]} of *{title}*" for title, d in marked)
    return f"{text} is marked †: the divergence is finite, but its log ratio has no variance, so the standard error printed there means nothing."


def _arviz(bias: Any, bias_se: Any, neighbours: Any, worst: Any, value: Any, titles: Sequence[str]) -> str:
    biased = int((np.abs(bias) > 3 * bias_se).sum())
    low = int((bias < -3 * bias_se).sum())
    where = f"{list(DIRECTIONS.values())[worst[1]]} of *{titles[worst[0]]}*"
    off = f"{'below' if bias[worst] < 0 else 'above'} the {num(value[worst], digits=3)} that it estimates"
    text = (
        f"Its mean is farther from the integral than three of its own standard errors in {biased} of {bias.size} cases, too low in {low if low < biased else 'all'} of these. "
        f"The worst is {where}, {num(abs(bias[worst]), bias_se[worst], digits=3)} nats {off}."
    )
    if (zeros := int((neighbours == 0).sum())) > 0:
        text += f" {zeros} of the {neighbours.size} answers are exactly 0, which is where it cuts negative values off."
    return text


# --- never negative --------------------------------------------------------------------------------------------------


def sign(data: xr.Dataset, random: xr.Dataset, catalogue: xr.Dataset) -> dict[str, Any]:
    """Smallest values of divergences and of their integrands."""
    kl, error = random["kl"].to_numpy(), random["kl_error"].to_numpy()
    integrand = np.concatenate([random["integrand"].to_numpy(), catalogue["integrand"].to_numpy().ravel()])
    bregman = np.concatenate([random["bregman"].to_numpy(), catalogue["bregman"].to_numpy().ravel()])
    lowest = int(kl.argmin())
    return {
        "n_random": len(kl),
        "smallest_random": Estimate(float(kl[lowest]), float(error[lowest]), "quadrature"),
        "smallest_catalogue": float(data["kl"].min()),
        "n_negative_kl": int((kl < 0).sum() + (data["kl"] < 0).sum()),
        "n_pointwise": len(integrand),
        "n_negative": int((integrand < 0).sum()),
        "most_negative": float(integrand.min()),
        "bregman": float(bregman.min()),
        "bregman_sentence": _bregman(float(bregman.min()), len(bregman)),
    }


def _bregman(lowest: float, count: int) -> str:
    if lowest >= -ROUNDING:
        return (
            f"On a fine grid of x it was nowhere below zero by more than rounding, for any of the {count} integrands."
        )
    return f"Its lowest value on a fine grid of x was {num(lowest, digits=2)}, among {count} integrands."


# --- zero only for p = q ---------------------------------------------------------------------------------------------


def path(data: xr.Dataset) -> dict[str, Any]:
    """Slopes with which the divergences vanish, and the ratio to half of chi-squared times the square."""
    rest, found = data["rest"].to_numpy(), {}
    for name in data["path"].to_numpy():
        kl = data["kl"].sel(path=name).transpose("rest", "direction").to_numpy()
        slopes = np.log(kl[-1] / kl[-3]) / np.log(rest[-1] / rest[-3])
        chi2 = float(data["chi2"].sel(path=name))
        found[str(name)] = {
            "chi2": Estimate(chi2, float(data["chi2_error"].sel(path=name)), "quadrature"),
            "slope": {d: float(s) for d, s in zip(DIRECTIONS, slopes, strict=True)},
            "ratio": {d: float(k / (rest[-1] ** 2 * chi2 / 2)) for d, k in zip(DIRECTIONS, kl[-1], strict=True)},
            "start": {d: float(k) for d, k in zip(DIRECTIONS, kl[0], strict=True)},
            "end": {d: float(k) for d, k in zip(DIRECTIONS, kl[-1], strict=True)},
        }
    return {**found, "smallest_rest": float(rest[-1])}


# --- maps of x -------------------------------------------------------------------------------------------------------


def maps(
    one: xr.Dataset,
    many: xr.Dataset,
    map_titles: Mapping[str, str],
    titles: Mapping[str, str],
    merged: Mapping[str, str],
) -> dict[str, Any]:
    """Tables of divergences and entropies under maps of x, and how far they keep what they should keep."""
    table = []
    for name, title in map_titles.items():
        for d, label in DIRECTIONS.items():
            row = one.sel(map=name, direction=d)
            table.append(
                {
                    "map": title,
                    "direction": label,
                    **{f"kl_{when}": estimate_of(row, "kl", when=when) for when in ("before", "after")},
                    **{f"entropy_{when}": estimate_of(row, "entropy", when=when) for when in ("before", "after")},
                    "slope": estimate_of(row, "slope"),
                }
            )
    kl, entropy = one["kl"], one["entropy"]
    shift = entropy.sel(when="after") - entropy.sel(when="before")
    values = many["kl"].transpose("pair", "direction", "map").to_numpy()
    lost = values[:, :, :1] - values
    return {
        "table": table,
        "largest_change": float(np.abs(kl.sel(when="after") - kl.sel(when="before")).max()),
        "largest_entropy_change": float(np.abs(shift).max()),
        "entropy_gap": float(np.abs(shift - one["slope"]).max()),
        "merged": [_merging(many, str(name), d, titles, merged) for name in many["pair"].to_numpy() for d in DIRECTIONS],
        "n_merged": int(lost[:, :, 1:].size),
        "n_raised": int((lost < -ROUNDING * np.maximum(1, values[:, :, :1])).sum()),
        "one_mode": estimate_of(many, "kl", pair="one_mode", direction="pq", map="x"),
        "one_mode_folded": float(many["kl"].sel(pair="one_mode", direction="pq", map="fold")),
        "matched_lost": float(np.abs(lost[list(many["pair"].to_numpy()).index("matched"), :, list(merged).index("fold")]).max()),
    }  # fmt: skip


def _merging(
    many: xr.Dataset, name: str, d: str, titles: Mapping[str, str], merged: Mapping[str, str]
) -> dict[str, Any]:
    row = many.sel(pair=name, direction=d)
    cells = {m: estimate_of(row, "kl", map=m) for m in merged}
    zero = {m: "0" for m, cell in cells.items() if abs(cell.value) < ROUNDING}
    return {"pair": titles[name], "direction": DIRECTIONS[d], **{m: num(cell) for m, cell in cells.items()}, **zero}


# --- infinite --------------------------------------------------------------------------------------------------------


def infinite(data: xr.Dataset, missed: Sequence[float], tails: Sequence[float]) -> dict[str, Any]:
    """What integration says of divergences that are infinite, and what Monte Carlo says."""
    sizes = data["n"].to_numpy()
    blind = [f"missed {mass:g}" for mass in missed]
    heavy = [f"t {nu:g}" for nu in tails]
    finite = (abs(data["mc"]) < np.inf).mean("repeat")
    table = [
        {
            "n": int(n),
            **{f"share_{i}": f"{100 * float(finite.sel(case=name, n=n)):.0f} ({100 * (1 - mass) ** int(n):.0f})"
               for i, (name, mass) in enumerate(zip(blind, missed, strict=True))},
            **{f"tail_{i}": _typical(data, name, n) for i, name in enumerate(heavy)},
        }
        for n in sizes
    ]  # fmt: skip
    seen = data["mc"].sel(case=blind[-1]).to_numpy()
    medians = {name: data["mc"].sel(case=name).median("repeat").to_numpy() for name in heavy}
    truth = float(data["kl"].sel(case=heavy[0], direction="pq"))
    last = data.sel(case=heavy[0]).isel(n=-1)
    covers = float((np.abs(last["mc"] - truth) <= 2 * last["mc_se"]).mean())
    kl = {str(c): float(data["kl"].sel(case=c, direction="pq")) for c in data["case"].to_numpy()}
    return {
        "table": table,
        "repeats": int(data.sizes["repeat"]),
        "largest_n": int(sizes[-1]),
        "n_infinite": sum(np.isinf(v) for v in kl.values()),
        "n_cases": len(kl),
        "infinite_sentence": _infinite_sentence(kl, heavy[0]),
        "example": _typical(data, heavy[1], sizes[-1]),
        "finite_value": float(np.median(seen[np.isfinite(seen)])) if np.isfinite(seen).any() else None,
        "blind": 1 - float(missed[-1]),
        "back": [estimate_of(data, "kl", case=name, direction="qp") for name in blind],
        "truth": estimate_of(data, "kl", case=heavy[0], direction="pq"),
        "covers": covers,
        "covers_sentence": _coverage(covers, float(np.median(last["mc"])), truth, int(sizes[-1])),
        "growth": float(np.diff(medians[heavy[1]])[-2:].mean()),
        "growth_expected": float(np.log(10) / 2),
        "steep": float((medians[heavy[2]][-1] / medians[heavy[2]][0]) ** (1 / (len(sizes) - 1))),
        "se_last": float(data["mc_se"].sel(case=heavy[1]).isel(n=-1).median()),
    }


def _typical(data: xr.Dataset, name: str, n: int) -> str:
    mean, se = (float(data[v].sel(case=name, n=n).median()) for v in ("mc", "mc_se"))
    return est(Estimate(mean, se, "draws"))


def _infinite_sentence(kl: Mapping[str, float], finite: str) -> str:
    found = [np.isinf(v) for name, v in kl.items() if name != finite]
    if all(found):
        return f"Numerical integration returns ∞ for all {len(found)}."
    return f"Numerical integration returns ∞ for {sum(found)} of {len(found)}, and misses the rest."


def _coverage(covers: float, median: float, truth: float, n: int) -> str:
    share = (
        f"The interval of two standard errors holds the true value in {100 * covers:.0f}% of the repeats at n = {n:,}"
    )
    if covers < 0.9:
        side = " Half of the estimates are still below" if median < truth else " Half of the estimates are above"
        return f"{share}, not in 95%.{side} {num(median, digits=3)}."
    return f"{share}."


# --- bounds ----------------------------------------------------------------------------------------------------------


def bounds(data: xr.Dataset, random: xr.Dataset) -> dict[str, Any]:
    """Total variation distances against the bounds of Pinsker and of Bretagnolle and Huber."""
    kl, tv, error = (
        np.concatenate([data[v].to_numpy().ravel(), random[v].to_numpy()]) for v in ("kl", "tv", "tv_error")
    )
    pinsker, huber = np.sqrt(kl / 2), np.sqrt(-np.expm1(-kl))
    broken = int((tv - error > np.minimum(pinsker, huber)).sum())
    tight = int((tv / np.minimum(pinsker, huber)).argmax())
    text = "No pair breaks either." if broken == 0 else f"{broken} pairs break one of them."
    return {
        "n": len(kl),
        "broken": broken,
        "sentence": text,
        "tightest": float(tv[tight] / min(pinsker[tight], huber[tight])),
        "n_huber": int((huber < pinsker).sum()),
        "n_vacuous": int((pinsker > 1).sum()),
    }


# --- the answer, and the words of the figures ------------------------------------------------------------------------


def answer(way: Mapping[str, Any], low: Mapping[str, Any], inf: Mapping[str, Any]) -> str:
    """The answer in a few sentences."""
    one = way["one_mode"]
    negative = (
        f"In {low['n_random'] + way['n_values']} cases it was never negative"
        if low["n_negative_kl"] == 0
        else f"It came out negative in {low['n_negative_kl']} of {low['n_random'] + way['n_values']} cases"
    )
    blind = (
        f" Where the divergence is infinite, draws return a finite number with an error bar all the same: {inf['example']} at n = {inf['largest_n']:,}."
        if inf["n_infinite"]
        else ""
    )
    return (
        "It measures how much better p predicts a draw of p than q does: the mean of log p − log q under p. "
        f"{negative}, and the order matters: from two modes to one of them it is {num(one['pq'])} nats, back it is {num(one['qp'])}. "
        f"Numerical integration agrees with the closed form to {num(way['largest_gap'], digits=1)} nats in all {way['n_exact']} cases that have one. "
        f"The mean over draws came within two standard errors in {way['within']} of {way['with_variance']} cases whose terms have a variance.{blind} "
        f"`az.kl_divergence` was off by up to {num(abs(way['arviz_worst']), digits=2)} nats on average over calls."
    )


def figure_texts(data: xr.Dataset, path_data: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Alternative text and caption of each figure."""
    kl = {
        (p, d): num(estimate_of(data, "kl", pair=p, direction=d), digits=4)
        for p in ("one_mode", "matched")
        for d in DIRECTIONS
    }
    found = path(path_data)
    one, matched = found["one_mode"], found["matched"]
    gap = float(np.abs(data["arviz"].mean("repeat") - data["kl"]).max())
    return {
        "asymmetry": (
            "Six panels. Top: two equal modes at −3 and 3 as the filled density p, with q as a line, on the left one Normal on the right mode, "
            f"on the right a broad Normal over both. Middle: p log(p/q). Left, a tall peak on the mode that q misses, total {kl['one_mode', 'pq']} nats; "
            f"right, two peaks on the modes and a shallow trough between them, total {kl['matched', 'pq']}. Bottom: q log(q/p). "
            f"Left, one low peak where q is and nothing on the missed mode, total {kl['one_mode', 'qp']}; right, a peak between the modes, tails outside them "
            f"and troughs on them, total {kl['matched', 'qp']}.",
            "The same two densities, read both ways. Each divergence is the area above the axis minus the area below it. KL(p‖q) counts only where "
            "*p* has mass, KL(q‖p) only where *q* has. The mode that q misses (left) is nearly everything to KL(p‖q) and nothing to KL(q‖p). "
            "The gap between the modes (right) matters most to KL(q‖p). Vertical scales differ.",
        ),
        "path": (
            "Two log-log plots of both divergences against the part 1 − t of q that is left in the mixture. Left, q on one mode: the two lines start "
            f"at {one['start']['pq']:.2f} and {one['start']['qp']:.2f} nats, join, and fall with slope {one['slope']['pq']:.2f}. Right, q with the moments "
            f"of p: the lines stay apart and fall with slopes {matched['slope']['pq']:.2f} and {matched['slope']['qp']:.2f}.",
            "Both divergences fall to zero as the mixture $q_t = (1 - t)\\, q + t\\, p$ goes from q (right end) to p (left end); the slopes are those at the left end. Grey: "
            "$\\tfrac12 (1-t)^2 \\chi^2$, where $\\chi^2 = \\int (q-p)^2/p$. Left, $\\chi^2$ is finite: near p the two directions are one. "
            "Right, the tails of q make $\\chi^2$ infinite, and the fall is slower.",
        ),
        "estimators": (
            "For each pair and both directions, the difference from numerical integration on a scale that is linear near zero and logarithmic beyond. "
            "Monte Carlo means lie near zero, with error bars that cross it in most cases. The nearest-neighbour estimates of ArviZ spread wider and "
            f"for the larger divergences lie far to the left, by up to {gap:.1f} nats.",
            "Estimate minus numerical integration, in nats; the scale is linear within ±0.01 and logarithmic beyond. Dots: one Monte Carlo mean, "
            "bar ± two standard errors (open: the terms have no variance and the bar means nothing). Diamonds: mean of `az.kl_divergence` over repeats, "
            "bar ± two standard deviations of a single call. [Blue]{.forward}: KL(p‖q). [Orange]{.reverse}: KL(q‖p).",
        ),
    }
