"""What the diagnostics of an approximation say when it has missed a mode, and how local fits are put together again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import logsumexp
from scipy.stats import norm

from analysis.diagnosing_missed_modes import QUESTION
from analysis.diagnosing_missed_modes import marks as missed_fig
from analysis.drawing.drawn import Drawing
from analysis.drawing.planes import PlanePanel, planes
from analysis.drawing.style import Style
from analysis.gaussians import gaussian, moments, nearest
from analysis.parts import Part, runner
from analysis.reading import case_of, dataset_of, target_of
from analysis.site.numbers import num, pct
from models.advi import METHODS, Schedule, Start, combine, fit_advi, optima
from models.advi.diagnostics import covered_mass, diagnose
from models.divergences import kl
from models.families import FAMILIES
from models.graphs import Deferred, compile_graph
from models.projections import forward_projection, minima, reverse_projections
from models.quadrature import Estimate
from models.results import draws_of, member_of
from models.targets import TARGETS, Target, from_model, mvnormal_mixture, normal_mixture

# Imported when something is computed with them: drawing needs neither.
if TYPE_CHECKING:
    import pymc as pm
    import pytensor
else:
    pm = Deferred("pymc")
    pytensor = Deferred("pytensor")


Array = NDArray[np.float64]
#: Draws of the fit that a diagnosis is made from.
SIZES = (1000, 4000, 100_000)
#: The size that single numbers refer to.
SIZE = 4000
#: Weight of the mode at 0; the other one lies at the distance.
HEAVY = 0.7
#: Mass of the fit in the region that counts as covered.
LEVEL = 0.999
#: More than this mass outside that region, and a mode counts as missed.
MISSED = 0.2


class Settings(BaseModel):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    distances : tuple of float
        Between the two modes of the first target, in standard deviations.
    repeats, large_repeats : int
        Independent diagnoses of every fit, with the smaller numbers of draws and with the largest.
    starts : int
        Of ADVI, for the repair.
    targets : tuple of str
        Names of the targets that are repaired.
    steps : int
        Of one round of ADVI.
    nats : float
        That a converged run of ADVI may still gain.
    separations : tuple of float
        Half the distance between equal modes, for the weights of overlapping fits.
    held_out : int
        New observations on which predictions are scored.
    draws : int
        Draws kept of every distribution, for ArviZ.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    distances: tuple[float, ...] = Field(default=(2, 3, 4, 4.5, 5, 5.5, 6, 7, 8, 10), min_length=2)
    repeats: int = Field(default=60, ge=2)
    large_repeats: int = Field(default=10, ge=2)
    starts: int = Field(default=16, ge=2)
    targets: tuple[str, ...] = ("equal", "unequal", "trimodal", "crossed", "corners")
    steps: int = Field(default=1000, ge=100)
    nats: float = Field(default=1e-3, gt=0)
    separations: tuple[float, ...] = Field(default=(2.5, 2.7, 3, 3.25, 3.5, 4, 5, 6), min_length=2)
    held_out: int = Field(default=10_000, ge=100)
    draws: int = Field(default=1000, ge=100)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, distances=(2, 4, 6, 8), repeats=40, large_repeats=2, starts=6, steps=300, nats=2e-3, targets=("equal", "unequal", "crossed"),
                separations=(2.5, 3, 4, 6), held_out=2000, draws=500,
            )  # fmt: skip
        if effort == "full":
            distances = tuple(np.linspace(2, 12, 41).tolist())
            separations = tuple(np.linspace(2.45, 7, 40).tolist())
            return cls(
                seed=seed, distances=distances, repeats=1000, large_repeats=100, starts=32, separations=separations,
                held_out=100_000, draws=4000,
            )  # fmt: skip
        return cls(seed=seed)


@dataclass(frozen=True)
class Repair:
    """A target whose modes are found from several starts and put together."""

    name: str
    title: str
    target: Target
    method: Literal["advi", "fullrank_advi"] = "advi"

    @property
    def family(self) -> str:
        """The family that the method fits."""
        return "normal" if self.target.dim == 1 else METHODS[self.method]


def two_modes(distance: float) -> Target:
    """Return .7 N(0, 1) + .3 N(distance, 1)."""
    return normal_mixture([HEAVY, 1 - HEAVY], [0, distance], [1, 1], name=f"two modes, {distance:g} apart")


EQUAL = normal_mixture([0.5, 0.5], [-4, 4], [1, 1], name="equal")
REPAIRS = (
    Repair("equal", "½ N(±4, 1)", EQUAL),
    Repair("unequal", "0.7 N(0, 1) + 0.3 N(8, 1)", two_modes(8)),
    Repair("trimodal", "three equal modes, spacing 6", TARGETS["trimodal"]),
    Repair("crossed", "crossed, full rank", TARGETS["crossed"], "fullrank_advi"),
    Repair(
        "corners",
        "four corners, mean field",
        mvnormal_mixture(
            [0.4, 0.3, 0.2, 0.1], [[-3, -3], [3, 3], [-3, 3], [3, -3]], [np.eye(2).tolist()] * 4, name="corners"
        ),
    ),
)


# --- a model with two modes, for prediction ---------------------------------------------------------------------------


def cauchy_model(y: Array) -> pm.Model:
    """Location of a Cauchy: with observations around two places, one mode at each."""
    with pm.Model(model=None) as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Cauchy("y", mu, 1, observed=pm.Data("observed", y))
    return model


def mixture_model(y: Array) -> pm.Model:
    """Two Normals of known weights 2/3 and 1/3: the labels are told apart, but the wrong way round is a mode too."""
    with pm.Model(model=None) as model:
        mu = pm.Normal("mu", 0, 10, shape=2)
        pm.NormalMixture("y", w=np.array([2, 1]) / 3, mu=mu, sigma=1, observed=pm.Data("observed", y))
    return model


def cauchy_data(n: int, rng: np.random.Generator) -> Array:
    """Draws of ½ Cauchy(-10, 1) + ½ Cauchy(10, 1)."""
    return np.asarray(10 * rng.choice([-1, 1], n) + rng.standard_cauchy(n))


def mixture_data(n: int, rng: np.random.Generator) -> Array:
    """Draws of ⅔ N(5, 1) + ⅓ N(-5, 1)."""
    return np.asarray(np.where(rng.uniform(size=n) < 2 / 3, 5, -5) + rng.standard_normal(n))


@dataclass(frozen=True)
class Prediction:
    """A model and its data, fitted at several modes and used to predict."""

    name: str
    title: str
    build: Callable[[Array], pm.Model]
    data: Callable[[int, np.random.Generator], Array]
    n: int


PREDICTIONS = (
    Prediction("cauchy", "one Cauchy for observations from two", cauchy_model, cauchy_data, 100),
    Prediction("mixture", "two Normals for observations from two", mixture_model, mixture_data, 30),
)


# --- parts -----------------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    repairs = [
        Part(
            f"repair_{r.name}",
            f"repair: {r.title}",
            {"target": dict(r.target.spec), "method": r.method, "settings": s},
            partial(run_repair, r.name, settings),
            weight=40 if r.target.dim > 1 else 3,
        )
        for r in REPAIRS
        if r.name in settings.targets
    ]
    predictions = [
        Part(f"predict_{p.name}", f"stacking: {p.title}", {"n": p.n, "settings": s}, partial(run_prediction, p.name, settings), 10)
        for p in PREDICTIONS
    ]  # fmt: skip
    return [
        Part("distance", "two modes further and further apart", {"settings": s}, partial(run_distance, settings), 30),
        Part("known", "half of the mass missed", {"settings": s}, partial(run_known, settings)),
        Part("unseen", "every start near one mode", {"settings": s}, partial(run_unseen, settings)),
        Part("overlap", "weights of overlapping fits", {"settings": s}, partial(run_overlap, settings)),
        *repairs,
        *predictions,
    ]


#: ``distance``, ``known``, ``unseen``: diagnoses (`judge`) of fits beside what they missed; ``repair_...``: local
#: fits and their mixture; ``overlap``: its weights; ``predict_...``: fits weighted for prediction.
run = runner(QUESTION, Settings, parts)


# --- diagnoses -------------------------------------------------------------------------------------------------------


def judge(target: Target, member: Target, settings: Settings, stream: int, sizes: Sequence[int] = SIZES) -> xr.Dataset:
    """Diagnose a fit by its own draws, again and again.

    Parameters
    ----------
    target, member : Target
    settings : Settings
    stream : int
        Of the random numbers.
    sizes : sequence of int
        Draws of each diagnosis.

    Returns
    -------
    xarray.Dataset
        ``k_hat``, ``good``, ``relative_ess``, ``seen_mass`` and ``elbo`` over (size, repeat), nan beyond the repeats made.
    """
    names = ("k_hat", "good", "relative_ess", "seen_mass", "elbo")
    values = np.full((len(names), len(sizes), max(settings.repeats, settings.large_repeats)), np.nan)
    for i, size in enumerate(sizes):
        count = settings.large_repeats if size == max(SIZES) else settings.repeats
        seeds = np.random.SeedSequence([settings.seed, stream, size]).generate_state(count)
        for j, seed in enumerate(seeds):
            d = diagnose(target, member, n=size, seed=int(seed))
            values[:, i, j] = d.k_hat, d.k_says_good, d.relative_ess, d.seen_mass.value, d.elbo.value
    return xr.Dataset(
        {name: (("size", "repeat"), array) for name, array in zip(names, values, strict=True)},
        coords={"size": list(sizes)},
    )


def exact_cover(member: Target, target: Target) -> float:
    """Mass of a Normal mixture in one dimension inside the interval that holds `LEVEL` of a Normal."""
    mean, sd = moments(member)
    half = sd[0] * norm.ppf((1 + LEVEL) / 2)
    weights = np.asarray(target.spec["weights"])
    inside = [
        norm.cdf(mean[0] + half, m[0], s[0, 0]) - norm.cdf(mean[0] - half, m[0], s[0, 0]) for m, s in target.scales
    ]
    return float(weights @ inside)


def _facts(target: Target, member: Target, settings: Settings, stream: int) -> xr.Dataset:
    """What a fit is, what it costs, and what it misses: exactly, and by draws of the target."""
    mean, sd = moments(member)
    reverse = kl(member, target)
    by_draws = covered_mass(member, target.rvs(SIZE, 1000 * settings.seed + stream), level=LEVEL)
    return xr.Dataset(
        {
            "mean": mean[0],
            "sd": sd[0],
            "kl": reverse.value,
            "kl_error": reverse.error,
            "covered": exact_cover(member, target),
            "covered_by_draws": by_draws.value,
            "covered_by_draws_error": by_draws.error,
        }
    )


def _schedule(settings: Settings) -> Schedule:
    default = Schedule()
    return replace(
        default,
        steps=settings.steps,
        nats=settings.nats,
        relative=default.relative * np.sqrt(settings.nats / default.nats),
    )


def _heavy_optimum(target: Target) -> Target:
    """The exact reverse optimum nearest to the heavy mode."""
    found = minima(reverse_projections(target, FAMILIES["normal"]))
    return min(found, key=lambda p: abs(float(p.params["mu"]))).member


def run_distance(settings: Settings) -> xr.DataTree:
    """Reverse KL on the heavy mode, exactly and by ADVI, and the broad Normal, at every distance."""
    rows: dict[str, list[xr.Dataset]] = {"mode": [], "advi": [], "cover": []}
    for i, distance in enumerate(settings.distances):
        target = two_modes(distance)
        exact = _heavy_optimum(target)
        start = Start("heavy mode", np.zeros(1), np.ones(1))
        fit = fit_advi(target, starts=[start], seed=settings.seed, schedule=_schedule(settings), draws=2)
        advi = member_of(fit["optimum_0/fit"].to_dataset(), FAMILIES["normal"])
        members = {"mode": exact, "advi": advi, "cover": forward_projection(target, FAMILIES["normal"]).member}
        for j, (name, member) in enumerate(members.items()):
            stream = 10 * i + j
            sizes = SIZES if name == "mode" else (SIZE,)
            facts = _facts(target, member, settings, stream).merge(
                judge(target, member, settings, stream, sizes).reindex(size=list(SIZES))
            )
            facts["converged"] = bool(fit["restarts"]["converged"].all()) if name == "advi" else True
            rows[name].append(facts)
    stacked = [xr.concat(r, "distance") for r in rows.values()]
    data = xr.concat(stacked, "fit").assign_coords(fit=list(rows), distance=list(settings.distances))
    return xr.DataTree(data)


def run_known(settings: Settings) -> xr.DataTree:
    """One of the two global optima on ½ N(±4, 1): half of the mass is missed."""
    exact = minima(reverse_projections(EQUAL, FAMILIES["normal"]))[0].member
    return xr.DataTree(_facts(EQUAL, exact, settings, 900).merge(judge(EQUAL, exact, settings, 900)))


def run_unseen(settings: Settings) -> xr.DataTree:
    """Several starts, none of which leads to the light mode: everything agrees, and 30% is missing."""
    target = two_modes(max(settings.distances))
    rng = np.random.default_rng([settings.seed, 11])
    starts = [Start(f"start {i + 1}", rng.uniform(-2, 2, 1), np.ones(1)) for i in range(settings.starts)]
    fit = fit_advi(target, starts=starts, seed=settings.seed, schedule=_schedule(settings), draws=2)
    members = _members(fit, "normal")
    combined = combine(target, members, seed=settings.seed)
    exact = kl(combined.mixture, target)
    data = _facts(target, members[0], settings, 950).merge(judge(target, members[0], settings, 950, (SIZE,)))
    data = data.assign(
        optima=len(members),
        runs=len(starts),
        all_converged=bool(fit["restarts"]["converged"].all()),
        distance=max(settings.distances),
        combined=exact.value,
        combined_error=exact.error,
    )
    return xr.DataTree(data)


# --- the repair ------------------------------------------------------------------------------------------------------


def _members(fit: xr.DataTree, family: str) -> list[Target]:
    count = sum(name.startswith("optimum_") for name in fit.children)
    return [member_of(fit[f"optimum_{k}/fit"].to_dataset(), FAMILIES[family]) for k in range(count)]


def mixed(members: Sequence[Target], weights: Array) -> Target:
    """Mixture of Normals with given weights."""
    kept = weights > 1e-12
    share = weights[kept] / weights[kept].sum()
    places = [m.scales[0] for m, keep in zip(members, kept, strict=True) if keep]
    if members[0].dim == 1:
        return normal_mixture(share, [m[0] for m, _ in places], [s[0, 0] for _, s in places])
    return mvnormal_mixture(share, np.array([m for m, _ in places]), np.array([s @ s.T for _, s in places]))


def run_repair(name: str, settings: Settings) -> xr.DataTree:
    """Find the optima of one target from several starts, and mix them.

    Parameters
    ----------
    name : str
        Of one of `REPAIRS`.
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``members`` over ``member``: where each is, its KL, both weights, the mass it covers; ``combined``: KL of the best single
        fit, of the mixture with the best weights (estimated by `combine`, and exact), and of that with the softmax of the
        ELBOs; ``p_data``, ``single``, ``mixture``: draws.
    """
    case = next(r for r in REPAIRS if r.name == name)
    target, family = case.target, FAMILIES[case.family]
    fit = fit_advi(
        target, method=case.method, starts=settings.starts, seed=settings.seed, schedule=_schedule(settings), draws=2
    )
    found = optima(fit)
    members = _members(fit, case.family)
    combined = combine(target, members, seed=settings.seed)
    reference = target.rvs(SIZE, 1000 * settings.seed + 500)
    # The target is normalised, so minus the ELBO is the KL: quadrature is kept for what is compared with it.
    single = [
        kl(m, target) if target.dim == 1 else Estimate(-float(e), float(s), "quasi-Monte Carlo")
        for m, e, s in zip(members, found["elbo"], found["elbo_se"], strict=True)
    ]
    values = {
        "single": single[0],
        "mixture": kl(combined.mixture, target),
        "softmax": kl(mixed(members, combined.separated), target),
    }
    per_member = xr.Dataset(
        {
            "mean": (("member", "dim"), found["mean"].to_numpy()),
            "sd": (("member", "dim"), found["sd"].to_numpy()),
            "cov": (("member", "dim", "dim_2"), np.array([m.scales[0][1] @ m.scales[0][1].T for m in members])),
            "kl": ("member", [e.value for e in single]),
            "kl_error": ("member", [e.error for e in single]),
            "weight": ("member", combined.weights),
            "softmax": ("member", combined.separated),
            "runs": ("member", found["runs"].to_numpy()),
            "converged": ("member", found["converged"].to_numpy()),
            "covered": ("member", [covered_mass(m, reference, level=LEVEL).value for m in members]),
        }
    )
    if target.dim == 1:
        exact = minima(reverse_projections(target, family))
        index = [nearest(m, exact) for m in members]
        per_member["gap"] = (
            "member",
            [e.value - exact[i].divergence.value for e, i in zip(single, index, strict=True)],
        )
        best = combine(target, [p.member for p in exact], seed=settings.seed)
        values["exact_members"] = kl(best.mixture, target)
        per_member["reached"] = ("member", index)
        totals_extra = {"exact_minima": len(exact), "exact_reached": len(set(index))}
    else:
        totals_extra = {}
    totals = xr.Dataset(
        {key: e.value for key, e in values.items()}
        | {f"{key}_error": e.error for key, e in values.items()}
        | {"estimated": combined.divergence.value, "estimated_error": combined.divergence.error}
        | totals_extra
    )
    tree: dict[str, xr.Dataset] = {"members": per_member, "combined": totals}
    for role, q, stream in (("p_data", target, 0), ("single", members[0], 1), ("mixture", combined.mixture, 2)):
        densities = {"log_p": target} | ({} if role == "p_data" else {"log_q": q})
        for group, dataset in draws_of(q, settings.draws, 1000 * settings.seed + 501 + stream, **densities).items():
            tree[f"{role}/{group}"] = dataset
    result = xr.DataTree.from_dict(tree)
    result.attrs = {
        "title": case.title,
        "family": case.family,
        "method": case.method,
        "target": json.dumps(dict(target.spec)),
        "target_name": target.name,
    }
    return result


def run_overlap(settings: Settings) -> xr.DataTree:
    """Mix all exact minima on ½ N(±a, 1), among them the broad one that overlaps with both others."""
    rows = []
    for a in settings.separations:
        target = normal_mixture([0.5, 0.5], [-a, a], [1, 1])
        exact = sorted(minima(reverse_projections(target, FAMILIES["normal"])), key=lambda p: float(p.params["mu"]))
        members = [p.member for p in exact]
        found = combine(target, members, seed=settings.seed)
        broad = len(exact) // 2
        estimates = {
            "best": kl(found.mixture, target),
            "softmax": kl(mixed(members, found.separated), target),
            "single": min((p.divergence for p in exact), key=lambda e: e.value),
        }
        rows.append(
            xr.Dataset(
                {key: e.value for key, e in estimates.items()}
                | {f"{key}_error": e.error for key, e in estimates.items()}
                | {
                    "estimated": found.divergence.value,
                    "estimated_error": found.divergence.error,
                    "broad_weight": found.weights[broad],
                    "broad_softmax": found.separated[broad],
                    "minima": len(exact),
                }
            )
        )
    return xr.DataTree(xr.concat(rows, "separation").assign_coords(separation=list(settings.separations)))


# --- prediction ------------------------------------------------------------------------------------------------------


def pointwise(model: pm.Model) -> Callable[[Array], Array]:
    """Compile the log likelihood of each observation: points (n, d) in unconstrained space to (n, observations)."""
    graph = model.logp(vars=model.observed_RVs, jacobian=False, sum=False)
    outputs, point = pm.pytensorf.join_nonshared_inputs(
        point=model.initial_point(), outputs=graph, inputs=model.value_vars
    )
    points = pytensor.tensor.matrix("points")
    function = compile_graph([points], pytensor.graph.vectorize_graph(outputs[0], {point: points}))

    def evaluate(x: Array) -> Array:
        return np.concatenate([np.asarray(function(part)) for part in np.array_split(x, max(1, len(x) // 50))])

    return evaluate


def run_prediction(name: str, settings: Settings) -> xr.DataTree:
    """Fit one model at each of its modes, and weight the fits by ELBO and by leave-one-out prediction.

    Parameters
    ----------
    name : str
        Of one of `PREDICTIONS`.
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``members`` over ``member``: place, ELBO, the weights ``softmax``, ``reverse`` (best reverse KL) and ``stacking``, the
        expected log predictive density ``elpd_loo``, largest Pareto ``k``; ``scores`` over ``rule``: mean log
        predictive density of new observations, and its difference from the best single fit; ``observed_data``;
        ``fit_k`` with ``posterior`` and ``log_likelihood`` for ArviZ.
    """
    case = next(p for p in PREDICTIONS if p.name == name)
    rng = np.random.default_rng([settings.seed, 21])
    y = case.data(case.n, rng)
    new = case.data(settings.held_out, rng)
    model = case.build(y)
    target = from_model(model)
    fit = fit_advi(
        target, starts=settings.starts, seed=settings.seed, schedule=_schedule(settings), draws=settings.draws
    )
    found, members = optima(fit), _members(fit, _family_of(fit))
    loglik, predictive = pointwise(model), pointwise(case.build(new))
    tree: dict[str, xr.Dataset] = {"observed_data": xr.Dataset({"y": ("observation", y)})}
    elpds, log_new = {}, []
    for k in range(len(members)):
        child = fit[f"optimum_{k}"]
        x = child["posterior/mu"].to_numpy()[0].reshape(-1, target.dim)
        data = xr.DataTree.from_dict(
            {
                "posterior": child["posterior"].to_dataset(),
                "log_likelihood": xr.Dataset({"y": (("chain", "draw", "observation"), loglik(x)[None])}),
            }
        )
        stats = child["sample_stats"]
        ratio = {name: stats[name].to_numpy().ravel() for name in ("log_p", "log_q")}
        with warnings.catch_warnings():  # the largest k is among the results
            warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto", UserWarning)
            elpds[f"fit {k}"] = az.loo_approximate_posterior(data, **ratio, pointwise=True)
        thinned = x[:: max(1, len(x) // 200)]
        log_new.append(logsumexp(predictive(thinned), axis=0) - np.log(len(thinned)))
        for group in ("posterior", "log_likelihood"):
            tree[f"fit_{k}/{group}"] = data[group].to_dataset()
    labels = list(elpds)
    stacking = np.ones(1)
    if len(labels) > 1:
        compared = az.compare(elpds, method="stacking", round_to="none")
        stacking = compared.loc[labels, "weight"].to_numpy(dtype=float)
    combined = combine(target, members, seed=settings.seed)
    weights = {
        "best single fit": np.eye(len(members))[0],
        "softmax of ELBOs": combined.separated,
        "best reverse KL": combined.weights,
        "stacking": stacking,
    }
    with np.errstate(divide="ignore"):  # weights of zero
        scores = {rule: logsumexp(np.array(log_new), axis=0, b=w[:, None]) for rule, w in weights.items()}
    first = scores["best single fit"]
    difference = {rule: s - first for rule, s in scores.items()}
    tree["members"] = xr.Dataset(
        {
            "mean": (("member", "dim"), found["mean"].to_numpy()),
            "sd": (("member", "dim"), found["sd"].to_numpy()),
            "elbo": ("member", found["elbo"].to_numpy()),
            "elbo_se": ("member", found["elbo_se"].to_numpy()),
            "softmax": ("member", combined.separated),
            "reverse": ("member", combined.weights),
            "stacking": ("member", stacking),
            "elpd_loo": ("member", [float(elpds[label].elpd) for label in labels]),
            "largest_k": ("member", [float(np.max(elpds[label].pareto_k)) for label in labels]),
            "runs": ("member", found["runs"].to_numpy()),
            "converged": ("member", found["converged"].to_numpy()),
        }
    )
    x = np.linspace(-20, 20, 401)
    shown = pointwise(case.build(x))
    densities = []
    for k in range(len(members)):
        draws = tree[f"fit_{k}/posterior"]["mu"].to_numpy()[0].reshape(-1, target.dim)
        thinned = draws[:: max(1, len(draws) // 200)]
        densities.append(np.exp(shown(thinned)).mean(axis=0))
    tree["density"] = xr.Dataset({rule: ("x", w @ np.array(densities)) for rule, w in weights.items()}, coords={"x": x})
    tree["scores"] = xr.Dataset(
        {
            "score": ("rule", [s.mean() for s in scores.values()]),
            "score_error": ("rule", [s.std(ddof=1) / np.sqrt(len(new)) for s in scores.values()]),
            "gain": ("rule", [d.mean() for d in difference.values()]),
            "gain_error": ("rule", [d.std(ddof=1) / np.sqrt(len(new)) for d in difference.values()]),
        },
        coords={"rule": list(scores)},
    )
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"title": case.title, "n": case.n, "starts": settings.starts}
    return result


def _family_of(fit: xr.DataTree) -> str:
    return METHODS[fit.attrs["method"]]


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
        ``blind``, ``repair``, ``repair_plane``, ``overlap``, ``stacking``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "blind": _blind(results, style),
        "repair": _repair(results, style),
        "repair_plane": _repair_plane(results, style),
        "overlap": _overlap(results, style),
        "stacking": _stacking(results, style),
    }


def _blind(results: xr.DataTree, style: Style) -> Drawing:
    data = dataset_of(results, "distance")
    x = data["distance"].to_numpy()
    good = data["good"].mean("repeat")
    line = missed_fig.Line
    middle = len(x) // 2
    panels = {
        "share of runs in which k-hat says good": [
            line(f"{size:,} draws", good.sel(fit="mode", size=size).to_numpy(), color, dash, at, align=align)
            for size, color, dash, at, align in (
                (SIZES[0], "reverse", "dotted", -1, "right"),
                (SIZES[1], "middle", "dashed", -3, "left"),
                (SIZES[2], "ink", "solid", 0, "left"),
            )
        ],
        "what the same fit has": [
            line("effective draws / draws", data["relative_ess"].mean("repeat").sel(fit="mode", size=SIZE).to_numpy(),
                 "reverse", "dotted", -1),
            line("mass covered", data["covered"].sel(fit="mode").to_numpy(), "target", "solid", -1, True),
            line("KL, nats", data["kl"].sel(fit="mode").to_numpy(), "forward", "dashed", middle, True),
        ],
    }  # fmt: skip
    f = findings(results)["blind"]
    return Drawing(
        missed_fig.series(panels, x, ("distance between the modes", ("share of runs", "mass, share, or nats")), style),
        alt=(
            "Two panels over the distance between two modes. Left, the share of diagnoses in which k-hat says good, one line for each "
            "number of draws. Right, for the same fit: relative effective sample size, the mass of the target that it covers, which "
            f"falls from {num(f['covered_near'], digits=3)} to {num(f['covered_far'], digits=3)}, and its reverse KL."
        ),
        caption=(
            f"The exact reverse optimum nearest to the heavy mode of 0.7 N(0, 1) + 0.3 N(d, 1). At d = {f['far']:g} it covers "
            f"{num(100 * f['covered_far'], digits=3)}% of the mass. Left: how often k-hat from its own draws says *good*. Right: what the fit "
            "has. Mass covered needs something that has been at both modes; k-hat and the effective draws need only the fit."
        ),
    )


def _mixture_of(case: xr.DataTree) -> tuple[Target, Target]:
    members = case["members"].to_dataset()
    fits = [
        gaussian(case.attrs["family"], members["mean"].to_numpy()[k], members["cov"].to_numpy()[k])
        for k in range(members.sizes["member"])
    ]
    return fits[0], mixed(fits, members["weight"].to_numpy())


def _cases(results: xr.DataTree) -> dict[str, xr.DataTree]:
    return {name.removeprefix("repair_"): case for name, case in results.children.items() if name.startswith("repair_")}


def _repair(results: xr.DataTree, style: Style) -> Drawing:
    panels = [
        (case.attrs["title"], target_of(case), *_mixture_of(case))
        for case in _cases(results).values()
        if case.attrs["family"] == "normal"
    ]
    return Drawing(
        missed_fig.mixtures(panels, style),
        alt=(
            f"{len(panels)} panels of one-dimensional targets filled grey. A thin dotted orange line is the best single fit; a thick dotted "
            "orange line is the mixture of all the fits that were found."
        ),
        caption=(
            "Targets (grey), the best single [reverse]{.reverse} fit (thin), and the mixture of the distinct optima that ADVI found from "
            f"{json.loads(results.attrs['settings'])['starts']} starts (thick), with the weights that minimise reverse KL."
        ),
    )


def _repair_plane(results: xr.DataTree, style: Style) -> Drawing:
    panels = []
    for case in _cases(results).values():
        if case.attrs["family"] != "normal":
            target = target_of(case)
            forward = forward_projection(target, FAMILIES["mvnormal"]).member
            panels.append(PlanePanel(case.attrs["title"], target, forward, [_mixture_of(case)[1]],
                                         case["members/mean"].to_numpy()))  # fmt: skip
    return Drawing(
        planes(panels, style),
        alt=(
            "Contours of two-dimensional targets with several modes in grey, of a broad dashed blue Normal that covers all of them, and of "
            "the mixture of local fits, dotted orange, which follows the shape of the target where fits were found. Dots mark the fits."
        ),
        caption=(
            "The repair in two dimensions: contours that enclose 50% and 90% of the mass of the target, of the "
            "[forward]{.forward} Normal, and of the mixture of [reverse]{.reverse} fits. Dots are the means of the fits."
        ),
    )


def _overlap(results: xr.DataTree, style: Style) -> Drawing:
    data = dataset_of(results, "overlap")
    x = data["separation"].to_numpy()
    line = missed_fig.Line
    panels = {
        "KL of the mixture": [
            line("best single fit", data["single"].to_numpy(), "target", "solid", -1),
            line("softmax of ELBOs", data["softmax"].to_numpy(), "reverse", "dotted", 0),
            line("best weights", data["best"].to_numpy(), "forward", "dashed", 0, True),
        ],
        "weight of the broad fit": [
            line("softmax of ELBOs", data["broad_softmax"].to_numpy(), "reverse", "dotted", 0),
            line("best weights", data["broad_weight"].to_numpy(), "forward", "dashed", 0, True),
        ],
    }
    return Drawing(
        missed_fig.series(panels, x, ("half the distance between the modes", ("nats", "weight")), style, top=0.75),
        alt=(
            "Two panels over half the distance between two equal modes. Left: KL of the best single fit, near log 2, of the mixture with "
            "softmax weights, lower, and of the mixture with the best weights, lowest. Right: the weight of the broad fit, "
            "large by the softmax of the ELBOs at small distances, near zero by the best weights."
        ),
        caption=(
            "Every exact minimum of reverse KL on ½ N(±a, 1), mixed: two local fits and a broad one that overlaps with both. Softmax "
            "weights count what the broad fit and the local ones share more than once; the weights that minimise reverse KL do not."
        ),
    )


def _stacking(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "predict_cauchy")
    density = case["density"].to_dataset()
    x = density["x"].to_numpy()
    truth = (1 / (1 + (x - 10) ** 2) + 1 / (1 + (x + 10) ** 2)) / (2 * np.pi)
    curves = {
        "true": ("target", "solid", truth),
        "softmax of ELBOs": ("reverse", "dotted", density["softmax of ELBOs"].to_numpy()),
        "stacking": ("forward", "dashed", density["stacking"].to_numpy()),
    }
    f = findings(results)["cauchy"]
    return Drawing(
        missed_fig.predictions(case["observed_data/y"].to_numpy(), x, curves, style),
        alt=(
            "Density of new observations with two equal peaks at -10 and 10, filled grey. The prediction weighted by the softmax of the "
            "ELBOs, dotted orange, has one peak of about twice the height. The stacked prediction, dashed blue, has two."
        ),
        caption=(
            "Predictions of a model with one Cauchy, for observations (dots) from two. The posterior has a mode at each place, and "
            f"its mass is {num(100 * f['softmax'], digits=3)}% on one of them. Stacking weights the local fits by how well they predict together."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def _share(good: xr.DataArray) -> Estimate:
    values = good.to_numpy()
    values = values[np.isfinite(values)]
    p = float(values.mean())
    return Estimate(p, float(np.sqrt(p * (1 - p) / len(values))), "draws")


def _percent(share: Estimate) -> str:
    if share.error == 0:  # all alike: the error of a share is then not estimated by its spread
        return f"{100 * share.value:.0f}"
    return f"{100 * share.value:.0f}\u00a0±\u00a0{100 * share.error:.0f}"


def _blind_findings(data: xr.Dataset) -> dict[str, Any]:
    rows = []
    for distance in data["distance"].to_numpy():
        at = data.sel(distance=distance)
        mode, advi, cover = (at.sel(fit=name) for name in ("mode", "advi", "cover"))
        rows.append(
            {
                "distance": f"{distance:g}",
                "fit": f"N({_short(float(mode['mean']))}, {_short(float(mode['sd']))}²)",
                "kl": Estimate(float(mode["kl"]), float(mode["kl_error"]), "quadrature"),
                "covered": float(mode["covered"]),
                "seen": Estimate(
                    float(mode["seen_mass"].sel(size=SIZE).mean()),
                    float(mode["seen_mass"].sel(size=SIZE).std() / np.sqrt(mode.sizes["repeat"])),
                    "draws",
                ),
                "ess": float(mode["relative_ess"].sel(size=SIZE).median()),
                **{f"good_{size}": _percent(_share(mode["good"].sel(size=size))) for size in SIZES},
                "advi": _percent(_share(advi["good"].sel(size=SIZE))),
                "advi_gap": float(advi["kl"] - mode["kl"]),
                "cover": _percent(_share(cover["good"].sel(size=SIZE))),
                "cover_kl": float(cover["kl"]),
            }
        )
    missed = [d for d in data["distance"].to_numpy() if float(data["covered"].sel(fit="mode", distance=d)) < 1 - MISSED]
    shares = {
        (d, size): _share(data["good"].sel(fit="mode", distance=d, size=size)).value for d in missed for size in SIZES
    }
    far, near = data["distance"].to_numpy()[[-1, 0]]
    highest = max(((d, s) for d, s in shares if s == SIZE), key=lambda key: shares[key], default=None)
    mode = data.sel(fit="mode")
    return {
        "rows": rows,
        "near": float(near),
        "far": float(far),
        "covered_near": float(mode["covered"].sel(distance=near)),
        "covered_far": float(mode["covered"].sel(distance=far)),
        "missed_from": float(missed[0]) if missed else None,
        "n_missed": len(missed),
        "highest_distance": float(highest[0]) if highest else None,
        "highest": {size: shares[highest[0], size] for size in SIZES} if highest else dict.fromkeys(SIZES, 0.0),
        "highest_covered": float(mode["covered"].sel(distance=highest[0])) if highest else None,
        "highest_ess": float(mode["relative_ess"].sel(distance=highest[0], size=SIZE).median()) if highest else None,
        "sentence": _blind_sentence(data, missed, shares),
        "advi_sentence": _advi_sentence(data, missed),
        "cover_sentence": _cover_sentence(data),
        "advi_converged": bool(data["converged"].all()),
    }


def _blind_sentence(data: xr.Dataset, missed: Sequence[float], shares: Mapping[tuple[float, int], float]) -> str:
    if not missed:
        return "At none of these distances does the fit miss a mode."
    d = max(missed, key=lambda v: shares[v, SIZE])
    covered = float(data["covered"].sel(fit="mode", distance=d))
    ess = float(data["relative_ess"].sel(fit="mode", distance=d, size=SIZE).median())
    share = {size: f"{100 * shares[d, size]:.0f}%" for size in SIZES}
    if shares[d, SIZE] < 0.5:
        return (
            f"From distance {missed[0]:g} on the fit has lost the light mode. There k-hat from {SIZE:,} draws says *good* in at most "
            f"{share[SIZE]} of the runs: it warns, whether or not for the right reason."
        )
    text = (
        f"From distance {missed[0]:g} on the fit has lost the light mode. At distance {d:g} it covers {100 * covered:.1f}% of the mass, and "
        f"k-hat says *good* in {share[SIZES[0]]} of the runs with {SIZES[0]:,} draws, in {share[SIZES[1]]} with {SIZES[1]:,} and in "
        f"{share[SIZES[2]]} with {SIZES[2]:,}; the effective sample size from {SIZE:,} draws is typically {pct(ess)} of the draws."
    )
    if shares[d, SIZES[2]] < 0.5 < shares[d, SIZES[0]]:
        text += " The alarm comes only with so many draws that some reach the flank of the other mode: it depends on the budget, not on the fit."
    return text


def _advi_sentence(data: xr.Dataset, missed: Sequence[float]) -> str:
    """Whether two fits that are the same for every purpose get the same verdict."""
    if not missed:
        return ""
    verdicts = {
        d: tuple(_share(data["good"].sel(fit=name, distance=d, size=SIZE)).value for name in ("mode", "advi"))
        for d in missed
    }
    d = max(missed, key=lambda v: abs(verdicts[v][0] - verdicts[v][1]))
    exact, advi = verdicts[d]
    gap = float(data["kl"].sel(fit="advi", distance=d) - data["kl"].sel(fit="mode", distance=d))
    if abs(exact - advi) < 0.3:
        return "ADVI from the heavy mode gets about the same verdicts as the exact optimum it approaches."
    return (
        f"Nor is the verdict one about the fit that a user would recognise. At distance {d:g} the exact optimum and the end of an ADVI run, "
        f"{num(max(gap, 0.0), digits=1)} nats above it, are the same Normal for every purpose, and miss the same mode; k-hat says *good* in "
        f"{100 * exact:.0f}% of the runs for the first and in {100 * advi:.0f}% for the second. Where a local fit is nearly perfect its weights "
        "are constant but for the last few, and k-hat describes the last few: a bounded ratio if the fit is a trace too wide, the flank of the "
        "other mode if it is a trace too narrow."
    )


def _cover_sentence(data: xr.Dataset) -> str:
    far = data["distance"].to_numpy()[-1]
    cover = data.sel(fit="cover", distance=far)
    share = _share(cover["good"].sel(size=SIZE)).value
    verdict = "also passes it as" if share > 0.5 else "does not pass it as"
    return (
        f"The Normal with the mean and variance of the target, which covers everything, has KL {num(float(cover['kl']), digits=3)} at distance "
        f"{far:g}, against {num(float(data['kl'].sel(fit='mode', distance=far)), digits=3)} of the fit that misses a mode; k-hat {verdict} *good* "
        f"({100 * share:.0f}% of the runs). Neither k-hat nor the ELBO ranks the two by what they cover."
    )


def _short(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0"


def _repair_findings(case: xr.DataTree) -> dict[str, Any]:
    totals, members = case["combined"].to_dataset(), case["members"].to_dataset()

    def of(name: str) -> Estimate:
        kind: Literal["quadrature", "quasi-Monte Carlo"] = "quasi-Monte Carlo" if name == "estimated" else "quadrature"
        return Estimate(float(totals[name]), float(totals[f"{name}_error"]), kind)

    single, mixture = of("single"), of("mixture")
    known = "exact_minima" in totals
    return {
        "title": case.attrs["title"],
        "single": single,
        "mixture": mixture,
        "softmax": of("softmax"),
        "estimated": of("estimated"),
        "exact_members": of("exact_members") if known else None,
        "difference": abs(float(totals["estimated"]) - mixture.value),
        "recovered": 100 * (1 - mixture.value / single.value) if single.value > 1e-9 else 0.0,
        "optima": members.sizes["member"],
        "minima": f"{int(totals['exact_reached'])} of {int(totals['exact_minima'])}" if known else None,
        "converged": int(members["converged"].sum()),
        "runs": int(members["runs"].sum()),
        "members": [
            {
                "target": case.attrs["title"],
                "mean": ", ".join(_short(v) for v in members["mean"].to_numpy()[k]),
                "sd": ", ".join(_short(v) for v in members["sd"].to_numpy()[k]),
                "kl": Estimate(float(members["kl"][k]), float(members["kl_error"][k]), "quadrature"),
                "softmax": f"{float(members['softmax'][k]):.3f}",
                "weight": f"{float(members['weight'][k]):.3f}",
                "covered": f"{100 * float(members['covered'][k]):.0f}",
                "runs": int(members["runs"][k]),
            }
            for k in range(members.sizes["member"])
        ],
    }


def _left_sentence(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """What the repair leaves, and why: a start that was missing, or fits of the wrong shape."""
    parts_ = []
    for case in cases.values():
        left = case["mixture"].value
        if left < 0.02:
            continue
        text = f"{case['title']}: {num(case['mixture'], digits=3)} nats are left"
        better = case["exact_members"]
        if better is not None and better.value < left / 2:
            text += f", though the mixture of *all* exact minima has {num(better, digits=3)}: the starts did not find them all"
        parts_.append(text)
    if not parts_:
        return "On every target the mixture comes within 0.02 nats of it."
    return "Where it stays short: " + "; ".join(parts_) + "."


def _prediction_findings(case: xr.DataTree) -> dict[str, Any]:
    members, scores = case["members"].to_dataset(), case["scores"].to_dataset()
    gains = {
        str(rule): Estimate(float(scores["gain"].sel(rule=rule)), float(scores["gain_error"].sel(rule=rule)), "draws")
        for rule in scores["rule"].to_numpy()
    }
    stacked = gains["stacking"]
    if stacked.value > 3 * stacked.error and stacked.value > 0.01:
        softmax = gains["softmax of ELBOs"].value
        gained = f"by {num(softmax, digits=2)}" if softmax > 1e-6 else "by nothing, since it is that fit"
        sentence = (
            f"Stacking predicts new observations better than the best single fit by {num(stacked)} ± {num(stacked.error, digits=2)} nats "
            f"each, the softmax of the ELBOs {gained}."
        )
    else:
        sentence = "All rules predict alike: one fit is right, and each rule gives it nearly all the weight."
    return {
        "title": case.attrs["title"],
        "n": int(case.attrs["n"]),
        "fits": members.sizes["member"],
        "softmax": float(members["softmax"].max()),
        "stacking": float(members["stacking"].max()),
        "stacking_least": float(members["stacking"].min()),
        "largest_k": float(members["largest_k"].max()),
        "gain": stacked,
        "sentence": sentence,
        "members": [
            {
                "model": case.attrs["title"],
                "mean": ", ".join(_short(v) for v in members["mean"].to_numpy()[k]),
                "elbo": Estimate(float(members["elbo"][k]), float(members["elbo_se"][k]), "quasi-Monte Carlo"),
                "elpd": f"{float(members['elpd_loo'][k]):.1f}".replace("-", "−"),
                "softmax": f"{float(members['softmax'][k]):.4f}",
                "reverse": f"{float(members['reverse'][k]):.4f}",
                "stacking": f"{float(members['stacking'][k]):.4f}",
            }
            for k in range(members.sizes["member"])
        ],
        "scores": [
            {
                "model": case.attrs["title"],
                "rule": str(rule),
                "score": Estimate(
                    float(scores["score"].sel(rule=rule)), float(scores["score_error"].sel(rule=rule)), "draws"
                ),
            }
            for rule in scores["rule"].to_numpy()
        ],
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
        ``blind``, ``known``, ``unseen``, ``overlap``, the repaired targets, ``cauchy`` and ``mixture``, with ``question`` and
        ``answer``.
    """
    blind = _blind_findings(dataset_of(results, "distance"))
    known, unseen, overlap = (dataset_of(results, name) for name in ("known", "unseen", "overlap"))
    repairs = {name: _repair_findings(case) for name, case in _cases(results).items()}
    predictions = {
        name.removeprefix("predict_"): _prediction_findings(case)
        for name, case in results.children.items()
        if name.startswith("predict_")
    }
    known_shares = {size: _percent(_share(known["good"].sel(size=size))) for size in SIZES}
    equal, cauchy = repairs["equal"], predictions["cauchy"]
    first = overlap.isel(separation=int(np.argmax((overlap["softmax"] - overlap["best"]).to_numpy())))
    share = blind["highest"][SIZE]
    blindness = (
        f"Not from draws of the approximation alone. A fit that covers {100 * blind['highest_covered']:.0f}% of the mass passed k-hat in "
        f"{100 * share:.0f}% of the runs with {SIZE:,} draws"
        if blind["highest_covered"] is not None and share > 0.5
        else "Only by chance from draws of the approximation alone"
    )
    answer = (
        f"{blindness}; what tells is a reference that has been elsewhere, or other starts. Local fits can be put together: a mixture with the "
        f"weights that minimise reverse KL brings it from {num(equal['single'], digits=3)} to {num(equal['mixture'].value, digits=1)} nats on two equal "
        f"modes. For prediction under a wrong model stacking is the better rule ({num(cauchy['gain'], digits=2)} nats per new observation over the best "
        "single fit). A mode that no start visits stays invisible to all of this."
    )
    return {
        "question": QUESTION,
        "answer": answer,
        "settings": json.loads(results.attrs["settings"]),
        "sizes": SIZES,
        "size": SIZE,
        "level": LEVEL,
        "blind": blind,
        "known": {
            "covered": float(known["covered"]),
            "kl": float(known["kl"]),
            "shares": known_shares,
            "repeats": int(known["good"].sel(size=SIZE).notnull().sum()),
        },
        "unseen": {
            "runs": int(unseen["runs"]),
            "optima": int(unseen["optima"]),
            "converged": bool(unseen["all_converged"]),
            "distance": float(unseen["distance"]),
            "covered": float(unseen["covered"]),
            "seen": Estimate(
                float(unseen["seen_mass"].mean()),
                float(unseen["seen_mass"].std() / np.sqrt(unseen.sizes["repeat"])),
                "draws",
            ),
            "ess": float(unseen["relative_ess"].median()),
            "combined": Estimate(float(unseen["combined"]), float(unseen["combined_error"]), "quadrature"),
            "good": _percent(_share(unseen["good"])),
        },
        "repairs": repairs,
        "repair_rows": list(repairs.values()),
        "member_rows": [row for case in repairs.values() for row in case["members"]],
        "largest_difference": max(case["difference"] for case in repairs.values()),
        "left_sentence": _left_sentence(repairs),
        "overlap": {
            "separation": float(first["separation"]),
            "best": Estimate(float(first["best"]), float(first["best_error"]), "quadrature"),
            "softmax": Estimate(float(first["softmax"]), float(first["softmax_error"]), "quadrature"),
            "single": Estimate(float(first["single"]), float(first["single_error"]), "quadrature"),
            "broad_weight": float(first["broad_weight"]),
            "broad_softmax": float(first["broad_softmax"]),
            "last": float(overlap["separation"][-1]),
            "last_excess": float(overlap["softmax"][-1] - overlap["best"][-1]),
            "largest_difference": float(np.abs(overlap["estimated"] - overlap["best"]).max()),
        },
        **predictions,
        "prediction_members": [row for case in predictions.values() for row in case["members"]],
        "prediction_scores": [row for case in predictions.values() for row in case["scores"]],
    }
