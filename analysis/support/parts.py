"""The parts of a question: computed in any order, each in its own process, remembered, and put together in one tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import xarray as xr
from joblib import Parallel, delayed
from pydantic import BaseModel

__all__ = ["Options", "Part", "Progress", "Remember", "compute_parts"]

#: ``remember(name, inputs, compute)`` returns a stored part of the same inputs, or computes and stores it.
Remember = Callable[[str, Mapping[str, Any], Callable[[], xr.DataTree]], xr.DataTree]
#: ``on_progress(title, fraction)`` is told the part at work and the fraction of the work that is finished.
Progress = Callable[[str, float], None]


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
        Time that it takes relative to the others. Long parts are begun first, so that none is left alone at the end.
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


def compute_parts(
    parts: Sequence[Part],
    *,
    question: str,
    settings: BaseModel,
    jobs: int = 1,
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
    longest_first = sorted(parts, key=lambda part: -part.weight)
    total, finished = sum(part.weight for part in parts), 0.0
    work = Parallel(n_jobs=jobs, return_as="generator")(delayed(_computed)(part, remember) for part in longest_first)
    done: dict[str, xr.DataTree] = {}
    for part in longest_first:
        report(part.title, finished / total)
        done[part.name] = next(work)
        finished += part.weight
    report("done", 1.0)
    tree = xr.DataTree.from_dict({f"/{part.name}": done[part.name] for part in parts})
    values = settings.model_dump()
    tree.attrs = {"question": question, "settings": settings.model_dump_json(), "seed": values["seed"]}
    return tree


def _computed(part: Part, remember: Remember | None) -> xr.DataTree:
    try:
        return part.compute() if remember is None else remember(part.name, part.inputs, part.compute)
    except Exception as error:
        error.add_note(f"part {part.name}")
        raise
