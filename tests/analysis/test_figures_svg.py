"""Light drawings: the same picture in fewer bytes, its dark version, and both in one element of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import typst

from analysis.drawing.drawn import Drawing
from analysis.drawing.style import Style, counterparts, rim, to_dark
from analysis.drawing.svg import _needed, _path, inline, lighter, recoloured, share_glyphs

mpl.use("agg")

LIGHT = Style.of("light", "matplotlib")


def figure() -> Any:
    """Everything that the report's figures hold: curves, bands, markers, contours, dashes, words with rims, formulas."""
    x = np.linspace(-3, 3, 801)
    made, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    left.fill_between(x, 0, np.exp(-(x**2)), color=LIGHT.target, alpha=LIGHT.fill_alpha)
    left.plot(x, np.exp(-(x**2)), color=LIGHT.forward, linestyle="--", linewidth=2)
    left.plot(x, 0.3 + 0.2 * np.sin(9 * x), color=LIGHT.reverse, linestyle=":", linewidth=2.4, alpha=0.7)
    left.scatter(x[::100], np.cos(x[::100]), s=30, marker="X", color=LIGHT.ink, alpha=0.6)
    left.plot([-1, 1], [0.9, 0.1], "o", color=LIGHT.ink, fillstyle="none", clip_on=False)
    left.text(0, 0.5, "words over a curve\nin two lines", color=LIGHT.ink, ha="center", **rim(LIGHT, 4))
    left.set(title="title: −0.5 ‖ α", ylabel="rotated", xlim=(-2.5, 2.5))
    grid = np.linspace(-2, 2, 61)
    z = np.exp(-(grid[:, None] ** 2 + 0.5 * grid**2 + 0.4 * grid[:, None] * grid))
    right.contourf(grid, grid, z, levels=[0.2, 0.6, 1.1], colors=[LIGHT.reverse] * 2, alpha=0.2)
    right.contour(grid, grid, z, levels=[0.2, 0.6], colors=LIGHT.ink)
    right.set_xlabel(r"$\sqrt{1 - \rho^2}$ and $\alpha_{1/2}$")
    right.plot([0.1, 1.0], [0.1, 1.5], color=LIGHT.ramp(0.25), linewidth=5)
    return made


def raw(made: Any) -> bytes:
    buffer = io.BytesIO()
    made.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def drawn() -> tuple[bytes, bytes]:
    """The figure as matplotlib writes it, and made light."""
    with LIGHT.settings():
        made = figure()
        before = raw(made)
    panel = type("Figure", (), {"viz": {"figure": np.array(made, dtype=object)}})()
    return before, Drawing(panel).svg(LIGHT)


def picture(svg: bytes, folder: Path) -> np.ndarray:
    """Pixels (rows, columns, 3), 0 to 1, drawn by typst: another reader than a browser, and another than matplotlib."""
    (folder / "drawing.svg").write_bytes(svg)
    page = '#set page(width: 576pt, height: auto, margin: 0pt)\n#image("drawing.svg", width: 100%)'
    (folder / "page.typ").write_text(page, encoding="utf-8")
    content = typst.compile(str(folder / "page.typ"), root=str(folder), format="png", ppi=144.0)
    return plt.imread(io.BytesIO(content))[..., :3]


def test_a_light_drawing_shows_the_same_in_less_than_half_of_the_bytes(
    drawn: tuple[bytes, bytes], tmp_path: Path
) -> None:
    before, after = drawn
    assert len(after) < 0.45 * len(before)
    one, two = (picture(svg, tmp_path) for svg in drawn)
    away = np.abs(one - two).max(axis=2)
    assert one.shape == two.shape
    assert (one.min(axis=2) < 0.5).sum() > 5000  # there is something to see
    assert away.mean() < 1e-3
    assert (away > 0.4).sum() < 20  # of a million: shades at the edges of strokes
    # The measure sees a word that is missing.
    fewer = re.sub(rb'<use href="#g\w+" x="[^"]*"/>', b"", after)
    assert (np.abs(one - picture(fewer, tmp_path)).max(axis=2) > 0.4).sum() > 1000


def test_each_letter_is_outlined_once_and_colours_are_in_one_place(drawn: tuple[bytes, bytes]) -> None:
    _, after = drawn
    root = ElementTree.fromstring(after)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    style = next(element for element in root.iter() if element.tag.endswith("style"))
    assert set(re.findall("#[0-9a-f]{6}", after.decode())) == set(re.findall("#[0-9a-f]{6}", style.text or ""))
    used = {element.get("href", "#")[1:] for element in root.iter()} | set(re.findall(r"url\(#(\w+)\)", after.decode()))
    assert used - {""} <= set(ids)
    assert set(ids) <= used


def test_numbers_of_a_path_are_those_of_the_drawing() -> None:
    """Read back by a reader of relative paths that knows nothing of how they are written."""
    rng = np.random.default_rng(4)
    data = "M 0.004 -0.5 L 10.5 -0.5 L 10.5 7.256 Q 1.5 .25 3 4 C 1 2 3 4 -5 -6.125 L -5 -6.125 z M 100 200 L 1.005 -300.5 z"
    data += "".join(
        f" {'M' if i % 7 == 0 else 'L'} {a:.6f} {b:.6f}" for i, (a, b) in enumerate(rng.normal(0, 40, (60, 2)))
    )
    expected = np.array(re.findall(r"-?\d*\.?\d+", data), dtype=float).reshape(-1, 2)
    found, here, start = [], np.zeros(2), np.zeros(2)
    size = {"m": 2, "l": 2, "h": 1, "v": 1, "q": 4, "c": 6, "z": 0}
    for letter, text in re.findall("([a-z])([^a-z]*)", _path(data, thin=False)):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        if letter == "z":
            here = start
        for i in range(0, len(numbers), size[letter] or 1):
            step = numbers[i : i + size[letter]]
            pairs = {"h": [(step[0], 0.0)], "v": [(0.0, step[0])]}.get(letter) or list(
                zip(step[::2], step[1::2], strict=True)
            )
            found += [here + pair for pair in pairs]
            here = found[-1]
            if letter == "m" and i == 0:
                start = here
    np.testing.assert_allclose(found, expected, atol=0.00501)


def test_thinned_lines_stay_within_a_hair_of_the_drawn_ones() -> None:
    t = np.linspace(0, 6, 2000)
    line = np.column_stack([60 * t, 100 * np.exp(-((t - 3) ** 2)) + 5 * np.sin(9 * t)])
    keep = _needed(line)
    assert keep.sum() < 0.2 * len(line)
    assert keep[0]
    assert keep[-1]
    kept = line[keep]
    away = np.abs(np.interp(line[:, 0], kept[:, 0], kept[:, 1]) - line[:, 1])
    assert away.max() < 0.2  # steep: 0.03 across, more upright


def test_short_lines_and_curves_keep_their_points() -> None:
    short = "M 0 0 L 1 0.001 L 2 0 L 3 0.001 L 4 0"
    assert _path(short, thin=True) == _path(short, thin=False)
    assert _path("M 1.234567 2 L 3 4 Q 5 6 7 8 z", thin=True) == "m1.23 2 1.77 2q2 2 4 4z"


def test_what_matplotlib_does_not_write_is_refused() -> None:
    with pytest.raises(ValueError, match="'H' with 2 numbers"):
        _path("M 0 0 H 1 2", thin=True)


# --- two themes ------------------------------------------------------------------------------------------------------


def test_every_colour_has_one_counterpart() -> None:
    pairs = counterparts()
    assert len(set(pairs.values())) == len(pairs) > 60
    dark = Style.of("dark", "matplotlib")
    assert pairs[LIGHT.ramp(0.25)] == dark.ramp(0.25)
    assert pairs[LIGHT.reverse.lower()] == dark.reverse.lower()


def test_a_colour_without_counterpart_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="#123456"):
        to_dark(b"<style>.a{fill:#123456}</style>")
    assert (
        recoloured(b'<use href="#g12"/>.a{fill:#123456}', {"#123456": "#654321"})
        == b'<use href="#g12"/>.a{fill:#654321}'
    )


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("what", ["words", "area"])
def test_black_which_matplotlib_leaves_unsaid_is_seen(what: str) -> None:
    made, axis = plt.subplots(figsize=(2, 2))
    axis.set_axis_off()
    if what == "words":
        axis.text(0.5, 0.5, "black", color="black")
    else:
        axis.fill_between([0, 1], [1, 0], color="black", linewidth=0)
    with LIGHT.settings(), pytest.raises(ValueError, match="#000000"):
        to_dark(lighter(raw(made)))


def test_a_page_has_one_drawing_with_both_colours(drawn: tuple[bytes, bytes]) -> None:
    _, svg = drawn
    text = inline(svg, to_dark(svg), "hero", 'Two "curves" & a hill.')
    assert text is not None
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'Two "curves" & a hill.'
    assert "width" not in root.attrib
    style = root.findtext("style") or ""
    assert ElementTree.fromstring(svg).attrib["viewBox"] == root.attrib["viewBox"]
    light, dark = re.findall(r"#hero-drawing\{(--[^}]*)\}", style)
    themes = [dict(pair.split(":") for pair in part.split(";")) for part in (light, dark)]
    assert list(themes[0]) == list(themes[1])
    assert {themes[0][name]: themes[1][name] for name in themes[0]}.items() <= counterparts().items()
    assert style.count("@media screen and (prefers-color-scheme:dark)") == 1
    # The rules: the light drawing's, in this drawing only.
    rules = style.partition("}}")[2]
    plain = re.sub(r"var\((--\w+)\)", lambda m: themes[0][m[1]], rules).replace("#hero-drawing ", "")
    assert f"<style>{plain}</style>".encode() in svg
    assert all(rule.startswith("#hero-drawing ") for rule in rules.split("}")[:-1])
    # Ids: this drawing's, but for letters.
    for element in root.iter():
        assert re.match(r"hero-|g[0-9a-f]+$|i[0-9a-f]+$", element.get("id", "hero-"))
        assert element.get("href", "#hero-")[1:].startswith(("hero-", "g", "i"))


def test_drawings_that_differ_otherwise_are_no_single_one() -> None:
    one, two = b'<svg viewBox="0 0 1 1"><rect width="1"/></svg>', b'<svg viewBox="0 0 1 1"><rect width="2"/></svg>'
    with pytest.raises(ValueError, match="'a' differ by more than colours"):
        inline(one, two, "a", "Words.")
    assert inline(one, one, "a", "Words.")


def test_letters_are_outlined_once_in_a_page() -> None:
    first, second = '<path id="g4a" d="m0 0h1"/>', '<path id="g4b" d="m0 0h2"/>'
    page = f"<svg><defs>{first}</defs></svg><svg><defs>\n{first}\n{second}</defs></svg>"
    assert share_glyphs(page) == f"<svg><defs>{first}</defs></svg><svg><defs>\n{second}</defs></svg>"
    with pytest.raises(ValueError, match="letter g4a has two outlines"):
        share_glyphs(page + '<path id="g4a" d="m0 0h3"/>')


def test_the_same_drawing_gives_the_same_bytes(drawn: tuple[bytes, bytes]) -> None:
    before, _ = drawn
    assert lighter(before) == lighter(before)
