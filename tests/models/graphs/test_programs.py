"""Graphs as NumPy programs: the same numbers as PyTensor's linker, for every kind of graph and every kind of node."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from models.families import FAMILIES, Family, normal_mixture
from models.graphs import compile_graph, numpy_mode
from models.graphs.compiling import Linked
from models.graphs.distributions import batched_logp, jet_graph, symbols
from models.graphs.programs import Program, reduce
from models.projections.exact import divergence_graph
from models.projections.objectives import batch_graph, single_graph
from models.targets import TARGETS


def both(inputs: list[Any], outputs: Any) -> tuple[Any, Any]:
    """Our program, and what PyTensor makes of the same graph."""
    return compile_graph(inputs, outputs), pytensor.function(
        inputs, outputs, mode=numpy_mode(), on_unused_input="ignore"
    )


def check_same(ours: Any, theirs: Any, *values: Any) -> None:
    found, expected = ours(*values), theirs(*values)
    if not isinstance(expected, list):
        found, expected = [found], [expected]
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["bimodal", "heavy_tailed", "crossed", "student_t"])
def test_log_densities_are_those_of_pytensor(name: str) -> None:
    target = TARGETS[name]
    assert target.distribution is not None
    params = symbols(target.distribution.key)
    points, logp = batched_logp(target.distribution.name, params, multivariate=target.dim > 1)
    x = target.rvs(20, seed=1)
    values = [x if target.dim > 1 else x[:, 0], *target.distribution.values()]
    ours, theirs = both([points, *params.values()], logp)
    assert isinstance(ours, Program)
    check_same(ours, theirs, *values)
    if target.dim == 1:
        check_same(*both(*jet_graph(points, logp, list(params.values()))), *values)


@pytest.mark.parametrize("order", ["gradient", "Hessian"])
@pytest.mark.parametrize(
    ("family", "theta"),
    [
        (FAMILIES["logistic"], [0.3, -0.2]),
        (normal_mixture(2), [0.3, -1.0, 1.0, -0.2, 0.1]),
    ],
    ids=lambda v: v.name if isinstance(v, Family) else "",
)
def test_divergences_are_those_of_pytensor(family: Family, theta: list[float], order: str) -> None:
    batched = family.components == 1
    graph: Callable[..., Any] = batch_graph if batched else single_graph
    inputs, outputs = graph(*divergence_graph(family, "reverse", False), order=order)
    ours, theirs = both(list(inputs), outputs)
    assert isinstance(ours, Program)
    x, rng = np.linspace(-3, 3, 31), np.random.default_rng(2)
    point = np.array([theta, [v + 0.1 for v in theta]]) if batched else np.array(theta)
    rows = [np.tile(v, (2, 1)) if batched else v for v in (x, np.full(31, 0.2), -(x**2) / 8 - 1)]
    direction = [rng.standard_normal(len(theta))] if not batched and order == "Hessian" else []
    check_same(ours, theirs, point, *direction, *rows, 0.0)


def test_every_kind_of_node() -> None:
    """Nodes that the densities of the study use little: indexing, sums along axes, linear algebra, batches, casts."""
    x, square, i = pt.matrix("x"), pt.matrix("square"), pt.lscalar("i")
    spd = square @ square.T + 3 * pt.eye(3)
    factor = pt.linalg.cholesky(spd)
    outputs = [
        x.sum(axis=0), x.max(axis=1), x.min(), x.prod(axis=1), pt.any(x > 1), pt.all(x > -9), x.T, x[:, ::-1], x[i, 1:],
        pt.set_subtensor(x[1:, 0], 7.0), pt.inc_subtensor(x[:, [0, 0, 1]], 1.0), x[[2, 0]], x.reshape((-1,)), x.flatten()[:i],
        pt.concatenate([x, 2 * x], axis=1), pt.diag(x[0]), pt.diagonal(square), pt.softplus(x), pt.sigmoid(x), pt.switch(x > 0, x, -x),
        pt.eq(x, x), pt.cast(x > 0, "float64"), pt.gammaln(x**2 + 1), pt.psi(x**2 + 1), pt.tri_gamma(x**2 + 1), pt.log1p(x**2),
        pt.logsumexp(x, axis=1), pt.special.softmax(x, axis=1), pt.special.log_softmax(x, axis=0), factor, pt.arange(i), x.shape,
        pt.linalg.solve_triangular(factor, x.T, lower=True), pt.linalg.solve_triangular(factor.T, x[0], lower=False, b_ndim=1),
        pt.stack([x, x + 1]).sum(axis=(1, 2)), pt.alloc(2.0, i, 3), pt.erf(x), pt.erfc(x), pt.erfcx(x), pt.clip(x, -1, 1), x @ square,
    ]  # fmt: skip
    ours, theirs = both([x, square, i], outputs)
    assert isinstance(ours, Program)
    rng = np.random.default_rng(0)
    check_same(ours, theirs, rng.standard_normal((4, 3)), rng.standard_normal((3, 3)), 2)


@pytest.mark.parametrize("ufunc", [np.add, np.maximum, np.multiply])
@pytest.mark.parametrize("shape", [(3, 1), (3, 2), (4, 3, 7), (3, 8)])
def test_short_axes_are_reduced_to_the_same_bits(ufunc: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).normal(size=shape)
    for axis in range(len(shape)):
        found = reduce(ufunc, x, (axis,), "float64", "float64")
        np.testing.assert_array_equal(found, ufunc.reduce(x, axis=axis))


def test_no_factor_of_a_matrix_that_is_not_positive_definite_is_nan() -> None:
    matrix = pt.matrix("m")
    ours = compile_graph([matrix], pt.linalg.cholesky(matrix))
    assert np.isnan(ours(-np.eye(2))).all()


def test_a_program_survives_pickling_to_the_last_bit() -> None:
    x = pt.vector("x")
    ours = compile_graph([x], [pt.exp(x).sum(), pytensor.grad(pt.sin(x).sum(), x)])
    again = pickle.loads(pickle.dumps(ours))
    value = np.linspace(0, 1, 7)
    for a, b in zip(ours(value), again(value), strict=True):
        assert np.array_equal(a, b)


def test_what_has_no_counterpart_is_run_by_pytensor_and_can_be_stored() -> None:
    x = pt.vector("x")
    power = pytensor.scan(lambda v, total: total * v, sequences=[x], outputs_info=[pt.ones(())], return_updates=False)
    linked = compile_graph([x], power[-1])
    assert isinstance(linked, Linked)
    again = pickle.loads(pickle.dumps(linked))
    assert float(linked([1.0, 2.0, 4.0])) == float(again([1.0, 2.0, 4.0])) == 8


def test_data_that_are_shared_are_read_at_each_call() -> None:
    x, held = pt.vector("x"), pytensor.shared(np.array([1.0, 2.0]))
    function = compile_graph([x], (x * held).sum())
    assert float(function([1.0, 1.0])) == 3
    held.set_value(np.array([10.0, 2.0]))
    assert float(function([1.0, 1.0])) == 12


@pytest.mark.parametrize(("values", "words"), [(([1.0],), "was given 1"), (([[1.0]], 2.0), "argument 0 has 2 dimen")])
def test_wrong_arguments_are_named(values: Any, words: str) -> None:
    x, y = pt.vector("x"), pt.scalar("y")
    with pytest.raises(TypeError, match=words):
        compile_graph([x, y], x * y)(*values)


def test_an_assertion_of_the_graph_is_kept() -> None:
    from pytensor.raise_op import Assert

    x = pt.vector("x")
    function = compile_graph([x], Assert("not positive")(x, pt.all(x > 0)) * 2)
    assert function([1.0]).tolist() == [2.0]
    with pytest.raises(AssertionError, match="not positive"):
        function([-1.0])


LEAN = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
import numpy as np
from models.families import FAMILIES
from models.mle import scores
print(scores(np.zeros((4, 3)), FAMILIES["mvnormal"], np.zeros(9)).shape)
"""


@pytest.mark.exhaustive
def test_a_graph_is_compiled_in_little_memory(tmp_path: Path) -> None:
    """PyTensor joins the records of where a node was made: for these scores, all the memory of a machine."""
    environment = {**os.environ, "DUALITY_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LEAN],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "(4, 9)", done.stderr[-500:]
