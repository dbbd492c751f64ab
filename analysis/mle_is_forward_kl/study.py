"""Maximum likelihood minimises forward KL: each line of the argument computed, and what a wrong family changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import norm

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.draws import draw
from analysis.mle_is_forward_kl import QUESTION
from analysis.mle_is_forward_kl import marks as mle_fig
from analysis.parts import Part, runner
from models.divergences import cross_entropy, entropy
from models.families import FAMILIES, Family, normal_mixture
from models.graphs import Deferred, single_threaded
from models.mle import fit_map, fit_mle, sandwich, scores
from models.projections import Projection, forward_projection
from models.projections.objectives import (
    Objective,
    Scalar,
    bind,
    differentiate,
    forward_graph,
    forward_objective,
    portions,
    summed,
)
from models.quadrature import Estimate, Nodes, nodes
from models.targets import TARGETS, Target, from_distribution
from models.targets import normal_mixture as mixture_target

# Imported when something is computed with them: drawing needs neither.
pm = Deferred("pymc")


Array = NDArray[np.float64]
LEVEL = 0.95
#: Standard errors on either side of an interval.
REACH = float(norm.ppf((1 + LEVEL) / 2))
#: Size of the data sets whose intervals are counted.
INTERVAL_N = 2000
#: First-order theory is compared with means over data sets of at least this size.
LARGE = 1000
#: With fewer data sets the standard error of a median is not to be trusted.
MANY = 100
#: Median absolute value of a standard Normal variable.
QUARTILE = float(norm.ppf(0.75))
#: Relative difference up to which two standard errors are said to agree.
ALIKE = 0.05
#: Sizes of the data sets whose mean negative log likelihood is drawn.
CURVE_N = (100, 1000, 10_000)
#: Draws in the table of the product.
PRODUCT_N = 50
#: The prior on the mean in the comparison with MAP: mean and standard deviation.
PRIOR = (2.0, 0.5)

_SIGMAS = np.linspace(1.5, 6.0, 4501)
_CHUNK = 200_000  # observations fitted at once: more do not fit the processor's cache
_STEPS = 40
_GRADIENT = 1e-9
_REPEATS = 30
_SMOOTHING_N = 1000
_WIDTHS = (1.0, 1e-1, 1e-2, 1e-4, 1e-6, 1e-8)

# Purposes of random streams.
_CURVES, _PRODUCT, _REPLICATIONS, _INTERVALS, _CHECK, _SMOOTHING, _MAP = range(7)


class Settings(BaseModel):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    largest : int
        Largest size of a data set.
    replications : int
        Data sets of each size, as many as `budget` allows.
    fewest : int
        Data sets of each size whatever the budget.
    budget : int
        Observations drawn for each size and case.
    intervals : int
        Data sets whose intervals are counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    largest: int = Field(default=1_000_000, ge=30_000)
    replications: int = Field(default=2000, ge=20)
    fewest: int = Field(default=24, ge=5)
    budget: int = Field(default=500_000, ge=1000)
    intervals: int = Field(default=2000, ge=50)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(seed=seed, largest=100_000, replications=400, fewest=10, budget=200_000, intervals=400)
        if effort == "full":
            return cls(seed=seed, replications=10_000, fewest=100, budget=20_000_000, intervals=10_000)
        return cls(seed=seed)

    def sizes(self) -> list[int]:
        """Sizes of data sets, at least one in every power of ten."""
        return [n for n in (100, 300, 1000, 3000, 10_000, 100_000, 1_000_000) if n <= self.largest]

    def count(self, n: int) -> int:
        """How many data sets of size n."""
        return max(self.fewest, min(self.replications, self.budget // n))


@dataclass(frozen=True)
class Case:
    """A target outside a family; `vary` is the parameter along which curves are drawn, from `low` to `high`."""

    name: str
    short: str
    title: str
    family: str
    vary: str | None = None
    low: float = 0.0
    high: float = 0.0

    @property
    def target(self) -> Target:
        """The density that the family does not contain."""
        return _target(self.name)


@cache
def _target(name: str) -> Target:
    if name == "outliers":
        return mixture_target([0.9, 0.1], [0, 0], [1, 5], name=name)
    return from_distribution("Laplace", {"mu": 0, "b": 1}, label=name) if name == "laplace" else TARGETS[name]


CASES = (
    Case("bimodal", "two modes, Normal", "½ N(±3, 1) onto the Normal", "normal", "sigma", 1.5, 6.0),
    Case("laplace", "Laplace, Normal", "Laplace(0, 1) onto the Normal", "normal"),
    Case("outliers", "outliers, Student-t", "0.9 N(0, 1) + 0.1 N(0, 25) onto the Student-t", "student_t", "sigma", 0.4, 2.2),
)  # fmt: skip
SYMBOLS = {"mu": "μ", "sigma": "σ", "nu": "ν"}


# --- fits of many data sets at once ----------------------------------------------------------------------------------


def _rng(settings: Settings, case: str, purpose: int, n: int = 0) -> np.random.Generator:
    return np.random.default_rng([settings.seed, *case.encode(), purpose, n])


@dataclass(frozen=True, eq=False)
class Fits:
    """Maximum likelihood on B data sets, in natural parameters.

    Attributes
    ----------
    estimate : ndarray (B, P)
        ``inf`` for a parameter whose growth raises the likelihood without end, beside the limits of the others; all ``nan``
        where there is no maximum near the projection either.
    optimism : ndarray (B,)
        Mean negative log likelihood at the estimate minus that at the projection, on the same draws; in nats.
    se_hessian, se_sandwich : ndarray (B, P)
        ``nan`` where there is no interior maximum.
    """

    estimate: Array
    optimism: Array
    se_hessian: Array
    se_sandwich: Array


def fit_normals(x: Array, mu: float, sigma: float) -> Fits:
    """Maximum likelihood of the Normal on each row of x (B, n), in closed form; (mu, sigma) is the projection."""
    n = x.shape[1]
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    squares = centred**2
    variance = squares.mean(axis=1)
    sd = np.sqrt(variance)
    kurtosis = (squares**2).mean(axis=1) / variance**2
    here = np.log(sd) + 0.5
    best = np.log(sigma) + (variance + (mean - mu) ** 2) / (2 * sigma**2)
    hessian = np.stack([sd, sd / np.sqrt(2)], axis=1)
    robust = np.stack([sd, sd * np.sqrt(kurtosis - 1) / 2], axis=1)
    return Fits(np.stack([mean, sd], axis=1), here - best, hessian / np.sqrt(n), robust / np.sqrt(n))


@cache
def _batch_functions(family: Family) -> tuple[Any, Any]:
    def build() -> Scalar:
        theta, weights, points, value = forward_graph(family, 1)
        return theta, value, [points, weights], [points]

    return differentiate("cross-entropy of rows", family, build, batched=True, each=1)


def fit_rows(family: Family, x: Array, start: Array, *, intervals: bool) -> Fits:
    """Maximum likelihood on each row of x (B, n) by Newton's method on PyMC's own density, from theta `start` (P,).

    Standard errors cost as much again, and are ``nan`` unless asked for.
    """
    n = x.shape[1]
    theta, optimism, gradient, hessian = _newton(family, x, np.tile(start, (len(x), 1)))
    good = (np.linalg.norm(gradient, axis=1) < _GRADIENT) & (np.linalg.eigvalsh(hessian)[:, 0] > 0)
    positive = np.array([p.support == "positive" for p in family.parameters])
    natural = np.where(positive, np.exp(theta), theta)
    slope = np.where(positive, natural, 1.0)
    errors = np.full((2, *theta.shape), np.nan)
    if intervals:
        for i in np.flatnonzero(good):
            bread = np.linalg.inv(hessian[i])
            s = scores(x[i][:, None], family, theta[i])
            errors[0, i] = np.sqrt(np.diag(bread) / n)
            errors[1, i] = np.sqrt(np.diag(bread @ (s.T @ s / n) @ bread) / n)
    for i in np.flatnonzero(~good):
        limit = family.at_boundary(theta[i], 1)
        if limit is None or not limit.endswith("> infinity"):
            natural[i], optimism[i] = np.nan, np.nan
        else:
            natural[i, [p.name for p in family.parameters].index(limit.split()[0])] = np.inf
    return Fits(natural, optimism, errors[0] * slope, errors[1] * slope)


def _on_rows(family: Family, x: Array) -> Objective:
    """Mean negative log likelihood of as many thetas as there are data sets, each on its own row of x (B, n)."""
    functions, weights = _batch_functions(family), np.full(x.shape[1], 1 / x.shape[1])
    return summed([bind(functions, x[:, part], weights[part]) for part in portions(x.shape[1])])


def _newton(family: Family, x: Array, theta: Array) -> tuple[Array, Array, Array, Array]:
    """Newton's method on each row: downhill where the Hessian is not positive definite, in steps of at most 1.

    Returns
    -------
    theta, change, gradient, hessian : ndarray (B, P), (B,), (B, P), (B, P, P)
        Where each row stopped, and by how much the value changed on the way; it has converged if the gradient says so.
    """
    theta = theta.copy()
    first, gradient, hessian = _on_rows(family, x).hessian(theta)
    value = first.copy()
    for _ in range(_STEPS):
        going = np.linalg.norm(gradient, axis=1) >= _GRADIENT
        going &= np.isfinite(hessian).all(axis=(1, 2))
        if not going.any():
            break
        values, vectors = np.linalg.eigh(hessian[going])
        along = np.einsum("bji,bj->bi", vectors, gradient[going]) / np.maximum(np.abs(values), 1e-6)
        step = np.einsum("bij,bj->bi", vectors, along)
        theta[going] -= step / np.maximum(1.0, np.linalg.norm(step, axis=1, keepdims=True))
        value[going], gradient[going], hessian[going] = _on_rows(family, x[going]).hessian(theta[going])
    return theta, value - first, gradient, hessian


def fit_many(case: Case, best: Projection, rng: np.random.Generator, n: int, count: int, *, intervals: bool) -> Fits:
    """Draw `count` data sets of size n and fit each, in parts that fit into memory."""
    rows = max(1, _CHUNK // n)
    parts = []
    for begin in range(0, count, rows):
        x = draw(case.target, rng, (min(rows, count - begin), n))
        if case.family == "normal":
            parts.append(fit_normals(x, float(best.params["mu"]), float(best.params["sigma"])))
        else:
            parts.append(fit_rows(best.family, x, best.theta, intervals=intervals))
    return Fits(*(np.concatenate([getattr(p, name) for p in parts]) for name in Fits.__dataclass_fields__))


def excess(target: Target, best: Projection, estimates: Array) -> Array:
    """KL(p_data||member) - KL(p_data||projection) of members (B, P) in natural parameters, by quadrature.

    Infinite degrees of freedom are taken as a million.
    """
    family = best.family
    objective = forward_objective(family, nodes(target, others=[best.member]))
    positive = np.array([p.support == "positive" for p in family.parameters])
    with np.errstate(invalid="ignore"):
        thetas = np.where(positive, np.log(np.where(positive, np.minimum(estimates, 1e6), 1.0)), estimates)
    values = [objective.gradient(part)[0] for part in np.array_split(thetas, max(1, len(thetas) // 200))]
    return np.concatenate(values) - objective.gradient(best.theta[None])[0][0]


# --- the lines of the argument ---------------------------------------------------------------------------------------


def curves(case: Case, best: Projection, settings: Settings) -> xr.Dataset:
    """What lines (1) to (5) name, along one parameter with the others at the projection.

    Each is a mean of its own: ``kl`` of the log ratio, ``expected_log`` of the member's log density, ``cross_entropy`` of the
    objective that projections minimise; ``nll`` takes draws instead.
    """
    assert case.vary is not None
    family = best.family
    index = [p.name for p in family.parameters].index(case.vary)
    grid = np.geomspace(case.low, case.high, 401)
    thetas = np.tile(best.theta, (len(grid), 1))
    thetas[:, index] = np.log(grid)
    rule = nodes(case.target, others=[best.member])
    x = draw(case.target, _rng(settings, case.name, _CURVES), (_REPEATS, max(CURVE_N)))
    ce = forward_objective(family, rule).gradient(thetas)[0]
    log_p = case.target.logp(rule.points)
    logs = np.stack([family.logp(rule.points, {**best.params, case.vary: np.array(v)}) for v in grid])

    def nll(row: Array, n: int, at: Array) -> Array:
        return forward_objective(family, Nodes(row[:n, None], np.full(n, 1 / n), "draws")).gradient(at)[0]

    # A curve of one data set may happen to be close; how close they are takes many, on fewer values.
    gaps = [[np.abs(nll(row, n, thetas[::20]) - ce[::20]).max() for row in x] for n in CURVE_N]
    h = entropy(case.target)
    return xr.Dataset(
        {
            "cross_entropy": ("value", ce),
            "expected_log": ("value", logs @ rule.weights),
            "kl": ("value", (log_p - logs) @ rule.weights),
            "expected_log_target": ((), float(log_p @ rule.weights)),
            "entropy": ((), h.value),
            "entropy_error": ((), h.error),
            "nll": (("draws", "value"), np.array([nll(x[0], n, thetas) for n in CURVE_N])),
            "gap": (("draws", "repeat"), np.array(gaps)),
        },
        coords={"value": grid, "draws": list(CURVE_N)},
        attrs={"parameter": case.vary},
    )


def lowest(grid: Array, values: Array) -> float:
    """Where sampled values are lowest: the vertex of the parabola through the lowest point and its neighbours."""
    i = int(np.clip(np.argmin(values), 1, len(grid) - 2))
    c = np.polyfit(grid[i - 1 : i + 2] - grid[i], values[i - 1 : i + 2], 2)
    return float(grid[i] - c[1] / (2 * c[0]))


def scaled_product(densities: Array) -> tuple[Array, NDArray[np.int_]]:
    """Product over the first axis as mantissa * 2**exponent with an integer exponent, which cannot underflow."""
    mantissa, exponent = np.ones(densities.shape[1]), np.zeros(densities.shape[1], dtype=int)
    for row in densities:
        mantissa, shift = np.frexp(mantissa * row)
        exponent += shift
    return mantissa, exponent


def products(x: Array, sigmas: Array, small: int) -> xr.Dataset:
    """Where the product of densities, its logarithm, the sum and the mean are largest over sigmas of N(0, sigma).

    Parameters
    ----------
    x : ndarray (n,)
        As many draws as it takes until the product of floats is zero for every sigma.
    sigmas : ndarray (m,)
    small : int
        Draws of the first comparison; the second is at the size where every product is zero.

    Returns
    -------
    Dataset
        ``argmax`` and ``largest`` over ``draws`` and ``objective``; ``underflow``: that size.
    """
    densities = norm.pdf(x[:, None], 0.0, sigmas)
    zero = np.multiply.accumulate(densities, axis=0).max(axis=1) == 0
    if not zero.any():
        raise ValueError(f"{len(x)} draws are too few for the product to underflow")
    underflow = int(np.argmax(zero)) + 1
    argmax, largest = [], []
    for n in (small, underflow):
        part = densities[:n]
        product = part.prod(axis=0)
        mantissa, exponent = scaled_product(part)
        top = exponent == exponent.max()
        total = np.log(part).sum(axis=0)
        with np.errstate(divide="ignore"):
            values = [product, np.where(top, mantissa, 0.0), np.log(product), total, np.log(part).mean(axis=0)]
        flat = [v.max() == v.min() for v in values]
        argmax.append([np.nan if f else sigmas[v.argmax()] for v, f in zip(values, flat, strict=True)])
        largest.append(
            [
                product.max(),
                np.log10(mantissa[top].max()) + exponent.max() * np.log10(2),
                *(v.max() for v in values[2:]),
            ]
        )
    return xr.Dataset(
        {
            "argmax": (("draws", "objective"), argmax),
            "largest": (("draws", "objective"), largest),
            "underflow": ((), underflow),
            "step": ((), float(sigmas[1] - sigmas[0])),
        },
        coords={"draws": [small, underflow], "objective": ["product", "scaled", "log", "sum", "mean"]},
    )


def box_entropy(x: Array, width: float) -> float:
    """Entropy (nats) of the draws smoothed by boxes of a width: an average of uniform densities around each draw."""
    edges = np.concatenate([x - width / 2, x + width / 2])
    order = np.argsort(edges, kind="stable")
    height = np.cumsum(np.repeat([1, -1], len(x))[order])[:-1] / (len(x) * width)
    length = np.diff(edges[order])
    used = (height > 0) & (length > 0)
    return float(-(length[used] * height[used] * np.log(height[used])).sum())


def smoothed(x: Array, widths: Sequence[float]) -> xr.Dataset:
    """KL from smoothed draws to the Normal that is closest to them, by the width of the smoothing.

    Boxes keep the mean and add width^2 / 12 to the variance, so the closest Normal and its cross-entropy are exact.
    """
    sd = np.sqrt(x.var() + np.array(widths) ** 2 / 12)
    h = np.array([box_entropy(x, w) for w in widths])
    return xr.Dataset(
        {
            "kl": ("width", norm.entropy(0.0, sd) - h),
            "argmin": ("width", sd),
            "mle": ((), x.std()),
            "draws": ((), len(x)),
        },
        coords={"width": list(widths)},
    )


def map_distances(settings: Settings) -> xr.Dataset:
    """How far MAP with a strong prior on the mean is from maximum likelihood, by the number of draws."""
    sizes = [n for n in (100, 1000, 10_000, 100_000, 1_000_000) if n <= settings.largest]
    x = draw(TARGETS["bimodal"], _rng(settings, "bimodal", _MAP), (max(sizes),))
    found = []
    for n in sizes:
        fit = fit_map(x[:n], FAMILIES["normal"], priors={"mu": pm.Normal.dist(*PRIOR)}, starts=1, draws=2)["fit"]
        found.append([float(fit["mu"]), float(fit["sigma"])])
    mle = np.array([[x[:n].mean(), x[:n].std()] for n in sizes])
    return xr.Dataset(
        {"map": (("n", "parameter"), np.array(found)), "mle": (("n", "parameter"), mle)},
        coords={"n": sizes, "parameter": ["mu", "sigma"]},
    )


def well_specified() -> xr.Dataset:
    """Projections onto families that contain the target: the truth is found, and J equals K."""
    unequal = TARGETS["unequal"]
    spec = {key: np.array(unequal.spec[key], dtype=float) for key in ("weights", "means", "sds")}
    student = {"nu": 6.0, "mu": 0.0, "sigma": 1.0}
    members: list[tuple[Target, Family, Mapping[str, Any]]] = [
        (unequal, normal_mixture(2), {"w": spec["weights"], "mu": spec["means"], "sigma": spec["sds"]}),
        (from_distribution("StudentT", student, label="student_t_6"), FAMILIES["student_t"], student),
    ]
    rows = []
    for target, family, truth in members:
        best = forward_projection(target, family)
        limit = sandwich(target, best)
        error = max(float(np.abs(best.params[k] - v).max()) for k, v in truth.items())
        relative = float(np.abs(limit.k - limit.j).max() / np.abs(limit.j).max())
        rows.append([error, best.divergence.value, best.divergence.error, relative, limit.trace, len(limit.labels)])
    names = ("error", "kl", "kl_error", "difference", "trace", "parameters")
    columns = {name: ("target", column) for name, column in zip(names, np.array(rows).T, strict=True)}
    return xr.Dataset(columns, coords={"target": [target.name for target, *_ in members]})


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    return [
        *(Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_case, c, settings), 3) for c in CASES),
        Part(
            "lines",
            "products, smoothing, MAP, well-specified families",
            {"case": {}, "settings": s},
            partial(run_lines, settings),
            weight=20,
        ),
    ]


#: One child per case (see `run_case`), and ``lines`` (see `run_lines`).
run = runner(QUESTION, Settings, parts)


@single_threaded
def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """Compute one case: the projection and its sandwich, and what maximum likelihood does on many data sets.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``projection``: the best member, what the sandwich and the Hessian say of n times the variance, and the trace.
        ``replications``: over ``n`` and ``replication`` the ``estimate``, its ``excess`` KL and its ``optimism``; ``nan``
        beyond the number of data sets of a size. ``intervals``: estimates with both standard errors. ``check``: the largest
        difference from `fit_mle` on one data set. ``curves``, for cases that have them: see `curves`.
    """
    target, family = case.target, FAMILIES[case.family]
    best = forward_projection(target, family)
    limit = sandwich(target, best)
    tree = {
        "projection": _projection(target, best, limit.labels).assign(
            se_sandwich=("parameter", np.sqrt(np.diag(limit.covariance))),
            se_hessian=("parameter", np.sqrt(np.diag(limit.naive))),
            trace=((), limit.trace),
        ),
        "replications": _replications(case, best, settings, limit.labels),
    }
    rng = _rng(settings, case.name, _INTERVALS, INTERVAL_N)
    fits = fit_many(case, best, rng, INTERVAL_N, settings.intervals, intervals=True)
    tree["intervals"] = xr.Dataset(
        {
            name: (("replication", "parameter"), getattr(fits, name))
            for name in ("estimate", "se_hessian", "se_sandwich")
        },
        coords={"parameter": limit.labels},
    )
    tree["check"] = _check(case, best, settings)
    if case.vary is not None:
        tree["curves"] = curves(case, best, settings)
    result = xr.DataTree.from_dict(tree)
    result.attrs = {
        "title": case.title,
        "short": case.short,
        "family": case.family,
        "target": json.dumps(dict(target.spec)),
    }
    return result


def _projection(target: Target, best: Projection, labels: Sequence[str]) -> xr.Dataset:
    ce = cross_entropy(target, best.member)
    return xr.Dataset(
        {
            "best": ("parameter", [float(best.params[label]) for label in labels]),
            "kl": ((), best.divergence.value),
            "kl_error": ((), best.divergence.error),
            "cross_entropy": ((), ce.value),
            "cross_entropy_error": ((), ce.error),
        },
        coords={"parameter": list(labels)},
    )


def _replications(case: Case, best: Projection, settings: Settings, labels: Sequence[str]) -> xr.Dataset:
    sizes = settings.sizes()
    counts = [settings.count(n) for n in sizes]
    shape = (len(sizes), max(counts))
    estimate = np.full((*shape, len(labels)), np.nan)
    gain, optimism = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, (n, count) in enumerate(zip(sizes, counts, strict=True)):
        fits = fit_many(case, best, _rng(settings, case.name, _REPLICATIONS, n), n, count, intervals=False)
        estimate[i, :count], optimism[i, :count] = fits.estimate, fits.optimism
        gain[i, :count] = excess(case.target, best, fits.estimate)
    return xr.Dataset(
        {
            "estimate": (("n", "replication", "parameter"), estimate),
            "excess": (("n", "replication"), gain),
            "optimism": (("n", "replication"), optimism),
            "count": ("n", counts),
        },
        coords={"n": sizes, "parameter": list(labels)},
    )


def _check(case: Case, best: Projection, settings: Settings) -> xr.Dataset:
    """Largest difference of our fits of many data sets from `fit_mle` on one of them."""
    rng = _rng(settings, case.name, _CHECK)
    state = rng.bit_generator.state
    fits = fit_many(case, best, rng, INTERVAL_N, 1, intervals=True)
    rng.bit_generator.state = state
    fit = fit_mle(draw(case.target, rng, (1, INTERVAL_N))[0], best.family, starts=2, draws=2)["fit"]
    names = [p.name for p in best.family.parameters]
    estimate = np.array([float(fit[name]) for name in names])
    errors = {
        name: np.abs(getattr(fits, name)[0] - fit[name].to_numpy()).max() for name in ("se_hessian", "se_sandwich")
    }
    return xr.Dataset(
        {"estimate": ((), np.abs(fits.estimate[0] - estimate).max()), **{k: ((), v) for k, v in errors.items()}}
    )


def run_lines(settings: Settings) -> xr.DataTree:
    """Compute what needs no case: ``products``, ``smoothed``, ``map`` and ``well_specified``."""
    target = TARGETS["bimodal"]
    x = draw(target, _rng(settings, target.name, _PRODUCT), (1000,))
    y = draw(target, _rng(settings, target.name, _SMOOTHING), (_SMOOTHING_N,))
    return xr.DataTree.from_dict(
        {
            "products": products(x, _SIGMAS, PRODUCT_N),
            "smoothed": smoothed(y, _WIDTHS),
            "map": map_distances(settings),
            "well_specified": well_specified(),
        }
    )


# --- figures ---------------------------------------------------------------------------------------------------------


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
        ``curves``, ``convergence``, ``coverage``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "curves": _draw_curves(results, style),
        "convergence": _draw_convergence(results, style),
        "coverage": _draw_coverage(results, style),
    }


def _cases(results: xr.DataTree) -> dict[str, xr.DataTree]:
    return {case.name: results.children[case.name] for case in CASES if case.name in results.children}


def _draw_curves(results: xr.DataTree, style: Style) -> Drawing:
    drawn = {case.attrs["short"]: case["curves"].to_dataset() for case in _cases(results).values() if "curves" in case}
    places = ", ".join(
        f"{lowest(c['value'].to_numpy(), c['cross_entropy'].to_numpy()):.2f} for {name}" for name, c in drawn.items()
    )
    return Drawing(
        mle_fig.curves(drawn, style),
        alt=(
            "For two targets, left: cross-entropy and KL divergence against the scale of the fit, two curves of one shape with the entropy "
            f"as a horizontal line, and one vertical line through both minima, at σ = {places}. Right: the mean negative log likelihood of "
            "100, 1000 and 10,000 draws beside the cross-entropy; the more draws, the closer the curves."
        ),
        caption=(
            "Left, lines (2) and (3): the cross-entropy is the [forward]{.forward} KL lifted by the entropy of the [target]{.target}, which is flat, so both "
            "are lowest in the same place (vertical line). Right, line (5): the mean negative log likelihood of *n* draws (thin lines, with a dot at "
            "the minimum of each) approaches the cross-entropy. The other parameters are held at their optimum."
        ),
    )


_SHOWN = {"bimodal": "sigma", "outliers": "nu"}


def _with_errors(estimates: Sequence[Estimate]) -> Array:
    return np.array([[e.value, e.error] for e in estimates])


def _draw_convergence(results: xr.DataTree, style: Style) -> Drawing:
    cases = _cases(results)
    funnels = []
    for name, parameter in _SHOWN.items():
        case = cases[name]
        best = case["projection"].to_dataset().sel(parameter=parameter)
        funnels.append(
            mle_fig.Funnel(
                f"{SYMBOLS[parameter]} of {case.attrs['short']}",
                case["replications/n"].to_numpy(),
                case["replications/estimate"].sel(parameter=parameter).to_numpy(),
                float(best["best"]),
                REACH * float(best["se_sandwich"]),
            )
        )
    risks = [
        mle_fig.Risk(
            case.attrs["short"],
            case["replications/n"].to_numpy(),
            _with_errors(_means(case, "excess")),
            _with_errors(_means(case, "optimism")),
            float(case["projection/trace"]),
        )
        for case in cases.values()
    ]
    ranges = "; ".join(f"{r.title} from {r.excess[0, 0]:.1e} to {r.excess[-1, 0]:.1e} nats" for r in risks)
    return Drawing(
        mle_fig.convergence(funnels, risks, style),
        alt=(
            "Above: estimates of one parameter from many data sets against the number of draws, two cases; the cloud narrows around the exact "
            "projection, within the band of the sandwich. Below left: mean excess KL against the number of draws on logarithmic axes, points "
            f"along straight falling lines; {ranges}. Below right: excess and in-sample optimism times 2n over the trace, near +1 and −1."
        ),
        caption=(
            f"Above: each dot is the maximum likelihood estimate from one data set (at most {mle_fig.SHOWN} of each size are shown, and none beyond the frame). The horizontal line is the exact "
            f"projection, the band holds {100 * LEVEL:.0f}% of the estimates according to the sandwich covariance. Below left: mean excess KL "
            "(dots) and the line tr(*J*^−1^*K*)/(2*n*). Below right: the same, times 2*n*/tr(*J*^−1^*K*), above; and the mean in-sample optimism, below. "
            "Bars are one standard error on either side; each marker is one case."
        ),
    )


def _draw_coverage(results: xr.DataTree, style: Style) -> Drawing:
    table = _coverage_table(results)
    lines = [mle_fig.Interval(f"{row['parameter']}, {row['case']}", row["sandwich"], row["hessian"]) for row in table]
    words = "; ".join(
        f"{line.title}: {100 * line.sandwich.value:.0f}% and {100 * line.hessian.value:.0f}%" for line in lines
    )
    return Drawing(
        mle_fig.coverage(lines, LEVEL, style),
        alt=(
            f"Coverage of nominal {100 * LEVEL:.0f}% intervals, sandwich and Hessian, one row for each parameter, with a vertical line at "
            f"{100 * LEVEL:.0f}%. Sandwich and Hessian in turn: {words}."
        ),
        caption=(
            f"Share of data sets of {INTERVAL_N:,} draws whose nominal {100 * LEVEL:.0f}% interval holds the exact projection: with standard errors "
            "from the sandwich (dots) and from the Hessian alone (crosses). Bars: two binomial standard errors on either side. Dashed: nominal."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def _means(case: xr.DataTree, key: str) -> list[Estimate]:
    """Mean over data sets of each size, with its standard error; fits without a maximum are left out.

    ``gap`` is the excess minus the optimism: the mean by which new draws are worse than those of the fit.
    """
    r = case["replications"].to_dataset()
    found = []
    for values in (r["excess"] - r["optimism"] if key == "gap" else r[key]).to_numpy():
        used = values[np.isfinite(values)]
        found.append(Estimate(float(used.mean()), float(used.std(ddof=1) / np.sqrt(len(used))), "draws"))
    return found


def slope(n: Array, means: Sequence[Estimate], counts: Array) -> Estimate:
    """Slope of log mean against log n by least squares weighted by counts, with the error that the means' errors give.

    Weights from the errors themselves would favour means that happen to be small: of skewed values these go together.
    """
    relative = np.array([m.error / m.value for m in means])
    x = np.log(n) - np.average(np.log(n), weights=counts)
    share = counts * x / (counts * x**2).sum()
    return Estimate(
        float(share @ np.log([m.value for m in means])), float(np.sqrt((share**2) @ (relative**2))), "draws"
    )


def pooled(values: Sequence[Estimate], counts: Array) -> Estimate:
    """Mean of independent estimates, weighted by the counts of what they are means of."""
    share = counts / counts.sum()
    error = np.sqrt((share**2) @ np.array([v.error**2 for v in values]))
    return Estimate(float(share @ np.array([v.value for v in values])), float(error), "draws")


def _share(hits: NDArray[np.bool_]) -> Estimate:
    """Share of hits with its binomial standard error, which is not zero where all or none hit."""
    n = len(hits)
    p = float(hits.mean())
    smooth = (hits.sum() + 0.5) / (n + 1)
    return Estimate(p, float(np.sqrt(smooth * (1 - smooth) / n)), "draws")


def _coverage_table(results: xr.DataTree) -> list[dict[str, Any]]:
    table = []
    for case in _cases(results).values():
        best, intervals = case["projection"].to_dataset(), case["intervals"].to_dataset()
        for label in best["parameter"].to_numpy():
            one, exact = intervals.sel(parameter=label), best.sel(parameter=label)
            used = np.isfinite(one["se_hessian"].to_numpy())
            error = np.abs(one["estimate"].to_numpy() - float(exact["best"]))[used]
            ratio = float(exact["se_hessian"] / exact["se_sandwich"])
            seen = (one["se_hessian"] / one["se_sandwich"]).to_numpy()[used]
            table.append(
                {
                    "case": case.attrs["short"],
                    "parameter": SYMBOLS[str(label)],
                    **{k: _share(error <= REACH * one[f"se_{k}"].to_numpy()[used]) for k in ("sandwich", "hessian")},
                    "ratio": ratio,
                    "seen": Estimate(float(seen.mean()), float(seen.std(ddof=1)), "draws"),
                    "same_side": float(((seen - 1) * (ratio - 1) > 0).mean()),
                    "expected": float(2 * norm.cdf(REACH * ratio) - 1),
                }
            )
    return table


def _curve_findings(case: xr.DataTree) -> dict[str, Any]:
    c = case["curves"].to_dataset()
    grid, ce = c["value"].to_numpy(), c["cross_entropy"].to_numpy()
    kl, expected = c["kl"].to_numpy(), c["expected_log"].to_numpy()
    best, own = int(np.argmax(expected)), float(c["expected_log_target"])
    return {
        "case": case.attrs["short"],
        "at": float(grid[best]),
        "expected_log_target": own,
        "expected_log": float(expected[best]),
        "difference": own - float(expected[best]),
        "divergence": float(kl[best]),
        "lifted": float(ce[best]) - float(c["entropy"]),
        "off": float(max(np.abs(own - expected - kl).max(), np.abs(ce - float(c["entropy"]) - kl).max())),
        "argmax_log": lowest(grid, -expected),
        "entropy": Estimate(float(c["entropy"]), float(c["entropy_error"]), "quadrature"),
        "cross_entropy": float(ce.min()),
        "kl": float(kl.min()),
        "exact": float(case["projection/best"].sel(parameter=c.attrs["parameter"])),
        "argmin_ce": lowest(grid, ce),
        "argmin_kl": lowest(grid, kl),
        "table": [
            {
                "case": case.attrs["short"],
                "n": n,
                "gap": Estimate(float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap))), "draws"),
                "argmin": lowest(grid, nll),
            }
            for n, nll, gap in zip(
                c["draws"].to_numpy().tolist(), c["nll"].to_numpy(), c["gap"].to_numpy(), strict=True
            )
        ],
    }


_OBJECTIVES = {
    "product": ("product of densities, as floats (9)", "num"),
    "scaled": ("product with an integer exponent (9)", "power"),
    "log": ("logarithm of the float product (8)", "num"),
    "sum": ("sum of logarithms (7)", "num"),
    "mean": ("mean of logarithms (6)", "num"),
}


def _product_findings(p: xr.Dataset) -> dict[str, Any]:
    from analysis.site.numbers import num

    def largest(value: float, style: str) -> str:
        if style == "power":
            return f"{10 ** (value % 1):.2f} × 10^{int(np.floor(value))}^".replace("-", "\N{MINUS SIGN}")
        return num(value, digits=4) if np.isfinite(value) else "−∞"

    step = float(p["step"])
    table = [
        {
            "n": int(n),
            "objective": title,
            "largest": largest(float(p["largest"].sel(draws=n, objective=key)), style),
            "argmax": None if np.isnan(a := float(p["argmax"].sel(draws=n, objective=key))) else f"{a:.3f}",
        }
        for n in p["draws"].to_numpy()
        for key, (title, style) in _OBJECTIVES.items()
    ]
    small, large = p["argmax"].to_numpy()
    defined = large[np.isfinite(large)]
    return {
        "table": table,
        "underflow": int(p["underflow"]),
        "step": step,
        "points": len(_SIGMAS),
        "agree_small": bool(np.ptp(small) < step / 2),
        "agree_large": bool(len(defined) == 3 and np.ptp(defined) < step / 2),
    }


def _replication_table(case: xr.DataTree) -> list[dict[str, Any]]:
    trace = float(case["projection/trace"])
    rows = []
    for i, n in enumerate(case["replications/n"].to_numpy().tolist()):
        gain, optimism = (_means(case, key)[i] for key in ("excess", "optimism"))
        rows.append(
            {
                "case": case.attrs["short"],
                "n": n,
                "count": int(case["replications/count"].to_numpy()[i]),
                "excess": gain,
                "optimism": optimism,
                "predicted": trace / (2 * n),
            }
        )
    return rows


def _error_table(case: xr.DataTree) -> list[dict[str, Any]]:
    """Median absolute error of each parameter, as the standard deviation of a Normal, over what the sandwich says, by size.

    No mean square: an estimate of degrees of freedom is infinite with a probability that is not zero, and so is its mean.
    """
    best = case["projection"].to_dataset()
    rows = []
    for i, n in enumerate(case["replications/n"].to_numpy().tolist()):
        for label in best["parameter"].to_numpy():
            one = best.sel(parameter=label)
            estimate = case["replications/estimate"].sel(parameter=label).to_numpy()[i]
            spread = _median(np.abs(estimate[~np.isnan(estimate)] - float(one["best"])) / QUARTILE)
            scale = float(one["se_sandwich"]) / np.sqrt(n)
            rows.append(
                {
                    "case": case.attrs["short"],
                    "n": n,
                    "count": int((~np.isnan(estimate)).sum()),
                    "infinite": int(np.isinf(estimate).sum()),
                    "parameter": SYMBOLS[str(label)],
                    "spread": spread,
                    "sandwich": scale,
                    "ratio": _scaled(spread, 1 / scale),
                }
            )
    return rows


def _median(values: Array) -> Estimate:
    """Median, with half of the range of the order statistics that enclose it with the probability of one standard error."""
    ordered, count = np.sort(values), len(values)
    low = max(int(np.floor((count - np.sqrt(count)) / 2)), 0)
    high = min(int(np.ceil((count + np.sqrt(count)) / 2)), count - 1)
    return Estimate(float(np.median(ordered)), float(ordered[high] - ordered[low]) / 2, "draws")


def _case_findings(case: xr.DataTree) -> dict[str, Any]:
    best = case["projection"].to_dataset()
    trace, count = float(best["trace"]), int(best.sizes["parameter"])
    n = case["replications/n"].to_numpy()
    large, counts = n >= LARGE, case["replications/count"].to_numpy()
    means = {key: _means(case, key) for key in ("excess", "optimism", "gap")}

    def constant(key: str, unit: float) -> Estimate:
        scaled = [_scaled(m, k / unit) for m, k in zip(means[key], n, strict=True)]
        return pooled([e for e, ok in zip(scaled, large, strict=True) if ok], counts[large])

    estimates = [case[f"{group}/estimate"].to_numpy().reshape(-1, count) for group in ("replications", "intervals")]
    fits = int(case["replications/count"].sum()) + int(case["intervals"].sizes["replication"])
    endless = sum(int(np.isinf(e).any(axis=1).sum()) for e in estimates)
    lost = fits - endless - sum(int(np.isfinite(e).all(axis=1).sum()) for e in estimates)
    return {
        "title": case.attrs["title"],
        "short": case.attrs["short"],
        "kl": Estimate(float(best["kl"]), float(best["kl_error"]), "quadrature"),
        "best": {str(k): float(v) for k, v in zip(best["parameter"].to_numpy(), best["best"].to_numpy(), strict=True)},
        "trace": trace,
        "parameters": count,
        "slope": slope(n[large], [m for m, ok in zip(means["excess"], large, strict=True) if ok], counts[large]),
        "excess_constant": constant("excess", trace / 2),
        "optimism_constant": constant("optimism", trace / 2),
        "gap_constant": constant("gap", trace),
        "kurtosis": 2 * trace - 1,  # of the target, if the family is the Normal
        "errors": _error_table(case),
        "risks": _replication_table(case),
        "largest": int(n.max()),
        "lost": lost,
        "endless": endless,
        "fits": fits,
        "check": {str(k): float(v) for k, v in case["check"].to_dataset().data_vars.items()},
    }


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.error * abs(factor), estimate.kind)


def _summary_row(case: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("short", "kl", "parameters", "trace", "slope", "excess_constant", "optimism_constant", "gap_constant")
    return {key: case[key] for key in keys}


def _coverage_sentence(table: Sequence[Mapping[str, Any]], fits: int) -> str:
    """What the intervals did, said of the numbers at hand."""
    sandwich = [row["sandwich"] for row in table]
    text = (
        f"Over the {len(table)} parameters the sandwich intervals cover between {_pc(min(s.value for s in sandwich))} and "
        f"{_pc(max(s.value for s in sandwich))} (standard error of each about {100 * max(s.error for s in sandwich):.1f} points, {fits:,} data sets)."
    )
    short = [row for row in table if row["hessian"].value < LEVEL - 0.03 - 3 * row["hessian"].error]
    long = [row for row in table if row["hessian"].value > LEVEL + 0.02 + 3 * row["hessian"].error]
    for rows, word in ((short, "too short"), (long, "too long")):
        if rows:
            which = " and ".join(f"{row['parameter']} of *{row['case']}* ({_pc(row['hessian'].value)})" for row in rows)
            text += f" Intervals from the Hessian alone are {word} for {which}."
    if not short and not long:
        text += " At this number of data sets no failure of the Hessian intervals can be told from noise."
    rest = len(table) - len(short) - len(long)
    if rest and (short or long):
        text += f" For the other {rest} no such failure shows."
    return text


def _seen_sentence(table: Sequence[Mapping[str, Any]]) -> str:
    """Whether one fit shows that its Hessian's standard errors are wrong."""
    apart = [row for row in table if abs(row["ratio"] - 1) > ALIKE]
    if not apart:
        return f"Here the two standard errors agree to {_pc(ALIKE)} for every parameter."
    parts = [
        f"{row['parameter']} of *{row['case']}*, {row['seen'].value:.2f} ± {row['seen'].error:.2f}, on the right side of 1 in {_pc(row['same_side'])} of data sets"
        for row in apart
    ]
    return (
        "A fit does show it, if it is asked for both: their ratio in one fit (mean ± standard deviation over data sets) is "
        f"{'; '.join(parts)}. White's information matrix test asks whether such a difference is more than noise [@white1982]."
    )


def _fit_sentence(case: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> str:
    """Whether a small divergence makes the two standard errors agree."""
    from analysis.site.numbers import num

    far = max((row for row in table if row["case"] == case["short"]), key=lambda row: abs(row["ratio"] - 1))
    size, nats = abs(far["ratio"] - 1), num(case["kl"].value, digits=2)
    if size > ALIKE:
        return (
            f"A small divergence is no guarantee: the best member for *{case['short']}* is only {nats} nats away, and the two standard errors "
            f"of {far['parameter']} still differ by {_pc(size)}."
        )
    return f"For *{case['short']}*, where the best member is only {nats} nats away, the two agree to {_pc(size)}."


def _endless_sentence(table: Sequence[Mapping[str, Any]]) -> str:
    """How often a parameter has no finite estimate, and what this forbids."""
    some = [row for row in table if row["infinite"]]
    if not some:
        return ""
    which = "; ".join(
        f"{row['parameter']} of *{row['case']}* in {row['infinite']} of {row['count']:,} data sets of {row['n']:,} draws"
        for row in some
    )
    return (
        f"The likelihood may rise without end: {which}. The estimate is then infinite (the Student-t has become the Normal), and since this has "
        "some probability at every *n*, the mean square error of that parameter is infinite at every *n*. So the table compares medians."
    )


def _pc(value: float) -> str:
    return f"{100 * value:.1f}%"


def _ratio_sentence(table: Sequence[Mapping[str, Any]]) -> str:
    """Where the sandwich is not yet the error of the estimate, by all sizes of data sets."""
    table = [row for row in table if row["count"] >= MANY]
    far = [row for row in table if abs(row["ratio"].value - 1) > 3 * row["ratio"].error]
    what = f"{len(table)} ratios from at least {MANY} data sets, those of sizes not listed included,"
    if not far:
        return f"All {what} are within three standard errors of 1."
    which = ", ".join(f"{row['parameter']} of *{row['case']}* at *n* = {row['n']:,}" for row in far)
    return (
        f"Of {what} {len(far)} {'is' if len(far) == 1 else 'are'} more than three "
        f"standard errors from 1 (by chance, about one in 370 would be): {which}. The sandwich is a limit, and says nothing of how soon it is reached."
    )


def _slope_sentence(cases: Mapping[str, Any]) -> str:
    far = [c["short"] for c in cases.values() if abs(c["slope"].value + 1) > 3 * c["slope"].error]
    if not far:
        return "All slopes are within three standard errors of −1."
    return f"The slope for {' and '.join(far)} is more than three standard errors from −1: terms of higher order in 1/*n* still show at these sizes."


def _constant_sentence(cases: Mapping[str, Any]) -> str:
    pairs = [
        (c["short"], c[key], sign)
        for c in cases.values()
        for key, sign in (("excess_constant", 1), ("optimism_constant", -1), ("gap_constant", 1))
    ]
    far = [name for name, e, sign in pairs if abs(e.value - sign) > 3 * e.error]
    if not far:
        return "All constants are within three standard errors of theory."
    return f"{len(far)} of the {len(pairs)} constants ({', '.join(dict.fromkeys(far))}) are more than three standard errors from theory."


def _map_findings(m: xr.Dataset, sigma: float) -> dict[str, Any]:
    """MAP against maximum likelihood; `sigma` is the projection's, whose mean is 0."""
    n = m["n"].to_numpy()
    distance = np.abs((m["map"] - m["mle"]).sel(parameter="mu").to_numpy())
    return {
        "table": [
            {"n": int(k), "mle": float(a), "map": float(b), "distance": float(d), "scaled": float(k * d)}
            for k, a, b, d in zip(n, m["mle"].sel(parameter="mu"), m["map"].sel(parameter="mu"), distance, strict=True)
        ],
        "slope": float(np.polyfit(np.log(n[n >= LARGE]), np.log(distance[n >= LARGE]), 1)[0]),
        "theory": sigma**2 * PRIOR[0] / PRIOR[1] ** 2,
        "mean": PRIOR[0],
        "sd": PRIOR[1],
    }


def _smoothing_findings(s: xr.Dataset) -> dict[str, Any]:
    width, kl = s["width"].to_numpy(), s["kl"].to_numpy()
    return {
        "table": [
            {"width": f"{w:g}" if w >= 1e-2 else f"10^{round(np.log10(w))}^".replace("-", "\N{MINUS SIGN}"), "kl": float(k),
             "argmin": float(a)}
            for w, k, a in zip(width, kl, s["argmin"].to_numpy(), strict=True)
        ],
        "slope": float((kl[-1] - kl[-2]) / np.log(width[-2] / width[-1])),
        "mle": float(s["mle"]),
        "draws": int(s["draws"]),
    }  # fmt: skip


_WELL = {
    "unequal": "0.3 N(−2, 0.25) + 0.7 N(2, 1) onto mixtures of two Normals",
    "student_t_6": "Student-t with ν = 6 onto the Student-t",
}


def _well_findings(w: xr.Dataset) -> dict[str, Any]:
    table: list[dict[str, Any]] = [
        {
            "case": _WELL[str(name)],
            "error": float(one["error"]),
            "kl": Estimate(float(one["kl"]), float(one["kl_error"]), "quadrature"),
            "difference": float(one["difference"]),
            "trace": float(one["trace"]),
            "parameters": int(one["parameters"]),
        }
        for name in w["target"].to_numpy()
        for one in [w.sel(target=name)]
    ]
    return {
        "table": [{**row, "trace": f"{row['trace']:.6f}"} for row in table],
        "error": max(row["error"] for row in table),
        "kl": max(abs(row["kl"].value) for row in table),
        "difference": max(row["difference"] for row in table),
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
    found = {name: _case_findings(case) for name, case in _cases(results).items()}
    coverage = _coverage_table(results)
    drawn = {name: _curve_findings(case) for name, case in _cases(results).items() if "curves" in case}
    lines = results["lines"]
    smoothing = _smoothing_findings(lines["smoothed"].to_dataset())
    sandwich = [row["sandwich"].value for row in coverage]
    hessian = [row["hessian"].value for row in coverage]
    deviation = max(abs(c["excess_constant"].value - 1) for c in found.values())
    answer = (
        "In the sense that it minimises the cross-entropy, estimated from draws. The mean negative log likelihood estimates "
        "the cross-entropy, which differs from forward KL by the entropy of the target, a number without parameters; so they share a minimiser and not a "
        "minimum. If the family is wrong, the estimate still goes to the member closest in forward KL, with an excess KL of about "
        f"$\\operatorname{{tr}}(J^{{-1}}K)/(2n)$ (measured: within {100 * deviation:.0f}% in {len(found)} cases, for $n \\ge$ {LARGE:,}). What a wrong family breaks is the usual standard error: nominal {100 * LEVEL:.0f}% intervals "
        f"cover {_pc(min(hessian))} to {_pc(max(hessian))} with the Hessian alone and {_pc(min(sandwich))} to {_pc(max(sandwich))} with the sandwich."
    )
    return {
        "question": QUESTION,
        "answer": answer,
        **found,
        "settings": settings,
        "level": LEVEL,
        "interval_n": INTERVAL_N,
        "large": LARGE,
        "quartile": f"{QUARTILE:.4f}",
        "curves": list(drawn.values()),
        "curve_table": [row for c in drawn.values() for row in c["table"]],
        "products": _product_findings(lines["products"].to_dataset()),
        "product_n": PRODUCT_N,
        "summary": [_summary_row(c) for c in found.values()],
        "errors": [row for c in found.values() for row in c["errors"] if row["n"] in (100, 10_000, c["largest"])],
        "coverage": coverage,
        "coverage_table": [
            {
                **row,
                **{key: _scaled(row[key], 100) for key in ("sandwich", "hessian")},
                "seen": f"{row['seen'].value:.2f}\u00a0±\u00a0{row['seen'].error:.2f}",
            }
            for row in coverage
        ],
        "seen_sentence": _seen_sentence(coverage),
        "fit_sentence": _fit_sentence(found["outliers"], coverage),
        "endless_sentence": _endless_sentence([row for c in found.values() for row in c["errors"]]),
        "lines_off": max(c["off"] for c in drawn.values()),
        "ratio_sentence": _ratio_sentence([row for c in found.values() for row in c["errors"]]),
        "repeats": _REPEATS,
        "coverage_sentence": _coverage_sentence(coverage, settings["intervals"]),
        "slope_sentence": _slope_sentence(found),
        "constant_sentence": _constant_sentence(found),
        "smoothing": smoothing,
        "map": _map_findings(lines["map"].to_dataset(), found["bimodal"]["best"]["sigma"]),
        "well": _well_findings(lines["well_specified"].to_dataset()),
        "lost": sum(c["lost"] for c in found.values()),
        "fits": sum(c["fits"] for c in found.values()),
        "check": max(v for c in found.values() for v in c["check"].values()),
    }
