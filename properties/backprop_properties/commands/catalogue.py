"""The command `backprop list`."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Annotated, Any

from typer import Option

from .console import console


def list_operations(
    as_json: Annotated[bool, Option("--json", help="For machines: one JSON array.")] = False,
) -> None:
    """The lecture's operations, with their arguments, shapes and slides; and the catalogue beyond them.

    What is in neither, `backprop check` judges by a Definition of yours. Exit code 0: listed; 2: the call was wrong.
    """
    from backprop_reference import OPERATIONS

    if as_json:
        from backprop_oracle.catalogue import CATALOGUE

        keys = ("name", "slide", "arguments", "signature")
        every = (*OPERATIONS.values(), *CATALOGUE.values())
        print(json.dumps([{key: getattr(row, key) for key in keys} for row in every]))
        return
    rows = [(row.name, " ".join(row.arguments), row.signature, row.slide) for row in OPERATIONS.values()]
    _print_table((("operation", 25), ("arguments", 10), ("shapes", 21), ("slide", 18)), rows)
    from backprop_oracle.catalogue import CATALOGUE  # JAX takes half a second: what is known already stands there

    console.print("\nThe catalogue, with frameworks' conventions (backprop_oracle.catalogue has their parameters):\n")
    _print_table(
        (("operation", 32), ("arguments", 18), ("shapes", 26)),
        [(row.name, " ".join(row.arguments), row.shapes) for row in CATALOGUE.values()],
    )


def _print_table(columns: Any, rows: Any) -> None:
    names, widths = zip(*columns, strict=True)
    for k, row in enumerate((names, *rows)):
        for line in _lines(row, widths):
            console.print(line, style="" if k else "bold", markup=False, soft_wrap=True)


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row of a table, in columns; what is too wide for one is broken between words or shapes, and a name never.

    >>> list(_lines(("a_long_name", "W x", "(d,n),(n)->(d)"), (6, 9, 10)))
    ['a_long_name', '        W x        (d,n),(n)', '                   ->(d)']
    """
    name, *others = row
    if len(name) > widths[0]:
        yield name
        name = ""
    cells = [[name], *(_broken(text, width) for text, width in zip(others, widths[1:], strict=True))]
    for parts in zip_longest(*cells, fillvalue=""):
        yield "  ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()


def _broken(text: str, width: int) -> list[str]:
    """A text in lines of a width, broken after blanks, or after the shape of an argument."""
    lines = [""]
    for word in re.split(r"(?<= )|(?<=\),)|(?=->)", text):
        if lines[-1] and len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]
