"""Files of numbers: what is read, what is said of what is left out, and one clear line for every file that cannot be used."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.own_data import table as tables
from analysis.own_data.files import Options, read_columns
from analysis.own_data.oddities import missing_codes
from analysis.own_data.values import SEVERAL, default_families
from models.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 2))


def csv(rows: np.ndarray, names: str = "a,b", separator: str = ",") -> str:
    lines = [separator.join(repr(float(v)) for v in row) for row in rows]
    return "\n".join([names, *lines]) + "\n"


def saved(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- what is read ----------------------------------------------------------------------------------------------------


def as_csv(path: Path) -> Path:
    return saved(path / "x.csv", csv(X))


def as_tsv(path: Path) -> Path:
    return saved(path / "x.tsv", csv(X, "a\tb", "\t"))


def as_blanks(path: Path) -> Path:
    return saved(path / "x.txt", csv(X, "a b", "   "))


def as_semicolons_with_decimal_commas(path: Path) -> Path:
    return saved(path / "x.csv", csv(X, "a;b", ";").replace(".", ","))


def as_gzip(path: Path) -> Path:
    return saved(path / "x.csv.gz", gzip.compress(csv(X).encode()))


def as_csv_with_a_mark_and_blank_lines(path: Path) -> Path:
    return saved(path / "x.csv", "\ufeff\n\n" + csv(X).replace("\n", "\r\n"))


def as_npz(path: Path) -> Path:
    np.savez(path / "x.npz", a=X[:, 0], b=X[:, 1])
    return path / "x.npz"


def as_records(path: Path) -> Path:
    np.save(path / "x.npy", np.rec.fromarrays(X.T, names="a,b"))
    return path / "x.npy"


def as_netcdf(path: Path) -> Path:
    xr.Dataset({"a": ("row", X[:, 0]), "b": ("row", X[:, 1])}).to_netcdf(path / "x.nc")
    return path / "x.nc"


def as_parquet(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "text": ["t"] * len(X)}), path / "x.parquet", row_group_size=7)
    return path / "x.parquet"


FILES = (as_csv, as_tsv, as_blanks, as_semicolons_with_decimal_commas, as_gzip, as_csv_with_a_mark_and_blank_lines,
         as_npz, as_records, as_netcdf, as_parquet)  # fmt: skip


@pytest.mark.parametrize("write", FILES, ids=lambda f: f.__name__)
def test_every_format_gives_the_same_numbers(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    table = read_columns(path)
    assert table.names == ("a", "b")
    assert table.rows == len(X)
    np.testing.assert_array_equal(table.values, X)
    np.testing.assert_array_equal(read_columns(path, ["b", "a"]).values, X[:, ::-1])


def test_array_without_names(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    table = read_columns(tmp_path / "x.npy")
    assert table.names == ("x0", "x1")
    np.save(tmp_path / "x.npy", X[:, 0])
    assert read_columns(tmp_path / "x.npy").names == ("x",)


def test_results_of_the_project_can_be_read_back(tmp_path: Path) -> None:
    observed = xr.Dataset({"x": (("observation", "dim"), X)})
    xr.DataTree.from_dict({"observed_data": observed}).to_netcdf(tmp_path / "x.nc")
    np.testing.assert_array_equal(read_columns(tmp_path / "x.nc").values, X)


def test_large_files_are_read_in_parts_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS", 1000)
    x = np.arange(20_000, dtype=float)[:, None] + RNG.random((20_000, 2))
    seen: list[float] = []
    table = read_columns(saved(tmp_path / "x.csv", csv(x)), None, lambda _label, fraction: seen.append(fraction))
    np.testing.assert_array_equal(table.values, x)
    assert len(seen) > 20
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_missing_values_are_counted_and_never_filled(tmp_path: Path) -> None:
    lines = csv(X).splitlines()
    lines[3] = "NA,1.5"
    lines[7] = "0.5,"
    lines[9] = ","
    table = read_columns(saved(tmp_path / "x.csv", "\n".join(lines)))
    assert table.rows == 50
    np.testing.assert_array_equal(table.values, np.delete(X, [2, 6, 8], axis=0))
    assert [w for w in table.warnings if "3 of 50 rows" in w and "a 2" in w and "b 2" in w]


def test_text_is_left_out_and_said(tmp_path: Path) -> None:
    text = "city,a,flag\n" + "".join(f"Rome,{v!r},True\n" for v in X[:, 0].tolist())
    table = read_columns(saved(tmp_path / "x.csv", text))
    assert table.names == ("a",)
    told = " ".join(table.warnings)
    assert "city: text ('Rome' in row 1)" in told
    assert "flag: text ('True' in row 1)" in told
    assert [entry["name"] for entry in table.reading["left_out"]] == ["city", "flag"]


APART = np.random.default_rng(9).permutation(1000)[:50]


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("t", np.arange(1, 51), "counts the rows"),
        ("t", np.arange(50), "counts the rows"),
        ("ID", APART, "tells rows apart"),
        ("Day", np.sort(APART), "tells when rows were taken"),
        ("date", 20240101 + 100 * (APART % 12) + APART % 28, "holds dates"),
        ("Datum", 45_000.25 + APART, "holds dates"),
        ("t", 1_700_000_000_000 + np.sort(APART) * 977, "holds times of a clock that counts from 1970"),
    ],
)
def test_a_column_that_counts_rows_is_left_out_and_said_unless_asked_for(
    name: str, column: np.ndarray, words: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "x.csv", csv(np.column_stack([column, X[:, 0]]), f"{name},a"))
    table = read_columns(path)
    assert table.names == ("a",)
    assert [w for w in table.warnings if f"{name!r} {words} and is left out; --columns takes it in" in w]
    assert table.reading["left_out"] == [{"name": name, "why": words}]
    asked = read_columns(path, [name, "a"])
    assert asked.names == (name, "a")
    assert not asked.warnings


@pytest.mark.parametrize(
    ("name", "column"), [("t", APART), ("day", APART), ("id", X[:, 0]), ("id", np.repeat(APART[:25], 2))]
)
def test_a_column_that_only_its_name_or_its_numbers_make_an_index_is_kept(
    name: str, column: np.ndarray, tmp_path: Path
) -> None:
    table = read_columns(saved(tmp_path / "x.csv", csv(np.column_stack([column, X[:, 0]]), f"{name},a")))
    assert table.names == (name, "a")


@pytest.mark.parametrize("name", ["customer_no", "PLZ", "phone", "userId", "zip code"])
def test_a_column_whose_name_says_that_it_tells_things_apart_is_kept_and_said(name: str, tmp_path: Path) -> None:
    (told,) = read_columns(saved(tmp_path / "x.csv", csv(np.column_stack([APART, X[:, 0]]), f"{name},a"))).warnings
    assert f"column {name!r} seems by its name to tell things apart; if it is no measurement" in told
    for other, column in ((name, X[:, 1]), (name, APART % 3), ("nodes", APART), ("idle", APART)):
        path = saved(tmp_path / "y.csv", csv(np.column_stack([column, X[:, 0]]), f"{other},a"))
        assert not read_columns(path).warnings


def test_names_of_rows_that_double_precision_rounds_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{2**53 + i},{a}\n" for i, a in zip(APART.tolist(), X[:, 0].tolist(), strict=True))
    assert read_columns(saved(tmp_path / "x.csv", f"id,a\n{rows}")).names == ("a",)


def test_an_index_alone_is_kept(tmp_path: Path) -> None:
    assert read_columns(saved(tmp_path / "x.csv", csv(np.arange(50.0)[:, None], "id"))).names == ("id",)


def test_an_index_is_left_out_before_rows_are_dropped(tmp_path: Path) -> None:
    lines = csv(np.column_stack([np.arange(50), X[:, 0]]), "t,a").splitlines()
    table = read_columns(saved(tmp_path / "x.csv", "\n".join([*lines[:9], "8,NA", *lines[10:], "50,NA"])))
    assert table.names == ("a",)
    assert [w for w in table.warnings if "2 of 51 rows" in w and "(a 2)" in w]


def test_what_double_precision_rounds_away_is_said(tmp_path: Path) -> None:
    far = saved(tmp_path / "x.csv", "a\n" + "".join(f"{2**60 + 100 * i}\n" for i in range(50)))
    (told,) = read_columns(far).warnings
    assert "'a' are near 1.15292e+18, where double precision rounds to 2.6e+02" in told
    assert "subtract a constant" in told
    spread = saved(tmp_path / "y.csv", "a\n" + "".join(f"{10**25 + i**3 * 10**20}\n" for i in range(50)))
    assert not read_columns(spread).warnings


def test_numbers_as_large_as_no_integer_of_numpy(tmp_path: Path) -> None:
    table = read_columns(saved(tmp_path / "x.csv", f"a\n{2**70}\n{2**71}\n1\n"))
    assert table.values[:, 0].tolist() == [2.0**70, 2.0**71, 1.0]


def test_columns_without_values_or_with_one_are_left_out_and_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", "a,empty,b,note\n1.5,,7,\n2.5,,7,\n7,,7,\n")
    table = read_columns(path)
    assert (table.names, table.rows, len(table.values)) == (("a",), 3, 3)
    assert [entry["why"] for entry in table.reading["left_out"]] == [
        "holds no values",
        "is constant at 7",
        "holds no values",
    ]
    assert "column 'b' is constant at 7 and is left out" in table.warnings


def test_single_values_beside_arrays_are_left_out_and_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=X[:, 0], rate=0.5)
    table = read_columns(tmp_path / "x.npz")
    assert table.names == ("a",)
    assert table.warnings == ("columns that hold no numbers left out: rate: a single value",)


def test_numbers_that_a_parquet_file_has_as_text_are_read_if_only_one_way(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table(
            {
                "a": [1.5, 2.5, 7],
                "b": ["-2.5", "0.5", "1"],
                "c": ["x", "", None],
                "d": ["1.234", "2.345", "7.125"],
                "e": ["007", "1", "2"],
                "f": ["1,5", "2", "3"],
            }
        ),
        tmp_path / "x.parquet",
    )
    table = read_columns(tmp_path / "x.parquet")
    assert dict(zip(table.names, table.values.T.tolist(), strict=True)) == {"a": [1.5, 2.5, 7], "b": [-2.5, 0.5, 1]}
    assert [entry["why"] for entry in table.reading["left_out"]] == [
        "text ('x' in row 1)",
        "text that looks like numbers ('1.234' in row 1)",
        "text that looks like numbers ('007' in row 1)",
        "text that looks like numbers ('1,5' in row 1)",
    ]


# --- what is refused -------------------------------------------------------------------------------------------------

GOOD = csv(X)
LATER = "a,b\n" + "1,2\n3,5\n" * 40 + "4,x7\n" + "1,2\n"

#: File name, content, columns asked for, and words of the answer: the value, then the remedy.
WRONG: dict[str, tuple[str, str | bytes, list[str] | None, tuple[str, ...]]] = {
    "empty": ("x.csv", "", None, ("x.csv", "is empty", "give")),
    "blank lines": ("x.csv", "\n \n\n", None, ("blank lines", "give")),
    "names only": ("x.csv", "a,b\n", None, ("no rows", "at least 2")),
    "one row": ("x.csv", "a,b\n1,2\n", None, ("has 1 row;", "at least 2")),
    "text": ("x.csv", "city\nRome\nOslo\n", None, ("no column of numbers", "'Rome'", "numeric")),
    "text chosen": ("x.csv", "city,a\nRome,1\nOslo,2\n", ["city"], ("'city'", "'Rome'", "row 1", "--columns")),
    "text among numbers": ("x.csv", LATER, None, ("'b'", "'x7'", "row 81", "correct")),
    "all missing": ("x.csv", "a,b\n1,\n2,\n3,\n", ["a", "b"], ("'b'", "all 3 are missing", "--columns a")),
    "no complete row": ("x.csv", "a,b\n1,\n,2\n3,\n,5\n", None, ("0 complete", "4 of 4", "fewer columns")),
    "constant": ("x.csv", "a,b\n1,7\n2,7\n3,7\n", ["a", "b"], ("'b'", "constant at 7", "--columns a")),
    "a constant alone": ("x.csv", "b\n7\n7\n7\n", None, ("'b'", "constant at 7", "--columns")),
    "a constant beside an index": ("x.csv", "a,b\n" + "".join(f"{i},7\n" for i in range(12)), None, ("'b'", "constant at 7")),
    "infinite": ("x.csv", "a\n1\n2\ninf\n", None, ("'a'", "inf", "row 3", "remove")),
    "too large": ("x.csv", "a,b\n1,2\n1" + "0" * 400 + ",3\n", None, ("'a'", "too large", "in row 2", "divide")),
    "too large chosen": ("x.csv", "a\n1\n-1e400\n", ["a"], ("'a'", "too large", "-1e400", "row 2", "divide")),
    "too close": ("x.csv", f"a\n{2**60}\n{2**60 + 7}\n", None, ("cannot tell numbers less than 256 apart", "subtract")),
    "another case": ("x.csv", GOOD, ["A"], ("unknown column 'A'", "did you mean a?")),
    "unknown column": ("x.csv", GOOD.replace("a,b", "waiting,b"), ["wating"], ("'wating'", "did you mean waiting")),
    "column twice": ("x.csv", GOOD, ["a", "a"], ("--columns", "'a' more than once")),
    "duplicate names": ("x.csv", csv(X, "a,a"), None, ("line 1", "'a' more than once", "name of its own")),
    "no names": ("x.csv", GOOD.partition("\n")[2], None, ("line 1", "holds numbers", "add a first line", "x0,x1")),
    "more fields than names": ("x.csv", "a,b\n1,2,3\n4,5,6\n", None, ("line 2", "3 fields", "has 2", "name")),
    "a longer row": ("x.csv", GOOD + "1,2,3\n", ["a"], ("line 52", "has 3 fields", "has 2", "same number")),
    "a far longer row": ("x.csv", GOOD + "1,2,3,4\n", None, ("line 52", "has 4 fields", "same number")),
    "a quotation mark never closed": ("x.csv", 'a,b\n1,"2\n' + "3,4\n" * 60_000, None, ("no table", "quotation mark")),
    "a shorter row": ("x.csv", GOOD + "1\n", None, ("line 52", "has 1 field ", "has 2")),
    "one name fewer": ("x.txt", '"a" "b"\n"1" 2 3\n"2" 5 7\n', None, ("line 2", "3 fields", "R leaves it out")),
    "a web page": ("x.csv", "<!DOCTYPE html>\n<html><table>", None, ("a web page", "save")),
    "a sheet of XML": ("x.csv", '<?xml version="1.0"?>\n<a>', None, ("holds XML", "save")),
    "JSON": ("x.csv", '[{"x":1.5,"y":2},\n{"x":2.5,"y":3}]', None, ("holds JSON", "save")),
    "JSON lines": ("x.txt", '{"x": 1.5}\n{"x": 2.5}\n', None, ("holds JSON", "save")),
    "ARFF": ("x.txt", "% of Weka\n@RELATION a\n@attribute x numeric\n@data\n1\n", None, ("holds ARFF", "save")),
    "zeros": ("x.csv", b"a,b\n\0\0\0", None, ("zero bytes", "CSV in UTF-8")),
    "array called csv": ("x.csv", b"\x93NUMPY\x01\x00", None, ("not what its name says", "NumPy", "ending")),
    "csv called npy": ("x.npy", GOOD, None, ("not what its name says", ".npy", "ending")),
    "csv called parquet": ("x.parquet", GOOD, None, ("not what its name says", "Parquet", "ending")),
    "csv called netcdf": ("x.nc", GOOD, None, ("not what its name says", "netCDF", "ending")),
    "gzip called csv": ("x.csv", gzip.compress(GOOD.encode()), None, ("gzip", "x.csv.gz")),
    "csv called gzip": ("x.csv.gz", GOOD, None, ("not what its name says", "gzip")),
    "truncated gzip": ("x.csv.gz", gzip.compress(GOOD.encode())[:-20], None, ("damaged or truncated", "again")),
    "unknown ending": ("x.ods", b"PK\x03\x04...", None, ("x.ods", "does not say", "rename", ".csv")),
    "truncated parquet": ("x.parquet", b"PAR1" + b"\1" * 100, None, ("damaged or truncated", "PAR1", "again")),
    "truncated netcdf": ("x.nc", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, None, ("damaged or truncated", "again")),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_file_is_one_line_that_names_the_value_and_the_remedy(what: str, tmp_path: Path) -> None:
    name, content, columns, words = WRONG[what]
    with pytest.raises(InputError) as caught:
        read_columns(saved(tmp_path / name, content), columns)
    told = str(caught.value)
    assert "\n" not in told
    for word in words:
        assert word in told, told


def test_weights_alone_have_nothing_to_weigh(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"besides 'w': only the weights are left"):
        read_columns(saved(tmp_path / "x.csv", "w\n1\n2\n"), None, None, Options(weights="w"))


def test_folder_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give one file"):
        read_columns(tmp_path)
    saved(tmp_path / "data.csv", GOOD)
    with pytest.raises(InputError, match=r"no file .*dta\.csv.*did you mean data\.csv"):
        read_columns(tmp_path / "dta.csv")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_file_without_permission(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", GOOD)
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot be read .*permissions"):
        read_columns(path)


def test_a_read_error_of_the_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(tmp_path / "x.csv", GOOD)
    monkeypatch.setattr("analysis.own_data.files.read_text", broken)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_columns(path)


def test_wrong_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read_columns(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"Python objects.*numpy\.save"):
        read_columns(path)
    np.save(path, np.array(["a", "b"]))
    with pytest.raises(InputError, match="no column of numbers"):
        read_columns(path)
    np.save(path, np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match=r"no column of numbers: x holds an array of shape \(2, 2, 2\)"):
        read_columns(path)
    np.save(path, X)
    saved(path, path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_columns(path)
    np.savez(tmp_path / "x.npz", a=X[:, 0], b=X[:9, 1])
    with pytest.raises(InputError, match=r"different lengths \(a has 50, b has 9\)"):
        read_columns(tmp_path / "x.npz")
    saved(tmp_path / "x.npz", (tmp_path / "x.npz").read_bytes()[:300])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_columns(tmp_path / "x.npz")


def test_columns_of_arrays_that_would_have_the_same_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=X, a0=X[:, 0])
    with pytest.raises(InputError, match=r"'a0' more than once.*a name of its own"):
        read_columns(tmp_path / "x.npz")
    xr.Dataset({"a": (("row", "k"), X), "a1": ("row", X[:, 0])}).to_netcdf(tmp_path / "x.nc")
    with pytest.raises(InputError, match="'a1' more than once"):
        read_columns(tmp_path / "x.nc")


@pytest.mark.parametrize("stored", ["__index_level_0__", "key"])
def test_the_index_of_a_pandas_frame_is_left_out_and_said_unless_asked_for(stored: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    index = np.sort(APART)
    frame = pa.table({"a": X[:, 0], stored: index})
    told = json.dumps({"index_columns": [stored], "columns": []}).encode()
    pq.write_table(frame.replace_schema_metadata({b"pandas": told}), tmp_path / "x.parquet")
    table = read_columns(tmp_path / "x.parquet")
    assert table.names == ("a",)
    assert table.warnings == (
        f"column {stored!r} holds the index of a pandas frame and is left out; --columns takes it in",
    )
    np.testing.assert_array_equal(read_columns(tmp_path / "x.parquet", [stored]).values[:, 0], index)


def test_codes_for_missing_values_in_arrays(tmp_path: Path) -> None:
    x = np.abs(X[:, 0]).astype(np.float32)
    x[[3, 7]] = -999, 1e20
    np.save(tmp_path / "x.npy", x)
    (told,) = read_columns(tmp_path / "x.npy").warnings
    assert "--na -999 --na 1e+20" in told
    table = read_columns(tmp_path / "x.npy", None, None, Options(na=("-999", "1e+20")))
    np.testing.assert_array_equal(table.values[:, 0], np.delete(x, [3, 7]))
    assert table.reading["columns"][0]["missing_marks"] == "1 '-999', 1 '1e+20'"


CODED: dict[str, tuple[list[float], list[float]]] = {
    "incomes": ([-999.0, 18100, 2400, 300, 7000, -999], [-999]),
    "one row of incomes": ([18100.0, 2400, -999, 300, 7000], [-999]),
    "two codes": ([-999.0, -888, 31.5, 29, 40], [-999, -888]),
    "scores": ([-8.0, -9, 1, 5, 3, 2], [-9, -8]),
    "ages": ([99.0, 99, 99, 16, 66, 40], [99]),
    "unknown": ([-1.0, 45.5, 50, 52], [-1]),
    "answers": ([-7.0, -7, -7, 18, 25, 60, 44], [-7]),
    "fill values": ([9.96921e36, 1.5, 2.5, 7], [9.96921e36]),
    "both ends": ([-999.0, 1, 2, 5, 999], [-999, 999]),
    "one old man": ([99.0, 16, 66, 40], []),
    "one far away": ([9.0, 1.5, 2.5, 3.5], []),
    "a scale to five": ([9.0, 9, 9, 1, 5, 3, 2], [9]),
    "changes": ([-1.0, -1, -1, 1, 2, 3], []),
    "one cold day": ([-7.0, 3, 12, 15, 9, 21], []),
    "one loss": ([-8.0, 5, 40, 12, 33], []),
    "a return": ([-9.9, 3.1, 2.5, 7.2], []),
    "prices": ([9.99, 9.99, 9.99, 1.5, 3.2, 6.1], []),
    "weights": ([77.0, 77, 77, 50, 65, 58], []),
    "temperatures": ([-9.0, -4, 3, 7.5], []),
    "a real line": ([-999.0, -700, 200, 1500], []),
    "two codes of a survey": ([98.0, 98, 98, 99, 99, 99, 16, 66, 40, 31], [99, 98]),
    "old people": ([98.0, 98, 98, 99, 99, 99, 80, 85, 90, 92, 96], []),
    "unknown ages": ([-1.0] * 3 + [*range(16, 70, 3)], [-1]),
    "counts and one less": ([-1.0] * 3 + [*range(1, 70, 3)], []),
    "glucose": ([0.0] * 4 + [*range(76, 173, 5)], [0]),
    "amounts": ([0.0] * 20 + [*range(4, 173, 5)], []),
    "incomes to a hundred thousand": ([99999.0] * 6 + [*range(1000, 60000, 999), 105357], [99999]),
    "marks to a thousand": ([999.0] * 3 + [*range(900, 1000), *range(905, 998)], []),
    "counts": ([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0] * 4, []),
}


@pytest.mark.parametrize("what", CODED)
def test_what_looks_like_a_code_for_missing_values(what: str) -> None:
    x, codes = CODED[what]
    assert missing_codes(np.array(x)) == codes


def test_parquet_without_its_library_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="needs pyarrow; install it with: uv sync --extra parquet"):
        read_columns(saved(tmp_path / "x.parquet", b"PAR1" + b"\1" * 100 + b"PAR1"))


def test_whatever_a_library_raises_is_a_damaged_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    np.savez_compressed(tmp_path / "x.npz", a=X)
    packed = bytearray((tmp_path / "x.npz").read_bytes())
    packed[60:90] = bytes(30)  # of the compressed data
    version = bytearray((tmp_path / "x.npz").read_bytes())
    version[version.index(b"PK\x01\x02") + 6] = 250  # of a program to come
    for name, content in (("a.npy", whole.replace(b"'fortran", b"\x01fortran")), ("b.npz", packed), ("c.npz", version)):
        with pytest.raises(InputError, match="damaged or truncated"):
            read_columns(saved(tmp_path / name, bytes(content)))


def test_an_archive_is_called_what_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.csv", GOOD)
    with pytest.raises(InputError, match=r"it is a ZIP archive \(a\.csv\), which has to be unpacked"):
        read_columns(tmp_path / "x.zip")
    with pytest.raises(InputError, match=r"its content is a ZIP archive \(a\.csv\)"):
        read_columns((tmp_path / "x.zip").rename(tmp_path / "x.csv"))
    np.savez(tmp_path / "y.npz", a=X)
    with pytest.raises(InputError, match="its content is a NumPy archive"):
        read_columns((tmp_path / "y.npz").rename(tmp_path / "y.csv"))


def test_damaged_parquet_with_both_marks(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="damaged or truncated"):
        read_columns(saved(tmp_path / "x.parquet", b"PAR1" + b"\1" * 100 + b"PAR1"))
    path = as_parquet(tmp_path)
    with pytest.raises(InputError, match=r"'text' .* holds text \('t' in row 1\), not numbers"):
        read_columns(path, ["text"])
    saved(path, path.read_bytes()[:-30])
    with pytest.raises(InputError, match="truncated"):
        read_columns(path)


def test_columns_without_a_name_are_listed_among_those_left_out(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-{day:02},{day}.5,{day * day},\n" for day in range(1, 20))
    table = read_columns(saved(tmp_path / "x.csv", ",a,b,\n" + rows))
    assert table.names == ("a", "b")
    assert [column["name"] for column in table.reading["left_out"]] == ["column 1"]  # the last holds nothing
    assert "2020-01-01" in table.reading["left_out"][0]["why"]


def test_of_hundreds_of_columns_the_first_are_taken_unless_others_are_named(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(30)]
    x = np.random.default_rng(0).normal(size=(12, 30)).round(3)
    path = saved(tmp_path / "x.csv", "\n".join([",".join(names), *(",".join(map(str, row)) for row in x)]))
    table = read_columns(path)
    assert table.names == tuple(names[:20])
    assert any("10 columns, 'c20' to 'c29', left out" in told for told in table.warnings)
    assert [entry["name"] for entry in table.reading["left_out"]] == ["10 columns, 'c20' to 'c29'"]
    assert read_columns(path, [",".join(names)]).names == tuple(names)


def test_mixtures_of_many_columns_are_tried_only_by_name() -> None:
    assert default_families(8) == SEVERAL
    assert default_families(9) == SEVERAL[:2]


def test_a_table_of_frequencies_is_pointed_to_its_weights(tmp_path: Path) -> None:
    rows = "".join(f"{i},{n}\n" for i, n in enumerate([135, 283, 397, 463, 12, 5, 4, 2, 1, 1, 1]))
    path = saved(tmp_path / "x.csv", "value,n\n" + rows)
    assert any("--columns value --weights n" in told for told in read_columns(path).warnings)
    assert not any("frequencies" in told for told in read_columns(path, None, None, Options(weights="n")).warnings)
    other = saved(tmp_path / "y.csv", "value,size\n" + rows)
    assert not any("frequencies" in told for told in read_columns(other).warnings)


def test_hidden_sheets_are_no_choice_and_a_sheet_of_numbers_is_offered(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["see data"])
    sheet = book.create_sheet("data")
    for row in (["v"], [1.5], [2.5], [7]):
        sheet.append(row)
    book.save(path := tmp_path / "x.xlsx")
    with pytest.raises(InputError, match="choose one with --sheet 'data'"):
        read_columns(path)
    book["Notes"].sheet_state = "hidden"
    book.active = 1
    book.save(path)
    table = read_columns(path)
    assert table.values.ravel().tolist() == [1.5, 2.5, 7]
    assert "hidden in the workbook, and not read: sheet 'Notes'" in table.warnings
