"""Branches of optima of reverse KL as the two modes of the target part, and the points where one begins, ends or takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq

from models.errors import ConvergenceError
from models.families import FAMILIES
from models.projections import reverse_projections
from models.projections.continuation import Branch, Critical, branches, locate_exchange, locate_fold
from models.projections.exact import Exact, exact_objective
from models.targets import Target, normal_mixture

Array = NDArray[np.float64]
NORMAL = FAMILIES["normal"]
#: Half the distance between the means of the two modes, in units of their standard deviation.
BOUNDS = (0.2, 5.0)
BOTH, LEFT, RIGHT = "both modes", "left mode", "right mode"
HALF = 0.5

_UNIT = np.array([3.0, 1.0])  # of (mean, log sd), in which a branch has steps of about equal length
_KNOWN = (2.2, 3.0)  # separations at which all stationary points are sought, to begin branches from
_FORWARD = 17
#: Errors of a located point that both quadrature rules share: of Newton's method, and of a third derivative by differences.
_NEWTON_ERROR, _CUSP_ERROR = 1e-12, 1e-9


@dataclass(frozen=True)
class Case:
    """A weight of the left mode at which every branch is followed."""

    name: str
    title: str
    weight: float


CASES = (Case("equal", "equal modes", HALF), Case("unequal", "unequal modes", 0.3))


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
    symmetric = case.weight == HALF
    seeds = [(a, p.theta) for a in _KNOWN for p in reverse_projections(target(a, case.weight), NORMAL)]
    if symmetric:  # what lies left of the middle is the mirror image
        seeds = [(a, theta) for a, theta in seeds if theta[0] > -1e-6]
    problem = partial(objective, weight=case.weight)
    found = branches(problem, seeds, BOUNDS, unit=_UNIT, largest=largest)
    pieces = [piece for branch in found for piece in _pieces(branch)]
    folds = [fold for branch in found for fold in branch.folds]
    named = [_fold_name(fold, pieces) for fold in folds]
    critical = [
        (name, *twice(partial(_refold, fold=fold, weight=case.weight))) for name, fold in zip(named, folds, strict=True)
    ]
    exchange, error = _exchange(pieces, case.weight)
    critical.append(("exchange", exchange, error))
    if symmetric:
        pieces += [_mirrored(piece) for piece in pieces if piece.points[:, 1].max() > 0.1]
    pieces = [part for piece in pieces for part in _ranked(piece, exchange, symmetric)]
    tree = xr.DataTree.from_dict(
        {"branches": _pieces_dataset(pieces), "critical": _critical_dataset(critical), "forward": _forward(case.weight)}
    )
    tree.attrs = {"weight": case.weight, "title": case.title, "bimodal_from": bimodal_from(case.weight)}
    return tree


def _pieces(branch: Branch) -> list[Piece]:
    """Cut a branch at its folds, which become end points of both sides."""
    pieces = []
    for part in branch.parts():
        points, minimal = np.column_stack([part.values, part.thetas, part.divergences]), part.negative[0] == 0
        pieces.append(Piece(_name(points) if minimal else "saddle", "local minimum" if minimal else "saddle", points))
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


def twice(solve: Callable[[Callable[..., Exact]], Critical]) -> tuple[Critical, float]:
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
    return twice(lambda f: locate_exchange(partial(f, weight=weight), first[i, :2], second[i, :2], float(a[i])))


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


def forward_moments(separation: float, weight: float) -> tuple[float, float]:
    """Mean and sd of the target, which are those of the one optimum of forward KL."""
    goal = target(separation, weight)
    assert goal.mean is not None, "mixtures know their moments"
    assert goal.cov is not None, "mixtures know their moments"
    return float(goal.mean[0]), float(np.sqrt(goal.cov[0, 0]))


def _forward(weight: float) -> xr.Dataset:
    separations = np.linspace(*BOUNDS, _FORWARD)
    mean, sd = np.transpose([forward_moments(a, weight) for a in separations])
    return xr.Dataset({"mean": ("a", mean), "sd": ("a", sd)}, coords={"a": separations})


def pieces_of(data: xr.Dataset) -> list[tuple[str, str, dict[str, Array]]]:
    """Label, status, and ``a``, ``mean``, ``sd`` and ``kl`` (n,) of each piece of a data set of branches."""
    piece = data["piece"].to_numpy()
    return [
        (str(label), str(status), {k: data[k].to_numpy()[piece == i] for k in ("a", "mean", "sd", "kl")})
        for i, (label, status) in enumerate(zip(data["label"].to_numpy(), data["status"].to_numpy(), strict=True))
    ]
