"""The functions of `models.graphs.special` as elementwise operations of PyTensor.

They are for graphs that become NumPy programs (`models.graphs.translate`) or are run by PyTensor's Python linker; Numba does not know them.
"""

from __future__ import annotations

from typing import Any

from pytensor import scalar
from pytensor.scalar import BinaryScalarOp, UnaryScalarOp, upgrade_to_float
from pytensor.tensor.elemwise import Elemwise

from models.graphs import special

__all__ = ["deviance", "log_pochhammer", "stirling_error"]


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
        return [g / mean, -g * k / mean**2]


class Deviance(_Interpreted, BinaryScalarOp):
    """See `models.graphs.special.deviance`."""

    def impl(self, k: Any, mean: Any) -> Any:
        """Value."""
        return special.deviance(k, mean)

    def pullback(self, inputs: Any, _outputs: Any, gradients: Any) -> list[Any]:
        """Gradients by k and the mean."""
        (g,) = gradients
        over = _EXCESS(*inputs)
        return [g * scalar.log1p(over), -g * over]


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


_EXCESS = Excess(upgrade_to_float, name="excess")
deviance = Elemwise(Deviance(upgrade_to_float, name="deviance"))
log_pochhammer = Elemwise(LogPochhammer())
stirling_error = Elemwise(StirlingError())
