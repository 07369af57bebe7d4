"""Wrong matvec, affine and activation."""

from typing import Any

import numpy as np

from backprop_reference.jacobians import BlockRow, Dense, Diagonal
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.lecture.matrices import activation_vjp
from backprop_reference.signature import rows

from ...hints.textbook import at_output, bent, no_slope, outer, total
from .makers import (
    F32,
    F64,
    FORWARD,
    JACOBIAN,
    VJP,
    Array,
    Function,
    accumulated,
    batch_mean,
    by_example,
    captured,
    column_major,
    computed_in,
    drop_tail,
    element,
    fed,
    float64_results,
    forward,
    remembered,
    scaled,
    vjp,
)
from .table import Fault


class _ForgetfulBlockRow(BlockRow):
    """`delta @ J` forgets the factor that `todense` has."""

    def _pull_back(self, delta: Array) -> Array:
        return np.outer(delta, self.x)


def _guessed(W: Array, x: Array) -> Array:
    """`W`, stored one way or the other: turned where the shapes allow it."""
    return W.T if W.shape[0] == x.shape[-1] else W


def _into_bias(W: Array, x: Array, b: Array) -> Array:
    if x.ndim > 1:
        return x @ W.T + b
    b += W @ x
    return b.copy()


def _filled(W: Array, x: Array) -> tuple[Array, Array]:
    """The `d×d×n` Jacobian with `x` off the diagonal, too."""
    return np.broadcast_to(x, (len(W), *W.shape)).copy(), W.copy()


def _by_transposed_blocks(W: Array, x: Array) -> tuple[Array, Array]:
    """`d×n×d` instead of `d×d×n`."""
    d = len(W)
    return np.einsum("ij,k->ikj", np.eye(d, dtype=x.dtype), x), W.copy()


def _activated(name: str, h: Any) -> Function:
    """The vjp of a layer with a wrong `h`."""
    return lambda delta, W, x, b: activation_vjp(delta, h, W, x, b)


def _half(name: str, only: int) -> Function:
    """The vjp of a layer with h′ forgotten in one of its results."""
    right, bare = vjp(f"activation[{name}]"), vjp("affine")
    return lambda *args: tuple(bare(*args)[i] if i == only else d for i, d in enumerate(right(*args)))


MATVEC = [
    Fault("matvec-outer-product-turned", "matvec", "transpose", VJP, "transposed",
          vjp=lambda d, W, x: (outer(x, d), d @ W)),
    Fault("matvec-outer-product-reshaped", "matvec", "transpose", VJP, "transposed",
          vjp=lambda d, W, x: (outer(x, d).reshape(W.shape), d @ W)),
    Fault("matvec-w-turned", "matvec", "transpose", "vjp_is_the_transpose_of_jvp", "transposed",
          sizes={"d": 3, "n": 3}, vjp=lambda d, W, x: (outer(d, x), d @ W.T)),
    Fault("matvec-guesses-the-layout", "matvec", "transpose", FORWARD, "transposed", sizes={"d": 3, "n": 3},
          forward=lambda W, x: x @ _guessed(W, x).T),
    Fault("matvec-w-missing", "matvec", "missing term", VJP, "missing-path",
          vjp=lambda d, W, x: (np.zeros_like(W), d @ W)),
    Fault("matvec-cotangent-ignored", "matvec", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, W, x: (outer(np.ones_like(d), x), np.ones_like(d) @ W)),
    Fault("matvec-jacobian-filled", "matvec", "formula", JACOBIAN, "only-n-1", jacobian=_filled),
    Fault("matvec-jacobian-d-n-d", "matvec", "wrong shape", "jacobians_have_the_slides_shapes", "transposed",
          jacobian=_by_transposed_blocks),
    Fault("matvec-rows-past-16", "matvec", "tail of a tile", VJP, "tile-tail", sizes={"d": 17},
          vjp=drop_tail(vjp("matvec"), 16, only=0, axis=0)),
    Fault("matvec-columns-past-128", "matvec", "tail of a tile", VJP, "tile-tail", sizes={"n": 129},
          vjp=drop_tail(vjp("matvec"), 128, only=1)),
    Fault("matvec-sum-past-64", "matvec", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 65},
          forward=lambda W, x: x[..., :64] @ W[:, :64].T),
    Fault("matvec-element", "matvec", "single element", VJP, "single-element",
          vjp=element(vjp("matvec"), (-1, 0), 0, only=0)),
    Fault("matvec-column-major", "matvec", "memory layout", "takes_any_memory_layout", "layout",
          forward=lambda W, x: x @ column_major(W).T),
    Fault("matvec-captured", "matvec", "captured weights", VJP, "stale", vjp=captured(vjp("matvec"), [1])),
    Fault("matvec-float32", "matvec", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp("matvec"), np.float32)),
    Fault("matvec-batch-mean", "matvec", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=batch_mean(vjp("matvec"), [0], 1)),
    Fault("matvec-last-example", "matvec", "batch", "batch_equals_the_loop", asks="batch",
          vjp=by_example(vjp("matvec"), (False, True), 1, lambda parts: parts[-1])),
    Fault("matvec-matrix-times-vector", "matvec", "batch", "batch_equals_the_loop", asks="batch",
          forward=lambda W, x: W @ x),
]  # fmt: skip

AFFINE = [
    Fault("affine-no-bias", "affine", "missing term", FORWARD, forward=lambda W, x, b: x @ W.T),
    Fault("affine-bias-missing", "affine", "missing term", VJP, "missing-path",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, np.zeros_like(b))),
    Fault("affine-bias-times-b", "affine", "formula", VJP, vjp=lambda d, W, x, b: (outer(d, x), d @ W, total(d) * b)),
    Fault("affine-bias-is-the-cotangent", "affine", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d if d.ndim == 1 else total(d))),
    Fault("affine-into-the-bias", "affine", "mutation", "leaves_its_inputs_alone", "writes-input", forward=_into_bias),
    Fault("affine-adds-up", "affine", "stale state", "says_the_same_twice", "stale",
          vjp=accumulated(vjp("affine"), only=0)),
    Fault("affine-bias-for-each-example", "affine", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d.copy())),
    Fault("affine-bias-over-features", "affine", "wrong shape", VJP, "only-n-1",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, total(d).sum() + np.zeros_like(b))),
    Fault("affine-results-in-other-order", "affine", "argument order", VJP, "exchanged",
          vjp=lambda d, W, x, b: (outer(d, x), total(d), d @ W)),
    Fault("affine-jacobian-slip", "affine", "formula", "factors_equal_jax_and_multiply_to_the_jacobian", "only-n-1",
          jacobian=lambda W, x, b: (BlockRow(np.ones_like(b), x), Dense(W), Dense(np.ones((len(b),) * 2, b.dtype)))),
    Fault("affine-tail-32", "affine", "tail of a tile", FORWARD, "tile-tail", sizes={"d": 33},
          forward=drop_tail(forward("affine"), 32)),
    Fault("affine-1e-12", "affine", "precision", VJP, dtypes=F64, vjp=scaled(vjp("affine"), 1 + 1e-12, only=2)),
    Fault("affine-always-float64", "affine", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          forward=float64_results(forward("affine"))),
    Fault("affine-first-axis-only", "affine", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, d.sum(0) if d.ndim > 1 else d.copy())),
    Fault("affine-noise", "affine", "cotangent ignored", "zero_cotangent_gives_zeros",
          vjp=fed(vjp("affine"), lambda d, *args: (d + d.dtype.type(1e-12), *args))),
]  # fmt: skip

ACTIVATION = [
    Fault("activation-identity-scaled", "activation[identity]", "factor", VJP, "factor-n",
          vjp=lambda d, W, x, b: (outer(d, x) / max(W.shape[1], 1), d @ W, total(d))),
    Fault("activation-identity-bias-sign", "activation[identity]", "sign", VJP, "sign",
          vjp=lambda d, W, x, b: (outer(d, x), d @ W, -total(d))),
    Fault("activation-tanh-missing", "activation[tanh]", "missing term", VJP, "missing-h-prime",
          vjp=_activated("tanh", no_slope("tanh"))),
    Fault("activation-tanh-at-output", "activation[tanh]", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated("tanh", at_output("tanh"))),
    Fault("activation-tanh-jacobian-product", "activation[tanh]", "formula", "vjp_is_delta_times_jacobian",
          vjp=vjp("activation[tanh]"),
          jacobian=lambda W, x, b: (lambda s: (_ForgetfulBlockRow(s, x), Dense(s[:, None] * W), Diagonal(s)))(
              SCALAR_FUNCTIONS["tanh"].dh(W @ x + b))),
    Fault("activation-sigmoid-at-output", "activation[sigmoid]", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated("sigmoid", at_output("sigmoid"))),
    Fault("activation-sigmoid-without-bias", "activation[sigmoid]", "h′ at the output", VJP,
          vjp=lambda d, W, x, b: activation_vjp(d, SCALAR_FUNCTIONS["sigmoid"], W, x, 0 * b)),
    Fault("activation-relu-bias-missing", "activation[relu]", "missing term", VJP, "missing-h-prime",
          vjp=_half("relu", only=2)),
    Fault("activation-relu-on-the-weights", "activation[relu]", "missing term", VJP, "missing-h-prime",
          vjp=_half("relu", only=0)),
    Fault("activation-relu-on-the-input", "activation[relu]", "formula", FORWARD,
          forward=lambda W, x, b: np.maximum(x, 0) @ W.T + b),
    Fault("activation-leaky-relu-turned", "activation[leaky_relu]", "transpose", VJP, "transposed",
          sizes={"d": 3, "n": 3}, vjp=fed(vjp("activation[leaky_relu]"), lambda d, W, x, b: (d, W.T, x, b))),
    Fault("activation-elu-input-missing", "activation[elu]", "missing term", "vjp_is_the_transpose_of_jvp",
          "missing-h-prime", vjp=_half("elu", only=1)),
    Fault("activation-elu-wrong-slope", "activation[elu]", "formula", VJP,
          vjp=_activated("elu", bent("elu", lambda z: np.where(z > 0, 1, np.expm1(np.minimum(z, 0)))))),
    Fault("activation-softplus-captured", "activation[softplus]", "captured weights", FORWARD, "stale",
          forward=captured(forward("activation[softplus]"), [0, 2])),
    Fault("activation-softplus-tail-64", "activation[softplus]", "tail of a tile", VJP, "tile-tail", sizes={"d": 65},
          vjp=drop_tail(vjp("activation[softplus]"), 64, only=2)),
    Fault("activation-silu-at-output", "activation[silu]", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_activated("silu", at_output("silu"))),
    Fault("activation-silu-one-term", "activation[silu]", "missing term", VJP, "missing-path",
          vjp=_activated("silu", bent("silu", SCALAR_FUNCTIONS["sigmoid"].h))),
    Fault("activation-gelu-by-tanh", "activation[gelu]", "formula", VJP, "another-function",
          vjp=_activated("gelu", SCALAR_FUNCTIONS["gelu_tanh"])),
    Fault("activation-gelu-batch-mean", "activation[gelu]", "batch", "batch_equals_the_loop", "batch-mean",
          asks="batch", vjp=batch_mean(vjp("activation[gelu]"), [0, 2], 1)),
    Fault("activation-gelu-tanh-float32", "activation[gelu_tanh]", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp("activation[gelu_tanh]"), np.float32)),
    Fault("activation-gelu-tanh-remembers", "activation[gelu_tanh]", "stale state", FORWARD, "stale",
          forward=remembered(forward("activation[gelu_tanh]"))),
    Fault("activation-tanh-cotangent-squared", "activation[tanh]", "cotangent ignored", "vjp_is_linear",
          vjp=lambda d, W, x, b: vjp("activation[tanh]")(d * np.abs(d), W, x, b)),
    Fault("activation-relu-input-as-rows", "activation[relu]", "batch", "batch_equals_the_loop", asks="batch",
          vjp=lambda d, W, x, b: vjp("activation[relu]")(rows(d)[:1], W, rows(x)[:1], b) if d.ndim > 1 and d.size
          else vjp("activation[relu]")(d, W, x, b)),
]  # fmt: skip

MATRICES = [*MATVEC, *AFFINE, *ACTIVATION]
