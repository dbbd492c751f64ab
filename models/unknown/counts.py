"""Entropy of counts and KL to families of counts, from draws: probabilities in the place of densities, with bias corrected."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, exp1
from scipy.stats import t as student

from models.unknown.intervals import Interval, mean_interval, not_negative

__all__ = ["CountTerms", "count_entropy", "count_kl", "count_terms"]

Array = NDArray[np.float64]
#: Share of rows with a value of their own beyond which what is known of the values not seen is too little.
_ALONE = 0.2


class CountTerms(NamedTuple):
    """Minus a log probability of each draw, corrected for bias.

    Attributes
    ----------
    values : ndarray (n,)
        Their mean is the entropy, in nats.
    variance : float
        Of what the frequencies and the values not seen add to that of the mean.
    reasons : list of str
        Why not to rely on it.
    """

    values: Array
    variance: float
    reasons: list[str]


def count_terms(x: Array) -> CountTerms:
    """Minus a bias-corrected log probability (n,) of each draw.

    Notes
    -----
    H = sum_k (1/k) sum_j p_j (1-p_j)^k. Its first n - 1 terms have the unbiased estimate psi(n) - sum_i (n_i/n) psi(n_i) (Zhang, 2012).
    The rest begins with sum_j p_j (1-p_j)^n = f1/n, the share that is not seen (Good, 1953), and falls by the factor 1 - b/n, b = 2 f2/f1,
    to the next term. As a power law k^-b it adds up to f1/(n b): 1/n for each value not seen (Chao, 1984, without bias), and so it
    is with laws of long tails, such as Zipf's or a negative binomial of small size. If it falls exponentially, as with values that
    are all equally likely (Chao, Wang and Jost, 2013), it is f1/n exp(b) E1(b). The first is taken, and half the way to
    the second is an error of its own, besides that of the number of values not seen (Chao, 1987).

    Examples
    --------
    >>> x = np.random.default_rng(0).integers(0, 8, 400)
    >>> bool(abs(count_terms(x).values.mean() - np.log(8)) < 0.02)
    True
    """
    _, inverse, counts = np.unique(np.asarray(x, dtype=float).ravel(), return_inverse=True, return_counts=True)
    n, once, twice = len(inverse), float((counts == 1).sum()), float((counts == 2).sum())
    pairs = once * (once - 1)
    unseen = pairs / (2 * (twice + 1))
    spread = unseen + once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2) + twice * pairs**2 / (4 * (twice + 1) ** 4)
    falls = min(2 * (twice + 1) / (once - 1), 500.0) if once > 1 else np.inf
    doubt = (unseen - once * exp1(falls) * np.exp(falls)) / 2 if once > 1 else 0.0
    # That of the frequencies, of which 2n KL is a chi-square, is there even where the terms are alike.
    variance = ((len(counts) - 1) / 2 + spread + doubt**2) / n**2
    alone = once / n
    reasons = (
        [f"{alone:.0%} of the rows have a value of their own, so values not seen matter"] if alone > _ALONE else []
    )
    return CountTerms(digamma(n) - digamma(counts)[inverse] + unseen / n, variance, reasons)


def count_entropy(x: Array, level: float) -> Interval:
    """Entropy of the distribution that counts x (n,) are drawn from, in nats."""
    found = count_terms(x)
    return _mean(found.values, found, level)


def count_kl(x: Array, log_q: Array, level: float) -> Interval:
    """KL of counts x (n,) to a family with these log probabilities (n,) of each, left out."""
    if np.isinf(log_q).any():
        return mean_interval(-log_q, level)
    found = count_terms(x)
    return not_negative(_mean(-log_q - found.values, found, level))


def _mean(terms: Array, found: CountTerms, level: float) -> Interval:
    """Mean of terms (n,) with the variance of each, and what is in `found` besides."""
    n = len(terms)
    value, error = float(terms.mean()), float(np.sqrt(terms.var(ddof=1) / n + found.variance))
    reach = float(student.ppf((1 + level) / 2, n - 1)) * error
    reasons = found.reasons
    return Interval(value, error, "draws", value - reach, value + reach, level, n, not reasons, tuple(reasons))
