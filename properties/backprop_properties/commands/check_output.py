"""What `backprop check` shows and writes: a live line, a table, the reports; JSON and JUnit XML."""

import os
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..checking.isolation import Task, Worker
from ..checking.run import Run
from .console import errors, live_line

SCHEMA = Path(__file__).parent / "schema.json"  # of what `to_dict` gives
Listeners = tuple[Callable[[int], None], Callable[[Task, Any], None], Callable[[Sequence[Worker]], None]]
SLOW = 2.0  # seconds after which it is said what takes so long; five times that where lines stay


@contextmanager
def watched() -> Iterator[Listeners]:
    """A live line on a terminal: how far, how many are wrong, and what is slow; elsewhere a line of what is slow."""
    count = done = wrong = 0
    told = time.monotonic()
    with live_line("checking", None) as update:

        def show(**changed: Any) -> None:
            update(said=f"{done}/{count} {wrong} wrong", **changed)

        def on_tasks(tasks: int) -> None:
            nonlocal count
            count = tasks
            show(total=count)

        def on_report(task: Task, report: Any) -> None:
            nonlocal done, wrong
            done, wrong = done + 1, wrong + (not report.passed)
            show(completed=done, description=task.operation)

        def on_wait(workers: Sequence[Worker]) -> None:
            nonlocal told
            if workers and time.monotonic() > told + (SLOW if errors.is_terminal else 5 * SLOW):
                told = time.monotonic()
                states = "; ".join(worker.state for worker in workers)
                show(description=states)
                if not errors.is_terminal:
                    errors.print(f"backprop: {states}", markup=False, soft_wrap=True)

        yield on_tasks, on_report, on_wait


def print_run(run: Run, console: Console) -> None:
    """The table of operations with their verdicts, the reports of those that are wrong, and a closing line."""
    if run.reports:
        console.print(_table(run))
    wrong = [report for report in run.reports.values() if not report.passed]
    for note in dict.fromkeys(note for report in run.reports.values() if report.passed for note in report.notes):
        _print(console, f"  {note}")
    names = _names(run)
    for task, report in run.ordered():
        if report is not None and not report.passed:
            console.print()
            console.rule(escape(names[task.path]) if len(names) > 1 else "", characters="─", style="red")
            _print(console, str(report))
    console.print()
    unfinished = [str(task.operation) for task, report in run.ordered() if report is None]
    if run.interrupted:
        _print(console, f"interrupted; not done: {', '.join(unfinished) or 'nothing was begun'}")
    if run.reports:
        verdict = f"{len(wrong)} of {len(run.reports)} WRONG" if wrong else f"all {len(run.reports)} right"
        console.print(f"{verdict}, in {run.seconds:.1f} s", style="red" if wrong else "green")


def _names(run: Run) -> dict[Path, str]:
    """Of each file its name, or if two have the same, its path from the folder that holds all of them."""
    paths = list(dict.fromkeys(task.path for task in run.tasks))
    names = {path: path.name for path in paths}
    if len(set(names.values())) < len(paths):
        root = os.path.commonpath([path.parent for path in paths])
        names = {path: path.relative_to(root).as_posix() for path in paths}
    return names


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = _names(run)
    several = len(names) > 1
    if several:
        table.add_column("file", overflow="fold")
    table.add_column("operation", overflow="fold", max_width=28)
    table.add_column("dtypes", overflow="fold", max_width=17)
    for column in ("checks", "numbers", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for task, report in run.ordered():
        if report is None:
            continue
        laws = len({failure.law for failure in report.failures})
        table.add_row(
            *[escape(names[task.path])] * several,
            escape(str(task.operation)),
            " ".join(report.dtypes),
            f"{sum(c.cases for c in report.checks):,}",
            f"{sum(c.entries for c in report.checks):,}",
            f"{report.seconds:.1f}",
            "[green]right[/]" if report.passed else f"[red]WRONG[/] ({laws} law{'s' * (laws != 1)})",
        )
    return table


def _print(console: Console, text: str) -> None:
    """Prose broken to the width of the console; code, which is indented by four, as it is."""
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        code = line.startswith("    ")
        filled = textwrap.fill(line.strip(), console.width, initial_indent=indent, subsequent_indent=indent + "  ")
        console.print(line if code else filled, markup=False, soft_wrap=True)


def to_dict(run: Run) -> dict[str, Any]:
    """What a machine reads; its form is that of `schema.json`."""
    reports = [{"file": str(task.path), **report.to_dict()} for task, report in run.ordered() if report is not None]
    return {
        "schema": "backprop-check-run-1",
        "passed": run.exit_code == 0,
        "interrupted": run.interrupted,
        "seconds": run.seconds,
        "unusable": run.unusable,
        "unfinished": [str(task.operation) for task, report in run.ordered() if report is None],
        "notes": run.notes,
        "reports": reports,
    }


def write_junit(file: Path | None, run: Run) -> None:
    """JUnit XML, if a file is given: a suite for each operation, a test for each law and dtype."""
    if file is None:
        return
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    def test(name: str, classname: str, *results: Any) -> TestCase:
        case = TestCase(name, classname)
        case.result = list(results)
        return case

    xml, names = JUnitXml("backprop check"), _names(run)
    for task, report in run.ordered():
        operation = str(task.operation)
        suite = TestSuite(f"{names[task.path]}: {operation}")
        if report is None:
            suite.add_testcase(test("check", operation, Skipped("not done")))
            xml.add_testsuite(suite)
            continue
        for checked in report.checks:
            failures = [f for f in report.failures if (f.law, f.dtype) == (checked.law, checked.dtype)]
            results = [Failure(failure.message) for failure in failures]
            for result, failure in zip(results, failures, strict=True):
                result.text = str(failure)
            suite.add_testcase(test(f"{checked.law}[{checked.dtype}]", operation, *results))
        xml.add_testsuite(suite)
    for message in run.unusable:
        suite = TestSuite("unusable")
        suite.add_testcase(test("check", "unusable", Error(message)))
        xml.add_testsuite(suite)
    xml.write(str(file), pretty=False)
