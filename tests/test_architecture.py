"""The shape of the project: what is documented, that examples in docstrings are true, and what import-linter cannot say.

Which way imports point is in ``pyproject.toml``, under ``tool.importlinter``: ``uv run lint-imports``.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOREIGN_TO_MODELS = {"analysis", "matplotlib", "plotly", "bokeh", "arviz_plots", "typer", "rich", "jinja2"}
HEAVY = {"pymc", "pytensor", "arviz", "arviz_plots", "arviz_stats", "xarray", "scipy", "matplotlib", "plotly", "bokeh"}

MODELS = sorted(p for p in (ROOT / "models").rglob("*.py") if p.parent.name != "models" or p.stem != "__init__")
OWN = ("own_data", "own_model")  # of the same cut, and asked by a command of their own
QUESTIONS = sorted(p.parent for p in (ROOT / "analysis").glob("*/chapter.md") if p.parent.name not in OWN)
SHARED = sorted(p for p in (ROOT / "analysis").rglob("*.py") if p.parent not in QUESTIONS)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of the modules that the nodes import, those loaded lazily by name included."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                yield str(module)
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                raise AssertionError("a relative import hides which way the arrow points; write the full name")
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if by_name(node.func):
                yield name


def by_name(function: ast.expr) -> bool:
    """Whether a function imports the module that it is told."""
    called = getattr(function, "attr", None) or getattr(function, "id", None)
    return called in ("Deferred", "import_module", "load")


def anywhere(path: Path) -> set[str]:
    return set(imports(ast.walk(tree(path))))


def at_module_level(path: Path) -> set[str]:
    def visible(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if not (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or typing_only):
                yield child
                yield from visible(child)

    return set(imports(visible(tree(path))))


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def within(package: str, names: set[str]) -> set[str]:
    """First level below a package: ``models.targets.TARGETS`` gives ``targets``."""
    return {n.split(".")[1] for n in names if n.startswith(f"{package}.")}


def by_stem(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda p: p.stem)


def by_path(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda p: p.relative_to(ROOT).as_posix())


# --- imports ---------------------------------------------------------------------------------------------------------


def test_figures_know_the_theme_by_its_colours_only() -> None:
    """So the dark drawing is the light one in other colours: a figure hands the theme to `Style.of`, and that is all."""
    for path in sorted((ROOT / "analysis").rglob("*.py")):
        if path.name == "figures.py" or (path.parent.name == "drawing" and path.name != "style.py"):
            nodes = list(ast.walk(tree(path)))
            assert not [n.lineno for n in nodes if isinstance(n, ast.Attribute) and n.attr == "theme"], path
            asked = [n for n in nodes if isinstance(n, ast.Name) and n.id == "theme"]
            given = [n.args[0] for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "Style.of"]
            assert all(any(n is g for g in given) for n in asked), path


@by_path(MODELS)
def test_models_import_nothing_of_analysis_plotting_or_the_command_line_by_name(path: Path) -> None:
    assert not tops(anywhere(path)) & FOREIGN_TO_MODELS


@by_path(MODELS)
def test_no_private_name_is_imported_from_another_module(path: Path) -> None:
    assert [name for name in anywhere(path) if name.startswith("models.") and "._" in name] == []


@by_stem(QUESTIONS)
def test_a_question_is_a_folder_that_imports_no_other(path: Path) -> None:
    files = {"__init__.py", "__main__.py", "study.py", "findings.py", "figures.py", "chapter.md"}
    assert files <= {p.name for p in path.iterdir()}
    others = {p.stem for p in QUESTIONS} - {path.stem}
    assert not set.union(*(within("analysis", anywhere(p)) for p in path.glob("*.py"))) & others


def test_what_questions_share_imports_no_question() -> None:
    # The command may look questions up by name, which is not an import of one of them.
    found = {p: within("analysis", anywhere(p)) & {q.name for q in QUESTIONS} for p in SHARED}
    assert {p: names for p, names in found.items() if names} == {}


@by_stem(sorted((ROOT / "analysis" / "command").glob("*.py")))
def test_command_line_imports_nothing_heavy_before_it_is_needed(path: Path) -> None:
    names = at_module_level(path)
    assert not tops(names) & HEAVY
    assert within("models", names) <= {"errors"}


def test_the_import_reader_sees_every_way_to_import(tmp_path: Path) -> None:
    source = tmp_path / "example.py"
    source.write_text(
        "import scipy.stats\nfrom models import targets\nfrom models.mle import fit_mle\n"
        "pm = lazy_loader.load('pymc')\npt = Deferred('pytensor')\n"
        "if TYPE_CHECKING:\n    import xarray\ndef f():\n    import matplotlib\n"
    )
    assert tops(anywhere(source)) == {"scipy", "models", "pymc", "pytensor", "xarray", "matplotlib"}
    assert within("models", anywhere(source)) == {"targets", "mle"}
    assert tops(at_module_level(source)) == {"scipy", "models", "pymc", "pytensor"}


# --- documentation ---------------------------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def public(path: Path) -> list[str]:
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return []


@by_path(MODELS)
def test_every_public_function_and_class_of_models_has_a_docstring(path: Path) -> None:
    names = public(path)
    assert names, f"{path.relative_to(ROOT)} has no __all__"
    definitions = [n for n in tree(path).body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name in names]
    methods = [
        m
        for d in definitions
        if isinstance(d, ast.ClassDef)
        for m in d.body
        if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")
    ]
    assert [n.name for n in [*definitions, *methods] if not ast.get_docstring(n)] == []


@by_path(MODELS)
def test_examples_in_docstrings_are_true(path: Path) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module_name(path)))
    assert failed == 0


# --- files -----------------------------------------------------------------------------------------------------------

SKIPPED = {
    ".git",
    ".venv",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".import_linter_cache",
    "__pycache__",
    "dist",
    "build",
}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".cff",
    ".json",
    ".yml",
    ".yaml",
    ".typ",
    ".lua",
    ".bib",
    ".html",
    ".css",
    ".txt",
    ".sh",
    "",
}


def files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED:  # .git is a file in a worktree
            continue
        if path.is_dir():
            yield from files(path)
        elif path.suffix in TEXT:
            yield path


def test_no_file_names_the_folder_it_was_written_in() -> None:
    place = "/" + "work/"
    found = [p for p in files(ROOT) if place in p.read_text(encoding="utf-8", errors="ignore")]
    assert [str(p.relative_to(ROOT)) for p in found] == []


def test_no_two_figures_of_the_report_have_the_same_name() -> None:
    placed = [
        name
        for path in sorted((ROOT / "analysis").glob("*/chapter.md"))
        for names in re.findall(r"<< figures\.(\w+) >>|<% figure (\w+) %>", path.read_text(encoding="utf-8"))
        for name in names
        if name and path.parent.name not in OWN
    ]
    assert len(placed) > 20
    assert sorted(name for name in set(placed) if placed.count(name) > 1) == []
