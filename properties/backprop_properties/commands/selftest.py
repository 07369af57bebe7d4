"""The command `backprop selftest`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from .console import complain, console, counted, fail, note
from .files import check_reports, why_not_written, with_parts, write_json, write_parts

EVERY = 6  # faults: one of so many is put to the checks by finite differences, too


def selftest(
    names: Annotated[
        str | None, Option("--only", help="Rows whose names have this text, or operations.", metavar="TEXT")
    ] = None,
    jobs: Annotated[int | None, Option(min=1, help="Processes; one for each core, if not given.")] = None,
    alone: Annotated[bool, Option("--alone", help="Without the checks of other libraries.")] = False,
    every: Annotated[
        int, Option(min=1, help="Those get one fault of so many; they take hours for all.", metavar="N")
    ] = EVERY,
    rows: Annotated[
        Path | None,
        Option(help="Put each row down here when it is done, and do none again.", metavar="FILE"),
    ] = None,
    json_file: Annotated[Path | None, Option("--json", help="Write every row here.", metavar="FILE")] = None,
    readme: Annotated[
        Path | None,
        Option(help="Put the table into this Markdown file, between its `selftest` markers.", metavar="FILE"),
    ] = None,
) -> None:
    """Put `check` to the test: every planted fault must be rejected, every right neighbour accepted.

    Beside it stand checks by finite differences on the same faults, as far as they are installed: PyTorch's
    `gradcheck`, JAX's and autograd's `check_grads`, on one ordinary random input and on many. Exit code 0: none missed,
    none rejected wrongly; 1: otherwise; 2: the call was wrong, or a file could not be written; 130: interrupted.

    \b
    backprop selftest --alone --only softmax
    backprop selftest --rows tried.jsonl --json selftest.json
    """
    from rich.table import Table
    from rich.text import Text

    from ..evidence.practices import FINITE_DIFFERENCES, installed
    from ..evidence.selftest import TABLE, Kept, lines, markdown, passed, run, summary, to_dict

    chosen = [name for name, row in TABLE.items() if not names or names in name or names in row.operation]
    try:
        if not chosen:
            raise LookupError(f"no row of the tables has {names!r} in its name or operation")
        if readme is not None:
            with_parts(readme, {"selftest": ""})
        check_reports({"--json": json_file, "--readme": readme, "--rows": rows}, [])
        rivals = [] if alone else installed(FINITE_DIFFERENCES)
        kept = Kept(rows, rivals, every) if rows else None
    except (LookupError, OSError, ValueError) as error:
        raise fail(error) from None
    if kept and kept.dropped:
        note(f"{rows} had {kept.dropped} rows of other code or options, which are tried again")
    with counted("testing", len(chosen)) as on_done:
        outcomes = run(chosen, rivals=rivals, every=every, jobs=jobs, kept=kept, on_outcome=on_done)
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
    problems = [why_not_written(json_file, write_json, to_dict(outcomes))]
    problems += [why_not_written(readme, write_parts, {"selftest": markdown(outcomes)})]
    for problem in filter(None, problems):
        complain(problem)
    raise typer.Exit(2 if any(problems) else 0 if passed(outcomes) else 1)
