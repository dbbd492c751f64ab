"""Basins of attraction of reverse KL: where exact descent ends from each start, and where ADVI does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.initialisation import QUESTION
from analysis.initialisation.descent import (
    LOG_SDS,
    MEANS,
    METRICS,
    Array,
    boundary,
    cells,
    descend,
    exact_objective,
    on_edge,
    pairs,
    traps,
)
from analysis.judged import Normals, beside, labels
from analysis.parts import Part, StudySettings, runner
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Start, default_starts, fit_advi
from models.families import FAMILIES
from models.projections import Projection, minima, reverse_projections
from models.results import estimate_variables
from models.targets import TARGETS, Target, normal_mixture

#: PyMC's own initial standard deviation, softplus(0).
DEFAULT_LOG_SD = float(np.log(np.log(2.0)))


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    map_means, map_sds : int
        Cells of the map of basins along each axis, before refinement.
    refinements : int
        How often cells next to a boundary are divided by two along each axis.
    start_means, start_sds : int
        Starts of ADVI along each axis.
    repeats : int
        ADVI runs from each start, each with its own noise; two or more, so that the noise can be measured.
    default_runs : int
        Runs from PyMC's own start.
    steps, draws_per_step : int
        ADVI with Adam and a falling learning rate.
    pymc_steps : int
        ADVI with PyMC's defaults.
    """

    map_means: int = Field(default=40, ge=4)
    map_sds: int = Field(default=28, ge=4)
    refinements: int = Field(default=1, ge=0, le=4)
    start_means: int = Field(default=12, ge=2)
    start_sds: int = Field(default=8, ge=2)
    repeats: int = Field(default=2, ge=2)
    default_runs: int = Field(default=20, ge=2)
    steps: int = Field(default=1500, ge=100)
    draws_per_step: int = Field(default=100, ge=1)
    pymc_steps: int = Field(default=10_000, ge=100)

    quick: ClassVar = {
        "map_means": 18, "map_sds": 12, "start_means": 6, "start_sds": 5, "default_runs": 6, "steps": 500,
        "draws_per_step": 20, "pymc_steps": 1200,
    }  # fmt: skip
    full: ClassVar = {
        "map_means": 60, "map_sds": 40, "refinements": 2, "start_means": 20, "start_sds": 12, "repeats": 4,
        "default_runs": 100, "steps": 3000,
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One target, given by the mixture weights of N(-3, 1) and N(3, 1)."""

    name: str
    short: str
    title: str
    weights: tuple[float, float]

    @property
    def target(self) -> Target:
        """The density to approximate."""
        if self.name in TARGETS:
            return TARGETS[self.name]
        return normal_mixture(self.weights, [-3, 3], [1, 1], name=self.name)


CASES = (
    Case("bimodal", "equal modes", "equal modes, ½ N(±3, 1)", (0.5, 0.5)),
    Case("unequal_weights", "unequal modes", "unequal modes, 0.3 N(−3, 1) + 0.7 N(3, 1)", (0.3, 0.7)),
)

#: The two ways in which ADVI is optimised.
OPTIMIZERS = {"adam": "Adam", "pymc": "PyMC's defaults"}


def basin_map(settings: Settings, reached: Callable[[Array], NDArray[np.int_]]) -> xr.DataArray:
    """Minimum reached from the centre of each cell; cells whose neighbours differ are divided and computed anew.

    Parameters
    ----------
    settings : Settings
    reached : callable (n, 2) -> (n,)
        Index of the minimum from each start.

    Returns
    -------
    DataArray
        Over ``map_mean`` and ``map_log_sd``.
    """
    shape = (settings.map_means, settings.map_sds)
    axes = [cells(*bounds, count) for bounds, count in zip((MEANS, LOG_SDS), shape, strict=True)]
    labels = reached(pairs(*axes)).reshape(shape)
    for _ in range(settings.refinements):
        mixed = on_edge(labels).repeat(2, axis=0).repeat(2, axis=1)
        labels = labels.repeat(2, axis=0).repeat(2, axis=1)
        axes = [cells(*bounds, count) for bounds, count in zip((MEANS, LOG_SDS), labels.shape, strict=True)]
        labels[mixed] = reached(pairs(*axes).reshape(*labels.shape, 2)[mixed])
    return xr.DataArray(labels, {"map_mean": axes[0], "map_log_sd": axes[1]}, ("map_mean", "map_log_sd"))


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    return [
        Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_case, c, settings), 10) for c in CASES
    ]


#: One child per case; see `run_case`.
run = runner(QUESTION, Settings, parts)


def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """Compute one case: the basins of exact descent, and ADVI from a grid of the same starts.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``stationary``: all stationary points, minima first, from left to right. ``map``: the minimum (index, -1 for none) that
        exact descent reaches from each cell. ``boundary``: points of the curves between basins, by saddle. ``starts``: the
        starts of ADVI, the minimum that exact descent reaches from each in two metrics, and the distance to the nearest
        boundary. ``runs``: for each optimizer, start and repeat the end, the minimum it belongs to (the one that exact descent
        reaches from there), and the gap to it in nats. ``pymc_start``: the same for PyMC's own start.
    """
    target = case.target
    points = reverse_projections(target, FAMILIES["normal"])
    exact = sorted(minima(points), key=lambda p: float(p.params["mu"]))
    saddles = [p for p in points if p.status == "saddle"]
    objective = exact_objective(target)
    trap = traps(objective, exact)

    def reached(starts: Array, metric: str = "plain") -> NDArray[np.int_]:
        return descend(objective, METRICS[metric], starts, trap)[0]

    drawn = {name: [boundary(objective, saddle, metric) for saddle in saddles] for name, metric in METRICS.items()}
    grid = pairs(cells(*MEANS, settings.start_means), cells(*LOG_SDS, settings.start_sds))
    default = np.array([default_starts(target)[0].mean[0], DEFAULT_LOG_SD])
    tree = {
        "stationary": _stationary([*exact, *saddles], target),
        "map": xr.Dataset({"minimum": basin_map(settings, reached)}),
        "boundary": _curve_dataset(drawn),
        "starts": xr.Dataset(
            {
                "theta": (("start", "coordinate"), grid),
                "exact": (("metric", "start"), [reached(grid, metric) for metric in METRICS]),
                "distance": ("start", distance_to(grid, drawn["plain"])),
            },
            coords={"metric": list(METRICS), "coordinate": ["mean", "log_sd"]},
        ),
    }

    ends = advi_ends(target, settings, grid, default[0])
    flat = ends.reshape(-1, 2)
    judged = beside(
        Normals.by_sd(flat[:, :1], np.exp(flat[:, 1:])), objective.gradient(flat)[0], exact, reached=reached(flat)
    )
    found = {"theta": ends, **{key: judged[name].to_numpy().reshape(ends.shape[:2])
                               for key, name in (("minimum", "optimum"), ("gap", "gap"))}}  # fmt: skip
    tree["runs"], own = _split(found, len(grid) * settings.repeats, settings)
    tree["pymc_start"] = own.assign_coords(metric=list(METRICS)).assign(
        start=("coordinate", default),
        exact=("metric", [int(reached(default[None], metric)[0]) for metric in METRICS]),
        margin=("metric", [margin_to(default, drawn[name]) for name in METRICS]),
    )
    result = xr.DataTree.from_dict(tree)
    result.attrs = {
        "title": case.title,
        "short": case.short,
        "target": json.dumps(dict(target.spec)),
        "target_name": target.name,
        "certificate": exact[0].certificate,
    }
    return result


def _split(found: Mapping[str, NDArray[Any]], count: int, settings: Settings) -> tuple[xr.Dataset, xr.Dataset]:
    """What is known of each run (optimizer, run, ...): of the first ones, from the grid, and of those from PyMC's own start."""
    coords = {"optimizer": list(OPTIMIZERS), "coordinate": ["mean", "log_sd"]}
    dims, own = ("optimizer", "start", "repeat", "coordinate"), ("optimizer", "run", "coordinate")
    return (
        xr.Dataset({k: (dims[: 1 + v.ndim], folded(v[:, :count], settings)) for k, v in found.items()}, coords),
        xr.Dataset({k: (own[: v.ndim], v[:, count:]) for k, v in found.items()}, coords),
    )


def _stationary(points: Sequence[Projection], target: Target) -> xr.Dataset:
    return xr.Dataset(
        {
            "mean": ("point", [float(p.params["mu"]) for p in points]),
            "sd": ("point", [float(p.params["sigma"]) for p in points]),
            **estimate_variables("kl", [p.divergence for p in points], "point"),
            "status": ("point", [p.status for p in points]),
            "label": ("point", [*labels(minima(points), target), *["saddle"] * (len(points) - len(minima(points)))]),
        }
    )


def _curve_dataset(drawn: Mapping[str, Sequence[Array]]) -> xr.Dataset:
    curves = [(metric, i, curve) for metric, curves in drawn.items() for i, curve in enumerate(curves)]
    points = np.concatenate([np.empty((0, 2)), *[curve for *_, curve in curves]])
    return xr.Dataset(
        {
            "mean": ("vertex", points[:, 0]),
            "log_sd": ("vertex", points[:, 1]),
            "metric": ("vertex", np.repeat([m for m, *_ in curves], [len(c) for *_, c in curves])),
            "saddle": ("vertex", np.repeat([i for _, i, _ in curves], [len(c) for *_, c in curves])),
        }
    )


def distance_to(thetas: Array, curves: Sequence[Array]) -> Array:
    """Distance (n,) in (mean, log sd) to the nearest boundary."""
    if not curves:
        return np.full(len(thetas), np.inf)
    return np.asarray(np.linalg.norm(thetas[:, None] - np.concatenate(curves), axis=2).min(axis=1))


def margin_to(theta: Array, curves: Sequence[Array]) -> float:
    """How far the mean can move at this log sd before it meets a boundary."""
    crossings = [
        a[0] + (theta[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
        for curve in curves
        for a, b in pairwise(curve)
        if (a[1] - theta[1]) * (b[1] - theta[1]) < 0
    ]
    return float(min((abs(mean - theta[0]) for mean in crossings), default=np.inf))


def folded(values: NDArray[Any], settings: Settings) -> NDArray[Any]:
    """Runs from the grid (optimizer, run, ...) as (optimizer, start, repeat, ...)."""
    return values.reshape(len(values), -1, settings.repeats, *values.shape[2:])


def advi_ends(target: Target, settings: Settings, grid: Array, default_mean: float) -> Array:
    """Ends (optimizer, run, 2) of ADVI: from the grid, each start `repeats` times, then from PyMC's own start."""
    starts = [
        Start(f"{i}.{r}", np.array([mean]), np.array([np.exp(log_sd)]))
        for i, (mean, log_sd) in enumerate(grid)
        for r in range(settings.repeats)
    ]
    starts += [Start(f"pymc {r}", np.array([default_mean])) for r in range(settings.default_runs)]
    schedules = {
        "adam": replace(PYMC_ADAM, steps=settings.steps, draws_per_step=settings.draws_per_step),
        "pymc": replace(PYMC_DEFAULT, steps=settings.pymc_steps),
    }
    thetas = []
    for i, schedule in enumerate(schedules.values()):
        fits = fit_advi(target, starts=starts, seed=2 * settings.seed + i, schedule=schedule, draws=2)["restarts"]
        thetas.append(np.stack([fits["mean"].to_numpy()[:, 0], np.log(fits["sd"].to_numpy()[:, 0])], axis=1))
    return np.array(thetas)
