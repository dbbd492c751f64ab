"""Graphs are rewritten without records of where they were made: PyTensor joins these without end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.rewriting.basic import copy_stack_trace

from models.graphs import compile_graph, untraced


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
