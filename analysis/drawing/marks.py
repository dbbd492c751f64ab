"""Marks, scales and the words of ticks, the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.drawing.style import Style

__all__ = ["clear", "outline", "points", "power", "short", "spread", "squeeze", "words"]


def clear(style: Style) -> str:
    """Colour of a face through which one sees."""
    return "none" if style.backend == "matplotlib" else "rgba(0, 0, 0, 0)"


def points(
    x: Any, y: Any, axis: Any, style: Style, *, color: str, marker: str = "dot", area: float, hollow: bool = False,
    width: float = 1.4, **options: Any
) -> None:  # fmt: skip
    """Draw marks at places (n,) or a single one, filled or `hollow` with a line of a `width`."""
    look = {"facecolor": clear(style), "edgecolor": color, "width": width} if hollow else {"color": color}
    style.draw.scatter(np.atleast_1d(x), np.atleast_1d(y), axis, size=area, marker=style.marker(marker), **look, **options)  # fmt: skip


def words(
    x: Any, y: Any, text: str, axis: Any, style: Style, color: str, across: str = "left", up: str = "center", **options: Any
) -> None:  # fmt: skip
    """Write words at a place, which is their left, center or right, and their top, center or bottom."""
    style.draw.text(x, y, text, axis, color=color, horizontal_align=across, vertical_align=up, **options)


def spread(values: Sequence[float], least: float) -> list[float]:
    """Move places apart, symmetrically, until neighbours have the least distance."""
    places = np.array(values, dtype=float)
    order = np.argsort(places)
    for _ in range(100):
        for i, j in pairwise(order):
            lack = least - (places[j] - places[i])
            if lack > 1e-9:
                places[i] -= lack / 2
                places[j] += lack / 2
    return [float(p) for p in places]


def outline(mean: NDArray[np.float64], cov: NDArray[np.float64], mass: float = 0.9) -> NDArray[np.float64]:
    """Return the ellipse (61, 2) that holds a mass of a Normal in the plane."""
    angles = np.linspace(0, 2 * np.pi, 61)
    circle = np.sqrt(-2 * np.log(1 - mass)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(mean + circle @ np.linalg.cholesky(cov).T)


def squeeze(x: Any, linear: float) -> Any:
    """Linear near zero, logarithmic beyond: sign(x) log10(1 + |x| / linear)."""
    return np.sign(x) * np.log10(1 + np.abs(x) / linear)


def short(value: Any) -> str:
    """Write a number as short as can be, with a minus sign."""
    return f"{value:g}".replace("-", "−")


def power(exponent: int) -> str:
    """Write a power of ten."""
    return "1" if exponent == 0 else "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
