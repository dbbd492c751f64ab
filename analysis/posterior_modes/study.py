"""Posteriors with several modes: forward KL from the draws of samplers, reverse KL by ADVI, and the exact answer beside both."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.gaussians import gaussian
from analysis.judged import Normals, beside, within_tolerance
from analysis.parts import Part, StudySettings, runner
from analysis.posterior_modes import QUESTION
from analysis.posterior_modes.cases import CASES, Case
from analysis.posterior_modes.exact import Grid, exact_posterior
from models.advi import Schedule, fit_advi, optima
from models.advi.diagnostics import covered_mass
from models.families import FAMILIES
from models.graphs import Deferred, numpy_mode, rounded_alike, single_threaded
from models.projections import minima, reverse_projections
from models.projections.exact import exact_objective
from models.projections.starts import member_theta
from models.quadrature import Estimate
from models.results import estimate_variables
from models.targets import Target, from_model

# Imported when something is computed with them: drawing needs neither.
if TYPE_CHECKING:
    import pymc as pm
    import pytensor
else:
    pm = Deferred("pymc")
    pytensor = Deferred("pytensor")


Array = NDArray[np.float64]
#: Mass of a fit in the region that counts as covered.
LEVEL = 0.999
#: An end of ADVI further than this above the nearest exact minimum, in nats, is at none: it may be at a saddle.
TOLERANCE = 0.05


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    starts : int
        Of ADVI.
    steps : int
        Of one round of ADVI.
    nats : float
        That a converged run of ADVI may still gain.
    chains, tune, draws : int
        Of NUTS.
    particles : int
        Of sequential Monte Carlo.
    """

    starts: int = Field(default=6, ge=2)
    steps: int = Field(default=500, ge=100)
    nats: float = Field(default=5e-3, gt=0)
    chains: int = Field(default=4, ge=2, le=4)
    tune: int = Field(default=200, ge=50)
    draws: int = Field(default=300, ge=50)
    particles: int = Field(default=800, ge=100)

    quick: ClassVar = {"starts": 4, "steps": 200, "nats": 1e-2, "chains": 2, "tune": 80, "draws": 100, "particles": 200}
    full: ClassVar = {"starts": 32, "steps": 1000, "nats": 1e-3, "tune": 1000, "draws": 2000, "particles": 5000}


def parts(settings: Settings) -> list[Part]:
    """Everything to compute; the model with the most parameters takes longest."""
    s = settings.model_dump()
    return [
        Part(c.name, c.title, {"case": c.name, "settings": s}, partial(run_case, c.name, settings),
             weight=5 if c.name == "cauchy" else 40)
        for c in CASES
    ]  # fmt: skip


#: One child per case; see `run_case`.
run = runner(QUESTION, Settings, parts)


# --- samplers --------------------------------------------------------------------------------------------------------


def unconstrained(model: pm.Model, posterior: xr.Dataset) -> Array:
    """Draws (chain, draw, d) in the unconstrained space of the model, in the order of its value variables."""
    columns = []
    for variable in model.free_RVs:
        values = posterior[variable.name].to_numpy()
        transform = model.rvs_to_transforms[variable]
        if transform is not None:
            values = transform.forward(pytensor.tensor.as_tensor(values), *variable.owner.inputs).eval(
                mode=numpy_mode()
            )
        columns.append(np.reshape(values, (*values.shape[:2], -1)))
    return np.concatenate(columns, axis=-1)


@contextmanager
def _silent() -> Iterator[None]:
    """What samplers announce goes to the log of PyMC, which writes to the terminal; the results are judged here."""
    loggers = [logging.getLogger(name) for name in ("pymc", "pymc.smc.sampling", "pymc.sampling.mcmc")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def sample_nuts(model: pm.Model, settings: Settings) -> xr.DataTree:
    """NUTS with PyMC's defaults: several chains, each from near the initial point of the model."""
    return pm.sample(
        draws=settings.draws, tune=settings.tune, chains=settings.chains, cores=1, random_seed=settings.seed + 1,
        progressbar=False, quiet=True, compute_convergence_checks=False, model=model,
        compile_kwargs={"mode": "NUMBA"},
    )  # fmt: skip


def sample_smc(model: pm.Model, settings: Settings) -> xr.DataTree:
    """Sequential Monte Carlo from the prior to the posterior."""
    return pm.sample_smc(
        draws=settings.particles, chains=1, cores=1, random_seed=settings.seed + 2, progressbar=False,
        compute_convergence_checks=False, model=model, compile_kwargs={"mode": "NUMBA"},
    )  # fmt: skip


# --- one case --------------------------------------------------------------------------------------------------------


@single_threaded
def run_case(name: str, settings: Settings) -> xr.DataTree:
    """Sample and fit one posterior.

    Parameters
    ----------
    name : str
        Of one of `CASES`.
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``grid`` (in one dimension): the posterior. ``nuts``, ``smc``: draws ``x``, in unconstrained space. ``sources``: mean and sd of the
        reported parameter and share on the first side of every sampler. ``shares``: that of each chain of NUTS. ``fits`` over ``fit``:
        every Normal with its mean and covariance in unconstrained space, role, share on the first side, covered mass and, where exact,
        both divergences.
    """
    case = next(c for c in CASES if c.name == name)
    model = case.build()
    target = from_model(model)
    with _silent(), rounded_alike():
        traces = {"nuts": sample_nuts(model, settings), "smc": sample_smc(model, settings)}
    draws = {role: unconstrained(model, trace["posterior"].to_dataset()) for role, trace in traces.items()}
    sources = {
        "NUTS, one chain": draws["nuts"][0],
        "NUTS, all chains": draws["nuts"].reshape(-1, target.dim),
        "SMC": draws["smc"].reshape(-1, target.dim),
    }
    tree = {role: xr.Dataset({"x": (("chain", "draw", "dim"), x)}) for role, x in draws.items()}
    grid = exact_posterior(target) if case.symmetry is None else None
    if grid is not None:
        share = grid.between(0.0, np.inf)
        tree["grid"] = xr.Dataset(
            {"mass": ("x", grid.mass), "mean": ("dim", grid.mean), "cov": (("dim", "dim_2"), grid.cov), "share": share}
            | estimate_variables("log_z", grid.log_z),
            coords={"x": grid.points[:, 0]},
        )
    fits = [*_forward_fits(sources, grid), *_reverse_fits(target, grid, settings)]
    tree["fits"] = _judged(fits, case, grid, sources["SMC"])
    tree["sources"] = xr.Dataset(
        {
            "mean": ("source", [x[:, case.column].mean() for x in sources.values()]),
            "sd": ("source", [x[:, case.column].std() for x in sources.values()]),
            "share": ("source", [case.side(x).mean() for x in sources.values()]),
            "n": ("source", [len(x) for x in sources.values()]),
        },
        coords={"source": list(sources)},
    )
    r_hat = float(az.rhat(draws["nuts"][..., case.column]))
    tree["shares"] = xr.Dataset({"share": ("chain", case.side(draws["nuts"]).mean(axis=1)), "r_hat": r_hat})
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"title": case.title, "parameter": case.parameter, "side": case.side_name, "column": case.column}
    return result


@dataclass(frozen=True, eq=False)
class Fit:
    """A Normal fitted to a posterior: ``role`` is its direction, ``how`` the way it was found."""

    label: str
    role: Literal["forward", "reverse"]
    how: Literal["exact", "draws", "advi"]
    member: Target
    runs: int = 0
    at_rest: int = 0
    reverse: Estimate | None = None
    gap: float = np.nan


def _forward_fits(sources: Mapping[str, Array], grid: Grid | None) -> list[Fit]:
    """Maximum likelihood of a Normal on draws of the posterior, which has their mean and covariance, and its limit."""
    fits = [] if grid is None else [Fit("exact", "forward", "exact", gaussian("normal", grid.mean, grid.cov))]
    for name in ("SMC", "NUTS, one chain"):
        x = sources[name]
        cov = np.cov(x.T, bias=True).reshape(x.shape[1], -1)
        member = gaussian("normal" if len(cov) == 1 else "mvnormal", x.mean(axis=0), cov)
        fits.append(Fit(f"MLE on {name}", "forward", "draws", member))
    return fits


def _reverse_fits(target: Target, grid: Grid | None, settings: Settings) -> list[Fit]:
    """Exact minima of reverse KL, where the posterior is known, and the distinct ends of ADVI from many starts."""
    # What is left in means and sds goes with the root of what is left in nats, as in the default.
    schedule = Schedule(steps=settings.steps, nats=settings.nats, relative=float(np.sqrt(settings.nats / 20)))
    found = optima(fit_advi(target, starts=settings.starts, seed=settings.seed, schedule=schedule, draws=2))
    ends = Normals.by_sd(found["mean"].to_numpy(), found["sd"].to_numpy())
    counts = list(zip(found["runs"].to_numpy().tolist(), found["converged"].to_numpy().tolist(), strict=True))
    labels = [f"ADVI {k + 1}{'' if rest else ' (not at rest)'}" for k, (_, rest) in enumerate(counts)]
    if grid is None:
        members = [gaussian("mvnormal_diag", m, c) for m, c in zip(ends.mean, ends.cov, strict=True)]
        return [Fit(label, "reverse", "advi", q, *n) for label, q, n in zip(labels, members, counts, strict=True)]
    family, log_z = FAMILIES["normal"], grid.log_z
    exact = minima(reverse_projections(target, family, seed=settings.seed))
    members = [gaussian("normal", m, c) for m, c in zip(ends.mean, ends.cov, strict=True)]
    thetas = np.array([member_theta(family, m, c, {}) for m, c in zip(ends.mean, ends.cov, strict=True)])
    kl, finer = (exact_objective(family, target, 0.0).at(level).gradient(thetas)[0] for level in (1, 2))
    judged = beside(ends, kl, exact)
    near = within_tolerance(judged["gap"], TOLERANCE)
    labels = [label if there else f"{label} (at no minimum)" for label, there in zip(labels, near, strict=True)]
    errors = np.abs(finer - kl) + log_z.error
    values = [Estimate(float(v) + log_z.value, float(e), "quadrature") for v, e in zip(kl, errors, strict=True)]
    return [
        Fit(f"exact {k + 1}", "reverse", "exact", p.member,
            reverse=Estimate(p.divergence.value + log_z.value, p.divergence.error + log_z.error, "quadrature"))
        for k, p in enumerate(exact)
    ] + [
        Fit(label, "reverse", "advi", q, *n, value, float(gap))
        for label, q, n, value, gap in zip(labels, members, counts, values, judged["gap"].to_numpy(), strict=True)
    ]  # fmt: skip


def _judged(fits: Sequence[Fit], case: Case, grid: Grid | None, particles: Array) -> xr.Dataset:
    """Everything that is said of every fit: exact beside a grid, else beside particles and their images."""
    rows = []
    # Both modes have their share, whatever the sampler says of it.
    reference = None if case.symmetry is None else np.concatenate([particles, particles @ case.symmetry.T])
    for fit in fits:
        mean, factor = fit.member.scales[0]
        cov = factor @ factor.T
        if reference is None:
            assert grid is not None, "without a symmetry the posterior is on a grid"
            covered = grid.covered(fit.member, LEVEL)
        else:
            covered = covered_mass(fit.member, reference, level=LEVEL).value
        rows.append(
            xr.Dataset(
                {
                    "mean": ("dim", mean),
                    "cov": (("dim", "dim_2"), cov),
                    "share": case.share(mean, cov),
                    "covered": covered,
                    "kl_forward": np.nan if grid is None else grid.forward(fit.member),
                    **estimate_variables("kl_reverse", fit.reverse or Estimate(np.nan, np.nan, "quadrature")),
                    **{name: getattr(fit, name) for name in ("role", "how", "runs", "at_rest", "gap")},
                }
            )
        )
    return xr.concat(rows, "fit").assign_coords(fit=[f"{f.role}: {f.label}" for f in fits])
