"""``duality model``: your own PyMC model, examined."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

import typer

from analysis.command.interrupt import leaving_at_once
from analysis.command.printed import AsJson, print_json, stdout_kept
from analysis.command.questions import Seed, folder_of, own_folder

__all__ = ["model"]


def model(
    place: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:FUNCTION",
            help="A Python file, and in it a function that returns a pymc.Model, or the name of one. The file is run, as `python FILE.py` runs it.",
        ),
    ],
    budget: Annotated[
        float,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            min=1.0,
            help="Searches and samplers end by then. Compiling the model comes before, comparing what they found and writing the report after; how long each took is said.",
        ),
    ] = 300.0,
    starts: Annotated[
        int,
        typer.Option(
            "--starts", min=1, help="Starts of the search for optima; half as many follow about those that they find."
        ),
    ] = 20,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Folder to write to.", show_default="duality-NAME/", parser=folder_of, metavar="PATH"
        ),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Examine your own PyMC model: what ADVI reports, what it misses, and what repairs it."""
    from analysis.running.progress import labelled_bar

    started = time.perf_counter()
    # The user's code may print, while it is run and while it is evaluated; stdout is for the answer.
    with leaving_at_once(_LOST), labelled_bar() as progress, stdout_kept():
        from analysis.own_model.loading import blaming, load_model, parse_place

        file, name = parse_place(place)
        progress(f"running {file.name}", 0.0)
        found, its_model = load_model(file, name)
        from analysis.own_model.study import analyse

        with _begun(output if output is not None else Path(f"duality-{found}")) as folder:
            with blaming(file):
                tree = analyse(
                    its_model,
                    name=f"{file.name}:{found}",
                    budget_s=budget,
                    seed=seed,
                    starts=starts,
                    on_progress=lambda label, fraction: progress(label, 0.05 + 0.85 * fraction),
                )
            progress("report", 0.95)
            from analysis.own_model import page
            from analysis.own_model.summary import summary
            from analysis.store import write_all
            from models.results import save

            document = summary(tree)
            (written,) = page.write(tree, folder)
            text = json.dumps(document, allow_nan=False, indent=1)
            write_all({folder / "model.json": text.encode()})
            save(tree, folder / "model.nc")
    with leaving_at_once(f"the report is written: {written}"):
        if as_json:
            print_json(document)
            return
        for line in page.printed(tree):
            typer.echo(line)
        typer.echo(f"{_spent(document, budget, time.perf_counter() - started)}; {written}")


def _spent(document: Mapping[str, Any], budget: float, total: float) -> str:
    """Seconds of all, and of what the budget is for."""
    compiling = document["seconds_compiling"]
    examining = document["seconds"] - compiling
    return f"{total:.0f} s: examining {examining:.0f} (budget {budget:g}), compiling {compiling:.0f}, the rest starting and writing"


_LOST = "the model was not examined to the end, and nothing of it is kept"


@contextmanager
def _begun(folder: Path) -> Iterator[Path]:
    """Make sure that a folder can be written before anything is computed; where nothing comes of it, leave none."""
    new = not folder.exists()

    def forget() -> None:
        if new:
            rmtree(folder, ignore_errors=True)

    with leaving_at_once(_LOST, forget):
        try:
            yield own_folder(folder, "model.json", "model.nc")
        except KeyboardInterrupt:  # as PyMC raises it
            forget()
            typer.echo(f"duality: interrupted; {_LOST}", err=True)
            sys.exit(130)
        except BaseException:
            forget()
            raise
