"""Variables of a PyMC model as functions of points of unconstrained space: all of them, or no more rows than are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.graphs import Deferred, compile_graph

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["evaluated", "leading_parts"]

Array = NDArray[np.float64]
Part = tuple[slice, ...]


def evaluated(model: Any, parts: Mapping[str, Part]) -> Callable[[Array], dict[str, Array]]:
    """Compile these parts of variables, by name, as functions of points (n, d); the rest of them is not computed where its graph allows."""
    wanted = [model[name] for name in parts]
    outputs = [
        v[part] if part else v for v, part in zip(model.replace_rvs_by_values(wanted), parts.values(), strict=True)
    ]
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
