"""Jobs in other processes: the order, what comes back, what does not, and who is blamed for a process that ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from analysis.running.pool import Done, Failed, Job, Local, Outcome, attempt, run_jobs
from models.errors import InputError


class UnpicklableError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def double(x: int) -> int:
    return 2 * x


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow(x: int) -> int:
    time.sleep(0.3)
    return x


def raises(error: BaseException) -> None:
    raise error


def raises_unpicklable() -> None:
    raise UnpicklableError(1, 2)


def noisy() -> str:
    print("Finished [100%]")
    print("a warning", file=sys.stderr)
    raise ArithmeticError("no\noptimum")


def threads() -> tuple[int, int]:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return os.getpid(), max(pool["num_threads"] for pool in threadpool_info())


def unpicklable_result() -> Any:
    return lambda: 1


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with Local(2) as workers:
        yield workers


class Now:
    """Workers that compute at once, in this process."""

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity
        self.given: list[int] = []

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call())
        return future

    def capacity(self) -> int:
        return self._capacity

    def restart(self) -> None:
        raise AssertionError


def by_name(done: Iterator[Done]) -> dict[str, Outcome]:
    return {d.job.name: d.outcome for d in done}


def test_long_jobs_begin_first_and_equal_ones_in_the_order_given() -> None:
    seconds = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0}
    begun: list[str] = []
    jobs = [Job(name, partial(double, 1), s) for name, s in seconds.items()]
    done = list(run_jobs(jobs, Now(), lambda job: begun.append(job.name)))
    assert begun == ["b", "c", "a", "d"]
    assert [d.outcome.value for d in done] == [2] * 4


def test_as_many_are_under_way_as_there_are_workers(local: Local) -> None:
    under_way: list[int] = []

    class Counted(Now):
        pending = 0

        def submit(self, call: Callable[[], Any]) -> Future[Any]:
            self.pending += 1
            under_way.append(self.pending)
            future = local.submit(call)
            future.add_done_callback(self._ended)
            return future

        def _ended(self, _: Future[Any]) -> None:
            self.pending -= 1

    assert len(list(run_jobs([Job(str(i), partial(double, i)) for i in range(8)], Counted(2)))) == 8
    assert max(under_way) == 2


def test_results_come_back_from_other_processes_on_one_thread_each(local: Local) -> None:
    done = by_name(run_jobs([Job(str(i), threads) for i in range(4)], local))
    assert os.getpid() not in {outcome.value[0] for outcome in done.values()}
    assert {outcome.value[1] for outcome in done.values()} == {1}


def test_an_exception_is_a_result_and_the_others_go_on(local: Local) -> None:
    jobs = [
        Job("wrong", partial(raises, InputError("n is 3"))),
        Job("exit", partial(raises, SystemExit(3))),
        Job("unpicklable", raises_unpicklable),
        Job("lambda", unpicklable_result),
        Job("right", partial(double, 4)),
    ]
    done = by_name(run_jobs(jobs, local))
    assert done["right"] == Outcome(8, done["right"].seconds)
    failed = {name: outcome.failed for name, outcome in done.items() if outcome.failed is not None}
    assert set(failed) == {"wrong", "exit", "unpicklable", "lambda"}
    assert failed["wrong"].wrong_input
    assert isinstance(failed["wrong"].exception(), InputError)
    assert failed["unpicklable"].error == "UnpicklableError: 1 and 2"
    assert str(failed["unpicklable"].exception()) == "UnpicklableError: 1 and 2"
    assert failed["exit"].error == "SystemExit: 3"
    assert not failed["lambda"].wrong_input


def test_what_a_job_prints_is_kept_with_its_failure_and_shown_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    failed = attempt(noisy).failed
    assert failed is not None
    assert failed.error == "ArithmeticError: no optimum"  # one line
    assert failed.trace.startswith("Finished [100%]\na warning\nTraceback")
    assert capfd.readouterr() == ("", "")


def test_only_the_job_whose_process_dies_is_blamed(local: Local) -> None:
    jobs = [Job("dies", die, 9), *(Job(f"slow {i}", partial(slow, i), 5 - i) for i in range(4)), Job("dies too", die, 2.5)]  # fmt: skip
    done = by_name(run_jobs(jobs, local))
    assert len(done) == len(jobs)
    failed = {name: outcome.failed.error for name, outcome in done.items() if outcome.failed is not None}
    assert set(failed) == {"dies", "dies too"}
    assert all("its process ended" in error for error in failed.values())
    assert [done[f"slow {i}"].value for i in range(4)] == [0, 1, 2, 3]


def test_threads_of_one_process_compute_one_after_the_other() -> None:
    """As in a Dask worker with several threads: what PyTensor keeps belongs to the process."""
    at_work = most = 0

    def watched() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.02)
        at_work -= 1

    running = [threading.Thread(target=attempt, args=(watched,)) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert most == 1


def test_a_failure_without_its_exception_still_says_what_it_was() -> None:
    assert str(Failed("its process ended").exception()) == "its process ended"


@pytest.mark.skipif(sys.platform != "linux", reason="a server that forks")
def test_modules_named_beforehand_are_imported_in_the_server(tmp_path: Path) -> None:
    """In a process of its own: there is one server for each."""
    import subprocess

    (tmp_path / "heavy.py").write_text("import os\nserver = os.getpid()\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "asked.py").write_text(
        "import os, sys\ndef pids():\n    return sys.modules['heavy'].server, os.getpid()\n"
    )
    script = (
        "from analysis.running.pool import Job, Local, run_jobs\nimport asked\n"
        "if __name__ == '__main__':\n"
        "    with Local(2, ['missing', 'broken', 'heavy']) as workers:\n"
        "        for done in run_jobs([Job(str(i), asked.pids) for i in range(4)], workers):\n"
        "            print(*done.outcome.value)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-c", script]
    found = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    pairs = [line.split() for line in found.splitlines()]
    assert len(pairs) == 4
    assert len({server for server, _ in pairs}) == 1
    assert all(server != worker for server, worker in pairs)
