"""Settings of the whole test run."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# The tests start many processes that import PyMC: a second each with bytecode kept, five without.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# As the command does: no thunk is compiled in C, which takes seconds each, since all that is called often is compiled by Numba.
if "cxx" not in (flags := os.environ.get("PYTENSOR_FLAGS", "")):
    os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, [flags, "cxx="]))

# The same examples on every machine and in every run: a failure can be seen again.
settings.register_profile("duality", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("duality")


def pytest_configure(config: pytest.Config) -> None:
    # A property of the machine, not of this project: PyTensor from a wheel finds no BLAS to link with, and uses NumPy.
    config.addinivalue_line("filterwarnings", "ignore:PyTensor could not link to a BLAS:UserWarning")
