"""Log densities in another form than PyMC's, where PyMC's cannot be differentiated twice, or loses its digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.graphs.deferred import Deferred
from models.graphs.stable import stable_logp

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["SMOOTH"]


def _log_i0e(u: Any) -> Any:
    """Log of the scaled Bessel function I_0(u) exp(-u): PyMC's own has no second derivative."""
    return pytensor.tensor.log(pytensor.tensor.ive(0.0, u))


def _von_mises(x: Any, mu: Any, kappa: Any) -> Any:
    pt = pytensor.tensor
    inside = pt.and_(x >= -np.pi, x <= np.pi)
    # cos(u) - 1 as a square: of a high concentration the difference would lose its digits.
    value = -2 * kappa * pt.sin((x - mu) / 2) ** 2 - np.log(2 * np.pi) - _log_i0e(kappa)
    return pt.switch(inside, value, -np.inf)


def _rice(x: Any, nu: Any, sigma: Any) -> Any:
    # PyMC takes the log of a product that is 0 from 39 sigma on.
    pt = pytensor.tensor
    z, b = pt.maximum(x, 0.0) / sigma, nu / sigma
    return pt.switch(x > 0, pt.log(z) - (z - b) ** 2 / 2 + _log_i0e(z * b) - pt.log(sigma), -np.inf)


def _zero_inflated(kind: str) -> Callable[..., Any]:
    """A point mass at 0 and a law of counts: psi is the weight of the law (PyMC's mixture of both loses its Hessian)."""

    def logp(x: Any, psi: Any, **params: Any) -> Any:
        pt = pytensor.tensor
        inner = pt.log(psi) + stable_logp(getattr(pm, kind).dist(**params), kind, x)
        return pt.switch(pt.eq(x, 0), pt.logaddexp(pt.log1p(-psi), inner), inner)

    return logp


def _hurdle(kind: str) -> Callable[..., Any]:
    """A point mass at 0 and a density beyond: psi is the weight of the density (PyMC cuts the density off at 2e-16)."""

    def logp(x: Any, psi: Any, **params: Any) -> Any:
        pt = pytensor.tensor
        beyond = pt.switch(pt.eq(x, 0), 1.0, x)
        density = stable_logp(getattr(pm, kind).dist(**params), kind, beyond)
        return pt.switch(pt.eq(x, 0), pt.log1p(-psi), pt.log(psi) + density)

    return logp


def _discrete_uniform(x: Any, lower: Any, upper: Any) -> Any:
    # The ends as numbers that a likelihood can be differentiated in.
    pt = pytensor.tensor
    inside = pt.and_(x >= lower, x <= upper)
    return pt.switch(inside, -pt.log(pt.cast(upper, "float64") - lower + 1), -np.inf)


#: Forms by PyMC's name: functions of the point and PyMC's parameters.
SMOOTH: Mapping[str, Callable[..., Any]] = {
    "DiscreteUniform": _discrete_uniform,
    "HurdleGamma": _hurdle("Gamma"),
    "HurdleLogNormal": _hurdle("LogNormal"),
    "Rice": _rice,
    "VonMises": _von_mises,
    "ZeroInflatedBinomial": _zero_inflated("Binomial"),
    "ZeroInflatedNegativeBinomial": _zero_inflated("NegativeBinomial"),
    "ZeroInflatedPoisson": _zero_inflated("Poisson"),
}
