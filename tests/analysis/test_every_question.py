"""What is asked of every question, whatever it asks itself."""

from __future__ import annotations

import json
import pickle
from importlib import import_module
from typing import Any

import pytest
from pydantic import ValidationError

from analysis.catalogue import questions
from analysis.running.answers import plan
from models.errors import InputError

EVERY = pytest.mark.parametrize("name", questions())


def study(name: str) -> Any:
    return import_module(f"analysis.{name}.study")


def bounds(name: str) -> list[dict[str, Any]]:
    """For each setting with a bound the first value beyond it."""
    properties = study(name).Settings.model_json_schema()["properties"].items()
    below = [{key: p["minimum"] - 1} for key, p in properties if "minimum" in p]
    return below + [{key: p["exclusiveMinimum"]} for key, p in properties if "exclusiveMinimum" in p]


@EVERY
def test_wrong_settings_are_refused(name: str) -> None:
    settings = study(name).Settings
    wrong = bounds(name)
    assert {"seed": -1} in wrong
    for values in [*wrong, {"sede": 1}]:
        with pytest.raises(ValidationError):
            settings(**values)
    with pytest.raises(ValidationError):
        settings().seed = 2


@EVERY
def test_efforts_differ_and_keep_the_seed(name: str) -> None:
    settings = study(name).Settings
    efforts = [settings.preset(effort, 5) for effort in ("quick", "default", "full")]
    assert [s.seed for s in efforts] == [5, 5, 5]
    assert settings(seed=5) == efforts[1]
    assert len({s.model_dump_json() for s in efforts}) == 3


@EVERY
def test_parts_can_be_sent_and_stored(name: str) -> None:
    """To a process or a Dask worker by pickle, to the store as JSON; the settings that numbers depend on are in the key."""
    module = study(name)
    parts = module.parts(module.Settings.preset("quick", 0))
    assert len({part.name for part in parts}) == len(parts)
    keys = {}
    for part in parts:
        assert part.title
        assert part.weight > 0
        assert pickle.loads(pickle.dumps(part)).compute.func is part.compute.func
        keys[part.name] = json.dumps(dict(part.inputs), sort_keys=True)
    changed = module.parts(module.Settings.preset("default", 0))
    assert any(json.dumps(dict(part.inputs), sort_keys=True) != keys.get(part.name) for part in changed)
    assert [(p.question, p.name) for p in plan(name, "quick", 0)] == [(name, part.name) for part in parts]


@EVERY
def test_a_package_is_imported_at_no_cost(name: str) -> None:
    package = import_module(f"analysis.{name}")
    assert package.QUESTION.endswith("?")
    assert package.TITLE
    assert isinstance(package.CHAPTER, int)


def test_wrong_input_is_an_input_error() -> None:
    with pytest.raises((InputError, ValidationError)):
        plan("kl_properties", "quick", -1)
