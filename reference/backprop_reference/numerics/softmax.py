"""Softmax and cross-entropy of arrays that have been checked, a single example or a batch: the numerics.

In formulas `s` is the softmax and `ŷ = s(x)`. Where one probability is close to 1, the textbook's formulas lose
all their digits in `1 − ŷ_k`, in `log ŷ_k` and in the rounding of `x − max x`; `parts` is what avoids it.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np

from ..signature import Array, rows
from .errorfree import Index, centre, exponentials, largest, split_off, sum_of_products, total
from .parallel import BLOCK, fresh, in_blocks
from .special import flat, maximum

FEW = 48  # classes

# Below, arrays have the classes first: `x (n)`, or `x (n, batch)`.


@np.errstate(under="ignore", invalid="ignore")  # 0 and subnormals are right answers, and NaN of infinities
def _down_columns(
    formula: Callable[..., None], results: Sequence[Array], arguments: Sequence[Array], spare: int = 0
) -> None:
    """`formula(*results, *between, *arguments)` of a batch in blocks of its rows, transposed: the classes come first.

    Where the classes are few, blocks are copied, so that sums and maxima run over many examples at a time. In between
    are `spare` buffers like the first of the arguments.
    """
    x = arguments[0]
    if x.ndim == 1:
        return formula(*results, *(np.empty_like(x) for _ in range(spare)), *arguments)
    n = x.shape[-1]
    to, given = ([rows(a) if a.ndim == x.ndim else a.reshape(-1) for a in arrays] for arrays in (results, arguments))

    def work(block: slice) -> None:
        columns = [a[block].T for a in to]
        inputs = [a[block].T for a in given]
        if n < FEW:
            columns, inputs = [np.empty(a.shape, a.dtype) for a in columns], [np.ascontiguousarray(a) for a in inputs]
        formula(*columns, *(np.empty_like(inputs[0]) for _ in range(spare)), *inputs)
        if n < FEW:
            for a, column in zip(to, columns, strict=True):
                a[block] = column.T

    if x.size:
        np.setbufsize(1024)  # entries: a number of each column is copied into longer buffers, for twice the time
        in_blocks(work, len(to[0]), n, passes=16, block=BLOCK if n < FEW else 8 * BLOCK)
    return None


def parts(x: Array, f: Array) -> tuple[float, Index, Array, Array]:
    """`spread, k, f_k, others` of the exponentials, which `f` gets: `f = c exp(x)`, see `exponentials`.

    No difference of two logits exceeds `spread`, `k` is the index of the largest, and `others = Σ_{i≠k} f_i`. So
    `1 − s_k` is `others / (f_k + others)` and `−log s_k` is `log1p(others / f_k)`: nothing cancels.
    """
    k = largest(x)
    spread = exponentials(x, flat(x)[k], f)
    return spread, k, *split_off(f, k)


# ── Softmax ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def softmax_of(x: Array) -> Array:
    """`u_i = exp(x_i) / Σ_j exp(x_j)`."""
    u = fresh(x.shape, x.dtype)
    _down_columns(_softmax, [u], [x])
    return u


def _softmax(u: Array, x: Array) -> None:
    _, _, f_k, others = parts(x, u)
    u /= f_k + others


def softmax_pulled_back(delta: Array, x: Array) -> Array:
    """`dx_i = s_i (δ_i − Σ_j s_j δ_j)`."""
    dx = fresh(x.shape, x.dtype)
    if x.dtype == np.float64:
        _down_columns(_softmax_vjp, [dx], [x, delta], spare=2)
    else:
        _down_columns(_softmax_vjp_in_double, [dx], [x, delta])
    return dx


def _softmax_vjp(dx: Array, w: Array, d: Array, x: Array, delta: Array) -> None:
    spread, k, f_k, others = parts(x, w)
    g = f_k + others
    one, scale = _units(spread, delta, d)
    w /= g / one  # s, out of the reach of the subnormals: there each would lose half of itself
    if scale is not None:  # the difference of two huge cotangents must not overflow
        delta = np.multiply(delta, scale, out=dx)
    centre(delta, w, k, one, d, out=dx)
    dx *= w
    if scale is not None:
        dx /= one * scale


def _softmax_vjp_in_double(dx: Array, x: Array, delta: Array) -> None:
    """`softmax_pulled_back` of float32 in float64: no difference overflows, and the mean's rounding is negligible."""
    k = largest(x)
    f, d = x.astype(np.float64), delta.astype(np.float64)
    f -= flat(f)[k]
    d -= flat(d)[k]
    np.exp(f, out=f)
    g = np.add.reduce(f)
    mean = sum_of_products(f, d) / g
    d -= mean + 0 * mean  # NaN, if a cotangent is infinite, whichever it is
    d *= f
    d *= 1 / g
    dx[...] = d


def _units(spread: float, delta: Array, buffer: Array) -> tuple[float, Array | None]:
    """Powers of two: `one` lifts a probability above the subnormals, `scale` keeps `one · δ` in range.

    They are 1 and None where no product of a probability, at least `exp(-spread) / n`, and a difference, at least an
    ULP of the largest `δ`, is subnormal; the last product, with `s_i`, may be, since it is rounded once.
    """
    size = np.abs(delta, out=buffer)
    top = maximum(size) if size.ndim == 1 else np.maximum.reduce(size)
    if spread < 200 and ((top == 0) | ((top > 2.0**-170) & (top < 2.0**340))).all():
        return 1.0, None
    one = 2.0**53
    return one, np.where(top > sys.float_info.max / one, 0.5 / one, 0.5)


# ── Cross-entropy of the softmax ────────────────────────────────────────────────────────────────────────────────────


def _minus_log_softmax(cost: Array, x: Array, spread: float, k: Index, f_k: Array, others: Array) -> float:
    """`cost = −log ŷ_i = (x_k − x_i) + log(1 + others / f_k)`: both terms are positive.

    In units of 1, or of 2 where the difference of two logits may be infinite. Returns which.
    """
    extra = np.log1p(others / f_k)
    if spread < np.inf:
        np.subtract(flat(x)[k], x, out=cost)
        cost += extra
        return 1.0
    np.subtract(flat(x)[k] / 2, x / 2, out=cost)
    cost += extra / 2
    return 2.0


def _slope(f: Array, y: Array, k: Index, f_k: Array, others: Array, y_k: Array, y_others: Array) -> None:
    """`f ← Σ_j y_j ŷ_i − y_i`, and where that cancels, for the largest, `ŷ_k Σ_{j≠k} y_j − y_k (1 − ŷ_k)`."""
    g = f_k + others
    f /= g
    y_sum = y_k + y_others
    if (y_sum != 1).any():
        f *= y_sum
    f -= y
    flat(f)[k] = f_k / g * y_others - y_k * (others / g)


def cross_entropy(x: Array, y: Array) -> Array:
    """`u = −Σ_i y_i log ŷ_i`."""
    u = np.empty_like(x, shape=x.shape[:-1])
    _down_columns(_cross_entropy, [u], [x, y], spare=1)
    return u[()]


def _cross_entropy(u: Array, f: Array, x: Array, y: Array) -> None:
    _weighted(u, f, y, _minus_log_softmax(f, x, *parts(x, f)))


def _weighted(u: Array, cost: Array, y: Array, unit: float) -> None:
    """`Σ_i y_i cost_i`, where 0 · log 0 = 0."""
    if unit > 1:
        np.copyto(cost, 0, where=(cost == np.inf) & (y == 0))
    cost *= y
    u[...] = total(cost)
    if unit > 1:
        u *= unit


def cross_entropy_vjp(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """`dx_i = δ (Σ_j y_j ŷ_i − y_i)` and `dy = −δ log ŷ`."""
    dx, dy = fresh(x.shape, x.dtype), fresh(x.shape, x.dtype)
    _down_columns(_cross_entropy_vjp, [dx, dy], [x, y, delta])
    return dx, dy


def _cross_entropy_vjp(dx: Array, dy: Array, x: Array, y: Array, delta: Array) -> None:
    spread, k, f_k, others = parts(x, dx)
    dy[...] = y
    y_k, y_others = split_off(dy, k, exact=False)
    unit = _minus_log_softmax(dy, x, spread, k, f_k, others)
    _slope(dx, y, k, f_k, others, y_k, y_others)
    dx *= delta
    dy *= delta
    if unit > 1:
        dy *= unit


def cross_entropy_and_slope(x: Array, y: Array) -> tuple[Array, Array]:
    """The loss and `∂u/∂x` in one go."""
    u, dx = np.empty(x.shape[:-1], x.dtype), fresh(x.shape, x.dtype)
    _down_columns(_cross_entropy_and_slope, [u, dx], [x, y], spare=1)
    return u[()], dx


def _cross_entropy_and_slope(u: Array, dx: Array, cost: Array, x: Array, y: Array) -> None:
    spread, k, f_k, others = parts(x, dx)
    cost[...] = y
    y_k, y_others = split_off(cost, k, exact=False)
    _weighted(u, cost, y, _minus_log_softmax(cost, x, spread, k, f_k, others))
    _slope(dx, y, k, f_k, others, y_k, y_others)
