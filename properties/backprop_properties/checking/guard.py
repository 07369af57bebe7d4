"""Calls of somebody's functions: what they return becomes arrays, or an `Unusable` with one clear line."""

import dis
import inspect
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..laws.skipped import Skipped
from .floating_point import flushed
from .messages import Other
from .python_files import Implementation

if TYPE_CHECKING:
    from backprop_oracle.rows import Row

    from ..laws.points import Functions

Function = Callable[..., Any]
TAKES = re.compile(r" takes \d+ arguments?, expected \d+$")
BY_POSITION = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
UNREADABLE = "answered in another form"  # of a program: what came is no array
MOST_SAID = 2000  # characters of an exception that are looked at
SEVERAL, NO_ARRAYS = (tuple, list), (str, bytes, dict, set)


class Unusable(Exception):
    """What came back cannot be compared with anything; the message says what was expected and what came."""


class Ended(BaseException):
    """There is nobody any more who could return anything; no `Exception`, which a law may take for an answer."""


def guarded(operation: "Row", using: "Functions", writable: Collection[str] = ()) -> Implementation:
    """Somebody's functions, wrapped: forward returns an array, vjp and jacobian a tuple with one for each argument.

    A function that is None stays None, and so does a result for an argument that is None, or of integers. Arguments
    that are `writable` are lent as copies, so that no law sees what becomes of them.
    """
    names, whole = operation.arguments, operation.integers
    forward, vjp, jacobian = using.forward, using.vjp, using.jacobian

    def lent(own: Sequence[str], args: Sequence[Any]) -> Sequence[Any]:
        return [np.array(a) if name in writable else a for name, a in zip(own, args, strict=True)]

    def asked(f: Function | None, what: str, own: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return called(f, what, lent(own, args))
        except Unusable as error:
            named = f"{error}: {', '.join(own)}" if TAKES.search(str(error)) else str(error)
            raise Unusable(named) from None

    def value(*args: Any) -> Any:
        return array_from(asked(forward, "forward", names, args), "forward returned", _float_of(args))

    def cotangents(delta: Any, *args: Any) -> Any:
        found = _each(asked(vjp, "vjp", ("delta", *names), (delta, *args)), names, whole, "d", "vjp")
        if all(d is None for d in found):
            raise Unusable("vjp returned None for every argument, expected at least one cotangent")
        return tuple(
            None if d is None else array_from(d, f"vjp returned as d{a}", delta.dtype)
            for a, d in zip(names, found, strict=True)
        )

    def jacobians(*args: Any) -> Any:
        found, dtype = (
            _each(asked(jacobian, "jacobian", names, args), names, whole, "J_", "jacobian"),
            _float_of(args),
        )
        return tuple(None if J is None else _structured(J, name, dtype) for name, J in zip(names, found, strict=True))

    return Implementation(forward and value, jacobian and jacobians, vjp and cotangents)


def name_of(f: Function, kind: str) -> str:
    """What a function is called in code that uses it: its own name, if it has one.

    >>> name_of(len, "vjp"), name_of(lambda x: x, "vjp")
    ('len', 'vjp')
    """
    name = None
    with suppress(Exception):  # of an object that does not let itself be looked at
        name = getattr(f, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else kind


def called(f: Function | None, what: str, args: Sequence[Any]) -> Any:
    """The result of somebody's function; whatever it raises is `Unusable`, but for Ctrl-C and the end of its time."""
    assert f is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a right result may come with an overflow on the way
            result = f(*map(np.asarray, args))  # a number as an array of no axes
    except (Unusable, Ended, Skipped):
        raise
    except KeyboardInterrupt as error:
        if not _raised_by_code(error):
            raise
        raise Unusable(f"{what} raised KeyboardInterrupt{_line(error, f)}") from None
    except SystemExit as error:
        raise Unusable(f"{what} called exit({error.code!r})") from None
    except BaseException as error:
        took = _takes(f) if issubclass(type(error), TypeError) else None  # its __class__ may lie
        if took not in (None, len(args)):
            raise Unusable(f"{what} takes {took} argument{'s' * (took != 1)}, expected {len(args)}") from None
        raise Unusable(f"{what} raised {said(error)}{_line(error, f)}") from None
    if flushed():
        raise Unusable(f"{what} left the processor taking subnormal numbers for 0, as code built with -Ofast does")
    return result


def _takes(f: Function) -> int | None:
    """How many arguments a function takes by position, if it says so, and always as many."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    fixed = all(p.kind in BY_POSITION and p.default is p.empty for p in parameters)
    return len(parameters) if fixed else None


def _raised_by_code(error: BaseException) -> bool:
    """Whether it was a `raise` that raised an exception, and not Ctrl-C; if in doubt, it was Ctrl-C."""
    if (hearing := signal.getsignal(signal.SIGINT)) is signal.SIG_IGN:  # as of a job in the background
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None or hearing is not signal.default_int_handler:
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def said(error: BaseException) -> str:
    """An exception in one line, even if its own text raises.

    >>> said(ValueError("no\\nluck"))
    'ValueError: no luck'
    """
    try:
        text = printable(str(error)[:MOST_SAID])
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


def _float_of(args: Sequence[Any]) -> Any:
    """The dtype of the first argument that is not of integers."""
    return next(a.dtype for a in args if a.dtype.kind not in "iub")


def _each(result: Any, arguments: Sequence[str], whole: Collection[str], prefix: str, what: str) -> Sequence[Any]:
    """The results by argument: a tuple, or for one argument the result itself; integers have none, and need not be
    counted.
    """
    if isinstance(result, SEVERAL) and whole and len(result) == len(arguments):
        return [None if name in whole else r for name, r in zip(arguments, result, strict=True)]
    real = [name for name in arguments if name not in whole]
    found = dict(zip(real, counted(result, [prefix + name for name in real], what), strict=True))
    return [found.get(name) for name in arguments]


def counted(result: Any, names: Sequence[str], what: str) -> Sequence[Any]:
    """As many results as there are names: a tuple, or for one name the result itself."""
    one = len(names) == 1 and isinstance(result, list)
    numbers = one and not any(isinstance(r, list) or getattr(r, "ndim", 0) for r in result[:1])
    several = isinstance(result, SEVERAL) and not numbers  # a list of numbers is the one array itself
    if several and len(result) == len(names):
        return result
    if not several and len(names) == 1 and result is not None and not inspect.isgenerator(result):
        return [result]
    came = f"{len(result)} results" if several else named(result)
    expected = f"a tuple of {len(names)} ({', '.join(names)})" if len(names) > 1 else f"{names[0]}, or a tuple of it"
    raise Unusable(f"{what} returned {came}, expected {expected}")


def array_from(value: Any, what: str, dtype: Any = None) -> Any:
    """A result as a numeric array; Python's own numbers have no dtype and take that of the arguments, as in NumPy."""
    array = value if type(value) is np.ndarray else _converted(value, what, dtype)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise Unusable(f"{what} an array of {array.dtype}, expected real numbers")
    return array


def _converted(value: Any, what: str, dtype: Any) -> Any:
    if isinstance(value, Other):
        raise Unusable(f"{what} {printable(value.said)[:300]}")
    if value is None or inspect.isgenerator(value) or isinstance(value, NO_ARRAYS):
        raise Unusable(f"{what} {named(value)}, expected an array")
    try:
        return np.asarray(value, dtype if is_pythons(value) else None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Unusable(f"{what} {named(value)}, which is no array: {said(error)}") from None


def is_pythons(value: Any) -> bool:
    """Whether a value is a number of Python, or a list (of lists) of them."""
    return all(map(is_pythons, value)) if isinstance(value, SEVERAL) else type(value) in (float, int)


def _structured(J: Any, name: str, dtype: Any) -> Any:
    """A Jacobian: an array, or a structured one as the reference's, which keeps its `@`."""
    structured = hasattr(J, "todense") and hasattr(J, "shape")
    return J if structured else array_from(J, f"jacobian returned as J_{name}", dtype)


def dense(J: Any, what: str, dtype: Any) -> Any:
    """A structured Jacobian as an array."""
    return array_from(called(J.todense, "todense", ()), what, dtype) if hasattr(J, "todense") else J


def named(value: Any) -> str:
    """What a result is, in words."""
    if isinstance(value, Other):
        return printable(value.named)[:80]
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
