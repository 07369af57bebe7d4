"""The few tricks that buy the last digits, each named by the rounding error it removes."""

import numpy as np

from .arguments import Array


def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """`d = a − b` rounded, and what the rounding lost: `a − b = d + lost` exactly (Knuth's TwoSum).

    Where `d` is infinite or NaN, nothing finite was lost: `lost` is 0.

    >>> d, lost = difference(np.array([1.0]), np.array([1e-17]))
    >>> float(d[0]), float(lost[0])
    (1.0, -1e-17)
    """
    with np.errstate(invalid="ignore"):
        d = a - b
        shift = d - a
        lost = (a - (d - shift)) - (b + shift)
    return d, np.where(np.isfinite(lost), lost, 0)


def sum_without(a: Array, k: Array) -> Array:
    """`Σ_{i≠k} a_i`, kept as an axis of 1; `Σ a − a_k` would cancel where `a_k` is almost everything.

    >>> sum_without(np.array([1.0, 1e-20]), np.array([0]))
    array([1.e-20])
    """
    a = a.copy()
    np.put_along_axis(a, k, 0, -1)
    return a.sum(-1, keepdims=True)


def centred(delta: Array, s: Array) -> Array:
    """`δ − c` with `c` the entry of `δ` nearest to its mean under `s`, so that `Σ_j s_j (δ_i − δ_j)` loses nothing.

    With such a `c`, `|δ_i − c| ≤ 2 Σ_j s_j |δ_i − δ_j|` for every `i`, and a constant `δ` gives exact zeros.
    """
    with np.errstate(invalid="ignore"):
        d = delta - (s * delta).sum(-1, keepdims=True)
        d -= (s * d).sum(-1, keepdims=True)  # the mean's own rounding, where δ is large and nearly constant
        nearest = np.abs(d).argmin(-1)[..., None]
        return delta - np.take_along_axis(delta, nearest, -1)
