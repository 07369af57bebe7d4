"""Wrong two-layer networks and wrong back-propagation."""

from typing import Any

import numpy as np

from backprop_reference.jacobians import Row
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import at_output, network, no_slope, softmax
from . import makers as m
from .makers import F64, FORWARD, JACOBIAN, VJP, Array, Function, dense, forward, vjp
from .table import Fault


def _steps_in_place(f: Function) -> Function:
    """Stochastic gradient descent in the backward pass."""

    def wrong(delta: Array, W1: Array, *args: Array) -> Any:
        results = f(delta, W1, *args)
        W1 -= W1.dtype.type(0.01) * (1 + results[0])
        return results

    return wrong


_TANH, _SIGMOID = "two_layer_network[tanh]", "two_layer_network[sigmoid]"
_RELU, _GELU = "two_layer_network[relu]", "two_layer_network[gelu]"
_ONE, _TWO = "backpropagation[tanh]", "backpropagation[sigmoid,identity]"
_THREE = "backpropagation[tanh,softplus,identity]"
_SQUARE = {"k": 3, "n": 3, "d": 3}

TWO_LAYERS = [
    Fault(_TANH, "two-layers-tanh-missing", "missing term", VJP, "missing-h-prime",
          vjp=network([no_slope("tanh"), "identity"])),
    Fault(_TANH, "two-layers-tanh-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("tanh"), "identity"])),
    Fault(_TANH, "two-layers-tanh-sum-is-one", "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=network(["tanh", "identity"], slope=lambda s, y: s - y)),
    Fault(_TANH, "two-layers-tanh-turned", "transpose", VJP, "transposed", sizes=_SQUARE,
          vjp=network(["tanh", "identity"], back=lambda d, W: d @ W.T)),
    Fault(_TANH, "two-layers-tanh-after-the-step", "stale state", VJP,
          vjp=m.fed(vjp(_TANH), lambda d, W1, b1, W2, *rest: (d, W1, b1, W2 - W2.dtype.type(0.01) * W2, *rest))),
    Fault(_TANH, "two-layers-tanh-steps-in-place", "mutation", "leaves_its_inputs_alone", "writes-input",
          vjp=_steps_in_place(vjp(_TANH))),
    Fault(_TANH, "two-layers-tanh-jacobian", "missing term", JACOBIAN, "missing-h-prime",
          jacobian=lambda *args: network([no_slope("tanh"), "identity"])(np.ones((), args[0].dtype), *args)),
    Fault(_SIGMOID, "two-layers-sigmoid-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("sigmoid"), "identity"])),
    Fault(_SIGMOID, "two-layers-sigmoid-first-layer-missing", "missing term", VJP, "missing-path",
          vjp=m.changed(m.changed(vjp(_SIGMOID), np.zeros_like, only=0), np.zeros_like, only=1)),
    Fault(_SIGMOID, "two-layers-sigmoid-captured", "captured weights", VJP, "stale",
          vjp=m.captured(vjp(_SIGMOID), [1, 2, 3, 4])),
    Fault(_SIGMOID, "two-layers-sigmoid-layers-swapped", "argument order", VJP, "exchanged", sizes=_SQUARE,
          vjp=m.picked(vjp(_SIGMOID), [2, 3, 0, 1, 4, 5])),
    Fault(_RELU, "two-layers-relu-target-missing", "missing term", VJP, "missing-path",
          vjp=m.changed(vjp(_RELU), np.zeros_like, only=5)),
    Fault(_RELU, "two-layers-relu-sign", "sign", VJP, "sign", vjp=m.scaled(vjp(_RELU), -1)),
    Fault(_RELU, "two-layers-relu-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp(_RELU), [0, 1, 2, 3], 0)),
    Fault(_RELU, "two-layers-relu-hidden-past-64", "tail of a tile", VJP, "tile-tail", sizes={"k": 65},
          vjp=m.drop_tail(vjp(_RELU), 64, only=2)),
    Fault(_RELU, "two-layers-relu-twice", "formula", FORWARD,
          forward=lambda W1, b1, W2, b2, x, y: forward("softmax_cross_entropy")(
              np.maximum(np.maximum(x @ W1.T + b1, 0) @ W2.T + b2, 0), y)),
    Fault(_GELU, "two-layers-gelu-by-tanh", "formula", VJP, "another-function", vjp=network(["gelu_tanh", "identity"])),
    Fault(_GELU, "two-layers-gelu-float32", "precision", VJP, "lower-precision", dtypes=F64,
          vjp=m.computed_in(vjp(_GELU), np.float32)),
    Fault(_GELU, "two-layers-gelu-cached", "stale state", "sees_what_changed_in_place", "stale",
          forward=m.cached_by_identity(forward(_GELU))),
    Fault(_GELU, "two-layers-gelu-1e-9", "precision", VJP, dtypes=F64, vjp=m.scaled(vjp(_GELU), 1 + 1e-9, only=3)),
]  # fmt: skip

BACKPROPAGATION = [
    Fault(_ONE, "backpropagation-output-slope-missing", "missing term", VJP, "missing-h-prime",
          vjp=network([no_slope("tanh")])),
    Fault(_ONE, "backpropagation-output-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=network([at_output("tanh")])),
    Fault(_ONE, "backpropagation-cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=m.fed(vjp(_ONE), lambda d, *args: (np.ones_like(d), *args))),
    Fault(_ONE, "backpropagation-weights-of-the-output", "formula", VJP, sizes={"m0": 3, "m1": 3},
          vjp=network(["tanh"], inputs=lambda h, i: h[i + 1])),
    Fault(_TWO, "backpropagation-sum-is-one", "sum(y) = 1", VJP, "sum-y-is-one",
          vjp=network(["sigmoid", "identity"], slope=lambda s, y: s - y)),
    Fault(_TWO, "backpropagation-softmax-in-the-loss-twice", "formula", FORWARD,
          forward=lambda W1, b1, W2, b2, x, y: forward("softmax_cross_entropy")(
              softmax(SCALAR_FUNCTIONS["sigmoid"].h(x @ W1.T + b1) @ W2.T + b2), y)),
    Fault(_TWO, "backpropagation-hidden-not-activated", "formula", VJP, sizes={"m0": 3, "m1": 3},
          vjp=network(["sigmoid", "identity"], inputs=lambda h, i: h[0])),
    Fault(_TWO, "backpropagation-element", "single element", VJP, "single-element",
          vjp=m.element(vjp(_TWO), (0, -1), 1.01, only=0)),
    Fault(_TWO, "backpropagation-jacobian-sign", "sign", "factors_equal_jax_and_multiply_to_the_jacobian", "sign",
          jacobian=m.changed(m.scaled(dense(_TWO), -1, only=4), Row)),
    Fault(_THREE, "backpropagation-middle-slope-missing", "missing term", VJP, "missing-h-prime",
          vjp=network(["tanh", no_slope("softplus"), "identity"])),
    Fault(_THREE, "backpropagation-middle-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=network(["tanh", at_output("softplus"), "identity"])),
    Fault(_THREE, "backpropagation-input-missing", "missing term", VJP, "missing-path",
          vjp=m.changed(vjp(_THREE), np.zeros_like, only=6)),
    Fault(_THREE, "backpropagation-layers-backwards", "argument order", VJP, "exchanged",
          vjp=m.picked(vjp(_THREE), [4, 5, 2, 3, 0, 1, 6, 7])),
    Fault(_THREE, "backpropagation-1e-5", "precision", VJP, dtypes=F64, vjp=m.scaled(vjp(_THREE), 1 + 1e-5, only=0)),
    Fault(_THREE, "backpropagation-batch-mean", "batch", "batch_equals_the_loop", "batch-mean", asks="batch",
          vjp=m.batch_mean(vjp(_THREE), range(6), 0)),
]  # fmt: skip

NETWORKS = [*TWO_LAYERS, *BACKPROPAGATION]
