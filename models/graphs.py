"""How PyTensor graphs are compiled here: once per shape of problem, and without waiting for a compiler.

The default numba mode takes 20 to 140 s to compile the objectives of this project on a fresh machine and saves
milliseconds afterwards. PyTensor's Python linker calls NumPy for each node instead: it starts at once, and with some
hundred nodes per call on arrays of some thousand elements it is as fast as is needed (both measured, see CHANGELOG).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, Literal

import pytensor
from pytensor.compile.mode import Mode, get_mode
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.symbolic import FusibleSymbolicOp, FusibleSymbolicOpDerivative
from threadpoolctl import threadpool_limits

__all__ = ["Backend", "compile_graph", "numba_mode", "numpy_mode", "single_threaded"]

#: ``numpy`` starts at once; ``numba`` compiles for some 10 s and is then 10 to 60 times faster per call on small arrays.
Backend = Literal["numpy", "numba"]


@node_rewriter([Blockwise])
def _inline_batched_symbolic(_fgraph: Any, node: Any) -> list[Any] | None:
    """Replace a batched logsumexp (and its derivatives) by its elementwise body.

    Left alone, ``vectorize_graph`` turns each into a Python loop over the batch: 100 times slower.
    """
    core = node.op.core_op
    if not isinstance(core, FusibleSymbolicOp | FusibleSymbolicOpDerivative):
        return None
    inputs = [variable.type() for variable in core.fgraph.inputs]
    body = inline_ofg_node(core.make_node(*inputs))
    return vectorize_graph(list(body), dict(zip(inputs, node.inputs, strict=True)))


@cache
def numpy_mode() -> Mode:
    """Return the PyTensor mode of this project: rewrites on, no compiler, no parameter checks.

    Parameter checks are left out because targets and families validate their parameters once, with a clear message.
    """
    mode = Mode(linker="py", optimizer="fast_run").excluding("fusion", "inplace", "ShapeOpt", "uncanonicalize")
    # It makes a composite of x^3, which this linker would run once per element.
    mode = mode.excluding("local_pow_to_nested_squaring")
    mode = mode.including("local_remove_check_parameter")
    return mode.register((dfs_rewriter(_inline_batched_symbolic), 0.05))


@cache
def numba_mode() -> Mode:
    """Return PyTensor's compiled mode with the rewrites of this project, for graphs that are called ten thousand times."""
    mode = get_mode("NUMBA").including("local_remove_check_parameter")
    return mode.register((dfs_rewriter(_inline_batched_symbolic), 0.05))


def compile_graph(inputs: Sequence[Any], outputs: Any, *, backend: Backend = "numpy", **kwargs: Any) -> Any:
    """Compile with :func:`numpy_mode` or :func:`numba_mode`; other arguments are those of ``pytensor.function``."""
    mode = numba_mode() if backend == "numba" else numpy_mode()
    function = pytensor.function(list(inputs), outputs, mode=mode, on_unused_input="ignore", **kwargs)
    function.trust_input = False
    return function


def single_threaded[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with one BLAS thread: on matrices as small as ours, starting threads costs 10 times the work."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with threadpool_limits(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return wrapper
