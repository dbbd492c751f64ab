"""Ways to approximate posteriors of posteriordb: what is stored, what is found of it, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy.stats import lognorm

from analysis.reference_posteriors import study as question
from analysis.reference_posteriors.figures import plot
from analysis.reference_posteriors.findings import errors, findings
from analysis.reference_posteriors.natural import moments, parameters
from analysis.reference_posteriors.posteriors import CASES
from analysis.reference_posteriors.study import Settings, case_of_key
from analysis.site.chapter import words_of
from models.advi import response_sds
from models.errors import InputError
from models.families import FAMILIES
from models.quadrature import sobol_nodes
from models.results import load, save
from models.targets import Posterior, from_model
from tests.analysis.computed import computed
from tests.analysis.drawn import check_drawings, check_pages

mpl.use("Agg")
pytestmark = pytest.mark.exhaustive

SETTINGS = Settings(posteriors=("kidiq", "mixture"), starts=4, steps=2000, power=11)


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return computed(question, SETTINGS)


def test_means_and_widths_of_a_regression_are_those_of_least_squares(results: xr.DataTree) -> None:
    """An unrelated route to the same posterior: with flat coefficients it is Student's t about least squares, nearly Normal here."""
    entry = case_of_key("kidiq").model()
    iq, y = (entry[name].get_value() for name in ("iq", "observed"))
    X = np.column_stack([np.ones_like(iq), iq])
    beta, rss, *_ = np.linalg.lstsq(X, y, rcond=None)
    sd = np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * rss[0] / (len(y) - 2))
    fits = results["kidiq/fits"].to_dataset()
    for way in ("mean_field", "linear_response", "full_rank"):
        np.testing.assert_allclose((fits["mean"].sel(way=way)[:2] - beta) / sd, 0, atol=0.03)
    np.testing.assert_allclose(fits["sd"].sel(way="linear_response")[:2] / sd, 1, atol=0.03)
    np.testing.assert_allclose(fits["sd"].sel(way="full_rank")[:2] / sd, 1, atol=0.03)
    # Mean field has the sd of each coefficient given the other one.
    given = np.sqrt(rss[0] / (len(y) - 2) / np.diag(X.T @ X))
    np.testing.assert_allclose(fits["sd"].sel(way="mean_field")[:2] / given, 1, atol=0.03)


def test_both_modes_are_found_and_mixed_in_halves(results: xr.DataTree) -> None:
    fits, found = results["mixture/fits"].to_dataset(), errors(results["mixture"])
    for way in ("mean_field", "linear_response", "full_rank", "mixture"):
        assert fits["found"].sel(way=way).to_numpy().tolist() == [True, True]
    np.testing.assert_allclose(fits["weight"].sel(way="mixture"), 0.5, atol=0.02)
    np.testing.assert_allclose(found["ratio"].sel(way="mixture"), 1, atol=0.05)
    assert float(found["error"].sel(way="mixture").max()) < 0.05
    # One optimum is one mode: all of the weight on it, and the distance between modes is what its sd lacks.
    assert sorted(fits["weight"].sel(way="full_rank").to_numpy().tolist()) == [0, 1]
    assert float(found["ratio"].sel(way="full_rank").min()) < 0.05


@pytest.fixture(scope="module")
def scale() -> Posterior:
    """A scale and a location without data: log-Normal and Normal."""
    with pm.Model(model=None) as model:
        pm.LogNormal("s", 0.3, 0.5)
        pm.Normal("m", -2, 2)
    return from_model(model)


def test_moments_on_the_natural_scale_are_those_of_a_lognormal(scale: Posterior) -> None:
    normal = FAMILIES["mvnormal_diag"].member({"mu": np.array([0.3, -2.0]), "sigma": np.array([0.5, 2.0])})
    nodes = sobol_nodes(2, power=14, replicates=1, seed=0).points
    mean, sd = moments(scale, normal, nodes, ["s", "m"])
    np.testing.assert_allclose(mean, [lognorm.mean(0.5, scale=np.exp(0.3)), -2], rtol=1e-2)
    np.testing.assert_allclose(sd, [lognorm.std(0.5, scale=np.exp(0.3)), 2], rtol=2e-2)


def test_linear_response_of_a_scale_is_that_of_its_mean(scale: Posterior) -> None:
    """Derived by hand: E_q[s] = e with log e = m + v / 2, H is diag(1 / v, 2) for (m, log sd), so the variance is e^2 (v + v^2 / 2)."""
    normal = FAMILIES["mvnormal_diag"].member({"mu": np.array([0.3, -2.0]), "sigma": np.array([0.5, 2.0])})
    e, v = lognorm.mean(0.5, scale=np.exp(0.3)), 0.25
    np.testing.assert_allclose(
        response_sds(scale, normal, lambda x: parameters(scale, x, ["s", "m"])),
        [e * np.sqrt(v + v**2 / 2), 2],
        rtol=1e-2,
    )


def test_findings_are_those_of_the_numbers(results: xr.DataTree) -> None:
    f = findings(results)
    assert (f["n"], f["one"], f["parameters"]) == (2, 1, 3)
    fits, reference = results["kidiq/fits"].to_dataset(), results["kidiq/reference"].to_dataset()
    off = np.abs(fits["sd"].sel(way="mean_field") / reference["sd"] - 1)
    assert f["ways"]["mean_field"]["sd_error"] == pytest.approx(float(np.median(off)))
    assert f["ways"]["mean_field"]["sd_small"] == pytest.approx(float(np.mean(off <= 0.15)))
    row = f["rows"][0]["ways"]["pymc_mean_field"]
    assert row["poor"]
    assert row["found"] == 0
    assert row["error"] == pytest.approx(float(errors(results["kidiq"])["error"].sel(way="pymc_mean_field").max()))
    assert f["two"]["mixture"]["weights"][0] == pytest.approx(0.5, abs=0.02)


def test_widths_of_one_mode_of_two_are_not_trusted_and_right_ones_are(results: xr.DataTree) -> None:
    off = np.abs(errors(results["mixture"])["ratio"].sel(way="linear_response").to_numpy() - 1) > 0.15
    assert off.sum() >= 3
    trusted = [results[f"{key}/fits"]["trusted"].sel(way="linear_response").to_numpy() for key in ("kidiq", "mixture")]
    assert trusted[0].all()
    assert not trusted[1].any()
    good = 3 + int((~off).sum())
    assert findings(results)["trust"] == {
        "off": off.sum(),
        "off_named": off.sum(),
        "good": good,
        "good_named": good - 3,
    }


def test_a_diagnostic_that_cannot_be_computed_warns(results: xr.DataTree) -> None:
    changed = results.copy(deep=True)
    fits = changed["kidiq/fits"].to_dataset()
    fits["k_hat"] = fits["k_hat"].where(fits["way"] != "pymc_mean_field")
    changed["kidiq/fits"] = xr.DataTree(fits)
    assert findings(changed)["rows"][0]["ways"]["pymc_mean_field"]["warned"]
    fits["k_hat"] = xr.zeros_like(fits["k_hat"])
    changed["kidiq/fits"] = xr.DataTree(fits)
    f = findings(changed)
    assert f["ways"]["pymc_mean_field"]["poor_silent"] == ["test scores on IQ"]
    assert "silent in 1 of 1 poor fit by `pm.fit`" in words_of("reference_posteriors", f).text


def test_sentences_follow_the_numbers(results: xr.DataTree) -> None:
    f = findings(results)
    words = words_of("reference_posteriors", f)
    assert len(words.answer) > 100
    assert "The mixture of both has weights 0.5" in words.text
    assert "mixture of both" not in words_of("reference_posteriors", f | {"two": None}).text
    worst = [{"title": "a funnel", "off": 0.4}]
    assert "in a funnel. There the posterior" in words_of("reference_posteriors", f | {"response": worst}).text
    assert "There the posterior" not in words_of("reference_posteriors", f | {"response": []}).text


def test_figures_are_light_and_dark_and_have_words(results: xr.DataTree) -> None:
    check_drawings(lambda theme: plot(results, theme=theme), words_of("reference_posteriors", findings(results)))


def test_results_can_be_kept_and_parts_hold_what_they_read(results: xr.DataTree, tmp_path: Path) -> None:
    assert load(save(results, tmp_path / "results.nc")).equals(results)
    inputs: dict[str, Any] = {part.name: part.inputs for part in question.parts(Settings())}
    assert list(inputs) == [case.key for case in CASES]
    assert len({part["entry"] for part in inputs.values()}) == 12  # the mixture is read twice
    assert "posteriors" not in inputs["kidiq"]["settings"]  # so that a posterior more leaves the others as they are


def test_an_unknown_posterior_is_named() -> None:
    with pytest.raises(InputError, match="kidik"):
        case_of_key("kidik")


def test_efforts_order_the_work() -> None:
    quick, default, full = (Settings.preset(effort) for effort in ("quick", "default", "full"))
    assert set(quick.posteriors) < set(default.posteriors) == set(full.posteriors)
    assert quick.starts < default.starts < full.starts
    assert default == Settings()


def test_pages_name_what_they_draw(results: xr.DataTree, tmp_path: Path) -> None:
    check_pages(lambda: plot(results, backend="plotly"), tmp_path)
