"""Drawings of mean field and full rank: variances, what is matched along alpha, two modes moved apart, and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from analysis.drawing.densities import mass_levels
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import outline, points, short
from analysis.drawing.style import Style, rim
from analysis.mean_field_vs_full_rank.findings import MATCHED, MOST_COPIES
from analysis.mean_field_vs_full_rank.normals import NORMALS
from analysis.mean_field_vs_full_rank.shapes import METHOD_NAMES, SHAPES
from analysis.reading import case_of, dataset_of
from models.advi import METHODS
from models.families import FAMILIES
from models.projections import minima
from models.results import projections_of

__all__ = ["plot"]

Array = NDArray[np.float64]
_SMALL = 10
_DASH = {"marginal": "dashed", "size": "solid", "precision": "dotted"}


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``normals``, ``alphas``, ``pitchfork`` and ``shapes``."""
    style, curves = Style.of(theme, backend, narrow), case_of(results, "curves")
    return {
        "normals": Drawing(normals(curves, dataset_of(results, "pair/fits"), style)),
        "alphas": Drawing(alphas(dataset_of(curves, "alpha"), style)),
        "pitchfork": Drawing(branches(case_of(results, "pitchfork"), style)),
        "shapes": Drawing(shapes(results, style)),
    }


def _words(x: float, y: float, words: str, axis: Any, style: Style, **kwargs: Any) -> None:
    kwargs = {"color": style.ink, "size": _SMALL, "horizontal_align": "left", **kwargs}
    style.draw.text(x, y, words, axis, **kwargs, **rim(style))


def _line(x: Any, y: Any, axis: Any, style: Style, color: str, width: float, dash: str, label: str) -> None:
    style.draw.line(x, y, axis, color=color, width=width, linestyle=style.dash(dash), label=label)


# --- correlated Normals ----------------------------------------------------------------------------------------------


def normals(curves: xr.DataTree, fits: xr.Dataset, style: Style) -> PlotCollection:
    """Draw a correlated pair with its best factorised fits, and their variance against correlation: closed forms, projections, fits."""
    theory, exact = dataset_of(curves, "rho"), dataset_of(curves, "rho_exact")
    with style.settings():
        titles = [f"correlation {NORMALS[0].rho:g}", "against the correlation"]
        collection, (plane, axis) = panel_grid(titles, style, 2, (9.4, 4.2))
        _pair(fits["variance"].sel(source="theory"), plane, style)
        _variances(theory, exact, fits["variance"].sel(source="fitted").isel(dim=0), axis, style)
    return collection


def _pair(variance: xr.DataArray, axis: Any, style: Style) -> None:
    """The target, filled, and a circle for each direction."""
    rho, x = NORMALS[0].rho, np.linspace(-3.4, 3.4, 161)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    z = multivariate_normal.pdf(grid, cov=np.array([[1, rho], [rho, 1]]))
    _mass(xr.DataArray(z, {"x": x, "y": x}, dims=("x", "y")), axis, style)
    for direction, dash in (("forward", "dashed"), ("reverse", "dotted")):
        cov = np.diag(variance.sel(direction=direction).to_numpy())
        _ellipse(np.zeros(2), cov, axis, style, style.color(direction), 2.2, dash, f"{direction}, exact")
    _words(0.0, 2.3, "forward", axis, style, color=style.forward, vertical_align="bottom", horizontal_align="center")
    _words(0.8, -1.05, "reverse", axis, style, color=style.reverse, vertical_align="top", horizontal_align="center")
    _words(2.05, 2.25, "target", axis, style, color=style.target)
    for limit in (style.draw.xlim, style.draw.ylim):
        limit((-2.8, 2.8), axis)
    style.draw.xlabel("first", axis)
    style.draw.ylabel("second", axis)


def _variances(theory: xr.Dataset, exact: xr.Dataset, fitted: xr.DataArray, axis: Any, style: Style) -> None:
    reverse, rho = float(fitted.sel(direction="reverse")), NORMALS[0].rho
    x = theory["rho"].to_numpy()
    _line(x, np.ones_like(x), axis, style, style.forward, 2.2, "dashed", "forward: marginal variance")
    _line(x, theory["variance"].to_numpy(), axis, style, style.reverse, 2.4, "dotted", "reverse: 1 − ρ²")
    points(
        exact["rho"].to_numpy(), exact["sigma"].to_numpy()[:, 0] ** 2, axis, style, color=style.ink, area=style.size(6),
        label="reverse projection, exact",
    )  # fmt: skip
    for direction in ("reverse", "forward"):
        points(rho, float(fitted.sel(direction=direction)), axis, style, color=style.color(direction), marker="triangle",
               area=style.size(9), label="ADVI" if direction == "reverse" else "maximum likelihood")  # fmt: skip
    _words(0.03, 1.03, "forward: marginal variance", axis, style, color=style.forward, vertical_align="bottom")
    _words(0.03, 0.86, "reverse: 1 − ρ²", axis, style, color=style.reverse, vertical_align="top")
    _words(rho - 0.03, reverse - 0.01, "ADVI", axis, style, horizontal_align="right", vertical_align="top")
    style.draw.ylim((0.0, 1.16), axis)
    style.draw.xlabel("correlation ρ", axis)
    style.draw.ylabel("variance of the fit", axis)


# --- what is matched -------------------------------------------------------------------------------------------------


def alphas(data: xr.Dataset, style: Style) -> PlotCollection:
    """What the best factorised Normal matches along alpha: each curve is at zero where a quantity is matched."""
    with style.settings():
        collection, axes = panel_grid([c.title for c in NORMALS], style, len(NORMALS), (9.4, 4.2))
        x = data["alpha"].to_numpy()
        for case, axis in zip(NORMALS, axes, strict=True):
            style.draw.hline(0.0, axis, color=style.faint, width=1.0)
            heights = {name: np.log(data[name].sel(case=case.name).to_numpy()) for name in _DASH}
            for name, y in heights.items():
                _line(x, y, axis, style, style.ink, 1.9, _DASH[name], MATCHED[name])
            spread = float(np.ptp(np.concatenate(list(heights.values()))))
            middle = float(data["entropy"].sel(case=case.name))
            for at, color, name in (
                (0.0, style.ramp(0), "reverse matches"), (middle, style.middle, "between, the size is matched"),
                (1.0, style.ramp(1), "forward matches"),
            ):  # fmt: skip
                points(at, 0.0, axis, style, color=color, area=style.size(9), label=name)
            if axis is axes[0]:
                i = 3 * len(x) // 4
                places = {
                    "precision": (x[i] - 0.06, heights["precision"][i], "top"),
                    "size": (x[i] - 0.06, heights["size"][i], "bottom"),
                    "marginal": (x[-1], heights["marginal"][i] - 0.12 * spread, "top"),
                }
                for name, (left, y, side) in places.items():
                    _words(left, y, MATCHED[name], axis, style, vertical_align=side, horizontal_align="right")
                style.draw.ylabel("log ratio, fit to target", axis)
            _words(middle + 0.01, -0.05 * spread, f"α = {middle:.3f}", axis, style, vertical_align="top")
            style.draw.xlabel("α    (0 reverse KL, 1 forward KL)", axis)
    return collection


# --- two modes moved apart -------------------------------------------------------------------------------------------


def branches(case: xr.DataTree, style: Style) -> PlotCollection:
    """Mean of every stationary point of mean field along the diagonal while two modes move apart."""
    data, at = dataset_of(case, "points"), float(case["theory/separation"].sel(dim=2))
    x, y, status = (
        data["separation"].to_numpy(),
        data["mu"].to_numpy().sum(axis=1) / np.sqrt(2),
        data["status"].to_numpy(),
    )
    with style.settings():
        collection, (axis,) = panel_grid(["mean field"], style, 1, (7.0, 4.0))
        for sign in (-1, 1):
            style.draw.line(x, sign * x, axis, color=style.target, width=0.8, alpha=0.6, label="a mode of the target")
        for kind, size, color, marker in (
            ("saddle", 7, style.ink, "cross"),
            ("local minimum", 4.5, style.reverse, "dot"),
            ("global minimum", 9, style.reverse, "dot"),
        ):
            points(x[status == kind], y[status == kind], axis, style, color=color, marker=marker, area=style.size(size),
                   label=f"{kind}, exact")  # fmt: skip
        style.draw.vline(at, axis, color=style.ink, width=1.0, linestyle=style.dash("dashed"))
        _words(at - 0.04, 3.0, f"pitchfork\n{at:.4f}", axis, style, horizontal_align="right")
        style.draw.ylim((-4.3, 4.3), axis)
        style.draw.xlabel("distance of either mode from the centre", axis)
        style.draw.ylabel("mean along the diagonal", axis)
    return collection


# --- shapes ----------------------------------------------------------------------------------------------------------


def shapes(results: xr.DataTree, style: Style) -> PlotCollection:
    """Targets, filled, with ellipses of the forward optimum and of the reverse minima, and where runs ended."""
    panels = [(shape, method) for method in METHOD_NAMES for shape in SHAPES]
    if style.narrow:  # one below the other: both methods of a shape together, and less high
        panels = [(shape, method) for shape in SHAPES for method in METHOD_NAMES]
    titles = [f"{shape.title},\n{METHOD_NAMES[method]}" for shape, method in panels]
    with style.settings():
        height = (2.1 if style.narrow else 3.3) * len(METHOD_NAMES)
        collection, axes = panel_grid(titles, style, len(SHAPES), (3.1 * len(SHAPES), height))
        for (shape, method), axis in zip(panels, axes, strict=True):
            case = case_of(results, f"{shape.name}_{method}")
            forward, runs = dataset_of(case, "forward"), dataset_of(case, "runs")
            _mass(dataset_of(case, "density")["density"], axis, style)
            _ellipse(forward["mean"].to_numpy(), forward["cov"].to_numpy(), axis, style, style.forward, 1.6,
                     "dashed", "forward, exact")  # fmt: skip
            found = minima(projections_of(dataset_of(case, "optima"), FAMILIES[METHODS[method]]))
            kls = [round(p.divergence.value, 6) for p in found]
            for i, p in enumerate(found):
                if kls.count(kls[i]) <= MOST_COPIES or i == kls.index(kls[i]):
                    (mean, factor), lowest = p.member.scales[0], p.status == "global minimum"
                    _ellipse(mean, factor @ factor.T, axis, style, style.reverse, 2.0 if lowest else 0.9, "dotted", f"reverse, {p.status}",
                             kls[i])  # fmt: skip
            ends = runs["mean"].to_numpy()[runs["at_rest"].to_numpy()]
            points(ends[:, 0], ends[:, 1], axis, style, color=style.reverse, area=style.size(4),
                   label="mean of an ADVI run")  # fmt: skip
    return collection


def _mass(density: xr.DataArray, axis: Any, style: Style) -> None:
    """Fill the smallest regions that hold 90% and 50% of the mass on a grid that holds nearly all of it."""
    x, y, z = density["x"].to_numpy(), density["y"].to_numpy(), density.to_numpy()
    levels = mass_levels(z)
    if style.backend == "matplotlib":
        for level in levels:  # one over the other: the inner half is darker
            axis.contourf(x, y, z.T, levels=[level, z.max() * 1.01], colors=[style.target], alpha=style.fill_alpha)
        axis.set_aspect("equal")
    else:
        style.draw.contour(
            x, y, z, axis, levels=levels, color=style.target, label="target", facts={"holds": "50% and 90% of the mass"}
        )


def _ellipse(
    mean: Array,
    cov: Array,
    axis: Any,
    style: Style,
    color: str,
    width: float,
    dash: str,
    label: str,
    kl: float | None = None,
) -> None:
    x, y = outline(mean, cov).T
    said = {"means": _both(mean), "sds": _both(np.sqrt(np.diag(cov))), **({} if kl is None else {"KL in nats": kl})}
    style.draw.line(x, y, axis, color=color, width=width, linestyle=style.dash(dash), label=label, facts=said)


def _both(values: Array) -> str:
    return " and ".join(short(round(float(v), 3) + 0.0) for v in values)
