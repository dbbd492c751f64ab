"""The functions of `models.graphs.special` as elementwise operations of PyTensor.

They are for graphs that become NumPy programs (`models.graphs.translate`) or are run by PyTensor's Python linker. For Numba, which does not
know them, `written_out` puts what they stand for in their place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor import scalar
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.scalar import BinaryScalarOp, UnaryScalarOp, upgrade_to_float
from pytensor.tensor.elemwise import Elemwise

from models.graphs import special

__all__ = ["deviance", "log_one_plus_erf", "log_pochhammer", "stirling_error", "written_out"]


class _Interpreted:
    """Without code in C: PyTensor's linkers that would want it do not run these graphs."""

    def c_code(self, *_arguments: Any) -> str:
        """There is none."""
        raise NotImplementedError


class Excess(_Interpreted, BinaryScalarOp):
    """See `models.graphs.special.excess`."""

    def impl(self, k: Any, mean: Any) -> Any:
        """Value."""
        return special.excess(k, mean)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradients by k and the mean."""
        (k, mean), (g,) = inputs, gradients
        return [g / mean, -g * (k / mean) / mean]


class LogRatio(_Interpreted, BinaryScalarOp):
    """See `models.graphs.special.log_ratio`."""

    def impl(self, k: Any, mean: Any) -> Any:
        """Value."""
        return special.log_ratio(k, mean)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradients by k and the mean."""
        (k, mean), (g,) = inputs, gradients
        return [g / k, -g / mean]


class Deviance(_Interpreted, BinaryScalarOp):
    """See `models.graphs.special.deviance`."""

    def impl(self, k: Any, mean: Any) -> Any:
        """Value."""
        return special.deviance(k, mean)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradients by k and the mean."""
        (g,) = gradients
        return [g * _LOG_RATIO(*inputs), -g * _EXCESS(*inputs)]


class StirlingError(_Interpreted, UnaryScalarOp):
    """See `models.graphs.special.stirling_error`."""

    __props__ = ("order",)

    def __init__(self, order: int = 0) -> None:
        self.order = order
        super().__init__(upgrade_to_float, name=f"stirling_error_{order}")

    def impl(self, x: Any) -> Any:
        """Value."""
        return special.stirling_error(x, self.order)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradient: the next derivative."""
        return [gradients[0] * StirlingError(self.order + 1)(*inputs)]


class LogPochhammer(_Interpreted, BinaryScalarOp):
    """See `models.graphs.special.log_pochhammer`."""

    __props__ = ("order",)

    def __init__(self, order: int = 0) -> None:
        self.order = order
        super().__init__(upgrade_to_float, name=f"log_pochhammer_{order}")

    def impl(self, n: Any, k: Any) -> Any:
        """Value."""
        return special.log_pochhammer(n, k, self.order)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradients by n and k."""
        (n, k), (g,) = inputs, gradients
        by_k = scalar.psi(n + k) if self.order == 0 else scalar.polygamma(self.order, n + k)
        return [g * LogPochhammer(self.order + 1)(n, k), g * by_k]


class LogOnePlusErf(_Interpreted, UnaryScalarOp):
    """See `models.graphs.special.log_one_plus_erf`."""

    __props__ = ("order",)

    def __init__(self, order: int = 0) -> None:
        self.order = order
        super().__init__(upgrade_to_float, name=f"log_one_plus_erf_{order}")

    def impl(self, u: Any) -> Any:
        """Value."""
        return special.log_one_plus_erf(u, self.order)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradient: the next derivative."""
        (u,), (g,) = inputs, gradients
        if self.order < 2:
            return [g * LogOnePlusErf(self.order + 1)(u)]
        slope: Any = LogOnePlusErf(1)(u)
        bend: Any = LogOnePlusErf(2)(u)
        return [-g * (bend * (2 * u + slope) + slope * (2 + bend))]


_EXCESS = Excess(upgrade_to_float, name="excess")
_LOG_RATIO = LogRatio(upgrade_to_float, name="log_ratio")
deviance = Elemwise(Deviance(upgrade_to_float, name="deviance"))
log_one_plus_erf = Elemwise(LogOnePlusErf())
log_pochhammer = Elemwise(LogPochhammer())
stirling_error = Elemwise(StirlingError())


def written_out() -> Any:
    """Rewrite that puts elementary operations in the place of those that log densities and their slopes in a point are made of."""

    @node_rewriter([Elemwise])
    def write_out(_fgraph: Any, node: Any) -> list[Any] | None:
        op = node.op.scalar_op
        if isinstance(op, LogOnePlusErf) and op.order < 2:
            (u,) = node.inputs
            if op.order:
                return [2 / np.sqrt(np.pi) / pt.erfcx(-u)]
            below = pt.minimum(u, -1.0)
            return [pt.switch(u < -1, pt.log(pt.erfcx(-below)) - below**2, pt.log1p(pt.erf(pt.maximum(u, -1.0))))]
        if isinstance(op, LogPochhammer) and op.order == 0:
            n, k = node.inputs
            few, many = pt.minimum(n, special.LARGE), pt.maximum(n, special.LARGE)
            far = (many - 0.5) * pt.log1p(k / many) + k * (pt.log(many + k) - 1) + _rest(many + k) - _rest(many)
            return [pt.switch(n > special.LARGE, far, pt.gammaln(few + k) - pt.gammaln(few))]
        return None

    return dfs_rewriter(write_out)


def _rest(x: Any) -> Any:
    """What Stirling's formula leaves out, in elementary operations."""
    total: Any = 0.0
    for coefficient in reversed(special.STIRLING):
        total = coefficient + total / x**2
    return total / x
