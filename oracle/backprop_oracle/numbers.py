"""Numbers that nothing rounds, as entries of NumPy's arrays of objects: FLINT's balls, and power series.

The maximum of balls that overlap is a ball around both. At an exact tie of `max` and `min` each side has half of the
derivative, as in JAX; in a window of a pool, the first has all of it.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
from flint import arb, arb_series, fmpq, fmpq_series

from .program import Array

Number = Any  # an arb or a Series


class Series:
    """A power series of FLINT's, over balls or fractions: in a box, since NumPy takes it for a sequence."""

    __slots__ = ("s",)

    def __init__(self, s: Any) -> None:
        self.s = s

    def __repr__(self) -> str:
        return f"Series({self.s})"

    def _with(self, f: Callable[[Any, Any], Any], other: Number) -> "Series":
        return Series(f(self.s, other.s if isinstance(other, Series) else type(self.s)([other])))

    def __add__(self, other: Number) -> "Series":
        return self._with(operator.add, other)

    def __sub__(self, other: Number) -> "Series":
        return self._with(operator.sub, other)

    def __mul__(self, other: Number) -> "Series":
        return self._with(operator.mul, other)

    def __truediv__(self, other: Number) -> "Series":
        by = head(other)
        if isinstance(by, arb) and not (by > 0 or by < 0):  # FLINT divides by nothing that may be 0
            return Series(arb_series([arb.nan(), arb.nan()]))
        return self._with(operator.truediv, other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Number) -> "Series":
        return -self + other

    def __rtruediv__(self, other: Number) -> "Series":
        return Series(type(self.s)([other])) / self

    def __neg__(self) -> "Series":
        return Series(-self.s)


def head(x: Number) -> Any:
    """The number itself, of a series its constant term."""
    return x.s[0] if isinstance(x, Series) else x


def is_nan(x: Any) -> bool:
    return isinstance(x, arb) and x.is_nan()


def as_array(x: Any) -> Array:
    """An array of objects, where NumPy gave one object."""
    return x if isinstance(x, np.ndarray) else np.asarray(x, object)


def _lifted(number: Callable[[float], Number]) -> Callable[[Array], Array]:
    """Of an array of floats; what is a ball or a Series already stays as it is."""
    lift = np.frompyfunc(lambda x: number(x) if isinstance(x, float) else x, 1, 1)
    return lambda a: as_array(lift(a.astype(object))) if a.dtype.kind in "fO" else a


balls = _lifted(arb)
fractions = _lifted(lambda x: Series(fmpq_series([fmpq(*x.as_integer_ratio())])))


def _mean(tied: Sequence[Number]) -> Number:
    return tied[0] if len(tied) < 2 else sum(tied[1:], tied[0]) / len(tied)


def _extreme(
    above: Callable[[Any, Any], bool],
    of_balls: Callable[[Any, Any], Any],
    of_tied: Callable[[Sequence[Number]], Number],
    *numbers: Number,
) -> Number:
    """The largest of some numbers, or the smallest.

    At an exact tie one of them, or the mean, which is the same but for its slope; where balls overlap, balls around all
    that it may be.
    """
    heads = [head(x) for x in numbers]
    if any(map(is_nan, heads)):
        return sum(numbers[1:], numbers[0]) * arb.nan()
    for i, a in enumerate(heads):
        if all(i == j or above(a, b) for j, b in enumerate(heads)):
            return of_tied([x for j, x in enumerate(numbers) if i == j or a == heads[j]])
    found = reduce(of_balls, heads)
    if not any(isinstance(x, Series) for x in numbers):
        return found
    out = [any(above(b, a) and not above(a, b) for b in heads) for a in heads]
    slopes = [x.s[1] if isinstance(x, Series) else arb(0) for x, is_out in zip(numbers, out, strict=True) if not is_out]
    return Series(arb_series([found, reduce(arb.union, slopes)]))


def around(x: Number, y: Number) -> Number:
    """A ball, or balls, around two numbers."""
    if x is y:
        return x
    if not (isinstance(x, Series) or isinstance(y, Series)):
        return arb(x).union(arb(y))
    slopes = (u.s[1] if isinstance(u, Series) else arb(0) for u in (x, y))
    return Series(arb_series([arb(head(x)).union(arb(head(y))), reduce(arb.union, slopes)]))


def of_one(f: Callable[[Number], Number]) -> Callable[[Array], Array]:
    each = np.frompyfunc(f, 1, 1)
    return lambda a: as_array(each(a))


def of_two(f: Callable[[Number, Number], Number]) -> Callable[[Array, Array], Array]:
    each = np.frompyfunc(f, 2, 1)
    return lambda a, b: as_array(each(a, b))


_ge = operator.ge, lambda a, b: a.max(b)
_le = operator.le, lambda a, b: a.min(b)
largest, smallest = partial(_extreme, *_ge, _mean), partial(_extreme, *_le, _mean)
first_largest, first_smallest = (partial(_extreme, *way, operator.itemgetter(0)) for way in (_ge, _le))
larger, smaller = of_two(largest), of_two(smallest)
