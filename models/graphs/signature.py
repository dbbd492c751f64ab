"""The type by which Numba knows a log density: that of what is compiled for a target, and of what the steps of ADVI take."""

from __future__ import annotations

from numba import types

__all__ = ["DENSITY"]

_VECTOR, _MATRIX = types.float64[::1], types.float64[:, ::1]
#: A log density: of points (n, d) and numbers, log densities (n,) and gradients (n, d).
DENSITY = types.FunctionType(types.Tuple((_VECTOR, _MATRIX))(_MATRIX, _VECTOR))
