"""An interactive figure: two sliders over a table of exact optima for the target w N(-a, 1) + (1 - w) N(a, 1).

The table holds parameters, not densities: the page computes those itself, so a fine table stays small. Everything that
the page shows at first is written here, so that a reader without scripts, and the formats without any, have the figure
at its initial position. `reports/templates/explorer.js` repeats the drawing and the words for every other position.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import count, pairwise
from string import Template
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from analysis.site.figure import Figure, Placed
from models.errors import InputError

__all__ = ["Explorer"]

_MINUS, _NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
_WIDTH, _HEIGHT, _STEPS, _TAIL = 720, 280, 200, 3.5
_KL_ROUNDING = 1e-6

# The four kinds of curve: label and line, in the order in which they are drawn.
_LINES: Mapping[str, tuple[str, str]] = {
    "target": ("target", 'stroke-width="1.4"'),
    "forward": ("forward", 'fill="none" stroke-width="2.6" stroke-dasharray="10 4.5"'),
    "local": ("reverse, local", 'fill="none" stroke-width="1.7" stroke-dasharray="1.7 2.6"'),
    "global": ("reverse, global", 'fill="none" stroke-width="3.2" stroke-linecap="round" stroke-dasharray="0.1 5.6"'),
}
_PALETTES = {
    "light": {"target": "#4d4d4d", "forward": "#0072b2", "reverse": "#d55e00", "quiet": "#545c66", "rule": "#d5dae0"},
    "dark": {"target": "#c8c8c8", "forward": "#56b4e9", "reverse": "#e69f00", "quiet": "#a3acb8", "rule": "#39414a"},
}
# Of the last family typst has a copy; browsers find an earlier one.
_STILL_STYLE = Template(
    'text { font: 13px system-ui, "Segoe UI", Roboto, Arial, "New Computer Modern", sans-serif; fill: $quiet }'
    " .target { fill: $target; fill-opacity: 0.24; stroke: $target } .forward { stroke: $forward }"
    " .local, .global { stroke: $reverse } .grid { stroke: $rule } .axis { stroke: $quiet }"
)


@dataclass(frozen=True)
class Explorer(Placed):
    r"""Sliders over the separation a and the weight w of the target w N(-a, 1) + (1 - w) N(a, 1).

    In HTML the figure is a widget that works offline and by keyboard; elsewhere it is a drawing of the initial position.

    Parameters
    ----------
    name : str
        Lower-case letters, digits, ``-`` and ``_``. Unique in a report.
    table : mapping
        ``separations`` (ascending), ``weights`` (ascending, between 0 and 1), ``initial`` (``a`` and ``w``, both in the
        table) and ``cells``: for each separation, for each weight, ``forward`` as [mu, sigma, kl] and ``reverse`` as a
        list of [mu, sigma, kl, is_global], minima only, lowest KL first. Divergences are in nats.
    alt : str
        What the figure shows, in words; the numbers of the position are added.
    caption : str
        Markdown; may hold maths and citations.

    Raises
    ------
    InputError
        If a field is empty or malformed; the message names the place in the table.

    Examples
    --------
    >>> one = {"forward": [0, 3.162278, 0.4620], "reverse": [[-3, 1.0, 0.6888, 1], [3, 1.0, 0.6888, 1]]}
    >>> table = {"separations": [3.0], "weights": [0.5], "initial": {"a": 3.0, "w": 0.5}, "cells": [[one]]}
    >>> Explorer("explorer", table, alt="Densities.", caption="Optima.").fallback.name
    'explorer'
    """

    name: str
    table: Mapping[str, Any]
    alt: str
    caption: str
    script: ClassVar[str | None] = "explorer.js"

    def __post_init__(self) -> None:
        """Refuse what would make a broken figure."""
        super().__post_init__()
        try:
            _Table.model_validate(self.table)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(
                "."
            )
            raise InputError(f"figure {self.name!r}: table: {place}{': ' if place else ''}{first['msg']}") from None

    @property
    def fallback(self) -> Figure:
        """The figure at its initial position, for formats that cannot be interactive."""
        state = _state(self.table)
        light, dark = (_still(state, _PALETTES[theme]).encode() for theme in ("light", "dark"))
        caption = f"{self.caption.strip()} Shown at {state.separation}, {state.weight}. "
        caption += "The HTML report has this figure with a slider for each of the two."
        return Figure(self.name, light, dark, alt=f"{self.alt.strip()} {state.words}", caption=caption)

    def body(self) -> str:
        """Return the placeholder of the widget."""
        return f"<!--explorer:{self.name}-->"

    def embed(self, page: str) -> str:
        """Return the page with the widget in its place."""
        return page.replace(self.body(), self.widget())

    def widget(self) -> str:
        """Return the widget at its initial position, with the table that its script reads."""
        state = _state(self.table)
        alt = " ".join(self.alt.split())
        label = html.escape(f"{alt} {state.words}")
        return (
            f'<div class="explorer" id="{self.name}-explorer">\n{_controls(self.name, state)}'
            f'<svg class="explorer-drawing" role="img" aria-label="{label}">\n{_plot(state)}</svg>\n'
            f'<div class="explorer-facts">\n{_numbers(state)}'
            f'<p class="explorer-summary" role="status" aria-live="polite">{html.escape(state.summary)}</p>\n</div>\n'
            f'<script type="application/json">{_data(state, alt)}</script>\n</div>'
        )


# The table -----------------------------------------------------------------------------------------------------------


class _Checked(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, strict=True)


_Real = Annotated[float, Field(strict=True)]
_Kl = Annotated[float, Field(ge=-_KL_ROUNDING)]


class _Start(_Checked):
    a: _Real
    w: _Real


class _Cell(_Checked):
    forward: Annotated[tuple[_Real, PositiveFloat, _Kl], Field(strict=False)]
    reverse: Annotated[
        list[Annotated[tuple[_Real, PositiveFloat, _Kl, Literal[0, 1]], Field(strict=False)]], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _lowest_first(self) -> Self:
        if self.reverse[0][3] != 1:
            raise ValueError("the first reverse minimum, the lowest, must be global (is_global = 1)")
        if any(after[2] < before[2] - _KL_ROUNDING or after[3] > before[3] for before, after in pairwise(self.reverse)):
            raise ValueError("reverse minima must come lowest KL first, global before local")
        return self


class _Table(_Checked):
    separations: Annotated[list[PositiveFloat], Field(min_length=1)]
    weights: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]
    initial: _Start
    cells: list[list[_Cell]]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, values, start in (
            ("separations", self.separations, self.initial.a),
            ("weights", self.weights, self.initial.w),
        ):
            if any(after <= before for before, after in pairwise(values)):
                raise ValueError(f"{name} must ascend")
            if not any(math.isclose(start, value, abs_tol=1e-9) for value in values):
                raise ValueError(
                    f"the initial position {start:g} is not among the {name}: {', '.join(f'{v:g}' for v in values)}"
                )
        if [len(row) for row in self.cells] != [len(self.weights)] * len(self.separations):
            raise ValueError("cells need a row for each separation, with a cell for each weight")
        return self


# The state of the figure ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """The rounded table at one position, and the words for it."""

    separations: list[float]
    weights: list[float]
    cells: list[list[list[Any]]]  # [forward, reverse] for each separation, for each weight
    row: int
    column: int

    @property
    def a(self) -> float:
        return self.separations[self.row]

    @property
    def w(self) -> float:
        return self.weights[self.column]

    @property
    def forward(self) -> list[float]:
        """Mean, standard deviation and KL of the forward minimum."""
        return list(self.cells[self.row][self.column][0])

    @property
    def reverse(self) -> list[list[float]]:
        """The same of every reverse minimum, and whether it is global."""
        return list(self.cells[self.row][self.column][1])

    @property
    def target(self) -> tuple[float, float]:
        """Mean and standard deviation of the target."""
        mean = self.a * (1 - 2 * self.w)
        return mean, math.sqrt(1 + self.a**2 - mean**2)

    @property
    def slots(self) -> int:
        """Most reverse minima at any position; so many rows are kept, and nothing jumps."""
        return max(len(one[1]) for row in self.cells for one in row)

    @property
    def digits(self) -> tuple[int, int]:
        """Decimals that tell the positions of each slider apart."""
        return _decimals(self.separations, 1), _decimals(self.weights, 2)

    @property
    def separation(self) -> str:
        a, apart = (_fixed(value, self.digits[0]) for value in (self.a, 2 * self.a))
        return f"a = {a} (means {apart} apart)"

    @property
    def weight(self) -> str:
        return f"w = {_fixed(self.w, self.digits[1])}"

    @property
    def summary(self) -> str:
        """How many minima each direction has, and how low they are."""
        found = self.reverse
        kinds = [(word, [p for p in found if p[3] == flag]) for word, flag in (("global", 1), ("local", 0))]
        if len(found) == 1:
            reverse = f"1 minimum, at {_kl(found[0][2])} nats"
        else:
            parts = [f"{len(points)} {word} at {_levels(points)} nats" for word, points in kinds if points]
            reverse = f"{len(found)} minima: {', '.join(parts)}"
        text = f"Reverse KL has {reverse}. Forward KL has 1 minimum, at {_kl(self.forward[2])} nats."
        return re.sub(r"(?<=\d) ", _NBSP, text)

    @property
    def words(self) -> str:
        """The position and every curve."""
        curves = [("Forward", self.forward)]
        curves += [(f"Reverse, {'global' if p[3] else 'local'}", p) for p in self.reverse]
        parts = [f"{who}: mean {_fixed(p[0], 3)}, sd {_fixed(p[1], 3)}, KL {_kl(p[2])} nats." for who, p in curves]
        return " ".join([f"{self.separation}, {self.weight}.", *parts])

    @property
    def span(self) -> tuple[float, float]:
        """End of the x axis, either way, and top of the y axis; the same at every position."""
        narrowest = min([1.0, *(p[1] for row in self.cells for one in row for p in [one[0], *one[1]])])
        return math.ceil(self.separations[-1] + 4), 1.06 / (narrowest * math.sqrt(2 * math.pi))


def _state(table: Mapping[str, Any]) -> _State:
    """Return the initial position of a table, rounded as the page holds it."""
    cells = [[[list(map(_short, one["forward"])), _sorted(one["reverse"])] for one in row] for row in table["cells"]]
    separations, weights = (list(map(_short, table[key])) for key in ("separations", "weights"))
    start = table["initial"]
    return _State(separations, weights, cells, _nearest(separations, start["a"]), _nearest(weights, start["w"]))


def _sorted(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Round the reverse minima; those that are equally low go from left to right."""
    rounded = [list(map(_short, point)) for point in points]
    return sorted(rounded, key=lambda p: (-p[3], round(p[2], 5), p[0]))


def _short(value: float) -> float:
    """Round to six significant digits, nine decimals at most, and write whole numbers as such."""
    rounded = round(float(f"{float(value):.6g}"), 9)
    return int(rounded) if rounded.is_integer() else rounded


def _nearest(values: Sequence[float], value: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def _decimals(values: Sequence[float], least: int) -> int:
    return next((d for d in range(least, 6) if all(math.isclose(v, round(v, d), abs_tol=1e-9) for v in values)), 6)


def _fixed(value: float, digits: int) -> str:
    """Write a number with `digits` decimals, a tie away from zero, as the script does."""
    text = f"{Decimal(abs(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    return _MINUS + text if value < 0 and float(text) else text


def _kl(value: float) -> str:
    return "<0.0001" if 0 < value < 0.00005 else _fixed(max(value, 0.0), 4)


def _levels(points: Sequence[Sequence[float]]) -> str:
    """Write the KL of each point, once if they are the same."""
    return " and ".join(dict.fromkeys(_kl(p[2]) for p in points))


# The drawing ---------------------------------------------------------------------------------------------------------


def _curves(state: _State) -> dict[str, str]:
    """Return the path of each kind of curve; several reverse minima share a path."""
    end, a, w = state.span[0], state.a, state.w
    groups = {
        "forward": [state.forward],
        "local": [p for p in state.reverse if not p[3]],
        "global": [p for p in state.reverse if p[3]],
    }
    target = _path(state, -end, end, lambda x: w * _normal(x, -a, 1) + (1 - w) * _normal(x, a, 1))
    return {"target": target} | {k: "".join(_member(state, p[0], p[1]) for p in g) for k, g in groups.items()}


def _normal(x: float, mu: float, sigma: float) -> float:
    return math.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def _member(state: _State, mu: float, sigma: float) -> str:
    """Return the path of a Normal, without the tails that would only cover the axis."""
    end, reach = state.span[0], _TAIL * sigma
    return _path(state, max(-end, mu - reach), min(end, mu + reach), lambda x: _normal(x, mu, sigma))


def _path(state: _State, low: float, high: float, density: Callable[[float], float]) -> str:
    end, top = state.span
    xs = [low + (high - low) * i / _STEPS for i in range(_STEPS + 1)]
    return "M" + " ".join(f"{(x / end + 1) * _WIDTH / 2:.1f},{_HEIGHT * (1 - density(x) / top):.1f}" for x in xs)


def _line(kind: str, d: str) -> str:
    return f'<path class="{kind}" {_LINES[kind][1]} vector-effect="non-scaling-stroke" d="{d}"/>'


def _plot(state: _State) -> str:
    """Return axes and curves; text keeps its size in a box of any shape, since places are in per cent."""
    end, top = state.span
    step = next(m * 10**k for k in count() for m in (1, 2, 5) if 2 * end / (m * 10**k) <= 10)
    ticks = [k * step for k in range(-int(end / step), int(end / step) + 1)]
    levels = [k / 10 for k in range(int(top * 10) + 1)] if top < 1 else [0.0, round(top / 2, 1)]
    lines = ['<text class="name" x="0" y="0" dx="-38" dy="-12">density</text>']
    for y in levels:
        place = f"{100 * (1 - y / top):.2f}%"
        kind = "grid" if y else "axis"
        lines.append(f'<line class="{kind}" x1="0" x2="100%" y1="{place}" y2="{place}"/>')
        lines.append(f'<text x="0" y="{place}" dx="-10" dy="0.32em" text-anchor="end">{_fixed(y, 1)}</text>')
    for x in ticks:
        label = str(x).replace("-", _MINUS)
        lines.append(
            f'<svg x="{50 * (1 + x / end):.2f}%" y="100%" overflow="visible"><path class="axis" d="M0 0v5"/>'
            f'<text y="20" text-anchor="middle">{label}</text></svg>'
        )
    lines.append('<text class="name" x="50%" y="100%" dy="40" text-anchor="middle">x</text>')
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" width="100%" height="100%"'
    curves = "\n".join(_line(kind, d) for kind, d in _curves(state).items())
    return "\n".join([*lines, f'<svg class="curves" {box}>\n{curves}\n</svg>\n'])


def _still(state: _State, palette: Mapping[str, str]) -> str:
    """Return a complete SVG file of one position, with a legend of the curves that are there."""
    curves = _curves(state)
    kinds = [kind for kind in ("target", "forward", "global", "local") if curves[kind]]
    legend = "".join(
        f'<g transform="translate({46 + 150 * i} 14)">{_swatch(kind)}<text x="42" y="5">{_LINES[kind][0]}</text></g>'
        for i, kind in enumerate(kinds)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="784" height="388" viewBox="0 0 784 388">\n'
        f"<style>{_STILL_STYLE.substitute(palette)}</style>\n{legend}\n"
        f'<svg x="46" y="58" width="{_WIDTH}" height="{_HEIGHT}" overflow="visible">\n{_plot(state)}</svg>\n</svg>\n'
    )


def _swatch(kind: str) -> str:
    """Return the sample of a line, 34 wide, around y = 0."""
    return _line(kind, "M1,6V-6H33V6Z" if kind == "target" else "M1,0H33")


# The widget ----------------------------------------------------------------------------------------------------------


def _controls(name: str, state: _State) -> str:
    """Return the sliders, which the script brings to light, and what stands there without a script."""
    sliders = [
        ("a", "Separation <i>a</i>", len(state.separations), state.row, state.separation),
        ("w", "Weight <i>w</i> on the left", len(state.weights), state.column, state.weight),
    ]
    rows = "".join(
        f'<div class="explorer-control"><label for="{name}-{key}">{label}</label>'
        f'<span class="explorer-value" aria-hidden="true">{text}</span>'
        f'<input type="range" id="{name}-{key}" min="0" max="{size - 1}" step="1" value="{at}" '
        f'aria-valuetext="{text}" autocomplete="off"></div>\n'
        for key, label, size, at, text in sliders
    )
    still = f"Shown at {state.separation}, {state.weight}. The sliders need JavaScript."
    return (
        f'<div class="explorer-controls" hidden>\n{rows}</div>\n'
        f'<noscript><p class="explorer-still">{still}</p></noscript>\n'
    )


def _numbers(state: _State) -> str:
    """Return the table of numbers, which is also the legend."""
    kinds = ["global" if p[3] else "local" for p in state.reverse]
    kinds += ["none"] * (state.slots - len(kinds))
    points = [*state.reverse, *([[]] * (state.slots - len(state.reverse)))]
    rows = [_number_row("target", state.target), _number_row("forward", state.forward)]
    rows += [_number_row(kind, point[:3]) for kind, point in zip(kinds, points, strict=True)]
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("curve", "mean", "sd", "KL in nats"))
    return f'<table class="explorer-numbers">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{"".join(rows)}</tbody>\n</table>\n'


def _number_row(kind: str, values: Sequence[float]) -> str:
    """Return one row; a row of reverse KL carries the samples of both kinds of line, and style shows the right one."""
    samples = [kind] if kind in ("target", "forward") else ["local", "global"]
    keys = "".join(
        f'<svg class="key key-{one}" viewBox="0 -7 34 14" width="34" height="14" aria-hidden="true">{_swatch(one)}</svg>'
        for one in samples
    )
    texts = [_fixed(value, 3) for value in values[:2]] + [_kl(value) for value in values[2:3]]
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in [*texts, *([""] * (3 - len(texts)))])
    label = _LINES[kind][0] if kind in _LINES else ""
    return f'<tr data-kind="{kind}"><th scope="row">{keys}<span>{label}</span></th>{cells}</tr>\n'


def _data(state: _State, alt: str) -> str:
    """Return what the script needs, as JSON that is safe inside a page."""
    end, top = state.span
    values = {
        "a": state.separations,
        "w": state.weights,
        "digits": state.digits,
        "box": [_WIDTH, _HEIGHT, _STEPS, _TAIL, end, top],
        "alt": alt,
        "cells": state.cells,
    }
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
