"""From a graph that PyTensor has rewritten to a NumPy program, node by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.graphs.programs import Program

__all__ = ["UntranslatableError", "translate"]


class UntranslatableError(Exception):
    """A node has no counterpart here; PyTensor's own linker must run the graph."""


def translate(fgraph: Any, *, single: bool) -> Program:
    """Write a rewritten graph as a program.

    Parameters
    ----------
    fgraph : pytensor.graph.FunctionGraph
        Without operations in place and without fused loops.
    single : bool
        Whether the program returns its only output rather than a list.

    Returns
    -------
    Program

    Raises
    ------
    UntranslatableError
        For a node of a kind that is not known here, such as a scan.
    """
    writer = _Writer()
    names = {v: f"a{i}" for i, v in enumerate(fgraph.inputs)}
    outputs = writer.write(fgraph, names)
    arguments = ", ".join(["c", *(names[v] for v in fgraph.inputs)])
    body = "\n    ".join([*writer.lines, f"return [{', '.join(outputs)}]"])
    inputs = [(getattr(v.type, "dtype", "generator"), getattr(v.type, "ndim", 0)) for v in fgraph.inputs]
    return Program(f"def program({arguments}):\n    {body}\n", writer.constants, inputs, single)


class _Writer:
    """Lines of a program, and the constants they refer to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: list[Any] = []
        self._count = 0

    def write(self, fgraph: Any, names: dict[Any, str]) -> list[str]:
        """Append the lines of a graph whose inputs have names; return the names of its outputs."""
        order = fgraph.toposort()
        last = {v: i for i, node in enumerate(order) for v in node.inputs if v.owner is not None}
        for i, node in enumerate(order):
            values = [self._name(v, names) for v in node.inputs]
            inner = getattr(node.op, "fgraph", None)
            if (
                inner is not None and type(node.op).__name__ != "Scan"
            ):  # a graph within the graph is written in its place
                inner = inner if len(inner.inputs) == len(values) else None
                if inner is None:
                    raise UntranslatableError(str(node.op))
                found = self.write(inner, dict(zip(inner.inputs, values, strict=True)))
                names.update(zip(node.outputs, found, strict=True))
                continue
            for output in node.outputs:
                names[output] = f"v{self._count}"
                self._count += 1
            left = ", ".join(names[o] for o in node.outputs)
            expression = self._drawn(node, values) if hasattr(node.op, "rng_fn") else _expression(node, values)
            self.lines.append(f"{left}{',' if type(node.op).__name__ == 'Split' else ''} = {expression}")
            # Freed at once: large temporaries then reuse memory that a cache holds. Those of inner graphs have no owner here.
            done = [v for v in dict.fromkeys(node.inputs) if last.get(v) == i and v not in fgraph.outputs]
            texts = [names[v] for v in done if getattr(v.owner.op, "fgraph", None) is None]
            if texts:
                self.lines.append(f"del {', '.join(texts)}")
        return [self._name(v, names) for v in fgraph.outputs]

    def _drawn(self, node: Any, values: list[str]) -> str:
        """A random variable: its generator, which moves on, and the draws."""
        rng, size, *parameters = values
        self.constants.append(node.op.rng_fn)
        function = f"c[{len(self.constants) - 1}]"
        return f"draw({function}, {rng}, {size}, '{node.op.dtype}', {', '.join(parameters)})"

    def _name(self, variable: Any, names: dict[Any, str]) -> str:
        if variable not in names:
            if not hasattr(variable, "data"):
                raise UntranslatableError(f"{variable} is neither computed nor constant")
            names[variable] = f"c[{len(self.constants)}]"
            self.constants.append(variable.data)
        return names[variable]


def _expression(node: Any, values: list[str]) -> str:
    kind = type(node.op).__name__
    if kind == "Elemwise":
        return _elementwise(node, values)
    if kind == "Blockwise":
        core = type(node.op.core_op).__name__
        if core == "AdvancedSubtensor":
            return _same_index(node, values)
        if core not in _BATCHED:
            raise UntranslatableError(str(node.op))
        return _BATCHED[core](node.op.core_op, values)
    if kind in _BATCHED:
        return _BATCHED[kind](node.op, values)
    if kind not in _NODES:
        raise UntranslatableError(str(node.op))
    return _NODES[kind](node, values)


# --- elementwise -----------------------------------------------------------------------------------------------------

#: Scalar operations for which PyTensor names no NumPy function.
_SCALAR = {
    "Softplus": "np.logaddexp(0.0, {0})",
    "Cast": "np.asarray({0}).astype('{dtype}')",
    "Second": "np.broadcast_arrays({0}, {1})[1].astype('{dtype}')",
    "Identity": "{0}",
    "TriGamma": "scipy.special.polygamma(1, {0})",
    "PolyGamma": "scipy.special.polygamma({0}, {1})",
    "Clip": "np.clip({0}, {1}, {2})",
    "Excess": "special.excess({0}, {1})",
    "Deviance": "special.deviance({0}, {1})",
    "LogRatio": "special.log_ratio({0}, {1})",
    "LogOnePlusErf": "special.log_one_plus_erf({0}, {op.order})",
    "LogPochhammer": "special.log_pochhammer({0}, {1}, {op.order})",
    "StirlingError": "special.stirling_error({0}, {op.order})",
    "Log1mexp": "np.where({0} < -0.6931471805599453, np.log1p(-np.exp({0})), np.log(-np.expm1({0})))",
}


def _elementwise(node: Any, values: list[str]) -> str:
    op, dtype = node.op.scalar_op, node.outputs[0].type.dtype
    kind = type(op).__name__
    if len(node.outputs) != 1 or getattr(node.op, "inplace_pattern", None):
        raise UntranslatableError(str(node.op))
    if kind in _SCALAR:
        return _SCALAR[kind].format(*values, dtype=dtype, op=op)
    if kind == "Switch":
        return f"np.where({', '.join(values)})"
    spec = getattr(op, "nfunc_spec", None)
    if not spec:
        raise UntranslatableError(str(op))
    function = spec[0] if "." in spec[0] else f"np.{spec[0]}"
    # Of small integers NumPy would take a root in half precision.
    integers = any(v.type.dtype.startswith(("int", "uint", "bool")) for v in node.inputs)
    precision = ", dtype='float64'" if dtype == "float64" and integers and "." not in spec[0] else ""
    expression = values[0] if len(values) > 1 else f"{function}({values[0]}{precision})"
    for value in values[1:]:
        expression = f"{function}({expression}, {value}{precision})"
    if len(values) > 2 and spec[1] != 2:
        raise UntranslatableError(str(op))
    return expression


# --- arrays ----------------------------------------------------------------------------------------------------------


def _reduced(ufunc: str) -> Callable[[Any, list[str]], str]:
    def expression(node: Any, values: list[str]) -> str:
        outer = node.outputs[0].type.dtype
        inner = getattr(node.op, "acc_dtype", None) or outer
        return f"reduce(np.{ufunc}, {values[0]}, {node.op.axis!r}, '{inner}', '{outer}')"

    return expression


def _dimshuffle(node: Any, values: list[str]) -> str:
    order = [i for i in node.op.new_order if i != "x"]
    dropped = [i for i in range(node.inputs[0].type.ndim) if i not in order]
    text = values[0]
    if dropped:
        text = f"{text}[{', '.join('0' if i in dropped else ':' for i in range(node.inputs[0].type.ndim))}]"
        order = [sorted(order).index(i) for i in order]
    if order != sorted(order):
        text = f"{text}.transpose({tuple(order)!r})"
    if "x" in node.op.new_order:
        text = f"{text}[{', '.join('None' if i == 'x' else ':' for i in node.op.new_order)}]"
    return text


def _index(idx_list: Any, indices: list[str]) -> str:
    """The text of an index, as ``op.idx_list`` describes it."""

    def one(entry: Any) -> str:
        if isinstance(entry, int):
            return indices[entry]
        ends = [None if e is None else indices[e] for e in (entry.start, entry.stop, entry.step)]
        return f"slice({', '.join(map(str, ends))})"

    return f"({', '.join(one(e) for e in idx_list)},)"


def _subtensor(node: Any, values: list[str]) -> str:
    return f"np.asarray({values[0]}[{_index(node.op.idx_list, values[1:])}])"


def _same_index(node: Any, values: list[str]) -> str:
    """Index each array of a batch by the same vectors."""
    batch = node.outputs[0].type.ndim - 1
    shared = all(v.type.ndim == batch + 1 and set(v.type.shape[:batch]) <= {1} for v in node.inputs[1:])
    if not shared or any(not isinstance(entry, int) for entry in node.op.core_op.idx_list):
        raise UntranslatableError(str(node.op))
    indices = [f"{v}[{', '.join(['0'] * batch)}]" for v in values[1:]]
    return f"{values[0]}[..., {', '.join(indices)}]"


def _incremented(node: Any, values: list[str]) -> str:
    index = _index(node.op.idx_list, values[2:])
    if node.op.set_instead_of_inc:
        return f"put({values[0]}, {values[1]}, {index})"
    repeated = type(node.op).__name__ == "AdvancedIncSubtensor" and not node.op.ignore_duplicates
    return f"increment({values[0]}, {values[1]}, {index}, {repeated})"


def _extract_diagonal(node: Any, values: list[str]) -> str:
    return f"np.diagonal({values[0]}, {node.op.offset}, {node.op.axis1}, {node.op.axis2}).copy()"


def _gemm(_node: Any, values: list[str]) -> str:
    z, a, x, y, b = values
    return f"{b} * {z} + {a} * np.dot({x}, {y})"


def _reshaped(_node: Any, values: list[str]) -> str:
    return f"np.reshape({values[0]}, tuple(int(n) for n in {values[1]}))"


_NODES: dict[str, Callable[[Any, list[str]], str]] = {
    "Sum": _reduced("add"),
    "Prod": _reduced("multiply"),
    "Max": _reduced("maximum"),
    "Min": _reduced("minimum"),
    "All": _reduced("logical_and"),
    "Any": _reduced("logical_or"),
    "DimShuffle": _dimshuffle,
    "Subtensor": _subtensor,
    "AdvancedSubtensor": _subtensor,
    "IncSubtensor": _incremented,
    "AdvancedIncSubtensor": _incremented,
    "Alloc": lambda _, v: f"alloc({', '.join(v)})",
    "ARange": lambda node, v: f"np.arange({v[0]}, {v[1]}, {v[2]}, dtype='{node.op.dtype}')",
    "DeepCopyOp": lambda _, v: f"np.array({v[0]})",
    "Shape_i": lambda node, v: f"np.asarray({v[0]}.shape[{node.op.i}])",
    "MakeVector": lambda node, v: f"np.array([{', '.join(v)}], dtype='{node.op.dtype}')",
    "ScalarFromTensor": lambda _, v: f"{v[0]}[()]",
    "TensorFromScalar": lambda _, v: f"np.asarray({v[0]})",
    "Join": lambda node, v: f"np.concatenate([{', '.join(v)}], axis={node.op.axis})",
    "Split": lambda node, v: f"np.split({v[0]}, np.cumsum({v[1]}[:-1]), axis={node.op.axis})",
    "Reshape": _reshaped,
    "SpecifyShape": lambda _, v: v[0],
    "Dot": lambda _, v: f"np.asarray(np.dot({v[0]}, {v[1]}))",
    "Dot22": lambda _, v: f"np.dot({v[0]}, {v[1]})",
    "Dot22Scalar": lambda _, v: f"{v[2]} * np.dot({v[0]}, {v[1]})",
    "BatchedDot": lambda _, v: f"np.matmul({v[0]}, {v[1]})",
    "Gemm": _gemm,
    "ExtractDiag": _extract_diagonal,
    "AllocDiag": lambda node, v: _BATCHED["AllocDiag"](node.op, v),
    "Assert": lambda node, v: f"asserted({node.op.msg!r}, {', '.join(v)})",
    "CheckAndRaise": lambda node, v: f"asserted({node.op.msg!r}, {', '.join(v)})",
}

#: Operations that take a batch as they are.
_BATCHED: dict[str, Callable[[Any, list[str]], str]] = {
    "Cholesky": lambda op, v: f"cholesky({v[0]}, {op.lower})",
    "SolveTriangular": lambda op, v: (
        f"solve_triangular({v[0]}, {v[1]}, {op.lower}, {op.unit_diagonal}, {op.b_ndim == 1})"
    ),
    "AllocDiag": lambda op, v: f"diagonal_matrix({v[0]}, {op.offset})",
}
