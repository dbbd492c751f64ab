"""Imported by the server that workers are forked from: it imports the modules that ``DUALITY_PRELOAD`` names.

A module that cannot be imported is left out: the worker that needs it says why, and the server, which ends at any error but
a missing module, goes on.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from types import TracebackType

from models.graphs.store import keep_bytecode


def _quiet(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say nothing of a process that cannot begin because who asked for it has ended, with the queues between them."""
    if not isinstance(error, OSError | EOFError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet
keep_bytecode()
for _name in os.environ.pop("DUALITY_PRELOAD", "").split():
    with suppress(Exception, SystemExit):
        import_module(_name)
