"""Which of two families is better, and what data can say about it: model choice as a difference of forward KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import norm

from analysis.draws import draw
from analysis.parts import Part, StudySettings, runner
from analysis.two_families import QUESTION
from analysis.two_families.comparable import comparable
from analysis.two_families.criteria import compare, criteria, optimism, smoothed_elpd
from analysis.two_families.plane import run_geometry
from analysis.two_families.targets import DATA, KNOWN, PAIR, Data, Known
from models.errors import ConvergenceError
from models.families import FAMILIES, Family, normal_mixture
from models.mle import fit_mle, sandwich, scores
from models.projections import Projection, forward_projection
from models.projections.objectives import forward_objective
from models.quadrature import expect, nodes
from models.results import estimate_variables
from models.targets import Target, from_draws

Array = NDArray[np.float64]
#: Sample sizes at which the choice is studied.
SIZES = (20, 60, 200, 600, 2000)
#: Criteria by which a family is chosen.
CRITERIA = ("in_sample", "tic", "loo")
#: Families fitted to real data, besides mixtures.
SINGLE = ("normal", "student_t", "laplace")


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    members : int
        Members of each family in the picture.
    n, replications : int
        Draws per data set, an even number, and number of data sets, in the study of the difference and its standard error.
    smoothed : int
        How many of these data sets ``az.loo`` and ``az.compare`` are called on.
    posterior_draws : int
        Draws of each posterior for these, over four chains.
    trials : int
        Data sets at each sample size in the study of wrong choices.
    starts : int
        Starts of each fit to real data.
    components : int
        Largest number of components of a mixture fitted to real data; a data set may have a smaller limit of its own.
    """

    members: int = Field(default=17, ge=5)
    n: int = Field(default=200, ge=20, multiple_of=2)
    replications: int = Field(default=1000, ge=10)
    smoothed: int = Field(default=8, ge=2)
    posterior_draws: int = Field(default=1000, ge=400, multiple_of=4)
    trials: int = Field(default=1000, ge=20)
    starts: int = Field(default=6, ge=1)
    components: int = Field(default=6, ge=2)

    quick: ClassVar = {"members": 13, "replications": 500, "smoothed": 2, "trials": 200, "starts": 3, "components": 3}
    full: ClassVar = {
        "members": 41, "replications": 10_000, "smoothed": 100, "posterior_draws": 4000, "trials": 5000,
        "starts": 40,
    }  # fmt: skip


# --- the computation -------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    drawn = settings.model_dump(exclude={"members", "starts", "components"})
    fitted = settings.model_dump(include={"seed", "starts", "components"})
    plane = {"part": "geometry", "members": settings.members}
    return [
        Part("geometry", "plane of distributions", plane, partial(run_geometry, settings.members), weight=4),
        *(
            Part(k.name, f"choice, {k.title}", {"part": k.name, **drawn}, partial(run_choice, k, settings), 3)
            for k in KNOWN
        ),
        *(Part(d.name, d.title, {"part": d.name, **fitted}, partial(run_data, d, settings), 6) for d in DATA),
    ]


#: ``geometry``: see `run_geometry`; one child per known target: see `run_choice`; one per data set: see `run_data`.
run = runner(QUESTION, Settings, parts)


# --- choice between two families -------------------------------------------------------------------------------------


def data_sets(target: Target, count: int, n: int, seed: Sequence[int]) -> Array:
    """Draws (count, n) of a target, each row sorted."""
    return np.sort(draw(target, np.random.default_rng(seed), (count, n)), axis=1)


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
        data set of n draws. ``smoothed``: what ``az.compare`` says of the first of them, given draws of posteriors.
        ``wrong``: share of wrong choices at each size, and what first-order theory predicts.
    """
    target = case.target
    projections = {f: forward_projection(target, FAMILIES[f]) for f in PAIR}
    exact = _exact(target, projections)
    index = KNOWN.index(case)
    x = data_sets(target, settings.replications, settings.n, [settings.seed, index, 0])
    rng = np.random.default_rng([settings.seed, index, 2])
    smoothed = np.array([compare(smoothed_elpd(row, settings.posterior_draws, rng)) for row in x[: settings.smoothed]])
    tree = {
        "exact": exact,
        "replications": xr.Dataset({key: ("replication", values) for key, values in criteria(x).items()}),
        "smoothed": xr.Dataset(
            {key: ("replication", smoothed[:, i]) for i, key in enumerate(("elpd_diff", "dse", "pareto_k"))}
        ),
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
    return xr.Dataset(
        {
            **estimate_variables("kl", [projections[name].divergence for name in PAIR], "family"),
            "trace": ("family", [sandwich(target, projections[name]).trace for name in PAIR]),
            **estimate_variables("mean", mean),
            "sd": float(np.sqrt(spread.value)),
        },
        coords={"family": list(PAIR)},
    )


def _wrong(target: Target, exact: xr.Dataset, settings: Settings, index: int) -> xr.Dataset:
    mean, sd = float(exact["mean"]), float(exact["sd"])
    gap = float(exact["trace"][0] - exact["trace"][1])
    # In the sample the maximum is higher by half the trace, leave-one-out lower by half of it, and TIC aims at the latter.
    shifts = {"in_sample": gap / 2, "tic": -gap / 2, "loo": -gap / 2}
    rates, predicted = [], []
    for i, n in enumerate(SIZES):
        found = criteria(data_sets(target, settings.trials, n, [settings.seed, index, 1, i]))
        rates.append([float((found[key] * mean < 0).mean()) for key in CRITERIA])
        predicted.append(
            [float(norm.cdf(-np.sign(mean) * (n * mean + shifts[key]) / (np.sqrt(n) * sd))) for key in CRITERIA]
        )
    by = ("n", "criterion")
    return xr.Dataset(
        {"rate": (by, rates), "predicted": (by, predicted), "trials": settings.trials},
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
        parameter has the values of that limit's nearest member and no trace; one without a maximum has no values. By family
        of `comparable`, draws of its parameters and log likelihoods.
    """
    x = data.values
    largest = min(data.components, settings.components)
    candidates = [*(FAMILIES[name] for name in SINGLE), *(normal_mixture(k) for k in range(2, largest + 1))]
    fits = [fit_family(x, family, settings) for family in candidates]
    columns = {key: ("family", [f[key] for f in fits]) for key in fits[0] if key != "pointwise"}
    pointwise = {"pointwise": (("family", "observation"), np.stack([f["pointwise"] for f in fits]))}
    tree = xr.DataTree.from_dict(
        {"fits": xr.Dataset({**pointwise, **columns}, coords={"family": [f.name for f in candidates]})}
    )
    for name, fit in comparable(data, settings.starts, settings.seed).items():
        tree[name] = fit
    tree.attrs = {"title": data.title, "unit": data.unit, "n": len(x), "distinct": len(np.unique(x))}
    return tree


def fit_family(x: Array, family: Family, settings: Settings) -> dict[str, Any]:
    """Maximum likelihood fit of a family to data (n,), as `run_data` stores it."""
    found = {"pointwise": np.full(len(x), np.nan), "size": family.size(1), "trace": np.nan, "starts_reached": 0,
             "starts_degenerate": 0}  # fmt: skip
    try:
        fit = fit_mle(x, family, starts=settings.starts, seed=settings.seed, draws=2)["fit"].to_dataset()
    except ConvergenceError as error:
        return {**found, "status": f"no maximum: {error}"}
    params = {p.name: fit[p.name].to_numpy() for p in family.parameters}
    status = str(fit["status"].item())
    found |= {
        "pointwise": family.logp(x[:, None], params),
        "status": status,
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
