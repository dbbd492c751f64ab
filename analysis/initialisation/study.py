"""Basins of attraction of reverse KL: where exact descent ends from each start, and where ADVI does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.integrate import solve_ivp

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.initialisation import QUESTION
from analysis.initialisation import marks as basins_fig
from analysis.parts import Part, runner
from analysis.reading import case_of
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Start, default_starts, fit_advi, spread
from models.families import FAMILIES
from models.graphs import single_threaded
from models.projections import Projection, minima, reverse_projections
from models.projections.objectives import Objective, reverse_objective
from models.quadrature import Estimate, gaussian_nodes
from models.targets import TARGETS, Target, normal_mixture

Array = NDArray[np.float64]
#: The starts: means in units of x, and natural logarithms of standard deviations.
MEANS, LOG_SDS = (-6.0, 6.0), (-2.5, 2.0)
#: A run that ends further than this above its minimum, in nats, has not arrived.
TOLERANCE = 0.02
#: PyMC's own initial standard deviation, softplus(0).
DEFAULT_LOG_SD = float(np.log(np.log(2.0)))
#: A start closer than this to a boundary, in (mean, log sd), is called near it.
NEAR = 0.5
NO_MINIMUM = -1

_NODES = 257
_CHUNK = 120  # thetas evaluated at once: more do not fit the processor's cache
_MAX_STEPS = 300
_STEP_TOLERANCE = 2e-3
_SPACING = 0.04  # between points of a boundary


class Settings(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
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

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, map_means=18, map_sds=12, start_means=6, start_sds=5, default_runs=6,
                steps=500, draws_per_step=20, pymc_steps=1200,
            )  # fmt: skip
        if effort == "full":
            return cls(
                seed=seed, map_means=60, map_sds=40, refinements=2, start_means=20, start_sds=12, repeats=4,
                default_runs=100, steps=3000,
            )  # fmt: skip
        return cls(seed=seed)


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


# --- exact descent ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """A diagonal metric on (mean, log sd): descent moves along -a(log sd) dF/dmean, -b(log sd) dF/dlog sd.

    Attributes
    ----------
    title : str
    rates : callable (n,) -> (n, 2), (n, 2)
        (a, b) at each log sd, and their derivatives.
    """

    title: str
    rates: Callable[[Array], tuple[Array, Array]]


def _plain_rates(log_sd: Array) -> tuple[Array, Array]:
    return np.ones((len(log_sd), 2)), np.zeros((len(log_sd), 2))


def _softplus_rates(log_sd: Array) -> tuple[Array, Array]:
    """Plain descent in (mean, rho) with sd = softplus(rho), seen in (mean, log sd): b = (dlog sd / drho)^2."""
    sd = np.exp(log_sd)
    slope = -np.expm1(-sd) / sd
    slope_derivative = np.exp(-sd) - slope
    one, zero = np.ones_like(sd), np.zeros_like(sd)
    return np.stack([one, slope**2], axis=1), np.stack([zero, 2 * slope * slope_derivative], axis=1)


def _natural_rates(log_sd: Array) -> tuple[Array, Array]:
    """Inverse Fisher information of the Normal: 1/sd^2 for the mean, 2 for log sd."""
    variance = np.exp(2 * log_sd)
    half, zero = np.full_like(variance, 0.5), np.zeros_like(variance)
    return np.stack([variance, half], axis=1), np.stack([2 * variance, zero], axis=1)


METRICS = {
    "plain": Metric("exact, (mean, log sd)", _plain_rates),
    "softplus": Metric("exact, ADVI's coordinates", _softplus_rates),
    "natural": Metric("exact, natural gradient", _natural_rates),
}


@dataclass(frozen=True, eq=False)
class Trap:
    """Neighbourhoods of minima that descent cannot leave.

    Within `radius` of minimum k the Hessian is positive definite, and on the rim the objective is at least `level`. So the
    points inside below that level form a set that descent, in whatever metric, does not leave, with one stationary point.

    Attributes
    ----------
    thetas : ndarray (K, 2)
    radii, levels : ndarray (K,)
        In the coordinates of theta; in nats.
    """

    thetas: Array
    radii: Array
    levels: Array

    def caught(self, theta: Array, value: Array) -> NDArray[np.int_]:
        """Index of the minimum whose trap holds each theta (n, 2) with value (n,); -1 where none does."""
        distance = np.linalg.norm(theta[:, None] - self.thetas, axis=2)
        inside = (distance < self.radii) & (value[:, None] < self.levels)
        return np.where(inside.any(axis=1), inside.argmax(axis=1), NO_MINIMUM)


def exact_objective(target: Target) -> Objective:
    """Reverse KL onto the Normal as a function of theta = (mean, log sd), on a quadrature rule."""
    whole = reverse_objective(FAMILIES["normal"], target, gaussian_nodes(1, size=_NODES))

    def in_parts(f: Callable[[Array], tuple[Array, ...]]) -> Callable[[Array], Any]:
        def evaluate(thetas: Array) -> tuple[Array, ...]:
            parts = [f(thetas[i : i + _CHUNK]) for i in range(0, len(thetas), _CHUNK)]
            return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

        return evaluate

    return Objective(in_parts(whole.gradient), in_parts(whole.hessian))


def traps(objective: Objective, exact: Sequence[Projection]) -> Trap:
    """Find for each minimum the largest of some radii within which the Hessian is positive definite."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii, levels = [], []
    for point in exact:
        for radius in (0.5, 0.35, 0.25, 0.15, 0.1, 0.05):
            rings = np.concatenate([point.theta + share * radius * circle for share in (1.0, 0.75, 0.5, 0.25)])
            value, _, hessian = objective.hessian(rings)
            if np.linalg.eigvalsh(hessian).min() > 0:
                break
        radii.append(radius)
        levels.append(value[: len(circle)].min())
    return Trap(np.array([p.theta for p in exact]), np.array(radii), np.array(levels))


@single_threaded
def descend(objective: Objective, metric: Metric, starts: Array, trap: Trap) -> tuple[NDArray[np.int_], Array]:
    """Follow the gradient flow from many starts at once until each is trapped by a minimum.

    The flow dtheta/dt = -M(theta) dF/dtheta is integrated by a linearly implicit pair of orders 2 and 3 (Shampine and
    Reichelt, 1997, ode23s) with exact Hessians, each start with its own step size. Such steps suit narrow valleys, and where
    the flow comes to rest they lengthen into Newton's. A step that raises F is refused.

    Parameters
    ----------
    objective : Objective
        Over theta = (mean, log sd).
    metric : Metric
    starts : ndarray (n, 2)
    trap : Trap

    Returns
    -------
    minimum : ndarray of int (n,)
        Index of the minimum; -1 if none was reached.
    ends : ndarray (n, 2)
        Where the integration stopped.
    """
    d, e32 = 1 / (2 + np.sqrt(2)), 6 + np.sqrt(2)
    theta = np.array(starts, dtype=float)
    minimum = np.full(len(theta), NO_MINIMUM)
    if not len(theta):
        return minimum, theta
    value, velocity, jacobian = _field(objective, metric, theta)
    step = 0.1 / (1 + np.linalg.norm(velocity, axis=1))
    for _ in range(_MAX_STEPS):
        minimum = np.where(minimum == NO_MINIMUM, trap.caught(theta, value), minimum)
        rows = np.flatnonzero((minimum == NO_MINIMUM) & (step > 1e-12))
        if not len(rows):
            break
        y, h, f0 = theta[rows], step[rows, None], velocity[rows]
        solve = partial(_solve, np.eye(2) - d * h[:, :, None] * jacobian[rows])
        k1 = solve(f0)
        f1 = _velocity(objective, metric, y + 0.5 * h * k1)
        k2 = solve(f1 - k1) + k1
        new = y + h * k2
        new_value, f2, new_jacobian = _field(objective, metric, new)
        k3 = solve(f2 - e32 * (k2 - f1) - 2 * (k1 - f0))
        error = np.abs(h / 6 * (k1 - 2 * k2 + k3)).max(axis=1) / _STEP_TOLERANCE
        finite = np.isfinite(error) & np.isfinite(new_value) & np.isfinite(new_jacobian).all(axis=(1, 2))
        good = finite & (error <= 1) & (new_value <= value[rows] + 1e-12)
        kept = rows[good]
        theta[kept], value[kept] = new[good], new_value[good]
        velocity[kept], jacobian[kept] = f2[good], new_jacobian[good]
        growth = 0.8 * np.where(finite, np.maximum(error, 1e-6), np.inf) ** (-1 / 3)
        step[rows] *= np.clip(np.where(good, growth, np.minimum(growth, 0.5)), 0.2, 4.0)
    return minimum, theta


def _solve(matrices: Array, right: Array) -> Array:
    (a, b), (c, d) = matrices.transpose(1, 2, 0)
    x, y = right.T
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular step is refused as not finite
        return np.stack([d * x - b * y, a * y - c * x], axis=1) / (a * d - b * c)[:, None]


def _velocity(objective: Objective, metric: Metric, theta: Array) -> Array:
    return -metric.rates(theta[:, 1])[0] * objective.gradient(theta)[1]


def _field(objective: Objective, metric: Metric, theta: Array) -> tuple[Array, Array, Array]:
    """Value (n,), velocity of descent (n, 2) and its Jacobian (n, 2, 2)."""
    value, gradient, hessian = objective.hessian(theta)
    rates, slopes = metric.rates(theta[:, 1])
    jacobian = -rates[:, :, None] * hessian
    jacobian[:, :, 1] -= slopes * gradient
    return value, -rates * gradient, jacobian


def boundary(objective: Objective, saddle: Projection, metric: Metric) -> Array:
    """The curve (n, 2) in (mean, log sd) from which descent leads to a saddle: the boundary between two basins.

    It is followed uphill from the saddle, both ways, until it leaves the box of starts.
    """
    _, _, hessian = objective.hessian(saddle.theta[None])
    rates = metric.rates(saddle.theta[1:])[0][0]
    # M H has the eigenvalues of the symmetric M^1/2 H M^1/2.
    root = np.sqrt(rates)
    direction = root * np.linalg.eigh(root[:, None] * hessian[0] * root)[1][:, 1]

    def uphill(_: float, theta: Array) -> Array:
        velocity = -_velocity(objective, metric, theta[None])[0]
        return np.asarray(velocity / np.linalg.norm(velocity))

    def outside(_: float, theta: Array) -> float:
        box = np.array([MEANS, LOG_SDS])
        return float(np.max([box[:, 0] - theta, theta - box[:, 1]]))

    outside.terminal = True  # type: ignore[attr-defined]
    halves = []
    for sign in (-1, 1):
        begin = saddle.theta + sign * 1e-4 * direction
        path = solve_ivp(uphill, (0, 40), begin, rtol=1e-6, atol=1e-8, events=outside, dense_output=True)
        halves.append(path.sol(np.linspace(0, path.t[-1], int(path.t[-1] / _SPACING) + 2)).T)
    return np.concatenate([halves[0][::-1], saddle.theta[None], halves[1]])


def cells(low: float, high: float, count: int) -> Array:
    """Centres of `count` equal cells that fill an interval."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _pairs(means: Array, log_sds: Array) -> Array:
    return np.stack(np.meshgrid(means, log_sds, indexing="ij"), axis=-1).reshape(-1, 2)


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
    labels = reached(_pairs(*axes)).reshape(shape)
    for _ in range(settings.refinements):
        mixed = _mixed(labels).repeat(2, axis=0).repeat(2, axis=1)
        labels = labels.repeat(2, axis=0).repeat(2, axis=1)
        axes = [cells(*bounds, count) for bounds, count in zip((MEANS, LOG_SDS), labels.shape, strict=True)]
        labels[mixed] = reached(_pairs(*axes).reshape(*labels.shape, 2)[mixed])
    return xr.DataArray(labels, {"map_mean": axes[0], "map_log_sd": axes[1]}, ("map_mean", "map_log_sd"))


def _mixed(labels: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Cells of which one of the eight neighbours has another label."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(labels, 1, mode="edge"), (3, 3))
    return np.asarray(windows.min(axis=(2, 3)) != windows.max(axis=(2, 3)))


# --- the computation -------------------------------------------------------------------------------------------------


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
        starts of ADVI, the minimum that exact descent reaches from each in three metrics, and the distance to the nearest
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

    drawn = {name: [boundary(objective, saddle, METRICS[name]) for saddle in saddles] for name in ("plain", "softplus")}
    curves = drawn["plain"]
    grid = _pairs(cells(*MEANS, settings.start_means), cells(*LOG_SDS, settings.start_sds))
    default = np.array([default_starts(target)[0].mean[0], DEFAULT_LOG_SD])
    tree = {
        "stationary": _stationary([*exact, *saddles], target),
        "map": xr.Dataset({"minimum": basin_map(settings, reached)}),
        "boundary": _curve_dataset(drawn),
        "starts": xr.Dataset(
            {
                "theta": (("start", "coordinate"), grid),
                "exact": (("metric", "start"), [reached(grid, metric) for metric in METRICS]),
                "distance": ("start", _distance(grid, curves)),
            },
            coords={"metric": list(METRICS), "coordinate": ["mean", "log_sd"]},
        ),
    }
    thetas = _advi_ends(target, settings, grid, default[0])
    flat = thetas.reshape(-1, 2)
    minimum = reached(flat)
    lowest = np.array([p.divergence.value for p in exact])
    # Without a minimum there is no gap.
    gap = np.where(minimum == NO_MINIMUM, np.nan, objective.gradient(flat)[0] - lowest[minimum])
    minimum, gap = minimum.reshape(thetas.shape[:2]), gap.reshape(thetas.shape[:2])
    split = len(grid) * settings.repeats
    coords = {"optimizer": list(OPTIMIZERS), "coordinate": ["mean", "log_sd"]}
    tree["runs"] = xr.Dataset(
        {
            name: (
                ("optimizer", "start", "repeat", "coordinate")[: 1 + values.ndim],
                _folded(values[:, :split], settings),
            )
            for name, values in (("theta", thetas), ("minimum", minimum), ("gap", gap))
        },
        coords=coords,
    )
    tree["pymc_start"] = xr.Dataset(
        {
            "theta": (("optimizer", "run", "coordinate"), thetas[:, split:]),
            "minimum": (("optimizer", "run"), minimum[:, split:]),
            "gap": (("optimizer", "run"), gap[:, split:]),
            "start": ("coordinate", default),
            "exact": ("metric", [int(reached(default[None], metric)[0]) for metric in METRICS]),
            "margin": ("boundary", [_margin(default, drawn[name]) for name in drawn]),
        },
        coords={**coords, "metric": list(METRICS), "boundary": list(drawn)},
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


def _stationary(points: Sequence[Projection], target: Target) -> xr.Dataset:
    return xr.Dataset(
        {
            "mean": ("point", [float(p.params["mu"]) for p in points]),
            "sd": ("point", [float(p.params["sigma"]) for p in points]),
            "kl": ("point", [p.divergence.value for p in points]),
            "kl_error": ("point", [p.divergence.error for p in points]),
            "status": ("point", [p.status for p in points]),
            "label": ("point", [_label(p, target) for p in points]),
        }
    )


def _label(point: Projection, target: Target) -> str:
    """Say what a stationary point covers: a fit nearer in spread to the whole target than to a mode covers all of it."""
    if point.status == "saddle":
        return "saddle"
    narrow = min(float(s[0, 0]) for _, s in target.scales)
    if float(point.params["sigma"]) > np.sqrt(narrow * spread(target)):
        return "both modes"
    centre = np.mean([m[0] for m, _ in target.scales])
    return "left mode" if float(point.params["mu"]) < centre else "right mode"


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


def _curves(case: xr.DataTree, metric: str) -> list[Array]:
    vertices = case["boundary"].to_dataset()
    points = np.stack([vertices["mean"].to_numpy(), vertices["log_sd"].to_numpy()], axis=1)
    mine, saddle = vertices["metric"].to_numpy() == metric, vertices["saddle"].to_numpy()
    return [points[mine & (saddle == i)] for i in np.unique(saddle[mine])]


def _distance(thetas: Array, curves: Sequence[Array]) -> Array:
    """Distance (n,) in (mean, log sd) to the nearest boundary."""
    if not curves:
        return np.full(len(thetas), np.inf)
    return np.asarray(np.linalg.norm(thetas[:, None] - np.concatenate(curves), axis=2).min(axis=1))


def _margin(theta: Array, curves: Sequence[Array]) -> float:
    """How far the mean can move at this log sd before it meets a boundary."""
    crossings = [
        a[0] + (theta[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
        for curve in curves
        for a, b in pairwise(curve)
        if (a[1] - theta[1]) * (b[1] - theta[1]) < 0
    ]
    return float(min((abs(mean - theta[0]) for mean in crossings), default=np.inf))


def _folded(values: NDArray[Any], settings: Settings) -> NDArray[Any]:
    """Runs from the grid (optimizer, run, ...) as (optimizer, start, repeat, ...)."""
    return values.reshape(len(values), -1, settings.repeats, *values.shape[2:])


def _advi_ends(target: Target, settings: Settings, grid: Array, default_mean: float) -> Array:
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


# --- figures ---------------------------------------------------------------------------------------------------------


def _panel(case: xr.DataTree, optimizer: str, title: str) -> basins_fig.BasinPanel:
    stationary = case["stationary"].to_dataset()
    points = np.stack(
        [stationary["mean"].to_numpy(), np.log(stationary["sd"].to_numpy()), stationary["kl"].to_numpy()], axis=1
    )
    labels = [str(label) for label in stationary["label"].to_numpy()]
    count = sum(label != "saddle" for label in labels)
    return basins_fig.BasinPanel(
        title=title,
        labels=tuple(labels[:count]),
        minima=points[:count],
        saddles=points[count:],
        regions=case["map"].to_dataset()["minimum"],
        curves=_curves(case, "plain"),
        own_curves=_curves(case, "softplus"),
        starts=case["starts/theta"].to_numpy(),
        ends=case["runs/minimum"].sel(optimizer=optimizer).to_numpy(),
        arrived=_arrived(case, optimizer),
        exact=case["starts/exact"].sel(metric="plain").to_numpy(),
        pymc_start=case["pymc_start/start"].to_numpy(),
    )


def _arrived(case: xr.DataTree, optimizer: str) -> NDArray[np.bool_]:
    """Whether each run (start, repeat) came within the tolerance of its minimum."""
    return np.asarray(case["runs/gap"].sel(optimizer=optimizer).to_numpy() <= TOLERANCE)


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
        ``basins``, ``agreement``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {"basins": _basins(results, style), "agreement": _agreement(results, style)}


def _basins(results: xr.DataTree, style: Style) -> Drawing:
    cases = [case_of(results, name) for name in results.children]
    figure = basins_fig.basins([_panel(case, "adam", case.attrs["title"]) for case in cases], style)
    shares = "; ".join(
        f"{case.attrs['short']}: {_listed({k: f'{100 * v.value:.0f}%' for k, v in _map_shares(case).items()})}"
        for case in cases
    )
    return Drawing(
        figure,
        alt=(
            "Maps over the mean and the standard deviation at the start, one for each target. Lines divide each into the basins of "
            f"the minima of reverse KL, which are marked by filled circles; crosses on the lines are saddles. Shares of the map: {shares}. "
            "Small markers at a grid of starts point to the mode that ADVI reached from there. A star marks the start of PyMC."
        ),
        caption=(
            "Where [reverse]{.reverse} KL leads, from each start. Each tint is the basin of one minimum (circle): descent along the exact "
            "gradient in (mean, log standard deviation) ends there. The lines between basins run into saddles (crosses). Small markers show "
            "where the first ADVI run (Adam, falling rate) from that start ended: triangles point to the mode, squares mean both modes."
        ),
    )


def _agreement(results: xr.DataTree, style: Style) -> Drawing:
    panels = [
        _panel(case_of(results, name), optimizer, f"{case_of(results, name).attrs['short']}: {title}")
        for name in results.children
        for optimizer, title in OPTIMIZERS.items()
    ]
    counts = "; ".join(
        f"{panel.title}, {int((panel.ends != panel.exact[:, None]).sum())} of {panel.ends.size}" for panel in panels
    )
    return Drawing(
        basins_fig.agreement(panels, style),
        alt=(
            "Four maps of starts, two targets by two optimisers, with the boundaries of exact descent as solid lines and those of exact "
            "descent in ADVI's coordinates as dashed lines. Large markers are starts from which ADVI ends elsewhere than exact descent. "
            f"Runs that do: {counts}."
        ),
        caption=(
            "Starts from which ADVI ends elsewhere than exact descent in (mean, log standard deviation): large markers, which say where it "
            "ends; open ones if only some of its runs do. Dots: all runs end as exact descent does (open: in its basin, but at least one "
            f"was still more than {TOLERANCE} nats above the minimum when it stopped). Dashed: boundaries of exact descent in ADVI's own "
            "coordinates, where standard deviations are softplus of a free number."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def _listed(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{value} {name}" for name, value in parts.items())


def _minimum_labels(case: xr.DataTree) -> list[str]:
    return [str(label) for label in case["stationary/label"].to_numpy() if label != "saddle"]


def _map_shares(case: xr.DataTree) -> dict[str, Estimate]:
    """Share of the box in each basin; the error is half of the share of the cells that lie on its boundary."""
    labels = case["map/minimum"].to_numpy()
    edge = _mixed(labels)
    return {
        name: Estimate(float((labels == k).mean()), float((edge & (labels == k)).mean() / 2), "quadrature")
        for k, name in enumerate(_minimum_labels(case))
    }


def _over_noise(hits: NDArray[np.bool_]) -> Estimate:
    """Mean of hits (start, repeat), with its standard error over the noise of the runs; the starts are fixed."""
    variances = hits.var(axis=1, ddof=1) / hits.shape[1]
    return Estimate(float(hits.mean()), float(np.sqrt(variances.sum()) / len(hits)), "draws")


def _percent(share: Estimate | None) -> str | None:
    if share is None:
        return None
    error = f"\u00a0±\u00a0{100 * share.error:.1f}" if share.kind == "draws" else ""
    return f"{100 * share.value:.1f}{error}"


def _mean(hits: NDArray[np.bool_]) -> Estimate:
    """Share of hits (start, repeat); a single column is exact."""
    return _over_noise(hits) if hits.shape[1] > 1 else Estimate(float(hits.mean()), 0.0, "exact")


def _shares(reached: NDArray[np.int_], labels: Sequence[str]) -> dict[str, Estimate]:
    """Share of runs (start, repeat) that reached each minimum."""
    return {name: _mean(reached == k) for k, name in enumerate(labels)}


_COLUMNS = {"left": "left mode", "both": "both modes", "right": "right mode"}


def _row(case: xr.DataTree, how: str, reached: NDArray[np.int_], arrived: float | None) -> dict[str, Any]:
    shares = _shares(reached, _minimum_labels(case))
    exact = case["starts/exact"]
    alike = {name: _mean(reached == exact.sel(metric=name).to_numpy()[:, None]) for name in ("plain", "softplus")}
    return {
        "target": case.attrs["short"],
        "how": how,
        **{key: _percent(shares.get(name)) for key, name in _COLUMNS.items()},
        "same": _percent(alike["plain"]),
        "same_own": _percent(alike["softplus"]),
        "arrived": None if arrived is None else f"{100 * arrived:.0f}",
    }


def _optimizer_findings(case: xr.DataTree, optimizer: str) -> dict[str, Any]:
    exact = case["starts/exact"]
    reached = case["runs/minimum"].sel(optimizer=optimizer).to_numpy()
    gap = case["runs/gap"].sel(optimizer=optimizer).to_numpy()
    arrived = _arrived(case, optimizer)
    same = {name: reached == exact.sel(metric=name).to_numpy()[:, None] for name in METRICS}
    differs = ~same["plain"]
    distance = np.broadcast_to(case["starts/distance"].to_numpy()[:, None], differs.shape)
    return {
        "same": _over_noise(same["plain"]),
        "same_own": _over_noise(same["softplus"]),
        "same_natural": _over_noise(same["natural"]),
        "runs": int(reached.size),
        "differ": int(differs.sum()),
        "explained": int((differs & same["softplus"]).sum()),
        "near": int((differs & (distance < NEAR)).sum()),
        "farthest": float(distance[differs].max()) if differs.any() else 0.0,
        "noisy": int((reached.min(axis=1) != reached.max(axis=1)).sum()),
        "arrived": float(arrived.mean()),
        "n_arrived": int(arrived.sum()),
        "differ_arrived": int((differs & arrived).sum()),
        "lost": int((reached == NO_MINIMUM).sum()),
        "median_gap": float(np.nanmedian(gap)),
        "largest_gap": float(np.nanmax(gap)),
    }


def _differences(found: Mapping[str, Any]) -> str:
    """How far ADVI departs from exact descent, and what explains it."""
    if not found["differ"]:
        return f"All {found['runs']} runs ended where exact descent ends."
    most = found["explained"] > found["differ"] / 2
    cause = (
        "so most of the difference is what a change of coordinates does without any noise"
        if most
        else "so the coordinates alone do not explain the difference"
    )
    repeats = (
        f"From {found['noisy']} starts the repeats ended in different minima."
        if found["noisy"]
        else "From every start all repeats ended in the same minimum."
    )
    return (
        f"{found['differ']} of {found['runs']} runs ended elsewhere than exact descent in (mean, log standard deviation); {found['explained']} "
        f"of these ended where exact descent in ADVI's own coordinates ends, {cause}. {found['near']} of them started within {NEAR} of a "
        f"boundary, and the farthest one {found['farthest']:.2g} away. {repeats}"
    )


def _start_findings(case: xr.DataTree) -> dict[str, Any]:
    start, labels = case["pymc_start"].to_dataset(), _minimum_labels(case)
    exact = [labels[k] if k >= 0 else "no minimum" for k in start["exact"].to_numpy()]
    mean, log_sd = start["start"].to_numpy()
    counts = {
        name: {label: int((start["minimum"].sel(optimizer=name) == k).sum()) for k, label in enumerate(labels)}
        for name in OPTIMIZERS
    }
    return {
        "target": case.attrs["short"],
        "mean": float(mean),
        "sd": float(np.exp(log_sd)),
        "exact": exact[0],
        "place": {"left mode": "the left mode", "right mode": "the right mode"}.get(exact[0], exact[0]),
        "exact_own": exact[1],
        "margin": float(start["margin"][0]),
        "margin_own": float(start["margin"][1]),
        "runs": int(start.sizes["run"]),
        "with": {name: count.get(exact[0], 0) for name, count in counts.items()},
        **{name: _listed({k: str(v) for k, v in count.items() if v}) or "none" for name, count in counts.items()},
    }


def _case_findings(case: xr.DataTree) -> dict[str, Any]:
    stationary = case["stationary"].to_dataset()
    exact = case["starts/exact"]
    runs = case["runs/minimum"]
    found = {name: _optimizer_findings(case, name) for name in OPTIMIZERS}
    table = [_row(case, METRICS[name].title, exact.sel(metric=name).to_numpy()[:, None], None) for name in METRICS]
    table += [
        _row(case, f"ADVI, {title}", runs.sel(optimizer=name).to_numpy(), found[name]["arrived"])
        for name, title in OPTIMIZERS.items()
    ]
    labels = _minimum_labels(case)
    moved = {name: int((exact.sel(metric=name) != exact.sel(metric="plain")).sum()) for name in ("softplus", "natural")}
    return {
        "title": case.attrs["title"],
        "short": case.attrs["short"],
        "minima": [
            {
                "target": case.attrs["short"],
                "label": labels[k],
                "mean": float(stationary["mean"][k]) if abs(stationary["mean"][k]) > 5e-7 else 0.0,
                "sd": float(stationary["sd"][k]),
                "kl": Estimate(float(stationary["kl"][k]), float(stationary["kl_error"][k]), "quadrature"),
                "status": str(stationary["status"][k].item()),
                "share": _percent(_map_shares(case)[labels[k]]),
            }
            for k in range(len(labels))
        ],
        "n_minima": len(labels),
        "n_saddles": int((stationary["status"] == "saddle").sum()),
        "certificate": case.attrs["certificate"],
        "map_shares": _map_shares(case),
        "map_error": max(share.error for share in _map_shares(case).values()),
        "map_lost": int((case["map/minimum"] == NO_MINIMUM).sum()),
        "starts": int(exact.sizes["start"]),
        "moved": moved,
        "table": table,
        "differences": {name: _differences(found[name]) for name in OPTIMIZERS},
        "pymc_start": _start_findings(case),
        **found,
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
    settings = json.loads(results.attrs["settings"])
    cases = {name: _case_findings(case_of(results, name)) for name in results.children}
    bimodal, unequal = cases["bimodal"], cases["unequal_weights"]
    shares = _listed({k: f"{100 * v.value:.0f}%" for k, v in bimodal["map_shares"].items()})
    start = bimodal["pymc_start"]
    answer = (
        f"ADVI with Adam ends in the same minimum as exact descent from the same start in {_both(cases, 'adam', 'same')} of its runs (equal, "
        f"unequal modes), and as exact descent in ADVI's own coordinates in {_both(cases, 'adam', 'same_own')}. "
        f"Of the starts considered on two equal modes, exact descent takes these shares to the minima of reverse KL: {shares}. With PyMC's defaults "
        f"{_both(cases, 'pymc', 'arrived')} of the runs came within {TOLERANCE} nats of a minimum in {settings['pymc_steps']:,} steps. PyMC's own start lies in the basin of "
        f"*{start['place']}* for equal modes; {start['with']['adam']} of {start['runs']} runs with Adam and {start['with']['pymc']} of "
        f"{start['runs']} with PyMC's defaults ended there."
    )
    lost = sum(case["map_lost"] + sum(case[name]["lost"] for name in OPTIMIZERS) for case in cases.values())
    return {
        "question": QUESTION,
        "answer": answer,
        **cases,
        "settings": settings,
        "tolerance": TOLERANCE,
        "near": NEAR,
        "box": {"mean": MEANS[1], "sd_low": float(np.exp(LOG_SDS[0])), "sd_high": float(np.exp(LOG_SDS[1]))},
        "minima": [row for case in cases.values() for row in case["minima"]],
        "shares": [row for case in cases.values() for row in case["table"]],
        "pymc_starts": [case["pymc_start"] for case in cases.values()],
        "start_sentence": _start_sentence(start),
        "unequal_sentence": _start_sentence(unequal["pymc_start"]),
        "default_sentence": _default_sentence(cases),
        "lost": lost,
    }


def _both(cases: Mapping[str, Any], optimizer: str, key: str) -> str:
    values = [case[optimizer][key] for case in cases.values()]
    return " and ".join(f"{100 * (v.value if isinstance(v, Estimate) else v):.0f}%" for v in values)


def _start_sentence(start: Mapping[str, Any]) -> str:
    text = (
        f"Exact descent goes from PyMC's start (mean {start['mean']:.2g}, standard deviation {start['sd']:.3f}) to the minimum on "
        f"{start['place']}, and would still do so if the mean were moved by anything less than {start['margin']:.2g} (in ADVI's own "
        f"coordinates, {start['margin_own']:.2g}). Of {start['runs']} runs from there, {start['with']['adam']} with Adam and "
        f"{start['with']['pymc']} with PyMC's defaults ended there too."
    )
    if start["with"]["adam"] < start["runs"] / 2 < start["with"]["pymc"]:
        text += (
            " The likely reason is Adam's scaling: where a gradient is mostly noise, dividing it by its own size turns the noise into "
            "steps as long as any other, and the mean walks out of the basin."
        )
    return text


def _default_sentence(cases: Mapping[str, Any]) -> str:
    """What PyMC's defaults reach; agreement of runs that have hardly moved is no merit."""
    arrived, differ = (sum(case["pymc"][key] for case in cases.values()) for key in ("n_arrived", "differ_arrived"))
    runs = sum(case["pymc"]["runs"] for case in cases.values())
    if arrived > 0.9 * runs:
        return f"{arrived} of {runs} runs came within {TOLERANCE} nats of their minimum, and {differ} of these are not where exact descent ends."
    return (
        f"Only {arrived} of {runs} runs came within {TOLERANCE} nats of a minimum; {differ} of these are in another minimum than exact descent. "
        "The other runs had stopped on their way. They are assigned to the minimum to which exact descent leads from where they stopped, so "
        "their agreement with exact descent says little: a run that has not moved agrees by construction."
    )
