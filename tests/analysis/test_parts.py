"""The parts of a question: the order of the results, what is remembered, progress, other processes, and failures."""

from __future__ import annotations

import doctest
import os
import time
from functools import partial
from typing import Any

import pytest
import xarray as xr
from pydantic import BaseModel

from analysis import parts as parts_module
from analysis.parts import Part, compute_parts


class Settings(BaseModel):
    seed: int = 3
    scale: float = 2.0


def leaf(value: float) -> xr.DataTree:
    return xr.DataTree.from_dict({"leaf": xr.Dataset({"value": value, "process": os.getpid()})})


def works(seconds: float) -> xr.DataTree:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return leaf(0.0)


def fails() -> xr.DataTree:
    raise ArithmeticError("no optimum")


def part(name: str, value: float, weight: float = 1.0) -> Part:
    return Part(name, f"part {name}", {"value": value}, partial(leaf, value), weight)


PARTS = [part("short", 1), part("long", 2, weight=5), part("middle", 3, weight=2), part("brief", 4)]


def computed(parts: list[Part], **options: Any) -> xr.DataTree:
    return compute_parts(parts, question="Why?", settings=Settings(), **options)


def test_results_are_in_the_order_given_and_say_what_they_answer() -> None:
    tree = computed(PARTS)
    assert list(tree.children) == ["short", "long", "middle", "brief"]
    assert [int(tree[f"{p.name}/leaf/value"]) for p in PARTS] == [1, 2, 3, 4]
    assert tree.attrs == {"question": "Why?", "settings": Settings().model_dump_json(), "seed": 3}


def test_long_parts_are_begun_first_and_equal_ones_in_the_order_given() -> None:
    asked: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked.append(name)
        return compute()

    computed(PARTS, remember=remember)
    assert asked == ["long", "middle", "short", "brief"]


def test_progress_is_the_share_of_the_weight() -> None:
    seen: list[tuple[str, float]] = []
    computed(PARTS, on_progress=lambda title, fraction: seen.append((title, fraction)))
    assert [title for title, _ in seen] == ["part long", "part middle", "part short", "part brief", "done"]
    assert [fraction for _, fraction in seen] == pytest.approx([0, 5 / 9, 7 / 9, 8 / 9, 1])


def test_the_store_is_asked_with_the_inputs_and_its_answer_is_taken() -> None:
    asked: dict[str, Any] = {}

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        asked[name] = inputs
        return leaf(10.0) if name == "long" else compute()

    tree = computed(PARTS, remember=remember)
    assert asked == {p.name: p.inputs for p in PARTS}
    assert [int(tree[f"{p.name}/leaf/value"]) for p in PARTS] == [1, 10, 3, 4]


def test_other_processes_give_the_same_numbers_and_this_one_alone_asks_and_fills_the_memory() -> None:
    """Others may share no disk with it, and what is remembered is not computed."""
    here: list[str] = []

    def remember(name: str, inputs: Any, compute: Any) -> xr.DataTree:
        if name == "long":
            return leaf(10.0)
        tree = compute()
        here.append(name)
        return tree

    alone, tree = computed(PARTS), computed(PARTS, jobs=2, remember=remember)
    assert sorted(here) == ["brief", "middle", "short"]
    assert list(tree.children) == list(alone.children)
    assert [int(tree[f"{p.name}/leaf/value"]) for p in PARTS] == [1, 10, 3, 4]
    for name in here:
        assert tree[f"{name}/leaf/value"].equals(alone[f"{name}/leaf/value"])
    processes = {p.name: int(tree[f"{p.name}/leaf/process"]) for p in PARTS}
    assert processes.pop("long") == os.getpid()
    assert os.getpid() not in processes.values()


def test_with_patience_parts_are_computed_here_the_shortest_first_until_one_takes_long() -> None:
    slow = Part("slow", "works", {}, partial(works, 0.3), weight=3)
    alone, tree = computed([*PARTS, slow]), computed([*PARTS, slow], jobs=2, patience=0.2)
    processes = {p: int(tree[f"{p}/leaf/process"]) for p in tree.children}
    assert {p for p, process in processes.items() if process == os.getpid()} == {"short", "brief", "middle", "slow"}
    assert list(tree.children) == list(alone.children)
    assert all(tree[f"{p}/leaf/value"].equals(alone[f"{p}/leaf/value"]) for p in tree.children)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_names_the_part(jobs: int) -> None:
    broken = Part("broken", "fails", {}, fails)
    with pytest.raises(ArithmeticError, match="no optimum") as caught:
        computed([*PARTS[:2], broken], jobs=jobs)
    assert "part broken" in caught.value.__notes__


def test_parts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        computed([part("a", 1), part("a", 2)])


def test_the_example_is_true() -> None:
    failed, tried = doctest.testmod(parts_module)
    assert tried
    assert not failed
