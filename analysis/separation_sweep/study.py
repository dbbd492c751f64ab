"""All optima of reverse KL against the separation of two modes: where it stops covering, and what ADVI finds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

from analysis.judged import Normals, beside, downhill, labels
from analysis.parts import Part, StudySettings, runner
from analysis.separation_sweep import QUESTION
from analysis.separation_sweep.branches import (
    BOUNDS,
    CASES,
    HALF,
    NORMAL,
    Array,
    Case,
    bimodal_from,
    forward_moments,
    objective,
    target,
    traced,
    twice,
)  # fmt: skip
from models.advi import PYMC_ADAM, Start, dispersed_starts, fit_advi
from models.divergences import kl
from models.projections import minima, reverse_projections
from models.projections.continuation import Critical, curve, locate_cusp, locate_exchange, locate_fold

LEAST = 0.01  # weight of the phase diagram
#: First guesses for Newton: ((mean, log sd), separation) of the folds at w = 1/2 and w = 0.3, of the exchange and the cusp.
_MODE_FOLD = (np.array([2.1, 0.25]), 2.4)
_BROAD_FOLD, _BROAD_WEIGHT = (np.array([1.1, 0.7]), 2.4), 0.3
_EXCHANGE = (2.8, np.array([2.8, 0.0]))
_SAME = 0.1  # means closer than this may be one and the same optimum, which solves the equations of an exchange too
_CUSP = (np.array([1.3, 0.47]), 2.05, 0.27)
BROAD_LAST = 0.45  # where the fold of the covering minimum is beyond twice the range of separations


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    separations : int
        Separations of the table of optima, evenly spaced over `BOUNDS`.
    weights : int
        Weights of the table: multiples of 0.5 / weights up to 1/2; the other half follows by symmetry.
    largest_step : float
        Longest step along a branch, in units of the separation.
    curve_points : int
        Weights at which the curves of the phase diagram are solved for, besides those of the table.
    advi_separations, advi_unequal : tuple of float
        Where ADVI runs, for equal and for unequal modes.
    repeats : int
        Runs from PyMC's own start at each of these.
    steps, draws_per_step : int
        ADVI with Adam and a falling learning rate.
    """

    separations: int = Field(default=25, ge=3)
    weights: int = Field(default=10, ge=2)
    largest_step: float = Field(default=0.15, gt=0, le=0.5)
    curve_points: int = Field(default=10, ge=4)
    advi_separations: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.3, 2.5, 2.7, 2.9, 3.2, 3.6, 4.2, 5.0)
    advi_unequal: tuple[float, ...] = (1.5, 2.0, 2.15, 2.25, 2.4, 2.6, 2.8, 3.2)
    repeats: int = Field(default=2, ge=1)
    steps: int = Field(default=1500, ge=100)
    draws_per_step: int = Field(default=50, ge=1)

    quick: ClassVar = {
        "separations": 13, "weights": 5, "largest_step": 0.3, "curve_points": 8,
        "advi_separations": (1.0, 2.0, 2.6, 3.2, 4.2), "advi_unequal": (2.25, 2.8), "steps": 500,
        "draws_per_step": 20,
    }  # fmt: skip
    full: ClassVar = {
        "separations": 97, "weights": 20, "largest_step": 0.05, "curve_points": 60, "repeats": 10,
        "steps": 3000,
    }  # fmt: skip

    @property
    def grid(self) -> Array:
        """Separations of the table of optima."""
        return np.round(np.linspace(*BOUNDS, self.separations), 9)

    @property
    def half(self) -> Array:
        """Weights of the table up to 1/2."""
        return np.round(HALF * np.arange(1, self.weights + 1) / self.weights, 9)


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute, the longest first."""
    places = {"equal": settings.advi_separations, "unequal": settings.advi_unequal}
    advi = settings.model_dump(include={"seed", "repeats", "steps", "draws_per_step"})
    curves = settings.model_dump(include={"curve_points", "weights"})
    rows = settings.model_dump(include={"separations", "weights"})
    return [
        *(
            Part(f"advi_{case.name}", f"ADVI, {case.title}",
                 {**advi, "weight": case.weight, "separations": places[case.name]},
                 partial(advi_runs, case, places[case.name], settings), weight=5)
            for case in CASES
        ),
        Part("boundaries", "boundaries of the phase diagram", curves, partial(boundaries, settings), weight=15),
        *(
            Part(f"branches_{case.name}", f"branches, {case.title}",
                 {"weight": case.weight, "largest_step": settings.largest_step},
                 partial(traced, case, settings.largest_step), weight=7)
            for case in CASES
        ),
        *(
            Part(f"optima_{i}", f"all optima at w = {weight:g}", {**rows, "weight": weight},
                 partial(optima, settings.grid, float(weight)), weight=2)
            for i, weight in enumerate(settings.half[::-1])
        ),
    ]  # fmt: skip


#: ``advi_equal``, ``branches_equal`` (see `traced`), the same of ``unequal``, ``boundaries``, and ``optima_0``, ... by weight.
run = runner(QUESTION, Settings, parts)


# --- boundaries ------------------------------------------------------------------------------------------------------


def boundaries(settings: Settings) -> xr.DataTree:
    """Solve for the curves in the plane of weight and separation at which the optima change.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``curves``: ``w``, ``a``, and the optimum there as ``mean``, ``sd``, ``kl``, over ``vertex`` with ``curve``: ``heavy``
        and ``light`` (folds where the minimum on that mode is born), ``broad`` (fold where the covering minimum ends) and
        ``exchange``; only weights up to 1/2. ``cusp``: where heavy, broad and exchange end, with its error. ``bimodal``: ``w``
        and ``a`` where the target gets its second mode.
    """
    cusp, error = twice(lambda f: locate_cusp(f, *_CUSP))
    lowest = float(cusp.parameters[1])
    # Curves bend at the cusp like powers of 3/2 and 1/2: squares put points where they are needed.
    ladder = lowest + (HALF - lowest) * np.linspace(0.05, 1, settings.curve_points) ** 2
    near = settings.half[settings.half > ladder[0]]
    steps = np.unique(np.round(np.concatenate([ladder, near]), 9))
    down = steps[steps < HALF][::-1]
    low = np.unique(np.concatenate([settings.half, np.geomspace(LEAST, HALF, settings.curve_points + 4)]))
    mode = {s: locate_fold(objective, _MODE_FOLD[0] * [s, 1], _MODE_FOLD[1], HALF) for s in (1, -1)}
    broad = locate_fold(objective, *_BROAD_FOLD, _BROAD_WEIGHT)
    found = {
        "heavy": [*curve(objective, mode[1], list(down)), cusp],
        "light": curve(objective, mode[-1], list(low[low < HALF][::-1])),
        "broad": [
            *curve(objective, broad, [*steps[(steps > _BROAD_WEIGHT) & (steps < BROAD_LAST)], BROAD_LAST])[::-1],
            *curve(objective, broad, list(down[down < _BROAD_WEIGHT]))[1:],
            cusp,
        ],
        "exchange": [*_exchange_curve(lowest, settings.curve_points + 8), cusp],
    }  # fmt: skip
    points = [(name, c) for name, along in found.items() for c in along]
    at = np.array([[*c.parameters[::-1], *c.theta, c.divergence] for _, c in points])
    curves = xr.Dataset(
        {
            "curve": ("vertex", [name for name, _ in points]),
            "w": ("vertex", at[:, 0]),
            "a": ("vertex", at[:, 1]),
            "mean": ("vertex", at[:, 2]),
            "sd": ("vertex", np.exp(at[:, 3])),
            "kl": ("vertex", at[:, 4]),
        }
    )
    corner = xr.Dataset({"w": lowest, "a": float(cusp.parameters[0]), "error": error, "kl": cusp.divergence,
                         "mean": float(cusp.theta[0]), "sd": float(np.exp(cusp.theta[1]))})  # fmt: skip
    weights = np.geomspace(LEAST, HALF, 100)
    second = xr.Dataset({"w": ("vertex", weights), "a": ("vertex", [bimodal_from(float(w)) for w in weights])})
    return xr.DataTree.from_dict({"curves": curves, "cusp": corner, "bimodal": second})


def _exchange_curve(lowest: float, count: int) -> list[Critical]:
    """Exchange of the covering minimum with the one on the heavier mode, from equal weights down to the cusp."""
    a, mode = _EXCHANGE
    weights = np.linspace(HALF, lowest, count, endpoint=False)
    y = np.concatenate([[0.0, 1.0], mode, [a]])
    ys: list[Array] = []
    found: list[Critical] = []
    for weight in weights:
        # Along the secant, as steps are even; rounded, since a mean of 1e-16 would make the solver's differences vanish.
        guess = np.round(2 * ys[-1] - ys[-2] if len(ys) > 1 else ys[-1] if ys else y, 9)
        point = locate_exchange(partial(objective, weight=weight), guess[:2], guess[2:4], float(guess[4]))
        if point.partner is None or point.partner[0] - point.theta[0] < _SAME:
            break
        ys.append(np.concatenate([point.theta, point.partner, point.parameters]))
        found.append(replace(point, parameters=np.array([point.parameters[0], weight])))
    return found


# --- the table of optima ---------------------------------------------------------------------------------------------


def optima(separations: Array, weight: float) -> xr.DataTree:
    """All minima of reverse KL and the one of forward KL, for every separation.

    Parameters
    ----------
    separations : ndarray (n,)
    weight : float

    Returns
    -------
    xarray.DataTree
        ``mean``, ``sd``, ``kl``, ``is_global`` over (weight, a, slot), lowest first and padded with nan;
        ``forward`` over (weight, a, value); ``minima``, ``saddles`` and ``consistent`` (the count of signs) over (weight, a).
    """
    found = [reverse_projections(target(a, weight), NORMAL) for a in separations]
    forward = []
    for a in separations:
        mean, sd = forward_moments(a, weight)
        forward.append([mean, sd, kl(target(a, weight), NORMAL.member({"mu": mean, "sigma": sd})).value])
    lowest = [minima(points) for points in found]
    slots = max(len(row) for row in lowest)
    padded = np.full((1, len(lowest), slots, 4), np.nan)
    for i, row in enumerate(lowest):
        padded[0, i, : len(row)] = [
            [p.params["mu"], p.params["sigma"], p.divergence.value, p.status == "global minimum"] for p in row
        ]
    over = ("weight", "a", "slot")
    dataset = xr.Dataset(
        {
            **{name: (over, padded[..., k]) for k, name in enumerate(("mean", "sd", "kl", "is_global"))},
            "forward": (("weight", "a", "value"), [forward]),
            "minima": (over[:2], [[len(row) for row in lowest]]),
            "saddles": (over[:2], [[sum(p.status == "saddle" for p in points) for points in found]]),
            "consistent": (over[:2], [[points[0].certificate == "consistent" for points in found]]),
        },
        coords={"weight": [weight], "a": separations, "slot": np.arange(slots), "value": ["mean", "sd", "kl"]},
    )
    return xr.DataTree(dataset)


# --- ADVI ------------------------------------------------------------------------------------------------------------


def starts(separation: float, weight: float, repeats: int) -> list[Start]:
    """PyMC's own start `repeats` times; on, beside and between the modes; narrow and wide."""
    a, wide = separation, 1.5 * float(np.sqrt(1 + separation**2))
    own = dispersed_starts(target(separation, weight), 1)[0].mean
    places = [("left mode", -a, 1.0), ("right mode", a, 1.0), ("narrow, middle", 0.0, 0.3), ("narrow, left", -a / 2, 0.3),
              ("narrow, right", a / 2, 0.3), ("wide, middle", 0.0, wide), ("wide, left", -a, wide),
              ("wide, right", a, wide)]  # fmt: skip
    return [
        *(Start(f"pm.fit {i + 1}", own) for i in range(repeats)),
        *(Start(label, np.array([mean]), np.array([sd])) for label, mean, sd in places),
    ]


def advi_runs(case: Case, separations: Sequence[float], settings: Settings) -> xr.DataTree:
    """Run ADVI from every start at some separations, and assign each end to an exact minimum.

    Parameters
    ----------
    case : Case
    separations : sequence of float
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``mean``, ``sd``, ``kl`` of each end over (a, start); ``label`` and ``is_global`` of the minimum to which
        Newton's method leads downhill from there, and the ``gap`` to it in nats (nan if it leads to none); ``minima`` and
        ``n_minima`` over a.
    """
    schedule = replace(PYMC_ADAM, steps=settings.steps, draws_per_step=settings.draws_per_step)
    rows = []
    for i, a in enumerate(separations):
        seed = int(np.random.SeedSequence([settings.seed, CASES.index(case), i]).generate_state(1)[0])
        begin = starts(a, case.weight, settings.repeats)
        fits = fit_advi(target(a, case.weight), starts=begin, seed=seed, schedule=schedule, draws=2)["restarts"]
        theta = np.stack([fits["mean"].to_numpy()[:, 0], np.log(fits["sd"].to_numpy()[:, 0])], axis=1)
        rows.append(judged(theta, a, case.weight).assign_coords(start=[s.label for s in begin]))
    return xr.DataTree(xr.concat(rows, "a").assign_coords(a=list(separations)))


def judged(theta: Array, separation: float, weight: float) -> xr.Dataset:
    """Ends (n, 2) of runs, each with the exact minimum downhill from it."""
    goal, smooth = target(separation, weight), objective(separation, weight)
    exact = minima(reverse_projections(goal, NORMAL))
    best, names = [p.status == "global minimum" for p in exact], labels(exact, goal)
    value, sd = smooth.gradient(theta)[0], np.exp(theta[:, 1])
    found = beside(Normals.by_sd(theta[:, :1], sd[:, None]), value, exact, reached=downhill(smooth, theta, exact))
    at = found["optimum"].to_numpy()  # the last entry below is that of NONE
    return xr.Dataset(
        {
            "mean": ("start", theta[:, 0]),
            "sd": ("start", sd),
            "kl": ("start", value),
            "gap": ("start", found["gap"].to_numpy()),
            "label": ("start", np.array([*names, "none"])[at]),
            "is_global": ("start", np.array([*best, False])[at]),
            "n_minima": len(exact),
            "global_label": " or ".join(sorted(name for name, lowest in zip(names, best, strict=True) if lowest)),
        }
    )
