"""How PyTensor graphs are built, compiled and stored.

What needs NumPy is imported from its own module: `models.graphs.distributions` (densities as PyMC writes them),
`models.graphs.log_density` (compiled by Numba, for ADVI).
"""

from __future__ import annotations

from models.graphs.compiling import (
    compile_graph,
    compiled,
    inline_batched_symbolic,
    numpy_mode,
    rounded_alike,
    single_threaded,
    untraced,
)
from models.graphs.deferred import Deferred
from models.graphs.store import kept

__all__ = [
    "Deferred",
    "compile_graph",
    "compiled",
    "inline_batched_symbolic",
    "kept",
    "numpy_mode",
    "rounded_alike",
    "single_threaded",
    "untraced",
]
