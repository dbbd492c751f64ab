"""Targets as they are named on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError, lookup_error

if TYPE_CHECKING:
    from models.targets import Target

__all__ = ["target_of"]


def target_of(text: str) -> Target:
    """Build a target from a catalogue name, a data set, inline JSON, or a JSON file."""
    from analysis.data.columns import DATASETS, load_column
    from models.targets import TARGETS, find_target, from_draws, from_spec

    if text.lstrip().startswith(("{", "[")):
        return from_spec(_json(text, "inline target"))
    if text in TARGETS:
        return find_target(text)
    if text in DATASETS:
        return from_draws(load_column(text), name=text)
    if text.endswith(".json") or Path(text).is_file():
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"target file {text!r} cannot be read ({error}); give a readable JSON file") from None
        return from_spec(_json(content, f"target file {text!r}"))
    raise lookup_error("target", text, [*TARGETS, *DATASETS])


def _once(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """An object of JSON, whose parser would keep the last of two values of one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise InputError(f"{where} has {twice!r} more than once; give every name one value")
    if (wrong := next((name for name, value in pairs if _holds_bool(value)), None)) is not None:
        raise InputError(f"{wrong!r} of {where} is true or false; give numbers")
    return found


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and any(map(_holds_bool, value)))


def _json(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, where))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            'write for example {"weights": [0.5, 0.5], "means": [-3, 3], "sds": [1, 1]}'
        ) from None
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is a JSON {type(value).__name__}; it must be an object")
    return value
