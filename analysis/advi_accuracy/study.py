"""How far ADVI stops from the optimum it is near: by optimiser, rate, draws and steps, and why PyMC's defaults stay away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import root
from scipy.special import expit

from analysis.advi_accuracy import QUESTION
from analysis.advi_accuracy.truth import CASES, Case, Truth, labels_of
from analysis.parts import Part, runner
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Schedule, Start, default_starts, fit_advi, spread
from models.advi.runs import Gradient, Noise, Optimizer, Steps, draw_noise, noise_steps
from models.graphs import Deferred, single_threaded
from models.projections import Projection
from models.projections.objectives import reverse_objective
from models.projections.optimise import descend
from models.quadrature import Nodes, gaussian_nodes, sobol_nodes
from models.targets import Target

# Imported when something is computed with them: drawing needs neither.
pm = Deferred("pymc")


Array = NDArray[np.float64]
#: What a converged run is held to: nats, and relative error of the standard deviations.
NATS, RELATIVE = 1e-3, 0.01
#: Gaps that a run is asked to reach, in nats.
GOALS = (1e-2, 1e-3)
#: Of the runs, how many must have reached a goal before its cost is counted.
SHARE = 0.9
#: PyMC's ``adagrad_window`` when nothing is said.
PYMC_WINDOW, PYMC_EPSILON = 10, 0.1
#: Its settings with the same length of step and a bias a hundred times smaller.
WIDE_RATE, WIDE_WINDOW = 0.01, 1000


class Settings(BaseModel):
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
    copies, long_steps : int
        Runs of PyMC's defaults from each optimum, and their steps.
    confirm_copies, confirm_steps : int
        The same by ``pm.fit`` itself, at the default and at a wide window; no steps, no confirmation.
    replicates : int
        Sets of fixed draws of each size.
    plane : bool
        Whether the target in the plane is among those studied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
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
    confirm_copies: int = Field(default=40, ge=4)
    confirm_steps: int = Field(default=4000, ge=0)
    replicates: int = Field(default=20, ge=4)
    plane: bool = True

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, repeats=2, restarts=20, other_restarts=5, pymc_steps=400, adam_steps=150, adam_draws=20,
                our_steps=200, cost_runs=4, cost_steps=150, copies=10, long_steps=1000, confirm_steps=0, replicates=4,
                plane=False,
            )  # fmt: skip
        if effort == "full":
            return cls(
                seed=seed, repeats=20, restarts=1000, other_restarts=1000, adam_steps=3000, cost_runs=100,
                cost_steps=30_000, copies=200, long_steps=200_000, confirm_copies=100, confirm_steps=30_000,
                replicates=200,
            )  # fmt: skip
        return cls(seed=seed)


_BIMODAL = CASES[0]

#: How ADVI is optimised.
HOW = {
    "pymc": "PyMC's defaults",
    "constant": "Adam, constant rate",
    "falling": "Adam, falling rate",
    "ours": "this project's default",
}


@dataclass(frozen=True)
class Curve:
    """One way to spend gradient draws: its runs are looked at on the way (constant), or it is run to several lengths."""

    kind: Literal["default", "constant", "falling", "path"]
    draws: int
    rate: float

    @property
    def name(self) -> str:
        """Key."""
        return f"{self.kind}_{self.draws}_{self.rate:g}"


#: Rates of Adam that are held constant, in PyMC's units.
CONSTANT_RATES = (0.1, 0.03, 0.01, 0.003)
#: A rate that falls along half a cosine to a thousandth of it.
FALLING_RATE, FALLEN = 0.1, 1e-3
COST_DRAWS = (1, 10, 100)
LENGTHS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)

#: Sizes of sets of fixed draws, and the two ways to draw them.
SIZES = (10, 30, 100, 300, 1000)
KINDS: Mapping[str, Noise] = {"independent": "independent", "stratified": "latin hypercube"}
#: Targets that are fitted to fixed draws.
FIXED = ("bimodal", "normal")
WINDOWS = (3, 10, 30, 100, 300, 1000)


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
        end, and what the run says of itself (``own_gap``, ``own_noise``, ``converged``, ``verdict``). ``evidence``: the same of
        runs from starts spread widely in mean and in standard deviation.
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
    for name, stored in {"own_gap": "gap", "own_noise": "gap_noise", "converged": "converged", "verdict": "verdict",
                         "iterations": "iterations"}.items():  # fmt: skip
        data[name] = ("run", restarts[stored].to_numpy())
    return data


# --- cost --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class How:
    """How runs of one target in one dimension are stepped, all in one batch."""

    optimizer: Optimizer
    gradient: Gradient
    noise: Noise
    draws: int


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
        steps=checkpoints[-1], high=high, low=low,
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


def run_cost(settings: Settings) -> xr.DataTree:
    """Gap against gradient draws on two modes, from PyMC's start and from one at a mode.

    Returns
    -------
    xarray.DataTree
        Over (curve, checkpoint, run): ``gap`` and ``minimum``, with ``cost`` (steps times draws) over (curve, checkpoint), nan
        where a curve has fewer checkpoints.
    """
    target, truth, n = _BIMODAL.target, Truth.of(_BIMODAL), settings.cost_runs
    starts = np.repeat([[0.0, np.log(2.0)], [-3.0, np.log(2.0)]], n, axis=0)
    found: dict[Curve, tuple[list[int], Array]] = {}
    seed = 1000 * settings.seed

    def steps(kind: str, draws: int) -> How:
        optimizer: Optimizer = "adagrad_window" if kind == "default" else "adam"
        if kind == "path":
            return How(optimizer, "path", "latin hypercube", draws)
        return How(optimizer, "total", "independent", draws)

    for draws in COST_DRAWS:
        count = round(3 * settings.cost_steps / np.sqrt(draws))
        points = _checkpoints(count)
        if draws < COST_DRAWS[-1]:
            none = np.zeros(len(starts))
            place = trajectories(target, steps("default", draws), starts, high=none, low=none, checkpoints=points,
                                 seed=seed + draws)  # fmt: skip
            found[Curve("default", draws, 0.001)] = points, place
        rates = np.repeat(CONSTANT_RATES, len(starts))
        place = trajectories(target, steps("constant", draws), np.tile(starts, (len(CONSTANT_RATES), 1)), high=rates,
                             low=rates, checkpoints=points, seed=seed + 200 + draws)  # fmt: skip
        for i, rate in enumerate(CONSTANT_RATES):
            found[Curve("constant", draws, rate)] = points, place[:, i * len(starts) : (i + 1) * len(starts)]
        lengths = [length for length in LENGTHS if length <= count] or [count]
        high = np.full(len(starts), FALLING_RATE)
        for j, kind in enumerate(("falling", "path")):
            ends = [
                trajectories(target, steps(kind, draws), starts, high=high, low=FALLEN * high, checkpoints=[length],
                             seed=seed + 400 + 200 * j + draws)
                for length in lengths
            ]  # fmt: skip
            found[Curve(kind, draws, FALLING_RATE)] = lengths, np.concatenate(ends)  # type: ignore[arg-type]
    most = max(len(points) for points, _ in found.values())
    gap = np.full((len(found), most, len(starts)), np.nan)
    minimum = np.full(gap.shape, -1)
    cost = np.full(gap.shape[:2], np.nan)
    for i, (curve, (points, place)) in enumerate(found.items()):
        flat = place.reshape(-1, 2)
        judged = truth.judge(flat[:, :1], flat[:, 1:])
        gap[i, : len(points)] = judged["gap"].to_numpy().reshape(place.shape[:2])
        minimum[i, : len(points)] = judged["minimum"].to_numpy().reshape(place.shape[:2])
        cost[i, : len(points)] = np.array(points) * curve.draws
    curves = list(found)
    return xr.DataTree(
        xr.Dataset(
            {
                "gap": (("curve", "checkpoint", "run"), gap),
                "minimum": (("curve", "checkpoint", "run"), minimum),
                "cost": (("curve", "checkpoint"), cost),
                "kind": ("curve", [c.kind for c in curves]),
                "draws": ("curve", [c.draws for c in curves]),
                "rate": ("curve", [c.rate for c in curves]),
                "start": ("run", np.repeat(["centre", "mode"], n)),
            },
            coords={"curve": [c.name for c in curves]},
        )
    )


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


def at_rest(target: Target, begin: Array, window: int, draws: int = 1) -> Array:
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


_AVERAGED = 0.5  # of a run, its end, over which standard deviations are averaged


def run_bias(settings: Settings) -> xr.DataTree:
    """PyMC's defaults started at the optima of two modes, where they go, and where they are predicted to rest.

    Returns
    -------
    xarray.DataTree
        ``way``: ``sd`` and ``mean`` over (place, checkpoint, run). ``rest``: predicted ``mean``, ``sd`` and ``gap`` over (place,
        window) with one draw, and over (place, draws) at the default window (``rest_draws``). ``confirmed``, if asked for: by
        ``pm.fit``, the sds over (setting, place, run) averaged over the second half of its steps.
    """
    target, truth = _BIMODAL.target, Truth.of(_BIMODAL)
    names = labels_of(truth.minima, target)
    chosen = {name: truth.minima[names.index(name)] for name in ("both modes", "right mode")}
    optima = {name: np.array([p.theta[0], np.exp(p.theta[1])]) for name, p in chosen.items()}
    start = np.repeat(list(optima.values()), settings.copies, axis=0)
    how = How("adagrad_window", "total", "independent", 1)
    points = _even(settings.long_steps, 60)
    none = np.zeros(len(start))
    way = trajectories(target, how, start, high=none, low=none, checkpoints=points, seed=settings.seed + 31)
    folded = way.reshape(len(points), len(optima), settings.copies, 2).transpose(1, 0, 2, 3)
    coords = {"place": list(optima)}
    tree = {
        "/": xr.Dataset(
            {
                "mean": ("place", [o[0] for o in optima.values()]),
                "sd": ("place", [o[1] for o in optima.values()]),
            },
            coords=coords,
        ),
        "way": xr.Dataset(
            {name: (("place", "steps", "run"), folded[..., i]) for i, name in enumerate(("mean", "sd"))},
            coords={**coords, "steps": points},
        ),
    }
    by_window = np.array([[at_rest(target, o, window) for window in WINDOWS] for o in optima.values()])
    by_draws = np.array([[at_rest(target, o, PYMC_WINDOW, draws) for draws in COST_DRAWS] for o in optima.values()])
    lowest = np.array([p.divergence.value for p in chosen.values()])
    for name, dim, labels, values in (
        ("rest", "window", WINDOWS, by_window),
        ("rest_draws", "draws", COST_DRAWS, by_draws),
    ):
        flat = values.reshape(-1, 2)
        gap = (
            truth.values(np.stack([flat[:, 0], np.log(flat[:, 1])], axis=1)).reshape(values.shape[:2]) - lowest[:, None]
        )
        tree[name] = xr.Dataset(
            {
                "mean": (("place", dim), values[..., 0]),
                "sd": (("place", dim), values[..., 1]),
                "gap": (("place", dim), gap),
            },
            coords={**coords, dim: list(labels)},
        )
    if settings.confirm_steps:
        tree["confirmed"] = _confirmed(target, optima, settings)
    return xr.DataTree.from_dict(tree)


def _even(last: int, count: int) -> list[int]:
    return sorted({round(v) for v in np.linspace(last / count, last, count)})


def _confirmed(target: Target, optima: Mapping[str, Array], settings: Settings) -> xr.Dataset:
    """Independent copies of x in one model are independent runs: mean field and a per-coordinate optimiser keep them apart."""
    n = settings.confirm_copies
    start = np.repeat(list(optima.values()), n, axis=0)
    weights, mean, sd = (np.array(target.spec[name]) for name in ("weights", "means", "sds"))
    parts = []
    for window, rate in ((PYMC_WINDOW, 0.001), (WIDE_WINDOW, WIDE_RATE)):
        with pm.Model():
            components = [pm.Normal.dist(m, s) for m, s in zip(mean, sd, strict=True)]
            pm.Mixture("x", w=weights, comp_dists=components, shape=len(start))
            approximation = pm.MeanField(random_seed=settings.seed + 1)
            approximation.params_dict["mu"].set_value(start[:, 0].copy())
            approximation.params_dict["rho"].set_value(np.log(np.expm1(start[:, 1])))
            total = np.zeros(len(start))
            begin = int((1 - _AVERAGED) * settings.confirm_steps)

            def record(approx: Any, _losses: Any, i: int, total: Array = total, begin: int = begin) -> None:
                if i > begin:
                    total += np.logaddexp(0, approx.params_dict["rho"].get_value())

            pm.fit(
                settings.confirm_steps, method=pm.variational.KLqp(approximation), callbacks=[record], progressbar=False,
                obj_optimizer=pm.adagrad_window(learning_rate=rate, n_win=window),
                compile_kwargs={"mode": "NUMBA"},
            )  # fmt: skip
        parts.append((total / (settings.confirm_steps - begin)).reshape(len(optima), n))
    return xr.Dataset(
        {"sd": (("window", "place", "run"), np.array(parts))},
        coords={"place": list(optima), "window": [PYMC_WINDOW, WIDE_WINDOW]},
    )


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
                    status[a, j, i, r] = int(int(judged["minimum"][0]) != k)
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
