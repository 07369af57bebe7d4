"""Products of matrices and vectors, and sums over a batch: BLAS adds in short blocks, whose sums are added in pairs."""

from math import prod

import numpy as np

from ..signature import Array, rows
from .parallel import BLOCK, LARGE, fresh, in_blocks
from .range import bounded, finite, made_again

# How many terms are added in one chain, or in as many as BLAS's kernel has: of equal terms, whose roundings all go the
# same way, a chain of k loses up to k / 4 ULP, of terms made for it k / 2. `δ W` of a vector is four chains, as a rule.
VECTOR, MATRIX, WIDE = 128, 32, 32
DOT = {8: 256, 4: 1024}  # terms, by their bytes: BLAS's dot has 16 chains of float64 or more, 32 of float32 or more
NARROW = 16  # columns, up to which their dots take hardly longer than BLAS's product, whatever the layout
OUTER = 1 << 18  # bytes of an outer product, up to which BLAS's is the faster one
WHOLE = 1 << 21  # entries of the products of blocks, up to which one call is faster than a call for each part


def product(a: Array, b: Array) -> Array:
    """`a b`, with sums over many terms added in blocks, and the blocks in pairs: `a (…,k)`, `b (k,p)`.

    BLAS alone may add all terms one after the other. Where both matrices are more than 32 wide the product is BLAS's
    own: short blocks would take three to six times as long. `backprop accuracy` shows what that costs.
    A sum that is a number is one, whatever its partial sums are.

    >>> product(np.ones(1000), np.full((1000, 2), 0.1))
    array([100., 100.])
    """
    u = _product(a, b)
    if a.size + b.size < u.size and bounded(a, b):
        return u
    return u if finite(u) else made_again(u, lambda rows, c: _product(a[rows] * c, b * c), axes=1)


def _product(a: Array, b: Array) -> Array:
    """`a b`, where no partial sum overflows."""
    if a.ndim == 1:
        if len(a) <= MATRIX:
            return a.dot(b)  # `@` takes twice as long to start
        if b.flags.f_contiguous or (b.shape[1] <= NARROW and len(a) <= VECTOR):
            return _dots(b.T, a)
        if len(a) <= _chain(b.shape[1]):
            return a.dot(b)
    k, p = b.shape
    m = prod(a.shape[:-1])
    if m == 1 and a.ndim > 1:
        return _product(a.reshape(k), b).reshape(*a.shape[:-1], p)
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
    u = _product(x, W.T)
    u += b
    return u if finite(u) else made_again(u, lambda rows, c: _product(x[rows] * c, W.T * c) + b * c * c, axes=1)


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
        parts[: len(parts) - half] += parts[half:]  # in place: the parts may be large
        parts = parts[:half]
    total: Array = np.add(*parts)  # a new array, not the first of the parts, which would keep all of them alive
    return total


def _dots(W: Array, x: Array) -> Array:
    """`W x` as a dot product for each row; a long `x` in parts, whose sums are added."""
    part = DOT[x.itemsize]
    count, rest = divmod(len(x), part)
    if count == 0 or len(x) == part:
        return np.vecdot(W, x)
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
