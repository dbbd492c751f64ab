"""Mean field against full rank: correlated Normals in closed form, and targets with a shape no Normal has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from analysis.mean_field_vs_full_rank import QUESTION
from analysis.mean_field_vs_full_rank.normals import (
    CHAIN_RHO,
    NORMALS,
    RHO,
    Normal,
    chain,
    entropy_alpha,
    exchangeable,
    factorised,
    factorised_kl,
    kl_normals,
    matched,
    pitchfork,
)
from analysis.mean_field_vs_full_rank.shapes import (
    METHOD_NAMES,
    SHAPES,
    Method,
    Shape,
    cov_of,
    descend,
    guesses,
    moments_of_shape,
    target_of_shape,
    theta_of,
    turns_of,
)
from analysis.parts import Part, runner
from models.advi import METHODS, Schedule, Start, dispersed_starts, fit_advi
from models.families import FAMILIES
from models.mle import fit_mle
from models.projections import Projection, alpha_projections, forward_projection, reverse_projections
from models.projections.exact import exact_objective
from models.targets import Target, mvnormal_mixture, normal_mixture

Array = NDArray[np.float64]


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
        points = descend(target, family, [*guesses(shape.name), *arrived], turns_of(shape.name, method))
    found = [p for p in points if p.status in ("global minimum", "local minimum")]
    covs = [cov_of(p) for p in found]
    exact = exact_objective(family, target, 0.0).at(1)
    values = exact.gradient(np.array([theta_of(family, m, c) for m, c in ends]))[0]
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


def _optima(points: Sequence[Projection]) -> xr.Dataset:
    orbit: list[int] = []
    for i, p in enumerate(points):
        same = [j for j in range(i) if points[j].status == p.status
                and abs(points[j].divergence.value - p.divergence.value) < 1e-6]  # fmt: skip
        orbit.append(orbit[same[0]] if same else max(orbit, default=-1) + 1)
    return xr.Dataset(
        {
            "mean": (("point", "dim"), [p.params["mu"] for p in points]),
            "cov": (("point", "dim", "other"), [cov_of(p) for p in points]),
            "kl": ("point", [p.divergence.value for p in points]),
            "kl_error": ("point", [p.divergence.error for p in points]),
            "status": ("point", [p.status for p in points]),
            "orbit": ("point", orbit),
            "flattest": ("point", [float(p.hessian_eigenvalues[0]) for p in points]),
        }
    )
