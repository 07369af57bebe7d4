"""What the primitives of a program are for every kind of number, be they floats, bounds, balls or series.

What only moves or picks entries: NumPy's own functions for the plain ones; for gather, scatter and their relatives the
numbers 1, 2, 3 … tell the entries apart. Sums of products, of which a convolution is one. And which entries are in a
window.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .indexing import PICKS, scatter_places
from .program import Array, Equation, Params, as_constant

# ── Entries that change their places ────────────────────────────────────────────────────────────────────────────────


def _broadcast(params: Params, a: Array) -> Array:
    shape = [1] * len(params["shape"])
    for size, axis in zip(a.shape, params["broadcast_dimensions"], strict=True):
        shape[axis] = size
    placed = a.reshape(shape)
    return placed if placed.shape == params["shape"] else np.broadcast_to(placed, params["shape"])


def _slice(params: Params, a: Array) -> Array:
    strides = params["strides"] or [1] * a.ndim
    return a[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _split(params: Params, a: Array) -> list[Array]:
    before, ends = (slice(None),) * params["axis"], accumulate(params["sizes"], initial=0)
    return [a[(*before, slice(start, end))] for start, end in pairwise(ends)]


def padded(config: Sequence[tuple[int, int, int]], a: Array, nothing: Any) -> Array:
    """`lax.pad`: so much before, behind and between the entries, where less than none cuts some off.

    >>> padded([(1, -1, 1)], np.array([5, 6, 7]), 0)
    array([0, 5, 0, 6, 0])
    """
    for axis, (low, high, inner) in enumerate(config):
        if not low == high == inner == 0:
            n = a.shape[axis] + max(a.shape[axis] - 1, 0) * inner
            out = np.full((*a.shape[:axis], n + max(low, 0) + max(high, 0), *a.shape[axis + 1 :]), nothing, a.dtype)
            at: list[slice] = [slice(None)] * a.ndim
            at[axis] = slice(max(low, 0), max(low, 0) + n, inner + 1)
            out[tuple(at)] = a
            at[axis] = slice(max(-low, 0), out.shape[axis] - max(-high, 0))
            a = out[tuple(at)]
    return a


MOVES: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, a: a.transpose(params["dimensions"] or range(a.ndim)).reshape(params["new_sizes"]),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "expand_dims": lambda params, a: np.expand_dims(a, params["dimensions"]),
    "rev": lambda params, a: np.flip(a, params["dimensions"]),
    "slice": _slice,
    "split": _split,
    "concatenate": lambda params, *parts: np.concatenate(parts, params["dimension"]),
    "pad": lambda params, a, nothing: padded(params["padding_config"], a, nothing),
    "tile": lambda params, a: np.tile(a, params["reps"]),
    "stack": lambda params, *parts: np.stack(parts, params["axis"]),
    "unstack": lambda params, a: [np.moveaxis(a, params["axis"], 0)[i, ...] for i in range(a.shape[params["axis"]])],
    "optimization_barrier": lambda params, *v: list(v),
}
SAME = ("neg", "stop_gradient", "copy", "copy_p", "reduce_precision")  # no digit changes

# ── Entries that are picked ─────────────────────────────────────────────────────────────────────────────────────────


def picked(equation: Equation, operands: Sequence[Array], lift: Callable[[Array], Array] = np.asarray) -> Array:
    """The result of one of `PICKS`: entries of its operands, told apart by the numbers 1, 2, 3 …

    What is picked from outside is NaN, or what the program fills in, lifted to a number of the operands' kind.

    >>> from jax import lax
    >>> from .program import traced
    >>> *_, last = traced(lambda x: lax.dynamic_slice(x, (1,), (2,)), np.ones(3)).equations
    >>> picked(last, [np.array([5.0, 6.0, 7.0]), np.array(1)])
    array([6., 7.])
    """
    sources = [a for a in operands if a.dtype.kind in "fO"]
    ends = np.cumsum([1, *(a.size for a in sources)])
    numbers = [np.arange(i, j).reshape(a.shape) for (i, j), a in zip(pairwise(ends), sources, strict=True)]
    places = PICKS[equation.name](equation.params, numbers, *(a for a in operands if a.dtype.kind not in "fO"))
    every = np.concatenate([a.ravel() for a in sources])
    if places.all():
        return np.asarray(every[places - 1], every.dtype)
    filled = equation.params.get("fill_value")
    outside = lift(np.array([np.nan if filled is None else float(filled)]))
    return np.asarray(np.concatenate([outside, every])[places], every.dtype)


def places(equation: Equation, operands: Sequence[Array]) -> tuple[Array, Array]:
    """Of a scatter-add: which updates land in the array, by flat index, and where in the flat array."""
    array, indices, updates = operands
    where = scatter_places(equation.params, array.shape, indices, updates.shape).ravel()
    landed = np.flatnonzero(where)
    return landed, where[landed] - 1


def windows(shape: Sequence[int], size: Sequence[int], params: Params, names: Sequence[str]) -> Array:
    """Of each window of an array of this shape the entries, from 1 in C order, along the last axis; 0 is none.

    `names` are those of the parameters for strides, padding, and the spacing of the array and of the window.

    >>> windows([3], [2], {"by": [2], "pad": [(1, 0)]}, ["by", "pad", "", ""])
    array([[0, 1],
           [2, 3]])
    """
    ones = (1,) * len(shape)
    strides, padding, base, dilation = (params.get(name) or ones for name in names)
    padding = padding if padding is not ones else ((0, 0),) * len(shape)
    config = [(low, high, by - 1) for (low, high), by in zip(padding, base, strict=True)]
    numbers = padded(config, np.arange(1, math.prod(shape) + 1).reshape(shape), 0)
    spans = [(n - 1) * by + 1 for n, by in zip(size, dilation, strict=True)]
    if any(n < span for n, span in zip(numbers.shape, spans, strict=True)):
        counts = [max(n - span + by, 0) // by for n, span, by in zip(numbers.shape, spans, strides, strict=True)]
        return np.zeros((*counts, math.prod(size)), int)
    every = np.lib.stride_tricks.sliding_window_view(numbers, spans) if spans else numbers
    every = every[(*(slice(None, None, by) for by in strides), *(slice(None, None, by) for by in dilation))]
    return every.reshape(*every.shape[: len(shape)], math.prod(size))


POOLING = ("window_strides", "padding", "base_dilation", "window_dilation")


def pooled(params: Params, shape: Sequence[int]) -> Array:
    """The windows of `reduce_window_max` and its relatives."""
    return windows(shape, params["window_dimensions"], params, POOLING)


# ── Sums of products ────────────────────────────────────────────────────────────────────────────────────────────────

BY_TERMS = 2**10  # scalar products; beyond, BLAS is faster


def matmul(a: Array, b: Array) -> Array:
    """`a @ b`; a small one by its terms in their order, since BLAS has another one on each machine.

    So frozen tolerances, which are made of bounds of small products, are the same bytes everywhere.
    """
    if a.size * b.shape[-1] > BY_TERMS:
        return np.matmul(a, b)
    return np.add.reduce(a[..., None] * b[..., None, :, :], -2, np.result_type(a, b))


def contraction(params: Params, a: Array, b: Array, multiplied: Callable[[Array, Array], Array] = matmul) -> Array:
    """`dot_general` by a product of matrices: batch axes first, then those left over from `a`, then those from `b`."""
    order_a, order_b, batch, kept, summed = _axes(params["dimension_numbers"], a.ndim, b.ndim)
    a, b = a.transpose(order_a), b.transpose(order_b)
    left, right = a.shape[batch : batch + kept], b.shape[batch + summed :]
    n = math.prod(a.shape[batch + kept :])
    matrices = a.reshape(*a.shape[:batch], math.prod(left), n), b.reshape(*a.shape[:batch], n, math.prod(right))
    return np.reshape(multiplied(*matrices), (*a.shape[:batch], *left, *right))


@cache
def _axes(numbers: Any, a: int, b: int) -> tuple[list[int], list[int], int, int, int]:
    """The axes of both factors, as batch, kept, summed and as batch, summed, kept; and how many are of each kind."""
    (along_a, along_b), (batch_a, batch_b) = numbers
    rest_a = [i for i in range(a) if i not in (*along_a, *batch_a)]
    rest_b = [i for i in range(b) if i not in (*along_b, *batch_b)]
    return [*batch_a, *rest_a, *along_a], [*batch_b, *along_b, *rest_b], len(batch_a), len(rest_a), len(along_a)


def convolution(
    params: Params,
    a: Array,
    b: Array,
    multiplied: Callable[[Array, Array], Array] = matmul,
    zero: Any = 0.0,
) -> Array:
    """`conv_general_dilated` as a product of matrices: windows of `a` by kernels, group by group."""
    numbers = params["dimension_numbers"]
    a, b = a.transpose(numbers.lhs_spec), b.transpose(numbers.rhs_spec)  # batch or kernel, channel, place
    where = windows(a.shape[2:], b.shape[2:], params, ("window_strides", "padding", "lhs_dilation", "rhs_dilation"))
    out, n = where.shape[:-1], math.prod(where.shape[:-1])
    flat = np.concatenate([np.full((*a.shape[:2], 1), zero, a.dtype), a.reshape(*a.shape[:2], -1)], axis=2)
    parts = flat[:, :, where.reshape(n, -1)]  # batch, channel, place, place within the window
    groups, batches = params["feature_group_count"], params["batch_group_count"]
    if batches > 1:
        parts = parts.reshape(batches, -1, *parts.shape[1:])
    else:
        parts = parts.reshape(len(a), groups, -1, *parts.shape[2:]).swapaxes(0, 1)
    many, count = groups * batches, parts.shape[1]
    summed = parts.shape[2] * parts.shape[4]
    rows = parts.transpose(0, 1, 3, 2, 4).reshape(many, count * n, summed)
    columns = b.reshape(many, len(b) // many, summed).swapaxes(1, 2)
    found = multiplied(rows, columns).reshape(many, count, n, len(b) // many)
    result = found.transpose(1, 0, 3, 2).reshape(count, len(b), *out)
    return result.transpose(np.argsort(numbers.out_spec))


BILINEAR = {"dot_general": contraction, "conv_general_dilated": convolution}


def products(equation: Equation, v: Sequence[Array]) -> int:
    """How many products an entry of one of `BILINEAR` is the sum of."""
    if equation.name == "conv_general_dilated":
        spec = equation.params["dimension_numbers"].rhs_spec
        return max(v[1].size // max(v[1].shape[spec[0]], 1), 1)
    (contracted, _), _ = equation.params["dimension_numbers"]
    return max(math.prod(v[0].shape[axis] for axis in contracted), 1)


# ── Indices and truth values ────────────────────────────────────────────────────────────────────────────────────────


def _iota(params: Params) -> Array:
    shape, axis = params["shape"], params["dimension"]
    numbers = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


WHOLE: Mapping[str, Callable[..., Any]] = {
    "iota": _iota,
    "dim_as_value": lambda params: np.asarray(params["dim"]),
}
LOGIC: Mapping[str, Callable[..., Any]] = {  # of truth values; of integers, JAX's own
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}
COMPARISONS: Mapping[str, Callable[..., Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq_to": np.equal,  # in the total order, where -0 is below 0; here they are one number
    "lt_to": np.less,
    "le_to": np.less_equal,
}
SUMS = {"add": np.add, "sub": np.subtract, "add_any": np.add}


def is_key(a: Any) -> bool:
    """Whether it is a key of `jax.random`, which NumPy does not know."""
    return not isinstance(a, (np.ndarray, np.generic))


def whole(equation: Equation, v: Sequence[Array]) -> Any:
    """The result where no operand holds numbers but indices, truth values or keys of `jax.random`: JAX's own word."""
    found = equation.primitive.bind(*v, **equation.params)
    return list(map(as_constant, found)) if equation.primitive.multiple_results else as_constant(found)


def no_rule(name: str) -> TypeError:
    """What is said of a primitive that nobody wrote a rule for."""
    return TypeError(
        f"no rule for `{name}`: write it with other functions of jax.numpy, "
        "or add a rule to backprop_oracle/floats.py and errors.py, and to functions.py or values.py"
    )
