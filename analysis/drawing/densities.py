"""Densities of targets and of what was fitted to them: lines over x, or contours in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style

__all__ = ["densities", "mass_levels", "planes"]

#: Of each role: dash, and width of a line and of a contour.
_LOOKS = {"target": ("solid", 1.4, 1.0), "forward": ("dashed", 2.4, 1.8), "reverse": ("dotted", 2.4, 2.0)}


def densities(
    panels: Mapping[str, xr.Dataset],
    style: Style,
    *,
    cols: int = 1,
    figsize: tuple[float, float] = (8, 4),
    legend: bool = False,
    xlabel: Mapping[str, str] | None = None,
) -> PlotCollection:
    """Densities, one panel per target: p_data filled, fitted densities as lines, those of local optima thin.

    Parameters
    ----------
    panels : mapping of str to Dataset
        By title: ``density`` over (curve, x), the target first, with ``role`` and ``status``, and ``mean`` and ``sd`` (curve, dim);
        ``name`` (curve) and ``kl`` (curve) in legend and hover, if there are any.
    style : Style
    cols : int
        Panels per row.
    figsize : (float, float)
        Inches.
    legend : bool
        Label the curves where they peak.
    xlabel : mapping of str to str, optional
        By title, where it is not x.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, axes = panel_grid(list(panels), style, cols, figsize, height=3.4)
        for (title, data), axis in zip(panels.items(), axes, strict=True):
            x, density = data["x"].to_numpy(), data["density"].to_numpy()
            draw.fill_between_y(
                x, np.zeros_like(x), density[0], axis, color=style.target, alpha=style.fill_alpha, label="target"
            )
            for i, (role, status) in enumerate(zip(data["role"].to_numpy(), data["status"].to_numpy(), strict=True)):
                dash, width, _ = _LOOKS[role]
                draw.line(x, density[i], axis, color=style.color(role), width=1.4 if "local" in status else width,
                          linestyle=style.dash(dash), label=curve_name(data, i), facts=_facts(data, i))  # fmt: skip
            if legend:
                _label_curves(data, axis, style)
            if style.interactive:  # for the hover
                draw.ylabel("density", axis)
            draw.remove_axis(axis, axis="y")
            draw.xlabel((xlabel or {}).get(title, "x"), axis)
    return collection


def curve_name(data: xr.Dataset, i: int) -> str:
    """What a curve is: ``target``, ``forward, exact``, ``reverse, global minimum``, or its own ``name``."""
    if "name" in data:
        return str(data["name"].to_numpy()[i])
    role, status = (str(data[key].to_numpy()[i]) for key in ("role", "status"))
    return role if role == "target" else f"{role}, {status or 'exact'}"


def _facts(data: xr.Dataset, i: int) -> dict[str, float]:
    """Mean, sd and KL of a curve, of those that are known."""
    found = {name: float(np.ravel(data[name].to_numpy()[i])[0]) for name in ("mean", "sd", "kl") if name in data}
    return {{"kl": "KL in nats"}.get(name, name): value for name, value in found.items() if np.isfinite(value)}


def _label_curves(data: xr.Dataset, axis: Any, style: Style) -> None:
    """Say what each curve is next to it; of curves that share a label, only the rightmost."""
    x, density, seen = data["x"].to_numpy(), data["density"].to_numpy(), set()
    mean, sd = (data[name].to_numpy()[1:, 0] for name in ("mean", "sd"))
    for i in np.argsort(-mean, kind="stable"):
        role, status = (str(data[name].to_numpy()[i + 1]) for name in ("role", "status"))
        label = ", ".join([role, *status.split()[:1]])
        if label in seen:
            continue
        seen.add(label)
        m, s, q = mean[i], sd[i], density[i + 1]
        label = label.replace(", ", ",\n") if style.narrow else label
        if role == "forward":
            at = m - 1.75 * s
            style.draw.text(at - 0.15, np.interp(at, x, q) + 0.012, label, axis, color=style.forward,
                            horizontal_align="right")  # fmt: skip
        elif "local" in status:
            style.draw.text(m, q.max() + (0.035 if style.narrow else 0.02), label, axis, color=style.reverse)
        else:
            style.draw.text(m + 1.1 * s, np.interp(m + 0.75 * s, x, q), label, axis, color=style.reverse,
                            horizontal_align="left")  # fmt: skip
    p = density[0]
    style.draw.text(x[p > 0.999 * p.max()][0], 0.15 * p.max(), "target", axis, color=style.target)


def mass_levels(density: NDArray[np.float64]) -> list[float]:
    """Levels whose contours enclose 90% and 50% of the mass of a density on a grid that holds nearly all of it."""
    ordered = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ordered) / ordered.sum()
    return [float(ordered[np.searchsorted(mass, share)]) for share in (0.9, 0.5)]


def planes(
    panels: Mapping[str, tuple[xr.Dataset, Any]], style: Style, figsize: tuple[float, float] = (9, 4.6)
) -> PlotCollection:
    """Contours of two-dimensional targets and of members that enclose 50% and 90% of the mass.

    Parameters
    ----------
    panels : mapping of str to (Dataset, ndarray (n, 2))
        By title: ``density`` over (curve, x, y), the target first, with ``role`` and ``level`` (curve, mass), and ``status`` or ``name``
        for the legend; and the means at which fits ended.
    style : Style
    figsize : (float, float)
        Inches.

    Returns
    -------
    PlotCollection
    """
    draw, flat = style.draw, style.backend == "matplotlib"
    with style.settings():
        collection, axes = panel_grid(list(panels), style, len(panels), figsize)
        for (data, ends), axis in zip(panels.values(), axes, strict=True):
            x, density, level = (data[name].to_numpy() for name in ("x", "density", "level"))
            if flat:
                axis.contourf(x, x, density[0].T, levels=[*level[0], density[0].max() * 1.01], colors=[style.target] * 2,
                              alpha=style.fill_alpha)  # fmt: skip
                axis.set_aspect("equal")
            for i, (role, z, lines) in enumerate(zip(data["role"].to_numpy(), density, level, strict=True)):
                dash, _, width = _LOOKS[role]
                extra: dict[str, Any] = {"linestyles": style.dash(dash), "linewidths": width} if flat else {"linestyle": style.dash(dash), "width": width}  # fmt: skip
                draw.contour(x, x, z, axis, levels=sorted(lines), color=style.color(role),
                             label=curve_name(data, i), facts={"holds": "50% and 90% of the mass"}, **extra)  # fmt: skip
            draw.scatter(ends[:, 0], ends[:, 1], axis, size=style.size(5), color=style.reverse,
                         marker=style.marker("dot"), label="mean of a fit")  # fmt: skip
            draw.xlabel("first coordinate", axis)
            draw.ylabel("second coordinate", axis)
    return collection
