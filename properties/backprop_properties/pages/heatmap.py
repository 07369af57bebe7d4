"""A Jacobian as heat maps: as it should be, as it is, and the difference; a cell is a number on hover and in a table.

Without colours: cells with a minus are negative, entries that differ have a frame, small matrices show their numbers.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from ..pictures.numbers import digits, places_apart
from ..pictures.records import Matrix
from .elements import scrolling, table, tag

CELL, WIDE = 22, 64  # pixels of a cell, and of one with its number in it
NARROW = 300  # pixels that every page has room for
NUMBERS = 4  # columns that have room for these
FITS = 9  # characters of a number in its cell
CLOSE = 1e-9  # what differs by less, relatively to the largest, is the same
Rows = Sequence[Sequence[float]]


def heatmaps(matrix: Matrix) -> Element:
    """The maps beside each other, and a table of all their numbers."""
    shown: list[tuple[str, Rows]] = [("as it should be", matrix.expected)]
    off: set[tuple[int, int]] = set()
    if matrix.actual is not None:
        largest = max((abs(v) for row in matrix.expected for v in row if math.isfinite(v)), default=0.0)
        pairs = [list(zip(*rows, strict=True)) for rows in zip(matrix.expected, matrix.actual, strict=True)]
        off = {(i, j) for i, row in enumerate(pairs) for j, (e, a) in enumerate(row) if _differ(e, a, largest)}
        difference = [[a - e if (i, j) in off else 0.0 for j, (e, a) in enumerate(row)] for i, row in enumerate(pairs)]
        shown += [("as it is", matrix.actual), ("the difference", difference)]
    places = places_apart((pairs[i][j] for i, j in off) if off else ())
    name = f"∂u/∂{matrix.argument}"
    figures = [
        tag(
            "figure",
            tag("figcaption", f"{name} {what}"),
            heatmap(f"{name} {what}", rows, matrix.rows, matrix.columns, off if k else set(), places),
        )
        for k, (what, rows) in enumerate(shown)
    ]
    heading = tag("h3", f"The Jacobian {name}, {matrix.shape}")
    left_out = tag("p", matrix.left_out) if matrix.left_out else None
    if matrix.actual is not None and not off:
        return tag("section", heading, left_out, tag("p", "At cotangents of one 1 the Jacobian is right."))
    return tag(
        "section",
        heading,
        left_out,
        tag("div", figures, class_="row"),
        tag("details", tag("summary", "All these numbers as a table"), _table(name, shown, matrix, places)),
    )


def _differ(expected: float, actual: float, largest: float) -> bool:
    if expected == actual or (math.isnan(expected) and math.isnan(actual)):
        return False
    return not abs(expected - actual) <= CLOSE * largest


def heatmap(
    label: str,
    rows: Rows,
    names: Sequence[str],
    by: Sequence[str],
    off: Collection[tuple[int, int]] = (),
    places: int = 4,
) -> Element:
    """One map, whose rows and columns have names; entries that are `off` get a frame."""
    columns = len(by)
    wide = WIDE if columns <= NUMBERS else CELL
    largest = max((abs(v) for row in rows for v in row if math.isfinite(v)), default=0.0)
    cells: list[Any] = []
    for i, row in enumerate(rows):
        for j, v in enumerate(row):
            x, y = 2 + j * wide, 2 + i * CELL
            place = {"x": x, "y": y, "width": wide, "height": CELL}
            strength = 1.0 if not math.isfinite(v) else round(abs(v) / largest, 3) if largest else 0.0
            text = digits(v, places)
            inside = (
                (text if len(text) <= FITS else digits(v))
                if wide == WIDE
                else "?"
                if math.isnan(v)
                else "−"
                if v < 0
                else ""
            )
            cells.append(
                tag(
                    "g",
                    tag("title", f"{names[i]} by {by[j]}: {text}"),
                    tag("rect", class_="cell zero", **place),
                    tag("rect", class_="minus" if v < 0 else "plus", fill_opacity=strength, **place),
                    tag("text", inside, x=x + wide / 2, y=y + 15, text_anchor="middle") if inside else None,
                )
            )
    frames = [
        tag("rect", class_="off", x=3.5 + j * wide, y=3.5 + i * CELL, width=wide - 3, height=CELL - 3)
        for i, j in sorted(off)
    ]
    width, height = columns * wide + 4, len(rows) * CELL + 4
    svg = tag("svg", cells, frames, role="img", aria_label=label, width=width, height=height)
    return scrolling(svg, label) if width > NARROW else svg


def _table(name: str, shown: Sequence[tuple[str, Rows]], matrix: Matrix, places: int) -> Element:
    """A line for each entry of a small matrix, otherwise a table for each map."""
    found = [
        table(
            ["", *matrix.columns],
            [[r, *(digits(v, places) for v in row)] for r, row in zip(matrix.rows, rows, strict=True)],
            f"{name} {what}",
        )
        for what, rows in shown
    ]
    return tag("div", found)
