"""JSON on stdout and nothing else there, whatever a user's file prints, and from where."""

from __future__ import annotations

import json
import subprocess
import sys

from analysis.command.printed import finite

NOISY = """
import atexit, ctypes, os, subprocess, sys
from analysis.command.printed import print_json, stdout_kept

print("ours, before")
with stdout_kept():
    print("Python")
    sys.__stdout__.write("what Python calls the real one\\n")
    sys.stdout.close()
    sys.stderr.close()
    os.write(1, b"the descriptor\\n")
    print("after it was closed")
    subprocess.run([sys.executable, "-c", "print('a child')"])
    ctypes.CDLL(None).puts(b"C")  # which keeps it until its buffer is full
    atexit.register(print, "at the end")
    atexit.register(os.system, "echo a child at the end")
print_json({"answer": 1})
"""


def test_what_foreign_code_prints_goes_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == "ours, before"
    assert [json.loads(line) for line in rest] == [{"answer": 1}]
    said = (
        "Python",
        "what Python calls the real one",
        "the descriptor",
        "after it was closed",
        "a child",
        "C",
        "at the end",
        "a child at the end",
    )
    assert sorted(done.stderr.splitlines()) == sorted(said)


def test_infinity_keeps_its_sign() -> None:
    assert [finite(v) for v in (1.5, float("inf"), -float("inf"), float("nan"))] == [1.5, "inf", "-inf", None]
