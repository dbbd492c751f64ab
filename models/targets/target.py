"""What a target is: p_data as a density, as draws, or as the posterior of a PyMC model, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.graphs import Deferred, compile_graph, kept
from models.graphs.distributions import (
    Distribution,
    Key,
    batched_logp,
    jet_graph,
    slope_at_a_point,
    symbols,
)
from models.graphs.log_density import LogDensity, of_distribution, of_model
from models.graphs.stable import in_double_precision
from models.targets.checks import check_seed, labels_of
from models.targets.natural_scale import evaluated, in_portions, leading_parts

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["Density", "Discrete", "Draws", "Posterior", "Target"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """A distribution p_data to approximate: a `Density`, a `Discrete` law, `Draws`, or the `Posterior` of a PyMC model.

    Built by the functions of `models.targets` rather than directly. What a kind of target does not have, it refuses.

    Attributes
    ----------
    name : str
        Shown in tables; catalogue name or a description.
    dim : int
        Dimension d of one point.
    mean, cov : ndarray (d,), (d, d), optional
        Exact moments where known; absent where infinite or unknown.
    scales : sequence of (ndarray (d,), ndarray (d, d))
        Locations and Cholesky factors of the places where the density has structure (the components of a mixture).
        Quadrature puts its panels and optimisers their starts there.
    spec : mapping
        JSON-ready description from which the same target can be built again.
    has_density : bool
        Whether a log density is known (reverse KL needs one).
    normalised : bool
        Whether the log density includes its normalising constant.
    """

    name: str
    dim: int
    mean: Array | None = None
    cov: Array | None = None
    scales: Sequence[tuple[Array, Array]] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    has_density: ClassVar[bool] = True
    normalised: ClassVar[bool] = True

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector (also when it has one entry)."""
        return self.dim > 1

    @property
    def support(self) -> Callable[[Array], tuple[Array, Array]] | None:
        """The map from the real line to a bounded support and its log derivative; ``None`` on the whole line."""
        return None

    def model(self) -> Any:
        """Return a PyMC model with one free variable ``x`` ~ p_data; of a posterior, its own model.

        Raises
        ------
        InputError
            If the target has draws only.
        """
        raise self._lacks("a PyMC model of its density")

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
        >>> from models.targets import normal_mixture
        >>> normal_mixture([0.5, 0.5], [-3, 3], [1, 1]).logp([[0.0]])
        array([-5.41893853])
        """
        raise self._lacks("log densities")

    def jet(self, points: ArrayLike) -> tuple[Array, Array, Array]:
        """Log density (n,) of a 1-D target with its first and second derivatives.

        Parameters
        ----------
        points : array_like (n, 1)
        """
        raise self._lacks("log densities")

    def rvs(self, n: int, seed: int) -> Array:
        """Draw points (n, d); from data, with replacement.

        Raises
        ------
        InputError
            If nothing can draw from the target (a posterior), or the seed is negative.
        """
        raise InputError(f"target {self.name!r} is a posterior: draw from it by MCMC (pm.sample), not by rvs")

    @cached_property
    def initial_point(self) -> Array:
        """Where PyMC starts, (d,) in unconstrained space."""
        raise self._lacks("initial point")

    @cached_property
    def log_density(self) -> LogDensity:
        """Log density with its gradient in unconstrained space, compiled by Numba.

        Raises
        ------
        InputError
            If the target has draws only, or is the posterior of a model whose density is random.
        """
        raise self._lacks("log densities")

    @property
    def graph_key(self) -> Key | None:
        """What the graph of the log density depends on besides `graph_values`; ``None`` if only the target itself says."""
        return None

    @property
    def graph_values(self) -> list[Array]:
        """Numbers for the inputs of the `graph` of the log density."""
        return []

    def graph(self, points: Any) -> tuple[list[Any], Any]:
        """Symbolic inputs and log densities (n,) at symbolic points (n, d)."""
        raise self._lacks("log densities")

    @cached_property
    def coordinates(self) -> list[str]:
        """Names of the d unconstrained coordinates: ``x``, or the value variables of the PyMC model with their indices."""
        return ["x"] if self.dim == 1 else [f"x[{i}]" for i in range(self.dim)]

    def natural(self, points: ArrayLike) -> dict[str, Array] | None:
        """Map points (n, d) of unconstrained space to the natural scale of each variable, (n, ...) by name.

        Returns
        -------
        dict of str to ndarray, or None
            The free variables and deterministics of a PyMC model; ``x`` for a density with a bounded support; ``None`` where
            unconstrained space is the natural scale.
        """
        support = self.support
        return None if support is None else {"x": np.asarray(support(np.asarray(points, dtype=float).ravel())[0])}

    def check_density(self, needed_by: str) -> None:
        """Refuse a target without a log density, for what needs one.

        Raises
        ------
        InputError
        """
        if not self.has_density:
            raise InputError(
                f"target {self.name!r} is known by draws only, and {needed_by} needs a log density; fit a density to the draws "
                "first (fit_mle), which is the forward direction and needs draws alone"
            )

    def check_normalised(self) -> None:
        """Refuse a target without a normalised log density.

        Raises
        ------
        InputError
        """
        if not self.has_density:
            raise self._lacks("log densities")
        if not self.normalised:
            raise InputError(
                f"target {self.name!r} is an unnormalised posterior; its entropy and KL are known only up to log Z"
            )

    def descent(self, x: Array) -> tuple[float, Array]:
        """Minus the log density and its gradient at one point (d,), as scipy.optimize takes them."""
        value, slope = self.log_density(np.reshape(x, (1, -1)))
        return -float(value[0]), -slope[0]

    @cached_property
    def modes(self) -> Array:
        """Local maxima of the density (k, d), highest first; by ascent from each place with structure."""
        from scipy.optimize import minimize

        if not self.has_density:
            raise InputError(f"target {self.name!r} is known by draws only, so its modes are not known")
        gradient = self.descent
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
    def peaks(self) -> Sequence[tuple[Array, Array]]:
        """Locations and Cholesky factors of the places where searches in several dimensions start."""
        return self.scales

    def _lacks(self, what: str) -> InputError:
        return InputError(
            f"target {self.name!r} is known by draws only, so it has no {what}; "
            "fit a density to the draws first (fit_mle), which is the forward direction and needs draws alone"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Draws(Target):
    """A target known by draws only, ``draws`` (n, d)."""

    draws: Array

    has_density: ClassVar[bool] = False

    def rvs(self, n: int, seed: int) -> Array:
        """Draw points (n, d) from the data, with replacement."""
        check_seed(seed)
        return self.draws[np.random.default_rng(seed).integers(len(self.draws), size=n)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Density(Target):
    """A target whose density is that of a PyMC ``distribution`` in closed form."""

    distribution: Distribution

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector (also when it has one entry)."""
        return self.distribution.multivariate

    @property
    def support(self) -> Callable[[Array], tuple[Array, Array]] | None:
        """The map from the real line to a bounded support and its log derivative; ``None`` on the whole line."""
        return self.distribution.support_map

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the support of a 1-D density, infinite on the whole line."""
        return self.distribution.ends

    def model(self) -> Any:
        """Return a PyMC model with one free variable ``x`` ~ p_data."""
        with pm.Model(model=None) as model:  # never a part of a model the caller has open
            self.distribution.variable("x")
        return model

    def logp(self, points: ArrayLike) -> Array:
        """Log density (n,) in nats at points (n, d)."""
        return self.distribution.logp(np.asarray(points, dtype=float))

    def jet(self, points: ArrayLike) -> tuple[Array, Array, Array]:
        """Log density (n,) of a 1-D target with its first and second derivatives."""
        return self.distribution.jet(np.asarray(points, dtype=float).reshape(-1))

    def rvs(self, n: int, seed: int) -> Array:
        """Draw points (n, d)."""
        check_seed(seed)
        return self.distribution.rvs(n, seed)

    @cached_property
    def initial_point(self) -> Array:
        """Where PyMC starts, (d,) in unconstrained space."""
        key = self.graph_key, [v.tolist() for v in self.graph_values]
        point: Array = kept("initial point", key, lambda: _initial_point(self.model()))
        return point

    @cached_property
    def log_density(self) -> LogDensity:
        """Log density with its gradient in unconstrained space, compiled by Numba."""
        return of_distribution(self.distribution)

    @property
    def graph_key(self) -> Key:
        """What the graph of the log density depends on besides `graph_values`: name and shapes."""
        return self.distribution.key

    @property
    def graph_values(self) -> list[Array]:
        """Parameters of the distribution, in their order."""
        return self.distribution.values()

    def graph(self, points: Any) -> tuple[list[Any], Any]:
        """Symbolic parameters and log densities (n,) at symbolic points (n, d)."""
        params, vector = symbols(self.graph_key), self.multivariate
        flat = points if vector else points[:, 0]
        return list(params.values()), batched_logp(self.distribution.name, params, multivariate=vector, points=flat)[1]

    def descent(self, x: Array) -> tuple[float, Array]:
        """Minus the log density and its gradient at one point (d,), as scipy.optimize takes them."""
        value, slope = slope_at_a_point(self.graph_key)(np.asarray(x, dtype=float), *self.graph_values)
        return float(value), np.asarray(slope, dtype=float)


@dataclass(frozen=True, eq=False, kw_only=True)
class Discrete(Target):
    """A target that puts mass on integers, by a PyMC ``distribution``: entropies and divergences are sums, in nats.

    It has no density, so what needs one refuses it; a family of counts can be projected on, and draws are those of `rvs`.
    """

    distribution: Distribution

    has_density: ClassVar[bool] = False

    def log_mass(self, points: ArrayLike) -> Array:
        """Log of the mass (n,) at integers (n,), in nats."""
        return self.distribution.logp(np.asarray(points, dtype=float))

    def logp(self, points: ArrayLike) -> Array:
        """Log mass (n,) in nats at integers (n, 1)."""
        return self.log_mass(points)

    def check_density(self, needed_by: str) -> None:
        """Refuse this target where a density is needed."""
        raise self._lacks(f"log densities, which {needed_by} needs")

    def rvs(self, n: int, seed: int) -> Array:
        """Draw integers (n, 1)."""
        check_seed(seed)
        return self.distribution.rvs(n, seed)

    def _lacks(self, what: str) -> InputError:
        return InputError(
            f"target {self.name!r} is discrete, so it has no density and no {what}; ask for its entropy, or for divergences to "
            "other discrete distributions, or give draws of it"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Posterior(Target):
    """The posterior of the PyMC model ``source``, unnormalised, in the unconstrained space where ADVI works.

    Attributes
    ----------
    source : pymc.Model
    batched : bool
        Whether `source` has the whole data in place of minibatches that the model was given.
    """

    source: Any
    batched: bool = False

    normalised: ClassVar[bool] = False

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector: here it always is."""
        return True

    def model(self) -> Any:
        """Return the PyMC model itself."""
        return self.source

    def logp(self, points: ArrayLike) -> Array:
        """Unnormalised log density (n,) in nats at points (n, d) of unconstrained space."""
        return self.log_density(np.asarray(points, dtype=float).reshape(-1, self.dim))[0]

    def jet(self, points: ArrayLike) -> tuple[Array, Array, Array]:
        """Log density (n,) of a 1-D target with its first and second derivatives."""
        logp, slope, curvature = self._jet(np.asarray(points, dtype=float).reshape(-1))
        return logp, slope, curvature

    @cached_property
    def initial_point(self) -> Array:
        """Where PyMC starts, (d,) in unconstrained space."""
        return _initial_point(self.source)

    @cached_property
    def log_density(self) -> LogDensity:
        """Log density with its gradient in unconstrained space, compiled by Numba."""
        return of_model(self.source)

    @cached_property
    def _jet(self) -> Callable[[Array], Any]:
        points = pytensor.tensor.vector("points")
        _, values = self.graph(points[:, None])
        return compile_graph(*jet_graph(points, values, []))

    def graph(self, points: Any) -> tuple[list[Any], Any]:
        """Log densities (n,) at symbolic points (n, d), which need no inputs."""
        model = self.source
        outputs, point = pm.pytensorf.join_nonshared_inputs(
            point=model.initial_point(), outputs=[model.logp()], inputs=model.value_vars
        )
        return [], pytensor.graph.replace.vectorize_graph(in_double_precision(outputs[0]), {point: points})

    @cached_property
    def coordinates(self) -> list[str]:
        """Names of the d unconstrained coordinates: the value variables of the model with their indices."""
        names: list[str] = []
        for name, value in self.source.initial_point().items():
            names += [f"{name}[{', '.join(map(str, i))}]" if i else name for i in np.ndindex(np.shape(value))]
        return names

    def natural(self, points: ArrayLike) -> dict[str, Array]:
        """Free variables and deterministics (n, ...) by name at points (n, d) of unconstrained space."""
        points = np.asarray(points, dtype=float).reshape(-1, self.dim)
        return self._natural_graph(points)

    @cached_property
    def numbers(self) -> int:
        """How many numbers its free variables and deterministics have at one point."""
        return sum(v[0].size for v in self.natural(self.initial_point[None]).values())

    def blocks(self) -> list[tuple[slice, tuple[int, ...]]]:
        """Where each value variable stands in a point of unconstrained space, and its shape there."""
        result, done = [], 0
        for value in self.source.initial_point().values():
            size = int(np.size(value))
            result.append((slice(done, done + size), np.shape(value)))
            done += size
        return result

    def vanishing(self, point: Array) -> list[str]:
        """Variables and potentials whose log density is not finite at a point (d,) of unconstrained space; none if that cannot be said."""
        places = zip(self.source.value_vars, self.blocks(), strict=True)
        values = {v.name: point[where].reshape(shape) for v, (where, shape) in places}
        try:
            names, evaluate = self._by_variable
            return [name for name, value in zip(names, evaluate(values), strict=True) if not np.isfinite(value)]
        except Exception:  # whatever a user's model does there: it was asked for a word only
            return []

    @cached_property
    def _by_variable(self) -> tuple[list[str], Callable[[dict[str, Array]], list[Any]]]:
        model = self.source
        factors = [*model.basic_RVs, *model.potentials]
        sums = [pytensor.tensor.sum(term) for term in model.logp(vars=factors, sum=False)]
        return [v.name for v in factors], model.compile_fn(sums, on_unused_input="ignore")

    def blame(self, point: Array) -> str:
        """Say which variable has no finite log density at a point (d,) of unconstrained space; empty if that cannot be said."""
        bad = self.vanishing(point)
        return f" (of {', '.join(map(repr, bad))} at the first)" if bad else ""

    def data_groups(self) -> dict[str, Any]:
        """Datasets ``observed_data`` and ``constant_data`` of the model, with its dims and coords; left out where it has none."""
        from arviz_base import dict_to_dataset
        from pymc.backends.arviz import find_constants, find_observations

        dims, coords = self.labels()
        found = {"observed_data": find_observations(self.source), "constant_data": find_constants(self.source)}
        return {
            name: dict_to_dataset(
                values, dims={k: list(v) for k, v in dims.items()}, coords=dict(coords), sample_dims=[]
            ).drop_attrs(deep=False)  # the moment among them: the same input gives the same bytes
            for name, values in found.items()
            if values
        }

    @property
    def added(self) -> set[str]:
        """Deterministics that PyMC adds and the author did not ask for.

        These are observed values with those imputed put among them, which have a free variable of their own (``y`` beside ``y_unobserved``), and
        the probabilities of the categories of each observation (``y_probs``).
        """
        observed = {rv.name for rv in self.source.observed_RVs}
        names = {rv.name for rv in self.source.deterministics}
        return {n for n in names if f"{n}_unobserved" in self.source.named_vars or n.removesuffix("_probs") in observed}

    def labels(self) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
        """Dims of the variables that the model names them for, and the coords of these dims."""
        model = self.source
        dims = {name: tuple(map(str, d)) for name, d in model.named_vars_to_dims.items() if all(map(bool, d))}
        coords = {name: labels_of(values) for name, values in model.coords.items() if values is not None}
        return dims, coords

    def prior_points(self, n: int, seed: int) -> Array | None:
        """Draws (n, d) from the prior of a PyMC model in unconstrained space; ``None`` if a prior cannot be drawn from.

        Rows may hold numbers that are not finite, as an ``ordered`` variable gives them whose prior draws are not in order, and do where a draw fails, as
        one of ``InverseGamma(0.001, 0.001)``, which divides by zero.
        """
        if n == 0:
            return np.empty((0, self.dim))
        model = self.source
        try:
            # Every variable from its prior, also those that the model gives an initial value.
            overrides = dict.fromkeys(model.free_RVs, "prior")
            function = pm.initial_point.make_initial_point_fn(model=model, overrides=overrides)
        except NotImplementedError:  # Flat, HalfFlat and potentials are no distributions to draw from
            return None
        points = np.full((n, self.dim), np.nan)
        for row, own in zip(points, np.random.SeedSequence(seed).generate_state(n).tolist(), strict=True):
            try:
                row[:] = np.concatenate([np.ravel(v) for v in function(own).values()])
            except NotImplementedError:
                return None
            except (ArithmeticError, ValueError):  # of that draw
                continue
        return points

    def leading(self, points: ArrayLike, most: int) -> dict[str, Array]:
        """Free variables (n, ...), and of the deterministics no more rows than the first `most` entries of all take, by name at points (n, d).

        A deterministic may have a row for every observation. What PyMC adds to a model is left out.
        """
        if self.numbers <= most:
            return {name: v for name, v in self.natural(points).items() if name not in self.added}
        if most not in self._leading_graphs:
            shapes = {name: v.shape[1:] for name, v in self.natural(self.initial_point[None]).items()}
            parts = leading_parts({name: shape for name, shape in shapes.items() if name not in self.added}, most)
            whole: dict[str, tuple[slice, ...]] = {v.name: () for v in self.source.free_RVs}
            self._leading_graphs[most] = evaluated(
                self.source, whole | {n: p for n, p in parts.items() if n not in whole}
            )
        # As if all were computed, which it is where the graph does not allow a cut.
        points = np.asarray(points, dtype=float).reshape(-1, self.dim)
        return in_portions(self._leading_graphs[most], points, self.numbers)

    @cached_property
    def _leading_graphs(self) -> dict[int, Callable[[Array], dict[str, Array]]]:
        return {}

    @cached_property
    def _natural_graph(self) -> Callable[[Array], dict[str, Array]]:
        return evaluated(self.source, {v.name: () for v in (*self.source.free_RVs, *self.source.deterministics)})

    @cached_property
    def peaks(self) -> Sequence[tuple[Array, Array]]:
        """Modes (d,) of the posterior and Cholesky factors (d, d) of the inverse Hessians there.

        By ascent from its initial point and from draws of its prior (from a Normal about that point where a prior cannot
        be drawn from). Where no ascent ends in a proper mode, the initial point with unit scale.
        """
        from scipy.optimize import minimize

        (start, scale), *_ = self.scales
        draws = start + 3 * np.random.default_rng(0).standard_normal((_ASCENTS, self.dim))
        prior = self.prior_points(_ASCENTS, 0)
        if prior is not None:
            whole = np.isfinite(prior).all(axis=1)
            draws[whole] = prior[whole]
        gradient = self.descent
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


_ASCENTS = 24  # from the prior of a model, in search of its modes


def _initial_point(model: Any) -> Array:
    return np.concatenate([np.ravel(v) for v in model.initial_point().values()]).astype(float)
