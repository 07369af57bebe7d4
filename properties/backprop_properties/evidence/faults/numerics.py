"""Digits lost, constants cut short, thresholds and approximations taken from other people's code."""

from typing import Any

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints import textbook as t
from .makers import F32, F64, FORWARD, VJP, Array, Function, changed, fed, forward, slope, vjp
from .table import Fault


def _half(a: Array) -> Array:
    return a.astype(np.float16).astype(a.dtype)


def _erf(x: Array) -> Array:
    """Abramowitz and Stegun 7.1.26: an absolute 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - p * np.exp(-x * x))


def _inner_in(dtype: Any) -> Function:
    """The inner product of the softmax's vjp in another format."""
    return t.softmax_vjp(inner=lambda s, delta: t.inner(s.astype(dtype), delta.astype(dtype)).astype(s.dtype))


def _target(y_of: Function) -> Function:
    """The vjp of the cross-entropy whose `∂L/∂x` has other targets."""
    return t.loss_vjp(lambda s, y: t.loss_slope(s, y_of(y)))


def _smoothed(y: Array) -> Array:
    return y * y.dtype.type(0.9) + y.dtype.type(0.1 / max(y.shape[-1], 1))


_TWO = "two_layer_network[relu]"

NUMERICS = [
    Fault("exp", "numerics-1e-10", "precision", VJP, dtypes=F64, vjp=slope(lambda x: np.exp(x) * (1 + 1e-10))),
    Fault("softmax", "numerics-half-inside", "precision", FORWARD, "lower-precision",
          forward=lambda x: t.normalised(_half(np.exp(x - x.max(-1, keepdims=True))))),
    Fault("tanh", "numerics-tanh-stored-in-half", "precision", VJP, "lower-precision",
          vjp=slope(lambda x: 1 - _half(np.tanh(x)) ** 2)),
    Fault("softmax", "numerics-inner-product-in-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=_inner_in(np.float32)),
    Fault("softmax", "numerics-sum-in-half", "precision", VJP, "lower-precision", dtypes=F32,
          vjp=_inner_in(np.float16)),
    Fault("linear_regression", "numerics-cotangent-in-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=fed(vjp("linear_regression"), lambda d, *args: (d.astype(np.float32).astype(d.dtype), *args))),
    Fault("gelu", "numerics-erf-of-the-handbook", "precision", FORWARD, dtypes=F64,
          forward=lambda x: (x * (1 + _erf(x * 0.5**0.5)) / 2).astype(x.dtype)),
    Fault("gelu_tanh", "numerics-constant-of-float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x: t.gelu_tanh(x, float(np.float32(2 / np.pi) ** np.float32(0.5)))),
    Fault("gelu_tanh", "numerics-constant-of-ten-digits", "precision", FORWARD, dtypes=F64,
          forward=lambda x: t.gelu_tanh(x, 0.7978845608)),
    Fault("log", "numerics-log-2-of-seven-digits", "precision", FORWARD, dtypes=F64,
          forward=lambda x: np.log2(x) * 0.6931472),
    Fault("sigmoid", "numerics-hard-sigmoid", "formula", FORWARD,
          forward=lambda x: np.clip(x / 6 + x.dtype.type(0.5), 0, 1)),
    Fault("sigmoid", "numerics-sigmoid-past-88", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: np.where(x < -88, 0.0, t.sigmoid(np.maximum(x, -88)))),
    Fault("softplus", "numerics-softplus-threshold-10", "clipping", FORWARD,
          forward=lambda x: np.asarray(np.where(x > 10, x, np.log1p(np.exp(np.minimum(x, 10)))), x.dtype)),
    Fault("softplus", "numerics-softplus-slope-threshold", "clipping", VJP,
          vjp=slope(lambda x: np.where(x > 10, 1, t.sigmoid(x)).astype(x.dtype))),
    Fault("tanh", "numerics-tanh-flat-past-4", "clipping", VJP,
          vjp=slope(lambda x: np.where(np.abs(x) > 4, 0, 1 - np.tanh(x) ** 2).astype(x.dtype))),
    Fault("elu", "numerics-elu-flat-past-minus-10", "clipping", VJP,
          vjp=slope(lambda x: np.where(x > 0, 1, np.where(x < -10, 0, np.exp(np.minimum(x, 0)))).astype(x.dtype))),
    Fault("reciprocal", "numerics-reciprocal-at-least", "clipping", FORWARD, "clipped",
          forward=lambda x: 1 / np.copysign(np.maximum(np.abs(x), x.dtype.type(1e-7)), x)),
    Fault("leaky_relu", "numerics-leaky-relu-root", "kink", FORWARD,
          forward=lambda x: (0.505 * x + 0.495 * np.sqrt(x * x + 1e-12)).astype(x.dtype)),
    Fault("relu", "numerics-relu-smoothed", "kink", VJP,
          vjp=slope(lambda x: t.sigmoid(np.clip(1e3 * x, -80, 80)).astype(x.dtype))),
    Fault("softmax", "numerics-softmax-less-the-first", "overflow", FORWARD, "overflow",
          forward=t.softmax_less(lambda x: x[..., :1])),
    Fault("softmax", "numerics-softmax-less-the-size", "overflow", FORWARD, "overflow",
          forward=t.softmax_less(lambda x: np.abs(x).max(-1, keepdims=True))),
    Fault("softmax", "numerics-softmax-max-from-zero", "overflow", FORWARD, "overflow",
          forward=t.softmax_less(lambda x: np.maximum(x.max(-1, keepdims=True), 0))),
    Fault("softmax", "numerics-softmax-max-from-minus-1000", "overflow", FORWARD, "overflow",
          forward=t.softmax_less(lambda x: np.maximum(x.max(-1, keepdims=True), -1000))),
    Fault("softmax", "numerics-softmax-epsilon-1e-12", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: (lambda f: f / (f.sum(-1, keepdims=True) + 1e-12))(np.exp(x - x.max(-1, keepdims=True)))),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-1e-15", "clipping", FORWARD, "clipped",
          forward=t.cross_entropy(lambda x: np.log(t.softmax(x) + x.dtype.type(1e-15)))),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-slope-clipped", "clipping", VJP,
          vjp=t.loss_vjp(s_of=lambda x: np.clip(t.softmax(x), x.dtype.type(1e-7), x.dtype.type(1 - 1e-7)))),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-target-clipped", "clipping", FORWARD,
          forward=t.cross_entropy(t.log_softmax, lambda y: np.clip(y, 0, 1))),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-target-of-half", "one-hot", VJP, "one-hot-only",
          vjp=_target(lambda y: (y > 0.5).astype(y.dtype))),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-smoothed", "formula", VJP, vjp=_target(_smoothed)),
    Fault("softmax_cross_entropy", "numerics-cross-entropy-target-not-normalised", "missing term", VJP, "missing-path",
          vjp=t.loss_vjp(dy=lambda x: x.max(-1, keepdims=True) - x)),
    Fault("squared_error", "numerics-squared-error-rooted", "formula", FORWARD,
          forward=lambda x, y: np.sqrt(np.square(x - y).sum(-1) + x.dtype.type(1e-12))),
    Fault("squared_error", "numerics-squared-error-unsigned", "some values", VJP,
          vjp=changed(vjp("squared_error"), np.abs)),
    Fault("two_layer_network[tanh]", "numerics-activations-stored-in-half", "precision", VJP, "lower-precision",
          vjp=t.network([t.bent("tanh", lambda z: SCALAR_FUNCTIONS["tanh"].dh(_half(z))), "identity"])),
    Fault(_TWO, "numerics-relu-mask-without-bias", "h′ at the output", VJP,
          vjp=lambda d, W1, b1, *rest: vjp(_TWO)(d, W1, 0 * b1, *rest)),
    Fault("logistic_regression", "numerics-logits-capped", "clipping", FORWARD,
          forward=lambda W, x, b, y: -(y * t.log_softmax(30 * np.tanh((x @ W.T + b) / 30))).sum(-1)),
    Fault("backpropagation[tanh]", "numerics-weights-in-half", "precision", FORWARD, "lower-precision",
          forward=lambda W, b, x, y: forward("backpropagation[tanh]")(_half(W), b, x, y)),
    Fault("backpropagation[sigmoid,identity]", "numerics-weight-decay", "formula", VJP,
          vjp=lambda d, W1, *rest: (lambda g: (g[0] + W1.dtype.type(1e-4) * W1, *g[1:]))(
              vjp("backpropagation[sigmoid,identity]")(d, W1, *rest))),
]  # fmt: skip
