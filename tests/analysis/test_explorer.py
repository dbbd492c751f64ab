"""The explorer: what its table must hold, what stands there without a script, and that the script says the same."""

from __future__ import annotations

import base64
import copy
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from analysis.running import answers as running
from analysis.site.chapter import TEMPLATES, ReportError, Words
from analysis.site.explorer import Explorer
from analysis.site.figure import Figure
from analysis.site.report import Section, write_report
from models.errors import InputError

SCRIPT = TEMPLATES / "explorer.js"
NBSP = "\N{NO-BREAK SPACE}"
SVG = "{http://www.w3.org/2000/svg}"


def make_table(**changes: Any) -> dict[str, Any]:
    def one(a: float, w: float) -> dict[str, Any]:
        mean = a * (1 - 2 * w)
        forward = [mean, float(np.sqrt(1 + a**2 - mean**2)), 0.4619946131 if a == 3 else 3.21e-6]
        if a < 2:
            return {"forward": forward, "reverse": [[mean, 1.234567890123, 2.1e-5, 1]]}
        if w == 0.5:
            modes = [[2.984, 1.0234, 0.68876899612, 1], [-2.984, 1.0234, 0.68876899611, 1]]
            return {"forward": forward, "reverse": [*modes, [1e-16, 2.744, 0.840621, 0]]}
        return {"forward": forward, "reverse": [[2.99, 1.01, 0.357, 1], [-2.9, 1.1, 1.204, 0]]}

    separations, weights = [1.0, 3.0], [0.3, 0.5]
    cells = [[one(a, w) for w in weights] for a in separations]
    return {"separations": separations, "weights": weights, "initial": {"a": 3.0, "w": 0.5}, "cells": cells} | changes


def make_explorer(**changes: Any) -> Explorer:
    return Explorer("explorer", make_table(**changes), "Bells & <hills>.", "Optima of $p_\\theta$.")


def chapter(folder: Path) -> Path:
    (folder / "demo").mkdir(exist_ok=True)
    return folder / "demo" / "chapter.md"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explorer")
    chapter(root).write_text("See << figures.explorer.ref >>.\n\n<< figures.explorer >>\n", encoding="utf-8")
    section = Section("demo", "Demo", {"question": "Why?", "answer": "So."}, [make_explorer()])
    write_report(
        [section], provenance={}, output=root / "out", formats=["html", "md", "pdf"], templates=[root, TEMPLATES]
    )
    return root / "out"


def page_of(built: Path) -> str:
    return (built / "index.html").read_text(encoding="utf-8")


def widget_of(page: str) -> str:
    found = re.search(r'<div class="explorer" .*?</script>\n</div>', page, flags=re.DOTALL)
    assert found
    return found.group()


def data_of(widget: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', widget, flags=re.DOTALL)
    assert found
    return json.loads(found.group(1))


# The table


def test_good_tables_are_taken() -> None:
    make_explorer()
    make_explorer(initial={"a": 1, "w": 0.3})


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    table = copy.deepcopy(make_table())
    place: Any = table
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return table


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["separations"], [3.0, 1.0], "separations must ascend"),
        (["separations"], [], "separations: List should have at least 1 item"),
        (["separations", 0], -1.0, r"separations\[0\]: Input should be greater than 0"),
        (["weights", 1], 1.0, r"weights\[1\]: Input should be less than 1"),
        (["weights", 1], "half", r"weights\[1\]: Input should be a valid number"),
        (["weights", 1], float("nan"), r"weights\[1\]: Input should be"),
        (["initial"], {"a": 3.0}, "initial.w: Field required"),
        (["initial"], [3.0, 0.5], "initial: Input should be a valid dictionary"),
        (["initial", "a"], 2.0, "position 2 is not among the separations: 1, 3"),
        (["cells"], [[]], "a row for each separation"),
        (["cells", 1], [], "a cell for each weight"),
        (["cells", 1], 7, r"cells\[1\]: Input should be a valid list"),
        (["cells", 1, 0], {"forward": [0, 1, 0]}, r"cells\[1\]\[0\].reverse: Field required"),
        (["cells", 1, 0, "forward"], [0.0, 1.0], r"cells\[1\]\[0\].forward"),
        (["cells", 0, 1, "forward", 1], 0.0, r"cells\[0\]\[1\].forward\[1\]: Input should be greater than 0"),
        (["cells", 0, 1, "forward", 2], -0.1, r"forward\[2\]: Input should be greater"),
        (["cells", 0, 1, "reverse"], [], "at least 1 item"),
        (["cells", 1, 1, "reverse", 2, 0], None, r"reverse\[2\]\[0\]: Input should be a valid number"),
        (["cells", 1, 1, "reverse", 2, 3], 2, r"reverse\[2\]\[3\]: Input should be 0 or 1"),
        (["cells", 1, 1, "reverse", 2, 2], 0.5, "lowest KL first"),
        (["cells", 1, 1, "reverse", 1, 3], 0, None),
        (["cells", 1, 1, "reverse", 0, 3], 0, "must be global"),
        (["cells", 0, 0, "reverse", 0, 3], 0, "the lowest, must be global"),
    ],
)
def test_malformed_table_is_refused_with_its_place(path: list[Any], value: Any, message: str | None) -> None:
    table = changed(path, value)
    if message is None:
        Explorer("explorer", table, "Words.", "Words.")
        return
    with pytest.raises(InputError, match=f"figure 'explorer': table: .*{message}"):
        Explorer("explorer", table, "Words.", "Words.")


def test_names_and_words_are_checked_as_for_other_figures() -> None:
    with pytest.raises(InputError, match="figure name 'No Good'"):
        Explorer("No Good", make_table(), "Words.", "Words.")
    with pytest.raises(InputError, match="alt is empty"):
        Explorer("explorer", make_table(), " ", "Words.")


# In a report


def test_explorer_is_placed_once_like_any_figure(tmp_path: Path) -> None:
    section = Section("demo", "Demo", {"question": "Why?", "answer": "So."}, [make_explorer()])
    for prose, message in [("Nothing.", "'explorer' is not placed"), ("<< figures.explorer >>" * 2, "placed 2 times")]:
        chapter(tmp_path).write_text(prose, encoding="utf-8")
        with pytest.raises(ReportError, match=message):
            write_report([section], provenance={}, output=tmp_path / "out", templates=[tmp_path, TEMPLATES])


def test_page_has_a_numbered_figure_with_data_and_script(built: Path) -> None:
    page = page_of(built)
    widget = widget_of(page)
    assert 'href="#fig-explorer">Figure 1</a>' in page
    assert re.search(r'<figure id="fig-explorer">\s*<div class="explorer"', page)
    assert page.count(SCRIPT.read_text(encoding="utf-8")) == 1
    data = data_of(widget)
    assert (data["a"], data["w"], data["alt"]) == ([1, 3], [0.3, 0.5], "Bells & <hills>.")
    assert data["cells"][0][0][1] == [[0.4, 1.23457, 2.1e-05, 1]]  # six significant digits
    assert data["cells"][1][1][1][0][0] == -2.984  # of two equally low minima the left one comes first
    assert data["cells"][1][1][1][2][0] == 0  # no digits for rounding errors
    assert not re.search(r"https?://|url\(", widget + SCRIPT.read_text(encoding="utf-8"))
    assert not re.search(r"\son\w+=", widget)


def test_page_without_an_explorer_has_no_script(tmp_path: Path) -> None:
    chapter(tmp_path).write_text("Nothing.", encoding="utf-8")
    section = Section("demo", "Demo", {"question": "Why?", "answer": "So."})
    write_report([section], provenance={}, output=tmp_path, formats=["html"], templates=[tmp_path, TEMPLATES])
    assert "<script" not in page_of(tmp_path)


def test_widget_can_be_used_and_read_by_everyone(built: Path) -> None:
    widget = widget_of(page_of(built))
    for key, value in (("a", "a = 3.0 (means 6.0 apart)"), ("w", "w = 0.50")):
        assert f'<label for="explorer-{key}">' in widget
        slider = re.search(f'<input type="range" id="explorer-{key}"[^>]*>', widget)
        assert slider
        assert f'min="0" max="1" step="1" value="1" aria-valuetext="{value}"' in slider.group()
    label = re.search(r'<svg class="explorer-drawing" role="img" aria-label="([^"]*)">', widget)
    assert label
    assert html.unescape(label.group(1)) == make_explorer().fallback.alt
    assert "Bells & <hills>. a = 3.0 (means 6.0 apart), w = 0.50. Forward: mean 0.000, sd 3.162, KL 0.4620 nats." in (
        html.unescape(label.group(1))
    )
    assert 'role="status" aria-live="polite">Reverse KL has 3' in widget
    assert "<noscript>" in widget
    assert re.search(r'<div class="explorer-controls" hidden>', widget)  # they would be dead without the script


def test_table_of_numbers_keeps_its_rows_and_escapes_what_is_tiny() -> None:
    widget = make_explorer(initial={"a": 1.0, "w": 0.3}).widget()
    assert re.findall(r'<tr data-kind="(\w+)">', widget) == ["target", "forward", "global", "none", "none"]
    assert "<td>&lt;0.0001</td>" in widget
    assert f"has 1{NBSP}minimum, at &lt;0.0001{NBSP}nats" in widget


def test_page_stays_small() -> None:
    separations, weights = np.linspace(0.5, 5, 46).tolist(), np.linspace(0.05, 0.95, 19).tolist()
    rng = np.random.default_rng(0)

    def one(a: float) -> dict[str, Any]:
        modes = 1 if a < 2 else 2 + int(a > 2.5)  # more than there are
        levels = np.sort(rng.uniform(0.1, 3, modes))
        reverse = [[*rng.uniform(1, 5, 2).tolist(), float(kl), int(i == 0)] for i, kl in enumerate(levels)]
        return {"forward": rng.uniform(1, 5, 3).tolist(), "reverse": reverse}

    cells = [[one(a) for _ in weights] for a in separations]
    initial = {"a": separations[25], "w": weights[9]}
    table = {"separations": separations, "weights": weights, "initial": initial, "cells": cells}
    widget = Explorer("explorer", table, "Words.", "Words.").widget()
    assert len(widget.encode()) + SCRIPT.stat().st_size < 120_000


def test_other_formats_have_a_drawing_that_says_where_the_sliders_are(built: Path) -> None:
    md = (built / "README.md").read_text(encoding="utf-8")
    assert '<source media="(prefers-color-scheme: dark)" srcset="figures/explorer-dark.svg">' in md
    assert "Shown at a = 3.0 (means 6.0 apart), w = 0.50. The HTML report has this figure with a slider" in md
    assert "<script" not in md
    assert "explorer-controls" not in md
    assert (built / "report.pdf").read_bytes().startswith(b"%PDF-")
    fallback = make_explorer().fallback
    assert isinstance(fallback, Figure)
    assert (built / "figures" / "explorer-dark.svg").read_bytes() == fallback.dark != fallback.light


def test_colours_are_those_of_the_page() -> None:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    light, dark = style.partition("prefers-color-scheme: dark")[::2]
    fallback = make_explorer().fallback
    for name in ("target", "forward", "reverse", "quiet", "rule"):
        for sheet, drawing in ((light, fallback.light), (dark, fallback.dark)):
            colour = re.search(f"--{name}: (#[0-9a-f]+)", sheet)
            assert colour
            assert colour.group(1).encode() in drawing


# The drawing


def points_of(drawing: ElementTree.Element, kind: str) -> list[np.ndarray]:
    """Curves of one kind, in the units of the axes as their labels tell them."""
    plot = next(node for node in drawing if node.tag == f"{SVG}svg")
    width, height = float(plot.attrib["width"]), float(plot.attrib["height"])

    def scale(marks: list[tuple[str, str]], length: float) -> np.ndarray:
        places = [float(place.rstrip("%")) / 100 * length for place, _ in marks]
        return np.polyfit(places, [float(text.replace("\N{MINUS SIGN}", "-")) for _, text in marks], 1)

    x_marks = [(n.attrib["x"], n[1].text or "") for n in plot if n.tag == f"{SVG}svg" and "x" in n.attrib]
    y_marks = [(n.attrib["y"], n.text or "") for n in plot if n.attrib.get("text-anchor") == "end"]
    to_x, to_y = scale(x_marks, width), scale(y_marks, height)
    d = plot.find(f"{SVG}svg[@class='curves']/{SVG}path[@class='{kind}']").attrib["d"]  # type: ignore[union-attr]
    curves = [np.array([p.split(",") for p in part.split()], dtype=float) for part in d.split("M")[1:]]
    return [np.column_stack([np.polyval(to_x, c[:, 0]), np.polyval(to_y, c[:, 1])]) for c in curves]


def test_drawing_agrees_with_the_densities() -> None:
    drawing = ElementTree.fromstring(make_explorer().fallback.light)
    expected = {
        "target": [lambda x: 0.5 * stats.norm.pdf(x, -3, 1) + 0.5 * stats.norm.pdf(x, 3, 1)],
        "forward": [stats.norm(0, np.sqrt(10)).pdf],
        "global": [stats.norm(-2.984, 1.0234).pdf, stats.norm(2.984, 1.0234).pdf],
        "local": [stats.norm(0, 2.744).pdf],
    }
    for kind, densities in expected.items():
        curves = points_of(drawing, kind)
        assert len(curves) == len(densities)
        for curve, density in zip(curves, densities, strict=True):
            np.testing.assert_allclose(curve[:, 1], density(curve[:, 0]), atol=2e-3)  # a pixel is 0.0015 high
            assert curve[:, 1].max() == pytest.approx(density(np.linspace(-6, 6, 2001)).max(), abs=1e-3)
    assert points_of(drawing, "target")[0][0, 0] == pytest.approx(-7, abs=0.01)


# The command


def test_command_draws_once_and_adds_the_explorer_of_a_question() -> None:
    svg = b"<svg><style>.a{fill:#222222}</style></svg>"
    hero, words = SimpleNamespace(svg=lambda _: svg), Words(alt={"hero": "Words."}, caption={"hero": "Words."})
    plain = SimpleNamespace(
        plot=lambda _, theme, narrow: {"hero": hero} if theme == "light" and narrow in (True, False) else {}
    )
    keen = SimpleNamespace(**vars(plain), explorer=lambda results: make_explorer(initial=results))
    (figure,) = running.figures_of(plain, cast("Any", None), words)
    dark = svg.replace(b"#222222", b"#e6e6e6")
    assert figure == Figure("hero", svg, dark, "Words.", "Words.", narrow=(svg, dark))
    added = running.figures_of(keen, cast("Any", {"a": 1.0, "w": 0.5}), words)
    assert [f.name for f in added] == ["hero", "explorer"]
    assert added[1].table["initial"] == {"a": 1.0, "w": 0.5}


# The script


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_script_can_be_parsed() -> None:
    done = subprocess.run(["node", "--check", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "</script" not in SCRIPT.read_text(encoding="utf-8")


CHECK = """<script>
const problems = [];
addEventListener("error", e => problems.push("error: " + e.message), true);
addEventListener("securitypolicyviolation", e => problems.push("blocked: " + e.blockedURI));
addEventListener("load", () => {
  const root = document.querySelector(".explorer");
  const state = () => ({
    summary: root.querySelector(".explorer-summary").textContent,
    label: root.querySelector(".explorer-drawing").getAttribute("aria-label"),
    values: [...root.querySelectorAll("input")].map(i => i.getAttribute("aria-valuetext")),
    shown: [...root.querySelectorAll(".explorer-value")].map(v => v.textContent),
    rows: [...root.querySelectorAll("tbody tr")].map(r => [r.dataset.kind, ...[...r.children].map(c => c.textContent)]),
    paths: [...root.querySelectorAll(".curves path")].map(p => p.getAttribute("d")),
    height: root.getBoundingClientRect().height,
  });
  const states = [state()];
  for (const [a, w] of [[1, 0], [0, 0], [0, 1], [1, 1]]) {
    const [first, second] = root.querySelectorAll("input");
    first.value = a;
    second.value = w;
    second.dispatchEvent(new Event("input"));
    states.push(state());
  }
  const shown = getComputedStyle(root.querySelector(".explorer-controls")).display;
  const overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const fetched = performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:"));
  const verdict = document.createElement("pre");
  verdict.id = "verdict";
  const text = JSON.stringify({problems, states, shown, overflow, fetched});
  verdict.textContent = btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  document.body.append(verdict);
});
</script>"""


def words_of(explorer: Explorer) -> dict[str, Any]:
    """What Python writes for the initial position, in the form of the browser's answer."""
    shown = explorer.widget().partition("<script")[0].replace(" hidden>", ">")
    root = ElementTree.fromstring(re.sub(r"(<input[^>]*)>", r"\1/>", shown) + "</div>")
    drawing = next(n for n in root.iter("svg") if n.get("role") == "img")
    return {
        "summary": next(n.text for n in root.iter("p") if n.get("role")),
        "label": drawing.attrib["aria-label"],
        "values": [n.attrib["aria-valuetext"] for n in root.iter("input")],
        "shown": [n.text for n in root.iter("span") if n.get("class") == "explorer-value"],
        "rows": [[n.attrib["data-kind"], *("".join(c.itertext()) for c in n)] for n in root.iter("tr") if n.attrib],
        "paths": [n.attrib["d"] for n in drawing.findall("svg[@class='curves']/path")],
    }


def numbers_of(paths: list[str]) -> list[np.ndarray]:
    return [np.array(re.findall(r"-?[\d.]+", path), dtype=float) for path in paths]


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_script_says_and_draws_what_python_does_at_every_position(built: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = page_of(built).replace('<meta charset="utf-8">', '<meta charset="utf-8">' + CHECK)
    page.write_text(text, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    done = subprocess.run(
        [
            "chromium",
            *flags.split(),
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=500,900",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="verdict">([^<]*)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    verdict = json.loads(base64.b64decode(found.group(1)))
    assert verdict["problems"] == []
    assert verdict["fetched"] == []
    assert verdict["overflow"] <= 0
    assert verdict["shown"] == "grid"
    assert "CONSOLE" not in done.stderr
    states = verdict["states"]
    plain = states[1]["summary"].replace(NBSP, " ")
    assert plain == (
        "Reverse KL has 2 minima: 1 global at 0.3570 nats, 1 local at 1.2040 nats. "
        "Forward KL has 1 minimum, at 0.4620 nats."
    )
    assert states[1]["shown"] == ["a = 3.0 (means 6.0 apart)", "w = 0.30"]
    assert len({state["height"] for state in states}) == 1  # nothing jumps
    for state, (a, w) in zip(states, [(3, 0.5), (3, 0.3), (1, 0.3), (1, 0.5), (3, 0.5)], strict=True):
        expected = words_of(make_explorer(initial={"a": a, "w": w}))
        for mine, theirs in zip(numbers_of(expected.pop("paths")), numbers_of(state["paths"]), strict=True):
            np.testing.assert_allclose(theirs, mine, atol=0.11)  # a rounded tenth of a unit
        assert {key: state[key] for key in expected} == expected
