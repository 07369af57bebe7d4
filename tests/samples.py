"""What `make test` runs of a long table: some rows that stand for the others, which `make test-all` runs."""

from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest

from backprop_reference import OPERATIONS


def sampled(rows: Iterable[Any], sample: Container[Any]) -> list[Any]:
    """Every row as a parameter, or a tuple as several; those that are not in the sample are exhaustive."""
    return [
        pytest.param(
            *(row if type(row) is tuple else (row,)),
            id=getattr(row, "name", None),
            marks=() if row in sample else pytest.mark.exhaustive,
        )
        for row in rows
    ]


def first_of_each(kind: Callable[[Any], Any], rows: Iterable[Any]) -> list[Any]:
    """The first row of each kind."""
    firsts: dict[Any, Any] = {}
    for row in rows:
        firsts.setdefault(kind(row), row)
    return list(firsts.values())


FAMILIES = first_of_each(lambda name: OPERATIONS[name].base, OPERATIONS)  # an operation of each
