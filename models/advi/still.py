"""What descents on fixed nodes found, as a tree of the shape of `models.advi.fit_advi`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.advi.diagnostics import k_hat
from models.advi.effort import power_within
from models.advi.given import batched
from models.advi.members import draw_groups, family_of, group, losses, normal_member
from models.advi.propriety import named_direction
from models.advi.refine import Optimum
from models.advi.search import unseen
from models.advi.shapes import Shape
from models.advi.starts import Start
from models.quadrature import Estimate
from models.results import estimate_variables, parameter_variables
from models.targets import Posterior, Target

__all__ = ["Descended", "as_tree"]

Array = NDArray[np.float64]

_POWERS = (12, 16)  # logarithms to base 2 of the nodes on which an ELBO is evaluated, first and last
_ELBO_SE = 0.005  # nats, at which no more are taken


@dataclass(frozen=True, eq=False)
class Descended:
    """A start that was descended on coarse nodes: parameters (q,) at its end and at its beginning, and the loss there."""

    shape: Shape
    theta: Array
    value: float
    begin: Array

    @property
    def mean(self) -> Array:
        """Mean (d,)."""
        return self.shape.moments(self.theta)[0]

    @property
    def sd(self) -> Array:
        """Standard deviations (d,)."""
        return np.sqrt(np.square(self.shape.moments(self.theta)[1]).sum(axis=1))

    @property
    def converged(self) -> bool:
        """Coarse nodes settle nothing; every run may lead a group."""
        return True


def as_tree(
    target: Target,
    method: str,
    starts: Sequence[Start],
    runs: Sequence[Descended],
    groups: Sequence[Sequence[int]],
    followed: Sequence[Optimum],
    *,
    seed: int,
    draws: int,
    complete: bool,
    seconds: float,
) -> xr.DataTree:
    """Put optima and the starts that led to them together as `models.advi.fit_dadvi` returns them."""
    kept = [k for k, o in enumerate(followed) if o.verdict.startswith(("at rest", "saddle", "flat"))] or [0]
    merged = _one_valley([[kept[j] for j in alike] for alike in group([followed[k] for k in kept])], followed)
    elbos = [_elbo(target, followed[alike[0]], seed, seconds) for alike in merged]
    order = np.argsort([e.value for e in elbos])
    family = family_of(target, method)
    optimum = np.full(len(runs), -1)
    tree: dict[str, Any] = {}
    for k, j in enumerate(order):
        lead = followed[merged[j][0]]
        members = [i for g in merged[j] for i in groups[g]]
        optimum[members] = k
        normal = normal_member(family, lead.mean, lead.factor @ lead.factor.T)
        for name, dataset in draw_groups(target, normal, draws, seed + 2 + k).items():
            tree[f"optimum_{k}/{name}"] = dataset
        labels = ", ".join(starts[i].label for i in sorted(members))
        data = parameter_variables(normal.spec["params"]) | estimate_variables("loss", elbos[j], error="se")
        data |= _evidence(target, lead, seed + k, seconds) | {"share": len(members) / max(1, len(runs))}
        data["k_hat"] = k_hat(target, normal, seed=seed + k + 2000, seconds=seconds)
        tree[f"optimum_{k}/fit"] = xr.Dataset(
            data, attrs={"starts": labels, "lead": k, "family": family.name}, coords={"coordinate": target.coordinates}
        )
    tree = {"restarts": _restarts(target, starts, runs, optimum)} | tree
    for name in ("posterior", "sample_stats"):
        tree[name] = tree[f"optimum_0/{name}"]
    if isinstance(target, Posterior):
        tree |= target.data_groups()
    result = xr.DataTree.from_dict(tree)
    counts = np.bincount(optimum[optimum >= 0], minlength=len(order)).tolist()
    result.attrs = {"target": target.name, "method": method, "seed": seed, "complete": int(complete), "unseen": unseen(counts),
                    "batched": batched(target), "starts_tried": len(runs), "starts_failed": int(sum(not np.isfinite(r.value) for r in runs))}  # fmt: skip
    return result


def _one_valley(groups: list[list[int]], followed: Sequence[Optimum]) -> list[list[int]]:
    """Put points together that lie along one flat direction: their losses are the same, and so are their sds."""
    result: list[list[int]] = []
    for alike in groups:
        lead = followed[alike[0]]
        for other in result:
            first = followed[other[0]]
            both_flat = lead.rest.kind == first.rest.kind == "flat direction"
            if both_flat and np.allclose(np.log(lead.sd), np.log(first.sd), atol=0.05):
                other += alike
                break
        else:
            result.append(list(alike))
    return result


def _elbo(target: Target, optimum: Optimum, seed: int, seconds: float) -> Estimate:
    """Loss on fresh nodes, as many as its error asks for and some seconds allow."""
    first, last = (power_within(target.log_density, optimum.mean, seconds, power) for power in _POWERS)
    for power in range(first, last + 1, 2):
        # Not the seeds of `refine`: an optimum lies where its own nodes are too kind to it.
        found = losses(target.log_density, [(optimum.mean, optimum.factor)], power, seed + 3000 + power)[0]
        if found.error < _ELBO_SE:
            break
    return found


def _evidence(target: Target, optimum: Optimum, seed: int, seconds: float) -> dict[str, Any]:
    eigenvalues = optimum.rest.eigenvalues
    response = optimum.response
    of_response = np.nan
    if response is not None:
        corrected = normal_member(family_of(target, "fullrank_advi"), optimum.mean, response)
        of_response = k_hat(target, corrected, seed=seed + 1000, seconds=seconds)
    dims = ("coordinate", "coordinate_2")
    return {
        "mean": ("coordinate", optimum.mean),
        "sd": ("coordinate", optimum.sd),
        "node_moves": (("replicate", "moment", "coordinate"), _moves(optimum)),
        "cov_linear_response": (dims, np.full((target.dim, target.dim), np.nan) if response is None else response),
        "k_hat_linear_response": of_response,
        "converged": optimum.converged,
        "verdict": optimum.verdict,
        "gap": optimum.rest.gap,
        "eigenvalue": eigenvalues[0] if len(eigenvalues) else np.nan,
        "flattest": named_direction(target, optimum.rest.direction[: target.dim]),
        "node_gap": optimum.node_gap,
        "node_shift": optimum.node_shift,
        "nodes": optimum.nodes,
    }


def _moves(optimum: Optimum) -> Array:
    """Moves of means and log sds with the nodes; nan where they are not known."""
    if optimum.moves is not None:
        return optimum.moves
    return np.full((1, 2, len(optimum.mean)), np.nan)


def _restarts(
    target: Target, starts: Sequence[Start], runs: Sequence[Descended], optimum: NDArray[np.int_]
) -> xr.Dataset:
    dims = ("restart", "dim")
    finite = [bool(np.isfinite(run.value)) for run in runs]
    verdict = [
        "no finite loss" if not ok else "led to an optimum" if k >= 0 else "still moving, or not followed"
        for ok, k in zip(finite, optimum, strict=True)
    ]
    return xr.Dataset(
        {
            "start_mean": (dims, np.array([s.mean for s in starts], dtype=float)),
            "start_sd": (dims, np.array([np.exp(run.begin[target.dim :]) for run in runs])),
            "mean": (dims, np.array([run.mean for run in runs])),
            "sd": (dims, np.array([run.sd for run in runs])),
            "loss": ("restart", np.array([run.value for run in runs])),
            "converged": ("restart", optimum >= 0),
            "verdict": ("restart", verdict),
            "optimum": ("restart", optimum),
        },
        coords={"restart": [s.label for s in starts], "dim": target.coordinates},
    )
