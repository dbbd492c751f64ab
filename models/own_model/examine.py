"""Your own PyMC model: the optima of reverse KL, their true widths, and what they missed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from models.advi.dadvi import fit_dadvi
from models.advi.effort import draws_within, evaluations_within, looked_at
from models.advi.members import member, named_draws, normal_member
from models.advi.response import linear_response, response_sds, response_trusted
from models.advi.starts import Start, dispersed_starts
from models.errors import InputError
from models.families import FAMILIES
from models.graphs import single_threaded
from models.own_model.choosing import judged_whole, reference_of, run_longer
from models.own_model.comparison import forward_normal, kl_forward, kl_forward_fitted, kl_reverse, natural, nearer
from models.own_model.jumps import jumping
from models.own_model.masses import by_reference, masses
from models.own_model.mixture import HOLDS, Repair, Share, best, judged, repair, weighed
from models.own_model.modes import Image, Mode, ascend, assign, has, image, places, stand_in, unexplained
from models.own_model.moments import Moments, compare, of_normals, with_sds
from models.own_model.reference import Reference, by_tempering
from models.own_model.ridges import joined
from models.own_model.short_chains import LEAST_EVALUATIONS, lower_bounds
from models.own_model.spending import draws_kept, evenly, particles_within
from models.own_model.verdict import Evidence, judge
from models.quadrature import Estimate
from models.targets import Posterior, Target, from_model

__all__ = ["examine"]

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]

_ASCENTS, _WAVES = 24, 4
_DRAWS = 2000
_GOOD, _LOOKS = 0.5, 400  # k-hat and effective draws with which importance sampling may stand in for a reference
_NOTHING = 0.003  # of the mass, that a mode holds which is not worth a word
_FAINT = 8.0  # nats of evidence below the highest, at which a mode holds nothing, though Laplace's approximation be off by a nat or two
_EACH = 50  # draws of each quarter of those about one mode, that moments are taken of
_ELSEWHERE = 0.02  # of the mass, that other modes hold, of which the widths of one say nothing
_SLOW = 1e-3  # seconds, from which on what one evaluation takes is said
_EACH_COORDINATE = 10  # draws of a reference at least, for each coordinate
_SEARCH, _SEARCH_OF_ONE = 0.75, 0.5  # of the budget, at which the search for optima ends, and if one mode was met
_NUTS_SHARE, _NUTS_END = 0.6, 0.9  # of the budget: NUTS begins before, and ends there
_BOUNDED = 3  # optima, from which short chains begin


@single_threaded
def examine(
    model: Any,
    *,
    budget_s: float = 300.0,
    seed: int = 0,
    starts: int = 20,
    on_progress: Progress = lambda _what, _share: None,
) -> xr.DataTree:
    """Find the optima of reverse KL for a PyMC model, and say what ADVI would report, what it misses, and what repairs it.

    Parameters
    ----------
    model : pymc.Model
    budget_s : float
        Seconds in which searches and samplers end. Compiling the log density comes before; comparing what was found begins by then, and comes on top
        where they took all of it.
    seed : int
    starts : int
        Of the first wave of `models.advi.fit_dadvi`.
    on_progress : callable
        Told what begins, and which share of the work is done.

    Returns
    -------
    xarray.DataTree
        ``posterior``: draws of the repair (the mixture of all optima by posterior mass, or the lowest optimum alone where that is not nearer in reverse KL), or, where its
        k-hat is above 0.5, of the reference if there is one to be relied on (its attribute ``source`` says which; the repair is then in ``repair/posterior``), with the model's names, dims and coords, beside
        ``observed_data`` and ``constant_data``; ``optimum_k`` and ``restarts`` as from `models.advi.fit_dadvi`; ``linear_response/posterior``, of the lowest
        optimum; ``reference/posterior`` with ``method``, ``ok`` and ``reasons`` as attributes; ``comparison`` (see `models.own_model.moments.compare`) of
        ``ADVI``, ``linear response``, ``mixture`` and ``forward`` (the Normal that maximises the likelihood of the reference draws), with
        ``linear_response_trusted`` by variable (see `models.advi.response_trusted`; nowhere where other modes hold mass); ``divergences`` of
        each in both directions, in nats with errors; ``modes`` of the density (and optima where it has none) with their mass, and whether the lowest optimum covers them.
        Where no reference is to be relied on, ``lower_bounds`` by (optimum, variable): see `models.own_model.short_chains.LowerBounds`.
        Attributes: ``batched`` (1 where the whole data stand for minibatches), ``seconds_compiling``, ``grade``, ``sentence``, ``missed_mass`` with ``missed_lower`` and ``missed_upper`` (nan where nothing is known), ``ridge`` (places that one joins, see `models.own_model.ridges.joined`), ``warnings``.
        Beside ``linear_response_trusted`` stands ``sd_linear_response``, nan where there is none.

    Raises
    ------
    InputError
        If the model has no free or has discrete variables, or its density is finite at no start.
    ImproperError
        If its posterior is improper along a direction that was met.

    Notes
    -----
    A look around by tempered Hamiltonian Monte Carlo comes first; ascents from it and from dispersed starts give modes, at which descents of
    reverse KL start beside the usual ones. Then a reference: a grid for one or two unknowns where its cells are small enough, else PyMC's NUTS where one optimum and one mode were
    found (again where its diagnostics do not hold and there is time), the tempered populations themselves where there were several; importance sampling from the mixture of all optima and modes where that is
    no reference by its own diagnostics and k-hat is below 0.5 (Vehtari et al., 2024).
    """
    if not budget_s > 0:
        raise InputError(f"budget_s is {budget_s}; give a positive number of seconds")
    on_progress(f"compiling the model, before the budget of {budget_s:g} s begins", 0.0)
    called = time.monotonic()
    target = from_model(model)
    density = target.log_density
    target.natural(target.initial_point[None])
    begun = time.monotonic()

    def until(share: float) -> Callable[[], bool]:
        return lambda: time.monotonic() > begun + share * budget_s

    def left() -> float:
        return begun + _NUTS_END * budget_s - time.monotonic()

    cost = density.seconds(target.initial_point)
    on_progress("looking around" + f" (one evaluation of the density takes {1e3 * cost:.2g} ms)" * (cost > _SLOW), 0.1)
    dispersed = [np.asarray(s.mean) for s in dispersed_starts(target, _ASCENTS, seed)]
    modes = ascend(density, dispersed, stop=until(0.1))
    centre, sd = _wide(target, modes, dispersed)
    particles = particles_within(target, budget_s)
    look = None
    if particles:
        look = by_tempering(target, centre, sd, particles=particles, seed=seed, stop=until(0.4))
    if look is not None:
        modes = _from_draws(target, look.flat, modes, stop=until(0.45))
    on_progress("descending to the optima of reverse KL", 0.3)
    # Where one mode was met, NUTS comes next, which takes longer than what several need.
    seconds = max(1.0, begun + (_SEARCH if len(modes) > 1 else _SEARCH_OF_ONE) * budget_s - time.monotonic())
    draws = draws_kept(target, len(modes), _DRAWS)
    fit = fit_dadvi(target, starts=starts, also=_at_modes(modes), seed=seed, budget_s=seconds, draws=draws)
    count = sum(name.startswith("optimum_") for name in fit.children)
    on_progress("reference", 0.6)
    compiling = begun - called
    around = member(fit, 0).rvs(_DRAWS, seed).reshape(-1, target.dim) if look is None else look.flat
    reference = reference_of(target, look, around, count, modes, seed, until(_NUTS_SHARE), left, compiling)
    reference = judged_whole(target, run_longer(target, fit, reference, seed, left))
    on_progress("comparing", 0.9)
    modes, ridge = joined(density, places(density, modes, _stand_ins(target, fit, count)), stop=until(1.0))
    each = looked_at(budget_s)
    normals = _normals(target, fit, count, seed, each)
    found = _Found(
        target,
        fit,
        count,
        normals,
        modes,
        reference,
        seed,
        each,
        draws,
        lambda: begun + budget_s - time.monotonic(),
        ridge,
    )
    tree = found.tree()
    tree.attrs["seconds_compiling"] = compiling
    return tree


def _wide(target: Posterior, modes: Sequence[Mode], dispersed: Sequence[Array]) -> tuple[Array, Array]:
    """Centre and sds (d,) of a Normal that reaches over the prior, the starts and all modes found."""
    places = np.array([*dispersed, *(m.place for m in modes)])
    places = places[np.isfinite(places).all(axis=1)]
    low, centre, high = np.quantile(places, [0.16, 0.5, 0.84], axis=0)
    widths = [np.sqrt(np.square(m.factor).sum(axis=1)) for m in modes]
    local = np.max(widths, axis=0) if widths else np.zeros(target.dim)
    reach = np.ptp([m.place for m in modes], axis=0) if modes else np.zeros(target.dim)
    return centre, np.sqrt(((high - low) / 2) ** 2 + (4 * local) ** 2 + reach**2 + 1e-6)


def _from_draws(target: Posterior, points: Array, modes: Sequence[Mode], *, stop: Callable[[], bool]) -> list[Mode]:
    """Ascend from draws (n, d): from some of all, then from those that the modes found do not account for, until no more are met.

    A mode of 5 % of the mass has none among 24 draws of all in three runs of ten.
    """
    found, rows = list(modes), np.arange(len(points))
    for wave in range(_WAVES):
        chosen = rows[np.linspace(0, len(rows) - 1, min(_ASCENTS, len(rows))).astype(int)]
        before = len(found)
        found = ascend(target.log_density, points[chosen], found, stop=stop)
        if stop() or (wave > 0 and len(found) == before):
            break
        rows = unexplained(target.log_density, found, points)
        if not len(rows):
            break
    return found


def _at_modes(modes: Sequence[Mode]) -> list[Start]:
    return [
        Start(f"mode {i + 1}", m.place, sd=0.7 * np.sqrt(np.square(m.factor).sum(axis=1)))
        for i, m in enumerate(modes[:8])
    ]


def _normals(target: Posterior, fit: xr.DataTree, count: int, seed: int, seconds: float) -> list[tuple[Array, Array]]:
    """Mean and Cholesky factor of each optimum, by linear response where that is nearer in reverse KL beyond doubt."""
    found = []
    for k in range(count):
        own = member(fit, k)
        if np.isfinite(fit[f"optimum_{k}/fit/cov_linear_response"]).all():
            wide = linear_response(fit, k)
            own = wide if nearer(target, wide, own, seed=seed + 41, seconds=seconds) else own
        found.append(own.scales[0])
    return found


def _stand_ins(target: Posterior, fit: xr.DataTree, count: int) -> list[Mode]:
    """Optima at rest as modes, all of them as wide as linear response says, or none, so that they are compared alike."""
    fits = [(k, fit[f"optimum_{k}/fit"].to_dataset()) for k in range(count)]
    fits = [(k, data) for k, data in fits if bool(data["converged"])]
    wide = all(np.isfinite(data["cov_linear_response"]).all() for _, data in fits)
    optima = []
    for k, data in fits:
        mean, factor = (linear_response(fit, k) if wide else member(fit, k)).scales[0]
        with np.errstate(all="ignore"):
            height = float(target.log_density(mean[None])[0][0])
        optima.append(stand_in(mean, height, factor, -float(data["loss"]), member(fit, k).scales[0][1]))
    return optima


@dataclass(frozen=True, eq=False)
class _Found:
    """Optima, modes and a reference, from which all else follows."""

    target: Posterior
    fit: xr.DataTree
    count: int
    normals: Sequence[tuple[Array, Array]]  # of the repair, one for each optimum
    modes: Sequence[Mode]  # and optima where there is none
    reference: Reference | None
    seed: int
    each: float  # seconds that one look may take
    draws: int  # of each posterior that are saved
    left: Callable[[], float]  # seconds
    ridge: int = 0  # places that were no separate modes
    numbers: NDArray[np.intp] | None = None  # of the modes, among all that were found
    parts: Sequence[tuple[Array, Array]] = ()  # of the mixture, made of all of these

    def components(self) -> tuple[list[tuple[Array, Array]], Array, list[str]]:
        """Normals of the repair: optima (with linear response where it holds), then modes that none of them covers."""
        parts, guess, names = [], [], []
        missed = np.ones(len(self.modes), dtype=bool)
        for k in range(self.count):
            data = self.fit[f"optimum_{k}/fit"].to_dataset()
            if not bool(data["converged"]):
                continue
            parts.append(self.normals[k])
            guess.append(-float(data["loss"]))
            names.append(f"optimum {k}")
            missed &= ~np.array(self.covered(k), dtype=bool)
        for i, mode in enumerate(self.modes):
            if missed[i]:
                parts.append((mode.place, mode.factor))
                guess.append(mode.log_evidence)
                names.append(f"mode {i}")
        if not parts:
            parts, guess, names = [self.normals[0]], [0.0], ["optimum 0"]
        return parts, np.array(guess), names

    def covered(self, k: int = 0) -> list[bool]:
        """Whether an optimum covers each mode: by its own width or that of linear response, whichever does (see `has`)."""
        own = [
            has(self.modes, _drawn(*n, self.seed), self._mass())
            for n in (member(self.fit, k).scales[0], self.normals[k])
        ]
        return [one or other for one, other in zip(*own, strict=True)]

    @cached_property
    def _seen(self) -> Array:
        """Share (k,) of a reference in each mode."""
        assert self.reference is not None
        return np.array([s[0] for s in by_reference(self.reference, self._owner, len(self.modes))])

    def _owner(self, points: Array) -> NDArray[np.intp]:
        return assign(self.modes, points)

    def _mass(self) -> Array:
        """Share (k,) of the posterior in each mode: by a reference that is one, else by the evidence."""
        if self.reference is not None and self.reference.ok and self.modes:
            return self._seen
        evidence = np.array([m.log_evidence for m in self.modes])
        return np.asarray(np.exp(evidence - logsumexp(evidence))) if self.modes else np.empty(0)

    def masses(self, covered: Sequence[bool], how: Image | None, mended: Repair) -> tuple[Share | None, list[Share]]:
        """Mass of the modes that are not covered, and of each mode (see `models.own_model.masses.masses`): that of images of one mode is the same for each."""
        if not self.modes:
            return None, []
        count = len(covered)
        if how is not None and sum(covered) == 1:
            return (1 - 1 / count,) * 3, [(1 / count,) * 3] * count
        missed, each = masses(self._owner, ~np.array(covered), self.reference, mended)
        if all(covered):  # of a ridge an optimum covers a part, that no mode tells
            missed = None if self.ridge else (0.0, 0.0, 0.0)
        return missed, each

    def images(self, covered: Sequence[bool]) -> Image | None:
        """How each mode that is not covered is one that is: with labels exchanged, or with signs turned and no more; ``None`` if one is not."""
        kept = [m for m, c in zip(self.modes, covered, strict=True) if c]
        others = [m for m, c in zip(self.modes, covered, strict=True) if not c]
        found = {next((how for m in kept if (how := image(self.target, m, o))), None) for o in others}
        if not found or None in found:
            return None
        return "labels" if "labels" in found else "signs"

    def _of_one(
        self, covered: Sequence[bool], moments: dict[str, Moments], draws: dict[str, Array]
    ) -> xr.Dataset | None:
        """Approximations beside the draws of a reference in the modes that are covered; ``None`` where there are too few."""
        if self.reference is None or not self.reference.ok or all(covered):
            return None
        inside = self.reference.flat[np.array(covered)[assign(self.modes, self.reference.flat)]]
        each = len(inside) // 4
        if each < _EACH:
            return None
        looks = self.reference.looks * len(inside) / len(self.reference.flat)
        part = Reference(self.reference.method, inside[: 4 * each].reshape(4, each, -1), looks, ())
        return compare(self.target, moments, draws, part)

    def tree(self) -> xr.DataTree:
        """Put everything together; where the reference is none, importance sampling from the repair stands in if its weights hold."""
        parts, guess, names = self.components()
        mended = repair(self.target, parts, guess, seed=self.seed)
        weak = self.reference is None or not self.reference.ok
        found = replace(self, parts=parts)
        if weak and mended.k_hat < _GOOD and mended.looks > _LOOKS:
            points = mended.draws.reshape(4, -1, self.target.dim)
            found = replace(
                found, reference=judged_whole(self.target, Reference("importance", points, mended.looks, ()))
            )
        elif self.reference is not None and not weak:
            mended = self._beside(mended)
            if len(parts) > 1 and (self.reference.cells is not None or not mended.k_hat < HOLDS):
                mended = weighed(mended, parts, self.reference)
        return found._with_mass()._tree(mended, *found._made(mended, names))

    def _beside(self, mended: Repair) -> Repair:
        """The repair, judged by a reference that is one and was not drawn from it."""
        if self.reference is None or not self.reference.ok or self.reference.method == "importance":
            return mended
        most = draws_within(self.target.log_density, self.target.initial_point, self.each, 4000)
        return judged(self.target, mended, self.reference, most)

    def _made(self, mended: Repair, names: list[str]) -> tuple[Repair, list[str]]:
        """The repair and its components; the lowest optimum alone unless the mixture is nearer than that in reverse KL, beyond doubt."""
        alone = _as_target(self.normals[0])
        if names == ["optimum 0"] or nearer(self.target, mended.mixture, alone, seed=self.seed + 41, seconds=self.each):
            return mended, names
        return self._beside(repair(self.target, self.normals[:1], np.zeros(1), seed=self.seed)), ["optimum 0"]

    def _with_mass(self) -> _Found:
        """Without modes that hold next to nothing of a reference that is one; without one, of the evidence, by which less can be said."""
        if len(self.modes) < 2:
            return self
        if self.reference is not None and self.reference.ok:
            kept = self._seen > _NOTHING
        else:
            evidence = np.array([m.log_evidence for m in self.modes])
            kept = evidence > evidence.max() - _FAINT
        modes = [m for m, one in zip(self.modes, kept, strict=True) if one]
        return replace(self, modes=modes, numbers=np.flatnonzero(kept))

    def _tree(self, mixed: Repair, mended: Repair, names: Sequence[str]) -> xr.DataTree:
        """All that is reported: masses by the mixture of all optima and modes, draws of the repair that is made of it."""
        target, seed = self.target, self.seed
        covered = self.covered()
        # Of a grid that is a reference, to more digits than by the weights of the repair, whose k-hat may be too high.
        exact = self.reference is not None and self.reference.ok and self.reference.cells is not None
        by_cells = self.reference.log_evidence if self.reference is not None and exact else None
        evidence = by_cells or mixed.log_evidence
        how = self.images(covered)
        missed, each = self.masses(covered, how, mixed)
        members: dict[str, Target] = {"ADVI": member(self.fit, 0)}
        data = self.fit["optimum_0/fit"].to_dataset()
        if np.isfinite(data["cov_linear_response"]).all():
            members["linear response"] = linear_response(self.fit, 0)
        members["mixture"] = mended.mixture
        if self.reference is not None and (forward := forward_normal(self.reference.flat)) is not None:
            members["forward"] = forward
        draws = {
            name: m.rvs(_DRAWS, seed + 31 + i).reshape(-1, target.dim) for i, (name, m) in enumerate(members.items())
        }
        moves = data["node_moves"].to_numpy()
        moments = {
            name: of_normals(target, m, seed=seed, moves=moves if name == "ADVI" else None)
            for name, m in members.items()
        }
        if "linear response" in members:
            sds = response_sds(target, members["ADVI"], self._entries, seed=seed, seconds=self.each)
            moments["linear response"] = with_sds(moments["linear response"], sds)
        comparison = compare(target, moments, draws, self.reference)
        if "linear response" in members:
            one = missed is None or missed[0] < _ELSEWHERE
            trusted = one & response_trusted(target, self.fit, 0, self._entries, sds, seed=seed, seconds=self.each)
            comparison["linear_response_trusted"] = ("variable", trusted)
            comparison["sd_linear_response"] = ("variable", sds)
        bounds = self._bounds()
        found = Evidence(
            bool(data["converged"]), str(data["verdict"].item()), str(data["flattest"].item()), float(data["eigenvalue"]),
            not self.fit.attrs["complete"], int(self.fit.attrs["starts_tried"]), float(data["k_hat"]),
            float(data["k_hat_linear_response"]), mixed.k_hat, len(names) > 1, best(self.reference, mended, names), missed, how, len(self.modes), sum(covered),
            None if self.reference is None else self.reference.method,
            () if self.reference is None else self.reference.reasons, comparison, bounds, self._of_one(covered, moments, draws), self.ridge, mixed.lacks,
            () if bool(data["converged"]) else jumping(target, draws["ADVI"], seconds=self.each),
        )  # fmt: skip
        verdict = judge(found)
        result = self.fit.copy()
        result["posterior"] = xr.DataTree(dataset=self._best(mended, names, draws["mixture"][: self.draws]))
        if "linear response" in draws:
            linear = draws["linear response"][: self.draws]
            result["linear_response/posterior"] = xr.DataTree(dataset=_named(target, linear))
        del result["sample_stats"]
        result["comparison"] = xr.DataTree(dataset=comparison)
        result["divergences"] = xr.DataTree(dataset=self._divergences(members, evidence))
        result["modes"] = xr.DataTree(dataset=self._modes(covered, each))
        result["repair"] = xr.DataTree(
            dataset=xr.Dataset(
                {"weight": ("component", mended.weights), "weight_se": ("component", mended.weights_se), "k_hat": mixed.k_hat,
                 "log_evidence": evidence.value, "log_evidence_se": evidence.error,
                 **dict(zip(("lacks", "lacks_lower", "lacks_upper"), mended.lacks or (np.nan,) * 3, strict=True))},
                coords={"component": names},
            )
        )  # fmt: skip
        if result["posterior"].attrs["source"] == "reference":
            result["repair/posterior"] = xr.DataTree(dataset=_named(target, draws["mixture"]))
        if bounds is not None:
            result["lower_bounds"] = xr.DataTree(dataset=bounds)
        if self.reference is not None:
            result["reference/posterior"] = xr.DataTree(dataset=_chains(target, self.reference, self.draws))
            result["reference"].attrs = {"method": self.reference.method, "ok": int(self.reference.ok), "looks": self.reference.looks,
                                         "reasons": list(self.reference.reasons) or ""}  # fmt: skip
        nowhere = (float("nan"),) * 3
        value, lower, upper = missed if missed is not None else nowhere
        result.attrs = self.fit.attrs | {"grade": verdict.grade, "sentence": verdict.sentence, "missed_mass": value,
                                         "missed_lower": lower, "missed_upper": upper, "ridge": self.ridge, "batched": int(target.batched), "thinned": self.draws if self.draws < _DRAWS else 0}  # fmt: skip
        return result

    def _best(self, mended: Repair, names: Sequence[str], draws: Array) -> xr.Dataset:
        """Draws of the best that is known (see `models.own_model.mixture.best`)."""
        source = best(self.reference, mended, names)
        if self.reference is not None and source == "reference":
            return _chains(self.target, replace(self.reference, points=self.reference.chains), self.draws).assign_attrs(
                source=source
            )
        return _named(self.target, draws).assign_attrs(source=source)

    def _bounds(self) -> xr.Dataset | None:
        """What short chains from the optima show, where there is no reference to be relied on; the lowest optimum first."""
        if self.reference is not None and self.reference.ok:
            return None
        found = []
        for k in range(min(self.count, _BOUNDED)):
            if evaluations_within(self.target.log_density, self.target.initial_point, self.left()) < LEAST_EVALUATIONS:
                break
            one = lower_bounds(self.target, member(self.fit, k), seed=self.seed + 51 + k, stop=lambda: self.left() < 0)
            if one is None:
                break
            found.append(one)
        if not found:
            return None
        dims = ("optimum", "variable")
        columns = {
            name: (dims, [getattr(one, name) for one in found])
            for name in ("mean_error", "sd_factor", "correlation", "settled")
        }
        coords = {"optimum": np.arange(len(found)), "variable": found[0].names}
        return xr.Dataset(columns | {"moves": ("optimum", [one.moves for one in found])}, coords=coords)

    def _entries(self, points: Array) -> Array:
        return np.column_stack(list(natural(self.target, points).values()))

    def _divergences(self, members: dict[str, Target], log_evidence: Estimate) -> xr.Dataset:
        reverse = [
            kl_reverse(self.target, m, log_evidence, seed=self.seed + 41, seconds=self.each) for m in members.values()
        ]
        nowhere = Estimate(float("nan"), float("nan"), "draws")
        forward = [nowhere] * len(members)
        if self.reference is not None:
            looks, whole = self.reference.looks, self.reference.chains
            most = draws_within(self.target.log_density, self.target.initial_point, self.each, 4000)
            most = max(most, _EACH_COORDINATE * self.target.dim)  # to which a Normal can be fitted
            seen = evenly(self.reference.flat, most)
            chains = np.stack([evenly(chain, most // len(whole)) for chain in whole])
            forward = [kl_forward(self.target, m, seen, log_evidence, looks) for m in members.values()]
            if "forward" in members:  # which is fitted to these very draws
                forward[-1] = kl_forward_fitted(self.target, chains, log_evidence, looks)
        columns = {"reverse": reverse, "forward": forward}
        data = {name: ("approximation", [e.value for e in column]) for name, column in columns.items()}
        data |= {f"{name}_se": ("approximation", [e.error for e in column]) for name, column in columns.items()}
        return xr.Dataset(data, coords={"approximation": list(members)})

    def _modes(self, covered: Sequence[bool], shares: Sequence[Share]) -> xr.Dataset:
        places = np.array([m.place for m in self.modes]).reshape(-1, self.target.dim)
        return xr.Dataset(
            {
                "place": (("mode", "coordinate"), places),
                "height": ("mode", [m.height for m in self.modes]),
                "covered": ("mode", np.array(covered, dtype=bool)),
                **{
                    name: ("mode", np.array([s[i] for s in shares]))
                    for i, name in enumerate(("mass", "mass_lower", "mass_upper"))
                },
            },
            coords={
                "mode": np.arange(len(self.modes)) if self.numbers is None else self.numbers,
                "coordinate": self.target.coordinates,
            },
        )


def _drawn(mean: Array, factor: Array, seed: int) -> Array:
    """Draws (n, d) of a Normal."""
    return np.asarray(mean + np.random.default_rng([seed, 61]).standard_normal((_DRAWS, len(mean))) @ factor.T)


def _as_target(normal: tuple[Array, Array]) -> Target:
    mean, factor = normal
    return normal_member(FAMILIES["mvnormal" if len(mean) > 1 else "normal"], mean, factor @ factor.T)


def _named(target: Target, points: Array) -> xr.Dataset:
    found = named_draws(target, points)
    assert found is not None  # a posterior always has its variables
    return found


def _chains(target: Posterior, reference: Reference, draws: int) -> xr.Dataset:
    """Chains on the natural scale, thinned evenly where all draws would be too much to save."""
    points, most = reference.points, max(1, draws // len(reference.points))
    if draws < _DRAWS:
        points = np.stack([evenly(chain, most) for chain in points])
    parts = [_named(target, chain).assign_coords(chain=[i]) for i, chain in enumerate(points)]
    return xr.concat(parts, dim="chain")
