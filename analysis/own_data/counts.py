"""Entropy of counts and KL to families, from draws: probabilities in the place of densities, with bias corrected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, logsumexp
from scipy.stats import t as student

from analysis.own_data.curve import Curve
from models.unknown import Interval
from models.unknown.intervals import mean_interval, not_negative

__all__ = ["cell_logp", "count_entropy", "count_kl", "count_terms"]

Array = NDArray[np.float64]
#: Share of rows with a value of their own beyond which the unseen values matter.
_ALONE = 0.05
_PANELS, _NODES, _FEW = 8, 16, 2000  # of the rule over a cell, in one panel where there are more cells than a few
_BLOCK = 20_000  # cells taken at once
_POWER = 8  # how close its nodes lie to an end of the support, where a density may have a pole


def cell_logp(curve: Curve, x: Array) -> Array:
    """Log of the mass (n,) that a density has within a half of whole numbers x (n,): beside probabilities a density is none.

    Examples
    --------
    >>> from models.families import FAMILIES
    >>> narrow = Curve(FAMILIES["normal"], {"mu": 0.0, "sigma": 0.1})
    >>> narrow.logp(np.array([1.0])).round(3), cell_logp(narrow, np.array([1.0])).round(3)  # log P(0.5 < x < 1.5)
    (array([-48.616]), array([-15.065]))
    """
    k, place = np.unique(x, return_inverse=True)
    found = np.concatenate(
        [_cells(curve, k[i : i + _BLOCK], _PANELS if len(k) <= _FEW else 1) for i in range(0, len(k), _BLOCK)]
    )
    return np.asarray(found[place])


def _cells(curve: Curve, k: Array, panels: int) -> Array:
    t, weights = np.polynomial.legendre.leggauss(_NODES)
    u = ((np.arange(panels)[:, None] + (1 + t) / 2) / panels).ravel()  # a kink spoils one panel
    weights = np.tile(weights / (2 * panels), panels)
    domain = curve.family.domain
    ends = np.array([-np.inf, np.inf]) if curve.chart.period else curve.chart.back(np.array([domain.low, domain.high]))
    half = 0.5 - 1e-12  # the ends of neighbouring cells are no points of their own
    low, high = np.maximum(k - half, ends[0]), np.minimum(k + half, ends[1])
    inner, slope = u**_POWER, _POWER * u ** (_POWER - 1)
    open_ = (low == ends[0])[:, None]
    at = low[:, None] + (high - low)[:, None] * np.where(open_, inner, u)
    terms = curve.logp(at.ravel()).reshape(at.shape) + np.log(weights * np.where(open_, slope, 1.0))
    found = logsumexp(terms, axis=1) + np.log(high - low)
    if curve.family.atom is not None:
        found = np.where(k == curve.family.atom, curve.logp(k), found)
    return np.asarray(found)


def count_terms(x: Array) -> tuple[Array, list[str]]:
    """Minus a bias-corrected log probability (n,) of each draw, and why not to rely on it.

    Notes
    -----
    H = log n - sum_i (n_i / n) G(n_i), G(m) = psi(m) + (-1)^m (psi((m+1)/2) - psi(m/2)) / 2 (Grassberger, 2003, equations 28 and 35).

    Examples
    --------
    >>> x = np.random.default_rng(0).integers(0, 8, 400)
    >>> abs(float(count_terms(x)[0].mean()) - np.log(8)) < 0.02
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
