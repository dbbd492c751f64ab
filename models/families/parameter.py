"""Parameters of families: where they may lie, and the map from unconstrained theta to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, softmax

from models.graphs import Deferred

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["MEANING", "Limit", "Parameter", "Role", "Support", "covariance_of"]

Array = NDArray[np.float64]
Support = Literal["real", "positive", "unit", "angle", "integer", "simplex", "covariance"]
#: What x -> shift + stretch x does to a parameter v: shift + stretch v, stretch v, v / stretch, v + log(stretch).
Role = Literal["location", "scale", "rate", "log"]


class Limit(NamedTuple):
    """An end of a parameter that the likelihood may have no maximum before.

    Attributes
    ----------
    end : float
        0, 1, or infinity of either sign.
    beyond : float
        Coordinate of theta from where on the parameter has run off.
    held : float, optional
        Coordinate that stands for the limit; beyond it rounding may spoil the density. If not given, that of `Family.shape`.
    """

    end: float
    beyond: float
    held: float | None = None

    def reached(self, theta: Array) -> bool:
        """Whether a coordinate lies beyond."""
        return bool(np.any(self.passed(theta)))

    def passed(self, theta: Array, share: float = 1.0) -> NDArray[np.bool_]:
        """Which coordinates lie beyond this share of the way."""
        return theta > share * self.beyond if self.beyond > 0 else theta < share * self.beyond

    @property
    def text(self) -> str:
        """The end, in words."""
        return f"{self.end:g}".replace("inf", "infinity")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family.

    Attributes
    ----------
    name : str
        PyMC's keyword.
    support : str
        ``real``, ``positive``, ``unit`` (between 0 and 1), ``angle`` (from -pi to pi), ``integer`` (0, 1, ...), ``simplex`` (sums
        to 1) or ``covariance`` (d, d), of mixtures one for each component (k, d, d).
    shape : tuple of int or ``"d"``
        ``"d"`` stands for the dimension of a point, ``"k"`` for the number of categories of the data.
    role : str, optional
        What a change of the units of x does to it, besides what `Family.location` and `Family.scale` say.
    limits : tuple of Limit
        Ends that it may run to.
    """

    name: str
    support: Support
    shape: tuple[int | Literal["d", "k"], ...] = ()
    role: Role | None = None
    limits: tuple[Limit, ...] = ()

    def shape_in(self, dim: int) -> tuple[int, ...]:
        """Return the shape for points of dimension `dim`."""
        return tuple(dim if n == "d" else int(n) for n in self.shape)

    def size(self, dim: int) -> int:
        """Return the number of unconstrained coordinates."""
        shape = self.shape_in(dim)
        if self.support == "simplex":
            return shape[0] - 1
        if self.support == "covariance":
            return int(np.prod(shape[:-2], dtype=int)) * shape[-1] * (shape[-1] + 1) // 2
        return int(np.prod(shape, dtype=int))

    def constrain(self, theta: Any, dim: int) -> Any:
        """Symbolic parameter from its slice of unconstrained theta; a Cholesky factor for a covariance.

        positive: exp. unit: 1 / (1 + exp(-theta)). simplex: softmax of (theta, 0). covariance: log diagonal, then the entries
        below it by rows. None of these carries a Jacobian, so the maximum over theta is the maximum likelihood estimate.
        """
        pt = pytensor.tensor
        shape = self.shape_in(dim)
        if self.support == "simplex":
            return pt.special.softmax(pt.concatenate([theta, pt.zeros(1)]))
        if self.support == "covariance":
            if len(shape) == 2:
                return self._factor(theta, shape[0])
            size = self.size(dim) // shape[0]
            return pt.stack([self._factor(theta[k * size : (k + 1) * size], shape[-1]) for k in range(shape[0])])
        maps = {"positive": pt.exp, "unit": pt.sigmoid}
        value = maps[self.support](theta) if self.support in maps else theta
        return value.reshape(shape) if shape else value[0]

    @staticmethod
    def _factor(theta: Any, d: int) -> Any:
        pt = pytensor.tensor
        rows, cols = np.tril_indices(d, -1)
        factor = pt.diag(pt.exp(theta[:d]))
        return pt.set_subtensor(factor[rows, cols], theta[d:]) if len(rows) else factor

    def admits(self, value: ArrayLike, dim: int) -> bool:
        """Whether a numeric value lies in the support and has the right size."""
        array = np.asarray(value, dtype=float)
        if array.size != np.prod(self.shape_in(dim), dtype=int) or not np.all(np.isfinite(array)):
            return False
        if self.support == "simplex":
            return bool(np.all(array > 0) and abs(array.sum() - 1) < 1e-8)
        if self.support == "covariance":
            array = array.reshape(-1, *self.shape_in(dim)[-2:])
            return bool(np.allclose(array, array.transpose(0, 2, 1)) and np.linalg.eigvalsh(array).min() > 0)
        low, high = _ENDS[self.support]
        whole = self.support != "integer" or np.all(array == np.round(array))
        return bool(np.all((array > low) & (array < high)) and whole)

    def natural_value(self, theta: Array, dim: int) -> tuple[Array, Array]:
        """Value of the parameter as it is reported, and its Jacobian, from its slice of unconstrained theta.

        Returns
        -------
        value : ndarray
            Of `shape_in`; a covariance, not its factor.
        jacobian : ndarray
            That shape, then (size,).
        """
        shape, size = self.shape_in(dim), self.size(dim)
        if self.support == "simplex":
            w = softmax(np.append(theta, 0.0))
            return w, w[:, None] * (np.eye(len(w)) - w)[:, :-1]
        if self.support == "covariance":
            d = shape[-1]
            blocks = [self._covariance_value(part, d) for part in theta.reshape(-1, d * (d + 1) // 2)]
            jacobian = np.zeros((len(blocks), d, d, len(blocks), d * (d + 1) // 2))
            for k, (_, slope) in enumerate(blocks):
                jacobian[k, :, :, k] = slope
            return np.array([value for value, _ in blocks]).reshape(shape), jacobian.reshape(*shape, size)
        value, slope = theta, np.ones(size)
        if self.support == "positive":
            value = slope = np.exp(theta)
        elif self.support == "unit":
            value, slope = expit(theta), expit(theta) * expit(-theta)
        elif self.support == "angle":
            value = theta - 2 * np.pi * np.round(theta / (2 * np.pi))
        return value.reshape(shape), np.diag(slope).reshape(*shape, size)

    @staticmethod
    def _covariance_value(theta: Array, d: int) -> tuple[Array, Array]:
        """L L' (d, d) and its Jacobian (d, d, p): log diagonal of L, then the entries below it by rows."""
        rows, cols = np.concatenate([[np.arange(d)] * 2, np.tril_indices(d, -1)], axis=1)
        entries = np.concatenate([np.exp(theta[:d]), theta[d:]])
        factor = np.zeros((d, d))
        factor[rows, cols] = entries
        # d(L L')/dL_ab = e_a (column b of L)' + its transpose.
        half = np.zeros((len(theta), d, d))
        half[np.arange(len(theta)), rows] = factor[:, cols].T
        half *= np.where(np.arange(len(theta)) < d, entries, 1.0)[:, None, None]
        return factor @ factor.T, np.moveaxis(half + half.transpose(0, 2, 1), 0, -1)

    def unconstrain(self, value: ArrayLike, dim: int) -> Array:
        """Return the unconstrained coordinates of a numeric parameter (a covariance, not its factor)."""
        value = np.asarray(value, dtype=float)
        if self.support == "simplex":
            return np.log(value[:-1] / value[-1])
        if self.support == "covariance":
            factors = np.linalg.cholesky(value.reshape(-1, dim, dim))
            below = np.tril_indices(dim, -1)
            return np.concatenate([np.concatenate([np.log(np.diag(f)), f[below]]) for f in factors])
        maps = {"positive": np.log, "unit": logit}
        return np.ravel(maps[self.support](value) if self.support in maps else value)

    def prior(self, dim: int) -> Any:
        """Register a flat prior in the PyMC model now open, and return the parameter the likelihood takes."""
        shape = self.shape_in(dim)
        if self.support == "simplex":
            return pm.Dirichlet(self.name, a=np.ones(shape))
        if self.support == "covariance":
            theta = pm.Flat(f"{self.name}_cholesky", shape=self.size(dim))
            factor = self.constrain(theta, dim)
            pm.Deterministic(self.name, covariance_of(factor))
            return factor
        if self.support == "unit":
            return pm.Uniform(self.name, 0, 1, shape=shape)
        return (pm.HalfFlat if self.support == "positive" else pm.Flat)(self.name, shape=shape)


def covariance_of(factor: Any) -> Any:
    """Symbolic covariance of a Cholesky factor."""
    return pytensor.tensor.matmul(factor, factor.mT)


#: Open ends of scalars by their support.
_ENDS = {
    "real": (-np.inf, np.inf),
    "positive": (0.0, np.inf),
    "unit": (0.0, 1.0),
    "angle": (-3.2, 3.2),
    "integer": (-1.0, np.inf),
}

#: What a value of a support must be.
MEANING = {
    "real": "finite",
    "positive": "positive and finite",
    "unit": "between 0 and 1",
    "angle": "between -pi and pi",
    "integer": "a non-negative integer",
    "simplex": "positive and sum to 1",
    "covariance": "symmetric and positive definite",
}
