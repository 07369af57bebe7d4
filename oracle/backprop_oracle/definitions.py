"""Each forward once, as the slides define it, in `jax.numpy`; derivatives are JAX's business, none is written here,
but those of formulas that frameworks use, to know what rounding does to them.

`rows.definition` gives the function of each row of the reference's table, of its arguments, for a single example. Three
things are said with care. The softmax subtracts the largest logit, which changes nothing in exact arithmetic, and a
branch that is not taken never sees an argument at which it would overflow. A constant that Python computes is a double:
√½ and π are computed by the program, so that whoever has more digits has all of them. And 0 · log 0 is 0.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Function = Callable[..., Array]

# ── Scalar functions ────────────────────────────────────────────────────────────────────────────────────────────────


def leaky_relu(x: Array) -> Array:
    return jnp.where(x >= 0, x, 0.01 * x)


def elu(x: Array) -> Array:
    return jnp.where(x > 0, x, jnp.expm1(jnp.where(x > 0, 0.0, x)))


def softplus(x: Array) -> Array:
    return jnp.where(x > 0, x, 0.0) + jnp.log1p(jnp.exp(-jnp.where(x > 0, x, -x)))


def gelu(x: Array) -> Array:
    return x * (0.5 * lax.erfc(-x * jnp.sqrt(0.5)))


def gelu_tanh(x: Array) -> Array:
    pi = 4.0 * jnp.arctan(1.0)
    return 0.5 * x * (1.0 + jnp.tanh(jnp.sqrt(2.0 / pi) * (x + 0.044715 * (x * x * x))))


FUNCTIONS: Mapping[str, Function] = {
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


def linear_regression(w: Array, x: Array, y: Array) -> Array:
    return (jnp.dot(w, x) - y) ** 2


def softmax(x: Array) -> Array:
    f = jnp.exp(x - lax.stop_gradient(jnp.max(x)))
    return f / jnp.sum(f)


def log_softmax(x: Array) -> Array:
    z = x - lax.stop_gradient(jnp.max(x))
    return z - jnp.log(jnp.sum(jnp.exp(z)))


@jax.custom_jvp
def _weighted(y: Array, log_s: Array) -> Array:
    """`y log ŷ`, where 0 · log 0 = 0."""
    return jnp.where((y == 0) & (log_s == -jnp.inf), 0.0, y * log_s)


@_weighted.defjvp
def _(point: tuple[Array, Array], t: tuple[Array, Array]) -> tuple[Array, Array]:
    """The derivative of the product: by y it is log ŷ, be it −∞."""
    (y, log_s), (ty, ts) = point, t
    return _weighted(y, log_s), ty * log_s + y * ts


def softmax_cross_entropy(x: Array, y: Array, log_s: Function = log_softmax) -> Array:
    return -jnp.sum(_weighted(y, log_s(x)))


def logistic_regression(
    W: Array, x: Array, b: Array, y: Array, log_s: Function = log_softmax, layer: Function = affine
) -> Array:
    return softmax_cross_entropy(layer(W, x, b), y, log_s)


def two_layer_network(g: Function, *arguments: Array, log_s: Function = log_softmax, layer: Function = affine) -> Array:
    return network(g, FUNCTIONS["identity"], *arguments, log_s=log_s, layer=layer)


def network(*functions_and_arguments: Any, log_s: Function = log_softmax, layer: Function = affine) -> Array:
    """The functions of the layers, then `W1 b1 … WK bK x y`: three of each layer, and two."""
    depth = (len(functions_and_arguments) - 2) // 3
    functions, (*parameters, x, y) = functions_and_arguments[:depth], functions_and_arguments[depth:]
    for g, W, b in zip(functions, parameters[::2], parameters[1::2], strict=True):
        x = g(layer(W, x, b))
    return softmax_cross_entropy(x, y, log_s)


# By the base of a row: a function of the scalar functions that the row binds, and of its arguments.
DEFINITIONS: Mapping[str, Function] = {
    "scale": lambda x, alpha: x * alpha,
    "add": lambda x, y: x + y,
    "hadamard": lambda x, y: x * y,
    "elementwise": lambda h, x: h(x),
    "sum_reduction": jnp.sum,
    "matvec": lambda W, x: W @ x,
    "subtract": lambda x, y: x - y,
    "dot": jnp.dot,
    "squared_error": lambda x, y: jnp.sum((x - y) ** 2),
    "linear_regression": linear_regression,
    "affine": affine,
    "activation": lambda h, W, x, b: h(affine(W, x, b)),
    "softmax": softmax,
    "softmax_cross_entropy": softmax_cross_entropy,
    "logistic_regression": logistic_regression,
    "two_layer_network": two_layer_network,
    "backpropagation": network,
}


# ── What frameworks write instead, where rounding, or a cut-off, may do more to it ──────────────────────────────────


@jax.custom_jvp
def log_sum_exp(x: Array) -> Array:
    largest = lax.stop_gradient(jnp.max(x))
    return largest + jnp.log(jnp.sum(jnp.exp(x - largest)))


@log_sum_exp.defjvp
def _from_the_output(x: tuple[Array], t: tuple[Array]) -> tuple[Array, Array]:
    """The derivative of PyTorch and autograd: the softmax as exp(x − u), with u already rounded."""
    u = log_sum_exp(*x)
    return u, jnp.dot(jnp.exp(x[0] - u), t[0])


def usual_log_softmax(x: Array) -> Array:
    return x - log_sum_exp(x)


def _usual_softplus(x: Array) -> Array:
    """With PyTorch's threshold."""
    return jnp.where(x > 20, x, jnp.log1p(jnp.exp(jnp.where(x > 20, 0.0, x))))


USUAL_FUNCTIONS: Mapping[str, Function] = {
    "softplus": _usual_softplus,
    "gelu": lambda x: x * (1.0 + lax.erf(x * jnp.sqrt(0.5))) * 0.5,
}


@jax.custom_jvp
def affine_in_one_sum(W: Array, x: Array, b: Array) -> Array:
    """`W x + b` by a loop that begins with b, as BLAS and C code have it: b takes part in every addition."""
    one = jnp.ones(1, x.dtype)
    return jnp.concatenate([W, b[:, None]], 1) @ jnp.concatenate([x, one])


@affine_in_one_sum.defjvp
def _as_before(point: tuple[Array, Array, Array], t: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    (W, x, _), (tW, tx, tb) = point, t
    return affine_in_one_sum(*point), tW @ x + W @ tx + tb


def _added_up(x: Array) -> Array:
    """1, with what rounding does to a sum of n terms: where a dense Jacobian is multiplied out, each entry has it."""
    ones = (x == x).astype(x.dtype)  # not a constant, which would come with no error
    return jnp.sum(ones) / jnp.size(x)


@jax.custom_jvp
def _softmax_with_a_dense_jacobian(x: Array) -> Array:
    return softmax(x)


@_softmax_with_a_dense_jacobian.defjvp
def _softmax_times_dense(x: tuple[Array], t: tuple[Array]) -> tuple[Array, Array]:
    """`Σ_j J_ij t_j`, whose terms are `s_i t_i` and `s_i s_j t_j`."""
    s = softmax(*x)
    return s, s * (t[0] * _added_up(*x)) - s * jnp.dot(s, t[0])


@jax.custom_jvp
def _cross_entropy_with_dense_jacobians(x: Array, y: Array) -> Array:
    return softmax_cross_entropy(x, y)


@_cross_entropy_with_dense_jacobians.defjvp
def _cross_entropy_times_dense(point: tuple[Array, Array], t: tuple[Array, Array]) -> tuple[Array, Array]:
    """The chain rule by the dense Jacobian of the softmax: a sum of `y_i` and of all `y_j ŷ_i`."""
    (x, y), (tx, ty) = point, t
    slope = jnp.dot(softmax(x) * jnp.sum(y) - y * _added_up(x), tx)
    return softmax_cross_entropy(x, y), slope - jnp.dot(log_softmax(x), ty)


USUAL: Mapping[str, Function] = {
    "softmax": lambda x: jnp.exp(x - log_sum_exp(x)),
    "softmax_cross_entropy": partial(softmax_cross_entropy, log_s=usual_log_softmax),
    "affine": affine_in_one_sum,
    "activation": lambda h, W, x, b: h(affine_in_one_sum(W, x, b)),
    **{
        base: partial(DEFINITIONS[base], log_s=usual_log_softmax, layer=affine_in_one_sum)
        for base in ("logistic_regression", "two_layer_network", "backpropagation")
    },
}
MULTIPLIED_OUT: Mapping[str, Function] = {
    "softmax": _softmax_with_a_dense_jacobian,
    "softmax_cross_entropy": _cross_entropy_with_dense_jacobians,
}
