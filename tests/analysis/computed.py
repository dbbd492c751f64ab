"""Results that the tests of a question look at, computed once for as long as nothing that they depend on changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import xarray as xr
from pydantic import BaseModel

from analysis.store import Store
from models.graphs import store


def computed(question: ModuleType, settings: BaseModel, **besides: Any) -> xr.DataTree:
    """Results of a question, kept between test runs in the user's cache folder as a report keeps its own.

    The key is made of settings, sources and versions; that it is complete is what `tests/analysis/test_sources.py` looks at.
    `besides` is what else the numbers depend on here.
    """
    results: xr.DataTree = question.run(settings, remember=partial(_kept, question, besides))
    return results


def computed_part(question: ModuleType, settings: BaseModel, name: str) -> xr.DataTree:
    """One part of the results of a question, kept in the same way."""
    (part,) = (part for part in question.parts(settings) if part.name == name)
    return _kept(question, {}, name, part.inputs, part.compute)


def _kept(
    question: ModuleType,
    besides: Mapping[str, Any],
    name: str,
    inputs: Mapping[str, Any],
    compute: Callable[[], xr.DataTree],
) -> xr.DataTree:
    return Store(store.folder() / "tests", question.__name__.split(".")[1])(name, {**inputs, **besides}, compute)
