"""Killed at twenty random moments and begun again each time, a report of real questions ends in the bytes of a clean one."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTIONS = ("kl_properties", "alpha_bridge", "mode_covering_vs_seeking")
KILLS = 20

pytestmark = pytest.mark.slow


def begin(output: Path) -> subprocess.Popen[bytes]:
    only = [argument for question in QUESTIONS for argument in ("--only", question)]
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", "report", "--quick", *only, "--output", str(output)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def sums(output: Path) -> dict[str, str]:
    """SHA-256 of every file but the records, which say how long a part took."""
    files = [path for path in sorted(output.rglob("*")) if path.is_file() and path.suffix != ".json"]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_twenty_kills_change_no_byte(tmp_path: Path) -> None:
    started = time.monotonic()
    process = begin(tmp_path / "clean")
    _, err = process.communicate()
    assert process.returncode == 0, err
    takes = time.monotonic() - started
    moments, kills = random.Random(11), 0
    while kills < KILLS:
        process = begin(tmp_path / "hit")
        try:
            # As time goes on less is left to do; a run that ends before its moment is none of the twenty.
            _, err = process.communicate(timeout=moments.uniform(0, takes / (1 + kills / 4)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        else:
            assert process.returncode == 0, err
    process = begin(tmp_path / "hit")
    _, err = process.communicate()
    assert process.returncode == 0, err
    clean, hit = sums(tmp_path / "clean"), sums(tmp_path / "hit")
    assert {name.rpartition(".")[2] for name in clean} == {"html", "md", "svg", "nc", "drawn"}
    assert hit == clean
