"""``duality report``: compute every question and build the report."""

from __future__ import annotations

import time
from typing import Annotated

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
from models.errors import InputError, lookup_error

__all__ = ["report"]

_FORMATS = ("html", "pdf", "md")


def report(
    quick: Quick = False,
    full: Full = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="QUESTION", help="Only this question; may be repeated, or a list with commas."),
    ] = None,
    output: Output = REPORTS,
    formats: Annotated[str, typer.Option("--format", help="Any of html,pdf,md.")] = "html,md",
    seed: Seed = 0,
    jobs: Jobs = JOBS,
    scheduler: Scheduler = None,
    fresh: Fresh = False,
) -> None:
    """Compute every question and build the report."""
    names = check_questions([name.strip() for value in only or [] for name in value.split(",")])
    effort = effort_of(quick, full)
    wanted = [part.strip() for part in formats.split(",") if part.strip()]
    for part in wanted:
        if part not in _FORMATS:
            raise lookup_error("format", part, _FORMATS)
    if not wanted:
        raise InputError(f"no format is given; known are {', '.join(_FORMATS)}")
    from analysis.site.report import Section, check_output, write_report

    check_output(output, wanted)
    order = ordered(effort, seed, output, jobs, fresh, figures=True)
    started = time.perf_counter()
    answers, failures = answered(names, order, scheduler)
    say_failures(failures, order)
    from analysis.site import provenance

    sections = [Section(name, answer.title, answer.findings, answer.figures) for name, answer in answers.items()]
    facts = provenance.facts(answers, effort, seed, only or [])
    for path in write_report(sections, provenance=facts, output=output, formats=tuple(wanted)):
        typer.echo(str(path))
    typer.echo(f"{time.perf_counter() - started:.0f} s", err=True)
