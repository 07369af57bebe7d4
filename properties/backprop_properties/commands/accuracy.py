"""The command `backprop accuracy`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ..verification.names import completed, split_names
from .console import complain, console, counted, fail
from .files import check_writable, why_not_written, with_parts, write_json, write_parts, write_text


def accuracy(
    operations: Annotated[
        str | None, Option(help="Only these, separated by commas.", metavar="NAMES", autocompletion=completed)
    ] = None,
    cases: Annotated[int, Option(min=1, help="Cases for each operation, regime and dtype.")] = 6,
    seed: Annotated[int, Option(min=0, help="Other seeds draw other cases.")] = 0,
    json_file: Annotated[Path | None, Option("--json", help="Write every row here.", metavar="FILE")] = None,
    plot_file: Annotated[Path | None, Option("--plot", help="Draw it here, as SVG.", metavar="FILE")] = None,
    readme: Annotated[
        Path | None,
        Option(help="Put the table into this Markdown file, between its `accuracy` markers.", metavar="FILE"),
    ] = None,
) -> None:
    """Compare worst errors against the certified truth: the reference, JAX, and PyTorch and SciPy where installed.

    One run, the same inputs for all. Errors are in units in the last place of the true result, or of the problem's
    condition where that is larger. A cell of 4 is a last digit slightly off; 1e15 is no correct digit at all. A second
    table is about sums of many equal terms, and of terms made for it, which are hard to add.

    Exit code 0: done; 2: the call was wrong, or a file could not be written; 130: interrupted.
    """
    from ..evidence import accuracy as errors_of
    from ..evidence import long_sums
    from ..verification.run import operation_names

    try:
        names = operation_names(split_names(operations) if operations is not None else None)
        if readme is not None:
            with_parts(readme, {"accuracy": "", "sums": ""})
        check_writable([json_file, plot_file, readme])
    except (LookupError, OSError, ValueError) as error:
        raise fail(error.args[-1]) from None
    with counted("measuring", len(names)) as on_done:
        rows = errors_of.run(names, cases, seed, on_done)
    errors_of.print_table(rows, console)
    sums = long_sums.measure(names)
    if sums:
        long_sums.print_sums(sums, console)
    parts = {"accuracy": errors_of.markdown(rows, every_regime=False)}
    parts |= {"sums": long_sums.markdown(sums)} if sums else {}
    found = errors_of.to_dict(rows) | {"sums": [asdict(measured) for measured in sums]}
    problems = [why_not_written(json_file, write_json, found), why_not_written(readme, write_parts, parts)]
    problems += [why_not_written(plot_file, write_text, errors_of.plot(rows))]
    for problem in filter(None, problems):
        complain(problem)
    if any(problems):
        raise typer.Exit(2)
