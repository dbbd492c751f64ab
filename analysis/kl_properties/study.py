"""What KL(p||q) measures: its properties shown by numbers, and four ways to compute it compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import ClassVar

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import norm

from analysis.kl_properties import QUESTION
from analysis.kl_properties.pairs import PAIRS, find_pair, normal, pymc
from analysis.parts import Part, StudySettings, runner
from models.divergences import entropy, kl
from models.quadrature import Estimate, expect
from models.targets import Target, from_distribution, from_spec, normal_mixture

Array = NDArray[np.float64]

DIRECTIONS = ("pq", "qp")


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    draws : int
        Draws of the first distribution for each Monte Carlo estimate.
    arviz_repeats : int
        Independent pairs of samples given to ``az.kl_divergence``.
    repeats : int
        Monte Carlo estimates of divergences that are infinite, at each n.
    largest_power : int
        The largest n of these is ten to this power.
    """

    draws: int = Field(default=20_000, ge=100)
    arviz_repeats: int = Field(default=8, ge=2)
    repeats: int = Field(default=100, ge=10)
    largest_power: int = Field(default=4, ge=2, le=6)

    quick: ClassVar = {"draws": 5000, "arviz_repeats": 5, "repeats": 50}
    full: ClassVar = {"draws": 200_000, "arviz_repeats": 100, "repeats": 200, "largest_power": 5}


# --- streams and ratios ----------------------------------------------------------------------------------------------


def stream(seed: int, *key: int) -> int:
    """Seed of a random stream of its own."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])


def log_ratio(p: Target, q: Target) -> Callable[[Array], Array]:
    """Log p - log q as a function of points (n, d); 0 where both densities have underflowed."""

    def ratio(x: Array) -> Array:
        a, b = p.logp(x), q.logp(x)
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(a) & np.isneginf(b), 0.0, a - b)

    return ratio


# --- part 1: four ways to compute it ---------------------------------------------------------------------------------


def monte_carlo(p: Target, q: Target, n: int, seed: int) -> tuple[float, float]:
    """Mean of log p - log q over n draws of p, and its standard error."""
    values = log_ratio(p, q)(p.rvs(n, seed))
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))


def log_ratio_sd(p: Target, q: Target, mean: float) -> float:
    """Standard deviation of log p - log q under p; infinite if the tails say so."""
    return float(np.sqrt(expect(p, lambda x: (log_ratio(p, q)(x) - mean) ** 2, others=[q]).value))


def nearest_neighbour(p: Target, q: Target, repeats: int, seed: int, size: int = 500) -> Array:
    """``az.kl_divergence`` of `repeats` independent pairs of samples (repeats,), each of ArviZ's default size."""
    x, y = (t.rvs(size * repeats, seed + i).reshape(repeats, 1, size, t.dim) for i, t in enumerate((p, q)))
    # As arguments with equal names ArviZ compares the variables jointly.
    trees = [[az.from_dict({"posterior": {"x": part}}) for part in draws] for draws in (x, y)]
    found = [az.kl_divergence(a, b, num_samples=size, round_to="none") for a, b in zip(*trees, strict=True)]
    return np.array(found, dtype=float)


def pointwise(p: Target, q: Target) -> tuple[float, float]:
    """Smallest value over a fine grid of p log(p/q), and of p log(p/q) - p + q; for densities on the line."""
    places = [(float(m[0]), float(s[0, 0])) for t in (p, q) for m, s in t.scales]
    x = np.linspace(min(m - 8 * s for m, s in places), max(m + 8 * s for m, s in places), 4001)[:, None]
    log_p, log_q = p.logp(x), q.logp(x)
    inside = np.isfinite(log_p) & np.isfinite(log_q)
    log_p, log_q = log_p[inside], log_q[inside]
    values = integrand(log_p, log_q)
    return float(values.min()), float((values - np.exp(log_p) + np.exp(log_q)).min())


def run_estimators(settings: Settings) -> xr.DataTree:
    """Every pair, both ways, by every method; and the smallest values of the integrand, of densities on the line."""
    shape = (len(PAIRS), len(DIRECTIONS))
    names = ("exact", "kl", "kl_error", "mc", "mc_se", "sd", "integrand", "bregman")
    data = {name: np.full(shape, np.nan) for name in names}
    neighbours = np.full((*shape, settings.arviz_repeats), np.nan)
    for i, pair in enumerate(PAIRS):
        for j, direction in enumerate(DIRECTIONS):
            p, q = pair.targets(direction)
            whole, closed = kl(p, q), pair.exact[j]
            row = (
                np.nan if closed is None else closed, whole.value, whole.error,
                *monte_carlo(p, q, settings.draws, stream(settings.seed, 1, i, j)),
                log_ratio_sd(p, q, whole.value), *(pointwise(p, q) if p.dim == 1 else (np.nan, np.nan)),
            )  # fmt: skip
            for name, value in zip(names, row, strict=True):
                data[name][i, j] = value
            neighbours[i, j] = nearest_neighbour(p, q, settings.arviz_repeats, stream(settings.seed, 2, i, j))
    coords = {"pair": [pair.name for pair in PAIRS], "direction": list(DIRECTIONS)}
    dataset = xr.Dataset({name: (("pair", "direction"), values) for name, values in data.items()}, coords)
    dataset["arviz"] = (("pair", "direction", "repeat"), neighbours)
    return xr.DataTree.from_dict({"/estimators": dataset})


# --- part 2: maps of x -----------------------------------------------------------------------------------------------


#: The map exp from two Normals to two log-normals: p and q before, and after.
EXP = (
    (normal(0.5, 1.0), normal(1.0, 1.5)),
    (pymc("LogNormal", mu=0.5, sigma=1.0), pymc("LogNormal", mu=1.0, sigma=1.5)),
)
#: Pairs that many-to-one maps are applied to, all of them mixtures of Normals.
MAPPED = ("one_mode", "matched", "mixtures")
MAPS = ("x", "fold", "sign")


def folded_kl(p: Target, q: Target) -> Estimate:
    """KL between the distributions of |x|: the density of |x| at y is p(y) + p(-y)."""

    def folded(t: Target, x: Array) -> Array:
        return np.logaddexp(t.logp(x), t.logp(-x))

    return expect(p, lambda x: folded(p, x) - folded(q, x), others=[q])


def sign_kl(p: Target, q: Target) -> Estimate:
    """KL between the probabilities of x < 0 and of x > 0, for mixtures of Normals in one dimension."""
    first, second = (np.array([np.dot(t.spec["weights"], tail(0, t.spec["means"], t.spec["sds"]))
                               for tail in (norm.cdf, norm.sf)]) for t in (p, q))  # fmt: skip
    terms = first * np.log(first / second)
    return Estimate(float(terms.sum()), float(4 * np.finfo(float).eps * np.abs(terms).sum()), "exact")


def run_maps(settings: Settings) -> xr.DataTree:  # noqa: ARG001 (every part is called alike)
    """Divergences and entropies under a one-to-one map, and divergences under many-to-one maps."""
    data = {name: np.empty((2, 2)) for name in ("kl", "kl_error", "entropy", "entropy_error")}
    for k, specs in enumerate(EXP):
        p, q = (from_spec(spec) for spec in specs)
        for j, (first, second) in enumerate(((p, q), (q, p))):
            for name, estimate in (("kl", kl(first, second)), ("entropy", entropy(first))):
                data[name][j, k], data[f"{name}_error"][j, k] = estimate.value, estimate.error
    slopes = [spec["means"][0] for spec in EXP[0]]  # log |dy/dx| is x, whose mean this is
    bijection = xr.Dataset(
        {name: (("direction", "when"), values) for name, values in data.items()} | {"slope": ("direction", slopes)},
        {"direction": list(DIRECTIONS), "when": ["before", "after"]},
    )
    found = np.empty((len(MAPPED), len(DIRECTIONS), len(MAPS), 2))
    for i, name in enumerate(MAPPED):
        for j, direction in enumerate(DIRECTIONS):
            p, q = find_pair(name).targets(direction)
            found[i, j] = [(e.value, e.error) for e in (kl(p, q), folded_kl(p, q), sign_kl(p, q))]
    dims = ("pair", "direction", "map")
    merging = xr.Dataset(
        {"kl": (dims, found[..., 0]), "kl_error": (dims, found[..., 1])},
        {"pair": list(MAPPED), "direction": list(DIRECTIONS), "map": list(MAPS)},
    )
    return xr.DataTree.from_dict({"/one_to_one": bijection, "/many_to_one": merging})


# --- part 3: infinite ------------------------------------------------------------------------------------------------

#: Mass of p = Uniform(0, 1) that q = Uniform(0, 1 - mass) misses.
MISSED = 0.001


def sample_sizes(settings: Settings) -> list[int]:
    """Sizes of the samples by which Monte Carlo looks for an infinite divergence."""
    return [10**k for k in range(1, settings.largest_power + 1)]


def _growing(p: Target, q: Target, settings: Settings, seed: int) -> tuple[Array, Array]:
    """Mean and standard error (n, repeat) of the log ratio over the first n draws of each repeat."""
    sizes = sample_sizes(settings)
    values = log_ratio(p, q)(p.rvs(settings.repeats * sizes[-1], seed)).reshape(settings.repeats, -1)
    with np.errstate(invalid="ignore"):  # a spread around infinity
        mean = np.array([values[:, :n].mean(axis=1) for n in sizes])
        se = np.array([values[:, :n].std(axis=1, ddof=1) / np.sqrt(n) for n in sizes])
    return mean, se


def run_infinite(settings: Settings) -> xr.DataTree:
    """What quadrature and Monte Carlo say where q misses part of p's support, or has much lighter tails."""
    # Of the two Student-t the log ratio has no variance, and no mean.
    whole, t3, t2 = (
        from_distribution(*law)
        for law in (
            ("Uniform", {"lower": 0, "upper": 1}),
            *(("StudentT", {"nu": nu, "mu": 0, "sigma": 1}) for nu in (3, 2)),
        )
    )
    part, normal = from_distribution("Uniform", {"lower": 0, "upper": 1 - MISSED}), normal_mixture([1], [0], [1])
    cases = {"missed": (whole, part), "t3": (t3, normal), "t2": (t2, normal)}
    grown = [_growing(p, q, settings, stream(settings.seed, 4, i)) for i, (p, q) in enumerate(cases.values())]
    both = [(kl(p, q), kl(q, p)) for p, q in cases.values()]
    dataset = xr.Dataset(
        {
            "kl": (("case", "direction"), [[a.value, b.value] for a, b in both]),
            "kl_error": (("case", "direction"), [[a.error, b.error] for a, b in both]),
            "mc": (("case", "n", "repeat"), np.array([mean for mean, _ in grown])),
            "mc_se": (("case", "n", "repeat"), np.array([se for _, se in grown])),
        },
        {"case": list(cases), "direction": list(DIRECTIONS), "n": sample_sizes(settings)},
    )
    return xr.DataTree.from_dict({"/infinite": dataset})


# --- what is drawn ---------------------------------------------------------------------------------------------------

#: Pairs whose integrands are drawn, both of mixtures of Normals.
DRAWN = ("one_mode", "matched")


def integrand(log_p: Array, log_q: Array) -> Array:
    """P log(p/q) from two log densities."""
    return np.asarray(np.exp(log_p) * (log_p - log_q))


def run_curves(settings: Settings) -> xr.DataTree:  # noqa: ARG001 (every part is called alike)
    """Log densities over x, far beyond what is drawn: the tails count in an area."""
    x = np.linspace(-40, 40, 3201)
    logs = [[t.logp(x[:, None]) for t in find_pair(name).targets()] for name in DRAWN]
    dataset = xr.Dataset(
        {"log_density": (("pair", "which", "x"), logs)}, {"pair": list(DRAWN), "which": ["p", "q"], "x": x}
    )
    return xr.DataTree.from_dict({"/densities": dataset})


# --- the computation -------------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[str, Callable[[Settings], xr.DataTree]]] = {
    "ways": ("four ways to compute it", run_estimators),
    "maps": ("maps of x", run_maps),
    "limits": ("infinite divergences", run_infinite),
    "curves": ("densities that are drawn", run_curves),
}


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    inputs = {"pairs": [asdict(pair) for pair in PAIRS], "settings": settings.model_dump()}
    return [
        Part(name, title, {"part": name, **inputs}, partial(compute, settings), weight={"ways": 15}.get(name, 1))
        for name, (title, compute) in PARTS.items()
    ]


#: ``ways/estimators``: every pair both ways by every method.
#: ``maps/one_to_one`` and ``maps/many_to_one``: divergences under maps of x. ``limits/infinite``: Monte Carlo of divergences
#: that are infinite, or whose log ratio has no variance. ``curves/densities``: what the first figure draws.
run = runner(QUESTION, Settings, parts)
