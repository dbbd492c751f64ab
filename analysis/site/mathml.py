"""MathML written by pandoc, mended where browsers would draw it badly."""

from __future__ import annotations

import re
from xml.etree import ElementTree

__all__ = ["mend_math"]

_ACCENTS = {"\u0302": "\u02c6", "\u0303": "\u02dc", "\u0304": "\u00af"}
_SCRIPTED = frozenset({"munder", "munderover", "mover", "msub", "msup", "msubsup"})
_OPERANDS = frozenset({"mi", "mn", "msub", "msup", "msubsup", "mfrac", "mover", "msqrt", "mrow"})


def _is_operator(node: ElementTree.Element | None) -> bool:
    """Say whether a node is a named operator such as log or arg min, with or without limits."""
    while node is not None and (node.tag in _SCRIPTED or node.tag == "mrow"):
        node = node[0] if len(node) and (node.tag in _SCRIPTED or _applied(node)) else None
    return node is not None and node.tag == "mi" and node.get("mathvariant") == "normal" and len(node.text or "") > 1


def _applied(node: ElementTree.Element) -> bool:
    """Say whether a row is a name followed by nothing but the invisible 'function application'."""
    return len(node) == 2 and node[1].tag == "mo" and node[1].text == "\u2061"


def _space(parent: ElementTree.Element) -> None:
    """Put TeX's thin spaces around named operators, which browsers leave out."""
    for child in parent:
        if child.tag != "annotation":
            _space(child)
    if parent.tag not in ("mrow", "mtd", "math", "semantics", "mstyle") or _applied(parent):
        return
    children: list[ElementTree.Element] = []
    for child in list(parent):
        before = children[-1] if children else None
        thin = False
        if before is not None:
            fence_opens = child.tag == "mo" and child.get("form") == "prefix"
            fence_closes = before.tag == "mo" and before.get("form") == "postfix"
            if _is_operator(before):
                thin = child.tag in (_OPERANDS | {"munder", "munderover"}) and not fence_opens
            elif _is_operator(child):
                thin = before.tag in _OPERANDS or fence_closes
        if thin:
            children.append(ElementTree.Element("mspace", {"width": "0.167em"}))
        children.append(child)
    parent[:] = children


def mend_math(match: re.Match[str]) -> str:
    """Mend one MathML formula written by pandoc."""
    source = match.group().replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    root = ElementTree.fromstring(source)
    for over in root.iter("mover"):
        accent = over[-1]
        if accent.text in _ACCENTS:  # Chromium drops, or misplaces, a combining accent
            accent.text = _ACCENTS[accent.text]
            accent.attrib.pop("accent", None)
            over.set("accent", "true")
    _space(root)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    # It scrolls where it is wider than the screen, by keyboard, too.
    return (
        f'<span class="equation" role="group" aria-label="Equation" tabindex="0">{text}</span>'
        if root.get("display") == "block"
        else text
    )
