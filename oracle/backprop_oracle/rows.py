"""Rows by name, and the functions that they stand for: of the lecture's table, of the catalogue, or anybody's own."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache, partial
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from .catalogue import CATALOGUE
from .definition import Definition
from .definitions import DEFINITIONS, FUNCTIONS, MULTIPLIED_OUT, USUAL, USUAL_FUNCTIONS, Function

Row = Operation | Definition
Asked = str | Row | Callable[..., Any]  # a row, its name, or a function of jax.numpy


def row_of(operation: str | Row) -> Row:
    """The row of the lecture's table or of the catalogue by its name, or ValueError; a row is its own.

    >>> row_of("affine").signature, row_of("layer_norm").signature
    ('(d,n),(n),(d)->(d)', '(b,n),(n),(n)->(b,n)')
    """
    if isinstance(operation, Row):
        return operation
    if not isinstance(operation, str):
        raise TypeError(
            f"expected the name of an operation, a Definition or a function, got a {type(operation).__name__}"
        )
    row = OPERATIONS.get(operation) or CATALOGUE.get(operation)
    if row is None:
        known = [*OPERATIONS, *CATALOGUE]
        near = get_close_matches(str(operation), known, 3)
        says = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"unknown operation {operation!r}; {says}")
    return row


def definition(operation: Asked) -> Function:
    """The forward of an operation: of a row, or its name; a function is its own.

    >>> import jax.numpy as jnp
    >>> definition("affine")(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 4.0]), jnp.array([5.0])).tolist()
    [16.0]
    """
    if callable(operation):
        return operation
    row = row_of(operation)
    if isinstance(row, Definition):
        return row.f
    needed = [("DEFINITIONS", row.base, DEFINITIONS), *(("FUNCTIONS", h.name, FUNCTIONS) for h in row.functions)]
    for table, name, known in needed:
        if name not in known:
            raise LookupError(
                f"{row.name} has no definition: add {name!r} to {table} in backprop_oracle/definitions.py"
            )
    return _bound(DEFINITIONS[row.base], tuple(FUNCTIONS[h.name] for h in row.functions))


def usual(operation: Asked) -> tuple[Function, ...]:
    """What careful frameworks write for an operation where it is another formula.

    >>> [len(usual(name)) for name in ("softmax", "activation[gelu]", "tanh")]
    [1, 1, 0]
    """
    if callable(operation):
        return ()
    row = row_of(operation)
    if isinstance(row, Definition):
        return tuple(row.also)
    own = tuple(FUNCTIONS[h.name] for h in row.functions)
    others = tuple(USUAL_FUNCTIONS.get(h.name, f) for h, f in zip(row.functions, own, strict=True))
    return (_bound(USUAL.get(row.base, DEFINITIONS[row.base]), others),) if row.base in USUAL or others != own else ()


def multiplied_out(operation: Asked) -> tuple[Function, ...]:
    """A formula whose vjp rounds as a product with the slides' dense Jacobian does, where that is more."""
    if callable(operation) or isinstance(row := row_of(operation), Definition):
        return ()
    return tuple(f for base, f in MULTIPLIED_OUT.items() if base == row.base)


def widened(operation: Asked, args: Sequence[Any]) -> list[Any]:
    """Arguments for judging: floats as float64, which holds every number of a shorter format; integers as they are.

    >>> [a.dtype.name for a in widened("dot", [np.ones(2, np.float32), [1, 2]])]
    ['float64', 'float64']
    """
    arrays = [np.asarray(a) for a in args]
    if callable(operation):
        whole = [a.dtype.kind in "iub" for a in arrays]
    else:
        row = row_of(operation)
        whole = [name in row.integers for name in row.arguments]
    return [a if is_whole else a.astype(np.float64) for a, is_whole in zip(arrays, whole, strict=False)]


@cache
def _bound(form: Function, functions: tuple[Function, ...]) -> Function:
    """One and the same object each time, so that a program is traced once."""
    return partial(form, *functions) if functions else form
