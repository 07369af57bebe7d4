"""The command `backprop verify`."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ..verification.names import completed, split_names
from .console import complain, console, errors, fail, live_line, print_table, say
from .files import check_writable, why_not_written, write_json
from .signals import INTERRUPTED

if TYPE_CHECKING:
    from ..laws.failure import Failure
    from ..verification.findings import Outcome, Tally
    from ..verification.run import Run

SECONDS_BETWEEN_LINES = 10.0
JAX_LAWS = ("forward_equals_jax", "vjp_equals_jax_vjp", "jacobian_equals_jacrev")


def verify(
    operations: Annotated[
        str | None,
        Option(
            help="Only these, separated by commas; `activation` means every activation[…].",
            metavar="NAMES",
            autocompletion=completed,
        ),
    ] = None,
    examples: Annotated[
        int, Option(min=1, help="Cases for each operation: up to 100 by all laws, those above it in sweeps.")
    ] = 30,
    seed: Annotated[int, Option(min=0, help="Other seeds try other shapes and other values.")] = 0,
    jobs: Annotated[int | None, Option(min=1, help="Processes; one for each core, if not given.")] = None,
    json_file: Annotated[
        Path | None, Option("--json", help="Write all that was measured to this file.", metavar="FILE")
    ] = None,
) -> None:
    """Run every law on every operation: the main job.

    Each operation's forward, Jacobians and vjp are compared with JAX and with the certified truth, on shapes and values
    drawn from a seed. Exit code 0: all laws hold; 1: one does not, or not everything was checked; 2: the call was
    wrong, or the file could not be written; 130: interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.

    From the 101st case of an operation on, cases are swept: many of a shape at once, the value and the vjp of each
    against JAX's program run in NumPy. Gradients of parameters are compared as sums over the 1, 8 or 32 cases that
    share the parameters, Jacobians at a few cases of each shape. What fails is shrunk like any other failure.

    \b
    backprop verify
    backprop verify --operations softmax,activation --examples 1000000 --seed 7
    """
    from ..verification.run import cut, tasks
    from ..verification.run import verify as run

    try:
        names = split_names(operations) if operations is not None else None
        work = cut(tasks(names), examples, seed)
        check_writable([json_file])
    except (LookupError, OSError) as error:
        raise fail(error.args[0]) from None
    with _watched(len(work)) as on_outcome:
        report = run(names, examples=examples, seed=seed, jobs=jobs, on_outcome=on_outcome)
    problem = why_not_written(json_file, write_json, report.to_dict())  # before the table, whose reader may be gone
    _print_report(report)
    _print_failures(report.failures)
    if problem:
        complain(problem)
    if "interrupted" in report.notes:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(2 if problem else 0 if report.passed else 1)


@contextmanager
def _watched(total: int) -> Iterator[Callable[["Outcome"], None]]:
    """A live line while work goes on, or a plain line now and then: how far, how fast, and how many failures."""
    tasks = cases = failed = 0
    started = printed = time.perf_counter()
    with live_line("verifying", total) as update:

        def on_outcome(outcome: "Outcome") -> None:
            nonlocal tasks, cases, failed, printed
            tasks, cases, failed = tasks + 1, cases + outcome.cases, failed + len(outcome.failures)
            now = time.perf_counter()
            said = f"{tasks / total:.0%}: {cases:,} cases, {cases / (now - started):,.0f} cases/s, {failed} failures"
            update(advance=1, said=said, description=outcome.operation)
            if not errors.is_terminal and now - printed >= SECONDS_BETWEEN_LINES:
                printed = now
                errors.print(f"{said}, {now - started:.0f} s")

        yield on_outcome


def _print_report(report: "Run") -> None:
    """The table of a run, a line for each operation's value and each of its arguments, and a closing line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("operation\n  argument", no_wrap=True)
    for column in ("cases", "vs JAX\n(ULP)", "vs truth\n(ULP)", "of the\nbound"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("worst at", overflow="fold", max_width=18)
    table.add_column("verdict", no_wrap=True)
    for outcome in report.outcomes:
        for row in _rows(outcome):
            table.add_row(*row)
    print_table(table)
    for note in report.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    if report.unfinished:
        console.print(f"not done: {', '.join(report.unfinished)}", style="yellow", markup=False)
    verdict = "[green]all laws hold[/]" if report.passed else f"[red]{_problem(report)}[/]"
    rate = report.cases / report.seconds if report.seconds else 0
    console.print(
        f"{verdict}: {report.cases:,} cases, {report.claims:,} claims on {report.entries:,} numbers\n"
        f"in {report.seconds:.1f} s ({rate:,.0f} cases/s), seed {report.seed}"
    )


def _problem(report: "Run") -> str:
    if report.failures:
        return f"{len(report.failures)} laws do not hold"
    return "not finished" if report.unfinished else "nothing was checked"


def _rows(outcome: "Outcome") -> Iterator[tuple[str, ...]]:
    """A line for the value with the verdict on all laws, and one for each argument's derivatives."""
    from rich.markup import escape

    from backprop_reference import OPERATIONS

    from ..laws.truth import TRUTH_LAWS

    verdict = "[red]WRONG[/]" if outcome.failures else "[green]ok[/]"
    if outcome.operation not in OPERATIONS:
        name = escape(outcome.operation.replace("_", " "))
        yield name, f"{outcome.cases:,}", "", "", _percent(outcome.tallies.values()), "", verdict
        return
    quantities = {"": ("u",)} | {name: (f"d{name}", f"J_{name}") for name in OPERATIONS[outcome.operation].arguments}
    for argument, whats in quantities.items():
        tallies = {key: tally for key, tally in outcome.tallies.items() if key[1] in whats}
        jax = [tally for (law, _), tally in tallies.items() if law in JAX_LAWS]
        worst = max(jax, key=lambda tally: tally.ulp, default=None)
        truth = [tally.ulp for (law, _), tally in tallies.items() if law in TRUTH_LAWS]
        wrong = any(failure.what.startswith(whats) for failure in outcome.failures)
        yield (
            f"  {argument}" if argument else escape(outcome.operation),
            f"{max((tally.cases for tally in jax), default=0):,}",
            _ulp(worst.ulp if worst else 0.0),
            _ulp(max(truth)) if truth else "",
            _percent(tallies.values()),
            " ".join(f"{letter}={size}" for letter, size in worst.sizes.items()) if worst else "",
            verdict if not argument else "[red]WRONG[/]" if wrong else "[green]ok[/]",
        )


def _percent(tallies: "Iterable[Tally]") -> str:
    return f"{max((tally.share for tally in tallies), default=0):.0%}"


def _ulp(value: float) -> str:
    return f"{value:.1f}" if value < 1e4 else f"{value:.0e}"


def _print_failures(failures: "Sequence[Failure]") -> None:
    """Each failure with its smallest case, and Python that reproduces it and is never wrapped, so as to be pasted."""
    from rich.markup import escape

    for failure in failures:
        console.rule(escape(f"{failure.operation}: {failure.law.replace('_', ' ')}"), style="red", align="left")
        console.print(failure.message, markup=False)
        if failure.ulp is not None:
            console.print(f"off by {failure.ulp:.3g} ULP")
        say("\n" + "\n".join(f"    {line}" for line in failure.reproduction.splitlines()) + "\n")
