"""Priors that have a density nowhere: impossible parameters, or integers whose arithmetic overflows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.graphs import Deferred

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["nowhere"]

_LISTED = 4  # numbers of a parameter that are shown


def nowhere(variable: Any) -> str | None:
    """Say why a free variable of a PyMC model has no finite log density anywhere, by its own draw; ``None`` if it has one, or if that depends on others.

    PyTensor holds a small integer in 8 bits: the width of ``pm.Uniform("x", -100, 100)`` is -56 there (PyMC 6.4).

    Parameters
    ----------
    variable : TensorVariable
        A random one.
    """
    try:
        op, node = variable.owner.op, variable.owner
        parameters = list(op.dist_params(node))
        ancestors = pytensor.graph.traversal.ancestors(parameters)
        if any(v.owner is not None and hasattr(v.owner.op, "dist_params") for v in ancestors):
            return None
        values = [np.asarray(p.eval()) for p in parameters]
    except Exception:  # a distribution of the user's own, say
        return None
    name = getattr(op, "_print_name", (type(op).__name__,))[0]
    said = f"the parameters of {variable.name!r} ({name}: {', '.join(map(_written, values))})"
    if _has_density(variable):
        return None
    small = [v for v in values if v.dtype.kind in "iu" and v.dtype.itemsize < 8]
    if small and _has_density(_in_floats(variable)):
        return (
            f"{said} are integers of {8 * max(v.dtype.itemsize for v in small)} bits to PyMC, and what it computes of them overflows; write them as floats, "
            f"{_written(values[0].astype(float))} for {_written(values[0])}"
        )
    return f"{said} are none that it can have; check them"


def _in_floats(variable: Any) -> Any:
    node = variable.owner
    given = {id(p) for p in node.op.dist_params(node)}
    inputs = [x.astype("float64") if id(x) in given else x for x in node.inputs]
    return node.op.make_node(*inputs).outputs[node.outputs.index(variable)]


def _has_density(variable: Any) -> bool:
    """Whether the log density of a random variable is finite at a draw of its own."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            drawn = pm.draw(variable, random_seed=0)
            return bool(np.isfinite(pm.logp(variable, drawn).eval()).all())
        except NotImplementedError:  # of Flat
            return True
        except Exception:  # NumPy refuses to draw with parameters that are impossible
            return False


def _written(value: NDArray[Any]) -> str:
    """A parameter as a Python user writes it, in short."""
    if value.ndim == 0:
        return repr(value.item())
    shown = ", ".join(repr(v.item()) for v in value.ravel()[:_LISTED])
    return f"[{shown}{', ...' if value.size > _LISTED else ''}]"
