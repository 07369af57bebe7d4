"""What other libraries say to the same inputs: JAX, PyTorch, autograd and SciPy as a user would call them.

A peer is an `Implementation` of an operation; its functions take and return NumPy arrays.
Losses and activations are the libraries' own (`jax.nn.log_softmax`, `torch.nn.functional.gelu`, `scipy.special.expit`);
what no library has by name is put together from them as on the slides. All but JAX are used where installed.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from backprop_reference import Operation

from ..checking.adapters import array, from_torch, tensor
from ..checking.python_files import Implementation

Function = Callable[..., Any]


LAYERED = ("activation", "logistic_regression", "two_layer_network", "backpropagation")


class Library(NamedTuple):
    """What a library has by name; `sum`, `@`, `*` and `**` are the same in all of them."""

    functions: Mapping[str, Function]
    softmax: Function
    log_softmax: Function

    def operation(self, row: Operation) -> Function:
        """The forward of an operation, of this library's arrays.

        >>> import numpy as np
        >>> from backprop_reference import OPERATIONS
        >>> plain = Library({"tanh": np.tanh}, lambda x: np.exp(x) / np.exp(x).sum(), np.log)
        >>> plain.operation(OPERATIONS["activation[tanh]"])(np.eye(2), np.zeros(2), np.zeros(2))
        array([0., 0.])
        """
        named: dict[str, Function] = {
            "scale": lambda x, alpha: x * alpha,
            "add": lambda x, y: x + y,
            "subtract": lambda x, y: x - y,
            "hadamard": lambda x, y: x * y,
            "sum_reduction": lambda x: x.sum(),
            "dot": lambda x, y: x @ y,
            "matvec": lambda W, x: W @ x,
            "affine": lambda W, x, b: W @ x + b,
            "squared_error": lambda x, y: ((x - y) ** 2).sum(),
            "linear_regression": lambda w, x, y: (w @ x - y) ** 2,
            "softmax": self.softmax,
            "softmax_cross_entropy": self._cross_entropy,
            "elementwise": lambda x: self.functions[row.functions[0].name](x),
            **dict.fromkeys(LAYERED, partial(self._layers, row)),
        }
        return named[row.base]

    def _cross_entropy(self, x: Any, y: Any) -> Any:
        return -(y * self.log_softmax(x)).sum()

    def _layers(self, row: Operation, *args: Any) -> Any:
        """The layers from `x` on, and the cross-entropy where there is a target."""
        given = dict(zip(row.arguments, args, strict=True))
        u = given["x"]
        for W, b, h in row.layers:
            u = self.functions[h.name](given[W] @ u + given[b])
        return self._cross_entropy(u, given["y"]) if "y" in given else u


# ── JAX ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def jax_function(row: Operation) -> Function:
    """An operation of JAX arrays: `jax.nn` and `jax.numpy`."""
    import jax
    import jax.numpy as jnp

    functions = {
        **{h: getattr(jnp, h) for h in ("exp", "log", "reciprocal", "tanh", "square")},
        **{h: getattr(jax.nn, h) for h in ("sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu")},
        "negate": jnp.negative,
        "identity": lambda x: x,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    }
    return Library(functions, jax.nn.softmax, jax.nn.log_softmax).operation(row)


@cache
def jax_implementation(row: Operation) -> Implementation:
    """JAX, compiled: `jax.vjp` and `jax.jacrev`."""
    import jax

    f = jax_function(row)

    def jacobian(*args: Any) -> Any:
        return jax.jacrev(f, tuple(range(len(args))))(*args)

    def vjp(delta: Any, *args: Any) -> Any:
        return jax.vjp(f, *args)[1](delta)

    return Implementation(*(_to_numpy(jax.jit(g)) for g in (f, jacobian, vjp)))


def _to_numpy(f: Function) -> Function:
    def g(*args: Any) -> Any:
        result = f(*args)
        return tuple(map(np.asarray, result)) if isinstance(result, tuple) else np.asarray(result)

    return g


# ── PyTorch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def torch_function(row: Operation) -> Function:
    """An operation of PyTorch's tensors: `torch.nn.functional`."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    functions = {
        **{h: getattr(torch, h) for h in ("exp", "log", "reciprocal", "tanh", "square", "sigmoid")},
        **{h: getattr(F, h) for h in ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu")},
        "negate": torch.neg,
        "identity": torch.clone,
        "gelu_tanh": partial(F.gelu, approximate="tanh"),
    }
    return Library(functions, partial(torch.softmax, dim=-1), partial(torch.log_softmax, dim=-1)).operation(row)


@cache
def torch_implementation(row: Operation) -> Implementation:
    """PyTorch: autograd, and `torch.autograd.functional.jacobian`."""
    import torch

    f = torch_function(row)

    def jacobian(*args: Any) -> Any:
        return tuple(map(array, torch.autograd.functional.jacobian(f, tuple(map(tensor, args)))))

    return Implementation(jacobian=jacobian, **from_torch(f))


# ── autograd ────────────────────────────────────────────────────────────────────────────────────────────────────────


def autograd_function(row: Operation) -> Function:
    """An operation of `autograd.numpy`, which has few functions by name: the others are put together from them."""
    import autograd.numpy as anp
    from autograd.scipy import special

    def sigmoid(x: Any) -> Any:
        return special.expit(x)

    functions = {
        **{h: getattr(anp, h) for h in ("exp", "log", "tanh", "square", "reciprocal", "negative")},
        "negate": anp.negative,
        "identity": lambda x: 1 * x,
        "sigmoid": sigmoid,
        "relu": lambda x: anp.maximum(x, 0),
        "leaky_relu": lambda x: anp.where(x >= 0, x, 0.01 * x),
        "elu": lambda x: anp.where(x > 0, x, anp.expm1(anp.minimum(x, 0))),
        "softplus": lambda x: anp.logaddexp(0, x),
        "silu": lambda x: x * sigmoid(x),
        "gelu": lambda x: x * (1 + special.erf(x * 0.5**0.5)) / 2,
        "gelu_tanh": lambda x: 0.5 * x * (1 + anp.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    }

    def log_softmax(x: Any) -> Any:
        return x - special.logsumexp(x, axis=-1, keepdims=True)

    return Library(functions, lambda x: anp.exp(log_softmax(x)), log_softmax).operation(row)


# ── SciPy ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def scipy_implementation(row: Operation) -> Implementation | None:
    """SciPy, values only: `scipy.special` has these."""
    from scipy import special

    forwards = {
        "sigmoid": special.expit,
        "gelu": lambda x: x * special.ndtr(x),
        "softmax": special.softmax,
        "softmax_cross_entropy": lambda x, y: -(y * special.log_softmax(x)).sum(),
    }
    forward = forwards.get(row.name)
    return Implementation(forward) if forward else None


# ── All of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def peers(row: Operation) -> Iterator[tuple[str, Implementation]]:
    """The installed libraries' implementations of an operation, by the libraries' names.

    >>> from backprop_reference import OPERATIONS
    >>> "JAX" in dict(peers(OPERATIONS["softmax"]))
    True
    """
    makers = [("JAX", "jax", jax_implementation), ("PyTorch", "torch", torch_implementation)]
    for library, module, make in [*makers, ("SciPy", "scipy", scipy_implementation)]:
        if find_spec(module):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other people's imports
                found = make(row)
            if found is not None:
                yield library, found
