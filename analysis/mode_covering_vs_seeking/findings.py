"""Numbers and truth values of the question about covering modes and seeking them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.judged import COVERED, at_rest
from analysis.mode_covering_vs_seeking.study import TOLERANCE
from analysis.reading import case_of, dataset_of, mean_of
from models.results import estimate_of

__all__ = ["defaults", "findings"]

Array = NDArray[np.float64]


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the chapter states, and every truth value that its sentences turn on."""
    cases = {name: _case(case_of(results, name)) for name in results.children}
    settings = json.loads(results.attrs["settings"])
    volumes = [np.prod(sds) for sds in cases["crossed_full_rank"]["reverse_sds"]]
    return {
        **cases,
        "cases": list(cases.values()),
        "tolerance": TOLERANCE,
        "least_cover": COVERED,
        "n_runs": sum(case["n_runs"] for case in cases.values()),
        "n_beyond": sum(case["n_beyond"] for case in cases.values()),
        "largest_gap": max(case["largest_gap"] for case in cases.values()),
        "default": defaults(dataset_of(results, "bimodal/pymc_default"), cases["bimodal"], settings["default_steps"]),
        "faithful": _faithful(case_of(results, "old_faithful")),
        "settings": settings,
        "stretched": bool(volumes[0] > 1.5 * volumes[-1]),
    }


def _case(case: xr.DataTree) -> dict[str, Any]:
    """Tables of a case, and what its runs reached."""
    exact, advi = ([n for n in case.children if n.startswith(f"reverse_{how}_")] for how in ("exact", "advi"))
    restarts, stationary = case["restarts"].to_dataset(), case["stationary"].to_dataset()
    labels = [str(label) for label in restarts["restart"].to_numpy()]
    rows = [_row(case, "forward_exact", "exact"), _row(case, "forward_mle", "MLE")]
    for i, name in enumerate(exact):
        rows.append(_row(case, name, "exact") | {"status": case[f"{name}/fit"]["status"].item(), "optimum": i + 1})
    for k, name in enumerate(advi):
        chosen = [label for label, at in zip(labels, restarts["advi_optimum"].to_numpy(), strict=True) if at == k]
        others = [label for label in chosen if not label.startswith("centre")]
        rows.append(
            _row(case, name, "ADVI")
            | {
                "optimum": int(case[f"{name}/fit"]["optimum"]) + 1,
                "centre": len(chosen) - len(others),
                "others": others,
            }
        )
    centre = restarts["optimum"].to_numpy()[[label.startswith("centre") for label in labels]]
    forward_sd = moments_of(case["forward_exact/fit"].to_dataset())[1]
    reverse_sds = [moments_of(case[f"{name}/fit"].to_dataset())[1] for name in exact]
    reverse_kls = [float(case[f"{name}/fit"]["kl_reverse"]) for name in exact]
    lowest_first = stationary.isel(point=np.char.endswith(stationary["status"].to_numpy().astype(str), "minimum"))
    broad = [bool(least >= COVERED) for least in lowest_first["cover"].min("mode").to_numpy()]
    return {
        "title": case.attrs["title"],
        "fits": rows,
        "starts": [_start(restarts.isel(restart=i), label) for i, label in enumerate(labels)],
        "n_minima": len(exact),
        "n_saddles": int((stationary["status"] == "saddle").sum()),
        "consistent": case.attrs["certificate"] == "consistent",
        "count": "consistent" if case.attrs["certificate"] == "consistent" else "not consistent",
        "largest_gap": float(restarts["gap"].max()),
        "n_beyond": int((~restarts["within_tolerance"]).sum()),
        "n_runs": len(labels),
        "centre_runs": len(centre),
        "centre_broad": int((centre == len(exact) - 1).sum()),
        "forward_kl": float(case["forward_exact/fit"]["kl_forward"]),
        "forward_sd": forward_sd.tolist(),
        "lowest_kl": reverse_kls[0],
        "highest_kl": reverse_kls[-1],
        "reverse_sds": [sd.tolist() for sd in reverse_sds],
        "broad_global": broad[0],
        "n_broad": sum(broad),
        "mle_gap": float(case["forward_mle/fit"]["gap"]),
        "mle_n": int(case["forward_mle/fit"]["n"]),
        "cross_entropy": estimate_of(case["forward_mle/fit"].to_dataset(), "cross_entropy"),
    }


def _row(case: xr.DataTree, role: str, how: str) -> dict[str, Any]:
    """One fit: its member, both divergences, and its gap where it has one."""
    fit = case[f"{role}/fit"].to_dataset()
    mean, sd = moments_of(fit)
    return {
        "direction": role.partition("_")[0],
        "how": how,
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "kl_forward": estimate_of(fit, "kl_forward"),
        "kl_reverse": estimate_of(fit, "kl_reverse"),
        "gap": float(fit["gap"]) if "gap" in fit else None,
        "status": "",
        "optimum": None,
        "centre": 0,
        "others": [],
    }


def _start(run: xr.Dataset, label: str) -> dict[str, Any]:
    """Where a run began and ended."""
    return {
        "start": label,
        "start_mean": run["start_mean"].to_numpy().tolist(),
        "mean": run["mean"].to_numpy().tolist(),
        "sd": np.sqrt(np.diag(run["cov"].to_numpy())).tolist(),
        "optimum": int(run["optimum"]) + 1,
        "gap": float(run["gap"]),
        "at_rest": bool(at_rest(run)),
    }


def moments_of(fit: xr.Dataset) -> tuple[Array, Array]:
    """Mean (d,) and standard deviations (d,) of a Normal that is stored by its parameters."""
    sd = np.sqrt(np.diag(fit["cov"].to_numpy())) if "cov" in fit else np.atleast_1d(fit["sigma"].to_numpy())
    return np.atleast_1d(fit["mu"].to_numpy()), sd


def defaults(runs: xr.Dataset, bimodal: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """What PyMC's defaults do from their own start, compared with the same start under Adam."""
    count, last = runs.sizes["restart"], bimodal["n_minima"] - 1
    broad = runs["optimum"] == last
    reached, exact_sd = int(broad.sum()), bimodal["reverse_sds"][last][0]
    sd = runs["sd"].where(broad, drop=True).to_numpy()
    typical = mean_of(sd) if reached > 1 else None
    return {
        "runs": count,
        "steps": steps,
        "broad": reached,
        "local": last > 0,
        "elsewhere": abs(reached / count - bimodal["centre_broad"] / bimodal["centre_runs"]) > 0.5,
        "sd": typical,
        "exact_sd": exact_sd,
        "not_all_the_way": typical is not None and abs(typical.value - exact_sd) > 2 * typical.error,
        "mean_gap": float(runs["gap"].mean()),
        "within": int(runs["within_tolerance"].sum()),
        "mostly_broad": reached > count / 2 and last > 0,
    }


def _faithful(case: xr.DataTree) -> dict[str, Any]:
    """The data, the density estimate put in their place, and how far apart the two forward fits are."""
    estimate = json.loads(case.attrs["target"])
    sds = [float(case[f"forward_{how}/fit"]["sigma"]) for how in ("mle", "exact")]
    return {
        "n": int(case["p_data/observed_data"].sizes["observation"]),
        "density": list(zip(estimate["weights"], estimate["means"], estimate["sds"], strict=True)),
        "moment_difference": abs(sds[0] - sds[1]),
    }
