"""The store: computed once for the same inputs, and again when inputs, sources or the file have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from analysis.support import cache
from analysis.support.cache import Store, source_hash

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
        return xr.DataTree.from_dict({"part": xr.Dataset({"value": 10 + self.times})})


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
    assert second.attrs == first.attrs
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


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A small tree of sources, by path; `write` changes it."""
    sources = {
        "models/a.py": "",
        "models/b.py": "",
        "analysis/q.py": """
from analysis.support import figures as fig, parts
from analysis.support.words_q import answer
from analysis.support.datasets import load_column

if __name__ == "__main__":
    from analysis.support.cli import run_question
""",
        "analysis/other.py": "from analysis.support import more",
        "analysis/support/data/d.csv": "1",
        "analysis/support/parts.py": "import analysis.support.deep",
        "analysis/support/datasets.py": "",
        "analysis/support/deep.py": "from analysis.support.parts import Part",
        "analysis/support/more.py": "",
        "analysis/support/figures.py": "from analysis.support import more",
        "analysis/support/words_q.py": "",
        "analysis/support/cli.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cache, "_ROOT", tmp_path)
    return sources


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("models/a.py", True),
        ("models/b.py", True),
        ("analysis/q.py", True),
        ("analysis/support/data/d.csv", True),
        ("analysis/support/parts.py", True),  # from a package import module
        ("analysis/support/datasets.py", True),  # from module import object
        ("analysis/support/deep.py", True),  # imported by what is imported, in a circle
        ("analysis/support/more.py", False),  # imported only by a module that draws
        ("analysis/support/figures.py", False),
        ("analysis/support/words_q.py", False),
        ("analysis/support/cli.py", False),
        ("analysis/other.py", False),
    ],
)
def test_the_hash_of_sources_sees_what_numbers_depend_on(
    tmp_path: Path, tree: dict[str, str], name: str, counts: bool
) -> None:
    fresh = source_hash.__wrapped__
    before = fresh("q")
    assert fresh("q") == before
    (tmp_path / name).write_text(f"{tree[name]}\n# changed")
    assert (fresh("q") != before) == counts


def test_every_question_depends_on_how_its_parts_are_computed() -> None:
    scripts = [path for path in (cache._ROOT / "analysis").glob("*.py") if "QUESTION" in path.read_text()]
    assert len(scripts) >= 7
    for script in scripts:
        names = {path.stem for path in cache._support(script)}
        assert "parts" in names
        assert not any(name.startswith(("figures", "words", "report", "explorer", "cli")) for name in names)
    assert {"datasets", "gaussians"} <= {
        path.stem for path in cache._support(cache._ROOT / "analysis" / f"{QUESTION}.py")
    }
