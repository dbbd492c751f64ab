"""The order of families for your own data: rows that outweigh the others, what is close, weights, and numbers of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from analysis.own_data.figures import plot
from analysis.own_data.files import read_columns
from analysis.own_data.findings import findings
from analysis.own_data.ranking import ranked
from analysis.own_data.study import analyse
from analysis.own_data.summary import summary
from models.mle import fit_mle, leave_one_out

X = np.arange(400.0)[:, None]


def order(d: np.ndarray, **options: object) -> tuple[dict[str, float], list[str]]:
    """The entry of a family that lies d (n,) behind the best, and the notes."""
    logs = {"best": np.zeros(len(d)), "other": -d}
    ranking, notes = ranked(X[: len(d)], logs, {"best": len(d), "other": len(d)}, 0.95, **({"weights": None} | options))
    assert list(ranking["family"].to_numpy()) == ["best", "other"]
    return {name: float(ranking[name][1]) for name in ranking.data_vars}, notes


@pytest.mark.parametrize(("at", "words"), [(8.0, "carries much of"), (-8.0, "takes much from")])
def test_a_row_that_outweighs_the_others_speaks_for_or_against(at: float, words: str) -> None:
    d = np.full(400, 0.05)
    d[6] = at
    entry, notes = order(d)
    assert (entry["row"], entry["row_share"]) == (6, pytest.approx(at / d.sum()))
    (told,) = [note for note in notes if "Normal approximation" in note]
    assert told.startswith(f"row 7 (6) alone {words} what lies between best and other ({abs(at) / d.sum():.0%})")
    assert "-" not in told.partition(":")[0]
    assert any(note.startswith("row 107 (6) alone") for note in order(d, places=np.arange(101, 501))[1])


def test_what_is_close_is_told_by_the_sum_of_leave_one_out_scores() -> None:
    d = np.random.default_rng(0).normal(0.005, 0.01, 400)
    entry, notes = order(d)
    assert entry["clear"] == 0
    (told,) = [note for note in notes if "their order is open" in note]
    assert f"the leave-one-out log scores of other and best differ by {d.sum():.2g} nats, summed over 400 rows" in told
    # Log likelihoods on the rows fitted differ by another number, in which parameters cost nothing.
    x = np.random.default_rng(1).normal(size=300)
    found = summary(analyse(x, ["x"], ["normal", "student_t"]))
    scores = [leave_one_out(x, family).sum() for family in map(_family, ("normal", "student_t"))]
    assert found["ranking"][1]["kl_difference"] * 300 == pytest.approx(abs(scores[0] - scores[1]), abs=1e-3)
    fits = [
        float(fit_mle(x, family, draws=2)["fit"]["log_likelihood"]) for family in map(_family, ("normal", "student_t"))
    ]
    assert abs(fits[1] - fits[0]) != pytest.approx(abs(scores[0] - scores[1]), abs=0.1)


def test_rows_outside_a_support_that_the_others_estimate_judge_nothing() -> None:
    rng = np.random.default_rng(0)
    ends = np.zeros(400, dtype=bool)
    ends[[2, 9]] = True
    truth = np.where(ends, -np.inf, rng.normal(0.1, 0.2, 400))
    logs = {"other": np.zeros(400), "truth": truth}
    ranking, notes = ranked(X, logs, {"other": 400, "truth": 400}, 0.95, None, outside={"truth": ends})
    assert list(ranking["family"].to_numpy()) == ["other", "truth"]
    entry = ranking.isel(family=1)
    assert (float(entry["kl_difference"]), int(entry["outside"]), int(entry["clear"])) == (np.inf, 2, 0)
    between = np.log1p(-2 / 401)  # what any law has between two ends, on average
    assert float(entry["elsewhere"]) == pytest.approx(-between - truth[~ends].mean())
    assert float(entry["elsewhere_se"]) == pytest.approx(truth[~ends].std() / np.sqrt(398))
    assert any(
        note.startswith("truth: ") and "row 3 (2) and row 10 (9), left out, lie outside" in note for note in notes
    )
    # Two of that kind have no difference on all rows, and one on those that neither leaves out.
    more = ends | (np.arange(400) == 11)
    logs = {"truth": truth, "wide": np.where(more, -np.inf, truth - 1)}
    both, _ = ranked(X, logs, {"truth": 400, "wide": 400}, 0.95, None, outside={"truth": ends, "wide": more})
    assert (both["outside"].to_numpy() == [2, 3]).all()
    assert int(both["others"][1]) == 397
    assert np.isnan(both["kl_difference"][1])
    assert float(both["elsewhere"][1]) == pytest.approx(1)


@pytest.mark.parametrize(("truth", "low", "high"), [("normal", 0.0, 0.02), ("uniform", 0.1, 1.0)])
def test_rows_between_the_ends_do_not_favour_the_family_that_ends_there(truth: str, low: float, high: float) -> None:
    """How often uniform is closer by two standard errors, in 200 sets of 24 draws: without the mass between the ends, in 3 % of Normal ones."""
    rng, closer = np.random.default_rng(0), []
    for _ in range(200):
        x = rng.normal(size=24) if truth == "normal" else rng.random(24)
        others = np.array([np.delete(x, i) for i in range(24)])
        logs = norm.logpdf(x, others.mean(axis=1), others.std(axis=1))
        ends = (x == x.min()) | (x == x.max())
        flat = np.where(ends, -np.inf, -np.log(np.ptp(x)))
        found, _ = ranked(
            x[:, None],
            {"normal": logs, "uniform": flat},
            {"normal": 24, "uniform": 24},
            0.95,
            None,
            outside={"uniform": ends},
        )
        closer.append(float(found["elsewhere"][1]) < -2 * float(found["elsewhere_se"][1]))
    assert low <= np.mean(closer) <= high


def test_the_answer_says_which_family_leave_one_out_cannot_judge() -> None:
    x = np.random.default_rng(0).uniform(-3, 5, 500)
    tree = analyse(x, ["x"], ["normal", "uniform"])
    found, entry = findings(tree), summary(tree)["ranking"][1]
    assert entry["outside"]["rows"] == 2
    assert [(a["family"], a["closer"]) for a in found["apart"]] == [("uniform", True)]
    # The others know the ends; a Normal pays for its two parameters.
    expected = np.log(np.ptp(x)) - 0.5 * np.log(2 * np.pi * np.e * x.var())
    assert entry["outside"]["others"]["kl_difference"] == pytest.approx(expected, abs=0.02)
    assert found["beside"] == []
    assert found["next"] is None
    assert not any("density zero" in warning for warning in summary(tree)["warnings"])


def test_of_fits_that_are_one_the_simplest_is_named() -> None:
    log_q = np.random.default_rng(0).normal(size=400)
    logs = {"larger": log_q, "smaller": log_q - 1e-13, "far": log_q - 1}
    ranking, notes = ranked(X, logs, dict.fromkeys(logs, 400), 0.95, None, sizes={"larger": 3, "smaller": 2, "far": 1})
    assert list(ranking["family"].to_numpy()) == ["smaller", "larger", "far"]
    assert [note for note in notes if "differ by" in note] == []
    assert any(note.startswith("larger is the same fit as smaller") for note in notes)


def test_a_survey_is_told_what_whole_weights_are_taken_for() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=60), rng.integers(300, 5300, 60).astype(float)
    (told,) = [note for note in summary(analyse(x, ["x"], ["normal"], weights=w))["warnings"] if "survey" in note]
    assert f"{w.sum():.0f} in all" in told
    assert f"as much as {w.sum() ** 2 / (w @ w):.0f} alike" in told


def _family(name: str):  # type: ignore[no-untyped-def]
    from models.families import FAMILIES

    return FAMILIES[name]


def test_whole_weights_are_equal_rows() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.gamma(2.0, 3.0, 300), rng.integers(0, 4, 300).astype(float)
    names = ["normal", "gamma", "lognormal"]
    weighted = summary(analyse(x, ["x"], names, weights=w))
    repeated = summary(analyse(np.repeat(x, w.astype(int)), ["x"], names))
    for name in names:
        mine, other = weighted["families"][name], repeated["families"][name]
        for parameter, value in mine["params"].items():
            assert value == pytest.approx(other["params"][parameter], rel=1e-5)
        assert mine["kl"] is None
        assert mine["cross_entropy"] == pytest.approx(other["cross_entropy"], abs=1e-6)
        assert mine["cross_entropy_error"] == pytest.approx(other["cross_entropy_error"], rel=2e-3)  # divisor n - 1
    for mine, other in zip(weighted["ranking"], repeated["ranking"], strict=True):
        assert mine["family"] == other["family"]
        assert (mine["kl_difference"], mine["se"]) == pytest.approx((other["kl_difference"], other["se"]), abs=1e-6)
    assert weighted["entropy"] is None
    assert any("taken for numbers of equal rows" in warning for warning in weighted["warnings"])


@pytest.mark.exhaustive
def test_a_table_of_frequencies_is_the_counts_that_it_stands_for() -> None:
    x = np.random.default_rng(5).poisson(3, 500)
    values, counts = np.unique(x, return_counts=True)
    tree = analyse(values.astype(float), ["visits"], weights=counts)
    found, whole = summary(tree), summary(analyse(x.astype(float), ["visits"]))
    assert len(values) < 20
    assert found["values"]["kind"] == "counts"
    mine, other = ({e["family"]: (e["kl_difference"], e["se"]) for e in s["ranking"]} for s in (found, whole))
    assert set(mine) == set(other)  # of those that hold one another and are the same here the order is open
    for family, numbers in mine.items():
        assert numbers == pytest.approx(other[family], abs=1e-4)
    assert not any("rows: no interval" in warning for warning in found["warnings"])
    assert findings(tree)["has_errors"]


def test_other_weights_leave_a_row_out_whole() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=100), rng.uniform(0.2, 2, 100)
    found = summary(analyse(x, ["x"], ["normal", "laplace"], weights=w))
    i = 17
    others = np.delete(w, i) / np.delete(w, i).sum()
    mean = others @ np.delete(x, i)
    variance = others @ (np.delete(x, i) - mean) ** 2
    log_q = leave_one_out(x, _family("normal"), weights=w)
    assert log_q[i] == pytest.approx(-0.5 * np.log(2 * np.pi * variance) - (x[i] - mean) ** 2 / 2 / variance)
    assert found["families"]["normal"]["cross_entropy"] == pytest.approx(-(w / w.sum()) @ log_q, abs=1e-6)
    assert any("left out whole, with its weight" in warning for warning in found["warnings"])


def test_no_interval_of_a_kl_lies_below_zero() -> None:
    x = np.random.default_rng(13).normal(size=200)
    found = summary(analyse(x, ["x"], ["normal", "logistic"]))
    for family in found["families"].values():
        assert 0 <= family["kl_interval"][0] <= family["kl_interval"][1]
    assert any(family["kl"] < 0 for family in found["families"].values())


def test_rows_are_told_by_their_number_in_the_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=80).round(4)
    cells = [f"{v}" for v in x]
    cells[2], cells[5], cells[60] = "NA", "", "90.0"
    (tmp_path / "x.csv").write_text("a,b\n" + "\n".join(f"{c},{i * 0.1:.1f}" for i, c in enumerate(cells)))
    table = read_columns(tmp_path / "x.csv", ["a"])
    assert table.places.tolist() == [i + 1 for i in range(80) if i not in (2, 5)]
    tree = analyse(table.values, ["a"], ["normal", "laplace", "gamma"], places=table.places)
    found = summary(tree)
    assert found["ranking"][1]["carried_by"]["row"] == 61
    assert found["ranking"][1]["carried_by"]["value"] == 90.0
    assert any("row 61 (90)" in warning for warning in found["warnings"])
    first = next(i for i, c in enumerate(cells) if c.startswith("-")) + 1
    assert found["failed"]["gamma"].startswith(f"row {first} is -")
    assert findings(tree)["carried"] == {"normal": "carries"}


def test_counts_beside_densities_are_drawn_at_whole_numbers() -> None:
    x = np.random.default_rng(0).poisson(180, 300).astype(float)
    drawing = plot(analyse(x, ["x"], ["poisson", "normal"]))["families"]
    grids = {a.get_title(): a.get_lines()[0].get_xdata() for a in drawing.figure.viz["figure"].item().axes}
    drawing.close()
    assert (grids["poisson"] == np.rint(grids["poisson"])).all()
    assert len(grids["normal"]) == 301
