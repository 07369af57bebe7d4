"""Is somebody's own test able to fail? It is put to the planted faults of an operation, and to right versions."""

import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import cloudpickle
import msgspec

from backprop_oracle.definition import Definition
from backprop_oracle.rows import Row

from ..checking.guard import name_of, said
from ..checking.options import DTYPES
from ..checking.python_files import operation_named, python_name
from .audit_messages import REFERENCE, Load, Loaded, Show, Shown, Tried, Try
from .audit_runs import Lost, Processes
from .practices import PRACTICES

CAUGHT, PASSED, AT_TIMES, LOST = "caught", "let pass", "caught at times", "no answer"
TIMES = 2  # that the test is run on each version: it should say the same
OnCount = Callable[[str, int], Callable[[str], None]]
SHOWING = 240.0  # seconds to find the smallest input


@dataclass(frozen=True)
class Outcome:
    """What a test said of a version, twice: a fault has a `kind`, a right version none.

    `said` is why it was rejected, or what became of the test; `wrong`, `at` and `code` show a fault that was let pass.
    """

    name: str
    kind: str
    outcome: str
    said: str = ""
    wrong: str = ""
    at: Mapping[str, str] = field(default_factory=dict)
    code: Sequence[str] = ()

    @property
    def right(self) -> bool:
        """A fault is to be caught, a right version to be let pass."""
        return self.outcome == (CAUGHT if self.kind else PASSED)


@dataclass(frozen=True)
class Audit:
    """What a test of an operation catches and rejects; it is truthy if it catches all and rejects nothing right."""

    operation: str
    test: str
    dtype: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.kind]

    @property
    def missed(self) -> list[Outcome]:
        """The faults that the test did not catch, or not always."""
        return [o for o in self.faults if not o.right]

    @property
    def rejected(self) -> list[Outcome]:
        """The right versions that it did not let pass, or not always."""
        return [o for o in self.outcomes if not o.kind and not o.right]

    @property
    def kinds(self) -> dict[str, tuple[int, int]]:
        """How many faults of each kind there are, and how many are caught."""
        of = {
            kind: [o.right for o in self.faults if o.kind == kind]
            for kind in dict.fromkeys(o.kind for o in self.faults)
        }
        return {kind: (len(found), sum(found)) for kind, found in of.items()}

    @property
    def passed(self) -> bool:
        return not self.missed and not self.rejected

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        """In a line."""
        faults, right = len(self.faults), len(self.outcomes) - len(self.faults)
        return (
            f"{self.operation}: {self.test} catches {faults - len(self.missed)} of {faults} faults, "
            f"rejects {len(self.rejected)} of {right} right versions"
        )

    def to_dict(self) -> dict[str, Any]:
        kinds = {kind: {"faults": n, "caught": caught} for kind, (n, caught) in self.kinds.items()}
        keys = {"operation": self.operation, "test": self.test, "dtype": self.dtype, "passed": self.passed}
        outcomes = [asdict(o) for o in self.outcomes]
        return {"schema": "backprop-audit-1", **keys, "notes": self.notes, "kinds": kinds, "outcomes": outcomes}


def audit(
    test: str | Callable[..., Any],
    operation: str | Row | None = None,
    *,
    dtype: str = "float64",
    definitions: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
    memory: int = 4096,
    jobs: int | None = None,
    on_count: OnCount = lambda what, count: lambda name: None,
) -> Audit:
    """What your own test of a backward pass catches of the faults that are planted in an operation, and what it rejects
    though it is right.

    `test` is a callable of `(forward, vjp)` that raises or returns False where it rejects them; or `"FILE.py::name"`;
    or `"FILE.py"`, where it is called `test_softmax`; or a practice, as "gradcheck". What is named `test…` in a file is
    run by pytest, where that is installed, with all its parameters; it takes `forward` and `vjp` as fixtures.

    `forward(*args)` returns an array, and `vjp(delta, *args)` a tuple with one cotangent for each argument (None for
    integers); a test that takes the array alone, where there is but one argument, is given that. `operation` is a name
    of `backprop list`, or a `Definition`, in which general faults are planted; of a file's test it may be left out if
    the name says it, and its definition may stand in the file, or in `definitions`.

    `dtype`: what your test computes in; faults that other formats have are left out, and those of Jacobians. The test
    runs in processes of its own, `jobs` at a time, twice on each version: within `timeout` seconds, and with `memory`
    megabytes. `on_count` hears what is done with how many versions, and what it returns hears of each.

    Raises ValueError or TypeError, in one line, for what cannot be audited, as a test that fails on the reference.

    >>> found = audit("allclose-1e-4", "activation[leaky_relu]", jobs=1)
    >>> found.passed, [outcome.outcome for outcome in found.faults]
    (True, ['caught'])
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    load = _to_load(test, operation, dtype, definitions, memory)
    called = name_of(test, "the test") if callable(test) else load.test.rpartition("::")[2]
    jobs = jobs or os.cpu_count() or 1
    processes = Processes(load, timeout)
    showing = Processes(msgspec.structs.replace(load, runs=False, memory=None), SHOWING)
    try:
        loaded = processes.start()
        names, notes = [name for name, _ in loaded.versions], list[str]()
        form = _accepted(processes, loaded, called)
        if form:
            notes.append(f"vjp returns {loaded.forms[form]}, as the test expects it")
        if loaded.made:
            wrong = _shown(showing, names, jobs, on_count, smallest=False)
            notes.append(
                f"general faults, of which `check` finds {sum(map(bool, wrong.values()))} of {len(names)} wrong"
            )
            names = [name for name in names if wrong[name]]
        found, on_done = {}, on_count("testing", len(names))
        for question, answers in processes.each([Try(name, form) for name in names], jobs, TIMES):
            found[question.version] = answers
            on_done(question.version)
        kinds = dict(loaded.versions)
        outcomes = [_outcome(name, kinds[name], found[name]) for name in names]
        shown = _shown(showing, [o.name for o in outcomes if o.kind and not o.right], jobs, on_count)
    finally:
        processes.stop()
        showing.stop()
    whole = [_with(outcome, shown.get(outcome.name)) for outcome in outcomes]
    return Audit(loaded.operation, called, dtype, tuple(whole), tuple(notes))


def _to_load(
    test: str | Callable[..., Any],
    operation: str | Row | None,
    dtype: str,
    definitions: str | os.PathLike[str] | None,
    memory: int,
) -> Load:
    """What a process is to load; ValueError or TypeError for what cannot be understood."""
    name, pickled = (test, b"") if isinstance(test, str) else ("", _pickled(test, "the test"))
    file, _, function = name.partition("::")
    if operation is None:
        last = function.rpartition("::")[2].partition("[")[0]
        if not last.startswith("test_"):
            raise ValueError("which operation? expected its name, or FILE.py::test_softmax, which says it")
        operation = last.removeprefix("test_")
    if name and name not in PRACTICES:
        if not file.endswith(".py"):
            practices = ", ".join(PRACTICES)
            raise ValueError(f"{name}: expected FILE.py, FILE.py::test or one of {practices}")
        if not os.path.isfile(file):
            raise ValueError(f"there is no file {file}")
        stem = python_name(operation if isinstance(operation, str) else operation.name)
        name = name if function else f"{file}::test_{stem}"
    path = None if definitions is None else os.path.abspath(definitions)
    if isinstance(operation, str):
        return Load(operation, dtype, sys.path, b"", name, pickled, path, memory)
    row = operation_named(operation)
    definition = _pickled(row, row.name) if isinstance(row, Definition) else b""
    return Load(row.name, dtype, sys.path, definition, name, pickled, path, memory)


def _pickled(value: Any, what: str) -> bytes:
    if not callable(value) and not isinstance(value, Definition):
        raise TypeError(
            f"{what}: expected a function of (forward, vjp), or FILE.py::name, got a {type(value).__name__}"
        )
    try:
        return bytes(cloudpickle.dumps(value))
    except (pickle.PicklingError, TypeError, ValueError) as error:
        raise TypeError(f"{what} cannot be taken to another process: {said(error)}") from None


def _accepted(processes: Processes, loaded: Loaded, called: str) -> int:
    """The form of results with which the test accepts the reference; ValueError if there is none."""
    first = ""
    for form in range(len(loaded.forms)):
        answers = processes.ask(Try(REFERENCE, form), TIMES + 1)
        if isinstance(answers, Lost):
            raise ValueError(f"{called} {answers}, on the reference itself")
        if any(tried.skipped for tried in answers):
            raise ValueError(f"{called} is skipped, so it tests nothing")
        why = [tried.said for tried in answers if tried.said]
        if not why:
            return form
        if len(why) < len(answers):
            raise ValueError(f"{called} accepts the reference at times: {why[0]}")
        first = first or why[0]
    raise ValueError(f"{called} rejects the reference itself: {first}")


def _outcome(name: str, kind: str, answers: "Sequence[Tried] | Lost") -> Outcome:
    if isinstance(answers, Lost):
        return Outcome(name, kind, LOST, str(answers))
    why = [tried.said for tried in answers if tried.said]
    outcome = CAUGHT if len(why) == len(answers) else AT_TIMES if why else PASSED
    return Outcome(name, kind, outcome, why[0] if why else "")


def _shown(
    showing: Processes, names: Sequence[str], jobs: int, on_count: OnCount, *, smallest: bool = True
) -> dict[str, Shown | None]:
    """Where each of some versions is wrong, or None if that is not found."""
    found: dict[str, Shown | None] = {}
    on_done = on_count("looking for small inputs" if smallest else "checking", len(names))
    for question, answers in showing.each([Show(name, smallest) for name in names], jobs):
        found[question.version] = None if isinstance(answers, Lost) or not answers[0].message else answers[0]
        on_done(question.version)
    return found


def _with(outcome: Outcome, shown: Shown | None) -> Outcome:
    return replace(outcome, wrong=shown.message, at=shown.at, code=shown.code) if shown else outcome
