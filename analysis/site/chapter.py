"""Chapters: prose in Markdown with Jinja's conditions, filled in with the findings of a question.

Besides what Jinja has, a chapter says its answer in ``<% answer %> ... <% endanswer %>``, which is placed by the frame of the
page, places each figure with its words, ``<% figure NAME %> caption <% alt %> what it shows <% endfigure %>``, and sets apart
what only checks its claims, ``<% evidence %> ... <% endevidence %>``, which goes to a page of its own.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from analysis.site.figure import Placed, mark
from analysis.site.numbers import (
    CLOSE,
    OPEN,
    est,
    fixed,
    is_estimate,
    listed,
    num,
    pct,
    plain,
    plural,
    signed,
    table,
    tex,
)
from models.errors import InputError

__all__ = ["EVIDENCE", "TEMPLATES", "ReportError", "Words", "filled", "headline", "words_of"]

TEMPLATES = Path(__file__).resolve().parents[2] / "reports" / "templates"
"""Folder of the report's own templates, style sheet and fonts."""
#: What stands in the text around evidence.
EVIDENCE = (f"\n\n{OPEN}evidence{CLOSE}\n\n", f"\n\n{OPEN}endevidence{CLOSE}\n\n")
#: Folder of the questions, each with its ``chapter.md``.
_CHAPTERS = Path(__file__).resolve().parents[1]


class ReportError(RuntimeError):
    """The report could not be built; the message names the template or the format, and the cause."""


@dataclass
class Words:
    """What a chapter says.

    Attributes
    ----------
    answer : str
        Markdown; empty if the chapter has none.
    alt, caption : dict of str to str
        Of each figure, by name.
    text : str
        The rest.
    """

    answer: str = ""
    text: str = ""
    alt: dict[str, str] = field(default_factory=dict)
    caption: dict[str, str] = field(default_factory=dict)


def words_of(question: str, findings: Mapping[str, Any], templates: Sequence[Path] = (TEMPLATES,)) -> Words:
    """Return what a chapter says of findings.

    Raises
    ------
    ReportError
        The chapter fails; the message says where.
    """
    words = Words()
    words.text = filled(f"{question}/chapter.md", templates, f=findings, figures=_AnyFigure(), words=words)
    return words


def filled(name: str, templates: Sequence[Path], **values: Any) -> str:
    """Fill in a template, looked for in folders, and then among the questions.

    Raises
    ------
    ReportError
        There is no such template, or it fails.
    """
    try:
        # Two spaces at the end of a line would break it; here they are left over from a condition.
        return re.sub(r" +\n", "\n", _environment(templates).get_template(name).render(**values))
    except jinja2.TemplateNotFound as error:
        places = ", ".join(str(path) for path in templates)
        raise ReportError(f"no template {error.name} in {places}") from error
    except jinja2.TemplateSyntaxError as error:
        raise ReportError(f"{error.name}, line {error.lineno}: {error.message}") from error
    except (jinja2.UndefinedError, InputError, TypeError, ArithmeticError) as error:
        raise ReportError(f"{_blame(error)}: {error}") from error


def headline(answer: str) -> str:
    """Return the first sentence of an answer, which is all of it that opens a report of several questions."""
    return re.split(
        r"(?<=[^\W\d_][.!?])\s+(?=[^a-z\d\s])|(?<=[)\d%][.!?])\s+(?=[^a-z\d\s])", answer.strip(), maxsplit=1
    )[0]


class _NoFigure(str):
    ref = ""


class _AnyFigure:
    """Figures by any name, where only words are asked for."""

    def __contains__(self, name: str) -> bool:
        return True

    def __getattr__(self, name: str) -> _NoFigure:
        return _NoFigure()


_ENDIF = "<% endif %>"


class _Blocks(Extension):
    """The blocks of a chapter that Jinja does not have."""

    tags = {"answer", "figure", "evidence"}  # noqa: RUF012 (as Jinja declares it)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Keep the space between words where a line of text ends with a block: Jinja takes the end of such a line away.

        A line that is a sentence under a condition leaves nothing behind if it is not said, unless it ends a paragraph.
        """
        lines = source.split("\n")
        for i, (line, after) in enumerate(pairwise([*lines, ""])):
            text = re.sub(r"<%.*?%>", "", line).strip()
            if text and line.endswith("%>") and not after.startswith("<%-"):  # which asks for no space
                goes_on = re.match(r"\s*([^\s#*:|-]|\*\*)", after) is not None  # the paragraph
                conditional = line.startswith("<%") and line.endswith(_ENDIF) and "<% else %>" not in line and goes_on
                lines[i] = f"{line.removesuffix(_ENDIF)} {_ENDIF}" if conditional else f"{line} "
        return "\n".join(lines)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Turn a block into calls that keep its words."""
        tag = next(parser.stream)
        if tag.value == "answer":
            return [self._kept(parser, "answer", "", "name:endanswer", tag.lineno)]
        if tag.value == "evidence":
            body = parser.parse_statements(("name:endevidence",), drop_needle=True)
            ends = (nodes.Output([nodes.TemplateData(end)]).set_lineno(tag.lineno) for end in EVIDENCE)
            return [next(ends), *body, next(ends)]
        name = parser.stream.expect("name").value
        return [
            self._kept(parser, "caption", name, "name:alt", tag.lineno),
            self._kept(parser, "alt", name, "name:endfigure", tag.lineno),
            nodes.Output([nodes.TemplateData(mark(name))]).set_lineno(tag.lineno),
        ]

    def _kept(self, parser: Parser, kind: str, name: str, end: str, line: int) -> nodes.Node:
        body = parser.parse_statements((end,), drop_needle=True)
        call = self.call_method("_keep", [nodes.Const(kind), nodes.Const(name), nodes.ContextReference()])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    @staticmethod
    def _keep(kind: str, name: str, context: jinja2.runtime.Context, caller: Callable[[], str]) -> str:
        words = context.get("words")
        if words is None:
            return ""
        text = re.sub(r"[ \t\r\n]+", " ", caller()).strip(" ")  # and keep the spaces that do not break
        if kind == "answer":
            words.answer = text
        else:
            getattr(words, kind)[name] = plain(text) if kind == "alt" else text
        return ""


def _environment(templates: Sequence[Path]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(path) for path in (*templates, _CHAPTERS)]),
        extensions=[_Blocks],
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
    environment.globals["next_table"] = f"{OPEN}table{CLOSE}"
    filters = (num, est, pct, signed, fixed, table, tex, listed, plural)
    environment.filters["place"] = lambda kind: f"\n\n{OPEN}{kind}{CLOSE}\n\n"
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def _finalize(value: Any) -> Any:
    """Write what a template prints without a filter: estimates and floats by their rule, and no ``None``."""
    if value is None:
        raise InputError("a template prints None: the finding is missing")
    if isinstance(value, Placed | str):
        return value
    if is_estimate(value):
        return est(value)
    if isinstance(value, Real) and not isinstance(value, Integral):
        return num(value)
    if callable(value):
        raise InputError(f"a template prints {value!r}: a finding cannot be called as a method of dictionaries is")
    return value


def _blame(error: BaseException) -> str:
    """Name the template line that an error came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(".md")]
    return f"{'/'.join(Path(frames[-1].filename).parts[-2:])}, line {frames[-1].lineno}" if frames else "the templates"
