"""The command `backprop selftest`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from .console import console, counted, fail
from .files import check_writable, with_parts, write_json


def selftest(
    names: Annotated[
        str | None, Option("--only", help="Rows whose names have this text, or operations.", metavar="TEXT")
    ] = None,
    jobs: Annotated[int | None, Option(min=1, help="Processes; one for each core, if not given.")] = None,
    alone: Annotated[bool, Option("--alone", help="Without the checks of other libraries.")] = False,
    json_file: Annotated[Path | None, Option("--json", help="Write every row here.", metavar="FILE")] = None,
    readme: Annotated[
        Path | None,
        Option(help="Put the table into this Markdown file, between its `selftest` markers.", metavar="FILE"),
    ] = None,
) -> None:
    """Put `check` to the test: every planted fault must be rejected, every right neighbour accepted.

    Beside it stand checks by finite differences on the same faults, as far as they are installed: PyTorch's
    `gradcheck`, JAX's and autograd's `check_grads`, on one ordinary random input and on many. Exit code 0: none missed,
    none rejected wrongly; 1: otherwise; 2: the call was wrong.
    """
    from rich.table import Table
    from rich.text import Text

    from ..evidence.selftest import TABLE, lines, markdown, passed, run, summary, to_dict

    chosen = [name for name, row in TABLE.items() if not names or names in name or names in row.operation]
    try:
        if not chosen:
            raise LookupError(f"no row of the tables has {names!r} in its name or operation")
        if readme is not None:
            with_parts(readme, {"selftest": ""})
        check_writable([json_file, readme])
    except (LookupError, OSError, ValueError) as error:
        raise fail(error) from None
    with counted("testing", len(chosen)) as on_done:
        outcomes = run(chosen, rivals=[] if alone else None, jobs=jobs, on_outcome=on_done)
    for key in ("kind", "operation"):
        head, body = lines(outcomes, key)
        table = Table(box=None)
        for column in head:
            table.add_column(column, no_wrap=column == key)
        for row in body:
            table.add_row(*map(Text, row))
        console.print(table)
    for outcome in outcomes:
        if not outcome.right:
            what = f"missed: {outcome.kind}" if outcome.kind else f"rejected: {', '.join(outcome.laws)}"
            console.print(f"{outcome.name} ({outcome.operation}, {outcome.dtype}) is {what} {outcome.message}")
    console.print(summary(outcomes))
    write_json(json_file, to_dict(outcomes))
    if readme is not None:
        readme.write_text(with_parts(readme, {"selftest": markdown(outcomes)}), encoding="utf-8")
    raise typer.Exit(0 if passed(outcomes) else 1)
