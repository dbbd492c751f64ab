"""Graphs are rewritten without records of where they were made: PyTensor joins these without end."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.rewriting.basic import copy_stack_trace
from threadpoolctl import ThreadpoolController, threadpool_info

from models.graphs import compile_graph, compiling, single_threaded, untraced


def test_records_that_a_graph_brings_along_are_not_joined() -> None:
    """A switch between a variable and itself: its rewrite joins the record of the variable to itself, each time it is met."""
    x = pt.dvector("x")
    y = pt.exp(x)
    y.tag.trace = [[("file", 1, "function", "line")]]
    with untraced():
        for _ in range(40):  # 3^40 records
            copy_stack_trace([y, y, y], y)
    assert len(y.tag.trace) == 1
    assert len(compile_graph([x], pt.switch(x > 0, y, y))(np.zeros(2))) == 2


def test_afterwards_records_are_as_before() -> None:
    def joined() -> int:
        source, to = pt.dscalar(), pt.dscalar()
        source.tag.trace, to.tag.trace = [[("file", 1, "function", "line")]], []
        copy_stack_trace(source, to)
        return len(to.tag.trace)

    limit = pytensor.config.traceback__limit
    with untraced(), untraced():
        assert pytensor.config.traceback__limit == 0
        assert joined() == 0
    with pytest.raises(ZeroDivisionError), untraced():
        raise ZeroDivisionError
    assert joined() == 1
    assert pytensor.config.traceback__limit == limit


def test_a_mode_made_before_pymc_is_imported_leaves_its_rewrites_their_names() -> None:
    """A first fit with nothing stored compiles before it draws, and drawing imported PyMC: a tag that had been asked for was taken."""
    code = "from models.graphs.compiling import numpy_mode; numpy_mode(); import pymc"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_linear_algebra_takes_one_thread_meanwhile() -> None:
    before = blas_threads()
    assert set(single_threaded(blas_threads)()) == {1}
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError):
        single_threaded(lambda: 1 / 0)()
    assert blas_threads() == before


def test_libraries_are_looked_for_once_and_again_after_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(compiling, "ThreadpoolController", lambda: looked.append(1) or ThreadpoolController())
    function = single_threaded(lambda: 0)
    monkeypatch.setitem(sys.modules, "one_more", ModuleType("one_more"))
    for _ in range(3):
        function()
    assert len(looked) == 1
    monkeypatch.setitem(sys.modules, "another", ModuleType("another"))
    function()
    assert len(looked) == 2
