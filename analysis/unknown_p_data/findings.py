"""Numbers and truth values of the question about an unknown p_data."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.reading import dataset_of, mean_of, share_of
from analysis.unknown_p_data.study import SIZES, SUMMARIES, TAILS, N
from analysis.unknown_p_data.targets import NAMES
from models.quadrature import Estimate

__all__ = [
    "FEW", "FULL_FILE", "biased", "covered", "differences", "draws_needed", "findings", "nearer", "sign", "stored_study",
]  # fmt: skip

#: Replications stored with the project; ``tests/reference/make_unknown_study.py`` writes them.
FULL_FILE = Path(__file__).parents[1] / "data" / "unknown_study.csv"
#: The difference that one wants to tell, in nats.
WANTED = 0.1
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
RIVALS = ("scipy", "kernels", "arviz")

Row = Mapping[str, Any]


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    studies = {name: dataset_of(results, name) for name in NAMES}
    return {
        "study": study(studies),
        "needed": needed(studies),
        "wanted": WANTED,
        "holds": HOLDS,
        "n": N,
        "sizes": list(SIZES),
        "tails": tails(dataset_of(results, "tails")),
        "ties": ties(dataset_of(results, "ties")),
        "sign": sign(dataset_of(results, "sign")),
        "differences": differences(dataset_of(results, "differences")),
        "full": stored(stored_study(), {name: data.attrs["title"] for name, data in studies.items()}),
        "settings": json.loads(results.attrs["settings"]),
    }


def _row(data: xr.Dataset, **at: Any) -> dict[str, float]:
    found = data.sel(at)
    return {name: float(found[name]) for name in SUMMARIES}


def _bias(row: Row) -> Estimate | None:
    return Estimate(row["bias"], row["sd"] / np.sqrt(row["count"]), "draws") if np.isfinite(row["bias"]) else None


def _cells(row: Row) -> dict[str, Any]:
    """What tables show of intervals; the coverage among those marked reliable only if some are."""
    marked = round(row["reliable"] * row["count"])
    return {
        "bias": _bias(row),
        "sd": row["sd"],
        "length": row["length"],
        "coverage": share_of(row["coverage"], row["count"]),
        "reliable": row["reliable"],
        "among": share_of(row["coverage_reliable"], marked) if marked and row["reliable"] >= FEW else None,
    }


# --- targets ---------------------------------------------------------------------------------------------------------


def study(studies: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Intervals and rivals of all targets at one sample size."""
    intervals, rivals = {}, []
    for name, data in studies.items():
        intervals[name] = _row(data, estimator="kl", n=N)
        head = {"target": data.attrs["title"], "shallow": int(data["dim"]) <= DEEPEST}
        rivals.append({**head, **{key: _bias(_row(data, estimator=key, n=N)) for key in ("kl", *RIVALS)}})
    held = [row["coverage"] for row in intervals.values()]
    shallow = [row["coverage"] for name, row in intervals.items() if int(studies[name]["dim"]) <= DEEPEST]
    return {
        "n_targets": len(held),
        "n_new": sum(bool(data["new"]) for data in studies.values()),
        "count": int(next(iter(intervals.values()))["count"]),
        "lowest": min(shallow),
        "highest": max(shallow),
        "lowest_of_all": min(held),
        "worst": {key: _worst(rivals, key) for key in RIVALS},
        "largest": {key: max(abs(row[key].value) for row in rivals if row[key] is not None and row["shallow"])
                    for key in ("kl", "kernels", "scipy")},
    }  # fmt: skip


def biased(rows: Sequence[Row]) -> dict[str, Any]:
    """Where the bias is beyond one fifth of the standard deviation, and more than chance: seen, or unseen."""
    ratio = {row["title"]: abs(row["bias"]) / row["sd"] for row in rows}
    large = [row for row in rows if ratio[row["title"]] > SMALL + 2 / np.sqrt(row["count"])]
    return {
        "of": len(rows),
        "targets": [row["title"] for row in large],
        "worst": max((ratio[row["title"]] for row in large), default=0.0),
        "flagged": [row["title"] for row in large if row["reliable"] < MOST],
        "unseen": [row["title"] for row in large if row["reliable"] >= MOST],
    }


def covered(rows: Sequence[Row]) -> dict[str, Any]:
    """Where the coverage among the intervals marked reliable is within what is said to hold, as far as chance allows."""
    off = []
    for row in rows:
        count = round(row["reliable"] * row["count"])
        if row["reliable"] >= FEW and count:
            spread = 2 * share_of(row["coverage_reliable"], count).error
            if not HOLDS[0] - spread <= row["coverage_reliable"] <= HOLDS[1] + spread:
                off.append({"title": row["title"], "coverage": row["coverage_reliable"]})
    unmarked = [row["title"] for row in rows if row["reliable"] < FEW]
    return {"of": len(rows), "within": len(rows) - len(off) - len(unmarked), "unmarked": unmarked, "off": off}


def _worst(rows: Sequence[Row], key: str) -> dict[str, Any]:
    """Where a rival is worst, and how often its bias is beyond chance."""
    known = [row for row in rows if row[key] is not None]
    worst = max(known, key=lambda row: abs(row[key].value))
    beyond = sum(abs(row[key].value) > 3 * row[key].error for row in known)
    return {"of": len(known), "beyond": beyond, "bias": worst[key], "target": worst["target"]}


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


def needed(studies: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Draws at which half the length of an interval is `WANTED`, by target; none where most are marked unreliable."""
    table, found = [], {}
    for name, data in studies.items():
        sizes = data["n"].to_numpy()
        row: dict[str, Any] = {"target": data.attrs["title"], "dim": int(data["dim"])}
        for key in ("entropy", "kl"):
            half = data["length"].sel(estimator=key).to_numpy() / 2
            # Beyond the largest size the interval is taken to shorten on; where it has just grown longer nothing says so.
            shortens = half[-1] < half[-2] or half[-1] <= WANTED
            trusted = shortens and float(data["reliable"].sel(estimator=key).isel(n=-1)) >= MOST
            n = draws_needed(sizes, half, WANTED)
            row[key] = _two_digits(n) if trusted else None
            row[f"{key}_beyond"] = bool(n < sizes[0] or n > sizes[-1])
            if key == "kl":
                row |= {f"half_{i}": float(h) for i, h in enumerate(half)}
        table.append(row)
        found[name] = row["kl"]
    line = [row["kl"] for row in table if row["dim"] == 1 and row["kl"] is not None]
    return {
        "table": table,
        "line_least": min(line),
        "line_most": max(line),
        "beyond": any(row[key] is not None and row[f"{key}_beyond"] for row in table for key in ("kl", "entropy")),
        "by_dim": [{"dim": d, "n": found[f"normal_{d}"]} for d in (1, 2, 3) if found[f"normal_{d}"] is not None],
    }


def _two_digits(n: float) -> int:
    return int(float(f"{n:.1e}"))


# --- tails, ties, below zero -----------------------------------------------------------------------------------------


def tails(data: xr.Dataset) -> dict[str, Any]:
    """Coverage against tails: of all intervals, and of those marked reliable."""
    rows = {title: _row(data, tail=name) for name, (title, _) in TAILS.items()}
    wrong = {
        title: row["reliable"] * (1 - row["coverage_reliable"]) if np.isfinite(row["coverage_reliable"]) else 0.0
        for title, row in rows.items()
    }
    worst, count = max(wrong, key=lambda title: wrong[title]), int(data["count"].max())
    kl = dict(zip(rows, data["kl"].to_numpy(), strict=True))
    return {
        "table": [{"target": title, "kl": float(kl[title]), **_cells(row)} for title, row in rows.items()],
        "count": count,
        "wrong_count": round(wrong[worst] * count),
        "worst": worst,
    }


def ties(data: xr.Dataset) -> dict[str, Any]:
    """What rounding does to each estimator."""

    def row(unit: float) -> dict[str, Any]:
        at = data.sel(unit=unit)
        return {
            "unit": float(unit),
            **{str(key): float(at["bias"].sel(estimator=key)) for key in data["estimator"].to_numpy()},
            "flagged": float(at["flagged"].sel(how="plain")),
            "jitter_flagged": float(at["flagged"].sel(how="jittered")),
            "jitter_coverage": float(at["coverage"].sel(how="jittered")),
        }

    return {"table": [row(unit) for unit in data["unit"].to_numpy()], "coarse": row(0.1)}


def sign(data: xr.Dataset) -> dict[str, Any]:
    """A model that is right: how often its estimated KL is negative, and significantly so."""
    value, lower, below, arviz = (data[name].to_numpy() for name in ("value", "lower", "below", "arviz"))
    count = len(value)
    return {
        "cross_entropy": float(data["cross_entropy"]),
        "exact": float(data["cross_entropy_exact"]),
        "count": count,
        "negative": share_of(float((value < 0).mean()), count),
        "excluded": share_of(float(below.mean()), count),
        "holds": share_of(float(((lower <= 0) & (below == 0)).mean()), count),
        "mean": mean_of(value),
        "arviz": mean_of(arviz),
        "clamped": float((arviz == 0).mean()),
    }


# --- differences -----------------------------------------------------------------------------------------------------


def differences(data: xr.Dataset) -> dict[str, Any]:
    """Families on real data: differences of KL, and the same from ArviZ."""
    best, n = data.attrs["best"], int(data["n"])
    table, others = [], data.drop_sel(family=best)
    for name in data["family"].to_numpy():
        row = {key: float(data[key].sel(family=name)) for key in ("cross_entropy", "difference", "error")}
        pairs = {"difference": (row["difference"], row["error"]), "total": (n * row["difference"], n * row["error"])}
        shown = {key: None if name == best else Estimate(*pair, "draws") for key, pair in pairs.items()}
        table.append({"family": str(name), "cross_entropy": row["cross_entropy"], **shown})
    return {
        "table": table,
        "best": best,
        "n": n,
        "gain": float((others["unpaired"] / others["error"]).mean()),
        "kl": Estimate(float(data["kl"]), float(data["kl_error"]), "draws"),
        "lower": float(data["kl_lower"]),
        "upper": float(data["kl_upper"]),
        "excludes": bool(data["kl_lower"] > 0),
        "raw_reliable": bool(data["raw_reliable"]),
        "raw_warning": data.attrs["raw_warning"],
    }


# --- the study that is stored ----------------------------------------------------------------------------------------


def stored_study() -> xr.Dataset:
    """Return the full study that comes with the project: variables by row; attributes ``date`` and ``versions``."""
    source, _, rest = FULL_FILE.read_text(encoding="utf-8").partition("\n")
    head, *lines = csv.reader(rest.splitlines())
    columns = dict(zip(head, zip(*lines, strict=True), strict=True))
    words_of = ("target", "estimator")
    dataset = xr.Dataset(
        {
            key: ("row", list(column) if key in words_of else [float(v) if v else np.nan for v in column])
            for key, column in columns.items()
        }
    )
    return dataset.assign_attrs(json.loads(source.removeprefix("# ")))


def stored(data: xr.Dataset, titles: Mapping[str, str]) -> dict[str, Any]:
    """The committed full study at one sample size, with infomeasure; and what the largest size adds."""
    rows: dict[tuple[str, str, int], Row] = {
        (str(row["target"]), str(row["estimator"]), int(row["n"])): dict(row) for _, row in data.to_dataframe().iterrows()
    }  # fmt: skip
    judged, large = (
        [{"title": titles[name], **rows[name, "kl", n]} for name in titles if (name, "kl", n) in rows]
        for n in (N, SIZES[-1])
    )
    table = []
    for name, title in titles.items():
        if (name, "kl", N) not in rows:
            continue
        kl, h, other = (rows.get((name, key, N)) for key in ("kl", "entropy", "infomeasure"))
        assert kl is not None
        assert h is not None
        table.append({
            "target": title,
            "ratio": kl["bias"] / kl["sd"],
            "entropy": share_of(h["coverage"], h["count"]),
            **_cells(kl),
            "infomeasure": other and _bias(other),
            "sd_infomeasure": other and float(other["sd"]),
        })  # fmt: skip
    longer = [row["sd"] / row["sd_infomeasure"] for row in table if row["sd_infomeasure"]]
    return {
        "table": table,
        "count": int(judged[0]["count"]),
        "date": data.attrs["date"],
        "versions": [f"{name} {version}" for name, version in data.attrs["versions"].items()],
        "biased": biased(judged),
        "covered": covered(judged),
        "largest": SIZES[-1],
        "largest_count": int(large[0]["count"]),
        "largest_covered": covered(large),
        "nearer": nearer(table),
        "price_least": min(longer),
        "price_most": max(longer),
        "infomeasure_worst": max(abs(row["infomeasure"].value) for row in table if row["infomeasure"]),
    }


def nearer(rows: Sequence[Row]) -> dict[str, int]:
    """How often infomeasure is nearer to the truth on average, its bias included, and how often that bias is large."""
    known = [row for row in rows if row["infomeasure"] is not None]
    return {
        "of": len(known),
        "nearer": sum(np.hypot(row["infomeasure"].value, row["sd_infomeasure"]) < np.hypot(row["bias"].value, row["sd"])
                      for row in known),
        "biased": sum(abs(row["infomeasure"].value) > SMALL * row["sd_infomeasure"] for row in known),
    }  # fmt: skip
