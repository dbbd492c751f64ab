"""From reverse to forward KL along Minka's alpha-divergence: all optima followed, with what each of them covers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.alpha_bridge import QUESTION
from analysis.alpha_bridge.following import (
    EDGE,
    UNIT,
    Arc,
    Problem,
    arcs_of,
    exchanges,
    join_ends,
    lowest,
    point_at,
)
from analysis.judged import Normals, cover
from analysis.parts import Part, StudySettings, runner
from models.families import FAMILIES
from models.graphs import single_threaded
from models.projections import Projection, alpha_projections, forward_projection, minima, reverse_projections
from models.projections.continuation import Critical, branches, locate_exchange, locate_fold
from models.projections.exact import Exact, exact_objective
from models.results import projections_dataset
from models.targets import Target, normal_mixture

Array = NDArray[np.float64]
#: The alphas whose global optima are drawn: 0 is reverse KL, 1 forward KL.
MEMBERS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)

_NO_OVERLAP = 1e-3
_NARROW = -9.0  # log sd of a fit a ten-thousandth as wide as a component
FLOOR = 1e-12  # rounding in the location of a critical point
_FIT = FAMILIES["normal"]


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Of the additional starts of a search whose count of signs is open; nothing else here is random.
    step : float
        Longest step along a branch, as a share of the range of alpha.
    grid : int
        Evenly spaced alphas, 0 and 1 included, at which the global optimum is computed.
    atlas : int
        Alphas at which all stationary points are searched for anew.
    """

    step: float = Field(default=0.02, gt=0, le=0.1)
    grid: int = Field(default=41, ge=5)
    atlas: int = Field(default=5, ge=1)

    quick: ClassVar = {"step": 0.05, "grid": 21, "atlas": 3}
    full: ClassVar = {"step": 0.01, "grid": 401, "atlas": 39}


@dataclass(frozen=True)
class Case:
    """A mixture of Normals with standard deviation 1, and the names of its modes from left to right."""

    name: str
    title: str
    weights: tuple[float, ...]
    means: tuple[float, ...]
    modes: tuple[str, ...]

    @property
    def target(self) -> Target:
        """The density to approximate."""
        return normal_mixture(self.weights, self.means, [1] * len(self.means), name=self.name)

    def cover(self, thetas: Array) -> Array:
        """Cover (n, K) of each mode by fits (n, 2) of a mean and a log sd."""
        return cover(Normals.by_sd(thetas[:, :1], np.exp(thetas[:, 1:])), self.target)


CASES = (
    Case("bimodal", "two equal modes", (0.5, 0.5), (-3, 3), ("left", "right")),
    Case("unequal_weights", "unequal modes", (0.3, 0.7), (-3, 3), ("left", "right")),
    Case("trimodal", "three equal modes", (1 / 3, 1 / 3, 1 / 3), (-6, 0, 6), ("left", "middle", "right")),
)


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    return [Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_case, c, settings), 5) for c in CASES]


#: One child per case; see `run_case`.
run = runner(QUESTION, Settings, parts)


@single_threaded
def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """Compute one target: every optimum followed from alpha = 0 to 1.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``arcs``: points of all branches by arc. ``critical``: folds and exchange points. ``reverse`` and ``forward``: the
        projections at alpha 0 and 1, and by how much the branch that leads there misses each. ``best``: the global minimum at each alpha (of mirror
        images the right one) and how much of each mode it covers. ``atlas``: what searches from scratch found.
    """
    target = case.target

    def problem(alpha: float, level: int = 1) -> Exact:
        return exact_objective(_FIT, target, alpha).at(level)

    reverse = reverse_projections(target, _FIT, seed=settings.seed)
    forward = forward_projection(target, _FIT)
    alphas = np.arange(1, settings.atlas + 1) / (settings.atlas + 1)
    atlas = {float(a): alpha_projections(target, _FIT, float(a), seed=settings.seed) for a in alphas}
    # From points between the bounds, since a branch is followed both ways.
    seeds = [(2 * EDGE, p.theta) for p in reverse] + [(1 - 2 * EDGE, forward.theta)]
    seeds += [(a, p.theta) for a, points in atlas.items() for p in points if not flat(p, a)]
    found = branches(problem, seeds, (EDGE, 1 - EDGE), unit=UNIT, largest=settings.step)
    arcs = [arc for i, branch in enumerate(found) for arc in arcs_of(branch, i)]
    arcs, begins = join_ends(problem, arcs, reverse, 0)
    arcs, ends = join_ends(problem, arcs, [forward], 1)
    grid = np.unique([*np.linspace(0, 1, settings.grid), *MEMBERS])
    best = [lowest(problem, arcs, float(a)) for a in grid]
    fine = partial(problem, level=2)
    folds = [fold for branch in found for fold in branch.folds]
    critical = [(c, _relocated(fine, c)) for c in [*folds, *exchanges(problem, arcs, grid, best)]]
    result = xr.DataTree.from_dict(
        {
            "arcs": _arc_dataset(case, arcs),
            "critical": _critical_dataset(case, critical),
            "reverse": projections_dataset(reverse).assign(miss=("point", begins)),
            "forward": projections_dataset([forward]).assign(miss=("point", ends)),
            "best": _best_dataset(case, grid, best),
            "atlas": _atlas_dataset(problem, arcs, atlas),
        }
    )
    result.attrs = {"title": case.title, "modes": json.dumps(case.modes), "target": json.dumps(dict(target.spec))}
    return result


def flat(point: Projection, alpha: float) -> bool:
    """Whether a point found is none: where fits are too narrow or too far away to overlap the target, nothing changes."""
    overlap = 1 - alpha * (1 - alpha) * point.divergence.value  # int p^alpha q^(1 - alpha)
    return bool(overlap < _NO_OVERLAP or point.theta[1] < _NARROW)


def _relocated(problem: Problem, point: Critical) -> Critical:
    """The same critical point on a finer rule."""
    if point.partner is None:
        return locate_fold(problem, point.theta, float(point.parameters[0]))
    return locate_exchange(problem, point.theta, point.partner, float(point.parameters[0]))


def _arc_dataset(case: Case, arcs: Sequence[Arc]) -> xr.Dataset:
    thetas = np.concatenate([arc.thetas for arc in arcs])
    sizes = [len(arc.alphas) for arc in arcs]
    return xr.Dataset(
        {
            "alpha": ("vertex", np.concatenate([arc.alphas for arc in arcs])),
            "mean": ("vertex", thetas[:, 0]),
            "sd": ("vertex", np.exp(thetas[:, 1])),
            "cover": (("vertex", "mode"), case.cover(thetas)),
            "arc": ("vertex", np.repeat(np.arange(len(arcs)), sizes)),
            "branch": ("vertex", np.repeat([arc.branch for arc in arcs], sizes)),
            "minimum": ("vertex", np.repeat([int(arc.minimum) for arc in arcs], sizes)),
        }
    )


def _critical_dataset(case: Case, points: Sequence[tuple[Critical, Critical]]) -> xr.Dataset:
    """Critical points, with the change that a finer rule brings as the error."""
    thetas = np.array([c.theta for c, _ in points]).reshape(-1, 2)
    partners = np.array([c.theta if c.partner is None else c.partner for c, _ in points]).reshape(-1, 2)
    alpha = np.array([c.parameters[0] for c, _ in points])
    finer = np.array([f.parameters[0] for _, f in points])
    return xr.Dataset(
        {
            "kind": ("point", np.array([c.kind for c, _ in points], dtype=str)),
            "alpha": ("point", alpha),
            "alpha_error": ("point", np.abs(finer - alpha) + FLOOR),
            "mean": ("point", thetas[:, 0]),
            "sd": ("point", np.exp(thetas[:, 1])),
            "partner_mean": ("point", partners[:, 0]),
            "partner_sd": ("point", np.exp(partners[:, 1])),
            "cover": (("point", "mode"), case.cover(thetas)),
            "partner_cover": (("point", "mode"), case.cover(partners)),
            "divergence": ("point", np.array([c.divergence for c, _ in points])),
            "divergence_error": ("point", np.array([abs(c.divergence - f.divergence) for c, f in points]) + FLOOR),
        }
    )


def _best_dataset(case: Case, grid: Array, best: Sequence[Mapping[int, tuple[Array, float]]]) -> xr.Dataset:
    chosen = [max(tied.values(), key=lambda point: point[0][0]) for tied in best]
    thetas = np.array([theta for theta, _ in chosen])
    arcs = sorted({i for tied in best for i in tied})
    return xr.Dataset(
        {
            "mean": ("alpha", thetas[:, 0]),
            "sd": ("alpha", np.exp(thetas[:, 1])),
            "divergence": ("alpha", [value for _, value in chosen]),
            "ties": ("alpha", [len(tied) for tied in best]),
            "cover": (("alpha", "mode"), case.cover(thetas)),
            "holds": (("alpha", "arc"), [[int(i in tied) for i in arcs] for tied in best]),
        },
        coords={"alpha": grid, "mode": list(case.modes), "arc": arcs},
    )


def _atlas_dataset(problem: Problem, arcs: Sequence[Arc], atlas: Mapping[float, Sequence[Projection]]) -> xr.Dataset:
    differences = []
    kept = {alpha: [p for p in points if not flat(p, alpha)] for alpha, points in atlas.items()}
    for alpha, points in kept.items():
        on = [point_at(problem, arc, alpha) for arc in arcs if arc.spans(alpha)]
        differences.append(matched([p[0] for p in on if p is not None], [p.theta for p in points]))
    return xr.Dataset(
        {
            "minima": ("alpha", [len(minima(points)) for points in kept.values()]),
            "saddles": ("alpha", [sum(p.status == "saddle" for p in points) for points in kept.values()]),
            "difference": ("alpha", differences),
            "flat": ("alpha", [len(points) - len(kept[alpha]) for alpha, points in atlas.items()]),
        },
        coords={"alpha": list(atlas)},
    )


def matched(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Largest distance between two sets of points, each with its nearest of the other; infinite if their sizes differ."""
    if len(first) != len(second):
        return float("inf")
    distance = np.abs(np.array(first)[:, None] - np.array(second)).max(axis=2)
    return float(max(distance.min(axis=0).max(), distance.min(axis=1).max()))
