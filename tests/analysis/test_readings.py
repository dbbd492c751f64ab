"""How text and sheets are read: the one reading that stands, a refusal where two give different numbers, and what is told of it."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.own_data.files import Options, read_columns
from analysis.own_data.numerals import Marks, number_of
from models.errors import InputError

CASES = Path(__file__).parents[1] / "reference" / "files"


def saved(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path, columns: list[str] | None = None, options: Options | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_columns(path, columns, None, options)
    told = str(caught.value)
    assert "\n" not in told
    return told


# --- the files of tests/reference/files --------------------------------------------------------------------------------

#: Names, rows of the file, complete rows, means (by an independent program), and words of what is told.
READ: dict[str, tuple[tuple[str, ...], int, int, tuple[float, ...], str]] = {
    "d01_semicolon_comma_in_names": (("Länge, cm", "Breite, cm"), 60, 60, (12.130167, 4.774333), ""),
    "d05_single_comma_name": (("Länge, cm",), 60, 60, (12.130167,), ""),
    "c01_single_spaced_name": (("body mass",), 60, 60, (2.785267,), ""),
    "c02_single_blank_missing": (("x",), 60, 50, (2.7698,), "10 of 60 rows have missing values (x 10)"),
    "c03_underscore_ids": (("y",), 60, 60, (2.785267,), "sample: text ('1_1' in row 1)"),
    "c04_header_newline": (("length (mm)", "b"), 60, 60, (2.785267, -0.1505), ""),
    "c05_name_with_comma": (("a,b", "c"), 60, 60, (2.785267, 0.042283), ""),
    "c06_comment_one": (("x", "y"), 60, 60, (2.785267, 0.149267), "1 line of comment"),
    "e02_slash_in_name": (("speed (km/h)", "load [kg]"), 100, 100, (50.0148, 4.95245), ""),
}


@pytest.mark.parametrize("name", READ)
def test_files_that_were_misread(name: str) -> None:
    names, rows, complete, means, words = READ[name]
    table = read_columns(CASES / f"{name}.csv")
    assert (table.names, table.rows, len(table.values)) == (names, rows, complete)
    np.testing.assert_allclose(table.values.mean(axis=0), means, atol=5e-6)
    assert words in " ".join(table.warnings)
    for column, found in zip(table.values.T, table.reading["columns"], strict=True):
        assert (found["first"], found["min"], found["max"]) == (column[0], column.min(), column.max())
        assert found["missing"] == rows - complete


def test_thousands_or_decimals_is_asked() -> None:
    path = CASES / "c07_semicolon_thousands_all.csv"
    told = refusal(path)
    for words in ("two ways", "begins with 20.782", "begins with 20782", "--decimal comma", "--thousands comma"):
        assert words in told
    for options, first in (
        (Options(decimal=","), 20.782),
        (Options(thousands=","), 20782.0),
        (Options(decimal="comma"), 20.782),
    ):
        table = read_columns(path, ["umsatz"], None, options)
        assert table.values[0, 0] == first


def test_columns_are_named_whatever_their_names() -> None:
    path = CASES / "c05_name_with_comma.csv"
    both = read_columns(path).values
    for given_, expected in (
        (["a,b"], both[:, :1]),
        (['"a,b"'], both[:, :1]),
        (["c", "a,b"], both[:, ::-1]),
        (['c,"a,b"'], both[:, ::-1]),
    ):
        np.testing.assert_array_equal(read_columns(path, given_).values, expected)
    assert "in quotes" in refusal(path, ["a"])
    assert "'c' more than once" in refusal(path, ["c", "c"])


# --- every writing is read back or refused ---------------------------------------------------------------------------

WRITINGS = [
    (sep, decimal, thousands)
    for sep, decimal, thousands in itertools.product([",", ";", "\t", "|"], ".,", ["", ".", ",", "'", " "])
    if decimal != thousands
]


def written(value: float, digits: int, decimal: str, thousands: str) -> str:
    text = f"{value:,.{digits}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    return f'"{text}"'


@settings(max_examples=120, deadline=None)
@given(
    data=st.data(),
    writing=st.sampled_from(WRITINGS),
    digits=st.integers(0, 4),
    rows=st.integers(2, 12),
    d=st.integers(1, 3),
)
def test_no_writing_is_read_as_other_numbers(
    data: Any, writing: tuple[str, str, str], digits: int, rows: int, d: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A table in any country's writing gives its numbers or a refusal; said how it is written, it gives its numbers."""
    sep, decimal, thousands = writing
    numbers = st.integers(-(10**7), 10**8).map(lambda i: i / 10**digits)
    x = np.array([[data.draw(numbers) for _ in range(d)] for _ in range(rows)]).round(digits) + 0.0
    x[0], x[-1] = 1.0 + np.arange(d), 4.0  # neither constant nor counting
    names = sep.join(f"n{i}" for i in range(d))
    path = saved(
        tmp_path_factory.mktemp("w") / "x.csv",
        "\n".join([names, *(sep.join(written(v, digits, decimal, thousands) for v in row) for row in x)]),
    )
    told = Options(sep if d > 1 else "none", decimal, thousands or "none")
    np.testing.assert_array_equal(read_columns(path, None, None, told).values, x)
    if thousands == "." and digits == 0 and (sep == "," or d == 1):
        return  # 1.234 where commas divide, if anything does: nothing in the file says otherwise, and a note says how it was read
    try:
        found = read_columns(path).values
    except InputError as error:
        told = str(error)
        found = None
    if found is None:
        body = path.read_text().partition("\n")[2].replace('"', "")
        groups = [group for cell in body.split() for mark in ".,' " for group in cell.split(mark)[1:]]
        # Nothing else than groups of three digits is open to two readings.
        assert "can be read in two ways" in told
        assert any(len(group.split(sep)[0]) == 3 for group in groups)
    else:
        np.testing.assert_array_equal(found, x)


PLAIN: dict[str, tuple[str, list[list[float]]]] = {
    "thousands in quotes": ('a,b\n"1,234.5",1\n"12,345.0",2\n', [[1234.5, 1], [12345, 2]]),
    "views in quotes": ('page,n\nx,"1,163"\ny,"938"\nz,"342"\n', [[1163], [938], [342]]),
    "millions of euros": ("a\n0,43 Mio. €\n12,57 Mio. €\n", [[0.43], [12.57]]),
    "a comma country": ("a;b\n1.234,5;1,5\n12.345,0;2,5\n", [[1234.5, 1.5], [12345, 2.5]]),
    "groups shown by one cell": ("a;b\n1.234.567;1\n12.345;2\n", [[1234567, 1], [12345, 2]]),
    "Swiss": ("a;b\n1'234.5;1\n12’345.0;2\n", [[1234.5, 1], [12345, 2]]),
    "blanks between thousands": ("a;b\n1 234,5;1\n12\u202f345,0;2\n", [[1234.5, 1], [12345, 2]]),
    "a minus sign of print": ("a;b\n\u22121,5;1\n2,5;2\n", [[-1.5, 1], [2.5, 2]]),
    "three decimals": ("a,b\n1.234,2.345\n3.456,4.567\n", [[1.234, 2.345], [3.456, 4.567]]),
    "whole numbers": ("a,b\n1,2\n3,25\n", [[1, 2], [3, 25]]),
    "whole numbers, names with blanks": ("item no,age\n1,21\n3,25\n", [[1, 21], [3, 25]]),
    "exponents": ("a b\n1e-3 2E5\n-4.5e+2 1\n", [[1e-3, 2e5], [-450, 1]]),
    "numpy.savetxt": ("# a,b\n1,2\n3,5\n", [[1, 2], [3, 5]]),
    "units": ("a;b\ncm;kg\n1,5;2\n3,5;4\n", [[1.5, 2], [3.5, 4]]),
    "titles": ("Umsatz 2023;;\n;;\nStadt;a;b\nRom;1,5;2\nOslo;3,5;4\n", [[1.5, 2], [3.5, 4]]),
    "a directive": ("sep=;\na;b\n1,5;2\n3,5;4\n", [[1.5, 2], [3.5, 4]]),
    "fields in quotes with lines": ('a,"no\nte",b\n1,"x\ny",2\n3,"z",4\n', [[1, 2], [3, 4]]),
    "empty rows at the end": ("a;b\n1;2\n3;4\n;;\n;\n;\n", [[1, 2], [3, 4]]),
    "bars": ("a|b\n1|2\n3|4.5\n", [[1, 2], [3, 4.5]]),
    "comments among the rows": ("a,b\n1,2\n# stopped, here\n3,4\n", [[1, 2], [3, 4]]),
    "colours are no comments": ("tag,a\n#f00,1\n#0f0,2\n#00f,4\n", [[1], [2], [4]]),
    "zeros before numbers are codes": ("plz,a\n01067,1.5\n80331,2.5\n", [[1.5], [2.5]]),
    "percent signs": ("ort;a\nx;12,5 %\ny;13 %\nz;\nw;7,25%\n", [[12.5], [13], [7.25]]),
    "euros behind": ("ort;a\nx;1.234,50 €\ny;-13,00 €\n", [[1234.5], [-13]]),
    "euros before": ("ort;a\nx;€ 1.234,50\ny;€ 13,00\nz;€ 3,00\n", [[1234.5], [13], [3]]),
    "dollars": ('city,a\nx,"$1,234.50"\ny,-$13.00\n', [[1234.5], [-13]]),
    "francs": ("ort;a\nx;CHF 1'234.50\ny;CHF 13.00\n", [[1234.5], [13]]),
    "a unit in every cell": ("ort;a\nx;1,5 kg\ny;13 kg\n", [[1.5], [13]]),
    "minus signs behind": ("konto;a\nx;1.234,50-\ny;13,00\n", [[-1234.5], [13]]),
    "losses in brackets": ('city,a\nx,"(1,234.50)"\ny,13.00\n', [[-1234.5], [13]]),
    "marks of a weather station": ("day temp\nMo 2.5\nTu ---\nWe 3.5\nTh -1.0\n", [[2.5], [3.5], [-1]]),
    "exponents with commas": ("a;b\n1,5E-04;2\n2,5e+03;3\n", [[1.5e-4, 2], [2500, 3]]),
    "dates and times": ("d;t;a\n01.02.2024;12:00;1,5\n02.02.2024;12:30;2,5\n", [[1.5], [2.5]]),
    "a tab behind every row": ("a\tb\t\n1.5\t2\t\n2.5\t4\t\n", [[1.5, 2], [2.5, 4]]),
    "a tab behind every row but the names": ("a\tb\n1.5\t2\t\n2.5\t4\t\n", [[1.5, 2], [2.5, 4]]),
    "numbers in quotes": ('"a","b"\n"1.5","2"\n"2.5","4"\n', [[1.5, 2], [2.5, 4]]),
    "a bank's export": (
        '"Konto";"DE12 3456"\n\n"Kontostand:";"1.234,56 EUR"\n\n"Tag";"Text";"Betrag"\n"1.2.2024";"Miete; Mai";"-950,00"\n'
        '"2.2.2024";"Lohn";"2.950,00"\n',
        [[-950], [2950]],
    ),
    "one column beside an index of R": ('"","x"\n"1",1.5\n"2",2.5\n"3",7.5\n', [[1.5], [2.5], [7.5]]),
    "a comma country, tabs": ("a\tb\n1.234\t1,5\n12.345\t2,5\n", [[1234, 1.5], [12345, 2.5]]),
    "a comma country, bars": ("a|b\n1.234|1,5\n345|2,5\n", [[1234, 1.5], [345, 2.5]]),
    "a comma country, blanks": ("a b\n1.234 1,5\n12.345 2,5\n", [[1234, 1.5], [12345, 2.5]]),
    "a comma country, commas": ('a,b\n"1.234","1,5"\n"12.345","2,5"\n', [[1234, 1.5], [12345, 2.5]]),
    "three decimals and a fourth": ("a\tb\n1.234\t0.5\n3.456\t1.5\n", [[1.234, 0.5], [3.456, 1.5]]),
    "three decimals below one": ("a\tb\n1.234\t1\n0.456\t5\n", [[1.234, 1], [0.456, 5]]),
    "exponents behind three decimals": ("a\tb\n1.234e+05\t1\n2.345e+00\t5\n", [[123400, 1], [2.345, 5]]),
    "Indian": ('a;b\n1,23,456;1.5\n3,456;2.5\n12,34,56,789.5;4\n', [[123456, 1.5], [3456, 2.5], [123456789.5, 4]]),
    "rupees": ('city,a\nx,"Rs. 1,23,456"\ny,Rs. 13\n', [[123456], [13]]),
    "signs of currencies": ("city,a\nx,₹12\ny,₹ 13.5\n", [[12], [13.5]]),
    "francs without centimes": ("ort;a\nx;3'043.-\ny;942.–\nz;-5.-\n", [[3043], [942], [-5]]),
    "dashes for minus signs": ("a;b\n–1,5;1\n2,5;2\n–;5\n7;8\n", [[-1.5, 1], [2.5, 2], [7, 8]]),
    "sheet errors": ("a;b\n1,5;#DIV/0!\n2,5;#NV\n3,5;1\n4,5;2\n", [[3.5, 1], [4.5, 2]]),
}  # fmt: skip


@pytest.mark.parametrize("what", PLAIN)
def test_writings(what: str, tmp_path: Path) -> None:
    text, expected = PLAIN[what]
    np.testing.assert_array_equal(read_columns(saved(tmp_path / "x.csv", text)).values, expected)
    crlf = saved(tmp_path / "y.csv", text.replace("\n", "\r\n"))
    np.testing.assert_array_equal(read_columns(crlf).values, expected)


TWO = {
    "thousands or decimals, quoted": 'a,b\n"1,234",1\n"2,345",2\n',
    "thousands or decimals in a comma country": "a;b\n1.234;1\n2.345;2\n",
    "thousands or decimals, tabs": "a\tb\n1.234\t1\n2.345\t2\n",
    "thousands or decimals, blanks": "a b\n1.234 1\n2.345 2\n",
    "thousands or decimals beside dates of a comma country": "d\ta\n1.2.2024\t1.234\n2.2.2024\t2.345\n",
    "thousands beside whole numbers, tabs": "d\ta\nx\t1.234\ny\t999\nz\t12.345\n",
    "thousands beside whole numbers": "a\n1.234\n942\n2.345\n",
    "one column or two": "Länge, cm\n13,15\n12,78\n",
    "one column or two, thousands": "a b\n1 234\n2 345\n",
}


@pytest.mark.parametrize("what", TWO)
def test_two_readings_are_refused_with_the_options_that_choose(what: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", TWO[what])
    told = refusal(path)
    assert "can be read in two ways" in told
    results = []
    for way in told.rpartition("Choose: ")[2].split(", or "):
        words = way.split()
        chosen = dict(zip((w.removeprefix("--") for w in words[::2]), words[1::2], strict=True))
        results.append(read_columns(path, None, None, Options(**chosen)).values)  # type: ignore[arg-type]
    assert results[0].shape != results[1].shape or (results[0] != results[1]).any()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = "Größe in mm;b\n" + "".join(f"{i},5;{i * i}\n" for i in range(300))
    table = read_columns(saved(tmp_path / "x.csv", text.encode(encoding)))
    assert table.names == ("Größe in mm", "b")
    assert table.values[-1].tolist() == [299.5, 299**2]
    assert ("not UTF-8" in " ".join(table.warnings)) == (encoding in ("latin-1", "cp1252"))


def test_a_unit_is_told_and_what_lacks_it_is_text(tmp_path: Path) -> None:
    rows = "".join(f"{i},5 %\n" for i in range(9))
    table = read_columns(saved(tmp_path / "x.csv", "anteil\n" + rows))
    assert "the numbers of column 'anteil' are written with '%', which is left out" in table.warnings
    assert "'0,05 without %' in row 10" in refusal(saved(tmp_path / "y.csv", f"anteil\n{rows}0,05\n{rows}"))
    total = read_columns(
        saved(tmp_path / "z.csv", f"ort;anteil\n{''.join(f'x;{row}' for row in rows.splitlines(True))}Summe;40,5 %\n")
    )
    assert total.rows == 9
    assert "40,5 % is the sum of column 'anteil'" in " ".join(total.warnings)


def test_numbers_of_two_writings_are_said(tmp_path: Path) -> None:
    for rows, words in (
        ("1.5\n2.5\n3,5\n7.25\n", ("'3,5' in row 3", "same marks of decimals and thousands")),
        ("5 kg\n6 kg\n7 lb\n8 kg\n", ("'7 lb' in row 3", "same unit, or none")),
    ):
        told = refusal(saved(tmp_path / "x.csv", f"a\n{rows}"), None, Options(sep="none"))
        assert all(word in told for word in words), told
    either = saved(tmp_path / "y.csv", "x;y\n1.5;15,16\n2.25;3,5\n7;1,25\n")
    assert "'y' begins with 15.16; or separator semicolon, decimal point: 2 columns, 'x' begins with 1.5" in refusal(
        either
    )
    sheet = workbook(tmp_path / "y.xlsx", a=[["x", "y"], ["1.5", "15,16"], ["2.25", "3,5"]])
    assert "two ways" in refusal(sheet)
    table = read_columns(either, None, None, Options(decimal="."))
    assert table.reading["left_out"][0]["why"] == "text ('15,16' in row 1)"


def test_a_row_too_wide_is_no_head_of_a_table(tmp_path: Path) -> None:
    for text in ("name,x\nA,1\nB,2\nC,alt,note\nD,3\n", "a,b\n1,2\n3,4\nx,y,z\n5,6\n", "a,b\nx,y,1\nu,v,2\n"):
        assert "3 fields and the line of names has 2" in refusal(saved(tmp_path / "x.csv", text))


def test_a_first_row_that_blanks_divide_is_no_line_of_names(tmp_path: Path) -> None:
    """A number has another unit, and is text; divided at the blanks, the first row would be names."""
    told = refusal(saved(tmp_path / "x.csv", "x\n1,5 kg\n200 g\n2,5 kg\n3 kg\n"))
    assert "column 'x' of" in told
    assert "'200 g' in row 2" in told


#: Files without a line of names, and the numbers that stand where it should be.
NAMELESS = {
    "dates": ("2024-01-01,31.8\n2024-01-02,29.7\n2024-01-03,42.5\n", "31.8"),
    "labels": ("a\t31.8\t7\nb\t29.7\t3\na\t42.5\t9\n", "31.8, 7"),
    "times": ("00:15;31,8\n01:15;29,7\n02:15;42,5\n", "31,8"),
    "whole numbers": ("Rome,15\nOslo,12\nBonn,19\nRome,14\n", "15"),
    "a missing value": ("NA,3.5\n4,2.5\n5,7\n", "3.5"),
    "units": ("a;3,5 kg\nb;2,5 kg\nc;7,5 kg\n", "3,5 kg"),
}

#: Files whose names are numbers, which no values below are like.
NUMBERED = {
    "years": "region,2019,2020\nr,31.8,3043\ns,29.7,942\nt,12.5,1500\n",
    "years among such numbers": "region,2019,2020\nr,1800,3043\ns,2970,942\nt,1250,1500\n",
    "classes": "site,0,10,20\na,3,5,40\nb,15,17,3\nc,4,60,7\n",
    "questions": "id,1.1,1.2\na,3,1\nb,1,2\nc,5,2\n",
    "distances": "runner,5 km,10 km\na,17.5,40.5\nb,4.5,45\nc,20,39\n",
}


@pytest.mark.parametrize("what", NAMELESS)
def test_a_first_row_of_values_is_no_line_of_names(what: str, tmp_path: Path) -> None:
    text, numbers = NAMELESS[what]
    assert f"holds numbers ({numbers}) where the names" in refusal(saved(tmp_path / "x.csv", text))


@pytest.mark.parametrize("what", NUMBERED)
def test_numbers_may_be_names(what: str, tmp_path: Path) -> None:
    assert read_columns(saved(tmp_path / "x.csv", NUMBERED[what])).rows == 3


def test_one_column_of_text_is_not_divided_at_its_blanks(tmp_path: Path) -> None:
    for cells in (
        ["15 h 0 min", "7 h 45 min", "9 h 5 min"],
        ["5 ft 3 in", "6 ft 0 in", "5 ft 11 in"],
        ["1 Jan 2000", "2 Jan 2001", "3 Feb 1999"],
    ):
        told = refusal(saved(tmp_path / "x.txt", "\n".join(["x", *cells])))
        assert f"x holds text ({cells[0]!r} in row 1)" in told


def test_notes_below_a_table_are_no_table(tmp_path: Path) -> None:
    def text(rows: int, notes: int) -> str:
        body = "".join(f"{i * i % 7}.5,{i * i % 13}\n" for i in range(1, rows + 1))
        return f"x,y\n{body}" + "".join(f"note {i}\n" for i in range(notes))

    table = read_columns(saved(tmp_path / "x.csv", text(20, 20)))
    assert (table.names, table.rows) == (("x", "y"), 20)
    (told,) = table.warnings
    assert told.startswith(
        "20 rows at the end are left out as no observations, from row 21 (line 22: note 0) on: 1 field"
    )
    assert "line 7 of" in refusal(saved(tmp_path / "y.csv", text(5, 300)))  # which may be the table


def test_what_is_said_of_a_row_stands_on_one_line_and_a_tag_is_no_summary(tmp_path: Path) -> None:
    (told,) = read_columns(saved(tmp_path / "x.csv", 'a,b\n1,2\n3,5\n"see\nbelow"\n')).warnings
    assert "line 5: see below" in told
    (told,) = read_columns(saved(tmp_path / "y.csv", "tag,x\nm1,2\nn2,5\nn3,7\n")).warnings
    assert told.startswith("columns that hold no numbers left out: tag")


def test_lines_above_a_table_are_no_table(tmp_path: Path) -> None:
    head = "Station Berlin\nHeight 34\nLat 52\n"
    for rows in (3, 60):
        body = "".join(f"{i * i % 7};{i},5\n" for i in range(1, rows + 1))
        table = read_columns(saved(tmp_path / "x.csv", f"{head}day;temp\n{body}"))
        assert (table.names[-1], table.rows) == ("temp", rows)
    told = refusal(saved(tmp_path / "y.csv", f"{head}day;temp\n{body}3;4;5\n{body}"))
    assert "line 65 of" in told


STRAY = {
    "never closed": ("city,pop\n" + "a,1\n" * 3 + '"b,2\n' + "c,3\n" * 30, "line 5"),
    "never closed in the last line": ('city,pop\na,1\nb,2\n"c,3\n', "line 4"),
    "a mark alone at the end": ('city,pop\na,1\nb,2\n"', "line 4"),
    "two far apart": ("city;pop\n" + "a;1,5\n" * 3 + '"b;2\n' + "c;3\n" * 30 + 'd";4\n' + "e;5\n" * 30, "line 5"),
    "two in neighbouring rows": ('city,pop\na,1\n"b,2\nc",3\nd,4\n', "line 3"),
    "ditto marks": ('city,pop\na,1\n",2\n",3\nd,4\n', "line 3"),
    "one column": ('x\n1.5\n"2.5\n3.5\n4.5"\n5.5\n', "line 3"),
    "the line of names": ('"city,pop\na,1\nb,2\nc",3\nd,4\n', "line 1"),
    "blanks": ('city pop\na 1\n"b 2\nc 3\nd" 4\ne 5\n', "line 3"),
}


@pytest.mark.parametrize("what", STRAY)
def test_a_stray_quotation_mark_swallows_no_rows(what: str, tmp_path: Path) -> None:
    text, line = STRAY[what]
    told = refusal(saved(tmp_path / "x.csv", text))
    assert f"from {line} on: a quotation mark" in told
    assert "close it or take it out" in told


def test_fields_of_several_lines_are_fields(tmp_path: Path) -> None:
    for field in ("lives in Rome, 3\nor 4, maybe", "1, 2\n3, 4, 5", "\n", "a\n5", "1, a\nb"):
        table = read_columns(saved(tmp_path / "x.csv", f'note,x\n"{field}",1.5\nb,2.5\n"{field}",7\n'))
        assert table.values[:, 0].tolist() == [1.5, 2.5, 7]


@pytest.mark.parametrize("first", ["<0.05", "12.5*", "5 kg", "~3"])
def test_a_first_value_that_is_no_number_is_no_unit(first: str, tmp_path: Path) -> None:
    told = refusal(saved(tmp_path / "x.csv", f"a\n{first}\n1.5\n2.5\n4\n"))
    assert f"{first!r} in row 1" in told
    blood = read_columns(saved(tmp_path / "y.csv", "a,b\n10^9/L,10^12/L\n1.5,2\n2.5,4\n"))
    assert "(10^9/L, 10^12/L) and is taken for units" in blood.warnings[0]


#: A first row with text where the others have numbers: what is said of it unless it is a row of units.
FIRST_ROWS = {
    "a word": (
        "a\nhigh\n1.5\n2.5\n4\n",
        "say --na 'high' if it means a missing value or a unit, or --skip 1 if it is the line of names",
    ),
    "words": ("name,a,b\nBob,error,none yet\nx,1.5,2\ny,2.5,4\n", "say --na 'error' --na 'none yet' if it means"),
    "a title above the name": ("Exported by me\nv\n1.5\n2.5\n", "or --skip 1 if it is the line of names"),
    "a second row of words": (
        "t,a\ns,m\nraw,mean\n0.5,2\n3,4\n",
        "say --na 'mean' --na 'raw' if it means a missing value or a unit, or --skip 2",
    ),
    "not detected": ("patient,a,b\nA1,ND,ND\nA2,1.5,2\nA3,2.5,4\n", "'ND' in row 1; a value below or above a limit"),
    "a day": ("day,a\n2024-01-01,m\n2024-01-02,1.5\n2024-01-03,2.5\n", "say --na 'm'"),
    "a letter that is a unit": ("name,a,b\nBob,ND,H\nP1,1.5,2\nP2,2.5,4\n", "'ND' in row 1"),
    "two signs": ("a\n--1.5\n1.5\n2.5\n", "'--1.5' in row 1"),
    "limits": ("a,b\n<0.5,<2\n1.5,2\n2.5,4\n", "'<0.5' in row 1"),
}


@pytest.mark.parametrize("what", FIRST_ROWS)
def test_a_first_row_that_is_no_row_of_units_is_not_left_out(what: str, tmp_path: Path) -> None:
    text, words = FIRST_ROWS[what]
    assert words in refusal(saved(tmp_path / "x.csv", text))


def test_the_remedies_for_a_first_row_of_words_hold(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", "a\nhigh\n1.5\n2.5\n4\n")
    assert read_columns(path, None, None, Options(na=("high",))).values[:, 0].tolist() == [1.5, 2.5, 4]
    assert read_columns(path, None, None, Options(skip=1)).names == ("high",)


@pytest.mark.parametrize(
    "units",
    ["m/s,kPa", "[s],(°C)", "mg/dL,10³/µl", "Mio. EUR,%", "W m⁻²,counts", "-,kg", "in 1000,Personen"],
)
def test_a_row_of_units_is_left_out_and_said(units: str, tmp_path: Path) -> None:
    table = read_columns(saved(tmp_path / "x.csv", f"site,a,b\nname,{units}\nRome,1.5,2\nOslo,2.5,4\n"))
    assert table.values.tolist() == [[1.5, 2], [2.5, 4]]
    assert table.warnings[0].endswith("and is taken for units")


def test_a_row_of_widths_is_left_out_and_said(tmp_path: Path) -> None:
    text = "# USGS\nagency_cd\tsite_no\tflow\theight\n5s\t15s\t14n\t14n\nUSGS\t01646500\t5200\t3.2\nUSGS\t01646500\t6100\t3.9\n"
    table = read_columns(saved(tmp_path / "x.txt", text))
    assert table.values.tolist() == [[5200, 3.2], [6100, 3.9]]
    assert "the line after the names holds no numbers (15s, 14n, 14n) and is taken for units" in table.warnings


def test_signs_of_accountants_are_said(tmp_path: Path) -> None:
    for cells, first, x in (
        ("(1)\n(2)\n(3)\n", "'(1)' in row 1", [-1, -2, -3]),
        ("5\n7.5-\n9\n", "'7.5-' in row 2", [5, -7.5, 9]),
        ('"$1,234.50"\n$(200.00)\n-$17.00\n$ (2.25)\n', "'$(200.00)' in row 2", [1234.5, -200, -17, -2.25]),
    ):
        table = read_columns(saved(tmp_path / "x.csv", f"a\n{cells}"))
        assert table.values[:, 0].tolist() == x
        assert f"{first} of column 'a' is read as a number below zero, as are others like it" in table.warnings


def test_a_dash_beside_a_currency_is_no_value_and_no_name(tmp_path: Path) -> None:
    table = read_columns(saved(tmp_path / "x.csv", "a\n$ -\n$ 5.00\n$ (2.50)\n$ 7.25\n $ -   \n"))
    assert (table.names, table.values[:, 0].tolist()) == (("a",), [5, -2.5, 7.25])
    assert table.reading["columns"][0]["missing_marks"] == "2 '-'"


def test_printed_tables(tmp_path: Path) -> None:
    for text in (
        " a   | b\n-----+---\n 1.5 | 2\n 3.5 | 4\n 5   | 7\n",
        "+-----+---+\n| a   | b |\n+-----+---+\n| 1.5 | 2 |\n| 3.5 | 4 |\n| 5   | 7 |\n+-----+---+\n",
        "| a | b |\n|:--|--:|\n| 1.5 | 2 |\n| 3.5 | 4 |\n| 5 | 7 |\n",
    ):
        table = read_columns(saved(tmp_path / "x.txt", text))
        assert (table.names, table.values.tolist(), table.warnings) == (("a", "b"), [[1.5, 2], [3.5, 4], [5, 7]], ())


def test_numbers_beyond_the_floats(tmp_path: Path) -> None:
    plain = Marks(".", "")
    assert number_of("7E412", plain) == (np.inf, np.inf)
    assert number_of("-1.5e-999", plain) == (0.0, 0.0)
    assert number_of("1e" + "9" * 5000, plain) == (np.inf, np.inf)
    assert read_columns(saved(tmp_path / "x.csv", "v,7E412\n1,2\n2,5\n4,8\n")).names == ("v", "7E412")


def test_marks_without_width_and_letters_that_look_alike(tmp_path: Path) -> None:
    table = read_columns(saved(tmp_path / "x.csv", "a;b\n1.5\u200b;2 \u03bcg\n\u200e2.5;4 \u00b5g\n4;5 \u03bcg\n"))
    assert table.values.tolist() == [[1.5, 2], [2.5, 4], [4, 5]]


def test_subtotals_are_pointed_out(tmp_path: Path) -> None:
    for word in ("Zwischensumme Nord", "Total A", "Gesamt", "total"):
        text = f"Ort;x\nA;1,5\nB;2,5\n{word};4,0\nC;3,5\n"
        (told, _) = read_columns(saved(tmp_path / "x.csv", text)).warnings
        assert told.startswith(f"row 3 ({word}) looks like a total of others: it is kept")
    (told,) = read_columns(saved(tmp_path / "y.csv", "Ort;x\nA;1,5\nSummerau;2,5\nTotality;4,0\nC;3,5\n")).warnings
    assert "total of others" not in told


@pytest.mark.parametrize("written", ["-9999", "-9999.0"])
def test_a_code_for_missing_values_is_pointed_out(written: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", "a\n1.5\n2.5\n" + f"{written}\n" * 2 + "4.5\n7.5\n")
    (told,) = read_columns(path).warnings
    assert "'a' has -9999 in 2 rows, unlike all others: if that means a missing value, say --na -9999" in told
    table = read_columns(path, None, None, Options(na=("-9999",)))
    assert table.values[:, 0].tolist() == [1.5, 2.5, 4.5, 7.5]
    summed = saved(tmp_path / "z.csv", f"n;a\na;1.5 €\nb;2.5 €\nc;{written} €\nd;4.5 €\ne;7.5 €\nSumme;16.0 €\n")
    assert "16.0 € is the sum of column 'a'" in " ".join(read_columns(summed).warnings)
    without = read_columns(summed, None, None, Options(na=(f"{written} €",)))
    assert without.values[:, 0].tolist() == [1.5, 2.5, 4.5, 7.5]
    assert not read_columns(saved(tmp_path / "y.csv", "a\n-99\n-40\n60\n22\n")).warnings


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1990", "1991", "1992", "1993"], "counts the rows"),
        (["0.0", "0.5", "1.0", "1.5"], "goes in equal steps"),
        (["20231230", "20231231", "20240101", "20240107"], "holds dates and is left out"),
        (["3", "1", "4", "2"], None),
    ],
)
def test_columns_that_are_no_measurements_are_pointed_out(cells: list[str], words: str | None, tmp_path: Path) -> None:
    text = "t,a\n" + "".join(f"{t},{a}\n" for t, a in zip(cells, ("1.5", "0.2", "7.1", "2.2"), strict=True))
    told = read_columns(saved(tmp_path / "x.csv", text)).warnings
    assert told == () if words is None else words in told[0]


def test_a_value_below_a_limit_is_neither_number_nor_missing(tmp_path: Path) -> None:
    told = refusal(saved(tmp_path / "x.csv", "a\n1.5\n<0.05\n2.5\n"))
    assert "'<0.05' in row 2" in told
    assert "below or above a limit" in told
    assert "--na" not in told
    assert "below or above a limit" in refusal(saved(tmp_path / "x.csv", "a\n≤0.05\n1.5\n2.5\n"))
    for word in ("ND", "bdl", "n.d."):  # or nothing was measured
        told = refusal(saved(tmp_path / "x.csv", f"a\n1.5\n{word}\n2.5\n"))
        assert "below or above a limit" in told
        assert f"say --na {word!r} if it means that nothing was measured" in told


def test_missing_marks_and_skipped_lines(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", "made,by\na,b\n1,2\n-999,3\nNA,4\n5,\n7,8\n9,-999\n")
    table = read_columns(path, None, None, Options(skip=1, na=("-999",)))
    assert table.values.tolist() == [[1, 2], [7, 8]]
    marks = {c["name"]: c["missing_marks"] for c in table.reading["columns"]}
    assert marks == {"a": "1 '-999', 1 'NA'", "b": "1 blank, 1 '-999'"}
    assert "(a, b) and is taken for units" in " ".join(read_columns(path).warnings)


# --- rows that are no observations -----------------------------------------------------------------------------------

AMOUNTS = ("1.834,5", "12.345,5", "320,0", "99,5", "1.000,5")  # in all 15.600, mean 3.120
BODY = "".join(f"Ort {i};{v};{i},5\n" for i, v in enumerate(AMOUNTS))
BARE = "".join(f"{v}\n" for v in AMOUNTS)
TWO_COLUMNS = "".join(f"{v};{i},5\n" for i, v in enumerate(AMOUNTS))

#: A file of a comma country with rows at its end that are no observations, and what is said of them.
FOOTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a shorter row": (f"Ort;Betrag;y\n{BODY}Summe;15.600,0\n", ("row 6 (line 7: Summe, 15.600,0)", "2 fields where the table has 3")),
    "the sum": (f"Ort;Betrag;y\n{BODY}Summe;15.600,0;\n", ("15.600,0 is the sum of column 'Betrag'",)),
    "the sum after an empty row": (f"Ort;Betrag;y\n{BODY};;\nGesamt:;15.600,0;12,5\n;;\n", ("is the sum of column 'Betrag'",)),
    "the mean, rounded": (f"Ort;Betrag;y\n{BODY}Mittelwert;3.120;2,5\n", ("3.120 is the mean of column 'Betrag'",)),
    "several": (
        f"Ort;Betrag;y\n{BODY}Mittelwert;3.120,0;2,5\nMax;12.345,5;4,5\nAnzahl;5;5\n",
        ("row 6 (line 7", "row 7 (line 8", "12.345,5 is the largest value", "row 8 (line 9", "5 is the number of values"),
    ),
    "a word in a column of numbers": (f"Betrag;y\n{TWO_COLUMNS}Summe;12,5\n", ("row 6", "12,5 is the sum of column 'y'")),
    "a note in a column of numbers": (f"Betrag;y\n{TWO_COLUMNS}Quelle: Amt;\n", ("Quelle: Amt", "text in a column of numbers")),
    "a note of another width": (f"Betrag;y\n{TWO_COLUMNS}\nQuelle: Amt, 2023\n", ("Quelle: Amt, 2023", "1 field where")),
    "one column and a word": (f"Betrag\n{BARE}Summe\n", ("row 6 (line 7: Summe)",)),
    "one column and a total in the next line": (f"Betrag\n{BARE}Summe\n15.600,0\n", ("row 7", "15.600,0 is the sum")),
    "one column and a total in a second": (f"Betrag\n{BARE}Summe;15.600,0\n", ("Summe;15.600,0",)),
    "units above, a mean below": (f"Ort;Betrag;y\n;EUR;cm\n{BODY}Mittelwert;3.120,0;2,5\n", ("units", "EUR, cm", "row 6 (line 8")),
}  # fmt: skip


@pytest.mark.parametrize("what", FOOTERS)
def test_totals_and_notes_at_the_end_are_left_out_and_said(what: str, tmp_path: Path) -> None:
    text, words = FOOTERS[what]
    table = read_columns(saved(tmp_path / "x.csv", text))
    amounts = table.values[:, table.names.index("Betrag")]
    np.testing.assert_array_equal(amounts, [1834.5, 12345.5, 320, 99.5, 1000.5])
    assert table.rows == 5
    for word in words:
        assert word in " ".join(table.warnings), table.warnings


def test_what_may_be_an_observation_is_kept(tmp_path: Path) -> None:
    body = "a,3\nb,5\nc,9\n"
    wrong = read_columns(saved(tmp_path / "x.csv", f"name,x\n{body}Total,28\n"))
    assert wrong.values[:, 0].tolist() == [3, 5, 9, 28]
    assert "begins with a word for the sum of a column, but its numbers are not that: it is kept" in " ".join(
        wrong.warnings
    )
    within = read_columns(saved(tmp_path / "y.csv", "name,x\na,3\nb,5\nTotal,8\nc,9\n"))  # a name, since rows follow
    assert within.values[:, 0].tolist() == [3, 5, 8, 9]
    blank = read_columns(saved(tmp_path / "z.csv", "name,x\na,3\nb,5\n,\nTotal,8\n,\nc,9\n"))
    assert blank.values[:, 0].tolist() == [3, 5, 8, 9]
    assert blank.rows == 6
    town = read_columns(saved(tmp_path / "t.csv", "name,x\na,3\nb,5\nc,\n"))  # a row that lacks its value
    assert town.rows == 3
    for row in ("d,3,4", "3"):  # a row that is broken off is no note
        assert "the line of names has 2" in refusal(saved(tmp_path / "w.csv", f"name,x\n{body}{row}\n"))


@pytest.mark.parametrize("where", ["last", "first"])
def test_a_total_without_a_word_is_pointed_out(where: str, tmp_path: Path) -> None:
    rows = ["1.5", "2.25", "4", "7.75"] if where == "last" else ["7.75", "1.5", "2.25", "4"]
    table = read_columns(saved(tmp_path / "x.csv", "a\n" + "\n".join(rows)))
    assert len(table.values) == 4
    assert f"the {where} row of column 'a' (7.75) is the sum of all the others" in " ".join(table.warnings)
    assert not read_columns(saved(tmp_path / "y.csv", "a\n1.5\n2.25\n4\n7.5\n")).warnings


def test_text_among_numbers_is_named_by_cell_in_the_writing_of_the_file(tmp_path: Path) -> None:
    rows = "".join(f"{i},5;1.{100 + i},5\n" for i in range(20))
    path = saved(tmp_path / "x.csv", f"a;b\n{rows}7,5;krank\n8,5;alt\n{rows}")
    assert "'b' of " in (told := refusal(path))
    assert "'krank' in row 21, 'alt' in row 22" in told
    found = read_columns(path, ["a"])
    assert "text among its numbers ('krank' in row 21" in found.reading["left_out"][0]["why"]
    assert read_columns(path, None, None, Options(na=("krank", "alt"))).values.shape == (40, 2)
    # A row of units is no row of the table.
    assert "'krank' in row 21" in refusal(saved(tmp_path / "y.csv", f"a;b\ncm;EUR\n{rows}7,5;krank\n{rows}"))


WRONG_OPTIONS = [
    (Options, {"skip": -1}, "--skip is -1"),
    (Options, {"decimal": ";"}, r"--decimal is ';'; give one of: \. \(point\), , \(comma\)$"),
    (Options, {"decimal": ",", "thousands": ","}, "give two marks"),
    (Options, {"sep": "ab"}, "--sep is 'ab'"),
    (Options, {"thousands": "x"}, "--thousands is 'x'"),
]


@pytest.mark.parametrize(("make", "values", "words"), WRONG_OPTIONS)
def test_wrong_options(make: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(**values)


def test_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.csv", "a,w\n1,2\n2,1\n3,\n4,0.5\n")
    table = read_columns(path, None, None, Options(weights="w"))
    assert (table.names, table.values[:, 0].tolist()) == (("a",), [1, 2, 4])
    assert table.weights is not None
    assert table.weights.tolist() == [2, 1, 0.5]
    assert table.reading["weights"] == "w"
    for rows, words in (
        ("1,-2\n2,1\n3,1\n", "weight -2"),
        ("1,0\n2,0\n3,0\n", "0 weights above zero"),
        ("1,x\n2,y\n3,z\n", "not numbers"),
    ):
        assert words in refusal(saved(tmp_path / "y.csv", "a,w\n" + rows), None, Options(weights="w"))
    assert "'w' is named in --columns and in --weights" in refusal(path, ["w"], Options(weights="w"))
    assert "unknown column 'v'" in refusal(path, None, Options(weights="v"))


# --- sheets ----------------------------------------------------------------------------------------------------------


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


ROWS = [["Stadt", "km/h", "n"], ["Rom", 1.5, 2], ["Oslo", 3.25, 4], ["Bonn", None, 7]]


def test_sheets(tmp_path: Path) -> None:
    table = read_columns(workbook(tmp_path / "x.xlsx", Daten=[["Bericht"], [], *ROWS]))
    assert (table.names, table.values.tolist(), table.rows) == (("km/h", "n"), [[1.5, 2], [3.25, 4]], 3)
    assert table.reading["sheet"] == "Daten"
    total = read_columns(workbook(tmp_path / "t.xlsx", a=[*ROWS, [], ["Summe", 4.75, 13]]))
    assert (total.rows, total.values.tolist()) == (3, [[1.5, 2], [3.25, 4]])
    assert "4.75 is the sum of column 'km/h'" in " ".join(total.warnings)
    day = dt.date(2024, 1, 2)
    both = workbook(tmp_path / "y.xlsx", eins=ROWS, zwei=[["d", "a"], [day, 7], [day, 8.5]])
    assert "2 sheets (eins, zwei); choose one with --sheet" in refusal(both)
    for name in ("zwei", "2"):
        assert read_columns(both, None, None, Options(sheet=name)).values.tolist() == [[7], [8.5]]
    assert "unknown sheet 'zwo'" in refusal(both, None, Options(sheet="zwo"))
    one = workbook(tmp_path / "z.xlsx", a=[["länge"], [1], [2.5], [4]])
    assert read_columns(one).values.tolist() == [[1], [2.5], [4]]
    assert "is empty" in refusal(workbook(tmp_path / "e.xlsx", a=[]))


def test_numbers_that_a_workbook_has_as_text_are_read_beside_its_numbers(tmp_path: Path) -> None:
    rows = [["a", "b"], ["1.234,5", 2.25], ["7,25", 3], ["2.000.000,5", 1e-3], ["-3", 4.5]]
    table = read_columns(workbook(tmp_path / "x.xlsx", eins=rows))
    np.testing.assert_array_equal(table.values, [[1234.5, 2.25], [7.25, 3], [2000000.5, 1e-3], [-3, 4.5]])
    assert (table.reading["decimal"], table.reading["thousands"]) == (",", ".")
    either = [["a", "b"], *([f"{k},{100 + k}", k + 0.5] for k in range(1, 9))]
    assert "two ways" in refusal(workbook(tmp_path / "y.xlsx", eins=either))
    plain = [["name", "b"], *([f"flat {k}, {k},{k}", k + 0.5] for k in range(1, 9))]
    table = read_columns(workbook(tmp_path / "z.xlsx", eins=plain))
    assert (table.names, table.reading["decimal"]) == (("b",), ".")


@pytest.mark.parametrize("rows", [6, 120])
def test_one_column_anywhere_in_a_sheet(rows: int, tmp_path: Path) -> None:
    x = [1.5 + k * k % 7 for k in range(rows)]
    corner = workbook(tmp_path / "x.xlsx", a=[["v"], *([v] for v in x)])
    within = workbook(
        tmp_path / "y.xlsx", a=[[], [], [None, None, "v"], *([None, None, v] for v in x), [], [None, "Summe", sum(x)]]
    )
    for path in (corner, within):
        table = read_columns(path)
        assert (table.names, table.values[:rows, 0].tolist()) == (("v",), x)
    titled = workbook(tmp_path / "z.xlsx", a=[["Report"], [], ["of us"], ["v"], *([v] for v in x)])
    assert "or --skip 3 if it is the line of names" in refusal(titled)
    assert read_columns(titled, None, None, Options(skip=3)).names == ("v",)
    noted = workbook(tmp_path / "w.xlsx", a=[["v"], [x[0], None, "see below"], *([v] for v in x[1:])])
    assert read_columns(noted).warnings == ("the few cells beside the only column are left out",)


def test_what_a_workbook_hides_is_said(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    path = workbook(tmp_path / "x.xlsx", a=ROWS, b=[])
    book = openpyxl.load_workbook(path)
    sheet = book["a"]
    for row in (3, 4, 90):  # the last holds nothing
        sheet.row_dimensions[row].hidden = True
    for column in "BZ":  # the second is none of the table
        sheet.column_dimensions[column].hidden = True
    book.save(path)
    (told, *_) = read_columns(path).warnings
    assert told == "hidden in the workbook, and read like all others: 2 rows and 1 column"
    sheet.sheet_state, book.active = "hidden", 1
    book.save(path)
    assert read_columns(path).warnings[0].endswith("2 rows and 1 column and the sheet itself")


def test_text_of_a_workbook_that_may_be_thousands_is_asked(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", a=[["a", "b"], ["15.160", 25.75], ["3.120", 123456.5], ["1.020", 3]])
    assert "two ways" in refusal(path)
    table = read_columns(path, None, None, Options(thousands="."))
    np.testing.assert_array_equal(table.values, [[15160, 25.75], [3120, 123456.5], [1020, 3]])


def test_numbers_of_a_workbook_beside_text_that_may_be_thousands(tmp_path: Path) -> None:
    told = refusal(workbook(tmp_path / "x.xlsx", a=[["a"], [12345], ["1.234"], [23456]]))
    assert (
        "decimal point: 1 column, 'a' has in row 2 1.234; or decimal comma, thousands point: 1 column, 'a' has in row 2 1234"
        in told
    )


def test_three_decimals_in_one_column_are_asked_or_said(tmp_path: Path) -> None:
    for first in ("1.234", "0"):
        short, uneven = f"a\n{first}\n2.345\n9.876\n", f"a\n{first}\n2.345\n99.876\n"
        for text, told in ((short, False), (uneven, True), (uneven + "-1.000\n", False)):
            table = read_columns(saved(tmp_path / "x.csv", text))
            assert table.values[1] == 2.345
            assert ("--thousands point" in " ".join(table.warnings)) == told
        for name, text in (("x.txt", short), ("x.tsv", short), ("y.txt", uneven), ("y.tsv", uneven)):
            assert "two ways" in refusal(saved(tmp_path / name, text))
    for other in ("0.345", "12.3", "1234.567", "-0.120"):
        for name in ("y.csv", "y.txt", "y.tsv"):
            table = read_columns(saved(tmp_path / name, f"a\n1.234\n{other}\n99.876\n"))
            assert table.values.ravel().tolist() == [1.234, float(other), 99.876]
            assert not table.warnings


def test_three_decimals_between_commas_are_read(tmp_path: Path) -> None:
    table = read_columns(saved(tmp_path / "z.csv", "b,a\n1.25,1.234\n7.5,2.345\n3.5,99.876\n"))
    assert table.values[:, 1].tolist() == [1.234, 2.345, 99.876]
    assert not table.warnings


def test_names_in_two_lines_are_asked_for_in_one(tmp_path: Path) -> None:
    rows = [["site", "2023", None], [None, "x", "y"], ["a", 1.5, 2], ["b", 3.25, 4], ["c", 7, 9]]
    told = refusal(path := workbook(tmp_path / "x.xlsx", a=rows))
    for words in ("names in two lines", "below line 1 (site, 2023)", "stands y", "--skip 1"):
        assert words in told
    assert read_columns(path, None, None, Options(skip=1)).names == ("x", "y")
    text = saved(tmp_path / "x.csv", "site,2023,\n,x,y\na,1.5,2\nb,3.25,4\n")
    assert "names in two lines" in refusal(text)


def test_a_formula_without_its_value_is_no_missing_value(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", a=[["x", "y"], [1, 2.5], [2, 3.5], [4, 5.5], ["=SUM(A2:A4)", 11.5]])
    assert "cell A5 of sheet 'a'" in (told := refusal(path, ["y"]))
    assert "holds a formula (=SUM(A2:A4)) without its value" in told


def test_workbooks_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500
    assert "password" in refusal(saved(tmp_path / "p.xlsx", ole + "EncryptedPackage".encode("utf-16-le")))
    assert "old Office file" in refusal(saved(tmp_path / "o.xls", ole))
    path = workbook(tmp_path / "x.xlsx", a=ROWS)
    assert "not what its name says" in refusal(saved(tmp_path / "x.npz", path.read_bytes()))
    assert "damaged" in refusal(saved(tmp_path / "d.xlsx", path.read_bytes()[:400]))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "uv sync --extra excel" in refusal(path)


def test_feather(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    feather = pytest.importorskip("pyarrow.feather")
    x = np.random.default_rng(0).normal(size=50)
    feather.write_feather(pa.table({"a::b": x, "c": ["t"] * 50}), tmp_path / "x.feather")
    table = read_columns(tmp_path / "x.feather")
    assert table.names == ("a::b",)
    np.testing.assert_array_equal(table.values[:, 0], x)
    assert "damaged" in refusal(saved(tmp_path / "d.feather", (tmp_path / "x.feather").read_bytes()[:-9]))


def test_a_sheet_of_what_has_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n2\n")
    with pytest.raises(InputError, match=r"--sheet 2: a\.csv is .*no sheets"):
        read_columns(path, options=Options(sheet="2"))


def test_an_error_of_a_spreadsheet_is_a_missing_value_and_no_comment(tmp_path: Path) -> None:
    cells = ["1.5", "#N/A", "2.5", "#NAME?", "4", "#DIV/0!", "5.25", "7"]
    table = read_columns(saved(tmp_path / "x.csv", "\n".join(["# of a logger", "x", *cells]) + "\n"))
    assert table.values.ravel().tolist() == [1.5, 2.5, 4, 5.25, 7]
    assert table.rows == 8
    assert any("1 line of comment" in note for note in table.reading["notes"])
