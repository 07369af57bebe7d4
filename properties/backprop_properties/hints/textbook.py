"""Formulas as textbooks write them, with a place for each usual mistake: planted faults and hints are made of these."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_reference import ScalarFunction
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.signature import rows

Array = NDArray[Any]
Function = Callable[..., Any]


def bent(name: str, derivative: Function) -> ScalarFunction:
    """`h` with another derivative in place of `h′`."""
    return ScalarFunction(name, SCALAR_FUNCTIONS[name].h, derivative)


def at_output(name: str) -> ScalarFunction:
    """`h` with the derivative `h′(h(z))` in place of `h′(z)`."""
    h = SCALAR_FUNCTIONS[name]
    return bent(name, lambda z: h.dh(h.h(z)))


def no_slope(name: str) -> ScalarFunction:
    """`h` with the derivative 1 in place of `h′(z)`."""
    return bent(name, np.ones_like)


def normalised(f: Array) -> Array:
    return f / f.sum(-1, keepdims=True)


def softmax(x: Array) -> Array:
    return normalised(np.exp(x - x.max(-1, keepdims=True)))


def softmax_less(shift: Function) -> Function:
    """A softmax whose logits are shifted by another number than their largest."""
    return lambda x: normalised(np.exp(x - shift(x)))


def inner(s: Array, delta: Array) -> Array:
    return (s * delta).sum(-1, keepdims=True)


def softmax_vjp(s_of: Function = softmax, inner: Function = inner) -> Function:
    """`s ⊙ (δ − sᵀδ)`, with a place for a wrong softmax and for a wrong inner product."""

    def vjp(delta: Array, x: Array) -> tuple[Array]:
        s = s_of(x)
        return (s * (delta - inner(s, delta)),)

    return vjp


def log_softmax(x: Array) -> Array:
    z = x - x.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gelu_tanh(x: Array, c: Any = (2 / np.pi) ** 0.5) -> Array:
    return 0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x**3)))


def gelu_tanh_slope(x: Array, cubic: float = 0.044715, three: float = 3) -> Array:
    t = np.tanh((2 / np.pi) ** 0.5 * (x + cubic * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * (2 / np.pi) ** 0.5 * (1 + three * cubic * x**2)


def outer(delta: Array, x: Array) -> Array:
    """`δᵀ xᵀ`, summed over the batch."""
    return rows(delta).T @ rows(x)


def total(delta: Array) -> Array:
    """`δ`, summed over the batch."""
    return rows(delta).sum(0)


def loss_slope(s: Array, y: Array) -> Array:
    return y.sum(-1, keepdims=True) * s - y


def cross_entropy(log: Function = log_softmax, y_of: Function = lambda y: y) -> Function:
    """`−yᵀ log softmax(x)`, with a place for a wrong logarithm and for wrong targets."""
    return lambda x, y: -(y_of(y) * log(x)).sum(-1)


def loss_vjp(
    slope: Function = loss_slope, dy: Function = lambda x: -log_softmax(x), s_of: Function = softmax
) -> Function:
    """The vjp of the cross-entropy, with a place for a wrong `∂L/∂x`, a wrong `∂L/∂y` and a wrong softmax."""
    return lambda delta, x, y: (delta[..., None] * slope(s_of(x), y), delta[..., None] * dy(x))


def network(
    functions: Sequence[ScalarFunction | str],
    slope: Function = loss_slope,
    back: Function = lambda delta, W: delta @ W,
    inputs: Function = lambda h, i: h[i],
) -> Function:
    """Back-propagation, with a place for a wrong `∂L/∂h^K`, a wrong step back, and wrong inputs to `dW`."""
    hs = [SCALAR_FUNCTIONS[g] if isinstance(g, str) else g for g in functions]

    def wrong(delta: Array, *args: Array) -> tuple[Array, ...]:
        *parameters, x, y = args
        z, h = [], [x]
        gradients: list[Array] = []
        for g, W, b in zip(hs, parameters[::2], parameters[1::2], strict=True):
            z.append(h[-1] @ W.T + b)
            h.append(g.h(z[-1]))
        d, dy = delta[..., None] * slope(softmax(h[-1]), y), delta[..., None] * -log_softmax(h[-1])
        for i in reversed(range(len(hs))):
            d = d * hs[i].dh(z[i])
            gradients = [outer(d, inputs(h, i)), total(d), *gradients]
            d = back(d, parameters[2 * i])
        return *gradients, d, dy

    return wrong
