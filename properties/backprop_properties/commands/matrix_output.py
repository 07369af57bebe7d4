"""What `backprop matrix` shows and writes: a table with a legend, the causes, JSON and a page."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..checking.matrix import MISSING, WORDS, Matrix
from ..checking.run import Run
from ..checking.verdict import NOT_JUDGED, RIGHT
from .check_output import as_options
from .console import print_table

SCHEMA = Path(__file__).parent / "matrix.json"  # of what `to_dict` gives
GAP = 2  # columns between two of a table
STYLES = {RIGHT: "green", MISSING: "dim", NOT_JUDGED: "yellow"}  # red of all others


def print_matrix(matrix: Matrix, run: Run, console: Console) -> None:
    """The table, what its marks and columns are, the causes, and a closing line."""
    heads, marked = _fitting(matrix, console.width)
    print_table(_table(matrix, heads, marked=marked), console)
    console.print()
    counts = Counter(cell.word for cell in matrix.cells.values())
    used = [word for word in WORDS if counts[word] and (marked or word != RIGHT)]
    legend = [f"{_shown(word, marked=marked)} {word}: {WORDS[word][1]}".removeprefix(f"{word} ") for word in used]
    for line in textwrap.wrap("; ".join(legend), console.width):
        _say(line, console)
    for head, one in zip(heads, matrix.implementations, strict=True):
        _say(f"{head} {one.name}: {one.source}".removeprefix(f"{one.name} "), console)
    for line in matrix.causes:
        _told(as_options(line), console)
    console.print()
    said = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    closing = f"{'interrupted; ' * run.interrupted}of {len(matrix.cells)} cells {said}, in {run.seconds:.1f} s"
    console.print(closing, style="green" if run.exit_code == 0 else "red", markup=False, soft_wrap=True)


def _fitting(matrix: Matrix, width: int) -> tuple[list[str], bool]:
    """What stands above the columns, and whether marks stand for words: the longest that fits into the width."""
    names = [one.name for one in matrix.implementations]
    numbers = [str(k + 1) for k in range(len(names))]
    forms = [(heads, marked) for heads in (names, numbers) for marked in (False, True)]
    return next((form for form in forms if _width(matrix, *form) <= width), forms[-1])


def _width(matrix: Matrix, heads: Sequence[str], marked: bool) -> int:
    columns = [max(map(cell_len, ("operation", *matrix.operations)))]
    for head, one in zip(heads, matrix.implementations, strict=True):
        words = {matrix.cells[operation, one.name].word for operation in matrix.operations}
        columns.append(max([cell_len(head), *(len(_shown(word, marked=marked)) for word in words)]))
    return sum(columns) + GAP * len(heads)


def _shown(word: str, *, marked: bool) -> str:
    return WORDS[word][0] if marked or word == MISSING else word


def _table(matrix: Matrix, heads: Sequence[str], *, marked: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    table.add_column("operation", no_wrap=True)
    for head in heads:
        table.add_column(escape(head), no_wrap=True)
    for operation in matrix.operations:
        words = [matrix.cells[operation, one.name].word for one in matrix.implementations]
        cells = [f"[{STYLES.get(word, 'red')}]{_shown(word, marked=marked)}[/]" for word in words]
        table.add_row(escape(operation), *cells)
    return table


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _told(line: str, console: Console) -> None:
    """A cause: on a terminal in lines of its width, elsewhere in one."""
    for part in textwrap.wrap(line, console.width, subsequent_indent="  ") if console.is_terminal else [line]:
        _say(part, console)


def to_dict(matrix: Matrix, run: Run) -> dict[str, Any]:
    """What a machine reads; its form is that of `matrix.json`."""
    cells = [{"operation": op, "implementation": name, **cell._asdict()} for (op, name), cell in matrix.cells.items()]
    return {
        "schema": "backprop-matrix-1",
        "passed": run.exit_code == 0,
        "interrupted": run.interrupted,
        "seconds": run.seconds,
        "implementations": [one._asdict() for one in matrix.implementations],
        "operations": list(matrix.operations),
        "cells": cells,
        "notes": run.notes,
    }
