"""Pages as HTML, as Markdown for a repository browser and as PDF: pandoc and typst, and what they leave to mend."""

from __future__ import annotations

import base64
import html
import itertools
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from analysis.drawing.svg import share_glyphs
from analysis.site.chapter import ReportError
from analysis.site.figure import Figure, Placed
from analysis.site.mathml import mend_math

__all__ = ["Converter", "files_of"]

#: A heading with an anchor of its own.
_NAMED = re.compile(r"^(#+ .*?) \{#([\w-]+)\}$", re.MULTILINE)
#: Options of pandoc.
_HTML = ("--to=html5", "--standalone", "--mathml", "--toc", "--toc-depth=3", "--wrap=none",
         "--syntax-highlighting=monochrome", "--metadata=link-citations:true")  # fmt: skip
_TYPST = ("--to=typst", "--standalone", "--shift-heading-level-by=-1", "--wrap=none", "--syntax-highlighting=none")


@dataclass(frozen=True)
class Converter:
    """Templates and bibliography, with which text becomes a document.

    Attributes
    ----------
    templates : sequence of Path
        Folders searched in turn.
    bibliography : Path
        BibTeX.
    date : str
        ISO 8601; may be empty.
    """

    templates: Sequence[Path]
    bibliography: Path
    date: str = ""

    def find(self, name: str) -> Path:
        """Find a file in the first template folder that has it."""
        for folder in self.templates:
            if (folder / name).is_file():
                return folder / name
        raise ReportError(f"no {name} in {', '.join(str(path) for path in self.templates)}")

    def html(
        self, text: str, title: str, figures: Mapping[str, Placed], frame: Mapping[str, str], *arguments: str
    ) -> bytes:
        """Return one page that is complete in itself.

        Parameters
        ----------
        text : str
            Markdown without marks.
        title : str
            Markdown.
        figures : mapping
            Those that the page has.
        frame : mapping of str to str
            What ``<!--name-->`` stands for in ``page.html``, HTML.
        *arguments : str
            Of pandoc.
        """
        page = self._pandoc(text, "html", title, f"--template={self.find('page.html')}", *_HTML, *arguments)
        page = re.sub(r"<math\b.*?</math>", mend_math, page, flags=re.DOTALL)
        tables = itertools.count(1)
        page = re.sub(
            r"<table\b(.*?)>(?:\s*<caption>(.*?)</caption>)?", lambda m: _scroll(m, next(tables)), page, flags=re.DOTALL
        )
        page = page.replace("</table>", "</table>\n</div>").replace("<th ", '<th scope="col" ')
        page = re.sub(r'<(h[2-4]) ([^>]*?)id="([^"]+)"([^>]*)>(.*?)</\1>', _with_link, page, flags=re.DOTALL)
        scripts = sorted({figure.script for figure in figures.values() if figure.script is not None})
        styles = ["style.css"]
        if "<!--play-->" in page:
            scripts.append("play.js")
            styles.append("play.css")
            frame = {**frame, "play": self.find("play.html").read_text(encoding="utf-8")}
        for name in ("head", "kicker", "lede", "pager", "pages", "play"):
            page = page.replace(f"<!--{name}-->", frame.get(name, ""))
        page = page.replace("/*style*/", "\n".join(map(self._style, styles)))
        code = "\n".join(self.find(name).read_text(encoding="utf-8") for name in scripts)
        page = page.replace("<!--script-->", f"<script>\n{code}\n</script>" if scripts else "")
        for figure in figures.values():
            page = figure.embed(page)
        return share_glyphs(page).encode()

    def md(self, text: str, title: str) -> bytes:
        """Return a page for a repository browser, where a heading's own anchor has to be an element."""
        text = _NAMED.sub(r'<a id="\2"></a>\n\n\1', text)
        body = self._pandoc(text, "md", title, "--to=gfm", "--wrap=preserve")
        body = re.sub(r"^-{5,}$", "---", body, flags=re.MULTILINE)  # a rule, as long as a line may be
        note = "<!-- Built by `duality report` from the chapters and reports/templates: edit those, not this file. -->"
        return f"{note}\n\n# {title}\n\n{body}".encode()

    def pdf(self, text: str, title: str, figures: Mapping[str, Figure], timestamp: datetime) -> bytes:
        """Return a PDF, set by typst from the fonts that it brings along."""
        source = self._pandoc(text, "pdf", title, f"--template={self.find('report.typ')}", *_TYPST)
        return _typeset(source, figures, timestamp, "pdf")

    def preview(self, title: str, figure: Figure, timestamp: datetime) -> bytes:
        """Return a picture of a page (PNG, 1200 by 630), for those who send its link."""
        words = title.replace("\\", "\\\\").replace('"', '\\"')
        source = (
            '#set page(width: 600pt, height: 315pt, margin: 24pt, fill: rgb("#fcfcfb"))\n'
            '#set text(font: "New Computer Modern", size: 23pt, weight: "bold", fill: rgb("#1d2126"))\n'
            f'#text("{words}")\n#v(1fr)\n'
            f'#align(center, image("{figure.name}-light.svg", width: 100%, height: 215pt, fit: "contain"))\n'
        )
        return _typeset(source, {figure.name: figure}, timestamp, "png")

    def _style(self, name: str) -> str:
        """Return a style sheet with its fonts embedded."""
        path = self.find(name)

        def embed(match: re.Match[str]) -> str:
            font = base64.b64encode((path.parent / match.group(1)).read_bytes()).decode("ascii")
            return f'url("data:font/woff2;base64,{font}")'

        return re.sub(r'url\("([^":]+\.woff2)"\)', embed, path.read_text(encoding="utf-8"))

    def _pandoc(self, text: str, form: str, title: str, *arguments: str) -> str:
        """Convert Markdown with pandoc; its warnings are errors."""
        import pypandoc

        cited = re.search(r"(?<![\w@])@[a-z]+\d{4}", text) is not None
        if cited and "::: {#refs}" not in text:
            text += "\n\n### References\n\n::: {#refs}\n:::\n"
        command = [
            pypandoc.get_pandoc_path(),
            "--from=markdown",
            "--fail-if-warnings",
            "--columns=1000",
            *(
                ["--citeproc", f"--bibliography={self.bibliography}"] if cited else []
            ),  # before the filter, which has its say on references, too
            f"--lua-filter={self.find('report.lua')}",
            f"--metadata=title:{title}",
            "--metadata=lang:en",
            *([f"--metadata=date:{self.date}"] if self.date else []),
            *arguments,
        ]
        done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            raise ReportError(f"pandoc could not make the {form} report: {done.stderr.strip()}")
        return done.stdout


def files_of(figure: Figure) -> dict[str, bytes]:
    """Return the files of a figure beside a page."""
    return {f"{figure.name}-{theme}.svg": getattr(figure, theme) for theme in ("light", "dark")}


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


def _with_link(match: re.Match[str]) -> str:
    """Return a heading with a link to itself, so that one can send it."""
    tag, before, name, after, words = match.groups()
    label = html.escape(re.sub(r"<math.*?</math>|<[^>]+>", "", words, flags=re.DOTALL).strip(), quote=True)
    link = f'<a class="anchor" href="#{name}" aria-label="Link to: {label}">#</a>'
    return f'<{tag} {before}id="{name}"{after}>{words} {link}</{tag}>'


def _typeset(source: str, figures: Mapping[str, Figure], timestamp: datetime, form: Literal["pdf", "png"]) -> bytes:
    import typst

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for figure in figures.values():
            (root / f"{figure.name}-light.svg").write_bytes(figure.light)
        path = root / "report.typ"
        path.write_text(source, encoding="utf-8")
        try:
            made: bytes = typst.compile(
                str(path), root=folder, ignore_system_fonts=True, timestamp=timestamp, format=form
            )
        except typst.TypstError as error:
            raise ReportError(f"typst could not make the {form} report: {error.diagnostic or error.message}") from error
    return made
