"""The command line of the benchmarks."""

import json
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backprop_properties.commands.files import check_writable, with_parts

from .cells import CELLS, GROWTH, LIMITS, Cell
from .contenders import PEERS, REFERENCE
from .plot import svg
from .report import forced, markdown, print_report, to_dict
from .turns import BUDGET, Measured, Workers

INTERRUPTED = 130
TIME = 240.0  # seconds for all cells, after which come the bytes: on a slow machine cells have fewer rounds
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console(width=None if sys.stdout.isatty() else 100)  # a file takes the whole table


def chosen(patterns: str | None) -> list[Cell]:
    """The cells whose titles have one of the patterns in them; all without patterns. LookupError for one that none has.

    >>> [cell.size for cell in chosen("softmax_vjp*float32")]
    ['4096×10', '4096×1000', '64×50000']
    """
    every = [*CELLS, *GROWTH]
    if patterns is None:
        return every
    parts = [part for part in map(str.strip, patterns.split(",")) if part]
    found = {part: {cell for cell in every if fnmatch(cell.title, f"*{part}*")} for part in parts}
    unknown = [part for part in parts if not found[part]] if parts else [patterns]
    if unknown:
        raise LookupError(f"--cells: nothing has {unknown[0]!r} in its title, as {CELLS[0].title!r} has")
    return [cell for cell in every if any(cell in fitting for fitting in found.values())]


def measure(cells: Sequence[Cell], rounds: int, seconds: float, measured: list[Measured]) -> None:
    """Fills `measured`, which holds what was found so far if Ctrl-C ends it; a live line tells how far it is."""
    contenders = [REFERENCE, *(peer for peer in PEERS if peer.installed)]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(cells) + sum(bool(cell.growth) for cell in cells))
        until = time.perf_counter() + TIME
        with Workers(contenders) as workers:
            for i, cell in enumerate(cells):
                progress.update(task, description=escape(cell.title))
                fair = (until - time.perf_counter()) / (len(cells) - i)
                measured.append(workers.measure(cell, rounds, seconds, min(BUDGET, fair)))
                progress.advance(task)
        with Workers(contenders) as workers:
            for m in (m for m in measured if m.cell.growth):
                progress.update(task, description=f"memory, {escape(m.cell.title)}")
                workers.weigh(m)
                progress.advance(task)


@app.command()
def bench(
    cells: Annotated[
        str | None,
        typer.Option(help="Only cells with this in their title; globs, separated by commas.", metavar="TEXT"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender in each cell.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="Of a turn.")] = 0.05,
    quick: Annotated[bool, typer.Option("--quick", help="Two short turns: a first impression.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all that was measured.", metavar="FILE")
    ] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw it here, as SVG.", metavar="FILE")] = None,
    readme: Annotated[
        Path | None, typer.Option(help="Put the tables into this file, between its `bench` markers.", metavar="FILE")
    ] = None,
) -> None:
    """Time the reference beside JAX, PyTorch and autograd, where installed, and beside the machine's limits.

    Each contender has a process of its own; they take turns. `ratio` is the reference's time over the fastest peer's.
    """
    try:
        selected = chosen(cells)
        check_writable([json_file, plot_file, readme])
        if readme is not None:
            with_parts(readme, {"bench": ""})
    except (LookupError, OSError, ValueError) as error:
        raise _wrong(str(error)) from None
    if quick:
        rounds, seconds = 2, 0.02
    every: list[Cell] = [*LIMITS, *selected]
    measured: list[Measured] = []
    interrupted, load, started = False, os.getloadavg()[0], time.perf_counter()
    remarks = [f"{peer.name} is not installed: not measured" for peer in PEERS if not peer.installed]
    remarks += forced(os.environ)
    try:
        measure(every, rounds, seconds, measured)
    except KeyboardInterrupt:
        interrupted = True
        remarks.append(f"interrupted: {len(measured)} of {len(every)} cells were measured")
    took = time.perf_counter() - started
    remarks.append(f"up to {rounds} rounds, {took:.0f} s in all; the machine's load before it: {load:.1f}")
    print_report(console, measured, remarks)
    if json_file is not None:
        json_file.write_text(json.dumps(to_dict(measured), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if plot_file is not None:
        plot_file.write_text(svg(measured), encoding="utf-8")
    if readme is not None and not interrupted:
        text = with_parts(readme, {"bench": markdown(measured, remarks)})
        readme.write_text(text, encoding="utf-8")
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _wrong(message: str) -> typer.Exit:
    """One line on standard error, and exit code 2."""
    Console(stderr=True).print(f"bench: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(2)


def main() -> None:
    app()
