"""How PyTensor graphs are compiled here: once a machine, to NumPy programs, and without waiting for a compiler.

A graph is built and rewritten by PyTensor, then written as a NumPy program (`models.graphs.translate`), which is stored
(`models.graphs.store`): the next process that wants the same graph imports neither PyTensor nor PyMC. What is called ten thousand
times with little work in each call, the steps of ADVI, is compiled by Numba instead (`models.graphs.log_density`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from typing import Any

from threadpoolctl import ThreadpoolController

from models.graphs.store import kept

__all__ = [
    "compile_graph",
    "compiled",
    "inline_batched_symbolic",
    "numpy_mode",
    "register_rewrites",
    "rounded_alike",
    "single_threaded",
    "untraced",
]

#: Builds a graph: its symbolic inputs and outputs.
Build = Callable[[], tuple[Sequence[Any], Any]]


def compiled(kind: str, key: object, build: Build) -> Callable[..., Any]:
    """Return the function that `build` describes, from the store of compiled graphs if it is there.

    Parameters
    ----------
    kind : str
        What the graph is.
    key : object
        All that it depends on besides the sources of ``models``: told apart by its ``repr``.
    build : callable
        Returns symbolic inputs and outputs. Called only where the graph is not stored.

    Returns
    -------
    callable
        Takes arrays; returns an array, or a list of arrays if `build` returns a list of outputs.
    """

    def make() -> Callable[..., Any]:
        with untraced():
            return compile_graph(*build())

    function: Callable[..., Any] = kept(kind, key, make)
    return function


@contextmanager
def untraced() -> Iterator[None]:
    """Build and rewrite graphs in double precision, and without a record of where each node was made.

    PyTensor's rewrites join these records, without end in some graphs: a switch between a variable and itself joins its record to itself,
    and what was built elsewhere in the process brings records along (24 GB for the scores of a mixture). So none are made, and none are
    joined: the function that joins them is imported by name in two dozen modules, which all share its code.
    """
    import pytensor
    from pytensor.graph.rewriting.basic import copy_stack_trace

    joining = copy_stack_trace.__code__
    copy_stack_trace.__code__ = _not_joined.__code__
    try:
        with pytensor.config.change_flags(traceback__limit=0, floatX="float64"):
            yield
    finally:
        copy_stack_trace.__code__ = joining


def _not_joined(from_var: Any, to_var: Any) -> Any:  # noqa: ARG001 (the arguments of the function whose place it takes)
    return to_var


def compile_graph(inputs: Sequence[Any], outputs: Any) -> Callable[..., Any]:
    """Compile a graph for this process: a NumPy program, or PyTensor's Python linker where a node has no counterpart.

    Shared variables of the graph, such as the data of a model, are read at each call.
    """
    import pytensor

    from models.graphs.translate import UntranslatableError, translate

    with untraced():
        function = pytensor.function(list(inputs), outputs, mode=numpy_mode(), on_unused_input="ignore")
    single = not isinstance(outputs, list | tuple)
    try:
        program = translate(function.maker.fgraph, single=single)
    except UntranslatableError:
        return Linked(function.maker.fgraph, single, function)
    shared = function.input_storage[len(inputs) :]
    return program if not shared else lambda *values: program(*values, *(s.storage[0] for s in shared))


class Linked:
    """A rewritten graph that PyTensor's Python linker runs: it can be stored, and is not rewritten again when it is read."""

    def __init__(self, fgraph: Any, single: bool, function: Any = None) -> None:
        self._fgraph, self._single, self._function = fgraph, single, function

    def __reduce__(self) -> tuple[Any, ...]:
        return Linked, (self._fgraph, self._single)

    def __call__(self, *arguments: Any) -> Any:
        """Evaluate, as the compiled function of PyTensor would."""
        if self._function is None:
            import pytensor
            from pytensor.compile.mode import Mode

            outputs = self._fgraph.outputs
            self._function = pytensor.function(
                list(self._fgraph.inputs),
                outputs[0] if self._single else list(outputs),
                mode=Mode(linker="py", optimizer=None),  # type: ignore[arg-type]
                on_unused_input="ignore",
            )
        return self._function(*arguments)


def inline_batched_symbolic() -> Any:
    """Rewrite that replaces a batched graph within the graph, such as a logsumexp and its derivatives, by its batched body.

    Left alone, ``vectorize_graph`` turns each into a Python loop over the batch: 100 times slower.
    """
    from pytensor.compile.builders import OpFromGraph
    from pytensor.compile.rewriting import inline_ofg_node
    from pytensor.graph.replace import vectorize_graph
    from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
    from pytensor.tensor.blockwise import Blockwise
    from pytensor.tensor.symbolic import FusibleSymbolicOp

    @node_rewriter([Blockwise])
    def inline(_fgraph: Any, node: Any) -> list[Any] | None:
        core = node.op.core_op
        if not isinstance(core, FusibleSymbolicOp | OpFromGraph):
            return None
        inputs = [variable.type() for variable in core.fgraph.inputs]
        body = inline_ofg_node(core.make_node(*inputs))
        return vectorize_graph(list(body), dict(zip(inputs, node.inputs, strict=True)))

    return dfs_rewriter(inline)


@cache
def numpy_mode() -> Any:
    """Return the PyTensor mode of this project: rewrites on, no compiler, no parameter checks.

    Parameter checks are left out because targets and families validate their parameters once, with a clear message.
    """
    from pytensor.compile.mode import Mode

    register_rewrites()
    mode = Mode(linker="py", optimizer="fast_run").excluding(
        "fusion", "inplace", "ShapeOpt", "uncanonicalize", "BlasOpt"
    )
    # It makes a composite of x^3, which the Python linker would run once per element.
    mode = mode.excluding("local_pow_to_nested_squaring")
    mode = mode.including("local_remove_check_parameter")
    return mode.register((inline_batched_symbolic(), 0.05))


def register_rewrites() -> None:
    """Let PyMC register its rewrites before a mode names one: PyTensor takes a name that it is asked for as given away."""
    import pymc.logprob.utils  # noqa: F401


@contextmanager
def rounded_alike() -> Iterator[None]:
    """Compile by Numba in double precision, and without leave to reorder sums.

    With PyTensor's default (``numba__fastmath``) the order depends on what was inlined where, and code just compiled differs in its last
    digits from the same code read from a cache, as do those of a point from its own at another place among the points; a sampler turns
    that into other draws. A sum of hundreds of terms takes up to three times as long without.
    """
    import pytensor

    with pytensor.config.change_flags(numba__fastmath=False, floatX="float64"):
        yield


def single_threaded[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with one BLAS thread: on matrices as small as ours, starting threads costs 10 times the work."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return wrapper


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> ThreadpoolController:
    """Libraries that are loaded, looked for again where a module has been imported since: it takes milliseconds."""
    return ThreadpoolController()
