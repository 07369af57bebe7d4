"""What the terminal shows: progress, tables, failures."""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from backprop_reference import OPERATIONS, Jacobian, Operation
from backprop_reference.derivations import DERIVATIONS, derivation, product

from ..laws.truth import TRUTH_LAWS
from ..verification.findings import Failure, Outcome, Tally
from ..verification.run import Report

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def watched(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A live line on standard error while work goes on: how far, how many cases, how fast, how many failures.

    Where that is no terminal, a plain line now and then.
    """
    columns = (
        TextColumn("verifying"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console, started = Console(stderr=True), time.perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total, said="")
        tasks = cases = failed = 0
        printed = started

        def on_outcome(outcome: Outcome) -> None:
            nonlocal tasks, cases, failed, printed
            tasks, cases, failed = tasks + 1, cases + outcome.cases, failed + len(outcome.failures)
            now = time.perf_counter()
            said = f"{cases:,} cases, {cases / (now - started):,.0f} cases/s, {failed} failures"
            progress.update(bar, advance=1, description=escape(outcome.operation), said=said)
            if not console.is_terminal and now - printed >= SECONDS_BETWEEN_LINES:
                printed = now
                console.print(f"{tasks / total:.0%}: {said}, {now - started:.0f} s", highlight=False)

        yield on_outcome


@contextmanager
def named_progress(total: int) -> Iterator[Callable[[str], None]]:
    """A live line that names what is being worked on."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda name: progress.update(task, advance=1, description=escape(name))


# ── verify ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def print_report(console: Console, report: Report) -> None:
    """The table of a run, a line for each operation's value and each of its arguments, and a closing line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("operation\n  argument", overflow="fold", max_width=26)
    for column in ("cases", "vs JAX\n(ULP)", "vs truth\n(ULP)", "of the\nbound"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("worst at", overflow="fold", max_width=18)
    table.add_column("verdict", no_wrap=True)
    for outcome in report.outcomes:
        for row in _rows(outcome):
            table.add_row(*row)
    console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", style="yellow", highlight=False)
    if report.unfinished:
        console.print(f"not done: {escape(', '.join(report.unfinished))}", style="yellow", highlight=False)
    verdict = "[green]all laws hold[/]" if report.passed else f"[red]{_problem(report)}[/]"
    rate = report.cases / report.seconds if report.seconds else 0
    console.print(
        f"{verdict}: {report.cases:,} cases, {report.claims:,} claims on {report.entries:,} numbers\n"
        f"in {report.seconds:.1f} s ({rate:,.0f} cases/s), seed {report.seed}",
        highlight=False,
    )


def _problem(report: Report) -> str:
    if report.failures:
        return f"{len(report.failures)} laws do not hold"
    return "not finished" if report.unfinished else "nothing was checked"


JAX_LAWS = ("forward_equals_jax", "vjp_equals_jax_vjp", "jacobian_equals_jacrev")


def _rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    """A line for the value with the verdict on all laws, and one for each argument's derivatives."""
    verdict = "[red]WRONG[/]" if outcome.failures else "[green]ok[/]"
    if outcome.operation not in OPERATIONS:
        name = escape(outcome.operation.replace("_", " "))
        yield name, f"{outcome.cases:,}", "", "", _percent(outcome.tallies.values()), "", verdict
        return
    quantities = {"": ("u",)} | {name: (f"d{name}", f"J_{name}") for name in OPERATIONS[outcome.operation].arguments}
    for argument, whats in quantities.items():
        tallies = {key: tally for key, tally in outcome.tallies.items() if key[1] in whats}
        jax = max((t for (law, _), t in tallies.items() if law in JAX_LAWS), key=lambda t: t.ulp, default=Tally())
        truth = [t.ulp for (law, _), t in tallies.items() if law in TRUTH_LAWS]
        wrong = any(failure.what.startswith(whats) for failure in outcome.failures)
        yield (
            f"  {argument}" if argument else escape(outcome.operation),
            f"{max((t.cases for (law, _), t in tallies.items() if law in JAX_LAWS), default=0):,}",
            _ulp(jax.ulp),
            _ulp(max(truth)) if truth else "",
            _percent(tallies.values()),
            " ".join(f"{letter}={size}" for letter, size in jax.sizes.items()),
            verdict if not argument else "[red]WRONG[/]" if wrong else "[green]ok[/]",
        )


def _percent(tallies: Iterable[Tally]) -> str:
    return f"{max((tally.share for tally in tallies), default=0):.0%}"


def _ulp(value: float) -> str:
    return f"{value:.1f}" if value < 1e4 else f"{value:.0e}"


def print_failures(console: Console, failures: Sequence[Failure]) -> None:
    """Each failure with its minimal counterexample and Python that reproduces it."""
    for failure in failures:
        console.rule(escape(f"{failure.operation}: {failure.law.replace('_', ' ')}"), style="red", align="left")
        console.print(failure.message, markup=False, highlight=False)
        if failure.ulp is not None:
            console.print(f"off by {failure.ulp:.3g} ULP", highlight=False)
        print_code(console, failure.reproduction)


def print_code(console: Console, code: str) -> None:
    """Code as it is, never wrapped, so that it can be pasted."""
    console.print()
    for line in code.splitlines():
        console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    console.print()


# ── list and show ───────────────────────────────────────────────────────────────────────────────────────────────────


def print_operations(console: Console, rows: Iterable[Operation]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in (("operation", 25), ("arguments", 10), ("shapes", 21), ("slide", 18)):
        table.add_column(column, overflow="fold", max_width=width)
    for row in rows:
        table.add_row(escape(row.name), " ".join(row.arguments), row.signature, row.slide)
    console.print(table)


def print_derivation(console: Console, row: Operation) -> None:
    """Formula and shapes from the docstrings, then every factor of the slide's derivation on a small input."""
    for function in (row.forward, row.jacobian, row.vjp):
        plain = next((f for f in _unbound(function) if inspect.isfunction(f) and f.__doc__), function)
        text = inspect.cleandoc(plain.__doc__ or "").split("\n\n>>>")[0]
        console.print(f"[bold]{plain.__name__}[/]", highlight=False)
        console.print(f"{text}\n", markup=False, highlight=False)
    args = small_input(row)
    for name, a in zip(row.arguments, args, strict=True):
        console.print(f"{name} = {np.array2string(a, precision=4)}", markup=False, highlight=False)
    console.print()
    if DERIVATIONS.get(row.name):
        for argument, paths in derivation(row.name, *args).items():
            console.print(f"[bold]by {argument}[/]: the sum of {len(paths)} path(s)", highlight=False)
            for path in paths:
                for factor in path:
                    _print_matrix(console, factor.symbol, factor.jacobian)
                _print_array(console, "product", product(path))
    else:
        console.print("a basic operation: the slide states its Jacobians", highlight=False)
    for argument, J in zip(row.arguments, row.jacobian(*args), strict=True):
        _print_matrix(console, f"∂/∂{argument}", J)


def _unbound(function: Callable[..., object]) -> tuple[object, ...]:
    """The functions that a row's function is made of, the operation's own among them."""
    return (function.func, *function.args) if isinstance(function, partial) else (function,)


def small_input(row: Operation) -> list[np.ndarray]:  # type: ignore[type-arg]  # of any dtype
    """Halves and quarters, so that every factor can be checked by hand.

    >>> [a.shape for a in small_input(OPERATIONS["affine"])]
    [(2, 3), (3,), (2,)]
    """
    size = {letter: 2 + (letter in ("n", "m0")) for letter in row.letters}
    shapes = [tuple(size[letter] for letter in core) for core in row.cores[:-1]]
    return [
        (np.arange(1, 1 + int(np.prod(shape))) / (4 if k % 2 else 2)).reshape(shape) for k, shape in enumerate(shapes)
    ]


def _print_matrix(console: Console, symbol: str, J: Jacobian) -> None:
    _print_array(console, symbol, J.todense().reshape(J.slide_shape))


def _print_array(console: Console, symbol: str, a: np.ndarray) -> None:  # type: ignore[type-arg]  # of any dtype
    shape = "×".join(map(str, a.shape))
    text = np.array2string(a, precision=4, suppress_small=True).replace("\n", "\n" + " " * 24)
    console.print(f"  {symbol:<10} {shape:<9}  {text}", markup=False, highlight=False)
