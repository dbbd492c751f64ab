"""What the values of one column are: counts, shares, angles, amounts; rounded, repeated or piled up; and so which families to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.own_data.ties import FEW, tied, times
from models.families import FAMILIES, Family
from models.unknown import rounding_unit

__all__ = ["COMPONENTS", "REAL", "SEVERAL", "Chart", "Singular", "Values", "default_families", "untried", "values_of"]

Array = NDArray[np.float64]

#: Families on the whole line; for several columns jointly; and where values are positive, may be zero, are shares, or counts.
REAL = ("normal", "laplace", "logistic", "student_t", "skew_normal", "normal_mixture(2)", "normal_mixture(3)")
SEVERAL = ("mvnormal", "mvnormal_diag", "mvnormal_mixture(2)")
#: Columns up to which mixtures are tried unasked: their parameters grow with the square, and leave-one-out with more.
COMPONENTS = 8
_POSITIVE = ("lognormal", "gamma", "weibull", "exponential", "half_normal", "inverse_gamma", "wald", "pareto")
_NOT_NEGATIVE = ("exponential", "half_normal")
#: With a probability of zero: beside densities they compare only where zero is an atom, which no density has.
_HURDLES = ("hurdle_lognormal", "hurdle_gamma")
_SHARES = ("beta", "kumaraswamy", "uniform")
_COUNTS = ("poisson", "negative_binomial")
_MANY_ZEROS = ("zero_inflated_poisson", "zero_inflated_negative_binomial")
#: The largest value, and the fewest rows with each, up to which a probability for every value is tried.
_CATEGORIES, _EACH = 12, 2
_FLAT = 4.0  # standard deviations that values of an even spread range over at most: they have 3.5, a Normal's have 5 and more
#: Ends of a circle: degrees and radians, from zero and around it.
_CIRCLES = ((0.0, 360.0), (-180.0, 180.0), (0.0, 2 * np.pi), (-np.pi, np.pi))
_HOLDING = _CIRCLES[::-1]
_AROUND = 0.8  # of a circle that angles reach over
_ENDS = 0.01  # share of the rows near each end of a circle of radians
_COARSE = 0.15  # radians, to which angles are rounded at most
_APART = 5.0  # times as many whole degrees near one end as near the other, at most: the two are neighbours on a circle
#: A value is an atom if this share of the rows has it, so many times what its neighbours lead to expect.
_ATOM, _ABOVE = 0.01, 8.0
_HEAPS = 3  # more such values are heaps of rounding
_STEPPED, _STEPS = 20, 5  # rows, and different values among them, that all multiples of a step are no chance of counts


@dataclass(frozen=True)
class Chart:
    """The map y = (x - shift) / stretch to the points of a family, around a circle if there is a period.

    Attributes
    ----------
    shift, stretch : float
    period : float
        Of x; 0 for a line.
    """

    shift: float = 0.0
    stretch: float = 1.0
    period: float = 0.0

    def __call__(self, x: Array) -> Array:
        """Points y of values x."""
        if self.period:
            x = np.mod(x + self.period / 2, self.period) - self.period / 2
        return x if self == Chart() else (x - self.shift) / self.stretch

    def back(self, y: Array) -> Array:
        """Values x of points y, on a line."""
        return y if self == Chart() else self.shift + self.stretch * y

    def __str__(self) -> str:
        if self.period:
            return "x in radians" if self.stretch != 1 else "x"
        return "x" if self == Chart() else f"x / {self.stretch:g}"


@dataclass(frozen=True)
class Singular:
    """Mass that no density has.

    Attributes
    ----------
    kind : str
        ``value``, ``counts``, ``ties`` (few values, which all rows share) or ``relation``.
    columns : tuple of str
        Nothing if there is one only.
    share : float
        Of the rows.
    told : str
        The value, or the relation, as it is written; how rows are tied; nothing for counts.
    """

    kind: str
    columns: tuple[str, ...]
    share: float
    told: str = ""

    @property
    def rounded(self) -> bool:
        """Whether rounding may have made it, so that ``--jitter`` spreads it."""
        return self.kind in ("counts", "ties")

    def __str__(self) -> str:
        where = f" in column {self.columns[0]!r}" if self.columns else ""
        if self.kind == "counts":
            return f"the counts{where} have all their mass on whole numbers"
        if self.kind == "ties":
            return f"{self.told}{where}"
        if self.kind == "value":
            return f"{self.share:.1%} of the rows are exactly {self.told}{where}, an atom"
        return f"{self.share:.1%} of the rows have exactly {self.told}"


@dataclass(frozen=True)
class Values:
    """What one column holds, or what several have that no joint density has.

    Attributes
    ----------
    kind : str
        ``counts``, ``whole numbers`` (of which each appears many times), ``shares``, ``angles``, ``positive``, ``not negative`` or ``real``.
    low, high : float
        Ends of the support that the kind suggests.
    unit : float
        That values are rounded to; 0 for none.
    atoms : tuple of (float, float)
        Values that stand apart from their neighbours in number, and their share of the rows.
    families : tuple of str
        To try.
    notes : tuple of str
    circle : tuple of (float, float), optional
        Ends of the circle that the values lie on; if they are no angles, one that a family of angles could take them for.
    top : float
        What shares are parts of: 1 or 100; 0 if values are above 100 or below zero.
    singular : tuple of Singular
        Of several columns, or the ties of one.
    copies : int
        How many times every row is there.
    tied : str
        How many rows have the value of another, where these are too many for a density to be told, and the values too many for atoms.
    """

    kind: str
    low: float
    high: float
    unit: float
    atoms: tuple[tuple[float, float], ...] = ()
    families: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    circle: tuple[float, float] | None = None
    top: float = 0.0
    singular: tuple[Singular, ...] = ()
    copies: int = 1
    tied: str = ""

    @property
    def untold(self) -> str:
        """Why rows tell no density; empty if they do."""
        if self.copies > 1:
            return f"nearly every row is there {self.copies} times, and neighbours of a row are its copies"
        return self.tied and f"{self.tied}, as of rounded measurements, and tell no density; --jitter spreads them"

    @property
    def discrete(self) -> bool:
        """Whether probabilities stand in the place of densities."""
        return self.kind in ("counts", "whole numbers")

    @property
    def piled(self) -> tuple[tuple[float, float], ...]:
        """Atoms that no family on offer has: those elsewhere than at zero."""
        return tuple(atom for atom in self.atoms if atom[0] != 0 or self.low != 0)

    def lacking(self, jitter: bool) -> tuple[Singular, ...]:
        """Mass that no family on offer has, so that the KL to all is infinite; counts are rounded values if they are to be jittered."""
        piled = () if jitter and self.discrete else self.piled
        own = tuple(Singular("value", (), share, f"{value + 0.0:g}") for value, share in piled)
        return own + tuple(part for part in self.singular if not (jitter and part.rounded))

    def chart(self, family: Family) -> Chart:
        """The map from these values to the points of a family with two ends: angles to radians, and shares to parts of one."""
        domain = family.domain
        if family.dim != 1 or domain.whole or not np.isfinite(domain.low + domain.high):
            return Chart()
        if domain.low < 0:
            period = 0.0 if self.circle is None else self.circle[1] - self.circle[0]
            return Chart(0.0, period / (domain.high - domain.low), period) if period else Chart()
        return Chart(0.0, self.top) if self.top and domain.low == 0 else Chart()

    def taken_for(self, family: Family) -> str | None:
        """What a family takes the values for that they do not seem to be; None if nothing."""
        chart = self.chart(family)
        if chart.period and self.kind != "angles" and self.circle is not None:
            unit = "degrees" if chart.stretch != 1 else "radians"
            return f"the values are taken for angles in {unit}, {self.circle[0]:.4g} to {self.circle[1]:.4g}"
        if chart.stretch != 1 and not chart.period and self.kind != "shares":
            return f"the values are taken for shares of {chart.stretch:g}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = asdict(self) | {"atoms": [{"value": v, "share": s} for v, s in self.atoms]}
        return found | {end: found[end] if np.isfinite(found[end]) else None for end in ("low", "high")}


def default_families(dim: int, values: Values | None = None) -> tuple[str, ...]:
    """Names of the families to try for so many columns, of such values."""
    if dim > COMPONENTS:
        return SEVERAL[:2]
    return SEVERAL if dim > 1 else REAL if values is None else values.families


def untried(chosen: Sequence[str], x: Array, values: Values) -> list[str]:
    """Names of the other families whose support holds values (n,) as they are.

    Examples
    --------
    >>> x = np.array([0.5, 1.5, 2.0, 7.0, 9.5])
    >>> found = untried(["normal"], x, values_of(x))
    >>> "gumbel" in found, "normal" in found, "poisson" in found, "beta" in found
    (True, False, False, False)
    """
    zero = any(value == 0 for value, _ in values.atoms)
    return [
        f.name
        for f in FAMILIES.values()
        if f.dim == 1
        and f.name not in chosen
        and (
            f.domain.whole == values.discrete
            or values.kind == "whole numbers"
            or (values.unit == 1 and f.name in _COUNTS)
        )
        and (f.atom is None or zero)
        and values.taken_for(f) is None
        and f.domain.holds(values.chart(f)(x)).all()
    ]


def values_of(x: Array) -> Values:
    """Say what one column of values (n,) is.

    Counts are whole numbers from zero on that come so near to it that a density would spill over; whole numbers farther away are
    judged both as counts and as rounded.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values_of(rng.poisson(3, 200)).kind, values_of(rng.lognormal(size=200)).kind, values_of(rng.normal(size=200)).kind
    ('counts', 'positive', 'real')
    """
    x = np.asarray(x, dtype=float)
    found = _kind(x)
    zero = tuple(atom for atom in found.atoms if atom[0] == 0)
    counts = np.unique(x[x != 0] if zero else x, return_counts=True)[1]
    counts = np.maximum(counts // times(counts), 1)
    if not found.discrete and (ties := tied(counts)) is not None:
        few = len(counts) <= FEW
        found = replace(
            found, atoms=zero, singular=(Singular("ties", (), *ties),) if few else (), tied="" if few else ties[1]
        )
    low, high = float(x.min()), float(x.max())
    circle = (
        (found.low, found.high)
        if found.kind == "angles"
        else next((c for c in _HOLDING if c[0] <= low and high <= c[1]), None)
    )
    if found.kind != "angles" and 0 <= low < 1 and 23 < high <= 24:
        told = "if the values are hours of a day they lie on a circle: write them as degrees, 15 an hour, and von_mises is tried"
        found = replace(found, notes=(*found.notes, told))
    return replace(found, circle=circle, top=0.0 if low < 0 or high > 100 else 1.0 if high <= 1 else 100.0)


def _kind(x: Array) -> Values:
    """What the values (n,) seem to be."""
    low, high, spread = float(x.min()), float(x.max()), float(x.std())
    distinct, counts = np.unique(x, return_counts=True)
    counts = np.maximum(counts // times(counts), 1)  # copies of the whole are no ties
    n = int(counts.sum())
    unit = rounding_unit(x)
    step = _step(distinct, n)
    whole = bool((x == np.rint(x)).all()) and low >= 0 and len(distinct) < n / 2 and not step
    circle = next((c for c in _CIRCLES if _is_circle(x, c, unit)), None)
    if whole and low <= spread and not (circle is not None and _closes(x, circle)):
        return _counts(x, low, counts)
    atoms = _atoms(distinct, counts, n, unit)
    notes = [f"whole numbers, all multiples of {step}: taken for measurements rounded to it, not for counts"] * bool(
        step
    )
    mixtures = () if atoms else REAL[-2:]
    flat = ("uniform",) if not atoms and high - low <= _FLAT * spread else ()
    line = (*REAL[:-2], *mixtures, *flat)
    from_zero = (*_NOT_NEGATIVE, *(_HURDLES if any(value == 0 for value, _ in atoms) else ()))
    if circle is not None:
        hint = "; if they are counts, name families of counts with --families" if whole else ""
        notes.append(
            f"the values look like angles: they lie between {circle[0]:.4g} and {circle[1]:.4g}, all around{hint}"
        )
        amounts = _POSITIVE if low > 0 else ()
        return Values("angles", *circle, unit, atoms, ("von_mises", *amounts, *line), tuple(notes))
    share = low >= 0 and (high <= 1 or (high <= 100 and high > 80))
    inside = share and low > 0 and high < (1 if high <= 1 else 100)
    if share and not (whole and low > 0 and not atoms):
        line = tuple(name for name in line if not (inside and name in _SHARES))
        families = (*(_SHARES if inside else ()), *(_POSITIVE if low > 0 else from_zero), *line)
        if not inside:
            notes.append("values on the ends of their range leave out the families between the ends, such as beta")
        return Values("shares", 0.0, 1.0 if high <= 1 else 100.0, unit, atoms, families, tuple(notes))
    if low > 0:
        # Marks out of a hundred and ages alike: families between the ends are tried, but nothing says that there is an upper one.
        kind, more = (
            ("whole numbers", (*_COUNTS, *_narrow(x), *(_SHARES if inside else ()))) if whole else ("positive", ())
        )
        line = tuple(name for name in line if name not in more)
        return Values(kind, 0.0, np.inf, unit, atoms, (*_POSITIVE, *more, *line), tuple(notes))
    if low == 0:
        return Values("not negative", 0.0, np.inf, unit, atoms, (*from_zero, *line), tuple(notes))
    return Values("real", -np.inf, np.inf, unit, atoms, line, tuple(notes))


def _counts(x: Array, low: float, counts: NDArray[np.intp]) -> Values:
    families = [*_COUNTS, *(_MANY_ZEROS if low == 0 else ("geometric",)), *_narrow(x)]
    if x.max() <= 1:
        families = ["bernoulli"]
    elif x.max() <= _CATEGORIES and counts.min() >= _EACH:
        families.append("categorical")
    if np.ptp(x) <= _FLAT * x.std() and x.max() > 1:
        families.append("discrete_uniform")
    note = f"whole numbers from {'zero' if low == 0 else f'{low:g}'} on: taken for counts, whose families have probabilities in the place of densities"
    return Values("counts", 0.0, np.inf, 1.0, (), tuple(families), (note,))


def _narrow(x: Array) -> tuple[str, ...]:
    """Families of counts with an upper end, where these vary less than Poisson's."""
    return ("binomial",) if x.var() < x.mean() else ()


def _step(distinct: Array, n: int) -> int:
    """The step above 1 that all of so many whole values from zero on are multiples of; 0 for none."""
    if n < _STEPPED or len(distinct) < _STEPS or distinct[0] < 0 or distinct[-1] > 2.0**53:
        return 0
    step = int(np.gcd.reduce(distinct.astype(np.int64))) if (distinct == np.rint(distinct)).all() else 1
    return step if step > 1 else 0


def _is_circle(x: Array, ends: tuple[float, float], unit: float) -> bool:
    """Whether values lie within a circle and reach around it; around one of radians, which much else fits, to both ends in number.

    Radians are not rounded to more than a few degrees: whole and half numbers are counts, marks or ratings.
    """
    width = ends[1] - ends[0]
    if x.min() < ends[0] or x.max() > ends[1] or np.ptp(x) < _AROUND * width:
        return False
    near = [(np.abs(x - end) < 0.05 * width).mean() for end in ends]
    return bool(width > 7 or (min(near) > _ENDS and unit < _COARSE))


def _closes(x: Array, ends: tuple[float, float]) -> bool:
    """Whether about as many values lie near one end of a circle as near the other, which the tail of counts does not."""
    low, high = (int((np.abs(x - end) < 0.05 * (ends[1] - ends[0])).sum()) for end in ends)
    return 0 < max(low, high) <= _APART * min(low, high)


def _atoms(distinct: Array, counts: NDArray[np.intp], n: int, unit: float) -> tuple[tuple[float, float], ...]:
    """Values that so many rows have that neither rounding nor chance explains it; of zero, at the end, two rows are too many."""
    found = []
    for i in np.flatnonzero(
        (counts >= max(_ATOM * n, 5)) | ((distinct == 0) & (distinct == distinct[0]) & (counts > 1))
    ):
        near = np.abs(distinct - distinct[i]) <= 5 * unit if unit else np.zeros(len(distinct), dtype=bool)
        near[i] = False
        expected = counts[near].sum() / 5 if distinct[i] in (distinct[0], distinct[-1]) else counts[near].sum() / 10
        alone = distinct[i] == 0 and i == 0 and expected == 0
        if alone or counts[i] > _ABOVE * (expected + 1) or (unit == 0 and counts[i] > _ABOVE):
            found.append((float(distinct[i]), float(counts[i] / n)))
    return tuple(found) if len(found) <= _HEAPS else ()
