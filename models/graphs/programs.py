"""A compiled graph as a NumPy program: straight-line source on arrays, which needs neither PyTensor nor PyMC to run.

PyTensor's Python linker spends some 30 microseconds on each node of a graph; called as NumPy functions, the same nodes take one
or two. A program is made by `models.graphs.translate` from the graph that PyTensor has rewritten, and is kept by `models.graphs.store`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from models.graphs import special

__all__ = ["Program", "runtime"]


class Program:
    """A function of arrays.

    Parameters
    ----------
    source : str
        Definition of ``program(c, a0, a1, ...)`` over constants and arguments, which returns a list.
    constants : sequence of ndarray
    inputs : sequence of (dtype, int)
        Of each argument, its dtype and number of dimensions; of a random generator ``("generator", 0)``.
    single : bool
        Return the only output rather than a list.
    """

    def __init__(
        self, source: str, constants: Sequence[NDArray[Any]], inputs: Sequence[tuple[str, int]], single: bool
    ) -> None:
        self.source, self.constants, self.inputs, self.single = source, list(constants), list(inputs), single
        self._function = _compiled(source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.source, self.constants, self.inputs, self.single)

    def __call__(self, *arguments: Any) -> Any:
        """Evaluate; arguments are taken as arrays of the dtypes of `inputs`.

        Raises
        ------
        TypeError
            If an argument has another number of dimensions, or there are too many or too few.
        """
        if len(arguments) != len(self.inputs):
            raise TypeError(f"a program of {len(self.inputs)} arguments was given {len(arguments)}")
        values = []
        for i, (given, (dtype, ndim)) in enumerate(zip(arguments, self.inputs, strict=True)):
            value = given if dtype == "generator" else np.asarray(given, dtype=dtype)
            if np.ndim(value) != ndim:
                raise TypeError(f"argument {i} has {value.ndim} dimensions; it must have {ndim}")
            values.append(value)
        with np.errstate(all="ignore"):  # what is not finite is an answer here
            outputs = self._function(self.constants, *values)
        return outputs[0] if self.single else outputs


@cache
def _compiled(source: str) -> Any:
    space = dict(runtime())
    exec(compile(source, "<graph>", "exec"), space)
    return space["program"]


@cache
def runtime() -> dict[str, Any]:
    """Names that the source of a program may use, besides its constants and arguments."""
    helpers = (alloc, asserted, cholesky, diagonal_matrix, draw, increment, put, reduce, solve_triangular)
    return {"np": np, "scipy": scipy, "special": special, **{f.__name__: f for f in helpers}}


def reduce(ufunc: Any, x: NDArray[Any], axis: Any, inner: str, outer: str) -> NDArray[Any]:
    """Reduce over axes in one dtype, and return another."""
    if x.dtype != inner:
        x = x.astype(inner)
    if isinstance(axis, tuple) and len(axis) == 1 and 2 <= x.shape[axis[0]] < _SHORT:
        first, second, *others = np.moveaxis(x, axis[0], 0)
        total = ufunc(first, second, dtype=inner)
        for part in others:
            total = ufunc(total, part, dtype=inner)
        return np.asarray(total, dtype=outer)
    return np.asarray(ufunc.reduce(x, axis=axis, dtype=inner), dtype=outer)


_SHORT = 8  # an axis, as that of a mixture's components, along which NumPy's reduction takes five times as long as its arithmetic


def alloc(value: NDArray[Any], *shape: Any) -> NDArray[Any]:
    """An array of a shape, filled with a value."""
    result = np.empty([int(n) for n in shape], dtype=value.dtype)
    result[...] = value
    return result


def put(x: NDArray[Any], value: NDArray[Any], index: tuple[Any, ...]) -> NDArray[Any]:
    """A copy of x with a part set."""
    x = x.copy()
    x[index] = value
    return x


def increment(x: NDArray[Any], value: NDArray[Any], index: tuple[Any, ...], repeated: bool) -> NDArray[Any]:
    """A copy of x with something added to a part, also where an index occurs more than once."""
    x = x.copy()
    if repeated:
        np.add.at(x, index, value)
    else:
        x[index] += value
    return x


def asserted(message: str, x: NDArray[Any], *conditions: Any) -> NDArray[Any]:
    """Return x if all conditions hold.

    Raises
    ------
    AssertionError
    """
    if not all(np.all(c) for c in conditions):
        raise AssertionError(message)
    return x


def draw(function: Any, generator: Any, size: Any, dtype: str, *parameters: Any) -> tuple[Any, NDArray[Any]]:
    """Draw by the function of a random variable; the generator, and the draws."""
    shape = None if size is None else tuple(int(n) for n in size)
    return generator, np.asarray(function(generator, *parameters, shape), dtype=dtype)


def diagonal_matrix(x: NDArray[Any], offset: int) -> NDArray[Any]:
    """Matrices with a diagonal and zeros elsewhere, in a batch."""
    size = x.shape[-1] + abs(offset)
    result = np.zeros((*x.shape[:-1], size, size), dtype=x.dtype)
    places = np.arange(x.shape[-1])
    result[..., places + max(0, -offset), places + max(0, offset)] = x
    return result


def cholesky(x: NDArray[Any], lower: bool) -> NDArray[Any]:
    """Cholesky factor; nan where the matrix is not positive definite, as PyTensor has it."""
    try:
        factor = np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return np.full(x.shape, np.nan)
    return factor if lower else factor.mT


def solve_triangular(a: NDArray[Any], b: NDArray[Any], lower: bool, unit: bool, vectors: bool) -> NDArray[Any]:
    """Solve triangular systems, also in a batch; nan where there is no solution, as PyTensor has it.

    Substitution row by row: of matrices as small as ours, it takes a batch at once.
    """
    columns = b[..., None] if vectors else b
    size = a.shape[-1]
    shape = np.broadcast_shapes(a.shape[:-2], columns.shape[:-2])
    x = np.empty((*shape, size, columns.shape[-1]), dtype=np.result_type(a, columns))
    rows = range(size) if lower else range(size - 1, -1, -1)
    for i in rows:
        known = slice(None, i) if lower else slice(i + 1, None)
        right = columns[..., i, :] - np.matmul(a[..., i, None, known], x[..., known, :])[..., 0, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            x[..., i, :] = right if unit else right / a[..., i, i, None]
    return x[..., 0] if vectors else x
