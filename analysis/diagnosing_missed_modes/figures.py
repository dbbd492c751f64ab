"""Drawings of what diagnostics see of a missed mode, and of local fits put together."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.diagnosing_missed_modes.study import SIZE, SIZES
from analysis.drawing.densities import densities, planes
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.marks import points
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
    line, plane = ([case for case in cases if (case.attrs["family"] == "normal") == flat] for flat in (True, False))
    return {
        "blind": Drawing(_blind(dataset_of(results, "distance"), style)),
        "repair": Drawing(
            densities(
                {case.attrs["title"]: _line(case) for case in line},
                style,
                cols=len(line),
                figsize=(4.6 * len(line), 3.8),
            )
        ),
        "repair_plane": Drawing(planes({case.attrs["title"]: _plane(case) for case in plane}, style)),
        "stacking": Drawing(_stacking(case_of(results, "prediction"), style)),
    }


def _blind(data: xr.Dataset, style: Style) -> PlotCollection:
    """How often k-hat passes the fit on the heavy mode, and what that fit has, against the distance of the modes."""
    mode, x, draw = data.sel(fit="mode"), data["distance"].to_numpy(), style.draw
    good, ess = mode["good"].mean("repeat"), mode["relative_ess"].mean("repeat").sel(size=SIZE)
    budget = {size: (f"{size:,} draws", good.sel(size=size).to_numpy()) for size in SIZES}
    few, some, many = SIZES
    # Label, values, colour, dash, the point that it is named beside, and on which side.
    panels: dict[str, list[tuple[str, Array, str, str, int, str]]] = {
        "share of runs in which k-hat says good": [
            (*budget[few], "reverse", "dotted", -1, "right"),
            (*budget[some], "middle", "dashed", -3, "left"),
            (*budget[many], "ink", "solid", 0, "left"),
        ],
        "what the same fit has": [
            ("effective draws / draws", ess.to_numpy(), "reverse", "dotted", -1, "right"),
            ("mass covered", mode["covered"].to_numpy(), "target", "solid", -1, "right"),
            ("KL, nats", mode["kl"].to_numpy(), "forward", "dashed", len(x) // 2, "center"),
        ],
    }
    with style.settings():
        collection, axes = panel_grid(list(panels), style, 2, (9.6, 4.2))
        for lines, axis, label in zip(panels.values(), axes, ("share of runs", "mass, share, or nats"), strict=True):
            for name, y, role, dash, at, side in lines:
                color, below, at = style.color(role), name in ("mass covered", "KL, nats"), max(at, -len(x))
                draw.line(x, y, axis, color=color, width=1.8, linestyle=style.dash(dash), label=name)
                points(x, y, axis, style, color=color, area=style.size(4), label=name)
                draw.text(x[at], y[at] + (-0.03 if below else 0.03), name, axis, color=color, horizontal_align=side,
                          vertical_align="top" if below else "bottom", **rim(style))  # fmt: skip
            draw.ylim((-0.09, 1.12), axis)
            draw.xlabel("distance between the modes", axis)
            draw.ylabel(label, axis)
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
    levels = []
    for density in z:  # on a grid that holds nearly all of the mass
        ordered = np.sort(density)[::-1]
        mass = np.cumsum(ordered) / ordered.sum()
        levels.append([ordered[np.searchsorted(mass, share)] for share in (0.9, 0.5)])
    data = xr.Dataset(
        {
            "density": (("curve", "x", "y"), z.reshape(-1, len(x), len(x))),
            "level": (("curve", "mass"), levels),
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
        points(
            shown,
            np.full(len(shown), -0.04 * top),
            axis,
            style,
            color=style.ink,
            area=style.size(3),
            alpha=0.5,
            label="data",
        )
        draw.ylim((-0.09 * top, 1.15 * top), axis)
        draw.remove_axis(axis, axis="y")
        draw.xlabel("new observation", axis)
    return collection
