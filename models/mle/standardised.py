"""Standardised data: maximum likelihood is equivariant, so it is found where all numbers are about 1 and mapped back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.families import Family, Parameter
from models.quadrature import Nodes, moment_nodes

__all__ = ["Units", "condensed", "standardise"]

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

    def natural(self, values: Mapping[str, Array], jacobians: Mapping[str, Array]) -> tuple[dict[str, Array], ...]:
        """Parameters of the data and their Jacobians, from those of the standardised data (see `natural_values`)."""
        mapped = {p.name: np.asarray(self._map(p, values[p.name], self.centre)) for p in self.family.parameters}
        slopes = {}
        for p in self.family.parameters:
            rows = np.moveaxis(jacobians[p.name], -1, 0)
            slopes[p.name] = np.moveaxis(np.asarray(self._map(p, rows, 0 * self.centre)), 0, -1)
        return mapped, slopes

    def standardised(self, params: Mapping[str, Any]) -> dict[str, Array]:
        """Parameters of the standardised data from those of the data: the inverse of the map of `natural`."""
        inverse = replace(self, centre=np.linalg.solve(self.factor, -self.centre), factor=np.linalg.inv(self.factor))
        return {
            p.name: np.asarray(inverse._map(p, np.asarray(params[p.name], dtype=float), inverse.centre))
            for p in self.family.parameters
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
        wide = any(p.name == name and "d" in p.shape for p in self.family.parameters)
        stretch = np.diag(self.factor) if wide else self.factor[0, 0]
        if name == self.family.location:
            return self.centre if wide else self.centre[0], stretch
        return 0.0, stretch if name == self.family.scale else 1 / stretch if name == self.family.rate else 1.0

    def _map(self, p: Parameter, value: Array, centre: Array) -> Any:
        if p.support == "covariance":
            return self.factor @ value @ self.factor.T
        if p.name == self.family.location:
            return centre + value @ self.factor.T if "d" in p.shape else centre[0] + self.factor[0, 0] * value
        return self._affine(p.name)[1] * value


def standardise(data: Array, share: Array, family: Family, *, whiten: bool) -> tuple[Units, Array]:
    """Units in which the data have location 0 and scale 1, and the data in them.

    Parameters
    ----------
    data : ndarray (n, d)
    share : ndarray (n,)
        Positive weights that sum to 1.
    family : Family
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
    if family.rate:
        factor = np.reshape(share @ data, (1, 1))
        if factor[0, 0] <= 0:
            raise InputError(
                f"all observations are 0, where the likelihood of {family.name} has no maximum; give positive ones"
            )
        return Units(family, np.zeros(1), factor), data / factor
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
        order = np.argsort(data[:, 0])
        low, middle, high = np.interp([0.16, 0.5, 0.84], np.cumsum(share[order]), data[order, 0])
        if high > low:
            centre, sd = np.array([middle]), np.array([(high - low) / 2])
            moved = data - centre
    z = moved / sd
    if family.correlated:
        white, upper = _whitened(z, share, family)
        if whiten:
            return Units(family, centre, sd[:, None] * upper.T), white
    return Units(family, centre, np.diag(sd)), z


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
