"""The parts of a question: computed in any order, each in its own process, remembered, and put together in one tree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypedDict, Unpack

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from analysis.running.pool import Job, Local, run_jobs

__all__ = ["Options", "Part", "Progress", "Remember", "StudySettings", "compute_parts", "runner"]

#: ``remember(name, inputs, compute)`` returns a stored part of the same inputs, or computes and stores it.
Remember = Callable[[str, Mapping[str, Any], Callable[[], xr.DataTree]], xr.DataTree]
#: ``on_progress(title, fraction)`` is told the part at work and the fraction of the work that is finished.
Progress = Callable[[str, float], None]


class StudySettings(BaseModel):
    """What the numbers of a question depend on: a question adds its own, and what ``--quick`` and ``--full`` change of them.

    Attributes
    ----------
    seed : int
        Parent of every random stream.
    quick, full : mapping
        Of the class, not settings: those that differ from the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    quick: ClassVar[Mapping[str, Any]] = {}
    full: ClassVar[Mapping[str, Any]] = {}

    seed: int = Field(default=0, ge=0)

    @classmethod
    def preset(cls, effort: Literal["quick", "default", "full"], seed: int = 0) -> Self:
        """Settings for ``--quick``, the default, and ``--full``."""
        return cls(seed=seed, **{"quick": cls.quick, "default": {}, "full": cls.full}[effort])


@dataclass(frozen=True)
class Part:
    """What a question computes and stores on its own.

    Attributes
    ----------
    name : str
        Of its child in the results, and of its file.
    title : str
        For the reader of the progress bar.
    inputs : mapping
        Everything the numbers depend on besides the sources: written as JSON, they are the key of the stored part.
    compute : callable
        Without arguments, and picklable (a `functools.partial` of a function of a module): it runs in another process.
    weight : float
        Seconds that it takes with the default settings, roughly. Long parts are begun first, so that none is left alone at
        the end; once a part has been computed, what it took then counts.
    """

    name: str
    title: str
    inputs: Mapping[str, Any]
    compute: Callable[[], xr.DataTree]
    weight: float = 1.0


class Options(TypedDict, total=False):
    """How the parts of a question are computed, which its numbers do not depend on; see `compute_parts`."""

    jobs: int
    remember: Remember | None
    on_progress: Progress | None


def runner[S: BaseModel](
    question: str, settings: type[S], parts: Callable[[S], Sequence[Part]]
) -> Callable[..., xr.DataTree]:
    """Return the function ``run(settings=None, **options)`` of a question: its parts computed, with `Options`."""

    def run(chosen: S | None = None, **options: Unpack[Options]) -> xr.DataTree:
        chosen = chosen or settings()
        return compute_parts(parts(chosen), question=question, settings=chosen, **options)

    return run


def compute_parts(
    parts: Sequence[Part],
    *,
    question: str,
    settings: BaseModel,
    jobs: int = 1,
    patience: float = 0.0,
    remember: Remember | None = None,
    on_progress: Progress | None = None,
) -> xr.DataTree:
    """Compute every part of a question.

    Parameters
    ----------
    parts : sequence of Part
    question : str
        The question in one sentence.
    settings : pydantic.BaseModel
        Kept with the results; it has a ``seed``.
    jobs : int
        Parts computed at the same time, each in its own process; the numbers do not depend on it.
    patience : float
        Seconds of work that other processes are not worth, which take as long to start: parts are computed in this one, the
        shortest first, until one takes longer.
    remember : callable, optional
        ``remember(name, inputs, compute)`` returns a stored part of the same inputs, or computes and stores it.
    on_progress : callable, optional
        Called with the title of the part at work and the fraction finished, at last with 1.

    Returns
    -------
    xarray.DataTree
        One child per part, in the order given, whatever the order in which they were computed; attributes ``question``,
        ``settings`` (JSON) and ``seed``.

    Raises
    ------
    ValueError
        Two parts have the same name.
    Exception
        Whatever a part raises, with a note of the part's name.

    Examples
    --------
    >>> from functools import partial
    >>> class Settings(BaseModel):
    ...     seed: int = 0
    >>> def square(x: int) -> xr.DataTree:
    ...     return xr.DataTree(xr.Dataset({"value": x**2}))
    >>> parts = [Part(f"x{x}", f"square of {x}", {"x": x}, partial(square, x), weight=x) for x in (2, 3)]
    >>> tree = compute_parts(parts, question="What is the square?", settings=Settings())
    >>> [(name, int(child["value"])) for name, child in tree.children.items()]
    [('x2', 4), ('x3', 9)]
    """
    if len({part.name for part in parts}) != len(parts):
        raise ValueError(f"parts of one question need different names; these are {[part.name for part in parts]}")
    report = on_progress or (lambda _title, _fraction: None)
    remember = remember or _forget
    total, finished = sum(part.weight for part in parts), 0.0

    def began(part: Part) -> None:
        report(part.title, finished / total)

    done: dict[str, xr.DataTree] = {}
    for part, tree in (_here if jobs == 1 else partial(_elsewhere, jobs, patience))(parts, remember, began):
        done[part.name] = tree
        finished += part.weight
    report("done", 1.0)
    tree = xr.DataTree.from_dict({f"/{part.name}": done[part.name] for part in parts})
    values = settings.model_dump()
    tree.attrs = {"question": question, "settings": settings.model_dump_json(), "seed": values["seed"]}
    return tree


def _forget(_name: str, _inputs: Mapping[str, Any], compute: Callable[[], xr.DataTree]) -> xr.DataTree:
    return compute()


def _here(
    parts: Sequence[Part], remember: Remember, began: Callable[[Part], None]
) -> Iterator[tuple[Part, xr.DataTree]]:
    """Compute parts in this process, on one thread as in any other, longest first."""
    for part in sorted(parts, key=lambda part: -part.weight):
        began(part)
        try:
            with threadpool_limits(1):
                tree = remember(part.name, part.inputs, part.compute)
        except Exception as error:
            error.add_note(f"part {part.name}")
            raise
        yield part, tree


def _elsewhere(
    jobs: int, patience: float, parts: Sequence[Part], remember: Remember, began: Callable[[Part], None]
) -> Iterator[tuple[Part, xr.DataTree]]:
    """Compute in other processes the parts that are not remembered; this process alone asks the memory and fills it."""
    missing = {}
    for part in parts:
        try:
            yield part, remember(part.name, part.inputs, _missing)
        except _MissingError:
            missing[part.name] = part
    took = 0.0
    while missing and took < patience:
        least = min(missing.values(), key=lambda part: part.weight)
        started = time.process_time()
        yield from _here([missing.pop(least.name)], remember, began)
        took = time.process_time() - started
    if not missing:
        return
    work = [Job(part.name, part.compute, part.weight) for part in missing.values()]
    preload = sorted({func.__module__ for part in parts if (func := getattr(part.compute, "func", None)) is not None})
    with Local(min(jobs, len(work)), [*preload, "analysis.running.first_write"]) as workers:
        for ended in run_jobs(work, workers, lambda job: began(missing[job.name])):
            part = missing[ended.job.name]
            if ended.outcome.failed is not None:
                error = ended.outcome.failed.exception()
                error.add_note(f"part {part.name}")
                raise error
            yield part, remember(part.name, part.inputs, partial(_given, ended.outcome.value))


def _given(tree: xr.DataTree) -> xr.DataTree:
    return tree


class _MissingError(Exception):
    """A memory was asked for what it does not have."""


def _missing() -> xr.DataTree:
    raise _MissingError
