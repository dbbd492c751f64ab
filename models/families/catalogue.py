"""The families of the study, each with its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, lookup_error
from models.families import estimates
from models.families.estimates import Points
from models.families.family import Domain, Ends, Family, Shape
from models.families.parameter import Limit, Parameter, Role

__all__ = [
    "FAMILIES",
    "beta_binomial",
    "binomial",
    "find_family",
    "location_scale",
    "mvnormal_mixture",
    "normal",
    "normal_mixture",
    "student_t",
    "zero_inflated_binomial",
]

Array = NDArray[np.float64]
Params = Mapping[str, Array]
_MU = Parameter("mu", "real")
#: A shape that runs to infinity or to 0; a weight that runs to 1.
_INFINITY, _ZERO, _ONE = Limit(np.inf, 10.0, 14.0), Limit(0.0, -6.0, -14.0), Limit(1.0, 12.0, 30.0)


def location_scale(
    name: str,
    scale: str,
    *extra: Parameter,
    density: str | None = None,
    first: bool = False,
    location: str = "mu",
    limits: tuple[Limit, ...] = (),
    **facts: Any,
) -> Family:
    """Family of one dimension with a location and a scale.

    Parameters
    ----------
    name, scale : str
    *extra : Parameter
        Further parameters: after these two, or `first`.
    density : str, optional
        PyMC's name of the distribution; the same as `name` if not given.
    first : bool
    location : str
    limits : tuple of Limit
        Of the scale.
    **facts
        What else `Family` takes: ``tail``, ``shape``, ``smooth``, ``degree``, ``closed``.
    """
    pair = (Parameter(location, "real"), Parameter(scale, "positive", limits=limits))
    parameters = (*extra, *pair) if first else (*pair, *extra)
    return Family(name, parameters, density or name, location=location, scale=scale, **facts)


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
        return location_scale("normal", "sigma", degree=2, tail="gaussian", closed=estimates.normal)
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
        closed=estimates.normal_mean,
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
        nu_free = Parameter("nu", "positive", limits=(_INFINITY, Limit(0.0, -10.0)))
        return location_scale("student_t", "sigma", nu_free, first=True, tail="power", shape=shape)
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


_ALPHA_SKEW = Parameter("alpha", "real", limits=(Limit(np.inf, 1e3), Limit(-np.inf, -1e3)))
_ALPHA = Shape(
    "alpha",
    starts=(2.0, -2.0, 6.0, -6.0),
    from_draws=(2.0, -2.0, 6.0, -6.0, 20.0, -20.0),  # around 0 the scores of mu and alpha are all but collinear
    normal_at=0.0,
    moments=_skewed,
)


def _exponentials(z: Array, weights: Array) -> tuple[Callable[[float], Params], tuple[float, float]]:
    """The ex-Gaussian close to the exponential from the smallest draw on, in which it ends with sigma -> 0.

    Its location is a few sigma below that draw, so that the density there is what it is beyond; within 1e-7 nats per draw of the limit.
    """
    sigma = 1e-8
    mu = z.min() - 5 * sigma
    member: Params = {name: np.asarray(v) for name, v in (("mu", mu), ("sigma", sigma), ("nu", weights @ z - mu))}
    return lambda _: member, (0.0, 0.0)


def _multivariate(name: str, density: str, scale: Parameter, closed: Any) -> Family:
    parameters = (Parameter("mu", "real", ("d",)), scale)
    return Family(
        name, parameters, density, None, location="mu", scale=scale.name, degree=2, tail="gaussian", closed=closed
    )


# --- the half-line, intervals, counts --------------------------------------------------------------------------------

_POSITIVE, _NOT_NEGATIVE = Domain(0.0, closed=False), Domain(0.0)
_UNIT, _COUNTS = Domain(0.0, 1.0, closed=False), Domain(0.0, whole=True)
_ALPHA_FREE = Parameter("alpha", "positive")
_SIGMA_SCALE = Parameter("sigma", "positive", role="scale")
_PSI = Parameter("psi", "unit", limits=(_ONE,))
#: Beyond 1e10 PyMC's negative binomial is the Poisson law itself.
_TO_POISSON = Parameter("alpha", "positive", limits=(Limit(np.inf, 6.0, 23.2),))
_TRIALS = Parameter("n", "integer", limits=(Limit(np.inf, 1e6),))


def _positive(name: str, role: Role | None = None, *limits: Limit) -> Parameter:
    return Parameter(name, "positive", role=role, limits=limits)


def _least(s: Points) -> tuple[float, float]:
    return 0.0, s.low


def _range(s: Points) -> tuple[float, float]:
    return s.low, s.high - s.low


def _with_trials(name: str, n: int | None, *parameters: Parameter, **facts: Any) -> Family:
    """Family of counts out of n trials: given, or the integer of highest likelihood."""
    if n is None:
        return Family(name, (_TRIALS, *parameters), domain=_COUNTS, trials="n", **facts)
    if not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n is {n!r}; the number of trials must be a positive integer")
    return Family(
        f"{name}({n})",
        parameters,
        domain=Domain(0.0, float(n), whole=True),
        trials="n",
        fixed=(("n", float(n)),),
        **facts,
    )


def binomial(n: int | None = None) -> Family:
    """Binomial family, with the number of trials given or estimated.

    Raises
    ------
    InputError
        If `n` is not a positive integer.
    """
    return _with_trials("binomial", n, Parameter("p", "unit"), density="Binomial", closed=estimates.binomial)


def beta_binomial(n: int | None = None) -> Family:
    """Beta-binomial family, with the number of trials given or estimated.

    Raises
    ------
    InputError
        If `n` is not a positive integer.
    """
    pair = (_positive("alpha", None, _INFINITY), _positive("beta", None, _INFINITY))
    return _with_trials("beta_binomial", n, *pair, density="BetaBinomial", starts=estimates.beta_binomial)


def zero_inflated_binomial(n: int | None = None) -> Family:
    """Binomial family with more zeros, with the number of trials given or estimated.

    Raises
    ------
    InputError
        If `n` is not a positive integer.
    """
    pair = (_PSI, Parameter("p", "unit"))
    facts = {"density": "ZeroInflatedBinomial", "starts": estimates.zero_inflated_binomial}
    return _with_trials("zero_inflated_binomial", n, *pair, **facts)


#: The families of the study. A new family is one more entry, which holds all its facts.
FAMILIES: Mapping[str, Family] = {
    "normal": normal(),
    "laplace": location_scale("laplace", "b", smooth=False, tail="exponential", closed=estimates.laplace),
    "logistic": location_scale("logistic", "s", tail="exponential"),
    "student_t": student_t(),
    "cauchy": location_scale("cauchy", "beta", density="Cauchy", location="alpha", tail="power"),
    "skew_normal": location_scale("skew_normal", "sigma", _ALPHA_SKEW, tail="gaussian", shape=_ALPHA, ends=Ends("alpha", _half_normals)),
    "gumbel": location_scale("gumbel", "beta", density="Gumbel", tail="exponential"),
    "moyal": location_scale("moyal", "sigma", density="Moyal", tail="exponential"),
    "ex_gaussian": location_scale(
        "ex_gaussian", "sigma", Parameter("nu", "positive", role="scale", limits=(Limit(0.0, -6.0, -9.0),)), density="ExGaussian",
        limits=(Limit(0.0, -12.0),), tail="exponential", starts=estimates.ex_gaussian, ends=Ends("sigma", _exponentials, "low"),
    ),
    "uniform": Family(
        "uniform", (Parameter("lower", "real", role="location"), Parameter("upper", "real", role="location")), "Uniform",
        closed=estimates.uniform, edges=(("lower", "low"), ("upper", "high")), units=_range,
    ),
    "exponential": Family(
        "exponential", (_positive("lam", "rate"),), "Exponential", domain=_NOT_NEGATIVE, degree=1, tail="exponential",
        closed=estimates.exponential,
    ),
    "half_normal": Family(
        "half_normal", (_SIGMA_SCALE,), "HalfNormal", domain=_NOT_NEGATIVE, tail="gaussian", closed=estimates.half_normal
    ),
    "half_student_t": Family(
        "half_student_t", (_positive("nu", None, _INFINITY), _SIGMA_SCALE), "HalfStudentT", domain=_NOT_NEGATIVE,
        tail="power", starts=estimates.half_student_t,
    ),
    "half_cauchy": Family(
        "half_cauchy", (_positive("beta", "scale"),), "HalfCauchy", domain=_NOT_NEGATIVE, tail="power"
    ),
    "lognormal": Family(
        "lognormal", (Parameter("mu", "real", role="log"), _positive("sigma")), "LogNormal", domain=_POSITIVE, tail="power",
        closed=estimates.lognormal,
    ),
    "gamma": Family(
        "gamma", (_ALPHA_FREE, _positive("beta", "rate")), "Gamma", domain=_POSITIVE, tail="exponential",
        starts=estimates.gamma,
    ),
    "inverse_gamma": Family(
        "inverse_gamma", (_ALPHA_FREE, _positive("beta", "scale")), "InverseGamma", domain=_POSITIVE, tail="power",
        starts=estimates.inverse_gamma,
    ),
    "weibull": Family(
        "weibull", (_ALPHA_FREE, _positive("beta", "scale")), "Weibull", domain=_POSITIVE, tail="power",
        starts=estimates.weibull,
    ),
    "wald": Family(
        "wald", (_positive("mu", "scale"), _positive("lam", "scale")), "Wald", domain=_POSITIVE, tail="exponential",
        closed=estimates.wald,
    ),
    "pareto": Family(
        "pareto", (_ALPHA_FREE, _positive("m", "scale")), "Pareto", domain=_POSITIVE, tail="power",
        closed=estimates.pareto, edges=(("m", "low"),), units=_least,
    ),
    "rice": Family(
        "rice", (_positive("nu", "scale", _ZERO), _SIGMA_SCALE), "Rice", domain=_POSITIVE, tail="gaussian",
        starts=estimates.rice,
    ),
    "beta": Family("beta", (_ALPHA_FREE, _positive("beta")), "Beta", domain=_UNIT, starts=estimates.beta),
    "kumaraswamy": Family(
        "kumaraswamy", (_positive("a"), _positive("b")), "Kumaraswamy", domain=_UNIT, starts=estimates.kumaraswamy
    ),
    "logit_normal": Family(
        "logit_normal", (_MU, _positive("sigma")), "LogitNormal", domain=_UNIT, closed=estimates.logit_normal
    ),
    "von_mises": Family(
        "von_mises", (Parameter("mu", "angle"), _positive("kappa", None, _ZERO)), "VonMises", domain=Domain(-np.pi, np.pi),
        starts=estimates.von_mises,
    ),
    "poisson": Family("poisson", (_positive("mu"),), "Poisson", domain=_COUNTS, closed=estimates.poisson),
    "negative_binomial": Family(
        "negative_binomial", (_positive("mu"), _TO_POISSON), "NegativeBinomial", domain=_COUNTS,
        starts=estimates.negative_binomial,
    ),
    "geometric": Family(
        "geometric", (Parameter("p", "unit"),), "Geometric", domain=Domain(1.0, whole=True), closed=estimates.geometric
    ),
    "bernoulli": Family(
        "bernoulli", (Parameter("p", "unit"),), "Bernoulli", domain=Domain(0.0, 1.0, whole=True), closed=estimates.bernoulli
    ),
    "discrete_uniform": Family(
        "discrete_uniform", (Parameter("lower", "real"), Parameter("upper", "real")), "DiscreteUniform", domain=_COUNTS,
        closed=estimates.uniform, edges=(("lower", "low"), ("upper", "high")),
    ),
    "binomial": binomial(),
    "beta_binomial": beta_binomial(),
    "discrete_weibull": Family(
        "discrete_weibull", (Parameter("q", "unit"), _positive("beta")), "DiscreteWeibull", domain=_COUNTS,
        starts=estimates.discrete_weibull,
    ),
    "zero_inflated_poisson": Family(
        "zero_inflated_poisson", (_PSI, _positive("mu")), "ZeroInflatedPoisson", domain=_COUNTS,
        starts=estimates.zero_inflated_poisson,
    ),
    "zero_inflated_negative_binomial": Family(
        "zero_inflated_negative_binomial", (_PSI, _positive("mu"), _TO_POISSON), "ZeroInflatedNegativeBinomial",
        domain=_COUNTS, starts=estimates.zero_inflated_negative_binomial,
    ),
    "zero_inflated_binomial": zero_inflated_binomial(),
    "categorical": Family(
        "categorical", (Parameter("p", "simplex", ("k",), limits=(Limit(0.0, -25.0),)),), "Categorical", domain=_COUNTS, closed=estimates.categorical
    ),
    "hurdle_lognormal": Family(
        "hurdle_lognormal", (_PSI, Parameter("mu", "real", role="log"), _positive("sigma")), "HurdleLogNormal",
        domain=_NOT_NEGATIVE, tail="power", closed=estimates.hurdle_lognormal, atom=0.0,
    ),
    "hurdle_gamma": Family(
        "hurdle_gamma", (_PSI, _ALPHA_FREE, _positive("beta", "rate")), "HurdleGamma", domain=_NOT_NEGATIVE,
        tail="exponential", starts=estimates.hurdle_gamma, atom=0.0,
    ),
    "mvnormal": _multivariate(
        "mvnormal", "mvnormal_chol", Parameter("cov", "covariance", ("d", "d")), estimates.mvnormal
    ),
    "mvnormal_diag": _multivariate(
        "mvnormal_diag", "mvnormal_diag", Parameter("sigma", "positive", ("d",)), estimates.mvnormal_diag
    ),
}  # fmt: skip

_PARAMETRIC: Mapping[str, Callable[[int], Family]] = {
    "normal_mixture": normal_mixture,
    "mvnormal_mixture": mvnormal_mixture,
    "binomial": binomial,
    "beta_binomial": beta_binomial,
    "zero_inflated_binomial": zero_inflated_binomial,
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
