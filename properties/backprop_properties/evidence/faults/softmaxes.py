"""Wrong softmaxes."""

from functools import partial

import numpy as np

from backprop_reference.jacobians import Diagonal

from ...hints.textbook import inner, log_softmax, normalised, softmax, softmax_less, softmax_vjp
from . import makers as m
from .makers import F32, F64, FORWARD, JACOBIAN, VJP, Array, Function, vjp
from .table import Fault


def _ties_once(x: Array) -> Array:
    """The largest entry counts once in the sum, however many there are."""
    f = np.exp(x - x.max(-1, keepdims=True))
    return f / (1 + np.where(f < 1, f, 0).sum(-1, keepdims=True))


def _sum_of_tiles(x: Array, tile: int) -> Array:
    f = np.exp(x - x.max(-1, keepdims=True))
    return f / m.sum_of_tiles(f, tile, keepdims=True)


def _layer() -> tuple[Function, Function]:
    """A layer as an object: what its last forward left behind is what its backward takes."""
    left: dict[str, Array] = {}

    def remember(x: Array) -> Array:
        left["s"] = softmax(x)
        return left["s"].copy()

    return remember, softmax_vjp(lambda x: left.get("s", softmax(x)))


_LAYER_FORWARD, _LAYER_VJP = _layer()

fault = partial(Fault, "softmax")
SOFTMAX = [
    fault("softmax-naive", "overflow", FORWARD, "overflow", forward=lambda x: normalised(np.exp(x))),
    fault("softmax-naive-shifted", "overflow", "softmax_ignores_a_shift", "overflow",
          forward=lambda x: normalised(np.exp(x)), dtypes=F64),
    fault("softmax-mean-subtracted", "overflow", FORWARD, "overflow",
          forward=softmax_less(lambda x: x.mean(-1, keepdims=True))),
    fault("softmax-clipped-logits", "clipping", "softmax_ignores_a_shift", dtypes=F64,
          forward=lambda x: softmax(np.clip(x, -50, 50))),
    fault("softmax-diagonal", "missing term", VJP, "missing-path",
          vjp=lambda d, x: (lambda s: (s * (1 - s) * d,))(softmax(x))),
    fault("softmax-first-path", "missing term", VJP, "missing-path", vjp=lambda d, x: (softmax(x) * d,)),
    fault("softmax-sum-unweighted", "missing term", VJP, vjp=softmax_vjp(inner=lambda s, d: d.sum(-1, keepdims=True))),
    fault("softmax-sign", "sign", VJP, "sign", vjp=m.scaled(vjp("softmax"), -1)),
    fault("softmax-plus", "sign", VJP, "sign", vjp=softmax_vjp(inner=lambda s, d: -inner(s, d))),
    fault("softmax-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x: (lambda s: (s * (1 - s),))(softmax(x))),
    fault("softmax-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=softmax_vjp(lambda x: softmax(softmax(x)))),
    fault("softmax-temperature", "formula", FORWARD, "temperature", forward=lambda x: softmax(x / 2)),
    fault("softmax-of-the-input", "formula", VJP, "input-for-output", vjp=softmax_vjp(lambda x: x)),
    fault("softmax-epsilon", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: (lambda f: f / (f.sum(-1, keepdims=True) + 1e-8))(np.exp(x - x.max(-1, keepdims=True)))),
    fault("softmax-flushed", "clipping", VJP, vjp=m.flushed(vjp("softmax"), 1e-30)),
    fault("softmax-at-least", "clipping", FORWARD,
          forward=m.changed(softmax, lambda s: np.maximum(s, s.dtype.type(1e-15)))),
    fault("softmax-jacobian-sign", "sign", JACOBIAN, "sign",
          jacobian=lambda x: (lambda s: (np.diag(s) + np.outer(s, s),))(softmax(x))),
    fault("softmax-jacobian-diagonal", "missing term", "factors_equal_jax_and_multiply_to_the_jacobian", "missing-path",
          jacobian=lambda x: (lambda s: (Diagonal(s * (1 - s)),))(softmax(x))),
    fault("softmax-jacobian-outer", "formula", JACOBIAN,
          jacobian=lambda x: (lambda s: (s[:, None] * (1 - s),))(softmax(x))),
    fault("softmax-ties", "ties", FORWARD, forward=_ties_once),
    fault("softmax-ties-slope", "ties", VJP, vjp=softmax_vjp(_ties_once)),
    fault("softmax-through-logarithms", "exact zeros", VJP,
          vjp=lambda d, x: (lambda z: (np.exp(z) * d - np.exp(z) * np.exp(z + np.log(d)).sum(-1, keepdims=True),))(
              log_softmax(x))),
    fault("softmax-tail-32", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 33},
          forward=lambda x: _sum_of_tiles(x, 32)),
    fault("softmax-tail-256", "tail of a tile", VJP, "tile-tail", sizes={"n": 257},
          vjp=softmax_vjp(lambda x: _sum_of_tiles(x, 256))),
    fault("softmax-max-of-tile", "tail of a tile", FORWARD, "overflow", sizes={"n": 17},
          forward=softmax_less(lambda x: x[..., :16].max(-1, keepdims=True))),
    fault("softmax-1024-threads", "long vectors", FORWARD, "tile-tail", sizes={"n": 1025},
          forward=lambda x: _sum_of_tiles(x, 1024)),
    fault("softmax-one-buffer", "stale state", "says_the_same_twice", "stale", vjp=m.into_one_buffer(vjp("softmax"))),
    fault("softmax-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp("softmax"), np.float32)),
    fault("softmax-bfloat16-weights", "precision", VJP, "lower-precision", dtypes=F32,
          vjp=m.rounded(vjp("softmax"), np.float16)),
    fault("softmax-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda x: normalised(np.exp(np.subtract(x, x.max(-1, keepdims=True), out=x), out=x))),
    fault("softmax-shifts-its-input", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=lambda d, x: vjp("softmax")(d, np.subtract(x, x.max(-1, keepdims=True), out=x))),
    fault("softmax-layer", "stale state", "owes_nothing_to_the_last_forward", "stale", forward=_LAYER_FORWARD,
          vjp=_LAYER_VJP),
    fault("softmax-over-the-batch", "batch", "batch_equals_the_loop", asks="batch",
          forward=lambda x: np.moveaxis(softmax(np.moveaxis(x, 0, -1)), -1, 0) if x.size else x),
    fault("softmax-max-of-the-batch", "batch", "batch_equals_the_loop", asks="batch",
          forward=softmax_less(lambda x: x.max(initial=-np.inf))),
    fault("softmax-mask-of-minus-100", "mask", "masks_count_for_nothing", asks="mask",
          forward=lambda x: softmax(np.maximum(x, x.max(-1, keepdims=True) - 80))),
    fault("softmax-mask-nan", "mask", "masks_count_for_nothing", asks="mask",
          vjp=lambda d, x: (vjp("softmax")(d, x)[0] + 0 * x,)),
    fault("softmax-nan-to-zero", "NaN hidden", "nan_in_nan_out", forward=m.nan_to_zero(softmax)),
    fault("softmax-by-pointer", "memory layout", "takes_any_memory_layout", "layout", vjp=m.by_pointer(vjp("softmax"))),
    fault("softmax-unlucky-seven", "single element", VJP, "single-element", sizes={"n": 8},
          vjp=m.element(vjp("softmax"), (7,), 1.001)),
    fault("softmax-1e-9", "precision", FORWARD, dtypes=F64, forward=m.scaled(softmax, 1 + 1e-9)),
]  # fmt: skip
