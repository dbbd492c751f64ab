"""Which of two families is better, and what data can say about it: model choice as a difference of forward KL."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import arviz as az
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDData
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from scipy.stats import t as student

from analysis.data.columns import load_column
from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.draws import draw
from analysis.parts import Part, runner
from analysis.two_families import QUESTION
from analysis.two_families import marks as families_fig
from models.errors import ConvergenceError
from models.families import FAMILIES, Family, normal_mixture
from models.graphs import compiled
from models.graphs.distributions import logp_graph
from models.mle import fit_mle, sandwich, scores
from models.projections import Projection, forward_projection
from models.projections.objectives import forward_objective
from models.quadrature import Estimate, expect, nodes
from models.targets import Target, from_distribution, from_draws
from models.targets import normal_mixture as mixture_target

Array = NDArray[np.float64]
#: The two families of the known cases: f and g.
PAIR = ("normal", "laplace")
#: Sample sizes at which the choice is studied.
SIZES = (20, 50, 100, 200, 500, 1000, 2000)
CRITERIA = {"in_sample": "log likelihood", "tic": "TIC", "loo": "leave-one-out"}
#: A member's standard deviation divided by its scale parameter.
SPREAD = {"normal": 1.0, "laplace": float(np.sqrt(2))}
#: Standard deviations at the ends of the two curves.
RANGE = (0.6, 1.7)
#: Ways to leave one out whose standard errors are judged: difference and standard error among the replications.
WAYS = {"refits": ("loo", "dse"), "az.compare": ("bayes", "bayes_dse")}
LEVEL = 0.95
#: Standard errors from which on a deviation is called one. At three, chance alone is taken for one in 370 cases.
CLEAR = 3.0
#: What EM reaches on the real data; see ``data/README.md``.
EM_FILE = Path(__file__).parents[1] / "data" / "em_mixtures.csv"


class Settings(BaseModel):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    members : int
        Members of each family in the picture.
    n, replications : int
        Draws per data set, an even number, and number of data sets, in the study of the difference and its standard error.
    compared : int
        How many of these data sets ``az.compare`` is called on, with exact leave-one-out densities.
    smoothed : int
        How many of them it is called on with ``az.loo`` of draws.
    posterior_draws : int
        Draws of each posterior for these, over four chains.
    trials : int
        Data sets at each sample size in the study of wrong choices.
    starts : int
        Starts of each fit to real data.
    components : int
        Largest number of components of a mixture fitted to real data; a data set may have a smaller limit of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    members: int = Field(default=25, ge=5)
    n: int = Field(default=200, ge=20, multiple_of=2)
    replications: int = Field(default=2000, ge=10)
    compared: int = Field(default=200, ge=2)
    smoothed: int = Field(default=8, ge=2)
    posterior_draws: int = Field(default=1000, ge=400, multiple_of=4)
    trials: int = Field(default=1000, ge=20)
    starts: int = Field(default=12, ge=1)
    components: int = Field(default=6, ge=2)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, members=21, replications=500, compared=50, smoothed=2, trials=200, starts=4, components=3
            )
        if effort == "full":
            return cls(
                seed=seed, members=41, replications=10_000, compared=1000, smoothed=100, posterior_draws=4000, trials=5000,
                starts=40,
            )  # fmt: skip
        return cls(seed=seed)


# --- the cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A symmetric target with a known density, so that both families project onto location 0."""

    name: str
    short: str
    title: str

    @property
    def target(self) -> Target:
        """The density."""
        if self.name == "logistic":
            return from_distribution("Logistic", {"mu": 0.0, "s": np.sqrt(3) / np.pi}, label=self.title)
        return mixture_target([0.85, 0.15], [0, 0], [0.7, 2], name=self.title)


@dataclass(frozen=True)
class Data:
    """A data set: column, the unit in which it is fitted, and the largest number of components of a mixture."""

    name: str
    title: str
    unit: str
    components: int
    divisor: float = 1.0

    @property
    def values(self) -> Array:
        """Observations (n,)."""
        return load_column(self.name) / self.divisor


KNOWN = (
    Known("logistic", "logistic", "Logistic"),
    Known("contaminated", "contaminated Normal", "0.85 N(0, 0.7²) + 0.15 N(0, 2²)"),
)
DATA = (
    Data("old_faithful_waiting", "Old Faithful, waiting times", "minutes", 4),
    Data("old_faithful_eruptions", "Old Faithful, eruptions", "minutes", 4),
    Data("galaxies", "Galaxy velocities", "1000 km/s", 6, 1000.0),
)
SINGLE = ("normal", "student_t", "skew_normal", "logistic", "laplace")


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    drawn = settings.model_dump(exclude={"members", "starts", "components"})
    fitted = settings.model_dump(include={"seed", "starts", "components"})
    members = settings.members
    return [
        Part(
            "geometry",
            "plane of distributions",
            {"part": "geometry", "members": members},
            partial(run_geometry, members),
            weight=4,
        ),
        *(
            Part(
                known.name,
                f"choice, {known.title}",
                {"part": known.name, **drawn},
                partial(run_choice, known, settings),
                weight=4,
            )
            for known in KNOWN
        ),
        *(
            Part(data.name, data.title, {"part": data.name, **fitted}, partial(run_data, data, settings), 12)
            for data in DATA
        ),
    ]


#: ``geometry``: see `run_geometry`; one child per known target: see `run_choice`; one per data set: see `run_data`.
run = runner(QUESTION, Settings, parts)


# --- the plane of distributions --------------------------------------------------------------------------------------


def line_rule(panels: int = 40) -> tuple[Array, Array]:
    """Gauss-Legendre points and weights over the real line, in panels that lengthen outwards from an edge at 0."""
    edges = 0.35 * np.sinh(np.linspace(0, 6, panels + 1))
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    points, weights = (edges[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()
    return np.concatenate([-points[::-1], points]), np.concatenate([weights[::-1], weights])


def jensen_shannon(a: Array, b: Array, weights: Array) -> Array:
    """Jensen-Shannon divergence in nats between log densities `a` (..., q) and `b` (..., q) on a rule.

    Its square root is a metric (Endres and Schindelin, 2003), and that of points in a Hilbert space (Fuglede and Topsøe, 2004).
    """
    middle = np.logaddexp(a, b) - np.log(2)
    return np.asarray((np.exp(a) * (a - middle) + np.exp(b) * (b - middle)) @ weights / 2)


def scaling(squared: Array) -> tuple[Array, Array]:
    """Classical multidimensional scaling of squared distances (m, m).

    Returns
    -------
    coordinates : ndarray (m, m)
        One column per axis, longest first; axes of negative eigenvalues are zero.
    eigenvalues : ndarray (m,)
        Descending. Their sum is the sum of the squared distances divided by m; a negative one means that no set of points
        has these distances.
    """
    centre = np.eye(len(squared)) - 1 / len(squared)
    values, vectors = np.linalg.eigh(-centre @ squared @ centre / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    return vectors * np.sqrt(np.maximum(values, 0)), values


def member(name: str, sd: float) -> Target:
    """Member of a family of `PAIR` with location 0 and a given standard deviation."""
    family = FAMILIES[name]
    return family.member({"mu": 0.0, str(family.scale): sd / SPREAD[name]})


def run_geometry(members: int) -> xr.DataTree:
    """Place two curves of members, two targets and their projections in a plane.

    Distances are 2 sqrt(JS) with the Jensen-Shannon divergence JS: a metric whose square is close to KL for neighbours.

    Parameters
    ----------
    members : int
        Of each family.

    Returns
    -------
    xarray.DataTree
        ``points``: place of each distribution, its family (or ``target``) and standard deviation. ``spectrum``: eigenvalues.
        ``curves``: exact forward KL from each target along each curve. ``projections``: for each target and family the exact
        projection and its KL, the standard deviation of the members nearest in Jensen-Shannon divergence and in the plane,
        and the length of the segment in the plane and in full.
    """
    sds = np.geomspace(*RANGE, members)
    projections = {(c.name, f): forward_projection(c.target, FAMILIES[f]) for c in KNOWN for f in PAIR}
    best = {key: SPREAD[key[1]] * float(p.params[str(FAMILIES[key[1]].scale)]) for key, p in projections.items()}
    x, w = line_rule()
    rows = [("member", f, float(sd), member(f, float(sd))) for f in PAIR for sd in sds]
    rows += [("projection", f, best[c, f], member(f, best[c, f])) for c, f in projections]
    rows += [("target", c.name, np.nan, c.target) for c in KNOWN]
    logs = np.stack([q.logp(x[:, None]) for *_, q in rows])
    squared = 4 * np.stack([jensen_shannon(row[None], logs, w) for row in logs])
    coordinates, eigenvalues = scaling(squared)
    plane = _turned(coordinates[:, :2], members)
    at = {"x": ("point", plane[:, 0]), "y": ("point", plane[:, 1])}
    labels = {key: ("point", [str(r[i]) for r in rows]) for i, key in enumerate(("role", "family"))}
    flat = np.linalg.norm(plane[:, None] - plane, axis=2)
    upper = np.triu_indices(len(rows), 1)
    tree = {
        "points": xr.Dataset({**at, **labels, "sd": ("point", [r[2] for r in rows])}),
        "spectrum": xr.Dataset(
            {
                "eigenvalue": ("axis", eigenvalues),
                "mass_error": np.abs(np.exp(logs) @ w - 1).max(),
                "worst_distance": np.abs(flat - np.sqrt(np.maximum(squared, 0)))[upper].max(),
                "longest": np.sqrt(squared.max()),
                "members": members,
            }
        ),
        "curves": _curves(x, w),
        "projections": _projections(projections, best, plane, squared, members, (x, w)),
    }
    return xr.DataTree.from_dict(tree)


def _turned(plane: Array, members: int) -> Array:
    """Mirror the axes so that standard deviations grow to the right and the second family lies above the first."""
    first, second = plane[:members], plane[members : 2 * members]
    signs = np.sign([first[-1, 0] - first[0, 0], second[:, 1].mean() - first[:, 1].mean()])
    return np.asarray(plane * np.where(signs == 0, 1, signs))


def _curves(x: Array, w: Array, count: int = 121) -> xr.Dataset:
    """Forward KL from each target along both curves."""
    sds = np.geomspace(*RANGE, count)
    logs = {f: np.stack([member(f, float(sd)).logp(x[:, None]) for sd in sds]) for f in PAIR}
    found = []
    for case in KNOWN:
        log_p = case.target.logp(x[:, None])
        found.append([(log_p - logs[f]) @ (w * np.exp(log_p)) for f in PAIR])
    return xr.Dataset(
        {"kl": (("target", "family", "member"), found)},
        coords={"target": [c.name for c in KNOWN], "family": list(PAIR), "sd": ("member", sds)},
    )


def _projections(
    projections: Mapping[tuple[str, str], Projection],
    best: Mapping[tuple[str, str], float],
    plane: Array,
    squared: Array,
    members: int,
    rule: tuple[Array, Array],
) -> xr.Dataset:
    x, w = rule
    titles = [c.name for c in KNOWN]
    sds = np.geomspace(*RANGE, members)
    values: dict[str, list[float]] = {key: [] for key in ("sd", "location", "kl", "kl_error", "js_sd", "js_kl", "plane_sd",
                                                            "plane_kl", "drawn", "full")}  # fmt: skip
    for i, (c, f) in enumerate(projections):
        target, projection = KNOWN[titles.index(c)].target, projections[c, f]
        log_p = target.logp(x[:, None])
        at, of = 2 * members + i, 2 * members + len(projections) + titles.index(c)
        curve = CubicSpline(np.log(sds), plane[PAIR.index(f) * members :][:members])

        def shannon(log_sd: float, f: str = f, log_p: Array = log_p) -> float:
            return float(jensen_shannon(log_p, member(f, float(np.exp(log_sd))).logp(x[:, None]), w))

        def drawn(log_sd: float, curve: CubicSpline = curve, of: int = of) -> float:
            return float(((curve(log_sd) - plane[of]) ** 2).sum())

        def divergence(sd: float, f: str = f, log_p: Array = log_p) -> float:
            return float((w * np.exp(log_p)) @ (log_p - member(f, sd).logp(x[:, None])))

        js_sd, plane_sd = (
            float(np.exp(minimize_scalar(g, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-9}).x))
            for g in (shannon, drawn)
        )
        entry = {
            "sd": best[c, f], "location": float(projection.params["mu"]), "kl": projection.divergence.value,
            "kl_error": projection.divergence.error, "js_sd": js_sd, "js_kl": divergence(js_sd), "plane_sd": plane_sd,
            "plane_kl": divergence(plane_sd), "drawn": float(np.linalg.norm(plane[at] - plane[of])),
            "full": float(np.sqrt(squared[at, of])),
        }  # fmt: skip
        for key, value in entry.items():
            values[key].append(value)
    shape = (len(KNOWN), len(PAIR))
    return xr.Dataset(
        {key: (("target", "family"), np.reshape(column, shape)) for key, column in values.items()},
        coords={"target": titles, "family": list(PAIR)},
    )


# --- maximum likelihood of many data sets at once --------------------------------------------------------------------


@cache
def _density(name: str) -> Callable[..., Any]:
    """PyMC's log density of a family over vectors of points, locations and scales."""

    def build() -> Any:
        import pytensor.tensor as pt
        from pytensor.graph.replace import vectorize_graph

        one = [pt.scalar(label) for label in ("point", "location", "scale")]
        many = [pt.vector(f"{label}s") for label in ("point", "location", "scale")]
        graph = logp_graph(name, one[0], {"mu": one[1], str(FAMILIES[name].scale): one[2]})
        return many, vectorize_graph(graph, dict(zip(one, many, strict=True)))

    return compiled("log density of a location-scale family", name, build)


def log_density(name: str, x: Array, location: Array, scale: Array) -> Array:
    """Log density in nats of members of a family of `PAIR`; the arguments are broadcast together."""
    arrays = np.broadcast_arrays(np.asarray(x, dtype=float), location, scale)
    return np.asarray(_density(name)(*(a.ravel() for a in arrays))).reshape(arrays[0].shape)


def estimates(name: str, x: Array) -> tuple[Array, Array]:
    """Maximum likelihood location and scale (r, 1) for each row of `x` (r, n): closed forms."""
    if name == "normal":
        return x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    location = np.median(x, axis=1, keepdims=True)
    return location, np.abs(x - location).mean(axis=1, keepdims=True)


def estimates_without(name: str, x: Array) -> tuple[Array, Array]:
    """Estimates (r, n) without each observation in turn, for sorted rows of an even number n: exact, no refits.

    The median of the n - 1 others is the upper of the two middle values if an observation up to the lower one is left out,
    else the lower; the sum of distances from either is the same.
    """
    n = x.shape[1]
    if name == "normal":
        from_mean = x - x.mean(axis=1, keepdims=True)
        squares = (from_mean**2).sum(axis=1, keepdims=True) - from_mean**2 * n / (n - 1)
        return x - from_mean * n / (n - 1), np.sqrt(squares / (n - 1))
    lower, upper = x[:, n // 2 - 1 : n // 2], x[:, n // 2 : n // 2 + 1]
    location = np.where(np.arange(n) < n // 2, upper, lower)
    distances = np.abs(x - lower).sum(axis=1, keepdims=True)
    return location, (distances - np.abs(x - location)) / (n - 1)


def optimism(name: str, x: Array) -> Array:
    """Estimate of tr(J^-1 K) for each row of `x` (r, n): by how many nats the maximum likelihood is too high.

    For the Laplace the density of p_data at the median is needed, and estimated by a Gaussian kernel with Scott's width.
    """
    location, scale = estimates(name, x)
    z = (x - location) / scale
    if name == "normal":
        return np.asarray((1 + (z**4).mean(axis=1)) / 2)
    width = x.std(axis=1, ddof=1, keepdims=True) * x.shape[1] ** -0.2
    at_median = norm.pdf((x - location) / width).mean(axis=1) / width[:, 0]
    return np.asarray(1 / (2 * scale[:, 0] * at_median) + np.abs(z).var(axis=1))


def criteria(x: Array) -> dict[str, Array]:
    """Differences f - g for sorted rows of `x` (r, n), in nats over all n observations.

    Returns
    -------
    dict of str to ndarray (r,)
        ``in_sample`` (the maximised log likelihoods), ``tic`` (each less its estimated optimism), ``loo`` (leave-one-out with
        exact refits) and ``dse``, the standard error of the latter: sqrt(n var(pointwise differences)), as in ArviZ.
    """
    inside = {f: log_density(f, x, *estimates(f, x)).sum(axis=1) for f in PAIR}
    outside = [log_density(f, x, *estimates_without(f, x)) for f in PAIR]
    pointwise = outside[0] - outside[1]
    raw = inside[PAIR[0]] - inside[PAIR[1]]
    return {
        "in_sample": raw,
        "tic": raw - optimism(PAIR[0], x) + optimism(PAIR[1], x),
        "loo": pointwise.sum(axis=1),
        "dse": np.sqrt(x.shape[1] * pointwise.var(axis=1)),
    }


def data_sets(target: Target, count: int, n: int, seed: Sequence[int]) -> Array:
    """Draws (count, n) of a target, each row sorted."""
    return np.sort(draw(target, np.random.default_rng(seed), (count, n)), axis=1)


# --- choice between two families -------------------------------------------------------------------------------------


def run_choice(case: Known, settings: Settings) -> xr.DataTree:
    """Compare Normal and Laplace on many data sets drawn from a known target.

    Parameters
    ----------
    case : Known
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``exact``: over families the KL of the projection, its error and tr(J^-1 K); the mean and standard deviation of the
        difference of log densities at the projections, f - g, of one observation. ``replications``: the `criteria` for each
        data set of n draws; ``bayes`` and ``bayes_dse``, leave-one-out of the two posterior predictive densities; and the
        difference ``fitted`` of the exact KL of the two fits, times n. ``compare``: what ``az.compare`` says of the first of
        them, with the exact densities left out. ``smoothed``: the same with ``az.loo`` of draws. ``wrong``: share of wrong choices at each size, what first-order
        theory predicts, and the change against the log likelihood on the same data sets with its standard error.
    """
    target = case.target
    projections = {f: forward_projection(target, FAMILIES[f]) for f in PAIR}
    exact = _exact(target, projections)
    index = KNOWN.index(case)
    x = data_sets(target, settings.replications, settings.n, [settings.seed, index, 0])
    found = criteria(x)
    found["fitted"] = settings.n * _fitted_difference(target, x)
    left_out = {f: np.stack([left_out_predictive(f, row) for row in x]) for f in PAIR}
    pointwise = left_out[PAIR[0]] - left_out[PAIR[1]]
    found["bayes"], found["bayes_dse"] = pointwise.sum(axis=1), np.sqrt(settings.n * pointwise.var(axis=1))
    rng = np.random.default_rng([settings.seed, index, 2])
    exactly = [compare({f: _as_elpd(left_out[f][i]) for f in PAIR}) for i in range(min(settings.compared, len(x)))]
    smoothed = [compare(smoothed_elpd(row, settings.posterior_draws, rng)) for row in x[: settings.smoothed]]
    tree = {
        "exact": exact,
        "replications": xr.Dataset({key: ("replication", values) for key, values in found.items()}),
        "compare": _as_dataset(exactly, ("elpd_diff", "dse")),
        "smoothed": _as_dataset(smoothed, ("elpd_diff", "dse", "pareto_k")),
        "wrong": _wrong(target, exact, settings, index),
    }
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"title": case.title, "n": settings.n}
    return result


def _exact(target: Target, projections: Mapping[str, Projection]) -> xr.Dataset:
    f, g = (projections[name].member for name in PAIR)

    def difference(x: Array) -> Array:
        return f.logp(x) - g.logp(x)

    mean = expect(target, difference, others=[f, g])
    spread = expect(target, lambda x: (difference(x) - mean.value) ** 2, others=[f, g])
    divergences = [projections[name].divergence for name in PAIR]
    return xr.Dataset(
        {
            "kl": ("family", [d.value for d in divergences]),
            "kl_error": ("family", [d.error for d in divergences]),
            "trace": ("family", [sandwich(target, projections[name]).trace for name in PAIR]),
            "mean": mean.value,
            "mean_error": mean.error,
            "sd": float(np.sqrt(spread.value)),
        },
        coords={"family": list(PAIR)},
    )


def _fitted_difference(target: Target, x: Array) -> Array:
    """Difference KL(p||g) - KL(p||f) (r,) of the fits to each row: exact, given p.

    Needs E|x - m| at the fitted medians m, from a spline through quadratures.
    """
    rule = nodes(target, [lambda t: t[:, 0] ** 2])
    mean, variance = float(rule.weights @ rule.points[:, 0]), float(rule.weights @ rule.points[:, 0] ** 2)
    m, s = (part[:, 0] for part in estimates("normal", x))
    first = np.log(s) + np.log(2 * np.pi) / 2 + (variance - 2 * m * mean + m**2) / (2 * s**2)
    centre, b = (part[:, 0] for part in estimates("laplace", x))
    knots = np.linspace(centre.min(), centre.max(), 33)
    distances = [expect(target, partial(_distance, knot), tolerance=1e-10).value for knot in knots]
    second = np.log(2 * b) + CubicSpline(knots, distances)(centre) / b
    return np.asarray(second - first)


def _distance(centre: float, x: Array) -> Array:
    return np.abs(x[:, 0] - centre)


def posterior(name: str, x: Array, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Independent draws of location and scale from the posterior under priors flat in location and log scale.

    For the Normal by its closed form. For the Laplace the scale given the location is inverse gamma, and the location alone
    has density proportional to (sum of |x - location|)^-n, drawn by inverting its distribution function on a grid.
    """
    n = len(x)
    if name == "normal":
        sigma = np.sqrt(n * x.var() / rng.chisquare(n - 1, draws))
        return x.mean() + sigma * rng.standard_normal(draws) / np.sqrt(n), sigma
    centre, b = (float(part[0, 0]) for part in estimates(name, x[None]))
    grid = centre + np.linspace(-12, 12, 4001) * b / np.sqrt(n)
    log_sum = np.log(np.abs(x[:, None] - grid).sum(axis=0))
    density = np.exp(-n * (log_sum - log_sum.min()))
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    location = np.interp(rng.random(draws) * cumulative[-1], cumulative, grid)
    return location, np.abs(x[:, None] - location).sum(axis=0) / rng.gamma(n, size=draws)


def left_out_predictive(name: str, x: Array) -> Array:
    """Log posterior predictive density (n,) of each of the sorted observations x (n,) given the others, in nats: exact.

    Under priors flat in location and log scale. For the Normal it is a Student-t with n - 2 degrees of freedom. For the
    Laplace it is (n - 1) / 2 times the integral of S(m)^-n over that of R(m)^-(n - 1), with S(m) the sum of all distances
    from m and R(m) the sum over the others; both are linear between observations, so each piece has a closed form.
    """
    n = len(x)
    if name == "normal":
        location, sd = (part[0] for part in estimates_without(name, x[None]))
        return np.asarray(student.logpdf(x, n - 2, location, sd * np.sqrt(n / (n - 2))))
    distances = np.abs(x[:, None] - x)
    whole = distances.sum(axis=0)
    steps = np.diff(x)
    every = _log_integral(whole, steps, n)
    return np.asarray(np.log((n - 1) / 2) + every - _log_integral(whole - distances, steps, n - 1))


def _log_integral(sums: Array, steps: Array, count: int) -> Array:
    """Log of the integral over the line of a sum of `count` distances to the power -count.

    Parameters
    ----------
    sums : ndarray (..., n)
        The sum at n ascending points, between which it is linear, and outside of which it has slope -count and count.
    steps : ndarray (n - 1,)
        Distances between these points.
    count : int
    """
    least = sums.min(axis=-1, keepdims=True)
    height = (sums / least) ** -float(count)
    rise = np.log(sums[..., 1:] / sums[..., :-1])
    flat = np.abs(rise) < 1e-12
    safe = np.where(flat, 1.0, rise)
    mean = np.where(flat, 1.0, np.expm1((1 - count) * safe) / ((1 - count) * np.expm1(safe)))
    inside = (steps * height[..., :-1] * mean).sum(axis=-1)
    outside = (height * sums)[..., [0, -1]].sum(axis=-1) / (count * (count - 1))
    return np.asarray(np.log(inside + outside) - count * np.log(least[..., 0]))


def _as_elpd(pointwise: Array) -> ELPDData:
    """Exact leave-one-out log densities (n,) as ArviZ has them; what it asks for besides is not used in a comparison."""
    n = len(pointwise)
    return ELPDData(
        elpd=float(pointwise.sum()), se=float(np.sqrt(n * pointwise.var())), p=np.nan, n_samples=0, n_data_points=n,
        scale="log", warning=False, good_k=0.7, elpd_i=xr.DataArray(pointwise, dims="x"),
    )  # fmt: skip


def smoothed_elpd(x: Array, draws: int, rng: np.random.Generator) -> dict[str, ELPDData]:
    """``az.loo`` of the two families on data (n,): leave-one-out by Pareto-smoothed importance sampling of draws."""
    models = {}
    for name in PAIR:
        location, scale = posterior(name, x, draws, rng)
        fold = {"mu": location.reshape(4, -1), "scale": scale.reshape(4, -1)}
        likelihood = log_density(name, x, fold["mu"][..., None], fold["scale"][..., None])
        tree = az.from_dict({"posterior": fold, "log_likelihood": {"x": likelihood}})
        with warnings.catch_warnings():  # Pareto k is reported
            warnings.filterwarnings("ignore", message="Estimated shape parameter", category=UserWarning)
            models[name] = az.loo(tree, pointwise=True, reff=1.0)  # the draws are independent
    return models


def compare(models: dict[str, ELPDData]) -> tuple[float, float, float]:
    """``az.compare`` of the two families: ``elpd_diff`` f - g, ``dse``, and the largest Pareto k if there is one."""
    table = az.compare(models, reference=PAIR[1], round_to="none")
    worst = max(np.nan if m.pareto_k is None else float(m.pareto_k.max()) for m in models.values())
    return float(table.loc[PAIR[0], "elpd_diff"]), float(table.loc[PAIR[0], "dse"]), worst


def _as_dataset(rows: Sequence[Sequence[float]], names: Sequence[str]) -> xr.Dataset:
    return xr.Dataset({name: ("replication", [row[i] for row in rows]) for i, name in enumerate(names)})


def _wrong(target: Target, exact: xr.Dataset, settings: Settings, index: int) -> xr.Dataset:
    mean, sd = float(exact["mean"]), float(exact["sd"])
    gap = float(exact["trace"][0] - exact["trace"][1])
    # In the sample the maximum is higher by half the trace, leave-one-out lower by half of it, and TIC aims at the latter.
    shifts = {"in_sample": gap / 2, "tic": -gap / 2, "loo": -gap / 2}
    rates, predicted, changes, errors = [], [], [], []
    for i, n in enumerate(SIZES):
        found = criteria(data_sets(target, settings.trials, n, [settings.seed, index, 1, i]))
        wrong = np.array([found[key] * mean < 0 for key in CRITERIA], dtype=float)
        paired = wrong - wrong[0]  # the same data sets for every criterion
        rates.append(wrong.mean(axis=1))
        changes.append(paired.mean(axis=1))
        errors.append(paired.std(axis=1, ddof=1) / np.sqrt(settings.trials))
        predicted.append(
            [float(norm.cdf(-np.sign(mean) * (n * mean + shifts[key]) / (np.sqrt(n) * sd))) for key in CRITERIA]
        )
    by = ("n", "criterion")
    return xr.Dataset(
        {
            "rate": (by, rates),
            "predicted": (by, predicted),
            "change": (by, changes),
            "change_error": (by, errors),
            "trials": settings.trials,
        },
        coords={"n": list(SIZES), "criterion": list(CRITERIA)},
    )


# --- real data -------------------------------------------------------------------------------------------------------


def run_data(data: Data, settings: Settings) -> xr.DataTree:
    """Fit every candidate family to a data set by maximum likelihood.

    Parameters
    ----------
    data : Data
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``fits``: over ``family`` the log likelihood of each observation, the number of parameters, the trace tr(J^-1 K), and
        the fit's ``status``, ``starts_reached`` and ``starts_degenerate``. A family whose maximum lies in the limit of a
        parameter has the values of that limit's nearest member and no trace; one without a maximum has no values.
        ``em``: over ``components`` the best log likelihood of a Normal mixture that EM finds (see `em_reference`).
    """
    x = data.values
    largest = min(data.components, settings.components)
    candidates = [*(FAMILIES[name] for name in SINGLE), *(normal_mixture(k) for k in range(2, largest + 1))]
    fits = [_fit(x, family, settings) for family in candidates]
    columns = {key: ("family", [f[key] for f in fits]) for key in fits[0] if key != "pointwise"}
    tree = xr.DataTree.from_dict(
        {
            "fits": xr.Dataset(
                {"pointwise": (("family", "observation"), np.stack([f["pointwise"] for f in fits])), **columns},
                coords={"family": [f.name for f in candidates]},
            ),
            "em": em_reference(data.name).sel(components=slice(1, largest)),
        }
    )
    tree.attrs = {"title": data.title, "unit": data.unit, "n": len(x), "distinct": len(np.unique(x))}
    return tree


def em_reference(name: str) -> xr.Dataset:
    """Best log likelihood (nats) over numbers of ``components`` that scikit-learn's EM found on a data set, as stored.

    Attribute ``source`` says by which version and from how many starts.
    """
    source, _, *lines = EM_FILE.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines if line.startswith(f"{name},")]
    return xr.Dataset(
        {"log_likelihood": ("components", [float(row[2]) for row in rows])},
        coords={"components": [int(row[1]) for row in rows]},
        attrs={"source": source.removeprefix("# ")},
    )


def _fit(x: Array, family: Family, settings: Settings) -> dict[str, Any]:
    found = {"pointwise": np.full(len(x), np.nan), "size": family.size(1), "trace": np.nan, "starts_reached": 0,
             "starts_degenerate": 0, "params": "{}"}  # fmt: skip
    try:
        fit = fit_mle(x, family, starts=settings.starts, seed=settings.seed, draws=2)["fit"].to_dataset()
    except ConvergenceError as error:
        return {**found, "status": f"no maximum: {error}"}
    params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
    status = str(fit["status"].item())
    found |= {
        "pointwise": family.logp(x[:, None], params),
        "status": status,
        "params": json.dumps({key: value.tolist() for key, value in params.items()}),
        **{key: int(fit[key]) for key in ("starts_reached", "starts_degenerate")},
    }
    if status == "converged":
        found["trace"] = fitted_trace(x, family, params)
    return found


def fitted_trace(x: Array, family: Family, params: Mapping[str, Array]) -> float:
    """Estimate of tr(J^-1 K) at a maximum likelihood fit in the interior."""
    if not family.smooth:
        return float(optimism(family.name, x[None])[0])
    theta = family.unconstrain(params, 1)
    hessian = forward_objective(family, nodes(from_draws(x))).hessian(theta[None])[2][0]
    s = scores(x[:, None], family, theta)
    return float(np.trace(np.linalg.solve(hessian, s.T @ s / len(x))))


# --- figures ---------------------------------------------------------------------------------------------------------


def _part(results: xr.DataTree, name: str) -> xr.DataTree:
    part = results[name]
    assert isinstance(part, xr.DataTree)
    return part


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
        ``geometry``, ``choice``, ``real_data``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "geometry": _geometry_drawing(results, style),
        "choice": _choice_drawing(results, style),
        "real_data": _data_drawing(results, style),
    }


def _geometry_panel(results: xr.DataTree, case: Known) -> families_fig.GeometryPanel:
    part = _part(results, "geometry")
    points, curves = part["points"].to_dataset(), part["curves"].to_dataset().sel(target=case.name)
    role, family = points["role"].to_numpy(), points["family"].to_numpy()
    places = np.stack([points["x"].to_numpy(), points["y"].to_numpy()], axis=1)
    found = part["projections"].to_dataset().sel(target=case.name)
    index = KNOWN.index(case)
    return families_fig.GeometryPanel(
        title=case.title,
        sds=curves["sd"].to_numpy(),
        curves={f: places[(role == "member") & (family == f)] for f in PAIR},
        divergences={f: curves["kl"].sel(family=f).to_numpy() for f in PAIR},
        target=places[role == "target"][index],
        projections={
            f: (
                places[(role == "projection") & (family == f)][index],
                float(found["sd"].sel(family=f)),
                float(found["kl"].sel(family=f)),
            )
            for f in PAIR
        },
        nearest={f: (float(found["js_sd"].sel(family=f)), float(found["js_kl"].sel(family=f))) for f in PAIR},
    )


def _geometry_drawing(results: xr.DataTree, style: Style) -> Drawing:
    panels = [_geometry_panel(results, case) for case in KNOWN]
    words = "; ".join(
        f"{panel.title}: " + ", ".join(f"{f.capitalize()} {panel.projections[f][2]:.4f}" for f in PAIR)
        for panel in panels
    )
    return Drawing(
        families_fig.geometry(panels, style),
        alt=(
            "For each target two panels. Left: two curves in a plane, the Normals and the Laplaces by standard deviation, and the target as a "
            "star off both curves, joined by dotted lines to its projection on each. Right: forward KL from the target along each curve, with "
            f"the minimum marked. Forward KL at the projections, in nats. {words}."
        ),
        caption=(
            "Two families as computed curves in a plane of distributions, and two targets outside both. Left: places by classical "
            "multidimensional scaling of twice the square root of the Jensen–Shannon divergence, both rows the same plane. *Distances in the "
            "plane are approximate; the labels are exact* [forward]{.forward} KL in nats. Right: exact forward KL along each curve (dashed: "
            "Normal, solid: Laplace). Filled markers: projections, the limits of maximum likelihood. Open markers: the members nearest in "
            "Jensen–Shannon divergence, which are others."
        ),
    )


def _choice_panel(results: xr.DataTree, case: Known, shown: int = 60) -> families_fig.ChoicePanel:
    part = _part(results, case.name)
    sets, wrong = part["replications"].to_dataset(), part["wrong"].to_dataset()
    rates = {key: wrong["rate"].sel(criterion=key).to_numpy() for key in CRITERIA}
    trials = int(wrong["trials"])
    return families_fig.ChoicePanel(
        title=case.title,
        exact=float(part.attrs["n"] * part["exact/mean"]),
        differences=sets["loo"].to_numpy()[:shown],
        errors=sets["dse"].to_numpy()[:shown],
        sizes=wrong["n"].to_numpy(),
        rates=rates,
        rate_errors={key: np.array([share(r, trials).error for r in rate]) for key, rate in rates.items()},
        predicted=wrong["predicted"].sel(criterion="in_sample").to_numpy(),
    )


def _quantile() -> float:
    return float(norm.ppf((1 + LEVEL) / 2))


def _choice_drawing(results: xr.DataTree, style: Style) -> Drawing:
    panels = [_choice_panel(results, case) for case in KNOWN]
    n, shown = _part(results, KNOWN[0].name).attrs["n"], len(panels[0].differences)
    words = "; ".join(
        f"{p.title}: {100 * p.rates['in_sample'][0]:.0f}% with {p.sizes[0]} observations, "
        f"{100 * p.rates['in_sample'][-1]:.0f}% with {p.sizes[-1]}"
        for p in panels
    )
    return Drawing(
        families_fig.choice(panels, style, level=_quantile()),
        alt=(
            f"Top, for each target: {shown} sorted differences of leave-one-out score with intervals and a line at the exact difference. "
            f"Bottom: share of wrong choices against the number of observations for three criteria. With the log likelihood, {words}."
        ),
        caption=(
            f"Top: leave-one-out differences, Normal minus Laplace, of {shown} data sets of {n} draws, with intervals of ±{_quantile():.2f} "
            "standard errors; the grey line is the exact difference of KL times the number of draws, and black intervals miss it. Bottom: how "
            "often a criterion chooses the family with the larger KL. Bars: binomial 95% intervals. Grey band: first-order theory for the log likelihood."
        ),
    )


def _data_drawing(results: xr.DataTree, style: Style) -> Drawing:
    panels, words = [], []
    for data in DATA:
        scored = _scores(_part(results, data.name))
        panels.append(
            families_fig.Forest(
                title=data.title,
                names=[s["family"] for s in scored],
                values=np.array([np.nan if s["note"] else s["difference"].value for s in scored]),
                errors=np.array([np.nan if s["note"] else s["difference"].error for s in scored]),
                notes=[s["note"] for s in scored],
            )
        )
        words.append(f"{data.title}: best is {_best(scored)['family']}")
    return Drawing(
        families_fig.forests(panels, style, level=_quantile()),
        alt=(
            "A forest of differences for each data set: one row per family, a dot for its score minus the best one and a line for its interval. "
            f"{'; '.join(words)}."
        ),
        caption=(
            "How far each family is behind the best (star) in nats per observation, after TIC's correction: estimates of a difference of "
            f"[forward]{{.forward}} KL. Lines: ±{_quantile():.2f} paired standard errors."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def share(rate: float, trials: int) -> Estimate:
    """A share with its binomial standard error; with none or all, that of half a case."""
    inside = np.clip(rate, 0.5 / trials, 1 - 0.5 / trials)
    return Estimate(rate, float(np.sqrt(inside * (1 - inside) / trials)), "draws")


def _mean(values: Array) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), "draws")


def _sd(values: Array) -> Estimate:
    """Standard deviation with its standard error, fourth moment included."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    error = np.sqrt(max(float((centred**4).mean()) - variance**2, 0) / len(values)) / (2 * np.sqrt(variance))
    return Estimate(float(values.std(ddof=1)), float(error), "draws")


def _scores(part: xr.DataTree) -> list[dict[str, Any]]:
    """One row per family: scores per observation, difference to the best in TIC's score with a paired standard error."""
    fits = part["fits"].to_dataset()
    n = fits.sizes["observation"]
    point = fits["pointwise"].to_numpy()
    mean = point.mean(axis=1)
    trace, size, status = (fits[key].to_numpy() for key in ("trace", "size", "status"))
    tic = np.where(status == "converged", mean - trace / n, -np.inf)
    best = int(np.argmax(tic))
    rows = []
    for k, name in enumerate(fits["family"].to_numpy()):
        good = bool(status[k] == "converged")
        paired = float((point[k] - point[best]).std(ddof=1) / np.sqrt(n)) if good else np.nan
        rows.append(
            {
                "family": str(name).replace("_", " "),
                "note": "" if good else _note(str(status[k])),
                "likelihood": float(mean[k]) if np.isfinite(mean[k]) else None,
                "aic": float(mean[k] - size[k] / n) if good else None,
                "tic": float(tic[k]) if good else None,
                "size": int(size[k]),
                "trace": float(trace[k]) if good else None,
                "difference": Estimate(float(tic[k] - tic[best]), paired, "draws") if good else None,
                "behind": "best" if k == best else None if good else _note(str(status[k])),
                "status": str(status[k]).split(": ")[0] if good else _note(str(status[k])),
                "reached": int(fits["starts_reached"][k]),
                "degenerate": int(fits["starts_degenerate"][k]),
            }
        )
    return rows


def _note(status: str) -> str:
    if status == "boundary: nu -> infinity":
        return "= normal (ν → ∞)"
    return "no maximum" if status.startswith("no maximum") else status.removeprefix("boundary: ")


def _best(scored: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return max((s for s in scored if s["tic"] is not None), key=lambda s: float(s["tic"]))


def _em_rows(part: xr.DataTree) -> list[dict[str, Any]]:
    """Our log likelihood beside that of EM, for each number of components that both have."""
    fits, em = part["fits"].to_dataset(), part["em"].to_dataset()
    rows = []
    for k in em["components"].to_numpy().tolist():
        ours = fits.sel(family="normal" if k == 1 else f"normal_mixture({k})")
        value, theirs = float(ours["pointwise"].sum()), float(em["log_likelihood"].sel(components=k))
        rows.append(
            {"data": part.attrs["title"], "components": k, "ours": value, "em": theirs, "gap": value - theirs,
             "reached": int(ours["starts_reached"])}
        )  # fmt: skip
    return rows


def _em_sentence(rows: Sequence[Mapping[str, Any]], starts: int) -> str:
    """Who found the higher maximum; a gap below a tenth of a nat may be where an iteration stopped."""
    below = [row for row in rows if row["gap"] < -1e-6]
    above = [row for row in rows if row["gap"] > 0.1]
    rest = [row["gap"] for row in rows if 0 < row["gap"] <= 0.1]
    if below:
        places = "; ".join(f"{row['data']}, {row['components']} components ({row['gap']:.1e})" for row in below)
        text = f"In {len(below)} of {len(rows)} cases EM is higher: {places}."
    else:
        text = f"In none of the {len(rows)} cases is EM higher."
    if above:
        places = "; ".join(
            f"{row['data']}, {row['components']} components (by {row['gap']:.2g} nats; {row['reached']} of {starts} starts)"
            for row in above
        )
        text += f" It ends at a lower maximum for {places}."
    if rest:
        text += f" The largest of the other gaps is {max(rest):.1g} nats, at which EM, which converges slowly, may have stopped."
    return text.replace("-", "\N{MINUS SIGN}")


def _data_findings(part: xr.DataTree) -> dict[str, Any]:
    scored = _scores(part)
    best = _best(scored)
    level = _quantile()
    rivals = [s for s in scored if s["difference"] is not None and s is not best]
    close = [s["family"] for s in rivals if -s["difference"].value <= level * s["difference"].error]
    single = [s for s in rivals if "mixture" not in s["family"]]
    runner = max(single, key=lambda s: float(s["tic"]))
    names = f"*{close[0]}*" if len(close) == 1 else ", ".join(f"*{name}*" for name in close)
    near = (
        f"Within {level:.2f} paired standard errors of it: {names}; the data do not separate these."
        if close
        else f"No other family is within {level:.2f} paired standard errors of it."
    )
    ends = [s for s in scored if s["note"]]
    limits = " ".join(
        "For *student t* the likelihood rises as its degrees of freedom grow: its best member is the Normal."
        if "normal" in s["note"]
        else f"*{s['family']}*: {s['note']}."
        for s in ends
    )
    unsure = [s for s in scored if not s["note"] and "mixture" in s["family"] and s["reached"] == 1]
    doubt = (
        f"Only one start reached the maximum reported for {', '.join('*' + s['family'] + '*' for s in unsure)}, so a higher one may exist."
        if unsure
        else ""
    )
    return {
        "title": part.attrs["title"],
        "unit": part.attrs["unit"],
        "n": part.attrs["n"],
        "distinct": part.attrs["distinct"],
        "table": scored,
        "best": best["family"],
        "runner": runner["family"],
        "behind": Estimate(-runner["difference"].value, runner["difference"].error, "draws"),
        "close": close,
        "sentence": " ".join(
            filter(None, [f"*{best['family'].capitalize()}* has the highest score. {near}", limits, doubt])
        ),
    }


def _choice_findings(part: xr.DataTree, case: Known) -> dict[str, Any]:
    exact, sets = part["exact"].to_dataset(), part["replications"].to_dataset()
    wrong = part["wrong"].to_dataset()
    n = int(part.attrs["n"])
    truth = n * float(exact["mean"])
    fitted = sets["fitted"].to_numpy()
    trials = int(wrong["trials"])
    better = PAIR[0] if truth > 0 else PAIR[1]
    errors = {
        way: _interval_findings(sets[a].to_numpy(), sets[b].to_numpy(), truth, fitted) for way, (a, b) in WAYS.items()
    }
    gap = float(exact["trace"][0] - exact["trace"][1])
    differences = [
        {
            "target": case.short,
            "criterion": name,
            "mean": _mean(sets[key].to_numpy()),
            "theory": truth + (gap / 2 if key == "in_sample" else -gap / 2),
            "exact": truth,
        }
        for key, name in CRITERIA.items()
    ]
    return {
        "title": case.title,
        "short": case.short,
        "n": n,
        "count": sets.sizes["replication"],
        "trials": trials,
        "better": better.capitalize(),
        "kl": {f: Estimate(float(exact["kl"].sel(family=f)), float(exact["kl_error"].sel(family=f)), "quadrature") for f in PAIR},
        "trace": {f: float(exact["trace"].sel(family=f)) for f in PAIR},
        "difference": Estimate(float(exact["mean"]), float(exact["mean_error"]), "quadrature"),
        "total": truth,
        "sd": float(exact["sd"]),
        "differences": differences,
        "errors": [
            {**e, "target": case.short, "way": way, "covered": _percent(e["covered"]), "covered_fitted": _percent(e["covered_fitted"])}
            for way, e in errors.items()
        ],
        "covered": {way: e["covered"] for way, e in errors.items()},
        "fitted": _mean(fitted),
        "honest": " ".join(
            _honest(e["covered"], e["ratio"], f"{case.short[0].upper()}{case.short[1:]} target, {'`az.compare`' if way == 'az.compare' else way}")
            for way, e in errors.items()
        ),
        "wrong": [
            {"target": case.short, "n": int(size), "predicted": f"{100 * float(wrong['predicted'][i, 0]):.1f}",
             **{key: _percent(share(float(wrong["rate"].sel(criterion=key)[i]), trials)) for key in CRITERIA}}
            for i, size in enumerate(wrong["n"].to_numpy())
        ],
        "rates": {key: [share(float(r), trials) for r in wrong["rate"].sel(criterion=key).to_numpy()] for key in CRITERIA},
        "changes": {
            key: [
                Estimate(float(wrong["change"].sel(criterion=key)[i]), float(wrong["change_error"].sel(criterion=key)[i]), "draws")
                for i in range(len(SIZES))
            ]
            for key in CRITERIA
        },
        "needed": _needed(truth / n, float(exact["sd"])),
        "compare": _compare_findings(part),
    }  # fmt: skip


def _interval_findings(difference: Array, error: Array, truth: float, fitted: Array) -> dict[str, Estimate]:
    """What differences (r,) and their standard errors (r,) say over data sets, against what they are to estimate."""
    spread, reported, level = _sd(difference), _mean(error), _quantile()
    ratio = spread.value / reported.value
    relative = float(np.hypot(spread.error / spread.value, reported.error / reported.value))
    covered, covered_fitted = (
        share(float((np.abs(difference - aim) <= level * error).mean()), len(difference)) for aim in (truth, fitted)
    )
    return {
        "spread": spread,
        "reported": reported,
        "ratio": Estimate(ratio, ratio * relative, "draws"),
        "covered": covered,
        "covered_fitted": covered_fitted,
    }


def _compare_findings(part: xr.DataTree) -> dict[str, Any]:
    """ArviZ against the exact leave-one-out densities: given these, and given draws."""
    sets, seen, smoothed = (part[key].to_dataset() for key in ("replications", "compare", "smoothed"))
    bayes, dse = (sets[key].to_numpy() for key in ("bayes", "bayes_dse"))
    first, few = seen.sizes["replication"], smoothed.sizes["replication"]
    return {
        "count": first,
        "off": float(max(np.abs(seen["elpd_diff"] - bayes[:first]).max(), np.abs(seen["dse"] - dse[:first]).max())),
        "apart": float(np.abs(bayes - sets["loo"].to_numpy()).mean()),
        "same": int((bayes * sets["loo"].to_numpy() > 0).sum()),
        "smoothed": few,
        "gap": float(np.abs(smoothed["elpd_diff"].to_numpy() - bayes[:few]).mean()),
        "dse": float((smoothed["dse"].to_numpy() / dse[:few]).mean()),
        "pareto": int((smoothed["pareto_k"].to_numpy() > 0.7).sum()),
    }


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f}\u00a0±\u00a0{100 * estimate.error:.1f}"


def _honest(covered: Estimate, ratio: Estimate, title: str) -> str:
    """Whether the standard error can be trusted, by its coverage and by the spread over data sets; one rule for all."""
    size = (
        "as large as the spread over data sets, as far as these can tell"
        if abs(ratio.value - 1) < CLEAR * ratio.error
        else f"too {'small' if ratio.value > 1 else 'large'} on average: the spread is {ratio.value:.2f} times as large"
    )
    away = (covered.value - LEVEL) / covered.error
    share_covered = f"{100 * covered.value:.1f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{100 * covered.error:.1f}%"
    verdict = (
        f"cover the exact difference in {share_covered} of data sets, which is within {CLEAR:g} standard errors of {100 * LEVEL:.0f}%"
        if abs(away) < CLEAR
        else f"cover it too {'seldom' if away < 0 else 'often'}, in {share_covered} instead of {100 * LEVEL:.0f}%"
    )
    return f"{title}: the standard error is {size}, and its intervals {verdict}."


def _needed(mean: float, sd: float, wrong: float = 0.05) -> int:
    """Observations from which first-order theory, without the shift, puts wrong choices below a share."""
    return int(np.ceil((norm.ppf(1 - wrong) * sd / mean) ** 2))


def _geometry_findings(results: xr.DataTree) -> dict[str, Any]:
    part = _part(results, "geometry")
    spectrum, found = part["spectrum"].to_dataset(), part["projections"].to_dataset()
    values = spectrum["eigenvalue"].to_numpy()
    table: list[dict[str, Any]] = []
    for case in KNOWN:
        for f in PAIR:
            value = {key: float(found[key].sel(target=case.name, family=f)) for key in found.data_vars}
            row = {key: value[key] for key in ("sd", "js_sd", "plane_sd", "drawn", "full")}
            row |= {"root": float(np.sqrt(value["kl"])), "js_excess": value["js_kl"] - value["kl"]}
            kl = Estimate(value["kl"], value["kl_error"], "quadrature")
            table.append({"target": case.short, "family": f.capitalize(), "kl": kl, **row})
    shift = np.abs(found["js_sd"] / found["sd"] - 1)
    worst = max(table, key=lambda row: abs(row["js_sd"] / row["sd"] - 1))
    order = found["full"].to_numpy()
    agree = bool(((order[:, 0] < order[:, 1]) == (found["kl"].to_numpy()[:, 0] < found["kl"].to_numpy()[:, 1])).all())
    return {
        "table": table,
        "share": float(values[:2].sum() / np.abs(values).sum()),
        "smallest": float(values.min()),
        "worst_distance": float(spectrum["worst_distance"]),
        "longest": float(spectrum["longest"]),
        "members": int(spectrum["members"]),
        "location": float(np.abs(found["location"]).max()),
        "shift": float(shift.max()),
        "worst": worst,
        "agree": agree,
        "range": RANGE,
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
        ``question``, ``answer``, ``geometry``, one entry per known target and data set, and tables across them.
    """
    cases = {case.name: _choice_findings(_part(results, case.name), case) for case in KNOWN}
    data = {d.name: _data_findings(_part(results, d.name)) for d in DATA}
    geometry = _geometry_findings(results)
    settings = json.loads(results.attrs["settings"])
    em = [row for d in DATA for row in _em_rows(_part(results, d.name))]
    return {
        "question": QUESTION,
        "answer": _answer(cases, data),
        "geometry": geometry,
        **cases,
        **data,
        "settings": settings,
        "sizes": list(SIZES),
        "differences": [row for case in cases.values() for row in case["differences"]],
        "errors": [row for case in cases.values() for row in case["errors"]],
        "wrong": [row for case in cases.values() for row in case["wrong"]],
        "honest": " ".join(case["honest"] for case in cases.values()),
        "level": 100 * LEVEL,
        "corrections": _corrections(cases),
        "threshold": CLEAR,
        "em": em,
        "em_table": [
            {**row, **{key: f"{row[key]:.4f}".replace("-", "\N{MINUS SIGN}") for key in ("ours", "em", "gap")}}
            for row in em
        ],
        "em_source": _part(results, DATA[0].name)["em"].attrs["source"],
        "em_sentence": _em_sentence(em, settings["starts"]),
        "flip": cases["logistic"]["better"] != cases["contaminated"]["better"],
    }


def _answer(cases: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    close, clear = sorted(cases.values(), key=lambda c: abs(c["difference"].value))
    last = len(SIZES) - 1
    at = SIZES.index(200)
    bests = "; ".join(f"{d['title']}, *{d['best']}*" for d in data.values())
    return (
        "The better family is the one whose projection has the smaller forward KL, and data alone can tell, since the unknown entropy "
        "cancels from the difference; what they cannot tell is how good the better one is. How many data are needed depends on the "
        f"difference. For the {clear['short']} target, where {clear['better']} is closer by {abs(clear['difference'].value):.3f} nats per "
        f"observation, {SIZES[at]} observations choose wrongly in {_rate(clear, at)} of data sets; for the {close['short']} target, where "
        f"{close['better']} is closer by {abs(close['difference'].value):.4f} nats, in {_rate(close, at)}, and still in "
        f"{_rate(close, last)} with {SIZES[last]:,}. Highest corrected scores on real data: {bests}."
    )


def _rate(case: Mapping[str, Any], index: int) -> str:
    rate = case["rates"]["in_sample"][index]
    return f"{100 * rate.value:.0f}% (± {max(100 * rate.error, 1):.0f})"


def _corrections(cases: Mapping[str, Any]) -> str:
    """What corrections for optimism did to the share of wrong choices, with errors paired over data sets."""
    parts = []
    for case in cases.values():
        for i in (SIZES.index(20), SIZES.index(200)):
            words = []
            for key in ("tic", "loo"):
                change = case["changes"][key][i]
                clear = abs(change.value) > CLEAR * change.error
                verb = ("raised it" if change.value > 0 else "lowered it") if clear else "changed it by no clear amount"
                points = f"{100 * change.value:+.1f}\u00a0±\u00a0{100 * change.error:.1f}".replace("-", "−")
                words.append(f"{CRITERIA[key]} {verb} ({points} points)")
            parts.append(f"{case['short']} target, {SIZES[i]} observations: {', '.join(words)}.")
    return " ".join(part[0].upper() + part[1:] for part in parts)
