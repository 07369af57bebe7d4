"""Formulas as MathML, from how they are written in plain text: `∂t/∂f`, `x_i`, `h1`, `g⁻¹`, `W¹ᵀ`."""

import re
from typing import Any
from xml.etree.ElementTree import Element

from .elements import tag

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵀᴷⁱ", "0123456789−TKi", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₋ᵢᴷ", "0123456789−iK", strict=True))
NAME = rf"[^\W\d_Σ∂{''.join(RAISED)}{''.join(LOWERED)}]+"
INDEX = rf"[^\W{''.join(RAISED)}]+"
PART = rf"{NAME}(?:\d+|_{INDEX}|[{''.join(RAISED)}]+)?"
TOKEN = re.compile(
    rf"∂(?P<above>{PART})/∂(?P<below>{PART})"
    rf"|(?P<name>{NAME})(?P<prime>′?)(?:(?P<number>\d+)|_(?P<index>{INDEX})|(?P<low>[{''.join(LOWERED)}]+))?"
    rf"(?P<high>[{''.join(RAISED)}]+)?"
    r"|(?P<sum>Σ)(?:_(?P<over>\w))?"
    rf"|(?P<digits>\d+(?:\.\d+)?)(?P<power>[{''.join(RAISED)}]+)?|(?P<space>\s+)"
    rf"|(?P<raised>[{''.join(RAISED)}]+)|(?P<sign>.)"
)


def math(formula: str, *, block: bool = False) -> Element:
    """A formula in a line, or on a line of its own.

    >>> from .elements import text
    >>> text(math("g=Σx_i²"))
    '<math><mi>g</mi><mo>=</mo><mo>Σ</mo><msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup></math>'
    """
    parts: list[Element] = []
    for match in TOKEN.finditer(formula):
        if match["raised"] and parts:  # of what is in parentheses
            parts.append(_scripts(parts.pop(), "", _plain(match["raised"], RAISED)))
        else:
            parts.append(_element(match))
    return tag("math", parts, display="block" if block else None)


def _element(match: re.Match[str]) -> Element:
    found = match.groupdict()
    if found["above"]:
        ends = (TOKEN.finditer(found[end]) for end in ("above", "below"))
        return tag("mfrac", [tag("mrow", tag("mo", "∂"), list(map(_element, end))) for end in ends])
    if found["name"]:
        name = tag("mi", found["name"] + found["prime"])
        low = found["number"] or found["index"] or _plain(found["low"], LOWERED)
        return _scripts(name, low, _plain(found["high"], RAISED))
    if found["sum"]:
        return _scripts(tag("mo", "Σ"), found["over"] or "", "")
    if found["digits"]:
        return _scripts(tag("mn", found["digits"]), "", _plain(found["power"], RAISED))
    if found["space"]:
        return tag("mspace", width="0.15em")
    return tag("mo", found["sign"] or _plain(found["raised"], RAISED))


def _scripts(base: Element, low: str, high: str) -> Element:
    if low and high:
        return tag("msubsup", base, _script(low), _script(high))
    if low or high:
        return tag("msub" if low else "msup", base, _script(low or high))
    return base


def _script(words: str) -> Element:
    parts = [tag("mn" if part.isdigit() else "mo" if part == "−" else "mi", part)
             for part in re.findall(r"\d+|−|[^\d−]+", words)]  # fmt: skip
    return parts[0] if len(parts) == 1 else tag("mrow", parts)


def _plain(words: str | None, table: dict[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in words or "")


def prose(words: str) -> list[Any]:
    """Paragraphs whose formulas stand between backticks.

    >>> from .elements import text
    >>> text(prose("The sum, `x+y`.")[0])
    '<p>The sum, <math><mi>x</mi><mo>+</mo><mi>y</mi></math>.</p>'
    """
    return [
        tag("p", [math(part) if k % 2 else part for k, part in enumerate(" ".join(paragraph.split()).split("`"))])
        for paragraph in words.split("\n\n")
    ]
