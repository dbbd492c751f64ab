"""Numbers of the question about an unknown p_data as tables, entries and sentences that follow them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.site.numbers import num, pct, signed
from models.quadrature import Estimate

__all__ = ["answer", "differences", "figure_texts", "needed", "sign", "stored", "study", "tails", "ties"]

#: Coverage within which an interval of 95% is said to hold.
HOLDS = (0.92, 0.98)
#: A bias below this part of the standard deviation is said to be small.
SMALL = 0.2
#: Share marked reliable below which the coverage among these says nothing.
FEW = 0.05
#: Share marked reliable from which the number of draws needed is stated.
MOST = 0.5
#: Where the coverage is judged against the requirement: the dimensions that the method is made for.
DEEPEST = 2

_NAMES = {"kl": "this project", "scipy": "SciPy", "kernels": "kernels", "arviz": "ArviZ", "infomeasure": "infomeasure"}


def share(value: float, count: int) -> Estimate:
    """Return a share with its binomial standard error, which is not zero for a share of all (two of each are added)."""
    p = (value * count + 2) / (count + 4)
    return Estimate(float(value), float(np.sqrt(p * (1 - p) / (count + 4))), "draws")


def _listed(names: Sequence[str]) -> str:
    marked = [f"*{name}*" for name in names]
    return ", ".join(marked[:-1]) + (" and " if len(marked) > 1 else "") + marked[-1] if marked else "none"


def _among(row: Mapping[str, Any]) -> Any:
    """Coverage among the intervals marked reliable; a dash if hardly any is."""
    count = round(row["reliable"] * row["count"])
    if not count or row["reliable"] < FEW:
        return None
    return pct(share(row["coverage_reliable"], count))


def _row(data: xr.Dataset, estimator: str, n: int) -> dict[str, float]:
    found = data.sel(estimator=estimator, n=n)
    names = ("count", "bias", "sd", "mean_error", "coverage", "reliable", "coverage_reliable", "length")
    return {name: float(found[name]) for name in names}


def _bias(row: Mapping[str, float]) -> Estimate | None:
    if not np.isfinite(row["bias"]):
        return None
    return Estimate(row["bias"], row["sd"] / np.sqrt(row["count"]), "draws")


# --- targets ---------------------------------------------------------------------------------------------------------


def study(studies: Mapping[str, xr.Dataset], titles: Mapping[str, str], n: int) -> dict[str, Any]:
    """Tables and counts of all targets at one sample size."""
    table, rivals = [], []
    judged: list[dict[str, Any]] = []
    for name, data in studies.items():
        h, kl = (_row(data, estimator, n) for estimator in ("entropy", "kl"))
        new, dim = bool(data["new"]), int(data["dim"])
        table.append({
            "target": titles[name] + (" †" if new else ""),
            "kl": float(data["kl"]),
            "bias": _bias(kl),
            "sd": kl["sd"],
            "error": kl["mean_error"] / kl["sd"],
            "entropy": pct(share(h["coverage"], int(h["count"]))),
            "coverage": pct(share(kl["coverage"], int(kl["count"]))),
            "reliable": pct(kl["reliable"], digits=2),
            "among": _among(kl),
            "length": kl["length"],
        })  # fmt: skip
        found = {key: _bias(_row(data, key, n)) for key in ("kl", "scipy", "kernels", "arviz")}
        rivals.append({"target": titles[name], "truth": float(data["kl"]), **found})
        judged.append({"title": titles[name], "dim": dim, "new": new, **kl})
    shallow = [row for row in judged if row["dim"] <= DEEPEST]
    return {
        "table": table,
        "rivals": rivals,
        "n_targets": len(judged),
        "n_new": sum(row["new"] for row in judged),
        "count": int(judged[0]["count"]),
        "bias_sentence": _bias_sentence(judged),
        "coverage_sentence": _coverage_sentence(judged),
        "lowest": min(row["coverage"] for row in shallow),
        "highest": max(row["coverage"] for row in shallow),
        "rival_sentence": _rival_sentence(rivals),
    }  # fmt: skip


def _bias_sentence(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    error = {row["title"]: 1 / np.sqrt(row["count"]) for row in rows}
    large = [row for row in rows if abs(row["bias"]) / row["sd"] > SMALL + 2 * error[row["title"]]]
    head = f"A bias of one fifth of the standard deviation leaves a 95% interval as it is. The bias of KL exceeds that, beyond chance, for {len(large)} of {len(rows)} targets"
    if not large:
        return f"{head}."
    worst = max(large, key=lambda row: abs(row["bias"]) / row["sd"])
    flagged, silent = ([row["title"] for row in large if (row["reliable"] < 0.5) == low] for low in (True, False))
    tail = ""
    if flagged:
        tail += f" Most intervals of {_listed(flagged)} are marked unreliable."
    if silent:
        tail += f" Those of {_listed(silent)} are not: there the bias goes unseen."
    return (
        f"{head}: {_listed([row['title'] for row in large])}; at worst it is "
        f"{num(abs(worst['bias']) / worst['sd'], digits=2)} standard deviations.{tail}"
    )


def _coverage_sentence(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    off = []
    for row in rows:
        count = round(row["reliable"] * row["count"])
        if row["reliable"] < FEW or not count:
            continue
        spread = 2 * share(row["coverage_reliable"], count).error
        if not HOLDS[0] - spread <= row["coverage_reliable"] <= HOLDS[1] + spread:
            off.append(row)
    silent = [row["title"] for row in rows if row["reliable"] < FEW]
    text = f"Among the intervals marked reliable, coverage is within {HOLDS[0]:.0%} to {HOLDS[1]:.0%}, as far as so many replications tell, for {len(rows) - len(off) - len(silent)} of {len(rows)} targets"
    if silent:
        text += f"; for {_listed(silent)} hardly any interval is marked reliable"
    if off:
        cells = ", ".join(f"*{row['title']}* ({row['coverage_reliable']:.0%})" for row in off)
        text += f"; it is outside for {cells}"
    return f"{text}."


def _rival_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where each estimator is worst, and how often its bias is beyond chance."""
    parts = []
    for key, name in (("scipy", "SciPy"), ("kernels", "the kernel estimate"), ("arviz", "ArviZ")):
        known = [row for row in rows if row[key] is not None]
        clear = [row for row in known if abs(row[key].value) > 3 * row[key].error]
        worst = max(known, key=lambda row: abs(row[key].value))
        parts.append(
            f"{name} is off by more than three standard errors for {len(clear)} of {len(known)} targets, "
            f"by {num(worst[key])} nats at worst (*{worst['target']}*)"
        )
    return "; ".join(parts) + "."


# --- how much data ---------------------------------------------------------------------------------------------------


def draws_needed(sizes: Any, half: Any, wanted: float) -> float:
    """Return the n at which the half-length is `wanted`: straight lines on logarithmic scales, beyond the ends n^-1/2.

    Examples
    --------
    >>> round(draws_needed([100, 10_000], [1.0, 0.1], 0.2))
    2500
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(half, dtype=float))
    target = np.log(wanted)
    if target >= y[0]:
        return float(np.exp(x[0] - 2 * (target - y[0])))
    if target <= y[-1]:
        return float(np.exp(x[-1] + 2 * (y[-1] - target)))
    return float(np.exp(np.interp(-target, -y, x)))


def needed(studies: Mapping[str, xr.Dataset], titles: Mapping[str, str], wanted: float) -> dict[str, Any]:
    """Draws at which half the length of an interval is `wanted`, by target."""
    table, found = [], {}
    for name, data in studies.items():
        sizes = data["n"].to_numpy()
        half = {key: data["length"].sel(estimator=key).to_numpy() / 2 for key in ("entropy", "kl")}
        n = {key: draws_needed(sizes, value, wanted) for key, value in half.items()}
        trusted = {key: float(data["reliable"].sel(estimator=key).isel(n=-1)) >= MOST for key in half}
        if trusted["kl"]:
            found[name] = n["kl"]
        table.append(
            {
                "target": titles[name],
                "dim": int(data["dim"]),
                **{key: _rounded(value, sizes) if trusted[key] else None for key, value in n.items()},
                **{f"half_{i}": float(half["kl"][i]) for i in range(len(sizes))},
            }
        )
    line = [found[name] for name in found if int(studies[name]["dim"]) == 1]
    return {
        "table": table,
        "line_least": _two_digits(min(line)),
        "line_most": _two_digits(max(line)),
        "by_dim": [{"dim": d, "n": _two_digits(found[f"normal_{d}"])} for d in (1, 2, 3) if f"normal_{d}" in found],
    }


def _two_digits(n: float) -> int:
    return int(float(f"{n:.1e}"))


def _rounded(n: float, sizes: Any) -> str:
    text = num(_two_digits(n))
    return f"{text}‡" if n < sizes[0] or n > sizes[-1] else text


# --- tails -----------------------------------------------------------------------------------------------------------


def tails(data: xr.Dataset, titles: Mapping[str, str]) -> dict[str, Any]:
    """Coverage against tails: of all intervals, and of those marked reliable."""
    table, wrong = [], {}
    for name, title in titles.items():
        row = {str(key): float(data[key].sel(tail=name)) for key in data.data_vars}
        held = row["coverage_reliable"] if np.isfinite(row["coverage_reliable"]) else 1.0
        wrong[title] = row["reliable"] * (1 - held)
        table.append({
            "target": title, "kl": row["kl"], "bias": _bias(row), "sd": row["sd"],
            "coverage": pct(share(row["coverage"], int(row["count"]))), "reliable": pct(row["reliable"], digits=2),
            "among": _among(row), "length": row["length"],
        })  # fmt: skip
    worst = max(wrong, key=lambda title: wrong[title])
    count = int(data["count"].max())
    return {
        "table": table,
        "count": count,
        "wrong": share(wrong[worst], count),
        "worst": worst,
        "least_reliable": min(titles.values(), key=lambda t: next(float(data["reliable"].sel(tail=k)) for k, v in titles.items() if v == t)),
    }  # fmt: skip


# --- ties ------------------------------------------------------------------------------------------------------------


def ties(data: xr.Dataset) -> dict[str, Any]:
    """What rounding does to each estimator."""
    table = []
    for i, unit in enumerate(data["unit"].to_numpy()):
        row = data.isel(unit=i)
        bias = {str(k): float(row["bias"].sel(estimator=k)) for k in data["estimator"].to_numpy()}
        table.append({
            "unit": "none" if unit == 0 else num(float(unit), digits=1),
            **{k: signed(v, 0.001) if np.isfinite(v) else num(v) for k, v in bias.items()},
            "flagged": pct(float(row["flagged"].sel(how="plain")), digits=2),
            "jitter_flagged": pct(float(row["flagged"].sel(how="jittered")), digits=2),
            "jitter_coverage": pct(float(row["coverage"].sel(how="jittered")), digits=2),
        })  # fmt: skip
    coarse = data.sel(unit=0.1)
    return {
        "table": table,
        "plain": float(coarse["bias"].sel(estimator="plain")),
        "jittered": float(coarse["bias"].sel(estimator="jittered")),
        "scipy": float(coarse["bias"].sel(estimator="scipy")),
        "flagged": float(coarse["flagged"].sel(how="plain")),
    }


# --- below zero ------------------------------------------------------------------------------------------------------


def sign(data: xr.Dataset) -> dict[str, Any]:
    """A model that is right: how often its estimated KL is negative, and significantly so."""
    value, upper, arviz = (data[name].to_numpy() for name in ("value", "upper", "arviz"))
    count = len(value)
    mean = Estimate(float(value.mean()), float(value.std(ddof=1) / np.sqrt(count)), "draws")
    other = Estimate(float(arviz.mean()), float(arviz.std(ddof=1) / np.sqrt(len(arviz))), "draws")
    holds = share(float(((data["lower"] <= 0) & (data["upper"] >= 0)).mean()), count)
    clamped = float((arviz == 0).mean())
    return {
        "cross_entropy": float(data["cross_entropy"]),
        "exact": float(data["cross_entropy_exact"]),
        "count": count,
        "negative": share(float((value < 0).mean()), count),
        "excluded": share(float((upper < 0).mean()), count),
        "holds": holds,
        "mean": mean,
        "arviz": other,
        "clamped": clamped,
        "arviz_sentence": (
            f"ArviZ sets negative values to zero ({clamped:.0%} of its estimates here), so that its mean is {num(other)} where the truth is 0."
            if clamped > 0
            else "ArviZ sets negative values to zero; none was negative here."
        ),
    }


# --- differences -----------------------------------------------------------------------------------------------------


def differences(data: xr.Dataset) -> dict[str, Any]:
    """Families on real data: differences of KL, and the same from ArviZ."""
    best = data.attrs["best"]
    table, gap, gain = [], 0.0, []
    for name in data["family"].to_numpy():
        row = data.sel(family=name)
        d, e = float(row["difference"]), float(row["error"])
        gap = max(gap, abs(d - float(row["arviz"])), abs(e - float(row["arviz_error"])))
        if name != best:
            gain.append(float(row["unpaired"]) / e)
        table.append({
            "family": str(name), "cross_entropy": float(row["cross_entropy"]),
            "difference": None if name == best else Estimate(d, e, "draws"),
            "arviz": None if name == best else Estimate(float(row["arviz"]), float(row["arviz_error"]), "draws"),
            "total": None if name == best else Estimate(d * int(data["n"]), e * int(data["n"]), "draws"),
        })  # fmt: skip
    lower, upper = float(data["kl_lower"]), float(data["kl_upper"])
    return {
        "table": table,
        "best": best,
        "n": int(data["n"]),
        "gap": gap,
        "gain": float(np.mean(gain)),
        "kl": Estimate(float(data["kl"]), float(data["kl_error"]), "draws"),
        "lower": lower,
        "upper": upper,
        "excludes": lower > 0,
        "sentence": (
            f"The interval, {signed(lower, 0.01)} to {signed(upper, 0.01)}, excludes zero: even the best family is not the truth."
            if lower > 0
            else f"The interval, {signed(lower, 0.01)} to {signed(upper, 0.01)}, includes zero: these data cannot tell the best family from the truth."
        ),
        "raw_reliable": bool(data["raw_reliable"]),
        "raw_warning": data.attrs["raw_warning"],
        "reliable": bool(data["kl_reliable"]),
    }


# --- the study that is stored ----------------------------------------------------------------------------------------


def stored(
    data: xr.Dataset, titles: Mapping[str, str], tail_titles: Mapping[str, str], n: int, largest: int
) -> dict[str, Any]:
    """The committed full study at one sample size, with infomeasure; and what the largest size adds."""
    whole = data.to_dataframe()
    frame, large = whole[whole["n"] == n], whole[(whole["n"] == largest) & (whole["estimator"] == "kl")]
    held = ("dim", "count", "bias", "sd", "reliable", "coverage", "coverage_reliable")
    more: list[dict[str, Any]] = [
        {"title": titles[str(r["target"])], **{k: float(r[k]) for k in held}} for _, r in large.iterrows()
    ]
    table: list[dict[str, Any]] = []
    judged: list[dict[str, Any]] = []
    for name, title in titles.items():
        rows = {str(r["estimator"]): r for _, r in frame[frame["target"] == name].iterrows()}
        if "kl" not in rows:
            continue
        kl, h = rows["kl"], rows["entropy"]
        judged.append(
            {
                "title": title,
                **{k: float(kl[k]) for k in held},
            }
        )
        table.append({
            "target": title,
            "ratio": float(kl["bias"] / kl["sd"]),
            "entropy": pct(share(float(h["coverage"]), int(h["count"]))),
            "coverage": pct(share(float(kl["coverage"]), int(kl["count"]))),
            "reliable": pct(float(kl["reliable"]), digits=2),
            "among": _among(kl),
            **{key: _bias(rows[key]) if key in rows else None for key in ("kl", *_NAMES)},
            "sd": float(kl["sd"]),
            "sd_infomeasure": float(rows["infomeasure"]["sd"]) if "infomeasure" in rows else None,
        })  # fmt: skip
    longer = [r["sd"] / r["sd_infomeasure"] for r in table if r["sd_infomeasure"]]
    tail_table = []
    for name, title in tail_titles.items():
        for _, row in frame[frame["target"] == f"tail {name}"].iterrows():
            tail_table.append({
                "target": title, "coverage": pct(share(float(row["coverage"]), int(row["count"]))),
                "reliable": pct(float(row["reliable"]), digits=2), "among": _among(row), "length": float(row["length"]),
            })  # fmt: skip
            tail_count = int(row["count"])
    return {
        "table": table,
        "tails": tail_table,
        "tail_count": tail_count,
        "count": int(judged[0]["count"]),
        "date": data.attrs["date"],
        "versions": ", ".join(f"{k} {v}" for k, v in data.attrs["versions"].items()),
        "coverage_sentence": _coverage_sentence(judged),
        "bias_sentence": _bias_sentence(judged),
        "largest": largest,
        "largest_count": int(more[0]["count"]),
        "largest_sentence": _coverage_sentence(more),
        "rmse_sentence": _rmse_sentence(table),
        "price_least": min(longer, default=np.nan),
        "price_most": max(longer, default=np.nan),
        "infomeasure_worst": max((abs(r["infomeasure"].value) for r in table if r["infomeasure"] is not None), default=np.nan),
    }  # fmt: skip


def _rmse_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where infomeasure is nearer to the truth on average, its bias included."""
    known = [row for row in rows if row["infomeasure"] is not None]
    nearer = [
        row
        for row in known
        if np.hypot(row["infomeasure"].value, row["sd_infomeasure"]) < np.hypot(row["kl"].value, row["sd"])
    ]
    clear = [row for row in known if abs(row["infomeasure"].value) > SMALL * row["sd_infomeasure"]]
    return (
        f"If a number is wanted and no interval, infomeasure is the nearer one, by root mean square error, for {len(nearer)} of {len(known)} targets. "
        f"For an interval it is not fit: for {len(clear)} of them its bias is more than one fifth of its standard deviation."
    )


# --- the answer, and the words of the figures ------------------------------------------------------------------------


def _needed_sentence(rows: Sequence[Mapping[str, Any]], wanted: float) -> str:
    cells = [f"{num(row['n'])}{'' if i else ' draws'} in {row['dim']}-D" for i, row in enumerate(rows)]
    return f"With a Normal, an interval of ±{num(wanted, digits=1)} nats takes about {', '.join(cells)}."


def answer(found: Mapping[str, Any], need: Mapping[str, Any], diff: Mapping[str, Any], wanted: float) -> str:
    """The answer in a few sentences."""
    return (
        "Draws tell the entropy of p_data, through distances to nearest neighbours, and so the KL, with an interval. "
        f"On {found['n_targets']} targets of known entropy ({found['n_new']} of them not used when the method was chosen) with 1000 draws, the 95% intervals in one and two dimensions "
        f"hold the truth in {found['lowest']:.0%} to {found['highest']:.0%} of {found['count']} samples. {_needed_sentence(need['by_dim'], wanted)} "
        "Where tails are too heavy, values repeat or dimensions are many, the estimate says that it is not to be relied on. "
        f"To rank models no entropy is needed: a difference of KL comes with a paired standard error, {num(diff['gain'], digits=2)} times smaller than an unpaired one on Old Faithful."
    )


def figure_texts(studies: Mapping[str, xr.Dataset], tie: xr.Dataset, wanted: float) -> dict[str, tuple[str, str]]:
    """Alternative text and caption of each figure."""
    largest = max(
        abs(float(d["bias"].sel(estimator="kl", n=1000))) for d in studies.values() if int(d["dim"]) <= DEEPEST
    )
    kernel = max(
        abs(float(d["bias"].sel(estimator="kernels", n=1000))) for d in studies.values() if int(d["dim"]) <= DEEPEST
    )
    scipy = max(abs(float(d["bias"].sel(estimator="scipy", n=1000))) for d in studies.values() if int(d["dim"]) == 1)
    low = min(float(d["coverage"].sel(estimator="kl", n=1000)) for d in studies.values())
    one, three = (float(studies[k]["length"].sel(estimator="kl", n=1000)) / 2 for k in ("normal_1", "normal_3"))
    return {
        "bias": (
            "For each target a row with the mean error of four estimators of KL from 1000 draws, with bars. Nearest neighbours with weights stay within "
            f"{largest:.2f} nats of zero in one and two dimensions; kernels miss by up to {kernel:.2f}, SciPy by up to {scipy:.2f}.",
            "Mean error of estimates of KL to the Normal of the same moments, 1000 draws; bars ± two standard errors of the mean. The scale is linear within ±0.02 and logarithmic beyond. "
            "[Blue dot]{.forward}: this project. Grey square: `scipy.stats.differential_entropy` (one dimension only). [Orange diamond]{.reverse}: `gaussian_kde` at the draws that made it. "
            "Open triangle: `az.kl_divergence`.",
        ),
        "interval_coverage": (
            f"Shares of 95% intervals that hold the truth, one row for each target and for each tail. All intervals as open circles, down to {low:.0%}; those marked reliable as filled dots, "
            "with bars. A band marks 92 to 98%.",
            "Share of the nominal 95% intervals of KL that hold the truth, 1000 draws. Open: all intervals. [Filled]{.forward}: those marked reliable, ± two binomial standard errors, left out where fewer than 5% are; "
            "the number is the share so marked. Band: 92 to 98%. Above the line the targets († not used when the method was chosen), below it tails against the Normal of the same moments.",
        ),
        "length": (
            f"Half the length of the interval against n on logarithmic scales, one line for each target, falling with n. At 1000 draws it is {one:.2f} nats for the Normal on the line "
            f"and {three:.2f} in three dimensions. A dashed line marks {wanted:g} nats.",
            f"Half the mean length of the 95% interval of KL against the number of draws. Lines of one colour have one dimension: [blue]{{.forward}} one, grey two, [orange]{{.reverse}} three. Dashed: {wanted:g} nats. Only where at least half of the intervals are marked reliable.",
        ),
        "ties": (
            f"Mean error of the entropy of rounded Normal draws against the unit of rounding. Without jitter nearest neighbours are off by {float(tie['bias'].sel(estimator='plain', unit=0.1)):.2f} nats "
            f"at a unit of 0.1, with jitter by {abs(float(tie['bias'].sel(estimator='jittered', unit=0.1))):.3f}. SciPy falls out of the frame at a unit of 0.5.",
            "Mean error of the entropy of 1000 standard Normal draws that were rounded to a unit. [Blue, solid]{.forward}: this project with jitter. [Blue, dotted]{.forward}: without; the numbers above are the shares marked unreliable. "
            "A line that ends at the frame goes beyond it. Grey: SciPy. [Orange]{.reverse}: kernels.",
        ),
    }  # fmt: skip
