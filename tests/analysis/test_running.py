"""The report as its user runs it, on small questions: failures, kills, interrupts, full disks, and what is kept."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import store as cache
from tests.analysis.small_project import Project, small_project

PARTS = {f"{question}/x{i}" for question in ("apples", "pears") for i in range(4)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its report built once, undisturbed; kept aside in the folder ``clean``."""
    project = small_project(tmp_path_factory.mktemp("template"))
    ended = project.report("--format", "html,md")
    assert ended.status == 0, ended
    assert sorted(project.log) == sorted(PARTS)
    shutil.copytree(project.output, project.root / "clean")
    return project


@pytest.fixture(scope="module")
def clean(template: Project) -> dict[str, bytes]:
    """What a run that nothing disturbs ends in."""
    return template.built(template.root / "clean")  # its own folder may have been used by then


@pytest.fixture
def project(template: Project) -> Iterator[Project]:
    """The project with nothing built, always in the same folder, for a path might get into a page."""
    sources = {path: path.read_text() for path in (template.root / "analysis").glob("*/*.py")}
    shutil.rmtree(template.output, ignore_errors=True)
    template.clear_log()
    yield template
    for path, text in sources.items():
        path.write_text(text)


@pytest.fixture
def built(project: Project) -> Project:
    """The project with its report built."""
    shutil.copytree(project.root / "clean", project.output)
    return project


def change(project: Project, question: str, old: str, new: str, file: str = "study") -> None:
    path = project.root / "analysis" / question / f"{file}.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def of(question: str) -> list[str]:
    return sorted(part for part in PARTS if part.startswith(question))


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


def test_nothing_is_computed_twice_and_the_same_results_are_the_same_report(
    built: Project, clean: dict[str, bytes]
) -> None:
    for name in ("index.html", "README.md"):
        (built.output / name).unlink()
    ended = built.report("--format", "html,md")
    assert ended.status == 0, ended
    assert built.log == []
    assert built.built() == clean
    assert ended.out.split() == [str(built.output / name) for name in ("index.html", "README.md")]
    assert "to compute" not in ended.err


def test_parts_of_all_questions_are_computed_longest_first_and_each_is_a_line(
    built: Project, clean: dict[str, bytes]
) -> None:
    """In one process, whose results are those of two; what libraries print ("Finished [100%]") is not said."""
    ended = built.report("--fresh", "--jobs", "1", "--format", "html,md")
    assert ended.status == 0, ended
    # What a part took before is known: nearly nothing, so the order here is that of the seconds, not of the weights.
    assert sorted(built.log) == sorted(PARTS)
    assert built.built() == clean
    first, *lines, last = ended.err.splitlines()
    assert re.fullmatch(r"8 parts to compute: about \d+ s, 1 at a time", first)
    matches = [re.fullmatch(r"\[ ?(\d+)/10\] (\w+/\w+) \d+\.\d s", line) for line in lines]
    assert [int(m[1]) for m in matches if m] == list(range(1, 11)), ended.err
    assert {m[2] for m in matches if m} == PARTS | {"apples/answer", "pears/answer"}
    assert re.fullmatch(r"\d+ s", last)


@pytest.mark.exhaustive
def test_another_seed_is_another_report_and_parts_begin_by_weight(project: Project, clean: dict[str, bytes]) -> None:
    assert project.report("--seed", "1", "--jobs", "1").status == 0
    assert project.log == [f"{q}/x{i}" for i in (3, 2, 1, 0) for q in ("apples", "pears")]
    changed = {name for name, content in project.built().items() if clean[name] != content}
    told = {f"pages/{name}.md" for name in ("apples", "pears", "provenance")}
    assert changed == told | {name for name in clean if name.startswith("results/") and not name.endswith(".drawn")}


def test_a_changed_caption_computes_nothing_and_a_changed_helper_its_question(built: Project) -> None:
    change(built, "apples", 'QUESTION = "What is apples?"', 'QUESTION = "What are apples?"', "__init__")
    change(built, "pears", "2 * x", "3 * x")
    assert built.report().status == 0
    assert sorted(built.log) == of("pears")
    assert "What are apples?" in (built.output / "pages" / "apples.md").read_text()


@pytest.mark.exhaustive
def test_what_is_damaged_is_computed_again_and_files_of_others_are_left_alone(
    built: Project, clean: dict[str, bytes]
) -> None:
    results = built.output / "results"
    part = results / "pears" / "x2.nc"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 255
    part.write_bytes(content)
    (results / "apples" / "x1.nc").write_bytes(b"foreign")
    (results / "apples" / "x3.json").write_bytes(b"{")
    for name in ("apples.nc", "pears.nc"):
        whole = (results / name).read_bytes()
        (results / name).write_bytes(whole[: len(whole) // 2])
    foreign = {"notes.txt": "mine", "figures/photo.svg": "<svg/>", "results/thesis.nc": "CDF", ".hidden": "", "results/pears/old.nc": "x"}  # fmt: skip
    for name, text in foreign.items():
        (built.output / name).parent.mkdir(parents=True, exist_ok=True)
        (built.output / name).write_text(text)
    assert built.report().status == 0
    assert sorted(built.log) == ["apples/x1", "apples/x3", "pears/x2"]
    assert built.built() == clean | {name: text.encode() for name, text in foreign.items()}


# --- not done --------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_what_failed_is_said_and_all_else_is_computed_and_kept(project: Project, clean: dict[str, bytes]) -> None:
    """One part raises, and another one's process is killed."""
    project.output.mkdir()
    (project.output / "README.md").write_text("<!-- Built by `duality report` earlier. -->")
    ended = project.report(SMALL_FAIL="apples/x2", SMALL_DIE="pears/x3")
    assert ended.status == 1
    raised, killed = sorted(failures(ended.err))
    for words in ("question apples, part x2: ", "ArithmeticError: no optimum near 1.5", str(project.output / "results" / "apples")):  # fmt: skip
        assert words in raised
    for words in ("question pears, part x3: ", "killed, or out of memory", str(project.output / "results" / "pears")):
        assert words in killed
    assert "Traceback" not in ended.err
    assert set(project.log) == PARTS
    assert (project.output / "README.md").read_text() == "<!-- Built by `duality report` earlier. -->"
    assert sorted(path.name for path in project.output.iterdir()) == ["README.md", "results"]
    project.clear_log()
    assert project.report("--format", "html,md").status == 0
    assert sorted(project.log) == ["apples/x2", "pears/x3"]
    assert project.built() == clean


def test_wrong_input_that_only_a_part_finds_is_wrong_input(built: Project) -> None:
    ended = built.report("--seed", "1", "--only", "pears", SMALL_WRONG="pears/x3", DUALITY_TRACEBACK="1")
    assert ended.status == 2
    (line,) = failures(ended.err)
    assert "n is 3; it must be 4" in line
    assert "Traceback" in ended.err  # for who asks
    assert "in drawn" in ended.err


def test_a_question_that_cannot_be_read_leaves_the_answers_of_the_others(project: Project) -> None:
    change(project, "pears", "import numpy as np", "import numpy as np\n\n1 / 0")
    ended = project.duality("run", "apples", "pears", "--output", str(project.output))
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "question pears, list of parts: ZeroDivisionError" in line
    assert sorted(project.log) == of("apples")
    assert "What is apples?" in ended.out
    assert "What is pears?" not in ended.out
    assert str(project.output / "results" / "apples.nc") in ended.out


def test_findings_that_fail_leave_the_earlier_report(built: Project, clean: dict[str, bytes]) -> None:
    change(built, "pears", '"""Numbers."""', "raise LookupError('no such run')", "findings")
    ended = built.report("--format", "html,md")
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "question pears, findings and figures: LookupError: no such run" in line
    assert built.built() == clean


@pytest.mark.exhaustive
def test_a_disk_that_takes_no_more_is_one_line_and_what_is_finished_is_kept(built: Project) -> None:
    """Where the file of one part would go there is a folder: to write it is an `OSError`, as on a full disk."""
    blocked = built.output / "results" / "pears" / "x1.nc"
    blocked.unlink()
    blocked.mkdir()
    shutil.rmtree(built.output / "results" / "apples")
    for name in ("apples.nc", "pears.nc"):
        (built.output / "results" / name).unlink()
    ended = built.report("--jobs", "1")
    assert ended.status == 1
    (line,) = failures(ended.err)
    assert "part pears/x1 cannot be stored" in line
    assert "kept" in line
    assert "Traceback" not in ended.err
    blocked.rmdir()
    before = set(built.log)
    built.clear_log()
    assert built.report().status == 0
    # Of those before it none is computed again; one may have been under way.
    assert len(before & set(built.log) - {"pears/x1"}) <= 1


# --- killed ----------------------------------------------------------------------------------------------------------


def begun(project: Project, parts: int) -> subprocess.Popen[str]:
    """Begin a report of parts that take their time, and wait until so many have been begun."""
    process = project.popen("report", "--output", str(project.output), SMALL_SLEEP="0.3")
    deadline = time.monotonic() + 60
    while len(project.log) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.exhaustive
def test_an_interrupt_stops_everything_and_says_what_is_kept(project: Project, clean: dict[str, bytes]) -> None:
    process = begun(project, 5)
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
    assert project.report("--format", "html,md").status == 0
    # Lost is what was at work, and what ended in the moment before.
    assert len(project.log) <= len(PARTS) - (before - 4)
    assert project.built() == clean


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_started_them(project: Project) -> None:
    process = begun(project, 3)
    assert len(processes_of(process.pid)) >= 3
    process.kill()  # this one only
    process.communicate()
    assert gone(process.pid)


@pytest.mark.exhaustive
def test_killed_at_any_moment_it_ends_in_the_same_bytes(project: Project, clean: dict[str, bytes]) -> None:
    """All processes at once, after each of several parts, and while one is written; then once undisturbed."""
    for parts in random.Random(7).sample(range(1, len(PARTS) - 1), 2):
        project.clear_log()
        process = begun(project, parts)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    left = project.output / "results" / "pears" / f".x0.nc.{cache._host()}~{process.pid}.part"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")  # to be killed within a write is rare
    ended = project.report("--format", "html,md")
    assert ended.status == 0, ended
    assert project.built() == clean


# --- plots -----------------------------------------------------------------------------------------------------------

DRAWN = """
import numpy as np

from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.style import Style


def plot(results, *, theme="light", backend="matplotlib", narrow=False):
    style = Style.of(theme, backend, narrow)
    x = np.sort(results["x0/draws"]["x"].to_numpy())
    with style.settings():
        collection, (axis,) = panel_grid(["draws"], style, 1, (4, 3))
        style.draw.line(x, np.arange(len(x)), axis, color=style.ink, label="sorted draws")
    return {"line": Drawing(collection)}
"""


@pytest.mark.exhaustive
def test_a_plot_without_stored_results_shows_progress_and_prints_paths(project: Project) -> None:
    (project.root / "analysis" / "apples" / "figures.py").write_text(DRAWN)
    figures = project.root / "figures"
    arguments = ("plot", "apples", "--backend", "plotly", "--save", str(figures), "--output", str(project.output))
    first = project.duality(*arguments)
    assert first.status == 0, first
    assert first.out.split() == [str(figures / "apples-line.html")]
    assert "no results of apples are stored" in first.err
    assert re.search(r"\[5/5\] apples/answer", first.err)
    assert sorted(path.name for path in figures.iterdir()) == ["apples-line.html", "plotly.min.js"]
    again = project.duality(*arguments)
    assert again.out == first.out
    assert "no results" not in again.err
    assert len(project.log) == 4


@pytest.mark.exhaustive
def test_a_plot_that_fails_is_one_line(project: Project) -> None:
    arguments = ("plot", "apples", "--save", str(project.root / "none"), "--output", str(project.output))
    failed = project.duality(*arguments, SMALL_FAIL="apples/x1")
    assert failed.status == 1
    assert len([line for line in failed.err.splitlines() if line.startswith("duality: ")]) == 1
    assert "no optimum near 1.5" in failed.err
    wrong = project.duality("plot", "apples", "--save", "/proc/none", "--output", str(project.output))
    assert (wrong.status, len(wrong.err.splitlines())) == (2, 1)
    assert "choose another with --save" in wrong.err
