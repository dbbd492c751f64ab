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
from analysis.reading import case_of, dataset_of, estimate_of
from models.quadrature import Estimate

__all__ = [
    "QUARTILE",
    "SHOWN",
    "SYMBOLS",
    "cases_of",
    "constants",
    "coverage",
    "coverage_table",
    "endless",
    "findings",
    "fit",
    "means",
    "median",
    "pooled",
    "ratios",
    "seen",
    "share",
    "slope",
    "slopes",
]

Array = NDArray[np.float64]
#: First-order theory is compared with means over data sets of at least this size.
LARGE = 1000
#: With fewer data sets the standard error of a median is not to be trusted.
MANY = 100
#: Median absolute value of a standard Normal variable.
QUARTILE = float(norm.ppf(0.75))
#: Relative difference up to which two standard errors are said to agree.
ALIKE = 0.05
#: Most estimates drawn for one size of data set.
SHOWN = 60
SYMBOLS = {"mu": "μ", "sigma": "σ", "nu": "ν"}
#: What a mean over large data sets should be, in units of theory.
CONSTANTS = {"excess_constant": 1, "optimism_constant": -1, "gap_constant": 1}
WELL = {
    "unequal": "0.3 N(−2, 0.25) + 0.7 N(2, 1) onto mixtures of two Normals",
    "student_t_6": "Student-t with ν = 6 onto the Student-t",
}

Row = Mapping[str, Any]


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = cases_of(results)
    found = {name: one_case(case) for name, case in cases.items()}
    summary = list(found.values())
    errors = [row for case in cases.values() for row in error_table(case)]
    table, drawn = coverage_table(results), [curve(case) for case in cases.values() if "curves" in case]
    return {
        **found,
        "deviation": max(abs(c["excess_constant"].value - 1) for c in summary),
        "summary": summary,
        "slopes": slopes(summary),
        "constants": constants(summary),
        **{key: sum(c[key] for c in summary) for key in ("lost", "fits")},
        "check": max(float(v) for case in cases.values() for v in case["check"].to_dataset().data_vars.values()),
        "errors": [row for row in errors if row["n"] in (100, 10_000, row["largest"])],
        "endless": endless(errors),
        "ratios": ratios(errors),
        "coverage": coverage(table),
        "seen": seen(table),
        "fit": fit(found["outliers"], table),
        "curves": drawn,
        "curve_table": [row for c in drawn for row in c["table"]],
        "lines_off": max(c["off"] for c in drawn),
        "products": product(dataset_of(results, "lines/products")),
        "smoothing": smoothing(dataset_of(results, "lines/smoothed")),
        "map": prior(dataset_of(results, "lines/map"), float(cases["bimodal"]["projection/best"].sel(parameter="sigma"))),
        "well": [well(dataset_of(results, "lines/well_specified").sel(target=name), title) for name, title in WELL.items()],
        "intervals": json.loads(results.attrs["settings"])["intervals"],
        "interval_n": INTERVAL_N,
        "large": LARGE,
        "level": LEVEL,
        "many": MANY,
        "product_n": PRODUCT_N,
        "quartile": QUARTILE,
        "repeats": REPEATS,
        "shown": SHOWN,
    }  # fmt: skip


def cases_of(results: xr.DataTree) -> dict[str, xr.DataTree]:
    """Results of each case, by its name."""
    return {case.name: case_of(results, case.name) for case in CASES}


# --- many data sets --------------------------------------------------------------------------------------------------


def means(case: xr.DataTree, key: str) -> list[Estimate]:
    """Mean over data sets of each size, with its standard error; fits without a maximum are left out.

    ``gap`` is the excess minus the optimism: the mean by which new draws are worse than those of the fit.
    """
    r = dataset_of(case, "replications")
    values = (r["excess"] - r["optimism"] if key == "gap" else r[key]).to_numpy()
    return [_mean(row[np.isfinite(row)]) for row in values]


def _mean(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), "draws")


def slope(n: Array, values: Sequence[Estimate], counts: Array) -> Estimate:
    """Slope of log mean against log n by least squares weighted by counts, with the error that the means' errors give.

    Weights from the errors themselves would favour means that happen to be small: of skewed values these go together.
    """
    relative = np.array([m.error / m.value for m in values])
    x = np.log(n) - np.average(np.log(n), weights=counts)
    part = counts * x / (counts * x**2).sum()
    return Estimate(float(part @ np.log([m.value for m in values])), float(np.sqrt((part**2) @ (relative**2))), "draws")


def pooled(values: Sequence[Estimate], counts: Array) -> Estimate:
    """Mean of independent estimates, weighted by the counts of what they are means of."""
    part = counts / counts.sum()
    error = np.sqrt((part**2) @ np.array([v.error**2 for v in values]))
    return Estimate(float(part @ np.array([v.value for v in values])), float(error), "draws")


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.error * abs(factor), estimate.kind)


def one_case(case: xr.DataTree) -> dict[str, Any]:
    """What maximum likelihood does outside its family: its limit, and how fast it gets there."""
    best, replications = dataset_of(case, "projection"), dataset_of(case, "replications")
    trace, count = float(best["trace"]), int(best.sizes["parameter"])
    large = replications["n"].to_numpy() >= LARGE
    n, counts = replications["n"].to_numpy()[large], replications["count"].to_numpy()[large]
    of_large = {key: means(case, key)[-len(n) :] for key in ("excess", "optimism", "gap")}

    def constant(key: str, unit: float) -> Estimate:
        return pooled([_scaled(m, k / unit) for m, k in zip(of_large[key], n, strict=True)], counts)

    estimates = [case[f"{group}/estimate"].to_numpy().reshape(-1, count) for group in ("replications", "intervals")]
    fits = int(replications["count"].sum()) + int(case["intervals"].sizes["replication"])
    first, *_, last = means(case, "excess")
    return {
        "case": case.attrs["short"],
        "kl": estimate_of(best, "kl"),
        "trace": trace,
        "parameters": count,
        "slope": slope(n, of_large["excess"], counts),
        "excess_constant": constant("excess", trace / 2),
        "optimism_constant": constant("optimism", trace / 2),
        "gap_constant": constant("gap", trace),
        "kurtosis": 2 * trace - 1,  # of the target, if the family is the Normal
        "first": first.value,
        "last": last.value,
        "fits": fits,
        "lost": fits - sum(int((np.isinf(e).any(axis=1) | np.isfinite(e).all(axis=1)).sum()) for e in estimates),
    }


def slopes(cases: Sequence[Row]) -> dict[str, Any]:
    """Which slopes of the log excess are not −1."""
    return {"far": [c["case"] for c in cases if abs(c["slope"].value + 1) > 3 * c["slope"].error]}


def constants(cases: Sequence[Row]) -> dict[str, Any]:
    """How many constants are not those of theory, and in which cases."""
    far = [c["case"] for c in cases for key, sign in CONSTANTS.items() if abs(c[key].value - sign) > 3 * c[key].error]
    return {"of": len(CONSTANTS) * len(cases), "far": len(far), "cases": list(dict.fromkeys(far))}


def error_table(case: xr.DataTree) -> list[dict[str, Any]]:
    """Median absolute error of each parameter, as the standard deviation of a Normal, over what the sandwich says, by size.

    No mean square: an estimate of degrees of freedom is infinite with a probability that is not zero, and so is its mean.
    """
    best, estimates = dataset_of(case, "projection"), case["replications/estimate"]
    rows = []
    for n in estimates["n"].to_numpy().tolist():
        for label in best["parameter"].to_numpy():
            one, estimate = best.sel(parameter=label), estimates.sel(n=n, parameter=label).to_numpy()
            spread = median(np.abs(estimate[~np.isnan(estimate)] - float(one["best"])) / QUARTILE)
            scale = float(one["se_sandwich"]) / np.sqrt(n)
            rows.append(
                {
                    "case": case.attrs["short"],
                    "n": n,
                    "largest": int(estimates["n"].max()),
                    "count": int((~np.isnan(estimate)).sum()),
                    "infinite": int(np.isinf(estimate).sum()),
                    "parameter": SYMBOLS[str(label)],
                    "spread": spread,
                    "sandwich": scale,
                    "ratio": _scaled(spread, 1 / scale),
                }
            )
    return rows


def median(values: Array) -> Estimate:
    """Median, with half of the range of the order statistics that enclose it with the probability of one standard error."""
    ordered, count = np.sort(values), len(values)
    low = max(int(np.floor((count - np.sqrt(count)) / 2)), 0)
    high = min(int(np.ceil((count + np.sqrt(count)) / 2)), count - 1)
    return Estimate(float(np.median(ordered)), float(ordered[high] - ordered[low]) / 2, "draws")


def endless(table: Sequence[Row]) -> list[Row]:
    """Where a parameter has no finite estimate."""
    return [row for row in table if row["infinite"]]


def ratios(table: Sequence[Row]) -> dict[str, Any]:
    """Where the sandwich is not yet the error of the estimate, of all sizes with many data sets."""
    used = [row for row in table if row["count"] >= MANY]
    return {"of": len(used), "far": [row for row in used if abs(row["ratio"].value - 1) > 3 * row["ratio"].error]}


# --- intervals -------------------------------------------------------------------------------------------------------


def share(hits: NDArray[np.bool_]) -> Estimate:
    """Share of hits with its binomial standard error, which is not zero where all or none hit."""
    n = len(hits)
    smooth = (hits.sum() + 0.5) / (n + 1)
    return Estimate(float(hits.mean()), float(np.sqrt(smooth * (1 - smooth) / n)), "draws")


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
                    **{k: share(error <= REACH * one[f"se_{k}"].to_numpy()[used]) for k in ("sandwich", "hessian")},
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
    return {
        "table": table,
        "sandwich": [pick(s.value for s in sandwich) for pick in (min, max)],
        "hessian": [pick(s.value for s in hessian) for pick in (min, max)],
        "error": max(s.error for s in sandwich),
        "short": short,
        "long": long,
        "rest": len(table) - len(short) - len(long),
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


def curve(case: xr.DataTree) -> dict[str, Any]:
    """Lines (1) to (5) along one parameter."""
    c, short = dataset_of(case, "curves"), case.attrs["short"]
    grid, ce, kl, expected = (c[key].to_numpy() for key in ("value", "cross_entropy", "kl", "expected_log"))
    best, own, entropy = int(np.argmax(expected)), float(c["expected_log_target"]), estimate_of(c, "entropy")
    return {
        "case": short,
        "at": float(grid[best]),
        "expected_log_target": own,
        "expected_log": float(expected[best]),
        "difference": own - float(expected[best]),
        "divergence": float(kl[best]),
        "lifted": float(ce[best]) - entropy.value,
        "off": float(max(np.abs(own - expected - kl).max(), np.abs(ce - entropy.value - kl).max())),
        "argmax_log": lowest(grid, -expected),
        "entropy": entropy,
        "cross_entropy": float(ce.min()),
        "kl": float(kl.min()),
        "exact": float(case["projection/best"].sel(parameter=c.attrs["parameter"])),
        "argmin_ce": lowest(grid, ce),
        "argmin_kl": lowest(grid, kl),
        "table": [
            {"case": short, "n": n, "gap": _mean(gap), "argmin": lowest(grid, nll)}
            for n, nll, gap in zip(c["draws"].to_numpy().tolist(), c["nll"].to_numpy(), c["gap"].to_numpy(), strict=True)
        ],
    }  # fmt: skip


def product(p: xr.Dataset) -> dict[str, Any]:
    """Where the product, the sum and the mean are largest; ``largest`` of ``scaled`` is a decimal logarithm."""
    step, places, values = float(p["step"]), p["argmax"].to_numpy(), p["largest"].to_numpy()
    of_large = places[1][np.isfinite(places[1])]
    return {
        "table": [
            {
                "n": int(n),
                "objective": str(objective),
                "largest": float(values[i, j]),
                "argmax": None if np.isnan(places[i, j]) else float(places[i, j]),
            }
            for i, n in enumerate(p["draws"].to_numpy())
            for j, objective in enumerate(p["objective"].to_numpy())
        ],
        "underflow": int(p["underflow"]),
        "step": step,
        "points": len(SIGMAS),
        "agree": bool(np.ptp(places[0]) < step / 2 and len(of_large) == 3 and np.ptp(of_large) < step / 2),
    }


def prior(m: xr.Dataset, sigma: float) -> dict[str, Any]:
    """MAP against maximum likelihood; `sigma` is the projection's, whose mean is 0."""
    n, mle, best = m["n"].to_numpy(), *(m[key].sel(parameter="mu").to_numpy() for key in ("mle", "map"))
    distance, large = np.abs(best - mle), n >= LARGE
    return {
        "table": [
            {"n": int(k), "mle": float(a), "map": float(b), "distance": float(d), "scaled": float(k * d)}
            for k, a, b, d in zip(n, mle, best, distance, strict=True)
        ],
        "slope": float(np.polyfit(np.log(n[large]), np.log(distance[large]), 1)[0]),
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


def well(one: xr.Dataset, title: str) -> dict[str, Any]:
    """Projection onto a family that contains the target."""
    numbers = {key: float(one[key]) for key in ("error", "difference", "trace")}
    return {"case": title, **numbers, "kl": estimate_of(one, "kl"), "parameters": int(one["parameters"])}
