"""The report as it is built and committed: valid pages that need nothing from elsewhere, and one look for each role.

What a page needs is asked of html5lib's tree, as a browser would build it. The pages are those of `tests.analysis.built`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import html5lib

from analysis.catalogue import questions
from analysis.drawing.style import Style
from tests.analysis.built import SITE, pages

MOST_BYTES, MOST_ELEMENTS, FRONT_WORDS, PAGE_WORDS = 1_000_000, 4000, 900, (800, 1500)
WHOLE = "report.html"  # all pages in one: as large as they are
#: Attributes by which a page may load something, or lead somewhere.
ADDRESSES = ("src", "href", "srcset", "xlink:href", "poster", "data", "action")
#: Attributes that name ids.
NAMES_IDS = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "list")
UNREAD = ("script", "style", "svg", "template", "annotation", "nav")
REMOTE = re.compile(r"^\s*([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
CSP = "default-src 'none'"


class Page:
    """One page, parsed."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, path.read_text(encoding="utf-8")
        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        self.root: Element = parser.parse(self.text)
        self.errors = [(line, code, detail) for (line, _), code, detail in parser.errors]
        self.elements = [e for e in self.root.iter() if isinstance(e.tag, str)]
        self.ids = [e.attrib["id"] for e in self.elements if "id" in e.attrib]

    def meta(self, name: str) -> str | None:
        key = ("property", "http-equiv", "name")
        found = (e for e in self.elements if e.tag == "meta" and name in [e.get(k) for k in key])
        return next((e.get("content") for e in found), None)

    def words(self, *but: str) -> int:
        """Words to read: no scripts, styles, drawings, sources of formulas, or lists of pages; nor elements of other kinds that are named."""
        return len("".join(_text(next(e for e in self.elements if e.tag == "body"), (*UNREAD, *but))).split())

    def asks(self) -> bool:
        """Whether this is the page of a question, or of several."""
        return self.path.stem in questions() or (
            not self.path.stem.endswith("-evidence") and bool(set(questions()) & set(self.ids))
        )


def _text(element: Element, unread: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(element.tag, str) or element.tag.rpartition("}")[2] in unread:
        return
    yield element.text or ""
    for child in element:
        yield from _text(child, unread)
        yield child.tail or ""


@cache
def page(path: Path) -> Page:
    return Page(path)


@cache
def site() -> dict[Path, Page]:
    paths = [SITE / "index.html", *pages(".html")]
    paths += [path for path in (SITE / WHOLE,) if path.is_file()]
    return {path.resolve(): page(path) for path in paths}


def every(*, but: str = "") -> list[Page]:
    return [p for p in site().values() if p.path.name != but]


def attribute(element: Element, name: str) -> str | None:
    """An attribute as it is written: html5lib keeps ``xlink:href`` of drawings by namespace."""
    return element.get("{http://www.w3.org/1999/xlink}href") if name == "xlink:href" else element.get(name)


def addresses(one: Page) -> Iterator[tuple[Element, str]]:
    for element in one.elements:
        for name in ADDRESSES:
            value = attribute(element, name)
            if value is not None:
                yield element, value


# --- pages ---------------------------------------------------------------------------------------------------------------


def test_every_page_is_looked_at() -> None:
    """No HTML is built that the others do not see; each question has its page, or its place on one that it shares."""
    built = {path.resolve() for path in SITE.rglob("*.html") if "templates" not in path.relative_to(SITE).parts}
    assert built == set(site())
    places = [{one.path.stem, *one.ids} & set(questions()) for one in every(but=WHOLE) if one.asks()]
    assert Counter(name for names in places for name in names) == Counter(list(questions()))


def test_nothing_is_loaded_from_elsewhere() -> None:
    loaded = [
        (one.path.name, element.tag, value[:80])
        for one in every()
        for element, value in addresses(one)
        if REMOTE.match(value) and not value.startswith("data:") and element.tag != "a"
    ]
    imports = [one.path.name for one in every() if re.search(r"@import|url\(\s*[\"']?(https?:)?//", one.text)]
    assert not loaded
    assert not imports


def test_a_link_elsewhere_says_how() -> None:
    """Links that leave the site are read over TLS, or are mail; no script hides behind one."""
    odd = [(one.path.name, v) for one in every() for e, v in addresses(one) if e.tag == "a" and REMOTE.match(v)]
    assert not [found for found in odd if not found[1].startswith(("https://", "http://", "mailto:"))]


def test_every_address_of_the_site_is_there() -> None:
    missing = []
    for one in every():
        for _, value in addresses(one):
            if REMOTE.match(value):
                continue
            file, _, anchor = unquote(value).partition("#")
            target = (one.path.parent / file).resolve() if file else one.path.resolve()
            there = target in site() if target.suffix == ".html" else target.exists()
            if not there or (anchor and anchor not in page_ids(target)):
                missing.append((one.path.name, value))
    assert not missing


@cache
def page_ids(path: Path) -> frozenset[str]:
    return frozenset(site()[path].ids) if path in site() else frozenset()


def test_ids_are_unique_and_those_named_are_there() -> None:
    twice = {one.path.name: [k for k, n in Counter(one.ids).items() if n > 1] for one in every()}
    assert not {name: ids for name, ids in twice.items() if ids}
    named = {
        (one.path.name, id_)
        for one in every()
        for element in one.elements
        for name in NAMES_IDS
        for id_ in (element.get(name) or "").split()
        if id_ not in page_ids(one.path.resolve())
    }
    used = {
        (one.path.name, id_)
        for one in every()
        for id_ in re.findall(r"url\(#([\w-]+)\)", one.text)
        if id_ not in page_ids(one.path.resolve())
    }
    assert not named | used


def test_pages_are_small() -> None:
    large = {
        one.path.name: (len(one.text.encode()), len(one.elements))
        for one in every(but=WHOLE)
        if len(one.text.encode()) > MOST_BYTES or len(one.elements) > MOST_ELEMENTS
    }
    assert not large, f"more than {MOST_BYTES} bytes or {MOST_ELEMENTS} elements"


def test_every_heading_is_one() -> None:
    """Without a blank line before it, it is the end of a paragraph."""
    paragraphs = (
        (one.path.name, "".join(_text(e, ("code",)))) for one in every() for e in one.elements if e.tag == "p"
    )
    lost = [(name, text) for name, text in paragraphs if "##" in text]
    assert not lost


def test_front_page_is_short() -> None:
    assert page(SITE / "index.html").words() < FRONT_WORDS, page(SITE / "index.html").words()


def test_a_page_of_questions_is_one_sitting() -> None:
    """Words without code and formulas, and at most one table; what is longer goes to its evidence."""
    words = {one.path.name: one.words("pre", "math") for one in every(but=WHOLE) if one.asks()}
    tables = {one.path.name: sum(e.tag == "table" for e in one.elements) for one in every(but=WHOLE) if one.asks()}
    assert not {name: n for name, n in words.items() if not PAGE_WORDS[0] <= n <= PAGE_WORDS[1]}
    assert not {name: n for name, n in tables.items() if n > 1}


def test_a_page_of_questions_has_one_figure_in_sight() -> None:
    """Others are folded, in the same place, or on its evidence."""
    folded = {id(inner) for one in every() for e in one.elements if e.tag == "details" for inner in e.iter("figure")}
    seen = {
        one.path.name: sum(e.tag == "figure" and id(e) not in folded for e in one.elements)
        for one in every(but=WHOLE)
        if one.asks()
    }
    assert seen
    assert set(seen.values()) == {1}, seen


def test_an_answer_is_short() -> None:
    """A sentence or two, with two numbers at most; the map of pages has the first of every page that it names."""
    answers = {
        one.path.stem: " ".join("".join(_text(e, UNREAD)) for e in one.elements if e.get("class") == "answer")
        for one in every(but=WHOLE)
    }
    said = {name: words for name, words in answers.items() if words}
    assert (
        len(said) >= len({one.path for one in every(but=WHOLE) if one.asks()}) + 3
    )  # and limits, practice, your own model
    assert not {name: n for name, words in said.items() if len(n := re.findall(r"\d+(?:[.,]\d+)*", words)) > 2}
    assert not {name: words for name, words in said.items() if len(words.split()) > 70}
    front = next(e for e in page(SITE / "index.html").elements if "map" in (e.get("class") or "").split())
    named = {Path(e.attrib["href"]).stem for e in front.iter("a") if e.get("href")}
    assert set(said) <= named
    assert not [e for e in front.iter("p") if not (e[0].tail or "").strip()]  # the title, and then the answer


def test_a_caption_does_not_say_left_or_right_panel() -> None:
    """On a narrow screen panels stand one below the other."""
    captions = (
        (one.path.name, "".join(_text(e, UNREAD))) for one in every() for e in one.elements if e.tag == "figcaption"
    )
    assert not [said for said in captions if re.search(r"\b(Left|Right)[:,]|(left|right) (panel|map)", said[1])]


def test_pages_are_valid_html() -> None:
    """As far as html5lib's parser tells; of inline SVG and MathML it asks nothing, and no code of it is let pass."""
    assert not {one.path.name: one.errors[:5] for one in every() if one.errors}


def test_the_parser_sees_what_is_invalid() -> None:
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    parser.parse("<!doctype html><title>t</title><p><b>one</p><table><p>two</table></div>")
    assert {code for _, code, _ in parser.errors} >= {"unexpected-end-tag"}


def test_every_page_forbids_all_that_it_does_not_carry() -> None:
    for one in every():
        policy = one.meta("Content-Security-Policy") or ""
        assert policy.startswith(CSP), one.path.name
        assert not re.search(r"https?:|\*|unsafe-eval", policy), one.path.name


def test_every_story_page_has_a_picture_to_share() -> None:
    """Pages of questions, and the front page, name a picture that is there; the evidence of a question needs none."""
    story = [p for p in every(but=WHOLE) if p.path.stem == "index" or p.asks()]
    without = [p.path.name for p in story if not p.meta("og:image")]
    assert not without
    for one in story:
        picture = one.path.parent / str(one.meta("og:image"))
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", one.path.name


# --- drawings ------------------------------------------------------------------------------------------------------------

#: Drawings that depart from the rule below, each with its reason. There are none.
DEPARTURES: dict[str, str] = {}


def dashes(drawing: str) -> Iterator[tuple[str, str]]:
    """Colour and kind of every broken line of a drawing: `lighter` keeps each style in one rule of its sheet.

    Matplotlib writes ``--`` as 3.7 : 1.6 and ``:`` as 1 : 1.65 of the line's width, so a dash is longer than the gap after
    it and a dot is shorter; a pattern of more than two lengths is neither.
    """
    sheet = re.search(r"<style>(.*?)</style>", drawing, re.DOTALL)
    assert sheet is not None
    for rule in re.findall(r"\{([^}]*)\}", sheet[1]):
        style = dict(part.split(":", 1) for part in rule.split(";") if part)
        if "stroke-dasharray" in style:
            lengths = [float(length) for length in style["stroke-dasharray"].split(",")]
            kind = "other" if len(lengths) != 2 else "dashed" if lengths[0] > lengths[1] else "dotted"
            yield style["stroke"], kind


def test_a_broken_line_in_the_colour_of_a_role_is_that_roles() -> None:
    """Forward is blue and dashed, reverse orange and dotted, the target never broken.

    So a broken line that is blue is dashed, one that is orange dotted, and none is the target's grey. Ink, faint grey and the
    colours between the roles may be broken as they like. Solid lines are not looked at: thin ones in the colour of a role are
    predictions of it, or runs. Drawings for narrow screens, which only pages carry, are by the same code.
    """
    style = Style.of("light", "matplotlib")
    own = {style.forward.lower(): "dashed", style.reverse.lower(): "dotted", style.target.lower(): "solid"}
    drawings = sorted((SITE / "figures").glob("*-light.svg"))
    odd = {
        (path.name, color, kind)
        for path in drawings
        for color, kind in dashes(path.read_text(encoding="utf-8"))
        if own.get(color, kind) != kind and path.name not in DEPARTURES
    }
    assert drawings, f"{SITE} has no figures/*-light.svg"
    assert not odd
