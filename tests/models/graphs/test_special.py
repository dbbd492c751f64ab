"""Functions whose terms cancel: all their digits, by mpmath, and their derivatives as PyTensor takes them."""

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from models.graphs import special, special_ops
from models.graphs.compiling import compile_graph

mp.mp.dps = 60
SIZES = 10.0 ** np.random.default_rng(0).uniform(-3, 14, 60)


def exact_deviance(k: float, mean: float) -> mp.mpf:
    k, mean = mp.mpf(k), mp.mpf(mean)
    return k * mp.log(k / mean) + mean - k


def exact_stirling_error(x: float) -> mp.mpf:
    x = mp.mpf(x)
    return mp.loggamma(x) - ((x - mp.mpf(1) / 2) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)


def exact_log_one_plus_erf(u: float) -> mp.mpf:
    return mp.log(mp.erfc(-mp.mpf(u)))


def exact_log_pochhammer(n: float, k: float) -> mp.mpf:
    return mp.loggamma(mp.mpf(n) + mp.mpf(k)) - mp.loggamma(mp.mpf(n))


def worst(found: np.ndarray, exact: list[mp.mpf]) -> float:
    """Largest relative error."""
    return max(float(abs(mp.mpf(float(f)) - e) / (abs(e) or 1)) for f, e in zip(found, exact, strict=True))


@pytest.mark.parametrize("distance", [-0.999, -0.3, -1e-4, 1e-9, 0.0099, 0.0101, 0.7, 30.0, 1e5, 1e12])
def test_deviance_has_all_its_digits(distance: float) -> None:
    k = SIZES * (1 + distance)
    assert worst(special.deviance(k, SIZES), [exact_deviance(*pair) for pair in zip(k, SIZES, strict=True)]) < 1e-13


def test_ends_of_the_deviance() -> None:
    np.testing.assert_array_equal(special.deviance(0.0, SIZES), SIZES)
    np.testing.assert_allclose(special.deviance(1e9, 1e-300), float(exact_deviance(1e9, 1e-300)), rtol=1e-14)


@pytest.mark.parametrize("k", [1e-2, 0.5, 3.0, 400.0, 1e9])
def test_log_pochhammer_has_all_its_digits(k: float) -> None:
    found, exact = special.log_pochhammer(SIZES, k), [exact_log_pochhammer(n, k) for n in SIZES]
    scale = [abs(e) + mp.mpf("1e-2") for e in exact]  # below n = 100 a small k leaves a difference of log gammas
    assert max(float(abs(mp.mpf(float(f)) - e) / s) for f, e, s in zip(found, exact, scale, strict=True)) < 1e-12


@pytest.mark.parametrize("order", [0, 1, 2])
def test_log_one_plus_erf_wherever_it_lies(order: int) -> None:
    u = np.concatenate([-(10.0 ** np.linspace(-3, 3, 25)), [0.0, 0.1, 1.0, 3.0]])
    exact = [mp.diff(exact_log_one_plus_erf, v, order, h=mp.mpf("1e-18")) for v in u]
    assert worst(special.log_one_plus_erf(u, order), exact) < 3e-13


def test_stirling_error_from_thirty_on() -> None:
    x = SIZES[SIZES > 30]
    assert worst(special.stirling_error(x), [exact_stirling_error(v) for v in x]) < 2e-14


@pytest.mark.parametrize(
    ("op", "exact", "arguments"),
    [
        (special_ops.deviance, exact_deviance, (3e6, 2.9999e6)),
        (special_ops.deviance, exact_deviance, (2.0, 9.0)),
        (special_ops.deviance, exact_deviance, (2e5, 1e22)),
        (special_ops.log_one_plus_erf, exact_log_one_plus_erf, (-3.0,)),
        (special_ops.log_pochhammer, exact_log_pochhammer, (7e8, 3.0)),
        (special_ops.log_pochhammer, exact_log_pochhammer, (4.0, 2.5)),
        (special_ops.stirling_error, exact_stirling_error, (45.0,)),
    ],
)
def test_derivatives_of_both_orders(op: Callable, exact: Callable, arguments: tuple[float, ...]) -> None:
    """As a NumPy program, and by PyTensor's Python linker."""
    x = [pt.dscalar() for _ in arguments]
    first = pytensor.grad(op(*x), x)
    second = [g for f in first for g in pytensor.grad(f, x, disconnected_inputs="ignore")]
    units = np.eye(len(x), dtype=int).tolist()
    known = [mp.diff(exact, arguments, tuple(u)) for u in units]
    known += [mp.diff(exact, arguments, tuple(np.add(u, v).tolist())) for u in units for v in units]
    program = compile_graph(x, [op(*x), *first, *second])
    linked = pytensor.function(x, [op(*x), *first, *second], mode="FAST_COMPILE")
    for found in (program(*arguments), linked(*arguments)):
        assert worst(np.array(found), [exact(*arguments), *known]) < 1e-11


def test_third_derivative_of_log_one_plus_erf() -> None:
    u = pt.dscalar()
    third = pytensor.grad(pytensor.grad(pytensor.grad(special_ops.log_one_plus_erf(u), u), u), u)
    found = compile_graph([u], third)(-1.3)
    assert worst(np.array([found]), [mp.diff(exact_log_one_plus_erf, -1.3, 3)]) < 1e-11


@pytest.mark.parametrize(
    ("op", "exact", "arguments"),
    [
        (special_ops.log_one_plus_erf, exact_log_one_plus_erf, (-40.0,)),
        (special_ops.log_one_plus_erf, exact_log_one_plus_erf, (0.7,)),
        (special_ops.log_pochhammer, exact_log_pochhammer, (7e8, 0.5)),
        (special_ops.log_pochhammer, exact_log_pochhammer, (4.0, 0.5)),
    ],
)
def test_written_out_for_numba(op: Callable, exact: Callable, arguments: tuple[float, ...]) -> None:
    """With the derivatives that a slope in a point needs; a log gamma's parameter is none."""
    x = [pt.dscalar() for _ in arguments]
    wanted = [op(*x), pytensor.grad(op(*x), x[0])] if len(x) == 1 else [op(*x)]
    graph = pytensor.graph.FunctionGraph(x, wanted)
    special_ops.written_out().rewrite(graph)
    assert not any(type(node.op.scalar_op).__module__ == special_ops.__name__ for node in graph.apply_nodes)
    found = pytensor.function(graph.inputs, graph.outputs, mode="FAST_COMPILE")(*arguments)
    known = [exact(*arguments), *(mp.diff(exact, a) for a in arguments[: len(wanted) - 1])]
    assert worst(np.array(found), known) < 1e-12
