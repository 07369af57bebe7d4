"""One thing about a case changed that random numbers never have: a unit cotangent, equal arguments, an exact 0, …"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np

from backprop_oracle.rows import Row

from .case import Array, Case


def ones(operation: Row, case: Case, k: int) -> Case:
    """A cotangent of ones."""
    return replace(case, delta=np.ones_like(case.delta))


def unit(operation: Row, case: Case, k: int) -> Case:
    """A cotangent that picks one entry of the output."""
    chosen = np.arange(case.delta.size) == k % max(case.delta.size, 1)
    return replace(case, delta=chosen.reshape(case.delta.shape).astype(case.dtype))


def same(operation: Row, case: Case, k: int) -> Case:
    """Arguments of one shape are equal."""
    last = {(a.shape, a.dtype): a for a in case.args}
    return replace(case, args=tuple(last[a.shape, a.dtype].copy() for a in case.args))


def zero(operation: Row, case: Case, k: int) -> Case:
    """What goes into the first unit of each layer is exactly 0, where no rounding leaves a doubt; without layers, the
    first entry of each argument that may be any number.
    """
    axes = dict(zip(operation.arguments, operation.cores, strict=False))
    layers = [layer for layer in operation.layers if len(axes[layer.W]) == 2]
    args = {name: a.copy() for name, a in zip(operation.arguments, case.args, strict=True)}
    for name in (name for layer in layers for name in (layer.W, layer.b) if name):
        args[name][:1] = 0
    for name in operation.arguments if not operation.layers else ():
        if args[name].size and args[name].dtype.kind not in "biu" and name not in operation.domain:
            args[name].flat[0] = 0
    return replace(case, args=tuple(args.values()))


def edge(operation: Row, case: Case, k: int) -> Case:
    """The argument of a scalar function is where exp is nearly too large, or too small."""
    if operation.promise != "function":
        return case
    (x,) = case.args
    end = np.log(float(ml_dtypes.finfo(case.dtype).max)) * np.linspace(0.7, 0.999, x.size or 1)
    return replace(case, args=(np.roll(np.copysign(end[: x.size], x.astype(np.float64)).astype(case.dtype), k),))


def scaled(operation: Row, case: Case, k: int) -> Case:
    """One array is far larger, or smaller, than the others, and no product of three of its numbers leaves the range, as
    in the slope of `1 / √v`, which frameworks take for a third power.
    """
    *args, delta = (*case.args, case.delta)
    power = np.log10(float(ml_dtypes.finfo(case.dtype).max)) * 0.3 * (-1, 0.5, 1)[k // 12 % 3]
    i = k // 36 % (len(args) + 1)
    factors = [10 ** (power * (j == i)) for j in range(len(args) + 1)]
    with np.errstate(all="ignore"):
        pairs = zip((*args, delta), factors, strict=True)
        *args, delta = (
            a if a.dtype.kind in "iub" else np.asarray(a.astype(np.float64) * factor).astype(a.dtype)
            for a, factor in pairs
        )
    return replace(case, args=tuple(args), delta=delta)


def decades(operation: Row, case: Case, k: int) -> Case:
    """One array goes through all decades of its dtype; where numbers are multiplied, of the large ones through those
    of which the product of three is in range.
    """
    info = ml_dtypes.finfo(case.dtype)
    low, high = np.log10(float(info.smallest_normal)), np.log10(float(info.max))
    high = high if operation.promise == "function" else 0.3 * high

    def through(a: Array) -> Array:
        powers = low + (high - low) * (0.5 + np.arange(a.size)) / max(a.size, 1)
        signs = np.where(np.arange(a.size) % 3, 1.0, -1.0)
        return (signs * 10.0**powers).reshape(a.shape)

    return _one(case, k, through)


def whole(operation: Row, case: Case, k: int) -> Case:
    """Whole numbers, whole numbers that are large, or halves."""
    large = min(1e5, float(ml_dtypes.finfo(case.dtype).max) ** 0.5)
    by, parts = ((3, 1), (large, 1), (6, 2))[k // 96 % 3]
    return _each(case, lambda a: np.rint(a * by) / parts)


def negative_zeros(operation: Row, case: Case, k: int) -> Case:
    """Every third entry is -0."""
    return _each(case, lambda a: np.where((np.arange(a.size).reshape(a.shape) + k) % 3, a, -0.0))


def targets(operation: Row, case: Case, k: int) -> Case:
    """A target sums to 0, or has one entry 1 among others, or is negative."""
    changes: Sequence[Callable[[Array], Array]] = (
        lambda y: y - y.mean() if y.size else y,
        lambda y: np.where(np.arange(y.size).reshape(y.shape) == k % max(y.size, 1), 1.0, 0.25 + y),
        lambda y: -np.abs(y),
    )
    names = operation.arguments
    pairs = zip(names, case.args, strict=True)
    args = [_into(a, changes[k % 3]) if operation.domain.get(name) == "target" else a for name, a in pairs]
    return replace(case, args=tuple(args))


def weighted(operation: Row, case: Case, k: int) -> Case:
    """One array is 0, or a hundred million times as large, or as small as the dtype lets go."""
    factor = (0.0, 1e8, 1e-13)[k % 3] if ml_dtypes.finfo(case.dtype).bits > 16 else (0.0, 1e3, 1e-3)[k % 3]
    return _one(case, k // 3, lambda a: a * factor)


def large_cotangent(operation: Row, case: Case, k: int) -> Case:
    """A cotangent far from 1, beside ordinary arguments."""
    factors = {64: (1e-13, 1e30, 1e-30, 1e13), 32: (1e-13, 1e9, 1e-30)}.get(
        ml_dtypes.finfo(case.dtype).bits, (1e-3, 1e3)
    )
    return replace(case, delta=_into(case.delta, lambda a: a * factors[k % len(factors)]))


def same_bytes(operation: Row, case: Case, k: int) -> Case:
    """Every array begins with the same numbers: those of one size have the same bytes, whatever their shapes."""
    return _each(case, lambda a: np.resize(np.linspace(-1.5, 1.75, 7), a.shape))


def equal_rows(operation: Row, case: Case, k: int) -> Case:
    """The rows of each array are equal."""
    return _each(case, lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim > 1 else a)


def identity(operation: Row, case: Case, k: int) -> Case:
    """Each table is the identity."""
    return _each(case, lambda a: np.broadcast_to(np.eye(*a.shape[-2:]), a.shape) if a.ndim > 1 else a)


def padded(operation: Row, case: Case, k: int) -> Case:
    """The first entries of each row, or the last, are 0."""

    def with_zeros(a: Array) -> Array:
        place = np.arange(a.shape[-1] if a.ndim else 1)
        padding = place < 2 if k // 12 % 4 < 2 else place >= (len(place) + 1) // 2
        return np.where(padding, 0.0, a) if a.ndim else a

    return _each(case, with_zeros)


def positive(operation: Row, case: Case, k: int) -> Case:
    """No number below 0, so that sums grow with their terms."""
    return _each(case, np.abs)


def _into(a: Array, change: Callable[[Array], Array]) -> Array:
    with np.errstate(all="ignore"):
        return a if a.dtype.kind in "iub" else np.asarray(change(a.astype(np.float64))).astype(a.dtype)


def _each(case: Case, change: Callable[[Array], Array]) -> Case:
    """Every array changed."""
    return replace(case, args=tuple(_into(a, change) for a in case.args), delta=_into(case.delta, change))


def _one(case: Case, k: int, change: Callable[[Array], Array]) -> Case:
    """One array changed: the `k`-th, over and over."""
    arrays = [*case.args, case.delta]
    chosen = k % len(arrays)
    arrays[chosen] = _into(arrays[chosen], change)
    return replace(case, args=tuple(arrays[:-1]), delta=arrays[-1])


TWISTS: Mapping[str, Callable[[Row, Case, int], Case]] = {
    f.__name__: f
    for f in (
        *(ones, unit, same, zero, edge, scaled),
        *(decades, whole, negative_zeros, targets, weighted, large_cotangent, same_bytes, equal_rows),
        *(identity, padded, positive),
    )
}
ANYWHERE = ("", "ones", "unit", "same", "zero", "edge")  # twists of numbers of any regime; others are of ordinary ones
IN_TURN: Mapping[int, Sequence[str]] = {  # of every twelve cases; where there are several, one after the other
    2: ("unit",),
    4: ("", "large_cotangent", "whole", "weighted", "targets", "negative_zeros", "equal_rows", "weighted"),
    5: ("ones",),
    6: ("same",),
    8: ("scaled",),
    9: ("", "padded", "identity", "padded"),
    10: ("edge",),
    11: ("zero",),
}


def twist_of(k: int) -> str:
    """The twist of the `k`-th small case."""
    in_turn = IN_TURN.get(k % 12, ("",))
    return in_turn[k // 12 % len(in_turn)]


def twisted(operation: Row, case: Case, twist: str, k: int) -> Case:
    """The `k`-th case with a twist, or as it is with none ("").

    >>> from backprop_reference import OPERATIONS
    >>> case = Case((np.array([1.0]), np.array([2.0])), np.array(3.0), ())
    >>> twisted(OPERATIONS["dot"], case, "same", 0).args
    (array([2.]), array([2.]))
    """
    return TWISTS[twist](operation, case, k) if twist else case
