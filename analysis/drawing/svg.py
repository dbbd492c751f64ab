"""Drawings made light: matplotlib's SVG without what no screen shows, its dark version, and both in one for a page.

Matplotlib writes a millionth of a point, repeats each style with each mark, and outlines haloed words twice. `lighter`
keeps what is seen in a third of the bytes. As its colours stand in one style sheet, the dark drawing is the light one
with other colours (`recoloured`), and a page needs one copy, whose colours are CSS custom properties (`inline`).
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count, groupby, product
from string import ascii_lowercase
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

__all__ = ["RIM", "inline", "lighter", "recoloured", "share_glyphs"]

Element = ElementTree.Element
#: Group id of words with a rim: its width in points, and its colour.
RIM = "rim_{width:g}_{color}"

_RIM = re.compile(r"rim_([\d.]+)_(#[0-9a-f]{6})")
_COLOR = re.compile(r"#[0-9a-f]{6}\b", re.ASCII)
_GLYPH = re.compile(r"([A-Za-z]\w*(?:-[A-Z][A-Za-z]+)*)-([0-9a-f]+)")
_FONTS = {"DejaVuSans": "g", "DejaVuSans-Oblique": "i", "DejaVuSans-Bold": "h"}
_SHARED = re.compile(r"[gih][0-9a-f]+")
_FUNCTION = re.compile(r"(\w+)\s*\(([^)]*)\)")
_DEFAULTS = {
    "stroke": "none", "fill-opacity": "1", "stroke-opacity": "1", "opacity": "1", "stroke-linecap": "butt",
    "stroke-linejoin": "round", "stroke-dashoffset": "0", "stroke-width": "1", "stroke-dasharray": "none",
}  # fmt: skip
_EM = 1 / 64  # matplotlib's scale of the outlines of letters
_THIN = 0.03  # points of the drawing: what is left out of a curve is nearer than this to what is kept


def lighter(svg: bytes) -> bytes:
    """Return a drawing by matplotlib in fewer bytes: the same on every screen, and the same for the same drawing.

    Parameters
    ----------
    svg : bytes
        With words as outlines (``svg.fonttype`` is ``path``). Groups whose id is `RIM` are words with a rim.

    Returns
    -------
    bytes
        Coordinates are rounded to a hundredth of a point; points closer than 0.03 points to the line between their
        neighbours are left out. All colours, as six hexadecimal digits, stand in the one ``style`` element.
    """
    root = _read(svg)
    definitions = _definitions(root)
    _simplify(root, definitions)
    defs = _renamed(root, definitions)
    _rims(root)
    _group(root, "clip-path")
    root.insert(0, defs)
    rules = _style_sheet(root)
    _group(root, "class", unless={name for name, rule in rules.items() if ";opacity:" in f";{rule}"})
    style = Element("style")
    style.text = "*{stroke-linejoin:round}" + "".join(f".{name}{{{rule}}}" for name, rule in rules.items())
    root.insert(0, style)
    return f"{''.join(_write(root))}\n".encode()


def recoloured(svg: bytes, colors: Mapping[str, str]) -> bytes:
    """Return a drawing by `lighter` in other colours.

    Parameters
    ----------
    svg : bytes
    colors : mapping of str to str
        The new colour of each, both as ``#`` and six lower-case hexadecimal digits.

    Raises
    ------
    ValueError
        For a colour that has no counterpart.
    """

    def new(match: re.Match[str]) -> str:
        if match[0] not in colors:
            raise ValueError(
                f"colour {match[0]} of a drawing has no counterpart in the other theme; draw with the colours of "
                "analysis.drawing.style.Style, or add one to it"
            )
        return colors[match[0]]

    return _COLOR.sub(new, svg.decode()).encode()


def inline(light: bytes, dark: bytes, name: str, label: str) -> str:
    """Return two drawings that differ by nothing but colours as one SVG element for an HTML page.

    Parameters
    ----------
    light, dark : bytes
    name : str
        Prefix of every id, except of the outlines of letters: see `share_glyphs`.
    label : str
        Alternative text.

    Returns
    -------
    str
        The colours are custom properties of the element, light or dark as the reader prefers, and light in print.

    Raises
    ------
    ValueError
        The drawings differ by more.
    """
    texts = [re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg.decode()).strip() for svg in (light, dark)]
    parts, others = (_COLOR.split(text) for text in texts)
    if parts != others or "@" in "".join(parts):
        raise ValueError(f"the light and the dark drawing {name!r} differ by more than colours")
    pairs = list(zip(*(_COLOR.findall(text) for text in texts), strict=True))
    variables = {pair: f"--{word}" for pair, word in zip(dict.fromkeys(pairs), _words(), strict=False)}
    text = parts[0] + "".join(f"var({variables[pair]}){part}" for pair, part in zip(pairs, parts[1:], strict=True))
    scope = f"#{name}-drawing"

    def ours(match: re.Match[str]) -> str:
        return match[0] if _SHARED.fullmatch(match[2]) else f"{match[1]}{name}-{match[2]}"

    text = re.sub(r"(\sid=\"|href=\"#|url\(#)([\w-]+)", ours, text)
    lists = [";".join(f"{variables[pair]}:{pair[i]}" for pair in variables) for i in (0, 1)]
    themes = f"{scope}{{{lists[0]}}}@media screen and (prefers-color-scheme:dark){{{scope}{{{lists[1]}}}}}"
    rules = "".join(re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL))
    rules = re.sub(r"(?<=\})(?=[^}])|^(?=.)", f"{scope} ", rules)
    body = re.sub(r"<style>.*?</style>\n?", "", text, flags=re.DOTALL)
    head = re.match(r"<svg\b[^>]*>", body)
    assert head is not None, "a drawing begins with its svg element"
    box = re.search(r'viewBox="[^"]*"', head[0])
    described = f'<svg class="drawing" id="{name}-drawing" role="img" aria-label="{html.escape(label)}"'
    return f"{described}{f' {box[0]}' if box else ''}>\n<style>{themes}{rules}</style>{body[head.end() :]}"


def share_glyphs(page: str) -> str:
    """Return a page whose drawings (`inline`) define the outline of each letter once: where it is used first."""
    outlines: dict[str, str] = {}

    def keep(match: re.Match[str]) -> str:
        name, outline = match.groups()
        if name not in outlines:
            outlines[name] = outline
            return match[0]
        if outline != outlines[name]:
            raise ValueError(f"letter {name} has two outlines; the drawings of one page need the same fonts")
        return ""

    return re.sub(rf'<path id="({_SHARED.pattern})"([^>]*)/>\n?', keep, page)


# Reading -------------------------------------------------------------------------------------------------------------


def _read(svg: bytes) -> Element:
    """Parse a drawing; names lose their namespaces."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.text = element.tail = None
    root.attrib = {key: root.attrib[key] for key in ("width", "height", "viewBox")}
    return root


def _definitions(root: Element) -> dict[str, Element]:
    """Take clip paths, markers and letters out of a drawing; those used twice are defined once."""
    found: dict[str, Element] = {}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("defs", "metadata", "style"):
                parent.remove(child)
                found |= {element.attrib["id"]: element for element in child if "id" in element.attrib}
    return found


def _simplify(root: Element, definitions: Mapping[str, Element]) -> None:
    """Drop what is not seen, and write paths and numbers short."""
    for element in definitions.values():
        for part in element.iter():
            _shorten(part, letter=_GLYPH.fullmatch(part.get("id", "")) is not None)
    for parent in root.iter():
        in_words = "scale" in parent.get("transform", "")
        for child in list(parent):
            words = child.tag == "g" and "scale" in child.get("transform", "")
            if words or (child.tag in ("path", "use") and not in_words):
                child.set("style", _with_fill(child.get("style", "")))
            _shorten(child, letter=in_words)
            if not _seen(child, definitions):
                parent.remove(child)
    _unwrap(root)


def _with_fill(style: str) -> str:
    """Say black, which matplotlib leaves unsaid: a dark drawing needs another colour."""
    if re.search(r"\bfill-opacity: 0(?:;|$)", style):
        return f"{style}; fill: none"
    return style if re.search(r"\bfill:", style) else f"{style}; fill: #000000"


def _seen(element: Element, definitions: Mapping[str, Element]) -> bool:
    if element.tag == "use":
        used = definitions.get(element.attrib["href"][1:])
        return used is None or bool(used.get("d"))
    style = _style(element)
    return element.tag != "path" or style.get("fill") != "none" or "stroke" in style


def _unwrap(parent: Element) -> None:
    """Replace groups that say nothing by what they hold."""
    children: list[Element] = []
    for child in parent:
        _unwrap(child)
        if child.tag == "g" and not _RIM.fullmatch(child.get("id", "")):
            child.attrib.pop("id", None)
            if not child.attrib:
                children += list(child)
                continue
        if child.tag != "g" or len(child):
            children.append(child)
    parent[:] = children


def _shorten(element: Element, *, letter: bool) -> None:
    """Round the numbers of an element: lengths to a hundredth of a point, in words to a tenth of a percent of an em."""
    digits = 1 if letter else 2
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"], thin=not letter))
    if "transform" in element.attrib:
        functions = [(name, [float(v) for v in re.split(r"[\s,]+", v.strip())])
                     for name, v in _FUNCTION.findall(element.attrib["transform"])]  # fmt: skip
        if element.tag == "use" and [name for name, _ in functions] == ["translate"]:
            del element.attrib["transform"]
            moved = dict(zip("xy", functions[0][1], strict=False))
            element.attrib |= {key: repr(value) for key, value in moved.items() if value}
        else:
            texts = [(name, [_short(v, digits) if name == "translate" else f"{v:.6g}" for v in values])
                     for name, values in functions]  # fmt: skip
            element.set("transform", "".join(f"{name}({' '.join(values)})" for name, values in texts))
    for key in ("x", "y", "width", "height"):
        if key in element.attrib and element.tag != "svg":
            element.set(key, _short(float(element.attrib[key]), digits))
            if element.tag == "use" and element.attrib[key] == "0":
                del element.attrib[key]


# Paths ---------------------------------------------------------------------------------------------------------------


def _short(value: float, digits: int = 2) -> str:
    """Write a number without zeros that say nothing."""
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return re.sub(r"^(-?)0(?=\.)", r"\1", text)


class _Segment(NamedTuple):
    command: str
    points: NDArray[np.float64]  # (n, 2), of which the last is the end


_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0}


def _segments(data: str) -> list[_Segment]:
    """Read matplotlib's path data: absolute, one command for each segment."""
    found: list[_Segment] = []
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        points = np.array(numbers.split(), dtype=float).reshape(-1, 2)
        if command not in _POINTS or len(points) != _POINTS[command]:
            raise ValueError(
                f"path data of a drawing has {command!r} with {points.size} numbers; matplotlib writes MLQCz"
            )
        found.append(_Segment(command, points))
    return found


@lru_cache(maxsize=256)  # letters occur in every drawing, and each is drawn in two themes
def _path(data: str, *, thin: bool) -> str:
    """Write path data with relative, rounded coordinates; sums of the rounded ones stay within rounding of the old."""
    segments = _segments(data)
    if thin:
        segments = _thinned(segments)
    written: list[str] = []
    here = start = np.zeros(2, dtype=int)
    last = ""
    for command, points in segments:
        grid = np.rint(100 * points).astype(int)
        if command == "z":
            written.append("" if last == "z" else "z")
            here, last = start, "z"
            continue
        letter, steps = command.lower(), (grid - here).ravel()
        if command == "M":
            start = grid[-1]
        elif command == "L" and 0 in steps:
            letter, steps = ("h", steps[:1]) if steps[1] == 0 else ("v", steps[1:])
        here = grid[-1]
        # A repeated letter may be left out; after a move, a line is meant.
        known = (letter == last and letter != "m") or (letter, last) == ("l", "m")
        text = "" if known else letter
        for i, value in enumerate(steps):
            number = _short(value / 100)
            before = written[-1] if i == 0 and not text and written else text
            text += " " * (before[-1:].isdigit() and _touch(before, number)) + number
        written.append(text)
        last = letter
    return "".join(written)


def _touch(before: str, number: str) -> bool:
    """Say whether two numbers, one written after the other, would be read as one."""
    if number.startswith("-"):
        return False
    return not (number.startswith(".") and "." in re.split(r"[a-zA-Z \-]", before)[-1])


def _thinned(segments: Sequence[_Segment]) -> list[_Segment]:
    """Leave out points of long runs of lines that lie within a hair of the rest."""
    kept: list[_Segment] = []
    for is_line, together in groupby(segments, key=lambda segment: segment.command == "L"):
        run = list(together)
        if is_line and len(run) >= 8 and kept:
            points = np.concatenate([s.points for s in run])
            run = [_Segment("L", point[None]) for point in points[_needed(points)]]
        kept += run
    return kept


def _needed(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Points (n, 2) of a line that lie further than a hair from the line without them (Douglas and Peucker, 1973)."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(points) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        chord, between = points[last] - points[first], points[first + 1 : last] - points[first]
        # Distance to the segment: to its line, or to the nearer end.
        share = np.clip(between @ chord / max(float(chord @ chord), 1e-12), 0, 1)
        away = np.hypot(*(between - share[:, None] * chord).T)
        if away.max() > _THIN:
            middle = first + 1 + int(np.argmax(away))
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return keep


# Names, rims, styles -------------------------------------------------------------------------------------------------


def _words() -> Iterator[str]:
    """Yield a, b, ..., z, aa, ab, ..."""
    for length in count(1):
        yield from ("".join(letters) for letters in product(ascii_lowercase, repeat=length))


def _ids(definitions: Mapping[str, Element]) -> Iterator[str]:
    """Yield a short name for each definition: for a letter its font and number, which are the same in every drawing."""
    numbers = count(1)
    for name, element in definitions.items():
        glyph = _GLYPH.fullmatch(name)
        if glyph is not None and glyph[1] in _FONTS:
            yield f"{_FONTS[glyph[1]]}{glyph[2]}"
        else:
            yield f"{'k' if element.tag == 'clipPath' else 'm'}{next(numbers)}"


def _renamed(root: Element, definitions: Mapping[str, Element]) -> Element:
    """Give the definitions that are used short names, and return them as one element."""
    users = list(root.iter())
    used = {e.attrib["href"][1:] for e in users if "href" in e.attrib}
    used |= {e.attrib["clip-path"][5:-1] for e in users if "clip-path" in e.attrib}
    kept = {name: element for name, element in definitions.items() if name in used}
    names = dict(zip(kept, _ids(kept), strict=True))
    for element in users:
        if "href" in element.attrib:
            element.set("href", f"#{names[element.attrib['href'][1:]]}")
        if "clip-path" in element.attrib:
            element.set("clip-path", f"url(#{names[element.attrib['clip-path'][5:-1]]})")
    defs = Element("defs")
    for old, element in kept.items():
        element.attrib = {"id": names[old]} | {key: value for key, value in element.attrib.items() if key != "id"}
        defs.append(element)
    return defs


def _rims(parent: Element) -> None:
    """Draw the rim of words as a copy of them behind them, in outline: letters are still defined once."""
    numbers = count(1)

    def visit(parent: Element) -> None:
        children: list[Element] = []
        for child in parent:
            rim = _RIM.fullmatch(child.get("id", ""))
            visit(child)
            if rim is None:
                children.append(child)
                continue
            for line in child:
                scale = re.search(r"scale\(([\d.]+)", line.get("transform", ""))
                if scale is not None:
                    words = Element("g", {"id": f"t{next(numbers)}"})
                    words[:] = list(line)
                    width = _short(float(rim[1]) / (float(scale[1]) * _EM), 0)
                    style = f"fill: {rim[2]}; stroke: {rim[2]}; stroke-width: {width}"
                    line[:] = [Element("use", {"href": f"#{words.attrib['id']}", "style": style}), words]
                children.append(line)
        parent[:] = children

    visit(parent)


def _style(element: Element) -> dict[str, str]:
    pairs = (part.partition(":") for part in element.get("style", "").split(";") if part.strip())
    style = {key.strip(): value.strip() for key, _, value in pairs}
    if style.get("fill") == "none":
        style.pop("fill-opacity", None)
    return {key: value for key, value in style.items() if _DEFAULTS.get(key) != value}


def _style_sheet(root: Element) -> dict[str, str]:
    """Turn the styles of elements into classes, the most frequent with the shortest names; return the rules by name."""
    styled: list[tuple[Element, str]] = []
    for element in root.iter():
        style = _style(element)
        element.attrib.pop("style", None)
        if style:
            text = ";".join(f"{key}:{_tidy(value)}" for key, value in sorted(style.items()))
            styled.append((element, text))
    counts = Counter(text for _, text in styled)  # by first appearance where counts are equal
    names = dict(zip((text for text, _ in counts.most_common()), _words(), strict=False))
    for element, text in styled:
        element.set("class", names[text])
    return {name: text for text, name in names.items()}


def _tidy(value: str) -> str:
    """Colours in six lower-case digits; numbers short."""
    if value.startswith("#"):
        return value.lower()
    return re.sub(r"(?<![\w.])\d*\.\d+", lambda number: _short(float(number[0]), 3), value)


def _group(parent: Element, key: str, unless: Collection[str] = ()) -> None:
    """Say what neighbours have in common once, in a group around them."""
    children: list[Element] = []
    for value, run in groupby(parent, key=lambda child: _movable(child, key)):
        members = list(run)
        if value is None or value in unless or len(members) == 1:
            children += members
            continue
        group = Element("g", {key: value})
        for child in members:
            del child.attrib[key]
            group.extend(child if child.tag == "g" and not child.attrib else [child])
        children.append(group)
    parent[:] = children
    for child in parent:
        if child.tag == "g":
            _group(child, key, unless)


def _movable(element: Element, key: str) -> str | None:
    """Return an attribute that would mean the same on a group around the element: a clip path is in its coordinates."""
    return None if key == "clip-path" and "transform" in element.attrib else element.get(key)


# Writing -------------------------------------------------------------------------------------------------------------


def _write(element: Element) -> Iterator[str]:
    attributes = "".join(f' {key}="{html.escape(value)}"' for key, value in element.attrib.items())
    namespace = ' xmlns="http://www.w3.org/2000/svg"' if element.tag == "svg" else ""
    if element.text is None and not len(element):
        yield f"<{element.tag}{namespace}{attributes}/>"
        return
    yield f"<{element.tag}{namespace}{attributes}>{element.text or ''}"
    for child in element:
        yield "\n"
        yield from _write(child)
    yield f"</{element.tag}>"
