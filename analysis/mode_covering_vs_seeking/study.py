"""Forward KL (maximum likelihood) against reverse KL (ADVI) on multimodal p_data, each beside its exact optima."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from analysis.data.columns import load_column
from analysis.drawing import densities as drawn
from analysis.drawing.densities import Curve, Panel
from analysis.drawing.drawn import Drawing
from analysis.drawing.planes import PlanePanel, planes
from analysis.drawing.style import Style
from analysis.gaussians import gaussian, moments, nearest
from analysis.mode_covering_vs_seeking import QUESTION
from analysis.mode_covering_vs_seeking.marks import landscape, loss_traces, pit
from analysis.parts import Part, runner
from analysis.reading import case_of, estimate_of, target_of
from analysis.site.numbers import num
from models.advi import PYMC_ADAM, PYMC_DEFAULT, Start, default_starts, dispersed_starts, fit_advi
from models.divergences import cross_entropy, kl
from models.families import find_family, normal_mixture
from models.mle import fit_mle
from models.projections import Projection, forward_projection, minima, reverse_projections
from models.quadrature import Estimate
from models.results import draws_of, member_of
from models.targets import TARGETS, Target, from_draws
from models.targets import normal_mixture as mixture_target

Array = NDArray[np.float64]
#: A fit further than this from the exact optimum, in nats, is reported as not converged.
TOLERANCE = 0.02


class Settings(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    n: int = Field(default=5000, ge=100)
    steps: int = Field(default=3000, ge=100)
    draws_per_step: int = Field(default=100, ge=1)
    centre_runs: int = Field(default=5, ge=1)
    default_runs: int = Field(default=5, ge=1)
    default_steps: int = Field(default=10_000, ge=100)
    draws: int = Field(default=2000, ge=100)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(seed=seed, n=1000, steps=800, centre_runs=2, default_runs=2, default_steps=2000, draws=1000)
        if effort == "full":
            return cls(seed=seed, n=50_000, steps=10_000, centre_runs=20, default_runs=20, draws=10_000)
        return cls(seed=seed)


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
        Part(
            case.name,
            case.title,
            {"case": asdict(case), "settings": s},
            partial(run_case, case, settings),
            weight=30 if case.target == "crossed" else 4,
        )
        for case in CASES
    ]


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
        ``gap``, the nats above the exact optimum); ``stationary``: all stationary points of the reverse KL;
        ``restarts``: every ADVI run, the exact optimum it reached and its gap; for one case ``pymc_default``.
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
    mle |= _pair("cross_entropy", cross_entropy(from_draws(observed), member))
    _add(tree, "forward_mle", member, settings, 2, mle, log_p=target)
    tree["forward_mle/standard_errors"] = fitted["fit"].to_dataset()[["se_hessian", "se_sandwich"]]
    for i, optimum in enumerate(exact):
        scores = _scores(target, optimum.member, None, None) | {"status": optimum.status}
        _add(tree, f"reverse_exact_{i}", optimum.member, settings, 3 + i, scores, log_p=target)
    tree["stationary"] = _stationary(points)

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
            i = nearest(q, exact)
            scores = _scores(target, q, None, exact[i].divergence) | {"optimum": i}
            scores["runs"] = int((tree["restarts"]["advi_optimum"] == int(k)).sum())
            for group in ("posterior", "sample_stats", "vi_trace"):
                tree[f"reverse_advi_{k}/{group}"] = child[group].to_dataset()
            tree[f"reverse_advi_{k}/fit"] = _fit(q, scores)
    if case.name == "bimodal":
        tree["pymc_default"] = _pymc_default(target, settings, exact)
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
        "real_data": int(data is not None),
    }
    return result


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


def _pair(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_error": estimate.error}


def _scores(
    target: Target, q: Target, forward_optimum: Estimate | None, reverse_optimum: Estimate | None
) -> dict[str, Any]:
    """Both divergences of a member, and the gap to the optimum of its own direction."""
    forward, reverse = kl(target, q), kl(q, target)
    scores = _pair("kl_forward", forward) | _pair("kl_reverse", reverse)
    own, best = (forward, forward_optimum) if forward_optimum is not None else (reverse, reverse_optimum)
    if best is not None:
        scores |= {"gap": own.value - best.value, "gap_error": own.error + best.error}
    return scores


def _fit(q: Target, scores: Mapping[str, Any]) -> xr.Dataset:
    params = {k: np.asarray(v) for k, v in q.spec["params"].items()}
    data: dict[str, Any] = {k: (tuple(f"{k}_dim_{i}" for i in range(v.ndim)), v) for k, v in params.items()}
    return xr.Dataset(data | {k: ((), np.asarray(v)) for k, v in scores.items()})


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


def _stationary(points: list[Projection]) -> xr.Dataset:
    found = [moments(p.member) for p in points]
    return xr.Dataset(
        {
            "mean": (("point", "dim"), np.array([m for m, _ in found])),
            "sd": (("point", "dim"), np.array([s for _, s in found])),
            "kl": ("point", [p.divergence.value for p in points]),
            "kl_error": ("point", [p.divergence.error for p in points]),
            "gradient_norm": ("point", [p.gradient_norm for p in points]),
            "smallest_eigenvalue": ("point", [float(p.hessian_eigenvalues[0]) for p in points]),
            "status": ("point", [p.status for p in points]),
        }
    )


def _judge(restarts: xr.Dataset, target: Target, exact: list[Projection]) -> xr.Dataset:
    """Say for every run which exact optimum it reached and how far off, in nats, it stopped."""
    family = exact[0].family
    optimum, gap, error = [], [], []
    for i in range(restarts.sizes["restart"]):
        run_ = restarts.isel(restart=i)
        q = gaussian(family.name, run_["mean"].to_numpy(), run_["cov"].to_numpy())
        k = nearest(q, exact)
        reached = kl(q, target)
        optimum.append(k)
        gap.append(reached.value - exact[k].divergence.value)
        error.append(reached.error + exact[k].divergence.error)
    judged = restarts.rename(optimum="advi_optimum").assign(
        optimum=("restart", optimum), gap=("restart", gap), gap_error=("restart", error)
    )
    return judged.assign(within_tolerance=judged["gap"] <= TOLERANCE)


def _pymc_default(target: Target, settings: Settings, exact: list[Projection]) -> xr.Dataset:
    """What ``pm.fit(method="advi")`` does when nothing is said: its own start, optimiser, draws and steps."""
    start = dispersed_starts(target, 1)[0].mean
    starts = [Start(f"default {i + 1}", start) for i in range(settings.default_runs)]
    schedule = replace(PYMC_DEFAULT, steps=settings.default_steps)
    fits = fit_advi(target, starts=starts, seed=settings.seed + 1, schedule=schedule, draws=2)
    return _judge(fits["restarts"].to_dataset(), target, exact).drop_vars("history")


# --- figures ---------------------------------------------------------------------------------------------------------


def _roles(case: xr.DataTree, prefix: str) -> list[xr.DataTree]:
    return [child for name, child in case.children.items() if name.startswith(prefix)]


def _member(case: xr.DataTree, role: str) -> Target:
    return member_of(case[f"{role}/fit"].to_dataset(), find_family(case.attrs["family"]))


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
        ``hero``, ``landscape``, ``gallery``, ``crossed``, ``loss``, ``pit``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "hero": _hero(results, style),
        "landscape": _landscape(results, style),
        "gallery": _gallery(results, style),
        "crossed": _crossed(results, style),
        "loss": _loss(results, style),
        "pit": _pit(results, style),
    }


def _curves(case: xr.DataTree) -> Panel:
    target = target_of(case)
    lines = [Curve("forward", "forward", _member(case, "forward_exact"))]
    for i, child in enumerate(_roles(case, "reverse_exact_")):
        status = str(child["fit"]["status"].item())
        lines.append(
            Curve(
                "reverse", f"reverse, {status.split()[0]}", _member(case, f"reverse_exact_{i}"), local="local" in status
            )
        )
    return Panel(case.attrs["title"], target, lines)


def _hero(results: xr.DataTree, style: Style) -> Drawing:
    figure = drawn.densities([_curves(case_of(results, "bimodal"))], style, legend=True, figsize=(8, 4))
    f = findings(results)
    return Drawing(
        figure,
        alt=(
            "Density of two equal modes at -3 and 3, filled grey. A broad dashed blue Normal, the forward optimum, covers both. "
            "Two narrow dotted orange Normals, the global reverse optima, each match one mode. A third, thinner dotted orange "
            "Normal, a local reverse optimum, is broad and centred."
        ),
        caption=(
            "One target, one family, four exact answers. [Forward]{.forward} KL has one optimum, which covers both modes. "
            f"[Reverse]{{.reverse}} KL has {f['bimodal']['n_minima']} minima: one on each mode (global), and one that covers both "
            "(local, thin line)."
        ),
    )


def _gallery(results: xr.DataTree, style: Style) -> Drawing:
    names = ["unequal", "trimodal", "heavy_tailed", "old_faithful"]
    figure = drawn.densities([_curves(case_of(results, name)) for name in names], style, cols=2, figsize=(9, 6.4))
    f = findings(results)
    return Drawing(
        figure,
        alt=(
            "Four panels of densities filled grey: an unequal pair, three modes, a pair with heavy tails, and the estimated density "
            "of Old Faithful waiting times. In each, a dashed blue Normal covers everything, and dotted orange Normals mark the "
            "minima of reverse KL: narrow ones on single modes and, in some panels, broad ones."
        ),
        caption=(
            "The same comparison on four more targets. Thin dotted lines are local minima of reverse KL. For three equal modes the "
            f"*global* reverse optimum is {'the broad one' if _is_broad(f['trimodal'], 0) else 'on a single mode'}."
        ),
    )


def _landscape(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "bimodal")
    figure = landscape(
        target_of(case),
        case["stationary"].to_dataset(),
        case["restarts"].to_dataset(),
        case["pymc_default"].to_dataset(),
        style,
    )
    return Drawing(
        figure,
        alt=(
            "Contour map of reverse KL over mean and standard deviation of the Normal, for two modes at -3 and 3. Filled circles mark "
            "three minima: two narrow ones at the modes and a broad one at the centre. Crosses mark two saddles between them. "
            "Lines run from the start of each ADVI run to its end near one of the minima."
        ),
        caption=(
            "Reverse KL to the two-mode target, over every Normal. Filled circles are minima, crosses saddles. Each line joins the "
            "start of an ADVI run to its end; triangles are the ends of runs with all of PyMC's defaults."
        ),
    )


def _crossed(results: xr.DataTree, style: Style) -> Drawing:
    panels = []
    for name, title in (("crossed_mean_field", "mean field"), ("crossed_full_rank", "full rank")):
        case = case_of(results, name)
        reverse = [_member(case, f"reverse_exact_{i}") for i in range(len(_roles(case, "reverse_exact_")))]
        panels.append(PlanePanel(title, target_of(case), _member(case, "forward_exact"), reverse,
                                     case["restarts"]["mean"].to_numpy()))  # fmt: skip
    return Drawing(
        planes(panels, style),
        alt=(
            "Two panels with contours of a target with two crossing elongated modes in grey. In both, the dashed blue forward optimum "
            "covers both modes. Left, mean field: dotted orange reverse optima are axis-aligned, one on each mode. Right, full rank: "
            "one is elongated along the diagonal and reaches towards the other mode, one matches the upper mode."
        ),
        caption=(
            "Two modes with opposite correlations: contours that enclose 50% and 90% of the mass. "
            "Dots are the means at which ADVI runs ended."
        ),
    )


def _loss(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "bimodal")
    exact = [float(child["fit"]["kl_reverse"]) for child in _roles(case, "reverse_exact_")]
    return Drawing(
        loss_traces(case["restarts"].to_dataset(), exact, style),
        alt=(
            "Loss of each ADVI run against the iteration, smoothed, falling to one of two horizontal lines that mark the exact reverse "
            "KL of the global and the local minimum."
        ),
        caption=(
            "Loss of every ADVI run on the two-mode target (means of 50 steps). Horizontal lines are the exact values of the minima. "
            "A flat loss tells that a run has ended, not where."
        ),
    )


def _pit(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "bimodal")
    data = case["p_data/posterior"]["x"].to_numpy().ravel()
    members = {
        "forward": ("forward, exact", _member(case, "forward_exact")),
        "reverse": ("reverse, global minimum on the left mode", _member(case, _leftmost(case))),
    }
    return Drawing(
        pit(data, members, style),
        alt=(
            "Two panels of the difference between the distribution of probability integral transforms and the uniform. Left, the "
            "forward optimum: a wave of small height. Right, a reverse optimum on the left mode: the line falls steadily to minus one "
            "half and jumps back to zero at the right edge."
        ),
        caption=(
            "Where draws of the target fall in the distribution of a fit (probability integral transform), minus the uniform. A "
            "perfect fit stays between the grey lines with probability 0.99. [Forward]{.forward}: the shape is wrong, the mass is not. "
            "[Reverse]{.reverse}, one mode: the jump at the right edge is the mass of the missed mode."
        ),
    )


def _leftmost(case: xr.DataTree) -> str:
    roles = [f"reverse_exact_{i}" for i in range(len(_roles(case, "reverse_exact_")))]
    return min(roles, key=lambda role: float(case[f"{role}/fit"]["mu"]))


# --- findings --------------------------------------------------------------------------------------------------------


def _describe(q: Target) -> str:
    mean, sd = moments(q)
    if len(mean) == 1:
        return f"N({_short(mean[0])}, {_short(sd[0])}²)"
    return f"({', '.join(_short(m) for m in mean)}); sd ({', '.join(_short(s) for s in sd)})"


def _short(value: float) -> str:
    return f"{value + 0.0:.4g}".replace("-", "−") if abs(value) > 5e-7 else "0"


def _small(gap: float) -> str:
    """A gap in nats, as a decimal a reader can compare down a column."""
    return f"{gap:.4f}" if gap >= 0.001 else f"{max(gap, 0.0):.6f}"


def _case_findings(case: xr.DataTree) -> dict[str, Any]:
    rows = []

    def row(label: str, role: str, runs: str = "") -> None:
        fit = case[f"{role}/fit"].to_dataset()
        rows.append(
            {
                "fit": label,
                "member": _describe(_member(case, role)),
                "kl_forward": estimate_of(fit, "kl_forward"),
                "kl_reverse": estimate_of(fit, "kl_reverse"),
                "gap": float(fit["gap"]) if "gap" in fit else None,
                "gap_text": _small(float(fit["gap"])) if "gap" in fit else "",
                "runs": runs,
            }
        )

    row("[forward]{.forward}, exact", "forward_exact")
    row("[forward]{.forward}, MLE", "forward_mle")
    exact = _roles(case, "reverse_exact_")
    for i, child in enumerate(exact):
        row(f"[reverse]{{.reverse}}, exact {child['fit']['status'].item()} {i + 1}", f"reverse_exact_{i}")
    restarts = case["restarts"].to_dataset()
    labels = restarts["restart"].to_numpy()
    for k in range(len(_roles(case, "reverse_advi_"))):
        optimum = int(case[f"reverse_advi_{k}/fit"]["optimum"]) + 1
        chosen = [str(label) for label in labels[restarts["advi_optimum"].to_numpy() == k]]
        row(f"[reverse]{{.reverse}}, ADVI, at optimum {optimum}", f"reverse_advi_{k}", ", ".join(_compress(chosen)))
    start_rows = [
        {
            "start": str(labels[i]),
            "start_mean": ", ".join(_short(v) for v in restarts["start_mean"].to_numpy()[i]),
            "end": _describe(
                gaussian(case.attrs["family"], restarts["mean"].to_numpy()[i], restarts["cov"].to_numpy()[i])
            ),
            "optimum": int(restarts["optimum"][i]) + 1,
            "gap": float(restarts["gap"][i]),
            "gap_text": _small(float(restarts["gap"][i])),
            "converged": bool(restarts["within_tolerance"][i] and restarts["converged"][i]),
        }
        for i in range(len(labels))
    ]
    centre = np.array([str(label).startswith("centre") for label in labels])
    reached = restarts["optimum"].to_numpy()
    stationary = case["stationary"].to_dataset()
    return {
        "title": case.attrs["title"],
        "rows": rows,
        "starts": start_rows,
        "n_minima": len(exact),
        "n_saddles": int((stationary["status"] == "saddle").sum()),
        "certificate": case.attrs["certificate"],
        "largest_gap": float(restarts["gap"].max()),
        "all_converged": bool(restarts["within_tolerance"].all() and restarts["converged"].all()),
        "n_unconverged": int((~(restarts["within_tolerance"] & restarts["converged"])).sum()),
        "n_runs": len(labels),
        "centre_runs": int(centre.sum()),
        "centre_reached": [int((reached[centre] == i).sum()) for i in range(len(exact))],
        "forward_kl": estimate_of(case["forward_exact/fit"].to_dataset(), "kl_forward"),
        "forward_sd": moments(_member(case, "forward_exact"))[1].tolist(),
        "reverse_kls": [float(child["fit"]["kl_reverse"]) for child in exact],
        "reverse_sds": [moments(_member(case, f"reverse_exact_{i}"))[1].tolist() for i in range(len(exact))],
        "mle_gap": float(case["forward_mle/fit"]["gap"]),
        "mle_n": int(case["forward_mle/fit"]["n"]),
        "cross_entropy": estimate_of(case["forward_mle/fit"].to_dataset(), "cross_entropy"),
    }


def _compress(labels: list[str]) -> list[str]:
    """Centre runs as a count, modes by name."""
    centre = sum(label.startswith("centre") for label in labels)
    others = [label for label in labels if not label.startswith("centre")]
    return [*([f"centre × {centre}"] if centre else []), *others]


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    dict
        One entry per case with its tables, and ``question``, ``answer`` and comparisons across cases.
    """
    cases = {name: _case_findings(case_of(results, name)) for name in results.children}
    bimodal, trimodal = cases["bimodal"], cases["trimodal"]
    default = results["bimodal/pymc_default"].to_dataset()
    local = bimodal["n_minima"] - 1
    faithful = case_of(results, "old_faithful")
    broad_sd = bimodal["reverse_sds"][local][0]
    runs = sum(case["n_runs"] for case in cases.values())
    unconverged = sum(case["n_unconverged"] for case in cases.values())
    estimate = target_of(faithful).spec
    settings = json.loads(results.attrs["settings"])
    answer = (
        "Maximum likelihood (forward KL) has one optimum here, which covers every mode; ADVI (reverse KL) has several: on two equal modes six "
        f"standard deviations apart, {bimodal['n_minima']} minima, of which {bimodal['n_minima'] - 1} are single modes and one covers "
        "both. The start *and* the noise of the optimiser decide which is reached, so one ADVI run does not tell what reverse KL prefers."
    )
    return {
        "question": QUESTION,
        "answer": answer,
        **cases,
        "settings": settings,
        "tolerance": TOLERANCE,
        "n_runs": runs,
        "n_unconverged": unconverged,
        "largest_gap": max(case["largest_gap"] for case in cases.values()),
        "default": {
            "runs": int(default.sizes["restart"]),
            "steps": settings["default_steps"],
            "broad": int((default["optimum"] == local).sum()),
            "largest_gap": float(default["gap"].max()),
            "within": int(default["within_tolerance"].sum()),
            "sentence": _default_sentence(default, local, broad_sd, settings["default_steps"], bimodal),
        },
        "faithful": {
            "n": int(faithful["p_data/observed_data"].sizes["observation"]),
            "density": " + ".join(
                f"{_short(w)} N({_short(m)}, {_short(sd)}²)"
                for w, m, sd in zip(estimate["weights"], estimate["means"], estimate["sds"], strict=True)
            ),
            "moment_difference": abs(
                float(faithful["forward_mle/fit"]["sigma"]) - float(faithful["forward_exact/fit"]["sigma"])
            ),
            "sentence": _faithful_sentence(cases["old_faithful"]),
        },
        "trimodal_sentence": _trimodal_sentence(trimodal),
        "crossed_sentence": _crossed_sentence(cases["crossed_mean_field"], cases["crossed_full_rank"]),
        "heavy_sentence": _heavy_sentence(cases["heavy_tailed"]),
        "cases": [_summary(case) for case in cases.values()],
    }


def _summary(case: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": case["title"],
        "forward": case["forward_kl"].value,
        "minima": str(case["n_minima"]),
        "best": case["reverse_kls"][0],
        "broad": "yes" if _is_broad(case, 0) else "no",
        "certificate": case["certificate"],
        "gap": _small(case["largest_gap"]),
        "unconverged": f"{case['n_unconverged']} of {case['n_runs']}",
    }


def _is_broad(case: Mapping[str, Any], i: int) -> bool:
    """Whether minimum i is nearer to the forward optimum's spread than to half of it, on the log scale."""
    ratio = np.log(np.array(case["reverse_sds"][i]) / np.array(case["forward_sd"])).mean()
    return bool(ratio > np.log(0.7))


def _default_sentence(default: xr.Dataset, local: int, exact_sd: float, steps: int, bimodal: Mapping[str, Any]) -> str:
    """What PyMC's defaults do from their own start, compared with the same start under Adam."""
    runs = default.sizes["restart"]
    broad = default["optimum"] == local
    reached, within = int(broad.sum()), int(default["within_tolerance"].sum())
    adam_broad = bimodal["centre_reached"][-1] / bimodal["centre_runs"]
    compared = "the same start leads elsewhere" if abs(reached / runs - adam_broad) > 0.5 else "from the same start"
    parts = [
        f"With PyMC's defaults (`adagrad_window`, one draw a step, {steps} steps) {compared}: {reached} of {runs} runs ended "
        f"nearest to the **broad {'local ' if local else ''}minimum**."
    ]
    if reached > 1:
        sd = default["sd"].where(broad, drop=True).to_numpy()
        error = float(sd.std(ddof=1) / np.sqrt(len(sd)))
        inflated = sd.mean() > exact_sd + 2 * error or sd.mean() < exact_sd - 2 * error
        parts.append(
            f"Their mean standard deviation is {num(float(sd.mean()), error)}, where the exact value is {num(exact_sd, digits=4)}"
            + (": they did not get all the way." if inflated else ".")
        )
    parts.append(
        f"On average the runs stopped {num(float(default['gap'].mean()), digits=2)} nats above their minimum; {within} of {runs} came "
        f"within {num(TOLERANCE, digits=1)} nats."
    )
    if reached > runs / 2 and local:
        parts.append(
            'So "reverse KL seeks modes" is not what a user of the defaults sees here, and what the user sees is not the best that '
            "reverse KL can do."
        )
    return " ".join(parts)


def _trimodal_sentence(case: Mapping[str, Any]) -> str:
    which = "it covers all three modes" if _is_broad(case, 0) else "it does not cover all three modes"
    rest = case["n_minima"] - 1
    single = sum(not _is_broad(case, i) for i in range(1, case["n_minima"]))
    return (
        f"The *global* reverse optimum has standard deviation {num(case['reverse_sds'][0][0], digits=4)}: {which}. "
        f"There {'is' if rest == 1 else 'are'} {rest} local {'minimum' if rest == 1 else 'minima'}, {single} of them on single modes."
    )


def _crossed_sentence(mean_field: Mapping[str, Any], full_rank: Mapping[str, Any]) -> str:
    lowest, other = full_rank["reverse_sds"][0], full_rank["reverse_sds"][-1]
    stretched = np.prod(lowest) > 1.5 * np.prod(other)
    return f"With mean field there are {mean_field['n_minima']} minima, with full rank {full_rank['n_minima']}. " + (
        "With full rank the lowest one is stretched along the diagonal and takes in part of the other mode."
        if stretched
        else "With full rank each has about the spread of its mode."
    )


def _heavy_sentence(case: Mapping[str, Any]) -> str:
    broad = [i for i in range(case["n_minima"]) if _is_broad(case, i)]
    which = "The global minimum" if 0 in broad else "A local minimum" if broad else "No minimum"
    return (
        f"Reverse KL has {case['n_minima']} minima. {which} is broad. Between heavy tails the density falls less deep, so a Normal that bridges the "
        "gap costs less than between Normal modes."
        if broad
        else f"Reverse KL has {case['n_minima']} minima, all on single modes."
    )


def _faithful_sentence(case: Mapping[str, Any]) -> str:
    if case["n_minima"] == 1 and _is_broad(case, 0):
        return (
            "reverse KL has a single minimum, and it is broad: it covers both modes, as the forward fit does. The two humps are too close, for their "
            "width, to split reverse KL. *Bimodal* does not imply *mode-seeking*."
        )
    narrow = sum(not _is_broad(case, i) for i in range(case["n_minima"]))
    return f"reverse KL has {case['n_minima']} minima, {narrow} of them on a single mode."
