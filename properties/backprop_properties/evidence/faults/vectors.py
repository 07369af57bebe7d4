"""Wrong scale, add, hadamard, sum_reduction, subtract and dot."""

from typing import Any

import numpy as np

from backprop_reference.jacobians import Diagonal

from .makers import (
    F32,
    F64,
    FORWARD,
    JACOBIAN,
    VJP,
    Array,
    accumulated,
    as_in_memory,
    by_pointer,
    cached_by_identity,
    changed,
    computed_in,
    drop_tail,
    element,
    first_tile,
    float64_results,
    forward,
    nan_to_zero,
    noisy,
    remembered,
    rounded,
    scaled,
    vjp,
)
from .table import Fault

_RANDOM = np.random.default_rng(0)


def _each(v: Array, x: Array) -> Array:
    """A number for every example, beside the entries of `x`."""
    return v[..., None] + np.zeros_like(x)


def _add_in_place(x: Array, y: Array) -> Array:
    x += y
    return x.copy()


def _twins(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    d = delta.copy()
    return d, d


def _in_any_order(x: Array) -> Any:
    """Atomic additions: in whatever order the threads come."""
    return x[..., _RANDOM.permutation(x.shape[-1])].cumsum(-1)[..., -1] if x.shape[-1] else x.sum(-1)


def _tiles_only(x: Array, tile: int) -> Any:
    n = x.shape[-1]
    return x[..., : n if n < tile else n // tile * tile].sum(-1)


def _one_by_one_in_float32(x: Array) -> Any:
    return x.astype(np.float32).sum(-1).astype(x.dtype)


SCALE = [
    Fault("scale-alpha-not-summed", "scale", "wrong shape", VJP, vjp=lambda d, x, a: (d * a[..., None], d * x)),
    Fault("scale-alpha-mean", "scale", "factor", VJP, "factor-n",
          vjp=lambda d, x, a: (d * a[..., None], (d * x).sum(-1) / max(x.shape[-1], 1))),
    Fault("scale-alpha-of-the-first", "scale", "missing term", VJP, "only-n-1",
          vjp=lambda d, x, a: (d * a[..., None], (d * x)[..., :1].sum(-1))),
    Fault("scale-cotangent-ignored", "scale", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, a: (_each(a, x), x.sum(-1))),
    Fault("scale-results-swapped", "scale", "argument order", VJP, "exchanged",
          vjp=lambda d, x, a: ((d * x).sum(-1), d * a[..., None])),
    Fault("scale-column-as-matrix", "scale", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x, a: (a * np.eye(len(x), dtype=x.dtype), x[:, None].copy())),
    Fault("scale-float32-inside", "scale", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=computed_in(forward("scale"), np.float32)),
    Fault("scale-stacked", "scale", "wrong shape", "one_cotangent_for_each_argument",
          vjp=lambda *args: np.concatenate([np.ravel(d) for d in vjp("scale")(*args)])),
]  # fmt: skip

ADD = [
    Fault("add-returns-the-cotangent", "add", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x, y: (d, d.copy())),
    Fault("add-twins", "add", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing", vjp=_twins),
    Fault("add-in-place", "add", "mutation", "leaves_its_inputs_alone", "writes-input", forward=_add_in_place),
    Fault("add-one-path", "add", "missing term", VJP, "missing-path",
          vjp=lambda d, x, y: (d.copy(), np.zeros_like(y))),
    Fault("add-one-result", "add", "wrong shape", "one_cotangent_for_each_argument", vjp=lambda d, x, y: (d.copy(),)),
    Fault("add-jacobian-of-ones", "add", "formula", JACOBIAN, "only-n-1",
          jacobian=lambda x, y: (np.eye(len(x), dtype=x.dtype), np.ones((len(x), len(x)), x.dtype))),
    Fault("add-skips-zeros", "add", "exact zeros", VJP, vjp=lambda d, x, y: (np.where(x == 0, 0 * d, d), d.copy())),
    Fault("add-first-128", "add", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 129},
          forward=first_tile(forward("add"), 128)),
    Fault("add-last-of-257", "add", "tail of a tile", VJP, "tile-tail", sizes={"n": 257},
          vjp=drop_tail(vjp("add"), 256)),
]  # fmt: skip

HADAMARD = [
    Fault("hadamard-swapped", "hadamard", "argument order", VJP, "exchanged", vjp=lambda d, x, y: (d * x, d * y)),
    Fault("hadamard-tail-64", "hadamard", "tail of a tile", VJP, "tile-tail", sizes={"n": 65},
          vjp=drop_tail(vjp("hadamard"), 64)),
    Fault("hadamard-tail-8", "hadamard", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 9},
          forward=drop_tail(forward("hadamard"), 8)),
    Fault("hadamard-half", "hadamard", "precision", VJP, "lower-precision", vjp=rounded(vjp("hadamard"), np.float16)),
    Fault("hadamard-by-pointer", "hadamard", "memory layout", "takes_any_memory_layout", "layout",
          forward=by_pointer(forward("hadamard"))),
    Fault("hadamard-always-float64", "hadamard", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          vjp=float64_results(vjp("hadamard"))),
    Fault("hadamard-1e-12", "hadamard", "precision", VJP, dtypes=F64, vjp=scaled(vjp("hadamard"), 1 + 1e-12, only=1)),
    Fault("hadamard-last-entry", "hadamard", "single element", VJP, "single-element",
          vjp=element(vjp("hadamard"), (-1,), 0.5, only=0)),
    Fault("hadamard-sums-the-batch", "hadamard", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, x, y: (d * y, (d * x).reshape(-1, x.shape[-1]).sum(0) + 0 * x)),
    Fault("hadamard-nan-to-zero", "hadamard", "NaN hidden", "nan_in_nan_out", forward=nan_to_zero(forward("hadamard"))),
]  # fmt: skip

SUM = [
    Fault("sum-mean", "sum_reduction", "factor", VJP, "factor-n",
          vjp=lambda d, x: (_each(d, x) / max(x.shape[-1], 1),)),
    Fault("sum-not-broadcast", "sum_reduction", "wrong shape", VJP, vjp=lambda d, x: (d.copy(),)),
    Fault("sum-ones", "sum_reduction", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x: (np.ones_like(x),)),
    Fault("sum-view-of-the-cotangent", "sum_reduction", "aliasing", "leaves_its_inputs_alone", "aliasing",
          asks="aliasing", vjp=lambda d, x: (np.broadcast_to(d[..., None], x.shape),), ),
    Fault("sum-tail-32", "sum_reduction", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 33},
          forward=lambda x: _tiles_only(x, 32)),
    Fault("sum-first-256", "sum_reduction", "tail of a tile", VJP, "tile-tail", sizes={"n": 257},
          vjp=first_tile(vjp("sum_reduction"), 256)),
    Fault("sum-of-1024", "sum_reduction", "long vectors", FORWARD, "tile-tail", sizes={"n": 1025},
          forward=lambda x: x[..., :1024].sum(-1)),
    Fault("sum-float32", "sum_reduction", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=_one_by_one_in_float32),
    Fault("sum-in-any-order", "sum_reduction", "noise", "says_the_same_twice", "noise", sizes={"n": 33},
          forward=_in_any_order),
    Fault("sum-from-one", "sum_reduction", "single element", FORWARD, "single-element",
          forward=lambda x: x[..., 1:].sum(-1)),
    Fault("sum-jacobian-column", "sum_reduction", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x: (np.ones((1, len(x)), x.dtype),)),
    Fault("sum-of-numbers", "sum_reduction", "NaN hidden", "nan_in_nan_out", forward=lambda x: np.nansum(x, -1)),
    Fault("sum-of-the-batch", "sum_reduction", "batch", "batch_equals_the_loop", asks="batch",
          forward=lambda x: np.sum(x)),
]  # fmt: skip

SUBTRACT = [
    Fault("subtract-as-add", "subtract", "sign", VJP, "sign", vjp=lambda d, x, y: (d.copy(), d.copy())),
    Fault("subtract-jacobian-sign", "subtract", "sign", "factors_equal_jax_and_multiply_to_the_jacobian", "sign",
          jacobian=lambda x, y: (Diagonal(np.ones_like(x)), Diagonal(np.ones_like(x)))),
    Fault("subtract-in-place", "subtract", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda x, y: np.subtract(x, y, out=x).copy()),
    Fault("subtract-negates-in-place", "subtract", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=lambda d, x, y: (d.copy(), np.negative(d, out=d).copy())),
    Fault("subtract-cached", "subtract", "stale state", "sees_what_changed_in_place", "stale",
          forward=cached_by_identity(forward("subtract"))),
    Fault("subtract-distance", "subtract", "formula", FORWARD, forward=lambda x, y: np.abs(x - y)),
    Fault("subtract-adds-up", "subtract", "stale state", "says_the_same_twice", "stale",
          vjp=accumulated(vjp("subtract"), only=1)),
    Fault("subtract-clips-the-cotangent", "subtract", "clipping", "vjp_is_linear", "clipped",
          vjp=changed(vjp("subtract"), lambda r: np.clip(r, -1, 1))),
]  # fmt: skip

DOT = [
    Fault("dot-swapped", "dot", "argument order", VJP, "exchanged",
          vjp=lambda d, x, y: (d[..., None] * x, d[..., None] * y)),
    Fault("dot-cotangent-ignored", "dot", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (y.copy(), x.copy())),
    Fault("dot-shortcut-for-one", "dot", "formula", "vjp_of_one_equals_jax_grad", "exchanged",
          vjp=lambda d, x, y: vjp("dot")(d, x, y) if np.any(d != 1) else (x.copy(), y.copy())),
    Fault("dot-float32", "dot", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=computed_in(forward("dot"), np.float32)),
    Fault("dot-tail-16", "dot", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 17},
          forward=lambda x, y: _tiles_only(x * y, 16)),
    Fault("dot-first-product", "dot", "missing term", FORWARD, "only-n-1",
          forward=lambda x, y: (x * y)[..., :1].sum(-1)),
    Fault("dot-remembers", "dot", "stale state", VJP, "stale", vjp=remembered(vjp("dot"))),
    Fault("dot-noise", "dot", "noise", "says_the_same_twice", "noise", vjp=noisy(vjp("dot"))),
    Fault("dot-of-the-batch", "dot", "batch", "batch_equals_the_loop", asks="batch",
          forward=lambda x, y: np.vdot(x, y)),
    Fault("dot-by-pointer", "dot", "memory layout", "takes_any_memory_layout", "layout",
          vjp=lambda d, x, y: (d[..., None] * as_in_memory(y), d[..., None] * x)),
    Fault("dot-normalised-cotangent", "dot", "cotangent ignored", "zero_cotangent_gives_zeros",
          vjp=lambda d, x, y: tuple((d / np.abs(d))[..., None] * np.abs(d)[..., None] * v for v in (y, x))),
    Fault("dot-1e-9", "dot", "precision", VJP, dtypes=F64, vjp=scaled(vjp("dot"), 1 - 1e-9)),
]  # fmt: skip

VECTORS = [*SCALE, *ADD, *HADAMARD, *SUM, *SUBTRACT, *DOT]
