"""Figures of plotly and Bokeh made to play with: a legend one can click, a hover that says names and numbers, pages that share one library."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from analysis.drawing.pen import NUMBERS, name_trace
from analysis.drawing.style import Style

__all__ = ["finish", "name_lines", "reader", "write_page"]

_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_LETTER = 6.6  # pixels
_DIGITS = 4

#: What an axis says of places: words of each of them, or None if they are the numbers themselves.
Reader = Callable[[Any], list[str]]


# --- what axes say ---------------------------------------------------------------------------------------------------


def reader(ticks: Sequence[float] | None, labels: Sequence[str] | None) -> Reader | None:
    """How places on an axis are read, from its ticks and their labels.

    Returns
    -------
    function or None
        Of places (n,) to words: numbers where the labels are those of a logarithmic scale, the nearest label where they are no numbers, and
        nothing where neither is so. None where places are read as they are.

    Examples
    --------
    >>> reader([-1, 0, 1], ["0.1", "1", "10"])([0.5])
    ['3.162']
    >>> reader([0, 1], ["first", "second"])([0.9])
    ['second']
    """
    if ticks is None or labels is None or len(ticks) == 0:
        return None
    at, values = np.asarray(ticks, dtype=float), [_value(label) for label in labels]
    if all(value is None for value in values):
        return _nearest(at, labels) if any(label.strip() for label in labels) else _nothing
    numbers = np.array([np.nan if value is None else value for value in values])
    if np.isnan(numbers).any():
        return _nearest(at, labels)
    if np.allclose(numbers, at, rtol=1e-2):
        return None
    for back in (np.exp, lambda places: 10.0 ** np.asarray(places)):
        if np.allclose(back(at), numbers, rtol=1e-2):
            return lambda places, back=back: [
                f"{v:.{_DIGITS}g}".replace("-", "−") for v in back(np.asarray(places, dtype=float))
            ]  # type: ignore[misc]
    return _nothing


def _value(label: str) -> float | None:
    power = re.fullmatch(r"10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", label)
    if power:
        return float(10.0 ** int(power[1].translate(_SUPERSCRIPTS)))
    try:
        return float(label.replace("−", "-").replace(",", ""))
    except ValueError:
        return None


def _nearest(ticks: Any, labels: Sequence[str]) -> Reader:
    words = [" ".join(label.replace("<br>", " ").split()) for label in labels]
    return lambda places: [words[int(np.argmin(np.abs(ticks - p)))] for p in np.asarray(places, dtype=float)]


def _nothing(places: Any) -> list[str]:
    return [""] * len(np.atleast_1d(places))


def _titles(given: Sequence[str | None], fallback: str) -> list[str]:
    """Titles of axes; one without has that of the others if they agree."""
    said = {title for title in given if title}
    shared = said.pop() if len(said) == 1 else fallback
    return [title or shared for title in given]


def _prefix(title: str, name: str, said: Sequence[str]) -> str:
    """What stands before the words of an axis: its title, unless it has none and they say enough."""
    return "" if title == name and any(_value(word) is None for word in said) else f"{_escaped(title)}: "


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


# --- legend and hover ------------------------------------------------------------------------------------------------


def finish(figure: Any, style: Style) -> Any:
    """Return a figure of plotly or Bokeh, as ArviZ made it, with a legend, a hover and the colours of its theme."""
    if style.backend == "bokeh":
        return _finish_bokeh(figure, style)
    figure = getattr(figure, "figure", figure)
    _finish_plotly(figure, style)
    return figure


def _finish_plotly(figure: Any, style: Style) -> None:
    axes = {name: _plotly_axes(figure, name) for name in ("x", "y")}
    # Of a name, a trace that the legend shows: marks if there are any, for they differ most.
    samples: dict[str, Any] = {}
    for trace in figure.data:
        for name in ("x", "y"):  # to seven digits: a page is half as long
            places = np.asarray(getattr(trace, name))
            if places.dtype == np.float64:
                trace[name] = _clean(places).astype(np.float32)
        if not trace.legendgroup:
            trace.update(hoverinfo="skip", showlegend=False)
            continue
        name = trace.name
        trace.showlegend = False
        if trace.mode == "lines":
            trace.line.simplify = False
            if trace.line.width == 0:  # of an area
                trace.hoverinfo = "skip"
                continue
        _plotly_hover(trace, axes)
        if name not in samples or (trace.mode == "markers" and samples[name].mode != "markers"):
            samples[name] = trace
    for trace in samples.values():
        trace.showlegend = True
    legend = _width(set(samples))
    figure.update_layout(
        width=(figure.layout.width or 800) + legend, hovermode="closest", paper_bgcolor=style.paper, plot_bgcolor=style.paper,
        font_color=style.ink, showlegend=True, margin={"l": 70, "r": 20 + legend, "t": 50, "b": 60, "autoexpand": True},
        legend={"x": 1.0, "xanchor": "left", "y": 1.0, "font": {"size": 12}, "groupclick": "togglegroup"},
        hoverlabel={"bgcolor": style.paper, "font": {"color": style.ink}, "namelength": -1},
    )  # fmt: skip
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(gridcolor=_mixed(style, 0.14), zerolinecolor=_mixed(style, 0.25), linecolor=style.faint)


def _clean(places: Any) -> Any:
    """Zero for what rounding left of it."""
    return np.where(np.abs(places) < 1e-12, 0.0, places)


def _width(names: set[str]) -> int:
    return round(_LETTER * max((len(name) for name in names), default=0)) + 60 if names else 0


def _mixed(style: Style, share: float) -> str:
    faint, paper = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (style.faint, style.paper))
    return "#" + "".join(f"{round(v):02x}" for v in share * faint + (1 - share) * paper)


def _plotly_axes(figure: Any, name: str) -> dict[str, tuple[str, Reader | None]]:
    """Title and reader of every axis, by its name in traces."""
    keys = [key for key in figure.layout if re.fullmatch(rf"{name}axis\d*", key)]
    axes = [figure.layout[key] for key in keys]
    titles = _titles([axis.title.text for axis in axes], name)
    read = [reader(axis.tickvals, axis.ticktext) for axis in axes]
    return {key.replace("axis", ""): pair for key, pair in zip(keys, zip(titles, read, strict=True), strict=True)}


def _plotly_hover(trace: Any, axes: dict[str, dict[str, tuple[str, Reader | None]]]) -> None:
    facts = (trace.meta or {}).get("facts", "")
    lines = [f"<b>{_escaped(trace.name)}</b>", *([_escaped(facts)] if facts else [])]
    columns = []
    if trace.customdata is not None:
        columns.append([_escaped(str(told)) for told in trace.customdata])
        lines.append(f"%{{customdata[{len(columns) - 1}]}}")
    for name in ("x", "y"):
        title, read = axes[name][getattr(trace, f"{name}axis") or name]
        if read is None:
            lines.append(f"{_escaped(title)}: %{{{name}:.{_DIGITS}~g}}")
            continue
        said = _read(read, getattr(trace, name), trace.mode == "lines" or trace.fill == "tonexty")
        if said is not None:
            columns.append([_escaped(word) for word in said])
            lines.append(f"{_prefix(title, name, said)}%{{customdata[{len(columns) - 1}]}}")
    trace.customdata = [list(row) for row in zip(*columns, strict=True)] if columns else None
    trace.hovertemplate = "<br>".join(lines) + "<extra></extra>"


def _read(read: Reader, places: Any, line: bool) -> list[str] | None:
    """What an axis says of places; None if nothing, or if it has names and this is a line between them."""
    words = read(np.atleast_1d(np.asarray(places, dtype=float)))
    if not any(words):
        return None
    return None if line and any(_value(word) is None for word in words) else words


def _panels(figure: Any) -> list[Any]:
    """Every plot of a Bokeh layout, in reading order."""
    from bokeh.models import Plot

    if isinstance(figure, Plot):
        return [figure]
    panels = []
    for child in figure.children:
        panels += _panels(child[0] if isinstance(child, tuple) else child)
    return panels


def _finish_bokeh(figure: Any, style: Style) -> Any:
    from bokeh.layouts import row

    panels = _panels(figure)
    titles = {
        n: _titles([getattr(p, f"{n}axis").axis_label if p.axis else None for p in panels], n) for n in ("x", "y")
    }
    named: dict[str, list[Any]] = {}
    for i, panel in enumerate(panels):
        _bokeh_theme(panel, style)
        for drawn in panel.renderers:
            for name, places in drawn.data_source.data.items():
                if getattr(places, "dtype", None) == np.float64:
                    drawn.data_source.data[name] = _clean(places).astype(np.float32)
            if not drawn.name:
                continue
            drawn.nonselection_glyph = drawn.muted_glyph = None  # nothing is selected: a page is half as long
            _bokeh_hover(panel, drawn, {name: titles[name][i] for name in titles})
            named.setdefault(drawn.name, []).append(drawn)
    return row(figure, _bokeh_legend(named, style)) if named else figure


def _bokeh_legend(named: dict[str, list[Any]], style: Style) -> Any:
    """A panel of nothing but the legend: it stands for all panels, and takes no room from any."""
    bokeh: Any = import_module("bokeh.models")
    width, height = _width(set(named)), 21 * len(named) + 50
    panel = import_module("bokeh.plotting").figure(
        width=width, height=height, toolbar_location=None, outline_line_color=None, tools=""
    )
    panel.axis.visible = panel.grid.visible = False
    panel.background_fill_color = panel.border_fill_color = style.paper
    panel.x_range = panel.y_range = bokeh.Range1d(0, 1)
    items = []
    for name, drawn in named.items():
        kinds = {type(one.glyph): one for one in reversed(drawn)}  # a line with marks is shown with its mark
        samples = [
            # A legend draws what has a point, here one out of sight.
            panel.add_glyph(bokeh.ColumnDataSource({key: [9.0] for key in one.data_source.data}), one.glyph.clone())
            for one in reversed(kinds.values())
        ]
        for one in drawn:
            samples[0].js_link("visible", one, "visible")
        items.append(bokeh.LegendItem(label=name, renderers=samples))
    panel.add_layout(
        bokeh.Legend(items=items, click_policy="hide", label_text_font_size="12px", label_text_color=style.ink, spacing=0, padding=0, margin=0,
               location="top_left", background_fill_alpha=0, border_line_alpha=0, inactive_fill_color=style.paper)
    )  # fmt: skip
    return panel


def _bokeh_theme(panel: Any, style: Style) -> None:
    panel.background_fill_color = panel.border_fill_color = style.paper
    panel.grid.grid_line_color = _mixed(style, 0.14)
    panel.axis.axis_label_text_color = panel.axis.major_label_text_color = style.ink
    panel.axis.axis_line_color = style.faint


def _bokeh_hover(panel: Any, drawn: Any, titles: dict[str, str]) -> None:
    from bokeh.models import HoverTool

    data, glyph = drawn.data_source.data, drawn.glyph
    lines = [f"<b>{_escaped(drawn.name)}</b>", *(_escaped(tag) for tag in drawn.tags if tag)]
    if NUMBERS in data:
        lines.append(f"@{NUMBERS}")
    formatters: dict[str, Any] = {}
    point = type(glyph).__name__ == "Scatter"
    for name in ("x", "y"):
        axis = getattr(panel, f"{name}axis")[0]
        ticks = getattr(axis.ticker, "ticks", None)
        labels = axis.major_label_overrides
        read = reader(list(ticks), [str(labels.get(t, "")) for t in ticks]) if ticks is not None and labels else None
        places = data.get(name)
        if read is not None and places is not None:
            said = _read(read, places, not point)
            if said is None:
                continue
            data[f"said_{name}"] = said
            lines.append(f"{_prefix(titles[name], name, said)}@said_{name}")
        elif read is None:
            field = f"@{name}" if point else f"${name}"
            formatters[field] = "printf"
            lines.append(f"{_escaped(titles[name])}: {field}{{%.{_DIGITS}g}}")
    text = "<div style='font-size:12px'>" + "<br>".join(lines) + "</div>"
    for tool in panel.tools:
        if isinstance(tool, HoverTool) and tool.tooltips == text:  # of another piece of the same
            tool.renderers = [*tool.renderers, drawn]
            return
    panel.add_tools(HoverTool(renderers=[drawn], tooltips=text, formatters=formatters, visible=False, limit=3))


def name_lines(axis: Any, style: Style, labels: Sequence[str], color: str | None = None) -> None:
    """Name the longest lines of a panel that ArviZ drew as a whole, in the order in which they were drawn; all of one colour, if there is one."""
    if style.backend == "plotly":
        lines = [
            t for t in axis.figure.select_traces(row=axis.row, col=axis.col) if t.mode == "lines" and t.fill is None
        ]
        sizes = [len(line.x) for line in lines]
    else:
        lines = [r for r in axis.renderers if type(r.glyph).__name__ in ("Line", "Step")]
        sizes = [len(line.data_source.data["x"]) for line in lines]
    longest = sorted(sorted(range(len(lines)), key=lambda i: -sizes[i])[: len(labels)])
    for i, label in zip(longest, labels, strict=True):
        name_trace(lines[i], style.backend, label, {})
        if color is not None and style.backend == "plotly":
            lines[i].line.color = color
        elif color is not None:
            lines[i].glyph.line_color = color


# --- pages -----------------------------------------------------------------------------------------------------------


def write_page(figure: Any, path: Path, style: Style) -> Path:
    """Write a finished figure as a page, and beside it, once, the library that pages of this backend share."""
    if style.backend == "plotly":
        source = import_module("plotly.offline").get_plotlyjs()  # a package without types
        name = _share("plotly", version("plotly"), source.encode(), path.parent)
        page = figure.to_html(
            include_plotlyjs=name, full_html=False, div_id="figure", config={"displaylogo": False, "responsive": False}
        )
        path.write_text(_page(path.stem, style, page), encoding="utf-8")
        return path
    from bokeh.embed import components
    from bokeh.util.paths import bokehjs_path

    script_file = (Path(bokehjs_path()) / "js" / "bokeh.min.js").read_bytes()
    name = _share("bokeh", version("bokeh"), script_file, path.parent)
    script, division = components(figure)
    path.write_text(_page(path.stem, style, f'<script src="{name}"></script>\n{division}\n{script}'), encoding="utf-8")
    return path


def _page(title: str, style: Style, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)}</title>\n<style>body{{margin:16px;background:{style.paper};color:{style.ink}}}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _share(name: str, version: str, source: bytes, folder: Path) -> str:
    """Write a library to a folder if it is not there; a file of that name that is another one stays, and ours is named by its version."""
    for file in (f"{name}.min.js", f"{name}-{version}.min.js"):
        path = folder / file
        if not path.exists():
            path.write_bytes(source)
        if path.read_bytes() == source:
            return file
    path.write_bytes(source)  # of this name and version, and damaged
    return path.name
