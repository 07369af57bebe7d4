"""`check(…, isolated=True)`: functions of this process, brought to one of their own, which may end as it likes."""

import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import messages as m
from .calls import Gone, Late
from .guard import Function, name_of, said
from .python_files import operation_named
from .remote import Subject
from .report import Report, no_return
from .source_code import Code
from .tasks import A_STEP


class Limits(NamedTuple):
    """Of functions in another process: seconds for a call and for all of them, and megabytes that they may ask for."""

    step: float = 60.0
    seconds: float = float("inf")
    memory: int = 4096


def limits_of(timeout: float | None, memory: int | None) -> Limits:
    """The limits that are given, or ValueError.

    >>> limits_of(2, None)
    Limits(step=0.5, seconds=2, memory=4096)
    """
    found = Limits()
    if timeout is not None:
        if not (isinstance(timeout, int | float) and 0.1 <= timeout < float("inf")):
            raise ValueError(f"timeout must be a number of seconds, at least 0.1, got {timeout!r}")
        found = found._replace(step=timeout * A_STEP, seconds=timeout)
    if memory is not None:
        if not (isinstance(memory, int) and 64 <= memory <= 2**40):
            raise ValueError(f"memory must be a number of megabytes, at least 64, got {memory!r}")
        found = found._replace(memory=memory)
    return found


def elsewhere(
    operation: Any, functions: Mapping[str, Function | None], limits: Limits, examine: Callable[[Code], Report]
) -> Report:
    """What `examine` says of functions that are taken to another process; TypeError for those that cannot be."""
    import cloudpickle

    given = {kind: f for kind, f in functions.items() if f is not None}
    names = {kind: name_of(f, kind) for kind, f in given.items()}
    try:
        pickled = cloudpickle.dumps(given)
    except (pickle.PicklingError, TypeError, ValueError) as error:
        raise TypeError(f"isolated=True: these functions cannot be taken to another process: {said(error)}") from None
    subject = Subject(None, **limits._asdict())
    try:
        loaded = subject.load(m.Hold(pickled, sys.path))
        if isinstance(loaded, m.Refused):
            raise TypeError(f"isolated=True: {loaded.message}")
        return returned(operation, names, lambda: examine(subject.code(loaded, names)))
    except Late as late:
        kind, number = max(subject.calls.counts.items(), key=lambda pair: pair[1], default=("forward", 0))
        far = f"not done after {limits.seconds:g} s and {number:,} calls of {kind}"
        far += f", and wrong until then: {late.found}" if late.found else ""
        raise TimeoutError(f"{far}; a larger timeout= gives it more, max_examples= tries fewer cases") from None
    except Gone as gone:
        raise TypeError(f"isolated=True: {gone.told('before the first call')}") from None
    finally:
        subject.stop()


def returned(operation: Any, names: Mapping[str, str], examine: Callable[[], Report]) -> Report:
    """What `examine` says of functions in another process, or the report of a call that does not return."""
    try:
        return examine()
    except Gone as gone:
        if gone.call is None:
            raise
        row = operation_named(operation)
        return no_return(row.name, row.arguments, {}, gone.told(), gone.call, names[gone.call.kind], slow=gone.slow)
