"""The ``duality`` command. Nothing heavy is imported before it is needed, so that help and mistakes answer at once."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import typer

from analysis.command.cache import cache_
from analysis.command.data import data
from analysis.command.divergence import divergence
from analysis.command.interrupt import as_exception
from analysis.command.list import list_
from analysis.command.model import model
from analysis.command.plot import plot
from analysis.command.printed import visible
from analysis.command.project import project
from analysis.command.report import report
from analysis.command.run import run
from models.errors import InputError

__all__ = ["main", "quieten", "run_question"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Maximum likelihood is forward KL, ADVI is reverse KL: PyMC fits beside their exact optima.",
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "list": list_,
    "plot": plot,
    "cache": cache_,
    "report": report,
    "project": project,
    "divergence": divergence,
    "data": data,
    "model": model,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name)(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit 0 done, 2 wrong input, 1 a computation failed, 130 interrupted."""
    quieten()
    status: Any = None
    given = sys.argv[1:] if arguments is None else list(arguments)
    if _resumes(given):
        as_exception()
    if given != ["list"] and "--help" not in given:  # which import little
        from models.graphs.store import keep_bytecode

        keep_bytecode()
    try:
        if given == ["list"]:  # to read options Typer imports pydantic, which takes longer than all that this does
            list_()
        else:
            status = app(args=given, standalone_mode=False)
    except InputError as error:
        _stop(str(error), 2)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(message)
            sys.exit(0)
        _stop(f"{message} (see {_path_of(error)} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:  # whoever read has seen enough, as in `duality list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("DUALITY_TRACEBACK"):
            raise
        _stop(f"{_where(error)}{type(error).__name__}: {error} (set DUALITY_TRACEBACK=1 for the traceback)", 1)
    if status == 130:  # typer turns an interrupt inside a command into this status
        _stop(f"interrupted{_KEPT if _resumes(given) else ''}", 130)
    sys.exit(status if isinstance(status, int) else 0)


_KEPT = "; finished parts are kept, and the same command goes on from there"


def _resumes(given: Sequence[str]) -> bool:
    """Whether a command stores its parts, so that an interrupt loses only what is at work."""
    return given[:1] in (["run"], ["report"], ["plot"], ["data"])


def run_question(name: str) -> None:
    """Entry of ``python -m analysis.<question>``: the same as ``duality run <question>``."""
    main(["run", name, *sys.argv[1:]])


_DOUBLE = ",floatX=float64"


def quieten() -> None:
    """Keep library warnings off stderr, here and in worker processes, and PyTensor in double precision and from looking for a C compiler.

    What the store of graphs says is no library's warning. A character that a terminal cannot show is no reason to fail.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="compiled graphs cannot be stored")
        warnings.showwarning = lambda message, *_place, **_more: typer.echo(visible(f"duality: {message}"), err=True)
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
    flags = os.environ.get("PYTENSOR_FLAGS", "cxx=").removesuffix(_DOUBLE)
    os.environ["PYTENSOR_FLAGS"] = flags + _DOUBLE  # of two, PyTensor takes the last
    logging.getLogger("pymc").setLevel(logging.ERROR)  # pm.fit logs its loss, which belongs to no reader


def _stop(message: str, status: int) -> None:
    typer.echo(visible(f"duality: {' '.join(message.split())}"), err=True)
    sys.exit(status)


def _path_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "duality"


def _where(error: BaseException) -> str:
    notes = getattr(error, "__notes__", [])
    return f"{'; '.join(notes)}: " if notes else ""


if __name__ == "__main__":
    main()
