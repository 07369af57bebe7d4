"""Wrong scalar functions."""

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import at_output, sigmoid
from .makers import (
    F32,
    F64,
    FORWARD,
    JACOBIAN,
    VJP,
    Array,
    Function,
    by_pointer,
    cached_by_identity,
    computed_in,
    drop_tail,
    element,
    first_tile,
    float64_results,
    flushed,
    forward,
    nan_to_zero,
    noisy,
    remembered,
    scaled,
    vjp,
)
from .table import Fault


def _slope(dh: Function) -> Function:
    """A vjp, `δ ⊙ h′(x)`."""
    return lambda delta, x: (delta * dh(x),)


def _exp_in_place(x: Array) -> Array:
    return np.exp(x, out=x).copy()


def _gelu_tanh_slope(x: Array, cubic: float, three: float) -> Array:
    v = np.tanh((2 / np.pi) ** 0.5 * (x + cubic * x**3))
    return (1 + v) / 2 + x / 2 * (1 - v * v) * (2 / np.pi) ** 0.5 * (1 + three * cubic * x**2)


EXP = [
    Fault("exp-at-output", "exp", "h′ at the output", VJP, "h-prime-at-output", vjp=_slope(at_output("exp").dh)),
    Fault("exp-missing", "exp", "missing term", VJP, "missing-h-prime", vjp=lambda d, x: (d.copy(),)),
    Fault("exp-clipped-at-88", "exp", "clipping", FORWARD, dtypes=F64,
          forward=lambda x: np.exp(np.clip(x, -88, 88))),
    Fault("exp-float32", "exp", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp("exp"), np.float32)),
    Fault("exp-in-place", "exp", "mutation", "leaves_its_inputs_alone", "writes-input", forward=_exp_in_place),
    Fault("exp-flushed", "exp", "clipping", FORWARD, dtypes=F64, forward=flushed(forward("exp"), 1e-30)),
    Fault("exp-power-of-2.718281828", "exp", "precision", FORWARD, dtypes=F64,
          forward=lambda x: np.power(2.718281828, x)),
]  # fmt: skip

LOG = [
    Fault("log-epsilon", "log", "clipping", FORWARD, "clipped", forward=lambda x: np.log(x + x.dtype.type(1e-12))),
    Fault("log-slope-epsilon", "log", "clipping", VJP, "clipped", vjp=_slope(lambda x: 1 / (x + x.dtype.type(1e-8)))),
    Fault("log-slope-at-least", "log", "clipping", VJP, "clipped",
          vjp=_slope(lambda x: 1 / np.maximum(x, x.dtype.type(1e-12)))),
    Fault("log-at-output", "log", "h′ at the output", VJP, "h-prime-at-output", vjp=_slope(lambda x: 1 / np.log(x))),
    Fault("log-through-log1p", "log", "cancellation", FORWARD, forward=lambda x: np.log1p(x - 1)),
    Fault("log-base-10-slope", "log", "factor",
          VJP, "factor", vjp=_slope(lambda x: 1 / (x * np.log(10).astype(x.dtype)))),
    Fault("log-by-pointer", "log", "memory layout", "takes_any_memory_layout", "layout",
          vjp=by_pointer(vjp("log"))),
]  # fmt: skip

RECIPROCAL = [
    Fault("reciprocal-sign", "reciprocal", "sign", VJP, "sign", vjp=_slope(lambda x: 1 / x / x)),
    Fault("reciprocal-not-squared", "reciprocal", "formula", VJP, vjp=_slope(lambda x: -1 / x)),
    Fault("reciprocal-newton", "reciprocal", "precision", FORWARD, dtypes=F64,
          forward=lambda x: (lambda r: r * (2 - x * r))((1 / x) * (1 + 3e-5))),
    Fault("reciprocal-epsilon", "reciprocal", "clipping", FORWARD, "clipped",
          forward=lambda x: x / (x * x + x.dtype.type(1e-12))),
]  # fmt: skip

PLAIN = [
    Fault("negate-sign", "negate", "sign", VJP, "sign", vjp=lambda d, x: (d.copy(),)),
    Fault("negate-cotangent-ignored", "negate", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x: (-np.ones_like(x),)),
    Fault("negate-in-place", "negate", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=lambda d, x: (np.negative(d, out=d).copy(),)),
    Fault("square-no-factor", "square", "factor", VJP, "factor", vjp=_slope(lambda x: x.copy())),
    Fault("square-at-output", "square", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_slope(lambda x: 2 * x * x)),
    Fault("square-tail-32", "square", "tail of a tile", VJP, "tile-tail", sizes={"n": 33},
          vjp=drop_tail(vjp("square"), 32)),
    Fault("square-first-256", "square", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 257},
          forward=first_tile(forward("square"), 256)),
    Fault("square-jacobian-dense", "square", "formula", JACOBIAN, "only-n-1",
          jacobian=lambda x: (np.broadcast_to(2 * x, (len(x), len(x))).copy(),)),
    Fault("identity-returns-its-argument", "identity", "aliasing", "leaves_its_inputs_alone", "aliasing",
          asks="aliasing", forward=lambda x: x),
    Fault("identity-view", "identity", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x: (d[...],)),
    Fault("identity-input", "identity", "formula", VJP, "cotangent-ignored", vjp=lambda d, x: (x.copy(),)),
]  # fmt: skip

TANH = [
    Fault("tanh-slope-of-the-input", "tanh", "formula", VJP, "input-for-output", vjp=_slope(lambda x: 1 - x * x)),
    Fault("tanh-at-output", "tanh", "h′ at the output", VJP, "h-prime-at-output", vjp=_slope(at_output("tanh").dh)),
    Fault("tanh-not-squared", "tanh", "formula", VJP, vjp=_slope(lambda x: 1 - np.tanh(x))),
    Fault("tanh-exponentials", "tanh", "overflow", FORWARD, "overflow",
          forward=lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
    Fault("tanh-pade", "tanh", "formula", FORWARD, forward=lambda x: x * (27 + x * x) / (27 + 9 * x * x)),
    Fault("tanh-1e-9", "tanh", "precision", FORWARD, dtypes=F64, forward=scaled(forward("tanh"), 1 + 1e-9)),
    Fault("tanh-noise", "tanh", "noise", "says_the_same_twice", "noise", forward=noisy(forward("tanh"))),
    Fault("tanh-zero-nan", "tanh", "exact zeros", FORWARD, forward=lambda x: x * (np.tanh(x) / x)),
]  # fmt: skip

SIGMOID = [
    Fault("sigmoid-at-output", "sigmoid", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_slope(at_output("sigmoid").dh)),
    Fault("sigmoid-input-as-output", "sigmoid", "formula", VJP, "input-for-output", vjp=_slope(lambda x: x * (1 - x))),
    Fault("sigmoid-exponentials", "sigmoid", "overflow", FORWARD, "overflow",
          forward=lambda x: np.exp(x) / (1 + np.exp(x))),
    Fault("sigmoid-clipped-logits", "sigmoid", "clipping", FORWARD, forward=lambda x: sigmoid(np.clip(x, -15, 15))),
    Fault("sigmoid-keras-epsilon", "sigmoid", "clipping", FORWARD,
          forward=lambda x: np.clip(sigmoid(x), 1e-7, 1 - 1e-7)),
    Fault("sigmoid-complement", "sigmoid", "saturation", FORWARD, forward=lambda x: 1 - sigmoid(-x)),
    Fault("sigmoid-remembers", "sigmoid", "stale state", FORWARD, "stale",
          forward=remembered(forward("sigmoid"))),
    Fault("sigmoid-always-float64", "sigmoid", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          forward=float64_results(forward("sigmoid"))),
]  # fmt: skip

RELU = [
    Fault("relu-one-at-zero", "relu", "kink", VJP, "kink", asks="kink", vjp=_slope(lambda x: np.heaviside(x, 1))),
    Fault("relu-half-at-zero", "relu", "kink", VJP, "kink", asks="kink",
          vjp=_slope(lambda x: np.heaviside(x, x.dtype.type(0.5)))),
    Fault("relu-nan-at-zero", "relu", "kink", VJP, "kink", vjp=_slope(lambda x: np.maximum(x, 0) / x)),
    Fault("relu-threshold", "relu", "kink", VJP, vjp=_slope(lambda x: (x > 1e-6).astype(x.dtype))),
    Fault("relu-hides-nan", "relu", "NaN hidden", "nan_in_nan_out", forward=lambda x: np.fmax(x, 0)),
    Fault("relu-guided", "relu", "cotangent ignored", "vjp_is_linear",
          vjp=lambda d, x: (d * (x > 0) * (d > 0),)),
    Fault("relu-six", "relu", "clipping", FORWARD, "clipped", forward=lambda x: np.clip(x, 0, 6)),
    Fault("relu-mask-of-the-cotangent", "relu", "formula", VJP, vjp=lambda d, x: (d * (d > 0),)),
    Fault("leaky-relu-slope", "leaky_relu", "factor", VJP, vjp=_slope(lambda x: np.where(x < 0, x.dtype.type(0.1), 1))),
    Fault("leaky-relu-slope-of-float32", "leaky_relu", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x: np.where(x < 0, float(np.float32(0.01)) * x, x)),
    Fault("leaky-relu-of-the-cotangent", "leaky_relu", "formula", "vjp_is_linear",
          vjp=lambda d, x: (np.where(d < 0, d * d.dtype.type(0.01), d),)),
    Fault("leaky-relu-as-relu", "leaky_relu", "missing term", VJP, "another-function",
          vjp=_slope(lambda x: (x >= 0).astype(x.dtype))),
    Fault("leaky-relu-at-zero", "leaky_relu", "kink", VJP, "kink", asks="kink",
          vjp=_slope(lambda x: np.where(x <= 0, x.dtype.type(0.01), x.dtype.type(1)))),
]  # fmt: skip

SMOOTH = [
    Fault("elu-slope-one-less", "elu", "missing term", VJP,
          vjp=_slope(lambda x: np.where(x > 0, 1, np.expm1(np.minimum(x, 0))))),
    Fault("elu-products", "elu", "overflow", VJP, "overflow",
          vjp=_slope(lambda x: (x > 0) + (x <= 0) * np.exp(x))),
    Fault("elu-exp-minus-one", "elu", "cancellation", FORWARD,
          forward=lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    Fault("softplus-naive", "softplus", "overflow", FORWARD, "overflow", forward=lambda x: np.log1p(np.exp(x))),
    Fault("softplus-log-of-one-plus", "softplus", "saturation", FORWARD,
          forward=lambda x: np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))),
    Fault("softplus-missing", "softplus", "missing term", VJP, "missing-h-prime", vjp=lambda d, x: (d.copy(),)),
    Fault("softplus-at-output", "softplus", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_slope(at_output("softplus").dh)),
    Fault("softplus-tail-128", "softplus", "tail of a tile", VJP, "tile-tail", sizes={"n": 129},
          vjp=drop_tail(vjp("softplus"), 128)),
    Fault("silu-one-term", "silu", "missing term", VJP, "missing-path", vjp=_slope(sigmoid)),
    Fault("silu-beta", "silu", "formula", FORWARD, forward=lambda x: x * sigmoid(1.702 * x)),
    Fault("silu-saturated-nan", "silu", "overflow", FORWARD, "overflow",
          forward=lambda x: x * np.exp(x) / (1 + np.exp(x))),
    Fault("silu-nan-to-zero", "silu", "NaN hidden", "nan_in_nan_out", vjp=nan_to_zero(vjp("silu"))),
    Fault("gelu-by-tanh", "gelu", "formula", FORWARD, "another-function", forward=forward("gelu_tanh")),
    Fault("gelu-by-sigmoid", "gelu", "formula", VJP,
          vjp=_slope(lambda x: (lambda v, s: s + v * s * (1 - s))(1.702 * x, sigmoid(1.702 * x)))),
    Fault("gelu-cached", "gelu", "stale state", "sees_what_changed_in_place", "stale",
          vjp=cached_by_identity(vjp("gelu"))),
    Fault("gelu-float32-table", "gelu", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp("gelu"), np.float32)),
    Fault("gelu-tanh-0.0447", "gelu_tanh", "precision", VJP, vjp=_slope(lambda x: _gelu_tanh_slope(x, 0.0447, 3))),
    Fault("gelu-tanh-no-three", "gelu_tanh", "factor", VJP, vjp=_slope(lambda x: _gelu_tanh_slope(x, 0.044715, 1))),
    Fault("gelu-tanh-first-entry", "gelu_tanh", "single element", VJP, "single-element",
          vjp=element(vjp("gelu_tanh"), (0,), 1.5)),
    Fault("gelu-tanh-by-erf", "gelu_tanh", "formula", VJP, "another-function", vjp=_slope(SCALAR_FUNCTIONS["gelu"].dh)),
]  # fmt: skip

FUNCTIONS = [*EXP, *LOG, *RECIPROCAL, *PLAIN, *TANH, *SIGMOID, *RELU, *SMOOTH]
