"""An implementation against frozen cases: the reference's, or one found by name in somebody's file."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..checking.python_files import Function, Implementation
from .vectors import Expected, Vector


@dataclass(frozen=True)
class Failure:
    """A case that an implementation gets wrong, or on which it crashes."""

    operation: str
    tcId: int  # noqa: N815  the name in the file
    comment: str
    dtype: str
    message: str
    notes: Mapping[str, str]

    def __str__(self) -> str:
        notes = "".join(f"\n    {flag}: {note}" for flag, note in self.notes.items())
        return f"{self.operation} tcId {self.tcId} ({self.dtype}, {self.comment}): {self.message}{notes}"


class Wrong(Exception):
    """What is wrong with a result."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stops what takes longer, with a TimeoutError; 0 is no limit, nor is any where there are no timers (Windows)."""
    if not seconds or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeoutError(f"no result after {seconds:g} s: the operation's other cases are not run")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged(cases: Sequence[Vector], using: Implementation | Operation, seconds: float = 0) -> tuple[int, list[Failure]]:
    """How many results were compared, and each case that fails, by the first of its results that is wrong.

    After a result that did not come within `seconds` (0: however long it takes) the other cases are not run.

    >>> from .vectors import load_vectors
    >>> count, failures = judged(load_vectors("square"), Implementation(vjp=lambda d, x: d * x))
    >>> count > 40, "dx" in failures[0].message
    (True, True)
    """
    count, failures = 0, []
    for case in cases:
        try:
            with limited(seconds):
                for what, expected, got in _results(case, using):
                    count += 1
                    _compare(what, expected, got, case.dtype)
        except (Wrong, TimeoutError) as wrong:
            failures.append(Failure(case.operation, case.tcId, case.comment, case.dtype.name, str(wrong), case.notes))
            if isinstance(wrong, TimeoutError):
                break
    return count, failures


def _results(case: Vector, using: Implementation | Operation) -> Iterator[tuple[str, Expected, Any]]:
    """Every result that is asked for: its name, what is expected, and what came. A crash is `Wrong`."""
    names = OPERATIONS[case.operation].arguments
    if using.forward and case.value:
        yield "u", case.value, _called(using.forward, case.args)
    if using.vjp and case.gradients:
        results = _tuple(_called(using.vjp, (case.cotangent, *case.args)), names, "vjp")
        for name, result in zip(names, results, strict=True):
            if name in case.gradients:
                yield f"d{name}", case.gradients[name], result
    if using.jacobian and case.jacobians:
        results = _tuple(_called(using.jacobian, case.args), names, "jacobian")
        for name, result in zip(names, results, strict=True):
            if name in case.jacobians:
                yield f"J_{name}", case.jacobians[name], _dense(result)


def _called(function: Function, args: Sequence[Any]) -> Any:
    """The result for copies of the arguments; a crash is a failure of the case, whatever it is."""
    copies = [np.array(a) for a in args]
    try:
        with np.errstate(all="ignore"):
            result = function(*copies)
    except TimeoutError:
        raise
    except (Exception, SystemExit) as error:
        raise Wrong(f"{type(error).__name__}: {error}") from None
    if any(copy.tobytes() != a.tobytes() for copy, a in zip(copies, args, strict=True)):
        raise Wrong("it writes to its arguments")
    return result


def _dense(result: Any) -> Any:
    return _called(result.todense, ()) if hasattr(result, "todense") else result


def _tuple(results: Any, names: Sequence[str], what: str) -> Sequence[Any]:
    """One result for each argument; a single one needs no tuple."""
    if not isinstance(results, tuple | list) and len(names) == 1:
        return [results]
    if isinstance(results, list) and len(names) == 1 and not hasattr(results[0] if results else 0, "shape"):
        return [results]
    if not isinstance(results, tuple | list) or len(results) != len(names):
        got = f"{len(results)} results" if isinstance(results, tuple | list) else type(results).__name__
        raise Wrong(f"{what}: expected a tuple of {len(names)} ({', '.join(names)}), got {got}")
    return results


def _compare(what: str, expected: Expected, got: Any, dtype: np.dtype[Any]) -> None:
    try:
        array = np.asarray(got)
        if not hasattr(got, "dtype"):  # Python's own numbers have no width
            array = array.astype(dtype)
    except (Exception, SystemExit) as error:
        raise Wrong(f"{what} is no array: {type(error).__name__}: {error}") from None
    if array.dtype != dtype:
        raise Wrong(f"{what} has dtype {array.dtype}, expected {dtype}")
    if array.shape != expected.expected.shape:
        raise Wrong(f"{what} has shape {array.shape}, expected {expected.expected.shape}")
    units = expected.units(array)
    if (units > expected.tolerance).any():
        worst = np.unravel_index(np.argmax(units), units.shape)
        index = "".join(f"[{i}]" for i in worst)
        raise Wrong(
            f"{what}{index} is {float(array[worst])!r}, expected {float(expected.expected[worst])!r}: "
            f"off by {units[worst]:.4g} eps of {expected.condition[worst]:.3g}, allowed {expected.tolerance:g}"
        )
