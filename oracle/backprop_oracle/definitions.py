"""Each forward once, as the slides define it, in `jax.numpy`; derivatives are JAX's business, none is written here.

`DEFINITIONS` has one function for each row of the reference's table, of the same arguments, for a single example.
Two things are said with care, since a definition must be computable before it can be differentiated: the softmax
subtracts the largest logit, which changes nothing in exact arithmetic, and a branch that is not taken never sees an
argument at which it would overflow.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
from jax import Array, lax

# ── Scalar functions ────────────────────────────────────────────────────────────────────────────────────────────────


def leaky_relu(x: Array) -> Array:
    return jnp.where(x >= 0, x, 0.01 * x)


def elu(x: Array) -> Array:
    return jnp.where(x > 0, x, jnp.expm1(jnp.where(x > 0, 0.0, x)))


def softplus(x: Array) -> Array:
    return jnp.where(x > 0, x, 0.0) + jnp.log1p(jnp.exp(-jnp.where(x > 0, x, -x)))


def gelu(x: Array) -> Array:
    return x * (0.5 * lax.erfc(-x * (0.5**0.5)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + jnp.tanh((2 / jnp.pi) ** 0.5 * (x + 0.044715 * (x * x * x))))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "exp": jnp.exp,
    "log": jnp.log,
    "reciprocal": lambda x: 1.0 / x,
    "negate": lambda x: -x,
    "square": lambda x: x * x,
    "identity": lambda x: x,
    "tanh": jnp.tanh,
    "sigmoid": lax.logistic,
    "relu": lambda x: jnp.where(x <= 0, 0.0, x),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": softplus,
    "silu": lambda x: x * lax.logistic(x),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}

# ── Operations of the slides ────────────────────────────────────────────────────────────────────────────────────────


def affine(W: Array, x: Array, b: Array) -> Array:
    return W @ x + b


def activation(h: str, W: Array, x: Array, b: Array) -> Array:
    return FUNCTIONS[h](affine(W, x, b))


def linear_regression(w: Array, x: Array, y: Array) -> Array:
    return (jnp.dot(w, x) - y) ** 2


def softmax(x: Array) -> Array:
    f = jnp.exp(x - lax.stop_gradient(jnp.max(x)))
    return f / jnp.sum(f)


def softmax_cross_entropy(x: Array, y: Array) -> Array:
    z = x - lax.stop_gradient(jnp.max(x))
    return -jnp.sum(y * (z - jnp.log(jnp.sum(jnp.exp(z)))))


def logistic_regression(W: Array, x: Array, b: Array, y: Array) -> Array:
    return softmax_cross_entropy(affine(W, x, b), y)


def network(functions: Sequence[str], *arguments: Array) -> Array:
    *parameters, x, y = arguments
    for g, W, b in zip(functions, parameters[::2], parameters[1::2], strict=True):
        x = activation(g, W, x, b)
    return softmax_cross_entropy(x, y)


_TABLE: dict[str, Callable[..., Array]] = {
    "scale": lambda x, alpha: x * alpha,
    "add": lambda x, y: x + y,
    "hadamard": lambda x, y: x * y,
    **FUNCTIONS,
    "sum_reduction": jnp.sum,
    "matvec": lambda W, x: W @ x,
    "subtract": lambda x, y: x - y,
    "dot": jnp.dot,
    "squared_error": lambda x, y: jnp.sum((x - y) ** 2),
    "linear_regression": linear_regression,
    "affine": affine,
    "softmax": softmax,
    "softmax_cross_entropy": softmax_cross_entropy,
    "logistic_regression": logistic_regression,
}

_FAMILIES: dict[str, Callable[[str], Callable[..., Array]]] = {
    "activation": lambda h: partial(activation, h),
    "two_layer_network": lambda g: partial(network, [g, "identity"]),
    "backpropagation": lambda functions: partial(network, functions.split(",")),
}


def definition(name: str) -> Callable[..., Array]:
    """The forward of an operation by its name in the reference's table, as `softmax` or `activation[tanh]`.

    >>> definition("affine")(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 4.0]), jnp.array([5.0])).tolist()
    [16.0]
    """
    family, _, function = name.rstrip("]").partition("[")
    return _FAMILIES[family](function) if function else _TABLE[name]
