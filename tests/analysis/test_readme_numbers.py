"""The README's numbers are the report's: each is printed, in the same digits, by a page that is built from results."""

from __future__ import annotations

import re

import pytest

from tests.analysis.built import ROOT, SITE, pages

#: Decimals of the README's prose that are no results, each with what it is.
NO_RESULTS = {"3.12": "the oldest Python that is supported"}

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(?!\s*(?:\d+\.|[-*]) ).*$", re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
ADDRESS = re.compile(r"\]\([^)\s]*\)|<https?:[^>]*>")
#: What a run takes is measured by hand and dated in the changelog; no page says it.
TIME = re.compile(r"\b(?:takes?|took)\b.*\b(?:minutes?|seconds?)\b", re.DOTALL)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
SHARE = re.compile(r"\d+ ± \d+%")
DECIMAL = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+(?![\w]|\.\d)")


def prose(markdown: str) -> str:
    """What is said outside code, addresses and sentences about time."""
    for part in (FENCED, INDENTED):
        markdown = part.sub("\n\n", markdown)
    for part in (INLINE, ADDRESS):
        markdown = part.sub(" ", markdown)
    return "\n".join(sentence for sentence in SENTENCE.split(markdown) if not TIME.search(sentence))


def decimals(text: str) -> list[str]:
    """Decimal numbers as they are written, without their sign, which is written in several ways."""
    return DECIMAL.findall(text)


def test_numbers_of_the_readme_are_printed_by_a_page() -> None:
    built = [SITE / "README.md", *pages(".md")]
    printed = {number for path in built for number in decimals(path.read_text(encoding="utf-8"))}
    said = decimals(prose((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(set(said)) > 3
    missing = sorted(set(said) - printed - set(NO_RESULTS))
    assert not missing, f"{missing}: in README.md, and in none of {len(built)} pages of {SITE}"
    shares = SHARE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shares
    assert set(shares) <= {found for path in built for found in SHARE.findall(path.read_text(encoding="utf-8"))}
    assert set(NO_RESULTS) <= set(said), "an exception that the README no longer needs"


@pytest.mark.parametrize(
    ("markdown", "found"),
    [
        ("one mode (0.6888 nats), N(±2.412, 1), −0.25.", ["0.6888", "2.412", "0.25"]),
        ("```python\nx = 0.5\n```\n0.7", ["0.7"]),
        ("text\n\n    uv run it --alpha 0.25\n\n1. A list, 0.1\n    - under it 0.2", ["0.1", "0.2"]),
        ("`--alpha 0.25` is [here](https://a.b/1.5), version 1.2.3 of v0.9.", []),
        ("It has 0.3 nats. It takes about 1.5 minutes on two cores. Then 0.4.", ["0.3", "0.4"]),
    ],
)
def test_decimals_are_those_of_the_prose(markdown: str, found: list[str]) -> None:
    assert decimals(prose(markdown)) == found
