"""Drawings of what diagnostics see of a missed mode, and of local fits put together."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.diagnosing_missed_modes.findings import blind
from analysis.diagnosing_missed_modes.repair import HEAVY
from analysis.diagnosing_missed_modes.study import SIZES
from analysis.drawing.densities import densities, mass_levels, planes
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points, words
from analysis.drawing.style import Style, rim
from analysis.gaussians import gaussian
from analysis.reading import case_of, dataset_of
from models.targets import Target, from_spec

__all__ = ["plot"]

Array = NDArray[np.float64]


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``blind``, ``repair``, ``repair_plane`` and ``stacking``."""
    style = Style.of(theme, backend, narrow)
    cases = [case for name, case in results.children.items() if name.startswith("repair_")]
    line = {case.attrs["title"]: _line(case) for case in cases if case.attrs["family"] == "normal"}
    plane = {case.attrs["title"]: _plane(case) for case in cases if case.attrs["family"] != "normal"}
    return {
        "blind": Drawing(_blind(dataset_of(results, "distance"), style)),
        "repair": Drawing(densities(line, style, cols=len(line), figsize=(4.6 * len(line), 3.8))),
        "repair_plane": Drawing(planes(plane, style, (4.6 if narrow else 8, 4.6))),
        "stacking": Drawing(_stacking(case_of(results, "prediction"), style)),
    }


def _blind(data: xr.Dataset, style: Style) -> PlotCollection:
    """The fit on the heavy mode beside its target; what it covers, and how often k-hat passes it, against the distance of the modes."""
    mode, distances, draw = data.sel(fit="mode"), data["distance"].to_numpy(), style.draw
    worst = blind(data)["worst"]
    at = mode.sel(distance=worst["distance"] if worst else distances[-1])
    with style.settings():
        collection, (left, right) = panel_grid(["the fit", "what it covers, and its check"], style, 2, (9.6, 4.0))
        d = float(at["distance"])
        x = np.linspace(-4, d + 4, 401)
        p, q = HEAVY * norm.pdf(x) + (1 - HEAVY) * norm.pdf(x, d), norm.pdf(x, float(at["mean"]), float(at["sd"]))
        draw.fill_between_y(x, np.zeros_like(x), p, left, color=style.target, alpha=style.fill_alpha, label="target")
        draw.line(x, p, left, color=style.target, width=1.4, label="target")
        draw.line(x, q, left, color=style.reverse, width=2.4, linestyle=style.dash("dotted"), label="reverse, on the heavy mode",
                  facts={"mean": float(at["mean"]), "sd": float(at["sd"]), "KL in nats": float(at["kl"])})  # fmt: skip
        words(float(at["mean"]) + 0.9, 0.34, "reverse", left, style, style.reverse, **rim(style))
        if worst:
            words(d, 0.14, "missed", left, style, style.target, across="center", up="bottom", **rim(style))
        draw.ylim((0, 0.46), left)
        if style.interactive:  # for the hover
            draw.ylabel("density", left)
        draw.remove_axis(left, axis="y")
        draw.xlabel("x", left)
        lines = (("mass covered", mode["covered"].to_numpy(), "solid", "dot"),
                 ("k-hat says good", mode["good"].mean("repeat").sel(size=SIZES[0]).to_numpy(), "dashed", "cross"))  # fmt: skip
        for name, y, dash, mark in lines:
            color = style.ink if dash == "solid" else style.middle
            draw.line(distances, y, right, color=color, width=1.8, linestyle=style.dash(dash), label=name)
            points(distances, y, right, style, color=color, marker=mark, area=style.size(6), label=name)
            if dash == "solid":
                words(distances[0], y[0] + 0.05, name, right, style, color, up="bottom", **rim(style))
            else:
                words(distances[-1], 0.4, name, right, style, color, across="right", **rim(style))
        draw.ylim((-0.06, 1.16), right)
        draw.xlabel("distance between the modes", right)
        draw.ylabel("share", right)
    return collection


# --- densities -------------------------------------------------------------------------------------------------------


def _density(case: xr.DataTree, name: str) -> Target:
    return from_spec(json.loads(case.attrs[name]), name=name)


def _line(case: xr.DataTree) -> xr.Dataset:
    """Densities of a one-dimensional target, of its best single fit and of the mixture of the fits."""
    curves = [_density(case, name) for name in ("target", "single", "mixture")]
    centres = [m[0] for m, _ in curves[0].scales]
    x = np.linspace(min(centres) - 4.5, max(centres) + 4.5, 401)
    return xr.Dataset(
        {
            "density": (("curve", "x"), [np.exp(q.logp(x[:, None])) for q in curves]),
            "role": ("curve", ["target", "reverse", "reverse"]),
            "status": ("curve", ["", "local", ""]),
            "name": ("curve", ["target", "one fit alone", "mixture of the fits"]),
            "mean": ("curve", [float(np.ravel(np.asarray(q.mean))[0]) for q in curves]),
            "sd": ("curve", [float(np.sqrt(np.ravel(np.asarray(q.cov))[0])) for q in curves]),
        },
        coords={"x": x},
    )


def _plane(case: xr.DataTree) -> tuple[xr.Dataset, Array]:
    """Densities of a two-dimensional target, of its forward optimum, which has its moments, and of the mixture; means of the fits."""
    target, mixture = (_density(case, name) for name in ("target", "mixture"))
    curves = [target, gaussian("mvnormal", np.asarray(target.mean), np.asarray(target.cov)), mixture]
    x = np.linspace(-1, 1, 121) * max(5.2, 2.2 * float(np.sqrt(np.diag(np.asarray(target.cov))).max()))
    z = np.array([np.exp(q.logp(np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2))) for q in curves])
    data = xr.Dataset(
        {
            "density": (("curve", "x", "y"), z.reshape(-1, len(x), len(x))),
            "level": (("curve", "mass"), [mass_levels(density) for density in z]),
            "role": ("curve", ["target", "forward", "reverse"]),
            "name": ("curve", ["target", "forward, exact", "mixture of the fits"]),
        },
        coords={"x": x},
    )
    return data, case["members/mean"].to_numpy()


def _stacking(case: xr.DataTree, style: Style) -> PlotCollection:
    """Predictive densities over x, with the data as a rug."""
    data, y, draw = dataset_of(case, "density"), case["observed_data/y"].to_numpy(), style.draw
    x = data["x"].to_numpy()
    true = (1 / (1 + (x - 10) ** 2) + 1 / (1 + (x + 10) ** 2)) / (2 * np.pi)
    curves = (
        ("true", true, "target", "solid", "right"),
        ("softmax of ELBOs", data["softmax of ELBOs"].to_numpy(), "reverse", "dotted", "center"),
        ("stacking", data["stacking"].to_numpy(), "forward", "dashed", "left"),
    )
    with style.settings():
        collection, (axis,) = panel_grid(["predictions"], style, 1, (8, 3.8))
        top = max(float(density.max()) for _, density, *_ in curves)
        draw.fill_between_y(x, np.zeros_like(x), true, axis, color=style.target, alpha=style.fill_alpha, label="true")
        for name, density, color, dash, side in curves:
            draw.line(x, density, axis, color=style.color(color), width=2.0, linestyle=style.dash(dash), label=name)
            at, beside = int(np.argmax(density)), {"right": -1, "center": 0, "left": 1}[side]
            draw.text(x[at] + beside * 0.07 * np.ptp(x), density[at] * (0.75 if beside else 1.0) + 0.03 * top, name, axis,
                      color=style.color(color), horizontal_align=side, vertical_align="bottom", **rim(style))  # fmt: skip
        shown = y[(y > x[0]) & (y < x[-1])]
        points(shown, np.full(len(shown), -0.04 * top), axis, style, color=style.ink, area=style.size(3),
               alpha=0.5, label="data")  # fmt: skip
        draw.ylim((-0.09 * top, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel("new observation", axis)
    return collection
