"""What a family is: a PyMC likelihood with flat priors, the map from unconstrained theta to its parameters, and its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError, lookup_error
from models.families.estimates import Closed, Points, Start
from models.families.parameter import MEANING, Limit, Parameter, Role, covariance_of
from models.graphs import Deferred
from models.graphs.distributions import Distribution, batched_logp, build
from models.targets import Density, Discrete

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["Domain", "Ends", "Family", "Shape"]

Array = NDArray[np.float64]
Params = Mapping[str, Array]
#: Of draws z (n,) and weights: parameters by a number, and the bounds of this number.
Members = Callable[[Array, Array], tuple[Callable[[float], Params], tuple[float, float]]]
#: How log densities fall: as -x^2, as -|x|, as -log |x|.
Tail = Literal["gaussian", "exponential", "power"]


@dataclass(frozen=True)
class Domain:
    """Where the members of a family of one dimension have their mass.

    Attributes
    ----------
    low, high : float
        Ends.
    closed : bool
        Whether a point may lie on an end.
    whole : bool
        Whether points are whole numbers: the family is discrete.
    """

    low: float = -np.inf
    high: float = np.inf
    closed: bool = True
    whole: bool = False

    def holds(self, x: Array) -> NDArray[np.bool_]:
        """Which points lie in it."""
        inside = (x >= self.low) & (x <= self.high) if self.closed else (x > self.low) & (x < self.high)
        return inside & (x == np.floor(x)) if self.whole else inside

    def __str__(self) -> str:
        if self.whole:
            last = "" if self.high == np.inf else f", {self.high:g}"
            return f"{self.low:g}, {self.low + 1:g}, ...{last}"
        sign = "<=" if self.closed else "<"
        if self.high == np.inf:
            return f"x {sign.replace('<', '>')} {self.low:g}"
        return f"{self.low:g} {sign} x {sign} {self.high:g}"


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
    """

    name: str
    starts: tuple[float, ...]
    from_draws: tuple[float, ...]
    normal_at: float | None = None
    moments: Callable[[float], tuple[float, float]] | None = None


@dataclass(frozen=True)
class Ends:
    """A limit at which members begin or end at an extreme of the draws, and the likelihood may be higher than before it.

    Attributes
    ----------
    name : str
        Of the parameter that has the limit.
    members : callable
        Close to the limit: of draws and weights, parameters by a number, and its bounds.
    side : {"low", "high"}, optional
        The extreme; if not given it is the low one where the coordinate of the parameter is positive, and the high one elsewhere.
    """

    name: str
    members: Members
    side: Literal["low", "high"] | None = None


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
    domain : Domain
        Where it has its mass.
    tail : {"gaussian", "exponential", "power"}, optional
        How the tails fall; if not given they are taken for power laws, which costs time.
    shape : Shape, optional
        What is known of the parameter that is neither location nor scale.
    closed : callable, optional
        Maximum likelihood in closed form.
    starts : callable, optional
        Where searches begin, if not at moments or quantiles; without a location, at scales of the size of the data and at 1.
    edges : tuple of (str, {"low", "high"})
        Parameters that are ends of the support: maximum likelihood puts them at the ``low`` or ``high`` end of the data.
    ends : Ends, optional
        The way to a limit beside a maximum in the interior.
    units : callable, optional
        Shift and stretch, of points, that make all numbers about 1; if not given by median and spread.
    atom : float, optional
        A point that has mass, of a family with a density elsewhere.
    trials : str, optional
        The integer parameter that no point exceeds.
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
    domain: Domain = Domain()
    tail: Tail | None = None
    # No graph depends on these.
    shape: Shape | None = field(default=None, repr=False, compare=False)
    closed: Closed | None = field(default=None, repr=False, compare=False)
    starts: Start | None = field(default=None, repr=False, compare=False)
    edges: tuple[tuple[str, Literal["low", "high"]], ...] = field(default=(), repr=False, compare=False)
    ends: Ends | None = field(default=None, repr=False, compare=False)
    units: Callable[[Points], tuple[float, float]] | None = field(default=None, repr=False, compare=False)
    atom: float | None = None
    trials: str | None = None

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
            Naming the first such row, counted from 1, and its value.
        """
        if self.dim != 1 or self.domain == Domain():
            return
        inside = self.domain.holds(points[:, 0])
        if not inside.all():
            row = int(np.argmin(inside))
            why = (
                "the likelihood is zero" if self.domain.closed else "no member has a positive and finite density there"
            )
            raise InputError(
                f"{what} {row + 1} is {points[row, 0]:.10g}, outside the support {self.domain} of family {self.name!r}, so {why}; "
                "use a family whose support holds it, or leave it out"
            )

    def resolved(self, points: Array) -> Family:
        """Return the family with as many categories as the largest of points (n, 1) asks for."""
        if not any("k" in p.shape for p in self.parameters):
            return self
        k = int(points.max()) + 1
        sized = (replace(p, shape=tuple(k if n == "k" else n for n in p.shape)) for p in self.parameters)
        return replace(self, parameters=tuple(sized))

    def role(self, p: Parameter) -> Role | None:
        """What a change of the units of x does to a parameter."""
        return "location" if p.name == self.location else "scale" if p.name == self.scale else p.role

    @property
    def on_a_line(self) -> bool:
        """Whether members are x = location + scale z on the whole line, with a shape at most besides."""
        known = {self.location, self.scale, "w" if self.components > 1 else None, self.shape and self.shape.name}
        return self.dim == 1 and self.location is not None and all(p.name in known for p in self.parameters)

    @property
    def movable(self) -> bool:
        """Whether the family is closed under changes of the units of x."""
        return bool(self.location or any(p.role for p in self.parameters))

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
        return int(simplex[0].shape_in(1)[0]) if simplex and self.location else 1

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
                params[parameter.name] = covariance_of(params[parameter.name])
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
                    f"parameter {p.name!r} of family {self.name!r} is {value}; it must be {MEANING[p.support]}"
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
        """Name a parameter that has run off to a limit of it, and the limit; ``None`` in the interior.

        Student-t on a target with tails no heavier than Normal sends nu to infinity: the Normal is the limit. Skew normal on
        draws that end as abruptly as a half-normal sends alpha to infinity or minus infinity: the half-normal is the limit. An
        ex-Gaussian on draws that begin as abruptly as an exponential sends sigma to 0.
        """
        for p, part, limit in self.limits(dim):
            if limit.reached(theta[part]):
                return f"{p.name} -> {limit.text}"
        return None

    def end_reached(self, theta: Array) -> Literal["low", "high"] | None:
        """The extreme of the draws that a member at theta (P,) of one dimension begins or ends at, if it lies at that limit."""
        if self.ends is None:
            return None
        for p, part, limit in self.limits(1):
            if p.name == self.ends.name and limit.reached(theta[part]):
                return self.ends.side or ("low" if theta[part][0] > 0 else "high")
        return None

    def limits(self, dim: int) -> Iterator[tuple[Parameter, slice, Limit]]:
        """Yield each limit that a parameter may run to, with its slice of theta."""
        for p, part in self.slices(dim):
            for limit in p.limits:
                yield p, part, limit

    def member(self, params: Mapping[str, ArrayLike], *, name: str | None = None) -> Density | Discrete:
        """Return the member with these parameters as a target: its log density, draws and divergences.

        Parameters
        ----------
        params : mapping
            Every parameter of the family on its natural scale.
        name : str, optional
        """
        density, values = self._distribution(params)
        kind = Discrete if self.domain.whole else Density
        return kind(
            name=name or self.name,
            dim=density.dim,
            distribution=density,
            scales=self.scales(values) or _spread(density),
            spec={"family": self.name, "params": {k: v.tolist() for k, v in values.items()}},
        )

    def _distribution(self, params: Mapping[str, ArrayLike]) -> tuple[Distribution, dict[str, Array]]:
        """PyMC's distribution of a member, and its parameters as arrays, those that are held included."""
        values = {p.name: np.asarray(params[p.name], dtype=float) for p in self.parameters if p.name in params}
        values |= {k: np.asarray(v) for k, v in self.fixed}
        location = values.get(self.location) if self.location else None
        dim = location.shape[-1] if self.multivariate and location is not None and location.ndim else 1
        self.unconstrain(values, dim)  # which checks them
        return Distribution(self.density.removesuffix("_chol"), values, dim, discrete=self.domain.whole), values

    def scales(self, params: Params) -> list[tuple[Array, Array]]:
        """Location and Cholesky factor of each component."""
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
        return self._distribution(params)[0].logp(np.asarray(points, dtype=float))


def _spread(density: Distribution) -> list[tuple[Array, Array]]:
    """Median and half the distance between the 16 % and 84 % quantiles, of draws: where a density has its structure."""
    low, middle, high = np.quantile(density.rvs(1024, seed=0)[:, 0], [0.16, 0.5, 0.84])
    return [(np.array([middle]), np.array([[max((high - low) / 2, np.finfo(float).tiny)]]))]


def _keyword(parameter: Parameter) -> str:
    return "chol" if parameter.support == "covariance" else parameter.name
