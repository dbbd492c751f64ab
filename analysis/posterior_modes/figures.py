"""Drawings of posteriors with several modes: exact densities, draws of samplers, and Normals fitted in both directions."""

from __future__ import annotations

from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points
from analysis.drawing.style import Style, rim
from analysis.reading import case_of

__all__ = ["plot"]

Array = NDArray[np.float64]
_BANDWIDTH = "isj"  # by solving for it: the usual rules take two modes for one broad one
#: Coordinates that are drawn of a posterior with more than one, and their names.
PLANES = {"ridge": ((0, 1), ("a", "b")), "faithful": ((1, 2), ("first mean", "second mean"))}


def plot(results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib") -> dict[str, Drawing]:
    """Draw ``location``, ``product_draws``, ``location_chains`` and ``posterior_planes``."""
    style, cauchy = Style.of(theme, backend), case_of(results, "cauchy")
    return {
        "location": Drawing(location(cauchy, style)),
        "product_draws": Drawing(product_draws(case_of(results, "ridge"), style)),
        "location_chains": Drawing(location_chains(cauchy, style)),
        "posterior_planes": Drawing(posterior_planes(results, style)),
    }


def location(case: xr.DataTree, style: Style) -> PlotCollection:
    """Exact posterior density, filled, and the exact Normal optima; local ones are thin."""
    draw, grid, fits = style.draw, case["exact/grid"].to_dataset(), case["fits"].to_dataset()
    everywhere = grid["x"].to_numpy()
    shown = np.abs(everywhere) <= 20
    x, posterior = everywhere[shown], grid["mass"].to_numpy()[shown] / (everywhere[1] - everywhere[0])
    exact = fits.isel(fit=np.flatnonzero((fits["how"] == "exact").to_numpy()))
    roles, reverse = exact["role"].to_numpy(), exact["kl_reverse"].to_numpy()
    local = (roles == "reverse") & (reverse > reverse[roles == "reverse"].min() + 1e-6)
    sds = np.sqrt(exact["cov"].to_numpy()[:, 0, 0])
    curves = [norm.pdf(x, mean, sd) for mean, sd in zip(exact["mean"].to_numpy()[:, 0], sds, strict=True)]
    with style.settings():
        collection, (axis,) = panel_grid(["posterior"], style, 1, (8, 4))
        draw.fill_between_y(x, np.zeros_like(x), posterior, axis, color=style.target, alpha=style.fill_alpha)
        draw.line(x, posterior, axis, color=style.target, width=1.4)
        top = max(curve.max() for curve in (posterior, *curves))
        for k, (role, density) in enumerate(zip(roles, curves, strict=True)):
            color, dash = style.color(role), style.dash("dashed" if role == "forward" else "dotted")
            draw.line(x, density, axis, color=color, width=1.4 if local[k] else 2.4, linestyle=dash)
            if role not in roles[:k]:
                at = int(np.argmax(density))
                draw.text(x[at], density[at] + 0.03 * top, role, axis, color=color, horizontal_align="center",
                          vertical_align="bottom", **rim(style))  # fmt: skip
        draw.ylim((0, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel("location mu", axis)
    return collection


def product_draws(case: xr.DataTree, style: Style) -> PlotCollection:
    """ArviZ's density estimates of one variable, from draws of three sources."""
    sources = {
        name: case[f"{role}/posterior/a"].to_numpy()[0]
        for name, role in (("exact draws", "exact"), ("NUTS, one chain", "nuts"), ("SMC", "smc"))
    }
    count = min(map(len, sources.values()))  # one dimension for all
    chosen = {name: x[np.linspace(0, len(x) - 1, count).astype(int)] for name, x in sources.items()}
    colors = [style.target, style.reverse, style.forward]
    with style.settings():
        collection = az.plot_dist(
            {name: az.from_dict({"posterior": {"a": x[None]}}) for name, x in chosen.items()},
            var_names=["a"],
            kind="kde",
            stats={"dist": {"bw": _BANDWIDTH}},
            backend=style.backend,
            aes={"color": ["model"], "linestyle": ["model"]},
            color=colors,
            linestyle=[style.dash(name) for name in ("solid", "dotted", "dashed")],
            figure_kwargs=style.figure_size((8, 3.6)),
            visuals={
                "dist": {"width": 2.2},
                "point_estimate": False,
                "point_estimate_text": False,
                "credible_interval": False,
                "title": False,
            },
        )
        axis = _axis(collection, "a")
        style.draw.xlabel("factor a", axis)
        top = max(array_stats.kde(x, circular=False, bw=_BANDWIDTH)[1].max() for x in chosen.values())
        right = max(x.max() for x in chosen.values())
        for i, (name, color) in enumerate(zip(chosen, colors, strict=True)):
            style.draw.text(right, (1.1 - 0.1 * i) * top, name, axis, color=color, horizontal_align="right",
                            vertical_align="top", **rim(style))  # fmt: skip
        style.draw.ylim((0, 1.15 * top), axis)
    return collection


def _axis(collection: PlotCollection, variable: str) -> Any:
    axis = collection.viz["plot"]
    return axis[variable].item() if isinstance(axis, xr.Dataset | xr.DataTree) else axis.item()


def location_chains(case: xr.DataTree, style: Style) -> PlotCollection:
    """ArviZ's traces of one variable, one line for each of at most four chains."""
    tree = xr.DataTree.from_dict({"posterior": case["nuts/posterior"].to_dataset()})
    with style.settings():
        collection = az.plot_trace(
            tree,
            var_names=["mu"],
            backend=style.backend,
            aes={"color": ["chain"]},
            color=[style.reverse, style.forward, style.middle, style.target][: tree["posterior"].sizes["chain"]],
            figure_kwargs=style.figure_size((8, 3.2)),
            visuals={
                "trace": {"width": 1.0}, "divergence": False, "title": False, "xlabel": False, "ticklabels": False
            },
        )  # fmt: skip
        axis = _axis(collection, "mu")
        style.draw.xlabel("draw", axis)
        style.draw.ylabel("location mu", axis)
    return collection


def posterior_planes(results: xr.DataTree, style: Style) -> PlotCollection:
    """Posteriors in the plane, one chain of NUTS, and 90% ellipses of Normals."""
    cases = [case_of(results, name) for name in PLANES]
    with style.settings():
        collection, axes = panel_grid(
            [case.attrs["title"] for case in cases], style, len(cases), (4.7 * len(cases), 4.6)
        )
        for case, (columns, labels), axis in zip(cases, PLANES.values(), axes, strict=True):
            _plane(case, list(columns), axis, style)
            style.draw.xlabel(labels[0], axis)
            style.draw.ylabel(labels[1], axis)
    return collection


def _plane(case: xr.DataTree, columns: list[int], axis: Any, style: Style) -> None:
    known = "exact" in case.children
    cloud, chain = (case[f"{role}/unconstrained_posterior/x"].to_numpy()[0][:, columns]
                    for role in ("exact" if known else "smc", "nuts"))  # fmt: skip
    cloud = cloud[:1000]
    if known:
        _region(case["exact/grid"]["x"].to_numpy(), case["exact/grid"]["mass"].to_numpy(), axis, style)
    else:
        points(cloud[:, 0], cloud[:, 1], axis, style, color=style.target, area=style.size(3), alpha=0.5)
    points(chain[:, 0], chain[:, 1], axis, style, color=style.ink, area=style.size(2.5), alpha=0.6)
    fits = case["fits"].to_dataset()
    for fit in (fits.isel(fit=k) for k in range(fits.sizes["fit"])):
        label, how, role = (str(fit[name].item()) for name in ("fit", "how", "role"))
        if how == "exact" if known else how == "advi" or label == "forward: MLE on SMC":
            outline = _ellipse(fit["mean"].to_numpy()[columns], fit["cov"].to_numpy()[np.ix_(columns, columns)])
            dash = style.dash("dashed" if role == "forward" else "dotted")
            style.draw.line(*outline.T, axis, color=style.color(role), width=1.3 if "mean field" in label else 2.2,
                            linestyle=dash)  # fmt: skip
    low, high = np.quantile(np.concatenate([cloud, chain]), [0.002, 0.998], axis=0)
    pad = 0.15 * (high - low)
    style.draw.xlim((low[0] - pad[0], high[0] + pad[0]), axis)
    style.draw.ylim((low[1] - pad[1], high[1] + pad[1]), axis)


def _ellipse(mean: Array, cov: Array) -> Array:
    """Outline (k, 2) of the region that holds 90% of a Normal in the plane."""
    turn = np.linspace(0, 2 * np.pi, 121)
    circle = np.sqrt(chi2.ppf(0.9, 2)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return np.asarray(mean + circle @ np.linalg.cholesky(cov).T)


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
