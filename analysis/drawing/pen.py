"""ArviZ's drawing functions, with a name and numbers for what they draw: what a legend and a hover of a web page say.

Matplotlib draws as before: its figures have their words in captions. The other backends keep the name and the numbers with the trace until
`analysis.drawing.interactive` makes legend and hover of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from contourpy import LineType, contour_generator

__all__ = ["NUMBERS", "Pen", "facts_line", "name_trace", "told_of"]

Facts = Mapping[str, Any]

#: Drawing functions that take ``label`` and ``facts``; a line across a panel is no trace, and what it says is written beside it.
_NAMED = frozenset({"line", "scatter", "fill_between_y", "contour"})
_ACROSS = frozenset({"hline", "vline"})
#: Column of a Bokeh source that holds what the hover says of each point.
NUMBERS = "told"
_LETTERS = 12
_NOUGHT = 1e-12  # what rounding leaves of zero
_LEAST, _MOST = 6.0, 9.0  # pixels of a mark that one can point at


class Pen:
    """Drawing functions of a backend of ArviZ, by their names there.

    ``line``, ``scatter``, ``fill_between_y`` and ``contour`` take two more options: ``label``, the name in legend and hover, by which what
    has the same one is shown and hidden together; and ``facts``, what the hover says besides, by name: a number or words for all of it, or
    one for each point (n,). What has no label says nothing. ``size`` of a mark is an area in square points.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._module = import_module(f"arviz_plots.backend.{backend}")

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if name == "contour" and self._backend != "matplotlib":
            return self._contour
        if name in _NAMED | _ACROSS:
            return partial(self._named, function, name)
        return partial(self._words, function) if name == "text" and self._backend != "matplotlib" else function

    def _named(
        self, function: Callable[..., Any], name: str, *args: Any, label: str | None = None, facts: Facts | None = None,
        **options: Any
    ) -> Any:  # fmt: skip
        if self._backend == "matplotlib" or name in _ACROSS:
            return function(*args, **options)
        if self._backend == "bokeh":
            options.pop("zorder", None)
        if name == "scatter" and "size" in options:
            pixels = float(np.clip(np.sqrt(options["size"]), _LEAST, _MOST))
            options["size"] = pixels**2 if self._backend == "plotly" else pixels
        if self._backend == "bokeh" and options.get("marker") == "x":  # which has no face
            options.setdefault("width", 2.2)
        target = args[-1]
        drawn = target.figure.data if self._backend == "plotly" else target.renderers
        before = len(drawn)
        artist = function(*args, **options)
        if label is not None:
            added = (target.figure.data if self._backend == "plotly" else target.renderers)[before:]
            for trace in added:
                name_trace(trace, self._backend, label, facts or {})
        return artist

    def _contour(self, x: Any, y: Any, density: Any, target: Any, *, levels: Any, **options: Any) -> None:
        """Contours as lines: a page then holds them and not the grid, and they have a dash and a hover."""
        found = contour_generator(x, y, np.asarray(density).T, line_type=LineType.ChunkCombinedNan)
        for level in np.atleast_1d(levels):
            points = found.lines(float(level))[0][0]
            if points is not None:
                self.line(points[:, 0], points[:, 1], target, **options)

    def _words(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if options.get("vertical_align") == "center":  # matplotlib's word
            options["vertical_align"] = "middle"
        options.pop("zorder", None)
        return function(*args, **{"size": _LETTERS, **options})


def name_trace(trace: Any, backend: str, label: str, facts: Facts) -> None:
    """Keep a name and numbers with a trace of plotly or a renderer of Bokeh."""
    common, each = facts_line(facts), told_of(facts)
    if backend == "plotly":
        trace.update(name=label, legendgroup=label, meta={"facts": common})
        if each is not None:
            trace.customdata = each
        return
    trace.name, trace.tags = label, [common]
    if each is not None:
        trace.data_source.data[NUMBERS] = each


def facts_line(facts: Facts) -> str:
    """What is the same for all of a trace, in a line.

    Examples
    --------
    >>> facts_line({"mean": -2.98431, "sd": 1.0, "KL, nats": [0.1, 0.2]})
    'mean −2.984, sd 1'
    """
    return ", ".join(f"{name} {_number(value)}" for name, value in facts.items() if np.ndim(value) == 0)


def told_of(facts: Facts) -> list[str] | None:
    """What differs between points, a line for each; None if nothing does.

    Examples
    --------
    >>> told_of({"mean": 1.0, "KL": [0.12345, 2.0], "of": ["a", "b"]})
    ['KL 0.1235, of a', 'KL 2, of b']
    """
    each = {name: np.asarray(value) for name, value in facts.items() if np.ndim(value) > 0}
    if not each:
        return None
    return [", ".join(f"{n} {_number(v)}" for n, v in zip(each, row, strict=True)) for row in zip(*each.values(), strict=True)]  # fmt: skip


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = 0.0 if abs(value) < _NOUGHT else float(value)
    return f"{number:.4g}".replace("-", "−")
