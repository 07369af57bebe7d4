"""The command `backprop audit`."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..verification.names import completed
from .console import complain, console, counted, errors, fail, print_table, say
from .files import as_json, check_writable, why_not_written, with_parts, write_json, write_parts

if TYPE_CHECKING:
    from ..evidence.audit import Audit, Outcome

WIDTH = 80


def audit(
    test: Annotated[
        str | None, Argument(help="FILE.py::name, FILE.py, or a practice, as gradcheck.", metavar="[TEST]")
    ] = None,
    operation: Annotated[
        str | None,
        Argument(help="What it tests; test_softmax says it.", metavar="[OPERATION]", autocompletion=completed),
    ] = None,
    definitions: Annotated[
        Path | None, Option(help="A file with the operation's definition, if it is not in TEST's.", metavar="FILE.py")
    ] = None,
    dtype: Annotated[str, Option(help="What the test computes in.", metavar="DTYPE")] = "float64",
    full: Annotated[bool, Option("--full", help="Every fault that was let pass, and not one of each kind.")] = False,
    timeout: Annotated[float, Option(min=0.1, help="Seconds for one run of the test.")] = 60,
    memory: Annotated[int, Option(min=64, help="Megabytes that the test may ask for (on Linux).")] = 4096,
    jobs: Annotated[int | None, Option(min=1, help="Processes at a time; one a core, if not given.")] = None,
    json_file: Annotated[
        str | None, Option("--json", help="Write what was found here; - is standard output.", metavar="FILE")
    ] = None,
    practices: Annotated[
        bool, Option("--practices", help="No test of yours: a table of the usual practices, on all operations.")
    ] = False,
    only: Annotated[
        str | None, Option(help="Of --practices: rows whose names have this text, or operations.", metavar="TEXT")
    ] = None,
    readme: Annotated[
        Path | None,
        Option(help="Of --practices: put it into this Markdown file, between its `practices` markers.", metavar="FILE"),
    ] = None,
) -> None:
    """Can your test fail? Puts a test of a backward pass to planted faults, and to right versions.

    It counts the faults that the test catches, by kind, and shows those that it lets pass with the smallest input that
    would have shown each; and names what it rejects though it is right. The test is a function of (forward, vjp) that
    raises or returns False: `forward(*args)` returns an array, `vjp(delta, *args)` a tuple with one cotangent for each
    argument (or the array alone, if the test expects that). One named test… is run by pytest, where that is installed,
    with `forward` and `vjp` as fixtures, whatever fixtures of these names you have. An operation of your own has a
    Definition beside the test, and general faults.

    The test runs twice on each version, in processes of its own: that it hangs, crashes, or decides by chance is told.

    Exit code 0: it catches all faults and rejects nothing right; 1: otherwise; 2: the call was wrong, or the test
    cannot be used, as one that rejects the reference itself; 130: interrupted.

    \b
    backprop audit tests/test_mine.py::test_softmax
    backprop audit tests/test_mine.py::TestLayers::test_backward layer_norm
    backprop audit checks.py::gradients_agree softmax --full
    backprop audit gradcheck softmax
    backprop audit --practices --only softmax
    """
    if practices:
        if test or operation:
            raise fail("--practices takes no test; --only says which operations")
        raise typer.Exit(_practices(only, readme, jobs, json_file))
    if only or readme:
        raise fail("--only and --readme are about --practices")
    if not test:
        raise fail("nothing to audit: expected a test as tests/test_mine.py::test_softmax")
    from ..evidence.audit import audit as audited

    path = Path(json_file) if json_file not in (None, "-") else None
    try:
        check_writable([path])
        with ExitStack() as lines:

            def on_count(what: str, count: int) -> Callable[[str], None]:
                lines.close()
                return lines.enter_context(counted(what, count))

            found = audited(
                test,
                operation,
                dtype=dtype,
                definitions=definitions,
                timeout=timeout,
                memory=memory,
                jobs=jobs,
                on_count=on_count,
            )
    except (ValueError, TypeError, OSError) as error:
        raise fail(error) from None
    problem = why_not_written(path, write_json, found.to_dict())
    if json_file == "-":
        print(as_json(found.to_dict()))
    else:
        _print(found, full=full)
    if problem:
        complain(problem)
    raise typer.Exit(2 if problem else 0 if found.passed else 1)


def _print(found: "Audit", *, full: bool) -> None:
    """What is caught of each kind; what is let pass, one of each kind or all; what is rejected though it is right."""
    from rich.table import Table

    say(fill(str(found), WIDTH, subsequent_indent="  "))
    for note in found.notes:
        say(fill(note, WIDTH, initial_indent="  ", subsequent_indent="  "))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind", no_wrap=True)
    for head in ("faults", "caught"):
        table.add_column(head, justify="right")
    for kind, counts in found.kinds.items():
        table.add_row(kind, *map(str, counts))
    say("")
    print_table(table)
    if found.missed:
        say("\nNot caught, with the smallest input that shows it:")
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in found.missed:
        by_kind.setdefault(outcome.kind, []).append(outcome)
    for kind, outcomes in by_kind.items():
        say(f"\n{kind}")
        shown = outcomes if full else outcomes[:1]
        for outcome in shown:
            _print_outcome(outcome)
        if len(shown) < len(outcomes):
            say(f"  and {len(outcomes) - 1} more: --full shows all")
    if found.rejected:
        say("\nRejected, though right:")
    for outcome in found.rejected:
        _print_outcome(outcome)


def _print_outcome(outcome: "Outcome") -> None:
    """A version's name, what the test said of it, and where it is wrong."""
    from ..evidence.audit import CAUGHT, PASSED

    usual = PASSED if outcome.kind else CAUGHT
    said = outcome.said if outcome.outcome in (usual, "") else f"{outcome.outcome}: {outcome.said}"
    at = ", ".join(f"{name} = {numbers}" for name, numbers in outcome.at.items())
    say(f"  {outcome.name}")
    for line in (said, outcome.wrong, f"at {at}" if at else ""):
        if line:
            say(fill(line, WIDTH, initial_indent="    ", subsequent_indent="      "))


def _practices(only: str | None, readme: Path | None, jobs: int | None, json_file: str | None) -> int:
    """The table of the usual practices; the exit code."""
    from rich.table import Table

    from ..evidence.practice_table import HEAD, lines, markdown, run, summary, to_dict
    from ..evidence.selftest import TABLE

    path = Path(json_file) if json_file not in (None, "-") else None
    chosen = [name for name, row in TABLE.items() if not only or only in name or only in row.operation]
    try:
        if not chosen:
            raise LookupError(f"no row of the tables has {only!r} in its name or operation")
        if readme is not None:
            with_parts(readme, {"practices": ""})
        check_writable([path, readme])
    except (LookupError, OSError, ValueError) as error:
        raise fail(error) from None
    with counted("testing", len({TABLE[name].operation for name in chosen})) as on_done:
        found = run(chosen, jobs=jobs, on_done=on_done)
    table = Table(box=None, pad_edge=False)
    for head in HEAD:
        table.add_column(head, justify="left" if head == HEAD[0] else "right")
    for row in lines(found):
        table.add_row(*row)
    (errors if json_file == "-" else console).print(table)
    say(fill(summary(found), WIDTH)) if json_file != "-" else print(as_json(to_dict(found)))
    problems = [why_not_written(path, write_json, to_dict(found))]
    problems += [why_not_written(readme, write_parts, {"practices": markdown(found)})]
    for problem in filter(None, problems):
        complain(problem)
    return 2 if any(problems) else 0
