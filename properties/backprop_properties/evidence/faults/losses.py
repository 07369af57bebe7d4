"""Wrong squared_error, linear_regression, softmax_cross_entropy and logistic_regression."""

from functools import partial

import numpy as np

from backprop_reference.jacobians import Row

from ...hints.textbook import cross_entropy, log_softmax, loss_slope, loss_vjp, normalised, outer, softmax, total
from . import makers as m
from .makers import F32, F64, FORWARD, VJP, Array, Function, forward, vjp
from .table import Fault

# ── Squared error, linear regression ────────────────────────────────────────────────────────────────────────────────


def _residual(factor: Function, other: Function = np.negative) -> Function:
    """The vjp of the squared error with another factor than 2, and another `dy` than `−dx`."""

    def wrong(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        dx = factor(x.shape[-1]) * delta[..., None] * (x - y)
        return dx, other(dx)

    return wrong


fault = partial(Fault, "squared_error")
SQUARED_ERROR = [
    fault("squared-error-mean", "factor", VJP, "factor-n", vjp=_residual(lambda d: 2 / max(d, 1))),
    fault("squared-error-mean-forward", "factor", FORWARD, "factor-n",
          forward=lambda x, y: np.square(x - y).sum(-1) / max(x.shape[-1], 1)),
    fault("squared-error-half", "factor", VJP, "factor", vjp=_residual(lambda d: 1)),
    fault("squared-error-sign", "sign", VJP, "sign", vjp=_residual(lambda d: -2)),
    fault("squared-error-target-sign", "sign", VJP, "sign", vjp=_residual(lambda d: 2, np.copy)),
    fault("squared-error-target-missing", "missing term", VJP, "missing-path",
          vjp=_residual(lambda d: 2, np.zeros_like)),
    fault("squared-error-of-the-sum", "formula", FORWARD, "only-n-1", forward=lambda x, y: np.square((x - y).sum(-1))),
    fault("squared-error-expanded", "cancellation", FORWARD, forward=lambda x, y: (x * x - 2 * x * y + y * y).sum(-1)),
    fault("squared-error-huber", "clipping", VJP,
          vjp=lambda d, x, y: (lambda r: (d[..., None] * r, -d[..., None] * r))(2 * np.clip(x - y, -1e3, 1e3))),
    fault("squared-error-shortcut", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (2 * (x - y), 2 * (y - x))),
    fault("squared-error-tail-8", "tail of a tile", VJP, "tile-tail", sizes={"d": 9},
          vjp=m.drop_tail(vjp("squared_error"), 8)),
    fault("squared-error-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp("squared_error"), [0, 1], 0)),
]  # fmt: skip

fault = partial(Fault, "linear_regression")
LINEAR_REGRESSION = [
    fault("linear-regression-sign", "sign", VJP, "sign", vjp=m.scaled(vjp("linear_regression"), -1)),
    fault("linear-regression-half", "factor", VJP, "factor", vjp=m.scaled(vjp("linear_regression"), 0.5)),
    fault("linear-regression-by-one", "formula", "vjp_of_one_equals_jax_grad",
          vjp=lambda d, w, x, y: vjp("linear_regression")(d, w, x, np.where(d == 1, 0 * y, y))),
    fault("linear-regression-input-twice", "formula", VJP, "exchanged",
          vjp=lambda d, w, x, y: (lambda g: (g[0], g[0] + 0 * x, g[2]))(vjp("linear_regression")(d, w, x, y))),
    fault("linear-regression-jacobian-half", "factor", "factors_equal_jax_and_multiply_to_the_jacobian", "factor",
          jacobian=lambda w, x, y: (lambda r: (Row(r * x), Row(r * w), Row(-r)))((w * x).sum() - y)),
    fault("linear-regression-captured", "captured weights", VJP, "stale",
          vjp=m.captured(vjp("linear_regression"), [1])),
    fault("linear-regression-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp("linear_regression"), [0], 0)),
    fault("linear-regression-target-missing", "missing term", VJP, "missing-path",
          vjp=m.changed(vjp("linear_regression"), np.zeros_like, only=2)),
    fault("linear-regression-1e-5", "precision", VJP, vjp=m.scaled(vjp("linear_regression"), 1 + 1e-5, only=1)),
]  # fmt: skip

# ── Softmax with cross-entropy, logistic regression ─────────────────────────────────────────────────────────────────


def _one_hot(y: Array) -> Array:
    return (np.arange(y.shape[-1]) == y.argmax(-1)[..., None]).astype(y.dtype)


fault = partial(Fault, "softmax_cross_entropy")
CROSS_ENTROPY = [
    fault("cross-entropy-sum-is-one", "sum(y) = 1", VJP, "sum-y-is-one", vjp=loss_vjp(lambda s, y: s - y)),
    fault("cross-entropy-jacobian-sum-is-one", "sum(y) = 1", "factors_equal_jax_and_multiply_to_the_jacobian",
          "sum-y-is-one", jacobian=lambda x, y: (Row(softmax(x) - y), Row(-log_softmax(x)))),
    fault("cross-entropy-of-the-class", "one-hot", FORWARD, "one-hot-only",
          forward=lambda x, y: -np.take_along_axis(log_softmax(x), y.argmax(-1)[..., None], -1)[..., 0]),
    fault("cross-entropy-slope-of-the-class", "one-hot", VJP, "one-hot-only",
          vjp=loss_vjp(lambda s, y: s - _one_hot(y))),
    fault("cross-entropy-binary", "one-hot", VJP, "one-hot-only",
          vjp=loss_vjp(lambda s, y: np.where(y > 0, y.sum(-1, keepdims=True) * s - 1, y.sum(-1, keepdims=True) * s))),
    fault("cross-entropy-sign-lost", "sign", VJP, "sign", vjp=loss_vjp(lambda s, y: -loss_slope(s, y))),
    fault("cross-entropy-target-sign", "sign", VJP, "sign", vjp=loss_vjp(dy=log_softmax)),
    fault("cross-entropy-target-missing", "missing term", VJP, "missing-path", vjp=loss_vjp(dy=np.zeros_like)),
    fault("cross-entropy-no-softmax-path", "missing term", VJP, "missing-path", vjp=loss_vjp(lambda s, y: -y)),
    fault("cross-entropy-log-epsilon", "clipping", FORWARD, "clipped",
          forward=cross_entropy(lambda x: np.log(softmax(x) + x.dtype.type(1e-12)))),
    fault("cross-entropy-clipped", "clipping", FORWARD, "clipped",
          forward=cross_entropy(lambda x: np.log(np.clip(softmax(x), x.dtype.type(1e-7), 1)))),
    fault("cross-entropy-target-epsilon", "clipping", VJP, "clipped",
          vjp=loss_vjp(dy=lambda x: -np.log(softmax(x) + x.dtype.type(1e-9)))),
    fault("cross-entropy-log-of-softmax", "saturation", FORWARD, forward=cross_entropy(lambda x: np.log(softmax(x)))),
    fault("cross-entropy-naive-sum", "overflow", FORWARD, "overflow",
          forward=cross_entropy(lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)))),
    fault("cross-entropy-naive-slope", "overflow", VJP, "overflow", vjp=loss_vjp(s_of=lambda x: normalised(np.exp(x)))),
    fault("cross-entropy-mean-of-classes", "factor", VJP, "factor-n",
          vjp=loss_vjp(lambda s, y: loss_slope(s, y) / y.shape[-1])),
    fault("cross-entropy-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: (loss_slope(softmax(x), y), -log_softmax(x))),
    fault("cross-entropy-in-bits", "factor", FORWARD, "factor",
          forward=lambda x, y: forward("softmax_cross_entropy")(x, y) / np.log(2).astype(x.dtype)),
    fault("cross-entropy-shortcut-for-one", "sum(y) = 1", "vjp_of_one_equals_jax_grad", "sum-y-is-one",
          vjp=lambda d, x, y: loss_vjp(loss_slope if np.any(d != 1) else lambda s, y: s - y)(d, x, y)),
    fault("cross-entropy-row-of-2d", "wrong shape", "jacobians_have_the_slides_shapes",
          jacobian=lambda x, y: (loss_slope(softmax(x), y)[None], -log_softmax(x)[None])),
    fault("cross-entropy-flushed", "clipping", VJP, dtypes=F64,
          vjp=m.flushed(vjp("softmax_cross_entropy"), 1e-30, only=0)),
    fault("cross-entropy-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp("softmax_cross_entropy"), np.float32)),
    fault("cross-entropy-mask-nan", "mask", "masks_count_for_nothing", asks="mask", forward=cross_entropy(log_softmax)),
    fault("cross-entropy-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp("softmax_cross_entropy"), [0, 1], 0)),
    fault("cross-entropy-tail-64", "tail of a tile", VJP, "tile-tail", sizes={"n": 65},
          vjp=m.drop_tail(vjp("softmax_cross_entropy"), 64, only=0)),
    fault("cross-entropy-noise", "noise", "says_the_same_twice", "noise", vjp=m.noisy(vjp("softmax_cross_entropy"))),
    fault("cross-entropy-normalised-target", "sum(y) = 1", FORWARD, "sum-y-is-one",
          forward=lambda x, y: forward("softmax_cross_entropy")(x, y / y.sum(-1, keepdims=True))),
]  # fmt: skip


def _logistic(slope: Function) -> Function:
    """The vjp of logistic regression with another `∂L/∂u`."""

    def wrong(delta: Array, W: Array, x: Array, b: Array, y: Array) -> tuple[Array, ...]:
        d, dy = loss_vjp(slope)(delta, x @ W.T + b, y)
        return outer(d, x), d @ W, total(d), dy

    return wrong


_LOGISTIC = vjp("logistic_regression")

fault = partial(Fault, "logistic_regression")
LOGISTIC_REGRESSION = [
    fault("logistic-sum-is-one", "sum(y) = 1", VJP, "sum-y-is-one", vjp=_logistic(lambda s, y: s - y)),
    fault("logistic-one-hot", "one-hot", VJP, "one-hot-only", vjp=_logistic(lambda s, y: s - _one_hot(y))),
    fault("logistic-softmax-slope-twice", "formula", VJP, vjp=_logistic(lambda s, y: loss_slope(s, y) * s * (1 - s))),
    fault("logistic-turned", "transpose", VJP, "transposed", sizes={"d": 3, "n": 3},
          vjp=lambda d, W, x, b, y: (_LOGISTIC(d, W, x, b, y)[0].T.copy(), *_LOGISTIC(d, W, x, b, y)[1:])),
    fault("logistic-bias-missing", "missing term", VJP, "missing-path",
          vjp=m.changed(_LOGISTIC, np.zeros_like, only=2)),
    fault("logistic-order", "argument order", VJP, "exchanged", vjp=m.picked(_LOGISTIC, [0, 2, 1, 3])),
    fault("logistic-forward-without-bias", "missing term", FORWARD,
          forward=m.fed(forward("logistic_regression"), lambda W, x, b, y: (W, x, 0 * b, y))),
    fault("logistic-captured", "captured weights", VJP, "stale", vjp=m.captured(_LOGISTIC, [1, 3])),
    fault("logistic-cached", "stale state", "sees_what_changed_in_place", "stale", vjp=m.cached_by_identity(_LOGISTIC)),
    fault("logistic-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(_LOGISTIC, [0, 2], 0)),
    fault("logistic-adds-up", "stale state", "says_the_same_twice", "stale", vjp=m.accumulated(_LOGISTIC, only=2)),
    fault("logistic-remembers", "stale state", FORWARD, "stale", forward=m.remembered(forward("logistic_regression"))),
    fault("logistic-always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32, vjp=m.float64_results(_LOGISTIC)),
    fault("logistic-tail-8", "tail of a tile", VJP, "tile-tail", sizes={"n": 9}, vjp=m.drop_tail(_LOGISTIC, 8, only=0)),
]  # fmt: skip

LOSSES = [*SQUARED_ERROR, *LINEAR_REGRESSION, *CROSS_ENTROPY, *LOGISTIC_REGRESSION]
