"""What the diagnostics of an approximation say when it has missed a mode, and how local fits are put together again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field
from scipy.stats import norm

from analysis.diagnosing_missed_modes import QUESTION
from analysis.diagnosing_missed_modes.prediction import N, run_prediction
from analysis.diagnosing_missed_modes.repair import LEVEL, REPAIRS, members_of, run_overlap, run_repair, two_modes
from analysis.judged import at_rest
from analysis.parts import Part, StudySettings, runner
from models.advi import Schedule, Start, combine, fit_advi
from models.advi.diagnostics import diagnose
from models.divergences import kl
from models.families import FAMILIES
from models.projections import forward_projection, minima, reverse_projections
from models.results import estimate_variables, member_of
from models.targets import Target

#: Draws of the fit that a diagnosis is made from.
SIZES = (1000, 4000, 100_000)
#: The size that single numbers refer to.
SIZE = 4000


class Settings(StudySettings):
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
    steps : int
        Of one round of ADVI.
    nats : float
        That a converged run of ADVI may still gain.
    separations : tuple of float
        Half the distance between equal modes, for the weights of overlapping fits.
    held_out : int
        New observations on which predictions are scored.
    draws : int
        Of every local fit, for its leave-one-out prediction.
    """

    distances: tuple[float, ...] = Field(default=(2, 4, 5, 6, 8, 10), min_length=2)
    repeats: int = Field(default=60, ge=2)
    large_repeats: int = Field(default=6, ge=2)
    starts: int = Field(default=12, ge=2)
    steps: int = Field(default=1000, ge=100)
    nats: float = Field(default=1e-3, gt=0)
    separations: tuple[float, ...] = Field(default=(2.5, 2.7, 3, 3.5, 6), min_length=2)
    held_out: int = Field(default=10_000, ge=100)
    draws: int = Field(default=1000, ge=100)

    quick: ClassVar = {
        "distances": (2, 4, 6, 8), "repeats": 40, "large_repeats": 2, "starts": 6, "steps": 300, "nats": 2e-3,
        "separations": (2.5, 3, 4, 6), "held_out": 2000, "draws": 500,
    }  # fmt: skip
    full: ClassVar = {
        "distances": tuple(np.linspace(2, 12, 41).tolist()), "repeats": 1000, "large_repeats": 100,
        "starts": 32, "separations": tuple(np.linspace(2.45, 7, 40).tolist()), "held_out": 100_000,
        "draws": 4000,
    }  # fmt: skip


# --- parts -----------------------------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Everything to compute."""
    s = settings.model_dump()
    effort: dict[str, Any] = {key: s[key] for key in ("seed", "starts")} | {"schedule": _schedule(settings)}
    repairs = [
        Part(f"repair_{r.name}", f"repair: {r.title}", {"target": dict(r.target.spec), "method": r.method, "settings": s},
             partial(run_repair, r.name, **effort), weight=6 if r.target.dim > 1 else 2)
        for r in REPAIRS
    ]  # fmt: skip
    overlap = partial(run_overlap, settings.separations, settings.seed)
    prediction = partial(run_prediction, draws=settings.draws, held_out=settings.held_out, **effort)
    return [
        Part("distance", "two modes further and further apart", {"settings": s}, partial(run_distance, settings), 10),
        Part("unseen", "every start near one mode", {"settings": s}, partial(run_unseen, settings)),
        Part("overlap", "weights of overlapping fits", {"settings": s}, overlap),
        *repairs,
        Part("prediction", "stacking", {"n": N, "settings": s}, prediction, 4),
    ]


#: ``distance``, ``unseen``: diagnoses (`judge`) of fits beside what they missed; ``repair_...``: local fits and their mixture;
#: ``overlap``: its weights; ``prediction``: fits weighted for prediction.
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
    mean, factor = member.scales[0]
    low, high = mean[0] + factor[0, 0] * norm.ppf((1 + LEVEL) / 2) * np.array([-1, 1])
    inside = [norm.cdf(high, m[0], s[0, 0]) - norm.cdf(low, m[0], s[0, 0]) for m, s in target.scales]
    return float(np.asarray(target.spec["weights"]) @ inside)


def _facts(target: Target, member: Target) -> xr.Dataset:
    """What a fit is, what it costs, and what it misses."""
    mean, factor = member.scales[0]
    facts = {"mean": mean[0], "sd": factor[0, 0], "covered": exact_cover(member, target)}
    return xr.Dataset(facts | estimate_variables("kl", kl(member, target)))


def _schedule(settings: Settings) -> Schedule:
    # What is left in means and sds goes with the root of what is left in nats, as in the default.
    return Schedule(steps=settings.steps, nats=settings.nats, relative=float(np.sqrt(settings.nats / 20)))


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
            facts = _facts(target, member).merge(
                judge(target, member, settings, stream, sizes).reindex(size=list(SIZES))
            )
            rows[name].append(facts)
    stacked = [xr.concat(r, "distance") for r in rows.values()]
    data = xr.concat(stacked, "fit").assign_coords(fit=list(rows), distance=list(settings.distances))
    return xr.DataTree(data)


def run_unseen(settings: Settings) -> xr.DataTree:
    """Several starts, none of which leads to the light mode: everything agrees, and 30% is missing."""
    target = two_modes(max(settings.distances))
    rng = np.random.default_rng([settings.seed, 11])
    starts = [Start(f"start {i + 1}", rng.uniform(-2, 2, 1), np.ones(1)) for i in range(settings.starts)]
    fit = fit_advi(target, starts=starts, seed=settings.seed, schedule=_schedule(settings), draws=2)
    members = members_of(fit, "normal")
    combined = combine(target, members, seed=settings.seed)
    data = _facts(target, members[0]).merge(judge(target, members[0], settings, 950, (SIZE,)))
    data = data.assign(
        optima=len(members),
        runs=len(starts),
        at_rest=bool(at_rest(fit["restarts"].to_dataset()).all()),
        distance=max(settings.distances),
        **estimate_variables("combined", kl(combined.mixture, target)),
    )
    return xr.DataTree(data)
