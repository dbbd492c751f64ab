"""Distributions whose entropy is known, to be drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.divergences import entropy
from models.targets import normal_mixture

__all__ = ["NAMES", "Known", "find", "normal_entropy"]

Array = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True)
class Known:
    """A distribution with its entropy, mean and covariance.

    Attributes
    ----------
    name, title : str
    dim : int
    new : bool
        Not among the distributions on which the estimator was chosen.
    draw : callable (generator, n) -> (n, d)
    entropy : float
        In nats.
    mean, cov : ndarray (d,), (d, d)
    """

    name: str
    title: str
    dim: int
    new: bool
    draw: Sampler
    entropy: float
    mean: Array
    cov: Array

    @property
    def kl(self) -> float:
        """KL to the Normal of the same mean and covariance, which is the forward projection: a difference of entropies."""
        return float(normal_entropy(self.cov) - self.entropy)

    def log_normal(self, x: Array) -> Array:
        """Log density (n,) of that Normal."""
        return np.asarray(stats.multivariate_normal(self.mean, self.cov).logpdf(x)).reshape(len(x))


def normal_entropy(cov: Array) -> float:
    """Entropy of a Normal, in nats."""
    return float(np.linalg.slogdet(2 * np.pi * math.e * cov)[1] / 2)


def _scipy(name: str, title: str, law: Any, new: bool) -> Known:
    mean, variance = (float(v) for v in law.stats("mv"))
    return Known(name, title, 1, new, lambda rng, n: np.asarray(law.rvs(size=(n, 1), random_state=rng)),
                 float(law.entropy()), np.array([mean]), np.array([[variance]]))  # fmt: skip


def _mixed(weights: Array, means: Array, sds: Array) -> tuple[Sampler, float, float, float]:
    """Sampler, entropy, mean and variance of a mixture of Normals on the line."""

    def draw(rng: np.random.Generator, n: int) -> Array:
        which = rng.choice(len(weights), size=n, p=weights)
        return np.asarray(rng.normal(means[which], sds[which])[:, None])

    mean = float(weights @ means)
    variance = float(weights @ (sds**2 + means**2) - mean**2)
    return draw, entropy(normal_mixture(weights, means, sds)).value, mean, variance


def _mixture(name: str, title: str, mixture: tuple[Any, Any, Any], new: bool) -> Known:
    draw, h, mean, variance = _mixed(*(np.asarray(v, dtype=float) for v in mixture))
    return Known(name, title, 1, new, draw, h, np.array([mean]), np.array([[variance]]))


def _normal(dim: int) -> Known:
    cov = 0.5 * np.eye(dim) + 0.5
    factor = np.linalg.cholesky(cov)
    title = "Normal" if dim == 1 else f"Normal, correlation ½, {dim}-D"
    return Known(f"normal_{dim}", title, dim, False, lambda rng, n: np.asarray(rng.normal(size=(n, dim)) @ factor.T),
                 normal_entropy(cov), np.zeros(dim), cov)  # fmt: skip


def _product(name: str, title: str, mixtures: Any, shear: Any) -> Known:
    """Independent mixtures mapped by a matrix: the entropies add up, and the map adds log |det|."""
    lines = [_mixed(*(np.asarray(v, dtype=float) for v in m)) for m in mixtures]
    a = np.asarray(shear, dtype=float)

    def draw(rng: np.random.Generator, n: int) -> Array:
        return np.asarray(np.hstack([line[0](rng, n) for line in lines]) @ a.T)

    h = sum(line[1] for line in lines) + float(np.linalg.slogdet(a)[1])
    return Known(name, title, len(lines), True, draw, h, a @ np.array([line[2] for line in lines]),
                 a @ np.diag([line[3] for line in lines]) @ a.T)  # fmt: skip


def _copula(rho: float, nu: float) -> Known:
    """Student-t margins joined by a Normal copula: the entropy is that of the margins plus log(1 - rho²)/2."""
    law, factor = stats.t(nu), np.linalg.cholesky([[1, rho], [rho, 1]])

    def margin(z: Array) -> Array:
        return np.asarray(-np.sign(z) * law.ppf(stats.norm.cdf(-np.abs(z))))

    def draw(rng: np.random.Generator, n: int) -> Array:
        return margin(rng.normal(size=(n, 2)) @ factor.T)

    z = np.linspace(-9, 9, 721)
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    # E[g(Z1) g(Z2)] given Z1: Z2 is Normal around rho Z1.
    inner = margin(rho * z[:, None] + np.sqrt(1 - rho**2) * z) @ weight
    covariance, variance = float((margin(z) * inner) @ weight), float(law.var())
    h = 2 * float(law.entropy()) + np.log(1 - rho**2) / 2
    return Known("t_copula", f"t with {nu:g} df, Normal copula, 2-D", 2, True, draw, float(h), np.zeros(2),
                 np.array([[variance, covariance], [covariance, variance]]))  # fmt: skip


_TWO, _THREE = ([0.5, 0.5], [-3, 3], [1, 1]), ([0.5, 0.3, 0.2], [-4, 0, 3], [1, 0.5, 0.7])
_ONE = ([1.0], [0.0], [1.0])

#: Built when asked for: a mixture's entropy takes an integral.
_BUILDERS: dict[str, Callable[[], Known]] = {
    "normal_1": partial(_normal, 1),
    "uniform": lambda: _scipy("uniform", "uniform", stats.uniform(), False),
    "exponential": lambda: _scipy("exponential", "exponential", stats.expon(), False),
    "t5": lambda: _scipy("t5", "t with 5 df", stats.t(5), False),
    "two_modes": lambda: _mixture("two_modes", "½ N(±3, 1)", _TWO, False),
    "logistic": lambda: _scipy("logistic", "logistic", stats.logistic(), True),
    "gumbel": lambda: _scipy("gumbel", "Gumbel", stats.gumbel_r(), True),
    "weibull": lambda: _scipy("weibull", "Weibull, shape 0.8", stats.weibull_min(0.8), True),
    "von_mises": lambda: _scipy("von_mises", "von Mises on (−π, π), κ = 1", stats.vonmises(1), True),
    "five_modes": lambda: _mixture(
        "five_modes", "five modes", ([0.3, 0.2, 0.2, 0.2, 0.1], [-6, -2, 0, 3, 7], [1, 0.3, 0.5, 0.8, 0.2]), True
    ),
    "normal_2": partial(_normal, 2),
    "t_copula": partial(_copula, 0.6, 3.0),
    "clusters_2": lambda: _product("clusters_2", "six clusters, sheared, 2-D", (_TWO, _THREE), [[1, 0], [0.5, 1]]),
    "normal_3": partial(_normal, 3),
    "clusters_3": lambda: _product(
        "clusters_3", "six clusters, sheared, 3-D", (_TWO, _THREE, _ONE), [[1, 0, 0], [0.5, 1, 0], [0.3, 0.3, 1]]
    ),
    "normal_5": partial(_normal, 5),
    "normal_8": partial(_normal, 8),
}
NAMES = tuple(_BUILDERS)


@cache
def find(name: str) -> Known:
    """Return the distribution of that name."""
    return _BUILDERS[name]()
