"""Drawings on ArviZ's PlotCollection: exact densities, contours, the landscape of reverse KL, traces and PIT.

Everything goes through ArviZ's backend layer, so one drawing serves matplotlib, plotly and bokeh. p_data is grey and
filled, forward blue and dashed, reverse orange and dotted, in light and in dark (palette after Okabe and Ito).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import arviz as az
import matplotlib as mpl
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

from analysis.support.figures_svg import RIM, lighter, recoloured
from models.errors import InputError, lookup_error
from models.families import FAMILIES
from models.projections.objectives import reverse_objective
from models.quadrature import gaussian_nodes
from models.targets import Target

__all__ = [
    "Curve",
    "Drawing",
    "Panel",
    "PlanePanel",
    "Style",
    "densities",
    "landscape",
    "loss_traces",
    "pit",
    "planes",
    "rim",
    "to_dark",
]

Array = NDArray[np.float64]
_RAMP = 60
BACKENDS = ("matplotlib", "plotly", "bokeh")
_DASHES = {
    "matplotlib": {"solid": "-", "dashed": "--", "dotted": ":"},
    "plotly": {"solid": "solid", "dashed": "dash", "dotted": "dot"},
    "bokeh": {"solid": "solid", "dashed": "dashed", "dotted": "dotted"},
}
_MARKERS = {
    "matplotlib": {"dot": "o", "cross": "X", "triangle": "^"},
    "plotly": {"dot": "circle", "cross": "x", "triangle": "triangle-up"},
    "bokeh": {"dot": "circle", "cross": "x", "triangle": "triangle"},
}


@dataclass(frozen=True)
class Style:
    """Colours of a theme and the vocabulary of a backend.

    Drawings use these colours and no others, and nothing else of a drawing depends on the theme: so the dark drawing is
    the light one in other colours (`to_dark`).

    Attributes
    ----------
    target, forward, reverse : str
        Of the three curves.
    ink, faint : str
        Of words, and of lines that stay in the background.
    middle : str
        Between `reverse` and `forward`, also to the colour-blind; see `ramp`.
    paper : str
        Of the page.
    fill_alpha : float
        Opacity of the filled target.
    """

    backend: str
    theme: str
    target: str
    forward: str
    reverse: str
    ink: str
    faint: str
    middle: str
    paper: str
    fill_alpha: float = 0.24

    @classmethod
    def of(cls, theme: str, backend: str) -> Style:
        """Return the style of a theme.

        Raises
        ------
        InputError
            For an unknown theme or backend.
        """
        if backend not in BACKENDS:
            raise lookup_error("backend", backend, BACKENDS)
        if theme == "light":
            return cls(backend, theme, "#4d4d4d", "#0072B2", "#D55E00", "#222222", "#8a8a8a", "#AA4499", "#ffffff")
        if theme == "dark":
            return cls(backend, theme, "#c8c8c8", "#56B4E9", "#E69F00", "#e6e6e6", "#8f8f8f", "#CC79A7", "#16181d")
        raise lookup_error("theme", theme, ("light", "dark"))

    def color(self, role: str) -> str:
        """Colour of ``target``, ``forward`` or ``reverse``."""
        return str(getattr(self, role))

    def ramp(self, share: float) -> str:
        """Colour between `reverse` at 0, `middle` at one half, and `forward` at 1, in steps of a sixtieth."""
        stops = np.array([to_rgb(c) for c in (self.reverse, self.middle, self.forward)])
        at = round(_RAMP * share) / _RAMP
        red, green, blue = (float(np.interp(at, [0, 0.5, 1], channel)) for channel in stops.T)
        return str(to_hex((red, green, blue)))

    def dash(self, name: str) -> str:
        """Line style in the backend's word."""
        return _DASHES[self.backend][name]

    def marker(self, name: str) -> str:
        """Marker in the backend's word."""
        return _MARKERS[self.backend][name]

    @property
    def draw(self) -> Any:
        """ArviZ's drawing functions of the backend."""
        return import_module(f"arviz_plots.backend.{self.backend}")

    def size(self, points: float) -> float:
        """Marker size: an area for matplotlib, a diameter elsewhere."""
        return points**2 if self.backend == "matplotlib" else points

    def figure_size(self, inches: tuple[float, float]) -> dict[str, Any]:
        """Figure size in the backend's unit: inches for matplotlib, else dots at 100 to the inch."""
        if self.backend == "matplotlib":
            return {"figsize": inches, "figsize_units": "inches"}
        return {"figsize": (100 * inches[0], 100 * inches[1]), "figsize_units": "dots"}

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Matplotlib settings of the theme; nothing for other backends."""
        with mpl.rc_context(
            {
                "text.color": self.ink,
                "axes.edgecolor": self.faint,
                "axes.labelcolor": self.ink,
                "axes.titlecolor": self.ink,
                "axes.titlesize": 12,
                "axes.labelsize": 11.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": self.faint,
                "ytick.color": self.faint,
                "xtick.labelcolor": self.ink,
                "ytick.labelcolor": self.ink,
                "xtick.labelsize": 10.5,
                "ytick.labelsize": 10.5,
                "figure.facecolor": "none",
                "axes.facecolor": "none",
                "savefig.facecolor": "none",
                "font.size": 11.5,
                "svg.fonttype": "path",
                "svg.hashsalt": "duality",
                "figure.constrained_layout.use": True,
            }
        ):
            yield


class Rim(withStroke):
    """A line around words, in the colour of the page, so that they can be read over other marks."""

    def __init__(self, width: float, color: str) -> None:
        super().__init__(linewidth=width, foreground=color)
        self.group = RIM.format(width=width, color=color)


def rim(style: Style, width: float = 3.0) -> dict[str, Any]:
    """Options of ``style.draw.text`` for a `Rim` of a width in points; nothing but for matplotlib."""
    return {"path_effects": [Rim(width, style.paper)]} if style.backend == "matplotlib" else {}


def to_dark(svg: bytes) -> bytes:
    """Return a light drawing in the colours of the dark theme: the same as drawing it anew.

    Raises
    ------
    ValueError
        For a colour that is not one of `Style`.
    """
    return recoloured(svg, _counterparts())


@cache
def _counterparts() -> dict[str, str]:
    """The dark colour for each light one."""
    light, dark = (Style.of(theme, "matplotlib") for theme in ("light", "dark"))
    names = ("target", "forward", "reverse", "ink", "faint", "paper")
    pairs = {getattr(light, name): getattr(dark, name) for name in names}
    pairs |= {light.ramp(share): dark.ramp(share) for share in np.linspace(0, 1, _RAMP + 1)}
    return {old.lower(): new.lower() for old, new in pairs.items()}


@dataclass(frozen=True)
class Drawing:
    """A figure with the words that go with it: `alt` for who cannot see it, `caption` in Markdown."""

    figure: PlotCollection
    alt: str
    caption: str

    def svg(self, style: Style) -> bytes:
        """Return the matplotlib figure as SVG bytes, the same for the same numbers."""
        buffer = io.BytesIO()
        figure = self._matplotlib()
        for words in figure.findobj(Text):
            if (effects := words.get_path_effects()) and isinstance(effects[0], Rim):
                # `lighter` draws the rim: matplotlib would outline every letter twice.
                words.set(path_effects=[], gid=effects[0].group)
        with style.settings():
            figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
        self.close()
        return lighter(buffer.getvalue())

    def save(self, path: Path, style: Style) -> Path:
        """Write an image (matplotlib) or a self-contained web page (plotly, bokeh) and return its path."""
        if style.backend == "matplotlib":
            path = path.with_suffix(".svg")
            path.write_bytes(self.svg(style))
            return path
        path = path.with_suffix(".html")
        if style.backend == "plotly":
            figure = self.figure.viz["figure"].item()
            getattr(figure, "figure", figure).write_html(path, include_plotlyjs=True)
            return path
        from bokeh.io import save
        from bokeh.resources import INLINE

        save(self.figure.viz["figure"].item(), filename=str(path), resources=INLINE, title=path.stem)
        return path

    def show(self) -> None:
        """Open the figure in a window or a browser."""
        self.figure.show()

    def close(self) -> None:
        """Free the matplotlib figure."""
        import matplotlib.pyplot as plt

        plt.close(self._matplotlib())

    def _matplotlib(self) -> Any:
        return self.figure.viz["figure"].item()


@dataclass(frozen=True)
class Curve:
    """A fitted density: role ``forward`` or ``reverse``; local optima are drawn thin."""

    role: Literal["forward", "reverse"]
    label: str
    member: Target
    local: bool = False


@dataclass(frozen=True)
class Panel:
    """A one-dimensional target with fitted densities."""

    title: str
    target: Target
    curves: Sequence[Curve]


@dataclass(frozen=True)
class PlanePanel:
    """A two-dimensional target with its exact projections and the means (n, 2) at which fits ended."""

    title: str
    target: Target
    forward: Target
    reverse: Sequence[Target]
    ends: Array


def _grid(
    titles: Sequence[str], style: Style, cols: int, figsize: tuple[float, float]
) -> tuple[PlotCollection, list[Any]]:
    data = xr.Dataset({"panels": ("panel", np.zeros(len(titles)))}, coords={"panel": list(titles)})
    figure_kwargs = style.figure_size(figsize)
    collection = PlotCollection.wrap(
        data, cols=["panel"], col_wrap=cols, backend=style.backend, figure_kwargs=figure_kwargs
    )
    plots = collection.viz["plot"]
    plots = plots["panels"] if isinstance(plots, xr.Dataset) else plots
    targets = [plots.sel(panel=title).item() for title in titles]
    if len(titles) > 1:
        for target, title in zip(targets, titles, strict=True):
            style.draw.title(title, target, color=style.ink)
    return collection, targets


def _range(panel: Panel) -> Array:
    centres = np.array([m[0] for m, _ in panel.target.scales])
    widths = np.array([s[0, 0] for _, s in panel.target.scales])
    wide = [(c.member.scales[0][0][0], c.member.scales[0][1][0, 0]) for c in panel.curves]
    low = min([*(centres - 4.5 * widths), *(m - 2.6 * s for m, s in wide)])
    high = max([*(centres + 4.5 * widths), *(m + 2.6 * s for m, s in wide)])
    return np.linspace(low, high, 401)


def densities(
    panels: Sequence[Panel],
    style: Style,
    *,
    cols: int = 1,
    figsize: tuple[float, float] = (8, 4),
    legend: bool = False,
) -> PlotCollection:
    """Exact densities, one panel per target: p_data filled, fitted densities as lines.

    Parameters
    ----------
    panels : sequence of Panel
    style : Style
    cols : int
        Panels per row.
    figsize : (float, float)
        Inches.
    legend : bool
        Label the curves where they peak.

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, targets = _grid([p.title for p in panels], style, cols, figsize)
        for panel, axis in zip(panels, targets, strict=True):
            x = _range(panel)
            p = np.exp(panel.target.logp(x[:, None]))
            draw.fill_between_y(x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha)
            draw.line(x, p, axis, color=style.target, width=1.4)
            for curve in panel.curves:
                q = np.exp(curve.member.logp(x[:, None]))
                dash = style.dash("dashed" if curve.role == "forward" else "dotted")
                draw.line(x, q, axis, color=style.color(curve.role), width=1.4 if curve.local else 2.4, linestyle=dash)
            if legend:
                _label_curves(panel, x, axis, style)
            draw.remove_axis(axis, axis="y")
            draw.xlabel("x" if panel.target.name != "old_faithful" else "minutes", axis)
    return collection


def _label_curves(panel: Panel, x: Array, axis: Any, style: Style) -> None:
    """Say what each curve is next to it; of curves that share a label, only the rightmost."""
    seen: set[str] = set()
    rightmost = sorted(panel.curves, key=lambda c: -c.member.scales[0][0][0])
    for curve in rightmost:
        if curve.label in seen:
            continue
        seen.add(curve.label)
        q = np.exp(curve.member.logp(x[:, None]))
        m, s = curve.member.scales[0][0][0], curve.member.scales[0][1][0, 0]
        if curve.role == "forward":
            at = m - 1.75 * s
            style.draw.text(at - 0.15, np.interp(at, x, q) + 0.012, curve.label, axis, color=style.forward,
                            horizontal_align="right")  # fmt: skip
        elif curve.local:
            style.draw.text(m, q.max() + 0.02, curve.label, axis, color=style.reverse)
        else:
            style.draw.text(m + 1.1 * s, np.interp(m + 0.75 * s, x, q), curve.label, axis, color=style.reverse,
                            horizontal_align="left")  # fmt: skip
    p = np.exp(panel.target.logp(x[:, None]))
    left = min(m[0] for m, _ in panel.target.scales)
    style.draw.text(left, 0.25 * p.max(), "target", axis, color=style.target)


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
        collection, (axis,) = _grid(["landscape"], style, 1, (8, 4.6))
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


def _levels(q: Target, masses: Sequence[float] = (0.9, 0.5)) -> list[float]:
    """Density levels whose contours enclose the given masses, from draws."""
    density = np.exp(q.logp(q.rvs(20_000, seed=0)))
    return [float(np.quantile(density, 1 - mass)) for mass in masses]


def planes(panels: Sequence[PlanePanel], style: Style) -> PlotCollection:
    """Contours of two-dimensional targets and projections that enclose 50% and 90% of the mass.

    Parameters
    ----------
    panels : sequence of PlanePanel
    style : Style

    Returns
    -------
    PlotCollection
    """
    draw = style.draw
    with style.settings():
        collection, targets = _grid([p.title for p in panels], style, len(panels), (9, 4.6))
        for panel, axis in zip(panels, targets, strict=True):
            centre, factor = panel.forward.scales[0]
            reach = np.abs(centre) + 2.2 * np.sqrt(
                np.square(factor).sum(axis=1)
            )  # holds the ellipse with 90% of the mass
            grid = np.linspace(-1, 1, 121) * max(5.2, float(reach.max()))
            points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)

            def contour(
                q: Target,
                color: str,
                dash: str,
                width: float,
                axis: Any = axis,
                grid: Any = grid,
                points: Any = points,
            ) -> None:
                z = np.exp(q.logp(points)).reshape(len(grid), len(grid))
                extra = {"linestyles": style.dash(dash), "linewidths": width} if style.backend == "matplotlib" else {}
                draw.contour(grid, grid, z, axis, levels=_levels(q), color=color, **extra)

            z = np.exp(panel.target.logp(points)).reshape(len(grid), len(grid))
            if style.backend == "matplotlib":
                low, high = _levels(panel.target)
                axis.contourf(
                    grid,
                    grid,
                    z.T,
                    levels=[low, high, z.max() * 1.01],
                    colors=[style.target] * 2,
                    alpha=style.fill_alpha,
                )
                axis.set_aspect("equal")
            contour(panel.target, style.target, "solid", 1.0)
            contour(panel.forward, style.forward, "dashed", 1.8)
            for q in panel.reverse:
                contour(q, style.reverse, "dotted", 2.0)
            draw.scatter(panel.ends[:, 0], panel.ends[:, 1], axis, size=style.size(5), color=style.reverse,
                         marker=style.marker("dot"))  # fmt: skip
            draw.xlabel("first coordinate", axis)
            draw.ylabel("second coordinate", axis)
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
        collection, (axis,) = _grid(["loss"], style, 1, (8, 3.4))
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
