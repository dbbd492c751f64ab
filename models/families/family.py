"""What a family is: a PyMC likelihood with flat priors, the map from unconstrained theta to its parameters, and its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from models.errors import InputError, lookup_error
from models.graphs import Deferred
from models.graphs.distributions import Distribution, batched_logp, build
from models.targets import Density

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["Ends", "Family", "Parameter", "Shape"]

Array = NDArray[np.float64]
Params = Mapping[str, Array]
Support = Literal["real", "positive", "simplex", "covariance"]
#: Of draws z (n,) and weights: parameters by a number, and the bounds of this number.
Ends = Callable[[Array, Array], tuple[Callable[[float], Params], tuple[float, float]]]
#: How log densities fall: as -x^2, as -|x|, as -log |x|.
Tail = Literal["gaussian", "exponential", "power"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family.

    Attributes
    ----------
    name : str
        PyMC's keyword.
    support : str
        ``real``, ``positive``, ``simplex`` (sums to 1) or ``covariance`` (d, d), of mixtures one for each component (k, d, d).
    shape : tuple of int or ``"d"``
        ``"d"`` stands for the dimension of a point.
    """

    name: str
    support: Support
    shape: tuple[int | Literal["d"], ...] = ()

    def shape_in(self, dim: int) -> tuple[int, ...]:
        """Return the shape for points of dimension `dim`."""
        return tuple(dim if n == "d" else n for n in self.shape)

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

        positive: exp. simplex: softmax of (theta, 0). covariance: log diagonal, then the entries below it by rows.
        None of these carries a Jacobian, so the maximum over theta is the maximum likelihood estimate.
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
        value = pt.exp(theta) if self.support == "positive" else theta
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
        return self.support == "real" or bool(np.all(array > 0))

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
        value = np.exp(theta) if self.support == "positive" else theta
        slope = np.diag(value if self.support == "positive" else np.ones(size))
        return value.reshape(shape), slope.reshape(*shape, size)

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
        return np.log(value).ravel() if self.support == "positive" else value.ravel()

    def prior(self, dim: int) -> Any:
        """Register a flat prior in the PyMC model now open, and return the parameter the likelihood takes."""
        shape = self.shape_in(dim)
        if self.support == "simplex":
            return pm.Dirichlet(self.name, a=np.ones(shape))
        if self.support == "covariance":
            theta = pm.Flat(f"{self.name}_cholesky", shape=self.size(dim))
            factor = self.constrain(theta, dim)
            pm.Deterministic(self.name, _covariance(factor))
            return factor
        return (pm.HalfFlat if self.support == "positive" else pm.Flat)(self.name, shape=shape)


@dataclass(frozen=True)
class Shape:
    """What is known of a parameter of shape: where searches begin, and where the family is, or ends in, another.

    Attributes
    ----------
    name : str
        Of the parameter.
    starts, from_draws : tuple of float
        First values of searches by quadrature, and over draws.
    normal_at : float, optional
        Value at which the member is Normal: infinity, or one where the Hessian is then singular.
    moments : callable, optional
        Mean and standard deviation of the member with location 0 and scale 1, by value; 0 and 1 are good enough if not given.
    ends : Ends, optional
        The way to another limit.
    """

    name: str
    starts: tuple[float, ...]
    from_draws: tuple[float, ...]
    normal_at: float | None = None
    moments: Callable[[float], tuple[float, float]] | None = None
    ends: Ends | None = None


@dataclass(frozen=True)
class Family:
    """The set of distributions p_theta.

    Attributes
    ----------
    name : str
    parameters : sequence of Parameter
    density : str
        PyMC's name of the distribution, or one of ``BUILDERS`` in ``models.graphs.distributions``.
    dim : int, optional
        Dimension of a point; ``None`` fits any.
    location, scale : str, optional
        The parameters that shift and stretch, so that x = location + scale z with z from a base distribution.
    fixed : mapping of str to float
        Parameters held at a value.
    smooth : bool
        Whether the log density has no kink.
    degree : int, optional
        Where the log density is a polynomial in x, its degree: the moments of the data up to it are sufficient.
    rate : str, optional
        The parameter whose inverse stretches a density on x >= 0; the density has no location then.
    tail : {"gaussian", "exponential", "power"}, optional
        How the tails fall; if not given they are taken for power laws, which costs time.
    shape : Shape, optional
        What is known of the parameter that is neither location nor scale.
    """

    name: str
    parameters: Sequence[Parameter]
    density: str
    dim: int | None = 1
    location: str | None = None
    scale: str | None = None
    fixed: tuple[tuple[str, float], ...] = ()
    smooth: bool = True
    degree: int | None = None
    rate: str | None = None
    tail: Tail | None = None
    shape: Shape | None = field(default=None, repr=False, compare=False)  # no graph depends on it

    def check_dim(self, dim: int, what: str) -> None:
        """Refuse data or a target of another dimension.

        Raises
        ------
        InputError
        """
        if self.dim is not None and self.dim != dim:
            remedy = "use mvnormal or mvnormal_diag" if dim > 1 else "give data of that dimension"
            raise InputError(f"family {self.name!r} has dimension {self.dim} but {what} has dimension {dim}; {remedy}")

    def check_support(self, points: Array, what: str = "observation") -> None:
        """Refuse points (n, d) where every member has density zero.

        Raises
        ------
        InputError
            Naming the first such row and its value.
        """
        if self.rate and (points < 0).any():
            row = int(np.argmax(points[:, 0] < 0))
            raise InputError(
                f"{what} {row} is {points[row, 0]:g}, outside the support x >= 0 of family {self.name!r}, so the likelihood is "
                "zero; use a family on the whole line, or leave it out"
            )

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector (also when it has one entry)."""
        return self.dim is None

    @property
    def correlated(self) -> bool:
        """Whether the scale is a covariance."""
        return any(p.support == "covariance" for p in self.parameters)

    @property
    def components(self) -> int:
        """Number of mixture components; 1 for a single distribution."""
        simplex = [p for p in self.parameters if p.support == "simplex"]
        return int(simplex[0].shape_in(1)[0]) if simplex else 1

    def size(self, dim: int) -> int:
        """Return the number of free coordinates of theta."""
        return sum(p.size(dim) for p in self.parameters)

    def slices(self, dim: int) -> Iterator[tuple[Parameter, slice]]:
        """Yield each parameter with its slice of theta."""
        start = 0
        for parameter in self.parameters:
            stop = start + parameter.size(dim)
            yield parameter, slice(start, stop)
            start = stop

    def constrain(self, theta: Any, dim: int) -> dict[str, Any]:
        """Symbolic parameters from symbolic unconstrained theta (P,); the keywords of the density."""
        params = {_keyword(p): p.constrain(theta[part], dim) for p, part in self.slices(dim)}
        return params | {k: pytensor.tensor.constant(v, dtype="float64") for k, v in self.fixed}

    def natural(self, theta: Any, dim: int) -> dict[str, Any]:
        """Symbolic parameters as they are reported: covariances instead of Cholesky factors."""
        params = {p.name: p.constrain(theta[part], dim) for p, part in self.slices(dim)}
        for parameter in self.parameters:
            if parameter.support == "covariance":
                params[parameter.name] = _covariance(params[parameter.name])
        return params

    def location_scale(self, thetas: Array) -> tuple[Array, Array]:
        """Locations and scales (B, k) of the k components of 1-D members at thetas (B, P)."""
        held = dict(self.fixed)
        found = {p.name: thetas[:, part] for p, part in self.slices(1)}
        wide = {k: np.full((len(thetas), 1), v) for k, v in held.items()}
        location, scale = (found[n] if n in found else wide[n] for n in (str(self.location), str(self.scale)))
        return location, np.exp(scale) if self.scale in found else scale

    def location_cholesky(self, theta: Array, dim: int) -> tuple[Array, Array]:
        """Location (d,) and Cholesky factor (d, d) of a multivariate member at theta (P,)."""
        parts = {p.name: (p, theta[part]) for p, part in self.slices(dim)}
        location, (parameter, own) = parts[str(self.location)][1], parts[str(self.scale)]
        factor = np.diag(np.exp(own[:dim]))
        if parameter.support == "covariance":
            factor[np.tril_indices(dim, -1)] = own[dim:]
        return location, factor

    def unconstrain(self, params: Mapping[str, ArrayLike], dim: int) -> Array:
        """Return theta (P,) of numeric parameters.

        Raises
        ------
        InputError
            If a parameter is missing or outside its support.
        """
        missing = [p.name for p in self.parameters if p.name not in params]
        if missing:
            raise InputError(f"family {self.name!r} needs the parameter(s) {', '.join(missing)}")
        parts = []
        for p in self.parameters:
            if not p.admits(params[p.name], dim):
                value = np.asarray(params[p.name]).tolist()
                raise InputError(
                    f"parameter {p.name!r} of family {self.name!r} is {value}; it must be {_MEANING[p.support]}"
                )
            parts.append(np.ravel(p.unconstrain(params[p.name], dim)))
        return np.concatenate(parts)

    def model(
        self, observed: ArrayLike, weights: ArrayLike | None = None, priors: Mapping[str, Any] | None = None
    ) -> Any:
        """PyMC model of data given theta.

        Parameters
        ----------
        observed : array_like (n,) or (n, d)
        weights : array_like (n,), optional
            Weight of each observation in the log likelihood (sum(weights) = n keeps its scale).
        priors : mapping of str to PyMC distribution, optional
            For example ``{"mu": pm.Normal.dist(0, 10)}``; flat where none is given, so that MAP is maximum likelihood.

        Returns
        -------
        pymc.Model
            Free variables under the parameters' names; the likelihood is called ``x``.
        """
        data = np.asarray(observed, dtype=float)
        dim = data.shape[1] if data.ndim == 2 else 1
        self.check_dim(dim, "the data")
        data = data.reshape(-1, dim) if self.multivariate else data.ravel()
        given = dict(priors or {})
        unknown = sorted(set(given) - {p.name for p in self.parameters})
        if unknown:
            raise lookup_error(f"parameter of family {self.name}", unknown[0], [p.name for p in self.parameters])
        with pm.Model(model=None) as model:  # never a part of a model the caller has open
            # Observations live in pm.Data: PyTensor cannot cache graphs with large constants.
            x = pm.Data("observations", data)
            params = {
                _keyword(p): model.register_rv(given[p.name], p.name) if p.name in given else p.prior(dim)
                for p in self.parameters
            }
            params |= {k: np.asarray(v, dtype=float) for k, v in self.fixed}
            if weights is None:
                model.register_rv(build(self.density, params, shape=data.shape), "x", observed=x)
            else:
                share = pm.Data("weights", np.asarray(weights, dtype=float))
                _, logp = batched_logp(self.density, params, multivariate=self.multivariate, points=x)
                pm.Potential("x", share * logp)
        return model

    def at_boundary(self, theta: Array, dim: int) -> str | None:
        """Name a shape parameter that has run off to its boundary, with its limit; ``None`` in the interior.

        Student-t on a target with tails no heavier than Normal sends nu to infinity: the Normal is the limit. Skew normal on
        draws that end as abruptly as a half-normal sends alpha to infinity or minus infinity: the half-normal is the limit.
        """
        for p, part, far in self.shapes(dim):
            if np.any(np.abs(theta[part]) > far):
                low = "0" if p.support == "positive" else "-infinity"
                return f"{p.name} -> {'infinity' if theta[part][0] > 0 else low}"
        return None

    def shapes(self, dim: int) -> Iterator[tuple[Parameter, slice, float]]:
        """Yield each parameter of shape with its slice of theta, and the size there beyond which it has run off."""
        for p, part in self.slices(dim):
            if p.name not in (self.location, self.scale, self.rate) and p.support in ("real", "positive"):
                yield p, part, 10.0 if p.support == "positive" else 1e3

    def member(self, params: Mapping[str, ArrayLike], *, name: str | None = None) -> Density:
        """Return the member with these parameters as a target: its log density, draws and divergences.

        Parameters
        ----------
        params : mapping
            Every parameter of the family on its natural scale.
        name : str, optional
        """
        values = {k: np.asarray(v, dtype=float) for k, v in params.items()} | {k: np.asarray(v) for k, v in self.fixed}
        location = values[self.location] if self.location else None
        dim = location.shape[-1] if self.multivariate and location is not None else 1
        self.unconstrain(values, dim)
        density = Distribution(self.density.removesuffix("_chol"), values, dim)
        return Density(
            name=name or self.name,
            dim=dim,
            distribution=density,
            scales=self.scales(values),
            spec={"family": self.name, "params": {k: v.tolist() for k, v in values.items()}},
        )

    def scales(self, params: Params) -> list[tuple[Array, Array]]:
        """Location and Cholesky factor of each component."""
        if self.rate:
            return [(np.log(2) / np.reshape(params[self.rate], 1), 1 / np.reshape(params[self.rate], (1, 1)))]
        if self.location is None or self.scale is None:
            return []
        location, scale = np.asarray(params[self.location]), np.asarray(params[self.scale])
        if self.multivariate and self.components > 1:
            return list(zip(location, np.linalg.cholesky(scale), strict=True))
        if self.multivariate:
            return [(location, np.diag(scale) if scale.ndim == 1 else np.linalg.cholesky(scale))]
        pairs = zip(np.atleast_1d(location), np.atleast_1d(scale), strict=True)
        return [(np.array([m]), np.array([[s]])) for m, s in pairs]

    def logp(self, points: ArrayLike, params: Mapping[str, ArrayLike]) -> Array:
        """Log density (n,) in nats of the member with `params` at `points` (n, d).

        Examples
        --------
        >>> from models.families import FAMILIES
        >>> FAMILIES["normal"].logp([[0.0]], {"mu": 0.0, "sigma": 1.0}).round(6)
        array([-0.918939])
        """
        return self.member(params).logp(points)


def _covariance(factor: Any) -> Any:
    return pytensor.tensor.matmul(factor, factor.mT)


def _keyword(parameter: Parameter) -> str:
    return "chol" if parameter.support == "covariance" else parameter.name


_MEANING = {
    "real": "finite",
    "positive": "positive and finite",
    "simplex": "positive and sum to 1",
    "covariance": "symmetric and positive definite",
}
