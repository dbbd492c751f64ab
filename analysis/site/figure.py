"""A figure of the report: what is placed once by its mark, and what stands for it in each format."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from analysis.drawing.svg import inline
from analysis.site.numbers import CLOSE, OPEN
from models.errors import InputError

__all__ = ["DARK", "NAME", "Figure", "Placed", "mark"]

#: Of a figure or a section, which is also that of a file or an anchor.
NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
DARK = "(prefers-color-scheme: dark)"


def mark(name: str) -> str:
    """Return what stands in the text for the figure of a name."""
    return f"\n\n{OPEN}figure:{name}{CLOSE}\n\n"


class Placed(ABC):
    """What a template places exactly once by its mark: a `Figure`, or something interactive that falls back on one."""

    name: str
    alt: str
    caption: str
    script: ClassVar[str | None] = None
    """Template file with the script that the page needs for it."""

    def __post_init__(self) -> None:
        """Refuse what would make a broken or unreadable figure."""
        if not NAME.match(self.name):
            raise InputError(
                f"figure name {self.name!r}: use lower-case letters, digits, '-' and '_', starting with a letter"
            )
        for field in ("alt", "caption"):
            if not getattr(self, field).strip():
                raise InputError(f"figure {self.name!r}: {field} is empty")

    @property
    def ref(self) -> str:
        """A numbered link to the figure, for use in prose."""
        return f"{OPEN}ref:{self.name}{CLOSE}"

    def __str__(self) -> str:
        """Return the mark that each output format turns into the figure."""
        return mark(self.name)

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
    r"""One drawing in a light and a dark version, which differ by nothing but colours.

    Parameters
    ----------
    name : str
        File stem; lower-case letters, digits, ``-`` and ``_``. Unique in a report.
    light, dark : bytes
        The two drawings, complete SVG files.
    alt : str
        What the drawing shows, in words, for those who cannot see it.
    caption : str
        Markdown; may hold maths and citations.
    narrow : tuple of bytes, optional
        The two drawings for a narrow screen.

    Raises
    ------
    InputError
        If a field is empty or malformed.

    Examples
    --------
    >>> hero = Figure("hero", b"<svg/>", b"<svg/>", alt="Two densities.", caption="Two densities.")
    >>> hero.ref == "\ue000ref:hero\ue001"
    True
    """

    name: str
    light: bytes
    dark: bytes
    alt: str
    caption: str
    narrow: tuple[bytes, bytes] | None = None

    def __post_init__(self) -> None:
        """Refuse what would make a broken or unreadable figure."""
        super().__post_init__()
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
        """Return the page with the drawings in their place: one element for both themes, whose colours are CSS custom properties."""
        label = " ".join(self.alt.split())
        if self.narrow is None:
            return page.replace(self.body(), inline(self.light, self.dark, self.name, label))
        wide = inline(self.light, self.dark, self.name, label)
        narrow = inline(*self.narrow, f"{self.name}-narrow", label)  # no reader has both: style.css shows one
        return page.replace(self.body(), f'<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>')
