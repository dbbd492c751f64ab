"""The plane of distributions: two curves of members, two targets and their projections, placed by their distances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from analysis.two_families.targets import KNOWN, PAIR, SPREAD
from models.families import FAMILIES
from models.projections import Projection, forward_projection
from models.targets import Target

__all__ = ["RANGE", "jensen_shannon", "line_rule", "member", "run_geometry", "scaling"]

Array = NDArray[np.float64]
#: Standard deviations at the ends of the two curves.
RANGE = (0.6, 1.7)


def line_rule() -> tuple[Array, Array]:
    """Gauss-Legendre points and weights over the real line, in panels that lengthen outwards from an edge at 0."""
    edges = 0.35 * np.sinh(np.linspace(0, 6, 41))
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    points, weights = (edges[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()
    return np.concatenate([-points[::-1], points]), np.concatenate([weights[::-1], weights])


def jensen_shannon(a: Array, b: Array, weights: Array) -> Array:
    """Jensen-Shannon divergence in nats between log densities `a` (..., q) and `b` (..., q) on a rule.

    Its square root is a metric (Endres and Schindelin, 2003), and that of points in a Hilbert space (Fuglede and Topsøe, 2004).
    """
    middle = np.logaddexp(a, b) - np.log(2)
    return np.asarray((np.exp(a) * (a - middle) + np.exp(b) * (b - middle)) @ weights / 2)


def scaling(squared: Array) -> tuple[Array, Array]:
    """Classical multidimensional scaling of squared distances (m, m).

    Returns
    -------
    coordinates : ndarray (m, m)
        One column per axis, longest first; axes of negative eigenvalues are zero.
    eigenvalues : ndarray (m,)
        Descending. Their sum is the sum of the squared distances divided by m; a negative one means that no set of points
        has these distances.
    """
    centre = np.eye(len(squared)) - 1 / len(squared)
    values, vectors = np.linalg.eigh(-centre @ squared @ centre / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    return vectors * np.sqrt(np.maximum(values, 0)), values


def member(name: str, sd: float) -> Target:
    """Member of a family of `PAIR` with location 0 and a given standard deviation."""
    family = FAMILIES[name]
    return family.member({"mu": 0.0, str(family.scale): sd / SPREAD[name]})


def run_geometry(members: int) -> xr.DataTree:
    """Place two curves of members, two targets and their projections in a plane.

    Distances are 2 sqrt(JS) with the Jensen-Shannon divergence JS: a metric whose square is close to KL for neighbours.

    Parameters
    ----------
    members : int
        Of each family.

    Returns
    -------
    xarray.DataTree
        ``points``: place of each distribution, its family (or ``target``) and standard deviation. ``spectrum``: eigenvalues.
        ``curves``: exact forward KL from each target along each curve. ``projections``: for each target and family the exact
        projection and its KL, the standard deviation of the member nearest in Jensen-Shannon divergence and its KL, and the
        length of the segment in the plane and in full.
    """
    sds = np.geomspace(*RANGE, members)
    projections = {(c.name, f): forward_projection(c.target, FAMILIES[f]) for c in KNOWN for f in PAIR}
    best = {key: SPREAD[key[1]] * float(p.params[str(FAMILIES[key[1]].scale)]) for key, p in projections.items()}
    x, w = line_rule()
    rows = [("member", f, float(sd), member(f, float(sd))) for f in PAIR for sd in sds]
    rows += [("projection", f, best[c, f], member(f, best[c, f])) for c, f in projections]
    rows += [("target", c.name, np.nan, c.target) for c in KNOWN]
    logs = np.stack([q.logp(x[:, None]) for *_, q in rows])
    squared = 4 * np.stack([jensen_shannon(row[None], logs, w) for row in logs])
    coordinates, eigenvalues = scaling(squared)
    plane = _turned(coordinates[:, :2], members)
    at = {"x": ("point", plane[:, 0]), "y": ("point", plane[:, 1])}
    labels = {key: ("point", [str(r[i]) for r in rows]) for i, key in enumerate(("role", "family"))}
    flat = np.linalg.norm(plane[:, None] - plane, axis=2)
    upper = np.triu_indices(len(rows), 1)
    tree = {
        "points": xr.Dataset({**at, **labels, "sd": ("point", [r[2] for r in rows])}),
        "spectrum": xr.Dataset(
            {
                "eigenvalue": ("axis", eigenvalues),
                "worst_distance": np.abs(flat - np.sqrt(np.maximum(squared, 0)))[upper].max(),
                "longest": np.sqrt(squared.max()),
                "members": members,
            }
        ),
        "curves": _curves(x, w),
        "projections": _projections(projections, best, plane, np.sqrt(np.maximum(squared, 0)), (x, w)),
    }
    return xr.DataTree.from_dict(tree)


def _turned(plane: Array, members: int) -> Array:
    """Mirror the axes so that standard deviations grow to the right and the second family lies above the first."""
    first, second = plane[:members], plane[members : 2 * members]
    signs = np.sign([first[-1, 0] - first[0, 0], second[:, 1].mean() - first[:, 1].mean()])
    return np.asarray(plane * np.where(signs == 0, 1, signs))


def _curves(x: Array, w: Array) -> xr.Dataset:
    """Forward KL from each target along both curves."""
    sds = np.geomspace(*RANGE, 121)
    logs = {f: np.stack([member(f, float(sd)).logp(x[:, None]) for sd in sds]) for f in PAIR}
    found = []
    for case in KNOWN:
        log_p = case.target.logp(x[:, None])
        found.append([(log_p - logs[f]) @ (w * np.exp(log_p)) for f in PAIR])
    return xr.Dataset(
        {"kl": (("target", "family", "member"), found)},
        coords={"target": [c.name for c in KNOWN], "family": list(PAIR), "sd": ("member", sds)},
    )


def _projections(
    projections: Mapping[tuple[str, str], Projection],
    best: Mapping[tuple[str, str], float],
    plane: Array,
    distances: Array,
    rule: tuple[Array, Array],
) -> xr.Dataset:
    x, w = rule
    rows = []
    for i, ((name, f), projection) in enumerate(projections.items()):
        which = [c.name for c in KNOWN].index(name)
        log_p = KNOWN[which].target.logp(x[:, None])
        # The last points are the projections, and after them the targets.
        at, of = i - len(projections) - len(KNOWN), which - len(KNOWN)

        def shannon(log_sd: float, f: str = f, log_p: Array = log_p) -> float:
            return float(jensen_shannon(log_p, member(f, float(np.exp(log_sd))).logp(x[:, None]), w))

        found = minimize_scalar(shannon, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6})
        js_sd = float(np.exp(found.x))
        rows.append(
            {
                "sd": best[name, f], "location": float(projection.params["mu"]), "kl": projection.divergence.value,
                "kl_error": projection.divergence.error, "js_sd": js_sd,
                "js_kl": float((w * np.exp(log_p)) @ (log_p - member(f, js_sd).logp(x[:, None]))),
                "drawn": float(np.linalg.norm(plane[at] - plane[of])), "full": float(distances[at, of]),
            }
        )  # fmt: skip
    shape = (len(KNOWN), len(PAIR))
    return xr.Dataset(
        {key: (("target", "family"), np.reshape([row[key] for row in rows], shape)) for key in rows[0]},
        coords={"target": [c.name for c in KNOWN], "family": list(PAIR)},
    )
