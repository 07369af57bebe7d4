"""Another thread in the middle of a call: at a line of somebody's code, found by a tracer."""

import functools
import sys
import types
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from itertools import count
from threading import Thread
from typing import Any

import numpy as np

from ..laws.interruption import Interruption

PATIENCE = 0.05  # seconds: a thread that is not done then waits for a lock, which the interrupted call holds


def interruptible(
    functions: Mapping[str, Any], codes: Collection[types.CodeType], amid: Interruption
) -> Mapping[str, Any]:
    """The functions, of which a call is kept, or made in the middle of another, as it is said in `amid`.

    >>> def square(x):
    ...     scratch[:] = x
    ...     return scratch * scratch
    >>> scratch, amid = np.zeros(2), Interruption(keep=True)
    >>> f = interruptible({"forward": square}, [square.__code__], amid)["forward"]
    >>> f(np.array([7.0, 7.0]))
    array([49., 49.])
    >>> amid.at = 1
    >>> f(np.array([1.0, 2.0])), amid.reached
    (array([49., 49.]), True)
    """
    kept: list[Callable[[], Any]] = []
    return {kind: f and _interruptible(f, codes, amid, kept) for kind, f in functions.items()}


def _interruptible(
    f: Callable[..., Any], codes: Collection[types.CodeType], amid: Interruption, kept: list[Callable[[], Any]]
) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if amid.keep:
            kept[:], amid.keep = [functools.partial(f, *(np.array(a) for a in args))], False
        if amid.at is None:
            return f(*args)
        at, lines, before, others = amid.at, count(), sys.gettrace(), list[Thread]()
        amid.at, amid.reached = None, False

        def line(frame: types.FrameType, event: str, _: Any) -> Any:
            if event == "line" and next(lines) == at:
                amid.reached = True
                others.append(_in_a_thread(kept[0]))
            return line

        sys.settrace(lambda frame, event, _: line if frame.f_code in codes else None)
        try:
            return f(*args)
        finally:
            sys.settrace(before)
            for other in others:  # which nobody holds up any more, and which is to disturb no later call
                other.join()

    call.__wrapped__ = f  # type: ignore[attr-defined]  # of which the lines of an exception are told
    return call


def _in_a_thread(call: Callable[[], Any]) -> Thread:
    """A thread that makes a call, which is over, or waits."""

    def quietly() -> None:
        with suppress(BaseException), np.errstate(all="ignore"):  # what it raises there, it raises by itself, too
            call()

    thread = Thread(target=quietly, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return thread
