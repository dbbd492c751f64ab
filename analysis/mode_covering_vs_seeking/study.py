"""Forward KL (maximum likelihood) against reverse KL (ADVI) on multimodal p_data, each beside its exact optima."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.data.columns import load_column
from analysis.draws import levels
from analysis.gaussians import gaussian
from analysis.judged import Normals, beside, cover, nearest, within_tolerance
from analysis.mode_covering_vs_seeking import QUESTION
from analysis.parts import Part, StudySettings, runner
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Start, default_starts, dispersed_starts, fit_advi
from models.divergences import cross_entropy, kl
from models.families import FAMILIES, find_family, normal_mixture
from models.mle import fit_mle
from models.projections import Projection, forward_projection, minima, reverse_projections
from models.projections.objectives import reverse_objective
from models.quadrature import Estimate, gaussian_nodes
from models.results import draws_of, estimate_variables, member_of, parameter_variables
from models.targets import TARGETS, Target, from_draws
from models.targets import normal_mixture as mixture_target

Array = NDArray[np.float64]
#: Nats above its exact optimum up to which a run is within tolerance.
TOLERANCE = 0.02


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    n : int
        Draws of p_data for maximum likelihood.
    steps, draws_per_step : int
        ADVI optimisation.
    centre_runs : int
        Runs from PyMC's default start, each with its own noise.
    default_runs, default_steps : int
        Runs with all of PyMC's defaults, for comparison.
    draws : int
        Draws kept of every distribution, for ArviZ.
    """

    n: int = Field(default=5000, ge=100)
    steps: int = Field(default=3000, ge=100)
    draws_per_step: int = Field(default=100, ge=1)
    centre_runs: int = Field(default=5, ge=1)
    default_runs: int = Field(default=5, ge=1)
    default_steps: int = Field(default=10_000, ge=100)
    draws: int = Field(default=2000, ge=100)

    quick: ClassVar = {
        "n": 1000, "steps": 800, "centre_runs": 2, "default_runs": 2, "default_steps": 2000, "draws": 1000,
    }  # fmt: skip
    full: ClassVar = {"n": 50_000, "steps": 10_000, "centre_runs": 20, "default_runs": 20, "draws": 10_000}


@dataclass(frozen=True)
class Case:
    """One target, one family, one of PyMC's methods."""

    name: str
    title: str
    family: str
    method: Literal["advi", "fullrank_advi"] = "advi"
    target: str | None = None


CASES = (
    Case("bimodal", "two equal modes, ½ N(±3, 1)", "normal"),
    Case("unequal", "0.3 N(−2, 0.5²) + 0.7 N(2, 1)", "normal"),
    Case("trimodal", "three equal modes, spacing 6", "normal"),
    Case("heavy_tailed", "heavy tails, ½ t₄(±4, 1)", "normal"),
    Case("old_faithful", "Old Faithful waiting times", "normal"),
    Case("crossed_mean_field", "opposite correlations, mean field", "mvnormal_diag", target="crossed"),
    Case("crossed_full_rank", "opposite correlations, full rank", "mvnormal", "fullrank_advi", target="crossed"),
)


def parts(settings: Settings) -> list[Part]:
    """Everything to compute; the two-dimensional cases take longest."""
    s = settings.model_dump()
    return [
        Part(case.name, case.title, {"case": asdict(case), "settings": s}, partial(run_case, case, settings),
             weight=30 if case.target == "crossed" else 4)
        for case in CASES
    ]  # fmt: skip


#: One child per case; see `run_case`.
run = runner(QUESTION, Settings, parts)


def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """Compute one case: the exact optima of both directions, and PyMC's fits.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``p_data``, ``forward_exact``, ``forward_mle``, ``reverse_exact_0``, ... (minima, lowest first) and
        ``reverse_advi_0``, ..., each with ``posterior``, ``sample_stats`` and ``fit`` (both KLs with their errors and
        ``gap``, the nats above the exact optimum); ``stationary``: all stationary points of the reverse KL, and which modes they
        cover; ``densities``, of the target and its exact optima; ``restarts``: every ADVI run, the exact optimum it reached and
        its gap; for one case ``pymc_default`` and ``landscape``.
    """
    family = find_family(case.family)
    target, data = _target_of(case)
    points = reverse_projections(target, family)
    exact = minima(points)
    forward = forward_projection(target, family)
    observed = data if data is not None else target.rvs(settings.n, settings.seed)
    fitted = fit_mle(observed, family, seed=settings.seed, draws=settings.draws)
    member = member_of(fitted["fit"].to_dataset(), family)

    tree: dict[str, xr.Dataset] = {}
    _add(tree, "p_data", target, settings, 0, {}, log_p=target)
    _add(tree, "forward_exact", forward.member, settings, 1, _scores(target, forward.member, None, None), log_p=target)
    mle = _scores(target, member, forward.divergence, None)
    mle |= {k: fitted["fit"][k].item() for k in ("log_likelihood", "n", "starts_reached")}
    # Data have no density of their own: the cross-entropy is all that draws say about the divergence.
    mle |= estimate_variables("cross_entropy", cross_entropy(from_draws(observed), member))
    _add(tree, "forward_mle", member, settings, 2, mle, log_p=target)
    tree["forward_mle/standard_errors"] = fitted["fit"].to_dataset()[["se_hessian", "se_sandwich"]]
    for i, optimum in enumerate(exact):
        scores = _scores(target, optimum.member, None, None) | {"status": optimum.status}
        _add(tree, f"reverse_exact_{i}", optimum.member, settings, 3 + i, scores, log_p=target)
    tree["stationary"] = _stationary(points, target)
    tree["densities"] = densities(
        target, [("forward", "", forward.member), *(("reverse", p.status, p.member) for p in exact)]
    )

    tree |= _advi(case, target, exact, settings)
    if case.name == "bimodal":
        tree["pymc_default"] = _pymc_default(target, settings, exact)
        tree["landscape"] = _landscape(target)
    if data is not None:
        tree["p_data/observed_data"] = xr.Dataset({"x": ("observation", data)})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {
        "title": case.title,
        "family": case.family,
        "method": case.method,
        "target": json.dumps(dict(target.spec)),
        "target_name": target.name,
        "certificate": exact[0].certificate,
    }
    return result


def _advi(case: Case, target: Target, exact: list[Projection], settings: Settings) -> dict[str, xr.Dataset]:
    """Every run of ADVI beside its exact optimum, and the fits that they share."""
    family = exact[0].family
    tree: dict[str, xr.Dataset] = {}
    starts = default_starts(target)
    starts = [Start(f"centre {i + 1}", starts[0].mean) for i in range(settings.centre_runs)] + starts[1:]
    schedule = replace(PYMC_ADAM, steps=settings.steps, draws_per_step=settings.draws_per_step)
    advi = fit_advi(
        target, method=case.method, starts=starts, seed=settings.seed, schedule=schedule, draws=settings.draws
    )
    tree["restarts"] = _judge(advi["restarts"].to_dataset(), target, exact)
    for name, child in advi.children.items():
        if name.startswith("optimum_"):
            k = name.removeprefix("optimum_")
            q = member_of(child["fit"].to_dataset(), family)
            i = int(nearest(Normals.of([q]), Normals.of(p.member for p in exact))[0])
            scores = _scores(target, q, None, exact[i].divergence) | {"optimum": i}
            scores["runs"] = int((tree["restarts"]["advi_optimum"] == int(k)).sum())
            for group in ("posterior", "sample_stats", "vi_trace"):
                tree[f"reverse_advi_{k}/{group}"] = child[group].to_dataset()
            tree[f"reverse_advi_{k}/fit"] = _fit(q, scores)
    return tree


def _target_of(case: Case) -> tuple[Target, Array | None]:
    """The density to approximate; for real data a density estimate, and the data."""
    if case.name != "old_faithful":
        return TARGETS[case.target or case.name], None
    data = load_column("old_faithful_waiting")
    best = fit_mle(data, normal_mixture(2), starts=4, draws=2)["fit"]
    estimate = mixture_target(
        best["w"].to_numpy(), best["mu"].to_numpy(), best["sigma"].to_numpy(), name="old_faithful"
    )
    return estimate, data


def _scores(
    target: Target, q: Target, forward_optimum: Estimate | None, reverse_optimum: Estimate | None
) -> dict[str, Any]:
    """Both divergences of a member, and the gap to the optimum of its own direction."""
    forward, reverse = kl(target, q), kl(q, target)
    scores = estimate_variables("kl_forward", forward) | estimate_variables("kl_reverse", reverse)
    own, best = (forward, forward_optimum) if forward_optimum is not None else (reverse, reverse_optimum)
    if best is not None:
        scores |= {"gap": own.value - best.value, "gap_error": own.error + best.error}
    return scores


def _fit(q: Target, scores: Mapping[str, Any]) -> xr.Dataset:
    return xr.Dataset({**parameter_variables(q.spec["params"]), **scores})


def _add(
    tree: dict[str, xr.Dataset],
    role: str,
    q: Target,
    settings: Settings,
    stream: int,
    scores: Mapping[str, Any],
    **densities: Target,
) -> None:
    if role != "p_data":
        densities["log_q"] = q
        tree[f"{role}/fit"] = _fit(q, scores)
    for name, dataset in draws_of(q, settings.draws, 1000 * settings.seed + stream, **densities).items():
        tree[f"{role}/{name}"] = dataset


def densities(target: Target, members: Sequence[tuple[str, str, Target]]) -> xr.Dataset:
    """Densities of a target and of members, each with a role and a status, on a grid that shows them.

    Returns
    -------
    Dataset
        ``density`` over (curve, x) or (curve, x, y), the target first, with ``role``, ``status``, and of members ``mean`` and ``sd``
        over (curve, dim); in the plane ``level`` over (curve, mass): what encloses 90% and 50% of the mass.
    """
    curves = [("target", "", target), *members]
    fits = Normals.of(q for _, _, q in members)
    none = np.full((1, target.dim), np.nan)
    data: dict[str, Any] = {
        "role": ("curve", [role for role, _, _ in curves]),
        "status": ("curve", [status for _, status, _ in curves]),
        "mean": (("curve", "dim"), np.concatenate([none, fits.mean])),
        "sd": (("curve", "dim"), np.concatenate([none, fits.sd])),
    }
    if target.dim == 1:
        centres, widths = (np.array([float(np.ravel(scale[i])[0]) for scale in target.scales]) for i in (0, 1))
        reach = [(centres, 4.5 * widths), (fits.mean[:, 0], 2.6 * fits.sd[:, 0])]
        x = np.linspace(min((c - w).min() for c, w in reach), max((c + w).max() for c, w in reach), 401)
        data["density"] = (("curve", "x"), np.exp([q.logp(x[:, None]) for _, _, q in curves]))
        return xr.Dataset(data, coords={"x": x})
    # A square that holds the ellipse with 90% of the mass of the first member, the widest.
    x = np.linspace(-1, 1, 121) * max(5.2, float((np.abs(fits.mean[0]) + 2.2 * fits.sd[0]).max()))
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.exp([q.logp(points) for _, _, q in curves]).reshape(-1, len(x), len(x))
    data |= {
        "density": (("curve", "x", "y"), values),
        "level": (("curve", "mass"), [levels(q) for _, _, q in curves]),
    }
    return xr.Dataset(data, coords={"x": x, "y": x})


def _stationary(points: list[Projection], target: Target) -> xr.Dataset:
    members = Normals.of(p.member for p in points)
    return xr.Dataset(
        {
            "mean": (("point", "dim"), members.mean),
            "sd": (("point", "dim"), members.sd),
            "kl": ("point", [p.divergence.value for p in points]),
            "status": ("point", [p.status for p in points]),
            "cover": (("point", "mode"), cover(members, target)),
        }
    )


def _judge(restarts: xr.Dataset, target: Target, exact: list[Projection]) -> xr.Dataset:
    """Say for every run which exact optimum it reached and how far off, in nats, it stopped."""
    runs = Normals(restarts["mean"].to_numpy(), restarts["cov"].to_numpy())
    reverse = [kl(gaussian(exact[0].family.name, m, c), target) for m, c in zip(runs.mean, runs.cov, strict=True)]
    judged = beside(runs, np.array([e.value for e in reverse]), exact, kl_error=[e.error for e in reverse])
    found = restarts.rename(optimum="advi_optimum")
    found = found.assign({k: ("restart", judged[k].to_numpy()) for k in ("optimum", "gap", "gap_error")})
    return found.assign(within_tolerance=("restart", within_tolerance(judged["gap"], TOLERANCE)))


def _pymc_default(target: Target, settings: Settings, exact: list[Projection]) -> xr.Dataset:
    """What ``pm.fit(method="advi")`` does when nothing is said: its own start, optimiser, draws and steps."""
    start = dispersed_starts(target, 1)[0].mean
    starts = [Start(f"default {i + 1}", start) for i in range(settings.default_runs)]
    schedule = replace(PYMC_DEFAULT, steps=settings.default_steps)
    fits = fit_advi(target, starts=starts, seed=settings.seed + 1, schedule=schedule, draws=2)
    return _judge(fits["restarts"].to_dataset(), target, exact).drop_vars("history")


def _landscape(target: Target) -> xr.Dataset:
    """Reverse KL over (mean, sd) of a Normal."""
    m, s = np.linspace(-5, 5, 81), np.geomspace(0.4, 4.7, 61)
    objective = reverse_objective(FAMILIES["normal"], target, gaussian_nodes(1, size=129))
    thetas = np.stack(np.meshgrid(m, np.log(s), indexing="ij"), axis=-1).reshape(-1, 2)
    value = objective.gradient(thetas)[0].reshape(len(m), len(s))
    return xr.Dataset({"kl": (("mean", "sd"), value)}, coords={"mean": m, "sd": s})
