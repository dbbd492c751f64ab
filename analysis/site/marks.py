"""What stands in the text of a page for figures, their numbers and links, and what becomes of it in each format."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.site.book import Page
from analysis.site.chapter import ReportError
from analysis.site.figure import DARK, Figure, Placed
from analysis.site.numbers import CLOSE, OPEN

__all__ = ["Index", "index_of", "resolved", "shown_by"]

_MARK = re.compile(f"{OPEN}(figure|ref|table|show|play):?([a-z0-9_-]*){CLOSE}")
_ANCHOR = re.compile(r"\{#([\w-]+)")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(#([\w-]+)\)")


@dataclass(frozen=True)
class Index:
    """Where everything is.

    Attributes
    ----------
    numbers : dict of str to str
        Of each figure, by name.
    page : dict of str to str
        Name of the page that an anchor is on; the name of a page is an anchor, too.
    """

    numbers: Mapping[str, str] = field(default_factory=dict)
    page: Mapping[str, str] = field(default_factory=dict)


def index_of(pages: Iterable[Page], figures: Mapping[str, Placed]) -> Index:
    """Number the figures in the order of their places, and find every anchor.

    Raises
    ------
    ReportError
        A figure has no place, or two.
    """
    numbers: dict[str, str] = {}
    places: dict[str, str] = {}
    placed: list[str] = []
    for page in pages:
        here = [name for kind, name in _MARK.findall(page.text) if kind == "figure"]
        numbers |= {name: f"{page.number}.{i}" if page.number else str(i) for i, name in enumerate(here, 1)}
        anchors = [page.name, *_ANCHOR.findall(page.text), *(f"fig-{name}" for name in here)]
        places |= dict.fromkeys(anchors, page.name)
        placed += here
    for name in [*figures, *placed]:
        if name not in figures:
            raise ReportError(f"figure {name!r} is placed by a chapter, and not drawn")
        if placed.count(name) != 1:
            times = "not placed" if name not in placed else f"placed {placed.count(name)} times"
            raise ReportError(f"figure {name!r} is {times}; its chapter must have it once")
    return Index(numbers, places)


def shown_by(page: Page) -> list[str]:
    """Return the names of the figures that a page draws."""
    return [name for kind, name in _MARK.findall(page.text) if kind in ("figure", "show")]


def resolved(
    page: Page,
    form: str,
    figures: Mapping[str, Placed],
    index: Index,
    address: Callable[[str, str], str],
    folder: str = "",
) -> str:
    """Turn the marks and the links of a page into what one format needs.

    Parameters
    ----------
    page : Page
    form : {"html", "md", "pdf"}
    figures : mapping
    index : Index
    address : callable
        Of a page and an anchor on it: where a link from this page leads.
    folder : str
        Of the drawings, seen from the page.

    Returns
    -------
    str
        pandoc Markdown. A link to a page that is not there is its words.
    """
    tables = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal tables
        kind, name = match.groups()
        if kind == "table":
            tables += 1
            return f"{page.number}.{tables}" if page.number else str(tables)
        if kind == "ref":
            if name not in index.numbers:
                raise ReportError(f"figure {name!r} is referred to, and placed nowhere")
            return f"[Figure {index.numbers[name]}](#fig-{name})"
        if kind == "play":
            return _raw("html", "<!--play-->") if form == "html" else ""
        if kind == "show":
            return _FIGURES[form](figures[name], "", folder) if name in figures else ""
        caption = _MARK.sub(replace, figures[name].caption.strip())
        return _FIGURES[form](figures[name], f"**Figure {index.numbers[name]}.** {caption}", folder)

    def lead(match: re.Match[str]) -> str:
        words, anchor = match.groups()
        if anchor in index.page:
            return f"[{words}]({address(index.page[anchor], anchor)})"
        return match[0] if anchor in ("refs", "pages", "content") else words

    return _LINK.sub(lead, _MARK.sub(replace, page.text))


def _raw(form: str, text: str) -> str:
    """Return a block that pandoc passes through to one format."""
    return f"\n\n```{{={form}}}\n{text}\n```\n\n"


def _html_figure(figure: Placed, caption: str, _: str) -> str:
    """Return a figure for HTML; what is large or interactive is put in after pandoc."""
    if not caption:
        return _raw("html", f'<div class="shown">\n{figure.body()}\n</div>')
    top = f'<figure id="fig-{figure.name}">\n{figure.body()}\n<figcaption>'
    return _raw("html", top) + caption + _raw("html", "</figcaption>\n</figure>")


def _md_figure(figure: Figure, caption: str, folder: str) -> str:
    """Return a figure for a repository browser; the drawings are files beside the page."""
    alt = html.escape(" ".join(figure.alt.split()), quote=True)
    stem = f"{folder}figures/{figure.name}"
    name = f' id="fig-{figure.name}"' if caption else ""
    picture = (
        f'<p{name}>\n<picture>\n<source media="{DARK}" srcset="{stem}-dark.svg">\n'
        f'<img alt="{alt}" src="{stem}-light.svg" width="100%">\n</picture>\n</p>'
    )
    return _raw("html", picture) + caption


def _pdf_figure(figure: Figure, caption: str, _: str) -> str:
    """Return a figure for typst: text goes on where it does not fit, and the first one of a page never stands above its heading."""
    alt = " ".join(figure.alt.split()).replace("\\", "\\\\").replace('"', '\\"')
    image = f'image("{figure.name}-light.svg", width: 100%, alt: "{alt}")'
    where = "bottom" if re.match(r"\*\*Figure \w+\.1\.", caption) else "auto"
    return (
        _raw("typst", f"#figure({image}, placement: {where}, caption: [")
        + caption
        + _raw("typst", f"]) <fig-{figure.name}>")
    )


_FIGURES: Mapping[str, Callable[[Any, str, str], str]] = {"html": _html_figure, "md": _md_figure, "pdf": _pdf_figure}
