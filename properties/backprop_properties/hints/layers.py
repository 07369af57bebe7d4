"""Which gradient of a network is the first wrong one, in the order in which back-propagation computes them?"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from backprop_reference import Operation

from ..laws.claims import Close, Violation, judge
from ..laws.points import Point


def is_network(row: Operation) -> bool:
    """Whether an operation is layers with functions of their own, and a loss."""
    return bool(row.layers and row.functions and "target" in row.domain.values())


def backward_order(row: Operation) -> list[str]:
    """The arguments of a network in the order of their gradients: `b` and `W` of the last layer first, `x` last.

    >>> from backprop_reference import OPERATIONS
    >>> backward_order(OPERATIONS["two_layer_network[tanh]"])
    ['b2', 'W2', 'b1', 'W1', 'x']
    """
    return [*(name for layer in reversed(row.layers) for name in (layer.b, layer.W)), "x"]


def first_wrong_layer(row: Operation, points: Iterable[Point], law: str) -> str:
    """A line on a network's gradients at the first of some points where one is wrong, or nothing."""
    if not is_network(row):
        return ""
    return next((line for line in (_first_wrong(point, law) for point in points) if line), "")


def _first_wrong(point: Point, law: str) -> str:
    row = point.operation
    results: Sequence[Any] | None = None
    with suppress(Exception):  # somebody else's functions: the failure itself says what they raise
        if law == "jacobian_equals_jacrev" and point.jacobian:
            results, said, prefix = point.jacobian(*point.args), point.said.jacobian, "J_"
        elif law == "vjp_of_one_equals_jax_grad" and point.vjp:
            results, said, prefix = point.vjp(np.ones_like(point.delta), *point.args), point.said.grad, "d"
        elif point.vjp:
            results, said, prefix = point.vjp(point.delta, *point.args), point.said.vjp, "d"
    if results is None or len(said) != len(results):
        return ""
    holds = {}
    for name, result, answer in zip(row.arguments, results, said, strict=True):
        if result is not None:
            actual = result.todense() if hasattr(result, "todense") else result
            holds[name] = _holds(Close(name, actual, *answer), point.case.dtype)
    order = [name for name in backward_order(row) if name in holds]
    wrong = [name for name in order if not holds[name]]
    if not wrong:
        return "" if holds.get("y", True) else f"only {prefix}y is wrong: the gradients of the layers are right"
    first = wrong[0]
    right = [prefix + name for name in order[: order.index(first)]]
    layer = "" if first == "x" else f" (layer {first[1:]})"
    target = "" if "y" not in holds else f"; {prefix}y is {'right' if holds['y'] else 'wrong'}"
    return (
        f"first wrong in backward order: {prefix}{first}{layer}; right so far: {', '.join(right) or 'nothing'}{target}"
    )


def _holds(claim: Close, dtype: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            judge(claim, dtype)
    except Violation:
        return False
    return True
