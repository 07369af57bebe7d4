"""Wrong two-layer networks and wrong back-propagation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from backprop_reference.jacobians import Row
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import at_output, network, no_slope, softmax
from .makers import (
    F64,
    FORWARD,
    JACOBIAN,
    VJP,
    Array,
    Function,
    batch_mean,
    cached_by_identity,
    captured,
    changed,
    computed_in,
    dense,
    drop_tail,
    element,
    fed,
    forward,
    scaled,
    vjp,
)
from .table import Fault


def _sum_is_one(s: Array, y: Array) -> Array:
    return s - y


def _after_the_step(f: Function) -> Function:
    """The weights are updated on the way: gradients below see the new ones."""
    return fed(f, lambda d, W1, b1, W2, b2, x, y: (d, W1, b1, W2 - W2.dtype.type(0.01) * W2, b2, x, y))


def _steps_in_place(f: Function) -> Function:
    """Stochastic gradient descent in the backward pass."""

    def wrong(delta: Array, W1: Array, *args: Array) -> Any:
        results = f(delta, W1, *args)
        W1 -= W1.dtype.type(0.01) * (1 + results[0])
        return results

    return wrong


def _picked(f: Function, order: Sequence[int]) -> Function:
    return lambda *args: (lambda g: tuple(g[i].copy() for i in order))(f(*args))


_TANH, _SIGMOID = "two_layer_network[tanh]", "two_layer_network[sigmoid]"
_RELU, _GELU = "two_layer_network[relu]", "two_layer_network[gelu]"
_ONE, _TWO = "backpropagation[tanh]", "backpropagation[sigmoid,identity]"
_THREE = "backpropagation[tanh,softplus,identity]"
_SQUARE = {"k": 3, "n": 3, "d": 3}

TWO_LAYERS = [
    Fault("two-layers-tanh-missing", _TANH, "missing term", VJP, "missing-h-prime",
          vjp=network([no_slope("tanh"), "identity"])),
    Fault("two-layers-tanh-at-output", _TANH, "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("tanh"), "identity"])),
    Fault("two-layers-tanh-sum-is-one", _TANH, "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=network(["tanh", "identity"], slope=_sum_is_one)),
    Fault("two-layers-tanh-turned", _TANH, "transpose", VJP, "transposed", sizes=_SQUARE,
          vjp=network(["tanh", "identity"], back=lambda d, W: d @ W.T)),
    Fault("two-layers-tanh-after-the-step", _TANH, "stale state", VJP, vjp=_after_the_step(vjp(_TANH))),
    Fault("two-layers-tanh-steps-in-place", _TANH, "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=_steps_in_place(vjp(_TANH))),
    Fault("two-layers-tanh-jacobian", _TANH, "missing term", JACOBIAN, "missing-h-prime",
          jacobian=lambda *args: network([no_slope("tanh"), "identity"])(np.ones((), args[0].dtype), *args)),
    Fault("two-layers-sigmoid-at-output", _SIGMOID, "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("sigmoid"), "identity"])),
    Fault("two-layers-sigmoid-first-layer-missing", _SIGMOID, "missing term", VJP, "missing-path",
          vjp=changed(changed(vjp(_SIGMOID), np.zeros_like, only=0), np.zeros_like, only=1)),
    Fault("two-layers-sigmoid-captured", _SIGMOID, "captured weights", VJP, "stale",
          vjp=captured(vjp(_SIGMOID), [1, 2, 3, 4])),
    Fault("two-layers-sigmoid-layers-swapped", _SIGMOID, "argument order", VJP, "exchanged", sizes=_SQUARE,
          vjp=_picked(vjp(_SIGMOID), [2, 3, 0, 1, 4, 5])),
    Fault("two-layers-relu-target-missing", _RELU, "missing term", VJP, "missing-path",
          vjp=changed(vjp(_RELU), np.zeros_like, only=5)),
    Fault("two-layers-relu-sign", _RELU, "sign", VJP, "sign", vjp=scaled(vjp(_RELU), -1)),
    Fault("two-layers-relu-batch-mean", _RELU, "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=batch_mean(vjp(_RELU), [0, 1, 2, 3], 0)),
    Fault("two-layers-relu-hidden-past-64", _RELU, "tail of a tile", VJP, "tile-tail", sizes={"k": 65},
          vjp=drop_tail(vjp(_RELU), 64, only=2)),
    Fault("two-layers-relu-twice", _RELU, "formula", FORWARD,
          forward=lambda W1, b1, W2, b2, x, y: forward("softmax_cross_entropy")(
              np.maximum(np.maximum(x @ W1.T + b1, 0) @ W2.T + b2, 0), y)),
    Fault("two-layers-gelu-by-tanh", _GELU, "formula", VJP, "another-function", vjp=network(["gelu_tanh", "identity"])),
    Fault("two-layers-gelu-float32", _GELU, "precision", VJP, "lower-precision", dtypes=F64,
          vjp=computed_in(vjp(_GELU), np.float32)),
    Fault("two-layers-gelu-cached", _GELU, "stale state", "sees_what_changed_in_place", "stale",
          forward=cached_by_identity(forward(_GELU))),
    Fault("two-layers-gelu-1e-9", _GELU, "precision", VJP, dtypes=F64, vjp=scaled(vjp(_GELU), 1 + 1e-9, only=3)),
]  # fmt: skip

BACKPROPAGATION = [
    Fault("backpropagation-output-slope-missing", _ONE, "missing term", VJP, "missing-h-prime",
          vjp=network([no_slope("tanh")])),
    Fault("backpropagation-output-at-output", _ONE, "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("tanh")])),
    Fault("backpropagation-cotangent-ignored", _ONE, "cotangent ignored", VJP, "cotangent-ignored",
          vjp=fed(vjp(_ONE), lambda d, *args: (np.ones_like(d), *args))),
    Fault("backpropagation-weights-of-the-output", _ONE, "formula", VJP, sizes={"m0": 3, "m1": 3},
          vjp=network(["tanh"], inputs=lambda h, i: h[i + 1])),
    Fault("backpropagation-sum-is-one", _TWO, "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=network(["sigmoid", "identity"], slope=_sum_is_one)),
    Fault("backpropagation-softmax-in-the-loss-twice", _TWO, "formula", FORWARD,
          forward=lambda W1, b1, W2, b2, x, y: forward("softmax_cross_entropy")(
              softmax(SCALAR_FUNCTIONS["sigmoid"].h(x @ W1.T + b1) @ W2.T + b2), y)),
    Fault("backpropagation-hidden-not-activated", _TWO, "formula", VJP, sizes={"m0": 3, "m1": 3},
          vjp=network(["sigmoid", "identity"], inputs=lambda h, i: h[0])),
    Fault("backpropagation-element", _TWO, "single element", VJP, "single-element",
          vjp=element(vjp(_TWO), (0, -1), 1.01, only=0)),
    Fault("backpropagation-jacobian-sign", _TWO, "sign", "factors_equal_jax_and_multiply_to_the_jacobian", "sign",
          jacobian=changed(scaled(dense(_TWO), -1, only=4), Row)),
    Fault("backpropagation-middle-slope-missing", _THREE, "missing term", VJP, "missing-h-prime",
          vjp=network(["tanh", no_slope("softplus"), "identity"])),
    Fault("backpropagation-middle-at-output", _THREE, "h′ at the output", VJP, "h-prime-at-output",
          vjp=network(["tanh", at_output("softplus"), "identity"])),
    Fault("backpropagation-input-missing", _THREE, "missing term", VJP, "missing-path",
          vjp=changed(vjp(_THREE), np.zeros_like, only=6)),
    Fault("backpropagation-layers-backwards", _THREE, "argument order", VJP, "exchanged",
          vjp=_picked(vjp(_THREE), [4, 5, 2, 3, 0, 1, 6, 7])),
    Fault("backpropagation-1e-5", _THREE, "precision", VJP, dtypes=F64,
          vjp=scaled(vjp(_THREE), 1 + 1e-5, only=0)),
    Fault("backpropagation-batch-mean", _THREE, "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=batch_mean(vjp(_THREE), range(6), 0)),
]  # fmt: skip

NETWORKS = [*TWO_LAYERS, *BACKPROPAGATION]
