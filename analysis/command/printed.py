"""JSON on stdout, and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "finite", "print_json"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def finite(value: float) -> float | str | None:
    """Write a number for JSON, which has neither nan nor infinity."""
    return None if value != value else value if abs(value) != float("inf") else "inf"


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))
