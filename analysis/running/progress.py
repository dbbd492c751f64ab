"""How far a computation is: a bar in a terminal, elsewhere one line for each part that is finished. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

    from analysis.running.pool import Done, Job

__all__ = ["Bar", "Display", "Lines", "display", "duration", "labelled_bar"]


class Display(Protocol):
    """What a computation tells of itself."""

    def plan(self, count: int, stored: int, seconds: float, jobs: int, more: int = 0) -> None:
        """So many parts are to be computed, then more, taking so many seconds together, and so many at the same time."""

    def started(self, job: Job) -> None:
        """Tell that a job is at work."""

    def ended(self, done: Done) -> None:
        """Tell that a job has ended."""

    def note(self, text: str) -> None:
        """Tell what comes next."""


def duration(seconds: float) -> str:
    """Write a time as roughly as it is known.

    Examples
    --------
    >>> duration(4), duration(100), duration(1000), duration(8000)
    ('4 s', '100 s', '17 min', '2.2 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _Count:
    """What is at work, what is finished, and how long the rest may take."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.count = self.finished = 0
        self.jobs = 1
        self.expected = self.behind = 0.0
        self.at_work: dict[str, float] = {}

    def plan(self, count: int, seconds: float, jobs: int) -> None:
        self.begun = time.monotonic()
        self.count, self.expected, self.jobs = count, seconds, jobs

    def ended(self, done: Done) -> None:
        self.at_work.pop(done.job.name, None)
        self.finished += 1
        self.behind += done.job.seconds

    def left(self) -> float:
        """Seconds left, from how long the finished parts took beside what was expected of them."""
        rest = self.expected - self.behind
        return rest * (time.monotonic() - self.begun) / self.behind if self.behind else rest / self.jobs


def _planned(count: int, stored: int, seconds: float, jobs: int) -> str:
    known = f" ({stored} stored)" if stored else ""
    return f"{count} parts to compute{known}: about {duration(seconds / jobs)}, {jobs} at a time"


class Lines:
    """One line for each part that is finished, for a log."""

    def __init__(self, write: Callable[[str], Any] | None = None) -> None:
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))
        self._count = _Count()

    def plan(self, count: int, stored: int, seconds: float, jobs: int, more: int = 0) -> None:
        """Say how much there is to do."""
        self._count.plan(count + more, seconds, jobs)
        if count:
            self._write(_planned(count, stored, seconds, jobs))

    def started(self, job: Job) -> None:
        """Say nothing."""

    def ended(self, done: Done) -> None:
        """Say what is finished, and how long it took."""
        self._count.ended(done)
        width = len(str(self._count.count))
        failed = " failed" if done.outcome.failed is not None else ""
        place = f"[{self._count.finished:>{width}}/{self._count.count}]"
        self._write(f"{place} {done.job.name} {done.outcome.seconds:.1f} s{failed}")

    def note(self, text: str) -> None:
        """Say it."""
        self._write(text)


class Bar:
    """One bar over everything, with what is at work and the time left; it vanishes when it is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, left="")
        self._count = _Count()

    def plan(self, count: int, stored: int, seconds: float, jobs: int, more: int = 0) -> None:
        """Begin the bar."""
        self._count.plan(count + more, seconds, jobs)
        if count and seconds / jobs > 600:
            self._progress.console.print(_planned(count, stored, seconds, jobs))
        self._progress.update(self._task, total=seconds or None, completed=0.0)

    def started(self, job: Job) -> None:
        """Show what is at work."""
        self._count.at_work[job.name] = time.monotonic()
        self._show()

    def ended(self, done: Done) -> None:
        """Move the bar on."""
        self._count.ended(done)
        if done.outcome.failed is not None:
            self._progress.console.print(f"{done.job.name} failed", markup=False)
        self._show()

    def note(self, text: str) -> None:
        """Show it in place of what is at work."""
        self._progress.update(self._task, description=text, left="")

    def _show(self) -> None:
        count = self._count
        label = f"{count.finished}/{count.count} {', '.join(count.at_work)}"
        left = f"{duration(max(count.left(), 0.0))} left"
        self._progress.update(self._task, description=label, completed=count.behind, left=left)


@contextmanager
def display() -> Iterator[Display]:
    """Progress of a computation of many parts."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


_AT_ONCE = 2.0  # seconds, within which wrong input is found: it is then the only line


@contextmanager
def labelled_bar() -> Iterator[Callable[[str, float], None]]:
    """Progress of one computation, told as a label and the fraction done; a line for each label where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        began, said = time.monotonic(), [""]

        def line(label: str, fraction: float) -> None:
            seconds = time.monotonic() - began
            if label != said[0] and seconds > _AT_ONCE:
                said[0] = label
                print(f"[{fraction:4.0%}] {label} {duration(seconds)}", file=sys.stderr, flush=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda label, fraction: progress.update(task, description=label, completed=fraction)
