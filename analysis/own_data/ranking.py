"""Which family is closest: differences of KL with paired errors, the rows that carry them, and families that hold one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.own_data.judging import FEWEST
from analysis.own_data.weighing import shares_of, size_of, weighted_mean
from models.unknown import kl_difference

__all__ = ["CLOSE", "SAME", "contains", "ranked", "together"]

Array = NDArray[np.float64]
#: Nats between the leave-one-out log scores of two families, summed over as many rows as they were fitted to, below which the error of
#: their difference is not normal (Sivula et al., 2025): a difference of expected log scores, in which parameters are paid for, and not
#: of log likelihoods.
CLOSE = 4.0
#: Nats a row within which two fits are one: rounding orders them, and nothing else.
SAME = 1e-6
#: Share of the squares of a difference that one row may have before the mean over rows is no longer normal.
_CARRIED = 0.5
#: What a family contains, for some of its parameters or at their ends.
_CONTAINS: Mapping[str, tuple[str, ...]] = {
    "student_t": ("normal", "cauchy"), "skew_normal": ("normal", "half_normal"), "gamma": ("exponential", "chi_squared"),
    "weibull": ("exponential",), "half_student_t": ("half_normal", "half_cauchy"), "negative_binomial": ("poisson",),
    "zero_inflated_poisson": ("poisson",), "zero_inflated_binomial": ("binomial",), "ex_gaussian": ("normal",),
    "zero_inflated_negative_binomial": ("negative_binomial", "zero_inflated_poisson", "poisson"), "beta_binomial": ("binomial",),
    "categorical": ("discrete_uniform",),
    "normal_mixture(2)": ("normal",), "normal_mixture(3)": ("normal_mixture(2)", "normal"), "beta": ("uniform",),
    "kumaraswamy": ("uniform",), "mvnormal": ("mvnormal_diag",), "mvnormal_mixture(2)": ("mvnormal", "mvnormal_diag"),
    "hurdle_gamma": ("exponential",), "rice": ("half_normal",),
}  # fmt: skip


def contains(larger: str, smaller: str) -> bool:
    """Whether every member of one family is a member of another, or a limit of such."""
    return smaller in _CONTAINS.get(larger, ())


@dataclass(frozen=True)
class _Difference:
    value: float
    error: float
    row: int = -1  # that carries it
    share: float = 0.0
    clear: bool = False
    outside: int = 0  # rows that the one or the other has outside its support when they are left out
    elsewhere: float = np.nan  # the difference on the other rows, and its error
    elsewhere_error: float = np.nan


def ranked(
    data: Array,
    logs: Mapping[str, Array],
    used: Mapping[str, int],
    level: float,
    weights: Array | None,
    places: NDArray[np.intp] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    outside: Mapping[str, NDArray[np.bool_]] | None = None,
) -> tuple[xr.Dataset, list[str]]:
    """Rank families by KL above that of the best.

    Parameters
    ----------
    data : ndarray (n, d)
    logs : mapping of str to ndarray (n,)
        Log densities of the rows, each left out.
    used : mapping of str to int
        Rows that each family was fitted to.
    level : float
    weights : ndarray (n,), optional
        Whole ones are numbers of equal rows.
    places : ndarray (n,), optional
        Numbers of the rows, by which they are told.
    sizes : mapping of str to int, optional
        Free parameters of each family: of those that are the same fit, the one with the fewest comes first.
    outside : mapping of str to ndarray (n,) of bool, optional
        Rows outside a support that the others estimate: their log density is -inf whatever the truth, and says nothing of the family.
        Such families come last, in the order of the other rows.

    Returns
    -------
    ranking : Dataset
        Over ``family``, best first: ``kl_difference``, ``se``, ``clear``, ``outside`` (how many rows leave-one-out cannot judge),
        ``others`` (how many are outside of neither it nor the best), ``elsewhere`` and ``elsewhere_se`` (the difference, given that a row is one of these), and ``row`` (from 0) and ``row_share`` of the row that
        outweighs the others in the difference (-1 for none; a share below zero speaks against it): the Normal approximation fails
        there, and the standard error says nothing.
    notes : list of str
    """
    n = len(data)
    shares, copies = shares_of(weights, n)
    size = 1 / float(shares @ (shares / copies))
    beyond = {family: np.zeros(n, dtype=bool) for family in logs} | dict(outside or {})
    order = _order(logs, shares, beyond, sizes or {})
    best, found = order[0], [_Difference(0.0, 0.0)]
    notes: dict[str, Sequence[str]] = {}
    close: list[str] = []
    carried: dict[tuple[int, bool], list[str]] = {}
    for family in order[1:]:
        if (left := beyond[best] | beyond[family]).any():
            rows = size * min(used[family], used[best]) / n
            entry = _elsewhere(logs[best], logs[family], left, shares, copies, rows, bool(beyond[best].any()))
            few = size_of(weights, n) < FEWEST
            found.append(replace(entry, clear=False, elsewhere_error=np.nan) if few else entry)
            continue
        d = logs[best] - logs[family]
        if size_of(weights, n) < FEWEST:
            found.append(_Difference(float(shares @ d), np.nan))
            continue
        if weights is None:
            first, second = (lambda _points, log=logs[f]: log for f in (family, best))
            told = kl_difference(data, first, second, level)
            value, error, notes[family] = told.value, told.error, told.warnings
        else:
            (value, error), notes[family] = weighted_mean(d, shares, copies), ()
        rows = size * min(used[family], used[best]) / n
        found.append(_judged(d, shares, copies, value, error, rows))
        if found[-1].row >= 0:
            carried.setdefault((found[-1].row, found[-1].share > 0), []).append(
                f"{family} ({abs(found[-1].share):.0%})"
            )
            notes[family] = ()
        elif abs(value) < SAME:
            contained = f": {family} contains {best}" if contains(family, best) else ""
            close.append(f"{family} is the same fit as {best}, to {SAME:.0e} nats a row{contained}")
            notes[family] = ()
        elif abs(value * rows) < CLOSE:
            close.append(_close(family, best, value * rows, round(rows)))
            notes[family] = ()
    for (row, along), names in carried.items():
        at = ", ".join(f"{v:.10g}" for v in data[row])
        what = "carries much of what lies between" if along else "takes much from what lies between"
        number = row + 1 if places is None else int(places[row])
        close.append(
            f"row {number} ({at}) alone {what} {best} and {', '.join(names)}: the Normal approximation "
            "fails there, and a standard error says nothing"
        )
    ranking = xr.Dataset(
        {
            "kl_difference": ("family", [f.value for f in found]),
            "se": ("family", [f.error for f in found]),
            "clear": ("family", [int(f.clear) for f in found]),
            "row": ("family", [f.row for f in found]),
            "row_share": ("family", [f.share for f in found]),
            "outside": ("family", [int(beyond[name].sum()) for name in order]),
            "others": ("family", [n - f.outside for f in found]),
            "elsewhere": ("family", [f.elsewhere for f in found]),
            "elsewhere_se": ("family", [f.elsewhere_error for f in found]),
        },
        coords={"family": order},
    )
    ends = _ends(data, {name: beyond[name] for name in order}, places)
    return ranking, [*together(notes, against=f" against {best}"), *close, *ends]


def _order(
    logs: Mapping[str, Array], shares: Array, beyond: Mapping[str, NDArray[np.bool_]], sizes: Mapping[str, int]
) -> list[str]:
    """Families, the closest first; of those that are the same fit the simplest."""
    means = {}
    for family, log_q in logs.items():
        kept = ~beyond[family]
        means[family] = float(shares[kept] @ log_q[kept] / shares[kept].sum()) if kept.any() else -np.inf
    ordered = sorted(logs, key=lambda family: (bool(beyond[family].any()), -means[family]))
    groups: list[list[str]] = []
    for family in ordered:
        head = groups[-1][0] if groups else None
        alike = head is not None and beyond[head].any() == beyond[family].any() and means[head] - means[family] < SAME
        groups[-1].append(family) if alike else groups.append([family])
    return [family for group in groups for family in sorted(group, key=lambda name: sizes.get(name, 0))]


def _elsewhere(
    best: Array, other: Array, left: NDArray[np.bool_], shares: Array, copies: Array, rows: float, undefined: bool
) -> _Difference:
    """The difference of a family that leave-one-out cannot judge on all rows: on the others, where it says something.

    These were not chosen by chance: they lie between the ends, where the family has all of its mass and another one has about one over
    n + 1 less for each end (David and Nagaraja, 2003, section 2.1), so that is what is compared, given that a row lies between.
    """
    kept = ~left
    if not kept.any():
        return _Difference(np.nan, np.nan, outside=int(left.sum()))
    ends = 0.0 if undefined else float(copies[left].sum() / (copies.sum() + 1))
    part, d = shares[kept] / shares[kept].sum(), best[kept] - np.log1p(-ends) - other[kept]
    told = _judged(d, part, copies[kept], *weighted_mean(d, part, copies[kept]), rows)
    whole, error = np.nan if undefined else np.inf, told.error if told.row < 0 else np.nan
    return _Difference(whole, np.nan, -1, 0.0, told.clear, int(left.sum()), told.value, error)


_NAMED = 3  # rows that a note tells one by one


def _ends(data: Array, beyond: Mapping[str, NDArray[np.bool_]], places: NDArray[np.intp] | None) -> list[str]:
    """Why leave-one-out cannot judge some families: a note for those with the same rows."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for family, outside in beyond.items():
        if outside.any():
            groups.setdefault(tuple(np.flatnonzero(outside)), []).append(family)
    found = []
    for rows, names in groups.items():
        at = [
            f"row {i + 1 if places is None else int(places[i])} ({', '.join(f'{v:.10g}' for v in data[i])})"
            for i in rows
        ]
        which = " and ".join(at) if len(at) <= _NAMED else f"{len(at)} rows, such as {at[0]},"
        found.append(
            f"{', '.join(names)}: the support ends at the rows that it is fitted to, so {which}, left out, "
            f"{'lies' if len(at) == 1 else 'lie'} outside it whether or not the family is right: the infinity is of leave-one-out, and only "
            "the other rows compare"
        )
    return found


def _judged(d: Array, shares: Array, copies: Array, value: float, error: float, rows: float) -> _Difference:
    """Whether a difference is clear; where one row outweighs the others, by what these say without it."""
    if not np.isfinite(value):
        return _Difference(value, error, clear=True)
    squares = (shares * d) ** 2 / copies  # of all equal rows together
    i = int(np.argmax(squares / copies))
    carried = squares.sum() > 0 and squares[i] / copies[i] > _CARRIED * squares.sum() and abs(value) * rows >= CLOSE
    if not carried:
        return _Difference(value, error, clear=bool(value > 2 * error and value * rows >= CLOSE))
    others = np.delete(shares * d, i)
    rest = float(others.sum())
    clear = rest * rows >= CLOSE and rest > 2 * float(np.sqrt(np.delete(squares, i).sum()))
    # Without its largest parts the difference still stands, or it hangs on a few rows.
    ordered = np.sort(others)[::-1]
    clear = clear or float(ordered[max(len(d) // 100, 1) :].sum()) * rows >= CLOSE
    return _Difference(value, error, i, float(shares[i] * d[i] / value), bool(clear))


def _close(family: str, best: str, total: float, rows: int) -> str:
    told = (
        f"the leave-one-out log scores of {family} and {best} differ by {total:.2g} nats, summed over {rows} rows: below {CLOSE:g} "
        "their order is open, and the error of their difference is not normal"
    )
    for larger, smaller in ((family, best), (best, family)):
        if contains(larger, smaller):
            return f"{told}; {larger} contains {smaller}"
    return told


def together(notes: Mapping[str, Sequence[str]], known: Sequence[str] = (), against: str = "") -> list[str]:
    """One line for each kind of note, with the families that have it; what is said of the entropy is not said again."""
    said: dict[str, tuple[str, list[str]]] = {}
    for family, reasons in notes.items():
        for reason in reasons:
            kind = reason.split(" (")[0]
            if kind not in {other.split(" (")[0] for other in known}:
                said.setdefault(kind, (reason, []))[1].append(family)
    return [
        f"{', '.join(names)}{against}: {reason if len(names) == 1 else kind}" for kind, (reason, names) in said.items()
    ]
