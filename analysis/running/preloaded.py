"""Imported by the server that workers are forked from: it imports the modules that ``DUALITY_PRELOAD`` names.

A module that cannot be imported is left out: the worker that needs it says why, and the server, which ends at any error but
a missing module, goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module

from models.graphs.store import keep_bytecode

keep_bytecode()
for _name in os.environ.pop("DUALITY_PRELOAD", "").split():
    with suppress(Exception, SystemExit):
        import_module(_name)
