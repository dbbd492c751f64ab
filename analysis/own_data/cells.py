"""Masses of a density about whole numbers, which stand beside probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from analysis.own_data.curve import Curve

__all__ = ["cell_logp"]

Array = NDArray[np.float64]
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
