"""Correlated Normals, and in closed form what a factorised Normal makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, root

from models.quadrature import gaussian_nodes
from models.targets import Target, mvnormal_mixture

__all__ = [
    "CHAIN_RHO",
    "NORMALS",
    "RHO",
    "Normal",
    "chain",
    "entropy_alpha",
    "factorised",
    "factorised_kl",
    "matched",
    "pitchfork",
]

Array = NDArray[np.float64]
#: Correlation of the pair, and of neighbours in the chain.
RHO, CHAIN_RHO = 0.9, 0.8


def chain(dim: int, rho: float) -> Array:
    """Covariance (d, d) of unit variances with correlation rho^|i - j| (autoregression of order one)."""
    return np.asarray(rho ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim))), dtype=float)


def factorised(cov: Array, alpha: float) -> Array:
    """Variances (d,) of the factorised Normal closest to N(0, cov) in Minka's alpha-divergence.

    Parameters
    ----------
    cov : ndarray (d, d)
    alpha : float
        0 is reverse KL, 1 is forward KL.

    Returns
    -------
    ndarray (d,)

    Notes
    -----
    At the optimum q matches the variances of the density proportional to p^alpha q^(1 - alpha) (Minka, 2005, section 3.2),
    which is Normal with precision alpha Lambda + (1 - alpha) / v. At the ends v = 1 / diag(Lambda) and v = diag(Sigma)
    (Bishop, 2006, section 10.1.2).
    """
    precision = np.linalg.inv(cov)
    narrow, wide = 1 / np.diag(precision), np.diag(cov)
    if alpha in (0, 1):
        return np.asarray(wide if alpha else narrow)

    def mismatch(logs: Array) -> Array:
        tilted = alpha * precision + (1 - alpha) * np.diag(np.exp(-logs))
        return np.asarray(np.log(np.diag(np.linalg.inv(tilted))) - logs) / alpha

    found = root(mismatch, (1 - alpha) * np.log(narrow) + alpha * np.log(wide), tol=1e-12)
    return np.exp(found.x)


def factorised_kl(cov: Array, direction: Literal["reverse", "forward"]) -> float:
    """Least KL, in nats, between N(0, cov) and a factorised Normal: half of sum log Lambda_ii, or log Sigma_ii, less log det."""
    matrix = np.linalg.inv(cov) if direction == "reverse" else cov
    return float(0.5 * (np.log(np.diag(matrix)).sum() - np.linalg.slogdet(matrix)[1]))


def matched(cov: Array, variances: Array) -> tuple[float, float, float]:
    """What a factorised Normal makes of p's marginal variances, marginal precisions and generalised variance.

    Returns
    -------
    (float, float, float)
        Geometric means over coordinates of v / Sigma_ii, of (1 / v) / Lambda_ii, and the d-th root of prod v / det Sigma.
    """
    logs = np.log(variances)
    log_precisions = np.log(np.diag(np.linalg.inv(cov)))
    size = np.linalg.slogdet(cov)[1] / len(cov)
    return (float(np.exp((logs - np.log(np.diag(cov))).mean())), float(np.exp(-(logs + log_precisions).mean())),
            float(np.exp(logs.mean() - size)))  # fmt: skip


def entropy_alpha(cov: Array) -> float:
    """The alpha at which the factorised optimum has the entropy of N(0, cov)."""
    size = np.linalg.slogdet(cov)[1]
    return float(brentq(lambda a: np.log(factorised(cov, a)).sum() - size, 1e-3, 1 - 1e-9, xtol=1e-10))


def pitchfork(dim: int) -> tuple[float, float]:
    """Where the symmetric mean-field optimum of two modes on the diagonal stops to be a minimum.

    The target is ½ N(-c 1, I) + ½ N(c 1, I) in `dim` dimensions.

    Returns
    -------
    (float, float)
        Distance a = c sqrt(d) of either mode from the centre, and the fit's standard deviation s there; infinite in one
        dimension.

    Notes
    -----
    With u = a s and h(u) = E sech²(u z), the symmetric point has s² = 1 + u² h(u) / d; the Hessian along the diagonal is
    1 - a² h(u) = d / s² - (d - 1). It vanishes at s² = d / (d - 1), that is at u² h(u) = d / (d - 1).
    """
    if dim == 1:
        return np.inf, np.inf
    rule = gaussian_nodes(1, size=2049)
    z, w = rule.points[:, 0], rule.weights

    def excess(u: float) -> float:
        return float(u**2 * (w @ (1 / np.cosh(u * z) ** 2)) - dim / (dim - 1))

    sd = np.sqrt(dim / (dim - 1))
    return float(brentq(excess, 0.1, 20, xtol=1e-13)) / sd, float(sd)


@dataclass(frozen=True)
class Normal:
    """A correlated Normal."""

    name: str
    title: str
    dim: int
    rho: float

    @property
    def cov(self) -> Array:
        """Covariance (d, d)."""
        return chain(self.dim, self.rho)

    @property
    def target(self) -> Target:
        """The Normal as a target."""
        return mvnormal_mixture([1], [np.zeros(self.dim)], [self.cov], name=self.name)


NORMALS = (
    Normal("pair", f"2-D, correlation {RHO}", 2, RHO),
    Normal("chain", f"10-D chain, neighbours {CHAIN_RHO}", 10, CHAIN_RHO),
)
