"""Drawings of your own data: fitted families over the data, PIT, the ranking, and forward against reverse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray
from scipy.stats import kstwo, norm

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.interactive import name_lines
from analysis.drawing.marks import points
from analysis.drawing.style import Style
from analysis.draws import levels
from analysis.own_data.judging import FEWEST
from analysis.own_data.summary import DRAWN, MARGINS, SHOWN, curve_of, fitted_member, ranked_names
from models.families import FAMILIES
from models.results import member_of
from models.targets import Target

__all__ = ["plot"]

Array = NDArray[np.float64]
_BINS = 60
_LETTERS = 40
#: Of the drawing of the order: so many families at most, up to so many nats away.
_LISTED, _FAR = 10, 1.0


def plot(
    tree: xr.DataTree, *, theme: str = "light", backend: str = "matplotlib", narrow: bool = False
) -> dict[str, Drawing]:
    """Draw what `analysis.own_data.study.analyse` found.

    Parameters
    ----------
    tree : xarray.DataTree
    theme : {"light", "dark"}
    backend : {"matplotlib", "plotly", "bokeh"}

    Returns
    -------
    dict of str to Drawing
        ``families``, ``pit``; ``ranking`` where there are several families and standard errors; ``directions`` where reverse KL
        was computed. One that cannot be drawn is left out.
    """
    style = Style.of(theme, backend, narrow)
    x = tree["p_data/observed_data"]["x"].to_numpy().reshape(tree.attrs["n"], tree.attrs["dim"])
    columns = json.loads(tree.attrs["columns"])
    columns = _titles(columns)
    if backend == "matplotlib":  # to which two dollars are a formula
        columns = [name.replace("$", r"\$") for name in columns]
    draws: dict[str, Callable[[], Drawing]] = {
        "families": lambda: _families(tree, x, columns, style),
        "pit": lambda: _pit(tree, x, columns, style),
    }
    if x.shape[1] == 1:
        draws["qq"] = lambda: _qq(tree, x, columns[0], style)
    ranking = tree["ranking"].to_dataset()
    if ranking.sizes["family"] > 1 and tree.attrs["size"] >= FEWEST:
        draws["ranking"] = lambda: _ranking(ranking, style)
    if "reverse" in tree.children:
        draws["directions"] = lambda: _directions(tree, x, columns, style)
    return {name: drawing for name, draw in draws.items() if (drawing := _drawn(draw)) is not None}


def _drawn(draw: Callable[[], Drawing]) -> Drawing | None:
    """A drawing, or None: no number depends on one, and a report without it says so."""
    try:
        return draw()
    except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError):
        return None


def _titles(columns: Sequence[str]) -> list[str]:
    """Names as titles of panels: short, all different, and no paths, which titles are to a DataTree."""
    found: list[str] = []
    for name in columns:
        short = (name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…").replace("/", "\N{DIVISION SLASH}")
        found.append(short if short not in found else f"{short} ({len(found) + 1})")
    return found


# --- fitted families -------------------------------------------------------------------------------------------------


def _families(tree: xr.DataTree, x: Array, columns: Sequence[str], style: Style) -> Drawing:
    names = ranked_names(tree)
    if x.shape[1] == 1:
        curves = {name: curve_of(tree, name) for name in names[:SHOWN]}
        lines = [(name, curve.density, x[:, 0], columns[0], name) for name, curve in curves.items()]
        return Drawing(_margins(lines, style, counts=[curve.discrete for curve in curves.values()]))
    members = [fitted_member(tree, name) for name in names]
    if x.shape[1] == 2:
        return Drawing(_planes(dict(zip(names, members, strict=True)), x, columns, style))
    shown = list(columns[:MARGINS])
    panels = [(name, _marginal(members[0], i), x[:, i], name, names[0]) for i, name in enumerate(shown)]
    return Drawing(_margins(panels, style))


def _some(x: Array) -> Array:
    return x if len(x) <= DRAWN else x[np.random.default_rng(0).choice(len(x), DRAWN, replace=False)]


def _marginal(member: Target, column: int) -> Callable[[Array], Array]:
    """Density of one coordinate of a member."""
    return lambda points: sum(w * norm.pdf(points, m, s) for w, m, s in _normals(member, column))


def _normals(member: Target, column: int) -> list[tuple[float, float, float]]:
    """Weights, means and standard deviations of one coordinate of a mixture of multivariate Normals."""
    weights = np.ravel(member.spec["params"].get("w", [1.0]))
    return [
        (float(w), float(m[column]), float(np.sqrt((factor @ factor.T)[column, column])))
        for w, (m, factor) in zip(weights, member.scales, strict=True)
    ]


def _window(x: Array) -> tuple[float, float]:
    """Where nearly all data are: a far outlier would squeeze the rest into a line."""
    low, high = np.quantile(x, [0.001, 0.999])
    reach = 0.12 * (high - low)
    return float(max(x.min(), low - reach) - reach / 3), float(min(x.max(), high + reach) + reach / 3)


def _margins(
    panels: Sequence[tuple[str, Callable[[Array], Array], Array, str, str]],
    style: Style,
    *,
    counts: Sequence[bool] = (),
) -> PlotCollection:
    """Panels by title, density, values, name of the values, and family; and which have probabilities of whole numbers for a density."""
    discrete = counts or [False] * len(panels)
    draw = style.draw
    cols = min(len(panels), 3)
    rows = -(-len(panels) // cols)
    with style.settings():
        collection, axes = panel_grid([title for title, *_ in panels], style, cols, (max(3.3 * cols, 6), 2.7 * rows))
        for (_title, density, x, name, family), whole, axis in zip(panels, discrete, axes, strict=True):
            low, high = _window(x)
            inside = x[(x >= low) & (x <= high)]
            # Bins no narrower than the gaps between values: else rounded values draw a comb.
            gap = float(np.median(np.diff(np.unique(_some(inside)))))
            count = min(_BINS, max(8, round(1.5 * len(inside) ** 0.4)), max(8, int((high - low) / gap)))
            edges = _edges(low, high, count, any(discrete))
            heights = np.histogram(inside, bins=edges)[0] / (len(x) * np.diff(edges))
            corners, tops = np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)
            grid = np.arange(np.floor(low), np.ceil(high) + 1) if whole else np.linspace(low, high, 301)
            edgeless = {} if style.interactive else {"linewidth": 0}
            draw.fill_between_y(corners, np.zeros_like(tops), tops, axis, color=style.target, alpha=style.fill_alpha,
                                label="data", facts={"values": len(x)}, **edgeless)  # fmt: skip
            heights = density(grid)
            of: dict[str, Any] = {"label": "fitted family", "facts": {"family": family}}
            draw.line(grid, heights, axis, color=style.forward, width=2.0, linestyle=style.dash("dashed"), **of)
            if whole:
                points(grid, heights, axis, style, color=style.forward, area=style.size(4), **of)
            if np.nanmax(heights) > 2.5 * tops.max():  # a density that is infinite at an end would flatten all else
                draw.ylim((0, 2.5 * float(tops.max())), axis)
            if style.interactive:  # for the hover
                draw.ylabel("probability" if whole else "density", axis)
            draw.remove_axis(axis, axis="y")
            draw.xlabel(name, axis)
    return collection


def _edges(low: float, high: float, count: int, whole: bool) -> Array:
    """Edges of about so many bins; of whole numbers each bin holds as many.

    Examples
    --------
    >>> _edges(0, 3, 8, True).tolist(), np.unique(np.diff(_edges(300.0, 900.0, 60, True))).tolist(), len(_edges(0, 1, 8, False))
    ([-0.5, 0.5, 1.5, 2.5, 3.5], [10.0], 9)
    """
    if not whole:
        return np.linspace(low, high, count + 1)
    step = 1.0 if high - low < _WHOLE else np.ceil((high - low) / count)
    first = np.floor(low) - 0.5
    return first + step * np.arange(np.ceil((np.ceil(high) + 0.5 - first) / step) + 1)


_WHOLE = 200  # numbers that have a bin each


def _plane_grid(x: Array) -> tuple[Array, Array, Array]:
    first, second = (np.linspace(*_wider(x[:, i]), 121) for i in (0, 1))
    return first, second, np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)


def _wider(x: Array) -> tuple[float, float]:
    """The data and, unless far outliers have stretched it, the ellipse of a Normal that holds 90% of its mass."""
    low, high = _window(x)
    width, middle, reach = high - low, float(x.mean()), 2.3 * float(x.std())
    return (
        max(min(low - 0.12 * width, middle - reach), low - 0.6 * width),
        min(max(high + 0.12 * width, middle + reach), high + 0.6 * width),
    )


def _contour(
    q: Target, grid: tuple[Array, Array, Array], axis: Any, style: Style, role: str, dash: str, label: str = ""
) -> None:
    first, second, places = grid
    z = np.exp(q.logp(places)).reshape(len(first), len(second))
    look = ("linestyle", "width") if style.interactive else ("linestyles", "linewidths")
    extra: dict[str, Any] = dict(zip(look, (style.dash(dash), 1.8), strict=True))
    style.draw.contour(first, second, z, axis, levels=levels(q), color=style.color(role), label=label or role,
                       facts={"holds": "50% and 90% of the mass"}, **extra)  # fmt: skip


def _scatter(x: Array, grid: tuple[Array, Array, Array], columns: Sequence[str], axis: Any, style: Style) -> None:
    some = _some(x)
    points(some[:, 0], some[:, 1], axis, style, color=style.target, area=style.size(2.6), alpha=0.45, label="data")
    style.draw.xlim((grid[0][0], grid[0][-1]), axis)
    style.draw.ylim((grid[1][0], grid[1][-1]), axis)
    style.draw.xlabel(columns[0], axis)
    style.draw.ylabel(columns[1], axis)


def _planes(members: dict[str, Target], x: Array, columns: Sequence[str], style: Style) -> PlotCollection:
    grid = _plane_grid(x)
    cols = min(len(members), 3)
    rows = -(-len(members) // cols)
    with style.settings():
        collection, axes = panel_grid(list(members), style, cols, (max(3.4 * cols, 5), 3.4 * rows))
        for (name, member), axis in zip(members.items(), axes, strict=True):
            _scatter(x, grid, columns, axis, style)
            _contour(member, grid, axis, style, "forward", "dashed", f"fitted: {name}")
    return collection


# --- probability integral transforms ---------------------------------------------------------------------------------


def _pit(tree: xr.DataTree, x: Array, columns: Sequence[str], style: Style) -> Drawing:
    names, dim = ranked_names(tree), x.shape[1]
    some = _some(x)
    if dim == 1:
        values = {name: curve_of(tree, name).pit(some[:, 0]) for name in names[:SHOWN]}
    else:
        members = {name: fitted_member(tree, name) for name in names}
        values = {
            f"{name}, {column}": np.asarray(
                sum(w * norm.cdf(some[:, i], m, s) for w, m, s in _normals(members[name], i))
            )
            for name in names
            for i, column in enumerate(columns[:MARGINS])
        }
    values = {title: found for title, found in values.items() if np.isfinite(found).all()}
    if not values:
        raise ValueError("no family has a distribution function that can be summed up")
    return Drawing(_pit_panels(values, len(some), style, cols=3 if dim == 1 else min(dim, MARGINS)))


def _qq(tree: xr.DataTree, x: Array, column: str, style: Style) -> Drawing:
    """Quantiles of the data against those of the closest families."""
    names, draw = ranked_names(tree)[:3], style.draw
    some = _some(x)[:, 0]
    with style.settings():
        collection, axes = panel_grid(names, style, len(names), (max(3.3 * len(names), 4), 3.3))
        for name, axis in zip(names, axes, strict=True):
            curve = curve_of(tree, name)
            values = np.sort(curve.chart.back(curve.chart(some)) if curve.chart.period else some)
            expected = curve.quantile((np.arange(len(values)) + 0.5) / len(values))
            ends = np.array([values[0], values[-1]])
            draw.line(ends, ends, axis, color=style.faint, width=1.2, linestyle=style.dash("dashed"))
            points(expected, values, axis, style, color=style.forward, area=style.size(3), label="value of the data",
                   facts={"family": name})  # fmt: skip
            draw.xlabel("quantile of the family", axis)
            draw.ylabel(column, axis)
    return Drawing(collection)


def _largest(values: Array) -> float:
    """Largest difference between the distribution of values (n,) and the uniform."""
    u, n = np.sort(values), len(values)
    return float(np.maximum(np.abs(np.arange(n) / n - u), np.abs(np.arange(1, n + 1) / n - u)).max())


def _pit_panels(values: dict[str, Array], n: int, style: Style, *, cols: int) -> PlotCollection:
    cols = min(cols, len(values))
    rows = -(-len(values) // cols)
    tree = xr.DataTree.from_dict({"pit": xr.Dataset({title: ("sample", v) for title, v in values.items()})})
    with style.settings():
        collection = az.plot_ecdf_pit(
            tree,
            group="pit",
            sample_dims=["sample"],
            backend=style.backend,
            col_wrap=cols,
            figure_kwargs={**style.figure_size((max(3.3 * cols, 6), 2.6 * rows + 0.3)), "sharey": True},
            visuals={
                "ecdf_lines": {"color": style.forward, "width": 1.8},
                "suspicious_points": False,
                "p_value_text": False,
                "xlabel": False,
                "ylabel": False,
            },
        )
        band = kstwo.ppf(0.99, n)
        reach = 1.15 * max(band, *(_largest(v) for v in values.values()))
        for i, title in enumerate(values):
            axis = collection.viz["plot"][title].item()
            for level in (-band, band):
                style.draw.hline(level, axis, color=style.faint, width=1.0, linestyle=style.dash("dashed"))
            style.draw.ylim((-reach, reach), axis)
            if i >= len(values) - cols:
                style.draw.xlabel("probability integral transform", axis)
                if style.backend == "matplotlib":
                    axis.tick_params(labelbottom=True)
            if i % cols == 0:
                style.draw.ylabel("difference", axis)
            if style.backend == "matplotlib":
                collection.viz["ecdf_lines"][title].item().set_color(style.forward)
                collection.viz["ref_line"][title].item().set_color(style.faint)
            else:
                name_lines(axis, style, [title], style.forward)
    return collection


# --- ranking and directions ------------------------------------------------------------------------------------------


def _ranking(ranking: xr.Dataset, style: Style) -> Drawing:
    draw = style.draw
    values, errors = ranking["kl_difference"].to_numpy(), ranking["se"].to_numpy()
    # Families so far away that the others could not be told apart beside them are in the table alone.
    near = np.flatnonzero(np.isfinite(values) & (values <= max(_FAR, 20 * values[min(1, len(values) - 1)])))[:_LISTED]
    names, values, errors = (
        [str(name) for name in ranking["family"].to_numpy()[near]],
        values[near],
        np.where(ranking["row"].to_numpy()[near] < 0, errors[near], np.nan),
    )
    rows = np.arange(len(names))[::-1]
    with style.settings():
        collection, (axis,) = panel_grid(["ranking"], style, 1, (8, 1.1 + 0.38 * len(names)))
        draw.vline(0.0, axis, color=style.faint, width=1.0, linestyle=style.dash("dotted"))
        for row, value, error in zip(rows, values, errors, strict=True):
            if np.isfinite(error):
                draw.line(np.array([value - 2 * error, value + 2 * error]), np.array([row, row]), axis,
                          color=style.forward, width=1.8)  # fmt: skip
        points(values, rows, axis, style, color=style.forward, area=style.size(6), label="KL above the closest family",
               facts={"standard error": [f"{e:.2g}" if np.isfinite(e) else "not known" for e in errors]})  # fmt: skip
        draw.yticks(rows, names, axis)
        draw.ylim((-0.6, len(names) - 0.4), axis)
        draw.xlabel("KL above the closest family, nats", axis)
    return Drawing(collection)


def _directions(tree: xr.DataTree, x: Array, columns: Sequence[str], style: Style) -> Drawing:
    facts = tree["reverse"].to_dataset()
    family = FAMILIES[facts.attrs["family"]]
    target = fitted_member(tree, facts.attrs["target_family"])
    forward = member_of(tree["forward_exact/fit"].to_dataset(), family)
    count = int(facts["minima"])
    reverse = [member_of(tree[f"reverse_exact_{i}/fit"].to_dataset(), family) for i in range(count)]
    draw = style.draw
    with style.settings():
        if x.shape[1] == 1:
            collection, (axis,) = panel_grid(["directions"], style, 1, (8, 3.8))
            ends = [(q.scales[0][0][0], q.scales[0][1][0, 0]) for q in (forward, *reverse)]
            low, high = _window(x[:, 0])
            grid = np.linspace(
                min([low, *(m - 2.6 * s for m, s in ends)]), max([high, *(m + 2.6 * s for m, s in ends)]), 401
            )
            density = np.exp(target.logp(grid[:, None]))
            draw.fill_between_y(grid, np.zeros_like(grid), density, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(grid, density, axis, color=style.target, width=1.4, label="target")
            roles = [*((q, "reverse", "dotted") for q in reverse), (forward, "forward", "dashed")]
            for (q, role, dash), (mean, sd) in zip(roles, [*ends[1:], ends[0]], strict=True):
                draw.line(grid, np.exp(q.logp(grid[:, None])), axis, color=style.color(role), width=2.2,
                          linestyle=style.dash(dash), label=role, facts={"mean": mean, "sd": sd})  # fmt: skip
            if style.interactive:  # for the hover
                draw.ylabel("density", axis)
            draw.remove_axis(axis, axis="y")
            draw.xlabel(columns[0], axis)
        else:
            collection, (axis,) = panel_grid(["directions"], style, 1, (6.4, 5))
            plane = _plane_grid(x)
            _scatter(x, plane, columns, axis, style)
            _contour(target, plane, axis, style, "target", "solid")
            _contour(forward, plane, axis, style, "forward", "dashed")
            for q in reverse:
                _contour(q, plane, axis, style, "reverse", "dotted")
    return Drawing(collection)
