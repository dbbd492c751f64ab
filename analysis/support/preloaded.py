"""Imported last in the server that workers are forked from, so that each need not: what computing and storing take besides.

That is PyMC, if a module before this one loads it lazily, and what xarray imports when it first writes.
"""

from __future__ import annotations

import sys

import xarray as xr

from analysis.support.cache import as_bytes

for _name in ("pytensor", "pymc"):
    if _name in sys.modules:
        getattr(sys.modules[_name], "__version__", None)
as_bytes(xr.DataTree())
