"""Wrong scalar functions."""

from functools import partial

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import at_output, gelu_tanh_slope, sigmoid
from . import makers as m
from .makers import F32, F64, FORWARD, JACOBIAN, VJP, forward, slope, vjp
from .table import Fault

fault = partial(Fault, "exp")
EXP = [
    fault("exp-at-output", "h′ at the output", VJP, "h-prime-at-output", vjp=slope(at_output("exp").dh)),
    fault("exp-missing", "missing term", VJP, "missing-h-prime", vjp=lambda d, x: (d.copy(),)),
    fault("exp-clipped-at-88", "clipping", FORWARD, dtypes=F64, forward=lambda x: np.exp(np.clip(x, -88, 88))),
    fault("exp-float32", "precision", VJP, "lower-precision", dtypes=F64, vjp=m.computed_in(vjp("exp"), np.float32)),
    fault("exp-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          forward=lambda x: np.exp(x, out=x).copy()),
    fault("exp-flushed", "clipping", FORWARD, dtypes=F64, forward=m.flushed(forward("exp"), 1e-30)),
    fault("exp-power-of-2.718281828", "precision", FORWARD, dtypes=F64, forward=lambda x: np.power(2.718281828, x)),
]  # fmt: skip

fault = partial(Fault, "log")
LOG = [
    fault("log-epsilon", "clipping", FORWARD, "clipped", forward=lambda x: np.log(x + x.dtype.type(1e-12))),
    fault("log-slope-epsilon", "clipping", VJP, "clipped", vjp=slope(lambda x: 1 / (x + x.dtype.type(1e-8)))),
    fault("log-slope-at-least", "clipping", VJP, "clipped",
          vjp=slope(lambda x: 1 / np.maximum(x, x.dtype.type(1e-12)))),
    fault("log-at-output", "h′ at the output", VJP, "h-prime-at-output", vjp=slope(lambda x: 1 / np.log(x))),
    fault("log-through-log1p", "cancellation", FORWARD, forward=lambda x: np.log1p(x - 1)),
    fault("log-base-10-slope", "factor", VJP, "factor", vjp=slope(lambda x: 1 / (x * np.log(10).astype(x.dtype)))),
    fault("log-by-pointer", "memory layout", "takes_any_memory_layout", "layout", vjp=m.by_pointer(vjp("log"))),
]  # fmt: skip

fault = partial(Fault, "reciprocal")
RECIPROCAL = [
    fault("reciprocal-sign", "sign", VJP, "sign", vjp=slope(lambda x: 1 / x / x)),
    fault("reciprocal-not-squared", "formula", VJP, vjp=slope(lambda x: -1 / x)),
    fault("reciprocal-newton", "precision", FORWARD, dtypes=F64,
          forward=lambda x: (lambda r: r * (2 - x * r))((1 / x) * (1 + 3e-5))),
    fault("reciprocal-epsilon", "clipping", FORWARD, "clipped", forward=lambda x: x / (x * x + x.dtype.type(1e-12))),
]  # fmt: skip

PLAIN = [
    Fault("negate", "negate-sign", "sign", VJP, "sign", vjp=lambda d, x: (d.copy(),)),
    Fault("negate", "negate-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x: (-np.ones_like(x),)),
    Fault("negate", "negate-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=lambda d, x: (np.negative(d, out=d).copy(),)),
    Fault("square", "square-scratch-in-the-cotangent", "memory layout", "takes_any_memory_layout", "layout",
          vjp=m.scratch_in_the_cotangent(vjp("square"))),
    Fault("square", "square-kept-and-handed-out", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=m.handed_out(vjp("square"))),
    Fault("square", "square-no-factor", "factor", VJP, "factor", vjp=slope(lambda x: x.copy())),
    Fault("square", "square-at-output", "h′ at the output", VJP, "h-prime-at-output", vjp=slope(lambda x: 2 * x * x)),
    Fault("square", "square-tail-32", "tail of a tile", VJP, "tile-tail", sizes={"n": 33},
          vjp=m.drop_tail(vjp("square"), 32)),
    Fault("square", "square-first-256", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 257},
          forward=m.first_tile(forward("square"), 256)),
    Fault("square", "square-jacobian-dense", "formula", JACOBIAN, "only-n-1",
          jacobian=lambda x: (np.broadcast_to(2 * x, (len(x), len(x))).copy(),)),
    Fault("identity", "identity-returns-its-argument", "aliasing", "leaves_its_inputs_alone", "aliasing",
          asks="aliasing", forward=lambda x: x),
    Fault("identity", "identity-view", "aliasing", "leaves_its_inputs_alone", "aliasing", asks="aliasing",
          vjp=lambda d, x: (d[...],)),
    Fault("identity", "identity-input", "formula", VJP, "cotangent-ignored", vjp=lambda d, x: (x.copy(),)),
]  # fmt: skip

fault = partial(Fault, "tanh")
TANH = [
    fault("tanh-slope-of-the-input", "formula", VJP, "input-for-output", vjp=slope(lambda x: 1 - x * x)),
    fault("tanh-at-output", "h′ at the output", VJP, "h-prime-at-output", vjp=slope(at_output("tanh").dh)),
    fault("tanh-not-squared", "formula", VJP, vjp=slope(lambda x: 1 - np.tanh(x))),
    fault("tanh-exponentials", "overflow", FORWARD, "overflow",
          forward=lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
    fault("tanh-pade", "formula", FORWARD, forward=lambda x: x * (27 + x * x) / (27 + 9 * x * x)),
    fault("tanh-1e-9", "precision", FORWARD, dtypes=F64, forward=m.scaled(forward("tanh"), 1 + 1e-9)),
    fault("tanh-noise", "noise", "says_the_same_twice", "noise", forward=m.noisy(forward("tanh"))),
    fault("tanh-zero-nan", "exact zeros", FORWARD, forward=lambda x: x * (np.tanh(x) / x)),
]  # fmt: skip

fault = partial(Fault, "sigmoid")
SIGMOID = [
    fault("sigmoid-at-output", "h′ at the output", VJP, "h-prime-at-output", vjp=slope(at_output("sigmoid").dh)),
    fault("sigmoid-input-as-output", "formula", VJP, "input-for-output", vjp=slope(lambda x: x * (1 - x))),
    fault("sigmoid-exponentials", "overflow", FORWARD, "overflow", forward=lambda x: np.exp(x) / (1 + np.exp(x))),
    fault("sigmoid-clipped-logits", "clipping", FORWARD, forward=lambda x: sigmoid(np.clip(x, -15, 15))),
    fault("sigmoid-keras-epsilon", "clipping", FORWARD, forward=lambda x: np.clip(sigmoid(x), 1e-7, 1 - 1e-7)),
    fault("sigmoid-complement", "saturation", FORWARD, forward=lambda x: 1 - sigmoid(-x)),
    fault("sigmoid-remembers", "stale state", FORWARD, "stale", forward=m.remembered(forward("sigmoid"))),
    fault("sigmoid-always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          forward=m.float64_results(forward("sigmoid"))),
]  # fmt: skip

OTHERS = [
    Fault("relu", "relu-one-at-zero", "kink", VJP, "kink", asks="kink", vjp=slope(lambda x: np.heaviside(x, 1))),
    Fault("relu", "relu-half-at-zero", "kink", VJP, "kink", asks="kink",
          vjp=slope(lambda x: np.heaviside(x, x.dtype.type(0.5)))),
    Fault("relu", "relu-nan-at-zero", "kink", VJP, "kink", vjp=slope(lambda x: np.maximum(x, 0) / x)),
    Fault("relu", "relu-threshold", "kink", VJP, vjp=slope(lambda x: (x > 1e-6).astype(x.dtype))),
    Fault("relu", "relu-product-at-infinity", "infinity", "infinities_give_what_the_definition_gives", "infinity",
          asks="infinity", forward=lambda x: x * (x > 0)),
    Fault("relu", "relu-hides-nan", "NaN hidden", "nan_in_nan_out", forward=lambda x: np.fmax(x, 0)),
    Fault("relu", "relu-guided", "cotangent ignored", "vjp_is_linear", vjp=lambda d, x: (d * (x > 0) * (d > 0),)),
    Fault("relu", "relu-six", "clipping", FORWARD, "clipped", forward=lambda x: np.clip(x, 0, 6)),
    Fault("relu", "relu-mask-of-the-cotangent", "formula", VJP, vjp=lambda d, x: (d * (d > 0),)),
    Fault("leaky_relu", "leaky-relu-slope", "factor", VJP, "constant",
          vjp=slope(lambda x: np.where(x < 0, x.dtype.type(0.1), 1))),
    Fault("leaky_relu", "leaky-relu-slope-of-float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x: np.where(x < 0, float(np.float32(0.01)) * x, x)),
    Fault("leaky_relu", "leaky-relu-of-the-cotangent", "formula", "vjp_is_linear",
          vjp=lambda d, x: (np.where(d < 0, d * d.dtype.type(0.01), d),)),
    Fault("leaky_relu", "leaky-relu-as-relu", "missing term", VJP, "another-function",
          vjp=slope(lambda x: (x >= 0).astype(x.dtype))),
    Fault("leaky_relu", "leaky-relu-at-zero", "kink", VJP, "kink", asks="kink",
          vjp=slope(lambda x: np.where(x <= 0, x.dtype.type(0.01), x.dtype.type(1)))),
    Fault("elu", "elu-slope-one-less", "missing term", VJP,
          vjp=slope(lambda x: np.where(x > 0, 1, np.expm1(np.minimum(x, 0))))),
    Fault("elu", "elu-products", "overflow", VJP, "overflow", vjp=slope(lambda x: (x > 0) + (x <= 0) * np.exp(x))),
    Fault("elu", "elu-exp-minus-one", "cancellation", FORWARD,
          forward=lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    Fault("softplus", "softplus-naive", "overflow", FORWARD, "overflow", forward=lambda x: np.log1p(np.exp(x))),
    Fault("softplus", "softplus-log-of-one-plus", "saturation", FORWARD,
          forward=lambda x: np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))),
    Fault("softplus", "softplus-missing", "missing term", VJP, "missing-h-prime", vjp=lambda d, x: (d.copy(),)),
    Fault("softplus", "softplus-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=slope(at_output("softplus").dh)),
    Fault("softplus", "softplus-tail-128", "tail of a tile", VJP, "tile-tail", sizes={"n": 129},
          vjp=m.drop_tail(vjp("softplus"), 128)),
    Fault("silu", "silu-one-term", "missing term", VJP, "missing-path", vjp=slope(sigmoid)),
    Fault("silu", "silu-beta", "formula", FORWARD, forward=lambda x: x * sigmoid(1.702 * x)),
    Fault("silu", "silu-saturated-nan", "overflow", FORWARD, "overflow",
          forward=lambda x: x * np.exp(x) / (1 + np.exp(x))),
    Fault("silu", "silu-nan-to-zero", "NaN hidden", "nan_in_nan_out", vjp=m.nan_to_zero(vjp("silu"))),
    Fault("gelu", "gelu-by-tanh", "formula", FORWARD, "another-function", forward=forward("gelu_tanh")),
    Fault("gelu", "gelu-by-sigmoid", "formula", VJP,
          vjp=slope(lambda x: (lambda v, s: s + v * s * (1 - s))(1.702 * x, sigmoid(1.702 * x)))),
    Fault("gelu", "gelu-cached", "stale state", "sees_what_changed_in_place", "stale",
          vjp=m.cached_by_identity(vjp("gelu"))),
    Fault("gelu", "gelu-float32-table", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp("gelu"), np.float32)),
    Fault("gelu_tanh", "gelu-tanh-0.0447", "precision", VJP, "constant",
          vjp=slope(lambda x: gelu_tanh_slope(x, 0.0447, 3))),
    Fault("gelu_tanh", "gelu-tanh-no-three", "factor", VJP, vjp=slope(lambda x: gelu_tanh_slope(x, 0.044715, 1))),
    Fault("gelu_tanh", "gelu-tanh-first-entry", "single element", VJP, "single-element",
          vjp=m.element(vjp("gelu_tanh"), (0,), 1.5)),
    Fault("gelu_tanh", "gelu-tanh-by-erf", "formula", VJP, "another-function", vjp=slope(SCALAR_FUNCTIONS["gelu"].dh)),
]  # fmt: skip

FUNCTIONS = [*EXP, *LOG, *RECIPROCAL, *PLAIN, *TANH, *SIGMOID, *OTHERS]
