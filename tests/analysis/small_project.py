"""A project of two questions that are answered at once: the real command, on parts that take no time.

The command is the copied one, so it finds the small questions where it finds the real ones. What a question does besides
is told by the environment: ``SMALL_LOG`` names a file that gets a line for each part computed, ``SMALL_SLEEP`` the seconds
a part takes, ``SMALL_FAIL``, ``SMALL_WRONG`` and ``SMALL_DIE`` a part, as ``question/part``, that raises, that says its
input is wrong, and whose process is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from analysis.catalogue import questions

ROOT = Path(__file__).parents[2]

INIT = '''
"""A small question."""

QUESTION = "What is {name}?"
CHAPTER = {chapter}
TITLE = "About {name}"
'''

STUDY = """
from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial

import numpy as np
import xarray as xr
from pydantic import BaseModel

from analysis.{name} import QUESTION
from analysis.parts import Part, compute_parts
from models.errors import InputError


class Settings(BaseModel):
    seed: int = 0
    n: int = 4

    @classmethod
    def preset(cls, effort, seed=0):
        return cls(seed=seed, n={{"quick": 2, "default": 4, "full": 6}}[effort])


def parts(settings):
    return [
        Part(f"x{{i}}", f"number {{i}}", {{"i": i, "settings": settings.model_dump()}}, partial(drawn, i, settings.seed), weight=0.1 * i)
        for i in range(settings.n)
    ]


def run(settings=None, **options):
    settings = settings or Settings()
    return compute_parts(parts(settings), question=QUESTION, settings=settings, **options)


def drawn(i, seed):
    name = f"{name}/x{{i}}"
    if os.environ.get("SMALL_LOG"):
        with open(os.environ["SMALL_LOG"], "a") as log:
            log.write(name + "\\n")
    print("Finished [100%]", file=sys.stderr)
    time.sleep(float(os.environ.get("SMALL_SLEEP", "0")))
    if os.environ.get("SMALL_FAIL") == name:
        raise ArithmeticError("no optimum near 1.5")
    if os.environ.get("SMALL_WRONG") == name:
        raise InputError("n is 3; it must be 4")
    if os.environ.get("SMALL_DIE") == name:
        os.kill(os.getpid(), signal.SIGKILL)
    x = helper(np.random.default_rng([seed, i, {chapter}]).normal(size=200))
    return xr.DataTree.from_dict({{"draws": xr.Dataset({{"x": ("draw", x)}})}})


def helper(x):
    return 2 * x
"""

FINDINGS = '''
def findings(results):
    """Numbers."""
    means = {{name: float(child["draws"]["x"].to_numpy().mean()) for name, child in results.children.items()}}
    return {{"means": means}}
'''

FIGURES = """
def plot(results, *, theme="light", backend="matplotlib", narrow=False):
    return {{}}
"""

#: As where Dask is not installed: xarray would import it in every process, which takes longer than all else.
WITHOUT_DASK = """import os
import sys

if not os.environ.get("SMALL_DASK"):
    sys.modules.setdefault("dask", None)
"""

SECTION = """<% answer %>It is small.<% endanswer %>

### The numbers

<% for name, mean in f.means.items() %>
- << name >>: << mean | num >>
<% endfor %>
"""


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    status: int
    out: str
    err: str


def _heed_interrupts() -> None:
    """A shell that runs the tests in the background has them, and what they begin, ignore interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Project:
    """A folder with the project in it."""

    root: Path

    @property
    def output(self) -> Path:
        return self.root / "built"

    @property
    def log(self) -> list[str]:
        """The parts computed since the log was cleared."""
        path = self.root / "log"
        return path.read_text().split() if path.exists() else []

    def clear_log(self) -> None:
        (self.root / "log").unlink(missing_ok=True)

    def popen(self, *arguments: str, module: str = "analysis", **environment: str) -> subprocess.Popen[str]:
        """Begin the command (or another module), in a session of its own."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("SMALL_") and k != "PYTHONPATH"}
        env |= {"SMALL_LOG": str(self.root / "log"), "SOURCE_DATE_EPOCH": "1700000000"} | environment
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )

    def duality(self, *arguments: str, **environment: str) -> Ended:
        """Run the command to its end."""
        process = self.popen(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"no end after 120 s: {out}{err}") from None
        return Ended(process.returncode, out, err)

    def report(self, *arguments: str, **environment: str) -> Ended:
        """Build the report in `output`, as Markdown."""
        return self.duality("report", "--output", str(self.output), "--format", "md", *arguments, **environment)

    def built(self, folder: Path | None = None) -> dict[str, bytes]:
        """Every file of the report, or of one kept elsewhere, and of its results, but for the records, which say how long a part took."""
        folder = folder or self.output
        files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".json")
        return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def small_project(root: Path) -> Project:
    """Make the project in a folder."""
    shutil.copytree(ROOT / "analysis", root / "analysis", ignore=shutil.ignore_patterns("__pycache__", *questions()))
    shutil.copytree(ROOT / "models", root / "models")
    (root / "analysis" / "__init__.py").write_text(WITHOUT_DASK)
    shutil.copytree(ROOT / "reports" / "templates", root / "reports" / "templates")
    shutil.copy(ROOT / "reports" / "references.bib", root / "reports" / "references.bib")
    files = {"__init__.py": INIT, "study.py": STUDY, "findings.py": FINDINGS, "figures.py": FIGURES}
    for chapter, name in enumerate(("apples", "pears")):
        (root / "analysis" / name).mkdir()
        for file, text in files.items():
            (root / "analysis" / name / file).write_text(text.format(name=name, chapter=chapter))
        (root / "analysis" / name / "chapter.md").write_text(SECTION)
    return Project(root)
