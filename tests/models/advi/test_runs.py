"""Parts of work in threads: in order, also within each other, after a fork, and when one of them fails."""

from __future__ import annotations

import os
import threading
import time
import warnings

import pytest

from models.advi.runs import in_threads


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")


def rows(part: slice) -> list[int]:
    return list(range(part.start, part.stop))


def test_parts_come_in_order_and_hold_all() -> None:
    assert in_threads(rows, 7, 2) == [[0, 1, 2], [3, 4, 5, 6]]
    assert in_threads(rows, 7, 4) == [list(range(7))]  # a part would hold fewer than asked
    assert in_threads(rows, 0, 1) == [[]]


def test_no_thread_is_started_for_each_call() -> None:
    in_threads(rows, 2, 1)
    before = set(threading.enumerate())
    for _ in range(20):
        at_work = in_threads(lambda _: threading.current_thread(), 2, 1)
        assert at_work[0] is threading.current_thread()
        assert at_work[1] in before
    assert set(threading.enumerate()) <= before


def test_parts_may_be_worked_on_in_parts() -> None:
    """A thread that waited for its own pool would wait for ever."""
    found = in_threads(lambda part: in_threads(rows, part.stop - part.start, 1), 8, 1)
    assert found[1] == [[0, 1, 2, 3]]
    assert found[0] in ([[0, 1], [2, 3]], [[0, 1, 2, 3]])


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_is_raised_when_all_parts_have_ended(failing: int) -> None:
    ended = []

    def work(part: slice) -> None:
        if part.start == failing:
            raise ZeroDivisionError
        time.sleep(0.05)
        ended.append(part.start)

    with pytest.raises(ZeroDivisionError):
        in_threads(work, 2, 1)
    assert ended == [1 - failing]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    in_threads(rows, 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads are not forked is what is tested
        child = os.fork()
    if child == 0:
        os._exit(0 if in_threads(rows, 2, 1) == [[0], [1]] else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for a thread that it does not have")
    assert status == 0
