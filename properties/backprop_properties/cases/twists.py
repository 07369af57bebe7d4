"""One thing about a case changed that random numbers never have: a unit cotangent, equal arguments, an exact 0, …"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import ml_dtypes
import numpy as np

from backprop_reference import Operation

from .case import Case


def ones(operation: Operation, case: Case, k: int) -> Case:
    """A cotangent of ones."""
    return replace(case, delta=np.ones_like(case.delta))


def unit(operation: Operation, case: Case, k: int) -> Case:
    """A cotangent that picks one entry of the output."""
    chosen = np.arange(case.delta.size) == k % max(case.delta.size, 1)
    return replace(case, delta=chosen.reshape(case.delta.shape).astype(case.dtype))


def same(operation: Operation, case: Case, k: int) -> Case:
    """Arguments of one shape are equal."""
    last = {a.shape: a for a in case.args}
    return replace(case, args=tuple(last[a.shape].copy() for a in case.args))


def zero(operation: Operation, case: Case, k: int) -> Case:
    """What goes into the first unit of each layer is exactly 0, where no rounding leaves a doubt."""
    axes = dict(zip(operation.arguments, operation.cores, strict=False))
    layers = [layer for layer in operation.layers if len(axes[layer.W]) == 2]
    args = {name: a.copy() for name, a in zip(operation.arguments, case.args, strict=True)}
    for name in (name for layer in layers for name in (layer.W, layer.b) if name):
        args[name][:1] = 0
    return replace(case, args=tuple(args.values()))


def edge(operation: Operation, case: Case, k: int) -> Case:
    """The argument of a scalar function is where exp is nearly too large, or too small."""
    if operation.promise != "function":
        return case
    (x,) = case.args
    end = np.log(float(ml_dtypes.finfo(case.dtype).max)) * np.linspace(0.7, 0.999, x.size or 1)
    return replace(case, args=(np.roll(np.copysign(end[: x.size], x.astype(np.float64)).astype(case.dtype), k),))


def scaled(operation: Operation, case: Case, k: int) -> Case:
    """One array is far larger, or smaller, than the others, and nothing overflows on the way."""
    *args, delta = (*case.args, case.delta)
    power = np.log10(float(ml_dtypes.finfo(case.dtype).max)) / 3 * (-1, 0.5, 1)[k // 12 % 3]
    i = k // 36 % (len(args) + 1)
    factors = [10 ** (power * (j == i)) for j in range(len(args) + 1)]
    with np.errstate(all="ignore"):
        pairs = zip((*args, delta), factors, strict=True)
        *args, delta = (np.asarray(a.astype(np.float64) * factor).astype(a.dtype) for a, factor in pairs)
    return replace(case, args=tuple(args), delta=delta)


TWISTS: Mapping[str, Callable[[Operation, Case, int], Case]] = {
    f.__name__: f for f in (ones, unit, same, zero, edge, scaled)
}
IN_TURN: Mapping[int, str] = {2: "unit", 5: "ones", 6: "same", 8: "scaled", 10: "edge", 11: "zero"}  # of every twelve


def twisted(operation: Operation, case: Case, twist: str, k: int) -> Case:
    """The `k`-th case with a twist, or as it is with none ("").

    >>> from backprop_reference import OPERATIONS
    >>> case = Case((np.array([1.0]), np.array([2.0])), np.array(3.0), ())
    >>> twisted(OPERATIONS["dot"], case, "same", 0).args
    (array([2.]), array([2.]))
    """
    return TWISTS[twist](operation, case, k) if twist else case
