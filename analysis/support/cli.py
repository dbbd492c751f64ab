"""The ``duality`` command. Nothing heavy is imported before it is needed, so that help and mistakes answer at once."""

from __future__ import annotations

import ast
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError, lookup_error

if TYPE_CHECKING:
    import xarray as xr

    from models.targets import Target

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
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

_JOBS = os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit 0 done, 2 wrong input, 1 a computation failed, 130 interrupted."""
    _quieten()
    try:
        status = app(args=arguments, standalone_mode=False)
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


def _questions() -> dict[str, str]:
    """Every question's name and sentence in the order of the story, read from the sources without importing them."""
    found = []
    for path in _PACKAGE.glob("*.py"):
        stated = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("QUESTION", "CHAPTER")
        }
        if "QUESTION" in stated:
            found.append((stated.get("CHAPTER", 99), path.stem, str(stated["QUESTION"])))
    return {name: question for _, name, question in sorted(found)}


def _check_questions(names: Sequence[str]) -> list[str]:
    known = _questions()
    for name in names:
        if name not in known:
            raise lookup_error("question", name, known)
    return list(names) or list(known)


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


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr, which vanishes when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("importing PyMC", total=1.0)
        yield lambda label, fraction: progress.update(task, description=label, completed=fraction)


@contextmanager
def _backend(scheduler: str | None) -> Iterator[None]:
    """Where joblib computes: local processes, or a Dask cluster."""
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask; install it with: uv sync --extra dask") from None
    import joblib

    try:
        client = Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); give its address as tcp://host:port"
        ) from None
    with client, joblib.parallel_config(backend="dask"):
        yield


def _compute(
    names: Sequence[str], effort: str, seed: int, jobs: int, scheduler: str | None, output: Path, fresh: bool
) -> dict[str, tuple[Any, xr.DataTree, float]]:
    """Module, results and seconds of every question, from the store where nothing has changed."""
    from importlib import import_module

    results = {}
    with _progress() as progress, _backend(scheduler):
        for name in names:
            progress(f"{name}: importing PyMC", 0.0)
            module = import_module(f"analysis.{name}")
            from analysis.support.cache import Store
            from models.results import save

            store = Store(output / "results", name, fresh)
            started = time.perf_counter()
            try:
                tree = module.run(
                    module.Settings.preset(effort, seed),
                    jobs=jobs,
                    remember=store,
                    on_progress=lambda label, fraction, name=name: progress(f"{name}: {label}", fraction),
                )
            except Exception as error:
                error.add_note(f"question {name} failed; finished parts are kept in {store.folder / name}")
                raise
            save(tree, store.folder / f"{name}.nc")
            results[name] = (module, tree, time.perf_counter() - started)
    return results


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
    names = _check_questions(questions)
    effort = _effort(quick, full)
    for name, (module, tree, seconds) in _compute(
        names, effort, seed, jobs, scheduler, _writable(output), fresh
    ).items():
        _print_findings(module.findings(tree))
        typer.echo(f"\n{seconds:.0f} s; results in {output / 'results' / name}.nc")


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
    from analysis.support.datasets import DATASETS
    from models.families import FAMILIES
    from models.targets import TARGETS

    typer.echo("questions")
    for name, question in _questions().items():
        typer.echo(f"  {name}: {question}")
    typer.echo(f"targets\n  {', '.join(TARGETS)}\n  known by draws: {', '.join(DATASETS)}")
    typer.echo(f"families\n  {', '.join(FAMILIES)}, normal_mixture(k), mvnormal_mixture(k)")


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
    _check_questions([question])
    effort = _effort(quick, full)
    from analysis.support.figures import Style

    style = Style.of(theme, backend)
    folder = _writable(save) if save is not None else None
    ((module, tree, _),) = _compute([question], effort, seed, jobs, None, _writable(output), False).values()
    drawings = module.plot(tree, theme=theme, backend=backend)
    for name, drawing in drawings.items():
        if folder is not None:
            typer.echo(str(drawing.save(folder / f"{question}-{name}", style)))
        elif backend != "matplotlib":
            drawing.show()
    if folder is None and backend == "matplotlib":
        import matplotlib.pyplot as plt

        plt.show()


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
    names = _check_questions(only or [])
    effort = _effort(quick, full)
    wanted = [part.strip() for part in formats.split(",") if part.strip()]
    for part in wanted:
        if part not in _FORMATS:
            raise lookup_error("format", part, _FORMATS)
    _writable(output)
    started = time.perf_counter()
    results = _compute(names, effort, seed, jobs, scheduler, output, fresh)
    from analysis.support.report import Section, write_report

    sections = [
        Section(
            name,
            getattr(module, "TITLE", name.replace("_", " ").capitalize()),
            module.findings(tree),
            _figures(module, tree),
        )
        for name, (module, tree, _) in results.items()
    ]
    provenance = _provenance(results, effort, seed, time.perf_counter() - started)
    for path in write_report(sections, provenance=provenance, output=output, formats=tuple(wanted)):
        typer.echo(str(path))


def _figures(module: Any, tree: xr.DataTree) -> list[Any]:
    """Figures of a question. They are drawn once: the dark ones are the light ones in other colours."""
    import matplotlib as mpl

    from analysis.support.figures import Style, to_dark
    from analysis.support.report import Figure

    mpl.use("agg")
    style = Style.of("light", "matplotlib")
    figures: list[Any] = []
    for name, drawing in module.plot(tree, theme="light").items():
        svg = drawing.svg(style)
        figures.append(Figure(name, svg, to_dark(svg), "svg", alt=drawing.alt, caption=drawing.caption))
    return [*figures, module.explorer(tree)] if hasattr(module, "explorer") else figures


def _provenance(results: Mapping[str, Any], effort: str, seed: int, seconds: float) -> dict[str, Any]:
    import platform
    from datetime import UTC, datetime

    from analysis.support.cache import source_hash
    from models.results import versions

    option = "" if effort == "default" else f" --{effort}"
    settings = {name: module.Settings.preset(effort, seed).model_dump() for name, (module, _, _) in results.items()}
    return {
        "versions": versions(),
        "settings": settings[next(iter(settings))] if len(settings) == 1 else settings,
        "sources": {name: source_hash(name) for name in results},
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "run time, without what was stored": f"{seconds:.0f} s",
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "rebuild command": f"uv run duality report{option} --seed {seed}",
    }


def _commit() -> str:
    import subprocess

    try:
        command = ["git", "-C", str(_PACKAGE), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


# --- one computation -------------------------------------------------------------------------------------------------


def _target(text: str) -> Target:
    """Build a target from a catalogue name, a data set, inline JSON, or a JSON file."""
    from analysis.support.datasets import DATASETS, load_column
    from models.targets import TARGETS, find_target, from_draws, from_spec

    if text.lstrip().startswith(("{", "[")):
        return from_spec(_json(text, "inline target"))
    if text in TARGETS:
        return find_target(text)
    if text in DATASETS:
        return from_draws(load_column(text), name=text)
    if text.endswith(".json") or Path(text).is_file():
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"target file {text!r} cannot be read ({error}); give a readable JSON file") from None
        return from_spec(_json(content, f"target file {text!r}"))
    raise lookup_error("target", text, [*TARGETS, *DATASETS])


def _json(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            'write for example {"weights": [0.5, 0.5], "means": [-3, 3], "sds": [1, 1]}'
        ) from None
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is a JSON {type(value).__name__}; it must be an object")
    return value


@app.command()
def project(
    target: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    onto: Annotated[str, typer.Option("--onto", help="Family, e.g. normal or mvnormal_diag.")],
    direction: Annotated[str, typer.Option("--direction", help="forward, reverse or alpha.")],
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="With --direction alpha: strictly between 0 (reverse) and 1 (forward)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute exact optima of a divergence over a family."""
    if direction not in ("forward", "reverse", "alpha"):
        raise lookup_error("direction", direction, ("forward", "reverse", "alpha"))
    if (alpha is not None) != (direction == "alpha"):
        raise InputError(
            f"--alpha belongs to --direction alpha; the direction is {direction}"
            if alpha is not None
            else "--direction alpha needs --alpha A, strictly between 0 (reverse KL) and 1 (forward KL)"
        )
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"--alpha is {alpha:g}; it must be strictly between 0 (reverse KL) and 1 (forward KL)")
    from models.families import find_family

    family = find_family(onto)
    p = _target(target)
    from models.projections import alpha_projections, forward_projection, reverse_projections

    if alpha is not None:
        found = alpha_projections(p, family, alpha)
    else:
        found = [forward_projection(p, family)] if direction == "forward" else reverse_projections(p, family)
    solutions = [
        {
            "params": {k: _finite(v.item()) if v.ndim == 0 else v.tolist() for k, v in s.params.items()},
            "divergence": _finite(s.divergence.value),
            "error": _finite(s.divergence.error),
            "status": s.status,
            "gradient_norm": s.gradient_norm,
            "hessian_eigenvalues": s.hessian_eigenvalues.tolist(),
            "certificate": s.certificate,
            **({"limit": s.limit} if s.limit is not None else {}),
            **({"cross_entropy": s.cross_entropy.as_dict()} if s.cross_entropy is not None else {}),
        }
        for s in found
    ]
    if as_json:
        _print_json(
            {
                "target": dict(p.spec),
                "family": family.name,
                "direction": direction,
                "alpha": alpha,
                "solutions": solutions,
            }
        )
        return
    from analysis.support.report import num

    measure = f"D_{alpha:g}" if alpha is not None else "KL"
    typer.echo(f"{direction} {'divergence' if alpha is not None else 'KL'}, {p.name} onto {family.name}")
    for s in found:
        values = ", ".join(f"{k} = {_show(v)}" for k, v in s.params.items())
        known = s.divergence.value == s.divergence.value
        divergence = f"{num(s.divergence.value, s.divergence.error, digits=10)} nats" if known else "unknown"
        where = f" (limit {s.limit})" if s.limit is not None else ""
        typer.echo(f"  {s.status}{where}: {values}; {measure} {divergence}")
        if not known and s.cross_entropy is not None:
            ce = num(s.cross_entropy.value, s.cross_entropy.error)
            typer.echo(
                f"    cross-entropy {ce} nats; the entropy of p_data, and so the KL, cannot be told from draws alone"
            )
    if direction != "forward":
        typer.echo(f"  signs of the Hessians: {found[0].certificate if found else 'incomplete'}")


def _show(value: Any) -> str:
    import numpy as np

    return np.array2string(
        np.round(np.asarray(value), 12) + 0.0, precision=8, separator=", ", suppress_small=True
    ).replace("\n", "")


def _finite(value: float) -> float | str | None:
    """Write a number for JSON, which has neither nan nor infinity."""
    return None if value != value else value if abs(value) != float("inf") else "inf"


def _print_json(document: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(document, allow_nan=False))


@app.command()
def divergence(
    p: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    q: Annotated[str, typer.Argument(help="Catalogue name, inline JSON, or a JSON file.")],
    as_json: AsJson = False,
) -> None:
    """Compute both KL divergences, entropies and cross-entropies of two distributions, in nats."""
    first, second = _target(p), _target(q)
    from models.divergences import cross_entropy, entropy, kl

    values = {
        "kl_pq": kl(first, second),
        "kl_qp": kl(second, first),
        "entropy_p": entropy(first),
        "entropy_q": entropy(second),
        "cross_entropy_pq": cross_entropy(first, second),
        "cross_entropy_qp": cross_entropy(second, first),
    }
    if as_json:
        _print_json({name: {"value": _finite(e.value), "error": e.error} for name, e in values.items()})
        return
    from analysis.support.report import num

    for name, e in values.items():
        typer.echo(f"{name:17} {num(e.value, e.error, digits=12)} nats")


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
    as_json: AsJson = False,
) -> None:
    """Fit families to your own data: which is closest, and how far it is in nats."""
    started = time.perf_counter()
    with _progress() as progress:
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
        from analysis.support import report_own_data

        document = own_data.summary(tree)
        save(tree, folder / "data.nc")
        (folder / "data.json").write_text(json.dumps(document, allow_nan=False, indent=1), encoding="utf-8")
        facts = report_own_data.provenance(tree, time.perf_counter() - started)
        written = report_own_data.write(tree, folder, facts | {"commit": _commit()})
    if as_json:
        _print_json(document)
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
