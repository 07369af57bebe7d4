"""Is what judges still what it was? Functions that run in the judge's own process may replace it."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

Function = Callable[..., Any]
PLANTED = "backprop_properties.evidence"  # faults, which may remember what they like
OURS = ("backprop_oracle", "backprop_properties", "backprop_reference")


class Held(NamedTuple):
    """A module or a table, and what it held."""

    name: str
    now: dict[str, Any]
    before: dict[str, Any]


def held() -> list[Held]:
    """What NumPy and this project's modules hold, and the tables in these."""
    modules = [module for name, module in [*sys.modules.items()] if _judges(name, module)]
    found = [Held(module.__name__, vars(module), dict(vars(module))) for module in modules]
    tables = [
        Held(f"{one.name}.{name}", table, dict(table))
        for one in found
        if one.name.startswith(OURS)
        for name, table in one.before.items()
        if type(table) is dict and name.isupper()
    ]
    return [*found, *tables]


def put_back(before: list[Held]) -> list[str]:
    """The names of what has been replaced or taken away, which is put back; what has been added stays.

    >>> import numpy as np
    >>> before, isfinite = held(), np.isfinite
    >>> np.isfinite = lambda x: True
    >>> put_back(before), np.isfinite is isfinite
    (['numpy.isfinite'], True)
    """
    return [name for one in before for name in _changed(one)]


def leaving_alone(f: Function, before: list[Held], replaced: list[str]) -> Function:
    """The function, after each call of which NumPy is what it was; the names of what was not are put down."""
    numpy = [one for one in before if one.name == "numpy"]

    def call(*args: Any) -> Any:
        try:
            return f(*args)
        finally:
            if any(_differs(one) for one in numpy):
                replaced.extend(put_back(numpy))
                for one in numpy:
                    one.before.update(one.now)  # what is new is not replaced

    call.__wrapped__ = f  # type: ignore[attr-defined]  # of which the lines of an exception are told
    return call


def _differs(one: Held) -> bool:
    try:
        return one.now != one.before  # entries that are the same object are not compared
    except Exception:  # of what fights back
        return True


def _judges(name: str, module: Any) -> bool:
    judges = name in ("numpy", "numpy.linalg") or name.partition(".")[0] in OURS
    return isinstance(module, ModuleType) and judges and not name.startswith(PLANTED)


def _changed(one: Held) -> Iterator[str]:
    for name, value in one.before.items():
        if one.now.get(name, one) is not value and not str(name).startswith("__"):
            one.now[name] = value
            yield f"{one.name}.{name}"
