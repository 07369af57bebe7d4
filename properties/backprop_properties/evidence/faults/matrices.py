"""Wrong matvec, affine and activation."""

from functools import partial
from typing import Any

import numpy as np

from backprop_reference.jacobians import BlockRow, Dense, Diagonal
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.lecture.matrices import activation_vjp
from backprop_reference.signature import rows

from ...hints.textbook import at_output, bent, no_slope, outer, total
from . import makers as m
from .makers import F32, F64, FORWARD, JACOBIAN, VJP, Array, Function, forward, vjp
from .table import Fault


class _ForgetfulBlockRow(BlockRow):
    """`delta @ J` forgets the factor that `todense` has."""

    def _pull_back(self, delta: Array) -> Array:
        return np.outer(delta, self.x)


def _activated(h: Any) -> Function:
    """The vjp of a layer with a wrong `h`."""
    return lambda delta, W, x, b: activation_vjp(delta, h, W, x, b)


def _half(name: str, only: int) -> Function:
    """The vjp of a layer with h′ forgotten in one of its results."""
    right, bare = vjp(f"activation[{name}]"), vjp("affine")
    return lambda *args: tuple(bare(*args)[i] if i == only else d for i, d in enumerate(right(*args)))


fault = partial(Fault, "matvec")
MATVEC = [
    fault("matvec-outer-product-turned", "transpose", VJP, "transposed", vjp=lambda d, W, x: (outer(x, d), d @ W)),
    fault("matvec-outer-product-reshaped", "transpose", VJP, "transposed",
          vjp=lambda d, W, x: (outer(x, d).reshape(W.shape), d @ W)),
    fault("matvec-w-turned", "transpose", "vjp_is_the_transpose_of_jvp", "transposed", sizes={"d": 3, "n": 3},
          vjp=lambda d, W, x: (outer(d, x), d @ W.T)),
    fault("matvec-guesses-the-layout", "transpose", FORWARD, "transposed", sizes={"d": 3, "n": 3},
          forward=lambda W, x: x @ (W if W.shape[0] == x.shape[-1] else W.T)),
    fault("matvec-w-missing", "missing term", VJP, "missing-path", vjp=lambda d, W, x: (np.zeros_like(W), d @ W)),
    fault("matvec-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, W, x: (outer(np.ones_like(d), x), np.ones_like(d) @ W)),
    fault("matvec-jacobian-filled", "formula", JACOBIAN, "only-n-1",
          jacobian=lambda W, x: (np.broadcast_to(x, (len(W), *W.shape)).copy(), W.copy())),
    fault("matvec-jacobian-d-n-d", "wrong shape", "jacobians_have_the_slides_shapes", "transposed",
          jacobian=lambda W, x: (np.einsum("ij,k->ikj", np.eye(len(W), dtype=x.dtype), x), W.copy())),
    fault("matvec-rows-past-16", "tail of a tile", VJP, "tile-tail", sizes={"d": 17},
          vjp=m.drop_tail(vjp("matvec"), 16, only=0, axis=0)),
    fault("matvec-columns-past-128", "tail of a tile", VJP, "tile-tail", sizes={"n": 129},
          vjp=m.drop_tail(vjp("matvec"), 128, only=1)),
    fault("matvec-sum-past-64", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 65},
          forward=lambda W, x: x[..., :64] @ W[:, :64].T),
    fault("matvec-element", "single element", VJP, "single-element", vjp=m.element(vjp("matvec"), (-1, 0), 0, only=0)),
    fault("matvec-column-major", "memory layout", "takes_any_memory_layout", "layout",
          forward=lambda W, x: x @ W.ravel(order="K").reshape(W.shape).T),
    fault("matvec-captured", "captured weights", VJP, "stale", vjp=m.captured(vjp("matvec"), [1])),
    fault("matvec-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp("matvec"), np.float32)),
    fault("matvec-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp("matvec"), [0], 1)),
    fault("matvec-last-example", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x: (outer(rows(d)[-1:], rows(x)[-1:]), d @ W)),
    fault("matvec-matrix-times-vector", "batch", "batch_equals_the_loop", asks="batch", forward=lambda W, x: W @ x),
]  # fmt: skip

fault = partial(Fault, "affine")
AFFINE = [
    fault("affine-no-bias", "missing term", FORWARD, forward=lambda W, x, b: x @ W.T),
    fault("affine-bias-missing", "missing term", VJP, "missing-path",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, np.zeros_like(b))),
    fault("affine-bias-times-b", "formula", VJP, vjp=lambda d, W, x, b: (outer(d, x), d @ W, total(d) * b)),
    fault("affine-bias-is-the-cotangent", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d if d.ndim == 1 else total(d))),
    fault("affine-into-the-bias", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda W, x, b: x @ W.T + b if x.ndim > 1 else np.add(b, W @ x, out=b).copy()),
    fault("affine-adds-up", "stale state", "says_the_same_twice", "stale", vjp=m.accumulated(vjp("affine"), only=0)),
    fault("affine-bias-for-each-example", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d.copy())),
    fault("affine-bias-over-features", "wrong shape", VJP, "only-n-1",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, total(d).sum() + np.zeros_like(b))),
    fault("affine-results-in-other-order", "argument order", VJP, "exchanged",
          vjp=lambda d, W, x, b: (outer(d, x), total(d), d @ W)),
    fault("affine-jacobian-slip", "formula", "factors_equal_jax_and_multiply_to_the_jacobian", "only-n-1",
          jacobian=lambda W, x, b: (BlockRow(np.ones_like(b), x), Dense(W), Dense(np.ones((len(b),) * 2, b.dtype)))),
    fault("affine-tail-32", "tail of a tile", FORWARD, "tile-tail", sizes={"d": 33},
          forward=m.drop_tail(forward("affine"), 32)),
    fault("affine-1e-12", "precision", VJP, dtypes=F64, vjp=m.scaled(vjp("affine"), 1 + 1e-12, only=2)),
    fault("affine-always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          forward=m.float64_results(forward("affine"))),
    fault("affine-first-axis-only", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d.sum(0) if d.ndim > 1 else d.copy())),
    fault("affine-noise", "cotangent ignored", "zero_cotangent_gives_zeros",
          vjp=m.fed(vjp("affine"), lambda d, *args: (d + d.dtype.type(1e-12), *args))),
]  # fmt: skip

ACTIVATION = [
    Fault("activation[identity]", "activation-identity-scaled", "factor", VJP, "factor-n",
          vjp=lambda d, W, x, b: (outer(d, x) / max(W.shape[1], 1), d @ W, total(d))),
    Fault("activation[identity]", "activation-identity-bias-sign", "sign", VJP, "sign",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, -total(d))),
    Fault("activation[tanh]", "activation-tanh-missing", "missing term", VJP, "missing-h-prime",
          vjp=_activated(no_slope("tanh"))),
    Fault("activation[tanh]", "activation-tanh-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated(at_output("tanh"))),
    Fault("activation[tanh]", "activation-tanh-jacobian-product", "formula", "vjp_is_delta_times_jacobian",
          vjp=vjp("activation[tanh]"),
          jacobian=lambda W, x, b: (lambda s: (_ForgetfulBlockRow(s, x), Dense(s[:, None] * W), Diagonal(s)))(
              SCALAR_FUNCTIONS["tanh"].dh(W @ x + b))),
    Fault("activation[sigmoid]", "activation-sigmoid-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated(at_output("sigmoid"))),
    Fault("activation[sigmoid]", "activation-sigmoid-without-bias", "h′ at the output", VJP,
          vjp=lambda d, W, x, b: activation_vjp(d, SCALAR_FUNCTIONS["sigmoid"], W, x, 0 * b)),
    Fault("activation[relu]", "activation-relu-bias-missing", "missing term", VJP, "missing-h-prime",
          vjp=_half("relu", only=2)),
    Fault("activation[relu]", "activation-relu-on-the-weights", "missing term", VJP, "missing-h-prime",
          vjp=_half("relu", only=0)),
    Fault("activation[relu]", "activation-relu-on-the-input", "formula", FORWARD,
          forward=lambda W, x, b: np.maximum(x, 0) @ W.T + b),
    Fault("activation[leaky_relu]", "activation-leaky-relu-turned", "transpose", VJP, "transposed",
          sizes={"d": 3, "n": 3}, vjp=m.fed(vjp("activation[leaky_relu]"), lambda d, W, x, b: (d, W.T, x, b))),
    Fault("activation[elu]", "activation-elu-input-missing", "missing term", "vjp_is_the_transpose_of_jvp",
          "missing-h-prime", vjp=_half("elu", only=1)),
    Fault("activation[elu]", "activation-elu-wrong-slope", "formula", VJP,
          vjp=_activated(bent("elu", lambda z: np.where(z > 0, 1, np.expm1(np.minimum(z, 0)))))),
    Fault("activation[softplus]", "activation-softplus-captured", "captured weights", FORWARD, "stale",
          forward=m.captured(forward("activation[softplus]"), [0, 2])),
    Fault("activation[softplus]", "activation-softplus-tail-64", "tail of a tile", VJP, "tile-tail", sizes={"d": 65},
          vjp=m.drop_tail(vjp("activation[softplus]"), 64, only=2)),
    Fault("activation[silu]", "activation-silu-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated(at_output("silu"))),
    Fault("activation[silu]", "activation-silu-one-term", "missing term", VJP, "missing-path",
          vjp=_activated(bent("silu", SCALAR_FUNCTIONS["sigmoid"].h))),
    Fault("activation[gelu]", "activation-gelu-by-tanh", "formula", VJP, "another-function",
          vjp=_activated(SCALAR_FUNCTIONS["gelu_tanh"])),
    Fault("activation[gelu]", "activation-gelu-batch-mean", "batch", "batch_equals_the_loop", "batch-mean",
          asks="batch", vjp=m.batch_mean(vjp("activation[gelu]"), [0, 2], 1)),
    Fault("activation[gelu_tanh]", "activation-gelu-tanh-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp("activation[gelu_tanh]"), np.float32)),
    Fault("activation[gelu_tanh]", "activation-gelu-tanh-remembers", "stale state", FORWARD, "stale",
          forward=m.remembered(forward("activation[gelu_tanh]"))),
    Fault("activation[tanh]", "activation-tanh-cotangent-squared", "cotangent ignored", "vjp_is_linear",
          vjp=lambda d, W, x, b: vjp("activation[tanh]")(d * np.abs(d), W, x, b)),
    Fault("activation[relu]", "activation-relu-input-as-rows", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: vjp("activation[relu]")(rows(d)[:1], W, rows(x)[:1], b) if d.ndim > 1 and d.size
          else vjp("activation[relu]")(d, W, x, b)),
]  # fmt: skip

MATRICES = [*MATVEC, *AFFINE, *ACTIVATION]
