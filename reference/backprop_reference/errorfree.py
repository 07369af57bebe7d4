"""The few tricks that buy the last digits, each named by the rounding error it removes."""

from typing import Any

import numpy as np

from .arguments import Array, rows
from .special import double


def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """`d = a − b` rounded, and what the rounding lost: `a − b = d + lost` exactly (Knuth's TwoSum).

    Where `d` is infinite or NaN, nothing finite was lost: `lost` is 0.

    >>> d, lost = difference(np.array([1.0]), np.array([1e-17]))
    >>> float(d[0]), float(lost[0])
    (1.0, -1e-17)
    """
    with np.errstate(invalid="ignore", over="ignore"):
        d = a - b
        shift = d - a
        lost = (a - (d - shift)) - (b + shift)
    return d, np.where(np.isfinite(lost), lost, 0)


Index = tuple[Any, ...]


def largest(x: Array) -> Index:
    """The index `k` of each row's largest entry: `x[k]` is that entry, without the last axis.

    >>> x = np.array([[1.0, 5.0], [7.0, 2.0]])
    >>> x[largest(x)]
    array([5., 7.])
    """
    return (*np.indices(x.shape[:-1], sparse=True), x.argmax(-1))


def sum_without(a: Array, k: Index) -> Array:
    """`Σ_{i≠k} a_i`, kept as an axis of 1; `Σ a − a_k` would cancel where `a_k` is almost everything.

    >>> sum_without(np.array([1.0, 1e-20]), (0,))
    array([1.e-20])
    """
    a = a.copy()
    a[k] = 0
    return a.sum(-1, keepdims=True)


def sum_of_rows(a: Array) -> Array:
    """`Σ` over all batch axes, folded in halves: its error grows with log(batch), that of `sum(0)` with the batch.

    >>> sum_of_rows(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    array([ 9., 12.])
    """
    a = rows(a)
    while len(a) > 1:
        half, rest = a[: (len(a) + 1) // 2].copy(), a[(len(a) + 1) // 2 :]
        half[: len(rest)] += rest
        a = half
    return a.sum(0)


def centre(delta: Array, s: Array, k: Index) -> None:
    """`δ ← δ − μ`, in place, for `μ = Σ_j s_j δ_j` with `s_k = max s`: right to a few ULP of `Σ_j s_j |δ_i − δ_j|`.

    The mean is that of `δ − δ_k`, so a constant `δ` becomes exact zeros. Rounded, it is no farther from `μ` than any
    `δ_i` is: they are floats too.

    >>> delta = np.array([1e9, 1e9])
    >>> centre(delta, np.array([0.3, 0.7]), (1,))
    >>> delta
    array([0., 0.])
    """
    with np.errstate(invalid="ignore"):
        delta_k = delta[k][..., None]
        d = delta_k - delta
        delta -= delta_k - np.einsum("...i,...i", s, d)[..., None]
        delta -= np.multiply(s, delta, out=d).sum(-1, keepdims=True)  # the rounding of the mean itself


def exponentials(x: Array, x_k: Array) -> Array:
    """`c eˣ` with one factor `c` for each row, such that `c exp(x_k)` for `x_k = max x` is far from every range's end.

    Where all of `x` is, that is `eˣ`, of exact arguments. Elsewhere it is `2¹⁰⁰ exp(x − x_k)`, with what the difference
    lost to rounding given back: exp magnifies it by the size of the exponent.

    >>> f = exponentials(np.array([1000.0, 300.0]), np.array([1000.0]))
    >>> float(f[1] / f[0]) == float(np.exp(-700.0))
    True
    """
    edge = 600 if x.dtype == np.float64 else 60
    if -edge < x.min(initial=0) and x_k.max(initial=0) < edge:
        return _exp(x)
    d, lost = difference(x, x_k)
    f = _exp(np.maximum(d, -edge)) * x.dtype.type(2.0**100) * _exp(np.minimum(d + edge, 0))
    return f + f * lost


def _exp(x: Array) -> Array:
    """eˣ by way of float64: NumPy's exp of float32 is off by up to 2.4 ULP."""
    return np.exp(double(x)).astype(x.dtype, copy=False)
