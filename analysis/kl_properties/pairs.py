"""The pairs of distributions, with their divergences in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, digamma

from models.targets import Target, from_spec

__all__ = [
    "CORRELATED", "INDEPENDENT", "PAIRS", "Pair", "Spec", "cauchy_kl", "exponential_kl", "find_pair", "laplace_normal_kl",
    "mvnormal_kl", "normal", "normal_kl", "normal_laplace_kl", "pymc", "student_normal_kl",
]  # fmt: skip

Spec = dict[str, Any]


def normal_kl(m1: float, s1: float, m2: float, s2: float) -> float:
    """KL of N(m1, s1²) from N(m2, s2²), in nats."""
    return float(np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5)


def exponential_kl(rate1: float, rate2: float) -> float:
    """KL between exponential distributions with these rates, in nats."""
    return float(np.log(rate1 / rate2) + rate2 / rate1 - 1)


def cauchy_kl(x1: float, g1: float, x2: float, g2: float) -> float:
    """KL between Cauchy distributions with locations x and scales g, in nats (Chyzak and Nielsen, 2019)."""
    return float(np.log(((g1 + g2) ** 2 + (x1 - x2) ** 2) / (4 * g1 * g2)))


def laplace_normal_kl(b: float, s: float) -> float:
    """KL of Laplace(0, b) from N(0, s²): minus the Laplace entropy 1 + log 2b, plus E[x²] = 2b² in the Normal's log."""
    return float(-1 - np.log(2 * b) + np.log(2 * np.pi * s**2) / 2 + b**2 / s**2)


def normal_laplace_kl(s: float, b: float) -> float:
    """KL of N(0, s²) from Laplace(0, b): minus the Normal entropy, plus E|x| = s sqrt(2/pi) in the Laplace's log."""
    return float(-np.log(2 * np.pi * math.e * s**2) / 2 + np.log(2 * b) + s * np.sqrt(2 / np.pi) / b)


def student_normal_kl(nu: float) -> float:
    """KL of Student-t with nu degrees of freedom from N(0, 1): minus its entropy, plus half of E[x²] = nu / (nu - 2).

    Infinite for nu <= 2, as E[x²] is.
    """
    if nu <= 2:
        return np.inf
    own = (nu + 1) / 2 * (digamma((nu + 1) / 2) - digamma(nu / 2)) + np.log(nu) / 2 + betaln(nu / 2, 0.5)
    return float(-own + np.log(2 * np.pi) / 2 + nu / (nu - 2) / 2)


def mvnormal_kl(cov1: Sequence[Sequence[float]], cov2: Sequence[Sequence[float]]) -> float:
    """KL between multivariate Normal distributions of equal means, in nats."""
    ratio = np.linalg.solve(np.asarray(cov2), np.asarray(cov1))
    return float((np.trace(ratio) - len(ratio) - np.linalg.slogdet(ratio)[1]) / 2)


# --- catalogue -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two distributions, with KL(p||q) and KL(q||p) where these have a closed form.

    Attributes
    ----------
    name, title : str
    p_text, q_text : str
        Markdown.
    p, q : dict
        Specifications of targets.
    exact : (float or None, float or None)
        In nats, from p to q and back.
    formula : str
        Which closed form, Markdown.
    """

    name: str
    title: str
    p_text: str
    q_text: str
    p: Spec
    q: Spec
    exact: tuple[float | None, float | None] = (None, None)
    formula: str = "none known"

    def targets(self, direction: str = "pq") -> tuple[Target, Target]:
        """The first and the second argument of the divergence."""
        p, q = from_spec(self.p), from_spec(self.q)
        return (p, q) if direction == "pq" else (q, p)


def normal(mean: float, sd: float) -> Spec:
    """Specification of a Normal."""
    return {"weights": [1.0], "means": [mean], "sds": [sd]}


def pymc(name: str, **params: float) -> Spec:
    """Specification of a distribution by PyMC's names."""
    return {"distribution": name, "params": params}


_BIMODAL: Spec = {"weights": [0.5, 0.5], "means": [-3.0, 3.0], "sds": [1.0, 1.0]}
CORRELATED, INDEPENDENT = [[1.0, 0.8], [0.8, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
_B, _S = 1.0, float(np.sqrt(2))  # equal variances

PAIRS = (
    Pair("shifted", "shifted", "N(0, 1)", "N(1.5, 1)", normal(0, 1), normal(1.5, 1),
         (normal_kl(0, 1, 1.5, 1), normal_kl(1.5, 1, 0, 1)), "Normal"),
    Pair("wider", "shifted and wider", "N(0, 1)", "N(1, 3²)", normal(0, 1), normal(1, 3),
         (normal_kl(0, 1, 1, 3), normal_kl(1, 3, 0, 1)), "Normal"),
    Pair("exponential", "exponential", "Exp(rate 1)", "Exp(rate 3)", pymc("Exponential", lam=1), pymc("Exponential", lam=3),
         (exponential_kl(1, 3), exponential_kl(3, 1)), "Exponential"),
    Pair("cauchy", "Cauchy", "Cauchy(0, 1)", "Cauchy(2, ½)", pymc("Cauchy", alpha=0, beta=1), pymc("Cauchy", alpha=2, beta=0.5),
         (cauchy_kl(0, 1, 2, 0.5), cauchy_kl(2, 0.5, 0, 1)), "Cauchy"),
    Pair("laplace", "Laplace, Normal", "Laplace(0, 1)", "N(0, 2)", pymc("Laplace", mu=0, b=_B), normal(0, _S),
         (laplace_normal_kl(_B, _S), normal_laplace_kl(_S, _B)), "Laplace and Normal"),
    Pair("student", "Student-t, Normal", "t with 3 degrees of freedom", "N(0, 1)", pymc("StudentT", nu=3, mu=0, sigma=1), normal(0, 1),
         (student_normal_kl(3), None), "Student-t to Normal (ν > 2); none known back"),
    Pair("matched", "bimodal, moments matched", "½ N(±3, 1)", "N(0, 10)", _BIMODAL, normal(0, float(np.sqrt(10)))),
    Pair("one_mode", "bimodal, one mode", "½ N(±3, 1)", "N(3, 1)", _BIMODAL, normal(3, 1)),
    Pair("mixtures", "two mixtures", "0.3 N(−2, 0.5²) + 0.7 N(2, 1)", "0.6 N(−1, 1) + 0.4 N(2.5, 1.5²)",
         {"weights": [0.3, 0.7], "means": [-2.0, 2.0], "sds": [0.5, 1.0]},
         {"weights": [0.6, 0.4], "means": [-1.0, 2.5], "sds": [1.0, 1.5]}),
    Pair("correlated", "correlation lost", "2-D Normal, correlation 0.8", "product of its marginals",
         {"weights": [1.0], "means": [[0.0, 0.0]], "covs": [CORRELATED]},
         {"weights": [1.0], "means": [[0.0, 0.0]], "covs": [INDEPENDENT]},
         (mvnormal_kl(CORRELATED, INDEPENDENT), mvnormal_kl(INDEPENDENT, CORRELATED)), "multivariate Normal"),
)  # fmt: skip


def find_pair(name: str) -> Pair:
    """The pair of the catalogue of that name."""
    return next(pair for pair in PAIRS if pair.name == name)
