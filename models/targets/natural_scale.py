"""Variables of a PyMC model as functions of points of unconstrained space: all of them, or no more rows than are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.graphs import Deferred, compile_graph, untraced

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["evaluated", "in_portions", "leading_parts"]

Array = NDArray[np.float64]
Part = tuple[slice, ...]

_NUMBERS = 2**23  # of all variables at all points, that are held at once


def evaluated(model: Any, parts: Mapping[str, Part]) -> Callable[[Array], dict[str, Array]]:
    """Compile these parts of variables, by name, as functions of points (n, d); the rest of them is not computed where its graph allows."""
    wanted = [model[name] for name in parts]
    outputs = model.replace_rvs_by_values(wanted)
    if any(parts.values()):
        outputs = [v[part] if part else v for v, part in zip(outputs, parts.values(), strict=True)]
        with untraced():  # cuts move towards the inputs here, and not through what a batch of points makes of the graph
            outputs = pytensor.graph.rewriting.utils.rewrite_graph(outputs, include=("canonicalize", "specialize"))
    outputs, point = pm.pytensorf.join_nonshared_inputs(
        point=model.initial_point(), outputs=outputs, inputs=model.value_vars
    )
    points = pytensor.tensor.matrix("points")
    function = compile_graph([points], pytensor.graph.replace.vectorize_graph(outputs, {point: points}))

    def evaluate(x: Array) -> dict[str, Array]:
        # A deterministic that depends on no free variable has no batch axis.
        return {
            name: np.asarray(value if np.ndim(value) > v.ndim else np.broadcast_to(value, (len(x), *np.shape(value))))
            for name, v, value in zip(parts, wanted, function(x), strict=True)
        }

    return evaluate


def in_portions(function: Callable[[Array], dict[str, Array]], points: Array, numbers: int) -> dict[str, Array]:
    """Evaluate at so many points (n, d) at a time that no more is held at once than a machine has room for, each having so many numbers."""
    each = max(1, _NUMBERS // numbers)
    found = [function(points[i : i + each]) for i in range(0, max(1, len(points)), each)]
    return found[0] if len(found) == 1 else {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def leading_parts(shapes: Mapping[str, tuple[int, ...]], most: int) -> dict[str, Part]:
    """Where the first `most` entries of arrays are, by rows of each; without those that have none of them.

    Examples
    --------
    >>> leading_parts({"a": (3,), "b": (2, 100), "c": (7,)}, 10)
    {'a': (slice(None, 10, None),), 'b': (slice(None, 1, None), slice(None, 7, None))}
    """
    found: dict[str, Part] = {}
    for name, shape in shapes.items():
        if most <= 0:
            break
        part: list[slice] = []
        for i in range(len(shape)):
            rows = -(-most // max(1, int(np.prod(shape[i + 1 :]))))
            part.append(slice(rows))
            if rows > 1:
                break
        found[name] = tuple(part)
        most -= int(np.prod(shape))
    return found
