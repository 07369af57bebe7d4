"""Networks: the two-layer network, step by step, and back-propagation (algorithm 1) for any depth."""

from __future__ import annotations  # help(affine) shows ArrayLike, not what NumPy takes for one

import re
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..jacobians import Row
from ..numerics.parallel import BLOCK
from ..numerics.products import preactivation, product, sum_of_outer_products, sum_of_rows
from ..numerics.range import quiet
from ..numerics.softmax import cross_entropy, cross_entropy_and_slope, cross_entropy_vjp
from ..operation import Operation
from ..scalar_function import ScalarFunction, pull_back, scalar_function, slope, value
from ..signature import Array, Signature
from .losses import CROSS_ENTROPY

# ── Two-layer network: h¹ = g(W¹x + b¹), h² = W²h¹ + b², L = L_SCE(h², y) ───────────────────────────────────────────

TWO_LAYER_NETWORK = Signature(
    "two_layer_network", "W1 b1 W2 b2 x y", "(k,n),(k),(d,k),(d),(n),(d)->()", parameters="W1 b1 W2 b2", positive="d"
)


@quiet
def two_layer_network(
    g: ScalarFunction, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, x: ArrayLike, y: ArrayLike
) -> Array:
    """The loss of a network with one hidden layer: `h¹ = g(W¹x + b¹)`, `h² = W²h¹ + b²`, `L = L_SCE(h², y)`.

    Shapes: `W1 (k,n)`, `b1 (k)`, `W2 (d,k)`, `b2 (d)`, `x (n)`, `y (d)`, `L ()`, `d ≥ 1`.
    Slide: example 3, two-layer network.

    >>> from backprop_reference import tanh
    >>> float(two_layer_network(tanh, [[1.0]], [0.0], [[1.0], [1.0]], [0.0, 0.0], [3.0], [1.0, 0.0]))
    0.6931471805599453
    """
    W1, b1, W2, b2, x, y = TWO_LAYER_NETWORK.batched(W1, b1, W2, b2, x, y)
    h1 = value(scalar_function(g, "two_layer_network"), preactivation(W1, x, b1))
    return cross_entropy(preactivation(W2, h1, b2), y)


def two_layer_network_jacobian(
    g: ScalarFunction, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, x: ArrayLike, y: ArrayLike
) -> tuple[Row, ...]:
    """`∂L/∂W¹`, `1×k×n`; `∂L/∂b¹`, `1×k`; `∂L/∂W²`, `1×d×k`; `∂L/∂b²`, `1×d`; `∂L/∂x`, `1×n`; `∂L/∂y`, `1×d`.

    >>> from backprop_reference import identity
    >>> J = two_layer_network_jacobian(identity, [[1.0]], [0.0], [[1.0], [1.0]], [0.0, 0.0], [3.0], [1.0, 0.0])
    >>> [J_i.slide_shape for J_i in J]
    [(1, 1, 1), (1, 1), (1, 2, 1), (1, 2), (1, 1), (1, 2)]
    """
    arrays = TWO_LAYER_NETWORK.single(W1, b1, W2, b2, x, y)
    return tuple(Row(gradient) for gradient in two_layer_network_vjp(arrays[0].dtype.type(1), g, *arrays))


@quiet
def two_layer_network_vjp(
    delta: ArrayLike,
    g: ScalarFunction,
    W1: ArrayLike,
    b1: ArrayLike,
    W2: ArrayLike,
    b2: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The slide's steps: `δ ← ∂L/∂h²` gives `db² = δ` and `dW² = δᵀ h¹ᵀ`; `δ ← δ W² ⊙ g′(W¹x + b¹)` gives `db¹ = δ`
    and `dW¹ = δᵀ xᵀ`; then `dx = δ W¹`. Shapes as of the arguments, in their order.

    >>> from backprop_reference import identity
    >>> dW1, db1, dW2, db2, dx, dy = two_layer_network_vjp(
    ...     1.0, identity, [[1.0]], [0.0], [[1.0], [2.0]], [0.0, 3.0], [-3.0], [1.0, 0.0])
    >>> db2, db1, dx
    (array([-0.5,  0.5]), array([0.5]), array([0.5]))
    """
    delta, W1, b1, W2, b2, x, y = TWO_LAYER_NETWORK.pulled_back(delta, W1, b1, W2, b2, x, y)
    z1 = preactivation(W1, x, b1)
    h1 = value(scalar_function(g, "two_layer_network"), z1)
    delta, dy = cross_entropy_vjp(delta, preactivation(W2, h1, b2), y)
    db2, dW2 = sum_of_rows(delta), sum_of_outer_products(delta, h1)
    delta = pull_back(product(delta, W2), g, z1)
    db1, dW1 = sum_of_rows(delta), sum_of_outer_products(delta, x)
    return dW1, db1, dW2, db2, product(delta, W1), dy


# ── Back-propagation, algorithm 1: hⁱ = gⁱ(Wⁱ hⁱ⁻¹ + bⁱ), L = L_out(hᴷ, y) ──────────────────────────────────────────


class Layer(NamedTuple):
    """One layer, `h(W x + b)`; shapes `W (d,n)`, `b (d)`."""

    W: ArrayLike
    b: ArrayLike
    h: ScalarFunction


class Gradients(NamedTuple):
    """What `backpropagation` returns: the loss, `(dW, db)` of each layer in the layers' order, and `∂L/∂x`."""

    loss: Array
    layers: list[tuple[Array, Array]]
    dx: Array


@cache
def network_signature(depth: int, positive: str = "") -> Signature:
    """`(m1,m0),(m1),…,(mK,mK₋₁),(mK),(m0),(mK)->()`, for `W1 b1 … WK bK x y`."""
    names = " ".join(f"W{i} b{i}" for i in range(1, depth + 1))
    shapes = "".join(f"(m{i},m{i - 1}),(m{i})," for i in range(1, depth + 1))
    text = f"{shapes}(m0),(m{depth})->()"
    return Signature("backpropagation", f"{names} x y", text, parameters=names, positive=positive)


def cross_entropy_network_signature(depth: int) -> Signature:
    """The same where a cross-entropy follows, whose softmax needs a class."""
    return network_signature(depth, f"m{depth}")


@quiet
def _forward(
    functions: Sequence[ScalarFunction], parameters: Sequence[Array], x: Array
) -> tuple[list[Array], list[Array]]:
    """`z = [z¹ … zᴷ]` and `h = [h⁰ … hᴷ]`, with `zⁱ = Wⁱ hⁱ⁻¹ + bⁱ`, `hⁱ = gⁱ(zⁱ)`, `h⁰ = x`."""
    z, h = [], [x]
    for g, W, b in zip(functions, parameters[::2], parameters[1::2], strict=True):
        z.append(preactivation(W, h[-1], b))
        h.append(value(g, z[-1]))
    return z, h


def _slopes(functions: Sequence[ScalarFunction], z: Sequence[Array]) -> list[Array]:
    """`gⁱ′(zⁱ)` of a single example: neighbours with one function in one call, which costs hardly more than a layer."""
    slopes: list[Array] = []
    for g, group in groupby(zip(functions, z, strict=True), key=itemgetter(0)):
        members = [z_i for _, z_i in group]
        if len(members) == 1 or not g.divisible:
            slopes += [slope(g, z_i) for z_i in members]
            continue
        joined = slope(g, np.concatenate(members))
        ends = accumulate(map(len, members), initial=0)
        slopes += [joined[i:j] for i, j in pairwise(ends)]
    return slopes


@quiet
def _backward(
    delta: Array, functions: Sequence[ScalarFunction], parameters: Sequence[Array], z: list[Array], h: list[Array]
) -> tuple[list[tuple[Array, Array]], Array]:
    """Lines 8 to 12 of algorithm 1: from `∂L/∂hᴷ` to `(∂L/∂Wⁱ, ∂L/∂bⁱ)` for `i = 1 … K`, and `∂L/∂x`.

    `delta`, `z` and `h` are used up; of a single example, `∂L/∂bⁱ` is `δ` itself.
    """
    gradients = []
    single = delta.ndim == 1
    slopes = _slopes(functions, z) if single and sum(map(len, z)) <= BLOCK else []
    h.pop()
    for g, W in zip(reversed(functions), reversed(parameters[::2]), strict=True):
        delta = np.multiply(delta, slopes.pop(), out=delta) if slopes else pull_back(delta, g, z.pop())
        gradients.append((sum_of_outer_products(delta, h.pop()), delta if single else sum_of_rows(delta)))
        delta = product(delta, W)
    return gradients[::-1], delta


def _check(layers: Sequence[Layer], loss: object) -> None:
    """One clear line for what is not a sequence of layers, or not a loss."""
    for layer in layers:
        if not isinstance(layer, tuple) or len(layer) != 3:
            raise TypeError(
                f"backpropagation: layers must be a sequence of Layer(W, b, h), got a {type(layer).__name__}"
            )
    signature = loss.signature if isinstance(loss, Operation) else type(loss).__name__
    if not re.fullmatch(r"\((\w+)\),\(\1\)->\(\)", signature):
        raise TypeError(f"backpropagation: loss must be an Operation of signature (d),(d)->(), got {signature}")


def backpropagation(layers: Sequence[Layer], x: ArrayLike, y: ArrayLike, loss: Operation = CROSS_ENTROPY) -> Gradients:
    """Algorithm 1 for any depth: the loss `L = L_out(hᴷ, y)` with `h⁰ = x`, `hⁱ = gⁱ(Wⁱ hⁱ⁻¹ + bⁱ)`, and its gradients.

        δ ← ∂L/∂hᴷ
        for i = K … 1:  ∂L/∂bⁱ ← δ ∂hⁱ/∂bⁱ,  ∂L/∂Wⁱ ← δ ∂hⁱ/∂Wⁱ,  δ ← δ ∂hⁱ/∂hⁱ⁻¹

    Shapes: `layers[i].W (mᵢ,mᵢ₋₁)`, `layers[i].b (mᵢ)`, `x (m₀)`, `y (mᴷ)`. With batch axes on `x` and `y` there is a
    loss and a `dx` for each example, and the gradients of the parameters are those of the summed loss. `loss` is any
    `Operation` of signature `(d),(d)->()`. Slide: back-propagation, algorithm 1, with `∂hⁱ/∂bⁱ` on line 9.

    >>> from backprop_reference import OPERATIONS, Layer, identity, tanh
    >>> layers = [Layer([[1.0], [-1.0]], [0.0, 0.0], tanh), Layer([[1.0, 1.0]], [0.5], identity)]
    >>> L, [(dW1, db1), (dW2, db2)], dx = backpropagation(layers, [0.0], [0.0], loss=OPERATIONS["squared_error"])
    >>> float(L), db2, dx
    (0.25, array([1.]), array([0.]))
    """
    _check(layers, loss)
    functions = [scalar_function(h, "backpropagation") for _, _, h in layers]
    signature = network_signature(len(layers))
    *parameters, x, y = signature.batched(*(p for W, b, _ in layers for p in (W, b)), x, y)
    z, h = _forward(functions, parameters, x)
    if loss is CROSS_ENTROPY and y.shape[-1]:
        u, delta = cross_entropy_and_slope(h[-1], y)
    else:
        u = np.array(loss.forward(h[-1], y), h[-1].dtype)[()]
        delta = np.array(loss.vjp(np.ones_like(u), h[-1], y)[0], h[-1].dtype)
        if delta.shape != h[-1].shape:
            raise ValueError(
                f"backpropagation: expected a gradient of {loss.name} of shape {h[-1].shape}, got {delta.shape}"
            )
    return Gradients(u, *_backward(delta, functions, parameters, z, h))


# ── The same with the cross-entropy as one operation of W1, b1, …, WK, bK, x, y ─────────────────────────────────────


def deep_network(functions: Sequence[ScalarFunction], *arguments: ArrayLike) -> Array:
    """The loss `L_SCE(hᴷ, y)` of a network of depth `K`; arguments `W1 b1 … WK bK x y`.

    >>> from backprop_reference import identity, tanh
    >>> float(deep_network([tanh, identity], [[1.0]], [0.0], [[1.0], [1.0]], [0.0, 0.0], [3.0], [1.0, 0.0]))
    0.6931471805599453
    """
    *parameters, x, y = cross_entropy_network_signature(len(functions)).batched(*arguments)
    return cross_entropy(_forward(functions, parameters, x)[1][-1], y)


def deep_network_jacobian(functions: Sequence[ScalarFunction], *arguments: ArrayLike) -> tuple[Row, ...]:
    """`1×mᵢ×mᵢ₋₁` for each `Wⁱ`, `1×mᵢ` for each `bⁱ`, `1×m₀` for `x`, `1×mᴷ` for `y`."""
    arrays = cross_entropy_network_signature(len(functions)).single(*arguments)
    return tuple(Row(gradient) for gradient in deep_network_vjp(arrays[-1].dtype.type(1), functions, *arrays))


def deep_network_vjp(delta: ArrayLike, functions: Sequence[ScalarFunction], *arguments: ArrayLike) -> tuple[Array, ...]:
    """Algorithm 1 from `δ ← delta ∂L_SCE/∂hᴷ`; one cotangent per argument, in their order."""
    delta, *parameters, x, y = cross_entropy_network_signature(len(functions)).pulled_back(delta, *arguments)
    z, h = _forward(functions, parameters, x)
    delta, dy = cross_entropy_vjp(delta, h[-1], y)
    gradients, dx = _backward(delta, functions, parameters, z, h)
    return *(gradient for pair in gradients for gradient in pair), dx, dy
