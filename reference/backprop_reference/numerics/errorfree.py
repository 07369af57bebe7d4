"""The few tricks that buy the last digits, each named by the rounding error it removes."""

from contextlib import suppress
from math import fsum, inf
from typing import Any

import numpy as np

from ..signature import Array
from .special import exponential, flat, maximum, minimum

Index = Any  # an integer, or an array of one for each column

SHORT = 512  # columns, up to which argmax takes as long as anything else
DOTTED = 512  # bytes: of so many neighbours BLAS's dot adds two in a chain
LONG = 1 << 16  # entries, up to which BLAS's chains in float64 lose nothing that float32 could see
MANY = 512  # rows, from which the sums of so many neighbours are enough for what they lose to average out


@np.errstate(invalid="ignore", over="ignore")
def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """`d = a − b` rounded, and what the rounding lost: `a − b = d + lost` exactly (Knuth's TwoSum).

    Where `d` is infinite or NaN, nothing finite was lost: `lost` is 0.

    >>> d, lost = difference(np.array([1.0]), np.array([1e-17]))
    >>> float(d[0]), float(lost[0])
    (1.0, -1e-17)
    """
    d = a - b
    shift = d - a
    lost = (a - (d - shift)) - (b + shift)
    return d, np.where(np.isfinite(lost), lost, 0)


def largest(x: Array) -> Index:
    """Where each column's largest entry is: `flat(x)[k]` is that entry.

    >>> x = np.array([[1.0, 7.0], [5.0, 2.0]])
    >>> flat(x)[largest(x)], flat(x.T)[largest(x.T)]
    (array([5., 7.]), array([7., 5.]))
    """
    if x.ndim == 1:
        return x.argmax()
    n, batch = x.shape
    columns = np.arange(batch)
    if not x.flags.c_contiguous:
        return x.argmax(0) + columns * n
    if batch > SHORT and n <= 255:  # uint8
        top = np.maximum.reduce(x)
        if not np.isnan(maximum(top)):
            marks = (x == top) * np.arange(n, 0, -1, dtype=np.uint8)[:, None]  # argmax takes three times as long
            return (n - np.maximum.reduce(marks).astype(np.intp)) * batch + columns
    return x.argmax(0) * batch + columns


def split_off(a: Array, k: Index, exact: bool = True) -> tuple[Array, Array]:
    """`a_k` and the `total` of the others down the columns; `Σ a − a_k` would cancel where `a_k` is almost everything.

    >>> a_k, others = split_off(np.array([1.0, 1e-20]), 0)
    >>> float(a_k), float(others)
    (1.0, 1e-20)
    """
    entries = flat(a)
    a_k, entries[k] = entries[k], 0
    others = total(a, exact)
    entries[k] = a_k
    return a_k, others


def total(a: Array, exact: bool = True) -> Array:
    """`Σ a` down the columns, right to an ULP or so of `Σ|a|`, where NumPy's sums of a hundred terms lose up to ten.

    In float64 rows are added in pairs until few are left, then the leading bits of those, which is exact, and what
    remains of them: with `σ` above all sums, `(a + σ) − σ` has the bits of `a` above `ulp(σ)` (Rump, Ogita, Oishi).
    Long columns that are contiguous in memory begin with dot products of short parts.
    If not `exact`, rows are added in pairs to the end: half an ULP of error for each doubling.

    >>> float(total(np.full((100, 2), 0.1))[0]), float(np.cumsum(np.full(100, 0.1))[-1])
    (10.0, 9.99999999999998)
    """
    if a.dtype == np.float32:
        return np.add.reduce(a, dtype=np.float64).astype(np.float32)
    if a.ndim == 1:
        while len(a) >= MANY:
            a = _in_dots(a)
        with suppress(ValueError, OverflowError):  # infinite
            return a.dtype.type(fsum(a.tolist()))
    few = 1 if not exact else 8 if len(a) <= 16 else 16  # exactness takes seven passes over them
    if len(a) >= MANY:
        a, few = _in_dots(a), 4 * few
    a = _sums_of_pairs(np.ascontiguousarray(a), few)
    if len(a) == 1:
        return a[0].copy()
    top = np.maximum(np.maximum.reduce(a), -np.minimum.reduce(a))
    within = top < np.finfo(np.float64).max / (8 * len(a))
    sigma = (4 * len(a)) * np.where(within, top, 0)
    bits = a + sigma
    bits -= sigma
    u: Array = np.add.reduce(bits)
    u += np.add.reduce(np.subtract(a, bits, out=bits))
    return u if within.all() else np.where(within, u, _sums_of_pairs(a, 1)[0])


def _sums_of_pairs(a: Array, few: int) -> Array:
    """Row and row added, and so on, until few are left."""
    while len(a) > few:
        half, odd = divmod(len(a), 2)
        pairs = a[:half] + a[half : 2 * half]
        if odd:
            pairs[0] += a[-1]
        a = pairs
    return a


def _in_dots(a: Array, b: Array | None = None) -> Array:
    """Terms `a b` to be added: each product, or if columns are contiguous in memory, sums of many neighbours."""
    if a.ndim == 2 and a.flags.c_contiguous:
        return a if b is None else a * b
    n, size = len(a), DOTTED // a.itemsize
    count = n // size
    whole = count * size
    sums = np.empty((count + n - whole, *a.shape[1:]), a.dtype)
    b_parts = np.ones(size, a.dtype) if b is None else _neighbours(b[:whole], size)
    np.vecdot(_neighbours(a[:whole], size), b_parts, out=sums[:count].T)
    np.multiply(a[whole:], 1 if b is None else b[whole:], out=sums[count:])
    return sums


def _neighbours(a: Array, size: int) -> Array:
    """`(batch, n / size, size)`, a view of columns one after the other."""
    return a.T.reshape(*a.shape[1:], len(a) // size, size)


def sum_of_products(a: Array, b: Array) -> Array:
    """`Σ a b` down the columns, of float64: for those who correct it, or round it to float32.

    >>> float(sum_of_products(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    11.0
    """
    if a.ndim == 1 and len(a) <= LONG:
        return a.dot(b)
    return _sums_of_pairs(_in_dots(a, b), 1)[0]


def centre(delta: Array, w: Array, k: Index, one: Any, d: Array, out: Array) -> None:
    """`δ − μ` for `μ = Σ_j s_j δ_j` with `s_k = max s`: right to a few ULP of `Σ_j s_j |δ_i − δ_j|`.

    `w = one · s`, so that where `s` is subnormal `w` is not; it is written to, and restored. `d` is a buffer. The mean
    is that of `δ − δ_k`, so a constant `δ` gives exact zeros. Rounded, it is no
    farther from `μ` than any `δ_i`, which are floats, too.

    >>> delta = np.array([1e9, 1e9])
    >>> centre(delta, np.array([0.3, 0.7]), 1, 1.0, np.empty(2), out=delta)
    >>> delta
    array([0., 0.])
    """
    delta_k = flat(delta)[k]
    np.subtract(delta, delta_k, out=d)
    mean = sum_of_products(w, d)
    np.subtract(delta, delta_k + mean / one, out=out)
    weights, lost = flat(w), flat(out)[k]  # `w_k lost` meets all others last: they may be as large and opposite
    w_k, weights[k] = weights[k], 0
    lost *= w_k
    lost += total(_in_dots(w, out))
    weights[k] = w_k
    out -= lost / one  # what the mean lost to rounding


def exponentials(x: Array, x_k: Array, f: Array) -> float:
    """`f = c eˣ`, with a factor `c` for each column that keeps `f_k`, the largest, far from the ends of the range.

    `c = 1` if no `eˣ` is near them: then exp takes `x` as it is. Otherwise `f = 2¹⁰⁰ exp(x − x_k)`, corrected for what
    the difference lost to rounding, which exp would magnify. Returns the `spread`, which no difference of two entries
    in one column exceeds: infinite, if one may be.

    >>> f = np.empty(2)
    >>> exponentials(np.array([1000.0, 300.0]), np.array(1000.0), f)
    700.0
    >>> float(f[1] / f[0]) == float(np.exp(-700.0))
    True
    """
    edge, huge = (600, 2.0**1000) if x.dtype == np.float64 else (60, 2.0**100)
    low, high = float(minimum(x)), float(maximum(x_k))
    spread = high - low if high - low < huge else inf
    if -edge < low and high < edge:
        exponential(x, f)
        return spread
    if x.dtype == np.float32:  # in float64 the difference is exact, or as good as that
        d = np.subtract(x, x_k, dtype=np.float64)
        np.multiply(np.exp(d, out=d), 2.0**100, out=f, casting="same_kind")
    else:
        d, lost = difference(x, x_k)
        np.exp(np.maximum(d, -edge), out=f)
        f *= 2.0**100
        if spread >= edge:
            f *= np.exp(np.minimum(d + edge, 0))
        f += f * lost
    return spread
