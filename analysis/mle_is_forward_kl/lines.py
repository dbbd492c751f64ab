"""The lines of the argument, each computed on its own: curves, products, smoothing, and families that are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.draws import draw
from models.divergences import entropy
from models.families import FAMILIES
from models.mle import sandwich
from models.projections import forward_projection
from models.projections.objectives import forward_objective
from models.quadrature import Nodes, nodes
from models.results import estimate_variables
from models.targets import Target, from_distribution

__all__ = ["REPEATS", "box_entropy", "curves", "products", "smoothed", "well_specified"]

Array = NDArray[np.float64]
#: Of a product of densities (n, m) over its first axis.
OBJECTIVES = {
    "product": lambda p: p.prod(axis=0),
    "sum": lambda p: np.log(p).sum(axis=0),
    "mean": lambda p: np.log(p).mean(axis=0),
}
#: Standard deviations of the fit, over which curves are drawn.
CURVE_SDS = np.geomspace(1.5, 6.0, 401)
#: Sizes of the data sets whose mean negative log likelihood is drawn.
CURVE_N = (100, 1000, 10_000)
#: Data sets whose curves are compared with the cross-entropy.
REPEATS = 30


def curves(target: Target, rng: np.random.Generator) -> xr.Dataset:
    """What lines (2) to (5) name for the Normal, along its standard deviation with the mean at the projection.

    ``kl`` is the mean of the log ratio, ``cross_entropy`` the objective that projections minimise; ``nll`` takes draws instead.
    """
    family = FAMILIES["normal"]
    best = forward_projection(target, family)
    thetas = np.tile(best.theta, (len(CURVE_SDS), 1))
    thetas[:, [p.name for p in family.parameters].index("sigma")] = np.log(CURVE_SDS)
    rule = nodes(target, others=[best.member])
    x = draw(target, rng, (REPEATS, max(CURVE_N)))
    ce = forward_objective(family, rule).gradient(thetas)[0]
    logs = np.stack([family.logp(rule.points, {**best.params, "sigma": np.array(v)}) for v in CURVE_SDS])

    def nll(row: Array, n: int, at: Array) -> Array:
        return forward_objective(family, Nodes(row[:n, None], np.full(n, 1 / n), "draws")).gradient(at)[0]

    # A curve of one data set may happen to be close; how close they are takes many, on fewer values.
    gaps = [[np.abs(nll(row, n, thetas[::20]) - ce[::20]).max() for row in x] for n in CURVE_N]
    return xr.Dataset(
        {
            "cross_entropy": ("value", ce),
            "kl": ("value", (target.logp(rule.points) - logs) @ rule.weights),
            "exact": ((), float(best.params["sigma"])),
            **estimate_variables("entropy", entropy(target)),
            "nll": (("draws", "value"), np.array([nll(x[0], n, thetas) for n in CURVE_N])),
            "gap": (("draws", "repeat"), np.array(gaps)),
        },
        coords={"value": CURVE_SDS, "draws": list(CURVE_N)},
    )


def products(x: Array, sigmas: Array, small: int) -> xr.Dataset:
    """Where the product of densities, the sum of their logarithms and its mean are largest over sigmas of N(0, sigma).

    Parameters
    ----------
    x : ndarray (n,)
        As many draws as it takes until the product of floats is zero for every sigma.
    sigmas : ndarray (m,)
    small : int
        Draws of the first comparison; the second is at the size where every product is zero.

    Returns
    -------
    Dataset
        ``argmax`` and ``largest`` over ``draws`` and ``objective``; ``underflow``: that size.
    """
    densities = norm.pdf(x[:, None], 0.0, sigmas)
    zero = np.multiply.accumulate(densities, axis=0).max(axis=1) == 0
    if not zero.any():
        raise ValueError(f"{len(x)} draws are too few for the product to underflow")
    underflow = int(np.argmax(zero)) + 1
    values = np.array([[f(densities[:n]) for f in OBJECTIVES.values()] for n in (small, underflow)])
    flat = values.max(axis=2) == values.min(axis=2)
    by = ("draws", "objective")
    return xr.Dataset(
        {
            "argmax": (by, np.where(flat, np.nan, sigmas[values.argmax(axis=2)])),
            "largest": (by, values.max(axis=2)),
            "underflow": ((), underflow),
            "step": ((), float(sigmas[1] - sigmas[0])),
        },
        coords={"draws": [small, underflow], "objective": list(OBJECTIVES)},
    )


def box_entropy(x: Array, width: float) -> float:
    """Entropy (nats) of the draws smoothed by boxes of a width: an average of uniform densities around each draw."""
    edges = np.concatenate([x - width / 2, x + width / 2])
    order = np.argsort(edges, kind="stable")
    height = np.cumsum(np.repeat([1, -1], len(x))[order])[:-1] / (len(x) * width)
    length = np.diff(edges[order])
    used = (height > 0) & (length > 0)
    return float(-(length[used] * height[used] * np.log(height[used])).sum())


def smoothed(x: Array, widths: Sequence[float]) -> xr.Dataset:
    """KL from smoothed draws to the Normal that is closest to them, by the width of the smoothing.

    Boxes keep the mean and add width^2 / 12 to the variance, so the closest Normal and its cross-entropy are exact.
    """
    sd = np.sqrt(x.var() + np.array(widths) ** 2 / 12)
    h = np.array([box_entropy(x, w) for w in widths])
    return xr.Dataset(
        {
            "kl": ("width", norm.entropy(0.0, sd) - h),
            "argmin": ("width", sd),
            "mle": ((), x.std()),
            "draws": ((), len(x)),
        },
        coords={"width": list(widths)},
    )


def well_specified() -> xr.Dataset:
    """Project onto a family that contains the target: the truth is found, and J equals K."""
    truth = {"nu": 6.0, "mu": 0.0, "sigma": 1.0}
    target = from_distribution("StudentT", truth)
    best = forward_projection(target, FAMILIES["student_t"])
    limit = sandwich(target, best)
    return xr.Dataset(
        {
            "error": max(abs(float(best.params[key]) - value) for key, value in truth.items()),
            **estimate_variables("kl", best.divergence),
            "difference": np.abs(limit.k - limit.j).max() / np.abs(limit.j).max(),
            "trace": limit.trace,
            "parameters": len(limit.labels),
        }
    )
