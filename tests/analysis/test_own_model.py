"""Your own model: what the command takes, refuses and writes; the contract of its JSON; that what is saved is ArviZ's and PyMC's to use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr

from analysis.command import main as cli
from analysis.drawing.style import Style
from analysis.own_model import page
from analysis.own_model.figures import spikes
from analysis.own_model.findings import astray, findings, optima_rows, told, written_moments
from analysis.own_model.loading import load_model, parse_place
from analysis.own_model.study import analyse
from analysis.own_model.summary import summary
from analysis.site.chapter import words_of
from models.errors import InputError
from models.results import load
from tests.analysis.drawn import check_drawings, check_pages

Run = Callable[..., tuple[int, str, str]]

GRADES = {"adequate", "too narrow", "missed mode", "label switching", "flat direction", "improper", "cannot tell"}

#: A file as a user has it: it prints, has a sibling, a location with two modes, and everything that can be wrong.
FILE = """
import numpy as np
import pymc as pm
from sibling import Y
print("at import")

def cauchy():
    print("building")
    with pm.Model(coords={"site": ["north_1"]}) as model:
        x = pm.Normal("x", 0, 100, dims="site")
        pm.Deterministic("shifted", x + 10, dims="site")
        pm.Cauchy("y", x[0], 1, observed=Y)
    return model

def open_sum():
    with pm.Model() as model:
        pm.Normal("y", pm.Flat("a") + pm.Flat("b"), 1, observed=[1.0, 2.0])
    return model

def discrete():
    with pm.Model() as model:
        pm.Normal("y", pm.Poisson("count", 3), 1, observed=[1.0, 2.0])
    return model

def fixed():
    with pm.Model() as model:
        pm.Normal("y", 0, 1, observed=[1.0, 2.0])
    return model

def missing():
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("a"), 1, observed=np.array([1.0, np.nan]))
    return model

def missing_later():
    with pm.Model() as model:
        data = pm.Data("data", [1.0, 2.0])
        pm.Normal("y", pm.Normal("a"), 1, observed=data)
        pm.set_data({"data": np.array([1.0, np.nan])})
    return model

def fails():
    ratio = 1 / 0
    return ratio

def ends():
    raise SystemExit(3)

def needs(n, k, m=2):
    return None

def returns_text():
    return "a model"

def returns_nothing():
    cauchy()

number = 3
"""


def line(text: str) -> int:
    """Where the file has a line."""
    return [part.strip() for part in FILE.splitlines()].index(text) + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user")
    (path / "my_model.py").write_text(FILE)
    (path / "sibling.py").write_text("Y = [-8, -7.5, 8, 7.2]\n")
    (path / "broken.py").write_text("import numpy\nx = (1,\n")
    (path / "needs_more.py").write_text("import no_such_package_here\n")
    (path / "two.py").write_text(
        "import pymc as pm\nwith pm.Model() as a:\n    pm.Normal('x')\nwith pm.Model() as b:\n    pm.Normal('x')\n"
    )
    (path / "one.py").write_text("import pymc as pm\nwith pm.Model() as only:\n    pm.Normal('x')\nsame = only\n")
    (path / "usual.py").write_text(
        "import pymc as pm\ndef build():\n    with pm.Model() as m:\n        pm.Normal('x')\n    return m\ndef other():\n    pass\n"
    )
    (path / "bare.py").write_text("import pymc as pm\ndef mine():\n    pass\n")
    (path / "notes.txt").write_text("no Python\n")
    (path / "folder.py").mkdir()
    return path


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["model", *arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def duality(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(cli, "quieten", lambda: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = run_command(*arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def examined(folder: Path) -> xr.DataTree:
    """One location of a Cauchy with data at -8 and 8: three optima of reverse KL, two modes, and a grid for the truth."""
    return analyse(load_model(folder / "my_model.py", "cauchy")[1], name="my_model.py:cauchy", budget_s=60, starts=8)


# --- wrong input -----------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, tuple[str, ...]]] = {
    "no such file": ("my_modle.py:cauchy", ("file 'my_modle.py'", "did you mean my_model.py")),
    "no such folder": ("nowhere/my_model.py", ("'nowhere/my_model.py'", "no Python file in 'nowhere'")),
    "no Python file": ("notes.txt", ("'notes.txt' is no Python file", "FILE.py:FUNCTION")),
    "no such name": ("my_model.py:cauchi", ("name in my_model.py 'cauchi'", "did you mean cauchy")),
    "a name of nothing": ("sibling.py:model", ("sibling.py has no 'model'", "define one that returns a pymc.Model")),
    "does not parse": ("broken.py", ("broken.py, line 2", "SyntaxError")),
    "a module is missing": ("needs_more.py", ("needs_more.py, line 1", "no_such_package_here", "install it")),
    "the function fails": ("my_model.py:fails", (f"my_model.py, line {line('ratio = 1 / 0')}, in fails", "ZeroDivisionError")),
    "the function ends the program": ("my_model.py:ends", (f"my_model.py, line {line('raise SystemExit(3)')}, in ends", "sys.exit")),
    "needs arguments": ("my_model.py:needs", ("my_model.py:needs needs arguments (n, k)", "defaults")),
    "returns something else": ("my_model.py:returns_text", ("returned a str", "must return a pymc.Model")),
    "returns nothing": ("my_model.py:returns_nothing", ("returned None", "return model")),
    "is a number": ("my_model.py:number", ("my_model.py:number is an int", "function that returns one")),
    "two models": ("two.py", ("two.py has a and b", "two.py:a")),
    "no model": ("bare.py", ("bare.py has no PyMC model", "bare.py:mine")),
    "no free variables": ("my_model.py:fixed", ("no free variables",)),
    "discrete unknowns": ("my_model.py:discrete", ("discrete variables (count)", "marginalise")),
    "NaN among the observed": ("my_model.py:missing_later", ("1 of 2 observed values of 'y' are NaN", "imputes")),
    "a folder": ("folder.py", ("'folder.py' is a folder", "FILE.py")),
    "no time": ("my_model.py:cauchy --budget 0", ("--budget", "greater than or equal to 1")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing(
    case: str, folder: Path, duality: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(p.name for p in folder.rglob("*"))
    arguments, words = WRONG[case]
    status, out, err = duality(*arguments.split())
    said = [line for line in err.splitlines() if line not in ("at import", "building")]  # the user's own
    assert (status, out, len(said)) == (2, "", 1), (out, err)
    for word in words:
        assert word in said[0]
    assert sorted(p.name for p in folder.rglob("*")) == before
    assert str(folder) not in sys.path


def test_a_density_that_is_nowhere_finite_leaves_no_folder_behind(
    folder: Path, duality: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_args: Any, **_kwargs: Any) -> None:
        raise InputError("finite at none of 20 starts")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("analysis.own_model.study.examine", refuses)
    assert duality("my_model.py:cauchy")[0] == 2
    assert not (folder / "duality-cauchy").exists()


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_places() -> None:
    root = Path(__file__).parents[2]
    file = str(root / "tests" / "conftest.py")
    assert parse_place(file) == (Path(file), None)
    assert parse_place(f"{file}:build") == (Path(file), "build")
    with pytest.raises(InputError, match="is no Python file"):
        parse_place("build")


@pytest.mark.parametrize(("file", "name"), [("one.py", "only"), ("usual.py", "build")])
def test_without_a_name_the_only_model_is_taken(folder: Path, file: str, name: str) -> None:
    found, model = load_model(folder / file)
    assert (found, [v.name for v in model.free_RVs]) == (name, ["x"])


@pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")
def test_missing_data_that_pymc_imputes_are_taken(folder: Path) -> None:
    _, model = load_model(folder / "my_model.py", "missing")
    assert [v.name for v in model.free_RVs] == ["a", "y_unobserved"]


def test_a_file_called_like_a_package_of_ours_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("import pymc as pm\nwith pm.Model() as m:\n    pm.Normal('x')\n")
    assert load_model(tmp_path / "models.py")[0] == "m"
    import models

    assert models.__file__ == str(Path(__file__).parents[2] / "models" / "__init__.py")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models.py"]  # and no bytecode beside it


# --- the document ----------------------------------------------------------------------------------------------------


def check_document(document: dict[str, Any]) -> None:
    """Ask for the contract of DESIGN: its keys, finite numbers, and one of its grades."""
    json.dumps(document, allow_nan=False)
    assert {"starts", "optima", "reference", "missed_mass", "forward", "verdict", "seconds", "warnings"} <= set(
        document
    )
    assert {"tried", "failed"} <= set(document["starts"])
    assert set(document["verdict"]) == {"grade", "sentence"}
    assert document["verdict"]["grade"] in GRADES
    for optimum in document["optima"]:
        assert {"elbo", "elbo_se", "evidence_weight", "share_of_starts", "at_rest", "k_hat", "variables"} <= set(
            optimum
        )
        for values in optimum["variables"].values():
            assert set(values) == {"mean", "sd", "sd_linear_response"}
    elbos = [optimum["elbo"] for optimum in document["optima"]]
    assert elbos == sorted(elbos, reverse=True)
    if document["reference"] is not None:
        assert {"method", "ok", "reasons", "variables"} <= set(document["reference"])
        for optimum in document["optima"]:
            assert set(optimum["variables"]) == set(document["reference"]["variables"])


def test_document_of_a_location_with_two_modes(examined: xr.DataTree) -> None:
    document = summary(examined)
    check_document(document)
    # Quadrature of the density itself, which no code of ours has a part in.
    x = np.linspace(-60, 60, 240_001)
    log_p = -0.5 * (x / 100) ** 2 - sum(np.log1p((y - x) ** 2) for y in (-8, -7.5, 8, 7.2))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean, mass = float(p @ x), float(p[x > 0].sum())
    sd = float(np.sqrt(p @ (x - mean) ** 2))
    reference = document["reference"]
    assert (reference["method"], reference["ok"], reference["reasons"]) == ("grid", True, [])
    assert reference["variables"]["x[north_1]"]["mean"] == pytest.approx(mean, abs=0.5)
    assert reference["variables"]["x[north_1]"]["sd"] == pytest.approx(sd, rel=0.03)
    assert reference["variables"]["shifted[north_1]"]["mean"] == pytest.approx(mean + 10, abs=0.5)
    assert document["verdict"]["grade"] == "missed mode"
    means = [o["variables"]["x[north_1]"]["mean"] for o in document["optima"]]
    assert min(means) < -7 < 7 < max(means)
    # Which of the two is missed depends on which is first.
    missed = mass if means[0] < 0 else 1 - mass
    assert document["missed_mass"]["lower"] - 0.02 < missed < document["missed_mass"]["upper"] + 0.02
    assert sum(o["evidence_weight"] or 0 for o in document["optima"]) == pytest.approx(1, abs=0.02)
    kl = document["forward"]["divergences"]
    # Forward KL sees the mode that is left out, and reverse KL hardly does: a swapped direction would show.
    assert kl["ADVI"]["reverse"]["value"] < 1.5 < kl["ADVI"]["forward"]["value"]
    assert kl["mixture"]["forward"]["value"] < kl["ADVI"]["forward"]["value"]
    for optimum in document["optima"]:
        assert optimum["variables"]["x[north_1]"]["sd_linear_response"] is not None


def test_an_improper_posterior_is_an_answer(folder: Path, tmp_path: Path, duality: Run) -> None:
    status, out, _ = duality(
        str(folder / "my_model.py:open_sum"), "--output", str(tmp_path / "o"), "--json", "--starts", "4"
    )
    assert status == 0
    document = json.loads(out)
    check_document(document)
    assert document["verdict"]["grade"] == "improper"
    assert any(direction in document["verdict"]["sentence"] for direction in ("a - b", "b - a"))
    assert (document["optima"], document["reference"], document["missed_mass"]) == ([], None, None)
    assert "no finite integral" in (tmp_path / "o" / "index.html").read_text(encoding="utf-8")


# --- what is written -------------------------------------------------------------------------------------------------


def test_command_writes_three_files_and_one_document(
    examined: xr.DataTree, folder: Path, tmp_path: Path, duality: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def printing(*_args: Any, **_kwargs: Any) -> xr.DataTree:
        print("a black box says something")
        return examined.copy()

    monkeypatch.setattr("analysis.own_model.study.analyse", printing)
    monkeypatch.chdir(tmp_path)
    status, out, err = duality(str(folder / "my_model.py:cauchy"), "--json")
    assert status == 0
    document = json.loads(out)  # and nothing else is there
    for theirs in ("at import", "building", "a black box"):
        assert theirs in err
    written = tmp_path / "duality-cauchy"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["duality-cauchy", "index.html", "model.json", "model.nc"]
    assert json.loads((written / "model.json").read_text(encoding="utf-8")) == document
    again = summary(load(written / "model.nc"))
    assert again == document
    status, out, _ = duality(str(folder / "my_model.py:cauchy"))
    assert status == 0
    assert document["verdict"]["sentence"] in out.splitlines()[0]
    assert "x[north_1]" in out
    assert out.rstrip().endswith("index.html")


def test_an_interrupt_leaves_nothing(
    folder: Path, tmp_path: Path, duality: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("analysis.own_model.study.examine", stopped)
    status, out, err = duality(str(folder / "my_model.py:cauchy"), "--output", str(tmp_path / "new"))
    assert (status, out) == (130, "")
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_page_says_the_verdict_first_and_has_every_figure(examined: xr.DataTree, tmp_path: Path) -> None:
    (written,) = page.write(examined, tmp_path)
    html = written.read_text(encoding="utf-8")
    sentence = summary(examined)["verdict"]["sentence"]
    assert html.index(sentence.split(";")[0]) < html.index('id="fig-densities"') < html.index('id="fig-ratios"')
    assert "x[north_1]" in html
    assert "nothing here says that all were found" in html


def test_lower_bounds_stand_in_the_document_and_on_the_page(examined: xr.DataTree, tmp_path: Path) -> None:
    tree, names = examined.copy(), ["x[north_1]", "shifted[north_1]"]
    dims = ("optimum", "variable")
    columns = {"mean_error": [[-0.4, 0.0]], "sd_factor": [[1.3, 1.0]], "correlation": [[0.1, 0.2]]}
    bounds = xr.Dataset({name: (dims, values) for name, values in columns.items()}, coords={"variable": names})
    tree["lower_bounds"] = xr.DataTree(dataset=bounds.assign(moves=("optimum", [60])))
    document = summary(tree)
    check_document(document)
    assert document["lower_bounds"] == [
        {name: {key: values[0][i] for key, values in columns.items()} for i, name in enumerate(names)}
    ]
    (written,) = page.write(tree, tmp_path)
    html = written.read_text(encoding="utf-8")
    assert "After 60 Hamiltonian moves 1 of 2 variables are off" in html
    assert "≥ 1.30" in html
    assert summary(examined)["lower_bounds"] == []


def test_moments_have_errors_and_no_more_digits_than_these_support(examined: xr.DataTree) -> None:
    document = summary(examined)
    at = document["optima"][0]
    assert at["variables"]["shifted[north_1]"]["mean"] == pytest.approx(
        at["variables"]["x[north_1]"]["mean"] + 10, abs=1e-9
    )
    assert 0 < at["errors"]["x[north_1]"]["mean"] < 0.01  # linear, so that only where the nodes put the optimum is open
    assert set(document["reference"]["errors"]["x[north_1]"]) == {"mean", "sd"}
    noisy = {"variables": {"x": {"mean": 1.23456, "sd": 2.34567}}, "errors": {"x": {"mean": 0.31, "sd": 0.2}}}
    assert written_moments(noisy, "x") == ("1.23", "2.35")
    noisier = {"variables": {"x": {"mean": 1.23456, "sd": 2.34567}}, "errors": {"x": {"mean": 3.1, "sd": 2.2}}}
    assert written_moments(noisier, "x") == ("1.2", "2.3")
    endless = {"variables": {"x": {"mean": None, "sd": None}}, "errors": {"x": {"mean": None, "sd": None}}}
    assert written_moments(endless, "x") == ("–", "–")
    wide = {"variables": {"x": {"mean": 0.0213, "sd": None}}, "errors": {"x": {"mean": 0.11, "sd": None}}}
    assert written_moments(wide, "x") == ("0.02", "–")


@pytest.fixture(scope="module")
def heavy() -> xr.DataTree:
    """A prior alone whose mean and sd are infinite, beside one that is Normal."""
    with pm.Model() as model:
        pm.Cauchy("heavy", 0, 1)
        pm.Normal("light", 0, 1)
        pm.Normal("other", 0, 1)
    return analyse(model, budget_s=20, starts=4)


@pytest.mark.exhaustive
def test_what_the_reference_leaves_open_is_no_number_anywhere(heavy: xr.DataTree, tmp_path: Path) -> None:
    document = summary(heavy)
    assert "heavy" in document["verdict"]["sentence"]
    assert document["reference"]["open"] == {"heavy": "mean and sd"}  # by its density, however few the draws
    assert document["reference"]["variables"]["heavy"]["sd"] is None
    assert document["reference"]["variables"]["light"]["sd"] == pytest.approx(1, abs=0.1)
    assert document["forward"]["variables"]["heavy"]["sd"] is None
    row = next(line for line in page.printed(heavy) if line.split()[:1] == ["heavy"])
    assert row.endswith("does not settle")
    f = findings(heavy)
    assert {r["sd"] for r in f["variables"] if r["variable"] == "heavy" and "reference" in r["source"]} == {"–"}
    assert f["compared"] == 2
    page.write(heavy, tmp_path)
    drawn = page.plot(heavy, backend="plotly")
    assert set(drawn) == {"densities", "ratios"}


def test_a_reason_that_the_sentence_gives_is_no_note_as_well(examined: xr.DataTree) -> None:
    def notes(sentence: str) -> list[str]:
        tree = examined.copy()
        tree.attrs = tree.attrs | {"sentence": sentence}
        tree["reference"].attrs = tree["reference"].attrs | {
            "reasons": ["R-hat of v is 1.13", "5 transitions diverged"]
        }
        return [w for w in summary(tree)["warnings"] if "the reference (grid) is not to be relied on" in w]

    assert not notes("cannot tell: R-hat of v is 1.13; 5 transitions diverged; give more seconds")
    assert len(notes("ADVI misses a mode holding 30 % of the mass")) == 2


def test_that_there_is_no_reference_is_said_once(examined: xr.DataTree) -> None:
    tree = examined.copy()
    del tree["reference"]
    tree.attrs = tree.attrs | {"sentence": "ADVI misses a mode"}
    assert any("there is no reference" in w for w in summary(tree)["warnings"])
    tree.attrs = tree.attrs | {"sentence": "cannot tell: no reference could be had in the budget; give more seconds"}
    assert not any("there is no reference" in w for w in summary(tree)["warnings"])


def test_a_grade_is_not_put_before_a_sentence_that_tells() -> None:
    assert told({"grade": "cannot tell", "sentence": "ADVI is too wide for 1 of 2 variables"})
    assert told({"grade": "adequate", "sentence": "ADVI is adequate for both variables"})
    assert not told({"grade": "improper", "sentence": "the density does not fall"})


def test_minibatches_are_said_to_be_replaced(examined: xr.DataTree) -> None:
    tree = examined.copy()
    assert not any("Minibatch" in warning for warning in summary(tree)["warnings"])
    tree.attrs = tree.attrs | {"batched": 1}
    assert any("pm.Minibatch" in warning and "whole data" in warning for warning in summary(tree)["warnings"])


def test_weights_of_the_rows_sum_to_one_and_a_single_component_has_none(examined: xr.DataTree) -> None:
    tree = examined.copy()
    repair = {
        "weight": ("component", [0.17, 0.5, 0.33]),
        "weight_se": ("component", [0.001, 0.001, 0.001]),
        "k_hat": 0.2,
    }
    tree["repair"] = xr.DataTree(dataset=xr.Dataset(repair, coords={"component": ["optimum 0", "mode 0", "mode 4"]}))
    rows = optima_rows(summary(tree))
    count = len(summary(tree)["optima"])
    assert [row["optimum"] for row in rows] == [*map(str, range(1, count + 1)), "mode 1", "mode 5"]
    assert sum(float(row["weight"].strip("%")) for row in rows if row["weight"] != "–") == pytest.approx(100)
    assert any("weight in the mixture" in line and "optimum" in line for line in page.printed(tree))
    alone = examined.copy()
    alone["repair"] = tree["repair"].isel(component=[0])
    assert {row["weight"] for row in optima_rows(summary(alone))} == {"–"}
    assert not any("weight in the mixture" in line for line in page.printed(alone))


def test_a_long_table_is_cut_in_a_terminal_and_what_a_mixture_lacks_is_said(
    examined: xr.DataTree, tmp_path: Path
) -> None:
    tree = examined.copy()
    names = ["optimum 0", *(f"mode {i}" for i in range(30))]
    repair = {name: ("component", np.full(31, value)) for name, value in (("weight", 0.018), ("weight_se", 0.002))}
    repair |= {"k_hat": 0.1, "lacks": 0.442, "lacks_lower": 0.32, "lacks_upper": 0.54}
    tree["repair"] = xr.DataTree(dataset=xr.Dataset(repair, coords={"component": names}))
    lines = page.printed(tree)
    cut = [i for i, line in enumerate(lines) if " more, which are on the page" in line]
    shown = sum("no optimum met there" in line or "at rest" in line for line in lines[: cut[0]])
    rows = len(optima_rows(summary(tree)))
    assert lines[cut[0]].strip().startswith(f"and {rows - 12} more")
    assert shown == 12
    assert "note: the mixture has next to nothing where 44 % of the mass is, by the reference" in lines
    assert summary(tree)["mixture_lacks"] == {"value": 0.442, "lower": 0.32, "upper": 0.54}
    assert summary(examined)["mixture_lacks"] is None
    [written] = page.write(tree, tmp_path)
    assert "sum to what the mixture has of the mass by the reference, 55.8%" in " ".join(written.read_text().split())


def test_starts_that_led_to_no_optimum_are_counted() -> None:
    optima = [{"share_of_starts": 0.1}, {"share_of_starts": 0.2}]
    assert astray({"starts": {"tried": 20, "failed": 2}, "optima": optima}) == pytest.approx(0.6)
    assert astray({"starts": {"tried": 3, "failed": 0}, "optima": [{"share_of_starts": 1 / 3}] * 3}) == 0


def test_an_optimum_without_time_for_linear_response_is_named(examined: xr.DataTree) -> None:
    tree = examined.copy()
    last = len(summary(tree)["optima"])
    natural = tree[f"optimum_{last - 1}/natural"].to_dataset()
    tree[f"optimum_{last - 1}/natural"] = xr.DataTree(dataset=natural.assign(sd_linear_response=natural["sd"] * np.nan))
    assert any(warning.endswith(f"linear response at optimum {last}") for warning in summary(tree)["warnings"])


def test_a_spike_ends_at_the_top_of_its_panel_and_is_named(examined: xr.DataTree) -> None:
    tree = examined.copy()
    assert spikes(tree) == []
    narrow = tree["optimum_0/posterior"].to_dataset()
    tree["optimum_0/posterior"] = xr.DataTree(dataset=narrow.mean() + (narrow - narrow.mean()) / 100)
    assert spikes(tree) == ["x[north_1]", "shifted[north_1]"]
    assert "more than four times as high" in words_of("own_model", findings(tree)).caption["densities"]


def test_drawings(examined: xr.DataTree) -> None:
    words = words_of("own_model", findings(examined))
    check_drawings(lambda theme: page.plot(examined, theme=theme), words)


def test_figures_have_a_legend_and_a_hover(examined: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: page.plot(examined, backend="plotly"), tmp_path)
    for name, drawing in page.plot(examined, backend="bokeh").items():
        assert drawing.save(tmp_path / f"bokeh-{name}", Style.of("light", "bokeh")).stat().st_size < 1_000_000
    text = (tmp_path / "densities.html").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in ("reference", "ADVI", "linear response", "mixture"))


@pytest.mark.filterwarnings("ignore")  # of ArviZ, about one chain; and of Matplotlib, about open figures
def test_arviz_and_pymc_use_what_is_saved(examined: xr.DataTree, folder: Path, tmp_path: Path) -> None:
    from models.results import save

    tree = load(save(examined, tmp_path / "model.nc"))
    assert tree["posterior"]["x"].dims == ("chain", "draw", "site")
    assert tree["posterior"]["site"].to_numpy().tolist() == ["north_1"]
    assert list(az.summary(tree, kind="stats").index) == ["x[north_1]", "shifted[north_1]"]
    az.plot_forest(tree)
    az.plot_pair(tree, var_names=["x", "shifted"])
    model = load_model(folder / "my_model.py", "cauchy")[1]
    predicted = pm.sample_posterior_predictive(tree, model=model, progressbar=False, random_seed=1)
    assert predicted["posterior_predictive"]["y"].shape == (*tree["posterior"]["x"].shape[:2], 4)


# --- the models of the issue, in full --------------------------------------------------------------------------------


def schools(centred: bool) -> pm.Model:
    y, sd = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        if centred:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            theta = pm.Deterministic("theta", mu + tau * pm.Normal("e", dims="school"), dims="school")
        pm.Normal("y", theta, sd, observed=y, dims="school")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("centred", [True, False])
def test_eight_schools(centred: bool, tmp_path: Path) -> None:
    tree = analyse(schools(centred), name="schools", budget_s=90)
    document = summary(tree)
    check_document(document)
    assert len(document["optima"]) == 1
    if document["reference"]["ok"]:  # as the page says
        assert document["reference"]["method"] == ("SMC" if centred else "NUTS")
        assert document["verdict"]["grade"] == "too narrow"
        assert "tau" in document["verdict"]["sentence"]
    assert document["reference"]["variables"]["mu"]["mean"] == pytest.approx(4.4, abs=0.5)
    assert {f"theta[{c}]" for c in "ABCDEFGH"} <= set(document["optima"][0]["variables"])
    assert page.write(tree, tmp_path)[0].is_file()


@pytest.mark.slow
def test_two_label_modes_are_told_as_such() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(-3, 1, 120), rng.normal(3, 1, 80)])
    with pm.Model() as model:
        w, mu = pm.Beta("w", 2, 2), pm.Normal("mu", 0, 5, shape=2)
        pm.Mixture("y", w=pm.math.stack([w, 1 - w]), comp_dists=pm.Normal.dist(mu, 1), observed=y)
    document = summary(analyse(model, budget_s=120))
    check_document(document)
    assert document["verdict"]["grade"] == "label switching"
    weights = [o["evidence_weight"] for o in document["optima"] if o["evidence_weight"]]
    assert sorted(weights, reverse=True)[:2] == pytest.approx([0.5, 0.5], abs=0.02)


@pytest.mark.slow
def test_a_separated_logistic_regression_is_improper() -> None:
    x = np.linspace(-2, 2, 20)
    with pm.Model() as model:
        pm.Bernoulli("y", logit_p=pm.Flat("intercept") + pm.Flat("slope") * x, observed=(x > 0).astype(int))
    document = summary(analyse(model, budget_s=60))
    assert document["verdict"]["grade"] == "improper"
    assert "slope" in document["verdict"]["sentence"]
