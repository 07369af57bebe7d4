"""What `backprop check` shows and writes: a live line, a table, the reports; JSON and JUnit XML."""

import re
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..checking.isolation import Judge
from ..checking.report import Report
from ..checking.run import Run
from ..checking.tasks import Task
from .console import errors, live_line, print_table

SCHEMA = Path(__file__).parent / "schema.json"  # of what `to_dict` gives
Listeners = tuple[Callable[[int], None], Callable[[Task, Any], None], Callable[[Sequence[Judge]], None]]
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
            done, wrong = done + 1, wrong + (not report.holds)
            show(completed=done, description=task.operation)

        def on_wait(judges: Sequence[Judge]) -> None:
            nonlocal told
            if judges and time.monotonic() > told + (SLOW if errors.is_terminal else 5 * SLOW):
                told = time.monotonic()
                states = [judge.state for judge in judges]
                show(description="; ".join(states))
                for state in states if not errors.is_terminal else ():
                    errors.print(f"backprop: {state}", markup=False, soft_wrap=True)

        yield on_tasks, on_report, on_wait


def print_notes(notes: Sequence[str], unusable: Sequence[str] = ()) -> None:
    """What could not be, or was not, checked, on standard error: on a terminal, prose in lines of its width.

    Code to paste, which is all after a first line, begins at the margin and is never broken.
    """
    texts = [*(("backprop", "red", message) for message in unusable), *(("note", "yellow", note) for note in notes)]
    for what, style, text in texts:
        prose, *code = f"{what}: {text}".splitlines()
        wide = errors.width if errors.is_terminal else len(prose)
        for line in textwrap.wrap(prose, wide, subsequent_indent="  ", break_on_hyphens=False):
            errors.print(line, style=style, markup=False, soft_wrap=True)
        for line in code:
            errors.print(line, markup=False, soft_wrap=True)


def print_run(run: Run, console: Console, *, full: bool = False) -> None:
    """The table of operations with their verdicts, what is wrong, in short or in full, and a closing line."""
    if run.reports:
        print_table(_table(run), console)
    wrong = [report for report in run.reports.values() if not report.passed]
    for note in dict.fromkeys(note for report in run.reports.values() if report.passed for note in report.notes):
        _print(console, f"  {note}")
    names = run.names
    for task, report in run.ordered():
        if report is not None and (report.failures or not report.passed):
            console.print()
            if full or len(run.reports) > 1:
                console.rule(escape(names[task.path]) if len(names) > 1 else "", characters="─", style="red")
            _print(console, str(report) if full else report.summary(), code=full)
    console.print()
    unfinished = [str(task.operation) for task, report in run.ordered() if report is None]
    if run.interrupted:
        _print(console, f"interrupted; not done: {', '.join(unfinished) or 'nothing was begun'}")
    if run.reports:
        words = Counter(report.word for report in wrong)
        counts = [f"{count} of {len(run.reports)} {word}" for word, count in words.items()]
        left = [f"{len(unfinished)} not finished"] * run.interrupted
        left += [f"{len(run.unusable)} could not be checked"] * bool(run.unusable)
        counts = counts or [f"{len(run.reports)} right" if left else f"all {len(run.reports)} right"]
        more = "" if full or not wrong else "; --full shows all, and Python to paste"
        closing = textwrap.fill(f"{', '.join([*counts, *left])}, in {run.seconds:.1f} s{more}", console.width)
        console.print(closing, style="red" if wrong else "yellow" if left else "green", soft_wrap=True)


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = run.names
    several = len(names) > 1
    if several:
        table.add_column("file", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    table.add_column("dtypes", overflow="fold", max_width=17)
    for column in ("checks", "numbers", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for task, report in run.ordered():
        if report is None:
            continue
        table.add_row(
            *[escape(names[task.path])] * several,
            escape(str(task.operation)),
            " ".join(report.dtypes),
            f"{sum(c.cases for c in report.checks):,}",
            f"{sum(c.entries for c in report.checks):,}",
            f"{report.seconds:.1f}",
            f"[green]right[/]{_but(report)}" if report.passed else f"[red]{report.word}[/]",
        )
    return table


def _but(report: Report) -> str:
    told = f", no {', '.join(report.missing)}" if report.missing else ""
    return f"{told}, but {report.word}" if report.failures else told


def _print(console: Console, text: str, *, code: bool = False) -> None:
    """Prose broken to the width of the console, with options as the command has them; code, which is indented by
    four, as it is.
    """
    for line in text.splitlines():
        indent, said = " " * (len(line) - len(line.lstrip())), as_options(line.strip())
        filled = textwrap.fill(said, console.width, initial_indent=indent, subsequent_indent=indent + "  ")
        console.print(line if code and line.startswith("    ") else filled, markup=False, soft_wrap=True)


OPTIONS: tuple[tuple[str, str], ...] = (  # an argument of `check`, and the option of the command that is the same
    (r"domain=\{['\"](\w+)['\"]: True\}", r"--domain \1"),
    (r"domain=\{['\"](\w+)['\"]: ['\"]([\w-]+)['\"]\}", r"--domain \1=\2"),
    (r"domain=\{['\"](\w+)['\"]: ['\"]([\w -]+)['\"]\}", r'--domain \1="\2"'),
    (r"dtypes='(\w+)'", r"--dtype \1"),
    (r"level='(\w+)'", r"--level \1"),
    (r"batch=True", "--batch"),
    (r"batch='only'", "--batch-only"),
    (r"batch=False", "--no-batch"),
    (r"may_write=\('(\w+)',\)", r"--may-write \1"),
    (r"may_write=\('(\w+)', '(\w+)'\)", r"--may-write \1,\2"),
    (r"dtypes=\('(\w+)',\)", r"--dtype \1"),
    (r"waive=\('(\w+)',\)", r"--waive \1"),
    (r"waive=\('(\w+)', '(\w+)'\)", r"--waive \1,\2"),
)


def as_options(text: str) -> str:
    """A text with the arguments of `check` that it names as options of the command.

    >>> as_options("ask with domain={'n': 'multiple of 8'}, or batch=True")
    'ask with --domain n="multiple of 8", or --batch'
    """
    for argument, option in OPTIONS:
        text = re.sub(argument, option, text)
    return text


def to_dict(run: Run) -> dict[str, Any]:
    """What a machine reads; its form is that of `schema.json`."""
    reports = [{"file": str(task.path), **report.to_dict()} for task, report in run.ordered() if report is not None]
    return {
        "schema": "backprop-check-run-2",
        "passed": run.exit_code == 0,
        "interrupted": run.interrupted,
        "seconds": run.seconds,
        "unusable": run.unusable,
        "unfinished": [str(task.operation) for task, report in run.ordered() if report is None],
        "notes": run.notes,
        "reports": reports,
    }


def write_junit(file: Path | None, run: Run) -> None:
    """JUnit XML, if a file is given."""
    if file is not None:
        file.write_text(as_junit(run), "utf-8")


def as_junit(run: Run) -> str:
    """JUnit XML: a suite for each operation, a test for each law and dtype."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    def test(name: str, classname: str, *results: Any) -> TestCase:
        case = TestCase(name, classname)
        case.result = list(results)
        return case

    xml, names = JUnitXml("backprop check"), run.names
    for task, report in run.ordered():
        operation = str(task.operation)
        suite = TestSuite(f"{names[task.path]}: {operation}")
        for kind, said in report.verdicts.items() if report is not None else ():
            for part, words in said.to_dict().items():
                suite.add_property(f"{kind} {part}", words)
        if report is None:
            suite.add_testcase(test("check", operation, Skipped("not done")))
            xml.add_testsuite(suite)
            continue
        silent = [*report.skipped, *(checked for checked in report.checks if not checked.entries)]
        for checked in report.checks:
            failures = [f for f in report.failures if (f.law, f.dtype) == (checked.law, checked.dtype)]
            results = [Failure(failure.message, failure.part) for failure in failures]
            unsaid = [Skipped("nothing was compared")] if checked in silent and not failures else []
            for result, failure in zip(results, failures, strict=True):
                result.text = str(failure)
            suite.add_testcase(test(f"{checked.law}[{checked.dtype}]", operation, *results, *unsaid))
        xml.add_testsuite(suite)
    for message in run.unusable:
        suite = TestSuite("unusable")
        suite.add_testcase(test("check", "unusable", Error(message)))
        xml.add_testsuite(suite)
    text: bytes = xml.tostring()  # type: ignore[no-untyped-call]  # a library without types
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text.decode()}\n'


def write_page(file: Path | None, run: Run) -> None:
    """A page for a browser, if a file is given."""
    if file is None:
        return
    from ..pages.report import report_page

    reports = [(run.names[task.path], report) for task, report in run.ordered() if report is not None]
    file.write_text(report_page(reports, [*run.unusable, *run.notes], as_options), encoding="utf-8")
