"""Digits lost, constants cut short, thresholds and approximations taken from other people's code."""

from typing import Any

import numpy as np

from backprop_reference import ScalarFunction
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import log_softmax, network, sigmoid, softmax
from .makers import F32, F64, FORWARD, VJP, Array, Function, changed, fed, forward, vjp
from .table import Fault


def _slope(dh: Function) -> Function:
    return lambda delta, x: (delta * dh(x),)


def _half(a: Array) -> Array:
    return a.astype(np.float16).astype(a.dtype)


def _erf(x: Array) -> Array:
    """Abramowitz and Stegun 7.1.26: an absolute 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - p * np.exp(-x * x))


def _gelu_tanh(x: Array, c: Any) -> Array:
    return (0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x**3)))).astype(x.dtype)


def _softmax_less(shift: Function) -> Function:
    def wrong(x: Array) -> Array:
        f = np.exp(x - shift(x))
        return f / f.sum(-1, keepdims=True)

    return wrong


def _mean_in(dtype: Any) -> Function:
    """The inner product of the softmax's vjp in another format."""

    def wrong(delta: Array, x: Array) -> tuple[Array]:
        s = softmax(x)
        inner = (s.astype(dtype) * delta.astype(dtype)).sum(-1, keepdims=True)
        return (s * (delta - inner.astype(x.dtype)),)

    return wrong


def _cross_entropy(log: Function, y_of: Function = lambda y: y) -> Function:
    return lambda x, y: -(y_of(y) * log(x)).sum(-1)


def _xent_vjp(y_of: Function, dy: Function = lambda x: -log_softmax(x)) -> Function:
    def wrong(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        t = y_of(y)
        return delta[..., None] * (t.sum(-1, keepdims=True) * softmax(x) - t), delta[..., None] * dy(x)

    return wrong


def _smoothed(y: Array) -> Array:
    return y * y.dtype.type(0.9) + y.dtype.type(0.1 / max(y.shape[-1], 1))


def _in_half(h: ScalarFunction) -> ScalarFunction:
    """A function whose pre-activations are stored in half precision for the way back."""
    return ScalarFunction(h.name, h.h, lambda z: h.dh(_half(z)))


_TWO = "two_layer_network[relu]"

NUMERICS = [
    Fault("numerics-1e-10", "exp", "precision", VJP, dtypes=F64, vjp=_slope(lambda x: np.exp(x) * (1 + 1e-10))),
    Fault("numerics-half-inside", "softmax", "precision", FORWARD, "lower-precision",
          forward=lambda x: (lambda f: f / f.sum(-1, keepdims=True))(_half(np.exp(x - x.max(-1, keepdims=True))))),
    Fault("numerics-tanh-stored-in-half", "tanh", "precision", VJP, "lower-precision",
          vjp=_slope(lambda x: 1 - _half(np.tanh(x)) ** 2)),
    Fault("numerics-inner-product-in-float32", "softmax", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=_mean_in(np.float32)),
    Fault("numerics-sum-in-half", "softmax", "precision", VJP, "lower-precision", dtypes=F32,
          vjp=_mean_in(np.float16)),
    Fault("numerics-cotangent-in-float32", "linear_regression", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=fed(vjp("linear_regression"), lambda d, *args: (d.astype(np.float32).astype(d.dtype), *args))),
    Fault("numerics-erf-of-the-handbook", "gelu", "precision", FORWARD, dtypes=F64,
          forward=lambda x: (x * (1 + _erf(x * 0.5**0.5)) / 2).astype(x.dtype)),
    Fault("numerics-constant-of-float32", "gelu_tanh", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x: _gelu_tanh(x, float(np.float32(2 / np.pi) ** np.float32(0.5)))),
    Fault("numerics-constant-of-ten-digits", "gelu_tanh", "precision", FORWARD, dtypes=F64,
          forward=lambda x: _gelu_tanh(x, 0.7978845608)),
    Fault("numerics-log-2-of-seven-digits", "log", "precision", FORWARD, dtypes=F64,
          forward=lambda x: np.log2(x) * 0.6931472),
    Fault("numerics-hard-sigmoid", "sigmoid", "formula", FORWARD,
          forward=lambda x: np.clip(x / 6 + x.dtype.type(0.5), 0, 1)),
    Fault("numerics-sigmoid-past-88", "sigmoid", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: np.where(x < -88, 0.0, sigmoid(np.maximum(x, -88)))),
    Fault("numerics-softplus-threshold-10", "softplus", "clipping", FORWARD,
          forward=lambda x: np.asarray(np.where(x > 10, x, np.log1p(np.exp(np.minimum(x, 10)))), x.dtype)),
    Fault("numerics-softplus-slope-threshold", "softplus", "clipping", VJP,
          vjp=_slope(lambda x: np.where(x > 10, 1, sigmoid(x)).astype(x.dtype))),
    Fault("numerics-tanh-flat-past-4", "tanh", "clipping", VJP,
          vjp=_slope(lambda x: np.where(np.abs(x) > 4, 0, 1 - np.tanh(x) ** 2).astype(x.dtype))),
    Fault("numerics-elu-flat-past-minus-10", "elu", "clipping", VJP,
          vjp=_slope(lambda x: np.where(x > 0, 1, np.where(x < -10, 0, np.exp(np.minimum(x, 0)))).astype(x.dtype))),
    Fault("numerics-reciprocal-at-least", "reciprocal", "clipping", FORWARD, "clipped",
          forward=lambda x: 1 / np.copysign(np.maximum(np.abs(x), x.dtype.type(1e-7)), x)),
    Fault("numerics-leaky-relu-root", "leaky_relu", "kink", FORWARD,
          forward=lambda x: (0.505 * x + 0.495 * np.sqrt(x * x + 1e-12)).astype(x.dtype)),
    Fault("numerics-relu-smoothed", "relu", "kink", VJP,
          vjp=_slope(lambda x: sigmoid(np.clip(1e3 * x, -80, 80)).astype(x.dtype))),
    Fault("numerics-softmax-less-the-first", "softmax", "overflow", FORWARD, "overflow",
          forward=_softmax_less(lambda x: x[..., :1])),
    Fault("numerics-softmax-less-the-size", "softmax", "overflow", FORWARD, "overflow",
          forward=_softmax_less(lambda x: np.abs(x).max(-1, keepdims=True))),
    Fault("numerics-softmax-max-from-zero", "softmax", "overflow", FORWARD, "overflow",
          forward=_softmax_less(lambda x: np.maximum(x.max(-1, keepdims=True), 0))),
    Fault("numerics-softmax-max-from-minus-1000", "softmax", "overflow", FORWARD, "overflow",
          forward=_softmax_less(lambda x: np.maximum(x.max(-1, keepdims=True), -1000))),
    Fault("numerics-softmax-epsilon-1e-12", "softmax", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: (lambda f: f / (f.sum(-1, keepdims=True) + 1e-12))(np.exp(x - x.max(-1, keepdims=True)))),
    Fault("numerics-cross-entropy-1e-15", "softmax_cross_entropy", "clipping", FORWARD, "clipped",
          forward=_cross_entropy(lambda x: np.log(softmax(x) + x.dtype.type(1e-15)))),
    Fault("numerics-cross-entropy-slope-clipped", "softmax_cross_entropy", "clipping", VJP,
          vjp=lambda d, x, y: (lambda s: (d[..., None] * (y.sum(-1, keepdims=True) * s - y),
                                          d[..., None] * -log_softmax(x)))(
              np.clip(softmax(x), x.dtype.type(1e-7), x.dtype.type(1 - 1e-7)))),
    Fault("numerics-cross-entropy-target-clipped", "softmax_cross_entropy", "clipping", FORWARD,
          forward=_cross_entropy(log_softmax, lambda y: np.clip(y, 0, 1))),
    Fault("numerics-cross-entropy-target-of-half", "softmax_cross_entropy", "one-hot", VJP, "one-hot-only",
          vjp=_xent_vjp(lambda y: (y > 0.5).astype(y.dtype))),
    Fault("numerics-cross-entropy-smoothed", "softmax_cross_entropy", "formula", VJP, vjp=_xent_vjp(_smoothed)),
    Fault("numerics-cross-entropy-target-not-normalised", "softmax_cross_entropy", "missing term", VJP, "missing-path",
          vjp=_xent_vjp(lambda y: y, lambda x: x.max(-1, keepdims=True) - x)),
    Fault("numerics-squared-error-rooted", "squared_error", "formula", FORWARD,
          forward=lambda x, y: np.sqrt(np.square(x - y).sum(-1) + x.dtype.type(1e-12))),
    Fault("numerics-squared-error-unsigned", "squared_error", "some values", VJP,
          vjp=changed(vjp("squared_error"), np.abs)),
    Fault("numerics-activations-stored-in-half", "two_layer_network[tanh]", "precision", VJP, "lower-precision",
          vjp=network([_in_half(SCALAR_FUNCTIONS["tanh"]), "identity"])),
    Fault("numerics-relu-mask-without-bias", _TWO, "h′ at the output", VJP,
          vjp=lambda d, W1, b1, *rest: vjp(_TWO)(d, W1, 0 * b1, *rest)),
    Fault("numerics-logits-capped", "logistic_regression", "clipping", FORWARD,
          forward=lambda W, x, b, y: -(y * log_softmax(30 * np.tanh((x @ W.T + b) / 30))).sum(-1)),
    Fault("numerics-weights-in-half", "backpropagation[tanh]", "precision", FORWARD, "lower-precision",
          forward=lambda W, b, x, y: forward("backpropagation[tanh]")(_half(W), b, x, y)),
    Fault("numerics-weight-decay", "backpropagation[sigmoid,identity]", "formula", VJP,
          vjp=lambda d, W1, *rest: (lambda g: (g[0] + W1.dtype.type(1e-4) * W1, *g[1:]))(
              vjp("backpropagation[sigmoid,identity]")(d, W1, *rest))),
]  # fmt: skip
