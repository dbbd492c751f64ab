"""The report: what it shows of numbers, what its pages hold, and that a failed build harms nothing."""

from __future__ import annotations

import base64
import doctest
import hashlib
import itertools
import json
import math
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pypandoc
import pytest

from analysis.site import numbers, report
from analysis.site.book import Page
from analysis.site.chapter import TEMPLATES, ReportError, headline, words_of
from analysis.site.figure import Figure
from analysis.site.figure import mark as figure_mark
from analysis.site.marks import index_of, resolved
from analysis.site.numbers import est, num, pct, signed, table
from analysis.site.provenance import rows
from analysis.site.report import FORMATS, Section, check_output, write_report
from models.errors import InputError

NBSP = "\N{NO-BREAK SPACE}"

PROSE = r"""
<< figures.curves.ref >> shows $\hat\theta = \arg\max_\theta \log p_\theta(x)$ and << figures.trace.ref >> the trace.

### The model

```python
pm.Normal("x", mu, sigma, observed=x)
```

It is $\operatorname{KL}(p_\text{data} \parallel p_\theta)$.

The divergence is << f.kl >>, the gap << f.gap | signed >>, the share << f.share | pct >> [@white1982].

<< figures.curves >>

### The fits

<< f.rows | table({"fit": "fit", "mu": "mean $\\mu$", "kl": ("KL in nats", "est")}, caption="Fits.") >>

<< figures.trace >>
"""


def svg(colour: str) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" viewBox="0 0 200 100">'
        f'<rect id="same" width="200" height="100" fill="{colour}"/></svg>'
    ).encode()


def make_section(**context: Any) -> Section:
    rows = [
        {"fit": "forward", "mu": -0.5, "kl": {"value": 0.4112, "error": 0.0021}},
        {"fit": "reverse | one mode", "mu": 2.98, "kl": {"value": 0.688768996, "error": 1e-13}},
    ]
    findings = {
        "question": "Which modes are covered?",
        "answer": "It depends.",
        "kl": SimpleNamespace(value=0.7236, error=0.0316),
        "gap": -0.0312,
        "share": 0.7,
        "rows": rows,
    }
    curves = Figure("curves", svg("#ffffff"), svg("#000000"), 'Two "curves" & a hill.', "Curves of $p_\\theta$.")
    trace = Figure("trace", svg("#fafafa"), svg("#0a0a0a"), "A falling line.", "Loss, see [@kucukelbir2017].")
    return Section("demo", "Does it cover?", findings | context, [curves, trace])


PROVENANCE = {
    "date": "2026-01-02T03:04:05+00:00",
    "versions": {"python": "3.13", "pymc": "6.4.0"},
    "seed": 20260102,
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "rebuild_command": "uv run duality report --seed 20260102",
}


def write_chapter(folder: Path, prose: str, name: str = "demo") -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "chapter.md").write_text(prose, encoding="utf-8")


@pytest.fixture
def templates(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "templates"
    folder.mkdir()
    write_chapter(folder, PROSE)
    return [folder, TEMPLATES]


@dataclass(frozen=True)
class Built:
    folder: Path
    paths: list[Path]

    @property
    def html(self) -> str:
        return (self.folder / "index.html").read_text(encoding="utf-8")

    @property
    def md(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("report")
    write_chapter(root, PROSE)
    paths = write_report(
        [make_section()],
        provenance=PROVENANCE,
        output=root / "out",
        formats={"pdf", "md", "html"},
        templates=[root, TEMPLATES],
    )
    return Built(root / "out", paths)


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"annotation", "style", "script"} & set(self.open):
            self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


# Numbers


@pytest.mark.parametrize(
    ("value", "error", "digits", "text"),
    [
        (0.840621431, None, None, "0.8406"),
        (0.840621431, 0.0032, None, "0.8406"),
        (0.840621431, 0.00032, None, "0.84062"),
        (0.840621431, 1e-13, None, "0.840621"),  # the error would license 14 digits; nobody reads them
        (0.840621431, 1e-13, 10, "0.8406214310"),
        (0.840621431, 0, None, "0.8406"),
        (3.1623, 0.0996, None, "3.16"),  # 0.0996 has the two digits 0.10
        (0.0012, 0.034, None, "0.001"),
        (-0.0001, 0.034, None, "0.000"),  # no minus sign before a zero
        (0, 0.034, None, "0.000"),
        (12345.6, 340, None, "12,350"),
        (9996.0, None, None, "9996"),
        (99999.6, 1.2, None, "99,999.6"),
        (-2.5, None, None, "−2.500"),
        (4000, None, None, "4000"),
        (20000, None, None, "20,000"),
        (3e-9, None, None, "3.000 × 10^−9^"),
        (-1.5e8, None, 2, "−1.5 × 10^8^"),
        (0.0, None, None, "0"),
        (0.83, math.inf, None, "≈ 0.8"),
        (0.83, math.nan, None, "≈ 0.8"),
        (math.nan, 0.1, None, "undefined"),
        (-math.inf, None, None, "−∞"),
    ],
)
def test_number_shows_the_digits_its_error_licenses(
    value: float, error: float | None, digits: int | None, text: str
) -> None:
    assert num(value, error, digits) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.7236, 0.0316, "0.724 ± 0.032"),
        (12345.6, 340.0, "12,350 ± 340"),
        (-2.97, 0.0996, "−2.97 ± 0.10"),
        (0.840621431, 1e-13, "0.840621"),
        (3e-9, 2e-10, "(3.00 ± 0.20) × 10^−9^"),
        (0.5, 0.0, "0.5000"),
        (0.5, math.nan, "≈ 0.5 (error unknown)"),
    ],
)
def test_estimate_and_its_error_end_at_the_same_digit(value: float, error: float, text: str) -> None:
    assert est({"value": value, "error": error}).replace(NBSP, " ") == text
    assert est(SimpleNamespace(value=value, error=error)).replace(NBSP, " ") == text


def test_numbers_of_other_kinds() -> None:
    assert (pct(0.7), pct(0.99996), pct(0.0001), pct(1), pct(0.123456, 0.0021)) == (
        "70.0%",
        ">99.9%",
        "<0.1%",
        "100%",
        "12.35%",
    )
    assert (signed(0.25), signed(-0.25), signed(0), signed(0.001, 0.2)) == ("+0.2500", "−0.2500", "0", "0.00")
    assert num({"value": 0.7236, "error": 0.0316}) == "0.724"


@pytest.mark.parametrize(("value", "error"), [("3", None), (True, None), (1.0, -0.1), (1.0, "x"), (None, None)])
def test_what_is_no_number_is_refused(value: Any, error: Any) -> None:
    with pytest.raises(InputError):
        num(value, error)


def test_table_aligns_numbers_right_and_keeps_pipes_in_their_cell() -> None:
    rows = [{"fit": "a | b", "kl": -0.5, "at": 3}, {"fit": "c $|x|$", "kl": None, "at": 12}]
    lines = table(rows, {"fit": "fit", "kl": "KL in nats", "at": "number"}).strip().splitlines()
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|", lines[1])
    assert lines[2].split(" | ")[-1].strip(" |") == "3"
    assert r"a \| b" in lines[2]
    assert "−0.5000" in lines[2]
    assert "| – |" in re.sub(" +", " ", lines[3])
    assert len({len(line) for line in lines}) == 1


def test_table_refuses_symbols_without_words_missing_columns_and_unknown_styles() -> None:
    with pytest.raises(InputError, match="needs a word"):
        table([{"mu": 1.0}], {"mu": "$\\mu$"})
    with pytest.raises(InputError, match="row 0 has no 'sd'"):
        table([{"mu": 1.0}], {"sd": "standard deviation"})
    with pytest.raises(InputError, match="column style"):
        table([{"mu": 1.0}], {"mu": ("mean", "nmu")})


# The page


def test_page_is_complete_in_itself(built: Built) -> None:
    page = Tags(built.html)
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            address = attributes.get(name)
            if address is not None and not (tag == "a" and name == "href"):
                assert address.startswith("data:"), (tag, address[:80])
    style = built.html.partition("<style>")[2].partition("</style>")[0]
    assert "@import" not in style
    assert all(address.startswith("data:") for address in re.findall(r'url\("?([^")]*)', style))
    assert not page.all("script", "iframe", "object", "embed")


def test_page_has_mathml_set_as_tex_would(built: Built) -> None:
    formulas = re.findall(r"<math\b.*?</math>", built.html, flags=re.DOTALL)
    assert len(formulas) >= 4
    assert not any("\u0302" in f or "\u0303" in f for f in formulas)
    mine = next(f for f in formulas if r"\hat\theta = \arg\max_\theta \log p_\theta(x)" in f)
    assert '<mover accent="true"><mi>θ</mi><mo>\u02c6</mo></mover>' in mine
    assert re.search(r'log</mi><mo>\u2061</mo></mrow><mspace width="0.167em"></mspace><msub><mi>p', mine)
    opened = next(f for f in formulas if r"\operatorname{KL}(p_\text{data}" in f)
    assert re.search(r'KL</mi><mo>\u2061</mo></mrow><mo stretchy="false" form="prefix">\(', opened)


def test_every_figure_has_both_themes_words_and_a_number(built: Built) -> None:
    page = Tags(built.html)
    # A drawing is part of the page, once for both themes.
    drawing, trace = page.all("svg")
    assert drawing["role"] == trace["role"] == "img"
    assert drawing["aria-label"] == 'Two "curves" & a hill.'
    assert trace["aria-label"] == "A falling line."
    rects = [
        {"id": f"{name}-same", "width": "200", "height": "100", "fill": "var(--a)"} for name in ("curves", "trace")
    ]
    assert page.all("rect") == rects
    assert "#curves-drawing{--a:#ffffff}" in built.html
    assert "{#curves-drawing{--a:#000000}}" in built.html
    assert "Figure 1. Curves of" in page.text
    assert 'href="#fig-trace">Figure 2</a>' in built.html
    assert "\ue000" not in built.html + built.md


def test_headings_come_in_order_and_landmarks_are_there(built: Built) -> None:
    page = Tags(built.html)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("main")) == len(page.all("nav")) == 1
    assert page.all("html")[0]["lang"] == "en"
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for a in page.all("a") if (a["href"] or "").startswith("#")}
    assert links <= set(ids)
    assert all(header.get("scope") == "col" for header in page.all("th"))
    assert built.html.count('class="table-scroll"') == len(page.all("table"))


def test_findings_and_provenance_are_shown(built: Built) -> None:
    for text in (Tags(built.html).text, built.md):
        plain = " ".join(text.replace(NBSP, " ").replace("**", "").split())
        assert "Question. Which modes are covered?" in plain
        assert "Answer. It depends." in plain
        assert "The divergence is 0.724 ± 0.032, the gap −0.03120, the share 70.0%" in plain
        assert "20260102" in plain
        assert "python 3.13, pymc 6.4.0" in plain
        assert "0123456789ab" in plain
        assert "White, Halbert. 1982." in plain.replace("*", "")


def test_provenance_has_a_row_for_each_question() -> None:
    settings = {"first_one": {"seed": 0, "sizes": [1, 2]}, "second": {"seed": 1, "runs": 3}}
    assert rows({"settings": settings, "rebuild_command": "uv run", "versions": {"numpy": "2.5"}}) == [
        {"item": r"settings of first\_one", "value": "seed 0; sizes 1, 2"},
        {"item": "settings of second", "value": "seed 1, runs 3"},
        {"item": "rebuild command", "value": "`uv run`"},
        {"item": "versions", "value": "numpy 2.5"},
    ]


def test_page_for_a_repository_browser(built: Built) -> None:
    assert built.md.splitlines()[2].startswith("# ")
    for address in re.findall(r'(?:src|srcset)="([^"]*)"', built.md):
        assert (built.folder / address).is_file()
    assert {p.name for p in (built.folder / "figures").iterdir()} == {
        "curves-light.svg",
        "curves-dark.svg",
        "trace-light.svg",
        "trace-dark.svg",
    }
    assert (built.folder / "figures" / "trace-dark.svg").read_bytes() == svg("#0a0a0a")
    assert '<source media="(prefers-color-scheme: dark)" srcset="figures/curves-dark.svg">' in built.md
    assert "operatorname" not in built.md  # refused by some browsers' mathematics
    assert "<div" not in built.md
    assert re.search(r"^\| *fit *\| *mean", built.md, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("It depends.", "It depends."),
        ("Later, from $a$ = 2.412. Then single modes win.", "Later, from $a$ = 2.412."),
        ("In 97% and 99%. Of 20 runs all did.", "In 97% and 99%."),
        ("Two (at 0.5 N(−3, 1)). *Both* count.", "Two (at 0.5 N(−3, 1))."),
        ("As p. 3 of the paper says, no. Yes?", "As p. 3 of the paper says, no."),
    ],
)
def test_several_questions_open_with_first_sentences(answer: str, first: str) -> None:
    assert headline(answer) == first


STORY = """### Words

See [two](#two), [evidence](#one-evidence), [a check](#check), [none](#nothing), << figures.trace.ref >> and [@white1982].

<< figures.curves >>

<% evidence %>
### A check {#check}

Back to << figures.curves.ref >>.

<< [{"a": 1}] | table({"a": "one"}, caption="**Table " ~ next_table ~ ".** Of one.") >>

<< figures.trace >>
<% endevidence %>

<% evidence %>
### Another

Prose.
<% endevidence %>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two questions, one with evidence."""
    root = tmp_path_factory.mktemp("site")
    write_chapter(root, STORY, "one")
    write_chapter(root, "### Words\n\nProse. [Back](#one), [there](#fig-trace).\n", "two")
    section = make_section(answer="It depends. On 2 things.")
    sections = [
        Section("one", "One: *what*, and when?", section.context, section.figures),
        Section("two", "Two", section.context),
    ]
    paths = write_report(
        sections, provenance=PROVENANCE, output=root / "out", formats=FORMATS, templates=[root, TEMPLATES]
    )
    assert [path.name for path in paths] == ["index.html", "README.md", "report.pdf"]
    return root / "out"


def test_a_question_has_a_page_and_its_evidence_another(site: Path) -> None:
    page, evidence = ((site / "pages" / f"{name}.html").read_text() for name in ("one", "one-evidence"))
    assert not (site / "pages" / "two-evidence.html").exists()
    assert "Answer.</strong> It depends. On 2 things." in page
    assert "Figure 1.1." in page
    assert "Figure E1.1." in evidence
    assert "Table E1.1." in evidence
    assert "Another" in evidence
    assert "Another" not in Tags(page).text
    for text in (page, evidence, (site / "index.html").read_text(), (site / "report.html").read_text()):
        assert "\ue000" not in text


def test_links_lead_from_page_to_page(site: Path) -> None:
    page, evidence, two = ((site / "pages" / f"{name}.html").read_text() for name in ("one", "one-evidence", "two"))
    for address in ('"two.html"', '"one-evidence.html"', '"one-evidence.html#check"', '"one-evidence.html#fig-trace"'):
        assert f"<a href={address}" in page, address
    assert "none" in Tags(page).text  # a page that is not there is not linked
    assert "#nothing" not in page
    assert '<a href="one.html#fig-curves">Figure 1.1</a>' in evidence
    assert '<a href="one-evidence.html#fig-trace">there</a>' in two
    whole = (site / "report.html").read_text()
    assert '<a href="#check">a check</a>' in whole
    md = (site / "pages" / "one.md").read_text()
    assert "[two](two.md)" in md
    assert "../figures/curves-light.svg" in md
    assert md.index("## Evidence") < md.index("A check")


def test_every_address_of_the_site_is_there(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    ids = {path.resolve(): {a["id"] for _, a in Tags(text).tags if a.get("id")} for path, text in pages.items()}
    assert len(pages) > 6
    for path, text in pages.items():
        for link in Tags(text).all("a"):
            address = link["href"] or ""
            if not address.startswith(("http", "mailto")):
                file, _, anchor = address.partition("#")
                target = (path.parent / file).resolve() if file else path.resolve()
                assert target in ids, (path.name, address)
                assert not anchor or anchor in ids[target], (path.name, address)


def test_every_address_of_the_markdown_pages_is_there(site: Path) -> None:
    pages = {path.resolve(): path.read_text() for path in [site / "README.md", *(site / "pages").glob("*.md")]}
    ids = {path: re.findall(r' id="([^"]+)"', text) for path, text in pages.items()}
    links = [
        (path, link)
        for path, text in pages.items()
        for link in re.findall(r"\]\(([^()\s]*\.md[^()\s]*|#[^()\s]+)\)", text)
    ]
    assert any("#" in link for _, link in links)
    for path, link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target in ids, (path.name, link)
        assert not anchor or anchor in ids[target], (path.name, link)


def test_front_page_is_short_and_leads_everywhere(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "It depends." in page
    assert "On 2 things." not in page
    assert {"pages/one.html", "pages/two.html", "pages/practice.html", "pages/limits.html"} <= {
        a["href"] for a in Tags(page).all("a")
    }
    assert len(Tags(page).text.split()) < 900
    md = (site / "README.md").read_text()
    assert "[One: *what*, and when?](pages/one.md)" in md


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of three questions, two of which share a page, and have evidence."""
    root = tmp_path_factory.mktemp("shared")
    placed = {
        "initialisation": ("valley", "<< figures.curves >>", ""),
        "advi_accuracy": ("hill", "", "<< figures.trace >>"),
    }
    for name, (words, first, second) in placed.items():
        text = f"### The {words}\n\nA {words}. [Other](#advi_accuracy)\n\n{first}\n\n### In PyMC and ArviZ\n\nCode of a {words}.\n"
        text += (
            f"\n<% evidence %>\n### Check of a {words} {{#check-{words}}}\n\n{second}\n\nIt holds.\n<% endevidence %>\n"
        )
        write_chapter(root, text, name)
    write_chapter(root, "### First\n\n[start](#initialisation), [check](#check-hill)\n", "two")
    section = make_section(answer="It depends. On 2 things.")
    names = ("initialisation", "two", "advi_accuracy")
    figures = {"initialisation": section.figures[:1], "advi_accuracy": section.figures[1:]}
    sections = [Section(name, name, section.context, figures.get(name, ())) for name in names]
    write_report(
        sections, provenance=PROVENANCE, output=root / "out", formats=["html", "md"], templates=[root, TEMPLATES]
    )
    return root / "out"


def test_questions_that_are_one_idea_share_a_page(shared: Path) -> None:
    """It stands where the first of them would; a heading that both have is there once, with what both say."""
    text = (shared / "pages" / "where_a_run_ends.html").read_text()
    assert not (shared / "pages" / "initialisation.html").exists()
    headings = re.findall(r'<h2 id="([^"]+)"', text)
    assert headings == ["initialisation", "advi_accuracy", "in-pymc-and-arviz", "evidence"]
    assert text.index("Code of a valley") < text.index("Code of a hill")
    assert text.index("in-pymc-and-arviz") < text.index("Run it in a clone") < text.index("Code of a valley")
    assert text.count("Run it in a clone") == 1
    assert "Answer.</strong> It depends. It depends." in text
    assert "1 of 5" in Tags(text).text  # the last page, of provenance, is none to read
    assert "Figure 1.1." in text
    assert (shared / "pages" / "two.html").read_text().count("2 of 5") == 1


def test_a_question_alone_has_its_own_page(tmp_path: Path) -> None:
    for name in ("initialisation", "two"):
        write_chapter(tmp_path, "### Words\n\nProse.\n", name)
    sections = [Section(name, name, make_section().context) for name in ("initialisation", "two")]
    out = tmp_path / "out"
    write_report(sections, provenance=PROVENANCE, output=out, formats=["html"], templates=[tmp_path, TEMPLATES])
    assert (out / "pages" / "initialisation.html").exists()
    assert not (out / "pages" / "where_a_run_ends.html").exists()


def test_links_lead_to_a_question_on_a_page_that_it_shares(shared: Path) -> None:
    two, page = ((shared / "pages" / f"{name}.html").read_text() for name in ("two", "where_a_run_ends"))
    assert '<a href="where_a_run_ends.html#initialisation">start</a>' in two
    assert '<a href="advi_accuracy-evidence.html#check-hill">check</a>' in two
    assert '<a href="#advi_accuracy">Other</a>' in page
    for name, number in (("initialisation", "E1a"), ("advi_accuracy", "E1b")):
        evidence = (shared / "pages" / f"{name}-evidence.html").read_text()
        assert f'<a href="{name}-evidence.html">{name}</a>' in page
        assert "Evidence for page 1" in Tags(evidence).text
        assert evidence.count(f"Figure {number}.1.") == (number == "E1b")
        assert '<a href="where_a_run_ends.html">' in evidence
    md = (shared / "pages" / "where_a_run_ends.md").read_text()
    assert md.count("## Evidence: ") == 2
    assert "[start](where_a_run_ends.md#initialisation)" in (shared / "pages" / "two.md").read_text()


def test_files_of_an_earlier_report_go_if_nobody_changed_them(tmp_path: Path) -> None:
    """Those that somebody else wrote, or changed, stay."""
    for name in ("one", "two"):
        write_chapter(tmp_path, "### Words\n\nProse.\n", name)
    sections = [Section(name, name, make_section().context) for name in ("one", "two")]
    out = tmp_path / "out"
    write_report(sections, provenance=PROVENANCE, output=out, formats=["html", "md"], templates=[tmp_path, TEMPLATES])
    (out / "pages" / "mine.html").write_text("mine")
    (out / "pages" / "two.html").write_text("changed by hand")
    write_report(sections[:1], provenance=PROVENANCE, output=out, formats=["html"], templates=[tmp_path, TEMPLATES])
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert {"index.html", "pages/mine.html", "pages/two.html"} <= names
    assert "pages/one.html" not in names
    assert "report.html" not in names
    assert {"README.md", "pages/one.md", "pages/two.md"} <= names  # of a format that was not asked for


@pytest.mark.parametrize("name", ["index.html", "README.md", "report.pdf"])
def test_a_page_of_somebody_else_is_not_replaced(name: str, templates: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("# Mine\n\nRun `uv run duality report`.")
    with pytest.raises(InputError, match=rf"{name}' was not written by `duality`"):
        write_report([make_section()], provenance={}, output=out, templates=templates, formats=FORMATS)
    (out / name).unlink()
    (out / name).mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_report([make_section()], provenance={}, output=out, templates=templates, formats=FORMATS)


@pytest.mark.parametrize("name", ["figures", "pages", "results"])
def test_a_file_where_a_folder_would_be_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}' is a file, and a folder would be there"):
        check_output(tmp_path, ["html"])


def test_a_manifest_that_is_damaged_or_leads_elsewhere_removes_nothing(tmp_path: Path) -> None:
    write_chapter(tmp_path, "### Words\n\nProse.\n", "one")
    out, outside = tmp_path / "out", tmp_path / "outside.html"
    outside.write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    for text in ("{", "[1]", json.dumps({"../outside.html": digest})):
        out.mkdir(exist_ok=True)
        (out / ".built.json").write_text(text)
        write_report(
            [Section("one", "One", make_section().context)],
            provenance={},
            output=out,
            formats=["html"],
            templates=[tmp_path, TEMPLATES],
        )
        assert outside.read_text() == "x"


def test_what_is_folded_on_a_page_is_open_on_paper(tmp_path: Path) -> None:
    prose = '<< figures.curves >>\n\n::: {.fold summary="Figure: p & q"}\n<< figures.trace >>\n\nIts words.\n:::\n\nAfter.\n\n---\n'
    write_chapter(tmp_path, prose)
    section = make_section(answer="Yes.")
    write_report([section], provenance={}, output=tmp_path / "out", formats=FORMATS, templates=[tmp_path, TEMPLATES])
    page, text = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("index.html", "README.md"))
    for said in (page, text):
        folded = re.findall(r"<details[^>]*>\s*<summary>Figure: p &amp; q</summary>(.*?)</details>", said, re.DOTALL)
        assert len(folded) == 1
        assert "Its words." in folded[0]
        assert "A falling line." in folded[0]
        assert "After." not in folded[0]
    assert "\n---\n" in text
    source = subprocess.run(
        [pypandoc.get_pandoc_path(), "--from=markdown", "--to=typst", f"--lua-filter={TEMPLATES / 'report.lua'}"],
        input=prose[prose.index(":::") :], capture_output=True, text=True, check=True, encoding="utf-8",
    ).stdout  # fmt: skip
    assert "Its words." in source
    assert "details" not in source


def test_cells_of_the_pdf_are_words_and_columns_as_wide_as_they() -> None:
    """A cell that begins with a sign is no heading; wide tables have no columns that are all alike."""
    rows = f"| target | {'said ' * 20}|\n|---|---|\n| = normal | - 3 |\n"
    command = [pypandoc.get_pandoc_path(), "--to=typst", f"--lua-filter={TEMPLATES / 'report.lua'}"]
    made = subprocess.run(command, input=rows, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    assert "columns: 2," in made
    assert "\\= normal" in made
    assert "\\- 3" in made


def test_text_of_the_pdf_goes_on_where_a_drawing_does_not_fit() -> None:
    """Drawings go to the top or the bottom of a page; the first of a page of the site not to the top, where its heading may stand below it."""
    section = make_section()
    figures = {figure.name: figure for figure in section.figures}
    text = "".join(figure_mark(name) for name in figures)
    for number in ("2", "E2a"):
        page = Page("one", "One", "", text, number)
        made = resolved(page, "pdf", figures, index_of([page], figures), lambda _, anchor: f"#{anchor}")
        assert re.findall(r"placement: (\w+)", made) == ["bottom", "auto"]


def test_pdf_is_made_and_dated(built: Built) -> None:
    content = (built.folder / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"D:20260102030405" in content
    assert [path.name for path in built.paths] == ["index.html", "README.md", "report.pdf"]


def test_same_inputs_give_the_same_bytes(built: Built, templates: list[Path], tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_report(
        [make_section()], provenance=PROVENANCE, output=again, formats=["html", "md", "pdf"], templates=templates
    )
    files = sorted(p.relative_to(built.folder) for p in built.folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (again / file).read_bytes() == (built.folder / file).read_bytes(), file


# What goes wrong


CHAPTER = """<% answer %>
It is << f.kl >>
<% if f.far %>and far.<% else %>and near.<% endif %>
<% endanswer %>
Known to << f.kl | num(digits=2) >><% if f.far %>, far<% endif %>.
<% if f.far %>So say all.<% endif %>
The rest.<% if f.far %> Nothing else.<% endif %>

- One.
<% if f.far %>- Two.<% endif %>
- <% if f.far %>Far<% else %>Near<% endif %>
- Four.

<% macro cell(row) %><< row.a >>†<% endmacro %>
<< [{"a": 1, "b": 0.123456}] | table({"cell": ("one cell", cell), "b": ("other", "num", 2)}) >>

<% figure curves %>
Two hills for $x$
in << f.kl >>.
<% alt %>
Hills.
<% endfigure %>
"""


def test_a_chapter_says_its_answer_and_places_figures_with_their_words(templates: list[Path]) -> None:
    write_chapter(templates[0], CHAPTER)
    far, near = (words_of("demo", {"kl": 0.5, "far": far}, templates) for far in (True, False))
    assert (far.answer, near.answer) == ("It is 0.5000 and far.", "It is 0.5000 and near.")
    assert far.caption == near.caption == {"curves": "Two hills for $x$ in 0.5000."}
    assert far.alt == {"curves": "Hills."}
    said = [" ".join(words.text[: words.text.index("- One")].split()) for words in (far, near)]
    assert said == ["Known to 0.50, far. So say all. The rest. Nothing else.", "Known to 0.50. The rest."]
    assert "\n\n" not in near.text[near.text.index("Known") : near.text.index("The rest")]
    lists = [re.findall(r"^- \w+", words.text, re.MULTILINE) for words in (far, near)]
    assert lists == [["- One", "- Two", "- Far", "- Four"], ["- One", "- Near", "- Four"]]
    assert re.search(r"\| 1† +\| +0\.12 \|", far.text)
    assert far.text.count("\ue000figure:curves\ue001") == 1


def test_a_figure_that_is_not_drawn_is_an_error(templates: list[Path], tmp_path: Path) -> None:
    write_chapter(templates[0], f"{PROSE}<% figure other %>Caption.<% alt %>Alt.<% endfigure %>")
    with pytest.raises(ReportError, match="'other' is placed by a chapter, and not drawn"):
        write_report([make_section()], provenance={}, output=tmp_path / "out", templates=templates)


def test_unknown_name_in_a_template_is_an_error_that_names_it(templates: list[Path], tmp_path: Path) -> None:
    write_chapter(templates[0], "Fine.\n\n<< f.divergense | num >>\n")
    with pytest.raises(ReportError, match=r"demo/chapter\.md, line 3: .*divergense"):
        write_report([make_section()], provenance={}, output=tmp_path / "out", templates=templates)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("prose", "message"),
    [
        ("<< f.none >>", r"demo/chapter\.md, line 1: .*None"),
        ("<< f.gap | num(-1) >>", r"demo/chapter\.md, line 1: .*negative"),
        ("<< f.gap", r"demo/chapter\.md, line 1"),
        ("<< f.items >>", r"demo/chapter\.md, line 1: .*method"),
        ("No figure.", "figure 'curves' is not placed"),
        ("<< figures.curves >><< figures.curves >><< figures.trace >>", "placed 2 times"),
        ("<< figures.curves >><< figures.trace >> [@nobody2000]", "nobody2000"),
    ],
)
def test_template_that_cannot_work_is_an_error(prose: str, message: str, templates: list[Path], tmp_path: Path) -> None:
    write_chapter(templates[0], prose)
    with pytest.raises(ReportError, match=message):
        write_report([make_section(none=None)], provenance={}, output=tmp_path / "out", templates=templates)


def test_missing_template_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no template demo/chapter\.md"):
        write_report([make_section()], provenance={}, output=tmp_path / "out")


def test_failed_build_leaves_the_earlier_report(
    templates: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    write_report([make_section()], provenance={}, output=output, formats=["md"], templates=templates)
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}

    def fail(*_: Any) -> dict[str, bytes]:
        raise ReportError("no pdf today")

    monkeypatch.setattr(report, "_pdf", fail)  # the last format: the other is done by then
    changed = make_section(answer="Another answer.")
    with pytest.raises(ReportError, match="no pdf today"):
        write_report([changed], provenance={}, output=output, formats=["md", "pdf"], templates=templates)
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


def test_unwritable_place_leaves_no_half_written_files(
    templates: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    write_report([make_section()], provenance={}, output=output, formats=["md"], templates=templates)
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "README" in path.name:
            raise OSError("disk full")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        write_report([make_section(answer="New.")], provenance={}, output=output, formats=["md"], templates=templates)
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


def test_wrong_input_is_refused(templates: list[Path], tmp_path: Path) -> None:
    section = make_section()
    with pytest.raises(InputError, match=r"unknown report format 'docx'.*html, md, pdf"):
        write_report([section], provenance={}, output=tmp_path, formats=["html", "docx"], templates=templates)
    with pytest.raises(InputError, match="at least one section"):
        write_report([], provenance={}, output=tmp_path)
    with pytest.raises(InputError, match="two figures are called 'curves'"):
        write_report([section, make_section()], provenance={}, output=tmp_path, templates=templates)
    with pytest.raises(InputError, match="alt is empty"):
        Figure("hero", b"<svg/>", b"<svg/>", alt=" ", caption="x")
    with pytest.raises(InputError, match="figure name 'No Good'"):
        Figure("No Good", b"<svg/>", b"<svg/>", alt="x", caption="x")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_report([section], provenance={}, output=tmp_path / "file", templates=templates)


# In a browser

CHECK = """<script>
const problems = [];
addEventListener("error", e => problems.push("error: " + e.message), true);
addEventListener("securitypolicyviolation", e => problems.push("blocked: " + e.blockedURI));
addEventListener("load", () => {
  const fonts = [...document.fonts].map(f => f.family.replaceAll('"', "") + " " + f.status);
  const drawn = document.querySelector("svg.drawing"), box = drawn.getBoundingClientRect();
  const drawing = [getComputedStyle(drawn.querySelector("rect")).fill, box.width / box.height];
  const fetched = performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:"));
  const overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("svg.drawing")].filter(i => i.getBoundingClientRect().right > innerWidth).length;
  const verdict = document.createElement("pre");
  verdict.id = "verdict";
  verdict.textContent = btoa(JSON.stringify({problems, fonts, drawing, fetched, overflow, wide}));
  document.body.append(verdict);
});
</script>"""


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize(("scheme", "number", "width"), [("light", 1, 500), ("dark", 0, 1280)])
def test_page_in_a_browser(built: Built, tmp_path: Path, scheme: str, number: int, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(built.html.replace('<meta charset="utf-8">', '<meta charset="utf-8">' + CHECK), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    done = subprocess.run(
        [
            "chromium",
            *flags.split(),
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={number}",
            f"--window-size={width},900",
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
    assert "CONSOLE" not in done.stderr
    assert verdict["fonts"] == ["STIX Two Math Report loaded"]
    assert verdict["drawing"] == [{"light": "rgb(255, 255, 255)", "dark": "rgb(0, 0, 0)"}[scheme], pytest.approx(2)]
    assert verdict["overflow"] <= 0
    assert verdict["wide"] == 0


@pytest.mark.parametrize("module", [numbers, report])
def test_examples_are_true(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
