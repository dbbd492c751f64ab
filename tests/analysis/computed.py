"""Results that the tests of a question look at, computed once for as long as nothing that they depend on changes."""

from __future__ import annotations

from types import ModuleType

import xarray as xr
from pydantic import BaseModel

from analysis.store import Store
from models.graphs import store


def computed(question: ModuleType, settings: BaseModel) -> xr.DataTree:
    """Results of a question, kept between test runs in the user's cache folder as a report keeps its own.

    The key is made of settings, sources and versions; that it is complete is what `tests/analysis/test_sources.py` looks at.
    """
    results: xr.DataTree = question.run(
        settings, remember=Store(store.folder() / "tests", question.__name__.split(".")[1])
    )
    return results
