"""Each forward once, as the slides define it, in `jax.numpy`; derivatives are JAX's business, none is written here,
but one of a formula that frameworks use, to know what rounding does to it.

`DEFINITIONS` has one function for each row of the reference's table, of the same arguments, for a single example.
Two things are said with care, since a definition must be computable before it can be differentiated: the softmax
subtracts the largest logit, which changes nothing in exact arithmetic, and a branch that is not taken never sees an
argument at which it would overflow.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
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


def linear_regression(w: Array, x: Array, y: Array) -> Array:
    return (jnp.dot(w, x) - y) ** 2


def softmax(x: Array) -> Array:
    f = jnp.exp(x - lax.stop_gradient(jnp.max(x)))
    return f / jnp.sum(f)


def log_softmax(x: Array) -> Array:
    z = x - lax.stop_gradient(jnp.max(x))
    return z - jnp.log(jnp.sum(jnp.exp(z)))


def softmax_cross_entropy(log_s: Callable[[Array], Array], x: Array, y: Array) -> Array:
    return -jnp.sum(y * log_s(x))


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


USUAL: dict[str, Callable[[Array], Array]] = {
    "softplus": lambda x: jnp.where(x > 20, x, jnp.log1p(jnp.exp(jnp.where(x > 20, 0.0, x)))),  # PyTorch's threshold
    "gelu": lambda x: x * (1.0 + lax.erf(x * 0.5**0.5)) * 0.5,
    "softmax": lambda x: jnp.exp(x - log_sum_exp(x)),
    "log_softmax": lambda x: x - log_sum_exp(x),
}


def has_usual(name: str) -> bool:
    """Whether one of them stands in an operation.

    >>> has_usual("activation[gelu]"), has_usual("logistic_regression"), has_usual("tanh")
    (True, True, False)
    """
    family, _, functions = name.rstrip("]").partition("[")
    return not USUAL.keys().isdisjoint((family, *functions.split(","))) or family in _CROSS_ENTROPIES


# ── The table ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CROSS_ENTROPIES = ("softmax_cross_entropy", "logistic_regression", "two_layer_network", "backpropagation")


@cache
def definition(name: str, *, usual: bool = False) -> Callable[..., Array]:
    """The forward of an operation by its name in the reference's table, as `softmax` or `activation[tanh]`.

    >>> definition("affine")(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 4.0]), jnp.array([5.0])).tolist()
    [16.0]
    """
    h = {"softmax": softmax, "log_softmax": log_softmax, **FUNCTIONS, **(USUAL if usual else {})}
    cross_entropy = partial(softmax_cross_entropy, h["log_softmax"])

    def network(functions: Sequence[str], *arguments: Array) -> Array:
        *parameters, x, y = arguments
        for g, W, b in zip(functions, parameters[::2], parameters[1::2], strict=True):
            x = h[g](affine(W, x, b))
        return cross_entropy(x, y)

    family, _, functions = name.rstrip("]").partition("[")
    table: dict[str, Callable[..., Array]] = {
        "scale": lambda x, alpha: x * alpha,
        "add": lambda x, y: x + y,
        "hadamard": lambda x, y: x * y,
        **h,
        "sum_reduction": jnp.sum,
        "matvec": lambda W, x: W @ x,
        "subtract": lambda x, y: x - y,
        "dot": jnp.dot,
        "squared_error": lambda x, y: jnp.sum((x - y) ** 2),
        "linear_regression": linear_regression,
        "affine": affine,
        "activation": lambda W, x, b: h[functions](affine(W, x, b)),
        "softmax_cross_entropy": cross_entropy,
        "logistic_regression": lambda W, x, b, y: cross_entropy(affine(W, x, b), y),
        "two_layer_network": partial(network, [functions, "identity"]),
        "backpropagation": partial(network, functions.split(",")),
    }
    return table[family]
