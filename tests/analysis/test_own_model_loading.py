"""What a user's file leaves behind in the process, and how its later failures are told."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from analysis.own_model.loading import blaming, load_model
from models.errors import ConvergenceError, InputError

FILE = """
import os, sys, warnings
import numpy as np
import pymc as pm

def moves():
    os.chdir("elsewhere")
    np.seterr(over="raise")
    warnings.simplefilter("error")
    with pm.Model() as model:
        pm.Normal("x")
    return model

def warns():
    warnings.warn("be careful")
    warnings.warn_explicit("of a library", UserWarning, "/library/of/theirs.py", 1)
    with pm.Model() as model:
        pm.Normal("x")
    return model

def evaluated():
    raise RuntimeError("my simulator is broken")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.py"
    path.write_text(FILE)
    (tmp_path / "elsewhere").mkdir()
    return path


def test_folder_warnings_and_floating_point_are_ours_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    before = np.geterr(), list(warnings.filters), Path.cwd()
    load_model(file, "moves")
    assert (np.geterr(), list(warnings.filters), Path.cwd()) == before


def test_their_own_warnings_are_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the command does
        warnings.showwarning = lambda message, category, *_rest: print(category.__name__, message)
        load_model(file, "warns")
    assert capsys.readouterr().out.splitlines() == ["UserWarning be careful"]


def test_what_their_code_raises_while_it_is_evaluated_has_file_and_line(file: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(FILE, file, "exec"), names)
    line = FILE.splitlines().index('    raise RuntimeError("my simulator is broken")') + 1
    with (
        pytest.raises(InputError, match=rf"theirs.py, line {line}, while .* evaluated: RuntimeError: my simulator is"),
        blaming(file),
    ):
        names["evaluated"]()  # type: ignore[operator]


def test_what_our_code_raises_is_not_blamed_on_them(file: Path) -> None:
    for error in (ValueError("ours"), ConvergenceError("ours")):
        with pytest.raises(type(error), match=r"^ours$"), blaming(file):
            raise error
