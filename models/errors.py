"""The errors a caller can act on: wrong input, said in one line, and a search that did not converge."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["ConvergenceError", "ImproperError", "InputError", "lookup_error"]


class InputError(ValueError):
    """Input that cannot be used; the message names the value, the place and the remedy.

    The command line turns it into one line on stderr and exit status 2.
    """


def lookup_error(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Say that `name` is not a known `kind`, with the nearest names first.

    Parameters
    ----------
    kind : str
        What was looked up, e.g. ``"family"``.
    name : str
        The name that was not found.
    known : iterable of str
        All names that would have been accepted.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> str(lookup_error("family", "nomal", ["normal", "laplace"]))
    "unknown family 'nomal'; did you mean normal? Known: laplace, normal"
    """
    names = sorted(known)
    same = [other for other in names if other.casefold() == name.casefold()]
    near = same or difflib.get_close_matches(name, names, n=3, cutoff=0.52)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")


class ConvergenceError(RuntimeError):
    """A computation did not reach its optimum; the message says where it stopped and why that matters."""


class ImproperError(ConvergenceError):
    """A density without a finite integral, so that no approximation has a best one.

    Attributes
    ----------
    direction : str
        Along which it does not fall, by the names of the coordinates: ``a - b``.
    """

    def __init__(self, message: str, direction: str) -> None:
        super().__init__(message)
        self.direction = direction
