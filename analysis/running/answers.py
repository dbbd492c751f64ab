"""Questions answered: one pool over all parts of all of them, what is finished kept, and what failed said.

This process plans, stores and reports; it imports no question. The workers do: they say what there is to compute, compute
it, and put a question's parts together with its findings and figures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import store as stored
from analysis.running.pool import Failed, Job, Local, Workers, run_jobs
from analysis.running.progress import Display
from analysis.store import Store
from models.errors import InputError

if TYPE_CHECKING:
    from analysis.parts import Part
    from analysis.site.chapter import Words

__all__ = ["Answer", "Failure", "Kept", "Order", "answer_all", "compute", "figures_of", "question_key"]

#: Seconds of the default settings that a part takes with the others, roughly, where nothing better is known.
_EFFORT = {"quick": 0.4, "default": 1.0, "full": 10.0}
#: Seconds to put the parts of a question together and to draw its figures, roughly.
_DRAWING = 3.0


@dataclass(frozen=True)
class Order:
    """What is wanted of questions.

    Attributes
    ----------
    effort : {"quick", "default", "full"}
    seed : int
    output : Path
        Results are in its folder ``results``.
    jobs : int
        Processes on this machine.
    fresh : bool
        Compute again what is stored.
    figures : bool
        Draw them.
    """

    effort: str
    seed: int
    output: Path
    jobs: int = 1
    fresh: bool = False
    figures: bool = False

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.output / "results"


@dataclass(frozen=True)
class Failure:
    """What could not be computed: a part of a question, or the question itself."""

    question: str
    part: str
    failed: Failed


@dataclass(frozen=True)
class Answer:
    """What a question says."""

    title: str
    findings: Mapping[str, Any]
    figures: Sequence[Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Planned:
    """A part of a question, as a worker described it."""

    question: str
    name: str
    inputs: Mapping[str, Any]
    weight: float

    @property
    def label(self) -> str:
        """Name among the parts of all questions."""
        return f"{self.question}/{self.name}"


def answer_all(
    names: Sequence[str],
    order: Order,
    display: Display,
    elsewhere: Workers | None = None,
) -> tuple[dict[str, Answer], list[Failure]]:
    """Answer questions, computing only what is not stored.

    Parameters
    ----------
    names : sequence of str
    order : Order
    display : Display
        Told of every part.
    elsewhere : Workers, optional
        Where parts are computed, if not on this machine.

    Returns
    -------
    dict of str to Answer
        The questions of which nothing failed, in the order given.
    list of Failure
        Everything else, after everything else was computed.

    Raises
    ------
    InputError
        A question says that it was asked with wrong settings.
    OSError
        A part cannot be stored. What was stored before stays.
    """
    folder = order.results
    stored.sweep(
        [order.output, order.output / "figures", order.output / "pages", folder, *(folder / name for name in names)]
    )
    open_ = [
        name for name in names if order.fresh or not stored.is_whole(_file(folder, name), question_key(name, order))
    ]
    rooms = ("study", "figures") if order.figures else ("study",)
    preload = [*(f"analysis.{name}.{room}" for name in names for room in rooms), "netCDF4"]
    if open_ and elsewhere is None:
        preload.append("analysis.running.first_write")
    with Local(order.jobs if open_ else min(order.jobs, len(names)), preload) as local:
        parts, failures = _plan(open_, order, local)
        failures += _compute(parts, order, elsewhere or local, display, names)
        failed = {failure.question for failure in failures}
        answers, more = _answers([name for name in names if name not in failed], order, local, display)
    return {name: answers[name] for name in names if name in answers}, failures + more


def question_key(name: str, order: Order) -> str:
    """SHA-256 of everything that all results of a question depend on."""
    sources = stored.source_hash(name, "parts", "run")
    return stored.digest_of([name, order.effort, order.seed, sources, stored.versions()])


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.nc"


def _plan(names: Sequence[str], order: Order, workers: Workers) -> tuple[list[Planned], list[Failure]]:
    """Ask questions what there is to compute."""
    jobs = [Job(name, partial(plan, name, order.effort, order.seed)) for name in names]
    parts, failures = [], []
    for done in run_jobs(jobs, workers):
        failed = done.outcome.failed
        if failed is not None and failed.wrong_input:
            raise InputError(str(failed.exception()))
        if failed is not None:
            failures.append(Failure(done.job.name, "list of parts", failed))
        else:
            parts += done.outcome.value
    place = {name: i for i, name in enumerate(names)}
    return sorted(parts, key=lambda part: place[part.question]), failures


def _compute(
    parts: Sequence[Planned], order: Order, workers: Workers, display: Display, names: Sequence[str]
) -> list[Failure]:
    """Compute and store the parts that are not stored yet."""
    stores = {part.question: Store(order.results, part.question, order.fresh) for part in parts}
    missing = {part.label: part for part in parts if stores[part.question].find(part.name, part.inputs) is None}
    jobs = []
    for label, part in missing.items():
        known = stores[part.question].seconds(part.name, part.inputs)
        expected = known if known is not None else part.weight * _EFFORT[order.effort]
        call = partial(compute, part.question, order.effort, order.seed, part.name)
        jobs.append(Job(label, call, expected))
    seconds = sum(job.seconds for job in jobs) + _DRAWING * len(names)
    display.plan(len(jobs), len(parts) - len(jobs), seconds, workers.capacity(), more=len(names))
    failures, kept = [], len(parts) - len(jobs)
    for done in run_jobs(jobs, workers, display.started):
        part, failed = missing[done.job.name], done.outcome.failed
        if failed is not None:
            failures.append(Failure(part.question, f"part {part.name}", failed))
        else:
            try:
                stores[part.question].put(part.name, part.inputs, done.outcome.value, done.outcome.seconds)
            except OSError as error:
                error.add_note(f"part {part.label} cannot be stored; the {kept} parts before it are kept, and the same "
                               "command goes on from there")  # fmt: skip
                raise
            kept += 1
        display.ended(done)
    return failures


def _answers(
    names: Sequence[str], order: Order, workers: Workers, display: Display
) -> tuple[dict[str, Answer], list[Failure]]:
    """Put the parts of every question together; findings and figures."""
    jobs = {f"{name}/answer": name for name in names}
    work = [
        Job(label, partial(answer, name, order, question_key(name, order)), _DRAWING) for label, name in jobs.items()
    ]
    answers, failures = {}, []
    for done in run_jobs(work, workers, display.started):
        name, failed = jobs[done.job.name], done.outcome.failed
        if failed is not None:
            failures.append(Failure(name, "findings and figures", failed))
        else:
            answers[name] = done.outcome.value
        display.ended(done)
    return answers, failures


# --- in the worker ---------------------------------------------------------------------------------------------------


def _module(question: str, name: str) -> Any:
    os.environ.setdefault("PYTENSOR_FLAGS", "cxx=")  # no look for a C compiler; on a cluster too
    return import_module(f"analysis.{question}.{name}")


@cache
def _parts(question: str, effort: str, seed: int) -> dict[str, Part]:
    study = _module(question, "study")
    parts = study.parts(study.Settings.preset(effort, seed))
    if len({part.name for part in parts}) != len(parts):
        raise ValueError(f"parts of one question need different names; these are {[part.name for part in parts]}")
    return {part.name: part for part in parts}


def plan(question: str, effort: str, seed: int) -> list[Planned]:
    """Say what there is to compute for a question."""
    return [Planned(question, p.name, p.inputs, p.weight) for p in _parts(question, effort, seed).values()]


def compute(question: str, effort: str, seed: int, part: str) -> bytes:
    """Compute one part of a question, as the bytes of a netCDF file."""
    return stored.as_bytes(_parts(question, effort, seed)[part].compute())


def answer(question: str, order: Order, key: str) -> Answer:
    """Put the stored parts of a question together, store the whole, and say what it says."""
    from analysis.site.chapter import words_of

    study = _module(question, "study")
    settings = study.Settings.preset(order.effort, order.seed)
    path, store = _file(order.results, question), Store(order.results, question)
    if order.fresh or not stored.is_whole(path, key):
        tree = study.run(settings, remember=lambda name, inputs, _compute: store.load(name, inputs))
        stored.put_whole(path, key, stored.as_bytes(tree))
    tree = stored.from_file(path)  # always from the file: what is said does not depend on when it was computed
    found = _module(question, "findings").findings(tree)
    words = words_of(question, found)
    figures = []
    if order.figures:
        kept = Kept(path.with_suffix("") / "figures.drawn", key, order.fresh)
        figures = figures_of(_module(question, "figures"), tree, words, kept)
    package = import_module(f"analysis.{question}")
    said = {"question": package.QUESTION, "answer": words.answer, **found}
    return Answer(package.TITLE, said, figures, settings.model_dump())


@dataclass(frozen=True)
class Kept:
    """Where the drawings of a question are stored, and the key of the results that they show."""

    path: Path
    results: str
    fresh: bool

    def key(self, question: str) -> str:
        """SHA-256 of everything that drawings depend on."""
        libraries = [version(name) for name in ("matplotlib", "arviz", "arviz-plots")]
        sources = [stored.source_hash(question, "plot", file="figures"), stored.source_hash("drawing", file="drawn")]
        return stored.digest_of([self.results, sources, libraries])


def figures_of(module: Any, tree: Any, words: Words, kept: Kept | None = None) -> list[Any]:
    """Figures of a question. They are drawn once: the dark ones are the light ones in other colours.

    Parameters
    ----------
    module : module
        ``figures`` of the question.
    tree : xarray.DataTree
        Its results.
    words : Words
        What its chapter says of each figure.
    kept : optional
        Where drawings are stored: those of the same results, sources and libraries are not drawn again.

    Returns
    -------
    list of Figure and Explorer
    """
    from analysis.drawing.style import to_dark
    from analysis.site.figure import Figure, Placed

    if kept is None:
        drawings = _draw(module, tree)
    else:
        key = kept.key(module.__name__.split(".")[1])
        if kept.fresh or not stored.is_whole(kept.path, key):
            stored.put_whole(kept.path, key, json.dumps(_draw(module, tree), indent=1).encode())
        drawings = json.loads(kept.path.read_bytes())
    figures: list[Any] = []
    for name, (svg, narrow) in ((name, [text.encode() for text in both]) for name, both in drawings.items()):
        # Where words are missing, the figure says so.
        alt, caption = words.alt.get(name, ""), words.caption.get(name, "")
        figures.append(Figure(name, svg, to_dark(svg), alt=alt, caption=caption, narrow=(narrow, to_dark(narrow))))
    if hasattr(module, "explorer"):
        from analysis.site.explorer import Explorer

        made = module.explorer(tree)
        figures.append(made if isinstance(made, Placed) else Explorer("explorer", made, words.alt["explorer"], words.caption["explorer"]))  # fmt: skip
    return figures


def _draw(module: Any, tree: Any) -> dict[str, list[str]]:
    """Return every drawing for a wide screen and for a narrow one."""
    import matplotlib as mpl

    mpl.use("agg")
    from analysis.drawing.style import Style

    style = Style.of("light", "matplotlib")
    both = [module.plot(tree, theme="light", narrow=narrow) for narrow in (False, True)]
    return {name: [drawings[name].svg(style).decode() for drawings in both] for name in both[0]}
