"""Results: what is written is read back, a failed write spoils nothing, and labels follow the entries."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from models.families import FAMILIES
from models.projections import forward_projections, reverse_projections
from models.results import (
    SCHEMA_VERSION,
    draws_of,
    fit_dataset,
    flatten,
    load,
    member_of,
    projections_dataset,
    projections_of,
    save,
    versions,
)
from models.targets import TARGETS


def tree(value: float = 1.0) -> xr.DataTree:
    fit = fit_dataset(
        {"mu": np.array([value, 2.0]), "cov": np.array([[2.0, 0.5], [0.5, 1.0]])},
        {"log_likelihood": -3.5, "status": "converged"},
        {"se_hessian": np.arange(6.0)},
    )
    groups: dict[str, Any] = {"a/fit": fit.assign_attrs(family="mvnormal"), **{f"a/{k}": v for k, v in drawn().items()}}
    result = xr.DataTree.from_dict(groups)
    result.attrs = {"question": "what?", "seed": 3}
    return result


def drawn() -> dict[str, xr.Dataset]:
    return draws_of(TARGETS["crossed"], 7, 2, log_p=TARGETS["crossed"])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = save(tree(), tmp_path / "new" / "folder" / "q.nc")
    assert path == tmp_path / "new" / "folder" / "q.nc"
    loaded = load(path)
    assert loaded.equals(tree())
    assert loaded.attrs == {"question": "what?", "seed": 3}
    assert loaded["a/fit"].attrs["family"] == "mvnormal"
    assert loaded["a/fit"]["status"].item() == "converged"
    assert list(loaded["a/fit"]["parameter"].to_numpy()) == list(tree()["a/fit"]["parameter"].to_numpy())


def test_names_that_netcdf_refuses_are_others_in_the_file_and_come_back(tmp_path: Path) -> None:
    refused = ["(Intercept)", "b ", "<b>", "a\tb", "-x", "[0]", " y", "_(Intercept)", "1|g", "σ ²", "²", "x (1)"]
    data = xr.Dataset({name: ("(g)", np.arange(2.0) + i) for i, name in enumerate(refused)}, coords={"(g)": ["u", "v"]})
    before = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"k": 1}), "posterior": data, "other": data[["b "]]})
    path = save(before, tmp_path / "x.nc")
    assert load(path).identical(before)
    with xr.open_datatree(path) as there:
        names = set(map(str, there["posterior"].data_vars))
    assert {"_(Intercept)_", "_(Intercept)", "b_", "_<b>", "1|g", "x (1)"} <= names
    assert len(names) == len(refused)


def test_a_loaded_tree_holds_no_file_open(tmp_path: Path) -> None:
    path = save(tree(), tmp_path / "q.nc")
    loaded = load(path)
    path.unlink()
    assert loaded.equals(tree())


def test_a_later_save_replaces_the_earlier(tmp_path: Path) -> None:
    save(tree(1.0), tmp_path / "q.nc")
    save(tree(5.0), tmp_path / "q.nc")
    assert load(tmp_path / "q.nc").equals(tree(5.0))
    assert [p.name for p in tmp_path.iterdir()] == ["q.nc"]


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tree(1.0), tmp_path / "q.nc")

    def breaks_off(self: xr.DataTree, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", breaks_off)
    with pytest.raises(OSError, match="no space left"):
        save(tree(5.0), tmp_path / "q.nc")
    assert load(tmp_path / "q.nc").equals(tree(1.0))
    assert [p.name for p in tmp_path.iterdir()] == ["q.nc"]


def test_draws_in_one_dimension() -> None:
    groups = draws_of(TARGETS["bimodal"], 9, 4)
    assert set(groups) == {"posterior"}
    assert groups["posterior"]["x"].dims == ("chain", "draw")
    assert groups["posterior"]["x"].shape == (1, 9)
    np.testing.assert_array_equal(groups["posterior"]["x"][0], TARGETS["bimodal"].rvs(9, 4)[:, 0])


def test_draws_in_two_dimensions_with_log_densities() -> None:
    groups = drawn()
    assert groups["posterior"]["x"].dims == ("chain", "draw", "dim")
    assert groups["posterior"]["x"].shape == (1, 7, 2)
    x = groups["posterior"]["x"].to_numpy()[0]
    np.testing.assert_array_equal(groups["sample_stats"]["log_p"][0], TARGETS["crossed"].logp(x))
    assert groups["sample_stats"]["log_p"].dims == ("chain", "draw")


def test_labels_of_scalars_vectors_and_matrices() -> None:
    labels, values = flatten({"s": 2.0, "mu": [3.0, 4.0], "cov": [[1.0, 5.0], [6.0, 7.0]]})
    assert labels == ["s", "mu[0]", "mu[1]", "cov[0,0]", "cov[0,1]", "cov[1,0]", "cov[1,1]"]
    np.testing.assert_array_equal(values, [2, 3, 4, 1, 5, 6, 7])


def test_a_fit_dataset_gives_its_member_back() -> None:
    member = member_of(tree()["a/fit"].to_dataset(), FAMILIES["mvnormal"])
    assert member.spec["params"] == {"mu": [1.0, 2.0], "cov": [[2.0, 0.5], [0.5, 1.0]]}
    x = np.array([[0.3, -1.0]])
    np.testing.assert_allclose(member.logp(x), FAMILIES["mvnormal"].logp(x, member.spec["params"]))


@pytest.mark.parametrize("name", ["normal", "student_t"])
def test_projections_are_read_back_from_a_file(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    for project in (forward_projections, reverse_projections):
        points = project(TARGETS["bimodal"], family)
        results = xr.DataTree.from_dict({"points": projections_dataset(points)})
        found = projections_of(load(save(results, tmp_path / "q.nc"))["points"].to_dataset(), family)
        assert len(found) == len(points)
        for ours, theirs in zip(points, found, strict=True):
            for field in dataclasses.fields(ours):
                np.testing.assert_equal(getattr(theirs, field.name), getattr(ours, field.name), field.name)


def test_versions_name_what_numbers_depend_on() -> None:
    assert {"python", "pymc", "pytensor", "arviz", "numpy", "scipy", "xarray"} <= set(versions())
    assert all(versions().values())
    assert SCHEMA_VERSION
