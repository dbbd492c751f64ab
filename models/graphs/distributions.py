"""A density as PyMC writes it, with its parameters kept apart so that one compiled graph serves many targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, lookup_error
from models.graphs.compiling import compile_graph, compiled, numpy_mode
from models.graphs.deferred import Deferred
from models.graphs.forms import FORMS
from models.graphs.store import kept
from models.graphs.translate import translate

# Importing PyMC takes seconds; names and input errors must not wait for it.
pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = [
    "INTEGERS",
    "Distribution",
    "batched_logp",
    "build",
    "distribution",
    "in_double_precision",
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
    logp = FORMS[name](stand_in[""], **own) if name in FORMS else pm.logp(build(name, own), stand_in[""])
    graph = _stable(in_double_precision(logp))
    swap = {stand_in[k]: v for k, v in given.items() if stand_in[k] is not v}
    return pytensor.graph.replace.graph_replace(graph, swap, strict=False)


def in_double_precision(graph: Any) -> Any:
    """Evaluate constants such as the ``pt.sqrt(2)`` of PyMC's SkewNormal in float64.

    PyTensor gives the square root of a small integer as float32, which leaves that density wrong by 2e-8 relative.
    """
    pt = pytensor.tensor
    single = [
        variable
        for variable in pytensor.graph.traversal.ancestors([graph])
        if variable.owner is not None
        and getattr(variable, "dtype", None) == "float32"
        and all(isinstance(i, pytensor.graph.basic.Constant) for i in variable.owner.inputs)
    ]
    exact = {v: v.owner.op(*[pt.constant(i.data, dtype="float64") for i in v.owner.inputs]) for v in single}
    return pytensor.graph.replace.clone_replace(graph, exact, rebuild_strict=False) if exact else graph


def _stable(graph: Any) -> Any:
    """Write log(1 + erf(u)) and log(1 + exp(u)) so that they and their derivatives survive large arguments.

    They occur in PyMC's SkewNormal and Logistic. PyTensor's own rewrites come after differentiation and rescue the values
    only; second derivatives become 0/0 or inf/inf.
    """
    pt = pytensor.tensor
    swap = {}
    for variable in pytensor.graph.traversal.ancestors([graph]):
        if (u := _log_one_plus(variable.owner, "Erf")) is not None:
            swap[variable] = _log_one_plus_erf(u)
        elif (u := _log_one_plus(variable.owner, "Exp")) is not None:
            swap[variable] = pt.softplus(u)
    return pytensor.graph.replace.clone_replace(graph, swap, rebuild_strict=False) if swap else graph


def _log_one_plus_erf(u: Any) -> Any:
    pt = pytensor.tensor
    high, low = pt.maximum(u, 0.0), pt.maximum(pt.minimum(u, 0.0), -100.0)
    # Far out by the asymptotic series (Abramowitz and Stegun, 1964, 7.1.23): the derivatives of erfcx cancel there.
    far = pt.minimum(u, -100.0)
    r = 1 / (2 * far**2)
    series = -(far**2) - pt.log(-far) - 0.5 * np.log(np.pi) + pt.log1p(-r * (1 - 3 * r * (1 - 5 * r)))
    return pt.switch(u < -100, series, pt.switch(u < 0, pt.log(pt.erfcx(-low)) - low**2, pt.log1p(pt.erf(high))))


def _log_one_plus(node: Any, inner: str) -> Any:
    """The argument u of log(1 + f(u)) or log1p(f(u)); ``None`` for any other node."""
    if _is(node, "Log1p"):
        candidates = list(node.inputs)
    elif _is(node, "Log") and _is(node.inputs[0].owner, "Add") and len(node.inputs[0].owner.inputs) == 2:
        terms = node.inputs[0].owner.inputs
        ones = [t for t in terms if isinstance(t, pytensor.graph.basic.Constant) and np.all(t.data == 1)]
        candidates = [t for t in terms if t not in ones] if ones else []
    else:
        return None
    return candidates[0].owner.inputs[0] if candidates and _is(candidates[0].owner, inner) else None


def _is(node: Any, scalar_op: str) -> bool:
    return node is not None and type(getattr(node.op, "scalar_op", None)).__name__ == scalar_op


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
    """

    name: str
    params: Mapping[str, Array]
    dim: int = 1

    @property
    def multivariate(self) -> bool:
        """Whether a point is a vector (also when it has one entry)."""
        return self.name in MULTIVARIATE

    @property
    def key(self) -> Key:
        """What the compiled graph depends on: the name and the shapes, not the numbers."""
        return self.name, tuple((k, np.shape(v)) for k, v in self.params.items())

    def variable(self, label: str = "x") -> Any:
        """Register the distribution as a free variable of the PyMC model now open."""
        return pm.modelcontext(None).register_rv(build(self.name, self.params), label)

    def logp(self, points: Array) -> Array:
        """Log density at points (n, dim), in nats, as (n,)."""
        points = np.asarray(points, dtype=float).reshape(-1, self.dim)
        return np.asarray(_compiled_logp(self.key)(points if self.multivariate else points[:, 0], *self.values()))

    def jet(self, points: Array) -> tuple[Array, Array, Array]:
        """Log density (n,) of a univariate distribution at points (n,), with its first and second derivatives."""
        logp, slope, curvature = _compiled_jet(self.key)(points, *self.values())
        return logp, slope, curvature

    def rvs(self, n: int, seed: int) -> Array:
        """Draw (n, dim) points with NumPy's generator seeded by `seed`."""
        function, order = _compiled_rvs(self.key, self.dim)
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
def _compiled_logp(key: Key) -> Callable[..., Array]:
    def build() -> Any:
        params = symbols(key)
        points, logp = batched_logp(key[0], params, multivariate=key[0] in MULTIVARIATE)
        return [points, *params.values()], logp

    return compiled("log density", key, build)


@cache
def _compiled_rvs(key: Key, dim: int) -> tuple[Callable[..., Any], list[int]]:
    """Function of n, the parameters and random generators; and the places of these in the order of PyMC."""

    def make() -> tuple[Callable[..., Any], list[int]]:
        params, n = symbols(key), pytensor.tensor.lscalar("n")
        # One variable of n independent points: pm.draw(draws=n) would call the graph n times.
        draws = build(key[0], params, shape=(n, dim) if key[0] in MULTIVARIATE else (n,))
        inputs = [n, *params.values()]
        function, updates = pm.pytensorf.compile(
            inputs, draws, random_seed=False, return_updates=True, mode=numpy_mode(), on_unused_input="ignore"
        )
        random = [place.variable for place in function.maker.inputs[len(inputs) :]]
        return translate(function.maker.fgraph, single=False), [list(updates).index(v) for v in random]

    found: tuple[Callable[..., Any], list[int]] = kept("draws", (key, dim), make)
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


def batched_logp(name: str, params: Mapping[str, Any], *, multivariate: bool, points: Any = None) -> tuple[Any, Any]:
    """Log density over a batch: symbolic points (n,) or (n, d), and the log densities (n,)."""
    from pytensor.graph.replace import vectorize_graph

    pt = pytensor.tensor
    point = pt.vector("point") if multivariate else pt.scalar("point")
    if points is None:
        points = pt.matrix("points") if multivariate else pt.vector("points")
    return points, vectorize_graph(logp_graph(name, point, params), {point: points})


def distribution(name: str, params: Mapping[str, Any]) -> Distribution:
    """Check a univariate PyMC distribution given by name and parameters.

    Parameters
    ----------
    name : str
        PyMC's class name, e.g. ``"StudentT"``.
    params : mapping
        PyMC's keyword arguments, e.g. ``{"nu": 4, "mu": 0, "sigma": 1}``.

    Raises
    ------
    InputError
        If the distribution is unknown, discrete, or refuses the parameters.
    """
    values: dict[str, Array] = {}
    for key, value in params.items():
        try:
            values[key] = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"parameter {key!r} of {name} is {value!r}; it must be a number") from None
        if not np.all(np.isfinite(values[key])):
            raise InputError(f"parameter {key!r} of {name} is {value!r}; it must be finite")
    known = (name, [(key, value.tolist()) for key, value in values.items()])
    kept("accepted distribution", known, lambda: _accepted(name, values, params))
    return Distribution(name, values)


def _accepted(name: str, values: Mapping[str, Array], given: Mapping[str, Any]) -> bool:
    """Refuse what PyMC does not know or does not take."""
    kind: Any = getattr(pm, name, None)
    if not (isinstance(kind, type) and issubclass(kind, pm.Distribution)):
        known = [n for n in dir(pm) if isinstance(getattr(pm, n), type) and issubclass(getattr(pm, n), pm.Continuous)]
        raise lookup_error("PyMC distribution", name, known)
    if issubclass(kind, pm.Discrete):
        raise InputError(f"distribution {name!r} is discrete; KL divergence is computed here for densities only")
    try:
        variable = build(name, values)
    except (TypeError, ValueError) as error:
        raise InputError(f"PyMC's {name} refuses params {dict(given)!r}: {error}") from None
    if variable.ndim != 0:
        raise InputError(f"distribution {name!r} is not univariate; use a mixture of MvNormal or a PyMC model")
    try:
        # FAST_COMPILE keeps PyMC's parameter checks, which our own mode leaves out.
        pm.draw(variable, random_seed=0, mode="FAST_COMPILE")
        pm.logp(variable, 0.5).eval(mode="FAST_COMPILE")
    except Exception as error:  # PyMC raises its own ParameterValueError, NumPy ValueError: both say what is wrong
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"PyMC's {name} refuses params {dict(given)!r}: {reason}") from None
    return True
