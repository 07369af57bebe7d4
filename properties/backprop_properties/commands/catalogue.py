"""The command `backprop list`."""

import json
from typing import Annotated

from typer import Option

from .console import console


def list_operations(
    as_json: Annotated[bool, Option("--json", help="For machines: one JSON array.")] = False,
) -> None:
    """All operations, with their arguments, shapes and slides."""
    from rich.markup import escape
    from rich.table import Table

    from backprop_reference import OPERATIONS

    if as_json:
        keys = ("name", "slide", "arguments", "signature")
        print(json.dumps([{key: getattr(row, key) for key in keys} for row in OPERATIONS.values()], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in (("operation", 25), ("arguments", 10), ("shapes", 21), ("slide", 18)):
        table.add_column(column, overflow="fold", max_width=width)
    for row in OPERATIONS.values():
        table.add_row(escape(row.name), " ".join(row.arguments), row.signature, row.slide)
    console.print(table)
