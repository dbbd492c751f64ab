"""The store: computed once for the same inputs, and again when inputs, sources or the file have changed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from analysis import store as cache
from analysis.store import Store, as_bytes, from_file, sweep

QUESTION = "mode_covering_vs_seeking"


class Count:
    """A computation that counts how often it is made."""

    def __init__(self, fails: bool = False) -> None:
        self.times = 0
        self.fails = fails

    def __call__(self) -> xr.DataTree:
        self.times += 1
        if self.fails:
            raise RuntimeError("did not converge")
        tree = xr.DataTree.from_dict({"part": xr.Dataset({"value": 10 + self.times})})
        tree.attrs = {"title": "ten"}
        return tree


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, QUESTION)


INPUTS: dict[str, Any] = {"case": {"name": "bimodal"}, "settings": {"seed": 0, "n": 100}}


def value(tree: xr.DataTree) -> int:
    return int(tree["part"]["value"])


def test_the_same_inputs_are_computed_once(store: Store) -> None:
    compute = Count()
    first, second = (store("bimodal", INPUTS, compute) for _ in range(2))
    assert compute.times == 1
    assert second.equals(first)
    assert second.attrs == first.attrs == {"title": "ten"}
    assert (store.folder / QUESTION / "bimodal.nc").is_file()


def test_the_order_of_inputs_does_not_count(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    store("bimodal", dict(reversed(INPUTS.items())), compute)
    assert compute.times == 1


def test_changed_inputs_are_computed_again_and_replace_the_part(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    other = {**INPUTS, "settings": {"seed": 1, "n": 100}}
    assert value(store("bimodal", other, compute)) == 12
    assert value(store("bimodal", other, compute)) == 12
    assert compute.times == 2


def test_a_part_that_another_report_has_replaced_is_not_read_as_ones_own(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    assert value(store.load("bimodal", INPUTS)) == 11
    store("bimodal", {**INPUTS, "settings": {"seed": 1, "n": 100}}, compute)
    with pytest.raises(RuntimeError, match="has been replaced"):
        store.load("bimodal", INPUTS)


def test_parts_do_not_share_a_file(store: Store) -> None:
    compute = Count()
    store("a", INPUTS, compute)
    store("b", INPUTS, compute)
    assert compute.times == 2
    assert value(store("a", INPUTS, compute)) == 11


def test_fresh_computes_again_and_keeps_the_new_result(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    assert value(Store(store.folder, QUESTION, fresh=True)("bimodal", INPUTS, compute)) == 12
    assert value(store("bimodal", INPUTS, compute)) == 12
    assert compute.times == 2


@pytest.mark.parametrize(
    "content", [b"", b"not netCDF", b"\x89HDF\r\n\x1a\n" + b"\0" * 64], ids=["empty", "text", "cut"]
)
def test_a_damaged_file_is_computed_again(store: Store, content: bytes) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    (store.folder / QUESTION / "bimodal.nc").write_bytes(content)
    assert value(store("bimodal", INPUTS, compute)) == 12
    assert value(store("bimodal", INPUTS, compute)) == 12


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_file_cut_short_is_computed_again(store: Store, kept: float) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    path = store.folder / QUESTION / "bimodal.nc"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert value(store("bimodal", INPUTS, compute)) == 12


def test_a_failed_computation_leaves_the_earlier_part(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    with pytest.raises(RuntimeError, match="did not converge"):
        store("bimodal", {"other": 1}, Count(fails=True))
    assert value(store("bimodal", INPUTS, compute)) == 11
    assert compute.times == 1


def test_a_key_depends_on_inputs_sources_and_versions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = store.key(INPUTS)
    assert store.key(dict(INPUTS)) == key
    assert store.key({**INPUTS, "settings": {"seed": 0, "n": 101}}) != key
    with monkeypatch.context() as patch:
        patch.setattr(cache, "source_hash", lambda _: "changed")
        assert store.key(INPUTS) != key
    with monkeypatch.context() as patch:
        patch.setattr(cache, "versions", lambda: {"pymc": "99"})
        assert store.key(INPUTS) != key
    assert store.key(INPUTS) == key


# --- what is on the disk ---------------------------------------------------------------------------------------------


def kept(store: Store, name: str = "bimodal") -> Path:
    path = store.find(name, INPUTS)
    assert path is not None
    return path


def test_a_changed_byte_anywhere_is_noticed(store: Store) -> None:
    """netCDF itself reads on: most bytes of a file are numbers, and any number is as good as another."""
    compute = Count()
    store("bimodal", INPUTS, compute)
    path = kept(store)
    whole = path.read_bytes()
    places = range(0, len(whole), max(len(whole) // 40, 1))
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert store.find("bimodal", INPUTS) is None, place
    path.write_bytes(whole)
    assert store.find("bimodal", INPUTS) == path
    assert compute.times == 1


def test_a_file_of_another_part_is_noticed(store: Store) -> None:
    compute = Count()
    store("a", INPUTS, compute)
    store("b", INPUTS, compute)
    (store.folder / QUESTION / "a.nc").write_bytes((store.folder / QUESTION / "b.nc").read_bytes())
    assert value(store("a", INPUTS, compute)) == 13


@pytest.mark.parametrize(
    "record", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": "0"}', b'{"seconds": 3}'], ids=["empty", "cut", "list", "bytes", "old", "no key"]
)  # fmt: skip
def test_a_damaged_record_is_computed_again(store: Store, record: bytes) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    (store.folder / QUESTION / "bimodal.json").write_bytes(record)
    assert store.seconds("bimodal", INPUTS) is None
    assert value(store("bimodal", INPUTS, compute)) == 12
    assert value(store("bimodal", INPUTS, compute)) == 12


def test_a_record_of_another_version_is_computed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    monkeypatch.setattr(cache, "_RECORDS", "2")
    assert value(store("bimodal", INPUTS, compute)) == 12


def test_results_from_before_there_were_records_are_computed_again(store: Store) -> None:
    compute = Count()
    store("bimodal", INPUTS, compute)
    (store.folder / QUESTION / "bimodal.json").unlink()
    assert value(store("bimodal", INPUTS, compute)) == 12


@pytest.mark.parametrize("left", range(4))
def test_killed_between_any_two_steps_of_storing_a_part_is_whole_or_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """Of the four steps (write and move, twice) only the first ``left`` are done."""
    done = 0

    class Killed(BaseException):
        pass

    def stepped(step: Any) -> Any:
        def run(self: Path, *arguments: Any) -> Any:
            nonlocal done
            if done == left:
                raise Killed
            done += 1
            return step(self, *arguments)

        return run

    store("bimodal", INPUTS, Count())
    other, compute = {"other": 1}, Count()
    compute.times = 5  # other numbers
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stepped(Path.write_bytes))
        patch.setattr(Path, "replace", stepped(Path.replace))
        with pytest.raises(Killed):
            store("bimodal", other, compute)
    # The old part, until the new file is in its place.
    assert (store.find("bimodal", INPUTS) is not None) == (left < 2)
    assert store.find("bimodal", other) is None
    assert value(store("bimodal", other, compute)) == 17
    assert value(store("bimodal", other, Count(fails=True))) == 17


def test_a_part_that_cannot_be_written_leaves_the_earlier_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("bimodal", INPUTS, Count())

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            store("bimodal", {"other": 1}, Count())
    assert store.find("bimodal", INPUTS) is not None
    assert sorted(p.name for p in (store.folder / QUESTION).iterdir()) == ["bimodal.json", "bimodal.nc"]


def test_the_same_results_are_the_same_bytes(store: Store) -> None:
    for name in ("a", "b"):
        store(name, INPUTS, Count())
    assert kept(store, "a").read_bytes() == kept(store, "b").read_bytes()
    assert as_bytes(from_file(kept(store, "a"))) == kept(store, "a").read_bytes()


def test_the_seconds_of_a_part_outlive_a_change_of_the_sources(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.seconds("bimodal", INPUTS) is None
    for i in range(3):
        store.put("bimodal", {"n": i}, b"content", 1.5 + i)
    monkeypatch.setattr(cache, "source_hash", lambda _: "changed")
    assert store.find("bimodal", {"n": 2}) is None
    assert [store.seconds("bimodal", {"n": i}) for i in range(4)] == [1.5, 2.5, 3.5, None]
    store.put("bimodal", {"n": 0}, b"content", 9)
    assert store.seconds("bimodal", {"n": 0}) == 9


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = cache._host()
    gone = [f".a.nc.{host}~{ended.pid}.part", f".index.html.{host}~{ended.pid}.part"]
    kept = [
        f".a.nc.{host}~{os.getpid()}.part",  # of a process at work
        f".a.nc.{host}-other~{ended.pid}.part",  # of another machine
        f"a.nc.{host}~{ended.pid}.part",
        ".notes.part",
        "a.nc",
        ".hidden",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("")
    assert sweep([tmp_path, tmp_path / "missing"]) == len(gone)
    assert {p.name for p in tmp_path.iterdir()} == set(kept)


def test_versions_are_those_of_the_libraries() -> None:
    import numpy
    import scipy

    found = cache.versions()
    assert found["numpy"] == numpy.__version__
    assert found["scipy"] == scipy.__version__
    assert {"python", "pymc", "pytensor", "arviz", "xarray", "numba"} <= set(found)
    assert "none" not in found.values()
