"""The ends of the range: results that underflow without a warning, and sums that overflow only on their way.

A partial sum of numbers up to the largest may be infinite where the sum is a number. So a sum that is infinite or NaN
is made once more, of numbers scaled by a power of two; nobody else pays for more than a look at the result.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from ..signature import Array
from .special import flat

# The powers of two, by the bytes of a number. With both factors scaled no sum of 2⁶⁰ products overflows (of float32,
# 2³⁰). What becomes subnormal loses nothing that the sum would show: its largest term is beyond the range, unscaled.
SCALES = {8: 2.0**-544, 4: 2.0**-80}

# For operations with sums: where a result is a number it is the right one, and an infinite one is plain to see.
quiet = np.errstate(under="ignore", over="ignore", invalid="ignore")

Again = Callable[[Any, Any], Array]


def finite(u: Any) -> bool:
    """Whether all numbers are finite: the sum of their squares says so in a fifth of the time, if it does not overflow.

    >>> finite(np.array([1.0, 1e100])), finite(np.array([1.0, np.nan]))
    (True, False)
    """
    if not u.ndim:
        return isfinite(u)
    entries = u if u.ndim == 1 else u.reshape(-1)
    return isfinite(entries.dot(entries)) or bool(np.isfinite(u).all())


def bounded(a: Array, b: Array) -> bool:
    """Whether no sum of products of the two can overflow: by Cauchy and Schwarz its square is `Σ a² Σ b²` at most.

    >>> bounded(np.array([[1.0, 1e100]]), np.array([[3.0], [1e50]]))
    True
    """
    a, b = flat(a), flat(b)
    return isfinite(a.dot(a) * b.dot(b))


def made_again(u: Any, again: Again, axes: int = 0) -> Any:
    """`u`, and each number of it that is not finite from `again(rows, c)`, which is the same times `c²`.

    `rows` picks examples of arguments with batch axes: those with such a number. An example of `u` has `axes` axes.
    An array of a batch is written to. NaN in gives NaN out, infinities what IEEE 754 makes of them.

    >>> x = np.array([[1e308, 1e308, -1e308], [1.0, 2.0, 3.0]])
    >>> with np.errstate(all="ignore"):
    ...     made_again(x.sum(-1), lambda rows, c: (x[rows] * c * c).sum(-1))
    array([1.e+308, 6.e+000])
    >>> with np.errstate(all="ignore"):
    ...     made_again(np.array(np.inf), lambda rows, c: (1e-200 * c) * (np.inf * c))
    np.float64(inf)
    """
    c = u.dtype.type(SCALES[u.itemsize])
    rows = ~np.isfinite(u).all(tuple(range(u.ndim - axes, u.ndim))) if u.ndim > axes else ...
    some, scaled = u[rows], again(rows, c) / c / c
    some = np.where(np.isfinite(some) | np.isnan(scaled), some, scaled)  # an infinity times what has become 0 is NaN
    if rows is ...:
        return some[()]
    u[rows] = some
    return u


def sum_of(x: Array) -> Array:
    """`Σ_i x_i` of every example: NumPy sums in pairs.

    >>> with np.errstate(all="ignore"):
    ...     float(sum_of(np.array([1e308, 1e308, -1e308])))
    1e+308
    """
    u: Array = np.add.reduce(x, -1)
    return u if finite(u) else made_again(u, lambda rows, c: np.add.reduce(x[rows] * c * c, -1))


def dot_of(x: Array, y: Array) -> Array:
    """`Σ_i x_i y_i` of every example: in BLAS's dot the error grows with n, in pairs with log n.

    >>> with np.errstate(all="ignore"):
    ...     float(dot_of(np.array([1e200, 1e200, 3e200]), np.array([1e200, -1e200, 1.0])))
    3e+200
    """
    u: Array = np.add.reduce(x * y, -1)
    return u if finite(u) else made_again(u, lambda rows, c: np.add.reduce(x[rows] * c * (y[rows] * c), -1))
