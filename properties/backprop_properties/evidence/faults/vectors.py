"""Wrong scale, add, hadamard, sum_reduction, subtract and dot."""

from functools import partial
from typing import Any

import numpy as np

from backprop_reference.jacobians import Diagonal

from . import makers as m
from .makers import F32, F64, FORWARD, JACOBIAN, VJP, Array, forward, vjp
from .table import Fault

_RANDOM = np.random.default_rng(0)


def _each(v: Array, x: Array) -> Array:
    """A number for every example, beside the entries of `x`."""
    return v[..., None] + np.zeros_like(x)


def _in_any_order(x: Array) -> Any:
    """Atomic additions: in whatever order the threads come."""
    return x[..., _RANDOM.permutation(x.shape[-1])].cumsum(-1)[..., -1] if x.shape[-1] else x.sum(-1)


fault = partial(Fault, "scale")
SCALE = [
    fault("scale-alpha-not-summed", "wrong shape", VJP, vjp=lambda d, x, a: (d * a[..., None], d * x)),
    fault("scale-alpha-mean", "factor", VJP, "factor-n",
          vjp=lambda d, x, a: (d * a[..., None], (d * x).sum(-1) / max(x.shape[-1], 1))),
    fault("scale-alpha-of-the-first", "missing term", VJP, "only-n-1",
          vjp=lambda d, x, a: (d * a[..., None], (d * x)[..., :1].sum(-1))),
    fault("scale-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, a: (_each(a, x), x.sum(-1))),
    fault("scale-results-swapped", "argument order", VJP, "exchanged",
          vjp=lambda d, x, a: ((d * x).sum(-1), d * a[..., None])),
    fault("scale-column-as-matrix", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x, a: (a * np.eye(len(x), dtype=x.dtype), x[:, None].copy())),
    fault("scale-float32-inside", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=m.computed_in(forward("scale"), np.float32)),
    fault("scale-stacked", "wrong shape", "one_cotangent_for_each_argument",
          vjp=lambda *args: np.concatenate([np.ravel(d) for d in vjp("scale")(*args)])),
]  # fmt: skip

fault = partial(Fault, "add")
ADD = [
    fault("add-returns-the-cotangent", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x, y: (d, d.copy())),
    fault("add-twins", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x, y: (d.copy(),) * 2),
    fault("add-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda x, y: np.add(x, y, out=x).copy()),
    fault("add-one-path", "missing term", VJP, "missing-path", vjp=lambda d, x, y: (d.copy(), np.zeros_like(y))),
    fault("add-one-result", "wrong shape", "one_cotangent_for_each_argument", vjp=lambda d, x, y: (d.copy(),)),
    fault("add-jacobian-of-ones", "formula", JACOBIAN, "only-n-1",
          jacobian=lambda x, y: (np.eye(len(x), dtype=x.dtype), np.ones((len(x), len(x)), x.dtype))),
    fault("add-skips-zeros", "exact zeros", VJP, vjp=lambda d, x, y: (np.where(x == 0, 0 * d, d), d.copy())),
    fault("add-first-128", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 129},
          forward=m.first_tile(forward("add"), 128)),
    fault("add-last-of-257", "tail of a tile", VJP, "tile-tail", sizes={"n": 257}, vjp=m.drop_tail(vjp("add"), 256)),
]  # fmt: skip

fault = partial(Fault, "hadamard")
HADAMARD = [
    fault("hadamard-swapped", "argument order", VJP, "exchanged", vjp=lambda d, x, y: (d * x, d * y)),
    fault("hadamard-tail-64", "tail of a tile", VJP, "tile-tail", sizes={"n": 65},
          vjp=m.drop_tail(vjp("hadamard"), 64)),
    fault("hadamard-tail-8", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 9},
          forward=m.drop_tail(forward("hadamard"), 8)),
    fault("hadamard-half", "precision", VJP, "lower-precision", vjp=m.rounded(vjp("hadamard"), np.float16)),
    fault("hadamard-by-pointer", "memory layout", "takes_any_memory_layout", "layout",
          forward=m.by_pointer(forward("hadamard"))),
    fault("hadamard-always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          vjp=m.float64_results(vjp("hadamard"))),
    fault("hadamard-1e-12", "precision", VJP, dtypes=F64, vjp=m.scaled(vjp("hadamard"), 1 + 1e-12, only=1)),
    fault("hadamard-last-entry", "single element", VJP, "single-element",
          vjp=m.element(vjp("hadamard"), (-1,), 0.5, only=0)),
    fault("hadamard-sums-the-batch", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, x, y: (d * y, (d * x).reshape(-1, x.shape[-1]).sum(0) + 0 * x)),
    fault("hadamard-nan-to-zero", "NaN hidden", "nan_in_nan_out", forward=m.nan_to_zero(forward("hadamard"))),
]  # fmt: skip

fault = partial(Fault, "sum_reduction")
SUM = [
    fault("sum-mean", "factor", VJP, "factor-n", vjp=lambda d, x: (_each(d, x) / max(x.shape[-1], 1),)),
    fault("sum-not-broadcast", "wrong shape", VJP, vjp=lambda d, x: (d.copy(),)),
    fault("sum-ones", "cotangent ignored", VJP, "cotangent-ignored", vjp=lambda d, x: (np.ones_like(x),)),
    fault("sum-view-of-the-cotangent", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x: (np.broadcast_to(d[..., None], x.shape),)),
    fault("sum-tail-32", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 33},
          forward=lambda x: m.sum_of_tiles(x, 32)),
    fault("sum-first-256", "tail of a tile", VJP, "tile-tail", sizes={"n": 257},
          vjp=m.first_tile(vjp("sum_reduction"), 256)),
    fault("sum-of-1024", "long vectors", FORWARD, "tile-tail", sizes={"n": 1025},
          forward=lambda x: x[..., :1024].sum(-1)),
    fault("sum-float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x: x.astype(np.float32).sum(-1).astype(x.dtype)),
    fault("sum-in-any-order", "noise", "says_the_same_twice", "noise", sizes={"n": 33}, forward=_in_any_order),
    fault("sum-from-one", "single element", FORWARD, "single-element", forward=lambda x: x[..., 1:].sum(-1)),
    fault("sum-jacobian-column", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x: (np.ones((1, len(x)), x.dtype),)),
    fault("sum-of-numbers", "NaN hidden", "nan_in_nan_out", forward=lambda x: np.nansum(x, -1)),
    fault("sum-of-the-batch", "batch", "batch_equals_the_loop", asks="batch", forward=lambda x: np.sum(x)),
]  # fmt: skip

fault = partial(Fault, "subtract")
SUBTRACT = [
    fault("subtract-as-add", "sign", VJP, "sign", vjp=lambda d, x, y: (d.copy(), d.copy())),
    fault("subtract-jacobian-sign", "sign", "factors_equal_jax_and_multiply_to_the_jacobian", "sign",
          jacobian=lambda x, y: (Diagonal(np.ones_like(x)), Diagonal(np.ones_like(x)))),
    fault("subtract-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda x, y: np.subtract(x, y, out=x).copy()),
    fault("subtract-negates-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=lambda d, x, y: (d.copy(), np.negative(d, out=d).copy())),
    fault("subtract-cached", "stale state", "sees_what_changed_in_place", "stale",
          forward=m.cached_by_identity(forward("subtract"))),
    fault("subtract-distance", "formula", FORWARD, forward=lambda x, y: np.abs(x - y)),
    fault("subtract-adds-up", "stale state", "says_the_same_twice", "stale",
          vjp=m.accumulated(vjp("subtract"), only=1)),
    fault("subtract-clips-the-cotangent", "clipping", "vjp_is_linear", "clipped",
          vjp=m.changed(vjp("subtract"), lambda r: np.clip(r, -1, 1))),
]  # fmt: skip

fault = partial(Fault, "dot")
DOT = [
    fault("dot-swapped", "argument order", VJP, "exchanged", vjp=lambda d, x, y: (d[..., None] * x, d[..., None] * y)),
    fault("dot-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (y.copy(), x.copy())),
    fault("dot-shortcut-for-one", "formula", "vjp_of_one_equals_jax_grad", "exchanged",
          vjp=lambda d, x, y: vjp("dot")(d, x, y) if np.any(d != 1) else (x.copy(), y.copy())),
    fault("dot-float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=m.computed_in(forward("dot"), np.float32)),
    fault("dot-tail-16", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 17},
          forward=lambda x, y: m.sum_of_tiles(x * y, 16)),
    fault("dot-first-product", "missing term", FORWARD, "only-n-1", forward=lambda x, y: (x * y)[..., :1].sum(-1)),
    fault("dot-remembers", "stale state", VJP, "stale", vjp=m.remembered(vjp("dot"))),
    fault("dot-noise", "noise", "says_the_same_twice", "noise", vjp=m.noisy(vjp("dot"))),
    fault("dot-of-the-batch", "batch", "batch_equals_the_loop", asks="batch", forward=lambda x, y: np.vdot(x, y)),
    fault("dot-by-pointer", "memory layout", "takes_any_memory_layout", "layout",
          vjp=lambda d, x, y: (d[..., None] * m.as_in_memory(y), d[..., None] * x)),
    fault("dot-normalised-cotangent", "cotangent ignored", "zero_cotangent_gives_zeros",
          vjp=lambda d, x, y: tuple((d / np.abs(d))[..., None] * np.abs(d)[..., None] * v for v in (y, x))),
    fault("dot-1e-9", "precision", VJP, dtypes=F64, vjp=m.scaled(vjp("dot"), 1 - 1e-9)),
]  # fmt: skip

VECTORS = [*SCALE, *ADD, *HADAMARD, *SUM, *SUBTRACT, *DOT]
