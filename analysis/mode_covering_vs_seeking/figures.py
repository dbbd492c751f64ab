"""Densities with their exact fits, the landscape of reverse KL with runs of ADVI on it, their losses, and PIT."""

from __future__ import annotations

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from scipy.stats import kstwo, norm

from analysis.drawing.densities import densities, planes
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.interactive import name_lines
from analysis.drawing.marks import points
from analysis.drawing.style import NARROW, Style, rim
from analysis.reading import case_of, dataset_of

__all__ = ["plot"]


def plot(
    results: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw ``hero``, ``landscape``, ``gallery``, ``crossed``, ``loss`` and ``pit``."""
    style, bimodal = Style.of(theme, backend, narrow), case_of(results, "bimodal")
    cases = {name: case_of(results, name) for name in ("unequal", "trimodal", "heavy_tailed", "old_faithful")}
    gallery = {case.attrs["title"]: _curves(case) for case in cases.values()}
    minutes = {cases["old_faithful"].attrs["title"]: "minutes"}
    crossed = {
        name.replace("_", " "): (dataset_of(case, "densities"), case["restarts"]["mean"].to_numpy())
        for name in ("mean_field", "full_rank")
        for case in [case_of(results, f"crossed_{name}")]
    }
    return {
        "hero": Drawing(hero(bimodal, style)),
        "landscape": Drawing(landscape(bimodal, style)),
        "gallery": Drawing(densities(gallery, style, cols=2, figsize=(9, 6.4), xlabel=minutes)),
        "crossed": Drawing(planes(crossed, style)),
        "loss": Drawing(loss(bimodal, style)),
        "pit": Drawing(pit(bimodal, style)),
    }


def hero(case: xr.DataTree, style: Style) -> PlotCollection:
    """Density of the target with its exact optima, and what they are."""
    return densities({case.attrs["title"]: _curves(case)}, style, legend=True)


def _curves(case: xr.DataTree) -> xr.Dataset:
    """Densities with the KL of each, in its own direction, from the exact fit of the same mean."""
    data = dataset_of(case, "densities")
    exact = [(name.split("_")[0], case[f"{name}/fit"]) for name in ("forward_exact", *_exact(case))]
    kl = np.full(data.sizes["curve"], np.nan)
    for i, (role, mean, sd) in enumerate(zip(data["role"].to_numpy(), data["mean"].to_numpy()[:, 0], data["sd"].to_numpy()[:, 0], strict=True)):  # fmt: skip
        for way, fit in exact:
            if way == role and np.allclose([mean, sd], [float(fit["mu"]), float(fit["sigma"])], atol=1e-4):
                kl[i] = float(fit[f"kl_{role}"])
    return data.assign(kl=("curve", kl))


def _exact(case: xr.DataTree) -> list[str]:
    return [name for name in case.children if name.startswith("reverse_exact_")]


def landscape(case: xr.DataTree, style: Style) -> PlotCollection:
    """Reverse KL over (mean, sd) of a Normal, with its stationary points and the starts and ends of ADVI runs."""
    stationary, restarts, default = (case[name].to_dataset() for name in ("stationary", "restarts", "pymc_default"))
    m, s, value = (case["landscape"][name].to_numpy() for name in ("mean", "sd", "kl"))
    draw = style.draw
    with style.settings():
        collection, (axis,) = panel_grid(["landscape"], style, 1, (8, 4.6), height=4.4)
        levels = np.array([0.72, 0.78, 0.84, 0.9, 0.97, 1.1, 1.35, 1.8, 2.6, 4.0])
        if style.backend == "matplotlib":
            draw.contour(m, s, value, axis, levels=levels, color=style.faint, alpha=0.8, linewidths=0.8)
        else:
            for level in levels:
                draw.contour(m, s, value, axis, levels=[level], color=style.faint, width=1.0, label="contour of reverse KL",
                             facts={"KL in nats": level})  # fmt: skip
        for i in range(restarts.sizes["restart"]):
            run = restarts.isel(restart=i)
            draw.line(
                np.array([run["start_mean"].item(), run["mean"].item()]),
                np.array([run["start_sd"].item(), run["sd"].item()]),
                axis, color=style.reverse, width=1.1, alpha=0.75, label="ADVI run, from start to end",
                facts={"gap in nats": run["gap"].item(), "ends": ["start", "end"]},
            )  # fmt: skip
        minima = stationary["status"].str.endswith("minimum").to_numpy()
        mean, sd = stationary["mean"].to_numpy()[:, 0], stationary["sd"].to_numpy()[:, 0]
        starts, ends = ([runs[f"{at}{name}"].to_numpy().ravel() for name in ("mean", "sd")]
                        for runs, at in ((restarts, "start_"), (default, "")))  # fmt: skip
        status, kl = stationary["status"].to_numpy().astype(str), stationary["kl"].to_numpy()
        for (x, y), size, color, marker, name, facts in (
            (starts, 4, style.ink, "dot", "start of a run", {}),
            ((mean[~minima], sd[~minima]), 9, style.ink, "cross", "saddle, exact", {"KL in nats": kl[~minima]}),
            ((mean[minima], sd[minima]), 10, style.reverse, "dot", "minimum, exact",
             {"which": status[minima], "KL in nats": kl[minima]}),
        ):  # fmt: skip
            points(x, y, axis, style, color=color, marker=marker, area=style.size(size), label=name, facts=facts)
        points(ends[0], ends[1], axis, style, color=style.reverse, marker="triangle", area=style.size(8), hollow=True,
               label="PyMC's defaults, end of a run", facts={"gap in nats": default["gap"].to_numpy()})  # fmt: skip
        draw.xlabel("mean of the fit", axis)
        draw.ylabel("standard deviation of the fit", axis)
        edge = rim(style)
        draw.text(0, 1.05, "start of pm.fit", axis, color=style.ink, **edge)
        draw.ylim((0.4, 4.7), axis)
        for x, y, value in zip(mean[minima], sd[minima], kl[minima], strict=True):
            draw.text(x, y + 0.34, f"KL {value:.3f}", axis, color=style.reverse, **edge)
        draw.text(0.4, float(default["sd"].mean()) - 0.03, "PyMC defaults", axis, color=style.reverse,
                  horizontal_align="left", **edge)  # fmt: skip
    return collection


def loss(case: xr.DataTree, style: Style, *, window: int = 50) -> PlotCollection:
    """Loss of every run (means over `window` steps) with the exact minima as horizontal lines."""
    exact = [float(case[f"{name}/fit"]["kl_reverse"]) for name in _exact(case)]
    draw = style.draw
    history = case["restarts/history"].coarsen(iteration=window, boundary="trim").mean()
    steps = (np.arange(history.sizes["iteration"]) + 0.5) * window
    with style.settings():
        collection, (axis,) = panel_grid(["loss"], style, 1, (8, 3.4), height=3.4)
        for i in range(history.sizes["restart"]):
            run = case["restarts"].to_dataset().isel(restart=i)
            draw.line(steps, history.isel(restart=i).to_numpy(), axis, color=style.reverse, width=1.1, alpha=0.8,
                      label="ADVI run", facts={"start: mean": run["start_mean"].item(), "sd": run["start_sd"].item(),
                                               "gap at the end in nats": run["gap"].item()})  # fmt: skip
        span = max(exact) - min(exact)
        for value in sorted({round(v, 6) for v in exact}):
            draw.hline(value, axis, color=style.ink, width=1.0, linestyle=style.dash("dashed"))
            draw.text(steps[-1], value + 0.06 * span, f"exact minimum {value:.3f}", axis, color=style.ink,
                      horizontal_align="right", vertical_align="bottom")  # fmt: skip
        draw.ylim((min(exact) - 0.25 * span, max(exact) + 2.2 * span), axis)
        draw.xlabel("iteration", axis)
        draw.ylabel("loss, nats", axis)
    return collection


def pit(case: xr.DataTree, style: Style) -> PlotCollection:
    """ArviZ's ECDF of the probability integral transforms of draws under two Normals, minus the uniform.

    Dashed lines at the 99% quantile of the Kolmogorov-Smirnov statistic: a perfect fit stays between them throughout.
    """
    x = case["p_data/posterior"]["x"].to_numpy().ravel()
    leftmost = min(_exact(case), key=lambda name: float(case[f"{name}/fit"]["mu"]))
    titles, dashes = {"forward": "forward", "reverse": "reverse, left mode"}, {"forward": "dashed", "reverse": "dotted"}
    size, columns = ((NARROW, 6.4), 1) if style.narrow else ((9, 3.8), 2)
    values = {}
    for title, name in zip(titles.values(), ("forward_exact", leftmost), strict=True):
        fit = case[f"{name}/fit"]
        values[title] = ("sample", norm.cdf(x, float(fit["mu"]), float(fit["sigma"])))
    tree = xr.DataTree.from_dict({"pit": xr.Dataset(values)})
    with style.settings():
        collection = az.plot_ecdf_pit(
            tree,
            group="pit",
            sample_dims=["sample"],
            backend=style.backend,
            figure_kwargs={**style.figure_size(size), "sharey": True},
            col_wrap=columns,
            visuals={
                "ecdf_lines": {"color": style.reverse, "width": 1.8},
                "suspicious_points": False,
                "p_value_text": False,
                "xlabel": False,
                "ylabel": False,
            },
        )
        band = kstwo.ppf(0.99, len(x))
        for role, title in titles.items():
            axis = collection.viz["plot"][title].item()
            for level in (-band, band):
                style.draw.hline(level, axis, color=style.faint, width=1.0, linestyle=style.dash("dashed"))
            style.draw.xlabel("probability integral transform", axis)
            if role == "forward" or style.narrow:
                style.draw.ylabel("difference from uniform", axis)
            if style.backend == "matplotlib":
                collection.viz["ecdf_lines"][title].item().set(
                    color=style.color(role), linestyle=style.dash(dashes[role])
                )
                collection.viz["ref_line"][title].item().set_color(style.faint)
            else:
                name_lines(axis, style, [title], style.color(role))
    return collection
