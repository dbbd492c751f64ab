"""Text where a table has numbers: a row of units below the names, and what is asked of everything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.own_data.numerals import Kind, Marks, is_number
from analysis.own_data.table import Table
from analysis.own_data.units import beside
from models.errors import InputError

__all__ = ["remedy", "told_of", "without_units"]

#: Signs of a value below or above a limit; and what laboratories write for one: not detected, below the limit of detection or quantification.
_BEYOND = ("<", ">", "≤", "≥")
_LIMITS = frozenset(["nd", "bdl", "lod", "loq", "bld", "blq", "bql", "bloq", "lloq"])


def without_units(path: Path, table: Table, marks: Marks) -> list[str]:
    """Take a row of units out of a table, and say so.

    Raises
    ------
    InputError
        If the first row holds words where the others hold numbers, and no units: maybe a second line of names.
    """
    headed = table.headed(marks)
    second = [
        k.texts[0][1]
        for name, column in zip(table.names, table.columns, strict=True)
        if not name and (k := column.kinds[marks]).numeric and k.headed
    ]
    if headed and second:
        raise InputError(
            f"{str(path)!r} has names in two lines: below line {table.line} ({', '.join(filter(None, table.names)):.40}), where some columns "
            f"have none, stands {', '.join(second):.40}; leave out the first with --skip {table.line}, or give every column a name in one line"
        )
    units = table.units(marks)
    if units:
        for column in table.columns:
            column.without_first()
        table.aside = [replace(row, row=row.row - 1) for row in table.aside]
    above = table.above(marks)
    # One that begins with a digit or is beyond a limit is a value like any other text.
    if above and not any(_beyond_a_limit(text) or any(map(str.isdigit, text)) for _, text in above):
        texts = list(dict.fromkeys(text for _, text in above))
        ways = " ".join(f"--na {text!r:.40}" for text in texts)
        last = max(row for row, _ in above) + 1
        raise InputError(
            f"row {last} of {str(path)!r} holds text where those below hold numbers ({', '.join(texts):.60}), and no unit that is known: say {ways} "
            f"if it means a missing value or a unit, or --skip {table.line + last - 1 + units} if it is the line of names"
        )
    return (
        [f"the line after the names holds no numbers ({', '.join(headed):.60}) and is taken for units"] if units else []
    )


def _beyond_a_limit(text: str) -> bool:
    return text.startswith(_BEYOND) or text.casefold().replace(".", "") in _LIMITS


def remedy(text: str) -> str:
    """What would be right in place of a cell of text in a column of numbers."""
    if _beyond_a_limit(text):
        told = "a value below or above a limit is neither a number nor missing, and no fit here takes it"
        return (
            told if text.startswith(_BEYOND) else f"{told}; say --na {text!r:.40} if it means that nothing was measured"
        )
    if is_number(text):
        return "write all its numbers with the same marks of decimals and thousands"
    if " without " in text or any(beside([text])):
        return "write all its numbers with the same unit, or none"
    return f"correct or empty such fields, say --na {text!r:.40} if it means a missing value"


def told_of(kind: Kind) -> str:
    """The cells of text in a column of numbers."""
    told = ", ".join(f"{value!r:.40} in row {row + 1}" for row, value in kind.texts)
    return f"{told} and {kind.wrong - len(kind.texts)} more" if kind.wrong > len(kind.texts) else told
