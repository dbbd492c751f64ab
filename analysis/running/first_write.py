"""Imported in the server that workers are forked from, so that each need not: what xarray imports when it first writes.

PyMC is not: each worker imports it at the first part that needs it, at the same time as the others, and parts whose graphs
are stored never do.
"""

from __future__ import annotations

import xarray as xr

from analysis.store import as_bytes

as_bytes(xr.DataTree())
