"""An interrupt of `duality model` at any moment: status 130 and one line, also where a `KeyboardInterrupt` would be caught or lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.command import main as cli

ROOT = Path(__file__).parents[2]

#: What begins, and loses any exception that is raised in it.
CAUGHT = """
import sys, time
print("at work", file=sys.stderr, flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
LOST = """
import sys, time
class Lost:
    def __del__(self):
        print("at work", file=sys.stderr, flush=True)
        time.sleep(60)
Lost()
"""
IN_A_MODEL = """
import sys, time
import pymc as pm
def model():
    with pm.Model() as m:
        pm.Normal("x")
    print("at work", file=sys.stderr, flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        return m
"""


def interrupted(*arguments: str) -> tuple[int, str, list[str]]:
    """Begin the command as a terminal does, and interrupt it when it says that it is at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    while process.stderr.readline() != "at work\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.splitlines()


@pytest.mark.parametrize("text", [CAUGHT, LOST, IN_A_MODEL])
def test_an_interrupt_ends_it_whatever_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    status, out, err = interrupted("model", f"{tmp_path / 'mine.py'}:model", "--output", str(tmp_path / "new"))
    assert (status, out, len(err)) == (130, "", 1), err
    assert err[0] == "duality: interrupted; the model was not examined to the end, and nothing of it is kept"
    assert not (tmp_path / "new").exists()


def test_an_interrupt_while_it_is_still_imported_is_one_line(tmp_path: Path) -> None:
    """Before anything but the entry has run: here a module that it imports says that it is at work."""
    (tmp_path / "typer.py").write_text(CAUGHT)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from analysis.command.entry import main; main(['list'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "at work\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "duality: interrupted\n"
    assert process.returncode == 130


def test_an_interrupt_after_the_answer_changes_nothing() -> None:
    """While Python ends: here what it calls at its end says that it is at work."""
    script = """if True:
        import atexit, sys, time
        from analysis.command.entry import main
        def end():
            print("at work", file=sys.stderr, flush=True)
            time.sleep(1)
        atexit.register(end)
        main(["list"])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "mode_covering_vs_seeking" in out


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a server of processes")
def test_an_interrupt_does_not_reach_a_server_that_is_still_importing(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import sys, time\nprint('at work', file=sys.stderr, flush=True)\ntime.sleep(2)\n"
    )
    script = """if True:
        import sys, time
        from analysis.running.pool import Local
        try:
            with Local(1, ["slow_to_import"]) as pool:
                pool.submit(int).result()
        except KeyboardInterrupt:
            time.sleep(3)  # and the server goes on meanwhile
            sys.exit(130)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "at work\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130


@pytest.mark.parametrize(("command", "kept"), [("report", True), ("divergence", False)])
def test_only_what_is_stored_is_said_to_be_kept(
    command: str, kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "app", stopped)
    with pytest.raises(SystemExit) as stop:
        cli.main([command])
    signal.signal(signal.SIGINT, before)
    assert stop.value.code == 130
    assert ("kept" in capsys.readouterr().err) is kept
