"""The families of the study, each with its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, lookup_error
from models.families.family import Family, Parameter, Shape

__all__ = ["FAMILIES", "find_family", "location_scale", "mvnormal_mixture", "normal", "normal_mixture", "student_t"]

Array = NDArray[np.float64]
Params = Mapping[str, Array]
_MU = Parameter("mu", "real")


def location_scale(
    name: str, scale: str, *extra: Parameter, density: str | None = None, first: bool = False, **facts: Any
) -> Family:
    """Family of one dimension with location ``mu``.

    Parameters
    ----------
    name, scale : str
    *extra : Parameter
        Further parameters: after these two, or `first`.
    density : str, optional
        PyMC's name of the distribution; the same as `name` if not given.
    first : bool
    **facts
        What else `Family` takes: ``tail``, ``shape``, ``smooth``, ``degree``.
    """
    pair = (_MU, Parameter(scale, "positive"))
    parameters = (*extra, *pair) if first else (*pair, *extra)
    return Family(name, parameters, density or name, location="mu", scale=scale, **facts)


def normal(sigma: float | None = None) -> Family:
    """Normal family with free or fixed standard deviation.

    Parameters
    ----------
    sigma : float, optional
        Hold the standard deviation at this positive value.

    Raises
    ------
    InputError
        If `sigma` is not positive and finite.
    """
    if sigma is None:
        return location_scale("normal", "sigma", degree=2, tail="gaussian")
    if not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma is {sigma}; the standard deviation must be positive and finite")
    held = (("sigma", float(sigma)),)
    return Family(
        f"normal(sigma={sigma:g})",
        (_MU,),
        "normal",
        location="mu",
        scale="sigma",
        fixed=held,
        degree=2,
        tail="gaussian",
    )


def student_t(nu: float | None = None) -> Family:
    """Student-t family with free or fixed degrees of freedom.

    Parameters
    ----------
    nu : float, optional
        Hold the degrees of freedom at this positive value.

    Raises
    ------
    InputError
        If `nu` is not positive and finite.
    """
    if nu is None:
        shape = Shape("nu", starts=(3.0, 15.0), from_draws=(5.0, 2.0, 30.0), normal_at=np.inf)
        return location_scale("student_t", "sigma", Parameter("nu", "positive"), first=True, tail="power", shape=shape)
    if not (np.isfinite(nu) and nu > 0):
        raise InputError(f"nu is {nu}; the degrees of freedom must be positive and finite")
    held = (("nu", float(nu)),)
    return location_scale(f"student_t({nu:g})", "sigma", density="student_t", fixed=held, tail="power")


def normal_mixture(k: int) -> Family:
    """Mixtures of `k` Normals in one dimension; components are reported in the order of their means.

    Raises
    ------
    InputError
        If `k` is not a positive integer.
    """
    _positive_count(k)
    if k == 1:
        return FAMILIES["normal"]
    parameters = (Parameter("w", "simplex", (k,)), Parameter("mu", "real", (k,)), Parameter("sigma", "positive", (k,)))
    return Family(f"normal_mixture({k})", parameters, "normal_mixture", location="mu", scale="sigma", tail="gaussian")


def mvnormal_mixture(k: int) -> Family:
    """Mixtures of `k` multivariate Normals with full covariances, reported in the order of their first mean coordinate.

    Raises
    ------
    InputError
        If `k` is not a positive integer.
    """
    _positive_count(k)
    if k == 1:
        return FAMILIES["mvnormal"]
    parameters = (
        Parameter("w", "simplex", (k,)), Parameter("mu", "real", (k, "d")), Parameter("cov", "covariance", (k, "d", "d")),
    )  # fmt: skip
    return Family(
        f"mvnormal_mixture({k})", parameters, "mvnormal_mixture_chol", None, location="mu", scale="cov", tail="gaussian"
    )


def _positive_count(k: int) -> None:
    if not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"the number of components is {k!r}; it must be a positive integer")


def _skewed(alpha: float) -> tuple[float, float]:
    """Mean and standard deviation of a skew normal (Azzalini and Capitanio, 2014, equation 2.22)."""
    delta = alpha / np.sqrt(1 + alpha**2)
    return float(delta * np.sqrt(2 / np.pi)), float(np.sqrt(1 - 2 * delta**2 / np.pi))


def _half_normals(z: Array, weights: Array) -> tuple[Callable[[float], Params], tuple[float, float]]:
    """Skew normals close to the half-normal that fits best, by the logarithm of how far the location is beyond the draws.

    With alpha -> infinity the density vanishes below mu: mu is the smallest observation, sigma the root mean square distance
    from it (Azzalini and Capitanio, 2014, section 3.1.3). For draws that end abruptly no finite alpha is as good.
    """
    side = 1.0 if weights @ (z - weights @ z) ** 3 >= 0 else -1.0
    alpha, end = 1e8, (side * z).min()  # within 1e-7 nats per observation of the limit

    def member(log_gap: float) -> Params:
        mu = end - np.exp(log_gap)
        sigma = np.sqrt(weights @ (side * z - mu) ** 2)
        return {"mu": side * mu, "sigma": sigma, "alpha": np.asarray(side * alpha)}

    return member, (-np.log(alpha) - 3, 0.0)


_ALPHA = Shape(
    "alpha",
    starts=(2.0, -2.0, 6.0, -6.0),
    from_draws=(2.0, -2.0, 6.0, -6.0, 20.0, -20.0),  # around 0 the scores of mu and alpha are all but collinear
    normal_at=0.0,
    moments=_skewed,
    ends=_half_normals,
)


def _multivariate(name: str, density: str, scale: Parameter) -> Family:
    parameters = (Parameter("mu", "real", ("d",)), scale)
    return Family(name, parameters, density, None, location="mu", scale=scale.name, degree=2, tail="gaussian")


#: The families of the study. A new family is one more entry, which holds all its facts.
FAMILIES: Mapping[str, Family] = {
    "normal": normal(),
    "laplace": location_scale("laplace", "b", smooth=False, tail="exponential"),
    "logistic": location_scale("logistic", "s", tail="exponential"),
    "student_t": student_t(),
    "skew_normal": location_scale("skew_normal", "sigma", Parameter("alpha", "real"), tail="gaussian", shape=_ALPHA),
    "exponential": Family(
        "exponential", (Parameter("lam", "positive"),), "Exponential", rate="lam", degree=1, tail="exponential"
    ),
    "mvnormal": _multivariate("mvnormal", "mvnormal_chol", Parameter("cov", "covariance", ("d", "d"))),
    "mvnormal_diag": _multivariate("mvnormal_diag", "mvnormal_diag", Parameter("sigma", "positive", ("d",))),
}

_PARAMETRIC: Mapping[str, Callable[[int], Family]] = {
    "normal_mixture": normal_mixture,
    "mvnormal_mixture": mvnormal_mixture,
}


def find_family(name: str) -> Family:
    """Look a family up by name, ``normal_mixture(3)`` included.

    Raises
    ------
    InputError
        If there is none of that name; the nearest names are given.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    stem, _, argument = name.partition("(")
    if stem in _PARAMETRIC and argument.endswith(")") and argument[:-1].strip().isdigit():
        return _PARAMETRIC[stem](int(argument[:-1]))
    raise lookup_error("family", name, [*FAMILIES, "normal_mixture(2)", "mvnormal_mixture(2)"])
