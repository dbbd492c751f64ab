"""From reverse to forward KL along Minka's alpha-divergence: all optima followed, with what each of them covers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import root
from scipy.special import ndtr

from analysis.alpha_bridge import QUESTION
from analysis.alpha_bridge import marks as alpha_fig
from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.parts import Part, runner
from analysis.reading import case_of, estimate_of, target_of
from analysis.site.numbers import num
from models.divergences import entropy
from models.errors import ConvergenceError
from models.families import FAMILIES
from models.graphs import single_threaded
from models.projections import Projection, alpha_projections, forward_projection, minima, reverse_projections
from models.projections.continuation import Branch, Critical, branches, locate_exchange, locate_fold
from models.projections.exact import Exact, exact_objective
from models.projections.optimise import polish
from models.quadrature import Estimate
from models.targets import TARGETS, Target, mvnormal_mixture, normal_mixture

Array = NDArray[np.float64]
#: The alphas whose global optima are drawn: 0 is reverse KL, 1 forward KL.
MEMBERS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
#: A mode counts as covered if a fit gives its central interval at least this share of the mass that the target gives it.
COVERED = 0.1
#: Half the width of the central 95% interval of a component, in its standard deviations.
CENTRAL = 1.959964
#: Branches are followed from this alpha to one minus it; at 0 and 1 the divergence has other formulas.
EDGE = 1e-3
#: Correlation of the two-dimensional target.
RHO = 0.9

_UNIT = np.array([3.0, 1.0])  # lengths in (mean, log sd) that count as one when a branch is followed
_TIE = 1e-9  # nats
_SAME = 0.05  # in (mean, log sd): further apart, points are not of one branch
_NO_OVERLAP = 1e-3
_NARROW = -9.0  # log sd of a fit a ten-thousandth as wide as a component
_FLOOR = 1e-12  # rounding in the location of a critical point
_FIT = FAMILIES["normal"]


class Settings(BaseModel):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Of the additional starts of a search that finds itself incomplete; nothing else here is random.
    step : float
        Longest step along a branch, as a share of the range of alpha.
    grid : int
        Evenly spaced alphas, 0 and 1 included, at which the global optimum is computed.
    atlas : int
        Alphas at which all stationary points are searched for anew.
    correlated : int
        Alphas strictly between 0 and 1 for the two-dimensional target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    step: float = Field(default=0.02, gt=0, le=0.1)
    grid: int = Field(default=101, ge=5)
    atlas: int = Field(default=9, ge=1)
    correlated: int = Field(default=5, ge=1)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(seed=seed, step=0.05, grid=21, atlas=4, correlated=3)
        if effort == "full":
            return cls(seed=seed, step=0.01, grid=401, atlas=39, correlated=15)
        return cls(seed=seed)


@dataclass(frozen=True)
class Case:
    """A mixture of Normals with standard deviation 1, and the names of its modes from left to right."""

    name: str
    short: str
    title: str
    weights: tuple[float, ...]
    means: tuple[float, ...]
    modes: tuple[str, ...]

    @property
    def target(self) -> Target:
        """The density to approximate."""
        if self.name in TARGETS:
            return TARGETS[self.name]
        return normal_mixture(self.weights, self.means, [1.0] * len(self.means), name=self.name)


CASES = (
    Case("bimodal", "two equal modes", "two equal modes, ½ N(±3, 1)", (0.5, 0.5), (-3, 3), ("left", "right")),
    Case(
        "unequal_weights",
        "unequal modes",
        "unequal modes, 0.3 N(−3, 1) + 0.7 N(3, 1)",
        (0.3, 0.7),
        (-3, 3),
        ("left", "right"),
    ),
    Case(
        "trimodal",
        "three equal modes",
        "three equal modes, at −6, 0 and 6",
        (1 / 3, 1 / 3, 1 / 3),
        (-6, 0, 6),
        ("left", "middle", "right"),
    ),
)
CORRELATED = "correlated"

Problem = Callable[[float], Exact]


# --- what is covered -------------------------------------------------------------------------------------------------


def cover(mean: ArrayLike, sd: ArrayLike, weights: ArrayLike, centres: ArrayLike, sds: ArrayLike) -> Array:
    """Mass that Normals give to the central 95% interval of each component, relative to what the target gives it.

    Parameters
    ----------
    mean, sd : array_like (n,)
    weights, centres, sds : array_like (K,)
        The target.

    Returns
    -------
    ndarray (n, K)
        1 where a fit gives an interval as much mass as the target does.
    """
    c, s, w = np.asarray(centres, dtype=float), np.asarray(sds, dtype=float), np.asarray(weights, dtype=float)
    low, high = c - CENTRAL * s, c + CENTRAL * s
    target = w @ (ndtr((high - c[:, None]) / s[:, None]) - ndtr((low - c[:, None]) / s[:, None]))
    m, t = np.asarray(mean, dtype=float)[:, None], np.asarray(sd, dtype=float)[:, None]
    return np.asarray((ndtr((high - m) / t) - ndtr((low - m) / t)) / target)


# --- branches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Arc:
    """A piece of a branch between folds or ends, along which alpha increases.

    Attributes
    ----------
    alphas : ndarray (n,)
    thetas : ndarray (n, 2)
        Mean and log sd.
    divergences : ndarray (n,)
        In nats.
    minimum : bool
        Whether its points are minima; saddles if not.
    branch : int
    """

    alphas: Array
    thetas: Array
    divergences: Array
    minimum: bool
    branch: int

    def spans(self, alpha: float) -> bool:
        """Whether the arc has a point at alpha."""
        return bool(self.alphas[0] <= alpha <= self.alphas[-1])

    def near(self, alpha: float) -> Array:
        """Theta (2,) at alpha by interpolation."""
        return np.array([np.interp(alpha, self.alphas, column) for column in self.thetas.T])

    def extended(self, alpha: float, point: Projection) -> Arc:
        """The same arc with one more point, before or after all others."""
        at = 0 if alpha < self.alphas[0] else len(self.alphas)
        return replace(
            self,
            alphas=np.insert(self.alphas, at, alpha),
            thetas=np.insert(self.thetas, at, point.theta, axis=0),
            divergences=np.insert(self.divergences, at, point.divergence.value),
        )


def folds_of(problem: Problem, branch: Branch) -> list[Critical]:
    """Solve for the folds of a branch, each near the point where its stability changes.

    The divergence is flat far from the target, and flat points solve the equations of a fold too. So the fold is approached
    by short steps first, and must be near the points around it.

    Parameters
    ----------
    problem : callable (float) -> Exact
    branch : Branch

    Returns
    -------
    list of Critical
        In the order of the branch.

    Raises
    ------
    ConvergenceError
        If no fold is found near a change of stability.
    """
    found = []
    for cut in np.flatnonzero(np.diff(branch.negative)):
        ends, values = branch.thetas[cut : cut + 2], branch.values[cut : cut + 2]
        guess = _approach(problem, np.append(ends.mean(axis=0), values.mean()))
        fold = locate_fold(problem, guess[:2], float(guess[2]))
        if np.linalg.norm((fold.theta - ends.mean(axis=0)) / _UNIT) > 0.2:
            raise ConvergenceError(f"the fold near {ends.mean(axis=0).tolist()} was lost to {fold.theta.tolist()}")
        found.append(fold)
    return found


def _approach(problem: Problem, guess: Array) -> Array:
    """Zero of gradient and Hessian determinant over (theta, alpha), by steps too short to leave the neighbourhood."""

    def system(y: Array) -> Array:
        _, gradient, hessian = problem(float(y[2])).hessian(y[None, :2])
        return np.append(gradient[0], np.linalg.det(hessian[0]))

    return np.asarray(root(system, guess, method="hybr", options={"xtol": 1e-12, "factor": 0.1}).x)


def arcs_of(branch: Branch, folds: Sequence[Critical], index: int) -> list[Arc]:
    """Divide a branch at its folds; both sides keep the fold.

    Parameters
    ----------
    branch : Branch
    folds : sequence of Critical
        From `folds_of`.
    index : int
        Of the branch.

    Returns
    -------
    list of Arc
    """
    cuts = np.flatnonzero(np.diff(branch.negative)) + 1
    joints: list[Critical | None] = [None, *folds, None]
    arcs = []
    for (begin, end), (before, after) in zip(pairwise([0, *cuts, len(branch.values)]), pairwise(joints), strict=True):
        rows = slice(begin, end)
        parts = [(branch.values[rows], branch.thetas[rows], branch.divergences[rows])]
        if before is not None:
            parts.insert(0, _vertex(before))
        if after is not None:
            parts.append(_vertex(after))
        alphas, thetas, divergences = (np.concatenate(column) for column in zip(*parts, strict=True))
        way = slice(None, None, -1 if alphas[0] > alphas[-1] else 1)
        arcs.append(Arc(alphas[way], thetas[way], divergences[way], not branch.negative[begin], index))
    return arcs


def _vertex(point: Critical) -> tuple[Array, Array, Array]:
    return point.parameters, point.theta[None], np.array([point.divergence])


def point_at(problem: Problem, arc: Arc, alpha: float) -> tuple[Array, float] | None:
    """The stationary point of an arc at an alpha, solved for anew: theta (2,) and nats; ``None`` if it is not found."""
    for at, row in ((arc.alphas[0], 0), (arc.alphas[-1], -1)):
        if alpha == at:
            return arc.thetas[row], float(arc.divergences[row])
    objective, guess = problem(alpha), arc.near(alpha)
    theta = polish(objective, guess)
    if theta is None or np.linalg.norm(theta - guess) > _SAME:
        return None
    return theta, float(objective.gradient(theta[None])[0][0])


@dataclass(frozen=True, eq=False)
class End:
    """Where a branch meets a projection: gaps in (mean, log sd), at `EDGE` from the end and extrapolated to it."""

    alpha: float
    point: Projection
    gap: float
    extrapolated: float


def join_ends(
    problem: Problem, arcs: Sequence[Arc], points: Sequence[Projection], end: float
) -> tuple[list[Arc], list[End]]:
    """Lead the arcs that come close to alpha = 0 or 1 into the projections there.

    Parameters
    ----------
    problem : callable (float) -> Exact
    arcs : sequence of Arc
    points : sequence of Projection
        All stationary points at the end.
    end : {0, 1}

    Returns
    -------
    arcs : list of Arc
    ends : list of End
        One per projection, with infinite gaps where no arc leads.
    """
    sign = 1 - 2 * end
    ways = end + sign * EDGE * np.arange(1, 5)
    joined, limits = list(arcs), {}
    for i, arc in enumerate(arcs):
        reached = [point_at(problem, arc, float(a)) if arc.spans(float(a)) else None for a in ways]
        thetas = [found[0] for found in reached if found is not None]
        if len(thetas) == len(ways):
            # The cubic through four points, at the end.
            limits[i] = thetas[0], np.array([4, -6, 4, -1]) @ np.array(thetas)
    ends = []
    for point in points:
        gaps = {i: float(np.abs(limit - point.theta).max()) for i, (_, limit) in limits.items()}
        nearest = min(gaps, key=gaps.__getitem__, default=None)
        if nearest is None or gaps[nearest] > _SAME:
            ends.append(End(end, point, np.inf, np.inf))
            continue
        joined[nearest] = joined[nearest].extended(float(end), point)
        ends.append(End(end, point, float(np.abs(limits[nearest][0] - point.theta).max()), gaps[nearest]))
    return joined, ends


def lowest(problem: Problem, arcs: Sequence[Arc], alpha: float) -> dict[int, tuple[Array, float]]:
    """The global minima at an alpha, several if they tie: theta and nats by index of the arc."""
    found = {i: point_at(problem, arc, alpha) for i, arc in enumerate(arcs) if arc.minimum and arc.spans(alpha)}
    values = {i: point for i, point in found.items() if point is not None}
    least = min(value for _, value in values.values())
    return {i: point for i, point in values.items() if point[1] <= least + _TIE}


def exchanges(problem: Problem, arcs: Sequence[Arc], grid: Array, best: Sequence[Mapping[int, Any]]) -> list[Critical]:
    """Solve for the alphas between which the global minimum passes from one arc to another.

    Parameters
    ----------
    problem : callable (float) -> Exact
    arcs : sequence of Arc
    grid : ndarray (n,)
        Alphas.
    best : sequence of mapping
        From `lowest`, for every alpha of the grid.

    Returns
    -------
    list of Critical
        With the minimum that takes over as ``partner``.
    """
    found = []
    for (low, high), (before, after) in zip(pairwise(grid), pairwise(best), strict=True):
        if set(before) & set(after):
            continue
        # Of mirror images, the right one.
        old, new = (max(side, key=lambda i: side[i][0][0]) for side in (before, after))
        alpha = min(max((low + high) / 2, arcs[new].alphas[0]), arcs[old].alphas[-1])
        found.append(locate_exchange(problem, arcs[old].near(alpha), arcs[new].near(alpha), float(alpha)))
    return found


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    return [
        *(Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_case, c, settings), 5) for c in CASES),
        Part(
            CORRELATED,
            "a correlated Normal, mean field",
            {"case": {"rho": RHO}, "settings": s},
            partial(run_correlated, settings),
            weight=40,
        ),
    ]


#: One child per case; see `run_case` and `run_correlated`.
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
        ``arcs``: points of all branches by arc. ``critical``: folds and exchange points. ``ends``: where the branches meet
        the reverse (alpha 0) and forward (alpha 1) projections. ``best``: the global minimum at each alpha (of mirror
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
    seeds += [(a, p.theta) for a, points in atlas.items() for p in points if not _flat(p, a)]
    found = branches(problem, seeds, (EDGE, 1 - EDGE), unit=_UNIT, largest=settings.step)
    folds = [folds_of(problem, branch) for branch in found]
    arcs = [arc for i, branch in enumerate(found) for arc in arcs_of(branch, folds[i], i)]
    arcs, begins = join_ends(problem, arcs, reverse, 0)
    arcs, ends = join_ends(problem, arcs, [forward], 1)
    grid = np.unique([*np.linspace(0, 1, settings.grid), *MEMBERS])
    best = [lowest(problem, arcs, float(a)) for a in grid]
    fine = partial(problem, level=2)
    critical = [(c, _relocated(fine, c)) for c in [*chain(*folds), *exchanges(problem, arcs, grid, best)]]
    result = xr.DataTree.from_dict(
        {
            "arcs": _arc_dataset(arcs),
            "critical": _critical_dataset(critical),
            "ends": _end_dataset([*begins, *ends]),
            "best": _best_dataset(case, grid, best),
            "atlas": _atlas_dataset(problem, arcs, atlas),
        }
    )
    spec = {"weights": list(case.weights), "means": list(case.means), "sds": [1.0] * len(case.means)}
    result.attrs = {
        "title": case.title,
        "short": case.short,
        "modes": json.dumps(case.modes),
        "target": json.dumps(spec),
        "target_name": target.name,
        "certificate": reverse[0].certificate,
    }
    return result


def _flat(point: Projection, alpha: float) -> bool:
    """Whether a point found is none: where fits are too narrow or too far away to overlap the target, nothing changes."""
    overlap = 1 - alpha * (1 - alpha) * point.divergence.value  # int p^alpha q^(1 - alpha)
    return bool(overlap < _NO_OVERLAP or point.theta[1] < _NARROW)


def _relocated(problem: Problem, point: Critical) -> Critical:
    """The same critical point on a finer rule."""
    if point.partner is None:
        return locate_fold(problem, point.theta, float(point.parameters[0]))
    return locate_exchange(problem, point.theta, point.partner, float(point.parameters[0]))


def _arc_dataset(arcs: Sequence[Arc]) -> xr.Dataset:
    thetas = np.concatenate([arc.thetas for arc in arcs])
    sizes = [len(arc.alphas) for arc in arcs]
    return xr.Dataset(
        {
            "alpha": ("vertex", np.concatenate([arc.alphas for arc in arcs])),
            "mean": ("vertex", thetas[:, 0]),
            "sd": ("vertex", np.exp(thetas[:, 1])),
            "divergence": ("vertex", np.concatenate([arc.divergences for arc in arcs])),
            "arc": ("vertex", np.repeat(np.arange(len(arcs)), sizes)),
            "branch": ("vertex", np.repeat([arc.branch for arc in arcs], sizes)),
            "minimum": ("vertex", np.repeat([int(arc.minimum) for arc in arcs], sizes)),
        }
    )


def _critical_dataset(points: Sequence[tuple[Critical, Critical]]) -> xr.Dataset:
    """Critical points, with the change that a finer rule brings as the error."""
    thetas = np.array([c.theta for c, _ in points]).reshape(-1, 2)
    partners = np.array([c.theta if c.partner is None else c.partner for c, _ in points]).reshape(-1, 2)
    alpha = np.array([c.parameters[0] for c, _ in points])
    finer = np.array([f.parameters[0] for _, f in points])
    return xr.Dataset(
        {
            "kind": ("point", np.array([c.kind for c, _ in points], dtype=str)),
            "alpha": ("point", alpha),
            "alpha_error": ("point", np.abs(finer - alpha) + _FLOOR),
            "mean": ("point", thetas[:, 0]),
            "sd": ("point", np.exp(thetas[:, 1])),
            "partner_mean": ("point", partners[:, 0]),
            "partner_sd": ("point", np.exp(partners[:, 1])),
            "divergence": ("point", np.array([c.divergence for c, _ in points])),
            "divergence_error": ("point", np.array([abs(c.divergence - f.divergence) for c, f in points]) + _FLOOR),
            "residual": ("point", np.array([c.residual for c, _ in points])),
        }
    )


def _end_dataset(ends: Sequence[End]) -> xr.Dataset:
    return xr.Dataset(
        {
            "alpha": ("end", [float(e.alpha) for e in ends]),
            "mean": ("end", [e.point.theta[0] for e in ends]),
            "sd": ("end", [np.exp(e.point.theta[1]) for e in ends]),
            "divergence": ("end", [e.point.divergence.value for e in ends]),
            "status": ("end", [e.point.status for e in ends]),
            "gap": ("end", [e.gap for e in ends]),
            "extrapolated": ("end", [e.extrapolated for e in ends]),
        }
    )


def _best_dataset(case: Case, grid: Array, best: Sequence[Mapping[int, tuple[Array, float]]]) -> xr.Dataset:
    chosen = [max(tied.values(), key=lambda point: point[0][0]) for tied in best]
    thetas = np.array([theta for theta, _ in chosen])
    covers = cover(thetas[:, 0], np.exp(thetas[:, 1]), case.weights, case.means, np.ones(len(case.means)))
    arcs = sorted({i for tied in best for i in tied})
    return xr.Dataset(
        {
            "mean": ("alpha", thetas[:, 0]),
            "sd": ("alpha", np.exp(thetas[:, 1])),
            "divergence": ("alpha", [value for _, value in chosen]),
            "ties": ("alpha", [len(tied) for tied in best]),
            "cover": (("alpha", "mode"), covers),
            "holds": (("alpha", "arc"), [[int(i in tied) for i in arcs] for tied in best]),
        },
        coords={"alpha": grid, "mode": list(case.modes), "arc": arcs},
    )


def _atlas_dataset(problem: Problem, arcs: Sequence[Arc], atlas: Mapping[float, Sequence[Projection]]) -> xr.Dataset:
    differences = []
    kept = {alpha: [p for p in points if not _flat(p, alpha)] for alpha, points in atlas.items()}
    for alpha, points in kept.items():
        on = [point_at(problem, arc, alpha) for arc in arcs if arc.spans(alpha)]
        differences.append(_matched([p[0] for p in on if p is not None], [p.theta for p in points]))
    return xr.Dataset(
        {
            "minima": ("alpha", [len(minima(points)) for points in kept.values()]),
            "saddles": ("alpha", [sum(p.status == "saddle" for p in points) for points in kept.values()]),
            "found": ("alpha", [len(points) for points in kept.values()]),
            "certificate": ("alpha", [points[0].certificate for points in atlas.values()]),
            "difference": ("alpha", differences),
            "flat": ("alpha", [len(points) - len(kept[alpha]) for alpha, points in atlas.items()]),
        },
        coords={"alpha": list(atlas)},
    )


def _matched(first: Sequence[Array], second: Sequence[Array]) -> float:
    """Largest distance between two sets of points, each with its nearest of the other; infinite if their sizes differ."""
    if len(first) != len(second):
        return float("inf")
    distance = np.abs(np.array(first)[:, None] - np.array(second)).max(axis=2)
    return float(max(distance.min(axis=0).max(), distance.min(axis=1).max()))


# --- mean field ------------------------------------------------------------------------------------------------------


def mean_field_variance(alpha: Array, rho: float) -> Array:
    """Variance of the best factorised Normal for a pair of unit Normals with correlation rho.

    The density proportional to p^alpha q^(1 - alpha) is Normal, with the precisions added in these shares. That its marginal
    variances are those of q is a quadratic equation, alpha v^2 + (1 - 2 alpha) v - (1 - alpha)(1 - rho^2) = 0.

    Parameters
    ----------
    alpha : ndarray (n,)
        From 0 to 1.
    rho : float

    Returns
    -------
    ndarray (n,)
    """
    a = np.asarray(alpha, dtype=float)
    root = np.sqrt(1 - 4 * a * (1 - a) * rho**2)
    # Either form of the root of the quadratic loses digits on one side of one half.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a < 0.5, 2 * (1 - a) * (1 - rho**2) / (1 - 2 * a + root), (2 * a - 1 + root) / (2 * a))


@single_threaded
def run_correlated(settings: Settings) -> xr.DataTree:
    """Compute the mean-field projections of a correlated Normal in two dimensions.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``projections``: over alpha, both ends included.
    """
    target = mvnormal_mixture([1.0], [[0.0, 0.0]], [[[1.0, RHO], [RHO, 1.0]]], name=CORRELATED)
    family = FAMILIES["mvnormal_diag"]
    alphas = np.arange(settings.correlated + 2) / (settings.correlated + 1)
    found = [reverse_projections(target, family, seed=settings.seed)]
    found += [alpha_projections(target, family, float(a), seed=settings.seed) for a in alphas[1:-1]]
    found += [[forward_projection(target, family)]]
    best = [points[0] for points in found]
    own, fitted = entropy(target), [entropy(point.member) for point in best]
    data = xr.Dataset(
        {
            "variance": (("alpha", "dim"), [np.asarray(p.params["sigma"]) ** 2 for p in best]),
            "mean": (("alpha", "dim"), [np.asarray(p.params["mu"]) for p in best]),
            "theory": ("alpha", mean_field_variance(alphas, RHO)),
            "points": ("alpha", [len(points) for points in found]),
            "certificate": ("alpha", [p.certificate for p in best]),
            "entropy_gap": ("alpha", [e.value - own.value for e in fitted]),
            "entropy_gap_error": ("alpha", [e.error + own.error for e in fitted]),
        },
        coords={"alpha": alphas},
    )
    result = xr.DataTree.from_dict({"projections": data})
    result.attrs = {"title": "a correlated Normal, mean field", "rho": RHO}
    return result


# --- figures ---------------------------------------------------------------------------------------------------------


def _mixtures(results: xr.DataTree) -> list[xr.DataTree]:
    return [case_of(results, name) for name in results.children if name != CORRELATED]


def _covers(case: xr.DataTree, mean: ArrayLike, sd: ArrayLike) -> Array:
    spec = json.loads(case.attrs["target"])
    return cover(np.atleast_1d(mean), np.atleast_1d(sd), spec["weights"], spec["means"], spec["sds"])


def _label(case: xr.DataTree, mean: float, sd: float) -> str:
    """Say which modes a Normal covers."""
    names = json.loads(case.attrs["modes"])
    hit = [name for name, share in zip(names, _covers(case, mean, sd)[0], strict=True) if share >= COVERED]
    if len(hit) == len(names):
        return "both modes" if len(names) == 2 else f"all {len(names)} modes"
    return f"{' and '.join(hit) or 'no'} mode{'s' if len(hit) > 1 else ''}"


def _critical(case: xr.DataTree, kind: str) -> xr.Dataset:
    """Critical points of a kind, by alpha."""
    data = case["critical"].to_dataset()
    return data.isel(point=data["kind"].to_numpy() == kind).sortby("alpha")


def _reigns(case: xr.DataTree) -> list[tuple[int, float, float]]:
    """Arc, and the lowest and the highest alpha at which it is the global minimum."""
    best = case["best"].to_dataset()
    grid, jumps = best["alpha"].to_numpy(), _critical(case, "exchange")["alpha"].to_numpy()
    reigns = []
    for arc in best["arc"].to_numpy():
        holds = np.concatenate([[0], best["holds"].sel(arc=arc).to_numpy(), [0]])
        for first, last in zip(
            np.flatnonzero(np.diff(holds) == 1), np.flatnonzero(np.diff(holds) == -1) - 1, strict=True
        ):
            low, high = grid[first], grid[last]
            before, after = jumps[jumps < low], jumps[jumps > high]
            reigns.append(
                (int(arc), float(before.max()) if len(before) else 0.0, float(after.min()) if len(after) else 1.0)
            )
    return reigns


def _bridge(case: xr.DataTree) -> alpha_fig.Bridge:
    data = case["arcs"].to_dataset()
    reigns = _reigns(case)
    lines = []
    for arc in np.unique(data["arc"].to_numpy()):
        piece = data.isel(vertex=data["arc"].to_numpy() == arc)
        mean, sd = piece["mean"].to_numpy(), piece["sd"].to_numpy()
        minimum = bool(piece["minimum"][0])
        # Named where it is farthest from a fold or an exchange.
        at = int(np.argmin(np.abs(piece["alpha"].to_numpy() - (0 if piece["alpha"][0] == 0 else 1))))
        lines.append(
            alpha_fig.Line(
                alphas=piece["alpha"].to_numpy(),
                mean=mean,
                sd=sd,
                cover=_covers(case, mean, sd).min(axis=1),
                minimum=minimum,
                label=_label(case, mean[at], sd[at]) if minimum else "saddle",
                reigns=tuple((low, high) for i, low, high in reigns if i == arc),
            )
        )
    folds, jumps = _critical(case, "fold"), _critical(case, "exchange")

    def place(data: xr.Dataset, prefix: str = "") -> Array:
        mean, sd = data[f"{prefix}mean"].to_numpy(), data[f"{prefix}sd"].to_numpy()
        shares = _covers(case, mean, sd).min(axis=1) if len(mean) else np.empty(0)
        return np.stack([data["alpha"].to_numpy(), mean, sd, shares], axis=1)

    return alpha_fig.Bridge(case.attrs["short"], tuple(lines), place(folds), jumps["alpha"].to_numpy())


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
        ``members``, ``branches``, ``correlated``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "members": _members(results, style),
        "alpha_branches": _branches(results, style),
        "correlated": _correlated(results, style),
    }


def _members(results: xr.DataTree, style: Style) -> Drawing:
    panels, words = [], []
    for case in _mixtures(results):
        best = case["best"].to_dataset().sel(alpha=list(MEMBERS), method="nearest")
        panels.append(
            alpha_fig.Ridges(
                case.attrs["short"], target_of(case), np.array(MEMBERS), best["mean"].to_numpy(), best["sd"].to_numpy(),
                best["ties"].to_numpy(), _critical(case, "exchange")["alpha"].to_numpy(),
            )
        )  # fmt: skip
        labels = [_label(case, float(m), float(s)) for m, s in zip(best["mean"], best["sd"], strict=True)]
        words.append(
            f"{case.attrs['short']}: " + ", ".join(f"{w} at {a:g}" for a, w in zip(MEMBERS, labels, strict=True))
        )
    return Drawing(
        alpha_fig.members(panels, style),
        alt=(
            "Three columns of densities, one for each target, and six rows, for alpha from 0 at the top to 1 at the bottom. The target is filled "
            f"grey, the best Normal is a coloured line. Covered by it: {'; '.join(words)}."
        ),
        caption=(
            "The best Normal (line) for each target (grey) by Minka's alpha-divergence, from [reverse]{.reverse} KL at the top to "
            "[forward]{.forward} KL at the bottom. Thin lines: a mirror image that is exactly as good. Dashed: where the best Normal jumps."
        ),
    )


def _branches(results: xr.DataTree, style: Style) -> Drawing:
    cases = _mixtures(results)
    words = "; ".join(
        f"{case.attrs['short']}, folds at {_list(_critical(case, 'fold')['alpha'].to_numpy())}, "
        f"exchange at {_list(_critical(case, 'exchange')['alpha'].to_numpy()) or 'no alpha'}"
        for case in cases
    )
    return Drawing(
        alpha_fig.branches([_bridge(case) for case in cases], style),
        alt=(
            "Nine panels against alpha from 0 to 1, a column for each target: mean, standard deviation, and cover of the least covered mode of "
            "every optimum. Several curves at the left, at reverse KL; pairs of a solid and a dashed curve meet and end in folds; a single curve "
            f"goes on to the right, to forward KL. {words}."
        ),
        caption=(
            "Every optimum from [reverse]{.reverse} KL (left) to [forward]{.forward} KL (right). Thick: the global minimum. Thin: local minima. "
            "Dashed: saddles. Dots: folds, where a minimum and a saddle meet and vanish. Vertical line: the global minimum changes. "
            "*Cover*: mass in the central 95% interval of the least covered mode, relative to the target's (1 is as much as the target has)."
        ),
    )


def _list(alphas: Array) -> str:
    return ", ".join(dict.fromkeys(f"{a:.3f}" for a in np.sort(alphas)))


def _correlated(results: xr.DataTree, style: Style) -> Drawing:
    data = case_of(results, CORRELATED)["projections"].to_dataset()
    alphas = np.linspace(0, 1, 201)
    spread = alpha_fig.Spread(
        RHO, alphas, mean_field_variance(alphas, RHO), data["alpha"].to_numpy(), data["variance"].to_numpy()[:, 0]
    )
    f = _correlated_findings(case_of(results, CORRELATED))
    return Drawing(
        alpha_fig.correlated(spread, style),
        alt=(
            f"Left, a long grey ellipse, a Normal with correlation {RHO}, and three circles around its centre: the smallest, for reverse KL, inside it; "
            "the largest, for forward KL, as wide as it is; one for alpha one half between. Right, the variance of the circles against alpha: a "
            f"curve that rises from {f['low']:.2f} to 1 and has the value {f['middle']:.3f} at one half, with computed points on it."
        ),
        caption=(
            f"Mean field on a Normal with unit variances and correlation {RHO}. Left: contours that enclose 90% of the mass. Right: the variance of the fit, "
            "in closed form (line) and computed (dots)."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def _unsigned(value: float) -> float:
    return value if abs(value) > 5e-7 else 0.0


def _events(case: xr.DataTree) -> list[dict[str, Any]]:
    """Folds and exchange points in the order of alpha, in words; mirror images are one event."""
    data = case["critical"].to_dataset().sortby(["alpha", "mean"])
    alphas = data["alpha"].to_numpy()
    groups = np.split(np.arange(len(alphas)), np.flatnonzero(np.diff(alphas) > _FLOOR * 100) + 1) if len(alphas) else []
    events = []
    for group in groups:
        points = data.isel(point=group).sortby("mean")
        point = points.isel(point=-1)
        exchange = bool(point["kind"] == "exchange")
        mirrored = _mirrored(case, point) if exchange else len(group) > 1
        sign = "±" if mirrored and abs(float(point["mean"])) > 1e-6 else ""
        events.append(
            {
                "target": case.attrs["short"],
                "alpha": estimate_of(point, "alpha"),
                "kind": str(point["kind"].item()),
                "what": _exchange_words(case, point, mirrored) if exchange else _fold_words(case, points),
                "mean": sign + num(_unsigned(float(point["mean"])), digits=5),
                "sd": num(float(point["sd"]), digits=5),
                "divergence": estimate_of(point, "divergence"),
            }
        )
    return events


def _exchange_words(case: xr.DataTree, point: xr.Dataset, mirrored: bool) -> str:
    old = _label(case, float(point["mean"]), float(point["sd"]))
    new = _label(case, float(point["partner_mean"]), float(point["partner_sd"]))
    return f"global minimum passes from {'either single mode' if mirrored else _the(old)} to {_the(new)}"


def _fold_words(case: xr.DataTree, points: xr.Dataset) -> str:
    """Which minima meet a saddle here, and whether they exist below or above this alpha."""
    arcs = case["arcs"].to_dataset()
    alphas, index = arcs["alpha"].to_numpy(), arcs["arc"].to_numpy()
    here = np.isin(alphas, points["alpha"].to_numpy()) & (arcs["minimum"] == 1).to_numpy()
    ends = alphas[index == index[here][0]][-1] == alphas[here][0]
    labels = [_the(_label(case, float(m), float(s))) for m, s in zip(points["mean"], points["sd"], strict=True)]
    minimum, verb = ("minimum", "ends") if len(labels) == 1 else ("minima", "end")
    return f"{minimum} on {' and '.join(labels)} {verb if ends else verb.replace('end', 'begin')}"


def _the(label: str) -> str:
    return label if label.startswith(("both", "all")) else f"the {label}"


def _mirrored(case: xr.DataTree, point: xr.Dataset) -> bool:
    """Whether the minimum that loses to another has a mirror image."""
    best = case["best"].to_dataset()
    before = best.isel(alpha=best["alpha"].to_numpy() < float(point["alpha"]))
    return bool(before.sizes["alpha"]) and int(before["ties"][-1]) > 1


def _covers_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on the global minimum covers every mode; 0 if it always does, ``None`` if it does not at 1."""
    best = case["best"].to_dataset()
    grid, covered = best["alpha"].to_numpy(), (best["cover"] >= COVERED).all("mode").to_numpy()
    if not covered[-1]:
        return None
    if covered.all():
        return Estimate(0.0, 0.0, "exact")
    last = int(np.flatnonzero(~covered)[-1])
    jumps = _critical(case, "exchange")
    places = jumps["alpha"].to_numpy()
    between = jumps.isel(point=(places >= grid[last]) & (places <= grid[last + 1]))
    if between.sizes["point"] == 1:
        return estimate_of(between.isel(point=0), "alpha")
    return Estimate(float(grid[last : last + 2].mean()), float(np.diff(grid[last : last + 2])[0] / 2), "quadrature")


def _alone_from(case: xr.DataTree) -> Estimate | None:
    """The alpha from which on there is one stationary point: the last fold, if one arc goes on to 1."""
    arcs, folds = case["arcs"].to_dataset(), _critical(case, "fold")
    if not folds.sizes["point"]:
        return None
    last = folds.isel(point=-1)
    beyond = np.unique(arcs["arc"].to_numpy()[arcs["alpha"].to_numpy() > float(last["alpha"])])
    return estimate_of(last, "alpha") if len(beyond) == 1 else None


def price(alpha: float, weight: float) -> float:
    """Alpha-divergence in nats from a target to one of its components, of that weight, if the others are far away.

    Parameters
    ----------
    alpha : float
        From 0, where this is -log(weight), to below 1.
    weight : float

    Returns
    -------
    float
    """
    return -float(np.log(weight)) if alpha == 0 else -float(np.expm1(alpha * np.log(weight))) / (alpha * (1 - alpha))


def _held(case: xr.DataTree, point: xr.Dataset) -> float:
    """Weight of the modes that a fit covers."""
    hit = _covers(case, point["mean"].to_numpy(), point["sd"].to_numpy())[0] >= COVERED
    return float(np.array(json.loads(case.attrs["target"])["weights"])[hit].sum())


def _connected(case: xr.DataTree) -> bool:
    """Whether every branch runs into a reverse or a forward projection."""
    arcs = case["arcs"].to_dataset()
    branch, alpha = arcs["branch"].to_numpy(), arcs["alpha"].to_numpy()
    return set(branch) == set(branch[(alpha == 0) | (alpha == 1)])


def _case_findings(case: xr.DataTree) -> dict[str, Any]:
    best, ends, atlas = (case[name].to_dataset() for name in ("best", "ends", "atlas"))
    least = best["cover"].min("mode")
    start = ends.isel(end=ends["alpha"].to_numpy() == 0)
    status = [str(s) for s in start["status"].to_numpy()]
    minima_ = sum(s.endswith("minimum") for s in status)
    named = [_label(case, float(m), float(s)) for m, s in zip(best["mean"], best["sd"], strict=True)]
    covers_from, alone_from = _covers_from(case), _alone_from(case)
    exchange = _critical(case, "exchange")
    jump = exchange.isel(point=0) if exchange.sizes["point"] else None
    before, after = (
        (float(_covers(case, jump[f"{p}mean"].to_numpy(), jump[f"{p}sd"].to_numpy()).min()) for p in ("", "partner_"))
        if jump is not None
        else (None, None)
    )
    return {
        "title": case.attrs["title"],
        "short": case.attrs["short"],
        "n_minima": minima_,
        "n_saddles": status.count("saddle"),
        "certificate": case.attrs["certificate"],
        "exchange": None if jump is None else estimate_of(jump, "alpha"),
        "exchange_divergence": None if jump is None else estimate_of(jump, "divergence"),
        "exchange_price": None if jump is None else price(float(jump["alpha"]), _held(case, jump)),
        "n_exchanges": int(exchange.sizes["point"]),
        "covers_from": covers_from,
        "alone_from": alone_from,
        "start_label": named[0],
        "start_ties": int(best["ties"][0]),
        "members": dict(zip([f"{a:g}" for a in best["alpha"].to_numpy()], named, strict=True)),
        "start_cover": float(least[0]),
        "end_cover": float(least[-1]),
        "cover_before": before,
        "cover_after": after,
        "events": _events(case),
        "n_folds": int(_critical(case, "fold").sizes["point"]),
        "atlas": {
            "target": case.attrs["short"],
            "alphas": str(atlas.sizes["alpha"]),
            "points": f"{int(atlas['found'].sum())} ({int(atlas['minima'].sum())} + {int(atlas['saddles'].sum())})",
            # Points where the divergence is flat are none, so they do not count.
            "complete": bool((atlas["minima"] - atlas["saddles"] == 1).all()),
            "difference": _bound(float(atlas["difference"].max())),
            "gap": float(ends["gap"].max()),
            "extrapolated": _bound(float(ends["extrapolated"].max())),
        },
        "flat": int(atlas["flat"].sum()),
        "flat_at": _list(atlas["alpha"].to_numpy()[atlas["flat"].to_numpy() > 0]),
        "connected": _connected(case),
        "agrees": bool(atlas["difference"].max() < 1e-6),
        "meets": bool(ends["extrapolated"].max() < 1e-6),
    }


def _bound(value: float) -> str:
    """A difference that rounding dominates, as a power of ten that it does not exceed."""
    if not np.isfinite(value):
        return "not matched"
    exponent = int(np.ceil(np.log10(max(value, 1e-15))))
    return f"< 10^{str(exponent).replace('-', '−')}^"


def _correlated_findings(case: xr.DataTree) -> dict[str, Any]:
    data = case["projections"].to_dataset()
    difference = np.abs((data["variance"] - data["theory"]).to_numpy())
    half = data.sel(alpha=0.5, method="nearest")
    matched = float(half["alpha"]) == 0.5
    return {
        "rho": float(case.attrs["rho"]),
        "low": float(mean_field_variance(np.array([0.0]), RHO)[0]),
        "middle": float(mean_field_variance(np.array([0.5]), RHO)[0]),
        "n": int(data.sizes["alpha"]),
        "difference": _bound(float(difference.max())),
        "agrees": bool(difference.max() < 1e-9),
        "one_point": bool((data["points"] == 1).all()),
        "complete": bool((data["certificate"] == "complete").all()),
        "entropy_gap": _bound(abs(float(half["entropy_gap"]))) if matched else None,
        "entropy_low": float(data["entropy_gap"][0]),
        "entropy_high": float(data["entropy_gap"][-1]),
    }


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    dict
        One entry per case, and ``question``, ``answer``, tables and sentences across cases.
    """
    cases = {case.name: _case_findings(case) for case in _mixtures(results) if case.name}
    below, above = _divide(results)
    bimodal, unequal, trimodal = (cases[case.name] for case in CASES)
    return {
        "question": QUESTION,
        "answer": _answer(cases),
        **cases,
        CORRELATED: _correlated_findings(case_of(results, CORRELATED)),
        "settings": json.loads(results.attrs["settings"]),
        "edge": EDGE,
        "covered": COVERED,
        "below": below,
        "above": above,
        "clear": below < COVERED / 3 and above > 3 * COVERED,
        "table": [_row(case) for case in cases.values()],
        "events": [event for case in cases.values() for event in case["events"]],
        "atlas": [case["atlas"] for case in cases.values()],
        "all_complete": all(case["atlas"]["complete"] and case["certificate"] == "complete" for case in cases.values()),
        "all_connected": all(case["connected"] for case in cases.values()),
        "flat_sentence": _flat_sentence(cases),
        "all_agree": all(case["agrees"] and case["meets"] for case in cases.values()),
        "sentences": {name: _sentence(case) for name, case in cases.items()},
        "outer_sentence": _outer_sentence(bimodal, trimodal),
        "order_sentence": _order_sentence(bimodal, unequal),
    }


def _divide(results: xr.DataTree) -> tuple[float, float]:
    """The covers of the least covered mode, over all minima at all alphas, that are next to the threshold on either side."""
    shares = np.concatenate(
        [line.cover for case in _mixtures(results) for line in _bridge(case).lines if line.minimum]
    )  # fmt: skip
    return float(shares[shares < COVERED].max(initial=0.0)), float(shares[shares >= COVERED].min(initial=np.inf))


def _row(case: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": case["short"],
        "optima": f"{case['n_minima']} and {case['n_saddles']}",
        "start": "either mode" if case["start_ties"] > 1 else case["start_label"],
        "covers_from": "always"
        if case["covers_from"] is not None and not case["covers_from"].value
        else _alpha(case["covers_from"]),
        "alone_from": _alpha(case["alone_from"]),
        "start_cover": _two(case["start_cover"]),
        "cover_before": _two(case["cover_before"]),
        "cover_after": _two(case["cover_after"]),
        "end_cover": _two(case["end_cover"]),
    }


def _two(share: float | None) -> str | None:
    return None if share is None else num(share, digits=2)


def _alpha(estimate: Estimate | None) -> str | None:
    """An alpha with as many digits as its error licenses, four at most."""
    if estimate is None:
        return None
    return f"{estimate.value:.{int(np.clip(-np.ceil(np.log10(max(estimate.error, 1e-9))), 1, 4))}f}"


def _answer(cases: Mapping[str, Any]) -> str:
    jumps = [case for case in cases.values() if case["covers_from"] is not None and case["covers_from"].value > 0]
    always = [c["short"] for c in cases.values() if c["covers_from"] is not None and c["covers_from"].value == 0]
    text = ""
    if jumps:
        places = ", ".join(f"at α = {case['covers_from'].value:.3f} for {case['short']}" for case in jumps)
        how = "by a jump" if all(case["n_exchanges"] for case in jumps) else "somewhere between"
        text += f"On its way from reverse to forward KL the best Normal changes from one mode to all of them {how}: {places}. "
    if always:
        text += f"For {' and '.join(always)} it covers every mode at every α, reverse KL included. "
    alone = [case["alone_from"] for case in cases.values()]
    if all(estimate is not None for estimate in alone):
        last = max(estimate.value for estimate in alone)
        text += (
            "Below the jump α seeks; above it α covers, at first only in its best fit: narrow fits remain as local minima, so the start decides "
            f"as well. From α = {last:.3f} on, none is left for any of these targets: one optimum, and it covers every mode."
        )
    return text.strip()


def _sentence(case: Mapping[str, Any]) -> str:
    """What happens along alpha, for one target."""
    covers, alone = case["covers_from"], case["alone_from"]
    if covers is None:
        return "The global minimum does not cover every mode, not even at forward KL."
    if covers.value == 0:
        text = "The global minimum covers every mode for every α, reverse KL included."
        if alone is not None:
            text += f" Fits on single modes exist beside it, as local minima, until α = {_alpha(alone)}."
        return text
    which = (
        f"one of {case['start_ties']} equally good single-mode fits"
        if case["start_ties"] > 1
        else f"on the {case['start_label']}"
    )
    text = f"At reverse KL the global minimum is {which}; from α = {_alpha(covers)} on it covers every mode."
    if case["cover_before"] is not None and case["cover_before"] < COVERED <= case["cover_after"]:
        text += (
            f" It does so by a jump: the cover of the least covered mode goes from {case['cover_before']:.1g} to {case['cover_after']:.2f}, "
            "with nothing in between."
        )
    if alone is not None and alone.value > covers.value:
        text += (
            f" Between there and α = {_alpha(alone)}, single-mode fits are still local minima, in which a descent can end; beyond, "
            "one optimum is left."
        )
    return text


def _outer_sentence(two: Mapping[str, Any], three: Mapping[str, Any]) -> str:
    """Whether an outer mode of three ends where a mode of two does."""
    if two["alone_from"] is None or three["alone_from"] is None:
        return ""
    gap = abs(two["alone_from"].value - three["alone_from"].value)
    if gap > 1e-3:
        return ""
    return (
        f"The outer modes of three end at nearly the same α as the modes of two (the values differ by {num(gap, digits=1)}). Stationary points do not change when p is "
        "multiplied by a constant, so for a fit on an outer mode the weight of ⅓ instead of ½ is of no account, and the third mode is far away."
    )


def _flat_sentence(cases: Mapping[str, Any]) -> str:
    some = [case for case in cases.values() if case["flat"]]
    if not some:
        return ""
    places = " and ".join(f"α = {case['flat_at']} ({case['short']})" for case in some)
    return (
        f"At {places} a search also returned fits too narrow or too far away to overlap the target: there the divergence is flat to "
        "rounding, at its largest value, and has no optimum. They are left out."
    )


def _order_sentence(equal: Mapping[str, Any], unequal: Mapping[str, Any]) -> str:
    if equal["covers_from"] is None or unequal["covers_from"] is None:
        return ""
    later = unequal["covers_from"].value > equal["covers_from"].value
    return (
        f"Weight matters: with 0.7 of the mass on one mode, leaving out the other costs less, and the jump comes {'later' if later else 'earlier'}, at "
        f"α = {_alpha(unequal['covers_from'])} instead of {_alpha(equal['covers_from'])}."
    )
