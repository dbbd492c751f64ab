"""Drawings of posteriors with several modes: the exact density, draws of samplers, and Normals fitted in both directions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import outline, points, short
from analysis.drawing.style import Style, rim
from analysis.reading import case_of

__all__ = ["plot"]

Array = NDArray[np.float64]
#: Coordinates that are drawn of the posterior with more than one: the two means.
_PLANE = [1, 2]
#: Draws of a sampler that are drawn in a panel.
_SHOWN = 250


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``location``, ``location_chains`` and ``labels``."""
    style, cauchy = Style.of(theme, backend, narrow), case_of(results, "cauchy")
    return {
        "location": Drawing(location(cauchy, style)),
        "location_chains": Drawing(location_chains(cauchy, style)),
        "labels": Drawing(labels(case_of(results, "faithful"), style)),
    }


def location(case: xr.DataTree, style: Style) -> PlotCollection:
    """Exact posterior density, filled, and the exact Normal optima; local ones are thin."""
    draw, grid, fits = style.draw, case["grid"].to_dataset(), case["fits"].to_dataset()
    everywhere = grid["x"].to_numpy()
    shown = np.abs(everywhere) <= 20
    x, posterior = everywhere[shown], grid["mass"].to_numpy()[shown] / (everywhere[1] - everywhere[0])
    exact = fits.isel(fit=np.flatnonzero((fits["how"] == "exact").to_numpy()))
    roles, reverse = exact["role"].to_numpy(), exact["kl_reverse"].to_numpy()
    local = (roles == "reverse") & (reverse > reverse[roles == "reverse"].min() + 1e-6)
    sds = np.sqrt(exact["cov"].to_numpy()[:, 0, 0])
    curves = [norm.pdf(x, mean, sd) for mean, sd in zip(exact["mean"].to_numpy()[:, 0], sds, strict=True)]
    with style.settings():
        collection, (axis,) = panel_grid(["posterior"], style, 1, (8, 6 if style.narrow else 4))
        draw.fill_between_y(
            x, np.zeros_like(x), posterior, axis, color=style.target, alpha=style.fill_alpha, label="posterior, exact"
        )
        draw.line(x, posterior, axis, color=style.target, width=1.4, label="posterior, exact")
        top = max(curve.max() for curve in (posterior, *curves))
        for k, (role, density) in enumerate(zip(roles, curves, strict=True)):
            color, dash = style.color(role), style.dash("dashed" if role == "forward" else "dotted")
            draw.line(x, density, axis, color=color, width=1.4 if local[k] else 2.4, linestyle=dash,
                      label="forward, exact" if role == "forward" else f"reverse, {'local' if local[k] else 'global'} minimum",
                      facts={"mean": float(exact["mean"][k, 0]), "sd": float(sds[k]), "reverse KL in nats": float(reverse[k])})  # fmt: skip
            if role not in roles[:k]:
                at = int(np.argmax(density))
                draw.text(x[at], density[at] + 0.03 * top, role, axis, color=color, horizontal_align="center",
                          vertical_align="bottom", **rim(style))  # fmt: skip
        draw.ylim((0, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel("location mu", axis)
    return collection


def location_chains(case: xr.DataTree, style: Style) -> PlotCollection:
    """Trace of one variable, a panel for each of at most four chains."""
    draws = case["nuts/x"].to_numpy()[..., 0]
    with style.settings():
        titles = [f"chain {i + 1}: {100 * (x > 0).mean():.0f}% above 0" for i, x in enumerate(draws)]
        collection, axes = panel_grid(titles, style, 2, (8, 1.2 + 1.9 * (-(-len(draws) // 2))))
        for i, (x, axis) in enumerate(zip(draws, axes, strict=True)):
            style.draw.hline(0.0, axis, color=style.faint, width=0.8)
            style.draw.line(np.arange(len(x)), x, axis, color=style.ink, width=1.0, label=f"chain {i + 1} of NUTS",
                            facts={"above 0, %": 100 * float((x > 0).mean())})  # fmt: skip
            style.draw.ylim((draws.min() - 1, draws.max() + 1), axis)
            style.draw.xlabel("draw", axis)
            style.draw.ylabel("mu", axis)
    return collection


def labels(case: xr.DataTree, style: Style) -> PlotCollection:
    """Draws of the means of two components by two samplers, and 90% curves of Normals; all of it, and one mode enlarged."""
    cloud, chain = (case[f"{role}/x"].to_numpy()[0][:1000, _PLANE] for role in ("smc", "nuts"))
    fits = _of_labels(case["fits"].to_dataset())
    with style.settings():
        collection, axes = panel_grid(["both labellings", "one, enlarged"], style, 2, (9.4, 4.4))
        for axis, near in zip(axes, (np.concatenate([cloud, chain]), chain), strict=True):
            for draws, color, name in (
                (cloud, style.target, "draws of SMC"), (chain, style.ink, "draws of NUTS, one chain")
            ):  # fmt: skip
                seen = draws[((draws >= near.min(axis=0)) & (draws <= near.max(axis=0))).all(axis=1)][:_SHOWN]
                points(seen[:, 0], seen[:, 1], axis, style, color=color, area=style.size(3), alpha=0.6, label=name)
            for role, mean, cov in fits:
                dash = style.dash("dashed" if role == "forward" else "dotted")
                style.draw.line(*outline(mean, cov).T, axis, color=style.color(role), width=2.4, linestyle=dash,
                                label="forward, MLE on draws of SMC" if role == "forward" else "reverse, end of an ADVI run",
                                facts={"means": f"{short(round(mean[0], 2))} and {short(round(mean[1], 2))}"})  # fmt: skip
            low, high = np.quantile(near, [0.002, 0.998], axis=0)
            pad = 0.15 * (high - low)
            style.draw.xlim((low[0] - pad[0], high[0] + pad[0]), axis)
            style.draw.ylim((low[1] - pad[1], high[1] + pad[1]), axis)
            style.draw.xlabel("first mean", axis)
            style.draw.ylabel("second mean", axis)
    return collection


def _of_labels(fits: xr.Dataset) -> list[tuple[str, Array, Array]]:
    """Role, mean and covariance in the plane of the ends of ADVI and of the fit to particles."""
    names, hows, roles = (fits[name].to_numpy().astype(str) for name in ("fit", "how", "role"))
    mean, cov = fits["mean"].to_numpy()[:, _PLANE], fits["cov"].to_numpy()[:, _PLANE][:, :, _PLANE]
    kept = np.flatnonzero((hows == "advi") | (names == "forward: MLE on SMC"))
    return [(roles[k], mean[k], cov[k]) for k in kept]
