"""Numbers and truth values of the question about posteriors with several modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.posterior_modes.cases import durations
from analysis.posterior_modes.study import LEVEL, TOLERANCE
from models.quadrature import Estimate

__all__ = ["both", "ends", "findings", "mixing", "one_sided", "particles"]

Array = NDArray[np.float64]
#: A chain with less than this share of its draws on one side has not seen that side.
STUCK = 0.01


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = {name: _case(case) for name, case in results.children.items()}
    mixtures = [row for case in results.children.values() for row in _mixtures(case)]
    return {
        **cases,
        "level": LEVEL,
        "n_faithful": len(durations()),
        "stuck": sum(case["chains"]["stuck"] for case in cases.values()),
        "n_chains": sum(case["chains"]["n"] for case in cases.values()),
        "n_cases": len(cases),
        "smc_in_both": sum(not case["smc"]["lost"] for case in cases.values()),
        "log_z": {
            name: Estimate(float(case["exact/grid/log_z"]), float(case["exact/grid/log_z_error"]), "quadrature")
            for name, case in results.children.items()
            if _known(case)
        },
        "mixtures": mixtures,
        "mixing": mixing(mixtures),
        "runs": sum(case["runs"] for case in cases.values()),
        "converged": sum(case["converged"] for case in cases.values()),
    }


def _known(case: xr.DataTree) -> bool:
    return "exact" in case.children


def _exact_share(case: xr.DataTree) -> float:
    """Share of the first mode: on the grid, else one half by symmetry."""
    return float(case["exact/grid/share"]) if _known(case) else 0.5


def _which(fits: xr.Dataset, **wanted: str) -> xr.Dataset:
    """Return the fits whose ``role`` or ``how`` is as wanted."""
    chosen = np.logical_and.reduce([(fits[key] == value).to_numpy() for key, value in wanted.items()])
    return fits.isel(fit=np.flatnonzero(chosen))


def _case(case: xr.DataTree) -> dict[str, Any]:
    """What samplers and fits say of a posterior."""
    fits, column, exact_share = case["fits"].to_dataset(), int(case.attrs["column"]), _exact_share(case)
    advi = _which(fits, how="advi")
    reverse = _which(fits, role="reverse", how="exact" if _known(case) else "advi")
    at_smc = case["sources"].to_dataset().sel(source="SMC")
    return {
        "parameter": case.attrs["parameter"],
        "side": case.attrs["side"],
        "fits": _rows(case, column, exact_share),
        "exact_share": exact_share,
        "chains": one_sided(case["shares/share"].to_numpy()) | {"r_hat": float(case["shares/r_hat"])},
        "smc": particles(float(at_smc["share"]), int(at_smc["n"]), exact_share),
        "ends": ends(advi["gap"].to_numpy(), advi["converged"].to_numpy()) if _known(case) else None,
        "both": both(fits.isel(fit=0), reverse, column),
        "runs": int(advi["runs"].sum()),
        "converged": int(advi["converged"].sum()),
    }


def _rows(case: xr.DataTree, column: int, exact_share: float) -> list[dict[str, Any]]:
    """The reported parameter by the exact posterior, by every sampler, and by every fit."""
    absent = dict.fromkeys(("direction", "covered", "kl_forward", "kl_reverse", "runs"))

    def of_moments(data: xr.Dataset, share: float) -> dict[str, Any]:
        sd = float(np.sqrt(data["cov"][column, column]))
        return absent | {"mean": float(data["mean"][column]), "sd": sd, "share": share}

    rows = []
    if _known(case):
        rows.append({"source": "exact posterior"} | of_moments(case["exact/grid"].to_dataset(), exact_share))
    sources, fits = case["sources"].to_dataset(), case["fits"].to_dataset()
    for name in sources["source"].to_numpy():
        at = sources.sel(source=name)
        rows.append(absent | {"source": str(name)} | {key: float(at[key]) for key in ("mean", "sd", "share")})
    for fit in (fits.isel(fit=k) for k in range(fits.sizes["fit"])):
        direction, label = str(fit["fit"].item()).split(": ", 1)
        forward, covered = float(fit["kl_forward"]), float(fit["covered"])
        reverse = Estimate(float(fit["kl_reverse"]), float(fit["kl_reverse_error"]), "quadrature")
        rows.append(
            of_moments(fit, float(fit["share"]))
            | {
                "source": label,
                "direction": direction,
                "covered": covered if np.isfinite(covered) else None,
                "kl_forward": forward if np.isfinite(forward) else None,
                "kl_reverse": reverse if np.isfinite(reverse.value) else None,
                "runs": int(fit["runs"]) or None,
            }
        )
    return rows


def ends(gaps: Array, converged: Array) -> dict[str, Any]:
    """How near to exact minima the distinct ends of ADVI (k,) are, in nats."""
    stopped = gaps > TOLERANCE
    return {
        "n": len(gaps),
        "stopped": int(stopped.sum()),
        "largest": None if stopped.all() else max(float(gaps[~stopped].max()), 0.0),
        "though_converged": bool((converged[stopped] > 0).any()),
    }


def one_sided(shares: Array) -> dict[str, Any]:
    """How many chains have stayed on one side, by their shares (chain,) of draws on the first."""
    stuck = int(((shares < STUCK) | (shares > 1 - STUCK)).sum())
    return {
        "n": len(shares),
        "shares": shares.tolist(),
        "stuck": stuck,
        "all_stuck": stuck == len(shares),
        "on_one_side": len(np.unique(shares > 0.5)) == 1,
    }


def particles(share: float, n: int, exact: float) -> dict[str, Any]:
    """Whether n particles have both modes, and in the right parts as far as independent draws would."""
    expected = float(np.sqrt(exact * (1 - exact) / n))
    return {
        "n": n,
        "share": share,
        "lost": min(share, 1 - share) < STUCK,
        "expected": expected,
        "too_far": abs(share - exact) > 4 * expected,
    }


def both(forward: xr.Dataset, reverse: xr.Dataset, column: int) -> dict[str, Any]:
    """What the forward optimum and each reverse one report of one parameter."""
    sds, means = np.sqrt(reverse["cov"].to_numpy()[:, column, column]), reverse["mean"].to_numpy()[:, column]
    sd, covered = float(np.sqrt(forward["cov"][column, column])), reverse["covered"].to_numpy()
    narrow = sds < 0.5 * sd
    return {
        "forward": {"mean": float(forward["mean"][column]), "sd": sd, "covered": float(forward["covered"])},
        "reverse": [{"mean": float(m), "sd": float(s)} for m, s in zip(means, sds, strict=True)],
        "lowest_covered": float(covered.min()),
        "highest_covered": float(covered.max()),
        "narrow": int(narrow.sum()),
        "broad_sds": sds[~narrow].tolist(),
    }


def _mixtures(case: xr.DataTree) -> list[dict[str, Any]]:
    """Mixtures of ADVI fits beside the best single one, by both KLs where they are known, and by the share of the first mode."""
    fits, rows = case["fits"].to_dataset(), []
    labels = [str(label) for label in fits["fit"].to_numpy()]
    forward, reverse = (fits[f"kl_{direction}"].to_numpy() for direction in ("forward", "reverse"))
    for k in np.flatnonzero((fits["how"] == "combined").to_numpy()):
        prefix = labels[k].removesuffix("mixture")
        singles = [i for i, label in enumerate(labels) if label.startswith(f"{prefix}ADVI")]
        values = {
            "single": float(forward[singles].min()),
            "mixture": float(forward[k]),
            "forward": float(forward[0]),
            "reverse_single": float(reverse[singles].min()),
            "reverse": Estimate(float(reverse[k]), float(fits["kl_reverse_error"][k]), "quasi-Monte Carlo"),
        }
        rows.append(
            {
                "model": case.attrs["title"],
                "fits": prefix.removeprefix("reverse: ").strip(", ") or "Normal",
                "optima": len(singles),
                "share": float(fits["share"][k]),
                "exact": _exact_share(case),
            }
            | (values if _known(case) else dict.fromkeys(values))
        )
    return rows


def mixing(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where mixing repairs what single fits lack, and where it cannot."""
    known = [row for row in rows if row["mixture"] is not None and row["optima"] > 1]
    return {
        "known": len(known),
        "gains": all(row["mixture"] < row["single"] for row in known),
        "alone": [f"{row['model']}, {row['fits']}" for row in rows if row["optima"] == 1],
        "behind": [row for row in known if row["mixture"] > row["forward"]],
    }
