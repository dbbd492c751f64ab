"""Mean field against full rank: correlated Normals in closed form, and targets with a shape no Normal has."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.judged import Normals, at_rest, beside
from analysis.mean_field_vs_full_rank import QUESTION
from analysis.mean_field_vs_full_rank.normals import (
    CHAIN_RHO,
    NORMALS,
    RHO,
    Normal,
    chain,
    entropy_alpha,
    factorised,
    factorised_kl,
    matched,
    pitchfork,
)
from analysis.mean_field_vs_full_rank.shapes import (
    METHOD_NAMES,
    SHAPES,
    Method,
    Shape,
    moments_of_shape,
    points_below,
    target_of_shape,
)
from analysis.parts import Part, StudySettings, runner
from models.advi import METHODS, Schedule, dispersed_starts, fit_advi
from models.families import FAMILIES
from models.projections import alpha_projections, minima, reverse_projections
from models.projections.exact import exact_objective
from models.projections.starts import member_theta
from models.results import projections_dataset
from models.targets import Target, mvnormal_mixture

Array = NDArray[np.float64]
#: Dimensions in which the place of the pitchfork is told.
DIMS = (2, 3, 5, 10)


class Settings(StudySettings):
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
    exact : int
        Correlations, and alphas, at which exact projections stand beside the closed forms.
    separations : int
        Distances between two modes at which all stationary points are sought.
    curve : int
        Points of each closed-form curve.
    steps, rounds : int
        Of ADVI: steps of a round, and the most rounds; a run stops once it is at rest.
    """

    n: int = Field(default=5000, ge=100)
    normal_starts: int = Field(default=3, ge=1)
    starts: int = Field(default=6, ge=2)
    exact: int = Field(default=2, ge=1)
    separations: int = Field(default=7, ge=3)
    curve: int = Field(default=61, ge=5)
    steps: int = Field(default=300, ge=10)
    rounds: int = Field(default=8, ge=1)

    quick: ClassVar = {
        "n": 1000, "normal_starts": 2, "starts": 4, "exact": 1, "separations": 5, "curve": 31, "rounds": 4,
    }  # fmt: skip
    full: ClassVar = {"n": 50_000, "normal_starts": 10, "starts": 100, "exact": 9, "separations": 41, "curve": 201}


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    normals = [
        Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_normal, c, settings), 4) for c in NORMALS
    ]
    shapes = [
        Part(f"{shape.name}_{method}", f"{shape.title}, {name}", {"shape": asdict(shape), "method": method, "settings": s},
             partial(run_shape, shape, method, settings), weight=6)
        for shape in SHAPES for method, name in METHOD_NAMES.items()
    ]  # fmt: skip
    constants = {"rho": [RHO, CHAIN_RHO], "settings": s}
    return [
        *normals,
        Part("curves", "closed forms", constants, partial(run_curves, settings), 2),
        Part("pitchfork", "two modes moved apart", constants, partial(run_pitchfork, settings), 6),
        *shapes,
    ]


#: ``pair`` and ``chain`` (`run_normal`), ``curves`` (`run_curves`), ``pitchfork`` (`run_pitchfork`), and one child
#: for each shape and method (`run_shape`).
run = runner(QUESTION, Settings, parts)


def run_normal(case: Normal, settings: Settings) -> xr.DataTree:
    """Fit one correlated Normal: factorised in both directions, and by full rank.

    Parameters
    ----------
    case : Normal
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``fits``: ``variance`` over (direction, source, dim) and ``kl`` over (direction, source), where source is theory or fitted: the
        lowest run of ADVI in reverse, maximum likelihood in forward. ``advi`` and ``fullrank_advi``: the ADVI runs, with ``gap``,
        the nats above the least KL, the largest relative error of a standard deviation, and whether at rest.
    """
    zero, schedule = np.zeros((1, case.dim)), Schedule(steps=settings.steps, rounds=settings.rounds)
    p = Normals(zero, case.cov[None])
    x = case.target.rvs(settings.n, settings.seed)
    starts = dispersed_starts(case.target, settings.normal_starts, settings.seed)
    least = {side: factorised_kl(case.cov, side) for side in ("reverse", "forward")}
    exact: dict[Method, tuple[float, Array]] = {
        "advi": (least["reverse"], np.diag(factorised(case.cov, 0))),
        "fullrank_advi": (0.0, case.cov),
    }
    tree: dict[str, xr.Dataset] = {}
    for method, (floor, best) in exact.items():
        found = fit_advi(case.target, method=method, starts=starts, seed=settings.seed, schedule=schedule, draws=2)[
            "restarts"
        ].to_dataset()
        q = Normals(found["mean"].to_numpy(), found["cov"].to_numpy())
        sd_error = np.abs(q.sd / np.sqrt(np.diag(best)) - 1).max(axis=1)
        columns = {
            "gap": q.kl(p)[:, 0] - floor,
            "sd_error": sd_error,
            "at_rest": at_rest(found),
            "loss": found["loss"].to_numpy(),
        }
        tree[method] = xr.Dataset(
            {key: ("run", column) for key, column in columns.items()} | {"sd": (("run", "dim"), q.sd)}
        )
    lowest = tree["advi"].isel(run=int(tree["advi"]["loss"].to_numpy().argmin()))
    fitted = Normals.by_sd(x.mean(axis=0)[None], x.std(axis=0)[None])  # maximum likelihood, in closed form
    tree["fits"] = xr.Dataset(
        {
            "variance": (
                ("direction", "source", "dim"),
                [
                    [factorised(case.cov, 0), lowest["sd"].to_numpy() ** 2],
                    [factorised(case.cov, 1), fitted.sd[0] ** 2],
                ],
            ),
            "kl": (
                ("direction", "source"),
                [
                    [least["reverse"], least["reverse"] + float(lowest["gap"])],
                    [least["forward"], float(p.kl(fitted)[0, 0])],
                ],
            ),
        },
        coords={"direction": ["reverse", "forward"], "source": ["theory", "fitted"]},
    )
    return xr.DataTree.from_dict(tree)


def run_curves(settings: Settings) -> xr.DataTree:
    """Closed forms against correlation and alpha, with exact projections of the pair beside them.

    Returns
    -------
    xarray.DataTree
        ``rho``: ``variance`` in reverse. ``alpha``: ``marginal``, ``precision``, ``size`` over (case, alpha), see `matched`, and ``entropy`` over
        case, the alpha at which it is kept. ``rho_exact`` and ``alpha_exact``: projections, with ``theory``, their variance in closed form.
    """
    family, pair = FAMILIES["mvnormal_diag"], NORMALS[0]
    rho, alphas = np.linspace(0, 0.99, settings.curve), np.linspace(0, 1, settings.curve)
    ratios = np.array([[matched(c.cov, factorised(c.cov, float(a))) for a in alphas] for c in NORMALS])
    shares = np.arange(1, settings.exact + 1)
    exact_rho, exact_alpha = np.round(RHO * shares / settings.exact, 3), shares / (settings.exact + 1)
    exact = {
        "rho": [reverse_projections(mvnormal_mixture([1], [[0, 0]], [chain(2, r)]), family)[0] for r in exact_rho],
        "alpha": [alpha_projections(pair.target, family, float(a))[0] for a in exact_alpha],
    }
    theory = {
        "rho": [factorised(chain(2, r), 0)[0] for r in exact_rho],
        "alpha": [factorised(pair.cov, float(a))[0] for a in exact_alpha],
    }
    tree = {
        "rho": xr.Dataset({"variance": ("rho", [factorised(chain(2, r), 0)[0] for r in rho])}, coords={"rho": rho}),
        "alpha": xr.Dataset(
            {name: (("case", "alpha"), ratios[..., i]) for i, name in enumerate(("marginal", "precision", "size"))}
            | {"entropy": ("case", [entropy_alpha(c.cov) for c in NORMALS])},
            coords={"case": [c.name for c in NORMALS], "alpha": alphas},
        ),
    }
    for name, at in (("rho", exact_rho), ("alpha", exact_alpha)):
        tree[f"{name}_exact"] = projections_dataset(exact[name]).assign(
            {name: ("point", at), "theory": ("point", theory[name])}
        )
    return xr.DataTree.from_dict(tree)


def run_pitchfork(settings: Settings) -> xr.DataTree:
    """All stationary points of mean field on two modes on the diagonal, while these move apart.

    Returns
    -------
    xarray.DataTree
        ``points`` over ``point``: projections with ``separation``, the distance of either mode from the centre. ``theory`` over
        ``dim``: ``separation`` and ``sd`` at the pitchfork.
    """
    found = []
    for a in np.linspace(1.0, 3.4, settings.separations).tolist():
        place = np.full(2, a / np.sqrt(2))
        target = mvnormal_mixture([0.5, 0.5], [-place, place], [np.eye(2)] * 2)
        points = projections_dataset(reverse_projections(target, FAMILIES["mvnormal_diag"], seed=settings.seed))
        found.append(points.assign(separation=("point", np.full(points.sizes["point"], a))))
    distance, sd = np.array([pitchfork(d) for d in DIMS]).T
    theory = xr.Dataset({"separation": ("dim", distance), "sd": ("dim", sd)}, coords={"dim": list(DIMS)})
    return xr.DataTree.from_dict({"points": xr.concat(found, "point"), "theory": theory})


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
        ``optima``: stationary points below guesses and below the ends of ADVI. ``runs``: where each ended, beside the minima; whether
        at rest. ``forward``: the moments of the target. ``density`` over (``x``, ``y``).
    """
    target, family = target_of_shape(shape.name), FAMILIES[METHODS[method]]
    schedule = Schedule(steps=settings.steps, rounds=settings.rounds)
    starts = dispersed_starts(target, settings.starts, settings.seed)
    restarts = fit_advi(target, method=method, starts=starts, seed=settings.seed, schedule=schedule, draws=2)[
        "restarts"
    ].to_dataset()
    runs, rest = Normals(restarts["mean"].to_numpy(), restarts["cov"].to_numpy()), at_rest(restarts)
    points = points_below(shape, method, family.name, list(zip(runs.mean[rest], runs.cov[rest], strict=True)))
    thetas = np.array([member_theta(family, m, c, {}) for m, c in zip(runs.mean, runs.cov, strict=True)])
    kl = exact_objective(family, target, 0.0).at(1).gradient(thetas)[0]
    mean, cov = moments_of_shape(shape.name)
    judged = beside(runs, kl, minima(points)).assign(mean=(("run", "dim"), runs.mean), at_rest=("run", rest))
    return xr.DataTree.from_dict(
        {
            "optima": projections_dataset(points),
            "runs": judged,
            "forward": xr.Dataset(
                {"mean": ("dim", mean), "cov": (("dim", "other"), np.diag(np.diag(cov)) if method == "advi" else cov)}
            ),
            "density": _density(target, shape.box),
        }
    )


def _density(target: Target, box: tuple[float, float, float, float]) -> xr.Dataset:
    x, y = np.linspace(*box[:2], 91), np.linspace(*box[2:], 91)
    values = np.exp(target.logp(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)))
    return xr.Dataset({"density": (("x", "y"), values.reshape(len(x), len(y)))}, coords={"x": x, "y": y})
