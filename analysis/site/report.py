"""Findings and figures become a site, one file, a PDF and pages for a repository browser, all from the same Markdown.

`write_report` builds everything in memory before it touches the output folder, so a build that fails leaves an earlier one as it
was. Nothing is fetched from a network, now or when the pages are read. The same inputs give the same bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from analysis.site.book import Book, Page, Section, book_of, single_page
from analysis.site.chapter import TEMPLATES
from analysis.site.figure import Figure, Placed
from analysis.site.formats import Converter, files_of
from analysis.site.marks import Index, index_of, resolved, shown_by
from analysis.store import write_all
from models.errors import InputError, lookup_error

__all__ = ["FORMATS", "Section", "check_output", "check_results", "write_report"]

FORMATS: Mapping[str, str] = {"html": "index.html", "md": "README.md", "pdf": "report.pdf"}
"""File name of the first page of each output format."""
_MANIFEST = ".built.json"
_Files = dict[str, bytes]
_Build = Callable[[], _Files]


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
    """Write the report: a site of several questions, or one page about one thing.

    Parameters
    ----------
    sections : sequence of Section
        In reading order; at least one.
    provenance : mapping
        Where the numbers come from: shown as a table, nested mappings as lists. A ``date`` (ISO 8601) also dates the
        pages and the PDF.
    output : Path
        Folder; made if needed. Gets ``index.html``, ``README.md`` with ``figures/``, ``report.pdf``; for several sections
        also ``pages/`` and all in one file, ``report.html``. Files of an earlier report that this one has not are removed,
        if nobody changed them.
    formats : collection of {"html", "md", "pdf"}
        What to write.
    title : str
        Title of the report, Markdown.
    templates : sequence of Path
        Folders searched in turn for ``index.md``, ``pages/*.md``, ``<section>/chapter.md``, ``page.html``, ``style.css``,
        ``report.typ``, ``report.lua`` and scripts. Put your own folder before `TEMPLATES` to replace or add some.
    bibliography : Path, optional
        BibTeX file; the project's ``reports/references.bib`` unless told.

    Returns
    -------
    list of Path
        The first page of each format, in the order html, md, pdf.

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
    output = Path(output)
    _check(sections, output, formats)
    figures = {figure.name: figure for section in sections for figure in section.figures}
    converter = Converter(
        templates, bibliography or TEMPLATES.parent / "references.bib", str(provenance.get("date", ""))[:10]
    )
    moment = _timestamp(provenance)
    builds: dict[str, list[_Build]]
    if len(sections) == 1:
        page = single_page(sections[0], provenance, title, templates)
        book = Book(title, page, ())
        index = index_of(book.pages, figures)
        builds = {"html": [partial(_one_html, book, figures, index, converter, "index.html")]}
    else:
        book = book_of(sections, provenance, title, templates)
        index = index_of(book.pages, figures)
        builds = {"html": [partial(_one_html, book, figures, index, converter, "report.html")]}
        builds["html"] += [partial(_site_page, book, page, figures, index, converter, moment) for page in book.pages]
    still = {name: figure.fallback for name, figure in figures.items()} if set(formats) - {"html"} else {}
    builds["md"] = [partial(_md_page, book, page, still, index, converter) for page in [book.front, *book.story]]
    builds["md"].append(lambda: {f"figures/{n}": c for f in still.values() for n, c in files_of(f).items()})
    builds["pdf"] = [partial(_pdf, book, still, index, converter, moment)]

    wanted: list[_Build] = [build for form in FORMATS if form in formats for build in builds[form]]
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as threads:  # what takes time are pandoc and typst, which are other processes
        files = {output / name: content for found in threads.map(lambda build: build(), wanted) for name, content in found.items()}  # fmt: skip
    old = _built_before(output)
    kinds = tuple(kind for form in formats for kind in _KINDS[form])
    kept = {name: digest for name, digest in old.items() if not name.endswith(kinds)}
    new = {path.relative_to(output).as_posix(): hashlib.sha256(content).hexdigest() for path, content in files.items()}
    if old or len(new) > 1:  # one page alone leaves nothing behind
        manifest = json.dumps({**kept, **new}, indent=1, sort_keys=True).encode() + b"\n"
        files[output / _MANIFEST] = manifest
    write_all(files, last={*FORMATS.values(), _MANIFEST})
    for name, digest in old.items():
        path = output / name
        gone = name not in kept and name not in new and path.is_file()
        if gone and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            path.unlink()
    return [output / FORMATS[form] for form in FORMATS if form in formats]


def check_output(output: Path, formats: Collection[str]) -> None:
    """Refuse a folder in which somebody else's file, or a folder, stands where a report is to be.

    Raises
    ------
    InputError
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"output {str(output)!r} is a file; give a folder")
    for name in {FORMATS[form] for form in formats} | ({"report.html"} if "html" in formats else set()):
        path = output / name
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder, and a report would be written there; choose another --output")
        if path.is_file() and not _ours(path):
            raise _foreign(path)
    for name in _FOLDERS:
        if (output / name).is_file():
            raise InputError(f"{str(output / name)!r} is a file, and a folder would be there; choose another --output")


def check_results(output: Path, names: Sequence[str]) -> None:
    """Refuse a folder in which files of these names stand without a page of ours: they would be replaced.

    Raises
    ------
    InputError
    """
    check_output(output, ("html",))
    if not (output / FORMATS["html"]).exists():
        for name in names:
            if (output / name).exists():
                raise _foreign(output / name)


def _foreign(path: Path) -> InputError:
    """What is said of somebody else's file in the way."""
    return InputError(f"{str(path)!r} was not written by `duality` and would be replaced; choose another --output")


#: What a page of ours has near its beginning.
_OURS = (b'content="duality report"', b"<!-- Built by `duality report`")
_PDF = b"/Keywords(duality report)"
#: Beside the pages.
_FOLDERS = ("figures", "pages", "results")


def _ours(path: Path) -> bool:
    """Whether `duality` has written a page or a PDF."""
    if path.suffix == ".pdf":
        return path.name in _built_before(path.parent) or _PDF in path.read_bytes()
    head = path.read_bytes()[:4000]
    return any(mark in head for mark in _OURS)


def _check(sections: Sequence[Section], output: Path, formats: Collection[str]) -> None:
    for form in formats:
        if form not in FORMATS:
            raise lookup_error("report format", form, FORMATS)
    if not formats:
        raise InputError(f"no report format given. Known: {', '.join(FORMATS)}")
    if not sections:
        raise InputError("a report needs at least one section")
    check_output(output, formats)
    figures = [figure.name for section in sections for figure in section.figures]
    if repeated := [name for name in figures if figures.count(name) > 1]:
        raise InputError(f"two figures are called {repeated[0]!r}; their files would be the same")
    names = [section.name for section in sections]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"section {repeated[0]!r} appears twice")


#: Endings of the files of each format.
_KINDS: Mapping[str, Collection[str]] = {"html": (".html", ".png"), "md": (".md", ".svg"), "pdf": (".pdf",)}


def _built_before(output: Path) -> dict[str, str]:
    """Return the files that an earlier report wrote here, and the digest of each; none if that is not known."""
    try:
        known = json.loads((output / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    inside = output.resolve()
    return {
        str(name): str(digest)
        for name, digest in (known.items() if isinstance(known, dict) else ())
        if (inside / str(name)).resolve().is_relative_to(inside)
    }


# Pages ---------------------------------------------------------------------------------------------------------------


def _file(page: Page) -> str:
    return "index.html" if page.name == "index" else f"pages/{page.name}.html"


def _relative(here: Page, there: str) -> str:
    """Address of a file of the site, seen from a page."""
    if here.name == "index":
        return there
    return there.removeprefix("pages/") if there.startswith("pages/") else f"../{there}"


def _site_page(
    book: Book, page: Page, figures: Mapping[str, Placed], index: Index, converter: Converter, moment: dt.datetime
) -> _Files:
    """Build one page of the site, and the picture that stands for it."""

    def address(name: str, anchor: str) -> str:
        if name == page.name:
            return f"#{anchor}" if anchor != name else "#content"
        target = next(p for p in book.pages if p.name == name)
        return _relative(page, _file(target)) + ("" if anchor == name else f"#{anchor}")

    shown = {name: figures[name] for name in shown_by(page) if name in figures}
    text = resolved(page, "html", figures, index, address)
    files: _Files = {}
    head = ""
    if page.lede or page.name == "index":
        head = f'<meta property="og:title" content="{html.escape(_plain(page.title), quote=True)}">\n'
        head += f'<meta name="description" property="og:description" content="{html.escape(_plain(page.lede or book.title), quote=True)}">\n'
    if shown and not page.of:
        name = f"pages/{page.name}.png"
        files[name] = converter.preview(_plain(page.title), next(iter(shown.values())).fallback, moment)
        head += f'<meta property="og:image" content="{_relative(page, name)}">\n'
    frame = {
        "head": head,
        "kicker": _kicker(book, page),
        "lede": f'<p class="lede">{_inline(page.lede)}</p>' if page.lede else "",
        "pager": _pager(book, page),
        "pages": _pages(book, page),
    }
    kind = "front" if page.name == "index" else "evidence" if page.of else "page"
    files[_file(page)] = converter.html(
        text, page.title, shown, frame, "--shift-heading-level-by=-1", f"--variable=kind:{kind}"
    )
    return files


def _plain(text: str) -> str:
    return text.replace("*", "").replace("$", "").replace("\\", "")


def _inline(text: str) -> str:
    """A question as HTML; it has no more than emphasis and p_data in it."""
    return html.escape(text).replace("p_data", "p<sub>data</sub>")


def _link(here: Page, there: Page, words: str, more: str = "") -> str:
    return f'<a href="{_relative(here, _file(there))}"{more}>{words}</a>'


def _kicker(book: Book, page: Page) -> str:
    if page.name == "index":
        return ""
    place = f"{page.number} of {sum(bool(p.lede) for p in book.story)}" if page.lede else ""
    if page.of:
        place = f"Evidence for page {next(p.number for p in book.story if p.name == page.of)}"
    return f'<p class="kicker">{_link(page, book.front, html.escape(_plain(book.title)))} <span>{place}</span></p>'


def _pager(book: Book, page: Page) -> str:
    """Return the links to the previous and the next page."""
    if page.of:
        of = next(p for p in book.story if p.name == page.of)
        return f'<nav class="pager" aria-label="Back">{_link(page, of, f"Back to: {_inline(_plain(of.title))}")}</nav>'
    order = [book.front, *book.story]
    place = order.index(page)
    links = []
    if place:
        words = "Front page" if place == 1 else _inline(_plain(order[place - 1].title))
        links.append(_link(page, order[place - 1], f"<span>Previous</span> {words}", ' rel="prev"'))
    if place + 1 < len(order):
        links.append(
            _link(page, order[place + 1], f"<span>Next</span> {_inline(_plain(order[place + 1].title))}", ' rel="next"')
        )
    return f'<nav class="pager" aria-label="Previous and next page">{"".join(links)}</nav>'


def _pages(book: Book, page: Page) -> str:
    """Return the list of all pages, with this one marked."""
    items = []
    for other in [book.front, *book.story]:
        words = "Front page" if other is book.front else _inline(_plain(other.title))
        current = ' aria-current="page"' if page is other else ""
        items.append(f"<li>{_link(page, other, words, current)}</li>")
    return f'<p class="contents">All pages</p>\n<ol class="pages" start="0">\n{chr(10).join(items)}\n</ol>'


# All in one ----------------------------------------------------------------------------------------------------------


def _whole(book: Book, form: str, figures: Mapping[str, Placed], index: Index) -> str:
    """Return everything as one text: the story, then the evidence."""

    def address(_: str, anchor: str) -> str:
        return f"#{anchor}"

    if not book.story:
        return resolved(book.front, form, figures, index, address)
    parts = []
    for page in [*book.story, *book.evidence]:
        lede = f"*{page.lede}*\n\n" if page.lede and not page.of else ""
        parts.append(f"## {page.title} {{#{page.name}}}\n\n{lede}{resolved(page, form, figures, index, address)}")
    return "\n\n".join([*parts, "## References\n\n::: {#refs}\n:::\n"])


def _one_html(book: Book, figures: Mapping[str, Placed], index: Index, converter: Converter, name: str) -> _Files:
    level = [] if book.story else ["--shift-heading-level-by=-1"]  # a page about one thing has no headings of questions
    return {
        name: converter.html(
            _whole(book, "html", figures, index), book.title, figures, {}, "--variable=kind:whole", *level
        )
    }


def _pdf(book: Book, figures: Mapping[str, Figure], index: Index, converter: Converter, moment: dt.datetime) -> _Files:
    return {FORMATS["pdf"]: converter.pdf(_whole(book, "pdf", figures, index), book.title, figures, moment)}


def _md_page(book: Book, page: Page, figures: Mapping[str, Figure], index: Index, converter: Converter) -> _Files:
    """Build a page for a repository browser; evidence is at its end."""
    front = page.name == "index"
    evidence = [p for p in book.evidence if p.of == page.name]
    home = {p.name: p.of for p in book.evidence}
    folder = "" if front else "../"

    def address(name: str, anchor: str) -> str:
        name = home.get(name, name)
        if name == page.name:
            return f"#{anchor}" if anchor != name else "#"
        file = "README.md" if name == "index" else f"{name}.md"
        place = "" if anchor == name else f"#{anchor}"
        return (f"pages/{file}" if front else f"../{file}" if name == "index" else file) + place

    text = resolved(page, "md", figures, index, address, folder)
    if page.lede:
        text = f"*{page.lede}*\n\n{text}"
    if evidence:
        text = text.partition("### Evidence\n")[0]
    for one in evidence:
        title = one.title if len(evidence) > 1 else "Evidence"
        text += f"## {title} {{#{one.name}}}\n\n{resolved(one, 'md', figures, index, address, folder)}\n\n"
    if not front:
        order = [book.front, *book.story]
        near = [order[i] for i in (order.index(page) - 1, order.index(page) + 1) if i < len(order)]
        words = [
            f"[{label}: {_plain(p.title)}]({address(p.name, p.name)})"
            for label, p in zip(("Previous", "Next"), near, strict=False)
        ]
        text += f"\n\n---\n\n{' · '.join(words)}\n"
    return {FORMATS["md"] if front else f"pages/{page.name}.md": converter.md(text, page.title)}


def _timestamp(provenance: Mapping[str, Any]) -> dt.datetime:
    """Return the moment that the PDF bears: provenance's date, else ``SOURCE_DATE_EPOCH``, else a fixed one."""
    try:
        moment = dt.datetime.fromisoformat(str(provenance.get("date")))
    except ValueError:
        moment = dt.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=dt.UTC)
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
