"""One graded sentence about an approximation, that a modeller can act on; it never claims that all modes were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.own_model.leaves_open import Open, listed, opened, settled
from models.own_model.modes import Image

__all__ = ["Evidence", "Grade", "Verdict", "at_a_limit", "judge", "settled", "wanting", "written_k_hat"]

Grade = Literal["adequate", "too narrow", "missed mode", "label switching", "flat direction", "improper", "cannot tell"]

_NARROW, _WIDE = 0.9, 1.1  # sd ratios, and
_ERRORS = 2.0  # standard errors of the reference, by which these limits, and the next, must be passed to be a fault
_FACTOR = 5.0  # between sds, from which on it is said as such
_SHIFT = 0.2  # a mean off by this many sds, that a user would want to know of
_MISSED = 0.02  # of the mass, that a missed mode must hold at least
_IMAGES = {
    "labels": ("labels exchanged", "order them (an ordered transform)"),
    "signs": ("signs turned", "fix a sign (one loading positive, say)"),
}


@dataclass(frozen=True)
class Verdict:
    """A grade, and the sentence that says why."""

    grade: Grade
    sentence: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a verdict is made of.

    Attributes
    ----------
    at_rest : bool
        Whether the lowest optimum is.
    optimum_verdict, flattest : str
        Of the lowest optimum: what its own evidence says, and the direction in which the loss curves least.
    eigenvalue : float
        Curvature of the loss in that direction, in units of the Fisher information.
    cut : bool
        Whether the budget ended the search.
    starts : int
        That were tried.
    k_hat, k_hat_response, k_hat_repair : float
    mixed : bool
        Whether the repair is the mixture of all optima, and not the lowest alone, than which the mixture is then no nearer.
    saved : str
        What stands for the posterior: see `models.own_model.mixture.best`.
    missed : (float, float, float), optional
        Mass of the modes that the lowest optimum does not cover, with its 95 % interval.
    images : {"labels", "signs"}, optional
        What is exchanged or turned, if these modes are the covered ones but for that.
    modes, covered : int
    reference : str, optional
        Its method; ``None`` where there is none.
    reasons : tuple of str
        Why the reference is none, or why there is none.
    comparison : xarray.Dataset
        From `models.own_model.moments.compare`, with ``ADVI`` and, where it can be had, ``linear response``.
    bounds : xarray.Dataset, optional
        ``mean_error`` and ``sd_factor`` by (optimum, variable), where there is no reference: see `models.own_model.short_chains.LowerBounds`.
    of_one : xarray.Dataset, optional
        As `comparison`, with those draws of the reference only that are in the modes which the lowest optimum covers.
    ridge : int
        Places where ascents and optima ended that a ridge joins (see `models.own_model.ridges.joined`).
    lacks : (float, float, float), optional
        Share of the posterior where the mixture of all optima has next to nothing: see `models.own_model.mixture.judged`.
    jumps : sequence of str
        Unknowns along which the log density jumps (see `models.own_model.jumps.jumping`); looked for where the lowest optimum is not at rest.
    """

    at_rest: bool
    optimum_verdict: str
    flattest: str
    eigenvalue: float
    cut: bool
    starts: int
    k_hat: float
    k_hat_response: float
    k_hat_repair: float
    mixed: bool
    saved: str
    missed: tuple[float, float, float] | None
    images: Image | None
    modes: int
    covered: int
    reference: str | None
    reasons: Sequence[str]
    comparison: xr.Dataset
    bounds: xr.Dataset | None = None
    of_one: xr.Dataset | None = None
    ridge: int = 0
    lacks: tuple[float, float, float] | None = None
    jumps: Sequence[str] = ()


def judge(evidence: Evidence) -> Verdict:
    """Grade the lowest optimum of reverse KL, which is what ADVI reports when it goes well.

    Returns
    -------
    Verdict
        ``adequate`` only where the reference leaves the sd of no variable open (see `models.own_model.leaves_open`), and none beyond a limit. ``too narrow`` where an sd is below 0.9 of
        the reference's by more than two of its standard errors, whatever else is wrong, and the sentence counts all that is: but ``cannot
        tell`` where the reference leaves even a mean open, as that of an improper posterior does. An optimum that is only too wide, or only off in its
        means, has no grade of its own: it is ``cannot tell``, which claims nothing untrue, with a sentence that tells.
    """
    e = evidence
    if not e.at_rest:
        return _not_at_rest(e)
    if e.missed is not None and e.missed[0] >= _MISSED and not e.missed[1] <= 0:
        found = _missed(e)
    elif e.reference is None or e.reasons:
        found = _untold(e)
    else:
        found = _widths(e)
    if not e.ridge:
        return found
    return replace(
        found,
        sentence=f"{found.sentence}; the {e.ridge} places where ascents and optima ended are no separate modes: a ridge joins them, along which the density is level, "
        "and ADVI lies on a part of it; what the data and priors leave open there, fix or leave out of the model",
    )


def _not_at_rest(e: Evidence) -> Verdict:
    if "flat" in e.optimum_verdict:
        return Verdict(
            "flat direction",
            f"the ELBO does not change along {e.flattest}: the data leave it open, and so do the priors there, if it has any; give it a prior, or a narrower one, or fix it",
        )
    if e.optimum_verdict == "saddle":
        return Verdict(
            "cannot tell",
            f"cannot tell: the highest ELBO found is that of a saddle, which is at rest but from where the ELBO rises along {e.flattest} "
            f"(curvature {e.eigenvalue:.2g}, where a maximum of the ELBO has a positive one); more seconds will not move it, more starts or "
            f"another initial value may{_usable(e)}",
        )
    remedy = (
        "give more seconds"
        if e.cut
        else "the search ended there, and more seconds will not help; reparametrise the model"
    )
    if e.jumps:
        remedy = (
            f"the log density jumps along {listed(e.jumps)}, as where an unknown is compared with numbers, and its slope, which a search follows, tells nothing of "
            "that; sum over the cases, or let them pass into one another (a sigmoid)"
        )
    return Verdict(
        "cannot tell", f"cannot tell: the lowest optimum is not at rest ({e.optimum_verdict}); {remedy}{_usable(e)}"
    )


def _usable(e: Evidence) -> str:
    """That there is a reference to be used, where nothing is said of the optimum."""
    if e.reference is None or e.reasons or opened(e.comparison, e.reference).endless.any():
        return ""
    saved = ", which are saved as the posterior" if e.saved == "reference" else ""
    return f"; use the draws of the reference ({e.reference}){saved}"


def _missed(e: Evidence) -> Verdict:
    assert e.missed is not None
    unsure = " by a reference that may not be relied on" if np.isnan(e.missed[1]) else ""
    share = f"{_percent(e.missed)} of the mass found{unsure}"
    if e.images is not None:
        done, remedy = _IMAGES[e.images]
        one, are = ("the other", "is") if e.modes - e.covered == 1 else ("the others", "are")
        return Verdict(
            "label switching",
            f"ADVI covers {e.covered} of {e.modes} modes found, and {one} ({share}) {are} the same with {done}: what does not depend on {e.images} "
            f"can be read off one of them{_of_one(e)}; {remedy} to have one mode",
        )
    which = "a mode" if e.modes - e.covered == 1 else f"{e.modes - e.covered} modes"
    if not e.mixed:
        remedy = f"the mixture of all optima is no nearer to the posterior: {_instead(e)}"
    elif e.lacks is not None and e.k_hat_repair < 0.7:
        remedy = f"the mixture of all optima lacks {_percent(e.lacks)} of the mass, having next to nothing where draws of the reference ({e.reference}) are: {_instead(e)}"
    elif e.saved == "mixture" and e.k_hat_repair < 0.7:
        remedy = "the mixture of all optima has it (its posterior is saved)"
    else:
        remedy = f"the mixture of all optima does not repair it (its k-hat is {written_k_hat(e.k_hat_repair)}): {_instead(e)}"
    return Verdict("missed mode", f"ADVI misses {which} holding {share}; {remedy}")


def _percent(share: tuple[float, float, float]) -> str:
    """A share with its interval, where that is one to a percent."""
    value, low, high = (f"{100 * part:.0f}" for part in share)
    return f"{value} %" if np.isnan(share[1]) or low == high else f"{value} % [{low}, {high}]"


def _of_one(e: Evidence) -> str:
    """Whether the widths about one mode hold, by the draws of the reference there."""
    if e.of_one is None:
        return ", as far as its widths hold, of which no reference tells"
    there = _widths(replace(e, comparison=e.of_one, modes=1))
    if there.grade == "cannot tell":
        return ", as far as its widths hold, of which the draws of the reference there are too few to tell"
    return f", as far as its widths hold: there {there.sentence}"


def _instead(e: Evidence) -> str:
    """What to use where the mixture is no repair."""
    if e.reference is None:
        return "give more seconds, for a reference"
    if e.reasons:
        return f"nor may the reference ({e.reference}) be relied on: {'; '.join(e.reasons)}; give more seconds, or write the model in another parametrisation"
    left = opened(e.comparison, e.reference)
    if left.endless.any():
        return f"nor may other draws be relied on: {left.said()}"
    return "use the draws of the reference"


def _untold(e: Evidence) -> Verdict:
    why = "; ".join(e.reasons) or "no reference could be had in the budget"
    remedy = "give more seconds, or write the model in another parametrisation" if e.reasons else "give more seconds"
    if shown := _shown(e.bounds):
        return Verdict("cannot tell", f"cannot tell how far ADVI is off: {why}; {remedy}. But {shown}")
    if e.k_hat < 0.5 and e.modes <= 1:
        return Verdict(
            "cannot tell",
            f"cannot tell: {why}; {remedy}. By its own draws the approximation is good (ADVI's k-hat is {written_k_hat(e.k_hat)}), which says nothing of what they do not reach",
        )
    return Verdict("cannot tell", f"cannot tell: {why}; {remedy}")


def _shown(bounds: xr.Dataset | None) -> str:
    """What short chains from the lowest optimum show of its errors; empty if that is nothing."""
    if bounds is None:
        return ""
    one = bounds.isel(optimum=0)
    names, factor, moved = (one[name].to_numpy() for name in ("variable", "sd_factor", "mean_error"))
    found = []
    if (factor != 1).any():
        worst = int(np.argmax(np.abs(np.log(factor))))
        most = "at least" if factor[worst] > 1 else "at most"
        found.append(
            f"the sd of {names[worst]} is {most} {factor[worst]:.2f} times ADVI's (sds off: {(factor != 1).sum()} of {len(names)})"
        )
    if (moved != 0).any():
        worst = int(np.argmax(np.abs(moved)))
        found.append(
            f"the mean of {names[worst]} is off by at least {abs(moved[worst]):.2f} of ADVI's sds (means off: {(moved != 0).sum()} of {len(names)})"
        )
    return f"short chains from ADVI show, with 95 % confidence, that {' and '.join(found)}" if found else ""


def _widths(e: Evidence) -> Verdict:
    table = e.comparison
    row = table.sel(approximation="ADVI")
    ratio = np.nan_to_num(row["sd_ratio"].to_numpy(), nan=np.inf, posinf=np.inf)
    shift = np.abs(row["mean_shift"].to_numpy())
    left = opened(table, e.reference)
    names, known = left.names, left.known
    narrow, wide, moved = (known & fault for fault in _faults(row))
    off = narrow | wide | moved
    if not off.any():
        return _agreeing(e, left)
    faults = {"too narrow": narrow, "too wide": wide, "off in the mean": moved}
    said = _counted({fault: mask for fault, mask in faults.items() if mask.any()}, left)
    badness = np.fmax(np.abs(np.log(np.where(off, ratio, 1.0))), np.where(off, shift, 0.0))
    worst = int(np.argmax(badness))
    if not badness[worst] <= shift[worst]:
        way = "underestimates" if ratio[worst] < 1 else "overestimates"
        wrong = f"{way} the sd of {names[worst]} {_by(ratio[worst])}"
        remedy = _response(e, names[worst], known, moved=bool(moved.any()))
    else:
        wrong = f"has the mean of {names[worst]} off by {shift[worst]:.1f} sds"
        remedy = f"linear response keeps the means: use the draws of the reference ({e.reference})"
    at_worst = "at worst it" if off.sum() > 1 else "it"
    found = f"ADVI is {said}; {at_worst} {wrong}"
    if left.endless.any():
        return Verdict("cannot tell", f"cannot tell: {left.said()}; by the same draws, {found}")
    but = "; ".join(part for part in (left.said(), left.aside()) if part)
    return Verdict(
        "too narrow" if narrow.any() else "cannot tell", f"{found}; {remedy}" + (f"; but {but}" if but else "")
    )


def _by(ratio: float) -> str:
    """How far an sd is off: 100 % less would read as nothing left of it."""
    factor = max(ratio, 1 / ratio) if ratio else np.inf
    if not np.isfinite(factor):
        return "without bound"
    return f"by {100 * abs(ratio - 1):.0f} %" if factor < _FACTOR else f"by a factor of {factor:,.{int(factor < 10)}f}"


def _faults(row: xr.Dataset) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Of which variables (v,) one approximation is too narrow, too wide, or off in the mean: by more than the errors of the reference."""
    ratio = np.nan_to_num(row["sd_ratio"].to_numpy(), nan=np.inf, posinf=np.inf)
    with np.errstate(all="ignore"):
        sd_error, mean_error = (
            _ERRORS * (row[name] / row["reference_sd"]).to_numpy() for name in ("reference_sd_se", "reference_mean_se")
        )
        moved = np.abs(row["mean_shift"].to_numpy()) > _SHIFT + mean_error
        return ratio * (1 + sd_error) < _NARROW, ratio * (1 - sd_error) > _WIDE, moved


def _counted(faults: Mapping[str, NDArray[np.bool_]], left: Open) -> str:
    """Faults with the numbers of variables that have them, the unknowns first."""
    count = int((left.known | left.left).sum())
    if count == 1:
        return " and ".join(faults)
    [(first, mask), *others] = faults.items()
    if not others and count == mask.sum():
        return f"{first} for {_all(left)}"
    shown = [f"{fault} for {mask.sum()}" for fault, mask in faults.items()]
    return " and ".join(shown) + f" of {_variables(left)}"


def _variables(left: Open) -> str:
    """How many variables there are to judge, and how many of these are unknowns."""
    among = left.known | left.left
    free = int((among & left.unknown).sum())
    computed = "" if free in (0, among.sum()) else f" ({free} unknown, the others computed from these)"
    return f"{among.sum()} variables{computed}"


def _agreeing(e: Evidence, left: Open) -> Verdict:
    """No fault was found: adequate, unless the reference leaves something open."""
    limit = left.known & at_a_limit(e.comparison)
    near = f"means within {_SHIFT} sd, sds within 10 % of the reference"
    aside = f"; but {left.aside()}" if left.aside() else ""
    if not (left.left | limit).any():
        only_found = "" if e.modes <= 1 else f", over the {e.modes} modes found"
        shown = f"as far as {e.starts} starts and the reference ({e.reference}) show"
        return Verdict("adequate", f"ADVI is adequate for {_all(left)}{only_found}, {shown}: {near}{aside}")
    unsure = [left.said()] if left.left.any() else []
    if limit.any():
        unsure.append(
            f"for {listed(left.names[limit])} ADVI is farther from the reference ({e.reference}) than 10 % in the sd, or {_SHIFT} sd in the mean, but by no "
            "more than two standard errors of the reference; more seconds (--budget) give it more draws"
        )
    agrees = left.known & ~limit
    others = f"; ADVI agrees for {left.tally(agrees)}: {near}" if agrees.any() else ""
    return Verdict("cannot tell", f"cannot tell: {'; and '.join(unsure)}{others}{aside}")


def at_a_limit(comparison: xr.Dataset) -> NDArray[np.bool_]:
    """For which variables (v,) ADVI is beyond a limit of what is adequate, be it by less than the errors of the reference."""
    row = comparison.sel(approximation="ADVI")
    ratio, shift = row["sd_ratio"].to_numpy(), np.abs(row["mean_shift"].to_numpy())
    return np.asarray((ratio < _NARROW) | (ratio > _WIDE) | (shift > _SHIFT))


def wanting(comparison: xr.Dataset, reference: str) -> bool:
    """Whether more draws of a reference would tell what these do not: no fault is beyond its errors, and some variable is at a limit, or open for want of draws."""
    left = opened(comparison, reference)
    off = np.any(_faults(comparison.sel(approximation="ADVI")), axis=0)
    if (left.known & off).any() or left.endless.any() or left.heavy.any():
        return False
    return bool((left.few | (left.known & at_a_limit(comparison))).any())


def written_k_hat(k_hat: float) -> str:
    """To two digits, and above 1 no more than that: what a fit to a few distinct weights of a tail gives there is no shape of it."""
    return "> 1" if k_hat > 1 else f"{k_hat:.2f}"


def _all(left: Open) -> str:
    count = int((left.known | left.left).sum())
    return {1: "its only variable", 2: "both variables"}.get(count, f"all {_variables(left)}")


def _response(e: Evidence, name: str, known: NDArray[np.bool_], *, moved: bool) -> str:
    """What linear response makes of the sds, and whether to use it or the reference."""
    table = e.comparison
    instead = "use the draws of the reference"
    if "linear response" not in table["approximation"]:
        return f"linear response cannot be had there; {instead} ({e.reference})"
    row = table.sel(approximation="linear response")
    ratio = row["sd_ratio"].to_numpy()[known]
    good = int(
        ((ratio >= _NARROW) & (ratio <= _WIDE)).sum()
    )  # by the estimate: what only its error lets be within is not
    one = row.sel(variable=name)
    given = f"linear response gives it an sd of {float(one['sd']):.3g} where the reference ({e.reference}) has {float(one['reference_sd']):.3g}"
    if len(ratio) > 1:
        given += f", and is within 10 % for {good} of {len(ratio)}"
    flaws = [f"linear response's k-hat is {written_k_hat(e.k_hat_response)}"] if not e.k_hat_response < 0.7 else []
    flaws += ["it keeps the means"] if moved else []
    if good == len(ratio):
        return f"{given}, but {' and '.join(flaws)}: {instead}" if flaws else given
    return (
        f"{given} ({'; '.join(flaws)}): {instead}"
        if flaws
        else f"{given}: {'for the others ' if good else ''}{instead}"
    )
