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
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.drawing.svg import share_glyphs
from analysis.site.chapter import TEMPLATES, ReportError, filled
from analysis.site.figure import DARK, NAME, Figure, Placed
from analysis.site.mathml import mend_math
from analysis.site.numbers import CLOSE, OPEN
from analysis.site.provenance import rows
from analysis.store import write_all
from models.errors import InputError, lookup_error

__all__ = ["FORMATS", "Section", "write_report"]

FORMATS: Mapping[str, str] = {"html": "index.html", "md": "README.md", "pdf": "report.pdf"}
"""File name of each output format."""

_MARK = re.compile(f"{OPEN}(figure|ref|table):?([a-z0-9_-]*){CLOSE}")


@dataclass(frozen=True)
class Section:
    """What one question contributes to the report.

    Parameters
    ----------
    name : str
        Name of the question; its prose is ``<name>/chapter.md``.
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
        if not NAME.match(self.name):
            raise InputError(
                f"section name {self.name!r}: use lower-case letters, digits, '-' and '_', starting with a letter"
            )


def _markdown(sections: Sequence[Section], provenance: Mapping[str, Any], title: str, templates: Sequence[Path]) -> str:
    """Fill in the templates."""
    views = [
        {"name": s.name, "title": s.title, "context": s.context, "figures": {f.name: f for f in s.figures}}
        for s in sections
    ]
    return filled("report.md", templates, title=title, sections=views, provenance=provenance, provenance_rows=rows(provenance))  # fmt: skip


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
        f'<p id="fig-{figure.name}">\n<picture>\n<source media="{DARK}" srcset="{stem}-dark.svg">\n'
        f'<img alt="{alt}" src="{stem}-light.svg" width="100%">\n</picture>\n</p>'
    )
    return _raw("html", picture) + caption


def _pdf_figure(figure: Figure, caption: str) -> str:
    """Return a figure for typst."""
    alt = " ".join(figure.alt.split()).replace("\\", "\\\\").replace('"', '\\"')
    image = f'image("{figure.name}-light.svg", width: 100%, alt: "{alt}")'
    return _raw("typst", f"#figure({image}, caption: [") + caption + _raw("typst", f"]) <fig-{figure.name}>")


_FIGURES: Mapping[str, Callable[[Any, str], str]] = {"html": _html_figure, "md": _md_figure, "pdf": _pdf_figure}


def _numbers(markdown: str, figures: Mapping[str, Placed]) -> dict[str, int]:
    """Give each figure its number, in the order of their places, and check that each has one place."""
    placed = [name for kind, name in _MARK.findall(markdown) if kind == "figure"]
    for name in [*figures, *placed]:
        if name not in figures:
            raise ReportError(f"figure {name!r} is placed by a chapter, and not drawn")
        if placed.count(name) != 1:
            times = "not placed" if name not in placed else f"placed {placed.count(name)} times"
            raise ReportError(f"figure {name!r} is {times}; its chapter must have it once")
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
    page = re.sub(r"<math\b.*?</math>", mend_math, page, flags=re.DOTALL)
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
    return {f"{figure.name}-{theme}.svg": getattr(figure, theme) for theme in ("light", "dark")}


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
            (root / f"{figure.name}-light.svg").write_bytes(figure.light)
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
        Folders searched in turn for ``report.md``, ``<section>/chapter.md``, ``page.html``, ``style.css``, ``report.typ``,
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
    write_all(files, last=set(FORMATS.values()))
    return [output / FORMATS[form] for form in FORMATS if form in formats]
