"""The store of compiled graphs: what is kept, when it is made again, and that it harms nothing that it did not write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.graphs import store as graph_store

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store, in this process and in those it starts."""
    monkeypatch.setenv("DUALITY_CACHE", str(tmp_path / "store"))
    graph_store.place.cache_clear()
    yield tmp_path / "store"
    graph_store.place.cache_clear()


class Maker:
    """Counts how often it is asked."""

    def __init__(self, value: Any = 7) -> None:
        self.value, self.count = value, 0

    def __call__(self) -> Any:
        self.count += 1
        return self.value


def entry(store: Path) -> Path:
    (path,) = store.glob("*/*.graph")
    return path


def test_made_once_and_read_after(store: Path) -> None:
    make = Maker(np.arange(3.0))
    for _ in range(3):
        np.testing.assert_array_equal(graph_store.kept("kind", ("key", 1), make), np.arange(3.0))
    assert make.count == 1
    assert graph_store.usage()[:2] == (store, 1)
    assert graph_store.usage()[2] > 100


@pytest.mark.parametrize("other", [("other kind", ("key", 1)), ("kind", ("key", 2))])
def test_another_kind_or_key_is_another_entry(store: Path, other: tuple[str, Any]) -> None:
    assert graph_store.kept("kind", ("key", 1), Maker(1)) == 1
    assert graph_store.kept(*other, Maker(2)) == 2
    assert graph_store.kept("kind", ("key", 1), Maker(3)) == 1


def test_other_versions_and_sources_have_their_own_place(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert graph_store.kept("kind", 1, Maker(1)) == 1
    monkeypatch.setattr(graph_store, "version", lambda name: f"another {name}")
    graph_store.place.cache_clear()
    assert graph_store.kept("kind", 1, Maker(2)) == 2
    assert len(list(store.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "one bit", "foreign", "empty"])
def test_a_damaged_or_foreign_entry_is_made_again(store: Path, damage: str) -> None:
    graph_store.kept("kind", 1, Maker("right"))
    path = entry(store)
    content = path.read_bytes()
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    path.write_bytes({"truncated": content[:-5], "one bit": flipped, "foreign": b"PK" + content, "empty": b""}[damage])
    make = Maker("right")
    assert graph_store.kept("kind", 1, make) == "right"
    assert make.count == 1
    assert graph_store.kept("kind", 1, Maker("wrong")) == "right"  # mended


def test_a_folder_that_cannot_be_written_means_no_store_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DUALITY_CACHE", str(tmp_path / "file"))
    graph_store.place.cache_clear()
    make = Maker(5)
    with pytest.warns(UserWarning, match="cannot be stored") as said:
        assert [graph_store.kept("kind", i, make) for i in (1, 1, 2)] == [5, 5, 5]
    assert make.count == 3
    assert len(said) == 1
    graph_store.place.cache_clear()


def test_what_cannot_be_pickled_is_returned_and_not_stored(store: Path) -> None:
    function = graph_store.kept("kind", 1, lambda: lambda: 3)
    assert function() == 3
    assert graph_store.usage()[1] == 0
    assert not list(store.glob("*/.*.part"))


def test_many_at_once_make_it_once(store: Path) -> None:
    make = Maker("shared")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: graph_store.kept("kind", 1, make), range(16)))
    assert set(found) == {"shared"}
    assert make.count == 1


def test_clear_removes_what_it_wrote_and_nothing_else(store: Path) -> None:
    graph_store.kept("kind", 1, Maker())
    graph_store.kept("kind", 2, Maker())
    foreign = [store / "note.txt", entry_folder(store) / "mine.txt"]
    for path in foreign:
        path.write_text("keep me")
    assert graph_store.clear() == 2
    assert graph_store.usage()[1:] == (0, 0)
    assert all(path.read_text() == "keep me" for path in foreign)


def entry_folder(store: Path) -> Path:
    return next(iter(store.glob("*/*.graph"))).parent


PROJECT = """
import sys
import numpy as np
from models.families import FAMILIES
from models.projections import reverse_projections
from models.targets import TARGETS, normal_mixture
found = reverse_projections(TARGETS["bimodal"], FAMILIES["normal"])
imported = "pytensor.tensor" in sys.modules  # Numba's cache of what PyTensor made does import it
forty = normal_mixture(np.ones(40) / 40, np.linspace(-3, 3, 40), np.linspace(0.5, 1, 40))  # a sum that Numba could reorder
logp, slope = forty.log_density(np.linspace(-5, 5, 200)[:, None])
print([p.divergence.value.hex() for p in found], hash(logp.tobytes() + slope.tobytes()), "]", "pymc.model" in sys.modules, imported)
"""


@pytest.mark.exhaustive
def test_a_second_process_needs_neither_pymc_nor_pytensor_and_gets_the_same_bits(store: Path) -> None:
    environment = {**os.environ, "DUALITY_CACHE": str(store), "PYTHONHASHSEED": "0"}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", PROJECT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    numbers, imported = first.rsplit("]", 1)
    again, not_imported = second.rsplit("]", 1)
    assert again == numbers
    assert imported.split() == ["True", "True"]
    assert not_imported.split() == ["False", "False"]


@pytest.mark.parametrize("compiled", [True, False])
def test_bytecode_is_kept_here_only_where_the_sources_have_none(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALITY_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")  # so that it is as it was afterwards
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    beside = tmp_path / "numpy.pyc"
    if compiled:
        beside.touch()
    monkeypatch.setattr(graph_store, "cache_from_source", lambda _: str(beside))
    graph_store.keep_bytecode()
    kept = None if compiled else str(tmp_path / "bytecode")
    assert (sys.pycache_prefix, sys.dont_write_bytecode, os.environ.get("PYTHONPYCACHEPREFIX")) == (
        kept,
        compiled,
        kept,
    )
    if not compiled:
        (tmp_path / "bytecode").mkdir()
        (tmp_path / "bytecode" / "a.pyc").write_bytes(b"123")
        assert graph_store.usage()[2] == 3
        graph_store.clear()
        assert not (tmp_path / "bytecode").exists()
