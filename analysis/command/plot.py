"""``duality plot``: the figures of a question, on a screen or in files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from analysis.catalogue import check_questions
from analysis.command.questions import (
    JOBS,
    REPORTS,
    Full,
    Jobs,
    Output,
    Quick,
    Seed,
    answered,
    effort_of,
    folder_of,
    ordered,
    say_failures,
    writable,
)
from models.errors import InputError

__all__ = ["plot"]


def plot(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    backend: Annotated[str, typer.Option("--backend", help="matplotlib, plotly or bokeh.")] = "matplotlib",
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Write the figures to this folder instead of showing them: SVG, or pages that share one copy of their library.",
            parser=folder_of,
            metavar="PATH",
        ),
    ] = None,
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    quick: Quick = False,
    full: Full = False,
    output: Output = REPORTS,
    seed: Seed = 0,
    jobs: Jobs = JOBS,
) -> None:
    """Draw the figures of a question with ArviZ."""
    check_questions([question])
    effort = effort_of(quick, full)
    from analysis.drawing.style import Style

    style = Style.of(theme, backend)
    if find_spec(backend) is None:
        raise InputError(f"backend {backend!r} is not installed; uv sync --extra {backend} installs it")
    folder = writable(save, "--save") if save is not None else None
    order = ordered(effort, seed, output, jobs)
    if not (order.results / f"{question}.nc").exists():
        typer.echo(f"no results of {question} are stored in {order.results}: they are computed first", err=True)
    say_failures(answered([question], order, None)[1], order)
    from importlib import import_module

    from analysis.store import from_file

    tree = from_file(order.results / f"{question}.nc")
    drawings = import_module(f"analysis.{question}.figures").plot(tree, theme=theme, backend=backend)
    for name, drawing in drawings.items():
        if folder is not None:
            typer.echo(str(drawing.save(folder / f"{question}-{name}", style)))
        elif backend != "matplotlib":
            drawing.show(style)
    if folder is None and backend == "matplotlib":
        import matplotlib.pyplot as plt

        plt.show()
