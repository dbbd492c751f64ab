"""A density as PyMC writes it, with its parameters kept apart so that one compiled graph serves many targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.graphs.compiling import compile_graph, compiled, numpy_mode
from models.graphs.deferred import Deferred
from models.graphs.forms import SMOOTH
from models.graphs.stable import FORMS, in_double_precision, stable_logp
from models.graphs.store import kept
from models.graphs.translate import UntranslatableError, translate

# Importing PyMC takes seconds; names and input errors must not wait for it.
pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = [
    "INTEGERS",
    "Distribution",
    "batched_logp",
    "build",
    "jet_graph",
    "logp_graph",
    "slope_at_a_point",
]

Array = NDArray[np.float64]
#: Name of a distribution, and names and shapes of its parameters.
Key = tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]


def _mvnormal_mixture(w: Any, mu: Any, cov: Any, **size: Any) -> Any:
    # One component distribution each: PyTensor then solves for all points at once (a batched covariance would loop).
    components = pytensor.tensor.as_tensor_variable(cov).type.shape[0]
    parts = [pm.MvNormal.dist(mu=mu[k], cov=cov[k]) for k in range(components)]
    return parts[0] if components == 1 else pm.Mixture.dist(w=w, comp_dists=parts, **size)


def _mvnormal_mixture_chol(w: Any, mu: Any, chol: Any, **size: Any) -> Any:
    components = mu.type.shape[0] if hasattr(mu, "type") else len(mu)
    parts = [pm.MvNormal.dist(mu=mu[k], chol=chol[k]) for k in range(components)]
    return pm.Mixture.dist(w=w, comp_dists=parts, **size)


#: Levels at which quantiles of an arbitrary distribution are taken.
LEVELS = np.array([0.001, 0.02, 0.16, 0.5, 0.84, 0.98, 0.999])

#: PyMC distributions by the name used here; the keyword names are PyMC's. Others are reached by their PyMC name.
BUILDERS: Mapping[str, Callable[..., Any]] = {
    "normal": lambda mu, sigma, **size: pm.Normal.dist(mu=mu, sigma=sigma, **size),
    "laplace": lambda mu, b, **size: pm.Laplace.dist(mu=mu, b=b, **size),
    "logistic": lambda mu, s, **size: pm.Logistic.dist(mu=mu, s=s, **size),
    "student_t": lambda nu, mu, sigma, **size: pm.StudentT.dist(nu=nu, mu=mu, sigma=sigma, **size),
    "skew_normal": lambda mu, sigma, alpha, **size: pm.SkewNormal.dist(mu=mu, sigma=sigma, alpha=alpha, **size),
    "normal_mixture": lambda w, mu, sigma, **size: pm.NormalMixture.dist(w=w, mu=mu, sigma=sigma, **size),
    "student_t_mixture": lambda w, nu, mu, sigma, **size: pm.Mixture.dist(
        w=w, comp_dists=pm.StudentT.dist(nu=nu, mu=mu, sigma=sigma), **size
    ),
    "mvnormal": lambda mu, cov, **size: pm.MvNormal.dist(mu=mu, cov=cov, **size),
    "mvnormal_chol": lambda mu, chol, **size: pm.MvNormal.dist(mu=mu, chol=chol, **size),
    "mvnormal_diag": lambda mu, sigma, **size: pm.MvNormal.dist(mu=mu, chol=pytensor.tensor.diag(sigma), **size),
    "mvnormal_mixture": _mvnormal_mixture,
    "mvnormal_mixture_chol": _mvnormal_mixture_chol,
}

MULTIVARIATE = {"mvnormal", "mvnormal_chol", "mvnormal_diag", "mvnormal_mixture", "mvnormal_mixture_chol"}


#: Parameters that PyMC takes as integers only.
INTEGERS = {
    "BetaBinomial": {"n"},
    "Binomial": {"n"},
    "DiracDelta": {"c"},
    "DiscreteUniform": {"lower", "upper"},
    "HyperGeometric": {"N", "k", "n"},
    "ZeroInflatedBinomial": {"n"},
}

#: Parameters that move with x, of distributions with an end that is theirs to choose.
_MOVED: Mapping[str, frozenset[str]] = {
    "Triangular": frozenset({"lower", "c", "upper"}),
    "TruncatedNormal": frozenset({"mu", "lower", "upper"}),
    "Uniform": frozenset({"lower", "upper"}),
    "Wald": frozenset({"alpha"}),
}


def build(name: str, params: Mapping[str, Any], **size: Any) -> Any:
    """Return the named PyMC distribution as an unregistered variable; ``shape=`` repeats it independently."""
    if whole := INTEGERS.get(name):
        params = {k: pytensor.tensor.cast(v, "int64") if k in whole else v for k, v in params.items()}
    return (BUILDERS[name] if name in BUILDERS else getattr(pm, name).dist)(**params, **size)


def logp_graph(name: str, point: Any, params: Mapping[str, Any]) -> Any:
    """Log density of the named distribution at one symbolic point: PyMC's own ``pm.logp``.

    Parameters
    ----------
    name : str
        A key of ``BUILDERS`` or the name of a PyMC distribution.
    point : TensorVariable
        A scalar, or a vector (d,) for a multivariate distribution.
    params : mapping of str to TensorVariable
        Parameters under PyMC's names.

    Returns
    -------
    TensorVariable
        Scalar log density in nats. Batch it over points with ``pytensor.graph.replace.vectorize_graph``.
    """
    pt = pytensor.tensor
    # Built on placeholders, so that correcting constants copies no random variable of a model around it.
    given = {"": pt.as_tensor_variable(point)} | {k: pt.as_tensor_variable(v) for k, v in params.items()}
    stand_in = {k: v if isinstance(v, pytensor.graph.basic.Constant) else v.type() for k, v in given.items()}
    own = {k: v for k, v in stand_in.items() if k}
    if name in SMOOTH:
        graph = in_double_precision(SMOOTH[name](stand_in[""], **own))
    else:
        graph = stable_logp(build(name, own), name, stand_in[""])
    swap = {stand_in[k]: v for k, v in given.items() if stand_in[k] is not v}
    return pytensor.graph.replace.graph_replace(graph, swap, strict=False)


@dataclass(frozen=True, eq=False)
class Distribution:
    """A named PyMC distribution with numeric parameters.

    Attributes
    ----------
    name : str
        A key of ``BUILDERS`` or the name of a PyMC distribution.
    params : mapping of str to ndarray
        Parameters under PyMC's names.
    dim : int
        Dimension of one point (1 for a univariate distribution).
    discrete : bool
        Whether it puts mass on integers; then its log density is the log of that mass.
    """

    name: str
    params: Mapping[str, Array]
    dim: int = 1
    discrete: bool = False

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector (also when it has one entry)."""
        return self.name in MULTIVARIATE

    @property
    def named(self) -> bool:
        """Whether it is one of PyMC's by name, with any parameters, rather than one of ``BUILDERS``."""
        return self.name not in BUILDERS

    @property
    def key(self) -> Key:
        """What the compiled graph depends on: the name and the shapes, not the numbers."""
        return self.name, tuple((k, np.shape(v)) for k, v in self.params.items())

    def variable(self, label: str = "x") -> Any:
        """Register the distribution as a free variable of the PyMC model now open."""
        return pm.modelcontext(None).register_rv(build(self.name, self.params), label)

    def logp(self, points: Array) -> Array:
        """Log density at points (n, dim), in nats, as (n,)."""
        points = np.asarray(points, dtype=np.int64 if self.discrete else float).reshape(-1, self.dim)
        function = _compiled_logp(self.key, self.discrete)
        return np.asarray(function(points if self.multivariate else points[:, 0], *self.values()))

    def log_odds_density(self, points: Array) -> Array:
        """Log density at x = 1/(1 + exp(-v)) for `points` v (n,): also where x rounds to 1, and to 0.

        Without the Jacobian: the density of x.
        """
        return np.asarray(_compiled_log_odds(self.key)(points, *self.values()))

    def beside(self, high: bool, gap: Array) -> Array | None:
        """Log density (n,) at distances (n,) inside the high or the low end of the support, in full digits; None if not known."""
        if self.ends == (0.0, 1.0):
            odds = np.log1p(-gap) - np.log(gap)
            return self.log_odds_density(odds if high else -odds)
        end, moved = self.ends[high], _MOVED.get(self.name, frozenset())
        if moved.isdisjoint(self.params):
            return None
        params = {k: v - end if k in moved else v for k, v in self.params.items()}
        return replace(self, params=params).logp(-gap if high else gap)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The ends of the support of a univariate density, infinite on the whole line."""
        if self.name == "VonMises":
            return -np.pi, np.pi
        if self.name == "LogitNormal":  # PyMC gives it no transform
            return 0.0, 1.0
        if self.support_map is None:
            return -np.inf, np.inf
        low, high = sorted(map(float, self.support_map(np.array([-1e3, 1e3]))[0]))
        return (low + float(self.params.get("alpha", 0.0)), high) if self.name == "Wald" else (low, high)

    @cached_property
    def quantiles(self) -> Array:
        """Quantiles (7,) of a sample at ``LEVELS``: roughly where the mass lies."""
        known = (self.key, [v.tolist() for v in self.values()])
        found: Array = kept(
            "quantiles", known, lambda: np.quantile(np.clip(self.rvs(4096, seed=0), -1e300, 1e300), LEVELS)
        )
        return found

    def jet(self, points: Array) -> tuple[Array, Array, Array]:
        """Log density (n,) of a univariate distribution at points (n,), with its first and second derivatives."""
        logp, slope, curvature = _compiled_jet(self.key)(points, *self.values())
        return logp, slope, curvature

    def rvs(self, n: int, seed: int) -> Array:
        """Draw (n, dim) points with NumPy's generator seeded by `seed`."""
        function, order = _compiled_rvs(self.key, self.dim)
        if function is None:
            draws = pm.draw(build(self.name, self.params, shape=(n,)), random_seed=seed, mode=numpy_mode())
            return np.asarray(draws, dtype=float).reshape(n, self.dim)
        # Generators as pm.draw seeds them.
        children = np.random.SeedSequence(seed).spawn(len(order))
        generators = [np.random.Generator(np.random.PCG64(children[i])) for i in order]
        return np.asarray(function(n, *self.values(), *generators)[0], dtype=float).reshape(n, self.dim)

    def values(self) -> list[Array]:
        """Parameters as arrays, in their order."""
        return [np.asarray(v, dtype=float) for v in self.params.values()]

    @cached_property
    def support_map(self) -> Callable[[Array], tuple[Array, Array]] | None:
        """The map from the real line to the support and its log derivative; ``None`` on the whole line.

        It is PyMC's own transform of the variable, so quadrature lives where ADVI lives.
        """
        if self.name in BUILDERS:
            return None
        function = kept("support", self.key, lambda: _compiled_support(self))
        return None if function == _WHOLE_LINE else lambda u: tuple(function(u, *self.values()))


_WHOLE_LINE = "the whole line"


def _compiled_support(density: Distribution) -> Any:
    """Map from the real line to the support and its log derivative, over (u, *parameters)."""
    with pm.Model(model=None) as model:
        variable = density.variable()
    transform = model.rvs_to_transforms[variable]
    if transform is None:
        return _WHOLE_LINE
    u, params = pytensor.tensor.vector("u"), symbols(density.key)
    inputs = build(density.name, params).owner.inputs
    return compile_graph([u, *params.values()], [transform.backward(u, *inputs), transform.log_jac_det(u, *inputs)])


def symbols(key: Key) -> dict[str, Any]:
    """Symbolic parameters with the shapes of a distribution's `key`."""
    return {k: pytensor.tensor.tensor(k, shape=shape, dtype="float64") for k, shape in key[1]}


@cache
def _compiled_logp(key: Key, discrete: bool = False) -> Callable[..., Array]:
    def build() -> Any:
        params = symbols(key)
        whole = pytensor.tensor.lvector("points") if discrete else None
        points, logp = batched_logp(key[0], params, multivariate=key[0] in MULTIVARIATE, points=whole)
        return [points, *params.values()], logp

    return compiled("log density", key, build)


@cache
def _compiled_log_odds(key: Key) -> Callable[..., Array]:
    def build() -> Any:
        params, v = symbols(key), pytensor.tensor.dvector("v")
        # PyTensor writes log(sigmoid(v)) and log(1 - sigmoid(v)) as softplus.
        return [v, *params.values()], batched_logp(key[0], params, multivariate=False, points=v, odds=True)[1]

    return compiled("log density over log odds", key, build)


@cache
def _compiled_rvs(key: Key, dim: int) -> tuple[Callable[..., Any] | None, list[int]]:
    """Function of n, the parameters and random generators; and the places of these in the order of PyMC."""

    def make() -> tuple[Callable[..., Any] | None, list[int]]:
        params, n = symbols(key), pytensor.tensor.lscalar("n")
        # One variable of n independent points: pm.draw(draws=n) would call the graph n times.
        draws = build(key[0], params, shape=(n, dim) if key[0] in MULTIVARIATE else (n,))
        inputs = [n, *params.values()]
        function, updates = pm.pytensorf.compile(
            inputs, draws, random_seed=False, return_updates=True, mode=numpy_mode(), on_unused_input="ignore"
        )
        random = [place.variable for place in function.maker.inputs[len(inputs) :]]
        order = [list(updates).index(v) for v in random]
        try:
            return translate(function.maker.fgraph, single=False), order
        except UntranslatableError:  # a loop, such as that of a truncated distribution: left to pm.draw
            return None, order

    found: tuple[Callable[..., Any] | None, list[int]] = kept("draws", (key, dim), make)
    return found


@cache
def _compiled_jet(key: Key) -> Callable[..., Any]:
    def build() -> Any:
        params = symbols(key)
        points, logp = batched_logp(key[0], params, multivariate=False)
        return jet_graph(points, logp, list(params.values()))

    return compiled("log density with two derivatives", key, build)


@cache
def slope_at_a_point(key: Key) -> Callable[..., Any]:
    """Compile minus the log density and its gradient at one point (d,), over (point, *parameters)."""

    def build_graph() -> Any:
        params, multivariate = symbols(key), key[0] in MULTIVARIATE
        point = pytensor.tensor.vector("point")
        logp = logp_graph(key[0], point if multivariate else point[0], params)
        return [point, *params.values()], [-logp, -pytensor.grad(logp, point)]

    return compiled("log density and gradient at a point", key, build_graph)


def jet_graph(points: Any, logp: Any, params: list[Any]) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of log densities (n,) at points (n,) with their first and second derivatives."""
    slope = pytensor.grad(logp.sum(), points)
    return [points, *params], [logp, slope, pytensor.grad(slope.sum(), points, disconnected_inputs="ignore")]


def batched_logp(
    name: str, params: Mapping[str, Any], *, multivariate: bool, points: Any = None, odds: bool = False
) -> tuple[Any, Any]:
    """Log density over a batch: symbolic points (n,) or (n, d), and the log densities (n,).

    With `odds`, points are log odds v and the densities those of x = sigmoid(v).
    """
    from pytensor.graph.replace import vectorize_graph

    pt = pytensor.tensor
    if points is None:
        points = pt.matrix("points") if multivariate else pt.vector("points")
    if name in FORMS:  # elementwise as they are
        return points, logp_graph(name, pt.sigmoid(points) if odds else points, params)
    point = pt.vector("point") if multivariate else pt.scalar("point", dtype=points.dtype)
    return points, vectorize_graph(logp_graph(name, pt.sigmoid(point) if odds else point, params), {point: points})
