"""What the commands that answer questions share: their options, and how the questions are answered."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from analysis.running.answers import Answer, Failure, Order

__all__ = [
    "JOBS",
    "REPORTS",
    "Fresh",
    "Full",
    "Jobs",
    "Output",
    "Quick",
    "Scheduler",
    "Seed",
    "answered",
    "effort_of",
    "folder_of",
    "ordered",
    "own_folder",
    "say_failures",
    "writable",
]

REPORTS = Path(__file__).resolve().parents[2] / "reports"
Quick = Annotated[bool, typer.Option("--quick", help="Fewer runs and steps: a first look, not the numbers.")]
Full = Annotated[bool, typer.Option("--full", help="Many runs: the committed figures of heavy studies.")]


def folder_of(text: str | Path) -> Path:
    """Folder that an option names; an empty name, as of a shell variable that is not set, would be the current one."""
    if not str(text).strip():
        raise typer.BadParameter("the name of the folder is empty; give one, or . for the current folder")
    return Path(text)


Output = Annotated[
    Path,
    typer.Option("--output", help="Folder to write to.", show_default="reports/", parser=folder_of, metavar="PATH"),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Parent of every random number.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Parts computed at the same time.", show_default="all cores")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a Dask scheduler to compute on.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Compute again what is already stored.")]

JOBS = os.cpu_count() or 1


def effort_of(quick: bool, full: bool) -> str:
    """Name of the effort asked for."""
    if quick and full:
        raise InputError("--quick and --full exclude each other; give one of them")
    return "quick" if quick else "full" if full else "default"


def writable(folder: Path, option: str = "--output") -> Path:
    """Make sure that a folder can be written before anything is computed."""
    probe = folder / f".duality-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"output folder {str(folder)!r} cannot be written ({error.strerror}); choose another with {option}"
        ) from None
    return folder


def own_folder(folder: Path, *results: str) -> Path:
    """Make sure that a report about one's own can be written, with these files beside it, and replaces nobody else's."""
    from analysis.site.report import check_results

    check_results(folder, results)
    return writable(folder)


def answered(names: Sequence[str], order: Order, scheduler: str | None) -> tuple[dict[str, Answer], list[Failure]]:
    """Answer questions here, or on a Dask cluster."""
    from analysis.running.answers import answer_all
    from analysis.running.progress import display

    if scheduler is None:
        with display() as shown:
            return answer_all(names, order, shown)
    from analysis.running.cluster import connected

    with connected(scheduler, names) as workers, display() as shown:
        return answer_all(names, order, shown, workers)


def ordered(effort: str, seed: int, output: Path, jobs: int, fresh: bool = False, figures: bool = False) -> Order:
    """Say what is wanted, once its folder can be written."""
    from analysis.running.answers import Order

    return Order(effort, seed, writable(output), jobs, fresh, figures)


def say_failures(failures: Sequence[Failure], order: Order) -> None:
    """One line for each failure, then the end; nothing if there is none."""
    for failure in failures:
        kept = f"finished parts are kept in {order.results / failure.question}"
        typer.echo(f"duality: question {failure.question}, {failure.part}: {failure.failed.error} ({kept})", err=True)
        if os.environ.get("DUALITY_TRACEBACK"):
            typer.echo(failure.failed.trace, err=True)
    if failures:
        sys.exit(2 if all(failure.failed.wrong_input for failure in failures) else 1)
