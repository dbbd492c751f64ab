"""Targets: p_data as a PyMC density, as draws, or as the posterior of a PyMC model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError, lookup_error
from models.graphs import Deferred, compile_graph, kept
from models.graphs.distributions import Distribution, distribution, in_double_precision, jet_graph, slope_at_a_point
from models.graphs.log_density import LogDensity, of_distribution, of_model

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = [
    "TARGETS",
    "Target",
    "find_target",
    "from_distribution",
    "from_draws",
    "from_model",
    "from_spec",
    "mvnormal_mixture",
    "normal_mixture",
    "student_t_mixture",
]

Array = NDArray[np.float64]
Builder = Callable[[], "Target"]

#: Quantile levels that tell quadrature where an arbitrary density has its structure.
_LEVELS = np.array([0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999])


@dataclass(frozen=True, eq=False)
class Target:
    """A distribution p_data to approximate: a log density, draws, or both.

    Built by the functions of this module rather than directly.

    Attributes
    ----------
    name : str
        Shown in tables; catalogue name or a description.
    dim : int
        Dimension d of one point.
    distribution : Distribution, optional
        The density, where there is one in closed form.
    draws : ndarray (n, d), optional
        The data, for a target known by draws only.
    mean, cov : ndarray (d,), (d, d), optional
        Exact moments where known; absent where infinite or unknown.
    scales : sequence of (ndarray (d,), ndarray (d, d))
        Locations and Cholesky factors of the places where the density has structure (the components of a mixture).
        Quadrature puts its panels and optimisers their starts there.
    spec : mapping
        JSON-ready description from which the same target can be built again.
    """

    name: str
    dim: int
    distribution: Distribution | None = None
    draws: Array | None = None
    mean: Array | None = None
    cov: Array | None = None
    scales: Sequence[tuple[Array, Array]] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    source: Any = None

    def model(self) -> Any:
        """Return a PyMC model with one free variable ``x`` ~ p_data.

        Raises
        ------
        InputError
            If the target has draws only.
        """
        if self.source is not None:
            return self.source
        density = self._density("a PyMC model of its density")
        with pm.Model(model=None) as model:  # never a part of a model the caller has open
            density.variable("x")
        return model

    @property
    def has_density(self) -> bool:
        """Whether a log density is known (reverse KL needs one)."""
        return self.distribution is not None or self.source is not None

    @property
    def normalised(self) -> bool:
        """Whether the log density includes its normalising constant."""
        return self.source is None

    def logp(self, points: ArrayLike) -> Array:
        """Log density at `points`.

        Parameters
        ----------
        points : array_like (n, d)

        Returns
        -------
        ndarray (n,)
            Log density in nats; of the unnormalised posterior in unconstrained space for a target from a model.

        Raises
        ------
        InputError
            If the target has draws only.

        Examples
        --------
        >>> normal_mixture([0.5, 0.5], [-3, 3], [1, 1]).logp([[0.0]])
        array([-5.41893853])
        """
        points = np.asarray(points, dtype=float).reshape(-1, self.dim)
        if self.source is not None:
            return self.log_density(points)[0]
        return self._density("log densities").logp(points)

    def jet(self, points: ArrayLike) -> tuple[Array, Array, Array]:
        """Log density (n,) of a 1-D target with its first and second derivatives.

        Parameters
        ----------
        points : array_like (n, 1)
        """
        points = np.asarray(points, dtype=float).reshape(-1)
        if self.source is not None:
            return self._model_jet(points)
        return self._density("log densities").jet(points)

    def rvs(self, n: int, seed: int) -> Array:
        """Draw points (n, d); from data, with replacement.

        Raises
        ------
        InputError
            If nothing can draw from the target (a posterior), or the seed is negative.
        """
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be a non-negative integer")
        if self.draws is not None:
            return self.draws[np.random.default_rng(seed).integers(len(self.draws), size=n)]
        if self.distribution is None:
            raise InputError(f"target {self.name!r} is a posterior: draw from it by MCMC (pm.sample), not by rvs")
        return self.distribution.rvs(n, seed)

    def _density(self, what: str) -> Distribution:
        if self.distribution is None:
            raise InputError(
                f"target {self.name!r} is known by draws only, so it has no {what}; "
                "fit a density to the draws first, or ask for the forward direction, which needs draws alone"
            )
        return self.distribution

    @cached_property
    def initial_point(self) -> Array:
        """Where PyMC starts, (d,) in unconstrained space."""

        def find() -> Array:
            return np.concatenate([np.ravel(v) for v in self.model().initial_point().values()]).astype(float)

        if self.source is not None:
            return find()
        density = self._density("initial point")
        point: Array = kept("initial point", (density.key, [v.tolist() for v in density.values()]), find)
        return point

    @cached_property
    def log_density(self) -> LogDensity:
        """Log density with its gradient in unconstrained space, compiled by Numba.

        Raises
        ------
        InputError
            If the target has draws only, or is the posterior of a model whose density is random.
        """
        return of_model(self.source) if self.source is not None else of_distribution(self._density("log densities"))

    @cached_property
    def _model_jet(self) -> Callable[[Array], tuple[Array, Array, Array]]:
        point, logp = self.joint_graph()
        points = pytensor.tensor.vector("points")
        values = pytensor.graph.replace.vectorize_graph(logp, {point: points[:, None]})
        function = compile_graph(*jet_graph(points, values, []))
        return lambda x: tuple(function(x))

    def joint_graph(self) -> tuple[Any, Any]:
        """Symbolic flat unconstrained point (d,) and its log density, of a target made from a PyMC model."""
        model = self.source
        outputs, point = pm.pytensorf.join_nonshared_inputs(
            point=model.initial_point(), outputs=[model.logp()], inputs=model.value_vars
        )
        return point, in_double_precision(outputs[0])

    @cached_property
    def coordinates(self) -> list[str]:
        """Names of the d unconstrained coordinates: ``x``, or the value variables of the PyMC model with their indices."""
        if self.source is None:
            return ["x"] if self.dim == 1 else [f"x[{i}]" for i in range(self.dim)]
        names: list[str] = []
        for name, value in self.source.initial_point().items():
            shape = np.shape(value)
            names += [f"{name}[{', '.join(map(str, i))}]" if i else name for i in np.ndindex(shape)]
        return names

    def natural(self, points: ArrayLike) -> dict[str, Array] | None:
        """Map points (n, d) of unconstrained space to the natural scale of each variable, (n, ...) by name.

        Returns
        -------
        dict of str to ndarray, or None
            The free variables and deterministics of a PyMC model; ``x`` for a density with a bounded support; ``None`` where
            unconstrained space is the natural scale.
        """
        points = np.asarray(points, dtype=float).reshape(-1, self.dim)
        if self.source is not None:
            return {name: np.asarray(v) for name, v in self._natural_graph(points).items()}
        transform = self.distribution.support_map if self.distribution is not None else None
        return None if transform is None else {"x": np.asarray(transform(points[:, 0])[0])}

    def prior_points(self, n: int, seed: int) -> Array | None:
        """Draws (n, d) from the prior of a PyMC model in unconstrained space; ``None`` if a prior cannot be drawn from."""
        if n == 0:
            return np.empty((0, self.dim))
        model = self.source
        try:
            # Every variable from its prior, also those that the model gives an initial value.
            overrides = dict.fromkeys(model.free_RVs, "prior")
            function = pm.initial_point.make_initial_point_fn(model=model, overrides=overrides)
            seeds = np.random.SeedSequence(seed).generate_state(n).tolist()
            points = [np.concatenate([np.ravel(v) for v in function(s).values()]) for s in seeds]
        except NotImplementedError:  # Flat, HalfFlat and potentials are no distributions to draw from
            return None
        return np.asarray(points, dtype=float) if np.isfinite(points).all() else None

    @cached_property
    def _natural_graph(self) -> Callable[[Array], dict[str, Array]]:
        model = self.source
        wanted = [*model.free_RVs, *model.deterministics]
        outputs, point = pm.pytensorf.join_nonshared_inputs(
            point=model.initial_point(), outputs=model.replace_rvs_by_values(wanted), inputs=model.value_vars
        )
        points = pytensor.tensor.matrix("points")
        function = compile_graph([points], pytensor.graph.replace.vectorize_graph(outputs, {point: points}))
        names = [v.name for v in wanted]

        def evaluate(x: Array) -> dict[str, Array]:
            # A deterministic that depends on no free variable has no batch axis.
            shapes = [(len(x), *v.type.shape) for v in wanted]
            values = function(x)
            return {
                name: v if np.ndim(v) == len(s) else np.broadcast_to(v, (len(x), *np.shape(v)))
                for name, v, s in zip(names, values, shapes, strict=True)
            }

        return evaluate

    @cached_property
    def modes(self) -> Array:
        """Local maxima of the density (k, d), highest first; by ascent from each place with structure."""
        from scipy.optimize import minimize

        if not self.has_density:
            raise InputError(f"target {self.name!r} is known by draws only, so its modes are not known")
        gradient = self._negative_logp_and_gradient
        found: list[tuple[float, Array]] = []
        for location, scale in self.scales:
            unit = float(np.min(np.linalg.svd(scale, compute_uv=False)))
            x = minimize(gradient, location, jac=True, method="BFGS", options={"gtol": 1e-9}).x
            if np.linalg.norm(gradient(x)[1]) * unit > 1e-4:
                # A kink or the end of the support, where gradients do not vanish.
                x = minimize(lambda y: gradient(y)[0], x, method="Nelder-Mead", options={"xatol": 1e-9 * unit}).x
            nearby = x + 0.01 * unit * np.concatenate([np.eye(self.dim), -np.eye(self.dim)])
            value = float(gradient(x)[0])
            is_mode = np.all(-self.logp(nearby) >= value - 1e-9)
            if is_mode and all(np.linalg.norm(x - other) > 1e-3 * unit for _, other in found):
                found.append((value, x))
        return np.array([x for _, x in sorted(found, key=lambda item: item[0])]).reshape(-1, self.dim)

    @cached_property
    def peaks(self) -> list[tuple[Array, Array]]:
        """Modes (d,) of a PyMC model and Cholesky factors (d, d) of the inverse Hessians there.

        By ascent from its initial point and from draws of its prior (from a Normal about that point where a prior cannot
        be drawn from). Where no ascent ends in a proper mode, the initial point with unit scale.
        """
        from scipy.optimize import minimize

        (start, scale), *_ = self.scales
        draws = self.prior_points(_ASCENTS, 0)
        if draws is None:
            draws = start + 3 * np.random.default_rng(0).standard_normal((_ASCENTS, self.dim))
        gradient = self._negative_logp_and_gradient
        found: list[tuple[Array, Array]] = []
        for place in [start, *draws]:
            with np.errstate(all="ignore"):
                x = minimize(gradient, place, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
                sides = 1e-4 * np.eye(self.dim)
                hessian = np.array([(gradient(x + h)[1] - gradient(x - h)[1]) / 2e-4 for h in sides])
            hessian = (hessian + hessian.T) / 2
            if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 1e-12:
                continue
            newton = np.linalg.solve(hessian, gradient(x)[1])
            near = [np.sqrt((x - m) @ hessian @ (x - m)) < 0.1 for m, _ in found]
            if newton @ hessian @ newton < 1e-2 and not any(near):
                found.append((x - newton, np.linalg.cholesky(np.linalg.inv(hessian))))
        return found or [(start, scale)]

    @cached_property
    def _negative_logp_and_gradient(self) -> Callable[[Array], tuple[float, Array]]:
        if self.source is not None:

            def of_posterior(x: Array) -> tuple[float, Array]:
                value, slope = self.log_density(np.reshape(x, (1, -1)))
                return -float(value[0]), -slope[0]

            return of_posterior
        density = self._density("log densities")
        function, values = slope_at_a_point(density.key), density.values()

        def of_density(x: Array) -> tuple[float, Array]:
            value, slope = function(np.asarray(x, dtype=float), *values)
            return float(value), np.asarray(slope, dtype=float)

        return of_density


_ASCENTS = 24  # from the prior of a model, in search of its modes


# --- checks ----------------------------------------------------------------------------------------------------------


def _numbers(value: Any, what: str, ndim: int) -> Array:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{what} is {value!r}; it must be an array of numbers with {ndim} dimension(s)") from None
    if array.ndim != ndim:
        raise InputError(f"{what} has {array.ndim} dimension(s); it must have {ndim}")
    if not np.all(np.isfinite(array)):
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InputError(f"{what}{_index(bad)} is {array[tuple(bad)]}; it must be finite")
    return array


def _index(position: Sequence[int] | Array) -> str:
    return "".join(f"[{int(i)}]" for i in position)


def _weights(weights: Any) -> Array:
    w = _numbers(weights, "weights", 1)
    if len(w) == 0:
        raise InputError("weights is empty; give at least one component")
    if np.any(w <= 0):
        k = int(np.argmax(w <= 0))
        raise InputError(f"weights[{k}] is {w[k]:g}; every weight must be positive")
    if abs(w.sum() - 1) > 1e-8:
        raise InputError(f"weights sum to {w.sum():.10g}; they must sum to 1")
    return w / w.sum()


def _same_length(reference: Array, **others: Array) -> None:
    for name, array in others.items():
        if len(array) != len(reference):
            raise InputError(f"{name} has length {len(array)} but weights has length {len(reference)}; make them equal")


def _positive(array: Array, what: str) -> Array:
    if np.any(array <= 0):
        position = np.argwhere(array <= 0)[0]
        value = array[tuple(position)]
        raise InputError(f"{what}{_index(position)} is {value:g}; every {what.rstrip('s')} must be positive")
    return array


def _cholesky(cov: Array, what: str) -> Array:
    if cov.shape[0] != cov.shape[1]:
        raise InputError(f"{what} has shape {cov.shape}; a covariance is square")
    if not np.allclose(cov, cov.T, rtol=1e-10, atol=1e-12):
        raise InputError(f"{what} is not symmetric; a covariance is")
    try:
        return np.asarray(np.linalg.cholesky(cov))
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(cov)[0]
        raise InputError(
            f"{what} is not positive definite (smallest eigenvalue {smallest:.6g}); every eigenvalue must be positive"
        ) from None


# --- builders --------------------------------------------------------------------------------------------------------


def _mixture_moments(w: Array, means: Array, covs: Array) -> tuple[Array, Array]:
    mean = w @ means
    centred = means - mean
    return mean, np.einsum("k,kij->ij", w, covs) + np.einsum("k,ki,kj->ij", w, centred, centred)


def normal_mixture(weights: ArrayLike, means: ArrayLike, sds: ArrayLike, *, name: str | None = None) -> Target:
    """Mixture of Normal distributions in one dimension.

    Parameters
    ----------
    weights, means, sds : array_like (k,)
        Weights (positive, summing to 1), means and standard deviations of the k components.
    name : str, optional

    Returns
    -------
    Target

    Raises
    ------
    InputError
        For weights that are not positive or do not sum to 1, sds that are not positive, unequal lengths, or values
        that are not finite.

    Examples
    --------
    >>> target = normal_mixture([0.5, 0.5], [-3, 3], [1, 1])
    >>> target.cov
    array([[10.]])
    """
    w, mu, sd = _weights(weights), _numbers(means, "means", 1), _numbers(sds, "sds", 1)
    _same_length(w, means=mu, sds=sd)
    _positive(sd, "sds")
    mean, cov = _mixture_moments(w, mu[:, None], (sd**2)[:, None, None])
    if len(w) == 1:
        density = Distribution("normal", {"mu": mu[0], "sigma": sd[0]})
    else:
        density = Distribution("normal_mixture", {"w": w, "mu": mu, "sigma": sd})
    return Target(
        name=name or " + ".join(f"{a:.4g} N({b:.4g}, {c:.4g}²)" for a, b, c in zip(w, mu, sd, strict=True)),
        dim=1,
        distribution=density,
        mean=mean,
        cov=cov,
        scales=[(np.array([m]), np.array([[s]])) for m, s in zip(mu, sd, strict=True)],
        spec={"weights": w.tolist(), "means": mu.tolist(), "sds": sd.tolist()},
    )


def student_t_mixture(
    weights: ArrayLike, means: ArrayLike, scales: ArrayLike, nus: ArrayLike, *, name: str | None = None
) -> Target:
    """Mixture of Student-t distributions in one dimension, for tails heavier than Normal.

    Parameters
    ----------
    weights, means, scales, nus : array_like (k,)
        Weights, locations, scales (not standard deviations) and degrees of freedom of the k components.
    name : str, optional

    Returns
    -------
    Target
        ``mean`` and ``cov`` are absent where they do not exist (a nu <= 1, or <= 2).

    Raises
    ------
    InputError
        As for `normal_mixture`; also for nus that are not positive.
    """
    w, mu = _weights(weights), _numbers(means, "means", 1)
    s, nu = _numbers(scales, "scales", 1), _numbers(nus, "nus", 1)
    _same_length(w, means=mu, scales=s, nus=nu)
    _positive(s, "scales")
    _positive(nu, "nus")
    mean = cov = None
    if np.all(nu > 2):
        mean, cov = _mixture_moments(w, mu[:, None], (s**2 * nu / (nu - 2))[:, None, None])
    elif np.all(nu > 1):
        mean = np.array([w @ mu])
    return Target(
        name=name
        or " + ".join(f"{a:.4g} t_{d:.3g}({b:.4g}, {c:.4g})" for a, b, c, d in zip(w, mu, s, nu, strict=True)),
        dim=1,
        distribution=Distribution("student_t_mixture", {"w": w, "nu": nu, "mu": mu, "sigma": s}),
        mean=mean,
        cov=cov,
        scales=[(np.array([m]), np.array([[b]])) for m, b in zip(mu, s, strict=True)],
        spec={"weights": w.tolist(), "means": mu.tolist(), "scales": s.tolist(), "nus": nu.tolist()},
    )


def mvnormal_mixture(weights: ArrayLike, means: ArrayLike, covs: ArrayLike, *, name: str | None = None) -> Target:
    """Mixture of multivariate Normal distributions.

    Parameters
    ----------
    weights : array_like (k,)
    means : array_like (k, d)
    covs : array_like (k, d, d)
        Covariances of the components, symmetric and positive definite.
    name : str, optional

    Returns
    -------
    Target

    Raises
    ------
    InputError
        As for `normal_mixture`; also for a covariance that is not symmetric and positive definite.
    """
    w, mu, cov = _weights(weights), _numbers(means, "means", 2), _numbers(covs, "covs", 3)
    _same_length(w, means=mu, covs=cov)
    if cov.shape[1:] != (mu.shape[1], mu.shape[1]):
        raise InputError(f"covs has shape {cov.shape} but means has shape {mu.shape}; covs must be (k, d, d)")
    chols = [_cholesky(c, f"covs[{k}]") for k, c in enumerate(cov)]
    mean, total = _mixture_moments(w, mu, cov)
    d = mu.shape[1]
    if len(w) == 1:
        density = Distribution("mvnormal", {"mu": mu[0], "cov": cov[0]}, d)
    else:
        density = Distribution("mvnormal_mixture", {"w": w, "mu": mu, "cov": cov}, d)
    return Target(
        name=name or f"mixture of {len(w)} {d}-D Normals",
        dim=d,
        distribution=density,
        mean=mean,
        cov=total,
        scales=list(zip(mu, chols, strict=True)),
        spec={"weights": w.tolist(), "means": mu.tolist(), "covs": cov.tolist()},
    )


def from_distribution(name: str, params: Mapping[str, Any], *, label: str | None = None) -> Target:
    """Any univariate continuous PyMC distribution, by PyMC's name and parameters.

    Parameters
    ----------
    name : str
        For example ``"StudentT"``.
    params : mapping
        For example ``{"nu": 4, "mu": 0, "sigma": 1}``.
    label : str, optional
        Name to show.

    Returns
    -------
    Target
        ``mean`` and ``cov`` are given for Normal, Laplace and Student-t laws where they exist; otherwise absent.

    Raises
    ------
    InputError
        If PyMC does not know the distribution or refuses the parameters.
    """
    density = distribution(name, params)
    known = (density.key, [v.tolist() for v in density.values()])
    quantiles = kept("quantiles", known, lambda: np.quantile(density.rvs(4096, seed=0)[:, 0], _LEVELS))
    width = max(float(quantiles[4] - quantiles[2]) / 2, np.finfo(float).tiny)
    mean, cov = _moments_by_pymc(name, density)
    text = ", ".join(f"{k}={np.asarray(v).tolist()}" for k, v in density.params.items())
    return Target(
        name=label or f"{name}({text})",
        dim=1,
        distribution=density,
        mean=mean,
        cov=cov,
        scales=[(np.array([quantiles[3]]), np.array([[width]]))],
        spec={"distribution": name, "params": {k: np.asarray(v).tolist() for k, v in density.params.items()}},
    )


def _moments_by_pymc(name: str, density: Distribution) -> tuple[Array | None, Array | None]:
    """Exact mean and variance for the location-scale laws that have them in one line; otherwise unknown."""
    p = {k: float(v) for k, v in density.params.items() if np.ndim(v) == 0}
    match name:
        case "Normal" if {"mu", "sigma"} <= p.keys():
            return np.array([p["mu"]]), np.array([[p["sigma"] ** 2]])
        case "Laplace" if {"mu", "b"} <= p.keys():
            return np.array([p["mu"]]), np.array([[2 * p["b"] ** 2]])
        case "StudentT" if {"nu", "mu", "sigma"} <= p.keys():
            mean = np.array([p["mu"]]) if p["nu"] > 1 else None
            cov = np.array([[p["sigma"] ** 2 * p["nu"] / (p["nu"] - 2)]]) if p["nu"] > 2 else None
            return mean, cov
    return None, None


def from_draws(x: ArrayLike, *, name: str = "draws") -> Target:
    """Target known by draws only: it has no log density, and says so when asked.

    Parameters
    ----------
    x : array_like (n,) or (n, d)
        Observations; at least two distinct ones, all finite.
    name : str

    Returns
    -------
    Target
        ``mean`` and ``cov`` are those of the draws (divisor n).

    Raises
    ------
    InputError
        For missing or infinite values, or fewer than two distinct observations.
    """
    draws = check_draws(x)
    mean = draws.mean(axis=0)
    cov = np.cov(draws.T, bias=True).reshape(draws.shape[1], draws.shape[1])
    return Target(name=name, dim=draws.shape[1], draws=draws, mean=mean, cov=cov, spec={"draws": len(draws)})


def check_draws(x: ArrayLike) -> Array:
    """Return data as finite floats (n, d), refusing what no fit can use.

    Booleans are refused, as are numbers written as text: neither is a measurement of a density.

    Raises
    ------
    InputError
        For text, dates, booleans, complex or masked entries, missing or infinite values, numbers whose squares overflow or
        vanish, more than two dimensions, or fewer than two distinct observations.
    """
    raw = _real_array(x)
    with np.errstate(over="ignore"):  # an extended float becomes infinite, and is refused as such
        array = np.asarray(raw, dtype=float)
    if array.ndim not in (1, 2):
        raise InputError(f"the observations have {array.ndim} dimensions; give an array (n,) or (n, d)")
    if array.size == 0 and not (array.ndim == 2 and len(array)):
        raise InputError("there are no observations; give at least 2 distinct ones, as an array (n,) or (n, d)")
    array = array.reshape(len(array), -1)
    if array.shape[1] == 0:
        raise InputError("the observations have no columns; give an array (n,) or (n, d) with d at least 1")
    # The extremes are finite unless an entry is not: two passes without a mask in the usual case.
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        finite = np.isfinite(array).all(axis=1)
        row = int(np.argmin(finite))
        raise InputError(
            f"observation {row} is {array[row].tolist() if array.shape[1] > 1 else array[row, 0]} "
            f"({int((~finite).sum())} of {len(array)} are not finite); remove missing and infinite values first"
        )
    largest = max(-low, high)
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        row = int(np.argmax(np.abs(array).max(axis=1)))
        raise InputError(
            f"observation {row} is {array[row].tolist() if array.shape[1] > 1 else array[row, 0]}, the largest in size; its "
            f"square {'overflows' if largest > 1 else 'vanishes in'} a float; divide the data by {largest:.0e}"
        )
    if (array[:100] == array[0]).all() and (array == array[0]).all():
        integers = np.reshape(raw, (len(array), -1))
        if integers.dtype.kind in "iuO" and (integers != integers[0]).any():
            raise InputError(
                f"the {len(array)} observations are integers near {integers[0, 0]} that are not distinguishable as floats; "
                "subtract an offset first"
            )
        value = array[0].tolist() if array.shape[1] > 1 else array[0, 0]
        raise InputError(
            f"{'the only observation is' if len(array) == 1 else f'all {len(array)} observations are'} {value}: fewer than 2 of "
            "them distinct; give at least 2 distinct"
        )
    return array


#: The square of a larger number, summed over a sample, overflows; that of its inverse vanishes.
_LARGEST = 1e150


def _real_array(x: ArrayLike) -> NDArray[Any]:
    """Array of real numbers, as given: not yet floats."""
    remedy = "give a numeric array (n,) or (n, d)"
    if x is None:
        raise InputError(f"the observations are None; {remedy}")
    if np.ma.isMaskedArray(x) and np.ma.getmaskarray(x).any():
        row = int(np.argwhere(np.ma.getmaskarray(x))[0][0])
        raise InputError(f"observation {row} is masked; remove masked entries first (x.compressed() for one column)")
    try:
        raw = np.asarray(x)
    except (TypeError, ValueError):
        raise InputError(f"the observations are not numbers in rows of one length; {remedy}") from None
    kinds = {
        "b": "booleans",
        "c": "complex",
        "M": "dates",
        "m": "time differences",
        "U": "text",
        "S": "text",
        "V": "records",
    }
    if raw.dtype.kind in kinds:
        first = f" (the first is {raw.flat[0]!s:.40})" if raw.size else ""
        raise InputError(f"the observations are {kinds[raw.dtype.kind]}{first}, not numbers; {remedy} of real numbers")
    if raw.dtype.kind == "O":
        for index, value in np.ndenumerate(raw):
            place = f"observation {index[0]}" if index else "the observations"
            if isinstance(value, str | bytes | bool | np.bool_ | complex | np.datetime64 | np.timedelta64):
                raise InputError(f"{place} is {value!r:.40}; the observations are not numbers; {remedy}")
            try:
                float(value)
            except OverflowError:
                raise InputError(f"{place} is an integer too large for a float; rescale the data") from None
            except (TypeError, ValueError):
                raise InputError(f"{place} is {value!r:.40}; the observations are not numbers; {remedy}") from None
    return raw


def from_model(pm_model: Any, *, name: str = "posterior") -> Target:
    """Posterior of a PyMC model, in the unconstrained space where ADVI works.

    Parameters
    ----------
    pm_model : pymc.Model
        A model with continuous free variables.
    name : str

    Returns
    -------
    Target
        Its log density is the unnormalised posterior with the Jacobian of PyMC's transforms, so divergences are known
        up to the log evidence.

    Raises
    ------
    InputError
        If the model has discrete variables or none.
    """
    if not pm_model.free_RVs:
        raise InputError("the PyMC model has no free variables; there is nothing to approximate")
    if pm_model.discrete_value_vars:
        names = ", ".join(v.name for v in pm_model.discrete_value_vars)
        raise InputError(f"the PyMC model has discrete variables ({names}); marginalise them first")
    start = np.concatenate([np.ravel(v) for v in pm_model.initial_point().values()])
    return Target(
        name=name,
        dim=len(start),
        scales=[(start.astype(float), np.eye(len(start)))],
        source=pm_model,
        spec={"model": name},
    )


def from_spec(spec: Mapping[str, Any], *, name: str | None = None) -> Target:
    """Build a target from its JSON description.

    Parameters
    ----------
    spec : mapping
        ``{"weights", "means", "sds"}``, ``{"weights", "means", "covs"}``, ``{"weights", "means", "scales", "nus"}`` or
        ``{"distribution", "params"}``.

    Raises
    ------
    InputError
        If the keys fit none of these, or the values are refused.
    """
    builders: dict[frozenset[str], Callable[..., Target]] = {
        frozenset({"weights", "means", "sds"}): normal_mixture,
        frozenset({"weights", "means", "covs"}): mvnormal_mixture,
        frozenset({"weights", "means", "scales", "nus"}): student_t_mixture,
    }
    keys = frozenset(spec)
    if keys in builders:
        return builders[keys](**spec, name=name)
    if keys == {"distribution", "params"}:
        if not isinstance(spec["params"], Mapping):
            raise InputError(f"params is {spec['params']!r}; it must be an object of PyMC's parameters")
        return from_distribution(str(spec["distribution"]), spec["params"], label=name)
    forms = "; ".join(
        "{" + ", ".join(sorted(form)) + "}" for form in [*builders, frozenset({"distribution", "params"})]
    )
    raise InputError(f"a target has the keys {{{', '.join(sorted(keys))}}}; they must be one of: {forms}")


# --- catalogue -------------------------------------------------------------------------------------------------------


class _Catalogue(Mapping[str, Target]):
    """Targets by name, each built when first asked for."""

    def __init__(self, builders: Mapping[str, Builder]) -> None:
        self._builders = dict(builders)
        self._built: dict[str, Target] = {}

    def __getitem__(self, name: str) -> Target:
        if name not in self._built:
            self._built[name] = self._builders[name]()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


#: The targets of the study. A new target is one more entry.
TARGETS: Mapping[str, Target] = _Catalogue(
    {
        "bimodal": lambda: normal_mixture([0.5, 0.5], [-3, 3], [1, 1], name="bimodal"),
        "unequal": lambda: normal_mixture([0.3, 0.7], [-2, 2], [0.5, 1.0], name="unequal"),
        "trimodal": lambda: normal_mixture([1 / 3, 1 / 3, 1 / 3], [-6, 0, 6], [1, 1, 1], name="trimodal"),
        "heavy_tailed": lambda: student_t_mixture([0.5, 0.5], [-4, 4], [1, 1], [4, 4], name="heavy_tailed"),
        "crossed": lambda: mvnormal_mixture(
            [0.5, 0.5],
            [[-1.5, -1.5], [1.5, 1.5]],
            [[[1, 0.7], [0.7, 1]], [[1, -0.7], [-0.7, 1]]],
            name="crossed",
        ),
        "claw": lambda: normal_mixture([0.5, *[0.1] * 5], [0, -1, -0.5, 0, 0.5, 1], [1, *[0.1] * 5], name="claw"),
        "student_t": lambda: from_distribution("StudentT", {"nu": 4, "mu": 0, "sigma": 1}, label="student_t"),
    }
)


def find_target(name: str) -> Target:
    """Look a target up in the catalogue.

    Raises
    ------
    InputError
        If there is none of that name; the nearest names are given.
    """
    if name not in TARGETS:
        raise lookup_error("target", name, TARGETS)
    return TARGETS[name]
