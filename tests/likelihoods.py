"""Families with draws, their log densities by scipy, and what scipy's own fit reaches: for tests and benchmarks of likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A family: a member of it with PyMC's parameters, and scipy's distribution with the same."""

    name: str
    truth: Mapping[str, float]
    law: Callable[..., Any]
    hold: Mapping[str, float] | None = None
    bounds: Mapping[str, tuple[float, float]] | None = None

    def member(self, params: Mapping[str, float]) -> Any:
        """The law with these parameters: scipy's, frozen."""
        return self.law(*(params[name] for name in self.truth))

    def draw(self, n: int, seed: int) -> Array:
        """Draws (n,) of the member."""
        return np.asarray(self.member(self.truth).rvs(n, random_state=np.random.default_rng(seed)), dtype=float)

    def logp(self, x: Array, params: Mapping[str, float]) -> float:
        """Total log likelihood by scipy."""
        law = self.member(params)
        return float((law.logpdf(x) if self.bounds is None else law.logpmf(x)).sum())

    def best(self, x: Array) -> float:
        """The highest log likelihood of Nelder and Mead's method from the truth, over logarithms of positive parameters."""
        keys = [k for k in self.truth if k not in ("n", "m", "lower", "upper")]
        rest = {k: v for k, v in self.truth.items() if k not in keys}
        rest |= {k: v for k, v in {"m": x.min(), "lower": x.min(), "upper": x.max()}.items() if k in rest}
        signed = np.array([k in ("mu", "alpha") and self.name in SIGNED for k in keys], dtype=bool)
        start = np.array([self.truth[k] for k in keys])

        def loss(u: Array) -> float:
            with np.errstate(all="ignore"):
                value = -self.logp(x, dict(zip(keys, np.where(signed, u, np.exp(u)), strict=True)) | rest)
            return value if np.isfinite(value) else 1e300

        if not keys:
            return -loss(np.empty(0))
        first = np.where(signed, start, np.log(np.where(signed, 1.0, start)))
        options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-9}
        return -float(minimize(loss, first, method="Nelder-Mead", options=options).fun)

    def scipys(self, x: Array) -> float:
        """The log likelihood that scipy's own fit reaches, with the same parameters held."""
        law = self.member(self.truth).dist
        if self.bounds is not None:
            result = stats.fit(law, x, dict(self.bounds))
            return float(-result.nllf())
        found = law.fit(x, **(self.hold or {}))
        return float(law.logpdf(x, *found).sum())


#: Families whose location may be negative: of others every parameter is positive.
SIGNED = {"normal", "laplace", "logistic", "student_t", "cauchy", "gumbel", "moyal", "skew_normal", "ex_gaussian",
          "lognormal", "von_mises", "logit_normal", "hurdle_lognormal"}  # fmt: skip


class _Mixed:
    """A law of counts with more zeros, as scipy's frozen laws are asked."""

    def __init__(self, psi: float, law: Any) -> None:
        self.psi, self.law, self.dist = psi, law, None

    def rvs(self, n: int, random_state: np.random.Generator) -> Array:
        return np.asarray((random_state.random(n) < self.psi) * self.law.rvs(n, random_state=random_state))

    def logpmf(self, x: Array) -> Array:
        return np.asarray(np.log((1 - self.psi) * (x == 0) + self.psi * self.law.pmf(x)))


class _Beyond(_Mixed):
    """A point mass at 0 and a density beyond it."""

    def logpdf(self, x: Array) -> Array:
        with np.errstate(divide="ignore"):
            beyond = np.log(self.psi) + self.law.logpdf(np.where(x == 0, 1.0, x))
            return np.where(x == 0, np.log1p(-self.psi), beyond)


class _Kumaraswamy:
    """The law of U with (1 - X^a)^b = U uniform."""

    dist = None

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def rvs(self, n: int, random_state: np.random.Generator) -> Array:
        return np.asarray((1 - random_state.random(n) ** (1 / self.b)) ** (1 / self.a))

    def logpdf(self, x: Array) -> Array:
        return np.log(self.a * self.b) + (self.a - 1) * np.log(x) + (self.b - 1) * np.log1p(-(x**self.a))


class _HalfT:
    """The absolute value of a Student-t."""

    dist = None

    def __init__(self, nu: float, sigma: float) -> None:
        self.law = stats.t(nu, scale=sigma)

    def rvs(self, n: int, random_state: np.random.Generator) -> Array:
        return np.abs(self.law.rvs(n, random_state=random_state))

    def logpdf(self, x: Array) -> Array:
        return np.log(2) + self.law.logpdf(x)


class _LogitNormal:
    """The law of a Normal, made logits."""

    dist = None

    def __init__(self, mu: float, sigma: float) -> None:
        self.law = stats.norm(mu, sigma)

    def rvs(self, n: int, random_state: np.random.Generator) -> Array:
        return 1 / (1 + np.exp(-self.law.rvs(n, random_state=random_state)))

    def logpdf(self, x: Array) -> Array:
        return self.law.logpdf(np.log(x / (1 - x))) - np.log(x * (1 - x))


def _nbinom(mu: float, alpha: float) -> Any:
    return stats.nbinom(alpha, alpha / (alpha + mu))


ZERO = {"floc": 0.0}
CASES = [
    Case("normal", {"mu": 3, "sigma": 2}, stats.norm),
    Case("laplace", {"mu": 3, "b": 2}, stats.laplace),
    Case("logistic", {"mu": 3, "s": 2}, stats.logistic),
    Case("student_t", {"nu": 4, "mu": 3, "sigma": 2}, stats.t),
    Case("cauchy", {"alpha": 3, "beta": 2}, stats.cauchy),
    Case("skew_normal", {"mu": 3, "sigma": 2, "alpha": 4}, lambda mu, sigma, alpha: stats.skewnorm(alpha, mu, sigma)),
    Case("gumbel", {"mu": 3, "beta": 2}, stats.gumbel_r),
    Case("moyal", {"mu": 3, "sigma": 2}, stats.moyal),
    Case("ex_gaussian", {"mu": 3, "sigma": 1, "nu": 2}, lambda mu, sigma, nu: stats.exponnorm(nu / sigma, mu, sigma)),
    Case("uniform", {"lower": -3, "upper": 2}, lambda lower, upper: stats.uniform(lower, upper - lower)),
    Case("exponential", {"lam": 0.2}, lambda lam: stats.expon(scale=1 / lam), ZERO),
    Case("half_normal", {"sigma": 5}, lambda sigma: stats.halfnorm(scale=sigma), ZERO),
    Case("half_student_t", {"nu": 4, "sigma": 5}, _HalfT),
    Case("half_cauchy", {"beta": 5}, lambda beta: stats.halfcauchy(scale=beta), ZERO),
    Case("lognormal", {"mu": -1, "sigma": 0.7}, lambda mu, sigma: stats.lognorm(sigma, scale=np.exp(mu)), ZERO),
    Case("gamma", {"alpha": 2.5, "beta": 0.3}, lambda alpha, beta: stats.gamma(alpha, scale=1 / beta), ZERO),
    Case("inverse_gamma", {"alpha": 3, "beta": 2}, lambda alpha, beta: stats.invgamma(alpha, scale=beta), ZERO),
    Case("weibull", {"alpha": 1.7, "beta": 9}, lambda alpha, beta: stats.weibull_min(alpha, scale=beta), ZERO),
    Case("wald", {"mu": 1.5, "lam": 3}, lambda mu, lam: stats.invgauss(mu / lam, scale=lam), ZERO),
    Case("pareto", {"alpha": 2.5, "m": 3}, lambda alpha, m: stats.pareto(alpha, scale=m), ZERO),
    Case("rice", {"nu": 3, "sigma": 2}, lambda nu, sigma: stats.rice(nu / sigma, scale=sigma), ZERO),
    Case("beta", {"alpha": 0.7, "beta": 2.5}, lambda alpha, beta: stats.beta(alpha, beta), ZERO | {"fscale": 1.0}),
    Case("kumaraswamy", {"a": 2, "b": 3}, _Kumaraswamy),
    Case("logit_normal", {"mu": 1, "sigma": 0.8}, _LogitNormal),
    Case("von_mises", {"mu": 1, "kappa": 2}, lambda mu, kappa: stats.vonmises(kappa, loc=mu), {"fscale": 1.0}),
    Case("poisson", {"mu": 4}, stats.poisson, bounds={"mu": (0, 50)}),
    Case("negative_binomial", {"mu": 4, "alpha": 2}, _nbinom, bounds={"n": (0, 50), "p": (0, 1)}),
    Case("geometric", {"p": 0.3}, stats.geom, bounds={"p": (0, 1)}),
    Case("discrete_uniform", {"lower": 2, "upper": 9}, lambda lower, upper: stats.randint(int(lower), int(upper) + 1),
         bounds={"low": (0, 50), "high": (0, 50)}),
    Case("bernoulli", {"p": 0.3}, stats.bernoulli, bounds={"p": (0, 1)}),
    Case("binomial", {"n": 9, "p": 0.4}, stats.binom, bounds={"n": (9, 9), "p": (0, 1)}),
    Case("beta_binomial", {"n": 9, "alpha": 2, "beta": 3}, lambda n, alpha, beta: stats.betabinom(n, alpha, beta),
         bounds={"n": (9, 9), "a": (0, 20), "b": (0, 20)}),
    Case("zero_inflated_poisson", {"psi": 0.6, "mu": 3}, lambda psi, mu: _Mixed(psi, stats.poisson(mu)), bounds={}),
    Case("zero_inflated_negative_binomial", {"psi": 0.6, "mu": 4, "alpha": 3},
         lambda psi, mu, alpha: _Mixed(psi, _nbinom(mu, alpha)), bounds={}),
    Case("zero_inflated_binomial", {"psi": 0.6, "n": 9, "p": 0.4}, lambda psi, n, p: _Mixed(psi, stats.binom(n, p)),
         bounds={}),
    Case("hurdle_lognormal", {"psi": 0.6, "mu": 1, "sigma": 0.7},
         lambda psi, mu, sigma: _Beyond(psi, stats.lognorm(sigma, scale=np.exp(mu)))),
    Case("hurdle_gamma", {"psi": 0.6, "alpha": 2, "beta": 0.3},
         lambda psi, alpha, beta: _Beyond(psi, stats.gamma(alpha, scale=1 / beta))),
]  # fmt: skip
