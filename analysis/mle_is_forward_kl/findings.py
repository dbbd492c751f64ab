"""Numbers and truth values of the question whether maximum likelihood is forward KL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.mle_is_forward_kl.fits import CASES
from analysis.mle_is_forward_kl.lines import REPEATS
from analysis.mle_is_forward_kl.study import INTERVAL_N, LEVEL, PRIOR, PRODUCT_N, REACH, SIGMAS
from analysis.reading import case_of, dataset_of, mean_of, share_of
from models.quadrature import Estimate
from models.results import estimate_of

__all__ = [
    "SHOWN", "SYMBOLS", "cases_of", "constants", "coverage", "coverage_table", "endless", "findings", "fit", "means",
    "pooled", "seen",
]  # fmt: skip

Array = NDArray[np.float64]
#: First-order theory is compared with means over data sets of at least this size.
LARGE = 1000
#: Relative difference up to which two standard errors are said to agree.
ALIKE = 0.05
#: Most estimates drawn for one size of data set.
SHOWN = 60
SYMBOLS = {"mu": "μ", "sigma": "σ", "nu": "ν"}
#: What a mean over large data sets should be, in units of theory.
CONSTANTS = {"excess": 1, "optimism": -1}
Row = Mapping[str, Any]


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = cases_of(results)
    found = {name: one_case(case) for name, case in cases.items()}
    summary = list(found.values())
    table = coverage_table(results)
    return {
        **found,
        "deviation": max(abs(c["excess"].value - 1) for c in summary),
        "summary": summary,
        "constants": constants(summary),
        **{key: sum(c[key] for c in summary) for key in ("lost", "fits")},
        "endless": endless(cases),
        "coverage": coverage(table),
        "seen": seen(table),
        "fit": fit(found["outliers"], table),
        "curve": curve(dataset_of(results, "lines/curves")),
        "products": product(dataset_of(results, "lines/products")),
        "smoothing": smoothing(dataset_of(results, "lines/smoothed")),
        "map": prior(dataset_of(results, "lines/map"), float(cases["bimodal"]["projection/best"].sel(parameter="sigma"))),
        "well": well(dataset_of(results, "lines/well_specified")),
        "intervals": json.loads(results.attrs["settings"])["intervals"],
        "interval_n": INTERVAL_N,
        "large": LARGE,
        "level": LEVEL,
        "product_n": PRODUCT_N,
        "repeats": REPEATS,
        "shown": SHOWN,
    }  # fmt: skip


def cases_of(results: xr.DataTree) -> dict[str, xr.DataTree]:
    """Results of each case, by its name."""
    return {case.name: case_of(results, case.name) for case in CASES}


# --- many data sets --------------------------------------------------------------------------------------------------


def means(case: xr.DataTree, key: str) -> list[Estimate]:
    """Mean over data sets of each size, with its standard error; fits without a maximum are left out."""
    return [mean_of(row[np.isfinite(row)]) for row in case[f"replications/{key}"].to_numpy()]


def pooled(values: Sequence[Estimate], scale: Array, counts: Array) -> Estimate:
    """Mean of independent estimates, each times a scale, weighted by the counts of what they are means of.

    Weights from the errors themselves would favour means that happen to be small: of skewed values these go together.
    """
    part = scale * counts / counts.sum()
    error = np.sqrt((part**2) @ np.array([v.error**2 for v in values]))
    return Estimate(float(part @ np.array([v.value for v in values])), float(error), "draws")


def one_case(case: xr.DataTree) -> dict[str, Any]:
    """What maximum likelihood does outside its family: its limit, and how fast it gets there."""
    best, replications = dataset_of(case, "projection"), dataset_of(case, "replications")
    trace, count = float(best["trace"]), int(best.sizes["parameter"])
    large = replications["n"].to_numpy() >= LARGE
    n, counts = replications["n"].to_numpy()[large], replications["count"].to_numpy()[large]
    of_large = {key: pooled(means(case, key)[-len(n) :], 2 * n / trace, counts) for key in CONSTANTS}
    estimates = [case[f"{group}/estimate"].to_numpy().reshape(-1, count) for group in ("replications", "intervals")]
    fits = int(replications["count"].sum()) + int(case["intervals"].sizes["replication"])
    return {
        "case": case.attrs["short"],
        "kl": estimate_of(best, "kl"),
        "trace": trace,
        "parameters": count,
        **of_large,
        "kurtosis": 2 * trace - 1,  # of the target, if the family is the Normal
        "fits": fits,
        "lost": fits - sum(int((np.isinf(e).any(axis=1) | np.isfinite(e).all(axis=1)).sum()) for e in estimates),
    }


def constants(cases: Sequence[Row]) -> dict[str, Any]:
    """How many constants are not those of theory, and in which cases."""
    far = [c["case"] for c in cases for key, sign in CONSTANTS.items() if abs(c[key].value - sign) > 3 * c[key].error]
    return {"of": len(CONSTANTS) * len(cases), "far": len(far), "cases": list(dict.fromkeys(far))}


def endless(cases: Mapping[str, xr.DataTree]) -> list[dict[str, Any]]:
    """Where a parameter has no finite estimate."""
    rows = [
        {
            "case": case.attrs["short"],
            "parameter": SYMBOLS[str(label)],
            "n": n,
            "count": int(case["replications/count"].sel(n=n)),
            "infinite": int(np.isinf(case["replications/estimate"].sel(n=n, parameter=label).to_numpy()).sum()),
        }
        for case in cases.values()
        for n in case["replications/n"].to_numpy().tolist()
        for label in case["replications/parameter"].to_numpy()
    ]
    return [row for row in rows if row["infinite"]]


# --- intervals -------------------------------------------------------------------------------------------------------


def coverage_table(results: xr.DataTree) -> list[dict[str, Any]]:
    """Coverage of each parameter's intervals, and the ratio of the two standard errors, exact and as fits see it."""
    table = []
    for case in cases_of(results).values():
        best, intervals = dataset_of(case, "projection"), dataset_of(case, "intervals")
        for label in best["parameter"].to_numpy():
            one, exact = intervals.sel(parameter=label), best.sel(parameter=label)
            used = np.isfinite(one["se_hessian"].to_numpy())
            error = np.abs(one["estimate"].to_numpy() - float(exact["best"]))[used]
            ratio = float(exact["se_hessian"] / exact["se_sandwich"])
            of_fits = (one["se_hessian"] / one["se_sandwich"]).to_numpy()[used]
            table.append(
                {
                    "case": case.attrs["short"],
                    "parameter": SYMBOLS[str(label)],
                    **{
                        k: share_of(float((error <= REACH * one[f"se_{k}"].to_numpy()[used]).mean()), len(error))
                        for k in ("sandwich", "hessian")
                    },
                    "ratio": ratio,
                    "seen": Estimate(float(of_fits.mean()), float(of_fits.std(ddof=1)), "draws"),
                    "same_side": float(((of_fits - 1) * (ratio - 1) > 0).mean()),
                    "expected": float(2 * norm.cdf(REACH * ratio) - 1),
                }
            )
    return table


def coverage(table: Sequence[Row]) -> dict[str, Any]:
    """What the intervals did: their range, and where those of the Hessian are too short or too long."""
    sandwich, hessian = ([row[key] for row in table] for key in ("sandwich", "hessian"))
    short = [row for row in table if row["hessian"].value < LEVEL - 0.03 - 3 * row["hessian"].error]
    long = [row for row in table if row["hessian"].value > LEVEL + 0.02 + 3 * row["hessian"].error]
    rest = [row for row in table if row not in short and row not in long]
    return {
        "table": table,
        "sandwich": [pick(s.value for s in sandwich) for pick in (min, max)],
        "hessian": [pick(s.value for s in hessian) for pick in (min, max)],
        "error": max(s.error for s in sandwich),
        "short": short,
        "long": long,
        "rest": len(rest),
        "others": [pick((row["hessian"].value for row in rest), default=np.nan) for pick in (min, max)],
    }


def seen(table: Sequence[Row]) -> dict[str, Any]:
    """Where one fit shows that its Hessian's standard errors are wrong."""
    return {"alike": ALIKE, "apart": [row for row in table if abs(row["ratio"] - 1) > ALIKE]}


def fit(case: Row, table: Sequence[Row]) -> dict[str, Any]:
    """Whether a small divergence makes the two standard errors agree."""
    far = max((row for row in table if row["case"] == case["case"]), key=lambda row: abs(row["ratio"] - 1))
    size = abs(far["ratio"] - 1)
    return {**case, "parameter": far["parameter"], "differ": size, "agree": size <= ALIKE}


# --- the lines of the argument ---------------------------------------------------------------------------------------


def lowest(grid: Array, values: Array) -> float:
    """Where sampled values are lowest: the vertex of the parabola through the lowest point and its neighbours."""
    i = int(np.clip(np.argmin(values), 1, len(grid) - 2))
    c = np.polyfit(grid[i - 1 : i + 2] - grid[i], values[i - 1 : i + 2], 2)
    return float(grid[i] - c[1] / (2 * c[0]))


def curve(c: xr.Dataset) -> dict[str, Any]:
    """Lines (2) to (5) along the standard deviation of the Normal."""
    grid, ce, kl = (c[key].to_numpy() for key in ("value", "cross_entropy", "kl"))
    entropy = estimate_of(c, "entropy")
    return {
        "off": float(np.abs(ce - entropy.value - kl).max()),
        "entropy": entropy,
        "cross_entropy": float(ce.min()),
        "kl": float(kl.min()),
        "exact": float(c["exact"]),
        "argmin_ce": lowest(grid, ce),
        "argmin_kl": lowest(grid, kl),
        "table": [
            {"n": n, "gap": mean_of(gap), "argmin": lowest(grid, nll)}
            for n, nll, gap in zip(
                c["draws"].to_numpy().tolist(), c["nll"].to_numpy(), c["gap"].to_numpy(), strict=True
            )
        ],
    }


def product(p: xr.Dataset) -> dict[str, Any]:
    """Where the product, the sum and the mean are largest."""
    step, places = float(p["step"]), p["argmax"].to_numpy()
    return {
        "table": [
            {
                "n": int(n),
                "objective": str(objective),
                "largest": float(p["largest"].sel(draws=n, objective=objective)),
                "argmax": None if np.isnan(place) else float(place),
            }
            for n, row in zip(p["draws"].to_numpy(), places, strict=True)
            for objective, place in zip(p["objective"].to_numpy(), row, strict=True)
        ],
        "underflow": int(p["underflow"]),
        "step": step,
        "points": len(SIGMAS),
        "agree": bool((np.nanmax(places, axis=1) - np.nanmin(places, axis=1) < step / 2).all()),
    }


def prior(m: xr.Dataset, sigma: float) -> dict[str, Any]:
    """MAP against maximum likelihood; `sigma` is the projection's, whose mean is 0."""
    n, mle, best = m["n"].to_numpy(), *(m[key].sel(parameter="mu").to_numpy() for key in ("mle", "map"))
    distance = np.abs(best - mle)
    return {
        "table": [
            {"n": int(k), "mle": float(a), "map": float(b), "distance": float(d), "scaled": float(k * d)}
            for k, a, b, d in zip(n, mle, best, distance, strict=True)
        ],
        "slope": float(np.polyfit(np.log(n), np.log(distance), 1)[0]),
        "theory": sigma**2 * PRIOR[0] / PRIOR[1] ** 2,
        "mean": PRIOR[0],
        "sd": PRIOR[1],
    }


def smoothing(s: xr.Dataset) -> dict[str, Any]:
    """KL from smoothed draws, by the width of the smoothing, and by how much it grows per factor e."""
    width, kl, places = (s[key].to_numpy() for key in ("width", "kl", "argmin"))
    return {
        "table": [{"width": w, "kl": k, "argmin": a} for w, k, a in zip(*(v.tolist() for v in (width, kl, places)), strict=True)],
        "slope": float((kl[-1] - kl[-2]) / np.log(width[-2] / width[-1])),
        "mle": float(s["mle"]),
        "draws": int(s["draws"]),
    }  # fmt: skip


def well(one: xr.Dataset) -> dict[str, Any]:
    """Projection onto a family that contains the target."""
    numbers = {key: float(one[key]) for key in ("error", "difference", "trace")}
    return {**numbers, "kl": estimate_of(one, "kl"), "parameters": int(one["parameters"])}
