"""Who is measured: each library as its users would write the computation, at its fastest.

A contender is a table from a kind of cell to a function that takes the inputs, as the library's own arrays, and returns
a call without arguments; the call is what is timed. Libraries are imported in the worker that measures them alone.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .cells import ACTIVATION, COPY, CROSS_ENTROPY, DENSE, NETWORK, PRODUCT, PULLED_BACK, SOFTMAX

Call = Callable[[], Any]
Makers = dict[str, Callable[..., Call]]


class Contender(NamedTuple):
    """A library: its name, its distribution (also the module that must be there), and what loads its table."""

    name: str
    distribution: str
    load: Callable[[], tuple[Callable[[Any], Any], Makers]]  # NumPy array to own array, and the makers

    @property
    def installed(self) -> bool:
        return find_spec(self.distribution) is not None

    @property
    def version(self) -> str:
        return version(self.distribution)


def leaves(result: Any) -> Iterator[np.ndarray]:  # type: ignore[type-arg]  # of any dtype
    """The arrays of a nested result, in order, as NumPy's."""
    if isinstance(result, tuple | list):
        for part in result:
            yield from leaves(part)
    else:
        yield np.asarray(result.detach() if hasattr(result, "detach") else result)


# ── The reference ───────────────────────────────────────────────────────────────────────────────────────────────────


def reference() -> tuple[Callable[[Any], Any], Makers]:
    from backprop_reference import (
        Layer,
        activation_vjp,
        backpropagation,
        identity,
        matvec_jacobian,
        softmax_cross_entropy_vjp,
        softmax_vjp,
        tanh,
    )

    def network(*arguments: Any) -> Call:
        *parameters, x, y = arguments
        functions = [tanh] * (len(parameters) // 2 - 1) + [identity]
        layers = [Layer(*layer) for layer in zip(parameters[::2], parameters[1::2], functions, strict=True)]
        return lambda: backpropagation(layers, x, y)

    return np.asarray, {
        NETWORK: network,
        CROSS_ENTROPY: lambda *args: partial(softmax_cross_entropy_vjp, *args),
        SOFTMAX: lambda *args: partial(softmax_vjp, *args),
        ACTIVATION: lambda delta, *args: partial(activation_vjp, delta, tanh, *args),
        PULLED_BACK: lambda delta, W, x: lambda: delta @ matvec_jacobian(W, x)[0],
        DENSE: lambda _, W, x: lambda: matvec_jacobian(W, x)[0].todense(),
        PRODUCT: lambda A, B: lambda: A @ B,
        COPY: _copy,
    }


def _copy(a: Any) -> Call:
    """A copy into memory that is there already, by one thread for each row of `a`."""
    to = np.zeros_like(a)
    if len(a) == 1:
        return lambda: np.copyto(to, a)
    pool = ThreadPoolExecutor(len(a))
    return lambda: list(pool.map(np.copyto, to, a))


# ── JAX, compiled ───────────────────────────────────────────────────────────────────────────────────────────────────


def jax() -> tuple[Callable[[Any], Any], Makers]:
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def compiled(f: Callable[..., Any]) -> Callable[..., Call]:
        step = jax.jit(f)
        return lambda *args: lambda: jax.block_until_ready(step(*args))

    def vjp(f: Callable[..., Any]) -> Callable[..., Call]:
        return compiled(lambda delta, *args: jax.vjp(f, *args)[1](delta))

    def cross_entropy(x: Any, y: Any) -> Any:
        return -(y * jax.nn.log_softmax(x)).sum(-1)

    def layer(W: Any, x: Any, b: Any) -> Any:
        return jnp.tanh(x @ W.T + b)

    def loss(*arguments: Any) -> Any:
        *parameters, x, y = arguments
        *hidden, (W, b) = zip(parameters[::2], parameters[1::2], strict=True)
        for V, c in hidden:
            x = layer(V, x, c)
        return cross_entropy(x @ W.T + b, y).sum()

    return jnp.asarray, {
        NETWORK: lambda *args: compiled(jax.value_and_grad(loss, range(len(args) - 1)))(*args),
        CROSS_ENTROPY: vjp(cross_entropy),
        SOFTMAX: vjp(jax.nn.softmax),
        ACTIVATION: vjp(layer),
        PULLED_BACK: compiled(lambda delta, W, x: jax.vjp(lambda W: W @ x, W)[1](delta)),
        DENSE: compiled(lambda _, W, x: jax.jacrev(lambda W: W @ x)(W)),
        PRODUCT: compiled(jnp.matmul),
    }


# ── PyTorch, eager ──────────────────────────────────────────────────────────────────────────────────────────────────


def pytorch() -> tuple[Callable[[Any], Any], Makers]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    grad = torch.autograd.grad

    def cross_entropy(x: Any, y: Any) -> Any:
        return -(y * F.log_softmax(x, -1)).sum(-1)

    def network(*arguments: Any) -> Call:
        *parameters, x, y = arguments
        leaves = [a.requires_grad_() for a in (*parameters, x)]
        *hidden, (W, b) = zip(parameters[::2], parameters[1::2], strict=True)

        def step() -> Any:
            h = x
            for V, c in hidden:
                h = torch.tanh(F.linear(h, V, c))
            loss = cross_entropy(F.linear(h, W, b), y).sum()
            return loss, grad(loss, leaves)

        return step

    def vjp(f: Callable[..., Any]) -> Callable[..., Call]:
        def make(delta: Any, *args: Any) -> Call:
            leaves = [a.requires_grad_() for a in args]
            return lambda: grad(f(*leaves), leaves, delta)

        return make

    return torch.from_numpy, {
        NETWORK: network,
        CROSS_ENTROPY: vjp(cross_entropy),
        SOFTMAX: vjp(partial(torch.softmax, dim=-1)),
        ACTIVATION: vjp(lambda W, x, b: torch.tanh(F.linear(x, W, b))),
        PULLED_BACK: lambda delta, W, x: vjp(lambda W: W @ x)(delta, W),
        DENSE: lambda _, W, x: lambda: torch.autograd.functional.jacobian(lambda W: W @ x, W),
        PRODUCT: lambda A, B: lambda: A @ B,
    }


# ── autograd ────────────────────────────────────────────────────────────────────────────────────────────────────────


def autograd() -> tuple[Callable[[Any], Any], Makers]:
    import autograd
    import autograd.numpy as anp
    from autograd.tracer import getval

    def log_softmax(x: Any) -> Any:
        z = x - getval(x).max(-1, keepdims=True)
        return z - anp.log(anp.exp(z).sum(-1, keepdims=True))

    def cross_entropy(x: Any, y: Any) -> Any:
        return -(y * log_softmax(x)).sum(-1)

    def layer(W: Any, x: Any, b: Any) -> Any:
        return anp.tanh(anp.dot(x, W.T) + b)

    def loss(*arguments: Any) -> Any:
        *parameters, x, y = arguments
        *hidden, (W, b) = zip(parameters[::2], parameters[1::2], strict=True)
        for V, c in hidden:
            x = layer(V, x, c)
        return cross_entropy(anp.dot(x, W.T) + b, y).sum()

    def vjp(f: Callable[..., Any]) -> Callable[..., Call]:
        return lambda delta, *args: lambda: autograd.make_vjp(f, tuple(range(len(args))))(*args)[0](delta)

    return np.asarray, {
        NETWORK: lambda *args: partial(autograd.value_and_grad(loss, tuple(range(len(args) - 1))), *args),
        CROSS_ENTROPY: vjp(cross_entropy),
        SOFTMAX: vjp(lambda x: anp.exp(log_softmax(x))),
        ACTIVATION: vjp(layer),
        PULLED_BACK: lambda delta, W, x: vjp(lambda W: anp.dot(W, x))(delta, W),
        DENSE: lambda _, W, x: lambda: autograd.jacobian(lambda W: anp.dot(W, x))(W),
    }


REFERENCE = Contender("reference", "backprop_reference", reference)
PEERS = (
    Contender("JAX", "jax", jax),
    Contender("PyTorch", "torch", pytorch),
    Contender("autograd", "autograd", autograd),
)
