"""An implementation against frozen cases: the reference's, or one found by name in somebody's file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backprop_oracle.rows import Row
from backprop_reference import Operation

from ..checking import messages as m
from ..checking.calls import Gone
from ..checking.guard import Unusable, dense, guarded
from ..checking.python_files import SUFFIXES, Function, Implementation, python_name
from ..checking.remote import Subject
from ..checking.tasks import Found
from .vectors import Expected, Vector

Functions = Implementation | Operation
IMPORTS = 6  # times as long as a call, the import of a file may take
MEMORY = 4096  # megabytes


@dataclass(frozen=True)
class Mismatch:
    """A case that an implementation gets wrong, or on which it crashes."""

    case: Vector
    message: str

    def __str__(self) -> str:
        notes = "".join(f"\n    {flag}: {note}" for flag, note in self.case.notes.items())
        return f"{self.case} ({self.case.dtype}, {self.case.comment}): {self.message}{notes}"


def judged(cases: Sequence[Vector], row: Row, using: Functions, level: str = "strict") -> tuple[int, list[Mismatch]]:
    """How many results were compared, and each case that fails, by the first of its results that is wrong.

    After a call that ended its process, or was ended, the other cases are not run.

    >>> from backprop_properties.frozen.vectors import load_vectors
    >>> from backprop_reference import OPERATIONS
    >>> square = OPERATIONS["square"]
    >>> count, failures = judged(load_vectors("square"), square, Implementation(vjp=lambda d, x: d * x))
    >>> count > 40, "dx" in failures[0].message
    (True, True)
    """
    count, failures = 0, []
    for case in cases:
        try:
            for what, expected, got in _results(case, guarded(row, using)):
                count += bool(expected.asked(level).any())
                _compare(what, expected, got, case.dtype, level)
        except Unusable as wrong:
            failures.append(Mismatch(case, str(wrong)))
        except Gone as gone:
            return count, [*failures, Mismatch(case, f"{gone.told()}; the operation's other cases are not run")]
    return count, failures


def judged_file(
    path: Path,
    cases: Mapping[str, Sequence[Vector]],
    rows: Mapping[str, Row],
    seconds: float,
    *,
    definitions: Path | None = None,
    level: str = "standard",
) -> dict[str, tuple[int, list[Mismatch]]]:
    """The same of each operation that a file has, in a process of its own, where a call may take so many seconds; 0 is
    no limit. `definitions` is the file that has theirs, if they are not the lecture's. ValueError if one cannot be run.
    """
    others = str(definitions) if definitions else None
    step = seconds or float("inf")
    program = None
    results: dict[str, tuple[int, list[Mismatch]]] = {}
    first = Subject(path, step=IMPORTS * step)
    try:
        inside = first.look(m.Look(str(path), others, None))
        if isinstance(inside, m.Refused):
            raise ValueError(inside.message)
        program = first.program
        for operation in m.decoded(inside, Found).functions:
            if operation not in rows:
                continue
            subject = Subject(path, step=IMPORTS * step, memory=MEMORY, program=program)
            loaded = subject.load(m.Load(str(path), others, operation, None))
            if isinstance(loaded, m.Refused):
                raise ValueError(loaded.message)
            subject.calls.step, program = step, subject.program
            names = {kind: python_name(operation) + SUFFIXES[kind] for kind in loaded.kinds}
            functions = {kind: subject.function(kind, name) for kind, name in names.items()}
            some = cases.get(operation, ())
            results[operation] = judged(some, rows[operation], Implementation(**functions), level)
            if program.over:
                program = None
    except Gone as gone:
        raise ValueError(f"{path.name}: {gone.told('while it was imported')}") from None
    except m.Undecodable:
        raise ValueError(f"{path.name}: what it says of itself cannot be read") from None
    finally:
        if program:
            program.stop()
    return results


def _results(case: Vector, using: Functions) -> Iterator[tuple[str, Expected, Any]]:
    """Every result that a case asks for: its name, what is expected, and what came."""
    names = tuple(case.inputs)
    if using.forward and case.value:
        yield "u", case.value, _unharmed(using.forward, case.args)
    if using.vjp and case.gradients:
        for name, result in zip(names, _unharmed(using.vjp, (case.cotangent, *case.args)), strict=True):
            if name in case.gradients:
                yield f"d{name}", case.gradients[name], result
    if using.jacobian and case.jacobians:
        for name, result in zip(names, _unharmed(using.jacobian, case.args), strict=True):
            if name in case.jacobians:
                yield f"J_{name}", case.jacobians[name], dense(result, f"J_{name} is", case.dtype)


def _unharmed(function: Function, args: Sequence[Any]) -> Any:
    """The result for copies of the arguments, which are to stay as they are."""
    copies = [np.array(a) for a in args]
    with np.errstate(all="ignore"):
        result = function(*copies)
    if any(copy.tobytes() != a.tobytes() for copy, a in zip(copies, args, strict=True)):
        raise Unusable("it writes to its arguments")
    return result


def _compare(what: str, expected: Expected, got: Any, dtype: np.dtype[Any], level: str) -> None:
    if got is None:
        raise Unusable(f"{what} is None, expected an array")
    array = np.asarray(got)
    if array.dtype != dtype:
        raise Unusable(f"{what} has dtype {array.dtype}, expected {dtype}")
    if array.shape != expected.expected.shape:
        raise Unusable(f"{what} has shape {array.shape}, expected {expected.expected.shape}")
    wrong = expected.wrong(array, level)
    if (wrong > 1).any():
        worst = np.unravel_index(np.argmax(wrong), wrong.shape)
        index = "".join(f"[{i}]" for i in worst)
        raise Unusable(
            f"{what}{index} is {float(array[worst])!r}, expected {float(expected.expected[worst])!r}: "
            f"off by {expected.units(array)[worst]:.4g} eps of {expected.condition[worst]:.3g}, "
            f"allowed {expected.allowed(level)[worst]:g}"
        )
