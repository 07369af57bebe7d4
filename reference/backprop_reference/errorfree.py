"""The few tricks that buy the last digits, each named by the rounding error it removes."""

from contextlib import suppress
from math import fsum, prod
from typing import Any

import numpy as np

from .arguments import Array, rows
from .blocks import BLOCK, LARGE, fresh, in_blocks
from .special import double, exponential, flat, maximum, minimum

Index = Any  # an integer, or an array of one for each column


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
    Long columns begin with dots of short parts, if they lie in memory one after the other.
    If it need not be so `exact`, rows are added in pairs almost to the end: off by half an ULP for each doubling.

    >>> float(total(np.full((100, 2), 0.1))[0]), float(np.cumsum(np.full(100, 0.1))[-1])
    (10.0, 9.99999999999998)
    """
    if a.dtype == np.float32:
        return np.add.reduce(double(a)).astype(np.float32)
    if a.ndim == 1:
        parts = _in_parts(a) if len(a) < MANY else _in_dots(a)
        while len(parts) >= MANY:
            parts = _in_dots(parts)
        with suppress(ValueError, OverflowError):  # infinite
            return a.dtype.type(fsum(parts.tolist()))
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


def _in_parts(a: Array) -> Array:
    """The sums of a few neighbours each, fewer than 128 in all: what each loses to rounding averages out."""
    size, rest = divmod(len(a), PARTS)
    if size < 2:
        return a
    sums = np.add.reduce(a[: len(a) - rest].reshape(PARTS, size), axis=1)
    return np.concatenate([sums, a[len(a) - rest :]]) if rest else sums


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
    """The products, or where columns lie in memory one after the other, sums of many neighbours each: fewer rows."""
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


# How many terms are added in one chain, or in as many as BLAS's kernel has: of equal terms, whose roundings all go the
# same way, a chain of k loses up to k / 4 ULP, of terms made for it k / 2. `δ W` of a vector is four chains, as a rule.
VECTOR, MATRIX, WIDE = 128, 32, 32
DOT = 1 << 12  # bytes of a vector: BLAS's dot has 256 bytes of chains
NARROW = 16  # columns, up to which their dots take hardly longer than BLAS's product, whatever the layout
OUTER = 1 << 18  # bytes of an outer product, up to which BLAS's is the faster one
SHORT = 512  # columns, up to which argmax takes as long as anything else
PARTS = 64  # in which the sum of a long vector begins
DOTTED = 512  # bytes: of so many neighbours BLAS's dot adds two in a chain
MANY = 512  # rows, from which the sums of so many neighbours are enough for what they lose to average out
WHOLE = 1 << 21  # entries of the products of blocks, up to which one call is faster than a call for each part


def product(a: Array, b: Array) -> Array:
    """`a b`, with sums over many terms added in blocks, and the blocks in pairs: `a (…,k)`, `b (k,p)`.

    BLAS adds in chains as long as it likes. Where both matrices are more than 32 wide the product is BLAS's own: short
    blocks would take three to six times as long. `backprop accuracy` shows what that costs, of equal terms.

    >>> product(np.ones(1000), np.full((1000, 2), 0.1))
    array([100., 100.])
    """
    if a.ndim == 1:
        if len(a) > MATRIX and (b.flags.f_contiguous or (b.shape[1] <= NARROW and len(a) <= VECTOR)):
            return _dots(b.T, a)
        if len(a) <= _chain(b.shape[1]):
            return a.dot(b)  # `@` takes twice as long to start
    k, p = b.shape
    m = prod(a.shape[:-1])
    if m == 1 and a.ndim > 1:
        return product(a.reshape(k), b).reshape(*a.shape[:-1], p)
    if p == 1 and k > MATRIX and a.flags.c_contiguous:
        return _dots(a, b[:, 0])[..., None]
    block = _chain(max(m, p)) if min(m, p) == 1 else MATRIX
    if k <= block or min(m, p) > WIDE:
        if m * p * a.itemsize < LARGE:
            return a @ b
        return np.matmul(a, b, out=fresh((*a.shape[:-1], p), np.result_type(a, b)))
    left = a.reshape(m, k)
    if k // block * m * p <= WHOLE:
        return _in_pairs(left, b, block).reshape(*a.shape[:-1], p)
    result = fresh((m, p), np.result_type(a, b))

    def work(part: slice) -> None:
        i, j = (slice(None), part) if m < p else (part, slice(None))
        result[i, j] = _in_pairs(left[i], b[:, j], block)

    in_blocks(work, max(m, p), k // block * min(m, p), passes=2, block=2 * BLOCK)
    return result.reshape(*a.shape[:-1], p)


def _chain(width: int) -> int:
    """How many terms BLAS may add in a product of a vector and a matrix of this width."""
    return MATRIX if width % 4 else VECTOR  # it has four sums for each column, but not for those left over from fours


def preactivation(W: Array, x: Array, b: Array) -> Array:
    """`W x + b`, `x (n)` or a batch `(…,n)`: in one new array.

    >>> preactivation(np.array([[1.0, 2.0]]), np.array([3.0, 4.0]), np.array([0.5]))
    array([11.5])
    """
    u = product(x, W.T)
    u += b
    return u


def _in_pairs(a: Array, b: Array, block: int) -> Array:
    """`a b` of matrices: the products of all blocks, then the sums of pairs of them, and so on."""
    (m, k), p = a.shape, b.shape[1]
    count, whole = k // block, k - k % block
    parts = np.empty((-(-k // block), m, p), np.result_type(a, b))
    blocks = a[:, :whole].reshape(m, count, block).swapaxes(0, 1), b[:whole].reshape(count, block, p)
    np.matmul(*blocks, out=parts[:count])
    if whole < k:
        np.matmul(a[:, whole:], b[whole:], out=parts[-1])
    while len(parts) > 2:
        half = (len(parts) + 1) // 2
        parts[: len(parts) - half] += parts[half:]
        parts = parts[:half]
    total: Array = np.add(*parts)  # a new array, not the first of the parts, which would keep all of them alive
    return total


def _dots(W: Array, x: Array) -> Array:
    """`W x`, row by row; of a long `x` in parts and a rest."""
    if x.nbytes <= DOT:
        return np.vecdot(W, x)
    part = DOT // x.itemsize
    count, rest = divmod(len(x), part)
    whole = len(x) - rest
    dots = np.vecdot(W[..., :whole].reshape(*W.shape[:-1], count, part), x[:whole].reshape(count, part))
    u: Array = np.add.reduce(dots, -1)
    return u + np.vecdot(W[..., whole:], x[whole:]) if rest else u


def sum_of_rows(a: Array) -> Array:
    """`Σ` over all batch axes: its error grows with log(batch), that of `sum(0)` with the batch.

    >>> sum_of_rows(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    array([ 9., 12.])
    """
    if a.ndim == 1:
        return a.copy()
    a = rows(a)
    return product(np.ones(len(a), a.dtype), a)


def sum_of_outer_products(delta: Array, x: Array) -> Array:
    """`Σ δᵀ xᵀ` over all batch axes: the gradient by the matrix of `W x`.

    >>> sum_of_outer_products(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[3., 4.],
           [6., 8.]])
    """
    if delta.ndim > 1:
        delta, x = rows(delta), rows(x)
        if len(delta) != 1:
            return product(delta.T, x)
        delta, x = delta[0], x[0]
    if delta.nbytes * len(x) <= OUTER:
        return delta[:, None].dot(x[None])
    result = fresh((len(delta), len(x)), np.result_type(delta, x))

    def work(part: slice) -> None:
        np.multiply(delta[part, None], x, out=result[part])

    with np.errstate():  # gives NumPy's buffers their size back
        np.setbufsize(128)  # entries: with more, x and δ are copied into them first, which takes three times as long
        in_blocks(work, len(delta), len(x), block=8 * BLOCK)  # nothing in between: long calls
    return result


def centre(delta: Array, w: Array, k: Index, one: Any, d: Array, out: Array) -> None:
    """`δ − μ` for `μ = Σ_j s_j δ_j` with `s_k = max s`: right to a few ULP of `Σ_j s_j |δ_i − δ_j|`.

    `w = one · s`, so that where `s` is subnormal `w` is not; it is written to, and restored. `d` is a buffer. The mean
    is that of `δ − δ_k`, so a constant `δ` gives exact zeros. Rounded, it is no farther from `μ` than any `δ_i` is:
    they are floats too.

    >>> delta = np.array([1e9, 1e9])
    >>> centre(delta, np.array([0.3, 0.7]), 1, 1.0, np.empty(2), out=delta)
    >>> delta
    array([0., 0.])
    """
    delta_k = flat(delta)[k]
    np.subtract(delta, delta_k, out=d)
    mean = w.dot(d) if w.ndim == 1 else _sums_of_pairs(_in_dots(w, d), 1)[0]
    np.subtract(delta, delta_k + mean / one, out=out)
    weights, lost = flat(w), flat(out)[k]  # `w_k lost` meets all others last: they may be as large and opposite
    w_k, weights[k] = weights[k], 0
    lost *= w_k
    lost += total(_in_dots(w, out))
    weights[k] = w_k
    out -= lost / one  # what the mean lost to rounding


def exponentials(x: Array, x_k: Array, f: Array) -> bool:
    """`f = c eˣ` with one factor `c` for each column, such that that of `x_k = max x` is far from the range's end.

    Where all of `x` is, that is `eˣ`, of exact arguments. Elsewhere it is `2¹⁰⁰ exp(x − x_k)`, with what the difference
    lost to rounding given back: exp magnifies it by the size of the exponent. Returns whether every difference of two
    entries is finite for sure.

    >>> f = np.empty(2)
    >>> exponentials(np.array([1000.0, 300.0]), np.array(1000.0), f)
    True
    >>> float(f[1] / f[0]) == float(np.exp(-700.0))
    True
    """
    edge, huge = (600, 2.0**1000) if x.dtype == np.float64 else (60, 2.0**100)
    low, high = minimum(x), maximum(x_k)
    if -edge < low and high < edge:
        exponential(x, f)
        return True
    finite = bool(-huge < low and high < huge)
    if x.dtype == np.float32:  # in float64 the difference is exact, or as good as that
        d = np.subtract(x, x_k, dtype=np.float64)
        np.multiply(np.exp(d, out=d), 2.0**100, out=f, casting="same_kind")
    else:
        d, lost = difference(x, x_k)
        np.exp(np.maximum(d, -edge), out=f)
        f *= 2.0**100
        if not (finite and high - low < edge):
            f *= np.exp(np.minimum(d + edge, 0))
        f += f * lost
    return finite
