"""What a scalar function is: `h` and `h′`, applied to each entry of an array, in blocks where it is large."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .numerics.parallel import BLOCK, fresh, in_blocks
from .signature import Array, as_floating

Formula = Callable[[Array], Any]


@dataclass(frozen=True, init=False, repr=False)
class ScalarFunction:
    """A differentiable function h: R → R with its derivative h′, applied to each entry of an array.

    `h` and `derivative` take a float32 or float64 array and return one of the same shape; the result gets the dtype of
    the argument. A number gives a number, integers become float64. `.h` and `.dh` are the two without the checks, for
    arrays that are float32 or float64 already. Unless stated, it takes all numbers, has no kink, rounds,
    and is called with whole arrays only.

    >>> cube = ScalarFunction("cube", h=lambda x: x**3, derivative=lambda x: 3 * x**2)
    >>> cube
    ScalarFunction('cube')
    >>> cube([1, 2, 3])
    array([ 1.,  8., 27.])
    >>> cube.derivative(2)
    np.float64(12.0)
    >>> cube("2")
    Traceback (most recent call last):
    TypeError: cube: expected float32, float64 or integers, got <U1

    Raises TypeError for what is not a real number, ValueError where `h` or `derivative` changes the shape. Source: the
    slide "scalar function of a vector" (4).
    """

    name: str
    _h: Formula
    _derivative: Formula
    domain: str  # which numbers it takes: "positive", "non-zero", or "" for all
    kinked: bool  # of two pieces, at whose joint frameworks take either's slope, or half of both
    whole: bool  # of whole numbers, it and its derivative are whole numbers
    factored: bool  # `h(x) = x f(x)`: near a zero of h′ the sum `f + x f′` cancels, and its terms are the unit
    divisible: bool  # may be asked for parts of an array, and from several threads: most of this package's own

    def __init__(
        self,
        name: str,
        h: Formula,
        derivative: Formula,
        *,
        domain: str = "",
        kinked: bool = False,
        whole: bool = False,
        factored: bool = False,
        divisible: bool = False,
    ) -> None:
        facts = {"domain": domain, "kinked": kinked, "whole": whole, "factored": factored, "divisible": divisible}
        for field, value in {"name": name, "_h": h, "_derivative": derivative, **facts}.items():
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"ScalarFunction({self.name!r})"

    def __call__(self, x: object) -> Array:
        """h(x), entrywise."""
        return self.h(as_floating(x, self.name))[()]

    def derivative(self, x: object) -> Array:
        """h′(x), entrywise."""
        return self.dh(as_floating(x, f"{self.name}.derivative"))[()]

    @np.errstate(under="ignore")  # 0 and subnormals are right answers; as a decorator it takes half the time
    def h(self, x: Array) -> Array:
        """h(x) of a float32 or float64 array, unchecked."""
        return value(self, x)

    @np.errstate(under="ignore")
    def dh(self, x: Array) -> Array:
        """h′(x) of a float32 or float64 array, unchecked."""
        return slope(self, x)


def scalar_function(h: object, operation: str) -> ScalarFunction:
    """`h`, if it is one; TypeError otherwise."""
    if not isinstance(h, ScalarFunction):
        raise TypeError(f"{operation}: h must be a ScalarFunction, as tanh of this package, got {type(h).__name__}")
    return h


def built_in(name: str, h: Formula, derivative: Formula, **facts: Any) -> ScalarFunction:
    """A scalar function of this package: its formulas get arrays of at least one axis, and results are not checked.

    They return the argument itself, or a new array of its shape, which may be float64 for float32.
    """
    return ScalarFunction(name, h, derivative, divisible=True, **facts)


def value(h: ScalarFunction, x: Array) -> Array:
    """`h.h(x)`, for a loop over layers that lets results underflow once for all of them."""
    return _entrywise(h, h._h, x, "")


def slope(h: ScalarFunction, x: Array) -> Array:
    """`h.dh(x)`, for such a loop, too."""
    return _entrywise(h, h._derivative, x, ".derivative")


def pull_back(delta: Array, h: ScalarFunction, z: Array) -> Array:
    """`δ ⊙ h′(z)`, for such a loop, written over `z`; both arrays are C-contiguous."""
    if not h.divisible or z.size <= BLOCK:
        return np.multiply(delta, slope(h, z), out=z)
    deltas, entries = delta.reshape(-1), z.reshape(-1)

    def work(block: slice) -> None:
        slopes = h._derivative(entries[block])
        np.multiply(deltas[block], slopes, out=entries[block], dtype=z.dtype, casting="same_kind")

    in_blocks(work, z.size, passes=4)
    return z


def _entrywise(h: ScalarFunction, formula: Formula, x: Array, suffix: str) -> Array:
    if h.divisible:
        if x.size > BLOCK:
            return _in_blocks(formula, x)
        result = formula(x) if x.ndim else np.array(formula(x[None])[0])
        return result if result.dtype is x.dtype and result is not x else result.astype(x.dtype)
    result = np.asarray(formula(x))
    if result.shape != x.shape:
        raise ValueError(f"{h.name}{suffix}: expected a result of the argument's shape {x.shape}, got {result.shape}")
    return result.astype(x.dtype, casting="same_kind", copy=np.may_share_memory(result, x))


def _in_blocks(formula: Formula, x: Array) -> Array:
    result = fresh(x.shape, x.dtype)
    entries, into = x.reshape(-1), result.reshape(-1)

    def work(block: slice) -> None:
        if isinstance(formula, np.ufunc):
            formula(entries[block], out=into[block])
        else:
            into[block] = formula(entries[block])

    in_blocks(work, x.size, passes=4)
    return result
