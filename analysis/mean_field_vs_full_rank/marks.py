"""Drawings of mean field and full rank: variances, what is matched along alpha, two modes moved apart, and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style, rim

__all__ = ["MATCHED", "Ellipse", "ShapePanel", "alphas", "branches", "normals", "shapes"]

Array = NDArray[np.float64]
_SMALL = 10
#: What a factorised Normal can match of a correlated one, in words.
MATCHED = {"marginal": "marginal variances", "size": "generalised variance", "precision": "marginal precisions"}
_MATCHED_DASH = {"marginal": "dashed", "size": "solid", "precision": "dotted"}
_MASS = 0.9


@dataclass(frozen=True, eq=False)
class Ellipse:
    """A Normal (mean (2,), cov (2, 2)); local optima are drawn thin."""

    mean: Array
    cov: Array
    local: bool = False


@dataclass(frozen=True, eq=False)
class ShapePanel:
    """A target's density over (x, y) with the forward optimum, the reverse minima, and where runs ended."""

    title: str
    density: xr.DataArray
    forward: Ellipse
    reverse: Sequence[Ellipse]
    ends: Array


def _words(x: float, y: float, words: str, axis: Any, style: Style, **kwargs: Any) -> None:
    kwargs = {"color": style.ink, "size": _SMALL, "horizontal_align": "left", **kwargs}
    style.draw.text(x, y, words, axis, **kwargs, **rim(style))


def normals(
    rho: xr.Dataset, rho_exact: xr.Dataset, fitted: tuple[float, float], dimension: xr.Dataset, chain: Mapping[str, float],
    style: Style,
) -> PlotCollection:  # fmt: skip
    """Variance of factorised fits against correlation, and their least KL against dimension.

    Parameters
    ----------
    rho : Dataset
        ``variance`` over ``rho``: the closed form of reverse KL.
    rho_exact : Dataset
        The same by exact projection.
    fitted : (float, float)
        Correlation and variance of one ADVI fit.
    dimension : Dataset
        ``kl`` over (structure, direction, dim).
    chain : mapping of str to float
        ``dim``, and the KL of the ADVI fit (``reverse``) and of the likelihood fit (``forward``) to the chain.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, (left, right) = panel_grid(["two dimensions", "against dimension"], style, 2, (9.4, 4.2))
        x = rho["rho"].to_numpy()
        draw.line(x, np.ones_like(x), left, color=style.forward, width=2.2, linestyle=style.dash("dashed"))
        draw.line(x, rho["variance"].to_numpy(), left, color=style.reverse, width=2.4, linestyle=style.dash("dotted"))
        draw.scatter(rho_exact["rho"].to_numpy(), rho_exact["variance"].to_numpy(), left, size=style.size(6),
                     color=style.ink, marker=style.marker("dot"))  # fmt: skip
        draw.scatter(np.array([fitted[0]]), np.array([fitted[1]]), left, size=style.size(9), color=style.reverse,
                     marker=style.marker("triangle"))  # fmt: skip
        _words(0.03, 1.03, "forward: marginal variance", left, style, color=style.forward, vertical_align="bottom")
        _words(0.03, 0.86, "reverse: 1 − ρ²", left, style, color=style.reverse, vertical_align="top")
        _words(fitted[0] - 0.03, fitted[1] - 0.01, "ADVI", left, style, horizontal_align="right", vertical_align="top")
        draw.ylim((0.0, 1.16), left)
        draw.xlabel("correlation ρ", left)
        draw.ylabel("variance of the fit", left)
        dims = dimension["dim"].to_numpy()
        for structure, width in (("chain", 2.4), ("exchangeable", 1.3)):
            kls = dimension["kl"].sel(structure=structure)
            for direction, dash in (("forward", "dashed"), ("reverse", "dotted")):
                y = kls.sel(direction=direction).to_numpy()
                draw.line(dims, y, right, color=style.color(direction), width=width, linestyle=style.dash(dash))
                below = direction == "forward" and structure == "exchangeable"
                _words(dims[-1], y[-1], f"{structure}, {direction}", right, style, color=style.color(direction),
                       horizontal_align="right", vertical_align="top" if below else "bottom")  # fmt: skip
        for direction in ("reverse", "forward"):
            draw.scatter(np.array([chain["dim"]]), np.array([chain[direction]]), right, size=style.size(8),
                         color=style.color(direction), marker=style.marker("triangle"))  # fmt: skip
        draw.xlabel("dimension", right)
        draw.ylabel("least KL, nats", right)
    return collection


def alphas(panels: Mapping[str, xr.Dataset], marks: Mapping[str, float], style: Style) -> PlotCollection:
    """What the best factorised Normal matches along alpha: each curve is at 1 where a quantity is matched.

    Parameters
    ----------
    panels : mapping of str to Dataset
        ``marginal``, ``precision`` and ``size`` over ``alpha``, by title.
    marks : mapping of str to float
        The alpha at which entropies agree, by title.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(panels), style, len(panels), (9.4, 4.2))
        for i, ((title, data), axis) in enumerate(zip(panels.items(), axes, strict=True)):
            x = data["alpha"].to_numpy()
            draw.hline(0.0, axis, color=style.faint, width=1.0)
            heights = []
            for name in MATCHED:
                y = np.log(data[name].to_numpy())
                heights.append(y)
                draw.line(x, y, axis, color=style.ink, width=1.9, linestyle=style.dash(_MATCHED_DASH[name]))
            spread = float(np.ptp(np.concatenate(heights)))
            for at, color in ((0.0, style.ramp(0)), (marks[title], style.middle), (1.0, style.ramp(1))):
                draw.scatter(np.array([at]), np.array([0.0]), axis, size=style.size(9), color=color,
                             marker=style.marker("dot"))  # fmt: skip
            if i == 0:
                marginal, size, precision = heights
                at = 3 * len(x) // 4
                _words(x[at] - 0.06, precision[at], MATCHED["precision"], axis, style, vertical_align="top",
                       horizontal_align="right")  # fmt: skip
                _words(x[at] - 0.06, size[at], MATCHED["size"], axis, style, vertical_align="bottom",
                       horizontal_align="right")  # fmt: skip
                _words(x[-1], marginal[at] - 0.12 * spread, MATCHED["marginal"], axis, style, vertical_align="top",
                       horizontal_align="right")  # fmt: skip
                draw.ylabel("log ratio, fit to target", axis)
            _words(marks[title] + 0.01, -0.05 * spread, f"α = {marks[title]:.3f}", axis, style, vertical_align="top")
            draw.xlabel("α    (0 reverse KL, 1 forward KL)", axis)
    return collection


def branches(panels: Mapping[str, xr.Dataset], critical: Mapping[str, float], style: Style) -> PlotCollection:
    """Mean of every stationary point along the diagonal while two modes move apart.

    Parameters
    ----------
    panels : mapping of str to Dataset
        ``separation``, ``along`` and ``status`` over ``point``, by title.
    critical : mapping of str to float
        Separation of the pitchfork, by title, where there is one.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(panels), style, len(panels), (9.4, 4.0))
        for (title, data), axis in zip(panels.items(), axes, strict=True):
            x, y = data["separation"].to_numpy(), data["along"].to_numpy()
            status = data["status"].to_numpy().astype(str)
            for sign in (-1, 1):
                draw.line(x, sign * x, axis, color=style.target, width=0.8, alpha=0.6)
            minimum = np.char.endswith(status, "minimum")
            lowest = np.char.startswith(status, "global")
            draw.scatter(
                x[~minimum], y[~minimum], axis, size=style.size(7), color=style.ink, marker=style.marker("cross")
            )
            draw.scatter(x[minimum & ~lowest], y[minimum & ~lowest], axis, size=style.size(4.5), color=style.reverse,
                         marker=style.marker("dot"))  # fmt: skip
            draw.scatter(
                x[lowest], y[lowest], axis, size=style.size(9), color=style.reverse, marker=style.marker("dot")
            )
            if title in critical:
                draw.vline(critical[title], axis, color=style.ink, width=1.0, linestyle=style.dash("dashed"))
                _words(critical[title] - 0.04, 3.0, f"pitchfork\n{critical[title]:.4f}", axis, style,
                       horizontal_align="right")  # fmt: skip
            draw.ylim((-4.3, 4.3), axis)
            draw.xlabel("distance of either mode from the centre", axis)
            draw.ylabel("mean of the fit along the diagonal", axis)
    return collection


def _levels(density: Array) -> tuple[float, float]:
    """Density levels that enclose 90% and 50% of the mass on a grid that holds nearly all of it."""
    ordered = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ordered) / ordered.sum()
    low, high = (float(ordered[np.searchsorted(mass, m)]) for m in (_MASS, 0.5))
    return low, high


def _outline(ellipse: Ellipse) -> Array:
    """The ellipse (61, 2) that holds 90% of the Normal."""
    angles = np.linspace(0, 2 * np.pi, 61)
    radius = np.sqrt(-2 * np.log(1 - _MASS))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(ellipse.mean + radius * circle @ np.linalg.cholesky(ellipse.cov).T)


def shapes(panels: Sequence[ShapePanel], style: Style, *, cols: int) -> PlotCollection:
    """Targets, filled, with ellipses of the forward optimum and of the reverse minima that hold 90% of each.

    Parameters
    ----------
    panels : sequence of ShapePanel
    style : Style
    cols : int
        Panels per row.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    rows = -(-len(panels) // cols)
    with style.settings():
        collection, axes = panel_grid([p.title for p in panels], style, cols, (3.1 * cols, 3.3 * rows))
        for panel, axis in zip(panels, axes, strict=True):
            x, y = (panel.density[name].to_numpy() for name in ("x", "y"))
            z = panel.density.to_numpy()
            low, high = _levels(z)
            if style.backend == "matplotlib":
                for level in (low, high):  # one over the other: the inner half is darker
                    axis.contourf(
                        x, y, z.T, levels=[level, z.max() * 1.01], colors=[style.target], alpha=style.fill_alpha
                    )
                axis.set_aspect("equal")
            else:
                draw.contour(x, y, z, axis, levels=[low, high], color=style.target)
            outline = _outline(panel.forward)
            draw.line(
                outline[:, 0], outline[:, 1], axis, color=style.forward, width=1.6, linestyle=style.dash("dashed")
            )
            for ellipse in panel.reverse:
                outline = _outline(ellipse)
                draw.line(outline[:, 0], outline[:, 1], axis, color=style.reverse, width=0.9 if ellipse.local else 2.0,
                          linestyle=style.dash("dotted"))  # fmt: skip
            draw.scatter(panel.ends[:, 0], panel.ends[:, 1], axis, size=style.size(4), color=style.ink,
                         marker=style.marker("dot"))  # fmt: skip
    return collection
