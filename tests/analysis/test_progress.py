"""Progress: a line for each part without a terminal, one bar with what is at work and the time left in one."""

from __future__ import annotations

import doctest
import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from analysis.running import progress
from analysis.running.pool import Done, Failed, Job, Outcome
from analysis.running.progress import Bar, Display, Lines


def job(name: str, seconds: float = 10.0) -> Job:
    return Job(name, lambda: None, seconds)


def tell(display: Display) -> None:
    """Three parts and what follows, of which the second fails."""
    display.plan(2, 5, 70.0, 2, more=1)
    display.started(job("q/a", 50))
    display.started(job("q/b", 10))
    display.ended(Done(job("q/b", 10), Outcome(None, 3.04, Failed("ArithmeticError: no"))))
    display.started(job("q/answer", 10))
    display.ended(Done(job("q/a", 50), Outcome(None, 41.26)))


def test_lines() -> None:
    said: list[str] = []
    tell(Lines(said.append))
    assert said == [
        "2 parts to compute (5 stored): about 35 s, 2 at a time",
        "[1/3] q/b 3.0 s failed",
        "[2/3] q/a 41.3 s",
    ]


def test_nothing_to_compute_is_not_said() -> None:
    said: list[str] = []
    Lines(said.append).plan(0, 7, 3.0, 2, more=1)
    assert said == []


def test_lines_go_to_stderr_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display() as shown:
        tell(shown)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 3


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def test_the_bar_shows_what_is_at_work_and_how_far_everything_is(console: Console) -> None:
    shown = Progress(TextColumn("{task.description}", markup=False), TextColumn("{task.fields[left]}"), console=console)
    with shown:
        bar = Bar(shown)
        bar.plan(2, 0, 70.0, 2, more=1)
        assert shown.tasks[0].total == 70
        bar.started(job("q/a", 50))
        bar.started(job("q/[b]", 10))
        assert shown.tasks[0].description == "0/3 q/a, q/[b]"
        assert shown.tasks[0].fields["left"] == "35 s left"  # 70 seconds of work for two
        bar.ended(Done(job("q/[b]", 10), Outcome(None, 3.0, Failed("no"))))
        assert shown.tasks[0].description == "1/3 q/a"
        assert shown.tasks[0].completed == 10
        assert re.fullmatch(r"\d+ s left", shown.tasks[0].fields["left"])
        bar.ended(Done(job("q/a", 50), Outcome(None, 41.0)))
        assert shown.tasks[0].completed == 60
    assert "q/[b] failed" in text(console)


def test_before_a_long_computation_the_bar_says_how_long_it_may_take(console: Console) -> None:
    with Progress(console=console) as shown:
        Bar(shown).plan(40, 3, 9000.0, 2)
    assert "40 parts to compute (3 stored): about 75 min, 2 at a time" in text(console)


def test_the_time_left_is_learnt_from_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    count = progress._Count()
    count.plan(4, 100.0, 2)
    assert count.left() == 50
    now = 30.0  # a quarter took 30 seconds: three more take 90
    count.ended(Done(job("a", 25), Outcome(None)))
    assert count.left() == pytest.approx(90)


def test_examples_are_true() -> None:
    failed, tried = doctest.testmod(progress)
    assert tried
    assert not failed
