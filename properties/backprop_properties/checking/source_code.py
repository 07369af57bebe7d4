"""What somebody's code singles out: the numbers in it, and the lines that run only now and then."""

import dis
import functools
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import backprop_oracle
import backprop_reference

from .. import checking
from ..laws.interruption import Interruption, Meter
from .threads import interruptible

MOST = 24  # numbers of a function; those that stand in its own code come first
MOST_OBJECTS = 2000  # that are looked into
MOST_TOLD = 3  # functions of which lines never ran
MOST_EVENTS = 200_000  # lines of a function that are looked at: some tenth of a second
LEAST = 1e-30  # of the numbers in arrays, whose memory may never have been written to
LONGEST = 64  # of a tuple, a list or a table whose numbers count
USUAL = {0.0, 1.0, 2.0, 0.5}  # of which every code is full, and which every run tries
# Of functions of this project, such as adapters, it is looked at what they hold.
OWN = tuple(str(Path(str(m.__file__)).parent) for m in (backprop_oracle, backprop_reference, checking))
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Code(NamedTuple):
    """What somebody's code singles out, and the functions, by kind, that watch which of its lines run; what is to be
    said of what was not run; the laws that cannot be tried on such functions; what interrupts their calls, what hears
    of calls that come next, and what measures them.
    """

    functions: Mapping[str, Any]
    constants: tuple[float, ...]
    lines_left: Callable[[], bool]
    unrun: Callable[[], list[str]]
    untried: tuple[str, ...] = ()
    interruption: Interruption | None = None
    ahead: Callable[..., None] | None = None
    meter: Meter | None = None


def code_of(functions: Mapping[str, Any]) -> Code:
    """The code of functions that are in this process."""
    left, amid = lines_of(functions.values()), Interruption()
    seen = interruptible({kind: f and watched(f, left) for kind, f in functions.items()}, frozenset(left), amid)
    constants = constants_of(functions.values())
    return Code(seen, constants, lambda: any(left.values()), lambda: never_run(left), interruption=amid)


def constants_of(functions: Iterable[Any]) -> tuple[float, ...]:
    """The numbers, without signs, in the code of some functions and of what they call beside them, in defaults,
    closures and variables; of compiled code there are none.

    >>> def vjp(delta, x, edge=7.25):
    ...     return delta * np.where(abs(x) > edge, 0, 1) if x.size < 1000 else delta
    >>> constants_of([vjp])
    (7.25, 1000.0)
    """
    reached = (one for one in _reached(functions) if isinstance(one, int | float | np.number))
    numbers: Iterator[Any] = (abs(one) for one in reached if not isinstance(one, bool))
    sizes = (float(one) for one in numbers if one < sys.float_info.max)
    return tuple(islice(dict.fromkeys(size for size in sizes if size not in USUAL), MOST))


def lines_of(functions: Iterable[Any]) -> dict[types.CodeType, set[int]]:
    """The lines of some functions, and of what they call beside them, without those that only raise."""
    codes = [one for one in _reached(functions) if isinstance(one, types.CodeType)]
    return {code: lines for code in codes if (lines := _lines(code))}


def watched(f: Callable[..., Any], left: dict[types.CodeType, set[int]]) -> Callable[..., Any]:
    """The function, whose calls take the lines that they run out of `left`; nobody else's tracer is disturbed.

    >>> def vjp(delta, x):
    ...     if x > 1e9:
    ...         return 0
    ...     return 2 * delta * x
    >>> left = lines_of([vjp])
    >>> watched(vjp, left)(1, 3), [sorted(line - code.co_firstlineno for line in left[code]) for code in left]
    (6, [[2]])
    """
    if not isinstance(f, types.FunctionType | types.MethodType):
        return f
    events = count()

    def line(frame: types.FrameType, event: str, _: Any) -> Any:
        lines = left.get(frame.f_code)
        if next(events) > MOST_EVENTS:
            left.clear()
        if not lines or not left:
            return None
        lines.discard(frame.f_lineno)
        return line

    def start(frame: types.FrameType, event: str, _: Any) -> Any:
        return line if left.get(frame.f_code) else None

    @functools.wraps(f)
    def call(*args: Any) -> Any:
        if sys.gettrace() is not None or not any(left.values()):
            return f(*args)
        sys.settrace(start)
        try:
            return f(*args)
        finally:
            sys.settrace(None)

    return call


def never_run(left: Mapping[types.CodeType, set[int]]) -> list[str]:
    """What to say of lines that never ran, if there are any; of a function that no tracer has seen, nothing."""
    of = [
        f"line{'s' * (len(lines) > 1)} {', '.join(map(str, sorted(lines)))} of {code.co_name}()"
        for code, lines in left.items()
        if lines and lines != _lines(code)
    ]
    more = [f"and of {len(of) - MOST_TOLD} more functions some"] if len(of) > MOST_TOLD else []
    told = f"never run by any input that was tried, and so not judged: {'; '.join([*of[:MOST_TOLD], *more])}"
    return [told] if of else []


def _lines(code: types.CodeType) -> set[int]:
    raising = {i.positions.lineno for i in dis.get_instructions(code) if i.opname == "RAISE_VARARGS" and i.positions}
    lines = {line for _, _, line in code.co_lines() if line and line != code.co_firstlineno}
    generated = code.co_filename == "<string>" or code.co_name.startswith("<")
    return set() if generated or code.co_filename.startswith(OWN) else lines - raising


def _reached(functions: Iterable[Any]) -> Iterator[Any]:
    """Some functions, what they are made of, and what they use; the nearest first."""
    given = list(functions)
    waiting, seen = deque[Any](given), set[int]()
    homes: tuple[str, ...] = ()
    with suppress(Exception):  # of an object that does not let itself be looked at
        homes = _homes(given)
    while waiting and len(seen) < MOST_OBJECTS:
        one = waiting.popleft()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            with suppress(Exception):
                waiting.extend(_within(one, homes))


def _within(one: Any, homes: tuple[str, ...]) -> Iterator[Any]:
    """What a function, or anything that it uses, is made of."""
    match one:
        case types.CodeType():
            yield from one.co_consts
        case types.FunctionType():
            yield from _of_function(one, homes)
        case types.MethodType():
            yield from (one.__func__, one.__self__)
        case functools.partial():
            yield from (one.func, *one.args, *one.keywords.values())
        case tuple() | list() | set() | frozenset():
            yield from one if len(one) <= LONGEST else ()
        case dict():
            yield from (*one, *one.values()) if len(one) <= LONGEST else ()
        case np.ndarray():
            numbers = one.ravel().tolist() if one.size <= LONGEST and one.dtype.kind in "iuf" else ()
            yield from (v for v in numbers if LEAST < abs(v) < 1 / LEAST and v == float(f"{v:.8g}"))  # and no garbage
        case type():
            if _is_theirs(_file(one.__module__), homes):
                yield from list(vars(one).values())
        case property():
            yield one.fget
        case staticmethod() | classmethod():
            yield one.__func__
        case _ if _is_theirs(_file(type(one).__module__), homes):
            yield type(one)
            yield list(getattr(one, "__dict__", {}).values())


def _of_function(f: types.FunctionType, homes: tuple[str, ...]) -> Iterator[Any]:
    if _is_theirs(f.__code__.co_filename, homes):
        yield f.__code__
        used: Mapping[str, Any] = f.__globals__
        for name in _names(f.__code__):
            other = used.get(name)
            if isinstance(other, types.FunctionType):
                if _is_theirs(other.__code__.co_filename, homes) or other.__globals__ is used:
                    yield other
            elif not isinstance(other, types.ModuleType | types.BuiltinFunctionType):
                yield other
    yield from f.__defaults__ or ()
    yield from (f.__kwdefaults__ or {}).values()
    yield getattr(f, "__wrapped__", None)
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: types.CodeType) -> Iterator[str]:
    """The variables of a module that a code uses, and no attributes."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _homes(functions: Iterable[Any]) -> tuple[str, ...]:
    """The folders that functions come from: what is judged is theirs, even if it is installed."""
    files = [_file(getattr(f, "__module__", "")) for f in functions]
    return tuple({str(Path(file).parent) for file in files if file and not file.startswith(OWN)})


def _file(module: Any) -> str:
    """The file of a module that is imported, or nothing: of what is built in, or typed at a prompt."""
    return getattr(sys.modules.get(str(module)), "__file__", None) or ("" if module == "__main__" else "<built-in>")


def _is_theirs(file: str, homes: tuple[str, ...]) -> bool:
    """Whether a file is somebody's own, and neither Python's, nor installed beside it, nor of this project."""
    if file == "<built-in>" or file.startswith(OWN):
        return False
    return file.startswith(homes) or not file.startswith(INSTALLED)
