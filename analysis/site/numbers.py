"""Numbers and tables as Markdown: the digits that an error licenses, and no others."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from numbers import Integral, Real
from typing import Any

from models.errors import InputError, lookup_error

__all__ = [
    "CLOSE",
    "OPEN",
    "est",
    "fixed",
    "is_estimate",
    "listed",
    "literal",
    "num",
    "pct",
    "plain",
    "plural",
    "signed",
    "table",
    "tex",
    "unescaped",
]

#: Marks that mean something in Markdown.
_MARKUP = r"[\\`*_{}\[\]<>#|$^~@'\"]"

_MINUS = "\N{MINUS SIGN}"
_PLUS_MINUS = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
#: Marks that prose cannot contain: two private-use characters around a word.
OPEN, CLOSE = "\ue000", "\ue001"


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
    if error is None and is_estimate(value):
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
    if not is_estimate(estimate):
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
    if error is None and is_estimate(value):
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


def fixed(value: Any, places: int) -> str:
    """Write a number with so many decimals, whatever its error.

    Examples
    --------
    >>> fixed(8.311, 2), fixed(-0.5, 0)
    ('8.31', '0')
    """
    return _round(_real(value, "the value to write"), -places)


def listed(names: Iterable[str], mark: str = "*", last: str = "and") -> str:
    """Write names, each in Markdown's `mark`, as a list in a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a", "b"], mark="", last="or"), listed([])
    ('*a*, *b* and *c*', 'a or b', 'none')
    """
    *most, final = [f"{mark}{name}{mark}" for name in names] or ["none"]
    return f"{', '.join(most)} {last} {final}" if most else final


def plural(count: int, word: str, words: str | None = None) -> str:
    """Write a count with its word.

    Examples
    --------
    >>> plural(1, "pair"), plural(3, "pair"), plural(2, "is", "are")
    ('1 pair', '3 pairs', '2 are')
    """
    return f"{num(count)} {word if count == 1 else words or word + 's'}"


def tex(text: str) -> str:
    """Make a number written by `num` or `est` fit for use inside ``$...$``."""
    text = text.replace(_MINUS, "-").replace("%", r"\%").replace("≈", r"\approx").replace("∞", r"\infty")
    text = re.sub(r"(\d),(?=\d)", r"\1{,}", text)
    return re.sub(r" × 10\^(-?\d+)\^", r" \\times 10^{\1}", text).replace("±", r"\pm")


def is_estimate(value: Any) -> bool:
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


_CELLS: Mapping[str, Callable[..., str]] = {"num": num, "est": est, "pct": pct, "signed": signed, "text": str}


def _is_macro(style: Sequence[Any]) -> bool:
    return bool(style) and callable(style[0])


def _cell(row: Mapping[str, Any], key: str, style: Any = None, digits: int | Mapping[str, Any] | None = None) -> str:
    """Write one table cell."""
    if callable(style):
        return _cell_text(style(row))
    value = row[key]
    if value is None:
        return "–"
    if style is not None:
        options = digits if isinstance(digits, Mapping) else {} if digits is None else {"digits": digits}
        return _cell_text(_CELLS[style](value, **options))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_estimate(value):
        return est(value)
    if isinstance(value, Real):
        return num(value)
    return _cell_text(str(value))


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str | Sequence[Any]] | Sequence[str],
    caption: str | None = None,
) -> str:
    """Write a Markdown pipe table; columns of numbers are aligned right.

    Parameters
    ----------
    rows : iterable of mapping
        One mapping a row. ``None`` is shown as a dash.
    columns : mapping or sequence of str
        Keys to show, in order, each with its header, or with ``(header, style)``, where style is one of ``num``,
        ``est``, ``pct``, ``signed``, ``text``, or a macro that writes the cell from its row; or with ``(header, style,
        digits)``, or with options of that style in place of digits. A bare sequence uses the keys as headers. Without a style, estimates are written by `est`, numbers by
        `num`, booleans as yes and no. A header needs a word: not a symbol alone.
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
    styles: dict[str, Sequence[Any]] = {}
    for key, spec in (columns if isinstance(columns, Mapping) else {c: c for c in columns}).items():
        header, *style = [spec] if isinstance(spec, str) else list(spec)
        if style and isinstance(style[0], str) and style[0] not in _CELLS:
            raise lookup_error("column style", style[0], _CELLS)
        if not re.search(r"[^\W\d_]{2}", re.sub(r"\$[^$]*\$", "", header)):
            raise InputError(f"table header {header!r} needs a word, for example 'mean {header}'")
        heads[key], styles[key] = _cell_text(header), style
    body, numeric = [], dict.fromkeys(heads, True)
    for index, row in enumerate(rows):
        missing = [key for key in heads if key not in row and not _is_macro(styles[key])]
        if missing:
            raise InputError(f"table row {index} has no {missing[0]!r}; it has {', '.join(map(str, row))}")
        for key in heads:
            value = row.get(key)
            number = is_estimate(value) or (isinstance(value, Real) and not isinstance(value, bool))
            words = _is_macro(styles[key]) or styles[key][:1] == ["text"]
            numeric[key] &= not words and (value is None or number)
        body.append([_cell(row, key, *styles[key]) for key in heads])
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
        lines += ["", f": **Table {OPEN}table{CLOSE}.** {' '.join(caption.split())}"]
    return "\n\n" + "\n".join(lines) + "\n\n"


def literal(text: str) -> str:
    r"""Text that Markdown leaves as it is.

    Examples
    --------
    >>> print(literal("theta[a_b]"))
    theta\[a\_b\]
    """
    return re.sub(f"({_MARKUP})", r"\\\1", text)


_RAISED = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def plain(text: str) -> str:
    """Write powers of ten without Markdown, of one number as programs read it.

    Examples
    --------
    >>> plain("1.2 × 10^−5^"), plain("(3.9 ± 1.0) × 10^−5^")
    ('1.2e-5', '(3.9 ± 1.0) × 10⁻⁵')
    """
    text = re.sub(r"(?<=\d) × 10\^([−\d]+)\^", lambda power: f"e{power.group(1).replace(_MINUS, '-')}", text)
    return re.sub(r"(?<!\\)\^([^^]*)(?<!\\)\^", lambda power: power.group(1).translate(_RAISED), text)


def unescaped(text: str) -> str:
    r"""Text that `literal` was applied to, as it was.

    Examples
    --------
    >>> print(unescaped(literal(r"theta[a_b] \ 2^3^")))
    theta[a_b] \ 2^3^
    """
    return re.sub(rf"\\({_MARKUP})", r"\1", text)
