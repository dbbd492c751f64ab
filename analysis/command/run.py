"""``duality run``: compute questions and print what they say."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from analysis.catalogue import check_questions
from analysis.command.questions import (
    JOBS,
    REPORTS,
    Fresh,
    Full,
    Jobs,
    Output,
    Quick,
    Scheduler,
    Seed,
    answered,
    effort_of,
    ordered,
    say_failures,
)

__all__ = ["run"]


def run(
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...")],
    quick: Quick = False,
    full: Full = False,
    output: Output = REPORTS,
    seed: Seed = 0,
    jobs: Jobs = JOBS,
    scheduler: Scheduler = None,
    fresh: Fresh = False,
) -> None:
    """Compute questions; print the answer and store the results as netCDF."""
    names = check_questions(questions)
    order = ordered(effort_of(quick, full), seed, output, jobs, fresh)
    started = time.perf_counter()
    answers, failures = answered(names, order, scheduler)
    for answer in answers.values():
        _print_findings(answer.findings)
    if answers:
        files = ", ".join(str(order.results / f"{name}.nc") for name in answers)
        typer.echo(f"\n{time.perf_counter() - started:.0f} s; results in {files}")
    say_failures(failures, order)


def _print_findings(findings: Mapping[str, Any]) -> None:
    answer = re.sub(r"\[([^]]*)\]\{[^}]*\}|\*", r"\1", findings["answer"])  # without Markdown
    typer.echo(f"{findings['question']}\n{answer}\n")
