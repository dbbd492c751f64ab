"""The log density of a target with its gradient, compiled by Numba: all that ADVI needs of PyMC and PyTensor.

One compiled function serves all targets of a kind, whose parameters are its arguments; of Normals and their mixtures it is written
out (`models.graphs.normals`). For a model of a user it is the function that PyMC itself compiles, called point by point, with its
checks of parameters and all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.graphs.compiling import inline_batched_symbolic, register_rewrites, rounded_alike
from models.graphs.deferred import Deferred
from models.graphs.distributions import MULTIVARIATE, Distribution, Key, batched_logp, symbols
from models.graphs.stable import in_double_precision
from models.graphs.store import alone, place

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["LogDensity", "of_distribution", "of_model"]

Array = NDArray[np.float64]
_TIMED = 0.005  # seconds, over which the cost of an evaluation is measured
_COSTLY, _TOGETHER = (
    1e-3,
    64,
)  # seconds of one point, below which so many are timed together: the call itself takes microseconds


@dataclass(frozen=True, eq=False)
class LogDensity:
    """Log density and gradient in unconstrained space.

    Attributes
    ----------
    function : callable
        A Numba function of points (n, d) and `numbers`, which returns log densities (n,) and gradients (n, d).
    numbers : ndarray (m,)
        The parameters of a distribution, or the shared data of a model, as one vector.
    """

    function: Any
    numbers: Array
    _seconds: list[float] = field(default_factory=list, init=False, repr=False)

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """Log densities (n,) in nats and gradients (n, d) at points (n, d)."""
        points = np.ascontiguousarray(points, dtype=float)
        try:
            values, slopes = self.function(points, self.numbers)
        except (
            ArithmeticError
        ):  # Numba divides as Python does inside some of PyTensor's loops: there is no density there
            if len(points) == 1:
                return np.full(1, -np.inf), np.full(points.shape, np.nan)
            parts = [self(point[None]) for point in points]
            return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])
        return values, slopes

    def seconds(self, point: Array) -> float:
        """Seconds that one point (d,) takes among many, measured once: what a search will cost is known by it beforehand.

        In the mean over a few milliseconds, of which the median of five counts: the machine may do something else meanwhile.
        """
        if not self._seconds:
            with np.errstate(all="ignore"):
                self(point[None])
                many = 1 if self._timed(point[None]) > _COSTLY else _TOGETHER
                points = np.tile(point, (many, 1))
                self._seconds.append(float(np.median([self._timed(points) for _ in range(5)])) / many)
        return self._seconds[0]

    def _timed(self, points: Array) -> float:
        begun, tries = perf_counter(), 0
        while not tries or perf_counter() - begun < _TIMED:
            self(points)
            tries += 1
        return (perf_counter() - begun) / tries


# --- distributions ---------------------------------------------------------------------------------------------------


def of_distribution(density: Distribution) -> LogDensity:
    """Log density of a distribution: a Normal mixture's, or PyMC's in the unconstrained space of its transform where it has one.

    Parameters
    ----------
    density : Distribution

    Returns
    -------
    LogDensity
    """
    p = {name: np.asarray(value, dtype=float) for name, value in density.params.items()}
    if density.name in _NORMAL:
        from models.graphs import normals

        return LogDensity(normals.log_density, normals.numbers_of(density.dim, **p))
    numbers = np.concatenate([np.ravel(v) for v in p.values()])
    return LogDensity(_compiled(density.key, lambda: _inner(density)), numbers)


_NORMAL = ("normal", "normal_mixture", "mvnormal", "mvnormal_diag", "mvnormal_mixture")


def _graph(density: Distribution) -> tuple[Any, Any, Any]:
    """Symbolic points (n, d) and numbers (m,), and the log densities (n,) there."""
    pt = pytensor.tensor
    key: Key = density.key
    numbers, params, done = pt.vector("numbers"), {}, 0
    for name, shape in key[1]:
        size = int(np.prod(shape, dtype=int))
        params[name] = numbers[done : done + size].reshape(shape)
        done += size
    points = pt.matrix("points", shape=(None, density.dim))
    if density.support_map is None:
        multivariate = density.name in MULTIVARIATE
        flat = points if multivariate else points[:, 0]
        return points, numbers, batched_logp(density.name, params, multivariate=multivariate, points=flat)[1]
    # On a bounded support the density of the transformed variable is PyMC's, Jacobian included.
    with pm.Model(model=None) as model:
        model.register_rv(pm_variable(density, symbolic := symbols(key)), "x")
    logp = pytensor.graph.replace.graph_replace(model.logp(), {symbolic[k]: v for k, v in params.items()}, strict=False)
    vectorize = pytensor.graph.replace.vectorize_graph
    return points, numbers, vectorize(logp, {model.value_vars[0]: points[:, 0]})


def pm_variable(density: Distribution, params: dict[str, Any]) -> Any:
    """Return the PyMC distribution with symbolic parameters."""
    return getattr(pm, density.name).dist(**params)


# --- models ----------------------------------------------------------------------------------------------------------


def of_model(model: Any) -> LogDensity:
    """Log density of the posterior of a PyMC model as PyMC compiles it, checks of parameters included.

    Parameters
    ----------
    model : pymc.Model
        Its data may be ``pm.Data``: they are taken as they are at this moment.

    Returns
    -------
    LogDensity

    Raises
    ------
    InputError
        If the log density draws random numbers, as with ``pm.Minibatch``, or has no gradient, as with ``pm.Simulator``.

    Notes
    -----
    The graph is that of ``model.logp_dlogp_function``, but for constants such as the ``log(2)`` of a whole number, which PyTensor takes
    in single precision (an error of 1e-8) and which are taken in double precision here.
    """
    function = _function_of(model)
    shared = []
    for variable, holder in zip(function.maker.fgraph.inputs[1:], function.input_storage[1:], strict=True):
        value = holder.storage[0]
        if not isinstance(value, np.ndarray | np.number):
            raise InputError(
                f"the log density of the model draws random numbers ({variable.type}), as pm.Minibatch does, so it is another one at "
                "each step; give the model the whole data"
            )
        shared.append(np.asarray(value))
    numbers = np.concatenate([np.ravel(v).astype(float) for v in shared]) if shared else np.zeros(1)
    layout = tuple((v.shape, v.dtype.name) for v in shared)
    source, key = _source_by_point(layout), _key(function.maker.fgraph)
    if key is None:  # something in it has no key, as a function of the user's own
        return LogDensity(_by_point(function.vm.jit_fn, source), numbers)
    return LogDensity(_compiled(("model", key, layout), lambda: function.vm.jit_fn, source), numbers)


def _key(graph: Any) -> str | None:
    """Key of all that a graph computes, constants included, by which PyTensor keeps what Numba compiles."""
    from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key

    key: str | None = numba_funcify_and_cache_key(graph)[1]
    return key


#: By model, how many variables it had and the function compiled then.
_compiled_models: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()


def _function_of(model: Any) -> Any:
    size = len(model.basic_RVs) + len(model.potentials)
    known = _compiled_models.get(model)
    if known is None or known[0] != size:
        outputs, point = pm.pytensorf.join_nonshared_inputs(
            point=model.initial_point(), outputs=[model.logp()], inputs=model.value_vars
        )
        logp = pm.pytensorf.rewrite_pregrad(in_double_precision(outputs[0]))
        try:
            slope = pytensor.grad(logp, point)
        except Exception as error:  # whatever an Op of a user's, or a scan of theirs, raises when it is differentiated
            raise _no_gradient(model, error) from error
        with rounded_alike():
            function = pm.pytensorf.compile([point], [logp, slope], mode="NUMBA")
        _compiled_models[model] = known = size, function
    return known[1]


def _no_gradient(model: Any, error: Exception) -> InputError:
    """Which variables and potentials of a model have a log density that cannot be differentiated, where they are written, and what can be done."""
    found = []
    for variable in [*model.basic_RVs, *model.potentials]:
        try:
            pytensor.grad(model.logp(vars=[variable]), model.value_vars, disconnected_inputs="ignore")
        except Exception:
            found.append(variable)
    names = ", ".join(f"{v.name}{_written_at(v)}" for v in found) or "the model"
    if isinstance(error, NotImplementedError | pytensor.gradient.NullTypeGradError):
        return InputError(
            f"the log density of {names} has no gradient, which ADVI needs; write it in functions of PyTensor (of a pm.Simulator there is none)"
        )
    said = str(error).strip().splitlines() or [""]
    if any(_closes_over_random(v) for v in found):
        return InputError(
            f"the log density of {names} has no gradient, which ADVI needs: the inner function of a scan uses random variables from around it; "
            "pass what it uses as non_sequences, with strict=True"
        )
    return InputError(
        f"the log density of {names} cannot be differentiated, which ADVI needs ({type(error).__name__}: {said[0]}); write it in functions of PyTensor that have a gradient"
    )


def _written_at(variable: Any) -> str:
    """Say in which file and line a variable was made, as PyTensor has it; empty if that is not known."""
    frames = [f for trace in getattr(variable.tag, "trace", None) or [] for f in trace]
    theirs = [f for f in frames if "site-packages" not in f[0] and not f[0].startswith("<")]
    return f" ({Path(theirs[-1][0]).name}, line {theirs[-1][1]})" if theirs else ""


def _closes_over_random(variable: Any) -> bool:
    """Whether what a variable is made of has a scan with a generator of random numbers among its inputs."""
    from pytensor.graph.traversal import ancestors
    from pytensor.scan.op import Scan
    from pytensor.tensor.random.type import RandomType

    nodes = {v.owner for v in ancestors([variable]) if v.owner is not None and isinstance(v.owner.op, Scan)}
    return any(isinstance(i.type, RandomType) for node in nodes for i in node.inputs)


@lru_cache(maxsize=32)
def _by_point(inner: Any, source: str) -> Any:
    return _jitted(source, inner)


def _source_by_point(layout: tuple[tuple[tuple[int, ...], str], ...]) -> str:
    """Source of a loop over points, which unpacks the shared data, of these shapes and dtypes, once."""
    lines, done = [], 0
    for i, (shape, dtype) in enumerate(layout):
        size = int(np.prod(shape, dtype=int))
        text = f"numbers[{done}:{done + size}].reshape({shape!r})"
        lines.append(f"    s{i} = {text}" + (f".astype(np.{dtype})" if dtype != "float64" else ""))
        done += size
    arguments = "".join(f", s{i}" for i in range(len(layout)))
    return "\n".join(
        [
            "def log_density(points, numbers):",
            *lines,
            "    logp = np.empty(points.shape[0])",
            "    slope = np.empty(points.shape)",
            "    for i in range(points.shape[0]):",
            f"        value, gradient = inner(points[i]{arguments})",
            "        logp[i] = value.item()",
            "        for j in range(points.shape[1]):",
            "            slope[i, j] = gradient[j]",
            "    return logp, slope",
        ]
    )


# --- compiled --------------------------------------------------------------------------------------------------------

_SOURCE = """
def log_density(points, numbers):
    logp, slope = inner(points, numbers)
    return np.ascontiguousarray(logp), np.ascontiguousarray(slope)
"""


@cache
def compiled_densities() -> dict[object, Any]:
    """Densities that this process has compiled or read, by kind."""
    return {}


def _compiled(kind: object, inner: Callable[[], Any], source: str = _SOURCE) -> Any:
    """Compile a kind of density once a process, or read it from the store; `source` is put around what `inner` returns."""
    known = compiled_densities()
    if kind in known:
        return known[kind]
    store = place()
    if store is None:
        known[kind] = _jitted(source, inner())
        return known[kind]
    file = store / f"density_{hashlib.sha256(repr(kind).encode()).hexdigest()[:20]}.py"
    with alone(file):
        if (found := _stored(file, source)) is None:
            file.write_text(source, encoding="utf-8")
            found = _jitted(source, inner(), file)
            file.with_suffix(".sum").write_text(_checksum(file), encoding="utf-8")
    known[kind] = found
    return found


def _stored(file: Path, source: str) -> Any:
    """Read a compiled density from Numba's cache; ``None`` if it is not there or damaged, which is then removed."""
    try:
        if file.with_suffix(".sum").read_text(encoding="utf-8") == _checksum(file):
            return _jitted(source, None, file)  # without its graph: what is in the cache needs none
    except Exception:  # whatever is wrong with an entry, it is compiled again
        pass
    for path in _cached(file):
        path.unlink(missing_ok=True)
    return None


def _cached(file: Path) -> list[Path]:
    return sorted((file.parent / "__pycache__").glob(f"{file.stem}.*"))


def _checksum(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes())
    for path in _cached(file):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _inner(density: Distribution) -> Any:
    """Compile the log densities of a distribution and their gradients in PyTensor's numba mode."""
    from pytensor.compile.mode import get_mode

    from models.graphs.special_ops import written_out

    # The whole is stored (`_compiled`): storing each loop of it too would take as long again.
    with rounded_alike(), pytensor.config.change_flags(numba__cache=False):
        points, numbers, logp = _graph(density)
        slope = pytensor.grad(logp.sum(), points)
        register_rewrites()
        mode = get_mode("NUMBA").including("local_remove_check_parameter").register((inline_batched_symbolic(), 0.05))
        mode = mode.register((written_out(), 0.06))
        return pytensor.function([points, numbers], [logp, slope], mode=mode, trust_input=True).vm.jit_fn


def _jitted(source: str, inner: Any, file: Path | None = None) -> Any:
    """Compile the source around an inner function; Numba keeps its cache beside the file, if there is one."""
    import numba

    from models.graphs.signature import DENSITY

    space: dict[str, Any] = {"np": np, "inner": inner, "__name__": "models.graphs.log_density"}
    exec(compile(source, str(file or "<log density>"), "exec"), space)
    function = numba.njit(cache=file is not None, nogil=True, error_model="numpy")(space["log_density"])
    function.compile(DENSITY.signature)
    return function
