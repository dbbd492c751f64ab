"""Log densities that survive rounding: PyMC's own, rewritten, or in another form where PyMC's loses all its digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.graphs.deferred import Deferred
from models.graphs.saddle import LARGE, on_large

pm = Deferred("pymc")
pytensor = Deferred("pytensor")
ops = Deferred("models.graphs.special_ops")

__all__ = ["FORMS", "in_double_precision", "stable_logp"]


def stable_logp(variable: Any, name: str, point: Any) -> Any:
    """Log density or log mass of an unregistered PyMC variable at a symbolic point.

    Parameters
    ----------
    variable : TensorVariable
        What ``dist`` of the PyMC distribution returns.
    name : str
        Of the distribution; for a few of them PyMC's form is replaced by one that is equal and keeps its digits.
    point : TensorVariable

    Returns
    -------
    TensorVariable
        In nats.
    """
    if name in FORMS:
        node = variable.owner
        return in_double_precision(FORMS[name](point, *node.op.dist_params(node)))
    plain = _rewritten(in_double_precision(pm.logp(variable, point)))
    if name in LARGE:
        node = variable.owner
        plain = in_double_precision(on_large(name, point, node.op.dist_params(node), plain))
    return plain


def in_double_precision(graph: Any) -> Any:
    """Evaluate constants such as the ``pt.sqrt(2)`` of PyMC's SkewNormal in float64.

    PyTensor gives the square root of a small integer as float32, which leaves that density wrong by 2e-8 relative.
    """
    pt = pytensor.tensor
    single = [
        variable
        for variable in pytensor.graph.traversal.ancestors([graph])
        if variable.owner is not None
        and isinstance(variable.owner.op, pt.elemwise.Elemwise)  # not what takes a shape, an index or an axis
        and getattr(variable, "dtype", None) == "float32"
        and all(isinstance(i, pytensor.graph.basic.Constant) for i in variable.owner.inputs)
    ]
    exact = {v: v.owner.op(*[pt.constant(i.data, dtype="float64") for i in v.owner.inputs]) for v in single}
    return pytensor.graph.replace.clone_replace(graph, exact, rebuild_strict=False) if exact else graph


# --- rewritten -------------------------------------------------------------------------------------------------------


def _rewritten(graph: Any) -> Any:
    """Write log(1 + erf(u)) and log(1 + exp(u)) so that they and their derivatives survive large arguments.

    They occur in PyMC's SkewNormal and Logistic. PyTensor's own rewrites come after differentiation and rescue the values
    only; second derivatives become 0/0 or inf/inf.
    """
    pt = pytensor.tensor
    swap = {}
    for variable in pytensor.graph.traversal.ancestors([graph]):
        if (u := _log_one_plus(variable.owner, "Erf")) is not None:
            swap[variable] = ops.log_one_plus_erf(u)
        elif (u := _log_one_plus(variable.owner, "Exp")) is not None:
            swap[variable] = pt.softplus(u)
    return pytensor.graph.replace.clone_replace(graph, swap, rebuild_strict=False) if swap else graph


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


# --- in another form -------------------------------------------------------------------------------------------------


def _student_t(x: Any, nu: Any, mu: Any, sigma: Any) -> Any:
    pt = pytensor.tensor
    ratio = ops.log_pochhammer(nu / 2, 0.5)  # a difference of two log gammas near 1e17 has no digits left
    z = (x - mu) / sigma
    return ratio - pt.log(nu * np.pi) / 2 - pt.log(sigma) - (nu + 1) / 2 * pt.log1p(z**2 / nu)


def _half_student_t(x: Any, nu: Any, sigma: Any) -> Any:
    return _on(x >= 0, np.log(2.0) + _student_t(x, nu, 0.0, sigma))


def _skew_student_t(x: Any, a: Any, b: Any, mu: Any, sigma: Any) -> Any:
    # PyMC's log(1 - x / sqrt(a + b + x^2)) is the log of nothing from x = 1e8 on.
    pt = pytensor.tensor
    z, m = (x - mu) / sigma, a + b
    root = pt.sqrt(m + z**2)

    def log_share(y: Any) -> Any:
        """Log of 1 + y / root."""
        near = pt.log1p(pt.maximum(y, 0.0) / root)
        return pt.switch(y > 0, near, pt.log(m) - pt.log(root) - pt.log(root + pt.maximum(-y, 0.0)))

    constant = (m - 1) * np.log(2.0) + pt.special.betaln(a, b) + pt.log(m) / 2 + pt.log(sigma)
    return (a + 0.5) * log_share(z) + (b + 0.5) * log_share(-z) - constant


def _ex_gaussian(x: Any, mu: Any, sigma: Any, nu: Any) -> Any:
    # PyMC puts a Normal without the exponential part where nu < sigma / 20, and cancels where it does not.
    pt = pytensor.tensor
    z, r = (x - mu) / sigma, sigma / nu
    a = (r - z) / np.sqrt(2.0)
    left = pt.log(pt.erfcx(pt.maximum(a, 0.0))) - z**2 / 2
    right = r * (r / 2 - z) + pt.log(pt.erfc(pt.minimum(a, 0.0)))
    return pt.switch(a > 0, left, right) - pt.log(2 * nu)


def _kumaraswamy(x: Any, a: Any, b: Any) -> Any:
    pt = pytensor.tensor
    inside = pt.and_(x >= 0, x <= 1)
    return _on(inside, pt.log(a) + pt.log(b) + (a - 1) * pt.log(x) + (b - 1) * pt.log1mexp(a * pt.log(x)))


def _discrete_weibull(x: Any, q: Any, beta: Any) -> Any:
    # q^(x^beta) - q^((x + 1)^beta) without its cancellation, and without its underflow.
    pt = pytensor.tensor
    k = pt.maximum(pt.cast(x, "float64"), 0.0)
    power = k**beta
    step = pt.switch(k > 0, power * pt.expm1(beta * pt.log1p(1 / pt.maximum(k, 1.0))), 1.0)
    return _on(x >= 0, power * pt.log(q) + pt.log1mexp(step * pt.log(q)))


def _logit_normal(x: Any, mu: Any, sigma: Any) -> Any:
    # Written so that PyTensor sees the log odds where x is made of them.
    pt = pytensor.tensor
    low, high = pt.log(x), pt.log1p(-x)
    z = (low - high - mu) / sigma
    return _on(pt.and_(x >= 0, x <= 1), -(z**2) / 2 - pt.log(sigma) - np.log(2 * np.pi) / 2 - low - high)


def _triangular(x: Any, lower: Any, c: Any, upper: Any) -> Any:
    # On (0, 1) the distances from the ends stand as PyTensor knows them where x is made of log odds.
    pt = pytensor.tensor
    left = pt.switch(pt.eq(lower, 0.0), pt.log(x), pt.log(x - lower)) - pt.log(c - lower)
    right = pt.switch(pt.eq(upper, 1.0), pt.log1p(-x), pt.log(upper - x)) - pt.log(upper - c)
    inside = pt.and_(x >= lower, x <= upper)
    # At its mode, which may be an end, the density is 2 / (upper - lower); the distance from that end has no logarithm.
    slopes = pt.switch(x < c, left, pt.switch(x > c, right, 0.0))
    return _on(inside, np.log(2.0) - pt.log(upper - lower) + slopes)


def _negative_binomial(x: Any, n: Any, p: Any) -> Any:
    pt = pytensor.tensor
    k = pt.maximum(pt.cast(x, "float64"), 0.0)
    rising = ops.log_pochhammer(n, k)  # a difference of log gammas has no digits left where n is large
    log_p, log_odds = pt.log(p), pt.log(1 - p) - pt.log(p)
    few = rising - pt.gammaln(k + 1) + pt.switch(k > 0, k * pt.log(1 - p), 0.0) + n * log_p
    poisson = pt.switch(k > 0, k * (pt.log(n) + log_odds), 0.0) - n * pt.exp(log_odds) - pt.gammaln(k + 1)
    return _on(x >= 0, pt.switch(n > 1e10, poisson, few))  # as PyMC has it: 1 - p has no digits left there


def _poisson(x: Any, mu: Any) -> Any:
    # Where the mean is large, the saddle point form of Loader (2000): the terms of PyMC's cancel.
    pt = pytensor.tensor
    k = pt.maximum(pt.cast(x, "float64"), 0.0)
    far, mean = pt.maximum(k, 30.0), pt.maximum(mu, 1e-300)
    large = -ops.stirling_error(far) - pt.log(2 * np.pi * far) / 2 - ops.deviance(far, mean)
    small = pt.switch(k > 0, k * pt.log(mu), 0.0) - mu - pt.gammaln(k + 1)
    return _on(x >= 0, pt.switch(k < 30, small, large))


def _binomial(x: Any, n: Any, p: Any) -> Any:
    pt = pytensor.tensor
    size, k = pt.cast(n, "float64"), pt.clip(pt.cast(x, "float64"), 0.0, pt.cast(n, "float64"))
    rest = size - k
    a, b = pt.maximum(k, 30.0), pt.maximum(rest, 30.0)
    # Loader (2000) again; far from the ends only.
    one, two = pt.clip(p, 1e-300, 1.0), pt.maximum(1 - p, 1e-300)
    large = (
        ops.stirling_error(a + b)
        - ops.stirling_error(a)
        - ops.stirling_error(b)
        - ops.deviance(a, (a + b) * one)
        - ops.deviance(b, (a + b) * two)
    )
    large += (pt.log(a + b) - pt.log(2 * np.pi) - pt.log(a) - pt.log(b)) / 2
    small = pt.gammaln(size + 1) - pt.gammaln(k + 1) - pt.gammaln(rest + 1)
    small += pt.switch(k > 0, k * pt.log(p), 0.0) + pt.switch(rest > 0, rest * pt.log(1 - p), 0.0)
    return _on(pt.and_(x >= 0, x <= n), pt.switch(pt.minimum(k, rest) < 30, small, large))


def _categorical(x: Any, p: Any) -> Any:
    # PyMC's index is one that PyTensor can only loop over.
    pt = pytensor.tensor
    last = p.shape[0] - 1
    return _on(pt.and_(x >= 0, x <= last), pt.log(p)[pt.cast(pt.clip(x, 0, last), "int64")])


def _on(support: Any, logp: Any) -> Any:
    return pytensor.tensor.switch(support, logp, -np.inf)


#: Forms by name, elementwise: functions of the point and the parameters as PyMC's random variable holds them.
FORMS: Mapping[str, Callable[..., Any]] = {
    "Binomial": _binomial,
    "Categorical": _categorical,
    "DiscreteWeibull": _discrete_weibull,
    "ExGaussian": _ex_gaussian,
    "HalfStudentT": _half_student_t,
    "Kumaraswamy": _kumaraswamy,
    "LogitNormal": _logit_normal,
    "NegativeBinomial": _negative_binomial,
    "OrderedLogistic": _categorical,
    "OrderedProbit": _categorical,
    "Poisson": _poisson,
    "SkewStudentT": _skew_student_t,
    "StudentT": _student_t,
    "Triangular": _triangular,
    "student_t": _student_t,
}
