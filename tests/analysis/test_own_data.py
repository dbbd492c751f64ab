"""Your own data: the JSON contract, the order of the families, units, what few or rounded rows allow, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.stats import beta, norm, vonmises

from analysis.command import main as cli
from analysis.drawing.style import Style
from analysis.own_data import page
from analysis.own_data.cells import cell_logp
from analysis.own_data.curve import Curve
from analysis.own_data.figures import plot
from analysis.own_data.files import read_columns
from analysis.own_data.findings import findings
from analysis.own_data.naming import child_of
from analysis.own_data.study import Settings, analyse
from analysis.own_data.summary import fitted_member, summary
from analysis.own_data.values import values_of
from analysis.site.chapter import words_of
from analysis.site.numbers import plain
from models.errors import ConvergenceError, InputError
from models.families import FAMILIES, find_family
from models.results import load, save
from models.targets import normal_mixture
from tests.analysis.drawn import check_pages

#: Parameters of each family in JSON.
PARAMETERS = {
    "normal": {"mu", "sigma"},
    "student_t": {"nu", "mu", "sigma"},
    "normal_mixture(2)": {"w", "mu", "sigma"},
    "mvnormal": {"mu", "cov"},
    "mvnormal_diag": {"mu", "sigma"},
    "mvnormal_mixture(2)": {"w", "mu", "cov"},
}


@pytest.fixture(scope="module")
def heavy() -> np.ndarray:
    return 3 + 2 * np.random.default_rng(1).standard_t(3, size=1500)


@pytest.fixture(scope="module")
def student(heavy: np.ndarray) -> xr.DataTree:
    """Draws of a Student-t, onto itself, the Normal and a mixture."""
    return analyse(heavy, ["return"], ["normal", "student_t", "normal_mixture(2)"], name="returns.csv")


@pytest.fixture(scope="module")
def geyser() -> xr.DataTree:
    """Old Faithful, both columns."""
    path = Path(__file__).parents[2] / "analysis" / "data" / "old_faithful.csv"
    x = np.loadtxt(path, delimiter=",", skiprows=1)
    return analyse(x, ["eruptions", "waiting"], ["mvnormal_diag", "mvnormal_mixture(2)"], name="old_faithful.csv")


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["student", "geyser"])
def test_json_contract(which: str, request: pytest.FixtureRequest) -> None:
    document = json.loads(json.dumps(summary(request.getfixturevalue(which)), allow_nan=False))
    assert {"n", "dim", "families", "entropy", "ranking", "warnings"} <= set(document)
    assert (document["n"], document["dim"]) == {"student": (1500, 1), "geyser": (272, 2)}[which]
    for name, family in document["families"].items():
        for key in ("params", "se_hessian", "se_sandwich"):
            assert set(family[key]) == PARAMETERS[name]
        for parameter, value in family["params"].items():
            assert np.shape(family["se_sandwich"][parameter]) == np.shape(value)
            assert np.shape(family["se_hessian"][parameter]) == np.shape(value)
        low, high = map(float, family["kl_interval"])  # "inf" where no interval is given
        assert 0 <= low < high
        assert high < np.inf or not family["reliable"]
        assert low == 0 or low < family["kl"]
        assert family["kl"] < high
        assert family["kl"] == pytest.approx(family["cross_entropy"] - document["entropy"]["value"], abs=1e-9)
    assert [set(entry) for entry in document["ranking"]] == [
        {"family", "kl_difference", "se", "clear", "carried_by", "outside"}
    ] * len(document["families"])
    assert document["ranking"][0]["kl_difference"] == 0
    differences = [entry["kl_difference"] for entry in document["ranking"]]
    assert differences == sorted(differences)


def test_standard_errors_of_a_normal(student: xr.DataTree, heavy: np.ndarray) -> None:
    family = summary(student)["families"]["normal"]
    n, sd = len(heavy), heavy.std()
    assert family["params"]["sigma"] == pytest.approx(sd)
    assert family["se_hessian"]["sigma"] == pytest.approx(sd / np.sqrt(2 * n), rel=1e-6)
    fourth = ((heavy - heavy.mean()) ** 4).mean()
    assert family["se_sandwich"]["sigma"] == pytest.approx(np.sqrt(fourth - sd**4) / (2 * sd * np.sqrt(n)), rel=1e-6)


def test_ranking_sees_a_swapped_direction(student: xr.DataTree, heavy: np.ndarray) -> None:
    ranking = {entry["family"]: entry for entry in summary(student)["ranking"]}
    assert summary(student)["ranking"][0]["family"] == "student_t"
    # Held-out likelihood on fresh draws tells the same by an unrelated route.
    fresh = (3 + 2 * np.random.default_rng(2).standard_t(3, size=200_000))[:, None]
    t, normal = (fitted_member(student, name).logp(fresh).mean() for name in ("student_t", "normal"))
    assert t - normal > 0.05
    entry = ranking["normal"]
    assert abs(entry["kl_difference"] - (t - normal)) < 4 * entry["se"] + 0.05
    # And where the Normal is right, the thin-tailed family is not behind.
    x = np.random.default_rng(3).normal(size=1500)
    assert summary(analyse(x, ["x"], ["normal", "laplace"]))["ranking"][0]["family"] == "normal"


def test_kl_of_the_right_family_is_small_and_of_the_wrong_one_is_not(student: xr.DataTree) -> None:
    families = summary(student)["families"]
    assert families["student_t"]["kl_interval"][0] == 0 < families["student_t"]["kl_interval"][1]
    assert families["normal"]["kl"] > families["student_t"]["kl"] + 0.05


@pytest.mark.exhaustive
def test_units_change_no_divergence(heavy: np.ndarray) -> None:
    x = heavy[:400]
    names = ["normal", "normal_mixture(2)"]
    here, there = (summary(analyse(scale * x + shift, ["x"], names)) for scale, shift in ((1.0, 0.0), (1e6, -3e7)))
    for name in names:
        # Leaving one out takes numerical derivatives: to a fraction of the standard error, not to the last digit.
        first, second = here["families"][name], there["families"][name]
        small = 0.05 * first["kl_error"]
        assert second["kl"] == pytest.approx(first["kl"], abs=small)
        assert second["cross_entropy"] == pytest.approx(first["cross_entropy"] + np.log(1e6), abs=small)
        assert second["se_sandwich"]["sigma"] == pytest.approx(1e6 * np.array(first["se_sandwich"]["sigma"]), rel=1e-3)
    assert there["entropy"]["value"] == pytest.approx(here["entropy"]["value"] + np.log(1e6), abs=1e-9)
    for entry, other in zip(here["ranking"], there["ranking"], strict=True):
        assert entry["family"] == other["family"]
        assert other["kl_difference"] == pytest.approx(entry["kl_difference"], abs=0.05 * entry["se"])
    pairs = zip(here["reverse"]["minima"], there["reverse"]["minima"], strict=True)
    for point, other in [*pairs, (here["reverse"]["forward"], there["reverse"]["forward"])]:
        assert other["kl"] == pytest.approx(point["kl"], abs=1e-6)
        assert other["params"]["mu"] == pytest.approx(1e6 * point["params"]["mu"] - 3e7, rel=1e-6)


# --- forward and reverse ---------------------------------------------------------------------------------------------


def test_both_directions_on_the_geyser(geyser: xr.DataTree) -> None:
    reverse = summary(geyser)["reverse"]
    assert (reverse["target"], reverse["family"]) == ("mvnormal_mixture(2)", "mvnormal")
    # At its maximum likelihood a mixture has the moments of the data, and so has its forward projection.
    x = geyser["p_data/observed_data"]["x"].to_numpy()
    assert reverse["forward"]["params"]["mu"] == pytest.approx(x.mean(axis=0), rel=1e-6)
    np.testing.assert_allclose(reverse["forward"]["params"]["cov"], np.cov(x.T, bias=True), rtol=1e-5)
    assert reverse["certificate"] == "consistent"
    assert len(reverse["minima"]) == 2
    # A Normal on one of two modes that hardly overlap leaves out the other: -log of its weight.
    weights = summary(geyser)["families"]["mvnormal_mixture(2)"]["params"]["w"]
    assert [m["kl"] for m in reverse["minima"]] == pytest.approx(sorted(-np.log(weights)), abs=0.01)


def test_rounded_data_are_said_to_be(geyser: xr.DataTree) -> None:
    document = summary(geyser)
    assert document["entropy"]["reliable"] is False
    assert not any(family["reliable"] for family in document["families"].values())
    assert any("repeated" in w and "--jitter" in w for w in document["warnings"])
    found = findings(geyser)
    assert found["entropy"]["reliable"] is False
    assert "not reliable" in words_of("own_data", found).text


def test_terminal_lines_have_no_markup(student: xr.DataTree) -> None:
    lines = page.printed(student)
    assert lines[0].startswith("returns.csv: 1500 rows, return")
    assert lines[1].startswith("student_t is the closest of 3 families")
    assert next(line for line in lines if line.startswith("  ")).split()[0] == "student_t"
    assert not any("^" in line for line in lines)
    assert plain("(3.9 ± 1.0) × 10^−5^") == "(3.9 ± 1.0) × 10⁻⁵"


# --- what cannot be told ---------------------------------------------------------------------------------------------


def test_few_rows_give_fits_and_no_interval() -> None:
    document = summary(analyse(np.random.default_rng(0).normal(size=12), ["x"], ["normal", "laplace"]))
    assert document["entropy"] is None
    for family in document["families"].values():
        assert family["kl"] is None
        assert family["kl_interval"] is None
        assert family["cross_entropy"] is not None
    assert document["ranking"][1]["se"] is None
    assert any("12 rows: no interval" in w and "20" in w for w in document["warnings"])


def test_a_family_that_cannot_be_fitted_says_why_and_the_others_stand() -> None:
    x = np.random.default_rng(0).normal(size=(30, 1))
    document = summary(analyse(x, ["x"], ["normal", "exponential"]))
    assert list(document["families"]) == ["normal"]
    assert "outside the support" in document["failed"]["exponential"]
    assert any(w.startswith("exponential could not be fitted") for w in document["warnings"])
    with pytest.raises(InputError, match=r"no family could be fitted \(exponential: .*support"):
        analyse(x, ["x"], ["exponential"])


@pytest.mark.parametrize(
    ("x", "families", "told"),
    [
        ([1.5, 2.5, 4.0], None, "there are 3 rows, and fewer than 5 rank no families"),
        ([-1.5, 2.5, 4.0, 1.0], ["gamma", "poisson"], "gamma: row 11 is -1.5, outside.*poisson: row 11 is -1.5"),
        ([1.5, 2.5], ["student_t"], "2 observations but family 'student_t' has 3"),
    ],
)
def test_what_no_family_can_have_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, x: list[float], families: list[str] | None, told: str
) -> None:
    monkeypatch.delattr("analysis.own_data.study.compute_parts")
    with pytest.raises(InputError, match=told):
        analyse(x, ["x"], families, places=np.arange(11, 11 + len(x)))


def test_a_search_that_fails_is_no_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise ConvergenceError("reached no interior maximum")

    monkeypatch.setattr("analysis.own_data.judging.fit_mle", fails)
    with pytest.raises(ConvergenceError, match="no family could be fitted"):
        analyse(np.random.default_rng(0).normal(size=30), ["x"], ["normal"])


def test_mixtures_of_many_rows_are_fitted_to_some_and_judged_on_all() -> None:
    target = normal_mixture([0.3, 0.7], [-2, 2], [0.5, 1])
    x = target.rvs(5000, seed=1)
    tree = analyse(x, ["x"], ["normal_mixture(2)"], settings=Settings(mixture_rows=1000))
    family = summary(tree)["families"]["normal_mixture(2)"]
    assert family["n"] == 1000
    assert any("1000 of 5000 rows" in w for w in summary(tree)["warnings"])
    # The cross-entropy of the member on all rows; leaving one out changes it in the fourth digit.
    exact = -fitted_member(tree, "normal_mixture(2)").logp(x).mean()
    assert family["cross_entropy"] == pytest.approx(exact, abs=2e-3)
    assert family["cross_entropy"] > exact


def test_what_is_close_is_not_called_farther() -> None:
    x = np.random.default_rng(0).normal(size=400)
    tree = analyse(x, ["x"], ["normal", "student_t", "laplace"])
    found = findings(tree)
    assert found["behind"] == ["laplace"]
    words = words_of("own_data", found)
    assert "do not tell it from" in words.answer
    assert "laplace is clearly farther" in words.text
    assert any("below 4 their order is open" in w for w in summary(tree)["warnings"])


def test_wrong_families() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(InputError, match="unknown family 'nomal'; did you mean normal"):
        analyse(x[:, 0], ["x"], ["nomal"])
    with pytest.raises(InputError, match="'normal' has dimension 1 but the data has dimension 2; use mvnormal"):
        analyse(x, ["a", "b"], ["normal"])
    with pytest.raises(InputError, match="'normal' is given more than once"):
        analyse(x[:, 0], ["x"], ["normal", "normal"])
    with pytest.raises(InputError, match="2 columns of data and 1 names"):
        analyse(x, ["a"])


# --- drawings and report ---------------------------------------------------------------------------------------------


def test_distribution_function_by_summation() -> None:
    x = np.append(np.linspace(-6, 9, 50), 0.0)  # where a hurdle has its atom
    for name, params in {
        "laplace": {"mu": 1.0, "b": 2.0},
        "skew_normal": {"mu": 0.0, "sigma": 2.0, "alpha": 4.0},
        "student_t": {"nu": 1.5, "mu": 1.0, "sigma": 1.0},
        "gamma": {"alpha": 0.4, "beta": 0.2},
        "beta": {"alpha": 0.3, "beta": 2.0},
        "negative_binomial": {"mu": 3.0, "alpha": 1.5},
        "hurdle_gamma": {"psi": 0.7, "alpha": 2.0, "beta": 1.0},
    }.items():
        curve = Curve(FAMILIES[name], params, None, 1.0, 2.0)
        draws = np.sort(curve.member.rvs(100_000, seed=1)[:, 0])
        counted = np.searchsorted(draws, x, side="right") / len(draws)
        assert np.abs(curve.cdf(x) - counted).max() < 1.95 / np.sqrt(len(draws))  # Kolmogorov, 0.1 %
        p = np.array([0.45, 0.6, 0.9])
        np.testing.assert_allclose(curve.cdf(curve.quantile(p)), p, atol=0.3 if curve.discrete else 1e-6)


@pytest.mark.parametrize(("mean", "sd"), [(1e5, 1.0), (1e6, 1e-3), (1e8, 0.1), (2.0, 3.0)])
def test_a_distribution_function_does_not_miss_a_narrow_member(mean: float, sd: float) -> None:
    shape = (mean / sd) ** 2
    curve = Curve(FAMILIES["gamma"], {"alpha": shape, "beta": shape / mean}, None, mean, 1.35 * sd)
    right = stats.gamma(shape, scale=mean / shape)
    x = right.ppf(np.linspace(0.01, 0.99, 15))
    np.testing.assert_allclose(curve.cdf(x), right.cdf(x), atol=1e-5)
    np.testing.assert_allclose(curve.quantile(right.cdf(x)), x, atol=1e-4 * sd)


def test_a_distribution_function_does_not_miss_narrow_components_or_a_narrow_share() -> None:
    params = {"w": [0.5, 0.5], "mu": [-1000.0, 1000.0], "sigma": [1e-3, 1e-3]}
    curve = Curve(find_family("normal_mixture(2)"), params, None, 0.0, 2000.0)
    right = [0.25, 0.5, 0.5 + 0.5 * norm.cdf(1.0)]
    np.testing.assert_allclose(curve.cdf(np.array([-1000.0, 0.0, 1000.001])), right, atol=1e-5)
    curve = Curve(FAMILIES["beta"], {"alpha": 5e9, "beta": 5e9}, None, 0.5, 1e-5)
    x = np.array([0.499995, 0.5, 0.50001])
    np.testing.assert_allclose(curve.cdf(x), beta(5e9, 5e9).cdf(x), atol=1e-5)


def test_a_drawing_that_fails_does_not_lose_the_others(student: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curve, "pit", lambda _self, x: np.full(len(x), np.nan))
    drawings = plot(student)
    assert "pit" not in drawings
    assert {"families", "qq", "ranking"} <= set(drawings)


@pytest.mark.parametrize("which", ["student", pytest.param("geyser", marks=pytest.mark.exhaustive)])
def test_report_is_one_page_with_every_figure(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tree = load(save(request.getfixturevalue(which), tmp_path / "data.nc"))
    (written,) = page.write(tree, tmp_path, page.provenance(tree, 1.0))
    html = written.read_text(encoding="utf-8")
    for figure in ("families", "pit", "ranking", "directions", *(("qq",) if which == "student" else ())):
        assert f'id="fig-{figure}"' in html
    assert "http-equiv" in html
    for family in summary(tree)["families"]:
        assert family in html


@pytest.mark.parametrize("which", ["student", pytest.param("geyser", marks=pytest.mark.exhaustive)])
def test_figures_have_a_legend_and_a_hover(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tree = request.getfixturevalue(which)
    check_pages(lambda: plot(tree, backend="plotly"), tmp_path)
    for name, drawing in plot(tree, backend="bokeh").items():
        assert drawing.save(tmp_path / f"bokeh-{name}", Style.of("light", "bokeh")).stat().st_size < 1_000_000
    text = (tmp_path / "families.html").read_text(encoding="utf-8")
    assert "data" in text
    assert "family student_t" in text if which == "student" else "fitted: mvnormal_mixture(2)" in text


@pytest.mark.exhaustive
def test_names_that_are_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(25, 3))
    columns = ["price ($)", "a|b *c*", "cost_$_<i>"]
    tree = analyse(x, columns, ["mvnormal_diag"], name="my_[data].csv")
    assert "directions" not in plot(tree)
    (written,) = page.write(tree, tmp_path, page.provenance(tree, 1.0))
    html = written.read_text(encoding="utf-8")
    assert "price ($), a|b *c*, cost_$_&lt;i&gt;" in html
    assert html.count("my_[data].csv") > 1
    assert "\\_" not in re.sub(r"<(style|script).*?</\1>", "", html, flags=re.DOTALL)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def duality(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(cli, "quieten", lambda: None)
    monkeypatch.setattr("analysis.command.data.JOBS", 1)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_command_writes_report_results_and_one_json_document(
    tmp_path: Path, duality: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=60)
    (tmp_path / "my.csv").write_text("name,x,y\n" + "".join(f"a,{v!r},{2 * v!r}\n" for v in x.tolist()) + "b,,1\n")
    command = ("data", "my.csv", "--columns", "x", "--families", "normal,laplace")
    status, out, _ = duality(*command, "--json")
    assert status == 0
    document = json.loads(out)
    assert (document["n"], document["rows"], document["columns"]) == (60, 61, ["x"])
    assert document["families"]["normal"]["params"]["mu"] == pytest.approx(x.mean())
    assert any("1 of 61 rows" in w for w in document["warnings"])
    folder = tmp_path / "duality-my"
    assert json.loads((folder / "data.json").read_text()) == document
    assert summary(load(folder / "data.nc")) == document
    assert (folder / "index.html").exists()

    def forbidden(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("analysis.own_data.judging.fit_mle", forbidden)  # what is stored is used
    status, out, _ = duality(*command)
    assert status == 0
    assert "normal" in out
    assert "above the closest" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "wating"), ("'wating'", "did you mean waiting")),
        (("--families", "normal,nomal", "--columns", "waiting"), ("'nomal'", "did you mean normal")),
        (("--families", "normal"), ("dimension 1", "dimension 2", "mvnormal")),
        (("--families", ""), ("no family given", "mvnormal")),
        (("--columns", ""), ("no column given",)),
        (("--columns", ","), ("no column given",)),
        (("--columns", ",,", "--json"), ("no column given",)),
        (("--weights", ""), ("--weights takes one column", "none")),
        (("--weights", ","), ("--weights takes one column", "none")),
        (("--weights", "waiting,other"), ("--weights takes one column", "2")),
    ],
    ids=str,
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, duality: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{a},{b}\n" for a, b in np.random.default_rng(0).normal(size=(30, 2)).tolist())
    (tmp_path / "my.csv").write_text("waiting,other\n" + rows)
    status, out, err = duality("data", "my.csv", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    for word in words:
        assert word in err
    assert [p.name for p in tmp_path.iterdir()] == ["my.csv"]


def test_groups_are_named_after_families() -> None:
    assert child_of("normal_mixture(2)") == "forward_normal_mixture_2"


# --- what the values are ---------------------------------------------------------------------------------------------

CASES = Path(__file__).parents[1] / "reference" / "files"


def examined(name: str, families: list[str] | None = None) -> dict[str, Any]:
    table = read_columns(CASES / f"{name}.csv")
    return summary(
        analyse(table.values, table.names, families, name=name, warnings=table.warnings, reading=table.reading)
    )


@pytest.mark.exhaustive
def test_incomes_are_tried_on_positive_families() -> None:
    found = examined("a13_income", ["lognormal", "gamma", "normal_mixture(3)"])
    assert [entry["family"] for entry in found["ranking"]] == ["lognormal", "gamma", "normal_mixture(3)"]
    # Refits outside this project: about 65 nats over all rows.
    assert 55 < 1500 * found["ranking"][2]["kl_difference"] < 75
    assert found["ranking"][2]["clear"]
    outside = {name: family["mass_outside"]["support"] for name, family in found["families"].items()}
    assert outside["lognormal"] == 0
    mixture = found["families"]["normal_mixture(3)"]["params"]
    below = sum(w * norm.cdf(-m / s) for w, m, s in zip(*(mixture[k] for k in ("w", "mu", "sigma")), strict=True))
    assert outside["normal_mixture(3)"] == pytest.approx(below, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "theirs"),
    [("normal", {"mu": 4.1, "sigma": 0.3}, stats.norm(4.1, 0.3)), ("laplace", {"mu": 4.0, "b": 0.1}, stats.laplace(4, 0.1)),
     ("gamma", {"alpha": 0.3, "beta": 0.5}, stats.gamma(0.3, scale=2)), ("exponential", {"lam": 3.0}, stats.expon(scale=1 / 3))],
)  # fmt: skip
def test_masses_about_whole_numbers(name: str, params: dict[str, float], theirs: Any) -> None:
    k = np.arange(12.0)
    expected = theirs.cdf(k + 0.5) - np.where(
        k == 0, 0.0 if theirs.support()[0] == 0 else theirs.cdf(-0.5), theirs.cdf(k - 0.5)
    )
    found = np.exp(cell_logp(Curve(FAMILIES[name], params), k))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-12)  # the kink of a Laplace lies within a cell


def test_densities_beside_counts_are_judged_by_masses() -> None:
    """Nine in ten have the same number: densities there, of 3.5 in sum, stood above every probability, and KLs were below zero."""
    x = np.random.default_rng(0).choice([3.0, 4, 5, 6], 300, p=[0.04, 0.9, 0.04, 0.02])
    found = summary(analyse(x, ["legs"], ["laplace", "normal", "poisson"]))
    fits = found["families"]
    for name, family in (("laplace", stats.laplace), ("normal", stats.norm)):
        at = family(*fits[name]["params"].values())
        expected = -np.log(at.cdf(x + 0.5) - at.cdf(x - 0.5)).mean()
        assert fits[name]["cross_entropy"] == pytest.approx(expected, abs=0.03)  # leaving a row out costs a little
        assert fits[name]["kl"] > 0.1
    jittered = summary(analyse(x, ["legs"], ["laplace", "poisson"], settings=Settings(jitter=True)))
    assert np.isfinite(float(jittered["families"]["poisson"]["kl"]))  # counts that are spread have no atoms


@pytest.mark.exhaustive
def test_counts_are_judged_by_probabilities() -> None:
    found = examined("a14_counts")
    assert found["values"]["kind"] == "counts"
    assert found["ranking"][0]["family"] == "negative_binomial"
    best = found["families"]["negative_binomial"]
    assert best["cross_entropy"] == pytest.approx(2.887, abs=0.004)
    assert best["kl_interval"][0] == 0 < best["kl_interval"][1]
    poisson = found["families"]["poisson"]
    x = np.loadtxt(CASES / "a14_counts.csv", skiprows=1)
    _, counts = np.unique(x, return_counts=True)
    plug_in = -float((counts / len(x)) @ np.log(counts / len(x)))
    assert found["entropy"]["value"] == pytest.approx(
        plug_in + (len(counts) - 1) / (2 * len(x)), abs=0.01
    )  # Miller, 1955
    assert poisson["kl"] == pytest.approx(poisson["cross_entropy"] - found["entropy"]["value"], abs=1e-9)


@pytest.mark.exhaustive
def test_an_atom_makes_every_kl_infinite() -> None:
    found = examined("a15_percent", ["normal", "skew_normal"])
    assert found["values"]["atoms"] == [{"value": 100.0, "share": pytest.approx(0.216, abs=5e-4)}]
    assert all(f["kl"] == "inf" and f["reliable"] is False for f in found["families"].values())
    assert any("21.6% of the rows are exactly 100" in w for w in found["warnings"])


def test_zeros_beside_amounts_are_an_atom_that_a_hurdle_has() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random(1000) < 0.3, 0.0, rng.lognormal(1.0, 0.5, 1000))
    found = summary(analyse(x, ["rain"], ["hurdle_lognormal", "hurdle_gamma", "exponential"]))
    assert found["ranking"][0]["family"] == "hurdle_lognormal"
    low, high = found["families"]["hurdle_lognormal"]["kl_interval"]
    assert low == 0 < high
    assert found["families"]["exponential"]["kl"] == "inf"
    assert found["ranking"][2] | {"clear": True} == found["ranking"][2]
    assert found["ranking"][2]["kl_difference"] == "inf"
    share = float((x == 0).mean())
    truth = -share * np.log(share) - (1 - share) * np.log(1 - share)
    truth += (1 - share) * (1.0 + 0.5 * np.log(2 * np.pi * np.e * 0.25))  # lognormal: mu + log(sigma sqrt(2 pi e))
    assert abs(found["entropy"]["value"] - truth) < 3 * found["entropy"]["error"]


def test_angles_are_put_on_a_circle() -> None:
    found = examined("a16_circular", ["von_mises", "normal"])
    assert found["values"]["kind"] == "angles"
    assert any("look like angles" in w for w in found["warnings"])
    assert found["ranking"][0]["family"] == "von_mises"
    x = np.deg2rad(np.loadtxt(CASES / "a16_circular.csv", skiprows=1))
    kappa, mu, _ = vonmises.fit(x, fscale=1)
    best = found["families"]["von_mises"]
    assert best["params"]["kappa"] == pytest.approx(kappa, rel=1e-3)
    in_sample = -vonmises.logpdf(x, kappa, mu).mean() + np.log(180 / np.pi)  # in degrees
    assert best["cross_entropy"] == pytest.approx(in_sample + 2 / len(x), abs=2e-3)


@pytest.mark.parametrize("turned", [0.0, 100.0])
def test_whole_degrees_are_angles_and_a_family_asked_for_is_tried(turned: float) -> None:
    x = np.rad2deg(np.random.default_rng(0).vonmises(1.0, 4.0, 400)).round() % 360
    if turned:  # on a part of the circle nothing says that they are angles
        x = x[(x > 2) & (x < 170)] + turned
    found = summary(analyse(x, ["wind"], ["von_mises", "normal"]))
    assert "von_mises" in found["families"]
    assert (found["values"]["kind"] == "angles") == (not turned)
    told = [w for w in found["warnings"] if "taken for angles in degrees, 0 to 360" in w]
    assert len(told) == bool(turned)
    mu = found["families"]["von_mises"]["params"]["mu"]
    assert np.cos(mu - np.angle(np.exp(1j * np.deg2rad(x)).mean())) == pytest.approx(1, abs=1e-6)


def test_a_family_of_shares_asked_for_by_name_is_tried_on_percents() -> None:
    x = 100 * np.random.default_rng(0).beta(2, 9, 300)
    assert values_of(x).kind == "positive"
    found = summary(analyse(x, ["x"], ["beta", "gamma"]))
    assert found["ranking"][0]["family"] == "beta"
    assert found["families"]["beta"]["params"]["alpha"] == pytest.approx(
        beta.fit(x / 100, floc=0, fscale=1)[0], rel=1e-3
    )
    assert any("taken for shares of 100" in w for w in found["warnings"])
    with pytest.raises(InputError, match="outside the support"):
        analyse(np.append(x, 120.0), ["x"], ["beta"])


def test_a_row_that_carries_a_difference_is_named() -> None:
    found = examined("b02b_cauchyish", ["student_t", "skew_normal"])
    last = found["ranking"][1]
    assert (last["family"], last["clear"]) == ("skew_normal", True)
    x = np.loadtxt(CASES / "b02b_cauchyish.csv", skiprows=1)
    assert last["carried_by"]["row"] == int(np.argmax(np.abs(x))) + 1
    assert any(f"({x[np.argmax(np.abs(x))]:.10g})" in w and "Normal approximation" in w for w in found["warnings"])


def test_a_few_coincidences_change_nothing() -> None:
    found = examined("b04_few_dups", ["normal"])
    assert found["entropy"]["reliable"]
    assert found["families"]["normal"]["reliable"]
    assert any("10 of 500 rows repeat another" in w for w in found["warnings"])


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (np.random.default_rng(0).normal(size=300), "real"),
        (np.random.default_rng(0).beta(2, 3, 300), "shares"),
        (np.random.default_rng(0).poisson(40, 300), "whole numbers"),
        (np.random.default_rng(0).lognormal(10, 1, 300).round(), "positive"),
        (np.random.default_rng(0).uniform(-np.pi, np.pi, 300), "angles"),
        (np.random.default_rng(0).normal(50, 3, 300).round(1), "positive"),
        (np.random.default_rng(0).uniform(0, 360, 800).round() % 360, "angles"),
        (np.rad2deg(np.random.default_rng(0).vonmises(0.5, 1, 800)).round() % 360, "angles"),
        (10 * np.random.default_rng(0).integers(1, 37, 400), "angles"),
        (np.random.default_rng(0).negative_binomial(1, 0.015, 800).clip(0, 355), "counts"),
        (np.random.default_rng(0).geometric(0.02, 800) - 1, "counts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kinds(x: np.ndarray, kind: str) -> None:
    found = values_of(np.asarray(x, dtype=float))
    assert found.kind == kind
    assert found.atoms == ()
    assert set(found.families) <= {*FAMILIES, "normal_mixture(2)", "normal_mixture(3)"}


def test_any_name_of_a_column(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    tree = analyse(x, ["km/h", "very long " * 30 + "::[a]'\""], ["mvnormal_diag"])
    (written,) = page.write(load(save(tree, tmp_path / "data.nc")), tmp_path, page.provenance(tree, 1.0))
    assert "km/h" in written.read_text(encoding="utf-8")


def test_with_a_hurdle_in_the_list_every_zero_is_an_atom_whatever_the_unit() -> None:
    """One zero in three hundred: beside a probability of zero a density has none, and no rank depends on the unit."""
    x = np.append(np.random.default_rng(3).lognormal(3.0, 0.6, 299), 0.0)
    found = [summary(analyse(part, ["x"], ["hurdle_lognormal", "hurdle_gamma", "normal"])) for part in (x, x / 1e6)]
    first, second = ({r["family"]: r["kl_difference"] for r in s["ranking"]} for s in found)
    assert list(first) == list(second)
    assert first["hurdle_gamma"] == pytest.approx(second["hurdle_gamma"], abs=1e-6)
    assert [s["families"]["normal"]["kl"] for s in found] == ["inf", "inf"]


def test_a_few_zeros_far_from_everything_are_an_atom_and_rounded_ones_are_not() -> None:
    rng = np.random.default_rng(4)
    incomes = np.append(np.rint(rng.lognormal(10, 0.6, 794)), np.zeros(6))
    assert values_of(incomes).atoms == ((0.0, 6 / 800),)
    assert "hurdle_lognormal" in values_of(incomes).families
    rounded = np.round(rng.exponential(1.0, 500), 1)
    assert not values_of(rounded).atoms
    assert "hurdle_gamma" not in values_of(rounded).families
