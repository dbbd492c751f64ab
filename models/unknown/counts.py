"""Entropy of counts and KL to families of counts, from draws: probabilities in the place of densities, with bias corrected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma
from scipy.stats import t as student

from models.unknown.intervals import Interval, mean_interval, not_negative

__all__ = ["count_entropy", "count_kl", "count_terms"]

Array = NDArray[np.float64]
#: Share of rows with a value of their own beyond which the unseen values matter.
_ALONE = 0.05


def count_terms(x: Array) -> tuple[Array, list[str]]:
    """Minus a bias-corrected log probability (n,) of each draw, and why not to rely on it.

    Notes
    -----
    H = log n - sum_i (n_i / n) G(n_i), G(m) = psi(m) + (-1)^m (psi((m+1)/2) - psi(m/2)) / 2 (Grassberger, 2003, equations 28 and 35).

    Examples
    --------
    >>> x = np.random.default_rng(0).integers(0, 8, 400)
    >>> bool(abs(count_terms(x)[0].mean() - np.log(8)) < 0.02)
    True
    """
    _, inverse, counts = np.unique(np.asarray(x, dtype=float).ravel(), return_inverse=True, return_counts=True)
    signs = np.where(counts % 2, -1.0, 1.0)
    g = digamma(counts) + signs / 2 * (digamma((counts + 1) / 2) - digamma(counts / 2))
    alone = float((counts == 1).sum() / len(inverse))
    reasons = (
        [f"{alone:.0%} of the rows have a value of their own, so values not seen matter"] if alone > _ALONE else []
    )
    return np.log(len(inverse)) - g[inverse], reasons


def count_entropy(x: Array, level: float) -> Interval:
    """Entropy of the distribution that counts x (n,) are drawn from, in nats."""
    terms, reasons = count_terms(x)
    return _mean(terms, len(np.unique(x)), reasons, level)


def count_kl(x: Array, log_q: Array, level: float) -> Interval:
    """KL of counts x (n,) to a family with these log probabilities (n,) of each, left out."""
    if np.isinf(log_q).any():
        return mean_interval(-log_q, level)
    terms, reasons = count_terms(x)
    return not_negative(_mean(-log_q - terms, len(np.unique(x)), reasons, level))


def _mean(terms: Array, cells: int, reasons: list[str], level: float) -> Interval:
    """Mean of terms; its variance has that of the frequencies, of which 2n KL is a chi-square, even where the terms are alike."""
    n = len(terms)
    value, error = float(terms.mean()), float(np.sqrt(terms.var(ddof=1) / n + (cells - 1) / (2 * n**2)))
    reach = float(student.ppf((1 + level) / 2, n - 1)) * error
    return Interval(value, error, "draws", value - reach, value + reach, level, n, not reasons, tuple(reasons))
