"""Several implementations beside each other: what is said of each, operation by operation."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from backprop_reference import OPERATIONS

from .report import Report
from .run import Run
from .verdict import KINDS, NARROW, NEVER_RAN, NOT_JUDGED, RIGHT, RUDE, WRONG

MISSING = "missing"
NOT_WRITTEN, RAISES, NO_RETURN = (word.upper() for word in NEVER_RAN)
WORDS: Mapping[str, tuple[str, str]] = {  # of a cell: its mark where there is little room, and what it means
    RIGHT: (".", "nothing fails that was asked for"),
    WRONG.upper(): ("W", "at ordinary numbers, in six digits"),
    NARROW.upper(): ("P", "for some arguments only"),
    "UNSTABLE": ("U", "a range or digits are lost"),
    RUDE.upper(): ("M", "right numbers, and something that callers have to know"),
    RAISES: ("R", "an error at every call"),
    NO_RETURN: ("D", "a crash, an exit or no answer"),
    NOT_WRITTEN: ("N", "says so itself"),
    "NOTHING COMPARED": ("S", "skips what was asked for"),
    NOT_JUDGED: ("?", "could not be checked"),
    MISSING: ("-", "has no such function"),
}


class Implementation(NamedTuple):
    """A file or a program: its name, where it is from, and why nothing in it could be checked."""

    name: str
    source: str
    problem: str


class Cell(NamedTuple):
    """What is said of an operation of an implementation: a word of `WORDS`, its cause, and a state by function."""

    word: str
    cause: str = ""
    functions: Mapping[str, str] = {}


class Matrix(NamedTuple):
    """Implementations, operations in the slides' order, and a cell for each operation and implementation by name."""

    implementations: tuple[Implementation, ...]
    operations: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]

    @property
    def causes(self) -> list[str]:
        """What is to be told of cells and of whole implementations, a line each."""
        of_cells = [f"{op}, {name}: {cell.cause}" for (op, name), cell in self.cells.items() if cell.cause]
        wholes = [(one.name, one.problem) for one in self.implementations if one.problem]
        return [*(why if why.startswith(name) else f"{name}: {why}" for name, why in wholes), *of_cells]


def matrix_of(run: Run, given: Mapping[Path, str]) -> Matrix:
    """The matrix of a run, of the implementations that are `given` by their paths in it, with a name, or nothing:
    then a program is called as it calls itself.
    """
    shown = {path: run.names.get(path, str(path)) for path in given}  # none, if it was interrupted at once
    names: dict[Path, str] = {}
    for path, name in given.items():
        called = run.found[path].called if path in run.found else ""
        names[path] = _another(name or called or shown[path], set(names.values()))
    problems = {path: run.unchecked.get((path, None), "") for path in names}
    there = [*run.wanted, *(str(task.operation) for task in run.tasks), *(op for _, op in run.unchecked if op)]
    operations = tuple(dict.fromkeys([op for op in OPERATIONS if op in there] + there))
    return Matrix(
        tuple(Implementation(name, shown[path], problems[path]) for path, name in names.items()),
        operations,
        {(op, name): _cell(run, path, op) for op in operations for path, name in names.items()},
    )


def _another(name: str, taken: set[str]) -> str:
    """A name that nobody has: this, or with a number.

    >>> _another("mine", {"mine", "mine 2"})
    'mine 3'
    """
    numbered = (f"{name} {k}" for k in range(2, len(taken) + 2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _cell(run: Run, path: Path, operation: str) -> Cell:
    key = path, operation
    if key in run.reports:
        return _judged(run.reports[key])
    if key in run.unchecked:
        return Cell(NOT_JUDGED, run.unchecked[key].removeprefix(f"{run.names[path]}: "))
    begun = any(task.key == key for task in run.tasks)  # and interrupted
    return Cell(MISSING if path in run.found and not begun else NOT_JUDGED)


def _judged(report: Report) -> Cell:
    cause = report.summary().partition("\n")[0].removeprefix(f"{report.operation}: ")
    if report.passed and set(report.verdicts) == {"forward"}:
        cause = "a forward alone: no backward pass was judged"
    states = {kind: report.verdicts[kind].state if kind in report.verdicts else MISSING for kind in KINDS}
    return Cell(RIGHT if report.passed else report.word, "" if cause == RIGHT else cause, states)
