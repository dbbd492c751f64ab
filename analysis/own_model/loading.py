"""A user's PyMC model from ``FILE.py:NAME``: the file is run as their own code, and what is wrong with it is said in one line."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import lazy_loader
import numpy as np

from models.errors import ConvergenceError, InputError, lookup_error
from models.targets import from_model

pm = lazy_loader.load("pymc")

__all__ = ["blaming", "load_model", "parse_place"]

_USUAL = ("model", "build")  # what a function that returns a model is called where no name is given


def parse_place(text: str) -> tuple[Path, str | None]:
    """Split ``FILE.py:NAME`` into the file and the name, which is ``None`` where there is none; nothing is run.

    Raises
    ------
    InputError
        If the file is none of Python or a folder, or there is no such file: the nearest name in its folder is given.

    Examples
    --------
    >>> parse_place("pyproject.toml")
    Traceback (most recent call last):
    models.errors.InputError: 'pyproject.toml' is no Python file; give FILE.py or FILE.py:FUNCTION
    """
    before, colon, after = text.rpartition(":")
    file, name = (before, after) if colon and not text.endswith(".py") else (text, "")
    path = Path(file)
    if path.suffix != ".py":
        raise InputError(f"{file!r} is no Python file; give FILE.py or FILE.py:FUNCTION")
    if path.is_dir():
        raise InputError(f"{file!r} is a folder; give a Python file in it, as FILE.py or FILE.py:FUNCTION")
    if not path.is_file():
        there = [p.name for p in path.parent.glob("*.py") if p.is_file()] if path.parent.is_dir() else []
        if not there:
            raise InputError(
                f"there is no file {file!r}, and no Python file in {str(path.parent)!r}; give one that is there"
            )
        raise lookup_error("file", path.name, there)
    return path, name or None


def load_model(path: Path, name: str | None = None) -> tuple[str, Any]:
    """Run a file as its user would, and return the PyMC model that it has under a name.

    Parameters
    ----------
    path : Path
    name : str, optional
        Of a model in the file, or of a function that returns one and needs no arguments. If not given: the only model in the file, or the
        function ``model`` or ``build``, whichever alone is there.

    Returns
    -------
    str
        The name.
    pymc.Model

    Raises
    ------
    InputError
        If the file or the function fails (its last line, with file and line number), there is no such name (with the nearest), it is
        no model, or needs arguments; if it has no free variables, or discrete ones, or observed values that are NaN and that PyMC does not impute.

    Notes
    -----
    As ``python FILE.py`` does, this puts the file's folder first on ``sys.path``, until the model is built. What it prints goes to stderr.
    """
    path = path.resolve()
    with _as_a_script(path), _shown_warnings(path.parent):
        module = _run(path)
        found = _chosen(vars(module), path) if name is None else name
        model = _model(vars(module), found, path)
    target = from_model(model)  # refuses one without free variables, or with discrete ones
    _refuse_missing(target.source, f"{path.name}:{found}")
    return found, model


@contextmanager
def _as_a_script(path: Path) -> Iterator[None]:
    """What Python gives a script: its folder first on the path, no arguments of ours; and no bytecode beside the user's files.

    What the script changes for the whole process is as before when it ends: the current folder, and what NumPy does about overflow.
    """
    folder, arguments, silent = str(path.parent), sys.argv, sys.dont_write_bytecode
    here = Path.cwd()
    sys.path.insert(0, folder)
    sys.argv, sys.dont_write_bytecode = [str(path)], True
    try:
        with np.errstate():
            yield
    finally:
        os.chdir(here)
        sys.argv, sys.dont_write_bytecode = arguments, silent
        with suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(folder)


@contextmanager
def _shown_warnings(folder: Path) -> Iterator[None]:
    """Show warnings that are raised by files in a folder, which `duality` keeps silent elsewhere; filters that are set meanwhile go."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def of_theirs(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> None:
            if Path(filename).parent == folder:
                show(message, category, filename, *rest, **more)

        warnings.showwarning = of_theirs  # as Python's documentation has it
        if not sys.warnoptions:
            warnings.simplefilter("default")
        yield


def _run(path: Path) -> ModuleType:
    # By a name of its own: a file called ``models.py`` must not stand in for this project's package.
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    assert spec is not None  # its name ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # which classes that are defined there look for
    _called(lambda: spec.loader.exec_module(module), path)  # type: ignore[union-attr]
    return module


def _called(function: Callable[[], Any], path: Path, what: str = "") -> Any:
    """Call what the user wrote; say in one line how it failed."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise InputError(f"{_where(error, path)}{what}: {_why(error)}") from error


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Say in one line what a user's code raises later, as an Op of theirs may while the model is evaluated.

    Raises
    ------
    InputError
        With file and line, for an error that passed through a file of that folder.
    """
    path = path.resolve()
    try:
        yield
    except (InputError, ConvergenceError):
        raise
    except Exception as error:
        if not _their_lines(error, path):
            raise
        raise InputError(f"{_where(error, path)}, while the model was evaluated: {_why(error)}") from error


def _where(error: BaseException, path: Path) -> str:
    """The file and line of the user that an error came from: the innermost in their folder."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}, line {error.lineno}"
    theirs = _their_lines(error, path)
    return theirs[-1] if theirs else path.name


def _their_lines(error: BaseException, path: Path) -> list[str]:
    """Where an error passed through files of the user's folder, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(f.filename).name}, line {f.lineno}" for f in frames if Path(f.filename).parent == path.parent]


def _why(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "the file ends the program (sys.exit); leave that to code under `if __name__ == '__main__'`"
    last = traceback.format_exception_only(error)[-1].strip().splitlines()
    said = last[0] if len(last) < 2 else f"{last[0]} ... {last[-1]}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{said}; install it, or put it beside the file"
    return said


def _chosen(names: Mapping[str, Any], path: Path) -> str:
    """The only name under which a file can mean a model."""
    models: dict[int, str] = {}
    for name, value in names.items():
        if isinstance(value, pm.Model):
            models.setdefault(id(value), name)
    candidates = [*models.values(), *(name for name in _USUAL if inspect.isroutine(names.get(name)))]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InputError(f"{path.name} has {_listed(candidates)}; say which: {path.name}:{candidates[0]}")
    functions = _functions(names)
    hint = f"say which function returns it: {path.name}:{functions[0]}" if functions else "return it from a function"
    raise InputError(f"{path.name} has no PyMC model, and no function called {' or '.join(_USUAL)}; {hint}")


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _functions(names: Mapping[str, Any]) -> list[str]:
    """Functions that the file itself defines."""
    own = names["__name__"]
    return [n for n, v in names.items() if inspect.isfunction(v) and v.__module__ == own and not n.startswith("_")]


def _model(names: Mapping[str, Any], name: str, path: Path) -> Any:
    if name not in names:
        known = [*(n for n, v in names.items() if isinstance(v, pm.Model)), *_functions(names)]
        if not known:
            raise InputError(
                f"{path.name} has no {name!r}, and neither a model nor a function; define one that returns a pymc.Model"
            )
        raise lookup_error(f"name in {path.name}", name, known)
    value, place = names[name], f"{path.name}:{name}"
    if isinstance(value, pm.Model):
        return value
    if not callable(value):
        raise InputError(f"{place} is {_a(value)}; give the name of a pymc.Model, or of a function that returns one")
    if needed := _needed(value):
        raise InputError(
            f"{place} needs arguments ({', '.join(needed)}); give them defaults, or name a function that needs none"
        )
    built = _called(value, path, f", in {name}")
    if not isinstance(built, pm.Model):
        raise InputError(f"{place} returned {_a(built)}; it must return a pymc.Model (end it with `return model`)")
    return built


def _needed(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one that Python cannot look into is called as it is
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _a(value: Any) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def _refuse_missing(model: Any, place: str) -> None:
    """Refuse NaN among observed values: of those of an array PyMC has made variables, of those put there by `pymc.set_data` it has not."""
    for rv in model.observed_RVs:
        observed = model.rvs_to_values[rv]
        values = observed.get_value() if hasattr(observed, "get_value") else getattr(observed, "data", None)
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            continue
        if lost := int(np.isnan(np.ma.filled(values, np.nan)).sum()):  # `pymc.set_data` masks them
            raise InputError(
                f"{place}: {lost} of {values.size} observed values of {rv.name!r} are NaN; leave them out, or pass them as a NumPy array "
                "(no pm.Data), whose NaN PyMC takes for missing and imputes"
            )
