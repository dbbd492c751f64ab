"""KL from draws where the truth is known: the truths by simulation, what each study counts, and what is said of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arviz as az
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from arviz_stats.utils import ELPDData
from scipy import integrate, stats

from analysis.data.columns import load_column
from analysis.drawing.marks import squeeze
from analysis.site.chapter import words_of
from analysis.unknown_p_data import findings as said
from analysis.unknown_p_data import study as question
from analysis.unknown_p_data.figures import plot
from analysis.unknown_p_data.study import ESTIMATORS, Settings
from analysis.unknown_p_data.targets import NAMES, find
from models.quadrature import Estimate
from models.unknown import Interval, kl_from_draws, leave_one_out
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")

SETTINGS = Settings(seed=3, replications=10, large=2, rivals=2)
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    # Seconds: the studies are cut down to sizes at which they only have to run.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(question, "SIZES", (100, 1000, 2000))
        return computed(question, SETTINGS, sizes=question.SIZES)


@pytest.fixture(scope="module")
def found(results: xr.DataTree) -> dict[str, Any]:
    return said.findings(results)


# --- truths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_those_of_draws(name: str) -> None:
    p = find(name)
    x = p.draw(RNG(1), 40_000)
    assert x.shape == (40_000, p.dim)
    error = np.sqrt(np.diag(p.cov) / len(x))
    assert np.all(np.abs(x.mean(axis=0) - p.mean) < 5 * error)
    tolerance = 0.35 if name == "t_copula" else 0.05  # no fourth moment
    assert np.cov(x.T).reshape(p.cov.shape) == pytest.approx(p.cov, rel=tolerance, abs=tolerance)


def five_modes(x: float) -> float:
    return float(np.dot([0.3, 0.2, 0.2, 0.2, 0.1], stats.norm.pdf(x, [-6, -2, 0, 3, 7], [1, 0.3, 0.5, 0.8, 0.2])))


DENSITIES = {
    "weibull": (lambda x: 0.8 * x**-0.2 * np.exp(-(x**0.8)), (0, 60)),
    "gumbel": (lambda x: np.exp(-x - np.exp(-x)), (-6, 40)),
    "logistic": (lambda x: 1 / (4 * np.cosh(x / 2) ** 2), (-40, 40)),
    "von_mises": (lambda x: np.exp(np.cos(x)) / (2 * np.pi * 1.2660658777520084), (-np.pi, np.pi)),
    "five_modes": (five_modes, (-14, 12)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_entropies_are_those_of_an_integrator(name: str) -> None:
    density, (low, high) = DENSITIES[name]

    def term(x: float) -> float:
        p = float(density(x))
        return -p * np.log(p) if p > 0 else 0.0

    pieces = np.linspace(low, high, 41)
    value = sum(integrate.quad(term, a, b)[0] for a, b in itertools.pairwise(pieces))
    assert find(name).entropy == pytest.approx(value, abs=2e-6)


def test_entropy_of_the_copula_is_the_mean_of_its_log_density() -> None:
    p = find("t_copula")
    x = p.draw(RNG(2), 100_000)
    t, z = stats.t(3), stats.norm.ppf(stats.t(3).cdf(x))
    cov = [[1, 0.6], [0.6, 1]]
    log_p = stats.multivariate_normal([0, 0], cov).logpdf(z) - stats.norm.logpdf(z).sum(1) + t.logpdf(x).sum(1)
    assert abs(-log_p.mean() - p.entropy) < 4 * log_p.std() / np.sqrt(len(x))


@pytest.mark.parametrize("name", ["clusters_2", "clusters_3"])
def test_entropy_of_sheared_clusters_is_the_mean_of_their_log_density(name: str) -> None:
    p = find(name)
    shear = np.array({"clusters_2": [[1, 0], [0.5, 1]], "clusters_3": [[1, 0, 0], [0.5, 1, 0], [0.3, 0.3, 1]]}[name])
    x = p.draw(RNG(3), 50_000)
    y = x @ np.linalg.inv(shear).T
    two = (stats.norm.pdf(y[:, 0], -3) + stats.norm.pdf(y[:, 0], 3)) / 2
    three = sum(
        w * stats.norm.pdf(y[:, 1], m, s) for w, m, s in zip((0.5, 0.3, 0.2), (-4, 0, 3), (1, 0.5, 0.7), strict=True)
    )
    log_p = np.log(two) + np.log(three) + (stats.norm.logpdf(y[:, 2]) if p.dim == 3 else 0)
    assert abs(-log_p.mean() - p.entropy) < 4 * log_p.std() / np.sqrt(len(x))


def test_kl_is_to_the_normal_and_not_from_it() -> None:
    p = find("two_modes")
    x = p.draw(RNG(4), 100_000)
    log_p = np.log((stats.norm.pdf(x[:, 0], -3) + stats.norm.pdf(x[:, 0], 3)) / 2)
    ratio = log_p - p.log_normal(x)
    assert abs(ratio.mean() - p.kl) < 4 * ratio.std() / np.sqrt(len(x))
    y = RNG(5).normal(0, np.sqrt(10), 100_000)[:, None]
    back = p.log_normal(y) - np.log((stats.norm.pdf(y[:, 0], -3) + stats.norm.pdf(y[:, 0], 3)) / 2)
    assert abs(back.mean() - p.kl) > 0.1
    assert find("normal_3").kl == pytest.approx(0, abs=1e-12)


# --- studies ---------------------------------------------------------------------------------------------------------


def test_a_summary_counts_what_it_says() -> None:
    def interval(value: float, reliable: bool) -> Interval:
        return Interval(value, 0.5, "draws", value - 1, value + 1, 0.95, 50, reliable)

    found = question.summary([interval(0.5, True), interval(3, True), interval(-0.5, False)], 0.0)
    assert found["count"] == 3
    assert found["bias"] == pytest.approx(1)
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["reliable"] == pytest.approx(2 / 3)
    assert found["coverage_reliable"] == 0.5
    assert (found["length"], found["mean_error"]) == (2, 0.5)
    assert np.isnan(question.summary([interval(0, False)] * 2, 0.0)["coverage_reliable"])


def test_the_length_of_an_interval_does_not_depend_on_where_zero_is() -> None:
    """The same Normal draws, for a KL that is zero and, by a model shifted far, for one that is not: cut at zero, and not cut."""
    x = stats.norm.rvs(size=(500, 1), random_state=3)
    cut, whole = (kl_from_draws(x, lambda v, c=c: stats.norm.logpdf(v[:, 0]) - c) for c in (0.0, 5.0))
    assert cut.lower == 0 < whole.lower
    lengths = [question.summary([found] * 2, 0.0)["length"] for found in (cut, whole)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.2)  # the lower half is longer, for the tail on that side
    assert cut.upper - cut.lower < 0.7 * lengths[1]


def test_rivals_estimate_the_same_kl() -> None:
    p = find("two_modes")
    x = p.draw(RNG(0), 1000)
    y = RNG(1).multivariate_normal(p.mean, p.cov, 1000)
    log_q = p.log_normal(x)
    for rival in question.rivals(1, 1000).values():
        assert abs(rival(x, log_q, y) - p.kl) < 0.3
    assert list(question.rivals(2, 1000)) == ["kernels", "arviz"]
    assert list(question.rivals(1, 10_000)) == ["scipy"]


def test_every_target_is_estimated_at_every_size(results: xr.DataTree) -> None:
    for name in NAMES:
        data = results[name].to_dataset()
        assert list(data["estimator"].to_numpy()) == list(ESTIMATORS)
        assert np.isfinite(data["bias"].sel(estimator=["entropy", "kl"])).all()
        assert np.isfinite(data["bias"].sel(estimator="scipy")).all() == (find(name).dim == 1)
        assert np.isfinite(data["bias"].sel(estimator="arviz")).to_numpy().tolist() == [False, True, False]
        shrinks = data["length"].sel(estimator="entropy").to_numpy()
        assert shrinks[0] > shrinks[-1]


def test_too_many_dimensions_and_too_heavy_tails_are_marked(results: xr.DataTree) -> None:
    assert float(results["normal_8/reliable"].sel(estimator="kl", n=1000)) == 0
    assert float(results["normal_2/reliable"].sel(estimator="kl", n=1000)) > 0.5
    tails = results["tails/reliable"]
    assert float(tails.sel(tail="lognormal")) < 0.6 < float(tails.sel(tail="t30"))


def test_rounding_breaks_what_jitter_mends(results: xr.DataTree) -> None:
    ties = results["ties"].to_dataset()
    assert abs(float(ties["bias"].sel(estimator="plain", unit=0.1))) > 0.5
    assert abs(float(ties["bias"].sel(estimator="jittered", unit=0.1))) < 0.1
    assert ties["flagged"].sel(how="plain", unit=[0.1, 1.0]).to_numpy().tolist() == [1, 1]
    assert float(ties["flagged"].sel(how="plain", unit=0.0)) < 0.3


def test_a_right_model_has_a_negative_cross_entropy_and_a_kl_about_zero(results: xr.DataTree) -> None:
    sign = results["sign"].to_dataset()
    assert float(sign["cross_entropy_exact"]) == pytest.approx(np.log(0.1 * np.sqrt(2 * np.pi * np.e)))
    assert float(sign["cross_entropy"]) < -0.7
    assert 0.2 < float((sign["value"] < 0).mean()) < 0.8
    assert float(sign["arviz"].min()) >= 0


def test_differences_are_those_of_arviz(results: xr.DataTree, found: dict[str, Any]) -> None:
    data = results["differences"].to_dataset()
    assert data.attrs["best"] == "two Normals"
    x, names = load_column(question.DATA)[:, None], list(data["family"].to_numpy())
    models = {
        name: as_elpd(leave_one_out(x, family, seed=SETTINGS.seed)) for name, family in question.candidates().items()
    }
    table = az.compare(models, round_to="none").loc[names]
    np.testing.assert_allclose(data["difference"], np.abs(table["elpd_diff"]) / len(x), atol=1e-10)
    np.testing.assert_allclose(data["error"], table["dse"] / len(x), atol=1e-10)
    assert float(data["difference"].sel(family="normal")) > 0.1
    assert found["differences"]["gain"] > 1


def as_elpd(pointwise: Any) -> ELPDData:
    n, array = len(pointwise), xr.DataArray(pointwise, dims="observation")
    return ELPDData(
        elpd=float(pointwise.sum()), se=float(np.sqrt(n * pointwise.var())), p=0.0, n_samples=1000, n_data_points=n,
        scale="log", warning=False, good_k=0.7, elpd_i=array, pareto_k=0.0 * array,
    )  # fmt: skip


@pytest.mark.exhaustive
def test_seed_is_what_the_numbers_depend_on(results: xr.DataTree) -> None:
    again = question.run_ties(SETTINGS)["bias"]
    assert again.equals(results["ties/bias"])
    other = question.run_ties(SETTINGS.model_copy(update={"seed": 4}))["bias"]
    assert not np.array_equal(again, other)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_findings_are_complete(found: dict[str, Any]) -> None:
    assert len(words_of("unknown_p_data", found).answer) > 100
    assert found["study"]["n_targets"] == len(found["needed"]["table"]) == len(NAMES)
    assert found["study"]["n_new"] >= 7


def test_the_stored_study_has_its_provenance_and_every_target() -> None:
    data = said.stored_study()
    assert {"date", "versions", "settings"} <= set(data.attrs)
    assert "infomeasure" in data.attrs["versions"]
    assert data.attrs["settings"] == Settings.preset("full").model_dump()
    assert set(data["target"].to_numpy()) == set(NAMES) | {f"tail {name}" for name in question.TAILS}
    ours = data.isel(row=((data["estimator"] == "kl") & (data["n"] == 1000)).to_numpy())
    assert set(ours["count"].to_numpy()) == {500, 1000}


def test_the_stored_study_holds_where_it_says_that_it_is_reliable() -> None:
    data = said.stored_study()
    small = ((data["estimator"] == "kl") & (data["n"] == 1000)).to_numpy()
    for _, row in data.isel(row=small).to_dataframe().iterrows():
        if row["reliable"] > 0.05:
            assert 0.91 < row["coverage_reliable"] < 0.995, row["target"]
        if row["dim"] <= 2 and row["reliable"] > 0.9:
            assert abs(row["bias"]) < row["sd"] * (0.2 + 3 / row["count"] ** 0.5), row["target"]


def test_draws_needed_follow_the_square_root() -> None:
    sizes = np.array([100, 1000, 10_000])
    half = 2 / np.sqrt(sizes)
    for wanted in (0.5, 0.2, 0.1, 0.05, 0.01):
        assert said.draws_needed(sizes, half, wanted) == pytest.approx((2 / wanted) ** 2)


def test_sentences_follow_the_numbers(found: dict[str, Any]) -> None:
    def row(title: str, bias: float, coverage: float, reliable: float = 1.0) -> dict[str, Any]:
        return {
            "title": title,
            "bias": bias,
            "sd": 1.0,
            "count": 500,
            "reliable": reliable,
            "coverage_reliable": coverage,
        }

    def text(rows: list[dict[str, Any]]) -> str:
        stored = found["full"] | {"biased": said.biased(rows), "covered": said.covered(rows)}
        whole = " ".join(words_of("unknown_p_data", found | {"full": stored}).text.split())
        return whole[whole.index("A bias of one fifth") : whole.index("With 10,000 draws")]

    good, biased, short, silent = row("a", 0.05, 0.95), row("b", 0.6, 0.95), row("c", 0, 0.7), row("d", 0, 0.2, 0.0)
    assert "for 0 of 2 targets. Among" in text([good, short])
    assert "1 of 2 targets: *b*; at worst it is 0.60 standard deviations. Those" in text([good, biased])
    assert "goes unseen" in text([biased])
    assert "Most intervals of *b* are marked unreliable. Among" in text([biased | {"reliable": 0.1}])
    judged = text([good, short, silent])
    assert "for 1 of 3 targets" in judged
    assert "for *d* hardly any" in judged
    assert "outside for *c* (70%)." in judged
    assert "outside" not in text([good])


def test_the_nearer_estimate_counts_bias_and_spread() -> None:
    near = {
        "bias": Estimate(0.0, 0.01, "draws"),
        "sd": 0.2,
        "infomeasure": Estimate(0.1, 0.01, "draws"),
        "sd_infomeasure": 0.1,
    }
    far = near | {"infomeasure": Estimate(0.3, 0.01, "draws")}
    assert said.nearer([near, far, near | {"infomeasure": None}]) == {"of": 2, "nearer": 1, "biased": 2}


def test_a_negative_excess_is_told_by_its_interval(results: xr.DataTree, found: dict[str, Any]) -> None:
    data, sign = (results[name].to_dataset() for name in ("differences", "sign"))
    others = {
        "includes zero": {"differences": said.differences(data.assign(kl_lower=-0.1))},
        "excludes zero": {"differences": said.differences(data.assign(kl_lower=0.1, kl_upper=0.2))},
        "none was negative": {"sign": said.sign(sign.assign(arviz=sign["arviz"] + 1))},
    }
    for words, changed in others.items():
        assert words in words_of("unknown_p_data", found | changed).text


# --- figures and settings --------------------------------------------------------------------------------------------


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed")
def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree, found: dict[str, Any]) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("unknown_p_data", found))


@pytest.mark.usefixtures("closed")
def test_figures_show_the_numbers(results: xr.DataTree) -> None:
    drawings = plot(results)
    assert set(drawings) == {"how_much", "bias", "interval_coverage"}
    axis = drawings["how_much"].figure.viz["figure"].item().axes[0]
    for dim in (1, 2, 3):
        half = np.log10(results[f"normal_{dim}/length"].sel(estimator="kl") / 2)
        assert any(np.allclose(line.get_ydata(), half) for line in axis.lines if len(line.get_ydata()) == len(half))
    axis = drawings["interval_coverage"].figure.viz["figure"].item().axes[0]
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections])
    for name in NAMES:
        assert np.isclose(dots[:, 0], 100 * float(results[f"{name}/coverage"].sel(estimator="kl", n=1000))).any()
    axis = drawings["bias"].figure.viz["figure"].item().axes[0]
    farthest = max(float(abs(results[f"{name}/bias"].sel(n=1000)).max()) for name in NAMES)
    assert squeeze(farthest, 0.02) < min(np.abs(axis.get_xlim()))


@pytest.mark.usefixtures("closed")
def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
