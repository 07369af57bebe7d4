"""What `make test` runs of a long table: some rows that stand for the others, which `make test-all` runs, or of very
many some more, which then stand for those that `make thorough` runs.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest

from backprop_reference import OPERATIONS


def sampled(rows: Iterable[Any], sample: Container[Any], more: Container[Any] | None = None) -> list[Any]:
    """Every row as a parameter, or a tuple as several; those that are not in the sample are exhaustive, or thorough
    if they are not among some `more` either.
    """

    def parameter(row: Any) -> Any:
        values = row if type(row) is tuple else (row,)
        rest = pytest.mark.exhaustive if more is None or row in more else pytest.mark.thorough
        return pytest.param(*values, id=getattr(values[0], "name", None), marks=() if row in sample else rest)

    return list(map(parameter, rows))


def first_of_each(kind: Callable[[Any], Any], rows: Iterable[Any]) -> list[Any]:
    """The first row of each kind."""
    firsts: dict[Any, Any] = {}
    for row in rows:
        firsts.setdefault(kind(row), row)
    return list(firsts.values())


FAMILIES = first_of_each(lambda name: OPERATIONS[name].base, OPERATIONS)  # an operation of each
