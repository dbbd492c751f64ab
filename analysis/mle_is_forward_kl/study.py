"""Maximum likelihood minimises forward KL: each line of the argument computed, and what a wrong family changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import ClassVar

import numpy as np
import xarray as xr
from pydantic import Field
from scipy.stats import norm

from analysis.draws import draw
from analysis.mle_is_forward_kl import QUESTION
from analysis.mle_is_forward_kl.fits import CASES, Case, excess, fit_many
from analysis.mle_is_forward_kl.lines import curves, products, smoothed, well_specified
from analysis.parts import Part, StudySettings, runner
from models.families import FAMILIES
from models.graphs import Deferred, single_threaded
from models.mle import Sandwich, fit_map, sandwich
from models.projections import Projection, forward_projection
from models.results import estimate_variables
from models.targets import TARGETS

# Imported when something is computed with it: drawing does not need it.
pm = Deferred("pymc")

LEVEL = 0.95
#: Standard errors on either side of an interval.
REACH = float(norm.ppf((1 + LEVEL) / 2))
#: Size of the data sets whose intervals are counted.
INTERVAL_N = 2000
#: Draws in the table of the product.
PRODUCT_N = 50
#: The prior on the mean in the comparison with MAP: mean and standard deviation.
PRIOR = (2.0, 0.5)

SIGMAS = np.linspace(1.5, 6.0, 4501)
_SMOOTHING_N = 1000
_WIDTHS = (1.0, 1e-1, 1e-2, 1e-4, 1e-6, 1e-8)

# Purposes of random streams.
_CURVES, _PRODUCT, _REPLICATIONS, _INTERVALS, _SMOOTHING, _MAP = range(6)


class Settings(StudySettings):
    """What the numbers depend on.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    largest : int
        Largest size of a data set.
    replications : int
        Data sets of each size, as many as `budget` allows.
    fewest : int
        Data sets of each size whatever the budget.
    budget : int
        Observations drawn for each size and case.
    intervals : int
        Data sets whose intervals are counted.
    """

    largest: int = Field(default=1_000_000, ge=30_000)
    replications: int = Field(default=2000, ge=20)
    fewest: int = Field(default=5, ge=5)
    budget: int = Field(default=1_000_000, ge=1000)
    intervals: int = Field(default=1000, ge=50)

    quick: ClassVar = {"largest": 100_000, "replications": 400, "budget": 200_000, "intervals": 400}
    full: ClassVar = {"replications": 10_000, "fewest": 100, "budget": 20_000_000, "intervals": 10_000}

    def sizes(self) -> list[int]:
        """Sizes of data sets, at least one in every power of ten."""
        return [n for n in (100, 300, 1000, 3000, 10_000, 100_000, 1_000_000) if n <= self.largest]

    def count(self, n: int) -> int:
        """How many data sets of size n."""
        return max(self.fewest, min(self.replications, self.budget // n))


def _rng(settings: Settings, case: str, purpose: int, n: int = 0) -> np.random.Generator:
    return np.random.default_rng([settings.seed, *case.encode(), purpose, n])


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    cases = [
        Part(c.name, c.title, {"case": asdict(c), "settings": s}, partial(run_case, c, settings), 4) for c in CASES
    ]
    title = "curves, products, smoothing, MAP, well-specified families"
    return [*cases, Part("lines", title, {"settings": s}, partial(run_lines, settings), weight=12)]


#: One child per case (see `run_case`), and ``lines`` (see `run_lines`).
run = runner(QUESTION, Settings, parts)


@single_threaded
def run_case(case: Case, settings: Settings) -> xr.DataTree:
    """Compute one case: the projection and its sandwich, and what maximum likelihood does on many data sets.

    Parameters
    ----------
    case : Case
    settings : Settings

    Returns
    -------
    xarray.DataTree
        ``projection``: the best member, what the sandwich and the Hessian say of n times the variance, and the trace.
        ``replications``: over ``n`` and ``replication`` the ``estimate``, its ``excess`` KL and its ``optimism``; ``nan``
        beyond the number of data sets of a size. ``intervals``: estimates with both standard errors.
    """
    best = forward_projection(case.target, FAMILIES[case.family])
    limit = sandwich(case.target, best)
    tree = {
        "projection": _projection(best, limit),
        "replications": _replications(case, best, settings, limit.labels),
    }
    rng = _rng(settings, case.name, _INTERVALS, INTERVAL_N)
    fits = fit_many(case, best, rng, INTERVAL_N, settings.intervals, intervals=True)
    tree["intervals"] = xr.Dataset(
        {
            name: (("replication", "parameter"), getattr(fits, name))
            for name in ("estimate", "se_hessian", "se_sandwich")
        },
        coords={"parameter": limit.labels},
    )
    result = xr.DataTree.from_dict(tree)
    result.attrs = {"short": case.short}
    return result


def _projection(best: Projection, limit: Sandwich) -> xr.Dataset:
    return xr.Dataset(
        {
            "best": ("parameter", [float(best.params[label]) for label in limit.labels]),
            **estimate_variables("kl", best.divergence),
            "se_sandwich": ("parameter", np.sqrt(np.diag(limit.covariance))),
            "se_hessian": ("parameter", np.sqrt(np.diag(limit.naive))),
            "trace": ((), limit.trace),
        },
        coords={"parameter": list(limit.labels)},
    )


def _replications(case: Case, best: Projection, settings: Settings, labels: Sequence[str]) -> xr.Dataset:
    sizes = settings.sizes()
    counts = [settings.count(n) for n in sizes]
    shape = (len(sizes), max(counts))
    estimate = np.full((*shape, len(labels)), np.nan)
    gain, optimism = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, (n, count) in enumerate(zip(sizes, counts, strict=True)):
        fits = fit_many(case, best, _rng(settings, case.name, _REPLICATIONS, n), n, count, intervals=False)
        estimate[i, :count], optimism[i, :count] = fits.estimate, fits.optimism
        gain[i, :count] = excess(case.target, best, fits.estimate)
    return xr.Dataset(
        {
            "estimate": (("n", "replication", "parameter"), estimate),
            "excess": (("n", "replication"), gain),
            "optimism": (("n", "replication"), optimism),
            "count": ("n", counts),
        },
        coords={"n": sizes, "parameter": list(labels)},
    )


def map_distances(settings: Settings) -> xr.Dataset:
    """How far MAP with a strong prior on the mean is from maximum likelihood, by the number of draws."""
    sizes = (1000, 10_000)  # each compiles graphs of its own
    x = draw(TARGETS["bimodal"], _rng(settings, "bimodal", _MAP), (max(sizes),))
    found = []
    for n in sizes:
        fit = fit_map(x[:n], FAMILIES["normal"], priors={"mu": pm.Normal.dist(*PRIOR)}, starts=1, draws=2)["fit"]
        found.append([float(fit["mu"]), float(fit["sigma"])])
    mle = np.array([[x[:n].mean(), x[:n].std()] for n in sizes])
    return xr.Dataset(
        {"map": (("n", "parameter"), np.array(found)), "mle": (("n", "parameter"), mle)},
        coords={"n": list(sizes), "parameter": ["mu", "sigma"]},
    )


def run_lines(settings: Settings) -> xr.DataTree:
    """Compute what needs no case: ``curves``, ``products``, ``smoothed``, ``map`` and ``well_specified``."""
    target = TARGETS["bimodal"]
    x = draw(target, _rng(settings, target.name, _PRODUCT), (1000,))
    y = draw(target, _rng(settings, target.name, _SMOOTHING), (_SMOOTHING_N,))
    return xr.DataTree.from_dict(
        {
            "curves": curves(target, _rng(settings, target.name, _CURVES)),
            "products": products(x, SIGMAS, PRODUCT_N),
            "smoothed": smoothed(y, _WIDTHS),
            "map": map_distances(settings),
            "well_specified": well_specified(),
        }
    )
