"""Provenance: what the numbers come from, and nothing that differs between two runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from analysis.running.answers import Answer
from analysis.site import provenance

ANSWERS = {"kl_properties": Answer("KL", {}, [], {"seed": 3, "n": 10})}


def test_two_runs_have_the_same_facts() -> None:
    first, second = (provenance.facts(ANSWERS, "quick", 3, ["kl_properties"]) for _ in range(2))
    assert first == second
    assert first["settings"] == {"seed": 3, "n": 10}
    assert first["rebuild command"] == "uv run duality report --quick --only kl_properties --seed 3"
    assert set(first) == {"versions", "settings", "sources", "commit", "date", "hardware", "rebuild command"}


def test_the_settings_of_several_questions_are_told_apart() -> None:
    both = ANSWERS | {"two_families": Answer("Two", {}, [], {"seed": 3})}
    found = provenance.facts(both, "default", 3, [])
    assert found["settings"] == {"kl_properties": {"seed": 3, "n": 10}, "two_families": {"seed": 3}}
    assert set(found["sources"]) == set(both)
    assert found["rebuild command"] == "uv run duality report --seed 3"


def test_the_day_is_that_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    asked: list[tuple[str, ...]] = []

    def git(*arguments: str) -> str:
        asked.append(arguments)
        return "1700000000"

    monkeypatch.setattr(provenance, "_git", git)
    assert provenance.day() == "2023-11-14"
    assert asked == [("log", "-1", "--format=%ct")]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert provenance.day() == "1970-01-02"


def test_without_git_it_is_today_and_the_commit_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("PATH", "")
    before = datetime.now(UTC).date().isoformat()
    assert provenance.day() in (before, datetime.now(UTC).date().isoformat())
    assert provenance.commit() == "unknown"


def test_rows_are_one_for_each_question() -> None:
    rows = provenance.rows({"settings": {"a": {"n": 1}, "b": {"n": [1, 2]}}, "commit": "0123abc-dirty", "none": ""})
    assert [row["item"] for row in rows] == ["settings of a", "settings of b", "commit", "none"]
    assert [row["value"] for row in rows] == ["n 1", "n 1, 2", "`0123abc-dirty`", "–"]
