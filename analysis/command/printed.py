"""JSON on stdout, and nothing else there."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "finite", "print_json", "stdout_kept", "visible"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def finite(value: float) -> float | str | None:
    """Write a number for JSON, which has neither nan nor infinity."""
    if value != value:
        return None
    return value if abs(value) != float("inf") else "inf" if value > 0 else "-inf"


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def visible(text: str) -> str:
    r"""Text whose marks of control are written out: what a file holds gives a terminal no orders.

    Examples
    --------
    >>> visible("\x1b[31mred\n")
    '\\x1b[31mred\\n'
    """
    return (
        text if text.isprintable() else "".join(c if unicodedata.category(c) != "Cc" else ascii(c)[1:-1] for c in text)
    )


@contextmanager
def stdout_kept() -> Iterator[None]:
    """Keep stdout for an answer while foreign code runs: what that writes there goes to stderr.

    The descriptor itself is turned, so that child processes and compiled code are included, which know nothing of ``sys.stdout``. What was
    asked to be done at the end of the process may print too, and goes the same way. What it closes stays open.
    """
    _flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    theirs: Any = _Unclosed(sys.stderr)
    try:
        with redirect_stdout(theirs), redirect_stderr(theirs):
            yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)
        atexit.register(_to_stderr)  # called before all that foreign code has registered


class _Unclosed:
    """A stream that foreign code may close, for itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Flush, and no more."""
        self._stream.flush()


def _to_stderr() -> None:
    _flush()
    os.dup2(2, 1)


def _flush() -> None:
    """Write out what Python and C have in store for stdout."""
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()  # type: ignore[union-attr]
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
