"""The two objectives, side by side: the same nodes-and-weights mean, taken under p_data or under p_theta.

forward   F(theta) = sum_i w_i [-log p_theta(x_i)]                      x_i ~ p_data: cross-entropy, maximum likelihood
reverse   F(theta) = sum_i w_i [log p_theta(x_i) - log p_data(x_i)]     x_i = x(z_i, theta) ~ p_theta: minus the ELBO

Draws as nodes give the estimators, quadrature gives their exact limits. The densities are PyMC's, the gradients and
Hessians PyTensor's, but for Normals and their mixtures forward, which have closed forms (`models.projections.gaussian`). Graphs depend
on shapes only, so one compiled function serves all targets of a kind, and is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.families import Family
from models.graphs import Deferred, compile_graph, compiled
from models.graphs.distributions import batched_logp
from models.projections import gaussian
from models.quadrature import Nodes
from models.targets import Target

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = [
    "Objective",
    "batch_graph",
    "bind",
    "differentiate",
    "forward_graph",
    "forward_objective",
    "natural_values",
    "portions",
    "reverse_objective",
    "single_graph",
    "summed",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objective:
    """A divergence up to a constant as a function of unconstrained theta, on fixed nodes.

    Attributes
    ----------
    gradient : callable (B, P) -> (B,), (B, P)
        Value (nats) and gradient for a batch of thetas.
    hessian : callable (B, P) -> (B,), (B, P), (B, P, P)
        Value, gradient and Hessian for a batch of thetas.
    """

    gradient: Callable[[Array], tuple[Array, Array]]
    hessian: Callable[[Array], tuple[Array, Array, Array]]

    def value_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at one theta (P,), as scipy.optimize takes them."""
        value, gradient = self.gradient(theta[None])
        return float(value[0]), gradient[0]


def forward_objective(family: Family, nodes: Nodes) -> Objective:
    """Cross-entropy -E[log p_theta] over `nodes` of p_data; over draws, minus the mean log likelihood.

    Parameters
    ----------
    family : Family
    nodes : Nodes
        Points (n, d) and weights of p_data.

    Returns
    -------
    Objective
    """
    dim = nodes.points.shape[1]
    family.check_dim(dim, "the target")
    if gaussian.is_gaussian(family):
        return summed(
            [_closed(family, nodes.points[part], nodes.weights[part]) for part in portions(len(nodes.points))]
        )
    points = nodes.points if family.multivariate else nodes.points[:, 0]
    functions = _forward_functions(family, dim)
    return summed([bind(functions, points[part], nodes.weights[part]) for part in portions(len(points))])


def _closed(family: Family, points: Array, weights: Array) -> Objective:
    """Cross-entropy of Normals and their mixtures over points (n, d)."""
    rule = points, weights, np.zeros(len(points))

    def both(thetas: Array, hessian: bool) -> list[Array]:
        with np.errstate(all="ignore"):  # steps that overflow are refused by the caller's check for finite values
            rows = [gaussian.divergence(family, t, rule, "forward", 1.0, hessian=hessian) for t in thetas]
        return [np.array(part) for part in zip(*rows, strict=True)]

    def gradient(thetas: Array) -> tuple[Array, Array]:
        value, slope = both(thetas, False)
        return value, slope

    def hessian(thetas: Array) -> tuple[Array, Array, Array]:
        value, slope, curvature = both(thetas, True)
        return value, slope, (curvature + curvature.transpose(0, 2, 1)) / 2

    return Objective(gradient, hessian)


def portions(count: int) -> list[slice]:
    """Parts of many nodes: sums over a million at once would need gigabytes, and temporaries larger than any cache."""
    return [slice(start, start + _CACHED) for start in range(0, count, _CACHED)]


def summed(parts: Sequence[Objective]) -> Objective:
    """The sum of objectives, such as those on `portions` of the nodes."""
    if len(parts) == 1:
        return parts[0]

    def gradient(thetas: Array) -> tuple[Array, Array]:
        sums = [sum(values) for values in zip(*(part.gradient(thetas) for part in parts), strict=True)]
        return np.asarray(sums[0]), np.asarray(sums[1])

    def hessian(thetas: Array) -> tuple[Array, Array, Array]:
        sums = [sum(values) for values in zip(*(part.hessian(thetas) for part in parts), strict=True)]
        return np.asarray(sums[0]), np.asarray(sums[1]), np.asarray(sums[2])

    return Objective(gradient, hessian)


def reverse_objective(family: Family, target: Target, base: Nodes) -> Objective:
    """KL(p_theta||p_data) with x = location + scale z, over `base` nodes of the noise z.

    Parameters
    ----------
    family : Family
        A location-scale family with Normal noise: normal, mvnormal, mvnormal_diag, normal_mixture(k).
    target : Target
        With a density; unnormalised gives the KL up to log Z (minus the ELBO).
    base : Nodes
        Points (n, d) and weights of the standard Normal.

    Returns
    -------
    Objective
        Exact up to the error of the rule; with fixed draws as nodes, deterministic ADVI.
    """
    family.check_dim(target.dim, f"target {target.name!r}")
    return bind(_reverse_functions(family, target), base.points, base.weights, *target.graph_values)


def natural_values(family: Family, theta: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters on their natural scale, and their Jacobians with respect to theta.

    Parameters
    ----------
    family : Family
    theta : ndarray (P,)

    Returns
    -------
    values : dict of str to ndarray
        Shaped as the family declares them.
    jacobians : dict of str to ndarray
        Shape of the parameter, then (P,): for the delta method.
    """
    dim = _dim_of(family, len(theta))
    values, jacobians = {}, {}
    for parameter, part in family.slices(dim):
        value, slope = parameter.natural_value(np.asarray(theta[part], dtype=float), dim)
        jacobian = np.zeros((*value.shape, len(theta)))
        jacobian[..., part] = slope
        values[parameter.name], jacobians[parameter.name] = value, jacobian
    return values, jacobians


def _dim_of(family: Family, size: int) -> int:
    if family.dim is not None:
        return family.dim
    dim = 1
    while family.size(dim) < size:
        dim += 1
    return dim


def forward_graph(family: Family, dim: int) -> tuple[Any, Any, Any, Any]:
    """Symbolic theta (P,), weights (n,), points and the cross-entropy over them."""
    pt = pytensor.tensor
    theta = pt.vector("theta", shape=(family.size(dim),))
    weights = pt.vector("weights")
    params = family.constrain(theta, dim)
    points, logp = batched_logp(family.density, params, multivariate=family.multivariate)
    return theta, weights, points, -pt.sum(weights * logp)


@cache
def _forward_functions(family: Family, dim: int) -> tuple[Any, Any]:
    def build() -> Scalar:
        theta, weights, points, value = forward_graph(family, dim)
        return theta, value, [points, weights], ()

    batched = family.components == 1 and not family.multivariate
    return differentiate("cross-entropy", (family, dim), build, batched=batched)


_reverse: dict[object, tuple[Any, Any]] = {}


def _reverse_functions(family: Family, target: Target) -> tuple[Any, Any]:
    """Value with gradient, and Hessian; one of a kind for all densities with the same graph."""
    key = None if target.graph_key is None else (family, target.dim, target.graph_key)
    if key in _reverse:
        return _reverse[key]

    def build() -> Scalar:
        theta, z, weights, x, share, logq = _reparametrise(family, target.dim)
        inputs, logp = target.graph(x)
        return theta, pytensor.tensor.sum(share * (logq - logp)), [z, weights, *inputs], ()

    batched = key is not None and target.dim == 1 and family.components == 1
    functions = differentiate("reverse KL", key, build, batched=batched)
    if key is not None:
        _reverse[key] = functions
    return functions


def _reparametrise(family: Family, dim: int) -> tuple[Any, ...]:
    """Points of p_theta from noise: x (n, d), their weights, and log p_theta there."""
    pt = pytensor.tensor
    theta = pt.vector("theta", shape=(family.size(dim),))
    z, weights = pt.matrix("z", shape=(None, dim)), pt.vector("weights")
    params = family.constrain(theta, dim)
    if family.components > 1:
        # Each component brings its own copy of the rule: the sum over components is exact, not sampled.
        k = family.components
        x = pt.concatenate([params["mu"][i] + params["sigma"][i] * z for i in range(k)])
        share = pt.concatenate([params["w"][i] * weights for i in range(k)])
        _, logq = batched_logp(family.density, params, multivariate=False, points=x[:, 0])
        return theta, z, weights, x, share, logq
    # A single Normal is its noise, moved and stretched: log q(x(z)) = log N(z) - log |dx/dz|.
    if not family.multivariate:
        scale = params[str(family.scale)]
        x, log_slope = params[str(family.location)] + scale * z, pt.log(scale)
    elif "chol" in params:
        x, log_slope = params["mu"] + z @ params["chol"].T, pt.log(pt.diag(params["chol"])).sum()
    else:
        x, log_slope = params["mu"] + z * params["sigma"], pt.log(params["sigma"]).sum()
    logq = pm.logp(pm.Normal.dist(0.0, 1.0), z).sum(axis=1) - log_slope
    return theta, z, weights, x, weights, logq


#: Symbolic theta (P,), a scalar of it, the other inputs, and which of these have a row for every theta of a batch.
Scalar = tuple[Any, Any, Sequence[Any], Sequence[Any]]


def differentiate(
    kind: str, key: object, build: Callable[[], Scalar], *, batched: bool, each: int = 0
) -> tuple[Any, Any]:
    """Compile value and gradient, and the Hessian, over a batch of thetas.

    In one dimension the graph itself is batched. In more, batches of triangular solves make graphs that take minutes to
    rewrite, so theta and the directions of the Hessian are looped over.

    Parameters
    ----------
    kind : str
        What the scalar is.
    key : object
        What it depends on, see `models.graphs.compiled`; ``None`` for what cannot be told by its ``repr``, such as a model.
    build : callable
        Returns the graph.
    batched : bool
    each : int
        How many of the other inputs, the first ones, have a row for every theta.

    Returns
    -------
    gradient, hessian : callable
        Of thetas (B, P) and the other inputs; the second is compiled when it is first called.
    """

    def graph(order: str) -> Callable[..., Any]:
        def made() -> tuple[list[Any], Any]:
            return (batch_graph if batched else single_graph)(*build(), order=order)

        return compile_graph(*made()) if key is None else compiled(f"{kind}, {order}", key, made)

    if batched:
        return _in_blocks(graph("gradient"), each), _in_blocks(_when_needed(lambda: graph("Hessian")), each)
    one = graph("gradient")
    along = _when_needed(lambda: graph("Hessian"))

    def first(batch: Array, *values: Array) -> tuple[Array, Array]:
        results = [one(row, *values) for row in batch]
        return np.array([v for v, _ in results]), np.array([g for _, g in results]).reshape(batch.shape)

    def second(batch: Array, *values: Array) -> tuple[Array, Array, Array]:
        size = batch.shape[1]
        rows = [np.array([along(row, unit, *values) for unit in np.eye(size)]) for row in batch]
        return *first(batch, *values), np.array(rows).reshape(len(batch), size, size)

    return first, second


def _in_blocks(function: Callable[..., Any], each: int) -> Callable[..., list[Array]]:
    """Evaluate a batch of thetas a few at a time, so that the temporaries of a program stay in the cache."""

    def evaluate(batch: Array, *values: Any) -> list[Array]:
        size = max(
            1, _CACHED // max(np.shape(v)[-1 if i < each else 0] if np.ndim(v) else 1 for i, v in enumerate(values))
        )
        if len(batch) <= size:
            return list(function(batch, *values))
        parts = [slice(i, i + size) for i in range(0, len(batch), size)]
        rows = [function(batch[p], *(v[p] if i < each else v for i, v in enumerate(values))) for p in parts]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    return evaluate


_CACHED = 16_384  # numbers in one temporary array


def _along(theta: Any, value: Any) -> tuple[Any, Any, Any]:
    """Gradient, a direction, and the Hessian along it: a graph a quarter of the size of the vectorised Jacobian."""
    gradient: Any = pytensor.grad(value, theta)
    direction = pytensor.tensor.vector("direction", shape=theta.type.shape)
    product = pytensor.grad((gradient * direction).sum(), theta, disconnected_inputs="ignore")
    return gradient, direction, product


def batch_graph(theta: Any, value: Any, inputs: Sequence[Any], each: Sequence[Any], *, order: str) -> Any:
    """Inputs and outputs over a batch of thetas (B, P): values and gradients, and Hessians if `order` says so."""
    pt, vectorize = pytensor.tensor, pytensor.graph.replace.vectorize_graph
    size = theta.type.shape[0]
    gradient, direction, product = _along(theta, value)
    thetas = pt.matrix("thetas", shape=(None, size))
    rows = {variable: pt.matrix(variable.name) for variable in each}
    wanted = [value, gradient]
    if order == "Hessian":
        wanted.append(vectorize(product, {direction: pt.eye(size)}))
    return [thetas, *(rows.get(v, v) for v in inputs)], vectorize(wanted, {theta: thetas, **rows})


def single_graph(theta: Any, value: Any, inputs: Sequence[Any], _each: Sequence[Any], *, order: str) -> Any:
    """Inputs and outputs at one theta (P,): value and gradient, or the Hessian along a direction."""
    gradient, direction, product = _along(theta, value)
    return ([theta, direction, *inputs], product) if order == "Hessian" else ([theta, *inputs], [value, gradient])


def _when_needed(compile_: Callable[[], Any]) -> Callable[..., Any]:
    """Compile at the first call: not everyone who wants a gradient wants the Hessian."""
    compiled = cache(compile_)
    return lambda *arguments: compiled()(*arguments)


def bind(compiled: tuple[Any, Any], *values: Array) -> Objective:
    """Fix the nodes and the target's parameters of compiled functions."""
    first, second = compiled

    def gradient(thetas: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):  # steps that overflow are refused by the caller's check for finite values
            value, slope = first(thetas, *values)
        return np.asarray(value), np.asarray(slope)

    def hessian(thetas: Array) -> tuple[Array, Array, Array]:
        with np.errstate(all="ignore"):
            value, slope, curvature = second(thetas, *values)
        curvature = np.asarray(curvature)
        return np.asarray(value), np.asarray(slope), (curvature + curvature.transpose(0, 2, 1)) / 2

    return Objective(gradient, hessian)
