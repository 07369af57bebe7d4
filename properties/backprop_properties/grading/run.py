"""A cohort is graded: each exercise of each submission in processes of its own, and what was found is kept."""

import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from backprop_reference import __version__

from ..checking.isolation import Judge, results
from ..checking.processes import Program
from ..checking.report import Report
from ..checking.tasks import A_STEP, FOLDER, Found, Gradients, Submission, Task, Unchecked
from ..checking.verdict import PARTS, WRONG
from .assignment import Assignment, Exercise
from .points import (
    CRASHED,
    MISSING,
    NOT_REACHED,
    TOO_SLOW,
    WRONG_FORM,
    Fault,
    Outcome,
    Said,
    earned,
    outcome_of,
    steady,
    wrong_gradient,
)
from .submissions import Handed

PORTION = 4  # submissions for each process: an interrupted run has lost no more
Done = Callable[[Sequence[Task]], Iterator[tuple[Task, Any]]]


class Asked(NamedTuple):
    """Functions of an exercise that are to be judged, by kind; without gradients that are known to be wrong."""

    handed: Handed
    exercise: Exercise
    functions: Mapping[str, str]
    wrong: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[str, ...]:
        """The arguments whose gradients are judged."""
        return tuple(name for name in self.exercise.gradients if name not in self.wrong)


class Grade(msgspec.Struct, frozen=True):
    """What was found of a submission: of each exercise by name, and of its parts that failed."""

    name: str
    digest: str
    outcomes: Mapping[str, Outcome]
    told: tuple[str, ...] = ()


@dataclass
class Graded:
    """The grades of a cohort, in the order of the names."""

    assignment: Assignment
    grades: list[Grade] = field(default_factory=list)
    interrupted: bool = False

    def points(self, grade: Grade) -> dict[str, float]:
        """The points by exercise."""
        return {e.name: earned(e, grade.outcomes[e.name]) for e in self.assignment.exercises}


class Kept:
    """A file of the grades so far, by name: an interrupted run goes on after them, another adds to them.

    It holds for one assignment and one seed; `dropped` is how many it had of others, or that cannot be read.
    """

    def __init__(self, path: Path, assignment: Assignment, seed: int) -> None:
        self.path, self.grades, self.dropped = path, dict[str, Grade](), 0
        text = assignment.source + assignment.definitions
        self.first = f"backprop grade {__version__}, seed {seed}, {sha256(text).hexdigest()}"

    def read(self) -> None:
        """Takes over what is there, if it is of this assignment."""
        with suppress(OSError, ValueError, msgspec.DecodeError):
            first, *lines = self.path.read_text(encoding="utf-8").splitlines()
            self.dropped = len(lines)
            found = [msgspec.json.decode(line, type=Grade) for line in lines if first == self.first]
            self.grades = {grade.name: grade for grade in found}
            self.dropped = len(lines) - len(found)

    def write(self) -> None:
        """Writes all of it anew: what somebody else wrote there meanwhile is gone."""
        lines = [self.first, *(msgspec.json.encode(grade).decode() for grade in self.grades.values())]
        beside = self.path.with_suffix(".new")
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
        beside.replace(self.path)

    def add(self, grades: Sequence[Grade]) -> None:
        """Puts down some more."""
        self.grades |= {grade.name: grade for grade in grades}
        self.write()

    def of(self, handed: Sequence[Handed], *, again: bool) -> dict[str, Grade]:
        """The grades of submissions that are the same as they were; the other grades under their names are gone, and
        all that are to be made `again`.
        """
        before = {one.name: self.grades.pop(one.name, None) for one in handed}
        same = {one.name: grade for one in handed if (grade := before[one.name]) and grade.digest == one.digest}
        same = {} if again else same
        self.grades |= same
        return same


def grade_all(
    assignment: Assignment,
    handed: Sequence[Handed],
    seed: int,
    kept: Kept,
    *,
    again: bool = False,
    jobs: int | None = None,
    spare: Program | None = None,
    on_count: Callable[[int, int], None] = lambda done, count: None,
    on_wait: Callable[[Sequence[Judge]], None] = lambda judges: None,
) -> Graded:
    """Grades what is not kept yet, or all of it `again`; after Ctrl-C: with the grades so far."""
    judges, jobs = [Judge(spare)] if spare else [], jobs or os.cpu_count() or 1
    grades = kept.of(handed, again=again)
    waiting = [one for one in handed if one.name not in grades]
    this, counted = Graded(assignment), itertools.count(len(grades))

    def count() -> None:
        on_count(next(counted), len(handed))

    def done(tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        return results(tasks, jobs, judges, on_wait)

    count()
    try:
        for some in _portions(waiting, PORTION * jobs):
            found = _graded(assignment, some, seed, done, count)
            grades |= {grade.name: grade for grade in found}
            kept.add(found)
    except KeyboardInterrupt:
        this.interrupted = True
    finally:
        for judge in judges:
            judge.stop()
        for left in Path(tempfile.gettempdir()).glob(FOLDER.format(os.getpid()) + "*"):
            shutil.rmtree(left, ignore_errors=True)
    this.grades = [grades[one.name] for one in handed if one.name in grades]
    return this


def _portions(handed: Sequence[Handed], size: int) -> Iterator[Sequence[Handed]]:
    """A few submissions at a time: those are kept whole if the run is interrupted."""
    for start in range(0, len(handed), size):
        yield handed[start : start + size]


def _graded(
    assignment: Assignment, handed: Sequence[Handed], seed: int, done: Done, count: Callable[[], None]
) -> list[Grade]:
    """The grades of some submissions: first what there is, then each exercise of which there is something; each
    submission is counted when nothing of it is left.
    """
    found = _looked_into(assignment, handed, done)
    outcomes, waiting = dict[tuple[str, str], Outcome](), list[Asked]()
    for one, exercise in itertools.product(handed, assignment.exercises):
        outcome = outcomes[one.name, exercise.name] = _absent(exercise, found[one.name])
        waiting += _left(Asked(one, exercise, exercise.functions), outcome)
    open_tasks = Counter(asked.handed.name for asked in waiting)
    for _ in handed[len(open_tasks) :]:  # of these nothing is there
        count()
    while waiting:
        tasks = [_task(assignment, asked, seed) for asked in waiting]
        by_task, waiting = {id(task): asked for task, asked in zip(tasks, waiting, strict=True)}, []
        for task, result in _twice(tasks, done):
            asked = by_task[id(task)]
            key = asked.handed.name, asked.exercise.name
            outcome = _outcome(result, asked, task)
            with_the_wrong = outcome.without(asked.wrong) if asked.wrong else outcome
            outcomes[key] = outcomes[key].with_more(with_the_wrong)
            more = _left(asked, outcome)  # alone: that one never returns is no fault of the others
            more += _others(asked, outcome, result)
            waiting += more
            open_tasks[asked.handed.name] += len(more) - 1
            if not open_tasks[asked.handed.name]:
                count()
    of = {one.name: {e.name: outcomes[one.name, e.name] for e in assignment.exercises} for one in handed}
    return [Grade(one.name, one.digest, of[one.name], _told(found[one.name])) for one in handed]


def _twice(tasks: Sequence[Task], done: Done) -> Iterator[tuple[Task, Any]]:
    """Each task with its result; one whose judge was lost, or whose time was over, is done once more, alone: no
    neighbour can end it, or takes its time.
    """
    lost = []
    for task, result in done(tasks):
        if isinstance(result, Unchecked) and (result.lost or result.slow):
            lost.append(task)
        else:
            yield task, result
    for task in lost:
        yield from done([task])


def _left(asked: Asked, outcome: Outcome) -> list[Asked]:
    """What is still to be judged, if there is something."""
    left = {kind: name for kind, name in asked.functions.items() if kind not in outcome.functions}
    return [asked._replace(functions=left)] * bool(left)


def _others(asked: Asked, outcome: Outcome, result: Any) -> list[Asked]:
    """The other gradients of a vjp, if one is wrong: they are judged as if it had not been given."""
    said = outcome.functions.get("vjp")
    if said is None or said.word not in (WRONG, WRONG_FORM) or not isinstance(result, Report):
        return []
    wrong = wrong_gradient(result, asked.judged)
    vjp = {"vjp": asked.functions["vjp"]}
    every = tuple(name for name in asked.exercise.gradients if name in (*asked.wrong, wrong))
    return [asked._replace(functions=vjp, wrong=every)] * bool(wrong)


def _looked_into(assignment: Assignment, handed: Sequence[Handed], done: Done) -> dict[str, Found | Unchecked]:
    """What is in each submission."""
    timeout = max(exercise.timeout for exercise in assignment.exercises)
    memory = max(exercise.memory for exercise in assignment.exercises)
    tasks = [Task(Path(h.name), None, timeout, memory, submission=Submission(h.files, h.run)) for h in handed if h.run]
    names = {id(task): h.name for task, h in zip(tasks, (h for h in handed if h.run), strict=True)}
    nothing = {one.name: Found({}, {}, frozenset(), (), told=(one.unusable,)) for one in handed}
    return nothing | {names[id(task)]: result for task, result in _twice(tasks, done)}


def _absent(exercise: Exercise, inside: Found | Unchecked) -> Outcome:
    """What is to be said of the functions that are not there."""
    if isinstance(inside, Unchecked):
        return Outcome(dict.fromkeys(exercise.functions, Said(TOO_SLOW if inside.slow else CRASHED)))
    absent = [(kind, name) for kind, name in exercise.functions.items() if name not in inside.names]
    why = {kind: steady(inside.broken.get(name, "")) for kind, name in absent}
    return Outcome({kind: Said(NOT_REACHED if why[kind] else MISSING, why[kind]) for kind, _ in absent})


def _told(inside: Found | Unchecked) -> tuple[str, ...]:
    """What is to be said of a submission as a whole, in lines."""
    if isinstance(inside, Found):
        return tuple(map(steady, inside.told))
    return ("its files take too long to run",) if inside.slow else (steady(inside.message.partition(": ")[2]),)


def _task(assignment: Assignment, asked: Asked, seed: int) -> Task:
    exercise, handed = asked.exercise, asked.handed
    some = Gradients(exercise.real, exercise.gradients, asked.judged)
    gradients = None if asked.judged == exercise.real else some
    one = len(handed.run) == 1 and handed.run[0].endswith(".py")
    return Task(
        Path(handed.run[0] if one else "the submission"),
        exercise.operation,
        exercise.timeout,
        exercise.memory,
        {**exercise.options, "seed": seed},
        defined=exercise.defined,
        arguments=exercise.arguments,
        submission=Submission(
            handed.files, handed.run, asked.functions, assignment.definitions, gradients, handed.name
        ),
    )


def _outcome(result: Any, asked: Asked, task: Task) -> Outcome:
    """The outcome of the functions that a task was about, or of some of them."""
    if isinstance(result, Report) and (result.failures or result.passed):
        return outcome_of(result, asked.exercise, asked.functions, task.timeout * A_STEP)
    if isinstance(result, Report):
        result = Unchecked("no number was compared with the right one")
    word, (kind, *_) = TOO_SLOW if result.slow else CRASHED, asked.functions
    why = f"not done after {task.timeout:g} s" if result.slow else steady(result.message)
    return Outcome(dict.fromkeys(asked.functions, Said(word)), (Fault(kind, PARTS[0], word, why),), lost=why)
