"""Drawings of posteriors with several modes: exact densities, draws of samplers, and Normals fitted in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.stats import chi2

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style, rim

__all__ = ["Ellipse", "Plane", "chains", "densities", "draws", "planes"]

Array = NDArray[np.float64]
_BANDWIDTH = "isj"  # by solving for it: the usual rules take two modes for one broad one


@dataclass(frozen=True, eq=False)
class Ellipse:
    """A Normal in the plane: mean (2,) and covariance (2, 2), in the colour of its direction."""

    role: str
    mean: Array
    cov: Array
    thin: bool = False


@dataclass(frozen=True, eq=False)
class Plane:
    """Two coordinates of a posterior.

    Attributes
    ----------
    title : str
    labels : (str, str)
    cloud : ndarray (n, 2)
        Draws of the whole posterior.
    chain : ndarray (m, 2)
        Draws of one chain.
    ellipses : sequence of Ellipse
    grid : (ndarray (k,), ndarray (k, k)), optional
        Common axis and exact probability of each cell, if known.
    """

    title: str
    labels: tuple[str, str]
    cloud: Array
    chain: Array
    ellipses: Sequence[Ellipse]
    grid: tuple[Array, Array] | None = None


def densities(
    x: Array, posterior: Array, curves: Sequence[tuple[str, str, Array, bool]], label: str, style: Style
) -> PlotCollection:
    """Exact posterior density, filled, and Normals fitted to it.

    Parameters
    ----------
    x, posterior : ndarray (n,)
    curves : sequence of (role, name, ndarray (n,), thin)
        Only the first of several curves of one name is named.
    label : str
        Of the parameter.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, (axis,) = panel_grid(["posterior"], style, 1, (8, 4))
        draw.fill_between_y(x, np.zeros_like(x), posterior, axis, color=style.target, alpha=style.fill_alpha)
        draw.line(x, posterior, axis, color=style.target, width=1.4)
        top = max(posterior.max(), *(density.max() for _, _, density, _ in curves))
        seen: set[str] = set()
        for role, name, density, thin in curves:
            dash = style.dash("dashed" if role == "forward" else "dotted")
            draw.line(x, density, axis, color=style.color(role), width=1.4 if thin else 2.4, linestyle=dash)
            if name not in seen:
                at = int(np.argmax(density))
                draw.text(x[at], density[at] + 0.03 * top, name, axis, color=style.color(role),
                          horizontal_align="center", vertical_align="bottom", **rim(style))  # fmt: skip
            seen.add(name)
        draw.ylim((0, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel(label, axis)
    return collection


def draws(trees: Mapping[str, xr.DataTree], variable: str, label: str, style: Style) -> PlotCollection:
    """ArviZ's density estimates of one variable, from several sources.

    Parameters
    ----------
    trees : mapping of str to DataTree
        At most three, each with ``posterior``.
    variable : str
    label : str
        Of the horizontal axis.
    style : Style

    Returns
    -------
    PlotCollection
    """
    colors = [style.target, style.reverse, style.forward][: len(trees)]
    dashes = [style.dash(name) for name in ("solid", "dotted", "dashed")][: len(trees)]
    with style.settings():
        collection = az.plot_dist(
            dict(trees),
            var_names=[variable],
            kind="kde",
            stats={"dist": {"bw": _BANDWIDTH}},
            backend=style.backend,
            aes={"color": ["model"], "linestyle": ["model"]},
            color=colors,
            linestyle=dashes,
            figure_kwargs=style.figure_size((8, 3.6)),
            visuals={
                "dist": {"width": 2.2},
                "point_estimate": False,
                "point_estimate_text": False,
                "credible_interval": False,
                "title": False,
            },
        )
        axis = collection.viz["plot"]
        axis = axis[variable].item() if isinstance(axis, xr.Dataset | xr.DataTree) else axis.item()
        style.draw.xlabel(label, axis)
        peaks = [_peak(tree["posterior"][variable].to_numpy().ravel()) for tree in trees.values()]
        top, right = max(y for _, y in peaks), max(float(tree["posterior"][variable].max()) for tree in trees.values())
        for i, (name, color) in enumerate(zip(trees, colors, strict=True)):
            style.draw.text(right, (1.1 - 0.1 * i) * top, name, axis, color=color, horizontal_align="right",
                            vertical_align="top", **rim(style))  # fmt: skip
        style.draw.ylim((0, 1.15 * top), axis)
    return collection


def _peak(values: Array) -> tuple[float, float]:
    """Where the density estimate is highest."""
    x, density = array_stats.kde(values, circular=False, bw=_BANDWIDTH)[:2]
    at = int(np.argmax(density))
    return float(x[at]), float(density[at])


def chains(tree: xr.DataTree, variable: str, label: str, style: Style) -> PlotCollection:
    """ArviZ's traces of one variable, one line for each chain.

    Parameters
    ----------
    tree : DataTree
        With ``posterior``, of at most four chains.
    variable : str
    label : str
        Of the vertical axis.
    style : Style

    Returns
    -------
    PlotCollection
    """
    count = tree["posterior"].sizes["chain"]
    with style.settings():
        collection = az.plot_trace(
            tree,
            var_names=[variable],
            backend=style.backend,
            aes={"color": ["chain"]},
            color=[style.reverse, style.forward, style.middle, style.target][:count],
            figure_kwargs=style.figure_size((8, 3.2)),
            visuals={
                "trace": {"width": 1.0}, "divergence": False, "title": False, "xlabel": False, "ticklabels": False
            },
        )  # fmt: skip
        axis = collection.viz["plot"]
        axis = axis[variable].item() if isinstance(axis, xr.Dataset | xr.DataTree) else axis.item()
        style.draw.xlabel("draw", axis)
        style.draw.ylabel(label, axis)
    return collection


def planes(panels: Sequence[Plane], style: Style) -> PlotCollection:
    """Posteriors in the plane with 90% ellipses of Normals.

    Parameters
    ----------
    panels : sequence of Plane
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    turn = np.linspace(0, 2 * np.pi, 121)
    circle = np.sqrt(chi2.ppf(0.9, 2)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, len(panels), (4.7 * len(panels), 4.6))
        for panel, axis in zip(panels, axes, strict=True):
            if panel.grid is not None:
                _region(*panel.grid, axis, style)
            else:
                draw.scatter(panel.cloud[:, 0], panel.cloud[:, 1], axis, size=style.size(3), color=style.target,
                             alpha=0.5, marker=style.marker("dot"))  # fmt: skip
            draw.scatter(panel.chain[:, 0], panel.chain[:, 1], axis, size=style.size(2.5), color=style.ink,
                         alpha=0.6, marker=style.marker("dot"))  # fmt: skip
            for e in panel.ellipses:
                outline = e.mean + circle @ np.linalg.cholesky(e.cov).T
                dash = style.dash("dashed" if e.role == "forward" else "dotted")
                draw.line(outline[:, 0], outline[:, 1], axis, color=style.color(e.role), width=1.3 if e.thin else 2.2,
                          linestyle=dash)  # fmt: skip
            everything = np.concatenate([panel.cloud, panel.chain])
            low, high = np.quantile(everything, [0.002, 0.998], axis=0)
            pad = 0.15 * (high - low)
            draw.xlim((low[0] - pad[0], high[0] + pad[0]), axis)
            draw.ylim((low[1] - pad[1], high[1] + pad[1]), axis)
            draw.xlabel(panel.labels[0], axis)
            draw.ylabel(panel.labels[1], axis)
    return collection


def _region(x: Array, mass: Array, axis: Any, style: Style) -> None:
    """Regions of highest density that hold 50 and 90% of the mass."""
    ordered = np.sort(mass.ravel())[::-1]
    low, high = (float(ordered[np.searchsorted(np.cumsum(ordered), share)]) for share in (0.9, 0.5))
    if style.backend == "matplotlib":
        axis.contourf(x, x, mass.T, levels=[low, high, mass.max() * 1.01], colors=[style.target] * 2,
                      alpha=style.fill_alpha)  # fmt: skip
        style.draw.contour(x, x, mass, axis, levels=[low, high], color=style.target, linewidths=0.8)
    else:
        style.draw.contour(x, x, mass, axis, levels=[low, high], color=style.target)
