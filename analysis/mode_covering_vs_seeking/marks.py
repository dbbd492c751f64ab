"""The landscape of reverse KL with runs of ADVI on it, their losses, and PIT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.errors import InputError
from models.families import FAMILIES
from models.projections.objectives import reverse_objective
from models.quadrature import gaussian_nodes
from models.targets import Target

__all__ = ["landscape", "loss_traces", "pit"]

Array = NDArray[np.float64]


def landscape(
    target: Target, stationary: xr.Dataset, restarts: xr.Dataset, default: xr.Dataset, style: Style
) -> PlotCollection:
    """Reverse KL over (mean, sd) of a Normal, with its stationary points and the starts and ends of ADVI runs.

    Parameters
    ----------
    target : Target
        One-dimensional, with a density.
    stationary, restarts, default : Dataset
        As in the question's results.
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    m, s = np.linspace(-5, 5, 81), np.geomspace(0.4, 4.7, 61)
    objective = reverse_objective(FAMILIES["normal"], target, gaussian_nodes(1, size=129))
    thetas = np.stack(np.meshgrid(m, np.log(s), indexing="ij"), axis=-1).reshape(-1, 2)
    value = np.concatenate([objective.gradient(part)[0] for part in np.array_split(thetas, 10)]).reshape(len(m), len(s))
    with style.settings():
        collection, (axis,) = panel_grid(["landscape"], style, 1, (8, 4.6))
        levels = np.array([0.72, 0.78, 0.84, 0.9, 0.97, 1.1, 1.35, 1.8, 2.6, 4.0])
        if style.backend == "matplotlib":
            draw.contour(m, s, value, axis, levels=levels, color=style.faint, alpha=0.8, linewidths=0.8)
        else:
            draw.contour(m, s, np.minimum(value, levels[-1]), axis, levels=levels, color=style.faint)
        for i in range(restarts.sizes["restart"]):
            run = restarts.isel(restart=i)
            draw.line(
                np.array([run["start_mean"].item(), run["mean"].item()]),
                np.array([run["start_sd"].item(), run["sd"].item()]),
                axis, color=style.reverse, width=1.1, alpha=0.75,
            )  # fmt: skip
        draw.scatter(restarts["start_mean"].to_numpy().ravel(), restarts["start_sd"].to_numpy().ravel(), axis,
                     size=style.size(4), color=style.ink, marker=style.marker("dot"))  # fmt: skip
        minima = stationary["status"].str.endswith("minimum").to_numpy()
        mean, sd = stationary["mean"].to_numpy()[:, 0], stationary["sd"].to_numpy()[:, 0]
        draw.scatter(
            mean[~minima], sd[~minima], axis, size=style.size(9), color=style.ink, marker=style.marker("cross")
        )
        draw.scatter(
            mean[minima], sd[minima], axis, size=style.size(10), color=style.reverse, marker=style.marker("dot")
        )
        draw.scatter(default["mean"].to_numpy().ravel(), default["sd"].to_numpy().ravel(), axis, size=style.size(8),
                     color=style.forward, marker=style.marker("triangle"))  # fmt: skip
        draw.xlabel("mean of the fit", axis)
        draw.ylabel("standard deviation of the fit", axis)
        draw.text(0.12, 0.56, "start of pm.fit", axis, color=style.ink, horizontal_align="left")
        draw.ylim((0.4, 4.7), axis)
        for x, y, kl in zip(mean[minima], sd[minima], stationary["kl"].to_numpy()[minima], strict=True):
            draw.text(x, y + 0.3, f"KL {kl:.3f}", axis, color=style.reverse)
        draw.text(
            0.35,
            float(default["sd"].mean()) - 0.12,
            "PyMC defaults",
            axis,
            color=style.forward,
            horizontal_align="left",
        )
    return collection


def loss_traces(restarts: xr.Dataset, exact: Sequence[float], style: Style, *, window: int = 50) -> PlotCollection:
    """Loss of every restart (means over `window` steps) with the exact minima as horizontal lines.

    Parameters
    ----------
    restarts : Dataset
        With ``history(restart, iteration)``.
    exact : sequence of float
        KL of the exact minima, in nats.
    style : Style
    window : int

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    history = restarts["history"].coarsen(iteration=window, boundary="trim").mean()
    steps = (np.arange(history.sizes["iteration"]) + 0.5) * window
    with style.settings():
        collection, (axis,) = panel_grid(["loss"], style, 1, (8, 3.4))
        for i in range(history.sizes["restart"]):
            draw.line(steps, history.isel(restart=i).to_numpy(), axis, color=style.reverse, width=1.1, alpha=0.8)
        span = max(exact) - min(exact)
        for value in sorted({round(v, 6) for v in exact}):
            draw.hline(value, axis, color=style.ink, width=1.0, linestyle=style.dash("dashed"))
            draw.text(steps[-1], value + 0.06 * span, f"exact minimum {value:.3f}", axis, color=style.ink,
                      horizontal_align="right", vertical_align="bottom")  # fmt: skip
        draw.ylim((min(exact) - 0.25 * span, max(exact) + 2.2 * span), axis)
        draw.xlabel("iteration", axis)
        draw.ylabel("loss, nats", axis)
    return collection


def pit(data: Array, members: Mapping[str, tuple[str, Target]], style: Style) -> PlotCollection:
    """ArviZ's ECDF of the probability integral transforms of data under fitted Normals, minus the uniform.

    Dashed lines at the 99% quantile of the Kolmogorov-Smirnov statistic: a perfect fit stays between them throughout.

    Parameters
    ----------
    data : ndarray (n,)
    members : mapping of str to (str, Target)
        Title and one-dimensional Normal member by role (``forward`` or ``reverse``).
    style : Style

    Returns
    -------
    PlotCollection
    """
    from scipy.stats import kstwo, norm

    values = {}
    for title, q in members.values():
        if q.dim != 1:
            raise InputError(f"{title!r} has dimension {q.dim}; a PIT plot takes one-dimensional fits")
        location, scale = q.scales[0]
        values[title] = ("sample", norm.cdf(data, location[0], scale[0, 0]))
    tree = xr.DataTree.from_dict({"pit": xr.Dataset(values)})
    roles = {title: role for role, (title, _) in members.items()}
    with style.settings():
        collection = az.plot_ecdf_pit(
            tree,
            group="pit",
            sample_dims=["sample"],
            backend=style.backend,
            figure_kwargs={**style.figure_size((9, 3.8)), "sharey": True},
            visuals={
                "ecdf_lines": {"color": style.reverse, "width": 1.8},
                "suspicious_points": False,
                "p_value_text": False,
                "xlabel": False,
                "ylabel": False,
            },
        )
        band = kstwo.ppf(0.99, len(data))
        for title, role in roles.items():
            axis = collection.viz["plot"][title].item()
            for level in (-band, band):
                style.draw.hline(level, axis, color=style.faint, width=1.0, linestyle=style.dash("dashed"))
            style.draw.xlabel("probability integral transform", axis)
            if title == next(iter(roles)):
                style.draw.ylabel("difference from uniform", axis)
            if style.backend == "matplotlib":
                collection.viz["ecdf_lines"][title].item().set_color(style.color(role))
                collection.viz["ref_line"][title].item().set_color(style.faint)
    return collection
