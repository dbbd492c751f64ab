"""What runs of ADVI found, as a tree: runs that ended at the same place make an optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import softmax

from models.advi.rounds import Run
from models.advi.runs import Loss, Method
from models.advi.starts import Schedule, Start
from models.families import FAMILIES, Family
from models.quadrature import Estimate, sobol_nodes
from models.results import draws_of, estimate_of, estimate_variables, parameter_variables
from models.targets import Target

__all__ = ["METHODS", "optima", "results_tree"]

Array = NDArray[np.float64]

#: The family that each of PyMC's methods fits; in one dimension both are ``normal``.
METHODS = {"advi": "mvnormal_diag", "fullrank_advi": "mvnormal"}


def optima(fit: xr.DataTree) -> xr.Dataset:
    """Table of the distinct optima of a fit, lowest loss first.

    Parameters
    ----------
    fit : xarray.DataTree
        From `fit_advi`.

    Returns
    -------
    xarray.Dataset
        Over ``optimum``: ``elbo`` with ``elbo_se`` (nats), ``weight`` (the softmax of the ELBOs: the share of each in the best
        mixture of them where they do not overlap), ``runs`` and ``converged`` (how many ended there, and how many of these had
        converged); over (optimum, dim) ``mean`` and ``sd``, in unconstrained space, ``dim`` labelled by coordinate.
    """
    restarts = fit["restarts"].to_dataset()
    chosen = [int(child["fit"].attrs["lead"]) for name, child in fit.children.items() if name.startswith("optimum_")]
    index = restarts["optimum"].to_numpy()
    losses = [estimate_of(fit[f"optimum_{k}/fit"].to_dataset(), "loss") for k in range(len(chosen))]
    elbo = [replace(loss, value=-loss.value) for loss in losses]
    lead = restarts.isel(restart=chosen)
    return xr.Dataset(
        {
            **estimate_variables("elbo", elbo, "optimum", error="se"),
            "weight": ("optimum", softmax([e.value for e in elbo])),
            "runs": ("optimum", np.bincount(index, minlength=len(chosen))),
            "converged": (
                "optimum",
                np.bincount(index, weights=restarts["converged"], minlength=len(chosen)).astype(int),
            ),
            "mean": (("optimum", "dim"), lead["mean"].to_numpy()),
            "sd": (("optimum", "dim"), lead["sd"].to_numpy()),
        },
        coords={"optimum": np.arange(len(chosen)), "dim": restarts["dim"].to_numpy()},
    )


def _family_of(target: Target, method: Method) -> Family:
    return FAMILIES[METHODS[method]] if target.multivariate else FAMILIES["normal"]


def _member(family: Family, mean: Array, cov: Array) -> Target:
    values: dict[str, Array] = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    if not family.multivariate:
        values = {"mu": mean[0], "sigma": np.sqrt(cov[0, 0])}
    return family.member({p.name: values[p.name] for p in family.parameters})


def _group(runs: Sequence[Run]) -> list[list[int]]:
    """Indices of runs that ended at the same place: means within 0.25 sd, sds within 25 %; converged runs lead."""
    groups: list[list[int]] = []
    for i in sorted(range(len(runs)), key=lambda i: not runs[i].converged):
        run, sd = runs[i], runs[i].sd
        for group in groups:
            other, other_sd = runs[group[0]], runs[group[0]].sd
            near = np.all(np.abs(run.mean - other.mean) < 0.25 * other_sd)
            if near and np.all(np.abs(np.log(sd / other_sd)) < 0.25):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _losses(loss: Loss, runs: Sequence[Run], power: int, seed: int) -> list[Estimate]:
    """Loss of each run, on randomised Sobol nodes common to all runs."""
    mean, factor = np.array([r.mean for r in runs]), np.array([r.factor for r in runs])
    rule = sobol_nodes(mean.shape[1], power=power, replicates=_REPLICATES, seed=seed)
    values = [loss(mean, factor, z)[0] for z in np.split(rule.points, _REPLICATES)]
    errors = np.std(values, axis=0, ddof=1) / np.sqrt(_REPLICATES)
    return [
        Estimate(float(v), float(e), "quasi-Monte Carlo") for v, e in zip(np.mean(values, axis=0), errors, strict=True)
    ]


_REPLICATES = 8


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
    family, loss = _family_of(target, method), Loss(target.log_density)
    rough = _losses(loss, runs, 11, seed)
    groups = [(_lead(group, runs, rough), group) for group in _group(runs)]
    fine = {lead: _losses(loss, [runs[lead]], 15, seed + 1)[0] for lead, _ in groups}
    groups.sort(key=lambda pair: fine[pair[0]].value)
    optimum = np.empty(len(runs), dtype=int)
    for k, (_, group) in enumerate(groups):
        optimum[group] = k
    tree: dict[str, Any] = {"restarts": _restarts(target, method, starts, runs, rough, optimum, seed)}
    for k, (lead, group) in enumerate(groups):
        run, member = runs[lead], _member(family, runs[lead].mean, runs[lead].cov)
        for name, dataset in draws_of(member, draws, seed + 2 + k, log_p=target, log_q=member).items():
            tree[f"optimum_{k}/{name}"] = dataset
        natural = _natural(target, tree[f"optimum_{k}/posterior"])
        if natural is not None:
            tree[f"optimum_{k}/unconstrained_posterior"] = tree[f"optimum_{k}/posterior"]
            tree[f"optimum_{k}/posterior"] = natural
        data = parameter_variables(member.spec["params"]) | estimate_variables("loss", fine[lead], error="se")
        data |= {"converged": run.converged, "verdict": run.verdict}
        labels = ", ".join(starts[i].label for i in sorted(group))
        tree[f"optimum_{k}/fit"] = xr.Dataset(data, attrs={"starts": labels, "lead": lead})
        tree[f"optimum_{k}/vi_trace"] = xr.Dataset({"loss": ("iteration", np.concatenate(run.history))})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"target": target.name, "method": method, "seed": seed, **asdict(schedule),
                    "most_evaluations": schedule.evaluations * len(starts)}  # fmt: skip
    return result


def _lead(group: Sequence[int], runs: Sequence[Run], loss: Sequence[Estimate]) -> int:
    """The run that stands for a group: the lowest loss of the converged ones, if there are any."""
    return min(group, key=lambda i: (not runs[i].converged, loss[i].value))


def _restarts(
    target: Target,
    method: Method,
    starts: Sequence[Start],
    runs: Sequence[Run],
    loss: Sequence[Estimate],
    optimum: NDArray[np.int_],
    seed: int,
) -> xr.Dataset:
    histories = [np.concatenate(run.history) for run in runs]
    history = np.full((len(runs), max(len(h) for h in histories)), np.nan)
    for row, values in zip(history, histories, strict=True):
        row[: len(values)] = values
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
            "iterations": ("restart", [len(h) for h in histories]),
            "rounds": ("restart", [len(run.history) for run in runs]),
            "converged": ("restart", [run.converged for run in runs]),
            "verdict": ("restart", [run.verdict for run in runs]),
            "optimum": ("restart", optimum),
            "history": (("restart", "iteration"), history),
        },
        coords={"restart": [start.label for start in starts], "dim": target.coordinates},
        attrs={"seed": seed, "method": method},
    )


def _natural(target: Target, posterior: xr.Dataset) -> xr.Dataset | None:
    """Draws on the natural scale; ``None`` where that is the scale they are on."""
    x = posterior["x"].to_numpy()[0].reshape(-1, target.dim)
    values = target.natural(x)
    if values is None:
        return None
    variables = parameter_variables({name: v[None] for name, v in values.items()}, "chain", "draw")
    return xr.Dataset(variables, coords={"chain": [0], "draw": np.arange(len(x))})
