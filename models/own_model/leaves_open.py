"""Which variables a reference leaves open, for what reason, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from models.own_model.moments import settles

__all__ = ["Open", "listed", "opened", "settled"]

Mask = NDArray[np.bool_]

_NAMED = 5  # variables in a sentence


@dataclass(frozen=True, eq=False)
class Open:
    """What is known of the variables (v,) by a reference, and what is not.

    Attributes
    ----------
    names : ndarray of str (v,)
    unknown : ndarray of bool (v,)
        Which are unknowns of the model; the others are computed from these, and tell nothing of whether the posterior is proper.
    known : ndarray of bool (v,)
        Whose sd is known to a tenth: by these an approximation is judged.
    endless, heavy : ndarray of bool (v,)
        Unknowns of which not even the mean settles, or the tails are too heavy for an sd.
    cut : ndarray of bool (v,)
        Unknowns to whose sd contributes what a grid leaves out: beyond its box, or too faint.
    few : ndarray of bool (v,)
        For whose sd there are too few independent draws.
    endless_computed, heavy_computed, cut_computed : ndarray of bool (v,)
        As `endless`, `heavy` and `cut`, of what is computed.
    lost : ndarray (v,)
        Share of the draws in which a variable is no finite number.
    reference : str
        Its method.
    """

    names: NDArray[np.str_]
    unknown: Mask
    known: Mask
    endless: Mask
    heavy: Mask
    cut: Mask
    few: Mask
    endless_computed: Mask
    heavy_computed: Mask
    cut_computed: Mask
    lost: NDArray[np.float64]
    reference: str

    @property
    def left(self) -> Mask:
        """Which leave a verdict open (v,)."""
        return self.endless | self.heavy | self.cut | self.few

    def said(self) -> str:
        """Why a verdict is left open; empty if it is not."""
        parts = []
        if self.endless.any():
            others = f", nor the sd of {self._of(self.heavy)}" if self.heavy.any() else ""
            parts.append(
                "the posterior may be improper, as with a flat prior on a scale, or have tails too heavy for a mean: "
                f"that of {self._of(self.endless)} does not settle ({self.reference}){others}"
            )
        elif self.heavy.any():
            parts.append(
                f"the reference ({self.reference}) leaves the sd of {self._of(self.heavy)} open (heavy tails); "
                "a heavy tail that it cannot measure may be that of an improper posterior, as of a flat prior on a scale"
            )
        if self.cut.any():
            parts.append(
                f"the reference ({self.reference}) does not reach far enough out to know the sd of {self._of(self.cut)}"
            )
        if self.few.any():
            parts.append(
                f"the reference ({self.reference}) has too few independent draws to know the sd of {self._of(self.few)} to a tenth; "
                "give more seconds (--budget)"
            )
        return "; and ".join(parts)

    def aside(self) -> str:
        """What is to be said of variables that are computed from the unknowns and have no mean or sd to compare; empty if there are none."""
        parts = []
        for mask, what in ((self.endless_computed, "a mean"), (self.heavy_computed, "an sd")):
            if mask.any():
                parts.append(
                    f"{self._of(mask)}, computed from the unknowns, {'has' if mask.sum() == 1 else 'have'} tails too heavy for {what} ({self.reference})"
                )
        if self.cut_computed.any():
            parts.append(
                f"the reference ({self.reference}) does not reach far enough out to know the sd of {self._of(self.cut_computed)}, computed from the unknowns"
            )
        if (self.lost > 0).any():
            share = 100 * self.lost.max()
            most = "" if (self.lost > 0).sum() == 1 else "up to "
            parts.append(
                f"{self._of(self.lost > 0)} {'is' if (self.lost > 0).sum() == 1 else 'are'} NaN or infinite in {most}"
                f"{'less than 1' if share < 1 else f'{share:.0f}'} % of the draws of the reference, and not judged"
            )
        return "; ".join(parts)

    def tally(self, mask: Mask) -> str:
        """Of how many variables something is so, the unknowns first."""
        among = self.known | self.left
        computed = among & ~self.unknown
        if not computed.any() or not self.unknown.any():
            return f"{mask.sum()} of {among.sum()} variables"
        return (
            f"{(mask & self.unknown).sum()} of {(among & self.unknown).sum()} unknowns and {(mask & computed).sum()} of {computed.sum()} "
            "variables computed from them"
        )

    def _of(self, mask: Mask) -> str:
        return listed(self.names[mask])


def opened(table: xr.Dataset, reference: str | None) -> Open:
    """Sort the variables of a comparison (see `models.own_model.moments.compare`) by what its reference knows of them.

    Constants, and what is the same number as an earlier variable in every draw, are in none of the sets.
    """
    sd, sd_error, mean_error = (
        table[name].to_numpy() for name in ("reference_sd", "reference_sd_se", "reference_mean_se")
    )
    yes, no = np.ones(len(sd), dtype=bool), np.zeros(len(sd))
    unknown = table["unknown"].to_numpy() if "unknown" in table else yes
    lost = table["reference_lost"].to_numpy() if "reference_lost" in table else no
    judged = (sd != 0) & (lost == 0) & ~(table["same"].to_numpy() if "same" in table else ~yes)
    firm = settled(table)
    left = judged & ~firm
    endless = left & np.isinf(mean_error)
    finite = left & ~endless & np.isfinite(sd_error)
    heavy = left & ~endless & ~finite
    cut = finite & (reference == "grid")  # whose error is that of its edge
    few = finite & ~cut
    return Open(
        table["variable"].to_numpy().astype(str), unknown, judged & firm, endless & unknown, heavy & unknown, cut & unknown, few,
        endless & ~unknown, heavy & ~unknown, cut & ~unknown, np.where(unknown, 0.0, lost), str(reference),
    )  # fmt: skip


def settled(comparison: xr.Dataset) -> Mask:
    """Of which variables (v,) the reference knows the sd to a tenth; of the others, as those with heavy tails, nothing is judged by it."""
    return settles(comparison["reference_sd"].to_numpy(), comparison["reference_sd_se"].to_numpy())


def listed(names: Sequence[str] | NDArray[np.str_]) -> str:
    """A few names in words."""
    shown = [*names] if len(names) <= _NAMED else [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
