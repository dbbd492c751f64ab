"""Mass that no joint density has: counts, atoms of every column, rows on a line; and columns that follow from others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.own_data.findings import findings
from analysis.own_data.page import printed
from analysis.own_data.singular import refuse_dependent, singular_parts
from analysis.own_data.study import Settings, analyse
from analysis.own_data.summary import summary
from analysis.site.chapter import words_of
from models.errors import InputError

Array = NDArray[np.float64]
N = 400


def _columns(seed: int) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    return rng.normal(50, 9, N), rng.normal(60, 20, N), rng.gamma(2, 5, N), np.arange(N) < 40


def test_counts_and_every_atom_make_the_kl_infinite_and_are_all_named() -> None:
    rng = np.random.default_rng(1)
    a, b, c, few = _columns(1)
    count = rng.poisson(3, N)
    tree = analyse(
        np.column_stack([count, np.where(few, 0, a), np.where(few[::-1], 7.5, c), b]),
        ["k", "goals_home", "c", "b"],
        ["mvnormal"],
    )
    document = summary(tree)
    assert document["families"]["mvnormal"]["kl"] == "inf"
    told = words_of("own_data", findings(tree)).answer
    for part in (
        "column k holds counts",
        "10.0% of the rows are exactly 0 in column goals\\_home",
        "exactly 7.5 in column c",
    ):
        assert part in told
    assert "column b" not in told
    lines = "\n".join(printed(tree))  # a terminal shows no Markdown
    assert "in column goals_home" in lines
    assert "\\" not in lines
    assert any("--jitter" in w for w in document["warnings"])


def test_counts_that_are_said_to_be_rounded_are_a_density() -> None:
    x = np.column_stack([np.random.default_rng(2).poisson(3, N), _columns(2)[0]])
    document = summary(analyse(x, ["k", "a"], ["mvnormal"], settings=Settings(jitter=True)))
    assert np.isfinite(document["families"]["mvnormal"]["kl"])


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (lambda a: a, "b = a"),
        (lambda a: 2 * a, "b = 2 a"),
        (lambda a: 100 - a, "a + b = 100"),
        (lambda a: 1.8 * a + 32, "b = 1.8 a + 32"),
    ],
)
def test_rows_on_a_line_are_found_and_written(line: Callable[[Array], Array], told: str, rounded: bool) -> None:
    a, b, _, few = _columns(3)
    a, b = (np.round(v, 1) for v in (a, b)) if rounded else (a, b)
    (part,) = singular_parts([a, np.where(few, line(a), b)], ["a", "b"])
    assert part.told == told
    assert part.share == pytest.approx(0.1, abs=0.01)  # a few more by chance where values are rounded
    assert not singular_parts([a, b], ["a", "b"])


def test_rows_in_which_a_column_is_the_sum_of_two_others_are_found() -> None:
    a, b, c, few = _columns(4)
    (part,) = singular_parts([a, b, np.where(few, a + b, c)], ["a", "b", "c"])
    assert (part.told, part.share) == ("a + b = c", 0.1)


@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0])
def test_rounded_columns_that_are_close_are_on_no_line(noise: float) -> None:
    a, _, _, _ = _columns(5)
    near = a + np.random.default_rng(6).normal(0, noise, N)
    assert not singular_parts([np.round(a, 1), np.round(near, 1)], ["a", "b"])
    assert not singular_parts([np.round(a), np.round(2 * near)], ["a", "b"])


def test_copies_of_rows_are_no_line() -> None:
    a, b, _, _ = _columns(7)
    x = np.vstack([np.column_stack([a, b])[:100], np.tile([[50.0, 61.0]], (20, 1)), np.tile([[40.0, 55.5]], (20, 1))])
    assert not [part for part in singular_parts(list(x.T), ["a", "b"]) if part.kind == "relation"]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (lambda a, b: a + 0 * b, "z = x in every row: columns 'x', 'z'"),
        (lambda a, b: 0 * a + b, "z = y in every row: columns 'y', 'z'"),
        (lambda a, b: 100 + 0 * b - a, "z = -x \\+ 100 in every row: columns 'x', 'z'"),
        (lambda a, b: 0.5 * a + 2 * b, "z = 0.5 x \\+ 2 y in every row: columns 'x', 'y', 'z'"),
        (lambda a, b: 0 * a + 0 * b + 3, "column 'z' is 3 in every row"),
        (lambda a, b: 1e-12 * a - 4 + 0 * b, "z = 1e-12 x - 4 in every row"),
    ],
)
def test_columns_that_follow_from_others_are_refused_by_name(last: Callable[[Array, Array], Array], told: str) -> None:
    a, b, _, _ = _columns(8)
    a = a * 1e6 if "1e-12" in told else a
    with pytest.raises(InputError, match=told):
        analyse(np.column_stack([a, b, last(a, b)]), ["x", "y", "z"], ["mvnormal"])


def test_columns_that_nearly_follow_from_others_are_not_refused() -> None:
    a, b, _, _ = _columns(9)
    refuse_dependent(np.column_stack([a, a + 1e-6 * b]), ["a", "b"])
    refuse_dependent(np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 9.0]]), ["a", "b"])  # three rows say nothing of a plane
