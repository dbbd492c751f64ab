"""What maximum likelihood is taken of: data that can be used, standardised, with priors; and where to start on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.families import Family
from models.graphs import Deferred
from models.projections.maximum import Problem
from models.projections.objectives import Objective, bind, differentiate, forward_graph
from models.projections.units import Units
from models.quadrature import Nodes

if TYPE_CHECKING:
    from models.mle.priors import Prior

pm = Deferred("pymc")

__all__ = [
    "FIND_MAP",
    "Sample",
    "advice",
    "check_count",
    "check_data",
    "check_family",
    "check_weights",
    "is_condensed",
    "unbounded",
]

Array = NDArray[np.float64]

_COUNTED = 2.0**53
#: Above this many observations find_MAP is left out.
FIND_MAP = 100_000


@dataclass(frozen=True, eq=False)
class Sample:
    """What is fitted: data as given, and standardised as nodes."""

    data: Array
    family: Family
    units: Units
    rule: Nodes
    share: Array
    priors: Mapping[str, Prior]
    method: str

    @property
    def dim(self) -> int:
        """Dimension of a point."""
        return self.data.shape[1]

    @property
    def total(self) -> float:
        """Sum of the weights: what the number of observations is without weights."""
        return float(self.share.sum())

    def log_prior(self, natural: Mapping[str, Any]) -> Any:
        """Symbolic log density of the parameters of the data, given those of the standardised data."""
        return sum(prior.logp(self.units.symbolic(name, natural[name])) for name, prior in self.priors.items())

    @property
    def problem(self) -> Problem:
        """What is searched for its maximum."""
        if not self.priors:
            return Problem(self.units.family, self.rule)
        return Problem(
            self.units.family, self.rule, penalised=self.objective, box=_bounds(self), unit=_lengths(self),
            bound=frozenset(self.priors), more=lambda starts: _starting_points(self, starts),
        )  # fmt: skip

    def objective(self, rule: Nodes) -> Objective:
        """Mean negative log likelihood of standardised points, minus log prior / n."""
        family = self.units.family

        def build() -> Any:
            theta, weights, points, value = forward_graph(family, self.dim)
            penalty = self.log_prior(family.natural(theta, self.dim)) / self.total
            return theta, value - penalty, [points, weights], ()

        functions = differentiate("penalised likelihood", None, build, batched=False)
        return bind(functions, rule.points if family.multivariate else rule.points[:, 0], rule.weights)

    def model(self) -> Any:
        """PyMC model of the standardised data; priors enter as a potential, in the units of the data."""
        positive = self.share[self.share > 0]
        model = self.units.family.model(self.rule.points, positive * (len(positive) / self.total))
        if self.priors:
            with model:
                pm.Potential("log_prior", self.log_prior({name: model[name] for name in self.priors}))
        return model


def is_condensed(family: Family, n: int, weights: ArrayLike | None) -> bool:
    """Whether the score is a polynomial of degree 2 in x, so that the sandwich needs four moments of the data only."""
    return family.degree == 2 and not family.multivariate and n > FIND_MAP and weights is None


# --- what is refused -------------------------------------------------------------------------------------------------


def check_family(family: Any) -> None:
    """Refuse what is no `Family`, such as its name.

    Raises
    ------
    InputError
    """
    if not isinstance(family, Family):
        name = family if isinstance(family, str) else "normal"
        raise InputError(
            f"family is {family!r:.60}, not a Family; give one such as FAMILIES[{name!r}] of models.families"
        )


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse an option that is no integer of at least `least`.

    Raises
    ------
    InputError
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {value!r}; it must be an integer of at least {least}")


def check_data(data: Array, family: Family, priors: Mapping[str, Prior]) -> None:
    """Refuse fewer observations (n, d) than the family has parameters, or fewer distinct ones than components.

    Raises
    ------
    InputError
    """
    n, dim = data.shape
    if family.domain.whole and np.abs(data).max() > _COUNTED:
        row = int(np.argmax(np.abs(data).max(axis=1)))
        raise InputError(
            f"observation {row + 1} is {data[row, 0]:.10g}, and floats beyond {_COUNTED:.10g} are not all whole numbers; use a "
            f"family of densities instead of {family.name!r}"
        )
    # A proper prior says as much about a coordinate as an observation does.
    known = sum(p.size(dim) for p in family.parameters if p.name in priors and priors[p.name].proper)
    if n + known < family.size(dim):
        raise InputError(
            f"there are {n} observations but family {family.name!r} has {family.size(dim)} free parameters; give at least as "
            "many (of positive weight), or proper priors in fit_map"
        )
    k = family.components
    if k > 1 and len(np.unique(data[:10_000], axis=0)) < k and (distinct := len(np.unique(data, axis=0))) < k:
        raise InputError(
            f"the data have {distinct} distinct values but family {family.name!r} has {k} components; use fewer components"
        )


def check_weights(weights: ArrayLike | None, n: int) -> Array:
    """Return weights as floats (n,); ones if there are none.

    Raises
    ------
    InputError
        For weights that are not n non-negative finite numbers with a positive sum.
    """
    if weights is None:
        return np.ones(n)
    try:
        raw = np.asarray(weights)
        share = raw.astype(float).ravel() if raw.dtype.kind in "fiu" else np.array([float("nan")])
    except (TypeError, ValueError):
        raw, share = np.asarray("ragged"), np.empty(0)
    if raw.dtype.kind not in "fiu" or np.ma.isMaskedArray(weights):
        raise InputError(f"weights is {weights!r:.60}; give one non-negative number for each of the {n} observations")
    if len(share) != n:
        raise InputError(f"there are {len(share)} weights but {n} observations; give one weight for each")
    with np.errstate(over="ignore"):
        total = share.sum()
    if not np.isfinite(share).all() or (share < 0).any() or total <= 0:
        row = int(np.argmax(~np.isfinite(share) | (share < 0)))
        raise InputError(f"weights[{row}] is {share[row]:g}; weights must be non-negative and finite, and not all zero")
    if not 1e-150 < total < 1e150:
        row = int(np.argmax(share))
        raise InputError(f"weights[{row}] is {share[row]:g} and the sum {total:g}; divide the weights by their mean")
    return share


def unbounded(sample: Sample, ends: int) -> str:
    """Say why there is no maximum where every one of `ends` starts collapsed, and what would help."""
    flat = [p.name for p in sample.family.parameters if p.name not in sample.priors or not sample.priors[p.name].proper]
    what = f"{sample.method} of {sample.family.name} on {len(sample.data)} observations is unbounded"
    part, fewer = ("a component", "fewer components") if sample.family.components > 1 else ("it", "another family")
    why = f"from all {ends} starts {part} collapsed on single observations"
    scale = str(sample.family.scale)
    if sample.method != "MAP":
        return f"{what}: {why}; use {fewer}, or fit_map with a prior on {scale}"
    if scale not in flat:
        return f"{what}: {why}; use {fewer}, or a prior on {scale!r} that vanishes at 0"
    kind = f"{sample.priors[scale].kind}, a flat one" if scale in sample.priors else "flat"
    return (
        f"{what}: {why}, where the prior on {scale!r} is {kind}; give a proper one that vanishes at 0, such as "
        "pm.InverseGamma.dist(3, 1)"
    )


def advice(sample: Sample) -> str:
    """Say what may have kept a search from its maximum."""
    if sample.method != "MAP":
        return "the likelihood may be unbounded or a parameter may run to its boundary"
    flat = [p.name for p in sample.family.parameters if p.name not in sample.priors or not sample.priors[p.name].proper]
    named = f"the prior is flat on {', '.join(flat)}" if flat else "the priors and the likelihood disagree"
    return f"{named}; the posterior may be unbounded or a parameter may run to its boundary"


# --- where to start --------------------------------------------------------------------------------------------------


def _starting_points(sample: Sample, starts: list[Array]) -> list[Array]:
    """Starts from the data; and with proper priors, the same with those parameters at their prior medians."""
    family, dim = sample.units.family, sample.dim
    moved = []
    for start in starts:
        theta = start.copy()
        for p, part in family.slices(dim):
            prior = sample.priors.get(p.name)
            if prior is not None and prior.middle is not None and family.components == 1:
                theta[part] = sample.units.unconstrained(p.name, prior.middle)
        for p, part in family.slices(dim):
            # A location far from the data wants a scale to reach them.
            if p.name == family.scale and p.name not in sample.priors and p.support == "positive" and family.location:
                away = max(abs(theta[q]).max() for r, q in family.slices(dim) if r.name == family.location)
                theta[part] += np.log(np.hypot(1.0, away)) * (family.components == 1)
        moved.append(theta)
    low, high = _bounds(sample)
    return [_inside(theta, low, high) for theta in [*starts, *moved]]


def _inside(theta: Array, low: Array, high: Array) -> Array:
    """The nearest point a little inside of the bounds: at the edge itself a density may be zero."""
    bounded = np.isfinite(low) & np.isfinite(high)
    room = np.where(bounded, 0.05 * (np.where(bounded, high, 1.0) - np.where(bounded, low, 0.0)), 0.1)
    return np.minimum(np.maximum(theta, low + room), high - room)


def _bounds(sample: Sample) -> tuple[Array, Array]:
    """Ends (P,) of each coordinate of theta: those of the supports of the priors."""
    family, dim = sample.units.family, sample.dim
    low, high = np.full(family.size(dim), -np.inf), np.full(family.size(dim), np.inf)
    for p, part in family.slices(dim):
        if p.name in sample.priors and p.support != "simplex":
            prior = sample.priors[p.name]
            ends = [
                np.resize(sample.units.unconstrained(p.name, v), part.stop - part.start)
                for v in (prior.low, prior.high)
            ]
            # Inside by more than rounding, where the density is still finite.
            for side, e, sign in ((low, ends[0], 1), (high, ends[1], -1)):
                side[part] = np.where(np.isfinite(e), e + sign * 1e-12 * (1 + np.abs(np.nan_to_num(e))), e)
    return low, high


def _lengths(sample: Sample) -> Array:
    """Length of each coordinate of theta: 1 in standardised data, or the width of a narrower prior."""
    family, dim = sample.units.family, sample.dim
    unit = np.ones(family.size(dim))
    for p, part in family.slices(dim):
        prior = sample.priors.get(p.name)
        if prior is not None and prior.width and prior.middle is not None and p.support in ("real", "positive"):
            ends = [sample.units.unconstrained(p.name, prior.middle + s * prior.width) for s in (0, 1)]
            width = np.abs(ends[1] - ends[0])
            unit[part] = np.minimum(1.0, np.where(np.isfinite(width) & (width > 0), width, 1.0))
    return unit
