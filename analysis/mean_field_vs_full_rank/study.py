"""Mean field against full rank: correlated Normals in closed form, and targets with a shape no Normal has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import brentq, root

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.mean_field_vs_full_rank import QUESTION
from analysis.mean_field_vs_full_rank import marks as rank_fig
from analysis.parts import Part, runner
from analysis.reading import case_of, dataset_of
from analysis.site.numbers import num
from models.advi import METHODS, Schedule, Start, dispersed_starts, fit_advi
from models.families import FAMILIES, Family
from models.graphs import Deferred
from models.mle import fit_mle
from models.projections import Projection, alpha_projections, forward_projection, reverse_projections
from models.projections.exact import exact_objective
from models.projections.objectives import natural_values
from models.projections.optima import describe, ranked
from models.projections.optimise import chord, polish_all
from models.projections.stationary import distinct, newton
from models.quadrature import Estimate, gaussian_nodes
from models.targets import Target, from_model, mvnormal_mixture, normal_mixture

# Imported when something is computed with them: drawing needs neither.
pm = Deferred("pymc")


Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
#: A converged run further than this from the exact optimum, in nats, is counted as off.
TOLERANCE = 1e-3
#: And one with a standard deviation further off than this, relative to the exact one, too.
_RELATIVE = 0.01
#: An eigenvalue of the Hessian below this makes a direction flat, in the words of the report.
_FLAT = 0.05
#: Of an optimum with more images than this under the symmetries of the target the figure shows one.
_MOST_COPIES = 4
#: A rule is refined until its error is below this, in nats.
_EXACT = 1e-8
#: Correlation of the pair, and of neighbours in the chain and in the exchangeable Normal.
RHO, CHAIN_RHO = 0.9, 0.8
METHOD_NAMES: dict[Method, str] = {"advi": "mean field", "fullrank_advi": "full rank"}


class Settings(BaseModel):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    n : int
        Draws for maximum likelihood.
    normal_starts : int
        ADVI runs on each correlated Normal, by each method.
    starts : int
        ADVI runs on each other target, by each method.
    exact_rhos, exact_alphas : int
        Correlations and alphas at which the closed forms stand beside exact projections.
    separations : int
        Distances between two modes at which all stationary points are sought.
    curve : int
        Points of each closed-form curve.
    largest_dim : int
        Of the curves against dimension.
    steps, rounds : int
        Of ADVI: steps of a round, and the most rounds; a run stops once it has converged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    n: int = Field(default=5000, ge=100)
    normal_starts: int = Field(default=3, ge=1)
    starts: int = Field(default=16, ge=2)
    exact_rhos: int = Field(default=4, ge=1)
    exact_alphas: int = Field(default=3, ge=1)
    separations: int = Field(default=13, ge=3)
    curve: int = Field(default=61, ge=5)
    largest_dim: int = Field(default=10, ge=2)
    steps: int = Field(default=300, ge=10)
    rounds: int = Field(default=8, ge=1)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed,
                n=1000,
                normal_starts=2,
                starts=5,
                exact_rhos=2,
                exact_alphas=1,
                separations=5,
                curve=31,
                rounds=4,
            )
        if effort == "full":
            return cls(seed=seed, n=50_000, normal_starts=10, starts=100, exact_rhos=9, exact_alphas=9, separations=41,
                       curve=201, largest_dim=50)  # fmt: skip
        return cls(seed=seed)


# --- closed forms ----------------------------------------------------------------------------------------------------


def chain(dim: int, rho: float) -> Array:
    """Covariance (d, d) of unit variances with correlation rho^|i - j| (autoregression of order one)."""
    return np.asarray(rho ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim))), dtype=float)


def exchangeable(dim: int, rho: float) -> Array:
    """Covariance (d, d) of unit variances with every correlation equal to rho."""
    return np.full((dim, dim), rho) + (1 - rho) * np.eye(dim)


def kl_normals(mean: Array, cov: Array, other_mean: Array, other_cov: Array) -> float:
    """KL(N(mean, cov) || N(other_mean, other_cov)) in nats, in any dimension."""
    shift = other_mean - mean
    inverse = np.linalg.inv(other_cov)
    logdets = np.linalg.slogdet(other_cov)[1] - np.linalg.slogdet(cov)[1]
    return float(0.5 * (np.trace(inverse @ cov) + shift @ inverse @ shift - len(mean) + logdets))


def factorised(cov: Array, alpha: float) -> Array:
    """Variances (d,) of the factorised Normal closest to N(0, cov) in Minka's alpha-divergence.

    Parameters
    ----------
    cov : ndarray (d, d)
    alpha : float
        0 is reverse KL, 1 is forward KL.

    Returns
    -------
    ndarray (d,)

    Notes
    -----
    At the optimum q matches the variances of the density proportional to p^alpha q^(1 - alpha) (Minka, 2005, section 3.2),
    which is Normal with precision alpha Lambda + (1 - alpha) / v. At the ends v = 1 / diag(Lambda) and v = diag(Sigma)
    (Bishop, 2006, section 10.1.2).
    """
    precision = np.linalg.inv(cov)
    narrow, wide = 1 / np.diag(precision), np.diag(cov)
    if alpha in (0, 1):
        return np.asarray(wide if alpha else narrow)

    def mismatch(logs: Array) -> Array:
        tilted = alpha * precision + (1 - alpha) * np.diag(np.exp(-logs))
        return np.asarray(np.log(np.diag(np.linalg.inv(tilted))) - logs) / alpha

    found = root(mismatch, (1 - alpha) * np.log(narrow) + alpha * np.log(wide), tol=1e-12)
    return np.exp(found.x)


def factorised_kl(cov: Array, direction: Literal["reverse", "forward"]) -> float:
    """Least KL, in nats, between N(0, cov) and a factorised Normal: half of sum log Lambda_ii, or log Sigma_ii, less log det."""
    matrix = np.linalg.inv(cov) if direction == "reverse" else cov
    return float(0.5 * (np.log(np.diag(matrix)).sum() - np.linalg.slogdet(matrix)[1]))


def matched(cov: Array, variances: Array) -> tuple[float, float, float]:
    """What a factorised Normal makes of p's marginal variances, marginal precisions and generalised variance.

    Returns
    -------
    (float, float, float)
        Geometric means over coordinates of v / Sigma_ii, of (1 / v) / Lambda_ii, and the d-th root of prod v / det Sigma.
    """
    logs = np.log(variances)
    log_precisions = np.log(np.diag(np.linalg.inv(cov)))
    size = np.linalg.slogdet(cov)[1] / len(cov)
    return (float(np.exp((logs - np.log(np.diag(cov))).mean())), float(np.exp(-(logs + log_precisions).mean())),
            float(np.exp(logs.mean() - size)))  # fmt: skip


def entropy_alpha(cov: Array) -> float:
    """The alpha at which the factorised optimum has the entropy of N(0, cov)."""
    size = np.linalg.slogdet(cov)[1]
    return float(brentq(lambda a: np.log(factorised(cov, a)).sum() - size, 1e-3, 1 - 1e-9, xtol=1e-10))


def pitchfork(dim: int) -> tuple[float, float]:
    """Where the symmetric mean-field optimum of two modes on the diagonal stops to be a minimum.

    The target is ½ N(-c 1, I) + ½ N(c 1, I) in `dim` dimensions.

    Returns
    -------
    (float, float)
        Distance a = c sqrt(d) of either mode from the centre, and the fit's standard deviation s there; infinite in one
        dimension.

    Notes
    -----
    With u = a s and h(u) = E sech²(u z), the symmetric point has s² = 1 + u² h(u) / d; the Hessian along the diagonal is
    1 - a² h(u) = d / s² - (d - 1). It vanishes at s² = d / (d - 1), that is at u² h(u) = d / (d - 1).
    """
    if dim == 1:
        return np.inf, np.inf
    rule = gaussian_nodes(1, size=2049)
    z, w = rule.points[:, 0], rule.weights

    def excess(u: float) -> float:
        return float(u**2 * (w @ (1 / np.cosh(u * z) ** 2)) - dim / (dim - 1))

    sd = np.sqrt(dim / (dim - 1))
    return float(brentq(excess, 0.1, 20, xtol=1e-13)) / sd, float(sd)


# --- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normal:
    """A correlated Normal."""

    name: str
    title: str
    dim: int
    rho: float

    @property
    def cov(self) -> Array:
        """Covariance (d, d)."""
        return chain(self.dim, self.rho)

    @property
    def target(self) -> Target:
        """The Normal as a target."""
        return mvnormal_mixture([1], [np.zeros(self.dim)], [self.cov], name=self.name)


NORMALS = (
    Normal("pair", f"2-D, correlation {RHO}", 2, RHO),
    Normal("chain", f"10-D chain, neighbours {CHAIN_RHO}", 10, CHAIN_RHO),
)

#: y given x of the banana is Normal with sd 1 around this much of x² - 4, and x has sd 2.
BEND = 0.5


@dataclass(frozen=True)
class Shape:
    """A two-dimensional target that is no Normal, and the box its figure shows.

    Attributes
    ----------
    search : tuple of str
        Methods for which all stationary points are sought and counted; else those that descent reaches from `guesses` and from
        the ends of ADVI.
    """

    name: str
    title: str
    search: tuple[Method, ...]
    box: tuple[float, float, float, float]


SHAPES = (
    Shape("two_modes", "two modes on the diagonal", ("advi",), (-5.0, 5.0, -5.0, 5.0)),
    Shape("four_corners", "four corners", (), (-6.0, 6.0, -6.0, 6.0)),
    Shape("ring", "a ring of twelve", (), (-5.2, 5.2, -5.2, 5.2)),
    Shape("banana", "a banana", ("advi", "fullrank_advi"), (-6.0, 6.0, -5.0, 10.0)),
)
_CORNER, _RADIUS, _WIDTH, _LUMPS, _DIAGONAL = 3.0, 3.0, 0.6, 12, 2.0


def banana() -> Any:
    """PyMC model of the banana: a variable and a parabola of it, with noise."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 2)
        pm.Normal("y", BEND * (x**2 - 4), 1)
    return model


def target_of_shape(name: str) -> Target:
    """Return the target of a shape."""
    if name == "two_modes":
        return mvnormal_mixture([0.5, 0.5], [[-_DIAGONAL] * 2, [_DIAGONAL] * 2], [np.eye(2)] * 2, name=name)
    if name == "four_corners":
        corners = [[x, y] for x in (-_CORNER, _CORNER) for y in (-_CORNER, _CORNER)]
        return mvnormal_mixture([0.25] * 4, corners, [np.eye(2)] * 4, name=name)
    if name == "ring":
        return mvnormal_mixture([1 / _LUMPS] * _LUMPS, _circle(_LUMPS), [_WIDTH**2 * np.eye(2)] * _LUMPS, name=name)
    return from_model(banana(), name=name)


def _circle(points: int) -> Array:
    angles = 2 * np.pi * np.arange(points) / points
    return _RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def moments_of_shape(name: str) -> tuple[Array, Array]:
    """Mean (2,) and covariance (2, 2) of a shape: what forward KL matches. Those of the banana are E x⁴ = 3 (E x²)²."""
    if name == "banana":
        return np.zeros(2), np.diag([4.0, 1 + BEND**2 * 2 * 4.0**2])
    target = target_of_shape(name)
    assert target.mean is not None
    assert target.cov is not None
    return target.mean, target.cov


def guesses(name: str) -> list[tuple[Array, Array]]:
    """Means and covariances to start descent from: broad ones, ones on components, and ones that join components."""
    mean, cov = moments_of_shape(name)
    found = [(mean, cov)]
    if name == "two_modes":
        found += [(np.full(2, side), np.eye(2)) for side in (-_DIAGONAL, _DIAGONAL)]
    if name == "four_corners":  # a product: all pairs of what one coordinate can do, and the two diagonals
        sides = [(-_CORNER, 1.0), (0.0, _CORNER), (_CORNER, 1.0)]
        found += [(np.array([a, b]), np.diag([s**2, t**2])) for a, s in sides for b, t in sides]
        found += [(mean, np.array([[9.0, r], [r, 9.0]])) for r in (-8.0, 8.0)]
    if name == "ring":
        for place in _circle(2 * _LUMPS):  # arcs that follow the circle, on lumps and between them
            along = np.array([-place[1], place[0]]) / _RADIUS
            found.append((0.9 * place, _WIDTH**2 * np.eye(2) + 1.5 * np.outer(along, along)))
    return found


# --- parts -----------------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    constants = {"rho": [RHO, CHAIN_RHO], "settings": s}
    found = [
        Part(
            case.name, case.title, {"case": asdict(case), "settings": s}, partial(run_normal, case, settings), weight=20
        )
        for case in NORMALS
    ]
    found += [
        Part("curves", "closed forms", constants, partial(run_curves, settings)),
        Part("pitchfork", "two modes moved apart", constants, partial(run_pitchfork, settings), weight=10),
    ]
    for shape in SHAPES:
        for method in METHOD_NAMES:
            inputs = {"shape": asdict(shape), "method": method, "settings": s}
            title = f"{shape.title}, {METHOD_NAMES[method]}"
            found.append(
                Part(
                    f"{shape.name}_{method}",
                    title,
                    inputs,
                    partial(run_shape, shape, method, settings),
                    weight=5 if method in shape.search else 40,
                )
            )
    return found


#: ``pair`` and ``chain`` (`run_normal`), ``curves`` (`run_curves`), ``pitchfork`` (`run_pitchfork`), and one child
#: for each shape and method (`run_shape`).
run = runner(QUESTION, Settings, parts)


def run_normal(case: Normal, settings: Settings) -> xr.DataTree:
    """Factorised fits to one correlated Normal: theory, exact projection and estimator, in both directions.

    Parameters
    ----------
    case : Normal
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``fits``: ``variance`` over (direction, source, dim) and ``kl`` with ``kl_error`` over (direction, source), where source is
        theory, exact or fitted (ADVI in reverse, maximum likelihood in forward); ``kl`` of fitted is that of the fit, in its
        own direction. ``mean_field`` and ``full_rank``: the ADVI runs, with their largest relative error of a variance and of a
        standard deviation, and ``gap``, the nats above the least KL.
    """
    family, target, cov = FAMILIES["mvnormal_diag"], case.target, case.cov
    zero = np.zeros(case.dim)
    reverse = reverse_projections(target, family, seed=settings.seed)[0]
    forward = forward_projection(target, family)
    draws = target.rvs(settings.n, settings.seed)
    mle = fit_mle(draws, family, seed=settings.seed, draws=2)["fit"]
    schedule = Schedule(steps=settings.steps, rounds=settings.rounds)
    starts = dispersed_starts(target, settings.normal_starts, settings.seed)
    runs = {
        METHOD_NAMES[m]: fit_advi(target, method=m, starts=starts, seed=settings.seed, schedule=schedule, draws=2)[
            "restarts"
        ].to_dataset()
        for m in ("advi", "fullrank_advi")
    }
    least = {"mean field": factorised_kl(cov, "reverse"), "full rank": 0.0}
    best = {"mean field": np.diag(factorised(cov, 0)), "full rank": cov}
    for name, data in runs.items():
        covs = data["cov"].to_numpy()
        kls = np.array([kl_normals(m, c, zero, cov) for m, c in zip(data["mean"].to_numpy(), covs, strict=True)])
        ratio = np.diagonal(covs, axis1=1, axis2=2) / np.diag(best[name])
        runs[name] = data.drop_vars("history").assign(
            gap=("restart", kls - least[name]), variance_error=("restart", np.abs(ratio - 1).max(axis=1)),
            sd_error=("restart", np.abs(np.sqrt(ratio) - 1).max(axis=1)),
        )  # fmt: skip
    chosen = runs["mean field"].isel(restart=int(runs["mean field"]["loss"].to_numpy().argmin()))
    mle_mean, mle_sd = mle["mu"].to_numpy(), mle["sigma"].to_numpy()
    variance = np.array(
        [
            [factorised(cov, 0), reverse.params["sigma"] ** 2, chosen["sd"].to_numpy() ** 2],
            [factorised(cov, 1), forward.params["sigma"] ** 2, mle_sd**2],
        ]
    )
    kls = np.array(
        [
            [least["mean field"], reverse.divergence.value, least["mean field"] + float(chosen["gap"])],
            [factorised_kl(cov, "forward"), forward.divergence.value,
             kl_normals(zero, cov, mle_mean, np.diag(mle_sd**2))],
        ]
    )  # fmt: skip
    errors = np.array([[0, reverse.divergence.error, 0], [0, forward.divergence.error, 0]], dtype=float)
    fits = xr.Dataset(
        {
            "variance": (("direction", "source", "dim"), variance),
            "kl": (("direction", "source"), kls),
            "kl_error": (("direction", "source"), errors),
        },
        coords={"direction": ["reverse", "forward"], "source": ["theory", "exact", "fitted"]},
    )
    groups = {"fits": fits, "mean_field": runs["mean field"], "full_rank": runs["full rank"]}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"title": case.title, "dim": case.dim, "rho": case.rho, "kind": reverse.divergence.kind}
    return tree


def run_curves(settings: Settings) -> xr.DataTree:
    """Closed forms against correlation, dimension and alpha, with exact projections of the pair beside them.

    Returns
    -------
    xarray.DataTree
        ``rho`` and ``rho_exact`` (``variance``, ``kl``), ``dimension`` (``kl`` over (structure, direction, dim), ``variance`` of the middle
        coordinate in reverse), ``alpha`` (``marginal``, ``precision``, ``size`` over (case, alpha), see `matched`), ``alpha_exact``
        (``variance`` with its closed form), ``entropy`` (``alpha`` over case).
    """
    family = FAMILIES["mvnormal_diag"]
    rho = np.linspace(0, 0.99, settings.curve)
    exact_rho = np.round(np.linspace(0, RHO, settings.exact_rhos + 1)[1:], 3)
    exact = [reverse_projections(mvnormal_mixture([1], [[0, 0]], [chain(2, r)]), family)[0] for r in exact_rho]
    dims = np.arange(2, settings.largest_dim + 1)
    structures = {"chain": chain, "exchangeable": exchangeable}
    alphas = np.linspace(0, 1, settings.curve)
    exact_alpha = np.arange(1, settings.exact_alphas + 1) / (settings.exact_alphas + 1)
    pair = NORMALS[0]
    along = [alpha_projections(pair.target, family, float(a))[0] for a in exact_alpha]
    ratios = np.array([[matched(case.cov, factorised(case.cov, float(a))) for a in alphas] for case in NORMALS])
    covs = [[f(int(d), CHAIN_RHO) for d in dims] for f in structures.values()]
    tree = {
        "rho": xr.Dataset(
            {
                "variance": ("rho", [factorised(chain(2, r), 0)[0] for r in rho]),
                "kl": ("rho", [factorised_kl(chain(2, r), "reverse") for r in rho]),
            },
            coords={"rho": rho},
        ),
        "rho_exact": xr.Dataset(
            {
                "variance": ("rho", [p.params["sigma"][0] ** 2 for p in exact]),
                "kl": ("rho", [p.divergence.value for p in exact]),
                "kl_error": ("rho", [p.divergence.error for p in exact]),
            },
            coords={"rho": exact_rho},
        ),
        "dimension": xr.Dataset(
            {
                "kl": (
                    ("structure", "direction", "dim"),
                    [[[factorised_kl(c, side) for c in row] for side in ("reverse", "forward")] for row in covs],
                ),
                "variance": (("structure", "dim"), [[factorised(c, 0)[len(c) // 2] for c in row] for row in covs]),
            },
            coords={"structure": list(structures), "direction": ["reverse", "forward"], "dim": dims},
        ),
        "alpha": xr.Dataset(
            {name: (("case", "alpha"), ratios[..., i]) for i, name in enumerate(("marginal", "precision", "size"))},
            coords={"case": [c.name for c in NORMALS], "alpha": alphas},
        ),
        "alpha_exact": xr.Dataset(
            {
                "variance": ("alpha", [p.params["sigma"][0] ** 2 for p in along]),
                "theory": ("alpha", [factorised(pair.cov, float(a))[0] for a in exact_alpha]),
            },
            coords={"alpha": exact_alpha},
        ),
        "entropy": xr.Dataset(
            {"alpha": ("case", [entropy_alpha(c.cov) for c in NORMALS])}, coords={"case": [c.name for c in NORMALS]}
        ),
    }
    return xr.DataTree.from_dict(tree)


def run_pitchfork(settings: Settings) -> xr.DataTree:
    """All stationary points of reverse KL to two modes on the diagonal, while these move apart.

    Returns
    -------
    xarray.DataTree
        ``mean_field`` and ``full_rank`` over ``point``: ``separation`` (distance of either mode from the centre), ``along`` (mean along the
        diagonal), ``across``, ``sd`` (along the diagonal), ``kl``, ``status``. Full rank is exact in one dimension, since a rotation makes
        the target a product. ``theory`` over ``dim``: ``separation`` and ``sd`` at the pitchfork.
    """
    separations = np.linspace(1.0, 3.4, settings.separations)
    family = FAMILIES["mvnormal_diag"]
    rows: dict[str, list[tuple[float, float, float, float, float, str]]] = {"mean_field": [], "full_rank": []}
    for a in separations.tolist():
        place = np.full(2, a / np.sqrt(2))
        target = mvnormal_mixture([0.5, 0.5], [-place, place], [np.eye(2)] * 2)
        for p in reverse_projections(target, family, seed=settings.seed):
            mu, variance = p.params["mu"], float(np.mean(p.params["sigma"] ** 2))
            along, across = float(mu.sum() / np.sqrt(2)), float((mu[0] - mu[1]) / np.sqrt(2))
            rows["mean_field"].append((a, along, across, float(np.sqrt(variance)), p.divergence.value, p.status))
        for p in reverse_projections(normal_mixture([0.5, 0.5], [-a, a], [1, 1]), FAMILIES["normal"]):
            middle, sigma = float(p.params["mu"]), float(p.params["sigma"])
            rows["full_rank"].append((a, middle, 0.0, sigma, p.divergence.value, p.status))
    names = ("separation", "along", "across", "sd", "kl", "status")
    groups: dict[str, xr.Dataset] = {
        method: xr.Dataset({n: ("point", list(c)) for n, c in zip(names, zip(*found, strict=True), strict=True)})
        for method, found in rows.items()
    }
    dims = np.arange(2, settings.largest_dim + 1)
    critical = np.array([pitchfork(int(d)) for d in dims])
    groups["theory"] = xr.Dataset(
        {"separation": ("dim", critical[:, 0]), "sd": ("dim", critical[:, 1])}, coords={"dim": dims}
    )
    return xr.DataTree.from_dict(groups)


def run_shape(shape: Shape, method: Method, settings: Settings) -> xr.DataTree:
    """Exact optima of one family for one shape, and where many ADVI runs end.

    Parameters
    ----------
    shape : Shape
    method : {"advi", "fullrank_advi"}
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``optima`` over ``point``: ``mean``, ``cov``, ``kl`` with ``kl_error``, ``status``, ``flattest`` (smallest eigenvalue of the Hessian), ``orbit`` (points of one orbit are images of one another
        under the symmetries of the target: they share a status and a KL); ``runs``: the ADVI runs with ``exact`` (the optimum
        they are assigned to: nearest in KL) and ``gap``; ``forward``: the moments of the target; ``density`` over (``x``, ``y``).
    """
    target, family = target_of_shape(shape.name), FAMILIES[METHODS[method]]
    schedule = Schedule(steps=settings.steps, rounds=settings.rounds)
    starts = [*dispersed_starts(target, 1), *shape_starts(shape, settings)]
    restarts = fit_advi(target, method=method, starts=starts, seed=settings.seed, schedule=schedule, draws=2)[
        "restarts"
    ].to_dataset()
    ends = [(m, c) for m, c in zip(restarts["mean"].to_numpy(), restarts["cov"].to_numpy(), strict=True)]
    arrived = [end for end, there in zip(ends, restarts["converged"].to_numpy(), strict=True) if there]
    if method in shape.search:
        points = reverse_projections(target, family, seed=settings.seed)
    else:
        points = descend(target, family, [*guesses(shape.name), *arrived], _turns(shape.name, method))
    found = [p for p in points if p.status in ("global minimum", "local minimum")]
    covs = [_cov(p) for p in found]
    exact = exact_objective(family, target, 0.0).at(1)
    values = exact.gradient(np.array([_theta(family, m, c) for m, c in ends]))[0]
    nearest = [int(np.argmin([kl_normals(m, c, p.params["mu"], v) for p, v in zip(found, covs, strict=True)]))
               for m, c in ends]  # fmt: skip
    kls = np.array([p.divergence.value for p in found])
    mean, cov = moments_of_shape(shape.name)
    cov = np.diag(np.diag(cov)) if method == "advi" else cov
    sd_errors = [
        np.abs(np.sqrt(np.diag(c) / np.diag(covs[k])) - 1).max() for (_, c), k in zip(ends, nearest, strict=True)
    ]
    tree = xr.DataTree.from_dict(
        {
            "optima": _optima(points),
            "runs": restarts.drop_vars("history").rename(optimum="group", gap="own_gap").assign(
                exact=("restart", nearest), gap=("restart", values - kls[nearest]), sd_error=("restart", sd_errors)
            ),
            "forward": xr.Dataset({"mean": ("dim", mean), "cov": (("dim", "other"), cov)}),
            "density": _density(target, shape.box),
        }
    )  # fmt: skip
    tree.attrs = {
        "title": shape.title,
        "method": method,
        "certificate": points[0].certificate if method in shape.search else "not counted",
        "box": json.dumps(shape.box),
    }
    return tree


def _density(target: Target, box: tuple[float, float, float, float]) -> xr.Dataset:
    x, y = np.linspace(*box[:2], 91), np.linspace(*box[2:], 91)
    values = np.exp(target.logp(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)))
    return xr.Dataset({"density": (("x", "y"), values.reshape(len(x), len(y)))}, coords={"x": x, "y": y})


def shape_starts(shape: Shape, settings: Settings) -> list[Start]:
    """Starts spread over the box of the figure, each with an sd between 0.3 and 3."""
    rng = np.random.default_rng([settings.seed, 11])
    low, high = np.array(shape.box[::2]), np.array(shape.box[1::2])
    centre, half = (low + high) / 2, (high - low) / 2
    count = settings.starts - 1
    means = centre + 0.7 * half * rng.uniform(-1, 1, (count, 2))
    sds = np.exp(rng.uniform(np.log(0.3), np.log(3.0), count))
    return [Start(f"start {i + 2}", m, np.full(2, s)) for i, (m, s) in enumerate(zip(means, sds, strict=True))]


def _turns(name: str, method: Method) -> int:
    """Equal turns after which target and family are the same: mean field allows quarter turns."""
    return {"two_modes": 2, "four_corners": 4, "ring": _LUMPS if method == "fullrank_advi" else 4}.get(name, 1)


def descend(target: Target, family: Family, starts: Sequence[tuple[Array, Array]], turns: int = 1) -> list[Projection]:
    """Stationary points of the exact reverse KL that Newton's method reaches downhill from Normals (mean, cov), lowest first.

    Parameters
    ----------
    target : Target
        Two-dimensional, the same after each of `turns` equal turns about the origin.
    family : Family
    starts : sequence of (ndarray (2,), ndarray (2, 2))
    turns : int
        Turns that leave the family as it is, too: one start of each sector is enough, and all images of an optimum are returned.
    """
    exact = exact_objective(family, target, 0.0)
    fine = exact.at(1)
    thetas = np.array([_theta(family, *_first_image(m, c, turns)) for m, c in starts])
    unit = np.ones(thetas.shape[1])
    # Loose: nearer to a minimum the value falls by less than the error of the coarse rule, and every step would be refused.
    ends = newton(exact, distinct(thetas, unit, 0.1), unit, downhill=True, tolerance=3e-3)
    polished, norms = polish_all(fine, distinct(ends, unit, 3e-2))
    results: list[tuple[Array, Array, Array, Estimate]] = []
    for theta in distinct(polished[norms < 1e-8], unit, 1e-4):
        level, change = 1, np.inf
        while change > _EXACT and level < exact.finest:
            value = float(exact.at(level).gradient(theta[None])[0][0])
            level += 1
            theta = chord(exact.at(level), theta, fine)
            change = abs(float(exact.at(level).gradient(theta[None])[0][0]) - value)
        value = float(exact.at(level).gradient(theta[None])[0][0])
        params, _ = natural_values(family, theta)
        cov = params["cov"] if "cov" in params else np.diag(params["sigma"] ** 2)
        images = [_theta(family, *_turned(params["mu"], cov, k / turns)) for k in range(turns)]
        known = np.array([r[0] for r in results]).reshape(-1, len(unit))
        new = distinct(np.array(images), unit, 1e-3, known=known)
        if len(new):
            _, gradients, hessians = fine.hessian(new)
            at = Estimate(value, change + 5e-15, "quadrature")
            results += [(t, g, h, at) for t, g, h in zip(new, gradients, hessians, strict=True)]
    return ranked(describe(target, family, 0.0, results))


def _turned(mean: Array, cov: Array, share: float) -> tuple[Array, Array]:
    """A Normal turned about the origin by a share of the full turn."""
    c, s = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    turn = np.array([[c, -s], [s, c]])
    return turn @ mean, turn @ cov @ turn.T


def _first_image(mean: Array, cov: Array, turns: int) -> tuple[Array, Array]:
    """The image of a Normal whose mean is nearest to the direction of the first axis."""
    angle = np.arctan2(mean[1], mean[0]) / (2 * np.pi) if np.linalg.norm(mean) > 1e-3 else 0.0
    return _turned(mean, cov, -round(angle * turns) / turns)


def _theta(family: Family, mean: Array, cov: Array) -> Array:
    params = {"mu": mean, "sigma": np.sqrt(np.diag(cov)), "cov": cov}
    return family.unconstrain({p.name: params[p.name] for p in family.parameters}, len(mean))


def _cov(point: Projection) -> Array:
    return np.asarray(point.params["cov"] if "cov" in point.params else np.diag(point.params["sigma"] ** 2))


def _optima(points: Sequence[Projection]) -> xr.Dataset:
    orbit: list[int] = []
    for i, p in enumerate(points):
        same = [j for j in range(i) if points[j].status == p.status
                and abs(points[j].divergence.value - p.divergence.value) < 1e-6]  # fmt: skip
        orbit.append(orbit[same[0]] if same else max(orbit, default=-1) + 1)
    return xr.Dataset(
        {
            "mean": (("point", "dim"), [p.params["mu"] for p in points]),
            "cov": (("point", "dim", "other"), [_cov(p) for p in points]),
            "kl": ("point", [p.divergence.value for p in points]),
            "kl_error": ("point", [p.divergence.error for p in points]),
            "status": ("point", [p.status for p in points]),
            "orbit": ("point", orbit),
            "flattest": ("point", [float(p.hessian_eigenvalues[0]) for p in points]),
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
        ``normals``, ``alphas``, ``pitchfork``, ``shapes``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "normals": _draw_normals(results, style),
        "alphas": _draw_alphas(results, style),
        "pitchfork": _draw_branches(results, style),
        "shapes": _draw_shapes(results, style),
    }


def _draw_normals(results: xr.DataTree, style: Style) -> Drawing:
    pair, chained = (dataset_of(results, f"{c.name}/fits").sel(source="fitted") for c in NORMALS)
    variance = float(pair["variance"].sel(direction="reverse")[0])
    kls = {d: float(chained["kl"].sel(direction=d)) for d in ("reverse", "forward")}
    figure = rank_fig.normals(
        dataset_of(results, "curves/rho"),
        dataset_of(results, "curves/rho_exact"),
        (NORMALS[0].rho, variance),
        dataset_of(results, "curves/dimension"),
        {"dim": NORMALS[1].dim, **kls},
        style,
    )
    return Drawing(
        figure,
        alt=(
            "Two panels. Left, variance of a factorised fit to a pair of unit Normals against their correlation: a dashed blue line stays at "
            "one, a dotted orange curve falls from one towards zero, with black dots and an orange triangle on it. Right, least KL against "
            "dimension: four lines that rise, two for the chain and two for the exchangeable Normal."
        ),
        caption=(
            "Factorised fits to correlated Normals. Lines are closed forms, dots exact projections, triangles fits by ADVI and by maximum "
            f"likelihood. Left: the pair. Right: the least KL, in nats, where neighbours in a chain, or all pairs, have correlation {CHAIN_RHO}."
        ),
    )


def _draw_alphas(results: xr.DataTree, style: Style) -> Drawing:
    data, entropy = dataset_of(results, "curves/alpha"), dataset_of(results, "curves/entropy")
    figure = rank_fig.alphas(
        {c.title: data.sel(case=c.name) for c in NORMALS},
        {c.title: float(entropy["alpha"].sel(case=c.name)) for c in NORMALS},
        style,
    )
    return Drawing(
        figure,
        alt=(
            "Two panels of log ratios against alpha, for the pair and for the chain. The dotted line of marginal precisions starts at zero and "
            "falls, the dashed line of marginal variances rises to zero at the right end, and the solid line of the generalised variance "
            "crosses zero between. Dots mark the three zeros."
        ),
        caption=(
            "What the best factorised Normal keeps of a correlated one, along Minka's α: log ratios of the fit to the target (means over "
            "coordinates), so that zero is a match. Each quantity is matched at one α (dots), and no α matches two."
        ),
    )


def _draw_branches(results: xr.DataTree, style: Style) -> Drawing:
    panels = {
        "mean field": dataset_of(results, "pitchfork/mean_field"),
        "full rank": dataset_of(results, "pitchfork/full_rank"),
    }
    critical = float(dataset_of(results, "pitchfork/theory")["separation"].sel(dim=2))
    return Drawing(
        rank_fig.branches(panels, {"mean field": critical}, style),
        alt=(
            "Two panels: mean of each stationary point along the diagonal against the distance of the modes. Left, mean field: one row of dots "
            "at zero splits into two rows that follow the modes, while crosses mark the middle from there on. Right, full rank: the row of dots "
            "at zero goes on to the right edge, and two further rows of dots with crosses below them appear beside it."
        ),
        caption=(
            "Stationary points of reverse KL to two modes on the diagonal, all of them at each distance: dots are minima (large: global), crosses are "
            "not. Grey lines are the modes. Left, the middle loses its stability at the dashed line; right, it never does."
        ),
    )


def _draw_shapes(results: xr.DataTree, style: Style) -> Drawing:
    panels = []
    for method in METHOD_NAMES:
        for shape in SHAPES:
            case = case_of(results, f"{shape.name}_{method}")
            optima, forward, runs = (dataset_of(case, name) for name in ("optima", "forward", "runs"))
            minimal = np.flatnonzero(optima["status"].astype(str).str.endswith("minimum"))
            orbit = optima["orbit"].to_numpy()
            drawn = [
                i for i in minimal if (orbit == orbit[i]).sum() <= _MOST_COPIES or i == np.argmax(orbit == orbit[i])
            ]
            reverse = [
                rank_fig.Ellipse(
                    optima["mean"].to_numpy()[i],
                    optima["cov"].to_numpy()[i],
                    local=not str(optima["status"].to_numpy()[i]).startswith("global"),
                )
                for i in drawn
            ]
            ends = runs["mean"].to_numpy()[runs["converged"].to_numpy()]
            panels.append(
                rank_fig.ShapePanel(
                    f"{shape.title},\n{METHOD_NAMES[method]}",
                    dataset_of(case, "density")["density"],
                    rank_fig.Ellipse(forward["mean"].to_numpy(), forward["cov"].to_numpy()),
                    reverse,
                    ends,
                )
            )
    return Drawing(
        rank_fig.shapes(panels, style, cols=len(SHAPES)),
        alt=(
            "Eight panels in two rows, mean field above and full rank below, for two modes on the diagonal, four corners, a ring of twelve lumps and "
            "a banana, filled grey. A dashed blue ellipse, the forward optimum, covers all of each target. Dotted orange ellipses mark the minima "
            "of reverse KL: parallel to the axes above, tilted along the shape in some panels below."
        ),
        caption=(
            "Four targets (50% and 90% of the mass), their [forward]{.forward} optimum and all minima of [reverse]{.reverse} KL found, each as the ellipse that "
            "holds 90% of it; thin ones are local, and of more than "
            f"{_MOST_COPIES} copies under the symmetries of the target one is drawn. Dots are the means at which converged ADVI runs ended."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    dict
        ``question``, ``answer``, the tables ``normals``, ``matched``, ``pitchforks``, ``shapes`` and ``orbits``, and the sentences between them.
    """
    pair, chained = (_normal_findings(case_of(results, c.name), c) for c in NORMALS)
    shapes = {s.name: _shape_findings(results, s) for s in SHAPES}
    settings = json.loads(results.attrs["settings"])
    theory = dataset_of(results, "pitchfork/theory")
    rho = dataset_of(results, "curves/rho_exact")
    closed = [factorised_kl(chain(2, float(r)), "reverse") for r in rho["rho"].to_numpy()]
    along = dataset_of(results, "curves/alpha_exact")
    lost = 1 - pair["variance"]["reverse"]
    runs = sum(s[m]["runs"] for s in shapes.values() for m in METHODS)
    converged = sum(s[m]["converged"] for s in shapes.values() for m in METHODS)
    off = sum(s[m]["off"] for s in shapes.values() for m in METHODS)
    answer = (
        f"On a correlated Normal mean field keeps the conditional variances and no others: at correlation {RHO} it loses "
        f"{num(100 * lost, digits=2)}% of the variance, as theory, exact projection and ADVI agree. No divergence lets a factorised Normal keep "
        "marginal variances, precisions and entropy at once. " + _answer_on_shapes(shapes)
    )
    return {
        "question": QUESTION,
        "answer": answer,
        "settings": settings,
        "rho": RHO,
        "chain_rho": CHAIN_RHO,
        "pair": pair,
        "chain": chained,
        "normals": pair["entries"] + chained["entries"],
        "full_rank": _full_rank_sentence([pair, chained]),
        "rho_difference": float(np.abs(rho["kl"].to_numpy() - closed).max()),
        "n_rho": int(rho.sizes["rho"]),
        "alpha_difference": float(np.abs(along["variance"] - along["theory"]).max()),
        "n_alpha": int(along.sizes["alpha"]),
        "dimension": _dimension_findings(dataset_of(results, "curves/dimension")),
        "matched": _matched_rows(dataset_of(results, "curves/entropy")),
        "matched_sentence": _matched_sentence(
            dataset_of(results, "curves/alpha"), dataset_of(results, "curves/entropy")
        ),
        "entropy_alpha": {
            c.name: float(dataset_of(results, "curves/entropy")["alpha"].sel(case=c.name)) for c in NORMALS
        },
        "pitchforks": [
            {"dim": int(d), "distance": float(theory["separation"].sel(dim=d)), "sd": float(theory["sd"].sel(dim=d))}
            for d in theory["dim"].to_numpy()
            if d in (2, 3, 5, 10, 20, 50)
        ],
        "pitchfork": _pitchfork_findings(case_of(results, "pitchfork")),
        **{f"shape_{name}": value for name, value in shapes.items()},
        "shapes": [shapes[s.name][m]["summary"] for s in SHAPES for m in METHODS],
        "orbits": [row for s in SHAPES for m in METHODS for row in shapes[s.name][m]["entries"]],
        "gains": [shapes[s.name]["sentence"] for s in SHAPES],
        "runs": runs,
        "converged": converged,
        "off": off,
        "largest_gap": max(s[m]["largest_gap"] for s in shapes.values() for m in METHODS),
        "sd_sentence": _sd_sentence(shapes),
        "tolerance": TOLERANCE,
        "lumps": _LUMPS,
    }


def _percent(error: float) -> str:
    """A relative error in per cent, to compare down a column."""
    return num(100 * error, digits=2) if error > 1e-7 else "< 0.00001"


def _normal_findings(case: xr.DataTree, normal: Normal) -> dict[str, Any]:
    fits = dataset_of(case, "fits")
    middle = normal.dim // 2
    rows = []
    largest: dict[str, dict[str, float]] = {}
    for direction, estimator in (("reverse", "ADVI"), ("forward", "maximum likelihood")):
        at = fits.sel(direction=direction)
        theory = at["variance"].sel(source="theory")
        errors = {s: float(np.abs(at["variance"].sel(source=s) / theory - 1).max()) for s in ("exact", "fitted")}
        kl = Estimate(
            float(at["kl"].sel(source="exact")), float(at["kl_error"].sel(source="exact")), case.attrs["kind"]
        )
        largest[direction] = errors
        rows.append(
            {
                "target": normal.title,
                "fit": f"[{direction}]{{.{direction}}}, {estimator}",
                "theory": float(theory[middle]),
                "exact": float(at["variance"].sel(source="exact")[middle]),
                "fitted": float(at["variance"].sel(source="fitted")[middle]),
                "exact_error": _percent(errors["exact"]),
                "fitted_error": _percent(errors["fitted"]),
                "kl_theory": float(at["kl"].sel(source="theory")),
                "kl_exact": kl,
                "gap": f"{max(float(at['kl'].sel(source='fitted') - at['kl'].sel(source='theory')), 0.0):.6f}",
            }
        )
    advi = {name: _runs_findings(dataset_of(case, name)) for name in ("mean_field", "full_rank")}
    return {
        "name": normal.name,
        "title": normal.title,
        "entries": rows,
        "variance": {
            d: float(fits["variance"].sel(direction=d, source="theory")[middle]) for d in ("reverse", "forward")
        },
        "kl": {d: float(fits["kl"].sel(direction=d, source="theory")) for d in ("reverse", "forward")},
        "errors": largest,
        "advi": advi,
        "quadrature": case.attrs["kind"],
    }


def _runs_findings(runs: xr.Dataset) -> dict[str, Any]:
    there = runs.where(runs["converged"], drop=True)
    return {
        "runs": int(runs.sizes["restart"]),
        "converged": int(runs["converged"].sum()),
        "sd_error": float(there["sd_error"].max()) if there.sizes["restart"] else float("nan"),
        "gap": float(there["gap"].max()) if there.sizes["restart"] else float("nan"),
    }


def _full_rank_sentence(normals: Sequence[dict[str, Any]]) -> str:
    """What full-rank ADVI makes of the same Normals, which are in its family."""
    parts = []
    for n in normals:
        a = n["advi"]["full_rank"]
        if not a["converged"]:
            parts.append(f"on the {n['name']} none of {a['runs']} runs converged")
            continue
        size = num(a["gap"], digits=2) if a["gap"] > 1e-12 else "10^−12^"
        parts.append(
            f"on the {n['name']} {a['converged']} of {a['runs']} runs converged, to within {size} nats of zero"
        )
    exact = all(n["advi"]["full_rank"]["gap"] < 1e-6 for n in normals)
    why = (
        " They end *at* the target, not near it: where the family holds the target, log q − log p is constant at the optimum, and "
        "the path gradient that the study uses has no noise left."
        if exact
        else ""
    )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "." + why


def _dimension_findings(data: xr.Dataset) -> dict[str, Any]:
    last = int(data["dim"][-1])
    kl, variance = data["kl"].sel(dim=last), data["variance"].sel(dim=last)
    found: dict[str, Any] = {"dim": last}
    for s in ("chain", "exchangeable"):
        found[s] = {
            "reverse": float(kl.sel(structure=s, direction="reverse")),
            "forward": float(kl.sel(structure=s, direction="forward")),
            "variance": float(variance.sel(structure=s)),
        }
    growth = data["kl"].diff("dim")
    dearer = (data["kl"].sel(direction="reverse") > data["kl"].sel(direction="forward") + 1e-12).any("dim")
    chained, all_pairs = found["chain"], found["exchangeable"]
    found["sentence"] = (
        f"In {last} dimensions the reverse optimum of the chain costs {num(chained['reverse'])} nats and the forward one "
        f"{num(chained['forward'])}; of the exchangeable Normal {num(all_pairs['reverse'])} and {num(all_pairs['forward'])}. "
        + (
            "In some dimension reverse KL costs more than forward KL."
            if bool(dearer.any())
            else "In no dimension does reverse KL cost more than forward KL."
        )
        + (" Every further dimension adds to both." if bool((growth > 0).all()) else "")
    )
    return found


def _matched_rows(entropy: xr.Dataset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for case in NORMALS:
        for alpha in (0.0, 0.5, float(entropy["alpha"].sel(case=case.name)), 1.0):
            marginal, precision, size = matched(case.cov, factorised(case.cov, alpha))
            hits = [w for w, v in (("marginal precisions", precision), ("generalised variance", size), ("marginal variances", marginal))
                    if abs(v - 1) < 1e-6]  # fmt: skip
            row = {"target": case.title, "alpha": f"{alpha:.4g}", "marginal": marginal, "precision": precision, "size": size,
                   "matches": ", ".join(hits) or "none"}  # fmt: skip
            if row["alpha"] not in [r["alpha"] for r in rows if r["target"] == case.title]:
                rows.append(row)
    return rows


def _matched_sentence(data: xr.Dataset, entropy: xr.Dataset) -> str:
    rising = bool((data["marginal"].diff("alpha") > 0).all())
    at = [float(entropy["alpha"].sel(case=c.name)) for c in NORMALS]
    half = "exactly at ½" if abs(at[0] - 0.5) < 1e-6 else f"at {num(at[0])}"
    moved = "elsewhere" if abs(at[1] - 0.5) > 1e-3 else "there as well"
    return (
        "Variances grow with α throughout" if rising else "Variances do not grow with α throughout"
    ) + f". The entropy of the pair is matched {half}; that of the chain {moved}, at α = {num(at[1])}."


def _pitchfork_findings(case: xr.DataTree) -> dict[str, Any]:
    critical = float(case["theory/separation"].sel(dim=2))
    found: dict[str, Any] = {"critical": critical, "sd": float(case["theory/sd"].sel(dim=2))}
    for name in ("mean_field", "full_rank"):
        data = dataset_of(case, name)
        centre = data.where((np.abs(data["along"]) < 1e-6) & (np.abs(data["across"]) < 1e-6), drop=True)
        stable = centre["status"].astype(str).str.endswith("minimum").to_numpy()
        x = centre["separation"].to_numpy()
        off = data.where((np.abs(data["along"]) > 1e-6) & data["status"].astype(str).str.endswith("minimum"), drop=True)
        found[name] = {
            "stable_to": float(x[stable].max()),
            "unstable_from": float(x[~stable].min()) if (~stable).any() else None,
            "born": float(off["separation"].min()) if off.sizes["point"] else None,
            "last": float(x.max()),
        }
    m, r = found["mean_field"], found["full_rank"]
    agrees = m["unstable_from"] is not None and m["stable_to"] < critical < m["unstable_from"]
    both = m["born"] is not None and m["born"] < critical
    found["sentence"] = (
        f"In the exact search the middle is a minimum up to {num(m['stable_to'], digits=3)}"
        + (f" and none from {num(m['unstable_from'], digits=3)}" if m["unstable_from"] is not None else "")
        + (", on either side of the predicted value" if agrees else ", which the prediction does not explain")
        + ". "
        + (
            "Minima on the modes exist before the middle is lost, so there the two compete. "
            if both
            else "Minima off the centre appear only after the middle is lost. "
        )
        + (
            f"For full rank the middle is still a minimum at {num(r['last'], digits=3)}, the largest distance tried."
            if r["unstable_from"] is None
            else f"For full rank the middle is lost from {num(r['unstable_from'], digits=3)}."
        )
    )
    return found


def _shape_findings(results: xr.DataTree, shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = {m: _method_findings(case_of(results, f"{shape.name}_{m}"), shape) for m in METHODS}
    diagonal, full = found["advi"]["best"], found["fullrank_advi"]["best"]
    gain = diagonal - full
    found["gain"] = gain
    counts = [found[m]["minima"] for m in METHODS]
    if gain < 1e-6:
        gains = "full rank gains nothing: the lowest optimum has no correlation to describe"
    elif gain < 0.02:
        gains = f"full rank gains only {num(gain, digits=2)} nats"
    else:
        gains = f"full rank gains {num(gain, digits=3)} nats"
    more = (
        f"it has {counts[1]} minima where mean field has {counts[0]}"
        if counts[1] != counts[0]
        else f"both have {counts[0]} {'minimum' if counts[0] == 1 else 'minima'}"
    )
    found["sentence"] = f"**{shape.title[0].upper()}{shape.title[1:]}.** At the lowest optimum {gains}; {more}."
    lowest = [found[m]["lowest_minima"] for m in METHODS]
    if shape.name == "four_corners" and np.sqrt(counts[0]) % 1 == 0:
        found["sentence"] += (
            f" The target is a product, and mean field takes each coordinate on its own: its {counts[0]} minima are all pairs of "
            f"the {round(np.sqrt(counts[0]))} that one coordinate has."
        )
    if shape.name == "ring" and lowest[0] < lowest[1]:
        found["sentence"] += (
            f" Of the {_LUMPS} equal arcs full rank has a lowest minimum on {lowest[1]}, mean field on the {lowest[0]} that are "
            "parallel to an axis. The target knows of no axes: mean field depends on the coordinates in which it is told."
        )
        if (barrier := found["fullrank_advi"]["barrier"]) is not None:
            found["sentence"] += (
                f" From one arc to the next full rank has to climb only {num(barrier, digits=2)} nats"
                + (_in_a_valley(found["fullrank_advi"]) if barrier < 2 * Schedule().nats else ".")
            )
    return found


def _in_a_valley(runs: dict[str, Any]) -> str:
    """What becomes of runs on a ground that is flat to within what counts as no distance."""
    flagged = runs["runs"] - runs["converged"]
    if not flagged:
        return ", which is about as much as a run may be short of when it counts as converged."
    return (
        f". A valley as flat as that gives the gradient little hold: {flagged} of {runs['runs']} full-rank runs are not called converged. None of them is more "
        f"than {num(runs['flagged_gap'], digits=2)} nats from the minimum it is assigned to, and still a standard deviation is up to "
        f"{num(100 * runs['flagged_sd'], digits=2)}% off."
    )


def _method_findings(case: xr.DataTree, shape: Shape) -> dict[str, Any]:
    optima, runs = dataset_of(case, "optima"), dataset_of(case, "runs")
    minima = optima.isel(point=np.flatnonzero(optima["status"].astype(str).str.endswith("minimum")))
    converged = runs["converged"].to_numpy().astype(bool)
    reached = np.bincount(runs["exact"].to_numpy()[converged], minlength=minima.sizes["point"])
    method = METHOD_NAMES[case.attrs["method"]]
    rows = []
    for orbit in dict.fromkeys(minima["orbit"].to_numpy().tolist()):
        own = np.flatnonzero(minima["orbit"].to_numpy() == orbit)
        first = minima.isel(point=own[0])
        axes = np.sqrt(np.linalg.eigvalsh(first["cov"].to_numpy()))[::-1]
        rows.append(
            {
                "target": shape.title,
                "method": method,
                "status": str(first["status"].item()),
                "copies": str(len(own)),
                "kl": Estimate(float(first["kl"]), float(first["kl_error"]), "quadrature"),
                "axes": " × ".join(num(float(a), digits=3) for a in axes),
                "distance": _distance(first["mean"].to_numpy(), case["forward/mean"].to_numpy()),
                "runs": str(int(reached[own].sum())),
            }
        )
    gaps = np.abs(runs["gap"].to_numpy()[converged])
    sd_errors = runs["sd_error"].to_numpy()[converged]
    lowest = minima["status"].astype(str).str.startswith("global").to_numpy()
    found: dict[str, Any] = {
        "entries": rows,
        "minima": int(minima.sizes["point"]),
        "kinds": len(rows),
        "best": float(minima["kl"].min()),
        "runs": len(converged),
        "converged": int(converged.sum()),
        "off": int((gaps > TOLERANCE).sum()),
        "largest_gap": float(gaps.max()) if len(gaps) else 0.0,
        "sd_error": float(sd_errors.max()) if len(gaps) else 0.0,
        "flagged_gap": float(np.abs(runs["gap"].to_numpy()[~converged]).max(initial=0.0)),
        "flagged_sd": float(runs["sd_error"].to_numpy()[~converged].max(initial=0.0)),
        "flattest": float(minima["flattest"].min()),
        "wide": int((sd_errors > _RELATIVE).sum()),
        "lowest_minima": int(lowest.sum()),
        "barrier": _barrier(optima),
        "reached": int((reached > 0).sum()),
        "lowest": int(reached[lowest].sum()),
        "certificate": case.attrs["certificate"],
    }
    found["summary"] = {
        "target": shape.title,
        "method": method,
        "minima": str(found["minima"]),
        "certificate": found["certificate"],
        "best": found["best"],
        "converged": f"{found['converged']} of {found['runs']}",
        "reached": str(found["reached"]),
        "lowest": str(found["lowest"]),
        "gap": f"{found['largest_gap']:.6f}" if len(gaps) else "–",
        "sd_error": f"{100 * found['sd_error']:.2f}" if len(gaps) else "–",
    }
    return found


def _barrier(optima: xr.Dataset) -> float | None:
    """Height of the lowest saddle found over the lowest minimum, in nats."""
    saddle = optima["status"].astype(str).to_numpy() == "saddle"
    kls = optima["kl"].to_numpy()
    return float(kls[saddle].min() - kls.min()) if saddle.any() else None


def _distance(place: Array, centre: Array) -> float:
    """Distance, without the rounding of one that is zero by symmetry."""
    distance = float(np.linalg.norm(place - centre))
    return distance if distance > 1e-6 else 0.0


def _sd_sentence(shapes: dict[str, dict[str, Any]]) -> str:
    """How far converged runs are off in standard deviations, and where most."""
    found = {(s, m): shapes[s.name][m] for s in SHAPES for m in METHOD_NAMES}
    (shape, method), worst = max(found.items(), key=lambda pair: float(pair[1]["sd_error"]))
    wide = sum(f["wide"] for f in found.values())
    limit = num(100 * _RELATIVE, digits=1)
    if not wide:
        return f"Their standard deviations are within {limit}% of the exact ones, at most {num(100 * worst['sd_error'], digits=2)}% off."
    return (
        f"Nats do not tell all: in {wide} of them a standard deviation is more than {limit}% off, at most "
        f"{num(100 * worst['sd_error'], digits=2)}% ({shape.title}, {METHOD_NAMES[method]}). There the smallest eigenvalue of the exact Hessian "
        f"is {num(worst['flattest'], digits=2)}: along one direction the objective is nearly flat, and a run can stop "
        "well away from the minimum at no cost to speak of."
        if worst["flattest"] < _FLAT
        else f"Nats do not tell all: in {wide} of them a standard deviation is more than {limit}% off, at most "
        f"{num(100 * worst['sd_error'], digits=2)}% ({shape.title}, {METHOD_NAMES[method]})."
    )


def _answer_on_shapes(shapes: dict[str, dict[str, Any]]) -> str:
    useless = [s.title for s in SHAPES if shapes[s.name]["gain"] < 0.02]
    useful = [s.title for s in SHAPES if shapes[s.name]["gain"] >= 0.02]
    parts = []
    if useless:
        parts.append(
            f"Full rank keeps correlations, not shapes: on {_listed(useless)} its lowest optimum is no more than 0.02 nats better"
        )
    if useful:
        parts.append(f"it gains on {_listed(useful)}" if parts else f"Full rank gains on {_listed(useful)}")
    return "; ".join(parts) + "."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
