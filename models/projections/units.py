"""Standardised data: maximum likelihood is equivariant, so it is found where all numbers are about 1 and mapped back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.families import Family, Parameter, Points
from models.quadrature import Nodes, moment_nodes

__all__ = ["Units", "condensed", "even_quantiles", "merged", "points_of", "quantiles", "standardise"]

Array = NDArray[np.float64]
#: Columns whose smallest singular value, relative to the largest, is below this are collinear: a covariance squares it.
_COLLINEAR = 1e-7


@dataclass(frozen=True, eq=False)
class Units:
    """The affine map x = centre + factor z from standardised points to the data, and what it does to parameters.

    Attributes
    ----------
    family : Family
        Of the standardised data: a scale that is held is held at 1.
    centre : ndarray (d,)
    factor : ndarray (d, d)
        Lower triangular, with a positive diagonal.
    """

    family: Family
    centre: Array
    factor: Array

    @property
    def log_volume(self) -> float:
        """Log |dx/dz|: a log density of the data is that of z, less this."""
        return float(np.log(np.diag(self.factor)).sum())

    def log_volumes(self, points: Array) -> Array:
        """The same of each point (n, d): of a point that has mass there is none."""
        whole = np.full(len(points), self.log_volume)
        return whole if self.family.atom is None else np.where(points[:, 0] == self.family.atom, 0.0, whole)

    def natural(self, values: Mapping[str, Array], jacobians: Mapping[str, Array]) -> tuple[dict[str, Array], ...]:
        """Parameters of the data and their Jacobians, from those of the standardised data (see `natural_values`)."""
        mapped = {p.name: np.asarray(self._map(p, values[p.name])) for p in self.family.parameters}
        slopes = {}
        for p in self.family.parameters:
            rows = np.moveaxis(jacobians[p.name], -1, 0)
            slopes[p.name] = np.moveaxis(np.asarray(self._map(p, rows) - self._map(p, 0 * rows)), 0, -1)
        return mapped, slopes

    def standardised(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """Parameters of the standardised data from those of the data: the inverse of the map of `natural`."""
        inverse = replace(self, centre=np.linalg.solve(self.factor, -self.centre), factor=np.linalg.inv(self.factor))
        return {
            p.name: np.asarray(inverse._map(p, np.asarray(params[p.name], dtype=float))) for p in self.family.parameters
        }

    def symbolic(self, name: str, value: Any) -> Any:
        """Symbolic parameter of the data from that of the standardised data, where `factor` is diagonal."""
        shift, stretch = self._affine(name)
        return value * stretch + shift

    def unconstrained(self, name: str, value: float) -> float | Array:
        """Coordinate of theta at which a parameter of the data has this value; one for each column if there are several."""
        shift, stretch = self._affine(name)
        inner = np.asarray((value - shift) / stretch, dtype=float)
        if next(p for p in self.family.parameters if p.name == name).support != "positive":
            return inner
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inner > 0, np.log(np.maximum(inner, 0.0)), -np.inf)

    def _affine(self, name: str) -> tuple[Any, Any]:
        """Shift and stretch of a parameter by the map, where `factor` is diagonal."""
        p = next(p for p in self.family.parameters if p.name == name)
        wide = "d" in p.shape
        stretch = np.diag(self.factor) if wide else self.factor[0, 0]
        match self.family.role(p):
            case "location":
                return self.centre if wide else self.centre[0], stretch
            case "scale":
                return 0.0, stretch
            case "rate":
                return 0.0, 1 / stretch
            case "log":
                return np.log(stretch), 1.0
        return 0.0, 1.0

    def _map(self, p: Parameter, value: Array) -> Any:
        if p.support == "covariance":
            return self.factor @ value @ self.factor.T
        if p.name == self.family.location and "d" in p.shape:
            return self.centre + value @ self.factor.T
        shift, stretch = self._affine(p.name)
        return shift + stretch * value


def points_of(rule: Nodes, family: Family, ends: tuple[float, float] | None = None) -> Points:
    """Nodes as `Points`, with the ends of what they are nodes of; of draws, their extremes."""
    x = rule.points if family.multivariate else rule.points[:, 0]
    low, high = (float(x.min()), float(x.max())) if ends is None else ends
    held = dict(family.fixed).get(str(family.trials))
    return Points(x, rule.weights / rule.weights.sum(), low, high, None if held is None else int(held))


def merged(rule: Nodes, family: Family) -> Nodes:
    """The same nodes, each value of a family of counts once: a million counts have few values."""
    if not family.domain.whole:
        return rule
    values, places = np.unique(rule.points[:, 0], return_inverse=True)
    return Nodes(values[:, None], np.bincount(places, weights=rule.weights), rule.kind)


def standardise(
    data: Array, share: Array, family: Family, *, whiten: bool, ends: tuple[float, float] | None = None
) -> tuple[Units, Array]:
    """Units in which the data have location 0 and scale 1, and the data in them.

    Parameters
    ----------
    data : ndarray (n, d)
    share : ndarray (n,)
        Positive weights that sum to 1.
    family : Family
    ends : tuple of float, optional
        Of the support, where points are nodes of a density.
    whiten : bool
        Whether to take correlation out as well, for families with a full covariance.

    Returns
    -------
    Units, ndarray (n, d)

    Raises
    ------
    InputError
        If the data lie in fewer than d dimensions and the family has a covariance, or a column is constant.
    """
    if not family.location:
        shift, stretch = _ends_or_size(points_of(Nodes(data, share, "draws"), family, ends), family)
        return Units(family, np.array([shift]), np.array([[stretch]])), (data - shift) / stretch
    centre = share @ data
    moved = data - centre
    held = dict(family.fixed)
    if family.scale in held:
        own = replace(family, fixed=tuple((k, 1.0 if k == family.scale else v) for k, v in family.fixed))
        return Units(own, centre, np.array([[held[str(family.scale)]]])), moved / held[str(family.scale)]
    sd = _root_mean_square(moved, share)
    if family.multivariate:
        _check_columns(data, sd)
    elif family.tail != "gaussian":  # heavy tails: by quantiles
        low, middle, high = quantiles(data[:, 0], share, [0.16, 0.5, 0.84])
        if high > low:
            centre, sd = np.array([middle]), np.array([(high - low) / 2])
            moved = data - centre
    z = moved / sd
    if family.correlated:
        white, upper = _whitened(z, share, family)
        if whiten:
            return Units(family, centre, sd[:, None] * upper.T), white
    return Units(family, centre, np.diag(sd)), z


def _ends_or_size(s: Points, family: Family) -> tuple[float, float]:
    """Shift and stretch of a family without a location."""
    if family.units is not None:
        return family.units(s)
    if not family.movable:
        return 0.0, 1.0
    if not s.share:
        raise InputError(
            f"all observations are 0, where the likelihood of {family.name} has no maximum; give positive ones"
        )
    return 0.0, s.positive.median


def quantiles(x: Array, weights: Array, levels: Sequence[float] | Array) -> Array:
    """Quantiles at these levels of points (n,) with weights that sum to 1, straight lines between the points."""
    order = np.argsort(x)
    return np.interp(levels, np.cumsum(weights[order]), x[order])


def even_quantiles(x: Array, weights: Array, count: int) -> tuple[Array, Array]:
    """Very many points (n,) as `count` quantiles of equal weight: those quantiles, and their weights."""
    return quantiles(x, weights, (np.arange(count) + 0.5) / count), np.full(count, 1 / count)


def _root_mean_square(moved: Array, share: Array) -> Array:
    largest = np.abs(moved).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    return np.asarray(unit * np.sqrt(share @ (moved / unit) ** 2))


def _check_columns(data: Array, sd: Array) -> None:
    n, dim = data.shape
    constant = sd <= 4 * np.finfo(float).eps * np.abs(data).max(axis=0)
    if constant.any():
        j = int(np.argmax(constant))
        raise InputError(
            f"the {n} observations lie in fewer than {dim} dimensions: column {j} is constant at {data[0, j]:g}, and the "
            "likelihood is then unbounded; leave it out"
        )
    if sd.min() < 1e-150:
        raise InputError(
            f"column {int(sd.argmin())} has standard deviation {sd.min():.1e}, whose square vanishes; rescale it"
        )


def _whitened(z: Array, share: Array, family: Family) -> tuple[Array, Array]:
    """Uncorrelated coordinates, and the upper triangular R with z = coordinates @ R."""
    n, dim = z.shape
    root = np.sqrt(share)[:, None]
    singular = np.linalg.svd(z * root, compute_uv=False)
    if n <= dim or singular[-1] < _COLLINEAR * singular[0]:
        raise InputError(
            f"the {n} observations lie in fewer than {dim} dimensions to rounding (singular values {singular[0]:.1e} to "
            f"{singular[-1]:.1e}); the likelihood of {family.name} is then unbounded; leave a column out"
        )
    upper = np.linalg.qr(z * root, mode="r")
    upper = upper * np.sign(np.diag(upper))[:, None]
    return np.linalg.solve(upper.T, z.T).T, upper


def condensed(data: Array, family: Family) -> tuple[Units, Nodes]:
    """As `standardise`, by three nodes with the moments of the data up to the fourth instead of the data."""
    centre = data.mean(axis=0)
    rule = moment_nodes(data[:, 0] - centre)
    sd = _root_mean_square(rule.points, rule.weights)
    held = dict(family.fixed)
    if family.scale in held:
        sd = np.array([held[str(family.scale)]])
        family = replace(family, fixed=tuple((k, 1.0 if k == family.scale else v) for k, v in family.fixed))
    return Units(family, centre, np.diag(sd)), Nodes(rule.points / sd, rule.weights, "draws")
