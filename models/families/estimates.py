"""Estimates of parameters in one pass over points: closed forms of maximum likelihood, and where searches for it begin.

A closed form returns the parameters; a start returns several sets of them. Both take the points in the units of the family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Closed", "Points", "Start"]

Array = NDArray[np.float64]
Params = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a distribution with weights: data, or nodes of a quadrature.

    Attributes
    ----------
    x : ndarray (n,) or (n, d)
    weights : ndarray (n,)
        Positive, and sum to 1.
    low, high : float
        Ends: the extremes of data, or those of the support of a density.
    trials : int, optional
        Value of the integer parameter of a family that has one.
    """

    x: Array
    weights: Array
    low: float
    high: float
    trials: int | None = None

    def mean(self, values: Array | None = None) -> Any:
        """Mean of x, or of `values` (n, ...)."""
        return self.weights @ (self.x if values is None else values)

    @property
    def variance(self) -> float:
        """Variance of x."""
        return float(self.mean((self.x - self.mean()) ** 2))

    @property
    def median(self) -> float:
        """A median of x: one of the points."""
        return float(np.quantile(self.x, 0.5, weights=self.weights, method="inverted_cdf"))

    @property
    def positive(self) -> Points:
        """The points that are not 0."""
        kept = self.x != 0
        return Points(self.x[kept], self.weights[kept] / self.weights[kept].sum(), self.low, self.high, self.trials)

    @property
    def share(self) -> float:
        """Weight of the points that are not 0; of all it is 1 but for rounding."""
        return min(float(self.weights[self.x != 0].sum()), 1.0)


Closed = Callable[[Points], Params]
Start = Callable[[Points], list[Params]]


# --- the real line ---------------------------------------------------------------------------------------------------


def normal(s: Points) -> Params:
    """Mean and standard deviation."""
    return {"mu": s.mean(), "sigma": np.sqrt(s.variance)}


def normal_mean(s: Points) -> Params:
    """Mean, where the standard deviation is held."""
    return {"mu": s.mean()}


def mvnormal(s: Points) -> Params:
    """Mean (d,) and covariance (d, d)."""
    moved = s.x - s.mean()
    return {"mu": s.mean(), "cov": (moved * s.weights[:, None]).T @ moved}


def mvnormal_diag(s: Points) -> Params:
    """Means and standard deviations (d,)."""
    return {"mu": s.mean(), "sigma": np.sqrt(s.mean((s.x - s.mean()) ** 2))}


def laplace(s: Points) -> Params:
    """A median, and the mean distance from it."""
    return {"mu": s.median, "b": s.mean(np.abs(s.x - s.median))}


def uniform(s: Points) -> Params:
    """The extremes."""
    return {"lower": s.low, "upper": s.high}


def ex_gaussian(s: Points) -> list[Params]:
    """By three moments (Dawson, 1988), of skewness raised to what the family has."""
    sd = np.sqrt(s.variance)
    skewness = s.mean(((s.x - s.mean()) / sd) ** 3)
    tails = [sd * np.cbrt(np.clip(skewness, low, 1.8) / 2) for low in (0.02, 0.6)]
    return [{"mu": s.mean() - nu, "sigma": np.sqrt(sd**2 - nu**2), "nu": nu} for nu in tails]


# --- the half-line ---------------------------------------------------------------------------------------------------


def exponential(s: Points) -> Params:
    """The inverse of the mean."""
    return {"lam": 1 / s.mean()}


def half_normal(s: Points) -> Params:
    """Root mean square."""
    return {"sigma": np.sqrt(s.mean(s.x**2))}


def half_student_t(s: Points) -> list[Params]:
    """Several degrees of freedom, with the median in its place."""
    return [{"nu": nu, "sigma": max(s.median, 1e-3) / m} for nu, m in ((1.5, 0.85), (4.0, 0.74), (30.0, 0.68))]


def lognormal(s: Points) -> Params:
    """Mean and standard deviation of the logarithms."""
    return normal(Points(np.log(s.x), s.weights, 0.0, 0.0))


def gamma(s: Points) -> list[Params]:
    """Minka's approximation to the shape (2002, Estimating a Gamma distribution), within 2 % of the maximum."""
    return [_gamma(s)]


def _gamma(s: Points) -> dict[str, Any]:
    mean = s.mean()
    gap = max(float(np.log(mean) - s.mean(np.log(s.x))), 1e-14)
    alpha = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    return {"alpha": alpha, "beta": alpha / mean}


def inverse_gamma(s: Points) -> list[Params]:
    """As `gamma`, of 1/x."""
    return [_gamma(Points(1 / s.x, s.weights, 0.0, 0.0))]


def weibull(s: Points) -> list[Params]:
    """By the mean and standard deviation of the logarithms, which are Gumbel."""
    logs = normal(Points(np.log(s.x), s.weights, 0.0, 0.0))
    alpha = np.pi / np.sqrt(6) / logs["sigma"]
    return [{"alpha": alpha, "beta": np.exp(logs["mu"] + np.euler_gamma / alpha)}]


def wald(s: Points) -> Params:
    """Mean, and what the mean of 1/x has beyond the inverse of the mean."""
    mean = s.mean()
    return {"mu": mean, "lam": 1 / s.mean((s.x - mean) ** 2 / (s.x * mean**2))}


def pareto(s: Points) -> Params:
    """The least point, and the inverse of the mean logarithm of what is beyond it."""
    return {"m": s.low, "alpha": 1 / s.mean(np.log(s.x / s.low))}


def rice(s: Points) -> list[Params]:
    """By the second and fourth moments; and with a small and a large nu."""
    second, fourth = s.mean(s.x**2), s.mean(s.x**4)
    share = np.sqrt(np.clip(2 - fourth / second**2, 0.01, 0.999))  # nu^2 of nu^2 + 2 sigma^2
    shares = (share, 0.2, 0.9)
    return [{"nu": np.sqrt(a * second), "sigma": np.sqrt((1 - a) * second / 2)} for a in shares]


# --- intervals and the circle ----------------------------------------------------------------------------------------


def beta(s: Points) -> list[Params]:
    """By mean and variance; and flat."""
    mean = s.mean()
    size = max(mean * (1 - mean) / s.variance - 1, 0.05)
    return [{"alpha": mean * size, "beta": (1 - mean) * size}, {"alpha": 1.0, "beta": 1.0}]


def kumaraswamy(s: Points) -> list[Params]:
    """The best b for several a, for which it has a closed form."""
    found: list[Params] = []
    for a in (0.3, 1.0, 3.0, 10.0):
        rest = -s.mean(np.log1p(-(s.x**a)))
        found.append({"a": a, "b": 1 / max(rest, 1e-12)})
    return found


def logit_normal(s: Points) -> Params:
    """Mean and standard deviation of the logits."""
    return normal(Points(np.log(s.x) - np.log1p(-s.x), s.weights, 0.0, 0.0))


def von_mises(s: Points) -> list[Params]:
    """Mean direction, and the concentration of the mean resultant length (Mardia and Jupp, 2000, section 5.3)."""
    sine, cosine = s.mean(np.sin(s.x)), s.mean(np.cos(s.x))
    length = np.clip(np.hypot(sine, cosine), 1e-6, 1 - 1e-15)
    return [{"mu": np.arctan2(sine, cosine), "kappa": length * (2 - length**2) / (1 - length**2)}]


# --- counts ----------------------------------------------------------------------------------------------------------


def poisson(s: Points) -> Params:
    """The mean."""
    return {"mu": s.mean()}


def geometric(s: Points) -> Params:
    """The inverse of the mean."""
    return {"p": 1 / s.mean()}


def bernoulli(s: Points) -> Params:
    """The share of ones."""
    return {"p": s.mean()}


def binomial(s: Points) -> Params:
    """The mean over the number of trials."""
    return {"n": s.trials, "p": s.mean() / float(s.trials or 1)}


def beta_binomial(s: Points) -> list[Params]:
    """The mean, with several concentrations."""
    share = np.clip(s.mean() / float(s.trials or 1), 1e-9, 1 - 1e-9)
    return [{"n": s.trials, "alpha": share * size, "beta": (1 - share) * size} for size in (1.0, 8.0, 200.0)]


def negative_binomial(s: Points) -> list[Params]:
    """By mean and variance; and two shapes besides."""
    mean, variance = s.mean(), s.variance
    shapes = [mean**2 / (variance - mean)] if variance > mean else []
    return [{"mu": mean, "alpha": alpha} for alpha in (*shapes, 0.3, 20.0 * (1 + mean))]


def zero_inflated_poisson(s: Points) -> list[Params]:
    """The mean of what is not 0, less what a Poisson law has there."""
    mean = s.positive.mean()
    mu = max(mean * -np.expm1(-max(mean - 0.5, 0.3)), 0.05)
    return [{"psi": _psi(s, np.exp(-mu)), "mu": mu}, {"psi": 0.9, "mu": s.mean() / 0.9}]


def zero_inflated_negative_binomial(s: Points) -> list[Params]:
    """As for the Poisson law, with several shapes."""
    found: list[Params] = []
    for alpha in (0.5, 2.0, 20.0):
        mean = s.positive.mean()
        zero = (alpha / (alpha + mean)) ** alpha
        found.append({"psi": _psi(s, zero), "mu": mean * (1 - zero), "alpha": alpha})
    return [*found, {"psi": 0.95, "mu": s.mean() / 0.95, "alpha": 1.0}]


def zero_inflated_binomial(s: Points) -> list[Params]:
    """As for the Poisson law, given the number of trials."""
    n = float(s.trials or 1)
    p = float(np.clip(s.positive.mean() / n, 1e-6, 1 - 1e-6))
    inner = float(np.clip(p * (1 - (1 - p) ** n), 1e-9, 1 - 1e-6))
    return [{"n": s.trials, "psi": _psi(s, (1 - inner) ** n), "p": inner}]


def _psi(s: Points, zero: float) -> float:
    """Weight of a law that has this mass at 0."""
    return float(np.clip(s.share / (1 - zero), 0.02, 0.98))


def discrete_weibull(s: Points) -> list[Params]:
    """By the mass at 0, with several shapes."""
    q = float(np.clip(s.share, 0.02, 0.98))
    return [{"q": q, "beta": b} for b in (0.6, 1.0, 2.0)]


def categorical(s: Points) -> Params:
    """Shares; of a category without points a trace of one, for the logarithm's sake."""
    share = np.bincount(s.x.astype(int), weights=s.weights, minlength=int(s.high) + 1)
    share = np.maximum(share, 1e-14)
    return {"p": share / share.sum()}


# --- a point mass at 0 and a law beyond it ---------------------------------------------------------------------------


def hurdle_lognormal(s: Points) -> Params:
    """The share beyond 0, and a lognormal law there."""
    return {"psi": min(s.share, 1 - 1e-14), **lognormal(s.positive)}


def hurdle_gamma(s: Points) -> list[Params]:
    """The share beyond 0, and a Gamma law there."""
    return [{"psi": min(s.share, 1 - 1e-14), **_gamma(s.positive)}]
