"""Wrong squared_error, linear_regression, softmax_cross_entropy and logistic_regression."""

from typing import Any

import numpy as np

from backprop_reference.jacobians import Row

from ...hints.textbook import log_softmax, outer, softmax, total
from .makers import (
    F32,
    F64,
    FORWARD,
    VJP,
    Array,
    Function,
    accumulated,
    batch_mean,
    cached_by_identity,
    captured,
    changed,
    computed_in,
    drop_tail,
    fed,
    float64_results,
    flushed,
    forward,
    noisy,
    remembered,
    scaled,
    vjp,
)
from .table import Fault

# ── Squared error, linear regression ────────────────────────────────────────────────────────────────────────────────


def _residual(factor: Function, other: Function = np.negative) -> Function:
    """The vjp of the squared error with another factor than 2, and another `dy` than `−dx`."""

    def wrong(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        dx = factor(x.shape[-1]) * delta[..., None] * (x - y)
        return dx, other(dx)

    return wrong


SQUARED_ERROR = [
    Fault("squared-error-mean", "squared_error", "factor", VJP, "factor-n", vjp=_residual(lambda d: 2 / max(d, 1))),
    Fault("squared-error-mean-forward", "squared_error", "factor", FORWARD, "factor-n",
          forward=lambda x, y: np.square(x - y).sum(-1) / max(x.shape[-1], 1)),
    Fault("squared-error-half", "squared_error", "factor", VJP, "factor", vjp=_residual(lambda d: 1)),
    Fault("squared-error-sign", "squared_error", "sign", VJP, "sign", vjp=_residual(lambda d: -2)),
    Fault("squared-error-target-sign", "squared_error", "sign", VJP, "sign", vjp=_residual(lambda d: 2, np.copy)),
    Fault("squared-error-target-missing", "squared_error", "missing term", VJP, "missing-path",
          vjp=_residual(lambda d: 2, np.zeros_like)),
    Fault("squared-error-of-the-sum", "squared_error", "formula", FORWARD, "only-n-1",
          forward=lambda x, y: np.square((x - y).sum(-1))),
    Fault("squared-error-expanded", "squared_error", "cancellation", FORWARD,
          forward=lambda x, y: (x * x - 2 * x * y + y * y).sum(-1)),
    Fault("squared-error-huber", "squared_error", "clipping", VJP,
          vjp=lambda d, x, y: (lambda r: (d[..., None] * r, -d[..., None] * r))(2 * np.clip(x - y, -1e3, 1e3))),
    Fault("squared-error-shortcut", "squared_error", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (2 * (x - y), 2 * (y - x))),
    Fault("squared-error-tail-8", "squared_error", "tail of a tile", VJP, "tile-tail", sizes={"d": 9},
          vjp=drop_tail(vjp("squared_error"), 8)),
    Fault("squared-error-batch-mean", "squared_error", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=batch_mean(vjp("squared_error"), [0, 1], 0)),
]  # fmt: skip

LINEAR_REGRESSION = [
    Fault("linear-regression-sign", "linear_regression", "sign", VJP, "sign",
          vjp=scaled(vjp("linear_regression"), -1)),
    Fault("linear-regression-half", "linear_regression", "factor",
          VJP, "factor", vjp=scaled(vjp("linear_regression"), 0.5)),
    Fault("linear-regression-by-one", "linear_regression", "formula", "vjp_of_one_equals_jax_grad",
          vjp=lambda d, w, x, y: vjp("linear_regression")(d, w, x, np.where(d == 1, 0 * y, y))),
    Fault("linear-regression-input-twice", "linear_regression", "formula", VJP, "exchanged",
          vjp=lambda d, w, x, y: (lambda g: (g[0], g[0] + 0 * x, g[2]))(vjp("linear_regression")(d, w, x, y))),
    Fault("linear-regression-jacobian-half", "linear_regression", "factor",
          "factors_equal_jax_and_multiply_to_the_jacobian", "factor",
          jacobian=lambda w, x, y: (lambda r: (Row(r * x), Row(r * w), Row(-r)))((w * x).sum() - y)),
    Fault("linear-regression-captured", "linear_regression", "captured weights", VJP, "stale",
          vjp=captured(vjp("linear_regression"), [1])),
    Fault("linear-regression-batch-mean", "linear_regression", "batch", "batch_equals_the_loop", "batch-mean",
          asks="batch", vjp=batch_mean(vjp("linear_regression"), [0], 0)),
    Fault("linear-regression-target-missing", "linear_regression", "missing term", VJP, "missing-path",
          vjp=changed(vjp("linear_regression"), np.zeros_like, only=2)),
    Fault("linear-regression-1e-5", "linear_regression", "precision", VJP,
          vjp=scaled(vjp("linear_regression"), 1 + 1e-5, only=1)),
]  # fmt: skip

# ── Softmax with cross-entropy, logistic regression ─────────────────────────────────────────────────────────────────


def _cross_entropy(log: Function) -> Function:
    return lambda x, y: -(y * log(x)).sum(-1)


def _slope(dx: Function, dy: Function = lambda x: -log_softmax(x)) -> Function:
    """The vjp of the cross-entropy with another `∂L/∂x` or `∂L/∂y`."""
    return lambda delta, x, y: (delta[..., None] * dx(softmax(x), y), delta[..., None] * dy(x))


def _right(s: Array, y: Array) -> Array:
    return y.sum(-1, keepdims=True) * s - y


def _one_hot(y: Array) -> Array:
    return (np.arange(y.shape[-1]) == y.argmax(-1)[..., None]).astype(y.dtype)


def _class_loss(x: Array, y: Array) -> Any:
    return -np.take_along_axis(log_softmax(x), y.argmax(-1)[..., None], -1)[..., 0]


CROSS_ENTROPY = [
    Fault("cross-entropy-sum-is-one", "softmax_cross_entropy", "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=_slope(lambda s, y: s - y)),
    Fault("cross-entropy-jacobian-sum-is-one", "softmax_cross_entropy", "sum(y) = 1",
          "factors_equal_jax_and_multiply_to_the_jacobian", "sum-y-is-one",
          jacobian=lambda x, y: (Row(softmax(x) - y), Row(-log_softmax(x)))),
    Fault("cross-entropy-of-the-class", "softmax_cross_entropy", "one-hot", FORWARD, "one-hot-only",
          forward=_class_loss),
    Fault("cross-entropy-slope-of-the-class", "softmax_cross_entropy", "one-hot", VJP, "one-hot-only",
          vjp=_slope(lambda s, y: s - _one_hot(y))),
    Fault("cross-entropy-binary", "softmax_cross_entropy", "one-hot", VJP, "one-hot-only",
          vjp=_slope(lambda s, y: np.where(y > 0, y.sum(-1, keepdims=True) * s - 1, y.sum(-1, keepdims=True) * s))),
    Fault("cross-entropy-sign-lost", "softmax_cross_entropy", "sign", VJP, "sign",
          vjp=_slope(lambda s, y: -_right(s, y))),
    Fault("cross-entropy-target-sign", "softmax_cross_entropy", "sign", VJP, "sign", vjp=_slope(_right, log_softmax)),
    Fault("cross-entropy-target-missing", "softmax_cross_entropy", "missing term", VJP, "missing-path",
          vjp=_slope(_right, np.zeros_like)),
    Fault("cross-entropy-no-softmax-path", "softmax_cross_entropy", "missing term", VJP, "missing-path",
          vjp=_slope(lambda s, y: -y)),
    Fault("cross-entropy-log-epsilon", "softmax_cross_entropy", "clipping", FORWARD, "clipped",
          forward=_cross_entropy(lambda x: np.log(softmax(x) + x.dtype.type(1e-12)))),
    Fault("cross-entropy-clipped", "softmax_cross_entropy", "clipping", FORWARD, "clipped",
          forward=_cross_entropy(lambda x: np.log(np.clip(softmax(x), x.dtype.type(1e-7), 1)))),
    Fault("cross-entropy-target-epsilon", "softmax_cross_entropy", "clipping", VJP, "clipped",
          vjp=_slope(_right, lambda x: -np.log(softmax(x) + x.dtype.type(1e-9)))),
    Fault("cross-entropy-log-of-softmax", "softmax_cross_entropy", "saturation", FORWARD,
          forward=_cross_entropy(lambda x: np.log(softmax(x)))),
    Fault("cross-entropy-naive-sum", "softmax_cross_entropy", "overflow", FORWARD, "overflow",
          forward=_cross_entropy(lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)))),
    Fault("cross-entropy-naive-slope", "softmax_cross_entropy", "overflow", VJP, "overflow",
          vjp=lambda d, x, y: (d[..., None] * _right(np.exp(x) / np.exp(x).sum(-1, keepdims=True), y),
                               d[..., None] * -log_softmax(x))),
    Fault("cross-entropy-mean-of-classes", "softmax_cross_entropy", "factor", VJP, "factor-n",
          vjp=_slope(lambda s, y: _right(s, y) / y.shape[-1])),
    Fault("cross-entropy-cotangent-ignored", "softmax_cross_entropy", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (_right(softmax(x), y), -log_softmax(x))),
    Fault("cross-entropy-in-bits", "softmax_cross_entropy", "factor", FORWARD, "factor",
          forward=lambda x, y: forward("softmax_cross_entropy")(x, y) / np.log(2).astype(x.dtype)),
    Fault("cross-entropy-shortcut-for-one", "softmax_cross_entropy", "sum(y) = 1", "vjp_of_one_equals_jax_grad",
          "sum-y-is-one", vjp=lambda d, x, y: _slope(_right if np.any(d != 1) else lambda s, y: s - y)(d, x, y)),
    Fault("cross-entropy-row-of-2d", "softmax_cross_entropy", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x, y: (_right(softmax(x), y)[None], -log_softmax(x)[None])),
    Fault("cross-entropy-flushed", "softmax_cross_entropy", "clipping", VJP, dtypes=F64,
          vjp=flushed(vjp("softmax_cross_entropy"), 1e-30, only=0)),
    Fault("cross-entropy-float32", "softmax_cross_entropy", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp("softmax_cross_entropy"), np.float32)),
    Fault("cross-entropy-mask-nan", "softmax_cross_entropy", "mask", "masks_count_for_nothing", asks="mask",
          forward=_cross_entropy(log_softmax)),
    Fault("cross-entropy-batch-mean", "softmax_cross_entropy", "batch", "batch_equals_the_loop", "batch-mean",
          asks="batch", vjp=batch_mean(vjp("softmax_cross_entropy"), [0, 1], 0)),
    Fault("cross-entropy-tail-64", "softmax_cross_entropy", "tail of a tile", VJP, "tile-tail", sizes={"n": 65},
          vjp=drop_tail(vjp("softmax_cross_entropy"), 64, only=0)),
    Fault("cross-entropy-noise", "softmax_cross_entropy", "noise", "says_the_same_twice", "noise",
          vjp=noisy(vjp("softmax_cross_entropy"))),
    Fault("cross-entropy-normalised-target", "softmax_cross_entropy", "sum(y) = 1", FORWARD, "sum-y-is-one",
          forward=lambda x, y: forward("softmax_cross_entropy")(x, y / y.sum(-1, keepdims=True))),
]  # fmt: skip


def _logistic(slope: Function) -> Function:
    """The vjp of logistic regression with another `∂L/∂u`."""

    def wrong(delta: Array, W: Array, x: Array, b: Array, y: Array) -> tuple[Array, ...]:
        u = x @ W.T + b
        d = delta[..., None] * slope(softmax(u), y)
        return outer(d, x), d @ W, total(d), delta[..., None] * -log_softmax(u)

    return wrong


_LOGISTIC = vjp("logistic_regression")

LOGISTIC_REGRESSION = [
    Fault("logistic-sum-is-one", "logistic_regression", "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=_logistic(lambda s, y: s - y)),
    Fault("logistic-one-hot", "logistic_regression", "one-hot", VJP, "one-hot-only",
          vjp=_logistic(lambda s, y: s - _one_hot(y))),
    Fault("logistic-softmax-slope-twice", "logistic_regression", "formula", VJP,
          vjp=_logistic(lambda s, y: _right(s, y) * s * (1 - s))),
    Fault("logistic-turned", "logistic_regression", "transpose", VJP, "transposed", sizes={"d": 3, "n": 3},
          vjp=lambda d, W, x, b, y: (_LOGISTIC(d, W, x, b, y)[0].T.copy(), *_LOGISTIC(d, W, x, b, y)[1:])),
    Fault("logistic-bias-missing", "logistic_regression", "missing term", VJP, "missing-path",
          vjp=changed(_LOGISTIC, np.zeros_like, only=2)),
    Fault("logistic-order", "logistic_regression", "argument order", VJP, "exchanged",
          vjp=lambda *args: (lambda g: (g[0], g[2], g[1], g[3]))(_LOGISTIC(*args))),
    Fault("logistic-forward-without-bias", "logistic_regression", "missing term", FORWARD,
          forward=fed(forward("logistic_regression"), lambda W, x, b, y: (W, x, 0 * b, y))),
    Fault("logistic-captured", "logistic_regression", "captured weights", VJP, "stale",
          vjp=captured(_LOGISTIC, [1, 3])),
    Fault("logistic-cached", "logistic_regression", "stale state", "sees_what_changed_in_place", "stale",
          vjp=cached_by_identity(_LOGISTIC)),
    Fault("logistic-batch-mean", "logistic_regression", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=batch_mean(_LOGISTIC, [0, 2], 0)),
    Fault("logistic-adds-up", "logistic_regression", "stale state", "says_the_same_twice", "stale",
          vjp=accumulated(_LOGISTIC, only=2)),
    Fault("logistic-remembers", "logistic_regression", "stale state", FORWARD, "stale",
          forward=remembered(forward("logistic_regression"))),
    Fault("logistic-always-float64", "logistic_regression", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          vjp=float64_results(_LOGISTIC)),
    Fault("logistic-tail-8", "logistic_regression", "tail of a tile", VJP, "tile-tail", sizes={"n": 9},
          vjp=drop_tail(_LOGISTIC, 8, only=0)),
]  # fmt: skip

LOSSES = [*SQUARED_ERROR, *LINEAR_REGRESSION, *CROSS_ENTROPY, *LOGISTIC_REGRESSION]
