"""What runs of ADVI found, as a tree: runs that ended at the same place make an optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import softmax

from models.advi.diagnostics import k_hat
from models.advi.members import draw_groups, family_of, group, losses, normal_member
from models.advi.rounds import Run
from models.advi.runs import Method
from models.advi.starts import Schedule, Start
from models.quadrature import Estimate
from models.results import estimate_of, estimate_variables, parameter_variables
from models.targets import Target

__all__ = ["optima", "results_tree"]

Array = NDArray[np.float64]


def optima(fit: xr.DataTree) -> xr.Dataset:
    """Table of the distinct optima of a fit, lowest loss first.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_advi` or `fit_dadvi`.

    Returns
    -------
    xarray.Dataset
        Over ``optimum``: ``elbo`` with ``elbo_se`` (nats), ``weight`` (the softmax of the ELBOs: the share of each in the best
        mixture of them where they do not overlap; no posterior mass), ``runs`` and ``converged`` (how many ended there, and how many of
        these are at rest), ``k_hat`` (above 0.7 its draws are no posterior, however well it is at rest) and ``verdict``; over
        (optimum, dim) ``mean`` and ``sd``, in unconstrained space, ``dim`` labelled by coordinate. On the natural scale
        ``az.summary(fit["optimum_0"])`` has them.
    """
    index = fit["restarts"]["optimum"].to_numpy()
    at_rest = fit["restarts"]["converged"].to_numpy()
    count = sum(name.startswith("optimum_") for name in fit.children)
    groups = [fit[f"optimum_{k}/fit"].to_dataset() for k in range(count)]
    losses = [estimate_of(data, "loss") for data in groups]
    elbo = [replace(loss, value=-loss.value) for loss in losses]
    runs = [index == k for k in range(count)]
    return xr.Dataset(
        {
            **estimate_variables("elbo", elbo, "optimum", error="se"),
            "weight": ("optimum", softmax([e.value for e in elbo])),
            "runs": ("optimum", [int(r.sum()) for r in runs]),
            "converged": ("optimum", [int((r & at_rest).sum()) for r in runs]),
            **{name: ("optimum", [data[name].item() for data in groups]) for name in ("k_hat", "verdict")},
            **{
                name: (("optimum", "dim"), np.array([data[name].to_numpy() for data in groups]))
                for name in ("mean", "sd")
            },
        },
        coords={"optimum": np.arange(count), "dim": fit["restarts"]["dim"].to_numpy()},
    )


def results_tree(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    runs: Sequence[Run],
    seed: int,
    schedule: Schedule,
    draws: int,
) -> xr.DataTree:
    """Put runs together as `models.advi.fit_advi` returns them."""
    family, density = family_of(target, method), target.log_density
    rough = losses(density, [(r.mean, r.factor) for r in runs], 11, seed)
    groups = [(_lead(alike, runs, rough), alike) for alike in group(runs)]
    fine = {lead: losses(density, [(runs[lead].mean, runs[lead].factor)], 15, seed + 1)[0] for lead, _ in groups}
    groups.sort(key=lambda pair: fine[pair[0]].value)
    optimum = np.empty(len(runs), dtype=int)
    for k, (_, alike) in enumerate(groups):
        optimum[alike] = k
    tree: dict[str, Any] = {"restarts": _restarts(target, method, starts, runs, rough, optimum, seed)}
    for k, (lead, alike) in enumerate(groups):
        run, normal = runs[lead], normal_member(family, runs[lead].mean, runs[lead].cov)
        for name, dataset in draw_groups(target, normal, draws, seed + 2 + k).items():
            tree[f"optimum_{k}/{name}"] = dataset
        data = parameter_variables(normal.spec["params"]) | estimate_variables("loss", fine[lead], error="se")
        data |= {"converged": run.converged, "verdict": run.verdict, "mean": ("coordinate", run.mean), "sd": ("coordinate", run.sd),
                 "k_hat": k_hat(target, normal, seed=seed + 2000 + k)}  # fmt: skip
        labels = ", ".join(starts[i].label for i in sorted(alike))
        attrs = {"starts": labels, "lead": lead, "family": family.name}
        tree[f"optimum_{k}/fit"] = xr.Dataset(data, coords={"coordinate": target.coordinates}, attrs=attrs)
        tree[f"optimum_{k}/vi_trace"] = xr.Dataset({"loss": ("iteration", np.concatenate(run.history))})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"target": target.name, "method": method, "seed": seed, **asdict(schedule),
                    "most_evaluations": schedule.evaluations * len(starts)}  # fmt: skip
    return result


def _lead(alike: Sequence[int], runs: Sequence[Run], loss: Sequence[Estimate]) -> int:
    """The run that stands for a group: the lowest loss of the converged ones, if there are any."""
    return min(alike, key=lambda i: (not runs[i].converged, loss[i].value))


def _restarts(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    runs: Sequence[Run],
    loss: Sequence[Estimate],
    optimum: NDArray[np.int_],
    seed: int,
) -> xr.Dataset:
    iterations = [sum(len(part) for part in run.history) for run in runs]
    history = np.full((len(runs), max(iterations)), np.nan)
    for row, run, count in zip(history, runs, iterations, strict=True):
        np.concatenate(run.history, out=row[:count])
    evidence = np.array([run.evidence for run in runs])
    decrease = np.array([run.decrease for run in runs])
    dims = ("restart", "dim")
    return xr.Dataset(
        {
            "start_mean": (dims, np.array([s.mean for s in starts], dtype=float)),
            "start_sd": (dims, np.array([run.start_sd for run in runs])),
            "mean": (dims, np.array([run.mean for run in runs])),
            "sd": (dims, np.array([run.sd for run in runs])),
            "cov": (("restart", "dim", "dim_2"), np.array([run.cov for run in runs])),
            "seed": ("restart", [int(s.seed or 0) for s in starts]),
            **estimate_variables("loss", loss, "restart", error="se"),
            **{name: ("restart", evidence[:, i]) for i, name in enumerate(("gap", "gap_noise", "shift", "curvature"))},
            "loss_decrease": ("restart", decrease[:, 0]),
            "loss_decrease_se": ("restart", decrease[:, 1]),
            "drift": ("restart", [run.drift for run in runs]),
            "iterations": ("restart", iterations),
            "rounds": ("restart", [len(run.history) for run in runs]),
            "converged": ("restart", [run.converged for run in runs]),
            "verdict": ("restart", [run.verdict for run in runs]),
            "optimum": ("restart", optimum),
            "history": (("restart", "iteration"), history),
        },
        coords={"restart": [start.label for start in starts], "dim": target.coordinates},
        attrs={"seed": seed, "method": method},
    )
