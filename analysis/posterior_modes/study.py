"""Posteriors with several modes: forward KL from the draws of samplers, reverse KL by ADVI, and the exact answer beside both."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from analysis.gaussians import gaussian
from analysis.parts import Part, runner
from analysis.posterior_modes import QUESTION
from analysis.posterior_modes.cases import CASES, Case
from analysis.posterior_modes.exact import Grid, exact_minima, exact_posterior, gap, reverse_kl
from models.advi import METHODS, Schedule, combine, fit_advi
from models.advi.diagnostics import covered_mass
from models.families import FAMILIES
from models.graphs import Deferred, numpy_mode, single_threaded
from models.mle import fit_mle
from models.quadrature import Estimate
from models.results import member_of
from models.targets import Target, from_model

# Imported when something is computed with them: drawing needs neither.
if TYPE_CHECKING:
    import pymc as pm
    import pytensor
else:
    pm = Deferred("pymc")
    pytensor = Deferred("pytensor")


Array = NDArray[np.float64]
Method = Literal["advi", "fullrank_advi"]
#: Mass of a fit in the region that counts as covered.
LEVEL = 0.999
#: An end of ADVI further than this above the nearest exact minimum, in nats, is at none: it may be at a saddle.
TOLERANCE = 0.05


class Settings(BaseModel):
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
    full_rank : tuple of str
        Names of the models that full-rank ADVI fits too.
    chains, tune, draws : int
        Of NUTS.
    particles : int
        Of sequential Monte Carlo.
    reference : int
        Draws of the exact posterior, where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    starts: int = Field(default=8, ge=2)
    steps: int = Field(default=500, ge=100)
    nats: float = Field(default=5e-3, gt=0)
    full_rank: tuple[str, ...] = ("ridge",)
    chains: int = Field(default=4, ge=2, le=4)
    tune: int = Field(default=200, ge=50)
    draws: int = Field(default=300, ge=50)
    particles: int = Field(default=800, ge=100)
    reference: int = Field(default=4000, ge=100)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Settings:
        """Settings for ``--quick``, the default, and ``--full``."""
        if effort == "quick":
            return cls(
                seed=seed, starts=4, steps=200, nats=1e-2, chains=2, tune=80, draws=100, particles=200,
                reference=1000,
            )  # fmt: skip
        if effort == "full":
            return cls(
                seed=seed, starts=32, steps=1000, nats=1e-3, full_rank=("ridge", "faithful"), tune=1000, draws=2000, particles=5000, reference=20_000
            )  # fmt: skip
        return cls(seed=seed)


def parts(settings: Settings) -> list[Part]:
    """Everything to compute; the model with the most parameters takes longest."""
    s = settings.model_dump()
    return [
        Part(c.name, c.title, {"case": c.name, "settings": s}, partial(run_case, c.name, settings),
             weight={"cauchy": 5, "ridge": 20}.get(c.name, 120))
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


def _draws(posterior: xr.Dataset, x: Array) -> dict[str, xr.Dataset]:
    return {
        "posterior": posterior,
        "unconstrained_posterior": xr.Dataset({"x": (("chain", "draw", "dim"), x)}),
    }


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
        ``exact`` (where a grid allows), ``nuts``, ``smc``: draws as ``posterior``, on the natural scale, and
        ``unconstrained_posterior``; ``fits`` over ``fit``: every Normal with its mean and covariance in unconstrained space,
        role, share on the first side, covered mass and, where exact, both divergences; ``sources``: mean and sd of the reported
        parameter and share on the first side of every sampler; ``shares`` over ``chain``.
    """
    case = next(c for c in CASES if c.name == name)
    model = case.build()
    target = from_model(model)
    rng = np.random.default_rng([settings.seed, 31])
    with _silent():
        nuts, smc = sample_nuts(model, settings), sample_smc(model, settings)
    x_nuts, x_smc = (unconstrained(model, t["posterior"].to_dataset()) for t in (nuts, smc))
    grid = None if case.reach is None else exact_posterior(target, case.reach)
    tree: dict[str, xr.Dataset] = {}
    sources = {"NUTS, one chain": x_nuts[0], "NUTS, all chains": x_nuts.reshape(-1, target.dim),
               "SMC": x_smc.reshape(-1, target.dim)}  # fmt: skip
    for role, trace, x in (("nuts", nuts, x_nuts), ("smc", smc, x_smc)):
        for group, dataset in _draws(trace["posterior"].to_dataset(), x).items():
            tree[f"{role}/{group}"] = dataset
    reference = sources["SMC"]
    if case.symmetry is not None:  # so both modes have their share, whatever the sampler says of it
        reference = np.concatenate([reference, reference @ case.symmetry.T])
    if grid is not None:
        reference = grid.rvs(settings.reference, rng)
        natural = target.natural(reference)
        assert natural is not None, "a posterior has named variables"
        variables = {v.name: (("chain", "draw"), natural[v.name][None]) for v in model.free_RVs}
        for group, dataset in _draws(xr.Dataset(variables), reference[None]).items():
            tree[f"exact/{group}"] = dataset
        tree["exact/grid"] = _grid_dataset(grid, case)
    fits = _forward_fits(target, sources, grid, settings)
    fits += _reverse_fits(target, case, grid, settings)
    tree["fits"] = _judged(fits, target, case, grid, reference, rng)
    tree["sources"] = xr.Dataset(
        {
            "mean": ("source", [x[:, case.column].mean() for x in sources.values()]),
            "sd": ("source", [x[:, case.column].std() for x in sources.values()]),
            "share": ("source", [case.side(x).mean() for x in sources.values()]),
            "n": ("source", [len(x) for x in sources.values()]),
        },
        coords={"source": list(sources)},
    )
    tree["shares"] = xr.Dataset(
        {
            "share": ("chain", case.side(x_nuts).mean(axis=1)),
            "r_hat": float(az.rhat(x_nuts[..., case.column])),
        }
    )
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"title": case.title, "parameter": case.parameter, "side": case.side_name, "dim": target.dim,
                    "column": case.column, "coordinates": json.dumps(target.coordinates)}  # fmt: skip
    return result


def _grid_dataset(grid: Grid, case: Case) -> xr.Dataset:
    dim = grid.points.shape[1]
    side = case.side(grid.points)
    kept = slice(None) if dim == 1 else slice(None, None, 3)  # enough for a picture
    mass = grid.mass.reshape([len(grid.axis)] * dim)[(kept,) * dim]
    return xr.Dataset(
        {
            "mass": (("x", "y")[:dim], mass / mass.sum()),
            "mean": ("dim", grid.mean),
            "cov": (("dim", "dim_2"), grid.cov),
            "log_z": grid.log_z.value,
            "log_z_error": grid.log_z.error,
            "share": float(grid.mass[side].sum()),
        },
        coords=dict.fromkeys(("x", "y")[:dim], grid.axis[kept]),
    )


@dataclass(frozen=True, eq=False)
class Fit:
    """A Normal fitted to a posterior: ``role`` is its direction, ``how`` the way it was found."""

    label: str
    role: Literal["forward", "reverse"]
    how: Literal["exact", "draws", "advi", "combined"]
    member: Target
    runs: int = 0
    converged: int = 0
    negative_elbo: Estimate | None = None
    gap: float = np.nan


def _forward_fits(target: Target, sources: Mapping[str, Array], grid: Grid | None, settings: Settings) -> list[Fit]:
    """Maximum likelihood of a Normal on draws of the posterior, and its limit."""
    family = "normal" if target.dim == 1 else "mvnormal"
    fits = []
    if grid is not None:
        fits.append(Fit("exact", "forward", "exact", gaussian(family, grid.mean, grid.cov)))
    for source in ("SMC", "NUTS, one chain"):
        x = sources[source]
        fitted = fit_mle(x[:, 0] if target.dim == 1 else x, FAMILIES[family], seed=settings.seed, draws=2)
        fits.append(
            Fit(f"MLE on {source}", "forward", "draws", member_of(fitted["fit"].to_dataset(), FAMILIES[family]))
        )
    return fits


def _reverse_fits(target: Target, case: Case, grid: Grid | None, settings: Settings) -> list[Fit]:
    """ADVI from many starts, mean field and full rank, its exact minima, and the mixture of what was found."""
    default = Schedule()
    schedule = replace(
        default,
        steps=settings.steps,
        nats=settings.nats,
        relative=default.relative * np.sqrt(settings.nats / default.nats),
    )
    methods: dict[Method, str] = {"advi": "mean field"}
    if case.name in settings.full_rank:
        methods["fullrank_advi"] = "full rank"
    fits = []
    for method, title in methods.items():
        family = METHODS[method]
        name = "" if target.dim == 1 else f"{title}, "
        fit = fit_advi(target, method=method, starts=settings.starts, seed=settings.seed, schedule=schedule, draws=2)
        restarts = fit["restarts"].to_dataset()
        found = []
        for k in range(sum(child.startswith("optimum_") for child in fit.children)):
            member = member_of(fit[f"optimum_{k}/fit"].to_dataset(), FAMILIES[family])
            here = restarts["optimum"].to_numpy() == k
            converged = int(restarts["converged"].to_numpy()[here].sum())
            verdict = "" if converged else " (not converged)"
            found.append(Fit(f"{name}ADVI {k + 1}{verdict}", "reverse", "advi", member, int(here.sum()), converged))
        if grid is not None:
            one = "normal" if target.dim == 1 else family
            ends = [f.member for f in found]
            exact = exact_minima(target, one, ends + [_moved(m, case.symmetry, one) for m in ends])
            fits += [Fit(f"{name}exact {k + 1}", "reverse", "exact", m) for k, m in enumerate(exact)]
            found = [replace(f, gap=gap(target, f.member, exact)) for f in found]
            found = [replace(f, label=f"{f.label} (at no minimum)") if f.gap > TOLERANCE else f for f in found]
        fits += found
        combined = combine(target, [f.member for f in found], seed=settings.seed, power=12)
        fits.append(Fit(f"{name}mixture", "reverse", "combined", combined.mixture, negative_elbo=combined.divergence))
    return fits


def _moved(member: Target, symmetry: Array | None, family: str) -> Target:
    """The image of a Normal under a symmetry of the posterior."""
    if symmetry is None:
        return member
    location, factor = member.scales[0]
    return gaussian(family, symmetry @ location, symmetry @ factor @ factor.T @ symmetry.T)


def _judged(
    fits: Sequence[Fit], target: Target, case: Case, grid: Grid | None, reference: Array, rng: np.random.Generator
) -> xr.Dataset:
    """Everything that is said of every fit."""
    rows = []
    for fit in fits:
        member = fit.member
        single = len(member.scales) == 1
        mean = np.asarray(member.mean)
        cov = np.asarray(member.cov)
        if single:
            location, factor = member.scales[0]
            mean, cov = location, factor @ factor.T
        x = member.rvs(4000, int(rng.integers(2**31)))
        forward, reverse, reverse_error = np.nan, np.nan, np.nan
        if grid is not None:
            forward = grid.forward(member)
            if single:
                estimate = reverse_kl(target, member, grid.log_z.value)
                reverse, reverse_error = estimate.value, estimate.error + grid.log_z.error
            elif fit.negative_elbo is not None:
                reverse = fit.negative_elbo.value + grid.log_z.value
                reverse_error = fit.negative_elbo.error + grid.log_z.error
        rows.append(
            xr.Dataset(
                {
                    "mean": ("dim", mean),
                    "cov": (("dim", "dim_2"), cov),
                    "share": float(case.side(x).mean()),
                    "covered": covered_mass(member, reference, level=LEVEL).value if single else np.nan,
                    "kl_forward": forward,
                    "kl_reverse": reverse,
                    "kl_reverse_error": reverse_error,
                    "role": fit.role,
                    "how": fit.how,
                    "runs": fit.runs,
                    "converged": fit.converged,
                    "gap": fit.gap,
                }
            )
        )
    return xr.concat(rows, "fit").assign_coords(fit=[f"{f.role}: {f.label}" for f in fits])
