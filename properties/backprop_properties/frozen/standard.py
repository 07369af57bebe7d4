"""How far a careful framework may be off: the second tolerance of a frozen result, in units of its condition.

It is the bound that `backprop check` judges the standard level by: the running error analysis of the definition and of
the other formulas that frameworks use, with subnormal arguments that may be taken for 0 and either slope at a kink. It
is each entry's own, since `1 − tanh²` is as good as exact near 0 and has no digit left at 20. Nothing is asked where a
formula overflows on its way, or where arguments are infinite, of which no framework promises anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backprop_oracle.autodiff import Answers, widest
from backprop_oracle.rounding import Answer
from backprop_oracle.rows import Row

from ..cases.case import Case
from ..laws.points import added_up
from .cases import Chosen, examples
from .floats import Array, two_digits
from .vectors import Expected

OWN_ROUNDING = 0.5  # units that the expected result itself, correctly rounded, may be off


def bounds_of(operation: Row, chosen: Chosen, kinds: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    """The bounds of the "value" (one) and of these kinds, "vjp" and for a single example "jacobian", by argument."""
    if "Infinite" in chosen.flags:
        each_argument = [np.inf] * len(chosen.args)
        return {"value": [np.inf], "vjp": each_argument, "jacobian": each_argument}
    each = [_answers(operation, case, kinds) for case in examples(operation, chosen.settled)]
    gradients = []
    for i, (name, like) in enumerate(zip(operation.arguments, chosen.args, strict=True)):
        summed = chosen.batch and name in operation.parameters
        gradients.append((_summed if summed else _stacked)([one.vjp[i] for one in each], like))
    jacobians = [one and one.bound for one in each[0].jacobian] if "jacobian" in kinds else []
    value = _stacked([one.forward for one in each], chosen.delta)
    return {"value": [value], "vjp": gradients, "jacobian": jacobians}


def _answers(operation: Row, case: Case, kinds: Sequence[str]) -> Answers:
    with np.errstate(all="ignore"):
        return widest(operation, case.delta, case.args, kinds=kinds, dtype=case.dtype, either=operation.kinked)


def _stacked(each: Sequence[Answer], like: Array) -> Any:
    """The bounds, one example beside the other; those of integers, of which nothing is asked, are infinite."""
    if like.dtype.kind != "f":
        return np.inf
    return np.array([np.broadcast_to(one.bound, one.value.shape) for one in each]).reshape(like.shape)


def _summed(each: Sequence[Answer], like: Array) -> Array:
    """The bound of a parameter's gradient, which is the sum over the batch."""
    arrays = [[np.broadcast_to(a, like.shape) for a in one] for one in each]
    values, bounds = np.array(arrays).reshape(len(each), 2, *like.shape).swapaxes(0, 1)
    return added_up(lambda a: a.sum(0), values, bounds, len(each), like.dtype)[1]


def with_standard(result: Expected, bound: Any) -> Expected:
    """A result with the standard tolerance that a bound leaves; never below the strict one.

    >>> with_standard(Expected(np.array([1.0]), np.array([2.0]), 1.5), np.array([8 * 2.0**-52])).standard
    array([4.5])
    """
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.broadcast_to(bound, result.expected.shape) / result.condition / result.eps + OWN_ROUNDING
    least = np.where(np.isnan(units), np.inf, np.maximum(units, result.tolerance))
    rounded = [two_digits(number) for number in least.ravel().tolist()]
    return replace(result, standard=np.array(rounded).reshape(result.expected.shape))
