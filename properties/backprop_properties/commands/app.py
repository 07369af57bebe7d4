"""What `backprop` can do: verify, check, selftest, accuracy, list, show, vectors.

Each command imports what it needs, so that `--help` answers at once.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .check import check
from .files import check_writable, text_of
from .selftest import selftest
from .vectors import vectors

app = typer.Typer(
    help="The touchstone for hand-written back-propagation: prove it, look at it, count its digits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(vectors, name="vectors")
app.command()(selftest)

INTERRUPTED = 130
console = Console()
errors = Console(stderr=True)


def fail(message: str) -> typer.Exit:
    """One line on standard error, and exit code 2."""
    errors.print(f"backprop: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(2)


@app.command()
def verify(
    operations: Annotated[
        str | None,
        typer.Option(help="Only these, separated by commas; `activation` means every activation[…].", metavar="NAMES"),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Cases for each operation: up to 100 by all laws, those above it in sweeps.")
    ] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds try other shapes and other values.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core, if not given.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all that was measured to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Run every law on every operation: the main job.

    Each operation's forward, Jacobians and vjp are compared with JAX and with the certified truth, on shapes and values
    drawn by Hypothesis. Exit code 0: all laws hold; 1: one does not, or nothing was checked; 2: the call was wrong;
    130: interrupted.

    From the 101st case of an operation on, cases are swept: many of a shape at once, the value and the vjp of each
    against JAX's program run in NumPy. Gradients of parameters are compared as sums over the 1, 8 or 32 cases that
    share the parameters, Jacobians at a few cases of each shape. What fails is shrunk like any other failure.

    \b
    backprop verify
    backprop verify --operations softmax,activation --examples 1000000 --seed 7
    """
    from ..checking.report import finite
    from ..verification.run import cut, tasks
    from ..verification.run import verify as run
    from .console import print_failures, print_report, watched

    try:
        names = split_names(operations) if operations is not None else None
        work = cut(tasks(names), examples, seed)
        check_writable([json_file])
    except (LookupError, OSError) as error:
        raise fail(error.args[0]) from None
    with watched(len(work)) as on_outcome:
        report = run(names, examples=examples, seed=seed, jobs=jobs, on_outcome=on_outcome)
    print_report(console, report)
    print_failures(console, report.failures)
    if json_file is not None:
        json_file.write_text(json.dumps(finite(report.to_dict()), indent=1, ensure_ascii=False) + "\n")
    if "interrupted" in report.notes:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if report.passed else 1)


app.command()(check)


@app.command()
def accuracy(
    operations: Annotated[str | None, typer.Option(help="Only these, separated by commas.", metavar="NAMES")] = None,
    cases: Annotated[int, typer.Option(min=1, help="Cases for each operation, regime and dtype.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds draw other cases.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every row here.", metavar="FILE")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw it here, as SVG.", metavar="FILE")] = None,
    readme: Annotated[
        Path | None,
        typer.Option(help="Put the table into this Markdown file, between its `accuracy` markers.", metavar="FILE"),
    ] = None,
) -> None:
    """Compare worst errors against the certified truth: the reference, JAX, and PyTorch and SciPy where installed.

    One run, the same inputs for all. Errors are in units in the last place of the true result, or of the problem's
    condition where that is larger. A cell of 4 is a last digit slightly off; 1e15 is no correct digit at all. A second
    table is about sums of many equal terms, and of terms made for it, which are hard to add.
    """
    from ..checking.report import finite
    from ..evidence import accuracy as accuracy_report
    from ..evidence import long_sums
    from ..verification.run import operation_names
    from .console import named_progress

    try:
        names = operation_names(split_names(operations) if operations is not None else None)
        if readme is not None:
            accuracy_report.between_markers(accuracy_report.between_markers(text_of(readme), ""), "", "sums")
        check_writable([json_file, plot_file, readme])
    except (LookupError, OSError, ValueError) as error:
        raise fail(str(error.args[-1])) from None
    with named_progress(len(names)) as progress:
        rows = accuracy_report.run(names, cases, seed, progress)
    accuracy_report.print_table(rows, console)
    sums = long_sums.measure(names)
    if sums:
        long_sums.print_sums(sums, console)
    if json_file is not None:
        found = accuracy_report.to_dict(rows) | {"sums": [asdict(measured) for measured in sums]}
        json_file.write_text(json.dumps(finite(found), indent=1) + "\n", encoding="utf-8")
    if plot_file is not None:
        accuracy_report.plot(rows, plot_file)
    if readme is not None:
        text = accuracy_report.between_markers(text_of(readme), accuracy_report.markdown(rows, every_regime=False))
        if sums:
            text = accuracy_report.between_markers(text, long_sums.markdown(sums), "sums")
        readme.write_text(text, encoding="utf-8")


@app.command("list")
def list_operations(
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON array.")] = False,
) -> None:
    """All operations, with their arguments, shapes and slides."""
    from backprop_reference import OPERATIONS

    from .console import print_operations

    if as_json:
        keys = ("name", "slide", "arguments", "signature")
        print(json.dumps([{key: getattr(row, key) for key in keys} for row in OPERATIONS.values()], ensure_ascii=False))
    else:
        print_operations(console, OPERATIONS.values())


@app.command()
def show(
    operation: Annotated[str, typer.Argument(help="A name of `backprop list`, as softmax or activation[tanh].")],
) -> None:
    """An operation's formula and shapes, and the slide's derivation with the value of every factor on a small input."""
    from backprop_reference import OPERATIONS

    from ..verification.run import unknown
    from .console import print_derivation

    family = [name for name, row in OPERATIONS.items() if row.base == operation]
    if operation not in OPERATIONS and not family:
        raise fail(unknown(operation, list(OPERATIONS)))
    print_derivation(console, OPERATIONS[operation if operation in OPERATIONS else family[0]])


def split_names(text: str) -> list[str]:
    """Names separated by commas; those inside brackets belong to a name.

    >>> split_names("softmax,backpropagation[tanh,identity]")
    ['softmax', 'backpropagation[tanh,identity]']
    """
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()]
