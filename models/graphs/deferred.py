"""Modules imported at their first use: PyMC takes seconds, and names and input errors must not wait for it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Deferred"]


class Deferred:
    """A module by name, imported when an attribute of it is asked for.

    It does not stand in ``sys.modules`` before that, as modules of lazy_loader do: what imports a submodule by name (a pickled
    operation, Numba's cache) would then load its parent twice.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> Deferred("math").floor(2.5)
    2
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)

    def __dir__(self) -> list[str]:
        return dir(import_module(self._name))
