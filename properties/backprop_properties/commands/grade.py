"""The command `backprop grade`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .console import console, errors, fail, live_line, note

if TYPE_CHECKING:
    from ..checking.isolation import Judge
    from ..grading.run import Graded


def grade(
    context: typer.Context,  # its object is a process that is ready for a check, or None
    assignment: Annotated[Path, Argument(help="What is asked for.", metavar="ASSIGNMENT.toml")],
    submissions: Annotated[list[Path], Argument(help="Files, folders or notebooks.", metavar="SUBMISSIONS…")],
    out: Annotated[Path, Option(help="A folder for the results.", metavar="FOLDER")] = Path("grades"),
    practice: Annotated[bool, Option("--practice", help="With the seed of practice, and not that of grading.")] = False,
    again: Annotated[bool, Option("--again", help="Grade these anew, if the folder has grades of them.")] = False,
    jobs: Annotated[int | None, Option(min=1, help="Processes at a time; one a core, if not given.")] = None,
) -> None:
    """Points for backward passes: grades submissions by what an assignment asks for.

    The assignment is a TOML file of exercises, each an operation with points. A submission is a Python file, a folder
    or a notebook. Each exercise of each submission is checked in processes of its own. What is graded is kept in the
    folder of the results, and is not graded again.

    Exit code 0: all are graded; 2: nothing could be graded, and one line says why; 130: interrupted, and the same
    command goes on.

    \b
    backprop grade hw3.toml submissions/*
    backprop grade hw3.toml mine.ipynb --practice
    """
    from ..grading.assignment import read_assignment
    from ..grading.output import write_files
    from ..grading.run import Graded, Kept, grade_all
    from ..grading.submissions import merged, read_submissions

    try:
        asked = read_assignment(assignment)
        handed = read_submissions(submissions, asked.files)
        out = out / "practice" if practice else out  # which is no grade, and changes none
        out.mkdir(parents=True, exist_ok=True)
        seed = asked.seeds["practice" if practice else "grading"]
        kept = Kept(out / "graded.jsonl", asked, seed)
        kept.read()
        kept.write()
    except ValueError as error:
        raise fail(error) from None
    except OSError as error:
        raise fail(f"{out} cannot be written to: {error.strerror}") from None
    asked_for = dict.fromkeys(name for exercise in asked.exercises for name in exercise.functions.values())
    for several in filter(None, (merged(one, asked_for) for one in handed)):
        note(several)
    with watched() as (on_count, on_wait):
        hear: Any = {"on_count": on_count, "on_wait": on_wait}
        graded = grade_all(asked, handed, seed, kept, again=again, jobs=jobs, spare=context.obj, **hear)
    try:
        write_files(out, Graded(asked, sorted(kept.grades.values(), key=lambda grade: grade.name)))
    except OSError as error:
        raise fail(f"{error.filename or out} could not be written: {error.strerror}") from None
    if kept.dropped:
        note(f"{out} had {kept.dropped} of another assignment, seed or version; its tables hold those of this")
    _print(graded, len(handed), out, len(kept.grades), "submission (practice)" if practice else "submission")
    raise typer.Exit(130 if graded.interrupted else 0)


EVERY = 10  # seconds, to a line where lines stay
Listeners = tuple[Callable[[int, int], None], Callable[["Sequence[Judge]"], None]]


@contextmanager
def watched() -> Iterator[Listeners]:
    """A live line on a terminal: how many are graded, and what is checked at the moment; elsewhere a line at times."""
    so_far, told = "", time.monotonic()
    with live_line("grading", None) as update:

        def on_count(done: int, count: int) -> None:
            nonlocal so_far
            so_far = f"{done} of {count} submissions"
            update(completed=done, total=count, said=so_far)

        def on_wait(judges: "Sequence[Judge]") -> None:
            nonlocal told
            states = "; ".join(judge.state for judge in judges[:2])
            update(said=so_far, description=states)
            if not errors.is_terminal and time.monotonic() > told + EVERY:
                told = time.monotonic()
                errors.print(f"backprop: {so_far} graded; {states}", markup=False, soft_wrap=True)

        yield on_count, on_wait


def _print(graded: "Graded", count: int, out: Path, whole: int, head: str) -> None:
    """A table of the cohort: points, and words where an exercise is not right; of one submission what its author is
    told.
    """
    from textwrap import indent

    from rich.markup import escape
    from rich.table import Table

    from ..checking.verdict import RIGHT
    from ..grading.feedback import lines
    from ..grading.points import shown_points

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(head, overflow="fold")
    for exercise in graded.assignment.exercises:
        table.add_column(escape(exercise.name), overflow="fold")
    table.add_column(f"of {shown_points(graded.assignment.points)}", justify="right", no_wrap=True)
    for grade in graded.grades:
        got = graded.points(grade)
        words = {name: grade.outcomes[name].word for name in got}
        cells = [f"{shown_points(n)}{'' if words[name] == RIGHT else f' {words[name]}'}" for name, n in got.items()]
        table.add_row(escape(grade.name), *cells, shown_points(sum(got.values())))
    console.print(table)
    for exercise in graded.assignment.exercises if count == 1 and graded.grades else ():
        outcome = graded.grades[0].outcomes[exercise.name]
        if outcome.word != RIGHT:
            console.print(f"\n{exercise.name}\n{indent(lines(exercise, outcome), '  ')}", markup=False, soft_wrap=True)
    for grade in graded.grades:
        lost = [f"{name}: {outcome.lost}" for name, outcome in grade.outcomes.items() if outcome.lost]
        for line in (*grade.told, *lost):
            note(f"{grade.name}: {line}")
    console.print()
    if graded.interrupted:
        console.print(
            f"interrupted after {len(graded.grades)} of {count} submissions; the same command goes on", style="red"
        )
    more = f", whose tables hold {whole}" if whole > len(graded.grades) else ""
    console.print(f"{len(graded.grades)} graded; results in {out}{more}", markup=False, soft_wrap=True)
