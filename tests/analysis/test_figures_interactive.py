"""Figures to play with: a legend, a hover that says names and numbers, and pages that share one library."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from bokeh.models import HoverTool, Plot
from bokeh.models.annotations import Legend
from scipy.stats import norm

from analysis.drawing.densities import densities
from analysis.drawing.drawn import Drawing
from analysis.drawing.grid import panel_grid
from analysis.drawing.interactive import finish, reader
from analysis.drawing.marks import points
from analysis.drawing.style import Style
from tests.analysis.bimodal import bimodal
from tests.analysis.drawn import check_pages

mpl.use("Agg")

BACKENDS = pytest.mark.parametrize("backend", ["plotly", "bokeh"])
X = np.linspace(-6, 6, 201)
FITS = [(0.0, 3.25), (-2.98, 1.02), (0.0, 2.74)]
CURVES = xr.Dataset(
    {
        "density": (("curve", "x"), [norm.pdf(X, -3) / 2 + norm.pdf(X, 3) / 2, *(norm.pdf(X, m, s) for m, s in FITS)]),
        "role": ("curve", ["target", "forward", "reverse", "reverse"]),
        "status": ("curve", ["", "", "global minimum", "local minimum"]),
        "mean": (("curve", "dim"), [[np.nan], *([m] for m, _ in FITS)]),
        "sd": (("curve", "dim"), [[np.nan], *([s] for _, s in FITS)]),
        "kl": ("curve", [np.nan, 0.46199, 0.68877, 0.84062]),
    },
    coords={"x": X},
)
NAMES = ["target", "forward, exact", "reverse, global minimum", "reverse, local minimum"]


def style(backend: str, theme: str = "light") -> Style:
    return Style.of(theme, backend)


def finished(collection: Any, s: Style) -> Any:
    return finish(collection.viz["figure"].item(), s)


def legend_of(figure: Any, backend: str) -> list[str]:
    if backend == "plotly":
        assert figure.layout.showlegend
        assert figure.layout.legend.groupclick == "togglegroup"
        return [trace.name for trace in figure.data if trace.showlegend]
    (legend,) = figure.select({"type": Legend})
    assert legend.click_policy == "hide"
    return [item.label.value for item in legend.items]


def hovers_of(figure: Any, backend: str) -> list[str]:
    if backend == "plotly":
        return [trace.hovertemplate for trace in figure.data if trace.hovertemplate]
    return [tool.tooltips for tool in figure.select({"type": HoverTool})]


def marks_of(figure: Any, backend: str) -> list[tuple[str, float]]:
    if backend == "plotly":
        return [(t.name, t.marker.size) for t in figure.data if t.mode == "markers"]
    drawn = [r for p in figure.select({"type": Plot}) for r in p.renderers if r.name]
    return [(r.name, r.glyph.size if isinstance(r.glyph.size, float) else r.glyph.size.value) for r in drawn]


@BACKENDS
def test_every_curve_is_named_once_and_says_its_numbers(backend: str) -> None:
    figure = finished(densities({"one": CURVES, "two": CURVES}, style(backend), cols=2), style(backend))
    assert legend_of(figure, backend) == NAMES
    for name, (mean, sd), kl in zip(NAMES[1:], FITS, ("0.462", "0.6888", "0.8406"), strict=True):
        numbers = f"mean {mean:.4g}, sd {sd:.4g}, KL in nats {kl}".replace("-", "−")
        found = [text for text in hovers_of(figure, backend) if f"<b>{name}</b>" in text]
        assert found
        assert all(numbers in text and "density: " in text for text in found)


@BACKENDS
def test_the_legend_hides_a_name_in_all_panels(backend: str) -> None:
    figure = finished(densities({"one": CURVES, "two": CURVES}, style(backend), cols=2), style(backend))
    if backend == "plotly":
        groups = [trace.legendgroup for trace in figure.data if trace.legendgroup]
        assert {name: groups.count(name) for name in NAMES} == dict(zip(NAMES, (6, 2, 2, 2), strict=True))
        return
    (legend,) = figure.select({"type": Legend})
    drawn = [r for p in figure.select({"type": Plot}) for r in p.renderers if r.name]
    for item in legend.items:
        reached, new = set(), [item.renderers[0]]
        while new:
            links = [call for r in new for call in r.js_property_callbacks.get("change:visible", [])]
            new = [call.args["other"] for call in links if call.args["other"].id not in reached]
            reached |= {r.id for r in new}
        assert reached == {r.id for r in drawn if r.name == item.label.value}


@BACKENDS
def test_marks_can_be_pointed_at_and_say_what_differs(backend: str) -> None:
    s = style(backend)
    collection, (axis,) = panel_grid(["marks"], s, 1, (5, 4))
    for area, name in ((4, "small"), (40, "middle"), (400, "large")):
        points(
            [0, 1],
            [1, 2],
            axis,
            s,
            color=s.ink,
            area=area,
            label=name,
            facts={"gap": [0.12345, 2e-15], "of": ["a", "b<c"]},
        )
    s.draw.xticks([0, 1], ["1", "10"], axis)
    s.draw.yticks([1, 2], ["first row", "second row"], axis)
    figure = finished(collection, s)
    assert marks_of(figure, backend) == [("small", 6.0), ("middle", pytest.approx(40**0.5)), ("large", 9.0)]
    if backend == "plotly":
        assert list(figure.data[0].customdata[1]) == ["gap 0, of b&lt;c", "10", "second row"]
    else:
        data = next(r for p in figure.select({"type": Plot}) for r in p.renderers if r.name == "small").data_source.data
        assert [list(data[name])[1] for name in ("told", "said_x", "said_y")] == [
            "gap 0, of b<c",
            "10",
            "second row",
        ]


@BACKENDS
def test_contours_are_lines_at_their_level(backend: str) -> None:
    s, x = style(backend), np.linspace(-3, 3, 121)
    z = norm.pdf(x)[:, None] * norm.pdf(x, 0, 0.5)
    _, (axis,) = panel_grid(["plane"], s, 1, (4, 4))
    s.draw.contour(x, x, z, axis, levels=[0.1], color=s.target, label="target")
    (line,) = [t for t in axis.figure.data if t.name] if backend == "plotly" else [r.data_source.data for r in axis.renderers if r.name]  # fmt: skip
    at, height = (np.asarray(line[name], dtype=float) for name in ("x", "y"))
    assert len(at) > 30
    np.testing.assert_allclose(norm.pdf(at) * norm.pdf(height, 0, 0.5), 0.1, rtol=0.02)
    # The wider axis is the first.
    assert np.ptp(at) > 1.5 * np.ptp(height)


def test_matplotlib_draws_the_same_with_names_as_without() -> None:
    def svg(**told: Any) -> bytes:
        s = style("matplotlib")
        with s.settings():
            collection, (axis,) = panel_grid(["one"], s, 1, (4, 3))
            s.draw.line(X, X**2, axis, color=s.ink, **told)
            points(X[::20], X[::20], axis, s, color=s.ink, area=20, **told)
        return Drawing(collection).svg(s)

    assert svg(label="a name", facts={"mean": 1.0}) == svg()


@pytest.mark.parametrize(
    ("ticks", "labels", "places", "words"),
    [
        ([0, 1, 2], ["1", "10", "10²"], [1.5], ["31.62"]),
        ([-3, 0], ["10⁻³", "1"], [-1], ["0.1"]),
        (np.log([0.5, 2]), ["0.5", "2"], [0.0], ["1"]),
        ([0, 1], ["first", "second"], [0.2, 0.8], ["first", "second"]),
        ([0, 1], ["", ""], [0.2], [""]),
        ([-0.3, 0, 0.3], ["−1", "0", "1"], [0.1], [""]),  # a scale that is not known
    ],
)
def test_places_are_read_as_the_axis_says(ticks: Any, labels: Any, places: Any, words: Any) -> None:
    read = reader(ticks, labels)
    assert read is not None
    assert read(places) == words


def test_places_on_a_plain_axis_are_numbers() -> None:
    assert reader([-3, 0, 3], ["−3", "0", "3"]) is None
    assert reader(None, None) is None


# --- pages -----------------------------------------------------------------------------------------------------------


@BACKENDS
def test_pages_share_one_library_and_ask_for_nothing_elsewhere(backend: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for name in ("one", "two"):
        s = style(backend)
        page = Drawing(densities({"": CURVES}, s)).save(tmp_path / name, s)
        assert page.stat().st_size < 200_000
        assert re.findall(r"src=\"([^\"]*)\"", page.read_text(encoding="utf-8")) == [f"{backend}.min.js"]
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", "one.html", "two.html", f"{backend}.min.js"}
    assert (tmp_path / f"{backend}.min.js").stat().st_size > 1_000_000


@BACKENDS
def test_a_foreign_file_of_the_librarys_name_stays(backend: str, tmp_path: Path) -> None:
    (tmp_path / f"{backend}.min.js").write_text("mine")
    s = style(backend)
    page = Drawing(densities({"": CURVES}, s)).save(tmp_path / "one", s)
    (name,) = re.findall(r"src=\"([^\"]*)\"", page.read_text(encoding="utf-8"))
    assert re.fullmatch(rf"{backend}-[\d.]+\.min\.js", name)
    assert (tmp_path / name).stat().st_size > 1_000_000
    assert (tmp_path / f"{backend}.min.js").read_text() == "mine"


@BACKENDS
def test_a_dark_page_is_dark(backend: str, tmp_path: Path) -> None:
    s = style(backend, "dark")
    page = Drawing(densities({"": CURVES}, s)).save(tmp_path / "dark", s).read_text(encoding="utf-8")
    assert f"background:{s.paper}" in page
    assert page.count(s.paper) > 2


def figures_of(backend: str) -> Callable[[], dict[str, Drawing]]:
    """Figures of the question, of the one case that is computed in tests."""
    from analysis.mode_covering_vs_seeking import figures

    case, s = bimodal(), style(backend)
    return lambda: {
        d.__name__: Drawing(d(case, s)) for d in (figures.hero, figures.landscape, figures.loss, figures.pit)
    }


def test_pages_of_the_main_question(tmp_path: Path) -> None:
    check_pages(figures_of("plotly"), tmp_path)
    landscape = (tmp_path / "landscape.html").read_text(encoding="utf-8")
    assert "minimum, exact" in landscape
    assert "KL in nats 0.6888" in landscape
