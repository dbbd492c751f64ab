"""Log densities of laws with large parameters, in the saddle point form of Loader (2000), which keeps their digits.

Logarithms of gamma functions are of the size of k log k there, and all but cancel: at 1e12 nothing of a likelihood is left of them.
Here each is Stirling's formula, whose leading parts cancel on paper. Where parameters are no larger than `_LARGE`, PyMC's own is right to
1e-10 and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.graphs.deferred import Deferred

pytensor = Deferred("pytensor")
ops = Deferred("models.graphs.special_ops")

__all__ = ["LARGE", "on_large"]

_LARGE = 1e5
_FAR = np.float64(1e300)  # no Python number, which PyTensor would try in single precision


def on_large(name: str, x: Any, params: list[Any], plain: Any) -> Any:
    """The saddle point form where the parameters are large, and the given log density elsewhere."""
    where, value = LARGE[name](x, *params)
    return pytensor.tensor.switch(where, value, plain)


def _gamma(x: Any, alpha: Any, scale: Any) -> tuple[Any, Any]:
    return _of_gamma(alpha, x / scale, x)


def _inverse_gamma(x: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
    return _of_gamma(alpha, beta / x, x)


def _of_gamma(alpha: Any, z: Any, x: Any) -> tuple[Any, Any]:
    """Log density of a gamma variable at z, on the scale of x, of which log z is the logarithm up to sign and a constant."""
    pt = pytensor.tensor
    concentrated = alpha > _LARGE
    where = pt.and_(pt.and_(concentrated, x > 0), pt.and_(z > 0, z < _FAR))
    # Elsewhere numbers at which this form has derivatives: a switch multiplies those that it does not take by 0. What depends on no
    # point is made of the parameters alone, so that it is evaluated once.
    a, z, x = pt.switch(concentrated, alpha, _LARGE), pt.switch(where, z, _LARGE), pt.switch(where, x, 1.0)
    return where, pt.log(a / (2 * np.pi)) / 2 - pt.log(x) - ops.stirling_error(a) - ops.deviance(a, z)


def _beta(x: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
    """Where one shape is small: values that are tiny, or as near to 1."""
    pt = pytensor.tensor
    few = pt.and_(alpha + beta > _LARGE, pt.minimum(alpha, beta) < _LARGE)
    where = pt.and_(few, pt.and_(x > 0, x < 1))
    a, b, x = pt.switch(few, alpha, 1.0), pt.switch(few, beta, _LARGE), pt.switch(where, x, 0.5)
    front = pt.log(a) + pt.log(b) - pt.log(a + b)
    return where, front + _choices(a, b) + (a - 1) * pt.log(x) + (b - 1) * pt.log1p(-x)


#: By PyMC's name: where the form is taken, and its value.
LARGE: Mapping[str, Callable[..., tuple[Any, Any]]] = {"Beta": _beta, "Gamma": _gamma, "InverseGamma": _inverse_gamma}


# --- parts -----------------------------------------------------------------------------------------------------------


def _choices(a: Any, b: Any) -> Any:
    """Log of the binomial coefficient of a out of a + b, where one of them is small and the other large."""
    pt = pytensor.tensor
    k, n = pt.minimum(pt.minimum(a, b), _LARGE), pt.maximum(a, b) + 1
    return ops.log_pochhammer(n, k) - pt.gammaln(k + 1)
