"""What the numbers of a question come from: the definitions that its parts reach, read from the sources without importing.

A sentence, a caption or a figure is reached by nothing that computes, so changing it computes nothing again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path

__all__ = ["reached", "source_hash"]

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(eq=False)
class _Module:
    """Statements of a module: those that bind a name, by name, and those that are there for what they do."""

    binding: dict[str, list[ast.stmt]] = field(default_factory=dict)
    acting: list[ast.stmt] = field(default_factory=list)

    @cached_property
    def objects(self) -> dict[str, str]:
        """Names by which modules of ``analysis`` may be known as objects, and which they are."""
        return {
            alias.asname or alias.name: f"{statement.module}.{alias.name}"
            for statements in self.binding.values()
            for statement in statements
            if isinstance(statement, ast.ImportFrom)
            for alias in statement.names
        }


def source_hash(question: str, *roots: str, file: str = "study") -> str:
    """SHA-256 of the sources that the numbers of a question come from.

    These are all of ``models``, the data, and every definition that `roots` reach, through the question's folder and the
    other modules of ``analysis``. Comments, docstrings, the order of definitions and the weights of parts do not count.

    Parameters
    ----------
    question : str
        Name of its folder in ``analysis``.
    *roots : str
        Names to begin with, ``parts`` unless told. If the file has none of them, all of it counts.
    file : str
        Module of the folder that has them.

    Returns
    -------
    str
    """
    whole = _seen([*(_ROOT / "models").rglob("*.py"), *(_ROOT / "analysis" / "data").glob("*.csv")])
    digest = hashlib.sha256(_whole_files(_ROOT, whole).encode())
    read = _seen((_ROOT / "analysis").rglob("*.py"))
    for text in _texts(_ROOT / "analysis" / question / f"{file}.py", roots or ("parts",), read):
        digest.update(text.encode())
    return digest.hexdigest()


def _seen(files: Iterable[Path]) -> tuple[tuple[Path, int, int], ...]:
    """Files in order, when each was last changed and how large it is: what tells whether to read again."""
    stats = ((file, file.stat()) for file in sorted(files))
    return tuple((file, stat.st_mtime_ns, stat.st_size) for file, stat in stats)


def reached(question: str, *roots: str, file: str = "study") -> set[str]:
    """Names of the definitions that `roots` of a question reach, as ``module.name`` below ``analysis``."""
    found = _reached(_ROOT / "analysis" / question / f"{file}.py", roots or ("parts",))
    return {f"{_dotted(path)}.{name}" for path, name in found if name is not None}


def _dotted(file: Path) -> str:
    return ".".join(file.relative_to(_ROOT / "analysis").with_suffix("").parts).removesuffix(".__init__")


@lru_cache(maxsize=8)
def _whole_files(root: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    """Return a hash of the files that count whole."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _texts(first: Path, roots: tuple[str, ...], _seen: tuple[tuple[Path, int, int], ...]) -> list[str]:
    """Return the code of every definition reached in the files so seen, in order, without what does not count."""
    texts: set[str] = set()
    for file, name in _reached(first, roots):  # which comes first, for it looks at the files
        module = _module(file)
        statements = module.acting if name is None else module.binding[name]
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                texts.add(f"{_dotted(file)} {name} {_origin(statement, str(name))}")
            else:
                texts.add(f"{_dotted(file)} {_dump(statement)}")
    return sorted(texts)


def _reached(first: Path, roots: tuple[str, ...]) -> set[tuple[Path, str | None]]:
    """Return every (file, name) that is reached; the name ``None`` stands for the statements that bind nothing."""
    _module.cache_clear()
    known = _module(first).binding
    begin = [name for name in roots if name in known] or list(known)
    found: set[tuple[Path, str | None]] = set()
    waiting: list[tuple[Path, str | None]] = [(first, name) for name in begin]
    while waiting:
        file, name = waiting.pop()
        module = _module(file)
        if (file, name) in found or (name is not None and name not in module.binding):
            continue
        found.add((file, name))
        waiting.append((file, None))
        for statement in module.acting if name is None else module.binding[name]:
            waiting.extend(_uses(file, statement, name))
    return found


def _uses(file: Path, statement: ast.stmt, name: str | None) -> Iterator[tuple[Path, str | None]]:
    """Yield what a statement mentions: names of its own module, and names and whole modules of ``analysis``."""
    if isinstance(statement, ast.Import | ast.ImportFrom):  # at the top of the module, for the sake of one name
        yield from _imported(statement, name)
        return
    objects = _module(file).objects
    attributes = set()
    for node in _nodes(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in objects:
            path = _path(objects[node.value.id])
            if path is not None:
                attributes.add(id(node.value))
                yield path, node.attr
    for node in _nodes(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, None)
        elif isinstance(node, ast.Name) and id(node) not in attributes:
            yield file, node.id


def _imported(statement: ast.Import | ast.ImportFrom, name: str | None) -> Iterator[tuple[Path, str | None]]:
    """Yield what an import of ``analysis`` brings in, or what it brings in under one name."""
    for alias in statement.names:
        if name is not None and name != (alias.asname or alias.name.partition(".")[0]):
            continue
        if isinstance(statement, ast.Import):
            yield from _whole(alias.name)
        elif _path(f"{statement.module}.{alias.name}") is not None:
            yield from _whole(f"{statement.module}.{alias.name}")
        elif (path := _path(str(statement.module))) is not None:
            yield path, alias.name


def _whole(module: str) -> Iterator[tuple[Path, str | None]]:
    """Yield everything in a module: it is used as an object, so any of its names may be."""
    path = _path(module)
    if path is not None:
        yield from ((path, name) for name in _module(path).binding)


def _path(module: str) -> Path | None:
    """Return the file of a module or package of ``analysis``."""
    if not module.startswith("analysis."):
        return None
    path = _ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _origin(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """Say what an import binds to a name; the other names of the same statement do not count."""
    origin = statement.module if isinstance(statement, ast.ImportFrom) else None
    found = [a.name for a in statement.names if (a.asname or a.name.partition(".")[0]) == name]
    return f"{origin} {found}"


# --- reading ---------------------------------------------------------------------------------------------------------


@cache  # for one question; every call of a public function looks again
def _module(file: Path) -> _Module:
    return _read(file.read_text(encoding="utf-8"))


@cache
def _nodes(statement: ast.stmt) -> list[ast.AST]:
    """Return the nodes that refer to something."""
    kinds = ast.Name | ast.Attribute | ast.Import | ast.ImportFrom
    return [node for node in ast.walk(statement) if isinstance(node, kinds)]


@cache
def _dump(statement: ast.stmt) -> str:
    return ast.dump(statement)


@lru_cache(maxsize=256)  # by the text, so that a changed file is read again
def _read(text: str) -> _Module:
    module = _Module()
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.If) and _only_when_run(statement):
            continue
        _strip(statement)
        names = set(_bound(statement))
        for name in names:
            module.binding.setdefault(name, []).append(statement)
        if not names and not _is_text(statement):
            module.acting.append(statement)
    return module


def _only_when_run(statement: ast.If) -> bool:
    """Say whether a statement is for a module that is run as a script, or for a type checker."""
    return bool({"__name__", "TYPE_CHECKING"} & {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)})  # fmt: skip


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    else:
        yield from (n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        inner = (n for n in ast.walk(statement) if isinstance(n, ast.FunctionDef | ast.ClassDef))
        yield from (node.name for node in inner)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _strip(statement: ast.stmt) -> None:
    """Take docstrings and the weights of parts out of a statement: no number depends on them."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.body = [inner for inner in node.body if not _is_text(inner)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Part":
            node.args = node.args[:4]
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "weight"]
