"""Which gradients are right beside one that is wrong; of a network, which is the first wrong one on the way back?"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from backprop_oracle.rows import Row

from ..laws.claims import Close, Violation, judge
from ..laws.points import Point
from .probe import listed

LAWS: Mapping[str, str] = {  # that compare gradients with the truth: how these are called
    "vjp_equals_jax_vjp": "d",
    "vjp_of_one_equals_jax_grad": "d",
    "jacobian_equals_jacrev": "J_",
}
Held = Mapping[str, bool]


def is_network(row: Row) -> bool:
    """Whether an operation is layers with functions of their own, and a loss."""
    return bool(row.layers and row.functions and "target" in row.domain.values())


def backward_order(row: Row) -> list[str]:
    """The arguments of a network in the order of their gradients: `b` and `W` of the last layer first, `x` last.

    >>> from backprop_reference import OPERATIONS
    >>> backward_order(OPERATIONS["two_layer_network[tanh]"])
    ['b2', 'W2', 'b1', 'W1', 'x']
    """
    return [*(name for layer in reversed(row.layers) for name in (layer.b, layer.W)), "x"]


def right_beside(row: Row, points: Sequence[Point], law: str) -> str:
    """A line on the gradients at some points where one is wrong: those that are right everywhere, or nothing."""
    every = [held for point in points if (held := _held(point, law))]
    wrong = [held for held in every if not all(held.values())]
    if not wrong:
        return ""
    prefix = LAWS.get(law, "d")
    if is_network(row):
        return _first_wrong(row, wrong[0], prefix)
    right = [prefix + name for name in wrong[0] if all(held.get(name) for held in every)]
    return f"right beside it: {listed(right)}" if right and law in LAWS else ""


def _first_wrong(row: Row, held: Held, prefix: str) -> str:
    order = [name for name in backward_order(row) if name in held]
    wrong = [name for name in order if not held[name]]
    if not wrong:
        return f"only {prefix}y is wrong: the gradients of the layers are right"
    first = wrong[0]
    right = [prefix + name for name in order[: order.index(first)]]
    layer = "" if first == "x" else f" (layer {first[1:]})"
    target = "" if "y" not in held else f"; {prefix}y is {'right' if held['y'] else 'wrong'}"
    return (
        f"first wrong in backward order: {prefix}{first}{layer}; right so far: {', '.join(right) or 'nothing'}{target}"
    )


def _held(point: Point, law: str) -> Held:
    """Of each gradient whether it is right; nothing of functions that raise, or are not there."""
    results: Sequence[Any] | None = None
    with suppress(Exception):  # somebody else's functions: the failure itself says what they raise
        if law == "jacobian_equals_jacrev" and point.jacobian:
            results, said = point.jacobian(*point.args), point.said.jacobian
        elif law == "vjp_of_one_equals_jax_grad" and point.vjp:
            results, said = point.vjp(np.ones_like(point.delta), *point.args), point.said.grad
        elif point.vjp:
            results, said = point.vjp(point.delta, *point.args), point.said.vjp
    if results is None or len(said) != len(results):
        return {}
    held = {}
    for name, result, answer in zip(point.operation.arguments, results, said, strict=True):
        if result is not None:
            actual = result.todense() if hasattr(result, "todense") else result
            held[name] = _holds(Close(name, actual, *answer), point.case.dtype)
    return held


def _holds(claim: Close, dtype: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            judge(claim, dtype)
    except Violation:
        return False
    return True
