"""Jobs computed by other processes, longest first: what each returned, or why it did not.

`Local` keeps processes on this machine, which import once; `analysis.running.cluster` offers those of a Dask cluster.
Nothing a job does ends the run: an exception is a result, and so is the death of its process.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Done", "Failed", "Job", "Local", "Outcome", "Workers", "attempt", "run_jobs"]


@dataclass(frozen=True)
class Job:
    """Something to compute.

    Attributes
    ----------
    name : str
    call : callable
        Without arguments and picklable: a `functools.partial` of a function of a module.
    seconds : float
        Expected; long jobs are begun first.
    """

    name: str
    call: Callable[[], Any]
    seconds: float = 1.0


@dataclass(frozen=True)
class Failed:
    """Why a job did not return: what it raised, in one line, as a pickle if that can be, and what it printed before."""

    error: str
    wrong_input: bool = False
    trace: str = ""
    pickled: bytes = b""

    def exception(self) -> Exception:
        """Return what the job raised, or something that says it."""
        found = pickle.loads(self.pickled) if self.pickled else None
        return found if isinstance(found, Exception) else RuntimeError(self.error)


@dataclass(frozen=True)
class Outcome:
    """What came of a job in its process, and the seconds it took there."""

    value: Any
    seconds: float = 0.0
    failed: Failed | None = None


@dataclass(frozen=True)
class Done:
    """A job that has ended."""

    job: Job
    outcome: Outcome


class Workers(Protocol):
    """Processes that jobs can be given to."""

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Begin something."""

    def capacity(self) -> int:
        """Jobs worth having under way."""

    def restart(self) -> None:
        """Begin anew after the death of a process."""


def run_jobs(jobs: Sequence[Job], workers: Workers, on_start: Callable[[Job], None] = lambda _: None) -> Iterator[Done]:
    """Compute jobs, longest first and as many at a time as there are workers.

    Parameters
    ----------
    jobs : sequence of Job
    workers : Workers
    on_start : callable
        Told of a job when it is given to a worker.

    Yields
    ------
    Done
        As they end. A job whose process dies is tried once more, alone, so that none is blamed for another.
    """
    queue = _Queue(deque(sorted(jobs, key=lambda job: -job.seconds)))
    while queue.waiting or queue.suspects or queue.pending:
        _submit(queue, workers, on_start)
        done = _ended(queue, workers)
        _submit(queue, workers, on_start)  # nobody waits while the results are taken care of
        yield from done


@dataclass
class _Queue:
    waiting: deque[Job]
    suspects: deque[Job] = field(default_factory=deque)
    tried_alone: set[str] = field(default_factory=set)
    pending: dict[Future[Any], Job] = field(default_factory=dict)


def _ended(queue: _Queue, workers: Workers) -> list[Done]:
    """Wait until a job ends."""
    done, died = [], False
    for future in wait(queue.pending, return_when=FIRST_COMPLETED).done:
        job = queue.pending.pop(future)
        try:
            done.append(Done(job, future.result()))
        except BrokenExecutor:
            died = True
            if job.name in queue.tried_alone:
                done.append(Done(job, Outcome(None, failed=Failed("its process ended (killed, or out of memory)"))))
            else:
                queue.suspects.append(job)
        except (Exception, CancelledError) as error:  # it could not be sent there or back
            done.append(Done(job, Outcome(None, failed=Failed(f"{type(error).__name__}: {error}"))))
    if died and not queue.pending:
        workers.restart()
    return done


def _submit(queue: _Queue, workers: Workers, on_start: Callable[[Job], None]) -> None:
    """Give jobs to workers; those that were at work when a process died go first, and one at a time."""
    while queue.suspects or queue.waiting:
        alone = bool(queue.suspects)
        one_is_alone = any(job.name in queue.tried_alone for job in queue.pending.values())
        if one_is_alone or len(queue.pending) >= (1 if alone else workers.capacity()):
            return
        job = (queue.suspects or queue.waiting).popleft()
        try:
            future = workers.submit(partial(attempt, job.call))
        except BrokenExecutor:  # a process has died since
            (queue.suspects if alone else queue.waiting).appendleft(job)
            if queue.pending:
                return
            workers.restart()
            continue
        if alone:
            queue.tried_alone.add(job.name)
        queue.pending[future] = job
        on_start(job)


# --- in the worker ---------------------------------------------------------------------------------------------------

#: Read by libraries when they are imported: one thread each, for there is a process for each core, and numbers must not
#: depend on how many there are.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
#: PyTensor and the redirection of output belong to a process, not to a thread of it.
_ONE_AT_A_TIME = threading.Lock()


def attempt(call: Callable[[], Any]) -> Outcome:
    """Compute one job, quietly and on one thread, and return what it raises as a result."""
    from threadpoolctl import threadpool_limits

    from models.errors import InputError

    with _ONE_AT_A_TIME, threadpool_limits(1), _quiet() as printed:
        started = time.perf_counter()
        try:
            return Outcome(call(), time.perf_counter() - started)
        except (Exception, SystemExit) as error:
            notes = "".join(f"{note}: " for note in getattr(error, "__notes__", []))
            line = " ".join(f"{notes}{type(error).__name__}: {error}".split())
            trace = f"{printed.getvalue()}{traceback.format_exc()}"
            failed = Failed(line, isinstance(error, InputError), trace, _pickled(error))
            return Outcome(None, time.perf_counter() - started, failed)


def _pickled(error: BaseException) -> bytes:
    """Pickle an exception; empty if it would not come back, for some cannot be made from their own arguments."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return b""
    return pickled


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep what libraries print (``pm.fit`` its progress) off the terminal."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


# --- processes on this machine ---------------------------------------------------------------------------------------


class Local:
    """Processes on this machine, forked from a server that has imported already.

    A process ends with the one that started it, however that ends. An interrupt (Ctrl-C) reaches none of them: it is for the
    process that started them to say what was kept.

    Parameters
    ----------
    number : int
    preload : sequence of str
        Modules that the server imports.
    """

    def __init__(self, number: int, preload: Sequence[str] = ()) -> None:
        self._number = number
        self._context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        if sys.platform == "linux":
            self._context.set_forkserver_preload(["analysis.running.preloaded"])
        self._environment = {**_ONE_THREAD, "DUALITY_PRELOAD": " ".join(preload)}
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: tuple[Connection, Connection] | None = None

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Begin something in one of the processes."""
        try:
            if self._executor is None:
                self._begin()
            assert self._executor is not None
            return self._executor.submit(call)
        except (EOFError, OSError) as error:  # no memory for one more, say
            raise RuntimeError(f"no process can be started ({type(error).__name__}: {error})") from error

    def capacity(self) -> int:
        """Return the number of processes."""
        return self._number

    def restart(self) -> None:
        """Begin with new processes."""
        self._end()

    def _begin(self) -> None:
        reader, writer = self._context.Pipe(duplex=False)
        self._lifeline = reader, writer
        if sys.platform == "linux":
            from multiprocessing import forkserver, resource_tracker

            resource_tracker.ensure_running()  # which the server would begin itself, and let interrupts in again
            with _no_interrupts(), _set(self._environment):  # which the server and all that it forks inherit
                forkserver.ensure_running()
        self._executor = ProcessPoolExecutor(
            self._number, mp_context=self._context, initializer=_prepare, initargs=(reader,)
        )

    def _end(self) -> None:
        if self._executor is not None and self._lifeline is not None:
            for end in self._lifeline:
                end.close()
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor, self._lifeline = None, None


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _prepare(lifeline: Connection) -> None:
    """Begin a process: no interrupts, and an end as soon as the other side of the lifeline is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_ONE_THREAD)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)
