"""Findings and figures become one report: Jinja2 to Markdown, Markdown to HTML, PDF and a repository page.

Every output comes from the same Markdown. `write_report` builds everything in memory before it touches the output
folder, so a build that fails leaves an earlier report as it was. Nothing is fetched from a network, now or when the
report is read. The same inputs give the same bytes.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
import itertools
import math
import os
import re
import subprocess
import tempfile
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal
from xml.etree import ElementTree

from analysis.support.cache import unfinished
from analysis.support.figures_svg import inline, share_glyphs
from models.errors import InputError, lookup_error

__all__ = [
    "FORMATS",
    "TEMPLATES",
    "Figure",
    "Placed",
    "ReportError",
    "Section",
    "est",
    "num",
    "pct",
    "signed",
    "table",
    "write_report",
]

TEMPLATES = Path(__file__).resolve().parents[2] / "reports" / "templates"
"""Folder of the report's own templates, style sheet and fonts."""

FORMATS: Mapping[str, str] = {"html": "index.html", "md": "README.md", "pdf": "report.pdf"}
"""File name of each output format."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_MINUS = "\N{MINUS SIGN}"
_PLUS_MINUS = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
_DARK = "(prefers-color-scheme: dark)"
# Marks that prose cannot contain: two private-use characters around a word.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}(figure|ref|table):?([a-z0-9_-]*){_CLOSE}")


class ReportError(RuntimeError):
    """The report could not be built; the message names the template or the format, and the cause."""


class Placed(ABC):
    """What a template places exactly once by its mark: a `Figure`, or something interactive that falls back on one."""

    name: str
    alt: str
    caption: str
    script: ClassVar[str | None] = None
    """Template file with the script that the page needs for it."""

    def __post_init__(self) -> None:
        """Refuse what would make a broken or unreadable figure."""
        if not _NAME.match(self.name):
            raise InputError(
                f"figure name {self.name!r}: use lower-case letters, digits, '-' and '_', starting with a letter"
            )
        for field in ("alt", "caption"):
            if not getattr(self, field).strip():
                raise InputError(f"figure {self.name!r}: {field} is empty")

    @property
    def ref(self) -> str:
        """A numbered link to the figure, for use in prose."""
        return f"{_OPEN}ref:{self.name}{_CLOSE}"

    def __str__(self) -> str:
        """Return the mark that each output format turns into the figure."""
        return f"\n\n{_OPEN}figure:{self.name}{_CLOSE}\n\n"

    @property
    @abstractmethod
    def fallback(self) -> Figure:
        """The drawing for formats that cannot be interactive."""

    @abstractmethod
    def body(self) -> str:
        """Return what stands above the caption in HTML, with placeholders for what pandoc should not see."""

    @abstractmethod
    def embed(self, page: str) -> str:
        """Return the page with the placeholders of `body` filled in."""


@dataclass(frozen=True)
class Figure(Placed):
    r"""One drawing in a light and a dark version.

    Parameters
    ----------
    name : str
        File stem; lower-case letters, digits, ``-`` and ``_``. Unique in a report.
    light, dark : bytes
        The two drawings, complete files.
    suffix : {"svg", "png"}
        Format of both.
    alt : str
        What the drawing shows, in words, for those who cannot see it.
    caption : str
        Markdown; may hold maths and citations.

    Raises
    ------
    InputError
        If a field is empty or malformed.

    Examples
    --------
    >>> hero = Figure("hero", b"<svg/>", b"<svg/>", "svg", alt="Two densities.", caption="Two densities.")
    >>> hero.ref == "\ue000ref:hero\ue001"
    True
    """

    name: str
    light: bytes
    dark: bytes
    suffix: Literal["svg", "png"]
    alt: str
    caption: str

    def __post_init__(self) -> None:
        """Refuse what would make a broken or unreadable figure."""
        super().__post_init__()
        if self.suffix not in ("svg", "png"):
            raise lookup_error("figure suffix", self.suffix, ["svg", "png"])
        for field in ("light", "dark"):
            if not getattr(self, field).strip():
                raise InputError(f"figure {self.name!r}: {field} is empty")

    @property
    def fallback(self) -> Figure:
        """The figure itself."""
        return self

    def body(self) -> str:
        """Return the placeholder of the drawings."""
        return f"<!--figure:{self.name}-->"

    def embed(self, page: str) -> str:
        """Return the page with the drawings in their place.

        Two SVGs that differ by nothing but colours become one element of the page, whose colours are CSS custom properties;
        others become a picture with two sources.
        """
        alt = " ".join(self.alt.split())
        drawing = inline(self.light, self.dark, self.name, alt) if self.suffix == "svg" else None
        picture = (
            f'<picture>\n<source media="screen and {_DARK}" srcset="{self.data_uri("dark")}">\n'
            f'<img alt="{html.escape(alt)}" src="{self.data_uri("light")}">\n</picture>'
        )
        return page.replace(self.body(), drawing or picture)

    def data_uri(self, scheme: Literal["light", "dark"]) -> str:
        """Return one drawing as a ``data:`` address."""
        kind = {"svg": "image/svg+xml", "png": "image/png"}[self.suffix]
        return f"data:{kind};base64,{base64.b64encode(getattr(self, scheme)).decode('ascii')}"


@dataclass(frozen=True)
class Section:
    """What one question contributes to the report.

    Parameters
    ----------
    name : str
        Name of the question; its prose is the template ``<name>.md``.
    title : str
        Heading, Markdown.
    context : mapping
        The findings; the template sees them as ``f``. Its ``question`` and ``answer`` open the section; the first sentences of
        all answers open the report.
    figures : sequence of Figure or Explorer
        The template sees them as ``figures``, by name, and must place each exactly once.

    Examples
    --------
    >>> Section("demo", "A demonstration", {"question": "Why?", "answer": "Because."}).name
    'demo'
    """

    name: str
    title: str
    context: Mapping[str, Any]
    figures: Sequence[Placed] = ()

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a template's or an anchor's."""
        if not _NAME.match(self.name):
            raise InputError(
                f"section name {self.name!r}: use lower-case letters, digits, '-' and '_', starting with a letter"
            )


# Numbers -------------------------------------------------------------------------------------------------------------


def _real(value: Any, what: str) -> float:
    """Return `value` as a float, or say what it was instead."""
    if isinstance(value, bool):
        raise InputError(f"{what} is {value!r}, not a number")
    if isinstance(value, Real):
        return float(value)
    if getattr(value, "shape", None) == ():  # a 0-d array, e.g. a reduced xarray.DataArray
        return float(value)
    raise InputError(f"{what} is {value!r}, not a number")


def _round(value: float, place: int) -> str:
    """Write `value` rounded to the digit that stands for ``10**place``."""
    rounded = Decimal(value).quantize(Decimal(1).scaleb(place), rounding=ROUND_HALF_EVEN)
    text = f"{abs(rounded):f}" if place <= 0 else str(abs(int(rounded)))
    whole, dot, rest = text.partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}"
    return (_MINUS if rounded < 0 else "") + whole + dot + rest


def _place(value: float, significant: int) -> int:
    """Return the exponent of the last of `significant` digits of `value`, after rounding."""
    return int(f"{value:.{significant - 1}e}".partition("e")[2]) - (significant - 1)


def _write(value: float, place: int) -> str:
    """Write `value` to ``10**place``, with a power of ten where zeros would hide the digits."""
    exponent = _place(value, 1) if value else 0
    if value and (exponent < -4 or exponent >= 7) and place <= exponent:
        return f"{_round(value / 10.0**exponent, place - exponent)} × 10^{str(exponent).replace('-', _MINUS)}^"
    return _round(value, place)


def num(value: Any, error: Any = None, digits: int | None = None) -> str:
    """Write a number with the digits its error licenses.

    The rule: with an error, the last digit shown is the error's second significant digit, and never more than `digits`
    significant digits (6 unless told). Without an error, or with an error of exactly 0, `digits` significant digits (4
    unless told); integers without an error in full. With an error that is not finite, one digit, marked ``≈``. The
    minus sign is U+2212. Very large and very small numbers are written with a power of ten, in Markdown.

    Parameters
    ----------
    value : real number or estimate
        What to write. An object (or mapping) with ``value`` and ``error`` brings its own error.
    error : real number, optional
        Absolute error of `value`, in the same unit.
    digits : int, optional
        Significant digits: the number of them without an error, the most of them with one.

    Returns
    -------
    str
        Markdown text.

    Raises
    ------
    InputError
        If `value` or `error` is not a number, or the error is negative.

    Examples
    --------
    >>> num(0.840621431), num(0.840621431, 0.0032), num(0.840621431, 1e-13)
    ('0.8406', '0.8406', '0.840621')
    >>> num(12345.6, 340), num(-0.00012345), num(3e-9)
    ('12,350', '−0.0001234', '3.000 × 10^−9^')
    """
    if error is None and _is_estimate(value):
        value, error = _parts(value)
    if digits is not None and digits < 1:
        raise InputError(f"digits={digits}: at least 1 significant digit is needed")
    exact_integer = isinstance(value, Integral) and error is None and digits is None
    number = _real(value, "the value to write")
    if exact_integer:
        return _round(number, 0)
    if math.isnan(number):
        return "undefined"
    if math.isinf(number):
        return "∞" if number > 0 else f"{_MINUS}∞"
    spread = 0.0 if error is None else _real(error, "the error")
    if spread < 0:
        raise InputError(f"the error {spread!r} of {number!r} is negative")
    if not math.isfinite(spread):
        return f"≈ {_write(number, _place(number, 1) if number else 0)}"
    if number == 0 and spread == 0:
        return "0"
    if spread == 0:
        return _write(number, _place(number, digits or 4))
    place = _place(spread, 2)
    if number:
        place = max(place, _place(number, digits or 6))
    return _write(number, place)


def est(estimate: Any, digits: int | None = None) -> str:
    r"""Write an estimate as value ± error.

    The error has two significant digits, and the value ends at the same digit. An error too small to show in the digits
    of the value (see `num`) is left out. The spaces around ± do not break.

    Parameters
    ----------
    estimate : object or mapping with ``value`` and ``error``
        What to write; a mapping may be an estimate read back from JSON.
    digits : int, optional
        The most significant digits of the value (6 unless told).

    Returns
    -------
    str
        Markdown text.

    Raises
    ------
    InputError
        If there is no value or no error.

    Examples
    --------
    >>> est({"value": 0.7236, "error": 0.0316}), est({"value": 0.840621431, "error": 1e-13})
    ('0.724\xa0±\xa00.032', '0.840621')
    """
    if not _is_estimate(estimate):
        raise InputError(f"{estimate!r} is not an estimate: it needs a value and an error")
    value, error = _parts(estimate)
    text = num(value, error, digits)
    number, spread = _real(value, "the value to write"), math.inf if error is None else _real(error, "the error")
    if not math.isfinite(number) or spread == 0:
        return text
    if not math.isfinite(spread):
        return f"{text} (error unknown)"
    place = _place(spread, 2)
    if number and _place(number, digits or 6) > place + 1:  # not even the error's first digit is shown
        return text
    if "^" in text or (abs(number) < 1e-4 and spread < 1e-4):  # one power of ten for both
        exponent = _place(max(abs(number), spread), 1)
        scale = 10.0**exponent
        power = str(exponent).replace("-", _MINUS)
        pair = _PLUS_MINUS.join(_round(part / scale, place - exponent) for part in (number, spread))
        return f"({pair}) × 10^{power}^"
    return f"{text}{_PLUS_MINUS}{_round(spread, place)}"


def pct(value: Any, error: Any = None, digits: int | None = None) -> str:
    """Write a proportion as a percentage.

    Without an error: one decimal, and never a 0 or a 100 that rounding made.

    Parameters
    ----------
    value : real number or estimate
        A proportion, 1 is 100%.
    error : real number, optional
        Absolute error of the proportion.
    digits : int, optional
        See `num`.

    Returns
    -------
    str
        Markdown text.

    Examples
    --------
    >>> pct(0.7), pct(0.99996), pct(0.123456, 0.0021)
    ('70.0%', '>99.9%', '12.35%')
    """
    if error is None and _is_estimate(value):
        value, error = _parts(value)
    share = _real(value, "the proportion to write")
    if error is not None:
        return f"{num(100 * share, 100 * _real(error, 'the error'), digits)}%"
    if digits is not None or not math.isfinite(share):
        return f"{num(100 * share, digits=digits)}%"
    if share in (0, 1):
        return f"{int(100 * share)}%"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{_round(100 * share, -1)}%"


def signed(value: Any, error: Any = None, digits: int | None = None) -> str:
    """Write a number as `num` does, with its sign even when positive.

    Parameters
    ----------
    value, error, digits
        See `num`.

    Returns
    -------
    str
        Markdown text; a value that rounds to zero has no sign.

    Examples
    --------
    >>> signed(0.25), signed(-0.25), signed(0)
    ('+0.2500', '−0.2500', '0')
    """
    text = num(value, error, digits)
    bare = text.startswith((_MINUS, "≈", "u")) or not any(c in "123456789∞" for c in text.partition("×")[0])
    return text if bare else f"+{text}"


def _tex(text: str) -> str:
    """Make a number written by `num` or `est` fit for use inside ``$...$``."""
    text = text.replace(_MINUS, "-").replace("%", r"\%").replace("≈", r"\approx").replace("∞", r"\infty")
    text = re.sub(r"(\d),(?=\d)", r"\1{,}", text)
    return re.sub(r" × 10\^(-?\d+)\^", r" \\times 10^{\1}", text).replace("±", r"\pm")


def _headline(answer: str) -> str:
    """Return the first sentence of an answer, which is all of it that opens a report of several questions."""
    return re.split(
        r"(?<=[^\W\d_][.!?])\s+(?=[^a-z\d\s])|(?<=[)\d%][.!?])\s+(?=[^a-z\d\s])", answer.strip(), maxsplit=1
    )[0]


def _is_estimate(value: Any) -> bool:
    """Say whether `value` carries a value and an error."""
    if isinstance(value, Mapping):
        return "value" in value and "error" in value
    return hasattr(value, "value") and hasattr(value, "error")


def _parts(estimate: Any) -> tuple[Any, Any]:
    """Return the value and the error of an estimate."""
    if isinstance(estimate, Mapping):
        return estimate["value"], estimate["error"]
    return estimate.value, estimate.error


def _cell_text(text: str) -> str:
    """Keep a piece of Markdown inside its table cell: no line ends, no bare pipes."""
    text = re.sub(r"[ \t\r\n]+", " ", text).strip(" ")  # and keep the spaces that do not break
    parts = re.split(r"(\$[^$]+\$)", text)
    return "".join(
        part.replace("|", r"\vert ") if index % 2 else re.sub(r"(?<!\\)\|", r"\\|", part)
        for index, part in enumerate(parts)
    )


_CELLS: Mapping[str, Callable[[Any], str]] = {"num": num, "est": est, "pct": pct, "signed": signed, "text": str}


def _cell(value: Any, style: str | None) -> str:
    """Write one table cell."""
    if value is None:
        return "–"
    if style is not None:
        return _cell_text(_CELLS[style](value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_estimate(value):
        return est(value)
    if isinstance(value, Real):
        return num(value)
    return _cell_text(str(value))


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str | Sequence[str]] | Sequence[str],
    caption: str | None = None,
) -> str:
    """Write a Markdown pipe table; columns of numbers are aligned right.

    Parameters
    ----------
    rows : iterable of mapping
        One mapping a row. ``None`` is shown as a dash.
    columns : mapping or sequence of str
        Keys to show, in order, each with its header, or with ``(header, style)``, where style is one of ``num``,
        ``est``, ``pct``, ``signed``, ``text``. A bare sequence uses the keys as headers. Without a style, estimates are
        written by `est`, numbers by `num`, booleans as yes and no. A header needs a word: not a symbol alone.
    caption : str, optional
        Markdown; the number of the table is put before it.

    Returns
    -------
    str
        Markdown, set off by empty lines.

    Raises
    ------
    InputError
        If a row lacks a column, or a style or a header cannot be used.

    Examples
    --------
    >>> print(table([{"fit": "forward", "kl": 0.5}], {"fit": "fit", "kl": "KL in nats"}).strip())
    | fit     | KL in nats |
    |:--------|-----------:|
    | forward |     0.5000 |
    """
    heads: dict[str, str] = {}
    styles: dict[str, str | None] = {}
    for key, spec in (columns if isinstance(columns, Mapping) else {c: c for c in columns}).items():
        header, style = (spec, None) if isinstance(spec, str) else (spec[0], spec[1])
        if style is not None and style not in _CELLS:
            raise lookup_error("column style", style, _CELLS)
        if not re.search(r"[^\W\d_]{2}", re.sub(r"\$[^$]*\$", "", header)):
            raise InputError(f"table header {header!r} needs a word, for example 'mean {header}'")
        heads[key], styles[key] = _cell_text(header), style
    body, numeric = [], dict.fromkeys(heads, True)
    for index, row in enumerate(rows):
        missing = [key for key in heads if key not in row]
        if missing:
            raise InputError(f"table row {index} has no {missing[0]!r}; it has {', '.join(map(str, row))}")
        for key in heads:
            value = row[key]
            number = _is_estimate(value) or (isinstance(value, Real) and not isinstance(value, bool))
            numeric[key] &= value is None or (number and styles[key] != "text")
        body.append([_cell(row[key], styles[key]) for key in heads])
    if not body:
        raise InputError(f"table with columns {', '.join(heads)} has no rows")
    widths = [max(3, *map(len, column)) for column in zip(heads.values(), *body, strict=True)]
    right = [numeric[key] for key in heads]

    def line(cells: Iterable[str]) -> str:
        padded = (c.rjust(w) if is_right else c.ljust(w) for c, w, is_right in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        f"{'-' * (w + 1)}:" if is_right else f":{'-' * (w + 1)}" for w, is_right in zip(widths, right, strict=True)
    )
    lines = [line(heads.values()), f"|{rule}|", *map(line, body)]
    if caption is not None:
        lines += ["", f": **Table {_OPEN}table{_CLOSE}.** {' '.join(caption.split())}"]
    return "\n\n" + "\n".join(lines) + "\n\n"


# Jinja2: templates to Markdown ---------------------------------------------------------------------------------------


def _finalize(value: Any) -> Any:
    """Write what a template prints without a filter: estimates and floats by their rule, and no ``None``."""
    if value is None:
        raise InputError("a template prints None: the finding is missing")
    if isinstance(value, Placed | str):
        return value
    if _is_estimate(value):
        return est(value)
    if isinstance(value, Real) and not isinstance(value, Integral):
        return num(value)
    return value


def _provenance_rows(provenance: Mapping[str, Any]) -> list[dict[str, str]]:
    """Write provenance as rows of a table: item, value."""

    def literal(key: str, value: Any) -> str:
        text = str(value)
        if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{7,}", text) and not text.isdigit():
            return f"`{text[:12]}`"  # a hash; twelve digits identify it
        if key.endswith(("command", "commit")) and text:
            return f"`{text}`"
        return re.sub(r"([\\`*_{}\[\]<>#|$^~@'\"])", r"\\\1", text)

    def written(key: str, value: Any) -> str:
        if isinstance(value, Mapping):
            parts = [f"{literal('', k)} {written(str(k), v)}" for k, v in value.items()]
            return ("; " if any(isinstance(v, list | tuple) for v in value.values()) else ", ").join(parts)
        if isinstance(value, list | tuple | set | frozenset):
            return ", ".join(written(key, v) for v in (sorted(value) if isinstance(value, set | frozenset) else value))
        return literal(key, value)

    rows: dict[str, Any] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
            rows |= {f"{key} of {name}": inner for name, inner in value.items()}  # a row for each question
        else:
            rows[str(key).replace("_", " ")] = value
    return [{"item": literal("", key), "value": written(key, value) or "–"} for key, value in rows.items()]


def _blame(error: BaseException) -> str:
    """Name the template line that an error came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(".md")]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "the templates"


def _markdown(sections: Sequence[Section], provenance: Mapping[str, Any], title: str, templates: Sequence[Path]) -> str:
    """Fill in the templates."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(path) for path in templates]),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.globals["next_table"] = f"{_OPEN}table{_CLOSE}"
    environment.filters |= {
        "num": num,
        "est": est,
        "pct": pct,
        "signed": signed,
        "table": table,
        "tex": _tex,
        "headline": _headline,
    }
    views = [
        {"name": s.name, "title": s.title, "context": s.context, "figures": {f.name: f for f in s.figures}}
        for s in sections
    ]
    try:
        return environment.get_template("report.md").render(
            title=title, sections=views, provenance=provenance, provenance_rows=_provenance_rows(provenance)
        )
    except jinja2.TemplateNotFound as error:
        places = ", ".join(str(path) for path in templates)
        raise ReportError(f"no template {error.name} in {places}") from error
    except jinja2.TemplateSyntaxError as error:
        raise ReportError(f"{error.name}, line {error.lineno}: {error.message}") from error
    except (jinja2.UndefinedError, InputError, TypeError, ArithmeticError) as error:
        raise ReportError(f"{_blame(error)}: {error}") from error


# Figures and tables in each format -----------------------------------------------------------------------------------


def _raw(form: str, text: str) -> str:
    """Return a block that pandoc passes through to one format."""
    return f"\n\n```{{={form}}}\n{text}\n```\n\n"


def _html_figure(figure: Placed, caption: str) -> str:
    """Return a figure for HTML; what is large or interactive is put in after pandoc."""
    top = f'<figure id="fig-{figure.name}">\n{figure.body()}\n<figcaption>'
    return _raw("html", top) + caption + _raw("html", "</figcaption>\n</figure>")


def _md_figure(figure: Figure, caption: str) -> str:
    """Return a figure for a repository browser; the drawings are files beside the page."""
    alt = html.escape(" ".join(figure.alt.split()), quote=True)
    stem = f"figures/{figure.name}"
    picture = (
        f'<p id="fig-{figure.name}">\n<picture>\n<source media="{_DARK}" srcset="{stem}-dark.{figure.suffix}">\n'
        f'<img alt="{alt}" src="{stem}-light.{figure.suffix}" width="100%">\n</picture>\n</p>'
    )
    return _raw("html", picture) + caption


def _pdf_figure(figure: Figure, caption: str) -> str:
    """Return a figure for typst."""
    alt = " ".join(figure.alt.split()).replace("\\", "\\\\").replace('"', '\\"')
    image = f'image("{figure.name}-light.{figure.suffix}", width: 100%, alt: "{alt}")'
    return _raw("typst", f"#figure({image}, caption: [") + caption + _raw("typst", f"]) <fig-{figure.name}>")


_FIGURES: Mapping[str, Callable[[Any, str], str]] = {"html": _html_figure, "md": _md_figure, "pdf": _pdf_figure}


def _numbers(markdown: str, figures: Mapping[str, Placed]) -> dict[str, int]:
    """Give each figure its number, in the order of their places, and check that each has one place."""
    placed = [name for kind, name in _MARK.findall(markdown) if kind == "figure"]
    for name in figures:
        if placed.count(name) != 1:
            times = "not placed" if name not in placed else f"placed {placed.count(name)} times"
            raise ReportError(f"figure {name!r} is {times}; its section's template must say << figures.{name} >> once")
    return {name: number for number, name in enumerate(placed, 1)}


def _with_figures(markdown: str, form: str, figures: Mapping[str, Placed]) -> str:
    """Turn the marks of figures, references and table numbers into what one format needs."""
    numbers = _numbers(markdown, figures)
    tables = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal tables
        kind, name = match.groups()
        if kind == "table":
            tables += 1
            return str(tables)
        if kind == "ref":
            return f"[Figure {numbers[name]}](#fig-{name})"
        figure = figures[name]
        caption = _MARK.sub(replace, figure.caption.strip())
        return _FIGURES[form](figure, f"**Figure {numbers[name]}.** {caption}")

    return _MARK.sub(replace, markdown)


# MathML --------------------------------------------------------------------------------------------------------------

_ACCENTS = {"\u0302": "\u02c6", "\u0303": "\u02dc", "\u0304": "\u00af"}
_SCRIPTED = frozenset({"munder", "munderover", "mover", "msub", "msup", "msubsup"})
_OPERANDS = frozenset({"mi", "mn", "msub", "msup", "msubsup", "mfrac", "mover", "msqrt", "mrow"})


def _is_operator(node: ElementTree.Element | None) -> bool:
    """Say whether a node is a named operator such as log or arg min, with or without limits."""
    while node is not None and (node.tag in _SCRIPTED or node.tag == "mrow"):
        node = node[0] if len(node) and (node.tag in _SCRIPTED or _applied(node)) else None
    return node is not None and node.tag == "mi" and node.get("mathvariant") == "normal" and len(node.text or "") > 1


def _applied(node: ElementTree.Element) -> bool:
    """Say whether a row is a name followed by nothing but the invisible 'function application'."""
    return len(node) == 2 and node[1].tag == "mo" and node[1].text == "\u2061"


def _space(parent: ElementTree.Element) -> None:
    """Put TeX's thin spaces around named operators, which browsers leave out."""
    for child in parent:
        if child.tag != "annotation":
            _space(child)
    if parent.tag not in ("mrow", "mtd", "math", "semantics", "mstyle") or _applied(parent):
        return
    children: list[ElementTree.Element] = []
    for child in list(parent):
        before = children[-1] if children else None
        thin = False
        if before is not None:
            fence_opens = child.tag == "mo" and child.get("form") == "prefix"
            fence_closes = before.tag == "mo" and before.get("form") == "postfix"
            if _is_operator(before):
                thin = child.tag in (_OPERANDS | {"munder", "munderover"}) and not fence_opens
            elif _is_operator(child):
                thin = before.tag in _OPERANDS or fence_closes
        if thin:
            children.append(ElementTree.Element("mspace", {"width": "0.167em"}))
        children.append(child)
    parent[:] = children


def _mend_math(match: re.Match[str]) -> str:
    """Mend one MathML formula written by pandoc."""
    source = match.group().replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    root = ElementTree.fromstring(source)
    for over in root.iter("mover"):
        accent = over[-1]
        if accent.text in _ACCENTS:  # Chromium drops, or misplaces, a combining accent
            accent.text = _ACCENTS[accent.text]
            accent.attrib.pop("accent", None)
            over.set("accent", "true")
    _space(root)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return f'<span class="equation">{text}</span>' if root.get("display") == "block" else text


# Pandoc and typst ----------------------------------------------------------------------------------------------------


def _find(name: str, templates: Sequence[Path]) -> Path:
    """Find a file in the first template folder that has it."""
    for folder in templates:
        if (folder / name).is_file():
            return folder / name
    raise ReportError(f"no {name} in {', '.join(str(path) for path in templates)}")


def _pandoc(markdown: str, form: str, *arguments: str) -> str:
    """Convert Markdown with pandoc; its warnings are errors."""
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "--from=markdown", "--fail-if-warnings", "--columns=1000", *arguments]
    done = subprocess.run(command, input=markdown, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ReportError(f"pandoc could not make the {form} report: {done.stderr.strip()}")
    return done.stdout


def _style(templates: Sequence[Path]) -> str:
    """Return the style sheet with its fonts embedded."""
    path = _find("style.css", templates)

    def embed(match: re.Match[str]) -> str:
        font = base64.b64encode((path.parent / match.group(1)).read_bytes()).decode("ascii")
        return f'url("data:font/woff2;base64,{font}")'

    return re.sub(r'url\("([^":]+\.woff2)"\)', embed, path.read_text(encoding="utf-8"))


def _scroll(match: re.Match[str], number: int) -> str:
    """Open a table in a wrapper that scrolls on a narrow screen, and move its caption out of the part that scrolls."""
    attributes, caption = match.groups()
    if caption is None:
        label = f'aria-label="Table without caption, {number}"'
        return f'<div class="table-scroll" role="group" {label} tabindex="0">\n<table{attributes}>'
    name = f"table-caption-{number}"
    return (
        f'<p class="table-caption" id="{name}">{caption}</p>\n'
        f'<div class="table-scroll" role="group" aria-labelledby="{name}" tabindex="0">\n'
        f'<table aria-labelledby="{name}"{attributes}>'
    )


def _build_html(
    markdown: str, common: Sequence[str], figures: Mapping[str, Placed], templates: Sequence[Path]
) -> bytes:
    """Build the self-contained page."""
    scripts = sorted({figure.script for figure in figures.values() if figure.script is not None})
    page = _pandoc(
        markdown,
        "html",
        "--to=html5",
        "--standalone",
        f"--template={_find('page.html', templates)}",
        "--mathml",
        "--toc",
        "--toc-depth=3",
        "--wrap=none",
        "--syntax-highlighting=monochrome",
        "--metadata=link-citations:true",
        *(["--variable=script"] if scripts else []),
        *common,
    )
    page = re.sub(r"<math\b.*?</math>", _mend_math, page, flags=re.DOTALL)
    tables = itertools.count(1)
    page = re.sub(
        r"<table\b(.*?)>(?:\s*<caption>(.*?)</caption>)?", lambda m: _scroll(m, next(tables)), page, flags=re.DOTALL
    )
    page = page.replace("</table>", "</table>\n</div>").replace("<th ", '<th scope="col" ')
    page = page.replace("/*style*/", _style(templates))
    page = page.replace("/*script*/", "\n".join(_find(name, templates).read_text(encoding="utf-8") for name in scripts))
    for figure in figures.values():
        page = figure.embed(page)
    return share_glyphs(page).encode()


def _files_of(figure: Figure) -> dict[str, bytes]:
    """Return the files of a figure beside a page."""
    return {f"{figure.name}-{theme}.{figure.suffix}": getattr(figure, theme) for theme in ("light", "dark")}


def _build_md(markdown: str, common: Sequence[str], title: str) -> bytes:
    """Build the page for a repository browser."""
    body = _pandoc(markdown, "md", "--to=gfm", "--wrap=preserve", *common)
    note = "<!-- Built by `duality report` from reports/templates: edit those, not this file. -->"
    return f"{note}\n\n# {title}\n\n{body}".encode()


def _build_pdf(
    markdown: str,
    common: Sequence[str],
    figures: Mapping[str, Figure],
    templates: Sequence[Path],
    timestamp: dt.datetime,
) -> bytes:
    """Build the PDF with typst, from the fonts that typst brings along."""
    import typst

    source = _pandoc(
        markdown,
        "pdf",
        "--to=typst",
        "--standalone",
        f"--template={_find('report.typ', templates)}",
        "--shift-heading-level-by=-1",
        "--wrap=none",
        "--syntax-highlighting=none",
        *common,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for figure in figures.values():
            (root / f"{figure.name}-light.{figure.suffix}").write_bytes(figure.light)
        (root / "report.typ").write_text(source, encoding="utf-8")
        try:
            return typst.compile(str(root / "report.typ"), root=folder, ignore_system_fonts=True, timestamp=timestamp)
        except typst.TypstError as error:
            raise ReportError(f"typst could not make the pdf report: {error.diagnostic or error.message}") from error


def _timestamp(provenance: Mapping[str, Any]) -> dt.datetime:
    """Return the moment that the PDF bears: provenance's date, else ``SOURCE_DATE_EPOCH``, else a fixed one."""
    date = provenance.get("date")
    if isinstance(date, dt.datetime):
        moment = date
    elif isinstance(date, dt.date):
        moment = dt.datetime(date.year, date.month, date.day)
    else:
        try:
            moment = dt.datetime.fromisoformat(str(date))
        except ValueError:
            moment = dt.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=dt.UTC)
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _publish(files: Mapping[Path, bytes]) -> None:
    """Write all files under temporary names, then move each to its place, documents after the drawings that they show."""
    waiting: dict[Path, Path] = {}
    try:
        for path in sorted(files, key=lambda path: path.name in FORMATS.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = unfinished(path)
            waiting[path].write_bytes(files[path])
        for path, temporary in waiting.items():
            temporary.replace(path)
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


def write_report(
    sections: Sequence[Section],
    *,
    provenance: Mapping[str, Any],
    output: Path,
    formats: Collection[str] = ("html", "md"),
    title: str = "The dual nature of maximum likelihood and KL divergence",
    templates: Sequence[Path] = (TEMPLATES,),
    bibliography: Path | None = None,
) -> list[Path]:
    """Write the report.

    Parameters
    ----------
    sections : sequence of Section
        In reading order; at least one.
    provenance : mapping
        Where the numbers come from: shown as a table, nested mappings as lists. A ``date`` (ISO 8601) also dates the
        report and the PDF.
    output : Path
        Folder; made if needed. Gets ``index.html``, ``README.md`` with ``figures/``, ``report.pdf``.
    formats : collection of {"html", "md", "pdf"}
        What to write.
    title : str
        Title of the report, Markdown.
    templates : sequence of Path
        Folders searched in turn for ``report.md``, ``<section>.md``, ``page.html``, ``style.css``, ``report.typ``,
        ``report.lua`` and scripts. Put your own folder before `TEMPLATES` to replace or add some.
    bibliography : Path, optional
        BibTeX file; the project's ``reports/references.bib`` unless told.

    Returns
    -------
    list of Path
        The documents written, in the order html, md, pdf.

    Raises
    ------
    InputError
        If a format is unknown, a name is used twice, or the output is not a folder.
    ReportError
        If a template fails (an unknown name, a figure not placed), or pandoc or typst do. Earlier output is untouched.

    Examples
    --------
    >>> from pathlib import Path
    >>> write_report([], provenance={}, output=Path("build"), formats=["docx"])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    models.errors.InputError: unknown report format 'docx'. Known: html, md, pdf
    """
    for form in formats:
        if form not in FORMATS:
            raise lookup_error("report format", form, FORMATS)
    if not formats:
        raise InputError(f"no report format given. Known: {', '.join(FORMATS)}")
    if not sections:
        raise InputError("a report needs at least one section")
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is not a folder")
    figures: dict[str, Placed] = {}
    for figure in (f for section in sections for f in section.figures):
        if figures.setdefault(figure.name, figure) is not figure:
            raise InputError(f"two figures are called {figure.name!r}; their files would be the same")
    names = [section.name for section in sections]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"section {repeated[0]!r} appears twice")

    markdown = _markdown(sections, provenance, title, templates)
    common = [
        "--citeproc",
        f"--bibliography={bibliography or TEMPLATES.parent / 'references.bib'}",
        f"--lua-filter={_find('report.lua', templates)}",
        f"--metadata=title:{title}",
        "--metadata=lang:en",
    ]
    if "date" in provenance:
        common.append(f"--metadata=date:{str(provenance['date'])[:10]}")
    still = {name: figure.fallback for name, figure in figures.items()} if set(formats) - {"html"} else {}

    def built(form: str) -> dict[Path, bytes]:
        text, path = _with_figures(markdown, form, figures if form == "html" else still), output / FORMATS[form]
        if form == "html":
            return {path: _build_html(text, common, figures, templates)}
        if form == "pdf":
            return {path: _build_pdf(text, common, still, templates, _timestamp(provenance))}
        drawings = {
            output / "figures" / name: content for d in still.values() for name, content in _files_of(d).items()
        }
        return drawings | {path: _build_md(text, common, title)}

    with ThreadPoolExecutor(len(FORMATS)) as threads:  # what takes time are pandoc and typst, which are other processes
        files = {path: content for found in threads.map(built, (f for f in FORMATS if f in formats)) for path, content in found.items()}  # fmt: skip
    _publish(files)
    return [output / FORMATS[form] for form in FORMATS if form in formats]
