"""A process that runs somebody's test on versions of an operation."""

import faulthandler
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

from backprop_oracle.catalogue import CATALOGUE
from backprop_oracle.definition import Definition
from backprop_oracle.rows import Row
from backprop_reference import OPERATIONS

from ..checking import messages as m
from ..checking.loading import NotImported, limit_memory, sources_of
from ..checking.own_definitions import own_definitions
from ..checking.pipes import Pipe
from ..checking.processes import end_with_parent
from ..checking.python_files import Implementation, operation_named
from ..laws.failure import assignments, shown_whole
from .audit_messages import REFERENCE, Answer, Load, Loaded, Question, Refused, Show, Shown, Tried, Try
from .faults import Fault, Neighbour
from .faults.general import general
from .practices import PRACTICES
from .selftest import ROWS, checked
from .versions import Test, Version, rejections, right_of, verdict, version_of

Tester = Callable[[Version], Tried]


def main(parent: int) -> None:
    """Answers until nobody asks any more."""
    end_with_parent(parent)
    asked, answered = Pipe(os.dup(0)), Pipe(os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what a test reads or prints is not for us
        os.dup2(nothing, standard)
    faulthandler.enable(os.dup(2), all_threads=False)
    sys.dont_write_bytecode = True  # nothing is left beside somebody's file

    def say(answer: Answer) -> None:
        answered.send(m.encoded(answer))

    load = m.decoded(asked.receive(sys.maxsize) or b"", Load)
    sys.path[:0] = load.path
    try:
        versions = _versions(load)
        loaded = _loaded(load, versions)
        run = partial(_answers, asked, say, versions, load.dtype, loaded)
        limit_memory(load.memory)
        if load.runs and _is_for_pytest(load):
            from .audit_pytest import run_by_pytest

            run_by_pytest(load.test, run)
        else:
            run(_tester(load, versions))
    except (NotImported, ValueError, TypeError) as error:
        say(Refused(str(error)))
    os._exit(0)  # without waiting for whatever a test has left behind


class Versions(NamedTuple):
    """What there is of an operation by name: faults and right ones as rows of the tables, and as a test gets them."""

    row: Row
    rows: Mapping[str, Fault | Neighbour]
    tried: Mapping[str, Version]
    made: bool


def _answers(
    asked: Pipe, say: Callable[[Answer], None], versions: Versions, dtype: str, loaded: Loaded, test: Tester | None
) -> None:
    """Answers questions; said first is what there is."""
    say(loaded)
    forms = _forms(versions.row)
    while (body := asked.receive(sys.maxsize)) is not None:
        question = m.decoded(body, Question)
        if isinstance(question, Try) and test:
            version = versions.tried[question.version].fresh()
            change = forms[question.form][1]
            say(test(version._replace(forward=_of_arrays(version.forward), vjp=_of_arrays(version.vjp, change))))
        elif isinstance(question, Show):
            say(_shown(versions, question, dtype))


# ── What there is ───────────────────────────────────────────────────────────────────────────────────────────────────


def _versions(load: Load) -> Versions:
    """The faults and the right versions of an operation; ValueError if none can be made."""
    row = _row(load)
    known = row in (OPERATIONS.get(row.name), CATALOGUE.get(row.name))
    if isinstance(row, Definition) and not known:
        rows: Sequence[Fault | Neighbour] = general(row, _in_format(row, np.dtype(load.dtype)))
    else:
        rows = [one for one in ROWS if one.operation == row.name]
    tried = {one.name: version for one in rows if (version := version_of(row, one, load.dtype))}
    if not any(version.kind for version in tried.values()):
        raise ValueError(f"{row.name}: no faults are planted in it that a test of {load.dtype} could see")
    return Versions(row, {one.name: one for one in rows}, {REFERENCE: right_of(row), **tried}, not known)


def _row(load: Load) -> Row:
    """The operation: given, of a file of definitions, known by its name, or defined beside the test."""
    if load.definition:
        row: Row = cloudpickle.loads(load.definition)
        return row
    name, beside = load.operation, Path(load.test.partition("::")[0])
    own = _defined(Path(load.definitions), name) if load.definitions else None
    try:
        return own or operation_named(name)
    except ValueError as unknown:
        found = _defined(beside, name) if beside.suffix == ".py" else None
        if found is None:
            raise unknown from None
        return found


def _defined(path: Path, name: str) -> Definition | None:
    own = own_definitions(sources_of(path))
    if name in own.refused:
        raise ValueError(own.refused[name])
    return own.definitions.get(name)


def _in_format(row: Definition, dtype: np.dtype[Any]) -> Implementation:
    """What JAX makes of a definition, in the format of the arguments."""

    def vjp(*args: Any) -> tuple[Any, ...]:
        return tuple(None if d is None else np.asarray(d, dtype) for d in row.vjp(*args))

    return Implementation(lambda *args: np.asarray(row.forward(*args), dtype), vjp=vjp)


def _loaded(load: Load, versions: Versions) -> Loaded:
    tried = [(name, version.kind) for name, version in versions.tried.items() if name != REFERENCE]
    return Loaded(versions.row.name, tried, [words for words, _ in _forms(versions.row)], versions.made)


# ── The test ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_for_pytest(load: Load) -> bool:
    """Whether pytest runs it: a name as pytest's tests have them, in a file, if pytest is installed."""
    _, _, name = load.test.partition("::")
    return name.rpartition("::")[2].startswith("test") and find_spec("pytest") is not None


def _tester(load: Load, versions: Versions) -> Tester | None:
    """The test as a function of versions, or none if none is to run."""
    if not load.runs:
        return None
    if load.test in PRACTICES:
        return lambda version: Tried("rejected" * rejections(load.test, versions.row, version)[1])
    test = cloudpickle.loads(load.pickled) if load.pickled else _named(load.test)
    return lambda version: Tried(verdict(test, version.forward, version.vjp))


def _named(test: str) -> Test:
    """A callable of a file."""
    file, _, name = test.partition("::")
    path = Path(file)
    found = sources_of(path)[path].get(name)
    if not callable(found):
        raise ValueError(f"{path.name} has no function {name}(forward, vjp)")
    return found


def _of_arrays(f: Callable[..., Any], change: Callable[[Any], Any] = lambda result: result) -> Callable[..., Any]:
    """A function that takes what a test gives as arrays, and changes what it returns."""
    return lambda *args: change(f(*map(np.asarray, args)))


def _forms(row: Row) -> list[tuple[str, Callable[[Any], Any]]]:
    """In which forms a vjp may return: a cotangent for each argument, for each that is no integer, or the only one."""
    floats = [i for i, name in enumerate(row.arguments) if name not in row.integers]

    def of_floats(found: Any) -> Any:
        whole = isinstance(found, tuple) and len(found) == len(row.arguments)
        return tuple(found[i] for i in floats) if whole else found

    def alone(found: Any) -> Any:
        some = of_floats(found)
        return some[0] if isinstance(some, tuple) and len(some) == 1 else some

    forms: list[tuple[str, Callable[[Any], Any]]] = [("a cotangent for each argument", lambda found: found)]
    forms += [("a cotangent for each argument but the integers", of_floats)] * bool(row.integers)
    return forms + [("one array", alone)] * (len(floats) == 1)


# ── Where it is wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def _shown(versions: Versions, asked: Show, dtype: str) -> Shown:
    """The first failure that `check` finds; of a fault that asks for something, with that."""
    report = checked(versions.row, versions.rows[asked.version], dtype, shrink=asked.smallest)
    if not report.failures:
        return Shown()
    first = report.failures[0]
    arrays = dict(zip(first.arguments, first.case.args, strict=True)) if first.case else {}
    if first.case and first.function == "vjp":
        arrays["delta"] = first.case.delta
    at = {argument: shown_whole(a) for argument, a in arrays.items()}
    return Shown(first.message, at, [line for argument, a in arrays.items() for line in assignments(argument, a)])
