"""An implementation against frozen cases: the reference's, or one found by name in somebody's file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..checking.guard import OutOfTime, Unusable, dense, guarded, limited
from ..checking.python_files import Function, Implementation
from .vectors import Expected, Vector

Functions = Implementation | Operation


@dataclass(frozen=True)
class Mismatch:
    """A case that an implementation gets wrong, or on which it crashes."""

    case: Vector
    message: str

    def __str__(self) -> str:
        notes = "".join(f"\n    {flag}: {note}" for flag, note in self.case.notes.items())
        return f"{self.case} ({self.case.dtype}, {self.case.comment}): {self.message}{notes}"


def judged(cases: Sequence[Vector], using: Functions, seconds: float = 0) -> tuple[int, list[Mismatch]]:
    """How many results were compared, and each case that fails, by the first of its results that is wrong.

    After a result that did not come within `seconds` (0: however long it takes) the other cases are not run.

    >>> from backprop_properties.frozen.vectors import load_vectors
    >>> count, failures = judged(load_vectors("square"), Implementation(vjp=lambda d, x: d * x))
    >>> count > 40, "dx" in failures[0].message
    (True, True)
    """
    count, failures = 0, []
    for case in cases:
        try:
            with limited(seconds):
                for what, expected, got in _results(case, guarded(OPERATIONS[case.operation], using)):
                    count += 1
                    _compare(what, expected, got, case.dtype)
        except (Unusable, OutOfTime) as wrong:
            failures.append(Mismatch(case, str(wrong)))
            if isinstance(wrong, OutOfTime):
                break
    return count, failures


def _results(case: Vector, using: Functions) -> Iterator[tuple[str, Expected, Any]]:
    """Every result that a case asks for: its name, what is expected, and what came."""
    names = OPERATIONS[case.operation].arguments
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


def _compare(what: str, expected: Expected, got: Any, dtype: np.dtype[Any]) -> None:
    if got is None:
        raise Unusable(f"{what} is None, expected an array")
    array = np.asarray(got)
    if array.dtype != dtype:
        raise Unusable(f"{what} has dtype {array.dtype}, expected {dtype}")
    if array.shape != expected.expected.shape:
        raise Unusable(f"{what} has shape {array.shape}, expected {expected.expected.shape}")
    units = expected.units(array)
    if (units > expected.tolerance).any():
        worst = np.unravel_index(np.argmax(units), units.shape)
        index = "".join(f"[{i}]" for i in worst)
        raise Unusable(
            f"{what}{index} is {float(array[worst])!r}, expected {float(expected.expected[worst])!r}: "
            f"off by {units[worst]:.4g} eps of {expected.condition[worst]:.3g}, allowed {expected.tolerance:g}"
        )
