"""Calls of somebody's functions: what they return becomes arrays, or an `Unusable` with one clear line."""

import inspect
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import Operation

from .python_files import Implementation

Function = Callable[..., Any]


class OutOfTime(Exception):
    """A call has taken longer than it may."""


class Unusable(Exception):
    """What came back cannot be compared with anything; the message says what was expected and what came."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stops what takes longer, with `OutOfTime`; 0 is no limit, nor is any where there are no timers (Windows)."""
    if not seconds or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime(f"no result after {seconds:g} s: the operation's other cases are not run")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def guarded(operation: Operation, using: Implementation | Operation) -> Implementation:
    """Somebody's functions, wrapped: forward returns an array, vjp and jacobian a tuple with one for each argument.

    A function that is None stays None, and so does a result for an argument that is None.
    """
    names = operation.arguments
    forward, vjp, jacobian = using.forward, using.vjp, using.jacobian

    def value(*args: Any) -> Any:
        return _array(called(forward, "forward", args), "forward returned", args[0].dtype)

    def cotangents(delta: Any, *args: Any) -> Any:
        found = _each(called(vjp, "vjp", (delta, *args)), [f"d{name}" for name in names], "vjp")
        if all(d is None for d in found):
            raise Unusable("vjp returned None for every argument, expected at least one cotangent")
        return tuple(
            None if d is None else _array(d, f"vjp returned as d{a}", args[0].dtype)
            for a, d in zip(names, found, strict=True)
        )

    def jacobians(*args: Any) -> Any:
        found = _each(called(jacobian, "jacobian", args), [f"J_{name}" for name in names], "jacobian")
        return tuple(
            None if J is None else _structured(J, name, args[0].dtype) for name, J in zip(names, found, strict=True)
        )

    return Implementation(forward and value, jacobian and jacobians, vjp and cotangents)


def name_of(f: Function, kind: str) -> str:
    """What a function is called in code that uses it: its own name, if it has one.

    >>> name_of(len, "vjp"), name_of(lambda x: x, "vjp")
    ('len', 'vjp')
    """
    name = getattr(f, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else kind


def called(f: Function | None, what: str, args: Sequence[Any]) -> Any:
    """The result of somebody's function; whatever it raises is `Unusable`, but for Ctrl-C and the end of its time."""
    assert f is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a right result may come with an overflow on the way
            return f(*map(np.asarray, args))  # a number as an array of no axes
    except (KeyboardInterrupt, OutOfTime):
        raise
    except SystemExit as error:
        raise Unusable(f"{what} called exit({error.code!r})") from None
    except BaseException as error:
        raise Unusable(f"{what} raised {said(error)}{_line(error, f)}") from None


def said(error: BaseException) -> str:
    """An exception in one line, even if its own text raises.

    >>> said(ValueError("no\\nluck"))
    'ValueError: no luck'
    """
    try:
        text = printable(str(error))
    except Exception as worse:
        text = f"(its text raises {type(worse).__name__})"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def printable(text: str) -> str:
    """A text in one line, without characters that terminals obey and XML forbids."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _line(error: BaseException, f: Function) -> str:
    """` (line 3 of mine.py)`: where in the function's file the exception was raised, or nothing."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != Path(__file__).parent]
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    if not own:  # a function that an adapter calls
        own = [
            frame
            for frame in frames
            if not re.search(r"[/\\](site|dist)-packages[/\\]|^<|[/\\]lib[/\\]python", frame.filename)
        ]
    return f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""


def _each(result: Any, names: Sequence[str], what: str) -> Sequence[Any]:
    """The results by argument: a tuple, or for one argument the result itself."""
    expected = f"a tuple of {len(names)} ({', '.join(names)})" if len(names) > 1 else f"{names[0]}, or a tuple of it"
    one = len(names) == 1 and isinstance(result, list)
    numbers = one and not any(isinstance(r, list) or getattr(r, "ndim", 0) for r in result[:1])
    if isinstance(result, tuple | list) and not numbers:  # a list of numbers is the one array itself
        if len(result) != len(names):
            raise Unusable(f"{what} returned {len(result)} results, expected {expected}")
        return result
    if len(names) > 1 or result is None or inspect.isgenerator(result):
        raise Unusable(f"{what} returned {_named(result)}, expected {expected}")
    return [result]


def _array(value: Any, what: str, dtype: Any) -> Any:
    """A result as a numeric array; Python's own numbers have no dtype and take that of the arguments, as in NumPy."""
    if value is None or inspect.isgenerator(value) or isinstance(value, str | bytes | dict | set):
        raise Unusable(f"{what} {_named(value)}, expected an array")
    try:
        array = np.asarray(value, dtype if _is_pythons(value) else None)
    except (KeyboardInterrupt, OutOfTime):
        raise
    except BaseException as error:
        raise Unusable(f"{what} {_named(value)}, which is no array: {said(error)}") from None
    if array.dtype.kind == "c" or (array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16"):
        raise Unusable(f"{what} an array of {array.dtype}, expected real numbers")
    return array


def _is_pythons(value: Any) -> bool:
    """Whether a value is a number of Python, or a list (of lists) of them."""
    return all(map(_is_pythons, value)) if isinstance(value, list | tuple) else type(value) in (float, int)


def _structured(J: Any, name: str, dtype: Any) -> Any:
    """A Jacobian: an array, or a structured one as the reference's, which keeps its `@`."""
    structured = hasattr(J, "todense") and hasattr(J, "shape")
    return J if structured else _array(J, f"jacobian returned as J_{name}", dtype)


def dense(J: Any, what: str, dtype: Any) -> Any:
    """A structured Jacobian as an array."""
    return _array(called(J.todense, "todense", ()), what, dtype) if hasattr(J, "todense") else J


def _named(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
