"""What there is to choose from: questions, targets and families by name, read from the sources without importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from models.errors import lookup_error

__all__ = ["check_questions", "names_in", "questions"]

_PACKAGE = Path(__file__).resolve().parent


@cache
def questions() -> dict[str, str]:
    """Every question's name and sentence, in the order of the story."""
    found = []
    for path in _PACKAGE.glob("*/__init__.py"):
        text = path.read_text(encoding="utf-8")
        question = _stated(text, "QUESTION")
        if question is not None:
            chapter = _stated(text, "CHAPTER")
            found.append(
                (ast.literal_eval(chapter) if chapter else 99, path.parent.name, str(ast.literal_eval(question)))
            )
    return {name: question for _, name, question in sorted(found)}


def check_questions(names: Sequence[str]) -> list[str]:
    """Return the names, or all there are if there are none.

    Raises
    ------
    InputError
        For an unknown name.
    """
    known = questions()
    for name in names:
        if name not in known:
            raise lookup_error("question", name, known)
    return list(dict.fromkeys(names)) or list(known)


def names_in(module: str, catalogue: str) -> list[str]:
    """Names in a catalogue: the keys of the first dictionary in the statement that makes it.

    Parameters
    ----------
    module, catalogue : str
        For example ``models.targets``, a module or a package whose files are looked through, and ``TARGETS``.
    """
    place = _PACKAGE.parent.joinpath(*module.split("."))
    files = sorted(place.glob("*.py")) if place.is_dir() else [p for p in [place.with_suffix(".py")] if p.is_file()]
    stated = (_stated(path.read_text(encoding="utf-8"), catalogue) for path in files)
    value = next((found for found in stated if found is not None), None)
    made = next((node for node in ast.walk(value) if isinstance(node, ast.Dict)), None) if value is not None else None
    if made is None or not all(isinstance(key, ast.Constant) for key in made.keys):  # made in another way
        return list(getattr(import_module(module), catalogue))
    return [str(key.value) for key in made.keys if isinstance(key, ast.Constant)]


def _stated(text: str, name: str) -> ast.expr | None:
    """Return the value that a statement at the top of a module gives to a name; the rest of the module is not parsed."""
    match = re.search(rf"^{name}\b[^=\n]*=", text, re.MULTILINE)
    if match is None:
        return None
    lines = text[match.start() :].splitlines()
    for end in range(1, len(lines) + 1):
        if end < len(lines) and lines[end][:1] in (" ", "\t", ")", "}", "]"):
            continue  # the statement goes on
        statement = ast.parse("\n".join(lines[:end])).body[0]
        return statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    return None
