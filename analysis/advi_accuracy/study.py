"""How far ADVI stops from the optimum it is near: by optimiser, rate, draws and steps, and why PyMC's defaults stay away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import root
from scipy.special import expit

from analysis.advi_accuracy import QUESTION
from analysis.advi_accuracy.truth import CASES, Case, Truth, labels_of
from analysis.judged import at_rest
from analysis.parts import Part, StudySettings, runner
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Schedule, Start, default_starts, fit_advi, spread
from models.advi.runs import Gradient, Noise, Optimizer, Steps, draw_noise, noise_steps
from models.graphs import single_threaded
from models.projections import Projection
from models.projections.objectives import reverse_objective
from models.projections.optimise import descend
from models.quadrature import Nodes, gaussian_nodes, sobol_nodes
from models.targets import Target

Array = NDArray[np.float64]
#: Within tolerance: nats, and relative error of the standard deviations.
NATS, RELATIVE = 1e-3, 0.01
#: Gaps that a run is asked to reach, in nats.
GOALS = (1e-2, 1e-3)
#: Of the runs, how many must have reached a goal before its cost is counted.
SHARE = 0.9
#: PyMC's ``adagrad_window`` when nothing is said.
PYMC_WINDOW, PYMC_RATE, PYMC_EPSILON = 10, 0.001, 0.1
#: Its settings with the same length of step and a bias a hundred times smaller.
WIDE_RATE, WIDE_WINDOW = 0.01, 1000


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    repeats : int
        Runs from each start with each method.
    restarts, other_restarts : int
        Runs whose own evidence is compared with the truth: on the bimodal target, and on each of the others.
    pymc_steps : int
        ADVI with PyMC's defaults.
    adam_steps, adam_draws : int
        ADVI with PyMC's gradient and Adam, at a constant and at a falling rate.
    our_steps : int
        Of a round of this project's default.
    cost_runs, cost_steps : int
        Runs from each of two starts, and about their steps with ten draws, in the study of cost.
    copies, long_steps, wide_steps : int
        Runs from each optimum, and their steps with PyMC's defaults and with a wide window.
    replicates : int
        Sets of fixed draws of each size.
    plane : bool
        Whether the target in the plane is among those studied.
    """

    repeats: int = Field(default=5, ge=2)
    restarts: int = Field(default=200, ge=10)
    other_restarts: int = Field(default=100, ge=4)
    pymc_steps: int = Field(default=10_000, ge=100)
    adam_steps: int = Field(default=1000, ge=100)
    adam_draws: int = Field(default=30, ge=1)
    our_steps: int = Field(default=1000, ge=100)
    cost_runs: int = Field(default=12, ge=2)
    cost_steps: int = Field(default=10_000, ge=100)
    copies: int = Field(default=40, ge=4)
    long_steps: int = Field(default=60_000, ge=1000)
    wide_steps: int = Field(default=4000, ge=1000)
    replicates: int = Field(default=20, ge=4)
    plane: bool = True

    quick: ClassVar = {
        "repeats": 2, "restarts": 20, "other_restarts": 5, "pymc_steps": 400, "adam_steps": 150,
        "adam_draws": 20, "our_steps": 200, "cost_runs": 4, "cost_steps": 150, "copies": 10, "long_steps": 1000,
        "wide_steps": 1000, "replicates": 4, "plane": False,
    }  # fmt: skip
    full: ClassVar = {
        "repeats": 20, "restarts": 1000, "other_restarts": 1000, "adam_steps": 3000, "cost_runs": 100,
        "cost_steps": 30_000, "copies": 200, "long_steps": 200_000, "wide_steps": 30_000, "replicates": 200,
    }  # fmt: skip


_BIMODAL = CASES[0]

#: How ADVI is optimised.
HOW = {
    "pymc": "PyMC's defaults",
    "constant": "Adam, constant rate",
    "falling": "Adam, falling rate",
    "ours": "this project's default",
}


#: Draws a step in the study of cost, for each kind: PyMC's defaults, and Adam at constant rates, at a rate that falls, and at one that
#: falls with the path gradient and stratified draws.
COST_DRAWS = {"default": (1, 10), "constant": (1, 10), "falling": (10, 100), "path": (10, 100)}
#: Rates of Adam that are held constant, in PyMC's units.
CONSTANT_RATES = (0.1, 0.03, 0.01, 0.003)
#: A rate that falls along half a cosine to a thousandth of it.
FALLING_RATE, FALLEN = 0.1, 1e-3
LENGTHS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)

#: Sizes of sets of fixed draws, and the two ways to draw them.
SIZES = (10, 30, 100, 300, 1000)
KINDS: Mapping[str, Noise] = {"independent": "independent", "stratified": "latin hypercube"}
#: Targets that are fitted to fixed draws.
FIXED = ("bimodal", "normal")
#: Windows of the normaliser, and draws in a gradient, for which the bias is predicted.
WINDOWS, REST_DRAWS = (3, 10, 30, 100, 300, 1000), (1, 10, 100)


# --- runs from the usual starts, and their own evidence ---------------------------------------------------------------


def _schedules(settings: Settings) -> dict[str, Schedule]:
    adam = replace(PYMC_ADAM, steps=settings.adam_steps, draws_per_step=settings.adam_draws)
    return {
        "pymc": replace(PYMC_DEFAULT, steps=settings.pymc_steps),
        "constant": replace(adam, learning_rate=0.01, final_learning_rate=0.01),
        "falling": adam,
        "ours": Schedule(steps=settings.our_steps),
    }


def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """ADVI from the usual starts by each method, and from dispersed starts by this project's default.

    Returns
    -------
    xarray.DataTree
        ``minima``, the exact ones, from left to right. ``runs``, over (how, run): the ``start``, what `Truth.judge` says of the
        end, and what the run says of itself (``own_gap``, ``at_rest``). ``evidence``: the same of runs from starts spread widely in mean and in standard deviation.
    """
    target, truth = case.target, Truth.of(case)
    starts = [
        replace(start, label=f"{start.label} · {i}")
        for start in default_starts(target)
        for i in range(settings.repeats)
    ]
    count = settings.restarts if case.name == "bimodal" else settings.other_restarts
    rng = np.random.default_rng([settings.seed, 11])
    places = np.array([m for m, _ in target.scales]).mean(axis=0)
    wide = [
        Start(str(i), places + spread(target) * rng.uniform(-2, 2, target.dim),
              spread(target) * np.exp(rng.uniform(np.log(0.1), np.log(1.5), target.dim)))
        for i in range(count)
    ]  # fmt: skip
    judged = []
    for i, (how, schedule) in enumerate(_schedules(settings).items()):
        # A restart gives the same numbers in any company, and one batch costs hardly more than another.
        chosen = [*starts, *wide] if how == "ours" else starts
        fit = fit_advi(target, starts=chosen, seed=settings.seed + i, schedule=schedule, draws=2)
        judged.append(_judged(fit, truth))
    evidence = judged[-1].isel(run=slice(len(starts), None))
    runs = xr.concat([j.isel(run=slice(len(starts))) for j in judged], dim="how").assign_coords(how=list(HOW))
    runs["start"] = ("run", [start.label.split(" · ")[0] for start in starts])
    result = xr.DataTree.from_dict({"minima": truth.dataset(case), "runs": runs, "evidence": evidence})
    result.attrs = {"title": case.title, "short": case.short, "target": json.dumps(dict(target.spec)),
                    "target_name": target.name}  # fmt: skip
    return result


def _judged(fit: xr.DataTree, truth: Truth) -> xr.Dataset:
    restarts = fit["restarts"].to_dataset()
    data = truth.judge(restarts["mean"].to_numpy(), restarts["sd"].to_numpy())
    return data.assign(own_gap=("run", restarts["gap"].to_numpy()), at_rest=("run", at_rest(restarts)))


# --- cost --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class How:
    """How runs of one target in one dimension are stepped, all in one batch."""

    optimizer: Optimizer
    gradient: Gradient
    noise: Noise
    draws: int
    window: int = PYMC_WINDOW
    rate: float = PYMC_RATE


@single_threaded
def trajectories(
    target: Target, how: How, start: Array, *, high: Array, low: Array, checkpoints: Sequence[int], seed: int
) -> Array:
    """Follow R runs and record where they are on the way.

    Parameters
    ----------
    target : Target
        One-dimensional.
    how : How
    start : ndarray (R, 2)
        Means and sds.
    high, low : ndarray (R,)
        Learning rates between which Adam falls along half a cosine, in PyMC's units.
    checkpoints : sequence of int
        Numbers of steps, ascending; the last is the horizon.
    seed : int

    Returns
    -------
    ndarray (C, R, 2)
        Means and sds at the checkpoints.
    """
    steps = Steps(
        target.log_density, start[:, :1], np.log(np.expm1(start[:, 1:])), optimizer=how.optimizer, gradient=how.gradient,
        steps=checkpoints[-1], high=high, low=low, window=how.window, rate=how.rate,
    )  # fmt: skip
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(start))]
    found, done = [], 0
    for goal in checkpoints:
        while done < goal:
            count = min(noise_steps(how.draws, 1), goal - done)
            steps.advance(draw_noise(generators, count, how.draws, 1, how.noise))
            done += count
        found.append(np.concatenate([steps.mean, np.logaddexp(0, steps.raw)], axis=1))
    return np.array(found)


def _checkpoints(last: int, first: int = 30) -> list[int]:
    """Numbers of steps, evenly spaced on a log scale, up to the last."""
    return sorted({round(v) for v in np.geomspace(min(first, last), last, 1 + int(6 * np.log10(last / first)))})


_OFFSETS = {"default": 0, "constant": 200, "falling": 400, "path": 600}  # of random streams


def run_cost(settings: Settings) -> xr.DataTree:
    """Gap against gradient draws on two modes, from PyMC's start and from one at a mode.

    Curves at a constant rate are looked at on the way; of those whose rate falls, each length is a run of its own.

    Returns
    -------
    xarray.DataTree
        Over (curve, checkpoint, run): ``gap``, with ``cost`` (steps times draws) over (curve, checkpoint), nan where a curve has
        fewer checkpoints; ``kind``, ``draws`` and ``rate`` of each curve.
    """
    target, truth = _BIMODAL.target, Truth.of(_BIMODAL)
    starts = np.repeat([[0.0, np.log(2.0)], [-3.0, np.log(2.0)]], settings.cost_runs, axis=0)
    found: list[tuple[str, int, float, list[int], Array]] = []
    for kind, draws in ((kind, draws) for kind, some in COST_DRAWS.items() for draws in some):
        last = round(3 * settings.cost_steps / np.sqrt(draws))
        how = How("adagrad_window" if kind == "default" else "adam", *_ESTIMATORS.get(kind, _PYMCS), draws)
        rates = {"default": (PYMC_RATE,), "constant": CONSTANT_RATES}.get(kind, (FALLING_RATE,))
        high, low = np.repeat(rates, len(starts)), 1.0 if kind in ("default", "constant") else FALLEN
        points = _checkpoints(last) if low == 1 else [length for length in LENGTHS if length <= last] or [last]
        place = np.concatenate([
            trajectories(target, how, np.tile(starts, (len(rates), 1)), high=high, low=low * high, checkpoints=way,
                         seed=1000 * settings.seed + _OFFSETS[kind] + draws)
            for way in ([points] if low == 1 else [[length] for length in points])
        ])  # fmt: skip
        found += [(kind, draws, rate, points, part)
                  for rate, part in zip(rates, np.split(place, len(rates), axis=1), strict=True)]  # fmt: skip
    gap = np.full((len(found), max(len(points) for *_, points, _ in found), len(starts)), np.nan)
    cost = np.full(gap.shape[:2], np.nan)
    for i, (_, draws, _, points, place) in enumerate(found):
        flat = place.reshape(-1, 2)
        gap[i, : len(points)] = truth.judge(flat[:, :1], flat[:, 1:])["gap"].to_numpy().reshape(place.shape[:2])
        cost[i, : len(points)] = np.array(points) * draws
    columns = {name: ("curve", [row[i] for row in found]) for i, name in enumerate(("kind", "draws", "rate"))}
    return xr.DataTree(
        xr.Dataset({"gap": (("curve", "checkpoint", "run"), gap), "cost": (("curve", "checkpoint"), cost), **columns})
    )


_PYMCS: tuple[Gradient, Noise] = ("total", "independent")
_ESTIMATORS: Mapping[str, tuple[Gradient, Noise]] = {"path": ("path", "latin hypercube")}


# --- the bias of adagrad_window --------------------------------------------------------------------------------------


def score(target: Target) -> Callable[[Array], Array]:
    """The derivative of -log p at points (n,) of one dimension, by PyTensor from PyMC's density."""
    return lambda x: -target.log_density(x[:, None])[1][:, 0]


def mean_step(gradients: Array, weights: Array, window: int, epsilon: float = PYMC_EPSILON) -> Array:
    """Mean step of ``adagrad_window`` per unit of rate, at parameters that hardly move within a window.

    Parameters
    ----------
    gradients, weights : ndarray (n, P), (n,)
        Values of one gradient, and their probabilities.
    window : int
        Gradients in the normaliser, the current one among them.
    epsilon : float

    Returns
    -------
    ndarray (P,)
        E[g / sqrt(g^2 + g_1^2 + ... + g_(window - 1)^2 + epsilon)], the g_i independent copies of g.

    Notes
    -----
    With 1/sqrt(a) = 2/sqrt(pi) times the integral of exp(-v^2 a) over v > 0, the expectation of the product is a product of
    expectations: 2/sqrt(pi) times the integral of exp(-v^2 epsilon) E[g exp(-v^2 g^2)] E[exp(-v^2 g^2)]^(window - 1).
    """
    log_v, spacing = np.linspace(-24.0, 4.0, 141, retstep=True)
    v = np.exp(log_v)
    result = []
    for g in gradients.T:
        damped = np.exp(-np.multiply.outer(v**2, g**2))
        integrand = np.exp(-(v**2) * epsilon) * (damped @ (weights * g)) * (damped @ weights) ** (window - 1)
        result.append(2 / np.sqrt(np.pi) * spacing * np.sum(integrand * v))
    return np.array(result)


def at_rest_point(target: Target, begin: Array, window: int, draws: int = 1) -> Array:
    """Where ``adagrad_window`` comes to rest: the mean and sd at which its mean step is zero, for small rates.

    Parameters
    ----------
    target : Target
        One-dimensional.
    begin : ndarray (2,)
        Mean and sd from which it is sought: the exact optimum.
    window, draws : int
        Of the normaliser; in each gradient.

    Returns
    -------
    ndarray (2,)
        Mean and sd; nan if there is no such point.
    """
    slope = score(target)
    rule = gaussian_nodes(1, size=1025) if draws == 1 else sobol_nodes(draws, power=12, replicates=1, seed=1)

    def step(theta: Array) -> Array:
        sd = float(np.exp(theta[1]))
        z = rule.points
        u = slope((theta[0] + sd * z).ravel()).reshape(z.shape)
        # PyMC's rho, with sd = log(1 + e^rho): dsd/drho = 1 - e^-sd.
        by_rho = expit(np.log(np.expm1(sd))) * (z * u - 1 / sd)
        return mean_step(np.stack([u.mean(axis=1), by_rho.mean(axis=1)], axis=1), rule.weights, window)

    found = root(step, [begin[0], np.log(begin[1])], tol=1e-10)
    return np.array([found.x[0], np.exp(found.x[1])]) if np.abs(found.fun).max() < 1e-7 else np.full(2, np.nan)


def run_bias(settings: Settings) -> xr.DataTree:
    """Runs of ``adagrad_window`` started at the optima of two modes, where they go, and where they are predicted to rest.

    Returns
    -------
    xarray.DataTree
        ``sd``, the exact one, over place. ``way``: sds of runs with PyMC's defaults over (place, steps, run); ``wide``: the same with
        a wide window. ``rest``: predicted ``sd`` and ``gap`` over (place, window) with one draw, and over (place, draws) at the default
        window (``rest_draws``).
    """
    target, truth = _BIMODAL.target, Truth.of(_BIMODAL)
    names = labels_of(truth.minima, target)
    chosen = {name: truth.minima[names.index(name)] for name in ("both modes", "right mode")}
    optima = np.array([[p.theta[0], np.exp(p.theta[1])] for p in chosen.values()])
    coords = {"place": list(chosen)}
    tree = {"/": xr.Dataset({"sd": ("place", optima[:, 1])}, coords=coords)}
    for name, steps, window, rate in (
        ("way", settings.long_steps, PYMC_WINDOW, PYMC_RATE),
        ("wide", settings.wide_steps, WIDE_WINDOW, WIDE_RATE),
    ):
        start, points = np.repeat(optima, settings.copies, axis=0), _even(steps, 60)
        how, none = How("adagrad_window", *_PYMCS, 1, window, rate), np.zeros(len(start))
        sds = trajectories(target, how, start, high=none, low=none, checkpoints=points, seed=settings.seed + 31)[..., 1]
        folded = sds.reshape(len(points), len(optima), settings.copies).transpose(1, 0, 2)
        tree[name] = xr.Dataset({"sd": (("place", "steps", "run"), folded)}, coords={**coords, "steps": points})
    for name, dim, labels, at in (
        ("rest", "window", WINDOWS, at_rest_point),
        ("rest_draws", "draws", REST_DRAWS, lambda target, o, draws: at_rest_point(target, o, PYMC_WINDOW, draws)),
    ):
        rest = np.array([[at(target, o, label) for label in labels] for o in optima])
        value = truth.values(np.stack([rest[..., 0].ravel(), np.log(rest[..., 1]).ravel()], axis=1))
        lowest = np.array([[p.divergence.value] for p in chosen.values()])
        tree[name] = xr.Dataset(
            {"sd": (("place", dim), rest[..., 1]), "gap": (("place", dim), value.reshape(rest.shape[:2]) - lowest)},
            coords={**coords, dim: list(labels)},
        )
    return xr.DataTree.from_dict(tree)


def _even(last: int, count: int) -> list[int]:
    return sorted({round(v) for v in np.linspace(last / count, last, count)})


# --- fixed draws -------------------------------------------------------------------------------------------------------


def run_fixed(case: Case, settings: Settings) -> xr.DataTree:
    """Deterministic ADVI: the loss on fixed draws, minimised to the last digit.

    Returns
    -------
    xarray.DataTree
        Over (place, kind, size, replicate): ``fitted``, the minimum of the loss on the draws near an exact minimum, ``exact``, the KL
        of the fit, both in nats, and ``status``: 0 it stayed with its minimum, 1 it went to another, 2 there is none. ``price``, over
        place, is tr(H^-1 V)/2, with H the Hessian of the exact KL and V the covariance of the gradient at one draw: n times
        what independent draws are expected to lose.
    """
    target, truth = case.target, Truth.of(case)
    labels = labels_of(truth.minima, target)
    # One-mode minima of a symmetric target are mirror images: one of them will do.
    places = [k for k, label in enumerate(labels) if label != "left mode"]
    shape = (len(places), len(KINDS), len(SIZES), settings.replicates)
    fitted, exact, status = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, 2)
    for j, noise in enumerate(KINDS.values()):
        for i, size in enumerate(SIZES):
            generator = np.random.default_rng([settings.seed, 17, j, size])
            for r, z in enumerate(draw_noise([generator], settings.replicates, size, 1, noise)):
                objective = reverse_objective(case.family, target, Nodes(z[:, 0], np.full(size, 1 / size), "draws"))
                for a, k in enumerate(places):
                    found = descend(objective, truth.minima[k].theta)
                    if found is None or not np.isfinite(found[1]):
                        continue
                    theta, value = found
                    judged = truth.judge(theta[None, :1], np.exp(theta[None, 1:]))
                    fitted[a, j, i, r] = value
                    exact[a, j, i, r] = truth.values(theta[None])[0]
                    status[a, j, i, r] = int(int(judged["optimum"][0]) != k)
    dims = ("place", "kind", "size", "replicate")
    data = xr.Dataset(
        {
            "fitted": (dims, fitted),
            "exact": (dims, exact),
            "status": (dims, status),
            "kl": ("place", [truth.minima[k].divergence.value for k in places]),
            "price": ("place", [price(target, truth, truth.minima[k]) for k in places]),
        },
        coords={"place": [labels[k] for k in places], "kind": list(KINDS), "size": list(SIZES)},
    )
    tree = xr.DataTree(data)
    tree.attrs = {"title": case.title, "short": case.short}
    return tree


def price(target: Target, truth: Truth, optimum: Projection) -> float:
    """Return tr(H^-1 V)/2 at an exact minimum of one dimension, in nats times draws.

    As for maximum likelihood (White, 1982; Takeuchi, 1976), with the noise of q in the place of the data.
    """
    rule = gaussian_nodes(1, size=1025)
    z, (mean, log_sd) = rule.points[:, 0], optimum.theta
    sd = np.exp(log_sd)
    u = score(target)(mean + sd * z)
    gradient = np.stack([u, sd * z * u - 1], axis=1)
    covariance = gradient.T @ (rule.weights[:, None] * gradient)
    hessian = truth.objective.hessian(optimum.theta[None])[2][0]
    return float(np.trace(np.linalg.solve(hessian, covariance)) / 2)


# --- the computation ---------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    found = [
        Part(c.name, c.short, {"case": asdict(c), "settings": s}, partial(run_case, c, settings),
             weight=20 if c.name == "crossed" else 8)
        for c in CASES if settings.plane or c.target.dim == 1
    ]  # fmt: skip
    found += [
        Part("cost", "cost", {"settings": s}, partial(run_cost, settings), weight=25),
        Part("bias", "bias", {"settings": s}, partial(run_bias, settings), weight=10),
    ]
    found += [
        Part(f"fixed_{c.name}", f"fixed draws, {c.short}", {"case": asdict(c), "settings": s},
             partial(run_fixed, c, settings), weight=5)
        for c in CASES if c.name in FIXED
    ]  # fmt: skip
    return found


#: One child per target (see `run_case`), ``cost``, ``bias`` and ``fixed_<target>``.
run = runner(QUESTION, Settings, parts)
