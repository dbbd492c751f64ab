"""Figures: the lines are the exact densities, the words are there, and the same numbers give the same bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from scipy import stats

from analysis.drawing.densities import densities, planes
from analysis.drawing.drawn import Drawing
from analysis.drawing.marks import squeeze
from analysis.drawing.style import Style, to_dark
from analysis.draws import levels
from analysis.mode_covering_vs_seeking import study as question
from analysis.mode_covering_vs_seeking.figures import hero, landscape, loss, pit
from analysis.reading import case_of
from analysis.site.chapter import Words
from models.errors import InputError
from models.families import FAMILIES
from models.targets import TARGETS, Target, normal_mixture
from tests.analysis.bimodal import bimodal
from tests.analysis.drawn import check_drawings

mpl.use("Agg")


def normal(mu: float, sigma: float) -> Target:
    return FAMILIES["normal"].member({"mu": mu, "sigma": sigma})


CURVES = [
    ("forward", "", normal(0, 10**0.5)),
    ("reverse", "global minimum", normal(-2.98, 1.02)),
    ("reverse", "local minimum", normal(0, 2.74)),
]
BROAD = FAMILIES["mvnormal"].member({"mu": [0.0, 0.0], "cov": [[3.25, 2.25], [2.25, 3.25]]})
ENDS = np.array([[-0.84, -0.84], [1.48, 1.48]])


@cache
def panel() -> dict[str, xr.Dataset]:
    return {"two modes": question.densities(TARGETS["bimodal"], CURVES)}


@cache
def plane() -> xr.Dataset:
    return question.densities(TARGETS["crossed"], [("forward", "", BROAD), ("reverse", "global minimum", BROAD)])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Leave no figure behind."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results() -> xr.DataTree:
    return xr.DataTree.from_dict({"/bimodal": bimodal()})


def style(theme: str = "light", backend: str = "matplotlib") -> Style:
    return Style.of(theme, backend)


def axes(collection: Any) -> list[Any]:
    return list(collection.viz["figure"].item().axes)


def lines(axis: Any) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    return [(np.asarray(a.get_xdata()), np.asarray(a.get_ydata()), a) for a in axis.lines]


# --- densities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_are_the_exact_densities(theme: str) -> None:
    s = style(theme)
    (axis,) = axes(densities(panel(), s))
    drawn = lines(axis)
    x = drawn[0][0]
    expected = [
        (0.5 * stats.norm(-3, 1).pdf(x) + 0.5 * stats.norm(3, 1).pdf(x), s.target, "-"),
        (stats.norm(0, 10**0.5).pdf(x), s.forward, "--"),
        (stats.norm(-2.98, 1.02).pdf(x), s.reverse, ":"),
        (stats.norm(0, 2.74).pdf(x), s.reverse, ":"),
    ]
    assert len(drawn) == len(expected)
    for (at, y, artist), (density, color, dash) in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(at, x)
        np.testing.assert_allclose(y, density, rtol=1e-9, atol=1e-14)
        assert to_hex(artist.get_color()) == color.lower()
        assert artist.get_linestyle() == dash
    assert drawn[3][2].get_linewidth() < drawn[2][2].get_linewidth()  # a local optimum is thin
    # All of the mass that is drawn is in view.
    assert np.trapezoid(drawn[0][1], x) == pytest.approx(1, abs=1e-4)
    assert len(axis.collections) == 1  # p_data is filled


def test_one_panel_for_each_target() -> None:
    one = normal_mixture([1], [2], [0.5])
    panels = panel() | {"one mode": question.densities(one, [("forward", "", one)])}
    titled = axes(densities(panels, style(), cols=2))
    assert [axis.get_title() for axis in titled] == ["two modes", "one mode"]
    x, y, _ = lines(titled[1])[0]
    np.testing.assert_allclose(y, stats.norm(2, 0.5).pdf(x), rtol=1e-9, atol=1e-14)


def test_legend_names_each_curve_once() -> None:
    twice = question.densities(TARGETS["bimodal"], [*CURVES, ("reverse", "global minimum", normal(2.98, 1.02))])
    (axis,) = axes(densities({"": twice}, style(), legend=True))
    words = [text.get_text() for text in axis.texts]
    assert sorted(words) == ["forward", "reverse, global", "reverse, local", "target"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_numbers_give_the_same_bytes(theme: str) -> None:
    def svg() -> bytes:
        return Drawing(densities(panel(), style(theme), legend=True)).svg(style(theme))

    first = svg()
    assert first == svg()
    assert first.startswith(b"<svg ")
    assert style(theme).forward.lower().encode() in first
    assert not plt.get_fignums()


def test_plotly_draws_without_a_warning() -> None:
    densities(panel(), style("light", "plotly"))


@pytest.mark.filterwarnings("ignore:Assuming dpi:UserWarning")
def test_plotly_draws_the_same_densities(tmp_path: Any) -> None:
    s = style("light", "plotly")
    collection = densities(panel(), s, legend=True)
    figure = collection.viz["figure"].item()
    figure = getattr(figure, "figure", figure)
    x = np.asarray(lines(axes(densities(panel(), style()))[0])[0][0])
    drawn = [
        np.asarray(trace.y, dtype=float) for trace in figure.data if trace.y is not None and len(trace.y) == len(x)
    ]
    for mu, sd in ((0, 10**0.5), (-2.98, 1.02), (0, 2.74)):
        assert any(np.allclose(y, stats.norm(mu, sd).pdf(x), atol=1e-12) for y in drawn)
    page = Drawing(collection).save(tmp_path / "page", s)
    assert page.name == "page.html"
    assert "plotly" in page.read_text(encoding="utf-8")


def test_saved_as_svg(tmp_path: Any) -> None:
    drawing = Drawing(densities(panel(), style()))
    path = drawing.save(tmp_path / "hero", style())
    assert path.name == "hero.svg"
    assert path.read_bytes().rstrip().endswith(b"</svg>")


# --- the question's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hero_shows_the_target_and_all_exact_optima(results: xr.DataTree, theme: str) -> None:
    (axis,) = axes(hero(case_of(results, "bimodal"), style(theme)))
    drawn = lines(axis)
    x = drawn[0][0]
    assert len(drawn) == 5
    for sd, mean in ((3.16227766, 0), (1.02336856, -2.98430599), (1.02336856, 2.98430599), (2.74376931, 0)):
        assert any(np.allclose(y, stats.norm(mean, sd).pdf(x), atol=1e-7) for _, y, _ in drawn)
    assert [artist.get_linewidth() for *_, artist in drawn][1:] == [2.4, 2.4, 2.4, 1.4]


def test_landscape_shows_every_run_and_every_stationary_point(results: xr.DataTree) -> None:
    (axis,) = axes(landscape(case_of(results, "bimodal"), style("dark")))
    restarts = results["bimodal/restarts"].to_dataset()
    drawn = [np.stack([x, y]) for x, y, _ in lines(axis) if len(x) == 2]
    for i in range(restarts.sizes["restart"]):
        run = restarts.isel(restart=i)
        ends = np.array([[run["start_mean"].item(), run["mean"].item()], [run["start_sd"].item(), run["sd"].item()]])
        assert any(np.allclose(d, ends) for d in drawn)
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections if len(c.get_offsets())])
    stationary = results["bimodal/stationary"].to_dataset()
    for m, s in zip(stationary["mean"].to_numpy()[:, 0], stationary["sd"].to_numpy()[:, 0], strict=True):
        assert np.any(np.all(np.isclose(dots, [m, s]), axis=1))
    words = [text.get_text() for text in axis.texts]
    assert words.count("KL 0.689") == 2
    assert words.count("KL 0.841") == 1


def test_loss_traces_have_the_exact_minima_as_lines(results: xr.DataTree) -> None:
    (axis,) = axes(loss(case_of(results, "bimodal"), style()))
    levels = [y[0] for x, y, _ in lines(axis) if len(y) == 2 and y[0] == y[1]]
    assert sorted(levels) == pytest.approx([0.688769, 0.840621], abs=1e-6)
    history = results["bimodal/restarts"]["history"].to_numpy()
    means = history[0].reshape(-1, 50).mean(axis=1)
    assert any(np.allclose(y, means) for _, y, _ in lines(axis) if len(y) == len(means))


def test_pit_has_one_panel_for_each_fit(results: xr.DataTree) -> None:
    assert len([axis for axis in axes(pit(case_of(results, "bimodal"), style())) if axis.lines]) == 2


@pytest.mark.exhaustive
def test_dark_drawings_are_the_light_ones_in_other_colours(results: xr.DataTree) -> None:
    """The question's own, and those of cases that are not computed here."""

    def plot(theme: str) -> dict[str, Drawing]:
        s = style(theme)
        case = case_of(results, "bimodal")
        figures = {
            "gallery": densities(panel() | {"again": panel()["two modes"]}, s, cols=2),
            "planes": planes({"one": (plane(), ENDS), "two": (plane(), ENDS)}, s),
            **{draw.__name__: draw(case, s) for draw in (hero, landscape, loss, pit)},
        }
        return {name: Drawing(figure) for name, figure in figures.items()}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = dict.fromkeys(("gallery", "planes", "hero", "landscape", "loss", "pit"), "Words. " * 20)
        light = check_drawings(plot, Words(alt=words, caption=words))
        assert {name: to_dark(svg) for name, svg in light.items()} == {
            name: drawing.svg(style("dark")) for name, drawing in plot("dark").items()
        }


def test_planes_show_targets_and_ends() -> None:
    (axis,) = axes(planes({"full rank": (plane(), ENDS)}, style()))
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections if len(c.get_offsets()) == 2])
    np.testing.assert_allclose(dots, ENDS)


def test_levels_of_a_plane_enclose_their_mass() -> None:
    """For a Normal in the plane the contour that encloses mass m has density (1 - m) of the peak."""
    member = FAMILIES["mvnormal"].member({"mu": [0.0, 0.0], "cov": [[2.0, 0.5], [0.5, 1.0]]})
    peak = 1 / (2 * np.pi * np.sqrt(1.75))
    np.testing.assert_allclose(levels(member), [0.1 * peak, 0.5 * peak], rtol=0.03)


def test_squeeze_is_odd_increasing_and_linear_near_zero() -> None:
    x = np.array([-10, -0.1, 0, 1e-4, 0.1, 10])
    assert np.all(np.diff(squeeze(x, 0.01)) > 0)
    np.testing.assert_allclose(squeeze(-x, 0.01), -squeeze(x, 0.01))
    assert squeeze(2e-5, 0.01) == pytest.approx(2 * squeeze(1e-5, 0.01), rel=1e-2)


# --- style -----------------------------------------------------------------------------------------------------------


def test_roles_differ_by_colour_and_by_dash_in_both_themes() -> None:
    for theme in ("light", "dark"):
        s = style(theme)
        assert len({s.color("target"), s.color("forward"), s.color("reverse")}) == 3
        assert len({s.dash("solid"), s.dash("dashed"), s.dash("dotted")}) == 3


@pytest.mark.parametrize(
    ("theme", "backend", "words"),
    [
        ("lihgt", "matplotlib", "theme 'lihgt'; did you mean light"),
        ("light", "plotyl", "backend 'plotyl'; did you mean plotly"),
    ],
)
def test_unknown_style(theme: str, backend: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Style.of(theme, backend)


def test_settings_of_the_theme_end_with_it() -> None:
    before = mpl.rcParams["text.color"]
    with style("dark").settings():
        assert mpl.rcParams["text.color"] == "#e6e6e6"
    assert mpl.rcParams["text.color"] == before
