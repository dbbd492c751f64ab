"""Drawings of what a KL divergence is made of, of its fall to zero, and of the errors of its estimators.

KL(p||q) has the colour of forward KL and KL(q||p) that of reverse KL: p is the target of the rest of the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from numpy.typing import NDArray

from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style
from models.targets import Target

__all__ = ["PATH_TITLES", "Column", "Errors", "Row", "asymmetry", "estimators", "path"]

Array = NDArray[np.float64]

PATH_TITLES = {"one_mode": "q on one mode", "matched": "q with the moments of p"}
_ROLES = {"pq": "forward", "qp": "reverse"}
_PATH_NAMES = {"pq": "KL(p‖qₜ)", "qp": "KL(qₜ‖p)"}
_LINEAR = 0.01  # nats within which the scale of errors is linear
_MARKERS = {
    "matplotlib": {"dot": "o", "diamond": "D"},
    "plotly": {"dot": "circle", "diamond": "diamond"},
    "bokeh": {"dot": "circle", "diamond": "diamond"},
}


# --- asymmetry -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Column:
    """One pair of densities with its two divergences in nats."""

    title: str
    p: Target
    q: Target
    forward: float
    reverse: float


def integrand(p: Target, q: Target, x: Array) -> Array:
    """P log(p/q) at points x (n,)."""
    log_p, log_q = p.logp(x[:, None]), q.logp(x[:, None])
    return np.asarray(np.exp(log_p) * (log_p - log_q))


def signed_areas(p: Target, q: Target) -> tuple[float, float]:
    """Area of p log(p/q) above and below the axis; far beyond what is drawn, for the tails count."""
    x, step = np.linspace(-40, 40, 16_001, retstep=True)
    y = integrand(p, q, x)
    return float(np.maximum(y, 0).sum() * step), float(np.minimum(y, 0).sum() * step)


def asymmetry(columns: Sequence[Column], style: Style) -> PlotCollection:
    """Densities of each pair, and below them the integrands of KL(p||q) and of KL(q||p).

    Parameters
    ----------
    columns : sequence of Column
        Side by side.
    style : Style

    Returns
    -------
    PlotCollection
    """
    x = np.linspace(-11, 11, 881)
    titles = [c.title for c in columns]
    titles += [f"KL(p‖q) = {c.forward:.3f} nats" for c in columns] + [
        f"KL(q‖p) = {c.reverse:.3f} nats" for c in columns
    ]
    with style.settings():
        collection, axes = panel_grid(titles, style, len(columns), (4.6 * len(columns), 7.2))
        rows = [axes[i : i + len(columns)] for i in range(0, len(axes), len(columns))]
        for column, top, middle, bottom in zip(columns, *rows, strict=True):
            _densities(column, x, top, style)
            for pair, role, axis in (
                ((column.p, column.q), "forward", middle),
                ((column.q, column.p), "reverse", bottom),
            ):
                _signed_area(x, integrand(*pair, x), signed_areas(*pair), role, axis, style)
        for axis, label in ((rows[0][0], "density"), (rows[1][0], "p log(p / q)"), (rows[2][0], "q log(q / p)")):
            style.draw.ylabel(label, axis)
        for axis in axes:
            ticks = np.arange(-9, 10, 3)
            style.draw.xticks(ticks, [f"{t}".replace("-", "−") for t in ticks], axis)
        for axis in rows[-1]:
            style.draw.xlabel("x", axis)
    return collection


def _densities(column: Column, x: Array, axis: Any, style: Style) -> None:
    p, q = (np.exp(t.logp(x[:, None])) for t in (column.p, column.q))
    style.draw.fill_between_y(x, np.zeros_like(x), p, axis, color=style.target, alpha=style.fill_alpha)
    style.draw.line(x, p, axis, color=style.target, width=1.4)
    style.draw.line(x, q, axis, color=style.ink, width=2.2)
    left = int(p[x < 0].argmax())
    style.draw.text(x[left], 0.18 * p[left], "p", axis, color=style.ink, size=13)
    # Where q stands clear of p.
    at = int((q - p).argmax())
    style.draw.text(x[at], q[at] + 0.1 * max(p.max(), q.max()), "q", axis, color=style.ink, size=13)
    style.draw.ylim((0, 1.25 * float(max(p.max(), q.max()))), axis)


def _signed_area(x: Array, y: Array, areas: tuple[float, float], role: str, axis: Any, style: Style) -> None:
    color, zero = style.color(role), np.zeros_like(x)
    style.draw.fill_between_y(x, zero, np.maximum(y, 0), axis, color=color, alpha=0.45)
    style.draw.fill_between_y(x, zero, np.minimum(y, 0), axis, color=color, alpha=0.15)
    style.draw.line(x, y, axis, color=color, width=1.8)
    style.draw.hline(0, axis, color=style.faint, width=0.8)
    low, high = float(y.min()), float(y.max())
    span = high - low
    style.draw.ylim((low - 0.26 * span, high + 0.3 * span), axis)
    for area, word, height in zip(areas, ("above", "below"), (high + 0.19 * span, low - 0.15 * span), strict=True):
        size = f"{abs(area):.2f}"
        mark = "" if float(size) == 0 else "+" if area > 0 else "−"
        style.draw.text(-10.8, height, f"{word} the axis: {mark}{size}", axis, color=style.ink, size=10.5,
                        horizontal_align="left")  # fmt: skip


# --- path ------------------------------------------------------------------------------------------------------------


def path(data: xr.Dataset, titles: Mapping[str, str], style: Style) -> PlotCollection:
    """Both divergences along a path from q to p, on logarithmic scales.

    Parameters
    ----------
    data : Dataset
        ``kl(path, rest, direction)`` and ``chi2(path)``.
    titles : mapping of str to str
        By name of the path.
    style : Style

    Returns
    -------
    PlotCollection
    """
    rest = data["rest"].to_numpy()
    x = np.log10(rest)
    with style.settings():
        collection, axes = panel_grid(list(titles.values()), style, len(titles), (4.6 * len(titles), 4.4))
        for name, axis in zip(titles, axes, strict=True):
            chi2 = float(data["chi2"].sel(path=name))
            if np.isfinite(chi2):
                style.draw.line(x, np.log10(chi2 / 2 * rest**2), axis, color=style.faint, width=5, alpha=0.45)
                style.draw.text(-2.9, -7.3, "½ (1 − t)² χ²", axis, color=style.ink, horizontal_align="left")
            curves = {d: np.log10(data["kl"].sel(path=name, direction=d).to_numpy()) for d in _ROLES}
            for d, dash in (("pq", "dashed"), ("qp", "dotted")):
                style.draw.line(x, curves[d], axis, color=style.color(_ROLES[d]), width=2.2, linestyle=style.dash(dash))
            _label_path(x, curves, axis, style)
            _log_ticks(axis, style)
            style.draw.xlabel("1 − t, the part of q that is left", axis)
        style.draw.ylabel("divergence, nats", axes[0])
    return collection


def _label_path(x: Array, curves: Mapping[str, Array], axis: Any, style: Style) -> None:
    """Name each line and its final slope: the upper line above its end, the lower line below."""
    slopes = {d: (y[-1] - y[-3]) / (x[-1] - x[-3]) for d, y in curves.items()}
    apart = abs(curves["pq"][-1] - curves["qp"][-1]) > 0.3
    upper = max(curves, key=lambda d: curves[d][-1 if apart else 0])
    for d, y in curves.items():
        up = d == upper
        label = f"{_PATH_NAMES[d]}, slope {slopes[d]:.2f}"
        if apart:
            at = -2.0
            height = float(np.interp(at, x[::-1], y[::-1]))
            style.draw.text(at, height + (0.8 if up else -0.8), label, axis, color=style.color(_ROLES[d]),
                            horizontal_align="right" if up else "left")  # fmt: skip
        else:
            style.draw.text(
                -1.5, 0.6 if up else -0.25, label, axis, color=style.color(_ROLES[d]), horizontal_align="right"
            )


def _log_ticks(axis: Any, style: Style) -> None:
    def power(k: int) -> str:
        return "1" if k == 0 else "10" + str(k).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))

    style.draw.xticks(np.arange(-4, 1), [power(k) for k in range(-4, 1)], axis)
    style.draw.yticks(np.arange(-8, 2, 2), [power(k) for k in range(-8, 2, 2)], axis)
    style.draw.xlim((-4.1, 0.1), axis)
    style.draw.ylim((-8.7, 1.4), axis)


# --- estimators ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Errors:
    """Differences of two estimators from numerical integration, in nats, with half lengths of their bars."""

    monte_carlo: float
    monte_carlo_bar: float
    arviz: float
    arviz_bar: float
    has_variance: bool = True

    @classmethod
    def of(cls, kl: Array, mc: Array, mc_se: Array, arviz: Array, *, has_variance: bool) -> Errors:
        """Build from a divergence, a Monte Carlo mean with its standard error, and repeated calls of ArviZ."""
        bar = 2 * float(np.std(arviz, ddof=1))
        return cls(float(mc - kl), 2 * float(mc_se), float(np.mean(arviz) - kl), bar, has_variance)


@dataclass(frozen=True)
class Row:
    """One pair: errors of the estimates of KL(p||q) and of KL(q||p)."""

    title: str
    forward: Errors
    reverse: Errors


def squeeze(x: Any) -> Any:
    """Linear near zero, logarithmic beyond: sign(x) log10(1 + |x| / linear)."""
    return np.sign(x) * np.log10(1 + np.abs(x) / _LINEAR)


def estimators(rows: Sequence[Row], style: Style) -> PlotCollection:
    """Errors of Monte Carlo and of ``az.kl_divergence``, one line for each divergence.

    Parameters
    ----------
    rows : sequence of Row
        From the top.
    style : Style

    Returns
    -------
    PlotCollection
    """
    with style.settings():
        collection, (axis,) = panel_grid(["errors"], style, 1, (8.6, 6.4))
        style.draw.vline(0, axis, color=style.faint, width=1.2)
        for i, row in enumerate(rows):
            for role, errors, shift in (("forward", row.forward, 0.2), ("reverse", row.reverse, -0.2)):
                _errors(errors, -i + shift, style.color(role), axis, style)
            if i:
                style.draw.hline(-i + 0.5, axis, color=style.faint, width=0.4, alpha=0.5)
        ticks = np.array([-10, -1, -0.1, 0, 0.1, 1])
        style.draw.xticks(squeeze(ticks), [f"{t:g}".replace("-", "−") for t in ticks], axis)
        style.draw.yticks(-np.arange(len(rows)), [row.title for row in rows], axis)
        style.draw.ylim((-len(rows) + 0.4, 1.5), axis)
        style.draw.xlim((float(squeeze(-14)), float(squeeze(1.6))), axis)
        style.draw.xlabel("estimate minus numerical integration, nats", axis)
        _estimator_key(axis, style)
    return collection


def _errors(errors: Errors, y: float, color: str, axis: Any, style: Style) -> None:
    hollow = {
        "facecolor": "none" if style.backend == "matplotlib" else "rgba(0, 0, 0, 0)",
        "edgecolor": color,
        "width": 1.5,
    }
    for centre, bar, marker, size, alpha, filled in (
        (errors.arviz, errors.arviz_bar, "diamond", 7.0, 0.6, True),
        (errors.monte_carlo, errors.monte_carlo_bar, "dot", 5.0, 1.0, errors.has_variance),
    ):
        ends = squeeze(np.array([centre - bar, centre + bar]))
        offset = 0.09 if marker == "dot" else -0.09
        style.draw.line(ends, np.array([y, y]) + offset, axis, color=color, width=1.3, alpha=alpha)
        look = {"color": color} if filled else hollow
        style.draw.scatter(np.array([squeeze(centre)]), np.array([y + offset]), axis, size=size**2, alpha=alpha if filled else 1.0,
                           marker=_MARKERS[style.backend][marker], **look)  # fmt: skip


def _estimator_key(axis: Any, style: Style) -> None:
    """What the markers mean, in a strip above the rows."""
    for x, marker, text in ((-11.0, "dot", "Monte Carlo"), (-0.9, "diamond", "az.kl_divergence")):
        place = float(squeeze(x))
        style.draw.scatter(np.array([place]), np.array([1.1]), axis, size=36, color=style.ink,
                           marker=_MARKERS[style.backend][marker])  # fmt: skip
        style.draw.text(place + 0.12, 1.1, text, axis, color=style.ink, size=10, horizontal_align="left")
    for x, role, text in ((0.03, "forward", "KL(p‖q)"), (0.35, "reverse", "KL(q‖p)")):
        style.draw.text(float(squeeze(x)), 1.1, text, axis, color=style.color(role), size=10, horizontal_align="left")
