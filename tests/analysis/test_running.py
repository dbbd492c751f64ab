"""The report as its user runs it, on small questions: failures, kills, interrupts, full disks, and what is kept."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis.small_project import Project, small_project

PARTS = {f"{question}/x{i}" for question in ("apples", "pears") for i in range(4)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its report built once."""
    project = small_project(tmp_path_factory.mktemp("template"))
    ended = project.report()
    assert ended.status == 0, ended
    return project


@pytest.fixture(scope="module")
def clean(template: Project) -> dict[str, bytes]:
    """What a run that nothing disturbs ends in."""
    return template.built()


@pytest.fixture
def project(template: Project) -> Iterator[Project]:
    """The project with nothing built; its folder is the same, for a path might get into a page."""
    kept = template.root / "kept"
    shutil.move(template.output, kept)
    template.clear_log()
    yield template
    shutil.rmtree(template.output, ignore_errors=True)
    shutil.move(kept, template.output)


def failures(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("duality: ")]


def processes_of(session: int) -> list[int]:
    """Processes of a session that are still there, zombies not counted."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[3]) == session and stat[0] != "Z":
            found.append(int(folder.name))
    return found


def gone(session: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(session):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# --- done ------------------------------------------------------------------------------------------------------------


def test_every_part_is_computed_once_and_then_never_again(project: Project, clean: dict[str, bytes]) -> None:
    first = project.report()
    assert first.status == 0, first
    assert sorted(project.log) == sorted(PARTS)
    assert project.built() == clean
    project.clear_log()
    again = project.report()
    assert again.status == 0
    assert project.log == []
    assert project.built() == clean


def test_the_number_of_processes_changes_nothing(project: Project, clean: dict[str, bytes]) -> None:
    assert project.report("--jobs", "1").status == 0
    assert project.log == [f"{q}/x{i}" for i in (3, 2, 1, 0) for q in ("apples", "pears")]  # one pool, longest first
    assert project.built() == clean


def test_another_seed_is_another_report(project: Project, clean: dict[str, bytes]) -> None:
    assert project.report("--seed", "1").status == 0
    changed = {name for name, content in project.built().items() if clean[name] != content}
    assert changed == set(clean)


def test_without_a_terminal_each_part_is_a_line_and_nothing_else_is_said(project: Project) -> None:
    ended = project.report()
    first, *lines, last = ended.err.splitlines()
    assert re.fullmatch(r"8 parts to compute: about \d+ s, \d+ at a time", first)
    matches = [re.fullmatch(r"\[ ?(\d+)/10\] (\w+/\w+) \d+\.\d s", line) for line in lines]
    assert [int(m[1]) for m in matches if m] == list(range(1, 11)), ended.err
    assert {m[2] for m in matches if m} == PARTS | {"apples/answer", "pears/answer"}
    assert re.fullmatch(r"\d+ s", last)
    assert ended.out.split() == [str(project.output / name) for name in ("index.html", "README.md")]


def test_only_one_question_and_then_all(project: Project) -> None:
    assert project.report("--only", "pears").status == 0
    assert sorted(project.log) == sorted(part for part in PARTS if part.startswith("pears"))
    project.clear_log()
    assert project.report("--only", "pears", "--only", "apples").status == 0
    assert sorted(project.log) == sorted(part for part in PARTS if part.startswith("apples"))


def test_fresh_computes_again(project: Project, clean: dict[str, bytes]) -> None:
    for _ in range(2):
        project.clear_log()
        assert project.report("--fresh").status == 0
        assert sorted(project.log) == sorted(PARTS)
    assert project.built() == clean


def test_a_changed_caption_computes_nothing_and_is_said(project: Project) -> None:
    assert project.report().status == 0
    project.clear_log()
    source = project.root / "analysis" / "pears.py"
    text = source.read_text()
    try:
        source.write_text(text.replace("It is small.", "It is not large."))
        assert project.report().status == 0
        assert project.log == []
        assert "It is not large." in (project.output / "README.md").read_text()
        source.write_text(text.replace("2 * x", "3 * x"))
        assert project.report().status == 0
        assert sorted(project.log) == sorted(part for part in PARTS if part.startswith("pears"))
    finally:
        source.write_text(text)


def test_a_damaged_result_is_computed_again(project: Project, clean: dict[str, bytes]) -> None:
    assert project.report().status == 0
    project.clear_log()
    results = project.output / "results"
    part = results / "pears" / "x2.nc"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 255
    part.write_bytes(content)
    (results / "apples" / "x1.nc").write_bytes(b"foreign")
    for name in ("apples.nc", "pears.nc"):
        whole = (results / name).read_bytes()
        (results / name).write_bytes(whole[: len(whole) // 2])
    assert project.report().status == 0
    assert sorted(project.log) == ["apples/x1", "pears/x2"]
    assert project.built() == clean


def test_files_of_others_are_left_alone(project: Project) -> None:
    foreign = {"notes.txt": "mine", "figures/photo.svg": "<svg/>", "results/thesis.nc": "CDF", ".hidden": "", "results/pears/old.nc": "x"}  # fmt: skip
    for name, text in foreign.items():
        (project.output / name).parent.mkdir(parents=True, exist_ok=True)
        (project.output / name).write_text(text)
    assert project.report().status == 0
    assert {name: (project.output / name).read_text() for name in foreign} == foreign


# --- not done --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failed_part_is_said_and_all_else_is_computed_and_kept(
    project: Project, clean: dict[str, bytes], jobs: str
) -> None:
    project.output.mkdir()
    (project.output / "index.html").write_text("earlier")
    ended = project.report("--jobs", jobs, SMALL_FAIL="apples/x2")
    assert ended.status == 1
    (line,) = failures(ended.err)
    for words in ("question apples, part x2: ", "ArithmeticError: no optimum near 1.5", str(project.output / "results" / "apples")):  # fmt: skip
        assert words in line
    assert "Traceback" not in ended.err
    assert sorted(project.log) == sorted(PARTS)
    assert (project.output / "index.html").read_text() == "earlier"
    assert not (project.output / "README.md").exists()
    project.clear_log()
    assert project.report().status == 0
    assert project.log == ["apples/x2"]
    assert project.built() == clean


def test_run_answers_the_other_questions(project: Project) -> None:
    ended = project.duality("run", "apples", "pears", "--output", str(project.output), SMALL_FAIL="apples/x2")
    assert ended.status == 1
    assert "What is pears?" in ended.out
    assert "What is apples?" not in ended.out
    assert str(project.output / "results" / "pears.nc") in ended.out
    assert len(failures(ended.err)) == 1


def test_every_failure_is_a_line_of_its_own(project: Project) -> None:
    ended = project.report(SMALL_FAIL="apples/x2", SMALL_DIE="pears/x3")
    assert ended.status == 1
    assert [line.split(": ")[1] for line in sorted(failures(ended.err))] == [
        "question apples, part x2",
        "question pears, part x3",
    ]


def test_wrong_input_that_only_a_part_finds_is_wrong_input(project: Project) -> None:
    ended = project.report(SMALL_WRONG="pears/x3")
    assert ended.status == 2
    (line,) = failures(ended.err)
    assert "n is 3; it must be 4" in line


def test_the_traceback_is_there_for_who_asks(project: Project) -> None:
    ended = project.report(SMALL_FAIL="apples/x2", DUALITY_TRACEBACK="1")
    assert ended.status == 1
    assert "Traceback" in ended.err
    assert "in drawn" in ended.err


def test_a_part_whose_process_is_killed_fails_alone(project: Project, clean: dict[str, bytes]) -> None:
    ended = project.report(SMALL_DIE="pears/x3")
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "question pears, part x3: " in line
    assert "killed, or out of memory" in line
    assert set(project.log) == PARTS
    project.clear_log()
    assert project.report().status == 0
    assert project.log == ["pears/x3"]
    assert project.built() == clean


def test_a_question_that_cannot_be_read_leaves_the_others(project: Project) -> None:
    source = project.root / "analysis" / "pears.py"
    text = source.read_text()
    try:
        source.write_text(text.replace("import numpy as np", "import numpi as np"))
        ended = project.report()
    finally:
        source.write_text(text)
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "question pears" in line
    assert "numpi" in line
    assert sorted(project.log) == sorted(part for part in PARTS if part.startswith("apples"))


def test_findings_that_fail_leave_the_earlier_report(project: Project) -> None:
    assert project.report("--seed", "1").status == 0
    before = {name: (project.output / name).read_bytes() for name in ("index.html", "README.md")}
    source = project.root / "analysis" / "pears.py"
    text = source.read_text()
    try:
        source.write_text(text.replace('"""Numbers."""', "raise LookupError('no such run')"))
        ended = project.report()
    finally:
        source.write_text(text)
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "question pears, findings and figures: LookupError: no such run" in line
    assert {name: (project.output / name).read_bytes() for name in before} == before


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(project: Project, clean: dict[str, bytes]) -> None:
    """The disk is full for one part: where its file would go there is a folder, and this is an error like any other of a disk."""
    assert project.report("--only", "apples").status == 0
    blocked = project.output / "results" / "pears" / "x1.nc"
    blocked.mkdir(parents=True)
    project.clear_log()
    ended = project.report("--jobs", "1")
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "part pears/x1 cannot be stored" in line
    assert "kept" in line
    assert "Traceback" not in ended.err
    blocked.rmdir()
    project.clear_log()
    assert project.report().status == 0
    assert sorted(project.log) == ["pears/x0", "pears/x1"]
    assert project.built() == clean


# --- killed ----------------------------------------------------------------------------------------------------------


def test_an_interrupt_stops_everything_and_says_what_is_kept(project: Project, clean: dict[str, bytes]) -> None:
    process = project.popen("report", "--output", str(project.output), SMALL_SLEEP="0.3")
    while len(project.log) < 5:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    (line,) = failures(err)
    assert "interrupted" in line
    assert "kept" in line
    assert "Traceback" not in err
    assert out == ""
    assert gone(process.pid)
    before = len(project.log)
    project.clear_log()
    assert project.report().status == 0
    assert len(project.log) <= len(PARTS) - (before - 2)  # those at work are lost, those before are not
    assert project.built() == clean


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_started_them(project: Project, clean: dict[str, bytes]) -> None:
    process = project.popen("report", "--output", str(project.output), SMALL_SLEEP="0.5")
    while len(project.log) < 4:
        time.sleep(0.01)
    assert len(processes_of(process.pid)) >= 3
    process.kill()  # this one only
    process.communicate()
    assert gone(process.pid)
    assert project.report().status == 0
    assert project.built() == clean


def test_killed_at_any_moment_it_ends_in_the_same_bytes(project: Project, clean: dict[str, bytes]) -> None:
    """All processes at once, at moments spread over the whole run; then once undisturbed."""
    moments = random.Random(7)
    started = time.monotonic()
    assert project.report(SMALL_SLEEP="0.1").status == 0
    takes = time.monotonic() - started
    shutil.rmtree(project.output)
    project.clear_log()
    killed = 0
    for _ in range(4):
        process = project.popen("report", "--output", str(project.output), SMALL_SLEEP="0.1")
        time.sleep(moments.uniform(0.3, 0.9) * takes)
        killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.communicate()
    left = project.output / "results" / "pears"
    left.mkdir(parents=True, exist_ok=True)
    from analysis.support import cache

    (left / f".x0.nc.{cache._host()}~{process.pid}.part").write_bytes(b"half")  # a kill within a write is rare
    assert killed
    ended = project.report()
    assert ended.status == 0, ended
    assert project.built() == clean
