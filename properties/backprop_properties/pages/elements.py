"""Elements of a page, by the standard library's ElementTree: it escapes every text, whoever's it is."""

import re
from typing import Any
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def tag(name: str, /, *children: Any, **attributes: Any) -> Element:
    """An element with texts, elements and lists of them; `class_` and `stroke_width` stand for `class` and
    `stroke-width`, and what is None or "" is left out.

    >>> text(tag("p", "a < b ", tag("b", "<script>"), class_="x"))
    '<p class="x">a &lt; b <b>&lt;script&gt;</b></p>'
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    element = Element(name, {key: plain(str(value)) for key, value in pairs if value is not None and value != ""})
    last: Element | None = None
    for child in flat(children):
        if isinstance(child, Element):
            element.append(child)
            last = child
        elif last is None:
            element.text = (element.text or "") + plain(child)
        else:
            last.tail = (last.tail or "") + plain(child)
    return element


def flat(children: Any) -> list[Any]:
    """Children without lists, and without None."""
    if children is None:
        return []
    if isinstance(children, list | tuple):
        return [one for child in children for one in flat(child)]
    return [children if isinstance(children, Element) else str(children)]


def plain(words: str) -> str:
    """A text without characters that no page may have."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", words)


def text(element: Element) -> str:
    """An element as HTML."""
    return tostring(element, encoding="unicode", method="html")


def table(head: list[Any], rows: list[list[Any]], caption: str = "", **attributes: Any) -> Element:
    """A table whose first column names its rows, in a box that scrolls if it is too wide."""
    cells = [[tag("th" if k == 0 else "td", cell, scope="row" if k == 0 else None) for k, cell in enumerate(row)]
             for row in rows]  # fmt: skip
    found = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", [tag("th", cell, scope="col") for cell in head])),
        tag("tbody", [tag("tr", row) for row in cells]),
        **attributes,
    )
    return scrolling(found, caption or "table")


def noted(note: str) -> Element:
    """A note, whose first line is a sentence, and what follows to be pasted."""
    first, _, code = note.partition("\n")
    return tag("div", tag("p", f"note: {first}", class_="faint"), tag("pre", code, tabindex="0") if code else None)


def scrolling(content: Any, label: str) -> Element:
    """A box that scrolls sideways, by keys too, where its content is wider than the page."""
    return tag("div", content, class_="wide", tabindex="0", role="region", aria_label=label)
