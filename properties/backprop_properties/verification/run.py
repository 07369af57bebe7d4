"""The main job: every law on every operation, and sweeps where many cases are asked for, over all cores.

The work is cut into tasks that depend on what is asked for and on nothing else, so that the same seed tries the same
cases and finds the same worst errors, whoever does the work and in whatever order it is done.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from numbers import Integral
from typing import Any, NamedTuple

from backprop_reference import OPERATIONS

from ..laws.chain_rule import CHAIN_LAWS
from ..laws.failure import Failure
from .completeness import check_complete
from .every_law import shrunk, try_chain_law, try_operation
from .findings import Outcome
from .names import unknown
from .sweep import try_sweep
from .workers import PATIENCE, done

EVERY_LAW_ON = 100  # cases of an operation go through all laws; those above it are swept
FIELDS = (  # of a failure, as a machine reads them: numbers in decimal, and in hex where they are to be exact
    *("operation", "law", "what", "message", "index", "actual", "expected", "ulp", "bound"),
    *("actual_hex", "expected_hex", "reproduction"),
)
Workers = tuple[int, Executor | None, list[str]]  # how many, or whose, and the notes about them
PART, PARTS = 2**15, 1024  # cases of a task of a sweep at least, such tasks of an operation at most


@dataclass
class Run:
    """What a run of `verify` found: the outcomes in slide order, and which tasks have none (after an interruption)."""

    seed: int
    examples: int
    outcomes: list[Outcome] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Failure]:
        return [failure for outcome in self.outcomes for failure in outcome.failures]

    @property
    def cases(self) -> int:
        return sum(outcome.cases for outcome in self.outcomes)

    @property
    def swept(self) -> int:
        """How many of the cases were tried by sweeps."""
        return sum(outcome.swept for outcome in self.outcomes)

    @property
    def claims(self) -> int:
        return sum(tally.cases for outcome in self.outcomes for tally in outcome.tallies.values())

    @property
    def entries(self) -> int:
        """How many numbers were compared; a run that compared none has shown nothing."""
        return sum(tally.entries for outcome in self.outcomes for tally in outcome.tallies.values())

    @property
    def passed(self) -> bool:
        checked = all(sum(tally.entries for tally in outcome.tallies.values()) for outcome in self.outcomes)
        return bool(self.outcomes) and checked and not self.failures and not self.unfinished

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "backprop-verify-1",
            "passed": self.passed,
            "seed": self.seed,
            "examples": self.examples,
            "seconds": round(self.seconds, 3),
            "cases": self.cases,
            "swept": self.swept,
            "claims": self.claims,
            "entries": self.entries,
            "unfinished": self.unfinished,
            "notes": self.notes,
            "operations": [
                {
                    "operation": outcome.operation,
                    "cases": outcome.cases,
                    "swept": outcome.swept,
                    "seconds": round(outcome.seconds, 3),
                    "laws": [
                        {"law": law, "quantity": what, **asdict(tally)}
                        for (law, what), tally in outcome.tallies.items()
                    ],
                    "failures": [{key: getattr(failure, key) for key in FIELDS} for failure in outcome.failures],
                }
                for outcome in self.outcomes
            ],
        }


def tasks(operations: Sequence[str] | None = None) -> list[str]:
    """What there is to verify: operations in slide order, then the laws of the chain rule; or some of them by name.

    A family's name stands for all its members, as `activation` for `activation[tanh]` and the others.

    >>> tasks(["softmax", "two_layer_network"])[:2]
    ['softmax', 'two_layer_network[tanh]']
    """
    everything = [*OPERATIONS, *CHAIN_LAWS]
    if isinstance(operations, str) or not isinstance(operations, Iterable | None):
        raise TypeError(f"operations: expected a list of names, as ['softmax'], got {operations!r}")
    called = {task: {task, OPERATIONS[task].base if task in OPERATIONS else task} for task in everything}
    for name in operations or ():
        if not any(name in names for names in called.values()):
            raise LookupError(unknown(name, everything))
    found = [task for task, names in called.items() if operations is None or names & set(operations)]
    for task in found:
        if task in OPERATIONS:
            check_complete(OPERATIONS[task])
    return found


def operation_names(names: Sequence[str] | None = None) -> list[str]:
    """The operations among `tasks`.

    >>> operation_names(["add"])
    ['add']
    """
    return [task for task in tasks(names) if task in OPERATIONS]


class Task(NamedTuple):
    """A piece of a run: `examples` cases of an operation by all laws (part 0), or of a sweep (part 1, 2, …)."""

    name: str
    part: int
    examples: int
    seed: int

    def __str__(self) -> str:
        return f"{self.name} (sweep {self.part})" if self.part else self.name


def cut(names: Sequence[str], examples: int, seed: int) -> list[Task]:
    """The tasks of a run, in the order in which they are begun.

    First all laws, the longest first, so that no core is left with a long one at the end: networks have the most
    arguments. Then the sweeps, a part of each operation in turn, so that an interrupted run has seen all of them.

    >>> [task[:3] for task in cut(["add", "several_paths"], 50_000, 0)]
    [('several_paths', 0, 10), ('add', 0, 100), ('add', 1, 32768), ('add', 2, 17132)]
    """
    first = min(examples, EVERY_LAW_ON)
    longest = sorted(names, key=lambda name: len(OPERATIONS[name].arguments) if name in OPERATIONS else 99)
    every_law = [
        Task(name, 0, first if name in OPERATIONS else max(first // 10, 1), seed) for name in reversed(longest)
    ]
    size = max(PART, -(-(examples - first) // PARTS))
    sizes = [min(size, examples - start) for start in range(first, examples, size)]
    sweeps = [
        Task(name, part, count, seed)
        for part, count in enumerate(sizes, start=1)
        for name in names
        if name in OPERATIONS
    ]
    return every_law + sweeps


def try_task(task: Task) -> Outcome:
    """One task of a run, in whatever process."""
    name, part, examples, seed = task
    if part:
        return try_sweep(OPERATIONS[name], examples=examples, seed=seed, part=part)
    if name in CHAIN_LAWS:
        return try_chain_law(name, CHAIN_LAWS[name], examples=examples, seed=seed)
    return try_operation(OPERATIONS[name], examples=examples, seed=seed)


def verify(
    operations: Sequence[str] | None = None,
    *,
    examples: int = 30,
    seed: int = 0,
    jobs: int | None = None,
    executor: Executor | None = None,
    patience: float = PATIENCE,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Run:
    """Every law on every operation (or on those named), `examples` cases each: by all laws up to 100, then by sweeps.

    The work goes to `jobs` processes (one per core, if not given), or to any `concurrent.futures.Executor`. The same
    seed gives the same cases, whatever runs them. Ctrl-C ends the run with what was found so far, and so does an
    executor that closes, or returns nothing for `patience` seconds; what is not done is in `unfinished`.

    >>> report = verify(["add"], examples=2000, jobs=1)
    >>> report.passed, report.cases, report.swept
    (True, 2000, 1900)
    """
    for what, number in {"examples": examples, "seed": seed, "jobs": jobs or 1}.items():
        if not isinstance(number, Integral) or number < 0:
            raise ValueError(f"{what}: expected a whole number, from 0, got {number!r}")
    if not hasattr(executor, "submit") and executor is not None:
        raise TypeError(
            f"executor: expected an Executor of concurrent.futures, or what has its submit, got {executor!r}"
        )
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}: a run that checks nothing shows nothing")
    names, started = tasks(operations), time.perf_counter()
    work, report = cut(names, examples, seed), Run(seed, examples)
    left = Counter(task.name for task in work)
    by_laws: dict[str, Outcome] = {}
    by_sweeps: dict[str, Outcome] = {}
    workers: Workers = (jobs or os.cpu_count() or 1, executor, report.notes)
    try:
        with closing(done(try_task, work, *workers, patience=patience)) as results:
            for task, outcome in results:
                found = by_sweeps if task.part else by_laws
                found[task.name] = found[task.name].merged(outcome) if task.name in found else outcome
                left[task.name] -= 1
                on_outcome(outcome)
        _shrink(by_laws, by_sweeps, workers, patience)
    except KeyboardInterrupt:
        report.notes.append("interrupted")
    for name in names:
        both = [found[name] for found in (by_laws, by_sweeps) if name in found]
        if both:
            report.outcomes.append(both[0].merged(both[-1]) if len(both) > 1 else both[0])
    report.unfinished = [name for name in names if left[name]]
    report.seconds = time.perf_counter() - started
    return report


def _shrink(by_laws: dict[str, Outcome], by_sweeps: dict[str, Outcome], workers: Workers, patience: float) -> None:
    """Shrinks what sweeps have found, where the laws have not found it themselves."""
    for name, outcome in by_sweeps.items():
        known = {failure.law for failure in by_laws[name].failures} if name in by_laws else set()
        by_sweeps[name] = replace(outcome, failures=[f for f in outcome.failures if f.law not in known])
    found = [failure for outcome in by_sweeps.values() for failure in outcome.failures]
    with closing(done(shrunk, found, *workers, _made_smaller, patience)) as results:
        for failure, smaller in results:
            outcome = by_sweeps[failure.operation]
            failures = [smaller if f is failure else f for f in outcome.failures]
            by_sweeps[failure.operation] = replace(outcome, failures=failures)


def _made_smaller(failure: Failure) -> str:
    return f"{failure.operation} (a failure made smaller)"
