"""Pages of the lecture: an operation, or all of them in the slides' order, each derived at a point."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ..pictures.derived import Derived, Term, Way, documented
from ..pictures.numbers import numbers, shape_text
from .elements import table, tag
from .graph import drawing
from .heatmap import heatmap
from .mathml import math, prose
from .page import page

POINT = "A point at which nothing saturates or vanishes"


def operation_page(found: Derived) -> str:
    """The page of one operation."""
    return page(f"backprop show {found.row.name}", _section(found))


def lecture_page(every: Sequence[Derived]) -> str:
    """All operations, one after the other, and a list of them first."""
    names = [tag("li", tag("a", found.row.slide, href=f"#{found.row.base}")) for found in every]
    return page("The lecture, operation by operation", tag("nav", tag("ul", names)), [_section(f) for f in every])


def definition_page(name: str, about: str, source: str, graph: Any) -> str:
    """The page of an operation that is known by its definition."""
    code = tag("pre", source, tabindex="0")
    return page(f"backprop show {name}", prose(about), code, drawing(graph, f"Computation graph of {name}"))


def _section(found: Derived) -> Element:
    row = found.row
    stated = tag("p", "A basic operation: the slide states its Jacobians, and derives nothing.")
    return tag(
        "section",
        tag("h2", row.slide, id=row.base),
        tag("p", tag("code", f"{row.name}({', '.join(row.arguments)})  {row.signature}")),
        prose(documented(row.forward)),
        _point(found),
        [_by(argument, ways, found) for argument, ways in found.ways.items()] or [stated, _jacobians(found)],
        tag("h3", "In closed form"),
        prose(documented(row.jacobian)),
        tag("h3", "The cotangent walks back"),
        prose(documented(row.vjp)),
        drawing(found.graph, f"Computation graph of {row.name}"),
        [tag("h3", "Where the slide is to be corrected"), tag("ul", [tag("li", line) for line in found.corrections])]
        if found.corrections
        else None,
    )


def _point(found: Derived) -> Element:
    rows = [[math(name), "an argument", shape_text(a.shape), numbers(a)] for name, a in found.args.items()]
    rows += [[math(s.name), math(s.formula), shape_text(np.shape(s.value)), numbers(s.value)] for s in found.steps]
    return table(["name", "computed as", "shape", "value"], rows, POINT)


def _by(argument: str, ways: Sequence[Way], found: Derived) -> Element:
    """The chain rule for one argument: factors, products, and their sum."""
    whole = found.jacobians[list(found.args).index(argument)]
    paths = [" ".join(factor.symbol for factor in way.factors) for way in ways]
    shown = [
        tag("div", [_figure(f.symbol, f) for f in way.factors], _figure("", way.product), class_="row")
        if len(way.factors) > 1
        else _figure(way.factors[0].symbol, way.factors[0])
        for way in ways
    ]
    added = [tag("p", "The sum of both paths:"), _figure(whole.symbol, whole)] if len(ways) > 1 else None
    rule = math(f"{whole.symbol} = {' + '.join(paths)}", block=True) if paths != [whole.symbol] else None
    return tag("section", tag("h3", f"By {argument}"), rule, shown, added)


def _jacobians(found: Derived) -> Element:
    return tag("div", [_figure(J.symbol, J) for J in found.jacobians], class_="row")


def _figure(symbol: str, term: Term) -> Element:
    """A factor beside its shape; one of three axes with the last two beside each other."""
    rows = term.value.reshape(len(term.value), -1)
    names = [str(i + 1) for i in range(len(rows))]
    by = [", ".join(str(k + 1) for k in at) for at in np.ndindex(term.value.shape[1:])]
    caption = tag("figcaption", math(symbol) if symbol else "their product", ", ", math(term.shape))
    label = f"{symbol or 'product'}, {term.shape}"
    return tag("figure", caption, heatmap(label, rows.tolist(), names, by))
