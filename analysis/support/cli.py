"""The ``duality`` command. Nothing heavy is imported before it is needed, so that help and mistakes answer at once."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.support import cli_exact
from analysis.support.catalogue import check_questions, names_in, questions
from models.errors import InputError, lookup_error

if TYPE_CHECKING:
    from analysis.support.running import Answer, Failure, Order

__all__ = ["main", "run_question"]

_PACKAGE = Path(__file__).resolve().parents[1]
_REPORTS = _PACKAGE.parent / "reports"
_FORMATS = ("html", "pdf", "md")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Maximum likelihood is forward KL, ADVI is reverse KL: PyMC fits beside their exact optima.",
)

Quick = Annotated[bool, typer.Option("--quick", help="Fewer runs and steps: a first look, not the numbers.")]
Full = Annotated[bool, typer.Option("--full", help="Many runs: the committed figures of heavy studies.")]
Output = Annotated[Path, typer.Option("--output", help="Folder to write to.", show_default="reports/")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Parent of every random number.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Parts computed at the same time.", show_default="all cores")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a Dask scheduler to compute on.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Compute again what is already stored.")]

_JOBS = os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit 0 done, 2 wrong input, 1 a computation failed, 130 interrupted."""
    _quieten()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given != ["list"] and "--help" not in given:  # which import little
        from models.graphs.store import keep_bytecode

        keep_bytecode()
    try:
        # To read options Typer imports pydantic, which takes longer than all that `duality list` does.
        status = list_() if given == ["list"] else app(args=given, standalone_mode=False)
    except InputError as error:
        _stop(str(error), 2)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(message)
            sys.exit(0)
        _stop(f"{message} (see {_command(error)} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Exception as error:
        if os.environ.get("DUALITY_TRACEBACK"):
            raise
        _stop(f"{_where(error)}{type(error).__name__}: {error} (set DUALITY_TRACEBACK=1 for the traceback)", 1)
    if status == 130:  # typer turns an interrupt inside a command into this status
        _stop("interrupted; finished parts are kept, and the same command goes on from there", 130)
    sys.exit(status if isinstance(status, int) else 0)


def _quieten() -> None:
    """Keep library warnings off stderr, here and in worker processes, and PyTensor from looking for a C compiler."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
    os.environ.setdefault("PYTENSOR_FLAGS", "cxx=")
    logging.getLogger("pymc").setLevel(logging.ERROR)  # pm.fit logs its loss, which belongs to no reader


def _stop(message: str, status: int) -> None:
    typer.echo(f"duality: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _command(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "duality"


def _where(error: BaseException) -> str:
    notes = getattr(error, "__notes__", [])
    return f"{'; '.join(notes)}: " if notes else ""


# --- questions -------------------------------------------------------------------------------------------------------


def _effort(quick: bool, full: bool) -> str:
    if quick and full:
        raise InputError("--quick and --full exclude each other; give one of them")
    return "quick" if quick else "full" if full else "default"


def _writable(folder: Path) -> Path:
    """Make sure that a folder can be written before anything is computed."""
    probe = folder / f".duality-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"output folder {str(folder)!r} cannot be written ({error.strerror}); choose another with --output"
        ) from None
    return folder


def _answers(names: Sequence[str], order: Order, scheduler: str | None) -> tuple[dict[str, Answer], list[Failure]]:
    """Answer questions here, or on a Dask cluster."""
    from analysis.support.progress import display
    from analysis.support.running import answer_all

    if scheduler is None:
        with display() as shown:
            return answer_all(names, order, shown)
    from analysis.support.cluster import connected

    with connected(scheduler, names) as workers, display() as shown:
        return answer_all(names, order, shown, workers)


def _order(effort: str, seed: int, output: Path, jobs: int, fresh: bool = False, figures: bool = False) -> Order:
    from analysis.support.running import Order

    return Order(effort, seed, _writable(output), jobs, fresh, figures)


def _say_failures(failures: Sequence[Failure], order: Order) -> None:
    """One line for each failure, then the end; nothing if there is none."""
    for failure in failures:
        kept = f"finished parts are kept in {order.results / failure.question}"
        typer.echo(f"duality: question {failure.question}, {failure.part}: {failure.failed.error} ({kept})", err=True)
        if os.environ.get("DUALITY_TRACEBACK"):
            typer.echo(failure.failed.trace, err=True)
    if failures:
        sys.exit(2 if all(failure.failed.wrong_input for failure in failures) else 1)


def run_question(name: str) -> None:
    """Entry of ``python -m analysis.<question>``: the same as ``duality run <question>``."""
    main(["run", name, *sys.argv[1:]])


@app.command()
def run(
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...")],
    quick: Quick = False,
    full: Full = False,
    output: Output = _REPORTS,
    seed: Seed = 0,
    jobs: Jobs = _JOBS,
    scheduler: Scheduler = None,
    fresh: Fresh = False,
) -> None:
    """Compute questions; print the answer and store the results as netCDF."""
    names = check_questions(questions)
    order = _order(_effort(quick, full), seed, output, jobs, fresh)
    started = time.perf_counter()
    answers, failures = _answers(names, order, scheduler)
    for answer in answers.values():
        _print_findings(answer.findings)
    if answers:
        files = ", ".join(str(order.results / f"{name}.nc") for name in answers)
        typer.echo(f"\n{time.perf_counter() - started:.0f} s; results in {files}")
    _say_failures(failures, order)


def _print_findings(findings: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from analysis.support.report import num

    console = Console()
    console.print(f"[bold]{findings['question']}[/bold]\n{findings['answer'].replace('*', '')}\n")
    for case in findings.values():
        if not (isinstance(case, dict) and "rows" in case):
            continue
        table = Table(title=case["title"], title_justify="left")
        for column in ("fit", "member", "KL(p‖q), nats", "KL(q‖p), nats", "gap", "reached from"):
            table.add_column(column)
        for row in case["rows"]:
            gap = "" if row["gap"] is None else num(row["gap"], digits=2)
            label = row["fit"].replace("[", "").replace("]", "").replace("{.forward}", "").replace("{.reverse}", "")
            table.add_row(label, row["member"], num(row["kl_forward"].value, digits=4), num(row["kl_reverse"].value, digits=4),
                          gap, row["runs"])  # fmt: skip
        console.print(table)


@app.command(name="list")
def list_() -> None:
    """List questions, targets and families."""
    targets = names_in("models.targets", "TARGETS")
    typer.echo("questions")
    for name, question in questions().items():
        typer.echo(f"  {name}: {question}")
    typer.echo(f"targets\n  {', '.join(targets)}")
    typer.echo(f"  known by draws: {', '.join(names_in('analysis.support.datasets', 'DATASETS'))}")
    families = names_in("models.families", "FAMILIES")
    typer.echo(f"families\n  {', '.join(families)}, normal_mixture(k), mvnormal_mixture(k)")


@app.command()
def plot(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    backend: Annotated[str, typer.Option("--backend", help="matplotlib, plotly or bokeh.")] = "matplotlib",
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the figures to this folder instead of showing them.")
    ] = None,
    theme: Annotated[str, typer.Option("--theme", help="light or dark.")] = "light",
    quick: Quick = False,
    full: Full = False,
    output: Output = _REPORTS,
    seed: Seed = 0,
    jobs: Jobs = _JOBS,
) -> None:
    """Draw the figures of a question with ArviZ."""
    check_questions([question])
    effort = _effort(quick, full)
    from analysis.support.figures import Style

    style = Style.of(theme, backend)
    folder = _writable(save) if save is not None else None
    order = _order(effort, seed, output, jobs)
    _say_failures(_answers([question], order, None)[1], order)
    from importlib import import_module

    from analysis.support.cache import from_file

    tree = from_file(order.results / f"{question}.nc")
    drawings = import_module(f"analysis.{question}").plot(tree, theme=theme, backend=backend)
    for name, drawing in drawings.items():
        if folder is not None:
            typer.echo(str(drawing.save(folder / f"{question}-{name}", style)))
        elif backend != "matplotlib":
            drawing.show()
    if folder is None and backend == "matplotlib":
        import matplotlib.pyplot as plt

        plt.show()


@app.command(name="cache")
def cache_(clear: Annotated[bool, typer.Option("--clear", help="Remove them.")] = False) -> None:
    """Show the folder of compiled graphs and how much it holds, or clear it."""
    from models.graphs import store as graph_store

    folder, files, size = graph_store.usage()
    if clear:
        removed = graph_store.clear()
        typer.echo(f"{removed} compiled graphs removed from {folder}; they are compiled again when they are needed")
    else:
        typer.echo(f"{files} compiled graphs, {size / 1e6:.1f} MB, in {folder}")


# --- report ----------------------------------------------------------------------------------------------------------


@app.command()
def report(
    quick: Quick = False,
    full: Full = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="QUESTION", help="Only these questions.")] = None,
    output: Output = _REPORTS,
    formats: Annotated[str, typer.Option("--format", help="Any of html,pdf,md.")] = "html,md",
    seed: Seed = 0,
    jobs: Jobs = _JOBS,
    scheduler: Scheduler = None,
    fresh: Fresh = False,
) -> None:
    """Compute every question and build the report."""
    names = check_questions(only or [])
    effort = _effort(quick, full)
    wanted = [part.strip() for part in formats.split(",") if part.strip()]
    for part in wanted:
        if part not in _FORMATS:
            raise lookup_error("format", part, _FORMATS)
    order = _order(effort, seed, output, jobs, fresh, figures=True)
    started = time.perf_counter()
    answers, failures = _answers(names, order, scheduler)
    _say_failures(failures, order)
    from analysis.support import provenance
    from analysis.support.report import Section, write_report

    sections = [Section(name, answer.title, answer.findings, answer.figures) for name, answer in answers.items()]
    facts = provenance.facts(answers, effort, seed, only or [])
    for path in write_report(sections, provenance=facts, output=output, formats=tuple(wanted)):
        typer.echo(str(path))
    typer.echo(f"{time.perf_counter() - started:.0f} s", err=True)


# --- one computation -------------------------------------------------------------------------------------------------

app.command()(cli_exact.project)
app.command()(cli_exact.divergence)


@app.command()
def data(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, Parquet, npy, npz or netCDF.")],
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B", help="Columns, analysed jointly.", show_default="all numeric"),
    ] = None,
    families: Annotated[
        str | None, typer.Option("--families", metavar="F,G", help="Families, e.g. normal,student_t.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write to.", show_default="duality-NAME/")
    ] = None,
    jitter: Annotated[bool, typer.Option("--jitter", help="Spread rounded values before judging the entropy.")] = False,
    seed: Seed = 0,
    as_json: cli_exact.AsJson = False,
) -> None:
    """Fit families to your own data: which is closest, and how far it is in nats."""
    from analysis.support.progress import labelled_bar

    started = time.perf_counter()
    with labelled_bar() as progress:
        progress(f"reading {file.name}", 0.0)
        from analysis.support.data_files import read_columns

        table = read_columns(file, _names(columns), lambda label, fraction: progress(label, 0.1 * fraction))
        progress("importing PyMC", 0.1)
        from analysis.support import own_data
        from analysis.support.cache import Store
        from models.results import save

        chosen = own_data.check_families(_names(families), len(table.names))
        folder = _writable(output if output is not None else Path(f"duality-{file.name.split('.')[0]}"))
        tree = own_data.analyse(
            table.values,
            table.names,
            [family.name for family in chosen],
            name=file.name,
            rows=table.rows,
            warnings=table.warnings,
            settings=own_data.Settings(seed=seed, jitter=jitter),
            jobs=_JOBS,
            remember=Store(folder / "parts", "support/own_data"),
            on_progress=lambda label, fraction: progress(label, 0.1 + 0.8 * fraction),
        )
        progress("report", 0.9)
        from analysis.support import provenance, report_own_data

        document = own_data.summary(tree)
        save(tree, folder / "data.nc")
        (folder / "data.json").write_text(json.dumps(document, allow_nan=False, indent=1), encoding="utf-8")
        facts = report_own_data.provenance(tree, time.perf_counter() - started)
        written = report_own_data.write(tree, folder, facts | {"commit": provenance.commit()})
    if as_json:
        cli_exact.print_json(document)
        return
    for line in report_own_data.printed(tree):
        typer.echo(line)
    typer.echo(f"{time.perf_counter() - started:.0f} s; {written[0]}")


def _names(text: str | None) -> list[str] | None:
    """Names in a list that commas separate; commas within brackets belong to a name."""
    import re

    return None if text is None else [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


if __name__ == "__main__":
    main()
