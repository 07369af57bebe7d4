"""Operations with a matrix: matvec, affine, activation. `W` and `b` are parameters: a batch sums their gradients."""

from __future__ import annotations  # help(affine) shows ArrayLike, not what NumPy takes for one

import numpy as np
from numpy.typing import ArrayLike

from ..jacobians import BlockRow, Dense, Diagonal, ScaledIdentity
from ..numerics.products import preactivation, product, sum_of_outer_products, sum_of_rows
from ..numerics.range import quiet
from ..scalar_function import ScalarFunction, pull_back, scalar_function, slope, value
from ..signature import Array, Signature

# ── Matrix–vector product: u = W x ──────────────────────────────────────────────────────────────────────────────────

MATVEC = Signature("matvec", "W x", "(d,n),(n)->(d)", parameters="W")


@quiet
def matvec(W: ArrayLike, x: ArrayLike) -> Array:
    """The matrix–vector product, `u = W x`. An entry is infinite only if it is out of range.

    Shapes: `W (d,n)`, `x (n)`, `u (d)`. Slide: basic operations, matrix–vector product.

    >>> matvec([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [1.0, 10.0])
    array([21., 43., 65.])
    """
    W, x = MATVEC.batched(W, x)
    return product(x, W.T)


def matvec_jacobian(W: ArrayLike, x: ArrayLike) -> tuple[BlockRow, Dense]:
    """`∂u/∂W`, `d×d×n` with entry `(i,j,k)` = `x_k` if `i = j` else 0, and `∂u/∂x = W`, `d×n`.

    >>> J_W, J_x = matvec_jacobian([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [1.0, 10.0])
    >>> J_W.slide_shape, J_x.slide_shape
    ((3, 3, 2), (3, 2))
    """
    W, x = MATVEC.single(W, x)
    return BlockRow(np.ones_like(W, shape=len(W)), x), Dense(W)


@quiet
def matvec_vjp(delta: ArrayLike, W: ArrayLike, x: ArrayLike) -> tuple[Array, Array]:
    """`dW = δᵀ xᵀ` (the outer product) and `dx = δ W`; shapes `delta (d)`, `dW (d,n)`, `dx (n)`.

    >>> dW, dx = matvec_vjp([1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    >>> dW
    array([[ 1., 10.],
           [ 2., 20.]])
    >>> dx
    array([ 7., 10.])
    """
    delta, W, x = MATVEC.pulled_back(delta, W, x)
    return sum_of_outer_products(delta, x), product(delta, W)


# ── Affine map: u = W x + b ─────────────────────────────────────────────────────────────────────────────────────────

AFFINE = Signature("affine", "W x b", "(d,n),(n),(d)->(d)", parameters="W b")


@quiet
def affine(W: ArrayLike, x: ArrayLike, b: ArrayLike) -> Array:
    """The affine map, `u = W x + b`.

    Shapes: `W (d,n)`, `x (n)`, `b (d)`, `u (d)`. Slide: new operations, affine transformation.

    >>> affine([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0], [0.5, -0.5])
    array([21.5, 42.5])
    """
    W, x, b = AFFINE.batched(W, x, b)
    return preactivation(W, x, b)


def affine_jacobian(W: ArrayLike, x: ArrayLike, b: ArrayLike) -> tuple[BlockRow, Dense, ScaledIdentity]:
    """`∂u/∂W`, `d×d×n` as of `W x`; `∂u/∂x = W`, `d×n`; `∂u/∂b = I`, `d×d`.

    >>> J_W, J_x, J_b = affine_jacobian([[1.0, 2.0, 3.0]], [1.0, 10.0, 100.0], [0.5])
    >>> [2.0] @ J_W
    array([[  2.,  20., 200.]])
    """
    W, x, b = AFFINE.single(W, x, b)
    one = W.dtype.type(1)
    return BlockRow(np.ones_like(b), x), Dense(W), ScaledIdentity(one, len(b))


@quiet
def affine_vjp(delta: ArrayLike, W: ArrayLike, x: ArrayLike, b: ArrayLike) -> tuple[Array, Array, Array]:
    """`dW = δᵀ xᵀ`, `dx = δ W` and `db = δ`; shapes `delta (d)`, `dW (d,n)`, `dx (n)`, `db (d)`.

    >>> dW, dx, db = affine_vjp([1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0], [0.5, -0.5])
    >>> dx, db
    (array([ 7., 10.]), array([1., 2.]))
    """
    delta, W, x, b = AFFINE.pulled_back(delta, W, x, b)
    return sum_of_outer_products(delta, x), product(delta, W), sum_of_rows(delta)


# ── Activation: u = h(W x + b) ──────────────────────────────────────────────────────────────────────────────────────

ACTIVATION = Signature("activation", "W x b", "(d,n),(n),(d)->(d)", parameters="W b")


@quiet
def activation(h: ScalarFunction, W: ArrayLike, x: ArrayLike, b: ArrayLike) -> Array:
    """A layer, `u = h(W x + b)`, with `h` entrywise.

    Shapes: `W (d,n)`, `x (n)`, `b (d)`, `u (d)`. Slide: new operations, activation.

    >>> from backprop_reference import relu
    >>> activation(relu, [[1.0, 2.0], [3.0, -4.0]], [1.0, 10.0], [0.5, 0.5])
    array([21.5,  0. ])
    """
    W, x, b = ACTIVATION.batched(W, x, b)
    return value(scalar_function(h, "activation"), preactivation(W, x, b))


@quiet
def activation_jacobian(
    h: ScalarFunction, W: ArrayLike, x: ArrayLike, b: ArrayLike
) -> tuple[BlockRow, Dense, Diagonal]:
    """`∂u/∂W`, `d×d×n` with entry `(i,j,k)` = `h′(Wx+b)_i x_k` if `i = j` else 0; `∂u/∂x = diag(h′(Wx+b)) W`, `d×n`;
    `∂u/∂b = diag(h′(Wx+b))`, `d×d`.

    >>> from backprop_reference import square
    >>> J_W, J_x, J_b = activation_jacobian(square, [[1.0, 2.0]], [1.0, 10.0], [0.5])
    >>> J_x.todense(), J_b.todense()
    (array([[43., 86.]]), array([[43.]]))
    """
    W, x, b = ACTIVATION.single(W, x, b)
    slopes = slope(scalar_function(h, "activation"), preactivation(W, x, b))
    return BlockRow(slopes, x), Dense(slopes[:, None] * W), Diagonal(slopes)


@quiet
def activation_vjp(
    delta: ArrayLike, h: ScalarFunction, W: ArrayLike, x: ArrayLike, b: ArrayLike
) -> tuple[Array, Array, Array]:
    """With `δ ← δ ⊙ h′(Wx+b)`: `dW = δᵀ xᵀ`, `dx = δ W`, `db = δ`; shapes as of `affine_vjp`.

    >>> from backprop_reference import square
    >>> activation_vjp([1.0], square, [[1.0, 2.0]], [1.0, 10.0], [0.5])
    (array([[ 43., 430.]]), array([43., 86.]), array([43.]))
    """
    delta, W, x, b = ACTIVATION.pulled_back(delta, W, x, b)
    delta = pull_back(delta, scalar_function(h, "activation"), preactivation(W, x, b))
    return sum_of_outer_products(delta, x), product(delta, W), sum_of_rows(delta)
