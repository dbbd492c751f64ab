"""All optima of reverse KL against the separation of two modes: where it stops covering, and what ADVI finds there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Unpack

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import brentq

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.parts import Options, Part, compute_parts
from analysis.reading import dataset_of
from analysis.separation_sweep import QUESTION
from analysis.separation_sweep import marks as sweep_fig
from analysis.site.explorer import Explorer
from analysis.site.numbers import num
from models.advi import PYMC_ADAM, Start, dispersed_starts, fit_advi
from models.errors import ConvergenceError
from models.families import FAMILIES
from models.projections import Projection, forward_projection, minima, reverse_projections
from models.projections.continuation import Branch, Critical, branches, curve, locate_cusp, locate_exchange, locate_fold
from models.projections.exact import Exact, exact_objective
from models.projections.stationary import newton
from models.quadrature import Estimate
from models.targets import Target, normal_mixture

Array = NDArray[np.float64]
NORMAL = FAMILIES["normal"]
#: Half the distance between the means of the two modes, in units of their standard deviation.
BOUNDS = (0.2, 5.0)
#: A run that ends further than this above its minimum, in nats, has not arrived.
TOLERANCE = 0.02
#: Cells of the table closer to a fold or to an exchange than this, in units of the separation, are not compared with it.
CLEAR = 1e-3
BOTH, LEFT, RIGHT = "both modes", "left mode", "right mode"

_UNIT = np.array([3.0, 1.0])  # of (mean, log sd), in which a branch has steps of about equal length
_KNOWN = (2.2, 3.0)  # separations at which all stationary points are sought, to begin branches from
_FORWARD = 17
_HALF, _LEAST = 0.5, 0.01  # weights of the phase diagram
#: First guesses for Newton: ((mean, log sd), separation) of the folds at w = 1/2 and w = 0.3, of the exchange and the cusp.
_MODE_FOLD = (np.array([2.1, 0.25]), 2.4)
_BROAD_FOLD, _BROAD_WEIGHT = (np.array([1.1, 0.7]), 2.4), 0.3
_EXCHANGE = (2.8, np.array([2.8, 0.0]))
_SAME = 0.1  # means closer than this may be one and the same optimum, which solves the equations of an exchange too
_CUSP = (np.array([1.3, 0.47]), 2.05, 0.27)
_BROAD_LAST = 0.45  # where the fold of the covering minimum is beyond twice the range of separations
#: Errors of a located point that both quadrature rules share: of Newton's method, and of a third derivative by differences.
_NEWTON_ERROR, _CUSP_ERROR = 1e-12, 1e-9


class Settings(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    separations: int = Field(default=33, ge=3)
    weights: int = Field(default=10, ge=2)
    largest_step: float = Field(default=0.1, gt=0, le=0.5)
    curve_points: int = Field(default=14, ge=4)
    advi_separations: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.3, 2.5, 2.7, 2.9, 3.2, 3.6, 4.2, 5.0)
    advi_unequal: tuple[float, ...] = (1.5, 2.0, 2.15, 2.25, 2.4, 2.6, 2.8, 3.2)
    repeats: int = Field(default=2, ge=1)
    steps: int = Field(default=1500, ge=100)
    draws_per_step: int = Field(default=50, ge=1)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, separations=13, weights=5, largest_step=0.3, curve_points=8,
                advi_separations=(1.0, 2.0, 2.6, 3.2, 4.2), advi_unequal=(2.25, 2.8),
                steps=500, draws_per_step=20,
            )  # fmt: skip
        if effort == "full":
            return cls(
                seed=seed, separations=97, weights=20, largest_step=0.05, curve_points=60, repeats=10, steps=3000
            )
        return cls(seed=seed)

    @property
    def grid(self) -> Array:
        """Separations of the table of optima."""
        return np.round(np.linspace(*BOUNDS, self.separations), 9)

    @property
    def half(self) -> Array:
        """Weights of the table up to 1/2."""
        return np.round(_HALF * np.arange(1, self.weights + 1) / self.weights, 9)


@dataclass(frozen=True)
class Case:
    """A weight of the left mode at which every branch is followed."""

    name: str
    title: str
    weight: float


CASES = (Case("equal", "equal modes", _HALF), Case("unequal", "unequal modes", 0.3))


def target(separation: float, weight: float) -> Target:
    """Two modes, w N(-a, 1) + (1 - w) N(a, 1), for separation a and weight w of the left one."""
    return normal_mixture([weight, 1 - weight], [-separation, separation], [1, 1])


def objective(separation: float, weight: float, level: int = 1) -> Exact:
    """Reverse KL of a Normal to the target, in nats, as a function of theta = (mean, log sd)."""
    return exact_objective(NORMAL, target(separation, weight), 0.0).at(level)


def bimodal_from(weight: float) -> float:
    """Smallest separation at which the target has two modes.

    With r = sqrt(a^2 - 1) the target has two modes if and only if |log(w / (1 - w))| < 2 a r + 2 log(a - r); the density
    is then flat in slope and curvature at x = r or x = -r.
    """
    odds = abs(float(np.log(weight / (1 - weight))))

    def excess(a: float) -> float:
        r = np.sqrt(a**2 - 1)
        return float(2 * a * r + 2 * np.log(a - r) - odds)

    return float(brentq(excess, 1.0, 10.0, xtol=1e-14)) if odds else 1.0


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


def run(settings: Settings | None = None, **options: Unpack[Options]) -> xr.DataTree:
    """Compute branches, boundaries, the table of optima, and ADVI.

    Parameters
    ----------
    settings : Settings, optional
    **options
        ``jobs``, ``remember`` and ``on_progress`` of `analysis.parts.compute_parts`.

    Returns
    -------
    xarray.DataTree
        ``equal`` and ``unequal``, each with ``branches``, ``critical``, ``forward`` (see `traced`) and ``advi`` (see
        `advi_runs`); ``boundaries`` (see `boundaries`); ``optima`` (see `optima`) over separations and weights.
    """
    settings = settings or Settings()
    done = compute_parts(parts(settings), question=QUESTION, settings=settings, **options)
    rows = [done[f"optima_{i}"]["optima"].to_dataset() for i in range(settings.weights)]
    tree = {"boundaries": done["boundaries"], "optima": xr.concat(rows, "weight", join="outer").sortby("weight")}
    for case in CASES:
        tree |= {f"{case.name}/{name}": child for name, child in done[f"branches_{case.name}"].children.items()}
        tree[f"{case.name}/advi"] = done[f"advi_{case.name}"]["advi"]
    result = xr.DataTree.from_dict(tree)
    result.attrs = done.attrs
    for case in CASES:
        result[case.name].attrs = {
            "weight": case.weight,
            "title": case.title,
            "bimodal_from": bimodal_from(case.weight),
        }
    return result


# --- branches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a branch on which nothing changes: ``global minimum``, ``local minimum`` or ``saddle`` throughout.

    `points` (n, 4) holds separation, mean, log sd and KL in nats; neighbours share their end points.
    """

    label: str
    status: str
    points: Array


def traced(case: Case, largest: float) -> xr.DataTree:
    """Follow every branch of stationary points over the separations, and solve for the points where something changes.

    Parameters
    ----------
    case : Case
    largest : float
        Longest step, in units of the separation.

    Returns
    -------
    xarray.DataTree
        ``branches``: ``a``, ``mean``, ``sd``, ``kl`` over ``vertex``, with its ``piece``; ``label`` and ``status`` over
        ``piece``. ``critical``: folds and the exchange point (see `_critical_dataset`). ``forward``: its one optimum.
    """
    symmetric = case.weight == _HALF
    seeds = [(a, p.theta) for a in _KNOWN for p in reverse_projections(target(a, case.weight), NORMAL)]
    if symmetric:  # what lies left of the middle is the mirror image
        seeds = [(a, theta) for a, theta in seeds if theta[0] > -1e-6]
    problem = partial(objective, weight=case.weight)
    found = branches(problem, seeds, BOUNDS, unit=_UNIT, largest=largest)
    pieces = [piece for branch in found for piece in _pieces(branch)]
    folds = [fold for branch in found for fold in branch.folds]
    named = [_fold_name(fold, pieces) for fold in folds]
    critical = [
        (name, *_twice(partial(_refold, fold=fold, weight=case.weight)))
        for name, fold in zip(named, folds, strict=True)
    ]
    exchange, error = _exchange(pieces, case.weight)
    critical.append(("exchange", exchange, error))
    if symmetric:
        pieces += [_mirrored(piece) for piece in pieces if piece.points[:, 1].max() > 0.1]
    pieces = [part for piece in pieces for part in _ranked(piece, exchange, symmetric)]
    return xr.DataTree.from_dict(
        {"branches": _pieces_dataset(pieces), "critical": _critical_dataset(critical), "forward": _forward(case.weight)}
    )


def _pieces(branch: Branch) -> list[Piece]:
    """Cut a branch at its folds, which become end points of both sides."""
    points = np.column_stack([branch.values, branch.thetas, branch.divergences])
    cuts = np.flatnonzero(np.diff(branch.negative)) + 1
    if len(cuts) != len(branch.folds):
        raise ConvergenceError(f"a branch changes stability {len(cuts)} times but turns {len(branch.folds)} times")
    ends = [np.array([[f.parameters[0], *f.theta, f.divergence]]) for f in branch.folds]
    none = np.empty((0, 4))
    sides = zip([none, *ends], np.split(points, cuts), [*ends, none], strict=True)
    stable = [branch.negative[i] == 0 for i in [0, *cuts]]
    pieces = []
    for (before, middle, after), minimal in zip(sides, stable, strict=True):
        whole = np.concatenate([before, middle, after])
        pieces.append(Piece(_name(whole) if minimal else "saddle", "local minimum" if minimal else "saddle", whole))
    return pieces


def _name(points: Array) -> str:
    """The minimum that there is when the modes are close covers both; others lie at one of them."""
    if points[:, 0].min() <= BOUNDS[0] + 1e-9:
        return BOTH
    return RIGHT if points[:, 1].mean() > 0 else LEFT


def _mirrored(piece: Piece) -> Piece:
    label = {RIGHT: LEFT, LEFT: RIGHT}.get(piece.label, piece.label)
    return Piece(label, piece.status, piece.points * [1, -1, 1, 1])


def _fold_name(fold: Critical, pieces: Sequence[Piece]) -> str:
    """``birth of ...`` if the minimum that ends at the fold lives at larger separations, else ``end of ...``."""
    place = np.array([fold.parameters[0], *fold.theta])
    piece = next(
        p for p in pieces if p.status != "saddle" and np.linalg.norm(p.points[[0, -1], :3] - place, axis=1).min() < 1e-9
    )
    return f"{'birth' if piece.points[:, 0].mean() > fold.parameters[0] else 'end'} of {piece.label}"


def _refold(problem: Callable[..., Exact], fold: Critical, weight: float) -> Critical:
    return locate_fold(problem, fold.theta, float(fold.parameters[0]), weight)


def _twice(solve: Callable[[Callable[..., Exact]], Critical]) -> tuple[Critical, float]:
    """Solve on two quadrature rules; the difference between the parameters is the error."""
    coarse, fine = (solve(partial(objective, level=level)) for level in (1, 2))
    floor = _CUSP_ERROR if fine.kind == "cusp" else _NEWTON_ERROR
    return fine, float(np.abs(fine.parameters - coarse.parameters).max()) + floor


def _exchange(pieces: Sequence[Piece], weight: float) -> tuple[Critical, float]:
    """Where covering both modes and keeping the heavier, right one have the same divergence."""
    broad, mode = (
        next(p.points[np.argsort(p.points[:, 0])] for p in pieces if p.label == label) for label in (BOTH, RIGHT)
    )
    a = np.linspace(max(broad[0, 0], mode[0, 0]), min(broad[-1, 0], mode[-1, 0]), 200)
    first, second = (
        np.round(np.stack([np.interp(a, p[:, 0], p[:, k]) for k in (1, 2, 3)], axis=1), 9) for p in (broad, mode)
    )
    i = int(np.argmax(second[:, 2] < first[:, 2]))
    return _twice(lambda f: locate_exchange(partial(f, weight=weight), first[i, :2], second[i, :2], float(a[i])))


def _ranked(piece: Piece, exchange: Critical, symmetric: bool) -> list[Piece]:
    """Cut a minimum at the exchange point, and say on which side of it it is global."""
    below, above = {BOTH: (True, False), RIGHT: (False, True), LEFT: (False, symmetric)}.get(
        piece.label, (False, False)
    )
    if below == above:
        return [piece]
    points, a = piece.points[np.argsort(piece.points[:, 0], kind="stable")], float(exchange.parameters[0])
    if exchange.partner is None or not points[0, 0] < a < points[-1, 0]:
        raise ConvergenceError(f"the exchange point at {a:g} is not on the branch of the minimum on {piece.label}")
    theta = exchange.theta if piece.label == BOTH else exchange.partner * [-1 if piece.label == LEFT else 1, 1]
    at = np.array([[a, *theta, exchange.divergence]])
    status = {True: "global minimum", False: "local minimum"}
    return [
        replace(piece, status=status[below], points=np.concatenate([points[points[:, 0] < a], at])),
        replace(piece, status=status[above], points=np.concatenate([at, points[points[:, 0] > a]])),
    ]


def _pieces_dataset(pieces: Sequence[Piece]) -> xr.Dataset:
    points = np.concatenate([p.points for p in pieces])
    return xr.Dataset(
        {
            "a": ("vertex", points[:, 0]),
            "mean": ("vertex", points[:, 1]),
            "sd": ("vertex", np.exp(points[:, 2])),
            "kl": ("vertex", points[:, 3]),
            "piece": ("vertex", np.repeat(np.arange(len(pieces)), [len(p.points) for p in pieces])),
            "label": ("part", [p.label for p in pieces]),
            "status": ("part", [p.status for p in pieces]),
        }
    )


def _critical_dataset(critical: Sequence[tuple[str, Critical, float]]) -> xr.Dataset:
    """Located points by name: parameters with their error, the optimum there, and of an exchange the other one."""
    partners = [c.theta if c.partner is None else c.partner for _, c, _ in critical]
    return xr.Dataset(
        {
            "a": ("name", [float(c.parameters[0]) for _, c, _ in critical]),
            "error": ("name", [error for *_, error in critical]),
            "mean": ("name", [float(c.theta[0]) for _, c, _ in critical]),
            "sd": ("name", [float(np.exp(c.theta[1])) for _, c, _ in critical]),
            "kl": ("name", [c.divergence for _, c, _ in critical]),
            "other_mean": ("name", [float(p[0]) for p in partners]),
            "other_sd": ("name", [float(np.exp(p[1])) for p in partners]),
        },
        coords={"name": [name for name, *_ in critical]},
    )


def _forward(weight: float) -> xr.Dataset:
    separations = np.linspace(*BOUNDS, _FORWARD)
    found = [forward_projection(target(a, weight), NORMAL) for a in separations]
    values = {name: ("a", [float(p.params[key]) for p in found]) for name, key in (("mean", "mu"), ("sd", "sigma"))}
    return xr.Dataset(values, coords={"a": separations})


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
        ``exchange``; only weights up to 1/2. ``cusp``: where heavy, broad and exchange end, with its error.
    """
    cusp, error = _twice(lambda f: locate_cusp(f, *_CUSP))
    lowest = float(cusp.parameters[1])
    # Curves bend at the cusp like powers of 3/2 and 1/2: squares put points where they are needed.
    ladder = lowest + (_HALF - lowest) * np.linspace(0.05, 1, settings.curve_points) ** 2
    near = settings.half[settings.half > ladder[0]]
    steps = np.unique(np.round(np.concatenate([ladder, near]), 9))
    down = steps[steps < _HALF][::-1]
    low = np.unique(np.concatenate([settings.half, np.geomspace(_LEAST, _HALF, settings.curve_points + 4)]))
    mode = {s: locate_fold(objective, _MODE_FOLD[0] * [s, 1], _MODE_FOLD[1], _HALF) for s in (1, -1)}
    broad = locate_fold(objective, *_BROAD_FOLD, _BROAD_WEIGHT)
    found = {
        "heavy": [*curve(objective, mode[1], list(down)), cusp],
        "light": curve(objective, mode[-1], list(low[low < _HALF][::-1])),
        "broad": [
            *curve(objective, broad, [*steps[(steps > _BROAD_WEIGHT) & (steps < _BROAD_LAST)], _BROAD_LAST])[::-1],
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
    return xr.DataTree.from_dict({"curves": curves, "cusp": corner})


def _exchange_curve(lowest: float, count: int) -> list[Critical]:
    """Exchange of the covering minimum with the one on the heavier mode, from equal weights down to the cusp."""
    a, mode = _EXCHANGE
    weights = np.linspace(_HALF, lowest, count, endpoint=False)
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


def along(curves: xr.Dataset, name: str) -> tuple[Array, Array]:
    """Weights (n,), ascending, and separations (n,) of a curve."""
    chosen = curves["curve"].to_numpy() == name
    w, a = curves["w"].to_numpy()[chosen], curves["a"].to_numpy()[chosen]
    order = np.argsort(w)
    return w[order], a[order]


def _height(curves: xr.Dataset, name: str, weight: float) -> float:
    """Separation of a curve at a weight up to 1/2; infinite where the curve does not reach or has left the range."""
    w, a = along(curves, name)
    return float(np.interp(weight, w, a, left=np.inf, right=np.inf))


# --- the table of optima ---------------------------------------------------------------------------------------------


def cell(forward: Projection, reverse: Sequence[Projection]) -> dict[str, Any]:
    """Return one cell of an explorer's table from exact optima onto the family ``normal``.

    Parameters
    ----------
    forward : Projection
        From `models.projections.forward_projection`.
    reverse : sequence of Projection
        From `models.projections.reverse_projections`; saddles are left out.

    Returns
    -------
    dict
        See `analysis.site.explorer.Explorer`.
    """

    def point(p: Projection) -> list[float]:
        return [float(p.params["mu"]), float(p.params["sigma"]), float(p.divergence.value)]

    found = [p for p in reverse if p.status in ("global minimum", "local minimum")]
    return {"forward": point(forward), "reverse": [[*point(p), int(p.status == "global minimum")] for p in found]}


def optima(separations: Array, weight: float) -> xr.DataTree:
    """All minima of reverse KL and the one of forward KL, for every separation.

    Parameters
    ----------
    separations : ndarray (n,)
    weight : float

    Returns
    -------
    xarray.DataTree
        ``optima``: ``mean``, ``sd``, ``kl``, ``is_global`` over (weight, a, slot), lowest first and padded with nan;
        ``forward`` over (weight, a, value); ``minima``, ``saddles`` and ``complete`` (the certificate) over (weight, a).
    """
    found = [reverse_projections(target(a, weight), NORMAL) for a in separations]
    cells = [
        cell(forward_projection(target(a, weight), NORMAL), points)
        for a, points in zip(separations, found, strict=True)
    ]
    slots = max(len(c["reverse"]) for c in cells)
    padded = np.full((1, len(cells), slots, 4), np.nan)
    for i, one in enumerate(cells):
        padded[0, i, : len(one["reverse"])] = one["reverse"]
    over = ("weight", "a", "slot")
    dataset = xr.Dataset(
        {
            **{name: (over, padded[..., k]) for k, name in enumerate(("mean", "sd", "kl", "is_global"))},
            "forward": (("weight", "a", "value"), [[c["forward"] for c in cells]]),
            "minima": (over[:2], [[len(minima(points)) for points in found]]),
            "saddles": (over[:2], [[sum(p.status == "saddle" for p in points) for points in found]]),
            "complete": (over[:2], [[points[0].certificate == "complete" for points in found]]),
        },
        coords={"weight": [weight], "a": separations, "slot": np.arange(slots), "value": ["mean", "sd", "kl"]},
    )
    return xr.DataTree.from_dict({"optima": dataset})


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
        ``advi``: ``mean``, ``sd``, ``kl`` of each end over (a, start); ``label`` and ``is_global`` of the minimum to which
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
        rows.append(_judged(theta, a, case.weight).assign_coords(start=[s.label for s in begin]))
    dataset = xr.concat(rows, "a").assign_coords(a=list(separations))
    return xr.DataTree.from_dict({"advi": dataset})


def _judged(theta: Array, separation: float, weight: float) -> xr.Dataset:
    exact = minima(reverse_projections(target(separation, weight), NORMAL))
    smooth = objective(separation, weight)
    kl = smooth.gradient(theta)[0]
    nearest = [_downhill(smooth, t, exact) for t in theta]
    hit = [None if k is None else exact[k] for k in nearest]
    return xr.Dataset(
        {
            "mean": ("start", theta[:, 0]),
            "sd": ("start", np.exp(theta[:, 1])),
            "kl": ("start", kl),
            "gap": ("start", [np.nan if p is None else v - p.divergence.value for v, p in zip(kl, hit, strict=True)]),
            "label": ("start", ["none" if p is None else covered(p, separation) for p in hit]),
            "is_global": ("start", [p is not None and p.status == "global minimum" for p in hit]),
            "n_minima": len(exact),
            "global_label": " or ".join(sorted(covered(p, separation) for p in exact if p.status == "global minimum")),
        }
    )


def _downhill(smooth: Exact, theta: Array, exact: Sequence[Projection]) -> int | None:
    """Index of the minimum that Newton's method reaches downhill."""
    end = newton(smooth, theta[None], np.ones(2), downhill=True)
    if not len(end):
        return None
    distance = [float(np.abs(end[0] - p.theta).max()) for p in exact]
    return int(np.argmin(distance)) if min(distance) < 1e-3 else None


def covered(minimum: Projection, separation: float) -> str:
    """Say what a minimum covers: one nearer in spread to the whole target than to a mode covers both."""
    if float(minimum.params["sigma"]) > (1 + separation**2) ** 0.25:
        return BOTH
    return LEFT if float(minimum.params["mu"]) < 0 else RIGHT


# --- figures ---------------------------------------------------------------------------------------------------------


def _lines(case: xr.Dataset) -> list[sweep_fig.Line]:
    piece = case["piece"].to_numpy()
    return [
        sweep_fig.Line(str(label), str(status), {k: case[k].to_numpy()[piece == i] for k in ("a", "mean", "sd", "kl")})
        for i, (label, status) in enumerate(zip(case["label"].to_numpy(), case["status"].to_numpy(), strict=True))
    ]


def _run_ends(advi: xr.Dataset) -> dict[str, Array]:
    separations = np.broadcast_to(advi["a"].to_numpy()[:, None], advi["gap"].shape)
    columns = {name: advi[name].to_numpy().ravel() for name in ("mean", "sd", "kl")}
    return {"a": separations.ravel(), **columns, "arrived": (advi["gap"].to_numpy() <= TOLERANCE).ravel()}


def _sweep(results: xr.DataTree, name: str, span: tuple[float, float], events: Mapping[str, str]) -> sweep_fig.Sweep:
    critical, forward = dataset_of(results, f"{name}/critical"), dataset_of(results, f"{name}/forward")
    at = {str(key): float(critical["a"].sel(name=key)) for key in critical["name"].to_numpy()}
    at["bimodal"] = float(results[name].attrs["bimodal_from"])
    return sweep_fig.Sweep(
        lines=_lines(dataset_of(results, f"{name}/branches")),
        forward={"a": forward["a"].to_numpy(), "mean": forward["mean"].to_numpy(), "sd": forward["sd"].to_numpy()},
        flags=sorted((at[key], text) for key, text in events.items()),
        ends=_run_ends(dataset_of(results, f"{name}/advi")),
        span=span,
        tolerance=TOLERANCE,
    )


def plot(results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib") -> dict[str, Drawing]:
    """Draw the figures of the question.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.
    theme : {"light", "dark"}
    backend : {"matplotlib", "plotly", "bokeh"}

    Returns
    -------
    dict of str to Drawing
        ``branches``, ``branches_unequal``, ``phase``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "branches": _equal_drawing(results, style),
        "branches_unequal": _unequal_drawing(results, style),
        "phase": _phase_drawing(results, style),
    }


def _equal_drawing(results: xr.DataTree, style: Style) -> Drawing:
    f = _case_findings(results, "equal")
    events = {
        "bimodal": "the target has two modes",
        "birth of right mode": "single modes become minima",
        "exchange": "single modes become global",
    }
    fold, exchange = (num(f[key], digits=4) for key in ("birth", "exchange"))
    return Drawing(
        sweep_fig.branches(_sweep(results, "equal", BOUNDS, events), ("mean", "sd", "kl"), style),
        alt=(
            f"Three panels over the separation a: mean, standard deviation and reverse KL of every optimum. Up to a = {fold} there is one "
            f"line, with mean 0, whose standard deviation grows. At {fold} a pair of lines, a minimum and a saddle, appears near each mode. "
            f"At {exchange} the minima on single modes become lower than the broad one, which continues as a thin line. Dots, the ends of "
            "ADVI runs, lie on lines of minima"
            + (f"; {f['advi']['not_arrived']} do not." if f["advi"]["not_arrived"] else ".")
        ),
        caption=(
            "All optima of [reverse]{.reverse} KL against the separation of two equal modes: minima solid, the global one thick, saddles "
            "dashed. Dots are ends of ADVI runs. [Forward]{.forward} KL has one optimum throughout; its mean is that of the covering fit."
        ),
    )


def _unequal_drawing(results: xr.DataTree, style: Style) -> Drawing:
    f = _case_findings(results, "unequal")
    events = {
        "bimodal": "the target has two modes",
        "birth of right mode": "the heavier mode becomes a minimum",
        "exchange": "the heavier mode becomes global",
        "end of both modes": "the covering minimum ends",
        "birth of left mode": "the lighter mode becomes a minimum",
    }
    birth, exchange, end, light = (num(f[key], digits=4) for key in ("birth", "exchange", "end", "light"))
    weight = f"{f['weight']:g}"
    return Drawing(
        sweep_fig.branches(_sweep(results, "unequal", (1.2, 3.4), events), ("mean", "kl"), style),
        alt=(
            f"Two panels over the separation a, for weight {weight} on the left mode: mean and reverse KL of every optimum. The line of "
            f"covering minima turns back in a fold at {end} and, as saddles, runs to a second fold at {birth}, where the minima on the "
            f"heavier mode begin. They are global from {exchange}. A separate pair of lines at the lighter mode begins at {light}."
        ),
        caption=(
            f"All optima for weights {weight} (left) and {1 - f['weight']:g} (right), drawn as before. Covering and the heavier mode are now one curve, folded "
            "twice: where it runs back, its points are saddles. Past the second fold no minimum covers both modes."
        ),
    )


def _phase_drawing(results: xr.DataTree, style: Style) -> Drawing:
    curves, cusp = dataset_of(results, "boundaries/curves"), dataset_of(results, "boundaries/cusp")
    weights = np.geomspace(_LEAST, _HALF, 100)
    lines = {name: along(curves, name) for name in ("heavy", "light", "broad", "exchange")}
    lines["bimodal"] = (weights, np.array([bimodal_from(float(w)) for w in weights]))
    corner = (float(cusp["w"]), float(cusp["a"]))
    exchange, fold = (float(lines[name][1].max()) for name in ("exchange", "heavy"))
    return Drawing(
        sweep_fig.phase(sweep_fig.Phase(lines, corner, (0.5, BOUNDS[1])), style),
        alt=(
            "Map of the weight of the left mode (across) and the separation (up), symmetric about weight one half. At the bottom the target "
            "has one mode; above that, reverse KL still has one minimum, which covers both. A thick line like a tent, from "
            f"({corner[0]:.3f}, {corner[1]:.3f}) up to (0.5, {exchange:.3f}) and down again, is where covering and the heavier mode are "
            f"equally good. Around and above the tent there are three minima (from {fold:.3f} at equal weights), to its sides two."
        ),
        caption=(
            "How many minima [reverse]{.reverse} KL has, and which is global, for every weight and separation: each further minimum darkens "
            "the ground by one step. On the thick line covering both modes and keeping the heavier one are equally good; it ends in two cusps "
            "(dots). The dotted line is where the [target]{.target} gets its second mode."
        ),
    )


def explorer(results: xr.DataTree) -> Explorer:
    """Build the interactive figure from the table of optima.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    Explorer
    """
    table = dataset_of(results, "optima")
    half = table["weight"].to_numpy()
    full = [*((float(w), False) for w in half), *((float(np.round(1 - w, 9)), True) for w in half[::-1] if w < _HALF)]
    separations = [float(a) for a in table["a"].to_numpy()]
    cells = [[_explorer_cell(table, i, w, mirror) for w, mirror in full] for i in range(len(separations))]
    return Explorer(
        "explorer",
        {
            "separations": separations,
            "weights": [w for w, _ in full],
            "initial": {"a": min(separations, key=lambda a: abs(a - 3.0)), "w": _HALF},
            "cells": cells,
        },
        alt="Densities of the target, of the forward optimum and of every minimum of reverse KL, for a separation and a weight.",
        caption=(
            "The exact optima for the target $w\\, \\mathcal N(-a, 1) + (1 - w)\\, \\mathcal N(a, 1)$: the one of [forward]{.forward} KL, "
            "and every minimum of [reverse]{.reverse} KL."
        ),
    )


def _explorer_cell(table: xr.Dataset, i: int, weight: float, mirror: bool) -> dict[str, Any]:
    """One cell; the mirror image of the target has the mirror images of its optima."""
    one = table.sel(weight=1 - weight if mirror else weight, method="nearest").isel(a=i)
    sign = np.array([-1 if mirror else 1, 1, 1])
    count = int(one["minima"])
    points = np.stack([one[name].to_numpy()[:count] for name in ("mean", "sd", "kl", "is_global")], axis=1)
    return {
        "forward": [float(v) for v in sign * one["forward"].to_numpy()],
        "reverse": [[*(float(v) for v in sign * p[:3]), int(p[3])] for p in points],
    }


# --- findings --------------------------------------------------------------------------------------------------------


def _estimate(critical: xr.Dataset, name: str) -> Estimate:
    point = critical.sel(name=name)
    return Estimate(float(point["a"]), float(point["error"]), "quadrature")


def _case_findings(results: xr.DataTree, name: str) -> dict[str, Any]:
    critical, lines = dataset_of(results, f"{name}/critical"), _lines(dataset_of(results, f"{name}/branches"))
    found: dict[str, Any] = {
        "title": str(results[name].attrs["title"]),
        "weight": float(results[name].attrs["weight"]),
        "bimodal": float(results[name].attrs["bimodal_from"]),
        "birth": _estimate(critical, f"birth of {RIGHT}"),
        "exchange": _estimate(critical, "exchange"),
        "exchange_kl": float(critical["kl"].sel(name="exchange")),
        "exchange_sd": float(critical["sd"].sel(name="exchange")),
        "exchange_other_sd": float(critical["other_sd"].sel(name="exchange")),
        "advi": _advi_findings(dataset_of(results, f"{name}/advi")),
        "points": sum(len(line.values["a"]) for line in lines),
    }
    if f"end of {BOTH}" in critical["name"]:
        found |= {"end": _estimate(critical, f"end of {BOTH}"), "light": _estimate(critical, f"birth of {LEFT}")}
    last = {line.label: {k: float(v[np.argmax(line.values["a"])]) for k, v in line.values.items()}
            for line in lines if line.status != "saddle" and line.values["a"].max() >= BOUNDS[1] - 1e-9}  # fmt: skip
    return found | {"last": last}


def _advi_findings(advi: xr.Dataset) -> dict[str, Any]:
    gap, labels = advi["gap"].to_numpy(), advi["label"].to_numpy()
    arrived, best = gap <= TOLERANCE, advi["is_global"].to_numpy()
    several = np.broadcast_to((advi["n_minima"].to_numpy() > 1)[:, None], gap.shape)
    own = np.array([str(start).startswith("pm.fit") for start in advi["start"].to_numpy()])
    rows = [
        {
            "a": float(a),
            "minima": int(advi["n_minima"][i]),
            "best": str(advi["global_label"][i].item()),
            **{key: int((labels[i] == name).sum()) for key, name in (("both", BOTH), ("left", LEFT), ("right", RIGHT))},
            "own": _counted(labels[i][own]),
            "not_arrived": int((~arrived[i]).sum()),
            "worst": float(np.nanmax(gap[i])) if np.isfinite(gap[i]).any() else None,
        }
        for i, a in enumerate(advi["a"].to_numpy())
    ]
    return {
        "table": rows,
        "runs": int(gap.size),
        "separations": len(rows),
        "starts": int(own.size),
        "own": int(own.sum()),
        "not_arrived": int((~arrived).sum()),
        "lost": int(np.isnan(gap).sum()),
        "choice": int(several.sum()),
        "choice_local": int((several & ~best).sum()),
        "far": int((~arrived & (labels != "none")).sum()),
        "farthest": float(np.nanmax(gap)),
    }


def _counted(labels: Sequence[str] | NDArray[Any]) -> str:
    counts = {name: int((np.asarray(labels) == name).sum()) for name in (BOTH, LEFT, RIGHT, "none")}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _between(case: Mapping[str, Any], low: float, high: float) -> dict[str, int]:
    """Ends of ADVI runs at separations in an open interval."""
    rows = [row for row in case["advi"]["table"] if low < row["a"] < high]
    both, single = (sum(row[key] for row in rows) for key in ("both", "left"))
    return {"separations": len(rows), "both": both, "single": single + sum(row["right"] for row in rows)}


def check_table(table: xr.Dataset, curves: xr.Dataset) -> dict[str, int]:
    """Compare every cell of the table of optima with the curves, which were solved for without it.

    Parameters
    ----------
    table : Dataset
        As in `optima`.
    curves : Dataset
        As in `boundaries`.

    Returns
    -------
    dict of str to int
        ``cells``; ``near``: closer than `CLEAR` to a curve, and not compared; ``differ``: of the others, those with another
        number of minima or another global minimum than the curves say.
    """
    near = differ = cells = 0
    for weight in table["weight"].to_numpy():
        at = {name: _height(curves, name, float(weight)) for name in ("heavy", "light", "broad", "exchange")}
        for a in table["a"].to_numpy():
            cells += 1
            if min(abs(a - height) for height in at.values()) < CLEAR:
                near += 1
                continue
            one = table.sel(weight=weight, a=a)
            expected = 1 + (a > at["heavy"]) + (a > at["light"]) - (a > at["broad"])
            differ += int(one["minima"]) != expected or not _global_agrees(one, a, at)
    return {"cells": cells, "near": near, "differ": differ}


def _global_agrees(one: xr.Dataset, a: float, at: Mapping[str, float]) -> bool:
    """Whether the global minimum is the covering one, the widest, just where the exchange curve says so."""
    count = int(one["minima"])
    widest = int(np.argmax(one["sd"].to_numpy()[:count]))
    rightmost = int(np.argmax(one["mean"].to_numpy()[:count]))
    is_global = one["is_global"].to_numpy()[:count] == 1
    if count == 1:
        return bool(is_global[0])
    if at["heavy"] < a < at["broad"]:
        return bool(is_global[widest] == (a < at["exchange"]) and is_global[rightmost] == (a > at["exchange"]))
    return bool(is_global[rightmost])


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    dict
        ``equal`` and ``unequal``, and ``question``, ``answer``, ``cusp``, ``check``, ``table`` of the points where the list of
        optima changes, and sentences about ADVI.
    """
    settings = json.loads(results.attrs["settings"])
    equal, unequal = (_case_findings(results, case.name) for case in CASES)
    cusp, optima_ = dataset_of(results, "boundaries/cusp"), dataset_of(results, "optima")
    curves = dataset_of(results, "boundaries/curves")
    light = float(cusp["w"])
    runs = {key: equal["advi"][key] + unequal["advi"][key] for key in ("runs", "not_arrived", "lost", "far")}
    cover = _between(equal, equal["birth"].value, equal["exchange"].value)
    beyond = _between(equal, equal["exchange"].value, np.inf)
    complete = optima_["complete"].to_numpy()
    found = {
        "question": QUESTION,
        "settings": settings,
        "tolerance": TOLERANCE,
        "margin": CLEAR,
        "bounds": {"low": BOUNDS[0], "high": BOUNDS[1]},
        "equal": equal,
        "unequal": unequal,
        "cusp": {"w": Estimate(light, float(cusp["error"]), "quadrature"),
                 "a": Estimate(float(cusp["a"]), float(cusp["error"]), "quadrature")},
        "broad_last": {"w": _BROAD_LAST, "a": _height(curves, "broad", _BROAD_LAST)},
        "check": check_table(optima_, curves),
        "certified": {"cells": int(complete.size), "complete": int(complete.sum()),
                      "most": int(optima_["minima"].max())},
        "table": [row for name, case in (("equal", equal), ("unequal", unequal)) for row in _event_rows(results, name, case)],
        "runs": runs,
        "cover": cover,
        "beyond": beyond,
        "arrived_sentence": _arrived_sentence(runs),
        "equal_sentence": _equal_sentence(cover, beyond),
        "own_sentence": _own_sentence(equal),
        "ghost_sentence": _ghost_sentence(unequal),
    }  # fmt: skip
    return found | {"answer": _answer(found)}


_EVENTS = {
    "bimodal": "the target gets its second mode",
    "birth": "a single mode becomes a minimum",
    "exchange": "a single mode becomes global",
    "end": "the covering minimum ends",
    "light": "the lighter mode becomes a minimum",
}


def _event_rows(results: xr.DataTree, name: str, case: Mapping[str, Any]) -> list[dict[str, Any]]:
    critical = dataset_of(results, f"{name}/critical")
    keys = {"birth": f"birth of {RIGHT}", "exchange": "exchange", "end": f"end of {BOTH}", "light": f"birth of {LEFT}"}
    words = (
        _EVENTS
        if name == "unequal"
        else {**_EVENTS, "birth": "single modes become minima", "exchange": "single modes become global"}
    )
    if name == "unequal":
        words = {**words, "birth": "the heavier mode becomes a minimum", "exchange": "the heavier mode becomes global"}
    rows = [{"target": case["title"], "event": words["bimodal"], "a": case["bimodal"], "apart": 2 * case["bimodal"],
             "mean": None, "sd": None, "kl": None}]  # fmt: skip
    for key, label in keys.items():
        if key not in case:
            continue
        point = critical.sel(name=label)
        chosen = {k: float(point[f"other_{k}"]) for k in ("mean", "sd")}
        rows.append({"target": case["title"], "event": words[key], "a": case[key], "apart": 2 * case[key].value, **chosen,
                     "kl": float(point["kl"])})  # fmt: skip
    return sorted(rows, key=lambda row: row["apart"])


def _answer(f: Mapping[str, Any]) -> str:
    equal, unequal, cusp = f["equal"], f["unequal"], f["cusp"]
    a = {key: num(equal[key], digits=4) for key in ("birth", "exchange")}
    stays = BOTH in equal["last"]
    return (
        f"Later than the target shows two modes, and never for good. With equal weights (modes at ±$a$, standard deviation 1) the target has "
        f"two modes from $a$ = {num(equal['bimodal'], digits=2)}, but reverse KL keeps one minimum, which covers both, until $a$ = {a['birth']}. Then single "
        f"modes become minima, and from $a$ = {a['exchange']} they are the global ones."
        + (" The covering fit stays a local minimum however far the modes move apart." if stays else "")
        + f" With weights {unequal['weight']:g} and {1 - unequal['weight']:g} the heavier mode wins from {num(unequal['exchange'], digits=4)}, and past "
        f"{num(unequal['end'], digits=4)} no covering minimum is left. Below a weight of {num(cusp['w'], digits=4)} there is no jump at all. "
        + f["arrived_sentence"]
        + " "
        + f["equal_sentence"]
    )


def _arrived_sentence(runs: Mapping[str, int]) -> str:
    """How many runs of ADVI ended at an exact minimum."""
    if not runs["not_arrived"]:
        return f"All {runs['runs']} runs of ADVI ended within {TOLERANCE} nats of an exact minimum."
    return (
        f"Of {runs['runs']} runs of ADVI, {runs['runs'] - runs['not_arrived']} ended within {TOLERANCE} nats of an exact minimum; "
        f"{runs['not_arrived']} had not arrived when they stopped."
    )


def _equal_sentence(cover: Mapping[str, int], beyond: Mapping[str, int]) -> str:
    """Which way the start decided, at equal weights."""
    parts_ = []
    if cover["separations"]:
        parts_.append(
            f"between the two thresholds, where covering is better, {cover['single']} of {cover['single'] + cover['both']} runs at "
            "equal weights ended on a single mode"
        )
    if beyond["separations"]:
        parts_.append(
            f"beyond the second, where a single mode is better, {beyond['both']} of {beyond['single'] + beyond['both']} still covered both"
        )
    text = "; ".join(parts_)
    decided = min(cover["single"], beyond["both"]) > 0
    verdict = " So the start decides what ADVI reports, not the threshold alone." if decided else ""
    return f"{text[0].upper()}{text[1:]}.{verdict}" if text else ""


def _own_sentence(equal: Mapping[str, Any]) -> str:
    """Where PyMC's own start leads as the modes part."""
    rows, all_both = equal["advi"]["table"], f"{BOTH} {equal['advi']['own']}"
    left = [row["own"] != all_both for row in rows]
    begin = "PyMC's own start (the mean of the target, standard deviation 0.693)"
    if not any(left):
        return f"From {begin} every run covered both modes, at every separation tried."
    first = left.index(True)
    if all(left[first:]):
        return (
            f"From {begin} every run covered both modes at the separations tried below $a$ = {num(rows[first]['a'], digits=2)}; from there on, "
            "at least one ended on a single mode."
        )
    return f"From {begin} every run covered both modes, but at {sum(left)} of {len(left)} separations."


def _ghost_sentence(unequal: Mapping[str, Any]) -> str:
    """Runs that hang about where a minimum used to be."""
    late = [row for row in unequal["advi"]["table"] if row["a"] > unequal["end"].value]
    count, runs = sum(row["not_arrived"] for row in late), len(late) * unequal["advi"]["starts"]
    if not late:
        return ""
    if not count:
        return f"Past the end of the covering minimum, at unequal weights, all {runs} runs found their way to a mode."
    return (
        f"Past the end of the covering minimum, at unequal weights, {count} of {runs} runs had not arrived when they stopped. Where a minimum "
        "has just vanished the slope is still small, and a run that comes by can rest there for long: without the exact optima it would pass for "
        "a result."
    )
