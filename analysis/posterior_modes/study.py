"""Posteriors with several modes: forward KL from the draws of samplers, reverse KL by ADVI, and the exact answer beside both."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

from analysis.data.columns import load_column
from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style
from analysis.gaussians import gaussian, moments
from analysis.parts import Part, runner
from analysis.posterior_modes import QUESTION
from analysis.posterior_modes import marks as posterior_fig
from analysis.reading import case_of
from analysis.site.numbers import num
from models.advi import METHODS, Schedule, combine, fit_advi
from models.advi.diagnostics import covered_mass
from models.families import FAMILIES
from models.graphs import Deferred, numpy_mode, single_threaded
from models.mle import fit_mle
from models.projections import minima, reverse_projections
from models.projections.objectives import natural_values, reverse_objective
from models.projections.optimise import descend
from models.projections.starts import member_theta
from models.quadrature import Estimate, gaussian_nodes
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
#: A chain with less than this share of its draws on one side has not seen that side.
STUCK = 0.01
_NODES = {1: 257, 2: 65}
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


# --- models ----------------------------------------------------------------------------------------------------------


def cauchy_model() -> pm.Model:
    """Location of a Cauchy from four observations in two pairs, the right one closer together."""
    y = np.array([-10.9, -9.1, 9.5, 10.5])
    with pm.Model(model=None) as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Cauchy("y", mu, 1, observed=pm.Data("observed", y))
    return model


def ridge_model() -> pm.Model:
    """A product of two parameters: the data know a b and nothing else."""
    y = 1 + 0.5 * norm.ppf((np.arange(10) + 0.5) / 10)  # ten quantiles of N(1, 0.5)
    with pm.Model(model=None) as model:
        a, b = pm.Normal("a", 0, 1.5), pm.Normal("b", 0, 1.5)
        pm.Normal("y", a * b, 0.5, observed=pm.Data("observed", y))
    return model


def faithful_model() -> pm.Model:
    """Two Normals for the durations of eruptions, with exchangeable priors: the labels can be switched."""
    y = load_column("old_faithful_eruptions")[::3]
    with pm.Model(model=None) as model:
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", 3.5, 1.5, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        weights = pm.math.stack([w, 1 - w])
        pm.NormalMixture("y", w=weights, mu=mu, sigma=sigma, observed=pm.Data("observed", y))
    return model


@dataclass(frozen=True)
class Case:
    """A model with a posterior of several modes.

    Attributes
    ----------
    name, title : str
    build : callable
        Returns the PyMC model.
    column : int
        Of the parameter that is reported, in unconstrained space.
    parameter : str
    side : callable (n, d) -> (n,)
        Which points belong to the first of two modes.
    side_name : str
    reach : float, optional
        Half width of the grid, where the dimension allows one.
    symmetry : ndarray (d, d), optional
        A linear map of unconstrained space that leaves the posterior as it is and exchanges the modes.
    """

    name: str
    title: str
    build: Callable[[], pm.Model]
    column: int
    parameter: str
    side: Callable[[Array], NDArray[np.bool_]]
    side_name: str
    reach: float | None = None
    symmetry: Array | None = None

    @property
    def exact_share(self) -> float | None:
        """Of the first mode, where symmetry tells."""
        return None if self.symmetry is None else 0.5


def _positive(x: Array) -> NDArray[np.bool_]:
    return np.asarray(x[..., 0] > 0)


def _in_order(x: Array) -> NDArray[np.bool_]:
    return np.asarray(x[..., 1] < x[..., 2])


#: The labels switched: the weight, on the scale of log odds, changes sign.
_SWITCH = np.zeros((5, 5))
_SWITCH[0, 0] = -1
_SWITCH[[1, 2, 3, 4], [2, 1, 4, 3]] = 1

CASES = (
    Case("cauchy", "Cauchy location", cauchy_model, 0, "mu", _positive, "mu > 0", reach=40.0),
    Case("ridge", "a product of parameters", ridge_model, 0, "a", _positive, "a > 0", 9.0, -np.eye(2)),
    Case(
        "faithful", "Old Faithful, two components", faithful_model, 1, "mu[0]", _in_order, "mu[0] < mu[1]",
        symmetry=_SWITCH,
    ),
)  # fmt: skip


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


# --- the exact posterior ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grid:
    """A posterior on a grid of equal cells.

    Attributes
    ----------
    axis : ndarray (k,)
        Common to all coordinates.
    points : ndarray (k^d, d)
    mass : ndarray (k^d,)
        Of each cell; they sum to 1.
    log_p : ndarray (k^d,)
        Normalised log density.
    log_z : Estimate
        Log evidence; its error is the change from a grid of every other point.
    """

    axis: Array
    points: Array
    mass: Array
    log_p: Array
    log_z: Estimate

    @property
    def mean(self) -> Array:
        """Posterior mean (d,)."""
        return np.asarray(self.mass @ self.points)

    @property
    def cov(self) -> Array:
        """Posterior covariance (d, d)."""
        centred = self.points - self.mean
        return np.asarray((centred * self.mass[:, None]).T @ centred)

    def forward(self, member: Target) -> float:
        """KL(posterior||member) in nats."""
        kept = self.mass > 1e-25
        return float(self.mass[kept] @ (self.log_p[kept] - member.logp(self.points[kept])))

    def rvs(self, n: int, rng: np.random.Generator) -> Array:
        """Draws (n, d), uniform within a cell."""
        chosen = rng.choice(len(self.mass), n, p=self.mass)
        step = self.axis[1] - self.axis[0]
        return np.asarray(self.points[chosen] + step * rng.uniform(-0.5, 0.5, (n, self.points.shape[1])))


def exact_posterior(target: Target, reach: float) -> Grid:
    """Normalise a posterior in one or two dimensions on a grid from -reach to reach."""
    axis = np.linspace(-reach, reach, 8001 if target.dim == 1 else 901)
    points = np.stack(np.meshgrid(*[axis] * target.dim, indexing="ij"), axis=-1).reshape(-1, target.dim)
    log_joint = np.concatenate([target.logp(part) for part in np.array_split(points, max(1, len(points) // 20_000))])
    step = axis[1] - axis[0]
    log_z = float(logsumexp(log_joint) + target.dim * np.log(step))
    every_other = log_joint.reshape([len(axis)] * target.dim)[(slice(None, None, 2),) * target.dim]
    coarse = float(logsumexp(every_other) + target.dim * np.log(2 * step))
    log_p = log_joint - log_z
    mass = np.exp(log_p + target.dim * np.log(step))
    return Grid(axis, points, mass / mass.sum(), log_p, Estimate(log_z, abs(log_z - coarse), "quadrature"))


def reverse_kl(target: Target, member: Target, log_z: float) -> Estimate:
    """KL(member||posterior) in nats, by quadrature over the noise of the member."""
    location, factor = member.scales[0]

    def log_ratio(z: Array) -> Array:
        x = location + z @ factor.T
        return member.logp(x) - target.logp(x) + log_z

    return gaussian_nodes(target.dim, size=2 * _NODES[target.dim] - 1).mean(log_ratio)


def exact_minima(target: Target, family: str, starts: Sequence[Target]) -> list[Target]:
    """Minima of reverse KL by quadrature, lowest first: in one dimension all of them, else those below the ends of ADVI."""
    if target.dim == 1:
        return [p.member for p in minima(reverse_projections(target, FAMILIES[family]))]
    objective = reverse_objective(FAMILIES[family], target, gaussian_nodes(target.dim, size=_NODES[target.dim]))
    found: list[tuple[float, Array]] = []
    for start in starts:
        location, factor = start.scales[0]
        end = descend(objective, member_theta(FAMILIES[family], location, factor @ factor.T, {}))
        if end is not None and all(np.linalg.norm(end[0] - other) > 1e-4 for _, other in found):
            found.append((end[1], end[0]))
    ordered = sorted(found, key=lambda pair: (round(pair[0], 9), tuple(-pair[1])))
    return [FAMILIES[family].member(natural_values(FAMILIES[family], theta)[0]) for _, theta in ordered]


def gap(target: Target, member: Target, exact: Sequence[Target]) -> float:
    """Nats of reverse KL above the exact minimum that is nearest, in means per sd and log sds."""
    mean, sd = moments(member)

    def distance(other: Target) -> float:
        other_mean, other_sd = moments(other)
        return float(np.sum(((mean - other_mean) / other_sd) ** 2 + np.log(sd / other_sd) ** 2))

    return reverse_kl(target, member, 0.0).value - reverse_kl(target, min(exact, key=distance), 0.0).value


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
        ``location``, ``product_draws``, ``location_chains``, ``posterior_planes``; each an ArviZ PlotCollection.
    """
    style = Style.of(theme, backend)
    return {
        "location": _location(results, style),
        "product_draws": _product_draws(results, style),
        "location_chains": _location_chains(results, style),
        "posterior_planes": _planes(results, style),
    }


def _location(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "cauchy")
    grid, fits = case["exact/grid"].to_dataset(), case["fits"].to_dataset()
    axis = grid["x"].to_numpy()
    shown = np.abs(axis) <= 20
    x = axis[shown]
    density = grid["mass"].to_numpy()[shown] / (axis[1] - axis[0])
    exact = fits.isel(fit=np.flatnonzero((fits["how"] == "exact").to_numpy()))
    best = float(exact["kl_reverse"].where(exact["role"] == "reverse").min())
    curves = [
        (
            str(f["role"].item()),
            str(f["role"].item()),
            norm.pdf(x, float(f["mean"][0]), float(np.sqrt(f["cov"][0, 0]))),
            bool(f["role"] == "reverse" and f["kl_reverse"] > best + 1e-6),
        )
        for f in (exact.isel(fit=k) for k in range(exact.sizes["fit"]))
    ]
    count = sum(role == "reverse" for role, *_ in curves)
    return Drawing(
        posterior_fig.densities(x, density, curves, "location mu", style),
        alt=(
            "Posterior density of a Cauchy location, filled grey, with a peak on either side of zero. A broad dashed blue Normal, the "
            f"forward optimum, covers both peaks. Dotted orange Normals are the {count} minima of reverse KL; the thick one matches the higher peak."
        ),
        caption=(
            "The posterior of a Cauchy location given four observations, exact by quadrature, and its exact Normal approximations: "
            f"[forward]{{.forward}} has the mean and variance of the posterior, [reverse]{{.reverse}} has {count} minima (thin: local)."
        ),
    )


def _product_draws(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "ridge")
    sources = {
        name: case[f"{role}/posterior"].to_dataset().isel(chain=[0])[["a"]].reset_coords(drop=True)
        for name, role in (("exact draws", "exact"), ("NUTS, one chain", "nuts"), ("SMC", "smc"))
    }
    count = min(data.sizes["draw"] for data in sources.values())  # one dimension for all
    trees = {
        name: xr.DataTree.from_dict(
            {
                "posterior": data.isel(draw=np.linspace(0, data.sizes["draw"] - 1, count).astype(int)).assign_coords(
                    chain=[0], draw=np.arange(count)
                )
            }
        )
        for name, data in sources.items()
    }
    return Drawing(
        posterior_fig.draws(trees, "a", "factor a", style),
        alt=(
            "Density estimates of the first factor from draws. Exact draws in grey and sequential Monte Carlo in dashed blue have two peaks, on "
            "either side of zero; one chain of NUTS, in dotted orange, has one peak of twice the height or has crossed."
        ),
        caption=(
            "What samplers say of the first factor of a product: kernel density estimates by ArviZ of exact draws, of sequential Monte Carlo (SMC), and of "
            f"one chain of NUTS, {num(100 * float(case['shares/share'].to_numpy()[0]), digits=2)}% of whose draws are positive."
        ),
    )


def _location_chains(results: xr.DataTree, style: Style) -> Drawing:
    case = case_of(results, "cauchy")
    tree = xr.DataTree.from_dict({"posterior": case["nuts/posterior"].to_dataset()})
    shares = ", ".join(f"{100 * float(v):.0f}%" for v in case["shares/share"].to_numpy())
    return Drawing(
        posterior_fig.chains(tree, "mu", "location mu", style),
        alt=(
            "Traces of the location for every chain of NUTS against the draw. Lines stay near one of two levels, at about plus and minus "
            f"ten. Share of draws above zero, chain by chain: {shares}."
        ),
        caption=(
            f"Traces of {tree['posterior'].sizes['chain']} chains of NUTS, each begun near PyMC's initial point. Share of draws above zero, chain by chain: {shares}; "
            f"exactly it is {num(100 * float(case['exact/grid/share']), digits=3)}%."
        ),
    )


def _planes(results: xr.DataTree, style: Style) -> Drawing:
    panels = []
    for name, columns, labels in (("ridge", (0, 1), ("a", "b")), ("faithful", (1, 2), ("first mean", "second mean"))):
        case = case_of(results, name)
        fits = case["fits"].to_dataset()
        role = "exact" if "exact" in case.children else "smc"
        cloud = case[f"{role}/unconstrained_posterior/x"].to_numpy()
        chain = case["nuts/unconstrained_posterior/x"].to_numpy()[0]
        ellipses = []
        for k in range(fits.sizes["fit"]):
            f = fits.isel(fit=k)
            label, how = str(f["fit"].item()), str(f["how"].item())
            wanted = how == "exact" if "exact" in case.children else (how == "advi" or label == "forward: MLE on SMC")
            if wanted:
                mean, cov = f["mean"].to_numpy()[list(columns)], f["cov"].to_numpy()[np.ix_(columns, columns)]
                ellipses.append(posterior_fig.Ellipse(str(f["role"].item()), mean, cov, thin="mean field" in label))
        grid = None
        if "exact" in case.children:
            exact = case["exact/grid"].to_dataset()
            grid = exact["x"].to_numpy(), exact["mass"].to_numpy()
        points = cloud.reshape(-1, cloud.shape[-1])[:, columns]
        panels.append(
            posterior_fig.Plane(case.attrs["title"], labels, points[:1000], chain[:, columns], ellipses, grid)
        )
    return Drawing(
        posterior_fig.planes(panels, style),
        alt=(
            "Two panels. Left: two curved ridges, mirror images of each other, filled grey; a wide dashed blue ellipse around both and small "
            "dotted orange ellipses on the bend of each. Right: two small clouds of points, the two ways to label the components; a dashed "
            "blue ellipse around both and small dotted orange ellipses on each. Large dots, one chain of NUTS, lie on one side."
        ),
        caption=(
            "Left: the posterior of two parameters of which the data know the product (regions with 50% and 90%, exact). Right: the means of two "
            "components of Old Faithful's eruptions (grey: draws by SMC). Strong dots: one chain of NUTS. Ellipses hold 90% of the Normals fitted by "
            "[forward]{.forward} and [reverse]{.reverse} KL (thin: mean field)."
        ),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def _short(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0.000"


def _exact_share(case: xr.DataTree, name: str) -> float:
    if "exact" in case.children:
        return float(case["exact/grid/share"])
    share = next(c for c in CASES if c.name == name).exact_share
    assert share is not None, "a case without a grid has a symmetry"
    return share


def _case_findings(name: str, case: xr.DataTree) -> dict[str, Any]:
    fits, sources = case["fits"].to_dataset(), case["sources"].to_dataset()
    column, exact_share = int(case.attrs["column"]), _exact_share(case, name)
    rows = []
    if "exact" in case.children:
        grid = case["exact/grid"].to_dataset()
        rows.append(
            _row(
                "exact posterior", float(grid["mean"][column]), float(np.sqrt(grid["cov"][column, column])), exact_share
            )
        )
    for source in sources["source"].to_numpy():
        at = sources.sel(source=source)
        rows.append(_row(str(source), float(at["mean"]), float(at["sd"]), float(at["share"])))
    for k in range(fits.sizes["fit"]):
        f = fits.isel(fit=k)
        role, label = str(f["fit"].item()).split(": ", 1)
        rows.append(
            _row(
                f"[{role}]{{.{role}}}, {label}",
                float(f["mean"][column]),
                float(np.sqrt(f["cov"][column, column])),
                float(f["share"]),
            )
            | {
                "covered": f"{100 * float(f['covered']):.0f}" if np.isfinite(f["covered"]) else None,
                "kl_forward": float(f["kl_forward"]) if np.isfinite(f["kl_forward"]) else None,
                "kl_reverse": Estimate(float(f["kl_reverse"]), float(f["kl_reverse_error"]), "quadrature")
                if np.isfinite(f["kl_reverse"])
                else None,
                "runs": int(f["runs"]) if f["runs"] else None,
            }
        )
    shares = case["shares/share"].to_numpy()
    stuck = int(((shares < STUCK) | (shares > 1 - STUCK)).sum())
    advi = fits.isel(fit=np.flatnonzero((fits["how"] == "advi").to_numpy()))
    return {
        "title": case.attrs["title"],
        "parameter": case.attrs["parameter"],
        "side": case.attrs["side"],
        "rows": rows,
        "exact_share": exact_share,
        "chains": len(shares),
        "stuck": stuck,
        "chain_shares": ", ".join(f"{100 * s:.0f}" for s in shares),
        "r_hat": float(case["shares/r_hat"]),
        "smc_share": float(sources["share"].sel(source="SMC")),
        "nuts_share": float(sources["share"].sel(source="NUTS, all chains")),
        "optima": advi.sizes["fit"],
        "runs": int(advi["runs"].sum()),
        "converged": int(advi["converged"].sum()),
        "gap": float(np.nanmax(advi["gap"])) if np.isfinite(advi["gap"]).any() else None,
        "stopped": int((advi["gap"] > TOLERANCE).sum()),
        "gap_sentence": _gap_sentence(advi),
        "chain_sentence": _chain_sentence(shares, exact_share, float(case["shares/r_hat"]), case.attrs["side"]),
        "smc_sentence": _smc_sentence(sources, exact_share, case.attrs["side"]),
        "fit_sentence": _fit_sentence(fits, column, case),
    }


def _row(label: str, mean: float, sd: float, share: float) -> dict[str, Any]:
    return {
        "source": label,
        "mean": _short(mean),
        "sd": _short(sd),
        "share": f"{100 * share:.0f}",
        "covered": None,
        "kl_forward": None,
        "kl_reverse": None,
        "runs": None,
    }


def _gap_sentence(advi: xr.Dataset) -> str:
    """How near to exact minima the distinct ends of ADVI are."""
    gaps = advi["gap"].to_numpy()
    if not np.isfinite(gaps).all():
        return ""
    stopped = gaps > TOLERANCE
    if stopped.all():
        text = ""
    else:
        text = f"The distinct ends of ADVI at minima are within {num(max(float(gaps[~stopped].max()), 0.0), digits=1)} nats of them. "
    if not stopped.any():
        return text.strip()
    converged = int((advi["converged"].to_numpy()[stopped] > 0).sum())
    text += f"{int(stopped.sum())} of the {len(gaps)} ends {'is' if stopped.sum() == 1 else 'are'} at no minimum"
    return text + (
        ", though counted as converged: near a saddle the loss is flat, and little is left to gain along its gradient."
        if converged
        else "."
    )


def _chain_sentence(shares: Array, exact: float, r_hat: float, side: str) -> str:
    stuck = int(((shares < STUCK) | (shares > 1 - STUCK)).sum())
    listed = ", ".join(f"{100 * s:.0f}" for s in shares)
    text = f"The share of draws with {side} is {listed}% in the {len(shares)} chains of NUTS, where {100 * exact:.0f}% would be right. "
    if not stuck:
        return text + "Every chain has been on both sides."
    text += f"{stuck} of them stayed on one side. "
    if stuck == len(shares) and len(np.unique(shares > 0.5)) == 1:
        return text + f"All on the same one, so that R-hat ({r_hat:.2f}) has nothing to compare."
    if stuck == len(shares):
        return text + (
            f"R-hat ({r_hat:.2f}) says so, because chains differ, but their pooled draws give each mode the share of the *starts*, not of the "
            "posterior, and one chain alone gives no sign."
        )
    return text + f"R-hat is {r_hat:.2f}."


def _smc_sentence(sources: xr.Dataset, exact: float, side: str) -> str:
    at = sources.sel(source="SMC")
    share, n = float(at["share"]), int(at["n"])
    text = f"Sequential Monte Carlo with {n:,} particles comes from the prior and finds {100 * share:.0f}% with {side}"
    if min(share, 1 - share) < STUCK:
        return text + ": it has lost a mode on the way."
    # Particles that descend from few ancestors scatter more than independent draws do.
    expected = np.sqrt(exact * (1 - exact) / n)
    if abs(share - exact) > 4 * expected:
        return text + (
            f", where {100 * exact:.0f}% would be right: further off than independent draws would be ({100 * expected:.1f} points of standard "
            "error), since particles share ancestors. It has both modes, but their weights want more particles or several runs."
        )
    return text + f", where {100 * exact:.0f}% would be right."


def _fit_sentence(fits: xr.Dataset, column: int, case: xr.DataTree) -> str:
    """What each direction reports of one parameter."""
    forward = fits.isel(fit=0)
    how = fits["how"].to_numpy()
    reverse = fits.isel(
        fit=np.flatnonzero(
            (how == ("exact" if "exact" in case.children else "advi")) & (fits["role"] == "reverse").to_numpy()
        )
    )
    sds = np.sqrt(reverse["cov"].to_numpy()[:, column, column])
    means = reverse["mean"].to_numpy()[:, column]
    sd = float(np.sqrt(forward["cov"][column, column]))
    parameter = case.attrs["parameter"]
    text = (
        f"[Forward]{{.forward}} KL reports {parameter} as {_short(float(forward['mean'][column]))} ± {_short(sd)}, covering "
        f"{100 * float(forward['covered']):.0f}% of the posterior"
    )
    listed = "; ".join(f"{_short(m)} ± {_short(s)}" for m, s in zip(means, sds, strict=True))
    covered = reverse["covered"].to_numpy()
    low, high = (f"{100 * float(v):.0f}" for v in (covered.min(), covered.max()))
    between = f"{low}%" if low == high else f"{low} to {high}%"
    text += f"; [reverse]{{.reverse}} KL as {listed}, covering {between}."
    narrow = sds < 0.5 * sd
    if narrow.any():
        text += (
            " Forward KL gives a mean between the modes with an uncertainty that spans them; "
            + ("the others are each" if narrow.all() else f"{int(narrow.sum())} of the {len(sds)} others are")
            + " the answer of one mode, with the uncertainty within it."
        )
    if narrow.any() and not narrow.all():
        text += f" Reverse KL has a broad minimum as well (sd {'; '.join(_short(v) for v in sds[~narrow])})."
    return text


def findings(results: xr.DataTree) -> dict[str, Any]:
    """Every number that the report states.

    Parameters
    ----------
    results : xarray.DataTree
        From `run`.

    Returns
    -------
    dict
        One entry per model, with ``question`` and ``answer``.
    """
    cases = {name: _case_findings(name, case) for name, case in results.children.items()}
    exact = case_of(results, "cauchy")["fits"].to_dataset()
    forward_sd = float(np.sqrt(exact["cov"].isel(fit=0)[0, 0]))
    reverse = exact.isel(
        fit=np.flatnonzero((exact["how"] == "exact").to_numpy() & (exact["role"] == "reverse").to_numpy())
    )
    sds = np.sqrt(reverse["cov"].to_numpy()[:, 0, 0])
    stuck, chains = (sum(case[key] for case in cases.values()) for key in ("stuck", "chains"))
    answer = (
        f"The location of a Cauchy given two pairs of observations has an exact posterior sd of {num(forward_sd, digits=3)}, which forward KL "
        f"reports; reverse KL reports {' or '.join(num(float(s), digits=2) for s in sds)}, depending on the start. Forward KL needs draws from "
        f"everywhere, and a sampler may not deliver them: of {chains} chains of NUTS on three models {stuck} stayed on one side. ADVI from "
        "several starts, with its fits mixed, gives what no single run gives; sequential Monte Carlo had draws in both modes of "
        f"{sum(STUCK < c['smc_share'] < 1 - STUCK for c in cases.values())} of the {len(cases)} models."
    )
    return {
        "question": QUESTION,
        "answer": answer,
        "settings": json.loads(results.attrs["settings"]),
        "level": LEVEL,
        **cases,
        "n_faithful": len(load_column("old_faithful_eruptions")[::3]),
        "stuck": stuck,
        "chains": chains,
        "log_z": {
            name: Estimate(float(case["exact/grid/log_z"]), float(case["exact/grid/log_z_error"]), "quadrature")
            for name, case in results.children.items()
            if "exact" in case.children
        },
        "mixtures": _mixture_rows(results),
        "mixture_sentence": _mixture_sentence(_mixture_rows(results)),
        "runs": sum(c["runs"] for c in cases.values()),
        "converged": sum(c["converged"] for c in cases.values()),
    }


def _mixture_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether mixing repairs what single fits lack, and what it cannot repair."""
    known = [r for r in rows if r["mixture"] is not None and r["optima"] > 1]
    parts_ = []
    if known and all(r["mixture"] < r["single"] for r in known):
        parts_.append("In forward KL, which counts what is missed, mixing several fits gains wherever it is known.")
    elif known:
        parts_.append("In forward KL, which counts what is missed, mixing several fits does not gain everywhere.")
    alone = [f"{r['model']}, {r['fits']}" for r in rows if r["optima"] == 1]
    if alone:
        parts_.append(f"For {' and '.join(alone)} the starts led to one optimum, and there was nothing to mix.")
    short = [r for r in known if r["mixture"] > r["forward"]]
    if short:
        names = " and ".join(
            f"{r['model']}, {r['fits']} ({num(r['mixture'], digits=3)} against {num(r['forward'], digits=3)})"
            for r in short
        )
        parts_.append(
            f"The mixtures stay behind the single Normal of the forward optimum for {names}: each fit is narrower than its mode, and "
            "mixing adds modes, not width."
        )
    return " ".join(parts_)


def _mixture_rows(results: xr.DataTree) -> list[dict[str, Any]]:
    """Mixtures of ADVI fits beside the best single one, by forward KL where it is known, and by the share of the first mode."""
    rows = []
    for name, case in results.children.items():
        fits = case["fits"].to_dataset()
        labels = [str(v) for v in fits["fit"].to_numpy()]
        for k in np.flatnonzero((fits["how"] == "combined").to_numpy()):
            prefix = labels[k].removesuffix("mixture")
            singles = [i for i, label in enumerate(labels) if label.startswith(f"{prefix}ADVI")]
            mixture = float(fits["kl_forward"][k])
            rows.append(
                {
                    "model": case.attrs["title"],
                    "fits": prefix.removeprefix("reverse: ").strip(", ") or "Normal",
                    "optima": len(singles),
                    "single": float(fits["kl_forward"][singles].min()) if np.isfinite(mixture) else None,
                    "mixture": mixture if np.isfinite(mixture) else None,
                    "forward": float(fits["kl_forward"][0]) if np.isfinite(mixture) else None,
                    "reverse_single": float(fits["kl_reverse"][singles].min()) if np.isfinite(mixture) else None,
                    "reverse": Estimate(
                        float(fits["kl_reverse"][k]), float(fits["kl_reverse_error"][k]), "quasi-Monte Carlo"
                    )
                    if np.isfinite(mixture)
                    else None,
                    "share": f"{100 * float(fits['share'][k]):.0f}",
                    "exact": f"{100 * _exact_share(case, name):.0f}",
                }
            )
    return rows
