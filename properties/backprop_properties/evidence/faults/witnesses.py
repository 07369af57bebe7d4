"""Calls at which a planted fault shows that hides from ordinary ones, and the right functions it is made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.rows import row_of
from backprop_oracle.shapes import shape_of
from backprop_reference import OPERATIONS

from ...cases.domains import domain_of
from ...cases.plan import ordinary_case
from ...checking.python_files import Implementation
from . import attention, convolutions, labels, layers, norms, recurrent, regressions
from .makers import Array, Function
from .table import Calls, Fault

RIGHT: Mapping[str, Implementation] = {
    **{name: Implementation(row.forward, vjp=row.vjp) for name, row in OPERATIONS.items()},
    **{name: right for part in (norms, attention, convolutions, recurrent, labels, regressions, layers)
       for name, right in part.RIGHT.items()},
}  # fmt: skip
"""A right forward and vjp of every operation."""


def forward(operation: str) -> Function:
    """The right forward.

    >>> forward("square")(np.array([3.0]))
    array([9.])
    """
    found = RIGHT[operation].forward
    if found is None:
        raise LookupError(f"{operation} has no forward")
    return found


def vjp(operation: str) -> Function:
    """The right vjp.

    >>> vjp("square")(np.array([1.0]), np.array([3.0]))
    (array([6.]),)
    """
    found = RIGHT[operation].vjp
    if found is None:
        raise LookupError(f"{operation} has no vjp")
    return found


def corner(operation: str, what: str, kind: str, law: str, witness: Calls, cause: str = "none", **how: Any) -> Fault:
    """A planted fault with the calls that show it.

    >>> corner("exp", "zero", "sign", "vjp_equals_jax_vjp", numbers((1, 0)), vjp=lambda d, x: (-d,)).name
    'corner-exp-zero'
    """
    name = operation.replace("_", "-").replace("[", "-").replace("]", "").replace(",", "-")
    return Fault(operation, f"corner-{name}-{what}", kind, law, cause, witness=witness, **how)


# ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ordinary(
    operation: str, sizes: Mapping[str, int], dtype: str = "float64", change: Function = lambda *call: call
) -> Calls:
    """One call with ordinary numbers of these sizes, put through `change`.

    >>> (call,) = ordinary("matvec", {"d": 2, "n": 3})()
    >>> [a.shape for a in call]
    [(2,), (2, 3), (3,)]
    """

    def calls() -> list[tuple[Any, ...]]:
        case = ordinary_case(domain_of(row_of(operation), None), np.dtype(dtype), sizes)
        return [tuple(change(case.delta, *case.args))]

    return calls


def numbers(*points: Sequence[Any], dtype: str = "float64") -> Calls:
    """Calls with these numbers; arrays stay as they are.

    >>> numbers(([1, 2], 3))()
    [(array([1., 2.]), array(3.))]
    """
    return lambda: [tuple(a if isinstance(a, np.ndarray) else np.array(a, dtype) for a in point) for point in points]


def examples(
    operation: str, lead: tuple[int, ...], sizes: Mapping[str, int], change: Function = lambda *call: call
) -> Calls:
    """One call with a batch of an operation of the lecture: data and the cotangent have leading axes.

    >>> (call,) = examples("affine", (5,), {"d": 2, "n": 3})()
    >>> [a.shape for a in call]
    [(5, 2), (2, 3), (5, 3), (2,)]
    """
    row = OPERATIONS[operation]

    def calls() -> list[tuple[Any, ...]]:
        draw = np.random.default_rng(0)
        shapes = [shape_of(core, sizes) for core in (row.cores[-1], *row.cores[:-1])]
        leads = [lead if data else () for data in (True, *row.is_data)]
        return [tuple(change(*(draw.normal(size=a + b) for a, b in zip(leads, shapes, strict=True))))]

    return calls


def laid_out(calls: Calls, lay: Function, *positions: int) -> Calls:
    """The same numbers with some of the arrays (0 is the cotangent) in another memory layout."""
    return lambda: [tuple(lay(a) if i in positions else a for i, a in enumerate(call)) for call in calls()]


def again(calls: Calls, *changes: Function) -> Calls:
    """The calls, and after them those that each of `changes` makes of the last."""
    return lambda: (lambda first: [*first, *(tuple(change(*first[-1])) for change in changes)])(list(calls()))


def in_bfloat16(a: Any) -> Array:
    """Rounded to bfloat16.

    >>> float(in_bfloat16(1.003))
    1.0
    """
    return np.asarray(a).astype(ml_dtypes.bfloat16)
