"""Posteriors that nobody here wrote: ADVI in several forms against long runs of Stan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, field_validator

from analysis.parts import Part, StudySettings, runner
from analysis.reference_posteriors import QUESTION
from analysis.reference_posteriors.natural import moments, parameters
from analysis.reference_posteriors.posteriors import CASES, Case, Reference
from models.advi import (
    PYMC_DEFAULT,
    combine,
    fit_advi,
    fit_dadvi,
    member,
    optima,
    response_sds,
    response_trusted,
)
from models.advi.diagnostics import diagnose
from models.errors import lookup_error
from models.graphs import single_threaded
from models.quadrature import sobol_nodes
from models.targets import Posterior, Target, from_model

Array = NDArray[np.float64]
#: Ways to approximate a posterior, in the order of the table.
WAYS = {
    "pymc_mean_field": "pm.fit, mean field",
    "pymc_full_rank": "pm.fit, full rank",
    "mean_field": "mean field",
    "linear_response": "linear response",
    "full_rank": "full rank",
    "mixture": "mixture of optima",
}
#: Optima further than this below the best in ELBO (nats) would have no weight in a mixture that anyone could see.
WEIGHTLESS = 12.0
_QUICK = ("kidiq", "kilpisjarvi", "mixture", "schools_centred")


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    posteriors : tuple of str
        Keys of `CASES`.
    starts : int
        First wave of starts of deterministic ADVI.
    steps : int
        Of ``pm.fit``, whose default is 10 000.
    power : int
        Logarithm to base 2 of the nodes by which a Normal is taken to the natural scale.
    """

    posteriors: tuple[str, ...] = tuple(case.key for case in CASES)
    starts: int = Field(default=8, ge=2)
    steps: int = Field(default=10_000, ge=100)
    power: int = Field(default=13, ge=8)

    @field_validator("posteriors")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            case_of_key(name)
        return names

    quick: ClassVar = {"posteriors": _QUICK, "starts": 4, "power": 11}
    full: ClassVar = {"starts": 20, "power": 15}


def case_of_key(key: str) -> Case:
    """Return the case of that key.

    Raises
    ------
    InputError
    """
    known = {case.key: case for case in CASES}
    if key not in known:
        raise lookup_error("posterior", key, known)
    return known[key]


#: Seconds a part takes, roughly: what is compiled, and how long one density takes.
_SECONDS = {"garch": 25, "mixture": 15, "mixture_ordered": 12, "gp": 9, "earnings": 6}


def parts(settings: Settings) -> list[Part]:
    """Everything to compute: one part a posterior."""
    common = settings.model_dump(exclude={"posteriors"})
    return [
        Part(key, case_of_key(key).title, {"entry": case_of_key(key).digest, "settings": common},
             partial(run_case, key, settings), weight=_SECONDS.get(key, 4))
        for key in settings.posteriors
    ]  # fmt: skip


#: One child per posterior; see `run_case`.
run = runner(QUESTION, Settings, parts)


@dataclass(frozen=True, eq=False)
class Fit:
    """What one way says: the Normals of its optima in unconstrained space, with the weights of what it reports.

    A way that reports one Normal gives all weight to the first. With a fit as `response` its sds are those of linear response there.
    """

    members: Sequence[Target]
    weights: Array
    k_hat: float
    elbo: float
    at_rest: bool
    seconds: float
    response: xr.DataTree | None = None


@single_threaded
def run_case(key: str, settings: Settings) -> xr.DataTree:
    """Approximate one posterior in every way.

    Parameters
    ----------
    key : str
        Of one of `CASES`.
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``reference`` over ``parameter``: ``mean``, ``sd``, ``mcse``; over (mode, parameter) ``mode_mean`` and ``mode_sd``. ``fits`` over ``way``,
        those of `WAYS` that apply: over ``parameter`` too ``mean`` and ``sd`` on the natural scale, and ``trusted`` (see
        `models.advi.response_trusted`; of other ways than linear response nothing is asked); ``k_hat``, ``elbo`` (nats), ``at_rest``, ``seconds`` of
        processor time without compiling, ``optima``; over ``mode`` too ``found``, whether an optimum has its mean within one sd of the
        mode in every parameter, and ``weight``, which these optima have in what is reported.
    """
    case = case_of_key(key)
    target, reference = from_model(case.model()), case.reference
    target.log_density(target.initial_point[None])  # compiled before anything is timed
    fits = _reverse_fits(target, settings)
    nodes = sobol_nodes(target.dim, power=settings.power, replicates=1, seed=settings.seed).points
    rows = [_judged(fit, target, reference, nodes) for fit in fits.values()]
    result = xr.DataTree.from_dict(
        {
            "reference": xr.Dataset(
                {name: ("parameter", getattr(reference, name)) for name in ("mean", "sd", "mcse")}
                | {"mode_mean": (("mode", "parameter"), reference.modes), "mode_sd": (("mode", "parameter"), reference.mode_sd)},
                coords={"parameter": reference.names},
            ),
            "fits": xr.concat(rows, "way").assign_coords(way=list(fits)),
        }
    )  # fmt: skip
    result.attrs = {"title": case.title, "entry": case.entry, "dim": target.dim}
    return result


def _judged(fit: Fit, target: Posterior, reference: Reference, nodes: Array) -> xr.Dataset:
    """Moments on the natural scale, and which modes were found."""
    found = [moments(target, m, nodes, reference.names) for m in fit.members]
    means, sds = (np.array(column) for column in zip(*found, strict=True))
    trusted = np.ones(len(reference.names), dtype=bool)
    if fit.response is not None:
        of = partial(parameters, target, names=reference.names)
        sds = np.array([response_sds(target, m, of) for m in fit.members])
        trusted = response_trusted(target, fit.response, 0, of, sds[0])
    mean = fit.weights @ means
    sd = np.sqrt(fit.weights @ (sds**2 + (means - mean) ** 2))
    hits = (np.abs(means[:, None] - reference.modes) < reference.mode_sd).all(axis=2)
    return xr.Dataset(
        {
            "mean": ("parameter", mean),
            "sd": ("parameter", sd),
            "trusted": ("parameter", trusted),
            "found": ("mode", hits.any(axis=0)),
            "weight": ("mode", fit.weights @ hits),
            "optima": len(fit.members),
            **{name: getattr(fit, name) for name in ("k_hat", "elbo", "at_rest", "seconds")},
        },
        coords={"parameter": reference.names},
    )


def _reverse_fits(target: Posterior, settings: Settings) -> dict[str, Fit]:
    """Every way that applies, by its key in `WAYS`."""
    fits = {
        "pymc_mean_field": _pymc(target, "advi", settings),
        "pymc_full_rank": _pymc(target, "fullrank_advi", settings),
    }
    tree, fits["mean_field"] = _fixed(target, "advi", settings)
    k_hat = float(tree["optimum_0/fit"]["k_hat_linear_response"])
    fits["linear_response"] = replace(fits["mean_field"], k_hat=k_hat, response=tree)
    tree, fits["full_rank"] = _fixed(target, "fullrank_advi", settings)
    elbo = optima(tree)["elbo"].to_numpy()
    seen = [m for m, e in zip(fits["full_rank"].members, elbo, strict=True) if elbo[0] - e < WEIGHTLESS]
    if len(seen) > 1:
        began = time.process_time()
        found = combine(target, seen, seed=settings.seed, power=12)
        seconds = fits["full_rank"].seconds + time.process_time() - began
        said = diagnose(target, found.mixture, n=2000, seed=settings.seed)
        fits["mixture"] = Fit(
            seen, found.weights, said.k_hat, -found.divergence.value, fits["full_rank"].at_rest, seconds
        )
    return fits


def _fit_of(tree: xr.DataTree, seconds: float) -> Fit:
    """All optima of a fit, with all weight on the lowest."""
    table = optima(tree)
    members = [member(tree, k) for k in range(table.sizes["optimum"])]
    at_rest = bool(tree["optimum_0/fit"]["converged"])
    return Fit(members, np.eye(len(members))[0], float(table["k_hat"][0]), float(table["elbo"][0]), at_rest, seconds)


def _pymc(target: Posterior, method: Literal["advi", "fullrank_advi"], settings: Settings) -> Fit:
    """What ``pm.fit(method=method)`` does: its gradient, optimiser, start and number of steps."""
    began = ended = time.process_time()

    def told(_steps: int) -> None:
        nonlocal ended
        ended = time.process_time()

    schedule = replace(PYMC_DEFAULT, steps=settings.steps)
    with np.errstate(all="ignore"):  # far from the posterior, where its defaults can end
        tree = fit_advi(target, method=method, seed=settings.seed, schedule=schedule, on_step=told)
    return _fit_of(tree, ended - began)  # of its steps; what is found out about the end is not counted


def _fixed(target: Posterior, method: Literal["advi", "fullrank_advi"], settings: Settings) -> tuple[xr.DataTree, Fit]:
    began = time.process_time()
    tree = fit_dadvi(target, method=method, starts=settings.starts, seed=settings.seed)
    return tree, _fit_of(tree, time.process_time() - began)
